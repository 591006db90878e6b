"""The bundled files of the demonstration: each is read to its last unit, and tells the story that the screen tells."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from ingest.feed import Feed
from ingest.read import Reading, read
from tests.ingest.shipped_feeds import FEEDS
from trafficvault import policy_file
from trafficvault.sources import implicit

FILES = Path(__file__).resolve().parents[2] / "trafficvault" / "demo_files"
NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
SUBSCRIBER = "+31612345678"

# feed, file, units, records, joined, rejections, control totals that don't hold
CASES = [
    ("asterisk_csv", "Master.csv", 17, 16, 0, 1, 0),
    ("kamailio_flatstore", "acc_flatstore.log", 15, 13, 2, 0, 0),
    ("mvno_pipe", "S4PGWM000123", 22, 22, 0, 0, 0),
    ("mvno_pipe", "S4PGWM000125", 4, 4, 0, 0, 0),
    ("wlr_fixed", "WLR-DEMO-000017.CDR", 8, 6, 0, 0, 0),
    ("wlr_fixed", "WLR-DEMO-000018.CDR", 5, 3, 0, 0, 2),
    ("native_ndjson", "registrations.ndjson", 8, 8, 0, 0, 0),
]


def reading_of(feed: Feed, file: str) -> Reading:
    """The demonstration's file, read as its feed's implicit source would deliver it."""
    source = implicit(feed, policy_file.parse(policy_file.preset_text("telecom")))
    return read((FILES / file).read_bytes(), feed, source, NOW, file)


@pytest.mark.parametrize(
    ("feed", "file", "units", "records", "joined", "rejected", "mismatches"), CASES, ids=[case[1] for case in CASES]
)
def test_every_unit_of_a_file_is_accounted_for(
    feed: str,
    file: str,
    units: int,
    records: int,
    joined: int,
    rejected: int,
    mismatches: int,
) -> None:
    """A file of the demonstration gives exactly what its story needs."""
    reading = reading_of(FEEDS[feed], file)

    assert reading.units == units
    assert sum(frame.height for frame in reading.records.values()) == records
    assert reading.joined == joined
    assert reading.rejections.num_rows == rejected
    assert len(reading.mismatches) == mismatches
    assert units == records + joined + rejected + sum(reading.ignored.values())


def test_no_file_is_left_out_of_the_cases() -> None:
    """Every bundled file but the two orders is read above."""
    assert {path.name for path in FILES.iterdir()} == {case[1] for case in CASES} | {"warrant.toml", "hold.toml"}


@pytest.mark.parametrize("file", [case[1] for case in CASES if not case[1].startswith("S4PGWM000125")])
def test_the_subscriber_of_the_warrant_is_in_each_file(file: str) -> None:
    """The demonstration's answer draws on every source."""
    feed = next(case[0] for case in CASES if case[1] == file)
    found = {
        value
        for frame in reading_of(FEEDS[feed], file).records.values()
        for column in ("a_number", "b_number")
        if column in frame.columns
        for value in frame[column]
    }

    assert SUBSCRIBER in found


def test_the_doubled_hour_is_told_apart() -> None:
    """Two calls of one local time in the doubled hour are an hour apart, by the epoch in their ids."""
    starts = reading_of(FEEDS["asterisk_csv"], "Master.csv").records["voip"]["start"].to_list()
    night = [start for start in starts if start.date().isoformat() == "2026-10-25"]

    assert [start.hour for start in night] == [0, 1]


def test_two_equal_sms_are_two_records() -> None:
    """Equal rows of one file without an identity are numbered, not dropped."""
    records = reading_of(FEEDS["mvno_pipe"], "S4PGWM000123").records["mobile_usage"]

    assert records["occurrence"].max() == 1


def test_a_file_is_missing_between_the_two_that_came() -> None:
    """The sequence of the mobile files has a gap for `sources gaps` to name."""
    numbers = [reading_of(FEEDS["mvno_pipe"], name).sequence for name in ("S4PGWM000123", "S4PGWM000125")]

    assert numbers == [123, 125]
