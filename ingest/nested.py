"""Nested values, for `ingest.mapping` and `ingest.forms`: lists of texts or parties, and extra columns.

An extra column is a JSON object of strings.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

import polars as pl

PARTY_LIST: Final = pl.List(pl.Struct({"role": pl.String(), "number": pl.String()}))

_ESCAPES: Final = {"\\": "\\\\", '"': '\\"', **{chr(octet): f"\\u{octet:04x}" for octet in range(32)}}
_UNIT: Final = r"u(?:[0-9abcefABCEF][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2})"
_PAIR: Final = r"u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_TEXT: Final = rf"""\s*"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|{_UNIT}|{_PAIR}))*"\s*"""
_ARRAY: Final = rf"^\[{_TEXT}(?:,{_TEXT})*\]$"
_PARTY: Final = (
    rf"""\s*\{{\s*(?:"role"\s*:{_TEXT},\s*"number"\s*:{_TEXT}|"number"\s*:{_TEXT},\s*"role"\s*:{_TEXT})\}}\s*"""
)
_PARTIES: Final = rf"^\[{_PARTY}(?:,{_PARTY})*\]$"
OBJECT: Final = rf"^\{{(?:{_TEXT}:{_TEXT}(?:,{_TEXT}:{_TEXT})*)\}}$"
"""A JSON object of strings that has at least one (RFC 8259 §4, §7); lone surrogates are no text."""


def texts(text: pl.Expr) -> pl.Expr:
    """The list in a JSON array of strings, or the list of one that any other text is; null where an array is broken."""
    one = pl.when(text.is_not_null()).then(pl.concat_list(text))
    array = text.str.starts_with("[").fill_null(value=False)
    many = text.map_batches(
        lambda rows: _decoded(rows, _ARRAY, pl.List(pl.String())), return_dtype=pl.List(pl.String())
    )
    return pl.when(array).then(many).otherwise(one)


def parties(text: pl.Expr) -> pl.Expr:
    """The parties in a JSON array of objects with `role` and `number`; null where it is not one."""
    return text.map_batches(lambda rows: _decoded(rows, _PARTIES, PARTY_LIST), return_dtype=PARTY_LIST)


def gathered(roles: Sequence[str], numbers: Sequence[pl.Expr]) -> pl.Expr:
    """The parties that have a number, each with its role; null where none has."""
    named = [
        pl.when(number.is_not_null()).then(pl.struct(pl.lit(role).alias("role"), number.alias("number")))
        for role, number in zip(roles, numbers, strict=True)
    ]
    listed = pl.concat_list(named).list.drop_nulls()
    return pl.when(pl.any_horizontal(number.is_not_null() for number in numbers)).then(listed)


def object_of(frame: pl.DataFrame, kept: Sequence[tuple[str, str]]) -> pl.Series | None:
    """The JSON object of `kept`, pairs of key and column of `frame`; null where none has one, None if no row has."""
    parts = []
    for key, column in kept:
        if frame[column].null_count() == frame.height:
            continue
        text = pl.col(column)
        if frame[column].str.contains_any(list(_ESCAPES)).any():
            text = text.str.replace_many(_ESCAPES)
        parts.append(pl.lit(f"{json.dumps(key)}:") + '"' + text + '"')
    if not parts:
        return None
    inner = pl.concat_str(parts, separator=",", ignore_nulls=True)
    return frame.select(pl.when(inner != "").then("{" + inner + "}")).to_series()


def _decoded(rows: pl.Series, form: str, type_: pl.DataType) -> pl.Series:
    """The JSON in the rows of that form: Polars fails on a whole column for one broken value, so form comes first."""
    formed = rows.str.contains(form).fill_null(value=False)
    if not formed.any():
        return pl.Series(rows.name, [None], dtype=type_).new_from_index(0, len(rows))
    return rows.set(~formed, None).str.json_decode(type_)
