"""What is left of an act that breaks off at a step: killed there, or on a disk that is full from it on; and what a
vault is like after the next run.

A process that is killed leaves what the kernel has of its files at that moment, and nothing else: no buffer of its own
and no lock. So one run gives the remains of every kill, by a copy of its directories at each step, made by another
process. `kill` kills a process in earnest.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from ingest.record import CATEGORIES, FRAME, SCHEMA, category_of
from tests.scenarios.acts import BY_NAME, Act
from tests.scenarios.prepared import House
from tests.support import KillingDisk, unmeasured
from trafficvault import ahead, carving, expire, partitions, policies
from trafficvault.durable import PART, Disk
from trafficvault.errors import VaultError
from trafficvault.layout import hold_key_id
from trafficvault.ring import is_row_key, is_segment_key
from trafficvault.sealed_parquet import Place
from trafficvault.vault import Vault
from trafficvault.verify import verify

_ROOT = Path(__file__).resolve().parents[2]
_WRITES = ("before write", "before append", "before rename", "before mkdir", "before sync", "before commit")
_PASSING = ("reserve", "lock", "lease", "-wal", "-shm", ".log")
_ROW = ("source", "batch", "row", "occurrence")
State = dict[str, Any]
ELSEWHERE = ("restore", "restore-log", "replace", "reread")
"""Acts in the middle of which records are away: they are in a backup, or in bytes that are to be read."""


class FullDisk(Disk):
    """Has no room from the `at`-th step on, for a file or for the catalogue; what needs none goes on. Without `at` it
    notes the steps that write, and those behind a commit of the catalogue.
    """

    def __init__(self, at: int = 0) -> None:
        self.at, self.steps, self.writing, self.commits = at, 0, list[int](), list[int]()

    def step(self, name: str) -> None:
        """One step further."""
        self.steps += 1
        if name == "after commit":
            self.commits.append(self.steps)
        if name.startswith(_WRITES):
            self.writing.append(self.steps)
            if 0 < self.at <= self.steps:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class ImagingDisk(Disk):
    """Copies `house` at each step of `chosen`, as a kill would leave it, to `<house>-killed-<step>`."""

    def __init__(self, house: Path, chosen: Collection[int]) -> None:
        self.house, self.chosen, self.steps = house, chosen, 0

    def step(self, name: str) -> None:
        """One step further."""
        self.steps += 1
        if self.steps in self.chosen:
            copy(self.house, remains(self.house, self.steps))


def copy(source: Path, target: Path) -> None:
    """Copies a house as it stands, by another process: one that closes a file of SQLite would lose its locks."""
    subprocess.run(["cp", "-a", "--reflink=auto", source, target], check=True)


def remains(house: Path, at: int) -> Path:
    """Where `ImagingDisk` copies `house` to at step `at`."""
    return house.with_name(f"{house.name}-killed-{at}")


def whole(act: Act, base: Path) -> State:
    """Prepares the vault of `act` in `base` and does the act to a copy: the state after it, with the records `before`,
    the number of `steps`, those that are `writing` and those behind `commits`.
    """
    base.mkdir()
    act.prepare(base).catalogue.close()
    place = base.with_name(f"{base.name}-whole")
    copy(base, place)
    house = House(place, act.now, FullDisk())
    before = _found(house)
    disk = FullDisk()
    act.do(replace(house, disk=disk))
    return _settled(act, replace(house, disk=Disk())) | {
        "before": before,
        "steps": disk.steps,
        "writing": disk.writing,
        "commits": disk.commits,
    }


def imaged(act: Act, base: Path, chosen: Collection[int]) -> None:
    """Does the act to another copy of `base`, and leaves the remains of a kill at each step of `chosen`."""
    place = base.with_name(f"{base.name}-imaged")
    copy(base, place)
    act.do(House(place, act.now, ImagingDisk(place, chosen)))
    place.rename(base.with_name(f"{base.name}-imaged-whole"))


def filled_up(act: Act, place: Path, at: int) -> None:
    """Does the act in `place` on a disk that is full from step `at` on."""
    with suppress(OSError, VaultError):
        act.do(House(place, act.now, FullDisk(at)))


def kill(act: Act, place: Path, at: int) -> None:
    """Does the act in `place` in a process that dies by SIGKILL at step `at`."""
    command = [sys.executable, "-m", "tests.scenarios.broken", act.name, str(place), str(at)]
    done = subprocess.run(
        command, cwd=_ROOT, env=unmeasured(), capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def again(act: Act, place: Path) -> State:
    """Does the act again, as the next process would, then the night's expiry: the state, with the records that were
    `found` before.
    """
    house = House(place, act.now, Disk())
    found = _found(house)
    act.do(house)
    return _settled(act, house) | {"found": found}


def differences(act: Act, found: State, expected: State) -> dict[str, object]:
    """What a vault is like that was broken off and what it should be like, where these differ."""
    wanted = {name: value for name, value in expected.items() if name not in ("steps", "writing", "commits", "before")}
    # A broken run may have made keys and kept nothing under them: their end is certified as well.
    found, wanted = ({**state, "certificates": _of_data(state)} for state in (found, wanted))
    told: dict[str, object] = {name: (found[name], value) for name, value in wanted.items() if found[name] != value}
    lost = set(expected["rows"]) & set(expected["before"]) - set(found["found"])
    return told | ({"lost in between": sorted(lost)} if lost and act.name not in ELSEWHERE else {})


def _of_data(state: State) -> list[str]:
    return [one for one in state["certificates"] if not one.startswith('["keys"')]


def _found(house: House) -> list[str]:
    """The records that the next writer finds; all of a vault that is not there are lost for the moment."""
    if not (house.directory / "vault" / "vault.toml").exists():
        return []
    vault = house.opened()
    found = _rows(vault)
    vault.catalogue.close()
    return sorted(found)


def _settled(act: Act, house: House) -> State:
    vault = house.opened()
    expire.expire(vault)
    found = _state(vault)
    vault.catalogue.close()
    return found


def _state(vault: Vault) -> State:
    with vault.catalogue.reading() as tx:
        days = tx.select("partitions")
        bodies = [json.loads(row["body"]) for row in tx.select("certificates")]
        leftovers, batches, carves = tx.select("leftovers"), tx.select("batches"), tx.select(carving.TABLE)
        states = {name: tx.select(name) for name in ("holds", "proposals", "rights", "endings", "warrants")}
        until = {row["id"]: row["until"] for row in states["holds"]}
        people = {row["name"]: row["disabled"] for row in tx.select("people")}
        told_ahead = ahead.told(tx.meta(ahead.META), states["holds"])
        dropped = vault.audit.dropped(tx).segments
        versions = len(policies.versions(tx))
    return {
        "faults": [fault.sentence for fault in verify(vault).faults],
        "rows": sorted(_rows(vault)),
        "content": _content(vault),
        "days": sorted([_told(row, "record_class", "day", "state", "gone", "going", "generation") for row in days]),
        "keys": sorted(name for name in vault.keys.key_ids() if not (is_segment_key(name) or is_row_key(name))),
        "certificates": sorted(
            _told(body, "what", "class", "day", "categories", "records", "kept", "segment", "counts", "keys")
            for body in bodies
        ),
        "leftovers": sorted(_told(row, "kind", "record_class", "day", "batch") for row in leftovers),
        "batches": sorted(_told(row, "id", "status", "counts") for row in batches),
        "carves": sorted(_told(row, "hold", "record_class", "day", "rows") for row in carves),
        "held": sorted(_held(vault, hold) for hold in {row["hold"] for row in carves}),
        "states": {name: sorted(_told(row, "id", "state") for row in rows) for name, rows in states.items()},
        "until": until,
        "people": people,
        "carved ahead": None if told_ahead is None else told_ahead.until.isoformat(),
        "dropped": dropped,
        "versions": versions,
        "files": _files(vault),
    }


def _told(row: dict[str, Any], *names: str) -> str:
    return json.dumps([row.get(name) for name in names])


def _frames(vault: Vault) -> list[tuple[str, pl.DataFrame]]:
    """What every record file gives up to who has the ring: of a dead day nothing, of a dead category neither."""
    custody, found = vault.keys.custody("verify"), []
    with vault.catalogue.reading() as tx:
        files = tx.select("files")
    for row in files:
        place = Place(row["record_class"], date.fromisoformat(row["day"]), row["id"], row["generation"] or 1)
        living = {name for name in (*CATEGORIES, FRAME) if custody.has(place.day_key_id(name))}
        columns = [name for name in SCHEMA.names if category_of(name, place.record_class) in living]
        if FRAME in living:
            args = vault.layout, custody, place.record_class, place.day, place.file_id, columns
            rows = partitions.read_in_custody(*args, generation=place.generation)
            found.append((f"{place.record_class}/{place.day}", rows))
    return found


def _rows(vault: Vault) -> set[str]:
    """What identifies each record that is stored and can be read."""
    return {
        f"{where}/{'/'.join(map(str, row))}" for where, frame in _frames(vault) for row in frame.select(_ROW).rows()
    }


def _content(vault: Vault) -> str:
    """A digest of all that can be read of all of them, in no order."""
    rows = sorted(f"{where} {row}" for where, frame in _frames(vault) for row in frame.rows(named=True))
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def _held(vault: Vault, hold: str) -> str:
    """What a hold keeps, each record once."""
    with vault.catalogue.reading() as tx:
        carves = tx.select(carving.TABLE, hold=hold)
    rows = carving.rows_of(vault, vault.keys.custody("hold").key(hold_key_id(hold)), carves)
    return f"{hold} {rows.height}"


def _files(vault: Vault) -> dict[str, int]:
    """How many files of each kind lie in both directories; a temporary one is a kind of its own."""
    found: Counter[str] = Counter()
    for directory in (vault.layout.vault, vault.layout.keys):
        for path in directory.rglob("*"):
            if path.is_file() and not path.name.endswith(_PASSING):
                kind = PART if PART in path.name else path.suffix or path.name.rstrip("0123456789")
                found[f"{path.relative_to(directory).parts[0] if path.parent != directory else ''} {kind}"] += 1
    return dict(sorted(found.items()))


if __name__ == "__main__":
    _act = BY_NAME[sys.argv[1]]
    _act.do(House(Path(sys.argv[2]), _act.now, KillingDisk(int(sys.argv[3]))))
