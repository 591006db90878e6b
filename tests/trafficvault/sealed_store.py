"""Invented records with every column filled, and a key store in a directory of its own, for the tests of the store."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from ingest.record import CATEGORIES, FRAME, SCHEMA
from trafficvault import signing
from trafficvault.coverage import PersonKey, SignedWarrant, Vouch
from trafficvault.durable import Disk
from trafficvault.keys import Custody, KeyStore, Released
from trafficvault.layout import Layout, day_key_id
from trafficvault.provider import LocalKeyFile

VAULT_ID = "5f1c"
DAY = date(2026, 3, 1)
NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
MOMENT = datetime(2026, 2, 1, 9, 0, tzinfo=UTC)


@dataclass
class Store:
    """A key store with the day keys of `classes` on `DAY`, and its custody for receiving."""

    layout: Layout
    disk: Disk
    provider: LocalKeyFile
    keys: KeyStore
    custody: Custody

    def destroy(self, *names: str) -> None:
        """Renews the ring without `names`."""
        self.keys.renew(names, lambda generation: None)

    def reopened(self, generation: int = 1) -> KeyStore:
        """The same keys as another process opens them."""
        provider = LocalKeyFile.open(self.layout, Disk(), VAULT_ID)
        return KeyStore.open(self.layout, Disk(), provider, VAULT_ID, catalogue_generation=generation, writer=True)


def new_store(where: Path, classes: tuple[str, ...] = ("mobile_usage",), days: tuple[date, ...] = (DAY,)) -> Store:
    """A fresh vault directory with its keys."""
    layout, disk = Layout(where / "vault", where / "vault.keys"), Disk()
    disk.make_directory(layout.vault)
    provider = LocalKeyFile.create(layout, disk, VAULT_ID)
    keys = KeyStore.create(layout, disk, provider, VAULT_ID)
    keys.ensure(day_key_id(name, day, category) for name in classes for day in days for category in CATEGORIES)
    return Store(layout, disk, provider, keys, keys.custody("receive"))


def value_of(column: str, row: int) -> Any:
    """An invented value of `column`, another in each row and found nowhere else; a text says its column."""
    type_ = SCHEMA.field(column).type
    number = SCHEMA.names.index(column)
    if column == "other_parties":
        return [{"role": f"marked-role-{row}", "number": f"marked-other-number-{row}"}]
    if column == "mail_to":
        return [f"marked-mail-to-{row}@example.org", f"marked-second-{row}@example.org"]
    if pa.types.is_timestamp(type_):
        return NOON + timedelta(seconds=row, microseconds=number)
    if pa.types.is_boolean(type_):
        return row % 2 == 0
    if pa.types.is_int64(type_):
        return 0x4D41524B00000000 + number * 65536 + row
    if pa.types.is_int32(type_):
        return 0x4D410000 + number * 256 + row
    if pa.types.is_fixed_size_binary(type_):
        return f"mrk-ip-{number:03d}-{row:05d}".encode()
    return f"marked-{column}-{row}"


def full_table(rows: int = 3) -> pa.Table:
    """`rows` records with a value in every column."""
    return pa.table({name: [value_of(name, row) for row in range(rows)] for name in SCHEMA.names}, schema=SCHEMA)


def records(rows: list[dict[str, Any]]) -> pa.Table:
    """A table of the given values, with the record's types and the provenance that a reader always gives."""
    base = {"source": "mvno", "batch": "b1", "feed_digest": "f1", "occurrence": 0, "start": NOON}
    filled = [base | {"row": number} | row for number, row in enumerate(rows, 1)]
    names = [name for name in SCHEMA.names if any(name in row for row in filled)]
    schema = pa.schema([SCHEMA.field(name) for name in names])
    return pa.Table.from_pylist([{name: row.get(name) for name in names} for row in filled], schema=schema)


@dataclass
class Office:
    """Invented people with signing keys, and the directory that a key store looks them up in."""

    private: dict[str, bytes] = field(default_factory=dict)
    people: dict[str, PersonKey] = field(default_factory=dict)

    def add(self, name: str, *roles: str, key: bytes | None = None, disabled: bool = False) -> None:
        """A person of that name."""
        self.private[name] = key or os.urandom(32)
        self.people[name] = PersonKey(name, frozenset(roles), signing.public_key_of(self.private[name]), disabled)

    @property
    def directory(self) -> Callable[[str], PersonKey | None]:
        """What `KeyStore.attach_directory` takes."""
        return self.people.get

    def vouch(self, act: str, person: str, document: dict[str, Any]) -> Vouch:
        """The signature of `person` for `act` on `document`."""
        message = signing.statement(act, signing.digest(document), person, MOMENT)
        return Vouch(person, MOMENT, signing.sign(self.private[person], message))

    def warrant(self, registrar: str = "olga", approver: str = "anton", **changes: Any) -> SignedWarrant:
        """A warrant on `DAY` for all categories but `where`, with `changes` made before it was signed."""
        document: dict[str, Any] = {
            "kind": "warrant",
            "v": 1,
            "classes": ["mobile_usage"],
            "categories": ["who", "when", "how_much"],
            "targets": [
                {
                    "type": "msisdn",
                    "value": "+31612345678",
                    "from": "2026-03-01T00:00:00Z",
                    "to": "2026-03-02T00:00:00Z",
                }
            ],
        } | changes
        return SignedWarrant(
            document, self.vouch("register", registrar, document), self.vouch("approve", approver, document)
        )


def office() -> Office:
    """Olga the officer and Anton the approver."""
    people = Office()
    people.add("olga", "officer")
    people.add("anton", "approver")
    return people


def release(store: Store, categories: tuple[str, ...], record_class: str = "mobile_usage") -> list[Released]:
    """The frame key and those of `categories`, released by a warrant that covers them."""
    people = office()
    store.keys.attach_directory(people.directory)
    warrant = people.warrant(categories=[*categories], classes=[record_class])
    wanted = itertools.chain((FRAME,), categories)
    return [store.keys.release(warrant, record_class, DAY, category, (DAY, DAY)) for category in wanted]
