"""Certificates of deletion: what was deleted, under which rule, when its keys died, signed by the vault.

Issued inside the transaction that leaves the tombstone. The signature is over the canonical body, and holds offline
with the vault's public key alone (`signing.require_signature`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ingest.record import CATEGORIES, WHEN
from trafficvault import signing
from trafficvault.catalogue import Row, Transaction
from trafficvault.retention import Item
from trafficvault.vault import Vault


@dataclass(frozen=True, slots=True)
class Destruction:
    """When the keys of an item were destroyed, by which generation, and whether every reader's lease had ended."""

    at: datetime
    generation: int
    leases_ended: bool


def issue(
    vault: Vault, tx: Transaction, item: Item, rows: list[Row], keys: list[str], destroyed: Destruction
) -> dict[str, Any]:
    """Signs and stores the certificate of `item`, whose rows were `rows`. Returns it with id and signature."""
    rules = vault.policy
    if item.kind != "records":
        ruling = rules.shortest_of(item.record_class)
    else:
        ruling = WHEN if item.ends_day else item.categories[0]
    term = rules.term_of(item.record_class, ruling)
    # An expiry that began is finished whatever the policy says by now; then nothing but its destruction is known.
    due = item.due or destroyed.at
    body: dict[str, Any] = {
        "kind": "certificate-of-deletion",
        "v": 1,
        "vault": vault.settings.id,
        "what": item.kind,
        "class": item.record_class,
        "day": item.day.isoformat(),
        "categories": list(item.categories),
        "records": sum(row["rows"] for row in rows),
        "files": [_file(row) for row in rows],
        "keys": keys,
        "generation": destroyed.generation,
        "key_provider": vault.keys.provider_name,
        "term": None if term is None else str(term),
        "rule": item.reason,
        "policy": vault.policy.digest,
        "due": signing.instant(due),
        "deleted_at": signing.instant(destroyed.at),
        "lateness_seconds": max(0, int((destroyed.at - due).total_seconds())),
        "final_at": signing.instant(destroyed.at + vault.policy.key_copies_within.delta()),
        "leases_ended": destroyed.leases_ended,
    }
    return _signed(vault, tx, body)


def issue_rows(vault: Vault, tx: Transaction, removed: dict[str, Any], destroyed: Destruction) -> dict[str, Any]:
    """Signs and stores the certificate that rows of a living day were `removed`, as `trafficvault.rewrite` tells them.

    It says how many went and how many stay, and under which rule; never whose they were.
    """
    body: dict[str, Any] = {
        "kind": "certificate-of-deletion",
        "v": 1,
        "vault": vault.settings.id,
        "what": "rows",
        "class": removed["class"],
        "day": removed["day"],
        "categories": list(CATEGORIES),
        "records": removed["removed"],
        "kept": removed["kept"],
        "files": [_file(row) for row in removed["files"]],
        "keys": removed["keys"],
        "generation": destroyed.generation,
        "key_provider": vault.keys.provider_name,
        "term": None,
        "rule": removed["rule"],
        "policy": vault.policy.digest,
        "due": None,
        "deleted_at": signing.instant(destroyed.at),
        "final_at": signing.instant(destroyed.at + vault.policy.key_copies_within.delta()),
        "leases_ended": destroyed.leases_ended,
    }
    return _signed(vault, tx, body)


def _signed(vault: Vault, tx: Transaction, body: dict[str, Any]) -> dict[str, Any]:
    identity = signing.digest(body)[:32]
    signature = signing.sign(vault.keys.signing_key(), signing.canonical(body))
    tx.put(
        "certificates",
        id=identity,
        record_class=body["class"],
        day=body["day"],
        kind=body["what"],
        body=signing.canonical(body).decode(),
        signature=signature,
        issued_at=signing.instant(vault.clock.now()),
    )
    return {"id": identity, "signature": signature, **json.loads(signing.canonical(body))}


def _file(row: Row) -> dict[str, Any]:
    """One file that was there when its keys died.

    One that compaction made says how many delivered files it holds (the entries `compact` of the audit log name them:
    they lay under the same keys), and the digest of the block file that died with it.
    """
    named = {"id": row.get("id") or row["batch"], **{name: row[name] for name in ("rows", "bytes", "digest")}}
    more = {name: row.get(name) for name in ("merged", "blocks")}
    return named | {name: value for name, value in more.items() if value is not None}
