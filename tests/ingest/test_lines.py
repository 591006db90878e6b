"""Lines and cells: framing equal to Python's own splitting, text per field in the encoding it needs."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.errors import FeedError, FileRefused
from ingest.lines import (
    ENCODINGS,
    Positions,
    cells,
    codec_name,
    controlled,
    count,
    decode,
    doubtful,
    finish,
    frame,
    plural,
    reject,
)
from tests.thorough import as_many

TEXT = st.lists(
    st.sampled_from([b"\n", b"\r\n", b"\r", b"\t", b"\x07", b"\x7f", b"|", b"ab", b"\xa5", b" " * 300])
).map(b"".join)


def split(data: bytes) -> list[bytes]:
    """The lines of `data` by Python's own means."""
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix(b"\r") for line in lines]


def read(data: bytes, *encodings: str) -> tuple[list[str | None], list[str | None]]:
    """The text and the notes of the lines of `data`."""
    lines = frame(data)
    rows: Positions = np.arange(1, lines.units + 1)
    text, notes = decode(lines, lines.starts, lines.ends, doubtful(lines, encodings), encodings, rows)
    return text.to_list(), notes.to_list() if notes is not None else [None] * lines.units


@given(TEXT)
@settings(max_examples=as_many(120), deadline=None)
def test_framing_equals_splitting(data: bytes) -> None:
    """Lines, their number, their cells, their counts and their control characters are those that plain Python finds."""
    lines = frame(data)
    expected = split(data)

    assert [lines.raw(index) for index in range(lines.units)] == expected
    assert cells(lines, lines.starts, lines.ends).to_list() == expected
    assert lines.empty.tolist() == [not line for line in expected]
    assert lines.terminated == (not data or data.endswith(b"\n"))
    assert count(lines, lines.octets == ord("|")).tolist() == [line.count(b"|") for line in expected]
    assert controlled(lines).tolist() == [any(o in line for o in (b"\r", b"\x07", b"\x7f")) for line in expected]
    assert controlled(lines, "\x07").tolist() == [any(o in line for o in (b"\r", b"\x7f")) for line in expected]


@pytest.mark.parametrize(
    ("data", "units"),
    [(b"", 0), (b"\n", 1), (b"a", 1), (b"a\n", 1), (b"a\n\n", 2), (b"\xef\xbb\xbf", 0), (b"\xef\xbb\xbfa\r\n", 1)],
)
def test_units(data: bytes, units: int) -> None:
    """Each line end makes a unit, a rest without one too; a byte-order mark is no unit."""
    assert frame(data).units == units


def test_byte_order_mark_is_not_in_the_first_field() -> None:
    """The first line starts behind the byte-order mark."""
    assert frame(b"\xef\xbb\xbfa\n").raw(0) == b"a"


@pytest.mark.parametrize(
    ("data", "form"),
    [
        (b"PK\x03\x04rest", "zip"),
        (b"PK\x05\x06rest", "zip"),
        (b"\x1f\x8brest", "twice"),
        (b"\x28\xb5\x2f\xfdrest", "twice"),
        (b"BZh9", "bzip2"),
        (b"a|b\n\x00", "NUL"),
        ("a,b\n".encode("utf-16"), "NUL"),
    ],
)
def test_not_text(data: bytes, form: str) -> None:
    """An archive, a spreadsheet and binary data are refused with a sentence that says what they are."""
    with pytest.raises(FileRefused, match=form):
        frame(data)


def test_first_encoding_that_decodes_each_field() -> None:
    """UTF-8 stays UTF-8 beside a field that needs Latin-1, and only that one is noted."""
    assert read("Zoë\n".encode() + "Zoë\n".encode("latin-1") + b"\xa5\xa5\nJan\n", "utf-8", "latin-1") == (
        ["Zoë", "Zoë", "¥¥", "Jan"],
        [None, "latin-1", "latin-1", None],
    )


def test_first_encoding_is_never_noted() -> None:
    """Where Latin-1 is the declared form, it is what every field is read as, without a note."""
    assert read("Zoë\nJan".encode(), "latin-1") == (["ZoÃ«", "Jan"], [None, None])
    assert read(b"Zo\xeb\n", "ISO-8859-1") == (["Zoë"], [None])
    assert read(b"\x80\nZo\xc3\xab", "ascii", "cp1252") == (["€", "ZoÃ«"], ["cp1252", "cp1252"])


def test_no_encoding_decodes() -> None:
    """A field that no declared encoding decodes is named by its row, and its value is not."""
    with pytest.raises(
        FileRefused, match=r"^row 3 is not text in an encoding that the feed declares \(utf-8, ascii\)"
    ) as e:
        read(b"a\nb\nJans\xe9n\n", "utf-8", "ascii")
    assert "Jans" not in str(e.value)


@given(
    st.lists(
        st.one_of(st.text(st.characters(exclude_categories=["Cc", "Cs"])).map(str.encode), st.binary()), max_size=8
    )
)
@settings(max_examples=as_many(80), deadline=None)
def test_decoding_equals_python(values: list[bytes]) -> None:
    """Each field is what Python's UTF-8 makes of it, else what its Latin-1 does."""
    values = [value.translate(None, b"\r\n\x00") for value in values]
    data = b"|" + b"\n|".join(values)
    lines = frame(data)
    rows: Positions = np.arange(1, lines.units + 1)
    encodings = ("utf-8", "latin-1")
    text, notes = decode(lines, lines.starts + 1, lines.ends, doubtful(lines, encodings), encodings, rows)

    expected: list[str] = []
    wanted: list[str | None] = []
    for value in values or [b""]:
        try:
            expected.append(value.decode())
            wanted.append(None)
        except UnicodeDecodeError:
            expected.append(value.decode("latin-1"))
            wanted.append("latin-1")
    assert text.to_list() == expected
    assert (notes.to_list() if notes is not None else [None] * len(expected)) == wanted


@pytest.mark.parametrize("encoding", ["klingon", "rot13", "utf-16", "cp037"])
def test_encodings_that_no_reader_can_use(encoding: str) -> None:
    """An unknown encoding, one that is none of text, and one that is no superset of ASCII make a bad feed."""
    with pytest.raises(FeedError, match=encoding):
        codec_name(encoding)


def test_finish_applies_the_null_list() -> None:
    """The words of the null list, whole and in their own case, are null; other text stays, blanks too."""
    text = pl.Series(["", "NULL", "null", " ", "N/A", "007"])
    rows: Positions = np.arange(1, 7)
    frame_ = finish({"x": text}, [], rows, ("", "NULL", "N/A"))

    assert frame_["x"].to_list() == [None, None, "null", " ", None, "007"]
    assert frame_["row"].to_list() == [1, 2, 3, 4, 5, 6]
    assert frame_.schema == {"row": pl.Int64, "x": pl.String, "read_note": pl.String}
    assert finish({"x": text}, [], rows, ())["x"].to_list() == text.to_list()


def test_finish_takes_any_note_of_the_row() -> None:
    """A row is noted when any of its fields is."""
    rows: Positions = np.arange(1, 3)
    notes = [pl.Series([None, None], dtype=pl.String), pl.Series(["latin-1", None])]
    assert finish({}, notes, rows, ("",))["read_note"].to_list() == ["latin-1", None]


def test_reject_keeps_the_bytes() -> None:
    """A rejection holds the row from 1, the reason and the bytes of the line without its end."""
    lines = frame(b"a\r\nb\xff\nc")
    places: Positions = np.array([1, 2])
    assert reject(lines, places, ["one", "two"]).rows() == [(2, "one", b"b\xff"), (3, "two", b"c")]


def test_plural() -> None:
    """One column, two columns."""
    assert (plural(1, "column"), plural(2, "column")) == ("1 column", "2 columns")


def test_reprs_show_no_byte() -> None:
    """The repr of lines holds nothing of the file."""
    assert "31612345678" not in repr(frame(b"31612345678\n"))


def test_a_file_of_empty_lines_is_refused_early() -> None:
    """More than a million lines of which most are empty are refused before they cost memory; full ones are not."""
    for end in (b"\n", b"\r\n"):
        with pytest.raises(FileRefused, match="over a million lines are empty"):
            frame(end * 1_000_001)
    assert frame(b"a\n\n" * 500_001).units == 1_000_002


@pytest.mark.parametrize("encoding", ["utf-16", "rot13", "utf-7", "idna", "iso8859-12", "iso8859-17", "zlib", ""])
def test_encodings_are_a_closed_list(encoding: str) -> None:
    """What is not in the list is no encoding of a feed, whatever Python knows."""
    with pytest.raises(FeedError, match="is not known; known are utf-8, latin-1"):
        codec_name(encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_of_the_list_is_a_superset_of_ascii(encoding: str) -> None:
    """Separators and line ends are the same octets in each."""
    plain = bytes(range(128))
    assert plain.decode(codec_name(encoding)) == plain.decode("ascii")
