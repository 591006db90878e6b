"""Partitions: written, read under the right keys, measured again, and never a record twice."""

from __future__ import annotations

import hmac
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from ingest.record import CLASSES, SCHEMA
from tests.trafficvault.measured_store import CLASS, measured, write
from tests.trafficvault.record_file import canonical
from tests.trafficvault.sealed_store import DAY, NOON, Store, full_table, new_store, records, release
from trafficvault import partitions
from trafficvault.errors import FaultError, RefusedError, UsageError
from trafficvault.landing import Landing
from trafficvault.partitions import WrittenFile

ALL = list(SCHEMA.names)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A key store with the day keys of mobile usage and of internet."""
    return new_store(tmp_path, (CLASS, "internet", "voip"))


def read(store: Store, file: WrittenFile, columns: list[str], only: pl.Expr | None = None) -> pl.DataFrame:
    """Rows of a file, in custody."""
    custody = store.keys.custody("verify")
    return partitions.read_in_custody(store.layout, custody, file.record_class, file.day, file.file_id, columns, only)


# --- writing


@pytest.mark.parametrize("record_class", [CLASS, "internet"])
def test_what_is_written_reads_back(store: Store, record_class: str) -> None:
    """Every column, each with its value; the file says what the catalogue must keep."""
    table = full_table(7)
    file = write(store, table, record_class)
    path = store.layout.record_file(record_class, DAY, file.file_id)

    assert canonical(read(store, file, ALL).to_arrow()).equals(table)
    assert (file.record_class, file.day, file.rows, file.columns) == (record_class, DAY, 7, tuple(ALL))
    assert file.bytes == path.stat().st_size
    assert file.digest == hmac.new(store.custody.key("catalogue"), path.read_bytes(), "sha256").hexdigest()
    assert path.stat().st_mode & 0o777 == 0o600
    assert sorted(each.name for each in path.parent.iterdir()) == [f"{file.file_id}.parquet", f"{file.file_id}.seen"]
    assert len(file.file_id) == 32


def test_a_column_without_values_is_not_written_and_reads_as_null(store: Store) -> None:
    """Absent, or null throughout: the same."""
    table = records([{"a_number": "+31612345678"}]).append_column("imsi", pa.nulls(1, pa.string()))
    file = write(store, table)

    assert "imsi" not in file.columns
    found = read(store, file, ["a_number", "imsi", "mail_to", "public_ip"])
    assert found.row(0) == ("+31612345678", None, None, None)
    assert found["mail_to"].dtype == pl.List(pl.String)


def test_some_nulls_do_not_make_a_column_vanish(store: Store) -> None:
    """A value in one row is kept beside the nulls of the others."""
    table = records([{"imsi": None}, {"imsi": "204990000000001"}, {"mail_to": []}])
    found = read(store, write(store, table), ["imsi", "mail_to"])

    assert found["imsi"].to_list() == [None, "204990000000001", None]
    assert found["mail_to"].to_list() == [None, None, []]


@pytest.mark.parametrize(
    ("name", "value"),
    [("duration_ms", "+31612345678"), ("public_ip", b"+31612345678"), ("a_number", b"+31612345678\xff")],
    ids=["text for a number", "an address of 12 bytes", "bytes for text"],
)
def test_what_is_not_a_record_is_refused_without_its_values(store: Store, name: str, value: object) -> None:
    """The sentence names the column, never a value; nor does its cause."""
    landing = Landing(store.disk, store.layout, store.custody, {})
    rows = pl.DataFrame({"start": [NOON], name: [value]})
    with pytest.raises(FaultError, match=f"^writing records: a value of {name} is not of the record's type$") as raised:
        landing.append(CLASS, DAY, rows, np.zeros(1, np.uint64), 0, rows.columns)
    landing.abandon()

    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


@pytest.mark.parametrize(
    ("record_class", "row"),
    [
        (CLASS, {"start": datetime(2026, 3, 2, tzinfo=UTC)}),
        (CLASS, {"start": datetime(2026, 2, 28, 23, 59, 59, 999999, tzinfo=UTC)}),
        (CLASS, {"start": None, "end": NOON}),
        ("internet", {"start": NOON, "end": datetime(2026, 3, 2, tzinfo=UTC)}),
        ("internet", {"start": NOON, "reported_at": datetime(2026, 3, 2, tzinfo=UTC)}),
        ("internet", {"start": None}),
    ],
)
def test_a_record_of_another_day_is_refused(store: Store, record_class: str, row: dict[str, Any]) -> None:
    """It would die with a day that is not its own."""
    with pytest.raises(FaultError, match="1 of 2 records are of another day"):
        write(store, records([{"end": NOON}, row]), record_class)
    assert not store.layout.records.exists()


def test_an_interval_belongs_to_the_day_of_its_end_or_latest_report(store: Store) -> None:
    """It began days before; its reach says so."""
    began = datetime(2026, 2, 25, tzinfo=UTC)
    file = write(store, records([{"start": began, "end": NOON}, {"start": began, "reported_at": NOON}]), "internet")

    assert (file.reach_from, file.reach_to) == (date(2026, 2, 25), DAY)


@pytest.mark.parametrize(
    ("row", "reach"),
    [
        ({}, (DAY, DAY)),
        ({"end": datetime(2026, 3, 4, tzinfo=UTC)}, (DAY, date(2026, 3, 4))),
        ({"answer": datetime(2026, 3, 2, 1, tzinfo=UTC)}, (DAY, date(2026, 3, 2))),
        ({"duration_ms": 86_400_000}, (DAY, date(2026, 3, 2))),
        ({"duration_ms": -5}, (DAY, DAY)),
        ({"end": datetime(9999, 12, 31, tzinfo=UTC), "duration_ms": 2**62}, (DAY, date(2199, 12, 31))),
    ],
    ids=["an event", "with an end", "with an answer", "with a duration", "a negative duration", "a broken source"],
)
def test_the_reach_covers_every_moment_of_a_record(store: Store, row: dict[str, Any], reach: tuple[date, date]) -> None:
    """A question finds the file for each UTC date that its records touch; measuring gives the same."""
    file = write(store, records([row]))

    assert (file.reach_from, file.reach_to) == reach
    assert (measured(store, file).reach_from, measured(store, file).reach_to) == reach


def test_without_the_days_keys_nothing_is_written(tmp_path: Path) -> None:
    """The keys come into the ring first."""
    store = new_store(tmp_path, ())
    with pytest.raises(RefusedError, match="not in the ring"):
        write(store, records([{}]))
    assert not store.layout.records.exists()


# --- reading for a disclosure


def disclosed(*arguments: Any) -> pl.DataFrame:
    """The rows of all row groups that a disclosure reads of a file."""
    return pl.concat(rows for _, rows in partitions.read_released(*arguments))


def test_released_keys_read_their_categories(store: Store) -> None:
    """Who and when, of the rows that the filter keeps; the filter's own columns come only when asked for."""
    file = write(store, full_table(5))
    tokens = release(store, ("who", "when"))
    found = disclosed(
        store.layout, tokens, file.file_id, ["start", "a_number"], pl.col("b_number") == "marked-b_number-3"
    )

    assert found.columns == ["start", "a_number"]
    assert found["a_number"].to_list() == ["marked-a_number-3"]


def test_a_column_outside_the_release_is_refused(store: Store) -> None:
    """As an output and as a filter; a name that is no column likewise."""
    file = write(store, full_table(5))
    tokens = release(store, ("who", "when"))
    with pytest.raises(RefusedError, match="start_cell of mobile_usage: its category where was not opened"):
        disclosed(store.layout, tokens, file.file_id, ["start", "start_cell"])
    with pytest.raises(RefusedError, match="its category where"):
        disclosed(store.layout, tokens, file.file_id, ["start"], pl.col("start_cell") == "marked-start_cell-1")
    with pytest.raises(UsageError, match="subject is not a column"):
        disclosed(store.layout, tokens, file.file_id, ["subject"])


def test_a_filter_on_absent_columns_finds_nothing_there(store: Store) -> None:
    """No row has a c number or an IMSI; the a number still matches."""
    file = write(store, records([{"a_number": "+31612345678"}, {"a_number": "+31201234567"}]))
    tokens = release(store, ("who",))
    only = (pl.col("imsi") == "204990000000001") | (pl.col("a_number") == "+31201234567")
    found = disclosed(store.layout, tokens, file.file_id, ["a_number", "imsi"], only)

    assert found.rows() == [("+31201234567", None)]


def test_keys_of_two_days_or_without_the_frame_do_not_read(store: Store) -> None:
    """One file is of one class and day, and its footer needs the frame key."""
    file = write(store, full_table(2))
    tokens = release(store, ("who",))
    others = release(store, ("who",), "internet")
    for wrong in (tokens[1:], [tokens[0], others[1]], []):
        with pytest.raises(RefusedError, match="not the frame key and others of one class and day"):
            disclosed(store.layout, wrong, file.file_id, ["a_number"])


def test_a_file_of_another_partition_is_refused(store: Store) -> None:
    """Moved to the place that the keys are for: the file says it is another."""
    file = write(store, full_table(2), "internet")
    there = store.layout.record_file(CLASS, DAY, file.file_id)
    store.disk.make_directory(there.parent)
    store.layout.record_file("internet", DAY, file.file_id).rename(there)

    with pytest.raises(FaultError, match="exchanged, renamed or moved"):
        disclosed(store.layout, release(store, ("who",)), file.file_id, ["a_number"])


def test_a_wrong_filter_shows_no_target(store: Store) -> None:
    """Polars quotes what it compared; the fault does not."""
    file = write(store, full_table(2))
    with pytest.raises(FaultError) as raised:
        read(store, file, ["a_number"], pl.col("start") == "+31612345678")

    assert "31612345678" not in str(raised.value)
    assert raised.value.__suppress_context__


# --- measuring


@pytest.mark.parametrize("record_class", CLASSES)
def test_a_file_measures_as_it_was_written(tmp_path: Path, record_class: str) -> None:
    """Rows, sum, reach and columns, of every class."""
    store = new_store(tmp_path, (record_class,))
    file = write(
        store,
        full_table(4).set_column(ALL.index("end"), "end", pa.array([NOON] * 4, SCHEMA.field("end").type)),
        record_class,
    )
    found = measured(store, file)

    assert found.rows == file.rows
    assert not found.differs_from(file.row_sum)
    assert found.row_sum == file.row_sum
    assert (found.reach_from, found.reach_to, found.columns) == (file.reach_from, file.reach_to, file.columns)


def test_the_sum_sees_a_changed_a_missing_and_an_added_record(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not their order, though."""
    monkeypatch.setattr("secrets.token_hex", lambda size: "0c" * size)

    def sum_of(table: pa.Table) -> str:
        file = write(store, table)
        store.layout.record_file(CLASS, DAY, file.file_id).unlink()
        return file.row_sum

    rows: list[dict[str, Any]] = [{"a_number": str(n), "start_cell": f"204-99-1-{n}"} for n in range(4)]
    whole = sum_of(records(rows))
    others = (
        rows[:3],
        [*rows, rows[0]],
        [*rows[:3], rows[3] | {"start_cell": "204-99-1-9"}],
        [*rows[:3], rows[3] | {"start_cell": None}],
    )

    assert sum_of(records(rows).take([2, 0, 3, 1])) == whole
    assert len({whole, *(sum_of(records(other)) for other in others)}) == 5


def test_equal_records_in_two_files_have_sums_of_their_own(store: Store) -> None:
    """Nobody sees by the catalogue that two files hold the same."""
    assert write(store, full_table(2)).row_sum != write(store, full_table(2)).row_sum


def test_a_sum_of_another_polars_is_not_compared(store: Store) -> None:
    """An upgrade is no fault; another sum of the same algorithm is."""
    found = measured(store, write(store, full_table(2)))
    algorithm, _, keyed = found.row_sum.partition(":")

    assert not found.differs_from(f"rows-1/polars-1.0.0/x86_64/00:{'0' * 64}")
    assert found.differs_from(f"{algorithm}:{'0' * 64}")
    assert not found.differs_from(f"{algorithm}:{keyed}")


def test_a_changed_file_does_not_measure(store: Store) -> None:
    """A page that was changed is a fault, not other rows."""
    file = write(store, full_table(200))
    path = store.layout.record_file(CLASS, DAY, file.file_id)
    blob = bytearray(path.read_bytes())
    blob[len(blob) // 10] ^= 16
    path.write_bytes(blob)

    with pytest.raises(FaultError, match=file.file_id):
        measured(store, file)
