"""Parties of a record by the rules of a feed, and whose the extensions among them are; `ingest.mapping` calls it.

`ingest.numbers` reads one column of numbers; here stand the choices that a feed and its source make around that. A file
speaks for the customer of its source, so an extension of another owner makes the row a rejection. Only a source without
a customer, the operator's own, may tell one per record; extensions are then of that customer, and of the source where
the record tells none.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import polars as pl

from ingest.columns import Columns, out
from ingest.forms import area_code
from ingest.numbers import party, party_by_nature
from ingest.raw import ROW
from ingest.rules import Rule
from ingest.source import NumberPlan, Source

_E164: Final = r"^\+[1-9][0-9]{6,14}$"
_EXTENSION: Final = "^[0-9]+@"
"""What is an extension with its owner where no kind is told; a SIP address has its scheme before it."""
_FOREIGN: Final = "extension of another customer"


class Parties:
    """The parties among `columns`, read by `plan`; the customer that records tell is written before them."""

    def __init__(self, columns: Columns, source: Source, plan: NumberPlan) -> None:
        self._columns, self._source, self._plan = columns, source, plan
        self._named = source.customer or source.name

    def reject_other_customers(self) -> None:
        """The customer that a record tells may be no other than that of its source."""
        if self._source.customer is not None:
            self._columns.reject(pl.col(out("customer")) != self._source.customer, "customer is not that of the source")

    def read(self, rule: Rule, text: pl.Expr) -> pl.Expr:
        """The party in `text`, by the number plan or the nature of address."""
        plan = self._plan if rule.bare is None else replace(self._plan, bare=rule.bare)
        if rule.nature is None or rule.nature not in self._columns.names:
            return party(text, plan, self._source.region, self._named)
        area = area_code(rule, plan.national) if rule.area in self._columns.names else None
        return party_by_nature(
            text, pl.col(rule.nature), rule.natures or {}, plan, self._source.region, self._named, area=area
        )

    def owned(self, number: pl.Expr, kind: pl.Expr) -> pl.Expr:
        """`number` as the number plan gave it, an extension under the owner of its row instead of that of the file."""
        if self._source.customer is not None or out("customer") not in self._columns.frame.columns:
            return number
        theirs = number.str.strip_suffix(f"@{self._named}") + "@" + self._owner()
        return pl.when(kind == "extension").then(theirs).otherwise(number)

    def write(self, rules: list[Rule]) -> None:
        """Number, kind and raw of one party, and what it tells of the call."""
        column, first = rules[0].column, rules[0]
        texts = [self._columns.text(rule) for rule in rules]
        text = texts[0] if len(texts) == 1 else self._columns.keep(pl.coalesce(texts))
        found = self._columns.where(text, self.read(first, pl.col(text)))
        struct = pl.col(found).struct
        self._columns.put(out(f"{column}_number"), self.owned(struct.field("number"), struct.field("kind")))
        for part in ("kind", "raw"):
            self._columns.put(out(f"{column}_{part}"), struct.field(part))
        if first.canonical:
            self._canonical_party(column)
        withheld = pl.col(found).struct.field("withheld") | pl.col(text).is_null()
        answering = [rule for rule in rules if rule.empty == "withheld" and not rule.canonical]
        absent = [self._columns.holds(rule.when) for rule in answering]
        withheld &= pl.any_horizontal(pl.col(text).is_not_null(), *absent)
        if column == "a":
            self._columns.put(out("cli_withheld"), pl.when(withheld).then(pl.lit(value=True)))
        if column == "b":
            emergency = pl.col(found).struct.field("emergency")
            self._columns.put(out("emergency"), pl.when(emergency).then(pl.lit(value=True)))

    def reject_foreign(self, column: str) -> None:
        """Rejects an extension of another owner in a column that has no kind beside its number."""
        if column == "a_asserted":
            number = pl.col(out(column))
            self._columns.reject(number.str.contains(_EXTENSION) & self._foreign(number), _FOREIGN)
            return
        if self._columns.frame[out(column)].null_count() == self._columns.frame.height:
            return
        listed = self._columns.frame.select(ROW, owner=self._owner(), party=pl.col(out(column))).explode("party")
        number, before = pl.col("number"), pl.col("number").str.strip_suffix(pl.lit("@") + pl.col("owner"))
        listed = listed.with_columns(number=pl.col("party").struct.field("number"))
        foreign = listed.filter(number.str.contains(_EXTENSION) & before.str.contains("@", literal=True))
        self._columns.reject(pl.col(ROW).is_in(foreign[ROW].unique().to_list()), _FOREIGN)

    def _canonical_party(self, column: str) -> None:
        """A party in its normal form: a kind that is told holds, and the number must be of it."""
        number, kind, raw = (self._columns.field(f"{column}_{part}") for part in ("number", "kind", "raw"))
        told = kind.is_not_null()
        self._columns.reject(told & number.is_null(), f"{column}_kind without {column}_number")
        self._columns.reject((kind == "e164") & ~number.str.contains(_E164), f"{column}_number is not of its form")
        extension = kind == "extension"
        self._columns.reject(extension & number.str.contains("^(@|$)"), f"{column}_number is not of its form")
        self._columns.reject(extension & self._foreign(number), _FOREIGN)
        mine = pl.when(extension & ~number.str.contains("@", literal=True)).then(number + "@" + self._owner())
        self._columns.put(
            out(f"{column}_number"), pl.when(told).then(pl.coalesce(mine, number)).otherwise(out(f"{column}_number"))
        )
        self._columns.put(out(f"{column}_kind"), pl.when(told).then(kind).otherwise(out(f"{column}_kind")))
        self._columns.put(
            out(f"{column}_raw"), pl.when(told).then(raw).otherwise(pl.coalesce(raw, out(f"{column}_raw")))
        )
        self._columns.closed(f"{column}_kind")

    def _owner(self) -> pl.Expr:
        """Whose the extensions of a row are."""
        if self._source.customer is None and out("customer") in self._columns.frame.columns:
            return pl.coalesce(pl.col(out("customer")), pl.lit(self._named))
        return pl.lit(self._named)

    def _foreign(self, number: pl.Expr) -> pl.Expr:
        """Whether the extension `number` names an owner that is not the row's."""
        before = number.str.strip_suffix(pl.lit("@") + self._owner())
        return number.str.contains("@", literal=True) & before.str.contains("@", literal=True)
