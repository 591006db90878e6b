"""What the benchmarks share: how much traffic, a vault to put it in, and a line per figure at the end of the run."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TypeVar

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.traffic import Network, file_name, write_file
from tests.support import ingest, new_vault
from trafficvault.vault import Vault

ROWS = int(os.environ.get("BENCH_ROWS", "1000000"))
DAY = date(2026, 11, 18)
NOW = datetime(2026, 11, 25, 10, 0, tzinfo=UTC)
NETWORK = Network()

T = TypeVar("T")
Note = Callable[[str, float, str], None]
_FIGURES = pytest.StashKey[list[tuple[str, float, str]]]()


def pytest_configure(config: pytest.Config) -> None:
    """Begins an empty list of figures."""
    config.stash[_FIGURES] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Prints what was noted."""
    if config.stash[_FIGURES]:
        terminalreporter.section("figures")
    for name, value, unit in config.stash[_FIGURES]:
        terminalreporter.write_line(f"{name:<52} {value:>14,.1f} {unit}")


@pytest.fixture
def note(request: pytest.FixtureRequest) -> Note:
    """Notes a figure: name, value, unit."""

    def add(name: str, value: float, unit: str) -> None:
        request.config.stash[_FIGURES].append((name, value, unit))

    return add


class Watch:
    """pytest-benchmark, with types: runs an act some times and tells its last result and its median time."""

    def __init__(self, benchmark: BenchmarkFixture) -> None:
        self._benchmark = benchmark

    def time(self, act: Callable[[], T], rounds: int, before: Callable[[], None] = lambda: None) -> tuple[T, float]:
        """Runs `before` and `act` in turn, `rounds` times; only `act` is timed. Returns its result and seconds."""
        result: T = self._benchmark.pedantic(act, setup=before, rounds=rounds)  # type: ignore[no-untyped-call]  # pytest-benchmark has no annotations
        stats = self._benchmark.stats
        assert stats is not None
        return result, float(stats.stats.median)


@pytest.fixture
def watch(benchmark: BenchmarkFixture) -> Watch:
    """Times an act."""
    return Watch(benchmark)


@pytest.fixture(scope="session")
def day_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One day of mobile usage, `ROWS` rows."""
    return write_file(tmp_path_factory.mktemp("in") / file_name(1), ROWS, DAY, network=NETWORK)


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory, day_file: Path) -> Vault:
    """A vault that holds the day file."""
    vault = new_vault(tmp_path_factory.mktemp("filled"), now=NOW)
    receipt = ingest(vault, "mvno_pipe", day_file.read_bytes(), day_file.name)
    assert receipt.stored == ROWS
    return vault


def record_bytes(vault: Vault) -> int:
    """Bytes of all Parquet files and seen blocks."""
    return sum(path.stat().st_size for path in vault.layout.records.rglob("*") if path.is_file())
