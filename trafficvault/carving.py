"""Carving: what a hold covers is taken out of a day before its keys die, and kept under the hold's own key.

    holds that bind → rows of the day in their scope, masked as an answer would be → sealed under `hold/<id>`
    → catalogue COMMIT (carves, audit entry) → the day may die

The day dies on time; only the rows in scope stay, in the categories that the order names. They were inside their term
when the hold began. It works with a token of the house that feeds no package; what was carved is opened for a package
by a warrant that names the hold (`KeyStore.release_held`).

Certificates tell nothing of it but a commitment that every one carries, held or not: nobody who reads them learns that
somebody is being looked at. A file that can't be read is named in the log, and stops no expiry.
"""

from __future__ import annotations

import io
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import MappingProxyType

import polars as pl
import pyarrow as pa

from ingest.record import BY_NAME, FRAME, SCHEMA, category_of
from ingest.sound import anchor
from queries import scope
from queries.scope import Scope
from trafficvault import blanking, ended, holds, partitions, policies, retention, sealing, signing, warrants
from trafficvault.catalogue import Row, Transaction
from trafficvault.coverage import SignedWarrant, warrant_id
from trafficvault.errors import FaultError, RefusedError
from trafficvault.holds import Hold
from trafficvault.keys import Custody
from trafficvault.layout import hold_key_id
from trafficvault.policy import DISCLOSING
from trafficvault.sealed_parquet import Place
from trafficvault.vault import Vault

TABLE = holds.CARVES
_DAY = timedelta(days=1)
_ROW = ("source", "batch", "row", "occurrence")
_FILE_DAY = "file_day"

Part = tuple[str, date, str]
"""A class, a day, and why its keys are to die."""


@dataclass(frozen=True, slots=True)
class Carved:
    """One carve: which hold, of which class and day, how many rows, and the files that could not be read."""

    hold_id: str
    record_class: str
    day: date
    rows: int
    unreadable: tuple[str, ...]


def carve(
    vault: Vault, parts: Iterable[Part], dies: Mapping[tuple[str, date], datetime] = MappingProxyType({})
) -> list[Carved]:
    """Carves what the holds that bind now cover in `parts`, whose keys are about to die, or will at the moment that
    `dies` tells: a hold that is over by then is left out.

    The caller holds the writer's lock. A carve that is there for the same cause, of the same files, is not made again,
    so a killed run is finished by the next; one of another act, or another list of files, does not stand for it.
    Durable, and in the audit log, when it returns.
    """
    now = vault.audit.moment()
    binding = [hold for hold in holds.listing(vault) if hold.binds(now)]
    done: list[Carved] = []
    for record_class, day, act in sorted(parts) if binding else ():
        files = _files(vault, record_class, [day])
        cause = f"{act}, files {_listed(files + _files(vault, record_class, [day + _DAY]))}"
        for hold in (one for one in binding if dies.get((record_class, day), now) < one.until):
            if _covers(hold, record_class, files) and not _is_carved(vault, hold, record_class, day, cause):
                done.append(_carve(vault, hold, record_class, day, cause))
    return done


def _listed(files: Iterable[Row]) -> str:
    """Which files a carve was made of: those of the day, and those that may have the other parts of its calls."""
    return signing.digest({"files": sorted(row["id"] for row in files)})[:16]


def commitment(carves: Iterable[Row], nonce: str, over: Iterable[Row] = ()) -> str:
    """What a certificate says of the carves of its day, and of those whose holds were `over` and whose keys died in the
    same run: a digest that tells nothing without the secret `nonce`, and looks the same of none.
    """
    content = {"carves": _told(carves), "over": _told(over)}
    return signing.digest({"kind": "carves", "v": 2, "nonce": nonce, **content})


def state_of(vault: Vault, record_class: str, day: date) -> str:
    """Names what lies on `day` and the days beside it: what a carve of a day that lives on was made from. A cause that
    holds it tells that carve from one that is to have what came since.
    """
    files = _files(vault, record_class, (day - _DAY, day, day + _DAY))
    return signing.digest({"kind": "carved-from", "v": 1, "files": sorted(row["id"] for row in files)})[:16]


def rows_of(vault: Vault, key: bytes, rows: Iterable[Row]) -> pl.DataFrame:
    """The records of the carves `rows` of one hold, each once, under `key`, with `record_class` and `file_day`.

    Raises `FaultError` when a file is missing or was changed.
    """
    frames = [_nothing()]
    for row in rows:
        path = vault.layout.carve_file(row["hold"], row["id"])
        try:
            content = sealing.unseal_file(key, path, _place(row["hold"], row["id"]))
        except OSError as problem:
            reason = problem.strerror or type(problem).__name__
            raise FaultError(f"reading carve {row['id']}: its file can't be read ({reason})") from problem
        frame = pl.from_arrow(pa.ipc.open_stream(io.BytesIO(content)).read_all())
        if isinstance(frame, pl.DataFrame):
            day = pl.lit(date.fromisoformat(row["day"])).alias(_FILE_DAY)
            frames.append(frame.with_columns(day, record_class=pl.lit(row["record_class"])))
    return pl.concat(frames, how="diagonal_relaxed").unique(["record_class", *_ROW], keep="first", maintain_order=True)


@dataclass(frozen=True, slots=True)
class HeldRows:
    """What a warrant may see of what was carved for it, read a day at a time."""

    vault: Vault
    warrant: SignedWarrant
    holds: tuple[Hold, ...]
    carves: tuple[Row, ...]

    @property
    def places(self) -> set[tuple[str, date]]:
        """The classes and days it has something of."""
        return {(row["record_class"], date.fromisoformat(row["day"])) for row in self.carves}

    def dates(self) -> set[date]:
        """The days it has something of."""
        return {date.fromisoformat(row["day"]) for row in self.carves}

    def rows(self, first: date, last: date, columns: Collection[str]) -> pl.DataFrame:
        """The records of the days `first` to `last`, of which only `columns` are shown, with class and `file_day`."""
        wanted = [row for row in self.carves if first <= date.fromisoformat(row["day"]) <= last]
        frames = [_nothing()]
        for hold_id in sorted({row["hold"] for row in wanted}):
            key = self.vault.keys.release_held(self.warrant, hold_id)
            frames.append(rows_of(self.vault, key, [row for row in wanted if row["hold"] == hold_id]))
        rows = pl.concat(frames, how="diagonal_relaxed")
        return rows.select(name for name in rows.columns if name in {*columns, _FILE_DAY, "record_class"})


def held_for(
    vault: Vault, tx: Transaction, warrant: SignedWarrant, classes: Collection[str], now: datetime
) -> HeldRows:
    """What was carved for `warrant`, of `classes`: by its own freeze, or by the hold that it `supplements`, where that
    binds at `now`.

    Of a hold that is over there is nothing, whether its key has died yet or not.
    """
    names = {warrant_id(warrant.document), warrant.document.get("supplements")}
    rows = [row for row in vault.holdings.rows(tx, holds.TABLE) if row["id"] in names]
    binding = {hold.hold_id: hold for hold in holds.binding(vault, tx, rows, now)}
    carves = vault.holdings.rows(tx, TABLE) if binding else ()
    # What a freeze kept that was over when its order was approved is told to nobody.
    mine = [row for row in _living(carves) if row["hold"] in binding and row["record_class"] in classes]
    return HeldRows(vault, warrant, tuple(binding.values()), tuple(sorted(mine, key=_age)))


def _carve(vault: Vault, hold: Hold, record_class: str, day: date, cause: str) -> Carved:
    rows, unreadable = _held(vault, hold, record_class, day)
    carve_id = secrets.token_hex(16)
    vault.keys.ensure([hold_key_id(hold.hold_id)])
    custody = vault.keys.custody("hold")
    path = vault.layout.carve_file(hold.hold_id, carve_id)
    vault.disk.make_directory(path.parent)
    vault.disk.create_by(path, lambda part: _write(part, custody, hold.hold_id, carve_id, rows))
    with vault.catalogue.transaction() as tx:
        tx.put(
            TABLE,
            id=carve_id,
            hold=hold.hold_id,
            record_class=record_class,
            day=day.isoformat(),
            cause=cause,
            rows=rows.height,
            bytes=path.stat().st_size,
            digest=partitions.keyed_digest_of(custody, path),
            created_at=signing.instant(vault.clock.now()),
        )
        detail = {"hold": hold.hold_id, "class": record_class, "day": day.isoformat(), "records": rows.height}
        vault.audit.enter(tx, "carve", None, detail | {"cause": cause, "unreadable": list(unreadable)})
    vault.audit.flush()
    return Carved(hold.hold_id, record_class, day, rows.height, unreadable)


def _write(part: Path, custody: Custody, hold_id: str, carve_id: str, rows: pl.DataFrame) -> None:
    table = rows.to_arrow()
    with part.open("wb") as sink:
        sealed = sealing.StreamWriter(custody.key(hold_key_id(hold_id)), sink, _place(hold_id, carve_id))
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        with pa.ipc.new_stream(pa.PythonFile(sealed, mode="w"), table.schema, options=options) as stream:
            stream.write_table(table)
        sealed.close()


def _held(vault: Vault, hold: Hold, record_class: str, day: date) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """The rows of the partition that `hold` covers, with the record's own columns; and what could not be read.

    Parts of a call whose other parts stand on the days beside it are among them, as they would be in an answer.
    """
    wanted = warrants.scope_of(hold.document, (record_class,))
    days = (day - _DAY, day, day + _DAY)
    files = _files(vault, record_class, days)
    unreadable: list[str] = []

    def read(only: pl.Expr | None, of: Sequence[date]) -> pl.DataFrame:
        frames = [_nothing()]
        for row in files:
            if (stored := date.fromisoformat(row["day"])) in of:
                try:
                    frames.append(_read(vault, hold, wanted, row, only).with_columns(pl.lit(stored).alias(_FILE_DAY)))
                except (FaultError, RefusedError):
                    unreadable.append(row["id"])
        return pl.concat(frames, how="diagonal_relaxed")

    before, lost = _carved_before(vault, hold, record_class, day)
    unreadable += lost
    matched = pl.concat([read(None, days), before], how="diagonal_relaxed")
    matched = matched.with_columns(record_class=pl.lit(record_class))
    calls = scope.calls(matched, wanted)
    found = matched
    if calls.height:
        parts = read(scope.call_filter(calls), days).with_columns(record_class=pl.lit(record_class))
        found = pl.concat([matched, parts], how="diagonal_relaxed").unique(
            list(_ROW), keep="first", maintain_order=True
        )
    if not found.height:
        return found.select(pl.col(name) for name in SCHEMA.names if name in found.columns), _sorted(unreadable)
    chosen = scope.select(found, wanted).filter(pl.col(_FILE_DAY) == day)
    names = [name for name in SCHEMA.names if name in chosen.columns]
    return chosen.select(names), _sorted(unreadable)


def _read(vault: Vault, hold: Hold, wanted: Scope, row: Row, only: pl.Expr | None) -> pl.DataFrame:
    """The columns of the hold's categories of one file, as far as their keys live, of the rows that may be in scope."""
    record_class, custody = row["record_class"], vault.keys.custody("hold")
    place = Place(record_class, date.fromisoformat(row["day"]), row["id"], row["generation"] or 1)
    granted = {name for name in hold.document.categories | {FRAME} if custody.has(place.day_key_id(name))}
    columns = [name for name in BY_NAME if category_of(name, record_class) in granted]
    filtered = scope.prefilter(wanted, columns) if only is None else only
    rows = partitions.read_in_custody(
        vault.layout, custody, record_class, place.day, place.file_id, columns, filtered, place.generation
    )
    return _as_of(vault, hold, record_class, rows) if rows.height else rows


def _as_of(vault: Vault, hold: Hold, record_class: str, rows: pl.DataFrame) -> pl.DataFrame:
    """What an answer could have told of `rows` when the hold began: a hold gives back nothing that had expired.

    Terms and the ends of services are those that were known then: what shortens a term later, or ends a service, takes
    nothing from under a hold.
    """
    with vault.catalogue.reading() as tx:
        ruled = policies.ruled(tx, hold.since, vault.policy)
    rules, zone = ruled.serving(DISCLOSING), ruled.zone
    term = rules.term_of(record_class)
    if term is None:
        # Of a class that no entry covers nothing expires; one that serves another purpose is not disclosed.
        return rows if ruled.term_of(record_class) is None else rows.clear()
    rows = rows.filter(~retention.expired_mask(anchor(rows, record_class), term, zone, hold.since))
    rows = rows.filter(~ended.of(vault, hold.since).mask(record_class, rows, hold.since))
    return blanking.without_ended(rows, record_class, rules, hold.since)


def _files(vault: Vault, record_class: str, days: Sequence[date]) -> list[Row]:
    with vault.catalogue.reading() as tx:
        return [row for day in days for row in tx.select("files", record_class=record_class, day=day.isoformat())]


def _carved_before(vault: Vault, hold: Hold, record_class: str, day: date) -> tuple[pl.DataFrame, list[str]]:
    """What this hold has carved already of the days beside `day`, and of the day itself for another cause; and the
    carves that can't be read, which stop no expiry either.
    """
    with vault.catalogue.reading() as tx:
        rows = _living(tx.select(TABLE, hold=hold.hold_id, record_class=record_class))
    frames, unreadable = [_nothing()], []
    for row in sorted((row for row in rows if abs(date.fromisoformat(row["day"]) - day) <= _DAY), key=_age):
        try:
            frames.append(rows_of(vault, vault.keys.custody("hold").key(hold_key_id(hold.hold_id)), [row]))
        except (FaultError, RefusedError):
            unreadable.append(row["id"])
    known = pl.concat(frames, how="diagonal_relaxed")
    return known.unique(list(_ROW), keep="first", maintain_order=True), unreadable


def _told(carves: Iterable[Row]) -> list[list[str | int]]:
    return sorted([row["hold"], row["record_class"], row["day"], row["rows"]] for row in carves)


def _sorted(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(names)))


def _age(row: Row) -> tuple[str, str]:
    """The oldest carve first: a later one of the same day may lack a category that had died by then."""
    return row["created_at"], row["id"]


def _covers(hold: Hold, record_class: str, files: Iterable[Row]) -> bool:
    """Whether records of `files` can be in the windows of the hold; the parts of a call touch the days beside it."""
    if record_class not in hold.document.classes:
        return False
    windows = [(_date(start) - _DAY, _date(end) + _DAY) for start, end in hold.document.windows]
    reach = {(date.fromisoformat(row["reach_from"]), date.fromisoformat(row["reach_to"])) for row in files}
    return any(first <= until and since <= last for first, last in windows for since, until in reach)


def _date(moment: datetime) -> date:
    return moment.astimezone(UTC).date()


def _is_carved(vault: Vault, hold: Hold, record_class: str, day: date, cause: str) -> bool:
    with vault.catalogue.reading() as tx:
        rows = tx.select(TABLE, hold=hold.hold_id, record_class=record_class, day=day.isoformat())
    return any(row["cause"] == cause for row in _living(rows))


def _living(carves: Iterable[Row]) -> list[Row]:
    """Those of `carves` that their hold still keeps."""
    return [row for row in carves if not row["lapsed"]]


def _nothing() -> pl.DataFrame:
    schema = dict.fromkeys(("source", "batch"), pl.String) | {"row": pl.Int64, "occurrence": pl.Int32}
    return pl.DataFrame(schema={**schema, _FILE_DAY: pl.Date})


def _place(hold_id: str, carve_id: str) -> str:
    return f"hold {hold_id} {carve_id}"
