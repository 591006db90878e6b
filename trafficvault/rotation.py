"""Rotation: a new root key and a new epoch key, or another key provider, without a record being rewritten.

    next/ brought in → epoch g+1 by the new provider, ring g+1 → catalogue(g+1 + entry) → epoch g destroyed → the new
    provider's file takes its place, the old one's goes

It is a renewal of the ring in which no key dies, so a crash at any step is finished, or given up, by whoever opens the
vault to write next (`providers.settle`). The caller holds the writer's lock. Administrators alone may do it.
"""

from __future__ import annotations

from trafficvault import certificates, escrow, locks, provider_passphrase, providers, refusals, settings, signing
from trafficvault.errors import RefusedError
from trafficvault.people import Person, require_role
from trafficvault.provider import Ask
from trafficvault.provider_passphrase import DEFAULT_COST
from trafficvault.providers import Choice
from trafficvault.stretching import Cost
from trafficvault.vault import Vault


def rotate(vault: Vault, person: Person, ask: Ask, cost: Cost = DEFAULT_COST) -> int:
    """A new epoch key, and a new root key where the provider has one. Returns the new generation.

    A passphrase provider asks for the passphrase that is to open the new root key: another, or the same.
    """
    kind = providers.present(vault.layout.keys)
    with refusals.logged(vault, "keys-rotate", person.name, {}):
        require_role(person, "administrator")
    # A token has no root key: a new object is all there is to it.
    choice = None if kind == "pkcs11" else Choice(kind or "local", cost=cost)
    return _renewed(vault, "keys-rotate", person, choice, ask)


def move(vault: Vault, person: Person, choice: Choice, ask: Ask) -> int:
    """The epoch keys come to the provider `choice`; the old one's die. Returns the new generation."""
    detail = {"to": choice.kind}
    with refusals.logged(vault, "keys-move", person.name, detail):
        require_role(person, "administrator")
        if providers.present(vault.layout.keys) == choice.kind:
            raise RefusedError(f"moving the keys: {choice.kind} is the key provider already; `keys rotate` renews it")
        with vault.catalogue.reading() as tx:
            copied = escrow.current(tx)
        if copied is not None and choice.kind == "pkcs11":
            raise RefusedError("moving the keys: a token's keys have no escrow; end it first with `escrow off`")
    generation = _renewed(vault, "keys-move", person, choice, ask)
    text = vault.layout.settings.read_text(encoding="utf-8")
    # If we crash here, `doctor` says that the line is behind; the key directory is what counts.
    vault.disk.create(vault.layout.settings, settings.with_provider(text, choice.kind).encode())
    return generation


def change_passphrase(vault: Vault, person: Person, ask: Ask, cost: Cost = DEFAULT_COST) -> None:
    """Another passphrase opens the root key; nothing else changes."""
    with refusals.logged(vault, "keys-passphrase", person.name, {}):
        require_role(person, "administrator")
        if providers.present(vault.layout.keys) != "passphrase":
            raise RefusedError(
                "changing the passphrase: this vault's key provider has none; `keys rotate` chooses another"
            )
    with vault.catalogue.transaction() as tx:
        vault.audit.enter(tx, "keys-passphrase", person.name, {})
    vault.audit.flush()
    provider_passphrase.change(vault.layout, vault.disk, vault.settings.id, ask, cost)


def _renewed(vault: Vault, act: str, person: Person, choice: Choice | None, ask: Ask) -> int:
    layout, disk, keys = vault.layout, vault.disk, vault.keys
    with vault.catalogue.transaction() as tx:
        vault.audit.require_in_step(tx)
    before, copied = keys.provider.name, keys.copies

    def commit(generation: int) -> None:
        with vault.catalogue.transaction() as tx:
            tx.set_meta("generation", str(generation))
            if copied:
                # A copy of the key directory from before this moment opens what is deleted after it, for a while.
                tx.set_meta(certificates.COPIED, signing.instant(vault.clock.now()))
            detail = {"from": before, "to": keys.provider_name, "generation": generation}
            vault.audit.enter(tx, act, person.name, detail)

    if choice is not None:
        keys.hand_over(providers.bring_in(layout, disk, vault.settings.id, choice, ask, keys.provider))
    with locks.destroying(layout, vault.settings.lease_seconds):
        keys.renew((), commit)
        keys.hand_over(providers.settle(layout, disk, keys.provider, keys.generation))
    vault.audit.flush()
    return keys.generation
