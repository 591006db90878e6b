"""Whether a record costs the same in a full vault as in an empty one: days are added, and at each size of the scale it
is measured what the last records cost and what a lookup costs.

A lookup is asked twice: of a window of three days, which matches the same rows at every size, and of all days, reckoned
per day. `benchmarks.report` draws the points.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from itertools import count
from pathlib import Path
from time import perf_counter

import pytest

from benchmarks.house import compact, new_house, order, take
from benchmarks.network import Network
from benchmarks.peers.peer import Lap
from benchmarks.scale import LAST_DAY, Scale
from benchmarks.traffic import ZONE, file_name, write_file
from benchmarks.watch import Watch, cpu_seconds, middle
from tests.support import approved, signed_in
from trafficvault import disclose
from trafficvault.vault import Vault

ROUNDS = 5
_WINDOW_DAYS = 3


@pytest.mark.bench
def test_growth(watch: Watch, tmp_path: Path, scale: Scale, network: Network) -> None:
    """CPU seconds per million records ingested (and compacted, where this version can) and milliseconds per lookup, by
    stored records.
    """
    points: dict[str, list[tuple[float, float]]] = {"ingest": [], "three days": [], "every day": []}
    watch.race(lambda: _grow(tmp_path, scale, network, points), 1)
    watch.series("CPU seconds per million records", points["ingest"], "core-s/M")
    watch.series("lookup in three days", points["three days"], "ms")
    watch.series("lookup in all days, per day", points["every day"], "ms/day")
    for name, unit in (("ingest", "CPU"), ("three days", "lookup in three days"), ("every day", "lookup, per day")):
        costs = [cost for _, cost in points[name]]
        told = f"growth from {scale.growth[0]:,} to {scale.growth[-1]:,} records, {unit}"
        watch.note(told, costs[-1] / costs[0], "times the cost")


def _grow(directory: Path, scale: Scale, network: Network, points: dict[str, list[tuple[float, float]]]) -> None:
    vault = new_house(directory / "house")
    days = -(-scale.growth[-1] // scale.growth_day)
    first = LAST_DAY - timedelta(days=days - 1)
    stored, since, cpu, number = 0, 0, 0.0, count()
    for day in (first + timedelta(days=step) for step in range(days)):
        file = write_file(directory / file_name(next(number)), scale.growth_day, day, network=network)
        before = cpu_seconds()
        stored += take(vault, file).stored
        compact(vault)
        cpu += cpu_seconds() - before
        since += scale.growth_day
        file.unlink()
        if len(points["ingest"]) < len(scale.growth) and stored >= scale.growth[len(points["ingest"])]:
            points["ingest"].append((stored, cpu / since * 1_000_000))
            held = (day - first).days + 1
            near = _lookup(vault, network, (first, _WINDOW_DAYS), directory, number)
            far = _lookup(vault, network, (first, held), directory, number)
            points["three days"].append((stored, near.seconds * 1000))
            points["every day"].append((stored, far.seconds * 1000 / held))
            since, cpu = 0, 0.0


def _lookup(vault: Vault, network: Network, window: tuple[date, int], directory: Path, number: count[int]) -> Lap:
    """The median of some runs for the p97 subscriber in `window`, a first day and a number of days."""
    bounds = tuple(
        datetime.combine(day, time(), ZONE).isoformat() for day in (window[0], window[0] + timedelta(days=window[1]))
    )
    me = f"+{network.number(network.subscribers * 3 // 100)}"
    asked = order(
        "msisdn", me, ("mobile_usage",), window=(bounds[0], bounds[1]), reference=f"PV-2026-{next(number):06d}"
    )
    warrant, officer = approved(vault, asked), signed_in(vault, "olga")
    return middle(
        [_timed(lambda: disclose.run(vault, officer, warrant, directory / str(next(number)))) for _ in range(ROUNDS)]
    )


def _timed(act: Callable[[], object]) -> Lap:
    wall, cpu = perf_counter(), cpu_seconds()
    act()
    return Lap(perf_counter() - wall, cpu_seconds() - cpu)
