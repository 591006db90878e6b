"""Acts of forgetting that broke off at a step, by a crash or for want of space: the next run does the rest, exactly.

One night has everything to do at once: a day that dies, a location that dies before its call, a hold that keeps its
rows of both, two holds that are over, a service that ended, a month's end that is trimmed. It is stopped at steps of
every kind, run again, and held against the oracle, which was told of one run. `SIMULATION=long` takes every step.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.scenarios.test_crash import child
from tests.simulation import nights
from tests.simulation.book import Book, Call
from tests.simulation.mirror import Mirror, found_house, open_mirror
from tests.simulation.rules import Rules
from tests.support import FullDisk, layout_at, signed_in
from tests.thorough import LONG, seconds
from tests.trafficvault.test_rotation import Stopped, StoppingDisk
from trafficvault import adoption, app, expire, policies, proposals, withdrawal
from trafficvault.clock import SetClock
from trafficvault.durable import Disk
from trafficvault.errors import RefusedError, VaultError
from trafficvault.vault import Vault

SAMPLE = 10_000 if LONG else 3
HELD, OTHER = "+31612345678", "+31687654321"
CELL = "204-99-0001-0007"
FOUNDED = datetime(2027, 3, 1, 12, tzinfo=UTC)
ORDERED = datetime(2027, 3, 23, 12, tzinfo=UTC)
DUE = datetime(2027, 3, 30, 23, 30, tzinfo=UTC)
"""When the night's expiry has everything to do."""
Act = Callable[[Vault], object]


def calls(*whens: tuple[str, str]) -> list[Call]:
    """Records of both numbers of each class and moment."""
    return [
        Call(name, f"{name}-{when}-{who}", datetime.fromisoformat(f"{when}:00+00:00"), who, f"S-{who}", CELL)
        for name, when in whens
        for who in (HELD, OTHER)
    ]


@pytest.fixture(scope="module")
def week_before(tmp_path_factory: pytest.TempPathFactory) -> Mirror:
    """The vault a week before that night, with two batches, two holds and the end of a service; nobody writes to it."""
    rules, directory = Rules(telephony="P1M"), tmp_path_factory.mktemp("week-before")
    found_house(directory, rules, FOUNDED)
    mirror = open_mirror(directory, rules, FOUNDED)
    months_end = [("mobile_usage", "2027-02-28T10:00"), ("mobile_usage", "2027-02-28T23:30")]
    told = mirror.deliver(calls(("telephony", "2027-02-27T10:00"), *months_end))
    mirror.go_on(ORDERED - FOUNDED)
    told += mirror.deliver(calls(("mobile_usage", "2027-03-19T10:00"), ("binding", "2027-03-20T10:00")))
    hold = mirror.order([HELD], hold_for=60)
    mirror.order([HELD, OTHER], supplements=hold)
    mirror.order([OTHER], hold_for=7)
    told += mirror.expire()[1]
    mirror.compact()
    mirror.end_service(f"S-{HELD}")
    assert told == []
    mirror.vault.catalogue.close()
    return mirror


@pytest.fixture
def ready(week_before: Mirror, tmp_path: Path) -> Mirror:
    """A copy of it."""
    vault = copied(week_before, tmp_path / "base", Disk(), ORDERED)
    return replace(week_before, vault=vault, book=deepcopy(week_before.book), directory=tmp_path / "base")


def copied(mirror: Mirror, directory: Path, disk: Disk, now: datetime) -> Vault:
    """The vault of `mirror`, copied where it is not there yet, and opened at `now` on that disk."""
    if not directory.exists():
        for part in (mirror.vault.layout.vault, mirror.vault.layout.keys):
            shutil.copytree(part, directory / part.name, ignore=shutil.ignore_patterns("reserve"))
    return app.open_vault(layout_at(directory), disk, SetClock(now), writer=True)


def certified(vault: Vault) -> list[tuple[str, ...]]:
    """What every certificate so far is of, but for one of keys that a broken run had made and kept nothing under."""
    with vault.catalogue.reading() as tx:
        rows = [row for row in tx.select("certificates") if row["kind"] != "keys"]
    return sorted((row["kind"], str(row["record_class"]), str(row["day"])) for row in rows)


def differences(mirror: Mirror, vault: Vault, book: Book) -> list[str]:
    """What a vault, made out of that of `mirror`, and the oracle disagree about."""
    one = replace(mirror, vault=vault, book=book, directory=vault.layout.vault.parent)
    return [*one.keys(exactly=True), *one.planned(), *nights.stored(one)[1], *one.answers(), *one.verified()]


def sampled(steps: int) -> Sequence[int]:
    """Steps to stop at, from the first to the last."""
    return sorted({1, steps, *range(1, steps + 1, max(1, steps // SAMPLE))})


def steps_of(mirror: Mirror, directory: Path, act: Act) -> tuple[int, list[tuple[str, ...]]]:
    """How many steps `act` has on that night, and what is certified after it."""
    disk = StoppingDisk()
    vault = copied(mirror, directory, disk, DUE)
    act(vault)
    found = certified(vault)
    vault.catalogue.close()
    return disk.steps, found


def tried(mirror: Mirror, directory: Path, disk: Disk, act: Act) -> None:
    """Opens and does `act` on a disk that stops or is full on the way."""
    vault = None
    with pytest.raises((Stopped, OSError, VaultError)):
        vault = copied(mirror, directory, disk, DUE)
        act(vault)
    if vault is not None:
        vault.catalogue.close()


@pytest.mark.slow
@pytest.mark.timeout(seconds(1800))
@pytest.mark.parametrize("disk", [StoppingDisk, FullDisk], ids=["stopped", "full"])
def test_a_night_that_broke_off_is_finished(ready: Mirror, tmp_path: Path, disk: Callable[[int], Disk]) -> None:
    """Whatever step it was: after the next run everything is destroyed, held and certified as after one."""
    steps, expected = steps_of(ready, tmp_path / "whole", expire.expire)
    book = deepcopy(ready.book)
    assert book.expire(DUE) == 4
    for at in sampled(steps):
        broken = tmp_path / f"broken-{at}"
        if disk is FullDisk:
            # What needs no room goes on: only the steps that write something find the disk full.
            shutil.copytree(tmp_path / "base", broken)
            try:
                vault = copied(ready, broken, FullDisk(at), DUE)
                expire.expire(vault)
            except (OSError, VaultError):
                pass
        else:
            tried(ready, broken, disk(at), expire.expire)
        vault = copied(ready, broken, Disk(), DUE)
        expire.expire(vault)

        assert certified(vault) == expected, at
        assert differences(ready, vault, book) == [], at
        vault.catalogue.close()
        shutil.rmtree(broken)


@pytest.mark.slow
@pytest.mark.timeout(seconds(1800))
def test_a_night_that_was_killed_is_finished(ready: Mirror, tmp_path: Path) -> None:
    """The same with SIGKILL, which leaves no room for any clearing up."""
    steps, expected = steps_of(ready, tmp_path / "whole", expire.expire)
    book = deepcopy(ready.book)
    book.expire(DUE)
    for at in sampled(steps)[1::2]:
        broken = tmp_path / f"killed-{at}"
        copied(ready, broken, Disk(), ready.now).catalogue.close()
        (broken / "now").write_text(DUE.isoformat())
        assert child(broken, "expire", at).returncode == -signal.SIGKILL, at
        vault = copied(ready, broken, Disk(), DUE)
        expire.expire(vault)

        assert certified(vault) == expected, at
        assert differences(ready, vault, book) == [], at
        vault.catalogue.close()
        shutil.rmtree(broken)


@pytest.mark.slow
@pytest.mark.timeout(seconds(1800))
def test_a_withdrawal_that_broke_off_is_finished(ready: Mirror, tmp_path: Path) -> None:
    """Two persons' word stands: it is carried out once, whatever step it stopped at; the hold has what went."""
    ada = signed_in(ready.vault, "ada")
    batch = ready.batches[1]
    made = withdrawal.propose(ready.vault, signed_in(ready.vault, "otto"), batch, "the wrong file")
    approved = proposals.approve(ready.vault, ada, made.proposal_id)

    def act(vault: Vault) -> None:
        try:
            withdrawal.carry_out(vault, signed_in(vault, "ada"), approved)
        except RefusedError:
            assert proposals.load(vault, approved.proposal_id).state == "done"

    def night(vault: Vault) -> None:
        act(vault)
        expire.expire(vault)

    steps, _ = steps_of(ready, tmp_path / "withdrawn", act)
    _, expected = steps_of(ready, tmp_path / "whole", night)
    book = deepcopy(ready.book)
    assert book.withdraw(batch, DUE) == 2
    book.expire(DUE)
    for at in sampled(steps):
        broken = tmp_path / f"broken-{at}"
        tried(ready, broken, StoppingDisk(at), act)
        vault = copied(ready, broken, Disk(), DUE)
        night(vault)

        assert certified(vault) == expected, at
        assert differences(ready, vault, book) == [], at
        vault.catalogue.close()
        shutil.rmtree(broken)


@pytest.mark.slow
def test_an_adoption_that_broke_off_is_finished(ready: Mirror, tmp_path: Path) -> None:
    """A shorter term rules once, as one more version, or not at all until it is carried out again."""
    rules = ready.book.rules.changed(mobile_usage="P28D", where="P7D")
    ready.vault.layout.policy.write_text(rules.toml())
    ready.go_on(timedelta(0))
    made = adoption.propose(ready.vault, signed_in(ready.vault, "ada"))
    approved = proposals.approve(ready.vault, signed_in(ready.vault, "aukje"), made.proposal_id)

    def act(vault: Vault) -> None:
        if vault.shortens:
            adoption.carry_out(vault, signed_in(vault, "aukje"), approved)

    steps, _ = steps_of(ready, tmp_path / "whole", act)
    for at in range(1, steps + 1):
        broken = tmp_path / f"broken-{at}"
        tried(ready, broken, StoppingDisk(at), act)
        act(copied(ready, broken, Disk(), DUE))
        vault = copied(ready, broken, Disk(), DUE)
        with vault.catalogue.reading() as tx:
            assert [version.number for version in policies.versions(tx)] == [1, 2], at
        assert str(vault.policy.require_term("mobile_usage")) == "P28D"
        assert vault.shortens == ()
        shutil.rmtree(broken)
