"""Migration: a catalogue of version 1 opens as one of this version, with every row; a changed one does not."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support import KillingDisk, opened
from trafficvault import migration, signing, tables
from trafficvault.catalogue import TALLY, Catalogue
from trafficvault.durable import Disk
from trafficvault.errors import FaultError
from trafficvault.vault import Vault
from trafficvault.verify import verify

_FILES_1 = """
CREATE TABLE files (
    id TEXT NOT NULL, record_class TEXT NOT NULL, day TEXT NOT NULL, batch TEXT NOT NULL, rows INTEGER NOT NULL,
    bytes INTEGER NOT NULL, digest TEXT NOT NULL, row_sum TEXT NOT NULL, reach_from TEXT NOT NULL,
    reach_to TEXT NOT NULL, columns TEXT NOT NULL, created_at TEXT NOT NULL, seal TEXT NOT NULL, PRIMARY KEY (id)
) STRICT, WITHOUT ROWID
"""
_NEW = ("merged", "blocks", "blocks_bytes")


def as_version_1(vault: Vault) -> bytes:
    """Turns the catalogue of `vault` into what version 1 kept; returns the key of its seals."""
    key = vault.keys.custody("catalogue").key("catalogue")
    vault.catalogue.close()
    with closing(sqlite3.connect(vault.layout.catalogue)) as old:
        old.row_factory = sqlite3.Row
        rows = [dict(row) for row in old.execute("SELECT * FROM files")]
        old.execute("DROP TABLE files")
        old.execute(_FILES_1)
        total = 0
        for row in rows:
            bare: dict[str, Any] = {name: row[name] for name in row if name not in (*_NEW, "seal")}
            seal = tables.seal_of(key, tables.files, bare)
            total = (total + int(seal, 16)) % 2**256
            marks = ", ".join("?" for _ in range(len(bare) + 1))
            old.execute(f"INSERT INTO files ({', '.join(bare)}, seal) VALUES ({marks})", [*bare.values(), seal])
        stored = json.loads(old.execute("SELECT value FROM meta WHERE key = ?", [TALLY]).fetchone()[0])
        stored["tables"]["files"] = [len(rows), f"{total:064x}"]
        tally = {"key": TALLY, "value": signing.canonical(stored | {"v": 1}).decode()}
        seal = tables.seal_of(key, tables.meta, tally)
        old.execute("UPDATE meta SET value = ?, seal = ? WHERE key = ?", [tally["value"], seal, TALLY])
        old.commit()
    return key


def changed(path: Path, statement: str) -> None:
    """Does `statement` behind the catalogue's back."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()


def test_a_vault_of_version_1_opens_with_every_row(stored: Vault) -> None:
    """The rows are the same with nulls for what is new, the seals hold, and the schema is that of a fresh one."""
    with stored.catalogue.reading() as tx:
        before = tx.select("files")
    as_version_1(stored)
    again = opened(stored)
    with again.catalogue.reading() as tx:
        assert tx.select("files") == before
    assert again.catalogue.check() == []
    assert verify(again).faults == ()


@pytest.mark.parametrize(
    ("statement", "where"),
    [
        ("UPDATE files SET rows = rows + 1", "table files"),
        ("DELETE FROM files WHERE id = (SELECT min(id) FROM files)", "table files"),
        ("""UPDATE meta SET value = replace(value, '"batches"', '"batchez"') WHERE key = 'tally'""", "table meta"),
    ],
)
def test_what_was_changed_is_not_sealed_anew(stored: Vault, statement: str, where: str) -> None:
    """A new seal over a changed row would make it true: the catalogue stays as it is, and the sentence says where."""
    key = as_version_1(stored)
    changed(stored.layout.catalogue, statement)
    before = stored.layout.catalogue.read_bytes()
    with pytest.raises(FaultError, match=f"from version 1 to 2: {where} was changed"):
        Catalogue.open(stored.layout.catalogue, key, Disk())
    assert stored.layout.catalogue.read_bytes() == before


@pytest.mark.parametrize("value", ["no JSON", "[]", '{"tables": {}}'])
def test_a_tally_that_says_nothing_is_left_to_its_reader(stored: Vault, value: str) -> None:
    """Opening changes nothing then, and reading names the fault."""
    key = as_version_1(stored)
    changed(stored.layout.catalogue, f"UPDATE meta SET value = '{value}' WHERE key = 'tally'")
    assert Catalogue.open(stored.layout.catalogue, key, Disk()).check()


def test_a_database_that_is_damaged_is_left_to_its_reader(stored: Vault) -> None:
    """As before: opening does not fail, reading does."""
    key = as_version_1(stored)
    stored.layout.catalogue.write_bytes(b"no database" * 1000)
    assert Catalogue.open(stored.layout.catalogue, key, Disk()).check()


def test_two_that_open_at_once_bring_it_over_once(stored: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes second finds the new version inside the transaction and changes nothing."""
    key = as_version_1(stored)
    first = Catalogue.open(stored.layout.catalogue, key, Disk())
    first.close()
    answers = iter([True, False])
    monkeypatch.setattr(migration, "is_old", lambda connection: next(answers))
    second = Catalogue.open(stored.layout.catalogue, key, Disk())
    assert second.check() == []


def test_it_is_a_durable_step_of_its_own(stored: Vault) -> None:
    """So that a crash test can end the process there; nothing is half brought over."""
    key = as_version_1(stored)
    disk = KillingDisk(None)
    Catalogue.open(stored.layout.catalogue, key, disk)
    assert disk.steps == 2
