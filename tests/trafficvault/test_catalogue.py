"""The catalogue keeps what was committed, and names whatever was changed behind its back."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trafficvault.catalogue_house import KEY, check, fill, sample
from trafficvault import database, tables
from trafficvault.catalogue import TALLY, Catalogue
from trafficvault.durable import Disk
from trafficvault.errors import BusyError, FaultError, RefusedError, SpaceError, VaultError
from trafficvault.tables import SEAL, TABLES


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


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[Catalogue]:
    """A new catalogue."""
    with closing(Catalogue.create(tmp_path / "catalogue.db", KEY, Disk())) as made:
        yield made


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
