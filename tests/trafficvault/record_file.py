"""A record file as receive leaves it, of any rows of the record."""

from __future__ import annotations

from datetime import date

import polars as pl
import pyarrow as pa

from ingest.record import SCHEMA
from trafficvault import partitions, seen
from trafficvault.durable import Disk
from trafficvault.keys import Custody
from trafficvault.landing import Landing
from trafficvault.layout import Layout
from trafficvault.partitions import WrittenFile


def canonical(table: pa.Table) -> pa.Table:
    """`table` in the record's own order and types, without columns that are null throughout."""
    names = [name for name in SCHEMA.names if name in table.column_names and table[name].null_count < table.num_rows]
    return table.select(names).cast(pa.schema([SCHEMA.field(name) for name in names]))


def write_file(
    disk: Disk, layout: Layout, custody: Custody, record_class: str, day: date, table: pa.Table, generation: int = 1
) -> WrittenFile:
    """Lands `table`, which has a row at least, in one file of that class and day, under day keys of `generation`."""
    rows = pl.DataFrame(canonical(table))
    landing = Landing(disk, layout, custody, {}, {(record_class, day): generation})
    hashes = seen.row_hashes(rows, seen.hashed_columns(record_class))
    try:
        landing.append(record_class, day, rows, hashes, partitions.total_of(rows, rows.columns), rows.columns)
        landing.close()
    except BaseException:
        landing.abandon()
        raise
    (file,) = landing.files
    return file
