"""The local key file: made once, kept to its owner, one epoch key per generation."""

from __future__ import annotations

from pathlib import Path

import pytest

from trafficvault.durable import Disk
from trafficvault.errors import FaultError, RefusedError
from trafficvault.layout import Layout
from trafficvault.provider import LocalKeyFile

VAULT_ID = "5f1c"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A vault whose key directory does not exist yet."""
    return Layout(tmp_path / "vault", tmp_path / "keys")


def test_a_created_root_key_opens_again_and_opens_its_epoch_keys(layout: Layout) -> None:
    """An epoch key that one process made is the same for the next one."""
    provider = LocalKeyFile.create(layout, Disk(), VAULT_ID)
    provider.create_epoch(1)
    epoch = provider.export_epoch(1)
    again = LocalKeyFile.open(layout, Disk(), VAULT_ID)

    assert again.export_epoch(1) == epoch
    assert len(epoch) == 32
    assert again.generations() == {1}


def test_the_files_are_for_their_owner_alone(layout: Layout) -> None:
    """Neither key file nor key directory gives anything to group or others."""
    LocalKeyFile.create(layout, Disk(), VAULT_ID).create_epoch(1)

    assert layout.root_key.stat().st_mode & 0o777 == 0o600
    assert layout.epoch_key(1).stat().st_mode & 0o777 == 0o600
    assert layout.keys.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o606, 0o610, 0o666])
def test_a_root_key_that_others_may_use_is_refused(layout: Layout, mode: int) -> None:
    """Permissions wider than the owner's stop the opening, and the sentence says what to do."""
    LocalKeyFile.create(layout, Disk(), VAULT_ID)
    layout.root_key.chmod(mode)

    with pytest.raises(RefusedError, match=rf"mode {mode:04o} .* chmod 600"):
        LocalKeyFile.open(layout, Disk(), VAULT_ID)


def test_a_root_key_that_only_its_owner_may_read_opens(layout: Layout) -> None:
    """Narrower than 0600 is fine: systemd hands credentials over as 0400."""
    LocalKeyFile.create(layout, Disk(), VAULT_ID)
    layout.root_key.chmod(0o400)

    assert LocalKeyFile.open(layout, Disk(), VAULT_ID).generations() == frozenset()


def test_creating_twice_is_refused(layout: Layout) -> None:
    """A second root key would strand everything sealed under the first."""
    LocalKeyFile.create(layout, Disk(), VAULT_ID)
    before = layout.root_key.read_bytes()

    with pytest.raises(RefusedError, match="exists"):
        LocalKeyFile.create(layout, Disk(), VAULT_ID)
    assert layout.root_key.read_bytes() == before


def test_a_missing_root_key_is_a_fault_with_the_way_out(layout: Layout) -> None:
    """The sentence names the option for the key directory."""
    with pytest.raises(FaultError, match="--keys"):
        LocalKeyFile.open(layout, Disk(), VAULT_ID)


@pytest.mark.parametrize("content", [b"", b"x" * 32, b"trafficvault-root-key-v2:" + b"0" * 64 + b"\n"])
def test_a_root_key_of_another_form_is_a_fault(layout: Layout, content: bytes) -> None:
    """Neither raw bytes nor another version pass for a root key."""
    layout.keys.mkdir()
    layout.root_key.write_bytes(content)
    layout.root_key.chmod(0o600)

    with pytest.raises(FaultError, match="not a root key of version 1"):
        LocalKeyFile.open(layout, Disk(), VAULT_ID)


def test_an_epoch_key_is_never_overwritten(layout: Layout) -> None:
    """Creating a generation again is a fault and leaves the key that is there."""
    provider = LocalKeyFile.create(layout, Disk(), VAULT_ID)
    provider.create_epoch(1)
    epoch = provider.export_epoch(1)

    with pytest.raises(FaultError, match="ever overwritten"):
        provider.create_epoch(1)
    assert provider.export_epoch(1) == epoch


def test_a_destroyed_epoch_key_is_gone_and_may_be_destroyed_again(layout: Layout) -> None:
    """Destruction can be repeated after a crash."""
    provider = LocalKeyFile.create(layout, Disk(), VAULT_ID)
    provider.create_epoch(1)
    provider.destroy_epoch(1)
    provider.destroy_epoch(1)

    assert provider.generations() == frozenset()
    with pytest.raises(FaultError, match="epoch key 1"):
        provider.export_epoch(1)


def test_an_epoch_key_opens_for_its_vault_and_generation_only(layout: Layout) -> None:
    """A file that was renamed, changed or brought from another vault does not open."""
    provider = LocalKeyFile.create(layout, Disk(), VAULT_ID)
    provider.create_epoch(1)
    layout.epoch_key(2).write_bytes(layout.epoch_key(1).read_bytes())
    changed = bytearray(layout.epoch_key(1).read_bytes())
    changed[-1] ^= 1
    layout.epoch_key(3).write_bytes(changed)

    for other, generation in ((provider, 2), (provider, 3), (LocalKeyFile.open(layout, Disk(), "other"), 1)):
        with pytest.raises(FaultError, match="epoch"):
            other.export_epoch(generation)


def test_what_is_not_an_epoch_key_is_no_generation(layout: Layout) -> None:
    """Temporary names and other files in the directory don't count."""
    provider = LocalKeyFile.create(layout, Disk(), VAULT_ID)
    provider.create_epoch(12)
    for name in ("epoch-3.part-0a0b", "epoch-", "epoch-03", "ring-4"):
        (layout.keys / name).touch()

    assert provider.generations() == {12}


def test_the_provider_tells_its_name_and_no_key(layout: Layout) -> None:
    """What a log would print of it holds nothing secret."""
    provider = LocalKeyFile.create(layout, Disk(), VAULT_ID, random=lambda size: b"K" * size)

    assert provider.name == "local key file"
    assert "KKKK" not in repr(provider)
    assert (b"K" * 32).hex() not in repr(provider)
