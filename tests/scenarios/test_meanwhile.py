"""An order that comes while records are being removed: what lived when it was registered is kept for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios.test_holding import HOLD, answered, filled
from tests.scenarios.test_lapsed_freeze import Meanwhile, approve
from tests.support import Order, approved, layout_at, opened, signed_in
from trafficvault import app, docket, proposals, verify, withdrawal
from trafficvault.clock import SetClock

SECOND = Order(reference="PV-2026-000400", hold_for="P60D", legal_basis="126ni Sv")


@pytest.mark.slow
@pytest.mark.parametrize("commit", [1, 2, 3])
def test_an_order_that_comes_while_a_batch_is_withdrawn_has_its_records(tmp_path: Path, commit: int) -> None:
    """Behind whichever commit it is registered before the rows go: the first hold's carve of each of the three days."""
    vault = filled(tmp_path)
    first = approved(vault, HOLD)
    with vault.catalogue.reading() as tx:
        (batch,) = tx.select("batches")
    made = withdrawal.propose(vault, signed_in(vault, "otto"), batch["id"], "wrong column")
    agreed = proposals.approve(vault, signed_in(vault, "ada"), made.proposal_id)
    other, now = opened(vault), vault.clock.now()
    came: list[str] = []
    disk = Meanwhile(commit, lambda: came.append(docket.register(other, signed_in(other, "olga"), SECOND.toml())))
    vault.catalogue.close()
    house = app.open_vault(layout_at(tmp_path), disk, SetClock(now), writer=True)
    withdrawal.carry_out(house, signed_in(house, "ada"), agreed)
    approve(house, came[0])
    other.catalogue.close()
    for name, hold in (("first", first), ("second", came[0])):
        order = Order(reference=f"PV-2026-{name}", supplements=hold)
        assert answered(house, order, tmp_path / name) == 3, name
    assert verify.verify(house).faults == ()
