"""Committing a batch: the one catalogue transaction that makes a delivered file part of the vault, refused or held.

It holds the batch, its files and the audit entry, and it refuses a partition that has begun to expire. Before it
nothing counts; after it nothing is missing. Called by `trafficvault.receive` under the writer's lock.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

from ingest.course import End
from ingest.feed import Feed
from ingest.read import FUTURE, Reading
from ingest.source import Source
from trafficvault import partitions, receipts, retention, sealing, signing
from trafficvault.batch import Batch
from trafficvault.catalogue import Row, Transaction
from trafficvault.errors import DecisionError, RefusedError, UsageError
from trafficvault.layout import held_key_id
from trafficvault.partitions import WrittenFile
from trafficvault.progress import Progress, Watch
from trafficvault.receipts import Dying, Receipt
from trafficvault.vault import Vault


def dying_of(vault: Vault, feed: Feed, source: Source, classes: set[str], arrived: datetime) -> Dying:
    """What rejections, held bytes and names of this batch die with: the shortest term of the feed's classes.

    `classes` are those of its records, as far as they are known. A feed whose rows name their class themselves covers
    every class: a row that could not be read may be of any.
    """
    named = classes | ({source.record_class or feed.record_class} - {None})
    if feed.class_column is not None and source.record_class is None:
        named = set(vault.policy.classes())
    candidates = [name for name in vault.policy.classes() if name in named] or vault.policy.classes()
    if not candidates:
        raise UsageError(
            "receiving a file: policy.toml covers no record class, so nothing may be stored; add classes to it"
        )
    zone = vault.policy.zone
    # A clock that jumped buys rejected and held bytes no longer life.
    arrived = min(arrived, trusted_time(vault) or arrived) if vault.audit.clock_problem(arrived) else arrived
    shortest = min(candidates, key=lambda name: retention.expires_at(arrived, vault.policy.require_term(name), zone))
    return Dying(shortest, arrived.date())


def commit(
    vault: Vault,
    blank: Receipt,
    feed: Feed,
    batch: Batch,
    end: End,
    arrived: datetime,
    dying: Dying,
    progress: Watch,
    accepted: tuple[str, Row] | None = None,
) -> Receipt:
    """Commits what `batch` wrote. Raises `DecisionError` where rows would be lost to a clock that can't be believed."""
    by_reason = batch.rejections.by_reason if batch.rejections else {}
    receipt = replace(
        blank,
        status="committed",
        read=batch.read,
        stored=sum(file.rows for file in batch.files),
        joined=batch.joined,
        ignored=batch.ignored.total(),
        duplicate=batch.duplicate,
        rejected=sum(by_reason.values()),
        expired=batch.expired,
        partitions=tuple(sorted({f"{file.record_class}/{file.day.isoformat()}" for file in batch.files})),
        ignored_by=dict(sorted(batch.ignored.items())),
        rejected_by=dict(sorted(by_reason.items())),
        notes=dict(sorted(batch.notes.items())),
    )
    receipt.require_balance()
    _require_believable(vault, receipt)
    vault.keys.ensure([dying.key_id])
    leftover = batch.rejections.finish() if batch.rejections else None
    progress(Progress("committing", batch.read))
    row = receipts.row_of(
        vault,
        receipt,
        dying,
        arrived,
        feed_digest=feed.digest,
        sequence=end.sequence,
        span=_span(batch.files),
    )
    with vault.catalogue.transaction() as tx:
        for file in batch.files:
            _put_file(tx, file, receipt.batch_id, arrived)
        if leftover is not None:
            tx.put("leftovers", **leftover)
        if accepted is not None:
            tx.delete("leftovers", **accepted[1])
        tx.put("batches", **row)
        detail = receipt.audit_detail() | {"files": [file.digest for file in batch.files]}
        vault.audit.enter(tx, "accept" if accepted else "receive", accepted[0] if accepted else None, detail)
    # From here the batch is in the vault: a crash below loses the receipt's print, and the same file again prints it.
    batch.committed()
    vault.audit.flush()
    return receipt


def _require_believable(vault: Vault, receipt: Receipt) -> None:
    """Raises `DecisionError` when rows were judged past their term, or in the future, by a clock that jumped."""
    problem = vault.audit.clock_problem(vault.clock.now())
    if problem is not None and (receipt.expired or FUTURE in receipt.rejected_by):
        raise DecisionError(
            f"receiving a file: {problem}, and {receipt.expired} of its rows would be past their term and "
            f"{receipt.rejected_by.get(FUTURE, 0)} in the future; nothing was stored and the file stays where it is",
            hint="check the clock; if it is right, an operator runs: trafficvault --user NAME expire --accept-clock",
        )


def trusted_time(vault: Vault) -> datetime | None:
    """The moment up to which the audit log believes the clock."""
    with vault.catalogue.reading() as tx:
        return vault.audit.trusted_time(tx)


def _put_file(tx: Transaction, file: WrittenFile, batch_id: str, arrived: datetime) -> None:
    day = file.day.isoformat()
    state = tx.get("partitions", record_class=file.record_class, day=day)
    if state is not None and state["state"] != "live":
        raise RefusedError(
            f"storing batch {batch_id}: day {day} of {file.record_class} began to expire; ingest the file again"
        )
    generation = state["generation"] if state else None
    if file.generation != (generation or 1):
        raise RefusedError(
            f"storing batch {batch_id}: rows of day {day} of {file.record_class} were removed meanwhile, and its keys "
            f"are others now; ingest the file again"
        )
    tx.put(
        "partitions",
        **(state or {"record_class": file.record_class, "day": day, "state": "live", "certificate": None}),
    )
    tx.put(
        "files",
        **file.as_row(),
        batch=batch_id,
        created_at=signing.instant(arrived),
    )


def commit_refused(vault: Vault, blank: Receipt, feed: Feed, source: Source, why: str) -> Receipt:
    """Commits that a file was refused, and why."""
    receipt = replace(blank, status="refused", reason=why)
    arrived = vault.clock.now()
    dying = dying_of(vault, feed, source, set(), arrived)
    vault.keys.ensure([dying.key_id])
    row = receipts.row_of(vault, receipt, dying, arrived, feed_digest=feed.digest)
    with vault.catalogue.transaction() as tx:
        tx.put("batches", **row)
        vault.audit.enter(tx, "receive", None, receipt.audit_detail())
    vault.audit.flush()
    return receipt


def commit_held(
    vault: Vault,
    blank: Receipt,
    feed: Feed,
    source: Source,
    data: bytes,
    reading: Reading,
    arrived: datetime,
    waits_for: str | None = None,
) -> Receipt:
    """Seals a file whose control totals disagree, or that `waits_for` something else, whole, and commits that it waits
    for a person.
    """
    dying = dying_of(vault, feed, source, set(reading.records), arrived)
    key_id = held_key_id(dying.record_class, dying.day)
    vault.keys.ensure([dying.key_id, key_id])
    custody = vault.keys.custody("receive")
    path = vault.layout.held_file(dying.record_class, dying.day, blank.batch_id)
    vault.disk.make_directory(path.parent)

    def seal(part: Path) -> None:
        with part.open("wb") as sink:
            sealed = sealing.StreamWriter(custody.key(key_id), sink, f"held {blank.batch_id}")
            sealed.write(data)
            sealed.close()

    vault.disk.create_by(path, seal)
    reason = "; ".join([*reading.mismatches, *([waits_for] if waits_for else [])])
    mismatched = bool(reading.mismatches)
    receipt = replace(
        blank, status="held", read=reading.units, held=reading.units, mismatched=mismatched, reason=reason
    )
    receipt.require_balance()
    row = receipts.row_of(
        vault,
        receipt,
        dying,
        arrived,
        feed_digest=feed.digest,
        sequence=reading.sequence,
        span=_reading_span(reading),
    )
    with vault.catalogue.transaction() as tx:
        tx.put(
            "leftovers",
            kind="held",
            record_class=dying.record_class,
            day=dying.day.isoformat(),
            batch=receipt.batch_id,
            bytes=path.stat().st_size,
            digest=partitions.keyed_digest_of(custody, path),
            rows=reading.units,
        )
        tx.put("batches", **row)
        vault.audit.enter(tx, "receive", None, receipt.audit_detail())
    vault.audit.flush()
    return receipt


def _span(files: list[WrittenFile]) -> tuple[date, date] | None:
    return (min(file.reach_from for file in files), max(file.reach_to for file in files)) if files else None


def _reading_span(reading: Reading) -> tuple[date, date] | None:
    """The UTC days from the first start to the last end that the records of `reading` tell."""
    times = [
        frame[name].drop_nulls()
        for frame in reading.records.values()
        for name in ("start", "end", "reported_at")
        if name in frame.columns
    ]
    moments = [moment for item in times if item.len() for moment in (item.min(), item.max())]
    days = [moment.astimezone(UTC).date() for moment in moments if isinstance(moment, datetime)]
    return (min(days), max(days)) if days else None
