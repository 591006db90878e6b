"""A disk that is really full: nothing opens, and with the reserve given back an expiry runs to its certificates. What
carves, writes anew or wraps anew says so, and is done again when there is room.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import unmeasured
from tests.thorough import ALL_STEPS, seconds

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
rows = usage([Usage(at=f"{day}120000") for day in ("20260523", "20260528", "20261101")]).encode()
assert receive.receive(roomy, feed, source, rows, "S4PGWM000001").stored == 3
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


MOUNTS = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None, reason="mounting a small disk takes root"
)
ROOMS = {
    "expire-ahead": 80,
    "withdraw": 80,
    "end-service": 140,
    "erase": 100,
    "hold-release": 60,
    "rotate": 64,
    "move-keys": 60,
    "passphrase": 60,
    "escrow": 140,
}
"""Acts that carve, write anew or wrap anew, and a room in KiB in which each of them breaks off halfway."""
EVERY_ROOM = (0, *range(36, 160, 8), *range(160, 512, 32))


def on_a_small_disk(small: Path, *command: str) -> str:
    """What `python command` prints while a disk of 48 MiB is mounted at `small`; skips where nothing can be mounted."""
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine allows no mount of its own")
    small.mkdir()
    mounted = [
        "unshare",
        "-m",
        "sh",
        "-c",
        'mount -t tmpfs -o size=48m tmpfs "$0" && exec "$@"',
        str(small),
        sys.executable,
    ]
    done = subprocess.run(
        [*mounted, *command],
        cwd=ROOT,
        env=unmeasured(),
        capture_output=True,
        text=True,
        timeout=seconds(100),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


@MOUNTS
@pytest.mark.slow
def test_expiry_runs_on_a_disk_that_is_really_full(tmp_path: Path) -> None:
    """In the space of the reserve what a hold covers is carved, also of a day that is due within a week; the day dies
    and is certified, and the rest is whole.
    """
    small = tmp_path / "small"
    assert on_a_small_disk(small, "-c", STORY, str(small)).split() == ["full", "1", "0", "2"]


@MOUNTS
@pytest.mark.slow
@pytest.mark.timeout(seconds(100))
@pytest.mark.parametrize("name", ROOMS)
def test_an_act_that_finds_the_disk_full_is_done_again(name: str, tmp_path: Path) -> None:
    """It says that the disk is full, by a sentence and exit code 7; the next run, with room, completes it, and the
    vault is as if there had always been room.
    """
    small, rooms = tmp_path / "small", EVERY_ROOM if ALL_STEPS else (0, ROOMS[name])
    args = "-m", "tests.scenarios.full_house", name, str(tmp_path / "base"), str(small), *map(str, rooms)
    told = json.loads(on_a_small_disk(small, *args))
    assert {room: found["wrong"] for room, found in told.items() if found["wrong"]} == {}
    codes = [told[str(room)]["code"] for room in rooms]
    assert set(codes) <= {0, 7}
    assert codes[0] == 7
