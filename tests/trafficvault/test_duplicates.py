"""Duplicates: a record that is stored is known again, whatever differs in its delivery, and no other is."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.record import SCHEMA
from tests.thorough import as_many
from tests.trafficvault.measured_store import CLASS, doubles, measured, write
from tests.trafficvault.record_file import canonical
from tests.trafficvault.sealed_store import DAY, NOON, Store, full_table, new_store, records
from trafficvault import duplicates, partitions, seen
from trafficvault.durable import Disk


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A key store with the day keys of mobile usage and of internet."""
    return new_store(tmp_path, (CLASS, "internet", "voip"))


def sms(number: int, **more: Any) -> dict[str, Any]:
    """An SMS, with the number of its second and of its record."""
    start = NOON + timedelta(seconds=number)
    return {"event": "sms", "a_number": "+31612345678", "b_number": "+31201234567", "start": start, **more}


def test_the_same_file_again_adds_nothing(store: Store) -> None:
    """Another batch, other row numbers, a newer feed: the same records."""
    rows = [sms(n, start_cell="204-99-1-1") for n in range(20)]
    file = write(store, records(rows))
    again = records(
        [
            row | {"batch": "b2", "row": 100 + n, "feed_digest": "f2", "read_note": "latin-1"}
            for n, row in enumerate(rows)
        ]
    )

    assert doubles(store, again, [file]) == [True] * 20


def test_an_overlapping_file_adds_what_is_new(store: Store) -> None:
    """Over several stored files, each searched."""
    first = write(store, records([sms(n) for n in range(10)]))
    second = write(store, records([sms(n) for n in range(10, 15)]))

    assert doubles(store, records([sms(n) for n in range(5, 20)]), [first, second]) == [True] * 10 + [False] * 5


def test_equal_records_of_one_file_stay_apart_by_their_occurrence(store: Store) -> None:
    """Two SMS of one second are two; a second delivery of both is two duplicates, of a third one there is one more."""
    two = [sms(1, occurrence=0), sms(1, occurrence=1)]
    assert doubles(store, records(two), []) == [False, False]
    file = write(store, records(two))

    assert doubles(store, records(two), [file]) == [True, True]
    assert doubles(store, records([*two, sms(1, occurrence=2)]), [file]) == [True, True, False]


def test_records_with_an_identity_are_once_in_a_file_too(store: Store) -> None:
    """Same record id and content: the second is a duplicate. Same id and other content: a version, kept."""
    rows = [sms(1, record_id="7"), sms(2, record_id="8"), sms(1, record_id="7"), sms(1, record_id="7", duration_ms=5)]

    assert doubles(store, records(rows), []) == [False, False, True, False]


@pytest.mark.parametrize(
    "change",
    [
        {"start_cell": "204-99-1-2"},
        {"start_cell": None},
        {"source": "another"},
        {"record_id": "9"},
        {"a_number": "+31612345679"},
        {"other_parties": [{"role": "forwarded", "number": "+31201234568"}]},
        {"mail_to": []},
        {"public_ip": bytes(16)},
        {"emergency": False},
        {"utc_offset": 60},
    ],
    ids=str,
)
def test_a_record_that_differs_anywhere_is_no_duplicate(store: Store, change: dict[str, Any]) -> None:
    """A cell alone too, though no hash covers it; and neither way round."""
    base = sms(1, start_cell="204-99-1-1", source="mvno")
    one, other = records([base]), records([base | change])

    assert doubles(store, other, [write(store, one)]) == [False]
    assert doubles(store, one, [write(store, other)]) == [False]
    assert doubles(store, one, [write(store, other), write(store, one)]) == [True]


def test_nested_and_binary_values_are_compared(store: Store) -> None:
    """Every column filled: equal rows are duplicates, one changed leaf is not."""
    table = full_table(6)
    file = write(store, table)
    changed = table.to_pylist()
    changed[2]["other_parties"][0]["role"] = "another"
    changed[4]["mail_to"].append("one@example.org")
    hollow = records([sms(1, mail_to=[None], other_parties=[{"role": "forwarded", "number": None}, None])])

    assert doubles(store, table, [file]) == [True] * 6
    assert doubles(store, pa.Table.from_pylist(changed, SCHEMA), [file]) == [True, True, False, True, False, True]
    assert doubles(store, hollow, [write(store, hollow)]) == [True]


def test_many_records_that_differ_by_their_cell_alone(store: Store) -> None:
    """All have one hash; each is still compared with its own like."""
    rows = [sms(1, start_cell=f"204-99-1-{n}") for n in range(200)]
    file = write(store, records(rows[:150]))

    assert doubles(store, records(rows[100:]), [file]) == [True] * 50 + [False] * 50


def spoil(path: Path, how: str) -> None:
    """Makes a seen block unusable."""
    if how == "missing":
        path.unlink()
    elif how == "changed":
        blob = bytearray(path.read_bytes())
        blob[-1] ^= 1
        path.write_bytes(blob)


@pytest.mark.parametrize("how", ["missing", "changed", "another version"])
def test_a_seen_block_that_can_not_be_used_is_made_again(
    store: Store, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is the same, and with a disk at hand the block is there again."""
    rows = [sms(n) for n in range(10)]
    with monkeypatch.context() as patched:
        if how == "another version":
            patched.setattr(seen, "algorithm", lambda: "rows-1/polars-1.0.0/x86_64/00")
        file = write(store, records(rows))
    path = store.layout.seen_file(CLASS, DAY, file.file_id)
    spoil(path, how)
    before = path.read_bytes() if path.exists() else b""

    assert doubles(store, records(rows), [file]) == [True] * 10
    assert (path.read_bytes() if path.exists() else b"") == before
    assert doubles(store, records(rows), [file], Disk()) == [True] * 10
    after = path.read_bytes()
    assert after != before
    assert doubles(store, records(rows), [file], Disk()) == [True] * 10
    assert path.read_bytes() == after


def test_a_candidate_counts_only_when_the_stored_row_agrees(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a hash that is the same for every row, the comparison alone decides."""
    monkeypatch.setattr(seen, "shorten", lambda hashes: np.zeros(len(hashes), np.uint64))
    file = write(store, records([sms(n) for n in range(10)]))

    assert doubles(store, records([sms(n) for n in range(8, 13)]), [file]) == [True, True, False, False, False]


def test_a_hash_that_collides_throughout_drops_no_record(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """At worst a duplicate stays; a record is never taken for another."""
    file = write(store, records([sms(n) for n in range(3)]))
    monkeypatch.setattr(seen, "row_hashes", lambda rows, columns: np.zeros(rows.height, np.uint64))
    store.layout.seen_file(CLASS, DAY, file.file_id).unlink()

    assert doubles(store, records([sms(5), sms(6), sms(0)]), [file]) == [False, False, True]


def test_no_rows_have_no_duplicates(store: Store) -> None:
    """An empty table gives an empty mask."""
    file = write(store, records([sms(1)]))
    assert doubles(store, records([sms(1)]).slice(0, 0), [file]) == []
    assert doubles(store, records([sms(1)]).slice(0, 0), []) == []


ROW = st.fixed_dictionaries(
    {
        "a_number": st.sampled_from(["+31612345678", "+31201234567", None]),
        "start_cell": st.sampled_from(["204-99-1-1", "204-99-1-2", None]),
        "start": st.sampled_from([NOON, NOON + timedelta(seconds=1)]),
        "occurrence": st.integers(0, 1),
        "mail_to": st.sampled_from([None, [], ["a@example.org"]]),
    }
)


@dataclass
class Shared:
    """One store for all examples of a property."""

    store: Store


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    """A store that the examples share: each writes files of its own."""
    return Shared(new_store(tmp_path_factory.mktemp("shared")))


@settings(max_examples=as_many(20), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    stored=st.lists(st.lists(ROW, min_size=1, max_size=6), max_size=3), arriving=st.lists(ROW, min_size=1, max_size=12)
)
def test_duplicates_are_what_a_set_says(
    shared: Shared, stored: list[list[dict[str, Any]]], arriving: list[dict[str, Any]]
) -> None:
    """Against a Python set of whole records."""
    files = [write(shared.store, records(rows)) for rows in stored]
    known = {repr(sorted(row.items())) for rows in stored for row in rows}
    expected = []
    for row in arriving:
        expected.append(repr(sorted(row.items())) in known)
        known.add(repr(sorted(row.items())))

    assert doubles(shared.store, records(arriving), files) == expected


def test_a_file_of_duplicates_is_found_out_quickly(store: Store) -> None:
    """200,000 records delivered twice: seconds, not minutes (about a third of one on two quiet cores)."""
    rows = 200_000
    numbers = np.arange(rows)
    table = pa.table(
        {
            "source": ["mvno"] * rows,
            "batch": ["b1"] * rows,
            "row": numbers + 1,
            "occurrence": np.zeros(rows, np.int32),
            "a_number": np.char.add("+316", (numbers % 50_000 + 12_000_000).astype(str)),
            "b_number": np.char.add("+3120", (numbers % 9_973 + 1_234_567).astype(str)),
            "start_cell": np.char.add("204-99-1-", (numbers % 512).astype(str)),
            "start": pa.array(np.datetime64("2026-03-01", "us") + (numbers * 400_000).astype("timedelta64[us]")).cast(
                SCHEMA.field("start").type
            ),
            "duration_ms": numbers % 977 * 1000,
        }
    )
    file = write(store, table)
    began = time.process_time()
    rows_ = pl.DataFrame(pl.from_arrow(canonical(table)))
    mask = duplicates.duplicates(store.layout, store.custody, CLASS, DAY, rows_, [file.file_id])

    assert mask.all()
    assert time.process_time() - began < 10


def test_files_larger_than_a_slice_are_read_in_slices(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What verify and duplicates hold in memory is bounded; the results are those of one reading."""
    rows = [sms(n, start_cell=f"204-99-1-{n}") for n in range(25)]
    file = write(store, records(rows))
    monkeypatch.setattr(partitions, "SLICE", 10)
    store.layout.seen_file(CLASS, DAY, file.file_id).unlink()

    assert measured(store, file).row_sum == file.row_sum
    assert measured(store, file).rows == 25
    assert doubles(store, records(rows[20:] + rows[:2]), [file]) == [True] * 7
