"""Rejected rows, kept encrypted: row number, reason and, where the feed has no content column, the raw bytes.

A file of rejections dies with the shortest term of its feed's classes, counted from the day it came. It is a sealed
Arrow stream of the columns row, reason, raw, under the key `rejections/<class>/<day>`.
"""

from __future__ import annotations

import pyarrow as pa

from trafficvault import partitions, sealing
from trafficvault.catalogue import Row
from trafficvault.keys import Custody
from trafficvault.receipts import Dying
from trafficvault.vault import Vault


def write(vault: Vault, custody: Custody, dying: Dying, batch: str, rejected: pa.Table) -> Row | None:
    """Seals `rejected` and returns the catalogue's row for it, or None when nothing was rejected. The key is there."""
    if rejected.num_rows == 0:
        return None
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rejected.schema) as stream:
        stream.write_table(rejected)
    blob = sealing.seal(custody.key(dying.key_id), sink.getvalue().to_pybytes(), f"rejections {batch}")
    path = vault.layout.rejection_file(dying.record_class, dying.day, batch)
    vault.disk.make_directory(path.parent)
    vault.disk.create(path, blob)
    return {
        "kind": "rejections",
        "record_class": dying.record_class,
        "day": dying.day.isoformat(),
        "batch": batch,
        "bytes": len(blob),
        "digest": partitions.keyed_digest(custody, blob),
        "rows": rejected.num_rows,
    }


def read(vault: Vault, custody: Custody, dying: Dying, batch: str) -> pa.Table:
    """The rejected rows of `batch`. Raises `FaultError` when they were changed, `RefusedError` when the key is gone."""
    blob = vault.layout.rejection_file(dying.record_class, dying.day, batch).read_bytes()
    return pa.ipc.open_stream(sealing.unseal(custody.key(dying.key_id), blob, f"rejections {batch}")).read_all()
