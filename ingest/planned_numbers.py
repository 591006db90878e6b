"""Whole numbers of whole slices, for `ingest.plan`: that every text of a column is one, as its extremes show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import polars as pl

_IMSI: Final = range(6, 16)
"""How many digits an IMSI has."""


@dataclass(frozen=True, slots=True)
class PlannedNumber:
    """The whole number `name` in the column `text`, from 0 to `most`; of `digits` alone, as many as an IMSI has."""

    name: str
    text: str
    most: int
    digits: bool

    def proven(self, frame: pl.DataFrame) -> bool:
        """Whether every text in `frame` is such a number, as far as a look at the whole columns can tell."""
        text, number = frame[self.text], frame[self.name]
        if number.null_count() != text.null_count():
            return False
        least, most = number.min(), number.max()
        if not isinstance(least, int) or not isinstance(most, int):  # there is none
            return True
        if not self.digits:
            return least >= 0 and most <= self.most
        # Of one length, and none that is less than so many digits are: no sign before them, no blank around them.
        sizes = text.str.len_bytes()
        width = sizes.max()
        return sizes.min() == width and isinstance(width, int) and least >= 10 ** (width - 1) and width in _IMSI

    @property
    def wrong(self) -> pl.Expr:
        """Where a text is no such number, or may be none."""
        text, number = pl.col(self.text), pl.col(self.name)
        good = number.is_between(0, self.most)
        if self.digits:
            good &= text.str.len_bytes().is_between(_IMSI.start, _IMSI.stop - 1) & ~text.str.starts_with("+")
        return text.is_not_null() & ~good.fill_null(value=False)
