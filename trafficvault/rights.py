"""The register of customers' requests (GDPR art. 12 and 15–21): what was asked, by when it is answered, what became of
it. Adding one and approving it are acts of two persons, as with a warrant; what an approval allows is carried out by
`answering`.

A request lies in the catalogue sealed under a key of its own (`row_keys`); its right, dates, state and signatures stand
beside it. What a person signs is `signing.statement(act, digest of the document, person, moment)`: the key store checks
both signatures by itself before a record is opened for it (`trafficvault.coverage`).

    registered → approved → answered → (a restriction) lifted
    registered | approved → refused, on one of the fixed grounds
    registered | approved → routed, to the business customer whose user it is

A restriction is in force from the request on, and so is that of a rectification and an objection until these are
decided. Nothing here knows of a warrant or a hold, and nothing here may: what a customer is told must not depend on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from trafficvault import people, refusals, rights_rules, row_keys, signing, timekeeping, wording
from trafficvault import targets as targets_rules
from trafficvault.catalogue import Row, Transaction
from trafficvault.coverage import SignedWarrant, Vouch, vouched
from trafficvault.errors import RefusedError, UsageError
from trafficvault.people import Person, require_one_of, require_role
from trafficvault.rights_rules import OBJECT, PORT, RECTIFY, RESTRICT, Ask
from trafficvault.vault import Vault

OPEN = ("registered", "approved")
"""States in which a request still wants an answer."""
_TAKERS = frozenset({"officer", "operator"})
_ID_LENGTH = 24


@dataclass(frozen=True, slots=True)
class Request:
    """One request. Its document names whom it concerns: it is for its act alone."""

    request_id: str
    right: str
    state: str
    document: dict[str, Any] = field(repr=False)
    received: datetime
    due: datetime
    extended: str | None
    ground: str | None
    registered: Vouch
    approved: Vouch | None
    closed_by: str | None
    closed_at: str | None

    @property
    def digest(self) -> str:
        """What both persons sign."""
        return signing.digest(self.document)

    @property
    def signed(self) -> SignedWarrant | None:
        """What the key store needs to release a key; None before approval."""
        return None if self.approved is None else SignedWarrant(self.document, self.registered, self.approved)

    def is_overdue(self, now: datetime) -> bool:
        """Whether its answer is late."""
        return self.state in OPEN and self.due <= now

    @property
    def restricts(self) -> bool:
        """Whether records of its subject are restricted by it now."""
        pending = self.right in (RECTIFY, OBJECT) and self.state in OPEN
        return pending or (self.right == RESTRICT and self.state in (*OPEN, "answered"))


def add(vault: Vault, person: Person, ask: Ask) -> str:
    """Registers a request by an officer or an operator, who identified the person, and returns its id. The same request
    again gives the same id.

    Raises `RefusedError` for another role, `UsageError` when it is not of the form or lies in the future, and
    `DecisionError` while the clock, by which its deadline counts, isn't believed.
    """
    with refusals.logged(vault, "rights-add", person.name, {}):
        require_one_of(person, _TAKERS, "registering a request")
    now = timekeeping.believed_now(vault, "registering a request")
    if max(ask.received, ask.checked_at) > now:
        raise UsageError("registering a request: it came, or its person was identified, in the future; look at --at")
    classes = vault.policy.portable().classes() if ask.right == PORT else vault.policy.classes()
    document = rights_rules.document(ask, person.name, classes)
    digest = signing.digest(document)
    request_id = digest[:_ID_LENGTH]
    due = rights_rules.due_at(ask.received, vault.policy.rights_deadline, vault.policy.zone, extended=False)
    with vault.catalogue.transaction() as tx:
        if tx.get("rights", id=request_id) is None:
            tx.put(
                "rights",
                id=request_id,
                right=ask.right,
                state="registered",
                digest=digest,
                **row_keys.seal(vault, tx, "rights", request_id, document),
                received_at=signing.instant(ask.received),
                due=signing.instant(due),
                **person.vouch("register", digest, now).columns("registered"),
                until=max(one["to"] for one in document["targets"]),
            )
            told = {"request": request_id, "right": ask.right, "digest": digest, "identified_by": ask.method}
            vault.audit.enter(tx, "rights-add", person.name, told)
    vault.audit.flush()
    return request_id


def approve(vault: Vault, person: Person, request_id: str) -> None:
    """Approves a registered request by an approver who did not register it. Raises `RefusedError` otherwise, and
    `DecisionError` while the clock isn't believed.
    """
    with refusals.logged(vault, "rights-approve", person.name, {"request": request_id}):
        found = _require_second(vault, person, request_id, "approving", ("registered",))
    now = timekeeping.believed_now(vault, f"approving request {request_id}")
    with vault.catalogue.transaction() as tx:
        row = _require_state(tx, request_id, ("registered",), "approving")
        vouch = person.vouch("approve", found.digest, now)
        tx.put("rights", **row | vouch.columns("approved") | {"state": "approved"})
        vault.audit.enter(tx, "rights-approve", person.name, {"request": request_id, "digest": found.digest})
    vault.audit.flush()


def refuse(vault: Vault, person: Person, request_id: str, ground: str) -> Request:
    """Refuses a request on `ground`, by an approver who did not register it. Raises as `approve`, and `UsageError` for
    a ground that its right does not have.
    """
    with refusals.logged(vault, "rights-refuse", person.name, {"request": request_id}):
        found = _require_second(vault, person, request_id, "refusing", OPEN)
    rights_rules.refusal(found.right, ground)
    with vault.catalogue.transaction() as tx:
        _require_state(tx, request_id, OPEN, "refusing")
        close(vault, tx, person, request_id, "refused", ground)
        vault.audit.enter(tx, "rights-refuse", person.name, {"request": request_id, "ground": ground})
    vault.audit.flush()
    return load(vault, request_id)


def extend(vault: Vault, person: Person, request_id: str, reason: str) -> Request:
    """Makes the deadline two months longer, once, before it is over (art. 12(3)). Raises `RefusedError` otherwise, and
    `UsageError` for a reason that the law does not know, and `DecisionError` while the clock isn't believed.
    """
    doing = f"extending request {request_id}"
    if reason not in rights_rules.EXTENSIONS:
        raise UsageError(f"{doing}: the reason is one of {', '.join(rights_rules.EXTENSIONS)}")
    with refusals.logged(vault, "rights-extend", person.name, {"request": request_id}):
        require_one_of(person, _TAKERS, doing)
        found = load(vault, request_id)
        if found.state not in OPEN or found.extended is not None:
            raise RefusedError(f"{doing}: it is {found.state}, or was extended before; that is done once, while open")
        timekeeping.believed_now(vault, doing)
        # Nor does a clock that was set back a little put it in time.
        if found.is_overdue(vault.audit.moment()):
            was = wording.moment(found.due, vault.policy.zone)
            raise RefusedError(f"{doing}: it was due {was}; the person had to be told before")
    due = rights_rules.due_at(found.received, vault.policy.rights_deadline, vault.policy.zone, extended=True)
    with vault.catalogue.transaction() as tx:
        row = _require_state(tx, request_id, OPEN, "extending")
        tx.put("rights", **row | {"due": signing.instant(due), "extended": reason})
        vault.audit.enter(tx, "rights-extend", person.name, {"request": request_id, "reason": reason})
    vault.audit.flush()
    return load(vault, request_id)


def lift(vault: Vault, person: Person, request_id: str) -> None:
    """Ends a restriction that was granted, by an approver who did not register it; its subject was told before
    (art. 18(3)). Raises `RefusedError` otherwise.
    """
    with refusals.logged(vault, "rights-lift", person.name, {"request": request_id}):
        found = _require_second(vault, person, request_id, "lifting", ("answered",))
        if found.right != RESTRICT:
            raise RefusedError(f"lifting request {request_id}: it asks to {found.right}; only a restriction is lifted")
    with vault.catalogue.transaction() as tx:
        _require_state(tx, request_id, ("answered",), "lifting")
        close(vault, tx, person, request_id, "lifted")
        vault.audit.enter(tx, "rights-lift", person.name, {"request": request_id})
    vault.audit.flush()


def close(
    vault: Vault, tx: Transaction, person: Person, request_id: str, state: str, ground: str | None = None
) -> None:
    """Says, in the transaction that commits the act, what became of a request; the first answer's date stays."""
    row = _row(tx, request_id)
    closed = {"closed_by": person.name, "closed_at": signing.instant(vault.clock.now())}
    if (row["state"], state) == ("answered", "answered"):
        closed = {}
    tx.put("rights", **row | {"state": state, "ground": ground} | closed)


def require_approved(vault: Vault, request_id: str) -> Request:
    """The request, when two persons vouch for it: approved or answered, both signatures good. Raises `RefusedError`."""
    found = load(vault, request_id)
    if found.signed is None or found.state not in ("approved", "answered"):
        raise RefusedError(
            f"answering request {request_id}: it is {found.state}; a second person approves it with: "
            f"trafficvault --user NAME rights approve {request_id}"
        )
    with vault.catalogue.reading() as tx:
        known = {item.name: item for item in people.listing(tx)}
    vouched(found.signed, known.get)
    return found


def load(vault: Vault, request_id: str) -> Request:
    """The request `request_id`. Raises `RefusedError` when there is none, `FaultError` when it was changed."""
    with vault.catalogue.reading() as tx:
        return _opened(vault, _row(tx, request_id))


def listing(vault: Vault) -> list[Request]:
    """Every request, oldest first."""
    with vault.catalogue.reading() as tx:
        rows = tx.select("rights")
    return [_opened(vault, row) for row in sorted(rows, key=lambda row: (row["received_at"], row["id"]))]


def overdue(tx: Transaction, now: datetime) -> list[str]:
    """The ids of the requests whose answer is late. Opens none of them."""
    rows = [row for row in tx.select("rights", order_by="due") if row["state"] in OPEN]
    return [row["id"] for row in rows if datetime.fromisoformat(row["due"]) <= now]


def is_restriction(row: Row) -> bool:
    """Whether a row of the table restricts records because it was granted, until somebody lifts that."""
    return (row["right"], row["state"]) == (RESTRICT, "answered")


def restricted(vault: Vault) -> list[Request]:
    """The requests by which records are restricted now."""
    return [request for request in listing(vault) if request.restricts]


def restricted_among(vault: Vault, targets: Sequence[Mapping[str, Any]]) -> list[int]:
    """The numbers, from 1, of the targets (`type`, `value`, `from`, `to`) whose records are restricted now: the same
    identifier, in a window that overlaps.
    """
    others = [one for request in restricted(vault) for one in request.document["targets"]]
    return [
        number
        for number, mine in enumerate(targets, start=1)
        if any(targets_rules.are_one(mine, one) for one in others)
    ]


def _require_second(vault: Vault, person: Person, request_id: str, doing: str, states: tuple[str, ...]) -> Request:
    require_role(person, "approver")
    found = load(vault, request_id)
    if found.state not in states:
        raise RefusedError(f"{doing} request {request_id}: it is {found.state}, and must be {' or '.join(states)}")
    if found.registered.person == person.name:
        raise RefusedError(f"{doing} request {request_id}: {person.name} registered it; a second person must decide")
    return found


def _require_state(tx: Transaction, request_id: str, states: tuple[str, ...], doing: str) -> Row:
    row = _row(tx, request_id)
    if row["state"] not in states:
        raise RefusedError(
            f"{doing} request {request_id}: somebody else changed its state meanwhile; look with `rights show`"
        )
    return row


def _row(tx: Transaction, request_id: str) -> Row:
    row = tx.get("rights", id=request_id)
    if row is None:
        raise RefusedError(f"looking for request {request_id}: there is none; `rights list` shows them")
    return row


def _opened(vault: Vault, row: Row) -> Request:
    document = row_keys.unseal(vault, "rights", row)
    return Request(
        row["id"],
        row["right"],
        row["state"],
        document,
        datetime.fromisoformat(row["received_at"]),
        datetime.fromisoformat(row["due"]),
        row["extended"],
        row["ground"],
        Vouch.of(row, "registered"),
        None if row["approved_by"] is None else Vouch.of(row, "approved"),
        row["closed_by"],
        row["closed_at"],
    )
