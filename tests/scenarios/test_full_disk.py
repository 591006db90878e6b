"""A disk that is really full: nothing opens, and with the reserve given back an expiry runs to its certificates."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STORY = """
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from tests.support import NOW, Disk, Order, SetClock, Usage, app, approved, intake, new_vault, receive, usage
from trafficvault import expire, reserve
from trafficvault.errors import SpaceError
from trafficvault.verify import verify

small = Path(sys.argv[1])
vault = new_vault(small)
roomy = replace(vault, policy=replace(vault.policy, min_free=0))
feed, source = intake.feed_and_source(roomy, "mvno_pipe", None)
rows = usage([Usage(at="20260523120000"), Usage(at="20261101120000")]).encode()
assert receive.receive(roomy, feed, source, rows, "S4PGWM000001").stored == 2
window = {"start": "2026-05-01T00:00:00Z", "end": "2026-06-01T00:00:00Z"}
approved(roomy, Order(**window, reference="PV-2", hold_for="P90D", legal_basis="126ni Sv"))
vault.catalogue.close()
with (small / "filler").open("wb", buffering=0) as filler:
    try:
        while True:
            filler.write(bytes(4096))
    except OSError:
        pass
clock = SetClock(NOW + timedelta(days=6))
try:
    app.open_vault(vault.layout, Disk(), clock, writer=True)
except SpaceError:
    print("full")
reserve.release(vault.layout, Disk())
late = app.open_vault(vault.layout, Disk(), clock, writer=True)
print(len(expire.expire(late).certificates), len(verify(late).faults))
with late.catalogue.reading() as tx:
    print(sum(row["rows"] for row in tx.select("carves")))
"""


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="mounting a small disk takes root")
def test_expiry_runs_on_a_disk_that_is_really_full(tmp_path: Path) -> None:
    """In the space of the reserve what a hold covers is carved, the day dies and is certified; the rest is whole."""
    mount = f"mount -t tmpfs -o size=48m tmpfs {tmp_path} && exec {sys.executable} -c '{STORY}' {tmp_path}"
    tried = subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False)
    if tried.returncode != 0:
        pytest.skip("this machine allows no mount of its own")
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", mount], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.stdout.split() == ["full", "1", "0", "1"], done.stderr
