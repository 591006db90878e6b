"""Outlook: which days of a warrant's windows are past their term, and which will be before its deadline.

Pure, and about days only: it looks at no record, so that it can be told before anything is registered or opened. A day
is past its term when every record that may be of it is; `trafficvault.retention` says when one is.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby

from trafficvault import retention, wording
from trafficvault.terms import Term

_DAY = timedelta(days=1)
_INSTANT = timedelta(microseconds=1)


def sentences(
    record_class: str,
    windows: Iterable[tuple[datetime, datetime]],
    term: Term | None,
    zone: str,
    now: datetime,
    deadline: datetime | None,
    category: str | None = None,
) -> list[str]:
    """What of `record_class` in `windows` can't be answered at `now`, or can't be any more at `deadline`.

    With `category`, the same of that category, whose `term` is a shorter one. Days that are still to come are left
    out. `term` is None where the policy keeps none of the class.
    """
    what = f"class {record_class}" if category is None else f"{category} of class {record_class}"
    if term is None:
        return [f"{what}: the policy keeps none"]
    days = sorted({day for start, end in windows for day in days_of(start, min(end, now))})
    gone_before = first_living(term, zone, now)
    gone = [day for day in days if day < gone_before]
    told = []
    if gone:
        told.append(f"{what}: {_runs(gone)} past the term ({term.words('en')}) and can't be answered")
    if deadline is not None and deadline > now:
        going_before = first_living(term, zone, deadline)
        if going := [day for day in days if gone_before <= day < going_before]:
            first = retention.expires_at(datetime.combine(going[0], time(), UTC), term, zone)
            soonest = wording.moment(max(first, now), zone)
            told.append(
                f"{what}: {_runs(going)} expiring before the deadline, the first from {soonest} on; run it before"
            )
    if days and not gone:
        told.append(f"{what}: every day of the windows is within the term ({term.words('en')})")
    return told


def first_living(term: Term, zone: str, now: datetime) -> date:
    """The first UTC day that may still have a record within `term` at `now`."""
    day = (now.astimezone(UTC) - term.lasts.most).date() - _DAY
    while retention.expires_at(datetime.combine(day + _DAY, time(), UTC) - _INSTANT, term, zone) <= now:
        day += _DAY
    return day


def days_of(start: datetime, end: datetime) -> list[date]:
    """The UTC days that [start, end) touches; none when it is empty."""
    if end <= start:
        return []
    first, last = start.astimezone(UTC).date(), (end.astimezone(UTC) - _INSTANT).date()
    return [first + _DAY * step for step in range((last - first).days + 1)]


def _runs(days: list[date]) -> str:
    """`2026-05-01 to 2026-05-03 and 2026-06-01 (4 days) are`, for sorted days."""
    runs = []
    for _, group in groupby(enumerate(days), key=lambda item: item[1].toordinal() - item[0]):
        run = [day for _, day in group]
        runs.append(run[0].isoformat() if len(run) == 1 else f"{run[0].isoformat()} to {run[-1].isoformat()}")
    listed = runs[0] if len(runs) == 1 else f"{', '.join(runs[:-1])} and {runs[-1]}"
    return f"{listed} ({len(days)} day{'s' if len(days) != 1 else ''}) {'is' if len(days) == 1 else 'are'}"
