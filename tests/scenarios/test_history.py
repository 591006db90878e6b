"""Any history of a vault, against a dict of days: nothing is told past its term, nothing is lost before it.

`SIMULATION=long` tries many more histories, and longer ones.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.simulation import upsets
from tests.simulation.book import Call
from tests.simulation.desk import Desk
from tests.simulation.mirror import Mirror, found_house, open_mirror
from tests.simulation.rules import CLASSES, Rules
from tests.support import layout_at
from tests.thorough import LONG
from trafficvault.rights_rules import ACCESS, ERASE, PORT, RECTIFY, RESTRICT

NUMBERS = ("+31612345678", "+31687654321", "+31600000003")
FOUNDED = datetime(2026, 3, 1, tzinfo=UTC)
STARTS = st.sampled_from(
    [
        datetime.fromisoformat(f"{moment}Z")
        # Before clocks change in either direction, and before the ends of short months and of a leap year's February.
        for moment in (
            "2026-03-27T12:00",
            "2026-08-31T21:30",
            "2026-10-24T23:30",
            "2027-12-30T10:00",
            "2028-02-28T23:00",
        )
    ]
)
AGES = st.sampled_from([timedelta(minutes=10), timedelta(hours=30), timedelta(days=9), timedelta(days=29)])
STEPS = st.sampled_from(
    [timedelta(hours=1), timedelta(hours=23), timedelta(hours=25), timedelta(days=7), timedelta(days=10), timedelta(31)]
)
CALLS = st.lists(st.tuples(st.sampled_from(CLASSES), AGES, st.integers(0, 2), st.booleans()), min_size=1, max_size=3)
RULES = st.fixed_dictionaries(
    {},
    optional={
        "telephony": st.sampled_from(("P1M", "P2M", "P3M")),
        "mobile_usage": st.sampled_from(("P1M", "P2M")),
        "where": st.sampled_from(("P7D", "P10D", "P14D", "P1M")),
        "wait": st.sampled_from(("P1D", "P3D")),
    },
)


@cache
def house(zone: str) -> Path:
    """An empty vault in that zone, to be copied."""
    directory = Path(tempfile.mkdtemp(prefix="trafficvault-history-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    found_house(directory, Rules(zone=zone), FOUNDED)
    (layout_at(directory).vault / "reserve").unlink()
    return directory


class History(RuleBasedStateMachine):
    """Acts in any order; after each the vault and the oracle agree."""

    mirror: Mirror

    @initialize(zone=st.sampled_from(("Europe/Amsterdam", "America/Havana")), start=STARTS)
    def found(self, zone: str, start: datetime) -> None:
        """A vault with one warrant, which sees two of the three numbers."""
        self.directory = Path(tempfile.mkdtemp(prefix="trafficvault-history-"))
        shutil.copytree(house(zone), self.directory, dirs_exist_ok=True)
        self.mirror = open_mirror(self.directory, Rules(zone=zone), start)
        self.mirror.order(NUMBERS[:2])
        self.desk = Desk(self.mirror)
        self.delivered: list[Call] = []
        self.hold: str | None = None
        self.told: list[str] = []
        self.is_settled = True

    @rule(rows=CALLS)
    def deliver(self, rows: list[tuple[str, timedelta, int, bool]]) -> None:
        """A file of new records, some of them late."""
        made: list[Call] = []
        for record_class, age, who, located in rows:
            start = (self.mirror.now - age).replace(microsecond=0)
            cell = "204-99-0001-0007" if record_class == "mobile_usage" and located else None
            name = f"r-{len(self.delivered) + len(made)}"
            made.append(Call(record_class, name, start, NUMBERS[who], f"S-{who}", cell))
        self.delivered += made
        self.told += self.mirror.deliver(made)

    @precondition(lambda self: self.delivered)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """Records that were delivered before, whether they live or not."""
        again = data.draw(st.lists(st.sampled_from(self.delivered), min_size=1, max_size=3))
        self.told += self.mirror.deliver(again)

    @rule(step=STEPS, late=st.booleans())
    def go_on(self, step: timedelta, late: bool) -> None:
        """Time goes by; the daily expiry runs, or is missed."""
        self.mirror.go_on(step)
        if not late:
            self.told += self.mirror.expire()[1]
            self.is_settled = False

    @rule()
    def compact(self) -> None:
        """The files of each day are merged."""
        self.mirror.compact()
        self.is_settled = False

    @precondition(lambda self: self.mirror.batches)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        """A batch is taken out."""
        self.told += self.mirror.withdraw(data.draw(st.sampled_from(self.mirror.batches)))
        self.is_settled = False

    @precondition(lambda self: self.mirror.batches)
    @rule(data=st.data())
    def replace(self, data: st.DataObject) -> None:
        """A batch is taken out, and a file with what it had but for its first record takes its place."""
        batch = data.draw(st.sampled_from(self.mirror.batches))
        self.told += self.mirror.replace(batch, [*self.mirror.sent[batch][0][1:], self.one_more()])
        self.is_settled = False

    @precondition(lambda self: self.mirror.rereadable())
    @rule(data=st.data())
    def reread(self, data: st.DataObject) -> None:
        """A batch is read again."""
        self.told += self.mirror.reread(data.draw(st.sampled_from(self.mirror.rereadable())))
        self.is_settled = False

    @rule(who=st.integers(0, 2))
    def end_service(self, who: int) -> None:
        """A service ends now."""
        self.mirror.end_service(f"S-{who}")

    @rule(who=st.integers(0, 2), take_back=st.booleans())
    def tell_end(self, who: int, take_back: bool) -> None:
        """A file tells that services ended, of one of them wrongly."""
        self.mirror.tell_ends([f"S-{who}", f"S-{(who + 1) % 3}"], take_back=take_back)

    @rule(right=st.sampled_from((ACCESS, PORT, RECTIFY, RESTRICT, ERASE)), who=st.integers(0, 2))
    def ask(self, right: str, who: int) -> None:
        """A customer asks; who is restricted already is let free instead."""
        if right == RESTRICT and NUMBERS[who] in self.desk.restrictions:
            self.told += self.desk.lift(NUMBERS[who])
        else:
            self.told += self.desk.grant(right, NUMBERS[who])
        self.is_settled = self.is_settled and right != ERASE

    @precondition(
        lambda self: not any(hold.may_have_a_key(self.mirror.now) for hold in self.mirror.book.holds.values())
    )
    @rule(step=STEPS, with_log=st.booleans())
    def lose(self, step: timedelta, with_log: bool) -> None:
        """The vault directory is lost some time and an expiry after its backup, and put back."""
        before = upsets.back_up(self.mirror)
        self.mirror.go_on(step)
        self.told += self.mirror.expire()[1]
        self.told += upsets.lose(self.mirror, before, with_log=with_log)[1]
        self.is_settled = False

    @rule()
    def rotate(self) -> None:
        """The root key is changed."""
        upsets.rotate(self.mirror)

    @rule(lengths=RULES)
    def adopt(self, lengths: dict[str, str]) -> None:
        """Another policy."""
        self.told += self.mirror.rule(self.mirror.book.rules.changed(**lengths))

    @precondition(lambda self: self.hold is None)
    @rule(days=st.sampled_from((5, 40)))
    def preserve(self, days: int) -> None:
        """An order to preserve what there is of one number, and a warrant that goes on from it."""
        self.hold = self.mirror.order(NUMBERS[1:2], days)
        self.mirror.order(NUMBERS[1:], supplements=self.hold)

    @precondition(lambda self: self.is_held())
    @rule(release=st.booleans())
    def end_hold(self, release: bool) -> None:
        """It is let go of, or goes on for longer."""
        assert self.hold is not None
        if release:
            self.mirror.release(self.hold)
        else:
            self.mirror.extend(self.hold, 60)

    @invariant()
    def agree(self) -> None:
        """The ring holds the right keys, what is due is planned, and each warrant sees what it must."""
        mirror = self.mirror
        told = [*self.told, *mirror.keys(), *mirror.planned(), *mirror.answers()]
        if not self.is_settled:
            self.is_settled = True
            told += mirror.verified()
        assert told == []

    def one_more(self) -> Call:
        """A new record of a minute ago."""
        start = (self.mirror.now - timedelta(minutes=1)).replace(microsecond=0)
        self.delivered.append(Call("telephony", f"r-{len(self.delivered)}", start, NUMBERS[0], "S-0"))
        return self.delivered[-1]

    def is_held(self) -> bool:
        """Whether there is a hold that binds."""
        return self.hold is not None and self.mirror.book.holds[self.hold].binds(self.mirror.now)

    def teardown(self) -> None:
        """The vault goes."""
        if hasattr(self, "directory"):
            self.mirror.vault.catalogue.close()
            shutil.rmtree(self.directory)


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.timeout(7200 if LONG else 300)
def test_a_vault_agrees_with_a_dict_of_days() -> None:
    """After each act of any history, what a warrant is told, what is due and which keys there are is as it must be."""
    run_state_machine_as_test(
        History, settings=settings(max_examples=200 if LONG else 5, stateful_step_count=40 if LONG else 12)
    )
