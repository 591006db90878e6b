"""The list of cells of a block file: it leaves no row out, opens few blocks, and opens with what it tells of alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingest.record import FRAME, HOW_MUCH, SCHEMA, WHEN, WHERE, WHO
from queries import matching
from queries.scope import Target
from tests.thorough import as_many
from tests.trafficvault import block_house as house
from tests.trafficvault.block_house import busy, opened
from trafficvault import block_form, block_matching, blocks, postings
from trafficvault.block_cells import ANY, MOST_HOURS, CellPosting, hashes_of
from trafficvault.block_form import CELLS, DIRECTORY, Seals
from trafficvault.block_lists import Lists
from trafficvault.block_matching import Wanted
from trafficvault.blocks import BlockFile
from trafficvault.errors import FaultError
from trafficvault.packing import Packing, Rows
from trafficvault.sealed_parquet import polars_type

MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
HERE, THERE = "204-99-0000-0001", "204-99-0000-0002"


def moments(lowest: int, highest: int) -> st.SearchStrategy[datetime | None]:
    """A quarter of an hour that many hours from midnight on, or none."""
    return st.none() | st.integers(4 * lowest, 4 * highest).map(lambda quarters: MIDNIGHT + quarters * HOUR / 4)


NOTHING = dict.fromkeys(("start_cell", "end_cell", "start", "end", "reported_at", "duration_ms"))
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "start_cell": st.sampled_from([None, HERE, THERE]),
            "end_cell": st.sampled_from([None, HERE, THERE]),
            "start": moments(-1, 25),
            "end": moments(-2, 60),
            "reported_at": moments(-2, 60),
            "duration_ms": st.none() | st.integers(0, 60 * 3_600_000) | st.just(-1) | st.just(2**63 - 1),
        }
    ),
    min_size=1,
    max_size=6,
)


def frame_of(rows: list[dict[str, object]], but: str = "") -> pl.DataFrame:
    """Records of these rows, without the column `but`."""
    frame = pl.DataFrame(rows, schema={name: polars_type(name) for name in rows[0]})
    return frame.select(name for name in frame.columns if name != but)


def pairs_of(rows: Rows, record_class: str = "telephony") -> postings.Hashes:
    """What is posted of them."""
    posting = CellPosting(record_class)
    posting.add(rows)
    return posting.pairs()


def micros(moment: datetime) -> int:
    """Microseconds since 1970."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


@pytest.mark.no_cover
@settings(max_examples=as_many(300), deadline=None)
@given(
    rows=ROWS,
    record_class=st.sampled_from(["telephony", "binding"]),
    begin=st.integers(-8, 150),
    quarters=st.sampled_from([1, 4, 30, 95, 97, 200]),
    but=st.sampled_from(["", "start", "end", "reported_at", "duration_ms", "end_cell"]),
)
@example([{**NOTHING, "end_cell": HERE, "start": MIDNIGHT, "reported_at": MIDNIGHT + HOUR}], "telephony", 4, 1, "")
@example([{**NOTHING, "start_cell": HERE, "start": MIDNIGHT, "duration_ms": 3_600_000}], "telephony", 4, 1, "end")
@example([{**NOTHING, "start_cell": HERE, "start": MIDNIGHT}], "binding", 90, 1, "end_cell")
def test_every_record_is_posted_for_the_hours_in_which_it_is_found(
    rows: list[dict[str, object]], record_class: str, begin: int, quarters: int, but: str
) -> None:
    """Whatever its moments tell, and whichever of them there are: what a question finds, the list names."""
    start = MIDNIGHT + begin * HOUR / 4
    target = Target("cell", HERE, start, start + quarters * HOUR / 4)
    frame = frame_of(rows, but)
    numbered = frame.with_columns(record_class=pl.lit(record_class)).with_row_index("_row")

    found = matching.hits(numbered, [target]).filter("inside").height
    hashed = hashes_of([HERE], (micros(target.start), micros(target.end)))
    posted, _ = postings.split(pairs_of(Rows(frame, {}), record_class), postings.HASH_BITS)

    assert not found or set(posted.tolist()) & {one >> postings.BLOCK_BITS for one in hashed}


@pytest.mark.no_cover
@settings(max_examples=as_many(50), deadline=None)
@given(ROWS)
def test_packed_columns_post_the_same(rows: list[dict[str, object]]) -> None:
    """Whether the cells come numbered or as they are."""
    how, frame = Packing(), frame_of(rows * 3)
    packed = Rows(how.joined([how.pack(frame)]), how.texts)

    assert pairs_of(packed).tolist() == pairs_of(Rows(frame, {})).tolist()


@pytest.mark.parametrize(
    ("start", "end", "hours"),
    [
        (timedelta(hours=9, minutes=59), timedelta(hours=10), [9, 10]),
        (timedelta(hours=10), timedelta(hours=10, minutes=59), [10]),
        (timedelta(hours=23, minutes=59), timedelta(hours=24), [0, 23]),
        (timedelta(hours=10), timedelta(hours=9), [10]),
        (timedelta(hours=1), timedelta(hours=MOST_HOURS), [*range(1, MOST_HOURS + 1)]),
        (timedelta(hours=1), timedelta(hours=MOST_HOURS + 1), [ANY]),
    ],
)
def test_the_hours_of_a_record(start: timedelta, end: timedelta, hours: list[int]) -> None:
    """From the hour of its first moment to that of its last, and `ANY` where there are many."""
    row = {"start_cell": HERE, "end_cell": HERE, "start": MIDNIGHT + start, "end": MIDNIGHT + end}
    cells = np.full(len(hours), postings.hash_of("cell", HERE), np.uint64)

    expected = postings.pairs(postings.hourly(cells, np.array(hours)), np.zeros(len(hours), np.uint64))

    assert pairs_of(Rows(frame_of([row]), {})).tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("start", "length", "count"),
    [(0, 60, 1), (30, 60, 2), (0, 24 * 60, 24), (30, 24 * 60, 24), (30, 400 * 24 * 60, 24)],
)
def test_a_window_asks_for_each_hour_once(start: int, length: int, count: int) -> None:
    """However long it is, it asks for the hours of one day, and for `ANY`; without one, for all."""
    first = micros(MIDNIGHT + timedelta(minutes=start))

    found = hashes_of([HERE, THERE], (first, first + length * 60_000_000))

    assert len(found) == len(set(found)) == 2 * (count + 1)
    assert set(found) <= set(hashes_of([HERE, THERE], None)) and len(hashes_of([HERE, THERE], None)) == 50


# --- in a file --------------------------------------------------------------------------------------------------------


def served(rows: int) -> pl.DataFrame:
    """A busy network whose records have cells: each of 97 anywhere in the order of subscribers."""
    made = busy(rows).with_columns(
        start_cell=pl.format("204-99-0000-{}", pl.col("row") % 97),
        end_cell=pl.when(pl.col("row") % 2 == 0).then(pl.format("204-99-0000-{}", pl.col("row") % 89)),
        end=pl.col("start") + pl.duration(seconds=90),
    )
    return made.select(name for name in SCHEMA.names if name in made.columns)


def wanted(cell: str, begin: datetime, end: datetime, rows: pl.DataFrame) -> Wanted:
    """What is looked up for a cell in a window."""
    found = block_matching.wanted([Target("cell", cell, begin, end)], rows.columns)
    assert found is not None
    return found


def expected(rows: pl.DataFrame, cell: str, begin: datetime, end: datetime) -> list[int]:
    """The rows of a cell in a window."""
    here = (pl.col("start_cell") == cell) | (pl.col("end_cell") == cell)
    return sorted(rows.filter(here, pl.col("start") < end, pl.col("end") >= begin)["row"])


def without_list(path: Path, rows: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A block file as they were before there were lists of cells."""
    with monkeypatch.context() as before:
        before.setattr(Seals, "cells", False)
        return house.write(path, rows)


def test_few_blocks_are_opened_for_an_hour(tmp_path: Path) -> None:
    """Of eight blocks that all hold the cell only those are named in which it served somebody about that hour."""
    rows = served(8000).with_columns(start=MIDNIGHT + pl.duration(minutes=pl.int_range(pl.len()) * 1440 // pl.len()))
    rows = rows.with_columns(end=pl.col("start") + pl.duration(seconds=90))
    file = opened(tmp_path / "x.blocks", house.ordered(rows))
    window = MIDNIGHT + 12 * HOUR, MIDNIGHT + 13 * HOUR
    asked = wanted("204-99-0000-5", *window, rows)

    (found,) = blocks.find([file], asked)

    assert 0 < len(found) < len(blocks.find([file], wanted("204-99-0000-5", MIDNIGHT, MIDNIGHT + 24 * HOUR, rows))[0])
    assert sorted(file.rows(asked, rows.columns)["row"]) == expected(rows, "204-99-0000-5", *window)


@pytest.mark.parametrize("shut", [WHEN, None])
def test_without_the_list_the_sections_are_looked_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shut: str | None
) -> None:
    """Where a file has no list, or was opened without `when`, which it tells of: the same rows."""
    rows = served(3000)
    path = tmp_path / "x.blocks"
    without_list(path, rows, monkeypatch) if shut is None else house.write(path, rows)
    file = BlockFile.open(path, house.PLACE, {name: key for name, key in house.KEYS.items() if name != shut})
    window = MIDNIGHT, MIDNIGHT + 48 * HOUR
    times = ("start", "end") if shut is None else ()
    columns = ["row", "a_number", "start_cell", "end_cell", *times]
    asked = wanted("204-99-0000-5", *window, rows.select(columns))

    assert blocks.find([file], asked) == [[0, 1, 2]]
    assert sorted(file.rows(asked, ["row"])["row"]) == expected(rows, "204-99-0000-5", *window)
    assert file.lists().cells is None


def test_the_list_opens_with_all_that_it_tells_of(tmp_path: Path) -> None:
    """Whichever of `who`, `where` and `when` is gone: neither the list nor its index opens with the others."""
    file = opened(tmp_path / "x.blocks", served(3000))
    told, salt = file.outline.directory.cells, file.outline.salt
    assert told is not None and told[0] < told[1] < told[2]
    with file.outline.path.open("rb") as content:
        content.seek(told[1])
        index = content.read(told[2] - told[1])

    assert file.seals.unseal(CELLS, DIRECTORY, 0, index)
    for gone in (WHO, WHERE, WHEN):
        guessed = Seals.of(house.PLACE, house.KEYS | {gone: bytes(32)}, salt)
        with pytest.raises(InvalidTag):
            guessed.unseal(CELLS, DIRECTORY, 0, index)
    for gone in (WHERE, WHEN):
        assert not Seals.of(house.PLACE, {name: key for name, key in house.KEYS.items() if name != gone}, salt).cells
    assert Seals.of(house.PLACE, {name: house.KEYS[name] for name in (WHO, WHERE, WHEN)}, salt).cells
    assert {HOW_MUCH, FRAME} <= set(file.categories)


@pytest.mark.parametrize("place", [0, 1])
def test_a_damaged_list_is_told(tmp_path: Path, place: int) -> None:
    """In a chunk of it and in its index alike: the caller reads the record file instead."""
    rows = served(1500)
    path = house.write(tmp_path / "x.blocks", rows)
    told = BlockFile.open(path, house.PLACE, house.KEYS).outline.directory.cells
    assert told is not None
    content = bytearray(path.read_bytes())
    content[told[place] + 3] ^= 1
    path.write_bytes(content)
    file = BlockFile.open(path, house.PLACE, house.KEYS)

    with pytest.raises(FaultError, match="damaged"):
        blocks.find([file], wanted("204-99-0000-5", MIDNIGHT, MIDNIGHT + 24 * HOUR, rows))
    with pytest.raises(FaultError, match="damaged"):
        file.lists()


def test_a_list_that_is_not_that_of_its_rows_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`verify` compares it with what the rows give; a file that has none differs in nothing."""
    rows = served(3000)
    file = opened(tmp_path / "x.blocks", rows)
    there = file.lists()
    posting = CellPosting(house.PLACE.record_class)
    posting.add(Rows(rows, {}))
    served_by = posting.pairs()

    def made(cells: postings.Hashes) -> Lists:
        bits = postings.kept_bits(len(cells))
        told = there.first_keys, there.prefixes, there.by_order, there.bits, there.hashes, there.blocks
        return Lists(*told, postings.split(cells, bits))

    assert not made(served_by).differs_from(there)
    assert made(served_by[:-1]).differs_from(there) and made(served_by[1:]).differs_from(there)
    old = BlockFile.open(without_list(tmp_path / "old.blocks", rows, monkeypatch), house.PLACE, house.KEYS)
    assert not made(served_by[:-1]).differs_from(old.lists())


def test_a_file_without_cells_says_so(tmp_path: Path) -> None:
    """Nothing is looked into, and nothing is written but that there is nothing."""
    rows = busy(1500)
    file = opened(tmp_path / "x.blocks", rows)
    told = file.outline.directory.cells

    assert told is not None and told[0] == told[2]
    assert blocks.find([file], wanted(HERE, MIDNIGHT, MIDNIGHT + HOUR, served(1))) == [[]]
    cells = file.lists().cells
    assert cells is not None and not len(cells[0])


def test_rows_stand_in_the_block_that_is_posted() -> None:
    """Rows that are added later are of later blocks."""
    posting = CellPosting("telephony")
    rows = served(block_form.ROWS + 5)
    posting.add(Rows(rows[: block_form.ROWS], {}))
    posting.add(Rows(rows[block_form.ROWS :], {}))

    _, found = postings.split(posting.pairs(), postings.HASH_BITS)

    assert set(found.tolist()) == {0, 1}
