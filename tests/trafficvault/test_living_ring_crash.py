"""The living ring after a crash: whatever step a run was stopped at, the next process finds all it needs."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NoReturn

import pytest

from tests.trafficvault.sealed_store import DAY, VAULT_ID, Store, new_store
from trafficvault.durable import Disk
from trafficvault.keys import KeyStore
from trafficvault.layout import day_key_id
from trafficvault.provider import LocalKeyFile

WHERE = day_key_id("mobile_usage", DAY, "where")
NEW = "mobile_usage/2026-03-02/who"


class StopsAt(Disk):
    """A disk that stops the process at its `at`-th step; counts the steps of a run that is not stopped."""

    def __init__(self, at: int, stop: Callable[[], object]) -> None:
        self.at, self.stop, self.steps = at, stop, 0

    def step(self, name: str) -> None:
        """One step further."""
        self.steps += 1
        if self.steps == self.at:
            self.stop()


class Stopped(BaseException):
    """Stands for the end of the process, which no handler survives."""


def stop() -> NoReturn:
    """Ends the run by unwinding it."""
    raise Stopped


def act(store: Store, disk: Disk, catalogue: Path) -> None:
    """A writer's run: a new day key that is used, a renewal without `WHERE`, another day key that is used."""
    provider = LocalKeyFile.open(store.layout, disk, VAULT_ID)
    generation = int(catalogue.read_text())
    keys = KeyStore.open(store.layout, disk, provider, VAULT_ID, catalogue_generation=generation, writer=True)
    custody = keys.custody("receive")
    for name, used in ((NEW, "used-1"), ("mobile_usage/2026-03-03/who", "used-2")):
        keys.ensure([name])
        (catalogue.parent / used).write_text(f"{name} {custody.key(name).hex()}")
        if keys.has_any([WHERE]):
            keys.renew({WHERE}, lambda g: disk.create(catalogue, str(g).encode()))


def steps_of_a_run(tmp_path: Path) -> int:
    """How many durable steps `act` takes."""
    store, disk, catalogue = new_store(tmp_path / "whole"), StopsAt(0, stop), tmp_path / "whole" / "catalogue"
    catalogue.write_text("1")
    act(store, disk, catalogue)
    return disk.steps


def in_a_child(run: Callable[[], object]) -> None:
    """Runs `run` in a process of its own, which may end at any moment."""
    with warnings.catch_warnings():
        # Python warns of forking beside threads; the child runs no library that has some, and ends without cleanup.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            run()
        finally:
            os._exit(0)
    os.waitpid(child, 0)


@pytest.mark.parametrize("way", ["unwound", "killed"])
def test_a_run_stopped_at_any_step_loses_no_survivor_and_keeps_no_dead(tmp_path: Path, way: str) -> None:
    """Reopened: every key a file used is there; committed, the dead are nowhere; else the run simply goes on."""
    steps = steps_of_a_run(tmp_path)
    committed = 0
    for at in range(1, steps + 1):
        store = new_store(tmp_path / str(at))
        catalogue = tmp_path / str(at) / "catalogue"
        catalogue.write_text("1")
        before = {name: store.keys.custody("verify").key(name) for name in store.keys.key_ids()}
        if way == "unwound":
            with pytest.raises(Stopped):
                act(store, StopsAt(at, stop), catalogue)
        else:
            in_a_child(partial(act, store, StopsAt(at, partial(os._exit, 9)), catalogue))

        generation = int(catalogue.read_text())
        keys = store.reopened(generation)
        custody = keys.custody("verify")
        for name in before.keys() - {WHERE}:
            assert custody.key(name) == before[name]
        for used in catalogue.parent.glob("used-*"):
            name, key_hex = used.read_text().split()
            assert custody.key(name).hex() == key_hex
        assert keys.has_any([WHERE]) == (generation == 1)
        assert {path.name for path in store.layout.keys.iterdir()} == {
            "root.key",
            f"epoch-{generation}",
            f"ring-{generation}",
        }
        committed += generation == 2

        act(store, Disk(), catalogue)
        assert not store.reopened(2).has_any([WHERE])
    assert 0 < committed < steps


def test_a_stopped_recovery_can_be_repeated(tmp_path: Path) -> None:
    """Stopping the opening that finishes a renewal, at each of its steps, still ends with the dead gone."""
    for at in range(1, 20):
        store = new_store(tmp_path / str(at))
        # Stopped right behind the commit: generation 1 is still there whole.
        with pytest.raises(Stopped):
            store.keys.renew({WHERE}, lambda generation: stop())
        disk = StopsAt(at, stop)
        provider = LocalKeyFile.open(store.layout, disk, VAULT_ID)
        try:
            KeyStore.open(store.layout, disk, provider, VAULT_ID, catalogue_generation=2, writer=True)
        except Stopped:
            assert WHERE not in store.reopened(2).key_ids()
            continue
        break
    assert at > 3
