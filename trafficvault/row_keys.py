"""Row keys: a key of its own for each row of the catalogue that names whom it concerns, so that the row can end as a
record does.

Warrants, proposals, customers' requests and annotations are registered by people, at any moment, while another process
may hold the writer's lock; and the key ring is written under that lock alone. So keys are made ahead: `stock` puts
spare ones into the ring, under ids that say nothing (`row/<16 hex digits>`), and then their ids into the catalogue.
`seal` takes one of these in the transaction that puts the row. A spare is thereby always owned, by the list of spares
or by one row; what neither owns was left by a crash, and dies with the next expiry. When a row has reached its term,
`registers` destroys its key with a renewal of the ring: an old copy of the catalogue, with today's keys, shows no row
that was removed, and every one that was not.

A row that is put while no spare is left lies under the ring key `warrants`, which all of them share and which lives
with the vault; so do those of a vault that was made before rows had keys. The next expiry gives each its own (`own`).
"""

from __future__ import annotations

import json
import secrets
from typing import Any, Final

from trafficvault import sealing, signing
from trafficvault.catalogue import Row, Transaction
from trafficvault.vault import Vault

TABLES: Final = {"warrants": "warrant", "proposals": "proposal", "rights": "rights", "annotations": "annotation"}
"""The tables whose rows are sealed, and what the place of a row's content begins with."""
SHARED: Final = "warrants"
"""The ring key of rows that have none of their own."""
MOST: Final = 256
"""Spare keys that there are after an expiry: for the rows of a day or more."""
_SPARES: Final = "spare_keys"
"""The `meta` row with the ids of spare keys, a JSON array."""
_ID_BYTES: Final = 8


def seal(vault: Vault, tx: Transaction, table: str, row_id: str, content: dict[str, Any]) -> dict[str, str | None]:
    """The columns `sealed` and `key` of a row that `tx` is to put, with `content` under a key of its own."""
    name = _claimed(vault, tx)
    key = vault.keys.custody("catalogue").key(name or SHARED)
    return {"sealed": sealing.seal(key, signing.canonical(content), _place(table, row_id)).hex(), "key": name}


def unseal(vault: Vault, table: str, row: Row) -> dict[str, Any]:
    """The content of a row. Raises `FaultError` when it was changed, `RefusedError` when its key was destroyed."""
    name, custody = row["key"] or SHARED, vault.keys.custody("catalogue")
    if not custody.has(name):
        # Put into the ring by another process since this one opened it.
        _follow(vault)
    blob = bytes.fromhex(row["sealed"])
    found: dict[str, Any] = json.loads(sealing.unseal(custody.key(name), blob, _place(table, row["id"])))
    return found


def stock(vault: Vault) -> None:
    """Makes spare keys, when fewer than half are left. The caller holds the writer's lock."""
    with vault.catalogue.reading() as tx:
        missing = MOST - len(_spares(tx))
    if missing > MOST // 2:
        made = _made(vault, missing)
        # If we crash here, nobody owns these keys, and the next expiry destroys them.
        with vault.catalogue.transaction() as tx:
            _put(tx, [*_spares(tx), *made])


def own(vault: Vault) -> None:
    """Gives each row that lies under the shared key one of its own. The caller holds the writer's lock."""
    with vault.catalogue.reading() as tx:
        count = sum(1 for table in TABLES for row in tx.select(table) if row["key"] is None)
    if not count:
        return
    made = _made(vault, count)
    custody = vault.keys.custody("catalogue")
    with vault.catalogue.transaction() as tx:
        # As they are now; one that was added meanwhile, for which there is no key, is the next run's.
        rows = [(table, row) for table in TABLES for row in tx.select(table) if row["key"] is None]
        for (table, row), name in zip(rows, made, strict=False):
            place = _place(table, row["id"])
            content = sealing.unseal(custody.key(SHARED), bytes.fromhex(row["sealed"]), place)
            tx.put(table, **row | {"key": name, "sealed": sealing.seal(custody.key(name), content, place).hex()})


def owned(tx: Transaction) -> set[str]:
    """The ids of the keys that rows, or the list of spares, have."""
    return {*_spares(tx), *(row["key"] for table in TABLES for row in tx.select(table) if row["key"] is not None)}


def lacking(tx: Transaction, held: frozenset[str]) -> list[tuple[str, Row]]:
    """Table and row of each whose key is not among `held`."""
    return [(table, row) for table in TABLES for row in tx.select(table) if (row["key"] or SHARED) not in held]


def drop_spares(tx: Transaction) -> None:
    """Forgets the spare keys, for a catalogue that is older than the ring: rows that it does not know may have them."""
    _put(tx, [])


def _claimed(vault: Vault, tx: Transaction) -> str | None:
    """A spare key, taken from the list; None when there is none that this process can use."""
    spares, custody = _spares(tx), vault.keys.custody("catalogue")
    if spares and not any(map(custody.has, spares)):
        _follow(vault)
    name = next(filter(custody.has, spares), None)
    if name is not None:
        _put(tx, [one for one in spares if one != name])
    return name


def _follow(vault: Vault) -> None:
    with vault.catalogue.reading() as tx:
        vault.keys.follow(int(tx.meta("generation") or 0))


def _made(vault: Vault, count: int) -> list[str]:
    made = [f"row/{secrets.token_hex(_ID_BYTES)}" for _ in range(count)]
    vault.keys.ensure(made)
    return made


def _spares(tx: Transaction) -> list[str]:
    found: list[str] = json.loads(tx.meta(_SPARES) or "[]")
    return found


def _put(tx: Transaction, spares: list[str]) -> None:
    tx.set_meta(_SPARES, signing.canonical(spares).decode())


def _place(table: str, row_id: str) -> str:
    return f"{TABLES[table]} {row_id}"
