"""The key port: what it releases, what it refuses, and what is left of a day when its keys died."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from copy import copy
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.trafficvault.sealed_store import DAY, VAULT_ID, Office, Store, new_store, office
from trafficvault.durable import Disk
from trafficvault.errors import FaultError, RefusedError
from trafficvault.keys import Admission, KeyStore, Released, SignedWarrant
from trafficvault.layout import day_key_id
from trafficvault.provider import LocalKeyFile
from trafficvault.ring import UNDATED, Ring, seal_ring

WHO = day_key_id("mobile_usage", DAY, "who")
WHERE = day_key_id("mobile_usage", DAY, "where")
NEW = "mobile_usage/2026-03-02/who"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A key store with the day keys of one class and day, and people who can sign."""
    made = new_store(tmp_path)
    made.keys.attach_directory(office().directory)
    return made


# --- life of keys


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


def test_a_running_process_can_not_use_a_destroyed_key(store: Store) -> None:
    """Tokens that were handed out before the renewal open nothing after it."""
    people = office()
    store.keys.attach_directory(people.directory)
    warrant = people.warrant(categories=["who", "where"])
    where, who = (
        store.keys.release(warrant, "mobile_usage", DAY, category, (DAY, DAY)) for category in ("where", "who")
    )
    assert where.key == store.custody.key(WHERE)
    store.destroy(WHERE)

    assert not store.custody.has(WHERE)
    with pytest.raises(RefusedError, match="not in the ring: destroyed, or never made"):
        _ = where.key
    with pytest.raises(RefusedError, match="not in the ring: destroyed, or never made"):
        store.custody.key(WHERE)
    with pytest.raises(RefusedError, match="not in the ring"):
        store.keys.release(warrant, "mobile_usage", DAY, "where", (DAY, DAY))
    assert who.key == store.custody.key(WHO)


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


# --- a crash, and what the next process finds


class StopsAt(Disk):
    """A disk that stops the process at its `at`-th step; counts the steps of a run that is not stopped."""

    def __init__(self, at: int, stop: Callable[[], object]) -> None:
        self.at, self.stop, self.steps = at, stop, 0

    def step(self, name: str) -> None:
        """One step further."""
        self.steps += 1
        if self.steps == self.at:
            self.stop()


class Stopped(BaseException):
    """Stands for the end of the process, which no handler survives."""


def stop() -> NoReturn:
    """Ends the run by unwinding it."""
    raise Stopped


def act(store: Store, disk: Disk, catalogue: Path) -> None:
    """A writer's run: a new day key that is used, a renewal without `WHERE`, another day key that is used."""
    provider = LocalKeyFile.open(store.layout, disk, VAULT_ID)
    generation = int(catalogue.read_text())
    keys = KeyStore.open(store.layout, disk, provider, VAULT_ID, catalogue_generation=generation, writer=True)
    custody = keys.custody("receive")
    for name, used in ((NEW, "used-1"), ("mobile_usage/2026-03-03/who", "used-2")):
        keys.ensure([name])
        (catalogue.parent / used).write_text(f"{name} {custody.key(name).hex()}")
        if keys.has_any([WHERE]):
            keys.renew({WHERE}, lambda g: disk.create(catalogue, str(g).encode()))


def steps_of_a_run(tmp_path: Path) -> int:
    """How many durable steps `act` takes."""
    store, disk, catalogue = new_store(tmp_path / "whole"), StopsAt(0, stop), tmp_path / "whole" / "catalogue"
    catalogue.write_text("1")
    act(store, disk, catalogue)
    return disk.steps


def in_a_child(run: Callable[[], object]) -> None:
    """Runs `run` in a process of its own, which may end at any moment."""
    with warnings.catch_warnings():
        # Python warns of forking beside threads; the child runs no library that has some, and ends without cleanup.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            run()
        finally:
            os._exit(0)
    os.waitpid(child, 0)


@pytest.mark.parametrize("way", ["unwound", "killed"])
def test_a_run_stopped_at_any_step_loses_no_survivor_and_keeps_no_dead(tmp_path: Path, way: str) -> None:
    """Reopened: every key a file used is there; committed, the dead are nowhere; else the run simply goes on."""
    steps = steps_of_a_run(tmp_path)
    committed = 0
    for at in range(1, steps + 1):
        store = new_store(tmp_path / str(at))
        catalogue = tmp_path / str(at) / "catalogue"
        catalogue.write_text("1")
        before = {name: store.keys.custody("verify").key(name) for name in store.keys.key_ids()}
        if way == "unwound":
            with pytest.raises(Stopped):
                act(store, StopsAt(at, stop), catalogue)
        else:
            in_a_child(partial(act, store, StopsAt(at, partial(os._exit, 9)), catalogue))

        generation = int(catalogue.read_text())
        keys = store.reopened(generation)
        custody = keys.custody("verify")
        for name in before.keys() - {WHERE}:
            assert custody.key(name) == before[name]
        for used in catalogue.parent.glob("used-*"):
            name, key_hex = used.read_text().split()
            assert custody.key(name).hex() == key_hex
        assert keys.has_any([WHERE]) == (generation == 1)
        assert {path.name for path in store.layout.keys.iterdir()} == {
            "root.key",
            f"epoch-{generation}",
            f"ring-{generation}",
        }
        committed += generation == 2

        act(store, Disk(), catalogue)
        assert not store.reopened(2).has_any([WHERE])
    assert 0 < committed < steps


def test_a_stopped_recovery_can_be_repeated(tmp_path: Path) -> None:
    """Stopping the opening that finishes a renewal, at each of its steps, still ends with the dead gone."""
    for at in range(1, 20):
        store = new_store(tmp_path / str(at))
        # Stopped right behind the commit: generation 1 is still there whole.
        with pytest.raises(Stopped):
            store.keys.renew({WHERE}, lambda generation: stop())
        disk = StopsAt(at, stop)
        provider = LocalKeyFile.open(store.layout, disk, VAULT_ID)
        try:
            KeyStore.open(store.layout, disk, provider, VAULT_ID, catalogue_generation=2, writer=True)
        except Stopped:
            assert WHERE not in store.reopened(2).key_ids()
            continue
        break
    assert at > 3


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


# --- catalogue and keys of different moments


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


# --- custody


def test_acts_that_open_no_records_get_no_key_of_records(store: Store) -> None:
    """Expiry, audit and catalogue work with the keys of what has no day."""
    for act_name in ("expire", "audit", "catalogue"):
        custody = store.keys.custody(act_name)
        assert custody.key("catalogue") == store.custody.key("catalogue")
        with pytest.raises(RefusedError, match="opens no records"):
            custody.key(WHO)


def test_an_unknown_act_gets_nothing(store: Store) -> None:
    """Disclosing is not an act with custody."""
    with pytest.raises(RefusedError, match="disclose is not one of"):
        store.keys.custody("disclose")


def test_tokens_show_no_key(store: Store) -> None:
    """Neither a token nor the store prints a key."""
    key = store.custody.key(WHO)
    released = Released("mobile_usage", DAY, "who", store.keys)

    for thing in (store.custody, released, store.keys):
        assert key.hex() not in repr(thing)
        assert repr(key)[2:-1] not in repr(thing)


# --- release


def released(store: Store, people: Office, warrant: SignedWarrant, **changed: object) -> Released:
    """What the store releases for `warrant`, of a class, category and reach that may be changed."""
    store.keys.attach_directory(people.directory)
    asked: dict[str, object] = {"record_class": "mobile_usage", "category": "who", "reach": (DAY, DAY)} | changed
    return store.keys.release(warrant, day=DAY, **asked)  # type: ignore[arg-type]  # values as the tests wrote them


@pytest.mark.parametrize("category", ["who", "when", "how_much", "frame"])
def test_an_approved_warrant_releases_what_it_covers(store: Store, category: str) -> None:
    """Each of its categories, and the frame that comes with any."""
    people = office()
    token = released(store, people, people.warrant(), category=category)

    assert token.key == store.custody.key(day_key_id("mobile_usage", DAY, category))
    assert (token.record_class, token.day, token.category) == ("mobile_usage", DAY, category)


def test_one_person_can_not_do_both(store: Store) -> None:
    """Registered and approved by the same person, who has both roles."""
    people = office()
    people.add("olga", "officer", "approver")
    with pytest.raises(RefusedError, match="the same person"):
        released(store, people, people.warrant("olga", "olga"))


def test_two_accounts_with_one_key_are_one_person(store: Store) -> None:
    """A second account with the same public key does not make two pairs of eyes."""
    people = office()
    people.add("olga-2", "approver", key=people.private["olga"])
    with pytest.raises(RefusedError, match="two accounts with one public key"):
        released(store, people, people.warrant("olga", "olga-2"))


@pytest.mark.parametrize(
    ("registrar", "approver", "sentence"),
    [
        ("anton-2", "anton", "registrar has not the role officer"),
        ("olga", "olga-2", "approver has not the role approver"),
    ],
)
def test_a_role_is_needed_for_each_signature(store: Store, registrar: str, approver: str, sentence: str) -> None:
    """Officers register, approvers approve, nobody else does."""
    people = office()
    people.add("anton-2", "approver", "administrator")
    people.add("olga-2", "officer", "auditor")
    with pytest.raises(RefusedError, match=sentence):
        released(store, people, people.warrant(registrar, approver))


@pytest.mark.parametrize(("name", "part"), [("olga", "registrar"), ("anton", "approver")])
def test_a_disabled_person_counts_no_more(store: Store, name: str, part: str) -> None:
    """Whoever was disabled after signing has not signed."""
    people = office()
    warrant = people.warrant()
    people.add(name, "officer", "approver", key=people.private[name], disabled=True)
    with pytest.raises(RefusedError, match=f"{part} is disabled"):
        released(store, people, warrant)


@pytest.mark.parametrize(("name", "part"), [("olga", "registrar"), ("anton", "approver")])
def test_a_person_who_is_not_there_has_not_signed(store: Store, name: str, part: str) -> None:
    """An unknown name is refused, and so is a directory that answers with somebody else."""
    people = office()
    warrant = people.warrant()
    gone = people.people.pop(name)
    with pytest.raises(RefusedError, match=f"{part} is not a person"):
        released(store, people, warrant)
    people.people[name] = type(gone)("another", gone.roles, gone.public_key, gone.disabled)
    with pytest.raises(RefusedError, match=f"{part} is not a person"):
        released(store, people, warrant)


def test_a_changed_document_is_not_what_was_signed(store: Store) -> None:
    """One more category than the two people signed for, and nothing is released."""
    people = office()
    signed = people.warrant()
    changed = SignedWarrant(
        dict(signed.document) | {"categories": ["who", "where"]}, signed.registered, signed.approved
    )
    with pytest.raises(RefusedError, match="registrar's signature is not over this document"):
        released(store, people, changed, category="where")


def test_an_approval_of_another_document_does_not_count(store: Store) -> None:
    """Registration and approval must be of one document."""
    people = office()
    signed, other = people.warrant(), people.warrant(categories=["who"])
    with pytest.raises(RefusedError, match="approver's signature is not over this document"):
        released(store, people, SignedWarrant(signed.document, signed.registered, other.approved))


def test_a_registration_is_no_approval(store: Store) -> None:
    """The act is part of what is signed: an officer's signature can't be turned into an approver's."""
    people = office()
    people.add("anton", "officer", "approver", key=people.private["anton"])
    warrant = people.warrant()
    registration = people.vouch("register", "anton", dict(warrant.document))
    with pytest.raises(RefusedError, match="approver's signature"):
        released(store, people, SignedWarrant(warrant.document, warrant.registered, registration))


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"record_class": "telephony"}, "does not cover the class telephony"),
        ({"category": "where"}, "does not cover the category where"),
        ({"category": "everything"}, "does not cover the category everything"),
        ({"reach": (date(2026, 3, 3), date(2026, 3, 9))}, "no target's window overlaps"),
        ({"reach": (date(2026, 2, 1), date(2026, 2, 27))}, "no target's window overlaps"),
    ],
)
def test_outside_the_warrant_nothing_is_released(store: Store, changed: dict[str, object], sentence: str) -> None:
    """Class, category and time each have their own refusal."""
    people = office()
    with pytest.raises(RefusedError, match=sentence):
        released(store, people, people.warrant(), **changed)


@pytest.mark.parametrize(
    ("begin", "end", "overlaps"),
    [
        ("2026-03-02T23:59:59.999999Z", "2026-03-05T00:00:00Z", True),
        ("2026-03-03T00:00:00Z", "2026-03-05T00:00:00Z", False),
        ("2026-02-01T00:00:00Z", "2026-02-28T00:00:00Z", False),
        ("2026-02-01T00:00:00Z", "2026-02-28T00:00:00.000001Z", True),
        ("2026-03-03T00:30:00+01:00", "2026-03-03T00:45:00+01:00", True),
        ("2026-02-28T00:00:00Z", "2026-02-28T00:00:00Z", True),
        ("2026-03-03T00:00:00Z", "2026-03-03T00:00:00Z", False),
        ("2026-03-05T00:00:00Z", "2026-02-01T00:00:00Z", False),
    ],
    ids=[
        "last microsecond",
        "begins behind",
        "ends before",
        "first microsecond",
        "another zone",
        "one moment",
        "one moment behind",
        "turned round",
    ],
)
def test_a_window_is_half_open_in_utc(store: Store, begin: str, end: str, overlaps: bool) -> None:
    """[from, to) against the UTC dates the file's records touch, and a day on either side for parts of calls."""
    people = office()
    warrant = people.warrant(targets=[{"type": "msisdn", "value": "+31612345678", "from": begin, "to": end}])
    if overlaps:
        assert released(store, people, warrant).category == "who"
    else:
        with pytest.raises(RefusedError, match="no target's window overlaps"):
            released(store, people, warrant)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"kind": "hold"}, "not a warrant of version 1"),
        ({"v": 2}, "not a warrant of version 1"),
        ({"classes": "mobile_usage"}, "classes are not a list"),
        ({"categories": "who when"}, "categories are not a list"),
        ({"categories": [1]}, "categories are not a list"),
        ({"targets": [{"type": "imsi", "value": "204990000000001"}]}, "no window from and to"),
        ({"targets": [{"from": "yesterday", "to": "today"}]}, "no window from and to"),
        ({"targets": 3}, "no window from and to"),
        ({"targets": [{"from": "2026-03-01T00:00:00", "to": "2026-03-02T00:00:00"}]}, "names no zone"),
    ],
)
def test_a_signed_document_of_another_form_releases_nothing(
    store: Store, change: dict[str, Any], sentence: str
) -> None:
    """The port believes signatures, not form."""
    people = office()
    with pytest.raises(RefusedError, match=sentence):
        released(store, people, people.warrant(**change))


# --- admission


def test_an_admission_releases_what_its_warrant_covers(store: Store) -> None:
    """Without a look at signatures: the store remembers that they were good. Class, category and reach are checked."""
    people = office()
    store.keys.attach_directory(people.directory)
    admission = store.keys.admit(people.warrant())
    people.people.clear()

    assert store.keys.release(admission, "mobile_usage", DAY, "who", (DAY, DAY)).key == store.custody.key(WHO)
    for record_class, category, reach in (
        ("telephony", "who", (DAY, DAY)),
        ("mobile_usage", "where", (DAY, DAY)),
        ("mobile_usage", "who", (date(2026, 3, 9), date(2026, 3, 9))),
    ):
        with pytest.raises(RefusedError, match=r"covers? the (class|category)|no target's window"):
            store.keys.release(admission, record_class, DAY, category, reach)


def test_a_warrant_that_is_not_vouched_for_is_not_admitted(store: Store) -> None:
    """The same refusals as of a release."""
    people = office()
    store.keys.attach_directory(people.directory)
    signed = people.warrant()
    wider = SignedWarrant(dict(signed.document) | {"categories": ["where"]}, signed.registered, signed.approved)
    with pytest.raises(RefusedError, match="admitting a warrant: the registrar's signature is not over this document"):
        store.keys.admit(wider)


def test_nobody_makes_an_admission_but_the_store(store: Store, tmp_path: Path) -> None:
    """One that was made by hand, copied, or admitted by another store stands for nothing."""
    people = office()
    store.keys.attach_directory(people.directory)
    other = new_store(tmp_path / "other")
    other.keys.attach_directory(people.directory)
    admission = store.keys.admit(people.warrant())
    for forged in (Admission(), copy(admission), other.keys.admit(people.warrant())):
        with pytest.raises(RefusedError, match="not admitted under the ring that lives now"):
            store.keys.release(forged, "mobile_usage", DAY, "who", (DAY, DAY))


def test_a_document_that_changes_after_its_admission_widens_nothing(store: Store) -> None:
    """What was signed is what is covered."""
    people = office()
    store.keys.attach_directory(people.directory)
    signed = people.warrant()
    document = dict(signed.document)
    admission = store.keys.admit(SignedWarrant(document, signed.registered, signed.approved))
    document["categories"].append("where")
    with pytest.raises(RefusedError, match="does not cover the category where"):
        store.keys.release(admission, "mobile_usage", DAY, "where", (DAY, DAY))


@pytest.mark.parametrize("ending", ["renew", "follow", "people"])
def test_an_admission_ends(store: Store, ending: str) -> None:
    """With the ring it was made under, when the ring is read anew, and when another directory of people is attached."""
    people = office()
    store.keys.attach_directory(people.directory)
    admission = store.keys.admit(people.warrant())
    if ending == "renew":
        store.destroy(WHERE)
    elif ending == "follow":
        store.keys.follow(1)
    else:
        store.keys.attach_directory(people.directory)
    with pytest.raises(RefusedError, match="not admitted under the ring that lives now"):
        store.keys.release(admission, "mobile_usage", DAY, "who", (DAY, DAY))


def test_what_was_derived_goes_with_the_ring(store: Store) -> None:
    """A ring that is unchanged on disk stays open with it; after a new key or a renewal there is none of it."""
    people = office()
    store.keys.attach_directory(people.directory)
    released = store.keys.release(people.warrant(), "mobile_usage", DAY, "who", (DAY, DAY))
    store.keys.follow(store.keys.generation)
    released.derived["something"] = b"made of a key"
    store.keys.follow(store.keys.generation)
    assert released.derived == {"something": b"made of a key"}
    store.keys.ensure(["mobile_usage/2026-11-12/who"])
    assert released.derived == {}
    released.derived["something"] = b"made of a key"
    store.keys.renew([], lambda generation: None)
    assert released.derived == {}


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


def test_without_a_directory_nothing_is_released(tmp_path: Path) -> None:
    """No signature can be checked, so none counts."""
    store, people = new_store(tmp_path), office()
    with pytest.raises(RefusedError, match="no directory of people"):
        store.keys.release(people.warrant(), "mobile_usage", DAY, "who", (DAY, DAY))


def test_refusals_name_no_target(store: Store) -> None:
    """What is refused is told by class, day and category."""
    people = office()
    with pytest.raises(RefusedError) as raised:
        released(store, people, people.warrant(), category="where")
    assert str(raised.value) == (
        "releasing the where key of mobile_usage 2026-03-01: the warrant does not cover the category where"
    )
