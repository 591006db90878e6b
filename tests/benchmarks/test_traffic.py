"""The traffic generator of the benchmarks: the same bytes for a seed, and rows that the feed reads."""

from __future__ import annotations

from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path

import polars as pl

from benchmarks.network import Network
from benchmarks.traffic import FIELDS, file_name, traffic, write_days, write_file
from ingest.read import read
from tests.ingest.shipped_feeds import FEEDS
from trafficvault import policy_file
from trafficvault.sources import implicit

DAY = date(2026, 11, 18)
ROWS = 4_000


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    """A benchmark is repeated on equal bytes, and another seed is other traffic."""
    first = write_file(tmp_path / "first", ROWS, DAY, seed=7).read_bytes()
    again = write_file(tmp_path / "again", ROWS, DAY, seed=7).read_bytes()
    other = write_file(tmp_path / "other", ROWS, DAY, seed=8).read_bytes()

    assert first == again
    assert first != other


def test_every_row_is_a_record(tmp_path: Path) -> None:
    """The feed `mvno_pipe` reads every row, and no two are the same record."""
    path = write_file(tmp_path / file_name(123), ROWS, DAY)
    feed = FEEDS["mvno_pipe"]
    source = implicit(feed, policy_file.parse(policy_file.preset_text("telecom")))
    reading = read(path.read_bytes(), feed, source, datetime(2026, 11, 20, tzinfo=UTC), path.name)

    assert reading.units == ROWS
    assert reading.rejections.num_rows == 0
    assert reading.sequence == 123
    records = pl.DataFrame(reading.records["mobile_usage"])
    assert records.height == ROWS
    assert records["record_id"].n_unique() == ROWS
    assert set(records["event"]) == {"data", "sms", "call"}
    assert set(records["direction"].drop_nulls()) == {"in", "out"}
    assert records["visited_plmn"].drop_nulls().len() > 0
    assert records.filter("cli_withheld").height > 0


def test_a_few_subscribers_make_most_of_the_traffic() -> None:
    """The busiest tenth of the subscribers has more than a third of the records."""
    network = Network(subscribers=1_000)
    shares = traffic(20_000, DAY, seed=1, network=network)["field_5"].value_counts(sort=True)

    assert shares["count"].head(100).sum() > 20_000 / 3
    assert shares["field_5"][0] == network.number(0)


def test_a_row_has_the_fields_of_the_feed() -> None:
    """A file has 25 fields, and the IMSI of a row is that of its number."""
    network = Network(subscribers=50)
    frame = traffic(500, DAY, seed=1, network=network)

    assert frame.width == FIELDS
    pairs = {(row["field_5"], str(row["field_6"])) for row in frame.iter_rows(named=True)}
    assert pairs <= {(network.number(item), network.imsi(item)) for item in range(50)}


def test_both_parties_of_a_call_have_a_record() -> None:
    """What goes from one subscriber to another stands twice: out with the caller, in with the called, side by side."""
    network = Network(subscribers=500)
    frame = traffic(20_000, DAY, seed=1, network=network).with_columns(pl.col("field_7").cast(pl.Int64))
    out = frame.filter(pl.col("field_1") == "MO").select("field_5", "field_4", "field_7", "field_8")
    own = out.filter(pl.col("field_4").is_in([network.number(rank) for rank in range(500)]))
    into = frame.filter(pl.col("field_1") == "MT").select("field_5", "field_2", "field_7", "field_8")
    pairs = own.join(
        into,
        left_on=["field_5", "field_4", "field_7", "field_8"],
        right_on=["field_2", "field_5", "field_7", "field_8"],
        how="inner",
    )

    hidden = frame.filter((pl.col("field_1") == "MT") & pl.col("field_2").is_null()).height
    assert own.height > 100
    assert pairs.height >= own.height - hidden - 1


def test_parts_make_one_day_in_order() -> None:
    """The parts of a day follow one another in time, and no record id is in two of them."""
    parts = [traffic(5_000, DAY, 1, Network(subscribers=50), part, 3) for part in range(3)]
    times = [(part["field_7"].min(), part["field_7"].max()) for part in parts]

    assert pl.concat(parts)["field_25"].n_unique() == 15_000
    for (_, last), (first, _) in pairwise(times):
        assert last is not None and first is not None
        assert str(last) <= str(first)


def test_days_take_the_disk_of_one(tmp_path: Path) -> None:
    """Each day's file is gone when the next is there."""
    for day, path in write_days(tmp_path, DAY, 3, 100, network=Network(subscribers=50)):
        assert [item.name for item in tmp_path.iterdir()] == [path.name]
        assert path.read_text().split("|")[6].startswith(f"{day:%Y%m%d}")
    assert not list(tmp_path.iterdir())
