"""Stamps, for `ingest.rules` and `ingest.times`: text of a fixed form as the wall-clock time it shows, without zone.

A form is written with strftime's words, each of a fixed width, so that a column of stamps is a matrix of bytes: `%Y`
`%y` (20xx) `%m` `%b` (English, three letters) `%d` `%H` `%M` `%S`, fractions `%2f` (hundredths) `%3f` `%6f` (also
`%f`), `%.f` at the end (a dot and up to 9 digits, or nothing), `%F` and `%T`. Text of another width, hour 26, month
13, 30 February and second 60 are refused, never carried over: vendors exist whose decoders print the wrong order
without noticing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from ingest.errors import FeedError

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

SECOND: Final = 1_000_000
"""Microseconds."""
YEARS: Final = (1990, 2199)
"""The years a time may have; beyond them it is a fault of the source: a clock that started at 1970, a digit lost."""

_WIDTHS: Final = {"Y": 4, "y": 2, "m": 2, "b": 3, "d": 2, "H": 2, "M": 2, "S": 2, "f": 6}
_TIME_OF_DAY: Final = (("H", 2), ("M", 2), ("S", 2))
_DATES: Final = 20_000
"""The dates of a file, as numbers, lie so near to each other: two years, where the year stands before."""
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


@dataclass(frozen=True, slots=True)
class Field:
    """Where one word of the form stands: its letter, first byte and width."""

    word: str
    start: int
    width: int


@dataclass(frozen=True, slots=True)
class Form:
    """A form of stamps: its fields, the bytes allowed between them, its width, and whether a fraction may follow."""

    fields: tuple[Field, ...]
    literals: tuple[tuple[int, bytes], ...]
    width: int
    fraction: bool

    @classmethod
    def of(cls, text: str) -> Form:
        """The form that `text` describes. Raises `FeedError` for an unknown word, or where date or hour is missing."""
        rest = text.replace("%F", "%Y-%m-%d").replace("%T", "%H:%M:%S")
        fields: list[Field] = []
        literals: list[tuple[int, bytes]] = []
        at, fraction = 0, False
        while rest:
            if rest == "%.f":
                fraction, rest = True, ""
            elif rest[0] != "%" or rest[:2] == "%%":
                literals.append((at, rest[:1].encode()))
                at, rest = at + len(literals[-1][1]), rest[2 if rest[0] == "%" else 1 :]
            else:
                digits = rest[1:2] if rest[1:2] in ("2", "3", "6") else ""
                word = rest[1 + len(digits) : 2 + len(digits)]
                if word not in _WIDTHS or (digits and word != "f"):
                    raise FeedError(f"time format {text!r}: {rest[:3]!r} is not a word of fixed width")
                width = int(digits) if digits else _WIDTHS[word]
                fields.append(Field(word, at, width))
                at, rest = at + width, rest[2 + len(digits) :]
        shown = [field.word for field in fields]
        if len(set(shown)) != len(shown):
            raise FeedError(f"time format {text!r}: a word stands in it twice")
        if not ({"Y", "y"} & set(shown) and {"m", "b"} & set(shown) and {"d", "H"} <= set(shown)):
            raise FeedError(f"time format {text!r}: year, month, day and hour must all be in it")
        if not text.isascii():
            raise FeedError(f"time format {text!r}: must be ASCII")
        return cls(tuple(fields), tuple(literals), at, fraction)

    @property
    def digits(self) -> bool:
        """Whether its stamps are digits alone, few enough for an integer."""
        named = any(field.word == "b" for field in self.fields)
        return not (self.fraction or self.literals or named) and self.width <= 18

    @property
    def precision(self) -> str:
        """The precision of its stamps in the words of `time_precision`: us, ms, cs, s or min."""
        parts = {field.word: field.width for field in self.fields}
        if self.fraction or parts.get("f") == 6:
            return "us"
        if "f" in parts:
            return {2: "cs", 3: "ms"}[parts["f"]]
        return "s" if "S" in parts else "min"


ISO: Final = replace(
    Form.of("%Y-%m-%d %H:%M:%S"), literals=((4, b"-"), (7, b"-"), (10, b"Tt "), (13, b":"), (16, b":"))
)
"""Date and time of RFC 3339 §5.6, up to the seconds."""


def wall_clock(text: pl.Series, form: Form) -> tuple[Ints, Bools]:
    """Microseconds from 1970-01-01 00:00 to what `text` shows, by its own clock, and where `text` has the form."""
    moment, ok = np.zeros(len(text), dtype=np.int64), np.zeros(len(text), dtype=np.bool_)
    if form.digits:
        return _plain(text, form)
    head, tail = (text.str.slice(0, form.width), text.str.slice(form.width)) if form.fraction else (text, None)
    fits = (head.str.len_bytes() == form.width).fill_null(False)
    rows = fits.to_numpy()
    if not rows.any():
        return moment, ok
    moment[rows], ok[rows] = _moments(_columns(head if fits.all() else head.filter(fits), form.width), form)
    if tail is not None:
        part, good = fraction(tail.str.slice(1))
        empty = (tail == "").fill_null(False).to_numpy()
        ok &= empty | (good & tail.str.starts_with(".").fill_null(False).to_numpy())
        moment += np.where(empty, 0, part)
    return moment, ok


def fraction(digits: pl.Series) -> tuple[Ints, Bools]:
    """Microseconds of 1 to 9 digits behind a decimal point, cut off behind the sixth; and where they are that."""
    good = digits.str.contains(r"^[0-9]{1,9}$").fill_null(False)
    part = digits.str.slice(0, 6).str.pad_end(6, "0").cast(pl.Int64, strict=False)
    return part.zip_with(good, pl.Series([0])).fill_null(0).to_numpy(), good.to_numpy()


def _columns(text: pl.Series, width: int) -> npt.NDArray[np.uint8]:
    """The bytes of texts that are all `width` bytes long, one row per position."""
    array = text.rechunk().to_arrow().cast(pa.large_string())
    offsets = np.frombuffer(array.buffers()[1], dtype=np.int64)
    start = int(offsets[array.offset])
    data = np.frombuffer(array.buffers()[2], dtype=np.uint8)[start : start + len(text) * width]
    return np.ascontiguousarray(data.reshape(len(text), width).T)


def _plain(text: pl.Series, form: Form) -> tuple[Ints, Bools]:
    """As `wall_clock`, for a form of digits alone: each text is one integer, taken apart from behind."""
    number = text.cast(pl.UInt64, strict=False)
    ok = _mask(text.str.len_bytes() == form.width)
    if number.null_count():
        ok &= number.is_not_null().to_numpy()
    if form.fields[0].word != "Y":  # behind a plus there are too few digits for a year
        ok &= _mask(~text.str.starts_with("+"))
    rest = (number.fill_null(0) if number.null_count() else number).to_numpy().astype(np.int64)
    if tuple((field.word, field.width) for field in form.fields[-3:]) == _TIME_OF_DAY and ok.any():
        return _day_by_day(rest if ok.all() else np.where(ok, rest, rest[ok][0]), ok, form)
    return _clock(_parts(rest, form.fields), ok)


def _day_by_day(number: Ints, ok: Bools, form: Form) -> tuple[Ints, Bools]:
    """As `_plain`, of stamps that end in hours, minutes and seconds: a file has few dates, each taken apart once."""
    date = number // 1_000_000
    low, high = int(date.min()), int(date.max())
    if high - low > _DATES:
        return _clock(_parts(number, form.fields), ok)
    clock = (number - date * 1_000_000).astype(np.int32)
    hours, minutes = clock // 10_000, clock // 100
    seconds = clock - minutes * 100
    minutes -= hours * 100
    ok &= (hours < 24) & (minutes < 60) & (seconds < 60)
    date -= low
    dates = np.flatnonzero(np.bincount(date))
    parts = _parts(dates + low, form.fields[:-3])
    midnight, exists = np.zeros(high - low + 1, np.int64), np.zeros(high - low + 1, np.bool_)
    midnight[dates], exists[dates] = _clock(parts | {"H": np.zeros_like(dates)}, np.ones(len(dates), np.bool_))
    ok &= exists[date]
    moment: Ints = midnight[date] + (hours * 3600 + minutes * 60 + seconds).astype(np.int64) * SECOND
    return moment if ok.all() else np.where(ok, moment, 0), ok


def _parts(rest: Ints, fields: tuple[Field, ...]) -> dict[str, Ints]:
    """The numbers of `fields`, taken from behind."""
    parts: dict[str, Ints] = {}
    for field in reversed(fields):
        power = 10**field.width
        before = rest // power
        number_of = rest - before * power
        parts[field.word] = number_of * 10 ** (6 - field.width) if field.word == "f" else number_of
        rest = before
    return parts


def _mask(mask: pl.Series) -> Bools:
    return np.array((mask.fill_null(False) if mask.null_count() else mask).to_numpy(), dtype=np.bool_)


def _moments(columns: npt.NDArray[np.uint8], form: Form) -> tuple[Ints, Bools]:
    count = columns.shape[1]
    ok = np.ones(count, dtype=np.bool_)
    for at, allowed in form.literals:
        ok &= np.isin(columns[at], np.frombuffer(allowed, dtype=np.uint8))
    parts: dict[str, Ints] = {}
    for field in form.fields:
        if field.word == "b":
            parts["m"] = _month_of_name(columns[field.start : field.start + 3])
            continue
        number = np.zeros(count, dtype=np.int64)
        for column in columns[field.start : field.start + field.width]:
            digit = column - np.uint8(48)  # wraps round below "0", so that one comparison finds all that is no digit
            ok &= digit < 10
            number = number * 10 + digit
        parts[field.word] = number * 10 ** (6 - field.width) if field.word == "f" else number
    return _clock(parts, ok)


def _clock(parts: dict[str, Ints], ok: Bools) -> tuple[Ints, Bools]:
    """Microseconds since 1970 of stamps taken apart, and which of those that are `ok` name a moment."""
    year = parts["Y"] if "Y" in parts else parts["y"] + 2000
    month, day, seconds = parts["m"], parts["d"], parts["H"]
    ok &= (year >= YEARS[0]) & (year <= YEARS[1]) & (month >= 1) & (month <= 12) & (seconds < 24)
    for word in ("M", "S"):
        seconds = seconds * 60
        if word in parts:
            ok &= parts[word] < 60
            seconds += parts[word]
    if not ok.any():
        return np.zeros(len(ok), dtype=np.int64), ok
    months = (year - 1970) * 12 + month - 1
    if not ok.all():
        months = np.where(ok, months, months[ok][0])
    # A file has few months, so that the calendar is asked for those alone.
    low = int(months.min())
    firsts = np.arange(low, int(months.max()) + 2).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    months -= low
    ok &= (day >= 1) & (day <= np.diff(firsts)[months])
    moment = (firsts[months] + day - 1) * (86_400 * SECOND) + seconds * SECOND
    if "f" in parts:
        moment += parts["f"]
    return moment if ok.all() else np.where(ok, moment, 0), ok


def _month_of_name(letters: npt.NDArray[np.uint8]) -> Ints:
    """1 to 12, or 0 for letters that name no month."""
    month = np.zeros(letters.shape[1], dtype=np.int64)
    lower = letters | np.uint8(0x20)
    for number, name in enumerate(_MONTHS, start=1):
        wanted = np.frombuffer(name.encode(), dtype=np.uint8)
        month[np.equal(lower.T, wanted).all(axis=1)] = number
    return month
