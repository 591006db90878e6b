"""How much traffic a run has: `make bench` takes minutes, `make bench-full` the goals' own sizes, `smoke` only shows
that every benchmark runs. Chosen by the environment variable `BENCH_SCALE`.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from benchmarks.network import Network

NOW = datetime(2026, 11, 25, 10, 0, tzinfo=UTC)
"""The moment at which every act of a benchmark happens; the traffic is of the days before it."""
LAST_DAY = date(2026, 11, 24)


@dataclass(frozen=True, slots=True)
class Scale:
    """Sizes in rows unless said otherwise; `rounds` is how often an act is timed, `disk` the bytes it needs free.

    Of each of `days` there are `day_rows` of usage, `call_rows` of calls and `native_rows` of each other class. In full
    a number, an IMSI, an IMEI and a cell are looked for among 90 million records of the class that has them.
    """

    name: str
    rows: int
    large: int | None
    small_files: int
    feed_rows: int
    days: int
    day_rows: int
    native_rows: int
    call_rows: int
    rounds: int
    postgres_rows: int
    memory_bytes: int
    stream_matches: int
    growth: tuple[int, ...]
    growth_day: int
    disk: int
    subscribers: int = 50_000

    @property
    def network(self) -> Network:
        """The invented operator."""
        return Network(self.subscribers)

    @property
    def first_day(self) -> date:
        """The first of the days that lookups are asked about."""
        return LAST_DAY - timedelta(days=self.days - 1)


_MILLION, _GB = 1_000_000, 10**9
SCALES = {
    scale.name: scale
    for scale in (
        Scale(
            "smoke",
            20_000,
            None,
            2,
            1_000,
            3,
            5_000,
            1_000,
            1_000,
            2,
            20_000,
            2 * _MILLION,
            500,
            (10_000, 20_000),
            10_000,
            _GB,
            300,
        ),
        Scale(
            "bench",
            _MILLION,
            None,
            20,
            100_000,
            20,
            50_000,
            10_000,
            10_000,
            3,
            200_000,
            300 * _MILLION,
            100_000,
            (250_000, 500_000, _MILLION, 2 * _MILLION),
            50_000,
            6 * _GB,
        ),
        Scale(
            "full",
            _MILLION,
            20 * _MILLION,
            200,
            500_000,
            180,
            500_000,
            50_000,
            500_000,
            5,
            _MILLION,
            10 * _GB,
            10 * _MILLION,
            (10 * _MILLION, 20 * _MILLION, 50 * _MILLION, 100 * _MILLION, 200 * _MILLION, 500 * _MILLION),
            2_800_000,
            70 * _GB,
        ),
    )
}


def chosen() -> Scale:
    """The scale that `BENCH_SCALE` names, `bench` without it. Raises `ValueError` for a name that is none."""
    name = os.environ.get("BENCH_SCALE", "bench")
    if name not in SCALES:
        raise ValueError(f"choosing the scale: BENCH_SCALE is {name!r}, and must be one of {', '.join(SCALES)}")
    return SCALES[name]


def disk_problem(scale: Scale, directory: Path) -> str | None:
    """A sentence when `directory` has less free than `scale` needs, else None."""
    free = shutil.disk_usage(directory).free
    if free >= scale.disk:
        return None
    return (
        f"benchmarks at scale {scale.name} need {scale.disk / _GB:.0f} GB below {directory}, and {free / _GB:.0f} GB "
        "are free; free some, or name another directory with TMPDIR"
    )
