"""Superseded: record files that compaction has replaced, which go when no reader has them any more.

A search reads the catalogue once and opens files as it comes to them, under its lease. So a file whose row has left
the catalogue stays on disk until all leases have ended that began before; the catalogue remembers it meanwhile. Called
under the writer's lock.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date
from pathlib import Path

from trafficvault import locks, signing
from trafficvault.catalogue import Row, Transaction
from trafficvault.layout import Layout
from trafficvault.vault import Vault

_KEY = "superseded"
"""The `meta` row that names them: [class, day, file id] each."""


def add(tx: Transaction, rows: Iterable[Row]) -> None:
    """Remembers the files of `rows`, whose rows this transaction deletes."""
    more = [[row["record_class"], row["day"], row["id"]] for row in rows]
    tx.set_meta(_KEY, signing.canonical(_listed(tx) + more).decode())


def paths(layout: Layout, tx: Transaction) -> set[Path]:
    """Where they lie, with what was derived from them; some may be gone already."""
    return {path for named in _listed(tx) for path in _paths_of(layout, *named)}


def retire(vault: Vault, wait: float = 0.0) -> bool:
    """Unlinks them when all readers' leases have ended within `wait` seconds. Returns whether none is left."""
    with vault.catalogue.reading() as tx:
        gone = paths(vault.layout, tx)
        if not _listed(tx):
            return True
    with locks.destroying(vault.layout, wait) as ended:
        if not ended:
            return False
        # Whoever takes a lease from here on reads a catalogue that knows them no more.
        for path in sorted(gone):
            if path.exists():
                vault.disk.remove(path)
    with vault.catalogue.transaction() as tx:
        tx.set_meta(_KEY, "[]")
    return True


def _listed(tx: Transaction) -> list[list[str]]:
    named: list[list[str]] = json.loads(tx.meta(_KEY) or "[]")
    return named


def _paths_of(layout: Layout, record_class: str, day: str, file_id: str) -> tuple[Path, ...]:
    file = record_class, date.fromisoformat(day), file_id
    return layout.record_file(*file), layout.seen_file(*file), layout.blocks_file(*file)
