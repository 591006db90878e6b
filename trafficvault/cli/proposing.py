"""Verbs of the proposal: what takes two persons beside a warrant is proposed by its own verb and approved here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from trafficvault import proposals
from trafficvault.cli.door import AsJson, door
from trafficvault.cli.naming import full_id
from trafficvault.cli.screen import facts_for_people, plain, print_lines, print_object, print_table
from trafficvault.errors import RefusedError
from trafficvault.people import Person
from trafficvault.proposals import Proposal
from trafficvault.vault import Vault

proposal_verbs = typer.Typer(no_args_is_help=True, help="Proposals: made by one person, approved by another.")
ProposalId = Annotated[str, typer.Argument(help="A proposal id, or its beginning; `proposal list` shows them.")]

CARRIERS: dict[str, Callable[[Vault, Person, Proposal], list[str]]] = {}
"""By kind: what carries an approved proposal out, and tells in sentences what it did."""


def add_to(app: typer.Typer) -> None:
    """Adds this module's verbs to `app`."""
    app.add_typer(proposal_verbs, name="proposal")


def told(found: Proposal) -> str:
    """What the proposer is told."""
    identity, roles = found.proposal_id, " or ".join(sorted(proposals.KINDS[found.kind].approvers))
    return f"proposed {found.kind} {identity}; another person ({roles}) approves it with: proposal approve {identity}"


@proposal_verbs.command("list")
def list_(context: typer.Context, as_json: AsJson = False) -> None:
    """List proposals (whoever may make or approve one of their kind, or an auditor)."""
    vault = door(context).open()
    person = door(context).person(vault)
    rows = [_facts(item) for item in proposals.listing(vault) if proposals.may_read(person, item.kind)]
    if as_json:
        print_object({"proposals": rows})
    else:
        names = ("proposal", "kind", "state", "proposed by", "approved by")
        print_table("proposals", names, [tuple(row.values()) for row in rows])


@proposal_verbs.command("show")
def show(context: typer.Context, proposal: ProposalId, as_json: AsJson = False) -> None:
    """Show what a proposal would do, and who vouches for it."""
    vault = door(context).open()
    person = door(context).person(vault)
    proposal = full_id(vault, "proposal", proposal, person)
    found = proposals.load(vault, proposal)
    if not proposals.may_read(person, found.kind):
        raise RefusedError(
            f"showing proposal {proposal}: the acting person may neither make nor approve one of its kind"
        )
    if as_json:
        print_object({**_facts(found), "body": found.body})
    else:
        shown = facts_for_people(_facts(found) | found.body, vault.policy.zone)
        facts = [(name, plain(value)) for name, value in shown.items()]
        print_table(f"proposal {proposal}", ("what", "value"), facts)


@proposal_verbs.command("approve")
def approve(context: typer.Context, proposal: ProposalId, as_json: AsJson = False) -> None:
    """Approve a proposal that another person made, and carry it out."""
    with door(context).writing() as vault:
        person = door(context).person(vault)
        proposal = full_id(vault, "proposal", proposal, person)
        found = proposals.approve(vault, person, proposal)
        lines = CARRIERS[found.kind](vault, person, found)
    if as_json:
        print_object({**_facts(proposals.load(vault, proposal)), "told": lines})
    else:
        print_lines(lines)


@proposal_verbs.command("drop")
def drop(context: typer.Context, proposal: ProposalId, as_json: AsJson = False) -> None:
    """Take back a proposal that nobody approved yet."""
    with door(context).writing() as vault:
        person = door(context).person(vault)
        proposal = full_id(vault, "proposal", proposal, person)
        proposals.drop(vault, person, proposal)
    if as_json:
        print_object({"proposal_id": proposal, "state": "dropped"})
    else:
        print_lines([f"dropped proposal {proposal}"])


def _facts(found: Proposal) -> dict[str, object]:
    return {
        "proposal_id": found.proposal_id,
        "kind": found.kind,
        "state": found.state,
        "proposed_by": found.proposed.person,
        "approved_by": found.approved.person if found.approved else None,
    }
