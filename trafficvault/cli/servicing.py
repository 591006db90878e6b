"""Verbs of the service: when one ended, so that what is kept until then goes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trafficvault import endings, wording
from trafficvault.cli import proposing
from trafficvault.cli.door import AsJson, door
from trafficvault.cli.moments import read_moment
from trafficvault.cli.screen import print_lines, print_object, print_table
from trafficvault.errors import UsageError
from trafficvault.people import require_one_of

service_verbs = typer.Typer(no_args_is_help=True, help="Services: what is kept until one ends goes after it.")
_READERS = frozenset({"operator", "administrator", "auditor"})


def add_to(app: typer.Typer) -> None:
    """Adds this module's verbs to `app`, and what carries out their proposals."""
    app.add_typer(service_verbs, name="service")
    proposing.CARRIERS[endings.KIND] = endings.enter


@service_verbs.command("end")
def end(
    context: typer.Context,
    at: Annotated[str | None, typer.Option(help="When it ended, as 2026-11-20T00:00:00+01:00.")] = None,
    subscriber: Annotated[str | None, typer.Option(help="The subscriber id, as records have it.")] = None,
    msisdn: Annotated[str | None, typer.Option(help="The number that was the service's, as +31612345678.")] = None,
    imsi: Annotated[str | None, typer.Option(help="The IMSI that was the service's.")] = None,
    since: Annotated[str | None, typer.Option(help="When it began; needed without a subscriber id.")] = None,
    file: Annotated[
        Path | None,
        typer.Option(help="Many at once: a JSON object a line, with these names.", exists=True, dir_okay=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell that a service ended (role operator): `expire` removes what the policy keeps until then.

    One that is told by hand another person approves. Those of a file wait for `end_of_service_wait` of the policy.
    """
    if file is not None:
        if any(value is not None for value in (at, subscriber, msisdn, imsi, since)):
            raise UsageError("recording ends of services: --file tells them all; leave the other options out")
        _end_all(context, file, as_json=as_json)
        return
    if at is None:
        raise UsageError("recording the end of a service: say with --at when it ended, or give --file")
    named = {"subscriber": subscriber, "msisdn": msisdn, "imsi": imsi}
    subjects = {kind: value for kind, value in named.items() if value is not None}
    ended_at, began = read_moment(at, "--at"), None if since is None else read_moment(since, "--since")
    vault = door(context).open()
    made = endings.propose(vault, door(context).person(vault), subjects, ended_at, began)
    if as_json:
        print_object({"proposal_id": made.proposal_id})
    else:
        print_lines([proposing.told(made)])


def _end_all(context: typer.Context, path: Path, *, as_json: bool) -> None:
    with door(context).writing() as vault, path.open("rb") as file:
        told = endings.record_all(vault, door(context).person(vault), file)
    counts = {"read": told.read, "recorded": told.recorded, "known": told.known, "rejected": len(told.bad)}
    if as_json:
        print_object(counts | {"rejections": [{"line": line, "reason": reason} for line, reason in told.bad]})
        return
    print_table("ends of services", tuple(counts), [tuple(counts.values())])
    print_lines([f"line {line}: {reason}" for line, reason in told.bad])


@service_verbs.command("withdraw")
def withdraw(
    context: typer.Context,
    ending: Annotated[str, typer.Argument(help="An id that `service list` shows as waiting.")],
    as_json: AsJson = False,
) -> None:
    """Take back an end of a service that a file told, while it waits (role operator)."""
    with door(context).writing() as vault:
        endings.withdraw(vault, door(context).person(vault), ending)
    if as_json:
        print_object({"ending_id": ending, "state": "withdrawn"})
    else:
        print_lines([f"withdrew the end of a service {ending}; nothing goes by it"])


@service_verbs.command("list")
def list_(context: typer.Context, as_json: AsJson = False) -> None:
    """List the ends of services, without names (role operator, administrator or auditor)."""
    vault = door(context).open()
    require_one_of(door(context).person(vault), _READERS, "listing the ends of services")
    rows = endings.listing(vault)
    if as_json:
        print_object({"endings": rows})
    else:
        zone = vault.policy.zone
        told = [
            (
                row["ending_id"],
                row["state"],
                wording.moment(row["ended_at"], zone),
                None if row["waits_until"] is None else wording.moment(row["waits_until"], zone),
                *map(", ".join, (row["done"], row["due"])),
            )
            for row in rows
        ]
        names = ("ending", "state", "ended at", "waits until", "removed", "to remove")
        print_table("ends of services", names, told)
