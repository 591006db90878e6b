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
carry the last end over midnight, and then it waits for the next: a day more. Records of a day that would outlive them
by more than `LATEST` leave it before it dies (`trimming`), at `leaves`.

A category with a shorter term than its record has moments of its own, by the same rules: its day key dies first, and
the day dies later without it; where its key would outlive the first records' part of it, these lose that before. A term
that is longer than an earlier version's gives nothing back: days of which that one had begun to end a record stay under
it (`Lapse`).

Callers: `receive` and questions use `expired_mask`, `expire` and `status` use `plan` and `due`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from ingest.record import CATEGORIES, FRAME, WHEN
from trafficvault.layout import LEFTOVERS
from trafficvault.period import Period
from trafficvault.policy import Policy
from trafficvault.terms import Lapse, Term
from trafficvault.zones import EPOCH, MICROSECONDS, Turn, microseconds, next_day_start, offset_at, turns, zone_of

KINDS: Final = ("records", *LEFTOVERS)
"""What has a term: a partition's records; rejections, held batches and kept files that came on one day."""

LATEST: Final = timedelta(hours=48)
"""Nothing is kept longer past its own term."""

_DAY, _HOUR = timedelta(days=1), timedelta(hours=1)
_DAY_US = 86_400 * MICROSECONDS
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()

_Moments = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Partition:
    """One thing that has a term: its kind, the class it dies with, the UTC day it counts from, and its state.

    `categories` are those whose keys were not destroyed before; of these, `going` are those whose end began.
    """

    record_class: str
    day: date
    kind: str = "records"
    state: str = "live"
    categories: tuple[str, ...] = CATEGORIES
    going: tuple[str, ...] = ()
    keep: Period | None = None
    """Of kept files: how long at most; None: as the policy says."""
    oldest: tuple[tuple[str, date], ...] = ()
    """Of kept files: of each class in them, the earliest day that a record is of."""


@dataclass(frozen=True, slots=True)
class Item:
    """What is to become of one partition, or of some categories of it: `action` is expire or keep. `due` is None where
    no rule gives a date, `promised` where nothing but `due` says by when it is to be gone.
    """

    record_class: str
    day: date
    kind: str
    due: datetime | None
    action: str
    reason: str
    categories: tuple[str, ...] = CATEGORIES
    promised: datetime | None = None

    @property
    def ends_day(self) -> bool:
        """Whether nothing of the partition is left afterwards: `frame`, without which no file opens, dies last."""
        return FRAME in self.categories


def expires_at(anchor: datetime, term: Term, zone: str) -> datetime:
    """The moment, in UTC, at which a record anchored at the aware `anchor` has reached `term`."""
    ends = [term.lasts.after(anchor, zone)]
    if term.lapses:
        ends += [lapse.lasts.after(anchor, lapse.zone) for lapse in _over(anchor.astimezone(UTC).date(), term)]
    return min(ends)


def due(day: date, term: Term, zone: str) -> datetime:
    """The first local midnight of `zone` at or after the moment every record of the UTC `day` has reached `term`."""
    return min([_due(day, term.lasts, zone), *(_due(day, lapse.lasts, lapse.zone) for lapse in _over(day, term))])


def promised(day: date, term: Term, zone: str) -> datetime | None:
    """By when the whole UTC `day` is to be gone: `LATEST` after the term of its first record, and an hour at least, in
    which a run comes, after it is due. None of a day that its first records leave by themselves.
    """
    if leaves(day, term, zone) is not None:
        return None
    return max(begins(day, term, zone) + LATEST, due(day, term, zone) + _HOUR)


def is_due(day: date, term: Term, zone: str, now: datetime) -> bool:
    """Whether a partition of the UTC `day` is to be deleted at `now`."""
    return due(day, term, zone) <= now


def begins(day: date, term: Term, zone: str) -> datetime:
    """The first moment at which a record that can be of the UTC `day` has reached `term`."""
    return min([_begins(day, term.lasts, zone), *(_begins(day, lapse.lasts, lapse.zone) for lapse in _over(day, term))])


def has_begun(day: date, term: Term, zone: str, now: datetime) -> bool:
    """Whether a record that can be of the UTC `day` has reached `term` at `now`, as `begins` has it. Of a day that is
    far from it the calendar is not asked: a question looks at half a year of them.
    """
    start = datetime.combine(day, time(), UTC)
    least = min([term.lasts.least, *(lapse.lasts.least for lapse in _over(day, term))])
    return now - start >= least and begins(day, term, zone) <= now


def leaves(day: date, term: Term, zone: str) -> datetime | None:
    """When the records of the UTC `day` that it would outlive by more than `LATEST` leave it by themselves: a day after
    the first of them has reached `term`, by when all of that local date have. None of a day that does not outlive them.
    """
    first = begins(day, term, zone)
    return first + _DAY if due(day, term, zone) - first > LATEST else None


def ended(day: date, record_class: str, policy: Policy, now: datetime) -> frozenset[str]:
    """The categories of `record_class` that are due at `now`, of a UTC `day` that itself may live on."""
    terms = {category: policy.require_term(record_class, category) for category in policy.early(record_class)}
    return frozenset(category for category, term in terms.items() if is_due(day, term, policy.zone, now))


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
    gone = _gone(moments, term.lasts, zone, microseconds(now))
    for lapse in term.lapses:
        under = moments < (lapse.last_day.toordinal() - _EPOCH_ORDINAL + 1) * _DAY_US
        gone |= under & _gone(moments, lapse.lasts, lapse.zone, microseconds(now))
    return pl.Series(anchors.name, gone, dtype=pl.Boolean)


def _gone(moments: _Moments, period: Period, zone: str, now: int) -> npt.NDArray[np.bool_]:
    # Far from the edge the term's bounds decide; near it, its exact end does.
    gone: npt.NDArray[np.bool_] = moments <= now - _us(period.most)
    near = ~gone & (moments <= now - _us(period.least))
    if near.any():
        gone[near] = _expiries(moments[near], period, zone) <= now
    return gone


def plan(partitions: Iterable[Partition], policy: Policy, now: datetime) -> list[Item]:
    """What is due at `now` and what is kept, with a reason each, sorted by kind, class and day; tombstones have none.

    Of records, categories that end before their day are items of their own, as long as the day itself is not due.
    Rejections and held batches count from the day they came, as a partition does from its day, and die with the
    shortest term of their class: they hold every category in one piece; nor can records leave them, so that they go as
    a whole at `leaves`. Kept files do not wait for their day to be over: they go when the first of them was kept for
    long enough, and never after their oldest record has reached its term. One whose expiry
    began is due whatever the policy says by now: its keys may be gone already. One whose class no entry covers any
    longer is kept: that a line was lost from a file must not delete anything.
    """
    living = [part for part in partitions if part.state != "tombstone"]
    living.sort(key=lambda part: (KINDS.index(part.kind), part.record_class, part.day))
    return [item for part in living for item in _items(part, policy, now)]


def kept_together(part: Partition, rows: Iterable[Mapping[str, Any]]) -> Partition:
    """The kept files that came on one day, as `rows` of the catalogue tell them: they die together, as soon as the
    first of them may no longer stay.
    """
    rows = list(rows)
    keeps = [Period.parse(row["keep"]) for row in rows if row.get("keep") is not None]
    oldest: dict[str, date] = {}
    for name, text in (one for row in rows for one in _oldest(part, row)):
        day = date.fromisoformat(text)
        oldest[name] = min(day, oldest.get(name, day))
    keep = min(keeps, key=lambda period: period.nominal, default=None)
    return replace(part, keep=keep, oldest=tuple(sorted(oldest.items())))


def _oldest(part: Partition, row: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Class and earliest day of the records of a kept file; of one of before these were told by class, as if all were
    of the class that it dies with.
    """
    if row.get("oldest_of") is not None:
        by_class: dict[str, str] = json.loads(row["oldest_of"])
        return by_class.items()
    return [] if row.get("oldest") is None else [(part.record_class, row["oldest"])]


def _items(part: Partition, policy: Policy, now: datetime) -> list[Item]:
    if part.kind == "raw":
        return [_kept_file(part, policy, now)]
    whole = _item(part, part.categories, policy, now)
    if part.kind != "records" or whole.action == "expire":
        return [whole]
    early = [category for category in policy.early(part.record_class) if category in part.categories]
    apart = [(category,) for category in dict.fromkeys([*part.going, *early])]
    items = [_item(part, categories, policy, now) for categories in apart]
    items = [item for item in items if item.action == "expire" or item.due != whole.due]
    left = tuple(name for name in part.categories if not any(name in item.categories for item in items))
    return [*items, _item(part, left, policy, now)] if items else [whole]


def _kept_file(part: Partition, policy: Policy, now: datetime) -> Item:
    """What is to become of the files that came on one day: no record rests on them, so they may go early."""
    what, zone = _what(part), policy.zone
    keep = policy.keep_raw if part.keep is None else part.keep
    until = begins(part.day, Term(period=keep), zone)
    rule = f"they may be kept for {keep} from the day they came"
    for record_class, day in ((part.record_class, part.day), *part.oldest):
        term = policy.term_of(record_class, policy.shortest_of(record_class))
        ends = None if term is None else begins(day, term, zone)
        if ends is not None and ends < until:
            until = ends
            rule = f"a record of theirs may have reached its term, of {record_class}, which is kept {term}"
    place = (part.record_class, part.day, part.kind)
    if part.state == "expiring":
        why = f"an earlier run began to expire {what} and did not finish; it is finished first"
        return Item(*place, until, "expire", why)
    action, verb = ("expire", "were due at") if until <= now else ("keep", "are kept until")
    why = f"{what} {verb} {_local(until, zone)} and it is {_local(now, zone)} ({zone}): {rule}"
    return Item(*place, until, action, why)


def _item(part: Partition, categories: tuple[str, ...], policy: Policy, now: datetime) -> Item:
    ruling = _ruling(part, categories, policy)
    entry = policy.entry_of(part.record_class, ruling)
    term = policy.term_of(part.record_class, ruling)
    until = None if term is None else due(part.day, term, policy.zone)
    if term is not None and part.kind != "records":
        # What came on one day in one piece can't lose a part of it; no record rests on it, so that it may go early.
        until = leaves(part.day, term, policy.zone) or until
    what = _what(part, categories)
    place = (part.record_class, part.day, part.kind)
    if part.state == "expiring" or set(categories) <= set(part.going):
        why = f"an earlier run began to expire {what} and did not finish; it is finished first"
        by = None if term is None else promised(part.day, term, policy.zone)
        return Item(*place, until, "expire", why, categories, by)
    if entry is None or until is None:
        why = f"{what} are kept: no entry of the policy covers {part.record_class}; add one, so that they end"
        return Item(*place, None, "keep", why, categories)
    action = "expire" if until <= now else "keep"
    rule = f"entry {entry.id!r} keeps {part.record_class if ruling == WHEN else f'{ruling} of {part.record_class}'}"
    why = _reason(part, what, rule, entry.term, until, policy.zone, now)
    return Item(*place, until, action, why, categories, None if term is None else promised(part.day, term, policy.zone))


def _ruling(part: Partition, categories: tuple[str, ...], policy: Policy) -> str:
    """The category whose term decides."""
    if part.kind != "records":
        return policy.shortest_of(part.record_class)
    return WHEN if FRAME in categories else categories[0]


def _what(part: Partition, categories: tuple[str, ...] = CATEGORIES) -> str:
    if part.kind == "records":
        named = "" if FRAME in categories else f"{' and '.join(categories)} of "
        return f"{named}{part.record_class} records of {part.day}"
    name = {"rejections": "rejections", "held": "held batches", "raw": "kept files"}[part.kind]
    return f"{name} of {part.day} (which die with {part.record_class})"


def _reason(part: Partition, what: str, rule: str, term: Term, until: datetime, zone: str, now: datetime) -> str:
    rule += f" for {term.lasts.words('en')}"
    if term.until is not None:
        rule += f", the cap of its term until {term.until}"
    since = "" if part.kind == "records" else ", counted from the day they came"
    ended, today = _local(until, zone), _local(now, zone)
    if until <= now:
        return f"{what} were due at {ended} and it is {today} ({zone}): {rule}{since}"
    return f"{what} are kept until {ended} and it is {today} ({zone}): {rule}{since}"


def _local(moment: datetime, zone: str) -> str:
    return moment.astimezone(zone_of(zone)).strftime("%Y-%m-%d %H:%M")


def _over(day: date, term: Term) -> list[Lapse]:
    """The earlier terms that the UTC `day` stays under."""
    return [lapse for lapse in term.lapses if day <= lapse.last_day]


@lru_cache(maxsize=8192)
def _due(day: date, period: Period, zone: str) -> datetime:
    """On a piece of the day without an edge the end grows with the anchor, so the latest end is at a piece's end."""
    _, last, edges = _pieces(day, period, zone)
    ends = _expiries(np.array([edge - 1 for edge in edges] + [last], dtype=np.int64), period, zone)
    return next_day_start(EPOCH + timedelta(microseconds=int(ends.max())), zone)


@lru_cache(maxsize=8192)
def _begins(day: date, period: Period, zone: str) -> datetime:
    """For the same reason the earliest end is at the begin of a piece."""
    first, _, edges = _pieces(day, period, zone)
    ends = _expiries(np.array([first, *edges], dtype=np.int64), period, zone)
    return EPOCH + timedelta(microseconds=int(ends.min()))


def _pieces(day: date, period: Period, zone: str) -> tuple[int, int, list[int]]:
    """First and last microsecond of the UTC `day`, and the edges between."""
    first = (day.toordinal() - _EPOCH_ORDINAL) * _DAY_US
    last = first + _DAY_US - 1
    return first, last, [edge for edge in _edges(day, period, zone) if first < edge <= last]


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
