"""Trimming: records that would outlive their term by more than two days leave their day before it dies.

A day dies when the last record that can be of it has reached its term. Mostly that is within 48 hours of the first; at
the end of a short month it is up to five days (`retention`): six months from 28 February end on 28 August, those from 1
March on 1 September, and a UTC day may touch both. The records of the earlier date are then removed from the living day
by themselves (`rewrite`), once, a day after the first of them reached its term, by when all of that date have. Under
another term, which a later version of the policy brought, that moment is another, and the day is trimmed again.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

import polars as pl

from ingest.read import anchor
from ingest.sound import EVENT_ANCHOR, INTERVAL_ANCHOR
from trafficvault import retention, rewrite
from trafficvault.catalogue import Row, Transaction
from trafficvault.rewrite import Day, Why
from trafficvault.thinning import Going
from trafficvault.vault import Vault

LATEST = timedelta(hours=48)
"""No record is kept longer past its own term."""
_A_DATE = timedelta(hours=24)
_COLUMNS = tuple(dict.fromkeys((*EVENT_ANCHOR, *INTERVAL_ANCHOR)))


def due(vault: Vault, now: datetime) -> list[Day]:
    """The living days that outlive their first records by more than `LATEST`, and that were not trimmed yet for when
    these reach their term.
    """
    with vault.catalogue.reading() as tx:
        parts = tx.select("partitions", state="live")
    return [(row["record_class"], date.fromisoformat(row["day"])) for row in parts if _is_due(vault, row, now)]


def carry_out(vault: Vault) -> tuple[dict[str, Any], ...]:
    """Removes the records that have reached their term from the days that are `due`; returns the certificates.

    The caller holds the writer's lock and believes the clock. Raises as `rewrite.remove`; what was removed before stays
    removed, and the next run does the rest.
    """
    now = vault.clock.now()
    issued: tuple[dict[str, Any], ...] = ()
    for record_class, day in due(vault, now):
        issued += _trim(vault, record_class, day, now)
    return issued


def _trim(vault: Vault, record_class: str, day: date, now: datetime) -> tuple[dict[str, Any], ...]:
    term, zone = vault.policy.require_term(record_class), vault.policy.zone

    begins = retention.begins(day, term, zone)

    def going(name: str, rows: pl.DataFrame) -> pl.Series:
        return retention.expired_mask(anchor(rows, name), term, zone, now)

    def note(tx: Transaction) -> None:
        row = tx.get("partitions", record_class=record_class, day=day.isoformat())
        if row is not None:
            tx.put("partitions", **row | {"trimmed": _mark(begins)})

    why = Why("trim", f"its own term was over, and its day dies later: {term}", None, {"class": record_class})
    return rewrite.remove(vault, [(record_class, day)], Going(_COLUMNS, going), why, note).certificates


def _is_due(vault: Vault, part: Row, now: datetime) -> bool:
    day, term = date.fromisoformat(part["day"]), vault.policy.term_of(part["record_class"])
    if term is None:
        return False
    begins = retention.begins(day, term, vault.policy.zone)
    outlives = retention.due(day, term, vault.policy.zone) - begins > LATEST
    return outlives and begins + _A_DATE <= now and part["trimmed"] != _mark(begins)


def _mark(begins: datetime) -> int:
    """What a day keeps of a trimming: for when its first records reached their term, in seconds since 1970."""
    return int(begins.timestamp())
