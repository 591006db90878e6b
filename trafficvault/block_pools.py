"""Pools: the texts of a block's columns, which stand behind its streams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from trafficvault.block_form import Whole

Ends = npt.NDArray[np.signedinteger[Any]]
"""Where each entry of a pool ends; the first begins at 0."""
_MOST_SHORT = 2**31
"""Content of as many bytes needs places of 64 bits."""


@dataclass(slots=True)
class Pool:
    """The texts of a column, block after block."""

    bounds: Whole
    """Where each block's entries begin, and the last one's end."""
    sizes: Whole
    """How many bytes each entry has."""
    content: list[bytes]
    """Each block's texts, one behind the other."""


def pool_of(texts: pa.Array, bounds: Whole, entries: Whole) -> Pool:
    """The texts of those codes."""
    taken = texts.take(pa.array(entries))
    ends = np.frombuffer(taken.buffers()[1], np.int64)[: len(entries) + 1]
    content = taken.buffers()[2].to_pybytes() if taken.buffers()[2] is not None else b""
    return Pool(bounds, np.diff(ends), cut(content, ends[bounds].tolist()))


def cut(content: bytes, ends: Sequence[int]) -> list[bytes]:
    """The parts of `content` between neighbours in `ends`."""
    return [content[begin:end] for begin, end in pairwise(ends)]


def sizes(pools: Sequence[Pool], entries: Whole) -> list[bytes]:
    """Block by block, the sizes of the entries of all pools, as four byte planes."""
    blocks = np.arange(len(entries))
    of = np.concatenate([np.zeros(0, np.int64), *(np.repeat(blocks, np.diff(pool.bounds)) for pool in pools)])
    found = np.concatenate([np.zeros(0, np.int64), *(pool.sizes for pool in pools)])
    found = found[np.argsort(of, kind="stable")].astype("<u4")
    planes = [
        cut(found.view(np.uint8)[place::4].tobytes(), np.append(0, np.cumsum(entries)).tolist()) for place in range(4)
    ]
    return list(map(b"".join, zip(*planes, strict=True)))


def texts_of(content: bytes, pools: Whole, entries: Whole, ends: Whole) -> tuple[pa.Array, Ends]:
    """The pool entries of all sections in `content`, one after the other, each section's after one that is none.

    By section, `pools` is where its pool begins, `entries` how many it has, and `ends` where the section ends.
    """
    places = list(zip(pools.tolist(), entries.tolist(), strict=True))
    index = np.int32 if len(content) < _MOST_SHORT else np.int64
    found: Ends = np.zeros(int(entries.sum()) + len(places) + 1, index)
    sizes = found[1:]
    sizes += np.frombuffer(b"\0" + b"\0".join([content[at : at + n] for at, n in places]), np.uint8)
    # Hardly any text has 256 bytes.
    if np.frombuffer(b"".join([content[at + n : at + 4 * n] for at, n in places]), np.uint8).max(initial=0):
        for plane in range(1, 4):
            parts = [content[at + plane * n : at + plane * n + n] for at, n in places]
            sizes += np.frombuffer(b"\0" + b"\0".join(parts), np.uint8) * index(1 << (8 * plane))
    # The texts stay where they are: what lies between those of two sections is an entry that nothing names.
    sizes[np.cumsum(entries + 1) - entries - 1] = pools + 4 * entries - np.append(np.int64(0), ends[:-1])
    np.cumsum(sizes, out=sizes)
    type_ = pa.StringArray if index is np.int32 else pa.LargeStringArray
    return type_.from_buffers(len(sizes), pa.py_buffer(found), pa.py_buffer(content)), found
