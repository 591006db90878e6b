"""Partitions: the files of one class and day, read under released keys or in custody; their digests, sums, seen blocks.

A file is written once, under a random id, with the day's keys in the ring beforehand; it counts only when the
catalogue says so. Its rows stand as they were delivered, or, once merged, in the order of `start`: never in that of a
`who` or `where` value. A column that is null throughout is not written and reads as null. Beside each file lies its
seen block, derived from it.

`read_released` and `released_keys` take keys that a warrant opened and are all that disclosure may call. What takes a
custody is for the acts of the house, which make no package.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl

from ingest.record import CATEGORIES, FRAME, HOW_MUCH, INTERVAL_CLASSES, WHEN, WHO, category_of
from trafficvault import sealed_parquet, sealing, seen, signing
from trafficvault.durable import Disk
from trafficvault.errors import FaultError, RefusedError
from trafficvault.keys import Custody, Released
from trafficvault.layout import Layout
from trafficvault.sealed_parquet import Place

CONSERVED = f"{sealed_parquet.TOLD}conserved"
"""Under this name the footer of a merged file tells the row sum of what went into it."""
SLICE = 8 * sealed_parquet.ROW_GROUP
"""Rows that verify and duplicates hold in memory at once."""
_SEEN_CATEGORIES = (WHO, WHEN, HOW_MUCH)
_TIMES = ("start", "answer", "end", "reported_at")
REACHING = (*_TIMES, "duration_ms")
"""The columns by which a record reaches from one moment to another."""
_LAST = date(2199, 12, 31)
"""As far as a record's reach goes; no warrant's window begins later."""
_DAY_US = 86_400_000_000
_LONGEST_MS = 10 * 366 * 86_400_000
"""A duration beyond ten years is a mistake of its source, and would only widen the reach of its file."""


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """What the catalogue keeps of a file."""

    record_class: str
    day: date
    file_id: str
    rows: int
    bytes: int
    digest: str
    row_sum: str
    reach_from: date
    reach_to: date
    columns: tuple[str, ...]
    generation: int = 1

    def as_row(self) -> dict[str, object]:
        """The file's columns of the catalogue's row, without what its commit adds."""
        return {
            "id": self.file_id,
            "record_class": self.record_class,
            "day": self.day.isoformat(),
            "rows": self.rows,
            "bytes": self.bytes,
            "digest": self.digest,
            "row_sum": self.row_sum,
            "reach_from": self.reach_from.isoformat(),
            "reach_to": self.reach_to.isoformat(),
            "columns": signing.canonical(list(self.columns)).decode(),
            "generation": None if self.generation == 1 else self.generation,
        }


@dataclass(frozen=True, slots=True)
class Measured:
    """What a file holds, as read back from disk."""

    rows: int
    row_sum: str
    reach_from: date
    reach_to: date
    columns: tuple[str, ...]
    told: str | None = None
    """The row sum that its footer tells, of what compaction made it from; None for a file that was delivered."""

    def differs_from(self, row_sum: str) -> bool:
        """Whether the file holds other records than those of `row_sum`; false when another Polars made that one."""
        mine, theirs = self.row_sum.partition(":"), row_sum.partition(":")
        return mine[0] == theirs[0] and mine[2] != theirs[2]


def keyed_digest_of(custody: Custody, path: Path) -> str:
    """HMAC-SHA256 of the ciphertext of the file at `path` under the catalogue's key, as hex; it is never whole in
    memory. Raises `OSError` when it can't be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hmac.new(custody.key("catalogue"), digestmod="sha256")).hexdigest()


def read_released(
    layout: Layout,
    released: Sequence[Released],
    file_id: str,
    columns: Sequence[str],
    only: pl.Expr | None = None,
    among: Collection[int] | None = None,
) -> Iterator[tuple[int, pl.DataFrame]]:
    """The `columns` of a file, of the rows for which `only` holds, under the keys that a warrant opened: row group by
    row group, those `among` which are given or all, each with its number.

    `released` holds the `frame` key of the file's class and day and one for each category wanted; `only` may use no
    other category either. A column that the file has not reads as null. Raises `RefusedError` for a column outside.
    """
    place, keys = released_keys(released, file_id)
    path, opened, asked = _opened(layout, place, keys, columns, only)
    offset = 0
    for number, rows in enumerate(opened.groups):
        if among is None or number in among:
            lazy = sealed_parquet.scan(path, opened, asked).slice(offset, rows)
            yield number, sealed_parquet.collect(_filtered(lazy, only).select(columns), place)
        offset += rows


def released_keys(released: Sequence[Released], file_id: str) -> tuple[Place, dict[str, bytes]]:
    """Which file it is, and its keys by category, from day keys that a warrant opened.

    Raises `RefusedError` unless they are the `frame` key and others of one class and day, all of them living; and for
    a token of any other kind, such as an act of the house has.
    """
    if not all(isinstance(one, Released) for one in released):
        raise RefusedError("reading a file: among the keys is a token that no warrant released")
    days = {(one.record_class, one.day, one.day_generation) for one in released}
    if len(days) != 1 or FRAME not in {one.category for one in released}:
        raise RefusedError("reading a file: the released keys are not the frame key and others of one class and day")
    keys = {one.category: sealing.derive(one.key, "file", file_id) for one in released}
    record_class, day, generation = days.pop()
    return Place(record_class, day, file_id, generation), keys


def read_in_custody(
    layout: Layout,
    custody: Custody,
    record_class: str,
    day: date,
    file_id: str,
    columns: Sequence[str],
    only: pl.Expr | None = None,
    generation: int = 1,
) -> pl.DataFrame:
    """As `read_released`, for an act of the house: with every category whose key still lives. Never for a package."""
    place = Place(record_class, day, file_id, generation)
    return _read(layout, place, file_keys(custody, place), columns, only)


def measure(
    layout: Layout, custody: Custody, record_class: str, day: date, file_id: str, generation: int = 1
) -> Measured:
    """Reads the whole file and recomputes what the catalogue keeps of its records. Raises `FaultError` when it can't.

    Where a category of the day was destroyed, the records can only be counted: `row_sum` is empty and differs from
    none.
    """
    place = Place(record_class, day, file_id, generation)
    keys = file_keys(custody, place)
    opened = sealed_parquet.unwrap(layout.record_file(record_class, day, file_id), place, keys, ())
    columns = [name for name in opened.present if category_of(name, record_class) in keys]
    count, total, reach = 0, 0, [day]
    for rows in slices(layout, place, keys, columns):
        count += rows.height
        total = (total + total_of(rows, columns)) % 2**64
        reach += reach_of(rows, record_class, day)
    row_sum = row_sum_of(custody, place, count, total) if len(keys) == len(CATEGORIES) else ""
    return Measured(count, row_sum, min(reach), max(reach), opened.present, opened.told.get(CONSERVED))


def seen_fault(
    layout: Layout, custody: Custody, record_class: str, day: date, file_id: str, generation: int = 1
) -> str | None:
    """`missing` or `bit flip` when the seen block of a file is not the one that its records give; None when it is.

    One that another version of Polars made is no fault: it can't be compared, and is made again when it is next used.
    """
    place = Place(record_class, day, file_id, generation)
    if not all(custody.has(place.day_key_id(category)) for category in _SEEN_CATEGORIES):
        return None  # it died with the first of its keys
    path = layout.seen_file(record_class, day, file_id)
    if not path.is_file():
        return "missing"
    try:
        block = seen.unpack(sealing.unseal(seen_key(custody, place), path.read_bytes(), f"seen {place}"))
    except FaultError:
        return "bit flip"
    if block is None:
        return None
    derived = np.sort(seen.shorten(seen_hashes(layout, custody, place)))
    return None if np.array_equal(block, derived) else "bit flip"


def file_keys(custody: Custody, place: Place) -> dict[str, bytes]:
    """The file's key of every category whose day key lives. Raises `RefusedError` when `frame` does not."""
    ids = {category: place.day_key_id(category) for category in CATEGORIES}
    return {
        category: sealing.derive(custody.key(name), "file", place.file_id)
        for category, name in ids.items()
        if category == FRAME or custody.has(name)
    }


def _read(
    layout: Layout, place: Place, keys: Mapping[str, bytes], columns: Sequence[str], only: pl.Expr | None
) -> pl.DataFrame:
    path, opened, asked = _opened(layout, place, keys, columns, only)
    return sealed_parquet.collect(_filtered(sealed_parquet.scan(path, opened, asked), only).select(columns), place)


def _opened(
    layout: Layout, place: Place, keys: Mapping[str, bytes], columns: Sequence[str], only: pl.Expr | None
) -> tuple[Path, sealed_parquet.DataKeys, list[str]]:
    """The file, what opens `columns` and those of `only`, and these. Raises `RefusedError` for one without a key."""
    asked = list(dict.fromkeys([*columns, *(only.meta.root_names() if only is not None else ())]))
    for name in asked:
        sealed_parquet.require_granted(name, place.record_class, keys)
    path = layout.record_file(place.record_class, place.day, place.file_id)
    return path, sealed_parquet.unwrap(path, place, keys, asked), asked


def _filtered(rows: pl.LazyFrame, only: pl.Expr | None) -> pl.LazyFrame:
    return rows if only is None else rows.filter(only)


def slices(layout: Layout, place: Place, keys: Mapping[str, bytes], columns: Sequence[str]) -> Iterator[pl.DataFrame]:
    """The rows of a file in its order, in frames of bounded size."""
    path = layout.record_file(place.record_class, place.day, place.file_id)
    opened = sealed_parquet.unwrap(path, place, keys, columns)
    for offset in range(0, opened.rows, SLICE):
        yield sealed_parquet.collect(sealed_parquet.scan(path, opened, columns).slice(offset, SLICE), place)


def seen_key(custody: Custody, place: Place) -> bytes:
    """Of three categories together: with one of them destroyed, nothing opens the block."""
    days = (custody.key(place.day_key_id(name)) for name in _SEEN_CATEGORIES)
    return sealing.derive(b"".join(days), "seen", place.file_id)


def seen_hashes(layout: Layout, custody: Custody, place: Place) -> seen.Hashes:
    """The hashes that the seen block of a file is made of, in the order of its rows."""
    columns = seen.hashed_columns(place.record_class)
    found = slices(layout, place, file_keys(custody, place), columns)
    return np.concatenate([seen.row_hashes(rows, columns) for rows in found])


def write_seen(disk: Disk, layout: Layout, custody: Custody, place: Place, hashes: seen.Hashes) -> None:
    """Writes the seen block of the file, whose row hashes over the hashed columns are `hashes`, in any order."""
    path = layout.seen_file(place.record_class, place.day, place.file_id)
    seen.write_block(disk, path, seen_key(custody, place), f"seen {place}", seen.shorten(hashes))


def total_of(rows: pl.DataFrame, columns: Iterable[str]) -> int:
    """The sum of the rows' hashes modulo 2**64: of any part of a file, and whatever their order."""
    return int(seen.row_hashes(rows, columns).sum(dtype=np.uint64))


def row_sum_of(custody: Custody, place: Place, rows: int, total: int) -> str:
    """Which records a file holds: their number and the `total` of their hashes, keyed.

    Keyed by all five day keys: nobody can guess a destroyed value and try it against what the catalogue kept."""
    days = b"".join(custody.key(place.day_key_id(category)) for category in CATEGORIES)
    key = sealing.derive(days, "row-sum", place.file_id)
    keyed = hmac.new(key, f"{rows}/{total:016x}".encode(), hashlib.sha256).hexdigest()
    return f"{seen.algorithm()}:{keyed}"


def require_day(rows: pl.DataFrame, record_class: str, day: date) -> None:
    """Every row's anchor is on `day`: a row in another day's file would die with that day."""
    anchors = ("end", "reported_at", "start") if record_class in INTERVAL_CLASSES else ("start",)
    there = [name for name in anchors if name in rows.columns]
    if there and not rows[there[0]].null_count() and _within(rows[there[0]], day):
        return
    days = rows.select(pl.coalesce(there).dt.date()).to_series() if there else pl.Series([], dtype=pl.Date)
    outside = rows.height - int((days == day).sum())
    if outside:
        what = f"writing {record_class} {day.isoformat()}"
        raise FaultError(f"{what}: {outside} of {rows.height} records are of another day")


def _within(moments: pl.Series, day: date) -> bool:
    """Whether all of `moments` are on `day`, told by the first and the last of them."""
    first, last = moments.to_physical().min(), moments.to_physical().max()
    number = day.toordinal() - date(1970, 1, 1).toordinal()
    return all(isinstance(one, int) and one // _DAY_US == number for one in (first, last))


def reach_of(rows: pl.DataFrame, record_class: str, day: date) -> tuple[date, date]:
    """The first and the last UTC date that a record touches, the end that its duration gives included.

    A binding that tells no end, report or duration lasts until somebody says otherwise: it touches every later date.
    """
    firsts = [pl.col(name).min() for name in _TIMES if name in rows.columns]
    lasts = [pl.col(name).max() for name in _TIMES if name in rows.columns]
    if {"start", "duration_ms"} <= set(rows.columns):
        lasting = pl.duration(milliseconds=pl.col("duration_ms").clip(0, _LONGEST_MS))
        lasts.append((pl.col("start") + lasting).max())  # never before the start
    if not lasts:
        return day, day
    ends = rows.select(pl.min_horizontal(firsts).dt.date().alias("first"), pl.max_horizontal(lasts).dt.date())
    first, last = ends.row(0)
    closing = [pl.col(name).is_null() for name in ("end", "reported_at", "duration_ms") if name in rows.columns]
    if record_class == "binding" and rows.select(pl.all_horizontal([pl.lit(True), *closing]).any()).item():
        last = _LAST
    # Capped, because Python's dates end with the year 9999, and a broken source may name that.
    return min(first or day, day), min(max(last or day, day), _LAST)
