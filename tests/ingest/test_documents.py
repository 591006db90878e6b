"""NDJSON: values as text, one result by both ways, and an account of every line of any file."""

from __future__ import annotations

import json
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest import documents
from ingest.documents import parse
from ingest.errors import FeedError, FileRefused
from ingest.raw import Raw
from tests.thorough import as_many

KNOWN = frozenset({"a", "b", "mail_to"})
GOOD = b'{"a":"1"}\n'

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=4) | st.sampled_from(
    ["", "null", "Zoë", 'say "x"', "back\\slash", "{", "},", '":"', "\t", "\u2028", "0612345678"]
)
SCALAR = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
VALUE = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2), max_leaves=4
)
OBJECT = st.dictionaries(st.sampled_from(sorted(KNOWN)), VALUE, max_size=3)


def values(raw: Raw) -> list[dict[str, str | None]]:
    """The fields of each row by name, null ones left out."""
    return [
        {name: value for name, value in row.items() if value is not None}
        for row in raw.fields.drop("row", "read_note").rows(named=True)
    ]


def one(line: str) -> dict[str, str | None] | str:
    """The values of one line, or the reason why it is rejected."""
    raw = parse(line.encode() + b"\n" + GOOD, KNOWN)
    return values(raw)[0] if raw.rejections.is_empty() else str(raw.rejections["reason"][0])


def as_text(value: object) -> str | None:
    """What a parsed value is as a field."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def require_account(raw: Raw, data: bytes) -> None:
    """Asserts that each line of the file is a row, a rejection or ignored."""
    text = data.removeprefix(b"\xef\xbb\xbf")
    units = text.count(b"\n") + (text != b"" and not text.endswith(b"\n"))
    numbers = [*raw.fields["row"], *raw.rejections["row"]]
    assert raw.units == units == len(numbers) + sum(raw.ignored.values())
    assert len(set(numbers)) == len(numbers)


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("{}", {}),
        ('{"a":"0612345678","b":null}', {"a": "0612345678"}),
        ('{"a": "x", "b": ""}', {"a": "x", "b": ""}),
        ('{"a":1.50,"b":-0}', {"a": "1.50", "b": "-0"}),
        ('{"a":123456789012345678901234567890,"b":1E+5}', {"a": "123456789012345678901234567890", "b": "1E+5"}),
        ('{"a":true,"b":false}', {"a": "true", "b": "false"}),
        ('{"a":"null","b":"true"}', {"a": "null", "b": "true"}),
        (' { "a" : "x" , "b" : 2 } ', {"a": "x", "b": "2"}),
        ('{"mail_to":["x@example.org", "y@example.org"]}', {"mail_to": '["x@example.org","y@example.org"]'}),
        ('{"a":[{"role":"c","number":"1"},1.0,null,true]}', {"a": '[{"role":"c","number":"1"},1.0,null,true]'}),
        ('{"a":"Zo\\u00eb \\ud83d\\ude00","b":"\\"\\\\"}', {"a": "Zoë 😀", "b": '"\\'}),
        ('{"a":"{:,}[]"}', {"a": "{:,}[]"}),
        ('{"\\u0061":"1"}', {"a": "1"}),
        ('{"a":"Zoë"}\r', {"a": "Zoë"}),
    ],
)
def test_values_as_text(line: str, expected: dict[str, str]) -> None:
    """Strings give their text, numbers and booleans what was written, null nothing, lists and objects compact JSON."""
    assert one(line) == expected


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"a":1', "not valid JSON"),
        ('{"a":01}', "not valid JSON"),
        ('{"a":NaN}', "not valid JSON"),
        ('{"a":-Infinity}', "not valid JSON"),
        ('{"a":1}}', "not valid JSON"),
        ('{"a":"1""2"}', "not valid JSON"),
        ('{"a":"1",}', "not valid JSON"),
        ('{"a":}', "not valid JSON"),
        ('{"a"}', "not valid JSON"),
        ('{a:"1"}', "not valid JSON"),
        ('{"a":"x\ty"}', "not valid JSON"),
        ('{"a":tru}', "not valid JSON"),
        ('x{"a":1}', "not valid JSON"),
        ('{"a":"1"}{"a":"1"}', "not valid JSON"),
        ("   ", "not valid JSON"),
        ("[1]", "not a JSON object"),
        ("12", "not a JSON object"),
        ('"a"', "not a JSON object"),
        ('{"a":1,"a":2}', "names a key twice"),
        ('{"a":1,"b":2,"a":1}', "names a key twice"),
        ('{"a":{"x":1,"x":2}}', "names a key twice"),
        ('{"a":"\\u0007"}', "control character"),
        ('{"a":["\\n"]}', "control character"),
        ('{"a":"\x7f"}', "control character"),
        ('{"a":"\\ud800"}', "holds half of a surrogate pair"),
        ('{"a":["\\udfff"]}', "holds half of a surrogate pair"),
        ('{"number":"1"}', "has 1 key that the feed does not know"),
        ('{"a":1,"Jansen 0612345678":"1","z":1}', "has 2 keys that the feed does not know"),
        ('{"mail_too":"1","Mail_To":"2"}', "has 2 keys that the feed does not know; did you mean mail_to?"),
        ('{"mail_tomail_tomail_tomail_tomail_tomail_to":"1"}', "has 1 key that the feed does not know"),
        ('{"0612345678":"1"}', "has 1 key that the feed does not know"),
        ('{"a":' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deeply"),
    ],
)
def test_rejections(line: str, reason: str) -> None:
    """What is no object of this feed is a rejection with a reason that holds no value."""
    assert one(line) == reason


def test_columns() -> None:
    """The columns are the known keys in alphabetical order, whatever the file holds."""
    for data in (b"", GOOD, b"\n"):
        assert parse(data, KNOWN).fields.columns == ["row", "a", "b", "mail_to", "read_note"]


def test_row_numbers_bytes_and_empty_lines() -> None:
    """Rows keep the number of their line, rejections their bytes, empty lines are ignored by name."""
    raw = parse(b'\xef\xbb\xbf\n{"a":"1"}\r\n\n{"a":["2"]}\n{"a":\xc3\xab}\n{"a":"3"}', KNOWN)
    assert raw.fields.select("row", "a").rows() == [(2, "1"), (4, '["2"]'), (6, "3")]
    assert raw.rejections.rows() == [(5, "not valid JSON", b'{"a":\xc3\xab}')]
    assert (raw.ignored, raw.units, raw.shape) == ({"empty line": 2}, 6, None)


@given(
    st.lists(OBJECT, min_size=1, max_size=6), st.sampled_from([(",", ":"), (", ", ": "), (" ,  ", " :")]), st.booleans()
)
@settings(max_examples=as_many(48), deadline=None)
def test_objects_as_python_reads_them(objects: list[dict[str, object]], signs: tuple[str, str], plain: bool) -> None:
    """What json writes comes back as the text of each value, in slices of a few bytes too."""
    lines = [json.dumps(item, separators=signs, ensure_ascii=plain) for item in objects]
    data = "\n".join(lines).encode()
    expected = [{key: as_text(value) for key, value in item.items() if value is not None} for item in objects]
    raw = parse(data, KNOWN)

    assert values(raw) == expected
    require_account(raw, data)
    with mock.patch.object(documents, "_SLICE", 9):
        assert parse(data, KNOWN).fields.equals(raw.fields)


PIECES = [
    "{",
    "}",
    '"a"',
    '"b"',
    ":",
    ",",
    "1",
    "-0.5e1",
    "null",
    '"x"',
    " ",
    "[",
    "]",
    '"',
    "\\",
    "true",
    "z",
    '"a":',
    '"c"',
    "Zoë",
]


def require_same_judgement(lines: list[str]) -> None:
    """Asserts that each line is taken or rejected as the parser alone does, with the same values or reason."""
    lines = [line for line in lines if line]
    raw = parse("\n".join([*lines, *['{"a":"1"}'] * (len(lines) + 1)]).encode(), KNOWN)
    expected = [documents._read_any(line, KNOWN, {}) for line in lines]
    rows = [
        {name: value for name, value in row.items() if value is not None} for row in expected if isinstance(row, dict)
    ]
    assert values(raw)[: len(rows)] == rows
    assert raw.rejections["reason"].to_list() == [reason for reason in expected if isinstance(reason, str)]


@given(st.lists(st.lists(st.sampled_from(PIECES), max_size=9).map("".join), min_size=1, max_size=8))
@settings(max_examples=as_many(100), deadline=None)
def test_both_ways_judge_any_line_alike(lines: list[str]) -> None:
    """A line is taken column by column only when the parser takes it, with the same values."""
    require_same_judgement(lines)


OBJECT_PIECES = st.tuples(
    st.sampled_from(["{", "{ ", " {"]),
    st.lists(
        st.tuples(
            st.sampled_from(['"a"', '"b"', '"mail_to"', '"c"', "a", '"a', '"a" ', '""']),
            st.sampled_from([":", ": ", ",", "::"]),
            st.sampled_from(['"x"', '"', "1", "01", "1.0", "null", "nul", "[]", "{}", '"x""y"', '"Zoë"', "", '"x" ']),
        ).map("".join),
        max_size=3,
    ),
    st.sampled_from(["}", " }", "} ", "}}", ""]),
).map(lambda parts: parts[0] + ",".join(parts[1]) + parts[2])


@given(st.lists(OBJECT_PIECES, min_size=1, max_size=8))
@settings(max_examples=as_many(120), deadline=None)
def test_both_ways_judge_near_objects_alike(lines: list[str]) -> None:
    """Lines that are nearly objects are taken or rejected as the parser does."""
    require_same_judgement(lines)


# --- files ------------------------------------------------------------------------------------------------------------


def test_another_form() -> None:
    """A JSON array, a pretty-printed object and a file mostly of other keys are refused."""
    for data in (b'[\n{"a":"1"},\n{"a":"2"}\n]\n', b'{\n"a": "1"\n}\n', b'{"x":1}\n{"y":1}\n{"a":1}\n'):
        with pytest.raises(FileRefused, match="are JSON objects of this feed: it is of another form"):
            parse(data, KNOWN)


def test_not_utf8() -> None:
    """A file that is not UTF-8 is refused with the row and without its value."""
    with pytest.raises(FileRefused, match=r"^row 2 is not UTF-8 text") as refusal:
        parse(GOOD + b'{"a":"Jans\xe9n"}\n', KNOWN)
    assert "Jans" not in str(refusal.value)
    assert values(parse('{"a":"Zoë"}\n'.encode(), KNOWN)) == [{"a": "Zoë"}]


def test_cut_anywhere() -> None:
    """A file cut inside a line is refused as truncated; cut between lines it is the lines before."""
    data = b'{"a":"1","b":2}\n{"a":"3","mail_to":["x"]}\n'
    ends = {0, 15, 16, 41, 42}
    for size in range(len(data)):
        if size in ends:
            require_account(parse(data[:size], KNOWN), data[:size])
            assert parse(data[:size], KNOWN).rejections.is_empty()
        else:
            with pytest.raises(FileRefused, match=r"the last, ends inside its object: the file is truncated"):
                parse(data[:size], KNOWN)


@pytest.mark.parametrize("known", [frozenset(), frozenset({"a", "row"}), frozenset({"read_note"})])
def test_unsound_keys(known: frozenset[str]) -> None:
    """A feed without keys, or with the reader's own column names, is the feed's fault."""
    with pytest.raises(FeedError, match="names its keys"):
        parse(GOOD, known)


@given(
    st.lists(
        st.sampled_from([b'{"a":"1"}', b'{"a"', b":", b"}", b'"', b"\n", b"\r", b"\\", b"\x00", b"\xe9", b"\xc3\xab"])
    ).map(b"".join)
    | st.binary(max_size=40)
)
@settings(max_examples=as_many(120), deadline=None)
def test_every_line_of_any_file_is_accounted_for(data: bytes) -> None:
    """Any bytes are refused whole, or each of their lines is a row, a rejection or ignored."""
    try:
        raw = parse(data, KNOWN)
    except FileRefused:
        return
    require_account(raw, data)


def test_what_stands_under_an_unknown_key_is_not_kept() -> None:
    """A line with a key that nobody knows may hold content: its rejection has no bytes, that of another line has."""
    raw = parse(b'{"text":"hallo"}\n{"a":1\n' + GOOD * 2, KNOWN)

    assert raw.rejections["raw"].to_list() == [None, b'{"a":1']


def test_slips_are_looked_up_for_a_while_only() -> None:
    """A file in which every line has another unknown key costs no search per line for ever."""
    lines = [f'{{"mail_{number}":1}}' for number in range(1200)]
    raw = parse("\n".join([*lines, '{"mail_too":1}', ""]).encode() + GOOD * 1300, KNOWN)

    assert raw.rejections["reason"][-1] == "has 1 key that the feed does not know"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"[1]", "most often a line is not a JSON object$"),
        (b'{"x":"0612345678"}', "most often a line has 1 key that the feed does not know$"),
        (b'{"a":"\\u0007"}', "most often a line holds a control character$"),
    ],
)
def test_a_refusal_says_what_is_wrong_with_most_lines(line: bytes, reason: str) -> None:
    """The commonest reason stands in the refusal, without a value."""
    with pytest.raises(FileRefused, match=reason) as refusal:
        parse((line + b"\n") * 3 + GOOD, KNOWN)
    assert "0612345678" not in str(refusal.value)
