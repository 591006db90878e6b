"""The catalogue: what the vault holds, as rows of a SQLite database that nobody without the MAC key changes unseen.

Commit point: the COMMIT of `Catalogue.transaction()`. What an act does before it (key ring, files) belongs to nobody
until then; what follows it (audit segment, receipt) can be done again from it. WAL with `synchronous=FULL`: when COMMIT
returns, the rows survive a power cut.

MAC scheme: `seal` of a row = HMAC-SHA256(ring key `catalogue`, canonical({"table": name, "row": {every other column}}))
in lower-case hex; values are integers, text or null. The `meta` row `tally` holds, for each table, the number of rows
and the sum of their seals modulo 2**256 (an additive multiset hash; of `meta` itself without the tally), and is sealed
as any row. So a changed row, one of another table or of an older state, a missing and an added one are all found. A
whole catalogue of an older state agrees with itself: the audit log is then ahead of it (`trafficvault.audit`).

A table is checked whole when a connection first touches it, and again after anyone else has written: otherwise a row
whose key or day had one bit flipped would just be missing from an answer, in silence. Each row read is checked besides.
Weakness: the sum holds against someone who owns fewer than some 2**30 sealed rows of older states (Wagner's attack).

Errors: `FaultError` for what was changed, `BusyError` while another process writes, `SpaceError` on a full disk. They
name table and `tables.row_name`, never a value.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from trafficvault import database, migration, signing, statements, tables
from trafficvault.database import Link, Links
from trafficvault.durable import Disk
from trafficvault.errors import FaultError, RefusedError, VaultError
from trafficvault.statements import Row as Row
from trafficvault.table import Table
from trafficvault.tables import SEAL, TABLES

TALLY = "tally"
GENERATION = "generation"
_VERSION = migration.VERSION
_MODULUS = 2**256
# Said before each transaction: a connection is used again, and within a transaction SQLite hears neither.
_DURABLE, _LATER = "PRAGMA synchronous=FULL", "PRAGMA synchronous=NORMAL"

Tally = dict[str, tuple[int, int]]
"""Number of rows and sum of their seals, by table."""
Sound = dict[str, dict[str, Row]]
"""By table, the rows whose seals were right when it was last checked whole, by their seals: the same row under the same
key is as sound the next time. The check goes on looking at every row that is stored, and at their sum."""
_MOST_SOUND = 65_536
"""Of how many rows of a table they are kept."""


class Transaction:
    """One consistent view of the catalogue; from `Catalogue.transaction()` also the changes that are committed with it.

    A table is named by its name, a row by its primary key as keyword arguments. Rows are dictionaries without the seal.
    A table or column that does not exist and a value of another type are the caller's mistake: `KeyError`, `TypeError`.
    """

    def __init__(self, link: Link, mac_key: bytes, tally: tuple[int, Tally], sound: Sound, *, writable: bool) -> None:
        self._sound = sound
        self._connection = link.connection
        self._complete = link.complete
        self._mac_key = mac_key
        self._writable = writable
        self._version, self._tally = tally[0], dict(tally[1])
        self._changed = False

    def get(self, table: str, /, **key: object) -> Row | None:
        """The row with primary key `key`, or None. Raises `FaultError` when it was changed."""
        row = self._stored(self._require_complete(table), key)
        return None if row is None else _bare(row)

    def select(self, table: str, /, *, order_by: str | Sequence[str] = (), **equals: object) -> list[Row]:
        """The rows whose columns equal `equals`, ordered by `order_by`, then by primary key. Raises `FaultError`."""
        target = self._require_complete(table)
        order = [order_by] if isinstance(order_by, str) else list(order_by)
        found = list(statements.every(self._connection, target, order, equals))
        for row in found:
            _require_sealed(self._mac_key, target, row)
        return [_bare(row) for row in found]

    def whole(self, table: str, /) -> list[Row]:
        """Every row by primary key, read and checked once. Raises `FaultError`."""
        target = TABLES[table]
        found = list(statements.every(self._connection, target))
        for fault in _row_faults(found, self._mac_key, target, self._tally[table], self._sound):
            raise _changed(fault)
        self._complete[table] = self._version
        return [_bare(row) for row in found]

    def tally_of(self, table: str) -> tuple[int, int]:
        """Number of rows and sum of the seals of `table` in this view: the same rows have it, and no others."""
        return self._tally[table]

    def put(self, table: str, /, **row: object) -> None:
        """Writes the whole row, in place of one with the same key. A column that is left out is null."""
        target = self._require_complete(table, write=True)
        full = tables.complete_row(target, row)
        if target.name == "meta" and full["key"] == TALLY:
            raise KeyError("the tally is written by the transaction itself")
        key = tables.key_of(target, full)
        old = self._stored(target, key)
        full[SEAL] = tables.seal_of(self._mac_key, target, full)
        if old is None:
            statements.insert(self._connection, target, full)
            self._count(target.name, 1, full[SEAL])
        elif old[SEAL] != full[SEAL]:
            statements.update(self._connection, target, full)
            self._count(target.name, -1, old[SEAL])
            self._count(target.name, 1, full[SEAL])

    def delete(self, table: str, /, **key: object) -> bool:
        """Removes the row with primary key `key`. Returns whether it was there."""
        target = self._require_complete(table, write=True)
        old = self._stored(target, key)
        if old is None:
            return False
        statements.delete(self._connection, target, key)
        self._count(target.name, -1, old[SEAL])
        return True

    def meta(self, key: str) -> str | None:
        """The single value `key`, or None."""
        row = self.get("meta", key=key)
        return None if row is None else str(row["value"])

    def set_meta(self, key: str, value: str) -> None:
        """Sets the single value `key`."""
        self.put("meta", key=key, value=value)

    def finish(self) -> tuple[int, Tally] | None:
        """Writes the tally when a row changed, last before COMMIT, and returns it; None when nothing is to commit."""
        if not self._changed:
            return None
        _write_tally(self._connection, self._mac_key, self._tally)
        return self._version, self._tally

    def _stored(self, target: Table, key: Mapping[str, object]) -> Row | None:
        tables.require_key(target, key)
        row = statements.one(self._connection, target, key)
        if row is not None:
            _require_sealed(self._mac_key, target, row)
        return row

    def _count(self, table: str, step: int, seal: str) -> None:
        count, total = self._tally[table]
        self._tally[table] = (count + step, (total + step * int(seal, 16)) % _MODULUS)
        self._changed = True
        if step < 0:
            # What is deleted or replaced is not to stay in memory: the table may not be checked whole again for long.
            self._sound.get(table, {}).pop(seal, None)

    def _require_complete(self, table: str, *, write: bool = False) -> Table:
        if write and not self._writable:
            raise TypeError(f"changing table {table}: this is a reading of the catalogue, not a transaction")
        target = TABLES[table]
        if self._complete.get(table) != self._version:
            for fault in _table_faults(self._connection, self._mac_key, target, self._tally[table], self._sound):
                raise _changed(fault)
            self._complete[table] = self._version
        return target


class Catalogue:
    """The catalogue of one vault. Opening never creates. Close it when done."""

    def __init__(self, path: Path, mac_key: bytes, disk: Disk) -> None:
        self._path = path
        self._mac_key = mac_key
        self._disk = disk
        self._links = Links(path)
        self._sound: Sound = {}
        self._read: tuple[Row, Tally] | None = None
        """The tally that was read last, as it is stored and as it was understood."""

    @classmethod
    def create(cls, path: Path, mac_key: bytes, disk: Disk, *, generation: int = 1) -> Catalogue:
        """A new, empty catalogue of ring `generation` at `path`, there whole or not at all. Refuses an existing one."""
        if path.exists():
            raise RefusedError(f"creating the catalogue: {path.name} is already there")

        def build(part: Path) -> None:
            with closing(cls(part, mac_key, Disk())) as fresh:
                with fresh._links.one("BEGIN IMMEDIATE") as link:
                    database.make(link.connection)
                    _write_tally(link.connection, mac_key, dict.fromkeys(TABLES, (0, 0)))
                    link.connection.commit()
                with fresh.transaction() as tx:
                    tx.set_meta(GENERATION, str(generation))

        disk.create_by(path, build)
        return cls.open(path, mac_key, disk)

    @classmethod
    def open(cls, path: Path, mac_key: bytes, disk: Disk) -> Catalogue:
        """The catalogue at `path`, brought to this version if it is of the one before.

        Raises `FaultError` when there is none, or when what must be brought over was changed; the rest of it is checked
        as it is read.
        """
        database.require_file(path)
        found = cls(path, mac_key, disk)
        found._migrate()
        return found

    @staticmethod
    def peek_generation(path: Path) -> int:
        """The ring generation that the catalogue at `path` names, believed without its seal: no key is open yet.

        Good enough to choose which ring to open: a false number finds no ring, or one that does not open.
        """
        database.require_file(path)
        try:
            with closing(database.connect(path)) as connection:
                found = connection.execute("SELECT value FROM meta WHERE key = ?", (GENERATION,)).fetchone()
            if not found or not str(found[0]).isdecimal():
                raise FaultError("opening the catalogue: it names no generation of the key ring: meta was changed")
            return int(found[0])
        except sqlite3.Error as problem:
            raise database.translated(problem) from problem

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[Transaction]:
        """All changes of the block, or none: committed at its end, rolled back when it raises.

        What is committed without `durable` is there at once and for everyone, but a power cut may undo it until another
        transaction is committed: for what can be done again. Waits five seconds for another writer, then raises
        `BusyError`.
        """
        with self._links.one(_DURABLE if durable else _LATER) as link:
            link.connection.execute("BEGIN IMMEDIATE")
            tx = Transaction(link, self._mac_key, self._tally(link), self._sound, writable=True)
            yield tx
            if (tally := tx.finish()) is not None:
                self._disk.step("before commit")
                link.tally = None
                link.connection.commit()
                # Its own commit moves no version: what it wrote is what is there.
                link.tally = tally
                self._disk.step("after commit")

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """A consistent view that changes nothing and holds up no writer."""
        with self._links.one("BEGIN") as link:
            yield Transaction(link, self._mac_key, self._tally(link), self._sound, writable=False)

    def check(self) -> list[str]:
        """Every fault of the catalogue as a sentence; none when it is whole. Never raises for what it finds on disk."""
        try:
            with self._links.one("BEGIN") as link:
                return list(dict.fromkeys(_faults(link.connection, self._mac_key)))
        except VaultError as problem:
            return [f"catalogue: {problem}"]

    def truncate_wal(self, wait_seconds: float = 5.0) -> bool:
        """Moves the write-ahead log into the database and empties it, so that no deleted row is left in either.

        Returns False when a reader still needs it after `wait_seconds`: deleted rows are then still in the log, which
        is to be said, and to be done again later.
        """
        self._disk.step("before truncate wal")
        with self._links.one(f"PRAGMA busy_timeout={int(wait_seconds * 1000)}") as link:
            try:
                busy = link.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            finally:
                link.connection.execute(f"PRAGMA {database.BUSY_TIMEOUT}").close()
        self._disk.step("after truncate wal")
        return bool(busy == 0)

    def close(self) -> None:
        """Closes the connections that wait in the pool."""
        self._links.close()

    def _migrate(self) -> None:
        """One transaction: a crash leaves the old version or the new one. A damaged one is left to its reader."""
        try:
            with self._links.one("BEGIN") as link:
                old = migration.is_old(link.connection)
        except VaultError:
            return
        if old:
            with self._links.one("BEGIN IMMEDIATE") as link:
                if migration.is_old(link.connection):
                    migration.migrate(link.connection, self._mac_key)
                    self._disk.step("before commit")
                    link.connection.commit()
                    self._disk.step("after commit")

    def _tally(self, link: Link) -> tuple[int, Tally]:
        """The tally as it is now, and of which version. It is read when another connection has committed since; one
        that is stored to the letter as before is not checked and understood again.
        """
        version = link.version()
        if link.tally is not None and link.tally[0] == version:
            return link.tally
        stored, read = _stored_tally(link.connection), self._read
        if read is None or read[0] != stored:
            read = self._read = stored, _read_tally(stored, self._mac_key)
        link.tally = version, read[1]
        return link.tally


def _require_sealed(mac_key: bytes, table: Table, row: Mapping[str, object]) -> None:
    if not tables.is_sealed(mac_key, table, row):
        raise _changed(f"{tables.row_name(table, row)}: changed")


def _bare(row: Row) -> Row:
    return {name: value for name, value in row.items() if name != SEAL}


def _changed(fault: str) -> FaultError:
    return FaultError(f"catalogue: {fault}", hint=database.RESTORE)


def _stored_tally(connection: sqlite3.Connection) -> Row:
    found = statements.one(connection, TABLES["meta"], {"key": TALLY})
    if found is None:
        raise _changed("table meta: the tally over all tables is missing")
    return found


def _read_tally(stored: Row, mac_key: bytes) -> Tally:
    _require_sealed(mac_key, TABLES["meta"], stored)
    content = json.loads(stored["value"])
    if content["v"] != _VERSION:
        raise VaultError(
            f"opening the catalogue: it is of version {content['v']}, and this program reads {_VERSION}; "
            "use the release of trafficvault that wrote it"
        )
    return {name: (count, int(total, 16)) for name, (count, total) in content["tables"].items()}


def _write_tally(connection: sqlite3.Connection, mac_key: bytes, tally: Tally) -> None:
    meta = TABLES["meta"]
    content = {"v": _VERSION, "tables": {name: [count, f"{total:064x}"] for name, (count, total) in tally.items()}}
    row = {"key": TALLY, "value": signing.canonical(content).decode()}
    row[SEAL] = tables.seal_of(mac_key, meta, row)
    if not statements.update(connection, meta, row):
        statements.insert(connection, meta, row)


def _table_faults(
    connection: sqlite3.Connection,
    mac_key: bytes,
    table: Table,
    tally: tuple[int, int] | None,
    sound: Sound | None = None,
) -> Iterator[str]:
    """Faults of one table: its changed rows, then whether its rows are those of `tally` (None: it can't be read)."""
    yield from _row_faults(statements.every(connection, table), mac_key, table, tally, sound)


def _row_faults(
    rows: Iterable[Row], mac_key: bytes, table: Table, tally: tuple[int, int] | None, sound: Sound | None
) -> Iterator[str]:
    """As `_table_faults`, of all its `rows`. What they are is kept in `sound`, where that is given."""
    count, total, changed = 0, 0, 0
    before, now = ({} if sound is None else sound.get(table.name, {})), dict[str, Row]()
    for row in rows:
        seal = row[SEAL]
        if not tables.is_same(table, row, before.get(seal)) and not tables.is_sealed(mac_key, table, row):
            changed += 1
            yield f"{tables.row_name(table, row)}: changed"
            continue
        if len(now) < _MOST_SOUND:
            now[seal] = row
        if table.name != "meta" or row["key"] != TALLY:
            total = (total + int(row[SEAL], 16)) % _MODULUS
            count += 1
    if sound is not None:
        sound[table.name] = now
    if tally is None:
        return
    if count + changed != tally[0]:
        yield f"table {table.name}: it has {count + changed} rows where the tally says {tally[0]}"
    elif total != tally[1] and not changed:
        yield f"table {table.name}: its rows are not those of the tally: one of an older state was put back"


def _faults(connection: sqlite3.Connection, mac_key: bytes) -> Iterator[str]:
    for sentence in (row[0] for row in connection.execute("PRAGMA integrity_check(20)")):
        if sentence != "ok":
            yield f"catalogue: SQLite's own check says: {sentence}"
    yield from database.schema_faults(connection)
    tally: dict[str, tuple[int, int]] = {}
    try:
        tally = _read_tally(_stored_tally(connection), mac_key)
    except (VaultError, sqlite3.Error) as problem:
        yield str(problem) if isinstance(problem, VaultError) else f"catalogue: {database.translated(problem)}"
    for table in TABLES.values():
        try:
            for fault in _table_faults(connection, mac_key, table, tally.get(table.name)):
                yield f"catalogue: {fault}"
        except sqlite3.Error as problem:
            yield f"catalogue: table {table.name}: {database.translated(problem)}"
