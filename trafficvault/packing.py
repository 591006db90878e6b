"""Packing: rows that wait in memory, with each text whose values repeat as a small number.

A column of text in which values repeat becomes codes of one, two or four bytes, each as narrow as its values so far
allow: a tenth of the memory, and nothing to move but numbers when rows are put in order. `unpack` gives such a column
as a categorical one, whose texts nobody has to look at row by row (`Texts`).
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from trafficvault import numerals, postings

_WIDTHS = ((1 << 8, pl.UInt8()), (1 << 16, pl.UInt16()), (1 << 32, pl.UInt32()))


class Packing:
    """Packs the rows of one partition, frame after frame; all of them by the same numbers."""

    def __init__(self, but: Collection[str] = ()) -> None:
        """No column of `but` is packed."""
        self._but = frozenset(but)
        self.kinds: dict[str, pl.Categorical] | None = None
        """Of the columns that are packed."""
        self._empty: dict[str, pl.Series] = {}
        # Polars forgets the texts of a kind when no column of it is left.

    def pack(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows, packed. In which columns values repeat is told by the rows that come first."""
        if self.kinds is None:
            texts = [name for name, kind in rows.schema.items() if kind == pl.String and name not in self._but]
            # Categories of their own, not those of the process: these values go when the rows go.
            self.kinds = {name: pl.Categorical(pl.Categories.random()) for name in texts if _repeats(rows[name])}
        packed = rows.with_columns(pl.col(name).cast(kind) for name, kind in self.kinds.items())
        self._empty = self._empty or {name: packed[name].clear() for name in self.kinds}
        return packed.with_columns(_narrowed(packed[name].to_physical()) for name in self.kinds)

    def unpack(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The same rows, with a categorical column for each that was packed."""
        kinds = {name: kind for name, kind in (self.kinds or {}).items() if name in rows.columns}
        return rows.with_columns(rows[name].cast(pl.UInt32).cat.to(kind) for name, kind in kinds.items())

    def joined(self, frames: list[pl.DataFrame]) -> pl.DataFrame:
        """The packed rows of `frames`, which it empties: column by column, so that only one column is there twice."""
        names = frames[0].columns
        parts = [frames.pop(0).get_columns() for _ in range(len(frames))]
        columns = []
        for name in names:
            column = [part.pop(0) for part in parts]
            if name in (self.kinds or {}):
                widest = max((one.dtype for one in column), key=lambda kind: _of_width(kind))
                column = [one.cast(widest) for one in column]
            columns.append(pl.concat(column, rechunk=True))
        return pl.DataFrame(columns)


class Texts:
    """The different texts of a categorical column, and what is reckoned of each of them only once.

    Everything stands by code, where code 0 is no text, and code n the text n - 1.
    """

    def __init__(self, values: pl.Series) -> None:
        self.values = values

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
        return np.append(False, fits), np.append(np.int64(0), number)

    def hashes(self, family: str) -> postings.Hashes:
        """As `postings.hashes`."""
        if family not in self._hashes:
            self._hashes[family] = np.append(np.uint64(0), postings.hashes(family, _arrow(self.values)))
        return self._hashes[family]

    @cached_property
    def _hashes(self) -> dict[str, postings.Hashes]:
        return {}


class Library:
    """The texts of all categorical columns that were looked at; of one that has grown since, the new ones too."""

    def __init__(self) -> None:
        self._texts: dict[str, Texts] = {}

    def of(self, column: pl.Series) -> Texts:
        """The texts of a categorical column, all that occur in it and mostly all that its kind has."""
        kind = column.dtype
        assert isinstance(kind, pl.Categorical)  # noqa: S101  # for the type checker: the caller asked
        highest, known = column.to_physical().max(), self._texts.get(kind.categories.name())
        least = 0 if highest is None else int(highest) + 1  # type: ignore[arg-type]  # of integers
        if known is None or len(known.values) < least:
            count = _count(kind.categories, least)
            values = pl.int_range(count, dtype=pl.UInt32, eager=True).cat.to(kind).cast(pl.String)
            known = self._texts[kind.categories.name()] = Texts(values)
        return known


def _count(categories: pl.Categories, least: int) -> int:
    """How many texts there are, of which `least` are known to be. Polars itself can only count them one by one."""
    low, high = least, max(2 * least, 1)
    while high - 1 in categories:
        low, high = high, 2 * high
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (middle, high) if middle - 1 in categories else (low, middle)
    return low


def codes_of(column: pl.Series) -> npt.NDArray[np.int32]:
    """The code of each row of a categorical column; 0 where it is null."""
    return (column.to_physical().cast(pl.Int32) + 1).fill_null(0).to_numpy()


def encoded(column: pl.Series, texts: Texts) -> pa.DictionaryArray:
    """A categorical column as Arrow has it, with those texts alone that occur."""
    codes = column.to_physical()
    there = np.zeros(len(texts.values), np.bool_)
    there[codes.drop_nulls().to_numpy()] = True
    taken = np.flatnonzero(there)
    places = np.cumsum(there, dtype=np.int32) - np.int32(1)
    indices = pa.array(places[codes.fill_null(0).to_numpy()]) if len(taken) else pa.nulls(len(codes), pa.int32())
    if len(taken) and codes.null_count():
        indices = pa.array(indices.to_numpy(), mask=column.is_null().to_numpy())
    return pa.DictionaryArray.from_arrays(indices, _arrow(texts.values.gather(taken)).cast(pa.string()))


def _repeats(column: pl.Series) -> bool:
    """Whether so few of its values are different that numbering them is worth it; those that are null don't count."""
    there = len(column) - column.null_count()
    return 8 * column.drop_nulls().n_unique() <= 7 * there or not there


def _narrowed(codes: pl.Series) -> pl.Series:
    highest = codes.max()
    most = 0 if highest is None else int(highest)  # type: ignore[arg-type]  # of integers
    return codes.cast(next(width for bound, width in _WIDTHS if most < bound))


def _of_width(kind: pl.DataType) -> int:
    return [width for _, width in _WIDTHS].index(kind)


def _arrow(values: pl.Series) -> pa.Array:
    return values.to_arrow(compat_level=pl.CompatLevel.oldest())
