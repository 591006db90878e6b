"""Arranging: the block file that is derived from a record file, made and checked, in memory that does not grow with it.

Its rows come from the record file as it is on disk, which is measured on the way: one reading both proves the record
file and feeds the blocks. Where all rows are in memory it is made of those, beside the record file, which is proved by
itself. `fault` compares a block file with the record file by its row sum: one that lacks a row, has one too many or
another one is named; and its posting lists and first keys with its own rows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from threading import Event

import numpy as np

from ingest.record import HOW_MUCH, SCHEMA, category_of
from trafficvault import ordering, partitions, sealed_parquet, seen
from trafficvault.block_cells import CellPosting
from trafficvault.block_form import ROWS, order_key
from trafficvault.block_lists import Lists
from trafficvault.block_posting import OrderKeys, Posting
from trafficvault.block_writing import Builder
from trafficvault.blocks import BlockFile
from trafficvault.durable import Disk
from trafficvault.errors import FaultError, RefusedError
from trafficvault.keys import Custody
from trafficvault.layout import Layout
from trafficvault.ordering import Order
from trafficvault.packed_rows import PackedRows
from trafficvault.packing import Rows
from trafficvault.row_groups import RowGroup
from trafficvault.sealed_parquet import Place

_SLAB = sealed_parquet.ROW_GROUP
"""Rows that are arranged at once."""


@dataclass(frozen=True, slots=True)
class Arranged:
    """A block file that was written: keyed digest and size in bytes; and what its records reach."""

    digest: str
    bytes: int
    reach: tuple[date, date]


def arrange(
    disk: Disk,
    layout: Layout,
    custody: Custody,
    place: Place,
    row_sum: str,
    told: Callable[[int], None] = lambda rows: None,
) -> Arranged:
    """Writes the block file of the record file `place`, whose records must have `row_sum`.

    `told` is called with the number of rows that were written since its last call. Raises `FaultError` when the record
    file can't be read or holds other records; there is no block file then.
    """
    keys = partitions.file_keys(custody, place)
    reading = _Reading(layout, custody, place, keys, row_sum)

    def fill(part: Path) -> None:
        with Builder(part, place, keys) as builder:
            for rows in reading.in_order(layout.spill):
                builder.add(rows)
                told(rows.frame.height)
            builder.finish()

    disk.make_directory(layout.spill)
    return _arranged(disk, layout, custody, place, fill, lambda: (reading.opened.rows, reading.reach))


def arrange_beside(
    disk: Disk,
    layout: Layout,
    custody: Custody,
    place: Place,
    rows: PackedRows,
    meanwhile: Callable[[], tuple[date, date]],
) -> Arranged:
    """Writes the block file of the record file `place`, which `meanwhile` writes of the same `rows`, and proves, and
    of which it returns the reach.

    Raises what `meanwhile` raises; there is no block file then.
    """
    keys = partitions.file_keys(custody, place)
    stop = Event()
    reach = place.day, place.day

    def build(part: Path) -> None:
        with Builder(part, place, keys) as builder:
            for frame in rows.in_blocks(_SLAB):
                if stop.is_set():
                    return
                builder.add(frame)
            builder.finish()

    def fill(part: Path) -> None:
        nonlocal reach
        with ThreadPoolExecutor(1) as other:
            building = other.submit(build, part)
            try:
                # On this thread: pyarrow asks for its keys on the one that waits for them.
                reach = meanwhile()
            except BaseException:
                stop.set()
                raise
            building.result()

    return _arranged(disk, layout, custody, place, fill, lambda: (rows.height, reach))


def proved(
    layout: Layout, custody: Custody, place: Place, row_sum: str, but: Collection[str] = ()
) -> tuple[date, date]:
    """The reach of the record file `place`, which is read from disk. Raises `FaultError` unless its records have
    `row_sum` and its footer says so. Text columns of which hardly a value repeats may be named in `but`.
    """
    reading = _Reading(layout, custody, place, partitions.file_keys(custody, place), row_sum)
    for _ in reading.proved(but):
        pass
    return reading.reach


def _arranged(
    disk: Disk,
    layout: Layout,
    custody: Custody,
    place: Place,
    fill: Callable[[Path], None],
    told: Callable[[], tuple[int, tuple[date, date]]],
) -> Arranged:
    """Creates the block file by `fill`, after which `told` says how many rows it must have, and their reach."""
    path = layout.blocks_file(place.record_class, place.day, place.file_id)
    disk.create_by(path, fill)
    rows, reach = told()
    if BlockFile.open(path, place, partitions.file_keys(custody, place)).height != rows:
        raise FaultError(f"arranging the records of {place}: its block file has another number of rows")
    return Arranged(partitions.keyed_digest_of(custody, path), path.stat().st_size, reach)


def fault(layout: Layout, custody: Custody, place: Place, row_sum: str) -> str | None:
    """What is wrong with the block file of `place`, whose records have `row_sum`; None when it holds just them.

    Where a category of the day was destroyed, or another Polars made the sum, it can only be opened and read.
    """
    try:
        keys = partitions.file_keys(custody, place)
        path = layout.blocks_file(place.record_class, place.day, place.file_id)
        columns = [name for name in SCHEMA.names if category_of(name, place.record_class) in keys]
        rows = total = 0
        file, posting, first_keys = BlockFile.open(path, place, keys), Posting(), list[bytes]()
        cells = CellPosting(place.record_class)
        for frame in file.every(columns):
            rows += frame.height
            total = (total + partitions.total_of(frame, columns)) % 2**64
            there = Rows(frame, {})
            order = OrderKeys(there, by_served=file.by_served)
            posting.add(there, order)
            cells.add(there)
            first_keys += [key.encode() for key in order.texts().gather_every(ROWS)]
        # Whether a record without an end was posted for any hour, its duration told: without that, nothing does.
        served = cells.pairs() if HOW_MUCH in keys else None
        made = Lists.of(first_keys, posting.prefixes, posting.by_order, posting.pairs(), served)
        if made.differs_from(file.lists()):
            return "its posting lists or first keys are not those of its rows, so lookups would miss some"
        found = partitions.row_sum_of(custody, place, rows, total).partition(":")
    except FaultError as problem:
        return str(problem)
    except RefusedError:
        return None
    its = row_sum.partition(":")
    if found[0] == its[0] and found[2] != its[2]:
        return f"its block file holds {rows} records, and they are not those of the file"
    return None


class _Reading:
    """A record file that is read once, proved, and put in the order of blocks."""

    def __init__(self, layout: Layout, custody: Custody, place: Place, keys: Mapping[str, bytes], row_sum: str) -> None:
        self._custody, self._place, self._row_sum, self._keys = custody, place, row_sum, keys
        self._path = layout.record_file(place.record_class, place.day, place.file_id)
        self.opened = sealed_parquet.unwrap(self._path, place, keys, ())
        self.reach = place.day, place.day
        """The first and the last UTC date that a record touches, once all were read."""

    def in_order(self, spill: Path) -> Iterator[Rows]:
        """All rows, as a block file has them. Raises `FaultError` before the first when they are not what they should
        be.
        """
        present, rows = self.opened.present, self.opened.rows
        order = Order(order_key(present), tuple(order_key(present).meta.root_names()))
        weight = ordering.weight_of(sealed_parquet.head(self._path, self._place, self._keys, present, ordering.HEAD))
        # Without any of them the rows are cut where they stand, and counted by some column.
        by = [name for name in present if name == "start" or name in order.columns] or present[:1]
        frames = (group.frame(by) for group in self._groups(by))
        read = (group.frame(present) for group in self.proved())
        return ordering.in_order(lambda: read, lambda: frames, order, rows, weight, spill)

    def proved(self, but: Collection[str] = ()) -> Iterator[RowGroup]:
        """The rows in the order of the file; at the end raises `FaultError` when they are not what they should be. Text
        columns of which hardly a value repeats may be named in `but`.
        """
        rows = total = 0
        for group in self._groups(self.opened.present, but):
            rows += group.height
            total = (total + int(seen.mixed(seen.sums_of(group, group.names)).sum(dtype=np.uint64))) % 2**64
            times = group.frame(name for name in group.names if name in partitions.REACHING)
            first, last = partitions.reach_of(times, self._place.record_class, self._place.day)
            self.reach = min(self.reach[0], first), max(self.reach[1], last)
            yield group
        found = partitions.row_sum_of(self._custody, self._place, rows, total)
        if not found == self._row_sum == self.opened.told.get(partitions.CONSERVED):
            raise FaultError(
                f"merging into {self._place}: the file, read back, does not hold the records that went into it; "
                f"nothing was exchanged"
            )

    def _groups(self, columns: Sequence[str], but: Collection[str] = ()) -> Iterator[RowGroup]:
        return map(RowGroup.of, sealed_parquet.tables(self._path, self._place, self._keys, columns, but))
