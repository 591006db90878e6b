"""The oracle: a dict of days with the records that a vault must still have, and the keys that its ring must hold.

It is told what was done to the vault, and does the same by the plainest means: records in lists, one moment at a time,
no file, no key, no catalogue.
"""

from __future__ import annotations

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
    """The end of a service."""

    subscriber: str
    at: datetime


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
        self.earlier: list[tuple[Rules, datetime]] = []
        """Rules that ruled before, and the moment at which each stopped."""

    # --- terms --------------------------------------------------------------------------------------------------------

    def expires(self, call: Call, what: str = RECORD) -> datetime:
        """When a record, or the location in it, has reached its term."""
        lengths = self._lengths(call.place, what)
        return min(wall.after(call.start, length, self.rules.zone) for length in lengths)

    def due(self, place: Place, what: str = RECORD) -> datetime:
        """When a day, or the location in it, is to be destroyed."""
        return min(wall.due(place[1], length, self.rules.zone) for length in self._lengths(place, what))

    def _begins(self, place: Place, what: str) -> datetime:
        """When the first record that can be of a day, or the location in it, has reached its term."""
        zone = self.rules.zone
        return min(wall.ends_of(place[1], length, zone)[0] for length in self._lengths(place, what))

    def _lengths(self, place: Place, what: str) -> list[str]:
        """The length of today, and every earlier one that had begun to end the day when it stopped ruling.

        A location never outlasts its record.
        """
        kinds = {what, RECORD} if place[0] == "mobile_usage" else {RECORD}
        found = [self.rules.length(place[0], kind) for kind in kinds]
        for rules, stopped in self.earlier:
            for kind in kinds:
                length = rules.length(place[0], kind)
                if wall.ends_of(place[1], length, rules.zone)[0] <= stopped:
                    found.append(length)
        return found

    def is_over(self, call: Call, now: datetime) -> bool:
        """Whether the service that the record is of ended long enough ago."""
        return call.record_class in SERVED and any(
            one.subscriber == call.subscriber and call.start < one.at and self._waited(one) <= now
            for one in self.endings
        )

    def _waited(self, one: Ended) -> datetime:
        return wall.after(one.at, self.rules.wait, self.rules.zone)

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
        issued = 0
        for place, day in self.days.items():
            if day.alive and self.due(place) <= now:
                self._carve(day, now)
                day.alive, day.rows = False, []
                issued += 1
            elif day.alive and day.located and place[0] == "mobile_usage" and self.due(place, WHERE) <= now:
                self._carve(day, now)
                day.located = False
                issued += 1
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
                if row.call.number in hold.numbers and self.is_living(row, hold.since):
                    located = self._is_located(day, row, hold.since) or hold.kept.get(row.key)
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
            row.key: row.call.cell if self._is_located(day, row, hold.since) else None
            for day in self.days.values()
            for row in day.rows
            if row.call.number in hold.numbers and self.is_living(row, hold.since)
        }
        return {key: living.get(key) or hold.kept.get(key) for key in (*living, *hold.kept)}

    def is_living(self, row: Stored, now: datetime) -> bool:
        """Whether a record is inside its own term."""
        return now < self.expires(row.call) and not self.is_over(row.call, now)

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
