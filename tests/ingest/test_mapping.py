"""Rules carried out: from text columns to canonical columns, and what makes a row a rejection."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.durations import whole
from ingest.errors import FeedError
from ingest.feed import Feed, parse_feed
from ingest.mapping import CLASS, IDENTIFIED, REASON, canonical
from ingest.nested import object_of
from ingest.source import NumberPlan, Source

FIELDS = ("one", "two", "three", "time")


def feed(columns: str, more: str = "") -> Feed:
    """A feed of `FIELDS` with these `[columns]` and `more` tables."""
    names = ", ".join(f'"{name}"' for name in FIELDS)
    text = f"""
feed = "test"
title = "test"
class = "voip"
reader = "delimited"
[[shapes]]
name = "all"
columns = [{names}]
[columns]
{columns}
{more}
"""
    return parse_feed(text.encode(), "test")


def source(**changes: Any) -> Source:
    """A source of that feed."""
    values: dict[str, Any] = {
        "name": "pbx",
        "feed": "test",
        "customer": None,
        "record_class": None,
        "zone": "Europe/Amsterdam",
        "region": "NL",
        "number_plan": None,
        "shape": None,
        "sequence": None,
        "sequence_modulus": None,
        "cadence": None,
        "identity": None,
    }
    return Source(**{**values, **changes})


def mapped(definition: Feed, rows: list[dict[str, str | None]], **changes: Any) -> list[dict[str, Any]]:
    """The canonical rows that `rows` become; columns that none of them has are null."""
    names = definition.fields()
    columns: dict[str, list[Any]] = {name: [row.get(name) for row in rows] for name in names}
    schema = {"row": pl.Int64, **dict.fromkeys(names, pl.String), "read_note": pl.String}
    numbers = {"row": list(range(1, len(rows) + 1)), "read_note": [None] * len(rows)}
    frame = pl.DataFrame({**numbers, **columns}, schema=schema)
    return canonical(frame, definition, source(**changes), "all").to_dicts()


def one(definition: Feed, **values: str | None) -> dict[str, Any]:
    """The canonical row of one row."""
    return mapped(definition, [dict(values)])[0]


# --- where a value comes from -----------------------------------------------------------------------------------------


def test_first_field_with_a_value_counts() -> None:
    """Of several fields the first that is not empty gives the value."""
    definition = feed('user_name = { from = ["one", "two"] }')

    assert one(definition, one=None, two="b")["user_name"] == "b"
    assert one(definition, one="a", two="b")["user_name"] == "a"


def test_first_rule_with_a_value_counts() -> None:
    """Of several rules the first that applies and gives a value counts."""
    definition = feed('service = [{ from = "one", when = { two = "x" } }, { constant = "other" }]')

    assert one(definition, one="a", two="x")["service"] == "a"
    assert one(definition, one="a", two="y")["service"] == "other"
    assert one(definition, one=None, two="x")["service"] == "other"


def test_later_rules_are_not_asked() -> None:
    """What a later rule would refuse is no fault where an earlier one gave the value."""
    definition = feed('bytes_up = [{ from = "one" }, { from = "two" }]')

    assert (one(definition, one="1", two="x")["bytes_up"], one(definition, one="1", two="x")[REASON]) == (1, None)
    assert one(definition, two="x")[REASON] == "bytes_up is not of its form"


def test_many_rows_of_few_numbers_are_as_one() -> None:
    """A number that stands in many rows is worked out once, and is the same as alone."""
    definition = feed('a = { from = "one", as = "party" }')
    rows: list[dict[str, str | None]] = [{"one": "0612345678"}, {"one": None}, {"one": "anonymous"}] * 20

    found = [(row["a_number"], row["cli_withheld"]) for row in mapped(definition, rows)]
    assert found == [("+31612345678", None), (None, True), (None, True)] * 20


def test_join_leaves_empty_fields_out() -> None:
    """Joined fields are those that have a value; none gives none."""
    definition = feed('line = { from = ["one", "two", "three"], join = "/" }')

    assert one(definition, one="a", three="c")["line"] == "a/c"
    assert one(definition)["line"] is None


def test_pattern_takes_its_group_or_nothing() -> None:
    """A pattern that does not match gives no value and no rejection."""
    definition = feed("line = { from = 'one', pattern = '^L([0-9]+)$' }")

    assert one(definition, one="L12")["line"] == "12"
    assert one(definition, one="X12")["line"] is None
    assert one(definition, one="X12")[REASON] is None


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("", "z", None),
        (', unknown = "empty"', None, None),
        (', unknown = "reject"', None, "unknown one"),
        (', otherwise = "rest"', "rest", None),
    ],
    ids=["kept as it is", "left empty", "rejected", "replaced"],
)
def test_words_that_a_map_lacks(key: str, value: str | None, reason: str | None) -> None:
    """What a map does not know is treated as the rule says; an empty field is never unknown."""
    definition = feed('event = { from = "one", map = { x = "call" }' + key + " }")

    assert one(definition, one="x")["event"] == "call"
    found = one(definition, one="z")
    assert (found["event"], found[REASON]) == (value, reason)
    assert (one(definition)["event"], one(definition)[REASON]) == (None, None)


def test_nulls_of_a_rule() -> None:
    """A word for unknown is no value."""
    definition = feed('start = { from = "time", as = "epoch", nulls = ["0", "N/A"] }')

    assert one(definition, time="0")["start"] is None
    assert one(definition, time="N/A")[REASON] is None


@pytest.mark.parametrize(
    ("condition", "met"),
    [
        ('"x"', [True, False, False]),
        ('["x", "y"]', [True, True, False]),
        ('""', [False, False, True]),
        ('{ not = "x" }', [False, True, True]),
        ('{ pattern = "^[xz]" }', [True, False, False]),
        ("{ empty = true }", [False, False, True]),
        ("{ empty = false }", [True, True, False]),
        ('{ same = "two" }', [True, False, False]),
        ('{ differs = "two" }', [False, True, True]),
    ],
)
def test_conditions(condition: str, met: list[bool]) -> None:
    """A condition holds of one of the values, of none, of a match, of an empty field, of an equal or another one."""
    definition = feed('service = { from = "three", when = { one = ' + condition + " } }")
    rows: list[dict[str, str | None]] = [{"one": "x"}, {"one": "y"}, {}]

    found = mapped(definition, [{**row, "two": "x", "three": "v"} for row in rows])
    assert [row["service"] == "v" for row in found] == met


# --- forms ------------------------------------------------------------------------------------------------------------

FORMS: dict[str, list[tuple[str, Any]]] = {
    "imsi": [("204990000000001", "204990000000001"), ("204990000000001f", "204990000000001"), ("20499", None)],
    "iccid": [("8931000000000000001", "8931000000000000001"), ("0000", None)],
    "mac": [("00-1A-2B-3C-4D-5E", "00:1a:2b:3c:4d:5e"), ("00", None)],
    "start_cell": [("204-99-1A2B-3C4D", "204-99-1a2b-3c4d")],
    "mail_from": [("<Jansen@Example.org>", "jansen@example.org"), ("nobody", None)],
    "public_ip": [
        ("203.0.113.12", b"\0" * 10 + b"\xff\xff\xcb\x00\x71\x0c"),
        ("::1", b"\0" * 15 + b"\1"),
        ("203.0.113.300", None),
    ],
    "prefix_length": [("56", 56), ("129", None), ("-1", None), ("x", None)],
    "port_from": [("65535", 65535), ("65536", None)],
    "utc_offset": [("-60", -60), ("2000", None)],
    "bytes_up": [("9223372036854775807", 2**63 - 1), ("9223372036854775808", None), ("-5", None), ("1.5", None)],
    "cli_withheld": [("Yes", True), ("0", False), ("maybe", None)],
    "technology": [("SIP", "sip")],
    "served": [("a", "a"), ("d", None)],
    "part": [("first", "first"), ("middle", None)],
    "direction": [("out", "out"), ("left", None)],
    "visited_country": [("NL", "NL"), ("nl", None)],
}
KIND_OF = {
    "imsi": "imsi",
    "iccid": "iccid",
    "mac": "mac",
    "start_cell": "cell",
    "technology": "lower",
    "mail_from": "mail",
}


@pytest.mark.parametrize("column", FORMS)
def test_forms(column: str) -> None:
    """A value of its form becomes the normal form; any other makes the row a rejection that names the column alone."""
    kind = f', as = "{KIND_OF[column]}"' if column in KIND_OF else ""
    definition = feed(f'{column} = {{ from = "one"{kind} }}')
    texts = [text for text, _ in FORMS[column]]

    for (text, value), row in zip(FORMS[column], mapped(definition, [{"one": text} for text in texts]), strict=True):
        if value is None:
            assert row[REASON] == f"{column} is not of its form"
        else:
            assert (row[column], row[REASON]) == (value, None), text


def test_invalid_as_extra_keeps_text_and_row() -> None:
    """A rule may keep a text that is not of its form among the extra columns of its category."""
    definition = feed('access_ip = { from = "one", invalid = "extra" }')

    row = one(definition, one="203.0.113.300")
    assert (row["access_ip"], row["extra_who"], row[REASON]) == (None, '{"one":"203.0.113.300"}', None)
    assert one(definition, one="203.0.113.3").get("extra_who") is None


def test_invalid_as_empty_leaves_it_out() -> None:
    """A rule may leave out what another column has."""
    definition = feed('visited_country = { from = "one", as = "tadig_country", invalid = "empty" }')

    assert one(definition, one="FRAF1")["visited_country"] == "FR"
    row = one(definition, one="AAAXX")
    assert (row["visited_country"], row[REASON]) == (None, None)


def test_blank_text_is_no_fault() -> None:
    """A field of blanks has no value and does not make the row a rejection."""
    definition = feed('imsi = { from = "one", as = "imsi" }\nduration_ms = { from = "two", as = "seconds" }')

    assert one(definition, one="  ", two=" ")[REASON] is None


@pytest.mark.parametrize(
    ("raw", "imei", "kept"),
    [
        ("35123456000000", "35123456000000", None),
        ("351234560000000", "35123456000000", "351234560000000"),
        ("3512345600000007", "35123456000000", "3512345600000007"),
        ("351234560000000f", "35123456000000", "351234560000000f"),
    ],
    ids=["14 digits", "15, spare 0", "16, software version", "filler f"],
)
def test_imei_matches_on_14_digits(raw: str, imei: str, kept: str | None) -> None:
    """An IMEI is its first 14 digits; the text stays beside it where those do not give it back."""
    row = one(feed('imei = { from = "one", as = "imei" }\npeer_imei = { from = "one", as = "imei" }'), one=raw)

    assert (row["imei"], row["imei_raw"], row["peer_imei"]) == (imei, kept, imei)


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("27", "seconds", 27_000),
        ("00027", "seconds", 27_000),
        ("27.5", "seconds", 27_500),
        (" 27 ", "seconds", 27_000),
        ("1.5", "milliseconds", 2),
        ("-1", "seconds", None),
        ("1e3", "seconds", None),
        ("nan", "seconds", None),
        ("9999999999", "seconds", None),
        ("99999999999999999999", "milliseconds", None),
        ("000127", "duration_hhmmss", 87_000),
        ("1000000", "duration_hhmmss", 360_000_000),
        ("000160", "duration_hhmmss", None),
        ("00000150", "duration_hhmmssss", 1_500),
        ("000000305500", "duration_hhmmssss", 1_855_000),
        ("00009900", "duration_hhmmssss", None),
        ("0150", "duration_hhmmssss", None),
        ("0x1", "integer", None),
        ("", "integer", None),
    ],
)
def test_durations(text: str, kind: str, value: int | None) -> None:
    """Durations are whole milliseconds; what carries over, is negative, or is too long for a call is none."""
    assert whole(pl.Series([text]), kind)[0] == value


@given(st.integers(0, 10**6), st.integers(0, 59), st.integers(0, 59), st.integers(0, 99))
def test_hundredths_are_exact(hours: int, minutes: int, seconds: int, hundredths: int) -> None:
    """HHMMSSss gives the milliseconds that it writes, within the longest duration there is."""
    value = ((hours * 60 + minutes) * 60 + seconds) * 1000 + hundredths * 10
    text = f"{hours:02}{minutes:02}{seconds:02}{hundredths:02}"

    found = whole(pl.Series([text]), "duration_hhmmssss")[0]
    assert found == (value if value <= 10**12 else None)


def test_lists() -> None:
    """A JSON array gives its texts, any other text a list of one, a broken array a rejection."""
    definition = feed('mail_to = { from = "one", as = "mails" }\nother_parties = { from = "two", as = "parties" }')
    good = mapped(definition, [{"one": '["A@x.org", "b@x.org"]', "two": '[{"role":"r","number":"+31612345678"}]'}])[0]

    assert good["mail_to"] == ["a@x.org", "b@x.org"]
    assert good["other_parties"] == [{"role": "r", "number": "+31612345678"}]
    assert one(definition, one="A@x.org")["mail_to"] == ["a@x.org"]
    assert one(feed('mail_to = { from = "one", as = "list" }'), one='["A", "b"]')["mail_to"] == ["A", "b"]
    for text in ('["a@x.org", 1]', '["a@x.org"', '["nobody"]', "[]", r'["\ud83d"]'):
        assert one(definition, one=text)[REASON] == "mail_to is not of its form", text
    for text in ("x", '[{"role":"r"}]', '{"role":"r","number":"1"}'):
        assert one(definition, two=text)[REASON] == "other_parties is not of its form", text


@given(st.lists(st.tuples(st.text(), st.text()), min_size=1, max_size=5))
def test_extra_is_json_that_gives_the_texts_back(values: list[tuple[str, str]]) -> None:
    """Extra columns are JSON objects of strings, whatever the fields hold."""
    frame = pl.DataFrame({"a": [a for a, _ in values], "b": [b for _, b in values]})

    found = object_of(frame, [("x", "a"), ("y", "b")])
    assert found is not None
    assert [json.loads(text) for text in found] == [{"x": a, "y": b} for a, b in values]


def test_extra_keeps_what_is_assigned_alone() -> None:
    """Extra columns hold the fields assigned to their category; a field that nothing names is gone."""
    definition = feed("", '[extra]\nwho = ["one"]\nhow_much = ["two"]')

    row = one(definition, one="a", two='b"', three="secret")
    assert (row["extra_who"], row["extra_how_much"]) == ('{"one":"a"}', '{"two":"b\\""}')
    assert "secret" not in str(row)


# --- parties ----------------------------------------------------------------------------------------------------------

PARTY = 'a = { from = "one", as = "party" }\nb = { from = "two", as = "party", empty = "unknown" }'


def test_party_columns() -> None:
    """A party gives number, kind, and the raw text where the number does not give it back."""
    row = one(feed(PARTY), one="0612345678", two="+31201234567")

    assert (row["a_number"], row["a_kind"], row["a_raw"]) == ("+31612345678", "e164", "0612345678")
    assert (row["b_number"], row["b_kind"], row["b_raw"]) == ("+31201234567", "e164", None)
    assert (row["cli_withheld"], row["emergency"]) == (None, None)


@pytest.mark.parametrize("text", [None, "Anonymous", "restricted", "sip:anonymous@anonymous.invalid"])
def test_withheld(text: str | None) -> None:
    """An empty or anonymous caller is a withheld number; an empty called party is not."""
    row = one(feed(PARTY), one=text)

    assert (row["a_number"], row["cli_withheld"]) == (None, True)


def test_withheld_number_that_the_network_knows() -> None:
    """A number that is told to be withheld is kept beside the flag."""
    definition = feed(PARTY + '\ncli_withheld = { from = "three", as = "withheld" }')

    row = one(definition, one="0612345678", three="Anonymous")
    assert (row["a_number"], row["cli_withheld"]) == ("+31612345678", True)
    assert one(definition, one="0612345678", three="0612345678")["cli_withheld"] is None
    assert one(definition, one="*31#0612345678")["cli_withheld"] is True


def test_withheld_only_where_the_rule_applies() -> None:
    """A row of a kind that tells no caller does not withhold one."""
    definition = feed('a = [{ from = "one", as = "party", when = { two = "x" } }, { from = "one", empty = "unknown" }]')

    assert one(definition, two="x")["cli_withheld"] is True
    assert one(definition, two="y")["cli_withheld"] is None
    assert one(definition, one="0612345678", two="y")["a_number"] == "+31612345678"


@pytest.mark.parametrize("text", ["112", "144", "1888", "1233", "116000", "18001", "14020"])
def test_short_numbers_never_become_e164(text: str) -> None:
    """A short number stays as it is; the emergency number is flagged."""
    row = one(feed(PARTY), one="0612345678", two=text)

    assert (row["b_number"], row["b_kind"]) == (text, "short")
    assert row["emergency"] is (True if text == "112" else None)


def test_extensions_of_two_customers_never_meet() -> None:
    """An extension carries the customer, or the source where it has none."""
    definition = feed(PARTY, "[number_plan]\nextension = [2, 5]")
    rows: list[dict[str, str | None]] = [{"one": "1001", "two": "1002"}]

    assert mapped(definition, rows, customer="bakkerij")[0]["a_number"] == "1001@bakkerij"
    assert mapped(definition, rows, customer="slagerij")[0]["a_number"] == "1001@slagerij"
    assert mapped(definition, rows)[0]["b_number"] == "1002@pbx"


def test_number_plan_of_the_source_goes_first() -> None:
    """A source's number plan replaces the feed's; a rule may say what a bare number is."""
    plain = feed(PARTY)
    bare = feed('a = { from = "one", bare = "international" }')
    rows: list[dict[str, str | None]] = [{"one": "31612345678"}]

    assert mapped(plain, rows)[0]["a_kind"] == "unknown"
    assert mapped(plain, rows, number_plan=NumberPlan(bare="international"))[0]["a_number"] == "+31612345678"
    assert mapped(bare, rows)[0]["a_number"] == "+31612345678"


def test_area_of_the_caller_completes_a_local_number() -> None:
    """A subscriber number takes the area code of the field named, out of the closed list, else none."""
    definition = feed(
        'b = { from = "one", nature = "two", natures = { "001" = "subscriber", "004" = "plan" }, area = "three",'
        ' area_codes = ["20", "299", "40"] }'
    )
    rows: list[dict[str, str | None]] = [
        {"one": "7654321", "two": "001", "three": "0201234567"},
        {"one": "654321", "two": "001", "three": "0299123456"},
        {"one": "7654321", "two": "001", "three": "0612345678"},
        {"one": "7654321", "two": "001", "three": None},
        {"one": "654321", "two": "001", "three": "0201234567"},
        {"one": "0612345678", "two": "004", "three": "0201234567"},
    ]

    found = [(row["b_number"], row["b_kind"]) for row in mapped(definition, rows)]
    assert found == [
        ("+31207654321", "e164"),
        ("+31299654321", "e164"),
        ("7654321", "unknown"),
        ("7654321", "unknown"),
        ("654321", "unknown"),
        ("+31612345678", "e164"),
    ]


def test_other_parties_gather_what_differs() -> None:
    """Further parties are listed with their role, normalised, unless they are the party already there."""
    definition = feed(
        PARTY + '\nother_parties = [{ role = "presented", from = "three", as = "party", unlike = "a_number" },'
        ' { role = "billed", from = "time", as = "party" }]'
    )

    row = one(definition, one="0612345678", three="+31612345678", time="0201234567")
    assert row["other_parties"] == [{"role": "billed", "number": "+31201234567"}]
    both = one(definition, one="0612345678", three="0687654321", time="0201234567")["other_parties"]
    assert [party["role"] for party in both] == ["presented", "billed"]
    assert one(definition, one="0612345678", three="anonymous")["other_parties"] is None


def test_canonical_party_holds_what_it_tells() -> None:
    """In the record's own form a kind that is told counts; without one the number plan decides."""
    text = 'feed = "test"\ntitle = "test"\nclass = "voip"\nreader = "documents"\ncanonical = true'
    definition = parse_feed(text.encode(), "test")

    told = one(definition, a_number="1888", a_kind="extension", b_number="+31612345678", b_kind="e164", b_raw="06")
    assert (told["a_number"], told["a_kind"]) == ("1888@pbx", "extension")
    assert (told["b_number"], told["b_raw"]) == ("+31612345678", "06")
    assert one(definition, a_number="1888")["a_kind"] == "short"
    assert one(definition, cli_withheld="true")["cli_withheld"] is True
    assert one(definition)["cli_withheld"] is None
    assert one(definition, imei="35123456000000", imei_raw="351234560000000")["imei_raw"] == "351234560000000"
    assert one(definition, a_kind="e164")[REASON] == "a_kind without a_number"
    assert one(definition, a_number="0612345678", a_kind="e164")[REASON] == "a_number is not of its form"
    assert one(definition, a_number="x", a_kind="phone")[REASON] == "a_kind is not of its form"


# --- times ------------------------------------------------------------------------------------------------------------

LOCAL = 'as = "local_time", format = "%Y-%m-%d %H:%M:%S"'


def utc(text: str) -> datetime:
    """A moment in UTC."""
    return datetime.fromisoformat(text).astimezone(UTC)


def test_epoch_tells_no_offset() -> None:
    """An epoch time is UTC and says nothing of where the source stood."""
    row = one(feed('start = { from = "time", as = "epoch", unit = "ms" }'), time="1770131244250")

    assert row["start"] == utc("2026-02-03T15:07:24.250Z")
    assert (row["time_precision"], row.get("utc_offset")) == ("ms", None)


@pytest.mark.parametrize(
    ("time", "start", "precision"),
    [
        ("2026-02-03T16:07:24+01:00", "2026-02-03T15:07:24Z", "s"),
        ("2026-07-03T16:07:24", "2026-07-03T14:07:24Z", "s"),
        ("2026-02-03T16:07:24.25Z", "2026-02-03T16:07:24.250Z", "ms"),
        ("2026-02-03T16:07:24.123456Z", "2026-02-03T16:07:24.123456Z", "us"),
    ],
)
def test_iso_times(time: str, start: str, precision: str) -> None:
    """RFC 3339 times without offset are local in the source's zone."""
    row = one(feed('start = { from = "time", as = "iso_time" }'), time=time)

    assert (row["start"], row["time_precision"]) == (utc(start), precision)


@pytest.mark.parametrize(
    "time", ["2026-02-03 26:00:00", "2026-13-03 10:00:00", "2026-02-30 10:00:00", "2026/2/3 10:00"]
)
def test_impossible_times_are_rejected(time: str) -> None:
    """Hour 26, month 13, 30 February and a spreadsheet's own form are refused, never carried over."""
    assert one(feed('start = { from = "time", ' + LOCAL + " }"), time=time)[REASON] == "start is not a time"


def test_precision_that_the_feed_tells() -> None:
    """A feed may say how precise its times are, whatever their form shows."""
    row = one(feed('start = { from = "time", as = "epoch", precision = "min" }'), time="1770131244")

    assert row["time_precision"] == "min"


def test_missing_hour_is_rejected() -> None:
    """A local time in the hour that the clock skips is a rejection that says so."""
    row = one(feed('start = { from = "time", ' + LOCAL + " }"), time="2026-03-29 02:30:00")

    assert row[REASON] == "start is a local time that did not exist"


DOUBLED = "2026-10-25 02:30:00"
FIRST, SECOND = utc("2026-10-25T02:30:00+02:00"), utc("2026-10-25T02:30:00+01:00")


def test_doubled_hour_is_flagged() -> None:
    """Without anything to settle it, the doubled hour is the earlier instant, noted ambiguous."""
    row = one(feed('start = { from = "time", ' + LOCAL + " }"), time=DOUBLED)

    assert (row["start"], row["time_note"], row["utc_offset"]) == (FIRST, "ambiguous", 120)


@pytest.mark.parametrize("moment", [FIRST, SECOND], ids=["summer", "winter"])
def test_doubled_hour_by_epoch_and_duration(moment: datetime) -> None:
    """An id that holds the epoch settles the start, and start plus duration settles end and answer."""
    plus = 'after = "start", plus = { from = "three", as = "seconds" }'
    minus = 'minus = { from = "three", as = "seconds" }'
    definition = feed(
        f'start = {{ from = "time", {LOCAL}, near = {{ from = "one", pattern = "^([0-9]+)[.]" }} }}\n'
        f'end = {{ from = "two", {LOCAL}, near = {{ {plus} }} }}\n'
        f'answer = {{ from = "two", {LOCAL}, near = {{ {plus}, {minus} }} }}'
    )

    row = one(definition, time=DOUBLED, one=f"{int(moment.timestamp())}.7", two="2026-10-25 02:30:10", three="10")
    assert row["start"] == moment
    assert (row["end"] - row["start"]).total_seconds() == 10
    assert (row["answer"] - row["start"]).total_seconds() == 10
    assert row["time_note"] is None


@pytest.mark.parametrize(("seconds", "moment"), [("2400", SECOND), ("6000", FIRST)])
def test_doubled_hour_by_end_and_duration(seconds: str, moment: datetime) -> None:
    """The end and the duration settle a start that nothing else does."""
    definition = feed(
        f'start = {{ from = "time", {LOCAL}, end = "two", duration = {{ from = "three", as = "seconds" }} }}'
    )

    row = one(definition, time=DOUBLED, two="2026-10-25 03:10:00", three=seconds)
    assert (row["start"], row["time_note"]) == (moment, None)


def test_offset_and_country_give_the_zone() -> None:
    """An offset counts; without one the country's zone is taken and noted; an unknown country has the source's."""
    definition = feed(f'start = {{ from = "time", {LOCAL}, offset = "one", zone = "two" }}')
    rows: list[dict[str, str | None]] = [
        {"time": "2026-02-03 16:00:00", "one": "-0500", "two": "USACG"},
        {"time": "2026-02-03 16:00:00", "two": "GBRVF"},
        {"time": "2026-02-03 16:00:00", "two": "USACG"},
        {"time": "2026-02-03 16:00:00"},
        {"time": None, "two": "GBRVF"},
    ]

    found = [(row["start"], row["utc_offset"], row["time_note"]) for row in mapped(definition, rows)]
    assert found == [
        (utc("2026-02-03T21:00:00Z"), -300, None),
        (utc("2026-02-03T16:00:00Z"), 0, "derived"),
        (utc("2026-02-03T15:00:00Z"), 60, "zone assumed"),
        (utc("2026-02-03T15:00:00Z"), 60, "zone assumed"),
        (None, None, None),
    ]


def test_computed_times() -> None:
    """A time may be another time plus and minus durations; a duration that is none is a rejection."""
    definition = feed(
        'start = { from = "time", as = "epoch" }\n'
        'end = { after = "start", plus = { from = "one", as = "seconds" } }\n'
        'answer = { after = "end", minus = { from = "two", as = "seconds" } }'
    )

    row = one(definition, time="1770131244", one="27", two="7")
    assert (row["end"] - row["start"]).total_seconds() == 27
    assert (row["answer"] - row["start"]).total_seconds() == 20
    assert one(definition, time="1770131244", two="7")["end"] is None
    assert one(definition, time="1770131244", one="x")[REASON] == "a duration for end is not of its form"


def test_end_before_start_is_rejected() -> None:
    """A record that ends before it starts would be in no window: it is a rejection, not a loss."""
    definition = feed('start = { from = "time", as = "epoch" }\nend = { from = "one", as = "epoch" }')

    assert one(definition, time="1770131244", one="1770131243")[REASON] == "end before start"
    assert one(definition, time="1770131244", one="1770131244")[REASON] is None


def test_first_readable_time_counts() -> None:
    """Of two time rules the second is not asked where the first gives a value, whatever its field holds."""
    definition = feed('start = [{ from = "time", as = "epoch" }, { from = "one", as = "iso_time" }]')

    assert one(definition, time="1770131244", one="rubbish")[REASON] is None
    assert one(definition, one="2026-02-03T15:07:24Z")["start"] == utc("2026-02-03T15:07:24Z")
    assert one(definition, one="rubbish")[REASON] == "start is not a time"


# --- class and identity -----------------------------------------------------------------------------------------------


def test_class_of_source_and_field() -> None:
    """The source's class replaces the feed's; a class column must name one that there is."""
    plain = feed('event = { from = "one" }')
    assert one(plain)[CLASS] == "voip"
    assert mapped(plain, [{}], record_class="telephony")[0][CLASS] == "telephony"

    text = """
feed = "test"
title = "test"
class_column = "one"
reader = "delimited"
[[shapes]]
name = "all"
columns = ["one"]
"""
    told = parse_feed(text.encode(), "test")
    assert one(told, one="email")[CLASS] == "email"
    assert one(told, one="mail")[REASON] == "unknown class"
    assert one(told)[REASON] == "no class"
    assert mapped(told, [{}], record_class="email")[0][REASON] is None


def test_identity_and_record_id() -> None:
    """A row that lacks a needed field has no identity; optional ones may be empty, hidden ones are not shown."""
    more = '[identity]\nfields = ["one", "two", "three"]\noptional = ["two"]\nhidden = ["one"]'
    definition = feed('event = { from = "time" }', more)
    rows: list[dict[str, str | None]] = [
        {"one": "a", "two": "b", "three": "c"},
        {"one": "a", "three": "c"},
        {"one": "a", "two": "b"},
    ]

    found = [(row[IDENTIFIED], row["record_id"]) for row in mapped(definition, rows)]
    assert found == [(True, "b/c"), (True, "/c"), (False, None)]


def test_identity_of_the_source() -> None:
    """A source may name its own identity, out of the fields there are."""
    definition = feed('record_id = { from = "one" }', '[identity]\nfields = ["one"]')

    assert mapped(definition, [{"one": "a", "two": "b"}])[0]["record_id"] == "a"
    assert mapped(definition, [{"one": "a", "two": "b"}], identity=("two",))[0]["record_id"] == "b"
    assert mapped(definition, [{"one": "a"}], identity=())[0][IDENTIFIED] is False
    with pytest.raises(FeedError, match="no field of its feed"):
        mapped(definition, [{}], identity=("four",))


def test_first_reason_counts_and_names_no_value() -> None:
    """A row with several faults is one rejection; its reason is a plain sentence."""
    definition = feed('imsi = { from = "one", as = "imsi" }\nbytes_up = { from = "two" }')

    row = one(definition, one="marker1", two="marker2")
    assert row[REASON] == "imsi is not of its form"
