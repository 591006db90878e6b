"""Portions: a day with more matches than are to be held at once is given to a stream in portions of its time.

Its files are read several times and nothing is put down. The first reading keeps the moment of each match, where in the
files the matches of which time are, and by a hash which records have several versions. Then each portion is read by
itself: its own rows, and as neighbours the company that they have in others, so that a call is put together and
versions are counted as if the day had been read whole. Where files stand in the order of time, as compacted ones do,
that comes to reading the day twice; a file in no order is read once for each portion.

Held whole are the calls of several parts and the versions that other portions have; a moment is never divided.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl

from ingest.record import INTERVAL_CLASSES
from ingest.sound import EVENT_ANCHOR, INTERVAL_ANCHOR
from queries import scope
from queries.scope import ANSWER_DAY, Scope
from trafficvault.holdings import StoredFile
from trafficvault.reading import FILE_DAY, Filter, Reader, nothing
from trafficvault.slicing import moment, slices

PORTION_ROWS = 131_072
"""About how many matches are held at once."""

Span = tuple[int | None, int | None]
"""From a moment, in microseconds, to before another; without one there is no bound."""
_Hashes = npt.NDArray[np.uint64]
_Numbers = npt.NDArray[np.int64]

_ROW = ("source", "batch", "row", "occurrence")
_NEVER = np.iinfo(np.int64).max
"""Rows without a moment come last."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PART_BITS = 4
_NEIGHBOUR = -1
"""The portion of what is of a day beside."""


class Portions:
    """The matches of one day, found once and read again portion by portion."""

    def __init__(self, reader: Reader, wanted: Scope, near: Iterable[StoredFile], day: date, most: int) -> None:
        """`near` are the files of the day and of those beside it; a portion has about `most` matches."""
        self._reader, self._scope, self._day = reader, wanted, day
        self._near = list(near)
        self._files = [file for file in self._near if file.day == day]
        self._groups: dict[str, list[tuple[int, int, int]]] = {file.file_id: [] for file in self._files}
        moments: list[_Numbers] = [np.empty(0, np.int64)]
        records: list[tuple[_Hashes, _Numbers]] = []
        calls = [_no_calls()]
        for file in self._files:
            for number, rows in reader.groups(file, self._matching):
                at = _moments(rows)
                self._groups[file.file_id].append((number, int(at.min()), int(at.max())))
                moments.append(at)
                records.append(_records(rows, at))
                calls.append(_calls(rows, day, wanted))
        self.calls = pl.concat(calls).unique()
        """The calls of several parts in which a target is found on this day."""
        ordered = np.concatenate(moments)
        ordered.sort()
        self.rows = len(ordered)
        self._begins: _Numbers = np.unique(ordered[:: max(1, most)])[1:]
        self._records = [(hashes, self._portion(at)) for hashes, at in records]

    def given(self, calls: pl.DataFrame, size: int) -> Iterator[pl.DataFrame]:
        """The rows in scope, in slices of about `size` in the order of time, each with its company marked `neighbour`.

        `calls` are those of this day's answer, by their correlation id. Can be drawn once.
        """
        versions = self._versions(calls, self._several(calls))
        bounds = [None, *self._begins.tolist(), None]
        for span in pairwise(bounds):
            # Kept nowhere but there: the next portion is read when this one is gone.
            yield from slices(self._selected(calls, versions, span), size)

    def _selected(self, calls: pl.DataFrame, versions: pl.DataFrame, span: Span) -> pl.DataFrame:
        """The rows in scope of a portion, and its company."""
        rows = self._inside(calls, span)
        beside = self._beside(rows, versions, calls, span)
        return scope.select(pl.concat([rows, beside], how="diagonal_relaxed") if beside.height else rows, self._scope)

    def _matching(self, columns: Collection[str]) -> pl.Expr:
        return scope.prefilter(self._scope, columns)

    def _several(self, calls: pl.DataFrame) -> pl.Series:
        """The records, by their hash, of which more than one portion has a version."""
        found, self._records = self._records, []
        for rows in self._parts(calls):
            hashes, at = _records(rows, _moments(rows))
            beside = rows["neighbour"][0]
            found.append((hashes, np.full(len(at), _NEIGHBOUR, np.int32) if beside else self._portion(at)))
        again = _twice([hashes for hashes, _ in found])
        frames = [pl.DataFrame(schema={"hash": pl.UInt64, "portion": pl.Int32})]
        for hashes, portion in found if len(again) else []:
            those = np.isin(hashes, again)
            frames.append(pl.DataFrame({"hash": hashes[those], "portion": portion[those]}))
        placed = pl.concat(frames).unique()
        return placed.group_by("hash").len().filter(pl.col("len") > 1)["hash"]

    def _portion(self, at: _Numbers) -> npt.NDArray[np.int32]:
        """The portion of each moment, from 0."""
        return np.searchsorted(self._begins, at, side="right").astype(np.int32)

    def _versions(self, calls: pl.DataFrame, several: pl.Series) -> pl.DataFrame:
        """All versions of the records `several`, wherever they are."""
        frames = [_nothing()]
        if len(several):
            those = several.implode()
            for file in self._files:
                own = (_own(rows, self._day) for _, rows in self._reader.groups(file, self._matching))
                frames += [rows.filter(_hash(rows).is_in(those)) for rows in own]
            frames += [rows.filter(_hash(rows).is_in(those)) for rows in self._parts(calls)]
        return pl.concat(frames, how="diagonal_relaxed").unique(_ROW, keep="first")

    def _inside(self, calls: pl.DataFrame, span: Span) -> pl.DataFrame:
        """The rows of a portion that may be in scope."""
        frames = [_nothing()]
        for file in self._files:
            among = [number for number, *reach in self._groups[file.file_id] if _meets(reach, span)]
            if among:
                groups = self._reader.groups(file, _within(self._matching, file, span), among)
                frames += [_own(rows, self._day) for _, rows in groups]
        parts = list(self._parts(calls, span))
        rows = pl.concat([*frames, *parts], how="diagonal_relaxed")
        return rows.unique(_ROW, keep="first") if parts else rows

    def _beside(self, rows: pl.DataFrame, versions: pl.DataFrame, calls: pl.DataFrame, span: Span) -> pl.DataFrame:
        """What stands in other portions, and on the days beside, of the calls and records of which `rows` are."""
        hashes = _hash(rows).drop_nulls().implode() if versions.height else None
        frames = [versions if hashes is None else versions.filter(_hash(versions).is_in(hashes))]
        touched = pl.concat([rows, frames[0]], how="diagonal_relaxed")
        if calls.height and "part" in touched.columns:
            ids = touched.filter((pl.col("part") != "only").fill_null(False))["correlation_id"].unique()
            frames += self._parts(calls.filter(pl.col("correlation_id").is_in(ids.implode())))
        beside = pl.concat(frames, how="diagonal_relaxed").unique(_ROW, keep="first")
        begin, end = span
        at = _moments(beside)
        inside = (at >= (-_NEVER if begin is None else begin)) & ((at < end) if end is not None else np.True_)
        return beside.filter(beside["neighbour"] | pl.Series(~inside)).with_columns(neighbour=pl.lit(True))

    def _parts(self, calls: pl.DataFrame, span: Span | None = None) -> Iterator[pl.DataFrame]:
        """The parts of `calls`: those of the day itself that are in the `span`, or, without one, all that there are;
        what is of a day beside is marked `neighbour`.
        """
        if calls.is_empty():
            return

        def of_calls(columns: Collection[str]) -> pl.Expr:
            return scope.call_filter(calls)

        for file in self._near if span is None else self._files:
            only = of_calls if span is None else _within(of_calls, file, span)
            for _, rows in self._reader.groups(file, only):
                yield _own(rows, self._day).with_columns(neighbour=pl.lit(file.day != self._day))


def _nothing() -> pl.DataFrame:
    return nothing().select(pl.exclude(FILE_DAY), pl.lit(None, pl.Date).alias(ANSWER_DAY), neighbour=pl.lit(False))


def _own(rows: pl.DataFrame, day: date) -> pl.DataFrame:
    """`rows` as those of the answer of `day`."""
    return rows.select(pl.exclude(FILE_DAY), pl.lit(day).alias(ANSWER_DAY), neighbour=pl.lit(False))


def _moments(rows: pl.DataFrame) -> _Numbers:
    """The moment of each row, by which a stream is ordered, in microseconds."""
    return rows.select(moment(rows).dt.epoch("us").fill_null(_NEVER)).to_series().to_numpy()


def _within(only: Filter, file: StoredFile, span: Span) -> Filter:
    """What holds for the rows of `file` for which `only` does and whose moment is in `span`."""

    def both(columns: Collection[str]) -> pl.Expr:
        names = INTERVAL_ANCHOR if file.record_class in INTERVAL_CLASSES else EVENT_ANCHOR
        there = [pl.col(name) for name in names if name in columns]
        at = pl.coalesce(there) if len(there) > 1 else there[0] if there else pl.lit(None, pl.Datetime("us", "UTC"))
        begin, end = (None if bound is None else _EPOCH + timedelta(microseconds=bound) for bound in span)
        after = pl.lit(True) if begin is None else at >= begin
        return only(columns) & (after | at.is_null() if end is None else after & (at < end))

    return both


def _meets(reach: Iterable[int], span: Span) -> bool:
    """Whether what has a first and a last moment has one in `span`."""
    (first, last), (begin, end) = reach, span
    return (begin is None or last >= begin) and (end is None or first < end)


def _hash(rows: pl.DataFrame) -> pl.Series:
    """The record that each row is a version of, as a number; null where it tells none."""
    if "record_id" not in rows.columns or rows["record_id"].dtype == pl.Null:
        return pl.Series("hash", [None], pl.UInt64).new_from_index(0, rows.height)
    number = pl.col("record_id").hash(0) ^ pl.col("source").cast(pl.String).hash(1)
    return rows.select(hash=pl.when(pl.col("record_id").is_not_null()).then(number)).to_series()


def _records(rows: pl.DataFrame, at: _Numbers) -> tuple[_Hashes, _Numbers]:
    """Which record each row is a version of, and when; of rows that tell none, nothing."""
    hashes = _hash(rows)
    there = at[hashes.is_not_null().to_numpy()] if hashes.null_count() else at
    return hashes.drop_nulls().to_numpy(), there


def _twice(hashes: Sequence[_Hashes]) -> _Hashes:
    """What stands more than once in all of `hashes`: part by part, so that they are not all there a second time."""
    found = [np.empty(0, np.uint64)]
    for part in range(1 << _PART_BITS):
        least = np.uint64(64 - _PART_BITS)
        ordered = np.concatenate([found[0], *(some[some >> least == part] for some in hashes)])
        ordered.sort()
        found.append(np.unique(ordered[1:][ordered[1:] == ordered[:-1]]))
    return np.concatenate(found)


def _calls(rows: pl.DataFrame, day: date, wanted: Scope) -> pl.DataFrame:
    """The calls of several parts in which a target is found, as calls of that day."""
    return scope.calls(rows.with_columns(pl.lit(day).alias(ANSWER_DAY)), wanted).cast({"source": pl.String})


def _no_calls() -> pl.DataFrame:
    return pl.DataFrame(schema={"source": pl.String, "correlation_id": pl.String, ANSWER_DAY: pl.Date})
