"""An old copy of record files against today's keys; of what else a copy has: `test_against_kinds`."""

from __future__ import annotations

import json
import shutil
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from tests.scenarios.test_backup_proof import expired as expired_by
from tests.support import NOW, opened, signed_in
from tests.trafficvault.key_choices import SECRETS, answering
from tests.trafficvault.proof_house import expired
from trafficvault import expire, providers, rewrite
from trafficvault.against import Trial, against
from trafficvault.attempts import Attempt
from trafficvault.errors import FaultError, UsageError
from trafficvault.kinds import RECORDS
from trafficvault.provider import from_environment
from trafficvault.rewrite import Why
from trafficvault.thinning import Going
from trafficvault.vault import Vault


@pytest.fixture
def copied(stored: Vault, tmp_path: Path) -> Path:
    """A copy of the vault directory, made before anything expired."""
    return Path(shutil.copytree(stored.layout.vault, tmp_path / "copy"))


def paths(copy: Path) -> list[str]:
    """The sealed files of a copy of the prepared vault, by their paths in it; its holds are none."""
    found = [path.relative_to(copy) for path in copy.rglob("*") if path.is_file()]
    return [str(path) for path in found if path.parts[0] in ("records", "rejections", "held", "audit", "catalogue.db")]


def trial(vault: Vault, copy: Path) -> tuple[Attempt, ...]:
    """Each record file of the copy, tried."""
    return records(against(vault, copy, from_environment))


def records(found: Trial) -> tuple[Attempt, ...]:
    """What was tried of record files."""
    return tuple(one for one in found.files if one.kind == RECORDS)


def test_every_living_file_opens(stored: Vault, copied: Path) -> None:
    """As it should: the copy is of today, and each is opened by its own day's key."""
    tried = trial(stored, copied)
    assert {one.state for one in tried} == {"living"}
    assert all(one.opened_by is not None and one.opened_by.endswith("/frame") for one in tried)
    assert not any(one.is_fault for one in tried)


def test_a_copy_of_living_days_alone_shows_nothing(stored: Vault, copied: Path) -> None:
    """Nothing in it should be unreadable, and the verdict says no more than that."""
    told = tried(stored, copied).sentences()
    assert any(one.startswith("verdict: NOTHING SHOWN: the copy has nothing that should be unreadable") for one in told)


def test_an_expired_file_opens_with_no_key(stored: Vault, copied: Path) -> None:
    """One day expired: its files are unreadable, the others' are not, and steps are told."""
    late = opened(stored, NOW + timedelta(days=173, hours=2))
    expire.expire(late, signed_in(late, "otto"))
    steps: list[object] = []
    found = against(late, copied, from_environment, steps.append)
    tried = {one.file.split("/")[2]: one for one in records(found)}

    assert (tried["2026-11-10"].state, tried["2026-11-10"].opened_by) == ("expired", None)
    assert tried["2026-11-12"].state == "living"
    assert tried["2026-11-12"].opened_by is not None
    assert [one.file for one in found.files if one.state == "expired"] == [
        *(one for one in sorted(paths(copied)) if "/2026-11-10/" in one)
    ]
    assert len(steps) == len(paths(copied))


def test_a_file_that_rows_were_removed_from_is_expected_to_be_unreadable(stored: Vault, copied: Path) -> None:
    """Its day lives, under later keys; that an old copy of it opened would be a fault."""
    dead = stored.keys.custody("verify").key("mobile_usage/2026-11-10/frame")
    everything = Going(("start",), lambda record_class, rows: pl.repeat(True, rows.height, eager=True))
    rewrite.remove(stored, [("mobile_usage", date(2026, 11, 10))], everything, Why("test", "a test", None, {}))
    tried = {one.file.split("/")[2]: one for one in trial(stored, copied)}
    assert (tried["2026-11-10"].state, tried["2026-11-10"].opened_by) == ("expired", None)
    stored.keys._random = lambda size: dead
    stored.keys.ensure(["voip/2027-06-01/who"])
    assert [one.file.split("/")[2] for one in trial(stored, copied) if one.is_fault] == ["2026-11-10"]


def test_a_key_that_came_back_is_found(stored: Vault, copied: Path) -> None:
    """Were the dead key in the ring again, under whatever name, the file would open, and that is a fault."""
    dead = stored.keys.custody("verify").key("mobile_usage/2026-11-10/frame")
    late, _ = expired(stored)
    late.keys._random = lambda size: dead
    late.keys.ensure(["voip/2027-06-01/who"])
    faults = [one for one in trial(late, copied) if one.is_fault]
    assert [one.opened_by for one in faults] == ["voip/2027-06-01/who"]


def test_a_file_that_says_nothing_is_not_taken_for_unreadable(stored: Vault, copied: Path) -> None:
    """A cut or foreign file is a fault of its own; a directory without record files is the wrong one."""
    path = next(copied.rglob("*.parquet"))
    whole = path.read_bytes()
    for content in (whole[:-1], b"", whole[:4] + b"\x00\x00\x00\x04" + b"\x04\x00\x00\x00PARE"):
        path.write_bytes(content)
        with pytest.raises(FaultError, match="reading"):
            trial(stored, copied)
    path.write_bytes(whole.replace(b'"wrappedDEK":"', b'"wrappedDEK":"!'))
    with pytest.raises(FaultError, match="reading"):
        trial(stored, copied)
    for wrong in (copied / "feeds", copied / "nothing"):
        with pytest.raises(UsageError, match="against today's keys"):
            trial(stored, wrong)


def of_kind(directory: Path, kind: str) -> tuple[Vault, Path]:
    """A vault of that provider, an expiry later, and the copy of both its directories from before."""
    vault = expired_by(directory, kind)
    return vault, directory / "image"


def tried(vault: Vault, copy: Path, secrets: dict[str, str] = SECRETS) -> Trial:
    """The copy, tried by who knows `secrets`."""
    return against(vault, copy, answering(secrets))


@pytest.mark.parametrize("kind", providers.KINDS)
def test_without_the_keys_of_then_a_copy_stays_shut(tmp_path: Path, kind: str) -> None:
    """With each provider: the living file opens, the expired one doesn't, and the sentences say how it was tried."""
    vault, copy = of_kind(tmp_path, kind)
    shutil.rmtree(copy / "vault.keys")
    found = tried(vault, copy)

    assert (found.faults, found.copied) == ((), ())
    assert {one.state: one.opened_by is not None for one in records(found)} == {"expired": False, "living": True}
    told = "\n".join(found.sentences())
    assert "  record file: 2 tried, 1 living (1 readable), 1 dead (0 readable)" in told
    assert "  seen block: 2 tried, 1 living (1 readable), 1 dead (0 readable)" in told
    assert "or its rows: 0 of 2 readable; should be unreadable" in told
    assert "verdict: nothing that should be unreadable could be opened" in told
    assert ("the token's maker" in told) == (kind == "pkcs11")


@pytest.mark.parametrize("kind", providers.KINDS)
def test_a_key_directory_in_the_copy_is_tried_too(tmp_path: Path, kind: str) -> None:
    """Of files it opens what lived then, and the verdict says so; of a token it opens nothing any more."""
    vault, copy = of_kind(tmp_path, kind)
    found = tried(vault, copy)
    told = "\n".join(found.sentences())

    assert [one.place for one in found.copied] == ["vault.keys"]
    if kind == "pkcs11":
        assert (found.faults, found.copied[0].keys) == ((), 0)
        assert "none could be taken" in told
        return
    assert [(one.state, one.opened_by, one.opened_by_copied) for one in found.faults] == [
        ("expired", None, "vault.keys: mobile_usage/2026-05-21/frame"),
        ("expired", None, "vault.keys: mobile_usage/2026-05-21/who"),
    ]
    assert "verdict: FAILED: keys that lie in the copy open 2 files or values" in told
    assert "verdict: nothing" not in told


def test_no_program_of_a_copy_is_loaded(tmp_path: Path) -> None:
    """Keys that were on their way to a token when they were copied are tried, and the token's module is not."""
    vault, copy = of_kind(tmp_path, "local")
    (copy / "vault.keys" / "next").mkdir()
    module = {"kind": "trafficvault-token", "v": 1, "module": "/nowhere/module.so", "token": "t", "serial": "00"}
    (copy / "vault.keys" / "next" / "token.json").write_text(json.dumps(module))
    (copy / "vault.keys" / "next" / "token.json").chmod(0o600)
    found = tried(vault, copy)
    assert {one.place: one.reason is None for one in found.copied} == {"vault.keys": True, "vault.keys/next": False}
    assert len(found.faults) == 2


def test_a_ring_that_can_not_be_read_is_told(stored: Vault, copied: Path) -> None:
    """What lies there under its name may be anything."""
    (copied / "keys" / "ring-1").mkdir(parents=True)
    (found,) = tried(stored, copied).copied
    assert (found.keys, found.reason) == (0, "ring 1 can't be read (Is a directory)")


def test_a_key_directory_without_its_secret_is_told(tmp_path: Path) -> None:
    """Who lacks the passphrase takes nothing from it; today's keys are tried all the same."""
    vault, copy = of_kind(tmp_path, "passphrase")
    found = tried(vault, copy, {})
    assert found.faults == ()
    assert "passphrase" in str(found.copied[0].reason)


def test_the_ring_of_a_backup_and_an_escrow_copy_open_nothing(tmp_path: Path) -> None:
    """The one lacks its epoch key since the expiry; the other is sealed to a key that lies elsewhere."""
    vault, copy = of_kind(tmp_path, "local")
    backup = tmp_path / "backup" / "state-1"
    backup.mkdir(parents=True)
    shutil.copytree(copy / "vault" / "records", tmp_path / "backup" / "pool" / "records")
    shutil.copy(copy / "vault.keys" / "ring-1", backup / "ring-1")
    (backup / f"escrow-{vault.settings.id}-1.json").write_text("{}")
    found = tried(vault, tmp_path / "backup")

    assert found.faults == ()
    assert [(one.place, one.keys) for one in found.copied] == [
        ("state-1", 0),
        (f"state-1/escrow-{vault.settings.id}-1.json", 0),
    ]
    assert "epoch key 1" in str(found.copied[0].reason)


def test_a_key_of_today_that_opens_too_much_fails_it(stored: Vault, copied: Path) -> None:
    """The verdict names how many; a directory with a root key and no ring is told as such."""
    (copied / "keys").mkdir()
    (copied / "keys" / "root.key").write_bytes(stored.layout.root_key.read_bytes())
    (copied / "keys" / "root.key").chmod(0o600)
    dead = stored.keys.custody("verify").key("mobile_usage/2026-11-10/frame")
    late, _ = expired(stored)
    late.keys._random = lambda size: dead
    late.keys.ensure(["voip/2027-06-01/who"])
    found = tried(late, copied)
    told = "\n".join(found.sentences())
    assert "verdict: FAILED: a key of today opens 1 files or values that should be unreadable" in told
    assert "keys: none could be taken: no ring lies there" in told
