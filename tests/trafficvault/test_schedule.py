"""The schedule: every job runs when it is due, once, and a failure of one stops no other."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event, Thread

import pytest

from tests.support import NOW, Usage, ingest, layout_at, usage
from tests.trafficvault.prepared_vault import Prepared
from trafficvault import app, locks, schedule
from trafficvault.clock import SetClock
from trafficvault.durable import Disk
from trafficvault.errors import BusyError, FaultError
from trafficvault.layout import Layout
from trafficvault.period import Period
from trafficvault.runs import Run
from trafficvault.schedule import Job
from trafficvault.steadfast import Attempts
from trafficvault.vault import Vault

HOUR = timedelta(hours=1)
ALL = {"expire", "compact", "verify", "canary", "checkpoint"}


@dataclass
class Doorway:
    """The vault below a directory, at a moment that a test sets."""

    directory: Path
    now: datetime = NOW
    opened: int = field(default=0)

    @property
    def layout(self) -> Layout:
        """Where it stands."""
        return layout_at(self.directory)

    def open(self) -> Vault:
        """The vault, to look at."""
        self.opened += 1
        return app.open_vault(self.layout, Disk(), SetClock(self.now))

    @contextmanager
    def writing(self, *, on_reserve: bool = False, wait: float = 0.0) -> Iterator[Vault]:
        """The vault under the writer's lock."""
        with locks.writing(self.layout, wait):
            yield app.open_vault(self.layout, Disk(), SetClock(self.now), writer=True)


@pytest.fixture
def doorway(prepared: Prepared, tmp_path: Path) -> Doorway:
    """A copy of the prepared vault."""
    prepared.copy(tmp_path)
    return Doorway(tmp_path)


def by_name(done: list[Run]) -> dict[str, Run]:
    """Runs by their job."""
    return {run.job: run for run in done}


def test_everything_is_due_in_a_new_vault(doorway: Doorway) -> None:
    """The first run does every job, and each tells what it did."""
    done = by_name(schedule.run_due(doorway))
    assert done.keys() == ALL
    assert {run.state for run in done.values()} == {"done"}
    assert done["expire"].told == "0 expired, 0 certificates"
    assert done["compact"].told.endswith("days compacted")
    assert done["verify"].told.endswith("record files read, no fault")
    assert "taken in and found again" in done["canary"].told


def test_each_job_has_its_own_time(doorway: Doorway) -> None:
    """An hour later expiry alone is due; nothing is twice within its time; after a week away all run once."""
    schedule.run_due(doorway)
    assert schedule.run_due(doorway) == []
    doorway.now += HOUR
    assert by_name(schedule.run_due(doorway)).keys() == {"expire"}
    doorway.now += timedelta(days=6)
    assert by_name(schedule.run_due(doorway)).keys() == ALL


def test_what_is_due_expires_by_itself(doorway: Doorway, monkeypatch: pytest.MonkeyPatch) -> None:
    """Day after day, the schedule alone forgets what has reached its term; the other jobs are not needed for it."""
    every = schedule.jobs
    monkeypatch.setattr(schedule, "jobs", lambda settings: [job for job in every(settings) if job.name == "expire"])
    expired = 0
    for _ in range(31):
        doorway.now += timedelta(days=6, hours=12)
        told = by_name(schedule.run_due(doorway))["expire"].told
        expired += int(told.split()[0])
    vault = doorway.open()
    with vault.catalogue.reading() as tx:
        states = {row["day"]: row["state"] for row in tx.select("partitions")}
    assert expired >= 3
    assert {states[f"2026-11-{day}"] for day in (10, 11, 12)} == {"tombstone"}


def test_a_failure_stops_no_other_job(
    doorway: Doorway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told with its sentence, or by its kind alone where it is ours, and the rest goes on."""

    def broken(house: schedule.House) -> str:
        raise FaultError("opening the ring: it is damaged")

    def ours(house: schedule.House) -> str:
        raise ValueError("+31612345678")

    def full(house: schedule.House) -> str:
        raise OSError(errno.ENOSPC, "+31612345678")

    third = Job("third", HOUR, lambda house: "fine")
    wanted = [Job("first", HOUR, broken), Job("second", HOUR, ours), third, Job("fourth", HOUR, full)]
    monkeypatch.setattr(schedule, "jobs", lambda settings: wanted)
    with caplog.at_level(logging.ERROR):
        done = by_name(schedule.run_due(doorway))
    assert [done[name].state for name in ("first", "second", "third")] == ["failed", "failed", "done"]
    assert done["first"].told == "opening the ring: it is damaged"
    assert done["second"].told == "internal error: ValueError"
    assert done["fourth"].told == "fourth: the disk is full; nothing is half done: free space and do it again"
    assert "31612345678" not in caplog.text


def test_what_failed_beside_is_told_of_a_run(doorway: Doorway, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an expiry that could not write two days anew both are told, and not the first alone."""

    def broken(house: schedule.House) -> str:
        attempts = Attempts()
        for day in ("one day", "another day"):
            with attempts.one("expiring"):
                raise FaultError(day)
        attempts.require_done()
        return "fine"

    monkeypatch.setattr(schedule, "jobs", lambda settings: [Job("first", HOUR, broken)])
    assert by_name(schedule.run_due(doorway))["first"].told == "one day; beside it: another day"


def test_one_process_keeps_it(doorway: Doorway) -> None:
    """A second one is refused while the first lives."""
    with (
        locks.scheduling(doorway.layout) as free,
        pytest.raises(BusyError, match="another process keeps it"),
    ):
        assert free
        schedule.run_due(doorway)


@pytest.mark.parametrize(
    ("problem", "told"),
    [
        (FaultError("opening the vault: its ring is missing"), "opening the vault: its ring is missing"),
        (OSError(errno.EIO, "31612345678"), "noting the run: a file could not be read or written: Input/output error"),
    ],
)
def test_a_vault_that_can_not_be_opened_is_told(
    doorway: Doorway,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    problem: Exception,
    told: str,
) -> None:
    """When not even the run can be noted, the log says it, and the schedule lives on."""
    real = Doorway.open

    def breaks(self: Doorway) -> Vault:
        if self.opened == 1:
            self.opened += 1
            raise problem
        return real(self)

    monkeypatch.setattr(Doorway, "open", breaks)
    monkeypatch.setattr(schedule, "jobs", lambda settings: [Job("only", HOUR, lambda house: "fine")])
    with caplog.at_level(logging.ERROR):
        assert schedule.run_due(doorway) == []
    assert f"job only: its run can't be noted: {told}" in caplog.text
    assert "31612345678" not in caplog.text


def test_it_keeps_time_until_it_is_ended(doorway: Doorway, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is due runs at once, again after its time, and the process ends when it is told to."""
    ended, ran = Event(), []

    def act(house: schedule.House) -> str:
        ran.append(1)
        if len(ran) == 2:
            ended.set()
        return "fine"

    monkeypatch.setattr(schedule, "jobs", lambda settings: [Job("quick", timedelta(seconds=1), act)])
    keeper = Thread(target=schedule.keep, args=(doorway, ended), daemon=True)
    keeper.start()
    keeper.join(30)
    assert not keeper.is_alive()
    assert len(ran) >= 2


def test_a_checkpoint_that_was_not_sent_is_a_failed_run(doorway: Doorway) -> None:
    """It is made all the same, and sent with the next; the run tells which place did not get it."""
    done = by_name(schedule.run_due(doorway))
    assert done["checkpoint"].told.endswith("entries signed, sent to 0 places")
    path = doorway.layout.settings
    path.write_text(path.read_text().replace("checkpoint_to = []", 'checkpoint_to = "command:/bin/false"'))
    doorway.now += timedelta(days=1)
    failed = by_name(schedule.run_due(doorway))["checkpoint"]
    assert failed.state == "failed"
    assert "false ended with exit code 1" in failed.told


def test_a_job_without_time_is_off(doorway: Doorway) -> None:
    """`PT0S` takes a job off the schedule."""
    off = Period()
    settings = replace(doorway.open().settings, canary_every=off, verify_every=off, checkpoint_every=off)
    assert {job.name for job in schedule.jobs(settings)} == {"expire", "compact"}


def test_a_sample_reads_every_file_in_its_turn(doorway: Doorway) -> None:
    """In four weeks of nights each record file was read once."""
    vault = doorway.open()
    ingest(vault, "mvno_pipe", usage([Usage(at="20261113120000")]), "S4PGWM000004")
    with vault.catalogue.reading() as tx:
        files = len(tx.select("files"))
    nightly = schedule.jobs(replace(vault.settings, canary_every=Period()))[2]
    read = 0
    for _ in range(28):
        doorway.now += timedelta(days=1)
        read += int(nightly.act(doorway).split()[0])
    assert (nightly.name, read) == ("verify", files)
