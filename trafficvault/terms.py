"""Terms: how long something is kept, as data, and in the words of the privacy statement.

A term is a period, or lasts until an event (end of service) with a period after it and a cap. A term also carries what
had lapsed before it ruled: a longer term gives nothing back that an earlier one had begun to end.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from trafficvault.errors import UsageError
from trafficvault.period import Period

EVENTS = ("end_of_service",)
NOTHING = Period()
_EVENT_WORDS = {"nl": {"end_of_service": "einde dienst"}, "en": {"end_of_service": "end of service"}}


@dataclass(frozen=True, slots=True)
class Words:
    """A text in Dutch and in English."""

    nl: str
    en: str

    def in_(self, language: str) -> str:
        """The text in `language`."""
        return self.nl if language == "nl" else self.en


@dataclass(frozen=True, slots=True)
class Lapse:
    """That every UTC day up to `last_day` stays under an earlier, shorter term: `lasts`, on the calendar of `zone`.

    `last_day` is the last of which a record had reached that term when the longer one took effect.
    """

    lasts: Period
    zone: str
    last_day: date


@dataclass(frozen=True, slots=True)
class Term:
    """How long: a `period`, or `until` an event, `after` it a further period, and never longer than `cap`."""

    period: Period | None = None
    until: str | None = None
    after: Period = NOTHING
    cap: Period | None = None
    lapses: tuple[Lapse, ...] = ()

    @property
    def ends(self) -> bool:
        """Whether it ends by itself; an event term without a cap does not, and covers no class."""
        return self.period is not None or self.cap is not None

    @property
    def lasts(self) -> Period:
        """The period that a record is kept, from its anchor. Raises `UsageError` for a term that has no end."""
        found = self.period or self.cap
        if found is None:
            raise UsageError(f"reading term {self}: it has no end; give it a cap")
        return found

    def words(self, language: str, *, interval: bool = False) -> str:
        """The term as the privacy statement says it. A cap of `interval` data counts from their last report."""
        if self.until is None:
            return self.lasts.words(language)
        event = _EVENT_WORDS[language][self.until]
        wait = "" if self.after == NOTHING else self.after.words(language)
        if language == "nl":
            text = f"tot {wait} na {event}" if wait else f"tot {event}"
            most, since = ", ten hoogste ", " na de laatste melding"
        else:
            text = f"until {wait} after {event}" if wait else f"until {event}"
            most, since = ", at most ", " after the last report"
        return text if self.cap is None else f"{text}{most}{self.cap.words(language)}{since if interval else ''}"

    def __str__(self) -> str:
        """The term in one line, for certificates: `P6M`, or `until end_of_service, after P0D, cap P6M`."""
        if self.until is None:
            return str(self.period)
        return f"until {self.until}, after {self.after}" + ("" if self.cap is None else f", cap {self.cap}")
