"""Compaction, and the whole life of a record: ingest and compaction here, load with skip indexes and merge there."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from benchmarks.bench_ingest import MILLION
from benchmarks.house import can_compact, compact, new_house, record_bytes, take
from benchmarks.network import Network
from benchmarks.peers.clickhouse import USAGE, ClickHouse
from benchmarks.peers.peer import Lap
from benchmarks.scale import LAST_DAY, Scale
from benchmarks.traffic import file_name, write_file
from benchmarks.watch import Watch
from trafficvault.vault import Vault

PARTS = 10
"""Files that a day came in."""


def delivered(directory: Path, scale: Scale, network: Network) -> list[Path]:
    """A day in several files."""
    rows = scale.rows // PARTS
    return [
        write_file(directory / file_name(number), rows, LAST_DAY, seed=number, network=network)
        for number in range(PARTS)
    ]


@pytest.mark.bench
def test_compaction(
    watch: Watch, tmp_path: Path, scale: Scale, network: Network, clickhouse: ClickHouse | None
) -> None:
    """The act `compact` on a day of ten files, and the peer's merge of the same."""
    if not can_compact():
        pytest.skip("this version of trafficvault has no act `compact`")
    files, number, vaults = delivered(tmp_path, scale, network), count(), list[Vault]()

    def fresh() -> None:
        vault = new_house(tmp_path / str(next(number)))
        for file in files:
            take(vault, file)
        vaults.append(vault)

    def theirs(peer: ClickHouse) -> Lap:
        peer.empty("indexed", USAGE, indexed=True)
        for file in files:
            peer.load("indexed", file)
        return peer.merge("indexed")

    peers = {} if clickhouse is None else {"ClickHouse": lambda: theirs(clickhouse)}
    _, race = watch.race(lambda: compact(vaults[-1]), scale.rounds, peers, fresh)

    sizes = {} if clickhouse is None else {"ClickHouse": clickhouse.size("indexed") / scale.rows}
    name = f"compaction of {scale.rows:,} rows in {PARTS} files"
    watch.note(name, scale.rows / race.ours.seconds, "rows/s", race.rates(scale.rows))
    watch.note(f"{name}, CPU", race.ours.cpu / scale.rows * MILLION, "core-s/M", race.cpu(MILLION / scale.rows))
    watch.note(f"{name}, on disk", record_bytes(vaults[-1]) / scale.rows, "bytes/record", sizes)


@pytest.mark.bench
def test_whole_life(
    watch: Watch, tmp_path: Path, scale: Scale, network: Network, clickhouse: ClickHouse | None
) -> None:
    """Ten files in and compacted; without the act `compact` in this version, ingest alone."""
    files, number, vaults = delivered(tmp_path, scale, network), count(), list[Vault]()

    def theirs(peer: ClickHouse) -> Lap:
        peer.empty("indexed", USAGE, indexed=True)
        total = Lap(0, 0)
        for file in files:
            total += peer.load("indexed", file)
        return total + peer.merge("indexed")

    def fresh() -> None:
        vaults.append(new_house(tmp_path / str(next(number))))

    def act() -> int:
        stored = sum(take(vaults[-1], file).stored for file in files)
        compact(vaults[-1])
        return stored

    peers = {} if clickhouse is None else {"ClickHouse": lambda: theirs(clickhouse)}
    stored, race = watch.race(act, scale.rounds, peers, fresh)

    assert stored == scale.rows
    name = "whole life: ingest and compaction" if can_compact() else "whole life, without compaction"
    watch.note(name, scale.rows / race.ours.seconds, "rows/s", race.rates(scale.rows))
    watch.note(f"{name}, CPU", race.ours.cpu / scale.rows * MILLION, "core-s/M", race.cpu(MILLION / scale.rows))
