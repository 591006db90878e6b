"""Reads delimited text: bytes in, raw text columns, rejections and an account of every line out.

Nothing is sniffed. The feed declares the shapes that its files take; a file's shape is the one that most of its rows
fit, by number of columns. Where shapes of the same number fit, the source names the one. In this order:

1. frame the lines; set apart empty ones, and the header with its repetitions;
2. find each line's separators, per dialect that a shape uses;
3. choose the shape, refuse a file of another form and a truncated one;
4. reject the rows that do not fit; read the others, all columns as text.

Without a quote character a quote is an ordinary character. With one, a quote inside a quoted field is doubled
(RFC 4180 §2), a record is one line, and a quote anywhere else makes the line a rejection: it is never guessed at.
Once the form of every line is proven, Polars' CSV reader reads them where all are of one encoding; the reader here
does where they are not, and a test holds each to the result of the other. A file cut inside its last column, or between
two lines, cannot be told from a whole one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import polars as pl

from ingest.errors import FeedError, FileRefused, IngestError
from ingest.fitting import decide, reason_of, tally_of
from ingest.lines import (
    EMPTY_LINE,
    Lines,
    Mask,
    Positions,
    cells,
    codec_name,
    controlled,
    decode,
    doubtful,
    finish,
    frame,
    reject,
)
from ingest.plain import choose, plain, read_columns, read_text, separators
from ingest.raw import READ_NOTE, REJECTIONS, ROW, Dialect, Raw, Shape
from ingest.separation import Scan, separated, spans_of

HEADER: Final = "header"


def parse(
    data: bytes,
    shapes: Sequence[Shape],
    dialect: Dialect,
    named_shape: str | None,
    wanted: Collection[str] | None = None,
) -> Raw:
    """The rows of `data` as text columns in the order of the shape's columns; with a header, null where it names none.

    Only the columns that are `wanted` (all when None) are in the result; the form of a line is that of all its columns.
    Raises `FileRefused` for a file that is not text, is truncated, fits no shape with at least half of its rows, fits
    several equally well while `named_shape` is none of them, or holds a field that no declared encoding decodes.
    """
    require_sound(shapes, dialect)
    require_known(shapes, named_shape)
    raw = parse_plain(data, shapes, dialect, named_shape, wanted)
    return _parse_line_by_line(data, shapes, dialect, named_shape, wanted) if raw is None else raw


def parse_plain(
    data: bytes, shapes: Sequence[Shape], dialect: Dialect, named_shape: str | None, wanted: Collection[str] | None
) -> Raw | None:
    """What `_parse_line_by_line` gives, several times as fast; None where the text is not plain."""
    text = plain(data, shapes, dialect)
    if text is None:
        return None
    known = tuple(shapes)
    if dialect.header:
        again = text.data.find(b"\n" + text.header)
        if again >= 0 or not text.header:
            return None
        known = by_header(frame(text.header), 0, shapes, dialect)
    shape = choose(text, known, dialect, named_shape)
    height = text.lines - dialect.header
    if shape is None or not height:
        return None
    read = read_columns(text, shape, dialect, wanted, header=dialect.header)
    if read is None:
        return None
    declared = next(declared for declared in shapes if declared.name == shape.name)
    read = {**absent(declared.columns, height, wanted), **read}
    fields = finish(read, (), np.arange(1, height + 1) + dialect.header, [word for word in dialect.null if word])
    ignored = {HEADER: 1} if dialect.header else {}
    return Raw(fields, pl.DataFrame(schema=REJECTIONS), ignored, 0, text.lines, shape.name)


def _parse_line_by_line(
    data: bytes, shapes: Sequence[Shape], dialect: Dialect, named_shape: str | None, wanted: Collection[str] | None
) -> Raw:
    lines = frame(data)
    asked = next((shape for shape in shapes if shape.name == named_shape), shapes[0])
    rows = ~lines.empty
    ignored = Counter({EMPTY_LINE: lines.units - int(np.count_nonzero(rows))})
    known = tuple(shapes)
    if dialect.header and rows.any():
        first = int(np.argmax(rows))
        known = by_header(lines, first, shapes, dialect)
        headers = same(lines, lines.raw(first))
        rows &= ~headers
        ignored[HEADER] = int(np.count_nonzero(headers))
    if not rows.any():
        fields = finish(absent(asked.columns, 0, wanted), (), np.zeros(0, dtype=np.int64), ())
        return Raw(fields, reject(lines, np.zeros(0, dtype=np.int64), ()), dict(+ignored), 0, lines.units, None)

    clean = ~controlled(lines, [shape.delimiter or dialect.delimiter for shape in shapes])
    scans = {pair: separated(lines, *pair) for pair in {separators(shape, dialect) for shape in known}}
    shape, fits = _choose(lines, rows, clean, known, scans, dialect, named_shape)
    scan = scans[separators(shape, dialect)]
    good = np.flatnonzero(fits)
    read, notes = read_fields(lines, scan, shape, good, fits, dialect, wanted)
    declared = next(declared for declared in shapes if declared.name == shape.name)
    read = {**absent(declared.columns, good.size, wanted), **read}
    bad = np.flatnonzero(rows & ~fits)
    reasons = [reason_of(scan, shape, int(index), bool(clean[index])) for index in bad]
    fields = finish(read, notes, good + 1, dialect.null)
    return Raw(fields, reject(lines, bad, reasons), dict(+ignored), 0, lines.units, shape.name)


def absent(names: Sequence[str], height: int, wanted: Collection[str] | None) -> dict[str, pl.Series]:
    """Nulls for those of `names` that are `wanted`."""
    nothing = pl.Series([None], dtype=pl.String).new_from_index(0, height)
    return dict.fromkeys((name for name in names if wanted is None or name in wanted), nothing)


def require_known(shapes: Sequence[Shape], named_shape: str | None) -> None:
    """Raises `FileRefused` when the source names a shape that the feed has not."""
    if named_shape is not None and named_shape not in {shape.name for shape in shapes}:
        names = ", ".join(shape.name for shape in shapes)
        raise FileRefused(f"the source names the shape {named_shape}, the feed has {names}; correct sources.toml")


def require_sound(shapes: Sequence[Shape], dialect: Dialect) -> None:
    """Raises `FeedError` when shapes and dialect cannot describe a file."""
    if not shapes or not dialect.encodings:
        raise FeedError("a delimited feed declares at least one shape and one encoding")
    for encoding in dialect.encodings:
        codec_name(encoding)
    for shape in shapes:
        names = set(shape.columns)
        if len(names) != len(shape.columns) or not names or names & {ROW, READ_NOTE}:
            raise FeedError(f"shape {shape.name}: columns have distinct names, none of them {ROW} or {READ_NOTE}")
        delimiter, quote = separators(shape, dialect)
        for sign in (delimiter, quote):
            if sign is not None and (len(sign) != 1 or not sign.isascii() or sign.isalnum() or sign in "\r\n\x00"):
                raise FeedError(f"shape {shape.name}: delimiter and quote are one ASCII sign each, found {sign!r}")
        if delimiter == quote:
            raise FeedError(f"shape {shape.name}: delimiter and quote differ, found {quote!r} for both")


# --- the header -------------------------------------------------------------------------------------------------------


def by_header(lines: Lines, first: int, shapes: Sequence[Shape], dialect: Dialect) -> tuple[Shape, ...]:
    """The shapes that know every column of the header line, each with the columns as this header orders them.

    No name out of the header is quoted: in a file that lacks its header it is a value out of a record.
    """
    problem = ""
    found: list[Shape] = []
    for shape in shapes:
        scan = separated(frame(lines.raw(first)), *separators(shape, dialect))
        if scan.broken[0]:
            problem = problem or "its first line is not well quoted"
            continue
        names = _split(lines.raw(first), scan)
        strange = [place for place, name in enumerate(names, 1) if name not in shape.columns]
        if strange:
            problem = problem or f"column {strange[0]} of its first line is none that shape {shape.name} knows"
        elif len(set(names)) < len(names):
            problem = problem or "its header names a column twice"
        else:
            found.append(replace(shape, columns=tuple(names)))
    if not found:
        raise FileRefused(f"the file does not start with a header of this feed: {problem}; add or correct the header")
    return tuple(found)


def _split(line: bytes, scan: Scan) -> list[str]:
    lines = frame(line)
    spans = spans_of(lines, scan, np.zeros(1, dtype=np.int64), np.ones(1, dtype=np.bool_))
    octets = [line[int(start[0]) : int(end[0])] for start, end in spans]
    return [value.decode("utf-8", "replace").strip() for value in octets]


def same(lines: Lines, header: bytes) -> Mask:
    """Which lines are the header again, octet by octet."""
    same = np.asarray(lines.ends - lines.starts == len(header))
    places = np.flatnonzero(same)
    same[places] = (cells(lines, lines.starts[places], lines.ends[places]) == pl.Series([header])).to_numpy()
    return same


def _choose(
    lines: Lines,
    rows: Mask,
    clean: Mask,
    shapes: Sequence[Shape],
    scans: Mapping[tuple[str, str | None], Scan],
    dialect: Dialect,
    named_shape: str | None,
) -> tuple[Shape, Mask]:
    """The shape that most of `rows` fit, and the rows that do."""
    fitting: dict[str, Mask] = {}
    for shape in shapes:
        scan = scans[separators(shape, dialect)]
        fitting[shape.name] = rows & clean & ~scan.broken & (scan.columns == len(shape.columns))
    chosen = decide(tally_of(lines, rows, shapes, scans, dialect, fitting), shapes, named_shape)
    return chosen, fitting[chosen.name]


# --- fields -----------------------------------------------------------------------------------------------------------


def read_fields(
    lines: Lines,
    scan: Scan,
    shape: Shape,
    good: Positions,
    fits: Mask,
    dialect: Dialect,
    wanted: Collection[str] | None,
) -> tuple[dict[str, pl.Series], list[pl.Series]]:
    """The text of the `good` lines by column, and the notes of cells that needed another encoding than the first."""
    doubt = doubtful(lines, dialect.encodings)
    if not doubt.size:
        return _read_at_once(_body(lines, good, fits), scan, shape, good.size, wanted), []
    found: dict[str, pl.Series] = {}
    notes: list[pl.Series] = []
    for name, (starts, ends) in zip(shape.columns, spans_of(lines, scan, good, fits), strict=True):
        # A column that is not wanted is decoded too: whether a row is text, and in what, is said of the whole row.
        text, note = decode(lines, starts, ends, doubt, dialect.encodings, good + 1)
        if note is not None:
            notes.append(note)
        if wanted is None or name in wanted:
            if scan.quote is not None and text.str.contains(scan.quote, literal=True).any():
                text = text.str.replace_all(scan.quote * 2, scan.quote, literal=True)
            found[name] = text
    return found, notes


def _body(lines: Lines, good: Positions, fits: Mask) -> bytes:
    """The good lines alone, LF between them."""
    body = lines.data
    if good.size < lines.units:
        turns = np.flatnonzero(np.diff(fits, prepend=False, append=False))
        bounds = np.append(lines.starts, len(lines.data))[turns].reshape(-1, 2).tolist()
        body = b"".join([lines.data[first:end] for first, end in bounds])
    return body.replace(b"\r\n", b"\n").removesuffix(b"\r") if lines.carriage_returns else body


def _read_at_once(
    body: bytes, scan: Scan, shape: Shape, height: int, wanted: Collection[str] | None
) -> dict[str, pl.Series]:
    last = shape.columns[-1]
    asked = None if wanted is None else {last, *wanted}
    read = read_text(body, shape.columns, asked, scan.delimiter, scan.quote, empty_is_null=False)
    if read[last].len() != height:
        raise IngestError(f"reading shape {shape.name}: {height} rows were framed and {read[last].len()} read")
    return {name: column for name, column in read.items() if wanted is None or name in wanted}
