"""What the tests of questions share: rows built by hand, and a way to ask about them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from ingest.record import CLASSES, COLUMNS, SCHEMA, category_of
from queries import engine
from queries.questions import questions
from queries.scope import Scope, Target, select, targets_table

Row = dict[str, Any]
Rows = Callable[..., pl.DataFrame]
Ask = Callable[..., list[Row]]

ALL = frozenset({"who", "where", "when", "how_much"})
FROM = datetime(2026, 6, 1, tzinfo=UTC)
TO = datetime(2026, 7, 1, tzinfo=UTC)


def build_rows(*rows: Row) -> pl.DataFrame:
    """A frame of the full record and `record_class`; what a row leaves out is null, its provenance is made up."""
    given = [
        {"source": "test", "batch": "b1", "row": number, "occurrence": 0} | row for number, row in enumerate(rows, 1)
    ]
    schema = SCHEMA.append(pa.field("record_class", pa.string()))
    columns = [pa.array([row.get(field.name) for row in given], field.type) for field in schema]
    frame = pl.from_arrow(pa.table(columns, schema=schema))
    assert isinstance(frame, pl.DataFrame)
    return frame.with_columns(pl.col("record_class").fill_null("telephony"))


def make_target(type: str, value: str, start: datetime = FROM, end: datetime = TO) -> Target:
    """A target from text; addresses become bytes."""
    if type == "number_range":
        low, _, high = value.partition("..")
        return Target(type, low, start, end, upper=high)
    if type == "ip":
        return Target(type, packed(value), start, end)
    if type == "ip_port":
        address, _, port = value.rpartition(":")
        return Target(type, packed(address.strip("[]")), start, end, port=int(port))
    if type == "prefix":
        address, _, length = value.partition("/")
        return Target(type, packed(address), start, end, length=int(length))
    return Target(type, value, start, end)


def packed(text: str) -> bytes:
    """The 16 bytes of an address."""
    address = ip_address(text)
    return address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed


def make_scope(*targets: Target, max_matches: int = 1, categories: frozenset[str] = ALL) -> Scope:
    """A scope over every class."""
    return Scope(targets, frozenset(CLASSES), categories, max_matches)


def make_grant(categories: frozenset[str] = ALL) -> engine.Grant:
    """What those categories cover in telephony."""
    frame = categories | {"frame"}
    return engine.Grant(categories, frozenset(c.name for c in COLUMNS if category_of(c.name, "telephony") in frame))


def put_question(
    name: str, rows: pl.DataFrame, targets: Sequence[Target], max_matches: int = 1, categories: frozenset[str] = ALL
) -> list[Row]:
    """The rows of the answer to a shipped question over `rows`, of which only those in scope reach it."""
    scope = make_scope(*targets, max_matches=max_matches, categories=categories)
    found = select(rows, scope).to_arrow()
    tables = engine.answers(
        questions()[name],
        [found],
        targets_table(scope),
        make_grant(categories),
        {"max_matches": max_matches},
        engine.Limits(100.0),
        SCHEMA,
    )
    return [row for table in tables for row in table.to_pylist()]


@pytest.fixture
def rows() -> Rows:
    """Builds a frame from hand-written rows."""
    return build_rows


@pytest.fixture
def target() -> Callable[..., Target]:
    """Builds a target from text."""
    return make_target


@pytest.fixture
def scope() -> Callable[..., Scope]:
    """Builds a scope over every class."""
    return make_scope


@pytest.fixture
def grant() -> Callable[..., engine.Grant]:
    """Builds a grant of categories."""
    return make_grant


@pytest.fixture
def ask() -> Ask:
    """Puts a shipped question."""
    return put_question


@pytest.fixture
def pack() -> Callable[[str], bytes]:
    """The 16 bytes of an address in text."""
    return packed
