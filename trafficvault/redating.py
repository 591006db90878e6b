"""The demonstration's files on another day: every date in them moved, so that each record is as old as it was.

The bundled files tell of six months that end on 20 November 2026, so read later they hold ever less, and at last only
what has expired. Here the whole moves to a given day. It is no plain shift, since months differ in length and a term
ends at an hour of its day: what had reached its term lands on a day that ended yesterday, what lives longest on a day
that ends tomorrow, and the rest keeps its distance from today. So it does not matter at which hour the files are read.

A clock on the wall keeps its reading (a call at 09:30 stays one), and the offset that is written beside it follows the
zone's. Called by `demo`; pure.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, timezone

from trafficvault.period import Period
from trafficvault.zones import zone_of

TOLD = date(2026, 11, 20)
"""The day on which the bundled files tell their story."""
ZONE = "Europe/Amsterdam"
"""The zone of their local times, and that of the preset `telecom`."""

_TERM = Period(months=6)  # of the preset `telecom`, for every class that the files bring but bindings
_ENDED, _LIVING = date(2026, 5, 20), date(2026, 5, 21)  # the last that has reached it on TOLD, the first that has not
_MOMENT = re.compile(
    r"(?P<day>20\d\d-\d\d-\d\d)(?P<between>[ T])(?P<clock>\d\d:\d\d:\d\d)(?P<offset>[+-]\d\d:\d\d)?"
    r"|(?P<digits>2026\d{4})(?P<hms>\d{6})(?:(?P<fields>\|[^\n]*\|)(?P<shift>[+-]\d{4})(?=\|))?"
    r"|\b(?P<epoch>17\d{8})\b"
)


def redated(content: bytes, today: date) -> bytes:
    """A bundled file as it would be had its story been told on `today`; nothing but times differs."""
    zone = zone_of(ZONE)
    ages = [today - timedelta(days) for days in range(200)]
    ended = next(day for day in ages if _TERM.shift(day) < today)
    living = next(day for day in reversed(ages) if _TERM.shift(day) > today)

    def moved(day: date) -> date:
        if day <= _ENDED:
            return ended + (day - _ENDED)
        return living if day == _LIVING else today + (day - TOLD)

    def local(day: date, clock: time) -> datetime:
        # Of a reading that the night of a change leaves out, the later moment is the one past the gap.
        folds = (clock.replace(fold=fold) for fold in (0, clock.fold))
        return max(datetime.combine(day, reading, zone).astimezone(UTC) for reading in folds).astimezone(zone)

    def written(found: re.Match[str]) -> str:
        if found["epoch"]:
            old = datetime.fromtimestamp(int(found["epoch"]), zone)
            return str(int(local(moved(old.date()), old.time()).timestamp()))
        old = datetime.fromisoformat(f"{found['day'] or found['digits']}T{found['clock'] or found['hms']}")
        new = local(moved(old.date()), old.time())
        if offset := found["offset"] or found["shift"]:
            # Not always the zone's own: abroad it is another, that changes on the same night.
            change = _offset(new) - _offset(local(old.date(), old.time()))
            new = new.replace(tzinfo=timezone(_offset(datetime.strptime(offset, "%z")) + change))
        if found["digits"]:
            return f"{new:%Y%m%d%H%M%S}" + (f"{found['fields']}{new:%z}" if offset else "")
        return new.isoformat(found["between"]) if offset else f"{new:%Y-%m-%d}{found['between']}{new:%H:%M:%S}"

    # Latin-1 gives every byte back, whatever the file's own encoding.
    return _MOMENT.sub(written, content.decode("latin-1")).encode("latin-1")


def _offset(moment: datetime) -> timedelta:
    """How far the aware `moment` is ahead of UTC."""
    return moment.replace(tzinfo=UTC) - moment
