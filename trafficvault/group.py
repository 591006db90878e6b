"""Group: small files of one call are received together. They share record files and one transaction, so that the price
of keys, syncs and commit is paid once for all of them; each keeps its batch, its receipt and its entry in the log.

    file → known? → read → waits …  the group is full → files → COMMIT of all → audit segment → receipts

A file that is refused or held is committed by itself and stops no other. An error at one file leaves those before it
stored. A crash before the commit leaves nothing of the group, after it all. Called by `trafficvault.intake` under the
writer's lock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from ingest.course import End
from ingest.errors import FeedError, FileRefused
from ingest.feed import Feed
from ingest.read import Reading
from ingest.source import Source
from trafficvault import receive
from trafficvault.committing import Incoming, commit, commit_held, commit_refused, dying_of
from trafficvault.delivered import Delivered
from trafficvault.errors import DecisionError, UsageError, VaultError
from trafficvault.progress import Progress, Watch
from trafficvault.receipts import Receipt
from trafficvault.vault import Vault

SMALL: Final = 8 * 2**20
"""A file of more bytes is received by itself."""
ROWS: Final = 250_000
"""Records that wait for their group to be full, about as many as one slice of a large file has."""
FILES: Final = 64


@dataclass(frozen=True, slots=True)
class _Read:
    """A file that was read and waits for its group."""

    incoming: Incoming
    reading: Reading = field(repr=False)

    @property
    def rows(self) -> int:
        return sum(frame.height for frame in self.reading.records.values())


def receive_all(
    vault: Vault,
    feed: Feed,
    source: Source,
    files: Iterable[tuple[Delivered, str, str | None]],
    progress: Watch = lambda step: None,
) -> Iterator[Receipt]:
    """Takes in `files`, each with its name, and a reason where it is refused unread; gives their receipts in order.

    The caller holds the writer's lock. Raises as `receive.receive` does; the receipts of the files before were given.
    """
    group = _Group(vault, feed, source, progress)
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

    def __init__(self, vault: Vault, feed: Feed, source: Source, progress: Watch) -> None:
        self._vault, self._feed, self._source, self._progress = vault, feed, source, progress
        self._waiting: list[_Read | Receipt] = []
        self._bytes = self._rows = 0

    def taken(self, delivered: Delivered, name: str, refusal: str | None) -> _Read | Receipt | None:
        """The file, read, or its receipt where nothing of it is stored; None when it is to be received by itself."""
        vault, feed, source = self._vault, self._feed, self._source
        if refusal is not None:
            return receive.refuse(vault, feed, source, delivered.sha256(), name, refusal)
        if delivered.size > SMALL:
            return None
        receive.require_space(vault)
        with delivered.open() as file:
            data = file.read()
        self._bytes += len(data)
        self._progress(Progress("reading", self._rows, self._bytes, 0, "bytes"))
        blank = receive.blank_of(vault, feed, source, Delivered(data=data).sha256(), name)
        if any(isinstance(one, _Read) and one.incoming.blank.batch_id == blank.batch_id for one in self._waiting):
            return None  # the same bytes wait in this group: once it is committed the file is known
        known = receive.known(vault, blank)
        if known is not None:
            return known
        arrived = vault.clock.now()
        try:
            reading = receive.read_small(vault, feed, source, data, arrived, name)
        except FeedError as problem:
            raise UsageError(f"reading a file of source {source.name}: {problem}") from problem
        except (FileRefused, receive.NoTermError) as refused:
            return commit_refused(vault, blank, feed, source, str(refused))
        if reading is None:
            return None
        if reading.mismatches:
            return commit_held(vault, blank, feed, source, data, reading, arrived)
        dying = dying_of(vault, feed, source, set(reading.records), arrived)
        return _Read(Incoming(blank, arrived, dying, End(reading.shape, reading.sequence)), reading)

    def add(self, taken: _Read | Receipt) -> Iterator[Receipt]:
        """Puts one file into the group, and commits the group when it is full."""
        rows = taken.rows if isinstance(taken, _Read) else 0
        if self._rows + rows > ROWS:
            yield from self.commit()
        self._waiting.append(taken)
        self._rows += rows
        if len(self._waiting) >= FILES:
            yield from self.commit()

    def commit(self) -> Iterator[Receipt]:
        """Commits what waits; gives the receipts, those of files that needed no commit in their places."""
        waiting, self._waiting, self._rows = self._waiting, [], 0
        read = [one for one in waiting if isinstance(one, _Read)]
        try:
            done = iter(self._stored(read) if read else [])
        except DecisionError:
            # Rows of some file would be lost to the clock. Which one it is, and that those before it are stored, is
            # told by taking them one by one.
            done = (receipt for one in read for receipt in self._stored([one]))
        for one in waiting:
            yield one if isinstance(one, Receipt) else next(done)

    def _stored(self, read: list[_Read]) -> list[Receipt]:
        vault, feed, incoming = self._vault, self._feed, [one.incoming for one in read]
        names = [(one.blank.batch_id, one.dying) for one in incoming]
        batch = receive.new_batch(vault, feed, self._source, incoming[0].arrived, lambda: names, self._progress)
        with receive.unless_abandoned(vault, batch):
            batch.take_together([one.reading for one in read])
            batch.settle()
            return commit(vault, feed, batch, incoming, self._progress)
