"""Holding: a hold is extended or released by two persons, and ends by itself.

What ends is destroyed by the next expiry, like a day: the hold's key leaves the ring, its files are dropped, and a
certificate says that some hold ended, not whose records it kept. Called by the command line and by `expire`.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from trafficvault import carving, certificates, holds, locks, partitions, proposals, refusals, warrants
from trafficvault.catalogue import Row
from trafficvault.certificates import Destruction
from trafficvault.errors import RefusedError, UsageError
from trafficvault.holds import Hold
from trafficvault.layout import hold_key_id, is_hold_key
from trafficvault.people import Person
from trafficvault.proposals import Proposal
from trafficvault.vault import Vault

_DESTROYED = "destroyed_holds"
"""The `meta` row that keeps how keys died whose certificates are not issued yet: key id → generation, leases ended."""


@dataclass(frozen=True, slots=True)
class Over:
    """A hold that is over and still has a key or files."""

    hold_id: str
    key_id: str
    until: datetime
    carves: tuple[Row, ...]


def propose_extension(vault: Vault, person: Person, hold_id: str, until: str) -> Proposal:
    """Puts before an approver that an active hold binds until `until`, a date and time with an offset.

    Raises `RefusedError` when it is not active, or its legal basis does not allow as much at a time.
    """
    _require_proposer(vault, person, "hold-extend")
    hold = _binding(vault, hold_id, "extending")
    moment = _moment(until)
    most = warrants.most_hold(hold.document.document)
    now = vault.clock.now()
    if not now < moment <= max(hold.until, now) + most.delta():
        raise RefusedError(
            f"extending hold {hold_id}: it binds until {hold.until.isoformat()}, and its legal basis allows {most} at "
            f"a time; {moment.isoformat()} is not within that"
        )
    return proposals.propose(vault, person, "hold-extend", {"hold": hold_id, "until": moment.isoformat()})


def propose_release(vault: Vault, person: Person, hold_id: str) -> Proposal:
    """Puts before an approver to let go of what a hold keeps. Raises `RefusedError` when it binds no more."""
    _require_proposer(vault, person, "hold-release")
    _binding(vault, hold_id, "releasing")
    return proposals.propose(vault, person, "hold-release", {"hold": hold_id})


def extend(vault: Vault, person: Person, proposal_id: str) -> datetime:
    """Carries out an approved extension, and returns until when the hold binds."""
    body = proposals.require_approved(vault, proposal_id, "hold-extend").body
    hold, until = _binding(vault, body["hold"], "extending"), datetime.fromisoformat(body["until"])
    with vault.catalogue.transaction() as tx:
        holds.extend(tx, hold.hold_id, until)
        proposals.mark_done(tx, proposal_id)
        vault.audit.enter(tx, "hold-extend", person.name, {"hold": hold.hold_id, "until": until.isoformat()})
    vault.audit.flush()
    return until


def release(vault: Vault, person: Person, proposal_id: str) -> None:
    """Carries out an approved release: from here no warrant sees what it kept, and the next expiry destroys it."""
    hold_id = proposals.require_approved(vault, proposal_id, "hold-release").body["hold"]
    with vault.catalogue.transaction() as tx:
        holds.finish(tx, hold_id, "released")
        proposals.mark_done(tx, proposal_id)
        vault.audit.enter(tx, "hold-release", person.name, {"hold": hold_id})
    vault.audit.flush()


def end(vault: Vault) -> tuple[dict[str, Any], ...]:
    """Destroys what holds that are over kept, and returns a certificate for each. The caller holds the writer's lock.

    Every step can be done again: a killed run leaves rows of carves, and the next one goes on from there.
    """
    ended = over(vault)
    if not ended:
        return ()
    dead = {one.key_id for one in ended}
    leases_ended = True
    if vault.keys.has_any(dead):
        with locks.destroying(vault.layout, vault.settings.lease_seconds) as leases_ended:
            told = [vault.keys.generation + 1, leases_ended]
            vault.keys.renew(dead, lambda number: _commit_generation(vault, number, dict.fromkeys(sorted(dead), told)))
    for one in ended:
        _drop_files(vault, one.hold_id)
    nonces: dict[str, str] = {}
    issued = []
    with vault.catalogue.transaction() as tx:
        died = json.loads(tx.meta(_DESTROYED) or "{}")
        for one in ended:
            # The moment is this one, also when an earlier run was killed, which kept how the key died.
            how = died.pop(one.key_id, [vault.keys.generation, leases_ended])
            destroyed = Destruction(vault.clock.now(), *how)
            nonce = secrets.token_hex(16)
            carved = carving.commitment(one.carves, nonce)
            issued.append(certificates.issue_hold(vault, tx, min(one.until, destroyed.at), destroyed, carved))
            nonces[issued[-1]["id"]] = nonce
            for row in one.carves:
                tx.delete(carving.TABLE, id=row["id"])
            holds.finish(tx, one.hold_id, "ended")
        tx.set_meta(_DESTROYED, json.dumps(died, sort_keys=True))
        detail = {"holds": [one.hold_id for one in ended], "nonces": nonces}
        vault.audit.enter(tx, "hold-end", None, detail | {"certificates": [item["id"] for item in issued]})
    vault.audit.flush()
    return tuple(issued)


def faults(vault: Vault) -> list[tuple[str, str, str]]:
    """What is wrong with what holds keep: kind, thing and sentence of each; for `verify`, which only reads."""
    with vault.catalogue.reading() as tx:
        carves = tx.select(carving.TABLE)
    custody, gone = vault.keys.custody("hold"), {one.hold_id for one in over(vault)}
    found = []
    known = {vault.layout.carve_file(row["hold"], row["id"]): row for row in carves}
    for path, row in known.items():
        if row["hold"] in gone:
            continue  # the next expiry destroys it, and may have begun to
        if not path.is_file():
            found.append(("missing", path.name, f"{path.name}, which a hold keeps, is missing"))
        elif partitions.keyed_digest_of(custody, path) != row["digest"]:
            found.append(("changed", path.name, f"{path.name}, which a hold keeps, was changed"))
        elif not custody.has(hold_key_id(row["hold"])):
            found.append(("key missing", path.name, f"{path.name}, which a hold keeps: its key is not in the ring"))
    for path in sorted(vault.layout.holds.glob("*/*")):
        if path not in known:
            found.append(("extra", path.name, f"{path.name} lies among what holds keep and is not in the catalogue"))
    return found


def _commit_generation(vault: Vault, generation: int, died: dict[str, list[int | bool]]) -> None:
    """The commit point of the renewal; it keeps how the keys died, for certificates that a later run may issue."""
    with vault.catalogue.transaction() as tx:
        tx.set_meta("generation", str(generation))
        tx.set_meta(_DESTROYED, json.dumps(json.loads(tx.meta(_DESTROYED) or "{}") | died, sort_keys=True))


def _drop_files(vault: Vault, hold_id: str) -> None:
    directory = vault.layout.holds / hold_id
    for path in sorted(directory.glob("*")):
        if not path.is_dir():
            vault.disk.remove(path)
    # A directory inside is nobody's: it stops no expiry.
    if directory.is_dir() and not any(directory.iterdir()):
        vault.disk.remove_directory(directory)


def over(vault: Vault) -> list[Over]:
    """The holds that bind no more and still have a key in the ring, or files: what an expiry is to destroy.

    A key whose hold nobody knows is among them: the catalogue is older than it, restored after a loss.
    """
    now = vault.clock.now()
    with vault.catalogue.reading() as tx:
        rows, carves = tx.select(holds.TABLE), tx.select(carving.TABLE)
    found = []
    for row in rows:
        until = datetime.fromisoformat(row["until"])
        binds = row["state"] in holds.BINDING and now < until
        mine = tuple(carve for carve in carves if carve["hold"] == row["id"])
        key_id = hold_key_id(row["id"])
        if not binds and (mine or vault.keys.has_any([key_id])):
            found.append(Over(row["id"], key_id, until, mine))
    known = {hold_key_id(row["id"]) for row in rows}
    strays = sorted(name for name in vault.keys.key_ids() if is_hold_key(name) and name not in known)
    return found + [Over(name.partition("/")[2], name, now, ()) for name in strays]


def _require_proposer(vault: Vault, person: Person, kind: str) -> None:
    """Before anything is told of a hold: who may not know of it learns nothing from what the refusal says."""
    with refusals.logged(vault, f"{kind}-propose", person.name, {}):
        proposals.require_proposer(person, kind)


def _binding(vault: Vault, hold_id: str, doing: str) -> Hold:
    hold = holds.load(vault, hold_id)
    if not hold.binds(vault.clock.now()):
        raise RefusedError(f"{doing} hold {hold_id}: it is over ({hold.state}, until {hold.until.isoformat()})")
    return hold


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError("extending a hold: --until is not a date and time; write it as 2027-03-01T00:00Z") from None
    if moment.tzinfo is None:
        raise UsageError("extending a hold: --until has no offset; write it as 2027-03-01T00:00Z")
    return moment.astimezone(UTC)
