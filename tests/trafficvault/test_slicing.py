"""Slicing: a stream is given so many rows at once, in the order of time, each row with its company."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.thorough import as_many
from trafficvault.slicing import slices

DAY = date(2026, 11, 24)
BEGIN = datetime(2026, 11, 24, tzinfo=UTC)


def rows_of(seconds: list[int], records: list[str | None] | None = None) -> pl.DataFrame:
    """One row per start, in seconds of the day, with its number as `row`, and the record ids that are given."""
    return pl.DataFrame(
        {
            "answer_day": [DAY] * len(seconds),
            "record_class": ["telephony"] * len(seconds),
            "source": ["exchange"] * len(seconds),
            "start": [BEGIN + timedelta(seconds=second) for second in seconds],
            "row": range(len(seconds)),
            "record_id": pl.Series(records or [None] * len(seconds), dtype=pl.String),
            "neighbour": [False] * len(seconds),
        }
    )


@given(seconds=st.lists(st.integers(0, 40), max_size=80), most=st.integers(0, 90))
@settings(max_examples=as_many(25), deadline=None)
def test_slices_are_all_rows_in_order_and_no_moment_is_divided(seconds: list[int], most: int) -> None:
    """Every row comes once; a slice is over when the one after it begins; and none is larger than it must be."""
    rows = rows_of(seconds)
    found = [part["start"] for part in slices(rows, most)]
    assert sorted(pl.concat(found).to_list()) == sorted(rows["start"].to_list())
    for before, after in pairwise(found):
        assert before.max() < after.min()  # type: ignore[operator]  # of moments, at least one each
    for starts in found:
        last = starts.value_counts()["count"].max() if len(starts) else 0
        assert len(starts) < max(1, most) + last  # type: ignore[operator]  # a count


def test_a_long_day_is_divided() -> None:
    """A hundred rows of as many moments come ten by ten."""
    assert [part.height for part in slices(rows_of(list(range(100))), 10)] == [10] * 10


def test_versions_in_other_slices_are_neighbours() -> None:
    """Of two versions hours apart each is there where the other is, marked, and its slice has no other company."""
    parts = list(slices(rows_of([1, 2, 3, 4], ["r", None, "s", "r"]), 2))
    told = [list(zip(part["row"], part["neighbour"], strict=True)) for part in parts]
    assert told == [[(0, False), (1, False), (3, True)], [(2, False), (3, False), (0, True)]]
