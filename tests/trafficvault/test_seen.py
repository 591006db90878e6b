"""Row hashes and seen blocks: derived, sealed, and of no use to find a destroyed cell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.record import CLASSES, SCHEMA, category_of
from tests.trafficvault.sealed_store import full_table, records
from trafficvault import sealing, seen, signing
from trafficvault.durable import Disk
from trafficvault.errors import FaultError

KEY = bytes(range(32))
SHORT = st.lists(st.integers(0, 2**48 - 1), max_size=50)


def frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Rows as Polars has them."""
    made = pl.from_arrow(records(rows))
    assert isinstance(made, pl.DataFrame)
    return made


def full_frame(rows: int = 5) -> pl.DataFrame:
    """Rows with a value in every column."""
    made = pl.from_arrow(full_table(rows))
    assert isinstance(made, pl.DataFrame)
    return made


@given(SHORT)
def test_a_block_unpacks_to_the_sorted_hashes(numbers: list[int]) -> None:
    """`unpack` is the inverse of `pack`, doubles included."""
    short = np.array(numbers, np.uint64)

    assert seen.unpack(seen.pack(short)) is not None
    assert np.array_equal(seen.unpack(seen.pack(short)), np.sort(short))  # type: ignore[arg-type]  # None was excluded


def test_a_block_is_small() -> None:
    """100,000 rows take less than 5 bytes each; the bare hashes would take 6."""
    short = np.random.default_rng(1).integers(0, 2**48, 100_000).astype(np.uint64)

    assert len(seen.pack(short)) < 5 * len(short)


@pytest.mark.parametrize(
    "change", [{"v": 2}, {"kind": "sight"}, {"algorithm": "rows-1/polars-1.0.0/x86_64/0000000000000000"}], ids=str
)
def test_a_block_of_another_version_is_not_used(change: dict[str, object]) -> None:
    """Its hashes can't be compared with ours; the caller builds them anew."""
    header = {"kind": "seen", "v": 1, "algorithm": seen.algorithm(), "rows": 0} | change

    assert seen.unpack(signing.canonical(header) + b"\n") is None


@pytest.mark.parametrize("content", [b"", b"{}\n", b"[]\n", b"3\n", b"\xff\n", b'{"kind":"seen"}\n'])
def test_a_damaged_block_is_a_fault(content: bytes) -> None:
    """Whatever is no header."""
    with pytest.raises(FaultError, match="seen block"):
        seen.unpack(content)


def test_a_block_whose_body_does_not_match_is_a_fault() -> None:
    """Fewer bytes than the header's rows, or none that decompress."""
    head, _, body = seen.pack(np.arange(100, dtype=np.uint64)).partition(b"\n")
    for content in (head + b"\n", head + b"\n" + body[:-3], head.replace(b"100", b"200") + b"\n" + body):
        with pytest.raises(FaultError, match="seen block"):
            seen.unpack(content)


def test_a_block_on_disk_opens_in_its_place_only(tmp_path: Path) -> None:
    """Missing, moved, changed or under another key it is as good as none."""
    path, short = tmp_path / "f.seen", np.array([3, 1, 2], np.uint64)
    seen.write_block(Disk(), path, KEY, "seen here", short)

    assert np.array_equal(seen.read_block(path, KEY, "seen here"), np.array([1, 2, 3]))  # type: ignore[arg-type]
    assert seen.read_block(path, KEY, "seen there") is None
    assert seen.read_block(path, bytes(32), "seen here") is None
    assert seen.read_block(tmp_path / "g.seen", KEY, "seen here") is None
    path.write_bytes(sealing.seal(KEY, b"nonsense", "seen here"))
    assert seen.read_block(path, KEY, "seen here") is None


@pytest.mark.parametrize("record_class", CLASSES)
def test_no_where_value_is_in_a_hash(record_class: str) -> None:
    """Otherwise the block would give a destroyed cell back by trying all cells."""
    hashed = seen.hashed_columns(record_class)

    assert not [name for name in hashed if category_of(name, record_class) == "where"]
    assert ("utc_offset" in hashed) == (category_of("utc_offset", record_class) == "when")
    assert {"start_cell", "extra_where", "utc_offset"} <= {*seen.compared_columns(record_class)}


def test_what_differs_between_two_deliveries_is_not_compared() -> None:
    """Batch, row, feed and reader's note are of the delivery; source, occurrence and record id of the record."""
    assert {*SCHEMA.names} - {*seen.compared_columns("voip")} == {"batch", "row", "feed_digest", "read_note"}


def test_a_null_hashes_like_an_absent_column() -> None:
    """A file does not hold columns that are null throughout, yet its rows are the same."""
    rows: list[dict[str, Any]] = [{"a_number": "+31612345678"}, {"a_number": None}]
    with_null = frame(rows).with_columns(imsi=pl.lit(None, pl.String))

    assert np.array_equal(seen.row_hashes(frame(rows), SCHEMA.names), seen.row_hashes(with_null, SCHEMA.names))


@pytest.mark.parametrize("column", [name for name in SCHEMA.names if name not in {"cli_withheld", "emergency"}])
def test_each_column_counts(column: str) -> None:
    """Rows that differ in one column alone have different hashes, and a null differs from every value."""
    rows = full_frame()
    one = pl.concat([rows[:1]] * 3).with_columns(
        pl.concat([rows[column][:2], pl.Series([None], dtype=rows[column].dtype)])
    )

    assert len({*seen.row_hashes(one, SCHEMA.names).tolist()}) == 3


def test_the_same_value_in_another_column_is_another_row() -> None:
    """A called B and B called A differ."""
    rows = frame(
        [
            {"a_number": "+31612345678", "b_number": "+31201234567"},
            {"a_number": "+31201234567", "b_number": "+31612345678"},
        ]
    )
    hashes = seen.row_hashes(rows, ("a_number", "b_number"))

    assert hashes[0] != hashes[1]


def test_exchanging_a_value_between_two_rows_changes_the_sum() -> None:
    """Else a sum over all rows would not see two callers being exchanged."""
    rows = frame([{"a_number": "1", "b_number": "3"}, {"a_number": "2", "b_number": "4"}])
    crossed = frame([{"a_number": "2", "b_number": "3"}, {"a_number": "1", "b_number": "4"}])
    sums = [int(seen.row_hashes(each, ("a_number", "b_number")).sum()) for each in (rows, crossed)]

    assert sums[0] != sums[1]


@settings(max_examples=30)
@given(st.permutations(range(5)), st.integers(0, 4), st.integers(0, 5))
def test_a_hash_depends_on_its_row_alone(order: list[int], begin: int, length: int) -> None:
    """Order and slicing don't matter."""
    rows = full_frame()
    hashes = seen.row_hashes(rows, SCHEMA.names)

    assert np.array_equal(seen.row_hashes(rows[order], SCHEMA.names), hashes[order])
    assert np.array_equal(seen.row_hashes(rows.slice(begin, length), SCHEMA.names), hashes[begin : begin + length])


def test_rows_without_any_of_the_columns_still_have_a_hash_each() -> None:
    """The hash of nothing, once per row."""
    hashes = seen.row_hashes(frame([{}, {}]), ("imsi",))

    assert len(hashes) == 2
    assert hashes[0] == hashes[1]


def test_the_algorithm_names_version_and_machine() -> None:
    """What another Polars made is told apart."""
    name, version, _, probe = seen.algorithm().split("/")

    assert (name, version) == ("rows-1", f"polars-{pl.__version__}")
    assert len(probe) == 16
