"""Held batches: files that are kept whole, sealed, until a person says that they are to be stored.

A file waits because its control totals disagree, which is found while it is received, or for something that it is put
aside for. The caller holds the writer's lock.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime

from ingest.errors import FeedError, FileRefused
from ingest.feed import Feed
from ingest.read import read
from ingest.source import Source
from trafficvault import raw_bytes, receipts, sealing
from trafficvault.catalogue import Transaction
from trafficvault.committing import Decision, commit_held
from trafficvault.delivered import Delivered
from trafficvault.errors import FaultError, RefusedError, UsageError
from trafficvault.layout import held_key_id
from trafficvault.receipts import Dying, Receipt
from trafficvault.receive import Coming, blank_of, known, require_space, require_terms, store_reading
from trafficvault.vault import Vault


def hold(vault: Vault, feed: Feed, source: Source, delivered: Delivered, file_name: str, waits_for: str) -> Receipt:
    """Keeps a file whole, sealed, as a held batch that `waits_for` something; `accept` stores it. The caller holds the
    writer's lock.

    Raises `RefusedError` when the file is known, larger than `max_file`, or can't be read by its feed; `UsageError`
    when the source does not fit its feed.
    """
    require_space(vault)
    if delivered.size > vault.settings.max_file:
        raise RefusedError(
            f"holding a file: it has {delivered.size} bytes and `max_file` is {vault.settings.max_file}; split the file"
        )
    blank = blank_of(vault, feed, source, delivered.sha256(), file_name)
    if known(vault, blank) is not None:
        raise RefusedError(f"holding a file: it is in the vault already, as batch {blank.batch_id}")
    arrived = vault.clock.now()
    with delivered.open() as file:
        data = file.read()
    try:
        reading = read(data, feed, source, arrived, file_name, vault.settings.max_file)
        require_terms(vault, source, set(reading.records))
    except FeedError as problem:
        raise UsageError(f"reading a file of source {source.name}: {problem}") from problem
    except FileRefused as refused:
        raise RefusedError(f"holding a file: {refused}") from refused
    return commit_held(vault, blank, feed, source, data, reading, arrived, waits_for)


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
        data = sealing.unseal_file(custody.key(held_key_id(dying.record_class, dying.day)), path, f"held {batch_id}")
    except OSError as problem:
        raise FaultError(f"accepting batch {batch_id}: its bytes can't be read ({problem.strerror})") from problem
    arrived = datetime.fromisoformat(row["received_at"])
    reading = read(data, feed, source, arrived, held.file, vault.settings.max_file)
    blank = replace(held, read=0, held=0, reason=held.reason if held.mismatched else None)
    waiting = {"kind": "held", "record_class": row["die_class"], "day": row["die_day"], "batch": batch_id}

    def note(tx: Transaction) -> None:
        tx.delete("leftovers", **waiting)

    decided = Decision("accept", person, note)
    delivered = Delivered(data=data)
    coming = Coming(delivered, arrived, raw_bytes.original(vault, feed, source, delivered), decided)
    receipt = store_reading(vault, blank, feed, source, reading, coming, lambda step: None, dying)
    # A crash before this line leaves the held bytes without a catalogue row: the next writer sweeps them.
    vault.disk.remove(path)
    return receipt
