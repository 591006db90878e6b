"""A provider's half year in a vault: files every night, warrants every week, an order to preserve now and then, a batch
that was wrong, services that end, two changes of policy, and the nightly expiry, now and then missed.

Everything is drawn from one seed. After each night the vault is held against the oracle.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from tests.simulation.book import Call
from tests.simulation.mirror import Mirror, found_house, open_mirror
from tests.simulation.rules import Rules
from trafficvault.expire import Expiry

START = datetime(2026, 9, 15, 23, 30, tzinfo=UTC)
"""Half an hour past midnight in Amsterdam's winter; 200 days from here clocks change twice and a February ends."""
RULES = Rules(binding="P3M", roaming_notice="P2M")
DAY, WEEK = timedelta(days=1), 7
CELL = "204-99-0001-0007"
CUSTOMERS = tuple((f"+316{number:08d}", f"S-{number}") for number in range(12_000_001, 12_000_013))
FEEDS = (("native_csv", "telephony"), ("native_csv", "mobile_usage"), ("mvno_pipe", "mobile_usage"))
LATE = (DAY, DAY, DAY, DAY, 3 * DAY, 12 * DAY, 45 * DAY)
"""How old the oldest record of a file may be: most are of the day, some come late, a few after their term."""


@dataclass(frozen=True)
class Night:
    """One day's end: the records the vault holds, those the oracle does, and those inside their own term."""

    day: int
    kept: int
    due_to_keep: int
    inside_term: int
    expired: int
    latest_seconds: int


@dataclass
class Run:
    """What a run was, and everything that the vault and the oracle disagreed about."""

    seed: int
    nights: list[Night] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    certificates: Counter[str] = field(default_factory=Counter)
    disagreements: list[str] = field(default_factory=list)


class Operator:
    """Who runs the vault below `directory`."""

    def __init__(self, directory: Path, seed: int) -> None:
        self._random = Random(seed)
        self.run = Run(seed)
        found_house(directory, RULES, START - DAY)
        self.mirror: Mirror = open_mirror(directory, RULES, START)
        self._made: list[Call] = []
        self._held: str | None = None

    def work(self, days: int) -> Run:
        """Lives through so many days."""
        for day in range(days):
            self._take_in(day)
            self._answer(day)
            self._manage(day, days)
            self._hold(day)
            self.mirror.go_on(DAY)
            self._end_the_day(day)
        self._note(self.mirror.verified())
        return self.run

    # --- what is done in a day ----------------------------------------------------------------------------------------

    def _take_in(self, day: int) -> None:
        for feed, record_class in FEEDS:
            self._deliver(feed, self._calls(record_class, 2, 6, located=feed != "mvno_pipe"))
        if day % 3 == 0:
            self._deliver("native_ndjson", self._calls("binding", 1, 3) + self._calls("roaming_notice", 1, 3))
        if day % 10 == 9:
            # What the source sends twice: of all ages, alive or not.
            self._deliver("native_csv", self._random.sample([call for call in self._made if call.cell], 5))

    def _deliver(self, feed: str, calls: Sequence[Call]) -> None:
        bad = int(self._random.random() < 0.05)
        self._note(self.mirror.deliver(calls, feed, bad))
        self.run.done.update({"files": 1, "records delivered": len(calls), "bad rows": bad})

    def _calls(self, record_class: str, least: int, most: int, *, located: bool = False) -> list[Call]:
        made: list[Call] = []
        oldest = self._random.choice(LATE)
        for _ in range(self._random.randint(least, most)):
            number, subscriber = self._random.choice(CUSTOMERS)
            start = self.mirror.now - oldest * self._random.random()
            name = f"r-{len(self._made) + len(made)}"
            cell = CELL if located and record_class == "mobile_usage" else None
            made.append(Call(record_class, name, start.replace(microsecond=0), number, subscriber, cell))
        self._made += made
        return made

    def _answer(self, day: int) -> None:
        if day % WEEK != 3:
            return
        numbers = [number for number, _ in self._random.sample(CUSTOMERS, 3)]
        order = self.mirror.order(numbers)
        self._ask()
        del self.mirror.orders[order]

    def _ask(self) -> None:
        self._note(self.mirror.answers())
        self.run.done["questions answered"] += len(self.mirror.orders)

    def _manage(self, day: int, days: int) -> None:
        mirror = self.mirror
        if day == days * 3 // 10:
            self._note(mirror.withdraw(self._random.choice(mirror.batches[-20:])))
            self.run.done["batches withdrawn"] += 1
        if day % 30 == 17:
            mirror.end_service(self._random.choice(CUSTOMERS)[1])
            self.run.done["services ended"] += 1
        if day == days * 9 // 20:
            self._note(mirror.rule(mirror.book.rules.changed(where="P7D", telephony="P1M")))
            self.run.done["policies adopted"] += 1
        if day == days * 13 // 20:
            self._note(mirror.rule(mirror.book.rules.changed(where="P14D", telephony="P2M")))
            self.run.done["policies adopted"] += 1
        if day % 7 == 4:
            mirror.compact()
            self.run.done["compactions"] += 1

    def _hold(self, day: int) -> None:
        mirror, phase = self.mirror, day % 50
        if phase == 8:
            number = self._random.choice(CUSTOMERS)[0]
            self._held = mirror.order([number], hold_for=25)
            mirror.order([number], supplements=self._held)
            self.run.done["holds"] += 1
        if self._held is not None and phase == 20 and day > 100:
            mirror.extend(self._held, 20)
        if self._held is not None and phase == 25 and 50 < day < 100:
            mirror.release(self._held)
        if phase in (15, 22, 30, 45) and mirror.orders:
            self._ask()
        if phase == 49:
            mirror.orders.clear()

    # --- the end of the day -------------------------------------------------------------------------------------------

    def _end_the_day(self, day: int) -> None:
        mirror = self.mirror
        done: Expiry | None = None
        if self._random.random() < 0.04:
            self.run.done["expiries missed"] += 1
        else:
            done, told = mirror.expire()
            self._note(told)
            self.run.done["expiries"] += 1
        issued = done.certificates if done else ()
        self.run.certificates.update(str(one["what"]) for one in issued)
        kept, told = mirror.stored()
        self._note(told)
        book = mirror.book
        rows = [row for one in book.days.values() for row in one.rows]
        inside = sum(book.is_living(row, mirror.now) for row in rows)
        latest = max([0, *(int(one.get("lateness_seconds", 0)) for one in issued)])
        self.run.nights.append(Night(day, kept, len(rows), inside, len(issued), latest))
        if day % 25 == 24:
            self._note(mirror.verified())
            self.run.done["verifications"] += 1

    def _note(self, told: Sequence[str]) -> None:
        self.run.disagreements += told
