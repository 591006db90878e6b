"""The directory of a block file: where its sections and posting lists stand, and the first order key of each block."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ingest.record import CATEGORIES
from trafficvault import block_form, signing
from trafficvault.block_form import FIRST_KEY_BYTES, ROWS


@dataclass(frozen=True, slots=True)
class Directory:
    """What is kept of a block file that was opened. It holds the beginnings of some identifiers, so it is sealed."""

    rows: int
    bits: int
    """How many bits its posting lists keep of a hash."""
    prefixes: tuple[int, ...]
    """The lengths, in 128 bits, that its addresses were posted with."""
    by_order: frozenset[str] | None
    """The families of which the order of rows finds something that was not posted; None where none was told."""
    ends: npt.NDArray[np.int64]
    """Where each section begins, block by block and category by category, and the last one's end."""
    first_keys: npt.NDArray[np.bytes_]
    chunk_firsts: npt.NDArray[np.uint64]
    chunk_ends: npt.NDArray[np.int64]
    """Where each chunk of the posting lists begins, and the last one's end."""

    @property
    def nbytes(self) -> int:
        """How much memory its arrays take."""
        arrays = (self.ends, self.first_keys, self.chunk_firsts, self.chunk_ends)
        return sum(int(array.nbytes) for array in arrays)

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

    def chunks_of_hash(self, kept: int) -> range:
        """The chunks among which the pairs of a hash, of `bits` bits, would stand."""
        low = int(self.chunk_firsts.searchsorted(np.uint64(kept), "left")) - 1
        return range(max(low, 0), int(self.chunk_firsts.searchsorted(np.uint64(kept), "right")))


def dump(
    rows: int,
    lengths: list[int],
    first_keys: list[bytes],
    prefixes: Iterable[int],
    by_order: Iterable[str],
    bits: int,
    chunks: list[tuple[int, int]],
) -> bytes:
    """The content of a directory: a header line, then arrays. `chunks` are first hash and length of each."""
    header = {
        "kind": "blocks",
        "form": block_form.form(),
        "rows": rows,
        "bits": bits,
        "chunks": len(chunks),
        "prefixes": sorted(prefixes),
        "by_order": sorted(by_order),
    }
    return b"".join(
        [
            signing.canonical(header) + b"\n",
            np.array(lengths, "<u4").tobytes(),
            np.array(first_keys, f"S{FIRST_KEY_BYTES}").tobytes(),
            np.array([first for first, _ in chunks], "<u8").tobytes(),
            np.array([length for _, length in chunks], "<u4").tobytes(),
        ]
    )


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
    chunk_ends = np.concatenate([[0], np.cumsum(arrays[3], dtype=np.int64)]) + ends[-1]
    if chunk_ends[-1] != end:
        raise ValueError("the block file is longer or shorter than its directory says")
    by_order = frozenset(header["by_order"]) if "by_order" in header else None
    return Directory(
        header["rows"], header["bits"], tuple(header["prefixes"]), by_order, ends, arrays[1], arrays[2], chunk_ends
    )
