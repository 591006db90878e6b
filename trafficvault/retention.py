"""When a record, and a whole partition, has reached its term. Pure: values in, values with reasons out.

A record's term ends at an exact moment (`expires_at`): its anchor's local wall clock plus the term, on the calendar of
the policy's zone. A day that the month lacks is clamped to the month's last; a skipped local hour moves forward, a
doubled one means its second occurrence. From that moment no question returns the record.

A partition holds a UTC day, and dies as a whole at `due`: the first local midnight at or after the end of every record
that can be in it. It is never early for any of them. How late it is for its earliest record follows from the calendar:

    due - expires_at(first moment) <= 24 h x (T(last) - T(first) + 1) + the greatest change of clock in the zone,
    less the local time of day of the first moment

where T(first) and T(last) are the dates that the term gives for the first and last local date of the UTC day. Mostly
T(last) is the date after T(first) and the whole stays below 48 h, or reaches it where a 25-hour day adds its hour. It
is more where a short month ends: six months from 28 February end on 28 August, those from 1 March on 1 September: a
UTC day that touches both dates is due almost five days after its first record ended. Clamping itself only makes a
partition less late: clamped dates fall together. A clock part of the term, or clocks that skip the end of a date, can
carry the last end over midnight, and then it waits for the next: a day more.

Callers: `receive` and questions use `expired_mask`, `expire` and `status` use `plan` and `due`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from trafficvault.period import Period
from trafficvault.policy import Entry, Policy, Term
from trafficvault.zones import EPOCH, MICROSECONDS, Turn, microseconds, next_day_start, offset_at, turns, zone_of

KINDS: Final = ("records", "rejections", "held")
"""What has a term: a partition's records, the rejections and the held batches that came on one day."""
STATES: Final = ("live", "expiring", "tombstone")

_DAY = timedelta(days=1)
_DAY_US = 86_400 * MICROSECONDS
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()

_Moments = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Partition:
    """One thing that has a term: its kind, the class it dies with, the UTC day it counts from, and its state."""

    record_class: str
    day: date
    kind: str = "records"
    state: str = "live"


@dataclass(frozen=True, slots=True)
class Item:
    """What is to become of one partition: `action` is expire or keep. `due` is None where no rule gives a date."""

    record_class: str
    day: date
    kind: str
    due: datetime | None
    action: str
    reason: str


def expires_at(anchor: datetime, term: Term, zone: str) -> datetime:
    """The moment, in UTC, at which a record anchored at the aware `anchor` has reached `term`."""
    return term.lasts.after(anchor, zone)


def due(day: date, term: Term, zone: str) -> datetime:
    """The first local midnight of `zone` at or after the moment every record of the UTC `day` has reached `term`."""
    return _due(day, term.lasts, zone)


def is_due(day: date, term: Term, zone: str, now: datetime) -> bool:
    """Whether a partition of the UTC `day` is to be deleted at `now`."""
    return due(day, term, zone) <= now


def expired_mask(anchors: pl.Series, term: Term, zone: str, now: datetime) -> pl.Series:
    """For each anchor whether `expires_at` is at or before `now`: what a question leaves out and receive refuses.

    `anchors` are microseconds with a time zone. Raises `ValueError` for another type or a null: every record has one.
    """
    kind = anchors.dtype
    if not isinstance(kind, pl.Datetime) or kind.time_zone is None or kind.time_unit != "us":
        raise ValueError(f"anchors must be microseconds with a time zone, not {kind}")
    if anchors.null_count():
        raise ValueError(f"{anchors.null_count()} of {len(anchors)} records have no anchor")
    moments: _Moments = anchors.to_physical().to_numpy()
    period, moment = term.lasts, microseconds(now)
    # Far from the edge the term's bounds decide; near it, its exact end does.
    gone = moments <= moment - _us(period.most)
    near = ~gone & (moments <= moment - _us(period.least))
    if near.any():
        gone[near] = _expiries(moments[near], period, zone) <= moment
    return pl.Series(anchors.name, gone, dtype=pl.Boolean)


def plan(partitions: Iterable[Partition], policy: Policy, now: datetime) -> list[Item]:
    """What is due at `now` and what is kept, with a reason each, sorted by kind, class and day; tombstones have none.

    Rejections and held batches count from the day they came, as a partition does from its day. One whose expiry began
    is due whatever the policy says by now: its keys may be gone already. One whose class no entry covers any longer is
    kept: that a line was lost from a file must not delete anything.
    """
    living = [part for part in partitions if part.state != "tombstone"]
    living.sort(key=lambda part: (KINDS.index(part.kind), part.record_class, part.day))
    return [_item(part, policy, now) for part in living]


def _item(part: Partition, policy: Policy, now: datetime) -> Item:
    entry = policy.entry_of(part.record_class)
    until = None if entry is None else due(part.day, entry.term, policy.zone)
    if part.state == "expiring":
        why = f"an earlier run began to expire {_what(part)} and did not finish; it is finished first"
        return Item(part.record_class, part.day, part.kind, until, "expire", why)
    if entry is None or until is None:
        why = f"{_what(part)} are kept: no entry of the policy covers {part.record_class}; add one, so that they end"
        return Item(part.record_class, part.day, part.kind, None, "keep", why)
    action = "expire" if until <= now else "keep"
    return Item(part.record_class, part.day, part.kind, until, action, _reason(part, entry, until, policy.zone, now))


def _what(part: Partition) -> str:
    if part.kind == "records":
        return f"{part.record_class} records of {part.day}"
    name = "rejections" if part.kind == "rejections" else "held batches"
    return f"{name} of {part.day} (which die with {part.record_class})"


def _reason(part: Partition, entry: Entry, until: datetime, zone: str, now: datetime) -> str:
    rule = f"entry {entry.id!r} keeps {part.record_class} {entry.term.lasts}"
    if entry.term.until is not None:
        rule += f", the cap of its term until {entry.term.until}"
    since = "" if part.kind == "records" else ", counted from the day they came"
    ended, today = _local(until, zone), _local(now, zone)
    if until <= now:
        return f"{_what(part)} were due at {ended} and it is {today} ({zone}): {rule}{since}"
    return f"{_what(part)} are kept until {ended} and it is {today} ({zone}): {rule}{since}"


def _local(moment: datetime, zone: str) -> str:
    return moment.astimezone(zone_of(zone)).strftime("%Y-%m-%d %H:%M")


@lru_cache(maxsize=8192)
def _due(day: date, period: Period, zone: str) -> datetime:
    """On a piece of the day without an edge the end grows with the anchor, so the latest end is at a piece's end."""
    first = (day.toordinal() - _EPOCH_ORDINAL) * _DAY_US
    last = first + _DAY_US - 1
    edges = [edge for edge in _edges(day, period, zone) if first < edge <= last]
    ends = _expiries(np.array([edge - 1 for edge in edges] + [last], dtype=np.int64), period, zone)
    return next_day_start(EPOCH + timedelta(microseconds=int(ends.max())), zone)


def _edges(day: date, period: Period, zone: str) -> list[int]:
    """Every moment about the UTC `day` at which the end may jump: changes of clock and of date, here and at the end."""
    if not period.is_calendar:
        return []
    start = datetime.combine(day, time(), UTC)
    nearby = turns(zone, day.year - 1, day.year + 1)
    around = [turn for turn in nearby if abs(turn.at_us - microseconds(start)) <= 2 * _DAY_US]
    offsets = {offset_at(start, zone), *(offset for turn in around for offset in (turn.before, turn.after))}
    edges = [turn.at_us for turn in around]
    for date_ in (day + _DAY * step for step in (-1, 0, 1, 2)):
        target = (period.shift(date_).toordinal() - _EPOCH_ORDINAL) * _DAY_US
        year = period.shift(date_).year
        begin = (date_.toordinal() - _EPOCH_ORDINAL) * _DAY_US
        walls = [turn.wall_us - target for turn in turns(zone, year - 1, year + 1)]
        walls = [0, *(wall for wall in walls if 0 <= wall < _DAY_US)]
        edges += [begin + wall - offset * MICROSECONDS for wall in walls for offset in offsets]
    return edges


def _expiries(moments: _Moments, period: Period, zone: str) -> _Moments:
    """`expires_at` of many moments at once, all in microseconds since 1970; equal to `Period.after` of each."""
    if not period.is_calendar:
        return moments + period.seconds * MICROSECONDS
    low, high = _year(int(moments.min())), _year(int(moments.max()))
    changes = turns(zone, low - 1, high + 1)
    local = moments + _offsets(moments, changes, [turn.at_us for turn in changes], low - 1, zone)
    days, clock = np.divmod(local, _DAY_US)
    dates, which = np.unique(days, return_inverse=True)
    ends = [period.shift(date.fromordinal(int(number) + _EPOCH_ORDINAL)) for number in dates]
    targets = np.array([end.toordinal() - _EPOCH_ORDINAL for end in ends], dtype=np.int64)
    wall = targets[which] * _DAY_US + clock
    changes = turns(zone, ends[0].year - 1, ends[-1].year + 1)
    offsets = _offsets(wall, changes, [turn.wall_us for turn in changes], ends[0].year - 1, zone)
    return wall - offsets + period.seconds * MICROSECONDS


def _offsets(values: _Moments, changes: list[Turn], edges: list[int], first_year: int, zone: str) -> _Moments:
    """The offset in microseconds that each value has: that of the last change whose edge is at or below it."""
    before = changes[0].before if changes else offset_at(datetime(max(first_year, 2), 1, 1, tzinfo=UTC), zone)
    offsets = np.array([before, *(turn.after for turn in changes)], dtype=np.int64) * MICROSECONDS
    found: Any = offsets[np.searchsorted(np.array(edges, dtype=np.int64), values, side="right")]
    return np.asarray(found, dtype=np.int64)


def _year(moment_us: int) -> int:
    return (EPOCH + timedelta(microseconds=moment_us)).year


def _us(length: timedelta) -> int:
    return length // timedelta(microseconds=1)
