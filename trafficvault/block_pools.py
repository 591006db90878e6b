"""Pools: the texts of a block's columns, which stand behind its streams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa

from trafficvault.block_form import Whole


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
