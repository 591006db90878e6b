"""Expectation: what today's keys should open of an old copy, and what nothing should, by catalogue, policy and ring.

Each sealed thing has its own keys, those of today that may open it, and a state:

- `living`: it should be readable.
- `due`: its term is over, and the next expiry destroys its keys, within the time that is left for that.
- `beside`: it was unlinked with a batch that was withdrawn or accepted, and its key dies with its day of receipt
  (decision 0019).
- `shared`: it is dropped, or sealed anew, and was of a version that sealed it under a key which lives with the vault.
- `expired`: nothing should open it.
- `unknown`: this vault knows nothing of it; nothing should open it.

What opens with a key that is not its own has the state that it would have shut. Reads the catalogue, opens nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from ingest.record import CATEGORIES, FRAME, HOW_MUCH, WHEN, WHO
from trafficvault import chain, expire, holdings, holds, row_keys
from trafficvault.catalogue import Row
from trafficvault.kinds import BLOCKS, LEFTOVERS, RECORDS, SEEN, Kind
from trafficvault.layout import day_key_id, hold_key_id, segment_key_id
from trafficvault.vault import Vault

LIVING: Final = "living"
DUE: Final = "due"
BESIDE: Final = "beside"
SHARED: Final = "shared"
EXPIRED: Final = "expired"
UNKNOWN: Final = "unknown"
DEAD: Final = frozenset({EXPIRED, UNKNOWN})
"""The states of what nothing should open."""

_NEEDED: Final = {RECORDS: (FRAME,), BLOCKS: (WHO,), SEEN: (WHO, WHEN, HOW_MUCH)}
"""The categories whose keys open a file of a day together; a lid is named by the first."""


@dataclass(frozen=True, slots=True)
class Expected:
    """The ids of the keys that may open a thing, and its state if one of them does, and if none."""

    own: tuple[str, ...]
    opened: str
    shut: str

    def state(self, opened_by: str | None) -> str:
        """The state of a thing that was opened by the key of that id, or by none."""
        return self.opened if opened_by is not None and opened_by in self.own else self.shut


_GONE: Final = Expected((), EXPIRED, EXPIRED)
_STRANGE: Final = Expected((), UNKNOWN, UNKNOWN)


@dataclass(frozen=True, slots=True)
class Expectation:
    """What the vault says of all its things, at one moment."""

    _ring: frozenset[str]
    _now: datetime
    _partitions: dict[tuple[str, str], Row]
    _files: frozenset[str]
    _removed: frozenset[tuple[str, str, str]]
    """Files of living days that rows were removed from, as they were before."""
    _leftovers: frozenset[tuple[str, str, str, str]]
    _batches: dict[str, Row]
    _certified: frozenset[tuple[str, str, str]]
    _due: dict[tuple[str, str, str, str], datetime]
    """By kind, class, day and category: when what is over now was to go."""
    _holds: dict[str, Row]
    _rows: dict[tuple[str, str], Row] = field(repr=False)
    _segments: tuple[int, int]
    """How many of the log are dropped, and the number of the last."""

    @classmethod
    def of(cls, vault: Vault) -> Expectation:
        """What `vault` says now; a clock that jumped is not asked."""
        with vault.catalogue.reading() as tx:
            trusted = vault.audit.trusted_time(tx)
        moment, size = vault.audit.moment(), vault.audit.entries_per_segment
        now = trusted if trusted is not None and vault.audit.clock_problem(moment) else moment
        due = {
            (item.kind, item.record_class, item.day.isoformat(), category): item.due
            for item in expire.plan(vault, now)
            for category in item.categories
            if item.action == "expire" and item.due is not None
        }
        with vault.catalogue.reading() as tx:
            bodies = [json.loads(row["body"]) for row in tx.select("certificates", kind="rows")]
            dropped, last = vault.audit.dropped(tx).segments, vault.audit.settled(tx).seq
            return cls(
                vault.keys.key_ids(),
                now,
                {(row["record_class"], row["day"]): row for row in tx.select("partitions")},
                frozenset(row["id"] for row in tx.select("files")),
                frozenset((body["class"], body["day"], item["id"]) for body in bodies for item in body["files"]),
                frozenset(
                    (row["kind"], row["record_class"], row["day"], row["batch"]) for row in tx.select("leftovers")
                ),
                {row["id"]: row for row in tx.select("batches")},
                frozenset(
                    (row["kind"], row["record_class"], row["day"])
                    for row in tx.select("certificates")
                    if row["record_class"] is not None and row["day"] is not None
                ),
                due,
                {row["id"]: row for row in tx.select(holds.TABLE)},
                {(table, row["id"]): row for table in row_keys.TABLES for row in tx.select(table)},
                (dropped, chain.segment_of(max(last, 1), size)),
            )

    def of_day(self, kind: Kind) -> Expected:
        """Of a record file, block file or seen block."""
        day = kind.require_day().isoformat()
        part = self._partitions.get((kind.record_class, day))
        needed = _NEEDED[kind.kind]
        if part is None:
            return _STRANGE
        ended = {*holdings.gone(part), *holdings.going(part)}.intersection(needed)
        if part["state"] != "live" or ended or (kind.record_class, day, kind.name) in self._removed:
            return _GONE
        generation = part["generation"] or 1
        own = self._day_key(kind, needed[0])
        over = [self._due[one] for name in needed if (one := ("records", kind.record_class, day, name)) in self._due]
        if over:
            return self._late(own, min(over))
        # One that the catalogue has no more was replaced: by a compaction, under the same keys, or when the day was
        # rewritten, whose keys of before are gone.
        shut = LIVING if kind.name in self._files else EXPIRED if generation > 1 else UNKNOWN
        return Expected((own,), LIVING, shut)

    def categories(self, kind: Kind) -> dict[str, Expected]:
        """Of the categories that have ended of the day of `kind`, or are due to, while the day itself is not."""
        day = kind.require_day().isoformat()
        part = self._partitions.get((kind.record_class, day))
        if part is None or ("records", kind.record_class, day, FRAME) in self._due:
            return {}
        found = {
            name: self._late(self._day_key(kind, name), self._due["records", kind.record_class, day, name])
            for name in CATEGORIES
            if ("records", kind.record_class, day, name) in self._due
        }
        return found | dict.fromkeys((*holdings.gone(part), *holdings.going(part)), _GONE)

    def of_leftover(self, kind: Kind) -> Expected:
        """Of rejections, a held batch or a kept file."""
        root, day = LEFTOVERS[kind.kind], kind.require_day().isoformat()
        is_there = (root, kind.record_class, day, kind.name) in self._leftovers
        return self._beside(root, kind.record_class, day, kind.name, is_there=is_there)

    def of_name(self, batch: str, record_class: str, day: str) -> Expected:
        """Of what a receipt keeps sealed: the name of the file, with the rejections of its day of receipt."""
        row = self._batches.get(batch)
        is_there = row is not None and bool(row["sealed"]) and row["status"] != "withdrawn"
        return self._beside("rejections", record_class, day, batch, is_there=is_there)

    def of_carve(self, kind: Kind) -> Expected:
        """Of what a hold keeps."""
        row = self._holds.get(kind.hold)
        if row is None:
            return _STRANGE
        own, until = hold_key_id(kind.hold), datetime.fromisoformat(row["until"])
        if row["state"] == holds.LOST:
            return _GONE
        if row["state"] in holds.BINDING and self._now < until:
            return Expected((own,), LIVING, UNKNOWN)
        return self._late(own, until)

    def of_row(self, table: str, row_id: str, key: str | None) -> Expected:
        """Of a warrant, proposal, request or annotation that the copy's catalogue has under the ring key `key`."""
        row, name = self._rows.get((table, row_id)), key or row_keys.SHARED
        if row is not None and (row["key"] or row_keys.SHARED) == name:
            return Expected((name,), LIVING, LIVING)
        return Expected((name,), SHARED, EXPIRED) if name == row_keys.SHARED else _GONE

    def of_segment(self, number: int, *, own_key: bool) -> Expected:
        """Of the entries of one audit segment, with or without a key of its own."""
        dropped, last = self._segments
        own = (segment_key_id(number) if own_key else "audit",)
        if number <= dropped:
            return _GONE if own_key else Expected(own, SHARED, EXPIRED)
        return Expected(own, LIVING, LIVING) if number <= last + 1 else _STRANGE

    def _beside(self, kind: str, record_class: str, day: str, batch: str, *, is_there: bool) -> Expected:
        key = f"{kind}/{record_class}/{day}"
        shut = EXPIRED if batch in self._batches or (kind, record_class, day) in self._certified else UNKNOWN
        if key not in self._ring:
            return Expected((), shut, shut)
        over = self._due.get((kind, record_class, day, FRAME))
        if over is not None:
            return self._late(key, over)
        return Expected((key,), LIVING, LIVING) if is_there else Expected((key,), BESIDE, shut)

    def _late(self, own: str, since: datetime) -> Expected:
        """Of what was to go at `since`: that it is there still is no fault for as long as an expiry may take."""
        return Expected((own,), DUE, EXPIRED) if self._now - since <= expire.MOST_LATE else _GONE

    def _day_key(self, kind: Kind, category: str) -> str:
        part = self._partitions[kind.record_class, kind.require_day().isoformat()]
        return day_key_id(kind.record_class, kind.require_day(), category, part["generation"] or 1)
