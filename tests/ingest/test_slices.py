"""Slices: whatever the cuts, a file read in slices is the file read whole."""

from __future__ import annotations

import gzip
import io
import os
import tracemalloc
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.course import Course, in_slices
from ingest.errors import FileRefused
from ingest.feed import SHIPPED, Feed, load_feed, parse_feed
from ingest.read import Reading, read
from ingest.slices import Slice, lies_open, slices, slices_of
from ingest.source import Source
from tests.thorough import as_many

ARRIVED = datetime(2027, 1, 1, tzinfo=UTC)
NAMES = ("asterisk_csv", "mvno_pipe", "native_csv", "native_ndjson")
FEEDS = {name: load_feed(SHIPPED / f"{name}.toml") for name in NAMES}
SHAPES = """
feed = "shapes"
title = "several shapes"
class = "voip"
reader = "delimited"
[dialect]
delimiter = "|"
encodings = ["utf-8", "latin-1"]
[[shapes]]
name = "two"
columns = ["when", "who"]
[[shapes]]
name = "three"
columns = ["when", "who", "other"]
[[shapes]]
name = "comma"
columns = ["when", "who", "other", "more"]
delimiter = ","
quote = '"'
[columns]
start = { from = "when", as = "epoch" }
user_name = { from = "who" }
session_id = { from = "other" }
"""
FEEDS["shapes"] = parse_feed(SHAPES.encode(), "shapes")


def source(feed: str, shape: str | None = None) -> Source:
    """The source of `feed`."""
    return Source(feed, feed, None, None, "Europe/Amsterdam", "NL", None, shape, None, None, None, None)


def cut(data: bytes, size: int) -> list[Slice]:
    """The slices of `data`."""
    return list(slices(io.BytesIO(data).read, 1 << 30, size))


@given(st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\r\n", b"\xff" * 9])), st.integers(1, 20))
def test_slices_are_the_file_in_whole_lines(pieces: list[bytes], size: int) -> None:
    """Joined they are the file; each but the last ends with a line end; rows are counted before each."""
    data = b"".join(pieces)
    for packed in (data, gzip.compress(data)):
        found = cut(packed, size)
        assert b"".join(part.data for part in found) == data
        assert [part.number for part in found] == list(range(len(found)))
        assert [part.last for part in found] == [False] * (len(found) - 1) + [True]
        assert all(part.data.endswith(b"\n") for part in found[:-1])
        assert all(part.data for part in found) or not data
        rows = 0
        for part in found:
            assert part.first_row == rows
            rows += part.data.count(b"\n")


@given(st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\r\n", b"\xff" * 9])), st.integers(1, 20), st.booleans())
def test_a_file_that_can_be_read_again_has_the_same_slices(pieces: list[bytes], size: int, near: bool) -> None:
    """Cut where it lies, packed or not, a file has the slices that it has piece by piece."""
    data = b"".join(pieces)
    with pytest.MonkeyPatch.context() as patch:
        if near:
            patch.setattr("ingest.slices._NEAR", 3)
        for packed in (data, gzip.compress(data)):
            assert list(slices_of(io.BytesIO(packed), 1 << 30, size)) == cut(packed, size)


@given(st.integers(0, 3000), st.integers(100, 300), st.integers(2, 3))
def test_each_worker_gets_as_many_slices(lines: int, size: int, workers: int) -> None:
    """Cut for several workers a file is in whole lines as ever, and in as many even pieces for each."""
    data = b"01\n" * lines
    found = list(slices_of(io.BytesIO(data), 1 << 20, size, workers=workers))
    assert b"".join(part.data for part in found) == data
    assert [part.first_row for part in found] == [at // 3 for at in starts(found)]
    assert [part.last for part in found] == [False] * (len(found) - 1) + [True]
    if len(data) > size:
        assert len(found) == -(-len(data) // (size * workers)) * workers
        lengths = [len(part.data) for part in found]
        assert max(lengths) - min(lengths) <= 2 * 3 * workers


def starts(parts: list[Slice]) -> list[int]:
    """Where in the file each of `parts` starts."""
    return [sum(len(part.data) for part in parts[:number]) for number in range(len(parts))]


def test_two_workers_share_a_file_of_a_slice_and_a_half() -> None:
    """Where one worker would take the most of a file, each gets half."""
    data = b"0123456789\n" * 1500
    halves = [len(part.data) for part in slices_of(io.BytesIO(data), 1 << 20, 11_000, workers=2)]
    assert len(halves) == 2
    assert max(halves) - min(halves) <= 2 * 11


def test_a_file_on_a_disk_that_is_cut_short_meanwhile(tmp_path: Path) -> None:
    """What was there is given, and the last slice says that it is the last."""
    path = tmp_path / "file"
    path.write_bytes(b"0123456789\n" * 100)
    with path.open("rb", buffering=0) as file:
        parts = slices_of(file, 1 << 20, 55)
        first = next(parts)
        path.write_bytes(b"0123456789\n" * 8)
        rest = list(parts)
    assert first == Slice(b"0123456789\n" * 5, 0, 0, last=False)
    assert rest == [Slice(b"0123456789\n" * 3, 5, 1, last=True)]


def test_a_pipe_is_read_as_it_comes() -> None:
    """What can't be read again is cut all the same."""
    ours, theirs = os.pipe()
    data = b"0123456789\n" * 100
    os.write(theirs, data)
    os.close(theirs)
    with os.fdopen(ours, "rb", buffering=0) as file:
        assert list(slices_of(file, 1 << 20, 55)) == cut(data, 55)


def test_a_line_that_never_ends_is_refused() -> None:
    """A slice grows with its line, up to a bound; the refusal names the row."""
    data = b"short\n" + b"x" * 1000
    for way in (slices_of(io.BytesIO(data), 1 << 20, 10), slices(io.BytesIO(data).read, 1 << 20, 10)):
        assert len(list(way)) == 2
    for refused in (slices_of(io.BytesIO(data), 1 << 20, 10, 500), slices(io.BytesIO(data).read, 1 << 20, 10, 500)):
        with pytest.raises(FileRefused, match="row 2 holds more than 500 bytes"):
            list(refused)


def test_what_can_not_be_unpacked_is_refused_on_the_way() -> None:
    """A gzip member cut off behind its first slices, and one over the limit."""
    packed = gzip.compress(b"0123456789\n" * 1000)
    with pytest.raises(FileRefused, match="truncated"):
        list(slices(io.BytesIO(packed[:-9]).read, 1 << 20, 100))
    for content in (packed, b"0123456789\n" * 1000):
        with pytest.raises(FileRefused, match="more than 100 bytes"):
            list(slices_of(io.BytesIO(content), 100, 50))


@dataclass
class Outcome:
    """What became of a file."""

    refused: str | None
    reading: dict[str, Any]


def whole(feed: Feed, data: bytes, shape: str | None) -> Outcome:
    """The file read whole."""
    try:
        found = read(data, feed, source(feed.name, shape), ARRIVED, "file")
    except FileRefused as refused:
        return Outcome(str(refused), {})
    return Outcome(None, told([found], found.shape, found.sequence))


def told(readings: list[Reading], shape: str | None, sequence: int | None) -> dict[str, Any]:
    """Readings of one file as plain values."""
    records: dict[str, list[dict[str, Any]]] = {}
    ignored: dict[str, int] = {}
    notes: dict[str, int] = {}
    for reading in readings:
        for name, frame in reading.records.items():
            rows = frame.drop("occurrence", strict=False).to_dicts()
            records.setdefault(name, []).extend(
                {key: value for key, value in row.items() if value is not None} for row in rows
            )
        for reason, count in reading.ignored.items():
            ignored[reason] = ignored.get(reason, 0) + count
        for note, count in reading.notes.items():
            notes[note] = notes.get(note, 0) + count
    rejections = [row for reading in readings for row in reading.rejections.to_pylist()]
    units = sum(reading.units for reading in readings)
    return {
        "records": records,
        "ignored": ignored,
        "notes": {note: count for note, count in notes.items() if count},
        "rejections": rejections,
        "units": units,
        "shape": shape,
        "sequence": sequence,
    }


def sliced(feed: Feed, data: bytes, shape: str | None, size: int) -> Outcome:
    """The file read in slices, and again where another shape was found."""
    asked: str | None = None
    try:
        for _ in range(2):
            course = Course(feed, source(feed.name, shape), ARRIVED, asked)
            readings = []
            for part in cut(data, size):
                if not course.settled:
                    course.settle(part)
                readings.append(course.read(part))
            end = course.end("file")
            if end.shape is None or end.shape == course.shape:
                return Outcome(None, told(readings, end.shape, end.sequence))
            asked = end.shape
    except FileRefused as refused:
        return Outcome(str(refused), {})
    raise AssertionError("a third reading was asked for")


def examples(feed: Feed) -> bytes:
    """Lines of the feed's own examples."""
    return b"".join(example.raw + b"\n" for example in feed.examples if not example.refused)


LINES: dict[str, list[bytes]] = {
    "asterisk_csv": [*examples(FEEDS["asterisk_csv"]).splitlines(), b'"a', b'"a","b"', b"", b'x"y,z'],
    "mvno_pipe": [*examples(FEEDS["mvno_pipe"]).splitlines(), b"x|y", b"", b"GP|\xe9" + b"|" * 23],
    "native_csv": [
        b"class,start,user_name",
        b'"class",start,user_name',
        b"voip,2026-02-03T10:00:00Z,a",
        b'voip,2026-02-03T10:00:00Z,"a,b"',
        b"binding,2026-02-03T10:00:00Z,\xc3\xa9",
        b"voip,2026-02-03T10:00:00Z,a,b",
        b"voip,yesterday,a",
        b"nosuch,2026-02-03T10:00:00Z,a",
        b'voip,2026,"',
        b"",
        b"\xef\xbb\xbfclass,start,user_name",
    ],
    "native_ndjson": [
        b'{"class":"voip","start":"2026-02-03T10:00:00Z"}',
        b'{"class":"binding","start":"2026-02-03T10:00:00Z","imsi":"204990000000001"}',
        b'{"class":"voip","start":"2026-02-03T10:00:00Z","user_name":"\\u00e9"}',
        b'{"class":"voip"}',
        b'{"clas":"voip"}',
        b"[]",
        b"{",
        b"",
        b"PK\x03\x04",
        b"BZh",
    ],
    "shapes": [
        b"1770131244|a",
        b"1770131244|a|b",
        b"1770131244|\xe9|b",
        b'1770131244,a,"b,c",d',
        b"1770131244,a,b,c",
        b"x|a",
        b'1770131244,a,"b',
        b"",
        b"\xef\xbb\xbf1770131244|a",
    ],
}


@pytest.mark.no_cover
@settings(max_examples=as_many(40), deadline=None)
@given(st.data())
def test_a_file_in_slices_is_the_file_whole(data: st.DataObject) -> None:
    """Records, rejections with number and bytes, what is ignored, notes, shape and refusals, wherever the cuts are."""
    name = data.draw(st.sampled_from(sorted(LINES)))
    lines = data.draw(st.lists(st.sampled_from(LINES[name]), max_size=12))
    if name == "native_csv" and data.draw(st.integers(0, 3)):
        lines = [LINES[name][0], *lines]
    end = data.draw(st.sampled_from([b"\n", b"\r\n"]))
    content = end.join(lines) + data.draw(st.sampled_from([b"", end]))
    shape = data.draw(st.sampled_from([None, *(shape.name for shape in FEEDS[name].shapes)]))
    one, other = whole(FEEDS[name], content, shape), sliced(FEEDS[name], content, shape, data.draw(st.integers(1, 400)))

    if one.refused != other.refused:
        # Which of several reasons is told first may differ, and so may the row: that it is refused may not.
        assert one.refused is not None
        assert other.refused is not None
        assert "is not" in other.refused or "names a column" in other.refused, (one.refused, other.refused)
    assert other.reading == one.reading


def test_which_feeds_are_read_in_slices() -> None:
    """Not those that join lines, nor those that end with a trailer."""
    assert [in_slices(FEEDS[name]) for name in NAMES] == [True] * 4
    assert not in_slices(load_feed(SHIPPED / "kamailio_flatstore.toml"))
    assert not in_slices(load_feed(SHIPPED / "wlr_fixed.toml"))


def test_the_first_slice_may_be_wrong_about_the_shape() -> None:
    """The shape is that of most rows of the file: where the first slice is another, the file is read again."""
    data = b"1770131244|a\n" * 3 + b"1770131244|a|b\n" * 9
    course = Course(FEEDS["shapes"], source("shapes"), ARRIVED)
    parts = cut(data, 30)
    course.settle(parts[0])
    for part in parts:
        course.read(part)
    assert (course.shape, course.end("x").shape) == ("two", "three")
    assert sliced(FEEDS["shapes"], data, None, 30).reading == whole(FEEDS["shapes"], data, None).reading


def test_records_of_a_slice_have_no_occurrence() -> None:
    """It counts over the file, and whoever counts is told which records have an identity."""
    part = cut(b"1770131244|a\n1770131244|a\n", 1 << 20)[0]
    course = Course(FEEDS["shapes"], source("shapes"), ARRIVED)
    course.settle(part)
    found = course.read(part)
    assert "occurrence" not in found.records["voip"].columns
    assert found.identified["voip"].to_list() == [False, False]
    assert {"start", "user_name"} <= set(found.given)
    assert isinstance(found.records["voip"], pl.DataFrame)


@pytest.mark.parametrize(("packed", "most"), [(False, 1.5), (True, 2.5)])
def test_a_slice_that_was_let_go_is_gone(tmp_path: Path, *, packed: bool, most: float) -> None:
    """Whoever keeps none has never two of them: the last one is not there any more when the next one is read. One that
    is unpacked is put together of what was unpacked, which is there beside it for that moment.
    """
    size, rows = 1 << 22, b"0123456789abcde\n" * (6 << 18)
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(rows, 1) if packed else rows)
    peaks, taken = list[float](), 0
    with path.open("rb", buffering=0) as file:
        tracemalloc.start()
        try:
            parts = slices_of(file, 1 << 30, size, workers=3)
            while (part := next(parts, None)) is not None:
                taken += len(part.data)
                del part
                peaks.append(tracemalloc.get_traced_memory()[1] / size)
                tracemalloc.reset_peak()
        finally:
            tracemalloc.stop()
    assert (taken, len(peaks)) == (len(rows), 6)
    assert max(peaks) < most


def test_what_lies_open_can_be_read_anywhere(tmp_path: Path) -> None:
    """A plain file on a disk, and not a packed one, nor what comes through a pipe; it still stands at its start."""
    for content, expected in ((b"a;b\n", True), (b"", True), (gzip.compress(b"a;b\n"), False)):
        path = tmp_path / "file"
        path.write_bytes(content)
        with path.open("rb", buffering=0) as file:
            assert (lies_open(file), file.tell()) == (expected, 0)
    reader, writer = os.pipe()
    os.close(writer)
    with os.fdopen(reader, "rb", buffering=0) as pipe:
        assert not lies_open(pipe)
