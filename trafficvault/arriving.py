"""Arriving: the records of one class of one reading, or of one reading per file of a group, and what is known of each
row beside its columns: its file, its day, and the sums that its hashes are made of.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from ingest.read import Reading
from ingest.record import WHERE, category_of
from ingest.sound import anchor
from trafficvault import seen

Mask = npt.NDArray[np.bool_]
Members = npt.NDArray[np.int32]
"""Of which file of the group each row is, by its number."""

_EPOCH: Final = date(1970, 1, 1).toordinal()
_FEW_DAYS: Final = 3
"""Of so many days the rows are looked through once per day; of more they are put in the order of their days first."""

_SPAN: Final = 1 << 16
"""Days that lie so close together are counted, which is faster than to sort them."""


@dataclass(slots=True)
class Arriving:
    """Rows of one class that are inside their term. All arrays but `expired` have an element per row."""

    record_class: str
    rows: pl.DataFrame
    members: Members
    days: npt.NDArray[np.int32]
    """Days since 1970."""
    sums: seen.Hashes
    """Over the compared columns without those of `where` and `occurrence`."""
    where: seen.Hashes
    rest: seen.Hashes
    """Over what tells two deliveries of one record apart."""
    identified: Mask | None
    """Which have an identity, where rows are not numbered yet; None where they are."""
    given: tuple[str, ...]
    expired: Members
    """Of which file each row was that did not stay."""
    keep: Mask = field(default_factory=lambda: np.zeros(0, np.bool_))
    """Which are neither found to be duplicates nor set aside."""
    hashes: seen.Hashes = field(default_factory=lambda: np.zeros(0, np.uint64))
    """What the seen block is made of."""

    def only(self, alive: Mask) -> Arriving:
        """These without the rows that are not `alive`: those are expired."""
        return replace(
            self,
            rows=self.rows.filter(pl.Series(alive)),
            members=self.members[alive],
            days=self.days[alive],
            sums=self.sums[alive],
            where=self.where[alive],
            rest=self.rest[alive],
            identified=None if self.identified is None else self.identified[alive],
            expired=np.concatenate([self.expired, self.members[~alive]]),
        )


def arriving(
    record_class: str,
    readings: Sequence[Reading],
    constants: Collection[str],
    expired: Callable[[pl.DataFrame, pl.Series], pl.Series],
) -> Arriving:
    """The records of that class in `readings`, without the columns `constants`, which are hashed elsewhere.

    `expired` tells of which rows, with these anchors, the term is over.
    """
    found = [(number, reading) for number, reading in enumerate(readings) if record_class in reading.records]
    frames = [reading.records[record_class] for _, reading in found]
    rows = frames[0] if len(frames) == 1 else pl.concat(frames, how="diagonal", rechunk=True)
    rows = rows.drop(constants, strict=False)
    members = np.repeat(np.array([number for number, _ in found], np.int32), [frame.height for frame in frames])
    known = found[0][1].identified.get(record_class)
    moments = anchor(rows, record_class)
    gone, past = expired(rows, moments), members[:0]
    if gone.any():
        dead = gone.to_numpy()
        past, members = members[dead], members[~dead]
        rows, moments = rows.filter(~gone), moments.filter(~gone)
        known = None if known is None else known.filter(~gone)
    compared = [name for name in seen.compared_columns(record_class) if name not in constants]
    where = [name for name in compared if category_of(name, record_class) == WHERE]
    others = [name for name in compared if name not in where and name != "occurrence"]
    return Arriving(
        record_class,
        rows,
        members,
        moments.dt.date().to_physical().to_numpy(),
        seen.column_sums(rows, others),
        seen.column_sums(rows, where),
        seen.column_sums(rows, ("row", "read_note")),
        None if known is None else known.to_numpy(),
        tuple(dict.fromkeys(name for _, reading in found for name in reading.given)),
        past,
    )


def distinct(days: npt.NDArray[np.int32]) -> list[int]:
    """Each of `days` once, in order."""
    if not len(days):
        return []
    least, most = int(days.min()), int(days.max())
    if most - least > _SPAN:
        return [int(number) for number in np.unique(days)]
    return [least] if least == most else [least + int(away) for away in np.flatnonzero(np.bincount(days - least))]


def date_of(number: int) -> date:
    """The date that is `number` days after 1970 began."""
    return date.fromordinal(_EPOCH + number)


def by_day(
    rows: pl.DataFrame, days: npt.NDArray[np.int32]
) -> Iterator[tuple[date, pl.DataFrame, slice | npt.NDArray[Any]]]:
    """Each day with its rows, in the order in which they stand, and where those are."""
    numbers = distinct(days)
    if len(numbers) == 1:
        yield date_of(numbers[0]), rows, slice(None)
    elif len(numbers) <= _FEW_DAYS:
        for number in numbers:
            mine = days == number
            yield date_of(number), rows.filter(pl.Series(mine)), mine
    else:
        order = np.argsort(days, kind="stable")
        rows, days = rows[order], days[order]
        ends = np.searchsorted(days, numbers, side="right")
        for number, first, last in zip(numbers, [0, *ends], ends, strict=False):
            yield date_of(number), rows[int(first) : int(last)], order[first:last]
