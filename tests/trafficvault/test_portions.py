"""Portions: a day with more matches than are to be held at once is read bit by bit, in bounded memory."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from benchmarks.child import run_child
from benchmarks.house import new_house, order, take
from benchmarks.network import Network
from benchmarks.scale import LAST_DAY
from benchmarks.traffic import file_name, write_file
from tests.support import SUBSCRIBER, Order, Usage, approved, ingest, new_vault, usage
from tests.trafficvault.block_vault import give_blocks
from trafficvault import docket, reading, search, warrants
from trafficvault.progress import Progress
from trafficvault.search import Search
from trafficvault.vault import Vault

MIB = 1 << 20
ROWS = 300_000
ABOVE = 600 * MIB
"""What a question may take above one that finds nothing, however much it finds; a day held whole takes twice that."""


def search_of(vault: Vault, wanted: Order) -> Search:
    """A search under `wanted`, once it is approved."""
    found = docket.load(vault, approved(vault, wanted))
    assert found.signed is not None
    return Search(vault, found.signed, warrants.scope_of(found.document), vault.clock.now())


@pytest.mark.no_cover
def test_memory_does_not_grow_with_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hundred thousand matches of one day become a package in bounded memory, in a process of its own."""
    network = Network(50_000)
    vault = new_house(tmp_path)
    file = write_file(tmp_path / file_name(1), ROWS, LAST_DAY, network=network)
    assert take(vault, file).stored == ROWS
    everybody = f"+{network.number(0)}..+{network.number(9_998)}"
    many = approved(vault, order("number_range", everybody, ("mobile_usage",)))
    none = approved(vault, order("number_range", "+4900000..+4900001", ("mobile_usage",), reference="PV-2"))
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    told = {name: run_child("disclose", str(tmp_path), name, str(tmp_path / name)) for name in (none, many)}
    records = pl.scan_parquet(tmp_path / many / "records.parquet").select("start").collect()["start"]
    shutil.rmtree(tmp_path / many)

    assert told[none]["records"] == 0
    assert told[many]["records"] == len(records) > 200_000
    assert records.is_sorted()
    assert told[many]["peak"] - told[none]["peak"] < ABOVE


@pytest.mark.parametrize("blocked", [False, True], ids=["scanned", "looked up"])
def test_a_crowded_day_is_counted_and_given_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blocked: bool
) -> None:
    """Of three days the middle one is too much for one reading: each row comes once, in order, and progress counts."""
    vault = new_vault(tmp_path)
    days = [(10, 2), (11, 30), (12, 2)]
    rows = [Usage(at=f"202611{day}12{second:04d}") for day, count in days for second in range(count)]
    ingest(vault, "mvno_pipe", usage(rows), "S4PGWM000001")
    if blocked:
        assert give_blocks(vault) == 3
    monkeypatch.setattr(search, "PORTION_ROWS", 8)
    monkeypatch.setattr(search, "SLICE_ROWS", 5)
    monkeypatch.setattr(reading, "_BLOCKS", 1)
    steps: list[str | Progress] = []
    tables = list(
        search_of(vault, Order(targets=[("msisdn", f"+{SUBSCRIBER}")])).stretches(steps.append, with_neighbours=True)
    )

    given = [start for table in tables for start in table["start"].to_pylist()]
    assert given == sorted(given)
    assert len(given) == 34
    assert max(table.num_rows for table in tables) == 5
    assert sorted({day for table in tables for day in table["answer_day"].to_pylist()}) == [
        date(2026, 11, day) for day, _ in days
    ]
    last = steps[-1]
    assert isinstance(last, Progress)
    assert last.rows == 34
