"""Identities of SIMs, devices and cells: IMSI, IMEI, ICCID, EID, cell ids.

Naive decoders of BCD leave the filler nibble behind the digits (`204990000000001f`): one trailing `f` or `F` is cut,
and nothing else is repaired. A value that is not of its form is null with `ok` false; an empty text is null and `ok`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import polars as pl

VALUE: Final = pl.Struct({"value": pl.String, "ok": pl.Boolean})
"""What most functions here give per row: the normal form, and whether the text was empty or of the form."""
IMEI: Final = pl.Struct({"imei": pl.String, "imei_raw": pl.String, "ok": pl.Boolean})
"""What `imei` gives per row: 14 digits for matching, and the text as it came where those don't give it back."""


def imsi(raw: pl.Expr) -> pl.Expr:
    """IMSIs, 6 to 15 digits (TS 103 280 §6.5), as structs of type `VALUE`."""
    return _value(raw, lambda digits, number: _is_number(digits, number, 6, 15))


def imei(raw: pl.Expr) -> pl.Expr:
    """IMEIs and IMEISVs, 14 to 16 digits, as structs of type `IMEI`.

    The first 14 digits name the device (3GPP TS 23.003 §6.2). The fifteenth is a check digit that people's tools
    compute and signalling leaves 0, so that it is neither checked nor compared; a software version makes it 16.
    """

    def parts(given: pl.Series) -> pl.Series:
        digits, number, absent = _unfilled(given)
        ok = _is_number(digits, number, 14, 16)
        device = digits.str.slice(0, 14).set(~ok, None)
        kept = given.set(~ok | (given == device).fill_null(False), None)
        return pl.DataFrame({"imei": device, "imei_raw": kept, "ok": ok | absent}).to_struct("imei")

    return raw.cast(pl.String).map_batches(parts, return_dtype=IMEI)


def iccid(raw: pl.Expr) -> pl.Expr:
    """ICCIDs, 18 to 20 digits that start with 89 (ITU-T E.118), as structs of type `VALUE`."""
    return _value(raw, lambda digits, _: digits.str.contains(r"^89[0-9]{16,18}$"))


def eid(raw: pl.Expr) -> pl.Expr:
    """EIDs of eUICCs, 32 digits that start with 89 (GSMA SGP.02), as structs of type `VALUE`."""
    return _value(raw, lambda digits, _: digits.str.contains(r"^89[0-9]{30}$"))


def cell(raw: pl.Expr) -> pl.Expr:
    """Cell ids in lower case, as text: their forms are many (CGI, ECGI, NCGI, bare ids), and none is refused."""
    text = raw.cast(pl.String).str.strip_chars().str.to_lowercase()
    return pl.when(text != "").then(text)


def _value(raw: pl.Expr, is_of_form: Callable[[pl.Series, pl.Series], pl.Series]) -> pl.Expr:
    def parts(given: pl.Series) -> pl.Series:
        digits, number, absent = _unfilled(given)
        ok = is_of_form(digits, number).fill_null(False)
        value = digits if ok.all() else pl.select(pl.when(ok).then(digits)).to_series()
        return pl.DataFrame({"value": value, "ok": ok | absent}).to_struct("value")

    return raw.cast(pl.String).map_batches(parts, return_dtype=VALUE)


def _unfilled(given: pl.Series) -> tuple[pl.Series, pl.Series, pl.Series]:
    """The text without blanks around it and one filler nibble behind it, the same as integers, where there is none."""
    number = given.cast(pl.UInt64, strict=False)
    if number.null_count() == given.null_count():
        return given, number, given.is_null()
    text = given.str.strip_chars()
    filled = (text.str.ends_with("f") | text.str.ends_with("F")).fill_null(False)
    digits = text.str.head(-1).zip_with(filled, text) if filled.any() else text
    return digits, digits.cast(pl.UInt64, strict=False), (text == "").fill_null(True)


def _is_number(digits: pl.Series, number: pl.Series, least: int, most: int) -> pl.Series:
    """Where `digits`, whose integers are `number`, are `least` to `most` (at most 18) digits; false for null."""
    fits = digits.str.len_bytes().is_between(least, most)
    return (fits & number.is_not_null() & ~digits.str.starts_with("+")).fill_null(False)
