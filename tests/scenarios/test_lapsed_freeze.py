"""A freeze that is over gives nothing back: what it kept is told to nobody and goes, also when its order is approved
before an expiry came to that, or while one does.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from tests.scenarios.test_holding import HOLD, answered, filled, until
from tests.support import Order, Usage, ingest, layout_at, opened, signed_in, usage
from trafficvault import app, carving, docket, expire, holds, locks, sealing, verify, withdrawal
from trafficvault import proposals as papers
from trafficvault.clock import SetClock
from trafficvault.durable import Disk
from trafficvault.errors import FaultError
from trafficvault.layout import hold_key_id
from trafficvault.vault import Vault

HOUR = timedelta(hours=1)
NIGHT = timedelta(days=1)
DYING = timedelta(days=173)
"""When the first of the vault's days has died, and another dies each night."""
LATER = Usage(at="20261118130000")
"""A record that lives when the order is approved."""


class Meanwhile(Disk):
    """Does `act` once, behind the `at`-th commit, as another process would."""

    def __init__(self, at: int, act: Callable[[], object]) -> None:
        self.left, self.act = at, act

    def step(self, name: str) -> None:
        """One step further."""
        if name == "after commit":
            self.left -= 1
            if self.left == 0:
                self.act()


def frozen(directory: Path) -> tuple[Vault, str]:
    """A vault whose first days died while an order was checked, and the id of that order, whose freeze is over since an
    hour.
    """
    vault = filled(directory)
    ingest(vault, "mvno_pipe", usage([LATER]), "S4PGWM000002")
    vault = until(vault, DYING - 2 * NIGHT)
    hold = docket.register(vault, signed_in(vault, "olga"), HOLD.toml())
    vault = until(vault, DYING)
    vault = opened(vault, holds.load(vault, hold).until + HOUR)
    assert carved(vault, hold) == ["2026-11-11"]
    return vault, hold


def approve(vault: Vault, hold: str) -> None:
    """An approver approves the order."""
    docket.approve(vault, signed_in(vault, "piet"), hold)


def carved(vault: Vault, hold: str) -> list[str]:
    """The days of which records lie there for a hold."""
    with vault.catalogue.reading() as tx:
        return sorted(row["day"] for row in tx.select(carving.TABLE, hold=hold) if row["rows"])


def kept(vault: Vault, hold: str, directory: Path) -> int:
    """How many records a warrant gets that goes on from `hold`, when all days have died."""
    vault = until(vault, timedelta(days=183))
    return answered(vault, Order(reference="PV-2026-000309", supplements=hold), directory / "kept")


@pytest.mark.slow
def test_what_a_freeze_kept_is_not_answered_by_an_approval_after_it(tmp_path: Path) -> None:
    """It had reached its term when the order began to bind. The next expiry removes it, and its key: an old copy opens
    with none of today's. What lives then is held.
    """
    vault, hold = frozen(tmp_path)
    shutil.copytree(vault.layout.holds, tmp_path / "copy")
    approve(vault, hold)
    assert answered(vault, Order(reference="PV-2026-000301", supplements=hold), tmp_path / "held") == 1
    assert verify.verify(vault).faults == ()
    vault = opened(vault, vault.clock.now() + NIGHT)
    expire.expire(vault)
    assert carved(vault, hold) == ["2026-11-18"]
    assert verify.verify(vault).faults == ()
    for path in sorted((tmp_path / "copy").rglob("*.sealed")):
        with pytest.raises(FaultError):
            sealing.unseal_file(vault.keys.custody("hold").key(hold_key_id(hold)), path, f"hold {hold} {path.stem}")
    assert kept(vault, hold, tmp_path) == 1


@pytest.mark.slow
def test_a_reader_of_what_lapsed_is_told(tmp_path: Path) -> None:
    """Its keys go first, and nothing else may be due: the run says all the same that a lease had not ended."""
    vault, hold = frozen(tmp_path)
    vault = opened(vault, vault.clock.now() - 2 * HOUR)
    expire.expire(vault)
    vault = opened(vault, vault.clock.now() + 2 * HOUR)
    approve(vault, hold)
    text = vault.layout.settings.read_text()
    vault.layout.settings.write_text(text.replace("lease_seconds = 60", "lease_seconds = 0"))
    vault = opened(vault)
    with locks.reading(vault.layout):
        done = expire.expire(vault)
    assert done.items == ()
    assert not done.leases_ended
    assert [body["leases_ended"] for body in done.certificates] == [False]


@pytest.mark.slow
def test_what_lapsed_goes_beside_what_the_order_keeps(tmp_path: Path) -> None:
    """A withdrawal carved for the order before the next expiry: that removes what lapsed, and leaves this its key."""
    vault, hold = frozen(tmp_path)
    approve(vault, hold)
    with vault.catalogue.reading() as tx:
        last = max(tx.select("batches"), key=lambda row: str(row["received_at"]) + str(row["first_day"]))
    made = withdrawal.propose(vault, signed_in(vault, "otto"), last["id"], "the wrong file")
    ada = signed_in(vault, "ada")
    withdrawal.carry_out(vault, ada, papers.approve(vault, ada, made.proposal_id))
    assert carved(vault, hold) == ["2026-11-11", "2026-11-18"]
    vault = opened(vault, vault.clock.now() + NIGHT)
    expire.expire(vault)
    assert carved(vault, hold) == ["2026-11-18"]
    with vault.catalogue.reading() as tx:
        stay = {vault.layout.carve_file(hold, row["id"]) for row in tx.select(carving.TABLE)}
    assert {*vault.layout.holds.rglob("*.sealed")} == stay
    assert verify.verify(vault).faults == ()
    assert kept(vault, hold, tmp_path) == 1


@pytest.mark.slow
@pytest.mark.parametrize("commit", range(1, 6))
def test_an_approval_during_an_expiry_is_not_ended_by_it(tmp_path: Path, commit: int) -> None:
    """The expiry had found its freeze over, and destroys what that kept, and nothing else: the order binds."""
    vault, hold = frozen(tmp_path)
    now = vault.clock.now() + NIGHT
    other = opened(vault, now)
    disk = Meanwhile(commit, lambda: approve(other, hold))
    vault.catalogue.close()
    house = app.open_vault(layout_at(tmp_path), disk, SetClock(now), writer=True)
    expire.expire(house)
    assert disk.left <= 0
    other.catalogue.close()
    assert holds.load(house, hold).state == "active"
    assert verify.verify(house).faults == ()
    assert kept(house, hold, tmp_path) == 1
