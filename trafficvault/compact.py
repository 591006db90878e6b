"""Compact: the files of a class and day become one sorted file with its blocks, and no answer changes by it.

    plan (pure) → merge into `compacting/` → writer's lock → moved to its place → catalogue COMMIT (old rows out, new
    row in, audit entry) → audit segment → old files unlinked when no reader has them

Partition by partition, each on its own: a run that was killed leaves what it had committed and is done again for the
rest. Preparing takes a reader's lease and the compaction's own lock, never the writer's: ingest and expiry go on. The
writer's lock is taken for the exchange alone, in which the sources must still be what they were. What a run prepared
and did not commit belongs to nobody: the next run and every sweep clear it away.

It needs no person. Called by the command line and the schedule.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from ingest.record import CATEGORIES
from trafficvault import allocating, compaction, disk_errors, locks, merging, partitions, retention, superseded, wording
from trafficvault.catalogue import Row, Transaction
from trafficvault.compaction import EVERYTHING, Holding, Item, Selection, Stored
from trafficvault.errors import BusyError, FaultError, SpaceError
from trafficvault.holdings import lost
from trafficvault.layout import day_key_id
from trafficvault.merging import Merged, Source
from trafficvault.progress import Progress, Watch
from trafficvault.sweep import clear_staging
from trafficvault.vault import Vault

WRITER_SECONDS = 60.0
"""How long an exchange waits for another process that writes."""


@dataclass(frozen=True, slots=True)
class Compacted:
    """One partition whose files were exchanged. Sizes are in bytes: of the record files, and of the blocks."""

    record_class: str
    day: date
    files: int
    rows: int
    bytes_before: int
    bytes_after: int
    blocks: int

    def as_dict(self) -> dict[str, object]:
        """The form of `--json`."""
        return {
            "class": self.record_class,
            "day": self.day.isoformat(),
            "files": self.files,
            "rows": self.rows,
            "bytes_before": self.bytes_before,
            "bytes_after": self.bytes_after,
            "blocks": self.blocks,
        }


@dataclass(frozen=True, slots=True)
class Compaction:
    """What one run did, what it left with the reason, and the faults that kept a partition as it was."""

    compacted: tuple[Compacted, ...]
    left: tuple[Item, ...]
    faults: tuple[str, ...]
    retired: bool
    """Whether every replaced file is gone; false while a reader still has some."""

    def require_clean(self) -> None:
        """Raises `FaultError` when a partition could not be compacted because something in it is not what it was."""
        if self.faults:
            raise FaultError(
                f"compacting: {len(self.faults)} partitions were left as they are; the first: {self.faults[0]}",
                hint="`trafficvault verify` names every fault",
            )


def plan(vault: Vault, selection: Selection = EVERYTHING) -> list[Item]:
    """What is to be merged and why. Reads the catalogue and the sizes of block files, opens no record."""
    now = vault.clock.now()
    with vault.catalogue.reading() as tx:
        live = [row for row in tx.select("partitions") if row["state"] == "live"]
        files = tx.select("files", order_by="created_at")
    custody = vault.keys.custody("compact")
    kept: dict[tuple[str, str], list[Row]] = {}
    for row in files:
        kept.setdefault((row["record_class"], row["day"]), []).append(row)
    holdings = []
    for row in live:
        record_class, day = row["record_class"], date.fromisoformat(row["day"])
        term = vault.policy.term_of(record_class)
        if term is not None and retention.is_due(day, term, vault.policy.zone, now):
            continue  # it is about to die
        checked = selection.days is not None and selection.covers(record_class, day)
        stored = tuple(_stored(vault, one, checked=checked) for one in kept.get((record_class, row["day"]), []))
        generation = row["generation"] or 1
        keys = (day_key_id(record_class, day, category, generation) for category in CATEGORIES)
        whole = not lost(row) and all(custody.has(key) for key in keys)
        holdings.append(Holding(record_class, day, stored, whole))
    return compaction.plan(holdings, now, selection)


def compact(vault: Vault, selection: Selection = EVERYTHING, watch: Watch = lambda step: None) -> Compaction:
    """Carries out `plan`. The caller does not hold the writer's lock.

    Raises `BusyError` when another process compacts, or keeps the writer's lock; `SpaceError` when there is no room for
    the next partition's copy above `min_free`. What was committed before stays, and what failed before is noted with
    it. A partition that has a fault, or a file that can't be read or written, is left as it is and named in the result.
    """
    compacted: list[Compacted] = []
    left: list[Item] = []
    faults: list[str] = []
    with locks.compacting(vault.layout) as free, allocating.sparing():
        if not free:
            raise BusyError("compacting: another process compacts this vault; wait for it to finish")
        clear_staging(vault)
        _follow(vault)
        items = plan(vault, selection)
        for number, item in enumerate(items, start=1):
            try:
                done = _tried(vault, item, f"{number} of {len(items)} partitions", watch)
            except FaultError as fault:
                clear_staging(vault)
                faults.append(str(fault))
                continue
            except BaseException as problem:
                clear_staging(vault)
                for told in faults:
                    problem.add_note(f"beside it: {told}")
                raise
            if isinstance(done, Item):
                left.append(done)
            else:
                compacted.append(done)
        clear_staging(vault)
        with locks.writing(vault.layout, WRITER_SECONDS):
            _forget_seen(vault)
            retired = superseded.retire(vault)
    return Compaction(tuple(compacted), tuple(left), tuple(faults), retired)


def _tried(vault: Vault, item: Item, place: str, watch: Watch) -> Compacted | Item:
    """As `_one`; what the disk refused is a `FaultError`, and a `SpaceError` where it was full."""
    try:
        return _one(vault, item, place, watch)
    except OSError as problem:
        found = disk_errors.told(f"compacting {item.record_class}/{item.day.isoformat()}", problem)
        raise (found if isinstance(found, SpaceError) else FaultError(str(found))) from problem


def _one(vault: Vault, item: Item, place: str, watch: Watch) -> Compacted | Item:
    if not item.files:
        return item
    record_class, day, layout = item.record_class, item.day, vault.layout
    # The lease, so that no key is destroyed under the hands of the merge; it ends before the exchange.
    with locks.reading(layout):
        _follow(vault)
        with vault.catalogue.reading() as tx:
            rows = _still(tx, item)
        if rows is None:
            return _overtaken(item)
        require_space(vault, rows)
        count, size = sum(row["rows"] for row in rows), sum(row["bytes"] for row in rows)
        written = 0

        def told(more: int) -> None:
            nonlocal written
            written += more
            watch(Progress(f"{place}, {record_class} {day.isoformat()}", written, written, count, "records"))

        told(0)
        done = merging.merge(
            vault.disk,
            layout,
            layout.staging,
            vault.keys.custody("compact"),
            record_class,
            day,
            [Source(row["id"], row["rows"], row["digest"], row["row_sum"]) for row in rows],
            generation=rows[0]["generation"] or 1,
            keep_seen=compaction.may_still_come(day, vault.settings.delivery_window.delta(), vault.clock.now()),
            told=told,
        )
    with locks.writing(layout, WRITER_SECONDS):
        with vault.catalogue.reading() as tx:
            if _still(tx, item) != rows:
                return _overtaken(item)
        _exchange(vault, rows, done)
        superseded.retire(vault)
    return Compacted(record_class, day, len(rows), count, size, done.file.bytes, done.blocks_bytes)


def require_space(vault: Vault, rows: Iterable[Row]) -> None:
    """Raises `SpaceError` unless `min_free` is left when the merged file stands beside its sources."""
    free, least = vault.disk.free_bytes(vault.layout.vault), vault.policy.min_free
    # The merged file is no larger than its sources together, and its blocks are no larger than it.
    needed = 2 * sum(row["bytes"] for row in rows)
    if free - needed < least:
        raise SpaceError(
            f"compacting: {wording.size(free)} are free, merging the next partition takes up to "
            f"{wording.size(needed)} and `min_free` is {wording.size(least)}; free space or lower it; what was "
            "compacted so far stays, and nothing is lost"
        )


def _still(tx: Transaction, item: Item) -> list[Row] | None:
    """The rows of the item's files, in its order; None when the partition is not what was planned for any more."""
    state = tx.get("partitions", record_class=item.record_class, day=item.day.isoformat())
    if state is None or state["state"] != "live":
        return None
    rows = [tx.get("files", id=file_id) for file_id in item.files]
    # A day's files lie under day keys of one generation: what removes rows writes them all anew.
    found = [row for row in rows if row is not None and row["generation"] == state["generation"]]
    return found if len(found) == len(rows) else None


def _overtaken(item: Item) -> Item:
    why = "it changed while it was being merged: an expiry was quicker; nothing was exchanged"
    return Item(item.record_class, item.day, (), why)


def _exchange(vault: Vault, rows: list[Row], done: Merged) -> None:
    """The commit of one partition, under the writer's lock."""
    file = done.file
    layout, place = vault.layout, (file.record_class, file.day, file.file_id)
    for where in (layout.seen_file, layout.blocks_file, layout.record_file):
        # Moved first: until the commit nobody knows them, and a crash leaves them to the sweep.
        staged = getattr(layout.staging, where.__name__)(*place)
        if staged.exists():
            vault.disk.move(staged, where(*place))
    with vault.catalogue.transaction() as tx:
        superseded.add(tx, rows)
        for row in rows:
            tx.delete("files", id=row["id"])
        tx.put(
            "files",
            **file.as_row(),
            batch=None,
            merged=sum(row["merged"] or 1 for row in rows),
            blocks=done.blocks,
            blocks_bytes=done.blocks_bytes,
            created_at=min(row["created_at"] for row in rows),
        )
        detail = {
            "partition": f"{file.record_class}/{file.day.isoformat()}",
            "files": [row["id"] for row in rows],
            "digests": [row["digest"] for row in rows],
            "into": file.file_id,
            "digest": file.digest,
            "rows": file.rows,
            "blocks": done.blocks,
        }
        vault.audit.enter(tx, "compact", None, detail)
    vault.audit.flush()


def _stored(vault: Vault, row: Row, *, checked: bool) -> Stored:
    """With `checked` the block file's digest is compared, else its size: a run over everything reads none of them."""
    return Stored(row["id"], row["rows"], row["merged"] is not None, blocks=_has_blocks(vault, row, checked=checked))


def _has_blocks(vault: Vault, row: Row, *, checked: bool) -> bool:
    if row["blocks"] is None:
        return False
    path = vault.layout.blocks_file(row["record_class"], date.fromisoformat(row["day"]), row["id"])
    try:
        if checked:
            return partitions.keyed_digest_of(vault.keys.custody("compact"), path) == str(row["blocks"])
        return path.stat().st_size == int(row["blocks_bytes"])
    except OSError:
        return False


def _follow(vault: Vault) -> None:
    """Takes the ring as it is now: another process may have renewed it, or put keys into it."""
    with vault.catalogue.reading() as tx:
        vault.keys.follow(int(tx.meta("generation") or 0))


def _forget_seen(vault: Vault) -> None:
    """Unlinks the seen blocks of days of which nothing comes any more in the ordinary way. Under the writer's lock."""
    now, window = vault.clock.now(), vault.settings.delivery_window.delta()
    with vault.catalogue.reading() as tx:
        days = {(row["record_class"], date.fromisoformat(row["day"])) for row in tx.select("files")}
    for record_class, day in sorted(days):
        if not compaction.may_still_come(day, window, now):
            for path in sorted(vault.layout.partition(record_class, day).glob("*.seen")):
                vault.disk.remove(path)
