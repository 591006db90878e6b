"""Where the fields of delimited lines are: which octets separate, how many columns a line has, whose quoting is broken.

Without a quote character a quote is an ordinary character. With one, a quote inside a quoted field is doubled
(RFC 4180 §2), a record is one line, and a quote anywhere else breaks the line: it is never guessed at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from ingest.lines import Lines, Mask, Positions, count

_SLICE: Final = 1 << 24
"""Bytes of quoted text whose separators are searched at once: bounds the positions in memory to a few times as much."""


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """What a dialect makes of the lines: which octets separate, how many columns, whose quoting is broken or left open.

    `quote` is None where the file holds none.
    """

    delimiter: str
    quote: str | None
    separating: Mask
    columns: Positions
    broken: Mask
    open: Mask


def separated(lines: Lines, delimiter: str, quote: str | None) -> Scan:
    """What `delimiter` and `quote` make of `lines`."""
    separating = np.asarray(lines.octets == ord(delimiter))
    broken, opened = np.zeros(lines.units, dtype=np.bool_), np.zeros(lines.units, dtype=np.bool_)
    if quote is None or quote.encode() not in lines.data:
        return Scan(delimiter, None, separating, count(lines, separating) + 1, broken, opened)
    first = 0
    while first < lines.units:
        reach = int(np.searchsorted(lines.starts, lines.starts[first] + _SLICE))
        part = slice(first, max(reach, first + 1))
        broken[part], opened[part] = _quoted(lines, part, separating, ord(quote))
        first = part.stop
    return Scan(delimiter, quote, separating, count(lines, separating) + 1, broken | opened, opened)


def _quoted(lines: Lines, part: slice, separating: Mask, quote: int) -> tuple[Mask, Mask]:
    """Which lines of `part` are broken, which are open; takes the delimiters inside quotes out of `separating`.

    A quote toggles between inside and outside. It opens a field at the start of one, or goes on with it right after the
    quote that closed it (a doubled quote); it closes before a separator, at the end of the line, or before its double.
    """
    begin = int(lines.starts[part.start])
    end = int(lines.starts[part.stop]) if part.stop < lines.units else len(lines.data)
    starts, stops = lines.starts[part] - begin, lines.ends[part] - begin
    delimiters = separating[begin:end]
    quotes = lines.octets[begin:end] == quote
    # A sum that wraps at 256 keeps its parity.
    opened = (np.add.reduceat(quotes.view(np.uint8), starts, dtype=np.uint8) & 1).astype(np.bool_)
    if opened.any():  # their quotes must not turn the lines after them inside out
        quotes &= ~np.repeat(opened, lines.spans[part])
    inside = np.logical_xor.accumulate(quotes)

    signs = delimiters | quotes
    may_open, may_close = np.zeros_like(signs), np.zeros_like(signs)
    may_open[1:], may_close[:-1] = signs[:-1], signs[1:]
    may_open[starts] = True
    may_close[stops[stops > starts] - 1] = True
    wrong = quotes & ~np.where(inside, may_open, may_close)
    delimiters &= ~inside
    return np.logical_or.reduceat(wrong, starts), opened


def spans_of(lines: Lines, scan: Scan, good: Positions, fits: Mask) -> list[tuple[Positions, Positions]]:
    """Start and end of each column's field in the good lines, the quotes around a field apart."""
    number = int(scan.columns[good[0]])
    places = np.flatnonzero(scan.separating)
    table = places[np.repeat(fits, scan.columns - 1)].reshape(good.size, number - 1)
    spans: list[tuple[Positions, Positions]] = []
    for column in range(number):
        starts = lines.starts[good] if column == 0 else table[:, column - 1] + 1
        ends = lines.ends[good] if column == number - 1 else table[:, column]
        if scan.quote is not None:
            first = lines.octets[np.minimum(starts, len(lines.data) - 1)]
            quoted = (starts < ends) & (first == ord(scan.quote))
            starts, ends = starts + quoted, ends - quoted
        spans.append((starts, ends))
    return spans
