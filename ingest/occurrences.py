"""How often each record of a file came before in the same file, for files that are never whole in memory.

Kept are 64-bit hashes of the records so far, in sorted arrays that are merged as they grow in number, and a filter of
bits that spares most records the search: about ten bytes a record. A hash decides nothing but a number to tell equal
records apart, or which ones are to be compared.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Counts = npt.NDArray[np.int32]

_MERGED: Final = 8
"""So many arrays of about one size become one."""
_LARGEST: Final = 1 << 23
"""An array of so many hashes is merged no more: merging takes twice its memory for a moment."""
_BITS_PER_HASH: Final = 8
_LEAST_BITS: Final = 20
_MARKED: Final = 1 << 18
"""So many hashes at a time are marked in the filter: in between, each takes forty bytes."""


class Earlier:
    """The hashes of the records so far. For use by one thread at a time."""

    def __init__(self) -> None:
        self._levels: list[list[Hashes]] = [[]]
        self._count = 0
        self._shift = np.uint64(64 - _LEAST_BITS)
        self._filter = np.zeros(1 << (_LEAST_BITS - 3), np.uint8)

    def __len__(self) -> int:
        """How many records there were."""
        return self._count

    def count(self, hashes: Hashes) -> Counts:
        """For each of `hashes`, how many records so far have it."""
        found = np.zeros(len(hashes), np.int32)
        if not self._count:
            return found
        slot = hashes >> self._shift
        bits = self._filter[(slot >> np.uint64(3)).astype(np.int64)] >> (slot & np.uint64(7)).astype(np.uint8)
        places = np.flatnonzero(bits & np.uint8(1))
        if not len(places):
            return found
        places = places[np.argsort(hashes[places])]
        wanted = hashes[places]
        total = np.zeros(len(places), np.int32)
        for level in self._levels:
            for known in level:
                first = np.searchsorted(known, wanted)
                hit = known[np.minimum(first, len(known) - 1)] == wanted
                if hit.any():
                    total[hit] += (np.searchsorted(known, wanted[hit], "right") - first[hit]).astype(np.int32)
        found[places] = total
        return found

    def add(self, ordered: Hashes) -> None:
        """Remembers the records whose hashes are `ordered`, which are sorted."""
        if not len(ordered):
            return
        self._count += len(ordered)
        self._keep(ordered, 0)
        bits = 64 - int(self._shift)
        if self._count * _BITS_PER_HASH > 1 << bits:
            while self._count * _BITS_PER_HASH > 1 << bits:
                bits += 1
            self._shift = np.uint64(64 - bits)
            self._filter = np.zeros(1 << (bits - 3), np.uint8)
            for level in self._levels:
                for known in level:
                    self._mark(known)
        else:
            self._mark(ordered)

    def _keep(self, ordered: Hashes, place: int) -> None:
        if place == len(self._levels):
            self._levels.append([])
        level = self._levels[place]
        level.append(ordered)
        if len(level) == _MERGED and sum(map(len, level)) <= _LARGEST:
            merged = np.concatenate(level)
            level.clear()
            merged.sort(kind="stable")
            self._keep(merged, place + 1)

    def _mark(self, ordered: Hashes) -> None:
        for start in range(0, len(ordered), _MARKED):
            slot = ordered[start : start + _MARKED] >> self._shift
            octet = (slot >> np.uint64(3)).astype(np.int64)
            bit = np.uint8(1) << (slot & np.uint64(7)).astype(np.uint8)
            first = np.flatnonzero(np.diff(octet, prepend=-1))
            self._filter[octet[first]] |= np.bitwise_or.reduceat(bit, first)
