"""Row groups: the rows of a record file as they come from disk, with text whose values repeat as places in a list.

Parquet keeps such a column as a dictionary, and so it stays: what is to be known of a text is asked once for the row
group, not row by row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from trafficvault.sealed_parquet import polars_type


@dataclass(frozen=True, slots=True)
class Listed:
    """A column of text: the list of its values, and the place of each row's in it; where it is null, the place behind
    the last.
    """

    values: pl.Series
    places: npt.NDArray[np.int32]
    nulls: int

    @classmethod
    def of(cls, column: pl.Series) -> Listed:
        """From a column of text."""
        return cls.of_arrow(column.to_arrow(compat_level=pl.CompatLevel.oldest()).dictionary_encode())

    @classmethod
    def of_arrow(cls, column: pa.DictionaryArray) -> Listed:
        """From a dictionary of text."""
        values = pl.Series(pl.from_arrow(column.dictionary)).cast(pl.String)
        places = pc.fill_null(column.indices.cast(pa.int32()), len(values)) if column.null_count else column.indices
        return cls(values, places.to_numpy(zero_copy_only=True), column.null_count)

    @property
    def alike(self) -> bool:
        """Whether all rows are one text, or all are null."""
        return len(self.values) + bool(self.nulls) <= 1

    def series(self) -> pl.Series:
        """The text of each row."""
        places = pl.Series(self.places).cast(pl.UInt32)
        return self.values.extend_constant(None, 1).gather(places) if self.nulls else self.values.gather(places)


@dataclass(frozen=True, slots=True)
class RowGroup:
    """Rows, column by column."""

    names: tuple[str, ...]
    listed: Mapping[str, Listed]
    """Columns of text of which every value is there once."""
    plain: pl.DataFrame
    """The others."""
    height: int

    @classmethod
    def of(cls, table: pa.Table) -> RowGroup:
        """From a table of the record's columns, of which some are dictionaries of text."""
        listed: dict[str, Listed] = {}
        plain: dict[str, pl.Series] = {}
        for name in table.column_names:
            column = table[name]
            if pa.types.is_dictionary(column.type):
                one = column.chunk(0) if column.num_chunks == 1 else column.unify_dictionaries().combine_chunks()
                listed[name] = Listed.of_arrow(one)
            else:
                plain[name] = pl.Series(pl.from_arrow(column)).cast(polars_type(name))
        return cls(tuple(table.column_names), listed, pl.DataFrame(plain), table.num_rows)

    @classmethod
    def of_frame(cls, rows: pl.DataFrame) -> RowGroup:
        """From rows none of whose columns is listed."""
        return cls(tuple(rows.columns), {}, rows, rows.height)

    def column(self, name: str) -> pl.Series:
        """A column as it is in the record; null throughout where there is none."""
        if name in self.listed:
            return self.listed[name].series().alias(name)
        if name in self.names:
            return self.plain[name]
        return pl.Series(name, [None], dtype=polars_type(name)).new_from_index(0, self.height)

    def frame(self, names: Iterable[str]) -> pl.DataFrame:
        """Those columns."""
        return pl.DataFrame([self.column(name) for name in names])
