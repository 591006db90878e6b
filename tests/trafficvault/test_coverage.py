"""What a warrant covers, without a key or a disk."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trafficvault.coverage import Covered
from trafficvault.errors import RefusedError

DAY = timedelta(days=1)
_ZONES = st.sampled_from([UTC, timezone(timedelta(hours=1)), timezone(timedelta(hours=-7, minutes=-30))])
_MIDNIGHTS = st.integers(0, 8).map(lambda days: datetime(2026, 3, 1, tzinfo=UTC) + days * DAY)
_MOMENTS = st.builds(
    lambda moment, zone, slip: (moment + timedelta(microseconds=slip)).astimezone(zone),
    _MIDNIGHTS,
    _ZONES,
    st.sampled_from([-1, 0, 1, 43_200_000_000]),
)


def covers(begin: datetime, end: datetime, first: date, last: date) -> bool:
    """Whether a window is released for a file whose records touch these dates."""
    covered = Covered(frozenset({"telephony"}), frozenset({"who"}), ((begin, end),))
    try:
        covered.require("telephony", ("frame", "who"), (first, last))
    except RefusedError:
        return False
    return True


@given(_MOMENTS, _MOMENTS, st.integers(-3, 12), st.integers(0, 2))
def test_a_window_shares_a_moment_with_the_dates(begin: datetime, end: datetime, day: int, days: int) -> None:
    """[from, to) against the moments from a day before the first date to a day behind the last."""
    first = date(2026, 3, 1) + day * DAY
    last = first + days * DAY
    low = datetime.combine(first - DAY, time(), UTC)
    high = datetime.combine(last + 2 * DAY, time(), UTC)
    shares = max(begin, low) < min(end, high) or (begin == end and low <= begin < high)

    assert covers(begin, end, first, last) == shares


def test_windows_at_the_ends_of_the_calendar() -> None:
    """A window that lies beyond the calendar in UTC is compared all the same."""
    east, west = timezone(timedelta(hours=14)), timezone(timedelta(hours=-12))
    first, last = datetime.min.replace(tzinfo=east), datetime.max.replace(tzinfo=west)

    assert covers(first, last, date(2026, 3, 1), date(2026, 3, 1))
    assert not covers(first, first, date(2026, 3, 1), date(2026, 3, 1))
    assert not covers(last, last, date(2026, 3, 1), date(2026, 3, 1))


@pytest.mark.parametrize("category", ["where", "moon", "Frame"])
def test_a_category_that_is_not_named_is_not_covered(category: str) -> None:
    """Nor is a word that is no category, whatever the document says."""
    covered = Covered(frozenset({"telephony"}), frozenset({"who", "moon"}), ())

    with pytest.raises(RefusedError, match=f"does not cover the category {category}"):
        covered.require("telephony", ("who", category), (date(2026, 3, 1), date(2026, 3, 1)))
