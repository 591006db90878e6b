"""Rejected rows: sealed with their reason, and with their bytes only where the feed has no content."""

from __future__ import annotations

import pytest

from tests.support import NOW, ingest
from tests.trafficvault.prepared_vault import Prepared
from trafficvault import rejections
from trafficvault.errors import VaultError
from trafficvault.receipts import Dying
from trafficvault.vault import Vault

DAY = NOW.date()


def test_a_feed_with_content_keeps_no_bytes(stored: Vault, prepared: Prepared) -> None:
    """Of a bad MVNO row, which may hold message text, row number and reason are kept and nothing else."""
    kept = rejections.read(stored, stored.keys.custody("receive"), Dying("mobile_usage", DAY), prepared.committed)
    (row,) = kept.to_pylist()
    assert row["row"] == 5
    assert row["reason"]
    assert row["raw"] is None


def test_a_feed_without_content_keeps_the_bytes(stored: Vault) -> None:
    """Of a bad line of a feed that has no content column the line itself is kept, sealed."""
    good = '{"class": "telephony", "start": "2026-11-13T12:00:00Z", "a_number": "+31612345678", "event": "call"}\n'
    bad = '{"class": "telephony", "start": "yesterday", "a_number": "+31699999999", "event": "call"}\n'
    receipt = ingest(stored, "native_ndjson", good + bad, "x.ndjson")
    kept = rejections.read(stored, stored.keys.custody("receive"), Dying("telephony", DAY), receipt.batch_id)

    (row,) = kept.to_pylist()
    assert row["raw"].decode().strip() == bad.strip()
    path = stored.layout.rejection_file("telephony", DAY, receipt.batch_id)
    assert b"31699999999" not in path.read_bytes()


def test_a_changed_file_does_not_open(stored: Vault, prepared: Prepared) -> None:
    """One changed byte, or the name of another batch, is an error and never a row."""
    path = stored.layout.rejection_file("mobile_usage", DAY, prepared.committed)
    path.rename(path.with_name(f"{'0' * 24}.sealed"))
    custody = stored.keys.custody("receive")
    with pytest.raises(VaultError):
        rejections.read(stored, custody, Dying("mobile_usage", DAY), "0" * 24)
    content = bytearray(path.with_name(f"{'0' * 24}.sealed").read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(VaultError):
        rejections.read(stored, custody, Dying("mobile_usage", DAY), prepared.committed)
