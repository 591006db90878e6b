"""Packing: rows that wait in memory, with each text whose values repeat as a small number.

A column of text in which values repeat becomes codes of one, two or four bytes, each as narrow as its values so far
allow: a tenth of the memory, and nothing to move but numbers when rows are put in order. Code 0 is null, and code n the
text n - 1 of the column's `Texts`, so that nobody has to look at such a column as text, row by row.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from trafficvault import numerals, postings
from trafficvault.row_groups import Listed, RowGroup

Codes = npt.NDArray[np.unsignedinteger[Any]]
"""Of the narrowest type that holds them."""

_CODES: dict[pl.DataType, type[np.unsignedinteger[Any]]] = {
    pl.UInt8(): np.uint8,
    pl.UInt16(): np.uint16,
    pl.UInt32(): np.uint32,
}
_NARROWED = (pl.Int8(), pl.Int16(), pl.Int32(), pl.Int64())
"""A whole number waits in the narrowest of these that holds those of its frame."""


class Texts:
    """The different texts of a packed column, and what is reckoned of each of them only once; all by code."""

    def __init__(self, values: pl.Series) -> None:
        self.values = values
        self._hashes: dict[str, postings.Hashes] = {}
        self._beside: tuple[tuple[Texts, ...], Texts] | None = None

    def __len__(self) -> int:
        return len(self.values) + 1

    @cached_property
    def arrow(self) -> pa.Array:
        """The texts; in the place of no text stands the prefix."""
        return pa.concat_arrays([pa.array([self.prefix or ""], pa.large_string()), _arrow(self.values)])

    @cached_property
    def ranks(self) -> npt.NDArray[np.int64]:
        """Where each stands among all, by its bytes; equal ones stand in one place."""
        found = np.zeros(len(self), np.int64)
        found[1:] = self.values.rank("dense").to_numpy()
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

    def beside(self, *others: Texts) -> Texts:
        """These, and behind them those of `others`; one that is of several of them is there as often."""
        if not others:
            return self
        if self._beside is None or self._beside[0] != others:
            self._beside = others, Texts(pl.concat([self.values, *(other.values for other in others)]))
        return self._beside[1]

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
    """Packs the rows of one partition, frame after frame; all of them by the same numbers, once they are joined."""

    def __init__(self, but: Collection[str] = ()) -> None:
        """No column of `but` is packed."""
        self._but = frozenset(but)
        self._begun = False
        self._waiting: dict[str, list[Listed]] = {}
        """The values of each column that is packed, of each frame that was not joined yet."""
        self._texts: dict[str, Texts] = {}

    def pack(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows, for `joined`. In which columns values repeat is told by the rows that come first."""
        # A copy: a part of a row group would hold on to the whole of it.
        return self.pack_group(RowGroup.of_frame(rows), rows.columns).rechunk()

    def pack_group(self, rows: RowGroup, columns: Iterable[str]) -> pl.DataFrame:
        """As `pack`, those `columns` of a row group."""
        packed = []
        for name in columns:
            listed = self._listed(rows, name)
            packed.append(_narrow(rows.column(name)) if listed is None else self._placed(name, listed))
        self._begun = True
        return pl.DataFrame(packed)

    def _listed(self, rows: RowGroup, name: str) -> Listed | None:
        """The column, if it is packed."""
        if name in self._but or (self._begun and name not in self._waiting):
            return None
        listed = rows.listed.get(name)
        if listed is None:
            column = rows.column(name)
            if column.dtype != pl.String:
                return None
            listed = Listed.of(column)
        return listed if self._begun or _repeats(listed) else None

    def _placed(self, name: str, column: Listed) -> pl.Series:
        """The places of the rows in the list, as narrow as can be, until the lists of all frames become one."""
        self._waiting.setdefault(name, []).append(Listed(column.values, column.places[:0], column.nulls))
        if column.alike:
            return pl.Series(name, [0], dtype=pl.UInt8).new_from_index(0, len(column.places))
        return pl.Series(name, column.places).cast(_width(len(column.values)))

    @property
    def texts(self) -> Mapping[str, Texts]:
        """Those of the columns that are packed, as far as rows were joined."""
        return self._texts

    def joined(self, frames: list[pl.DataFrame]) -> pl.DataFrame:
        """The rows of `frames`, which it empties: all that were packed since it was last called, in that order.

        Column by column, so that only one column is there twice.
        """
        names = frames[0].columns
        parts = [frames.pop(0).get_columns() for _ in range(len(frames))]
        columns = []
        for name in names:
            column = [part.pop(0) for part in parts]
            if name in self._waiting:
                column = self._numbered(name, column)
            elif column[0].dtype in _NARROWED:
                widest = max((one.dtype for one in column), key=_NARROWED.index)
                column = [one.cast(widest) for one in column]
            columns.append(pl.concat(column, rechunk=True))
        return pl.DataFrame(columns)

    def _numbered(self, name: str, parts: list[pl.Series]) -> list[pl.Series]:
        """The codes of a packed column, of its places in the list of each frame."""
        lists, self._waiting[name] = self._waiting[name], []
        known = self._texts[name].values if name in self._texts else pl.Series([], dtype=pl.String)
        # Those that are known come first, and keep their numbers.
        every = pa.concat_arrays([_arrow(known), *(_arrow(one.values) for one in lists)]).dictionary_encode()
        count = len(every.dictionary)
        if count > len(known) or name not in self._texts:
            self._texts[name] = Texts(pl.Series(pl.from_arrow(every.dictionary)).cast(pl.String))
        codes = (every.indices.to_numpy() + 1).astype(_CODES[_width(count)])
        found, begin = [], len(known)
        for part, one in zip(parts, lists, strict=True):
            here = np.append(codes[begin : begin + len(one.values)], codes.dtype.type(0))
            begin += len(one.values)
            found.append(
                pl.Series(name, here[:1]).new_from_index(0, len(part))
                if one.alike
                else pl.Series(name, here.take(part.to_numpy()))
            )
        return found


def dictionary_of(codes: Codes, texts: Texts) -> pa.DictionaryArray:
    """A packed column as Arrow has it, with those texts alone that occur, in their order: what stands beside what it
    resembles is smaller.
    """
    first = codes[0]
    if first and bool((codes == first).all()):
        indices, taken = pa.array(np.zeros(len(codes), np.int32)), np.array([first], np.int64)
    else:
        there = np.zeros(len(texts), np.bool_)
        there[codes] = True
        null = codes == 0 if there[0] else None
        there[0] = False
        taken = np.flatnonzero(there)
        taken = taken[np.argsort(texts.ranks[taken])]
        places = np.zeros(len(texts), np.int32)
        places[taken] = np.arange(len(taken), dtype=np.int32)
        indices = pa.array(places.take(codes), mask=null)
    return pa.DictionaryArray.from_arrays(indices, _arrow(texts.values.gather(taken - 1)).cast(pa.string()))


def _narrow(column: pl.Series) -> pl.Series:
    return column.shrink_dtype() if column.dtype in _NARROWED else column


def _repeats(column: Listed) -> bool:
    """Whether so few of its values are different that numbering them is worth it; those that are null don't count."""
    there = len(column.places) - column.nulls
    return 8 * len(column.values) <= 7 * there or not there


def _width(count: int) -> pl.DataType:
    """The type of the codes of so many texts."""
    return next(width for width, bits in zip(_CODES, (8, 16, 32), strict=True) if count < 1 << bits)


def _nulls(count: int) -> pl.Series:
    return pl.Series([None], dtype=pl.String).new_from_index(0, count)


def _arrow(values: pl.Series) -> pa.Array:
    return values.to_arrow(compat_level=pl.CompatLevel.oldest())
