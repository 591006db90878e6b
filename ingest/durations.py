"""Durations and whole numbers out of text, for `ingest.mapping`, `ingest.forms` and `ingest.totals`.

`whole` gives integers, null where the text is not of the form.
"""

from __future__ import annotations

from typing import Final

import polars as pl

MOST_SECONDS: Final = 1_000_000_000
"""Longer durations (31 years) are not of the form: a sum with a time must stay a time."""

_DECIMAL: Final = r"^[0-9]{1,10}\.[0-9]{1,9}$"


def whole(text: pl.Series, kind: str) -> pl.Series:
    """The whole numbers in `text`; durations in milliseconds. Null where the text is not of the form of `kind`.

    `seconds` and `milliseconds` may carry decimals; `duration_hhmmss` and `duration_hhmmssss` (hundredths) have two
    digits per part and as many for the hours as are left. No kind may be negative.
    """
    if kind == "integer":
        return _between(_digits(text), 2**63 - 1)
    if kind in ("seconds", "milliseconds"):
        factor = 1000 if kind == "seconds" else 1
        digits = _digits(text)
        value = _between(digits, MOST_SECONDS * 1000 // factor) * factor
        if digits.null_count() > text.null_count():
            stripped = text.str.strip_chars()
            decimal = stripped.set(~stripped.str.contains(_DECIMAL), None).cast(pl.Float64, strict=False) * factor
            value = value.zip_with(digits.is_not_null(), _between(decimal.round().cast(pl.Int64), MOST_SECONDS * 1000))
        return value
    return _clock(text, hundredths=kind == "duration_hhmmssss")


def _digits(text: pl.Series) -> pl.Series:
    value = text.cast(pl.Int64, strict=False)
    return value if value.null_count() == text.null_count() else text.str.strip_chars().cast(pl.Int64, strict=False)


def _between(value: pl.Series, most: int) -> pl.Series:
    """`value` where it is from 0 to `most`."""
    wrong = (value < 0) | (value > most)
    return value.set(wrong, None) if wrong.any() else value


def _clock(text: pl.Series, *, hundredths: bool) -> pl.Series:
    """HHMMSS or HHMMSSss; the hours may have any number of digits."""
    digits = _digits(text)
    fits = text.str.strip_chars().str.contains(r"^[0-9]{7,14}$" if hundredths else r"^[0-9]{5,14}$")
    clock = digits // 100 if hundredths else digits
    seconds, minutes, hours = clock % 100, clock // 100 % 100, clock // 10_000
    value = ((hours * 60 + minutes) * 60 + seconds) * 1000
    if hundredths:
        value = value + digits % 100 * 10
    wrong = (seconds > 59) | (minutes > 59) | ~fits
    return _between(value.set(wrong, None) if wrong.any() else value, MOST_SECONDS * 1000)
