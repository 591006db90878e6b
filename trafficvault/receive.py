"""Receive: one delivered file becomes stored records, and a receipt that says what became of every unit in it.

    bytes → ingest → past its term? → duplicate? → files → COMMIT → audit segment → receipt

(1) The file is known by source and content: the same one again changes nothing and gets the receipt of the first.
(2) Bytes first: day keys into the ring, Parquet files and rejections under names nobody knows yet. A file is read in
    slices by a few workers, unless its feed must see the whole of it (`ingest.course`, `trafficvault.batch`).
(3) One catalogue transaction is the commit point; it holds the batch, its files and the audit entry, and it refuses a
    partition that has begun to expire. A crash before it leaves files that the next writer sweeps; after it, nothing is
    missing.
(4) A batch whose control totals disagree is held whole, encrypted (`trafficvault.held_batches`). (5) Where the clock
    can't be believed and rows would be lost by it, nothing is committed and the file stays with its sender.

Called by `trafficvault.intake` under the writer's lock.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import BinaryIO

from ingest.course import Course, End, in_slices
from ingest.errors import FeedError, FileRefused
from ingest.feed import Feed
from ingest.learned import Learned
from ingest.read import Reading, read
from ingest.slices import SIZE, Slice, lies_open, slices, slices_of
from ingest.source import Source
from trafficvault import allocating, raw_bytes, receipts, wording
from trafficvault.account import Account
from trafficvault.batch import Batch
from trafficvault.committing import Decision, Incoming, commit, commit_held, commit_refused, dying_of, trusted_time
from trafficvault.crew import Crew, Turn
from trafficvault.delivered import Delivered
from trafficvault.errors import RefusedError, SpaceError, UsageError, VaultError
from trafficvault.progress import Progress, Watch
from trafficvault.raw_bytes import Original
from trafficvault.receipts import Dying, Receipt
from trafficvault.rejections import Rejections
from trafficvault.sweep import sweep
from trafficvault.vault import Vault

_HASHED_FIRST = 64 * 2**20
"""A file of at most so many bytes is known by its digest before it is read; a larger one while it is read."""


@dataclass(frozen=True, slots=True)
class Pace:
    """In how large slices a file is read, and by how many workers: three keep two cores busy, for each waits now and
    then. Of a file that is unpacked on the way two do, for unpacking is a third's work, and memory is short there.
    """

    slice_bytes: int = SIZE
    workers: int = 3
    unpacking: int = 2

    def workers_of(self, file: BinaryIO) -> int:
        """How many workers read `file`, which stands at its start."""
        return self.workers if lies_open(file) else min(self.workers, self.unpacking)


class _KnownError(Exception):
    """The file turned out to be known while it was read."""

    def __init__(self, receipt: Receipt) -> None:
        super().__init__("the file is known")
        self.receipt = receipt


def receive(
    vault: Vault,
    feed: Feed,
    source: Source,
    file: Delivered | bytes,
    file_name: str,
    progress: Watch = lambda step: None,
    pace: Pace | None = None,
) -> Receipt:
    """Takes in `file`, delivered by `source` under `file_name`. The caller holds the writer's lock.

    Raises `SpaceError` below `min_free`, of which nothing is committed then, `DecisionError` when rows would be lost to
    a clock that can't be believed, `UsageError` when the source does not fit its feed. A file that is refused or held
    is not an exception: its receipt says so.
    """
    require_space(vault)
    delivered = Delivered(data=file) if isinstance(file, bytes) else file
    with ThreadPoolExecutor(1) as hashing:
        named = hashing.submit(delivered.sha256)

        def blank() -> Receipt:
            made = blank_of(vault, feed, source, named.result(), file_name)
            before = known(vault, made)
            if before is not None:
                raise _KnownError(before)
            return made

        try:
            if delivered.size <= _HASHED_FIRST:
                blank()
            progress(Progress("reading", whole=delivered.size, unit="bytes"))
            try:
                coming = Coming(delivered, vault.clock.now(), raw_bytes.original(vault, feed, source, delivered))
                return _received(vault, feed, source, coming, blank, progress, pace or Pace())
            except FeedError as problem:
                raise UsageError(f"reading a file of source {source.name}: {problem}") from problem
            except (FileRefused, NoTermError) as refused:
                return commit_refused(vault, blank(), feed, source, str(refused))
        except _KnownError as before:
            return before.receipt


def receive_again(
    vault: Vault, feed: Feed, source: Source, delivered: Delivered, before: Receipt, arrived: datetime, why: Decision
) -> Receipt:
    """Takes in anew the file of a batch that was withdrawn, by a decision, as if it came when it did. Its bytes stay
    kept as they are. The caller holds the writer's lock. Raises as `receive`, and what a reader raises.
    """
    require_space(vault)
    blank = Receipt(before.batch_id, feed.name, source.name, before.file, before.sha256, "refused")
    coming = Coming(delivered, arrived, None, why)
    return _received(vault, feed, source, coming, lambda: blank, lambda step: None, Pace())


class NoTermError(RefusedError):
    """No entry of the policy gives the records of the file a term."""


@dataclass(frozen=True, slots=True)
class Coming:
    """A file on its way in: when it came, what is to be kept of it, and who decided, where it was there before."""

    delivered: Delivered
    arrived: datetime
    original: Original | None
    decided: Decision | None = None


def _received(
    vault: Vault,
    feed: Feed,
    source: Source,
    coming: Coming,
    blank: Callable[[], Receipt],
    progress: Watch,
    pace: Pace,
) -> Receipt:
    take = _receive_slices if in_slices(feed) else _receive_whole
    return take(vault, feed, source, coming, blank, progress, pace)


def _receive_whole(
    vault: Vault,
    feed: Feed,
    source: Source,
    coming: Coming,
    blank: Callable[[], Receipt],
    progress: Watch,
    pace: Pace,
) -> Receipt:
    """As `receive`, of a feed whose file is read whole, at once, whatever the `pace`."""
    with coming.delivered.open() as file:
        data = file.read()
    reading = read_whole(vault, feed, source, data, coming.arrived, blank().file)
    if reading.mismatches:
        return commit_held(vault, blank(), feed, source, data, reading, coming.arrived)
    return store_reading(vault, blank(), feed, source, reading, coming, progress)


def _receive_slices(
    vault: Vault,
    feed: Feed,
    source: Source,
    coming: Coming,
    blank: Callable[[], Receipt],
    progress: Watch,
    pace: Pace,
) -> Receipt:
    """As `receive`, of a feed whose file is read in slices."""
    delivered, arrived, shape = coming.delivered, coming.arrived, None
    mark = delivered.mark()
    while True:
        with delivered.open() as file:
            workers = pace.workers_of(file)
            parts = slices_of(file, vault.settings.max_unpacked, pace.slice_bytes, workers=workers)
            first = next(parts)
            if first.last:
                reading = read_whole(vault, feed, source, first.data, arrived, blank().file)
                delivered.require_same(mark)
                return store_reading(vault, blank(), feed, source, reading, coming, progress)
            course = Course(feed, source, arrived, shape, remembered(vault))
            # Where rows may name their class it is not known yet which they name: it may be any.
            classes = set() if feed.class_column is None else set(vault.policy.classes())
            dying = dying_of(vault, feed, source, classes, arrived)
            names = partial(_named, blank, dying)
            batch = new_batch(vault, feed, source, arrived, names, progress, workers)
            parts = itertools.chain([first], parts)
            del first
            with unless_abandoned(vault, batch), allocating.sparing():
                told = partial(_told, progress, batch, file, delivered.size)
                _work(vault, batch, course, parts, source, workers, told)
                end = course.end(blank().file)
                if end.shape is None or end.shape == course.shape:
                    delivered.require_same(mark)
                    incoming = Incoming(blank(), arrived, dying, end, coming.original)
                    return commit(vault, feed, batch, [incoming], progress, coming.decided)[0]
                shape = end.shape
                batch.abandon()


def _named(blank: Callable[[], Receipt], dying: Dying) -> list[tuple[str, Dying]]:
    return [(blank().batch_id, dying)]


def in_one_slice(vault: Vault, feed: Feed, data: bytes) -> bytes | None:
    """The file `data`, unpacked if it may be sliced; None when it is more than one slice. Raises `FileRefused`."""
    if not in_slices(feed):
        return data
    first = next(slices(io.BytesIO(data).read, vault.settings.max_unpacked))
    return first.data if first.last else None


def read_whole(vault: Vault, feed: Feed, source: Source, data: bytes, arrived: datetime, file_name: str) -> Reading:
    """The reading of a file as a whole. Raises `FileRefused`, `FeedError`, `NoTermError` for a class without a term."""
    limit = len(data) if in_slices(feed) else vault.settings.max_file
    reading = read(data, feed, source, arrived, file_name, limit, remembered(vault))
    require_terms(vault, source, set(reading.records))
    return reading


def _told(progress: Watch, batch: Batch, file: BinaryIO, total: int) -> None:
    batch.place = file.tell(), total
    progress(Progress("reading", batch.read, *batch.place, "bytes"))


def _work(
    vault: Vault,
    batch: Batch,
    course: Course,
    parts: Iterator[Slice],
    source: Source,
    workers: int,
    told: Callable[[], None],
) -> None:
    """Reads all `parts` and takes them into `batch`. Nobody keeps what was read: the next part gets its memory."""

    def settled() -> Iterator[Slice]:
        for part in parts:
            if not course.settled:
                course.settle(part)
            require_space(vault)
            told()
            yield part
            del part

    def work(worker: int, part: Slice, turn: Turn) -> None:
        reading = course.read(part)
        del part
        require_terms(vault, source, set(reading.records))
        batch.take(worker, reading, turn)

    crew = Crew(settled(), work, workers)
    while not crew.done:
        crew.run(batch.is_full)
        batch.settle()


def refuse(vault: Vault, feed: Feed, source: Source, sha256: str, file_name: str, why: str) -> Receipt:
    """The receipt of a file that is refused before it is read. The caller holds the writer's lock."""
    blank = blank_of(vault, feed, source, sha256, file_name)
    return known(vault, blank) or commit_refused(vault, blank, feed, source, why)


def require_space(vault: Vault) -> None:
    """Raises `SpaceError` when the file system of the vault has less than `min_free` left."""
    free, least = vault.disk.free_bytes(vault.layout.vault), vault.policy.min_free
    if free < least:
        raise SpaceError(
            f"receiving a file: {wording.size(free)} are free and `min_free` is {wording.size(least)}; free space "
            "or lower it; the file stays where it is"
        )


def blank_of(vault: Vault, feed: Feed, source: Source, sha256: str, file_name: str) -> Receipt:
    """A receipt without counts. The batch's id is a keyed digest, which tells nobody without keys what it was."""
    key = vault.keys.custody("catalogue").key("names")
    identity = hmac.new(key, f"batch/{source.name}/{sha256}".encode(), hashlib.sha256).hexdigest()[:24]
    return Receipt(identity, feed.name, source.name, file_name, sha256, "refused")


def known(vault: Vault, blank: Receipt, *, in_step: bool = False) -> Receipt | None:
    """The receipt of the same bytes of the same source, when they were stored or held before.

    `in_step`: it was asked already, under the same lock, whether catalogue and log are of one moment.
    """
    with vault.catalogue.reading() as tx:
        if not in_step:
            vault.audit.require_in_step(tx)
        row = tx.get("batches", id=blank.batch_id)
    if row is None or row["status"] not in ("committed", "held"):
        return None
    before = receipts.load(vault, row)
    return replace(before, file=blank.file, sha256=blank.sha256, status="already-ingested")


def require_terms(vault: Vault, source: Source, classes: set[str]) -> None:
    """Returns when each of `classes`, and that of `source`, has a term. Raises `RefusedError`."""
    for record_class in sorted(classes | ({source.record_class} if source.record_class else set())):
        try:
            vault.policy.require_term(record_class)
        except RefusedError as refused:
            raise NoTermError(str(refused)) from refused


def remembered(vault: Vault) -> Learned:
    """What earlier files taught of how to read the next. With another key ring nothing is: some of the records that
    recent hashes and words are of may have died.
    """
    if vault.recent.follow(vault.keys.generation):
        vault.learned.forget()
    return vault.learned


def new_batch(
    vault: Vault,
    feed: Feed,
    source: Source,
    arrived: datetime,
    names: Callable[[], list[tuple[str, Dying]]],
    progress: Watch,
    workers: int = 1,
) -> Batch:
    """A new batch, with nothing in its way that a crash left. `names` tells the files' ids, and what they die with."""
    if vault.tidy.needs_sweep:
        sweep(vault)
        vault.tidy.needs_sweep = False
    remembered(vault)
    custody = vault.keys.custody("receive")
    # A clock that was set back makes no term longer.
    now = max(vault.clock.now(), trusted_time(vault) or arrived)

    def accounts() -> list[Account]:
        return [Account(name, Rejections(vault, custody, dying, name)) for name, dying in names()]

    return Batch(vault, custody, feed, source, now, workers, accounts, progress)


@contextmanager
def unless_abandoned(vault: Vault, batch: Batch) -> Iterator[None]:
    """Where the block fails, removes what `batch` wrote; what can't be removed now, the next receipt sweeps."""
    before, vault.tidy.needs_sweep = vault.tidy.needs_sweep, True
    try:
        yield
    except BaseException:
        if _is_nowhere(vault, batch):
            batch.abandon()
            vault.tidy.needs_sweep = before
        raise
    vault.tidy.needs_sweep = before


def _is_nowhere(vault: Vault, batch: Batch) -> bool:
    """Whether the catalogue has nothing of `batch`. What failed may have failed just after its COMMIT: then its files
    are the vault's, and where the catalogue can't be asked they are left to the sweep of the next receipt.
    """
    try:
        with vault.catalogue.reading() as tx:
            return not any(tx.get("files", id=file.file_id) for file in batch.files)
    except VaultError:
        return False


def store_reading(
    vault: Vault,
    blank: Receipt,
    feed: Feed,
    source: Source,
    reading: Reading,
    coming: Coming,
    progress: Watch,
    dying: Dying | None = None,
) -> Receipt:
    """Stores and commits the reading of a whole file."""
    arrived = coming.arrived
    dying = dying or dying_of(vault, feed, source, set(reading.records), arrived)
    names = [(blank.batch_id, dying)]
    batch = new_batch(vault, feed, source, arrived, lambda: names, progress)
    with unless_abandoned(vault, batch):
        batch.take_together([reading])
        batch.settle()
        incoming = Incoming(blank, arrived, dying, End(reading.shape, reading.sequence), coming.original)
        return commit(vault, feed, batch, [incoming], progress, coming.decided)[0]
