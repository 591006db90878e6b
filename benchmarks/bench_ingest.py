"""Ingest of one day of mobile usage: reading alone, sealing alone, and the whole act with keys, commit and audit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import polars as pl
import pytest

from benchmarks.conftest import DAY, NOW, ROWS, Note, Watch, record_bytes
from ingest.read import Reading, read
from ingest.record import CATEGORIES
from tests.support import ingest, new_vault
from trafficvault import intake, partitions
from trafficvault.layout import day_key_id
from trafficvault.receipts import Receipt
from trafficvault.vault import Vault

CLASS = "mobile_usage"


@pytest.mark.bench
def test_read(watch: Watch, day_file: Path, filled: Vault, note: Note) -> None:
    """Bytes to canonical Arrow: framing, normalising and checking, without keys."""
    feed, source = intake.feed_and_source(filled, "mvno_pipe", None)
    data = day_file.read_bytes()

    def act() -> Reading:
        return read(data, feed, source, NOW, day_file.name)

    reading, seconds = watch.time(act, rounds=3)

    assert reading.units == ROWS
    assert reading.rejections.num_rows == 0
    note("read", ROWS / seconds, "rows/s")


@pytest.mark.bench
def test_seal(watch: Watch, tmp_path: Path, day_file: Path, note: Note) -> None:
    """Canonical Arrow to one encrypted Parquet file and its seen block on disk, fsynced."""
    vault = new_vault(tmp_path, now=NOW)
    feed, source = intake.feed_and_source(vault, "mvno_pipe", None)
    records = pl.DataFrame(read(day_file.read_bytes(), feed, source, NOW, day_file.name).records[CLASS])
    first = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC)
    of_day = records.filter(pl.col("start").is_between(first, first + timedelta(days=1), closed="left"))
    table = of_day.with_columns(batch=pl.lit("0" * 24)).to_arrow()
    vault.keys.ensure([day_key_id(CLASS, DAY, category) for category in CATEGORIES])
    custody = vault.keys.custody("receive")

    def act() -> partitions.WrittenFile:
        return partitions.write_file(vault.disk, vault.layout, custody, CLASS, DAY, table)

    written, seconds = watch.time(act, rounds=3)

    assert written.rows == of_day.height
    note("seal", written.rows / seconds, "rows/s")
    note("seal, encrypted Parquet", written.bytes / written.rows, "bytes/record")


@pytest.mark.bench
def test_receive(watch: Watch, tmp_path: Path, day_file: Path, note: Note) -> None:
    """The act `ingest` as the command line calls it, into an empty vault each time."""
    number = count()
    vaults: list[Vault] = []

    def fresh() -> None:
        directory = tmp_path / str(next(number))
        directory.mkdir()
        vaults.append(new_vault(directory, now=NOW))

    def act() -> Receipt:
        return ingest(vaults[-1], "mvno_pipe", day_file.read_bytes(), day_file.name)

    receipt, seconds = watch.time(act, rounds=3, before=fresh)

    assert (receipt.status, receipt.stored) == ("committed", ROWS)
    note("ingest, the whole act", ROWS / seconds, "rows/s")
    note("ingest, on disk with seen blocks", record_bytes(vaults[-1]) / ROWS, "bytes/record")
    note("ingest, the delivered file", day_file.stat().st_size / ROWS, "bytes/record")


@pytest.mark.bench
def test_receive_again(watch: Watch, day_file: Path, filled: Vault, note: Note) -> None:
    """The same rows in another file: every one is found to be a duplicate, and none is stored."""
    number = count(1)

    def act() -> Receipt:
        return ingest(filled, "mvno_pipe", day_file.read_bytes() + b"\n" * next(number), day_file.name)

    receipt, seconds = watch.time(act, rounds=2)

    assert (receipt.stored, receipt.duplicate) == (0, ROWS)
    note("ingest, duplicates only", ROWS / seconds, "rows/s")
