"""An old copy of record files against today's keys."""

from __future__ import annotations

import shutil
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from tests.support import NOW, opened, signed_in
from tests.trafficvault.proof_house import expired
from trafficvault import expire, rewrite
from trafficvault.against import against
from trafficvault.errors import FaultError, UsageError
from trafficvault.rewrite import Why
from trafficvault.thinning import Going
from trafficvault.vault import Vault


@pytest.fixture
def copied(stored: Vault, tmp_path: Path) -> Path:
    """A copy of the vault directory, made before anything expired."""
    return Path(shutil.copytree(stored.layout.vault, tmp_path / "copy"))


def test_every_living_file_opens(stored: Vault, copied: Path) -> None:
    """As it should: the copy is of today, and each is opened by its own day's key."""
    tried = against(stored, copied)
    assert {one.state for one in tried} == {"living"}
    assert all(one.opened_by is not None and one.opened_by.endswith("/frame") for one in tried)
    assert not any(one.is_fault for one in tried)


def test_an_expired_file_opens_with_no_key(stored: Vault, copied: Path) -> None:
    """One day expired: its files are unreadable, the others' are not, and steps are told."""
    late = opened(stored, NOW + timedelta(days=173, hours=2))
    expire.expire(late, signed_in(late, "otto"))
    steps: list[object] = []
    tried = {one.file.split("/")[2]: one for one in against(late, copied, steps.append)}

    assert (tried["2026-11-10"].state, tried["2026-11-10"].opened_by) == ("expired", None)
    assert tried["2026-11-12"].state == "living"
    assert tried["2026-11-12"].opened_by is not None
    assert len(steps) == 3


def test_a_file_that_rows_were_removed_from_is_expected_to_be_unreadable(stored: Vault, copied: Path) -> None:
    """Its day lives, under later keys; that an old copy of it opened would be a fault."""
    dead = stored.keys.custody("verify").key("mobile_usage/2026-11-10/frame")
    everything = Going(("start",), lambda record_class, rows: pl.repeat(True, rows.height, eager=True))
    rewrite.remove(stored, [("mobile_usage", date(2026, 11, 10))], everything, Why("test", "a test", None, {}))
    tried = {one.file.split("/")[2]: one for one in against(stored, copied)}
    assert (tried["2026-11-10"].state, tried["2026-11-10"].opened_by) == ("expired", None)
    stored.keys._random = lambda size: dead
    stored.keys.ensure(["voip/2027-06-01/who"])
    assert [one.file.split("/")[2] for one in against(stored, copied) if one.is_fault] == ["2026-11-10"]


def test_a_key_that_came_back_is_found(stored: Vault, copied: Path) -> None:
    """Were the dead key in the ring again, under whatever name, the file would open, and that is a fault."""
    dead = stored.keys.custody("verify").key("mobile_usage/2026-11-10/frame")
    late, _ = expired(stored)
    late.keys._random = lambda size: dead
    late.keys.ensure(["voip/2027-06-01/who"])
    faults = [one for one in against(late, copied) if one.is_fault]
    assert [one.opened_by for one in faults] == ["voip/2027-06-01/who"]


def test_a_file_that_says_nothing_is_not_taken_for_unreadable(stored: Vault, copied: Path) -> None:
    """A cut or foreign file is a fault of its own; a directory without record files is the wrong one."""
    path = next(copied.rglob("*.parquet"))
    whole = path.read_bytes()
    for content in (whole[:-1], b"", whole[:4] + b"\x00\x00\x00\x04" + b"\x04\x00\x00\x00PARE"):
        path.write_bytes(content)
        with pytest.raises(FaultError, match="reading"):
            against(stored, copied)
    path.write_bytes(whole.replace(b'"wrappedDEK":"', b'"wrappedDEK":"!'))
    with pytest.raises(FaultError, match="reading"):
        against(stored, copied)
    for wrong in (copied / "audit", copied / "nothing"):
        with pytest.raises(UsageError, match="against today's keys"):
            against(stored, wrong)
