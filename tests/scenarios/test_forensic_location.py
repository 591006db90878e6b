"""What a forensic examiner finds of the locations that left a day whose records stay: in record files and block files,
as they were delivered and compacted, and in every byte, with every key of today.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from ingest.record import CATEGORIES, FRAME, WHERE, WHO
from tests.scenarios.test_forensic import image, pool
from tests.scenarios.test_forensic_columns import places
from tests.scenarios.test_markers import encodings
from tests.support import every_byte, new_vault, opened
from tests.trafficvault.short_location import LEAVES, MONTHS_END, deliver, rules
from trafficvault import compact, expire, sealed_parquet, sealing
from trafficvault.block_form import CELLS_TELL
from trafficvault.blocks import BlockFile
from trafficvault.compaction import Selection
from trafficvault.errors import VaultError
from trafficvault.layout import Layout
from trafficvault.verify import verify

CLASS, DAY = "mobile_usage", date(2027, 2, 28)
FIRST, LAST = ("204-99-0991-0010", "204-99-0992-0011"), "204-99-0993-0012"
"""Cells of 28 February in Amsterdam, and of 1 March."""


def cells(layout: Layout, keys: Collection[bytes]) -> set[str]:
    """Every cell that the day gives up to who tries all of `keys`: by its block files, where it has some, the same as
    by its record files, and as many lists of cells as files that give any.
    """
    records = _told(_of_records(layout, keys))
    if list(places(layout, CLASS, DAY, ".blocks")):
        assert _told(_of_blocks(layout, keys)) == records
        assert len(_lists(layout, keys)) == bool(records)
    return records


def _told(frames: Iterable[pl.DataFrame]) -> set[str]:
    return {cell for rows in frames for cell in rows["start_cell"].drop_nulls().to_list()}


def _of_records(layout: Layout, keys: Collection[bytes]) -> Iterator[pl.DataFrame]:
    for path, place in places(layout, CLASS, DAY, ".parquet"):
        derived = [sealing.derive(key, "file", place.file_id) for key in keys]
        for frame, where in itertools.product(derived, derived):
            with suppress(VaultError):
                opens = sealed_parquet.unwrap(path, place, {FRAME: frame, WHERE: where}, ["start_cell"])
                yield sealed_parquet.collect(sealed_parquet.scan(path, opens, ["start_cell"]), place)


def _of_blocks(layout: Layout, keys: Collection[bytes]) -> Iterator[pl.DataFrame]:
    for path, place in places(layout, CLASS, DAY, ".blocks"):
        derived = [sealing.derive(key, "file", place.file_id) for key in keys]
        for who, where in itertools.product(derived, derived):
            with suppress(VaultError):
                yield from BlockFile.open(path, place, {WHO: who, WHERE: where}).every(["start_cell"])


def _lists(layout: Layout, keys: Collection[bytes]) -> set[Path]:
    """The block files whose list of cells opens to who joins any of `keys`."""
    found = set()
    for path, place in places(layout, CLASS, DAY, ".blocks"):
        derived = [sealing.derive(key, "file", place.file_id) for key in keys]
        for three in itertools.product(derived, repeat=3):
            with suppress(VaultError):
                if BlockFile.open(path, place, dict(zip(CELLS_TELL, three, strict=True))).lists().cells is not None:
                    found.add(path)
    return found


@pytest.mark.slow
def test_a_location_that_left_its_day_is_nowhere(tmp_path: Path) -> None:
    """With the keys of then every copy gives all three cells: the search is one that finds. With today's keys an old
    copy gives none and today's files the one that lasts, before and after they are compacted anew.
    """
    (tmp_path / "rules.toml").write_text(rules())
    vault = new_vault(tmp_path, str(tmp_path / "rules.toml"), MONTHS_END)
    moments = ("2027-02-28T08:00:00Z", "2027-02-28T22:50:00Z", "2027-02-28T23:30:00Z")
    for number, (cell, moment) in enumerate(zip((*FIRST, LAST), moments, strict=True)):
        assert deliver(vault, [(f"r-{number}", moment)], cell).stored == 1
    delivered = image(vault, tmp_path / "delivered")
    assert len(compact.compact(vault, Selection(unsettled=True)).compacted) == 1
    compacted = image(vault, tmp_path / "compacted")

    later = opened(vault, LEAVES)
    (done,) = expire.expire(later).certificates
    assert (done["categories"], done["records"]) == (["where"], 2)
    left = image(later, tmp_path / "left")
    assert len(compact.compact(later, Selection(unsettled=True)).compacted) == 1
    again = image(later, tmp_path / "again")
    assert all(list(places(one, CLASS, DAY, ".blocks")) for one in (compacted, again))

    then, today = (
        {key for (_, name), key in pool(later.settings.id, one).items() if name.startswith(f"{CLASS}/{DAY}/")}
        for one in (compacted, again)
    )
    assert (len(then), len(today)) == (len(CATEGORIES), len(CATEGORIES))
    for layout, keys, wanted in (
        (delivered, then, {*FIRST, LAST}),
        (compacted, then, {*FIRST, LAST}),
        (delivered, today, set()),
        (compacted, today, set()),
        (left, today, {LAST}),
        (again, today, {LAST}),
    ):
        assert cells(layout, keys) == wanted, layout.vault
    content = every_byte(left.vault, left.keys, again.vault, again.keys)
    assert not any(needle in content for cell in (*FIRST, LAST) for needle in encodings(cell))
    assert verify(later).faults == ()
