"""Verify where catalogue, keys and certificates disagree though every row is sealed: each fault is named as such."""

from __future__ import annotations

import sqlite3
from datetime import date, timedelta

import pytest

from tests.support import NOW, opened, signed_in
from trafficvault import expire, partitions
from trafficvault.errors import FaultError
from trafficvault.faults import Fault
from trafficvault.layout import day_key_id
from trafficvault.vault import Vault
from trafficvault.verify import verify

DAY = "2026-11-10"


def faults(vault: Vault) -> list[Fault]:
    """The faults that `verify` names."""
    return list(verify(vault).faults)


def change(vault: Vault, table: str, values: dict[str, object], **key: object) -> None:
    """Changes one row of the catalogue as the vault itself would, with its seal."""
    with vault.catalogue.transaction() as tx:
        row = next(row for row in tx.select(table) if key.items() <= row.items())
        tx.put(table, **row | values)


def test_a_clean_vault_requires_nothing(stored: Vault) -> None:
    """Without a fault nothing is raised; with one, the error tells how many there are and the first."""
    verify(stored).require_clean()
    next(stored.layout.records.rglob("*.parquet")).unlink()
    with pytest.raises(FaultError, match=r"1 faults; the first: .* is missing"):
        verify(stored).require_clean()


def test_another_number_of_records_is_named(stored: Vault) -> None:
    """A row that promises more records than its file holds."""
    change(stored, "files", {"rows": 99}, day=DAY)
    (fault,) = faults(stored)
    assert fault.kind == "count"
    assert "holds 2 records, the catalogue says 99" in fault.sentence


def test_other_records_of_the_same_number_are_named(stored: Vault) -> None:
    """A row whose sum is that of another file's records."""
    with stored.catalogue.reading() as tx:
        other = tx.select("files", day="2026-11-11")[0]
    change(stored, "files", {"row_sum": other["row_sum"]}, day=DAY)
    (fault,) = faults(stored)
    assert fault.kind == "content"


def test_bytes_that_are_no_records_are_named(stored: Vault) -> None:
    """A file with the digest that the catalogue has, which does not open as records."""
    path = next((stored.layout.records / "mobile_usage" / DAY).glob("*.parquet"))
    path.write_bytes(b"PARE not a file PARE")
    digest = partitions.keyed_digest_of(stored.keys.custody("verify"), path)
    change(stored, "files", {"digest": digest, "bytes": 20}, day=DAY)
    assert "unreadable" in {fault.kind for fault in faults(stored)}


def test_a_living_day_without_keys_is_named(stored: Vault) -> None:
    """A partition that is alive in the catalogue, and whose keys were never in the ring."""
    with stored.catalogue.transaction() as tx:
        tx.put("partitions", record_class="voip", day=DAY, state="live", certificate=None)
    (fault,) = faults(stored)
    assert fault.kind == "key missing"
    assert fault.sentence == f"voip {DAY}: 5 of its day keys are not in the ring"


def test_an_expired_day_with_keys_is_named(stored: Vault) -> None:
    """A tombstone whose keys are there again, and that no certificate stands for."""
    stored.keys.ensure([day_key_id("voip", date.fromisoformat(DAY), "who")])
    with stored.catalogue.transaction() as tx:
        tx.put("partitions", record_class="voip", day=DAY, state="tombstone", certificate=None)
    assert {fault.kind for fault in faults(stored)} == {"key restored", "certificate missing"}


def test_rejections_without_their_key_are_named(stored: Vault) -> None:
    """Rejected rows and held bytes that nothing opens any more."""
    for kind in ("rejections", "held"):
        with stored.catalogue.transaction() as tx:
            row = tx.select("leftovers", kind=kind)[0]
            tx.put("leftovers", **row | {"day": "2026-11-19"})
        found = faults(stored)
        assert {fault.kind for fault in found} == {"missing", "key missing"}
        with stored.catalogue.transaction() as tx:
            tx.delete("leftovers", kind=kind, record_class=row["record_class"], day="2026-11-19", batch=row["batch"])
    assert faults(stored) == []


def test_a_certificate_that_was_changed_is_named(stored: Vault) -> None:
    """A certificate whose words are not those that were signed."""
    late = opened(stored, NOW + timedelta(days=200))
    expire.expire(late, signed_in(late, "otto"))
    assert faults(late) == []
    with late.catalogue.reading() as tx:
        row = tx.select("certificates")[0]
    change(late, "certificates", {"body": row["body"].replace('"P6M"', '"P1M"')}, id=row["id"])
    assert [fault.kind for fault in faults(late)] == ["signature"]


def test_keys_of_another_generation_are_named(stored: Vault) -> None:
    """A ring of an older generation that was put back beside the living one."""
    generation = stored.keys.generation
    ring = stored.layout.ring(generation)
    stored.layout.ring(generation + 7).write_bytes(ring.read_bytes())
    found = faults(stored)
    assert [fault.kind for fault in found] == ["keys"]
    assert f"keys of generation {generation + 7} are in the key directory" in found[0].sentence


def test_a_catalogue_that_can_t_be_believed_ends_the_comparison(stored: Vault) -> None:
    """A changed row of the files' table is a fault of the catalogue; what it says is not compared with the disk."""
    stored.catalogue.close()
    with sqlite3.connect(stored.layout.catalogue) as database:
        database.execute("update files set rows = rows + 1")
    database.close()
    vault = opened(stored)
    found = verify(vault)
    assert {fault.kind for fault in found.faults} == {"changed"}
    assert "records" not in found.checked
