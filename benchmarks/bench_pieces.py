"""The pieces of ingest, each by itself on the same rows, so that a regression names its place.

Each piece is one small function that calls what the product calls for that step; when the product's step moves, only
that function follows. What a step needs from the one before is made untimed.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from benchmarks.bench_ingest import MILLION
from benchmarks.house import new_house, take
from benchmarks.scale import LAST_DAY, NOW, Scale
from benchmarks.watch import Watch
from ingest import delimited, mapping
from ingest.raw import Raw
from ingest.read import Reading, read
from ingest.record import CATEGORIES
from ingest.sound import TOLERANCE
from tests.support import Usage, usage
from trafficvault import intake, partitions, sealing, seen
from trafficvault.layout import day_key_id
from trafficvault.partitions import WrittenFile
from trafficvault.sealed_parquet import Place
from trafficvault.vault import Vault

CLASS = "mobile_usage"
_SEALED_ROW = 30
"""Bytes that a record takes in its encrypted file, about."""
_FORM, _WRITING = "trafficvault.block_form", "trafficvault.block_writing"


@dataclass(frozen=True, slots=True)
class Steps:
    """The rows at each step, in a vault that is otherwise empty."""

    vault: Vault
    data: bytes
    reading: Reading
    records: pl.DataFrame

    def parse(self) -> Raw:
        """Bytes to text columns."""
        feed, _ = intake.feed_and_source(self.vault, "mvno_pipe", None)
        return delimited.parse(self.data, feed.shapes, feed.dialect, None)

    def normalise(self, raw: Raw) -> pl.DataFrame:
        """Text columns to canonical ones."""
        feed, source = intake.feed_and_source(self.vault, "mvno_pipe", None)
        fields = raw.fields.drop(feed.content, strict=False)
        return mapping.canonical(fields, feed, source, raw.shape, NOW + TOLERANCE)

    def read(self) -> Reading:
        """Bytes to canonical Arrow, everything that `ingest` does before a key is needed."""
        feed, source = intake.feed_and_source(self.vault, "mvno_pipe", None)
        return read(self.data, feed, source, NOW, "S4PGWM000001")

    def hash(self) -> seen.Hashes:
        """The short hashes by which duplicates are found, sorted."""
        return np.sort(seen.shorten(seen.row_hashes(self.records, seen.hashed_columns(CLASS))))

    def seal(self, table: pa.Table) -> WrittenFile:
        """Canonical Arrow to one encrypted file and its seen block, fsynced."""
        custody = self.vault.keys.custody("receive")
        return partitions.write_file(self.vault.disk, self.vault.layout, custody, CLASS, LAST_DAY, table)

    def order(self) -> pl.DataFrame:
        """The rows in the order of a block file."""
        form = importlib.import_module(_FORM)
        return self.records.sort(form.order_key(self.records.columns), "start")

    def blocks(self, ordered: pl.DataFrame, path: Path) -> int:
        """A block file of the rows; returns its bytes."""
        keys = {category: bytes(32) for category in CATEGORIES}
        place = Place(CLASS, LAST_DAY, "0" * 32)
        with importlib.import_module(_WRITING).Builder(path, place, keys) as builder:
            builder.add(ordered)
            builder.finish()
        return path.stat().st_size

    def index(self, hashes: seen.Hashes) -> bytes:
        """What is built beside the rows at ingest: the seen block's content."""
        return seen.pack(hashes)


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory, day_file: Path) -> Steps:
    """The day file, read once; its records of one UTC day are what is hashed and sealed."""
    vault = new_house(tmp_path_factory.mktemp("pieces"))
    data = day_file.read_bytes()
    feed, source = intake.feed_and_source(vault, "mvno_pipe", None)
    reading = read(data, feed, source, NOW, day_file.name)
    first = datetime(LAST_DAY.year, LAST_DAY.month, LAST_DAY.day, tzinfo=UTC)
    of_day = pl.col("start").is_between(first, first + timedelta(days=1), closed="left")
    records = pl.DataFrame(reading.records[CLASS]).filter(of_day).with_columns(batch=pl.lit("0" * 24))
    vault.keys.ensure([day_key_id(CLASS, LAST_DAY, category) for category in CATEGORIES])
    return Steps(vault, data, reading, records)


def _note(watch: Watch, piece: str, rows: int, cpu: float, seconds: float) -> None:
    watch.note(f"piece {piece}", rows / seconds, "rows/s")
    watch.note(f"piece {piece}, CPU", cpu / rows * MILLION, "core-s/M")


@pytest.mark.bench
def test_parse(watch: Watch, steps: Steps, scale: Scale) -> None:
    """Parsing."""
    raw, race = watch.race(steps.parse, scale.rounds)
    assert raw.units == scale.rows
    _note(watch, "parse", scale.rows, race.ours.cpu, race.ours.seconds)


@pytest.mark.bench
def test_normalise(watch: Watch, steps: Steps, scale: Scale) -> None:
    """Normalising."""
    raw = steps.parse()
    rows, race = watch.race(lambda: steps.normalise(raw), scale.rounds)
    assert rows.height == scale.rows
    _note(watch, "normalise", scale.rows, race.ours.cpu, race.ours.seconds)


@pytest.mark.bench
def test_read(watch: Watch, steps: Steps, scale: Scale) -> None:
    """Parsing, normalising and all checks."""
    reading, race = watch.race(steps.read, scale.rounds)
    assert reading.rejections.num_rows == 0
    _note(watch, "read", scale.rows, race.ours.cpu, race.ours.seconds)


@pytest.mark.bench
def test_hash(watch: Watch, steps: Steps, scale: Scale) -> None:
    """Hashing for duplicates."""
    hashes, race = watch.race(steps.hash, scale.rounds)
    assert len(hashes) == steps.records.height
    _note(watch, "hash", len(hashes), race.ours.cpu, race.ours.seconds)


@pytest.mark.bench
def test_seal(watch: Watch, steps: Steps, scale: Scale) -> None:
    """Sealing to disk; encoding and compressing are a part of it."""
    table = steps.records.to_arrow()
    written, race = watch.race(lambda: steps.seal(table), scale.rounds)
    assert written.rows == table.num_rows
    _note(watch, "seal", written.rows, race.ours.cpu, race.ours.seconds)
    watch.note("piece seal, encrypted Parquet", written.bytes / written.rows, "bytes/record")


@pytest.mark.bench
def test_cipher(watch: Watch, steps: Steps, scale: Scale) -> None:
    """The cipher alone, on as many bytes as the encrypted file has: what of the whole is encryption."""
    content = steps.data[: scale.rows * _SEALED_ROW]
    sealed, race = watch.race(lambda: sealing.seal(bytes(32), content, "benchmark"), scale.rounds)
    assert len(sealed) > len(content)
    _note(watch, "cipher alone", scale.rows, race.ours.cpu, race.ours.seconds)


@pytest.mark.bench
def test_index(watch: Watch, steps: Steps, scale: Scale) -> None:
    """Packing the seen block."""
    hashes = steps.hash()
    packed, race = watch.race(lambda: steps.index(hashes), scale.rounds)
    _note(watch, "index (seen block)", len(hashes), race.ours.cpu, race.ours.seconds)
    watch.note("piece index (seen block), size", len(packed) / len(hashes), "bytes/record")


@pytest.mark.bench
def test_blocks(watch: Watch, steps: Steps, scale: Scale, tmp_path: Path) -> None:
    """A block file with its posting lists, of rows in order."""
    if importlib.util.find_spec(_WRITING) is None:
        pytest.skip("this version of trafficvault has no block files")
    ordered = steps.order()
    size, race = watch.race(lambda: steps.blocks(ordered, tmp_path / "blocks"), scale.rounds)
    _note(watch, "blocks", ordered.height, race.ours.cpu, race.ours.seconds)
    watch.note("piece blocks, size", size / ordered.height, "bytes/record")


@pytest.mark.bench
def test_order(watch: Watch, steps: Steps, scale: Scale) -> None:
    """Sorting a day for its block file."""
    if importlib.util.find_spec(_FORM) is None:
        pytest.skip("this version of trafficvault has no block files")
    ordered, race = watch.race(steps.order, scale.rounds)
    _note(watch, "order", ordered.height, race.ours.cpu, race.ours.seconds)


@pytest.mark.bench
def test_commit(watch: Watch, tmp_path: Path) -> None:
    """A file of one row: keys, fsyncs, catalogue and audit, whatever the number of rows."""
    vault = new_house(tmp_path / "house")
    files: list[Path] = []

    def another() -> None:
        path = tmp_path / f"S4PGWM{len(files):06d}"
        path.write_text(usage([Usage(record_id=str(len(files)))]))
        files.append(path)

    receipt, race = watch.race(lambda: take(vault, files[-1]), 20, before=another)
    assert receipt.stored == 1
    watch.note("piece commit (a file of one row)", race.ours.seconds * 1000, "ms")
