"""Legal time: an operator's zone, its changes of offset, and where a local day begins. Pure but for the zone database.

Two rules settle what a clock on the wall leaves open, both towards later, so that nothing is deleted early. A local
time that occurs twice means its second occurrence. A local time that never occurs means the moment as far after the
change as it lies past the gap's beginning (02:30 becomes 03:30), as RFC 5545 §3.3.5 has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from trafficvault.errors import UsageError

MICROSECONDS = 1_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Turn:
    """A change of offset: at `at_us` (UTC microseconds since 1970) from `before` to `after` seconds east of UTC."""

    at_us: int
    before: int
    after: int

    @property
    def wall_us(self) -> int:
        """The wall clock, in microseconds since 1970-01-01 00:00, from which on a wall time means the new offset.

        It is the time the clock shows right after the change: what a gap skips lies below it and takes the old offset,
        which moves it forward; what occurs twice lies at or above it and takes the new one, its second occurrence.
        """
        return self.at_us + self.after * MICROSECONDS


@lru_cache(maxsize=64)
def zone_of(name: str) -> ZoneInfo:
    """The IANA zone `name`. Raises `UsageError` when the zone database has none of that name."""
    try:
        return ZoneInfo(name)
    # A folder of the database (`Europe`) is an OSError, a path that leaves it a ValueError.
    except (ZoneInfoNotFoundError, ValueError, OSError) as problem:
        raise UsageError(
            f"looking for time zone {name!r}: the zone database has none",
            hint="name an IANA zone, such as Europe/Amsterdam",
        ) from problem


def to_utc(wall: datetime, zone: str) -> datetime:
    """The moment that the naive local time `wall` means in `zone`: the later of two, forward out of a gap."""
    here = zone_of(zone)
    # PEP 495: in a doubled hour fold=1 is the later moment, in a gap fold=0 is.
    return max(wall.replace(tzinfo=here, fold=fold).astimezone(UTC) for fold in (0, 1))


def day_start(day: date, zone: str) -> datetime:
    """The first moment of the local `day`: its midnight, or the change of clock that skipped it (or the whole day)."""
    midnight = datetime.combine(day, time())
    here = zone_of(zone)
    early, late = (midnight.replace(tzinfo=here, fold=fold).astimezone(UTC) for fold in (0, 1))
    if early <= late:
        return early
    return _change_between(late, early, here)


def next_day_start(moment: datetime, zone: str) -> datetime:
    """The first beginning of a local day at or after `moment`."""
    day = moment.astimezone(zone_of(zone)).date()
    start = day_start(day, zone)
    # Where clocks go back over midnight a date is left and entered again: its beginning may lie before the moment.
    while start < moment:
        day += _DAY
        start = day_start(day, zone)
    return start


def turns(zone: str, first_year: int, last_year: int) -> list[Turn]:
    """The changes of offset in `zone` during those UTC years, in order."""
    return [turn for year in range(max(first_year, 2), min(last_year, 9997) + 1) for turn in _turns_of(zone, year)]


def offset_at(moment: datetime, zone: str) -> int:
    """Seconds east of UTC in `zone` at `moment`."""
    return _offset(moment, zone_of(zone))


def microseconds(moment: datetime) -> int:
    """`moment` as UTC microseconds since 1970, exactly."""
    return (moment - EPOCH) // timedelta(microseconds=1)


@lru_cache(maxsize=4096)
def _turns_of(zone: str, year: int) -> tuple[Turn, ...]:
    # Probed day by day: the zone database has no two changes within one day that undo each other.
    here = zone_of(zone)
    found = []
    low, end = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
    while low < end:
        high = low + _DAY
        before, after = _offset(low, here), _offset(high, here)
        if before != after:
            found.append(Turn(microseconds(_change_between(low, high, here)), before, after))
        low = high
    return tuple(found)


def _change_between(low: datetime, high: datetime, here: ZoneInfo) -> datetime:
    """The change of offset in (low, high], to the second; the two ends have different offsets."""
    old = _offset(low, here)
    first, last = 0, int((high - low).total_seconds())
    while last - first > 1:
        middle = (first + last) // 2
        if _offset(low + timedelta(seconds=middle), here) == old:
            first = middle
        else:
            last = middle
    return low + timedelta(seconds=last)


def _offset(moment: datetime, here: ZoneInfo) -> int:
    offset = moment.astimezone(here).utcoffset()
    return int(offset.total_seconds()) if offset is not None else 0
