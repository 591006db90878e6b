"""Days, terms and zones that are hard on a calendar, for property tests of terms."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

import polars as pl
from hypothesis import strategies as st

from trafficvault.period import Period
from trafficvault.terms import Term

ZONES = ("Europe/Amsterdam", "America/New_York", "Asia/Kathmandu", "Pacific/Auckland", "Pacific/Kiritimati")
ODD_ZONES = ("Pacific/Apia", "America/Santiago", "America/Havana", "America/Nuuk", "America/St_Johns", "Asia/Beirut")
"""Zones that skip midnight, double it, skip a date or go back over midnight."""
TERMS = st.one_of(
    st.sampled_from(("P6M", "P3M", "P1M", "P1Y", "P7D", "P1D", "PT72H", "PT1H", "P1M1D", "P6MT12H", "P2Y3M")),
    st.builds(
        lambda months, days, hours: str(Period(months, days, hours * 3600)),
        st.integers(0, 30),
        st.integers(0, 60),
        st.integers(0, 80),
    ).filter(lambda text: text != "P0D"),
).map(lambda text: Term(period=Period.parse(text)))
DAYS = st.one_of(
    st.dates(date(1985, 1, 3), date(2050, 12, 31)),
    # What a random date seldom hits: ends of months, leap days, changes of clock, the date that Samoa skipped.
    st.sampled_from(
        [
            date.fromisoformat(day)
            for day in (
                *("2026-08-31", "2027-08-31", "2024-02-29", "2026-02-28", "2028-02-28", "2025-08-30", "2026-04-25"),
                *("2026-03-28", "2026-03-29", "2026-10-24", "2026-10-25", "2025-09-27", "2025-09-28", "2026-03-07"),
                *("2011-06-29", "2011-06-30", "2011-12-29", "2011-12-30"),
            )
        ]
    ),
)
MOMENTS = st.datetimes(datetime(1985, 1, 3), datetime(2050, 12, 31), timezones=st.just(UTC))
INSTANT = timedelta(microseconds=1)


def minutes_of(day: date) -> pl.Series:
    """Every minute of the UTC day, and the last microsecond before each and before the day's end."""
    start = datetime.combine(day, time(), UTC)
    starts = [start + timedelta(minutes=step) for step in range(1440)]
    ends = [item + timedelta(minutes=1) - INSTANT for item in starts]
    return pl.Series("start", starts + ends, dtype=pl.Datetime("us", "UTC"))
