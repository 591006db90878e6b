"""Replay: the entries of an audit log that outlived its catalogue, put behind the end of an older one that came back.

    log of the lost vault → each entry behind the catalogue's last one, checked by hash and signature → its outbox
    → what they tell of persons, proposals, warrants, holds and escrow done again

So the log goes on where it was, and nobody and nothing that was closed since the backup comes back open. What an entry
does not hold can't be made again from it: rows of a batch, a new person's key, a signature. Those acts are counted, for
who must do them again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from trafficvault import chain, escrow, holds, people, signing
from trafficvault.audit import AuditLog
from trafficvault.catalogue import Transaction
from trafficvault.chain import Head
from trafficvault.errors import UsageError

_CLOSED = {"user-disable", "warrant-refuse", "hold-release", "hold-extend", "user-confirm", "docket-confirm", "restore"}
_WITHOUT_TRACE = {"sign-in-refused", "sweep", "backup", "compact", "expire-intent", "disclose-intent"}
"""Acts that leave nothing to do again."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """The last entry of the log, the hashes of those that were followed, up to it, and how often each act is among them
    that left nothing behind.
    """

    end: Head
    hashes: tuple[str, ...]
    to_do_again: dict[str, int]

    def passes(self, head: Head) -> bool:
        """Whether `head` is among the entries that were followed."""
        place = head.seq - self.end.seq - 1
        return -len(self.hashes) <= place < 0 and self.hashes[place] == head.hash


def replay(tx: Transaction, audit: AuditLog, directory: Path) -> Replayed:
    """Follows the log in `directory` from the catalogue's last entry on. Commits with `tx`; the next flush writes it.

    Raises `UsageError` when no segment lies there, `FaultError` when an entry does not follow the one before it.
    """
    if not chain.segments(directory):
        raise UsageError(f"replaying the log: {directory.name} holds no audit segment; name the `audit` of the vault")
    end, dropped = audit.settled(tx), audit.dropped(tx)
    number = chain.segment_of(end.seq + 1, audit.entries_per_segment)
    entries: list[dict[str, Any]] = []
    hashes: list[str] = []
    trusted = audit.trusted_time(tx)
    for line in chain.read_lines(directory, audit.entries_per_segment, number, dropped.segments):
        if line.seq <= end.seq or line.torn:
            continue
        entry = chain.follow(end, line, audit.public_key)
        end = Head(entry["seq"], entry["hash"])
        tx.put("outbox", seq=line.seq, line=line.content.decode())
        entries.append(audit.opened(entry))
        hashes.append(end.hash)
        if "clock" not in entry:
            moment = datetime.fromisoformat(entry["time"])
            trusted = moment if trusted is None else max(trusted, moment)
    if entries and trusted is not None:
        audit.go_on(tx, end, trusted)
    return Replayed(end, tuple(hashes), _redone(tx, entries))


def _redone(tx: Transaction, entries: Iterable[dict[str, Any]]) -> dict[str, int]:
    left: Counter[str] = Counter()
    undecided: dict[str, str] = {}
    for entry in entries:
        act, detail = entry["act"], entry["detail"]
        if act.endswith("-refused") and act != "sign-in-refused":
            continue
        if act in _CLOSED:
            _close(tx, act, detail, datetime.fromisoformat(entry["time"]))
        elif act == "escrow":
            escrow.forget(tx)
            left[act] += detail["key"] is not None
        elif act.endswith(("-drop", "-approve")) and "proposal" in detail:
            _drop(tx, detail["proposal"])
            undecided.pop(detail["proposal"], None)
        elif act.endswith("-propose"):
            undecided[detail["proposal"]] = act
        elif act not in _WITHOUT_TRACE:
            left[act] += 1
    left.update(undecided.values())
    return {act: count for act, count in sorted(left.items()) if count}


def _close(tx: Transaction, act: str, detail: dict[str, Any], moment: datetime) -> None:
    match act:
        case "user-disable":
            people.mark(tx, detail["name"], people.DISABLED)
        case "user-confirm":
            people.mark(tx, detail["name"], people.ENABLED)
        case "warrant-refuse":
            row = tx.get("warrants", id=detail["warrant"])
            if row is not None:
                tx.put("warrants", **row | {"state": "refused"})
            holds.finish(tx, detail["warrant"], "released", moment)
        case "restore":
            # What an earlier restore closed stays so, but for who was confirmed in a later entry.
            for name in detail.get("suspended", ()):
                people.mark(tx, name, people.SUSPENDED)
            for proposal_id in detail.get("closed_proposals", ()):
                _drop(tx, proposal_id)
            for hold_id in detail.get("holds_lost", ()):
                holds.finish(tx, hold_id, holds.LOST, moment)
            if detail.get("escrow_off"):
                escrow.forget(tx)
            if detail.get("docket_to_confirm"):
                tx.set_meta(holds.TO_CONFIRM, signing.instant(moment))
        case "docket-confirm":
            tx.delete("meta", key=holds.TO_CONFIRM)
        case "hold-release":
            holds.finish(tx, detail["hold"], "released", moment)
        case _:
            row, until = tx.get(holds.TABLE, id=detail["hold"]), datetime.fromisoformat(detail["until"])
            if row is not None and row["state"] == "active" and datetime.fromisoformat(row["until"]) < until:
                holds.extend(tx, detail["hold"], until)


def _drop(tx: Transaction, proposal_id: str) -> None:
    """Of a proposal that was approved since the second signature is lost: it is made again where it is still wanted."""
    row = tx.get("proposals", id=proposal_id)
    if row is not None:
        tx.put("proposals", **row | {"state": "dropped"})
