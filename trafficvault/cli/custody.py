"""Verbs that keep the keys: keys show, rotate, move, passphrase."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trafficvault import providers, rotation
from trafficvault.cli.door import AsJson, ask_secret, door
from trafficvault.cli.screen import print_lines, print_object, print_table
from trafficvault.providers import Choice

keys_verbs = typer.Typer(no_args_is_help=True, help="The key provider: who holds the epoch keys.")

Module = Annotated[Path | None, typer.Option("--module", help="With pkcs11: the token's PKCS#11 library (.so).")]
Token = Annotated[str | None, typer.Option("--token", help="With pkcs11: the token's label.")]


def add_to(app: typer.Typer) -> None:
    """Adds this module's verbs to `app`."""
    app.add_typer(keys_verbs, name="keys")


@keys_verbs.callback()
def keys() -> None:
    """The key provider: who holds the epoch keys."""


@keys_verbs.command("show")
def keys_show(context: typer.Context, as_json: AsJson = False) -> None:
    """Show the key provider, its generation, and whether copies of its keys can exist."""
    vault = door(context).open()
    facts: dict[str, object] = {
        "key_provider": providers.present(vault.layout.keys),
        "name": vault.keys.provider_name,
        "generation": vault.keys.generation,
        "keys": len(vault.keys.key_ids()),
        "copies_can_exist": vault.keys.copies,
    }
    if as_json:
        print_object(facts)
    else:
        print_table("keys", ("what", "value"), list(facts.items()))


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
