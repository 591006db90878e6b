"""The door of intake: which feed and source a file belongs to, and the acts around `receive` that only look.

`check` reads a file as `receive` would and stores nothing. `batches` and `batch` show receipts again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from ingest.errors import FeedError, FileRefused
from ingest.feed import Feed
from ingest.read import read
from ingest.source import Source
from trafficvault import receipts, receive, rejections
from trafficvault.errors import BatchError, RefusedError, UsageError
from trafficvault.receipts import Dying, Receipt
from trafficvault.sources import implicit
from trafficvault.vault import Vault


@dataclass(frozen=True, slots=True)
class Check:
    """What would become of a file."""

    status: str
    counts: dict[str, int]
    ignored_by: dict[str, int]
    rejected_by: dict[str, int]
    dropped: list[str]
    content: list[str]
    reason: str | None


def feed_and_source(vault: Vault, feed_name: str, source_name: str | None) -> tuple[Feed, Source]:
    """The feed by name, and the source by name or the feed's implicit one. Raises `UsageError` for what is unknown."""
    feed = vault.feeds.get(feed_name)
    if feed is None:
        raise UsageError(f"looking for feed {feed_name}: there is none; known are {', '.join(sorted(vault.feeds))}")
    if source_name is None or (source_name == feed_name and source_name not in vault.sources):
        return feed, implicit(feed, vault.policy)
    source = vault.sources.get(source_name)
    if source is None:
        known = ", ".join(sorted(vault.sources)) or "none"
        raise UsageError(f"looking for source {source_name}: sources.toml has {known}")
    if source.feed != feed_name:
        raise UsageError(f"source {source_name} delivers feed {source.feed}, not {feed_name}")
    return feed, source


def ingest(
    vault: Vault,
    feed_name: str,
    source_name: str | None,
    path: Path,
    progress: Callable[[str], None] = lambda step: None,
) -> Receipt:
    """Receives the file at `path`. The caller holds the writer's lock."""
    feed, source = feed_and_source(vault, feed_name, source_name)
    too_large = _too_large(vault, path)
    if too_large is not None:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return receive.refuse(vault, feed, source, digest, _name(path), too_large)
    return receive.receive(vault, feed, source, path.read_bytes(), _name(path), progress)


def check(vault: Vault, feed_name: str, source_name: str | None, path: Path) -> Check:
    """Reads the file at `path` as `ingest` would, without duplicates and terms, and stores nothing."""
    feed, source = feed_and_source(vault, feed_name, source_name)
    content = list(feed.content)
    too_large = _too_large(vault, path)
    if too_large is not None:
        return Check("would be refused", {}, {}, {}, [], content, too_large)
    try:
        reading = read(path.read_bytes(), feed, source, vault.clock.now(), _name(path), vault.settings.max_file)
        classes = set(reading.records) | ({source.record_class} if source.record_class else set())
        for record_class in sorted(classes):
            vault.policy.require_term(record_class)
    except FeedError as problem:
        raise UsageError(f"reading a file of source {source.name}: {problem}") from problem
    except (FileRefused, RefusedError) as refused:
        return Check("would be refused", {}, {}, {}, [], content, str(refused))
    counts = {
        "read": reading.units,
        "records": sum(table.num_rows for table in reading.records.values()),
        "joined": reading.joined,
        "ignored": sum(reading.ignored.values()),
        "rejected": reading.rejections.num_rows,
    }
    rejected = reading.rejections["reason"].to_pylist()
    return Check(
        "would be held" if reading.mismatches else "would be committed",
        counts,
        dict(reading.ignored),
        {reason: rejected.count(reason) for reason in sorted(set(rejected))},
        list(feed.unassigned(reading.shape)),
        content,
        "; ".join(reading.mismatches) or None,
    )


def accept(vault: Vault, person: str, batch_id: str) -> Receipt:
    """Stores a held batch by the decision of `person`. The caller holds the writer's lock."""
    held = batch(vault, batch_id)
    feed, source = feed_and_source(vault, held.feed, held.source)
    try:
        return receive.accept(vault, person, batch_id, feed, source)
    except FeedError as problem:
        raise UsageError(f"reading a file of source {source.name}: {problem}") from problem
    except FileRefused as refused:
        # The feed or the source is another than when the batch was held.
        raise BatchError(f"accepting batch {batch_id}: as the feed reads it today, {refused}") from refused


def batches(vault: Vault) -> list[Receipt]:
    """The receipt of every batch, oldest first."""
    with vault.catalogue.reading() as tx:
        rows = tx.select("batches")
    return [receipts.load(vault, row) for row in sorted(rows, key=lambda row: str(row["received_at"]))]


def batch(vault: Vault, batch_id: str) -> Receipt:
    """The receipt of one batch. Raises `RefusedError` when there is none of that id."""
    with vault.catalogue.reading() as tx:
        row = tx.get("batches", id=batch_id)
    if row is None:
        raise RefusedError(f"looking for batch {batch_id}: there is none; `batch list` shows them")
    return receipts.load(vault, row)


def rejected_rows(vault: Vault, batch_id: str) -> list[dict[str, object]]:
    """Number and reason of every rejected row of a batch; none when they have expired. The raw bytes stay sealed."""
    with vault.catalogue.reading() as tx:
        found = tx.select("leftovers", kind="rejections", batch=batch_id)
    custody = vault.keys.custody("receive")
    return [
        {"row": row, "reason": reason}
        for item in found
        for dying in [Dying(item["record_class"], date.fromisoformat(item["day"]))]
        for row, reason, _ in zip(*rejections.read(vault, custody, dying, batch_id).to_pydict().values(), strict=True)
    ]


def _name(path: Path) -> str:
    """The file's name as text: a byte of it that is none, of an older encoding, is escaped."""
    return path.name.encode(errors="backslashreplace").decode()


def _too_large(vault: Vault, path: Path) -> str | None:
    size, most = path.stat().st_size, vault.settings.max_file
    return f"it has {size} bytes and `max_file` is {most}; split the file" if size > most else None
