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
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import polars as pl

from ingest.errors import FeedError, FileRefused, IngestError
from ingest.lines import (
    CONTROL,
    EMPTY_LINE,
    Lines,
    Mask,
    Positions,
    cells,
    codec_name,
    controlled,
    count,
    decode,
    doubtful,
    finish,
    frame,
    plural,
    reject,
)
from ingest.plain import choose, plain, read_columns, read_text, separators
from ingest.raw import READ_NOTE, REJECTIONS, ROW, Dialect, Raw, Shape

HEADER: Final = "header"
QUOTING: Final = "quoting"

_SLICE: Final = 1 << 24
"""Bytes of quoted text whose separators are searched at once: bounds the positions in memory to a few times as much."""


@dataclass(frozen=True, slots=True, eq=False)
class _Scan:
    """What a dialect makes of the lines: which octets separate, how many columns, whose quoting is broken or left open.

    `quote` is None where the file holds none.
    """

    delimiter: str
    quote: str | None
    separating: Mask
    columns: Positions
    broken: Mask
    open: Mask


@dataclass(frozen=True, slots=True)
class Tally:
    """How the rows of a file, or of a part of it, fit the shapes that it may have.

    By the name of a shape: `fits`, how many rows do; `widths`, how many rows have so many columns as it separates them;
    `cut`, the sentence that refuses a file whose last row is cut in that shape. `rows` counts neither empty lines nor
    headers.
    """

    rows: int
    fits: Mapping[str, int]
    widths: Mapping[str, Mapping[int, int]]
    cut: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Form:
    """What the first rows of a file settle for the rest of it, which comes in parts.

    `shapes` are those that the file may have, each with the columns as its header orders them; `header` is that line;
    `shape` is the one to read by, until all rows were seen.
    """

    shapes: tuple[Shape, ...]
    header: bytes | None = field(repr=False)
    shape: Shape


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
    _require_sound(shapes, dialect)
    _require_known(shapes, named_shape)
    raw = _parse_plain(data, shapes, dialect, named_shape, wanted)
    return _parse_line_by_line(data, shapes, dialect, named_shape, wanted) if raw is None else raw


def _parse_plain(
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
        known = _by_header(frame(text.header), 0, shapes, dialect)
    shape = choose(text, known, dialect, named_shape)
    height = text.lines - dialect.header
    if shape is None or not height:
        return None
    read = read_columns(text, shape, dialect, wanted, header=dialect.header)
    if read is None:
        return None
    declared = next(declared for declared in shapes if declared.name == shape.name)
    read = {**_absent(declared.columns, height, wanted), **read}
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
        known = _by_header(lines, first, shapes, dialect)
        headers = _same(lines, lines.raw(first))
        rows &= ~headers
        ignored[HEADER] = int(np.count_nonzero(headers))
    if not rows.any():
        fields = finish(_absent(asked.columns, 0, wanted), (), np.zeros(0, dtype=np.int64), ())
        return Raw(fields, reject(lines, np.zeros(0, dtype=np.int64), ()), dict(+ignored), 0, lines.units, None)

    clean = ~controlled(lines, [shape.delimiter or dialect.delimiter for shape in shapes])
    scans = {pair: _scan(lines, *pair) for pair in {separators(shape, dialect) for shape in known}}
    shape, fits = _choose(lines, rows, clean, known, scans, dialect, named_shape)
    scan = scans[separators(shape, dialect)]
    good = np.flatnonzero(fits)
    read, notes = _read(lines, scan, shape, good, fits, dialect, wanted)
    declared = next(declared for declared in shapes if declared.name == shape.name)
    read = {**_absent(declared.columns, good.size, wanted), **read}
    bad = np.flatnonzero(rows & ~fits)
    reasons = [_reason(scan, shape, int(index), bool(clean[index])) for index in bad]
    fields = finish(read, notes, good + 1, dialect.null)
    return Raw(fields, reject(lines, bad, reasons), dict(+ignored), 0, lines.units, shape.name)


def _absent(names: Sequence[str], height: int, wanted: Collection[str] | None) -> dict[str, pl.Series]:
    nothing = pl.Series([None], dtype=pl.String).new_from_index(0, height)
    return dict.fromkeys((name for name in names if wanted is None or name in wanted), nothing)


def _require_known(shapes: Sequence[Shape], named_shape: str | None) -> None:
    if named_shape is not None and named_shape not in {shape.name for shape in shapes}:
        names = ", ".join(shape.name for shape in shapes)
        raise FileRefused(f"the source names the shape {named_shape}, the feed has {names}; correct sources.toml")


def _require_sound(shapes: Sequence[Shape], dialect: Dialect) -> None:
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


def _by_header(lines: Lines, first: int, shapes: Sequence[Shape], dialect: Dialect) -> tuple[Shape, ...]:
    """The shapes that know every column of the header line, each with the columns as this header orders them.

    No name out of the header is quoted: in a file that lacks its header it is a value out of a record.
    """
    problem = ""
    found: list[Shape] = []
    for shape in shapes:
        scan = _scan(frame(lines.raw(first)), *separators(shape, dialect))
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


def _split(line: bytes, scan: _Scan) -> list[str]:
    lines = frame(line)
    spans = _fields(lines, scan, np.zeros(1, dtype=np.int64), np.ones(1, dtype=np.bool_))
    octets = [line[int(start[0]) : int(end[0])] for start, end in spans]
    return [value.decode("utf-8", "replace").strip() for value in octets]


def _same(lines: Lines, header: bytes) -> Mask:
    """Which lines are the header again, octet by octet."""
    same = np.asarray(lines.ends - lines.starts == len(header))
    places = np.flatnonzero(same)
    same[places] = (cells(lines, lines.starts[places], lines.ends[places]) == pl.Series([header])).to_numpy()
    return same


# --- separators and shape ---------------------------------------------------------------------------------------------


def _scan(lines: Lines, delimiter: str, quote: str | None) -> _Scan:
    separating = np.asarray(lines.octets == ord(delimiter))
    broken, opened = np.zeros(lines.units, dtype=np.bool_), np.zeros(lines.units, dtype=np.bool_)
    if quote is None or quote.encode() not in lines.data:
        return _Scan(delimiter, None, separating, count(lines, separating) + 1, broken, opened)
    first = 0
    while first < lines.units:
        reach = int(np.searchsorted(lines.starts, lines.starts[first] + _SLICE))
        part = slice(first, max(reach, first + 1))
        broken[part], opened[part] = _scan_quoted(lines, part, separating, ord(quote))
        first = part.stop
    return _Scan(delimiter, quote, separating, count(lines, separating) + 1, broken | opened, opened)


def _scan_quoted(lines: Lines, part: slice, separating: Mask, quote: int) -> tuple[Mask, Mask]:
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


def _choose(
    lines: Lines,
    rows: Mask,
    clean: Mask,
    shapes: Sequence[Shape],
    scans: Mapping[tuple[str, str | None], _Scan],
    dialect: Dialect,
    named_shape: str | None,
) -> tuple[Shape, Mask]:
    """The shape that most of `rows` fit, and the rows that do."""
    fitting: dict[str, Mask] = {}
    for shape in shapes:
        scan = scans[separators(shape, dialect)]
        fitting[shape.name] = rows & clean & ~scan.broken & (scan.columns == len(shape.columns))
    chosen = decide(_tally(lines, rows, shapes, scans, dialect, fitting), shapes, named_shape)
    return chosen, fitting[chosen.name]


def _tally(
    lines: Lines,
    rows: Mask,
    shapes: Sequence[Shape],
    scans: Mapping[tuple[str, str | None], _Scan],
    dialect: Dialect,
    fitting: Mapping[str, Mask],
) -> Tally:
    fits = {name: int(np.count_nonzero(mask)) for name, mask in fitting.items()}
    height = int(np.count_nonzero(rows))
    widths: dict[str, dict[int, int]] = {}
    cut: dict[str, str] = {}
    for shape in shapes:
        scan = scans[separators(shape, dialect)]
        if fits[shape.name] < height:
            numbers, counts = np.unique(scan.columns[rows], return_counts=True)
            widths[shape.name] = dict(zip(numbers.tolist(), counts.tolist(), strict=True))
        else:
            widths[shape.name] = {len(shape.columns): height}
        try:
            _require_whole(lines, scan, shape, rows)
        except FileRefused as refused:
            cut[shape.name] = str(refused)
    return Tally(height, fits, widths, cut)


def decide(tally: Tally, shapes: Sequence[Shape], named_shape: str | None) -> Shape:
    """The shape of a file with rows: the one that most of them fit. Raises `FileRefused` as `parse` does."""
    most = max(tally.fits[shape.name] for shape in shapes)
    best = [shape for shape in shapes if tally.fits[shape.name] == most]
    if len(best) > 1 and named_shape is not None:
        best = [shape for shape in best if shape.name == named_shape] or best
    chosen, misfit = best[0], 2 * most < tally.rows
    if (not misfit or tally.rows == 1) and chosen.name in tally.cut:
        raise FileRefused(tally.cut[chosen.name])
    if misfit:
        widths = tally.widths[chosen.name]
        columns = min(widths, key=lambda number: (-widths[number], number))
        raise FileRefused(
            f"{most} of {plural(tally.rows, 'row')} fit a shape of this feed ({_expected(shapes)}), most rows have "
            f"{plural(columns, 'column')}: it is of another form; choose the feed it belongs to or declare its shape"
        )
    if len(best) > 1:
        names = _either([shape.name for shape in best])
        raise FileRefused(
            f"the rows fit several shapes equally well ({_expected(best)}): name {names} as the shape in sources.toml"
        )
    return chosen


def _expected(shapes: Sequence[Shape]) -> str:
    """The numbers of columns of `shapes` in words, with the names where two have the same number."""
    names: dict[int, list[str]] = {}
    for shape in sorted(shapes, key=lambda shape: len(shape.columns)):
        names.setdefault(len(shape.columns), []).append(shape.name)
    words = [f"{number} ({_either(same)})" if len(same) > 1 else str(number) for number, same in names.items()]
    return f"{_either(words)} column{'' if words == ['1'] else 's'}"


def _either(words: Sequence[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _require_whole(lines: Lines, scan: _Scan, shape: Shape, rows: Mask) -> None:
    if lines.terminated or not rows[-1]:
        return
    if scan.open[-1] or (not scan.broken[-1] and scan.columns[-1] < len(shape.columns)):
        raise FileRefused(
            f"row {lines.units}, the last, ends without a line end inside its "
            f"{'quotes' if scan.open[-1] else 'columns'}: the file is truncated; ask for it again"
        )


def _reason(scan: _Scan, shape: Shape, index: int, clean: bool) -> str:
    if scan.broken[index]:
        return QUOTING
    found, wanted = int(scan.columns[index]), len(shape.columns)
    if found != wanted:
        return f"has {plural(found, 'column')} where shape {shape.name} has {wanted}"
    return CONTROL


# --- fields -----------------------------------------------------------------------------------------------------------


def _read(
    lines: Lines,
    scan: _Scan,
    shape: Shape,
    good: Positions,
    fits: Mask,
    dialect: Dialect,
    wanted: Collection[str] | None,
) -> tuple[dict[str, pl.Series], list[pl.Series]]:
    doubt = doubtful(lines, dialect.encodings)
    if not doubt.size:
        return _read_at_once(_body(lines, good, fits), scan, shape, good.size, wanted), []
    found: dict[str, pl.Series] = {}
    notes: list[pl.Series] = []
    for name, (starts, ends) in zip(shape.columns, _fields(lines, scan, good, fits), strict=True):
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
    body: bytes, scan: _Scan, shape: Shape, height: int, wanted: Collection[str] | None
) -> dict[str, pl.Series]:
    last = shape.columns[-1]
    asked = None if wanted is None else {last, *wanted}
    read = read_text(body, shape.columns, asked, scan.delimiter, scan.quote, empty_is_null=False)
    if read[last].len() != height:
        raise IngestError(f"reading shape {shape.name}: {height} rows were framed and {read[last].len()} read")
    return {name: column for name, column in read.items() if wanted is None or name in wanted}


def _fields(lines: Lines, scan: _Scan, good: Positions, fits: Mask) -> list[tuple[Positions, Positions]]:
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


# --- a file in parts --------------------------------------------------------------------------------------------------


def settle(data: bytes, shapes: Sequence[Shape], dialect: Dialect, named_shape: str | None) -> Form | None:
    """What the lines of `data`, the first of a file, settle for all of it; None while none of them is a row or header.

    Raises as `parse` does for a feed or source that is not sound, and for a header that no shape knows.
    """
    _require_sound(shapes, dialect)
    _require_known(shapes, named_shape)
    lines = frame(data)
    rows = ~lines.empty
    if not rows.any():
        return None
    known, header = tuple(shapes), None
    if dialect.header:
        first = int(np.argmax(rows))
        known, header = _by_header(lines, first, shapes, dialect), lines.raw(first)
        rows &= ~_same(lines, header)
    clean = ~controlled(lines, [shape.delimiter or dialect.delimiter for shape in shapes])
    scans = {pair: _scan(lines, *pair) for pair in {separators(shape, dialect) for shape in known}}
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
        raw = None if again else _parse_plain(data, (shape,), bare, shape.name, wanted)
        if raw is not None:
            return _completed(raw, shapes, shape, wanted), _alike(raw.fields.height, form)
    lines = frame(data)
    rows = ~lines.empty
    ignored = Counter({EMPTY_LINE: lines.units - int(np.count_nonzero(rows))})
    if form.header is not None:
        headers = _same(lines, form.header)
        rows &= ~headers
        ignored[HEADER] = int(np.count_nonzero(headers))
    clean = ~controlled(lines, [item.delimiter or dialect.delimiter for item in shapes])
    scans = {pair: _scan(lines, *pair) for pair in {separators(item, dialect) for item in form.shapes}}
    fitting: dict[str, Mask] = {}
    for item in form.shapes:
        scan = scans[separators(item, dialect)]
        fitting[item.name] = rows & clean & ~scan.broken & (scan.columns == len(item.columns))
    tally = _tally(lines, rows, form.shapes, scans, dialect, fitting)
    scan, fits = scans[separators(shape, dialect)], fitting[shape.name]
    good = np.flatnonzero(fits)
    columns, notes = _absent(shape.columns, 0, wanted), list[pl.Series]()
    if good.size:
        columns, notes = _read(lines, scan, shape, good, fits, dialect, wanted)
    bad = np.flatnonzero(rows & ~fits)
    reasons = [_reason(scan, shape, int(index), bool(clean[index])) for index in bad]
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
