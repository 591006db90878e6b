"""Row hashes, and the seen block of a file: what makes finding duplicates cheap without storing a hash as a column.

A row's hash is a 64-bit Polars hash over named columns. It needs no strength, for a hit only makes a candidate: the
stored row is read and compared. Nor is it stable across versions of Polars: `algorithm` names which one made a value,
by version and by the hash of a fixed row, and values of another one are not compared but made again from the file.

A seen block holds the sorted 48-bit hashes of one Parquet file, sealed. They leave `where` out: a fingerprint that
covers it would give a destroyed cell back by trying all cells. The block is derived: missing, damaged or of another
algorithm, it is rebuilt. It is sealed under a key of `who`, `when` and `how_much` together, so it dies with the first
of them.
"""

from __future__ import annotations

import json
import platform
import zlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from ingest.record import COLUMNS, FRAME, WHERE, category_of
from trafficvault import sealing, signing
from trafficvault.durable import Disk
from trafficvault.errors import FaultError
from trafficvault.row_groups import RowGroup
from trafficvault.sealed_parquet import polars_type

Hashes = npt.NDArray[np.uint64]

_DELIVERED = frozenset({"source", "record_id", "occurrence"})
"""Provenance that is part of what makes a record itself; batch, row and reader differ between two deliveries of one."""
_BITS_DROPPED = 16
_BYTES = 6


def compared_columns(record_class: str) -> tuple[str, ...]:
    """The columns in which two records of `record_class` must agree to be one record delivered twice."""
    return tuple(
        column.name
        for column in COLUMNS
        if column.name in _DELIVERED or category_of(column.name, record_class) != FRAME
    )


def hashed_columns(record_class: str) -> tuple[str, ...]:
    """The compared columns without those of category `where`."""
    return tuple(name for name in compared_columns(record_class) if category_of(name, record_class) != WHERE)


def row_hashes(rows: pl.DataFrame, columns: Iterable[str]) -> Hashes:
    """The hash of each row over `columns`. A null adds nothing, so a column that is absent hashes like one of nulls."""
    return mixed(column_sums(rows, columns))


def column_sums(rows: pl.DataFrame, columns: Iterable[str]) -> Hashes:
    """What `mixed` makes row hashes of: per row the sum modulo 2**64 of the hashes of its values in `columns`.

    Sums over different columns add up to the sum over all of them, so that no column is hashed twice.
    """
    nulls = {one.name: one.null_count() for one in rows.get_columns()}
    told = tuple((name, nulls[name] > 0) for name in columns if nulls.get(name, rows.height) < rows.height)
    return rows.select(_sum(told)).to_series().to_numpy()


@lru_cache(256)
def _sum(columns: tuple[tuple[str, bool], ...]) -> pl.Expr:
    """What adds up `columns`, by name and whether they hold nulls. Kept: it is put together of up to 200 parts."""
    total = pl.repeat(0, pl.len(), dtype=pl.UInt64)
    for name, nullable in columns:
        # Seeded by name: the same value in another column is another row. The sum wraps modulo 2**64.
        value = pl.col(name).hash(_seed(name))
        if nullable:
            value = pl.when(pl.col(name).is_not_null()).then(value).otherwise(pl.lit(0, pl.UInt64))
        total = total + value
    return total


def sums_of(rows: RowGroup, columns: Iterable[str]) -> Hashes:
    """As `column_sums`; a text that is listed is hashed once."""
    names = list(columns)
    total = column_sums(rows.plain, names) if rows.plain.width else np.zeros(rows.height, np.uint64)
    for name in names:
        if name in rows.listed and (one := rows.listed[name]).nulls < rows.height:
            hashes = one.values.hash(_seed(name)).to_numpy()
            total = total + (hashes if one.alike else np.append(hashes, np.uint64(0)).take(one.places))
    return total


def constant_sum(values: Mapping[str, object]) -> np.uint64:
    """What columns that have one value throughout add to every row's sum."""
    total = 0
    for name, value in values.items():
        if value is not None:
            total += int(pl.Series([value], dtype=polars_type(name)).hash(_seed(name))[0])
    return np.uint64(total % 2**64)


def mixed(sums: Hashes) -> Hashes:
    """The row hashes that belong to `sums`: two rows that exchange a value would keep the sum over both."""
    return pl.Series(sums, dtype=pl.UInt64).hash(0).to_numpy()


@cache
def _seed(name: str) -> int:
    return zlib.crc32(name.encode())


@cache
def algorithm() -> str:
    """Which row hash this process computes: `rows-1/polars-<version>/<machine>/<hash of a fixed row>`."""
    fixed = pl.DataFrame(
        {
            "text": ["text"],
            "whole": [1234567890123],
            "truth": [True],
            "bytes": [bytes(16)],
            "moment": [datetime(2026, 1, 1, tzinfo=UTC)],
            "list": [["a", "b"]],
            "parties": [[{"role": "a", "number": "b"}]],
        },
        schema_overrides={"moment": pl.Datetime("us", "UTC")},
    )
    probe = int(row_hashes(fixed, fixed.columns)[0])
    return f"rows-1/polars-{pl.__version__}/{platform.machine()}/{probe:016x}"


def shorten(hashes: Hashes) -> Hashes:
    """The leading 48 bits of each hash, as a seen block keeps them."""
    return hashes >> np.uint64(_BITS_DROPPED)


def pack(short: Hashes) -> bytes:
    """The content of a seen block: a header line, then the zstd-compressed byte planes of the sorted differences."""
    ordered = short if (short[1:] >= short[:-1]).all() else np.sort(short)
    differences = np.diff(ordered, prepend=np.uint64(0)).astype("<u8")
    planes = np.ascontiguousarray(differences.view(np.uint8).reshape(-1, 8)[:, :_BYTES].T)
    header = {"kind": "seen", "v": 1, "algorithm": algorithm(), "rows": len(ordered)}
    return signing.canonical(header) + b"\n" + bytes(pa.compress(planes.tobytes(), "zstd", asbytes=True))


def unpack(content: bytes) -> Hashes | None:
    """The inverse of `pack`, sorted; None when another algorithm or version made it. Raises `FaultError` if damaged."""
    try:
        head, _, body = content.partition(b"\n")
        header = json.loads(head)
        if (header["kind"], header["v"], header["algorithm"]) != ("seen", 1, algorithm()):
            return None
        rows = int(header["rows"])
        raw = pa.decompress(body, rows * _BYTES, "zstd", asbytes=True)
        planes = np.frombuffer(raw, np.uint8).reshape(_BYTES, rows)
    except (ValueError, KeyError, TypeError, pa.ArrowException, OSError) as problem:
        raise FaultError("opening a seen block: its content is not of the form that its header names") from problem
    differences = np.zeros((rows, 8), np.uint8)
    differences[:, :_BYTES] = planes.T
    return np.cumsum(differences.view("<u8").reshape(-1), dtype=np.uint64)


def write_block(disk: Disk, path: Path, key: bytes, place: str, short: Hashes) -> None:
    """Seals the hashes of one file at `path`."""
    disk.create(path, sealing.seal(key, pack(short), place))


def read_block(path: Path, key: bytes, place: str) -> Hashes | None:
    """The sorted hashes at `path`; None when there are none that can be used, and the file must be read instead."""
    try:
        return unpack(sealing.unseal(key, path.read_bytes(), place))
    except (FaultError, OSError):
        return None  # derived: nothing is lost, and `verify` names it
