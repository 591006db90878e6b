"""Damage to the catalogue: a changed, lost, doubled or older row is named, and never a traceback."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.thorough import as_many
from tests.trafficvault.catalogue_house import KEY, check, fill, sample
from trafficvault import database, tables
from trafficvault.catalogue import TALLY, Catalogue
from trafficvault.durable import Disk
from trafficvault.errors import FaultError, VaultError
from trafficvault.table import Table
from trafficvault.tables import SEAL, TABLES


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[Catalogue]:
    """A new catalogue."""
    with closing(Catalogue.create(tmp_path / "catalogue.db", KEY, Disk())) as made:
        yield made


@pytest.fixture(scope="module")
def populated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalogue file with rows in every table, closed: one file, no log."""
    path = tmp_path_factory.mktemp("populated") / "catalogue.db"
    with closing(Catalogue.create(path, KEY, Disk())) as made, made.transaction() as tx:
        fill(tx)
    return path


@pytest.fixture
def copy(populated: Path, tmp_path: Path) -> Path:
    """A copy of the populated catalogue, to be damaged."""
    return Path(shutil.copy(populated, tmp_path / "catalogue.db"))


def tamper(path: Path, statement: str, *values: object) -> None:
    """Changes the file as somebody would who has no key."""
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute(statement, values)


def named(table: str, row: dict[str, object]) -> str:
    """The sentence that names `row` as changed."""
    return f"catalogue: {tables.row_name(TABLES[table], row)}: changed"


def flips_of(value: str | int) -> list[str | bytes | int]:
    """`value` with each of its bits flipped: of text every bit of its UTF-8, of an integer all 64."""
    if isinstance(value, int):
        return [*(value ^ (1 << place) for place in range(63)), value - 2**63 if value >= 0 else value + 2**63]
    flips: list[str | bytes | int] = []
    for place in range(len(value.encode()) * 8):
        changed = bytearray(value.encode())
        changed[place // 8] ^= 1 << place % 8
        flips.append(database._text(bytes(changed)))
    return flips


@pytest.mark.parametrize("table", list(TABLES))
def test_every_bit_of_a_row_is_sealed(table: str) -> None:
    """Whichever bit of whichever value flips, the seal is no longer the row's; so it is for a null that was filled."""
    target = TABLES[table]
    for number in (1, 2):
        row = sample(table, number)
        sealed = row | {SEAL: tables.seal_of(KEY, target, row)}
        missed = [
            (name, changed)
            for name, value in sealed.items()
            for changed in (flips_of(value) if isinstance(value, str | int) else [0, "", b""])
            if tables.is_sealed(KEY, target, sealed | {name: changed})
        ]

        assert tables.is_sealed(KEY, target, sealed)
        assert missed == []


@pytest.mark.parametrize("table", list(TABLES))
def test_one_flipped_bit_in_any_stored_value_is_named(copy: Path, table: str) -> None:
    """In every row and column of every table, seal, key and tally among them: `check` names the very row."""
    chance = random.Random(table)
    with (
        closing(sqlite3.connect(copy, isolation_level=None)) as raw,
        closing(sqlite3.connect(":memory:")) as pristine,
        closing(Catalogue.open(copy, KEY, Disk())) as opened,
    ):
        raw.execute("PRAGMA synchronous=OFF")
        raw.row_factory = sqlite3.Row
        raw.backup(pristine)
        keys = TABLES[table].key
        where = " AND ".join(f"{name} = ?" for name in keys)
        rows = [dict(row) for row in raw.execute(f"SELECT * FROM {table}")]
        for row in rows:
            for name, value in row.items():
                others = {other[name] for other in rows} if len(keys) == 1 and name in keys else set()
                # A null has no bit; filling it is as bad.
                filled = 7 if TABLES[table].column(name).kind is int else "7"
                for changed in [filled] if value is None else chance.sample(flips_of(value), 4):
                    if changed in others:
                        continue  # SQL refuses a second row of that key
                    stored = changed.encode() if isinstance(changed, str) else changed
                    cast = "CAST(? AS TEXT)" if isinstance(stored, bytes) else "?"
                    change = f"UPDATE {table} SET {name} = {cast} WHERE {where}"
                    raw.execute(change, (stored, *(row[key] for key in keys)))
                    after = row | {name: changed}

                    assert named(table, after) in opened.check(), name
                    with pytest.raises(FaultError, match=table), opened.reading() as tx:
                        tx.select(table)
                    pristine.backup(raw)

        assert opened.check() == []


def test_one_flipped_bit_in_the_file_is_never_a_traceback(populated: Path, tmp_path: Path) -> None:
    """Anywhere in the database file: either `check` finds a fault, or every row is still what was put."""
    content = populated.read_bytes()
    with closing(Catalogue.open(populated, KEY, Disk())) as opened, opened.reading() as tx:
        wanted = {table: tx.select(table) for table in TABLES}
    found = 0
    for place in range(0, len(content) * 8, len(content) * 8 // as_many(60) + 3):
        changed = bytearray(content)
        changed[place // 8] ^= 1 << place % 8
        path = tmp_path / f"{place}.db"
        path.write_bytes(changed)
        with closing(Catalogue.open(path, KEY, Disk())) as opened:
            faults = opened.check()
            if not faults:
                with opened.reading() as tx:
                    assert {table: tx.select(table) for table in TABLES} == wanted
            found += bool(faults)
        for left in tmp_path.glob(f"{place}.db*"):
            left.unlink()

    assert found > 0


@pytest.mark.parametrize("table", [table for table in TABLES if table != "meta"])
def test_a_removed_row_is_found(copy: Path, table: str) -> None:
    """A row less than the tally says is a fault of its table, for the check and for every reader."""
    tamper(copy, f"DELETE FROM {table} WHERE {TABLES[table].key[0]} LIKE '%2%'")

    assert check(copy) == [f"catalogue: table {table}: it has 2 rows where the tally says 3"]
    with (
        closing(Catalogue.open(copy, KEY, Disk())) as opened,
        opened.reading() as tx,
        pytest.raises(FaultError, match=f"table {table}: it has 2 rows"),
    ):
        tx.select(table)


@pytest.mark.parametrize("table", [table for table in TABLES if table != "meta"])
def test_a_duplicated_row_is_found(copy: Path, table: str) -> None:
    """A row copied under another key does not carry its seal with it, and is one too many."""
    first, *rest = TABLES[table].names
    value = "99" if TABLES[table].column(first).kind is int else "'another'"
    tamper(copy, f"INSERT INTO {table} SELECT {value}, {', '.join(rest)} FROM {table} WHERE {first} LIKE '%3%'")
    faults = check(copy)

    assert f"catalogue: table {table}: it has 4 rows where the tally says 3" in faults
    assert any(fault.endswith("changed") for fault in faults)


def test_a_row_of_an_older_state_is_found(catalogue: Catalogue, tmp_path: Path) -> None:
    """A person who was disabled is not brought back by putting the old row, with its true seal, in place."""
    row = sample("people", 1)
    with catalogue.transaction() as tx:
        tx.put("people", **row | {"disabled": 0})
    with closing(sqlite3.connect(tmp_path / "catalogue.db")) as raw:
        old = raw.execute("SELECT seal FROM people").fetchone()[0]
    with catalogue.transaction() as tx:
        tx.put("people", **row | {"disabled": 1})
    tamper(tmp_path / "catalogue.db", "UPDATE people SET disabled = 0, seal = ?", old)

    assert catalogue.check() == [
        "catalogue: table people: its rows are not those of the tally: one of an older state was put back"
    ]
    with pytest.raises(FaultError, match="older state"), catalogue.reading() as tx:
        tx.get("people", name=str(row["name"]))


def test_rows_and_tally_of_two_moments_do_not_agree(catalogue: Catalogue, tmp_path: Path) -> None:
    """One tally covers all tables: an older one that suits a table does not suit the others."""
    path = tmp_path / "catalogue.db"
    with catalogue.transaction() as tx:
        tx.put("outbox", seq=1, line="x")
    with closing(sqlite3.connect(path)) as raw:
        tally = raw.execute("SELECT value, seal FROM meta WHERE key = 'tally'").fetchone()
    with catalogue.transaction() as tx:
        tx.delete("outbox", seq=1)
        tx.put("outbox", seq=2, line="y")
    tamper(path, "UPDATE meta SET value = ?, seal = ? WHERE key = 'tally'", *tally)

    assert catalogue.check() == [
        "catalogue: table outbox: its rows are not those of the tally: one of an older state was put back"
    ]


def test_without_its_tally_nothing_is_believed(copy: Path) -> None:
    """A catalogue whose tally is missing is read by nobody, and says so."""
    tamper(copy, "DELETE FROM meta WHERE key = 'tally'")

    assert check(copy) == ["catalogue: table meta: the tally over all tables is missing"]
    with (
        closing(Catalogue.open(copy, KEY, Disk())) as opened,
        pytest.raises(FaultError, match="tally"),
        opened.reading(),
    ):
        pass


def test_a_missing_value_of_meta_is_found(copy: Path) -> None:
    """The tally covers the single values too."""
    tamper(copy, "DELETE FROM meta WHERE key = 'generation'")

    assert check(copy) == ["catalogue: table meta: it has 3 rows where the tally says 4"]
    with pytest.raises(FaultError, match="names no generation"):
        Catalogue.peek_generation(copy)


def test_another_mac_key_believes_nothing(copy: Path) -> None:
    """Every row is a fault to who has another key."""
    with closing(Catalogue.open(copy, bytes(32), Disk())) as opened:
        faults = opened.check()

    assert len(faults) == 3 * len(TABLES) + 2


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        (
            "CREATE TRIGGER t AFTER UPDATE ON people BEGIN DELETE FROM outbox; END",
            "a trigger that does not belong there",
        ),
        ("CREATE INDEX i ON people (roles)", "a index that does not belong there"),
        ("DROP TABLE outbox", "table outbox is missing or was changed"),
        ("ALTER TABLE outbox ADD COLUMN more TEXT", "table outbox is missing or was changed"),
    ],
)
def test_a_changed_schema_is_named(copy: Path, statement: str, fault: str) -> None:
    """Triggers, indexes and tables other than ours are faults."""
    tamper(copy, statement)

    assert f"catalogue: schema: {fault}" in check(copy)


def test_what_is_no_database_is_named(copy: Path) -> None:
    """A file that SQLite can't read is one fault in `check`, and a sentence to everybody else."""
    copy.write_bytes(b"not a database at all" * 500)

    assert check(copy) == [
        "catalogue: reading the catalogue: it is damaged (SQLITE_NOTADB); restore the newest copy of the vault"
    ]
    with pytest.raises(FaultError, match="SQLITE_NOTADB"):
        Catalogue.peek_generation(copy)


def test_an_unknown_version_is_refused(catalogue: Catalogue, tmp_path: Path) -> None:
    """A catalogue of a later program is not guessed at."""
    meta = TABLES["meta"]
    row: dict[str, object] = {"key": TALLY, "value": json.dumps({"v": 4, "tables": {}})}
    seal = tables.seal_of(KEY, meta, row)
    tamper(tmp_path / "catalogue.db", "UPDATE meta SET value = ?, seal = ? WHERE key = 'tally'", row["value"], seal)

    with pytest.raises(VaultError, match="version 4"), catalogue.reading():
        pass


def test_a_table_is_checked_again_only_after_another_has_written(
    catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One connection checks a table whole once, and once more when somebody else has committed."""
    with catalogue.transaction() as tx:
        fill(tx)
    calls: list[int] = []
    real = tables.is_sealed

    def counted(mac_key: bytes, table: Table, row: Mapping[str, object]) -> bool:
        calls.append(1)
        return real(mac_key, table, row)

    monkeypatch.setattr(tables, "is_sealed", counted)
    with catalogue.reading() as tx:
        tx.get("files", id="nobody's")
    quiet = len(calls)
    tamper(tmp_path / "catalogue.db", "UPDATE outbox SET seq = 1 WHERE seq = 1")
    with catalogue.reading() as tx:
        tx.get("files", id="nobody's")

    assert quiet == 0  # the tally is what this connection wrote itself
    assert len(calls) == 4  # the tally, and the rows of that table


def test_what_was_found_sound_is_compared(
    catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row to the letter as before is as sound when another has written; one changed or gone is found all the same."""
    path = tmp_path / "catalogue.db"
    with catalogue.transaction() as tx:
        fill(tx)
    tamper(path, "UPDATE outbox SET seq = 1 WHERE seq = 1")
    with catalogue.reading() as tx:
        known = tx.whole("files")
    sealed: list[str] = []
    real = tables.is_sealed

    def counted(mac_key: bytes, table: Table, row: Mapping[str, object]) -> bool:
        sealed.append(table.name)
        return real(mac_key, table, row)

    monkeypatch.setattr(tables, "is_sealed", counted)
    tamper(path, "UPDATE outbox SET seq = 1 WHERE seq = 1")
    with catalogue.reading() as tx:
        assert tx.get("files", id="nobody's") is None and tx.whole("files") == known
    assert sealed == []
    tamper(path, "UPDATE files SET rows = rows + 1 WHERE id = ?", known[0]["id"])
    with catalogue.reading() as tx, pytest.raises(FaultError, match="changed"):
        tx.get("files", id="nobody's")
    tamper(path, "UPDATE files SET rows = rows - 1 WHERE id = ?", known[0]["id"])
    tamper(path, "DELETE FROM files WHERE id = ?", known[0]["id"])
    with catalogue.reading() as tx, pytest.raises(FaultError, match="it has 2 rows where the tally says 3"):
        tx.get("files", id="nobody's")


def test_a_row_that_goes_is_not_kept_in_memory(catalogue: Catalogue, tmp_path: Path) -> None:
    """Neither one that this process deletes or replaces, nor, once it looks at the table, one that another did."""
    with catalogue.transaction() as tx:
        for seq, line in enumerate(("deleted here", "replaced here", "deleted there"), 1):
            tx.put("outbox", seq=seq, line=line)
    tamper(tmp_path / "catalogue.db", "UPDATE outbox SET seq = 1 WHERE seq = 1")

    def kept() -> set[object]:
        return {row["line"] for row in catalogue._sound["outbox"].values()}

    with catalogue.transaction() as tx:
        assert len(tx.select("outbox")) == len(kept()) == 3
        tx.delete("outbox", seq=1)
        tx.put("outbox", seq=2, line="in its place")
    assert kept() == {"deleted there"}
    with closing(Catalogue.open(tmp_path / "catalogue.db", KEY, Disk())) as other, other.transaction() as tx:
        tx.delete("outbox", seq=3)
    with catalogue.reading() as tx:
        tx.select("outbox")
    assert kept() == {"in its place"}


def test_a_fraction_is_not_the_integer_that_it_equals() -> None:
    """To Python it is; no column holds one."""
    table, row = TABLES["outbox"], {"seq": 1, "line": "x", "seal": "y"}

    assert tables.is_same(table, row, dict(row))
    assert not tables.is_same(table, row | {"seq": 1.0}, row)
    assert not tables.is_same(table, row, None)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0")), st.integers(-(2**63), 2**63 - 1))
def test_seals_tell_every_two_rows_apart(text: str, number: int) -> None:
    """The seal of a row is its own: of no other value, and not of the same values in another table."""
    files, outbox = TABLES["files"], TABLES["outbox"]
    seal = tables.seal_of(KEY, outbox, {"seq": number, "line": text})

    assert seal != tables.seal_of(KEY, outbox, {"seq": number, "line": text + "x"})
    assert seal != tables.seal_of(KEY, outbox, {"seq": number + 1, "line": text})
    assert seal != tables.seal_of(KEY, files, {"seq": number, "line": text})
    assert tables.is_sealed(KEY, outbox, {"seq": number, "line": text, SEAL: seal})
