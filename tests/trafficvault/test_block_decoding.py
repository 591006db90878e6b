"""Columns are read out of many sections at once, however wide their streams and however long their texts are."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from queries import matching
from queries.scope import Target
from tests.trafficvault import block_house as house
from trafficvault import block_matching, block_pools, blocks
from trafficvault.block_matching import Wanted
from trafficvault.blocks import BlockFile
from trafficvault.sealed_parquet import polars_type

IMSIS = ("204990000000001", "204990000000002", "imsi")
FROM, TO = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)


def records(columns: dict[str, list[Any]], sought: str = IMSIS[0]) -> pl.DataFrame:
    """Records with these values; each third is of somebody else than who is `sought`."""
    height = len(next(iter(columns.values())))
    imsis = [IMSIS[1] if number % 3 == 1 else sought for number in range(height)]
    rows = pl.DataFrame({"imsi": imsis, "row": range(height), **columns})
    return house.ordered(rows.with_columns(pl.col(name).cast(polars_type(name)) for name in rows.columns))


def found(files: list[BlockFile], columns: list[str], sought: str = IMSIS[0]) -> pl.DataFrame:
    """The rows of an IMSI, of all files in one call."""
    return blocks.rows_of(files, wanted(columns, sought), columns)[0]


def wanted(columns: list[str], sought: str) -> Wanted:
    """An IMSI that is looked for."""
    looked_up = block_matching.wanted([Target("imsi", sought, FROM, TO)], columns)
    assert looked_up is not None
    return looked_up


def scanned(frames: list[pl.DataFrame], sought: str = IMSIS[0]) -> pl.DataFrame:
    """The same rows, by reading all of them."""
    only = matching.prefilter([Target("imsi", sought, FROM, TO)], frames[0].columns)
    return pl.concat(frame.filter(only) for frame in frames)


def test_streams_of_every_width_are_read_together(tmp_path: Path) -> None:
    """Sections whose numbers take from no bit to all 64, and whose tags are of several widths, in one reading."""
    chance = np.random.default_rng(1)
    frames = []
    for bits in range(64):
        numbers = chance.integers(0, 2**bits, 24, dtype=np.uint64).view(np.int64).tolist()
        numbers[-1] = 2**bits - 1
        words = [f"w{chance.integers(0, 1 + bits)}" for _ in numbers]
        nulls = [None if bits % 3 == 2 and place % 5 == 2 else number for place, number in enumerate(numbers)]
        frames.append(records({"bytes_up": nulls, "bytes_down": numbers[::-1], "cause": words}))
    files = [house.opened(tmp_path / f"{number}.blocks", frame) for number, frame in enumerate(frames)]
    columns = frames[0].columns

    assert found(files, columns).equals(scanned(frames))
    assert found(files[::-1], columns).equals(scanned(frames[::-1]))
    for file, frame in zip(files, frames, strict=True):
        assert pl.concat(file.every(columns)).equals(frame)


@pytest.mark.parametrize("sought", [["s3"], ["s0", "s3", "s16", "s699"], [f"s{number}" for number in range(0, 700, 3)]])
def test_texts_are_found_by_tags_of_every_width(tmp_path: Path, sought: list[str]) -> None:
    """Few texts or many are found in sections whose columns hold from one text to hundreds, or none, and beside other
    columns that hold the same ones.
    """
    frames = []
    for several in (1, 2, 3, 5, 17, 200, 700):
        texts = [None if place % 11 == 7 else f"s{place % several}" for place in range(700)]
        frames.append(records({"session_id": texts, "user_name": texts[::-1]}))
    files = [house.opened(tmp_path / f"{number}.blocks", frame) for number, frame in enumerate(frames)]
    targets = [Target("session", one, FROM, TO) for one in sought]
    looked_up = block_matching.wanted(targets, frames[0].columns)
    assert looked_up is not None

    rows = blocks.rows_of(files, looked_up, frames[0].columns)[0]

    assert rows.equals(pl.concat(frames).filter(matching.prefilter(targets, frames[0].columns)))


@pytest.mark.parametrize("most", [2**31, 0])
def test_texts_of_any_length_are_read_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Texts whose sizes take one byte, two or three, in sections beside others without any, by places of 32 bits or,
    where there is too much of them, of 64.
    """
    monkeypatch.setattr(block_pools, "_MOST_SHORT", most)
    sizes = ([0, 1, 255], [256, 3, 65_535], [65_536, 7, 70_000], [1, 1, 1])
    frames = [records({"user_name": [f"{size}".ljust(size, "x")[:size] for size in three]}) for three in sizes]
    frames.append(records({"user_name": [None, None, None]}))
    files = [house.opened(tmp_path / f"{number}.blocks", frame) for number, frame in enumerate(frames)]

    assert found(files, frames[0].columns).equals(scanned(frames))


@settings(max_examples=40, deadline=None)
@given(kinds=st.lists(st.sampled_from(IMSIS), min_size=1, max_size=4), sought=st.sampled_from(IMSIS))
def test_numbers_and_texts_of_one_column(
    tmp_path_factory: pytest.TempPathFactory, kinds: list[str], sought: str
) -> None:
    """An identifier is found, and no other, whether the sections of its column hold numbers, texts, or some of each."""
    directory = tmp_path_factory.mktemp("mixed")
    frames = [records({"bytes_up": [1, 2, 3, 4]}, kind) for kind in kinds]
    files = [house.opened(directory / f"{number}.blocks", frame) for number, frame in enumerate(frames)]
    columns = frames[0].columns
    every = [list(range(len(file.outline.directory.first_keys))) for file in files]

    rows, counts = blocks.rows_of(files, wanted(columns, sought), columns, every)

    assert rows.equals(scanned(frames, sought))
    assert counts == [scanned([frame], sought).height for frame in frames]
