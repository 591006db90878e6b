"""The audit log and the clock: trusted time goes with the entries, and a jump waits for a person."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trafficvault.log_house import (
    START,
    House,
)
from trafficvault import signing
from trafficvault.audit import BACK, judge_clock


def trusted(house: House) -> datetime | None:
    """The trusted time."""
    with house.catalogue.reading() as tx:
        return house.log.trusted_time(tx)


def test_trusted_time_goes_with_the_entries(house: House) -> None:
    """It begins with the first entry and moves with each, also after days of idleness within the step."""
    before = trusted(house), house.log.clock_problem(START)
    house.write(1)
    house.clock.advance(timedelta(days=7))
    problem = house.log.clock_problem(house.clock.now())
    house.write(1)

    assert before == (None, None)
    assert problem is None
    assert trusted(house) == START + timedelta(days=7)
    assert not any("clock" in entry for entry in house.log.show())


def test_entries_at_a_jumped_time_move_nothing(house: House) -> None:
    """A clock that jumped is told as such, by the question and by each entry; using it does not make it true."""
    house.write(1)
    house.clock.advance(timedelta(days=7, microseconds=1))
    for _ in range(3):
        house.write(1)
        house.clock.advance(timedelta(days=6))
    problem = house.log.clock_problem(house.clock.now())

    assert trusted(house) == START
    assert problem == (
        "the clock says 2026-12-15T12:00:00.000001Z, 25 days past the last trusted moment 2026-11-20T12:00:00.000000Z; "
        "`max_clock_step` allows 7 days"
    )
    assert [entry.get("clock") for entry in house.log.show()] == [None, "jumped", "jumped", "jumped"]
    assert house.log.verify() == 4


def test_a_clock_that_went_back_is_told(house: House) -> None:
    """A quarter of an hour is let pass and moves nothing; more is a problem, and stands in the entry."""
    house.write(1)
    house.clock.advance(-BACK)
    small = house.log.clock_problem(house.clock.now())
    house.write(1)
    house.clock.advance(timedelta(seconds=-1))
    problem = house.log.clock_problem(house.clock.now())
    house.write(1)

    assert small is None
    assert problem == (
        "the clock says 2026-11-20T11:44:59.000000Z, 0 h 15 min before the last trusted moment "
        "2026-11-20T12:00:00.000000Z: it went back"
    )
    assert trusted(house) == START
    assert [entry.get("clock") for entry in house.log.show()] == [None, None, "back"]
    assert house.log.verify() == 3


@pytest.mark.parametrize("step", [timedelta(days=400), timedelta(days=-2)])
def test_a_person_accepts_the_clock(house: House, step: timedelta) -> None:
    """Forwards or back: the entry says which clock was accepted, by whom, and from then on it is believed."""
    house.write(1)
    house.clock.advance(step)
    now = house.clock.now()
    with house.catalogue.transaction() as tx:
        house.log.accept_clock(tx, "Otto", now)
    house.log.flush()
    last = house.log.show(1)[0]

    assert (last["act"], last["person"], "clock" in last) == ("accept-clock", "Otto", False)
    assert last["detail"] == {"from": signing.instant(START), "to": signing.instant(now)}
    assert trusted(house) == now
    assert house.log.clock_problem(now) is None


def test_a_clock_can_be_accepted_before_the_first_entry(house: House) -> None:
    """Then there is no moment it comes from."""
    with house.catalogue.transaction() as tx:
        house.log.accept_clock(tx, "Otto", START)

    assert trusted(house) == START


@given(st.integers(-(10**13), 10**13))
def test_the_clock_is_judged_by_its_distance(microseconds: int) -> None:
    """Believed from fifteen minutes before to the largest step after trusted time, both included."""
    step = timedelta(microseconds=microseconds)
    verdict = judge_clock(START, START + step, timedelta(days=7))

    assert (verdict is None) == (-BACK <= step <= timedelta(days=7))
    assert verdict is None or verdict == ("jumped" if microseconds > 0 else "back")
