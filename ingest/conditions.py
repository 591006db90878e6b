"""Conditions on the fields of a row, parsed with the feed; who carries out its rules asks where they hold.

`ingest.rules` and `ingest.definition` parse what a `when` says; `ingest.columns`, `ingest.parties` and `ingest.read`
ask where it holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from ingest.table import Table


@dataclass(frozen=True, slots=True)
class Condition:
    """What must hold of a field: one of `values` (`negated`: none), a match, empty or not, as another field or not."""

    field: str
    values: tuple[str, ...] | None = None
    negated: bool = False
    pattern: str | None = None
    empty: bool | None = None
    same: str | None = None
    differs: str | None = None

    def uses(self) -> set[str]:
        """Every field that this condition reads."""
        return {name for name in (self.field, self.same, self.differs) if name is not None}


def parse_conditions(table: Table | None) -> tuple[Condition, ...]:
    """The conditions of a `when` table; all must hold."""
    return tuple(_condition(table, name) for name in table.names()) if table else ()


def _condition(table: Table, name: str) -> Condition:
    value = table.take(name)
    if not isinstance(value, dict):
        words = table.texts(name)
        return Condition(name, empty=True) if words == ("",) else Condition(name, values=words)
    inner = table.table(name)
    assert inner is not None  # noqa: S101  the value is a dict
    found = Condition(
        name,
        values=inner.texts("not") or None,
        negated="not" in inner,
        pattern=inner.pattern("pattern"),
        empty=inner.flag("empty") if "empty" in inner else None,
        same=inner.text("same"),
        differs=inner.text("differs"),
    )
    inner.done()
    given = (found.values, found.pattern, found.empty, found.same, found.differs)
    if sum(value is not None for value in given) != 1:
        raise table.refuse(name, "must be values, or a table with one of not, pattern, empty, same, differs")
    return found


def holds(conditions: Iterable[Condition], names: Iterable[str]) -> pl.Expr:
    """Whether all `conditions` hold; of a field that is not among `names` only that it is empty."""
    known = set(names)

    def column(name: str) -> pl.Expr:
        return pl.col(name) if name in known else pl.lit(None, dtype=pl.String)

    met = pl.lit(value=True)
    for condition in conditions:
        field = column(condition.field)
        if condition.empty is not None:
            met &= field.is_null() if condition.empty else field.is_not_null()
        elif condition.pattern is not None:
            met &= field.str.contains(condition.pattern).fill_null(value=False)
        elif condition.same is not None:
            met &= (field == column(condition.same)).fill_null(value=False)
        elif condition.differs is not None:
            met &= field.ne_missing(column(condition.differs))
        else:
            among = field.is_in(condition.values or ()).fill_null(value=False)
            met &= ~among if condition.negated else among
    return met
