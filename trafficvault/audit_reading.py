"""The audit log, read: its entries opened, and checked on the way; what is wrong with it, by kind.

Nothing here writes. The catalogue knows the log's head, the entries that wait in the outbox and where the log begins
(`State`); the segments hold all others, in the form that `trafficvault.chain` tells. Whoever reads beside a writer sees
catalogue and segments of two moments: `verify` and `faults` look again until the catalogue stood still.

What is wrong with a log, all of it, `trafficvault.inspection` tells; `trafficvault.audit` writes it.
"""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from trafficvault import chain, sealing, signing
from trafficvault.catalogue import Catalogue, Transaction
from trafficvault.chain import Dropped, Fault, Head, Inspection, Line
from trafficvault.database import RESTORE
from trafficvault.errors import FaultError, VaultError
from trafficvault.inspection import State, inspect
from trafficvault.layout import Layout, segment_key_id
from trafficvault.memory import Memory

HEAD = "audit_head"
DROPPED = "audit_dropped"
"""The `meta` row that says where the log begins once segments were dropped; `trafficvault.segments` writes it."""
_RETRIES = 5


class _Custody(Protocol):
    def key(self, name: str) -> bytes: ...

    def has(self, name: str) -> bool: ...


class AuditKeys(Protocol):
    """What the log needs of the key store."""

    def custody(self, act: str) -> _Custody:
        """Keys for the act `audit`."""
        ...

    def signing_key(self) -> bytes:
        """The vault's private signing key."""
        ...

    def ensure(self, names: Iterable[str]) -> None:
        """Puts a new key for each of `names` that has none durably into the ring; under the writer's lock alone."""
        ...


class VaultName(Protocol):
    """What the log needs of the vault's settings."""

    @property
    def id(self) -> str:
        """The vault's id."""
        ...


class AuditReader:
    """The audit log of one vault, for who reads it. `entries_per_segment` is how many entries a full segment has."""

    def __init__(
        self,
        layout: Layout,
        catalogue: Catalogue,
        keys: AuditKeys,
        settings: VaultName,
        memory: Memory,
        entries_per_segment: int,
    ) -> None:
        self._layout = layout
        self._catalogue = catalogue
        self._keys = keys
        self._vault_id = settings.id
        self._memory = memory
        self._size = entries_per_segment

    @property
    def public_key(self) -> str:
        """The key that the signatures are checked with, as hex."""
        return signing.public_key_of(self._keys.signing_key())

    def verify(self) -> int:
        """Checks chain, signatures, outbox, head and the keys' memory, and returns the number of entries.

        Raises `FaultError` for the first fault.
        """
        state, faults = self._inspected()
        if faults:
            raise FaultError(faults[0].sentence, hint=faults[0].hint or RESTORE)
        return state.head.seq

    def faults(self) -> list[tuple[str, str]]:
        """What `verify` finds, all of it: the kind of each fault and its sentence.

        Kinds: `changed` (content or order), `missing` (entries, a segment, the keys' memory), `truncated` (an end was
        cut), `extra` (what nobody entered, or entered once and is there twice), `signature`, and `rolled back`
        (catalogue or vault of an older state).
        """
        try:
            _, faults = self._inspected()
        except FaultError as fault:
            return [("changed", str(fault))]
        return [(fault.kind, fault.sentence) for fault in faults]

    def show(self, last: int = 50) -> list[dict[str, Any]]:
        """The last entries, oldest first, opened: seq, time, act, person, detail, and clock where it was not believed.

        Checks each on the way. Raises `FaultError` when one is not as it was written.
        """
        state, public_key = self._read_state(), self.public_key
        first = max(state.dropped.head.seq + 1, state.head.seq - last + 1)
        number = chain.segment_of(first, self._size)
        stored = chain.read_lines(self._layout.audit, self._size, number, state.dropped.segments)
        lines = {line.seq: line for line in itertools.chain(stored, state.pending)}
        shown: list[dict[str, Any]] = []
        before: Head | None = None
        for seq in range(first, state.head.seq + 1):
            if seq not in lines:
                raise FaultError(f"audit: entry {seq} is missing; the catalogue knows {state.head.seq} entries")
            before = before or Head(seq - 1, chain.read_line(lines[seq])["prev"])
            entry = chain.follow(before, lines[seq], public_key)
            before = Head(seq, entry["hash"])
            shown.append(self.opened(entry))
        return shown

    @property
    def entries_per_segment(self) -> int:
        """How many entries a full segment has."""
        return self._size

    def dropped(self, tx: Transaction) -> Dropped:
        """Where the log begins: what of it was dropped."""
        stored = tx.meta(DROPPED)
        if stored is None:
            return chain.nothing_dropped(self._vault_id)
        content = json.loads(stored)
        return Dropped(content["segments"], Head(content["seq"], content["hash"]))

    def settled(self, tx: Transaction) -> Head:
        """The last entry that is in its segment."""
        return self._state(tx).settled

    def line(self, seq: int) -> bytes:
        """The line of entry `seq` as it lies in its segment. Raises `FaultError` when it is not there."""
        number = chain.segment_of(seq, self._size)
        for line in chain.split_lines(self._layout.segment(number), number, self._size):
            if line.seq == seq:
                chain.read_line(line)
                return line.content
        raise FaultError(f"reading entry {seq} of the audit log: segment {number} ends before it")

    def entries(self, after: Head, until: int) -> Iterator[tuple[dict[str, Any], bytes]]:
        """The entries behind `after` up to number `until`, settled ones, each with its line; checked on the way.

        Raises `FaultError` when one is missing, not as it was written, or dropped.
        """
        state, head = self._read_state(), after
        if after.seq < state.dropped.head.seq:
            raise FaultError(f"reading the audit log: entry {after.seq + 1} was dropped when its term was over")
        number = chain.segment_of(after.seq + 1, self._size)
        for line in chain.read_lines(self._layout.audit, self._size, number, state.dropped.segments):
            if line.seq > until:
                return
            if line.seq > after.seq:
                entry = chain.follow(head, line, self.public_key)
                head = Head(entry["seq"], entry["hash"])
                yield entry, line.content
        if head.seq < until:
            raise FaultError(f"reading the audit log: it ends at entry {head.seq} and {until} were to be read")

    def opened(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        """A checked entry, with act, person and detail for its body. Raises `FaultError` for a changed one."""
        blob = base64.b64decode(entry["body"])
        content = json.loads(sealing.unseal(self._body_key(entry), blob, self._place(entry["seq"])))
        clock = {"clock": entry["clock"]} if "clock" in entry else {}
        return {"seq": entry["seq"], "time": entry["time"], **content, **clock}

    def _head(self, tx: Transaction) -> Head:
        stored = tx.meta(HEAD)
        if stored is None:
            return chain.genesis(self._vault_id)
        content = json.loads(stored)
        return Head(content["seq"], content["hash"])

    def _state(self, tx: Transaction) -> State:
        rows = tx.select("outbox", order_by="seq")
        lines = tuple(Line(row["seq"], row["line"].encode(), "outbox") for row in rows)
        return State(self._head(tx), lines, self.dropped(tx))

    def _read_state(self) -> State:
        with self._catalogue.reading() as tx:
            return self._state(tx)

    def _inspected(self) -> tuple[State, list[Fault]]:
        for _ in range(_RETRIES):
            state = self._read_state()
            begin, last = state.dropped, state.settled.seq
            walk = Inspection(self._layout.audit, self.public_key, last, begin.head, self._size, begin.segments)
            faults = inspect(state, self._memory, walk)
            # A writer may have gone on while we read; a fault is one only when the catalogue stood still.
            if not faults or self._read_state() == state:
                return state, faults
        raise VaultError("verifying the audit log: others keep writing to it; try again when they are done")

    def _body_key(self, entry: Mapping[str, Any]) -> bytes:
        number, custody = chain.segment_of(entry["seq"], self._size), self._keys.custody("audit")
        if entry["v"] < chain.VERSION:
            return sealing.derive(custody.key("audit"), "segment", str(number))
        return custody.key(segment_key_id(number))

    def _place(self, seq: int) -> str:
        return f"audit {self._vault_id} {seq}"
