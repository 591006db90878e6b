"""Sweep: removes what a crashed writer left behind, before the next one begins.

A file belongs to nobody when no row of the catalogue has it and no certificate names it: it was written before a commit
that never came. One that a certificate names is an expired file that somebody put back: it stays, for `verify` to name,
and so does a directory that has no business there. The catalogue is first compared with the audit log: against a
restored, older catalogue every newer file would look like an orphan. Called under the writer's lock, by receive and
expire.
"""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

from trafficvault.catalogue import Transaction
from trafficvault.durable import PART
from trafficvault.vault import Vault


def sweep(vault: Vault) -> int:
    """Removes orphans and returns their number. The audit log tells of them before they go."""
    with vault.catalogue.reading() as tx:
        vault.audit.require_in_step(tx)
        homes = _homes(vault, tx)
        expired = {item["id"] for row in tx.select("certificates") for item in json.loads(row["body"])["files"]}
    roots = (vault.layout.records, vault.layout.rejections, vault.layout.held)
    orphans = [
        path
        for root in roots
        for path in sorted(root.glob("*/*/*"))
        if path.is_file() and path not in homes and (PART in path.name or path.name.partition(".")[0] not in expired)
    ]
    if orphans:
        with vault.catalogue.transaction() as tx:
            vault.audit.enter(tx, "sweep", None, {"files": [path.name for path in orphans]})
        vault.audit.flush()
    for path in orphans:
        vault.disk.remove(path)
    for directory in [day for root in roots for day in sorted(root.glob("*/*")) if day.is_dir()]:
        if not any(directory.iterdir()):
            vault.disk.remove_directory(directory)
    return len(orphans)


def _homes(vault: Vault, tx: Transaction) -> set[Path]:
    """Where every file lies that the catalogue has."""
    homes: set[Path] = set()
    for row in tx.select("files"):
        place = row["record_class"], date.fromisoformat(row["day"]), row["id"]
        homes |= {vault.layout.record_file(*place), vault.layout.seen_file(*place)}
    for row in tx.select("leftovers"):
        of_kind = vault.layout.held_file if row["kind"] == "held" else vault.layout.rejection_file
        homes.add(of_kind(row["record_class"], date.fromisoformat(row["day"]), row["batch"]))
    return homes
