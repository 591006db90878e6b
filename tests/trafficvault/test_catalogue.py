"""The catalogue keeps what was committed, and names whatever was changed behind its back."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.thorough import as_many
from trafficvault import database, tables
from trafficvault.catalogue import TALLY, Catalogue, Transaction
from trafficvault.durable import Disk
from trafficvault.errors import BusyError, FaultError, RefusedError, SpaceError, VaultError
from trafficvault.table import Table
from trafficvault.tables import SEAL, TABLES

KEY = bytes(range(32))


class StoppingDisk(Disk):
    """Raises `OSError` at the step of a given name."""

    def __init__(self, at: str = "") -> None:
        self.at = at
        self.steps: list[str] = []

    def step(self, name: str) -> None:
        """Notes the step, and stops at the one that was named."""
        self.steps.append(name)
        if name == self.at:
            raise OSError(f"stopped {name}")


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


def check(path: Path) -> list[str]:
    """What a newly opened catalogue says of itself."""
    with closing(Catalogue.open(path, KEY, Disk())) as opened:
        return opened.check()


def tamper(path: Path, statement: str, *values: object) -> None:
    """Changes the file as somebody would who has no key."""
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute(statement, values)


def named(table: str, row: dict[str, object]) -> str:
    """The sentence that names `row` as changed."""
    return f"catalogue: {tables.row_name(TABLES[table], row)}: changed"


def test_a_new_catalogue_is_empty_whole_and_of_its_generation(tmp_path: Path) -> None:
    """`create` makes an empty catalogue that finds no fault in itself."""
    path = tmp_path / "catalogue.db"
    with closing(Catalogue.create(path, KEY, Disk(), generation=7)) as made, made.reading() as tx:
        rows = {table: tx.select(table) for table in TABLES if table != "meta"}

    assert not any(rows.values())
    assert check(path) == []
    assert Catalogue.peek_generation(path) == 7
    assert path.stat().st_mode & 0o777 == 0o600
    assert [item.name for item in tmp_path.iterdir()] == ["catalogue.db"]


def test_create_never_replaces_and_open_never_creates(tmp_path: Path) -> None:
    """An existing catalogue is not made anew, a missing one is not made at all."""
    path = tmp_path / "catalogue.db"
    for act in (lambda: Catalogue.open(path, KEY, Disk()), lambda: Catalogue.peek_generation(path)):
        with pytest.raises(FaultError, match=r"catalogue\.db is missing"):
            act()
    assert not path.exists()

    Catalogue.create(path, KEY, Disk()).close()
    with pytest.raises(RefusedError, match="already there"):
        Catalogue.create(path, KEY, Disk())


def test_the_database_is_set_up_to_keep_what_it_commits(catalogue: Catalogue) -> None:
    """WAL, full synchronisation, secure deletion, foreign keys, and nothing in temporary files."""
    with catalogue._links.one("SELECT 1") as link:
        found = {
            name: link.connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "secure_delete", "foreign_keys", "busy_timeout", "temp_store")
        }

    assert found == {
        "journal_mode": "wal",
        "synchronous": 2,
        "secure_delete": 1,
        "foreign_keys": 1,
        "busy_timeout": 5000,
        "temp_store": 2,
    }


@pytest.mark.parametrize("table", list(TABLES))
def test_every_table_gives_back_what_was_put(catalogue: Catalogue, table: str) -> None:
    """Rows come back equal, one by one and in order of their key, and are gone once deleted."""
    rows = [sample(table, number) for number in (2, 1, 3)]
    with catalogue.transaction() as tx:
        for row in rows:
            tx.put(table, **row)
    key = tables.key_of(TABLES[table], rows[0])
    with catalogue.reading() as tx:
        one, every = tx.get(table, **key), tx.select(table)
    with catalogue.transaction() as tx:
        gone = tx.delete(table, **key), tx.delete(table, **key), tx.get(table, **key)

    assert one == rows[0]
    assert [row for row in every if row in rows] == [rows[1], rows[0], rows[2]]
    assert gone == (True, False, None)
    assert catalogue.check() == []


def test_put_replaces_a_row_whole(catalogue: Catalogue) -> None:
    """A second put under the same key takes the place of the first; what it leaves out is null."""
    with catalogue.transaction() as tx:
        tx.put("partitions", record_class="voip", day="2026-11-01", state="tombstone", certificate="c1")
        tx.put("partitions", record_class="voip", day="2026-11-01", state="live")
        tx.put("partitions", record_class="voip", day="2026-11-01", state="live", certificate=None)
    with catalogue.reading() as tx:
        rows = tx.select("partitions")

    empty = dict.fromkeys(column.name for column in TABLES["partitions"].columns if column.optional)
    assert rows == [empty | {"record_class": "voip", "day": "2026-11-01", "state": "live"}]
    assert catalogue.check() == []


def test_select_compares_and_orders(catalogue: Catalogue) -> None:
    """`select` filters by equal columns, null included, and orders by any column before the key."""
    with catalogue.transaction() as tx:
        for day, state, certificate in (("02", "live", None), ("01", "live", None), ("03", "tombstone", "c")):
            tx.put("partitions", record_class="voip", day=day, state=state, certificate=certificate)
    with catalogue.reading() as tx:
        living = tx.select("partitions", state="live", certificate=None)
        ordered = tx.select("partitions", order_by=("state", "day"))
        by_state = tx.select("partitions", order_by="state")

    assert [row["day"] for row in living] == ["01", "02"]
    assert [row["day"] for row in ordered] == [row["day"] for row in by_state] == ["01", "02", "03"]


def test_meta_holds_single_values_and_not_the_tally(catalogue: Catalogue) -> None:
    """Single values are set and read by name; the tally is nobody's to write."""
    with catalogue.transaction() as tx:
        before = tx.meta("trusted_time")
        tx.set_meta("trusted_time", "2026-11-20T00:00:00.000000Z")
        after = tx.meta("trusted_time")
        with pytest.raises(KeyError):
            tx.set_meta(TALLY, "{}")

    assert (before, after) == (None, "2026-11-20T00:00:00.000000Z")


def test_a_transaction_that_raises_leaves_nothing(catalogue: Catalogue) -> None:
    """All changes of a block, or none."""
    with pytest.raises(ZeroDivisionError), catalogue.transaction() as tx:
        fill(tx)
        raise ZeroDivisionError
    with catalogue.reading() as tx:
        rows = tx.select("files")

    assert rows == []
    assert catalogue.check() == []


@pytest.mark.parametrize(("at", "kept"), [("before commit", False), ("after commit", True)])
def test_the_commit_is_the_commit_point(tmp_path: Path, at: str, kept: bool) -> None:
    """A crash before COMMIT leaves nothing, one after it everything."""
    path = tmp_path / "catalogue.db"
    Catalogue.create(path, KEY, Disk()).close()
    with (
        closing(Catalogue.open(path, KEY, StoppingDisk(at))) as stopped,
        pytest.raises(OSError, match="stopped"),
        stopped.transaction() as tx,
    ):
        tx.put("outbox", seq=1, line="{}")
    with closing(Catalogue.open(path, KEY, Disk())) as opened, opened.reading() as tx:
        rows = tx.select("outbox")

    assert bool(rows) is kept
    assert check(path) == []


def test_a_transaction_without_changes_takes_no_durable_step(tmp_path: Path) -> None:
    """What changes nothing commits nothing."""
    disk = StoppingDisk()
    with closing(Catalogue.create(tmp_path / "catalogue.db", KEY, disk)) as made:
        disk.steps.clear()
        with made.transaction() as tx:
            tx.delete("outbox", seq=1)

    assert disk.steps == []


def test_committed_rows_survive_a_killed_process(tmp_path: Path) -> None:
    """SIGKILL right after COMMIT loses nothing, right before it leaves nothing."""
    path = tmp_path / "catalogue.db"
    Catalogue.create(path, KEY, Disk()).close()
    script = """
import os, signal, sys
from pathlib import Path
from trafficvault.catalogue import Catalogue
from trafficvault.durable import Disk

class Killer(Disk):
    def step(self, name):
        if name == sys.argv[3]:
            os.kill(os.getpid(), signal.SIGKILL)

with Catalogue.open(Path(sys.argv[1]), bytes(range(32)), Killer()).transaction() as tx:
    tx.put("outbox", seq=int(sys.argv[2]), line="{}")
"""
    root = Path(__file__).resolve().parents[2]
    for seq, at in (("1", "before commit"), ("2", "after commit")):
        run = [sys.executable, "-c", script, str(path), seq, at]
        assert subprocess.run(run, check=False, env=os.environ | {"PYTHONPATH": str(root)}).returncode == -9
    with closing(Catalogue.open(path, KEY, Disk())) as opened, opened.reading() as tx:
        rows = tx.select("outbox")

    assert rows == [{"seq": 2, "line": "{}"}]
    assert check(path) == []


@pytest.mark.parametrize(
    ("table", "row", "error"),
    [
        ("outbox", {"seq": "1", "line": "x"}, TypeError),
        ("outbox", {"seq": True, "line": "x"}, TypeError),
        ("outbox", {"seq": 2**63, "line": "x"}, TypeError),
        ("outbox", {"seq": 1, "line": 1.5}, TypeError),
        ("outbox", {"seq": 1, "line": b"x"}, TypeError),
        ("outbox", {"seq": 1}, TypeError),
        ("outbox", {"seq": 1, "line": "\ud800"}, TypeError),
        ("outbox", {"seq": 1, "line": "x", "seal": "x"}, KeyError),
        ("outbox", {"seq": 1, "line": "x", "colour": "x"}, KeyError),
        ("nothing", {"seq": 1}, KeyError),
    ],
)
def test_a_value_that_does_not_fit_is_the_callers_mistake(
    catalogue: Catalogue, table: str, row: dict[str, object], error: type[Exception]
) -> None:
    """Integers and text only, no boolean, fraction or bytes, no missing and no unknown column."""
    with pytest.raises(error) as caught, catalogue.transaction() as tx:
        tx.put(table, **row)
    assert "\ud800" not in str(caught.value)


def test_a_key_is_given_whole(catalogue: Catalogue) -> None:
    """Half a primary key finds nothing and deletes nothing: it is refused."""
    with catalogue.transaction() as tx:
        for act in (tx.get, tx.delete):
            with pytest.raises(KeyError, match="record_class, day"):
                act("partitions", record_class="voip")


def test_a_reading_changes_nothing(catalogue: Catalogue) -> None:
    """A reading has no put and no delete, and sees its own moment although others write."""
    with catalogue.reading() as tx:
        before = tx.select("outbox")
        with catalogue.transaction() as other:
            other.put("outbox", seq=1, line="x")
        during = tx.select("outbox")
        with pytest.raises(TypeError):
            tx.put("outbox", seq=2, line="x")
        with pytest.raises(TypeError):
            tx.delete("outbox", seq=1)
    with catalogue.reading() as tx:
        after = tx.select("outbox")

    assert (before, during, len(after)) == ([], [], 1)


def test_a_second_writer_is_told_to_wait(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one transaction runs, another does not begin."""
    monkeypatch.setattr(database, "_PRAGMAS", ("busy_timeout=10",))
    with catalogue.transaction(), pytest.raises(BusyError, match="another process"), catalogue.transaction():
        pass


def test_a_full_disk_is_told_as_such(catalogue: Catalogue) -> None:
    """SQLITE_FULL becomes a `SpaceError`, nothing is committed, and no value stands in the message."""
    with pytest.raises(SpaceError) as caught, catalogue.transaction() as tx:
        pages = tx._connection.execute("PRAGMA page_count").fetchone()[0]
        tx._connection.execute(f"PRAGMA max_page_count={pages}").close()
        tx.put("outbox", seq=1, line="marker" * 10_000)
    catalogue.close()

    assert "marker" not in str(caught.value) + repr(caught.value.__cause__)
    assert catalogue.check() == []


def test_an_unwritable_catalogue_is_told_as_such(catalogue: Catalogue) -> None:
    """What SQLite refuses for another reason is a sentence with its name for it."""
    with pytest.raises(VaultError, match="SQLITE_READONLY"), catalogue.transaction() as tx:
        tx._connection.execute("PRAGMA query_only=ON").close()
        tx.put("outbox", seq=1, line="x")
    catalogue.close()


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

    assert quiet == 1  # the tally
    assert len(calls) == quiet + 3  # the rows of that table; the tally is the one that was read before


def test_truncating_the_log_leaves_no_deleted_row_behind(catalogue: Catalogue, tmp_path: Path) -> None:
    """A deleted row stands in neither file afterwards; with a reader open that is not claimed."""
    path, log = tmp_path / "catalogue.db", tmp_path / "catalogue.db-wal"
    with catalogue.transaction() as tx:
        tx.put("outbox", seq=1, line="planted marker")
    with catalogue.reading() as reader:
        reader.select("outbox")
        with catalogue.transaction() as tx:
            tx.delete("outbox", seq=1)
        while_read = catalogue.truncate_wal(wait_seconds=0)
        still_there = b"planted marker" in log.read_bytes()
    done = catalogue.truncate_wal()

    assert (while_read, still_there, done) == (False, True, True)
    assert b"planted marker" not in path.read_bytes()
    assert log.read_bytes() == b""


TEXT = st.text(st.characters(codec="utf-8"), max_size=20)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0")), st.integers(-(2**63), 2**63 - 1))
def test_seals_tell_every_two_rows_apart(text: str, number: int) -> None:
    """The seal of a row is its own: of no other value, and not of the same values in another table."""
    files, outbox = TABLES["files"], TABLES["outbox"]
    seal = tables.seal_of(KEY, outbox, {"seq": number, "line": text})

    assert seal != tables.seal_of(KEY, outbox, {"seq": number, "line": text + "x"})
    assert seal != tables.seal_of(KEY, outbox, {"seq": number + 1, "line": text})
    assert seal != tables.seal_of(KEY, files, {"seq": number, "line": text})
    assert tables.is_sealed(KEY, outbox, {"seq": number, "line": text, SEAL: seal})


@given(TEXT, st.integers(-(2**63), 2**63 - 1))
def test_any_text_and_number_comes_back(text: str, number: int) -> None:
    """SQLite keeps every text, with NUL in it too, and every 64-bit integer, under the seal it was put with."""
    with closing(database_in_memory()) as raw:
        row: dict[str, object] = {"seq": number, "line": text}
        seal = tables.seal_of(KEY, TABLES["outbox"], row)
        raw.execute("INSERT INTO outbox VALUES (?, ?, ?)", (number, text, seal))
        seq, line, stored = raw.execute("SELECT * FROM outbox").fetchone()

    assert tables.is_sealed(KEY, TABLES["outbox"], {"seq": seq, "line": line, SEAL: stored})


def database_in_memory() -> sqlite3.Connection:
    """An empty outbox, as the catalogue would make it."""
    raw = sqlite3.connect(":memory:", isolation_level=None)
    raw.execute("CREATE TABLE outbox (seq INTEGER NOT NULL, line TEXT NOT NULL, seal TEXT NOT NULL) STRICT")
    return raw
