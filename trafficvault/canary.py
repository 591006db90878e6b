"""The canary: a subscriber that nobody has, whose records are taken in, found again and forgotten like everybody's.

A record of IMSI 001-01… (the test network of ITU-T E.212) is received nightly by the same act as any file, read back
under the token of verification, which can't feed a package, and looked for again when its day should be gone. That
the whole way works is then known from today's run, not from the absence of complaints.

It has no number, no cell and no address, so no warrant finds it but one that names this very IMSI.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

import polars as pl

from ingest.record import INTERVAL_CLASSES
from trafficvault import partitions, receive, retention, signing
from trafficvault.delivered import Delivered
from trafficvault.errors import FaultError, RefusedError
from trafficvault.sources import implicit
from trafficvault.vault import Vault

SOURCE = "canary"
"""The name that its batches stand under."""
IMSI = "001010000000001"
GRACE = timedelta(hours=48)
"""A day is to be gone so long after it was due."""
_FEED = "native_csv"
_PREFERRED = "mobile_usage"
_AGE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Canary:
    """What one run found: the batch it sent, the class and day it went to, and how many earlier ones are gone."""

    batch_id: str
    record_class: str
    day: date
    forgotten: int

    @property
    def sentence(self) -> str:
        """The outcome, in words."""
        return f"{self.record_class} {self.day}: taken in and found again; {self.forgotten} earlier days are gone"


def sing(vault: Vault) -> Canary:
    """Sends one record, finds it again, and looks for those that must be gone. The caller holds the writer's lock.

    Raises `FaultError` when it was not stored, is not found as it was sent, or one past its term still has keys.
    """
    at = vault.clock.now() - _AGE
    record_class = _class_of(vault)
    record_id = f"canary-{signing.instant(at)}"
    head = "class,record_id,start,event,imsi"
    content = f"{head}\n{record_class},{record_id},{signing.instant(at)},notice,{IMSI}\n".encode()
    feed = vault.feeds[_FEED]
    source = replace(implicit(feed, vault.policy), name=SOURCE)
    receipt = receive.receive(vault, feed, source, Delivered(data=content), f"canary {signing.instant(at)}")
    if receipt.status != "committed" or receipt.stored != 1:
        raise FaultError(
            f"sending the canary: its batch {receipt.batch_id} is {receipt.status} with {receipt.stored} records "
            f"stored of 1; `batch show` says why"
        )
    _require_found(vault, record_class, at, record_id)
    return Canary(receipt.batch_id, record_class, at.date(), _require_forgotten(vault))


def _class_of(vault: Vault) -> str:
    classes = [name for name in vault.policy.classes() if name not in INTERVAL_CLASSES]
    if not classes:
        raise RefusedError("sending the canary: the policy covers no class of events; set canary_every to PT0S")
    return _PREFERRED if _PREFERRED in classes else classes[0]


def _require_found(vault: Vault, record_class: str, at: datetime, record_id: str) -> None:
    custody = vault.keys.custody("verify")
    with vault.catalogue.reading() as tx:
        files = tx.select("files", record_class=record_class, day=at.date().isoformat())
    only = pl.col("record_id") == record_id
    found = 0
    for row in files:
        columns = ("record_id", "start", "imsi")
        rows = partitions.read_in_custody(
            vault.layout, custody, record_class, at.date(), row["id"], columns, only, row["generation"] or 1
        )
        found += rows.filter((pl.col("imsi") == IMSI) & (pl.col("start") == at)).height
    if found != 1:
        raise FaultError(
            f"looking for the canary in {record_class} {at.date()}: it was found {found} times instead of once; "
            "`verify` names what is wrong"
        )


def _require_forgotten(vault: Vault) -> int:
    """How many of its days are gone; one that should be and is not is a fault."""
    now, gone = vault.clock.now(), 0
    with vault.catalogue.reading() as tx:
        sent = {name for row in tx.select("batches", source=SOURCE) for name in json.loads(row["partitions"])}
        states = {f"{row['record_class']}/{row['day']}": row["state"] for row in tx.select("partitions")}
    # Class and day of each key, whichever its category and generation.
    keyed = {"/".join(name.split("/")[:2]) for name in vault.keys.key_ids()}
    for name in sorted(sent):
        record_class, _, text = name.partition("/")
        if states.get(name) == "tombstone" and name not in keyed:
            gone += 1
            continue
        term = vault.policy.require_term(record_class)
        if retention.due(date.fromisoformat(text), term, vault.policy.zone) + GRACE < now:
            raise FaultError(f"looking for the canary of {name}: its day is past its term and not gone; run expire")
    return gone
