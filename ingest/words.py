"""Fields of few words, for `ingest.columns` and `ingest.times`: record types, operators, offsets.

What depends on such a field alone is worked out once per word and spread over the rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import polars as pl

_FEW: Final = 256
_SOME: Final = 2048
"""A field has few words where it has at most so many of them, which its first rows must not contradict."""


def by_word(text: pl.Expr, rule: Callable[[pl.Expr], pl.Expr], kind: pl.DataType) -> pl.Expr:
    """What `rule` gives for `text`, of type `kind`, worked out once per word where the words are few."""

    def values(rows: pl.Series) -> pl.Series:
        words = Words.of(rows)
        value = rule(pl.col(rows.name))
        return rows.to_frame().select(value).to_series() if words is None else words.spread(value)

    return text.map_batches(values, return_dtype=kind)


@dataclass(frozen=True, slots=True, eq=False)
class Words:
    """A field of few words: `once` has each of them once, `which` says per row where it stands there."""

    once: pl.DataFrame = field(repr=False)
    which: pl.Series = field(repr=False)

    @classmethod
    def of(cls, text: pl.Series) -> Words | None:
        """The words of `text`, null among them where a row has none; None where they are many."""
        words = text.head(_SOME).unique()
        if len(words) > _FEW:
            return None
        known = words.drop_nulls()
        # The first rows mostly have them all: to look for the words of every row costs more than to place them.
        which = text.cast(pl.Enum(known), strict=False)
        if which.null_count() > text.null_count():
            words = text.unique()
            if len(words) > _FEW:
                return None
            known = words.drop_nulls()
            which = text.cast(pl.Enum(known))
        place = which.to_physical().cast(pl.UInt32)
        if text.null_count():
            return cls(known.extend_constant(None, 1).to_frame(), place.fill_null(len(known)))
        return cls(known.to_frame(), place)

    def spread(self, value: pl.Expr) -> pl.Series:
        """`value`, which reads this field alone, of every row."""
        return self.gathered(self.once.select(value).to_series())

    def gathered(self, values: pl.Series) -> pl.Series:
        """What `values` says of each word, of every row."""
        if len(values) == 1:
            return values.new_from_index(0, len(self.which))
        return values.rechunk().gather(self.which)  # out of two chunks it would cost six times as much
