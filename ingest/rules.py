"""The rules of a feed, parsed for `ingest.feed`: how each canonical column gets its value, as typed values.

`ingest.feed` explains the keys. Parsing is total: an unknown key, a column that is not of the record or a kind that
does not fit the column raises `FeedError` with the place in the file. Nothing here reads a row; `ingest.mapping`
carries the rules out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from ingest.conditions import Condition, parse_conditions
from ingest.errors import FeedError
from ingest.numbering import NATURES
from ingest.record import BY_NAME, CONTENT_FREE, DISCLOSABLE
from ingest.source import BARE
from ingest.stamps import Form
from ingest.table import Table, nearest

PARTIES: Final = ("a", "b", "c")
"""Each fills three columns: number, kind and raw."""
PARTY_NUMBERS: Final = tuple(f"{party}_number" for party in PARTIES)
PARTY_PARTS: Final = tuple(f"{party}_{part}" for party in PARTIES for part in ("number", "kind", "raw"))

TIME_KINDS: Final = ("local_time", "epoch", "iso_time")
DURATION_KINDS: Final = ("seconds", "milliseconds", "duration_hhmmss", "duration_hhmmssss")
_INTEGER_KINDS: Final = ("integer", *DURATION_KINDS)
_TEXT_KINDS: Final = ("text", "lower", "party", "imsi", "imei", "iccid", "eid", "mac", "mail", "cell", "tadig_country")
KINDS: Final = (*_TEXT_KINDS, *_INTEGER_KINDS, *TIME_KINDS, "bool", "withheld", "address", "list", "mails", "parties")
"""Every word that may stand behind `as`."""
UNITS: Final = ("s", "ms", "us")
PRECISIONS: Final = ("us", "ms", "cs", "s", "min")


def kinds_for(column: str) -> tuple[str, ...]:
    """The kinds that may fill `column`, the default first."""
    if column in PARTIES:
        return ("party",)
    if column == "other_parties":
        return ("parties", "party")
    type_ = BY_NAME[column].type
    if pa.types.is_timestamp(type_):
        return TIME_KINDS
    if pa.types.is_integer(type_):
        return _INTEGER_KINDS
    if pa.types.is_boolean(type_):
        return ("bool", "withheld")
    if pa.types.is_list(type_):
        return ("list", "mails")
    return ("address",) if pa.types.is_fixed_size_binary(type_) else _TEXT_KINDS


@dataclass(frozen=True, slots=True)
class After:
    """A moment computed from the canonical time `column`, plus and minus durations."""

    column: str
    plus: Rule | None = None
    minus: Rule | None = None


@dataclass(frozen=True, slots=True)
class Near:
    """A moment close to a local time, to settle a doubled hour: epoch seconds in a field, or computed."""

    fields: tuple[str, ...] = ()
    pattern: str | None = None
    after: After | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """How one canonical column gets its value: from the first of `fields` that has one, a constant, or computed."""

    column: str
    kind: str
    fields: tuple[str, ...] = ()
    constant: str | int | bool | None = None
    after: After | None = None
    shapes: tuple[str, ...] = ()
    when: tuple[Condition, ...] = ()
    pattern: str | None = None
    join: str | None = None
    nulls: tuple[str, ...] = ()
    values: dict[str, str] | None = None
    otherwise: str | None = None
    unknown: str = "keep"
    invalid: str = "reject"
    unlike: str | None = None
    role: str | None = None
    format: str | None = None
    unit: str = "s"
    offset: str | None = None
    zone: str | None = None
    near: Near | None = None
    duration: Rule | None = None
    end: str | None = None
    precision: str | None = None
    nature: str | None = None
    natures: dict[str, str] | None = None
    area: str | None = None
    area_codes: tuple[str, ...] = ()
    bare: str | None = None
    empty: str = "withheld"
    canonical: bool = False

    def uses(self) -> set[str]:
        """Every field that this rule reads."""
        used = {*self.fields}.union(*(condition.uses() for condition in self.when))
        used |= {name for name in (self.offset, self.zone, self.end, self.nature, self.area) if name is not None}
        moments = [self.after, self.near.after if self.near else None]
        inner = [self.duration, *(rule for after in moments if after for rule in (after.plus, after.minus))]
        used |= set(self.near.fields) if self.near else set()
        if self.canonical and self.kind in ("party", "imei"):
            used |= {f"{self.column}_{part}" for part in ("number", "kind", "raw")} & {*PARTY_PARTS, "imei_raw"}
        return used.union(*(rule.uses() for rule in inner if rule))


def parse_rule(table: Table, column: str, kinds: Iterable[str]) -> Rule:
    """One rule for `column`, which one of `kinds` fills."""
    allowed = tuple(kinds)
    default = "" if allowed[0] in TIME_KINDS else allowed[0]
    after = _after(table)
    kind = table.one_of("as", allowed, allowed[0] if after else default)
    constant = table.take("constant")
    rule = Rule(
        column=column,
        kind=kind,
        fields=table.texts("from"),
        constant=constant,
        after=after,
        shapes=table.texts("shapes"),
        when=parse_conditions(table.table("when")),
        pattern=table.pattern("pattern", groups=1),
        join=table.text("join"),
        nulls=table.texts("nulls"),
        values=table.texts_by_name("map"),
        otherwise=table.text("otherwise"),
        unknown=table.one_of("unknown", ("keep", "empty", "reject"), "keep"),
        invalid=table.one_of("invalid", ("reject", "extra", "empty"), "reject"),
        unlike=table.text("unlike"),
        role=table.text("role"),
        **(_time(table) if kind in TIME_KINDS and not after else {}),
        **(_party(table) if kind == "party" else {}),
    )
    table.done()
    if (bool(rule.fields) + (constant is not None) + (after is not None)) != 1:
        raise FeedError(f"{table.path} must have one of from, constant, after")
    if not kind:
        raise table.refuse("as", f"is missing; known are {', '.join(allowed)}")
    if constant is not None and kind not in ("text", "bool", "integer"):
        raise table.refuse("constant", f"cannot fill a column as {kind}")
    if constant is not None and not isinstance(constant, {"text": str, "bool": bool, "integer": int}[kind]):
        raise table.refuse("constant", f"is not of the form {kind}")
    if kind == "local_time" and not after:
        if not rule.format:
            raise table.refuse("format", "is missing: a local time needs its format")
        Form.of(rule.format)
    if rule.unlike is not None and rule.unlike not in PARTY_NUMBERS:
        raise table.refuse("unlike", f"must be one of {', '.join(PARTY_NUMBERS)}")
    return rule


def _after(table: Table) -> After | None:
    column = table.text("after")
    if column is None:
        return None
    sides = {}
    for side in ("plus", "minus"):
        inner = table.table(side)
        sides[side] = parse_rule(inner, "duration_ms", DURATION_KINDS) if inner else None
    return After(column, **sides)


def _time(table: Table) -> dict[str, Any]:
    """The keys that only a time has."""
    near = table.table("near")
    moment = None
    if near is not None:
        moment = Near(fields=near.texts("from"), pattern=near.pattern("pattern", groups=1), after=_after(near))
        near.done()
        if bool(moment.fields) == (moment.after is not None):
            raise FeedError(f"{near.path} must have one of from, after")
    duration = table.table("duration")
    return {
        "format": table.text("format"),
        "unit": table.one_of("unit", UNITS, "s"),
        "offset": table.text("offset"),
        "zone": table.text("zone"),
        "near": moment,
        "end": table.text("end"),
        "duration": parse_rule(duration, "duration_ms", DURATION_KINDS) if duration else None,
        "precision": table.one_of("precision", PRECISIONS, "") or None,
    }


def _party(table: Table) -> dict[str, Any]:
    """The keys that only a party has."""
    natures = table.texts_by_name("natures")
    for word in (natures or {}).values():
        if word not in NATURES:
            raise table.refuse("natures", f"cannot give {word!r}{nearest(word, NATURES)}")
    return {
        "nature": table.text("nature"),
        "natures": natures,
        "area": table.text("area"),
        "area_codes": table.texts("area_codes"),
        "bare": table.one_of("bare", BARE, "") or None,
        "empty": table.one_of("empty", ("withheld", "unknown"), "withheld"),
    }


def parse_columns(table: Table | None) -> tuple[tuple[Rule, ...], ...]:
    """The rules of `[columns]`, those of one column together in the order given."""
    if table is None:
        return ()
    fillable = {*CONTENT_FREE, "record_id", *PARTIES} - {*PARTY_PARTS, *(f"extra_{name}" for name in DISCLOSABLE)}
    found = []
    for column in table.names():
        if column not in fillable:
            raise table.refuse(column, f"is not a column of the record{nearest(column, fillable)}")
        rules = tuple(parse_rule(inner, column, kinds_for(column)) for inner in table.tables(column))
        for rule in rules:
            if column == "other_parties" and rule.kind == "party" and not rule.role:
                raise table.refuse(column, "needs a role beside each party")
            if column in PARTIES and _plan_keys(rule) != _plan_keys(rules[0]):
                raise table.refuse(column, "must give the same nature, area and bare in each of its rules")
        found.append(rules)
    return tuple(found)


def _plan_keys(rule: Rule) -> tuple[object, ...]:
    return (rule.nature, rule.natures, rule.area, rule.area_codes, rule.bare)


def parse_extra(table: Table | None) -> dict[str, tuple[str, ...]]:
    """The fields that `[extra]` keeps, by category."""
    if table is None:
        return {}
    extra = {name: table.texts(name) for name in DISCLOSABLE}
    table.done()
    return {name: fields for name, fields in extra.items() if fields}


_CANONICAL_KINDS: Final = {
    "imsi": "imsi",
    "imei": "imei",
    "iccid": "iccid",
    "eid": "eid",
    "peer_imsi": "imsi",
    "peer_imei": "imei",
    "mac": "mac",
    "mail_from": "mail",
    "mail_to": "mails",
    "start_cell": "cell",
    "end_cell": "cell",
}


def canonical_rules(given: Iterable[str]) -> tuple[tuple[Rule, ...], ...]:
    """A rule for each column of the record that is not `given`, from the field of its own name in its normal form."""
    left = [name for name in ("record_id", *CONTENT_FREE) if name not in set(given)]
    rules = [
        Rule(column=name, kind="party", fields=(f"{name}_number",), canonical=True)
        for name in PARTIES
        if name not in given
    ]
    for name in left:
        if name in PARTY_PARTS or name == "imei_raw":
            continue
        kind = _CANONICAL_KINDS.get(name, "iso_time" if kinds_for(name) == TIME_KINDS else kinds_for(name)[0])
        rules.append(Rule(column=name, kind=kind, fields=(name,), canonical=True))
    return tuple((rule,) for rule in rules)
