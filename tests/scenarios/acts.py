"""The acts that are broken off at every step: what is done to which vault of `prepared.py`, and what that leaves.

Each is done as its person or the scheduler does it again after a crash: what was approved and not carried out is
carried out, and what is done already is left.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.scenarios import prepared
from tests.scenarios.prepared import DAY, House
from tests.support import NOW, ingest, layout_at, signed_in
from tests.trafficvault import short_location
from tests.trafficvault.key_choices import CHEAP, answering, choice
from tests.trafficvault.test_backup import ada
from trafficvault import (
    adoption,
    backup,
    compact,
    endings,
    escrow,
    expire,
    holding,
    intake,
    proposals,
    replacement,
    rereading,
    restore,
    rights,
    rotation,
    withdrawal,
)
from trafficvault import answering as answers
from trafficvault.clock import SetClock
from trafficvault.proposals import Proposal
from trafficvault.vault import Vault


@dataclass(frozen=True, slots=True)
class Act:
    """What is prepared below a directory, what is done at `now`, and how many records and certificates that leaves.

    `entries` is how many entries a segment of its audit log has, where that is few.
    """

    name: str
    prepare: Callable[[Path], Vault]
    do: Callable[[House], object]
    records: int
    certificates: int
    now: datetime = NOW
    entries: int | None = None


def carried_out(kind: str, act: Callable[[Vault, Proposal], object]) -> Callable[[House], object]:
    """Carries out what was approved of that kind, unless it is done."""

    def do(house: House) -> None:
        vault = house.opened()
        for one in proposals.listing(vault):
            if (one.kind, one.state) == (kind, "approved"):
                act(vault, one)
        vault.catalogue.close()

    return do


def opened_and(act: Callable[[Vault], object]) -> Callable[[House], object]:
    """Does `act` on the opened vault."""

    def do(house: House) -> None:
        vault = house.opened()
        act(vault)
        vault.catalogue.close()

    return do


def _withdraw(vault: Vault, one: Proposal) -> None:
    withdrawal.carry_out(vault, signed_in(vault, "ada"), one)


def _replace(vault: Vault, one: Proposal) -> None:
    replacement.carry_out(vault, signed_in(vault, "ada"), one)


def _reread(vault: Vault, one: Proposal) -> None:
    rereading.carry_out(vault, signed_in(vault, "ada"), one)


def _adopt(vault: Vault, one: Proposal) -> None:
    adoption.carry_out(vault, signed_in(vault, "aukje"), one)


def _release(vault: Vault, one: Proposal) -> None:
    holding.release(vault, signed_in(vault, "piet"), one.proposal_id)


def _extend(vault: Vault, one: Proposal) -> None:
    holding.extend(vault, signed_in(vault, "piet"), one.proposal_id)


def _end_service(vault: Vault) -> None:
    for one in proposals.listing(vault):
        if (one.kind, one.state) == (endings.KIND, "approved"):
            endings.enter(vault, signed_in(vault, "ada"), one)
    expire.expire(vault)


def _erase(vault: Vault) -> None:
    for request in rights.listing(vault):
        answers.answer(vault, signed_in(vault, "olga"), request.request_id)


def _rotate(vault: Vault) -> None:
    rotation.rotate(vault, signed_in(vault, "ada"), answering(), CHEAP)


def _move(vault: Vault) -> None:
    if vault.keys.provider_name != "passphrase":
        rotation.move(vault, signed_in(vault, "ada"), choice("passphrase"), answering())


def _change_passphrase(vault: Vault) -> None:
    rotation.change_passphrase(vault, signed_in(vault, "ada"), answering(), CHEAP)


def _renew_escrow(house: House) -> None:
    vault = house.opened()
    escrow.set_(vault, signed_in(vault, "ada"), house.directory / "escrow.pem", house.directory / "safe")
    expire.expire(vault)
    # What a kill left is looked at in a copy: its escrow was in the house that was copied, which is not there.
    assert all("is not there" in sentence for sentence in escrow.problems(vault))
    assert len(list((house.directory / "safe").iterdir())) == 1
    vault.catalogue.close()


def _end_escrow(house: House) -> None:
    vault = house.opened()
    escrow.set_(vault, signed_in(vault, "ada"), house.directory / "escrow.pem", house.directory / "safe")
    # As above: the place in the house that was copied is out of reach here, and of no interest.
    with vault.catalogue.reading() as tx:
        found = escrow.current(tx)
    assert found is not None
    assert all(not place.is_relative_to(house.directory) for place in found.leaves)
    escrow.end(vault, signed_in(vault, "ada"), forget=bool(found.leaves))
    assert list((house.directory / "safe").iterdir()) == []
    vault.catalogue.close()


def _back_up(house: House) -> None:
    vault = house.opened()
    target = house.directory / "backup"
    backup.backup(vault, target)
    assert backup.faults(target, vault.settings.public_key) == []
    vault.catalogue.close()


def _restore(house: House, log: Path | None = None) -> None:
    layout = layout_at(house.directory)
    whole = layout.settings.exists()
    if whole and not (house.directory / "lost").exists():
        layout.vault.rename(house.directory / "lost")
        whole = False
    if not whole:
        source = house.directory / "backup"
        restore.restore(source, layout, house.disk, SetClock(house.now), answering(), ada, log)


def _restore_with_log(house: House) -> None:
    _restore(house, house.directory / "lost" / "audit")


def _receive(house: House) -> None:
    vault = house.opened()
    ingest(vault, "mvno_pipe", (house.directory / "S4PGWM000003").read_bytes(), "S4PGWM000003")
    vault.catalogue.close()


def _accept(vault: Vault) -> None:
    for one in intake.batches(vault):
        if one.status == "held":
            intake.accept(vault, "otto", one.batch_id)


_expire = opened_and(expire.expire)
LATE = NOW + 3 * DAY

ACTS = [
    Act("withdraw", prepared.one_to_withdraw, carried_out("batch-withdraw", _withdraw), 2, 1),
    Act("withdraw-held", prepared.held_to_withdraw, carried_out("batch-withdraw", _withdraw), 6, 1),
    Act("replace", prepared.one_to_replace, carried_out("batch-replace", _replace), 5, 3),
    Act("reread", prepared.one_to_reread, carried_out("batch-reread", _reread), 4, 1),
    Act("end-service", prepared.with_service, opened_and(_end_service), 1, 3),
    Act("erase", prepared.one_to_erase, opened_and(_erase), 2, 3),
    Act("trim", prepared.of_two_months, _expire, 1, 1, datetime(2027, 8, 29, tzinfo=UTC)),
    Act("trim-location", short_location.of_two_months, _expire, 3, 1, short_location.LEAVES),
    Act("expire", prepared.old_and_held, _expire, 1, 1, LATE),
    Act("expire-ahead", prepared.old_and_held, _expire, 3, 0),
    Act("expire-all", prepared.old_and_held, _expire, 0, 5, NOW + 300 * DAY),
    Act("expire-location", short_location.new, _expire, 3, 1, short_location.GONE),
    Act("expire-raw", prepared.kept, _expire, 4, 1, NOW + 9 * DAY),
    Act("expire-registers", prepared.with_disclosure, _expire, 0, 4, NOW + 8 * 366 * DAY),
    Act("expire-log", prepared.with_log, _expire, 0, 8, NOW + 370 * DAY, 4),
    Act("hold-end", prepared.with_carves, _expire, 1, 2, NOW + 11 * DAY),
    Act("hold-again", prepared.approved_again, _expire, 1, 2, NOW + 4 * DAY),
    Act("hold-release", prepared.one_to_release, carried_out("hold-release", _release), 1, 1, LATE),
    Act("hold-extend", prepared.one_to_extend, carried_out("hold-extend", _extend), 1, 1, LATE),
    Act("rotate", prepared.filled, opened_and(_rotate), 6, 0),
    Act("move-keys", prepared.filled, opened_and(_move), 6, 0),
    Act("passphrase", prepared.under_passphrase, opened_and(_change_passphrase), 6, 0),
    Act("escrow", prepared.with_escrow_key, _renew_escrow, 1, 1, LATE),
    Act("escrow-off", prepared.with_escrow_key, _end_escrow, 3, 0),
    Act("adopt", prepared.with_shorter_policy, carried_out(adoption.KIND, _adopt), 1, 1, LATE),
    Act("backup", prepared.old_and_new, _back_up, 3, 0),
    Act("restore", prepared.to_restore, _restore, 1, 1, LATE),
    Act("restore-log", prepared.to_restore_with_log, _restore_with_log, 1, 1, LATE),
    Act("receive", prepared.delivered, _receive, 7, 0),
    Act("accept", prepared.one_held, opened_and(_accept), 9, 1),
    Act("compact", prepared.to_compact, opened_and(compact.compact), 8, 0),
]
"""Every act that destroys, carves, wraps or writes anew what is stored, and those that store it."""
BY_NAME = {act.name: act for act in ACTS}
