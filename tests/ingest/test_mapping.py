"""Rules carried out: from text columns to canonical columns, and what makes a row a rejection."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from ingest.errors import FeedError
from ingest.feed import parse_feed
from ingest.mapping import CLASS, IDENTIFIED, REASON
from tests.ingest.small_feed import feed, mapped, one

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


def test_extra_keeps_what_is_assigned_alone() -> None:
    """Extra columns hold the fields assigned to their category; a field that nothing names is gone."""
    definition = feed("", '[extra]\nwho = ["one"]\nhow_much = ["two"]')

    row = one(definition, one="a", two='b"', three="secret")
    assert (row["extra_who"], row["extra_how_much"]) == ('{"one":"a"}', '{"two":"b\\""}')
    assert "secret" not in str(row)


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
