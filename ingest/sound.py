"""Soundness, for `ingest.read`: what the columns of one mapped row must say of each other and of its arrival.

A row that is not sound is a rejection with a reason.

A day is given by the anchor, but whoever searches reads the other times too, so none of them may lie where nothing has
happened yet. The anchor, and the start of an interval, may be 15 minutes behind the arrival (clocks differ), any other
time a day: an end is often computed, out of a duration that a fault of the source makes long.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import polars as pl

from ingest.record import INTERVAL_CLASSES

NO_START: Final = "no start"
FUTURE: Final = "future"
EARLY_REPORT: Final = "report before start"
PORTS: Final = "port_to before port_from"
PREFIX: Final = "prefix_length is over 32 for an IPv4 address"
TOLERANCE: Final = timedelta(minutes=15)
"""A record whose anchor lies further than this behind its arrival is rejected: a wrong clock buys no longer life."""
REACH: Final = timedelta(days=1)
"""As `TOLERANCE`, for the times that are no anchor."""
EVENT_ANCHOR: Final = ("start",)
INTERVAL_ANCHOR: Final = ("end", "reported_at", "start")

_MOMENT: Final = pl.Datetime("us", "UTC")
_OTHERS: Final = ("end", "answer", "reported_at")
_IPV4: Final = b"\0" * 10 + b"\xff\xff"


def anchor(records: pl.DataFrame, record_class: str) -> pl.Series:
    """The moment that puts each record of `record_class` on its day: the start; of intervals end or latest report."""
    names = INTERVAL_ANCHOR if record_class in INTERVAL_CLASSES else EVENT_ANCHOR
    columns = [records[name] for name in names if name in records.columns]
    if not columns:
        return pl.Series("anchor", [None], dtype=_MOMENT).new_from_index(0, records.height)
    if len(columns) == 1 or not columns[0].null_count():
        return columns[0].alias("anchor")
    return records.select(pl.coalesce([column.name for column in columns]).alias("anchor")).to_series()


def ended(mapped: pl.DataFrame, record_class: str) -> pl.DataFrame:
    """`mapped` with the end of each interval that tells a start and a duration alone.

    An interval's day is that of its end, and who may not see its duration must not take it for one still open.
    """
    if not {"start", "duration_ms"} <= set(mapped.columns):
        return mapped
    told = [pl.col(name).is_null() for name in ("end", "reported_at") if name in mapped.columns]
    silent = pl.all_horizontal([pl.col(record_class).is_in(INTERVAL_CLASSES), *told])
    end = pl.col("start") + pl.duration(milliseconds=pl.col("duration_ms"))
    kept = pl.col("end") if "end" in mapped.columns else pl.lit(None, dtype=pl.Datetime("us", "UTC"))
    return mapped.with_columns(pl.when(silent).then(end).otherwise(kept).alias("end"))


def contradiction(mapped: pl.DataFrame, record_class: str, arrived: datetime) -> pl.Expr:
    """Why a row of `mapped`, whose class stands in the column `record_class`, is no record; null for the others."""
    given = set(mapped.columns)

    def first(names: tuple[str, ...]) -> pl.Expr:
        present = [pl.col(name) for name in names if name in given]
        return pl.coalesce(present) if present else pl.lit(None, dtype=pl.Datetime("us", "UTC"))

    interval = pl.col(record_class).is_in(INTERVAL_CLASSES)
    moment = pl.when(interval).then(first(INTERVAL_ANCHOR)).otherwise(first(EVENT_ANCHOR))
    late = moment > arrived + TOLERANCE
    if "start" in given:
        late |= (pl.col("start") > arrived + TOLERANCE).fill_null(value=False)
    for name in _OTHERS:
        if name in given:
            late |= (pl.col(name) > arrived + REACH).fill_null(value=False)
    reason = pl.when(moment.is_null()).then(pl.lit(NO_START)).when(late).then(pl.lit(FUTURE))
    if {"start", "reported_at"} <= given:
        reason = reason.when(interval & (pl.col("start") > pl.col("reported_at"))).then(pl.lit(EARLY_REPORT))
    if {"port_from", "port_to"} <= given:
        reason = reason.when(pl.col("port_from") > pl.col("port_to")).then(pl.lit(PORTS))
    if {"prefix_length", "public_ip"} <= given:
        long = (pl.col("prefix_length") > 32) & pl.col("public_ip").cast(pl.Binary).bin.starts_with(_IPV4)
        reason = reason.when(long).then(pl.lit(PREFIX))
    return reason
