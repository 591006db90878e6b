"""Answering: what an approved request of a customer allows is carried out, and told in fixed sentences.

Access and portability become a package (`subject_export`), a rectification an annotation (`annotation`), an erasure a
removal of rows (`erasure`). A restriction, an objection, a complaint and a withdrawn consent become their sentence. Of
an erasure the caller holds the writer's lock. Answering again gives access and portability anew, and changes nothing of
the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trafficvault import annotation, erasure, refusals, rights, rights_rules, subject_export
from trafficvault.coverage import OPENING_RIGHTS
from trafficvault.errors import RefusedError, UsageError
from trafficvault.people import Person, require_role
from trafficvault.rights import Request
from trafficvault.rights_rules import ERASE, RECTIFY, RESTRICT
from trafficvault.terms import Words
from trafficvault.vault import Vault


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a request: its state, what the person is told, and what was made or removed."""

    request_id: str
    right: str
    state: str
    sentences: tuple[Words, ...]
    package: Path | None = None
    records: int | None = None
    certificates: tuple[str, ...] = ()


def answer(vault: Vault, person: Person, request_id: str, out: Path | None = None) -> Answer:
    """Carries out an approved request, by an officer who did not approve it; access and portability go to `out`.

    Raises `RefusedError` unless two persons vouch for it, `UsageError` when `out` is missing, or given for nothing.
    """
    with refusals.logged(vault, "rights-answer", person.name, {"request": request_id}):
        require_role(person, "officer")
        request = rights.require_approved(vault, request_id)
        if request.approved is not None and request.approved.person == person.name:
            raise RefusedError(f"answering request {request_id}: {person.name} approved it, and never answers it")
    if request.right in OPENING_RIGHTS and out is None:
        raise UsageError(
            f"answering request {request_id}: it asks for {request.right}; name the directory to make with --out"
        )
    if request.right not in OPENING_RIGHTS and out is not None:
        raise UsageError(
            f"answering request {request_id}: it asks for {request.right}, whose answer is a sentence; leave --out "
            f"out, which is for {' and '.join(OPENING_RIGHTS)}"
        )
    if out is not None:
        return _exported(vault, person, request, out)
    organisations = rights_rules.organisations(request.document)
    if organisations and len(organisations) == len(request.document["targets"]):
        _closed(vault, person, request, "routed")
        return Answer(request_id, request.right, "routed", tuple(map(rights_rules.routed, organisations)))
    if request.state == "answered":
        return Answer(request_id, request.right, request.state, (rights_rules.GRANTED[request.right],))
    if request.right == ERASE:
        done = erasure.carry_out(vault, person, request)
        state = "answered" if done.classes else "refused"
        return Answer(request_id, ERASE, state, done.sentences, None, done.rows, done.certificates)
    _closed(vault, person, request, "answered")
    return Answer(request_id, request.right, "answered", (rights_rules.GRANTED[request.right], rights_rules.REMEDY))


def told(request: Request) -> tuple[Words, ...]:
    """What the person is told of a request as it stands: why it takes longer, or why it was refused."""
    if request.ground is not None:
        return rights_rules.refusal(request.right, request.ground), rights_rules.REMEDY
    if request.extended is not None and request.state in rights.OPEN:
        return (rights_rules.EXTENSIONS[request.extended],)
    if request.right == RESTRICT and request.state == "answered":
        return (rights_rules.GRANTED[RESTRICT],)
    return ()


def _exported(vault: Vault, person: Person, request: Request, out: Path) -> Answer:
    done = subject_export.write(vault, person, request, out)
    routed = tuple(map(rights_rules.routed, done.organisations))
    if done.package is None:
        return Answer(request.request_id, request.right, "routed", routed)
    first = rights_rules.GRANTED[request.right] if done.records else rights_rules.NOTHING
    sentences = (first, *routed)
    return Answer(request.request_id, request.right, "answered", sentences, done.package, done.records)


def _closed(vault: Vault, person: Person, request: Request, state: str) -> None:
    """The end of a request whose answer is a sentence; a rectification leaves its annotation."""
    with vault.catalogue.transaction() as tx:
        rights.close(vault, tx, person, request.request_id, state)
        if request.right == RECTIFY and state == "answered":
            annotation.make(vault, tx, person, request.request_id, request.document)
        act = "rights-routed" if state == "routed" else "rights-answer"
        vault.audit.enter(tx, act, person.name, {"request": request.request_id, "digest": request.digest})
    vault.audit.flush()
