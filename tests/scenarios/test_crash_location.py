"""A process killed at any durable step while a location expires before its call, then the same run again."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from tests.scenarios.test_crash import child, finished, sampled
from tests.thorough import seconds
from tests.trafficvault.short_location import GONE, new


@pytest.mark.slow
@pytest.mark.timeout(seconds(300))
def test_the_end_of_a_location_survives_sigkill_at_every_sampled_step(tmp_path: Path) -> None:
    """Whatever step a kill hits, the next run finishes: certified once, and every record still there."""
    base, whole = tmp_path / "base", tmp_path / "whole"
    base.mkdir()
    new(base)
    (base / "now").write_text(GONE.isoformat())
    shutil.copytree(base, whole)
    expected = finished(whole, "expire")
    assert (expected["faults"], expected["records"], expected["certificates"]) == ([], 3, 1)

    for at in sampled(expected["steps"]):
        broken = tmp_path / f"broken-{at}"
        shutil.copytree(base, broken)
        killed = child(broken, "expire", at)
        assert killed.returncode == -signal.SIGKILL, (at, killed.stderr)
        again = finished(broken, "expire")

        assert (again["faults"], again["records"], again["certificates"]) == ([], 3, 1), at
        assert again["partitions"] == expected["partitions"], at
        shutil.rmtree(broken)
