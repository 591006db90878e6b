"""Reads NDJSON: one JSON object (RFC 8259) per line, its values kept as text.

A string gives its text, a number or boolean its JSON text as written, null gives null, a list or object its JSON text
without blanks. Columns are the keys that the feed knows; a key it does not know makes the row a rejection, so that a
misspelt name is not lost in silence, and so does a key given twice: which of the two counts, no two readers agree on.

Flat objects without escapes are read column by column: numpy finds their structure, and only what is proven to be one
is taken. Every other line is read by Python's parser, which also gives the reason when it is none.
"""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

import numpy as np
import polars as pl

from ingest.errors import FeedError, FileRefused
from ingest.lines import CONTROL, EMPTY_LINE, Lines, Mask, Positions, cells, doubtful, frame, plural, reject
from ingest.raw import READ_NOTE, ROW, Raw

_NOT_JSON: Final = "not valid JSON"
_NOT_OBJECT: Final = "not a JSON object"
_TWICE: Final = "names a key twice"
_DEEP: Final = "nested too deeply"
_SURROGATE: Final = "holds half of a surrogate pair"

_SLICE: Final = 1 << 24
"""Bytes whose structure is searched at once: bounds the positions in memory to a few times as much."""
_QUOTE, _BACKSLASH, _BLANK, _DEL = b'"\\ \x7f'
_OPEN, _CLOSE, _COLON, _COMMA = b"{}:,"
_STRUCTURE: Final = np.isin(np.arange(256), list(b"{}[]:,"))
_HARD: Final = np.isin(np.arange(256), [*range(_BLANK), _BACKSLASH, _DEL]) & ~np.isin(np.arange(256), [0x0A])
_SCALAR: Final = r"^(?:true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)$"
_UNKNOWN: Final = "that the feed does not know"
_HINTED, _MOST_HINTS, _LONGEST_KEY = 3, 1000, 40
"""Unknown keys of a row, and of a file, that are held against the known ones, and the length up to which they are."""
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_SURROGATES: Final = re.compile(r"[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Tally:
    """What the lines of a file, or of a part of it, are: what decides whether the file is of this feed.

    `rows` are the lines that are not empty, `bad` those of them that are no object of the feed, by their reasons; `cut`
    is the sentence that refuses a file whose last line is cut.
    """

    rows: int
    bad: Mapping[str, int]
    cut: str | None


def parse(data: bytes, known: frozenset[str]) -> Raw:
    """The objects of `data` as text columns, one for each of `known` in alphabetical order.

    Raises `FileRefused` for a file that is not UTF-8 text, whose last line is cut, or of whose lines fewer than half
    are objects of this feed.
    """
    raw, tally = parse_part(data, known)
    require_form(tally)
    return raw


def require_form(tally: Tally) -> None:
    """Returns for a file of this feed. Raises `FileRefused` as `parse` does for one of another form, or cut."""
    if tally.cut is not None:
        raise FileRefused(tally.cut)
    bad = sum(tally.bad.values())
    if 2 * bad > tally.rows:
        raise FileRefused(
            f"{tally.rows - bad} of {plural(tally.rows, 'line')} are JSON objects of this feed: it is of another form; "
            f"write one object per line, or choose the feed it belongs to; most often a line {_clause(tally.bad)}"
        )


def parse_part(data: bytes, known: frozenset[str]) -> tuple[Raw, Tally]:
    """The objects of a part of a file, whole lines of it; rows are numbered within the part.

    Whether the file is of this feed, the tallies of all its parts decide (`require_form`). Raises `FileRefused` for
    what is not UTF-8 text.
    """
    if not known or known & {ROW, READ_NOTE}:
        raise FeedError(f"a feed of JSON objects names its keys, none of them {ROW} or {READ_NOTE}")
    lines = frame(data)
    _require_utf8(lines)
    names = sorted(known)
    rows = ~lines.empty
    hard = rows.copy()
    tables: list[pl.DataFrame] = []
    for part in _parts(lines):
        table, read = _read_flat(lines, part, names)
        tables.append(table)
        hard[part] &= ~read
    values: list[tuple[int, dict[str, str | None]]] = []
    bad: list[int] = []
    hints: dict[str, str | None] = {}
    reasons: list[str] = []
    for index in np.flatnonzero(hard).tolist():
        found = _read_any(lines.raw(index).decode(), known, hints)
        if isinstance(found, str):
            bad.append(index)
            reasons.append(found)
        else:
            values.append((index + 1, found))
    cut = None
    if bad and bad[-1] == lines.units - 1 and not lines.terminated and reasons[-1] == _NOT_JSON:
        cut = f"row {lines.units}, the last, ends inside its object: the file is truncated; ask for it again"
    height = int(np.count_nonzero(rows))
    tables.append(_table([row for row, _ in values], [value for _, value in values], names))
    ignored = {EMPTY_LINE: lines.units - height} if height < lines.units else {}
    rejections = reject(lines, np.array(bad, dtype=np.int64), reasons)
    # What stands under a key that nobody knows may be content.
    rejections = rejections.with_columns(pl.when(~pl.col("reason").str.contains(_UNKNOWN, literal=True)).then("raw"))
    fields = pl.concat(tables).sort(ROW).with_columns(pl.lit(None, dtype=pl.String).alias(READ_NOTE))
    return Raw(fields, rejections, ignored, 0, lines.units, None), Tally(height, Counter(reasons), cut)


def _require_utf8(lines: Lines) -> None:
    if not doubtful(lines, ("utf-8",)).size:
        return
    try:
        lines.data.decode()
    except UnicodeDecodeError as problem:
        row = int(np.searchsorted(lines.starts, problem.start, side="right"))
        raise FileRefused(f"row {row} is not UTF-8 text, as JSON is (RFC 8259 §8.1); correct the file") from problem


def _parts(lines: Lines) -> Iterable[slice]:
    first = 0
    while first < lines.units:
        reach = int(np.searchsorted(lines.starts, lines.starts[first] + _SLICE))
        yield slice(first, max(reach, first + 1))
        first = max(reach, first + 1)


def _table(rows: Sequence[int], values: Sequence[dict[str, str | None]], names: Sequence[str]) -> pl.DataFrame:
    columns = {name: pl.Series([value.get(name) for value in values], dtype=pl.String) for name in names}
    return pl.DataFrame({ROW: pl.Series(rows, dtype=pl.Int64), **columns})


# --- flat objects, column by column -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Signs:
    """The signs of JSON outside strings in one part of the file: place and line of each.

    `flat` tells which lines have the signs of a flat object, `{` then `:` and `,` by turns then `}`; only theirs are
    here. `quotes` counts the quotes of every line.
    """

    places: Positions
    line: Positions
    flat: Mask
    quotes: Positions


def _structure(lines: Lines, part: slice) -> _Signs:
    starts, ends = lines.starts[part], lines.ends[part]
    begin, end = int(starts[0]), int(ends[-1])
    octets = lines.octets[begin:end]
    flat = np.asarray(ends > starts)
    places = np.flatnonzero(_HARD[octets]) + begin
    line = np.searchsorted(starts, places, side="right") - 1
    flat[line[places < ends[line]]] = False  # an escape or a control character; a CR at the end of a line is none
    quoting = np.asarray(octets == _QUOTE)
    quotes = np.diff(np.searchsorted(np.flatnonzero(quoting), np.append(starts, end) - begin))
    flat &= quotes & 1 == 0
    reading = np.repeat(flat, np.diff(starts, append=end))
    inside = np.logical_xor.accumulate(quoting & reading)

    places = np.flatnonzero(_STRUCTURE[octets] & reading & ~inside) + begin
    line = np.searchsorted(starts, places, side="right") - 1
    bounds = np.searchsorted(places, np.append(starts, end))
    number = np.diff(bounds)
    turn = np.arange(places.size) - bounds[line]
    expected = np.where(turn & 1, _COLON, _COMMA)
    expected[turn == 0] = _OPEN
    expected[turn == number[line] - 1] = _CLOSE
    flat[line[lines.octets[places] != expected]] = False
    flat &= (number >= 3) & (number & 1 == 1)
    whole = np.flatnonzero(flat)
    flat[whole] = (places[bounds[whole]] == starts[whole]) & (places[bounds[whole + 1] - 1] + 1 == ends[whole])
    keep = flat[line]
    return _Signs(places[keep], line[keep], flat, quotes)


def _read_flat(lines: Lines, part: slice, names: Sequence[str]) -> tuple[pl.DataFrame, Mask]:
    """The flat objects of `part` as a table, and which of its lines they are."""
    signs = _structure(lines, part)
    flat = signs.flat
    within = signs.line[:-1] == signs.line[1:]
    starts, ends, line = signs.places[:-1][within] + 1, signs.places[1:][within], signs.line[:-1][within]
    if not line.size:
        return _table((), (), names), np.zeros_like(flat)
    starts = starts + (lines.octets[starts] == _BLANK)
    text = (ends - starts >= 2) & (lines.octets[starts] == _QUOTE) & (lines.octets[ends - 1] == _QUOTE)
    # Between signs there is a whole string when the line has two quotes for each: no value is made of several.
    flat &= np.bincount(line[text], minlength=flat.size) * 2 == signs.quotes
    is_key = np.arange(line.size) % 2 == 0  # a flat object has as many values as keys: the turns never slip
    flat[line[is_key & ~text]] = False
    bare = np.flatnonzero(~is_key & ~text)
    scalars = cells(lines, starts[bare], ends[bare]).cast(pl.String)
    flat[line[bare[~scalars.str.contains(_SCALAR).to_numpy()]]] = False
    nothing = np.zeros(line.size, dtype=np.bool_)
    nothing[bare[(scalars == "null").to_numpy()]] = True

    line, keyed = line[is_key], text[is_key]
    keys = cells(lines, starts[is_key] + keyed, ends[is_key] - keyed).cast(pl.String)
    code = keys.replace_strict(list(names), range(len(names)), default=-1, return_dtype=pl.Int16).to_numpy()
    flat[line[code < 0]] = False
    order = np.argsort(code, kind="stable")
    twice = (code[order][1:] == code[order][:-1]) & (line[order][1:] == line[order][:-1])
    flat[line[order][1:][twice]] = False

    place = np.cumsum(flat) - 1
    height = int(np.count_nonzero(flat))
    starts, ends = starts[~is_key] + text[~is_key], ends[~is_key] - text[~is_key]
    order = order[flat[line[order]] & ~nothing[~is_key][order]]
    bounds = np.searchsorted(code[order], np.arange(len(names) + 1))
    columns = {ROW: pl.Series(np.flatnonzero(flat) + part.start + 1, dtype=pl.Int64)}
    for number, name in enumerate(names):
        mine = order[bounds[number] : bounds[number + 1]]
        value = cells(lines, starts[mine], ends[mine]).cast(pl.String)
        empty = pl.Series([None], dtype=pl.String).new_from_index(0, height)
        columns[name] = value if mine.size == height else empty.scatter(place[line[mine]], value)
    return pl.DataFrame(columns), flat


# --- any object, one by one -------------------------------------------------------------------------------------------


class _Strange(ValueError):
    """The line is no object that this feed can take; its text is the reason, without any value."""


class _Number(str):
    """A JSON number as it was written."""

    __slots__ = ()


def _read_any(line: str, known: frozenset[str], hints: dict[str, str | None]) -> dict[str, str | None] | str:
    """The values of one line by key, or the reason why it gives none."""
    try:
        value = _PARSER.decode(line)
        if not isinstance(value, dict):
            return _NOT_OBJECT
        unknown = sorted(value.keys() - known)
        if unknown:
            meant = [name for name in (_meant(key, known, hints) for key in unknown[:_HINTED]) if name]
            words = f"; did you mean {' and '.join(dict.fromkeys(meant))}?" if meant else ""
            return f"has {plural(len(unknown), 'key')} {_UNKNOWN}{words}"
        return {key: _as_text(item) for key, item in value.items()}
    except _Strange as problem:
        return str(problem)
    except RecursionError:
        return _DEEP
    except ValueError:
        return _NOT_JSON


def _meant(key: str, known: frozenset[str], hints: dict[str, str | None]) -> str | None:
    """The known key that `key` is a slip of, remembered in `hints`; None where none is near or many were looked up."""
    if key not in hints:
        if len(hints) >= _MOST_HINTS or len(key) > _LONGEST_KEY:
            return None
        hints[key] = next(iter(difflib.get_close_matches(key.lower(), sorted(known), n=1, cutoff=0.75)), None)
    return hints[key]


def _clause(reasons: Mapping[str, int]) -> str:
    """The commonest of `reasons`, as it goes on after "a line"."""
    reason = max(reasons, key=lambda reason: reasons[reason])
    return (
        f"is {reason}" if reason in (_NOT_JSON, _NOT_OBJECT, _DEEP) else reason.replace(CONTROL, f"holds a {CONTROL}")
    )


def _as_text(value: object) -> str | None:
    if value is None:
        return None
    return _checked(value) if isinstance(value, str) else _compact(value)


def _compact(value: object) -> str:
    """The JSON text of a value, without blanks, numbers as they were written."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{_compact(key)}:{_compact(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_compact, value)) + "]"
    if isinstance(value, _Number):
        return value
    return json.dumps(_checked(value) if isinstance(value, str) else value, ensure_ascii=False)


def _checked(text: str) -> str:
    if _CONTROLS.search(text):
        raise _Strange(CONTROL)
    if _SURROGATES.search(text):
        raise _Strange(_SURROGATE)
    return str(text)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Strange(_TWICE)
    return found


def _refuse_constant(_: str) -> NoReturn:
    raise _Strange(_NOT_JSON)  # NaN and Infinity, which Python takes and RFC 8259 §6 does not know


_PARSER: Final = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_Number, parse_float=_Number, parse_constant=_refuse_constant
)
