"""A batch on its way in: what becomes of the records of one delivered file, reading by reading.

    reading → past its term? → numbered → duplicate? → landing

Each worker does its own reading and writing; what looks at earlier readings of the file, at the catalogue and at the
key ring happens in the order of the file, one reading at a time (`crew.Turn`).

A record whose hash was seen before, in a stored file or in an earlier reading, is set aside. When all readings were
taken, or many records wait, the batch's own files are closed and each waiting record is compared with the stored ones:
it is a duplicate, or it is stored in a further file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from ingest.feed import Feed
from ingest.occurrences import Earlier
from ingest.read import Reading, anchor, counted
from ingest.record import CATEGORIES, WHERE, category_of
from ingest.source import Source
from trafficvault import duplicates, ended, retention, seen
from trafficvault.crew import Turn
from trafficvault.keys import Custody
from trafficvault.landing import Landing
from trafficvault.layout import day_key_id
from trafficvault.partitions import WrittenFile
from trafficvault.progress import Progress, Watch
from trafficvault.rejections import Rejections
from trafficvault.vault import Vault

_EPOCH: Final = date(1970, 1, 1).toordinal()
_FEW_DAYS: Final = 3
"""Of so many days the rows are looked through once per day; of more they are put in the order of their days first."""
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


@dataclass(slots=True)
class _Part:
    """The records of one class of one reading, on their way."""

    record_class: str
    rows: pl.DataFrame
    days: npt.NDArray[np.int32]
    sums: seen.Hashes
    where: seen.Hashes
    rest: seen.Hashes
    identified: npt.NDArray[np.bool_] | None
    given: tuple[str, ...]
    keep: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    hashes: seen.Hashes = field(default_factory=lambda: np.zeros(0, np.uint64))


class Batch:
    """One delivered file; `Rejections` and files are made under `batch_id`, which `name` tells when it is first asked.

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
        name: Callable[[], str],
        rejections: Callable[[str], Rejections],
        progress: Watch,
    ) -> None:
        """Terms are held against `now`, which the caller believes."""
        self._vault, self._custody, self._now = vault, custody, now
        self._name, self._new_rejections, self._progress = name, rejections, progress
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
        self._waiting: dict[tuple[str, date], list[tuple[pl.DataFrame, tuple[str, ...]]]] = {}
        self._waiting_rows = 0
        self._is_committed = False
        self.place = (0, 0)
        """How many of how many bytes of the file were read, for `Progress`."""
        self.rejections: Rejections | None = None
        self.read = self.joined = self.duplicate = self.expired = 0
        self.ignored: Counter[str] = Counter()
        self.notes: Counter[str] = Counter()

    @property
    def files(self) -> list[WrittenFile]:
        """The closed files, those of the first worker first."""
        return [file for landing in self._landings for file in landing.files]

    def is_full(self) -> bool:
        """Whether so many records are set aside that `settle` is to be called before more are taken."""
        return self._waiting_rows >= _WAITING

    def take(self, worker: int, reading: Reading, turn: Turn) -> None:
        """Takes the records of `reading` in, as `worker`."""
        parts = [self._part(record_class, reading) for record_class in reading.records]
        with turn:
            self._begin()
            self._account(reading)
            self._meet(parts)
            parts = [self._without_dead(part) for part in parts]
            for part in parts:
                self._number(part)
                self._sift(part)
        for part in parts:
            self._land(self._landings[worker], part)

    def settle(self) -> None:
        """Makes all files whole, and decides about the records that were set aside. No worker may be at work."""
        self._close()
        for (record_class, day), frames in list(self._waiting.items()):
            rows = pl.concat([frame for frame, _ in frames], how="diagonal")
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
            )
            self.duplicate += int(double.sum())
            fresh = rows.filter(~pl.Series(double))
            if fresh.height:
                constants = self._constants
                columns = [name for name in fresh.columns if name not in constants]
                hashes = seen.row_hashes(fresh, seen.hashed_columns(record_class))
                batch = pl.lit(constants["batch"]).alias("batch")
                total = _sum(seen.row_hashes(fresh.with_columns(batch), [*columns, *constants]))
                given = frames[0][1]
                self._landings[0].append(record_class, day, fresh.select(columns), hashes, total, given)
        self._waiting.clear()
        self._waiting_rows = 0
        self._close()

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
                recent.add(record_class, day, {file_id: landing.hashes[file_id] for landing, file_id in mine})

    def abandon(self) -> None:
        """Lets go of everything that was written, and removes it, unless it was committed."""
        if self._is_committed:
            return
        for landing in self._landings:
            landing.abandon()
        if self.rejections is not None:
            self.rejections.abandon()

    # --- one reading --------------------------------------------------------------------------------------------------

    def _part(self, record_class: str, reading: Reading) -> _Part:
        """The records of one class that are inside their term, with the sums that their hashes are made of."""
        rows = reading.records[record_class].drop(self._constants, strict=False)
        known = reading.identified.get(record_class)
        moments = anchor(rows, record_class)
        term = self._vault.policy.require_term(record_class)
        gone = retention.expired_mask(moments, term, self._vault.policy.zone, self._now)
        gone |= self._ended.mask(record_class, rows, self._now)
        if gone.any():
            rows, moments = rows.filter(~gone), moments.filter(~gone)
            known = None if known is None else known.filter(~gone)
        compared = [name for name in seen.compared_columns(record_class) if name not in self._constants]
        where = [name for name in compared if category_of(name, record_class) == WHERE]
        others = [name for name in compared if name not in where and name != "occurrence"]
        return _Part(
            record_class,
            rows,
            moments.dt.date().to_physical().to_numpy(),
            seen.column_sums(rows, others),
            seen.column_sums(rows, where),
            seen.column_sums(rows, ("row", "read_note")),
            None if known is None else known.to_numpy(),
            reading.given,
        )

    def _begin(self) -> None:
        if not self._landings:
            batch = self._name()
            self.rejections = self._new_rejections(batch)
            self._constants["batch"] = batch
            vault = self._vault
            self._landings = [
                Landing(vault.disk, vault.layout, self._custody, self._constants, (), self._generations)
                for _ in range(self._workers)
            ]

    def _account(self, reading: Reading) -> None:
        self.read += reading.units
        self.joined += reading.joined
        self.ignored.update(reading.ignored)
        self.notes.update(reading.notes)
        if self.rejections is not None:
            self.rejections.add(reading.rejections)
        self.expired += sum(frame.height for frame in reading.records.values())  # those that are left are taken off

    def _meet(self, parts: Iterable[_Part]) -> None:
        """Looks up the days that the batch meets for the first time, and makes their keys, all at once."""
        new: list[tuple[str, date]] = []
        for part in parts:
            self.expired -= part.rows.height
            for number in _distinct(part.days):
                key = part.record_class, date.fromordinal(_EPOCH + number)
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
                found[record_class, day] = _Day(live, ids, np.zeros(0, np.uint64))
                if known and known["generation"]:
                    self._generations[record_class, day] = known["generation"]
        living = [key for key, state in found.items() if state.live]
        generations = self._generations
        vault.keys.ensure(
            [day_key_id(*key, category, generations.get(key, 1)) for key in living for category in CATEGORIES]
        )
        for record_class, day in living:
            state = found[record_class, day]
            if state.file_ids:
                generation = generations.get((record_class, day), 1)
                state.hashes = vault.recent.of(
                    vault.layout, self._custody, record_class, day, state.file_ids, vault.disk, generation
                )
        self._days |= found

    def _without_dead(self, part: _Part) -> _Part:
        """`part` without the records of days that began to expire: nothing brings such a day back."""
        days = {number: date.fromordinal(_EPOCH + number) for number in _distinct(part.days)}
        dead = [number for number, day in days.items() if not self._days[part.record_class, day].live]
        if not dead:
            return part
        alive = ~np.isin(part.days, dead)
        self.expired += int((~alive).sum())
        return replace(
            part,
            rows=part.rows.filter(pl.Series(alive)),
            days=part.days[alive],
            sums=part.sums[alive],
            where=part.where[alive],
            rest=part.rest[alive],
            identified=None if part.identified is None else part.identified[alive],
        )

    def _number(self, part: _Part) -> None:
        """Numbers the equal records of the file that have no identity; sets aside those with one that were there."""
        part.keep = np.ones(part.rows.height, np.bool_)
        if part.identified is None:  # the file was read whole
            constants = seen.constant_sum(self._compared_constants())
            if "occurrence" in part.rows.columns:
                part.sums = part.sums + seen.column_sums(part.rows, ("occurrence",))
            part.sums = part.sums + constants
            again = duplicates.repeated(
                part.rows, seen.mixed(part.sums + part.where), seen.compared_columns(part.record_class)
            )
            self.duplicate += int(again.sum())
            part.keep &= ~again
            return
        earlier = self._earlier.setdefault(part.record_class, Earlier())
        identified = part.identified
        content = seen.mixed(part.sums + part.where)
        content = np.where(identified, content ^ _IDENTIFIED, content)
        ordered = np.sort(content)
        before = earlier.count(content)
        earlier.add(ordered)
        numbers = np.where(identified, 0, before).astype(np.int32)
        again = _doubled(content, ordered)
        if again.any():
            own = part.rows.drop("row", "read_note", strict=False)
            alike = again & ~identified
            numbers[alike] += counted(own.filter(pl.Series(alike))).to_numpy()
            mine = np.flatnonzero(again & identified)
            double = mine[duplicates.repeated(own[mine], content[mine], own.columns)]
            self.duplicate += len(double)
            part.keep[double] = False
        part.rows = part.rows.with_columns(pl.Series("occurrence", numbers))
        part.sums = part.sums + seen.constant_sum(self._compared_constants())
        if numbers.any():
            part.sums = part.sums + seen.column_sums(part.rows, ("occurrence",))
        else:
            part.sums = part.sums + seen.constant_sum({"occurrence": 0})
        self._set_aside(part, part.keep & identified & (before > 0))

    def _sift(self, part: _Part) -> None:
        """Sets aside the records that may be stored already."""
        part.hashes = seen.mixed(part.sums)
        numbers = _distinct(part.days)
        for number in numbers:
            state = self._days[part.record_class, date.fromordinal(_EPOCH + number)]
            if len(state.hashes):
                mine = part.keep if len(numbers) == 1 else part.keep & (part.days == number)
                places = np.flatnonzero(mine)
                hits = places[duplicates.is_in(seen.shorten(part.hashes[places]), state.hashes)]
                doubtful = np.zeros(len(part.keep), np.bool_)
                doubtful[hits] = True
                self._set_aside(part, doubtful)

    def _set_aside(self, part: _Part, doubtful: npt.NDArray[np.bool_]) -> None:
        places = np.flatnonzero(doubtful)
        if not len(places):
            return
        part.keep = part.keep & ~doubtful
        told = [pl.lit(value).alias(name) for name, value in self._constants.items() if name != "batch"]
        for number in _distinct(part.days[places]):
            key = part.record_class, date.fromordinal(_EPOCH + number)
            rows = part.rows[places[part.days[places] == number]].with_columns(told)
            self._waiting.setdefault(key, []).append((rows, part.given))
            self._waiting_rows += rows.height

    def _land(self, landing: Landing, part: _Part) -> None:
        if not part.keep.any():
            return
        totals = part.sums + part.where + part.rest
        totals = seen.mixed(totals + seen.constant_sum(self._other_constants()))
        rows, days, hashes = part.rows, part.days, part.hashes
        if not part.keep.all():
            rows, days, hashes = rows.filter(pl.Series(part.keep)), days[part.keep], hashes[part.keep]
            totals = totals[part.keep]
        for number, of_day, mine in _by_day(rows, days):
            day = date.fromordinal(_EPOCH + number)
            self._progress(Progress(f"{part.record_class} {day.isoformat()}", self.read, *self.place, "bytes"))
            landing.append(part.record_class, day, of_day, hashes[mine], _sum(totals[mine]), part.given)

    def _compared_constants(self) -> Mapping[str, object]:
        return {name: value for name, value in self._constants.items() if name in ("source", "customer")}

    def _other_constants(self) -> Mapping[str, object]:
        return {name: value for name, value in self._constants.items() if name in ("batch", "feed_digest")}

    def _close(self) -> None:
        for landing in self._landings:
            landing.close()


def _by_day(
    rows: pl.DataFrame, days: npt.NDArray[np.int32]
) -> Iterator[tuple[int, pl.DataFrame, slice | npt.NDArray[Any]]]:
    """Each day with its rows, in the order in which they stand, and where those are."""
    numbers = _distinct(days)
    if len(numbers) == 1:
        yield numbers[0], rows, slice(None)
    elif len(numbers) <= _FEW_DAYS:
        for number in numbers:
            mine = days == number
            yield number, rows.filter(pl.Series(mine)), mine
    else:
        order = np.argsort(days, kind="stable")
        rows, days = rows[order], days[order]
        for number, first, last in zip(
            numbers, np.searchsorted(days, numbers), np.searchsorted(days, numbers, side="right"), strict=True
        ):
            yield number, rows[int(first) : int(last)], order[first:last]


def _distinct(days: npt.NDArray[np.int32]) -> list[int]:
    if not len(days):
        return []
    least, most = int(days.min()), int(days.max())
    return [least] if least == most else [int(number) for number in np.unique(days)]


def _doubled(hashes: seen.Hashes, ordered: seen.Hashes) -> npt.NDArray[np.bool_]:
    """Which of `hashes` occur more than once; `ordered` are the same ones, sorted."""
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    return duplicates.is_in(hashes, twice) if len(twice) else np.zeros(len(hashes), np.bool_)


def _sum(hashes: seen.Hashes) -> int:
    return int(hashes.sum(dtype=np.uint64))
