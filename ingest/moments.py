"""Moments, for `ingest.mapping`: times by the rules of a feed, with their zone and what settles a doubled local hour.

`ingest.times` reads one column in one zone; here stand the choices that a feed makes around that.
`ingest.feed` asks for their order alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import polars as pl

from ingest.countries import country_zone, has_one_zone
from ingest.errors import FeedError
from ingest.rules import After, Rule
from ingest.times import epoch, iso, local, precision

DERIVED: Final = "derived"
ASSUMED: Final = "zone assumed"


def in_order(groups: Sequence[list[Rule]]) -> list[list[Rule]]:
    """The rules of the time columns, each column after those it is computed from or near to.

    Raises `FeedError` for a column that waits for itself.
    """
    left: list[list[Rule]] = list(groups)
    done: set[str] = set()
    ordered: list[list[Rule]] = []
    filled = {rules[0].column for rules in groups}
    while left:
        ready = [rules for rules in left if not (_needs(rules) & filled) - done]
        if not ready:
            raise FeedError(f"{left[0][0].column} is computed from a time that is computed from it")
        ordered += ready
        done |= {rules[0].column for rules in ready}
        left = [rules for rules in left if rules not in ready]
    return ordered


def _needs(rules: Sequence[Rule]) -> set[str]:
    moments = [after for rule in rules for after in (rule.after, rule.near.after if rule.near else None)]
    return {after.column for after in moments if after}


def moment(after: After, column: str, plus: pl.Expr | None, minus: pl.Expr | None) -> pl.Expr:
    """The time in `column` moved by `plus` and `minus` milliseconds; null where the feed names one that a row lacks."""
    time = pl.col(column)
    if after.plus is not None:
        time = time + pl.duration(milliseconds=plus if plus is not None else pl.lit(None, dtype=pl.Int64))
    if after.minus is not None:
        time = time - pl.duration(milliseconds=minus if minus is not None else pl.lit(None, dtype=pl.Int64))
    return time


def read(
    rule: Rule,
    text: str,
    zone: str,
    names: frozenset[str],
    *,
    hint: pl.Expr | None = None,
    duration: pl.Expr | None = None,
    zone_of: Callable[[pl.Expr], pl.Expr] = country_zone,
) -> pl.Expr:
    """The times in the column `text`, as the struct of `ingest.times`; without an offset local in `zone`.

    `names` are the fields there are, `hint` is in epoch seconds, `duration` in milliseconds. A feed may take the zone
    of each row from a TADIG code: a row without an offset is then local to that country by `zone_of`, and noted
    `derived`; where that gives none (the country has several zones, or is not told) it is local in `zone`, and noted
    `zone assumed`.
    """
    raw = pl.col(text)
    if rule.kind == "epoch":
        return epoch(raw, rule.unit)
    if rule.kind == "iso_time":
        return iso(raw, zone)
    offset = pl.col(rule.offset) if rule.offset in names else None
    end = pl.col(rule.end) if rule.end in names else None
    place = zone_of(pl.col(rule.zone)).fill_null(zone) if rule.zone in names else zone
    found = local(raw, rule.format or "", place, duration, hint, offset, end=end)
    if rule.zone is None:
        return found
    note = pl.when(pl.field("utc").is_not_null()).then(_told_note(rule, pl.field("note"), names))
    return found.struct.with_fields(note=note)


def _told_note(rule: Rule, note: pl.Expr, names: frozenset[str]) -> pl.Expr:
    """`note`, or how the zone of a time was found where the feed takes it from a country and no offset is told."""
    unzoned = pl.col(rule.offset).is_null() if rule.offset in names else pl.lit(value=True)
    how = pl.when(told_no_zone(rule, names)).then(pl.lit(ASSUMED)).when(unzoned).then(pl.lit(DERIVED))
    return pl.coalesce(note, how)


def told_no_zone(rule: Rule, names: frozenset[str]) -> pl.Expr:
    """Where neither an offset nor the country of a row tells its zone, so that the source's own is assumed."""
    unzoned = pl.col(rule.offset).is_null() if rule.offset in names else pl.lit(value=True)
    return unzoned & ~has_one_zone(pl.col(rule.zone)) if rule.zone in names else unzoned


def told_precision(rule: Rule, text: str) -> pl.Expr:
    """How precise the time is: what the feed says, else its unit, its format, or the decimals of an RFC 3339 time."""
    if rule.precision is not None:
        return pl.lit(rule.precision)
    if rule.kind == "epoch":
        return pl.lit(rule.unit)
    if rule.kind == "local_time":
        return pl.lit(precision(rule.format or ""))
    decimals = pl.col(text).str.extract(r"[.]([0-9]+)", 1).str.len_bytes().fill_null(0)
    return pl.when(decimals == 0).then(pl.lit("s")).when(decimals <= 3).then(pl.lit("ms")).otherwise(pl.lit("us"))
