"""The canary: a test record that is stored, found and forgotten as any other, and says so when it is not."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.support import NOW, new_vault, opened, signed_in
from trafficvault import canary, expire, partitions
from trafficvault.errors import FaultError, RefusedError
from trafficvault.layout import day_key_id
from trafficvault.vault import Vault

MONTH = timedelta(days=30)
BINDING_ONLY = """
format = 1
zone = "Europe/Amsterdam"
region = "NL"
[[entry]]
id = "line"
service = { nl = "Lijn", en = "Line" }
data = { nl = "Lijn", en = "Line" }
term = "P6M"
controller = { nl = "De aanbieder", en = "The provider" }
legal_basis = { nl = "Overeenkomst", en = "Contract" }
classes = ["binding"]
"""


def test_it_goes_all_the_way(stored: Vault) -> None:
    """One record of the test network is stored under its own source and found again; nothing else was there to go."""
    found = canary.sing(stored)
    assert (found.record_class, found.day, found.forgotten) == ("mobile_usage", NOW.date(), 0)
    with stored.catalogue.reading() as tx:
        batches = tx.select("batches", source=canary.SOURCE)
    assert [(row["id"], row["status"]) for row in batches] == [(found.batch_id, "committed")]


def test_its_token_feeds_no_package(stored: Vault) -> None:
    """The token by which the record is found again is refused where rows for a package are read."""
    found = canary.sing(stored)
    with stored.catalogue.reading() as tx:
        (row,) = tx.select("files", record_class=found.record_class, day=found.day.isoformat())
    tokens: list[Any] = [stored.keys.custody("verify")]
    with pytest.raises(RefusedError, match="a token that no warrant released"):
        next(partitions.read_released(stored.layout, tokens, row["id"], ["imsi"]))


def test_each_one_is_its_own(stored: Vault) -> None:
    """The next night's is another record, and both are found."""
    canary.sing(stored)
    later = opened(stored, NOW + timedelta(days=1))
    assert canary.sing(later).day == (NOW + timedelta(days=1)).date()


def test_it_is_forgotten_on_time(stored: Vault) -> None:
    """After its term its day is gone; one that should be gone and is not is a fault."""
    canary.sing(stored)
    late = opened(stored, NOW + 7 * MONTH)
    with pytest.raises(FaultError, match="past its term and not gone; run expire"):
        canary.sing(late)
    expire.expire(late, signed_in(late, "otto"))
    assert canary.sing(opened(late, NOW + 7 * MONTH + timedelta(days=1))).forgotten == 1


def test_a_key_of_any_generation_is_noticed(stored: Vault) -> None:
    """A day is forgotten when no key of it is left, that of a rewritten one neither."""
    canary.sing(stored)
    late = opened(stored, NOW + 7 * MONTH)
    expire.expire(late, signed_in(late, "otto"))
    late.keys.ensure([day_key_id("mobile_usage", NOW.date(), "frame", 2)])
    with pytest.raises(FaultError, match="past its term and not gone"):
        canary.sing(opened(late, NOW + 7 * MONTH + timedelta(days=1)))


def test_it_is_missed(stored: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """When what was stored can't be found again, the run says so."""
    empty = pl.DataFrame(schema={"record_id": pl.String, "start": pl.Datetime("us", "UTC"), "imsi": pl.String})
    monkeypatch.setattr(partitions, "read_in_custody", lambda *args: empty)
    with pytest.raises(FaultError, match="found 0 times instead of once"):
        canary.sing(stored)


def test_a_policy_without_events_has_none(tmp_path: Path) -> None:
    """Where no class of events is kept there is nothing to send."""
    policy = tmp_path / "policy.toml"
    policy.write_text(BINDING_ONLY)
    vault = new_vault(tmp_path, policy=str(policy))
    with pytest.raises(RefusedError, match="set canary_every to PT0S"):
        canary.sing(vault)


def test_one_that_is_not_stored_is_told(stored: Vault) -> None:
    """A batch that was not committed is a fault: here the same file came twice."""
    canary.sing(stored)
    with pytest.raises(FaultError, match="is already-ingested with"):
        canary.sing(stored)
