"""What happens to a vault from outside: a clock that is wrong, nights that nobody was there, a vault directory that is
lost and put back from its backup, a root key that is changed.
"""

from __future__ import annotations

import copy
import shutil
from dataclasses import dataclass
from datetime import timedelta

from tests.simulation import proofs
from tests.simulation.book import Book
from tests.simulation.mirror import Asked, Mirror
from tests.support import PASSWORD, STAFF, signed_in
from trafficvault import app, backup, confirming, expire, people, proposals, rotation
from trafficvault.catalogue import Transaction
from trafficvault.clock import SetClock
from trafficvault.durable import Disk
from trafficvault.errors import DecisionError
from trafficvault.expire import Expiry
from trafficvault.people import Person
from trafficvault.provider import from_environment
from trafficvault.restore import restore


@dataclass(frozen=True)
class Copy:
    """A vault as it was backed up: the oracle of then, and what was known of it."""

    book: Book
    batches: list[str]
    orders: dict[str, Asked]


def jump(mirror: Mirror, step: timedelta) -> list[str]:
    """The clock is wrong by `step`, and an expiry begins: nothing may end by it. Then the clock is right again."""
    told = _refused(mirror, step)
    mirror.go_on(-step)
    return told


def wake(mirror: Mirror, step: timedelta) -> tuple[Expiry, list[str]]:
    """Nobody was there for `step`, longer than the vault lets its clock go on: it ends nothing, until Otto says that
    the clock is right.
    """
    told = _refused(mirror, step)
    told += [*mirror.planned(), *proofs.stated(mirror, just_expired=False)]
    otto = signed_in(mirror.vault, "otto")
    done, more = mirror.expired(expire.expire(mirror.vault, otto), [])
    return done, told + more


def _refused(mirror: Mirror, step: timedelta) -> list[str]:
    mirror.go_on(step)
    try:
        expire.expire(mirror.vault)
    except DecisionError:
        return mirror.keys()
    return [f"{mirror.at()}: an expiry believed a clock that went on by {step}"]


def rotate(mirror: Mirror) -> None:
    """Ada gives the vault another root key."""
    rotation.rotate(mirror.vault, signed_in(mirror.vault, "ada"), from_environment)


def back_up(mirror: Mirror) -> Copy:
    """The vault directory is backed up, and the oracle copied."""
    backup.backup(mirror.vault, mirror.directory / "backup")
    return Copy(copy.deepcopy(mirror.book), list(mirror.batches), dict(mirror.orders))


def lose(mirror: Mirror, before: Copy, *, with_log: bool) -> tuple[Expiry, list[str]]:
    """The vault directory is lost and put back; of it only its audit log survived, or not even that: then nobody but
    Ada may act until she says so, and no warrant runs until two persons do. What had ended ends again.
    """
    layout, now = mirror.vault.layout, mirror.now
    mirror.vault.catalogue.close()
    lost = mirror.directory / "lost"
    layout.vault.rename(lost)
    log = lost / layout.audit.relative_to(layout.vault) if with_log else None
    told = restore(mirror.directory / "backup", layout, Disk(), SetClock(now), from_environment, _ada, log)
    shutil.rmtree(lost)
    mirror.vault = app.open_vault(layout, Disk(), SetClock(now), writer=True)
    wanted = [] if with_log else sorted(STAFF)
    wrong = [] if sorted(told.suspended) == wanted else [f"{mirror.at()}: a restore suspended {told.suspended}"]
    for name in told.suspended:
        app.confirm_person(mirror.vault, name, (signed_in(mirror.vault, "ada"),))
    if told.docket_to_confirm == with_log:
        wrong.append(f"{mirror.at()}: a restore left the docket {'un' * with_log}confirmed")
    if told.docket_to_confirm:
        made = confirming.propose(mirror.vault, signed_in(mirror.vault, "olga"))
        found = proposals.approve(mirror.vault, signed_in(mirror.vault, "piet"), made.proposal_id)
        confirming.carry_out(mirror.vault, signed_in(mirror.vault, "piet"), found)
    again = mirror.book.put_back(before.book)
    mirror.batches, mirror.orders = before.batches, before.orders
    done, more = mirror.expired(expire.expire(mirror.vault), [], again)
    return done, wrong + more


def _ada(tx: Transaction) -> tuple[Person, ...]:
    return (people.authenticate(tx, "ada", PASSWORD),)
