"""Forms of values, for `ingest.mapping`, `ingest.columns` and `ingest.parties`.

Addresses, identities of SIMs and devices, numbers, words out of closed lists.

`read_form` gives null for a text that is not of its form, so that the caller sees what is wrong by what is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import polars as pl
import pyarrow as pa

from ingest import iso3166, nested
from ingest.addresses import address, mac, mail
from ingest.devices import cell, eid, iccid, imei, imsi
from ingest.durations import whole
from ingest.record import KINDS, PARTS, SERVED
from ingest.rules import DURATION_KINDS, PARTIES, PRECISIONS, Rule

_TRUE: Final = ("true", "t", "yes", "y", "1")
_FALSE: Final = ("false", "f", "no", "n", "0")
_WORDS: Final[dict[str, tuple[str, ...]]] = {
    "served": SERVED,
    "part": PARTS,
    "direction": ("out", "in", "internal", "transit"),
    "time_precision": PRECISIONS,
    **{f"{party}_kind": KINDS for party in PARTIES},
}
_RANGES: Final = {
    "port_from": (0, 65_535),
    "port_to": (0, 65_535),
    "prefix_length": (0, 128),
    "utc_offset": (-1440, 1440),
}
_PATTERNS: Final = {
    "visited_country": "^[A-Z]{2}$",
    **{f"extra_{name}": nested.OBJECT for name in ("who", "where", "when", "how_much")},
}


def read_form(frame: pl.DataFrame, rule: Rule, name: str) -> pl.Expr | pl.Series:
    """The value of column `name` of `frame` in the form of `rule`, null where it is not of it."""
    text = pl.col(name)
    if rule.kind in ("integer", *DURATION_KINDS):
        signed = rule.column == "utc_offset"
        return text.str.strip_chars().cast(pl.Int64, strict=False) if signed else whole(frame[name], rule.kind)
    if rule.kind == "address":
        values, ok = address(frame[name])
        return pl.Series(name, values.cast(pa.binary()), dtype=pl.Binary).set(~ok, None)
    if rule.kind == "bool":
        word = text.str.strip_chars().str.to_lowercase()
        truth = pl.when(word.is_in(_TRUE)).then(pl.lit(value=True))
        return truth.when(word.is_in(_FALSE)).then(pl.lit(value=False)).otherwise(None)
    if rule.kind == "list":
        return nested.texts(text)
    if rule.kind == "mails":
        return _mails(text)
    if rule.kind == "parties":
        return nested.parties(text)
    if rule.kind == "tadig_country":
        return iso3166.country(text)
    if rule.kind == "lower":
        return text.str.to_lowercase()
    return _READ[rule.kind](text) if rule.kind in _READ else text


def device(text: pl.Expr) -> pl.Expr:
    """The IMEI in `text` as `imei` and `imei_raw`, both null where it is none."""
    found = imei(text)
    return pl.when(found.struct.field("ok")).then(found)


def wrong_word(column: str, value: pl.Expr) -> pl.Expr | None:
    """Where `value` is outside the closed list, the range or the pattern of `column`; None when it has none."""
    if column in _WORDS:
        return ~value.is_in(_WORDS[column])
    if column in _RANGES:
        return ~value.is_between(*_RANGES[column])
    return ~value.str.contains(_PATTERNS[column]) if column in _PATTERNS else None


def area_code(rule: Rule, trunk: str) -> pl.Expr:
    """The area code that the number in the rule's area field starts with, longest first; null when none is known."""
    digits = pl.col(rule.area or "").str.strip_chars()
    if trunk:
        digits = pl.when(digits.str.starts_with(trunk)).then(digits.str.slice(len(trunk)))
    widths = sorted({len(code) for code in rule.area_codes}, reverse=True)
    codes = [[code for code in rule.area_codes if len(code) == width] for width in widths]
    heads = [digits.str.slice(0, width) for width in widths]
    return pl.coalesce([pl.when(head.is_in(some)).then(head) for head, some in zip(heads, codes, strict=True)])


def _value(found: pl.Expr) -> pl.Expr:
    return pl.when(found.struct.field("ok")).then(found.struct.field("value"))


def _mails(text: pl.Expr) -> pl.Expr:
    """A list of mail addresses; null as a whole when one of them is none, so that none is lost unseen."""
    return nested.texts(text).map_batches(_mail_lists, return_dtype=pl.List(pl.String()))


def _mail_lists(lists: pl.Series) -> pl.Series:
    """The addresses of all lists at once: asked for each list by itself, they would cost half a millisecond a row."""
    rows = pl.DataFrame({"at": pl.int_range(len(lists), eager=True), "one": lists}).explode("one", empty_as_null=True)
    rows = rows.with_columns(one=_value(mail(pl.col("one"))))
    found = rows.group_by("at", maintain_order=True).agg("one", broken=pl.col("one").is_null().any())
    return found.select(pl.when(~pl.col("broken")).then("one")).to_series()


_READ: Final[dict[str, Callable[[pl.Expr], pl.Expr]]] = {
    "imsi": lambda text: imsi(text).struct.field("value"),
    "imei": lambda text: device(text).struct.field("imei"),
    "iccid": lambda text: iccid(text).struct.field("value"),
    "mac": lambda text: _value(mac(text)),
    "mail": lambda text: _value(mail(text)),
    "eid": lambda text: eid(text).struct.field("value"),
    "cell": cell,
}
