"""Receive: one delivered file becomes stored records, and a receipt that says what became of every unit in it.

    bytes → ingest.read → past its term? → duplicate? → partitions → COMMIT → audit segment → receipt

(1) The file is known by source and content: the same one again changes nothing and gets the receipt of the first.
(2) Bytes first: day keys into the ring, Parquet files and rejections under names nobody knows yet.
(3) One catalogue transaction is the commit point; it holds the batch, its files and the audit entry, and it refuses a
    partition that has begun to expire. A crash before it leaves files that the next writer sweeps; after it, nothing is
    missing.
(4) A batch whose control totals disagree is held whole, encrypted, until a person accepts it. (5) Where the clock can't
be believed and rows would be lost by it, nothing is committed and the file stays with its sender.

Called by `trafficvault.intake` under the writer's lock.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pyarrow as pa

from ingest.errors import FeedError, FileRefused
from ingest.feed import Feed
from ingest.read import FUTURE, Reading, anchor, read
from ingest.record import CATEGORIES
from ingest.source import Source
from trafficvault import partitions, receipts, rejections, retention, sealing, signing
from trafficvault.catalogue import Row, Transaction
from trafficvault.errors import DecisionError, FaultError, RefusedError, SpaceError, UsageError
from trafficvault.keys import Custody
from trafficvault.layout import day_key_id, held_key_id
from trafficvault.partitions import WrittenFile
from trafficvault.receipts import Dying, Receipt
from trafficvault.sweep import sweep
from trafficvault.vault import Vault

_EPOCH = date(1970, 1, 1)


@dataclass(slots=True)
class _Stored:
    """What the bytes step left on disk, for the commit."""

    files: list[WrittenFile] = field(default_factory=list)
    duplicate: int = 0
    expired: int = 0


def receive(
    vault: Vault,
    feed: Feed,
    source: Source,
    data: bytes,
    file_name: str,
    progress: Callable[[str], None] = lambda step: None,
) -> Receipt:
    """Takes in `data`, delivered by `source` under `file_name`. The caller holds the writer's lock.

    Raises `SpaceError` below `min_free`, before a byte is written, `DecisionError` when rows would be lost to a clock
    that can't be believed, `UsageError` when the source does not fit its feed. A file that is refused or held is not an
    exception: its receipt says so.
    """
    require_space(vault)
    blank = _blank(vault, feed, source, hashlib.sha256(data).hexdigest(), file_name)
    known = _known(vault, blank)
    if known is not None:
        return known
    progress("reading")
    arrived = vault.clock.now()
    try:
        reading = read(data, feed, source, arrived, file_name, vault.settings.max_file)
        classes = set(reading.records) | ({source.record_class} if source.record_class else set())
        for record_class in sorted(classes):
            vault.policy.require_term(record_class)
    except FeedError as problem:
        raise UsageError(f"reading a file of source {source.name}: {problem}") from problem
    except (FileRefused, RefusedError) as refused:
        return _commit_refused(vault, blank, feed, source, str(refused))
    if reading.mismatches:
        return _commit_held(vault, blank, feed, source, data, reading, arrived)
    return _store(vault, blank, feed, reading, arrived, _dying(vault, feed, source, reading, arrived), progress)


def refuse(vault: Vault, feed: Feed, source: Source, sha256: str, file_name: str, why: str) -> Receipt:
    """The receipt of a file that is refused before it is read. The caller holds the writer's lock."""
    blank = _blank(vault, feed, source, sha256, file_name)
    return _known(vault, blank) or _commit_refused(vault, blank, feed, source, why)


def accept(vault: Vault, person: str, batch_id: str, feed: Feed, source: Source) -> Receipt:
    """Stores the held batch `batch_id` although its totals disagree, as `person` decided. The caller holds the lock.

    Every later answer that searches its days names the mismatch. Raises `RefusedError` when the batch is not held,
    `FaultError` when its bytes are not there or were changed.
    """
    require_space(vault)
    with vault.catalogue.reading() as tx:
        row = tx.get("batches", id=batch_id)
    if row is None or row["status"] != "held":
        state = "unknown" if row is None else row["status"]
        raise RefusedError(f"accepting batch {batch_id}: it is {state}, and only a held batch can be accepted")
    held = receipts.load(vault, row)
    dying = Dying(row["die_class"], date.fromisoformat(row["die_day"]))
    custody = vault.keys.custody("receive")
    path = vault.layout.held_file(dying.record_class, dying.day, batch_id)
    try:
        blob = path.read_bytes()
    except OSError as problem:
        raise FaultError(f"accepting batch {batch_id}: its bytes can't be read ({problem.strerror})") from problem
    data = sealing.unseal(custody.key(held_key_id(dying.record_class, dying.day)), blob, f"held {batch_id}")
    arrived = datetime.fromisoformat(row["received_at"])
    reading = read(data, feed, source, arrived, held.file, vault.settings.max_file)
    blank = replace(held, read=0, held=0)
    waiting = {"kind": "held", "record_class": row["die_class"], "day": row["die_day"], "batch": batch_id}
    receipt = _store(vault, blank, feed, reading, arrived, dying, lambda step: None, accepted=(person, waiting))
    # A crash before this line leaves the held bytes without a catalogue row: the next writer sweeps them.
    vault.disk.remove(path)
    return receipt


def require_space(vault: Vault) -> None:
    """Raises `SpaceError` when the file system of the vault has less than `min_free` left."""
    free, least = vault.disk.free_bytes(vault.layout.vault), vault.policy.min_free
    if free < least:
        raise SpaceError(
            f"receiving a file: {free} bytes are free and `min_free` is {least}; free space or lower it; "
            "the file stays where it is"
        )


def _blank(vault: Vault, feed: Feed, source: Source, sha256: str, file_name: str) -> Receipt:
    """A receipt without counts. The batch's id is a keyed digest, which tells nobody without keys what it was."""
    key = vault.keys.custody("catalogue").key("names")
    identity = hmac.new(key, f"batch/{source.name}/{sha256}".encode(), hashlib.sha256).hexdigest()[:24]
    return Receipt(identity, feed.name, source.name, file_name, sha256, "refused")


def _known(vault: Vault, blank: Receipt) -> Receipt | None:
    with vault.catalogue.reading() as tx:
        vault.audit.require_in_step(tx)
        row = tx.get("batches", id=blank.batch_id)
    if row is None or row["status"] not in ("committed", "held"):
        return None
    known = receipts.load(vault, row)
    return replace(known, file=blank.file, sha256=blank.sha256, status="already-ingested")


def _dying(vault: Vault, feed: Feed, source: Source, reading: Reading | None, arrived: datetime) -> Dying:
    """What rejections, held bytes and names of this batch die with: the shortest term of the feed's classes.

    A feed whose rows name their class themselves covers every class: a row that could not be read may be of any.
    """
    named = {source.record_class or feed.record_class} - {None}
    if reading is not None:
        named |= set(reading.records)
    if feed.class_column is not None and source.record_class is None:
        named = set(vault.policy.classes())
    candidates = [name for name in vault.policy.classes() if name in named] or vault.policy.classes()
    if not candidates:
        raise UsageError(
            "receiving a file: policy.toml covers no record class, so nothing may be stored; add classes to it"
        )
    zone = vault.policy.zone
    # A clock that jumped buys rejected and held bytes no longer life.
    arrived = min(arrived, _trusted_time(vault) or arrived) if vault.audit.clock_problem(arrived) else arrived
    shortest = min(candidates, key=lambda name: retention.expires_at(arrived, vault.policy.require_term(name), zone))
    return Dying(shortest, arrived.date())


def _store(
    vault: Vault,
    blank: Receipt,
    feed: Feed,
    reading: Reading,
    arrived: datetime,
    dying: Dying,
    progress: Callable[[str], None],
    accepted: tuple[str, Row] | None = None,
) -> Receipt:
    """Writes and commits what `reading` holds; steps (2) and (3) of the module."""
    sweep(vault)
    custody = vault.keys.custody("receive")
    stored = _Stored()
    for record_class, table in reading.records.items():
        _store_class(vault, custody, stored, record_class, table, blank.batch_id, progress)
    receipt = replace(
        blank,
        status="committed",
        read=reading.units,
        stored=sum(file.rows for file in stored.files),
        joined=reading.joined,
        ignored=sum(reading.ignored.values()),
        duplicate=stored.duplicate,
        rejected=reading.rejections.num_rows,
        expired=stored.expired,
        partitions=tuple(sorted(f"{file.record_class}/{file.day.isoformat()}" for file in stored.files)),
        ignored_by=dict(reading.ignored),
        rejected_by=_counted(reading.rejections["reason"]),
        notes=dict(reading.notes),
    )
    receipt.require_balance()
    _require_believable(vault, receipt)
    vault.keys.ensure([dying.key_id])
    leftover = rejections.write(vault, custody, dying, receipt.batch_id, reading.rejections)
    progress("committing")
    row = receipts.row_of(
        vault,
        receipt,
        dying,
        arrived,
        feed_digest=feed.digest,
        sequence=reading.sequence,
        span=_span(stored.files),
    )
    with vault.catalogue.transaction() as tx:
        for file in stored.files:
            _put_file(tx, file, receipt.batch_id, arrived)
        if leftover is not None:
            tx.put("leftovers", **leftover)
        if accepted is not None:
            tx.delete("leftovers", **accepted[1])
        tx.put("batches", **row)
        detail = receipt.audit_detail() | {"files": [file.digest for file in stored.files]}
        vault.audit.enter(tx, "accept" if accepted else "receive", accepted[0] if accepted else None, detail)
    # From here the batch is in the vault: a crash below loses the receipt's print, and the same file again prints it.
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


def _store_class(
    vault: Vault,
    custody: Custody,
    stored: _Stored,
    record_class: str,
    table: pa.Table,
    batch_id: str,
    progress: Callable[[str], None],
) -> None:
    """Stores the rows of one class, day by day, and counts the expired and the duplicate ones."""
    moments = pl.Series("anchor", anchor(table, record_class))
    term = vault.policy.require_term(record_class)
    days = moments.dt.date()
    now = vault.clock.now()
    # A clock that was set back makes no term longer.
    gone = retention.expired_mask(moments, term, vault.policy.zone, max(now, _trusted_time(vault) or now))
    gone = gone | days.is_in(_dead_days(vault, record_class))
    stored.expired += int(gone.sum())
    table = table.append_column("batch", pa.repeat(batch_id, table.num_rows))
    numbers = days.to_physical().to_numpy()
    keep = ~gone.to_numpy()
    for number in np.unique(numbers[keep]):
        day = date.fromordinal(_EPOCH.toordinal() + int(number))
        progress(f"{record_class} {day.isoformat()}")
        rows = table.take(pa.array(np.flatnonzero(keep & (numbers == number))))
        with vault.catalogue.reading() as tx:
            files = [row["id"] for row in tx.select("files", record_class=record_class, day=day.isoformat())]
        vault.keys.ensure([day_key_id(record_class, day, category) for category in CATEGORIES])
        double = partitions.duplicates(vault.layout, custody, record_class, day, rows, files, vault.disk)
        stored.duplicate += int(double.sum())
        fresh = rows.take(pa.array(np.flatnonzero(~double))) if double.any() else rows
        if fresh.num_rows:
            stored.files.append(partitions.write_file(vault.disk, vault.layout, custody, record_class, day, fresh))


def _trusted_time(vault: Vault) -> datetime | None:
    with vault.catalogue.reading() as tx:
        return vault.audit.trusted_time(tx)


def _dead_days(vault: Vault, record_class: str) -> list[date]:
    with vault.catalogue.reading() as tx:
        rows = tx.select("partitions", record_class=record_class)
    return [date.fromisoformat(row["day"]) for row in rows if row["state"] != "live"]


def _put_file(tx: Transaction, file: WrittenFile, batch_id: str, arrived: datetime) -> None:
    day = file.day.isoformat()
    state = tx.get("partitions", record_class=file.record_class, day=day)
    if state is not None and state["state"] != "live":
        raise RefusedError(
            f"storing batch {batch_id}: day {day} of {file.record_class} began to expire; ingest the file again"
        )
    tx.put("partitions", record_class=file.record_class, day=day, state="live", certificate=None)
    tx.put(
        "files",
        id=file.file_id,
        record_class=file.record_class,
        day=day,
        batch=batch_id,
        rows=file.rows,
        bytes=file.bytes,
        digest=file.digest,
        row_sum=file.row_sum,
        reach_from=file.reach_from.isoformat(),
        reach_to=file.reach_to.isoformat(),
        columns=signing.canonical(list(file.columns)).decode(),
        created_at=signing.instant(arrived),
    )


def _commit_refused(vault: Vault, blank: Receipt, feed: Feed, source: Source, why: str) -> Receipt:
    receipt = replace(blank, status="refused", reason=why)
    arrived = vault.clock.now()
    dying = _dying(vault, feed, source, None, arrived)
    vault.keys.ensure([dying.key_id])
    row = receipts.row_of(vault, receipt, dying, arrived, feed_digest=feed.digest)
    with vault.catalogue.transaction() as tx:
        tx.put("batches", **row)
        vault.audit.enter(tx, "receive", None, receipt.audit_detail())
    vault.audit.flush()
    return receipt


def _commit_held(
    vault: Vault, blank: Receipt, feed: Feed, source: Source, data: bytes, reading: Reading, arrived: datetime
) -> Receipt:
    dying = _dying(vault, feed, source, reading, arrived)
    key_id = held_key_id(dying.record_class, dying.day)
    vault.keys.ensure([dying.key_id, key_id])
    custody = vault.keys.custody("receive")
    path = vault.layout.held_file(dying.record_class, dying.day, blank.batch_id)
    vault.disk.make_directory(path.parent)
    blob = sealing.seal(custody.key(key_id), data, f"held {blank.batch_id}")
    vault.disk.create(path, blob)
    reason = "; ".join(reading.mismatches)
    receipt = replace(blank, status="held", read=reading.units, held=reading.units, mismatched=True, reason=reason)
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
            bytes=len(blob),
            digest=partitions.keyed_digest(custody, blob),
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
        pl.Series(table[name]).drop_nulls()
        for table in reading.records.values()
        for name in ("start", "end", "reported_at")
        if name in table.column_names
    ]
    moments = [moment for item in times if item.len() for moment in (item.min(), item.max())]
    days = [moment.astimezone(UTC).date() for moment in moments if isinstance(moment, datetime)]
    return (min(days), max(days)) if days else None


def _counted(reasons: pa.ChunkedArray) -> dict[str, int]:
    counts = pl.Series("reason", reasons, dtype=pl.String).value_counts().sort("reason")
    return {str(reason): int(count) for reason, count in counts.iter_rows()}
