"""Plain text read at one go: always what reading line by line gives, whatever the bytes; what counts as plain."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingest import delimited
from ingest.delimited import parse
from ingest.errors import FileRefused
from ingest.plain import choose, plain, read_columns
from ingest.raw import Dialect, Raw, Shape
from tests.thorough import as_many

ABC = Shape("abc", ("a", "b", "c"))
XYZ = Shape("xyz", ("x", "y", "z"))
PAIR = Shape("pair", ("k", "l"))
COMMA = Shape("comma", ("k", "l", "m"), ",", '"')
PIPE = Dialect("|", encodings=("utf-8", "latin-1"))

SHAPES = [
    [ABC],
    [ABC, PAIR],
    [ABC, XYZ],
    [ABC, COMMA],
    [COMMA, PAIR],
    [Shape("one", ("a",))],
    [Shape("t", ("a", "b"), "\t")],
]
DIALECTS = [
    PIPE,
    Dialect("|", null=()),
    Dialect("|", null=("NULL", "")),
    Dialect("|", quote='"'),
    Dialect("|", header=True),
    Dialect("|", quote='"', header=True, null=()),
    Dialect("|", encodings=("latin-1", "utf-8")),
    Dialect("\x1f"),
    Dialect("\x7f"),
]
FIELD = st.sampled_from(
    ["", "a", "0612345678", "x^", "NULL", " ", "\t", "Zoë", "\ufeff", '"', '"q"', "a,b,c", "#", "BZh"]
)
ROW = st.lists(FIELD, min_size=3, max_size=3)
SPECIAL = st.sampled_from(
    [
        *(
            b"",
            b"|",
            b"a",
            b"a|b",
            b"a|b|",
            b"a|b|c|d",
            b"a|b|c|",
            b"||||",
            b"a|b|c",
            b"b|a|c",
            b"a|c",
            b"k,l,m",
            b"\r",
        ),
        *(
            b"a|\x00|c",
            b"a|\x01|c",
            b"a|\x7f|c",
            b"a|\r|c",
            b"a|\xff|c",
            b'"a|b"|c|d',
            b'a|"b|c',
            b"a\tb",
            b"a\x1fb\x1fc",
        ),
    ]
)


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """Bytes of a file: mostly lines of three columns, some that are special in one of the ways a file can be."""
    good = st.builds(lambda row: "|".join(row).encode(), ROW)
    lines = draw(st.lists(good, max_size=8))
    for line in draw(st.lists(SPECIAL, max_size=draw(st.sampled_from([0, 0, 1, 2, 4])))):
        lines.insert(draw(st.integers(0, len(lines))), line)
    if draw(st.booleans()):
        lines = [line.replace(b"|", draw(st.sampled_from([b",", b"\x1f", b"\x7f"]))) for line in lines]
    if draw(st.booleans()):
        lines.insert(0, draw(st.sampled_from([b"a|b|c", b"c|a", b"a", b'"a"|b', b"nothing|of|this"])))
    end = draw(st.sampled_from([b"\n", b"\r\n"]))
    ends = [end] * len(lines)
    if draw(st.booleans()) and lines:
        ends[-1] = draw(st.sampled_from([b"", b"\r", b"\r\n"]))
    start = draw(st.sampled_from([b"", b"", b"", b"\xef\xbb\xbf", b"\xef\xbb\xbf\xef\xbb\xbf", b"\x1f\x8b", b"BZh"]))
    return start + b"".join([line + end for line, end in zip(lines, ends, strict=True)])


def result(
    data: bytes, shapes: list[Shape], dialect: Dialect, name: str | None, wanted: Collection[str] | None, *, whole: bool
) -> Raw | str:
    """What parsing gives or the refusal it raises: as it is called, or line by line only."""
    try:
        if whole:
            return parse(data, shapes, dialect, name, wanted)
        return delimited._parse_line_by_line(data, shapes, dialect, name, wanted)
    except FileRefused as refusal:
        return str(refusal)


def account(raw: Raw | str) -> object:
    """All of a result that can be compared by `==`; the frames are read out."""
    if isinstance(raw, str):
        return raw
    frames = [(frame.schema, frame.rows()) for frame in (raw.fields, raw.rejections)]
    return frames, raw.ignored, raw.joined, raw.units, raw.shape, raw.header, raw.trailer


def is_plain(data: bytes, shapes: list[Shape], dialect: Dialect) -> bool:
    """Whether a file is read at one go."""
    return delimited.parse_plain(data, shapes, dialect, None, None) is not None


# --- one result -------------------------------------------------------------------------------------------------------


@given(
    files() | st.binary(max_size=40),
    st.sampled_from(SHAPES),
    st.sampled_from(DIALECTS),
    st.booleans(),
    st.none() | st.frozensets(st.sampled_from(["a", "b", "c", "k", "m", "nothing"])),
)
@settings(max_examples=as_many(300), deadline=None)
@example(b"a|b|\na|b\na|b|c|d\n", SHAPES[0], DIALECTS[0], False, None)
@example(b"a|b|c\na|b\na|b|c|d\n", SHAPES[0], DIALECTS[0], False, frozenset("a"))
@example(b"a|b|\na||\n", SHAPES[0], DIALECTS[1], False, frozenset("a"))
@example(b"a|b|c\n\xef\xbb\xbfa|b|c\n", SHAPES[0], DIALECTS[4], False, None)
@example(b"a|b|c\n1|2|3\na|b|c", SHAPES[0], DIALECTS[4], False, None)
@example(b"a|b|c\r\n1|2|3\r\n4|5|6", SHAPES[0], DIALECTS[4], False, None)
@example(b"1|2|3\n", SHAPES[2], DIALECTS[0], True, None)
def test_one_result_by_both_ways(
    data: bytes, shapes: list[Shape], dialect: Dialect, named: bool, wanted: frozenset[str] | None
) -> None:
    """Any file gives the same fields, rejections and account, or the same refusal, at one go and line by line."""
    name = shapes[-1].name if named else None
    at_once = result(data, shapes, dialect, name, wanted, whole=True)
    assert account(at_once) == account(result(data, shapes, dialect, name, wanted, whole=False))


@given(files(), st.sampled_from(DIALECTS), st.frozensets(st.sampled_from(["a", "b", "c"])))
@settings(max_examples=as_many(60), deadline=None)
def test_what_is_wanted_changes_nothing_else(data: bytes, dialect: Dialect, wanted: frozenset[str]) -> None:
    """With some columns wanted the result is that with all of them, the others left out."""
    every = result(data, [ABC], dialect, None, None, whole=True)
    some = result(data, [ABC], dialect, None, wanted, whole=True)
    if isinstance(every, str) or isinstance(some, str):
        assert every == some
        return
    kept = [name for name in every.fields.columns if name in {"row", "read_note", *wanted}]
    assert some.fields.equals(every.fields.select(kept))
    assert some.fields.columns == kept
    assert some.rejections.equals(every.rejections)
    assert (some.units, some.ignored, some.shape) == (every.units, every.ignored, every.shape)


@given(st.lists(st.lists(st.sampled_from([b"|", b"||", b"|||", b"||||", b"a|b|c", b"a|b|"]), min_size=1), min_size=1))
@settings(max_examples=as_many(60), deadline=None)
def test_totals_that_cancel_out_prove_nothing(parts: list[list[bytes]]) -> None:
    """Where short and long lines have together the delimiters of whole ones, each line is still judged by itself."""
    lines = [line for part in parts for line in part]
    data = b"".join([line + b"\n" for line in lines])
    assert is_plain(data, [ABC], PIPE) == all(line.count(b"|") == 2 for line in lines)
    for wanted in (None, {"a"}, {"c"}):
        at_once = result(data, [ABC], PIPE, None, wanted, whole=True)
        assert account(at_once) == account(result(data, [ABC], PIPE, None, wanted, whole=False))


# --- what is plain ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "dialect"),
    [
        (b"a|b|c\n", PIPE),
        (b"a|b|c", PIPE),
        (b"||\n||\n", PIPE),
        (b"a|\t|c\r\nd|e|f", PIPE),
        ("Zoë|b|c\n\ufeffa|b|c\n".encode(), PIPE),
        (b'"a|b|c\n', PIPE),
        (b"a|b|c\n", Dialect("|", quote='"')),
        (b"c|a\n1|2\n", Dialect("|", header=True)),
        (b"a\x1fb\x1fc\n", Dialect("\x1f")),
        (b"a\tb\tc\n", Dialect("\t")),
        (b"x^|b|c\n", PIPE),
    ],
)
def test_read_at_one_go(data: bytes, dialect: Dialect) -> None:
    """Tabs, line ends of two signs, other letters, a missing last line end and a header are nothing special."""
    assert is_plain(data, [ABC], dialect)


@pytest.mark.parametrize(
    ("data", "dialect"),
    [
        (b"", PIPE),
        (b"a|b|c\n\n", PIPE),
        (b"a|b|c\na|b\n", PIPE),
        (b"\xef\xbb\xbfa|b|c\n", PIPE),
        (b"a|b\r|c\n", PIPE),
        (b"a|b|c\r", PIPE),
        (b"a|\x00|c\n", PIPE),
        (b"a|\x7f|c\n", PIPE),
        (b"a|Zo\xeb|c\n", PIPE),
        ("a|Zoë|c\n".encode(), Dialect("|", encodings=("latin-1",))),
        (b'"a"|b|c\n', Dialect("|", quote='"')),
        (b"a|b|c\n", Dialect("|", header=True)),
        (b"a|b\n1|2\na|b\n", Dialect("|", header=True)),
        (b"\n1|2\n", Dialect("|", header=True)),
        (b"BZh|b|c\n", PIPE),
    ],
)
def test_read_line_by_line(data: bytes, dialect: Dialect) -> None:
    """What needs a look at single lines is not plain."""
    assert not is_plain(data, [ABC], dialect)


def test_another_shape_that_may_fit() -> None:
    """A shape whose delimiters are as many, or hidden by its quotes as many, needs a look at the lines."""
    both = b"1|2,3|4,5\n"
    assert not is_plain(both, [ABC, COMMA], PIPE)
    assert not is_plain(b'1|"2,3",4|5,6\n', [ABC, COMMA], PIPE)
    assert is_plain(b"1|2,3,4|5,6\n", [ABC, COMMA], PIPE)
    assert is_plain(b'1|"2,3|4\n', [ABC, COMMA], PIPE)


def test_a_named_shape_among_equals() -> None:
    """The name of the source decides between shapes of equal form; no name, or another, is left to the other reader."""
    text = plain(b"1|2|3\n", [ABC, XYZ], PIPE)
    assert text is not None
    assert choose(text, [ABC, XYZ, PAIR], PIPE, "xyz") == XYZ
    assert choose(text, [ABC, XYZ, PAIR], PIPE, None) is None
    assert choose(text, [ABC, XYZ, PAIR], PIPE, "pair") is None


def test_a_text_shows_no_byte() -> None:
    """The repr of a text holds nothing of it."""
    text = plain(b"0612345678|b|c\n", [ABC], PIPE)
    assert text is not None
    assert repr(text) == "Text(lines=1)"


def test_only_what_is_wanted_is_read() -> None:
    """A column that is not wanted is in no result, the last one neither, which is read for the proof."""
    text = plain(b"1|2|3\n4|5|\n", [ABC], PIPE)
    assert text is not None
    read = read_columns(text, ABC, PIPE, {"b"}, header=False)
    assert read is not None
    assert {name: column.to_list() for name, column in read.items()} == {"b": ["2", "5"]}
    assert parse(text.data, [ABC], PIPE, None, frozenset()).fields.columns == ["row", "read_note"]


def test_two_slices_at_once() -> None:
    """Several threads that parse at the same time give each its own result."""
    slices = [b"".join(b"%d|%d|%d\n" % (row, row * part, part) for row in range(5000)) for part in range(8)]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda data: parse(data, [ABC], PIPE, None), slices))
    for part, raw in enumerate(together):
        assert account(raw) == account(delimited._parse_line_by_line(slices[part], [ABC], PIPE, None, None))
