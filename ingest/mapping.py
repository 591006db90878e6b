"""Carries out the rules of a feed: text columns as the reader gave them in, canonical columns and reasons out.

Whole columns at a time, in this order, because each step reads what the former wrote:

1. the customer, which says whose the extensions are, then parties, then the other values that depend on the row alone:
   field, pattern, map, form;
2. times: first those that stand in a field, then those that are near or after another time;
3. extra columns, class, record id.

A value that is not of its form makes the row a rejection whose reason names the canonical column, never the value.
So does an extension or a customer that is not the source's own: a file speaks for the customer of its source. Only a
source without a customer, the operator's own, may tell one per record; extensions are then of that customer, and of the
source where the record tells none.
Fields keep their names; a canonical column is written as `=name` until the end, so that the two never meet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

import polars as pl

from ingest import countries, moments, nested
from ingest.conditions import holds
from ingest.durations import whole
from ingest.errors import FeedError
from ingest.forms import area_code, device, read_form, wrong_word
from ingest.numbers import party, party_by_nature
from ingest.raw import READ_NOTE, ROW
from ingest.record import BY_NAME, CLASSES, DISCLOSABLE
from ingest.rules import PARTIES, TIME_KINDS, After, Rule
from ingest.source import Source

if TYPE_CHECKING:
    from ingest.feed import Feed

TIME: Final = pl.Datetime("us", "UTC")
CLASS: Final = "!class"
REASON: Final = "!reason"
IDENTIFIED: Final = "!identified"
"""Columns beside the canonical ones: the retention class, why a row is a rejection, whether it has an identity."""

_PLACE: Final = "~place"
_E164: Final = r"^\+[1-9][0-9]{6,14}$"
_EXTENSION: Final = "^[0-9]+@"
"""What is an extension with its owner where no kind is told; a SIP address has its scheme before it."""
_FOREIGN: Final = "extension of another customer"
_OFFSET_OF: Final = ("start", "end", "reported_at", "answer")
"""The time whose offset a record tells: the first of these that has one."""


def out(name: str) -> str:
    """The name of a canonical column while fields stand beside it."""
    return f"={name}"


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
    """One run over one file; `frame` grows a column at a time."""

    def __init__(
        self, fields: pl.DataFrame, feed: Feed, source: Source, shape: str | None, latest: datetime | None
    ) -> None:
        self.frame = fields
        self.feed, self.source, self.shape, self.latest = feed, source, shape, latest
        self.plan = source.number_plan or feed.number_plan
        self.owner = source.customer or source.name
        self.names = frozenset(fields.columns)
        self.reasons: list[pl.Series] = []
        self.extras: dict[str, list[tuple[str, str]]] = {name: [] for name in DISCLOSABLE}
        self.told: dict[str, dict[str, list[pl.Expr]]] = {}
        self.temporary = 0

    def carried_out(self) -> pl.DataFrame:
        """Runs the steps in their order."""
        groups = [[rule for rule in rules if self._applies(rule)] for rules in self.feed.columns]
        groups = [rules for rules in groups if rules]
        for rules in groups:
            if rules[0].column == "customer":
                self._customer(rules)
        for rules in groups:
            if rules[0].column in PARTIES:
                self._party(rules)
        for rules in groups:
            if rules[0].column not in (*PARTIES, "customer") and not _is_time(rules):
                self._value(rules)
        for rules in moments.in_order([rules for rules in groups if _is_time(rules)]):
            self._time(rules)
        self._told_by_times()
        self._extras()
        self._class()
        self._identity()
        reason = pl.coalesce([pl.lit(reason) for reason in self.reasons] or [pl.lit(None, dtype=pl.String)])
        columns = [pl.col(name).alias(name[1:]) for name in self.frame.columns if name.startswith("=")]
        return self.frame.select(ROW, READ_NOTE, *columns, CLASS, IDENTIFIED, reason.alias(REASON))

    def _applies(self, rule: Rule) -> bool:
        if rule.shapes and self.shape not in rule.shapes:
            return False
        return not rule.fields or any(name in self.names for name in rule.fields)

    def _reject(self, wrong: pl.Expr, reason: str) -> None:
        """Notes `reason` for the rows where `wrong` holds."""
        rows = self.frame.select(wrong.fill_null(value=False).alias("wrong"))
        if rows["wrong"].any():
            self.reasons.append(rows.select(pl.when("wrong").then(pl.lit(reason))).to_series())

    def _put(self, name: str, value: pl.Expr | pl.Series) -> None:
        self.frame = self.frame.with_columns(value.alias(name))

    def _keep(self, value: pl.Expr | pl.Series) -> str:
        """The name of a new temporary column that holds `value`."""
        self.temporary += 1
        self._put(f"~{self.temporary}", value)
        return f"~{self.temporary}"

    def _where(self, text: str, value: pl.Expr) -> str:
        """As `_keep`, with `value` computed for the rows that have a text alone, and once per text where that is all.

        Most rules meet few rows or all of them, and a subscriber's number stands in many rows.
        """
        read = list(dict.fromkeys(value.meta.root_names()))
        texts = self.frame[text]
        kinds: int = self.frame.select(pl.col(text).approx_n_unique()).item()
        if read == [text] and kinds < self.frame.height // 4:
            distinct = texts.unique().alias(text).to_frame()
            found = distinct.select(value).to_series()
            keys = distinct.with_row_index(_PLACE)
            place = self.frame.select(text).join(keys, on=text, how="left", nulls_equal=True, maintain_order="left")
            return self._keep(found.gather(place[_PLACE]))
        if texts.null_count() < self.frame.height // 8:
            return self._keep(value)
        present = texts.is_not_null()
        found = self.frame.select(read).filter(present).select(value).to_series()
        at = present.cum_sum().cast(pl.Int64) - 1
        return self._keep(found.gather(at.set(~present, None)))

    # --- texts --------------------------------------------------------------------------------------------------------

    def _text(self, rule: Rule) -> str:
        """The name of a temporary column with the text that `rule` takes."""
        fields = [pl.col(name) for name in rule.fields if name in self.names]
        if rule.nulls:
            fields = [pl.when(~field.is_in(rule.nulls)).then(field) for field in fields]
        text = fields[0] if len(fields) == 1 else pl.coalesce(fields)
        if rule.join is not None:
            joined = pl.concat_str(fields, separator=rule.join, ignore_nulls=True)
            text = pl.when(pl.any_horizontal(field.is_not_null() for field in fields)).then(joined)
        if rule.pattern is not None:
            text = text.str.extract(rule.pattern, 1)
        name = self._keep(self._when(rule, text))
        return name if rule.values is None else self._mapped(rule, rule.values, name)

    def _mapped(self, rule: Rule, values: dict[str, str], name: str) -> str:
        text = pl.col(name)
        mapped = text.replace_strict(values, default=None, return_dtype=pl.String)
        if rule.otherwise is not None:
            return self._keep(pl.when(text.is_not_null()).then(mapped.fill_null(rule.otherwise)))
        if rule.unknown == "keep":
            return self._keep(pl.coalesce(mapped, text))
        result = self._keep(mapped)
        if rule.unknown == "reject":
            self._reject(text.is_not_null() & pl.col(result).is_null(), f"unknown {rule.fields[0].replace('_', ' ')}")
        return result

    def _when(self, rule: Rule, value: pl.Expr) -> pl.Expr:
        return pl.when(holds(rule.when, self.names)).then(value) if rule.when else value

    # --- whose extensions ---------------------------------------------------------------------------------------------

    def _customer(self, rules: list[Rule]) -> None:
        """The customer that the record tells, which may be no other than that of its source."""
        self._value(rules)
        if self.source.customer is not None:
            self._reject(pl.col(out("customer")) != self.source.customer, "customer is not that of the source")

    def _owner(self) -> pl.Expr:
        """Whose the extensions of a row are."""
        if self.source.customer is None and out("customer") in self.frame.columns:
            return pl.coalesce(pl.col(out("customer")), pl.lit(self.owner))
        return pl.lit(self.owner)

    def _owned(self, number: pl.Expr, kind: pl.Expr) -> pl.Expr:
        """`number` as the number plan gave it, an extension under the owner of its row instead of that of the file."""
        if self.source.customer is not None or out("customer") not in self.frame.columns:
            return number
        theirs = number.str.strip_suffix(f"@{self.owner}") + "@" + self._owner()
        return pl.when(kind == "extension").then(theirs).otherwise(number)

    def _foreign(self, number: pl.Expr) -> pl.Expr:
        """Whether the extension `number` names an owner that is not the row's."""
        before = number.str.strip_suffix(pl.lit("@") + self._owner())
        return number.str.contains("@", literal=True) & before.str.contains("@", literal=True)

    # --- parties ------------------------------------------------------------------------------------------------------

    def _party_of(self, rule: Rule, text: pl.Expr) -> pl.Expr:
        """The party in `text`, by the number plan or the nature of address."""
        plan = self.plan if rule.bare is None else replace(self.plan, bare=rule.bare)
        if rule.nature is None or rule.nature not in self.names:
            return party(text, plan, self.source.region, self.owner)
        area = area_code(rule, plan.national) if rule.area in self.names else None
        return party_by_nature(
            text, pl.col(rule.nature), rule.natures or {}, plan, self.source.region, self.owner, area=area
        )

    def _party(self, rules: list[Rule]) -> None:
        """Number, kind and raw of one party, and what it tells of the call."""
        column, first = rules[0].column, rules[0]
        texts = [self._text(rule) for rule in rules]
        text = texts[0] if len(texts) == 1 else self._keep(pl.coalesce(texts))
        found = self._where(text, self._party_of(first, pl.col(text)))
        struct = pl.col(found).struct
        self._put(out(f"{column}_number"), self._owned(struct.field("number"), struct.field("kind")))
        for part in ("kind", "raw"):
            self._put(out(f"{column}_{part}"), struct.field(part))
        if first.canonical:
            self._canonical_party(column)
        withheld = pl.col(found).struct.field("withheld") | pl.col(text).is_null()
        absent = [holds(rule.when, self.names) for rule in rules if rule.empty == "withheld" and not rule.canonical]
        withheld &= pl.any_horizontal(pl.col(text).is_not_null(), *absent)
        if column == "a":
            self._put(out("cli_withheld"), pl.when(withheld).then(pl.lit(value=True)))
        if column == "b":
            emergency = pl.col(found).struct.field("emergency")
            self._put(out("emergency"), pl.when(emergency).then(pl.lit(value=True)))

    def _canonical_party(self, column: str) -> None:
        """A party in its normal form: a kind that is told holds, and the number must be of it."""
        number, kind, raw = (self._field(f"{column}_{part}") for part in ("number", "kind", "raw"))
        told = kind.is_not_null()
        self._reject(told & number.is_null(), f"{column}_kind without {column}_number")
        self._reject((kind == "e164") & ~number.str.contains(_E164), f"{column}_number is not of its form")
        extension = kind == "extension"
        self._reject(extension & number.str.contains("^(@|$)"), f"{column}_number is not of its form")
        self._reject(extension & self._foreign(number), _FOREIGN)
        mine = pl.when(extension & ~number.str.contains("@", literal=True)).then(number + "@" + self._owner())
        self._put(
            out(f"{column}_number"), pl.when(told).then(pl.coalesce(mine, number)).otherwise(out(f"{column}_number"))
        )
        self._put(out(f"{column}_kind"), pl.when(told).then(kind).otherwise(out(f"{column}_kind")))
        self._put(out(f"{column}_raw"), pl.when(told).then(raw).otherwise(pl.coalesce(raw, out(f"{column}_raw"))))
        self._closed(f"{column}_kind")

    def _field(self, name: str) -> pl.Expr:
        return pl.col(name) if name in self.names else pl.lit(None, dtype=pl.String)

    # --- other values -------------------------------------------------------------------------------------------------

    def _value(self, rules: list[Rule]) -> None:
        """One canonical column out of its rules; the first that gives a value counts."""
        column = rules[0].column
        values: list[str] = []
        for rule in rules:
            if rule.constant is not None:
                values.append(self._keep(self._when(rule, pl.lit(rule.constant))))
                continue
            text = self._text(rule)
            value = self._keep(self._formed(rule, text))
            if rule.kind not in ("party", "withheld"):  # these always have an answer
                self._invalid(rule, text, value, values)
            if rule.unlike is not None:
                self._put(value, pl.when(pl.col(value).ne_missing(pl.col(out(rule.unlike)))).then(value))
            values.append(value)
        if column == "other_parties" and rules[0].kind == "party":
            self._put(
                out(column), nested.gathered([rule.role or "" for rule in rules], [pl.col(name) for name in values])
            )
        else:
            before = [out(column)] if out(column) in self.frame.columns else []
            self._put(out(column), pl.coalesce([*values, *before]))
        if column in ("a_asserted", "other_parties"):
            self._without_kind(column)
        self._closed(column)

    def _without_kind(self, column: str) -> None:
        """Rejects an extension of another owner in a column that has no kind beside its number."""
        if column == "a_asserted":
            number = pl.col(out(column))
            self._reject(number.str.contains(_EXTENSION) & self._foreign(number), _FOREIGN)
            return
        if self.frame[out(column)].null_count() == self.frame.height:
            return
        listed = self.frame.select(ROW, owner=self._owner(), party=pl.col(out(column))).explode("party")
        number, before = pl.col("number"), pl.col("number").str.strip_suffix(pl.lit("@") + pl.col("owner"))
        listed = listed.with_columns(number=pl.col("party").struct.field("number"))
        foreign = listed.filter(number.str.contains(_EXTENSION) & before.str.contains("@", literal=True))
        self._reject(pl.col(ROW).is_in(foreign[ROW].unique().to_list()), _FOREIGN)

    def _formed(self, rule: Rule, name: str) -> pl.Expr | pl.Series:
        """The value in the text of column `name`, null where it is not of the form of `rule`."""
        text = pl.col(name)
        if rule.kind in ("party", "withheld"):
            found = pl.col(self._where(name, self._party_of(rule, text))).struct
            mine = text.is_not_null() & (found.field("withheld") if rule.kind == "withheld" else pl.lit(value=True))
            number = self._owned(found.field("number"), found.field("kind"))
            return pl.when(mine).then(pl.lit(value=True) if rule.kind == "withheld" else number)
        if rule.column == "imei":
            found = pl.col(self._keep(device(text))).struct
            raw = self._field("imei_raw") if rule.canonical else pl.lit(None, dtype=pl.String)
            self._put(out("imei_raw"), pl.coalesce(raw, found.field("imei_raw")))
            return found.field("imei")
        return read_form(self.frame, rule, name)

    def _invalid(self, rule: Rule, text: str, value: str, before: list[str]) -> None:
        """What becomes of a text that is not of its form, where no rule `before` gave a value."""
        if self.frame[value].null_count() == self.frame[text].null_count():
            return
        wrong = (pl.col(text).str.strip_chars() != "") & pl.col(value).is_null()
        if before:
            wrong &= pl.all_horizontal(pl.col(name).is_null() for name in before)
        if rule.invalid == "reject":
            self._reject(wrong, f"{rule.column} is not of its form")
        elif rule.invalid == "extra":
            kept = self._keep(pl.when(wrong).then(pl.col(text)))
            self.extras[BY_NAME[rule.column].category].append((rule.fields[0], kept))

    def _closed(self, column: str) -> None:
        """Rejects what is outside the closed list or the range of `column`."""
        wrong = wrong_word(column, pl.col(out(column)))
        if wrong is not None:
            self._reject(wrong, f"{column} is not of its form")

    # --- times --------------------------------------------------------------------------------------------------------

    def _time(self, rules: list[Rule]) -> None:
        """One time column, and what it tells of offset, precision and doubt."""
        column = rules[0].column
        values: list[str] = []
        told: dict[str, list[pl.Expr]] = {"utc_offset": [], "time_note": [], "time_precision": []}
        for rule in rules:
            if rule.after is not None:
                values.append(self._keep(self._when(rule, self._moment(rule.after, column))))
                continue
            text = self._text(rule)
            hint = self._hint(rule, column)
            duration = pl.col(self._duration(rule.duration, column)) if rule.duration else None
            found = self._where(
                text, moments.read(rule, text, self.source.zone, self.names, hint=hint, duration=duration)
            )
            if rule.zone is not None and self.latest is not None:
                found = self._eastmost(rule, text, found)
            struct = pl.col(found).struct
            value = self._keep(pl.when(struct.field("ok")).then(struct.field("utc")))
            if not self.frame[found].struct.field("ok").all():
                wrong = ~struct.field("ok")
                if values:
                    wrong &= pl.all_horizontal(pl.col(name).is_null() for name in values)
                self._reject(wrong & struct.field("missing"), f"{column} is a local time that did not exist")
                self._reject(wrong & ~struct.field("missing"), f"{column} is not a time")
            values.append(value)
            known = pl.col(value).is_not_null()
            note = struct.field("note")
            if rule.zone is not None:
                note = pl.col(self._where(text, moments.told_note(rule, note, self.names)))
            told["time_note"].append(pl.when(known).then(note))
            told["time_precision"].append(pl.when(known).then(moments.told_precision(rule, text)))
            if rule.kind != "epoch":
                told["utc_offset"].append(pl.when(known).then(struct.field("utc_offset").cast(pl.Int64)))
        self._put(out(column), pl.coalesce(values))
        self.told[column] = told

    def _eastmost(self, rule: Rule, text: str, found: str) -> str:
        """The times `found`, in the eastmost zone of their country where an assumed one puts them behind `latest`."""
        late = pl.col(found).struct.field("utc") > self.latest
        guessed = self._keep(pl.when(late & moments.told_no_zone(rule, self.names)).then(pl.col(text)))
        if self.frame[guessed].null_count() == self.frame.height:
            return found
        east = self._where(
            guessed, moments.read(rule, guessed, self.source.zone, self.names, zone_of=countries.eastmost)
        )
        return self._keep(
            pl.when(pl.col(east).struct.field("utc") <= self.latest).then(pl.col(east)).otherwise(pl.col(found))
        )

    def _hint(self, rule: Rule, column: str) -> pl.Expr | None:
        """Epoch seconds near the time, where the feed tells them."""
        near = rule.near
        if near is None:
            return None
        if near.after is not None:
            return self._moment(near.after, column).dt.epoch("s")
        fields = [pl.col(name) for name in near.fields if name in self.names]
        if not fields:
            return None
        text = pl.coalesce(fields)
        return (text.str.extract(near.pattern, 1) if near.pattern else text).cast(pl.Int64, strict=False)

    def _moment(self, after: After, column: str) -> pl.Expr:
        plus, minus = (
            pl.col(self._duration(rule, column)) if rule and self._applies(rule) else None
            for rule in (after.plus, after.minus)
        )
        if out(after.column) not in self.frame.columns:  # the shape lacks its field
            return pl.lit(None, dtype=TIME)
        return moments.moment(after, out(after.column), plus, minus)

    def _duration(self, rule: Rule, column: str) -> str:
        """The name of a temporary column with the milliseconds that `rule` takes."""
        text = self._text(rule)
        value = self._keep(whole(self.frame[text], rule.kind))
        if self.frame[value].null_count() > self.frame[text].null_count():
            wrong = (pl.col(text).str.strip_chars() != "") & pl.col(value).is_null()
            self._reject(wrong, f"a duration for {column} is not of its form")
        return value

    def _told_by_times(self) -> None:
        columns = self.frame.columns
        for name in ("utc_offset", "time_note", "time_precision"):
            times = _OFFSET_OF if name != "time_precision" else ("start",)
            values = [value for time in times for value in self.told.get(time, {}).get(name, [])]
            if values:
                before = [pl.col(out(name))] if out(name) in columns else []
                self._put(out(name), pl.coalesce([*before, *values]))
        if out("start") in columns and out("end") in columns:
            self._reject(pl.col(out("end")) < pl.col(out("start")), "end before start")

    # --- the rest -----------------------------------------------------------------------------------------------------

    def _extras(self) -> None:
        for category in DISCLOSABLE:
            kept = [(name, name) for name in self.feed.extra.get(category, ()) if name in self.names]
            found = nested.object_of(self.frame, [*kept, *self.extras[category]])
            if found is not None:
                name = out(f"extra_{category}")
                before = [pl.col(name)] if name in self.frame.columns else []
                self._put(name, pl.coalesce([*before, pl.lit(found)]))

    def _class(self) -> None:
        default = self.source.record_class or self.feed.record_class
        told = self._field(self.feed.class_column) if self.feed.class_column else pl.lit(None, dtype=pl.String)
        self._put(CLASS, pl.coalesce(told, pl.lit(default, dtype=pl.String)))
        if self.feed.class_column:
            self._reject(pl.col(CLASS).is_null(), "no class")
            self._reject(~pl.col(CLASS).is_in(CLASSES), "unknown class")

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
        if not needed or not set(needed) <= self.names:
            self._put(IDENTIFIED, pl.lit(value=False))
            return
        self._put(IDENTIFIED, pl.all_horizontal(pl.col(name).is_not_null() for name in needed))
        shown = [pl.col(name).fill_null("") for name in fields if name in self.names and name not in hidden]
        joined = pl.when(IDENTIFIED).then(pl.concat_str(shown, separator="/"))
        given = [pl.col(out("record_id"))] if out("record_id") in self.frame.columns and own is None else []
        self._put(out("record_id"), pl.coalesce([*given, joined]))


def _is_time(rules: Sequence[Rule]) -> bool:
    return any(rule.kind in TIME_KINDS for rule in rules)
