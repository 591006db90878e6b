"""Blanking: null in the place of what of a row has reached a shorter term than the row, which stays.

Only a location ends before its record (decision 0013). That it ended needs no mark beside the null: the record's own
moment and the term say so, the same for a stored row, for one that comes late, and for whoever asks.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

import polars as pl

from ingest.record import BY_NAME, category_of
from ingest.sound import anchor
from trafficvault import retention
from trafficvault.policy import Policy


def columns_of(record_class: str, categories: Collection[str]) -> tuple[str, ...]:
    """The columns of `categories`, as the record has them."""
    return tuple(name for name in BY_NAME if category_of(name, record_class) in categories)


def without(rows: pl.DataFrame, record_class: str, categories: Collection[str], which: pl.Series) -> pl.DataFrame:
    """`rows` with null for what is of `categories`, in the rows that `which` marks."""
    names = [name for name in columns_of(record_class, categories) if name in rows.columns]
    return rows.with_columns(pl.when(~which).then(pl.col(name)).alias(name) for name in names)


def without_ended(rows: pl.DataFrame, record_class: str, rules: Policy, now: datetime) -> pl.DataFrame:
    """`rows`, with their anchors, without what of each had reached its own term at `now` by `rules`."""
    for category in rules.early(record_class):
        gone = retention.expired_mask(
            anchor(rows, record_class), rules.require_term(record_class, category), rules.zone, now
        )
        rows = without(rows, record_class, {category}, gone) if gone.any() else rows
    return rows
