"""Raw bytes: what was delivered, as it came, kept sealed for some days, so that it can be read again.

A feed definition that was wrong is found out within days. While `keep_raw` of the source or of the policy lasts, the
file of a stored batch lies under `raw/<class>/<day of receipt>`, under a key of its own kind, and `batch reread`
(`trafficvault.rereading`) reads it with the definition as it is by then. It is a second copy of records, and is bound
to what binds them: a feed with content keeps nothing, nor does a file that holds a record past its term or one that
ends before `keep_raw` does; when records of a day are removed for whose they are, what came with them goes early.

It is sealed as a stream before the commit, from the delivered file, so that it is never whole in memory and a crash
leaves a batch with its file or neither.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import secrets
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import BinaryIO, Final, cast

from ingest.feed import Feed
from ingest.source import Source
from trafficvault import retention, sealing
from trafficvault.catalogue import Row, Transaction
from trafficvault.delivered import Delivered
from trafficvault.durable import PART
from trafficvault.errors import RefusedError, VaultError
from trafficvault.keys import Custody
from trafficvault.layout import leftover_key_id
from trafficvault.period import Period
from trafficvault.receipts import Dying
from trafficvault.terms import Term
from trafficvault.vault import Vault

KIND: Final = "raw"
_NOTHING: Final = Period()
_PIECE: Final = sealing.CHUNK


@dataclass(frozen=True, slots=True)
class Original:
    """A delivered file that is to be kept, as it was when it was read, and for how long."""

    delivered: Delivered
    mark: tuple[int, ...]
    keep: Period


@dataclass(slots=True)
class Kept:
    """The sealed file of one batch, before it is committed, and the catalogue's row for it."""

    vault: Vault
    path: Path
    row: Row

    def abandon(self) -> None:
        """Removes it again."""
        self.path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # others have files of that day
            self.path.parent.rmdir()


def original(vault: Vault, feed: Feed, source: Source, delivered: Delivered) -> Original | None:
    """What is to be kept of a file that is about to be read; None where that is nothing."""
    keep = vault.policy.keep_raw if source.keep_raw is None else Period.parse(source.keep_raw)
    return None if feed.content or keep == _NOTHING else Original(delivered, delivered.mark(), keep)


def seal(
    vault: Vault, custody: Custody, batch: str, dying: Dying, given: Original, days: Iterable[tuple[str, date]]
) -> Kept | None:
    """Seals the file of `batch`, whose records are of `days`; None where one of them ends before it would.

    Raises `RefusedError` when the file is not as it was when it was read.
    """
    until = retention.begins(dying.day, Term(period=given.keep), vault.policy.zone)
    days = sorted(days, key=lambda one: one[1])
    if until <= vault.clock.now() or any(_ends(vault, *one) < until for one in days):
        return None
    key_id = leftover_key_id(KIND, dying.record_class, dying.day)
    vault.keys.ensure([key_id])
    path = vault.layout.leftover_file(KIND, dying.record_class, dying.day, batch)
    vault.disk.make_directory(path.parent)
    part = path.with_name(f"{path.name}{PART}{secrets.token_hex(4)}")
    digest = hmac.new(custody.key("catalogue"), digestmod=hashlib.sha256)
    try:
        vault.disk.begin(part)
        with part.open("wb", buffering=0) as sink, given.delivered.open() as file:
            sealed = sealing.StreamWriter(custody.key(key_id), cast(BinaryIO, _Both(sink, digest)), _place(batch))
            while piece := file.read(_PIECE):
                sealed.write(piece)
            sealed.close()
        given.delivered.require_same(given.mark)
        vault.disk.end(part)
        vault.disk.move(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    row = {
        "kind": KIND,
        "record_class": dying.record_class,
        "day": dying.day.isoformat(),
        "batch": batch,
        "bytes": path.stat().st_size,
        "digest": digest.hexdigest(),
        "rows": 0,
        "keep": str(given.keep),
        "oldest_of": json.dumps({name: day.isoformat() for name, day in reversed(days)}, sort_keys=True),
    }
    return Kept(vault, path, row)


def delivered(vault: Vault, batch: str) -> Delivered:
    """The file of `batch` as it was delivered, unsealed while it is read. Raises `RefusedError` when none is kept."""
    row = require(vault, batch)
    day = date.fromisoformat(row["day"])
    key = vault.keys.custody("receive").key(leftover_key_id(KIND, row["record_class"], day))
    path = vault.layout.leftover_file(KIND, row["record_class"], day, batch)
    length = sealing.stream_length(row["bytes"])
    return Delivered(opener=lambda: sealing.open_stream(key, path, _place(batch)), length=length)


def require(vault: Vault, batch: str) -> Row:
    """The catalogue's row of the kept file of `batch`. Raises `RefusedError` when there is none, or only for the next
    expiry to take.
    """
    with vault.catalogue.reading() as tx:
        found = tx.select("leftovers", kind=KIND, batch=batch)
    if not found or _until(vault, found[0]) <= vault.clock.now():
        raise RefusedError(
            f"reading batch {batch} again: its delivered bytes are not kept, or no longer",
            hint="they are kept for `keep_raw`, and not at all where the feed has content or a record of the file ends "
            f"sooner; bring the file and use: ingest FEED FILE --replaces {batch} --reason TEXT",
        )
    return found[0]


def forfeit(vault: Vault, tx: Transaction, days: Iterable[tuple[str, date]]) -> int:
    """Lets the next expiry take the kept files of batches that may have records of `days`, of which rows are removed
    for whose they are: they may be kept until now, and are read no more. Returns how many it will take.
    """
    gone, now, marked = set(days), vault.clock.now(), 0
    for row in tx.select("leftovers", kind=KIND):
        batch = tx.get("batches", id=row["batch"])
        if batch is not None and _may_hold(row, batch, gone) and now < _until(vault, row):
            begun = datetime.combine(date.fromisoformat(row["day"]), time(), UTC)
            elapsed = max(0, int((now - begun).total_seconds()))
            tx.put("leftovers", **row | {"keep": str(Period(seconds=elapsed))})
            marked += 1
    return marked


def _may_hold(row: Row, batch: Row, days: Collection[tuple[str, date]]) -> bool:
    """Whether the kept file of a batch may have a record of one of `days`: it stored some of it, or was told one that
    was there already, of which no more is known than the earliest day that its records are of.
    """
    stored = set(json.loads(batch["partitions"]))
    oldest = json.loads(row["oldest_of"] or "{}") if json.loads(batch["counts"]).get("duplicate") else {}
    return any(
        f"{name}/{day.isoformat()}" in stored or (name in oldest and date.fromisoformat(oldest[name]) <= day)
        for name, day in days
    )


def _until(vault: Vault, row: Row) -> datetime:
    """When the kept file of `row` was kept for long enough."""
    keep = vault.policy.keep_raw if row["keep"] is None else Period.parse(row["keep"])
    return retention.begins(date.fromisoformat(row["day"]), Term(period=keep), vault.policy.zone)


def digest_of(custody: Custody, row: Row, path: Path) -> str:
    """The keyed digest of a kept file as its catalogue `row` has it: over nonces and tags, which stand for every bit of
    the rest when it opens; empty when it does not. Raises `OSError` when it can't be read.
    """
    found = hmac.new(custody.key("catalogue"), digestmod=hashlib.sha256)
    for mark in sealing.stream_marks(path):
        found.update(mark)
    name = leftover_key_id(KIND, row["record_class"], date.fromisoformat(row["day"]))
    try:
        with sealing.open_stream(custody.key(name), path, _place(row["batch"])) as content:
            while content.read(_PIECE):
                pass
    except VaultError:  # which key is missing, verify says by itself
        return ""
    return found.hexdigest()


class _Both:
    """Writes to a file, and into a digest what `digest_of` takes of it: hashing all of it would cost as much again."""

    def __init__(self, sink: BinaryIO, digest: hmac.HMAC) -> None:
        self._sink, self._digest = sink, digest

    def write(self, content: bytes) -> int:
        self._digest.update(content[-sealing.MARK :])
        view = memoryview(content)
        while view:
            view = view[self._sink.write(view) :]
        return len(content)


def _ends(vault: Vault, record_class: str, day: date) -> datetime:
    """When the first part of a record that can be of that class and day has reached its term."""
    rules = vault.policy
    return retention.begins(day, rules.require_term(record_class, rules.shortest_of(record_class)), rules.zone)


def _place(batch: str) -> str:
    return f"raw {batch}"
