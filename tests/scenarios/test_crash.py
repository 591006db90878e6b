"""A process killed at any durable step of receive or expire, then the same act again: nothing lost, nothing twice."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support import NOW, Usage, ingest, new_vault, usage

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = 14


def child(directory: Path, act: str, at: int) -> subprocess.CompletedProcess[str]:
    """Runs `act` in a process that dies at step `at`."""
    return subprocess.run(
        [sys.executable, "-m", "tests.scenarios.crash_child", str(directory), act, str(at)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def finished(directory: Path, act: str) -> dict[str, Any]:
    """Runs `act` to its end and returns what it says."""
    done = child(directory, act, 0)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def sampled(steps: int) -> list[int]:
    """The steps to be killed at: the first, the last, and some between them, never more than `SAMPLE`."""
    stride = max(1, steps // SAMPLE)
    return sorted({1, steps, *range(1, steps + 1, stride)})


@pytest.fixture
def receiving(tmp_path: Path) -> Path:
    """A vault with one batch, and two files that wait: one repeats rows of the first batch and holds a bad one."""
    base = tmp_path / "base"
    base.mkdir()
    vault = new_vault(base)
    first = [Usage(at=f"202611{day:02d}1200{second:02d}") for day in (10, 11) for second in range(5)]
    ingest(vault, "mvno_pipe", usage(first), "S4PGWM000001")
    (base / "in").mkdir()
    more = [Usage(kind="MO", at=f"202611{day:02d}130000", seconds=60) for day in (10, 12)]
    (base / "in" / "S4PGWM000002").write_text(usage(first + more) + "not a row\n")
    (base / "in" / "S4PGWM000003").write_text(usage([Usage(at="20261113120000"), Usage(at="20261113120000")]))
    (base / "now").write_text(NOW.isoformat())
    return base


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_receive_survives_sigkill_at_every_sampled_step(receiving: Path, tmp_path: Path) -> None:
    """Whatever step a kill hits, the same files again store every record once and `verify` is clean."""
    whole = tmp_path / "whole"
    shutil.copytree(receiving, whole)
    expected = finished(whole, "receive")
    assert expected["faults"] == []
    assert expected["records"] == 14

    for at in sampled(expected["steps"]):
        broken = tmp_path / f"broken-{at}"
        shutil.copytree(receiving, broken)
        killed = child(broken, "receive", at)
        assert killed.returncode == -signal.SIGKILL, (at, killed.stderr)
        again = finished(broken, "receive")

        assert again["faults"] == [], at
        assert again["records"] == expected["records"], at
        assert again["partitions"] == expected["partitions"], at
        shutil.rmtree(broken)


@pytest.fixture
def expiring(tmp_path: Path) -> Path:
    """A vault of three days with a rejected row, of which two are due."""
    base = tmp_path / "base"
    base.mkdir()
    vault = new_vault(base)
    rows = [Usage(at=f"202605{day:02d}1200{second:02d}") for day in (23, 24, 30) for second in range(4)]
    receipt = ingest(vault, "mvno_pipe", usage(rows), "S4PGWM000001")
    assert receipt.stored == 12
    (base / "now").write_text((NOW + timedelta(days=6)).isoformat())
    return base


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_expire_survives_sigkill_at_every_sampled_step(expiring: Path, tmp_path: Path) -> None:
    """Whatever step a kill hits, the next run finishes: the due days are gone, the living one is whole."""
    whole = tmp_path / "whole"
    shutil.copytree(expiring, whole)
    expected = finished(whole, "expire")
    assert expected["faults"] == []
    assert expected["records"] == 4
    assert expected["certificates"] == 2

    for at in sampled(expected["steps"]):
        broken = tmp_path / f"broken-{at}"
        shutil.copytree(expiring, broken)
        killed = child(broken, "expire", at)
        assert killed.returncode == -signal.SIGKILL, (at, killed.stderr)
        again = finished(broken, "expire")

        assert again["faults"] == [], at
        assert again["records"] == 4, at
        assert again["certificates"] == 2, at
        assert again["partitions"] == expected["partitions"], at
        shutil.rmtree(broken)
