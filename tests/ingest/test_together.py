"""Together: the reading of a file does not depend on which others were read with it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.errors import FeedError, FileRefused
from ingest.feed import SHIPPED, Feed, load_feed
from ingest.read import Reading, read
from ingest.source import Source
from ingest.together import Parsed, parse, read_together, together
from tests.thorough import as_many

NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
FEEDS = {name: load_feed(SHIPPED / f"{name}.toml") for name in ("mvno_pipe", "native_csv", "asterisk_csv")}
HEADER = "class,record_id,start,end,a_number,event,visited_country\n"
CDR = '"","0612345678","020","in","","PJSIP/1","PJSIP/2","Dial","x","2026-05-14 09:12:03",,"2026-05-14 09:12:51",48,4'
LINES = {
    "mvno_pipe": [
        "SMSMO|31612345678|31687654321||31612345678|204990000000001|20261110120000|0|0|0||||+0100|||||||||||",
        "RGP|31612345678|||31612345678|204990000000001|20261110120000|60|5|7|FRAF1||internet||||||||||||r1",
        "RGP|9|||9|204990000000001|20261110120000|60|5|7|USAW6||internet||||||||||||r1",
        "SMSMO|31612345678|\u00e9||31612345678|204990000000001|20261110120000|0|0|0||||+0100|||||||||||",
        "XX|31612345678|31687654321||31612345678|204990000000001|20261110120000|0|0|0||||+0100|||||||||||",
        "SMSMO|31612345678",
        "",
    ],
    "native_csv": [
        "telephony,c-1,2026-02-03T16:07:24+01:00,2026-02-03T16:08:24+01:00,0612345678,call,",
        "telephony,,2026-02-03T16:07:24+01:00,,0612345678,call,",
        "roaming_notice,,2026-02-03T16:07:24Z,,31612345678,notice,FR",
        "telephony,c-2,yesterday,,0612345678,call,",
        "telephony,c-3,2027-02-03T16:07:24+01:00,,0612345678,call,",
        '"telephony",c-4,2026-02-03T16:07:24Z,,0612345678,"call",',
        "telephony,",
        "",
    ],
    "asterisk_csv": [
        f'{CDR},"ANSWERED","DOCUMENTATION"',
        f'{CDR},"ANSWERED","DOCUMENTATION","1778742723.1",""',
        CDR,
        '"",broken "',
    ],
}


def source_of(feed: Feed, **more: Any) -> Source:
    """The feed's own source."""
    plain = Source(feed.name, feed.name, None, feed.record_class, "Europe/Amsterdam", "NL", *[None] * 6)
    return replace(plain, **more)


def told(reading: Reading) -> dict[str, Any]:
    """What a reading says, without the columns that hold nothing."""
    records = {
        name: frame.select(column.name for column in frame if column.null_count() < frame.height).to_dicts()
        for name, frame in reading.records.items()
    }
    parts = ("ignored", "joined", "units", "mismatches", "sequence", "notes", "shape", "identified")
    rest = {part: getattr(reading, part) for part in parts}
    return {"records": records, "rejections": reading.rejections.to_pylist(), **rest}


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[str, list[bytes]]:
    """Files of one feed, and how their lines end."""
    feed = draw(st.sampled_from(sorted(FEEDS)))
    files = []
    for _ in range(draw(st.integers(1, 4))):
        rows = draw(st.lists(st.sampled_from(LINES[feed]), min_size=1, max_size=6))
        text = (HEADER if feed == "native_csv" else "") + "\n".join(rows) + draw(st.sampled_from(["\n", "", "\n\n"]))
        text = text.replace("\n", draw(st.sampled_from(["\n", "\n", "\r\n"])))
        files.append(text.encode(draw(st.sampled_from(["utf-8", "latin-1"])) if feed == "mvno_pipe" else "utf-8"))
    return feed, files


@pytest.mark.no_cover
@settings(max_examples=as_many(25), deadline=None)
@given(delivery=deliveries())
def test_each_file_reads_as_it_does_alone(delivery: tuple[str, list[bytes]]) -> None:
    """Records with row and occurrence, rejections with their bytes, notes, counts, sequence and shape."""
    name, contents = delivery
    feed = FEEDS[name]
    source = source_of(feed)
    parsed: list[Parsed] = []
    expected = []
    for number, content in enumerate(contents):
        file_name = f"S4PGWM{number:06d}"
        try:
            expected.append(told(read(content, feed, source, NOW, file_name)))
        except FileRefused as refused:
            with pytest.raises(FileRefused) as alike:
                parse(content, feed, source, file_name)
            assert str(alike.value) == str(refused)
            continue
        parsed.append(parse(content, feed, source, file_name))
    assert [told(reading) for reading in read_together(parsed, feed, source, NOW)] == expected


def test_line_ends_that_would_join_are_kept_apart() -> None:
    """Files whose lines end as no text of one file does are read one by one, and each is what it is alone."""
    feed = FEEDS["native_csv"]
    source = source_of(feed)
    bad, good = LINES["native_csv"][3], LINES["native_csv"][0]
    contents = [f"{HEADER}{good}\r\n{bad}\r".encode(), f"{HEADER}{bad}\n".encode()]
    parsed = [parse(content, feed, source, "f") for content in contents]
    expected = [told(read(content, feed, source, NOW, "f")) for content in contents]
    assert [told(reading) for reading in read_together(parsed, feed, source, NOW)] == expected


def test_which_feeds_can_be_read_together() -> None:
    """Not those that join lines, prove themselves by totals, are of documents, or ignore rows by a condition."""
    assert all(together(feed) for feed in FEEDS.values())
    for name in ("wlr_fixed", "native_ndjson", "kamailio_flatstore"):
        assert not together(load_feed(SHIPPED / f"{name}.toml"))
    ignoring = replace(FEEDS["mvno_pipe"], ignore=FEEDS["mvno_pipe"].reject or (None,))  # type: ignore[arg-type]  # any rule will do
    assert not together(ignoring)


def test_a_source_that_does_not_fit_is_told() -> None:
    """As when the file is read alone."""
    feed = FEEDS["mvno_pipe"]
    source = source_of(feed, identity=("nosuch",))
    content = f"{LINES['mvno_pipe'][0]}\n".encode()
    with pytest.raises(FeedError) as alone:
        read(content, feed, source, NOW, "f")
    with pytest.raises(FeedError) as with_others:
        read_together([parse(content, feed, source, "f")], feed, source, NOW)
    assert str(with_others.value) == str(alone.value)


def test_nothing_of_a_record_is_in_a_repr() -> None:
    """A parsed file shows its name and counts only."""
    feed = FEEDS["mvno_pipe"]
    shown = repr(parse(f"{LINES['mvno_pipe'][0]}\n".encode(), feed, source_of(feed), "f"))
    assert "31612345678" not in shown
