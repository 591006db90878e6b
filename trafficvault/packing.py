"""Packing: rows that wait in memory, with each text whose values repeat as a small number.

A column of text in which values repeat becomes codes of one, two or four bytes, each as narrow as its values so far
allow: a tenth of the memory, and nothing to move but numbers when rows are put in order. Code 0 is null, and code n the
text n - 1 of the column's `Texts`, so that nobody has to look at such a column as text, row by row.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from trafficvault import numerals, postings

Codes = npt.NDArray[np.unsignedinteger[Any]]
"""Of the narrowest type that holds them."""

_WIDTHS = (pl.UInt8(), pl.UInt16(), pl.UInt32())


class Texts:
    """The different texts of a packed column, and what is reckoned of each of them only once; all by code."""

    def __init__(self, values: pl.Series) -> None:
        self.values = values
        self._hashes: dict[str, postings.Hashes] = {}

    def __len__(self) -> int:
        return len(self.values) + 1

    @cached_property
    def arrow(self) -> pa.Array:
        """The texts; in the place of no text stands the prefix."""
        return pa.concat_arrays([pa.array([self.prefix or ""], pa.large_string()), _arrow(self.values)])

    @cached_property
    def ranks(self) -> npt.NDArray[np.int64]:
        """Where each stands among all, by its bytes."""
        found = np.zeros(len(self), np.int64)
        found[self.values.arg_sort().to_numpy() + 1] = np.arange(1, len(self))
        return found

    @cached_property
    def prefix(self) -> str | None:
        """As `numerals.prefix_of`."""
        return numerals.prefix_of(self.values)

    @cached_property
    def numbers(self) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
        """As `numerals.numbers`, behind `prefix`, which must not be None."""
        fits, number = numerals.numbers(self.values, self.prefix or "")
        return np.append(np.False_, fits), np.append(np.int64(0), number)

    def hashes(self, family: str) -> postings.Hashes:
        """As `postings.hashes`."""
        if family not in self._hashes:
            self._hashes[family] = np.append(np.uint64(0), postings.hashes(family, _arrow(self.values)))
        return self._hashes[family]

    def of(self, codes: Codes) -> pl.Series:
        """The text of each code."""
        places = pl.Series(codes).cast(pl.UInt32)
        return self.values.gather(places.replace(0, None) - 1) if len(self.values) else _nulls(len(codes))


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows, and the texts of those of their columns that are packed."""

    frame: pl.DataFrame
    texts: Mapping[str, Texts]

    def codes(self, name: str) -> Codes:
        """Those of a packed column."""
        return self.frame[name].to_numpy()

    def column(self, name: str) -> pl.Series:
        """A column as it is in the record."""
        return self.texts[name].of(self.codes(name)).alias(name) if name in self.texts else self.frame[name]


class Packing:
    """Packs the rows of one partition, frame after frame; all of them by the same numbers."""

    def __init__(self, but: Collection[str] = ()) -> None:
        """No column of `but` is packed."""
        self._but = frozenset(but)
        self._kinds: dict[str, pl.Categorical] | None = None
        self._last: dict[str, pl.Series] = {}
        """A column of each kind: Polars forgets the texts of a kind when none is left."""
        self._counts: dict[str, int] = {}
        self._texts: dict[str, Texts] = {}

    def pack(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows, packed. In which columns values repeat is told by the rows that come first."""
        if self._kinds is None:
            texts = [name for name, kind in rows.schema.items() if kind == pl.String and name not in self._but]
            # Categories of their own, not those of the process: these values go when the rows go.
            self._kinds = {name: pl.Categorical(pl.Categories.random()) for name in texts if _repeats(rows[name])}
            self._counts = dict.fromkeys(self._kinds, 0)
        codes = [self._packed(rows[name], kind) for name, kind in self._kinds.items()]
        # A copy: a part of a row group would hold on to the whole of it.
        return rows.with_columns(codes).rechunk()

    def _packed(self, column: pl.Series, kind: pl.Categorical) -> pl.Series:
        name, first = column.name, column[0] if len(column) else None
        # A look at whether all are one text is six times as quick as numbering them.
        same = first is not None and column[-1] == first and bool((column == first).all(ignore_nulls=False))
        numbered = column[:1].cast(kind) if same else column.cast(kind)
        self._last[name] = numbered.clear()
        codes = (numbered.to_physical() + 1).fill_null(0)
        self._counts[name] = max(self._counts[name], int(codes.max() or 0))  # type: ignore[arg-type]  # of integers
        codes = codes.cast(_width(self._counts[name]))
        return codes.new_from_index(0, len(column)) if same else codes

    @property
    def texts(self) -> Mapping[str, Texts]:
        """Those of the columns that are packed, as far as rows were."""
        for name, kind in (self._kinds or {}).items():
            count = self._counts[name]
            if name not in self._texts or len(self._texts[name].values) < count:
                codes = pl.int_range(count, dtype=pl.UInt32, eager=True)
                self._texts[name] = Texts(
                    codes.cat.to(kind).cast(pl.String) if count else pl.Series([], dtype=pl.String)
                )
        return self._texts

    def joined(self, frames: list[pl.DataFrame]) -> pl.DataFrame:
        """The packed rows of `frames`, which it empties: column by column, so that only one column is there twice."""
        names = frames[0].columns
        parts = [frames.pop(0).get_columns() for _ in range(len(frames))]
        columns = []
        for name in names:
            column = [part.pop(0) for part in parts]
            if name in self._counts:
                column = [one.cast(_width(self._counts[name])) for one in column]
            columns.append(pl.concat(column, rechunk=True))
        return pl.DataFrame(columns)


def dictionary_of(codes: Codes, texts: Texts) -> pa.DictionaryArray:
    """A packed column as Arrow has it, with those texts alone that occur."""
    there = np.zeros(len(texts), np.bool_)
    there[codes] = True
    there[0] = False
    taken = np.flatnonzero(there)
    places = np.cumsum(there, dtype=np.int32) - np.int32(1)
    null = codes == 0
    indices = pa.array(places[codes], mask=null if null.any() else None)
    return pa.DictionaryArray.from_arrays(indices, _arrow(texts.values.gather(taken - 1)).cast(pa.string()))


def _repeats(column: pl.Series) -> bool:
    """Whether so few of its values are different that numbering them is worth it; those that are null don't count."""
    there = len(column) - column.null_count()
    return 8 * column.drop_nulls().n_unique() <= 7 * there or not there


def _width(count: int) -> pl.DataType:
    """The type of the codes of so many texts."""
    return next(width for width, bits in zip(_WIDTHS, (8, 16, 32), strict=True) if count < 1 << bits)


def _nulls(count: int) -> pl.Series:
    return pl.Series([None], dtype=pl.String).new_from_index(0, count)


def _arrow(values: pl.Series) -> pa.Array:
    return values.to_arrow(compat_level=pl.CompatLevel.oldest())
