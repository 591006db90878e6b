"""The SQLite file under the catalogue: how it is opened, what it must be made of, and its refusals as errors of ours.

Knows no row and no rule. Rows are read with a text factory that never fails: text that a flipped bit made undecodable
comes out as bytes, which no column may hold, so the reader of rows names it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from urllib.parse import quote

from trafficvault.errors import BusyError, FaultError, SpaceError, VaultError

RESTORE = "`trafficvault verify` names every fault; restore the newest copy of the vault"
BUSY_TIMEOUT = "busy_timeout=5000"
_PRAGMAS = (
    BUSY_TIMEOUT,
    "journal_mode=WAL",
    "synchronous=FULL",
    "secure_delete=ON",  # clears the main file only: see `truncate_wal`
    "foreign_keys=ON",
    "temp_store=MEMORY",
    "trusted_schema=OFF",
    "cell_size_check=ON",
)


_MOST_IDLE = 5
_NO_ROOM = frozenset({"SQLITE_IOERR_SHMSIZE", "SQLITE_IOERR_SHMOPEN", "SQLITE_IOERR_WRITE"})
"""What SQLite says when its own files beside the database can't grow."""


def require_file(path: Path) -> None:
    """Raises `FaultError` when there is no catalogue at `path`."""
    if not path.is_file():
        raise FaultError(f"opening the catalogue: {path.name} is missing", hint=RESTORE)


def connect(path: Path) -> sqlite3.Connection:
    """Opens the existing file at `path`. Raises `sqlite3.Error`, of which `translated` makes a sentence."""
    # The driver's own BEGIN (its legacy transaction control) is off: this module says when a transaction begins.
    address = f"file:{quote(str(path.absolute()))}?mode=rw"
    connection = sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False)
    try:
        connection.text_factory = _text
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
    except sqlite3.Error:
        connection.close()
        raise
    except UnicodeDecodeError as problem:
        # SQLite's refusal of a damaged schema quotes it, and the driver can't make text of that.
        connection.close()
        damaged = sqlite3.DatabaseError("the schema is damaged")
        damaged.sqlite_errorcode, damaged.sqlite_errorname = sqlite3.SQLITE_CORRUPT, "SQLITE_CORRUPT"
        raise damaged from problem
    return connection


def _text(stored: bytes) -> str | bytes:
    """The stored text, or its bytes as they are when a flipped bit made them no text."""
    try:
        return stored.decode()
    except UnicodeDecodeError:
        return stored


@dataclass(slots=True)
class Link:
    """An open connection, and what is known of the data as it saw them last: by table, in which version of them; and
    the tally, with its version.
    """

    connection: sqlite3.Connection
    complete: dict[str, int] = field(default_factory=dict)
    tally: tuple[int, dict[str, tuple[int, int]]] | None = None

    def version(self) -> int:
        """Of the data, within a transaction that of its snapshot; it moves when another connection has committed."""
        found: int = self.connection.execute("PRAGMA data_version").fetchone()[0]
        return found


class Links:
    """The connections of one process to one database. The first is used whenever nobody else uses it, and so knows
    most: what another one commits is to it what a stranger does. Of the others the one used last is used next.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: list[Link] = []
        self._first: Link | None = None

    @contextmanager
    def one(self, first: str) -> Iterator[Link]:
        """A connection on which `first` was executed. What is not committed at the end of the block is rolled back.

        Raises what `translated` makes of a refusal of SQLite, in the block too.
        """
        link = None
        try:
            link = self._taken()
            link.connection.execute(first).close()
            yield link
        except sqlite3.Error as problem:
            raise translated(problem) from problem
        finally:
            if link is not None:
                self._put_back(link)

    def close(self) -> None:
        """Closes those that wait."""
        self._first = None
        while self._idle:
            self._idle.pop().connection.close()

    def _taken(self) -> Link:
        # Another thread may take the last one between a question for it and its taking.
        with suppress(IndexError):
            return self._idle.pop()
        made = Link(connect(self._path))
        self._first = self._first or made
        return made

    def _put_back(self, link: Link) -> None:
        try:
            if link.connection.in_transaction:
                link.connection.rollback()
        except sqlite3.Error:
            if link is self._first:
                self._first = None
            link.connection.close()
            return
        # As a slice, for the same reason as in `_taken`.
        first_waits = any(last is self._first for last in self._idle[-1:])
        self._idle.insert(len(self._idle) - first_waits, link)
        if len(self._idle) > _MOST_IDLE:
            self._idle.pop(0).connection.close()


def make(connection: sqlite3.Connection) -> None:
    """Makes every table."""
    for text in _texts().values():
        connection.execute(text)


def make_one(connection: sqlite3.Connection, table: str) -> None:
    """Makes the table of that name."""
    connection.execute(_texts()[table])


def tables_of(connection: sqlite3.Connection) -> dict[str, str]:
    """The tables that are there, each with the text that made it."""
    rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'")
    return {str(name): str(text) for name, text in rows}


def is_as_made(name: str, text: str) -> bool:
    """Whether `text` is what makes the table of that name."""
    return _texts()[name] == text


def schema_faults(connection: sqlite3.Connection) -> Iterator[str]:
    """What the database is made of against `tables`; a trigger, view or index that nobody ordered is a fault."""
    wanted, found = _wanted_schema(), _schema(connection)
    for kind, name, *_ in sorted(wanted - found, key=repr):
        yield f"catalogue: schema: {kind} {name} is missing or was changed"
    for kind, *_ in sorted(found - wanted, key=repr):
        yield f"catalogue: schema: a {kind} that does not belong there"


def _schema(connection: sqlite3.Connection) -> frozenset[tuple[object, ...]]:
    rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master")
    return frozenset(tuple(row) for row in rows)


@cache
def _wanted_schema() -> frozenset[tuple[object, ...]]:
    with closing(sqlite3.connect(":memory:")) as connection:
        make(connection)
        return _schema(connection)


def _texts() -> dict[str, str]:
    from trafficvault import schema  # not before it is asked for: see there

    return schema.texts()


def translated(problem: BaseException | None) -> VaultError:
    """SQLite's refusal as an error of ours; only its name is told, since its text could quote."""
    code = getattr(problem, "sqlite_errorcode", 0) & 0xFF
    name = getattr(problem, "sqlite_errorname", type(problem).__name__)
    match code:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return BusyError(f"using the catalogue: another process writes to it ({name}); try again when it is done")
        case _ if name in _NO_ROOM:
            return SpaceError(f"using the catalogue: the disk is full ({name}); nothing was committed")
        case sqlite3.SQLITE_FULL:
            return SpaceError(f"writing to the catalogue: the disk is full ({name}); nothing was committed")
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_ERROR:
            return FaultError(f"reading the catalogue: it is damaged ({name}); restore the newest copy of the vault")
        case _:
            return VaultError(f"using the catalogue: SQLite refuses ({name}); look at the disk and its permissions")
