"""The three files of a package: CSV, JSON and Parquet, written table by table, so that any size fits in memory.

All three hold the same rows and columns in the same order, plus `retained_data`, true in each row: the mark that the
receiver keeps. Addresses are text (RFC 5952; an IPv4-mapped one as IPv4).

- `records.csv`: UTF-8, a header, commas, every text in quotes. Times are RFC 3339 in UTC, lists JSON. A cell that a
  spreadsheet would take for a formula (it begins with = + - @, tab, return or line feed, or with apostrophes before
  one of these) gets one apostrophe in front; a number of `+` and digits alone does not, since it computes to nothing
  but itself.
- `records.json`: one object, `records` a list of objects, one a line. Times as in CSV.
- `records.parquet`: times as timestamps in UTC, lists as lists, `retained_data` in the metadata too.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any, BinaryIO, Self

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from trafficvault.errors import FaultError

CSV, JSON, PARQUET = NAMES = ("records.csv", "records.json", "records.parquet")
MARK = "retained_data"

_TIME = "%Y-%m-%dT%H:%M:%S%.6fZ"
_TEXT_ROWS = 8_192
"""Rows that are text in memory at once."""
_FORMULA = r"^'*[=+\-@\t\r\n]"
_NUMBER = r"^\+[0-9]+$"
_JSON_HEAD = b'{"kind":"records","v":1,"retained_data":true,"records":['


class RecordFiles:
    """Writes the three files into `directory`. `add` as often as there are tables, all of one schema, then `close`.

    What was added is written on threads, one table at a time, while the next is looked for; `close` and the next `add`
    wait for it, and raise what went wrong.
    """

    def __init__(self, directory: Path) -> None:
        self.rows = 0
        self._directory = directory
        self._csv: BinaryIO = (directory / CSV).open("xb")
        self._json: BinaryIO = (directory / JSON).open("xb")
        self._json.write(_JSON_HEAD)
        self._parquet: Any = None  # a ParquetWriter once the columns are known
        self._first = True
        self._writers = ThreadPoolExecutor(2, "package")
        self._pending: list[Future[None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, problem: object, *_: object) -> None:
        try:
            if problem is None:
                self.close()
        finally:
            self._writers.shutdown(cancel_futures=True)
            for file in (self._csv, self._json, self._parquet):
                if file is not None:
                    file.close()

    def add(self, table: pa.Table) -> None:
        """Writes the rows of `table`. Raises `FaultError` when its columns are not those of the first one."""
        readable = _readable(table)
        if self._parquet is None:
            marked = readable.schema.with_metadata({MARK: "true"})
            self._parquet = pq.ParquetWriter(self._directory / PARQUET, marked, compression="zstd")
        if readable.schema != self._parquet.schema:
            raise FaultError("writing a package: a table has other columns than the first one")
        self._wait()
        first = self._first
        self._first = False
        begun = self.rows > 0
        self.rows += readable.num_rows
        self._pending = [
            self._writers.submit(self._add_texts, readable, self._add_json, begun),
            self._writers.submit(self._add_texts, readable, self._add_csv, not first),
            self._writers.submit(self._parquet.write_table, readable),
        ]

    def close(self) -> None:
        """Finishes the three files; closing again does nothing. Without any table they hold the mark's column alone."""
        if self._csv.closed:
            return
        if self._parquet is None:
            self.add(pa.table({}))
        self._wait()
        self._json.write(b"\n]}\n")
        self._json.close()
        self._csv.close()
        self._parquet.close()

    def _wait(self) -> None:
        pending, self._pending = self._pending, []
        wait(pending)
        for one in pending:
            one.result()

    def _add_texts(self, table: pa.Table, add: Callable[[pl.DataFrame, bool], None], begun: bool) -> None:
        """As text a row takes many times its memory, so a large table goes to text bit by bit; an empty one at once."""
        for start in range(0, max(1, table.num_rows), _TEXT_ROWS):
            part = _emptied(pl.DataFrame(table.slice(start, _TEXT_ROWS)))
            add(part, begun)
            begun = True

    def _add_csv(self, rows: pl.DataFrame, begun: bool) -> None:
        if rows.height:
            flat = rows.select(_csv_cell(rows[name]) for name in rows.columns)
        else:
            # The header alone tells no type; and to plan a cell of each column takes longer than all else of no rows.
            flat = pl.DataFrame(schema=dict.fromkeys(rows.columns, pl.String))
        flat.write_csv(self._csv, include_header=not begun, quote_style="non_numeric")

    def _add_json(self, rows: pl.DataFrame, begun: bool) -> None:
        if not rows.height:
            return
        buffer = io.BytesIO()
        times = [
            pl.col(name).dt.strftime(_TIME) for name, type_ in rows.schema.items() if isinstance(type_, pl.Datetime)
        ]
        rows.with_columns(times).write_ndjson(buffer)
        buffer.truncate(len(buffer.getbuffer()) - 1)
        # JSON escapes line feeds within texts, so each of these ends a record.
        lines = buffer.getvalue().replace(b"\n", b",\n")
        self._json.write(b",\n" if begun else b"\n")
        self._json.write(lines)


def text_of_address(packed: bytes) -> str:
    """The text of a 16-byte address: RFC 5952, an IPv4-mapped one as IPv4. Raises `FaultError` for another length."""
    if len(packed) != 16:
        raise FaultError("writing a package: an address does not have 16 bytes")
    address = IPv6Address(packed)
    return str(address.ipv4_mapped or address)


def _readable(table: pa.Table) -> pa.Table:
    """`table` with addresses as text, times in UTC microseconds, plain text and list types, and the mark."""
    columns: dict[str, Any] = {}
    for name in table.column_names:
        column = table[name].combine_chunks()
        if (
            pa.types.is_binary(column.type)
            or pa.types.is_fixed_size_binary(column.type)
            or pa.types.is_large_binary(column.type)
        ):
            column = _addresses(column)
        elif pa.types.is_timestamp(column.type):
            column = column.cast(pa.timestamp("us", tz="UTC"))
        columns[name] = column
    columns[MARK] = pa.array([True] * table.num_rows, pa.bool_())
    return pa.table(columns)


def _addresses(column: pa.Array) -> pa.Array:
    """Addresses as text, each distinct one converted once."""
    coded = column.dictionary_encode()
    texts = pa.array([text_of_address(value) for value in coded.dictionary.to_pylist()], pa.string())
    return texts.take(coded.indices)


def _emptied(rows: pl.DataFrame) -> pl.DataFrame:
    """`rows`, a column in which nothing stands being of no type: most are such, and are written quicker so."""
    empty = [column.name for column in rows if rows.height and column.null_count() == rows.height]
    return rows.with_columns(pl.Series(name, [None], pl.Null).new_from_index(0, rows.height) for name in empty)


def _csv_cell(values: pl.Series) -> pl.Expr:
    name, type_ = values.name, values.dtype
    cell = pl.col(name)
    if isinstance(type_, pl.Datetime):
        return cell.dt.strftime(_TIME)
    if isinstance(type_, (pl.List, pl.Struct)):
        # The list as JSON: that of an object with the list as its only member, without that object.
        start = len(f'{{"{name}":')
        encoded = pl.struct(cell).struct.json_encode()
        return (
            pl.when(cell.is_not_null()).then(encoded.str.slice(start, encoded.str.len_chars() - start - 1)).alias(name)
        )
    if isinstance(type_, pl.String):
        is_formula = cell.str.contains(_FORMULA) & ~cell.str.contains(_NUMBER)
        return pl.when(is_formula).then(pl.lit("'") + cell).otherwise(cell).alias(name)
    return cell
