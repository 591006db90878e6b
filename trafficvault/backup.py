"""Backup: a copy of the vault directory, with the sealed ring and without any epoch key, that grows by what is new.

    DIR/pool/<path>             files that never change once they are there: records and all that is sealed beside
    DIR/state-<n>/<path>        what changes: catalogue, audit segments, their tree, settings, policy, sources, feeds,
                                the ring
    DIR/state-<n>/manifest.json every file with its size and SHA-256, signed by the vault; the last file written

Files of the pool are copied by name, once. A run first copies what it finds while others go on, then takes the rest
under the writer's lock, the catalogue by SQLite's own backup; so the two agree to the entry. A run that is cut short
leaves the state before it whole; the newest state with a manifest counts. What it does not name goes when the next one
is complete: a backup holds one moment, and what has expired by then leaves it too. Nothing in it opens a record:
whoever has the ring lacks the epoch key.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from trafficvault import database, signing
from trafficvault.audit_reading import HEAD
from trafficvault.durable import PART, Disk
from trafficvault.errors import FaultError, UsageError
from trafficvault.layout import LEFTOVERS, Layout
from trafficvault.vault import Vault

MANIFEST: Final = "manifest.json"
CATALOGUE: Final = "catalogue.db"
POOL: Final = "pool"
_KIND: Final = "trafficvault-backup"
_STATE = re.compile(r"state-([1-9][0-9]*)")
_VERSION = 1

Watch = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Backup:
    """One state of a backup: its directory, its manifest, and how many files this run had to copy."""

    directory: Path
    manifest: dict[str, Any]
    copied: int

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest: names this state."""
        return signing.digest(self.manifest)


def copy_ahead(layout: Layout, target: Path, disk: Disk, progress: Watch = lambda step: None) -> int:
    """Copies the files that never change while others read and write; what goes meanwhile is not missed. Needs no
    lock and no key. Returns how many were copied.
    """
    _require_apart(layout, target)
    progress("copying files")
    return sum(_copied(layout.vault / name, target / POOL / name, disk) for name in pool_names(layout))


def backup(vault: Vault, target: Path, progress: Watch = lambda step: None) -> Backup:
    """Brings the backup in `target` to this moment. The caller holds the writer's lock; `copy_ahead` makes it short.

    Raises `UsageError` when `target` lies in the vault or is another's, `FaultError` when catalogue and log disagree.
    """
    layout, disk = vault.layout, vault.disk
    _require_apart(layout, target)
    before = _newest(target)
    if before is not None and before.manifest["vault"] != vault.settings.id:
        raise UsageError(f"backing up: {target} holds a backup of another vault; name another directory")
    pool = pool_names(layout)
    # Entered first, so that the state is not older than the keys' memory of the log by the entry about itself.
    with vault.catalogue.transaction() as tx:
        vault.audit.enter(tx, "backup", None, {"files": len(pool)})
        head = json.loads(tx.meta(HEAD) or "{}")
    vault.audit.flush()
    progress("copying files")
    copied = sum(_copied(layout.vault / name, target / POOL / name, disk) for name in pool)
    progress("copying the catalogue")
    number = 1 + max((_number(path) for path in _states(target)), default=0)
    state = target / f"state-{number}"
    disk.make_directory(state)
    disk.create_by(state / CATALOGUE, lambda part: _snapshot(layout.catalogue, part))
    for name in state_names(layout):
        disk.make_directory((state / name).parent)
        disk.create(state / name, (layout.vault / name).read_bytes())
    ring = layout.ring(vault.keys.generation)
    disk.create(state / ring.name, ring.read_bytes())
    progress("digesting")
    known = {} if before is None else before.manifest["files"]
    files = {f"{POOL}/{name}": known.get(f"{POOL}/{name}") or entry_of(target / POOL / name) for name in pool}
    files |= {f"state/{name}": entry_of(state / name) for name in (CATALOGUE, ring.name, *state_names(layout))}
    manifest = {
        "kind": _KIND,
        "v": _VERSION,
        "vault": vault.settings.id,
        "generation": vault.keys.generation,
        "taken_at": signing.instant(vault.clock.now()),
        "audit": {"seq": head["seq"], "hash": head["hash"]},
        "files": files,
    }
    signed = {"manifest": manifest, "signature": signing.sign(vault.keys.signing_key(), signing.canonical(manifest))}
    disk.create(state / MANIFEST, signing.canonical(signed))
    # From here this state is the backup; what it does not name is of states before it, or of a run cut short.
    _clear(target, state, set(pool), disk)
    return Backup(state, manifest, copied)


def newest(target: Path) -> Backup:
    """The newest whole state of the backup in `target`. Raises `UsageError` when there is none."""
    found = _newest(target)
    if found is None:
        raise UsageError(f"reading the backup: {target} holds no whole backup; run `backup` to its end first")
    return found


def faults(target: Path, public_key: str) -> list[str]:
    """What is wrong with the backup in `target`, a sentence each: signature, and every file's size and digest."""
    state = newest(target)
    stored = json.loads((state.directory / MANIFEST).read_bytes())
    signing.require_signature(public_key, stored["signature"], signing.canonical(stored["manifest"]), "the backup")
    found = []
    for name, entry in sorted(state.manifest["files"].items()):
        path = place_of(state, name)
        if not path.is_file():
            found.append(f"{name} is missing")
        elif entry_of(path) != entry:
            found.append(f"{name} was changed")
    return found


def place_of(state: Backup, name: str) -> Path:
    """Where the file that the manifest calls `name` lies. Raises `FaultError` for a name that leads elsewhere."""
    kind, _, rest = name.partition("/")
    parts = rest.split("/")
    if kind not in (POOL, "state") or not rest or any(part in ("", ".", "..") for part in parts):
        raise FaultError(f"reading the backup: its manifest names {name!r}, which is no file of a backup")
    return (state.directory.parent / POOL if kind == POOL else state.directory) / rest


def entry_of(path: Path) -> list[Any]:
    """Size and SHA-256 of a file, as a manifest has them."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return [path.stat().st_size, digest]


def pool_names(layout: Layout) -> list[str]:
    """The files that never change, by their paths in the vault."""
    roots = [layout.root_of(kind) for kind in ("records", *LEFTOVERS)]
    found = [*(path for root in roots for path in root.glob("*/*/*")), *layout.holds.glob("*/*")]
    return sorted(str(path.relative_to(layout.vault)) for path in found if path.is_file() and PART not in path.name)


def state_names(layout: Layout) -> list[str]:
    """The files that change, but for the catalogue."""
    found = [layout.settings, layout.policy, layout.sources, *layout.feeds.glob("*"), *layout.audit.glob("*.log")]
    found += layout.tree.glob("*.hashes")
    return sorted(str(path.relative_to(layout.vault)) for path in found if path.is_file() and PART not in path.name)


def _copied(source: Path, target: Path, disk: Disk) -> bool:
    if target.exists():
        return False
    disk.make_directory(target.parent)
    try:
        disk.create_by(target, lambda part: shutil.copyfile(source, part))
    except FileNotFoundError:
        # It expired, or compaction replaced it, since it was listed: the state names what is there then.
        return False
    return True


def _snapshot(catalogue: Path, part: Path) -> None:
    with closing(database.connect(catalogue)) as source, closing(sqlite3.connect(part)) as target:
        source.backup(target)
        target.execute("PRAGMA journal_mode=DELETE")


def _newest(target: Path) -> Backup | None:
    for state in sorted(_states(target), key=_number, reverse=True):
        path = state / MANIFEST
        if path.is_file():
            try:
                manifest = json.loads(path.read_bytes())["manifest"]
                known = [manifest["kind"], manifest["v"]] == [_KIND, _VERSION] and isinstance(manifest["files"], dict)
            except (ValueError, KeyError, TypeError) as problem:
                raise FaultError(f"reading the backup: {path.parent.name}/{MANIFEST} was changed") from problem
            if not known:
                raise FaultError(f"reading the backup: it is not one of version {_VERSION}")
            return Backup(state, manifest, 0)
    return None


def _states(target: Path) -> Iterator[Path]:
    if target.is_dir():
        yield from (path for path in target.iterdir() if path.is_dir() and _STATE.fullmatch(path.name))


def _number(state: Path) -> int:
    return int(state.name.partition("-")[2])


def _clear(target: Path, state: Path, pool: set[str], disk: Disk) -> None:
    for other in sorted(_states(target)):
        if other != state:
            # The manifest first: a state without one is none.
            disk.remove(other / MANIFEST)
            _remove_tree(other, disk)
    root = target / POOL
    for path in sorted(root.rglob("*"), reverse=True):
        if path.is_dir():
            if not any(path.iterdir()):
                disk.remove_directory(path)
        elif str(path.relative_to(root)) not in pool:
            disk.remove(path)


def _remove_tree(directory: Path, disk: Disk) -> None:
    for path in sorted(directory.rglob("*"), reverse=True):
        if path.is_dir():
            disk.remove_directory(path)
        else:
            disk.remove(path)
    disk.remove_directory(directory)


def _require_apart(layout: Layout, target: Path) -> None:
    place = target.resolve()
    for inside in (layout.vault.resolve(), layout.keys.resolve()):
        if place.is_relative_to(inside) or inside.is_relative_to(place):
            raise UsageError(f"backing up: {target} and {inside.name} lie in one another; name a directory apart")
    if place.is_dir() and any(place.iterdir()) and not any(_states(place)) and not (place / POOL).is_dir():
        raise UsageError(f"backing up: {target} is not empty and is no backup; name another directory")
