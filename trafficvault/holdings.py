"""What the catalogue holds, in a form that stays: whole tables that were checked once, and the files that can be read.

A table is told apart by its tally, which is sealed and which only the same rows have. As long as that stands, rows that
were read and checked before are given again: a question over many days asks nothing twice, and neither does the next.
Nothing personal is in the catalogue, and so nothing personal is kept here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any, TypeVar

from ingest.record import BY_NAME
from trafficvault.catalogue import Row, Transaction

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file of records: whose it is, the days that its records touch, its columns, its number of rows, and
    whether it has blocks; and the generation of the day keys that it lies under."""

    file_id: str
    record_class: str
    day: date
    reach: tuple[date, date]
    columns: tuple[str, ...]
    rows: int
    has_blocks: bool
    generation: int = 1
    lost: frozenset[str] = frozenset()
    """Categories that have expired, or begun to, while the day lives."""


class Holdings:
    """Whole tables of one catalogue, as they were when last read."""

    def __init__(self) -> None:
        self._tables: dict[str, tuple[tuple[int, int], Sequence[Row]]] = {}
        self._made: dict[tuple[str, Callable[[Sequence[Row]], Any]], tuple[tuple[int, int], Any]] = {}
        self._files: tuple[tuple[object, object], Sequence[StoredFile]] | None = None

    def rows(self, tx: Transaction, table: str) -> Sequence[Row]:
        """Every row of `table`; not to be changed. Raises `FaultError` when the table is read and was changed."""
        tally = tx.tally_of(table)
        known, rows = self._tables.get(table, (None, ()))
        if known != tally:
            rows = tuple(tx.whole(table))
            self._tables[table] = tally, rows
        return rows

    def made(self, tx: Transaction, table: str, make: Callable[[Sequence[Row]], T]) -> T:
        """What `make` makes of the rows of `table`, as long as that stands; not to be changed. Raises as `rows`.

        `make` looks at nothing else, and is the same function each time.
        """
        tally = tx.tally_of(table)
        known = self._made.get((table, make))
        if known is None or known[0] != tally:
            known = self._made[table, make] = tally, make(self.rows(tx, table))
        found: T = known[1]
        return found

    def living_files(self, tx: Transaction) -> list[StoredFile]:
        """The files of every partition whose expiry has not begun."""
        known = tx.tally_of("partitions"), tx.tally_of("files")
        if self._files is None or self._files[0] != known:
            parts = self.rows(tx, "partitions")
            dying = {(row["record_class"], row["day"]) for row in parts if row["state"] != "live"}
            without = {(row["record_class"], row["day"]): lost(row) for row in parts if row["gone"] or row["going"]}
            rows = [row for row in self.rows(tx, "files") if (row["record_class"], row["day"]) not in dying]
            living = [_file(row, without.get((row["record_class"], row["day"]), frozenset())) for row in rows]
            self._files = known, tuple(living)
        return list(self._files[1])


def gone(partition: Row) -> tuple[str, ...]:
    """The categories of a living day whose keys are destroyed."""
    return _names(partition["gone"])


def going(partition: Row) -> tuple[str, ...]:
    """The categories of a living day whose end began: nobody reads them, and their keys may be there."""
    return _names(partition["going"])


def lost(partition: Row) -> frozenset[str]:
    """The categories of a living day that nobody reads any more."""
    return frozenset((*gone(partition), *going(partition)))


@lru_cache(maxsize=64)
def _names(text: str | None) -> tuple[str, ...]:
    """The categories in a column of that form: of most days none, and of all others one of a few lists."""
    return tuple(json.loads(text or "[]"))


def _file(row: Row, without: frozenset[str]) -> StoredFile:
    reach = date.fromisoformat(row["reach_from"]), date.fromisoformat(row["reach_to"])
    columns = _columns(row["columns"])
    day = date.fromisoformat(row["day"])
    has_blocks, generation = row["blocks"] is not None, row["generation"] or 1
    return StoredFile(row["id"], row["record_class"], day, reach, columns, row["rows"], has_blocks, generation, without)


@lru_cache(maxsize=1024)
def _columns(text: str) -> tuple[str, ...]:
    """The columns of a file in the order of the record. Files of one source mostly have the same."""
    named = frozenset(json.loads(text))
    return tuple(name for name in BY_NAME if name in named)
