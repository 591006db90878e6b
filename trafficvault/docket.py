"""The docket: warrants as they are registered, approved and kept. Registering and approving are acts of two persons.

A warrant lies in the catalogue sealed under a key of its own (`row_keys`); its digest, state and signatures stand
beside it. What a person signs is `signing.statement(act, digest of the canonical document, person, moment)`. The key
store checks both signatures again, by itself, before any key is released (`trafficvault.keys`).
"""

from __future__ import annotations

from dataclasses import dataclass

from queries.questions import questions
from trafficvault import completeness, coverage, holds, refusals, row_keys, timekeeping, warrants
from trafficvault.catalogue import Row
from trafficvault.coverage import SignedWarrant, Vouch
from trafficvault.errors import RefusedError
from trafficvault.people import Person, require_role
from trafficvault.policy import DISCLOSING
from trafficvault.terms import Term
from trafficvault.vault import Vault
from trafficvault.warrants import WarrantDocument


@dataclass(frozen=True, slots=True)
class Docketed:
    """A warrant of the docket: its catalogue row, its document, and both signatures once it is approved."""

    warrant_id: str
    state: str
    document: WarrantDocument
    registered: Vouch
    approved: Vouch | None

    @property
    def signed(self) -> SignedWarrant | None:
        """What the key store needs to release a key; None before approval."""
        if self.approved is None:
            return None
        return SignedWarrant(self.document.document, self.registered, self.approved)


def check(vault: Vault, text: str) -> list[str]:
    """What the warrant in `text` covers, what of it expires before its deadline, which sources have gaps. Reads no
    record.
    """
    document = warrants.parse(text, frozenset(questions()))
    now = vault.clock.now()
    rules, gaps = vault.policy.serving(DISCLOSING), completeness.gap_sentences(vault)

    def early(record_class: str) -> dict[str, Term]:
        return {name: rules.require_term(record_class, name) for name in rules.early(record_class)}

    return warrants.check_words(document, rules.term_of, rules.zone, gaps, now, early)


def register(vault: Vault, person: Person, text: str) -> str:
    """Registers the warrant in `text` by an officer. Returns its id. The same document again gives the same id.

    Raises `DecisionError` while the clock isn't believed: its freeze would begin, and end, at the wrong moment.
    """
    with refusals.logged(vault, "warrant-register", person.name, {}):
        require_role(person, "officer")
    document = warrants.parse(text, frozenset(questions()))
    warrant_id = coverage.warrant_id(document.document)
    with vault.catalogue.reading() as tx:
        known = tx.get("warrants", id=warrant_id)
    if known is not None:
        return warrant_id
    now, held = timekeeping.believed_now(vault, "registering a warrant"), vault.audit.moment()
    with vault.catalogue.transaction() as tx:
        tx.put(
            "warrants",
            id=warrant_id,
            state="registered",
            digest=document.digest,
            **row_keys.seal(vault, tx, "warrants", warrant_id, document.document),
            **person.vouch("register", document.digest, now).columns("registered"),
            approved_by=None,
            approved_at=None,
            approved_signature=None,
        )
        holds.freeze(tx, vault, warrant_id, held)
        vault.audit.enter(tx, "warrant-register", person.name, {"warrant": warrant_id, "digest": document.digest})
    vault.audit.flush()
    return warrant_id


def approve(vault: Vault, person: Person, warrant_id: str) -> None:
    """Approves a registered warrant by an approver who is not its registrar. Raises `RefusedError` otherwise, and
    `DecisionError` while the clock isn't believed: a hold would bind from the wrong moment on.
    """
    with refusals.logged(vault, "warrant-approve", person.name, {"warrant": warrant_id}):
        _approve(vault, person, warrant_id)


def _approve(vault: Vault, person: Person, warrant_id: str) -> None:
    require_role(person, "approver")
    found = load(vault, warrant_id)
    if found.state != "registered":
        raise RefusedError(
            f"approving warrant {warrant_id}: it is {found.state}, and only a registered one can be approved"
        )
    if found.registered.person == person.name:
        raise RefusedError(
            f"approving warrant {warrant_id}: {person.name} registered it; a second person must approve it"
        )
    now, held = timekeeping.believed_now(vault, f"approving warrant {warrant_id}"), vault.audit.moment()
    with vault.catalogue.transaction() as tx:
        row = tx.get("warrants", id=warrant_id)
        if row is None or row["state"] != "registered":
            raise RefusedError(
                f"approving warrant {warrant_id}: somebody else changed its state meanwhile; look with `warrant show`"
            )
        vouch = person.vouch("approve", found.document.digest, now)
        tx.put("warrants", **row | vouch.columns("approved") | {"state": "approved"})
        holds.bind(tx, warrant_id, found.document, held)
        vault.audit.enter(tx, "warrant-approve", person.name, {"warrant": warrant_id, "digest": found.document.digest})
    vault.audit.flush()


def refuse(vault: Vault, person: Person, warrant_id: str, reason: str) -> None:
    """Refuses a registered warrant by an approver who is not its registrar; what it had frozen is held no longer.

    Raises `RefusedError` for another person or state.
    """
    with refusals.logged(vault, "warrant-refuse", person.name, {"warrant": warrant_id}):
        require_role(person, "approver")
        found = load(vault, warrant_id)
        if found.state != "registered" or found.registered.person == person.name:
            raise RefusedError(
                f"refusing warrant {warrant_id}: it is {found.state} and was registered by {found.registered.person}; "
                "another person refuses one that is registered and not approved"
            )
    with vault.catalogue.transaction() as tx:
        row = tx.get("warrants", id=warrant_id)
        if row is None or row["state"] != "registered":
            raise RefusedError(
                f"refusing warrant {warrant_id}: somebody else changed its state meanwhile; look with `warrant show`"
            )
        tx.put("warrants", **row | {"state": "refused"})
        holds.finish(tx, warrant_id, "released", vault.audit.moment())
        vault.audit.enter(tx, "warrant-refuse", person.name, {"warrant": warrant_id, "reason": reason})
    vault.audit.flush()


def load(vault: Vault, warrant_id: str) -> Docketed:
    """The warrant `warrant_id`. Raises `RefusedError` when there is none, `FaultError` when it was changed."""
    with vault.catalogue.reading() as tx:
        row = tx.get("warrants", id=warrant_id)
    if row is None:
        raise RefusedError(f"looking for warrant {warrant_id}: there is none; `warrant list` shows them")
    return _docketed(vault, row)


def listing(vault: Vault) -> list[Docketed]:
    """Every warrant, oldest first."""
    with vault.catalogue.reading() as tx:
        rows = tx.select("warrants")
    return [_docketed(vault, row) for row in sorted(rows, key=lambda row: str(row["registered_at"]))]


def _docketed(vault: Vault, row: Row) -> Docketed:
    approved = None if row["approved_by"] is None else Vouch.of(row, "approved")
    document = holds.document_of(vault, row)
    return Docketed(row["id"], row["state"], document, Vouch.of(row, "registered"), approved)
