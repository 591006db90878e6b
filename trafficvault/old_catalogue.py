"""Old catalogue: the sealed values of a catalogue that lies in a copy, read where it lies. Nothing is believed of it.

The copy is not touched: SQLite opens it for reading alone, keeps the index of its write-ahead log in its own memory,
and so also reads what was committed and is not in the database file yet. Values are given as they are sealed; whether
a key opens one is for `trafficvault.lids`.

Not among them: the private keys of people, which their passwords open, and no key of the ring.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from trafficvault import row_keys
from trafficvault.chain import Line
from trafficvault.errors import FaultError

NAMES: Final = "batches"
"""The table whose sealed values are names of delivered files."""
ENTRIES: Final = "outbox"
"""The table of audit entries that were not in their segment yet."""


@dataclass(frozen=True, slots=True)
class Value:
    """One sealed value: its table and row, the place it is sealed for, the ring key that its row names (None: of before
    rows had keys), and for a file's name the class and day that it dies with.
    """

    table: str
    row_id: str
    place: str
    blob: bytes = field(repr=False)
    key: str | None = None
    die: tuple[str, str] = ("", "")


def values(path: Path) -> Iterator[Value]:
    """Every sealed value of the catalogue at `path` but audit entries. Raises `FaultError` when it can't be read."""
    for table, what in row_keys.TABLES.items():
        for row in _rows(path, table, "id", "sealed"):
            yield Value(table, row["id"], f"{what} {row['id']}", _blob(path, row["sealed"]), row.get("key"))
    for row in _rows(path, NAMES, "id", "sealed", "die_class", "die_day"):
        if row["sealed"]:
            die = (row["die_class"] or "", row["die_day"] or "")
            yield Value(NAMES, row["id"], f"batch {row['id']}", _blob(path, row["sealed"]), die=die)


def entries(path: Path) -> Iterator[Line]:
    """The audit entries that were not in their segment yet, as the lines that they were to be.

    Raises `FaultError` when the table can't be read.
    """
    for row in _rows(path, ENTRIES, "seq", "line"):
        yield Line(int(row["seq"]), str(row["line"]).encode(), ENTRIES)


def _rows(path: Path, table: str, *needed: str) -> list[dict[str, Any]]:
    """The rows of one table, by the columns that it has: an older version has fewer, or lacks the table."""
    # Without locks and shared memory, nothing is written beside it; the lock that is never taken makes SQLite keep the
    # index of a write-ahead log to itself.
    address = f"file:{quote(str(path.absolute()))}?mode=ro&vfs=unix-none"
    try:
        with closing(sqlite3.connect(address, uri=True)) as connection:
            for pragma in ("locking_mode=EXCLUSIVE", "trusted_schema=OFF", "cell_size_check=ON"):
                connection.execute(f"PRAGMA {pragma}")
            known = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table,))
            if known.fetchone() is None:
                return []
            found = connection.execute(f"SELECT * FROM {table}")  # noqa: S608  # a name of ours
            names = [one[0] for one in found.description]
            if not {*needed} <= {*names}:
                raise FaultError(f"reading {path.name} of the copy: its table {table} is not one of a catalogue")
            return [dict(zip(names, row, strict=True)) for row in found]
    except sqlite3.Error as problem:
        raise FaultError(f"reading {path.name} of the copy: SQLite can't read it; was it copied whole?") from problem


def _blob(path: Path, text: object) -> bytes:
    try:
        return bytes.fromhex(str(text))
    except ValueError as problem:
        raise FaultError(f"reading {path.name} of the copy: a sealed value is damaged") from problem
