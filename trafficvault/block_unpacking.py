"""Unpacking: the sealed sections of some blocks, of one file or of many, become sections that can be read."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, Self

import numpy as np
from cryptography.exceptions import InvalidTag

from ingest.record import CATEGORIES
from trafficvault import block_form
from trafficvault.block_decoding import Sections
from trafficvault.block_form import SECTION, Seals
from trafficvault.errors import FaultError
from trafficvault.sealed_parquet import Place

_MANY = 128
"""From so many blocks with matches on it is worth a thread to unpack them."""


class Loaded(NamedTuple):
    """A block as it was read: sealed."""

    number: int
    """Of its file among those that are asked."""
    place: Place
    seals: Seals
    block: int
    rows: int
    content: memoryview
    """What was read of the file."""
    begin: int
    """Where that begins in the file."""
    bounds: Sequence[int]
    """Where in the file the sections of the block begin, category by category, as far as they were read; and the last
    one's end.
    """


def fault(place: Place) -> FaultError:
    """What to raise for a block file that can't be read as it should be."""
    return FaultError(f"opening the blocks of {place}: they are missing, damaged, or of another file")


class Unpacking:
    """The sections of some blocks, category by category, opened when they are asked for, and only where a row is of
    use; those of many blocks are unpacked on a thread while columns of the category before are read.
    """

    def __init__(self, loaded: Sequence[Loaded]) -> None:
        self._loaded, self._kept = loaded, np.arange(len(loaded))
        self._known: dict[str, tuple[Sections, block_form.Whole]] = {}
        self._waiting: dict[str, Future[tuple[bytes, list[int]]]] = {}
        self._worker: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Gives up what nobody waits for."""
        if self._worker is not None:
            self._worker.shutdown(cancel_futures=True)

    def ahead(self, categories: Collection[str]) -> None:
        """Begins to unpack what will be asked for in this order."""
        if len(self._kept) < _MANY:
            return
        self._worker = ThreadPoolExecutor(1, "unpacking")
        for name in CATEGORIES:
            if name in categories and name not in self._known:
                # Opened here: that holds the interpreter's lock, and to unpack does not.
                self._waiting[name] = self._worker.submit(block_form.unpacked, self._opened(name))

    def keep(self, blocks: block_form.Whole) -> None:
        """Of sections that are not open yet only those of `blocks` are of use."""
        self._kept = np.unique(blocks)

    def sections(self, category: str) -> tuple[Sections, block_form.Whole]:
        """The sections of a category, and, by the number of its block, where among them each stands."""
        if category not in self._known:
            at = np.zeros(len(self._loaded), np.int64)
            at[self._kept] = np.arange(len(self._kept))
            waiting = self._waiting.pop(category, None)
            unpacked = waiting.result() if waiting else block_form.unpacked(self._opened(category))
            names = block_form.names(category, self._loaded[0].place.record_class)
            self._known[category] = Sections(unpacked, names), at
        return self._known[category]

    def _opened(self, category: str) -> list[bytes]:
        """The sections of a category, open but packed."""
        return _open([self._loaded[index] for index in self._kept.tolist()], category)


def _open(loaded: Sequence[Loaded], category: str) -> list[bytes]:
    at, contents = CATEGORIES.index(category), []
    for _, place, seals, block, rows, content, begin, bounds in loaded:
        sealed = content[bounds[at] - begin : bounds[at + 1] - begin]
        try:
            # A section whose columns are all null is not written.
            contents.append(
                seals.unseal(category, SECTION, block, sealed) if sealed else _of_nulls(category, place, rows)
            )
        except InvalidTag as problem:
            raise fault(place) from problem
    return contents


def _of_nulls(category: str, place: Place, rows: int) -> bytes:
    return block_form.of_nulls(rows, len(block_form.names(category, place.record_class)))
