"""Frames the lines of a file, and turns spans of its bytes into text.

Lines are found by numpy over the whole buffer and cells are views into it: nothing here runs Python code per line. A
line ends at LF; one CR before it belongs to the end. The last line may lack its end. Empty lines are units like any
other. Encodings are supersets of ASCII, so that separators and line ends are the same octets in all of them.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from ingest.errors import FeedError, FileRefused
from ingest.raw import READ_NOTE, REJECTIONS, ROW

Positions = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

EMPTY_LINE: Final = "empty line"
CONTROL: Final = "control character"

ENCODINGS: Final = (
    *("utf-8", "latin-1", "ascii", "cp437", "cp850"),
    *(f"iso8859-{part}" for part in range(1, 17) if part != 12),
    *(f"cp{page}" for page in range(1250, 1259)),
)
"""The encodings that a feed may declare, all supersets of ASCII. Part 12 of ISO 8859 was never published."""

_MANY_LINES: Final = 1_000_000
_BOM: Final = codecs.BOM_UTF8
_LF: Final = 0x0A
_CR: Final = 0x0D
_TAB: Final = 0x09
_SPACE: Final = 0x20
_DEL: Final = 0x7F
_FORMS: Final = (
    (b"PK\x03\x04", "a zip archive or a spreadsheet"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\x1f\x8b", "compressed twice"),
    (b"\x28\xb5\x2f\xfd", "compressed twice"),
    (b"BZh", "compressed with bzip2"),
    (b"\xfd7zXZ\x00", "compressed with xz"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """The lines of a file as spans of its bytes: `data[starts[i]:ends[i]]`, without LF, without the CR before it.

    `terminated` tells whether the last line has its LF; true for a file without lines. Its repr shows no byte.
    """

    data: bytes = field(repr=False)
    octets: npt.NDArray[np.uint8] = field(repr=False)
    starts: Positions = field(repr=False)
    ends: Positions = field(repr=False)
    carriage_returns: int
    terminated: bool

    @property
    def units(self) -> int:
        """How many lines there are, empty ones included."""
        return int(self.starts.size)

    @property
    def empty(self) -> Mask:
        """Which lines hold no byte."""
        return np.asarray(self.starts == self.ends)

    @property
    def spans(self) -> Positions:
        """The length of each line, its line end included."""
        return np.diff(self.starts, append=len(self.data))

    def raw(self, index: int) -> bytes:
        """The bytes of one line."""
        return self.data[int(self.starts[index]) : int(self.ends[index])]


def begins_unlike_text(data: bytes) -> bool:
    """Whether `data` begins with a byte-order mark, or as a file that is not text."""
    return data.startswith((_BOM, *(magic for magic, _ in _FORMS)))


def frame(data: bytes) -> Lines:
    """The lines of `data`, its byte-order mark apart.

    Raises `FileRefused` for what is not text: an archive, a file compressed twice, one that holds NUL bytes; and for
    more than a million lines of which most are empty, which pack to nothing and cost memory.
    """
    for magic, form in _FORMS:
        if data.startswith(magic):
            raise FileRefused(f"the file is {form}, not text; deliver the text itself, plain or compressed once")
    if b"\x00" in data:
        raise FileRefused("the file holds NUL bytes: it is binary or not UTF-8 text; deliver it as text")
    while data.startswith(_BOM):
        data = data[len(_BOM) :]
    octets = np.frombuffer(data, dtype=np.uint8)
    feeds = np.flatnonzero(octets == _LF)
    terminated = not data or data.endswith(b"\n")
    ends = feeds if terminated else np.append(feeds, len(data))
    starts = np.zeros(ends.size, dtype=np.int64)
    starts[1:] = feeds[: ends.size - 1] + 1
    carriage_returns = 0
    if b"\r" in data:
        returned = (ends > starts) & (octets[np.maximum(ends - 1, 0)] == _CR)
        carriage_returns = int(np.count_nonzero(returned))
        ends = ends - returned
    if ends.size > _MANY_LINES and 2 * int(np.count_nonzero(starts == ends)) > ends.size:
        raise FileRefused("more than half of its over a million lines are empty; deliver it without them")
    return Lines(data, octets, starts, ends, carriage_returns, terminated)


def count(lines: Lines, chosen: Mask) -> Positions:
    """How many of the `chosen` bytes (a mask over the file) each line holds, its line end included."""
    if lines.units == 0:
        return np.zeros(0, dtype=np.int64)
    if int(lines.spans.max()) <= np.iinfo(np.uint8).max:  # no sum can wrap; ten times as fast as any wider sum
        narrow = np.add.reduceat(chosen.view(np.uint8), lines.starts, dtype=np.uint8)
        return narrow.astype(np.int64)
    places = np.flatnonzero(chosen)
    return np.diff(np.searchsorted(places, np.append(lines.starts, len(lines.data))))


def controlled(lines: Lines, allowed: Iterable[str] = ()) -> Mask:
    """Which lines hold a control character (C0 or DEL) other than a tab and the `allowed` ones."""
    octets = lines.octets
    fine = {_LF, _TAB, *(ord(character) for character in allowed)}
    known = sum(lines.data.count(octet) for octet in fine if octet < _SPACE) + lines.carriage_returns
    low = octets < _SPACE
    if int(np.count_nonzero(low)) == known and bytes([_DEL]) not in lines.data:
        return np.zeros(lines.units, dtype=np.bool_)
    chosen = np.asarray(low | (octets == _DEL))
    for octet in fine:
        chosen &= octets != octet
    returned = lines.spans - (lines.ends - lines.starts)
    returned[: lines.units - (not lines.terminated)] -= 1
    return np.asarray(count(lines, chosen) > returned)


def cells(lines: Lines, starts: Positions, ends: Positions) -> pl.Series:
    """The spans from `starts` to `ends`, in order and apart, as Binary values that view the file's own bytes."""
    if starts.size == 0:
        return pl.Series(dtype=pl.Binary)
    bounds = np.empty(2 * starts.size, dtype=np.int64)
    bounds[0::2] = starts
    bounds[1::2] = ends
    # Arrow knows no gaps between values, so the gaps are values too: every second one.
    buffers = [None, pa.py_buffer(bounds), pa.py_buffer(lines.data)]
    array = pa.LargeBinaryArray.from_buffers(pa.large_binary(), bounds.size - 1, buffers)
    return pl.Series(array, dtype=pl.Binary).gather_every(2)


def is_wholly(data: bytes, encodings: Sequence[str]) -> bool:
    """Whether all of `data` is text of the first of `encodings`, as far as that can be told from the whole."""
    if data.isascii():
        return True
    if codec_name(encodings[0]) != "utf-8":
        return False
    whole = np.array([0, len(data)], dtype=np.int64)
    try:
        pa.LargeStringArray.from_buffers(1, pa.py_buffer(whole), pa.py_buffer(data)).validate(full=True)
    except pa.ArrowInvalid:
        return False  # the whole is not UTF-8: cell by cell, then
    return True


def doubtful(lines: Lines, encodings: Sequence[str]) -> Positions:
    """Where the octets stand that leave a cell's encoding open: nowhere in a file that is wholly of the first one."""
    if is_wholly(lines.data, encodings):
        return np.zeros(0, dtype=np.int64)
    return np.flatnonzero(lines.octets > _DEL)


def decode(
    lines: Lines, starts: Positions, ends: Positions, doubt: Positions, encodings: Sequence[str], rows: Positions
) -> tuple[pl.Series, pl.Series | None]:
    """The text of cells, and per cell the encoding it needed: null for the first one, None when all are null.

    Each cell by itself takes the first of `encodings` that decodes it. Python runs once per distinct cell that holds an
    octet of `doubt`. Raises `FileRefused` with the number out of `rows` of the first cell that none decodes.
    """
    odd = np.searchsorted(doubt, ends) > np.searchsorted(doubt, starts) if doubt.size else np.zeros(0, dtype=np.bool_)
    if not odd.any():
        return cells(lines, starts, ends).cast(pl.String), None
    places = np.flatnonzero(odd)
    octets = cells(lines, starts[places], ends[places])
    distinct = octets.unique()
    codec_names = [codec_name(encoding) for encoding in encodings]
    read = [_read(value, codec_names) for value in distinct]
    known = pl.DataFrame(
        {"octets": distinct, "text": [text for text, _ in read], "note": [note for _, note in read]},
        schema={"octets": pl.Binary, "text": pl.String, "note": pl.String},
    )
    found = pl.DataFrame({"octets": octets}).join(known, on="octets", how="left", maintain_order="left")
    lost = found["text"].is_null().to_numpy()
    if lost.any():
        row, tried = int(rows[places[lost][0]]), ", ".join(encodings)
        raise FileRefused(f"row {row} is not text in an encoding that the feed declares ({tried}); correct either")
    text = cells(lines, starts, np.where(odd, starts, ends)).cast(pl.String).scatter(places, found["text"])
    if found["note"].is_null().all():
        return text, None
    return text, pl.Series([None], dtype=pl.String).new_from_index(0, starts.size).scatter(places, found["note"])


def finish(
    columns: Mapping[str, pl.Series], notes: Sequence[pl.Series], rows: Positions, null: Sequence[str]
) -> pl.DataFrame:
    """The fields of `Raw`: `rows` as `row`, the text `columns` with the words of `null` as null, `read_note`."""
    numbers = pl.Series(ROW, rows, dtype=pl.Int64)
    frame = pl.DataFrame([numbers, *(text.alias(name) for name, text in columns.items())])
    text = pl.col(pl.String)
    if "" in null:
        frame = frame.with_columns(pl.when(text != "").then(text).name.keep())
    if words := [word for word in null if word]:
        frame = frame.with_columns(pl.when(~text.is_in(words)).then(text).name.keep())
    note = pl.coalesce([pl.lit(note) for note in notes]) if notes else pl.lit(None, dtype=pl.String)
    return frame.with_columns(note.alias(READ_NOTE))


def reject(lines: Lines, index: Positions, reasons: Sequence[str]) -> pl.DataFrame:
    """The lines of `index` as rejections, each with its reason and its bytes."""
    raw = cells(lines, lines.starts[index], lines.ends[index])
    return pl.DataFrame({"row": index + 1, "reason": list(reasons), "raw": raw}, schema=REJECTIONS)


def plural(number: int, noun: str) -> str:
    """`number` and `noun`, as a sentence has them: 1 column, 2 columns."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def codec_name(encoding: str) -> str:
    """Python's name of `encoding`, `latin-1` for ISO 8859-1. Raises `FeedError` for one that is none of `ENCODINGS`."""
    if encoding.lower().replace("iso-8859", "iso8859") not in ENCODINGS:
        raise FeedError(f"encoding {encoding!r} is not known; known are {', '.join(ENCODINGS)}")
    name = codecs.lookup(encoding).name
    return "latin-1" if name == "iso8859-1" else name


def _read(value: bytes, encodings: Sequence[str]) -> tuple[str | None, str | None]:
    for place, encoding in enumerate(encodings):
        try:
            return value.decode(encoding), encoding if place else None
        except UnicodeError:
            continue
    return None, None
