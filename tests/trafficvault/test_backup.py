"""Backup and restore: what survives, what expires again, what is refused, and a run that is cut short."""

from __future__ import annotations

import json
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.support import (
    FAST,
    NOW,
    PASSWORD,
    Order,
    Usage,
    answer,
    every_byte,
    ingest,
    layout_at,
    new_vault,
    opened,
    signed_in,
    usage,
)
from tests.thorough import steps_on
from tests.trafficvault.test_rotation import Stopped, StoppingDisk
from trafficvault import app, backup, confirming, expire, locks, people, proposals, restore, verify
from trafficvault.backup import Backup
from trafficvault.catalogue import Transaction
from trafficvault.clock import SetClock
from trafficvault.durable import Disk
from trafficvault.errors import FaultError, RefusedError, UsageError
from trafficvault.layout import Layout
from trafficvault.people import Person
from trafficvault.provider import from_environment
from trafficvault.restore import Restored
from trafficvault.vault import Vault

OLD = "20260521120000"
"""Half a year and a day before the late moment, so that its day has expired by then."""
LATE = NOW + timedelta(days=3)


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    """One record that is about to expire and one that is not."""
    vault = new_vault(tmp_path, now=NOW)
    ingest(vault, "mvno_pipe", usage([Usage(at=OLD, record_id="old")]), "old")
    ingest(vault, "mvno_pipe", usage([Usage(record_id="new")]), "new")
    return vault


def back_up(vault: Vault, target: Path, disk: Disk | None = None, at: datetime = NOW) -> Backup:
    """As the command line does it."""
    with locks.writing(vault.layout):
        return backup.backup(opened(vault, at, disk), target)


def put_back(source: Path, layout: Layout, disk: Disk | None = None, accept: restore.Accept | None = None) -> Restored:
    """Restores beside the key directory of `layout`, and moves what is there out of the way."""
    if layout.settings.exists():
        shutil.move(layout.vault, layout.vault.with_name(f"lost-{len(list(layout.vault.parent.iterdir()))}"))
    return restore.restore(source, layout, disk or Disk(), SetClock(LATE), from_environment, accept)


def ada(tx: Transaction) -> tuple[Person, ...]:
    """The one administrator."""
    return (people.authenticate(tx, "ada", PASSWORD),)


def ada_in(vault: Vault) -> tuple[Person, ...]:
    """The same, signed in to an open vault."""
    return (signed_in(vault, "ada"),)


def confirmed(vault: Vault) -> None:
    """Two persons say that the docket stands."""
    made = confirming.propose(vault, signed_in(vault, "olga"))
    found = proposals.approve(vault, signed_in(vault, "piet"), made.proposal_id)
    assert confirming.carry_out(vault, signed_in(vault, "piet"), found) == [
        "the docket is confirmed: its approved warrants run again"
    ]


def test_a_restored_vault_is_the_vault_that_was_backed_up(vault: Vault, tmp_path: Path) -> None:
    """With the keys of the same moment nobody has to accept anything; verify is clean, the answer is the same."""
    before = answer(vault, Order(), tmp_path / "first")
    done = back_up(vault, tmp_path / "backup")
    told = put_back(tmp_path / "backup", vault.layout)
    again = opened(vault, LATE)

    assert (told.lost_entries, told.expiring, told.unknown_keys) == (0, (), 0)
    assert told.catalogue_generation == told.generation == done.manifest["generation"]
    assert verify.verify(again).faults == ()
    assert again.audit.show(1)[0]["act"] == "restore"
    after = answer(again, Order(reference="PV-2"), tmp_path / "second")
    assert after.records == before.records == 1


def test_a_backup_holds_no_epoch_key_and_no_root_key(vault: Vault, tmp_path: Path) -> None:
    """Neither the files nor their bytes; the sealed ring is there."""
    back_up(vault, tmp_path / "backup")
    found = {path.name for path in (tmp_path / "backup").rglob("*")}
    content = every_byte(tmp_path / "backup")

    assert "ring-1" in found
    assert not found & {"root.key", "epoch-1", "head"}
    for path in (vault.layout.root_key, vault.layout.epoch_key(1)):
        assert path.read_bytes() not in content
    assert Usage().msisdn.encode() not in content


def test_a_second_run_copies_what_is_new_only(vault: Vault, tmp_path: Path) -> None:
    """Files that never change are copied once; the state before is gone."""
    target = tmp_path / "backup"
    first = back_up(vault, target)
    ingest(opened(vault), "mvno_pipe", usage([Usage(record_id="more")]), "more")
    ahead = backup.copy_ahead(vault.layout, target, Disk())
    second = back_up(vault, target)
    third = back_up(vault, target)

    assert (first.copied > 2, ahead > 0, second.copied, third.copied) == (True, True, 0, 0)
    assert [path.name for path in target.iterdir() if path.name != "pool"] == ["state-3"]
    assert backup.faults(target, vault.settings.public_key) == []


def test_what_has_expired_leaves_the_backup_too(vault: Vault, tmp_path: Path) -> None:
    """The next run after the expiry drops its files from the pool, and their directories."""
    target = tmp_path / "backup"
    back_up(vault, target)
    held = {path.name for path in (target / "pool" / "records").glob("*/*")}
    expire.expire(opened(vault, LATE))
    back_up(vault, target, at=LATE)

    assert "2026-05-21" in held
    assert {path.name for path in (target / "pool" / "records").glob("*/*")} == {"2026-11-10"}


def test_a_restored_older_vault_expires_again_what_had_expired(vault: Vault, tmp_path: Path) -> None:
    """The old record is not readable from the moment of the restore on; a certificate of its own says when."""
    back_up(vault, tmp_path / "backup")
    gone = expire.expire(opened(vault, LATE)).certificates
    told = put_back(tmp_path / "backup", vault.layout, accept=ada)
    again = opened(vault, LATE)
    days = {("mobile_usage", "2026-05-21")}

    assert {tuple(name.split("/")[1:]) for name in told.expiring if name.startswith("records")} == days
    assert (told.catalogue_generation, told.generation) == (1, 2)
    assert (told.lost_entries or 0) > 0
    app.confirm_person(again, "olga", ada_in(again))
    app.confirm_person(again, "piet", ada_in(again))
    confirmed(again)
    may = Order(start="2026-05-01T00:00:00+02:00", end="2026-06-01T00:00:00+02:00")
    assert answer(again, may, tmp_path / "out").records == 0
    done = expire.expire(opened(vault, LATE))
    renewed = {(item["what"], item["class"], item["day"]) for item in done.certificates}
    assert renewed == {(item["what"], item["class"], item["day"]) for item in gone}
    assert {item["generation"] for item in done.certificates} == {2}
    assert verify.verify(opened(vault, LATE)).faults == ()


def test_an_older_catalogue_is_refused_until_an_administrator_accepts_it(vault: Vault, tmp_path: Path) -> None:
    """Nothing is destroyed by the refusal, by a wrong password, or by another role; the keys are as they were."""
    back_up(vault, tmp_path / "backup")
    expire.expire(opened(vault, LATE))
    keys = {path.name: path.read_bytes() for path in vault.layout.keys.iterdir()}
    for accept, words in (
        (None, "older than the keys"),
        (lambda tx: (people.authenticate(tx, "ada", "wrong password"),), "the password is wrong"),
        (lambda tx: (people.authenticate(tx, "otto", PASSWORD),), "takes 1 administrators"),
    ):
        with pytest.raises(RefusedError, match=words):
            put_back(tmp_path / "backup", vault.layout, accept=accept)
        assert {path.name: path.read_bytes() for path in vault.layout.keys.iterdir()} == keys
        with pytest.raises(UsageError, match="there is none"):
            opened(vault, LATE)

    told = put_back(tmp_path / "backup", vault.layout, accept=ada)
    entry = opened(vault, LATE).audit.show(1)[0]
    assert (entry["act"], entry["person"], entry["detail"]["by"]) == ("restore", "ada", ["ada"])
    assert entry["detail"]["remembered"]["seq"] > 0
    assert told.generation == 2


def test_with_two_administrators_accepting_takes_both(vault: Vault, tmp_path: Path) -> None:
    """As granting an officer does."""
    admin = signed_in(vault, "ada")
    app.add_person(vault, "bert", ("administrator",), PASSWORD, (admin,), FAST)
    back_up(vault, tmp_path / "backup")
    expire.expire(opened(vault, LATE))

    with pytest.raises(RefusedError, match="takes 2 administrators"):
        put_back(tmp_path / "backup", vault.layout, accept=ada)
    put_back(tmp_path / "backup", vault.layout, accept=lambda tx: (*ada(tx), people.authenticate(tx, "bert", PASSWORD)))
    assert opened(vault, LATE).audit.show(1)[0]["detail"]["by"] == ["ada", "bert"]


def test_a_backup_behind_the_log_alone_is_accepted_too(vault: Vault, tmp_path: Path) -> None:
    """No key died since, but a batch came: what it held is lost, and its key dies at the next expiry."""
    back_up(vault, tmp_path / "backup")
    ingest(opened(vault), "mvno_pipe", usage([Usage(at="20261111120000", record_id="lost")]), "lost")
    with pytest.raises(RefusedError, match="later entries of the audit log"):
        put_back(tmp_path / "backup", vault.layout)
    told = put_back(tmp_path / "backup", vault.layout, accept=ada)

    assert (told.expiring, told.catalogue_generation) == ((), told.generation)
    assert told.unknown_keys == 5
    again = opened(vault, LATE)
    assert {fault.kind for fault in verify.verify(again).faults} == set()
    for name in ("olga", "piet"):
        app.confirm_person(again, name, ada_in(again))
    confirmed(again)
    assert answer(opened(vault, LATE), Order(), tmp_path / "out").records == 1


def test_keys_older_than_the_backup_are_refused(vault: Vault, tmp_path: Path) -> None:
    """An old copy of the key directory opens nothing, and is left as it is."""
    shutil.copytree(vault.layout.keys, tmp_path / "old keys")
    expire.expire(opened(vault, LATE))
    back_up(vault, tmp_path / "backup", at=LATE)
    where = Layout(tmp_path / "elsewhere", tmp_path / "old keys")

    with pytest.raises(FaultError, match="an old key directory"):
        restore.restore(tmp_path / "backup", where, Disk(), SetClock(LATE), from_environment, ada)
    assert (tmp_path / "old keys" / "epoch-1").exists()


def test_a_lost_ring_comes_back_from_the_backup(vault: Vault, tmp_path: Path) -> None:
    """Where the epoch key survived alone: from escrow, or in a token."""
    back_up(vault, tmp_path / "backup")
    vault.layout.ring(1).unlink()
    put_back(tmp_path / "backup", vault.layout)

    assert verify.verify(opened(vault)).faults == ()


def test_the_keys_of_another_vault_are_refused(vault: Vault, tmp_path: Path) -> None:
    """Before anything is in place."""
    back_up(vault, tmp_path / "backup")
    other = new_vault(tmp_path / "other")
    where = Layout(tmp_path / "elsewhere", other.layout.keys)

    with pytest.raises(FaultError, match="opening"):
        restore.restore(tmp_path / "backup", where, Disk(), SetClock(NOW), from_environment)
    assert not where.settings.exists()


def test_without_keys_nothing_is_copied(vault: Vault, tmp_path: Path) -> None:
    """A wrong key directory leaves nothing in the way of the next run, which may take a newer backup."""
    back_up(vault, tmp_path / "backup")
    where = Layout(tmp_path / "elsewhere", tmp_path / "no keys")

    with pytest.raises(FaultError, match="root key"):
        restore.restore(tmp_path / "backup", where, Disk(), SetClock(NOW), from_environment)
    assert not where.vault.exists()


@pytest.mark.parametrize("name", ["catalogue.db", "vault.toml", "policy.toml", "parquet", "manifest.json", "signature"])
def test_a_changed_backup_is_not_restored(vault: Vault, tmp_path: Path, name: str) -> None:
    """Whichever file it is; and `faults` names it."""
    state = back_up(vault, tmp_path / "backup").directory
    if name == "signature":
        stored = json.loads((state / "manifest.json").read_bytes())
        stored["manifest"]["generation"] = 7
        (state / "manifest.json").write_text(json.dumps(stored))
    elif name == "parquet":
        path = next((tmp_path / "backup" / "pool").rglob("*.parquet"))
        path.write_bytes(path.read_bytes()[:-1] + b"\0")
        assert [
            fault.endswith("was changed") for fault in backup.faults(tmp_path / "backup", vault.settings.public_key)
        ]
        path.unlink()
        assert [fault.endswith("is missing") for fault in backup.faults(tmp_path / "backup", vault.settings.public_key)]
    else:
        (state / name).write_bytes(b"changed")

    with pytest.raises(FaultError, match=r"changed|signature|missing"):
        put_back(tmp_path / "backup", vault.layout)
    assert not vault.layout.settings.exists()


@pytest.mark.parametrize("name", ["pool/../../x", "state/", "other/x", "pool/a//b"])
def test_a_manifest_can_not_name_a_file_outside(vault: Vault, tmp_path: Path, name: str) -> None:
    """Even one that the vault's own key signed."""
    with pytest.raises(FaultError, match="no file of a backup"):
        backup.place_of(back_up(vault, tmp_path / "backup"), name)


def test_a_vault_is_never_overwritten(vault: Vault, tmp_path: Path) -> None:
    """Nor is a directory that holds something else."""
    back_up(vault, tmp_path / "backup")
    with pytest.raises(RefusedError, match="is not empty"):
        restore.restore(tmp_path / "backup", vault.layout, Disk(), SetClock(NOW), from_environment)
    assert verify.verify(opened(vault)).faults == ()


def test_a_backup_has_a_directory_of_its_own(vault: Vault, tmp_path: Path) -> None:
    """Not in the vault, not around it, not among other files, not of another vault, and none is told as none."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    for target in (vault.layout.vault / "backup", vault.layout.keys, tmp_path, tmp_path / "full"):
        with pytest.raises(UsageError, match="backing up"):
            back_up(vault, target)
    back_up(new_vault(tmp_path / "other"), tmp_path / "backup")
    with pytest.raises(UsageError, match="another vault"):
        back_up(vault, tmp_path / "backup")
    with pytest.raises(UsageError, match="no whole backup"):
        backup.newest(tmp_path / "nothing")
    (tmp_path / "backup" / "state-1" / "manifest.json").write_text('{"manifest": {"kind": "x", "v": 1, "files": {}}}')
    with pytest.raises(FaultError, match="not one of version"):
        backup.newest(tmp_path / "backup")


@pytest.mark.slow
def test_a_backup_that_was_cut_short_leaves_the_one_before(vault: Vault, tmp_path: Path) -> None:
    """Stopped at step after step: what is there restores whole, and the next run completes."""
    target, first = tmp_path / "backup", back_up(vault, tmp_path / "backup")
    ingest(opened(vault), "mvno_pipe", usage([Usage(record_id="more")]), "more")
    for at in steps_on():
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        shutil.copytree(target, tmp_path / "run")
        disk = StoppingDisk()
        subject = opened(vault, NOW, disk)
        disk.steps, disk.at = 0, at
        try:
            with locks.writing(vault.layout):
                backup.backup(subject, tmp_path / "run")
        except Stopped:
            assert backup.faults(tmp_path / "run", vault.settings.public_key) == []
            assert backup.newest(tmp_path / "run").manifest["taken_at"] >= first.manifest["taken_at"]
        else:
            break
    assert at > 20


@pytest.mark.slow
def test_a_restore_that_was_cut_short_is_done_again(vault: Vault, tmp_path: Path) -> None:
    """Stopped at step after step: there is no vault, or the whole one; the second run ends as one run does."""
    back_up(vault, tmp_path / "backup")
    expire.expire(opened(vault, LATE))
    for at in steps_on():
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        layout, disk = layout_at(tmp_path / "run"), StoppingDisk(at)
        shutil.copytree(vault.layout.keys, layout.keys)
        try:
            restore.restore(tmp_path / "backup", layout, disk, SetClock(LATE), from_environment, ada)
        except Stopped:
            if not layout.settings.exists():
                restore.restore(tmp_path / "backup", layout, Disk(), SetClock(LATE), from_environment, ada)
            stopped = True
        else:
            stopped = False
        again = app.open_vault(layout, Disk(), SetClock(LATE), writer=True)
        assert len(expire.expire(again).certificates) > 0, at
        assert verify.verify(again).faults == (), at
        assert [entry["act"] for entry in again.audit.show(50)].count("restore") == 1
        if not stopped:
            break
    assert at > 20


def test_a_restore_that_was_killed_at_once_is_begun_again(vault: Vault, tmp_path: Path) -> None:
    """All that it left is the beginning of its mark, which is in nobody's way, and is swept."""
    back_up(vault, tmp_path / "backup")
    shutil.move(vault.layout.vault, tmp_path / "lost")
    vault.layout.vault.mkdir()
    left = vault.layout.vault / "vault.toml.restoring.part-0badcafe"
    left.write_bytes(b"half of it")
    put_back(tmp_path / "backup", vault.layout)
    again = opened(vault, LATE)
    expire.expire(again)
    assert not left.exists()
    assert verify.verify(again).faults == ()
