"""An ISO 8601 duration, in its two natures: calendar (years, months, weeks, days) and clock (hours, minutes, seconds).

`P1D` is the same local time on the next date, which may be 23 or 25 hours away; `PT24H` is 24 hours. Months are added
before days, a day that the month lacks becomes the month's last, and the clock part is added last, as elapsed time.
Fractions, signs and the week form mixed with others are refused (ISO 8601-1:2019 §5.5.2 knows no such mixture).
"""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from trafficvault.errors import UsageError
from trafficvault.zones import to_utc, zone_of

LANGUAGES = ("nl", "en")
MOST_YEARS = 100
"""Longer terms are not terms: they are refused, which also keeps every sum within the calendar."""

_FORM = re.compile(
    r"P(?:(?P<weeks>[0-9]{1,6})W|(?:(?P<years>[0-9]{1,6})Y)?(?:(?P<months>[0-9]{1,6})M)?(?:(?P<days>[0-9]{1,6})D)?"
    r"(?:T(?:(?P<hours>[0-9]{1,9})H)?(?:(?P<minutes>[0-9]{1,9})M)?(?:(?P<seconds>[0-9]{1,10})S)?)?)"
)
_MEAN_MONTH_DAYS = 30.436875  # 400 Gregorian years have 146,097 days and 4,800 months
_SPREAD = timedelta(days=6)  # months differ from their mean by less than 4 days, a zone's offset by less than 2
_WORDS: dict[str, tuple[tuple[str, str], ...]] = {
    "nl": (
        ("jaar", "jaar"),
        ("maand", "maanden"),
        ("dag", "dagen"),
        ("uur", "uur"),
        ("minuut", "minuten"),
        ("seconde", "seconden"),
    ),
    "en": (
        ("year", "years"),
        ("month", "months"),
        ("day", "days"),
        ("hour", "hours"),
        ("minute", "minutes"),
        ("second", "seconds"),
    ),
}
_AND = {"nl": " en ", "en": " and "}


@dataclass(frozen=True, slots=True)
class Period:
    """`months` and `days` of the calendar, then `seconds` of elapsed time; none is negative."""

    months: int = 0
    days: int = 0
    seconds: int = 0

    @classmethod
    def parse(cls, text: str) -> Period:
        """The period that `text` writes. Raises `UsageError` for any other text and for more than `MOST_YEARS`."""
        match = _FORM.fullmatch(text)
        if match is None or text.endswith("T") or not any(match.groupdict().values()):
            raise UsageError(f"reading period {text[:40]!r}: it is not an ISO 8601 duration such as P6M, P7D or PT72H")
        part = {name: int(digits or 0) for name, digits in match.groupdict().items()}
        found = cls(
            part["years"] * 12 + part["months"],
            part["weeks"] * 7 + part["days"],
            (part["hours"] * 60 + part["minutes"]) * 60 + part["seconds"],
        )
        if found.nominal > timedelta(days=366 * MOST_YEARS):
            raise UsageError(f"reading period {text!r}: it is longer than {MOST_YEARS} years")
        return found

    def __str__(self) -> str:
        """The shortest ISO 8601 form; `parse` gives an equal period back."""
        day = "".join(f"{count}{unit}" for count, unit in zip(self._parts[:3], "YMD", strict=True) if count)
        clock = "".join(f"{count}{unit}" for count, unit in zip(self._parts[3:], "HMS", strict=True) if count)
        return f"P{day}" + (f"T{clock}" if clock else "") if day or clock else "P0D"

    def words(self, language: str) -> str:
        """The period in Dutch (`nl`) or English (`en`): `6 maanden`, `1 year and 6 months`."""
        words = [
            f"{count} {one if count == 1 else many}"
            for count, (one, many) in zip(self._parts, _WORDS[language], strict=True)
            if count
        ]
        if not words:
            return f"0 {_WORDS[language][2][1]}"
        return _AND[language].join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)

    def delta(self) -> timedelta:
        """The period as elapsed time, a day as 24 hours. Raises `UsageError` for months: they have no one length."""
        if self.months:
            raise UsageError(f"reading period {self}: write it in days or hours, months have no one length")
        return timedelta(days=self.days, seconds=self.seconds)

    def after(self, moment: datetime, zone: str) -> datetime:
        """The moment, in UTC, this period after the aware `moment` by the wall clock of `zone`."""
        end = moment.astimezone(UTC)
        if self.is_calendar:
            local = moment.astimezone(zone_of(zone)).replace(tzinfo=None, fold=0)
            end = to_utc(datetime.combine(self.shift(local.date()), local.time()), zone)
        return end + timedelta(seconds=self.seconds)

    def shift(self, day: date) -> date:
        """The date this period's months and days after `day`, clamped to the end of a shorter month."""
        years, month = divmod(day.month - 1 + self.months, 12)
        year = day.year + years
        clamped = min(day.day, monthrange(year, month + 1)[1])
        return date(year, month + 1, clamped) + timedelta(days=self.days)

    def covers(self, other: Period) -> bool:
        """Whether this period, from whatever moment, never ends before `other` does. Two periods may both not."""
        same = self.months >= other.months and self.days >= other.days and self.seconds >= other.seconds
        return same or self.least >= other.most

    @property
    def is_calendar(self) -> bool:
        """Whether it has months or days, so that the zone matters."""
        return bool(self.months or self.days)

    @property
    def nominal(self) -> timedelta:
        """Its length with mean months and days of 24 hours: for ordering, never for deciding."""
        return timedelta(days=self.months * _MEAN_MONTH_DAYS + self.days, seconds=self.seconds)

    @property
    def least(self) -> timedelta:
        """A time that it never falls short of, in any zone from any moment."""
        return self.nominal - _SPREAD if self.is_calendar else self.nominal

    @property
    def most(self) -> timedelta:
        """A time that it never exceeds, in any zone from any moment."""
        return self.nominal + _SPREAD if self.is_calendar else self.nominal

    @property
    def _parts(self) -> tuple[int, int, int, int, int, int]:
        years, months = divmod(self.months, 12)
        minutes, seconds = divmod(self.seconds, 60)
        hours, minutes = divmod(minutes, 60)
        return years, months, self.days, hours, minutes, seconds
