"""A draft of what `ingest.plan` does with the fields of many words: the rules of a feed as expressions over whole rows.

Each rule is written down once, for all rows, together with where a row is not of the plain form that the expression
reads. What is drafted holds for rows that are; nothing here says what becomes of the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Final

import polars as pl

from ingest import moments, nested
from ingest.columns import out
from ingest.conditions import Condition, holds
from ingest.devices import cell
from ingest.durations import MOST_SECONDS
from ingest.forms import wrong_word
from ingest.mapping import IDENTIFIED
from ingest.planned_numbers import PlannedNumber
from ingest.planned_parties import PlannedParty
from ingest.planned_times import PlannedTime, offsets
from ingest.record import DISCLOSABLE
from ingest.rules import DURATION_KINDS, PARTIES, TIME_KINDS, Rule

if TYPE_CHECKING:
    from ingest.feed import Feed
    from ingest.source import NumberPlan, Source

_WORDS: Final = frozenset({"tadig_country", "bool"})
"""Kinds whose texts are few words."""
_TOLD: Final = ("utc_offset", "time_note", "time_precision")
_ALSO_WRITTEN: Final = ("customer", "cli_withheld", "emergency", *_TOLD)
"""Columns that more than their own rules write or read."""
_OFFSET_OF: Final = ("start", "end", "reported_at", "answer")
_MET: Final = "!met"


class Unplanned(Exception):
    """A rule is none that a plan covers."""


@dataclass(slots=True)
class Draft:
    """What is to be done with the rows of a slice, in this order.

    `truths` holds per combination of words what conditions and offsets come to. `values` are made of fields and truths,
    `numbers` among them; then `parties` and `times` are read, and each of `later` is made of all that. `wrong` says
    where something is not proven. `written` are the canonical columns that all this fills; the others depend on the
    combination alone.
    """

    feed: Feed
    present: frozenset[str]
    truths: dict[str, pl.Series] = field(default_factory=dict)
    values: dict[str, pl.Expr] = field(default_factory=dict)
    numbers: list[PlannedNumber] = field(default_factory=list)
    parties: list[PlannedParty] = field(default_factory=list)
    times: list[PlannedTime] = field(default_factory=list)
    later: list[dict[str, pl.Expr]] = field(default_factory=list)
    wrong: list[pl.Expr] = field(default_factory=list)
    written: set[str] = field(default_factory=set)

    def extras(self, fields: pl.DataFrame) -> list[pl.Series]:
        """The extra columns that rows of `fields` have, named as values in the making are."""
        found: list[pl.Series] = []
        for category in DISCLOSABLE:
            kept = [(name, name) for name in self.feed.extra.get(category, ()) if name in self.present]
            one = nested.object_of(fields, kept)
            if one is not None:
                found.append(one.alias(out(f"extra_{category}")))
        return found


def word_fields(feed: Feed) -> frozenset[str]:
    """The fields whose words the rules of `feed` know or ask for: all else in a row may be one of many."""
    found = {feed.class_column} if feed.class_column else set()
    for rule in (rule for rules in feed.columns for rule in rules):
        found |= {one.field for one in rule.when if one.same is None and one.differs is None}
        if rule.values is not None or rule.kind in _WORDS:
            found |= set(rule.fields)
        if rule.kind == "local_time":
            found |= {name for name in (rule.offset, rule.zone) if name is not None}
    return frozenset(found)


def draft(
    feed: Feed, source: Source, shape: str | None, present: frozenset[str], few: frozenset[str], once: pl.DataFrame
) -> Draft:
    """The draft for files of `shape` that have a text in the `present` fields, of which those in `few` have few words.

    `once` are the combinations of their words. Raises `Unplanned` for a rule that no plan covers.
    """
    return _Drafting(feed, source, shape, present, few, once).carried_out()


class _Drafting:
    """One draft in the making."""

    def __init__(
        self,
        feed: Feed,
        source: Source,
        shape: str | None,
        present: frozenset[str],
        few: frozenset[str],
        once: pl.DataFrame,
    ) -> None:
        self.feed, self.source, self.shape = feed, source, shape
        self.present, self.few, self.once = present, few, once
        self.names = frozenset(once.columns)
        self.draft = Draft(feed, present)
        self.truths: dict[tuple[Condition, ...], str] = {}
        self.first: dict[str, pl.Expr] = {}
        self.draft.later.append(self.first)
        self.told: dict[str, list[pl.Expr]] = {name: [] for name in _TOLD}
        self.by_time: dict[str, PlannedTime] = {}

    def carried_out(self) -> Draft:
        """Drafts every group of rules that reads more than the combinations."""
        groups = [[rule for rule in rules if self._applies(rule)] for rules in self.feed.columns]
        groups = [rules for rules in groups if rules]
        times = [rules for rules in groups if any(rule.kind in TIME_KINDS for rule in rules)]
        for rules in groups:
            if rules not in times and (self._used(rules) or rules[0].column == "record_id"):
                self._group(rules)
        for rules in moments.in_order(times):
            self._time(rules)
        self._told_by_times()
        self._identity()
        return self.draft

    def _applies(self, rule: Rule) -> bool:
        if rule.shapes and self.shape not in rule.shapes:
            return False
        return not rule.fields or any(name in self.names for name in rule.fields)

    def _used(self, rules: Sequence[Rule]) -> set[str]:
        return {name for rule in rules for name in rule.uses()} & self.present

    # --- values -------------------------------------------------------------------------------------------------------

    def _group(self, rules: list[Rule]) -> None:
        column, many = rules[0].column, self._used(rules) - self.few
        if any(rule.canonical for rule in rules) or column in (*_ALSO_WRITTEN, *map("extra_{}".format, DISCLOSABLE)):
            raise Unplanned
        if column in PARTIES:
            self._party(rules)
        elif column == "other_parties":
            self._other_parties(rules)
        elif any(rule.unlike is not None or rule.kind in ("party", "withheld") for rule in rules):
            raise Unplanned
        elif many or column == "record_id" or any(rule.invalid == "extra" for rule in rules):
            values = [self._value(rule) for rule in rules]
            value = values[0] if len(values) == 1 else pl.coalesce(values)
            self._write(column, value, later=rules[0].kind in ("integer", *DURATION_KINDS))
            wrong = wrong_word(column, value)
            if wrong is not None:
                self.draft.wrong.append(wrong)

    def _write(self, column: str, value: pl.Expr, *, later: bool = False) -> None:
        if later:
            self.first[out(column)] = value
        else:
            self.draft.values[out(column)] = value
        self.draft.written.add(column)

    def _truth(self, conditions: Sequence[Condition]) -> pl.Expr:
        """Where `conditions` hold, looked up where they ask for few words."""
        looked_up = tuple(one for one in conditions if not (one.uses() & self.present) - self.few)
        met = [holds((one,), self.names) for one in conditions if one not in looked_up]
        if looked_up:
            if looked_up not in self.truths:
                self.truths[looked_up] = self._look_up(self._met(holds(looked_up, self.names)))
            met.append(pl.col(self.truths[looked_up]))
        return reduce(lambda one, other: one & other, met)

    def _met(self, condition: pl.Expr) -> pl.Series:
        return self.once.with_columns(condition.alias(_MET))[_MET]

    def _look_up(self, values: pl.Series) -> str:
        """The name of a column that holds for each row what `values` has for its combination."""
        name = f"?{len(self.draft.truths)}"
        self.draft.truths[name] = values.alias(name)
        return name

    def _text(self, rule: Rule) -> pl.Expr:
        """The text that `rule` takes."""
        given = [name for name in rule.fields if name in self.present]
        if not given:
            return pl.lit(None, dtype=pl.String)
        fields = [pl.col(name) for name in given]
        if rule.nulls:
            fields = [pl.when(~one.is_in(rule.nulls)).then(one) for one in fields]
        text = fields[0] if len(fields) == 1 else pl.coalesce(fields)
        if rule.values is not None or (rule.join is not None and len(fields) > 1):
            raise Unplanned
        if rule.pattern is not None:
            text = text.str.extract(rule.pattern, 1)
        if rule.when:
            text = pl.when(self._truth(rule.when)).then(text)
        return text

    def _value(self, rule: Rule) -> pl.Expr:
        """The value of `rule` in rows where its text is plain."""
        if rule.constant is not None:
            constant = pl.lit(rule.constant)
            return pl.when(self._truth(rule.when)).then(constant) if rule.when else constant
        text = self._text(rule)
        if rule.kind == "text":
            return text
        if rule.kind == "lower":
            return text.str.to_lowercase()
        if rule.kind == "cell":
            return cell(text)
        if rule.kind == "imsi":
            self._number(text, 10**15 - 1, digits=True)
            return text
        if rule.kind in ("integer", "seconds", "milliseconds"):
            return self._whole(rule.kind, text)
        raise Unplanned

    def _whole(self, kind: str, text: pl.Expr) -> pl.Expr:
        factor = 1000 if kind == "seconds" else 1
        number = self._number(text, 2**63 - 1 if kind == "integer" else MOST_SECONDS * 1000 // factor, digits=False)
        return number * factor if factor > 1 else number

    def _number(self, text: pl.Expr, most: int, *, digits: bool) -> pl.Expr:
        for one in self.draft.numbers:
            if (one.most, one.digits) == (most, digits) and self.draft.values[one.text].meta.eq(text):
                return pl.col(one.name)
        number = f"~number.{len(self.draft.numbers)}"
        self.draft.numbers.append(PlannedNumber(number, f"{number}.text", most, digits))
        self.draft.values |= {f"{number}.text": text, number: text.cast(pl.Int64, strict=False)}
        return pl.col(number)

    # --- parties ------------------------------------------------------------------------------------------------------

    def _first(self, rules: Sequence[Rule]) -> pl.Expr:
        """The text of the first of `rules` that has one."""
        if len(rules) > 1 and len({_text_of(rule) for rule in rules}) == 1 and self._always(rules):
            return self._text(replace(rules[0], when=()))
        texts = [self._text(rule) for rule in rules]
        return texts[0] if len(texts) == 1 else pl.coalesce(texts)

    def _always(self, rules: Sequence[Rule]) -> bool:
        """Whether for each combination of words the condition of one of `rules` holds."""
        conditions = [one for rule in rules for one in rule.when]
        if any((one.uses() & self.present) - self.few for one in conditions):
            return False
        met = pl.any_horizontal(holds(rule.when, self.names) for rule in rules)
        return bool(self._met(met).all())

    def _party(self, rules: list[Rule]) -> None:
        column, first = rules[0].column, rules[0]
        if first.nature in self.names:
            raise Unplanned
        text = f"~{column}"
        self.draft.values[text] = self._first(rules)
        party = PlannedParty(column, text, *self._plan(first))
        self.draft.parties.append(party)
        self.draft.written |= {f"{column}_{part}" for part in ("number", "kind", "raw")}
        later: dict[str, pl.Expr] = {}
        if column == "a":
            answering = [rule for rule in rules if rule.empty == "withheld"]
            absent = [self._truth(rule.when) if rule.when else pl.lit(value=True) for rule in answering]
            self.draft.values["~a.answers"] = reduce(or_, absent, pl.lit(value=False))
            withheld = pl.col(party.withheld) & (pl.col(text).is_not_null() | pl.col("~a.answers"))
            later[out("cli_withheld")] = pl.when(withheld).then(pl.lit(value=True))
            self.draft.written.add("cli_withheld")
        if column == "b":
            later[out("emergency")] = pl.when(party.emergency).then(pl.lit(value=True))
            self.draft.written.add("emergency")
        self.draft.later.append(later)

    def _plan(self, rule: Rule) -> tuple[NumberPlan, str, str]:
        plan = self.source.number_plan or self.feed.number_plan
        plan = plan if rule.bare is None else replace(plan, bare=rule.bare)
        return plan, self.source.region, self.source.customer or self.source.name

    def _other_parties(self, rules: list[Rule]) -> None:
        """Where a row names a further party: none is read here."""
        for rule in rules:
            if rule.kind != "party":
                raise Unplanned
            if set(rule.fields) & self.present:
                self.draft.wrong.append(self._text(rule).is_not_null())

    # --- times --------------------------------------------------------------------------------------------------------

    def _time(self, rules: list[Rule]) -> None:
        column, first = rules[0].column, rules[0]
        if not self._used(rules) and not any(rule.after for rule in rules):
            return
        self.draft.written.add(column)
        if first.after is not None and len(rules) == 1:
            self._moment(first)
            return
        if any(rule.after is not None or _reading(rule) != _reading(first) for rule in rules):
            raise Unplanned
        if first.kind != "local_time" and any(rule.zone is not None for rule in rules):
            raise Unplanned
        text = f"~{column}"
        self.draft.values[text] = self._first(rules)
        for rule in rules:
            if rule.duration is not None and set(rule.duration.fields) & self.present:
                # Read for its form alone: what it settles is a doubled hour, which no plan resolves.
                self._duration(rule.duration)
        told = assumed = None
        if first.kind == "local_time":
            if first.offset in self.present - self.few:
                raise Unplanned
            if first.offset in self.present:
                told = self._look_up(offsets(self.once[first.offset]))
            derived = [rule for rule in rules if rule.zone is not None]
            if derived:
                where = [self._truth(rule.when) if rule.when else pl.lit(value=True) for rule in derived]
                assumed = f"~{column}.derived"
                self.draft.values[assumed] = reduce(or_, where)
        time = PlannedTime(column, text, first, self.source.zone, told, assumed)
        self.draft.times.append(time)
        self.draft.wrong.append(pl.col(time.wrong))
        self.by_time[column] = time

    def _moment(self, rule: Rule) -> None:
        after = rule.after
        assert after is not None  # noqa: S101  the caller asked
        sides: list[pl.Expr | None] = []
        for side in (after.plus, after.minus):
            sides.append(None if side is None or not self._applies(side) else self._duration(side))
        if after.column not in self.draft.written:
            value = pl.lit(None, dtype=pl.Datetime("us", "UTC"))
        else:
            value = moments.moment(after, out(after.column), *sides)
        if rule.when:
            name = f"~{rule.column}.when"
            self.draft.values[name] = self._truth(rule.when)
            value = pl.when(name).then(value)
        self.draft.later.append({out(rule.column): value})

    def _duration(self, rule: Rule) -> pl.Expr:
        if rule.kind not in ("seconds", "milliseconds"):
            raise Unplanned
        return self._whole(rule.kind, self._text(rule))

    def _told_by_times(self) -> None:
        """What the times tell of offset, doubt and precision."""
        times = [self.by_time[name] for name in _OFFSET_OF if name in self.by_time]
        offset = [pl.col(time.minutes) for time in times if time.rule.kind != "epoch"]
        notes = [pl.col(time.note) for time in times if time.rule.kind != "local_time"]
        later = {"time_note": pl.coalesce(notes) if notes else pl.lit(None, dtype=pl.String)} if times else {}
        if offset:
            later["utc_offset"] = pl.coalesce(offset).cast(pl.Int64)
        if "start" in self.by_time:
            start = self.by_time["start"]
            precision = moments.told_precision(start.rule, start.text)
            later["time_precision"] = pl.when(pl.col(out("start")).is_not_null()).then(precision)
        self.draft.written |= set(later)
        self.draft.later.append({out(name): value for name, value in later.items()})
        if {"start", "end"} <= self.draft.written:
            self.draft.wrong.append(pl.col(out("end")) < pl.col(out("start")))

    # --- identity -----------------------------------------------------------------------------------------------------

    def _identity(self) -> None:
        """As `ingest.mapping` tells whether a row has an identity, and its record id."""
        own, identity = self.source.identity, self.feed.identity
        fields = own if own is not None else identity.fields
        optional, hidden = (identity.optional, identity.hidden) if own is None else (frozenset(), frozenset())
        needed = [name for name in fields if name not in optional]
        if not needed or not set(needed) <= self.names:
            self.draft.values[IDENTIFIED] = pl.lit(value=False)
            return
        identified = pl.all_horizontal(pl.col(name).is_not_null() for name in needed)
        self.draft.values[IDENTIFIED] = identified
        shown = [pl.col(name).fill_null("") for name in fields if name in self.names and name not in hidden]
        if len(fields) == 1 and not hidden:
            joined = pl.col(fields[0])
        else:
            joined = pl.when(identified).then(pl.concat_str(shown, separator="/"))
        before = self.draft.values.get(out("record_id"))
        self._write("record_id", pl.coalesce([before, joined]) if before is not None and own is None else joined)


def _reading(rule: Rule) -> tuple[object, ...]:
    """What of a rule decides how its text is read as a time, where the row settles its zone."""
    return rule.kind, rule.format, rule.unit, rule.offset, rule.precision


def _text_of(rule: Rule) -> tuple[object, ...]:
    """What of a rule decides which text it takes, where its condition holds."""
    return rule.fields, rule.nulls, rule.join, rule.pattern, rule.values is None
