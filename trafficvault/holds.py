"""Holds: whose records are kept apart for an authority before their days expire, since when and until when.

A hold is never an answer. It comes from a warrant of the docket and carries its id: an order to preserve (Budapest
Convention art. 16, art. 126ni Sv, Regulation (EU) 2023/1543) binds from its approval for as long as it says; and
every warrant freezes its scope from its registration for `freeze_on_receipt` of the policy, so that nothing dies while
it is being checked. What is held, and how, is the business of `trafficvault.carving`.

States: `provisional` (a freeze), `active` (an approved order), `ended` (by itself, at `until`), `released` (by two
persons, or by a refusal of the warrant), `lost` (its key had died when the vault was put back from a backup). A hold
that is over holds nothing more, whatever its row says: its key dies with the other keys of an expiry, a day later at
the latest.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from trafficvault import row_keys, signing
from trafficvault.catalogue import Row, Transaction
from trafficvault.errors import RefusedError
from trafficvault.period import Period
from trafficvault.vault import Vault
from trafficvault.warrants import PRESERVE, WarrantDocument

TABLE = "holds"
CARVES = "carves"
"""The table of what holds keep of days that died (`trafficvault.carving`)."""
BINDING = ("provisional", "active")
"""The states in which a hold keeps anything."""
LOST = "lost"
TO_CONFIRM = "docket_to_confirm"
"""The `meta` row with the moment of a restore since which nobody confirmed that warrants and holds still stand."""


@dataclass(frozen=True, slots=True)
class Hold:
    """One hold: the document that says whose records, its state, and the moments it binds between."""

    hold_id: str
    state: str
    document: WarrantDocument
    since: datetime
    until: datetime

    def binds(self, now: datetime) -> bool:
        """Whether it keeps records at `now`."""
        return self.state in BINDING and now < self.until


def freeze(tx: Transaction, vault: Vault, hold_id: str, now: datetime) -> None:
    """Holds the scope of a warrant that was just registered, for `freeze_on_receipt` of the policy."""
    lasts = vault.policy.freeze_on_receipt.delta()
    if lasts > timedelta():
        _put(tx, hold_id, "provisional", now, now + lasts)


def bind(tx: Transaction, hold_id: str, document: WarrantDocument, now: datetime) -> None:
    """Makes the hold of an approved order to preserve; what is still frozen goes on being held.

    A freeze that is over gives nothing back: the hold begins now, and what was carved before has lapsed.
    """
    if document.document["kind_of_order"] == PRESERVE:
        lasts = Period.parse(document.document["hold_for"]).delta()
        before = tx.get(TABLE, id=hold_id)
        frozen = before is not None and is_binding(before, now)
        since = datetime.fromisoformat(before["since"]) if before is not None and frozen else now
        if not frozen:
            for row in tx.select(CARVES, hold=hold_id):
                tx.put(CARVES, **row | {"lapsed": 1})
        _put(tx, hold_id, "active", since, now + lasts)


def extend(tx: Transaction, hold_id: str, until: datetime) -> None:
    """Lets an active hold bind until `until`. Raises `RefusedError` when it is not active, or binds as long already."""
    row = _row(tx, hold_id)
    if row["state"] != "active":
        raise RefusedError(f"extending hold {hold_id}: it is {row['state']}, and only an active one is extended")
    if until <= datetime.fromisoformat(row["until"]):
        raise RefusedError(f"extending hold {hold_id}: it binds until {row['until']} already; release it to end it")
    tx.put(TABLE, **row | {"until": signing.instant(until)})


def finish(tx: Transaction, hold_id: str, state: str, now: datetime) -> None:
    """Ends a binding hold as `ended` or `released`, at `now` at the latest, or as `lost`, which keeps the end it was
    to have; one that is over stays as it is.
    """
    row = tx.get(TABLE, id=hold_id)
    if row is not None and row["state"] in BINDING:
        over = {} if state == LOST else {"until": signing.instant(min(now, datetime.fromisoformat(row["until"])))}
        tx.put(TABLE, **row | {"state": state} | over)


def is_binding(row: Row, now: datetime) -> bool:
    """Whether the hold of a row of the catalogue keeps anything at `now`."""
    return row["state"] in BINDING and now < datetime.fromisoformat(row["until"])


def any_lost(tx: Transaction, now: datetime) -> bool:
    """Whether a hold that would still bind was lost with its key."""
    return any(row["state"] == LOST and now < datetime.fromisoformat(row["until"]) for row in tx.select(TABLE))


def load(vault: Vault, hold_id: str) -> Hold:
    """The hold `hold_id`. Raises `RefusedError` when there is none."""
    with vault.catalogue.reading() as tx:
        return _opened(vault, tx, _row(tx, hold_id))


def listing(vault: Vault) -> list[Hold]:
    """Every hold, the oldest first."""
    with vault.catalogue.reading() as tx:
        rows = sorted(tx.select(TABLE), key=lambda row: (row["since"], row["id"]))
        return [_opened(vault, tx, row) for row in rows]


def binding(vault: Vault, tx: Transaction, rows: Iterable[Row], now: datetime) -> list[Hold]:
    """Those of `rows` that bind at `now`; of the others nothing is opened."""
    return [_opened(vault, tx, row) for row in rows if is_binding(row, now)]


def document_of(vault: Vault, row: Row) -> WarrantDocument:
    """The document of a row of the docket, opened."""
    return WarrantDocument.of(row_keys.unseal(vault, "warrants", row))


def _opened(vault: Vault, tx: Transaction, row: Row) -> Hold:
    warrant = tx.get("warrants", id=row["id"])
    if warrant is None:
        raise RefusedError(f"opening hold {row['id']}: its warrant is not in the docket")
    since, until = datetime.fromisoformat(row["since"]), datetime.fromisoformat(row["until"])
    return Hold(row["id"], row["state"], document_of(vault, warrant), since, until)


def _row(tx: Transaction, hold_id: str) -> Row:
    row = tx.get(TABLE, id=hold_id)
    if row is None:
        raise RefusedError(f"looking for hold {hold_id}: there is none; `hold list` shows them")
    return row


def _put(tx: Transaction, hold_id: str, state: str, since: datetime, until: datetime) -> None:
    tx.put(TABLE, id=hold_id, state=state, since=signing.instant(since), until=signing.instant(until))
