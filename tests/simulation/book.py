"""The oracle: a dict of days with the records that a vault must still have, and the keys that its ring must hold.

It is told what was done to the vault, and does the same by the plainest means: records in lists, one moment at a time,
no file, no key, no catalogue.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from tests.simulation import wall
from tests.simulation.rules import RECORD, SERVED, WHERE, Rules

CATEGORIES = ("who", "where", "when", "how_much", "frame")
DAY = timedelta(days=1)
Place = tuple[str, date]
Answer = dict[tuple[str, str, str], str | None]
"""Of each record that is answered, by class, record id and batch: its location, if it is told."""


@dataclass(frozen=True)
class Call:
    """One record, whatever its class: what of it the simulation knows."""

    record_class: str
    name: str
    start: datetime
    number: str
    subscriber: str
    cell: str | None = None

    @property
    def place(self) -> Place:
        """The partition it belongs to."""
        return self.record_class, self.start.astimezone(UTC).date()


@dataclass
class Stored:
    """A record in a day: the batch it came with, and whether what tells where it was (a cell, or the time zone alone)
    is stored."""

    call: Call
    batch: str
    located: bool

    @property
    def key(self) -> tuple[str, str, str]:
        """What an answer tells it by."""
        return self.call.record_class, self.call.name, self.batch


@dataclass
class Day:
    """One partition: its records, the generation of its keys, and whether its location or all of it is gone."""

    rows: list[Stored] = field(default_factory=list)
    generation: int = 1
    located: bool = True
    alive: bool = True
    trimmed: dict[str, datetime] = field(default_factory=dict)


@dataclass
class Ended:
    """The end of a service; `until` then nothing goes by it, where a file told it."""

    subscriber: str
    at: datetime
    until: datetime | None = None


@dataclass
class Held:
    """One hold: whose records it keeps and between which moments; what it has carved, and whether it has a key."""

    numbers: frozenset[str]
    since: datetime
    until: datetime
    released: bool = False
    has_key: bool = False
    kept: Answer = field(default_factory=dict)

    def binds(self, now: datetime) -> bool:
        """Whether it keeps anything at `now`."""
        return now < self.until and not self.released

    def may_have_a_key(self, now: datetime) -> bool:
        """Whether it may have one without having kept a record: it binds, or its end waits for other keys to die."""
        return now < self.until + DAY


@dataclass(frozen=True)
class Statement:
    """What a customer said of their own records, of those that had begun when it was said."""

    number: str
    at: datetime


@dataclass(frozen=True)
class Counts:
    """What a receipt must say."""

    stored: int = 0
    duplicate: int = 0
    expired: int = 0


class Book:
    """The days of a vault under `rules`."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self._since: datetime | None = None
        self.days: dict[Place, Day] = {}
        self.endings: list[Ended] = []
        self.holds: dict[str, Held] = {}
        self.statements: list[Statement] = []
        self.ended: list[tuple[Place, str, datetime]] = []
        """What the last expiry had to end: days, or the location in them, and since when they were due."""
        self.earlier: list[tuple[Rules, datetime]] = []
        """Rules that ruled before, and the moment at which each stopped."""

    # --- terms --------------------------------------------------------------------------------------------------------

    def expires(self, call: Call, what: str = RECORD, as_of: datetime | None = None) -> datetime:
        """When a record, or the location in it, reaches its term: by the rules of today, or those of that moment."""
        lengths = self._lengths(call.place, what, as_of)
        return min(wall.after(call.start, length, self.rules.zone) for length in lengths)

    def due(self, place: Place, what: str = RECORD) -> datetime:
        """When a day, or the location in it, is to be destroyed."""
        return min(wall.due(place[1], length, self.rules.zone) for length in self._lengths(place, what))

    def _begins(self, place: Place, what: str) -> datetime:
        """When the first record that can be of a day, or the location in it, has reached its term."""
        zone = self.rules.zone
        return min(wall.ends_of(place[1], length, zone)[0] for length in self._lengths(place, what))

    def _lengths(self, place: Place, what: str, as_of: datetime | None = None) -> list[str]:
        """The length of then, and every earlier one that had begun to end the day when it stopped ruling.

        A location never outlasts its record.
        """
        kinds = {what, RECORD} if place[0] == "mobile_usage" else {RECORD}
        found = [self._ruling(as_of).length(place[0], kind) for kind in kinds]
        for rules, stopped in self.earlier:
            for kind in kinds if as_of is None or stopped <= as_of else ():
                length = rules.length(place[0], kind)
                if wall.ends_of(place[1], length, rules.zone)[0] <= stopped:
                    found.append(length)
        return found

    def _ruling(self, as_of: datetime | None) -> Rules:
        later = [rules for rules, stopped in self.earlier if as_of is not None and as_of < stopped]
        return later[0] if later else self.rules

    def is_over(self, call: Call, now: datetime, as_of: datetime | None = None) -> bool:
        """Whether the service that the record is of ended long enough before `now`."""
        wait = self._ruling(as_of).wait
        return call.record_class in SERVED and any(
            one.subscriber == call.subscriber and call.start < one.at and self._waited(one, wait) <= now
            for one in self.endings
        )

    def _waited(self, one: Ended, wait: str) -> datetime:
        over = wall.after(one.at, wait, self.rules.zone)
        return over if one.until is None else max(over, one.until)

    # --- what is done -------------------------------------------------------------------------------------------------

    def take(self, calls: list[Call], batch: str, now: datetime) -> Counts:
        """A file of `calls` arrives."""
        stored = duplicate = expired = 0
        for call in calls:
            day = self.days.get(call.place, Day())
            if self.expires(call) <= now or self.is_over(call, now) or not day.alive:
                expired += 1
            elif any(row.call.name == call.name for row in day.rows):
                duplicate += 1
            else:
                if call.place not in self.days:
                    day.located = call.record_class != "mobile_usage" or now < self.due(call.place, WHERE)
                    self.days[call.place] = day
                day.rows.append(Stored(call, batch, day.located and now < self.expires(call, WHERE)))
                stored += 1
        return Counts(stored, duplicate, expired)

    def expire(self, now: datetime) -> int:
        """An expiry runs; returns how many certificates of records it must issue."""
        self.ended = [(place, what, self.due(place, what)) for place, what in sorted(self.plan(now))]
        for place, what, _ in self.ended:
            day = self.days[place]
            self._carve(day, now)
            if what == RECORD:
                day.alive, day.rows = False, []
            else:
                day.located = False
        issued = len(self.ended)
        for hold in self.holds.values():
            if not hold.binds(now):
                hold.has_key, hold.kept = False, {}
        return issued + self._trim(now) + self._clear(now)

    def _trim(self, now: datetime) -> int:
        """What would outlive its term by more than two days goes from the days that live: records, and locations."""
        issued = 0
        for place, day in self.days.items():
            for what in (RECORD, WHERE):
                begins, due = self._begins(place, what), self.due(place, what)
                there = day.alive if what == RECORD else day.alive and day.located and place[0] == "mobile_usage"
                if there and day.trimmed.get(what) != begins and due - begins > 2 * DAY and begins + DAY <= now < due:
                    day.trimmed[what] = begins
                    if what == RECORD:
                        issued += self._thin(day, [row for row in day.rows if now < self.expires(row.call)], now)
                    else:
                        issued += self._blank(day, [row for row in day.rows if self._is_blank(row, now)], now)
        return issued

    def _is_blank(self, row: Stored, now: datetime) -> bool:
        return row.located and self.expires(row.call, WHERE) <= now

    def _blank(self, day: Day, rows: list[Stored], now: datetime) -> int:
        if not rows:
            return 0
        self._carve(day, now)
        for row in rows:
            row.located = False
        day.generation += 1
        return 1

    def _clear(self, now: datetime) -> int:
        """The records of services that ended long enough ago go from the days that live."""
        issued = 0
        for place, day in self.days.items():
            if place[0] in SERVED and day.alive:
                issued += self._thin(day, [row for row in day.rows if not self.is_over(row.call, now)], now)
        return issued

    def withdraw(self, batch: str, now: datetime) -> int:
        """A batch leaves; returns how many certificates there must be."""
        living = [day for day in self.days.values() if day.alive]
        return sum(self._thin(day, [row for row in day.rows if row.batch != batch], now) for day in living)

    def erase(self, number: str, now: datetime) -> int:
        """A customer is forgotten where nothing requires keeping them; returns how many certificates there must be."""
        living = [day for (name, _), day in self.days.items() if day.alive and name in self.rules.erasable]
        return sum(self._thin(day, [row for row in day.rows if row.call.number != number], now) for day in living)

    def put_back(self, before: Book) -> int:
        """The vault is lost, and put back as it was `before`, beside the keys of today.

        What ended or was written anew since has no key in that state, and what came since is unknown to it. Returns
        how many certificates the next expiry must issue of what had ended. No hold may have bound in between.
        """
        again, now = 0, self.days
        for place, day in before.days.items():
            today = now[place]
            if day.alive and (not today.alive or today.generation != day.generation):
                day.alive, day.rows, again = False, [], again + 1
            elif day.alive and day.located and not today.located:
                day.located, again = False, again + 1
        self.days, self.endings, self.holds = before.days, before.endings, before.holds
        self.statements = before.statements
        return again

    def _thin(self, day: Day, left: list[Stored], now: datetime) -> int:
        if len(left) == len(day.rows):
            return 0
        self._carve(day, now)
        day.rows, day.generation = left, day.generation + 1
        return 1

    def _carve(self, day: Day, now: datetime) -> None:
        """What the holds cover of a day that is about to lose something: what was inside its term when they began."""
        for hold in self.holds.values():
            if not hold.binds(now) or not day.rows:
                continue
            hold.has_key = True
            for row in day.rows:
                if row.call.number in hold.numbers and self._was_living(row, hold):
                    located = self._was_located(day, row, hold) or hold.kept.get(row.key)
                    hold.kept[row.key] = row.call.cell if located else None

    def rule(self, rules: Rules, now: datetime) -> None:
        """Other rules rule from `now` on."""
        if self._since != now:
            # Rules that others took the place of at the very moment of their own effect have ended nothing.
            self.earlier.append((self.rules, now))
        self.rules, self._since = rules, now

    def kept_too_long(self, now: datetime) -> list[Stored]:
        """The records that are still stored two days after their term, or whose location is."""
        return [
            row
            for day in self.days.values()
            for row in day.rows
            if self.expires(row.call) + 2 * DAY < now
            or (row.located and day.located and self.expires(row.call, WHERE) + 2 * DAY < now)
        ]

    # --- what must be so ----------------------------------------------------------------------------------------------

    def answer(self, numbers: frozenset[str], now: datetime, holds: Collection[str] = ()) -> Answer:
        """What a warrant for these numbers, which goes on from `holds`, must be answered at `now`."""
        found: Answer = {
            row.key: row.call.cell if self._is_located(day, row, now) else None
            for day in self.days.values()
            for row in day.rows
            if row.call.number in numbers and self.is_living(row, now)
        }
        for hold in (self.holds[name] for name in holds):
            for key, cell in self._held(hold).items() if hold.binds(now) else ():
                found[key] = found.get(key) or cell
        return found

    def _held(self, hold: Held) -> Answer:
        """What a hold has carved, and what it covers of days that live: as it was when the hold began."""
        living = {
            row.key: row.call.cell if self._was_located(day, row, hold) else None
            for day in self.days.values()
            for row in day.rows
            if row.call.number in hold.numbers and self._was_living(row, hold)
        }
        return {key: living.get(key) or hold.kept.get(key) for key in (*living, *hold.kept)}

    def subject(self, number: str, now: datetime, *, portable: bool = False) -> Counter[tuple[object, ...]]:
        """What a customer must be given of their own records, however many holds keep them: by class, batch and start,
        with the location.
        """
        return Counter(
            (
                row.call.record_class,
                row.batch,
                row.call.start,
                row.call.cell if self._is_located(day, row, now) else None,
            )
            for (record_class, _), day in self.days.items()
            if record_class in self.rules.portable or not portable
            for row in day.rows
            if row.call.number == number and self.is_living(row, now)
        )

    def said(self, answered: Collection[tuple[str, datetime]]) -> int:
        """How many statements go with an answer of records of these numbers and starts."""
        return sum(
            any(number == one.number and start < one.at for number, start in answered) for one in self.statements
        )

    def is_living(self, row: Stored, now: datetime) -> bool:
        """Whether a record is inside its own term."""
        return now < self.expires(row.call) and not self.is_over(row.call, now)

    def _was_living(self, row: Stored, hold: Held) -> bool:
        """Whether a record was inside its term when a hold began, by the rules of then."""
        then = hold.since
        return then < self.expires(row.call, as_of=then) and not self.is_over(row.call, then, then)

    def _was_located(self, day: Day, row: Stored, hold: Held) -> bool:
        return row.located and day.located and hold.since < self.expires(row.call, WHERE, hold.since)

    def _is_located(self, day: Day, row: Stored, now: datetime) -> bool:
        return row.located and day.located and now < self.expires(row.call, WHERE)

    def keys(self) -> set[str]:
        """The keys of days and holds that the ring must hold, by id."""
        return {
            f"{place[0]}/{place[1]}/{category}" + (f"/g{day.generation}" if day.generation > 1 else "")
            for place, day in self.days.items()
            if day.alive
            for category in CATEGORIES
            if day.located or category != "where"
        } | {f"hold/{name}" for name, hold in self.holds.items() if hold.has_key}

    def plan(self, now: datetime) -> set[tuple[Place, str]]:
        """What is due at `now` and not destroyed yet: whole days, and locations of days that live on."""
        found = set()
        for place, day in self.days.items():
            if day.alive and self.due(place) <= now:
                found.add((place, RECORD))
            elif day.alive and day.located and place[0] == "mobile_usage" and self.due(place, WHERE) <= now:
                found.add((place, WHERE))
        return found
