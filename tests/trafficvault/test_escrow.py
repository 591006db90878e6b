"""Escrow: one copy of the living epoch key, for one private key; a lost key directory comes back from it."""

from __future__ import annotations

import errno
import json
import os
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from tests.scenarios.test_backup_proof import expired
from tests.support import NOW, Usage, every_byte, ingest, new_vault, opened, signed_in, usage
from tests.thorough import steps_on
from tests.trafficvault.key_choices import answering, choice
from tests.trafficvault.test_backup import ada
from tests.trafficvault.test_rotation import Stopped, StoppingDisk
from trafficvault import app, backup, escrow, expire, locks, restore, rotation, status, verify
from trafficvault.clock import SetClock
from trafficvault.durable import Disk
from trafficvault.errors import FaultError, RefusedError, UsageError
from trafficvault.layout import Layout
from trafficvault.provider import from_environment
from trafficvault.vault import Vault

LATE = NOW + timedelta(days=3)
OLD = "20260521120000"


@pytest.fixture(scope="module")
def private_key() -> X25519PrivateKey:
    """Its private half lies in a safe."""
    return X25519PrivateKey.generate()


@pytest.fixture
def pem(tmp_path: Path, private_key: X25519PrivateKey) -> Path:
    """The public half, beside the private one and one under a passphrase."""
    path = tmp_path / "escrow.pem"
    public = private_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    path.write_bytes(public)
    for name, how in (("plain", NoEncryption()), ("locked", BestAvailableEncryption(b"its passphrase"))):
        found = private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)
        (tmp_path / f"{name}.pem").write_bytes(found)
    return path


@pytest.fixture
def to(tmp_path: Path) -> Path:
    """Where the copy goes."""
    (tmp_path / "safe").mkdir()
    return tmp_path / "safe"


@pytest.fixture
def vault(tmp_path: Path, pem: Path, to: Path) -> Vault:
    """A vault with an escrow, a record that is about to expire and one that is not."""
    vault = new_vault(tmp_path, now=NOW)
    ingest(vault, "mvno_pipe", usage([Usage(at=OLD, record_id="old"), Usage(record_id="new")]))
    escrow.set_(vault, signed_in(vault, "ada"), pem, to)
    return vault


class ReadOnly(Disk):
    """Removes nothing in one place."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def remove(self, path: Path) -> None:
        """Fails as a file system that is mounted to be read."""
        if path.parent == self.place:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        super().remove(path)


def names(to: Path) -> list[str]:
    """The copies, without the vault's id."""
    return sorted(path.name.rpartition("-")[2] for path in to.iterdir())


def test_there_is_one_copy_and_each_renewal_replaces_it(vault: Vault, to: Path) -> None:
    """An expiry leaves no copy of the epoch key that it destroyed; nothing in it is in clear."""
    assert names(to) == ["1.json"]
    late = opened(vault, LATE)
    expire.expire(late)

    assert names(to) == ["2.json"]
    assert escrow.problems(late) == []
    epoch = late.keys.provider.export_epoch(2)
    assert epoch not in every_byte(to)
    assert epoch.hex().encode() not in every_byte(to)


@pytest.mark.parametrize("which", ["plain", "locked"])
def test_a_lost_key_directory_comes_back_with_a_backup(vault: Vault, to: Path, tmp_path: Path, which: str) -> None:
    """From the copy, its private key and the backup alone: every record that lives, and none that expired."""
    late = opened(vault, LATE)
    expire.expire(late)
    with locks.writing(vault.layout):
        backup.backup(late, tmp_path / "backup")
    where = Layout(tmp_path / "elsewhere" / "vault", tmp_path / "elsewhere" / "keys")
    ask = answering({escrow.VARIABLE: "its passphrase"})

    assert escrow.open_(next(to.iterdir()), tmp_path / f"{which}.pem", where, Disk(), ask) == 2
    with pytest.raises(RefusedError, match="remember nothing of the audit log"):
        restore.restore(tmp_path / "backup", where, Disk(), SetClock(LATE), from_environment)
    told = restore.restore(tmp_path / "backup", where, Disk(), SetClock(LATE), from_environment, ada)
    again = app.open_vault(where, Disk(), SetClock(LATE), writer=True)
    assert (told.lost_entries, told.expiring, told.escrow_off) == (None, (), True)
    assert again.keys.key_ids() == late.keys.key_ids()
    assert {fault.kind for fault in verify.verify(again).faults} == set()
    assert rotation.rotate(again, signed_in(again, "ada"), answering()) == 3


def test_a_place_that_is_gone_stops_no_expiry_and_is_told(vault: Vault, to: Path) -> None:
    """The check of the status fails until the copy is there; the next writer makes it."""
    shutil.move(to, to.with_name("unmounted"))
    late = opened(vault, LATE)
    assert len(expire.expire(late).certificates) > 0

    assert any("no copy of the living epoch key" in sentence for sentence in status.status(late).wrong)
    shutil.move(to.with_name("unmounted"), to)
    assert any("1 copies of destroyed epoch keys" in sentence for sentence in status.status(late).wrong)
    opened(vault, LATE)
    assert escrow.problems(late) == []
    assert names(to) == ["2.json"]


def test_the_escrow_moves_and_ends(vault: Vault, pem: Path, to: Path, tmp_path: Path) -> None:
    """No copy is left where it was; the log says where it was and to which key."""
    other = tmp_path / "other safe"
    other.mkdir()
    ada = signed_in(vault, "ada")
    escrow.set_(vault, ada, pem, other)
    assert (names(to), names(other)) == ([], ["1.json"])
    escrow.end(vault, ada)

    assert names(other) == []
    assert escrow.problems(vault) == []
    assert [entry["detail"]["to"] for entry in vault.audit.show(3)] == [str(to), str(other), str(other)]
    with pytest.raises(RefusedError, match="none is set"):
        escrow.end(vault, ada)


def test_a_copy_out_of_reach_is_not_forgotten_unasked(vault: Vault, pem: Path, to: Path, tmp_path: Path) -> None:
    """The escrow ends when the place of each of its copies is there, or when an administrator forgets those that are
    not; the log says which. One that was refused took nothing off.
    """
    other, away = tmp_path / "other safe", to.with_name("unmounted")
    other.mkdir()
    ada = signed_in(vault, "ada")
    shutil.move(to, away)
    found = escrow.set_(vault, ada, pem, other)
    with pytest.raises(RefusedError, match=f"^ending the escrow: {to} is not there, and .* add --forget"):
        escrow.end(vault, ada)
    assert names(other) == ["1.json"]
    with vault.catalogue.reading() as tx:
        assert escrow.current(tx) == replace(found, leaves=(to,))

    assert escrow.end(vault, ada, forget=True) == [to]
    assert (names(other), names(away), escrow.problems(vault)) == ([], ["1.json"], [])
    told = [entry["detail"] for entry in vault.audit.show(1)]
    assert told == [{"key": None, "to": str(other), "forgotten": [str(to)]}]


def test_a_copy_that_can_not_be_removed_is_not_forgotten_unasked(vault: Vault, to: Path) -> None:
    """A place that can be read alone is as far as one that is not there."""
    ada, fixed = signed_in(vault, "ada"), replace(vault, disk=ReadOnly(to))
    with pytest.raises(RefusedError, match=r"its copy can't be removed \(Read-only file system\)"):
        escrow.end(fixed, ada)
    assert escrow.problems(vault) == []
    assert escrow.end(fixed, ada, forget=True) == [to]
    assert escrow.problems(vault) == []


def test_who_may_not_and_what_can_not_be(vault: Vault, pem: Path, to: Path, tmp_path: Path) -> None:
    """Only administrators; only an X25519 key; only a directory that is there and apart."""
    ada = signed_in(vault, "ada")
    for act in (
        lambda: escrow.set_(vault, signed_in(vault, "otto"), pem, to),
        lambda: escrow.end(vault, signed_in(vault, "otto")),
    ):
        with pytest.raises(RefusedError, match="role administrator"):
            act()
    wrong = tmp_path / "wrong.pem"
    wrong.write_bytes(
        Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    for key, place, words in (
        (wrong, to, "no X25519 key"),
        (tmp_path / "none.pem", to, "no public key"),
        (pem, tmp_path / "nowhere", "no directory"),
        (pem, vault.layout.keys, "lies in"),
    ):
        with pytest.raises(UsageError, match=words):
            escrow.set_(vault, ada, key, place)
    assert names(to) == ["1.json"]


def test_a_copy_opens_with_its_own_key_only(vault: Vault, to: Path, tmp_path: Path) -> None:
    """Changed, of another generation, of another form, or another private key: no key directory is made."""
    copy = next(to.iterdir())
    where = Layout(tmp_path / "v", tmp_path / "k")
    content = json.loads(copy.read_bytes())
    for change in ({"generation": 2}, {"vault": "other"}, {"sealed": "00" * 80}, {"v": 2}, {"sealed": "x"}):
        (tmp_path / "copy").write_text(json.dumps(content | change))
        with pytest.raises(FaultError, match="opening an escrow copy"):
            escrow.open_(tmp_path / "copy", tmp_path / "plain.pem", where, Disk(), answering({}))
    for name, key in (("other", X25519PrivateKey.generate()), ("signing", Ed25519PrivateKey.generate())):
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (tmp_path / f"{name}.pem").write_bytes(pem)
    with pytest.raises(FaultError, match="another key"):
        escrow.open_(copy, tmp_path / "other.pem", where, Disk(), answering({}))
    for name in ("signing", "none", "escrow"):
        with pytest.raises(UsageError, match="opening an escrow copy"):
            escrow.open_(copy, tmp_path / f"{name}.pem", where, Disk(), answering({}))
    with pytest.raises(UsageError, match="passphrase is another"):
        escrow.open_(copy, tmp_path / "locked.pem", where, Disk(), answering({escrow.VARIABLE: "a guess"}))
    with pytest.raises(UsageError, match="can't be read"):
        escrow.open_(tmp_path / "no copy", tmp_path / "plain.pem", where, Disk(), answering({}))
    assert not where.keys.exists()
    with pytest.raises(RefusedError, match="is not empty"):
        escrow.open_(copy, tmp_path / "plain.pem", vault.layout, Disk(), answering({}))


def test_a_token_has_no_escrow(tmp_path: Path, pem: Path, to: Path) -> None:
    """Setting one is refused, and so is moving to a token while one is set."""
    vault = expired(tmp_path / "hsm", "pkcs11")
    with pytest.raises(RefusedError, match="no escrow copy can be made"):
        escrow.set_(vault, signed_in(vault, "ada"), pem, to)
    local = new_vault(tmp_path)
    ada = signed_in(local, "ada")
    escrow.set_(local, ada, pem, to)
    with pytest.raises(RefusedError, match="have no escrow"):
        rotation.move(local, ada, choice("pkcs11"), answering())


@pytest.mark.slow
def test_an_expiry_cut_short_leaves_a_copy_and_soon_one_only(vault: Vault, to: Path, tmp_path: Path) -> None:
    """Stopped at step after step: a copy of the ruling epoch key is there after the next writer, and no other."""
    shutil.copytree(tmp_path, tmp_path.with_name("master"), dirs_exist_ok=True)
    for at in steps_on():
        for part in (vault.layout.vault, vault.layout.keys, to):
            shutil.rmtree(part)
            shutil.copytree(tmp_path.with_name("master") / part.name, part)
        disk = StoppingDisk()
        late = opened(vault, LATE, disk)
        disk.steps, disk.at = 0, at
        try:
            expire.expire(late)
        except Stopped:
            assert len(names(to)) >= 1
            again = opened(vault, LATE)
            assert names(to) == [f"{again.keys.generation}.json"]
            assert escrow.problems(again) == []
        else:
            break
    assert at > 20


def test_a_copy_that_was_not_named_yet_goes_too(vault: Vault, to: Path) -> None:
    """A run that was killed before it gave its copy a name left one that opens as well: it is told, and removed."""
    (copy,) = to.iterdir()
    shutil.copy(copy, left := to / f"{copy.name}.part-0badcafe")
    assert "still has 1 copies" in escrow.problems(vault)[0]
    opened(vault)
    assert list(to.iterdir()) == [copy]
    shutil.copy(copy, left)
    escrow.end(vault, signed_in(vault, "ada"))
    assert list(to.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("moves", [True, False], ids=["another place", "another key"])
def test_a_change_cut_short_is_finished_by_the_next_writer(
    vault: Vault, to: Path, tmp_path: Path, *, moves: bool
) -> None:
    """Stopped at any step: the escrow is as it was or as it is to be, with one copy, for its own key, and no other."""
    (tmp_path / "other safe").mkdir()
    other, place = X25519PrivateKey.generate(), tmp_path / "other safe" if moves else to
    public = other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "other.pem").write_bytes(public)
    private = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "other-private.pem").write_bytes(private)
    parts = (vault.layout.vault, vault.layout.keys, to, tmp_path / "other safe")
    shutil.copytree(tmp_path, master := tmp_path.with_name("master"), dirs_exist_ok=True)
    at, stopped = 0, True
    while stopped:
        at, stopped = at + 1, False
        for part in parts:
            shutil.rmtree(part)
            shutil.copytree(master / part.name, part)
        disk = StoppingDisk()
        house = opened(vault, NOW, disk)
        disk.steps, disk.at = 0, at
        try:
            escrow.set_(house, signed_in(house, "ada"), tmp_path / "other.pem", place)
        except Stopped:
            stopped = True
        house.catalogue.close()
        again = opened(vault, NOW)
        with again.catalogue.reading() as tx:
            found = escrow.current(tx)
        assert found is not None
        changed = found.key == other.public_key().public_bytes_raw().hex()
        assert escrow.problems(again) == [], at
        (copy,) = (one for where in {to, place} for one in where.iterdir())
        assert copy.parent == (place if changed else to), at
        private_half = tmp_path / ("other-private.pem" if changed else "plain.pem")
        where = Layout(tmp_path / "v", tmp_path / f"k{at}")
        assert escrow.open_(copy, private_half, where, Disk(), answering({})) == 1, at
        again.catalogue.close()
    assert changed
    assert at > 5


def test_a_place_that_is_gone_is_told_until_it_was_cleared(vault: Vault, pem: Path, to: Path, tmp_path: Path) -> None:
    """An escrow that moves from a disk which is not there leaves its copy on it, and says so until a writer sees it."""
    (tmp_path / "other safe").mkdir()
    shutil.move(to, to.with_name("unmounted"))
    escrow.set_(vault, signed_in(vault, "ada"), pem, tmp_path / "other safe")
    assert any("is not there" in sentence for sentence in escrow.problems(opened(vault)))
    shutil.move(to.with_name("unmounted"), to)
    assert escrow.problems(opened(vault)) == []
    assert names(to) == []


def test_a_place_that_can_only_be_read_is_told_until_it_was_cleared(
    vault: Vault, pem: Path, to: Path, tmp_path: Path
) -> None:
    """It stops no change: the copy in the new place counts, and the old one goes as soon as it can be removed."""
    (place := tmp_path / "other safe").mkdir()
    found = escrow.set_(replace(vault, disk=ReadOnly(to)), signed_in(vault, "ada"), pem, place)
    assert (found.made, found.leaves) == (True, (to,))
    (told,) = escrow.problems(vault)
    assert "where the escrow was before, still has a copy; see that it can be written" in told
    escrow.refresh(vault)
    assert escrow.problems(vault) == []
    assert list(to.iterdir()) == []
