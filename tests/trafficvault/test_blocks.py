"""Block files: what was put in comes out, who is looked up is found, and nothing opens without its keys."""

from __future__ import annotations

import itertools
import os
import tempfile
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from ingest.record import CATEGORIES, CLASSES, FRAME, HOW_MUCH, SCHEMA, WHEN, WHERE, WHO
from queries import matching
from queries.scope import Target
from tests.thorough import as_many
from tests.trafficvault import block_house as house
from tests.trafficvault.block_house import KEYS, PLACE, busy, frames, opened, write
from tests.trafficvault.sealed_store import full_table
from trafficvault import block_encoding, block_form, block_matching, block_writing, blocks
from trafficvault.block_writing import Builder
from trafficvault.blocks import BlockFile
from trafficvault.errors import FaultError, RefusedError, UsageError
from trafficvault.layout import Layout
from trafficvault.packing import Packing, Rows
from trafficvault.sealed_parquet import Place, polars_type

FROM, TO = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
KEY_COLUMNS = (*(place.column for place in matching.PLACES), "prefix_length", "port_from", "port_to")
LOOKED_UP = tuple(name for name in KEY_COLUMNS if not name.endswith("_cell"))


def target(kind: str, value: str | bytes, **more: Any) -> Target:
    """A target over the whole year."""
    return Target(kind, value, FROM, TO, **more)


@st.composite
def targets(draw: st.DrawFn) -> Target:
    """Any target that a block file answers."""
    kind = draw(st.sampled_from(sorted(block_matching.FAMILY_OF_TYPE)))
    if kind in ("ip", "ip_port"):
        address = draw(st.sampled_from(house.ADDRESSES))
        return target(kind, address, port=443) if kind == "ip_port" else target(kind, address)
    return target(kind, draw(house.TEXTS.filter(bool)))


def same(found: pl.DataFrame, expected: pl.DataFrame) -> None:
    """Both hold the same rows, whatever their order."""
    assert found.schema == expected.schema
    assert sorted(map(repr, found.rows())) == sorted(map(repr, expected.rows()))


@pytest.mark.no_cover
@settings(max_examples=as_many(80), deadline=None)
@given(frames(), st.sampled_from(CLASSES))
def test_rows_come_out_as_they_went_in(rows: pl.DataFrame, record_class: str) -> None:
    """Any value of any column of any class, nulls, empty lists and odd texts among them."""
    place = Place(record_class, PLACE.day, PLACE.file_id)
    with tempfile.TemporaryDirectory() as directory:
        file = opened(Path(directory) / "x.blocks", rows, place=place)

        assert_frame_equal(pl.concat(file.every(rows.columns)), rows)
        assert file.height == rows.height


@pytest.mark.no_cover
@settings(max_examples=as_many(150), deadline=None)
@given(frames(LOOKED_UP), st.lists(targets(), min_size=1, max_size=3))
def test_a_lookup_finds_what_a_scan_finds(rows: pl.DataFrame, sought: list[Target]) -> None:
    """Every identifier in every place where the questions look for it, with its port; windows are another test's."""
    wanted = block_matching.wanted(sought, rows.columns)
    assert wanted is not None
    with tempfile.TemporaryDirectory() as directory:
        found = opened(Path(directory) / "x.blocks", rows).rows(wanted, rows.columns)

    same(found, rows.filter(matching.prefilter(sought, rows.columns)))


@pytest.mark.parametrize("count", [1023, 1024, 1025, 5000])
def test_blocks_of_any_number(tmp_path: Path, count: int) -> None:
    """Full blocks, one row more, one less, and frames that end inside a block."""
    rows = busy(count)
    cuts = [0, 1, 700, min(1500, count), count]
    parts = [rows[low:high] for low, high in itertools.pairwise(cuts)]
    file = opened(tmp_path / "x.blocks", *parts)

    assert_frame_equal(pl.concat(file.every(rows.columns)), rows)
    for sought in ("+31610000000", "+31610000377", "+31201000003", "+31201000498", "+31699999999"):
        one = target("msisdn", sought)
        wanted = block_matching.wanted([one], rows.columns)
        assert wanted is not None
        same(file.rows(wanted, rows.columns), rows.filter(matching.prefilter([one], rows.columns)))


def test_many_files_are_read_at_once(tmp_path: Path) -> None:
    """Rows come file by file, with how many of each; a batch ends inside a file without harm."""
    rows = busy(3000)
    files = [opened(tmp_path / f"{number}.blocks", rows[: 1000 * number]) for number in (1, 2, 3)] * 40
    one = target("msisdn", rows["b_number"].drop_nulls()[5])
    wanted = block_matching.wanted([one], rows.columns)
    assert wanted is not None

    found, counts = blocks.rows_of(files, wanted, ["b_number", "start", "row"])

    assert sum(counts) == found.height
    assert counts == [file.rows(wanted, ["row"]).height for file in files]
    assert found["b_number"].unique().to_list() == [one.value]
    assert blocks.rows_of([], wanted, ["row"])[1] == []


def test_few_bytes_are_read_for_one_person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory apart, a lookup reads no more than a few blocks."""
    rows = busy(40_000)
    file = opened(tmp_path / "x.blocks", rows)
    read: list[int] = []
    pread = os.pread

    def counted(handle: int, length: int, at: int) -> bytes:
        read.append(length)
        return pread(handle, length, at)

    monkeypatch.setattr(os, "pread", counted)
    wanted = block_matching.wanted([target("imsi", rows["imsi"][20_000])], rows.columns)
    assert wanted is not None

    assert file.rows(wanted, rows.columns).height
    assert sum(read) < 0.15 * (tmp_path / "x.blocks").stat().st_size


def test_calls_are_found_by_their_id(tmp_path: Path) -> None:
    """Hundreds of correlation ids at once, in texts of any form."""
    ids = [f"call-{number}" for number in range(900)] + [f"{number:x}@host" for number in range(900)] + [None] * 100
    rows = house.ordered(
        pl.DataFrame({"correlation_id": ids, "row": range(len(ids))}, schema_overrides={"row": pl.Int64})
    )
    file = opened(tmp_path / "x.blocks", rows)
    asked = [one for one in ids[::7] if one is not None]

    same(file.rows(block_matching.calls(asked), rows.columns), rows.filter(pl.col("correlation_id").is_in(asked)))
    assert file.rows(block_matching.calls(["nothing"]), rows.columns).is_empty()


@pytest.mark.parametrize("value", ["121212", "ab@ab.ab@ab", "b@c.nl"])
def test_texts_that_stand_within_others(tmp_path: Path, value: str) -> None:
    """A text is found where it stands alone, and not at the seam of two others, nor within one."""
    texts = ["xx12", value, "ab@", "12", value[:3], value[3:], f"{value}{value}", f"a{value}", f"{value}1", "", "1"]
    lists = [[text, "1"] for text in texts[:-1]] + [None]
    rows = house.ordered(pl.DataFrame({"mail_from": texts, "mail_to": lists, "row": range(len(texts))}))
    rows = rows.with_columns(session_id=pl.col("mail_from").reverse(), row=pl.col("row").cast(pl.Int64))
    file = opened(tmp_path / "x.blocks", rows)

    for kind in ("email", "session"):
        one = target(kind, value)
        wanted = block_matching.wanted([one], rows.columns)
        assert wanted is not None
        same(file.rows(wanted, rows.columns), rows.filter(matching.prefilter([one], rows.columns)))


def test_many_different_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts that a table of all of them, block by block, would be too large for, are sorted instead."""
    monkeypatch.setattr(block_encoding, "_PRESENCE", 0)
    rows = busy(3000).with_columns(
        session_id=pl.col("a_number").str.reverse() + pl.lit("x"), b_number=pl.col("b_number").str.replace("1", "x")
    )

    assert_frame_equal(pl.concat(opened(tmp_path / "x.blocks", rows).every(rows.columns)), rows)


@pytest.mark.parametrize("most", [0, 1024])
def test_texts_may_come_numbered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Packed columns are those of text, whether their values are few or not, constant, or null in places."""
    monkeypatch.setattr(block_encoding, "_CATEGORIES", most)
    rows = busy(3000)
    names = ("source", "record_id", "b_kind", "visited_country", "subscriber")
    packing = Packing(set(rows.columns) - set(names))
    frames = [packing.joined([packing.pack(part)]) for part in (rows[:2048], rows[2048:])]

    file = opened(tmp_path / "x.blocks", *(Rows(frame, packing.texts) for frame in frames))

    assert pl.concat(file.every(rows.columns)).equals(rows)


def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though blocks are written while the next are encoded, no fault of that is lost."""
    monkeypatch.setattr(block_writing, "_SLAB", 2 * block_form.ROWS)
    builder = Builder(Path("/dev/full"), PLACE, KEYS)
    with pytest.raises(OSError, match="No space left"), builder:
        builder.add(busy(8000))
        builder.finish()


def test_frames_may_differ_in_their_columns(tmp_path: Path) -> None:
    """A column that a frame has not is null in its rows; one that no frame has reads as null."""
    rows = busy(1500)
    file = opened(tmp_path / "x.blocks", rows[:700].drop("imsi"), rows[700:])

    found = pl.concat(file.every(["imsi", "row", "eid", "start_cell"]))

    assert found["imsi"].null_count() == 700
    assert found["imsi"][700:].equals(rows["imsi"][700:])
    assert found["eid"].null_count() == found["start_cell"].null_count() == 1500
    assert found.schema["start_cell"] == polars_type("start_cell")


@pytest.mark.parametrize("record_class", CLASSES)
def test_every_column_of_every_class_has_a_section(tmp_path: Path, record_class: str) -> None:
    """And no value of any is in the file in clear."""
    rows = house.ordered(pl.DataFrame(pl.from_arrow(full_table(20))))
    place = Place(record_class, PLACE.day, PLACE.file_id)
    file = opened(tmp_path / "x.blocks", rows, place=place)

    assert_frame_equal(pl.concat(file.every(SCHEMA.names)), rows.select(SCHEMA.names))
    content = (tmp_path / "x.blocks").read_bytes()
    assert not [mark for mark in (b"marked", b"mrk-ip", b"KRAM", b"MARK") if mark in content]


@pytest.mark.parametrize(
    "kind,value", [("cell", "204-99-1-1"), ("prefix", house.ADDRESSES[0]), ("number_range", "+31")]
)
def test_what_only_a_scan_finds_is_left_to_the_caller(kind: str, value: str | bytes) -> None:
    """Ranges and prefixes are not posted, and a cell is looked for elsewhere than a number."""
    more: dict[str, dict[str, Any]] = {"prefix": {"length": 24}, "number_range": {"upper": "+32"}}
    one = target(kind, value, **more.get(kind, {}))

    assert block_matching.wanted([target("msisdn", "+31612345678"), one], SCHEMA.names) is None


def test_a_place_that_is_not_shown_is_not_searched(tmp_path: Path) -> None:
    """As the questions' own filter has it."""
    rows = busy(2000)
    file = opened(tmp_path / "x.blocks", rows)
    one = target("msisdn", rows["b_number"].drop_nulls()[0])
    shown = [name for name in rows.columns if name != "b_number"]
    wanted = block_matching.wanted([one], shown)
    assert wanted is not None

    assert file.rows(wanted, shown).is_empty()


@pytest.mark.parametrize("lacking", [WHERE, WHEN, HOW_MUCH, FRAME])
def test_a_category_without_its_key_stays_shut(tmp_path: Path, lacking: str) -> None:
    """Its columns can't be read, and all the others can."""
    rows = busy(1200)
    path = write(tmp_path / "x.blocks", rows)
    file = BlockFile.open(path, PLACE, {name: key for name, key in KEYS.items() if name != lacking})
    shut = [name for name in rows.columns if name in house.category_columns(lacking)]
    rest = [name for name in rows.columns if name not in shut]

    assert_frame_equal(pl.concat(file.every(rest)), rows.select(rest))
    assert shut
    for name in shut:
        with pytest.raises(RefusedError, match=f"category {lacking} was not opened"):
            list(file.every([name]))
        with pytest.raises(RefusedError, match=f"category {lacking} was not opened"):
            file.rows(block_matching.calls(["x"]), [name])


def test_nothing_opens_without_who(tmp_path: Path) -> None:
    """The order of the rows is that of `who`, so every section needs its key; and the right one."""
    path = write(tmp_path / "x.blocks", busy(1200))

    with pytest.raises(RefusedError, match="category who was not opened"):
        BlockFile.open(path, PLACE, {name: key for name, key in KEYS.items() if name != WHO})
    with pytest.raises(FaultError, match="another file"):
        BlockFile.open(path, PLACE, KEYS | {WHO: bytes(32)})
    for category in (WHERE, WHEN, HOW_MUCH, FRAME):
        file = BlockFile.open(path, PLACE, KEYS | {category: bytes(32)})
        there = [name for name in house.category_columns(category) if name in busy(1).columns]
        with pytest.raises(FaultError, match="another file"):
            list(file.every(there))


def test_a_category_that_died_is_left_out(tmp_path: Path) -> None:
    """A file can be made of what is left of a day."""
    rows = busy(1200).drop("visited_country")
    keys = {name: key for name, key in KEYS.items() if name != WHERE}

    assert_frame_equal(pl.concat(opened(tmp_path / "x.blocks", rows, keys=keys).every(rows.columns)), rows)
    with pytest.raises(RefusedError, match="category where"), Builder(tmp_path / "y.blocks", PLACE, keys) as builder:
        builder.add(busy(10))


@pytest.mark.parametrize(
    "place",
    [
        Place("telephony", PLACE.day, PLACE.file_id),
        Place(PLACE.record_class, date(2026, 3, 2), PLACE.file_id),
        Place(PLACE.record_class, PLACE.day, "f" * 32),
    ],
    ids=str,
)
def test_a_file_of_another_place_does_not_open(tmp_path: Path, place: Place) -> None:
    """Class, day and file id are the caller's, and bound to everything in the file."""
    path = write(tmp_path / "x.blocks", busy(50))

    with pytest.raises(FaultError, match="another file"):
        BlockFile.open(path, place, KEYS)


def test_every_flipped_byte_is_refused(tmp_path: Path) -> None:
    """Sections, posting lists, directory and trailer: no change goes unnoticed by who reads that part."""
    rows = busy(1100)
    path = write(tmp_path / "x.blocks", rows)
    content = path.read_bytes()
    whole = pl.concat(BlockFile.open(path, PLACE, KEYS).every(rows.columns))
    sought = [target("msisdn", number) for number in rows["b_number"].drop_nulls().unique().to_list()]
    wanted = block_matching.wanted(sought, rows.columns)
    assert wanted is not None
    for at in {*range(0, len(content), 211), *range(len(content) - 30, len(content))}:
        path.write_bytes(content[:at] + bytes([content[at] ^ 0x40]) + content[at + 1 :])
        with pytest.raises(FaultError, match="damaged"):
            file = BlockFile.open(path, PLACE, KEYS)
            assert pl.concat(file.every(rows.columns)).equals(whole)
            file.rows(wanted, rows.columns)


@pytest.mark.parametrize("length", [0, 3, 40, 1000])
def test_a_file_cut_short_is_refused(tmp_path: Path, length: int) -> None:
    """As is one that is missing, or that something was put before."""
    path = write(tmp_path / "x.blocks", busy(1100))
    content = path.read_bytes()
    for damaged in (content[:length], content[:-length] if length else b"", b"x" * (length + 1) + content):
        path.write_bytes(damaged)
        with pytest.raises(FaultError, match="missing, damaged"):
            BlockFile.open(path, PLACE, KEYS)
    path.unlink()
    with pytest.raises(FaultError, match="missing, damaged"):
        BlockFile.open(path, PLACE, KEYS)


def test_sections_can_not_be_exchanged(tmp_path: Path) -> None:
    """Two blocks of equal rows have sections of equal length: put in each other's place, neither opens."""
    rows = pl.concat([busy(1024)[:1]] * 2048)
    path = write(tmp_path / "x.blocks", rows)
    file = BlockFile.open(path, PLACE, KEYS)
    ends = file._directory.ends.tolist()
    width = len(CATEGORIES)
    content = path.read_bytes()
    assert ends[1] - ends[0] == ends[width + 1] - ends[width]
    middle = content[ends[1] : ends[width]]
    swapped = content[ends[width] : ends[width + 1]] + middle + content[ends[0] : ends[1]] + content[ends[width + 1] :]
    path.write_bytes(swapped)

    with pytest.raises(FaultError, match="damaged"):
        list(file.every(["a_number"]))
    assert list(file.every(["start"]))


def test_a_file_that_was_cut_short_is_no_file_of_nulls(tmp_path: Path) -> None:
    """A section that is missing is told from one that was never written, though a directory was read before."""
    path = write(tmp_path / "x.blocks", busy(2048))
    file = BlockFile.open(path, PLACE, KEYS)
    ends = file._directory.ends.tolist()
    with path.open("r+b") as handle:
        handle.truncate(ends[len(CATEGORIES) + 1])

    with pytest.raises(FaultError, match="damaged"):
        list(file.every(["start"]))


def test_a_file_made_again_shares_no_key(tmp_path: Path) -> None:
    """Nonces count, so each writing has keys of its own: equal rows give other bytes, and an old directory no rows."""
    first, second = (write(tmp_path / f"{name}.blocks", busy(1100)) for name in "ab")
    old = BlockFile.open(first, PLACE, KEYS)
    assert first.read_bytes()[:64] != second.read_bytes()[:64]
    first.write_bytes(second.read_bytes())

    with pytest.raises(FaultError, match="another file"):
        list(old.every(["a_number"]))


def test_a_file_of_another_form_is_as_good_as_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another version of the program may have other columns; the file is then made again."""
    monkeypatch.setattr(block_form, "form", lambda: "blocks-0/0123456789abcdef")
    path = write(tmp_path / "x.blocks", busy(10))
    monkeypatch.undo()

    with pytest.raises(FaultError, match="damaged"):
        BlockFile.open(path, PLACE, KEYS)


def test_a_large_directory_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that is longer than the end that is read at first."""
    monkeypatch.setattr(blocks, "_LEAST_TAIL", 100)
    monkeypatch.setattr(blocks, "_TAIL_SHARE", 10**9)
    rows = busy(3000)

    assert_frame_equal(pl.concat(opened(tmp_path / "x.blocks", rows).every(rows.columns)), rows)


def test_rows_out_of_order_are_refused(tmp_path: Path) -> None:
    """Within a frame or between two; a lookup by order would miss them."""
    rows = busy(50)
    with Builder(tmp_path / "x.blocks", PLACE, KEYS) as builder:
        builder.add(rows.reverse())
        with pytest.raises(FaultError, match="not in the order"):
            builder.finish()
    rows = house.ordered(busy(2048))
    with Builder(tmp_path / "y.blocks", PLACE, KEYS) as builder:
        builder.add(rows[1024:])
        builder.add(rows[:1000])
        with pytest.raises(FaultError, match="not in the order"):
            builder.finish()


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    """A record file has at least one row."""
    with Builder(tmp_path / "x.blocks", PLACE, KEYS) as builder:
        builder.add(busy(5)[:0])
        with pytest.raises(FaultError, match="no rows"):
            builder.finish()


def test_a_column_that_is_not_of_the_record_is_refused(tmp_path: Path) -> None:
    """In writing and in reading."""
    rows = busy(10)
    file = opened(tmp_path / "x.blocks", rows)
    with pytest.raises(UsageError, match="colour is not a column"):
        list(file.every(["colour"]))
    with pytest.raises(UsageError, match="colour is not a column"), Builder(tmp_path / "y", PLACE, KEYS) as builder:
        builder.add(rows.with_columns(colour=pl.lit("red")))


def test_files_of_several_classes_are_refused(tmp_path: Path) -> None:
    """Their sections have other columns."""
    rows = busy(10)
    other = opened(tmp_path / "y.blocks", rows, place=Place("telephony", PLACE.day, PLACE.file_id))

    with pytest.raises(UsageError, match="several classes"):
        blocks.rows_of([opened(tmp_path / "x.blocks", rows), other], block_matching.calls(["x"]), ["row"])


def test_what_is_wanted_is_never_shown(tmp_path: Path) -> None:
    """Neither it nor a file that is open shows a value or a key in its representation."""
    wanted = block_matching.wanted([target("msisdn", "+31612345678"), target("ip", house.ADDRESSES[0])], SCHEMA.names)

    assert "3161" not in repr(wanted)
    assert "192" not in repr(wanted)
    assert repr(opened(tmp_path / "x.blocks", busy(10))).startswith("<trafficvault.blocks.BlockFile object")


def test_it_lies_beside_its_record_file() -> None:
    """Under the same file id, and dies with the same directory."""
    layout = Layout(Path("vault"), Path("keys"))
    record = layout.record_file("voip", PLACE.day, "ab")

    assert layout.blocks_file("voip", PLACE.day, "ab") == record.with_suffix(".blocks")
