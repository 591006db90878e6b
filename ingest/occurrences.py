"""How often each record of a file came before in the same file, for files that are never whole in memory.

Kept are 64-bit hashes of the records so far, in sorted arrays that are merged as they grow in number, and a filter of
bits that spares most records the search: about seven bytes a record. A hash decides nothing but a number to tell equal
records apart, or which ones are to be compared.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Counts = npt.NDArray[np.int32]
_Places = npt.NDArray[np.int64]

_MERGED: Final = 8
"""So many arrays of about one size become one."""
_LARGEST: Final = 1 << 23
"""An array of so many hashes is merged no more: merging takes twice its memory for a moment."""
_PACKED: Final = 1 << 21
"""An array of so many hashes is packed."""
_PER_HASH, _FEW_PER_HASH, _LEAST_PER_HASH = 16, 8, 4
"""Bits of a filter for each hash that is expected, and as few as make it be made anew: while it may grow, and beyond.
Of 16 one search in 20 is in vain, of 4 one in 5.
"""
_LEAST_BITS, _MOST_BITS = 20, 29
"""Powers of two: the bits of the first filter, and those beyond which memory is spared: 64 MiB."""
_PIECE: Final = 1 << 18
"""So many hashes at a time are packed or marked in the filter: in between, each takes forty bytes."""


class Earlier:
    """The hashes of the records so far. For use by one thread at a time."""

    def __init__(self) -> None:
        self._levels: list[list[Hashes]] = [[]]
        self._packed: list[_Packed] = []
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
        for packed in self._packed:
            total += packed.count(wanted)
        found[places] = total
        return found

    def add(self, ordered: Hashes, share: float = 1.0) -> None:
        """Remembers the records whose hashes are `ordered`, which are sorted.

        `share` is about what part of all records to come is there with them: a filter that is large enough for all of
        them need not be made again and again.
        """
        if not len(ordered):
            return
        self._count += len(ordered)
        self._keep(ordered, 0)
        bits = self._bits(share)
        if bits > 64 - int(self._shift):
            self._shift = np.uint64(64 - bits)
            self._filter = np.zeros(1 << (bits - 3), np.uint8)
            for level in self._levels:
                for known in level:
                    self._mark(known)
            for packed in self._packed:
                for start in range(0, len(packed), _PIECE):
                    self._mark(packed.hashes(start, start + _PIECE))
        else:
            self._mark(ordered)

    def _bits(self, share: float) -> int:
        """How many bits the filter is to have, as a power of two; no fewer than it has."""
        now = 64 - int(self._shift)
        if self._count * _FEW_PER_HASH <= 1 << now or (now >= _MOST_BITS and self._count * _LEAST_PER_HASH <= 1 << now):
            return now
        expected = int(self._count / min(max(share, 0.001), 1.0))
        wished, needed = ((count - 1).bit_length() for count in (expected * _PER_HASH, self._count * _LEAST_PER_HASH))
        return max(now, min(wished, _MOST_BITS), needed)

    def _keep(self, ordered: Hashes, place: int) -> None:
        if len(ordered) >= _PACKED:
            self._packed.append(_Packed(ordered))
            return
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
        for start in range(0, len(ordered), _PIECE):
            slot = ordered[start : start + _PIECE] >> self._shift
            octet = (slot >> np.uint64(3)).astype(np.int64)
            bit = np.uint8(1) << (slot & np.uint64(7)).astype(np.uint8)
            first = np.flatnonzero(np.diff(octet, prepend=-1))
            self._filter[octet[first]] |= np.bitwise_or.reduceat(bit, first)


class _Packed:
    """Sorted hashes in six bytes each: what they have in their first 16 bits is told by where they stand."""

    def __init__(self, ordered: Hashes) -> None:
        edges = np.arange(1 << 16, dtype=np.uint64) << np.uint64(48)
        self._starts = np.append(np.searchsorted(ordered, edges), len(ordered)).astype(np.int64)
        self._middle = np.empty(len(ordered), np.uint32)
        self._last = np.empty(len(ordered), np.uint16)
        for start in range(0, len(ordered), _PIECE):
            piece = ordered[start : start + _PIECE]
            self._middle[start : start + _PIECE] = (piece >> np.uint64(16)) & np.uint64(0xFFFFFFFF)
            self._last[start : start + _PIECE] = piece & np.uint64(0xFFFF)

    def __len__(self) -> int:
        return len(self._middle)

    def hashes(self, start: int, stop: int) -> Hashes:
        """The hashes from place `start` to `stop`, as they were."""
        places = np.arange(start, min(stop, len(self)))
        first = np.searchsorted(self._starts, places, "right") - 1
        return first.astype(np.uint64) << np.uint64(48) | self._rest(places)

    def count(self, wanted: Hashes) -> Counts:
        """How often each of `wanted` is here."""
        group = (wanted >> np.uint64(48)).astype(np.int64)
        rest = wanted & np.uint64(0xFFFFFFFFFFFF)
        starts, stops = self._starts[group], self._starts[group + 1]
        first = self._place(rest, starts, stops)
        found = np.zeros(len(wanted), np.int32)
        hits = np.flatnonzero(first < stops)
        hits = hits[self._rest(first[hits]) == rest[hits]]
        # Not above the last: the place behind a hash is where the next one would stand.
        behind = self._place(rest[hits] + np.uint64(1), first[hits], stops[hits])
        found[hits] = behind - first[hits]
        return found

    def _place(self, rest: Hashes, starts: _Places, stops: _Places) -> _Places:
        """The first place from `starts` to `stops` whose hash has `rest` or more behind its first 16 bits."""
        low, high = starts.copy(), stops.copy()
        while len(left := np.flatnonzero(low < high)):
            middle = (low[left] + high[left]) >> 1
            smaller = self._rest(middle) < rest[left]
            low[left[smaller]] = middle[smaller] + 1
            high[left[~smaller]] = middle[~smaller]
        return low

    def _rest(self, places: _Places) -> Hashes:
        return self._middle[places].astype(np.uint64) << np.uint64(16) | self._last[places]
