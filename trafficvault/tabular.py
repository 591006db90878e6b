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
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import lru_cache
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
_FEW_ROWS = 512
"""A table of no more rows is written at once."""
_TINY_ROWS = 64
"""One of no more rows, alone in its file, is not compressed."""
_FORMULA = r"^'*[=+\-@\t\r\n]"
_NUMBER = r"^\+[0-9]+$"
_FORMULAS, _NUMBERS = re.compile(_FORMULA), re.compile(r"\+[0-9]+")
_MOMENT = pa.timestamp("us", tz="UTC")
_JSON_HEAD = b'{"kind":"records","v":1,"retained_data":true,"records":['


class RecordFiles:
    """Writes the three files into `directory`. `add` as often as there are tables, all of one schema, then `close`.

    What was added is written on threads, one table at a time, while the next is looked for; `close` and the next `add`
    wait for it, and raise what went wrong. A table of few rows is written at once: a thread costs more. A tiny first
    one waits for the next: where none comes the Parquet file is not compressed, which would take longer and more room.
    """

    def __init__(self, directory: Path) -> None:
        self.rows = 0
        self._directory = directory
        self._csv: BinaryIO = (directory / CSV).open("xb")
        self._json: BinaryIO = (directory / JSON).open("xb")
        self._json.write(_JSON_HEAD)
        self._schema: Any = None  # a Schema once the columns are known
        self._alone: pa.Table | None = None  # the first table, where it is small and Parquet does not have it yet
        self._parquet: Any = None  # a ParquetWriter once it is known how large the file is
        self._workers: ThreadPoolExecutor | None = None
        self._pending: list[Future[None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, problem: object, *_: object) -> None:
        try:
            if problem is None:
                self.close()
        finally:
            if self._workers is not None:
                self._workers.shutdown(cancel_futures=True)
            for file in (self._csv, self._json, self._parquet):
                if file is not None:
                    file.close()

    def add(self, table: pa.Table) -> None:
        """Writes the rows of `table`. Raises `FaultError` when its columns are not those of the first one."""
        readable = _readable(table)
        first = self._schema is None
        if first:
            self._schema = readable.schema
        if readable.schema != self._schema:
            raise FaultError("writing a package: a table has other columns than the first one")
        self._wait()
        begun = self.rows > 0
        self.rows += readable.num_rows
        if readable.num_rows <= _FEW_ROWS:
            self._add_few(readable, begun=begun, first=first)
            return
        if first:
            self._add_header(readable)
        self._open_parquet("zstd")
        self._workers = self._workers or ThreadPoolExecutor(2, "package")
        whole = [_as_text(readable)] if 0 < readable.num_rows <= _TEXT_ROWS else None
        self._pending = [
            self._workers.submit(self._add_jsons, whole or _texts(readable), begun),
            self._workers.submit(self._add_csvs, whole or _texts(readable)),
            self._workers.submit(self._parquet.write_table, readable),
        ]

    def close(self) -> None:
        """Finishes the three files; closing again does nothing. Without any table they hold the mark's column alone."""
        if self._csv.closed:
            return
        if self._schema is None:
            self.add(pa.table({}))
        self._wait()
        self._open_parquet("none")
        self._json.write(b"\n]}\n")
        self._json.close()
        self._csv.close()
        self._parquet.close()

    def _wait(self) -> None:
        pending, self._pending = self._pending, []
        wait(pending)
        for one in pending:
            one.result()

    def _add_few(self, table: pa.Table, *, begun: bool, first: bool) -> None:
        if first:
            self._add_header(table)
        if table.num_rows:
            rows = _as_text(table)
            self._add_json(rows, begun)
            self._add_csv(rows)
        if first and table.num_rows <= _TINY_ROWS:
            self._alone = table
            return
        self._open_parquet("zstd")
        self._parquet.write_table(table)

    def _open_parquet(self, compression: str) -> None:
        """Begins the Parquet file where it is not begun, with the first table where that waits."""
        if self._parquet is None:
            marked = self._schema.with_metadata({MARK: "true"})
            # What is compressed is smaller, and sooner written, without dictionaries.
            self._parquet = pq.ParquetWriter(
                self._directory / PARQUET, marked, compression=compression, use_dictionary=compression == "none"
            )
        if self._alone is not None:
            self._parquet.write_table(self._alone)
            self._alone = None

    def _add_csvs(self, texts: Iterable[pl.DataFrame]) -> None:
        for rows in texts:
            self._add_csv(rows)

    def _add_jsons(self, texts: Iterable[pl.DataFrame], begun: bool) -> None:
        for rows in texts:
            self._add_json(rows, begun)
            begun = True

    def _add_header(self, table: pa.Table) -> None:
        names = (name.replace('"', '""') for name in table.column_names)
        self._csv.write(",".join(f'"{name}"' for name in names).encode() + b"\n")

    def _add_csv(self, rows: pl.DataFrame) -> None:
        cells = [cell for name, type_ in rows.schema.items() if (cell := _csv_cell(rows, name, type_)) is not None]
        flat = rows.with_columns(cells) if cells else rows
        flat.write_csv(self._csv, include_header=False, quote_style="non_numeric")

    def _add_json(self, rows: pl.DataFrame, begun: bool) -> None:
        buffer = io.BytesIO()
        rows.write_ndjson(buffer)
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
    whole = table.combine_chunks()
    for place, field in enumerate(table.schema):
        kind = _kind(field.type)
        if kind == "address":
            whole = whole.set_column(place, field.name, _addresses(whole[place].combine_chunks()))
        elif kind == "time" and field.type != _MOMENT:
            whole = whole.set_column(place, field.name, whole[place].cast(_MOMENT))
    return whole.append_column(MARK, pa.repeat(True, table.num_rows)).replace_schema_metadata()


@lru_cache(maxsize=64)
def _kind(type_: pa.DataType) -> str | None:
    """What a column of that type holds that is not to be written as it is."""
    if pa.types.is_binary(type_) or pa.types.is_fixed_size_binary(type_) or pa.types.is_large_binary(type_):
        return "address"
    return "time" if pa.types.is_timestamp(type_) else None


def _addresses(column: pa.Array) -> pa.Array:
    """Addresses as text, each distinct one converted once."""
    coded = column.dictionary_encode()
    texts = pa.array([text_of_address(value) for value in coded.dictionary.to_pylist()], pa.string())
    return texts.take(coded.indices)


def _texts(table: pa.Table) -> Iterator[pl.DataFrame]:
    """`table` bit by bit, as text: so a row takes many times its memory."""
    return (_as_text(table.slice(start, _TEXT_ROWS)) for start in range(0, table.num_rows, _TEXT_ROWS))


def _as_text(table: pa.Table) -> pl.DataFrame:
    """`table` with times as text, a column in which nothing stands being of no type: most are such, and are written
    quicker so.
    """
    nothing = pa.nulls(table.num_rows)
    columns = [nothing if column.null_count == table.num_rows else column for column in table.columns]
    rows = pl.DataFrame(pa.table(columns, names=table.column_names))
    times = [pl.col(name).dt.strftime(_TIME) for name, type_ in rows.schema.items() if isinstance(type_, pl.Datetime)]
    return rows.with_columns(times) if times else rows


def _csv_cell(rows: pl.DataFrame, name: str, type_: pl.DataType) -> pl.Expr | None:
    """What is to stand in the cells of a column; None where that is what it holds."""
    if isinstance(type_, (pl.List, pl.Struct)):
        # The list as JSON: that of an object with the list as its only member, without that object.
        start, cell = len(f'{{"{name}":'), pl.col(name)
        encoded = pl.struct(cell).struct.json_encode()
        return (
            pl.when(cell.is_not_null()).then(encoded.str.slice(start, encoded.str.len_chars() - start - 1)).alias(name)
        )
    if isinstance(type_, pl.String) and _may_be_formula(rows[name]):
        cell = pl.col(name)
        is_formula = cell.str.contains(_FORMULA) & ~cell.str.contains(_NUMBER)
        return pl.when(is_formula).then(pl.lit("'") + cell).otherwise(cell).alias(name)
    return None


def _may_be_formula(texts: pl.Series) -> bool:
    """Whether one of `texts` may be taken for a formula: what a spreadsheet looks for stands before the digits, or
    between them and the letters.
    """
    if len(texts) <= _FEW_ROWS:
        # Of few texts Python knows before Polars has planned to look.
        return any(map(_is_formula, texts.to_list()))
    least, most = texts.min(), texts.max()
    if not isinstance(least, str) or not isinstance(most, str):
        return False
    return least < "0" or (least < "A" and most >= "=")


def _is_formula(text: str | None) -> bool:
    return text is not None and _FORMULAS.match(text) is not None and _NUMBERS.fullmatch(text) is None
