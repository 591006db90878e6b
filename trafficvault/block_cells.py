"""The cells of a block file: in which of its blocks somebody was served by a cell in an hour of the day.

Pairs like those of the posting lists, of a cell together with an hour. They are sealed under `who`, `where` and `when`
at once: they tell what these three tell, and go with the first of them. What a record lasted is `how_much`, so its
hours are those that the moments of `when` give. A record whose end a duration alone tells, one that may still be open,
and one of many hours are posted for `ANY` hour, which is looked up with every other.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import polars as pl

from queries.matching import OPEN_CLASS
from trafficvault import postings
from trafficvault.block_form import CELL_COLUMNS, ROWS, Whole
from trafficvault.packing import Rows

ANY = 24
"""Stands for an hour, behind those of the day (UTC)."""
MOST_HOURS = 8
"""A record of more hours than this is posted for `ANY`: one pair in place of one for each."""
_HOUR = 3_600_000_000
_MOMENTS = ("start", "end", "reported_at")


class CellPosting:
    """The pairs of cell, hour and block, 8 bytes each, of the rows that were added so far."""

    def __init__(self, record_class: str) -> None:
        self._is_open = record_class == OPEN_CLASS
        self._pairs: list[postings.Hashes] = []
        self._rows = 0

    def add(self, rows: Rows) -> None:
        """The rows that come next; all but the last that are added are whole blocks."""
        before, height = self._rows, rows.frame.height
        self._rows += height
        columns = [_hashed(rows, name) for name in CELL_COLUMNS if name in rows.frame.columns]
        if not columns:
            return
        first, count = _hours(rows.frame, is_open=self._is_open)
        if len(columns) > 1:
            # Mostly the last cell is the first one.
            (one, its), (there, found) = columns
            columns[1] = there & ~(one & (found == its)), found
        places = np.concatenate([np.flatnonzero(there) for there, _ in columns])
        cells = np.concatenate([found[there] for there, found in columns])
        times = count[places]
        # One by one: the hours that each row touches, in each of which it is found.
        each = np.repeat(np.arange(len(places)), times)
        nth = np.arange(len(each)) - np.repeat(np.cumsum(times) - times, times)
        begin = first[places][each]
        hours = np.where(begin == ANY, ANY, (begin + nth) % ANY)
        blocks = ((before + places[each]) // ROWS).astype(np.uint64)
        self._pairs.append(postings.pairs(postings.hourly(cells[each], hours), blocks))

    def pairs(self) -> postings.Hashes:
        """All pairs, sorted; they are not held any longer."""
        return postings.joined(self._pairs)


def hashes_of(cells: Iterable[str], window: tuple[int, int] | None) -> list[int]:
    """What to look up for records of these cells in a window: its first microsecond, and the one behind it."""
    hours = np.append(_touched(window), ANY)
    return [hashed for cell in cells for hashed in _for_hours(cell, hours)]


def _for_hours(cell: str, hours: Whole) -> list[int]:
    cells = np.full(len(hours), postings.hash_of("cell", cell), np.uint64)
    found: list[int] = postings.hourly(cells, hours).tolist()
    return found


def _touched(window: tuple[int, int] | None) -> Whole:
    """The hours of the day that a window touches."""
    if window is None:
        return np.arange(ANY)
    first, last = window[0] // _HOUR, (window[1] - 1) // _HOUR
    return np.arange(first, min(last, first + ANY - 1) + 1) % ANY


def _hashed(rows: Rows, name: str) -> tuple[npt.NDArray[np.bool_], postings.Hashes]:
    """Which rows have a cell in that column, and the hash of each."""
    if name in rows.texts:
        codes = rows.codes(name)
        return codes != 0, rows.texts[name].hashes("cell").take(codes)
    values = rows.frame[name]
    there = values.is_not_null().to_numpy()
    found = np.zeros(len(values), np.uint64)
    found[there] = postings.hashes("cell", values.drop_nulls().to_arrow(compat_level=pl.CompatLevel.oldest()))
    return there, found


def _hours(rows: pl.DataFrame, *, is_open: bool) -> tuple[Whole, Whole]:
    """The first hour of the day that each row touches, and how many: `ANY`, and one, where they are many or not told.

    A question reckons with a duration, and takes an open binding to last: so does `ANY`.
    """
    moments = {
        name: rows[name].to_physical()
        if name in rows.columns
        else pl.Series([], dtype=pl.Int64).extend_constant(None, rows.height)
        for name in _MOMENTS
    }
    lasts = rows["duration_ms"].is_not_null() if "duration_ms" in rows.columns else pl.lit(False)
    told = pl.DataFrame(moments).with_columns(lasts=lasts | is_open)
    begin = pl.coalesce(_MOMENTS)
    finish = pl.max_horizontal(begin, pl.coalesce("end", "reported_at"))
    hours = finish // _HOUR - begin // _HOUR + 1
    loose = begin.is_null() | (pl.col("end").is_null() & pl.col("lasts")) | (hours > MOST_HOURS)
    found = told.select(
        first=pl.when(loose).then(ANY).otherwise(begin // _HOUR % ANY), count=pl.when(loose).then(1).otherwise(hours)
    )
    return found["first"].to_numpy(), found["count"].to_numpy()
