"""Terms by the clock on the wall, one moment at a time: what the simulated vault is held against.

Nothing here is the product's: a day's edges are found by trying every quarter of an hour of it, not by rule.
"""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

QUARTER, INSTANT = timedelta(minutes=15), timedelta(microseconds=1)
"""Clocks change at whole quarters of an hour, so nothing happens between two of them."""
_LENGTH = re.compile(r"P(?:(\d+)M)?(?:(\d+)D)?(?:T(\d+)H)?")


@lru_cache(maxsize=8192)
def after(moment: datetime, length: str, zone: str) -> datetime:
    """The moment `length` (such as P6M, P10D or PT72H) after `moment` by the clock on the wall of `zone`, in UTC.

    A day that a month lacks is its last; a time that the clock shows twice is the second, one it skips lies after it.
    """
    found = _LENGTH.fullmatch(length)
    assert found is not None, length
    months, days, hours = (int(part or 0) for part in found.groups())
    wall = moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0)
    year, month = divmod(wall.year * 12 + wall.month - 1 + months, 12)
    wall = wall.replace(year=year, month=month + 1, day=min(wall.day, monthrange(year, month + 1)[1]))
    wall += timedelta(days=days)
    if not (months or days):
        return moment + timedelta(hours=hours)
    both = [wall.replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC) for fold in (0, 1)]
    return max(both) + timedelta(hours=hours)


@lru_cache(maxsize=4096)
def ends_of(day: date, length: str, zone: str) -> tuple[datetime, datetime]:
    """When the first and the last record that can be of the UTC `day` have reached `length`."""
    start = datetime.combine(day, time(), UTC)
    quarters = [start + QUARTER * step for step in range(96)]
    ends = [after(moment, length, zone) for first in quarters for moment in (first, first + QUARTER - INSTANT)]
    return min(ends), max(ends)


@lru_cache(maxsize=4096)
def due(day: date, length: str, zone: str) -> datetime:
    """The first moment of a local day at which every record of the UTC `day` has reached `length`."""
    _, last = ends_of(day, length, zone)
    midnight = last.replace(minute=0, second=0, microsecond=0)
    while midnight < last or not _begins_a_day(midnight, zone):
        midnight += QUARTER
    return midnight


def _begins_a_day(moment: datetime, zone: str) -> bool:
    here = ZoneInfo(zone)
    return moment.astimezone(here).date() != (moment - INSTANT).astimezone(here).date()
