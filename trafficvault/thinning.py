"""Thinning: a record file without some of its rows, or without some categories of some of its rows, written anew under
the next generation of its day's keys.

It conserves: the old file must be, by digest and by row sum, what the catalogue says; what stays and what goes must be
all of it; and the new file, as it is read back from disk, must hold what stays. Rows keep their order. Memory does not
grow with the file: rows are read, judged and written a slice at a time.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from ingest.record import CATEGORIES, SCHEMA, category_of
from trafficvault import blanking, partitions, sealed_parquet, seen
from trafficvault.catalogue import Row
from trafficvault.durable import Disk
from trafficvault.errors import FaultError
from trafficvault.keys import Custody
from trafficvault.layout import Layout
from trafficvault.partitions import WrittenFile
from trafficvault.sealed_parquet import LANDING, MERGED, DataKeys, Place, Writer

_SLICE = sealed_parquet.ROW_GROUP
"""Rows that are read at once."""
_SEEN_BY = ("who", "when", "how_much")


@dataclass(frozen=True, slots=True)
class Going:
    """Which rows go: `of` is given a class and rows with `columns`, null where a file has none, and returns a mask.

    With `categories` every row stays, and what goes of those that the mask marks is their values of these categories.
    """

    columns: tuple[str, ...]
    of: Callable[[str, pl.DataFrame], pl.Series] = field(repr=False)
    categories: tuple[str, ...] = ()

    def mask(self, record_class: str, rows: pl.DataFrame) -> pl.Series:
        """True for each row that goes. A column that `rows` has not is null; so is what is neither true nor false."""
        absent = [pl.lit(None, sealed_parquet.polars_type(name)).alias(name) for name in self.columns]
        asked = rows.with_columns(one for one in absent if one.meta.output_name() not in rows.columns)
        return self.of(record_class, asked.select(self.columns)).fill_null(False)

    def left(self, record_class: str, rows: pl.DataFrame) -> pl.DataFrame:
        """What of `rows`, with all their columns, stays."""
        gone = self.mask(record_class, rows)
        return blanking.without(rows, record_class, self.categories, gone) if self.categories else rows.filter(~gone)


def place_of(row: Row) -> Place:
    """The place of the file that the catalogue's `row` of table `files` tells of."""
    return Place(row["record_class"], date.fromisoformat(row["day"]), row["id"], row["generation"] or 1)


def count(layout: Layout, custody: Custody, row: Row, going: Going) -> int:
    """How many rows of a file go, or lose something. Reads the deciding columns alone.

    Raises `FaultError` when it can't be read.
    """
    place = place_of(row)
    keys = partitions.file_keys(custody, place)
    opened = sealed_parquet.unwrap(_path(layout, place), place, keys, going.columns)
    frames = _frames(layout, place, opened, going.columns)
    return sum(int(going.mask(place.record_class, rows).sum()) for rows in frames)


def thin(disk: Disk, layout: Layout, custody: Custody, row: Row, going: Going, generation: int) -> WrittenFile:
    """Writes what stays of a file as a new one under day keys of `generation`, with its seen block if the old one has
    one. A row must stay. The keys of the new generation must be in the ring, of the categories that live.

    Raises `FaultError` when the old file is not what the catalogue says, or the new one does not hold what stays; the
    old one is untouched.
    """
    old = place_of(row)
    keys = partitions.file_keys(custody, old)
    _require_committed(layout, custody, old, row)
    present = sealed_parquet.unwrap(_path(layout, old), old, keys, ()).present
    columns = [name for name in present if category_of(name, old.record_class) in keys]
    opened = sealed_parquet.unwrap(_path(layout, old), old, keys, columns)
    new = Place(old.record_class, old.day, secrets.token_hex(16), generation)
    stays = _Stays(custody, old, row, going, whole=len(keys) == len(CATEGORIES))
    schema = pa.schema([column for column in SCHEMA if column.name in columns])
    digest = ""

    def fill(part: Path) -> None:
        nonlocal digest
        form = LANDING if row["merged"] is None else MERGED
        writer = Writer(part, schema, new, partitions.file_keys(custody, new), form)
        try:
            for rows in stays.of(_frames(layout, old, opened, columns)):
                writer.append(rows.to_arrow(compat_level=pl.CompatLevel.oldest()))
        except BaseException:
            writer.abandon()
            raise
        # As compaction does, where it made the file: `verify` compares what the footer tells.
        writer.close({partitions.CONSERVED: stays.row_sum(new)} if row["merged"] is not None else None)
        digest = partitions.keyed_digest_of(custody, part)

    path = _path(layout, new)
    disk.make_directory(path.parent)
    disk.create_by(path, fill)
    found = partitions.measure(layout, custody, new.record_class, new.day, new.file_id, generation)
    if found.rows != stays.rows or found.row_sum != stays.row_sum(new):
        raise FaultError(f"removing records of {old}: the new file, read back, does not hold the others; both are left")
    if layout.seen_file(old.record_class, old.day, old.file_id).exists() and set(_SEEN_BY) <= keys.keys():
        partitions.write_seen(disk, layout, custody, new, np.concatenate(stays.hashes))
    filled = tuple(name for name in SCHEMA.names if name in stays.filled)
    reach = found.reach_from, found.reach_to
    size = path.stat().st_size
    return WrittenFile(
        old.record_class, old.day, new.file_id, stays.rows, size, digest, found.row_sum, *reach, filled, generation
    )


class _Stays:
    """The rows of a file that stay: given out as they are read, and what they and the others add up to."""

    def __init__(self, custody: Custody, old: Place, row: Row, going: Going, *, whole: bool) -> None:
        """`whole` says that no category of the day was destroyed, so that rows can be told by their hashes."""
        self._custody, self._old, self._row, self._going, self._whole = custody, old, row, going, whole
        self.rows = 0
        self.hashes: list[seen.Hashes] = []
        self.filled: set[str] = set()
        self._total = 0

    def of(self, frames: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        """Those of `frames`. Raises `FaultError` at the end when these were not all rows that the catalogue knows."""
        seen_by, rows_read, total_read = seen.hashed_columns(self._old.record_class), 0, 0
        for frame in frames:
            rows = self._going.left(self._old.record_class, frame)
            rows_read += frame.height
            total_read += partitions.total_of(frame, frame.columns)
            self.rows += rows.height
            self._total += partitions.total_of(rows, rows.columns)
            if rows.height:
                self.hashes.append(seen.row_hashes(rows, seen_by))
                self.filled |= {name for name in rows.columns if rows[name].null_count() < rows.height}
                yield rows
        mine = self._sum(self._old, rows_read, total_read).partition(":")
        its = str(self._row["row_sum"]).partition(":")
        # Another Polars made the catalogue's sum: then the digest alone, which was compared, speaks for the file.
        if rows_read != self._row["rows"] or (mine[0] == its[0] and mine[2] != its[2]):
            known = self._row["rows"]
            raise FaultError(
                f"removing records of {self._old}: it gave {rows_read} records, the catalogue says {known} others"
            )

    def row_sum(self, new: Place) -> str:
        """What the catalogue keeps of them as the file `new`; empty where a category of the day was destroyed."""
        return self._sum(new, self.rows, self._total)

    def _sum(self, place: Place, rows: int, total: int) -> str:
        return partitions.row_sum_of(self._custody, place, rows, total % 2**64) if self._whole else ""


def _require_committed(layout: Layout, custody: Custody, place: Place, row: Mapping[str, object]) -> None:
    try:
        digest = partitions.keyed_digest_of(custody, _path(layout, place))
    except OSError as problem:
        raise FaultError(f"removing records of {place}: it can't be read ({problem.strerror})") from problem
    if digest != row["digest"]:
        raise FaultError(f"removing records of {place}: its bytes are not those that were committed")


def _frames(layout: Layout, place: Place, opened: DataKeys, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
    for offset in range(0, opened.rows, _SLICE):
        lazy = sealed_parquet.scan(_path(layout, place), opened, columns).slice(offset, _SLICE)
        yield sealed_parquet.collect(lazy, place)


def _path(layout: Layout, place: Place) -> Path:
    return layout.record_file(place.record_class, place.day, place.file_id)
