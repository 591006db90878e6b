"""Expiry: half a year of every class planned; a full day's keys destroyed, files dropped, tombstone and certificate,
whatever its size.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from itertools import count
from pathlib import Path

import pytest

from benchmarks.house import new_house, record_bytes, take
from benchmarks.network import Network
from benchmarks.scale import LAST_DAY, Scale
from benchmarks.traffic import file_name, write_file
from benchmarks.watch import Watch
from ingest.record import CLASSES
from tests.support import layout_at, signed_in
from trafficvault import app, expire, policy_file, retention
from trafficvault.clock import SetClock
from trafficvault.durable import Disk
from trafficvault.expire import Expiry
from trafficvault.retention import Partition
from trafficvault.vault import Vault


def due(vault: Vault) -> datetime:
    """The vault made ready: an operator has said that the clock is right shortly before. Returns when all is due."""
    moments = [item.due for item in expire.plan(vault) if item.kind == "records" and item.due is not None]
    shortly_before = SetClock(min(moments) - timedelta(hours=1))
    # Half a year goes by at once, so an operator says that the clock is right.
    expire.require_clock(app.open_vault(vault.layout, Disk(), shortly_before, writer=True), signed_in(vault, "otto"))
    return max(moments)


@pytest.mark.bench
def test_plan(watch: Watch) -> None:
    """180 days of nine classes, of which nothing was worked out before: what is due, what is kept, and why."""
    rules = policy_file.parse(policy_file.preset_text("telecom"))
    rules = replace(rules, entries=(replace(rules.entries[0], classes=CLASSES), *rules.entries[1:]))
    days = [LAST_DAY - timedelta(days=step) for step in range(180)]
    parts = [Partition(record_class, day) for record_class in CLASSES for day in days]
    moment = datetime.combine(LAST_DAY, time(12), UTC)

    def forget() -> None:
        # What a running process remembers; a nightly run begins without.
        retention._due.cache_clear()
        retention._begins.cache_clear()

    items, race = watch.race(lambda: retention.plan(parts, rules, moment), 5, before=forget)

    assert len(items) == len(parts) == 9 * 180
    watch.note("planning 180 days of 9 classes", race.ours.seconds * 1000, "ms")


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
