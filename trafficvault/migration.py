"""Migration: brings a catalogue of the version before to this one. Works inside a transaction that the caller commits.

Version 2 lets a record file be of no single batch (it was compacted) and names its block file. A seal covers every
column of its row, so each row of `files` is sealed anew; before that its old seal and the tally are checked, for a new
seal over a changed row would make it true.
"""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa

from trafficvault import signing, tables
from trafficvault.errors import FaultError

VERSION = 2
_OLD = 1
_MODULUS = 2**256
_TALLY = "tally"


def is_old(connection: sa.Connection) -> bool:
    """Whether the catalogue says that it is of the version before; false as well when nobody can tell."""
    tally = _stored_tally(connection)
    try:
        return tally is not None and json.loads(tally["value"])["v"] == _OLD
    except (ValueError, TypeError, KeyError):
        return False


def migrate(connection: sa.Connection, mac_key: bytes) -> None:
    """Brings version 1 to 2. Raises `FaultError`, and nothing is to be committed, when what is there was changed."""
    tally = _stored_tally(connection)
    if tally is None or tally[tables.SEAL] != tables.seal_of(mac_key, tables.meta, tally):
        raise _changed("table meta")
    content = json.loads(tally["value"])
    rows: list[dict[str, Any]] = [
        dict(row) for row in connection.exec_driver_sql("SELECT * FROM files").mappings().all()
    ]
    # As in the catalogue: every row by its seal, and all of them by number and sum.
    total = 0
    for row in rows:
        if row[tables.SEAL] != tables.seal_of(mac_key, tables.files, row):
            raise _changed("table files")
        total = (total + int(row[tables.SEAL], 16)) % _MODULUS
    if [len(rows), f"{total:064x}"] != content["tables"]["files"]:
        raise _changed("table files")
    # A column that may be null from now on takes a new table; its text is that of a fresh catalogue.
    connection.exec_driver_sql("ALTER TABLE files RENAME TO files_1")
    tables.files.create(connection)
    total = 0
    for row in rows:
        fresh = tables.complete_row(tables.files, {name: row[name] for name in row if name != tables.SEAL})
        fresh[tables.SEAL] = tables.seal_of(mac_key, tables.files, fresh)
        connection.execute(sa.insert(tables.files).values(**fresh))
        total = (total + int(fresh[tables.SEAL], 16)) % _MODULUS
    connection.exec_driver_sql("DROP TABLE files_1")
    content["v"] = VERSION
    content["tables"]["files"] = [len(rows), f"{total:064x}"]
    sealed = {"key": _TALLY, "value": signing.canonical(content).decode()}
    sealed[tables.SEAL] = tables.seal_of(mac_key, tables.meta, sealed)
    connection.execute(sa.update(tables.meta).where(tables.meta.c.key == _TALLY).values(**sealed))


def _stored_tally(connection: sa.Connection) -> dict[str, Any] | None:
    query = sa.select(tables.meta).where(tables.meta.c.key == _TALLY)
    found = connection.execute(query).mappings().one_or_none()
    return None if found is None else dict(found)


def _changed(where: str) -> FaultError:
    return FaultError(
        f"bringing the catalogue from version {_OLD} to {VERSION}: {where} was changed; nothing was brought over",
        hint="restore the newest copy of the vault",
    )
