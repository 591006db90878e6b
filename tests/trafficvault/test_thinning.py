"""Thinning: a file without some of its rows holds the others, or there is none."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import polars as pl
import pytest

from ingest.record import CATEGORIES, WHERE, category_of
from tests.support import Usage, ingest, new_vault, usage
from trafficvault import partitions, sealed_parquet, thinning
from trafficvault.catalogue import Row
from trafficvault.durable import Disk
from trafficvault.errors import FaultError
from trafficvault.layout import day_key_id
from trafficvault.thinning import Going
from trafficvault.vault import Vault

CLASS, DAY = "mobile_usage", date(2026, 11, 10)
GOING = Going(("start",), lambda record_class, rows: rows["start"].dt.second() == 1)


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    """One file of three rows, and keys of the next generation."""
    made = new_vault(tmp_path)
    ingest(made, "mvno_pipe", usage([Usage(at=f"2026111012000{second}") for second in range(3)]), "S4PGWM000001")
    made.keys.ensure(day_key_id(CLASS, DAY, category, 2) for category in CATEGORIES)
    return made


def row_of(vault: Vault) -> Row:
    """The only file."""
    with vault.catalogue.reading() as tx:
        (row,) = tx.select("files")
    return row


def thin(vault: Vault, disk: Disk | None = None, **changes: object) -> partitions.WrittenFile:
    """Writes the file without its second row; the catalogue's row of it with `changes`."""
    custody = vault.keys.custody("rewrite")
    return thinning.thin(disk or vault.disk, vault.layout, custody, row_of(vault) | changes, GOING, 2)


def files(vault: Vault) -> int:
    """How many record files lie there, whole or not."""
    return sum(".parquet" in path.name for path in vault.layout.partition(CLASS, DAY).iterdir())


def test_the_new_file_lies_under_the_next_generation(vault: Vault) -> None:
    """It opens with those keys and no others, and tells the catalogue so."""
    file = thin(vault)
    assert (file.rows, file.generation, file.as_row()["generation"]) == (2, 2, 2)
    custody, place = vault.keys.custody("verify"), (CLASS, DAY, file.file_id)
    assert partitions.measure(vault.layout, custody, *place, generation=2).row_sum == file.row_sum
    with pytest.raises(FaultError):
        partitions.measure(vault.layout, custody, *place)
    assert partitions.seen_fault(vault.layout, custody, *place, generation=2) is None


def test_a_category_that_died_stays_dead(vault: Vault) -> None:
    """Its columns are not written again, it has no key of the next generation, and the others are whole."""
    dead = [day_key_id(CLASS, DAY, WHERE, generation) for generation in (1, 2)]
    vault.keys.renew(dead, lambda number: None)
    file = thin(vault)
    assert (file.rows, file.row_sum) == (2, "")
    assert file.columns
    assert not [name for name in file.columns if category_of(name, CLASS) == WHERE]


def test_a_day_without_seen_blocks_gets_none(vault: Vault) -> None:
    """Nothing comes for it any more in the ordinary way."""
    for path in vault.layout.partition(CLASS, DAY).glob("*.seen"):
        path.unlink()
    thin(vault)
    assert not list(vault.layout.partition(CLASS, DAY).glob("*.seen"))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"rows": 4}, "it gave 3 records, the catalogue says 4 others"),
        ({"digest": "0" * 64}, "its bytes are not those that were committed"),
        ({"id": "0" * 32}, "it can't be read"),
    ],
)
def test_what_is_not_what_the_catalogue_says_is_not_thinned(vault: Vault, changes: dict[str, object], why: str) -> None:
    """No new file is left of it."""
    with pytest.raises(FaultError, match=why):
        thin(vault, None, **changes)
    assert files(vault) == 1


def test_another_row_sum_is_another_file(vault: Vault) -> None:
    """Rows of the right number that are others; one that another Polars made is not compared."""
    known = row_of(vault)["row_sum"]
    with pytest.raises(FaultError, match="it gave 3 records"):
        thin(vault, None, row_sum=known[:-1] + ("0" if known[-1] != "0" else "1"))
    assert thin(vault, None, row_sum=f"another:{'0' * 64}").rows == 2


class _Meddling(Disk):
    """Changes a bit of a record file when it has got its name."""

    def __init__(self, directory: Path) -> None:
        self._directory, self._known = directory, set(directory.iterdir())

    def step(self, name: str) -> None:
        """After the rename of a record file."""
        if name == "after rename .parquet":
            for path in set(self._directory.glob("*.parquet")) - self._known:
                content = bytearray(path.read_bytes())
                content[len(content) // 3] ^= 1
                path.write_bytes(content)


def test_a_new_file_that_is_not_what_was_written_is_no_file(vault: Vault) -> None:
    """It is read back from disk before anything is exchanged."""
    with pytest.raises(FaultError):
        thin(vault, _Meddling(vault.layout.partition(CLASS, DAY)))


def test_a_new_file_that_lacks_rows_is_no_file(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read back must be what stays, row by row."""
    append = sealed_parquet.Writer.append

    def shorter(self: sealed_parquet.Writer, table: object) -> None:
        append(self, table.slice(1))  # type: ignore[attr-defined]

    monkeypatch.setattr(sealed_parquet.Writer, "append", shorter)
    with pytest.raises(FaultError, match="does not hold the others"):
        thin(vault)


def test_a_column_that_decides_may_be_absent() -> None:
    """It is null then, and what is neither true nor false stays."""
    going = Going(("imei",), lambda record_class, rows: rows["imei"] == "490154203237518")
    assert going.mask(CLASS, pl.DataFrame({"row": [1, 2]})).to_list() == [False, False]
