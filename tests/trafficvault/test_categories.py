"""Terms of categories, and terms that became longer: each ends at its own moment, and nothing comes back."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.record import CATEGORIES
from tests.thorough import as_many
from tests.trafficvault.calendars import DAYS, INSTANT, MOMENTS, ODD_ZONES, TERMS, ZONES, minutes_of
from tests.trafficvault.short_location import rules
from trafficvault.period import Period
from trafficvault.policy_file import parse
from trafficvault.retention import Partition, begins, due, expired_mask, expires_at, plan
from trafficvault.terms import Lapse, Term

ONE_DAY = timedelta(days=1)


@given(DAYS, TERMS, st.sampled_from(ZONES + ODD_ZONES))
@settings(max_examples=as_many(40))
def test_a_day_begins_to_end_with_its_first_record(day: date, term: Term, zone: str) -> None:
    """Before `begins` no record of the day has ended, at it one has."""
    first = begins(day, term, zone)
    moments = minutes_of(day)

    assert not expired_mask(moments, term, zone, first - INSTANT).any()
    assert expired_mask(moments, term, zone, first).any()


@given(
    day=DAYS,
    short=TERMS,
    more=st.integers(1, 12),
    zones=st.tuples(st.sampled_from(ZONES), st.sampled_from(ZONES)),
    steps=st.integers(-40, 40),
)
@settings(max_examples=as_many(40))
def test_a_longer_term_gives_nothing_back(
    day: date, short: Term, more: int, zones: tuple[str, str], steps: int
) -> None:
    """What the earlier term had ended when it stopped ruling stays ended, record by record and day by day; other days
    have the longer one.
    """
    longer = Period(short.lasts.months + more, short.lasts.days, short.lasts.seconds)
    term = Term(period=longer, lapses=(Lapse(short.lasts, zones[0], day),))
    moments = minutes_of(day + steps * ONE_DAY)
    stopped = begins(day, short, zones[0])
    before = expired_mask(moments, short, zones[0], stopped)
    after = expired_mask(moments, term, zones[1], stopped)

    assert not (before & ~after).any()
    now = due(day + steps * ONE_DAY, term, zones[1])
    assert expired_mask(moments, term, zones[1], now).all()
    assert [expires_at(moment, term, zones[1]) <= now for moment in moments[::200]] == [True] * len(moments[::200])
    if steps > 0:
        assert now == due(day + steps * ONE_DAY, Term(period=longer), zones[1])
    else:
        assert now <= due(day + steps * ONE_DAY, short, zones[0])
    assert begins(day + steps * ONE_DAY, term, zones[1]) <= now


@given(
    days=st.lists(DAYS, min_size=1, max_size=4, unique=True),
    months=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    gone=st.booleans(),
    now=MOMENTS,
)
@settings(max_examples=as_many(40))
def test_every_category_dies_at_its_own_moment(
    days: list[date], months: tuple[int, int], gone: bool, now: datetime
) -> None:
    """Of each living day every category stands in one item, and is destroyed exactly when its own term says."""
    where, rest = min(months), max(months)
    policy = parse(rules(f"P{where}M", f"P{rest}M"))
    left = tuple(name for name in CATEGORIES if not (gone and name == "where"))
    items = plan([Partition("mobile_usage", day, categories=left) for day in days], policy, now)

    for day in days:
        mine = [item for item in items if item.day == day]
        assert sorted(name for item in mine for name in item.categories) == sorted(left)
        for item in mine:
            for name in item.categories:
                months_of = where if name == "where" else rest
                moment = due(day, Term(period=Period(months=months_of)), policy.zone)
                assert (item.action == "expire") == (moment <= now)
                assert item.action == "expire" or item.due == moment
