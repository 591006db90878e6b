"""Receipts: what became of one delivered file, as it is printed, and as the catalogue keeps it.

A file's name, digest and reason come from outside, may name a subscriber, and confirm a guess of what was delivered:
they lie sealed under the key that the batch's rejections die with. When that is gone the receipt still tells its
counts.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from trafficvault import sealing, signing
from trafficvault.layout import rejections_key_id
from trafficvault.vault import Vault

COUNTS = ("read", "stored", "joined", "ignored", "duplicate", "rejected", "expired", "held")
EXPIRED_NAME = "(expired)"
"""What stands for the name of a file whose rejections have reached their term."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one delivered file. `read` is the sum of the other counts, in the units that the reader frames."""

    batch_id: str
    feed: str
    source: str
    file: str
    sha256: str
    status: str
    read: int = 0
    stored: int = 0
    joined: int = 0
    ignored: int = 0
    duplicate: int = 0
    rejected: int = 0
    expired: int = 0
    held: int = 0
    partitions: tuple[str, ...] = ()
    reason: str | None = None
    ignored_by: dict[str, int] = field(default_factory=dict)
    rejected_by: dict[str, int] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)
    mismatched: bool = False

    def require_balance(self) -> None:
        """Raises `AssertionError` when the counts do not add up: that would be our fault, never the file's."""
        rest = sum(getattr(self, name) for name in COUNTS if name != "read")
        if self.read != rest:
            raise AssertionError(f"batch {self.batch_id}: {self.read} units were read and {rest} are accounted for")

    def audit_detail(self) -> dict[str, object]:
        """What the audit log keeps of it: ids and counts, no name of a file."""
        told = ("source", "feed", "status", *COUNTS)
        return {"batch": self.batch_id, **{name: getattr(self, name) for name in told}}


@dataclass(frozen=True, slots=True)
class Dying:
    """The class and the day of receipt that a batch's rejections, held bytes and names die with."""

    record_class: str
    day: date

    @property
    def key_id(self) -> str:
        """The ring key that they are sealed under, held bytes apart."""
        return rejections_key_id(self.record_class, self.day)


def row_of(
    vault: Vault,
    receipt: Receipt,
    dying: Dying,
    arrived: datetime,
    *,
    feed_digest: str,
    sequence: int | None = None,
    span: tuple[date, date] | None = None,
) -> dict[str, Any]:
    """The catalogue's row of a batch. Its key must be in the ring (`KeyStore.ensure` of `dying.key_id`)."""
    key = vault.keys.custody("receive").key(dying.key_id)
    hidden = json.dumps({"file": receipt.file, "sha256": receipt.sha256, "reason": receipt.reason}).encode()
    counts: dict[str, object] = {name: getattr(receipt, name) for name in COUNTS}
    counts |= {name: getattr(receipt, name) for name in ("ignored_by", "rejected_by", "notes", "mismatched")}
    return {
        "id": receipt.batch_id,
        "source": receipt.source,
        "feed": receipt.feed,
        "feed_digest": feed_digest,
        "received_at": signing.instant(arrived),
        "status": receipt.status,
        "identity": receipt.batch_id,
        "counts": json.dumps(counts, sort_keys=True),
        "partitions": json.dumps(list(receipt.partitions)),
        "first_day": span[0].isoformat() if span else None,
        "last_day": span[1].isoformat() if span else None,
        "sequence": sequence,
        "die_class": dying.record_class,
        "die_day": dying.day.isoformat(),
        "rejected": receipt.rejected,
        "sealed": sealing.seal(key, hidden, f"batch {receipt.batch_id}").hex(),
    }


def load(vault: Vault, row: dict[str, Any]) -> Receipt:
    """The receipt that the catalogue's batch `row` keeps. Raises `FaultError` when its sealed part was changed."""
    custody = vault.keys.custody("receive")
    key_id = Dying(row["die_class"], date.fromisoformat(row["die_day"])).key_id
    hidden: dict[str, Any] = {"file": EXPIRED_NAME, "sha256": EXPIRED_NAME, "reason": None}
    if row["sealed"] and custody.has(key_id):
        blob = bytes.fromhex(row["sealed"])
        hidden = json.loads(sealing.unseal(custody.key(key_id), blob, f"batch {row['id']}"))
    return Receipt(
        batch_id=row["id"],
        feed=row["feed"],
        source=row["source"],
        status=row["status"],
        partitions=tuple(json.loads(row["partitions"])),
        **hidden,
        **json.loads(row["counts"]),
    )
