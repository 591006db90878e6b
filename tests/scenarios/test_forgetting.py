"""Expiry: never early, for good, and certified; a clock that jumped empties nothing."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support import NOW, FullDisk, Order, Usage, answer, ingest, new_vault, opened, signed_in, usage
from trafficvault import expire, signing
from trafficvault.errors import DecisionError, RefusedError, VaultError
from trafficvault.vault import Vault
from trafficvault.verify import verify


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    """A vault with records of 23 May and 30 May 2026, and a row that was rejected."""
    vault = new_vault(tmp_path)
    rows = [Usage(at=f"202605{day}1200{second:02d}") for day in (23, 30) for second in range(4)]
    ingest(vault, "mvno_pipe", usage(rows) + "broken\n", "S4PGWM000001")
    return vault


def test_a_day_dies_on_its_due_moment_and_not_a_second_before(vault: Vault) -> None:
    """23 May UTC touches 24 May in Amsterdam; its last record has had six months on 24 November."""
    due = datetime(2026, 11, 24, 23, 0, tzinfo=UTC)
    early = opened(vault, due - timedelta(seconds=1))
    assert expire.expire(early).certificates == ()

    done = expire.expire(opened(vault, due))
    assert [item["day"] for item in done.certificates] == ["2026-05-23"]
    assert done.certificates[0]["records"] == 4
    assert done.certificates[0]["lateness_seconds"] == 0


def test_an_expired_day_is_gone_for_good(vault: Vault, tmp_path: Path) -> None:
    """Files restored after their expiry open with no key of today, and `verify` names them."""
    copy = tmp_path / "copy"
    shutil.copytree(vault.layout.records, copy)
    late = opened(vault, NOW + timedelta(days=6))
    done = expire.expire(late)
    assert len(done.certificates) == 1
    assert verify(late).faults == ()
    gone = late.layout.partition("mobile_usage", datetime(2026, 5, 23).date())
    assert not gone.exists()
    shutil.copytree(copy / "mobile_usage" / "2026-05-23", gone)

    assert {fault.kind for fault in verify(late).faults} == {"restored after expiry"}
    held = late.keys.key_ids()
    assert not [name for name in held if name.startswith("mobile_usage/2026-05-23")]
    with pytest.raises(VaultError):
        late.keys.custody("verify").key("mobile_usage/2026-05-23/who")


def test_records_of_an_expired_day_that_come_late_are_counted(vault: Vault) -> None:
    """Nothing brings an expired day back: late records for it are counted as expired."""
    late = opened(vault, NOW + timedelta(days=6))
    expire.expire(late)
    receipt = ingest(late, "mvno_pipe", usage([Usage(at="20260523130000"), Usage(at="20261120130000")]), "S4PGWM000002")

    assert (receipt.stored, receipt.expired) == (1, 1)
    assert verify(late).faults == ()


def test_no_question_returns_a_row_past_its_own_term(vault: Vault, tmp_path: Path) -> None:
    """Between a record's own end and its partition's, it lives and is not answered; the package says so."""
    order = Order(start="2026-05-01T00:00:00+02:00", end="2026-06-10T00:00:00+02:00")
    between = opened(vault, datetime(2026, 11, 23, 12, 0, 2, tzinfo=UTC))
    done = answer(between, order, tmp_path / "package")

    assert done.records == 5
    assert not done.complete
    manifest = json.loads((tmp_path / "package" / "manifest.json").read_text())
    assert "2026-05-23" in manifest["days_partly_expired"]["mobile_usage"]


def test_the_certificate_holds_offline(vault: Vault) -> None:
    """Its signature verifies with the vault's public key alone."""
    late = opened(vault, NOW + timedelta(days=6))
    expire.expire(late)
    with late.catalogue.reading() as tx:
        row = tx.select("certificates")[0]

    signing.require_signature(late.settings.public_key, row["signature"], row["body"].encode(), "certificate")
    body = json.loads(row["body"])
    assert body["term"] == "P6M"
    assert len(body["keys"]) == 5
    assert body["files"][0]["rows"] == 4


@pytest.mark.parametrize("step", [timedelta(days=300), timedelta(days=-2)])
def test_a_clock_that_jumped_or_went_back_stops(vault: Vault, step: timedelta) -> None:
    """The run stops for a person, and nothing has expired."""
    wrong = opened(vault, NOW + step)
    with pytest.raises(DecisionError):
        expire.expire(wrong)
    assert verify(wrong).faults == ()
    assert len(list(wrong.layout.records.rglob("*.parquet"))) == 2


def test_ingest_at_a_jumped_clock_does_not_open_the_way(vault: Vault) -> None:
    """A nightly ingest under the wrong clock must not make expiry believe it."""
    wrong = opened(vault, NOW + timedelta(days=300))
    ingest(wrong, "mvno_pipe", usage([Usage(at="20270901120000")]), "S4PGWM000002")
    with pytest.raises(DecisionError):
        expire.expire(opened(wrong, NOW + timedelta(days=301)))


def test_an_operator_accepts_the_clock(vault: Vault) -> None:
    """With an operator's word the clock is believed; another role's word is refused."""
    late = opened(vault, NOW + timedelta(days=300))
    with pytest.raises(RefusedError):
        expire.expire(late, signed_in(late, "olga"))
    done = expire.expire(late, signed_in(late, "otto"))
    assert len(done.certificates) == 3


def test_the_rejections_die_too(vault: Vault) -> None:
    """Rejections count from the day they came, and go with the shortest term of their feed."""
    assert len(list(vault.layout.rejections.rglob("*.sealed"))) == 1
    late = opened(vault, NOW + timedelta(days=190))
    done = expire.expire(late, signed_in(late, "otto"))

    assert {item["what"] for item in done.certificates} == {"records", "rejections"}
    assert list(late.layout.rejections.rglob("*.sealed")) == []
    assert verify(late).faults == ()


@pytest.mark.parametrize("at", [1, 3, 5, 7, 9, 12, 15])
def test_a_full_disk_in_expiry_loses_nothing(vault: Vault, at: int) -> None:
    """Whatever step finds the disk full, the run fails with an error and the next one completes it."""
    with pytest.raises((OSError, VaultError)):
        expire.expire(opened(vault, NOW + timedelta(days=6), FullDisk(at)))
    again = opened(vault, NOW + timedelta(days=6))
    expire.expire(again)

    assert verify(again).faults == ()
    with again.catalogue.reading() as tx:
        assert len(tx.select("certificates")) == 1
