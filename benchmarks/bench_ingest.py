"""Ingest to durable: file in, receipt out, beside the peers' load of the same file in the same interleaved rounds.

PostgreSQL gets a file of its own size, and its time is reckoned up by rows: with more rows its indexes grow and it is
slower, so this is in its favour.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest

from benchmarks.house import new_house, record_bytes, take, take_all
from benchmarks.network import Network
from benchmarks.peers.clickhouse import USAGE, ClickHouse
from benchmarks.peers.peer import Lap
from benchmarks.peers.postgres import PostgreSQL
from benchmarks.scale import LAST_DAY, Scale
from benchmarks.traffic import file_name, write_file
from benchmarks.watch import Watch
from trafficvault.receipts import Receipt
from trafficvault.vault import Vault

MILLION = 1_000_000


def into_new_vaults(directory: Path, vaults: list[Vault]) -> Callable[[], None]:
    """What makes a fresh vault before each round."""
    number = count()

    def fresh() -> None:
        vaults.append(new_house(directory / str(next(number))))

    return fresh


def clickhouse_load(peer: ClickHouse, path: Path) -> Callable[[], Lap]:
    """Loads `path` into a new plain table."""

    def load() -> Lap:
        peer.empty("plain", USAGE)
        return peer.load("plain", path)

    return load


def postgres_load(peer: PostgreSQL, path: Path, rows: int, as_rows: int) -> Callable[[], Lap]:
    """Loads `path`, which has `rows`, into a new table; tells the time that `as_rows` would take at that rate."""

    def load() -> Lap:
        peer.empty(LAST_DAY, 1)
        lap = peer.load(path)
        return Lap(lap.seconds * as_rows / rows, lap.cpu * as_rows / rows)

    return load


@pytest.mark.bench
def test_ingest(
    watch: Watch,
    tmp_path: Path,
    day_file: Path,
    scale: Scale,
    network: Network,
    clickhouse: ClickHouse | None,
    postgres: PostgreSQL | None,
) -> None:
    """One file of a day into an empty vault: rate, CPU seconds and bytes on disk, ours and theirs."""
    peers, sizes = {}, {}
    if clickhouse is not None:
        peers["ClickHouse"] = clickhouse_load(clickhouse, day_file)
    if postgres is not None:
        file = write_file(tmp_path / "in", scale.postgres_rows, LAST_DAY, network=network)
        peers["PostgreSQL"] = postgres_load(postgres, postgres.readable(file), scale.postgres_rows, scale.rows)
    vaults: list[Vault] = []

    def act() -> Receipt:
        return take(vaults[-1], day_file)

    receipt, race = watch.race(act, scale.rounds, peers, into_new_vaults(tmp_path, vaults))

    assert (receipt.status, receipt.stored) == ("committed", scale.rows)
    if clickhouse is not None:
        assert clickhouse.count("plain") == scale.rows
        sizes["ClickHouse"] = clickhouse.size("plain") / scale.rows
    if postgres is not None:
        assert postgres.count() == scale.postgres_rows
        sizes["PostgreSQL"] = postgres.size() / scale.postgres_rows
    name = f"ingest, a file of {scale.rows:,} rows"
    watch.note(name, scale.rows / race.ours.seconds, "rows/s", race.rates(scale.rows))
    watch.note(f"{name}, CPU", race.ours.cpu / scale.rows * MILLION, "core-s/M", race.cpu(MILLION / scale.rows))
    watch.note(f"{name}, on disk", record_bytes(vaults[-1]) / scale.rows, "bytes/record", sizes)
    watch.note(f"{name}, the delivered file", day_file.stat().st_size / scale.rows, "bytes/record")


@pytest.mark.bench
def test_ingest_large(
    watch: Watch, tmp_path: Path, scale: Scale, network: Network, clickhouse: ClickHouse | None
) -> None:
    """A file of 20 million rows into an empty vault."""
    if scale.large is None:
        pytest.skip(f"scale {scale.name} has no large file; `make bench-full` has")
    file = write_file(tmp_path / file_name(1), scale.large, LAST_DAY, network=network)
    peers = {} if clickhouse is None else {"ClickHouse": clickhouse_load(clickhouse, file)}
    vaults: list[Vault] = []

    def act() -> Receipt:
        return take(vaults[-1], file)

    receipt, race = watch.race(act, 2, peers, into_new_vaults(tmp_path, vaults))

    assert (receipt.status, receipt.stored) == ("committed", scale.large)
    name = f"ingest, a file of {scale.large:,} rows"
    watch.note(name, scale.large / race.ours.seconds, "rows/s", race.rates(scale.large))
    watch.note(f"{name}, CPU", race.ours.cpu / scale.large * MILLION, "core-s/M", race.cpu(MILLION / scale.large))


@pytest.mark.bench
def test_ingest_again(watch: Watch, day_file: Path, filled: Vault, tmp_path: Path, scale: Scale) -> None:
    """The same rows in another file: every one is found to be a duplicate, and none is stored."""
    number = count(1)
    files: list[Path] = []

    def another() -> None:
        path = tmp_path / f"{next(number)}"
        path.write_bytes(day_file.read_bytes() + b"\n" * int(path.name))
        files.append(path)

    def act() -> Receipt:
        return take(filled, files[-1])

    receipt, race = watch.race(act, 2, before=another)

    assert (receipt.stored, receipt.duplicate) == (0, scale.rows)
    watch.note("ingest, every row a duplicate", scale.rows / race.ours.seconds, "rows/s")


@pytest.mark.bench
def test_small_files(
    watch: Watch, tmp_path: Path, scale: Scale, network: Network, clickhouse: ClickHouse | None
) -> None:
    """Files of 10,000 rows, one act each, over several days."""
    rows = 10_000
    files = [
        write_file(tmp_path / file_name(number), rows, LAST_DAY - timedelta(days=number % 20), number, network)
        for number in range(scale.small_files)
    ]
    vaults: list[Vault] = []

    def theirs(peer: ClickHouse) -> Lap:
        peer.empty("plain", USAGE)
        total = Lap(0, 0)
        for file in files:
            total += peer.load("plain", file)
        return total

    def act() -> list[Receipt]:
        return [take(vaults[-1], file) for file in files]

    peers = {} if clickhouse is None else {"ClickHouse": lambda: theirs(clickhouse)}
    receipts, race = watch.race(act, 2, peers, into_new_vaults(tmp_path, vaults))

    total = sum(receipt.stored for receipt in receipts)
    # Files of one day share record ids by position, so some rows are versions, and none a duplicate.
    assert total == rows * len(files)
    watch.note("ingest, files of 10,000 rows", total / race.ours.seconds, "rows/s", race.rates(total))
    per_file = 1000 / len(files)
    watch.note("ingest, each such file", race.ours.seconds * per_file, "ms", race.seconds(per_file))


@pytest.mark.bench
def test_small_files_together(watch: Watch, tmp_path: Path, scale: Scale, network: Network) -> None:
    """The same files in one act."""
    rows = 10_000
    files = [
        write_file(tmp_path / file_name(number), rows, LAST_DAY - timedelta(days=number % 20), number, network)
        for number in range(scale.small_files)
    ]
    vaults: list[Vault] = []

    def act() -> list[Receipt]:
        return take_all(vaults[-1], files)

    receipts, race = watch.race(act, 2, before=into_new_vaults(tmp_path, vaults))

    assert sum(receipt.stored for receipt in receipts) == rows * len(files)
    watch.note("ingest, files of 10,000 rows in one call, each", race.ours.seconds * 1000 / len(files), "ms")
    watch.note("ingest, files of 10,000 rows in one call, each, CPU", race.ours.cpu * 1000 / len(files), "ms")
