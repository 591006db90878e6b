"""Verbs of the policy's versions: policy plan, policy adopt, policy versions."""

from __future__ import annotations

import typer

from trafficvault import adoption, policies, signing, wording
from trafficvault.cli import proposing
from trafficvault.cli.door import AsJson, door
from trafficvault.cli.screen import print_lines, print_object, print_table
from trafficvault.cli.setup import policy_verbs


def add_to(app: typer.Typer) -> None:
    """Says how its proposals are carried out; its verbs stand among those of the policy."""
    proposing.CARRIERS[adoption.KIND] = adoption.carry_out


@policy_verbs.command("plan")
def plan(context: typer.Context, as_json: AsJson = False) -> None:
    """Show what policy.toml would shorten, and what would be due by it that is not due by the policy in force."""
    vault = door(context).open()
    found = adoption.plan(vault)
    if as_json:
        due = [
            {"what": item.kind, "class": item.record_class, "day": item.day.isoformat(), "reason": item.reason}
            for item in found.due
        ]
        print_object({"shortens": list(found.shortens), "effect": signing.instant(found.effect), "due": due})
        return
    since = wording.moment(found.effect, vault.policy.zone)
    print_table(f"shortens, from {since} on", ("what",), [(text,) for text in found.shortens])
    rows = [(item.kind, item.record_class, item.day, item.reason) for item in found.due]
    print_table("due by it", ("what", "class", "day", "reason"), rows)


@policy_verbs.command("adopt")
def adopt(context: typer.Context, as_json: AsJson = False) -> None:
    """Propose a policy.toml that shortens a term (role administrator); another person approves it."""
    vault = door(context).open()
    made = adoption.propose(vault, door(context).person(vault))
    if as_json:
        print_object({"proposal_id": made.proposal_id, "shortens": made.body["shortens"]})
    else:
        print_lines([*made.body["shortens"], proposing.told(made)])


@policy_verbs.command("versions")
def versions(context: typer.Context, as_json: AsJson = False) -> None:
    """List every version of the policy: from when it rules, and who agreed to it."""
    vault = door(context).open()
    with vault.catalogue.reading() as tx:
        known = policies.versions(tx)
    current = policies.in_force(known, vault.clock.now())
    rows = [item.as_dict() | {"in_force": current is not None and item.number == current.number} for item in known]
    if as_json:
        print_object({"versions": rows})
    else:
        zone = vault.policy.zone
        lines = [
            (
                *(row["version"], row["digest"], wording.moment(item.effect, zone), wording.moment(item.entered, zone)),
                *(", ".join(item.persons), row["in_force"]),
            )
            for item, row in zip(known, rows, strict=True)
        ]
        print_table("versions", ("version", "digest", "effect", "entered", "persons", "in force"), lines)
