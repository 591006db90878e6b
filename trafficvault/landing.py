"""Landing: the record files of one batch while it is received, growing by row groups.

Each worker has a landing of its own, with one open file per class and day. Nothing that is written here counts before
the catalogue says so. Rows stand as they were delivered.

A file is begun with the columns that hold a value in the rows that came with its first ones, and what was never null in
these is never null in it: what is not there need not be written row by row. Rows that do not fit end the file. The next
one has, as all that are begun after it, every column that the feed can fill, and each may be null. The catalogue keeps
the names of those that hold a value somewhere.
"""

from __future__ import annotations

import contextlib
import secrets
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa

from ingest.record import CATEGORIES, SCHEMA, category_of
from trafficvault import seen
from trafficvault.durable import Disk
from trafficvault.errors import FaultError
from trafficvault.keys import Custody
from trafficvault.layout import Layout, day_key_id
from trafficvault.partitions import (
    WrittenFile,
    file_keys,
    keyed_digest_of,
    reach_of,
    require_day,
    row_sum_of,
    seen_key,
)
from trafficvault.sealed_parquet import Place, Writer

ROWS: Final = 1 << 21
"""A file of so many rows is closed, and the next one begun."""
_OPEN_FILES: Final = 64
_OPEN_ROWS: Final = 1 << 23
"""Rows of all open files of a landing: their hashes are in memory until the file is closed."""
_REMEMBERED: Final = 1 << 20
"""Rows of closed files whose hashes a landing keeps for the batches that follow."""
_FLUSHED: Final = 1 << 15
"""So many rows at once are sent to the disk while the next ones are read."""
_REPEATED: Final = pa.dictionary(pa.int32(), pa.string())


@dataclass(slots=True)
class _Growing:
    """One file in the making."""

    writer: Writer
    place: Place
    schema: pa.Schema
    path: Path
    rows: int = 0
    total: int = 0
    hashes: list[seen.Hashes] = field(default_factory=list)
    reach: list[date] = field(default_factory=list)
    filled: set[str] = field(default_factory=set)
    flushed: Future[None] | None = None
    """Its way to the disk, as far as it was begun."""


class Landing:
    """The open files of one worker. For use by one thread at a time."""

    def __init__(
        self,
        disk: Disk,
        layout: Layout,
        custody: Custody,
        constants: Mapping[str, str],
        generations: Mapping[tuple[str, date], int] | None = None,
    ) -> None:
        """For records that have the values `constants` throughout.

        `generations` says under day keys of which generation a class and day is written where it is not the first. It
        may grow until a day is first given.
        """
        self._disk, self._layout, self._custody, self._constants = disk, layout, custody, dict(constants)
        self._generations: Mapping[tuple[str, date], int] = {} if generations is None else generations
        self._open: OrderedDict[tuple[str, date], _Growing] = OrderedDict()
        self._wide = False
        self._flushing = ThreadPoolExecutor(1, "flush")
        self._paths: list[Path] = []
        self.files: list[WrittenFile] = []
        self.hashes: dict[str, seen.Hashes] = {}
        """The short hashes of the closed files, by file id; of a very large batch not of all."""
        self._remembered = 0

    def append(
        self,
        record_class: str,
        day: date,
        rows: pl.DataFrame,
        hashes: seen.Hashes,
        total: int,
        given: Sequence[str],
        among: pl.DataFrame | None = None,
    ) -> tuple[date, date]:
        """Adds `rows`, records of that class and day without the constants; returns the first and last date they touch.

        `hashes` are those of the seen block, `total` is the sum of their row hashes over all columns. `given` are the
        columns that records of their source may have, `among` the rows of all days that they came with. The day's keys
        must be in the ring. Raises `FaultError` for a row of another day.
        """
        require_day(rows, record_class, day)
        filled = {name for name in rows.columns if rows[name].null_count() < rows.height} | set(self._constants)
        growing = self._growing(record_class, day, rows, filled, given, rows if among is None else among)
        growing.writer.append(self._table(rows, growing.schema))
        growing.rows += rows.height
        growing.total = (growing.total + total) % 2**64
        growing.hashes.append(seen.shorten(hashes))
        reach = reach_of(rows, record_class, day)
        growing.reach += reach
        growing.filled |= filled
        if growing.rows >= ROWS:
            self._close(record_class, day)
        elif rows.height >= _FLUSHED:
            self._flush(growing)
        return reach

    def close(self) -> None:
        """Makes all open files whole and durable; `files` has them then."""
        for record_class, day in list(self._open):
            self._close(record_class, day)
        self._flushing.shutdown()
        self._flushing = ThreadPoolExecutor(1, "flush")

    @property
    def is_open(self) -> bool:
        """Whether a file is in the making."""
        return bool(self._open)

    def abandon(self) -> None:
        """Lets go of all files, the closed ones too, and removes them."""
        self._flushing.shutdown()
        for growing in self._open.values():
            growing.writer.abandon()
        self._open.clear()
        for path in self._paths:
            path.unlink(missing_ok=True)
            path.with_suffix(".seen").unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # others have files of that day
                path.parent.rmdir()

    def _growing(
        self,
        record_class: str,
        day: date,
        rows: pl.DataFrame,
        filled: set[str],
        given: Sequence[str],
        among: pl.DataFrame,
    ) -> _Growing:
        """The open file that takes `rows`, which hold a value in the columns `filled`."""
        found = self._open.get((record_class, day))
        if found is not None and not self._fits(rows, filled, found.schema):
            self._wide = True
            self._close(record_class, day)
            found = None
        if found is None:
            while self._open and (
                len(self._open) >= _OPEN_FILES or sum(item.rows for item in self._open.values()) >= _OPEN_ROWS
            ):
                self._close(*next(iter(self._open)))
            full = {name for name in among.columns if not among[name].null_count()} | set(self._constants)
            columns = {name for name in among.columns if among[name].null_count() < among.height} | filled
            found = self._begun(
                record_class,
                day,
                filled,
                columns | set(given) if self._wide else columns,
                set(self._constants) if self._wide else full,
            )
            self._open[record_class, day] = found
        self._open.move_to_end((record_class, day))
        return found

    def _fits(self, rows: pl.DataFrame, filled: set[str], schema: pa.Schema) -> bool:
        """Whether a file of `schema` has the columns `filled`, and no null of `rows` in one that may have none."""
        whole = {name for name in rows.columns if not rows[name].null_count()} | set(self._constants)
        return filled <= set(schema.names) and all(one.nullable or one.name in whole for one in schema)

    def _begun(self, record_class: str, day: date, filled: set[str], likely: set[str], full: set[str]) -> _Growing:
        """A new file, with the columns `filled` and `likely`, of which those in `full` have a value in every row."""
        place = Place(record_class, day, secrets.token_hex(16), self._generations.get((record_class, day), 1))
        keys = file_keys(self._custody, place)
        # A category that has expired while its day lives has no key, and no value that would need one.
        columns = filled | {name for name in likely if category_of(name, record_class) in keys}
        path = self._layout.record_file(record_class, day, place.file_id)
        schema = pa.schema(
            self._field(column).with_nullable(column.name not in full) for column in SCHEMA if column.name in columns
        )
        self._disk.make_directory(path.parent)
        self._paths.append(path)
        self._disk.begin(path)
        return _Growing(Writer(path, schema, place, keys), place, schema, path)

    def _field(self, column: pa.Field) -> pa.Field:
        """`column` as its values come: a constant as a dictionary of one, text as views of where Polars has it."""
        if column.name in self._constants:
            return pa.field(column.name, _REPEATED)
        return pa.field(column.name, pa.string_view()) if column.type == pa.string() else column

    def _table(self, rows: pl.DataFrame, schema: pa.Schema) -> pa.Table:
        zeros = pa.array(np.zeros(rows.height, np.int32))
        columns = []
        for column in schema:
            if column.name in self._constants:
                columns.append(pa.DictionaryArray.from_arrays(zeros, pa.array([self._constants[column.name]])))
            elif column.name in rows.columns:
                columns.append(_cast(_arrow(rows[column.name]), column))
            else:
                columns.append(pa.nulls(rows.height, column.type))
        return pa.table(columns, schema=schema)

    def _flush(self, growing: _Growing) -> None:
        """Begins to send a file to the disk. What fails on the way is raised by the next call, or when it is closed:
        the disk tells it once.
        """
        if growing.flushed is None or growing.flushed.done():
            if growing.flushed is not None:
                growing.flushed.result()
            growing.flushed = self._flushing.submit(self._disk.flush, growing.path)

    def _close(self, record_class: str, day: date) -> None:
        growing = self._open.pop((record_class, day))
        try:
            if growing.flushed is not None:
                growing.flushed.result()
            growing.writer.close()
        except BaseException:
            growing.writer.abandon()
            raise
        self._disk.end(growing.path, named=False)
        place, custody = growing.place, self._custody
        whole = all(custody.has(day_key_id(record_class, day, category)) for category in CATEGORIES)
        hashes = np.concatenate(growing.hashes)
        growing.hashes.clear()
        hashes.sort()
        # Creating it syncs the directory, and with it the name of the file itself.
        block = self._layout.seen_file(record_class, day, place.file_id)
        seen.write_block(self._disk, block, seen_key(custody, place), f"seen {place}", hashes)
        if self._remembered + len(hashes) <= _REMEMBERED:
            self._remembered += len(hashes)
            self.hashes[place.file_id] = hashes
        self.files.append(
            WrittenFile(
                record_class,
                day,
                place.file_id,
                growing.rows,
                growing.path.stat().st_size,
                keyed_digest_of(custody, growing.path),
                # Its key is made of those of all categories: without one there is none, as `measure` says it too.
                row_sum_of(custody, place, growing.rows, growing.total) if whole else "",
                min(growing.reach),
                max(growing.reach),
                tuple(name for name in SCHEMA.names if name in growing.filled),
                place.generation,
            )
        )


def close_all(landings: Iterable[Landing]) -> None:
    """Closes `landings` of several workers at the same time, for it is mostly waiting for the disk."""
    growing = [landing for landing in landings if landing.is_open]
    if len(growing) > 1:
        with ThreadPoolExecutor(len(growing), "close") as workers:
            for done in [workers.submit(landing.close) for landing in growing]:
                done.result()
    elif growing:
        growing[0].close()


def _arrow(values: pl.Series) -> pa.ChunkedArray:
    """`values` in Arrow, in the pieces in which they stand: to make them one would copy all their text."""
    if values.dtype.is_nested() or values.dtype == pl.Binary:
        return pa.chunked_array([values.to_arrow(compat_level=pl.CompatLevel.oldest())])
    return pa.chunked_array(values)


def _cast(values: pa.ChunkedArray, column: pa.Field) -> pa.ChunkedArray:
    try:
        return values.cast(column.type)
    except (pa.ArrowException, ValueError):
        # Without its cause: pyarrow's message may quote a value.
        raise FaultError(f"writing records: a value of {column.name} is not of the record's type") from None
