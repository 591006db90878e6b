"""A process killed at any durable step of a rewrite, then what comes next: nothing lost, nothing left half removed."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from tests.scenarios.test_crash import child, finished, sampled
from tests.support import NOW, Usage, ingest, new_vault, usage
from tests.thorough import seconds
from trafficvault import compact
from trafficvault.compaction import Selection


@pytest.fixture
def rewriting(tmp_path: Path) -> Path:
    """A vault of two days, one compacted and with a late file beside, of which one second is to go."""
    base = tmp_path / "base"
    base.mkdir()
    vault = new_vault(base)
    for number, day in enumerate((10, 11)):
        rows = [Usage(at=f"202611{day}1200{second:02d}") for second in range(4)]
        ingest(vault, "mvno_pipe", usage(rows), f"S4PGWM00000{number + 1}")
        if day == 10:
            compact.compact(vault, Selection(unsettled=True))
    ingest(vault, "mvno_pipe", usage([Usage(at="20261110130001")]), "S4PGWM000009")
    (base / "now").write_text(NOW.isoformat())
    vault.catalogue.close()
    return base


@pytest.mark.slow
@pytest.mark.timeout(seconds(600))
@pytest.mark.parametrize("then", ["remove", "expire"])
def test_a_rewrite_survives_sigkill_at_every_sampled_step(rewriting: Path, tmp_path: Path, then: str) -> None:
    """Whatever step a kill hits: the rewrite again, or an expiry and the rewrite again, leaves the same."""
    whole = tmp_path / "whole"
    shutil.copytree(rewriting, whole)
    expected = finished(whole, "remove")
    assert expected["faults"] == []
    assert (expected["records"], expected["certificates"]) == (6, 2)

    for at in sampled(expected["steps"]):
        broken = tmp_path / f"broken-{at}"
        shutil.copytree(rewriting, broken)
        killed = child(broken, "remove", at)
        assert killed.returncode == -signal.SIGKILL, (at, killed.stderr)
        if then == "expire":
            between = finished(broken, "expire")
            assert between["faults"] == [], at
            assert between["records"] in (6, 9), at
        again = finished(broken, "remove")

        assert again["faults"] == [], at
        assert again["records"] == expected["records"], at
        assert again["partitions"] == expected["partitions"], at
        # An expiry certifies the keys that a rewrite had made and never used, if that was all it had to end.
        assert again["of_keys"] <= (then == "expire"), at
        assert again["certificates"] - again["of_keys"] == expected["certificates"], at
        shutil.rmtree(broken)
