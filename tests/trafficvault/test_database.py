"""Connections are used again, what they began is rolled back, and rows go to SQLite and come back as they are."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trafficvault import database, statements
from trafficvault.database import Link, Links
from trafficvault.errors import FaultError, VaultError
from trafficvault.tables import TABLES

OUTBOX = TABLES["outbox"]


@pytest.fixture
def links(tmp_path: Path) -> Iterator[Links]:
    """The connections to a database with every table."""
    path = tmp_path / "x.db"
    path.touch()
    found = Links(path)
    with found.one("BEGIN IMMEDIATE") as link:
        database.make(link.connection)
        link.connection.commit()
    yield found
    found.close()


def test_the_connection_used_last_is_used_next(links: Links) -> None:
    """It knows which tables are complete."""
    with links.one("BEGIN") as first:
        first.complete["outbox"] = 1
    with links.one("BEGIN") as second:
        assert second is first
        with links.one("BEGIN") as third:
            assert third is not first and not third.complete


def test_the_first_connection_is_used_whenever_it_is_free(links: Links) -> None:
    """Whoever gives back another one meanwhile; one that broke is followed by the next."""
    with links.one("BEGIN") as first:
        with links.one("BEGIN") as second, links.one("BEGIN") as third:
            pass
        with links.one("BEGIN") as again:
            assert again is second is not third
    with links.one("BEGIN") as one, links.one("BEGIN") as other:
        assert one is first and other is second
    assert links._idle[-1] is first
    with links.one("BEGIN") as broken:
        broken.connection.close()
    with ExitStack() as stack:
        assert first not in [stack.enter_context(links.one("BEGIN")) for _ in range(4)]


class _Taken(list[Link]):
    """Idle connections, the last of which another thread takes right after each question whether there is any."""

    def __bool__(self) -> bool:
        found = len(self) > 0
        if found:
            self.pop().connection.close()
        return found


def test_a_connection_is_given_back_while_another_thread_takes_the_last(links: Links) -> None:
    """Nothing that was done is reported as failed for it, and the connection is there for the next."""
    with links.one("BEGIN"), links.one("BEGIN") as second:
        links._idle = _Taken()
        links._idle.append(Link(sqlite3.connect(":memory:")))
    links._idle = list(links._idle)

    assert second in links._idle


def test_what_was_not_committed_is_rolled_back(links: Links) -> None:
    """Whatever ends the block."""
    row = {"seq": 1, "line": "x", "seal": ""}
    with pytest.raises(KeyError), links.one("BEGIN IMMEDIATE") as link:
        statements.insert(link.connection, OUTBOX, row)
        raise KeyError
    with links.one("BEGIN") as link:
        assert list(statements.every(link.connection, OUTBOX)) == []


def test_a_refusal_of_sqlite_is_a_sentence(links: Links) -> None:
    """Within the block too; the connection stays of use."""
    with pytest.raises(FaultError, match="SQLITE_ERROR"), links.one("BEGIN") as link:
        link.connection.execute("SELECT * FROM nothing")
    with links.one("BEGIN"):
        pass


def test_few_connections_wait(links: Links) -> None:
    """Those of a crowd are closed when it is over."""
    with ExitStack() as stack:
        crowd = [stack.enter_context(links.one("BEGIN")) for _ in range(8)]
    assert len(links._idle) == 5
    closed = [link for link in crowd if link not in links._idle]
    for link in closed:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            link.connection.execute("SELECT 1")


def test_a_connection_that_can_not_roll_back_is_closed(links: Links) -> None:
    """It is not used again."""
    with pytest.raises(VaultError), links.one("BEGIN") as link:
        link.connection.close()
        link.connection.execute("SELECT 1")
    with links.one("BEGIN") as other:
        assert other is not link


@given(rows=st.dictionaries(st.integers(0, 30), st.text(), max_size=12), gone=st.sets(st.integers(0, 30)))
def test_rows_come_back(rows: dict[int, str], gone: set[int]) -> None:
    """What was put, changed and removed is there, changed and gone, in the order of its key."""
    with closing(sqlite3.connect(":memory:")) as connection:
        database.make(connection)
        for number in rows:
            statements.insert(connection, OUTBOX, {"seq": number, "line": "", "seal": "s"})
        for number, line in rows.items():
            assert statements.update(connection, OUTBOX, {"seq": number, "line": line, "seal": "s"})
        for number in gone:
            statements.delete(connection, OUTBOX, {"seq": number})
        left = [{"seq": number, "line": rows[number], "seal": "s"} for number in sorted(rows) if number not in gone]
        assert list(statements.every(connection, OUTBOX)) == left
        assert list(statements.every(connection, OUTBOX, ["line"])) == sorted(
            left, key=lambda row: (str(row["line"]).encode(), row["seq"])
        )
        for number in range(31):
            wanted = next((row for row in left if row["seq"] == number), None)
            assert statements.one(connection, OUTBOX, {"seq": number}) == wanted


def test_a_column_that_is_not_there() -> None:
    """It is the caller's mistake where the table never had it, and a refusal where it was taken away; never a text."""
    with closing(sqlite3.connect(":memory:")) as connection:
        with pytest.raises(KeyError, match="nothing"):
            statements.every(connection, OUTBOX, equals={"nothing": 1})
        connection.execute("CREATE TABLE outbox (seq INTEGER, seal TEXT)")
        with pytest.raises(sqlite3.OperationalError):
            statements.every(connection, OUTBOX)


def test_a_question_imports_no_schema() -> None:
    """SQLAlchemy is imported where tables are made, brought over or compared, and by no verb that reads."""
    code = "import sys, trafficvault.cli.orders; print('sqlalchemy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
