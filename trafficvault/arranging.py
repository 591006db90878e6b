"""Arranging: the block file that is derived from a record file, made and checked, in memory that does not grow with it.

The rows come from the record file as it is on disk, so that what lookups find is what was committed. Both ways the
whole is compared by its row sum, under the keys of the file: a block file that lacks a row, has one too many or another
one is not taken, and `fault` names it later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl

from ingest.record import SCHEMA, category_of
from trafficvault import ordering, partitions, sealed_parquet
from trafficvault.block_form import order_key
from trafficvault.block_writing import Builder
from trafficvault.blocks import BlockFile
from trafficvault.durable import Disk
from trafficvault.errors import FaultError, RefusedError
from trafficvault.keys import Custody
from trafficvault.layout import Layout
from trafficvault.ordering import Order
from trafficvault.sealed_parquet import Place

_SLICE = 2 * sealed_parquet.ROW_GROUP
"""Rows that are read at once."""


def arrange(
    disk: Disk,
    layout: Layout,
    custody: Custody,
    place: Place,
    row_sum: str,
    spill: Path,
    told: Callable[[int], None] = lambda rows: None,
) -> tuple[str, int]:
    """Writes the block file of the record file `place`, and returns its keyed digest and its size in bytes.

    `row_sum` is that of the record file. `spill` is a directory that exists, for `ordering`. Raises `FaultError` when
    the record file can't be read, or the block file does not hold the same records.
    """
    keys = partitions.file_keys(custody, place)
    path = layout.blocks_file(place.record_class, place.day, place.file_id)
    digest = ""

    def fill(part: Path) -> None:
        nonlocal digest
        with Builder(part, place, keys) as builder:
            for rows in _in_order(layout, place, keys, spill):
                builder.add(rows)
                told(rows.height)
            builder.finish()
        digest = partitions.keyed_digest_of(custody, part)

    disk.create_by(path, fill)
    problem = fault(layout, custody, place, row_sum)
    if problem is not None:
        raise FaultError(f"arranging the records of {place}: {problem}; nothing was exchanged")
    return digest, path.stat().st_size


def fault(layout: Layout, custody: Custody, place: Place, row_sum: str) -> str | None:
    """What is wrong with the block file of `place`, whose records have `row_sum`; None when it holds just them.

    Where a category of the day was destroyed, or another Polars made the sum, it can only be opened and read.
    """
    try:
        keys = partitions.file_keys(custody, place)
        path = layout.blocks_file(place.record_class, place.day, place.file_id)
        columns = [name for name in SCHEMA.names if category_of(name, place.record_class) in keys]
        rows = total = 0
        for frame in BlockFile.open(path, place, keys).every(columns):
            rows += frame.height
            total = (total + partitions.total_of(frame, columns)) % 2**64
        found = partitions.row_sum_of(custody, place, rows, total).partition(":")
    except FaultError as problem:
        return str(problem)
    except RefusedError:
        return None
    its = row_sum.partition(":")
    if found[0] == its[0] and found[2] != its[2]:
        return f"its block file holds {rows} records, and they are not those of the file"
    return None


def _in_order(layout: Layout, place: Place, keys: Mapping[str, bytes], spill: Path) -> Iterator[pl.DataFrame]:
    path = layout.record_file(place.record_class, place.day, place.file_id)
    present = sealed_parquet.unwrap(path, place, keys, ()).present
    opened = sealed_parquet.unwrap(path, place, keys, present)
    order = Order(order_key(present), tuple(order_key(present).meta.root_names()))

    def frames(columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        for offset in range(0, opened.rows, _SLICE):
            lazy = sealed_parquet.scan(path, opened, columns).slice(offset, _SLICE)
            yield sealed_parquet.collect(lazy, place)

    head = sealed_parquet.collect(sealed_parquet.scan(path, opened, present).head(4096), place)
    weight = head.estimated_size() / max(1, head.height)
    by = [name for name in present if name == "start" or name in order.columns]
    return ordering.in_order(lambda: frames(present), lambda: frames(by), order, opened.rows, weight, spill)
