"""The pieces of ingest and compaction, each by itself and on one thread, so that a regression names its place.

They are those of the hot path: a file in slices, whose form and words are known already, as those of every file but the
first are. Each piece is one small function that calls what the product calls for that step; when the product's step
moves, only that function follows. What a step needs from the one before is made untimed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks.bench_ingest import MILLION
from benchmarks.house import new_house, take
from benchmarks.scale import LAST_DAY, NOW, Scale
from benchmarks.watch import Watch
from ingest import parts
from ingest.course import Course
from ingest.learned import Learned
from ingest.occurrences import Earlier
from ingest.plan import Mapped, Plan
from ingest.raw import Raw
from ingest.read import Reading, without_content
from ingest.record import CATEGORIES
from ingest.slices import slices_of
from ingest.sound import TOLERANCE
from tests.support import Usage, usage
from trafficvault import arriving, intake, sealing, seen
from trafficvault.arriving import Arriving, date_of
from trafficvault.block_writing import Builder
from trafficvault.landing import Landing
from trafficvault.layout import day_key_id
from trafficvault.packed_rows import PackedRows
from trafficvault.packing import Packing, Rows
from trafficvault.partitions import WrittenFile
from trafficvault.sealed_parquet import ROW_GROUP, Place
from trafficvault.vault import Vault

CLASS = "mobile_usage"
_SEALED_ROW = 30
"""Bytes that a record takes in its encrypted file, about."""
_CONSTANTS = {"batch": "0" * 24, "source": "mvno", "feed_digest": "0" * 64}


class Steps:
    """The slices of a file at each step, in a vault that is otherwise empty."""

    def __init__(self, vault: Vault, file: Path) -> None:
        self.vault, self.size = vault, file.stat().st_size
        self._feed, self._source = intake.feed_and_source(vault, "mvno_pipe", None)
        with file.open("rb") as opened:
            self._slices = list(slices_of(opened, self.size))
        form = parts.settle(self._slices[0].data, self._feed.shapes, self._feed.dialect, None)
        assert form is not None, "the file has a form"
        self._form, self._learned = form, Learned()
        self.readings = self.read()
        self.arriving = self.hash()
        days = sorted({date_of(number) for part in self.arriving for number in arriving.distinct(part.days)})
        vault.keys.ensure([day_key_id(CLASS, day, category) for day in days for category in CATEGORIES])

    def parse(self) -> list[Raw]:
        """Bytes to text columns."""
        feed = self._feed
        used = feed.used(self._source.identity)
        return [parts.parse_part(one.data, self._form, feed.shapes, feed.dialect, used)[0] for one in self._slices]

    def normalise(self, raws: list[Raw]) -> list[Mapped]:
        """Text columns to canonical ones."""
        plan = Plan(self._feed, self._source, NOW + TOLERANCE, learned=self._learned)
        return [plan.mapped(without_content(raw, self._feed).fields, raw.shape) for raw in raws]

    def read(self) -> list[Reading]:
        """Bytes to records, everything that `ingest` does before a key is needed."""
        course = Course(self._feed, self._source, NOW, learned=self._learned)
        course.settle(self._slices[0])
        return [course.read(one) for one in self._slices]

    def hash(self) -> list[Arriving]:
        """The sums over columns of which the hashes of rows are made, and the day of each row."""

        def nothing(_: pl.DataFrame, moments: pl.Series) -> pl.Series:
            return pl.repeat(value=False, n=len(moments), eager=True)

        return [arriving.arriving(CLASS, [one], _CONSTANTS, nothing) for one in self.readings]

    def number(self) -> int:
        """How many rows came before in the same file."""
        earlier, again = Earlier(), 0
        for number, part in enumerate(self.arriving, 1):
            content = seen.mixed(part.sums + part.where)
            again += int(earlier.count(content).sum())
            earlier.add(np.sort(content), number / len(self.arriving))
        return again

    def seal(self) -> list[WrittenFile]:
        """Records to encrypted files and their seen blocks, fsynced."""
        vault = self.vault
        landing = Landing(vault.disk, vault.layout, vault.keys.custody("receive"), _CONSTANTS)
        for part in self.arriving:
            hashes = seen.mixed(part.sums)
            rows = part.rows.with_columns(occurrence=pl.lit(0, pl.Int32))
            for day, of_day, mine in arriving.by_day(rows, part.days):
                landing.append(CLASS, day, of_day, hashes[mine], int(hashes[mine].sum()), part.given, rows)
        landing.close()
        return landing.files

    def packed(self) -> Rows:
        """The rows of the fullest day as compaction has them, columns of few words numbered."""
        how, day = Packing(), max(self.arriving, key=lambda part: len(part.days)).days[0]
        frames = [part.rows.filter(pl.Series(part.days == day)) for part in self.arriving]
        return Rows(how.joined([how.pack(frame) for frame in frames if frame.height]), how.texts)

    def blocks(self, ordered: list[Rows], path: Path) -> int:
        """A block file of the rows; returns its bytes."""
        keys = {category: bytes(32) for category in CATEGORIES}
        with Builder(path, Place(CLASS, LAST_DAY, "0" * 32), keys) as builder:
            for rows in ordered:
                builder.add(rows)
            builder.finish()
        return path.stat().st_size


def ordered(rows: Rows) -> list[Rows]:
    """Both orders of a partition: that of its record file, and, which is returned, that of its block file."""
    packed = PackedRows(rows)
    for _ in packed.in_time(ROW_GROUP):
        pass
    return list(packed.in_blocks(ROW_GROUP))


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory, day_file: Path) -> Steps:
    """The day file, read once."""
    return Steps(new_house(tmp_path_factory.mktemp("pieces")), day_file)


def _note(watch: Watch, piece: str, rows: int, act: Callable[[], object], scale: Scale) -> None:
    _, race = watch.race(act, scale.rounds)
    watch.note(f"piece {piece}", rows / race.ours.seconds, "rows/s")
    watch.note(f"piece {piece}, CPU", race.ours.cpu / rows * MILLION, "core-s/M")


@pytest.mark.bench
def test_parse(watch: Watch, steps: Steps, scale: Scale) -> None:
    """Parsing."""
    assert sum(raw.units for raw in steps.parse()) == scale.rows
    _note(watch, "parse", scale.rows, steps.parse, scale)


@pytest.mark.bench
def test_normalise(watch: Watch, steps: Steps, scale: Scale) -> None:
    """Normalising."""
    raws = steps.parse()
    assert sum(one.frame.height for one in steps.normalise(raws)) == scale.rows
    _note(watch, "normalise", scale.rows, lambda: steps.normalise(raws), scale)


@pytest.mark.bench
def test_read(watch: Watch, steps: Steps, scale: Scale) -> None:
    """Parsing, normalising and all checks."""
    assert not sum(one.rejections.num_rows for one in steps.read())
    _note(watch, "read", scale.rows, steps.read, scale)


@pytest.mark.bench
def test_hash(watch: Watch, steps: Steps, scale: Scale) -> None:
    """Hashing for duplicates and for the sums of conservation."""
    assert sum(len(one.sums) for one in steps.arriving) == scale.rows
    _note(watch, "hash", scale.rows, steps.hash, scale)


@pytest.mark.bench
def test_number(watch: Watch, steps: Steps, scale: Scale) -> None:
    """Looking for equal rows in all of the file before."""
    assert not steps.number()
    _note(watch, "number", scale.rows, steps.number, scale)


@pytest.mark.bench
def test_seal(watch: Watch, steps: Steps, scale: Scale) -> None:
    """Sealing to disk; encoding, compressing and the seen blocks are a part of it."""
    files = steps.seal()
    assert sum(file.rows for file in files) == scale.rows
    _note(watch, "seal", scale.rows, steps.seal, scale)
    watch.note("piece seal, encrypted Parquet", sum(file.bytes for file in files) / scale.rows, "bytes/record")


@pytest.mark.bench
def test_cipher(watch: Watch, steps: Steps, scale: Scale) -> None:
    """The cipher alone, on as many bytes as the encrypted files have: what of the whole is encryption."""
    content = bytes(scale.rows * _SEALED_ROW)
    assert len(sealing.seal(bytes(32), content, "benchmark")) > len(content)
    _note(watch, "cipher alone", scale.rows, lambda: sealing.seal(bytes(32), content, "benchmark"), scale)


@pytest.mark.bench
def test_index(watch: Watch, steps: Steps, scale: Scale) -> None:
    """Packing the seen block."""
    hashes = np.sort(np.concatenate([seen.shorten(seen.mixed(part.sums)) for part in steps.arriving]))
    watch.note("piece index (seen block), size", len(seen.pack(hashes)) / len(hashes), "bytes/record")
    _note(watch, "index (seen block)", len(hashes), lambda: seen.pack(hashes), scale)


@pytest.mark.bench
def test_order(watch: Watch, steps: Steps, scale: Scale) -> None:
    """Both orders of a day in compaction."""
    rows = steps.packed()
    assert sum(part.frame.height for part in ordered(rows)) == rows.frame.height
    _note(watch, "order", rows.frame.height, lambda: ordered(rows), scale)


@pytest.mark.bench
def test_blocks(watch: Watch, steps: Steps, scale: Scale, tmp_path: Path) -> None:
    """A block file with its posting lists, of rows in order."""
    rows = ordered(steps.packed())
    count = sum(part.frame.height for part in rows)
    watch.note("piece blocks, size", steps.blocks(rows, tmp_path / "blocks") / count, "bytes/record")
    _note(watch, "blocks", count, lambda: steps.blocks(rows, tmp_path / "blocks"), scale)


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
