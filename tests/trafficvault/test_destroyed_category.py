"""A day of which a category was destroyed: the rest reads, counts and compares, and nobody reads what is gone."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest

from ingest.record import CATEGORIES, SCHEMA, category_of
from tests.thorough import as_many
from tests.trafficvault.measured_store import CLASS, doubles, measured, write
from tests.trafficvault.sealed_store import DAY, VAULT_ID, Store, full_table, new_store
from trafficvault import partitions
from trafficvault.errors import FaultError, RefusedError
from trafficvault.layout import day_key_id
from trafficvault.partitions import WrittenFile

ROOT = Path(__file__).resolve().parents[2]

ALL = list(SCHEMA.names)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A key store with the day keys of mobile usage and of internet."""
    return new_store(tmp_path, (CLASS, "internet", "voip"))


def read(store: Store, file: WrittenFile, columns: list[str], only: pl.Expr | None = None) -> pl.DataFrame:
    """Rows of a file, in custody."""
    custody = store.keys.custody("verify")
    return partitions.read_in_custody(store.layout, custody, file.record_class, file.day, file.file_id, columns, only)


def test_without_where_the_rest_reads_counts_and_compares(store: Store) -> None:
    """Location died before its call: other columns read, the file counts, a late copy is still a duplicate."""
    table = full_table(3)
    file = write(store, table)
    store.destroy(day_key_id(CLASS, DAY, "where"))
    others = [name for name in ALL if category_of(name, CLASS) != "where"]

    assert read(store, file, others).height == 3
    with pytest.raises(RefusedError, match="its category where was not opened"):
        read(store, file, ["start_cell"])
    assert measured(store, file).rows == 3
    assert measured(store, file).row_sum == ""
    assert not measured(store, file).differs_from(file.row_sum)
    assert doubles(store, table, [file]) == [True] * 3


def test_without_when_the_records_can_only_be_counted(store: Store) -> None:
    """No moment is left to tell how far they reach."""
    file = write(store, full_table(3))
    store.destroy(day_key_id(CLASS, DAY, "when"))

    found = measured(store, file)
    assert (found.rows, found.row_sum, found.reach_from, found.reach_to) == (3, "", DAY, DAY)
    with pytest.raises(RefusedError, match="when: it is not in the ring"):
        doubles(store, full_table(3), [file])


def test_with_the_whole_day_destroyed_nothing_reads(store: Store) -> None:
    """Neither the file nor what is derived from it, nor a copy of either."""
    table = full_table(3)
    file = write(store, table)
    store.destroy(*(day_key_id(CLASS, DAY, category) for category in CATEGORIES))

    for act in (
        lambda: read(store, file, ["start"]),
        lambda: measured(store, file),
        lambda: doubles(store, table, [file]),
    ):
        with pytest.raises(RefusedError, match="not in the ring"):
            act()
    store.keys.ensure(day_key_id(CLASS, DAY, category) for category in CATEGORIES)
    with pytest.raises(FaultError, match="wrapped key was changed, or is of another vault"):
        read(store, file, ["start"])


WITHOUT_WHERE = """
import sys
from datetime import date
from pathlib import Path
from ingest.record import SCHEMA, category_of
from trafficvault import partitions
from trafficvault.durable import Disk
from trafficvault.errors import RefusedError
from trafficvault.keys import KeyStore
from trafficvault.layout import Layout
from trafficvault.provider import LocalKeyFile
vault, keys, vault_id, file_id = sys.argv[1:]
layout = Layout(Path(vault), Path(keys))
provider = LocalKeyFile.open(layout, Disk(), vault_id)
custody = KeyStore.open(layout, Disk(), provider, vault_id, catalogue_generation=2, writer=False).custody("verify")
place = ("mobile_usage", date(2026, 3, 1), file_id)
others = [name for name in SCHEMA.names if category_of(name, "mobile_usage") != "where"]
assert partitions.read_in_custody(layout, custody, *place, others).height == 1000
assert partitions.measure(layout, custody, *place).rows == 1000
try:
    partitions.read_in_custody(layout, custody, *place, ["start", "end_cell"])
except RefusedError as refused:
    print(refused)
"""


def test_a_process_that_asks_for_destroyed_locations_ends_well(store: Store) -> None:
    """Process after process: each reads the rest, is refused cleanly, and exits with 0 and a silent stderr."""
    file = write(store, full_table(1000))
    store.destroy(day_key_id(CLASS, DAY, "where"))
    command = [
        sys.executable,
        "-c",
        WITHOUT_WHERE,
        str(store.layout.vault),
        str(store.layout.keys),
        VAULT_ID,
        file.file_id,
    ]

    def run(_: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(run, range(as_many(3))))
    assert [(one.returncode, one.stderr) for one in runs] == [(0, "")] * len(runs)
    assert {one.stdout for one in runs} == {"reading end_cell of mobile_usage: its category where was not opened\n"}
