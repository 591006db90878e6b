"""Addresses as two halves of 64 bits, over whole columns: which family they are of, and which of their bits count."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

V4_PREFIX = bytes(10) + b"\xff\xff"
"""Of an IPv4 address as 16 bytes (RFC 4291 §2.5.5.2)."""

_ALL = np.uint64(2**64 - 1)


def halves(addresses: pl.Series) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """The halves of 16-byte addresses, none of them null."""
    joined = addresses.to_frame("x").select(
        high=pl.col("x").bin.slice(0, 8).bin.reinterpret(dtype=pl.UInt64, endianness="big"),
        low=pl.col("x").bin.slice(8, 8).bin.reinterpret(dtype=pl.UInt64, endianness="big"),
    )
    return joined["high"].to_numpy(), joined["low"].to_numpy()


def is_v4(high: npt.NDArray[np.uint64], low: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Which addresses are IPv4 ones."""
    return np.asarray((high == 0) & (low >> np.uint64(32) == np.uint64(0xFFFF)))


def effective_bits(
    lengths: npt.NDArray[np.int64], high: npt.NDArray[np.uint64], low: npt.NDArray[np.uint64]
) -> npt.NDArray[np.int64]:
    """How many of an address's 128 bits count, with its prefix length in its own family; one below 1 says nothing."""
    wide = np.where(is_v4(high, low), lengths + 96, lengths)
    return np.where(lengths > 0, np.minimum(wide, 128), 128)


def masks(bits: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """The masks of the two halves that keep the leading `bits` (1 to 128)."""
    return _mask(np.minimum(bits, 64)), _mask(np.maximum(bits - 64, 0))


def _mask(bits: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    # A shift by 64 is not defined.
    return np.where(bits > 0, _ALL << (64 - np.maximum(bits, 1)).astype(np.uint64), np.uint64(0))
