"""The inventory of a day: everything before its expiry, nothing but what says so after it."""

from __future__ import annotations

from datetime import date

from tests.support import NOW
from tests.trafficvault.proof_house import expired
from trafficvault import compact, inventory
from trafficvault.inventory import Found
from trafficvault.vault import Vault

DAY = date(2026, 11, 10)


def kinds(found: tuple[Found, ...]) -> set[str]:
    """What there is, without where."""
    return {one.what for one in found}


def test_a_living_day_is_found_everywhere(stored: Vault) -> None:
    """Record files, seen blocks, keys, rows; after compaction its block file; of another class nothing."""
    compact.compact(stored)
    found = inventory.take(stored, DAY, "mobile_usage")

    assert kinds(found.data) == {"record file", "seen block", "block file", "key", "catalogue row"}
    assert sum(1 for one in found.data if one.what == "key") == 5
    assert kinds(found.possible) == {"held batch", "rejections"}
    assert kinds(found.remains) == {"receipt"}
    assert inventory.take(stored, DAY, "voip").data == ()


def test_the_day_of_receipt_has_rejections_and_held_batches(stored: Vault) -> None:
    """They lie under the day they came, with keys of their own."""
    found = inventory.take(stored, NOW.date())
    assert kinds(found.data) == {"rejections", "held batch", "key", "catalogue row"}


def test_after_expiry_there_is_what_says_so(stored: Vault) -> None:
    """Of every day no data, nothing that might hold some; a tombstone, certificates and receipts remain."""
    compact.compact(stored)
    late, _ = expired(stored)
    for day in (DAY, date(2026, 11, 11), date(2026, 11, 12), NOW.date()):
        found = inventory.take(late, day)
        assert found.data == ()
        assert found.possible == ()
        assert kinds(found.remains) <= {"tombstone", "certificate", "receipt"}
    assert kinds(inventory.take(late, DAY).remains) == {"tombstone", "certificate", "receipt"}


def test_what_was_left_lying_is_found(stored: Vault) -> None:
    """Files put back, half-written ones, spilled rows, a ring of another generation: each has its list."""
    late, _ = expired(stored)
    day = late.layout.partition("mobile_usage", DAY)
    day.mkdir(parents=True)
    (day / "0123.parquet").write_bytes(b"put back")
    (day / "0124.parquet.part-12").write_bytes(b"half")
    late.layout.staging.spill.mkdir(parents=True)
    (late.layout.staging.spill / "range-1").write_bytes(b"rows")
    (late.layout.vault / "records" / "x.part-9").write_bytes(b"half")
    (late.layout.keys / "ring-1").write_bytes(b"old")
    prepared = late.layout.staging.partition("mobile_usage", DAY)
    prepared.mkdir(parents=True)
    (prepared / "0125.blocks").write_bytes(b"prepared")
    found = inventory.take(late, DAY)

    assert kinds(found.data) == {"record file", "half-written file", "prepared by compaction: block file"}
    assert kinds(found.possible) == {
        "prepared by compaction: spilled rows",
        "half-written file",
        "keys of another generation",
    }
    assert {len(rows) for rows in found.as_dict().values() if isinstance(rows, list)} == {3}
