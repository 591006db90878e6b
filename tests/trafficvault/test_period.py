"""ISO 8601 periods: their text, their words, and calendar arithmetic against an oracle that counts on its fingers."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.thorough import as_many
from trafficvault.errors import UsageError
from trafficvault.period import Period

ZONES = (
    "Europe/Amsterdam",
    "America/New_York",
    "Asia/Kathmandu",
    "Pacific/Auckland",
    "Pacific/Kiritimati",
    "Pacific/Apia",
)
PERIODS = st.builds(Period, st.integers(0, 30), st.integers(0, 400), st.integers(0, 500_000))
MOMENTS = st.datetimes(datetime(1985, 1, 2), datetime(2050, 12, 31), timezones=st.just(UTC))


@pytest.mark.parametrize(
    ("text", "period", "shortest"),
    [
        ("P6M", Period(months=6), "P6M"),
        ("P1Y", Period(months=12), "P1Y"),
        ("P18M", Period(months=18), "P1Y6M"),
        ("P7D", Period(days=7), "P7D"),
        ("P2W", Period(days=14), "P14D"),
        ("P0D", Period(), "P0D"),
        ("PT0S", Period(), "P0D"),
        ("PT72H", Period(seconds=259_200), "PT72H"),
        ("PT5M", Period(seconds=300), "PT5M"),
        ("PT90S", Period(seconds=90), "PT1M30S"),
        ("P1Y2M3DT4H5M6S", Period(14, 3, 14_706), "P1Y2M3DT4H5M6S"),
    ],
)
def test_a_duration_is_read_and_written(text: str, period: Period, shortest: str) -> None:
    """Each form of the standard that means a length of time is read, and written in its shortest form."""
    assert Period.parse(text) == period
    assert str(period) == shortest


@pytest.mark.parametrize(
    "text",
    [
        "",
        "P",
        "PT",
        "P1",
        "6M",
        "P6m",
        "P1.5D",
        "P0,5M",
        "-P1D",
        "P-1D",
        "P1W2D",
        "P1DT",
        "P1H",
        "PT1D",
        "P1D ",
        "P1D\n",
        "P٣D",
    ],
)
def test_what_is_not_a_duration_is_refused(text: str) -> None:
    """Fractions, signs, blanks and mixed forms are not guessed at."""
    with pytest.raises(UsageError, match="is not an ISO 8601 duration"):
        Period.parse(text)


@pytest.mark.parametrize("text", ["P101Y", "P999999D", "PT999999999H", "P999999Y999999M999999DT999999999H"])
def test_a_term_beyond_a_century_is_refused(text: str) -> None:
    """No sum with a term leaves the calendar."""
    with pytest.raises(UsageError, match="longer than 100 years"):
        Period.parse(text)


@given(PERIODS)
def test_text_gives_the_period_back(period: Period) -> None:
    """`parse` and `str` are inverses."""
    assert Period.parse(str(period)) == period


@given(st.text(max_size=20))
def test_any_text_is_a_period_or_refused(text: str) -> None:
    """No text makes the parser fail in another way."""
    try:
        assert Period.parse(text).nominal >= timedelta(0)
    except UsageError as problem:
        assert "reading period" in str(problem)


@pytest.mark.parametrize(
    ("text", "dutch", "english"),
    [
        ("P6M", "6 maanden", "6 months"),
        ("P1M", "1 maand", "1 month"),
        ("P1Y", "1 jaar", "1 year"),
        ("P2Y", "2 jaar", "2 years"),
        ("P18M", "1 jaar en 6 maanden", "1 year and 6 months"),
        ("P1D", "1 dag", "1 day"),
        ("PT72H", "72 uur", "72 hours"),
        ("P1Y2M3DT1H1M1S", "1 jaar, 2 maanden, 3 dagen, 1 uur, 1 minuut en 1 seconde",
         "1 year, 2 months, 3 days, 1 hour, 1 minute and 1 second"),
        ("P0D", "0 dagen", "0 days"),
    ],
)  # fmt: skip
def test_a_period_is_said_in_both_languages(text: str, dutch: str, english: str) -> None:
    """The words are those of a privacy statement."""
    assert (Period.parse(text).words("nl"), Period.parse(text).words("en")) == (dutch, english)


def test_months_have_no_one_length() -> None:
    """Days and hours are elapsed time where one is needed; months are refused there."""
    assert Period.parse("P7DT1H").delta() == timedelta(days=7, hours=1)
    with pytest.raises(UsageError, match="months have no one length"):
        Period.parse("P1M").delta()


@pytest.mark.parametrize(
    ("day", "text", "expected"),
    [
        pytest.param("2025-08-31", "P6M", "2026-02-28", id="six months from 31 August end on the last of February"),
        pytest.param("2027-08-31", "P6M", "2028-02-29", id="and on the 29th in a leap year"),
        pytest.param("2028-02-29", "P1Y", "2029-02-28", id="a year from a leap day"),
        pytest.param("2026-01-31", "P1M", "2026-02-28", id="a month from 31 January"),
        pytest.param("2026-01-31", "P1M1D", "2026-03-01", id="days are added after months"),
        pytest.param("2026-12-15", "P1M", "2027-01-15", id="over the year's end"),
    ],
)
def test_months_are_clamped_to_the_end_of_the_month(day: str, text: str, expected: str) -> None:
    """A day that the month lacks becomes the month's last."""
    assert Period.parse(text).shift(date.fromisoformat(day)) == date.fromisoformat(expected)


@pytest.mark.parametrize(
    ("moment", "text", "expected"),
    [
        pytest.param("2026-03-28T12:00+01:00", "P1D", "2026-03-29T12:00+02:00", id="a day of 23 hours"),
        pytest.param("2026-03-28T12:00+01:00", "PT24H", "2026-03-29T13:00+02:00", id="24 hours over it"),
        pytest.param("2026-10-24T12:00+02:00", "P1D", "2026-10-25T12:00+01:00", id="a day of 25 hours"),
        pytest.param("2025-09-29T02:30+02:00", "P6M", "2026-03-29T03:30+02:00", id="ends in the missing hour"),
        pytest.param("2026-04-25T02:30+02:00", "P6M", "2026-10-25T02:30+01:00", id="ends in the doubled hour"),
        pytest.param("2026-10-25T02:30+02:00", "P0D", "2026-10-25T02:30+02:00", id="nothing moves nothing"),
        pytest.param("2026-10-25T02:30+02:00", "PT1H", "2026-10-25T02:30+01:00", id="an hour within the doubled one"),
    ],
)
def test_calendar_and_clock_differ_where_clocks_change(moment: str, text: str, expected: str) -> None:
    """A day keeps the wall clock; hours are elapsed time."""
    found = Period.parse(text).after(datetime.fromisoformat(moment), "Europe/Amsterdam")

    assert found == datetime.fromisoformat(expected)


@given(MOMENTS, PERIODS, st.sampled_from(ZONES))
@settings(max_examples=as_many(60))
def test_calendar_arithmetic_equals_counting(moment: datetime, period: Period, zone: str) -> None:
    """Months walked one by one and the wall time looked up among all moments around give the same end."""
    assert period.after(moment, zone) == _counted(moment, period, zone)


@given(MOMENTS, PERIODS, PERIODS, st.sampled_from(ZONES))
@settings(max_examples=as_many(80))
def test_a_period_that_covers_another_never_ends_before_it(
    moment: datetime, one: Period, other: Period, zone: str
) -> None:
    """`covers` is right from every moment in every zone."""
    assume(one.covers(other))

    assert one.after(moment, zone) >= other.after(moment, zone)


@given(MOMENTS, PERIODS, st.sampled_from(ZONES))
@settings(max_examples=as_many(80))
def test_a_period_lies_within_its_bounds(moment: datetime, period: Period, zone: str) -> None:
    """`least` and `most` hold from every moment in every zone."""
    assert period.least <= period.after(moment, zone) - moment <= period.most


@pytest.mark.parametrize(
    ("one", "other", "covers"),
    [
        ("P6M", "P6M", True),
        ("P6M", "P3M", True),
        ("P3M", "P6M", False),
        ("P6M", "P183D", False),
        ("P183D", "P6M", False),
        ("P1Y", "P180D", True),
        ("PT25H", "P1D", False),
        ("PT49H", "PT48H", True),
    ],
)
def test_which_of_two_periods_is_longer_may_depend_on_the_day(one: str, other: str, covers: bool) -> None:
    """Six months and 183 days cover neither each other; what is longer from every day covers."""
    assert Period.parse(one).covers(Period.parse(other)) is covers


def _counted(moment: datetime, period: Period, zone: str) -> datetime:
    """The oracle: no formula, only stepping and looking."""
    if not (period.months or period.days):
        return moment + timedelta(seconds=period.seconds)
    here = ZoneInfo(zone)
    local = moment.astimezone(here).replace(tzinfo=None)
    year, month = local.year, local.month
    for _ in range(period.months):
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
    last = (date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)).day
    day = date(year, month, min(local.day, last))
    for _ in range(period.days):
        day = date.fromordinal(day.toordinal() + 1)
    wall = datetime.combine(day, local.time())
    # Every quarter of an hour for two days around, shifted so that the wall time itself is among them.
    around = [wall.replace(tzinfo=UTC) + timedelta(minutes=15 * step) for step in range(-192, 193)]
    hits = [item for item in around if item.astimezone(here).replace(tzinfo=None) == wall]
    if hits:
        return max(hits) + timedelta(seconds=period.seconds)
    # In a gap: as much later as the clocks jumped.
    before = max(item for item in around if item.astimezone(here).replace(tzinfo=None) < wall)
    behind = wall - before.astimezone(here).replace(tzinfo=None)
    return before + behind + timedelta(seconds=period.seconds)
