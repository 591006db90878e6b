"""Whatever is changed on disk, `verify` finds it and names it as what it is."""

from __future__ import annotations

import errno
import os
import random
import shutil
import sqlite3
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.support import NOW, Order, Usage, answer, ingest, layout_at, new_vault, usage
from tests.thorough import as_many
from trafficvault import app, sealing, seen, signing
from trafficvault.clock import SetClock
from trafficvault.durable import Disk
from trafficvault.errors import FaultError
from trafficvault.layout import day_key_id
from trafficvault.progress import Progress
from trafficvault.sealed_parquet import Place
from trafficvault.vault import Vault
from trafficvault.verify import STEPS, verify


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vault with three days, rejections, a warrant, a disclosure and a refused file."""
    directory = tmp_path_factory.mktemp("pristine")
    vault = new_vault(directory)
    rows = [Usage(at=f"202611{day:02d}1200{second:02d}") for day in (10, 11, 12) for second in range(3)]
    ingest(vault, "mvno_pipe", usage(rows) + "broken\n", "S4PGWM000001")
    ingest(vault, "mvno_pipe", "no pipe at all\nnone\n", "S4PGWM000002")
    answer(vault, Order(), directory / "package")
    assert verify(vault).faults == ()
    vault.catalogue.close()
    return directory


@pytest.fixture
def vault(pristine: Path, tmp_path: Path) -> Vault:
    """A copy of it."""
    for name in ("vault", "vault.keys"):
        shutil.copytree(pristine / name, tmp_path / name)
    return app.open_vault(layout_at(tmp_path), Disk(), SetClock(NOW), writer=True)


def kinds(vault: Vault) -> set[str]:
    """The kinds of fault that `verify` names."""
    return {fault.kind for fault in verify(vault).faults}


def record_files(vault: Vault) -> list[Path]:
    """The Parquet files, in order."""
    return sorted(vault.layout.records.rglob("*.parquet"))


def faults(vault: Vault) -> set[tuple[str, str]]:
    """The faults that `verify` names, each with its thing."""
    return {(fault.kind, fault.thing) for fault in verify(vault).faults}


def seen_blocks(vault: Vault) -> list[Path]:
    """The seen blocks, in order."""
    return sorted(vault.layout.records.rglob("*.seen"))


def first_block(vault: Vault) -> tuple[seen.Hashes, tuple[bytes, str], Path]:
    """The hashes of a seen block, what it is sealed with (key, place), and where it lies."""
    path = seen_blocks(vault)[0]
    place = Place(path.parent.parent.name, date.fromisoformat(path.parent.name), path.stem)
    custody = vault.keys.custody("verify")
    days = (custody.key(day_key_id(place.record_class, place.day, name)) for name in ("who", "when", "how_much"))
    sealed = sealing.derive(b"".join(days), "seen", place.file_id), f"seen {place}"
    block = seen.read_block(path, *sealed)
    assert block is not None
    return block, sealed, path


def flip(path: Path, bit: int) -> None:
    """Flips one bit of a file."""
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def test_a_whole_vault_has_no_fault(vault: Vault) -> None:
    """Verification of an untouched vault finds nothing, and says what it looked at."""
    found = verify(vault)

    assert found.faults == ()
    assert found.checked["records"] == 9


def test_every_one_bit_flip_of_a_data_file_is_a_bit_flip(vault: Vault) -> None:
    """A flipped bit anywhere in a record, rejection or seen file is detected."""
    chosen = random.Random(7)
    files = [
        *record_files(vault)[:1],
        *sorted(vault.layout.records.rglob("*.seen"))[:1],
        *vault.layout.rejections.rglob("*.sealed"),
    ]
    assert len(files) == 3
    for path in files:
        whole = path.read_bytes()
        for bit in {0, len(whole) * 8 - 1, *(chosen.randrange(len(whole) * 8) for _ in range(as_many(7)))}:
            flip(path, bit)
            assert kinds(vault) == {"bit flip"}, (path.name, bit)
            path.write_bytes(whole)


def test_a_missing_file_is_missing(vault: Vault) -> None:
    """A record file that is gone is named missing."""
    record_files(vault)[0].unlink()
    assert kinds(vault) == {"missing"}


def test_a_cut_file_is_truncated(vault: Vault) -> None:
    """A file that lost its end is named truncated."""
    path = record_files(vault)[0]
    path.write_bytes(path.read_bytes()[:-1])
    assert kinds(vault) == {"truncated"}


def test_exchanged_files_are_swapped(vault: Vault) -> None:
    """Two valid files in each other's place are named swapped, both."""
    one, two = record_files(vault)[:2]
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    assert kinds(vault) == {"swapped"}


def test_an_unknown_file_is_extra(vault: Vault) -> None:
    """A file that no row knows is named extra."""
    path = record_files(vault)[0]
    shutil.copy(path, path.with_name(f"{'0' * 32}.parquet"))
    assert kinds(vault) == {"extra"}


def test_a_missing_seen_block_is_missing(vault: Vault) -> None:
    """A seen block that is gone is named, though it could be made again."""
    path = seen_blocks(vault)[0]
    path.unlink()
    assert faults(vault) == {("missing", path.name)}


def test_a_seen_block_of_other_records_is_a_bit_flip(vault: Vault) -> None:
    """One that opens, sealed under the right key, and lacks a record is told from the one that the file gives."""
    block, custody, path = first_block(vault)
    seen.write_block(vault.disk, path, *custody, block[1:])
    assert faults(vault) == {("bit flip", path.name)}


def test_a_seen_block_of_another_polars_is_no_fault(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """It can't be compared, and is made again when it is next used."""
    block, custody, path = first_block(vault)
    with monkeypatch.context() as patch:
        patch.setattr(seen, "algorithm", lambda: "rows-1/polars-1.0.0/x86_64/0000000000000000")
        seen.write_block(vault.disk, path, *custody, block[1:])
    assert faults(vault) == set()


def test_a_seen_block_in_anothers_place_does_not_open(vault: Vault) -> None:
    """A block belongs to one file: in another's place it is a bit flip there."""
    one, two = seen_blocks(vault)[:2]
    shutil.copy(one, two)
    assert faults(vault) == {("bit flip", two.name)}


@pytest.mark.parametrize(
    "stray",
    [
        "records/{home}/{id}.parquet.bak",
        "held/mobile_usage/2026-11-10/x.sealed",
        "vault.toml.bak",
        "../vault.keys/ring-0",
    ],
)
def test_what_has_no_place_is_extra(vault: Vault, stray: str) -> None:
    """A file under a name that is nobody's, wherever it lies and whatever its beginning is, is named extra."""
    record = record_files(vault)[0]
    home = f"{record.parent.parent.name}/{record.parent.name}"
    path = vault.layout.vault / stray.format(home=home, id=record.stem)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")

    assert [fault.kind for fault in verify(vault).faults] == ["extra"]


@pytest.mark.parametrize("pattern", ["*.parquet", "*.seen"])
def test_a_copy_in_another_day_is_misplaced(vault: Vault, pattern: str) -> None:
    """A file of the catalogue under its own name in another's directory is named misplaced."""
    one, two = sorted(vault.layout.records.rglob(pattern))[:2]
    shutil.copy(one, two.parent / one.name)
    assert faults(vault) == {("misplaced", one.name)}


def test_another_public_key_is_a_change_of_the_settings(vault: Vault) -> None:
    """Settings that name another key than the vault signs with are named, and no certificate is blamed for it."""
    other = signing.public_key_of(os.urandom(32))
    wrong = replace(vault, settings=replace(vault.settings, public_key=other))
    assert faults(wrong) == {("changed", "vault.toml")}


def test_a_file_that_grew_is_extended(vault: Vault) -> None:
    """A file with more bytes than the catalogue says is named extended."""
    path = record_files(vault)[0]
    path.write_bytes(path.read_bytes() + b"x")
    assert kinds(vault) == {"extended"}


@pytest.mark.parametrize("pattern", ["*.parquet", "*.seen"])
def test_a_file_that_cannot_be_read_is_unreadable(vault: Vault, pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that refuses one file stops neither the run nor hides the others."""
    path = sorted(vault.layout.records.rglob(pattern))[0]
    whole = {name: getattr(Path, name) for name in ("open", "read_bytes")}

    def refusing(name: str) -> Any:
        def call(self: Path, *words: Any, **named: Any) -> Any:
            if self == path:
                raise OSError(errno.EIO, "Input/output error")
            return whole[name](self, *words, **named)

        return call

    for name in whole:
        monkeypatch.setattr(Path, name, refusing(name))
    assert faults(vault) == {("unreadable", path.name)}


def test_the_steps_are_as_many_as_are_told(vault: Vault) -> None:
    """A progress bar that counts to the number of `STEPS` ends when the run does."""
    told: list[str | Progress] = []
    verify(vault, told.append)
    assert tuple(step for step in told if isinstance(step, str)) == STEPS
    files = [step for step in told if isinstance(step, Progress)]
    assert [step.rows for step in files] == sorted(step.rows for step in files)
    assert all(step.done < step.whole for step in files)


def test_a_removed_audit_entry_is_found(vault: Vault) -> None:
    """A tail cut off the audit log is detected, because the catalogue knows how far the log went."""
    segment = sorted(vault.layout.audit.glob("*.log"))[-1]
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join(lines[:-1]))
    assert kinds(vault) == {"truncated"}
    with pytest.raises(FaultError):
        vault.audit.verify()


def test_every_one_bit_flip_of_an_audit_segment_is_found(vault: Vault) -> None:
    """A flipped bit anywhere in the audit log is detected."""
    segment = sorted(vault.layout.audit.glob("*.log"))[0]
    whole = segment.read_bytes()
    chosen = random.Random(11)
    for _ in range(as_many(40)):
        flip(segment, chosen.randrange(len(whole) * 8))
        with pytest.raises(FaultError):
            vault.audit.verify()
        segment.write_bytes(whole)


def test_a_flipped_bit_in_every_stored_value_of_the_catalogue_is_found(vault: Vault) -> None:
    """Each value of each row of each table: one bit changed is named, never a traceback."""
    vault.catalogue.close()
    chosen = random.Random(13)
    tried = 0
    with sqlite3.connect(vault.layout.catalogue, isolation_level=None) as database:
        tables = [row[0] for row in database.execute("select name from sqlite_master where type = 'table'")]
        for table in tables:
            info = list(database.execute(f"pragma table_info({table})"))
            keys = [row[1] for row in info if row[5]]
            for row in list(database.execute(f"select {', '.join(keys)} from {table}")):
                where = " and ".join(f"{key} = ?" for key in keys)
                for name in (column[1] for column in info):
                    value = database.execute(f"select {name} from {table} where {where}", row).fetchone()[0]
                    if value is None:
                        continue
                    changed = _flipped(value, chosen)
                    database.execute(f"update {table} set {name} = {changed[0]} where {where}", (changed[1], *row))
                    here = " and ".join(f"{key} = {changed[0]}" if key == name else f"{key} = ?" for key in keys)
                    back = [changed[1] if key == name else part for key, part in zip(keys, row, strict=True)]
                    found = opened_faults(vault)
                    database.execute(f"update {table} set {name} = ? where {here}", (value, *back))
                    assert found, (table, name)
                    tried += 1
    assert tried > 100
    assert opened_faults(vault) == []


def opened_faults(vault: Vault) -> list[str]:
    """What the check of the catalogue says."""
    return vault.catalogue.check()


def _flipped(value: object, chosen: random.Random) -> tuple[str, object]:
    """`value` with one bit changed, and how SQL writes it: an integer, or bytes taken as text."""
    if isinstance(value, int):
        return "?", value ^ (1 << chosen.randrange(8))
    if value == "":
        return "?", "x"
    raw = bytearray(str(value).encode())
    raw[chosen.randrange(len(raw))] ^= 1 << chosen.randrange(7)
    return "cast(? as text)", bytes(raw)


def test_an_older_catalogue_is_found(vault: Vault, tmp_path: Path) -> None:
    """A catalogue of yesterday agrees with itself, but not with the audit log of today."""
    vault.catalogue.truncate_wal()
    shutil.copy(vault.layout.catalogue, tmp_path / "yesterday.db")
    ingest(vault, "mvno_pipe", usage([Usage(at="20261113120000")]), "S4PGWM000009")
    vault.catalogue.truncate_wal()
    vault.catalogue.close()
    for suffix in ("-wal", "-shm"):
        vault.layout.catalogue.with_name(f"catalogue.db{suffix}").unlink(missing_ok=True)
    shutil.copy(tmp_path / "yesterday.db", vault.layout.catalogue)

    assert kinds(app.open_vault(vault.layout, Disk(), SetClock(NOW))) >= {"rolled back"}
