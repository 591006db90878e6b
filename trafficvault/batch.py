"""A batch on its way in: what becomes of the records of one delivered file, reading by reading; or of several small
files, a commit group, that share files and transaction while each keeps its own account.

    reading → past its term? → numbered → without what of it has ended → duplicate? → landing

Each worker does its own reading and writing; what looks at earlier readings of the file, at the catalogue and at the
key ring happens in the order of the file, one reading at a time (`crew.Turn`).

A record whose hash was seen before, in a stored file or in an earlier reading, is set aside. When all readings were
taken, or many records wait, the batch's own files are closed and each waiting record is compared with the stored ones:
it is a duplicate, or it is stored in a further file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import partial
from itertools import pairwise
from threading import Lock
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from ingest.feed import Feed
from ingest.occurrences import Earlier
from ingest.read import Reading, counted
from ingest.record import CATEGORIES, WHERE
from ingest.source import Source
from trafficvault import blanking, duplicates, ended, holdings, retention, seen
from trafficvault.account import Account
from trafficvault.arriving import Arriving, Members, arriving, by_day, date_of, distinct
from trafficvault.crew import Crew, Turn
from trafficvault.keys import Custody
from trafficvault.landing import Landing, close_all
from trafficvault.layout import day_key_id
from trafficvault.partitions import WrittenFile, reach_of
from trafficvault.progress import Progress, Watch
from trafficvault.vault import Vault

_WAITING: Final = 500_000
"""Records that are set aside before they are compared."""
_IDENTIFIED: Final = np.uint64(0x9E3779B97F4A7C15)
"""Keeps records with an identity apart from those without, where they are counted by their hashes."""


@dataclass(slots=True)
class _Day:
    """What the catalogue knows of one class and day when the batch first meets it."""

    live: bool
    file_ids: tuple[str, ...]
    hashes: seen.Hashes
    lost: frozenset[str] = frozenset()
    """Categories that have expired of a living day: nothing is stored of them."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Records that were set aside."""

    rows: pl.DataFrame
    members: Members
    given: tuple[str, ...]


class Batch:
    """What is written for one delivered file, or for several; `open_accounts` is asked when the first record lands.

    The caller ends it with `settle` and commits `files`, or with `abandon`.
    """

    def __init__(
        self,
        vault: Vault,
        custody: Custody,
        feed: Feed,
        source: Source,
        now: datetime,
        workers: int,
        open_accounts: Callable[[], list[Account]],
        progress: Watch,
    ) -> None:
        """Terms are held against `now`, which the caller believes."""
        self._vault, self._custody, self._now = vault, custody, now
        self._open_accounts, self._progress = open_accounts, progress
        self._ended = ended.of(vault)
        self._constants = {"source": source.name, "feed_digest": feed.digest}
        if source.customer is not None:
            self._constants["customer"] = source.customer
        self._workers = workers
        self._landings: list[Landing] = []
        self._days: dict[tuple[str, date], _Day] = {}
        self._generations: dict[tuple[str, date], int] = {}
        """Of the day keys of the days that rows were removed from."""
        self._earlier: dict[str, Earlier] = {}
        self._waiting: dict[tuple[str, date], list[_Waiting]] = {}
        self._waiting_rows = 0
        self._is_committed = False
        self._telling = Lock()
        self.place = (0, 0)
        """How many of how many bytes of the file were read, for `Progress`."""
        self.accounts: list[Account] = []

    @property
    def read(self) -> int:
        """Units that were read."""
        return sum(account.read for account in self.accounts)

    @property
    def files(self) -> list[WrittenFile]:
        """The closed files, those of the first worker first."""
        return [file for landing in self._landings for file in landing.files]

    @property
    def met(self) -> list[tuple[str, date]]:
        """Class and day of every record so far, stored or a duplicate."""
        return list(self._days)

    def lost(self, record_class: str, day: date) -> frozenset[str]:
        """What nothing is stored of, of a class and day that the batch has met."""
        return self._days[record_class, day].lost

    def is_full(self) -> bool:
        """Whether so many records are set aside that `settle` is to be called before more are taken."""
        return self._waiting_rows >= _WAITING

    def take(self, worker: int, reading: Reading, turn: Turn) -> None:
        """Takes the records of `reading`, of the only file, in as `worker`."""
        self._take(worker, [reading], turn)

    def take_together(self, readings: Sequence[Reading]) -> None:
        """Takes in the records of several files that were read whole, in the order of their accounts."""
        Crew(iter([readings]), self._take, 1).run()

    def _take(self, worker: int, readings: Sequence[Reading], turn: Turn) -> None:
        classes = dict.fromkeys(name for reading in readings for name in reading.records)
        parts = [self._part(record_class, readings) for record_class in classes]
        with turn:
            self._begin()
            for account, reading in zip(self.accounts, readings, strict=True):
                account.add(reading)
            self._meet(parts)
            taken = [self._sifted(self._without_dead(part)) for part in parts]
        for part in taken:
            self._land(self._landings[worker], part)

    def settle(self) -> None:
        """Makes all files whole, and decides about the records that were set aside. No worker may be at work."""
        close_all(self._landings)
        for (record_class, day), waiting in list(self._waiting.items()):
            rows = pl.concat([item.rows for item in waiting], how="diagonal")
            members = np.concatenate([item.members for item in waiting])
            own = [item.file_id for item in self.files if (item.record_class, item.day) == (record_class, day)]
            stored = [*self._days[record_class, day].file_ids, *own]
            double = duplicates.duplicates(
                self._vault.layout,
                self._custody,
                record_class,
                day,
                rows,
                stored,
                self._vault.disk,
                self._generations.get((record_class, day), 1),
                partial(blanking.without_ended, record_class=record_class, rules=self._vault.policy, now=self._now),
            )
            self._tell("duplicate", members[double])
            fresh, members = rows.filter(~pl.Series(double)), members[~double]
            if fresh.height:
                told = fresh.with_columns(pl.lit(value).alias(name) for name, value in self._constants.items())
                if "batch" not in self._constants:
                    told = told.with_columns(self._batches_of(members))
                hashes = seen.row_hashes(fresh, seen.hashed_columns(record_class))
                total = _sum(seen.row_hashes(told, told.columns))
                given = waiting[0].given
                reach = self._landings[0].append(record_class, day, told.drop(self._constants), hashes, total, given)
                self._landed(record_class, day, fresh, members, reach)
        self._waiting.clear()
        self._waiting_rows = 0
        close_all(self._landings)

    def committed(self) -> None:
        """The files count from now on: what is recent is told of them."""
        self._is_committed = True
        recent = self._vault.recent
        for (record_class, day), state in self._days.items():
            if state.live:
                mine = [
                    (landing, item.file_id)
                    for landing in self._landings
                    for item in landing.files
                    if (item.record_class, item.day) == (record_class, day)
                ]
                # Without those that a landing forgot, it would be said that they are not stored: the day is read anew.
                if all(file_id in landing.hashes for landing, file_id in mine):
                    recent.add(record_class, day, {file_id: landing.hashes[file_id] for landing, file_id in mine})

    def abandon(self) -> None:
        """Lets go of everything that was written, and removes it, unless it was committed."""
        if self._is_committed:
            return
        for landing in self._landings:
            landing.abandon()
        for account in self.accounts:
            account.abandon()

    # --- one reading --------------------------------------------------------------------------------------------------

    def _part(self, record_class: str, readings: Sequence[Reading]) -> Arriving:
        term, zone = self._vault.policy.require_term(record_class), self._vault.policy.zone

        def expired(rows: pl.DataFrame, moments: pl.Series) -> pl.Series:
            past = retention.expired_mask(moments, term, zone, self._now)
            return past | self._ended.mask(record_class, rows, self._now)

        return arriving(
            record_class,
            readings,
            frozenset(self._constants),
            expired,
        )

    def _begin(self) -> None:
        if not self._landings:
            self.accounts = self._open_accounts()
            if len(self.accounts) == 1:
                self._constants["batch"] = self.accounts[0].batch
            vault = self._vault
            self._landings = [
                Landing(vault.disk, vault.layout, self._custody, self._constants, self._generations)
                for _ in range(self._workers)
            ]

    def _tell(self, count: str, members: Members) -> None:
        """Adds a row of each of `members` to what their accounts call `count`."""
        for account, number in zip(self.accounts, np.bincount(members, minlength=len(self.accounts)), strict=True):
            setattr(account, count, getattr(account, count) + int(number))

    def _batches_of(self, members: Members) -> pl.Series:
        return pl.Series("batch", [account.batch for account in self.accounts]).gather(members)

    def _landed(
        self, record_class: str, day: date, rows: pl.DataFrame, members: Members, reach: tuple[date, date]
    ) -> None:
        """Tells the accounts that `rows`, of the dates `reach`, were written; those of a file stand together."""
        with self._telling:
            if len(self.accounts) == 1:
                self.accounts[0].landed(record_class, day, rows.height, reach)
                return
            starts = [0, *(np.flatnonzero(members[1:] != members[:-1]) + 1), len(members)]
            for first, last in pairwise(int(start) for start in starts):
                mine = rows[first:last]
                reach = reach_of(mine, record_class, day)
                self.accounts[members[first]].landed(record_class, day, mine.height, reach)

    def _meet(self, parts: Iterable[Arriving]) -> None:
        """Looks up the days that the batch meets for the first time, and makes their keys, all at once."""
        new: list[tuple[str, date]] = []
        for part in parts:
            for number in distinct(part.days):
                key = part.record_class, date_of(number)
                if key not in self._days and key not in new:
                    new.append(key)
        if not new:
            return
        vault = self._vault
        found: dict[tuple[str, date], _Day] = {}
        with vault.catalogue.reading() as tx:
            for record_class, day in new:
                known = tx.get("partitions", record_class=record_class, day=day.isoformat())
                live = known is None or known["state"] == "live"
                rows = tx.select("files", record_class=record_class, day=day.isoformat()) if known and live else []
                ids = tuple(str(row["id"]) for row in rows)
                # Of a new day nothing is stored that is due already; an old one has it until it expires.
                gone = holdings.lost(known) if known else retention.ended(day, record_class, vault.policy, self._now)
                found[record_class, day] = _Day(live, ids, np.zeros(0, np.uint64), gone)
                if known and known["generation"]:
                    self._generations[record_class, day] = known["generation"]
        living = [key for key, state in found.items() if state.live]
        of_day = [(key, category) for key in living for category in CATEGORIES if category not in found[key].lost]
        day_keys = [day_key_id(*key, name, self._generations.get(key, 1)) for key, name in of_day]
        # Those that the commit will need are made with them: the ring is written once.
        vault.keys.ensure([*day_keys, *(account.rejections.key_id for account in self.accounts)])
        for record_class, day in living:
            state = found[record_class, day]
            if state.file_ids:
                generation = self._generations.get((record_class, day), 1)
                state.hashes = vault.recent.of(
                    vault.layout, self._custody, record_class, day, state.file_ids, vault.disk, generation
                )
        self._days |= found

    def _without_dead(self, part: Arriving) -> Arriving:
        """`part` without the records of days that began to expire: nothing brings such a day back."""
        days = {number: date_of(number) for number in distinct(part.days)}
        dead = [number for number, day in days.items() if not self._days[part.record_class, day].live]
        if not dead:
            return part
        return part.only(~np.isin(part.days, dead))

    def _sifted(self, part: Arriving) -> Arriving:
        """`part` as it lands, but for the records that are to be kept from it: they are told, or set aside.

        Records are numbered as they were delivered: two that differ in nothing but a location are two for ever.
        """
        self._tell("expired", part.expired)
        again = self._number(part)
        part = self._without_ended(part)
        self._set_aside(part, again)
        self._sift(part)
        return part

    def _without_ended(self, part: Arriving) -> Arriving:
        """`part` with null for what has expired of days that live on, for it would have no key, and for what of a
        record had reached its own term.
        """
        rows = part.rows
        for number in distinct(part.days):
            lost = self._days[part.record_class, date_of(number)].lost
            rows = blanking.without(rows, part.record_class, lost, pl.Series(part.days == number)) if lost else rows
        rows = blanking.without_ended(rows, part.record_class, self._vault.policy, self._now)
        if rows is part.rows:
            return part
        where = seen.column_sums(rows, blanking.columns_of(part.record_class, {WHERE}))
        self._tell("unlocated", part.members[where != part.where])
        return replace(part, rows=rows, where=where)

    def _number(self, part: Arriving) -> npt.NDArray[np.bool_]:
        """Numbers the equal records of the file that have no identity; returns which of those with one may have been in
        it before.
        """
        part.keep = np.ones(part.rows.height, np.bool_)
        if part.identified is None:  # the files were read whole, and their records numbered
            constants = seen.constant_sum(self._compared_constants())
            if "occurrence" in part.rows.columns:
                part.sums = part.sums + seen.column_sums(part.rows, ("occurrence",))
            part.sums = part.sums + constants
            again = duplicates.repeated(
                part.rows, seen.mixed(part.sums + part.where), seen.compared_columns(part.record_class)
            )
            self._tell("duplicate", part.members[again])
            part.keep &= ~again
            return np.zeros_like(again)
        earlier = self._earlier.setdefault(part.record_class, Earlier())
        identified = part.identified
        content = seen.mixed(part.sums + part.where)
        content = np.where(identified, content ^ _IDENTIFIED, content)
        ordered = np.sort(content)
        before = earlier.count(content)
        earlier.add(ordered, self._share())
        numbers = np.where(identified, 0, before).astype(np.int32)
        again = _doubled(content, ordered)
        if again.any():
            own = part.rows.drop("row", "read_note", strict=False)
            alike = again & ~identified
            numbers[alike] += counted(own.filter(pl.Series(alike))).to_numpy()
            mine = np.flatnonzero(again & identified)
            double = mine[duplicates.repeated(own[mine], content[mine], own.columns)]
            self._tell("duplicate", part.members[double])
            part.keep[double] = False
        part.rows = part.rows.with_columns(pl.Series("occurrence", numbers))
        part.sums = part.sums + seen.constant_sum(self._compared_constants())
        if numbers.any():
            part.sums = part.sums + seen.column_sums(part.rows, ("occurrence",))
        else:
            part.sums = part.sums + seen.constant_sum({"occurrence": 0})
        found: npt.NDArray[np.bool_] = part.keep & identified & (before > 0)
        return found

    def _share(self) -> float:
        """About what part of the file was read."""
        read, total = self.place
        return read / total if total else 1.0

    def _sift(self, part: Arriving) -> None:
        """Sets aside the records that may be stored already."""
        part.hashes = seen.mixed(part.sums)
        numbers = distinct(part.days)
        for number in numbers:
            state = self._days[part.record_class, date_of(number)]
            if len(state.hashes):
                mine = part.keep if len(numbers) == 1 else part.keep & (part.days == number)
                places = np.flatnonzero(mine)
                hits = places[duplicates.is_in(seen.shorten(part.hashes[places]), state.hashes)]
                doubtful = np.zeros(len(part.keep), np.bool_)
                doubtful[hits] = True
                self._set_aside(part, doubtful)

    def _set_aside(self, part: Arriving, doubtful: npt.NDArray[np.bool_]) -> None:
        places = np.flatnonzero(doubtful)
        if not len(places):
            return
        part.keep = part.keep & ~doubtful
        told = [pl.lit(value).alias(name) for name, value in self._constants.items() if name != "batch"]
        for number in distinct(part.days[places]):
            key = part.record_class, date_of(number)
            chosen = places[part.days[places] == number]
            rows = part.rows[chosen].with_columns(told)
            self._waiting.setdefault(key, []).append(_Waiting(rows, part.members[chosen], part.given))
            self._waiting_rows += rows.height

    def _land(self, landing: Landing, part: Arriving) -> None:
        if not part.keep.any():
            return
        totals = part.sums + part.where + part.rest + seen.constant_sum(self._other_constants())
        rows, days, members, hashes = part.rows, part.days, part.members, part.hashes
        if "batch" not in self._constants:
            batches = [seen.constant_sum({"batch": account.batch}) for account in self.accounts]
            totals = totals + np.array(batches, np.uint64)[members]
            rows = rows.with_columns(self._batches_of(members))
        totals = seen.mixed(totals)
        if not part.keep.all():
            rows, days, members = rows.filter(pl.Series(part.keep)), days[part.keep], members[part.keep]
            hashes, totals = hashes[part.keep], totals[part.keep]
        for day, of_day, mine in by_day(rows, days):
            self._progress(Progress(f"{part.record_class} {day.isoformat()}", self.read, *self.place, "bytes"))
            reach = landing.append(part.record_class, day, of_day, hashes[mine], _sum(totals[mine]), part.given, rows)
            self._landed(part.record_class, day, of_day, members[mine], reach)

    def _compared_constants(self) -> Mapping[str, object]:
        return {name: value for name, value in self._constants.items() if name in ("source", "customer")}

    def _other_constants(self) -> Mapping[str, object]:
        return {name: value for name, value in self._constants.items() if name in ("batch", "feed_digest")}


def _doubled(hashes: seen.Hashes, ordered: seen.Hashes) -> npt.NDArray[np.bool_]:
    """Which of `hashes` occur more than once; `ordered` are the same ones, sorted."""
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    return duplicates.is_in(hashes, twice) if len(twice) else np.zeros(len(hashes), np.bool_)


def _sum(hashes: seen.Hashes) -> int:
    return int(hashes.sum(dtype=np.uint64))
