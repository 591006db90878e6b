"""Record files in the making: which columns they are begun with, and that what comes later is there too."""

from __future__ import annotations

import errno
from concurrent import futures
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.record import SCHEMA
from tests.trafficvault.sealed_store import DAY, NOON, Store, new_store
from trafficvault import partitions, sealed_parquet, seen
from trafficvault.durable import Disk
from trafficvault.landing import Landing
from trafficvault.layout import day_key_id
from trafficvault.partitions import WrittenFile, file_keys
from trafficvault.sealed_parquet import Place, polars_type

CLASS = "mobile_usage"
CONSTANTS = {"source": "mvno", "batch": "b1", "feed_digest": "f1"}
GIVEN = ("row", "occurrence", "a_number", "b_number", "mail_to", "public_ip", "start", "event", "duration_ms", "count")
VALUES: dict[str, Any] = {
    "a_number": "+31612345678",
    "b_number": "+31201234567",
    "mail_to": ["one@example.org", "two@example.org"],
    "public_ip": bytes(range(16)),
    "event": "call",
    "duration_ms": 1000,
    "count": 3,
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with keys for two days."""
    return new_store(tmp_path, days=(DAY, DAY + timedelta(days=1)))


def landing(store: Store) -> Landing:
    """A landing for records of one batch."""
    return Landing(store.disk, store.layout, store.custody, CONSTANTS)


def rows_of(told: list[dict[str, Any]], first: int = 1, start: Any = NOON) -> pl.DataFrame:
    """Records of those values, numbered from `first`, of the record's types; without the columns that none fills."""
    base = [{"row": first + n, "occurrence": 0, "start": start, **one} for n, one in enumerate(told)]
    names = [name for name in SCHEMA.names if any(one.get(name) is not None for one in base)]
    schema = {name: polars_type(name) for name in names}
    return pl.DataFrame([{name: one.get(name) for name in names} for one in base], schema=schema, orient="row")


def put(to: Landing, rows: pl.DataFrame, day: date = DAY, among: pl.DataFrame | None = None) -> None:
    """Appends `rows` with their own hashes and sum."""
    hashes = seen.row_hashes(rows, seen.hashed_columns(CLASS))
    told = rows.with_columns(pl.lit(value).alias(name) for name, value in CONSTANTS.items())
    total = partitions.total_of(told, told.columns)
    to.append(CLASS, day, rows, hashes, total, GIVEN, among)


def read(store: Store, file: WrittenFile, columns: list[str]) -> pl.DataFrame:
    """Those columns of a file."""
    return partitions.read_in_custody(store.layout, store.custody, CLASS, file.day, file.file_id, columns)


def nullable(store: Store, file: WrittenFile) -> dict[str, bool]:
    """The columns that the Parquet file has, and whether they may be null."""
    place = Place(CLASS, file.day, file.file_id)
    kms = sealed_parquet._FileKms(place, file_keys(store.custody, place))
    factory = pe.CryptoFactory(lambda _: kms)
    properties = factory.file_decryption_properties(pe.KmsConnectionConfig(), pe.DecryptionConfiguration())
    path = store.layout.record_file(CLASS, file.day, file.file_id)
    with pq.ParquetFile(path, decryption_properties=properties) as opened:
        return {one.name: one.nullable for one in opened.schema_arrow}


def test_a_file_has_the_columns_that_hold_a_value(store: Store) -> None:
    """What no row fills is not in the file, and what every row fills may have no null in it."""
    to = landing(store)
    put(to, rows_of([{"a_number": "+31612345678", "count": 1}, {"a_number": "+31612345679"}]))
    to.close()
    [file] = to.files
    found = nullable(store, file)
    assert {name for name, null in found.items() if null} == {"count"}
    assert set(found) == {"a_number", "count", "row", "occurrence", "start", *CONSTANTS}
    assert read(store, file, ["a_number", "count", "emergency"]).rows() == [
        ("+31612345678", 1, None),
        ("+31612345679", None, None),
    ]


def test_a_day_begins_with_the_columns_of_the_rows_around(store: Store) -> None:
    """Few rows of another day get the columns of those they came with, so that the next of them fit too."""
    to = landing(store)
    other = DAY + timedelta(days=1)
    late = rows_of([{"a_number": "+31612345679"}], 3, NOON + timedelta(days=1))
    among = pl.concat([rows_of([{"a_number": "+31612345678", "count": 1}, {}]), late], how="diagonal")
    put(to, rows_of([{"a_number": "+31612345678", "count": 1}, {}]), among=among)
    put(to, late, other, among=among)
    put(to, rows_of([{"count": 5}], 4, NOON + timedelta(days=1)), other)
    to.close()
    assert [(file.day, file.rows) for file in to.files] == [(DAY, 2), (other, 2)]
    assert set(nullable(store, to.files[1])) == set(nullable(store, to.files[0]))


@pytest.mark.parametrize("late", [{"a_number": "+31612345678", "event": "call"}, {}])
def test_rows_that_do_not_fit_begin_a_file_that_takes_all(store: Store, late: dict[str, Any]) -> None:
    """A further column, or a null where none was, ends the file; the next one has all columns of the feed."""
    to = landing(store)
    put(to, rows_of([{"a_number": "+31612345678"}]))
    put(to, rows_of([late], 2))
    for number, (name, value) in enumerate(VALUES.items(), 3):
        put(to, rows_of([{name: value}], number))
    to.close()
    assert [file.rows for file in to.files] == [1, 1 + len(VALUES)]
    assert set(nullable(store, to.files[1])) == {*GIVEN, *CONSTANTS}


def test_a_category_without_a_key_has_no_column(store: Store) -> None:
    """What the other rows have of an expired category is not begun in a file that has no key of it."""
    store.destroy(day_key_id(CLASS, DAY, "where"))
    custody = store.keys.custody("receive")
    to = Landing(store.disk, store.layout, custody, CONSTANTS)
    among = rows_of([{"a_number": "+31612345678", "start_cell": "204-08-1-2"}])
    put(to, rows_of([{"a_number": "+31612345678"}]), among=among)
    to.close()
    assert "start_cell" not in to.files[0].columns
    assert to.files[0].row_sum == ""


def test_text_in_pieces_is_written_whole(store: Store) -> None:
    """Columns that stand in different pieces are written as one."""
    numbers = [f"+3161234{n:04d}" for n in range(200)]
    rows = rows_of([{"a_number": number, "event": "call", "public_ip": bytes(16)} for number in numbers])
    pieces = pl.concat([rows["a_number"][:70], rows["a_number"][70:]], rechunk=False)
    bytes_in_pieces = pl.concat([rows["public_ip"][:9], rows["public_ip"][9:]], rechunk=False)
    to = landing(store)
    put(to, rows.with_columns(pieces, bytes_in_pieces))
    to.close()
    assert read(store, to.files[0], ["a_number"])["a_number"].to_list() == numbers
    assert read(store, to.files[0], ["public_ip"])["public_ip"].unique().to_list() == [bytes(16)]


class FailingDisk(Disk):
    """A disk that fails once to take what is sent to it."""

    flushes = 0

    def flush(self, path: Path) -> None:
        """The second time, the failure."""
        self.flushes += 1
        if self.flushes == 2:
            raise OSError(errno.EIO, "a bad block")
        super().flush(path)


@pytest.mark.parametrize("more", [0, 1])
def test_what_fails_on_the_way_to_the_disk_is_told(store: Store, monkeypatch: pytest.MonkeyPatch, more: int) -> None:
    """A disk tells a failure once, so what it told while rows came is raised then or when the file is closed."""
    monkeypatch.setattr("trafficvault.landing._FLUSHED", 1)
    disk = FailingDisk()
    to = Landing(disk, store.layout, store.custody, CONSTANTS)
    put(to, rows_of([{}]))
    wait_for(to)
    put(to, rows_of([{}], 2))
    wait_for(to)
    with pytest.raises(OSError, match="a bad block"):
        for number in range(more):
            put(to, rows_of([{}], 3 + number))
        to.close()
    to.abandon()
    assert not list(store.layout.records.rglob("*.parquet"))


def wait_for(to: Landing) -> None:
    """Returns when nothing of `to` is on its way to the disk."""
    futures.wait([one.flushed for one in to._open.values() if one.flushed is not None], timeout=10)


record = st.fixed_dictionaries({}, optional={name: st.just(value) for name, value in VALUES.items()})


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(slices=st.lists(st.lists(record, min_size=1, max_size=6), min_size=1, max_size=6))
def test_whatever_the_slices_hold_all_of_it_is_there(store: Store, slices: list[list[dict[str, Any]]]) -> None:
    """Each value stands in its row, in two files at most, and the catalogue's columns, counts and sums are theirs."""
    to, first, wanted = landing(store), 1, []
    for told in slices:
        put(to, rows_of(told, first))
        wanted += [(first + n, *(one.get(name) for name in VALUES)) for n, one in enumerate(told)]
        first += len(told)
    to.close()
    assert len(to.files) <= 2
    found = pl.concat(read(store, file, ["row", *VALUES]) for file in to.files).sort("row")
    assert found.rows() == wanted
    for file in to.files:
        measured = partitions.measure(store.layout, store.custody, CLASS, DAY, file.file_id)
        assert (measured.rows, measured.row_sum) == (file.rows, file.row_sum)
        assert set(file.columns) <= set(measured.columns)
