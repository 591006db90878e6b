"""Timing: pytest-benchmark with types, CPU seconds, peers in the same interleaved run, and figures by name.

A round runs each peer once, then what prepares the act, then the act: ours and theirs alternate under the same load of
the machine, and medians over the rounds are compared. Nothing here asserts a time.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any, TypeVar

from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.peers.peer import Lap

T = TypeVar("T")
Peers = Mapping[str, Callable[[], Lap]]
FIGURES = "figures"
"""Where in pytest-benchmark's `extra_info` a benchmark's figures are."""


@dataclass(frozen=True, slots=True)
class Race:
    """The medians of the rounds: ours, and each peer's by name."""

    ours: Lap
    peers: dict[str, Lap]

    def rates(self, rows: int) -> dict[str, float]:
        """Each peer's rows per second."""
        return {name: rows / lap.seconds for name, lap in self.peers.items()}

    def seconds(self, factor: float = 1) -> dict[str, float]:
        """Each peer's seconds, times `factor`."""
        return {name: lap.seconds * factor for name, lap in self.peers.items()}

    def cpu(self, factor: float = 1) -> dict[str, float]:
        """Each peer's CPU seconds, times `factor`."""
        return {name: lap.cpu * factor for name, lap in self.peers.items()}


class Watch:
    """Times an act, and keeps the figures that came of it."""

    def __init__(self, benchmark: BenchmarkFixture) -> None:
        self._benchmark = benchmark

    def race(
        self, act: Callable[[], T], rounds: int, peers: Peers | None = None, before: Callable[[], None] = lambda: None
    ) -> tuple[T, Race]:
        """Runs each peer, `before` and `act` in turn, `rounds` times; returns the act's last result and the medians."""
        theirs: dict[str, list[Lap]] = {name: [] for name in peers or {}}
        ours: list[Lap] = []

        def set_up() -> None:
            for name, peer in (peers or {}).items():
                theirs[name].append(peer())
            before()

        def timed() -> T:
            wall, cpu = time.perf_counter(), cpu_seconds()
            result = act()
            ours.append(Lap(time.perf_counter() - wall, cpu_seconds() - cpu))
            return result

        last: T = self._benchmark.pedantic(timed, setup=set_up, rounds=rounds)  # type: ignore[no-untyped-call]  # pytest-benchmark has no annotations
        race = Race(middle(ours), {name: middle(laps) for name, laps in theirs.items()})
        self._benchmark.extra_info["laps"] = {
            name: {"seconds": lap.seconds, "cpu": lap.cpu} for name, lap in {"ours": race.ours, **race.peers}.items()
        }
        return last, race

    def note(self, name: str, value: float, unit: str, peers: Mapping[str, float] | None = None) -> None:
        """Keeps a figure under a name that is the same in every run; `peers` are theirs in the same unit."""
        figures: dict[str, Any] = self._benchmark.extra_info.setdefault(FIGURES, {})
        figures[name] = {"value": value, "unit": unit, "peers": dict(peers or {})}

    def series(self, name: str, points: list[tuple[float, float]], unit: str) -> None:
        """Keeps points for the plot: stored records and what one more costs."""
        self._benchmark.extra_info.setdefault("series", {})[name] = {"points": points, "unit": unit}


def middle(laps: list[Lap]) -> Lap:
    """The median of elapsed and of CPU seconds, each by itself."""
    return Lap(median(lap.seconds for lap in laps), median(lap.cpu for lap in laps))


def cpu_seconds() -> float:
    """CPU seconds of all threads of this process, and of its children that have ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)
