"""The directory of a block file: where its sections and posting lists stand, and the first order key of each block."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ingest.record import CATEGORIES
from trafficvault import block_form, signing
from trafficvault.block_form import FIRST_KEY_BYTES, ROWS

_SERVED = "served"
_COUNTED = np.dtype([("bits", "<u4"), ("chunks", "<u4")])


@dataclass(frozen=True, slots=True)
class Index:
    """Where a posting list stands in a file, chunk by chunk."""

    bits: int
    """How many bits it keeps of a hash."""
    firsts: npt.NDArray[np.uint64] = field(repr=False)
    """The first hash of each chunk."""
    ends: npt.NDArray[np.int64] = field(repr=False)
    """Where each chunk begins in the file, and the last one's end."""

    @classmethod
    def of(cls, bits: int, firsts: npt.NDArray[np.uint64], lengths: npt.NDArray[np.uint32], begin: int) -> Index:
        """Of a list that begins at that place, with chunks of these lengths."""
        return cls(bits, firsts, np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]) + begin)

    @classmethod
    def parse(cls, content: bytes, begin: int) -> Index:
        """The inverse of `index`, for a list that begins at that place."""
        bits, chunks = np.frombuffer(content, _COUNTED, 1)[0].tolist()
        firsts = np.frombuffer(content, "<u8", chunks, _COUNTED.itemsize)
        lengths = np.frombuffer(content, "<u4", chunks, _COUNTED.itemsize + firsts.nbytes)
        return cls.of(bits, firsts, lengths, begin)

    def spans(self, chunks: Iterable[int]) -> list[tuple[int, int]]:
        """From where to where those chunks stand in the file."""
        return [(int(self.ends[chunk]), int(self.ends[chunk + 1])) for chunk in chunks]

    @property
    def nbytes(self) -> int:
        """How much memory its arrays take."""
        return int(self.firsts.nbytes + self.ends.nbytes)

    def chunks(self, hashes: Iterable[int]) -> dict[int, list[int]]:
        """The chunks among which pairs of these 64-bit hashes would stand, each with the kept bits of those."""
        found: dict[int, list[int]] = {}
        for hashed in hashes:
            kept = hashed >> (64 - self.bits)
            low = int(self.firsts.searchsorted(np.uint64(kept), "left")) - 1
            for chunk in range(max(low, 0), int(self.firsts.searchsorted(np.uint64(kept), "right"))):
                found.setdefault(chunk, []).append(kept)
        return found


def index(bits: int, chunks: list[tuple[int, int]]) -> bytes:
    """The content of an index that stands by itself. `chunks` are first hash and length of each."""
    return np.array([(bits, len(chunks))], _COUNTED).tobytes() + _arrays(chunks)


@dataclass(frozen=True, slots=True)
class Directory:
    """What is kept of a block file that was opened. It holds the beginnings of some identifiers, so it is sealed."""

    rows: int
    prefixes: tuple[int, ...]
    """The lengths, in 128 bits, that its addresses were posted with."""
    by_served: bool
    """Whether the order of its rows is that of whose records they are."""
    by_order: frozenset[str] | None
    """The families of which the order of rows finds something that was not posted; None where none was told."""
    ends: npt.NDArray[np.int64]
    """Where each section begins, block by block and category by category, and the last one's end."""
    first_keys: npt.NDArray[np.bytes_]
    posted: Index
    """Of the posting lists."""
    cells: tuple[int, int, int] | None
    """Where the list of cells begins, where its index does, and the index's end; None where the file has none."""

    @property
    def nbytes(self) -> int:
        """How much memory its arrays take."""
        return int(self.ends.nbytes + self.first_keys.nbytes) + self.posted.nbytes

    @property
    def blocks(self) -> int:
        """How many blocks there are."""
        return len(self.first_keys)

    def rows_of(self, block: int) -> int:
        """How many rows a block has."""
        return min(ROWS, self.rows - block * ROWS)

    def blocks_of_key(self, key: bytes) -> range:
        """The blocks among which rows of that order key would stand; `key` is cut as first keys are."""
        low = int(self.first_keys.searchsorted(key, "left")) - 1
        return range(max(low, 0), int(self.first_keys.searchsorted(key, "right")))


def dump(
    rows: int,
    lengths: list[int],
    first_keys: list[bytes],
    prefixes: Iterable[int],
    by_order: Iterable[str],
    bits: int,
    chunks: list[tuple[int, int]],
    cells: tuple[int, int] | None,
) -> bytes:
    """The content of a directory: a header line, then arrays. `chunks` are first hash and length of each, `cells` the
    lengths of the list of cells and of its index.
    """
    header: dict[str, object] = {
        "kind": "blocks",
        "form": block_form.form(),
        "rows": rows,
        "bits": bits,
        "chunks": len(chunks),
        "prefixes": sorted(prefixes),
        "by_order": sorted(by_order),
        "order": _SERVED,
    }
    if cells is not None:
        header["cells"] = list(cells)
    return b"".join(
        [
            signing.canonical(header) + b"\n",
            np.array(lengths, "<u4").tobytes(),
            np.array(first_keys, f"S{FIRST_KEY_BYTES}").tobytes(),
            _arrays(chunks),
        ]
    )


def _arrays(chunks: list[tuple[int, int]]) -> bytes:
    firsts, lengths = ([chunk[place] for chunk in chunks] for place in range(2))
    return np.array(firsts, "<u8").tobytes() + np.array(lengths, "<u4").tobytes()


def parse(content: bytes, end: int) -> Directory:
    """The inverse, for a directory that begins at `end`. Raises `ValueError` when it is of another form or place."""
    head, _, body = content.partition(b"\n")
    header = json.loads(head)
    if (header["kind"], header["form"]) != ("blocks", block_form.form()):
        raise ValueError("the block file is of another form")
    blocks, chunks = -(-header["rows"] // ROWS), header["chunks"]
    shapes = (
        ("<u4", blocks * len(CATEGORIES)),
        (f"S{FIRST_KEY_BYTES}", blocks),
        ("<u8", chunks),
        ("<u4", chunks),
    )
    arrays, at = [], 0
    for type_, count in shapes:
        arrays.append(np.frombuffer(body, type_, count, at))
        at += arrays[-1].nbytes
    ends = np.concatenate([[0], np.cumsum(arrays[0], dtype=np.int64)])
    posted = Index.of(header["bits"], arrays[2], arrays[3], int(ends[-1]))
    behind, cells = int(posted.ends[-1]), None
    if "cells" in header:
        cells = behind, behind + header["cells"][0], behind + sum(header["cells"])
        behind = cells[-1]
    if behind != end:
        raise ValueError("the block file is longer or shorter than its directory says")
    by_order = frozenset(header["by_order"]) if "by_order" in header else None
    by_served = header.get("order") == _SERVED
    return Directory(header["rows"], tuple(header["prefixes"]), by_served, by_order, ends, arrays[1], posted, cells)
