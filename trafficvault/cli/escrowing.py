"""Verbs of the escrow: escrow set, show, off, open."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trafficvault import escrow
from trafficvault.cli.door import AsJson, ask_secret, door
from trafficvault.cli.screen import print_lines, print_object
from trafficvault.durable import Disk

escrow_verbs = typer.Typer(no_args_is_help=True, help="The escrow: one sealed copy of the living epoch key.")


def add_to(app: typer.Typer) -> None:
    """Adds this module's verbs to `app`."""
    app.add_typer(escrow_verbs, name="escrow")


@escrow_verbs.callback()
def escrow_() -> None:
    """The escrow: one sealed copy of the living epoch key."""


@escrow_verbs.command("set")
def escrow_set(
    context: typer.Context,
    key: Annotated[Path, typer.Option("--key", help="An X25519 public key in PEM; its private half is elsewhere.")],
    to: Annotated[Path, typer.Option("--to", help="The directory of the copy, apart from vault and keys.")],
    as_json: AsJson = False,
) -> None:
    """Copy the living epoch key, sealed to a public key, now and at each renewal (role administrator)."""
    with door(context).writing() as vault:
        found = escrow.set_(vault, door(context).person(vault), key, to)
    if as_json:
        print_object({"key": found.key, "to": str(found.to)})
    else:
        print_lines([f"the epoch key is copied to {found.to}, sealed to {found.key[:16]}…"])


@escrow_verbs.command("show")
def escrow_show(context: typer.Context, as_json: AsJson = False) -> None:
    """Show the escrow and what is wrong with its copies."""
    vault = door(context).open()
    with vault.catalogue.reading() as tx:
        found = escrow.current(tx)
    problems = escrow.problems(vault)
    if as_json:
        told = None if found is None else {"key": found.key, "to": str(found.to)}
        print_object({"escrow": told, "problems": problems})
    elif found is None:
        print_lines(["no escrow is set"])
    else:
        print_lines([f"sealed to {found.key[:16]}…, in {found.to}", *(problems or ["one copy, of the living key"])])


@escrow_verbs.command("off")
def escrow_off(
    context: typer.Context,
    forget: Annotated[
        bool, typer.Option("--forget", help="Also where a copy is out of reach; it is told once.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Remove the escrow's copy and make no more (role administrator)."""
    with door(context).writing() as vault:
        forgotten = [str(place) for place in escrow.end(vault, door(context).person(vault), forget=forget)]
    if as_json:
        print_object({"escrow": None, "forgotten": forgotten})
    else:
        told = [f"forgotten: the copy in {place}; see that it is destroyed" for place in forgotten]
        print_lines(["no escrow is set", *told])


@escrow_verbs.command("open")
def escrow_open(
    context: typer.Context,
    copy: Annotated[Path, typer.Argument(help="The escrow's copy.")],
    private_key: Annotated[Path, typer.Option("--private-key", help="The X25519 private key in PEM.")],
    as_json: AsJson = False,
) -> None:
    """Make a key directory from the escrow's copy; needs no vault. `restore` then puts the vault beside it."""
    layout = door(context).layout
    generation = escrow.open_(copy, private_key, layout, Disk(), ask_secret)
    if as_json:
        print_object({"keys": str(layout.keys), "generation": generation})
    else:
        print_lines([f"made {layout.keys} with the epoch key of generation {generation}; now restore the backup"])
