"""A clock that was set back makes no hold longer, and gives none what had expired."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.scenarios.test_holding import HOLD, filled, until
from tests.support import NOW, Order, Usage, answer, approved, ingest, new_vault, opened, signed_in, usage
from trafficvault import disclose, expire, holding, holds
from trafficvault.vault import Vault


def believed(vault: Vault, moment: datetime) -> Vault:
    """The vault after an entry of the log at `moment`, which it believes."""
    vault = opened(vault, moment)
    with vault.catalogue.transaction() as tx:
        vault.audit.enter(tx, "verify", None, {})
    vault.audit.flush()
    return vault


def test_a_hold_that_was_over_is_over(tmp_path: Path) -> None:
    """What it kept is given to no warrant, although its key still lives, and the clock says that it binds."""
    vault = until(filled(tmp_path), timedelta(days=170))
    hold = approved(vault, HOLD)
    vault = until(vault, timedelta(days=259))
    order = approved(vault, Order(reference="PV-2026-000400", supplements=hold))
    for number, moment in enumerate((259, 261)):
        vault = believed(vault, NOW + timedelta(days=moment))
        back = opened(vault, NOW + timedelta(days=259))
        found = disclose.run(back, signed_in(back, "olga"), order, tmp_path / f"answer-{number}")
        assert found.records == (0 if number else 3)
    assert [one.hold_id for one in holding.over(back)] == [hold]
    assert holds.load(back, hold).state == "active"


def test_a_freeze_does_not_begin_before_what_is_believed(tmp_path: Path) -> None:
    """A warrant that is registered at a clock before the end of a term, and after it, gets nothing of that record."""
    vault = new_vault(tmp_path)
    ingest(vault, "mvno_pipe", usage([Usage(at="20261110120000")]), "S4PGWM000001")
    end = datetime(2027, 5, 10, 10, tzinfo=UTC)  # noon in Amsterdam
    for moment in (NOW + timedelta(days=step) for step in range(6, 170, 6)):
        vault = opened(vault, moment)
        expire.expire(vault)
    for number, last in enumerate((end - timedelta(hours=1), end + timedelta(minutes=10))):
        vault = believed(vault, last)
        back = opened(vault, end - timedelta(minutes=4))  # a clock that is further back registers nothing
        order = Order(reference=f"PV-2026-00050{number}")
        assert answer(back, order, tmp_path / f"answer-{number}").records == 1 - number
