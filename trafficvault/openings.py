"""Openings: the directories of block files, kept open in a running process, so that the next question opens none.

What is kept is as secret as `who`: the first identifier of each block begins in it. No key is kept with it: what was
derived from day keys stands beside the ring and goes with it. Whoever asks brings keys that a warrant released for that
very file and moment; without that of `who`, or once it is destroyed, a kept directory is out of reach. All that is kept
is dropped when the ring is of another generation than when it was read: that of a destroyed day does not wait in memory
for a reader.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from trafficvault.keys import Released, of_one_ring
from trafficvault.layout import Layout

if TYPE_CHECKING:
    from trafficvault.blocks import BlockFile, Outline
    from trafficvault.sealed_parquet import Place

MOST_BYTES = 256 * 2**20
"""How much is kept; what was asked for longest ago goes first. A directory takes some 40 kB."""

MOST_FILES = 8_192
"""Of how many files what was derived of their keys stays; one takes some 2 kB."""


class Openings:
    """The open directories of one vault, in one process."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self._kept: OrderedDict[Place, Outline] = OrderedDict()
        self._bytes = 0
        self._generation = 0
        self._lock = threading.Lock()

    def __contains__(self, place: object) -> bool:
        return place in self._kept

    def __len__(self) -> int:
        return len(self._kept)

    def blocks(self, layout: Layout, released: Sequence[Released], file_id: str) -> BlockFile:
        """The block file beside record file `file_id`, opened with the `released` keys and no others.

        Raises `RefusedError` when they are not of one class and day with `frame` and `who` among them, or are destroyed
        by now; `FaultError` when the block file is missing or damaged.
        """
        # Not before a question needs them: every vault that is opened has openings, and most of them stay empty.
        from trafficvault import partitions
        from trafficvault.blocks import BlockFile

        derived = released[0].derived if released else {}
        # The same keys of one ring for one file: what they derive is the same.
        name = (file_id, *[(one.record_class, one.day, one.category, one.day_generation) for one in released])
        known = derived.get(name)
        if known is not None and of_one_ring(released):
            place, salt, seals = known
            outline = self._recalled(place, released[0].generation)
            if outline is not None and outline.salt == salt:
                return BlockFile(outline, seals)
        place, keys = partitions.released_keys(released, file_id)
        outline = self._recalled(place, released[0].generation)
        if outline is None:
            path = layout.blocks_file(place.record_class, place.day, place.file_id)
            opened = BlockFile.open(path, place, keys)
            self._keep(opened.outline)
        else:
            opened = outline.under(keys)
        if len(derived) >= MOST_FILES:
            derived.clear()
        derived[name] = place, opened.outline.salt, opened.seals
        return opened

    def forget(self, place: Place) -> None:
        """Drops what is kept of one file: it was found damaged, and may be made anew."""
        with self._lock:
            outline = self._kept.pop(place, None)
            self._bytes -= 0 if outline is None else outline.directory.nbytes

    def _recalled(self, place: Place, generation: int) -> Outline | None:
        with self._lock:
            if generation != self._generation:
                self._kept.clear()
                self._bytes, self._generation = 0, generation
            if place in self._kept:
                self._kept.move_to_end(place)
            return self._kept.get(place)

    def _keep(self, outline: Outline) -> None:
        with self._lock:
            self._kept[outline.place] = outline
            self._bytes += outline.directory.nbytes
            while self._bytes > self._most:
                _, dropped = self._kept.popitem(last=False)
                self._bytes -= dropped.directory.nbytes
