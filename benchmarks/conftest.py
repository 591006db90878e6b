"""What the benchmarks share: the scale, the peers, a day's file, a vault, and a line per figure at the end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks import scale as scales
from benchmarks.network import Network
from benchmarks.peers.clickhouse import ClickHouse
from benchmarks.peers.peer import PeerMissing
from benchmarks.peers.postgres import PostgreSQL
from benchmarks.results import told
from benchmarks.scale import LAST_DAY, NOW, Scale
from benchmarks.traffic import file_name, write_file
from benchmarks.watch import FIGURES, Watch
from tests.support import ingest, new_vault
from trafficvault.vault import Vault

_PEERS = pytest.StashKey[dict[str, str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Begins an empty list of peers, by name and version."""
    config.stash[_PEERS] = {}


def pytest_report_header() -> str:
    """Says which scale it is and what disk it needs, before anything is made."""
    chosen = scales.chosen()
    return f"benchmarks: scale {chosen.name}, needs {chosen.disk / 10**9:.0f} GB of disk while it runs"


def pytest_benchmark_update_json(config: pytest.Config, benchmarks: list[Any], output_json: dict[str, Any]) -> None:
    """Writes scale, load (of five minutes, at the end) and the peers' versions beside the figures."""
    output_json["scale"] = scales.chosen().name
    output_json["load"] = f"{os.getloadavg()[1]:.1f}"
    output_json["peers"] = config.stash[_PEERS]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Prints what was noted, and which peer was not there."""
    session: Any = getattr(config, "_benchmarksession", None)
    lines = [
        (name, figure)
        for bench in (session.benchmarks if session is not None else ())
        for name, figure in bench.extra_info.get(FIGURES, {}).items()
    ]
    if lines:
        terminalreporter.section(f"figures, scale {scales.chosen().name}")
    for name, figure in lines:
        theirs = "".join(f"  {peer} {told(value)}" for peer, value in figure["peers"].items())
        terminalreporter.write_line(f"{name:<64} {told(figure['value']):>12} {figure['unit']}{theirs}")
    for peer, version in config.stash[_PEERS].items():
        terminalreporter.write_line(f"peer {peer}: {version}")


@pytest.fixture(scope="session")
def scale(tmp_path_factory: pytest.TempPathFactory) -> Scale:
    """The sizes of this run. Stops the run when the disk has not the room for them."""
    chosen = scales.chosen()
    problem = scales.disk_problem(chosen, tmp_path_factory.getbasetemp())
    if problem is not None:
        pytest.exit(problem, returncode=1)
    return chosen


@pytest.fixture(scope="session")
def network(scale: Scale) -> Network:
    """The invented operator."""
    return scale.network


@pytest.fixture
def watch(benchmark: BenchmarkFixture) -> Watch:
    """Times an act."""
    return Watch(benchmark)


@pytest.fixture(scope="session")
def clickhouse(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouse | None]:
    """ClickHouse, or None where it is not installed; the end of the run says which."""
    try:
        peer = ClickHouse(tmp_path_factory.mktemp("clickhouse"))
    except PeerMissing as missing:
        pytestconfig.stash[_PEERS]["ClickHouse"] = f"not measured: {missing}"
        yield None
        return
    with peer:
        pytestconfig.stash[_PEERS]["ClickHouse"] = peer.version
        yield peer


@pytest.fixture(scope="session")
def postgres(pytestconfig: pytest.Config) -> Iterator[PostgreSQL | None]:
    """PostgreSQL, or None where it is not installed; the end of the run says which."""
    try:
        peer = PostgreSQL()
    except PeerMissing as missing:
        pytestconfig.stash[_PEERS]["PostgreSQL"] = f"not measured: {missing}"
        yield None
        return
    with peer:
        pytestconfig.stash[_PEERS]["PostgreSQL"] = peer.version
        yield peer


@pytest.fixture
def rival(clickhouse: ClickHouse | None) -> ClickHouse:
    """ClickHouse, for a benchmark that means nothing without it."""
    if clickhouse is None:
        pytest.skip("chdb is not installed; `make bench` installs it")
    return clickhouse


@pytest.fixture(scope="session")
def day_file(tmp_path_factory: pytest.TempPathFactory, scale: Scale, network: Network) -> Path:
    """One day of mobile usage."""
    return write_file(tmp_path_factory.mktemp("in") / file_name(1), scale.rows, LAST_DAY, network=network)


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory, day_file: Path, scale: Scale) -> Vault:
    """A vault that holds the day file."""
    vault = new_vault(tmp_path_factory.mktemp("filled"), now=NOW)
    receipt = ingest(vault, "mvno_pipe", day_file.read_bytes(), day_file.name)
    assert receipt.stored == scale.rows
    return vault


@pytest.fixture(autouse=True)
def told_apart(request: pytest.FixtureRequest) -> None:
    """Each suite is a group of its own in pytest-benchmark's tables."""
    module: Any = request.module
    request.node.add_marker(pytest.mark.benchmark(group=module.__name__.rpartition(".")[2].removeprefix("bench_")))
