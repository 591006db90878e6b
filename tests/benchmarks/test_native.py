"""The generator of the classes that an MVNO pipe file has not: every row is a record of the shipped feed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from benchmarks import feedfiles, native
from benchmarks.network import DEVICES, Network
from ingest.read import Reading, read
from tests.ingest.shipped_feeds import FEEDS
from trafficvault import policy_file
from trafficvault.sources import implicit

DAY = date(2026, 11, 18)
NETWORK = Network(subscribers=200)
ROWS = 400
MAKERS = {
    "telephony": native.calls,
    "internet": native.sessions,
    "binding": native.bindings,
    "email": native.mails,
}


def reading_of(path: Path, feed_name: str) -> Reading:
    """What the shipped feed reads in the file at `path`."""
    feed = FEEDS[feed_name]
    source = implicit(feed, policy_file.parse(policy_file.preset_text("telecom")))
    return read(path.read_bytes(), feed, source, datetime(2026, 11, 20, tzinfo=UTC), path.name)


@pytest.mark.parametrize("record_class", MAKERS)
def test_every_row_is_a_record(tmp_path: Path, record_class: str) -> None:
    """`native_csv` and `native_ndjson` read every row as one of its class, and both read the same."""
    frame = MAKERS[record_class](ROWS, DAY, 1, NETWORK)
    csv = reading_of(native.write_native(tmp_path / "csv", frame), "native_csv")
    ndjson = reading_of(native.write_ndjson(tmp_path / "ndjson", frame), "native_ndjson")

    for found in (csv, ndjson):
        assert found.rejections.num_rows == 0
        assert set(found.records) == {record_class}
        assert found.records[record_class].height == ROWS
    told = [found.records[record_class] for found in (csv, ndjson)]
    columns = [name for name in told[0].columns if name not in ("row", "source", "feed_digest")]
    assert told[0].select(columns).equals(told[1].select(columns))


def test_the_same_seed_gives_the_same_rows() -> None:
    """Equal seeds give equal frames, and another seed another."""
    assert native.sessions(ROWS, DAY, 1, NETWORK).equals(native.sessions(ROWS, DAY, 1, NETWORK))
    assert not native.sessions(ROWS, DAY, 1, NETWORK).equals(native.sessions(ROWS, DAY, 2, NETWORK))


def test_who_is_behind_an_address_can_be_reckoned() -> None:
    """The address and ports of a session are those of its subscriber's block, and no two subscribers share one."""
    frame = native.sessions(ROWS, DAY, 1, NETWORK)
    for address, first, last, subscriber in frame.select("public_ip", "port_from", "port_to", "subscriber").iter_rows():
        rank = int(subscriber[1:])
        assert (address, (int(first), int(last))) == (NETWORK.address(rank), NETWORK.ports(rank))
    blocks = {(NETWORK.address(rank), NETWORK.ports(rank)) for rank in range(NETWORK.subscribers)}
    assert len(blocks) == NETWORK.subscribers


def test_a_subscriber_has_several_devices() -> None:
    """One number is seen with more than one IMEI, and an IMEI with one number's IMSI alone."""
    frame = native.calls(4_000, DAY, 1, NETWORK)
    devices = frame.group_by("imsi").agg(pl.col("imei").n_unique())
    assert devices["imei"].max() == DEVICES
    assert frame.group_by("imei").agg(pl.col("imsi").n_unique())["imsi"].max() == 1


@pytest.mark.parametrize(
    ("feed", "write"),
    [
        ("wlr_fixed", feedfiles.write_wlr),
        ("asterisk_csv", feedfiles.write_asterisk),
        ("kamailio_flatstore", feedfiles.write_kamailio),
    ],
)
def test_the_other_feeds_read_their_files(
    tmp_path: Path, feed: str, write: Callable[[Path, int, date, int, Network], Path]
) -> None:
    """No row is rejected, and no control total disagrees."""
    found = reading_of(write(tmp_path / "file", ROWS, DAY, 1, NETWORK), feed)

    assert found.rejections.num_rows == 0
    assert found.mismatches == ()
    assert sum(table.height for table in found.records.values()) == ROWS
