"""Verbs of the schedule: what is due now, what ran, and a process that keeps time until it is told to end."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from datetime import timedelta

import pytest

from tests.trafficvault.cli.commandline import CommandLine
from trafficvault import locks, schedule
from trafficvault.schedule import Job

JOBS = ["canary", "checkpoint", "compact", "expire", "verify"]


def test_what_is_due_runs_once(line: CommandLine) -> None:
    """All of it at first, then nothing until its time; the list and `status` show when."""
    first = line("schedule", "once", "--json")
    assert (first.code, sorted(job["job"] for job in first.object["jobs"])) == (0, JOBS)
    assert line("schedule", "once", "--json").object == {"jobs": []}
    listed = line("schedule", "list", "--json").object["jobs"]
    assert [(job["job"], job["state"]) for job in listed] == [(name, "done") for name in JOBS]
    assert "taken in and found again" in line("schedule", "list").out
    assert sorted(line("status", "--json").object["schedule"]) == JOBS
    shown = [row.split() for row in line("status").out.splitlines()]
    begin = shown.index(["schedule"]) + 2
    runs = {row[0]: row[1:] for row in shown[begin : begin + len(JOBS)]}
    assert sorted(runs) == JOBS
    assert runs["expire"] == ["done", "2026-11-20", "11:00", "+01:00", "2026-11-20", "12:00", "+01:00"]


def test_what_never_ran_is_listed_with_when_it_is_due(line: CommandLine) -> None:
    """Before the first run each job waits, and is due now; `status`, which tells of runs alone, tells of none."""
    assert "schedule: none" in line("status").out
    listed = line("schedule", "list", "--json").object["jobs"]
    assert [(job["job"], job["state"], job["started"]) for job in listed] == [(name, "waiting", None) for name in JOBS]
    assert {job["next"] for job in listed} == {line.now.isoformat()}
    shown = line("schedule", "list").out
    assert "2026-11-20 11:00 +01:00" in shown
    assert "never ran yet" in shown


def test_a_failure_is_an_exit_code(line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that failed is named on stderr with exit code 5, and `status --check` fails until it goes well again."""
    job = Job("compact", timedelta(hours=1), lambda house: str(1 // 0))
    monkeypatch.setattr(schedule, "jobs", lambda settings: [job])
    done = line("schedule", "once")
    assert (done.code, "compact failed; `schedule list` says why" in done.err) == (5, True)
    checked = line("status", "--check")
    assert (checked.code, "job compact failed" in checked.err) == (5, True)


def test_another_process_keeps_it(line: CommandLine) -> None:
    """Exit code 8."""
    with locks.scheduling(line.layout):
        assert line("schedule", "once").code == 8


@pytest.mark.slow
def test_a_process_keeps_it_until_it_is_told_to_end(line: CommandLine) -> None:
    """What is due runs at once; SIGTERM ends it with exit code 0, and nothing is left running."""
    words = ["--vault", str(line.layout.vault), "--keys", str(line.layout.keys), "schedule", "run"]
    process = subprocess.Popen([sys.executable, "-m", "trafficvault", *words], stdout=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 90
        ran: list[str] = []
        while len(ran) < len(JOBS) and time.monotonic() < until:
            time.sleep(0.5)
            jobs = line("schedule", "list", "--json").object["jobs"]
            ran = [job["job"] for job in jobs if job["state"] not in ("running", "waiting")]
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
    assert sorted(ran) == JOBS
