"""Fields of few words taken together, for `ingest.plan`: record type, operator, offset.

What depends on such fields alone is worked out once for each way in which their words can meet, and looked up per row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from ingest.raw import READ_NOTE, ROW

_HEAD: Final = 2048
"""The first rows mostly have all words of a field."""
_FEW: Final = 64
_MOST: Final = 4096
"""So many words of one field, and so many combinations, are worked out in advance at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Combinations:
    """The combinations of the words of some fields, "no word" among them. Its repr shows the fields only.

    The number of a combination is that of its row in `once`.
    """

    words: Mapping[str, pl.Series] = field(repr=False)

    @classmethod
    def of(cls, fields: pl.DataFrame, names: Sequence[str], before: Combinations | None = None) -> Combinations:
        """The words that `names` have in `fields`, with those known `before`; a field of many words is left out."""
        found: dict[str, pl.Series] = {}
        count = 1
        for name in names:
            if before is not None and name not in before.words:
                continue
            words = fields[name].head(_HEAD).unique()
            if len(words) <= _FEW:
                words = fields[name].unique()
            known = [] if before is None else [before.words[name]]
            words = pl.concat([*known, words.drop_nulls()]).unique(maintain_order=True)
            if len(words) <= _FEW and count * (len(words) + 1) <= _MOST:
                found[name] = words
                count *= len(words) + 1
        return cls(found)

    def once(self, names: Sequence[str]) -> pl.DataFrame:
        """Each combination as a row of text columns `names`, null in fields that are not part of it."""
        columns = {name: [None, *words] for name, words in self.words.items()}
        frame = pl.DataFrame({ROW: [0]})
        for name, words in columns.items():
            texts = pl.DataFrame({name: words}, schema={name: pl.String})
            frame = frame.join(texts, how="cross", maintain_order="left")
        nothing = pl.lit(None, dtype=pl.String)
        rest = [nothing.alias(name) for name in (*names, READ_NOTE) if name not in columns]
        return frame.with_columns(pl.int_range(1, pl.len() + 1).alias(ROW), *rest)

    def which(self, fields: pl.DataFrame) -> pl.Series | None:
        """The combination that stands in each row of `fields`; None where one has a word that is not known."""
        if not self.words:
            return pl.Series([0], dtype=pl.UInt32).new_from_index(0, fields.height)
        placed = fields.select(pl.col(name).cast(pl.Enum(words), strict=False) for name, words in self.words.items())
        if any(placed[name].null_count() != fields[name].null_count() for name in self.words):
            return None
        number = pl.lit(0, dtype=pl.UInt32)
        for name, words in self.words.items():
            place = pl.col(name).to_physical().cast(pl.UInt32)
            place = (place + 1).fill_null(0) if fields[name].null_count() else place + 1
            number = number * (len(words) + 1) + place
        return placed.select(number.alias("which")).to_series()
