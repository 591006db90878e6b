"""The composition root: builds a `Vault` from its parts, once, and hands it to the acts. Opening never creates.

`create` lays a new vault down in an order that a crash can't leave half usable: keys and catalogue first, `vault.toml`
last; without it there is no vault, and `init` can be run again after the directories were removed.
"""

from __future__ import annotations

import secrets
from datetime import datetime
from pathlib import Path

from trafficvault import audit as audit_log
from trafficvault import (
    escrow,
    people,
    policies,
    policy_file,
    providers,
    refusals,
    reserve,
    row_keys,
    settings,
    signing,
    sources,
)
from trafficvault.audit import AuditLog
from trafficvault.catalogue import Catalogue, Transaction
from trafficvault.clock import Clock
from trafficvault.coverage import PersonKey
from trafficvault.durable import Disk
from trafficvault.errors import FaultError, RefusedError, UsageError
from trafficvault.keys import KeyStore
from trafficvault.layout import Layout
from trafficvault.people import DEFAULT_COST, Person
from trafficvault.policies import Ruling
from trafficvault.policy import Policy
from trafficvault.provider import Ask, KeyProvider, from_environment
from trafficvault.settings import Settings
from trafficvault.shelf import FeedShelf
from trafficvault.stretching import Cost
from trafficvault.vault import Vault

_POLICY = "policy"
"""The `meta` row with the digest of the policy that the last writer went by."""


def require_absent(layout: Layout) -> None:
    """Raises `RefusedError` when a vault or a key directory stands there already."""
    for path in (layout.vault, layout.keys):
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise RefusedError(
                f"creating a vault: {path} is there and is no empty directory; name another directory, or remove it"
            )


def create(
    layout: Layout,
    policy_name: str,
    admins: list[tuple[str, str]],
    disk: Disk,
    clock: Clock,
    cost: Cost = DEFAULT_COST,
    *,
    choice: providers.Choice = providers.LOCAL,
    ask: Ask = from_environment,
) -> Vault:
    """Creates a vault with `admins` (name, password) and opens it. `policy_name` is a preset or a policy file; `ask`
    gives the key provider its secret.
    """
    require_absent(layout)
    text = policy_file.preset_text(policy_name) if policy_name in policy_file.PRESETS else _text_of(Path(policy_name))
    rules = policy_file.parse(text)
    for directory in (
        layout.vault,
        layout.keys,
        layout.feeds,
        layout.records,
        layout.rejections,
        layout.held,
        layout.raw,
        layout.audit,
    ):
        disk.make_directory(directory)
    vault_id = secrets.token_hex(16)
    provider = providers.create(layout, disk, vault_id, choice, ask)
    keys = KeyStore.create(layout, disk, provider, vault_id)
    mac_key = keys.custody("catalogue").key("catalogue")
    Catalogue.create(layout.catalogue, mac_key, disk, generation=keys.generation).close()
    disk.create(layout.policy, text.encode())
    disk.create(layout.sources, sources.TEMPLATE.encode())
    marks = settings.new_text(vault_id, signing.public_key_of(keys.signing_key()), choice.kind)
    catalogue = Catalogue.open(layout.catalogue, mac_key, disk)
    audit = AuditLog(layout, disk, catalogue, keys, settings.parse(marks), rules, clock, makes_keys=True)
    audit.prepare()
    with catalogue.transaction() as tx:
        for name, password in admins:
            people.create_person(tx, name, ("administrator",), password, added_by=None, at=clock.now(), cost=cost)
        tx.set_meta(_POLICY, rules.digest)
        policies.enter(tx, text, clock.now())
        audit.enter(tx, "init", None, {"administrators": len(admins), "policy": rules.digest})
    audit.flush()
    catalogue.close()
    # The commit point of `init`: without vault.toml there is no vault, and what lies there can be removed.
    disk.create(layout.settings, marks.encode())
    vault = _opened(layout, disk, clock, provider, writer=True)
    row_keys.stock(vault)
    reserve.take(layout, disk)
    return vault


def require_vault(layout: Layout) -> None:
    """Raises `UsageError` when there is no vault at `layout`."""
    if not layout.settings.is_file():
        raise UsageError(
            f"opening the vault at {layout.vault}: there is none",
            hint="name it with --vault DIR, or make one with `init`",
        )


def stated(layout: Layout) -> tuple[Settings, Policy]:
    """What vault.toml and policy.toml say, for who has no keys. Raises `UsageError` when there is no vault, or they are
    not in order.
    """
    require_vault(layout)
    return settings.parse(_text_of(layout.settings)), policy_file.parse(_text_of(layout.policy))


def open_vault(layout: Layout, disk: Disk, clock: Clock, *, writer: bool = False, ask: Ask = from_environment) -> Vault:
    """Opens the vault at `layout`; `writer` is for the holder of the writer's lock, who finishes what a crash cut
    short.

    Raises `UsageError` when there is none or its configuration is not in order, `LockedError` when the key provider
    takes a secret and `ask` gives none, `FaultError` when keys and catalogue are not of one moment.
    """
    require_vault(layout)
    vault_id = settings.parse(_text_of(layout.settings)).id
    return _opened(layout, disk, clock, providers.open_(layout, disk, vault_id, ask), writer=writer)


def _opened(layout: Layout, disk: Disk, clock: Clock, provider: KeyProvider, *, writer: bool) -> Vault:
    known = settings.parse(_text_of(layout.settings))
    written = policy_file.parse(_text_of(layout.policy))
    keys = KeyStore.open(
        layout,
        disk,
        provider,
        known.id,
        catalogue_generation=Catalogue.peek_generation(layout.catalogue),
        writer=writer,
    )
    if writer:
        keys.hand_over(providers.settle(layout, disk, provider, keys.generation))
    if signing.public_key_of(keys.signing_key()) != known.public_key:
        raise FaultError("opening the vault: the public key in vault.toml is not that of the vault's signing key")
    catalogue = Catalogue.open(layout.catalogue, keys.custody("catalogue").key("catalogue"), disk)

    def directory(name: str) -> PersonKey | None:
        with catalogue.reading() as tx:
            return people.directory(tx)(name)

    keys.attach_directory(directory)
    with catalogue.reading() as tx:
        ruled = _ruled(tx, written, clock.now())
    rules = ruled.policy
    feeds = FeedShelf(layout.feeds, rules.zone, rules.region)
    named = sources.parse(_text_of(layout.sources), feeds, rules)
    audit = AuditLog(layout, disk, catalogue, keys, known, rules, clock, makes_keys=writer)
    vault = Vault(layout, known, rules, feeds, named, disk, clock, catalogue, keys, audit, ruled.shortens, ruled.waits)
    keys.attach_escrow(lambda: escrow.refresh(vault))
    if writer:
        _note_policy(vault, ruled)
        escrow.refresh(vault)
    return vault


def _ruled(tx: Transaction, written: Policy, now: datetime) -> Ruling:
    """What rules at `now`, where policy.toml holds `written`.

    While the clock isn't believed no version is entered: what had lapsed before it would be counted up to that moment.
    """
    known, trusted = policies.versions(tx), audit_log.trusted_time(tx)
    found, current = policies.ruling(known, written, now), policies.in_force(known, now)
    if not found.is_new or current is None:
        return found
    if audit_log.judge_clock(trusted, now, found.policy.max_clock_step.delta()) is None:
        return found
    return Ruling(policies.with_lapses(current.policy, known, now), waits=True)


def _note_policy(vault: Vault, ruled: Ruling) -> None:
    """A version, and an entry, when policy.toml is another than the last writer's and shortens nothing: what was kept
    and why is in the log, whoever edits it.
    """
    vault.audit.prepare()
    with vault.catalogue.transaction() as tx:
        vault.audit.require_in_step(tx)
        if ruled.is_new:
            entered = policies.enter(tx, _text_of(vault.layout.policy), vault.clock.now())
            before, after = tx.meta(_POLICY), entered.policy.digest
            if before != after:
                tx.set_meta(_POLICY, after)
                told = {"before": before, "after": after, "version": entered.number}
                vault.audit.enter(tx, "policy-changed", None, told | {"effect": signing.instant(entered.effect)})
    vault.audit.flush()


def add_person(
    vault: Vault,
    name: str,
    roles: tuple[str, ...],
    password: str,
    acting: tuple[Person, ...],
    cost: Cost = DEFAULT_COST,
) -> None:
    """Adds a person by one administrator, or by both where the role takes both."""
    with refusals.logged(vault, "user-add", acting[0].name, {"name": name}), vault.catalogue.transaction() as tx:
        people.create_person(tx, name, roles, password, added_by=acting, at=vault.clock.now(), cost=cost)
        vault.audit.enter(
            tx, "user-add", acting[0].name, {"name": name, "roles": sorted(roles), "by": [item.name for item in acting]}
        )
    vault.audit.flush()


def disable_person(vault: Vault, name: str, acting: tuple[Person, ...]) -> None:
    """Takes from `name` the right to act, for good; of an administrator by two."""
    with refusals.logged(vault, "user-disable", acting[0].name, {"name": name}), vault.catalogue.transaction() as tx:
        people.disable(tx, name, acting)
        vault.audit.enter(tx, "user-disable", acting[0].name, {"name": name, "by": [item.name for item in acting]})
    vault.audit.flush()


def confirm_person(vault: Vault, name: str, acting: tuple[Person, ...]) -> None:
    """Lets `name`, who was suspended when the vault was put back, act again; by whom adding such a person takes."""
    with refusals.logged(vault, "user-confirm", acting[0].name, {"name": name}), vault.catalogue.transaction() as tx:
        people.confirm(tx, name, acting)
        vault.audit.enter(tx, "user-confirm", acting[0].name, {"name": name, "by": [item.name for item in acting]})
    vault.audit.flush()


def config_faults(layout: Layout) -> list[str]:
    """Every fault of settings, policy, sources and feeds, as sentences."""
    faults = settings.faults(_text_of(layout.settings))
    text = _text_of(layout.policy)
    problems = policy_file.faults(text)
    faults += problems
    if not problems:
        rules = policy_file.parse(text)
        feeds = FeedShelf(layout.feeds, rules.zone, rules.region)
        unloadable = feeds.faults()
        # A source is judged against its feed, so feeds come first.
        faults += unloadable or sources.faults(_text_of(layout.sources), feeds, rules)
    return faults


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as problem:
        raise UsageError(f"reading {path.name}: {problem.strerror}") from problem
    except UnicodeDecodeError as problem:
        raise UsageError(f"reading {path.name}: it is not UTF-8 text at byte {problem.start}") from problem
