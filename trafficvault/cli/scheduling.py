"""Verbs of the schedule: keep it, run what is due, see what ran."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from threading import Event

import typer

from trafficvault import schedule, wording
from trafficvault.cli.door import AsJson, door
from trafficvault.cli.screen import print_lines, print_object, print_table
from trafficvault.errors import FaultError
from trafficvault.runs import Run, Waiting

schedule_verbs = typer.Typer(no_args_is_help=True, help="The schedule: what runs by itself, and when.")


def add_to(app: typer.Typer) -> None:
    """Adds this module's verbs to `app`."""
    app.add_typer(schedule_verbs, name="schedule")


@schedule_verbs.command("run")
def run(context: typer.Context) -> None:
    """Keep the schedule until SIGTERM or Ctrl-C; a job that runs then is finished first."""
    ended = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    print_lines(["keeping the schedule; `trafficvault schedule list` shows what ran"])
    schedule.keep(door(context), ended)


@schedule_verbs.command("once")
def once(context: typer.Context, as_json: AsJson = False) -> None:
    """Run what is due now, and end: for a timer of the operating system (exit code 5 when a job failed)."""
    done = schedule.run_due(door(context))
    _print(done, as_json, door(context).open().policy.zone)
    failed = [item.job for item in done if item.state == "failed"]
    if failed:
        raise FaultError(f"running the schedule: {', '.join(failed)} failed; `schedule list` says why")


@schedule_verbs.command("list")
def list_(context: typer.Context, as_json: AsJson = False) -> None:
    """Show each job's last run, what came of it, and when it is next; before the first run, when that is due."""
    vault = door(context).open()
    _print(schedule.listing(vault), as_json, vault.policy.zone)


def _print(done: Sequence[Run | Waiting], as_json: bool, zone: str) -> None:
    if as_json:
        print_object({"jobs": [item.as_dict() for item in done]})
    else:
        rows = [
            (
                *(item.job, item.state, None if item.started is None else wording.moment(item.started, zone)),
                *(wording.moment(item.next, zone), item.told),
            )
            for item in done
        ]
        print_table("schedule", ("job", "state", "started", "next", "told"), rows)
