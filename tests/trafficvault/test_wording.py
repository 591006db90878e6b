"""How a person is told sizes, moments and spans."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trafficvault import wording


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1023, "1023 bytes"),
        (1024, "1.0 KiB"),
        (2**20 - 52, "1023.9 KiB"),
        (2**20 - 51, "1.0 MiB"),
        (77_789_614_080, "72.4 GiB"),
        (5000 * 2**40, "5000.0 TiB"),
    ],
)
def test_a_size_has_a_unit(count: int, told: str) -> None:
    """None is told as 1024 of a unit that has a next."""
    assert wording.size(count) == told


@given(st.integers(0, 10**18), st.integers(0, 10**18))
def test_a_larger_size_is_never_told_as_a_smaller_one(one: int, other: int) -> None:
    """Reading the words back keeps the order, but for what rounding makes equal."""

    def read(text: str) -> float:
        number, unit = text.split(" ")
        return float(number) * {"b": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}[unit[0]]

    smaller, larger = sorted((one, other))
    assert read(wording.size(smaller)) <= read(wording.size(larger))


@pytest.mark.parametrize("zone", ["Europe/Amsterdam", "America/St_Johns", "UTC"])
@given(st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)))
def test_a_moment_is_the_same_moment(zone: str, at: datetime) -> None:
    """Read back it is the minute that was told, whether it was given as text or not, in any zone."""
    moment = at.replace(tzinfo=UTC)
    told = wording.moment(moment, zone)
    assert datetime.fromisoformat(told.replace(" +", "+").replace(" -", "-")) == moment.replace(second=0, microsecond=0)
    assert wording.moment(moment.isoformat().replace("+00:00", "Z"), zone) == told


def test_a_moment_has_the_offset_of_its_day() -> None:
    """Summer and winter are told apart."""
    assert wording.moment("2026-07-01T22:00:00Z", "Europe/Amsterdam") == "2026-07-02 00:00 +02:00"
    assert wording.moment("2026-12-01T23:00:00Z", "Europe/Amsterdam") == "2026-12-02 00:00 +01:00"


@pytest.mark.parametrize(
    ("length", "told"),
    [
        (timedelta(), "0 min"),
        (timedelta(minutes=59, seconds=59), "59 min"),
        (timedelta(hours=2, minutes=5), "2 h 5 min"),
        (timedelta(days=1), "1 day"),
        (timedelta(days=3, hours=4, minutes=50), "3 days 4 h"),
    ],
)
def test_a_span_has_two_parts_at_most(length: timedelta, told: str) -> None:
    """Begun minutes are not counted."""
    assert wording.span(length) == told
