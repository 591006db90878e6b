"""Numerals: texts that are a prefix and a number (`+31612345678`, `K17`), as that prefix and that number.

Nothing is lost: a number that is not written as it would be written again (a leading zero, a sign) is no number here.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

_SAMPLE = 512
_FORM = r"^(.*?)([1-9][0-9]{0,17})$"
_DIGITS = 19
"""A number of more digits is text."""
_LEAST_OF_LENGTH = np.array([0, 0, *(10**digits for digits in range(1, _DIGITS))], np.int64)
"""The least number of so many digits."""


def prefix_of(texts: pl.Series) -> str | None:
    """The prefix that most texts of the column have before a number; None when most are not of that form."""
    sample = texts.drop_nulls()
    sample = sample.gather_every(max(1, len(sample) // _SAMPLE)).unique()
    if len(sample) < 2:
        return None
    found = sample.str.extract(_FORM, 1).drop_nulls()
    if not len(found):
        return None
    counts = found.value_counts(sort=True)
    prefix, count = counts.row(0)
    return str(prefix) if 2 * count > len(sample) else None


def numbers(texts: pl.Series, prefix: str) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Which of `texts` are `prefix` and a number just as it is written, and the number."""
    text = pl.col("text")
    bare = text.str.slice(len(prefix)) if prefix else text
    found = (
        texts.alias("text")
        .to_frame()
        .select(
            number=bare.cast(pl.Int64, strict=False).fill_null(-1),
            length=bare.str.len_bytes(),
            starts=text.str.starts_with(prefix) if prefix else pl.lit(True),
        )
    )
    number, length = found["number"].to_numpy(), found["length"].to_numpy()
    # As many digits as characters: no leading zero, no sign, no blank.
    least = _LEAST_OF_LENGTH[np.minimum(length, _DIGITS)]
    fits = (number >= least) & (length <= _DIGITS)
    if prefix:
        fits &= found["starts"].to_numpy()
    return fits, number * fits


def is_number(text: str) -> bool:
    """Whether one text is a number just as it is written, and fits 64 bits."""
    return text.isascii() and text.isdigit() and len(text) < 20 and text == str(int(text)) and int(text) < 2**63
