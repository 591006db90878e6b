"""A catalogue with rows in every table."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from trafficvault.catalogue import Catalogue, Transaction
from trafficvault.durable import Disk
from trafficvault.tables import SEAL, TABLES

KEY = bytes(range(32))


def sample(table: str, number: int) -> dict[str, object]:
    """An invented row: every column filled, and each optional one empty in the even rows."""
    row: dict[str, object] = {}
    for column in TABLES[table].columns:
        if column.name == SEAL:
            continue
        if column.optional and number % 2 == 0:
            row[column.name] = None
        elif column.kind is int:
            row[column.name] = number
        else:
            row[column.name] = f"{column.name} {number} é"
    return row


def fill(tx: Transaction, rows: int = 3) -> None:
    """Puts some rows into every table."""
    for table in TABLES:
        for number in range(1, rows + 1):
            tx.put(table, **sample(table, number))


def check(path: Path) -> list[str]:
    """What a newly opened catalogue says of itself."""
    with closing(Catalogue.open(path, KEY, Disk())) as opened:
        return opened.check()
