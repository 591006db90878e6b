"""Delimited text: one result by both ways and by Python's csv module, and an account of every line of any file."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest import delimited, separation
from ingest.delimited import parse
from ingest.errors import FileRefused, IngestError
from ingest.raw import Dialect, Raw, Shape
from tests.thorough import as_many

SAMPLES = Path(__file__).resolve().parents[2] / "../shared/samples/cgrates_test_cdrs"

ABC = [Shape("abc", ("a", "b", "c"))]
PIPE = Dialect("|")
PLAIN = Dialect(null=())
QUOTED = Dialect(quote='"', null=())
WELL_QUOTED = re.compile(r'(?:[^",]*|"(?:[^"]|"")*")(?:,(?:[^",]*|"(?:[^"]|"")*"))*')
FLATSTORE = ("method", "from_tag", "to_tag", "callid", "code", "reason", "time", "a", "b", "c", "d", "dialog")
KAMAILIO = [
    Shape("plain", FLATSTORE),
    Shape("application", (*FLATSTORE, "application")),
    Shape("quoted", ("id", *FLATSTORE, "x1", "x2", "x3", "x4", "x5"), ",", '"'),
]

FIELD = st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters='"'), max_size=5) | st.sampled_from(
    ["", " ", " 0612", "007", "NULL", "1e3", "true", "x^", "\ufeff", ",", 'a "b"', '"', '""', "Zoë", "\t"]
)


def values(raw: Raw) -> list[list[str | None]]:
    """The fields of each row, in the order of the columns, without row number and note."""
    return [list(row[1:-1]) for row in raw.fields.rows()]


def by_the_other_way(data: bytes, shapes: list[Shape], dialect: Dialect) -> Raw:
    """The file read by the reader's own cutting of lines, as where encodings are mixed, in slices of a few bytes."""
    with (
        mock.patch.object(delimited, "doubtful", lambda lines, _: np.array([len(lines.data) + 9])),
        mock.patch.object(separation, "_SLICE", 7),
        mock.patch.object(delimited, "parse_plain", lambda *_: None),
    ):
        return parse(data, shapes, dialect, None)


def require_account(raw: Raw, data: bytes) -> None:
    """Asserts that each line of the file is a row, a rejection or ignored, and that no line is two of them."""
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    units = len(lines) - (not lines[-1])
    numbers = [*raw.fields["row"], *raw.rejections["row"]]
    assert raw.units == units == len(numbers) + sum(raw.ignored.values())
    assert len(set(numbers)) == len(numbers)
    assert all(1 <= number <= units for number in numbers)
    assert raw.fields["row"].is_sorted()
    assert raw.rejections["raw"].to_list() == [lines[n - 1].removesuffix(b"\r") for n in raw.rejections["row"]]


# --- what is read -----------------------------------------------------------------------------------------------------


@given(
    st.lists(st.lists(FIELD, min_size=3, max_size=3), min_size=1, max_size=6),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC]),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
@settings(max_examples=as_many(120), deadline=None)
def test_quoted_text_as_the_csv_module_reads_it(rows: list[list[str]], quoting: int, end: str, last_end: bool) -> None:
    """What the csv module writes and reads, both ways of reading give back."""
    stream = io.StringIO()
    csv.writer(stream, quoting=quoting, lineterminator=end).writerows(rows)  # type: ignore[arg-type]  # quoting is one of csv's constants
    text = stream.getvalue().lstrip("\ufeff")
    data = (text if last_end else text.removesuffix(end)).encode()
    expected = list(csv.reader(io.StringIO(data.decode(), newline="")))
    raw, slow = parse(data, ABC, QUOTED, None), by_the_other_way(data, ABC, QUOTED)

    assert values(raw) == expected
    assert raw.fields.equals(slow.fields)
    require_account(raw, data)


@given(
    st.lists(st.lists(FIELD, min_size=3, max_size=3), min_size=1, max_size=6),
    st.sampled_from([(), ("", "NULL", "007")]),
)
@settings(max_examples=as_many(120), deadline=None)
def test_unquoted_text_as_plain_python_splits_it(rows: list[list[str]], null: tuple[str, ...]) -> None:
    """Without a quote character both ways of reading give what splitting gives: quotes, blanks, zeros as they stand."""
    rows = [[value.replace("|", "").replace("\ufeff", "") for value in row] for row in rows]
    data = "".join("|".join(row) + "\n" for row in rows).encode()
    dialect = Dialect("|", null=null)
    raw = parse(data, ABC, dialect, None)

    assert values(raw) == [[None if value in null else value for value in row] for row in rows]
    assert raw.fields.equals(by_the_other_way(data, ABC, dialect).fields)
    assert raw.fields["row"].to_list() == list(range(1, len(rows) + 1))


@given(st.lists(st.text(st.sampled_from('",a '), max_size=9), min_size=1, max_size=7))
@settings(max_examples=as_many(200), deadline=None)
def test_rows_are_exactly_the_lines_of_rfc_4180(lines: list[str]) -> None:
    """A line becomes a row when it is well quoted and has three fields; another line says what it lacks."""
    fitting = ['"a","b","c"'] * len(lines)  # so that at least half of the rows fit
    lines = [part for pair in zip(lines, fitting, strict=True) for part in pair]
    data = "\n".join(lines).encode() + b"\n"
    raw, slow = parse(data, ABC, QUOTED, None), by_the_other_way(data, ABC, QUOTED)

    expected: dict[int, list[str]] = {}
    reasons: dict[int, str] = {}
    for number, line in enumerate(lines, 1):
        if not WELL_QUOTED.fullmatch(line):
            reasons[number] = "quoting"
        elif line:
            row = next(csv.reader([line], strict=True))
            if len(row) == 3:
                expected[number] = row
            else:
                reasons[number] = f"has {len(row)} column{'s' * (len(row) != 1)} instead of 3 (shape abc)"
    assert dict(zip(raw.fields["row"], values(raw), strict=True)) == expected
    assert dict(zip(raw.rejections["row"], raw.rejections["reason"], strict=True)) == reasons
    assert raw.fields.equals(slow.fields)
    assert raw.rejections.equals(slow.rejections)
    require_account(raw, data)


def test_asterisk_line() -> None:
    """A line as Asterisk writes it: doubled quotes inside, nothing between commas, bare numbers, a comma in a field."""
    line = b'"","0612345678","""Jansen"" <0612345678>","SIP/300,60,t",,27,""\r\n'
    raw = parse(line, [Shape("s", tuple("abcdefg"))], Dialect(quote='"'), None)
    assert values(raw) == [[None, "0612345678", '"Jansen" <0612345678>', "SIP/300,60,t", None, "27", None]]


def test_a_stray_quote_is_ordinary_without_quoting() -> None:
    """A dialect without quotes keeps a quote character where it stands."""
    raw = parse(b'INVITE|1|node"east\n"BYE"|2|x\n', ABC, PIPE, None)
    assert values(raw) == [["INVITE", "1", 'node"east'], ['"BYE"', "2", "x"]]


def test_each_field_in_its_own_encoding() -> None:
    """A Latin-1 name beside a UTF-8 name: both are read right, the row that needed Latin-1 says so, quotes and all."""
    data = '"Zoë","""Zoë""",x\n'.encode() + '"Zoë","""Zoë""",x\n'.encode("latin-1") + b"a,b,\xa5\xa5\n"
    raw = parse(data, ABC, Dialect(quote='"', encodings=("utf-8", "latin-1")), None)
    assert values(raw) == [["Zoë", '"Zoë"', "x"], ["Zoë", '"Zoë"', "x"], ["a", "b", "¥¥"]]
    assert raw.fields["read_note"].to_list() == [None, "latin-1", "latin-1"]


def test_an_encoding_that_was_not_declared_refuses_the_file() -> None:
    """A field that is not UTF-8 refuses the file of a feed that declares UTF-8 only, with the row and not the value."""
    with pytest.raises(FileRefused, match=r"^row 2 is not text") as refusal:
        parse(b"a|b|c\na|Jans\xe9n|c\n", ABC, PIPE, None)
    assert "Jans" not in str(refusal.value)


def test_bytes_of_a_rejection_need_no_encoding() -> None:
    """A row that is rejected anyway may hold any octets."""
    raw = parse(b"a|b|c\na|\xff\n", ABC, PIPE, None)
    assert raw.rejections.rows() == [(2, "has 2 columns instead of 3 (shape abc)", b"a|\xff")]


def test_a_byte_order_mark_after_a_rejected_first_line_stays_text() -> None:
    """U+FEFF at the start of the first good row, not of the file, is part of its field."""
    raw = parse("short\n\ufeffa|b|c\na|b|c\n".encode(), ABC, PIPE, None)
    assert values(raw)[0] == ["\ufeffa", "b", "c"]


@pytest.mark.parametrize("octet", [b"\x01", b"\x0b", b"\x1b", b"\x7f", b"\r"])
def test_control_characters(octet: bytes) -> None:
    """A control character other than a tab makes the row a rejection."""
    raw = parse(b"a|b|c\na|b" + octet + b"b|c\na|\t|c\r\n", ABC, PIPE, None)
    assert values(raw) == [["a", "b", "c"], ["a", "\t", "c"]]
    assert raw.rejections["reason"].to_list() == ["control character"]


def test_tab_and_unit_separator_as_delimiters() -> None:
    """A declared delimiter is no control character."""
    assert values(parse(b"a\tb\tc\n", ABC, Dialect("\t"), None)) == [["a", "b", "c"]]
    assert values(parse(b"a\x1fb\x1fc\n", ABC, Dialect("\x1f"), None)) == [["a", "b", "c"]]


def test_empty_lines() -> None:
    """Stray empty lines are units, ignored by name; rows keep the number of their line."""
    raw = parse(b"\n\r\na|b|c\n\na|b|c", ABC, PIPE, None)
    assert raw.ignored == {"empty line": 3}
    assert raw.fields["row"].to_list() == [3, 5]


@pytest.mark.parametrize(("data", "units"), [(b"", 0), (b"\xef\xbb\xbf", 0), (b"\n\n", 2)])
def test_a_file_without_rows(data: bytes, units: int) -> None:
    """An empty file is fine: no rows, the columns of the first or the named shape."""
    raw = parse(data, [*ABC, Shape("de", ("d", "e"))], PIPE, "de")
    assert (raw.units, raw.fields.columns, raw.shape) == (units, ["row", "d", "e", "read_note"], None)
    assert parse(data, ABC, PIPE, None).fields.columns == ["row", "a", "b", "c", "read_note"]


def test_lines_longer_than_a_narrow_sum() -> None:
    """Lines whose separators would wrap a sum of eight bits are counted right."""
    wide = [Shape("wide", tuple(f"c{number}" for number in range(300)))]
    line = b"|".join([b"x"] * 300)
    raw = parse(line + b"\n" + b"|".join([b"x"] * 44) + b"\n" + line + b"\n", wide, PIPE, None)
    assert raw.fields.height == 2
    assert raw.rejections["reason"].to_list() == ["has 44 columns instead of 300 (shape wide)"]


def test_many_quotes_in_one_line() -> None:
    """Several hundred quotes in one line are still well quoted."""
    data = b'"' + b'""' * 400 + b'",b,c\n'
    assert values(parse(data, ABC, QUOTED, None)) == [['"' * 400, "b", "c"]]


def test_a_broken_reader_is_no_silent_loss() -> None:
    """Fewer rows read than framed is an error of the reader, never a short result."""
    with (
        mock.patch.object(delimited, "_body", lambda *_: b"a|b|c\n"),
        pytest.raises(IngestError, match="2 rows were framed and 1 read"),
    ):
        parse(b"\na|b|c\na|b|c\n", ABC, PIPE, None)


# --- damage -----------------------------------------------------------------------------------------------------------


def test_cut_anywhere() -> None:
    """A file cut at any byte is whole up to there, or is refused; never is a cut row taken for another."""
    data = b"1|2|333\n4|5|666\n7|8|999\n"
    whole = values(parse(data, ABC, PIPE, None))
    for size in range(len(data)):
        cut = data[:size]
        if size and b"\n" not in cut[-1:] and cut.split(b"\n")[-1].count(b"|") < 2:
            with pytest.raises(FileRefused, match="truncated"):
                parse(cut, ABC, PIPE, None)
        else:
            raw = parse(cut, ABC, PIPE, None)
            require_account(raw, cut)
            assert values(raw)[: size // 8] == whole[: size // 8]
            assert raw.rejections.is_empty()


def test_cut_inside_quotes() -> None:
    """A last line that ends inside its quotes is truncated, whatever its commas say."""
    with pytest.raises(FileRefused, match="inside its quotes: the file is truncated"):
        parse(b'"a","b","c"\n"a","b","c,d', ABC, QUOTED, None)
    assert parse(b'"a","b","c"\n"a","b",x"c"', ABC, QUOTED, None).rejections["reason"].to_list() == ["quoting"]


def test_a_last_line_that_is_too_long_is_a_rejection() -> None:
    """A missing last line end with more columns than the shape is no truncation."""
    assert parse(b"a|b|c\na|b|c|d", ABC, PIPE, None).rejections.height == 1


@given(
    st.lists(
        st.sampled_from([b"a", b"|", b'"', b",", b"\n", b"\r", b"\x00", b"\x07", b"\xe9", b"\xc3\xab", b"a|b|c\n"])
    ).map(b"".join)
    | st.binary(max_size=60),
    st.sampled_from([PIPE, Dialect("|", header=True), Dialect(quote='"', encodings=("utf-8", "latin-1"))]),
)
@settings(max_examples=as_many(200), deadline=None)
def test_every_line_of_any_file_is_accounted_for(data: bytes, dialect: Dialect) -> None:
    """Any bytes are refused whole, or each of their lines is a row, a rejection or ignored."""
    try:
        raw = parse(data, [*ABC, Shape("ab", ("a", "b"), quote='"')], dialect, "ab")
    except FileRefused:
        return
    while data.startswith(b"\xef\xbb\xbf\xef\xbb\xbf"):
        data = data[3:]
    require_account(raw, data)


@given(st.data())
@settings(max_examples=as_many(40), deadline=None)
def test_one_bit_changes_at_most_its_lines(data: st.DataObject) -> None:
    """After one flipped bit the file is refused, or all lines but the one or two it touched read as before."""
    lines = [f'"{number}","0612345678","""Jansen"" <{number}>"\n' for number in range(8)]
    whole = "".join(lines).encode()
    place = data.draw(st.integers(0, len(whole) * 8 - 1))
    flipped = bytearray(whole)
    flipped[place // 8] ^= 1 << (place % 8)
    try:
        raw = parse(bytes(flipped), ABC, QUOTED, None)
    except FileRefused:
        return
    kept = [row for row in values(raw) if row in values(parse(whole, ABC, QUOTED, None))]
    assert len(kept) >= 6


# --- real files -------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the sample files are not part of the repository")
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("acc_flatstore_ackSuccessfull.log", "application"),
        ("acc_flatstore_ackSuccessfull2.log", "quoted"),
        ("acc_flatstore_fullMissed.log", "plain"),
        ("acc_flatstore_fullSuccessfull.log", "plain"),
        ("acc_flatstore_part1.log", "plain"),
        ("acc_flatstore_part2.log", "plain"),
    ],
)
def test_flatstore_samples(name: str, shape: str) -> None:
    """Every line of the flatstore samples is a row, and the fields are those that plain Python finds."""
    data = (SAMPLES / name).read_bytes()
    raw = parse(data, KAMAILIO, PIPE, None)
    text = data.decode()
    lines = csv.reader(text.splitlines()) if shape == "quoted" else [line.split("|") for line in text.splitlines()]

    assert (raw.shape, raw.rejections.height, raw.ignored) == (shape, 0, {})
    assert values(raw) == [[value or None for value in line] for line in lines]
    require_account(raw, data)


def test_a_refusal_counts_columns_readably() -> None:
    """The columns that a feed takes stand in the refusal as numbers, with names only where two shapes share one."""
    shapes = [Shape(name, tuple("abcdefgh"[:size])) for name, size in (("1", 1), ("3", 3), ("3x", 3), ("2", 2))]

    with pytest.raises(
        FileRefused, match=r"shape of this feed \(1, 2 or 3 \(3 or 3x\) columns\), most rows have 5 columns"
    ):
        parse(b"1|2|3|4|5\n", shapes, PIPE, None)
    with pytest.raises(FileRefused, match=r"shape of this feed \(1 column\)"):
        parse(b"1|2|3|4|5\n", shapes[:1], PIPE, None)
