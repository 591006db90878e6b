"""Verbs that keep keys and copies: keys show, rotate, move, passphrase; backup, restore."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from trafficvault import app as house
from trafficvault import backup as backups
from trafficvault import providers, rotation, wording
from trafficvault import restore as restoring
from trafficvault.catalogue import Catalogue, Transaction
from trafficvault.cli.door import LOCKED, AsJson, ask_secret, door, sign_in
from trafficvault.cli.screen import print_lines, print_object, print_table, progress
from trafficvault.clock import SystemClock
from trafficvault.durable import Disk
from trafficvault.errors import FaultError
from trafficvault.layout import is_hold_key
from trafficvault.people import Person
from trafficvault.providers import Choice

keys_verbs = typer.Typer(no_args_is_help=True, help="The key provider: who holds the epoch keys.")

Module = Annotated[Path | None, typer.Option("--module", help="With pkcs11: the token's PKCS#11 library (.so).")]
Token = Annotated[str | None, typer.Option("--token", help="With pkcs11: the token's label.")]


def add_to(app: typer.Typer) -> None:
    """Adds this module's verbs to `app`."""
    app.add_typer(keys_verbs, name="keys")
    app.command("backup")(backup)
    app.command("restore")(restore)


@keys_verbs.callback()
def keys() -> None:
    """The key provider: who holds the epoch keys."""


@keys_verbs.command("show")
def keys_show(context: typer.Context, as_json: AsJson = False) -> None:
    """Show the key provider, its generation, and whether copies of its keys can exist; of a locked vault, too."""
    vault, layout = door(context).open_unasked(), door(context).layout
    facts: dict[str, object] = {
        "key_provider": providers.present(layout.keys),
        "name": None if vault is None else vault.keys.provider_name,
        "generation": Catalogue.peek_generation(layout.catalogue) if vault is None else vault.keys.generation,
        # Those of holds are not counted: how many there are is nobody's business here.
        "keys": None if vault is None else sum(1 for name in vault.keys.key_ids() if not is_hold_key(name)),
        "copies_can_exist": providers.copies(layout) if vault is None else vault.keys.copies,
        "locked": vault is None,
    }
    if as_json:
        print_object(facts)
        return
    print_table("keys", ("what", "value"), [(name, value) for name, value in facts.items() if value is not None])
    if vault is None:
        print_lines([f"the vault is locked: {LOCKED}; how many keys there are, and whether they open, is not told"])


@keys_verbs.command("rotate")
def keys_rotate(context: typer.Context, as_json: AsJson = False) -> None:
    """Make a new root and epoch key, and destroy the old ones (role administrator); no record is rewritten."""
    with door(context).writing() as vault:
        generation = rotation.rotate(vault, door(context).person(vault), ask_secret)
    _print_generation(generation, as_json)


@keys_verbs.command("move")
def keys_move(
    context: typer.Context,
    to: Annotated[str, typer.Option("--to", help="local, passphrase or pkcs11.")],
    module: Module = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Let another key provider hold the epoch keys, and destroy the old one's (role administrator)."""
    choice = Choice(to, module, token)
    with door(context).writing() as vault:
        generation = rotation.move(vault, door(context).person(vault), choice, ask_secret)
    _print_generation(generation, as_json)


@keys_verbs.command("passphrase")
def keys_passphrase(context: typer.Context, as_json: AsJson = False) -> None:
    """Change the passphrase that opens the root key (role administrator)."""
    with door(context).writing() as vault:
        rotation.change_passphrase(vault, door(context).person(vault), ask_secret)
    if as_json:
        print_object({"changed": True})
    else:
        print_lines(["changed; an older copy of root.sealed opens with the old one until `keys rotate`"])


def _print_generation(generation: int, as_json: bool) -> None:
    if as_json:
        print_object({"generation": generation})
    else:
        print_lines([f"the keys are of generation {generation}; the epoch key before is destroyed"])


def backup(
    context: typer.Context,
    directory: Annotated[Path, typer.Argument(help="The backup's own directory; what is there already is kept.")],
    check: Annotated[
        bool, typer.Option("--check", help="Copy nothing; compare every file with the manifest (exit 5 on a fault).")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring a backup of the vault to this moment: everything but epoch keys, and only what is new is copied."""
    if check:
        _check_backup(context, directory, as_json)
        return
    layout = door(context).layout
    house.require_vault(layout)
    with progress("backup") as step:
        ahead = backups.copy_ahead(layout, directory, Disk(), step)
        with door(context).writing() as vault:
            done = backups.backup(vault, directory, step)
    copied = ahead + done.copied
    facts = {"backup": done.digest, "taken_at": done.manifest["taken_at"], "files": len(done.manifest["files"])}
    if as_json:
        print_object({**facts, "copied": copied})
    else:
        taken = wording.moment(done.manifest["taken_at"], vault.policy.zone)
        print_lines([f"backup of {taken}: {facts['files']} files, {copied} of them copied now"])


def _check_backup(context: typer.Context, directory: Path, as_json: bool) -> None:
    found = backups.faults(directory, door(context).open().settings.public_key)
    if as_json:
        print_object({"faults": found})
    else:
        print_lines(found or ["signature, sizes and digests agree"])
    if found:
        raise FaultError(f"checking the backup: {len(found)} faults")


def restore(
    context: typer.Context,
    directory: Annotated[Path, typer.Argument(help="The backup's directory.")],
    accept_older: Annotated[
        bool,
        typer.Option("--accept-older", help="Administrators accept a backup older than the keys (needs --user)."),
    ] = False,
    with_: Annotated[
        str | None,
        typer.Option("--with", help="The second administrator; password by prompt or TRAFFICVAULT_SECOND_PASSWORD."),
    ] = None,
    log: Annotated[
        Path | None,
        typer.Option(
            "--log", help="The audit directory of the lost vault, where it survived: what was done since is taken over."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Put a vault back from a backup, beside its key directory; what had expired expires again."""
    layout = door(context).layout

    def accept(tx: Transaction) -> tuple[Person, ...]:
        persons = [door(context).person_in(tx)]
        if with_ is not None:
            persons.append(sign_in(tx, with_, "TRAFFICVAULT_SECOND_PASSWORD"))
        return tuple(persons)

    accepted = accept if accept_older else None
    told = restoring.restore(directory, layout, Disk(), SystemClock(), ask_secret, accepted, log)
    if as_json:
        # Whose hold it was is for who may see holds: the audit log and `hold list` tell it.
        print_object({**asdict(told), "holds_lost": bool(told.holds_lost)})
    else:
        print_lines(told.sentences())
