"""What a run measured, read from pytest-benchmark's JSON: figures by name, with their unit and the peers'."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.watch import FIGURES

MORE_IS_BETTER = frozenset({"rows/s"})
NO_COST = frozenset({"rows"})
"""Units of figures that only tell what was measured, and of which neither more nor less is better."""


class ResultsFault(Exception):
    """A file of results is not there, or not of the form."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure: of which suite, its value, its unit, and the peers' values by name."""

    suite: str
    name: str
    value: float
    unit: str
    peers: dict[str, float]


@dataclass(frozen=True, slots=True)
class Results:
    """One run. `series` are the points of the growth plot by name: stored records and cost, with their unit."""

    scale: str
    machine: dict[str, str]
    peers: dict[str, str]
    figures: tuple[Figure, ...]
    series: dict[str, tuple[str, list[tuple[float, float]]]]


def load(path: Path) -> Results:
    """The results in the JSON file at `path`. Raises `ResultsFault` when they can't be read."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        benchmarks = found["benchmarks"]
        return Results(
            found["scale"],
            _machine(found),
            dict(found["peers"]),
            tuple(
                Figure(bench["group"] or "", name, entry["value"], entry["unit"], dict(entry["peers"]))
                for bench in benchmarks
                for name, entry in bench["extra_info"].get(FIGURES, {}).items()
            ),
            {
                name: (entry["unit"], [(float(at), float(cost)) for at, cost in entry["points"]])
                for bench in benchmarks
                for name, entry in bench["extra_info"].get("series", {}).items()
            },
        )
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise ResultsFault(
            f"reading the results {path.name}: {problem.__class__.__name__}; make them with `make bench`"
        ) from problem


def load_all(paths: Sequence[Path]) -> Results:
    """The results of several runs of one scale, of suites that were run apart; of a figure in two, the later file's.

    Raises `ResultsFault` when one can't be read or is of another scale.
    """
    runs = [load(path) for path in paths]
    if len({run.scale for run in runs}) != 1:
        raise ResultsFault(
            f"reading {len(runs)} files of results: they are of {len({run.scale for run in runs})} scales"
        )
    figures = {figure.name: figure for run in runs for figure in run.figures}
    series = {name: entry for run in runs for name, entry in run.series.items()}
    peers = {name: entry for run in runs for name, entry in run.peers.items()}
    return Results(runs[-1].scale, runs[-1].machine, peers, tuple(figures.values()), series)


def told(value: float) -> str:
    """A figure as it is shown: three digits that mean something, or a larger number without its fraction."""
    return f"{float(f'{value:.3g}'):,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _machine(found: dict[str, Any]) -> dict[str, str]:
    host, cpu = found["machine_info"], found["machine_info"].get("cpu", {})
    return {
        "date": str(found["datetime"])[:10],
        "processor": f"{cpu.get('count', '?')} × {cpu.get('brand_raw', host['machine'])}",
        "python": f"{host['python_implementation']} {host['python_version']}",
        "load": str(found.get("load", "unknown")),
        "system": f"{host['system']} {host['machine']}",
    }
