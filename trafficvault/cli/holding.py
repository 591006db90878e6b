"""Verbs of the hold: who may see it sees it; a second person extends or releases it."""

from __future__ import annotations

from typing import Annotated

import typer

from trafficvault import carving, confirming, holding, holds, wording
from trafficvault.cli.door import AsJson, door
from trafficvault.cli.naming import full_id
from trafficvault.cli.orders import require_reader
from trafficvault.cli.proposing import CARRIERS, told
from trafficvault.cli.screen import print_lines, print_object, print_table
from trafficvault.holds import Hold
from trafficvault.people import Person
from trafficvault.proposals import Proposal
from trafficvault.vault import Vault

hold_verbs = typer.Typer(no_args_is_help=True, help="Holds: records kept apart for an authority while their days die.")
HoldId = Annotated[
    str, typer.Argument(help="A hold id, which is that of its warrant, or its beginning; `hold list` shows them.")
]


def add_to(app: typer.Typer) -> None:
    """Adds this module's verbs to `app`, and what carries out their proposals."""
    app.add_typer(hold_verbs, name="hold")
    CARRIERS["hold-extend"] = _extend
    CARRIERS["hold-release"] = _release


@hold_verbs.command("list")
def list_(context: typer.Context, as_json: AsJson = False) -> None:
    """List holds with what they keep (role officer, approver or auditor)."""
    vault = door(context).open()
    require_reader(door(context).person(vault))
    rows = [_facts(vault, hold) for hold in holds.listing(vault)]
    if as_json:
        print_object({"holds": rows})
    else:
        names = ("hold", "reference", "state", "since", "until", "days", "records")
        zone = vault.policy.zone
        told = [row | {name: wording.moment(str(row[name]), zone) for name in ("since", "until")} for row in rows]
        print_table("holds", names, [tuple(row.values()) for row in told])
        print_lines(confirming.sentences(vault))


@hold_verbs.command("extend")
def extend(
    context: typer.Context,
    hold: HoldId,
    until: Annotated[str, typer.Option("--until", help="A date and time with an offset, such as 2027-03-01T00:00Z.")],
    as_json: AsJson = False,
) -> None:
    """Propose that a hold binds longer (role officer; an approver approves it)."""
    with door(context).writing() as vault:
        person = door(context).person(vault)
        made = holding.propose_extension(vault, person, full_id(vault, "hold", hold, person), until)
    _print_proposal(made, as_json)


@hold_verbs.command("release")
def release(context: typer.Context, hold: HoldId, as_json: AsJson = False) -> None:
    """Propose to let go of what a hold keeps (role officer; an approver approves it)."""
    with door(context).writing() as vault:
        person = door(context).person(vault)
        made = holding.propose_release(vault, person, full_id(vault, "hold", hold, person))
    _print_proposal(made, as_json)


def _extend(vault: Vault, person: Person, proposal: Proposal) -> list[str]:
    until = holding.extend(vault, person, proposal.proposal_id)
    return [f"hold {proposal.body['hold']} binds until {wording.moment(until, vault.policy.zone)}"]


def _release(vault: Vault, person: Person, proposal: Proposal) -> list[str]:
    holding.release(vault, person, proposal.proposal_id)
    return [f"hold {proposal.body['hold']} is released; an expire destroys its key within a day or so"]


def _print_proposal(made: Proposal, as_json: bool) -> None:
    if as_json:
        print_object({"proposal_id": made.proposal_id, "state": made.state})
    else:
        print_lines([told(made)])


def _facts(vault: Vault, hold: Hold) -> dict[str, object]:
    with vault.catalogue.reading() as tx:
        rows = [row for row in tx.select(carving.TABLE, hold=hold.hold_id) if not row["lapsed"]]
    return {
        "hold_id": hold.hold_id,
        "reference": hold.document.document["reference"],
        "state": hold.state if hold.state not in holds.BINDING or hold.binds(vault.audit.moment()) else "ended",
        "since": hold.since.isoformat(),
        "until": hold.until.isoformat(),
        "days": len({(row["record_class"], row["day"]) for row in rows}),
        "records": sum(row["rows"] for row in rows),
    }
