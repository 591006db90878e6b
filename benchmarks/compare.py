"""Compares a run with the committed baseline: `python -m benchmarks.compare RESULTS.json …`.

A figure that is worse by more than the tolerance is a regression, and the command ends with status 1. A figure that
only one side has is named and judges nothing: the baseline has no say about what a run left out. `--write` makes the
run the new baseline. Figures of another machine are compared, with a warning: rates do not carry over.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.results import MORE_IS_BETTER, NO_COST, Results, ResultsFault, load_all

BASELINE = Path(__file__).with_name("baseline.json")
TOLERANCE = 0.25
"""A figure may be a quarter worse before it counts: so much differs between runs of one version on a shared machine."""


@dataclass(frozen=True, slots=True)
class Change:
    """One figure of both: `worse` is by how many times its cost grew, 1 when it is as before."""

    name: str
    unit: str
    before: float
    after: float
    worse: float


def changes(baseline: dict[str, Any], results: Results) -> list[Change]:
    """Every figure that both have, the worst first."""
    found = []
    for figure in results.figures:
        told = baseline["figures"].get(figure.name)
        if told is None or told["unit"] != figure.unit or figure.unit in NO_COST:
            continue
        before, after = float(told["median"]), figure.value
        # A cost of zero can't be compared; nothing that is measured costs nothing.
        if before > 0 and after > 0:
            worse = before / after if figure.unit in MORE_IS_BETTER else after / before
            found.append(Change(figure.name, figure.unit, before, after, worse))
    return sorted(found, key=lambda change: -change.worse)


def regressions(found: list[Change], tolerance: float) -> list[Change]:
    """Those that are worse by more than `tolerance`."""
    return [change for change in found if change.worse > 1 + tolerance]


def baseline_of(results: Results) -> dict[str, Any]:
    """What is committed of a run: its medians, and where they were measured."""
    figures = {
        figure.name: {"median": float(f"{figure.value:.4g}"), "unit": figure.unit}
        for figure in results.figures
        if figure.unit not in NO_COST
    }
    return {"scale": results.scale, "machine": results.machine, "figures": figures}


def main(arguments: list[str] | None = None) -> int:
    """Prints every change; returns 1 when there is a regression, 2 when something can't be read."""
    parser = argparse.ArgumentParser(description="Compare benchmark results with the baseline.")
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("--baseline", type=Path, default=BASELINE)
    parser.add_argument("--tolerance", type=float, default=TOLERANCE)
    parser.add_argument("--write", action="store_true", help="make these results the baseline")
    given = parser.parse_args(arguments)
    try:
        results = load_all(given.results)
        if given.write:
            text = json.dumps(baseline_of(results), indent=2, ensure_ascii=False, sort_keys=True)
            given.baseline.write_text(text + "\n", encoding="utf-8")
            return 0
        baseline = json.loads(given.baseline.read_text(encoding="utf-8"))
    except (ResultsFault, OSError, ValueError) as problem:
        print(f"comparing with the baseline: {problem}", file=sys.stderr)
        return 2
    return _tell(baseline, results, given.tolerance)


def _tell(baseline: dict[str, Any], results: Results, tolerance: float) -> int:
    if baseline["machine"].get("processor") != results.machine["processor"]:
        print(f"warning: the baseline is of another machine ({baseline['machine'].get('processor')})", file=sys.stderr)
    if baseline["scale"] != results.scale:
        print(f"warning: the baseline is of scale {baseline['scale']}, this run of {results.scale}", file=sys.stderr)
    found = changes(baseline, results)
    worse = regressions(found, tolerance)
    for change in found:
        mark = "WORSE" if change in worse else "     "
        told = f"{change.before:>12,.1f} → {change.after:>12,.1f} {change.unit}"
        print(f"{mark} {change.worse:6.2f}× {change.name:<64} {told}")
    names = {figure.name for figure in results.figures}
    for name in sorted(set(baseline["figures"]) - names):
        print(f"      not measured in this run: {name}")
    for figure in results.figures:
        if figure.name not in baseline["figures"] and figure.unit not in NO_COST:
            print(f"      not in the baseline: {figure.name}")
    print(f"{len(worse)} of {len(found)} figures are more than {tolerance:.0%} worse")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
