"""Verbs of the warrant: check, add, approve, refuse, run, list, show, confirm."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from trafficvault import confirming, docket, wording
from trafficvault.cli.door import AsJson, door
from trafficvault.cli.files import read_text
from trafficvault.cli.naming import READERS, full_id
from trafficvault.cli.proposing import CARRIERS, told
from trafficvault.cli.screen import facts_for_people, plain, print_lines, print_object, print_table, progress
from trafficvault.people import Person, require_one_of

warrant_verbs = typer.Typer(no_args_is_help=True, help="Warrants: registered by one person, approved by another.")
WarrantId = Annotated[str, typer.Argument(help="A warrant id, or its beginning; `warrant list` shows them.")]
WarrantFile = Annotated[Path, typer.Argument(help="A warrant in TOML.", exists=True, dir_okay=False)]


def add_to(app: typer.Typer) -> None:
    """Adds this module's verbs to `app`, and what carries out their proposals."""
    app.add_typer(warrant_verbs, name="warrant")
    CARRIERS[confirming.KIND] = confirming.carry_out


@warrant_verbs.command("check")
def check(context: typer.Context, file: WarrantFile, as_json: AsJson = False) -> None:
    """Say in plain words what a warrant covers, what of it expires, which sources have gaps. Reads no record."""
    sentences = docket.check(door(context).open(), read_text(file))
    if as_json:
        print_object({"sentences": sentences})
    else:
        print_lines(sentences)


@warrant_verbs.command("add")
def add(context: typer.Context, file: WarrantFile, as_json: AsJson = False) -> None:
    """Register a warrant (role officer)."""
    vault = door(context).open()
    warrant_id = docket.register(vault, door(context).person(vault), read_text(file))
    if as_json:
        print_object({"warrant_id": warrant_id})
    else:
        print_lines([f"registered warrant {warrant_id}; another person approves it"])


@warrant_verbs.command("approve")
def approve(context: typer.Context, warrant: WarrantId, as_json: AsJson = False) -> None:
    """Approve a registered warrant (role approver, not its registrar)."""
    vault = door(context).open()
    person = door(context).person(vault)
    warrant = full_id(vault, "warrant", warrant, person)
    docket.approve(vault, person, warrant)
    if as_json:
        print_object({"warrant_id": warrant, "state": "approved"})
    else:
        print_lines([f"approved warrant {warrant}"])


@warrant_verbs.command("refuse")
def refuse(
    context: typer.Context,
    warrant: WarrantId,
    reason: Annotated[str, typer.Option("--reason", help="Why; it stands in the audit log.")],
    as_json: AsJson = False,
) -> None:
    """Refuse a registered warrant (role approver); what it had frozen is held no longer."""
    vault = door(context).open()
    person = door(context).person(vault)
    warrant = full_id(vault, "warrant", warrant, person)
    docket.refuse(vault, person, warrant, reason)
    if as_json:
        print_object({"warrant_id": warrant, "state": "refused"})
    else:
        print_lines([f"refused warrant {warrant}"])


@warrant_verbs.command("run")
def run(
    context: typer.Context,
    warrant: WarrantId,
    out: Annotated[Path, typer.Option("--out", help="The package directory to make; it must not exist.")],
    question: Annotated[
        str | None, typer.Option(help="Which of the warrant's questions; not needed when it has one.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Answer a question of an approved warrant into a package (role officer, not its approver)."""
    vault = door(context).open()
    # Beside the sign-in: to stretch a password takes longer than these imports, and leaves the interpreter to them.
    with ThreadPoolExecutor(1, "imports") as beside:
        beside.submit(lambda: [import_module(name) for name in ("trafficvault.disclose", "queries.database")])
        person = door(context).person(vault)
    from trafficvault import disclose

    with progress("searching") as step:
        done = disclose.run(vault, person, full_id(vault, "warrant", warrant, person), out, question, step)
    if as_json:
        print_object(
            {
                "disclosure_id": done.disclosure_id,
                "package": str(done.package),
                "question": done.question,
                "records": done.records,
                "complete": done.complete,
                "expired": done.expired,
            }
        )
    else:
        complete = "complete" if done.complete else "NOT complete: its manifest names what is missing"
        told = f"{done.records} records of question {done.question} in {done.package}; {complete}"
        print_lines([told, *done.expired])


@warrant_verbs.command("list")
def list_(context: typer.Context, as_json: AsJson = False) -> None:
    """List warrants (role officer, approver or auditor)."""
    vault = door(context).open()
    require_reader(door(context).person(vault))
    rows = [
        {
            "warrant_id": item.warrant_id,
            "reference": item.document.document["reference"],
            "kind": item.document.document["kind_of_order"],
            "state": item.state,
            "registered_by": item.registered.person,
            "approved_by": item.approved.person if item.approved else None,
        }
        for item in docket.listing(vault)
    ]
    if as_json:
        print_object({"warrants": rows})
    else:
        print_table(
            "warrants",
            ("warrant", "reference", "kind", "state", "registered by", "approved by"),
            [tuple(row.values()) for row in rows],
        )
        print_lines(confirming.sentences(vault))


@warrant_verbs.command("show")
def show(context: typer.Context, warrant: WarrantId, as_json: AsJson = False) -> None:
    """Show one warrant with its targets and signatures (role officer, approver or auditor)."""
    vault = door(context).open()
    person = door(context).person(vault)
    require_reader(person)
    item = docket.load(vault, full_id(vault, "warrant", warrant, person))
    value: dict[str, object] = {
        "warrant_id": item.warrant_id,
        "state": item.state,
        "digest": item.document.digest,
        "registered_by": item.registered.person,
        "approved_by": item.approved.person if item.approved else None,
        "document": item.document.document,
    }
    if as_json:
        print_object(value)
    else:
        hidden = ("targets", "kind", "v")
        zone = vault.policy.zone
        shown = facts_for_people(item.document.document, zone)
        facts = [(name, plain(part)) for name, part in shown.items() if name not in hidden]
        print_table(f"warrant {item.warrant_id}: {item.state}", ("what", "value"), facts)
        targets = [
            (row["type"], row["value"], *(wording.moment(row[name], zone) for name in ("from", "to")))
            for row in item.document.document["targets"]
        ]
        print_table("targets", ("type", "value", "from", "to"), targets)


@warrant_verbs.command("confirm")
def confirm(context: typer.Context, as_json: AsJson = False) -> None:
    """Propose that what stands in a docket that was put back stands (role officer; an approver approves it)."""
    vault = door(context).open()
    made = confirming.propose(vault, door(context).person(vault))
    if as_json:
        print_object({"proposal_id": made.proposal_id, "state": made.state})
    else:
        print_lines([told(made)])


def require_reader(person: Person) -> None:
    """Raises `RefusedError` unless `person` may read the docket."""
    require_one_of(person, READERS["warrant"], "reading the docket")
