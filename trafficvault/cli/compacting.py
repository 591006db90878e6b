"""The verb that merges the files of each day."""

from __future__ import annotations

from datetime import date
from typing import Annotated

import typer

from ingest.record import CLASSES
from trafficvault import compact as merging
from trafficvault.cli.door import AsJson, door
from trafficvault.cli.screen import print_lines, print_object, print_table, progress
from trafficvault.compaction import Selection
from trafficvault.errors import UsageError


def add_to(app: typer.Typer) -> None:
    """Adds this module's verb to `app`."""
    app.command("compact")(compact)


def compact(
    context: typer.Context,
    unsettled: Annotated[
        bool, typer.Option("--all", help="Also days that have not ended an hour ago, today among them.")
    ] = False,
    classes: Annotated[
        list[str] | None, typer.Option("--class", help="Only this record class; may be repeated.")
    ] = None,
    days: Annotated[list[str] | None, typer.Option("--day", help="Only this UTC date; may be repeated.")] = None,
    as_json: AsJson = False,
) -> None:
    """Merge the files of each class and day into one, with what makes lookups quick; answers stay the same."""
    selection = _selection(unsettled, classes or [], days or [])
    with progress("compact") as step:
        done = merging.compact(door(context).open(), selection, step)
    left = [{"class": item.record_class, "day": item.day.isoformat(), "reason": item.reason} for item in done.left]
    if as_json:
        told_of = {"left": left, "faults": list(done.faults), "replaced_files_gone": done.retired}
        print_object({"compacted": [item.as_dict() for item in done.compacted], **told_of})
    else:
        rows = [tuple(item.as_dict().values()) for item in done.compacted]
        print_table("compacted", ("class", "day", "files", "records", "bytes before", "bytes after", "blocks"), rows)
        print_lines([f"left {item['class']} {item['day']}: {item['reason']}" for item in left])
        print_lines(done.faults)
        if not done.retired:
            print_lines(["a reader still has replaced files; the next run, or ingest, removes them"])
    done.require_clean()


def _selection(unsettled: bool, classes: list[str], days: list[str]) -> Selection:
    for name in classes:
        if name not in CLASSES:
            raise UsageError(f"compacting: there is no class {name}; the classes are {', '.join(CLASSES)}")
    try:
        dates = frozenset(date.fromisoformat(text) for text in days)
    except ValueError:
        raise UsageError("compacting: a --day is not a date; write it as 2026-11-20") from None
    return Selection(unsettled, frozenset(classes) or None, dates or None)
