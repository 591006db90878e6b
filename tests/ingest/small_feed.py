"""A feed of four fields, small enough to read in a test, and the canonical rows that its rules give."""

from __future__ import annotations

from typing import Any

import polars as pl

from ingest.feed import Feed, parse_feed
from ingest.mapping import canonical
from ingest.source import Source

FIELDS = ("one", "two", "three", "time")


def feed(columns: str, more: str = "") -> Feed:
    """A feed of `FIELDS` with these `[columns]` and `more` tables."""
    names = ", ".join(f'"{name}"' for name in FIELDS)
    text = f"""
feed = "test"
title = "test"
class = "voip"
reader = "delimited"
[[shapes]]
name = "all"
columns = [{names}]
[columns]
{columns}
{more}
"""
    return parse_feed(text.encode(), "test")


def source(**changes: Any) -> Source:
    """A source of that feed."""
    values: dict[str, Any] = {
        "name": "pbx",
        "feed": "test",
        "customer": None,
        "record_class": None,
        "zone": "Europe/Amsterdam",
        "region": "NL",
        "number_plan": None,
        "shape": None,
        "sequence": None,
        "sequence_modulus": None,
        "cadence": None,
        "identity": None,
    }
    return Source(**{**values, **changes})


def mapped(definition: Feed, rows: list[dict[str, str | None]], **changes: Any) -> list[dict[str, Any]]:
    """The canonical rows that `rows` become; columns that none of them has are null."""
    names = definition.fields()
    columns: dict[str, list[Any]] = {name: [row.get(name) for row in rows] for name in names}
    schema = {"row": pl.Int64, **dict.fromkeys(names, pl.String), "read_note": pl.String}
    numbers = {"row": list(range(1, len(rows) + 1)), "read_note": [None] * len(rows)}
    frame = pl.DataFrame({**numbers, **columns}, schema=schema)
    return canonical(frame, definition, source(**changes), "all").to_dicts()


def one(definition: Feed, **values: str | None) -> dict[str, Any]:
    """The canonical row of one row."""
    return mapped(definition, [dict(values)])[0]
