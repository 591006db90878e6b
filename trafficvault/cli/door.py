"""The door of the command line: which vault, which person, and the options that every verb shares."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from trafficvault import app as house
from trafficvault import locks, people, reserve
from trafficvault.catalogue import Transaction
from trafficvault.clock import SystemClock
from trafficvault.durable import Disk
from trafficvault.errors import RefusedError, UsageError
from trafficvault.layout import Layout
from trafficvault.people import Person
from trafficvault.provider import Ask, LockedError, from_environment
from trafficvault.vault import Vault

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]

LOCKED = "the environment has no secret for its key provider (TRAFFICVAULT_PASSPHRASE or TRAFFICVAULT_PIN)"
"""Why a verb that asks nobody has no keys."""


@dataclass(frozen=True, slots=True)
class Door:
    """What stands before the verb."""

    layout: Layout
    user: str | None

    def open(self, ask: Ask | None = None) -> Vault:
        """The vault, opened to look at it or to disclose; `ask` asks for the key provider's secret, else `ask_secret`.
        Raises `UsageError` when there is none.
        """
        house.require_vault(self.layout)
        # Under a lease, so that no renewal of the keys happens between reading the catalogue and opening the ring.
        with locks.reading(self.layout):
            return house.open_vault(self.layout, Disk(), SystemClock(), ask=ask or ask_secret)

    def open_unasked(self) -> Vault | None:
        """The vault, for a verb that can do without its keys: nobody is asked for the key provider's secret. None where
        that takes one and the environment has none.
        """
        try:
            return self.open(from_environment)
        except LockedError:
            return None

    @contextmanager
    def writing(self, *, on_reserve: bool = False, wait: float = 0.0) -> Iterator[Vault]:
        """The vault, opened under the writer's lock, `on_reserve` if need be. Raises `BusyError` when another process
        keeps it for `wait` seconds.
        """
        house.require_vault(self.layout)
        with locks.writing(self.layout, wait):
            if on_reserve:
                # Before anything is opened: on a full disk the catalogue itself needs room.
                reserve.release(self.layout, Disk())
            yield house.open_vault(self.layout, Disk(), SystemClock(), writer=True, ask=ask_secret)

    def person(self, vault: Vault) -> Person:
        """The acting person, by `--user` and a password."""
        if self.user is None:
            raise UsageError("this act needs a person: name yourself with --user NAME before the verb")
        return authenticate(vault, self.user, "TRAFFICVAULT_PASSWORD")

    def person_in(self, tx: Transaction) -> Person:
        """The acting person, where there is a catalogue and no vault yet."""
        if self.user is None:
            raise UsageError("this act needs a person: name yourself with --user NAME before the verb")
        return sign_in(tx, self.user, "TRAFFICVAULT_PASSWORD")


def door(context: typer.Context) -> Door:
    """The door that the callback of the command line put into `context`."""
    found: Door = context.obj
    return found


def layout_of(vault: Path, keys: Path | None) -> Layout:
    """The paths of a vault; the key directory is beside it unless it is named."""
    return Layout(vault, keys if keys is not None else vault.with_name(f"{vault.name}.keys"))


def sign_in(tx: Transaction, name: str, variable: str) -> Person:
    """Signs `name` in with the password of environment `variable`, or asks for it."""
    return people.authenticate(tx, name, os.environ.get(variable) or _typed(f"password of {name}", variable))


def authenticate(vault: Vault, name: str, variable: str) -> Person:
    """Signs `name` in with the password of environment `variable`, or asks for it. A failed attempt is in the audit
    log.
    """
    password = os.environ.get(variable) or _typed(f"password of {name}", variable)
    try:
        with vault.catalogue.reading() as tx:
            return people.authenticate(tx, name, password)
    except RefusedError:
        with vault.catalogue.transaction() as tx:
            # A name that is nobody's may be a password that was typed in the wrong place.
            known = tx.get("people", name=name) is not None
            vault.audit.enter(tx, "sign-in-refused", None, {"name": name if known else "unknown"})
        vault.audit.flush()
        raise


def new_password(name: str) -> str:
    """The password of a new person, from `TRAFFICVAULT_NEW_PASSWORD` or asked for twice.

    A typed one that is shorter than `SHORTEST_TYPED` is refused. One from the environment is the operator's own tool's
    choice: it is taken, with a warning.
    """
    variable = "TRAFFICVAULT_NEW_PASSWORD"
    given = os.environ.get(variable)
    password = given or _typed(f"new password of {name}", variable, twice=True)
    if len(password) < people.SHORTEST_TYPED:
        told = f"it has fewer than {people.SHORTEST_TYPED} signs"
        if not given:
            raise UsageError(f"setting the password of {name}: {told}; choose a longer one")
        print(f"warning: the password in {variable} is weak: {told}", file=sys.stderr)
    return password


def ask_secret(what: str, variable: str, *, twice: bool = False) -> str:
    """The key provider's secret: from environment `variable`, or typed. Raises `LockedError` without a terminal."""
    if os.environ.get(variable) or not sys.stdin.isatty():
        return from_environment(what, variable, twice=twice)
    return _typed(what, variable, twice=twice)


def _typed(what: str, variable: str, *, twice: bool = False) -> str:
    """What a person types, unseen. Raises `UsageError` when nobody does: a broken-off prompt is no internal error."""
    try:
        return str(typer.prompt(what, hide_input=True, confirmation_prompt=twice, err=True))
    except typer.Abort:
        raise UsageError(f"asking for the {what}: none was typed", hint=f"without a terminal, set {variable}") from None
