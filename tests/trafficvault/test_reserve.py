"""The reserve: it holds space while there is enough, and gives it back when there is not."""

from __future__ import annotations

import errno
import os

import pytest

from tests.support import opened, signed_in
from trafficvault import expire, reserve
from trafficvault.reserve import RESERVE_BYTES
from trafficvault.vault import Vault
from trafficvault.verify import verify


@pytest.fixture
def stored(stored: Vault) -> Vault:
    """The prepared vault, with its reserve."""
    reserve.take(stored.layout, stored.disk)
    return stored


def with_free(monkeypatch: pytest.MonkeyPatch, vault: Vault, free: int) -> None:
    """Lets the disk of `vault` say that `free` bytes are left."""
    monkeypatch.setattr(vault.disk, "free_bytes", lambda path: free)


def test_a_vault_holds_its_reserve(stored: Vault) -> None:
    """It has the whole size, for its owner alone, is no stranger to `verify`, and is taken once."""
    info = stored.layout.reserve.stat()
    assert (info.st_size, info.st_mode & 0o777) == (RESERVE_BYTES, 0o600)
    reserve.take(stored.layout, stored.disk)
    assert verify(stored).faults == ()


def test_it_is_given_back_when_little_is_free(stored: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """With room it stays; below its own size it goes; a second time nothing is there to go."""
    reserve.release(stored.layout, stored.disk)
    assert stored.layout.reserve.exists()
    with_free(monkeypatch, stored, RESERVE_BYTES - 1)
    reserve.release(stored.layout, stored.disk)
    assert not stored.layout.reserve.exists()
    reserve.release(stored.layout, stored.disk)


def test_it_is_taken_again_when_there_is_as_much_twice(stored: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Taking it must not fill the disk itself."""
    stored.layout.reserve.unlink()
    with_free(monkeypatch, stored, 2 * RESERVE_BYTES - 1)
    reserve.take(stored.layout, stored.disk)
    assert not stored.layout.reserve.exists()
    with_free(monkeypatch, stored, 2 * RESERVE_BYTES)
    reserve.take(stored.layout, stored.disk)
    assert stored.layout.reserve.stat().st_size == RESERVE_BYTES


@pytest.mark.parametrize(("number", "raised"), [(errno.ENOSPC, False), (errno.EOPNOTSUPP, False), (errno.EIO, True)])
def test_a_disk_that_can_t_hold_it_has_none(
    stored: Vault, monkeypatch: pytest.MonkeyPatch, number: int, raised: bool
) -> None:
    """A full disk, or one without that call, has no reserve and no half of one; a failing disk is told."""
    stored.layout.reserve.unlink()

    def failing(handle: int, start: int, length: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "posix_fallocate", failing)
    if raised:
        with pytest.raises(OSError, match=os.strerror(number)):
            reserve.take(stored.layout, stored.disk)
    else:
        reserve.take(stored.layout, stored.disk)
        assert not stored.layout.reserve.exists()


def test_expiry_runs_on_its_space(stored: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk a run begins by giving the reserve back, and doesn't take it before there is room."""
    vault = opened(stored)
    otto = signed_in(vault, "otto")
    with_free(monkeypatch, vault, 0)
    expire.expire(vault, otto)
    assert not vault.layout.reserve.exists()
    assert verify(vault).faults == ()
