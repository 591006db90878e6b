"""Legal time: gaps, doubled hours, and local days that begin late or not at all."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.thorough import as_many
from trafficvault.errors import UsageError
from trafficvault.zones import (
    EPOCH,
    Turn,
    day_start,
    microseconds,
    next_day_start,
    offset_at,
    to_utc,
    turns,
    zone_of,
)

ZONES = (
    "Europe/Amsterdam",
    "America/New_York",
    "Asia/Kathmandu",
    "Pacific/Auckland",
    "Pacific/Kiritimati",
    "Pacific/Apia",
    "America/Santiago",
    "America/Havana",
    "America/St_Johns",
    "America/Nuuk",
    "UTC",
)


@pytest.mark.parametrize("name", ["Europe/Amsterdm", "", "../etc/passwd", "/etc/passwd", "Europe"])
def test_an_unknown_zone_is_refused_with_a_sentence(name: str) -> None:
    """Whatever the zone database makes of a wrong name, the caller sees one kind of error."""
    with pytest.raises(UsageError, match="looking for time zone"):
        zone_of(name)


@pytest.mark.parametrize(
    ("wall", "zone", "expected"),
    [
        pytest.param(
            "2026-03-29T02:30", "Europe/Amsterdam", "2026-03-29T01:30+00:00", id="a missing hour moves forward"
        ),
        pytest.param(
            "2026-10-25T02:30", "Europe/Amsterdam", "2026-10-25T01:30+00:00", id="a doubled hour is its second"
        ),
        pytest.param("2026-10-25T03:00", "Europe/Amsterdam", "2026-10-25T02:00+00:00", id="after the doubled hour"),
        pytest.param("2011-12-30T10:00", "Pacific/Apia", "2011-12-30T20:00+00:00", id="a missing date moves a day"),
        pytest.param("2026-06-01T00:00", "Asia/Kathmandu", "2026-05-31T18:15+00:00", id="a zone of odd minutes"),
    ],
)
def test_a_wall_time_means_the_later_moment(wall: str, zone: str, expected: str) -> None:
    """What a wall clock leaves open is settled towards later."""
    assert to_utc(datetime.fromisoformat(wall), zone) == datetime.fromisoformat(expected)


@pytest.mark.parametrize(
    ("day", "zone", "expected"),
    [
        pytest.param("2026-06-01", "Europe/Amsterdam", "2026-05-31T22:00+00:00", id="an ordinary midnight"),
        pytest.param("2026-09-06", "America/Santiago", "2026-09-06T04:00+00:00", id="midnight is skipped"),
        pytest.param("2026-11-01", "America/Havana", "2026-11-01T04:00+00:00", id="midnight comes twice: the first"),
        pytest.param("2011-12-30", "Pacific/Apia", "2011-12-30T10:00+00:00", id="the whole date is skipped"),
        pytest.param("2026-03-29", "America/Nuuk", "2026-03-29T01:00+00:00", id="the gap ends at midnight"),
        pytest.param("1919-03-31", "America/Toronto", "1919-03-31T04:30+00:00", id="the gap reaches over midnight"),
    ],
)
def test_a_local_day_begins_at_its_first_moment(day: str, zone: str, expected: str) -> None:
    """The beginning of a day is the first moment of its date, or of what comes in its place."""
    assert day_start(date.fromisoformat(day), zone) == datetime.fromisoformat(expected)


@given(
    day=st.dates(date(1971, 1, 2), date(2060, 12, 31)),
    zone=st.sampled_from(ZONES),
)
@settings(max_examples=as_many(80))
def test_a_day_start_is_the_first_moment_not_before_its_date(day: date, zone: str) -> None:
    """The second before a beginning still has an earlier date; the beginning itself has that date or a later one."""
    start = day_start(day, zone)
    here = ZoneInfo(zone)

    assert start.astimezone(here).date() >= day
    assert (start - timedelta(seconds=1)).astimezone(here).date() < day


@given(
    moment=st.datetimes(datetime(1971, 1, 2), datetime(2060, 12, 31), timezones=st.just(UTC)),
    zone=st.sampled_from(ZONES),
)
@settings(max_examples=as_many(80))
def test_the_next_day_start_is_the_nearest_one(moment: datetime, zone: str) -> None:
    """No beginning of a local day lies between a moment and the next beginning after it."""
    start = next_day_start(moment, zone)
    day = moment.astimezone(ZoneInfo(zone)).date()
    starts = [day_start(day + timedelta(days=step), zone) for step in range(-1, 5)]

    assert start == min(item for item in starts if item >= moment)


def test_the_next_day_start_waits_where_a_date_is_entered_twice() -> None:
    """At St John's clocks went back from 00:01 to 23:01: the beginning that is past is not taken for the next one."""
    again = datetime(2010, 11, 7, 2, 45, tzinfo=UTC)  # 23:15 on the 6th, for the second time
    assert again.astimezone(ZoneInfo("America/St_Johns")).isoformat() == "2010-11-06T23:15:00-03:30"

    assert next_day_start(again, "America/St_Johns") == datetime(2010, 11, 8, 3, 30, tzinfo=UTC)


@given(st.sampled_from(ZONES), st.integers(1975, 2055))
@settings(max_examples=as_many(25))
def test_turns_are_where_the_offset_changes(zone: str, year: int) -> None:
    """Between two turns the offset stays, and at each it changes from what the turn says to what it says."""
    found = turns(zone, year, year)
    for turn in found:
        at = EPOCH + timedelta(microseconds=turn.at_us)
        assert offset_at(at, zone) == turn.after
        assert offset_at(at - timedelta(microseconds=1), zone) == turn.before
    probes = [datetime(year, 1, 1, tzinfo=UTC) + timedelta(hours=7 * step) for step in range(1251)]
    expected = [found[0].before if found else offset_at(probes[0], zone)] * len(probes)
    for turn in found:
        expected = [
            turn.after if microseconds(probe) >= turn.at_us else old
            for probe, old in zip(probes, expected, strict=True)
        ]

    assert [offset_at(probe, zone) for probe in probes] == expected


def test_a_turn_tells_from_which_wall_time_the_new_offset_counts() -> None:
    """Both of a gap and of a doubled hour, it is the time the clock shows right after the change."""
    spring, autumn = turns("Europe/Amsterdam", 2026, 2026)
    midnight = microseconds(datetime(2026, 3, 29, tzinfo=UTC))

    assert spring == Turn(microseconds(datetime(2026, 3, 29, 1, tzinfo=UTC)), 3600, 7200)
    assert spring.wall_us == midnight + 3 * 3_600_000_000
    assert (autumn.before, autumn.after) == (7200, 3600)
