"""Which days are past their term, at once and by a deadline."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.thorough import as_many
from trafficvault import outlook, retention
from trafficvault.period import Period
from trafficvault.terms import Term

ZONE = "Europe/Amsterdam"
NOW = datetime(2026, 11, 20, 10, tzinfo=UTC)
SIX_MONTHS = Term(Period(months=6))


def at(month: int, day: int, hour: int = 0) -> datetime:
    """A moment of 2026."""
    return datetime(2026, month, day, hour, tzinfo=UTC)


def test_a_class_that_is_not_kept() -> None:
    """A class without a term has nothing."""
    assert outlook.sentences("email", [(at(6, 1), at(7, 1))], None, ZONE, NOW, None) == [
        "class email: the policy keeps none"
    ]


def test_nothing_happened_yet() -> None:
    """Of a window that is still to come nothing is told."""
    assert outlook.sentences("voip", [(at(12, 1), at(12, 9))], SIX_MONTHS, ZONE, NOW, at(12, 20)) == []


def test_a_deadline_that_is_over() -> None:
    """A deadline in the past makes nothing expire before it."""
    told = outlook.sentences("voip", [(at(6, 1), at(6, 3))], SIX_MONTHS, ZONE, NOW, at(11, 1))

    assert told == ["class voip: every day of the windows is within the term (6 months)"]


def test_a_day_that_is_partly_gone_is_going() -> None:
    """The day whose first records are past their term is named as expiring, not as gone."""
    told = outlook.sentences("voip", [(at(5, 20), at(5, 21))], SIX_MONTHS, ZONE, NOW, at(11, 21, 12))

    assert told[0] == (
        "class voip: 2026-05-20 (1 day) is expiring before the deadline, the first from 2026-11-20 11:00 +01:00 on; "
        "run it before"
    )


@settings(max_examples=as_many(20), deadline=None)
@given(
    st.datetimes(datetime(2024, 1, 1), datetime(2028, 1, 1)), st.sampled_from(["P6M", "P1M", "P10W", "PT72H", "P1Y"])
)
def test_first_living_day(moment: datetime, term: str) -> None:
    """The day before the first living one has no record within its term; the first living one has."""
    now, kept = moment.replace(tzinfo=UTC), Term(Period.parse(term))
    day = outlook.first_living(kept, ZONE, now)
    end = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1, microseconds=-1)

    assert retention.expires_at(end, kept, ZONE) > now
    assert retention.expires_at(end - timedelta(days=1), kept, ZONE) <= now


@given(st.datetimes(datetime(2024, 1, 1), datetime(2024, 2, 1)), st.integers(-10, 10**12))
def test_days_of_a_window(start: datetime, length_us: int) -> None:
    """The days of a window are exactly those that a moment of it is on."""
    first = start.replace(tzinfo=UTC)
    end = first + timedelta(microseconds=length_us)
    days = outlook.days_of(first, end)

    if length_us <= 0:
        assert days == []
    else:
        assert (days[0], days[-1]) == (first.date(), (end - timedelta(microseconds=1)).date())
        assert len(set(days)) == len(days) == (days[-1] - days[0]).days + 1
