"""Verbs of a customer's rights: what was asked, by when it is answered, and what became of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trafficvault import answering, rights, rights_rules, signing, wording
from trafficvault.cli.door import AsJson, door
from trafficvault.cli.files import read_text
from trafficvault.cli.moments import read_moment
from trafficvault.cli.naming import READERS, full_id
from trafficvault.cli.screen import facts_for_people, plain, print_lines, print_object, print_table
from trafficvault.coverage import OPENING_RIGHTS
from trafficvault.errors import UsageError
from trafficvault.people import Person, require_one_of
from trafficvault.rights import Request
from trafficvault.rights_rules import ERASE, Ask
from trafficvault.terms import Words
from trafficvault.vault import Vault

rights_verbs = typer.Typer(no_args_is_help=True, help="Customers' requests: access, rectification, erasure and others.")
RequestId = Annotated[str, typer.Argument(help="A request id, or its beginning; `rights list` shows them.")]


def add_to(app: typer.Typer) -> None:
    """Adds this module's verbs to `app`."""
    app.add_typer(rights_verbs, name="rights")


@rights_verbs.command("add")
def add(
    context: typer.Context,
    kind: Annotated[str, typer.Option(help=f"What is asked: {', '.join(rights_rules.RIGHTS)}.")],
    identifier: Annotated[list[str], typer.Option(help="The person's own, as msisdn=+31612345678; may be repeated.")],
    since: Annotated[str, typer.Option(help="Since when these are the person's: numbers are given out again.")],
    person_checked: Annotated[str, typer.Option(help=f"How identified: {', '.join(rights_rules.METHODS)}.")],
    at: Annotated[str, typer.Option(help="When the person was identified, as 2026-11-20T09:00:00+01:00.")],
    received: Annotated[str | None, typer.Option(help="When the request came; left out: now.")] = None,
    until: Annotated[str | None, typer.Option(help="End of the records asked about; left out: the receipt.")] = None,
    statement: Annotated[Path | None, typer.Option(help="A file with the text of a rectification.")] = None,
    record: Annotated[str | None, typer.Option(help="The record to rectify, as SOURCE/BATCH/ROW.")] = None,
    as_json: AsJson = False,
) -> None:
    """Register a request (role officer or operator, who identified the person)."""
    vault = door(context).open()
    person = door(context).person(vault)
    came = vault.clock.now() if received is None else read_moment(received, "--received")
    ask = Ask(
        kind,
        [_identifier(text) for text in identifier],
        read_moment(since, "--since"),
        came if until is None else read_moment(until, "--until"),
        came,
        person_checked,
        read_moment(at, "--at"),
        None if statement is None else read_text(statement),
        None if record is None else _record(record),
    )
    found = rights.load(vault, rights.add(vault, person, ask))
    if as_json:
        print_object(_facts(found, vault))
    else:
        due = wording.moment(found.due, vault.policy.zone)
        print_lines([f"registered request {found.request_id}, due {due}; another person decides"])


@rights_verbs.command("approve")
def approve(context: typer.Context, request: RequestId, as_json: AsJson = False) -> None:
    """Grant a request (role approver, who did not register it)."""
    vault = door(context).open()
    person = door(context).person(vault)
    request = full_id(vault, "request", request, person)
    rights.approve(vault, person, request)
    place = " --out DIRECTORY" if rights.load(vault, request).right in OPENING_RIGHTS else ""
    if as_json:
        print_object({"request_id": request, "state": "approved"})
    else:
        print_lines([f"approved request {request}; an officer carries it out with: rights answer {request}{place}"])


@rights_verbs.command("answer")
def answer(
    context: typer.Context,
    request: RequestId,
    out: Annotated[
        Path | None, typer.Option("--out", help="The directory to make, of access and portability; it must not exist.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Carry out an approved request, and print what the person is told (role officer, who did not approve it)."""
    vault = door(context).open()
    person = door(context).person(vault)
    request = full_id(vault, "request", request, person)
    if rights.load(vault, request).right == ERASE:
        with door(context).writing() as writable:
            done = answering.answer(writable, person, request, out)
    else:
        done = answering.answer(vault, person, request, out)
    if as_json:
        print_object(
            {
                "request_id": done.request_id,
                "right": done.right,
                "state": done.state,
                "package": None if done.package is None else str(done.package),
                "records": done.records,
                "certificates": list(done.certificates),
                "sentences": _texts(done.sentences),
            }
        )
    else:
        count = "" if done.records is None else f", {done.records} records"
        print_lines([f"{done.right} request {done.request_id}: {done.state}{count}", *_said(done.sentences)])


@rights_verbs.command("refuse")
def refuse(
    context: typer.Context,
    request: RequestId,
    ground: Annotated[str, typer.Option(help="One of the grounds of its right; `rights show` lists them.")],
    as_json: AsJson = False,
) -> None:
    """Refuse a request on a fixed ground (role approver, who did not register it); print what the person is told."""
    vault = door(context).open()
    person = door(context).person(vault)
    request = full_id(vault, "request", request, person)
    _told(rights.refuse(vault, person, request, ground), vault, as_json)


@rights_verbs.command("extend")
def extend(
    context: typer.Context,
    request: RequestId,
    reason: Annotated[str, typer.Option(help=f"Why: {' or '.join(rights_rules.EXTENSIONS)}.")],
    as_json: AsJson = False,
) -> None:
    """Take two further months, once (role officer or operator), and print what the person is told."""
    vault = door(context).open()
    person = door(context).person(vault)
    request = full_id(vault, "request", request, person)
    _told(rights.extend(vault, person, request, reason), vault, as_json)


@rights_verbs.command("lift")
def lift(context: typer.Context, request: RequestId, as_json: AsJson = False) -> None:
    """End a restriction, after its subject was told (role approver, who did not register it)."""
    vault = door(context).open()
    person = door(context).person(vault)
    request = full_id(vault, "request", request, person)
    rights.lift(vault, person, request)
    if as_json:
        print_object({"request_id": request, "state": "lifted"})
    else:
        print_lines([f"lifted the restriction of request {request}"])


@rights_verbs.command("list")
def list_(context: typer.Context, as_json: AsJson = False) -> None:
    """List requests without names (role officer, operator, approver or auditor)."""
    vault = door(context).open()
    _require_reader(door(context).person(vault))
    rows = [_facts(found, vault) for found in rights.listing(vault)]
    if as_json:
        print_object({"requests": rows})
    else:
        names = ("request", "right", "state", "received", "due", "overdue", "restricts")
        zone = vault.policy.zone
        shown = [row | {name: wording.moment(str(row[name]), zone) for name in ("received", "due")} for row in rows]
        print_table("requests", names, [tuple(map(plain, row.values()))[: len(names)] for row in shown])


@rights_verbs.command("show")
def show(context: typer.Context, request: RequestId, as_json: AsJson = False) -> None:
    """Show one request, whom it concerns, and on which grounds it can be refused (roles as for `list`)."""
    vault = door(context).open()
    person = door(context).person(vault)
    _require_reader(person)
    found = rights.load(vault, full_id(vault, "request", request, person))
    value = _facts(found, vault) | {
        "document": found.document,
        "grounds": list(rights_rules.GROUNDS[found.right]),
        "sentences": _texts(answering.told(found)),
    }
    if as_json:
        print_object(value)
    else:
        shown = facts_for_people(value, vault.policy.zone)
        facts = [(name, plain(part)) for name, part in shown.items() if name != "document"]
        print_table(f"request {found.request_id}", ("what", "value"), facts)
        zone = vault.policy.zone
        rows = [
            (one["type"], one["value"], wording.moment(one["from"], zone), wording.moment(one["to"], zone))
            for one in found.document["targets"]
        ]
        print_table("identifiers", ("type", "value", "from", "to"), rows)


def _facts(found: Request, vault: Vault) -> dict[str, object]:
    return {
        "request_id": found.request_id,
        "right": found.right,
        "state": found.state,
        "received": signing.instant(found.received),
        "due": signing.instant(found.due),
        "overdue": found.is_overdue(vault.clock.now()),
        "restricts": found.restricts,
        "extended": found.extended,
        "ground": found.ground,
        "registered_by": found.registered.person,
        "approved_by": found.approved.person if found.approved else None,
        "closed_by": found.closed_by,
        "closed_at": found.closed_at,
    }


def _told(found: Request, vault: Vault, as_json: bool) -> None:
    sentences = answering.told(found)
    if as_json:
        print_object(_facts(found, vault) | {"sentences": _texts(sentences)})
    else:
        told = f"request {found.request_id}: {found.state}, due {wording.moment(found.due, vault.policy.zone)}"
        print_lines([told, *_said(sentences)])


def _texts(sentences: tuple[Words, ...]) -> list[dict[str, str]]:
    return [{"nl": words.nl, "en": words.en} for words in sentences]


def _said(sentences: tuple[Words, ...]) -> list[str]:
    return [text for language in ("nl", "en") for text in (words.in_(language) for words in sentences)]


def _require_reader(person: Person) -> None:
    require_one_of(person, READERS["request"], "reading customers' requests")


def _identifier(text: str) -> tuple[str, str]:
    kind, equals, value = text.partition("=")
    if not equals:
        raise UsageError("reading --identifier: it must be TYPE=VALUE, as msisdn=+31612345678")
    return kind.strip(), value


def _record(text: str) -> tuple[str, str, int]:
    source, _, rest = text.partition("/")
    batch, _, row = rest.partition("/")
    if not source or not batch or not row.isdecimal():
        raise UsageError("reading --record: it must be SOURCE/BATCH/ROW, as the answer to a request of access has them")
    return source, batch, int(row)
