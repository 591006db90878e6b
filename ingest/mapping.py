"""Carries out the rules of a feed for `ingest.read`: text columns as the reader gave them in, canonical columns out.

Whole columns at a time, in this order, because each step reads what the former wrote:

1. the customer, which says whose the extensions are, then parties, then the other values that depend on the row alone:
   field, pattern, map, form;
2. times: first those that stand in a field, then those that are near or after another time;
3. extra columns, class, record id.

A value that is not of its form makes the row a rejection whose reason names the canonical column, never the value. So
does an extension or a customer that is not the source's own (`ingest.parties`). Fields keep their names; a canonical
column is written as `=name` until the end, so that the two never meet (`ingest.columns`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

import polars as pl

from ingest import countries, moments, nested
from ingest.columns import Columns, out
from ingest.errors import FeedError
from ingest.forms import device, read_form
from ingest.parties import Parties
from ingest.raw import READ_NOTE, ROW
from ingest.record import BY_NAME, CLASSES, DISCLOSABLE
from ingest.rules import DURATION_KINDS, KINDS, PARTIES, TIME_KINDS, After, Rule
from ingest.source import Source

if TYPE_CHECKING:
    from ingest.feed import Feed

TIME: Final = pl.Datetime("us", "UTC")
CLASS: Final = "!class"
REASON: Final = "!reason"
IDENTIFIED: Final = "!identified"
"""Columns beside the canonical ones: the retention class, why a row is a rejection, whether it has an identity."""

_ALONE: Final = frozenset(KINDS) - {*TIME_KINDS, "party", "withheld", "parties"}
_TOGETHER: Final = ("imei", "a_asserted", "other_parties", "customer")
"""Kinds whose value depends on its text alone; columns that more than their own rules write or check."""
_OFFSET_OF: Final = ("start", "end", "reported_at", "answer")
"""The time whose offset a record tells: the first of these that has one."""


def canonical(
    fields: pl.DataFrame, feed: Feed, source: Source, shape: str | None, latest: datetime | None = None
) -> pl.DataFrame:
    """The canonical columns of `fields`, with `row`, `read_note`, `class`, `reason` and `identified`.

    A row whose `reason` is not null is a rejection; its other columns mean nothing. `latest` is the last moment that
    can be true: a time in an assumed zone is not behind it where another zone of its country is not. Raises
    `FeedError` when the source names identity fields that the feed does not have.
    """
    return _Mapping(fields, feed, source, shape, latest).carried_out()


class _Mapping:
    """One run over one file."""

    def __init__(
        self, fields: pl.DataFrame, feed: Feed, source: Source, shape: str | None, latest: datetime | None
    ) -> None:
        self.columns = Columns(fields, shape)
        self.feed, self.source, self.latest = feed, source, latest
        self.parties = Parties(self.columns, source, source.number_plan or feed.number_plan)
        self.extras: dict[str, list[tuple[str, str]]] = {name: [] for name in DISCLOSABLE}
        self.told: dict[str, dict[str, list[pl.Expr]]] = {}

    def carried_out(self) -> pl.DataFrame:
        """Runs the steps in their order."""
        groups = [[rule for rule in rules if self.columns.applies(rule)] for rules in self.feed.columns]
        groups = [rules for rules in groups if rules]
        for rules in groups:
            if rules[0].column == "customer":
                self._values(rules)
                self.parties.reject_other_customers()
        for rules in groups:
            if rules[0].column in PARTIES:
                self.parties.write(rules)
        for rules in groups:
            if rules[0].column not in (*PARTIES, "customer") and not _is_time(rules):
                self._values(rules)
        for rules in moments.in_order([rules for rules in groups if _is_time(rules)]):
            self._time(rules)
        self._told_by_times()
        self._extras()
        self._class()
        self._identity()
        reason = pl.coalesce([pl.lit(reason) for reason in self.columns.reasons] or [pl.lit(None, dtype=pl.String)])
        written = [pl.col(name).alias(name[1:]) for name in self.columns.frame.columns if name.startswith("=")]
        return self.columns.frame.select(ROW, READ_NOTE, *written, CLASS, IDENTIFIED, reason.alias(REASON))

    # --- values -------------------------------------------------------------------------------------------------------

    def _values(self, rules: list[Rule]) -> None:
        """As `_value`; a column that one field of few words decides is worked out once per word."""
        column, columns = rules[0].column, self.columns
        alone = all(rule.kind in _ALONE and rule.invalid != "extra" and rule.unlike is None for rule in rules)
        field = columns.sole(rules) if alone and column not in _TOGETHER else None
        words = columns.words(field) if field and out(column) not in columns.frame.columns else None
        if words is None or words.once.height == columns.frame.height:
            self._value(rules)
            return
        once = _Mapping(words.once, self.feed, self.source, columns.shape, self.latest)
        once._value(rules)
        columns.put(out(column), words.gathered(once.columns.frame[out(column)]))
        columns.reasons += [words.gathered(reason) for reason in once.columns.reasons]

    def _value(self, rules: list[Rule]) -> None:
        """One canonical column out of its rules; the first that gives a value counts."""
        column = rules[0].column
        values: list[str] = []
        for rule in rules:
            if rule.constant is not None:
                values.append(self.columns.keep(self.columns.when(rule, pl.lit(rule.constant))))
                continue
            text = self.columns.text(rule)
            value = self.columns.keep(self._formed(rule, text))
            if rule.kind not in ("party", "withheld"):  # these always have an answer
                self._invalid(rule, text, value, values)
            if rule.unlike is not None:
                self.columns.put(value, pl.when(pl.col(value).ne_missing(pl.col(out(rule.unlike)))).then(value))
            values.append(value)
        if column == "other_parties" and rules[0].kind == "party":
            self.columns.put(
                out(column), nested.gathered([rule.role or "" for rule in rules], [pl.col(name) for name in values])
            )
        else:
            before = [out(column)] if out(column) in self.columns.frame.columns else []
            self.columns.put(out(column), pl.coalesce([*values, *before]))
        if column in ("a_asserted", "other_parties"):
            self.parties.reject_foreign(column)
        self.columns.closed(column)

    def _formed(self, rule: Rule, name: str) -> pl.Expr | pl.Series:
        """The value in the text of column `name`, null where it is not of the form of `rule`."""
        text = pl.col(name)
        if rule.kind in ("party", "withheld"):
            found = pl.col(self.columns.where(name, self.parties.read(rule, text))).struct
            mine = text.is_not_null() & (found.field("withheld") if rule.kind == "withheld" else pl.lit(value=True))
            number = self.parties.owned(found.field("number"), found.field("kind"))
            return pl.when(mine).then(pl.lit(value=True) if rule.kind == "withheld" else number)
        if rule.column == "imei":
            found = pl.col(self.columns.keep(device(text))).struct
            raw = self.columns.field("imei_raw") if rule.canonical else pl.lit(None, dtype=pl.String)
            self.columns.put(out("imei_raw"), pl.coalesce(raw, found.field("imei_raw")))
            return found.field("imei")
        if rule.kind in DURATION_KINDS:
            return self.columns.whole(name, rule.kind)
        return read_form(self.columns.frame, rule, name)

    def _invalid(self, rule: Rule, text: str, value: str, before: list[str]) -> None:
        """What becomes of a text that is not of its form, where no rule `before` gave a value."""
        if self.columns.frame[value].null_count() == self.columns.frame[text].null_count():
            return
        wrong = (pl.col(text).str.strip_chars() != "") & pl.col(value).is_null()
        if before:
            wrong &= pl.all_horizontal(pl.col(name).is_null() for name in before)
        if rule.invalid == "reject":
            self.columns.reject(wrong, f"{rule.column} is not of its form")
        elif rule.invalid == "extra":
            kept = self.columns.keep(pl.when(wrong).then(pl.col(text)))
            self.extras[BY_NAME[rule.column].category].append((rule.fields[0], kept))

    # --- times --------------------------------------------------------------------------------------------------------

    def _time(self, rules: list[Rule]) -> None:
        """One time column, and what it tells of offset, precision and doubt."""
        column = rules[0].column
        values: list[str] = []
        told: dict[str, list[pl.Expr]] = {"utc_offset": [], "time_note": [], "time_precision": []}
        precise: list[tuple[pl.Expr, pl.Expr]] = []
        for rule in rules:
            if rule.after is not None:
                values.append(self.columns.keep(self.columns.when(rule, self._moment(rule.after, column))))
                continue
            text = self.columns.text(rule)
            hint = self._hint(rule, column)
            duration = pl.col(self._duration(rule.duration, column)) if rule.duration else None
            found = self.columns.where(
                text, moments.read(rule, text, self.source.zone, self.columns.names, hint=hint, duration=duration)
            )
            if rule.zone is not None and self.latest is not None:
                found = self._eastmost(rule, text, found)
            struct = pl.col(found).struct
            value = self.columns.keep(struct.field("utc"))
            if not self.columns.frame[found].struct.field("ok").all():
                wrong = ~struct.field("ok")
                if values:
                    wrong &= pl.all_horizontal(pl.col(name).is_null() for name in values)
                self.columns.reject(wrong & struct.field("missing"), f"{column} is a local time that did not exist")
                self.columns.reject(wrong & ~struct.field("missing"), f"{column} is not a time")
            values.append(value)
            told["time_note"].append(struct.field("note"))
            precise.append((moments.told_precision(rule, text), pl.col(value).is_not_null()))
            if rule.kind != "epoch":
                told["utc_offset"].append(struct.field("utc_offset"))
        if precise and all(one.meta.eq(precise[0][0]) for one, _ in precise):
            precise = [(precise[0][0], pl.any_horizontal(known for _, known in precise))]
        told["time_precision"] = [pl.when(known).then(one) for one, known in precise]
        self.columns.put(out(column), pl.coalesce(values))
        self.told[column] = told

    def _eastmost(self, rule: Rule, text: str, found: str) -> str:
        """The times `found`, in the eastmost zone of their country where an assumed one puts them behind `latest`."""
        late = pl.col(found).struct.field("utc") > self.latest
        if not self.columns.frame.select(late.any()).item():
            return found
        guessed = self.columns.keep(pl.when(late & moments.told_no_zone(rule, self.columns.names)).then(pl.col(text)))
        if self.columns.frame[guessed].null_count() == self.columns.frame.height:
            return found
        east = self.columns.where(
            guessed, moments.read(rule, guessed, self.source.zone, self.columns.names, zone_of=countries.eastmost)
        )
        return self.columns.keep(
            pl.when(pl.col(east).struct.field("utc") <= self.latest).then(pl.col(east)).otherwise(pl.col(found))
        )

    def _hint(self, rule: Rule, column: str) -> pl.Expr | None:
        """Epoch seconds near the time, where the feed tells them."""
        near = rule.near
        if near is None:
            return None
        if near.after is not None:
            return self._moment(near.after, column).dt.epoch("s")
        fields = [pl.col(name) for name in near.fields if name in self.columns.names]
        if not fields:
            return None
        text = pl.coalesce(fields)
        return (text.str.extract(near.pattern, 1) if near.pattern else text).cast(pl.Int64, strict=False)

    def _moment(self, after: After, column: str) -> pl.Expr:
        plus, minus = (
            pl.col(self._duration(rule, column)) if rule and self.columns.applies(rule) else None
            for rule in (after.plus, after.minus)
        )
        if out(after.column) not in self.columns.frame.columns:  # the shape lacks its field
            return pl.lit(None, dtype=TIME)
        return moments.moment(after, out(after.column), plus, minus)

    def _duration(self, rule: Rule, column: str) -> str:
        """The name of a temporary column with the milliseconds that `rule` takes."""
        text = self.columns.text(rule)
        value = self.columns.keep(self.columns.whole(text, rule.kind))
        if self.columns.frame[value].null_count() > self.columns.frame[text].null_count():
            wrong = (pl.col(text).str.strip_chars() != "") & pl.col(value).is_null()
            self.columns.reject(wrong, f"a duration for {column} is not of its form")
        return value

    def _told_by_times(self) -> None:
        columns = self.columns.frame.columns
        for name in ("utc_offset", "time_note", "time_precision"):
            times = _OFFSET_OF if name != "time_precision" else ("start",)
            values = [value for time in times for value in self.told.get(time, {}).get(name, [])]
            if values:
                before = [pl.col(out(name))] if out(name) in columns else []
                told = pl.coalesce(values)
                if name == "utc_offset":
                    told = told.cast(pl.Int64)
                self.columns.put(out(name), pl.coalesce([*before, told]))
        if out("start") in columns and out("end") in columns:
            self.columns.reject(pl.col(out("end")) < pl.col(out("start")), "end before start")

    # --- the rest -----------------------------------------------------------------------------------------------------

    def _extras(self) -> None:
        for category in DISCLOSABLE:
            kept = [(name, name) for name in self.feed.extra.get(category, ()) if name in self.columns.names]
            found = nested.object_of(self.columns.frame, [*kept, *self.extras[category]])
            if found is not None:
                name = out(f"extra_{category}")
                before = [pl.col(name)] if name in self.columns.frame.columns else []
                self.columns.put(name, pl.coalesce([*before, pl.lit(found)]))

    def _class(self) -> None:
        default = self.source.record_class or self.feed.record_class
        told = self.columns.field(self.feed.class_column) if self.feed.class_column else pl.lit(None, dtype=pl.String)
        self.columns.put(CLASS, pl.coalesce(told, pl.lit(default, dtype=pl.String)))
        if self.feed.class_column:
            self.columns.reject(pl.col(CLASS).is_null(), "no class")
            self.columns.reject(~pl.col(CLASS).is_in(CLASSES), "unknown class")

    def _identity(self) -> None:
        """Whether a row has an identity, and its record id."""
        own, identity = self.source.identity, self.feed.identity
        fields = own if own is not None else identity.fields
        optional, hidden = (identity.optional, identity.hidden) if own is None else (frozenset(), frozenset())
        strange = set(fields) - set(self.feed.fields())
        if strange:
            raise FeedError(
                f"source {self.source.name} names {sorted(strange)[0]!r} as identity, which is no field of its feed"
            )
        needed = [name for name in fields if name not in optional]
        if not needed or not set(needed) <= self.columns.names:
            self.columns.put(IDENTIFIED, pl.lit(value=False))
            return
        self.columns.put(IDENTIFIED, pl.all_horizontal(pl.col(name).is_not_null() for name in needed))
        shown = [pl.col(name).fill_null("") for name in fields if name in self.columns.names and name not in hidden]
        if len(fields) == 1 and not hidden:
            joined = pl.col(fields[0])
        else:
            joined = pl.when(IDENTIFIED).then(pl.concat_str(shown, separator="/"))
        given = [pl.col(out("record_id"))] if out("record_id") in self.columns.frame.columns and own is None else []
        self.columns.put(out("record_id"), pl.coalesce([*given, joined]))


def _is_time(rules: Sequence[Rule]) -> bool:
    return any(rule.kind in TIME_KINDS for rule in rules)
