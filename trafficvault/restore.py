"""Restore: a vault directory put back from a backup, beside the keys of today.

    every file copied and compared with the signed manifest → the catalogue brought to the keys' generation, what it
    believes to live and whose keys have died marked as expiring, what nothing proves any more closed, an entry → the
    tree of the log → vault.toml, which makes it a vault

A restored vault expires again what had expired: its keys are gone, so the next `expire` drops the files and certifies
them. Nothing that lives is destroyed here. A catalogue is the newest when it is of the keys' generation and ends at the
entry of the audit log that the keys remember. Any other is taken only when administrators say so (`accept`): what was
done since it was made is unknown to it. The audit log of the lost vault, where it survived, tells that: it is followed
to its end (`trafficvault.replay`). Where it does not reach what the keys remember, people, proposals and escrow come
back closed, and the docket is to be confirmed (`trafficvault.suspension`). A run that was cut short is begun again and
goes on; the directory must hold nothing else.
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
from trafficvault import (
    checkpoints,
    expire,
    people,
    policy_file,
    providers,
    replay,
    settings,
    signing,
    suspension,
    wording,
)
from trafficvault.audit import AuditLog
from trafficvault.backup import Backup
from trafficvault.catalogue import GENERATION, Catalogue, Transaction
from trafficvault.chain import Head
from trafficvault.clock import Clock
from trafficvault.durable import PART, Disk
from trafficvault.errors import FaultError, RefusedError
from trafficvault.keys import KeyStore
from trafficvault.layout import LEFTOVERS, Layout
from trafficvault.memory import Memory, rolled_back
from trafficvault.people import Person
from trafficvault.provider import Ask, KeyProvider
from trafficvault.replay import Replayed
from trafficvault.ring import is_row_key, ring_generations
from trafficvault.suspension import Suspended

Accept = Callable[[Transaction], tuple[Person, ...]]
"""Signs in, against the restored catalogue, the administrators who accept that it is older than the keys."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What was put back: the moment of the backup, the generations of its catalogue and of the keys, and what of the
    time between has no trace any more or must be done by somebody.
    """

    taken_at: str
    catalogue_generation: int
    generation: int
    lost_entries: int | None
    """How many later entries of the audit log the keys remember and nobody has; None when they remember nothing."""
    followed_entries: int
    """How many later entries the surviving log gave."""
    to_do_again: dict[str, int]
    """The acts of those entries that left nothing behind, and how often each is there."""
    expiring: tuple[str, ...]
    """What expires again."""
    unknown_keys: int
    """Keys of days that the backup does not know."""
    suspended: tuple[str, ...]
    """People who act again when an administrator confirms them."""
    closed_proposals: tuple[str, ...]
    escrow_off: bool
    docket_to_confirm: bool
    """Whether warrants and holds wait until persons say that they still stand."""
    holds_lost: tuple[str, ...]
    """Holds that ended here, for their keys have died."""
    log_problem: str | None
    """Why the tree of the audit log could not be made again: the log came damaged, and `verify` names it."""

    def sentences(self) -> list[str]:
        """What the person who restored must know, and what is left to be done."""
        lost = "unknown: the keys remember none" if self.lost_entries is None else self.lost_entries
        told = [
            f"put back the vault of {wording.moment(self.taken_at, 'UTC')}, with keys of generation {self.generation}",
            f"later entries of the audit log that are lost: {lost}",
            f"expired or rewritten since, and to be dropped by the next expire: {len(self.expiring)}",
            f"keys of what this backup does not know, destroyed by the next expire: {self.unknown_keys}",
        ]
        if self.followed_entries:
            again = ", ".join(f"{count} {act}" for act, count in self.to_do_again.items())
            told += [
                f"later entries taken over from the surviving log: {self.followed_entries}",
                f"of them, acts whose outcome is lost and that somebody must do again: {again or 'none'}",
            ]
        if self.suspended:
            told.append(
                f"SUSPENDED, since nothing proves who may act by now: {', '.join(self.suspended)}; an administrator "
                "lets each act again with `user confirm NAME`"
            )
        if self.closed_proposals:
            told.append(f"CLOSED, since nothing proves that they still stand: {len(self.closed_proposals)} proposals")
        if self.escrow_off:
            told.append("TAKEN OFF, since nothing proves that it still stands: the escrow; `escrow set` sets it again")
        if self.docket_to_confirm:
            told.append(
                "TO BE CONFIRMED, since nothing proves that they still stand: warrants and holds, if there are any; "
                "what is held is held on, and no warrant of before runs until an officer proposes `warrant confirm`"
            )
        if self.holds_lost:
            told.append(
                "LOST with its key: what a hold kept apart for an authority; an officer sees which (`hold list`) and "
                "registers the order again"
            )
        if self.log_problem is not None:
            told.append(f"DAMAGED: {self.log_problem}")
        return told


def restore(
    source: Path,
    layout: Layout,
    disk: Disk,
    clock: Clock,
    ask: Ask,
    accept: Accept | None = None,
    log: Path | None = None,
) -> Restored:
    """Puts the newest state in `source` back at `layout`, whose key directory is there already. `log` is the directory
    of the lost vault's audit log, where that survived.

    Raises `UsageError` without a whole backup, `RefusedError` when a vault stands there, or the catalogue is not known
    to be the newest and nobody accepts it, `FaultError` for a backup or a log that was changed, or keys of another.
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
        rules = policy_file.parse(layout.policy.read_text(encoding="utf-8"))
        audit = AuditLog(layout, disk, catalogue, keys, known, rules, clock)
        with catalogue.reading() as tx:
            again = tx.meta(_RESTORED) == state.digest
        if not again:
            memory = Memory(layout, disk, known.id, lambda: keys.custody("audit").key("audit"))
            _reconcile(_Case(state, layout, disk, clock, keys, catalogue, audit, memory), accept, log)
        # After a run that was cut short behind its commit, too.
        audit.flush()
        told = _told(audit.show(1)[0]["detail"], _mended(layout, disk, catalogue, audit))
    finally:
        catalogue.close()
    disk.move(_pending(layout), layout.settings)
    return told


@dataclass(frozen=True, slots=True)
class _Case:
    """What is put back, from which state of the backup, beside which keys."""

    state: Backup
    layout: Layout
    disk: Disk
    clock: Clock
    keys: KeyStore
    catalogue: Catalogue
    audit: AuditLog
    memory: Memory


def _reconcile(case: _Case, accept: Accept | None, log: Path | None) -> None:
    """Brings the catalogue to the keys of today, closes what nothing proves, and enters what was found: one commit."""
    remembered, held = _remembered(case), case.keys.key_ids()
    with case.catalogue.transaction() as tx:
        tx.delete("meta", key=_REMEMBERED)
        generation, before = int(tx.meta(GENERATION) or 0), case.audit.settled(tx)
        followed = Replayed(before, (), {}) if log is None else replay.replay(tx, case.audit, log)
        lost = None if remembered is None else max(0, remembered.seq - followed.end.seq)
        newest = generation == case.keys.generation and _is_level(remembered, before)
        proven = newest or (remembered is not None and followed.passes(remembered))
        persons: tuple[Person, ...] = ()
        if not newest:
            persons = _accepted(tx, accept, _doubt(generation, case.keys.generation, remembered, before))
        closed = Suspended() if proven else suspension.suspend(tx, {one.name for one in persons}, case.clock.now())
        lost_holds = suspension.lose_holds(tx, held, case.clock.now())
        tx.set_meta(GENERATION, str(case.keys.generation))
        expiring = expire.reconcile(tx, held, case.keys.generation)
        tx.set_meta(_RESTORED, case.state.digest)
        detail = {
            "backup": case.state.digest,
            "taken_at": case.state.manifest["taken_at"],
            "generation": [generation, case.keys.generation],
            "remembered": None if remembered is None else {"seq": remembered.seq, "hash": remembered.hash},
            "lost_entries": lost,
            "followed_entries": len(followed.hashes),
            "to_do_again": followed.to_do_again,
            "expiring": expiring,
            # Spare keys of rows are among them: no record lies under any.
            "unknown_keys": sum(1 for name in expire.ownerless(tx, held) if not is_row_key(name)),
            "suspended": list(closed.people),
            "closed_proposals": list(closed.proposals),
            "escrow_off": closed.escrow,
            "docket_to_confirm": not proven,
            "holds_lost": lost_holds,
            "by": [person.name for person in persons],
        }
        if remembered is not None and not proven:
            # The keys' memory names entries that are lost; the entry below tells how far it went.
            case.disk.remove(case.layout.head)
        case.audit.enter(tx, "restore", persons[0].name if persons else None, detail)


def _remembered(case: _Case) -> Head | None:
    """What the keys remember of the log, or did when a run began that was cut short: it takes that memory away."""
    found = case.memory.recall()
    with case.catalogue.transaction() as tx:
        if found is not None:
            tx.set_meta(_REMEMBERED, signing.canonical({"seq": found.seq, "hash": found.hash}).decode())
        noted = json.loads(tx.meta(_REMEMBERED) or "null")
    return found if noted is None else Head(noted["seq"], noted["hash"])


def _is_level(remembered: Head | None, end: Head) -> bool:
    """Whether the catalogue has the remembered entry; a crash may have kept later ones from being remembered."""
    if remembered is None:
        return False
    return rolled_back(remembered, end, end.hash if remembered.seq == end.seq else None) is None


def _mended(layout: Layout, disk: Disk, catalogue: Catalogue, audit: AuditLog) -> str | None:
    """Makes the tree of the log whole. A log that was damaged before the backup stops no restore: it is told."""
    try:
        checkpoints.mend(layout, disk, catalogue, audit)
    except FaultError as fault:
        return str(fault)
    return None


def _told(detail: dict[str, Any], log_problem: str | None) -> Restored:
    """What the entry of a restore says."""
    return Restored(
        detail["taken_at"],
        detail["generation"][0],
        detail["generation"][1],
        detail["lost_entries"],
        detail["followed_entries"],
        detail["to_do_again"],
        tuple(detail["expiring"]),
        detail["unknown_keys"],
        tuple(detail["suspended"]),
        tuple(detail["closed_proposals"]),
        detail["escrow_off"],
        detail["docket_to_confirm"],
        tuple(detail["holds_lost"]),
        log_problem,
    )


_MARK = "# put back from the backup "
"""Starts the line that `restore` adds to vault.toml: a run that was cut short goes on with the same backup only."""
_REMEMBERED = "restoring"
"""The `meta` row with what the keys remembered of the log, while a restore goes on."""
_RESTORED = "restored"
"""The `meta` row with the digest of the backup that this vault was last restored from."""


def _doubt(generation: int, ours: int, remembered: Head | None, end: Head) -> str:
    """Why the catalogue is not known to be the newest."""
    if remembered is None:
        return (
            "restoring: the keys remember nothing of the audit log (those from an escrow copy never do), so whether "
            "this backup is the newest can't be known"
        )
    return (
        f"restoring: the catalogue is older than the keys: it is of generation {generation}, the keys of {ours}, which "
        f"remember {max(0, remembered.seq - end.seq)} later entries of the audit log; what was done since is lost"
    )


def _accepted(tx: Transaction, accept: Accept | None, doubt: str) -> tuple[Person, ...]:
    if accept is None:
        raise RefusedError(
            f"{doubt}; nothing was destroyed",
            hint="restore the newest backup; if none is newer, an administrator (--user NAME) adds --accept-older, and "
            "--log where the audit log of the lost vault survived",
        )
    persons = accept(tx)
    listed = {item.name for item in people.listing(tx) if "administrator" in item.roles and not item.disabled}
    acting = {person.name for person in persons} & listed
    if len(acting) < min(2, len(listed)) or not acting:
        raise RefusedError(f"{doubt}; accepting that takes {min(2, len(listed))} administrators")
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
    # A run that was killed before it named its mark left nothing else.
    unnamed = f"{pending.name}{PART}"
    if not layout.vault.is_dir() or all(path.name.startswith(unnamed) for path in layout.vault.iterdir()):
        return
    if layout.settings.exists() or not pending.is_file() or pending.read_text(encoding="utf-8") != marks:
        raise RefusedError(
            f"restoring: {layout.vault} is not empty; name another directory with --vault, or move it away: "
            f"nothing of it is overwritten"
        )


def _pending(layout: Layout) -> Path:
    return layout.settings.with_name("vault.toml.restoring")
