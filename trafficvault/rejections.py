"""Rejected rows, kept encrypted: row number, reason and, where the feed has no content column, the raw bytes.

A file of rejections dies with the shortest term of its feed's classes, counted from the day it came (DESIGN §4). It is
a sealed Arrow stream of the columns row, reason, raw, under the key `rejections/<class>/<day>`.
"""

from __future__ import annotations

from datetime import date

import pyarrow as pa

from trafficvault import partitions, sealing
from trafficvault.keys import Custody
from trafficvault.layout import rejections_key_id
from trafficvault.vault import Vault


def write(
    vault: Vault, custody: Custody, record_class: str, day: date, batch: str, rejected: pa.Table
) -> dict[str, object] | None:
    """Seals `rejected` and returns the catalogue's row for it, or None when nothing was rejected."""
    if rejected.num_rows == 0:
        return None
    vault.keys.ensure([rejections_key_id(record_class, day)])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rejected.schema) as stream:
        stream.write_table(rejected)
    blob = sealing.seal(
        custody.key(rejections_key_id(record_class, day)), sink.getvalue().to_pybytes(), f"rejections {batch}"
    )
    path = vault.layout.rejection_file(record_class, day, batch)
    vault.disk.make_directory(path.parent)
    vault.disk.create(path, blob)
    return {
        "kind": "rejections",
        "record_class": record_class,
        "day": day.isoformat(),
        "batch": batch,
        "bytes": len(blob),
        "digest": partitions.keyed_digest(custody, blob),
        "rows": rejected.num_rows,
    }


def read(vault: Vault, custody: Custody, record_class: str, day: date, batch: str) -> pa.Table:
    """The rejected rows of `batch`. Raises `FaultError` when the file was changed or its key is gone."""
    blob = vault.layout.rejection_file(record_class, day, batch).read_bytes()
    content = sealing.unseal(custody.key(rejections_key_id(record_class, day)), blob, f"rejections {batch}")
    return pa.ipc.open_stream(content).read_all()
