"""Held batches: what is kept whole until a person accepts it, and the key it lies under."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.support import NOW, ingest, opened, signed_in
from tests.trafficvault.prepared_vault import HELD_FILE, Prepared, bundled
from trafficvault import expire, intake
from trafficvault.errors import DecisionError, FaultError
from trafficvault.vault import Vault


def test_the_key_of_held_bytes_dies_when_they_were_accepted(stored: Vault, prepared: Prepared) -> None:
    """The next expiry destroys it where nothing else lies under it, and certifies that; a further one finds nothing."""
    intake.accept(stored, "otto", prepared.held)
    held = {name for name in stored.keys.key_ids() if name.startswith("held/")}
    assert len(held) == 1
    (certificate,) = expire.expire(stored).certificates
    assert (certificate["what"], certificate["records"]) == ("keys", 0)
    assert not held & stored.keys.key_ids()
    assert expire.expire(stored).certificates == ()


def test_a_held_file_without_records_tells_no_days(stored: Vault) -> None:
    """Control totals that disagree hold a file of which no record could be read; it touches the day it came."""
    lines = [line for line in bundled(HELD_FILE).decode().splitlines(keepends=True) if not line.startswith("CDR")]
    receipt = ingest(stored, "wlr_fixed", "".join(lines), "WLR-DEMO-000019.CDR")

    assert receipt.status == "held"
    with stored.catalogue.reading() as tx:
        row = tx.get("batches", id=receipt.batch_id)
    assert row is not None
    assert (row["first_day"], row["last_day"]) == (None, None)
    assert intake.accept(stored, "otto", receipt.batch_id).stored == 0


def test_an_accepted_batch_keeps_the_moment_it_came(stored: Vault, prepared: Prepared) -> None:
    """Accepted days later, it is read as of its arrival; what reached its term meanwhile is counted as expired."""
    late = opened(stored, NOW + timedelta(days=200))
    with pytest.raises(DecisionError, match="3 of its rows would be past their term"):
        intake.accept(late, "otto", prepared.held)
    expire.require_clock(late, signed_in(late, "otto"))
    receipt = intake.accept(late, "otto", prepared.held)

    assert (receipt.status, receipt.read, receipt.stored, receipt.expired) == ("committed", 5, 0, 3)
    with late.catalogue.reading() as tx:
        row = tx.get("batches", id=prepared.held)
        assert tx.select("leftovers", kind="held") == []
    assert row is not None
    assert row["received_at"].startswith("2026-11-20T10:00:00")


def test_held_bytes_that_are_gone_are_a_fault(stored: Vault, prepared: Prepared) -> None:
    """A held batch whose bytes were removed by other means is told as a fault, and stays held."""
    next(stored.layout.held.rglob("*.sealed")).unlink()
    with pytest.raises(FaultError, match="its bytes can't be read"):
        intake.accept(stored, "otto", prepared.held)
    assert intake.batch(stored, prepared.held).status == "held"
