"""Restore: a vault directory put back from a backup, beside the keys of today.

    every file copied and compared with the signed manifest → the catalogue brought to the keys' generation, what it
    believes to live and whose keys have died marked as expiring, an entry → vault.toml, which makes it a vault

A restored vault expires again what had expired: its keys are gone, so the next `expire` drops the files and certifies
them. Nothing that lives is destroyed here. A catalogue older than the keys, or than their memory of the audit log, is
taken only when administrators say so (`accept`): all that was done since it was made is unknown to it. A run that was
cut short is begun again and goes on; the directory must hold nothing else.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from trafficvault import backup as backups
from trafficvault import expire, people, policy, providers, settings, signing
from trafficvault.audit import HEAD, AuditLog
from trafficvault.backup import Backup
from trafficvault.catalogue import GENERATION, Catalogue, Transaction
from trafficvault.chain import Head
from trafficvault.clock import Clock
from trafficvault.durable import Disk
from trafficvault.errors import FaultError, RefusedError
from trafficvault.keys import KeyStore
from trafficvault.layout import LEFTOVERS, Layout
from trafficvault.memory import Memory, rolled_back
from trafficvault.people import Person
from trafficvault.provider import Ask, KeyProvider
from trafficvault.ring import ring_generations

Accept = Callable[[Transaction], tuple[Person, ...]]
"""Signs in, against the restored catalogue, the administrators who accept that it is older than the keys."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What was put back: the moment of the backup, the generations of its catalogue and of the keys, how many later
    entries of the audit log the keys remember, what expires again, and how many keys are of days it does not know.
    """

    taken_at: str
    catalogue_generation: int
    generation: int
    lost_entries: int
    expiring: tuple[str, ...]
    unknown_keys: int


def restore(source: Path, layout: Layout, disk: Disk, clock: Clock, ask: Ask, accept: Accept | None = None) -> Restored:
    """Puts the newest state in `source` back at `layout`, whose key directory is there already.

    Raises `UsageError` without a whole backup, `RefusedError` when a vault stands there, or the catalogue is older than
    the keys and nobody accepts it, `FaultError` for a backup that was changed or keys that are not its own.
    """
    state = backups.newest(source)
    marks = _marks(state)
    known = settings.parse(marks)
    stored = json.loads((state.directory / backups.MANIFEST).read_bytes())
    signing.require_signature(
        known.public_key, stored["signature"], signing.canonical(stored["manifest"]), "the backup"
    )
    marks = "".join(line for line in marks.splitlines(keepends=True) if not line.startswith(_MARK))
    marks = f"{marks.rstrip()}\n{_MARK}{state.digest}\n"
    _require_room(layout, marks)
    # Before any file is copied: without keys nothing must lie in the way of the next, right run.
    provider = providers.open_(layout, disk, known.id, ask)
    # A run that is cut short is known by this file; renamed, it makes the vault.
    disk.make_directory(layout.vault)
    disk.create(_pending(layout), marks.encode())
    _put_files(state, layout, disk)
    keys = _keys(state, layout, disk, provider, known.id)
    if signing.public_key_of(keys.signing_key()) != known.public_key:
        raise FaultError("restoring: the keys are not those of this backup's vault; name the right ones with --keys")
    catalogue = Catalogue.open(layout.catalogue, keys.custody("catalogue").key("catalogue"), disk)
    try:
        told = _reconcile(state, layout, disk, clock, catalogue, keys, known, accept)
    finally:
        catalogue.close()
    disk.move(_pending(layout), layout.settings)
    return told


def _reconcile(
    state: Backup,
    layout: Layout,
    disk: Disk,
    clock: Clock,
    catalogue: Catalogue,
    keys: KeyStore,
    known: settings.Settings,
    accept: Accept | None,
) -> Restored:
    memory = Memory(layout, disk, known.id, lambda: keys.custody("audit").key("audit"))
    remembered = memory.recall()
    with catalogue.reading() as tx:
        generation = int(tx.meta(GENERATION) or 0)
        end = Head(**json.loads(tx.meta(HEAD) or "{}"))
        behind = None if remembered is None else rolled_back(remembered, end, None)
        again = tx.meta(_RESTORED) == state.digest
    lost = 0 if remembered is None else max(0, remembered.seq - end.seq)
    if again:
        # The transaction below was committed by a run that was cut short after it.
        return Restored(state.manifest["taken_at"], generation, keys.generation, lost, (), 0)
    persons: tuple[Person, ...] = ()
    if generation != keys.generation or behind is not None:
        persons = _accepted(catalogue, accept, generation, keys.generation, lost)
        if behind is not None:
            # The keys' memory names entries that are lost; the entry below says how far it went.
            disk.remove(layout.head)
    rules = policy.parse(layout.policy.read_text(encoding="utf-8"))
    audit = AuditLog(layout, disk, catalogue, keys, known, rules, clock)
    held = keys.key_ids()
    with catalogue.transaction() as tx:
        tx.set_meta(GENERATION, str(keys.generation))
        expiring = expire.reconcile(tx, held, keys.generation)
        unknown = len(expire.ownerless(tx, held))
        tx.set_meta(_RESTORED, state.digest)
        detail = {
            "backup": state.digest,
            "taken_at": state.manifest["taken_at"],
            "generation": [generation, keys.generation],
            "remembered": None if remembered is None else {"seq": remembered.seq, "hash": remembered.hash},
            "expiring": expiring,
            "by": [person.name for person in persons],
        }
        audit.enter(tx, "restore", persons[0].name if persons else None, detail)
    audit.flush()
    return Restored(state.manifest["taken_at"], generation, keys.generation, lost, tuple(expiring), unknown)


_MARK = "# put back from the backup "
"""Starts the line that `restore` adds to vault.toml: a run that was cut short goes on with the same backup only."""
_RESTORED = "restored"
"""The `meta` row with the digest of the backup that this vault was last restored from."""


def _accepted(catalogue: Catalogue, accept: Accept | None, generation: int, ours: int, lost: int) -> tuple[Person, ...]:
    told = (
        f"restoring: the catalogue is older than the keys: it is of generation {generation}, the keys of {ours}, which "
        f"remember {lost} later entries of the audit log; what was done since is lost"
    )
    if accept is None:
        raise RefusedError(
            f"{told}; nothing was destroyed", hint="restore the newest backup; if none is newer, add --accept-older"
        )
    with catalogue.reading() as tx:
        persons = accept(tx)
        listed = {item.name for item in people.listing(tx) if "administrator" in item.roles and not item.disabled}
    acting = {person.name for person in persons} & listed
    if len(acting) < min(2, len(listed)):
        raise RefusedError(f"{told}; accepting that takes {min(2, len(listed))} administrators")
    return persons


def _keys(state: Backup, layout: Layout, disk: Disk, provider: KeyProvider, vault_id: str) -> KeyStore:
    """The newest ring that opens. Raises `FaultError` when the keys are older than the catalogue, or none opens."""
    whole = provider.generations() & ring_generations(layout)
    catalogue = state.manifest["generation"]
    if not whole and catalogue in provider.generations():
        # The key directory was lost and came back from escrow or token; the ring was in the backup.
        disk.create(layout.ring(catalogue), (state.directory / f"ring-{catalogue}").read_bytes())
        whole = frozenset({catalogue})
    newest = max(whole, default=0)
    if newest < catalogue:
        raise FaultError(
            f"restoring: the backup is of generation {catalogue} and the newest whole keys of {newest}: an old key "
            f"directory; nothing was destroyed; put back the right one"
        )
    return KeyStore.open(layout, disk, provider, vault_id, catalogue_generation=newest, writer=False)


def _put_files(state: Backup, layout: Layout, disk: Disk) -> None:
    for name, entry in sorted(state.manifest["files"].items()):
        inside = name.partition("/")[2]
        if inside == layout.settings.name or inside.startswith("ring-"):
            continue
        source, target = backups.place_of(state, name), layout.vault / inside
        # What a run before put there was compared then; catalogue and log have gone on since, if it came so far.
        if not target.is_file():
            disk.make_directory(target.parent)
            disk.create_by(target, partial(_compared, source, entry, name))
    kinds = [layout.root_of(kind) for kind in ("records", *LEFTOVERS)]
    for directory in (layout.feeds, *kinds, layout.holds, layout.audit):
        disk.make_directory(directory)


def _compared(source: Path, entry: list[Any], name: str, part: Path) -> None:
    """Copies `source` to `part`. Raises `FaultError` when what arrived is not what the manifest says."""
    try:
        shutil.copyfile(source, part)
    except FileNotFoundError as problem:
        raise FaultError(f"restoring: {name} is missing in the backup; take another backup") from problem
    if backups.entry_of(part) != entry:
        raise FaultError(f"restoring: {name} in the backup was changed or is cut; take another backup")


def _marks(state: Backup) -> str:
    """The text of the backup's vault.toml. Raises `FaultError` when it is not the one that the manifest names."""
    path = state.directory / "vault.toml"
    if not path.is_file() or state.manifest["files"].get("state/vault.toml") != backups.entry_of(path):
        raise FaultError("restoring: vault.toml in the backup is missing or was changed; take another backup")
    return path.read_text(encoding="utf-8")


def _require_room(layout: Layout, marks: str) -> None:
    pending = _pending(layout)
    if not layout.vault.is_dir() or not any(layout.vault.iterdir()):
        return
    if layout.settings.exists() or not pending.is_file() or pending.read_text(encoding="utf-8") != marks:
        raise RefusedError(
            f"restoring: {layout.vault} is not empty; name another directory with --vault, or move it away: "
            f"nothing of it is overwritten"
        )


def _pending(layout: Layout) -> Path:
    return layout.settings.with_name("vault.toml.restoring")
