"""Merging: the record files of one class and day become one, in the order of `start`, with nothing lost on the way.

`merge` reads the sources in custody and writes the merged file into another layout, where it is nobody's until the act
of compaction moves it. It conserves: each source must be, by digest and by row sum, what the catalogue says, and the
merged file, as it is read back from disk, must hold what went in. The footer tells that row sum as well, so that
`verify` can say the same later.

Memory does not grow with the day (`trafficvault.ordering`). Rows of equal start keep the order of their sources, and in
each the order in which they stand.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from ingest.record import SCHEMA
from trafficvault import arranging, ordering, partitions, sealed_parquet, seen
from trafficvault.durable import Disk
from trafficvault.errors import FaultError
from trafficvault.keys import Custody
from trafficvault.layout import Layout
from trafficvault.partitions import WrittenFile
from trafficvault.sealed_parquet import ROW_GROUP, DataKeys, Place

_SLICE = ROW_GROUP
"""Rows that are read at once."""
_LEVEL = 3
"""How hard zstd tries: the file stays as it is for the whole of its term."""
Told = Callable[[int], None]
"""Called with the number of rows that were written since the last call."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file that is merged, as the catalogue knows it."""

    file_id: str
    rows: int
    digest: str
    row_sum: str


@dataclass(frozen=True, slots=True)
class Merged:
    """A merged file, and its block file's keyed digest and size in bytes."""

    file: WrittenFile
    blocks: str
    blocks_bytes: int


@dataclass(frozen=True, slots=True)
class _Opened:
    """A source that was found to be the file that the catalogue knows."""

    source: Source
    place: Place
    path: Path
    keys: DataKeys

    def frames(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Some columns of its rows, in its order; those that it has not are null."""
        for offset in range(0, self.keys.rows, _SLICE):
            lazy = sealed_parquet.scan(self.path, self.keys, columns).slice(offset, _SLICE)
            yield sealed_parquet.collect(lazy, self.place)


def merge(
    disk: Disk,
    layout: Layout,
    target: Layout,
    custody: Custody,
    record_class: str,
    day: date,
    sources: Sequence[Source],
    *,
    keep_seen: bool,
    generation: int = 1,
    told: Told = lambda rows: None,
) -> Merged:
    """Merges `sources`, files of `layout`, into a new file of `target`, with its block file, and with its seen block if
    that is to be kept. All of them lie under day keys of `generation`.

    Raises `FaultError` when a source is not what the catalogue says or the merged file does not hold the same records;
    no source was touched then. Raises `RefusedError` when a category of the day was destroyed.
    """
    opened = [
        _opened(layout, custody, Place(record_class, day, source.file_id, generation), source) for source in sources
    ]
    names = {name for one in opened for name in one.keys.present}
    schema = pa.schema([field for field in SCHEMA if field.name in names])
    place = Place(record_class, day, secrets.token_hex(16), generation)
    keys = partitions.file_keys(custody, place)
    path = target.record_file(record_class, day, place.file_id)
    hashes: list[seen.Hashes] = []
    expected = digest = ""

    def fill(part: Path) -> None:
        nonlocal expected, digest, hashes
        writer = sealed_parquet.Writer(part, schema, place, keys, _LEVEL)
        try:
            totals = _Totals(opened, seen.hashed_columns(record_class) if keep_seen else None)
            for rows in _ahead(_whole_groups(_in_order(opened, schema.names, totals, target.spill))):
                writer.append(rows.to_arrow(compat_level=pl.CompatLevel.oldest()))
                told(rows.height)
            total = totals.require(custody)
            hashes = totals.seen
            expected = partitions.row_sum_of(custody, place, sum(source.rows for source in sources), total)
        except BaseException:
            writer.abandon()
            raise
        writer.close({partitions.CONSERVED: expected})
        digest = partitions.keyed_digest_of(custody, part)

    disk.make_directory(path.parent)
    disk.make_directory(target.spill)
    disk.create_by(path, fill)
    arranged = arranging.arrange(disk, target, custody, place, expected)
    if keep_seen:
        partitions.write_seen(disk, target, custody, place, np.concatenate(hashes))
    rows, size = sum(source.rows for source in sources), path.stat().st_size
    file = WrittenFile(
        record_class, day, place.file_id, rows, size, digest, expected, *arranged.reach, tuple(schema.names), generation
    )
    return Merged(file, arranged.digest, arranged.bytes)


class _Totals:
    """The rows that were taken from each source, and the sum of their hashes."""

    def __init__(self, opened: Sequence[_Opened], seen_by: tuple[str, ...] | None) -> None:
        """`seen_by` are the columns that make a record itself, if that is to be kept."""
        self._opened, self._seen_by = opened, seen_by
        self.seen: list[seen.Hashes] = []
        """Of all rows, in the order in which they were taken."""
        self._rows = dict.fromkeys((one.place.file_id for one in opened), 0)
        self._sums = dict.fromkeys(self._rows, 0)

    def add(self, one: _Opened, rows: pl.DataFrame) -> None:
        """Counts `rows`, which were taken from `one`."""
        self._rows[one.place.file_id] += rows.height
        self._sums[one.place.file_id] += partitions.total_of(rows, rows.columns)
        if self._seen_by is not None:
            self.seen.append(seen.row_hashes(rows, self._seen_by))

    def require(self, custody: Custody) -> int:
        """The sum over all sources. Raises `FaultError` when one gave other records than the catalogue says it has."""
        for one in self._opened:
            rows, total = self._rows[one.place.file_id], self._sums[one.place.file_id] % 2**64
            mine = partitions.row_sum_of(custody, one.place, rows, total).partition(":")
            its = one.source.row_sum.partition(":")
            # Another Polars made the catalogue's sum: then the digest alone, which was compared, speaks for the file.
            if rows != one.source.rows or (mine[0] == its[0] and mine[2] != its[2]):
                raise FaultError(
                    f"merging {one.place}: it gave {rows} records, and the catalogue says {one.source.rows} others"
                )
        return sum(self._sums.values()) % 2**64


def _opened(layout: Layout, custody: Custody, place: Place, source: Source) -> _Opened:
    path = layout.record_file(place.record_class, place.day, place.file_id)
    try:
        digest = partitions.keyed_digest_of(custody, path)
    except OSError as problem:
        raise FaultError(f"merging {place}: it can't be read ({problem.strerror})") from problem
    if digest != source.digest:
        raise FaultError(f"merging {place}: its bytes are not those that were committed; `verify` says more")
    file_keys = partitions.file_keys(custody, place)
    present = sealed_parquet.unwrap(path, place, file_keys, ()).present
    return _Opened(source, place, path, sealed_parquet.unwrap(path, place, file_keys, present))


def _in_order(
    opened: Sequence[_Opened], columns: Sequence[str], totals: _Totals, spill: Path
) -> Iterator[pl.DataFrame]:
    def rows() -> Iterator[pl.DataFrame]:
        for one in opened:
            for frame in one.frames(columns):
                totals.add(one, frame)
                yield frame

    def starts() -> Iterator[pl.DataFrame]:
        return itertools.chain.from_iterable(one.frames(["start"]) for one in opened)

    count = sum(one.keys.rows for one in opened)
    return ordering.in_order(rows, starts, ordering.BY_START, count, _weight(opened, columns), spill)


def _weight(opened: Sequence[_Opened], columns: Sequence[str]) -> float:
    """Bytes that a row takes in memory, by the first rows of the largest source."""
    largest = max(opened, key=lambda one: one.keys.rows)
    lazy = sealed_parquet.scan(largest.path, largest.keys, columns).head(4096)
    return ordering.weight_of(sealed_parquet.collect(lazy, largest.place))


def _ahead(frames: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The same frames; the next is made while one is at work."""
    # Not the writing goes to the other thread: pyarrow asks for its keys on the one that waits for them.
    with ThreadPoolExecutor(1) as other:
        coming = other.submit(next, frames, None)
        while (frame := coming.result()) is not None:
            coming = other.submit(next, frames, None)
            yield frame


def _whole_groups(frames: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The rows of `frames` again, in whole row groups; the last one may be smaller."""
    rest: pl.DataFrame | None = None
    for frame in frames:
        rows = frame if rest is None else pl.concat([rest, frame])
        whole = rows.height // ROW_GROUP * ROW_GROUP
        if whole:
            yield rows[:whole]
        # A copy of its own: a slice would hold on to all of what it was cut from.
        rest = rows[whole:].rechunk() if whole < rows.height else None
    if rest is not None:
        yield rest
