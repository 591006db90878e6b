"""Receive: one delivered file becomes stored records, and a receipt that says what became of every unit in it.

    bytes → ingest.read → past its term? → duplicate? → partitions → COMMIT → audit segment → receipt

(1) The file is known by source and content: the same one again changes nothing and gets the receipt of the first.
(2) Bytes first: day keys into the ring, Parquet files and rejections under names nobody knows yet.
(3) One catalogue transaction is the commit point; it holds the batch, its files and the audit entry, and it refuses a
    partition that has begun to expire. A crash before it leaves files that the next writer sweeps; after it, nothing is
    missing.
(4) A batch whose control totals disagree is held whole, encrypted, until a person accepts it.

Called by the command line (`ingest`, `batch accept`) under the writer's lock.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pyarrow as pa

from ingest.errors import FeedError, FileRefused
from ingest.feed import Feed
from ingest.read import Reading, anchor, read
from ingest.record import CATEGORIES
from ingest.source import Source
from trafficvault import partitions, rejections, retention, sealing, signing
from trafficvault.catalogue import Transaction
from trafficvault.errors import RefusedError, SpaceError, UsageError
from trafficvault.keys import Custody
from trafficvault.layout import day_key_id, held_key_id
from trafficvault.partitions import WrittenFile
from trafficvault.vault import Vault

COUNTS = ("read", "stored", "joined", "ignored", "duplicate", "rejected", "expired", "held")


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

    Raises `SpaceError` below `min_free`, before a byte is written. A file that is refused or held is not an exception:
    its receipt says so.
    """
    require_space(vault)
    sha256 = hashlib.sha256(data).hexdigest()
    batch_id = batch_identity(vault, source.name, sha256)
    blank = Receipt(batch_id, feed.name, source.name, file_name, sha256, "refused")
    with vault.catalogue.reading() as tx:
        known = tx.get("batches", id=batch_id)
    if known is not None and known["status"] in ("committed", "held"):
        return replace(load_receipt(vault, known), file=file_name, status="already-ingested")
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
        return _commit_refused(vault, blank, feed, str(refused))
    if reading.mismatches:
        return _commit_held(vault, blank, feed, source, data, reading)
    return store(vault, blank, feed, source, reading, arrived, progress)


def accept(vault: Vault, person: str, batch_id: str, feed: Feed, source: Source) -> Receipt:
    """Stores the held batch `batch_id` although its control totals disagree, as `person` decided. The caller holds the
    lock.

    Every later answer that searches its days names the mismatch. Raises `RefusedError` when the batch is not held.
    """
    require_space(vault)
    with vault.catalogue.reading() as tx:
        row = tx.get("batches", id=batch_id)
    if row is None or row["status"] != "held":
        state = "unknown" if row is None else row["status"]
        raise RefusedError(f"accepting batch {batch_id}: it is {state}, and only a held batch can be accepted")
    held = load_receipt(vault, row)
    day = date.fromisoformat(row["die_day"])
    custody = vault.keys.custody("receive")
    path = vault.layout.held_file(row["die_class"], day, batch_id)
    data = sealing.unseal(custody.key(held_key_id(row["die_class"], day)), path.read_bytes(), f"held {batch_id}")
    arrived = datetime.fromisoformat(row["received_at"])
    reading = read(data, feed, source, arrived, held.file, vault.settings.max_file)
    blank = replace(held, read=0, held=0, ignored_by={}, reason=held.reason)
    waiting = {"kind": "held", "record_class": row["die_class"], "day": row["die_day"], "batch": batch_id}
    receipt = store(vault, blank, feed, source, reading, arrived, lambda step: None, accepted=(person, waiting))
    # A crash before this line leaves the held bytes without a catalogue row: the next writer sweeps them.
    vault.disk.remove(path)
    return receipt


def store(
    vault: Vault,
    blank: Receipt,
    feed: Feed,
    source: Source,
    reading: Reading,
    arrived: datetime,
    progress: Callable[[str], None],
    accepted: tuple[str, dict[str, str]] | None = None,
) -> Receipt:
    """Writes and commits what `reading` holds; steps (2) and (3) of the module."""
    sweep(vault)
    custody = vault.keys.custody("receive")
    stored = _Stored()
    for record_class, table in reading.records.items():
        _store_class(vault, custody, stored, record_class, table, blank.batch_id, arrived, progress)
    reasons = _counted(reading.rejections["reason"]) if reading.rejections.num_rows else {}
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
        rejected_by=reasons,
        notes=dict(reading.notes),
    )
    receipt.require_balance()
    die_class = shortest_class(vault, feed, source, reading)
    leftover = rejections.write(vault, custody, die_class, arrived.date(), receipt.batch_id, reading.rejections)
    progress("committing")
    with vault.catalogue.transaction() as tx:
        for file in stored.files:
            _put_file(tx, file, receipt.batch_id, arrived)
        if leftover is not None:
            tx.put("leftovers", **leftover)
        if accepted is not None:
            tx.delete("leftovers", **accepted[1])
        _put_batch(vault, tx, receipt, feed, reading, die_class, arrived, _span(stored.files))
        detail = _audit_detail(receipt) | {"files": [file.digest for file in stored.files]}
        vault.audit.enter(tx, "accept" if accepted else "receive", accepted[0] if accepted else None, detail)
    # From here the batch is in the vault: a crash below loses the receipt's print, and the same file again prints it.
    vault.audit.flush()
    return receipt


def batch_identity(vault: Vault, source: str, sha256: str) -> str:
    """The id of a batch: a keyed digest of source and content, which tells nobody without keys what it was."""
    key = vault.keys.custody("catalogue").key("names")
    return hmac.new(key, f"batch/{source}/{sha256}".encode(), hashlib.sha256).hexdigest()[:24]


def require_space(vault: Vault) -> None:
    """Raises `SpaceError` when the file system of the vault has less than `min_free` left."""
    free, least = vault.disk.free_bytes(vault.layout.vault), vault.policy.min_free
    if free < least:
        raise SpaceError(
            f"receiving a file: {free} bytes are free and `min_free` is {least}; free space or lower it; "
            "the file stays where it is"
        )


def shortest_class(vault: Vault, feed: Feed, source: Source, reading: Reading | None = None) -> str:
    """The class whose term rejections and held bytes of this feed die with: the shortest of the feed's classes."""
    named = {source.record_class or feed.record_class} - {None}
    if reading is not None:
        named |= set(reading.records)
    candidates = [name for name in sorted(str(item) for item in named) if vault.policy.term_of(name) is not None]
    if not candidates:
        candidates = [name for name in vault.policy.classes() if vault.policy.term_of(name) is not None]
    today = vault.clock.now()
    zone = vault.policy.zone
    return min(candidates, key=lambda name: retention.expires_at(today, vault.policy.require_term(name), zone))


def load_receipt(vault: Vault, row: dict[str, object]) -> Receipt:
    """The receipt that the catalogue's batch `row` keeps; its file name and digest are sealed there."""
    key = vault.keys.custody("catalogue").key("names")
    sealed = json.loads(sealing.unseal(key, bytes.fromhex(str(row["sealed"])), f"batch {row['id']}"))
    counts = json.loads(str(row["counts"]))
    return Receipt(
        batch_id=str(row["id"]),
        feed=str(row["feed"]),
        source=str(row["source"]),
        status=str(row["status"]),
        partitions=tuple(json.loads(str(row["partitions"]))),
        **sealed,
        **counts,
    )


def sweep(vault: Vault) -> int:
    """Removes what a crashed writer left: temporary names, and record files no catalogue row or certificate knows.

    A file that a certificate names is an expired one that somebody put back: it stays, for `verify` to name.
    """
    with vault.catalogue.reading() as tx:
        known = {row["id"] for row in tx.select("files")}
        rejected = {(row["kind"], row["batch"]) for row in tx.select("leftovers")}
        named = {item["id"] for row in tx.select("certificates") for item in json.loads(row["body"]).get("files", [])}
    orphans = [
        path
        for path in sorted(vault.layout.records.glob("*/*/*"))
        if path.name.partition(".")[0] not in known | named or ".part-" in path.name
    ]
    for kind, root in (("rejections", vault.layout.rejections), ("held", vault.layout.held)):
        for path in sorted(root.glob("*/*/*")):
            batch = path.name.partition(".")[0]
            if ".part-" in path.name or ((kind, batch) not in rejected and batch not in named):
                orphans.append(path)
    for path in orphans:
        vault.disk.remove(path)
    if orphans:
        with vault.catalogue.transaction() as tx:
            vault.audit.enter(tx, "sweep", None, {"files": [path.name for path in orphans]})
        vault.audit.flush()
    return len(orphans)


def _store_class(
    vault: Vault,
    custody: Custody,
    stored: _Stored,
    record_class: str,
    table: pa.Table,
    batch_id: str,
    arrived: datetime,
    progress: Callable[[str], None],
) -> None:
    """Stores the rows of one class, day by day, and counts the expired and the duplicate ones."""
    moments = pl.Series("anchor", anchor(table, record_class))
    term = vault.policy.require_term(record_class)
    gone = retention.expired_mask(moments, term, vault.policy.zone, vault.clock.now())
    days = moments.dt.date()
    dead = _dead_days(vault, record_class)
    if dead:
        gone = gone | days.is_in(list(dead))
    stored.expired += int(gone.sum())
    table = table.append_column("batch", pa.array([batch_id] * 1).take(pa.array(np.zeros(table.num_rows, np.int64))))
    numbers = days.to_physical().to_numpy()
    keep = ~gone.to_numpy()
    for number in np.unique(numbers[keep]):
        day = date.fromordinal(date(1970, 1, 1).toordinal() + int(number))
        progress(f"{record_class} {day.isoformat()}")
        rows = table.take(pa.array(np.flatnonzero(keep & (numbers == number))))
        with vault.catalogue.reading() as tx:
            files = tx.select("files", record_class=record_class, day=day.isoformat())
        vault.keys.ensure([day_key_id(record_class, day, category) for category in CATEGORIES])
        double = partitions.duplicates(
            vault.layout, custody, record_class, day, rows, [row["id"] for row in files], vault.disk
        )
        stored.duplicate += int(double.sum())
        fresh = rows.take(pa.array(np.flatnonzero(~double))) if double.any() else rows
        if fresh.num_rows:
            stored.files.append(partitions.write_file(vault.disk, vault.layout, custody, record_class, day, fresh))


def _dead_days(vault: Vault, record_class: str) -> set[date]:
    with vault.catalogue.reading() as tx:
        rows = tx.select("partitions", record_class=record_class)
    return {date.fromisoformat(row["day"]) for row in rows if row["state"] != "live"}


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
        columns=json.dumps(list(file.columns)),
        created_at=signing.instant(arrived),
    )


def _put_batch(
    vault: Vault,
    tx: Transaction,
    receipt: Receipt,
    feed: Feed,
    reading: Reading | None,
    die_class: str | None,
    arrived: datetime,
    span: tuple[str | None, str | None],
) -> None:
    key = vault.keys.custody("catalogue").key("names")
    # The file's name and digest come from outside and may name a subscriber or be guessed: sealed.
    hidden = {"file": receipt.file, "sha256": receipt.sha256, "reason": receipt.reason}
    counts: dict[str, object] = {name: getattr(receipt, name) for name in COUNTS}
    counts |= {"ignored_by": receipt.ignored_by, "rejected_by": receipt.rejected_by, "notes": receipt.notes}
    counts["mismatched"] = receipt.mismatched
    tx.put(
        "batches",
        id=receipt.batch_id,
        source=receipt.source,
        feed=receipt.feed,
        feed_digest=feed.digest,
        received_at=signing.instant(arrived),
        status=receipt.status,
        identity=receipt.batch_id,
        counts=json.dumps(counts, sort_keys=True),
        partitions=json.dumps(list(receipt.partitions)),
        first_day=span[0],
        last_day=span[1],
        sequence=reading.sequence if reading else None,
        die_class=die_class,
        die_day=arrived.date().isoformat(),
        rejected=receipt.rejected,
        sealed=sealing.seal(key, json.dumps(hidden).encode(), f"batch {receipt.batch_id}").hex(),
    )


def _commit_refused(vault: Vault, blank: Receipt, feed: Feed, why: str) -> Receipt:
    receipt = replace(blank, status="refused", reason=why)
    with vault.catalogue.transaction() as tx:
        _put_batch(vault, tx, receipt, feed, None, None, vault.clock.now(), (None, None))
        vault.audit.enter(tx, "receive", None, _audit_detail(receipt))
    vault.audit.flush()
    return receipt


def _commit_held(vault: Vault, blank: Receipt, feed: Feed, source: Source, data: bytes, reading: Reading) -> Receipt:
    arrived = vault.clock.now()
    die_class, day = shortest_class(vault, feed, source, reading), arrived.date()
    vault.keys.ensure([held_key_id(die_class, day)])
    custody = vault.keys.custody("receive")
    path = vault.layout.held_file(die_class, day, blank.batch_id)
    vault.disk.make_directory(path.parent)
    blob = sealing.seal(custody.key(held_key_id(die_class, day)), data, f"held {blank.batch_id}")
    vault.disk.create(path, blob)
    receipt = replace(
        blank,
        status="held",
        read=reading.units,
        held=reading.units,
        mismatched=True,
        reason="; ".join(reading.mismatches),
    )
    receipt.require_balance()
    with vault.catalogue.transaction() as tx:
        tx.put(
            "leftovers",
            kind="held",
            record_class=die_class,
            day=day.isoformat(),
            batch=receipt.batch_id,
            bytes=len(blob),
            digest=partitions.keyed_digest(custody, blob),
            rows=reading.units,
        )
        _put_batch(vault, tx, receipt, feed, reading, die_class, arrived, _reading_span(reading))
        vault.audit.enter(tx, "receive", None, _audit_detail(receipt))
    vault.audit.flush()
    return receipt


def _audit_detail(receipt: Receipt) -> dict[str, object]:
    counts = {name: getattr(receipt, name) for name in COUNTS}
    return {
        "batch": receipt.batch_id,
        "source": receipt.source,
        "feed": receipt.feed,
        "status": receipt.status,
        **counts,
    }


def _span(files: list[WrittenFile]) -> tuple[str | None, str | None]:
    if not files:
        return None, None
    return min(file.reach_from for file in files).isoformat(), max(file.reach_to for file in files).isoformat()


def _reading_span(reading: Reading) -> tuple[str | None, str | None]:
    moments = [pl.Series(anchor(table, name)) for name, table in reading.records.items()]
    days = [(item.min(), item.max()) for item in moments if item.len()]
    if not days:
        return None, None
    first = min(low for low, _ in days if isinstance(low, datetime))
    last = max(high for _, high in days if isinstance(high, datetime))
    return first.astimezone(UTC).date().isoformat(), last.astimezone(UTC).date().isoformat()


def _counted(reasons: pa.ChunkedArray) -> dict[str, int]:
    counts = pl.Series("reason", reasons).value_counts().sort("reason")
    return {str(reason): int(count) for reason, count in counts.iter_rows()}
