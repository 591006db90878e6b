"""What a reader is told of a file (shape, dialect, fixed-width record) and what it hands on: text and an account.

A reader turns bytes into columns of text and interprets none of them: no number, no time, no type. It accounts for
every unit that it frames: `units == fields.height + rejections.height + sum(ignored.values()) + joined`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

ROW = "row"
"""Name of the column that numbers the units of a file, from 1."""
READ_NOTE = "read_note"
"""Name of the column that says which further encoding a row needed; null when none."""

REJECTIONS = pl.Schema({"row": pl.Int64(), "reason": pl.String(), "raw": pl.Binary()})


@dataclass(frozen=True, slots=True)
class Shape:
    """One form that the lines of a delimited file take: its columns in order, and where it differs from the dialect.

    `delimiter` and `quote` override the dialect (an empty `quote`: no quoting): Kamailio and OpenSIPS also export a
    quoted comma variant.
    """

    name: str
    columns: tuple[str, ...]
    delimiter: str | None = None
    quote: str | None = None


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a feed writes text: separators, the words that mean nothing is known, encodings in the order to try them.

    With `header` the first line names the columns and rows are read by name. Encodings are supersets of ASCII.
    """

    delimiter: str = ","
    quote: str | None = None
    null: tuple[str, ...] = ("",)
    encodings: tuple[str, ...] = ("utf-8",)
    header: bool = False


@dataclass(frozen=True, slots=True)
class FixedRecord:
    """One kind of fixed-width line: what it starts with, its length and its fields as (first, end) positions.

    Positions and length count bytes from 0, end exclusive.
    """

    name: str
    prefix: str
    length: int
    fields: Mapping[str, tuple[int, int]]


@dataclass(frozen=True, slots=True, eq=False)
class Raw:
    """One file as text columns, with an account of all its units. Its repr shows counts only, never a value.

    `fields` holds `row` (Int64, the unit's number in the file from 1), the columns of the shape (String, the null list
    applied) and `read_note` (String: `latin-1` where a field of the row needed it, else null). `rejections` holds
    `row`, `reason` and the unit's bytes. `header` and `trailer` hold the fields of a fixed-width file's first and last
    line.
    """

    fields: pl.DataFrame = field(repr=False)
    rejections: pl.DataFrame = field(repr=False)
    ignored: dict[str, int]
    joined: int
    units: int
    shape: str | None
    header: dict[str, str] = field(repr=False, default_factory=dict)
    trailer: dict[str, str] = field(repr=False, default_factory=dict)
