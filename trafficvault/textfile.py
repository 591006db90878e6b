"""The status as a Prometheus text file (text exposition format 0.0.4), for a node exporter's textfile collector.

Numbers about the vault and nobody in it: classes and days, never a value of a record. The file is put in place whole,
so that a collector never reads half of it. Times are seconds since 1970; what never happened has no line.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Final

from trafficvault.durable import Disk
from trafficvault.errors import UsageError
from trafficvault.layout import Layout
from trafficvault.status import Status

GAUGES: Final = {
    "due_partitions": ("due", "Partitions, rejections and held batches that are due and still live."),
    "max_lateness_seconds": ("max_lateness_seconds", "How long the latest of them has been due."),
    "pending_key_destruction": ("pending_key_destruction", "Expiries that began and whose keys are still there."),
    "held_batches": ("held_batches", "Batches that wait for a person."),
    "records": ("records", "Records held."),
    "stored_bytes": ("bytes", "Bytes of record files and their blocks."),
    "free_bytes": ("free_bytes", "Bytes free on the file system of the vault."),
    "generation": ("generation", "Generation of the key ring."),
}
"""Each metric without its prefix, the fact of `status` that it tells, and its help."""
MOMENTS: Final = {
    "last_expiry_timestamp_seconds": ("last_expiry", "When an expiry last came to its end."),
    "last_ingest_timestamp_seconds": ("last_ingest", "When a file was last taken in."),
    "last_verify_timestamp_seconds": ("last_verify", "When verify last found no fault."),
}
_READABLE: Final = 0o644


def render(state: Status) -> str:
    """The content of the file."""
    lines: list[str] = []
    for name, (fact, words) in GAUGES.items():
        lines += [*_head(name, words), f"trafficvault_{name} {state.facts[fact]}"]
    for name, (fact, words) in MOMENTS.items():
        moment = state.facts[fact]
        if moment is not None:
            seconds = datetime.fromisoformat(str(moment)).timestamp()
            lines += [*_head(name, words), f"trafficvault_{name} {seconds:.3f}"]
    lines += [*_head("wrong", "Sentences of status that fail its check."), f"trafficvault_wrong {len(state.wrong)}"]
    if state.late:
        lines += _head("partition_lateness_seconds", "How long one of what is due has been due.")
    for item in state.late:
        labels = (
            f'what="{item.what}",class="{item.record_class}",day="{item.day}",categories="{"+".join(item.categories)}"'
        )
        seconds_late = int(item.lateness.total_seconds())
        lines.append(f"trafficvault_partition_lateness_seconds{{{labels}}} {seconds_late}")
    return "\n".join(lines) + "\n"


def write(disk: Disk, layout: Layout, path: Path, state: Status) -> None:
    """Puts the status at `path`, readable by everybody. Raises `UsageError` when it lies inside the vault or its keys,
    or can't be written.
    """
    place = path.resolve()
    for inside in (layout.vault.resolve(), layout.keys.resolve()):
        if place.is_relative_to(inside):
            raise UsageError(f"writing {path.name}: it lies inside {inside.name}; name a directory of the collector's")
    try:
        disk.create(path, render(state).encode(), _READABLE)
    except OSError as problem:
        raise UsageError(f"writing {path.name}: {problem.strerror}; name a directory of the collector's") from problem


def _head(name: str, words: str) -> list[str]:
    return [f"# HELP trafficvault_{name} {words}", f"# TYPE trafficvault_{name} gauge"]
