"""A process killed at any durable step of an act, then the same act again: nothing lost, nothing twice."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from datetime import date, timedelta
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.crash_child import done
from tests.support import NOW, KillingDisk, Usage, ingest, new_vault, unmeasured, usage
from tests.thorough import ALL_STEPS, seconds
from trafficvault import compact
from trafficvault.compaction import Selection
from trafficvault.policy_file import preset_text

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = 3


def child(directory: Path, act: str, at: int) -> subprocess.CompletedProcess[str]:
    """Runs `act` in a process that dies at step `at`."""
    return subprocess.run(
        [sys.executable, "-m", "tests.scenarios.crash_child", str(directory), act, str(at)],
        cwd=ROOT,
        env=unmeasured(),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def finished(directory: Path, act: str) -> dict[str, Any]:
    """Runs `act` to its end, on a vault that is opened for it, and returns what is there then."""
    return done(directory, act, KillingDisk(None))


def sampled(steps: int) -> list[int]:
    """The steps to be killed at: the last, and some before it; every one with `CRASH_STEPS=all`."""
    if ALL_STEPS:
        return list(range(1, steps + 1))
    return sorted({max(1, steps * number // SAMPLE) for number in range(1, SAMPLE + 1)})


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
@pytest.mark.timeout(seconds(300))
@pytest.mark.parametrize("act", ["receive", "receive slices", "receive group"])
def test_receive_survives_sigkill_at_every_sampled_step(receiving: Path, tmp_path: Path, act: str) -> None:
    """Whatever step a kill hits, the same files again store every record once and `verify` is clean."""
    whole = tmp_path / "whole"
    shutil.copytree(receiving, whole)
    expected = finished(whole, act)
    assert expected["faults"] == []
    assert expected["records"] == 14

    for at in sampled(expected["steps"]):
        broken = tmp_path / f"broken-{at}"
        shutil.copytree(receiving, broken)
        killed = child(broken, act, at)
        assert killed.returncode == -signal.SIGKILL, (at, killed.stderr)
        again = finished(broken, act)

        assert again["faults"] == [], at
        assert again["records"] == expected["records"], at
        assert again["partitions"] == expected["partitions"], at
        shutil.rmtree(broken)


WLR = resources.files("trafficvault").joinpath("demo_files", "WLR-DEMO-000018.CDR")
"""A file whose control totals disagree, so that it is held."""


@pytest.fixture
def expiring(tmp_path: Path) -> Path:
    """A vault of five days' term: three days, a rejected row and a held file, all due; a binding that lives."""
    base = tmp_path / "base"
    base.mkdir()
    short = base / "policy.toml"
    short.write_text(preset_text("telecom").replace('"P6M"', '"P5D"'))
    vault = new_vault(base, str(short))
    rows = [Usage(at=f"202611{day:02d}1200{second:02d}") for day in (16, 17, 19) for second in range(2)]
    assert ingest(vault, "mvno_pipe", usage(rows) + "not a row\n", "S4PGWM000001").rejected == 1
    assert ingest(vault, "wlr_fixed", WLR.read_bytes(), "WLR").status == "held"
    binding = '{"class": "binding", "start": "2026-11-18T10:00:00Z", "imsi": "204990000000001", "served": "a"}\n'
    assert ingest(vault, "native_ndjson", binding, "bindings").stored == 1
    (base / "now").write_text((NOW + timedelta(days=6, hours=13, minutes=30)).isoformat())
    return base


@pytest.mark.slow
@pytest.mark.timeout(seconds(300))
def test_expire_survives_sigkill_at_every_sampled_step(expiring: Path, tmp_path: Path) -> None:
    """Whatever step a kill hits, the next run finishes: what was due is gone and certified once, the rest is whole."""
    whole = tmp_path / "whole"
    shutil.copytree(expiring, whole)
    expected = finished(whole, "expire")
    assert expected["faults"] == []
    assert expected["records"] == 1
    assert expected["certificates"] == 7

    for at in sampled(expected["steps"]):
        broken = tmp_path / f"broken-{at}"
        shutil.copytree(expiring, broken)
        killed = child(broken, "expire", at)
        assert killed.returncode == -signal.SIGKILL, (at, killed.stderr)
        again = finished(broken, "expire")

        assert again["faults"] == [], at
        assert again["records"] == 1, at
        assert again["certificates"] == 7, at
        assert again["partitions"] == expected["partitions"], at
        shutil.rmtree(broken)


@pytest.mark.slow
@pytest.mark.timeout(seconds(300))
def test_compact_survives_sigkill_at_every_sampled_step(tmp_path: Path) -> None:
    """Whatever step a kill hits, every record is there once, before the next run and after; nothing prepared is left.

    What a writer does in between, here the delivery of one more file, finds a vault as any other.
    """
    base = tmp_path / "base"
    base.mkdir()
    vault = new_vault(base)
    for number in (1, 2):
        rows = [Usage(at=f"202611{day:02d}1{number}00{second:02d}") for day in (10, 11) for second in range(3)]
        assert ingest(vault, "mvno_pipe", usage(rows), f"S4PGWM00000{number}").stored == 6
    # One that is merged already, beside late records that are worth a merge.
    compact.compact(vault, Selection(days=frozenset({date(2026, 11, 10)})))
    late = [Usage(at=f"202611101500{second:02d}") for second in range(2)]
    assert ingest(vault, "mvno_pipe", usage(late), "S4PGWM000003").stored == 2
    (base / "now").write_text(NOW.isoformat())
    (base / "in").mkdir()
    (base / "in" / "S4PGWM000009").write_text(usage([Usage(at="20261110120001"), Usage(at="20261110190000")]))
    whole = tmp_path / "whole"
    shutil.copytree(base, whole)
    expected = finished(whole, "compact")
    assert (expected["records"], expected["files"], expected["faults"]) == (14, 2, [])

    for at in sampled(expected["steps"]):
        broken = tmp_path / f"broken-{at}"
        shutil.copytree(base, broken)
        killed = child(broken, "compact", at)
        assert killed.returncode == -signal.SIGKILL, (at, killed.stderr)
        between = finished(broken, "receive")
        assert (between["records"], between["faults"]) == (15, []), at
        again = finished(broken, "compact")

        assert again["faults"] == [], at
        assert again["records"] == 15, at
        assert again["partitions"] == expected["partitions"], at
        assert not (broken / "vault" / "compacting").exists(), at
        shutil.rmtree(broken)


@pytest.mark.slow
@pytest.mark.timeout(seconds(300))
def test_accept_survives_sigkill_at_every_sampled_step(tmp_path: Path) -> None:
    """A held batch whose acceptance was killed is accepted by the next, once, and its held bytes are gone."""
    base = tmp_path / "base"
    base.mkdir()
    vault = new_vault(base)
    assert ingest(vault, "wlr_fixed", WLR.read_bytes(), "WLR").status == "held"
    (base / "now").write_text(NOW.isoformat())
    (base / "in").mkdir()
    (base / "in" / "S4PGWM000009").write_text(usage([Usage()]))
    whole = tmp_path / "whole"
    shutil.copytree(base, whole)
    expected = finished(whole, "accept")
    assert (expected["records"], expected["faults"]) == (3, [])

    for at in sampled(expected["steps"]):
        broken = tmp_path / f"broken-{at}"
        shutil.copytree(base, broken)
        killed = child(broken, "accept", at)
        assert killed.returncode == -signal.SIGKILL, (at, killed.stderr)
        finished(broken, "accept")
        again = finished(broken, "receive")

        assert again["faults"] == [], at
        assert again["records"] == 4, at
        assert list((broken / "vault" / "held").rglob("*.sealed")) == [], at
        shutil.rmtree(broken)
