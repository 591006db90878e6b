"""Checkpoints: what is signed, what is never signed, and what an older one shows."""

from __future__ import annotations

import os

import pytest

from tests.support import opened
from tests.trafficvault.proof_house import expired
from trafficvault import app, chain, checkpoints, notes, sealing, signing
from trafficvault.audit import AuditLog
from trafficvault.catalogue import Row
from trafficvault.durable import Disk
from trafficvault.errors import FaultError, RefusedError
from trafficvault.tree import Tree
from trafficvault.vault import Vault
from trafficvault.verify import verify


def enter(vault: Vault, count: int) -> None:
    """Adds `count` entries."""
    with vault.catalogue.transaction() as tx:
        for _ in range(count):
            vault.audit.enter(tx, "test", None, {})
    vault.audit.flush()


def rows_of(vault: Vault) -> list[Row]:
    """All checkpoints."""
    with vault.catalogue.reading() as tx:
        return tx.select("checkpoints")


def test_a_checkpoint_is_of_the_log_as_it_is(stored: Vault) -> None:
    """Size and root are those of all entries, by a tree that was made at once; nothing new makes no new one."""
    row = checkpoints.make(stored)
    note = notes.read_checkpoint(row["note"], checkpoints.origin(stored), stored.settings.public_key)
    whole = Tree.without_disk(stored.layout, 0, {})
    whole.add(entry["hash"] for entry, _ in stored.audit.entries(chain.genesis(stored.settings.id), row["size"]))

    assert (note.size, note.root.hex()) == (row["size"], row["root"])
    assert note.root == whole.root()
    assert checkpoints.make(stored) == row
    assert len(rows_of(stored)) == 1
    assert verify(stored).faults == ()


def test_the_tree_grows_by_what_is_new(stored: Vault) -> None:
    """Over 300 entries, by steps across two levels of the tree, each root is that of the tree made at once."""
    for count in (1, 40, 215, 1, 60):
        enter(stored, count)
        row = checkpoints.make(stored)
        whole = Tree.without_disk(stored.layout, 0, {})
        whole.add(entry["hash"] for entry, _ in stored.audit.entries(chain.genesis(stored.settings.id), row["size"]))
        assert row["root"] == whole.root().hex()
    assert stored.layout.tree_level(8).stat().st_size == 32
    first = rows_of(stored)[0]
    assert checkpoints.require_extends(stored, first["note"]).now == row["size"]
    assert checkpoints.faults(stored) == []


@pytest.mark.parametrize("damage", ["changed", "cut", "longer", "removed", "none"])
def test_a_damaged_tree_is_named_and_made_again(stored: Vault, damage: str) -> None:
    """Whatever happened to its hashes, no false root is signed and the next checkpoint makes it whole."""
    enter(stored, 5)
    checkpoints.make(stored)
    path = stored.layout.tree_level(0)
    content = path.read_bytes()
    match damage:
        case "changed":
            path.write_bytes(content[:64] + bytes(32) + content[96:])
        case "cut":
            path.write_bytes(content[:-40])
        case "longer":
            path.write_bytes(content + b"left by a crash")
        case "removed":
            path.unlink()
    named = " ".join(checkpoints.faults(stored))
    assert ("it is not that of the log" in named) == (damage in ("changed", "cut", "removed"))
    enter(stored, 3)
    checkpoints.make(stored)
    assert checkpoints.faults(stored) == []
    assert checkpoints.require_extends(stored, rows_of(stored)[0]["note"]).before == rows_of(stored)[0]["size"]


def test_another_history_is_never_signed_for(stored: Vault) -> None:
    """When the log is not the one that was signed before, nothing more is signed, and `verify` says so."""
    row = checkpoints.make(stored)
    key = stored.keys.signing_key()
    other = notes.Checkpoint(checkpoints.origin(stored), row["size"], bytes(range(32)))
    with stored.catalogue.transaction() as tx:
        note = notes.sign_note(other.text(), other.origin, key)
        tx.put("checkpoints", **row | {"root": other.root.hex(), "note": note})
    enter(stored, 1)
    with pytest.raises(FaultError, match="is not the one whose first"):
        checkpoints.make(stored)
    assert "the log is not the one that was signed" in " ".join(checkpoints.faults(stored))
    with pytest.raises(FaultError, match="does not begin"):
        checkpoints.require_extends(stored, note)


def test_a_log_that_was_put_back_does_not_reach_a_kept_checkpoint(stored: Vault) -> None:
    """A checkpoint of more entries than there are shows that the end was taken away; another key's is refused."""
    kept = checkpoints.make(stored)
    longer = notes.Checkpoint(checkpoints.origin(stored), kept["size"] + 1, bytes(32))
    note = notes.sign_note(longer.text(), longer.origin, stored.keys.signing_key())
    with pytest.raises(FaultError, match="its end was taken away"):
        checkpoints.require_extends(stored, note)
    foreign = notes.sign_note(longer.text(), longer.origin, os.urandom(32))
    with pytest.raises(FaultError, match="it has no signature of key"):
        checkpoints.require_extends(stored, foreign)


def test_an_entry_without_a_checkpoint_is_not_proved(stored: Vault) -> None:
    """Before the first, and for what came after the newest, the way out is named; a foreign note proves nothing."""
    with pytest.raises(RefusedError, match="newest checkpoint is of 0 entries"):
        checkpoints.prove_entry(stored, 1)
    row = checkpoints.make(stored)
    enter(stored, 1)
    with pytest.raises(RefusedError, match="newest checkpoint is of") as refused:
        checkpoints.prove_entry(stored, row["size"] + 1)
    assert refused.value.hint == "run `audit checkpoint` first"
    checkpoints.make(stored)
    with pytest.raises(RefusedError, match="the checkpoint is of"):
        checkpoints.prove_entry(stored, row["size"] + 1, note=row["note"])
    false = notes.Checkpoint(checkpoints.origin(stored), row["size"], bytes(32))
    with pytest.raises(FaultError, match="does not lead"):
        checkpoints.prove_entry(stored, 1, note=notes.sign_note(false.text(), false.origin, stored.keys.signing_key()))


def test_a_certificate_that_no_entry_names_is_a_fault(stored: Vault) -> None:
    """The vault's own signature is not enough: its log must name what it stated."""
    late, _ = expired(stored)
    with late.catalogue.transaction() as tx:
        row = tx.select("certificates")[0]
        body = row["body"].replace('"v":1', '"v":1,"x":1')
        signature = signing.sign(late.keys.signing_key(), body.encode())
        tx.put("certificates", **row | {"body": body, "signature": signature})
    assert [fault.kind for fault in verify(late).faults] == ["changed"]
    assert "does not name it" in verify(late).faults[0].sentence


def test_entries_are_read_from_where_one_likes(stored: Vault) -> None:
    """From any entry on, up to any other; what is not there is a fault."""
    size = checkpoints.make(stored)["size"]
    entries = [entry for entry, _ in stored.audit.entries(chain.genesis(stored.settings.id), size)]
    after = chain.Head(2, entries[1]["hash"])
    assert [entry["seq"] for entry, _ in stored.audit.entries(after, 4)] == [3, 4]
    with pytest.raises(FaultError, match=f"ends at entry {size}"):
        list(stored.audit.entries(after, size + 1))
    with pytest.raises(FaultError, match="ends before it"):
        stored.audit.line(size + 1)


def test_the_log_of_the_version_before_goes_on(stored: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries of version 1 stay readable beside new ones, in one segment, in one tree."""
    reader = app.open_vault(stored.layout, Disk(), stored.clock)
    with monkeypatch.context() as patch:
        patch.setattr(chain, "VERSION", 1)
        custody = reader.keys.custody("audit")
        patch.setattr(AuditLog, "_new_body_key", lambda log, seq: sealing.derive(custody.key("audit"), "segment", "1"))
        with reader.catalogue.transaction() as tx:
            reader.audit.enter(tx, "old", "Anna", {"x": 1})
        reader.audit.flush()
    vault = opened(stored)
    enter(vault, 1)
    checkpoints.make(vault)
    assert [entry["act"] for entry in vault.audit.show(2)] == ["old", "test"]
    assert verify(vault).faults == ()
