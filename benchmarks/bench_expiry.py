"""Expiry of a full day: keys destroyed, files dropped, tombstone and certificate, whatever the day's size."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from benchmarks.house import new_house, record_bytes, take
from benchmarks.network import Network
from benchmarks.scale import LAST_DAY, Scale
from benchmarks.traffic import file_name, write_file
from benchmarks.watch import Watch
from tests.support import layout_at, signed_in
from trafficvault import app, expire
from trafficvault.clock import SetClock
from trafficvault.durable import Disk
from trafficvault.expire import Expiry
from trafficvault.vault import Vault


def due(vault: Vault) -> datetime:
    """The vault made ready: an operator has said that the clock is right shortly before. Returns when all is due."""
    moments = [item.due for item in expire.plan(vault) if item.kind == "records" and item.due is not None]
    shortly_before = SetClock(min(moments) - timedelta(hours=1))
    # Half a year goes by at once, so an operator says that the clock is right.
    expire.require_clock(app.open_vault(vault.layout, Disk(), shortly_before, writer=True), signed_in(vault, "otto"))
    return max(moments)


@pytest.mark.bench
@pytest.mark.parametrize("share", [10, 1], ids=["a tenth of a day", "a day"])
def test_expiry(watch: Watch, tmp_path: Path, scale: Scale, network: Network, share: int) -> None:
    """The act `expire` as the command line calls it; every byte of the records is free afterwards."""
    rows = scale.rows // share
    first = tmp_path / "first"
    vault = new_house(first)
    take(vault, write_file(tmp_path / file_name(1), rows, LAST_DAY, network=network))
    moment, held, number, vaults = due(vault), record_bytes(vault), count(), list[Vault]()

    def fresh() -> None:
        copy = tmp_path / str(next(number))
        shutil.copytree(first, copy)
        vaults.append(app.open_vault(layout_at(copy), Disk(), SetClock(moment), writer=True))

    def act() -> Expiry:
        return expire.expire(vaults[-1])

    expiry, race = watch.race(act, 5, before=fresh)

    assert held > 0
    assert record_bytes(vaults[-1]) == 0
    assert expiry.certificates
    watch.note(f"expiry of {rows:,} records", race.ours.seconds * 1000, "ms")
