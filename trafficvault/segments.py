"""The audit log forgets too: segments whose last entry has reached `audit_term` are dropped whole, the oldest first.

    checkpoint → catalogue(log begins behind them + intent) → ring without their keys → files dropped
    → catalogue(certificates, entry) → audit segment

The bodies of a segment lie under its own key, which dies as a day key does. What stays: where the log goes on from
(number and hash of the last dropped entry, and the frontier of the Merkle tree over all of them, signed), the hashes of
the tree, the certificates, and of each entry that names a certificate its line, whose body nobody can open. So the rest
of the log still verifies, a cut end still shows, and old checkpoints and certificates can still be proved.

The term counts from the newest entry of a segment that the clock was believed for, to the microsecond. A segment that
is not full is never dropped: the log has an end. Every step can be done again: a run that was killed is finished by the
next. The caller holds the writer's lock and has had the clock checked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from trafficvault import certificates, chain, checkpoints, locks, retention, signing
from trafficvault.audit_reading import DROPPED
from trafficvault.catalogue import Transaction
from trafficvault.chain import Head
from trafficvault.errors import FaultError
from trafficvault.layout import segment_key_id
from trafficvault.retention import Item
from trafficvault.terms import Term
from trafficvault.vault import Vault

KIND = "audit"


@dataclass(frozen=True, slots=True)
class _Segment:
    """A full segment: its entries, and what they state to outsiders, by the digest of the statement."""

    number: int
    first: int
    last: Head
    begun: datetime
    ended: datetime
    bytes: int
    stated: dict[str, str]


def plan(vault: Vault) -> list[Item]:
    """What of the log is due, with a reason each. Reads that much of the log."""
    return [item for _, item in _planned(vault)]


def expire(vault: Vault) -> tuple[list[dict[str, Any]], bool]:
    """Carries out `plan`, and what an earlier run began. Returns the certificates, and whether all leases had ended."""
    due = list(_planned(vault))
    if due:
        _begin(vault, due)
    with vault.catalogue.reading() as tx:
        begun = _begun(tx)
    if begun is None:
        return [], True
    # What was dropped once and lies there again is of no use to anybody: its key is gone.
    stale = chain.leftovers(vault.layout.audit, begun["segments"])
    if not begun["pending"]:
        for path in stale:
            vault.disk.remove(path)
        return [], True
    ended = True
    dead = {segment_key_id(one["segment"]) for one in begun["pending"]}
    if vault.keys.has_any(dead):
        with locks.destroying(vault.layout, vault.settings.lease_seconds) as ended:
            vault.keys.renew(dead, lambda generation: _commit(vault, generation, ended=ended))
    for path in stale:
        vault.disk.remove(path)
    return _certify(vault), ended


def _planned(vault: Vault) -> Iterator[tuple[_Segment, Item]]:
    term, now, zone = Term(period=vault.policy.audit_term), vault.clock.now(), vault.policy.zone
    with vault.catalogue.reading() as tx:
        begin, settled = vault.audit.dropped(tx), vault.audit.settled(tx)
    number, head, size = begin.segments + 1, begin.head, vault.audit.entries_per_segment
    while number * size <= settled.seq:
        last = chain.read_line(chain.Line(number * size, vault.audit.line(number * size), "the log"))
        if "clock" not in last and retention.expires_at(signing.moment(last["time"]), term, zone) > now:
            return  # cheap, and nearly always: its newest entry is not of age, so the rest need not be read
        segment = _read(vault, number, head)
        until = retention.expires_at(segment.ended, term, zone)
        if until > now:
            return
        reason = (
            f"audit entries {segment.first} to {segment.last.seq} were due at {signing.instant(until)}: audit_term is "
            f"{term.lasts}, counted from the last of them"
        )
        yield segment, Item(KIND, segment.ended.date(), KIND, until, "expire", reason)
        number, head = number + 1, segment.last


def _read(vault: Vault, number: int, before: Head) -> _Segment:
    """One full segment, each entry checked. Raises `FaultError` when it is not as it was written."""
    last, stated, believed, moments = before, dict[str, str](), list[datetime](), list[datetime]()
    for entry, line in vault.audit.entries(before, number * vault.audit.entries_per_segment):
        last = Head(entry["seq"], entry["hash"])
        moments.append(signing.moment(entry["time"]))
        if "clock" not in entry:
            believed.append(moments[-1])
        stated |= dict.fromkeys(entry.get("statements", ()), line.decode())
    path = vault.layout.segment(number)
    # Where the clock was believed for none of them, the last of them all is the best that is known.
    ended = max(believed or moments).astimezone(UTC)
    return _Segment(number, before.seq + 1, last, moments[0], ended, path.stat().st_size, stated)


def _begin(vault: Vault, due: list[tuple[_Segment, Item]]) -> None:
    """From this transaction on the log begins behind the last of `due`."""
    last = due[-1][0]
    newest = checkpoints.make(vault)
    frontier = checkpoints.frontier_at(vault, newest, last.last.seq)
    content: dict[str, Any] = {
        "kind": "audit-dropped",
        "v": 1,
        "vault": vault.settings.id,
        "segments": last.number,
        "seq": last.last.seq,
        "hash": last.last.hash,
        "frontier": frontier,
    }
    signature = signing.sign(vault.keys.signing_key(), signing.canonical(content))
    pending = [_pending(segment, item) for segment, item in due]
    with vault.catalogue.transaction() as tx:
        for segment, _ in due:
            for digest, line in segment.stated.items():
                row = tx.get("certificates", id=digest[:32])
                if row is not None:
                    tx.put("certificates", **row | {"line": line})
        # What an earlier run began, and did not come to certify, goes on with this one.
        stub = content | {"signature": signature, "pending": (_begun(tx) or {"pending": []})["pending"] + pending}
        tx.set_meta(DROPPED, signing.canonical(stub).decode())
        vault.audit.enter(tx, "expire-intent", None, {"audit_segments": [segment.number for segment, _ in due]})
    vault.audit.flush()


def _pending(segment: _Segment, item: Item) -> dict[str, Any]:
    """What the certificate of `segment` will say, kept until it is issued."""
    return {
        "segment": segment.number,
        "first": segment.first,
        "last": segment.last.seq,
        "last_hash": segment.last.hash,
        "begun": signing.instant(segment.begun),
        "ended": signing.instant(segment.ended),
        "bytes": segment.bytes,
        "rule": item.reason,
        "due": signing.instant(item.due or segment.ended),
    }


def _begun(tx: Transaction) -> dict[str, Any] | None:
    stored = tx.meta(DROPPED)
    return None if stored is None else dict(json.loads(stored))


def _commit(vault: Vault, generation: int, *, ended: bool) -> None:
    """The commit point of the renewal; it keeps how the keys died, for certificates that a later run may issue."""
    with vault.catalogue.transaction() as tx:
        tx.set_meta("generation", str(generation))
        begun = _begun(tx)
        if begun is None:
            raise FaultError("dropping segments of the audit log: the catalogue has forgotten that it was begun")
        # Those whose keys an earlier run destroyed keep how that was.
        begun["pending"] = [{"generation": generation, "leases_ended": ended} | one for one in begun["pending"]]
        tx.set_meta(DROPPED, signing.canonical(begun).decode())


def _certify(vault: Vault) -> list[dict[str, Any]]:
    """The certificates of what was begun, and the entry that ends it, in one transaction."""
    with vault.catalogue.transaction() as tx:
        begun = _begun(tx)
        if begun is None:
            raise FaultError("certifying dropped segments of the audit log: the catalogue has forgotten them")
        issued = [_certificate(vault, tx, one) for one in begun["pending"]]
        tx.set_meta(DROPPED, signing.canonical(begun | {"pending": []}).decode())
        vault.audit.enter(tx, "expire", None, {"certificates": [one["id"] for one in issued]})
    vault.audit.flush()
    return issued


def _certificate(vault: Vault, tx: Transaction, one: dict[str, Any]) -> dict[str, Any]:
    # Those of a vault that was written before version 2 of the log's lines have no key of their own.
    keys = [segment_key_id(one["segment"])] if "generation" in one else []
    now, due = vault.clock.now(), signing.moment(one["due"])
    body: dict[str, Any] = {
        "kind": "certificate-of-deletion",
        "v": 1,
        "vault": vault.settings.id,
        "what": KIND,
        "class": KIND,
        "day": one["ended"][:10],
        "categories": [],
        **{name: one[name] for name in ("segment", "first", "last", "last_hash", "begun", "ended", "rule", "due")},
        "records": one["last"] - one["first"] + 1,
        "files": [],
        "bytes": one["bytes"],
        "keys": keys,
        "generation": one.get("generation", vault.keys.generation),
        "key_provider": vault.keys.provider_name,
        "term": str(vault.policy.audit_term),
        "policy": vault.policy.digest,
        "deleted_at": signing.instant(now),
        "lateness_seconds": max(0, int((now - due).total_seconds())),
        "final_at": certificates.final_at(vault, tx, now),
        "leases_ended": one.get("leases_ended", True),
    }
    return certificates.sign(vault, tx, body)
