"""Terms and plans: never early, as little late as the calendar allows, and every decision with its reason."""

from __future__ import annotations

import json
import runpy
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.thorough import as_many
from tests.trafficvault.calendars import DAYS, MOMENTS, ODD_ZONES, TERMS, ZONES, minutes_of
from trafficvault import retention
from trafficvault.period import Period
from trafficvault.policy import Policy
from trafficvault.policy_file import parse, preset_text
from trafficvault.retention import Item, Partition, due, expired_mask, expires_at, is_due, plan, promised
from trafficvault.terms import Term
from trafficvault.zones import day_start, turns

GOLDEN = Path(__file__).parent / "golden" / "retention"
INSTANT = timedelta(microseconds=1)
ONE_DAY = timedelta(days=1)
SIX_MONTHS = Term(period=Period(months=6))
AMSTERDAM = "Europe/Amsterdam"


@given(DAYS, TERMS, st.sampled_from(ZONES + ODD_ZONES))
@settings(max_examples=as_many(50), deadline=None)
def test_a_partition_is_never_early_and_waits_for_the_first_midnight_only(day: date, term: Term, zone: str) -> None:
    """At `due` every record of the UTC day has reached its term; at the local midnight before, one had not."""
    until = due(day, term, zone)
    moments = minutes_of(day)
    here = ZoneInfo(zone)

    assert expired_mask(moments, term, zone, until).all()
    before = max(
        start
        for step in range(-2, 3)
        if (start := day_start(until.astimezone(here).date() + step * ONE_DAY, zone)) < until
    )
    assert not expired_mask(moments, term, zone, before).all()


@given(DAYS, TERMS, st.sampled_from(ZONES + ODD_ZONES))
@settings(max_examples=as_many(60), deadline=None)
def test_no_day_begins_to_end_before_the_least_of_its_term(day: date, term: Term, zone: str) -> None:
    """Whoever asks about many days asks the calendar about those alone of which this leaves it open."""
    assert retention.begins(day, term, zone) >= datetime.combine(day, time(), UTC) + term.lasts.least


@given(DAYS, TERMS, st.sampled_from(ZONES + ODD_ZONES), st.integers(0, 86_400_000_000 - 1))
@settings(max_examples=as_many(60))
def test_no_record_of_the_day_ends_after_its_partition(day: date, term: Term, zone: str, microsecond: int) -> None:
    """The scalar rule says the same of any microsecond of the day."""
    moment = datetime.combine(day, time(), UTC) + timedelta(microseconds=microsecond)

    assert expires_at(moment, term, zone) <= due(day, term, zone)


@given(DAYS, TERMS, st.sampled_from(ZONES + ODD_ZONES))
@settings(max_examples=as_many(60))
def test_due_is_the_beginning_of_a_local_day(day: date, term: Term, zone: str) -> None:
    """`due` is the first moment of a date, which is midnight wherever that date has one."""
    until = due(day, term, zone)
    here = ZoneInfo(zone)
    local = until.astimezone(here)

    assert (until - timedelta(seconds=1)).astimezone(here).date() < local.date()
    if zone in ZONES:
        assert local.time() == time()


@given(DAYS, TERMS, st.sampled_from(ZONES + ODD_ZONES))
@settings(max_examples=as_many(60))
def test_lateness_keeps_the_bound_that_the_module_states(day: date, term: Term, zone: str) -> None:
    """A day is late for its first record by no more than the calendar makes it."""
    first = datetime.combine(day, time(), UTC)
    here = ZoneInfo(zone)
    low, high = first.astimezone(here), (first + ONE_DAY - INSTANT).astimezone(here)
    ends = term.lasts.shift(low.date()), term.lasts.shift(high.date())
    changes = turns(zone, ends[0].year - 1, ends[1].year + 1) + turns(zone, day.year - 1, day.year + 1)
    greatest = timedelta(seconds=max((abs(turn.after - turn.before) for turn in changes), default=0))
    bound = ((ends[1] - ends[0]).days + 1) * ONE_DAY + greatest - timedelta(hours=low.hour, minutes=low.minute)
    last = datetime.combine(ends[1], time.max)
    if last.replace(tzinfo=here).astimezone(UTC).astimezone(here).replace(tzinfo=None) != last:
        bound += ONE_DAY  # clocks skip the last hour of the date
    # The clock part of a term is added to all alike, but may carry the end over the next midnight.
    bound += ONE_DAY if term.lasts.seconds else timedelta(0)

    assert due(day, term, zone) - expires_at(first, term, zone) <= bound


@given(st.dates(date(2000, 1, 1), date(2050, 12, 31)), st.integers(1, 36), st.sampled_from(ZONES))
@settings(max_examples=as_many(60))
def test_within_a_month_lateness_stays_within_two_days(day: date, months: int, zone: str) -> None:
    """Away from the end of a month no record waits longer than 48 h, or than 49 h where clocks go back meanwhile."""
    day = day.replace(day=2 + day.day % 25)
    term = Term(period=Period(months=months))
    first = datetime.combine(day, time(), UTC)
    wait = due(day, term, zone) - expires_at(first, term, zone)
    end = expires_at(first, term, zone)
    steady = (end + wait).astimezone(ZoneInfo(zone)).utcoffset() == end.astimezone(ZoneInfo(zone)).utcoffset()

    assert wait < timedelta(hours=48) if steady else wait <= timedelta(hours=49)


def test_the_end_of_february_makes_a_partition_five_days_late() -> None:
    """The longest wait in Amsterdam: 28 February and 1 March lie in one UTC day, and end four days apart."""
    day = date(2026, 2, 28)
    first = datetime(2026, 2, 28, tzinfo=UTC)

    assert expires_at(first, SIX_MONTHS, AMSTERDAM) == datetime(2026, 8, 27, 23, tzinfo=UTC)
    assert due(day, SIX_MONTHS, AMSTERDAM) == datetime(2026, 9, 1, 22, tzinfo=UTC)
    waits = [
        due(item, SIX_MONTHS, AMSTERDAM) - expires_at(datetime.combine(item, time(), UTC), SIX_MONTHS, AMSTERDAM)
        for item in (date(2024, 1, 1) + step * ONE_DAY for step in range(4 * 366))
    ]
    assert max(waits) == timedelta(days=4, hours=23)


@pytest.mark.parametrize(
    ("day", "zone", "expected"),
    [
        pytest.param(
            "2026-01-10", "Europe/Amsterdam", "2026-07-12T00:00+02:00", id="the day reaches into the next date"
        ),
        pytest.param("2026-01-10", "UTC", "2026-07-11T00:00+00:00", id="where local days are UTC days"),
        pytest.param("2026-01-10", "America/New_York", "2026-07-11T00:00-04:00", id="west of Greenwich"),
        pytest.param("2026-01-10", "Pacific/Kiritimati", "2026-07-12T00:00+14:00", id="fourteen hours east"),
        pytest.param("2025-08-30", "Europe/Amsterdam", "2026-03-01T00:00+01:00", id="two dates clamped to one"),
        pytest.param("2026-04-24", "Europe/Amsterdam", "2026-10-26T00:00+01:00", id="ends on the day of 25 hours"),
        pytest.param("2026-03-05", "America/Santiago", "2026-09-06T01:00-03:00", id="midnight is skipped"),
        pytest.param("2011-06-29", "Pacific/Apia", "2011-12-31T00:00+14:00", id="the date is skipped"),
        pytest.param("2025-09-27", "America/Nuuk", "2026-03-28T00:00-02:00", id="on the eve of a gap at midnight"),
        pytest.param("2025-09-28", "America/Nuuk", "2026-03-29T00:00-01:00", id="at the end of a gap"),
        pytest.param("2025-09-29", "America/Nuuk", "2026-03-30T00:00-01:00", id="from within that gap on"),
    ],
)
def test_six_months_end_at_a_local_midnight(day: str, zone: str, expected: str) -> None:
    """Cases that a reader can check on a calendar."""
    assert due(date.fromisoformat(day), SIX_MONTHS, zone) == datetime.fromisoformat(expected)


def test_the_last_to_end_need_not_be_the_last_of_the_day() -> None:
    """At Casey clocks once jumped three hours: what ended inside the gap ended after what came two hours later."""
    term, zone, day = Term(period=Period.parse("P6MT15H")), "Antarctica/Casey", date(2018, 4, 6)
    moments = minutes_of(day)
    until = due(day, term, zone)

    assert expires_at(moments[-1], term, zone) < max(expires_at(moment, term, zone) for moment in moments)
    assert until == datetime.fromisoformat("2018-10-09T00:00+11:00")
    assert expired_mask(moments, term, zone, until).all()
    assert not expired_mask(moments, term, zone, until - ONE_DAY).all()


def test_a_day_is_due_from_its_moment_on() -> None:
    """A microsecond before `due` nothing is deleted; at it, it is."""
    day = date(2026, 1, 10)
    until = due(day, SIX_MONTHS, AMSTERDAM)

    assert not is_due(day, SIX_MONTHS, AMSTERDAM, until - INSTANT)
    assert is_due(day, SIX_MONTHS, AMSTERDAM, until)


@given(
    base=MOMENTS,
    term=TERMS,
    zone=st.sampled_from(ZONES + ODD_ZONES),
    offsets=st.lists(st.integers(-10 * 86_400_000_000, 10 * 86_400_000_000), min_size=1, max_size=30),
    nudge=st.sampled_from((-3_600_000_000, -1, 0, 1, 3_600_000_000)),
)
@settings(max_examples=as_many(80))
def test_the_mask_equals_the_scalar_rule(base: datetime, term: Term, zone: str, offsets: list[int], nudge: int) -> None:
    """About the edge, where it matters, the vectorised rule decides as the exact one does, record by record."""
    now = expires_at(base, term, zone) + timedelta(microseconds=nudge)
    anchors = [base + timedelta(microseconds=offset) for offset in [0, *offsets]]
    found = expired_mask(pl.Series("start", anchors, dtype=pl.Datetime("us", "UTC")), term, zone, now)

    assert found.name == "start"
    assert found.to_list() == [expires_at(anchor, term, zone) <= now for anchor in anchors]


def test_the_mask_takes_moments_from_the_calendar_s_edges() -> None:
    """A nonsensical year is simply long expired, or not yet."""
    anchors = [datetime(1, 1, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)]
    found = expired_mask(
        pl.Series(anchors, dtype=pl.Datetime("us", "UTC")),
        SIX_MONTHS,
        "America/New_York",
        datetime(2026, 11, 21, tzinfo=UTC),
    )

    assert found.to_list() == [True, False, False]


def test_the_mask_of_nothing_is_nothing() -> None:
    """A file without records of a class has an empty mask."""
    empty = pl.Series("start", [], dtype=pl.Datetime("us", "UTC"))

    assert expired_mask(empty, SIX_MONTHS, AMSTERDAM, datetime(2026, 1, 1, tzinfo=UTC)).to_list() == []


@pytest.mark.parametrize(
    "anchors",
    [
        pl.Series([datetime(2026, 1, 1)], dtype=pl.Datetime("us")),
        pl.Series([datetime(2026, 1, 1, tzinfo=UTC)], dtype=pl.Datetime("ms", "UTC")),
        pl.Series([1]),
        pl.Series([None], dtype=pl.Datetime("us", "UTC")),
    ],
    ids=["without a zone", "in milliseconds", "not a time", "without an anchor"],
)
def test_the_mask_refuses_what_is_not_an_anchor(anchors: pl.Series) -> None:
    """A record whose anchor is unknown is never taken for kept or for expired."""
    with pytest.raises(ValueError, match="anchor"):
        expired_mask(anchors, SIX_MONTHS, AMSTERDAM, datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture(scope="module")
def telecom() -> Policy:
    """The telecom preset."""
    return parse(preset_text("telecom"))


@given(
    days=st.lists(DAYS, min_size=1, max_size=6),
    record_class=st.sampled_from(["telephony", "binding", "server_use"]),
    kind=st.sampled_from(["records", "rejections", "held"]),
    state=st.sampled_from(["live", "expiring", "tombstone"]),
    now=MOMENTS,
)
@settings(max_examples=as_many(40))
def test_a_plan_expires_what_is_due_and_only_that(
    days: list[date], record_class: str, kind: str, state: str, now: datetime
) -> None:
    """Tombstones have no item, what began is finished, of the rest what is due goes; no rule, no deletion. What can't
    be divided does not outlive its first moment's term by more than two days.
    """
    policy = parse(preset_text("telecom"))
    items = plan([Partition(record_class, day, kind, state) for day in days], policy, now)
    term = policy.term_of(record_class)

    assert [item.day for item in items] == ([] if state == "tombstone" else sorted(days))
    for item in items:
        apart = None if term is None or kind == "records" else retention.leaves(item.day, term, policy.zone)
        assert item.due == (None if term is None else apart or due(item.day, term, policy.zone))
        gone = state == "expiring" or (item.due is not None and item.due <= now)
        assert item.action == ("expire" if gone else "keep")
        assert item.day.isoformat() in item.reason


def test_a_reason_names_the_rule_and_both_dates(telecom: Policy) -> None:
    """Whoever reads the plan sees which entry decided, when the term ended and what the clock says."""
    (item,) = plan([Partition("voip", date(2026, 1, 10))], telecom, datetime(2026, 7, 12, 9, tzinfo=UTC))

    assert item == Item(
        "voip",
        date(2026, 1, 10),
        "records",
        datetime(2026, 7, 11, 22, tzinfo=UTC),
        "expire",
        "voip records of 2026-01-10 were due at 2026-07-12 00:00 and it is 2026-07-12 11:00 (Europe/Amsterdam): "
        "entry 'voip' keeps voip for 6 months",
        promised=datetime(2026, 7, 11, 23, tzinfo=UTC),
    )


def test_the_order_of_a_plan_does_not_depend_on_what_it_was_given(telecom: Policy) -> None:
    """Records come first, then rejections, then held batches; by class and day within."""
    parts = [
        Partition("voip", date(2026, 1, 2), "held"),
        Partition("voip", date(2026, 1, 2), "rejections"),
        Partition("voip", date(2026, 1, 2)),
        Partition("email", date(2026, 1, 3)),
        Partition("email", date(2026, 1, 2)),
    ]
    now = datetime(2026, 3, 1, tzinfo=UTC)
    items = plan(parts, telecom, now)

    assert plan(reversed(parts), telecom, now) == items
    assert [(item.kind, item.record_class, item.day.day) for item in items] == [
        ("records", "email", 2),
        ("records", "email", 3),
        ("records", "voip", 2),
        ("rejections", "voip", 2),
        ("held", "voip", 2),
    ]


def _render() -> dict[str, str]:
    module: dict[str, Any] = runpy.run_path(str(GOLDEN / "generate.py"))
    rendered: dict[str, str] = module["render"]()
    return rendered


def test_golden_plans_are_what_the_rules_decide_today() -> None:
    """Regenerating leaves no difference: a change of any decision or reason is seen in review."""
    rendered = _render()
    stored = {path.name: path.read_text(encoding="utf-8") for path in GOLDEN.glob("*.json")}

    assert stored == rendered


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.stem)
def test_a_golden_plan_tells_its_story(path: Path) -> None:
    """Each file names its scene in a sentence and decides at least one thing."""
    scene = json.loads(path.read_text(encoding="utf-8"))

    assert scene["scene"].endswith(".")
    assert {item["action"] for item in scene["plan"]} <= {"expire", "keep"}


@given(DAYS, TERMS, st.sampled_from(ZONES + ODD_ZONES))
@settings(max_examples=as_many(60))
def test_whoever_expires_within_an_hour_keeps_the_promise(day: date, term: Term, zone: str) -> None:
    """And what is there two days and an hour after the term of its first record breaks it, unless that record left."""
    by = promised(day, term, zone)
    if by is None:
        assert retention.leaves(day, term, zone) is not None
    else:
        ended = expires_at(datetime.combine(day, time(), UTC), term, zone)
        assert by >= due(day, term, zone) + timedelta(hours=1)
        assert by <= max(ended, retention.begins(day, term, zone)) + timedelta(hours=49)


@given(DAYS, TERMS, st.sampled_from(ZONES + ODD_ZONES), st.integers(-12, 12), st.integers(-1, 1))
@settings(max_examples=as_many(60))
def test_what_has_begun_is_what_begins_by_now(day: date, term: Term, zone: str, days: int, instants: int) -> None:
    """Near the first end, by an instant too, and far from it: whether the calendar is asked or not."""
    first = retention.begins(day, term, zone)
    now = first + days * ONE_DAY + instants * INSTANT

    assert retention.has_begun(day, term, zone, now) is (first <= now)
    assert not retention.has_begun(day, term, zone, datetime.combine(day, time(), UTC) - INSTANT)
