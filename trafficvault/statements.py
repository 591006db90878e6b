"""The statements of the catalogue: how rows of a table are read, put and removed, each written once as SQL.

They go straight to the driver: a question asks the catalogue some forty times, and composing a statement anew took
longer than SQLite takes for it. Names are those of `tables`, never of a caller; values are bound. Knows no seal.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from trafficvault.table import Table

Row = dict[str, Any]


def every(
    connection: sqlite3.Connection, table: Table, order: Sequence[str] = (), equals: Mapping[str, object] | None = None
) -> Iterator[Row]:
    """The rows whose columns equal `equals`, null being equal to null, by the columns `order`, then by primary key.

    Raises `KeyError` for a column that the table does not have.
    """
    wanted = equals or {}
    found = connection.execute(_select(table, tuple(order), tuple(wanted)), tuple(wanted.values()))
    names = table.names
    return (dict(zip(names, row, strict=True)) for row in found)


def one(connection: sqlite3.Connection, table: Table, key: Mapping[str, object]) -> Row | None:
    """The row with the primary key `key`."""
    found = connection.execute(_select_one(table), [key[name] for name in table.key]).fetchone()
    return None if found is None else dict(zip(table.names, found, strict=True))


def insert(connection: sqlite3.Connection, table: Table, row: Mapping[str, object]) -> None:
    """Puts a row that is not there."""
    connection.execute(_insert(table), [row[name] for name in table.names])


def update(connection: sqlite3.Connection, table: Table, row: Mapping[str, object]) -> bool:
    """Writes every column of the row with the same primary key. Returns whether there was one."""
    values = [row[name] for name in (*table.names, *table.key)]
    return connection.execute(_update(table), values).rowcount > 0


def delete(connection: sqlite3.Connection, table: Table, key: Mapping[str, object]) -> None:
    """Removes the row with the primary key `key`."""
    connection.execute(_delete(table), [key[name] for name in table.key])


@cache
def _select(table: Table, order: tuple[str, ...], equals: tuple[str, ...]) -> str:
    where = " AND ".join(f"{_column(table, name)} IS ?" for name in equals) or "true"
    by = ", ".join(_column(table, name) for name in dict.fromkeys((*order, *table.key)))
    return f"{_head(table)} WHERE {where} ORDER BY {by}"


@cache
def _select_one(table: Table) -> str:
    return f"{_head(table)} WHERE {_matches(table)}"


@cache
def _insert(table: Table) -> str:
    names, marks = ", ".join(f'"{name}"' for name in table.names), ", ".join("?" for _ in table.names)
    return f'INSERT INTO "{table.name}" ({names}) VALUES ({marks})'  # noqa: S608 - names of our tables


@cache
def _update(table: Table) -> str:
    values = ", ".join(f'"{name}" = ?' for name in table.names)
    return f'UPDATE "{table.name}" SET {values} WHERE {_matches(table)}'  # noqa: S608 - names of our tables


@cache
def _delete(table: Table) -> str:
    return f'DELETE FROM "{table.name}" WHERE {_matches(table)}'  # noqa: S608 - names of our tables


def _head(table: Table) -> str:
    return f'SELECT {", ".join(_column(table, name) for name in table.names)} FROM "{table.name}"'  # noqa: S608 - names of our tables


def _matches(table: Table) -> str:
    return " AND ".join(f"{_column(table, name)} = ?" for name in table.key)


def _column(table: Table, name: str) -> str:
    """A column by its full name: SQLite takes a bare one in quotes, when it is missing, for a text."""
    return f'"{table.name}"."{table.column(name).name}"'
