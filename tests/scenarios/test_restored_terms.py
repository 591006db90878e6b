"""What ended after the backup ends again when that is put back: with every provider, and whatever made it end."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support import FAST, NOW, PASSWORD, Order, Usage, approved, ingest, layout_at, new_vault, opened, usage
from tests.trafficvault import short_location
from tests.trafficvault.key_choices import answering, choice
from tests.trafficvault.test_backup import ada, back_up
from tests.trafficvault.test_endings import NUMBER, OTHER, binding, end, stored
from tests.trafficvault.test_rewrite import rows_of
from tests.trafficvault.test_withdrawal import withdrawn
from trafficvault import app, backup, expire, locks, providers, verify
from trafficvault.clock import SetClock
from trafficvault.durable import Disk
from trafficvault.restore import Restored, restore
from trafficvault.vault import Vault

LATE = NOW + timedelta(days=3)
OLD = "20260521120000"


def put_back(vault: Vault, source: Path, at: datetime) -> tuple[Vault, Restored]:
    """The vault directory lost, and restored from `source` beside the keys of today; ada accepts that it is older."""
    vault.catalogue.close()
    shutil.rmtree(vault.layout.vault)
    told = restore(source, vault.layout, Disk(), SetClock(at), answering(), ada)
    return app.open_vault(vault.layout, Disk(), SetClock(at), writer=True, ask=answering()), told


def what(certificates: Sequence[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """What the certificates are of."""
    return sorted((one["what"], one["class"], one["day"], tuple(one["categories"])) for one in certificates)


def faults(vault: Vault) -> list[str]:
    """What verification says."""
    return [fault.sentence for fault in verify.verify(vault).faults]


@pytest.mark.parametrize("kind", providers.KINDS)
def test_an_expired_day_expires_again(tmp_path: Path, kind: str) -> None:
    """Its keys are gone already; nobody reads it in between; the next run certifies it again. The other day lives."""
    founders, which, ask = [("ada", PASSWORD)], choice(kind), answering()
    vault = app.create(layout_at(tmp_path), "telecom", founders, Disk(), SetClock(NOW), FAST, choice=which, ask=ask)
    ingest(vault, "mvno_pipe", usage([Usage(at=OLD, record_id="old"), Usage(record_id="new")]))
    with locks.writing(vault.layout):
        backup.backup(vault, tmp_path / "backup")
    vault.catalogue.close()
    late = app.open_vault(vault.layout, Disk(), SetClock(LATE), writer=True, ask=ask)
    gone = expire.expire(late).certificates
    again, told = put_back(late, tmp_path / "backup", LATE)

    assert [name for name in told.expiring if name.startswith("records")] == ["records/mobile_usage/2026-05-21"]
    assert not again.keys.has_any(["mobile_usage/2026-05-21/who"])
    assert what(expire.expire(again).certificates) == what(gone)
    assert len(rows_of(again)) == 1
    assert faults(again) == []


def test_a_location_that_ended_ends_again(tmp_path: Path) -> None:
    """Its key alone had died: the day lives on without it, and the category is certified again."""
    vault = short_location.new(tmp_path)
    back_up(vault, tmp_path / "backup", at=short_location.FIRST)
    gone = expire.expire(opened(vault, short_location.GONE)).certificates
    assert [one["categories"] for one in gone if one["what"] == "records"] == [["where"]]
    again, _ = put_back(vault, tmp_path / "backup", short_location.GONE)
    done = expire.expire(again).certificates

    assert what(done) == what(gone)
    with again.catalogue.reading() as tx:
        assert {row["state"] for row in tx.select("partitions")} == {"live"}
    assert faults(again) == []


def test_a_withdrawn_batch_stays_unreadable(tmp_path: Path) -> None:
    """Its day was written anew under other keys, which the backup lacks: the day as it was before is gone, whole."""
    vault = new_vault(tmp_path)
    wrong = ingest(vault, "mvno_pipe", usage([Usage(record_id="wrong")]), "wrong")
    ingest(vault, "mvno_pipe", usage([Usage(record_id="right")]), "right")
    ingest(vault, "mvno_pipe", usage([Usage(at="20261111120000", record_id="other")]), "other")
    back_up(vault, tmp_path / "backup")
    withdrawn(vault, wrong.batch_id)
    assert len(rows_of(vault)) == 2
    again, told = put_back(vault, tmp_path / "backup", NOW)

    assert [name for name in told.expiring if name.startswith("records")] == ["records/mobile_usage/2026-11-10"]
    expire.expire(again)
    assert len(rows_of(again)) == 1
    assert not [key for key in again.keys.key_ids() if key.startswith("mobile_usage/2026-11-10/")]
    assert faults(again) == []


def test_a_service_that_ended_gives_nothing_back(tmp_path: Path) -> None:
    """Its records went before the loss: the days they were of open no more."""
    vault = stored(
        tmp_path,
        binding("2026-11-10T08:00:00Z", "S-1", NUMBER),
        binding("2026-11-10T09:00:00Z", "S-2", OTHER),
        binding("2026-11-11T09:00:00Z", "S-2", OTHER),
    )
    back_up(vault, tmp_path / "backup")
    end(vault, subscriber="S-1")
    vault.catalogue.close()
    later = NOW + timedelta(hours=1)
    vault = opened(vault, later)
    expire.expire(vault)
    assert len(rows_of(vault, "binding")) == 2
    again, told = put_back(vault, tmp_path / "backup", later)

    assert "records/binding/2026-11-10" in told.expiring
    expire.expire(again)
    assert len(rows_of(again, "binding")) == 1
    assert faults(again) == []


def test_a_register_that_was_emptied_is_emptied_again(tmp_path: Path) -> None:
    """A warrant that had reached its term comes back with the backup, without its key: its row is deleted at once."""
    file = tmp_path / "rules.toml"
    file.write_text(short_location.rules(more="") + '[terms]\nwarrants = "P1M"\n')
    vault = new_vault(tmp_path, str(file))
    approved(vault, Order())
    back_up(vault, tmp_path / "backup")
    later = NOW + timedelta(days=60)
    vault.catalogue.close()
    vault = opened(vault, later)
    expire.expire(vault)
    with vault.catalogue.reading() as tx:
        assert tx.select("warrants") == []
    again, _ = put_back(vault, tmp_path / "backup", later)

    with again.catalogue.reading() as tx:
        assert tx.select("warrants") == []
    told = [body["counts"] for body in expire.expire(again).certificates if body["what"] == "register"]
    assert [counts.get("warrants") for counts in told] == [1]
    assert faults(again) == []
