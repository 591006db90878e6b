"""Inventory: every place where data of one day lies, so that after its expiry anybody can see that there is none.

It does not ask the catalogue where things should be, but looks: at every file below the vault directory whose path
names the day, at every key in the ring, and at every table with a class and a day. What some other part of the vault
adds is found because it is laid out so. Three lists: what holds data of the day (`data`); what may hold some, because
nobody can tell what is in it without opening it (`possible`: batches that wait for a person, rejected rows, kept files,
spilled or half-written files); and what says that the day was (`remains`: tombstone, certificates, receipts), in which
no record is left. What holds keep is left out, unless whoever asks may know of holds. Opens no record. What it can't
see is the memory of running processes, and copies that others made.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from trafficvault import kinds
from trafficvault.catalogue import Row, Transaction
from trafficvault.durable import PART
from trafficvault.ring import ring_generations
from trafficvault.tables import TABLES
from trafficvault.vault import Vault

_ROOTS = {root: kind for kind, root in kinds.LEFTOVERS.items()}
_REMAINS = frozenset({"certificates", "batches"})
_COLUMNS = (("record_class", "day"), ("die_class", "die_day"))


@dataclass(frozen=True, slots=True)
class Found:
    """One place: what it is, and where."""

    what: str
    where: str


@dataclass(frozen=True, slots=True)
class Inventory:
    """All places of one day."""

    data: tuple[Found, ...]
    possible: tuple[Found, ...]
    remains: tuple[Found, ...]

    def as_dict(self) -> dict[str, object]:
        """The form of `--json`."""
        lists = {"data": self.data, "possible": self.possible, "remains": self.remains}
        return {name: [{"what": one.what, "where": one.where} for one in found] for name, found in lists.items()}


def take(vault: Vault, day: date, record_class: str | None = None, *, with_held: bool = False) -> Inventory:
    """The places of the UTC `day`, of one class or of all; `with_held` those too in which holds keep something of it.

    That they do those alone may know who may read the docket: without it nothing tells whether there is any hold.
    """
    data: list[Found] = []
    possible: list[Found] = []
    remains: list[Found] = []
    for path in sorted(vault.layout.vault.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            continue
        place = path.relative_to(vault.layout.vault)
        if _names(place.parts, day, record_class):
            data.append(Found(_kind(place), str(place)))
        elif (with_held or place.parts[0] != "holds") and _is_undated(vault, path):
            possible.append(Found(_kind(place), str(place)))
    data += [
        Found("key", f"ring-{vault.keys.generation}: {name}")
        for name in sorted(vault.keys.key_ids())
        if _names(tuple(name.split("/")), day, record_class)
    ]
    possible += [
        Found("keys of another generation", f"ring-{generation}")
        for generation in sorted(ring_generations(vault.layout) - {vault.keys.generation})
    ]
    with vault.catalogue.reading() as tx:
        for found, is_data in _rows(tx, day, record_class):
            (data if is_data else remains).append(found)
        if with_held:
            data += _held(tx, day, record_class)
        batches = tx.select("batches")
        leftovers = tx.select("leftovers")
    touching = {str(row["id"]): row for row in batches if _touches(row, day, record_class)}
    remains += [Found("receipt", f"table batches: {name}") for name in sorted(touching)]
    for row in leftovers:
        where = f"{row['kind']}/{row['record_class']}/{row['day']}/{row['batch']}.sealed"
        if not any(one.where == where for one in data) and _may_hold(row, touching):
            possible.append(Found(_ROOTS.get(str(row["kind"]), str(row["kind"])), where))
    return Inventory(tuple(data), tuple(possible), tuple(remains))


def _names(parts: tuple[str, ...], day: date, record_class: str | None) -> bool:
    return day.isoformat() in parts and (record_class is None or record_class in parts)


def _kind(place: Path) -> str:
    if PART in place.name:
        return "half-written file"
    told = kinds.kind_of(place)
    name = place.parts[0] if told is None else told.kind
    return f"prepared by compaction: {name}" if place.parts[0] == "compacting" else name


def _is_undated(vault: Vault, path: Path) -> bool:
    """A file of records that names no day: rows that were spilled, or any half-written file that is no day's."""
    spilled = vault.layout.staging.spill in path.parents
    dated = any(_is_day(part) for part in path.relative_to(vault.layout.vault).parts)
    return spilled or (PART in path.name and not dated)


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _rows(tx: Transaction, day: date, record_class: str | None) -> Iterator[tuple[Found, bool]]:
    """The rows of that class and day in every table that has both, and whether each stands for data."""
    for name, table in TABLES.items():
        for of_class, of_day in _COLUMNS:
            # What holds keep is told apart, and not of which days.
            if name in ("batches", "carves") or of_class not in table.names or of_day not in table.names:
                continue
            wanted = {of_day: day.isoformat()} | ({} if record_class is None else {of_class: record_class})
            for row in tx.select(name, **wanted):
                key = "/".join(str(row[part]) for part in table.key)
                dead = name in _REMAINS or row.get("state") == "tombstone"
                what = "tombstone" if row.get("state") == "tombstone" else "certificate" if dead else "catalogue row"
                yield Found(what, f"table {name}: {key}"), not dead


def _held(tx: Transaction, day: date, record_class: str | None) -> Iterator[Found]:
    wanted = {"day": day.isoformat()} | ({} if record_class is None else {"record_class": record_class})
    for row in sorted(tx.select("carves", **wanted), key=lambda row: str(row["id"])):
        yield Found("kept by a hold", f"holds/{row['hold']}/{row['id']}.sealed")


def _touches(row: Row, day: date, record_class: str | None) -> bool:
    """Whether a delivered file had records of the day, or was never read so far as to tell."""
    text = json.dumps(json.loads(row["partitions"]))
    named = day.isoformat() in text and (record_class is None or record_class in text)
    within = row["first_day"] is not None and row["first_day"] <= day.isoformat() <= str(row["last_day"])
    return named or within


def _may_hold(row: Row, touching: dict[str, Row]) -> bool:
    # A held batch was not read to its end, so it may have records of any day.
    # The bytes of a stored batch are of its own days.
    return row["kind"] == "held" or str(row["batch"]) in touching
