"""The schedule: one process that runs what has no person: expiry, compaction, verification, canary, checkpoints.

Each job opens the vault by itself, asks it what is due, and lets go of it; so nothing is lost when a tick is missed or
the process is killed, and running twice does nothing twice. What became of the last run stands in the catalogue
(`trafficvault.runs`), from which the next process goes on. APScheduler keeps the time, in memory: a job store on disk
would be a pickle, and whoever can write it could run code.

Jobs run one after the other, on one thread. A job that fails is told by `status` and done again at its next time; one
failure stops no other job.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Protocol

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from trafficvault import canary, compact, disk_errors, expire, locks, publishing, runs, verify
from trafficvault.errors import BusyError, VaultError
from trafficvault.layout import Layout
from trafficvault.runs import Run, Waiting
from trafficvault.settings import Settings
from trafficvault.vault import Vault

WRITER_SECONDS = 600.0
"""How long a job waits for another process that writes."""
_LOG = logging.getLogger(__name__)
_NIGHTS = 28
"""Every record file is read once in so many nightly samples."""


class House(Protocol):
    """How a job comes to the vault, each time anew."""

    @property
    def layout(self) -> Layout:
        """Where the vault stands."""
        ...

    def open(self) -> Vault:
        """The vault, to look at."""
        ...

    def writing(self, *, on_reserve: bool = False, wait: float = 0.0) -> AbstractContextManager[Vault]:
        """The vault under the writer's lock."""
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """One thing to do: its name, how often, and the act, which tells in a sentence what it did."""

    name: str
    every: timedelta
    act: Callable[[House], str]


def jobs(settings: Settings) -> list[Job]:
    """The jobs of a vault, as its settings time them; one with no time at all is off."""
    times = {
        "expire": settings.expire_every.delta(),
        "compact": settings.compact_every.delta(),
        "verify": settings.verify_every.delta(),
        "canary": settings.canary_every.delta(),
        "checkpoint": settings.checkpoint_every.delta(),
    }
    acts = {"expire": _expire, "compact": _compact, "verify": _verify, "canary": _canary, "checkpoint": _checkpoint}
    return [Job(name, every, acts[name]) for name, every in times.items() if every > timedelta()]


def listing(vault: Vault) -> list[Run | Waiting]:
    """Every job by name: its last run, or since when one that never ran is due; those that are off and ran once too."""
    known, now = _known(vault), vault.clock.now()
    timed = {job.name: job.every for job in jobs(vault.settings)}
    waiting = {name: Waiting(name, runs.due(known, name, every, now)) for name, every in timed.items()}
    return [known.get(name) or waiting[name] for name in sorted({*known, *timed})]


def run_due(house: House) -> list[Run]:
    """Runs every job that is due now, once, and returns what became of them.

    Raises `BusyError` when another process keeps the schedule.
    """
    with _alone(house.layout):
        with _looking(house) as vault:
            now, known = vault.clock.now(), _known(vault)
            due = [job for job in jobs(vault.settings) if runs.due(known, job.name, job.every, now) <= now]
        for job in due:
            _run(house, job)
        with _looking(house) as vault:
            known = _known(vault)
        return [known[job.name] for job in due if job.name in known]


def keep(house: House, ended: Event) -> None:
    """Keeps the schedule until `ended` is set; a job that runs then is finished first.

    Raises `BusyError` when another process keeps it.
    """
    with _alone(house.layout):
        with _looking(house) as vault:
            now, known, wanted = vault.clock.now(), _known(vault), jobs(vault.settings)
        scheduler = BackgroundScheduler(
            timezone="UTC",  # local time skips or doubles a run where clocks change
            executors={"default": ThreadPoolExecutor(1)},
            job_defaults={"coalesce": True, "misfire_grace_time": None, "max_instances": 1},
        )
        for job in wanted:
            wait = max(runs.due(known, job.name, job.every, now) - now, timedelta())
            scheduler.add_job(
                _run,
                IntervalTrigger(seconds=int(job.every.total_seconds()), timezone="UTC"),
                (house, job),
                id=job.name,
                next_run_time=datetime.now(UTC) + wait,
            )
        scheduler.start()
        try:
            ended.wait()
        finally:
            scheduler.shutdown(wait=True)


@contextmanager
def _looking(house: House) -> Iterator[Vault]:
    vault = house.open()
    try:
        yield vault
    finally:
        vault.catalogue.close()


@contextmanager
def _writing(house: House, *, on_reserve: bool = False) -> Iterator[Vault]:
    with house.writing(on_reserve=on_reserve, wait=WRITER_SECONDS) as vault:
        try:
            yield vault
        finally:
            vault.catalogue.close()


def _known(vault: Vault) -> dict[str, Run]:
    with vault.catalogue.reading() as tx:
        return {run.job: run for run in runs.listing(tx)}


def _run(house: House, job: Job) -> None:
    """One run of `job`, whatever comes of it; a failure is told in the catalogue and on the log, and ends here."""
    try:
        with _looking(house) as vault, vault.catalogue.transaction() as tx:
            runs.begin(tx, job.name, vault.clock.now(), job.every)
        failed, told = _outcome(house, job)
        with _looking(house) as vault, vault.catalogue.transaction() as tx:
            runs.end(tx, job.name, vault.clock.now(), told, failed=failed)
    except (VaultError, OSError) as problem:
        why = disk_errors.told("noting the run", problem) if isinstance(problem, OSError) else problem
        _LOG.error("job %s: its run can't be noted: %s", job.name, why)


def _outcome(house: House, job: Job) -> tuple[bool, str]:
    """Whether `job` failed, and what it says it did, or why it could not."""
    try:
        return False, job.act(house)
    except VaultError as problem:
        # With what failed beside it (`trafficvault.steadfast`).
        told = "; ".join([str(problem), *getattr(problem, "__notes__", ())])
    except OSError as problem:
        told = str(disk_errors.told(job.name, problem))
    except Exception as problem:  # a fault of ours; its text may hold a value of a record, so its kind alone is told
        told = f"internal error: {type(problem).__name__}"
    _LOG.error("job %s: %s", job.name, told)
    return True, told


@contextmanager
def _alone(layout: Layout) -> Iterator[None]:
    with locks.scheduling(layout) as free:
        if not free:
            raise BusyError("keeping the schedule: another process keeps it for this vault; end that one first")
        yield


# --- the jobs ---------------------------------------------------------------------------------------------------------


def _expire(house: House) -> str:
    with _writing(house, on_reserve=True) as vault:
        done = expire.expire(vault)
    return f"{len(done.items)} expired, {len(done.certificates)} certificates"


def _checkpoint(house: House) -> str:
    with _writing(house) as vault:
        done = publishing.publish(vault)
    if done.problems:
        raise VaultError("; ".join(done.problems))
    return f"{done.row['size']} entries signed, sent to {len(done.sent)} place{'s' * (len(done.sent) != 1)}"


def _compact(house: House) -> str:
    with _looking(house) as vault:
        done = compact.compact(vault)
    done.require_clean()
    return f"{len(done.compacted)} days compacted"


def _verify(house: House) -> str:
    with _writing(house) as vault:
        night = vault.clock.now().toordinal() % _NIGHTS
        found = verify.verify(vault, wanted=lambda row: int(str(row["id"])[:8], 16) % _NIGHTS == night)
    found.require_clean()
    return f"{found.checked['record files']} record files read, no fault"


def _canary(house: House) -> str:
    with _writing(house) as vault:
        return canary.sing(vault).sentence
