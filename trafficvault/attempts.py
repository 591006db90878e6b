"""Attempts: tries the keys that are at hand on every sealed thing in one file of a copy, by the file's kind.

`TRIED` says for each kind how; what should become of a thing says `trafficvault.expectation`, and how a key is tried on
it `trafficvault.lids`.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from trafficvault import chain, kinds, lids, old_catalogue, sealing
from trafficvault.errors import FaultError
from trafficvault.expectation import DEAD, EXPIRED, Expectation, Expected
from trafficvault.kinds import Kind
from trafficvault.lids import Lid, Pool
from trafficvault.sealed_parquet import Place
from trafficvault.vault import Vault

ENDED_CATEGORY: Final = "category that ended"
NAMES: Final = "name of a delivered file"
WAITING: Final = "entry that waits for its segment"
HALF: Final = "half-written file"
_VERSION_BYTES: Final = 6
ROWS: Final = {
    "warrants": "warrant",
    "proposals": "proposal",
    "rights": "customer's request",
    "annotations": "annotation",
}
"""What the sealed values of the copy's catalogue are called, by their table."""
DOCKET: Final = frozenset({kinds.HELD_BACK, ROWS["warrants"], ROWS["proposals"]})
"""The kinds of which only who may read the docket is told."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One sealed thing of the copy: what it is, what should become of it (`trafficvault.expectation`), and the key that
    opens it, of today and of those that lie in the copy.
    """

    kind: str
    file: str
    state: str
    opened_by: str | None
    opened_by_copied: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether a key that was at hand opens it."""
        return self.opened_by is not None or self.opened_by_copied is not None

    @property
    def is_fault(self) -> bool:
        """Whether it should be unreadable and is not."""
        return self.state in DEAD and self.is_open


class Trying:
    """Tries the things of one copy, with today's keys and with those that lie in it; `with_held` also what only who may
    read the docket is told of.
    """

    def __init__(self, vault: Vault, expectation: Expectation, today: Pool, copied: Pool, *, with_held: bool) -> None:
        self._vault, self._expectation, self._with_held = vault, expectation, with_held
        self._today, self._copied = today, copied

    def attempts(self, path: Path, name: str, kind: Kind) -> Iterator[Attempt]:
        """Each sealed thing of the file at `path`, which the copy calls `name`.

        Raises `FaultError` for a file of another form than its kind has, and `OSError`.
        """
        try:
            for one in TRIED[kind.kind](self, path, name, kind):
                yield replace(one, kind=HALF) if kind.is_half else one
        except FaultError:
            if not kind.is_half:
                raise
            # It ends before its own keys were written into it: they are nowhere.
            yield self._attempt(HALF, name, lids.SHUT, Expected((), EXPIRED, EXPIRED))

    def dated(self, path: Path, name: str, kind: Kind) -> Iterator[Attempt]:
        """A record file, block file or seen block; and where it opens, the categories that have ended in it."""
        place = Place(kind.record_class, kind.require_day(), kind.name)
        lid = {kinds.RECORDS: lids.on_records, kinds.BLOCKS: lids.on_blocks, kinds.SEEN: lids.on_seen}[kind.kind]
        whole = self._attempt(kind.kind, name, lid(path, place), self._expectation.of_day(kind))
        yield whole
        # Of what is shut not even the wrapped keys of its categories can be read.
        if whole.opened_by is None or whole.state in DEAD or kind.kind == kinds.SEEN:
            return
        key = self._today[whole.opened_by]
        for category, expected in self._expectation.categories(kind).items():
            if kind.kind == kinds.RECORDS:
                found = lids.on_columns(path, place, key, category)
            else:
                found = lids.on_section(path, place, key, category)
            for one in found:
                yield self._attempt(ENDED_CATEGORY, f"{name}: {category}", one, expected)

    def leftover(self, path: Path, name: str, kind: Kind) -> Iterator[Attempt]:
        """Rejections, a held batch or a kept file."""
        piece = sealing.first_piece(path, f"{kinds.LEFTOVERS[kind.kind]} {kind.name}")
        yield self._attempt(kind.kind, name, lids.on_piece(piece), self._expectation.of_leftover(kind))

    def carve(self, path: Path, name: str, kind: Kind) -> Iterator[Attempt]:
        """What a hold keeps of one class and day."""
        piece = sealing.first_piece(path, f"hold {kind.hold} {kind.name}")
        yield self._attempt(kind.kind, name, lids.on_piece(piece), self._expectation.of_carve(kind))

    def segment(self, path: Path, name: str, kind: Kind) -> Iterator[Attempt]:
        """Of an audit segment the first entry of each version: those of one version lie under one key."""
        firsts: dict[bytes, chain.Line] = {}
        for line in chain.split_lines(path, int(kind.name), self._vault.audit.entries_per_segment):
            if not line.torn:
                # In canonical form the version stands last.
                firsts.setdefault(line.content[-_VERSION_BYTES:], line)
        for line in firsts.values():
            yield self._entry(kind.kind, name, chain.read_line(line))

    def catalogue(self, path: Path, name: str, kind: Kind) -> Iterator[Attempt]:
        """The sealed values of a catalogue."""
        names: set[tuple[tuple[str, str], Expected]] = set()
        for value in old_catalogue.values(path):
            lid = lids.on_piece(sealing.piece_of(value.blob, value.place))
            called = f"{name}: {value.table} {value.row_id}"
            if value.table == old_catalogue.NAMES:
                # All that came on one day and die with one class lie under one key: one of them is tried.
                expected = self._expectation.of_name(value.row_id, *value.die)
                if (value.die, expected) not in names:
                    names.add((value.die, expected))
                    yield self._attempt(NAMES, called, lid, expected)
            elif self._with_held or ROWS[value.table] not in DOCKET:
                expected = self._expectation.of_row(value.table, value.row_id, value.key)
                yield self._attempt(ROWS[value.table], called, lid, expected)
        for line in old_catalogue.entries(path):
            yield self._entry(WAITING, f"{name}: {line.segment} {line.seq}", chain.read_line(line))

    def _entry(self, kind: str, name: str, entry: Mapping[str, Any]) -> Attempt:
        number = chain.segment_of(entry["seq"], self._vault.audit.entries_per_segment)
        piece = sealing.piece_of(base64.b64decode(entry["body"]), f"audit {self._vault.settings.id} {entry['seq']}")
        own_key = entry["v"] >= chain.VERSION
        lid = lids.on_piece(piece) if own_key else lids.on_derived(piece, "segment", str(number))
        return self._attempt(kind, name, lid, self._expectation.of_segment(number, own_key=own_key))

    def _attempt(self, kind: str, name: str, lid: Lid, expected: Expected) -> Attempt:
        opened_by = lid.opened_by(self._today, expected.own)
        state = expected.state(opened_by)
        # What lives opens with the same key of then, which shows nothing.
        by_copied = lid.opened_by(self._copied) if state in DEAD else None
        return Attempt(kind, name, state, opened_by, by_copied)


_Try = Callable[[Trying, Path, str, Kind], Iterator[Attempt]]
TRIED: Final[Mapping[str, _Try]] = {
    kinds.RECORDS: Trying.dated,
    kinds.BLOCKS: Trying.dated,
    kinds.SEEN: Trying.dated,
    **dict.fromkeys(kinds.LEFTOVERS, Trying.leftover),
    kinds.HELD_BACK: Trying.carve,
    kinds.SEGMENT: Trying.segment,
    kinds.CATALOGUE: Trying.catalogue,
}
"""How each kind is tried."""
