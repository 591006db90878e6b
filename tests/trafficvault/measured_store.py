"""What is asked of the record files of a store: what they measure, and which rows of a table they hold."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa

from tests.trafficvault.record_file import canonical, write_file
from tests.trafficvault.sealed_store import DAY, Store
from trafficvault import duplicates, partitions
from trafficvault.durable import Disk
from trafficvault.partitions import WrittenFile

CLASS = "mobile_usage"


def write(store: Store, table: pa.Table, record_class: str = CLASS) -> WrittenFile:
    """A file of `table`."""
    return write_file(store.disk, store.layout, store.custody, record_class, DAY, table)


def measured(store: Store, file: WrittenFile) -> partitions.Measured:
    """The file measured from disk."""
    custody = store.keys.custody("verify")
    return partitions.measure(store.layout, custody, file.record_class, file.day, file.file_id)


def doubles(store: Store, table: pa.Table, files: list[WrittenFile], disk: Disk | None = None) -> list[bool]:
    """Which rows of `table` are duplicates."""
    rows = pl.DataFrame(pl.from_arrow(canonical(table)))
    ids = [file.file_id for file in files]
    mask = duplicates.duplicates(store.layout, store.custody, CLASS, DAY, rows, ids, disk)
    assert mask.dtype == np.bool_
    return [bool(one) for one in mask]
