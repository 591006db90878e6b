"""Packing: texts that wait as numbers are the texts they were."""

from __future__ import annotations

from collections.abc import Collection

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.trafficvault import block_house as house
from trafficvault.block_form import order_key
from trafficvault.block_posting import OrderKeys, Posting
from trafficvault.packed_rows import PackedRows
from trafficvault.packing import Packing, Rows, dictionary_of

FRAMES = st.lists(st.lists(st.none() | st.sampled_from("abcdefg"), min_size=1, max_size=9), min_size=1, max_size=4)


def packed(frames: list[pl.DataFrame], but: Collection[str] = ()) -> Rows:
    """All rows of `frames`, packed, whatever repeats in them, but for those columns."""
    how = Packing(but)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trafficvault.packing._repeats", lambda column: True)
        return Rows(how.joined([how.pack(frame) for frame in frames]), how.texts)


@given(FRAMES)
def test_every_text_comes_back(texts: list[list[str | None]]) -> None:
    """As text and as Arrow's dictionary, which is sorted and holds no text that does not occur."""
    frames = [pl.DataFrame({"x": part, "row": range(len(part))}, schema_overrides={"x": pl.String}) for part in texts]
    rows, whole = packed(frames), pl.concat(frames)

    assert rows.column("x").equals(whole["x"])
    assert rows.column("row").equals(whole["row"])
    encoded = dictionary_of(rows.codes("x"), rows.texts["x"])
    assert encoded.to_pylist() == whole["x"].to_list()
    assert encoded.dictionary.to_pylist() == sorted(whole["x"].drop_nulls().unique())


def test_codes_grow_with_the_texts() -> None:
    """More texts than a byte or two bytes number; those of earlier frames keep their meaning."""
    frames = [pl.DataFrame({"x": [f"t{number}" for number in range(count)]}) for count in (10, 300, 70_000)]
    rows = packed(frames)
    assert rows.frame.schema["x"] == pl.UInt32
    assert rows.column("x").equals(pl.concat(frames)["x"])


def test_what_hardly_repeats_is_left_as_it_is() -> None:
    """Numbers for texts that are all different would only cost."""
    how = Packing(["c"])
    rows = pl.DataFrame({"a": ["x", "y", "z"], "b": ["x", "x", "x"], "c": ["x", "x", "x"]})
    assert how.pack(rows).schema == {"a": pl.String, "b": pl.UInt8, "c": pl.String}


SERVED = ("served", "a_number", "b_number", "c_number", "a_asserted", "imsi", "line", "start")
"""The columns whose mixture makes the order."""


@given(house.frames() | house.frames(SERVED), st.booleans(), st.integers(0, 11), st.sets(st.sampled_from(SERVED)))
@example(house.each_served(), True, 0, set())
@example(house.each_served(), False, 3, set())
@example(house.each_served(), True, 3, {"c_number"})
@example(house.each_served(), True, 3, {"a_number", "served"})
@example(house.each_served().drop("a_number"), True, 5, set())
@example(house.each_served().drop("b_number", "imsi"), True, 0, set())
@example(house.each_served().drop("served"), True, 0, set())
def test_order_and_posts_are_those_of_the_texts(rows: pl.DataFrame, by_served: bool, cut: int, but: set[str]) -> None:
    """Whatever is packed and in whatever frames it came, order keys and pairs are those of rows that are not."""
    cut %= rows.height
    there = packed([rows[:cut], rows[cut:]] if cut else [rows], but)
    plain = Rows(rows, {})
    keys, expected = OrderKeys(there, by_served=by_served), OrderKeys(plain, by_served=by_served)

    assert keys.texts().to_list() == rows.select(order_key(rows.columns, by_served=by_served)).to_series().to_list()

    assert keys.texts().to_list() == expected.texts().to_list()
    assert keys.ranks().argsort(kind="stable").tolist() == expected.ranks().argsort(kind="stable").tolist()
    assert keys.hashes.tolist() == expected.hashes.tolist()
    one, other = Posting(), Posting()
    one.add(there, keys)
    other.add(plain, expected)
    assert one.pairs().tolist() == other.pairs().tolist()
    assert one.prefixes == other.prefixes


@given(house.frames())
def test_rows_come_in_both_orders_and_are_forgotten(rows: pl.DataFrame) -> None:
    """That of `start`, and that of blocks; once both were taken nothing is held."""
    held = PackedRows(packed([rows.reverse()]))
    in_time = [part.column(name) for part in held.in_time(10**6) for name in rows.columns if name == "start"]
    in_blocks = [part.column("start") for part in held.in_blocks(10**6) if "start" in rows.columns]
    if in_time:
        assert in_time[0].drop_nulls().is_sorted() or "batch" in rows.columns
        assert in_blocks[0].equals(rows["start"])
    assert held._rows.frame.is_empty()
