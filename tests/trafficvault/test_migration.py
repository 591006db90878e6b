"""Migration: a catalogue of a version before opens as one of this, with every row; a changed one does not."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support import KillingDisk, opened
from tests.trafficvault.test_row_keys import without_keys
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
_GOLDEN = Path(__file__).parent / "golden" / "catalogue-2.sql"


def statements(version: int) -> dict[str, str]:
    """How the catalogue of `version` made its tables, by their names."""
    # With the white space that SQLAlchemy leaves behind a statement, and SQLite keeps.
    texts = [f"{text.strip()}\n\n" for text in _GOLDEN.read_text().split(";\n") if text.strip()]
    made = {text.split()[2]: text for text in texts}
    return made if version == 2 else made | {"files": _FILES_1}


def as_version(vault: Vault, version: int) -> bytes:
    """Turns the catalogue of `vault` into what `version` kept; returns the key of its seals."""
    key = vault.keys.custody("catalogue").key("catalogue")
    vault.catalogue.close()
    counted = {}
    with closing(sqlite3.connect(vault.layout.catalogue)) as old:
        old.row_factory = sqlite3.Row
        rows = {name: [dict(row) for row in old.execute(f"SELECT * FROM {name}")] for name in tables.TABLES}
        for name in tables.TABLES:
            old.execute(f"DROP TABLE {name}")
        for name, statement in statements(version).items():
            old.execute(statement)
            kept = [row["name"] for row in old.execute(f"PRAGMA table_info({name})")]
            total = count = 0
            for row in rows[name]:
                bare: dict[str, Any] = {column: row[column] for column in kept if column != "seal"}
                seal = tables.seal_of(key, tables.TABLES[name], bare)
                if bare.get("key") != TALLY:
                    total, count = (total + int(seal, 16)) % 2**256, count + 1
                marks = ", ".join("?" for _ in kept)
                old.execute(f"INSERT INTO {name} ({', '.join(bare)}, seal) VALUES ({marks})", [*bare.values(), seal])
            counted[name] = [count, f"{total:064x}"]
        tally = {"key": TALLY, "value": signing.canonical({"v": version, "tables": counted}).decode()}
        seal = tables.seal_of(key, tables.meta, tally)
        old.execute("UPDATE meta SET value = ?, seal = ? WHERE key = ?", [tally["value"], seal, TALLY])
        old.commit()
    return key


def changed(path: Path, statement: str) -> None:
    """Does `statement` behind the catalogue's back."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()


@pytest.mark.parametrize("version", [1, 2])
def test_a_vault_of_a_version_before_opens_with_every_row(stored: Vault, version: int) -> None:
    """The rows are the same with nulls for what is new, the seals hold, and the schema is that of a fresh one."""
    without_keys(stored)
    with stored.catalogue.reading() as tx:
        before = {name: tx.select(name) for name in tables.TABLES if name != "meta"}
    before["holds"] = []  # they came with version 3
    as_version(stored, version)
    again = opened(stored)
    with again.catalogue.reading() as tx:
        assert {name: tx.select(name) for name in tables.TABLES if name != "meta"} == before
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
    key = as_version(stored, 1)
    changed(stored.layout.catalogue, statement)
    before = stored.layout.catalogue.read_bytes()
    with pytest.raises(FaultError, match=f"from version 1 to 3: {where} was changed"):
        Catalogue.open(stored.layout.catalogue, key, Disk())
    assert stored.layout.catalogue.read_bytes() == before


def test_a_table_that_was_taken_away_is_no_new_one(stored: Vault) -> None:
    """Rows that the tally counts, and that have no table any more, are missed."""
    key = as_version(stored, 2)
    changed(stored.layout.catalogue, "DROP TABLE batches")
    with pytest.raises(FaultError, match="from version 2 to 3: table batches was changed"):
        Catalogue.open(stored.layout.catalogue, key, Disk())


def test_a_column_that_no_version_had_is_not_brought_over(stored: Vault) -> None:
    """Even where its seals hold: somebody who has the key, and not this program, made it."""
    key = as_version(stored, 2)
    with closing(sqlite3.connect(stored.layout.catalogue)) as old:
        old.row_factory = sqlite3.Row
        old.execute("ALTER TABLE partitions ADD COLUMN more TEXT")
        total, rows = 0, [dict(row) for row in old.execute("SELECT * FROM partitions")]
        for row in rows:
            seal = tables.seal_of(key, tables.partitions, {name: row[name] for name in row if name != "seal"})
            total = (total + int(seal, 16)) % 2**256
            old.execute("UPDATE partitions SET seal = ? WHERE day = ? AND record_class = ?",
                        [seal, row["day"], row["record_class"]])  # fmt: skip
        stored_tally = json.loads(old.execute("SELECT value FROM meta WHERE key = ?", [TALLY]).fetchone()[0])
        stored_tally["tables"]["partitions"] = [len(rows), f"{total:064x}"]
        tally = {"key": TALLY, "value": signing.canonical(stored_tally).decode()}
        seal = tables.seal_of(key, tables.meta, tally)
        old.execute("UPDATE meta SET value = ?, seal = ? WHERE key = ?", [tally["value"], seal, TALLY])
        old.commit()
    with pytest.raises(FaultError, match="table partitions was changed"):
        Catalogue.open(stored.layout.catalogue, key, Disk())


@pytest.mark.parametrize("value", ["no JSON", "[]", '{"tables": {}}'])
def test_a_tally_that_says_nothing_is_left_to_its_reader(stored: Vault, value: str) -> None:
    """Opening changes nothing then, and reading names the fault."""
    key = as_version(stored, 1)
    changed(stored.layout.catalogue, f"UPDATE meta SET value = '{value}' WHERE key = 'tally'")
    assert Catalogue.open(stored.layout.catalogue, key, Disk()).check()


def test_a_database_that_is_damaged_is_left_to_its_reader(stored: Vault) -> None:
    """As before: opening does not fail, reading does."""
    key = as_version(stored, 1)
    stored.layout.catalogue.write_bytes(b"no database" * 1000)
    assert Catalogue.open(stored.layout.catalogue, key, Disk()).check()


def test_two_that_open_at_once_bring_it_over_once(stored: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes second finds the new version inside the transaction and changes nothing."""
    key = as_version(stored, 1)
    first = Catalogue.open(stored.layout.catalogue, key, Disk())
    first.close()
    answers = iter([True, False])
    monkeypatch.setattr(migration, "is_old", lambda connection: next(answers))
    second = Catalogue.open(stored.layout.catalogue, key, Disk())
    assert second.check() == []


def test_it_is_a_durable_step_of_its_own(stored: Vault) -> None:
    """So that a crash test can end the process there; nothing is half brought over."""
    key = as_version(stored, 1)
    disk = KillingDisk(None)
    Catalogue.open(stored.layout.catalogue, key, disk)
    assert disk.steps == 2
