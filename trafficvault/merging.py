"""Merging: the record files of one class and day become one, in the order of `start`, with nothing lost on the way.

`merge` reads the sources in custody and writes the merged file into another layout, where it is nobody's until the act
of compaction moves it. It conserves: each source must be, by digest and by row sum, what the catalogue says, and the
merged file, as it is read back from disk, must hold what went in. The footer tells that row sum as well, so that
`verify` can say the same later.

Memory does not grow with the day (`trafficvault.ordering`). Rows of equal start keep the order of their sources, and in
each the order in which they stand.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from ingest.record import SCHEMA
from trafficvault import arranging, ordering, packing, partitions, sealed_parquet, seen
from trafficvault.arranging import Arranged
from trafficvault.durable import Disk
from trafficvault.errors import FaultError
from trafficvault.keys import Custody
from trafficvault.layout import Layout
from trafficvault.packed_rows import PackedRows, batches_together
from trafficvault.packing import Packing, Rows, Texts
from trafficvault.partitions import WrittenFile
from trafficvault.row_groups import RowGroup
from trafficvault.sealed_parquet import MERGED, Place

_GROUP = MERGED.row_group
"""Rows that are written at once."""
Told = Callable[[int], None]
"""Called with the number of rows that were written since the last call."""


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """A file that is merged, as the catalogue knows it."""

    file_id: str
    rows: int
    digest: str
    row_sum: str


@dataclasses.dataclass(frozen=True, slots=True)
class Merged:
    """A merged file, and its block file's keyed digest and size in bytes."""

    file: WrittenFile
    blocks: str
    blocks_bytes: int


@dataclasses.dataclass(frozen=True, slots=True)
class _Opened:
    """A source that was found to be the file that the catalogue knows."""

    source: Source
    place: Place
    path: Path
    keys: Mapping[str, bytes] = dataclasses.field(repr=False)
    """By category."""
    present: tuple[str, ...]
    rows: int

    def tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Its row groups, of those columns that it has."""
        there = [name for name in columns if name in self.present]
        return sealed_parquet.tables(self.path, self.place, self.keys, there)

    def frames(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Some columns of its rows, in its order; those that it has not are null."""
        return (RowGroup.of(table).frame(columns) for table in self.tables(columns))


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
    present = {name for one in opened for name in one.present}
    names = [name for name in SCHEMA.names if name in present]
    place = Place(record_class, day, secrets.token_hex(16), generation)
    totals = _Totals(opened, seen.hashed_columns(record_class) if keep_seen else None)
    disk.make_directory(target.partition(record_class, day))
    disk.make_directory(target.spill)
    merging = _Merging(disk, target, custody, place, totals, told)
    if totals.rows * _weight(opened, names) <= ordering.BUDGET:
        arranged = merging.at_once(names)
    else:
        arranged = merging.in_ranges(names)
    if keep_seen:
        partitions.write_seen(disk, target, custody, place, np.concatenate(totals.seen))
    size = target.record_file(record_class, day, place.file_id).stat().st_size
    file = WrittenFile(
        *(record_class, day, place.file_id, totals.rows, size, merging.digest, merging.expected),
        *(*arranged.reach, tuple(names), generation),
    )
    return Merged(file, arranged.digest, arranged.bytes)


class _Merging:
    """The merged file `place` in the making."""

    def __init__(self, disk: Disk, target: Layout, custody: Custody, place: Place, totals: _Totals, told: Told) -> None:
        self._disk, self._target, self._custody = disk, target, custody
        self._place, self._totals, self._told = place, totals, told
        self._path = target.record_file(place.record_class, place.day, place.file_id)
        self.expected = ""
        """The row sum of what went in, once that was read."""
        self.digest = ""
        self._plain: tuple[str, ...] = ()
        """Text columns of which hardly a value repeats."""

    def at_once(self, names: Sequence[str]) -> Arranged:
        """All rows in memory, read once: the record file is written and proved while the block file is made."""
        how = Packing()

        def taken(one: _Opened, table: pa.Table) -> pl.DataFrame:
            group = RowGroup.of(table)
            self._totals.add(one, group)
            return how.pack_group(group, names)

        tables = ((one, table) for one in self._totals.opened for table in one.tables(names))
        packed = _beside(taken, tables)
        self.expected = self._totals.require(self._custody, self._place)
        rows = PackedRows(Rows(how.joined(packed), how.texts))

        def meanwhile() -> tuple[date, date]:
            self._write(rows.in_time(_GROUP))
            return arranging.proved(self._target, self._custody, self._place, self.expected, self._plain)

        return arranging.arrange_beside(self._disk, self._target, self._custody, self._place, rows, meanwhile)

    def in_ranges(self, names: Sequence[str]) -> Arranged:
        """Range after range of rows, dealt out on disk; the blocks are made of the record file, as it is read back."""
        opened = self._totals.opened
        starts = functools.partial(_starts, opened)
        weight, rows = _weight(opened, names), self._totals.rows
        read = functools.partial(self._totals.frames, names)
        ordered = ordering.in_order(read, starts, ordering.BY_START, rows, weight, self._target.spill)
        self._write(map(batches_together, _ahead(_whole_groups(ordered))))
        return arranging.arrange(self._disk, self._target, self._custody, self._place, self.expected)

    def _write(self, groups: Iterator[Rows]) -> None:
        """Writes the record file, a row group of each frame."""
        self._disk.create_by(self._path, functools.partial(self._fill, groups))

    def _fill(self, groups: Iterator[Rows], part: Path) -> None:
        first = next(groups)
        schema = pa.schema([_field(field, first) for field in SCHEMA if field.name in first.frame.columns])
        self._plain = tuple(one.name for one in schema if pa.types.is_string_view(one.type))
        keys = partitions.file_keys(self._custody, self._place)
        writer = sealed_parquet.Writer(part, schema, self._place, keys, MERGED)
        try:
            for rows in itertools.chain([first], groups):
                writer.append(_table(rows, schema))
                self._told(rows.frame.height)
            self.expected = self.expected or self._totals.require(self._custody, self._place)
        except BaseException:
            writer.abandon()
            raise
        writer.close({partitions.CONSERVED: self.expected})
        self.digest = partitions.keyed_digest_of(self._custody, part)


class _Totals:
    """The sources; the rows that were taken from each, and the sum of their hashes."""

    def __init__(self, opened: Sequence[_Opened], seen_by: tuple[str, ...] | None) -> None:
        """`seen_by` are the columns that make a record itself, if that is to be kept."""
        self.opened, self._seen_by = opened, seen_by
        self.rows = sum(one.rows for one in opened)
        self.seen: list[seen.Hashes] = []
        """Of all rows, in the order in which they were taken."""
        self._rows = dict.fromkeys((one.place.file_id for one in opened), 0)
        self._sums = dict.fromkeys(self._rows, 0)

    def frames(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """All rows of all sources, counted as they are taken."""
        for one in self.opened:
            for group in map(RowGroup.of, one.tables(columns)):
                self.add(one, group)
                yield group.frame(columns)

    def add(self, one: _Opened, rows: RowGroup) -> None:
        """Counts those rows, which were taken from that source."""
        own = self._seen_by or ()
        sums = seen.sums_of(rows, own)
        if self._seen_by is not None:
            self.seen.append(seen.mixed(sums))
        hashes = seen.mixed(sums + seen.sums_of(rows, [name for name in rows.names if name not in own]))
        self._rows[one.place.file_id] += rows.height
        self._sums[one.place.file_id] += int(hashes.sum(dtype=np.uint64))

    def require(self, custody: Custody, place: Place) -> str:
        """The row sum over all sources, as that of `place`. Raises `FaultError` when one gave other records than the
        catalogue says it has.
        """
        for one in self.opened:
            rows, total = self._rows[one.place.file_id], self._sums[one.place.file_id] % 2**64
            mine = partitions.row_sum_of(custody, one.place, rows, total).partition(":")
            its = one.source.row_sum.partition(":")
            # Another Polars made the catalogue's sum: then the digest alone, which was compared, speaks for the file.
            if rows != one.source.rows or (mine[0] == its[0] and mine[2] != its[2]):
                raise FaultError(
                    f"merging {one.place}: it gave {rows} records, and the catalogue says {one.source.rows} others"
                )
        # As many as the catalogue says, whatever the footers say.
        rows, total = sum(one.source.rows for one in self.opened), sum(self._sums.values()) % 2**64
        return partitions.row_sum_of(custody, place, rows, total)


def _opened(layout: Layout, custody: Custody, place: Place, source: Source) -> _Opened:
    path = layout.record_file(place.record_class, place.day, place.file_id)
    try:
        digest = partitions.keyed_digest_of(custody, path)
    except OSError as problem:
        raise FaultError(f"merging {place}: it can't be read ({problem.strerror})") from problem
    if digest != source.digest:
        raise FaultError(f"merging {place}: its bytes are not those that were committed; `verify` says more")
    keys = partitions.file_keys(custody, place)
    opened = sealed_parquet.unwrap(path, place, keys, ())
    for name in opened.present:
        sealed_parquet.require_granted(name, place.record_class, keys)
    return _Opened(source, place, path, keys, opened.present, opened.rows)


def _starts(opened: Sequence[_Opened]) -> Iterator[pl.DataFrame]:
    return itertools.chain.from_iterable(one.frames(["start"]) for one in opened)


def _weight(opened: Sequence[_Opened], columns: Sequence[str]) -> float:
    """Bytes that a row takes in memory, by the first rows of the largest source."""
    largest = max(opened, key=lambda one: one.rows)
    return ordering.weight_of(sealed_parquet.head(largest.path, largest.place, largest.keys, columns, ordering.HEAD))


def _beside(
    taken: Callable[[_Opened, pa.Table], pl.DataFrame], tables: Iterable[tuple[_Opened, pa.Table]]
) -> list[pl.DataFrame]:
    """What is `taken` of each of the tables; the next one is read while one is at work."""
    found: list[pl.DataFrame] = []
    with ThreadPoolExecutor(1) as other:
        work: Future[pl.DataFrame] | None = None
        for one, table in tables:
            if work is not None:
                found.append(work.result())
            work = other.submit(taken, one, table)
        if work is not None:
            found.append(work.result())
    return found


def _ahead(frames: Iterator[Rows]) -> Iterator[Rows]:
    """The same frames; the next is made while one is at work."""
    # Not the writing goes to the other thread: pyarrow asks for its keys on the one that waits for them.
    with ThreadPoolExecutor(1) as other:
        coming = other.submit(next, frames, None)
        while (frame := coming.result()) is not None:
            coming = other.submit(next, frames, None)
            yield frame


def _field(field: pa.Field, first: Rows) -> pa.Field:
    """`field` in the type in which its values come: text of which half the values or more repeat in the `first` rows
    as a dictionary, other text as views.
    """
    if field.name in first.texts:
        counts = np.bincount(first.codes(field.name), minlength=1)[1:]
        if 2 * np.count_nonzero(counts) <= counts.sum():
            return pa.field(field.name, pa.dictionary(pa.int32(), pa.string()))
    return pa.field(field.name, pa.string_view()) if field.type == pa.string() else field


def _table(rows: Rows, schema: pa.Schema) -> pa.Table:
    columns = []
    for field in schema:
        if pa.types.is_dictionary(field.type):
            columns.append(packing.dictionary_of(rows.codes(field.name), rows.texts[field.name]))
        elif pa.types.is_string_view(field.type):
            columns.append(rows.column(field.name).to_arrow(compat_level=pl.CompatLevel.newest()))
        else:
            columns.append(rows.frame[field.name].to_arrow(compat_level=pl.CompatLevel.oldest()).cast(field.type))
    return pa.table(columns, schema=schema)


def _whole_groups(parts: Iterator[Rows]) -> Iterator[Rows]:
    """The rows of `parts` again, in whole row groups; the last one may be smaller."""
    rest = pl.DataFrame()
    texts: Mapping[str, Texts] = {}
    for part in parts:
        # Codes may have grown wider.
        rows = pl.concat([rest, part.frame], how="vertical_relaxed") if rest.height else part.frame
        texts = part.texts
        whole = rows.height // _GROUP * _GROUP
        for start in range(0, whole, _GROUP):
            yield Rows(rows[start : start + _GROUP], texts)
        # A copy of its own: a slice would hold on to all of what it was cut from.
        rest = rows[whole:].rechunk()
    if rest.height:
        yield Rows(rest, texts)
