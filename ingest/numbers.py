"""Parties: what a source wrote where a telephone number stands, as number, kind and what is left of the raw text.

Cuts what surrounds the digits (name and angle brackets, SIP and TEL URIs, service codes, separators) and leaves their
meaning to `ingest.numbering`. Two lanes: text that is digits already, with or without `+`, goes straight there; the
rest is cleaned first, and what is neither E.164 nor unknown is written in the same lane. Matching is by `number` and
`kind`; nothing here decides whose number it is.

A `number` is `+` and digits for `e164`, `1001@owner` for `extension`, the national form for `service` (`08001234`),
`sip:user@host` in lower case for `uri`, and the text as it came for `alphanumeric` and `unknown`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from ingest.errors import FeedError
from ingest.numbering import E164, EXTENSION, NATURES, SERVICE, SHORT, Meaning, meaning
from ingest.source import NumberPlan

PARTY: Final = pl.Struct(
    {"number": pl.String, "kind": pl.String, "raw": pl.String, "withheld": pl.Boolean, "emergency": pl.Boolean}
)
"""What `party` gives per row. `raw` is null where `number` gives it back, `withheld` true also for an empty text."""

_UNKNOWN: Final = "unknown"
_KINDS: Final = {E164: "e164", SHORT: "short", SERVICE: "service", EXTENSION: "extension"}
_WITHHELD: Final = (
    *("anonymous", "unavailable", "restricted", "withheld", "private", "unknown"),
    *("anoniem", "onbekend", "geheim", "afgeschermd"),
)
_SPECIAL: Final = ("s", "i", "t", "h")
"""Asterisk's own extensions: start, invalid, timeout, hang-up."""
_SCHEME: Final = r"^(sips?|tel|callto|h323|urn|im|pres|xmpp|mailto):"
_SCHEMELESS: Final = r"^(?:[+0-9*#]+@\S+|[^\s@]+@(?:[^\s@]*\.[^\s@]*|\[[^\s@]*))$"
_HOST: Final = r"@(\[[^\]]*\]|[^:;?>\s]*)"
_SEPARATORS: Final = r"[\s().\-/\u{2010}-\u{2015}]"
_NEGATIVE: Final = r"^[-\u{2010}-\u{2015}]"
"""`-1` is a word for unknown, not the number 1."""
_PERCENT: Final = {"%2B": "+", "%2b": "+", "%23": "#", "%2A": "*", "%2a": "*", "%20": " ", "%28": "(", "%29": ")"} | {
    f"%3{digit}": str(digit) for digit in range(10)
}


def party(raw: pl.Expr, plan: NumberPlan, region: str, owner: str) -> pl.Expr:
    """The party that `raw` names, as a struct of type `PARTY`.

    `owner` is the customer, or the source where it has none: extensions of two owners never meet. An empty text gives
    no number and `withheld`; whoever reads a column in which empty means "there is none" ignores that flag. A called
    number behind `*31#` has `withheld` too: it is the caller who withholds.
    """
    columns = pl.struct(raw.cast(pl.String).alias("raw"))
    return columns.map_batches(lambda rows: _structs(rows, plan, region, owner), return_dtype=PARTY)


def party_by_nature(
    raw: pl.Expr,
    nature: pl.Expr,
    natures: Mapping[str, str],
    plan: NumberPlan,
    region: str,
    owner: str,
    *,
    area: pl.Expr | None = None,
) -> pl.Expr:
    """As `party`, where each row tells the nature of its number in a column of its own.

    `natures` translates that column to `international`, `national`, `subscriber`, `unknown` or `plan` (what the
    number plan says); a value that it does not know is `plan`. `area` completes a subscriber number: an area code
    without trunk prefix, or the normalised number (`+31201234567`) of the party whose area it shares. Raises
    `FeedError` for another nature.
    """
    wrong = sorted(set(natures.values()) - set(NATURES))
    if wrong:
        raise FeedError(f"nature of a number: must be one of {', '.join(NATURES)}, found {wrong[0]!r}")
    told = nature.cast(pl.String).str.strip_chars()
    columns = pl.struct(
        raw.cast(pl.String).alias("raw"),
        told.replace_strict(dict(natures), default="plan", return_dtype=pl.String).alias("nature"),
        (pl.lit(None, pl.String) if area is None else area.cast(pl.String)).alias("area"),
    )
    return columns.map_batches(lambda rows: _structs(rows, plan, region, owner), return_dtype=PARTY)


def kept_raw(raw: pl.Expr, number: pl.Expr, kind: pl.Expr) -> pl.Expr:
    """`raw`, null exactly where `number` gives it back: it is the number, or the number of kind `e164` without `+`."""
    given = (raw == number) | ((kind == "e164") & (pl.lit("+") + raw == number))
    return pl.when(given.fill_null(False) | (raw.str.strip_chars() == "")).then(None).otherwise(raw)


def _structs(rows: pl.Series, plan: NumberPlan, region: str, owner: str) -> pl.Series:
    return _parties(rows.struct.unnest(), plan, region, owner).to_struct("party")


def parties(raw: pl.Series, plan: NumberPlan, region: str, owner: str) -> pl.DataFrame:
    """As `party`, of text that is at hand: a column for each field of `PARTY`."""
    return _parties(raw.alias("raw").to_frame(), plan, region, owner)


def _parties(frame: pl.DataFrame, plan: NumberPlan, region: str, owner: str) -> pl.DataFrame:
    frame = frame.rechunk()  # `pl.format` panics on a column with empty pieces, as a filter leaves them
    raw = frame["raw"]
    number = raw.cast(pl.UInt64, strict=False)
    nature, area = frame.get_column("nature", default=None), frame.get_column("area", default=None)
    found = meaning(raw, plan, region, nature, area, number)
    out = _straight(raw, found)
    rest = found.code > E164
    if number.null_count():
        blank = (raw == "").fill_null(True)
        out = out.with_columns(pl.when(~blank).then(pl.col("number", "kind")).name.keep(), withheld=blank)
        rest |= (number.is_null() & ~blank).to_numpy()
    at = np.flatnonzero(rest)
    if not len(at):
        return out
    own = pl.Series(at, dtype=pl.UInt32)
    others, which = _distinct(frame.select(pl.all().gather(own)))
    read = _interpreted(others, plan, region, owner).select(pl.all().gather(pl.Series(which)))
    if len(at) == len(raw):
        return read
    return pl.DataFrame([one.scatter(own, told) for one, told in zip(out, read, strict=True)])


def _straight(raw: pl.Series, found: Meaning) -> pl.DataFrame:
    """The parties that are E.164 numbers or mean nothing to the plan; what else is in `raw` comes out as the latter."""
    code, count = found.code, len(raw)
    whole, given = code == E164, found.given
    bare = whole & given & ~found.plus
    frame = pl.DataFrame({"raw": raw, "bare": bare})
    number = pl.col("raw")
    if bare.all():
        number = pl.format("+{}", "raw")
    elif bare.any():
        number = pl.when("bare").then(pl.format("+{}", "raw")).otherwise("raw")
    kept = pl.lit(None, dtype=pl.String)
    other = whole & ~given
    if other.any():
        frame = frame.with_columns(other=pl.Series(other), value=pl.Series(found.value))
        number = pl.when("other").then(pl.format("+{}", "value")).otherwise(number)
        kept = pl.when("other").then("raw")
    kinds = pl.Series([_UNKNOWN, _KINDS[E164]], dtype=pl.String)
    kind = kinds.gather([1]).new_from_index(0, count) if whole.all() else kinds.gather(pl.Series(whole.view(np.uint8)))
    return frame.select(
        number=number,
        kind=kind,
        raw=kept,
        withheld=pl.lit(value=False),
        emergency=pl.Series(found.emergency),
    )


def _distinct(frame: pl.DataFrame) -> tuple[pl.DataFrame, npt.NDArray[np.int64]]:
    """The distinct rows of `frame`, and which of them each row is: names of companies and words repeat."""
    if frame.width > 1:
        return frame, np.arange(frame.height)
    keys = frame.unique()
    places = frame.join(keys.with_row_index("at"), on="raw", how="left", nulls_equal=True, maintain_order="left")["at"]
    return keys, places.to_numpy().astype(np.int64)


def _interpreted(frame: pl.DataFrame, plan: NumberPlan, region: str, owner: str) -> pl.DataFrame:
    """The parties of `frame`, whatever stands there."""
    raw = frame["raw"]
    blank = (raw == "").fill_null(True)
    odd = ~blank & raw.cast(pl.UInt64, strict=False).is_null()
    text, nature, lane = raw.set(blank, None), frame.get_column("nature", default=None), None
    if odd.any():
        # One row per odd text, spread out again over all rows: null where the text was plain digits.
        place = pl.select(pl.when(odd).then(odd.cum_sum() - 1).cast(pl.UInt32)).to_series()
        lane = _decided(_unwrapped(raw.filter(odd), plan), plan).select(pl.all().gather(place))
        text = lane["digits"].zip_with(odd, text)
        if nature is not None:
            nature = nature.zip_with(lane["nature"].is_null(), lane["nature"])
        elif lane["nature"].is_not_null().any():
            nature = lane["nature"]
    found = meaning(text, plan, region, nature, frame.get_column("area", default=None))
    code, value = pl.Series(found.code), pl.Series(found.value)
    number, kind = text, pl.repeat(_UNKNOWN, len(raw), dtype=pl.String, eager=True).set(blank, None)
    for which, name in _KINDS.items():
        mask = code == which
        if not mask.any():
            continue
        before = {E164: "+", SHORT: "", SERVICE: "0"}
        written = text + f"@{owner}" if which == EXTENSION else before[which] + value.cast(pl.String)
        number, kind = written.zip_with(mask, number), kind.set(mask, name)
    out = pl.DataFrame({"raw": raw, "number": number, "kind": kind, "emergency": pl.Series(found.emergency)})
    out = out.with_columns(withheld=blank)
    if lane is not None:
        out = _joined(out, lane)
    raw_left = kept_raw(pl.col("raw"), pl.col("number"), pl.col("kind")).alias("raw")
    return out.select("number", "kind", raw_left, "withheld", "emergency")


def _joined(out: pl.DataFrame, lane: pl.DataFrame) -> pl.DataFrame:
    """Takes what was decided without the number plan, and a URI whose few digits mean nothing to the plan."""
    frame = out.hstack(lane.select(pl.all().name.prefix("lane_")))
    decided = pl.col("lane_kind").is_not_null()
    nobody = pl.col("lane_withheld").is_not_null() & pl.col("lane_digits").is_null() & ~decided
    stray = (pl.col("kind") == "unknown") & pl.col("lane_uri").is_not_null()
    stray &= pl.col("lane_digits").str.len_bytes() < 7
    return frame.select(
        "raw",
        number=pl.when(decided).then("lane_number").when(stray).then("lane_uri").otherwise("number"),
        kind=pl.when(decided)
        .then("lane_kind")
        .when(nobody)
        .then(None)
        .when(stray)
        .then(pl.lit("uri"))
        .otherwise("kind"),
        emergency=pl.col("emergency") | pl.col("lane_emergency").fill_null(False),
        withheld=pl.coalesce("lane_withheld", "withheld"),
    )


def _unwrapped(raw: pl.Series, plan: NumberPlan) -> pl.DataFrame:
    """Cuts name, angle brackets, URI and service code away.

    Gives `user` (what stands for the party), `digits` where that is a number, `lower` (all of it, lower case), and of
    a URI `scheme`, `host` and the country code of its `context`; `hidden` where a service code withheld the caller.
    """
    text = pl.col("text")
    frame = pl.DataFrame({"text": raw}).select(text.fill_null("").str.strip_chars())
    frame = frame.select(pl.coalesce(text.str.extract(r"<([^<>]*)>", 1).str.strip_chars(), text).alias("text"))
    lower = text.str.to_lowercase()
    frame = frame.with_columns(
        lower=lower,
        scheme=pl.coalesce(
            lower.str.extract(_SCHEME, 1), pl.when(text.str.contains(_SCHEMELESS)).then(pl.lit("sip"))
        ).replace({"sips": "sip"}),
        body=text.str.replace("(?i)" + _SCHEME, ""),
    )
    body = pl.col("body")
    user = body.str.extract(r"^(\[[^\]]*\]|[^@;?:]*)", 1).str.strip_chars()
    frame = frame.with_columns(
        user=pl.when(pl.col("scheme").is_null()).then("text").otherwise(user),
        host=pl.when(pl.col("scheme").is_not_null()).then(body.str.to_lowercase().str.extract(_HOST, 1)),
        context=pl.col("lower").str.replace_many(_PERCENT).str.extract(r";phone-context=\+([0-9]+)", 1),
    )
    hidden = pl.col("user").str.contains(r"^[*#]31#.")
    frame = frame.with_columns(
        hidden=hidden, user=pl.when(hidden).then(pl.col("user").str.slice(4).str.strip_chars()).otherwise("user")
    )
    return frame.with_columns(digits=_digits(pl.col("user"), plan))


def _digits(user: pl.Expr, plan: NumberPlan) -> pl.Expr:
    """`user` as digits with or without `+`, if it is digits and separators; null else, and for an IPv4 address."""
    start = rf"^(\+|{plan.international})" if plan.international else r"^(\+)"
    number = user.str.replace_many(_PERCENT).str.replace(r"#$", "").str.replace(start + r"([0-9 ]*)\(0\)", "$1$2")
    number = number.str.replace_all(_SEPARATORS, "")
    is_number = number.str.contains(r"^\+?[0-9]+$") & ~user.str.contains(r"^[1-9][0-9]{0,2}(\.[0-9]{1,3}){3}$")
    return pl.when(is_number & ~user.str.contains(_NEGATIVE)).then(number)


def _decided(parts: pl.DataFrame, plan: NumberPlan) -> pl.DataFrame:
    """What can be said without the number plan.

    Per row either `digits` (with the `nature` that a phone-context tells and the `uri` they stood in), or `kind` and
    `number`, or neither where the text names nobody.
    """
    user, digits, scheme, host = pl.col("user"), pl.col("digits"), pl.col("scheme"), pl.col("host")
    nobody = user.str.to_lowercase().is_in(_WITHHELD) | (host == "anonymous.invalid").fill_null(False)
    nobody |= (user == "") & host.is_null()
    is_number = digits.is_not_null() & ~nobody
    context = pl.when(is_number & ~digits.str.starts_with("+")).then("context")
    is_foreign = (context != plan.country).fill_null(False)
    is_uri = scheme.is_not_null()
    is_service = user.str.contains(r"^[*#][0-9*#]*$") | (user.is_in(_SPECIAL) & ~is_uri)
    uri = scheme + ":" + user.str.to_lowercase() + ("@" + host).fill_null("")
    kind = (
        pl.when(is_number & is_foreign)
        .then(pl.lit("unknown"))
        .when(is_number | nobody)
        .then(None)
        .when(is_service)
        .then(pl.lit("service"))
        .when(is_uri)
        .then(pl.lit("uri"))
        .when(user.str.contains(r"\p{L}"))
        .then(pl.lit("alphanumeric"))
        .otherwise(pl.lit("unknown"))
    )
    number = pl.when(is_service | ~is_uri).then(user).when(scheme == "urn").then("lower").otherwise(uri)
    return parts.select(
        digits=pl.when(is_number & ~is_foreign).then(digits),
        nature=pl.when(context == plan.country).then(pl.lit("national")),
        uri=pl.when(host.is_not_null()).then(uri),
        kind=kind,
        number=pl.when(is_foreign).then(digits).otherwise(number),
        withheld=nobody | pl.col("hidden"),
        emergency=pl.col("lower").str.contains(r"^urn:service:sos($|[.;])"),
    )
