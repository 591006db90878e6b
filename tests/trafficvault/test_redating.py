"""The demonstration's files on other days: as old as they were, on each day and at each of its hours."""

from __future__ import annotations

import re
from datetime import date, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingest.read import Reading, read
from tests.ingest.shipped_feeds import FEEDS
from tests.trafficvault.test_demo_files import CASES, FILES
from trafficvault import policy_file
from trafficvault.period import Period
from trafficvault.redating import TOLD, ZONE, redated
from trafficvault.sources import implicit
from trafficvault.zones import day_start

TERM = Period.parse("P6M")
POLICY = policy_file.parse(policy_file.preset_text("telecom"))
# Of each file with a term of six months: how many records have reached it, and on how many days (UTC) records lie.
AGED = {
    "Master.csv": (4, 13),
    "acc_flatstore.log": (2, 8),
    "S4PGWM000123": (3, 13),
    "S4PGWM000125": (0, 1),
    "WLR-DEMO-000017.CDR": (2, 5),
    "WLR-DEMO-000018.CDR": (0, 1),
}
DAYS = st.dates(date(2024, 1, 1), date(2060, 1, 1))


def reading(feed: str, file: str, today: date) -> Reading:
    """The bundled file moved to `today`, read in that day's first second."""
    content = redated((FILES / file).read_bytes(), today)
    return read(content, FEEDS[feed], implicit(FEEDS[feed], POLICY), day_start(today, ZONE), file)


@given(today=DAYS, case=st.sampled_from(CASES))
@example(date(2027, 2, 28), CASES[0])
@example(date(2028, 2, 29), CASES[2])
@example(date(2027, 9, 30), CASES[2])
@example(date(2031, 8, 31), CASES[4])
def test_the_same_is_read_on_any_day(today: date, case: tuple[str, str, int, int, int, int, int]) -> None:
    """No record is lost, rejected or of the future, and as many are past their term at the day's first as at its last
    second.
    """
    feed, file, units, records, joined, rejected, mismatches = case
    found = reading(feed, file, today)

    assert found.units == units
    assert sum(frame.height for frame in found.records.values()) == records
    assert (found.joined, found.rejections.num_rows, len(found.mismatches)) == (joined, rejected, mismatches)
    if file in AGED:
        (starts,) = (frame["start"].to_list() for frame in found.records.values())
        ends = [TERM.after(start, ZONE) for start in starts]
        first, after = day_start(today, ZONE), day_start(today + timedelta(1), ZONE)
        ended, days = AGED[file]
        assert [sum(end <= moment for end in ends) for moment in (first, after)] == [ended, ended]
        assert len({start.date() for start in starts}) == days


@given(today=DAYS, name=st.sampled_from([path.name for path in FILES.iterdir()]))
def test_nothing_but_times_is_changed(today: date, name: str) -> None:
    """Every line has the same length and signs; what is no digit stays, but a sign of an offset."""
    before = (FILES / name).read_bytes()

    def shape(content: bytes) -> bytes:
        return re.sub(rb"[+-](?=\d\d:?\d\d\b)", b"~", re.sub(rb"\d", b"0", content))

    assert shape(redated(before, today)) == shape(before)


@pytest.mark.parametrize(
    ("today", "before", "after"),
    [
        pytest.param(TOLD, "2026-05-20 17:45:10", "2026-05-19 17:45:10", id="ended by yesterday"),
        pytest.param(TOLD, "2026-05-21 09:30:00", "2026-05-21 09:30:00", id="ends tomorrow"),
        pytest.param(TOLD, "2026-10-25 02:30:00|1792888200", "2026-10-25 02:30:00|1792888200", id="first 02:30"),
        pytest.param(TOLD, "2026-10-25 02:30:00|1792891800", "2026-10-25 02:30:00|1792891800", id="second 02:30"),
        pytest.param(date(2027, 4, 23), "2026-10-25 02:30:00|1792891800", "2027-03-28 03:30:00|1806197400", id="gap"),
        pytest.param(date(2027, 2, 28), "2026-05-20 17:45:10", "2026-08-27 17:45:10", id="February, ended"),
        pytest.param(date(2027, 2, 28), "2026-05-21 09:30:00", "2026-09-01 09:30:00", id="February, ends tomorrow"),
        pytest.param(date(2027, 6, 1), "2026-11-19T09:14:00+01:00", "2027-05-31T09:14:00+02:00", id="into summer"),
        pytest.param(date(2027, 2, 1), "2026-08-02T07:55:10+01:00", "2026-10-14T07:55:10+01:00", id="abroad, summer"),
        pytest.param(date(2027, 3, 1), "2026-08-02T07:55:10+01:00", "2026-11-11T07:55:10+00:00", id="abroad, winter"),
        pytest.param(date(2027, 6, 1), "2026-11-18T03:00:00Z", "2027-05-30T03:00:00Z", id="UTC"),
        pytest.param(date(2027, 6, 1), "|20261118070000|7200||+0100|x", "|20270530070000|7200||+0200|x", id="apart"),
        pytest.param(date(2027, 6, 1), "00001720261112040003", "00001720270524040003", id="behind a number"),
        pytest.param(date(2027, 6, 1), "204990000000001 31612345678", "204990000000001 31612345678", id="no times"),
    ],
)
def test_a_moment_is_moved(today: date, before: str, after: str) -> None:
    """A clock on the wall keeps its reading, in each way of writing one, and offsets and epochs follow."""
    assert redated(before.encode(), today).decode() == after
