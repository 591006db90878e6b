"""Planted numbers, IMSIs, addresses and names occur in no byte of vault, key directory, temporary folder or output."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support import NOW, Order, answer, every_byte, ingest, new_vault, opened, signed_in, unmeasured
from tests.thorough import ALL_STEPS
from trafficvault import expire, intake

ROOT = Path(__file__).resolve().parents[2]
MARKERS = {
    "a_number": "+31699000001",
    "b_number": "+31699000002",
    "imsi": "204990099000003",
    "imei": "35990099000004",
    "public_ip": "203.0.113.99",
    "private_ip": "2001:db8:990:990::5",
    "user_name": "marker-gebruiker-006",
    "mail_from": "marker007@voorbeeld.example",
    "session_id": "marker-sessie-008",
    "line": "marker-lijn-009",
    "start_cell": "204-99-0990-0010",
    "carrier_in": "marker-trunk-011",
    "correlation_id": "marker-call-012",
    "record_id": "marker-record-013",
}


def encodings(value: str) -> list[bytes]:
    """The forms in which a value might lie in a file."""
    text = value.encode()
    digits = value.lstrip("+").encode()
    return [text, digits, value.encode("utf-16-le"), text.hex().encode()]


def marked(count: int, *, good: bool = True) -> str:
    """NDJSON records full of markers; bad ones have an impossible time."""
    base = {"class": "telephony", "served": "a", "event": "call", "customer": "marker-klant-014", **MARKERS}
    lines = []
    for second in range(count):
        start = f"2026-11-10T12:00:{second:02d}Z" if good else f"2026-11-10T99:00:{second:02d}Z"
        lines.append(json.dumps({**base, "start": start, "record_id": f"marker-record-013-{second}"}))
    return "\n".join(lines) + "\n"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder of our own, so that it can be searched."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def require_unmarked(*directories: Path) -> None:
    """Fails when a marker occurs in a byte or a file name below the directories."""
    haystack = every_byte(*directories)
    assert len(haystack) > 1000
    for name, value in {**MARKERS, "customer": "marker-klant-014", "file": "marker-bestand-015"}.items():
        for needle in encodings(value):
            assert needle not in haystack, name


def test_no_marker_is_in_clear_after_ingest_question_and_expiry(temporary: Path, tmp_path: Path) -> None:
    """Good rows, rejected rows, a held file name, a question and an expiry leave nothing readable behind."""
    vault = new_vault(tmp_path)
    receipt = ingest(vault, "native_ndjson", marked(5) + marked(2, good=False), "marker-bestand-015.ndjson")
    assert (receipt.stored, receipt.rejected) == (5, 2)
    require_unmarked(vault.layout.vault, vault.layout.keys, temporary)

    done = answer(vault, Order(targets=[("msisdn", MARKERS["a_number"])]), tmp_path / "package")
    assert done.records == 5
    require_unmarked(vault.layout.vault, vault.layout.keys, temporary)
    assert MARKERS["imsi"] in (tmp_path / "package" / "records.csv").read_text()

    late = opened(vault, NOW + timedelta(days=200))
    assert expire.expire(late, signed_in(late, "otto")).certificates
    require_unmarked(vault.layout.vault, vault.layout.keys, temporary)


def test_no_marker_is_in_clear_after_a_crash(temporary: Path, tmp_path: Path) -> None:
    """A process killed in the midst of an ingest leaves no plaintext either."""
    vault = new_vault(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "marker-bestand-015.ndjson").write_text(marked(5))
    script = (
        "import sys; from pathlib import Path; from tests.support import *\n"
        "from trafficvault import app\n"
        "d = Path(sys.argv[1]); disk = KillingDisk(int(sys.argv[2]))\n"
        "v = app.open_vault(layout_at(d), disk, SetClock(NOW), writer=True)\n"
        "p = next((d / 'in').iterdir()); ingest(v, 'native_ndjson', p.read_bytes(), p.name)\n"
    )
    for step in (3, 6, 9, 12) if ALL_STEPS else (6, 9):
        done = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path), str(step)],
            cwd=ROOT,
            env={**unmeasured(), "TMPDIR": str(temporary)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == -signal.SIGKILL, done.stderr
        require_unmarked(vault.layout.vault, vault.layout.keys, temporary)


def test_no_marker_is_in_an_error(tmp_path: Path) -> None:
    """What is printed for refused and rejected input names batch and row, never a value."""
    vault = new_vault(tmp_path)
    wrong = json.dumps({**MARKERS, "class": "telephony", "start": "gisteren", "onbekend": MARKERS["imsi"]}) + "\n"
    receipt = ingest(vault, "native_ndjson", wrong + marked(1, good=False), "x.ndjson")
    shown = repr(intake.batch(vault, receipt.batch_id)) + repr(vault) + repr(receipt)

    assert receipt.rejected == 2 or receipt.status == "refused"
    for value in MARKERS.values():
        assert value not in shown
