"""The living ring: what is durable in it, what is left of a day when its keys died, and what may not be mixed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trafficvault.sealed_store import DAY, VAULT_ID, Store, new_store
from trafficvault.durable import Disk
from trafficvault.errors import FaultError, RefusedError
from trafficvault.keys import KeyStore
from trafficvault.layout import day_key_id
from trafficvault.provider import LocalKeyFile
from trafficvault.ring import UNDATED, Ring, seal_ring

WHO = day_key_id("mobile_usage", DAY, "who")
WHERE = day_key_id("mobile_usage", DAY, "where")
NEW = "mobile_usage/2026-03-02/who"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A key store with the day keys of one class and day."""
    return new_store(tmp_path)


def test_another_process_opens_the_same_keys(store: Store) -> None:
    """What `ensure` returned from is on disk."""
    again = store.reopened()

    assert again.generation == 1
    assert (
        again.key_ids()
        == store.keys.key_ids()
        == UNDATED
        | {day_key_id("mobile_usage", DAY, category) for category in ("who", "where", "when", "how_much", "frame")}
    )
    assert again.custody("receive").key(WHO) == store.custody.key(WHO)
    assert again.signing_key() == store.keys.signing_key()
    assert again.provider_name == "local key file"


def test_every_key_is_another(store: Store) -> None:
    """No two ids share a key."""
    custody = store.keys.custody("verify")
    keys = [custody.key(name) for name in store.keys.key_ids()]

    assert len({*keys}) == len(keys)
    assert {len(key) for key in keys} == {32}


def test_creating_over_keys_is_refused(store: Store) -> None:
    """A second ring would strand every file under the first."""
    with pytest.raises(RefusedError, match="already holds keys"):
        KeyStore.create(store.layout, store.disk, store.provider, VAULT_ID)
    assert store.reopened().custody("receive").key(WHO) == store.custody.key(WHO)


def test_ensuring_a_key_that_is_there_changes_nothing(store: Store) -> None:
    """Neither the key nor the file is touched."""
    key, before = store.custody.key(WHO), store.layout.ring(1).stat()
    store.keys.ensure([WHO])

    assert store.custody.key(WHO) == key
    assert store.layout.ring(1).stat().st_ino == before.st_ino


def test_ensuring_takes_over_a_key_that_another_writer_made(store: Store) -> None:
    """Were it replaced, the other's files would be lost."""
    other = store.reopened()
    other.ensure([NEW])
    store.keys.ensure([NEW, "mobile_usage/2026-03-03/who"])

    assert store.custody.key(NEW) == other.custody("receive").key(NEW)


def test_an_id_of_another_form_never_comes_into_the_ring(store: Store) -> None:
    """The ring is as it was."""
    with pytest.raises(ValueError, match="key id"):
        store.keys.ensure(["mobile_usage:2026"])
    assert len(store.reopened().key_ids()) == len(UNDATED) + 5


def test_renewal_destroys_the_dead_and_keeps_the_others(store: Store) -> None:
    """On disk and in memory; the old generation is gone and the commit saw the new one."""
    who, committed = store.custody.key(WHO), list[int]()
    store.keys.renew({WHERE}, committed.append)

    assert committed == [2]
    assert store.keys.generation == 2
    assert store.custody.key(WHO) == who
    assert store.reopened(2).key_ids() == store.keys.key_ids()
    assert WHERE not in store.keys.key_ids()
    assert sorted(path.name for path in store.layout.keys.iterdir()) == ["epoch-2", "ring-2", "root.key"]
    assert store.keys.problems() == []


def test_a_reader_follows_a_renewal_of_another_process(store: Store) -> None:
    """After `follow` it has the new ring and none of the dead keys; before, nothing it does writes."""
    provider = LocalKeyFile.open(store.layout, Disk(), VAULT_ID)
    reader = KeyStore.open(store.layout, Disk(), provider, VAULT_ID, catalogue_generation=1, writer=False)
    store.destroy(WHERE)
    reader.follow(2)
    store.keys.ensure([NEW])
    reader.follow(2)

    assert reader.generation == 2
    assert reader.has_any([NEW])
    assert not reader.has_any([WHERE])
    assert reader.has_any([WHERE, WHO])


def test_an_old_ring_is_worthless_without_its_epoch_key(store: Store, tmp_path: Path) -> None:
    """A copy of the ring made before the renewal, put back, brings nothing back."""
    copy = store.layout.ring(1).read_bytes()
    store.destroy(WHERE)
    store.layout.ring(1).write_bytes(copy)

    assert store.keys.problems() == ["keys of generation 1 are in the key directory; 2 rules"]
    assert WHERE not in store.reopened(2).key_ids()
    assert not store.layout.ring(1).exists()


@pytest.mark.parametrize("name", sorted(UNDATED))
def test_a_key_that_belongs_to_no_day_is_never_destroyed(store: Store, name: str) -> None:
    """Without them neither catalogue nor audit log opens."""
    with pytest.raises(RefusedError, match="never destroyed"):
        store.destroy(WHO, name)
    assert store.keys.generation == 1


def test_renewing_without_a_death_is_a_new_generation(store: Store) -> None:
    """A key that was never there is already destroyed."""
    before = store.keys.key_ids()
    store.destroy("telephony/2020-01-01/who")

    assert store.keys.key_ids() == before
    assert store.keys.generation == 2


def test_after_a_failed_commit_the_store_refuses_every_use(store: Store) -> None:
    """Whether the catalogue moved is not known here; each of the two states opens anew."""

    def commit(generation: int) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        store.keys.renew({WHERE}, commit)

    for use in (lambda: store.custody.key(WHO), lambda: store.keys.ensure([NEW]), lambda: store.keys.generation):
        with pytest.raises(FaultError, match="open the vault again"):
            use()
    assert WHERE in store.reopened(1).key_ids()


def test_a_failure_before_the_commit_changes_nothing(tmp_path: Path) -> None:
    """No room for the new ring: the old one rules, and the next renewal succeeds."""

    class Full(Disk):
        on = False

        def step(self, name: str) -> None:
            if self.on and name == "before rename ring-2":
                raise OSError("no space")

    store = new_store(tmp_path)
    disk = Full()
    provider = LocalKeyFile.open(store.layout, disk, VAULT_ID)
    keys = KeyStore.open(store.layout, disk, provider, VAULT_ID, catalogue_generation=1, writer=True)
    disk.on = True
    with pytest.raises(OSError, match="no space"):
        keys.renew({WHERE}, lambda generation: None)
    disk.on = False

    assert keys.custody("receive").has(WHERE)
    keys.ensure([NEW])
    keys.renew({WHERE}, lambda generation: None)
    assert not keys.has_any([WHERE])
    assert keys.has_any([NEW])


def test_a_reader_leaves_a_renewal_under_way_alone(store: Store) -> None:
    """What looks cut short may be what the writer is doing now."""
    store.provider.create_epoch(2)
    provider = LocalKeyFile.open(store.layout, Disk(), VAULT_ID)
    KeyStore.open(store.layout, Disk(), provider, VAULT_ID, catalogue_generation=1, writer=False)

    assert store.provider.generations() == {1, 2}


def test_temporary_names_are_swept(store: Store) -> None:
    """A part of a ring that a crash left is removed by the next writer."""
    left = store.layout.keys / "ring-1.part-0a0b0c0d"
    left.write_bytes(b"left")
    store.reopened()

    assert not left.exists()


def test_a_memory_in_the_making_is_not_swept(store: Store) -> None:
    """A process without the writer's lock may be writing `head`: its part stays for its owner."""
    part = store.layout.keys / "head.part-0a0b0c0d"
    part.write_bytes(b"half")
    store.reopened()

    assert part.read_bytes() == b"half"


def files(store: Store) -> dict[str, bytes]:
    """The key directory, byte for byte."""
    return {path.name: path.read_bytes() for path in store.layout.keys.iterdir()}


def test_a_restored_catalogue_destroys_nothing(store: Store) -> None:
    """The catalogue says 1, the keys are of 2: a sentence, and every file is as it was."""
    store.destroy(WHERE)
    before = files(store)

    with pytest.raises(FaultError, match=r"the catalogue is older than the keys \(restored\?\)"):
        store.reopened(1)
    assert files(store) == before


def test_a_restored_catalogue_and_old_keys_destroy_no_younger_key(store: Store) -> None:
    """Generation 1 was put back whole beside 2, which meanwhile got a key of its own: 2 was never just prepared."""
    old = files(store)
    store.destroy(WHERE)
    store.keys.ensure([NEW])
    for name in ("epoch-1", "ring-1"):
        (store.layout.keys / name).write_bytes(old[name])
    before = files(store)

    with pytest.raises(FaultError, match="ring 2 holds keys of its own; nothing was destroyed"):
        store.reopened(1)
    assert files(store) == before


def test_a_ring_that_does_not_open_stops_before_anything_is_removed(store: Store) -> None:
    """Generation 1 still lies there when ring 2 turns out to be damaged: it stays."""
    old = files(store)
    store.destroy(WHERE)
    for name in ("epoch-1", "ring-1"):
        (store.layout.keys / name).write_bytes(old[name])
    damaged = bytearray(store.layout.ring(2).read_bytes())
    damaged[40] ^= 4
    store.layout.ring(2).write_bytes(damaged)
    before = files(store)

    with pytest.raises(FaultError, match="opening ring"):
        store.reopened(2)
    assert files(store) == before


def test_verify_is_told_what_is_wrong_with_the_key_directory(store: Store) -> None:
    """A ring that was exchanged, removed, or joined by another generation is named."""
    store.provider.create_epoch(7)
    assert store.keys.problems() == ["keys of generation 7 are in the key directory; 1 rules"]
    store.provider.destroy_epoch(7)

    store.layout.ring(1).write_bytes(seal_ring(Ring(1, {}), store.provider.seal, VAULT_ID))
    assert store.keys.problems() == ["ring 1 on disk holds other keys than this process opened"]
    store.layout.ring(1).unlink()
    assert "ring 1" in store.keys.problems()[0]


def test_a_ring_that_reads_back_otherwise_is_not_committed(store: Store) -> None:
    """The new ring is opened and compared before the old one may die."""

    class Lossy(Disk):
        def create(self, path: Path, content: bytes, mode: int = 0o600) -> None:
            if path == store.layout.ring(2):
                content = seal_ring(Ring(2, {}), store.provider.seal, VAULT_ID)
            super().create(path, content, mode)

    keys = KeyStore.open(store.layout, Lossy(), store.provider, VAULT_ID, catalogue_generation=1, writer=True)
    committed: list[int] = []
    with pytest.raises(FaultError, match="lacks survivors; nothing was destroyed"):
        keys.renew({WHERE}, committed.append)

    assert committed == []
    assert keys.has_any([WHERE])
    assert store.reopened(1).has_any([WHERE])


def test_a_process_sees_that_another_renewed_the_ring(store: Store) -> None:
    """From then on it uses no key that it still holds."""
    reader = store.reopened()
    reader.require_unrenewed()
    store.destroy(WHERE)
    with pytest.raises(RefusedError, match="another process destroyed keys meanwhile"):
        reader.require_unrenewed()
    with pytest.raises(FaultError, match="it was dropped"):
        reader.has_any([WHO])
    reader.follow(2)
    reader.require_unrenewed()
