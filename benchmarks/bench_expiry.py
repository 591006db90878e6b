"""Expiry of a full day: keys destroyed, files dropped, tombstone and certificate."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from benchmarks.conftest import ROWS, Note, Watch, record_bytes
from tests.support import layout_at, signed_in
from trafficvault import app, expire
from trafficvault.clock import SetClock
from trafficvault.durable import Disk
from trafficvault.expire import Expiry
from trafficvault.vault import Vault


@pytest.fixture(scope="module")
def due(tmp_path_factory: pytest.TempPathFactory, filled: Vault) -> tuple[Path, datetime]:
    """A copy of the filled vault, and the moment at which its day is due."""
    moments = [item.due for item in expire.plan(filled) if item.kind == "records" and item.due is not None]
    directory = tmp_path_factory.mktemp("due")
    shutil.copytree(filled.layout.vault, layout_at(directory).vault)
    shutil.copytree(filled.layout.keys, layout_at(directory).keys)
    shortly_before = SetClock(min(moments) - timedelta(hours=1))
    vault = app.open_vault(layout_at(directory), Disk(), shortly_before, writer=True)
    # Half a year goes by at once, so an operator says that the clock is right.
    expire.require_clock(vault, signed_in(vault, "otto"))
    return directory, max(moments)


@pytest.mark.bench
def test_expiry(watch: Watch, due: tuple[Path, datetime], tmp_path: Path, note: Note) -> None:
    """The act `expire` as the command line calls it, on a day of `ROWS` rows."""
    directory, moment = due
    number = count()
    vaults: list[Vault] = []

    def fresh() -> None:
        copy = tmp_path / str(next(number))
        shutil.copytree(directory, copy)
        vaults.append(app.open_vault(layout_at(copy), Disk(), SetClock(moment), writer=True))

    def act() -> Expiry:
        return expire.expire(vaults[-1])

    expiry, seconds = watch.time(act, rounds=5, before=fresh)

    assert record_bytes(vaults[-1]) == 0
    note(f"expiry of {ROWS:,} records", seconds * 1000, "ms")
    note("expiry, certificates", len(expiry.certificates), "")
