"""Rejected rows, kept encrypted: row number, reason and, where the feed has no content column, the raw bytes.

A file of rejections dies with the shortest term of its feed's classes, counted from the day it came. It is a sealed
stream of an Arrow stream of the columns row, reason, raw, under the key `rejections/<class>/<day>`. It is written as
the rows come: however many they are, they are never whole in memory.
"""

from __future__ import annotations

import contextlib
import secrets
from collections import Counter
from typing import BinaryIO

import polars as pl
import pyarrow as pa

from trafficvault import partitions, sealing
from trafficvault.catalogue import Row
from trafficvault.durable import PART
from trafficvault.keys import Custody
from trafficvault.receipts import Dying
from trafficvault.vault import Vault


class Rejections:
    """The rejected rows of one batch, as they come. Nothing is written before the first one."""

    def __init__(self, vault: Vault, custody: Custody, dying: Dying, batch: str) -> None:
        """For rows that die as `dying` says; its key is made when the first row comes."""
        self._vault, self._custody, self._dying, self._batch = vault, custody, dying, batch
        self._path = vault.layout.rejection_file(dying.record_class, dying.day, batch)
        self._part = self._path.with_name(f"{self._path.name}{PART}{secrets.token_hex(4)}")
        self._sink: BinaryIO | None = None
        self._sealed: sealing.StreamWriter | None = None
        self._stream: pa.RecordBatchStreamWriter | None = None
        self.by_reason: Counter[str] = Counter()

    @property
    def key_id(self) -> str:
        """The id of the key that they are sealed under."""
        return self._dying.key_id

    @property
    def rows(self) -> int:
        """How many there are so far."""
        return self.by_reason.total()

    def add(self, rejected: pa.Table) -> None:
        """Adds the rows of `rejected`, columns row, reason, raw."""
        if not rejected.num_rows:
            return
        stream = self._stream or self._begun(rejected.schema)
        counts = pl.Series("reason", rejected["reason"], dtype=pl.String).value_counts().sort("reason")
        self.by_reason.update({str(reason): int(count) for reason, count in counts.iter_rows()})
        stream.write_table(rejected)

    def finish(self) -> Row | None:
        """Makes the file whole and durable and returns the catalogue's row for it; None when nothing was rejected."""
        if self._stream is None or self._sealed is None or self._sink is None:
            return None
        self._stream.close()
        self._sealed.close()
        self._sink.close()
        self._vault.disk.end(self._part)
        self._vault.disk.move(self._part, self._path)
        return {
            "kind": "rejections",
            "record_class": self._dying.record_class,
            "day": self._dying.day.isoformat(),
            "batch": self._batch,
            "bytes": self._path.stat().st_size,
            "digest": partitions.keyed_digest_of(self._custody, self._path),
            "rows": self.rows,
        }

    def abandon(self) -> None:
        """Removes what was written."""
        if self._sink is not None:
            self._sink.close()
            self._part.unlink(missing_ok=True)
            self._path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # others have rejections of that day
                self._path.parent.rmdir()

    def _begun(self, schema: pa.Schema) -> pa.RecordBatchStreamWriter:
        self._vault.keys.ensure([self._dying.key_id])
        self._vault.disk.make_directory(self._path.parent)
        self._vault.disk.begin(self._part)
        self._sink = self._part.open("wb")
        key = self._custody.key(self._dying.key_id)
        self._sealed = sealing.StreamWriter(key, self._sink, f"rejections {self._batch}")
        self._stream = pa.ipc.new_stream(pa.PythonFile(self._sealed, mode="w"), schema)
        return self._stream


def read(vault: Vault, custody: Custody, dying: Dying, batch: str) -> pa.Table:
    """The rejected rows of `batch`. Raises `FaultError` when they were changed, `RefusedError` when the key is gone."""
    path = vault.layout.rejection_file(dying.record_class, dying.day, batch)
    return pa.ipc.open_stream(sealing.unseal_file(custody.key(dying.key_id), path, f"rejections {batch}")).read_all()
