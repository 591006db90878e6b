"""What a lookup leaves out of a block file is only what no question would have been given: cells, ports and windows."""

from __future__ import annotations

import tempfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.record import CATEGORIES, SCHEMA, WHERE
from queries import matching
from queries.scope import Target
from tests.thorough import as_many
from tests.trafficvault import block_house as house
from tests.trafficvault.block_house import busy, frames, opened
from trafficvault import block_matching, block_unpacking, blocks
from trafficvault.blocks import BlockFile
from trafficvault.errors import FaultError, RefusedError
from trafficvault.sealed_parquet import polars_type

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
COLUMNS = (
    *("a_number", "public_ip", "prefix_length", "port_from", "port_to", "access_ip", "start_cell", "end_cell"),
    *("start", "end", "reported_at", "duration_ms", "row"),
)


@st.composite
def sought(draw: st.DrawFn) -> list[Target]:
    """Up to three targets that one block file answers together, each with a window of its own."""
    cells = draw(st.booleans())
    found = []
    for _ in range(draw(st.integers(1, 3))):
        begin = NOON + timedelta(hours=draw(st.integers(-13, 12)))
        window = begin, begin + timedelta(hours=draw(st.integers(1, 24)))
        kind = "cell" if cells else draw(st.sampled_from(("ip", "ip_port", "msisdn")))
        if kind == "ip_port":
            port = draw(st.sampled_from((1, 500, 65_535)))
            found.append(Target(kind, draw(st.sampled_from(house.ADDRESSES)), *window, port=port))
        elif kind == "ip":
            found.append(Target(kind, draw(st.sampled_from(house.ADDRESSES)), *window))
        else:
            found.append(Target(kind, draw(house.TEXTS.filter(bool)), *window))
    return found


def inside(rows: pl.DataFrame, targets: list[Target]) -> pl.DataFrame:
    """The rows in which the questions find a target inside its window."""
    numbered = rows.with_columns(record_class=pl.lit(house.PLACE.record_class)).with_row_index("_row")
    found = matching.hits(numbered, targets).filter("inside")["_row"].unique().implode()
    return rows.filter(numbered["_row"].is_in(found))


def counted(rows: pl.DataFrame) -> Counter[str]:
    """How often each row is there."""
    return Counter(map(repr, rows.rows()))


@pytest.mark.no_cover
@settings(max_examples=as_many(150), deadline=None)
@given(frames(COLUMNS), sought())
def test_nothing_is_left_out_that_a_question_would_find(rows: pl.DataFrame, targets: list[Target]) -> None:
    """Each row in which a target is found inside its window comes out, and none that a scan would not give."""
    wanted = block_matching.wanted(targets, rows.columns)
    if wanted is None:
        assert {"a_number", "public_ip", "port_from"}.isdisjoint(rows.columns), "a scan only where nothing is of who"
        return
    with tempfile.TemporaryDirectory() as directory:
        found = counted(opened(Path(directory) / "x.blocks", rows).rows(wanted, rows.columns))

    assert counted(inside(rows, targets)) <= found
    assert found <= counted(rows.filter(matching.prefilter(targets, rows.columns)))


def test_what_is_unpacked_on_a_thread_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many blocks there are, and where one of them was damaged, the caller is told as before."""
    rows = busy(5000)
    path = house.write(tmp_path / "x.blocks", rows)
    one = Target("msisdn", rows["b_number"].drop_nulls()[7], NOON - 12 * HOUR, NOON + 12 * HOUR)
    wanted = block_matching.wanted([one], rows.columns)
    assert wanted is not None

    def read() -> pl.DataFrame:
        return BlockFile.open(path, house.PLACE, house.KEYS).rows(wanted, rows.columns)

    alone = read()
    monkeypatch.setattr(block_unpacking, "_MANY", 1)
    assert alone.height > 1
    assert read().equals(alone)
    content = bytearray(path.read_bytes())
    content[block_end(path) - 20] ^= 1
    path.write_bytes(content)
    with pytest.raises(FaultError, match="damaged"):
        read()


def block_end(path: Path) -> int:
    """Where the first block of a file ends, with its `frame`."""
    return int(BlockFile.open(path, house.PLACE, house.KEYS).outline.directory.ends[len(CATEGORIES)])


def test_a_cell_is_found_in_every_block(tmp_path: Path) -> None:
    """The rows of a cell stand anywhere in the order of subscribers; those outside its window are left out."""
    rows = busy(3000).with_columns(
        start_cell=pl.format("204-99-0000-{}", pl.col("row") % 97),
        end_cell=pl.when(pl.col("row") % 2 == 0).then(pl.format("204-99-0000-{}", pl.col("row") % 89)),
        end=pl.col("start") + pl.duration(seconds=90),
    )
    file = opened(tmp_path / "x.blocks", rows.select(name for name in SCHEMA.names if name in rows.columns))
    one = Target("cell", "204-99-0000-5", NOON - 12 * HOUR, NOON - 11.8 * HOUR)
    wanted = block_matching.wanted([one], rows.columns)
    assert wanted is not None

    found = file.rows(wanted, ["row", "start_cell", "start", "end"])
    scanned = rows.filter(matching.prefilter([one], rows.columns))

    assert blocks.find([file], wanted) == [[0, 1, 2]]
    assert sorted(found["row"]) == sorted(inside_by_time(scanned, one)["row"])
    assert 0 < found.height < scanned.height


def inside_by_time(rows: pl.DataFrame, one: Target) -> pl.DataFrame:
    """The rows whose start and end meet the window."""
    return rows.filter((pl.col("start") < one.end) & (pl.col("end") >= one.start))


def test_a_cell_that_is_nowhere_opens_no_block(tmp_path: Path) -> None:
    """Neither in a file that has cells nor in one that has none."""
    rows = busy(1500)
    with_cells = rows.with_columns(start_cell=pl.lit("204-99-0000-1"))
    one = Target("cell", "204-99-0000-2", NOON, NOON + HOUR)
    for number, those in enumerate((rows, with_cells)):
        wanted = block_matching.wanted([one], those.columns)
        assert wanted is not None
        file = opened(tmp_path / f"{number}.blocks", those.select(n for n in SCHEMA.names if n in those.columns))

        assert blocks.find([file], wanted) == [[]]
        assert file.rows(wanted, ["row"]).is_empty()


def test_a_day_that_lost_its_cells_opens_without_them(tmp_path: Path) -> None:
    """Where no column of a cell is left, its key is not asked for, and nothing is found."""
    rows = busy(1500)
    path = house.write(tmp_path / "x.blocks", rows)
    file = BlockFile.open(path, house.PLACE, {name: key for name, key in house.KEYS.items() if name != WHERE})
    wanted = block_matching.wanted([Target("cell", "204-99-0000-2", NOON, NOON + HOUR)], ["a_number", "start", "row"])
    assert wanted is not None

    assert blocks.find([file], wanted) == [[]]
    assert file.rows(wanted, ["a_number", "start", "row"]).is_empty()


def test_a_cell_does_not_open_without_where(tmp_path: Path) -> None:
    """What tells a cell is looked into under the key of `where` alone, whichever columns are asked for."""
    rows = busy(1500).with_columns(start_cell=pl.lit("204-99-0000-1"))
    path = house.write(tmp_path / "x.blocks", rows.select(name for name in SCHEMA.names if name in rows.columns))
    wanted = block_matching.wanted([Target("cell", "204-99-0000-1", NOON - 12 * HOUR, NOON + 12 * HOUR)], rows.columns)
    assert wanted is not None
    shut = BlockFile.open(path, house.PLACE, {name: key for name, key in house.KEYS.items() if name != WHERE})

    with pytest.raises(RefusedError, match="category where was not opened"):
        shut.rows(wanted, ["a_number"])
    assert BlockFile.open(path, house.PLACE, house.KEYS).rows(wanted, ["a_number"]).height == 1500


def test_a_cell_is_scanned_for_without_who_and_beside_others() -> None:
    """No block opens without the key of who; and two kinds of sections are not looked into for one lookup."""
    cell = Target("cell", "204-99-0000-5", NOON, NOON + HOUR)
    number = Target("msisdn", "+31612345678", NOON, NOON + HOUR)

    assert block_matching.wanted([cell], ["start_cell", "start", "row"]) is None
    assert block_matching.wanted([cell, number], SCHEMA.names) is None
    assert block_matching.wanted([number, cell], SCHEMA.names) is None
    assert block_matching.wanted([], SCHEMA.names) is not None


PORTS = [(None, None), (500, None), (None, 500), (400, 600), (600, 400), (501, 600), (1, 499)]


@pytest.mark.parametrize(("sought_port", "expected"), [(500, [0, 1, 2, 3, 4]), (450, [0, 3, 4, 6]), (None, range(7))])
def test_ports_are_looked_at_before_other_sections(
    tmp_path: Path, sought_port: int | None, expected: list[int]
) -> None:
    """One port alone is a block of one, whichever end it is; none at all is the whole address."""
    address = house.ADDRESSES[0]
    many: dict[str, list[Any]] = {
        "public_ip": [address] * len(PORTS),
        "port_from": [low for low, _ in PORTS],
        "port_to": [high for _, high in PORTS],
        "row": list(range(len(PORTS))),
    }
    rows = pl.DataFrame(many, schema={name: polars_type(name) for name in many})
    kind = "ip" if sought_port is None else "ip_port"
    targets = [Target(kind, address, NOON, NOON + HOUR, port=sought_port)]
    wanted = block_matching.wanted(targets, rows.columns)
    assert wanted is not None

    found = opened(tmp_path / "x.blocks", rows).rows(wanted, rows.columns)

    assert found["row"].to_list() == list(expected)
    # The address as a whole beside it, and every row is wanted again.
    both = block_matching.wanted([*targets, Target("ip", address, NOON, NOON + HOUR)], rows.columns)
    assert both is not None
    assert both.ports == {}


@pytest.mark.parametrize(
    ("start", "end", "reported", "expected"),
    [
        (-2, -1, None, False),
        (-2, 0, None, True),
        (0.5, 0.6, None, True),
        (1, 2, None, False),
        (0.9, -3, None, True),
        (-2, None, None, True),
        (2, None, None, False),
        (None, 0.5, None, True),
        (None, -1, None, False),
        (None, None, 2, False),
        (None, None, 0.5, True),
        (None, None, None, True),
    ],
)
def test_a_row_is_held_against_the_window_by_its_own_times(
    tmp_path: Path, start: float | None, end: float | None, reported: float | None, expected: bool
) -> None:
    """Hours about a window of one hour. Who tells no end may have lasted, for how long another category says."""
    times = {"start": start, "end": end, "reported_at": reported}
    rows = pl.DataFrame(
        {
            "a_number": ["+31612345678"],
            **{name: [at if at is None else NOON + at * HOUR] for name, at in times.items()},
        },
        schema={name: polars_type(name) for name in ("a_number", *times)},
    )
    one = Target("msisdn", "+31612345678", NOON, NOON + HOUR)
    file = opened(tmp_path / "x.blocks", rows)
    wanted = block_matching.wanted([one], rows.columns)
    assert wanted is not None

    assert file.rows(wanted, rows.columns).height == int(expected)
    # Who asks for no time opens no `when`, and is given the row.
    assert file.rows(wanted, ["a_number"]).height == 1


def test_the_window_of_several_targets_holds_all_of_them() -> None:
    """From the first begin to the last end."""
    early = Target("msisdn", "+31612345678", NOON, NOON + HOUR)
    late = Target("imsi", "204990000000001", NOON + 5 * HOUR, NOON + 6 * HOUR)
    wanted = block_matching.wanted([late, early], SCHEMA.names)
    assert wanted is not None
    assert wanted.window is not None

    first, behind = (datetime.fromtimestamp(at / 1_000_000, UTC) for at in wanted.window)
    assert (first, behind) == (NOON, NOON + 6 * HOUR)
