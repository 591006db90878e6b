"""Sweep: what a crashed writer left goes, and nothing else."""

from __future__ import annotations

from datetime import timedelta

from tests.support import NOW, Usage, ingest, opened, signed_in, usage
from trafficvault import expire
from trafficvault.sweep import sweep
from trafficvault.vault import Vault
from trafficvault.verify import verify


def test_what_a_crash_left_is_swept_and_logged(stored: Vault) -> None:
    """Files that no row knows and temporary names go, of records, rejections, held and settings; the log names them."""
    record = next(stored.layout.records.rglob("*.parquet"))
    rejection = next(stored.layout.rejections.rglob("*.sealed"))
    held = next(stored.layout.held.rglob("*.sealed"))
    strangers = [
        record.with_name(f"{'0' * 32}.parquet"),
        record.with_name(f"{record.name}.part-00000000"),
        rejection.with_name(f"{'0' * 24}.sealed"),
        rejection.with_name(f"{rejection.name}.part-00000000"),
        held.with_name(f"{'0' * 24}.sealed"),
        stored.layout.settings.with_name("vault.toml.part-00000000"),
        stored.layout.audit / "000001.log.part-00000000",
    ]
    for path in strangers:
        path.write_bytes(b"left by a crash")

    assert sweep(stored) == 7
    assert not any(path.exists() for path in strangers)
    assert record.exists() and rejection.exists() and held.exists()
    entry = stored.audit.show(1)[0]
    assert (entry["act"], sorted(entry["detail"]["files"])) == ("sweep", sorted(path.name for path in strangers))
    assert sweep(stored) == 0
    assert stored.audit.show(1)[0] == entry
    assert verify(stored).faults == ()


def test_a_restored_file_is_left_for_verify(stored: Vault) -> None:
    """What a certificate names was expired: the next ingest doesn't sweep it away, so that `verify` can name it."""
    late = opened(stored, NOW + timedelta(days=200))
    copies = {path: path.read_bytes() for path in late.layout.records.rglob("*.parquet")}
    held = {path: path.read_bytes() for path in late.layout.held.rglob("*.sealed")}
    assert expire.expire(late, signed_in(late, "otto")).certificates
    for path, content in (copies | held).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    receipt = ingest(late, "mvno_pipe", usage([Usage(at="20270601120000")]), "S4PGWM000004")

    assert receipt.stored == 1
    assert all(path.exists() for path in copies)
    assert {fault.kind for fault in verify(late).faults} == {"restored after expiry"}
    assert len(verify(late).faults) == len(copies) + len(held)
