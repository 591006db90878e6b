"""Reads at one go a delimited text in which nothing is special; says None of any other, which `ingest.delimited` takes.

Plain is a text without byte-order mark, without quotes where the dialect has one, without control characters other than
tabs and line ends, wholly of the first encoding, without empty lines, whose every line fits one shape and no other. No
line of it is framed here: counts over the whole, which cost a fraction of framing, prove what framing would show.

- *No control character*: bytes below a space are as many as line ends, tabs and delimiters together.
- *Every line has the shape's columns*: the delimiters are as many as all lines together need, and the last column is
  filled in each line. A filled last column means that no line is too short; then none is too long either, or there
  would be more delimiters. Only where last columns are empty are the delimiters counted line by line.
- *No other shape fits*: another shape that fitted every line too would need as many of its own delimiters, more where
  its quotes hide some.

Polars' reader itself proves none of this: it fills a short line with nothing, and where a column is left out it stops
reading a line after the last one that is asked for, so that what follows there is never seen.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from ingest.lines import begins_unlike_text, count, frame, is_wholly
from ingest.raw import Dialect, Shape

_PIECE: Final = 1 << 20
"""Bytes looked at together: they stay in the processor's cache between one count and the next."""
_SPACE: Final = 0x20
_DEL: Final = b"\x7f"
_SAFE_STARTS: Final = frozenset(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ")
"""Bytes at the start of a text with which no compressed file and no byte-order mark starts."""


@dataclass(frozen=True, slots=True, eq=False)
class Text:
    """A plain text, its line ends LF alone, and how many lines it has. Its repr shows no byte."""

    data: bytes = field(repr=False)
    lines: int

    @property
    def header(self) -> bytes:
        """The first line, without its end."""
        end = self.data.find(b"\n")
        return self.data if end < 0 else self.data[:end]


def separators(shape: Shape, dialect: Dialect) -> tuple[str, str | None]:
    """The delimiter and the quote (None: no quoting) of the lines of `shape`."""
    return shape.delimiter or dialect.delimiter, (dialect.quote if shape.quote is None else shape.quote) or None


def plain(data: bytes, shapes: Sequence[Shape], dialect: Dialect) -> Text | None:
    """`data` as a plain text, unless something in it is special whatever its lines hold."""
    if not data or begins_unlike_text(data) or _DEL in data or not is_wholly(data, dialect.encodings):
        return None
    octets = np.frombuffer(data, dtype=np.uint8)
    low, feeds = 0, 0
    for first in range(0, octets.size, _PIECE):
        piece = octets[first : first + _PIECE]
        low += int(np.count_nonzero(piece < _SPACE))
        feeds += int(np.count_nonzero(piece == ord("\n")))
    if low > feeds:
        delimiters = {separators(shape, dialect)[0] for shape in shapes}
        returns = _returns(octets)
        known = returns + sum(data.count(sign.encode()) for sign in {"\t", *(s for s in delimiters if s < " ")})
        if low != feeds + known:
            return None
        data = data.translate(None, b"\r") if returns else data
    return Text(data, feeds + (not data.endswith(b"\n")))


def choose(text: Text, shapes: Sequence[Shape], dialect: Dialect, named_shape: str | None) -> Shape | None:
    """The one shape that all lines of `text` may fit, or of several equal ones the named; None where that is unsure."""
    may = [shape for shape in shapes if _may_fit(text, shape, dialect)]
    pairs = {separators(shape, dialect) for shape in may}
    named = [shape for shape in may if shape.name == named_shape] if len(may) > 1 else may
    if len(pairs) != 1 or len(named) != 1:
        return None
    (_, quote), shape = pairs.pop(), named[0]
    unquoted = quote is None or quote.encode() not in text.data
    return shape if unquoted and len(shape.columns) > 1 else None


def read_columns(
    text: Text, shape: Shape, dialect: Dialect, wanted: Collection[str] | None, *, header: bool
) -> dict[str, pl.Series] | None:
    """The columns of `shape` that are `wanted` (all when None), empty ones null if so in `dialect`.

    None where a line does not fit. `shape` is what `choose` gave: there are as many delimiters as all lines need.
    """
    delimiter, _ = separators(shape, dialect)
    width, last = len(shape.columns), shape.columns[-1]
    if not header and text.header.count(delimiter.encode()) != width - 1:
        return None  # Polars raises where the first line does not fit, and says nothing of the others
    data = memoryview(text.data)[len(text.header) + 1 :] if header else text.data
    asked = None if wanted is None else {last, *wanted}
    read = read_text(data, shape.columns, asked, delimiter, None, empty_is_null="" in dialect.null)
    if read[last].len() != text.lines - header:
        return None
    if not _filled(read[last]) and not _each_line_fits(text.data, delimiter, width):
        return None
    return {name: column for name, column in read.items() if wanted is None or name in wanted}


def read_text(
    body: bytes | memoryview,
    columns: Sequence[str],
    wanted: Collection[str] | None,
    delimiter: str,
    quote: str | None,
    *,
    empty_is_null: bool,
) -> dict[str, pl.Series]:
    """The `wanted` ones of `columns` (all when None) as Polars reads them in `body`, lines without a header."""
    places = [f"C{place}" for place in range(len(columns))]
    asked = [place for place, name in enumerate(columns) if wanted is None or name in wanted]
    bare = isinstance(body, bytes) and body[0] in _SAFE_STARTS
    # Without a line before it Polars takes a first field `x^` for zlib, and a first U+FEFF for a byte-order mark.
    source = body if bare else b"".join([delimiter.join(places).encode(), b"\n", body])
    table = pl.read_csv(
        bytes(source),
        columns=asked,
        has_header=not bare,
        separator=delimiter,
        quote_char=quote,
        schema=dict.fromkeys(places, pl.String),
        empty_string_is_null=empty_is_null,
        truncate_ragged_lines=True,
        encoding="utf8",
    )
    return {columns[place]: table[places[place]] for place in asked}


def _returns(octets: npt.NDArray[np.uint8]) -> int:
    """How many line ends of two signs there are, found faster than `bytes.count` finds them."""
    return int(np.count_nonzero((octets[:-1] == ord("\r")) & (octets[1:] == ord("\n"))))


def _may_fit(text: Text, shape: Shape, dialect: Dialect) -> bool:
    delimiter, quote = separators(shape, dialect)
    needed = text.lines * (len(shape.columns) - 1)
    found = _count(text.data, delimiter)
    return found == needed or (found > needed and quote is not None and quote.encode() in text.data)


def _count(data: bytes, sign: str) -> int:
    octets = np.frombuffer(data, dtype=np.uint8)
    pieces = range(0, octets.size, _PIECE)
    return sum(int(np.count_nonzero(octets[first : first + _PIECE] == ord(sign))) for first in pieces)


def _filled(column: pl.Series) -> bool:
    return column.null_count() == 0 and not (column == "").any()


def _each_line_fits(data: bytes, delimiter: str, width: int) -> bool:
    lines = frame(data)
    found: npt.NDArray[np.int64] = count(lines, np.asarray(lines.octets == ord(delimiter)))
    return bool((found == width - 1).all())
