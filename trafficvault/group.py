"""Group: small files of one call are received together. They share record files and one transaction, so that the price
of keys, syncs and commit is paid once for all of them; each keeps its batch, its receipt and its entry in the log.

    file → known? → parsed → waits …  the group is full → read → files → COMMIT of all → audit segment → receipts

Where the feed allows it the rows of all of them are read at once (`ingest.together`), for most of what a small file
costs is the same however few its rows.

A file that is refused or held is committed by itself and stops no other. An error at one file leaves those before it
stored. A crash before the commit leaves nothing of the group, after it all. Called by `trafficvault.intake` under the
writer's lock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Final

from ingest import together
from ingest.course import End
from ingest.errors import FeedError, FileRefused
from ingest.feed import Feed
from ingest.read import Reading
from ingest.source import Source
from ingest.together import Parsed
from trafficvault import raw_bytes, receive
from trafficvault.committing import Incoming, commit, commit_held, commit_refused, dying_of
from trafficvault.delivered import Delivered
from trafficvault.errors import DecisionError, UsageError, VaultError
from trafficvault.progress import Progress, Watch
from trafficvault.raw_bytes import Original
from trafficvault.receipts import Dying, Receipt
from trafficvault.vault import Vault

SMALL: Final = 8 * 2**20
"""A file of more bytes is received by itself."""
ROWS: Final = 250_000
"""Records that wait for their group to be full, about as many as one slice of a large file has."""
BYTES: Final = 32 * 2**20
"""Bytes of the files that wait, unpacked."""
FILES: Final = 64


@dataclass(slots=True)
class _Waiting:
    """A file that waits for its group: `parsed` as long as it is not read."""

    blank: Receipt
    size: int
    rows: int
    arrived: datetime
    original: Original | None = None
    parsed: Parsed | None = None
    reading: Reading | None = field(default=None, repr=False)


def receive_all(
    vault: Vault,
    feed: Feed,
    source: Source,
    files: Iterable[tuple[Delivered, str, str | None]],
    progress: Watch = lambda step: None,
    whole: int = 0,
) -> Iterator[Receipt]:
    """Takes in `files`, each with its name, and a reason where it is refused unread; gives their receipts in order.
    `whole` is how many files there are, for `progress`.

    The caller holds the writer's lock. Raises as `receive.receive` does; the receipts of the files before were given.
    """
    group = _Group(vault, feed, source, progress, whole)
    for delivered, name, refusal in files:
        try:
            taken = group.taken(delivered, name, refusal)
        except VaultError:
            yield from group.commit()
            raise
        if taken is None:
            yield from group.commit()
            taken = receive.receive(vault, feed, source, delivered, name, progress)
        yield from group.add(taken)
    yield from group.commit()


class _Group:
    """Files that are committed together, and the receipts of those between them that need no commit any more."""

    def __init__(self, vault: Vault, feed: Feed, source: Source, progress: Watch, whole: int) -> None:
        self._vault, self._feed, self._source, self._progress, self._whole = vault, feed, source, progress, whole
        self._waiting: list[_Waiting | Receipt] = []
        self._bytes = self._rows = self._passed = self._files = 0
        self._in_step = False
        self._together = together.together(feed)

    def taken(self, delivered: Delivered, name: str, refusal: str | None) -> _Waiting | Receipt | None:
        """The file, to wait for its group; its receipt where nothing is stored; None where it is received by itself."""
        vault, feed, source = self._vault, self._feed, self._source
        self._files += 1
        self._tell("reading")
        if refusal is not None:
            return receive.refuse(vault, feed, source, delivered.sha256(), name, refusal)
        if delivered.size > SMALL:
            return None
        receive.require_space(vault)
        original = raw_bytes.original(vault, feed, source, delivered)
        with delivered.open() as file:
            data = file.read()
        blank = receive.blank_of(vault, feed, source, Delivered(data=data).sha256(), name)
        if any(isinstance(one, _Waiting) and one.blank.batch_id == blank.batch_id for one in self._waiting):
            return None  # the same bytes wait in this group: once it is committed the file is known
        known = receive.known(vault, blank, in_step=self._in_step)
        self._in_step = True
        if known is not None:
            return known
        arrived = vault.clock.now()
        try:
            lines = receive.in_one_slice(vault, feed, data)
            if lines is None:
                return None
            if self._together:
                parsed = together.parse(lines, feed, source, name)
                return _Waiting(blank, len(lines), parsed.raw.units, arrived, original, parsed=parsed)
            reading = receive.read_whole(vault, feed, source, lines, arrived, name)
        except FeedError as problem:
            raise _unfit(source, problem) from problem
        except (FileRefused, receive.NoTermError) as refused:
            return commit_refused(vault, blank, feed, source, str(refused))
        if reading.mismatches:
            return commit_held(vault, blank, feed, source, data, reading, arrived)
        return _Waiting(blank, len(lines), reading.units, arrived, original, reading=reading)

    def add(self, taken: _Waiting | Receipt) -> Iterator[Receipt]:
        """Puts one file into the group, and commits the group when it is full."""
        size, rows = (taken.size, taken.rows) if isinstance(taken, _Waiting) else (0, 0)
        if self._rows + rows > ROWS or self._bytes + size > BYTES:
            yield from self.commit()
        self._waiting.append(taken)
        self._rows += rows
        self._passed += rows
        self._bytes += size
        if len(self._waiting) >= FILES:
            yield from self.commit()

    def commit(self) -> Iterator[Receipt]:
        """Commits what waits; gives the receipts, those of files that needed no commit in their places."""
        waiting, self._waiting, self._rows, self._bytes = self._read(), [], 0, 0
        self._in_step = False
        read = [one for one in waiting if isinstance(one, _Waiting)]
        try:
            done = iter(self._stored(read) if read else [])
        except DecisionError:
            # Rows of some file would be lost to the clock. Which one it is, and that those before it are stored, is
            # told by taking them one by one.
            done = (receipt for one in read for receipt in self._stored([one]))
        for one in waiting:
            yield one if isinstance(one, Receipt) else next(done)

    def _read(self) -> list[_Waiting | Receipt]:
        """What waits, all of it read; the receipt of a file whose records have no term."""
        vault, feed, source = self._vault, self._feed, self._source
        unread = [(one, one.parsed) for one in self._waiting if isinstance(one, _Waiting) and one.parsed is not None]
        if not unread:
            return self._waiting
        arrived = vault.clock.now()
        try:
            readings = together.read_together(
                [parsed for _, parsed in unread], feed, source, arrived, receive.remembered(vault)
            )
        except FeedError as problem:
            raise _unfit(source, problem) from problem
        refused: dict[str, Receipt] = {}
        for (one, _), reading in zip(unread, readings, strict=True):
            one.reading, one.parsed, one.arrived = reading, None, arrived
            try:
                receive.require_terms(vault, source, set(reading.records))
            except receive.NoTermError as problem:
                refused[one.blank.batch_id] = commit_refused(vault, one.blank, feed, source, str(problem))
        return [refused.get(one.blank.batch_id, one) if isinstance(one, _Waiting) else one for one in self._waiting]

    def _tell(self, step: str | Progress) -> None:
        self._progress(Progress(str(step), self._passed, self._files, self._whole, "files"))

    def _stored(self, waiting: list[_Waiting]) -> list[Receipt]:
        vault, feed, source = self._vault, self._feed, self._source
        readings = [one.reading for one in waiting if one.reading is not None]

        @cache
        def dying(classes: frozenset[str], arrived: datetime) -> Dying:
            return dying_of(vault, feed, source, set(classes), arrived)

        incoming = [
            Incoming(
                one.blank,
                one.arrived,
                dying(frozenset(reading.records), one.arrived),
                End(reading.shape, reading.sequence),
                one.original,
            )
            for one, reading in zip(waiting, readings, strict=True)
        ]
        names = [(one.blank.batch_id, one.dying) for one in incoming]
        batch = receive.new_batch(vault, feed, source, incoming[0].arrived, lambda: names, self._tell)
        with receive.unless_abandoned(vault, batch):
            batch.take_together(readings)
            batch.settle()
            return commit(vault, feed, batch, incoming, self._tell)


def _unfit(source: Source, problem: FeedError) -> UsageError:
    return UsageError(f"reading a file of source {source.name}: {problem}")
