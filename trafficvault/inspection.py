"""Catalogue, segments and the keys' memory held against each other: what is wrong with the audit log, by its kind.

`chain.Inspection` walks over the segments and knows nothing else. Here its findings meet what the catalogue knows of
the log (`State`) and what the key directory remembers of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from trafficvault import chain, signing
from trafficvault.chain import Dropped, Fault, Head, Inspection, Line
from trafficvault.database import RESTORE
from trafficvault.errors import FaultError
from trafficvault.memory import Memory, rolled_back


@dataclass(frozen=True, slots=True)
class State:
    """What the catalogue knows of the log: its head, and the lines that may not be in their segment yet."""

    head: Head
    pending: tuple[Line, ...]
    dropped: Dropped
    """Where the log begins."""

    @property
    def settled(self) -> Head:
        """The last entry that was brought to its segment."""
        if not self.pending:
            return self.head
        return Head(self.pending[0].seq - 1, chain.read_line(self.pending[0])["prev"])

    def hash_of(self, seq: int) -> str | None:
        """The hash of entry `seq` where the catalogue has it: the head's, a waiting line's, the last settled one's."""
        known = {self.head.seq: self.head.hash}
        for line in self.pending:
            known[line.seq - 1] = chain.read_line(line)["prev"]
        return known.get(seq)

    def require_known(self, line: Line) -> None:
        """Returns for a line beyond `settled` left by a failed flush, whole or not. Raises `FaultError` for another."""
        if line.seq > self.head.seq or not self.pending:
            if line.torn:
                raise FaultError(
                    f"audit segment {line.segment}: its end is torn, in a line that the catalogue never had"
                )
            if _seq_of(line) != line.seq:
                raise FaultError(f"audit segment {line.segment}: it ends in a line that is no entry of the catalogue")
            raise FaultError(
                f"audit: the log goes on to entry {line.seq} and the catalogue ends at {self.head.seq}: "
                "the catalogue is older than the log (restored?)",
                hint=RESTORE,
            )
        if (
            not line.torn
            and line.content != self.pending[line.seq - self.pending[0].seq].content
            and _seq_of(line) is not None
        ):
            raise FaultError(f"audit segment {line.segment}: entry {line.seq} is another than the catalogue's")

    def require_settled(self, found: Head) -> None:
        """Returns when `found`, the last entry on disk, is the settled one. Raises `FaultError`."""
        settled = self.settled
        if found.seq < settled.seq:
            raise FaultError(
                f"audit: the log ends at entry {found.seq} and the catalogue knows {settled.seq}: its tail is missing",
                hint=RESTORE,
            )
        if found != settled:
            raise FaultError(f"audit: entry {found.seq} on disk is another than the catalogue's", hint=RESTORE)


def inspect(state: State, memory: Memory, walk: Inspection) -> list[Fault]:
    """Every fault of the log, those of the segments first. `walk` has not begun, and leads to `state.settled`."""
    faults: list[Fault] = []
    remembered: Head | None = None
    try:
        remembered = memory.recall()
        if remembered is None and state.settled.seq > 0:
            sentence = "audit: the keys' memory of the log, `head` in the key directory, is missing: it was removed"
            faults.append(Fault("missing", sentence, "find out by whom; the next entry makes it anew"))
    except FaultError as fault:
        faults.append(Fault("changed", str(fault), fault.hint))
    for path in chain.leftovers(walk.directory, state.dropped.segments):
        sentence = f"audit: segment {path.name} was dropped and is there: of a run that broke off, or put back"
        faults.append(Fault("extra", sentence, "`expire` removes it"))
    walk.note = remembered.seq if remembered else 0
    walk.walk()
    found = walk.faults + _end_faults(state, walk) + _outbox_faults(state, walk.public_key)
    if remembered is not None:
        known = state.hash_of(remembered.seq) or walk.noted
        if (behind := rolled_back(remembered, state.head, known)) is not None:
            faults.append(behind)
    return found + faults


def _end_faults(state: State, walk: Inspection) -> list[Fault]:
    settled, faults = state.settled, list[Fault]()
    for line in walk.beyond:
        try:
            state.require_known(line)
        except FaultError as fault:
            faults.append(_stranger(line, fault, walk.public_key))
            break
    try:
        state.require_settled(walk.head if walk.head.hash else Head(walk.head.seq, settled.hash))
    except FaultError as fault:
        kind: chain.Kind = "missing" if walk.head.seq % walk.size == 0 else "truncated"
        if walk.head.seq >= settled.seq:
            kind = "changed"
        faults.append(Fault(kind, str(fault), fault.hint))
    return faults


def _stranger(line: Line, fault: FaultError, public_key: str) -> Fault:
    """What a line behind the catalogue's last is: of the vault's own later days, or put there."""
    if line.torn or _seq_of(line) != line.seq:
        return Fault("extra", str(fault), fault.hint)
    if not _is_signed(line, public_key):
        return Fault("extra", f"audit segment {line.segment}: entry {line.seq} is one that the vault did not sign")
    # Signed by the vault, and not what its catalogue has: another history of it, most likely a later one.
    return Fault("rolled back", str(fault), fault.hint)


def _outbox_faults(state: State, public_key: str) -> list[Fault]:
    found = state.settled
    try:
        for line in state.pending:
            entry = chain.follow(found, line, public_key)
            found = Head(entry["seq"], entry["hash"])
    except FaultError as fault:
        return [Fault("changed", str(fault))]
    if found == state.head:
        return []
    sentence = f"audit: the outbox ends at entry {found.seq}, the catalogue's head is {state.head.seq}"
    return [Fault("changed", sentence)]


def _seq_of(line: Line) -> int | None:
    """The number that the entry of `line` gives itself; None when it is no entry."""
    try:
        return int(chain.read_line(line)["seq"])
    except FaultError:
        return None


def _is_signed(line: Line, public_key: str) -> bool:
    try:
        entry = chain.read_line(line)
        signing.require_signature(public_key, entry["sig"], bytes.fromhex(entry["hash"]), "an entry")
    except FaultError:
        return False
    return True
