"""The whole way of a file: every unit accounted for, content gone, classes and days, and what no feed may do."""

from __future__ import annotations

import gzip
import random
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ingest.plan
from ingest.errors import FeedError, FileRefused, IngestError
from ingest.feed import Feed, parse_feed
from ingest.mapping import canonical
from ingest.read import TYPES, read
from ingest.record import SCHEMA
from ingest.sound import anchor
from tests.ingest.shipped_feeds import (
    ARRIVED,
    FEEDS,
    NAMES,
    accounted,
    asterisk,
    everything,
    mvno,
    reading,
    rows,
    source,
)
from tests.thorough import as_many

# --- every feed -------------------------------------------------------------------------------------------------------


def test_content_leaves_no_trace() -> None:
    """A field that is content stands in no column, rejection, note or repr, whether its row is good or not."""
    good, bad = asterisk(21, lastdata="MARKER1", userfield="MARKER2"), asterisk(21, lastdata="MARKER1", start="MARKER2")
    calls = reading("asterisk_csv", good + bad + good.replace(",", "", 1) + good * 2)
    usage = reading("mvno_pipe", mvno(description="MARKER3") + mvno(description="MARKER3", imsi="MARKER3") + mvno() * 2)

    assert calls.rejections.num_rows == 2
    assert usage.rejections.num_rows == 1
    assert "MARKER" not in everything(calls) + everything(usage)


def test_caller_name_is_not_kept() -> None:
    """Of clid the number is kept where it differs; the name beside it is not."""
    found = reading("asterisk_csv", asterisk(21, clid='"Jansen MARKER" <0687654321>'))

    assert rows(found, "voip")[0]["other_parties"] == [{"role": "presented", "number": "+31687654321"}]
    assert "MARKER" not in everything(found)


@pytest.mark.parametrize(
    ("minutes", "reason"), [(0, None), (15, None), (16, "future")], ids=["now", "at the limit", "behind it"]
)
def test_future(minutes: int, reason: str | None) -> None:
    """A start more than 15 minutes behind its arrival is a rejection: a wrong clock buys no longer life."""
    arrived = datetime(2026, 2, 3, 15, 0, tzinfo=UTC)
    stamp = (datetime(2026, 2, 3, 16, 0) + timedelta(minutes=minutes)).strftime("%Y%m%d%H%M%S")
    found = reading("mvno_pipe", mvno(event_timestamp=stamp), arrived)

    assert found.rejections["reason"].to_pylist() == ([reason] if reason else [])


def test_future_of_an_interval_is_that_of_its_end() -> None:
    """An interval has its day by end or latest report: it may start early, and must not end in the future."""
    head = "class,start,end,reported_at,public_ip\n"
    lines = [
        "binding,2026-02-03T10:00:00Z,2026-02-03T18:00:00Z,,203.0.113.12",
        "binding,2026-02-03T10:00:00Z,,2026-02-03T15:00:00Z,203.0.113.12",
        "binding,,2026-02-03T15:00:00Z,,203.0.113.12",
        "voip,,2026-02-03T15:00:00Z,,",
    ]
    found = reading("native_csv", head + "\n".join(lines), datetime(2026, 2, 3, 15, 0, tzinfo=UTC))

    reasons = list(zip(found.rejections["row"].to_pylist(), found.rejections["reason"].to_pylist(), strict=True))
    assert reasons == [(2, "future"), (5, "no start")]
    days = anchor(found.records["binding"], "binding").to_list()
    assert [day.hour for day in days] == [15, 15]


def test_anchor_of_events_is_their_start() -> None:
    """An event has its day by its start; a table without times has none."""
    table = rows(reading("mvno_pipe", mvno(duration="60")), "mobile_usage")
    found = reading("mvno_pipe", mvno(duration="60")).records["mobile_usage"]

    assert anchor(found, "mobile_usage").to_list() == [table[0]["start"]]
    assert anchor(found.select("row"), "mobile_usage").null_count() == 1


def test_records_have_the_schema_of_the_record() -> None:
    """Every column has its type and place of the record's schema, and holds a value."""
    data = mvno(record_type="MT", number_a="31201234567", operator_code="NLDPT", customer_number="K7", call_id="1")
    records = reading("mvno_pipe", data, customer="bakkerij").records["mobile_usage"]

    assert records.columns == [name for name in SCHEMA.names if name in records.columns]
    assert all(dtype == TYPES[name] for name, dtype in records.schema.items())
    assert {"row", "occurrence", "source", "feed_digest"} <= set(records.columns)
    assert "batch" not in records.columns
    assert all(records[name].null_count() < records.height for name in records.columns)
    assert records["customer"].to_list() == ["bakkerij"]


QUOTES = ['"a"b', 'a"b', '"a" ', ' "a"', '"a', 'a"', '"a""', '""a"', '"a"b"c"']
QUOTES_HEADER = "class,record_id,start,user_name,service\n"


@pytest.mark.parametrize("broken", QUOTES)
def test_illegal_quotes_cost_one_row(broken: str) -> None:
    """A line whose quoting is broken or left open is one rejection with its bytes; no other row is lost or moved."""
    lines = [f'server_use,{number},2026-02-03T10:00:00Z,"u, {number}","s ""{number}"""' for number in range(1, 8)]
    wrong = f"server_use,9,2026-02-03T10:00:00Z,{broken},s"
    for place in range(len(lines)):
        data = [*lines[:place], wrong, *lines[place:]]
        found = reading("native_csv", QUOTES_HEADER + "\n".join(data) + "\n")

        assert found.rejections.to_pylist() == [{"row": place + 2, "reason": "quoting", "raw": wrong.encode()}]
        assert accounted(found) == found.units == 9
        assert [(row["user_name"], row["service"]) for row in rows(found, "server_use")] == [
            (f"u, {number}", f's "{number}"') for number in range(1, 8)
        ]


def test_equal_rows_with_lists_are_numbered() -> None:
    """Lists take part in what makes two rows equal."""
    line = '{"class":"email","start":"2026-02-03T10:00:00Z","mail_to":["%s@x.org"]}\n'
    data = line % "a" + line % "b" + line % "a"

    found = rows(reading("native_ndjson", data), "email")
    assert [(row["mail_to"], row["occurrence"]) for row in found] == [
        (["a@x.org"], 0),
        (["b@x.org"], 0),
        (["a@x.org"], 1),
    ]


def test_compressed_and_plain_give_the_same() -> None:
    """A file and its gzip are one reading."""
    plain, packed = reading("mvno_pipe", mvno() * 3), reading("mvno_pipe", gzip.compress((mvno() * 3).encode()))

    assert plain.records["mobile_usage"].equals(packed.records["mobile_usage"])
    zstd = pa.compress((mvno() * 3).encode(), codec="zstd", asbytes=True)
    assert reading("mvno_pipe", zstd).units == 3


def test_limit_bounds_the_unpacked_file() -> None:
    """A small file that unpacks to more than the limit is refused."""
    with pytest.raises(FileRefused):
        read(gzip.compress(b"|" * 10_000), FEEDS["mvno_pipe"], source("mvno_pipe"), ARRIVED, "x", limit=1000)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "wlr_fixed"])
def test_an_empty_file_is_an_empty_reading(name: str) -> None:
    """Nothing in is nothing out: no records, no rejections, no error."""
    found = reading(name, b"")

    assert (found.units, found.records, found.rejections.num_rows, found.shape) == (0, {}, 0, None)


def test_ignored_and_rejected_by_the_feed() -> None:
    """A feed may set rows apart by its own conditions, each counted under its reason; ignored comes first."""
    text = """
feed = "test"
title = "test"
class = "voip"
reader = "delimited"
[[shapes]]
name = "all"
columns = ["kind", "time"]
[[ignore]]
reason = "type row"
when = { kind = "TEXT" }
[[ignore]]
reason = "quality record"
when = { kind = { pattern = "^Q" } }
[[reject]]
reason = "withdrawn"
when = { kind = ["W", "QW"] }
[columns]
start = { from = "time", as = "epoch" }
"""
    data = b"TEXT,TEXT\nC,1770131244\nQ,1770131244\nQW,1\nW,1770131244\nC,x\n"

    found = read(data, parse_feed(text.encode(), "test"), source("test"), ARRIVED, "x")
    assert found.ignored == {"type row": 1, "quality record": 2}
    assert [tuple(row.values()) for row in found.rejections.to_pylist()] == [
        (5, "withdrawn", b"W,1770131244"),
        (6, "start is not a time", b"C,x"),
    ]
    assert accounted(found) == found.units == 6


def test_stray_empty_lines_and_line_ends() -> None:
    """CR LF, a missing last line end and an empty line are no faults; the empty line is counted."""
    found = reading("mvno_pipe", mvno().replace("\n", "\r\n") + "\r\n" + mvno().strip())

    assert (found.units, found.ignored, accounted(found)) == (3, {"empty line": 1}, 3)


def test_strange_header_is_refused() -> None:
    """A native file that names a column which the record does not have is refused, not half read."""
    with pytest.raises(FileRefused, match="header"):
        reading("native_csv", "class,start,colour\nvoip,2026-02-03T10:00:00Z,red\n")


def test_null_words_of_documents() -> None:
    """Empty texts and empty lists of a JSON object are no values."""
    found = reading("native_ndjson", '{"class":"voip","start":"2026-02-03T10:00:00Z","imsi":"","mail_to":[]}')

    provenance = {"source", "row", "occurrence", "feed_digest"}
    assert set(rows(found, "voip")[0]) - provenance == {"start", "utc_offset", "time_precision"}


def test_identity_of_the_source_is_checked() -> None:
    """A source that names an identity field which its feed does not have is refused."""
    with pytest.raises(FeedError, match="no field of its feed"):
        reading("mvno_pipe", mvno(), identity=("colour",))


def test_a_lost_unit_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong inside, a reading that does not balance is never handed on."""
    monkeypatch.setattr(ingest.plan, "canonical", lambda *told: canonical(*told).head(1))

    with pytest.raises(IngestError, match="2 units were framed, but 1 records"):
        reading("mvno_pipe", mvno() * 2)


def test_repr_shows_no_value() -> None:
    """Printing a reading shows counts only."""
    assert "31612345678" not in repr(reading("mvno_pipe", mvno()))


# --- fuzz -------------------------------------------------------------------------------------------------------------


def outcome(feed: Feed, data: bytes) -> str:
    """`refused`, or `read` when every unit is accounted for; any other error comes through."""
    try:
        found = read(data, feed, source(feed.name, shape=feed.shapes[-1].name if feed.shapes else None), ARRIVED, "x")
    except FileRefused:
        return "refused"
    lines = data.count(b"\n") + (bool(data) and not data.endswith(b"\n"))
    assert found.units == accounted(found)
    assert found.units == lines or data.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xef\xbb\xbf"))
    return "read"


@settings(max_examples=as_many(25), deadline=None)
@given(st.sampled_from(NAMES), st.binary(max_size=200))
def test_random_bytes_are_refused_or_accounted_for(name: str, data: bytes) -> None:
    """Any bytes at all give a refusal or a reading that balances."""
    assert outcome(FEEDS[name], data) in ("refused", "read")


@pytest.mark.parametrize("name", NAMES)
def test_changed_examples_are_refused_or_accounted_for(name: str) -> None:
    """An example with flipped bits, other characters or its end cut off gives a refusal or a reading that balances."""
    chance = random.Random(f"seed of {name}")
    raw = FEEDS[name].examples[0].raw
    seen = set()
    for _ in range(40):
        data = bytearray(raw)
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(len(data))] = chance.choice((chance.randrange(256), *b'|,"\n0-+:'))
        cut = chance.choice((len(data), chance.randrange(len(data))))
        seen.add(outcome(FEEDS[name], bytes(data[:cut])))

    assert seen <= {"refused", "read"}


# --- columns that contradict each other -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("binding,2026-02-03T15:16:00Z,,2026-02-03T15:00:00Z,,,,", "future"),
        ("binding,2026-02-03T15:16:00Z,2026-02-03T14:00:00Z,,,,,", "end before start"),
        ("binding,2026-02-03T14:00:00Z,,2026-02-03T13:00:00Z,,,,", "report before start"),
        ("voip,2026-02-03T14:00:00Z,2057-02-03T13:00:00Z,,,,,", "future"),
        ("voip,2026-02-03T14:00:00Z,,2026-02-04T15:00:01Z,,,,", "future"),
        ("voip,2026-02-03T14:00:00Z,2026-02-04T15:00:00Z,,,,,", None),
        ("voip,2026-02-03T14:00:00Z,,,2026-02-05T14:00:00Z,,,", "future"),
        ("binding,2026-02-03T14:00:00Z,,,,203.0.113.12,,1025:1024", "port_to before port_from"),
        ("binding,2026-02-03T14:00:00Z,,,,203.0.113.12,,1024:1024", None),
        ("binding,2026-02-03T14:00:00Z,,,,203.0.113.12,33,", "prefix_length is over 32 for an IPv4 address"),
        ("binding,2026-02-03T14:00:00Z,,,,203.0.113.12,32,", None),
        ("binding,2026-02-03T14:00:00Z,,,,2001:db8::,56,", None),
        ("voip,1970-01-01T00:00:00Z,,,,,,", "start is not a time"),
        ("voip,1926-02-03T14:00:00Z,,,,,,", "start is not a time"),
    ],
)
def test_columns_that_contradict_each_other(line: str, reason: str | None) -> None:
    """A time where nothing has happened yet, ports and prefixes out of order: each is a rejection with its reason."""
    head = "class,start,end,reported_at,answer,public_ip,prefix_length,port_from,port_to\n"
    first, _, ports = line.rpartition(",")
    data = f"{head}{first},{ports.replace(':', ',') if ports else ','}\n"
    found = reading("native_csv", data, datetime(2026, 2, 3, 15, 0, tzinfo=UTC))

    assert found.rejections["reason"].to_pylist() == ([reason] if reason else [])


def test_a_duration_of_decades_is_a_rejection() -> None:
    """An end that a duration of 10^9 seconds computes lies in the future."""
    assert reading("mvno_pipe", mvno(duration="1000000000")).rejections["reason"].to_pylist() == ["future"]


def test_a_country_of_several_zones_is_never_in_the_future() -> None:
    """A local time that would be future in the source's zone is read in the country's eastmost zone."""
    arrived = datetime(2026, 2, 3, 15, 0, tzinfo=UTC)
    base = {"record_type": "RGP", "duration": "60"}
    lines = [
        mvno(**base, event_timestamp="20260203235500", operator_code="AUSTA"),
        mvno(**base, event_timestamp="20260203150000", operator_code="AUSTA"),
        mvno(**base, event_timestamp="20260204060000", operator_code="AUSTA"),
        mvno(**base, event_timestamp="20260203235500", operator_code="AAAAA"),
        mvno(**base, event_timestamp="20260203235500", operator_code="JPNDO"),
    ]
    found = reading("mvno_pipe", "".join(lines), arrived)

    assert found.rejections["row"].to_pylist() == [3, 4]
    assert set(found.rejections["reason"].to_pylist()) == {"future"}
    kept = [(row["start"], row["utc_offset"], row["time_note"]) for row in rows(found, "mobile_usage")]
    assert kept == [
        (datetime(2026, 2, 3, 12, 55, tzinfo=UTC), 660, "zone assumed"),
        (datetime(2026, 2, 3, 14, 0, tzinfo=UTC), 60, "zone assumed"),
        (datetime(2026, 2, 3, 14, 55, tzinfo=UTC), 540, "derived"),
    ]
    assert found.notes == {"derived": 1, "zone assumed": 2}


def test_a_latin_1_byte_in_a_dropped_field_costs_no_file() -> None:
    """A description that is not UTF-8 leaves a note and nothing else; what no encoding decodes refuses the file."""
    found = reading("mvno_pipe", mvno(description="caf\xe9").encode("latin-1") + mvno().encode())

    assert (found.notes, accounted(found)) == ({"latin-1": 1}, 2)
    assert "caf" not in everything(found)


def test_a_kamailio_time_of_0_is_none() -> None:
    """An INVITE whose time is 0 takes that of its ACK; without one it has no start."""
    head = "1a2b|3c4d|{call}@host|200|OK|{time}|*prepaid|31612345678|31201234567||4242:1"
    lines = [("INVITE", "c1", "0"), ("ACK", "c1", "1770131244"), ("INVITE", "c2", "0")]
    data = "".join(f"{method}|{head.format(call=call, time=time)}\n" for method, call, time in lines)
    found = reading("kamailio_flatstore", data)

    assert [row["start"].timestamp() for row in rows(found, "voip")] == [1770131244]
    assert (found.joined, found.rejections["reason"].to_pylist()) == (1, ["no start"])


def test_unknown_numbers_are_counted() -> None:
    """Every party that no number plan explains is in the notes, so that a wrong plan shows at once."""
    head = "class,start,a_number,b_number,c_number\n"
    found = reading("native_csv", head + "voip,2026-02-03T14:00:00Z,31612345678,4412345,0612345678\n")

    assert found.notes == {"unknown numbers": 2}
