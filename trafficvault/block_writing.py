"""Writes a block file: rows in, in their final order, sealed sections out; then the posting lists and the directory.

Only the postings are held until the end, 8 bytes for each identifier and block it stands in.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

import numpy as np
import polars as pl

from ingest.record import CATEGORIES, WHO
from trafficvault import block_directory, block_form, postings
from trafficvault.block_cells import CellPosting
from trafficvault.block_encoding import Frame
from trafficvault.block_form import (
    CELLS,
    DIRECTORY,
    FIRST_KEY_BYTES,
    MAGIC,
    POSTINGS,
    ROWS,
    SALT_BYTES,
    SECTION,
    Seals,
)
from trafficvault.block_posting import OrderKeys, Posting
from trafficvault.errors import FaultError
from trafficvault.packing import Rows, Texts
from trafficvault.sealed_parquet import Place, polars_type, require_granted

_SLAB = 128 * ROWS
"""Rows that are encoded at once."""
_MOST_BLOCKS = 1 << postings.BLOCK_BITS


class Builder:
    """A block file in the making, at `path`, which exists and is empty (`Disk.create_by` sees to what is durable).

    Frames are added in ascending order of (`order_key`, `start`), within and between them; their columns may differ. A
    category without a key in `file_keys` gets no sections. Use it as a context, or close it: it holds a file.
    """

    def __init__(self, path: Path, place: Place, file_keys: Mapping[str, bytes]) -> None:
        self._place, self._keys = place, file_keys
        self._salt = os.urandom(SALT_BYTES)
        self._seals = Seals.of(place, file_keys, self._salt)
        self._posting = Posting()
        self._cells = CellPosting(place.record_class) if self._seals.cells else None
        self._rest = pl.DataFrame()
        self._texts: Mapping[str, Texts] = {}
        self._rows = 0
        self._lengths: list[int] = []
        self._first_keys: list[bytes] = []
        self._last_key = ""
        self._file = path.open("wb")
        self._sealer = ThreadPoolExecutor(1)
        self._sealing: Future[None] | None = None

    def __enter__(self) -> Builder:
        """The builder itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the file."""
        self._sealer.shutdown(cancel_futures=True)
        self._file.close()

    def add(self, rows: pl.DataFrame | Rows) -> None:
        """Takes the rows that come next; a column that is packed in some of them is packed in all, by the same numbers.

        Raises `FaultError`, here or later, when they are not in order, `UsageError` for a column that is not of the
        record, `RefusedError` for one whose category has no key.
        """
        packed = rows if isinstance(rows, Rows) else Rows(rows, {})
        frame, self._texts = packed.frame, packed.texts
        for name in frame.columns:
            require_granted(name, self._place.record_class, self._keys)
        plain = [name for name in frame.columns if name not in packed.texts]
        frame = frame.with_columns(pl.col(name).cast(polars_type(name)) for name in plain)
        self._rest = pl.concat([self._rest, frame], how="diagonal_relaxed") if self._rest.height else frame
        whole = self._rest.height // ROWS * ROWS
        for start in range(0, whole, _SLAB):
            self._write(self._rest[start : min(start + _SLAB, whole)])
        self._rest = self._rest[whole:]

    def finish(self) -> None:
        """Writes what is left: the last block, the posting lists, the directory. Raises `FaultError` without rows."""
        if self._rest.height:
            self._write(self._rest)
        if not self._rows:
            raise FaultError(f"writing the blocks of {self._place}: there are no rows to write")
        self._settle()
        bits, chunks = self._write_postings(self._posting.pairs(), WHO)
        cells = None if self._cells is None else self._write_cells(self._cells)
        told = self._posting.prefixes, self._posting.by_order
        content = block_directory.dump(self._rows, self._lengths, self._first_keys, *told, bits, chunks, cells)
        sealed = self._seals.seal(WHO, DIRECTORY, 0, content)
        self._file.write(sealed + self._salt + len(sealed).to_bytes(4, "little") + MAGIC)
        self._file.close()

    def _write(self, frame: pl.DataFrame) -> None:
        rows = Rows(frame, self._texts)
        order = OrderKeys(rows)
        keys = order.text_of(np.append(np.arange(0, frame.height, ROWS), frame.height - 1))
        if not order.ascend() or keys[0] < self._last_key:
            raise FaultError(f"writing the blocks of {self._place}: the rows are not in the order of their blocks")
        self._last_key = keys[-1]
        encoded = Frame(rows)
        first = self._rows // ROWS
        if first + encoded.blocks > _MOST_BLOCKS:
            raise FaultError(f"writing the blocks of {self._place}: it has more than {_MOST_BLOCKS} blocks")
        record_class = self._place.record_class
        sections = [list(encoded.sections(block_form.names(category, record_class))) for category in CATEGORIES]
        self._settle()
        self._sealing = self._sealer.submit(self._put, sections, first)
        self._first_keys += [key.encode()[:FIRST_KEY_BYTES] for key in keys[:-1]]
        self._rows += frame.height
        self._posting.add(rows, order)
        if self._cells is not None:
            self._cells.add(rows)

    def _put(self, sections: list[list[bytes | None]], first: int) -> None:
        """Seals and writes blocks from the `first` on, given category by category, while the next are encoded."""
        for index, block in enumerate(zip(*sections, strict=True), first):
            for category, content in zip(CATEGORIES, block, strict=True):
                packed = None if content is None else block_form.packed(content)
                sealed = b"" if packed is None else self._seals.seal(category, SECTION, index, packed)
                self._file.write(sealed)
                self._lengths.append(len(sealed))

    def _settle(self) -> None:
        """Waits for the blocks that are being written. Raises what went wrong with them."""
        if self._sealing is not None:
            self._sealing.result()
            self._sealing = None

    def _write_cells(self, cells: CellPosting) -> tuple[int, int]:
        """The lengths of the list of cells and of its index; nothing is written where there are none."""
        joined = cells.pairs()
        if not len(joined):
            return 0, 0
        bits, chunks = self._write_postings(joined, CELLS)
        index = self._seals.seal(CELLS, DIRECTORY, 0, block_directory.index(bits, chunks))
        self._file.write(index)
        return sum(length for _, length in chunks), len(index)

    def _write_postings(self, joined: postings.Hashes, category: str) -> tuple[int, list[tuple[int, int]]]:
        """Writes pairs. How many bits a hash keeps, and first hash and length of each chunk."""
        bits, chunks = postings.kept_bits(len(joined)), []
        for index, start in enumerate(range(0, len(joined), postings.CHUNK)):
            hashed, blocks = postings.split(joined[start : start + postings.CHUNK], bits)
            sealed = self._seals.seal(category, POSTINGS, index, postings.pack(hashed, blocks))
            self._file.write(sealed)
            chunks.append((int(hashed[0]), len(sealed)))
        return bits, chunks
