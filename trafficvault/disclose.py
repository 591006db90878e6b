"""Disclose: an approved warrant and one of its questions become a package, or a refusal that is in the audit log.

    warrant → authorised? → audit(intent) → keys.release per file and category → rows in scope → question → package
    → audit(result) → the package gets its name

The warrant alone decides targets, windows, classes and columns. The intent is durable before a key opens anything: its
COMMIT waits for the disk, and nothing goes on beside it. Bringing it to its segment and to the keys' memory goes on
beside the search, and the result waits for it. The result is durable, and in its segment, before the package is
visible: if the log can't be written, nothing leaves. How rows are found is the business of `trafficvault.search`.
Called by the command line (`warrant run`).
"""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ingest.record import SCHEMA
from queries import engine
from queries.questions import Question, QuestionError, questions
from queries.scope import targets_table
from trafficvault import (
    completeness,
    confirming,
    delivery,
    disk_errors,
    docket,
    locks,
    refusals,
    rights,
    search,
    signing,
    warrants,
)
from trafficvault.annotation import Carried
from trafficvault.coverage import SignedWarrant
from trafficvault.database import RESTORE
from trafficvault.docket import Docketed
from trafficvault.durable import NO_SPACE
from trafficvault.errors import FaultError, RefusedError, UsageError, VaultError
from trafficvault.people import Person, require_role
from trafficvault.progress import Watch
from trafficvault.vault import Vault

MARK = "These records are retained traffic data, disclosed under the warrant named here; the receiver keeps this mark."


@dataclass(frozen=True, slots=True)
class Disclosure:
    """What one run released."""

    disclosure_id: str
    package: Path
    question: str
    records: int
    complete: bool
    expired: tuple[str, ...]
    """What of records that are there has expired, a sentence each."""


def run(
    vault: Vault,
    person: Person,
    warrant_id: str,
    out: Path,
    question_name: str | None = None,
    progress: Watch = lambda step: None,
) -> Disclosure:
    """Answers one question of the warrant into the new directory `out`.

    Raises `RefusedError` when the person, the warrant's state, its scope or its signatures do not allow it; the refusal
    is in the audit log by then. Raises `UsageError` when `out` exists or no question is named where there are several.
    """
    with refusals.logged(vault, "disclose", person.name, {"warrant": warrant_id}):
        require_role(person, "officer")
        order = docket.load(vault, warrant_id)
    delivery.require_place(out, (vault.layout.vault, vault.layout.keys), f"running warrant {warrant_id}")
    name = question_name or _only_question(order)
    question = questions().get(name)
    started = vault.clock.now()
    # A clock that was set back makes no term and no validity longer.
    moment = max(started, _trusted_time(vault) or started)
    reasons = _objections(order, person, name, question, moment) + confirming.objections(vault, order)
    if reasons or question is None or order.signed is None:
        raise _refused(vault, person, order, name, reasons)
    row: dict[str, Any] = {
        "id": secrets.token_hex(12),
        "warrant": warrant_id,
        "question": name,
        "person": person.name,
        "started_at": signing.instant(started),
        "state": "intent",
        "records": None,
        "complete": None,
        "manifest_digest": None,
    }
    with vault.catalogue.transaction() as tx:
        tx.put("disclosures", **row)
        intent = {
            "disclosure": row["id"],
            "warrant": warrant_id,
            "warrant_digest": order.document.digest,
            "question": name,
            "question_digest": question.digest,
            "registered_by": order.signed.registered.person,
            "approved_by": order.signed.approved.person,
        }
        # A log that others rolled back stops here, before a key opens anything.
        vault.audit.require_in_step(tx)
        vault.audit.enter(tx, "disclose-intent", person.name, intent)
    # The intent is durable: only from here may a key open anything.
    try:
        with locks.reading(vault.layout):
            return _answer(vault, row, order, order.signed, question, out, moment, progress)
    except BaseException as problem:
        # Whatever it was, an interruption too: the log tells that this intent led to no package, unless one is there.
        if not out.exists():
            _enter_failure(vault, row, problem)
        if isinstance(problem, QuestionError):
            raise RefusedError(str(problem)) from problem
        if isinstance(problem, OSError) and problem.errno not in NO_SPACE:
            raise _told(vault, out, problem) from problem
        raise


def _told(vault: Vault, out: Path, problem: OSError) -> VaultError:
    """What could not be read or written: a file of the vault, by its name, or the package."""
    reason = disk_errors.reason_of(problem)
    # Libraries tell the path in their text alone.
    if str(vault.layout.vault) in str(problem.filename or problem):
        name = disk_errors.own_name(problem) or "a file of the vault"
        return FaultError(f"reading {name} for the answer: {reason}; no package was made", hint=RESTORE)
    return UsageError(f"writing the package {out.name}: {reason}; name another directory")


def _answer(
    vault: Vault,
    row: dict[str, Any],
    order: Docketed,
    signed: SignedWarrant,
    question: Question,
    out: Path,
    moment: datetime,
    progress: Watch,
) -> Disclosure:
    document = order.document
    wanted = warrants.scope_of(document, question.classes)
    needs = question.needs | warrants.found_by(document)
    finding = search.Search(vault, signed, wanted, moment, needs)
    carried = Carried(vault)
    known = completeness.look(vault, document, wanted.classes, finding.searched(), moment, needs)
    tables = engine.answers(
        question,
        carried.watch(finding.stretches(progress, with_neighbours=question.kind == "stream")),
        targets_table(wanted),
        finding.grant(),
        {"max_matches": wanted.max_matches},
        engine.Limits(vault.settings.question_seconds, vault.settings.question_memory),
        SCHEMA,
    )
    manifest = {
        "kind": "package",
        "v": 1,
        "vault": vault.settings.id,
        "disclosure": row["id"],
        "warrant": {
            "id": row["warrant"],
            "digest": document.digest,
            "reference": document.document["reference"],
            "authority": document.document["authority"],
            "legal_basis": document.document["legal_basis"],
        },
        "registered_by": signed.registered.person,
        "approved_by": signed.approved.person,
        "run_by": row["person"],
        "four_eyes": "procedural",
        "question": {"name": question.name, "sha256": question.digest, "describes": question.describes},
        "categories": list(document.document["categories"]),
        "classes": list(document.document["classes"]),
        "targets": document.document["targets"],
        "answered_at": row["started_at"],
        "retained_data": True,
        "retained_data_mark": MARK,
        "annotations": carried.told,
        "restricted": rights.restricted_among(vault, document.document["targets"]),
        **known.as_manifest(),
    }
    if held := finding.held():
        manifest["days_from_hold"] = held

    def on_sealed(manifest_digest: str, records: int) -> None:
        noted.result()
        done = {"records": records, "complete": int(known.complete), "manifest_digest": manifest_digest}
        with vault.catalogue.transaction() as tx:
            tx.put("disclosures", **(row | done | {"state": "released"}))
            vault.audit.enter(tx, "disclose", row["person"], {"disclosure": row["id"], **done})
        vault.audit.flush()

    def sign(message: bytes) -> str:
        return signing.sign(vault.keys.signing_key(), message)

    with ThreadPoolExecutor(1, "audit") as beside:
        noted = beside.submit(vault.audit.flush)
        records = delivery.write_package(vault.disk, out, tables, manifest, sign, vault.settings.public_key, on_sealed)
    return Disclosure(row["id"], out, question.name, records, known.complete, known.sentences)


def _only_question(order: Docketed) -> str:
    names: list[str] = order.document.document["questions"]
    if len(names) != 1:
        raise UsageError(
            f"running warrant {order.warrant_id}: it has the questions {', '.join(names)}; name one with --question"
        )
    return names[0]


def _objections(
    order: Docketed, person: Person, name: str, question: Question | None, now: datetime
) -> tuple[str, ...]:
    if question is None:
        return (f"there is no question {name}",)
    found = warrants.objections(order.document, question, now)
    if order.state != "approved" or order.approved is None:
        found += (f"the warrant is {order.state}, not approved",)
    elif order.approved.person == person.name:
        found += (f"{person.name} approved the warrant, and its approver never runs it",)
    return found


def _refused(vault: Vault, person: Person, order: Docketed, name: str, reasons: tuple[str, ...]) -> RefusedError:
    """Enters the refusal into the audit log, and returns it as the error to raise."""
    with vault.catalogue.transaction() as tx:
        # The question's name comes from outside and is told only when it is one.
        asked = name if name in questions() else "unknown"
        detail = {"warrant": order.warrant_id, "question": asked, "reasons": list(reasons)}
        vault.audit.enter(tx, "disclose-refused", person.name, detail)
    vault.audit.flush()
    return RefusedError(f"running warrant {order.warrant_id}: {'; '.join(reasons)}")


def _trusted_time(vault: Vault) -> datetime | None:
    with vault.catalogue.reading() as tx:
        return vault.audit.trusted_time(tx)


def _enter_failure(vault: Vault, row: dict[str, Any], problem: BaseException) -> None:
    with vault.catalogue.transaction() as tx:
        tx.put("disclosures", **(row | {"state": "failed"}))
        detail = {"disclosure": row["id"], "error": type(problem).__name__}
        vault.audit.enter(tx, "disclose-failed", row["person"], detail)
    vault.audit.flush()
