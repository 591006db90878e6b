"""Migration: brings a catalogue of any version before to this one. Works inside a transaction that the caller commits.

A later version has more tables, and more columns that may be null; it never loses one. So a table that is missing is
made, and one whose text is not that of a fresh catalogue is made anew and filled with its old rows. A seal covers every
column of its row, so each of these is sealed anew; before that its old seal and the tally are checked, for a new seal
over a changed row would make it true. A table that stays as it was keeps its rows and its part of the tally.
"""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from trafficvault import database, signing, statements, tables
from trafficvault.errors import FaultError
from trafficvault.table import Table

VERSION = 3
_FIRST = 1
_MODULUS = 2**256
_TALLY = "tally"
_OLD = "old_"
"""How a table is called while its rows are brought over."""


def is_old(connection: sqlite3.Connection) -> bool:
    """Whether the catalogue says that it is of a version before; false as well when nobody can tell."""
    tally = _stored_tally(connection)
    try:
        return tally is not None and json.loads(tally["value"])["v"] in range(_FIRST, VERSION)
    except (ValueError, TypeError, KeyError):
        return False


def migrate(connection: sqlite3.Connection, mac_key: bytes) -> None:
    """Brings what `is_old` to `VERSION`. Raises `FaultError`, and nothing is to be committed, when it was changed."""
    tally = _stored_tally(connection) or {}
    content = json.loads(tally["value"])
    old, told = content["v"], content["tables"]
    if tally[tables.SEAL] != tables.seal_of(mac_key, tables.meta, tally):
        raise _changed(old, "table meta")
    texts = database.tables_of(connection)
    for name, table in tables.TABLES.items():
        if name not in told and name not in texts:
            database.make_one(connection, name)
            told[name] = [0, f"{0:064x}"]
        elif name not in told or name not in texts:
            # A table that the tally does not count, or rows that it counts and that have no table.
            raise _changed(old, f"table {name}")
        elif not database.is_as_made(name, texts[name]):
            told[name] = _brought_over(connection, mac_key, table, told[name], old)
    sealed = {"key": _TALLY, "value": signing.canonical(content | {"v": VERSION}).decode()}
    sealed[tables.SEAL] = tables.seal_of(mac_key, tables.meta, sealed)
    statements.update(connection, tables.meta, sealed)


def _brought_over(
    connection: sqlite3.Connection, mac_key: bytes, table: Table, told: list[object], old: int
) -> list[object]:
    """Makes `table` anew with its rows; returns its part of the tally. Its old rows must be those that were `told`."""
    # All columns that it has, whichever this program knows.
    stored = connection.execute(f'SELECT * FROM "{table.name}"')  # noqa: S608 - a name of our tables
    names = [str(one[0]) for one in stored.description]
    rows: list[dict[str, Any]] = [dict(zip(names, row, strict=True)) for row in stored]
    # As in the catalogue: every row by its seal, and all of them by number and sum.
    total = 0
    for row in rows:
        if row[tables.SEAL] != tables.seal_of(mac_key, table, row):
            raise _changed(old, f"table {table.name}")
        total = (total + int(row[tables.SEAL], 16)) % _MODULUS
    if [len(rows), f"{total:064x}"] != told:
        raise _changed(old, f"table {table.name}")
    # SQLite adds a column in place, but its text would not be that of a fresh catalogue, which `verify` compares.
    connection.execute(f'ALTER TABLE "{table.name}" RENAME TO "{_OLD}{table.name}"')
    database.make_one(connection, table.name)
    total = 0
    for row in rows:
        try:
            fresh = tables.complete_row(table, {name: row[name] for name in row if name != tables.SEAL})
        except (KeyError, TypeError) as problem:
            raise _changed(old, f"table {table.name}") from problem
        fresh[tables.SEAL] = tables.seal_of(mac_key, table, fresh)
        statements.insert(connection, table, fresh)
        total = (total + int(fresh[tables.SEAL], 16)) % _MODULUS
    connection.execute(f'DROP TABLE "{_OLD}{table.name}"')
    return [len(rows), f"{total:064x}"]


def _stored_tally(connection: sqlite3.Connection) -> dict[str, Any] | None:
    return statements.one(connection, tables.meta, {"key": _TALLY})


def _changed(old: int, where: str) -> FaultError:
    return FaultError(
        f"bringing the catalogue from version {old} to {VERSION}: {where} was changed; nothing was brought over",
        hint="restore the newest copy of the vault",
    )
