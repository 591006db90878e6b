"""Recent: the seen hashes of days lately received for, so that a day's blocks are not opened for every slice and batch.

Every vault that is opened has one, and most of them receive nothing: what opens a block is imported when one is opened.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Final

import numpy as np

from trafficvault.durable import Disk
from trafficvault.keys import Custody
from trafficvault.layout import Layout

if TYPE_CHECKING:
    from trafficvault.seen import Hashes

_BOUND: Final = 256 * 2**20
"""Bytes of hashes that `Recent` keeps, the day last asked for apart."""


class Recent:
    """The seen hashes of the days lately received for, all files of a day together, sorted.

    They are of one generation of the key ring: with another, days may have died, and all are dropped. A day whose files
    are others than when it was loaded is loaded again. For use by one thread at a time.
    """

    def __init__(self) -> None:
        self._generation = 0
        self._days: OrderedDict[tuple[str, date], tuple[frozenset[str], Hashes]] = OrderedDict()

    def rows(self) -> int:
        """How many rows' hashes are kept."""
        return sum(len(hashes) for _, hashes in self._days.values())

    def follow(self, generation: int) -> bool:
        """Drops everything that was not loaded under `generation` of the key ring; says whether that is a new one."""
        if generation == self._generation:
            return False
        self._days.clear()
        self._generation = generation
        return True

    def of(
        self,
        layout: Layout,
        custody: Custody,
        record_class: str,
        day: date,
        file_ids: Iterable[str],
        disk: Disk,
        generation: int = 1,
    ) -> Hashes:
        """The sorted hashes of all of `file_ids`, files under day keys of `generation`. A seen block that can't be used
        is written anew.
        """
        wanted = frozenset(file_ids)
        known = self._days.get((record_class, day))
        if known is None or known[0] != wanted:
            from trafficvault import duplicates
            from trafficvault.sealed_parquet import Place

            places = [Place(record_class, day, file_id, generation) for file_id in sorted(wanted)]
            known = wanted, _united([duplicates.seen_of(layout, custody, place, disk) for place in places])
        self._keep(record_class, day, *known)
        return known[1]

    def add(self, record_class: str, day: date, hashes: Mapping[str, Hashes]) -> None:
        """Adds files that were committed since, by their ids; nothing where their day was not loaded."""
        known = self._days.get((record_class, day))
        if known is not None:
            self._keep(record_class, day, known[0] | frozenset(hashes), _united([known[1], *hashes.values()]))

    def _keep(self, record_class: str, day: date, file_ids: frozenset[str], hashes: Hashes) -> None:
        self._days[record_class, day] = file_ids, hashes
        self._days.move_to_end((record_class, day))
        size = sum(kept.nbytes for _, kept in self._days.values())
        while size > _BOUND and len(self._days) > 1:
            size -= self._days.popitem(last=False)[1][1].nbytes


def _united(blocks: Sequence[Hashes]) -> Hashes:
    filled = [block for block in blocks if len(block)]
    if not filled:
        return np.zeros(0, np.uint64)
    return filled[0] if len(filled) == 1 else np.sort(np.concatenate(filled), kind="stable")
