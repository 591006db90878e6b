"""Reads a delimited file part by part, by what its first lines settle; what all its parts are, their tallies decide.

As `ingest.delimited` reads a whole one: of the same rows, the fields, rejections and reasons are the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl

from ingest.delimited import HEADER, absent, by_header, parse_plain, read_fields, require_known, require_sound, same
from ingest.fitting import Tally, reason_of, tally_of
from ingest.lines import EMPTY_LINE, Mask, controlled, finish, frame, reject
from ingest.plain import separators
from ingest.raw import Dialect, Raw, Shape
from ingest.separation import separated


@dataclass(frozen=True, slots=True)
class Form:
    """What the first rows of a file settle for the rest of it, which comes in parts.

    `shapes` are those that the file may have, each with the columns as its header orders them; `header` is that line;
    `shape` is the one to read by, until all rows were seen.
    """

    shapes: tuple[Shape, ...]
    header: bytes | None = field(repr=False)
    shape: Shape


def settle(data: bytes, shapes: Sequence[Shape], dialect: Dialect, named_shape: str | None) -> Form | None:
    """What the lines of `data`, the first of a file, settle for all of it; None while none of them is a row or header.

    Raises as `parse` does for a feed or source that is not sound, and for a header that no shape knows.
    """
    require_sound(shapes, dialect)
    require_known(shapes, named_shape)
    lines = frame(data)
    rows = ~lines.empty
    if not rows.any():
        return None
    known, header = tuple(shapes), None
    if dialect.header:
        first = int(np.argmax(rows))
        known, header = by_header(lines, first, shapes, dialect), lines.raw(first)
        rows &= ~same(lines, header)
    clean = ~controlled(lines, [shape.delimiter or dialect.delimiter for shape in shapes])
    scans = {pair: separated(lines, *pair) for pair in {separators(shape, dialect) for shape in known}}
    asked = [shape for shape in known if shape.name == named_shape] or list(known)

    def fitting(shape: Shape) -> int:
        scan = scans[separators(shape, dialect)]
        return int(np.count_nonzero(rows & clean & ~scan.broken & (scan.columns == len(shape.columns))))

    most = max(fitting(shape) for shape in known)
    best = [shape for shape in asked if fitting(shape) == most] or [item for item in known if fitting(item) == most]
    return Form(known, header, best[0])


def parse_part(
    data: bytes, form: Form, shapes: Sequence[Shape], dialect: Dialect, wanted: Collection[str] | None = None
) -> tuple[Raw, Tally]:
    """The rows of a part of a file, whole lines of it, by the shape of `form`; rows are numbered within the part.

    Only the columns that are `wanted` (all when None) are in the result. Whether the file is of that shape, and whole,
    the tallies of all its parts decide (`decide`). Raises `FileRefused` for what is not text, or holds a field that no
    declared encoding decodes.
    """
    shape = form.shape
    if len({separators(item, dialect) for item in form.shapes}) == 1:
        again = form.header is not None and form.header in data
        bare = replace(dialect, header=False)
        raw = None if again else parse_plain(data, (shape,), bare, shape.name, wanted)
        if raw is not None:
            return _completed(raw, shapes, shape, wanted), _alike(raw.fields.height, form)
    lines = frame(data)
    rows = ~lines.empty
    ignored = Counter({EMPTY_LINE: lines.units - int(np.count_nonzero(rows))})
    if form.header is not None:
        headers = same(lines, form.header)
        rows &= ~headers
        ignored[HEADER] = int(np.count_nonzero(headers))
    clean = ~controlled(lines, [item.delimiter or dialect.delimiter for item in shapes])
    scans = {pair: separated(lines, *pair) for pair in {separators(item, dialect) for item in form.shapes}}
    fitting: dict[str, Mask] = {}
    for item in form.shapes:
        scan = scans[separators(item, dialect)]
        fitting[item.name] = rows & clean & ~scan.broken & (scan.columns == len(item.columns))
    tally = tally_of(lines, rows, form.shapes, scans, dialect, fitting)
    scan, fits = scans[separators(shape, dialect)], fitting[shape.name]
    good = np.flatnonzero(fits)
    columns, notes = absent(shape.columns, 0, wanted), list[pl.Series]()
    if good.size:
        columns, notes = read_fields(lines, scan, shape, good, fits, dialect, wanted)
    bad = np.flatnonzero(rows & ~fits)
    reasons = [reason_of(scan, shape, int(index), bool(clean[index])) for index in bad]
    fields = finish(columns, notes, good + 1, dialect.null)
    raw = Raw(fields, reject(lines, bad, reasons), dict(+ignored), 0, lines.units, shape.name)
    return _completed(raw, shapes, shape, wanted), tally


def _completed(raw: Raw, shapes: Sequence[Shape], shape: Shape, wanted: Collection[str] | None) -> Raw:
    """`raw` with a null for each column of its shape that the header does not name."""
    declared = next(item for item in shapes if item.name == shape.name)
    absent = [name for name in declared.columns if name not in shape.columns and (wanted is None or name in wanted)]
    nothing = [pl.lit(None, dtype=pl.String).alias(name) for name in absent]
    return replace(raw, fields=raw.fields.with_columns(nothing)) if nothing else raw


def _alike(height: int, form: Form) -> Tally:
    """The tally of rows that all fit the shape of `form`, where one delimiter and one quote serve all shapes."""
    number = len(form.shape.columns)
    fits = {item.name: height if len(item.columns) == number else 0 for item in form.shapes}
    return Tally(height, fits, {item.name: {number: height} if height else {} for item in form.shapes}, {})
