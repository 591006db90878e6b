"""Fixed-width text: fields by position, a header and a trailer that prove the file whole, every line accounted for."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.errors import FeedError, FileRefused
from ingest.fixed import parse
from ingest.raw import Dialect, FixedRecord, Raw
from tests.thorough import as_many

SAMPLES = Path(__file__).resolve().parents[2] / "../shared/samples/cgrates_test_cdrs"

CALL = FixedRecord("call", "CDR", 20, {"sequence": (3, 6), "number": (6, 16), "kind": (16, 20)})
HEAD = FixedRecord("header", "HDR", 8, {"file": (3, 8)})
TAIL = FixedRecord("trailer", "TRL", 8, {"count": (3, 8)})
LATIN = Dialect(encodings=("utf-8", "latin-1"))

LINE = b"CDR0010612345678ISDN\n"
WHOLE = b"HDR00042\n" + LINE + b"CDR002 201234567    \nTRL00002\n"


def read(data: bytes, dialect: Dialect | None = None) -> Raw:
    """The file as one with header and trailer."""
    return parse(data, [CALL], HEAD, TAIL, dialect or Dialect())


def test_fields_by_position() -> None:
    """Values are cut at their positions, blanks around them are filling, leading zeros stay, nothing is null."""
    raw = read(WHOLE)

    assert raw.fields.rows() == [(2, "001", "0612345678", "ISDN", None), (3, "002", "201234567", None, None)]
    assert raw.fields.columns == ["row", "sequence", "number", "kind", "read_note"]
    assert (raw.header, raw.trailer) == ({"file": "00042"}, {"count": "00002"})
    assert (raw.units, raw.ignored, raw.joined, raw.shape) == (4, {"header": 1, "trailer": 1}, 0, "call")


def test_values_are_not_in_the_repr() -> None:
    """The repr of what was read holds counts only."""
    assert "0612345678" not in repr(read(WHOLE))
    assert "00042" not in repr(read(WHOLE))


def test_line_ends() -> None:
    """CR LF, a missing last line end, empty lines and a byte-order mark change nothing but the count of empty lines."""
    data = b"\xef\xbb\xbf" + WHOLE.replace(b"\n", b"\r\n").removesuffix(b"\r\n")
    assert read(data).fields.equals(read(WHOLE).fields)
    assert read(b"\n" + WHOLE + b"\n").ignored == {"empty line": 2, "header": 1, "trailer": 1}


def test_misfits() -> None:
    """A line of another length, of another start and with a control character is a rejection that says so."""
    bad = b"CDR003\nXYZ0040612345678ISDN\nCDR\nCDR005061234\x075678ISD\n\xff\n"
    raw = read(b"HDR00042\n" + LINE * 5 + bad + b"TRL00005\n")

    assert raw.rejections.rows() == [
        (7, "has 6 bytes instead of 20 (record call)", b"CDR003"),
        (8, "starts as no record of this feed", b"XYZ0040612345678ISDN"),
        (9, "has 3 bytes instead of 20 (record call)", b"CDR"),
        (10, "control character", b"CDR005061234\x075678ISD"),
        (11, "starts as no record of this feed", b"\xff"),
    ]
    assert raw.units == raw.fields.height + raw.rejections.height + sum(raw.ignored.values())


def test_fewer_than_half_fitting_refuses_the_file() -> None:
    """A file whose lines mostly do not fit is of another form."""
    with pytest.raises(FileRefused, match="1 of 3 lines have the start and the length"):
        read(b"HDR00042\n" + LINE + b"x\ny\nTRL00005\n")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "does not end with a trailer"),
        (LINE + b"TRL00001\n", "first line is no header"),
        (b"HDR0004\n" + LINE + b"TRL00001\n", "first line is no header"),
        (b"HDR00042\n" + LINE, "does not end with a trailer .8 bytes from TRL on.: it is truncated"),
        (b"HDR00042\n" + LINE + b"TRL000", "truncated"),
        (WHOLE + LINE, "truncated"),
        (WHOLE + WHOLE, "more than one header: several files were joined"),
        (WHOLE.replace(b"\nCDR002", b"\nTRL00001\nCDR002"), "more than one trailer"),
    ],
)
def test_framing_lines(data: bytes, problem: str) -> None:
    """A missing, broken or repeated header or trailer refuses the file."""
    with pytest.raises(FileRefused, match=problem):
        read(data)


def test_cut_anywhere() -> None:
    """A file with a trailer that was cut at any byte before its last line end is refused."""
    for size in range(len(WHOLE) - 1):
        with pytest.raises(FileRefused):
            read(WHOLE[:size])
    assert read(WHOLE[:-1]).fields.height == 2


def test_without_header_and_trailer() -> None:
    """Where none is declared, an empty file is fine and a first line is a row like any other."""
    empty = parse(b"", [CALL], None, None, Dialect())
    assert (empty.units, empty.fields.height, empty.header, empty.trailer) == (0, 0, {}, {})
    assert parse(LINE, [CALL], None, None, Dialect()).fields.height == 1
    assert parse(b"", [CALL], HEAD, None, Dialect()).units == 0


def test_several_kinds_of_record() -> None:
    """Rows of several kinds stand in file order, null in the columns that their kind lacks."""
    sms = FixedRecord("message", "SMS", 8, {"number": (3, 8)})
    raw = parse(b"SMS12345\n" + LINE + b"SMS54321\n", [CALL, sms], None, None, Dialect())
    assert raw.fields["row"].to_list() == [1, 2, 3]
    assert raw.fields["number"].to_list() == ["12345", "0612345678", "54321"]
    assert raw.fields["sequence"].to_list() == [None, "001", None]
    assert raw.shape is None


def test_encodings_by_field() -> None:
    """A field that is not UTF-8 is read as Latin-1 with a note, or refuses the file where that is not declared."""
    data = b"HDR00042\n" + LINE + b"CDR002Jans\xe9n    ISDN\nTRL00002\n"
    assert read(data, LATIN).fields["number"].to_list() == ["0612345678", "Jansén"]
    assert read(data, LATIN).fields["read_note"].to_list() == [None, "latin-1"]
    with pytest.raises(FileRefused, match="row 3 is not text"):
        read(data)


@pytest.mark.parametrize(
    ("records", "dialect", "problem"),
    [
        ([], Dialect(), "at least one record"),
        ([CALL], Dialect(encodings=()), "one encoding"),
        ([CALL], Dialect(encodings=("klingon",)), "klingon"),
        ([FixedRecord("x", "X", 5, {"a": (3, 6)})], Dialect(), "inside its 5 bytes"),
        ([FixedRecord("x", "X", 5, {"a": (3, 3)})], Dialect(), "inside its 5 bytes"),
        ([FixedRecord("x", "é", 5, {})], Dialect(), "its start is ASCII"),
        ([FixedRecord("x", "X", 5, {"row": (3, 4)})], Dialect(), "no field is named row"),
        ([CALL, FixedRecord("x", "CD", 5, {})], Dialect(), "records call and x"),
        ([FixedRecord("x", "", 5, {})], Dialect(), "starts as one of them only"),
    ],
)
def test_unsound_feeds(records: list[FixedRecord], dialect: Dialect, problem: str) -> None:
    """A record that cannot be told from another, or reaches beyond its line, is the feed's fault and said so."""
    with pytest.raises(FeedError, match=problem):
        parse(WHOLE, records, HEAD, TAIL, dialect)


@given(
    st.lists(
        st.sampled_from(
            [LINE, b"HDR00042\n", b"TRL00001\n", b"CDR\n", b"\n", b"\r\n", b"\xe9\n", b"x", b"\x00", b"\x07"]
        )
    ).map(b"".join)
    | st.binary(max_size=40)
)
@settings(max_examples=as_many(160), deadline=None)
def test_every_line_of_any_file_is_accounted_for(data: bytes) -> None:
    """Any bytes are refused whole, or each of their lines is a row, a rejection or ignored."""
    for header, trailer in ((HEAD, TAIL), (None, None), (None, TAIL)):
        try:
            raw = parse(data, [CALL], header, trailer, LATIN)
        except FileRefused:
            continue
        text = data.removeprefix(b"\xef\xbb\xbf")
        units = text.count(b"\n") + (text != b"" and not text.endswith(b"\n"))
        assert raw.units == units == raw.fields.height + raw.rejections.height + sum(raw.ignored.values())
        numbers = [*raw.fields["row"], *raw.rejections["row"]]
        assert len(set(numbers)) == len(numbers)


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the sample files are not part of the repository")
def test_wlr_sample() -> None:
    """The WLR sample is read whole, and its trailer's count and seconds are those of its rows."""
    fields = {"sequence": (3, 10), "start": (14, 30), "calling": (30, 49), "called": (52, 80), "duration": (127, 135)}
    raw = parse(
        (SAMPLES / "nl_wlr_fixed_width.cdr").read_bytes(),
        [FixedRecord("CDR", "CDR", 223, fields)],
        FixedRecord("HDR", "HDR", 155, {"sequence": (135, 141)}),
        FixedRecord("TRL", "TRL", 182, {"sequence": (135, 141), "count": (141, 149), "duration": (149, 161)}),
        Dialect(),
    )
    seconds = sum(
        int(value[:2]) * 3600 + int(value[2:4]) * 60 + int(value[4:6]) for value in raw.fields["duration"].to_list()
    )

    assert (raw.units, raw.fields.height, raw.rejections.height) == (35, 33, 0)
    assert (int(raw.trailer["count"]), raw.trailer["duration"]) == (33, "000000305500")
    assert seconds == 1855 == 30 * 60 + 55
    assert raw.header["sequence"] == raw.trailer["sequence"]
    assert raw.fields["sequence"].to_list() == [f"{number:07}" for number in range(10, 340, 10)]
