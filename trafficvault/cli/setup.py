"""Verbs that set a vault up: init, policy, config, doctor, user, demo."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from trafficvault import app as house
from trafficvault import demo as demonstration
from trafficvault import doctor as examining
from trafficvault import people, witness
from trafficvault.cli.custody import Module, Token
from trafficvault.cli.door import LOCKED, AsJson, ask_secret, authenticate, door, new_password
from trafficvault.cli.screen import print_lines, print_object, print_table
from trafficvault.clock import SystemClock
from trafficvault.durable import Disk
from trafficvault.errors import FaultError, UsageError
from trafficvault.people import Person
from trafficvault.providers import Choice
from trafficvault.vault import Vault

policy_verbs = typer.Typer(no_args_is_help=True, help="The policy: what is kept, how long, and why.")
config_verbs = typer.Typer(no_args_is_help=True, help="The vault's settings, policy, sources and feeds.")
user_verbs = typer.Typer(no_args_is_help=True, help="People and their roles.")

PersonName = Annotated[str, typer.Argument(help="The person's name; `user list` shows them.")]
Second = Annotated[
    str | None,
    typer.Option("--with", help="The second administrator; password by prompt or TRAFFICVAULT_SECOND_PASSWORD."),
]


def add_to(app: typer.Typer) -> None:
    """Adds this module's verbs to `app`."""
    app.command("init")(init)
    app.add_typer(policy_verbs, name="policy")
    app.add_typer(config_verbs, name="config")
    app.command("doctor")(doctor)
    app.add_typer(user_verbs, name="user")
    app.command("demo")(demo)


def init(
    context: typer.Context,
    admin: Annotated[list[str], typer.Option(help="The name of an administrator; give it twice for two of them.")],
    policy: Annotated[str, typer.Option(help="A policy file, or a preset: telecom or hosting.")] = "telecom",
    key_provider: Annotated[str, typer.Option(help="Who holds the epoch keys: local, passphrase or pkcs11.")] = "local",
    module: Module = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Create a vault and its key directory."""
    choice = Choice(key_provider, module, token)
    if os.environ.get("TRAFFICVAULT_NEW_PASSWORD") and len(admin) > 1:
        raise UsageError("TRAFFICVAULT_NEW_PASSWORD serves one --admin; with two, each types a password")
    layout = door(context).layout
    house.require_absent(layout)
    admins = [(name, new_password(name)) for name in admin]
    vault = house.create(layout, policy, admins, Disk(), SystemClock(), choice=choice, ask=ask_secret)
    if as_json:
        print_object({"vault": str(layout.vault), "keys": str(layout.keys), "id": vault.settings.id, "admins": admin})
    else:
        print_lines([f"vault {vault.settings.id} in {layout.vault}, its keys in {layout.keys}: keep the two apart"])


@policy_verbs.command("show")
def policy_show(
    context: typer.Context,
    form: Annotated[str, typer.Option("--format", help="table, or markdown (Dutch and English).")] = "table",
    as_json: AsJson = False,
) -> None:
    """Print the policy: one row per sentence of the privacy statement."""
    policy = door(context).open().policy
    if as_json:
        rows = [
            {**row, "classes": list(entry.classes), "categories": list(entry.categories) if entry.classes else []}
            for entry, row in zip(policy.table, policy.as_dicts(), strict=True)
        ]
        print_object({"entries": rows})
    elif form == "markdown":
        print_lines([policy.markdown()])
    elif form == "table":
        told = policy.as_dicts()
        print_table("policy", tuple(told[0]) if told else ("entry",), [tuple(row.values()) for row in told])
    else:
        raise UsageError(f"--format is table or markdown, not {form}")


@config_verbs.command("check")
def config_check(context: typer.Context, as_json: AsJson = False) -> None:
    """Check settings, policy, sources and feeds; unknown keys are refused (exit code 2)."""
    faults = house.config_faults(door(context).layout)
    if as_json:
        print_object({"faults": faults})
    else:
        print_lines(faults or ["settings, policy, sources and feeds are in order"])
    if faults:
        raise UsageError(f"checking the configuration: {len(faults)} faults")


@config_verbs.callback()
def config() -> None:
    """The vault's settings, policy, sources and feeds."""


@policy_verbs.callback()
def policy_() -> None:
    """The policy: what is kept, how long, and why."""


def doctor(context: typer.Context, as_json: AsJson = False) -> None:
    """Examine the machine: clock, key directory, permissions, space, swap, core dumps, versions (exit code 5 on a
    failure); under a locked vault, too.
    """
    layout = door(context).layout
    known, rules = house.stated(layout)
    findings = examining.examine(layout, rules.min_free, stated=known.key_provider)
    vault = door(context).open_unasked()
    if vault is None:
        findings.append(examining.locked(LOCKED))
    else:
        findings += [examining.Finding(*found) for found in witness.findings(vault)]
    if as_json:
        print_object(
            {"checks": [{"check": item.check, "state": item.state, "sentence": item.sentence} for item in findings]}
        )
    else:
        print_table(
            "doctor",
            ("check", "state", "what was found"),
            [(item.check, item.state, item.sentence) for item in findings],
        )
    failed = [item for item in findings if item.state == "fail"]
    if failed:
        raise FaultError(f"examining the machine: {len(failed)} checks failed")


@user_verbs.command("add")
def user_add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The new person's name.")],
    role: Annotated[list[str], typer.Option(help="officer, approver, operator, auditor or administrator.")],
    with_: Second = None,
    as_json: AsJson = False,
) -> None:
    """Add a person (role administrator; officer and approver take both administrators where there are two)."""
    vault = door(context).open()
    acting = _acting(context, vault, with_)
    house.add_person(vault, name, tuple(role), new_password(name), acting)
    if as_json:
        print_object({"name": name, "roles": sorted(role)})
    else:
        print_lines([f"added {name} as {', '.join(sorted(role))}"])


@user_verbs.command("disable")
def user_disable(context: typer.Context, name: PersonName, with_: Second = None, as_json: AsJson = False) -> None:
    """Take from a person the right to act, for good (role administrator; of an administrator by two)."""
    vault = door(context).open()
    house.disable_person(vault, name, _acting(context, vault, with_))
    _print_person(name, "disabled", as_json)


@user_verbs.command("confirm")
def user_confirm(context: typer.Context, name: PersonName, with_: Second = None, as_json: AsJson = False) -> None:
    """Let a person act again who was suspended when the vault was put back (role administrator; as for `add`)."""
    vault = door(context).open()
    house.confirm_person(vault, name, _acting(context, vault, with_))
    _print_person(name, "enabled", as_json)


def _acting(context: typer.Context, vault: Vault, second: str | None) -> tuple[Person, ...]:
    """The acting person, and the second administrator where one is named."""
    first = door(context).person(vault)
    return (first,) if second is None else (first, authenticate(vault, second, "TRAFFICVAULT_SECOND_PASSWORD"))


def _print_person(name: str, state: str, as_json: bool) -> None:
    if as_json:
        print_object({"name": name, "state": state})
    else:
        print_lines([f"{name} is {state}"])


@user_verbs.command("list")
def user_list(context: typer.Context, as_json: AsJson = False) -> None:
    """List people and their roles."""
    vault = door(context).open()
    with vault.catalogue.reading() as tx:
        found, waiting = people.listing(tx), people.suspended(tx)
    states = {item.name: "disabled" if item.disabled else "enabled" for item in found}
    states |= dict.fromkeys(waiting, "suspended")
    if as_json:
        rows = [
            {"name": item.name, "roles": sorted(item.roles), "disabled": item.disabled, "state": states[item.name]}
            for item in found
        ]
        print_object({"users": rows})
    else:
        columns = ("name", "roles", "state")
        print_table("people", columns, [(one.name, ", ".join(sorted(one.roles)), states[one.name]) for one in found])


def demo(
    directory: Annotated[
        Path, typer.Option("--directory", help="Where to build the demonstration; must not exist.")
    ] = Path("demo-vault"),
    files: Annotated[
        Path | None,
        typer.Option(help="Only write the files there, dated as if today were their day; must not exist."),
    ] = None,
) -> None:
    """Show the whole life of a record on bundled files with invented data."""
    if files is None:
        demonstration.run(directory)
    else:
        number, today = demonstration.write_files(files, SystemClock())
        print_lines([f"{number} files in {files}, of the six months to {today}"])
