"""Packed rows: all rows of a partition in memory, which come in the order of time, and in that of blocks.

The rows themselves stay where they are; what is put in order is their places.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from trafficvault import packing
from trafficvault.block_form import ORDER
from trafficvault.block_posting import order_of
from trafficvault.packing import Library, Packing

Places = npt.NDArray[np.int64]
"""Which rows, in which order."""


class PackedRows:
    """Rows as `Packing` packs them, and how it did so."""

    def __init__(self, rows: pl.DataFrame, how: Packing) -> None:
        self._rows, self._how = rows, how
        self._by_start = _by_start(rows)
        self.height = rows.height

    def in_time(self, size: int) -> Iterator[pl.DataFrame]:
        """`size` rows after `size` rows in the order of `start`, missing last; among them those of a batch stand
        together. Rows of equal start keep the order in which they came.
        """
        for offset in range(0, len(self._by_start), size):
            places = self._by_start[offset : offset + size]
            if "batch" in (self._how.kinds or {}):
                places = places[_together(self._rows["batch"].gather(places))]
            yield self._how.unpack(self._rows[places])

    def in_blocks(self, size: int) -> Iterator[pl.DataFrame]:
        """`size` rows after `size` rows in the order of a block file."""
        order = order_of(self._how.unpack(self._rows.select(name for name in ORDER if name in self._rows.columns)))
        if not isinstance(order.dtype, pl.Categorical):
            order = order.cast(pl.Categorical(pl.Categories.random()))
        ranks = Library().of(order).ranks[packing.codes_of(order)][self._by_start]
        places = self._by_start[_ordered(ranks.view(np.uint64), int(ranks.max()))]
        for offset in range(0, len(places), size):
            yield self._how.unpack(self._rows[places[offset : offset + size]])


def batches_together(rows: pl.DataFrame) -> pl.DataFrame:
    """`rows`, those of a batch together, in other respects in the same order; as they are where no batch repeats."""
    if not isinstance(rows.schema.get("batch"), pl.Categorical):
        return rows
    return rows[_together(rows["batch"].to_physical())]


def _together(codes: pl.Series) -> npt.NDArray[np.intp]:
    """The places of `codes` with equal ones together."""
    found: npt.NDArray[Any] = codes.fill_null(codes.max() or 0).to_numpy()
    return np.argsort(found, kind="stable")


def _by_start(rows: pl.DataFrame) -> Places:
    """The places of `rows` in the order of `start`, missing last; equal ones stay as they are."""
    if "start" not in rows.columns or rows["start"].null_count() == rows.height:
        return np.arange(rows.height)
    start = rows["start"].to_physical()
    least, most = int(start.min()), int(start.max())  # type: ignore[arg-type]  # of integers, some of them there
    away = (start - least).fill_null(most - least + 1).to_numpy()
    return _ordered(away.view(np.uint64), most - least + 1)


def _ordered(keys: npt.NDArray[np.uint64], most: int) -> Places:
    """The places of `keys`, none of which is above `most`, in ascending order; equal ones stay as they are."""
    bits = max(1, len(keys) - 1).bit_length()
    if most.bit_length() + bits > 64:
        return np.argsort(keys, kind="stable")
    # Key and place in one number, all different: NumPy sorts those ten times as fast as it finds places.
    joined = (keys << np.uint64(bits)) | np.arange(len(keys), dtype=np.uint64)
    joined.sort()
    return (joined & np.uint64((1 << bits) - 1)).view(np.int64)
