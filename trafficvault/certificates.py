"""Certificates of deletion: what was deleted, under which rule, when its keys died, signed by the vault.

Issued inside the transaction that leaves the tombstone. The signature is over the canonical body, and holds offline
with the vault's public key alone. The next entry of the audit log in that transaction names the body's digest in clear,
and the body names that entry: so a proof that the entry is in the log of a checkpoint is one of the certificate.
`export` bundles all of it, for `trafficvault.attestation` to check without a vault.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ingest.record import CATEGORIES, WHEN
from trafficvault import checkpoints, pending, signing
from trafficvault.catalogue import Row, Transaction
from trafficvault.errors import UsageError
from trafficvault.retention import Item, Partition, kept_together
from trafficvault.terms import Term
from trafficvault.vault import Vault

COPIED = "copied_until"
"""The `meta` row with the moment at which the last epoch key that can be copied gave way to one that can't."""


@dataclass(frozen=True, slots=True)
class Destruction:
    """When the keys of an item were destroyed, by which generation, and whether every reader's lease had ended."""

    at: datetime
    generation: int
    leases_ended: bool


def issue(
    vault: Vault, tx: Transaction, item: Item, rows: list[Row], keys: list[str], destroyed: Destruction, carved: str
) -> dict[str, Any]:
    """Signs and stores the certificate of `item`, whose rows were `rows`. Returns it with id and signature.

    `carved` is the commitment to what holds kept of it: every certificate has one, held or not.
    """
    rules = vault.policy
    if item.kind != "records":
        ruling = rules.shortest_of(item.record_class)
    else:
        ruling = WHEN if item.ends_day else item.categories[0]
    term = rules.term_of(item.record_class, ruling)
    if item.kind == "raw":
        keep = kept_together(Partition(item.record_class, item.day, item.kind), rows).keep
        term = term if keep is None else Term(period=keep)
    # An expiry that began is finished whatever the policy says by now; then nothing but its destruction is known.
    due = min(item.due or destroyed.at, destroyed.at)
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
        "final_at": final_at(vault, tx, destroyed.at),
        "leases_ended": destroyed.leases_ended,
        "carved": carved,
    }
    earlier = pending.read(vault.layout).of(item.kind, item.record_class, item.day) if item.ends_day else None
    if earlier is not None:
        # Told by a process without keys, thus by a file that nobody signed: when the files went, not when the keys did.
        body["files_dropped_at"] = earlier.at
    return sign(vault, tx, body)


def issue_rows(
    vault: Vault, tx: Transaction, removed: dict[str, Any], destroyed: Destruction, carved: str
) -> dict[str, Any]:
    """Signs and stores the certificate that rows of a living day were `removed`, as `trafficvault.rewrite` tells them;
    or, where these are not all `categories`, that rows which stay have lost their values of them.

    It says how many went or lost something, how many stay as they were, and under which rule; never whose they were.
    """
    body: dict[str, Any] = {
        "kind": "certificate-of-deletion",
        "v": 1,
        "vault": vault.settings.id,
        "what": "rows",
        "class": removed["class"],
        "day": removed["day"],
        # One that a version before this began was of whole rows.
        "categories": removed.get("categories", list(CATEGORIES)),
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
        "final_at": final_at(vault, tx, destroyed.at),
        "leases_ended": destroyed.leases_ended,
        "carved": carved,
    }
    return sign(vault, tx, body)


def issue_keys(vault: Vault, tx: Transaction, destroyed: Destruction, carved: str) -> dict[str, Any]:
    """Signs and stores the certificate of a run in which nothing was due and keys died all the same.

    They are of days of which nothing came to be stored, or of holds: it looks the same.
    """
    body: dict[str, Any] = {
        "kind": "certificate-of-deletion",
        "v": 1,
        "vault": vault.settings.id,
        "what": "keys",
        "class": None,
        "day": None,
        "categories": [],
        "records": 0,
        "files": [],
        "keys": [],
        "generation": destroyed.generation,
        "key_provider": vault.keys.provider_name,
        "term": None,
        "rule": "nothing is kept under these keys",
        "policy": vault.policy.digest,
        "due": signing.instant(destroyed.at),
        "deleted_at": signing.instant(destroyed.at),
        "lateness_seconds": 0,
        "final_at": final_at(vault, tx, destroyed.at),
        "leases_ended": destroyed.leases_ended,
        "carved": carved,
    }
    return sign(vault, tx, body)


def final_at(vault: Vault, tx: Transaction, at: datetime) -> str:
    """When the last copy of a key that died at `at` must be gone.

    Keys that can't be copied leave nothing to wait for, but for the copies from before they came to such a provider:
    until the last of these must be gone, a copied key directory opens what was deleted since.
    """
    wait = vault.policy.key_copies_within.delta()
    if vault.keys.copies:
        return signing.instant(at + wait)
    copied = tx.meta(COPIED)
    return signing.instant(at if copied is None else max(at, signing.moment(copied) + wait))


def sign(vault: Vault, tx: Transaction, body: dict[str, Any]) -> dict[str, Any]:
    """Signs and stores `body`, with the number of the entry that must follow in `tx` and names it.

    Returns it with id and signature.
    """
    content = signing.canonical(body | {"entry": vault.audit.next_entry(tx)})
    digest = hashlib.sha256(content).hexdigest()
    vault.audit.attest(tx, digest)
    identity, signature = digest[:32], signing.sign(vault.keys.signing_key(), content)
    tx.put(
        "certificates",
        id=identity,
        record_class=body.get("class"),
        day=body.get("day"),
        kind=body["what"],
        body=content.decode(),
        signature=signature,
        issued_at=signing.instant(vault.clock.now()),
    )
    return {"id": identity, "signature": signature, **json.loads(content)}


def listing(vault: Vault) -> list[dict[str, Any]]:
    """All certificates, oldest first and those of one run by class and day, each with id and signature."""
    with vault.catalogue.reading() as tx:
        rows = tx.select("certificates")
    names = ("issued_at", "kind", "record_class", "day", "id")
    return [_shown(row) for row in sorted(rows, key=lambda row: [str(row[name]) for name in names])]


def find(vault: Vault, identity: str) -> dict[str, Any]:
    """One certificate by its id, or the beginning of one. Raises `UsageError` when there is none, or more than one."""
    return _shown(_row(vault, identity))


def export(vault: Vault, identity: str, note: str | None = None) -> dict[str, Any]:
    """All that is needed to check the certificate offline: body, signature, entry, way to the root, signed checkpoint.

    With `note` the proof leads to that checkpoint, which somebody else kept. Raises `RefusedError` when no checkpoint
    has the certificate's entry yet. A certificate of a version without entries is exported without a proof.
    """
    row = _row(vault, identity)
    body = json.loads(row["body"])
    content: dict[str, Any] = {
        "kind": "certificate-export",
        "v": 1,
        "id": row["id"],
        "certificate": body,
        "signature": row["signature"],
        "public_key": vault.settings.public_key,
    }
    if "entry" in body:
        proof = checkpoints.prove_entry(vault, body["entry"], row["line"], note)
        content["proof"] = {"entry": proof.line, "path": list(proof.path)}
        content["checkpoint"] = proof.checkpoint
        if proof.stamp is not None:
            content["timestamp"] = proof.stamp
    return content


def _row(vault: Vault, identity: str) -> Row:
    with vault.catalogue.reading() as tx:
        found = [row for row in tx.select("certificates") if str(row["id"]).startswith(identity)]
    if len(found) != 1 or not identity:
        many = f"{len(found)} begin so" if found and identity else "there is none"
        raise UsageError(f"looking for certificate {identity!r}: {many}", hint="`certificate list` shows them all")
    return found[0]


def _shown(row: Row) -> dict[str, Any]:
    return {"id": row["id"], "signature": row["signature"], **json.loads(row["body"])}


def _file(row: Row) -> dict[str, Any]:
    """One file that was there when its keys died.

    One that compaction made says how many delivered files it holds (the entries `compact` of the audit log name them:
    they lay under the same keys), and the digest of the block file that died with it.
    """
    named = {"id": row.get("id") or row["batch"], **{name: row[name] for name in ("rows", "bytes", "digest")}}
    more = {name: row.get(name) for name in ("merged", "blocks")}
    return named | {name: value for name, value in more.items() if value is not None}
