"""Calls in parts: what one part matches, the others of its call come with, and reading by filters loses none."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import polars as pl

from queries.scope import (
    call_filter,
    calls,
    prefilter,
    select,
)
from tests.queries.june import CELL, NOON, TO, A, B, C, Make, roles

H = timedelta(hours=1)


def call_rows() -> list[dict[str, Any]]:
    """A call in four parts over midnight, and another call of the same source."""
    call = {"correlation_id": "k1", "start": TO - H, "start_cell": CELL}
    return [
        call | {"part": "first", "served": "a", "a_number": A, "b_number": B},
        call | {"part": "next"},
        call | {"part": "next", "served": "b", "a_number": C, "b_number": B},
        call | {"part": "last", "start": TO + H, "served": "a", "a_number": A, "b_number": B},
        call | {"part": "next", "served": "b"},
        call | {"part": "last", "source": "another"},
        call | {"part": "only"},
        call | {"part": "next", "correlation_id": "k2"},
    ]


def test_parts(rows: Make, target: Make, scope: Make) -> None:
    """The parts of a call that matched are added, also outside the window; what they say of others stays hidden."""
    found = select(rows(*call_rows()), scope(target("msisdn", A)))

    assert roles(found) == [(1, "a"), (2, "part"), (3, "part"), (5, "part"), (4, "part")]
    assert found["start_cell"].to_list() == [CELL, CELL, None, None, CELL]


def test_parts_of_another_party(rows: Make, target: Make, scope: Make) -> None:
    """When the matched row is not of the target, its silent parts are not either."""
    found = select(rows(*call_rows()), scope(target("msisdn", B)))

    assert dict(zip(found["row"].to_list(), found["start_cell"].to_list(), strict=True)) == {
        1: None, 2: CELL, 3: CELL, 4: None, 5: CELL,
    }  # fmt: skip


def test_part_of_one_match_of_another(rows: Make, target: Make, scope: Make) -> None:
    """A row that holds one target and shares a call with another counts first as what it holds."""
    found = select(rows(*call_rows()), scope(target("msisdn", A), target("msisdn", C)))
    (third,) = found.filter(pl.col("row") == 3).to_dicts()

    assert (third["target"], third["targets"]) == (2, [1, 2])
    assert (third["target_role"], third["target_roles"]) == ("a", ["part", "a"])


def test_reading_by_filters_loses_nothing(rows: Make, target: Make, scope: Make) -> None:
    """Rows read by `prefilter` and then by `call_filter` are all that `select` needs."""
    frame, wanted = rows(*call_rows()), scope(target("msisdn", A))
    first = prefilter(wanted, frame.columns)
    read = frame.filter(first | call_filter(calls(frame.filter(first), wanted)))

    assert select(read, wanted).equals(select(frame, wanted))
    assert read.height < frame.height


def test_no_calls(rows: Make, target: Make, scope: Make) -> None:
    """Without calls of several parts there is nothing more to read."""
    frame, wanted = rows({"start": NOON, "a_number": A}), scope(target("msisdn", A))

    assert calls(frame, wanted).height == 0
    assert frame.filter(call_filter(calls(frame, wanted))).height == 0
