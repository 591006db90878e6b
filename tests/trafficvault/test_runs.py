"""Runs: what the schedule remembers of its jobs, and when it complains."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.support import NOW
from trafficvault import runs, wording
from trafficvault.runs import Run
from trafficvault.vault import Vault

HOUR = timedelta(hours=1)
ZONE = "Europe/Amsterdam"


def told(vault: Vault) -> dict[str, Run]:
    """Every job's last run."""
    with vault.catalogue.reading() as tx:
        return {run.job: run for run in runs.listing(tx)}


def ran(vault: Vault, *, failed: bool = False) -> None:
    """One run of the job `expire` at `NOW`."""
    with vault.catalogue.transaction() as tx:
        runs.begin(tx, "expire", NOW, HOUR)
    with vault.catalogue.transaction() as tx:
        runs.end(tx, "expire", NOW, "the disk is full" if failed else "nothing was due", failed=failed)


def test_a_run_is_remembered(stored: Vault) -> None:
    """When it began, what came of it, and when it is next."""
    ran(stored)
    run = told(stored)["expire"]
    assert (run.state, run.told, run.started, run.succeeded, run.next) == (
        "done",
        "nothing was due",
        NOW,
        NOW,
        NOW + HOUR,
    )
    assert runs.due(told(stored), "expire", HOUR, NOW) == NOW + HOUR
    assert runs.complaints(told(stored), NOW, ZONE) == []


def test_a_failure_keeps_the_last_success(stored: Vault) -> None:
    """A later failure is told, and the last success stays known."""
    ran(stored)
    ran(stored, failed=True)
    run = told(stored)["expire"]
    assert (run.state, run.succeeded) == ("failed", NOW)
    assert runs.complaints(told(stored), NOW, ZONE) == [
        f"job expire failed at {wording.moment(NOW, ZONE)}: the disk is full"
    ]


def test_a_run_that_was_cut_short_is_done_again(stored: Vault) -> None:
    """A crash leaves it running; it is due at once, as is one that never ran or ran in the future."""
    with stored.catalogue.transaction() as tx:
        runs.begin(tx, "expire", NOW, HOUR)
    known = told(stored)
    assert runs.due(known, "expire", HOUR, NOW + timedelta(minutes=1)) == NOW + timedelta(minutes=1)
    assert runs.due(known, "compact", HOUR, NOW) == NOW
    ran(stored)
    before = NOW - timedelta(days=1)
    assert runs.due(told(stored), "expire", HOUR, before) == before


def test_a_schedule_that_stands_still_is_told(stored: Vault) -> None:
    """A job that did not run an hour after its time is named; no job ever is where the schedule was never used."""
    ran(stored)
    assert runs.complaints(told(stored), NOW + 2 * HOUR, ZONE) == []
    late = runs.complaints(told(stored), NOW + 3 * HOUR, ZONE)
    assert len(late) == 1 and "did not; is `schedule run` running?" in late[0]
    assert runs.complaints({}, NOW, ZONE) == []


def test_what_never_began_does_not_end(stored: Vault) -> None:
    """Ending it is our own fault."""
    with pytest.raises(KeyError, match="never begun"), stored.catalogue.transaction() as tx:
        runs.end(tx, "expire", NOW, "", failed=False)
