"""Ended: which records belong to a service that has ended, so that their term is over although their cap is not.

A class is kept until the end of the service when each entry of the policy that covers it says so; its records of an
ended service have reached their term `after` that end; where a file told it, not before its days to be withdrawn are
over. A record is of the service when its subscriber is; where record or event names none, when the number or the IMSI
whose record it is was the service's, and it began in the time of the service: numbers are given out again. It must have
begun before the end.

The catalogue keeps keyed digests of subscriber, number and IMSI, never these themselves. So a record is compared by
the digest of what it holds, and who has the living keys can compare a guess.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import polars as pl

from trafficvault.catalogue import Row
from trafficvault.period import Period
from trafficvault.policies import waits as waits
from trafficvault.sealed_parquet import polars_type
from trafficvault.vault import Vault

KINDS = ("subscriber", "msisdn", "imsi")
COLUMNS = (
    *("subscriber", "served", "a_number", "b_number", "c_number", "imsi"),
    *("start", "reported_at", "end"),
)
"""What decides whether a record is of an ended service."""


@dataclass(frozen=True, slots=True)
class Ending:
    """One end of a service, as the catalogue knows it: keyed digests by kind; until when nothing goes by it; and the
    classes that are done with, each under which version of the policy.
    """

    ending_id: str
    state: str
    subjects: Mapping[str, str] = field(repr=False)
    since: datetime | None
    ended_at: datetime
    classes: Mapping[str, int]
    waits_until: datetime | None = None

    def due(self, wait: Period, zone: str) -> datetime:
        """When records of it that are kept for `wait` after it have reached their term."""
        at = wait.after(self.ended_at, zone)
        return at if self.waits_until is None else max(at, self.waits_until)


def ending_of(row: Row) -> Ending:
    """The ending that a row of the catalogue tells."""
    since = None if row["since"] is None else datetime.fromisoformat(row["since"])
    ended_at, done = datetime.fromisoformat(row["ended_at"]), json.loads(row["classes"])
    # Of before, a list without versions: what is done under none is looked at once more.
    classes = done if isinstance(done, dict) else dict.fromkeys(done, 0)
    waits_until = None if row["waits_until"] is None else datetime.fromisoformat(row["waits_until"])
    return Ending(row["id"], row["state"], json.loads(row["subjects"]), since, ended_at, classes, waits_until)


def digest_of(vault: Vault, kind: str, value: str) -> str:
    """The keyed digest under which a subscriber, number or IMSI is remembered."""
    return _digest(vault.keys.custody("catalogue").key("names"), kind, value)


def of(vault: Vault, until: datetime | None = None) -> Ended:
    """What the catalogue knows of ended services now; with `until`, of what was recorded by then alone."""
    with vault.catalogue.reading() as tx:
        rows = vault.holdings.rows(tx, "endings")
    if until is not None:
        rows = [row for row in rows if datetime.fromisoformat(row["recorded_at"]) <= until]
    key = vault.keys.custody("catalogue").key("names")
    # Where no service ended nothing waits.
    return Ended(key, [ending_of(row) for row in rows], waits(vault.policy) if rows else {}, vault.policy.zone)


class Ended:
    """The services that ended, and the rule that says which records are theirs."""

    def __init__(self, key: bytes, endings: Iterable[Ending], waits: Mapping[str, Period], zone: str) -> None:
        self._key, self._endings, self._waits, self._zone = key, tuple(endings), waits, zone

    def due(self, record_class: str, now: datetime) -> list[Ending]:
        """The endings after which records of `record_class` have reached their term at `now`."""
        if record_class not in self._waits:
            return []
        wait = self._waits[record_class]
        return [one for one in self._endings if one.due(wait, self._zone) <= now]

    def mask(self, record_class: str, rows: pl.DataFrame, now: datetime) -> pl.Series:
        """Which of `rows` belong to a service that ended long enough ago. A column that is not there is null."""
        due = self.due(record_class, now)
        gone = pl.Series(np.zeros(rows.height, np.bool_))
        if not due or not rows.height:
            return gone
        absent = [pl.lit(None, polars_type(name)).alias(name) for name in COLUMNS if name not in rows.columns]
        asked = rows.with_columns(absent).select(
            "subscriber",
            "imsi",
            _served().alias("msisdn"),
            pl.coalesce("start", "reported_at", "end").alias("began"),
        )
        return asked.select(pl.any_horizontal(gone, *self._matches(asked, due)))[:, 0].fill_null(False)

    def _matches(self, asked: pl.DataFrame, due: list[Ending]) -> Iterable[pl.Expr]:
        """An expression per thing that names an ended service and stands in `asked`."""
        for kind in KINDS:
            named = {one.subjects[kind] for one in due if kind in one.subjects}
            if not named:
                continue
            values = {_digest(self._key, kind, value): value for value in asked[kind].drop_nulls().unique().to_list()}
            for one in due:
                value = values.get(one.subjects.get(kind, ""))
                if value is None:
                    continue
                found = pl.col(kind).eq(value) & (pl.col("began") < one.ended_at)
                if kind != "subscriber":
                    found &= pl.lit(True) if one.since is None else pl.col("began") >= one.since
                    if "subscriber" in one.subjects:
                        # A record that names its subscriber belongs to that one alone.
                        found &= pl.col("subscriber").is_null()
                yield found


def _served() -> pl.Expr:
    """The number of the party whose record it is."""
    sides = (pl.when(pl.col("served") == side).then(pl.col(f"{side}_number")) for side in ("a", "b", "c"))
    return pl.coalesce(*sides)


def _digest(key: bytes, kind: str, value: str) -> str:
    return hmac.new(key, f"ending/{kind}/{value}".encode(), hashlib.sha256).hexdigest()
