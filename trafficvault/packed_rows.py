"""Packed rows: all rows of a partition in memory, which come in the order of time, and in that of blocks.

The rows themselves stay where they are; what is put in order is their places.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from trafficvault.block_posting import OrderKeys
from trafficvault.packing import Rows

Places = npt.NDArray[np.int64]
"""Which rows, in which order."""


class PackedRows:
    """All rows of a partition, to be taken once in each order: then they are forgotten."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._orders = 2
        self._by_start = _by_start(rows.frame)
        self.height = rows.frame.height

    def in_time(self, size: int) -> Iterator[Rows]:
        """`size` rows after `size` rows in the order of `start`, missing last; among them those of a batch stand
        together. Rows of equal start keep the order in which they came.
        """
        for offset in range(0, len(self._by_start), size):
            yield batches_together(self._taken(self._by_start[offset : offset + size]))
        self._done()

    def in_blocks(self, size: int) -> Iterator[Rows]:
        """`size` rows after `size` rows in the order of a block file."""
        ranks = OrderKeys(self._rows).ranks()[self._by_start]
        places = self._by_start[_ordered(ranks.view(np.uint64), int(ranks.max()))]
        for offset in range(0, len(places), size):
            yield self._taken(places[offset : offset + size])
        self._done()

    def _done(self) -> None:
        self._orders -= 1
        if not self._orders:
            self._rows = Rows(pl.DataFrame(), {})

    def _taken(self, places: Places) -> Rows:
        return Rows(self._rows.frame[places], self._rows.texts)


def batches_together(rows: Rows) -> Rows:
    """`rows`, those of a batch together, in other respects in the same order; as they are where no batch repeats."""
    if "batch" not in rows.texts:
        return rows
    codes: npt.NDArray[Any] = rows.codes("batch")
    return Rows(rows.frame[np.argsort(codes, kind="stable")], rows.texts) if np.ptp(codes) else rows


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
