"""A vault that was put back as a whole is told by what its keys remember."""

from __future__ import annotations

import errno
import json
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.trafficvault.log_house import AUDIT_KEY, MAC_KEY, SIZE, VAULT, House, Keys, Policy, Settings, pending
from trafficvault import sealing, signing
from trafficvault.audit import AuditLog
from trafficvault.catalogue import Catalogue
from trafficvault.chain import Head
from trafficvault.durable import PART, Disk
from trafficvault.errors import FaultError, SpaceError
from trafficvault.keys import KeyStore
from trafficvault.layout import Layout
from trafficvault.provider import LocalKeyFile


def remembered(house: House) -> Head:
    """What the keys remember, opened as FORMAT.md says."""
    key = sealing.derive(AUDIT_KEY, "head")
    content = json.loads(sealing.unseal(key, house.layout.head.read_bytes(), f"head {VAULT}"))
    assert content == {"v": 1, "seq": content["seq"], "hash": content["hash"]}
    return Head(content["seq"], content["hash"])


def refusals(log: AuditLog, catalogue: Catalogue) -> dict[str, str]:
    """What each way to the log answers; those that go on are left out."""
    found: dict[str, str] = {}
    for name in ("verify", "flush", "require_in_step", "enter"):
        try:
            if name in ("verify", "flush"):
                getattr(log, name)()
                continue
            with catalogue.transaction() as tx:
                log.require_in_step(tx) if name == "require_in_step" else log.enter(tx, "receive", None, {})
        except FaultError as fault:
            assert fault.hint
            found[name] = str(fault)
    return found


ALL_WAYS = {"verify", "flush", "require_in_step", "enter"}


@dataclass(frozen=True, slots=True)
class Copy:
    """The vault directory at one moment."""

    house: House
    directory: Path

    @classmethod
    def of(cls, house: House, directory: Path) -> Copy:
        """Copies it."""
        house.catalogue.truncate_wal()
        return cls(house, Path(shutil.copytree(house.layout.vault, directory)))

    @contextmanager
    def opened(self) -> Iterator[tuple[AuditLog, Catalogue]]:
        """Its log and catalogue, with the keys of today."""
        layout = Layout(self.directory, self.house.layout.keys)
        with closing(Catalogue.open(layout.catalogue, MAC_KEY, Disk())) as catalogue:
            yield (
                AuditLog(
                    layout,
                    Disk(),
                    catalogue,
                    Keys(),
                    Settings(),
                    Policy(),
                    self.house.clock,
                    entries_per_segment=SIZE,
                ),
                catalogue,
            )


def test_the_keys_remember_the_last_entry(house: House) -> None:
    """Sealed, for their owner alone, moved by each flush that wrote something and by no other."""
    house.log.flush()
    before = house.layout.head.exists()
    house.write(2)
    blob = house.layout.head.read_bytes()
    mode = house.layout.head.stat().st_mode & 0o777
    house.log.flush()
    house.write(1, flush=False)

    assert not before
    assert remembered(house) == Head(2, json.loads(house.lines()[-1])["hash"])
    assert (house.layout.head.read_bytes(), mode) == (blob, 0o600)
    house.log.flush()
    assert remembered(house).seq == 3


def test_a_vault_put_back_as_a_whole_is_named(house: House, tmp_path: Path) -> None:
    """Catalogue and log of an older day agree with each other, and the keys remember more."""
    house.write(5)
    older = Copy.of(house, tmp_path / "older")
    house.write(2)
    with older.opened() as (log, catalogue):
        faults, found = log.faults(), refusals(log, catalogue)

    sentence = (
        "the vault is older than its keys' memory of the audit log: the keys remember entry 7, the catalogue ends at 5 "
        "(restored?)"
    )
    assert faults == [("rolled back", sentence)]
    assert found == dict.fromkeys(ALL_WAYS, sentence)
    assert refusals(house.again(), house.catalogue) == {}


def test_a_vault_put_back_with_a_full_outbox_flushes_nothing(house: House, tmp_path: Path) -> None:
    """What waited in the older outbox isn't brought to the older log."""
    house.write(3)
    house.write(1, flush=False)
    older = Copy.of(house, tmp_path / "older")
    house.log.flush()
    house.write(1)
    before = (older.directory / "audit" / "00000001.log").read_bytes()
    with older.opened() as (log, catalogue):
        found = refusals(log, catalogue)

    assert found.keys() == ALL_WAYS
    assert (older.directory / "audit" / "00000001.log").read_bytes() == before


@pytest.mark.parametrize("more", [0, 1])
def test_another_history_of_one_vault_is_named(house: House, tmp_path: Path, more: int) -> None:
    """With as many entries as the keys remember, or more of them, but not the ones that they remember."""
    house.write(5)
    older = Copy.of(house, tmp_path / "older")
    kept = house.layout.head.read_bytes()
    house.write(1)
    ours = house.layout.head.read_bytes()
    house.layout.head.write_bytes(kept)
    with older.opened() as (log, catalogue):
        for _ in range(1 + more):
            with catalogue.transaction() as tx:
                log.enter(tx, "receive", None, {"another": True})
            log.flush()
        house.layout.head.write_bytes(ours)
        (fault,) = log.faults()
        found = refusals(log, catalogue)

    assert fault == (
        "rolled back",
        "the vault is older than its keys' memory of the audit log: its entry 6 is another than the keys remember "
        "(restored?)",
    )
    # Whether an entry in the midst of the log is the remembered one, only a walk over the log tells.
    assert found.keys() == (ALL_WAYS if more == 0 else {"verify"})


@pytest.mark.parametrize("kept", [1, 4, 6])
def test_a_memory_that_lags_is_no_fault(house: House, kept: int) -> None:
    """An older copy of the key directory, or a process that ended before it could write: the log may be ahead."""
    house.write(kept)
    blob = house.layout.head.read_bytes()
    house.write(7 - kept)
    house.layout.head.write_bytes(blob)

    assert house.log.faults() == []
    assert refusals(house.again(), house.catalogue) == {}
    house.log.flush()
    assert remembered(house).seq == 8


def test_a_missing_memory_is_named_until_an_entry_makes_it_anew(house: House) -> None:
    """Verify says so; nothing stops for it, and a flush that brings nothing does not hide it."""
    house.write(2)
    house.layout.head.unlink()
    with house.catalogue.transaction() as tx:
        house.again().require_in_step(tx)
    house.again().flush()
    faults = house.log.faults()
    with pytest.raises(FaultError, match="`head` in the key directory, is missing"):
        house.log.verify()
    house.write(1)

    assert [kind for kind, _ in faults] == ["missing"]
    assert house.log.faults() == []
    assert remembered(house).seq == 3


def _with_another_key(house: House) -> None:
    house.layout.head.write_bytes(sealing.seal(bytes(32), b"{}", f"head {VAULT}"))


def _of_another_version(house: House) -> None:
    content = signing.canonical({"v": 2, "seq": 1, "hash": ""})
    house.layout.head.write_bytes(sealing.seal(sealing.derive(AUDIT_KEY, "head"), content, f"head {VAULT}"))


def _of_another_vault(house: House) -> None:
    content = signing.canonical({"v": 1, "seq": 1, "hash": ""})
    house.layout.head.write_bytes(sealing.seal(sealing.derive(AUDIT_KEY, "head"), content, "head another"))


def _as_a_directory(house: House) -> None:
    house.layout.head.unlink()
    house.layout.head.mkdir()


@pytest.mark.parametrize("damage", [_with_another_key, _of_another_version, _of_another_vault, _as_a_directory])
def test_a_changed_memory_stops_everything(house: House, damage: Callable[[House], object]) -> None:
    """Unlike a missing one it can only be damage or deceit, and is never written over unseen."""
    house.write(2)
    damage(house)
    faults, found = house.log.faults(), refusals(house.again(), house.catalogue)

    assert [kind for kind, _ in faults] == ["changed"]
    assert "memory of the audit log" in faults[0][1]
    assert found.keys() == ALL_WAYS


def test_every_bit_of_the_memory_is_covered(house: House) -> None:
    """A flipped bit is a fault, wherever it is."""
    house.write(1)
    blob = house.layout.head.read_bytes()
    for place in random.Random(22).sample(range(len(blob) * 8), 60):
        changed = bytearray(blob)
        changed[place // 8] ^= 1 << place % 8
        house.layout.head.write_bytes(changed)
        assert [kind for kind, _ in house.log.faults()] == ["changed"]


def test_what_a_crash_left_of_a_memory_is_removed_by_the_next(house: House) -> None:
    """Its temporary file goes when the next entry is remembered; those of rings are none of its business."""
    left, ring = (house.layout.keys / f"{name}{PART}0a0b0c0d" for name in ("head", "ring-1"))
    left.write_bytes(b"left")
    ring.write_bytes(b"left")
    house.log.flush()
    before = left.exists()
    house.write(1)

    assert before
    assert sorted(path.name for path in house.layout.keys.iterdir()) == ["head", ring.name]
    assert remembered(house).seq == 1


def test_a_memory_that_can_not_be_written_lets_nothing_leave(house: House) -> None:
    """The entry stays in the outbox until both places have it."""
    house.write(1)
    house.write(1, flush=False)
    house.disk.at, house.disk.problem = "before write head", OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(SpaceError, match="nothing leaves"):
        house.log.flush()
    waiting, house.disk.at = pending(house), ""
    house.log.flush()

    assert (waiting, pending(house)) == (1, 0)
    assert remembered(house).seq == 2
    assert house.log.verify() == 2


def test_the_key_store_takes_no_offence_at_the_memory(tmp_path: Path) -> None:
    """The file lies among the keys, and is neither a generation nor a problem nor swept."""
    layout = Layout(tmp_path / "vault", tmp_path / "keys")
    provider = LocalKeyFile.create(layout, Disk(), VAULT)
    store = KeyStore.create(layout, Disk(), provider, VAULT)
    layout.head.write_bytes(b"x")
    store.renew([], lambda generation: None)
    store = KeyStore.open(layout, Disk(), provider, VAULT, catalogue_generation=2, writer=True)

    assert store.problems() == []
    assert layout.head.read_bytes() == b"x"
    assert sorted(path.name for path in layout.keys.iterdir()) == ["epoch-2", "head", "ring-2", "root.key"]
