"""The door of intake: which feed and source a file belongs to, and the acts around `receive` that only look.

`check` reads a file as `receive` would and stores nothing. `batches` and `batch` show receipts again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

from ingest.course import Course, in_slices
from ingest.errors import FeedError, FileRefused
from ingest.feed import Feed
from ingest.read import Reading, read
from ingest.slices import slices_of
from ingest.source import Source
from trafficvault import group, held_batches, receipts, receive, rejections
from trafficvault.delivered import Delivered
from trafficvault.errors import BatchError, RefusedError, UsageError
from trafficvault.progress import Watch
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
    progress: Watch = lambda step: None,
) -> Receipt:
    """Receives the file at `path`. The caller holds the writer's lock."""
    feed, source = feed_and_source(vault, feed_name, source_name)
    delivered = Delivered(path)
    too_large = _too_large(vault, feed, delivered)
    if too_large is not None:
        return receive.refuse(vault, feed, source, delivered.sha256(), _name(path), too_large)
    return receive.receive(vault, feed, source, delivered, _name(path), progress)


def ingest_all(
    vault: Vault,
    feed_name: str,
    source_name: str | None,
    paths: Sequence[Path],
    progress: Watch = lambda step: None,
) -> Iterator[Receipt]:
    """Receives the files at `paths`, small ones in groups; gives their receipts in order. The caller holds the lock.

    An error at one file is raised when the receipts of those before it were given.
    """
    feed, source = feed_and_source(vault, feed_name, source_name)
    each = map(Delivered, paths)
    files = ((one, _name(one.path or Path()), _too_large(vault, feed, one)) for one in each)
    return group.receive_all(vault, feed, source, files, progress, len(paths))


def check(vault: Vault, feed_name: str, source_name: str | None, path: Path) -> Check:
    """Reads the file at `path` as `ingest` would, without duplicates and terms, and stores nothing."""
    feed, source = feed_and_source(vault, feed_name, source_name)
    content = list(feed.content)
    delivered = Delivered(path)
    too_large = _too_large(vault, feed, delivered)
    if too_large is not None:
        return Check("would be refused", {}, {}, {}, [], content, too_large)
    try:
        found = looked_through(vault, feed, source, delivered, _name(path))
    except FeedError as problem:
        raise UsageError(f"reading a file of source {source.name}: {problem}") from problem
    except (FileRefused, RefusedError) as refused:
        return Check("would be refused", {}, {}, {}, [], content, str(refused))
    counts = {
        "read": found.units,
        "records": found.records,
        "joined": found.joined,
        "ignored": found.ignored.total(),
        "rejected": found.rejected.total(),
    }
    return Check(
        "would be held" if found.mismatches else "would be committed",
        counts,
        dict(found.ignored),
        dict(sorted(found.rejected.items())),
        list(feed.unassigned(found.shape)),
        content,
        "; ".join(found.mismatches) or None,
    )


@dataclass(slots=True)
class Found:
    """What the readings of one file add up to."""

    shape: str | None = None
    units: int = 0
    records: int = 0
    joined: int = 0
    ignored: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    mismatches: tuple[str, ...] = ()

    def add(self, vault: Vault, source: Source, reading: Reading) -> None:
        """Adds one. Raises `RefusedError` for records of a class that has no term."""
        receive.require_terms(vault, source, set(reading.records))
        self.units += reading.units
        self.records += sum(frame.height for frame in reading.records.values())
        self.joined += reading.joined
        self.ignored.update(reading.ignored)
        self.rejected.update(reading.rejections["reason"].to_pylist())
        self.mismatches += reading.mismatches


def looked_through(vault: Vault, feed: Feed, source: Source, delivered: Delivered, name: str) -> Found:
    """Reads the file as `receive` does, one slice after the other where the feed allows slices."""
    now, shape = vault.clock.now(), None
    while True:
        found = Found()
        with delivered.open() as file:
            if not in_slices(feed):
                reading = read(file.read(), feed, source, now, name, vault.settings.max_file)
                found.add(vault, source, reading)
                return replace(found, shape=reading.shape)
            course = Course(feed, source, now, shape)
            for part in slices_of(file, vault.settings.max_unpacked):
                if not course.settled:
                    course.settle(part)
                found.add(vault, source, course.read(part))
        end = course.end(name)
        if end.shape is None or end.shape == course.shape:
            return replace(found, shape=end.shape)
        shape = end.shape


def accept(vault: Vault, person: str, batch_id: str) -> Receipt:
    """Stores a held batch by the decision of `person`. The caller holds the writer's lock."""
    held = batch(vault, batch_id)
    feed, source = feed_and_source(vault, held.feed, held.source)
    try:
        return held_batches.accept(vault, person, batch_id, feed, source)
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


def _too_large(vault: Vault, feed: Feed, delivered: Delivered) -> str | None:
    name, most = ("max_file", vault.settings.max_file)
    if in_slices(feed):
        name, most = ("max_unpacked", vault.settings.max_unpacked)
    size = delivered.size
    return f"it has {size} bytes and `{name}` is {most}; split the file" if size > most else None
