"""Migration: brings a catalogue of any version before to this one. Works inside a transaction that the caller commits.

A later version has more tables, and more columns that may be null; it never loses one. So a table that is missing is
made, and one whose text is not that of a fresh catalogue is made anew and filled with its old rows. A seal covers every
column of its row, so each of these is sealed anew; before that its old seal and the tally are checked, for a new seal
over a changed row would make it true. A table that stays as it was keeps its rows and its part of the tally.
"""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from sqlalchemy.schema import CreateTable

from trafficvault import signing, tables
from trafficvault.errors import FaultError

VERSION = 3
_FIRST = 1
_MODULUS = 2**256
_TALLY = "tally"
_OLD = "old_"
"""How a table is called while its rows are brought over."""


def is_old(connection: sa.Connection) -> bool:
    """Whether the catalogue says that it is of a version before; false as well when nobody can tell."""
    tally = _stored_tally(connection)
    try:
        return tally is not None and json.loads(tally["value"])["v"] in range(_FIRST, VERSION)
    except (ValueError, TypeError, KeyError):
        return False


def migrate(connection: sa.Connection, mac_key: bytes) -> None:
    """Brings what `is_old` to `VERSION`. Raises `FaultError`, and nothing is to be committed, when it was changed."""
    tally = _stored_tally(connection) or {}
    content = json.loads(tally["value"])
    old, told = content["v"], content["tables"]
    if tally[tables.SEAL] != tables.seal_of(mac_key, tables.meta, tally):
        raise _changed(old, "table meta")
    schema = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'table'").all()
    texts = {str(name): str(text) for name, text in schema}
    for name, table in tables.TABLES.items():
        if name not in told and name not in texts:
            table.create(connection)
            told[name] = [0, f"{0:064x}"]
        elif name not in told or name not in texts:
            # A table that the tally does not count, or rows that it counts and that have no table.
            raise _changed(old, f"table {name}")
        elif texts[name] != str(CreateTable(table).compile(dialect=connection.dialect)).lstrip():
            told[name] = _brought_over(connection, mac_key, table, told[name], old)
    sealed = {"key": _TALLY, "value": signing.canonical(content | {"v": VERSION}).decode()}
    sealed[tables.SEAL] = tables.seal_of(mac_key, tables.meta, sealed)
    connection.execute(sa.update(tables.meta).where(tables.meta.c.key == _TALLY).values(**sealed))


def _brought_over(
    connection: sa.Connection, mac_key: bytes, table: sa.Table, told: list[object], old: int
) -> list[object]:
    """Makes `table` anew with its rows; returns its part of the tally. Its old rows must be those that were `told`."""
    # All columns that it has, whichever this program knows.
    stored = sa.select(sa.text("*")).select_from(sa.table(table.name))
    rows: list[dict[str, Any]] = [dict(row) for row in connection.execute(stored).mappings()]
    # As in the catalogue: every row by its seal, and all of them by number and sum.
    total = 0
    for row in rows:
        if row[tables.SEAL] != tables.seal_of(mac_key, table, row):
            raise _changed(old, f"table {table.name}")
        total = (total + int(row[tables.SEAL], 16)) % _MODULUS
    if [len(rows), f"{total:064x}"] != told:
        raise _changed(old, f"table {table.name}")
    # SQLite adds a column in place, but its text would not be that of a fresh catalogue, which `verify` compares.
    connection.exec_driver_sql(f'ALTER TABLE "{table.name}" RENAME TO "{_OLD}{table.name}"')
    table.create(connection)
    total = 0
    for row in rows:
        try:
            fresh = tables.complete_row(table, {name: row[name] for name in row if name != tables.SEAL})
        except (KeyError, TypeError) as problem:
            raise _changed(old, f"table {table.name}") from problem
        fresh[tables.SEAL] = tables.seal_of(mac_key, table, fresh)
        connection.execute(sa.insert(table).values(**fresh))
        total = (total + int(fresh[tables.SEAL], 16)) % _MODULUS
    connection.exec_driver_sql(f'DROP TABLE "{_OLD}{table.name}"')
    return [len(rows), f"{total:064x}"]


def _stored_tally(connection: sa.Connection) -> dict[str, Any] | None:
    query = sa.select(tables.meta).where(tables.meta.c.key == _TALLY)
    found = connection.execute(query).mappings().one_or_none()
    return None if found is None else dict(found)


def _changed(old: int, where: str) -> FaultError:
    return FaultError(
        f"bringing the catalogue from version {old} to {VERSION}: {where} was changed; nothing was brought over",
        hint="restore the newest copy of the vault",
    )
