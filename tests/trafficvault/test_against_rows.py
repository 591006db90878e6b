"""An old copy of the catalogue and of the log against today's keys: rows that were removed, segments that were dropped,
and what an older version sealed under a key that lives with the vault.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.support import NOW, opened
from tests.trafficvault.test_against_kinds import back, copy_of, key_of, of_kind, tried
from tests.trafficvault.test_backup import back_up
from tests.trafficvault.test_registers import ends, run
from tests.trafficvault.test_row_keys import DAY, YEARS, sealed, without_keys
from tests.trafficvault.test_row_keys import stored as stored
from tests.trafficvault.test_segments import SIZE, YEAR
from tests.trafficvault.test_segments import _small_segments as _small_segments
from tests.trafficvault.test_segments import logged as logged
from trafficvault import attempts, chain, expire, kinds, row_keys, sealing, segments
from trafficvault.audit import AuditLog
from trafficvault.errors import FaultError
from trafficvault.expectation import Expectation
from trafficvault.layout import segment_key_id
from trafficvault.vault import Vault

NAMES = sorted(attempts.ROWS.values())


def states(vault: Vault, copy: Path) -> dict[str, tuple[str, bool]]:
    """State of the row of each table, and whether it opened."""
    found = tried(vault, copy, with_held=True)
    return {one.kind: (one.state, one.is_open) for one in found.files if one.kind in NAMES}


def test_a_row_that_was_removed_opens_no_more(stored: Vault) -> None:
    """Each is dead from its own removal on; a row key that came back opens it, and is a fault."""
    copy = copy_of(stored)
    assert states(stored, copy) == dict.fromkeys(NAMES, ("living", True))
    dead = key_of(stored, next(row["key"] for table, row in sealed(stored) if table == "proposals"))
    late, _ = run(stored, ends(NOW, "proposals") + 2 * DAY)
    assert states(late, copy) == dict.fromkeys(NAMES, ("living", True)) | {"proposal": ("expired", False)}
    back(late, who=dead)
    assert states(late, copy)["proposal"] == ("expired", True)
    late, _ = run(late, YEARS + 2 * DAY)
    assert states(late, copy) | {"proposal": ("expired", False)} == dict.fromkeys(NAMES, ("expired", False))


def test_rows_of_before_they_had_keys_are_told(stored: Vault) -> None:
    """They lie under a key that lives with the vault, sealed anew since or removed: that is said, and no fault."""
    without_keys(stored)
    copy = copy_of(stored)
    assert states(stored, copy) == dict.fromkeys(NAMES, ("living", True))
    late, _ = run(stored, NOW + DAY)
    assert states(late, copy) == dict.fromkeys(NAMES, ("shared", True))
    late, _ = run(late, YEARS + 2 * DAY)
    assert states(late, copy) == dict.fromkeys(NAMES, ("shared", True))
    found = tried(late, copy, with_held=True)
    assert found.faults == ()
    assert any(one.startswith("of what an older version sealed") for one in found.sentences())


def test_a_catalogue_that_cannot_be_read_is_a_fault(stored: Vault) -> None:
    """Cut, foreign or changed: it is named, and not passed over; a table of a version that lacked it is."""
    copy = copy_of(stored)
    path = copy / "catalogue.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP TABLE annotations")
    assert sorted(states(stored, copy)) == [one for one in NAMES if one != "annotation"]
    for change in ("UPDATE batches SET sealed = 'xyz'", "ALTER TABLE rights RENAME sealed TO other", None):
        with closing(sqlite3.connect(path)) as connection, connection:
            if change is not None:
                connection.execute(change)
        if change is None:
            path.write_bytes(b"SQLite format 3\x00" + bytes(4000))
        with pytest.raises(FaultError, match=r"reading catalogue\.db of the copy"):
            tried(stored, copy)


def enter(vault: Vault, *, flushed: bool = True) -> None:
    """Adds an entry; without `flushed` it waits in the outbox."""
    with vault.catalogue.transaction() as tx:
        vault.audit.enter(tx, "test", None, {})
    if flushed:
        vault.audit.flush()


def test_a_dropped_segment_is_dead(logged: Vault) -> None:
    """The living ones open, with an entry that waits for its segment; one whose key came back is a fault."""
    enter(logged, flushed=False)
    copy, dead = copy_of(logged), key_of(logged, segment_key_id(2))
    found = tried(logged, copy)
    assert of_kind(found, attempts.WAITING) == [("living", True)]
    assert set(of_kind(found, kinds.SEGMENT)) == {("living", True)}
    late = opened(logged, NOW + YEAR)
    expire.expire(late)
    segments.expire(late)
    told = of_kind(tried(late, copy), kinds.SEGMENT)
    assert told == [("expired", False)] * 3 + [("living", True)]
    back(late, who=dead)
    assert [(one.kind, one.file) for one in tried(late, copy).faults] == [("audit segment", "audit/00000002.log")]


def test_a_segment_that_this_vault_never_had_is_strange(logged: Vault) -> None:
    """A copy that is further than the log: nothing should open it; the file's name says nothing of which it is."""
    expectation = Expectation.of(logged)
    assert expectation.of_segment(4, own_key=True).opened == "living"
    assert expectation.of_segment(9, own_key=True).state("audit/9") == "unknown"
    copy = copy_of(logged)
    (copy / "audit" / "00000001.log").rename(copy / "audit" / "00000009.log")
    assert set(of_kind(tried(logged, copy), kinds.SEGMENT)) == {("living", True)}


def test_entries_of_the_version_before_are_told(logged: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside new ones in one segment: they lie under a key that lives with the vault, also when it was dropped."""
    with monkeypatch.context() as patch:
        patch.setattr(chain, "VERSION", 1)
        key = logged.keys.custody("audit").key("audit")
        patch.setattr(AuditLog, "_new_body_key", lambda log, seq: sealing.derive(key, "segment", "4"))
        enter(logged)
    copy = copy_of(logged)
    assert len(of_kind(tried(logged, copy), kinds.SEGMENT)) == 5
    vault = opened(logged)
    for _ in range(2 * SIZE):
        enter(vault)
    late = opened(vault, NOW + YEAR)
    segments.expire(late)
    found = of_kind(tried(late, copy), kinds.SEGMENT)
    assert sorted(found) == [("expired", False)] * 4 + [("shared", True)]
    assert row_keys.SHARED not in {one.opened_by for one in tried(late, copy).faults}


def test_a_backup_is_a_copy(logged: Vault, tmp_path: Path) -> None:
    """Its pool and its state, with a catalogue that has no write-ahead log: each of its files has a kind, and opens."""
    back_up(logged, tmp_path / "backup", at=NOW)
    found = tried(logged, tmp_path / "backup")
    assert found.strangers == 0
    assert {kinds.RECORDS, kinds.SEGMENT, attempts.NAMES} <= set(found.kinds())
    assert {(one.state, one.is_open) for one in found.files} == {("living", True)}
    assert [one.keys for one in found.copied] == [found.keys]
