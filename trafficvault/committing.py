"""Committing: the one catalogue transaction that makes a delivered file, or a group of them, part of the vault.

It holds the batches, their files and the audit entries, and it refuses a partition that has begun to expire. Before it
nothing counts; after it nothing is missing. Called by `trafficvault.receive` under the writer's lock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path

from ingest.course import End
from ingest.feed import Feed
from ingest.read import FUTURE, Reading
from ingest.source import Source
from trafficvault import partitions, raw_bytes, receipts, retention, sealing, signing, timekeeping
from trafficvault.account import Account
from trafficvault.batch import Batch
from trafficvault.catalogue import Transaction
from trafficvault.errors import DecisionError, RefusedError, UsageError
from trafficvault.layout import held_key_id
from trafficvault.partitions import WrittenFile
from trafficvault.progress import Progress, Watch
from trafficvault.raw_bytes import Original
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
    rules = vault.policy

    def end(name: str) -> datetime:
        # They hold every category in one piece, so they die with the first that ends.
        return retention.expires_at(arrived, rules.require_term(name, rules.shortest_of(name)), zone)

    shortest = min(candidates, key=end)
    return Dying(shortest, arrived.date())


@dataclass(frozen=True, slots=True)
class Incoming:
    """A delivered file on its way in: its receipt without counts, when it came, what it dies with, how it ended."""

    blank: Receipt
    arrived: datetime
    dying: Dying
    end: End
    original: Original | None = None
    """Its bytes, where they are to be kept."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Why a file is stored that was in the vault before: what a person decided, and what that act has to note."""

    act: str
    person: str
    note: Callable[[Transaction], None]


def commit(
    vault: Vault,
    feed: Feed,
    batch: Batch,
    incoming: Sequence[Incoming],
    progress: Watch,
    decided: Decision | None = None,
) -> list[Receipt]:
    """Commits what `batch` wrote of `incoming`, the files of its accounts: all of them, or none.

    Raises `DecisionError` where rows would be lost to a clock that can't be believed.
    """
    made = [_receipt(one.blank, account) for one, account in zip(incoming, batch.accounts, strict=True)]
    for receipt, account in zip(made, batch.accounts, strict=True):
        receipt.require_balance()
        _require_believable(vault, receipt, account)
    vault.keys.ensure([one.dying.key_id for one in incoming])
    leftovers = [account.rejections.finish() for account in batch.accounts]
    for one, account in zip(incoming, batch.accounts, strict=True):
        _keep_raw(vault, one, account, batch)
    progress(Progress("committing", batch.read))
    rows = [
        receipts.row_of(
            vault,
            receipt,
            one.dying,
            one.arrived,
            feed_digest=feed.digest,
            sequence=one.end.sequence,
            span=account.span,
        )
        for receipt, one, account in zip(made, incoming, batch.accounts, strict=True)
    ]
    only = incoming[0].blank.batch_id if len(incoming) == 1 else None
    with vault.catalogue.transaction() as tx:
        for file in batch.files:
            _put_file(tx, file, only, incoming[0].arrived, batch.lost(file.record_class, file.day))
        if decided is not None:
            decided.note(tx)
        for receipt, row, leftover, account in zip(made, rows, leftovers, batch.accounts, strict=True):
            for beside in (leftover, account.raw.row if account.raw else None):
                if beside is not None:
                    tx.put("leftovers", **beside)
            tx.put("batches", **row)
            mine = [file.digest for file in batch.files if _day_of(file) in receipt.partitions]
            detail = receipt.audit_detail() | {"files": mine}
            act, person = (decided.act, decided.person) if decided else ("receive", None)
            vault.audit.enter(tx, act, person, detail)
    # From here it is in the vault: a crash below loses the receipt's print, and the same file again prints it.
    batch.committed()
    vault.audit.flush()
    return made


def _keep_raw(vault: Vault, one: Incoming, account: Account, batch: Batch) -> None:
    """Seals the bytes of a file, unless a record in it is past its term."""
    if one.original is None or account.expired:
        return
    # Of which day a duplicate is, its account does not know: of one that the batch has met.
    days = batch.met if account.duplicate else account.days
    custody = vault.keys.custody("receive")
    account.raw = raw_bytes.seal(vault, custody, one.blank.batch_id, one.dying, one.original, days)


def _receipt(blank: Receipt, account: Account) -> Receipt:
    by_reason = account.rejections.by_reason
    return replace(
        blank,
        status="committed",
        read=account.read,
        stored=account.stored,
        joined=account.joined,
        ignored=account.ignored.total(),
        duplicate=account.duplicate,
        rejected=by_reason.total(),
        expired=account.expired,
        partitions=tuple(sorted(f"{record_class}/{day.isoformat()}" for record_class, day in account.days)),
        ignored_by=dict(sorted(account.ignored.items())),
        rejected_by=dict(sorted(by_reason.items())),
        notes=dict(sorted(account.notes.items())),
    )


def _day_of(file: WrittenFile) -> str:
    return f"{file.record_class}/{file.day.isoformat()}"


def _require_believable(vault: Vault, receipt: Receipt, account: Account) -> None:
    """Raises `DecisionError` when rows, or what tells where they were, were judged past their term by a clock that
    jumped; or rows in the future.
    """
    if not receipt.expired and not account.unlocated and FUTURE not in receipt.rejected_by:
        return
    problem = vault.audit.clock_problem(vault.clock.now())
    if problem is not None:
        raise DecisionError(
            f"receiving a file: {problem}, and {receipt.expired} of its rows would be past their term, "
            f"{account.unlocated} past that of their location and {receipt.rejected_by.get(FUTURE, 0)} in the future; "
            "nothing was stored and the file stays where it is",
            hint=timekeeping.HINT,
        )


def trusted_time(vault: Vault) -> datetime | None:
    """The moment up to which the audit log believes the clock."""
    with vault.catalogue.reading() as tx:
        return vault.audit.trusted_time(tx)


def _put_file(
    tx: Transaction,
    file: WrittenFile,
    batch_id: str | None,
    arrived: datetime,
    lost: frozenset[str] = frozenset(),
) -> None:
    """Puts the row of `file` and its partition, of which the categories `lost` have expired; `batch_id` is None where
    rows of several batches are in it.
    """
    day = file.day.isoformat()
    state = tx.get("partitions", record_class=file.record_class, day=day)
    if state is not None and state["state"] != "live":
        raise RefusedError(f"storing records: day {day} of {file.record_class} began to expire; ingest the file again")
    generation = state["generation"] if state else None
    if file.generation != (generation or 1):
        raise RefusedError(
            f"storing records: rows of day {day} of {file.record_class} were removed meanwhile, and its keys are "
            f"others now; ingest the file again"
        )
    if state is None:
        # What had expired before its first record came is gone from the start, and no certificate tells of it.
        gone = {"gone": signing.canonical(sorted(lost)).decode()} if lost else {}
        tx.put("partitions", record_class=file.record_class, day=day, state="live", **gone)
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
