"""Proposals: acts that take two persons beside the warrant. One proposes, another approves, then it is carried out.

A proposal lies in the catalogue sealed under a key of its own (`row_keys`), for its body may name targets; its kind,
state and signatures stand beside it. What each person signs is `signing.statement(act, digest, person, moment)`, where
the digest is that of kind and body together. `require_approved` checks both signatures against the people of the
catalogue, so that the act which carries a proposal out trusts no state that was merely written.

A proposal is `open`, `approved` once a second person agreed, `done` when its act was carried out, or `dropped`. An
approved one that a crash kept from being carried out stays approved: approving it again carries it out.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from trafficvault import people, refusals, row_keys, signing, timekeeping
from trafficvault.catalogue import Row, Transaction
from trafficvault.coverage import Vouch
from trafficvault.errors import FaultError, RefusedError
from trafficvault.people import Person, require_one_of
from trafficvault.vault import Vault

_ID_BYTES = 8
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Kind:
    """Which roles may propose something, and which may approve it; one of them is enough."""

    proposers: frozenset[str]
    approvers: frozenset[str]


_KEEPING = Kind(frozenset({"operator"}), frozenset({"operator", "administrator"}))
_RULING = Kind(frozenset({"administrator"}), frozenset({"administrator", "auditor"}))
_ORDERING = Kind(frozenset({"officer"}), frozenset({"approver"}))

KINDS: Final[dict[str, Kind]] = {
    "batch-withdraw": _KEEPING,
    "batch-replace": _KEEPING,
    "batch-reread": _KEEPING,
    "service-end": _KEEPING,
    "policy": _RULING,
    "restore": _RULING,
    "hold-extend": _ORDERING,
    "hold-release": _ORDERING,
    "docket-confirm": _ORDERING,
    "erasure": Kind(frozenset({"officer", "operator"}), frozenset({"approver", "administrator"})),
}
"""Everything that can be proposed."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """One proposal. Its `body` says what is to be done, and may name whom it concerns: it is for its act alone."""

    proposal_id: str
    kind: str
    state: str
    body: dict[str, Any] = field(repr=False)
    proposed: Vouch
    approved: Vouch | None

    @property
    def digest(self) -> str:
        """What both persons sign: SHA-256 of kind and body in canonical form."""
        return _digest(self.kind, self.body)


def propose(
    vault: Vault, person: Person, kind: str, body: dict[str, Any], random: Callable[[int], bytes] = os.urandom
) -> Proposal:
    """Puts a proposal of `kind` before a second person. The same one, while it is open, is not put twice.

    Raises `RefusedError` when `person` has no role that may propose it, `DecisionError` while the clock isn't believed.
    """
    with refusals.logged(vault, f"{kind}-propose", person.name, {}):
        require_proposer(person, kind)
    digest, now = _digest(kind, body), timekeeping.believed_now(vault, f"proposing {kind}")
    for known in listing(vault):
        if (known.digest, known.state) == (digest, "open"):
            return known
    proposal_id = random(_ID_BYTES).hex()
    vouch = person.vouch("propose", digest, now)
    with vault.catalogue.transaction() as tx:
        tx.put(
            "proposals",
            id=proposal_id,
            kind=kind,
            state="open",
            **row_keys.seal(vault, tx, "proposals", proposal_id, body),
            **vouch.columns("proposed"),
        )
        vault.audit.enter(tx, f"{kind}-propose", person.name, {"proposal": proposal_id, "digest": digest})
    vault.audit.flush()
    return Proposal(proposal_id, kind, "open", body, vouch, None)


def require_proposer(person: Person, kind: str) -> None:
    """Raises `RefusedError` when `person` has no role that may propose `kind`."""
    require_one_of(person, KINDS[kind].proposers, f"proposing {kind}")


def may_read(person: Person, kind: str) -> bool:
    """Whether `person` may propose or approve `kind`, or looks on as an auditor."""
    return bool(person.roles & (KINDS[kind].proposers | KINDS[kind].approvers | {"auditor"}))


def approve(vault: Vault, person: Person, proposal_id: str) -> Proposal:
    """Approves an open proposal by somebody who did not make it. An approved one is returned as it stands.

    Raises `RefusedError` for the same person, one without the role, or a proposal that is done or dropped;
    `DecisionError` while the clock isn't believed, also of one that is approved and only to be carried out.
    """
    found = load(vault, proposal_id)
    doing = f"approving {found.kind} {proposal_id}"
    with refusals.logged(vault, f"{found.kind}-approve", person.name, {"proposal": proposal_id}):
        require_one_of(person, KINDS[found.kind].approvers, doing)
        if found.state not in ("open", "approved"):
            raise RefusedError(f"{doing}: it is {found.state}; propose it again")
        if found.proposed.person == person.name:
            raise RefusedError(f"{doing}: {person.name} proposed it; a second person must approve it")
    now = timekeeping.believed_now(vault, doing)
    if found.state == "approved":
        return found
    vouch = person.vouch("approve", found.digest, now)
    with vault.catalogue.transaction() as tx:
        row = _row(tx, proposal_id)
        if row["state"] != "open":
            raise RefusedError(f"{doing}: somebody else changed its state meanwhile; look with `proposal show`")
        tx.put("proposals", **row | vouch.columns("approved") | {"state": "approved"})
        vault.audit.enter(tx, f"{found.kind}-approve", person.name, {"proposal": proposal_id, "digest": found.digest})
    vault.audit.flush()
    return load(vault, proposal_id)


def drop(vault: Vault, person: Person, proposal_id: str) -> None:
    """Takes back an open proposal: whoever made it, or may approve it. Raises `RefusedError` otherwise."""
    found = load(vault, proposal_id)
    doing = f"dropping {found.kind} {proposal_id}"
    with refusals.logged(vault, f"{found.kind}-drop", person.name, {"proposal": proposal_id}):
        if person.name != found.proposed.person:
            require_one_of(person, KINDS[found.kind].approvers, doing)
        if found.state != "open":
            raise RefusedError(f"{doing}: it is {found.state}, and only an open one can be dropped")
    with vault.catalogue.transaction() as tx:
        tx.put("proposals", **_row(tx, proposal_id) | {"state": "dropped"})
        vault.audit.enter(tx, f"{found.kind}-drop", person.name, {"proposal": proposal_id})
    vault.audit.flush()


def require_approved(vault: Vault, proposal_id: str, kind: str) -> Proposal:
    """The proposal, when two persons vouch for it: approved, both signatures good, both of people who may still act.

    Raises `RefusedError` when it is of another kind, not approved, or somebody who vouches for it was disabled since;
    `FaultError` when a signature is not right.
    """
    found = load(vault, proposal_id)
    if found.kind != kind or found.state != "approved" or found.approved is None:
        raise RefusedError(
            f"carrying out {kind} {proposal_id}: it is a proposal of kind {found.kind}, {found.state}; "
            f"a second person approves it with: trafficvault --user NAME proposal approve {proposal_id}"
        )
    signed = (("propose", found.proposed, KINDS[kind].proposers), ("approve", found.approved, KINDS[kind].approvers))
    with vault.catalogue.reading() as tx:
        known = {item.name: item for item in people.listing(tx)}
    for act, vouch, roles in signed:
        signer = known.get(vouch.person)
        if signer is None or not signer.roles & roles:
            raise FaultError(f"checking {kind} {proposal_id}: who signed {act} is nobody who may")
        if signer.disabled:
            raise RefusedError(
                f"carrying out {kind} {proposal_id}: who signed {act} was disabled since; propose it again"
            )
        message = signing.statement(act, found.digest, vouch.person, vouch.at)
        signing.require_signature(signer.public_key, vouch.signature, message, f"{kind} {proposal_id} ({act})")
    names = (found.proposed.person, found.approved.person)
    if names[0] == names[1] or known[names[0]].public_key == known[names[1]].public_key:
        raise FaultError(f"checking {kind} {proposal_id}: one person signed it twice")
    return found


def mark_done(tx: Transaction, proposal_id: str) -> None:
    """Says, in the transaction that commits the act, that an approved proposal was carried out."""
    tx.put("proposals", **_row(tx, proposal_id) | {"state": "done"})


def load(vault: Vault, proposal_id: str) -> Proposal:
    """The proposal `proposal_id`. Raises `RefusedError` when there is none, `FaultError` when it was changed."""
    with vault.catalogue.reading() as tx:
        return _opened(vault, _row(tx, proposal_id))


def listing(vault: Vault) -> list[Proposal]:
    """Every proposal, oldest first."""
    with vault.catalogue.reading() as tx:
        rows = tx.select("proposals")
    return [_opened(vault, row) for row in sorted(rows, key=lambda row: (row["proposed_at"], row["id"]))]


def _row(tx: Transaction, proposal_id: str) -> Row:
    row = tx.get("proposals", id=proposal_id)
    if row is None:
        raise RefusedError(f"looking for proposal {proposal_id}: there is none; `proposal list` shows them")
    return row


def _opened(vault: Vault, row: Row) -> Proposal:
    body = row_keys.unseal(vault, "proposals", row)
    approved = None if row["approved_by"] is None else Vouch.of(row, "approved")
    return Proposal(row["id"], row["kind"], row["state"], body, Vouch.of(row, "proposed"), approved)


def _digest(kind: str, body: dict[str, Any]) -> str:
    return signing.digest({"kind": "proposal", "v": _FORMAT, "what": kind, "body": body})
