"""Sweep: removes what a crashed writer left behind, before the next one begins.

A file belongs to nobody when no row of the catalogue has it and no certificate names it: it was written before a commit
that never came. One that a certificate names is an expired file that somebody put back: it stays, for `verify` to name,
and so does a directory that has no business there. What compaction has replaced goes when no reader has it any more,
and what a killed compaction had prepared goes at once. The catalogue is first compared with the audit log: against a
restored, older catalogue every newer file would look like an orphan. Called under the writer's lock, by receive and
expire.
"""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

from trafficvault import locks, superseded
from trafficvault.catalogue import Transaction
from trafficvault.durable import PART
from trafficvault.layout import LEFTOVERS
from trafficvault.vault import Vault


def sweep(vault: Vault) -> int:
    """Removes orphans and returns their number. The audit log tells of them before they go."""
    with locks.compacting(vault.layout) as free:
        if free:
            clear_staging(vault)
    superseded.retire(vault)
    with vault.catalogue.reading() as tx:
        vault.audit.require_in_step(tx)
        homes = _homes(vault, tx)
        expired = _expired(vault, tx)
    roots = [vault.layout.root_of(kind) for kind in ("records", *LEFTOVERS)]
    found = [path for root in roots for path in sorted(root.glob("*/*/*"))]
    # Settings and the like, which are written in the open: only what had no name yet is nobody's.
    unnamed = [path for root in (vault.layout.vault, vault.layout.audit) for path in sorted(root.glob(f"*{PART}*"))]
    orphans = [
        path
        for path in [*found, *sorted(vault.layout.holds.glob("*/*")), *unnamed]
        if path.is_file() and path not in homes and (PART in path.name or path.with_name(path.stem) not in expired)
    ]
    if orphans:
        with vault.catalogue.transaction() as tx:
            vault.audit.enter(tx, "sweep", None, {"files": [path.name for path in orphans]})
        vault.audit.flush()
    for path in orphans:
        vault.disk.remove(path)
    homes_of = [*(day for root in roots for day in sorted(root.glob("*/*"))), *sorted(vault.layout.holds.glob("*"))]
    for directory in [place for place in homes_of if place.is_dir()]:
        if not any(directory.iterdir()):
            vault.disk.remove_directory(directory)
    return len(orphans)


def clear_staging(vault: Vault) -> None:
    """Removes what was prepared for an exchange that never came. The caller holds the lock of compaction."""
    root = vault.layout.staging.vault
    if not root.is_dir():
        return
    for path in sorted(root.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            vault.disk.remove_directory(path)
        else:
            vault.disk.remove(path)
    vault.disk.remove_directory(root)


def _expired(vault: Vault, tx: Transaction) -> set[Path]:
    """Where the files lay, without their suffix, that a certificate names. The same id elsewhere is another file."""
    roots = {kind: vault.layout.root_of(kind) for kind in ("records", *LEFTOVERS)}
    roots["rows"] = vault.layout.records
    bodies = [json.loads(row["body"]) for row in tx.select("certificates")]
    bodies = [body for body in bodies if body["what"] in roots]
    return {roots[body["what"]] / body["class"] / body["day"] / item["id"] for body in bodies for item in body["files"]}


def _homes(vault: Vault, tx: Transaction) -> set[Path]:
    """Where every file lies that the catalogue has."""
    homes = superseded.paths(vault.layout, tx)
    for row in tx.select("files"):
        place = row["record_class"], date.fromisoformat(row["day"]), row["id"]
        homes |= {vault.layout.record_file(*place), vault.layout.seen_file(*place), vault.layout.blocks_file(*place)}
    homes |= {vault.layout.carve_file(row["hold"], row["id"]) for row in tx.select("carves")}
    for row in tx.select("leftovers"):
        day = date.fromisoformat(row["day"])
        homes.add(vault.layout.leftover_file(row["kind"], row["record_class"], day, row["batch"]))
    return homes
