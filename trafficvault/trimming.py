"""Trimming: what would outlive its term by more than two days leaves its day before that day, or its key, dies.

A day dies when the last record that can be of it has reached its term, and the key of its locations when the last
location has. Mostly that is within 48 hours of the first; at the end of a short month it is up to five days
(`retention`): six months from 28 February end on 28 August, those from 1 March on 1 September, and a UTC day may touch
both. The records of the earlier date, or the locations in them, are then removed from the living day by themselves
(`rewrite`), once, a day after the first of them reached its term, by when all of that date have. Under another term,
which a later version of the policy brought, that moment is another, and the day is trimmed again.

What comes late brings nothing back: a record past its term is refused, a location past its own is not stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

import polars as pl

from ingest.record import CATEGORIES, WHEN, WHERE
from ingest.sound import EVENT_ANCHOR, INTERVAL_ANCHOR, anchor
from trafficvault import blanking, holdings, retention, rewrite
from trafficvault.catalogue import Row, Transaction
from trafficvault.policy import Policy
from trafficvault.retention import Item
from trafficvault.rewrite import Why
from trafficvault.steadfast import Attempts
from trafficvault.thinning import Going
from trafficvault.vault import Vault

_ANCHORS: Final = tuple(dict.fromkeys((*EVENT_ANCHOR, *INTERVAL_ANCHOR)))
_MARKS: Final[Mapping[str, str]] = {WHEN: "trimmed", WHERE: "blanked"}
"""The column of `partitions` that keeps when what was removed last had reached its term, by the category that rules."""


@dataclass(frozen=True, slots=True)
class Trim:
    """What is to leave one living day: its first records, or, where the term of another category `rules` than `when`,
    what these have of it. `begins` is when the first of them reached that term, `due` when they are to leave.
    """

    record_class: str
    day: date
    rules: str
    begins: datetime
    due: datetime

    @property
    def categories(self) -> tuple[str, ...]:
        """What goes of the records: all of it, or one category."""
        return CATEGORIES if self.rules == WHEN else (self.rules,)

    @property
    def item(self) -> Item:
        """The same as something that is due."""
        what, lives = ("", "the day") if self.rules == WHEN else (f"{self.rules} in ", "its key")
        reason = f"the term of {what}the day's first records is over, and {lives} lives on"
        return Item(self.record_class, self.day, "rows", self.due, "expire", reason, self.categories)

    @property
    def mark(self) -> int:
        """What a day keeps of a trimming: for when its first records reached their term, in seconds since 1970."""
        return int(self.begins.timestamp())


def due(vault: Vault, now: datetime) -> list[Trim]:
    """What is to leave days that live, and locations whose key does, and was not removed yet. Reads the catalogue."""
    with vault.catalogue.reading() as tx:
        parts = tx.select("partitions", state="live")
    return [one for row in parts for one in _due_of(row, vault.policy, now)]


def carry_out(vault: Vault, attempts: Attempts) -> tuple[dict[str, Any], ...]:
    """Removes what is `due`; returns the certificates. What fails, as `rewrite.remove` does, is left to the next run.

    The caller holds the writer's lock and believes the clock.
    """
    now = vault.clock.now()
    issued: tuple[dict[str, Any], ...] = ()
    for one in due(vault, now):
        with attempts.one(f"removing what is past its term from {one.record_class}/{one.day.isoformat()}"):
            issued += _trim(vault, one, now)
    return issued


def _due_of(part: Row, policy: Policy, now: datetime) -> list[Trim]:
    record_class, day = part["record_class"], date.fromisoformat(part["day"])
    lost, found = holdings.lost(part), []
    for rules in (WHEN, *policy.early(record_class)):
        term = policy.term_of(record_class, rules)
        at = None if term is None or rules in lost else retention.leaves(day, term, policy.zone)
        # From when the whole of it is due, an expiry takes it.
        if term is not None and at is not None and at <= now < retention.due(day, term, policy.zone):
            one = Trim(record_class, day, rules, retention.begins(day, term, policy.zone), at)
            found += [one] if part[_MARKS[rules]] != one.mark else []
    return found


def _trim(vault: Vault, one: Trim, now: datetime) -> tuple[dict[str, Any], ...]:
    term, zone = vault.policy.require_term(one.record_class, one.rules), vault.policy.zone
    blanked = () if one.rules == WHEN else one.categories
    columns = blanking.columns_of(one.record_class, blanked)

    def going(name: str, rows: pl.DataFrame) -> pl.Series:
        gone = retention.expired_mask(anchor(rows, name), term, zone, now)
        return rows.select(pl.any_horizontal(pl.col(columns).is_not_null()) & gone).to_series() if blanked else gone

    def note(tx: Transaction) -> None:
        row = tx.get("partitions", record_class=one.record_class, day=one.day.isoformat())
        if row is not None:
            tx.put("partitions", **row | {_MARKS[one.rules]: one.mark})

    dies = f"the key of its day's {' and '.join(blanked)}" if blanked else "its day"
    why = Why("trim", f"its own term was over, and {dies} dies later: {term}", None, {"class": one.record_class})
    leaving = Going(tuple(dict.fromkeys((*_ANCHORS, *columns))), going, blanked)
    return rewrite.remove(vault, [(one.record_class, one.day)], leaving, why, note).certificates
