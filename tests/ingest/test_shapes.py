"""Shapes of a delimited file: by count, by name or by a header, and none by half."""

from __future__ import annotations

import pytest

from ingest.delimited import parse
from ingest.errors import FeedError, FileRefused
from ingest.raw import Dialect, Raw, Shape

ABC = [Shape("abc", ("a", "b", "c"))]
PIPE = Dialect("|")


def values(raw: Raw) -> list[list[str | None]]:
    """The fields of each row, in the order of the columns, without row number and note."""
    return [list(row[1:-1]) for row in raw.fields.rows()]


# --- shapes -----------------------------------------------------------------------------------------------------------

MANY = [
    Shape("two", ("a", "b")),
    Shape("three", ("a", "b", "c")),
    Shape("other three", ("x", "y", "z")),
    Shape("comma", ("k", "l", "m", "n"), ",", '"'),
]


def test_the_shape_that_most_rows_fit() -> None:
    """The shape is that of the majority; the others are rejections that say what they have."""
    raw = parse(b"a|b\na|b\na|b|c\n", MANY, PIPE, None)
    assert raw.shape == "two"
    assert raw.rejections["reason"].to_list() == ["has 3 columns instead of 2 (shape two)"]


def test_a_shape_with_its_own_separators() -> None:
    """A shape that writes commas and quotes is found beside those that write pipes."""
    raw = parse(b'"1","2","3,3","4"\n', MANY, PIPE, None)
    assert (raw.shape, values(raw)) == ("comma", [["1", "2", "3,3", "4"]])


def test_a_shape_can_take_quoting_away() -> None:
    """An empty quote of a shape means that a quote is ordinary there."""
    raw = parse(b'a"|b\n', [Shape("bare", ("a", "b"), quote="")], Dialect("|", quote='"'), None)
    assert values(raw) == [['a"', "b"]]


def test_equal_counts_need_a_name() -> None:
    """Where the number of columns cannot tell, the source must: unnamed, the file is refused with the names."""
    with pytest.raises(
        FileRefused,
        match=r"equally well \(3 \(three or other three\) columns\): name three or other three as the shape in sources",
    ):
        parse(b"1|2|3\n", MANY, PIPE, None)
    assert parse(b"1|2|3\n", MANY, PIPE, "other three").fields.columns == ["row", "x", "y", "z", "read_note"]
    with pytest.raises(FileRefused, match="name three or other three"):
        parse(b"1|2|3\n", MANY, PIPE, "two")


def test_a_name_decides_only_what_the_count_cannot() -> None:
    """A switch that was upgraded writes another number of columns: its files are read as what they are."""
    assert parse(b"1|2\n", MANY, PIPE, "other three").shape == "two"


def test_half_and_half_is_no_shape() -> None:
    """Two shapes that fit half of the rows each are refused, unless the source names one."""
    with pytest.raises(FileRefused, match=r"equally well \(2 or 3 columns\): name two or three"):
        parse(b"1|2\n1|2|3\n", MANY[:2], PIPE, None)
    assert parse(b"1|2\n1|2|3\n", MANY[:2], PIPE, "three").fields.height == 1


def test_unknown_name() -> None:
    """A source that names a shape which the feed does not have is told the names."""
    with pytest.raises(FileRefused, match="names the shape four, the feed has abc"):
        parse(b"", ABC, PIPE, "four")


def test_another_form() -> None:
    """Fewer than half of the rows fitting refuses the file; exactly half does not."""
    assert parse(b"a|b|c\nx\n", ABC, PIPE, None).rejections.height == 1
    with pytest.raises(
        FileRefused, match=r"1 of 3 rows fit a shape of this feed \(3 columns\), most rows have 1 column:"
    ):
        parse(b"a|b|c\nx\nx\n", ABC, PIPE, None)
    with pytest.raises(FileRefused, match=r"^0 of 1 row fit"):
        parse(b"<html>\n", ABC, PIPE, None)


@pytest.mark.parametrize(
    ("shapes", "dialect", "problem"),
    [
        ([], PIPE, "at least one shape"),
        (ABC, Dialect(encodings=()), "one encoding"),
        (ABC, Dialect(encodings=("klingon",)), "klingon"),
        ([Shape("s", ("a", "a"))], PIPE, "distinct"),
        ([Shape("s", ())], PIPE, "distinct"),
        ([Shape("s", ("row", "a"))], PIPE, "none of them row"),
        (ABC, Dialect("||"), "one ASCII sign"),
        (ABC, Dialect("\n"), "one ASCII sign"),
        (ABC, Dialect("0"), "one ASCII sign"),
        (ABC, Dialect("§"), "one ASCII sign"),
        (ABC, Dialect('"', quote='"'), "differ"),
    ],
)
def test_unsound_feeds(shapes: list[Shape], dialect: Dialect, problem: str) -> None:
    """A shape or dialect that cannot be read is the feed's fault and said so."""
    with pytest.raises(FeedError, match=problem):
        parse(b"a|b|c\n", shapes, dialect, None)


# --- the header -------------------------------------------------------------------------------------------------------

NAMED = Dialect(quote='"', header=True)


def test_columns_by_name() -> None:
    """The header orders the columns; one that it lacks is null; the header and its repetitions are ignored by name."""
    raw = parse(b'\n"c",a\r\n3,1\n"c",a\n"c","a"\n4,2\n', ABC, NAMED, None)
    assert raw.fields.drop("read_note").rows() == [(3, "1", None, "3"), (5, "a", None, "c"), (6, "2", None, "4")]
    assert raw.ignored == {"empty line": 1, "header": 2}
    assert raw.shape == "abc"


def test_a_header_alone() -> None:
    """A file of a header without rows has no rows."""
    raw = parse(b"a,b,c\n", ABC, NAMED, None)
    assert (raw.fields.height, raw.units, raw.ignored) == (0, 1, {"header": 1})


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"a,jansen\n1,2\n", "column 2 of its first line is none that shape abc knows"),
        (b"a,b,a\n1,2,3\n", "names a column twice"),
        (b'a,"b\n1,2\n', "not well quoted"),
    ],
)
def test_no_header(data: bytes, problem: str) -> None:
    """A first line that is no header refuses the file, and no value of it is quoted."""
    with pytest.raises(FileRefused, match=problem) as refusal:
        parse(data, ABC, NAMED, None)
    assert "jansen" not in str(refusal.value)


def test_the_header_chooses_among_shapes() -> None:
    """Of several shapes the one that knows the names of the header is read."""
    raw = parse(b"y,x\n1,2\n", [Shape("ab", ("a", "b")), Shape("xyz", ("x", "y", "z"))], NAMED, None)
    assert (raw.shape, values(raw)) == ("xyz", [["2", "1", None]])
