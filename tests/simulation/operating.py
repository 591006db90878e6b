"""A provider's half year in a vault: files every day, some of them late or wrong, a canary every night, warrants every
week, an order to preserve now and then, services that end, customers who ask, two changes of policy, a clock that is
wrong, nights that are missed, a root key that is changed, a vault that is lost and put back; and the nightly expiry.

Everything is drawn from one seed. After each night the vault is held against the oracle.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import cycle
from pathlib import Path
from random import Random

from tests.simulation import proofs, upsets
from tests.simulation.book import Call
from tests.simulation.cost import Cost
from tests.simulation.desk import Desk
from tests.simulation.mirror import Mirror, found_house, open_mirror
from tests.simulation.nights import Night, night_of, stored
from tests.simulation.rules import Rules
from tests.simulation.upsets import Copy
from trafficvault import checkpoints, expire
from trafficvault.expire import Expiry
from trafficvault.rights_rules import ACCESS, COMPLAIN, ERASE, OBJECT, PORT, RECTIFY, RESTRICT, WITHDRAW

START = datetime(2027, 9, 15, 23, 30, tzinfo=UTC)
"""Half an hour past midnight in Amsterdam's winter; 200 days from here clocks change twice and a leap day ends."""
RULES = Rules(binding="P3M", roaming_notice="P2M", step="P7D")
DAY, WEEK = timedelta(days=1), 7
SLEEP = 9
"""For so many days nobody is there, once: longer than the vault lets its clock go on."""
CELL = "204-99-0001-0007"
CUSTOMERS = tuple((f"+316{number:08d}", f"S-{number}") for number in range(12_000_001, 12_000_013))
FEEDS = (("native_csv", "telephony"), ("native_csv", "mobile_usage"), ("mvno_pipe", "mobile_usage"))
LATE = (DAY, DAY, DAY, DAY, 3 * DAY, 12 * DAY, 45 * DAY)
"""How old the oldest record of a file may be: most are of the day, some come late, a few after their term."""
ASKED = (ACCESS, RECTIFY, RESTRICT, ERASE, PORT, OBJECT, "lift", ERASE, COMPLAIN, WITHDRAW)
"""What customers ask, one after the other. The first erasure is of a customer who is restricted."""
REFUSED = {OBJECT: "other-basis", COMPLAIN: "not-upheld"}
SHORTER, LONGER, RESTORED = "policies adopted by two persons, shorter", "policies entered, longer", "vaults put back"
WITHDRAWN, REPLACED, REREAD = "batches withdrawn", "batches replaced", "batches read again"
JUMPED, ABSENT, MISSED = "wrong clocks", "absences of many nights", "expiries missed"
LETTERS = {SHORTER: "P", LONGER: "P", RESTORED: "R", WITHDRAWN: "W", REPLACED: "W", JUMPED: "J", ABSENT: "N"}
"""The acts that the plot marks."""
TOLD = (*LETTERS, REREAD, "root keys changed", "holds", "holds extended", "holds released")
"""The acts that the report tells with their dates."""


@dataclass
class Run:
    """What a run was, and everything that the vault and the oracle disagreed about."""

    seed: int
    zone: str = RULES.zone
    nights: list[Night] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    certificates: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    checked: Counter[str] = field(default_factory=Counter)
    events: list[tuple[date, str]] = field(default_factory=list)
    cost: Cost = field(default_factory=Cost)
    disagreements: list[str] = field(default_factory=list)


class Operator:
    """Who runs the vault below `directory`."""

    def __init__(self, directory: Path, seed: int, zone: str = RULES.zone) -> None:
        rules = RULES.changed(zone=zone)
        self._random = Random(seed)
        self.run = Run(seed, zone)
        found_house(directory, rules, START - DAY)
        self.mirror: Mirror = open_mirror(directory, rules, START)
        self._desk = Desk(self.mirror)
        self._asked = cycle(ASKED)
        self._asks = self._random.choice(CUSTOMERS)[0]
        self._made: list[Call] = []
        self._held: str | None = None
        self._copy: Copy | None = None
        self._is_quiet = True
        """Whether the next expiry takes what came due since the one of the night before, and nothing else."""

    def work(self, days: int) -> Run:
        """Lives through so many days."""
        sleeps = range(days * 6 // 10, days * 6 // 10 + SLEEP) if days > SLEEP * 10 else range(0)
        for day in range(days):
            if day in sleeps:
                continue
            self._take_in(day)
            self._answer(day)
            self._manage(day, days)
            self._correct(day)
            self._hold(day)
            self._serve(day)
            if day + 1 in sleeps:
                self._wake(day)
            else:
                self.mirror.go_on(DAY)
                self._end_the_day(day)
        self._note(self.mirror.verified(), "verifications of everything")
        self._close()
        self.run.told = self.mirror.told
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
        with self.run.cost.of("a file taken in"):
            told = self.mirror.deliver(calls, feed, bad)
        self._note(told, "receipts")
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
        with self.run.cost.of("warrants answered, each", len(self.mirror.orders)):
            told = self.mirror.answers()
        self._note(told, "answers to warrants", len(self.mirror.orders))
        self._did("warrants answered", len(self.mirror.orders))

    def _manage(self, day: int, days: int) -> None:
        mirror = self.mirror
        if day == days * 9 // 20:
            self._note(mirror.rule(mirror.book.rules.changed(where="P7D", telephony="P1M")), "policies")
            self._did(SHORTER)
            self._is_quiet = False
        if day == days * 13 // 20:
            self._note(mirror.rule(mirror.book.rules.changed(where="P14D", telephony="P2M")), "policies")
            self._did(LONGER)
        if day == days * 7 // 20:
            upsets.rotate(mirror)
            self._did("root keys changed")
        if day % 7 == 4:
            with self.run.cost.of("compaction"):
                mirror.compact()
            self._did("compactions")

    def _correct(self, day: int) -> None:
        """A batch was wrong: it goes, another takes its place, or it is read again."""
        mirror, recent = self.mirror, self.mirror.batches[-12:]
        if day % 60 == 20:
            self._note(mirror.withdraw(self._random.choice(recent)), "rewritten batches")
            self._did(WITHDRAWN)
        if day % 45 == 12:
            batch = self._random.choice(recent)
            calls = [*mirror.sent[batch][0][1:], *self._calls("telephony", 1, 2)]
            self._note(mirror.replace(batch, calls), "rewritten batches")
            self._did(REPLACED)
        if day % 35 == 27:
            self._note(mirror.reread(self._random.choice(mirror.rereadable())), "rewritten batches")
            self._did(REREAD)

    def _hold(self, day: int) -> None:
        mirror, phase = self.mirror, day % 50
        if phase == 8:
            number = self._random.choice(CUSTOMERS)[0]
            self._held = mirror.order([number], hold_for=25)
            mirror.order([number], supplements=self._held)
            self._did("holds")
        if self._held is not None and phase == 20 and day > 100:
            mirror.extend(self._held, 20)
            self._did("holds extended")
        if self._held is not None and phase == 25 and 50 < day < 100:
            mirror.release(self._held)
            self._did("holds released")
        if phase in (15, 22, 30, 45) and mirror.orders:
            self._ask()
        if phase == 46:
            mirror.orders.clear()

    def _serve(self, day: int) -> None:
        """Services end, and customers ask."""
        if day % 30 == 17:
            self.mirror.end_service(self._random.choice(CUSTOMERS)[1])
            self._did("services ended by two persons")
        if day % 30 == 3:
            told = [name for _, name in self._random.sample(CUSTOMERS, 2)]
            self.mirror.tell_ends(told, take_back=True)
            self._did("services ended by a file")
            self._did("ends taken back")
        if day % 6 != 5:
            return
        right = next(self._asked)
        if right == ACCESS:
            self._asks = self._random.choice(CUSTOMERS)[0]
        if right == "lift":
            self._note(self._desk.lift(self._asks), "customers' requests")
        elif right in REFUSED and day % 12 == 5:
            self._note(self._desk.refuse(right, self._asks, REFUSED[right]), "customers' requests")
        else:
            self._note(self._desk.grant(right, self._asks), "customers' requests")
        self._did(f"customers' requests: {right}")

    # --- the end of the day -------------------------------------------------------------------------------------------

    def _end_the_day(self, day: int) -> None:
        if day % 50 == 47:
            with self.run.cost.of("backup"):
                self._copy = upsets.back_up(self.mirror)
            self._did("backups")
        if day % 40 == 30:
            self._note(upsets.jump(self.mirror, 30 * DAY if day % 80 == 30 else -2 * DAY), "clocks")
            self._did(JUMPED)
        runs: list[Expiry] = []
        if self._random.random() < 0.04:
            self._did(MISSED)
            self._note(proofs.stated(self.mirror, just_expired=False), "statements")
        else:
            runs.append(self._expire())
        if day % 50 == 49 and self._copy is not None:
            # No hold binds in these days: what one kept since the backup would be lost with the vault directory.
            done, told = upsets.lose(self.mirror, self._copy, with_log=day % 100 == 49)
            runs.append(done)
            self._note(told, "restores")
            self._did(RESTORED)
            self._is_quiet = False
        self._reckon(day, runs)

    def _expire(self) -> Expiry:
        self._note(self.mirror.planned(), "plans of what is due")
        with self.run.cost.of("expiry"):
            done = expire.expire(self.mirror.vault)
        self._note(self.mirror.expired(done, [])[1], "expiries: certificates, their due moments, keys left")
        self._did("expiries")
        return done

    def _wake(self, day: int) -> None:
        done, told = upsets.wake(self.mirror, (SLEEP + 1) * DAY)
        self._note(told, "clocks")
        self._did(ABSENT)
        self._did("clocks accepted by an operator")
        self._is_quiet = False
        self._reckon(day + SLEEP, [done])

    def _reckon(self, day: int, runs: Sequence[Expiry]) -> None:
        mirror, issued = self.mirror, [one for done in runs for one in done.certificates]
        self.run.certificates.update(str(one["what"]) for one in issued)
        if runs:
            self._note(proofs.inventoried(mirror), "places of ended days")
            self._note(proofs.stated(mirror, just_expired=True), "statements")
        kept, told = stored(mirror)
        self._note(told, "numbers of records by kind", len(kept))
        ordinary = bool(runs) and self._is_quiet
        self.run.nights.append(night_of(mirror, kept, issued, expired=bool(runs), ordinary=ordinary))
        self._is_quiet = bool(runs)
        if day % 25 == 24:
            with self.run.cost.of("verification of everything"):
                told = mirror.verified()
            self._note(told, "verifications of everything")
        with self.run.cost.of("canary"):
            told = mirror.sing()
        self._note(told, "canaries")
        with self.run.cost.of("checkpoint"):
            checkpoints.make(mirror.vault)

    def _close(self) -> None:
        """Every certificate is checked as an outsider would, who has the public key and a checkpoint."""
        number, told = proofs.attested(self.mirror)
        self._note(told, "certificates, by an outsider with a checkpoint", number)

    def _did(self, what: str, times: int = 1) -> None:
        self.run.done[what] += times
        if what in TOLD:
            self.run.events.append((self.mirror.now.date(), what))

    def _note(self, told: Sequence[str], check: str, times: int = 1) -> None:
        self.run.disagreements += told
        self.run.checked[check] += times
