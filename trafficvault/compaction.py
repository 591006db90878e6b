"""Compaction, planned: which files of a partition are merged, and why. Pure: values in, values with reasons out.

A day is left to settle until an hour after its end. Then all its files become one. What comes later stands beside that
one and answers read both, until it is worth the work: all is merged again when the late rows are an eighth of it, so
that over its life it is rewritten some ten times at most. Before that, sixteen late files are merged among themselves,
together with what was merged of late ones before as far as that is no larger than they are: so a file doubles each time
that it is rewritten, and the files stay few.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

SETTLED: Final = timedelta(hours=1)
"""How long after the end of its UTC day a partition is left alone."""
LATE_SHARE: Final = 8
"""Late rows are merged into the whole when they are one part in so many of it."""
LATE_FILES: Final = 16
"""So many late files are merged among themselves."""

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Stored:
    """One record file as the plan sees it; `merged` when compaction made it, `blocks` when its block file is usable."""

    file_id: str
    rows: int
    merged: bool
    blocks: bool


@dataclass(frozen=True, slots=True)
class Holding:
    """A living partition and its files, the oldest first; `whole` when the keys of all its categories are there."""

    record_class: str
    day: date
    files: tuple[Stored, ...]
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Item:
    """What is to become of one partition: the files to merge, none when it is left, and the reason."""

    record_class: str
    day: date
    files: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Selection:
    """What a run is asked for: days that are not over as well, and nothing but some classes or days (None: all)."""

    unsettled: bool = False
    classes: frozenset[str] | None = None
    days: frozenset[date] | None = None

    def covers(self, record_class: str, day: date) -> bool:
        """Whether the partition is asked for."""
        return (self.classes is None or record_class in self.classes) and (self.days is None or day in self.days)


EVERYTHING: Final = Selection()
"""All that has settled."""


def is_settled(day: date, now: datetime) -> bool:
    """Whether the UTC `day` has ended long enough ago."""
    return _end(day) + SETTLED <= now


def may_still_come(day: date, window: timedelta, now: datetime) -> bool:
    """Whether a record of `day` may still be delivered, or again, in the ordinary way: its seen blocks are kept."""
    return now < _end(day) + window


def plan(holdings: Iterable[Holding], now: datetime, selection: Selection = EVERYTHING) -> list[Item]:
    """What is to be merged, by class and day. A partition that needs nothing, or was not asked for, is left out."""
    chosen = [one for one in holdings if selection.covers(one.record_class, one.day)]
    chosen.sort(key=lambda one: (one.record_class, one.day))
    found = (_item(one, settled=selection.unsettled or is_settled(one.day, now)) for one in chosen)
    return [item for item in found if item is not None]


def _item(holding: Holding, *, settled: bool) -> Item | None:
    if not settled or not holding.files:
        return None
    names = tuple(file.file_id for file in holding.files)
    merged = [file for file in holding.files if file.merged]
    if not holding.whole:
        why = "a category of the day was destroyed, so nothing could show that a merge keeps its records; left as it is"
        return Item(holding.record_class, holding.day, (), why)
    if not merged:
        return Item(holding.record_class, holding.day, names, f"{_files(names)} as delivered")
    largest = max(merged, key=_size)
    others = [file for file in holding.files if file is not largest]
    late = sum(file.rows for file in others)
    if not largest.blocks:
        return Item(holding.record_class, holding.day, names, "its block file is missing or was changed")
    if late * LATE_SHARE >= largest.rows:
        return Item(holding.record_class, holding.day, names, f"{late} late records beside {largest.rows}")
    few = _late(others)
    return Item(holding.record_class, holding.day, few, f"{_files(few)} of late records") if few else None


def _late(others: Sequence[Stored]) -> tuple[str, ...]:
    """Which of the files beside a day's own are merged among themselves; none when it is not worth it yet."""
    taken = [file for file in others if file.merged and not file.blocks]
    delivered = [file for file in others if not file.merged]
    if len(delivered) >= LATE_FILES:
        taken += delivered
    rows = sum(file.rows for file in taken)
    for file in sorted((file for file in others if taken and file not in taken and file.merged), key=_size):
        if file.rows > rows:
            break
        taken.append(file)
        rows += file.rows
    # In the order that they came.
    return tuple(file.file_id for file in others if file in taken)


def _size(file: Stored) -> tuple[int, str]:
    return file.rows, file.file_id


def _files(names: Sequence[str]) -> str:
    return f"{len(names)} file" if len(names) == 1 else f"{len(names)} files"


def _end(day: date) -> datetime:
    return datetime.combine(day, time(), UTC) + _DAY
