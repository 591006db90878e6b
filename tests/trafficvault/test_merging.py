"""Merging: one file in the order of `start` that holds what its sources held, or a sentence and no file."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.record import CATEGORIES, HOW_MUCH, SCHEMA, WHEN, WHERE
from tests.thorough import as_many
from tests.trafficvault import block_house as house
from tests.trafficvault.record_file import canonical, write_file
from tests.trafficvault.sealed_store import DAY, NOON, Store, full_table, new_store, records
from trafficvault import arranging, duplicates, merging, ordering, partitions, postings, sealed_parquet
from trafficvault.blocks import BlockFile
from trafficvault.durable import Disk
from trafficvault.errors import FaultError, RefusedError
from trafficvault.layout import day_key_id
from trafficvault.merging import Source
from trafficvault.partitions import WrittenFile
from trafficvault.sealed_parquet import Place

CLASS = "mobile_usage"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A key store with the day keys of mobile usage and of internet."""
    return new_store(tmp_path, (CLASS, "internet"))


def write(store: Store, table: pa.Table, record_class: str = CLASS) -> WrittenFile:
    """A file as receive leaves it."""
    return write_file(store.disk, store.layout, store.custody, record_class, DAY, table)


def sources(files: list[WrittenFile]) -> list[Source]:
    """What the catalogue knows of them."""
    return [Source(file.file_id, file.rows, file.digest, file.row_sum) for file in files]


def few(count: int) -> pa.Table:
    """Records of a caller each, one minute after the other."""
    return records([{"a_number": f"+3160000000{n}", "start": NOON + timedelta(minutes=n)} for n in range(count)])


def merge(
    store: Store,
    files: list[WrittenFile],
    disk: Disk | None = None,
    *,
    keep_seen: bool = True,
    record_class: str = CLASS,
) -> WrittenFile:
    """All of `files`, merged into the staging layout."""
    custody, layout = store.keys.custody("compact"), store.layout
    return merging.merge(
        disk or store.disk, layout, layout.staging, custody, record_class, DAY, sources(files), keep_seen=keep_seen
    ).file


def rows_of(store: Store, file: WrittenFile, *, staged: bool = False) -> pl.DataFrame:
    """Every column and row of a file, in its order."""
    layout = store.layout.staging if staged else store.layout
    custody = store.keys.custody("verify")
    return partitions.read_in_custody(layout, custody, file.record_class, DAY, file.file_id, SCHEMA.names)


@pytest.mark.parametrize("record_class", [CLASS, "internet"])
def test_every_column_comes_through(store: Store, record_class: str) -> None:
    """Rows of several files with every column filled are the rows of the merged one; the catalogue's facts are true."""
    files = [write(store, full_table(7), record_class), write(store, few(5), record_class)]
    done = merge(store, files, record_class=record_class)
    before = pl.concat([rows_of(store, file) for file in files])
    after = rows_of(store, done, staged=True)

    assert after.equals(before.sort("start", nulls_last=True, maintain_order=True))
    path = store.layout.staging.record_file(record_class, DAY, done.file_id)
    assert (done.rows, done.bytes) == (12, path.stat().st_size)
    assert done.digest == partitions.keyed_digest_of(store.custody, path)
    assert done.reach_from == min(file.reach_from for file in files)
    assert done.reach_to == max(file.reach_to for file in files)
    assert set(done.columns) == {name for file in files for name in file.columns}
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_footer_tells_what_went_in_and_nobody_else_reads_it(store: Store) -> None:
    """The row sum stands in the footer, encrypted with it."""
    done = merge(store, [write(store, few(3))])
    path = store.layout.staging.record_file(CLASS, DAY, done.file_id)
    measured = partitions.measure(store.layout.staging, store.custody, CLASS, DAY, done.file_id)
    assert measured.told == measured.row_sum == done.row_sum
    raw = path.read_bytes()
    for clear in (done.row_sum, partitions.CONSERVED, sealed_parquet.TOLD):
        assert clear.encode() not in raw


def test_a_delivered_file_tells_nothing(store: Store) -> None:
    """Only a merged file says what it was made of."""
    file = write(store, few(3))
    assert partitions.measure(store.layout, store.custody, CLASS, DAY, file.file_id).told is None


@pytest.mark.parametrize("kept", [True, False])
def test_the_seen_block_is_there_while_it_is_wanted(store: Store, kept: bool) -> None:
    """It is that of the merged rows; without it duplicates are found all the same."""
    table = few(6)
    done = merge(store, [write(store, table.slice(0, 3)), write(store, table.slice(3))], keep_seen=kept)
    staging = store.layout.staging
    assert staging.seen_file(CLASS, DAY, done.file_id).exists() is kept
    custody = store.keys.custody("verify")
    fault = partitions.seen_fault(staging, custody, CLASS, DAY, done.file_id)
    assert fault == (None if kept else "missing")
    rows = pl.DataFrame(pl.from_arrow(table))
    assert duplicates.duplicates(staging, store.custody, CLASS, DAY, rows, [done.file_id], store.disk).all()
    assert staging.seen_file(CLASS, DAY, done.file_id).exists()


@settings(max_examples=as_many(15), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    files=st.lists(
        st.lists(st.one_of(st.none(), st.integers(-40_000, 40_000)), min_size=1, max_size=12), min_size=1, max_size=4
    ),
    budget=st.sampled_from([0, 500, 2000, 2**20]),
)
def test_any_starts_come_in_order_in_any_number_of_ranges(
    tmp_path_factory: pytest.TempPathFactory, files: list[list[int | None]], budget: int
) -> None:
    """Row groups follow one another in the order of `start`, rows without one come last, equal ones keep the order of
    their files, those of a batch stand together; and no cut loses or doubles a row.
    """
    store = new_store(tmp_path_factory.mktemp("merge"), ("internet",))
    written = []
    for number, offsets in enumerate(files):
        moments = [None if offset is None else NOON + timedelta(milliseconds=offset) for offset in offsets]
        rows = [
            {"start": moment, "end": NOON, "row": number * 100 + at, "batch": "ab"[at % 2]}
            for at, moment in enumerate(moments)
        ]
        written.append(write(store, records(rows), "internet"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ordering, "BUDGET", budget)
        patch.setattr(merging, "_GROUP", 3)
        done = merge(store, written, record_class="internet")
    before = pl.concat([rows_of(store, file) for file in written]).sort("start", nulls_last=True, maintain_order=True)
    after = rows_of(store, done, staged=True)
    for offset in range(0, before.height, 3):
        expected, found = before[offset : offset + 3], after[offset : offset + 3]
        first = found["batch"][0]
        grouped = [expected.filter(pl.col("batch") == one) for one in (first, "b" if first == "a" else "a")]
        assert found.equals(expected) or found.equals(pl.concat(grouped))


class Meddling(Disk):
    """Does something to the merged file between its writing and its reading back."""

    def __init__(self, deed: Callable[[], None]) -> None:
        self.deed = deed

    def step(self, name: str) -> None:
        """After the rename of a Parquet file, the deed."""
        if name == "after rename .parquet":
            self.deed()


def test_a_merged_file_that_was_changed_is_not_taken(store: Store) -> None:
    """Bits that flip between writing and reading back are a fault; the sources stay."""
    files = [write(store, few(3)), write(store, full_table(2))]

    def flip() -> None:
        (path,) = store.layout.staging.records.rglob("*.parquet")
        raw = bytearray(path.read_bytes())
        raw[len(raw) // 2] ^= 1
        path.write_bytes(raw)

    with pytest.raises(FaultError):
        merge(store, files, Meddling(flip))
    assert sum(rows_of(store, file).height for file in files) == 5


@pytest.mark.parametrize("honest", [True, False])
def test_a_merged_file_of_other_records_is_not_taken(store: Store, honest: bool) -> None:
    """A whole, well sealed file that lacks a record, whether its footer tells that or what should be there."""
    files = [write(store, few(3)), write(store, few(2))]
    keys = partitions.file_keys

    def exchange() -> None:
        (path,) = store.layout.staging.records.rglob("*.parquet")
        place = Place(CLASS, DAY, path.stem)
        opened = sealed_parquet.unwrap(path, place, keys(store.custody, place), ())
        rows = canonical(
            partitions.read_in_custody(
                store.layout.staging, store.custody, CLASS, DAY, path.stem, SCHEMA.names
            ).to_arrow()
        ).slice(1)
        rows = canonical(rows)
        total = partitions.total_of(pl.DataFrame(pl.from_arrow(rows)), rows.column_names)
        told = partitions.row_sum_of(store.custody, place, rows.num_rows, total)
        writer = sealed_parquet.Writer(path, rows.schema, place, keys(store.custody, place))
        writer.append(rows)
        writer.close({partitions.CONSERVED: told if honest else opened.told[partitions.CONSERVED]})

    with pytest.raises(FaultError, match="does not hold the records that went into it"):
        merge(store, files, Meddling(exchange))


def test_a_source_that_was_changed_is_not_merged(store: Store) -> None:
    """By its bytes, by its number of records, by which records; or it is not there at all."""
    file, other = write(store, few(3)), write(store, few(2))
    custody, layout = store.keys.custody("compact"), store.layout

    def attempt(*claims: Source) -> None:
        merging.merge(store.disk, layout, layout.staging, custody, CLASS, DAY, claims, keep_seen=True)

    with pytest.raises(FaultError, match="its bytes are not those that were committed"):
        attempt(Source(file.file_id, file.rows, other.digest, file.row_sum))
    with pytest.raises(FaultError, match="it gave 3 records, and the catalogue says 4 others"):
        attempt(
            Source(other.file_id, other.rows, other.digest, other.row_sum),
            Source(file.file_id, 4, file.digest, file.row_sum),
        )
    with pytest.raises(FaultError, match="it gave 3 records"):
        attempt(Source(file.file_id, file.rows, file.digest, other.row_sum))
    with pytest.raises(FaultError, match="can't be read"):
        attempt(Source("0" * 32, 1, file.digest, file.row_sum))
    assert not list(layout.staging.records.rglob("*.*"))


def test_a_sum_of_another_algorithm_is_left_to_the_digest(store: Store) -> None:
    """After an update of Polars the catalogue's sums can't be compared; the digest still speaks for the bytes."""
    file = write(store, few(3))
    claim = Source(file.file_id, file.rows, file.digest, f"rows-1/polars-0/none/0:{'0' * 64}")
    layout = store.layout
    done = merging.merge(
        store.disk, layout, layout.staging, store.keys.custody("compact"), CLASS, DAY, [claim], keep_seen=False
    ).file
    assert done.rows == 3


@pytest.mark.parametrize("category", CATEGORIES)
def test_a_day_that_lost_a_category_is_not_merged(store: Store, category: str) -> None:
    """Its columns can't be carried over, and nothing could show that the others were."""
    files = [write(store, full_table(2))]
    store.destroy(day_key_id(CLASS, DAY, category))
    with pytest.raises(RefusedError):
        merge(store, files)


def test_posting_lists_that_miss_a_row_are_named(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block file whose rows are right, but by whose lists one of them would not be found."""
    files = [write(store, full_table(7)), write(store, few(5))]
    posted = postings.distinct
    with monkeypatch.context() as patch:
        patch.setattr(postings, "distinct", lambda values: posted(values)[:-1])
        done = merge(store, files)
    custody, place = store.keys.custody("verify"), Place(CLASS, DAY, done.file_id)
    found = arranging.fault(store.layout.staging, custody, place, done.row_sum)
    assert found == "its posting lists or first keys are not those of its rows, so lookups would miss some"

    whole = merge(store, files)
    place = Place(CLASS, DAY, whole.file_id)
    assert arranging.fault(store.layout.staging, custody, place, whole.row_sum) is None


@pytest.mark.parametrize("tells", [False, True])
def test_a_block_file_of_before_is_sound(store: Store, monkeypatch: pytest.MonkeyPatch, tells: bool) -> None:
    """One in the order of callers is held against that order; one that says it has another is named."""
    calls = [{"a_number": f"+31600000{n}", "b_number": f"+31700000{n * 7 % 10}", "served": "b"} for n in range(10)]
    file = write(store, records(calls))
    with monkeypatch.context() as before:
        house.as_before(before, tells=tells)
        done = merge(store, [file])

    found = arranging.fault(
        store.layout.staging, store.keys.custody("verify"), Place(CLASS, DAY, done.file_id), done.row_sum
    )

    assert (found is not None) == tells


@pytest.mark.parametrize("budget", [0, 2**20])
def test_records_of_each_party_are_put_in_order(store: Store, monkeypatch: pytest.MonkeyPatch, budget: int) -> None:
    """Of caller, called and third party, in whatever order they came: in memory and range after range."""
    monkeypatch.setattr(ordering, "BUDGET", budget)
    rows = house.each_served().with_columns(pl.lit(None, pl.String).alias("imsi")).to_dicts()
    done = merge(store, [write(store, records(rows[number::3])) for number in range(3)])
    custody, place = store.keys.custody("verify"), Place(CLASS, DAY, done.file_id)

    assert arranging.fault(store.layout.staging, custody, place, done.row_sum) is None
    path, keys = store.layout.staging.blocks_file(CLASS, DAY, done.file_id), partitions.file_keys(custody, place)
    (every,) = BlockFile.open(path, place, keys).every(["served", "a_number", "b_number", "c_number"])
    assert every.equals(house.ordered(every))


@pytest.mark.parametrize("category", [WHERE, WHEN, HOW_MUCH])
def test_a_block_file_that_lost_a_category_is_sound(store: Store, category: str) -> None:
    """Its lists are held against what is left of its rows: that of cells knows whether they told a duration."""
    rows: list[dict[str, object]] = [{"duration_ms": 5}, {"end": NOON}]
    rows = [{"start_cell": "c1", "a_number": f"+{number}"} | row for number, row in enumerate(rows)]
    done = merge(store, [write(store, records(rows))])
    store.destroy(day_key_id(CLASS, DAY, category))

    found = arranging.fault(
        store.layout.staging, store.keys.custody("verify"), Place(CLASS, DAY, done.file_id), done.row_sum
    )

    assert found is None
