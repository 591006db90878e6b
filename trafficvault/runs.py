"""Runs: when each job of the schedule last ran, what came of it, and when it is due again. One row per job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from trafficvault import signing, wording
from trafficvault.catalogue import Row, Transaction

TABLE = "runs"
SLACK = timedelta(hours=1)
"""How far beyond its time a job may be before the schedule counts as standing still."""


@dataclass(frozen=True, slots=True)
class Run:
    """The last run of a job. `state` is running, done or failed; `ended` and `succeeded` are None before the first."""

    job: str
    state: str
    told: str
    started: datetime
    ended: datetime | None
    succeeded: datetime | None
    next: datetime

    def as_dict(self) -> dict[str, object]:
        """The form of `--json`."""
        return {
            "job": self.job,
            "state": self.state,
            "started": self.started.isoformat(),
            "ended": None if self.ended is None else self.ended.isoformat(),
            "succeeded": None if self.succeeded is None else self.succeeded.isoformat(),
            "next": self.next.isoformat(),
            "told": self.told,
        }


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job that never ran, and when it is to."""

    job: str
    next: datetime
    state: str = "waiting"
    started: None = None
    told: str = "never ran yet"

    def as_dict(self) -> dict[str, object]:
        """The form of `--json`, as that of a run."""
        never = dict.fromkeys(("started", "ended", "succeeded"))
        return {"job": self.job, "state": self.state, **never, "next": self.next.isoformat(), "told": self.told}


def begin(tx: Transaction, job: str, now: datetime, every: timedelta) -> None:
    """Says that `job` runs from `now` on. A run that a crash cut short stays `running` until the next."""
    before = tx.get(TABLE, job=job)
    tx.put(
        TABLE,
        job=job,
        state="running",
        told="",
        started_at=signing.instant(now),
        succeeded_at=None if before is None else before["succeeded_at"],
        next_at=signing.instant(now + every),
    )


def end(tx: Transaction, job: str, now: datetime, told: str, *, failed: bool) -> None:
    """Says what came of the run that `begin` told of."""
    row = tx.get(TABLE, job=job)
    if row is None:
        raise KeyError(f"job {job} was never begun")
    ended = signing.instant(now)
    done = {"succeeded_at": row["succeeded_at"] if failed else ended}
    tx.put(TABLE, **row | done | {"state": "failed" if failed else "done", "told": told, "ended_at": ended})


def listing(tx: Transaction) -> list[Run]:
    """The last run of every job, by name."""
    return [_run(row) for row in tx.select(TABLE, order_by="job")]


def due(known: Mapping[str, Run], job: str, every: timedelta, now: datetime) -> datetime:
    """When `job` is to run: at once when it never ran or was cut short, else `every` after its last start.

    A start in the future, of a clock that went back since, counts as none.
    """
    last = known.get(job)
    if last is None or last.state == "running" or last.started > now:
        return now
    return last.started + every


def complaints(known: Mapping[str, Run], now: datetime, zone: str) -> list[str]:
    """What of the schedule wants attention, a sentence each; nothing where it was never used."""
    found = []
    for run in known.values():
        if run.state == "failed":
            found.append(f"job {run.job} failed at {wording.moment(run.started, zone)}: {run.told}")
        if run.next + SLACK < now:
            found.append(
                f"job {run.job} was to run at {wording.moment(run.next, zone)} and did not; is `schedule run` running?"
            )
    return found


def _run(row: Row) -> Run:
    return Run(
        row["job"],
        row["state"],
        row["told"],
        datetime.fromisoformat(row["started_at"]),
        _moment(row["ended_at"]),
        _moment(row["succeeded_at"]),
        datetime.fromisoformat(row["next_at"]),
    )


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
