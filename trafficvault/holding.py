"""Holding: a hold is extended or released by two persons, and ends by itself.

What ends is destroyed by the next expiry, like a day: the hold's key leaves the ring, its files are dropped, and a
certificate says that some hold ended, not whose records it kept. Called by the command line and by `expire`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from trafficvault import carving, holds, proposals, warrants
from trafficvault.catalogue import Row
from trafficvault.errors import RefusedError, UsageError
from trafficvault.holds import Hold
from trafficvault.layout import hold_key_id
from trafficvault.people import Person
from trafficvault.proposals import Proposal
from trafficvault.vault import Vault


@dataclass(frozen=True, slots=True)
class Over:
    """A hold that is over and still has a key or files."""

    hold_id: str
    key_id: str
    carves: tuple[Row, ...]


def propose_extension(vault: Vault, person: Person, hold_id: str, until: str) -> Proposal:
    """Puts before an approver that an active hold binds until `until`, a date and time with an offset.

    Raises `RefusedError` when it is not active, or its legal basis does not allow as much at a time.
    """
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


def over(vault: Vault) -> list[Over]:
    """The holds that bind no more and still have a key in the ring, or files: what an expiry is to destroy."""
    now = vault.clock.now()
    with vault.catalogue.reading() as tx:
        rows, carves = tx.select(holds.TABLE), tx.select(carving.TABLE)
    found = []
    for row in rows:
        binds = row["state"] in holds.BINDING and now < datetime.fromisoformat(row["until"])
        mine = tuple(carve for carve in carves if carve["hold"] == row["id"])
        key_id = hold_key_id(row["id"])
        if not binds and (mine or vault.keys.has_any([key_id])):
            found.append(Over(row["id"], key_id, mine))
    return found


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
