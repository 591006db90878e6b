"""The audit log forgets: what is dropped when, what stays provable, and runs that broke off at every step."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support import FAST, NOW, PASSWORD, Usage, ingest, layout_at, opened, usage
from tests.trafficvault.log_house import verify_chain
from trafficvault import app, attestation, certificates, checkpoints, expire, locks, segments
from trafficvault.audit import AuditLog
from trafficvault.chain import Dropped, Head
from trafficvault.clock import SetClock
from trafficvault.durable import Disk
from trafficvault.errors import FaultError, RefusedError, VaultError
from trafficvault.layout import segment_key_id
from trafficvault.vault import Vault
from trafficvault.verify import verify

SIZE = 4
YEAR = timedelta(days=370)


class Stopped(BaseException):
    """The end of a process."""


class StoppingDisk(Disk):
    """Stops at the `at`-th step."""

    def __init__(self, at: int) -> None:
        self.at, self.steps = at, 0

    def step(self, name: str) -> None:
        """One step further."""
        self.steps += 1
        if self.steps == self.at:
            raise Stopped(name)


@pytest.fixture(autouse=True)
def _small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four entries to a segment."""
    defaults = AuditLog.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "entries_per_segment", SIZE)


@pytest.fixture
def logged(tmp_path: Path) -> Vault:
    """A vault with a little more than three segments of entries, all of one day, that believes a clock for years."""
    vault = app.create(layout_at(tmp_path), "telecom", [("ada", PASSWORD)], Disk(), SetClock(NOW), FAST)
    policy = vault.layout.policy
    policy.write_text(policy.read_text().replace('max_clock_step = "P7D"', 'max_clock_step = "P4000D"'))
    vault = opened(vault)
    ingest(vault, "mvno_pipe", usage([Usage()]), "S4PGWM000001")
    checkpoints.make(vault)
    enter(vault, 10)
    return opened(vault)


def enter(vault: Vault, count: int) -> None:
    """Adds `count` entries."""
    for _ in range(count):
        with vault.catalogue.transaction() as tx:
            vault.audit.enter(tx, "test", None, {})
        vault.audit.flush()


def begins(vault: Vault) -> Dropped:
    """Where the log begins."""
    with vault.catalogue.reading() as tx:
        return vault.audit.dropped(tx)


def audit_keys(vault: Vault) -> set[str]:
    """The keys of segments in the ring."""
    return {name for name in vault.keys.key_ids() if name.startswith("audit/")}


def test_each_segment_has_a_key_of_its_own(logged: Vault) -> None:
    """As many as there are segments, and one ahead; no act but `audit` gets one without records."""
    assert audit_keys(logged) == {segment_key_id(number) for number in range(1, 6)}
    with pytest.raises(RefusedError, match="opens no records"):
        logged.keys.custody("expire").key("audit/1")


def test_a_process_without_the_writers_lock_makes_no_key(logged: Vault) -> None:
    """It enters as far as the keys reach that are there, and then says what to do; a writer goes on."""
    reader = app.open_vault(logged.layout, Disk(), logged.clock)
    with pytest.raises(VaultError, match="no key in the ring") as stopped:
        enter(reader, 3 * SIZE)
    assert stopped.value.hint is not None
    enter(opened(logged), 3 * SIZE)
    assert verify(opened(logged)).faults == ()


def test_nothing_is_dropped_before_its_term(logged: Vault) -> None:
    """A minute before the year is over everything stays; when it is, the full segments go, and not the last one."""
    early = opened(logged, NOW + timedelta(days=365, minutes=-1))
    assert segments.plan(early) == []
    assert segments.expire(early) == ([], True)
    late = opened(logged, NOW + timedelta(days=365))
    assert [item.kind for item in segments.plan(late)] == ["audit"] * 3
    assert all("audit_term is P1Y" in item.reason for item in segments.plan(late))


def test_what_is_dropped_can_not_be_read_and_is_certified(logged: Vault) -> None:
    """Keys and files are gone, the rest of the log is whole, and a certificate each says which entries went."""
    before = json.loads(logged.audit.line(3 * SIZE))["hash"]
    old = logged.layout.segment(1).read_bytes()
    late = opened(logged, NOW + YEAR)
    done = expire.expire(late)

    mine = [body for body in done.certificates if body["what"] == "audit"]
    assert [(body["first"], body["last"], body["keys"]) for body in mine] == [
        (1, 4, ["audit/1"]),
        (5, 8, ["audit/2"]),
        (9, 12, ["audit/3"]),
    ]
    assert begins(late) == Dropped(3, Head(3 * SIZE, before))
    assert not audit_keys(late) & {"audit/1", "audit/2", "audit/3"}
    assert not late.layout.segment(3).exists()
    assert late.audit.show(1000)[0]["seq"] == 3 * SIZE + 1
    assert verify(late).faults == ()
    # An old file, put back, is no part of the log, opens with no key, and goes again.
    late.layout.segment(1).write_bytes(old)
    assert [kind for kind, _ in late.audit.faults()] == ["extra"]
    assert segments.expire(late) == ([], True)
    assert late.audit.faults() == []


def test_a_segment_verifies_alone(logged: Vault) -> None:
    """With the hash before it and the public key; what follows does not matter."""
    directory, key = logged.layout.audit, logged.settings.public_key
    before = Head(SIZE, json.loads(logged.audit.line(SIZE))["hash"])
    logged.layout.segment(3).write_bytes(b"rubbish\n")
    assert verify_chain(directory, Dropped(1, before), key, SIZE, until=2).seq == 2 * SIZE
    with pytest.raises(FaultError):
        verify_chain(directory, Dropped(2, before), key, SIZE, until=3)


def test_a_cut_end_is_still_seen(logged: Vault) -> None:
    """After dropping, a log whose end was taken is named, and so is one whose new beginning is missing."""
    late = opened(logged, NOW + YEAR)
    expire.expire(late)
    last = sorted(late.layout.audit.iterdir())[-1]
    content = last.read_bytes()
    last.write_bytes(b"".join(content.splitlines(keepends=True)[:-1]))
    assert {kind for kind, _ in late.audit.faults()} & {"truncated", "missing"}
    last.write_bytes(content)
    assert late.audit.faults() == []
    late.layout.segment(4).rename(late.layout.vault / "away")
    assert "missing" in {kind for kind, _ in late.audit.faults()}


def test_old_checkpoints_and_certificates_stay_provable(logged: Vault) -> None:
    """A checkpoint and a certificate of entries that were dropped are still proved, with the tree alone."""
    early = checkpoints.make(logged)
    middle = opened(logged, NOW + timedelta(days=200))
    issued = expire.expire(middle).certificates[0]
    enter(middle, 2 * SIZE)
    kept = checkpoints.make(middle)
    late = opened(logged, NOW + timedelta(days=200) + YEAR)
    expire.expire(late)
    checkpoints.make(late)

    assert begins(late).head.seq > issued["entry"]
    assert checkpoints.require_extends(late, early["note"]).before == early["size"]
    assert checkpoints.require_extends(late, kept["note"]).before == kept["size"]
    export = certificates.export(late, issued["id"], kept["note"])
    assert len(attestation.check(export, late.settings.public_key, kept["note"]).proved) == 3
    assert verify(late).faults == ()


def test_a_tree_that_is_lost_is_made_again_as_far_as_the_log_goes(logged: Vault) -> None:
    """After dropping, its frontier gives every root; only proofs into what was dropped can't be made any more."""
    with logged.catalogue.reading() as tx:
        early = tx.select("checkpoints")[0]
    late = opened(logged, NOW + YEAR)
    expire.expire(late)
    newest = checkpoints.make(late)
    for path in late.layout.tree.iterdir():
        path.unlink()
    assert "tree: it is not that of the log" in " ".join(fault.sentence for fault in verify(late).faults)
    enter(late, 1)
    after = checkpoints.make(late)

    assert verify(late).faults == ()
    assert checkpoints.require_extends(late, newest["note"]).now == after["size"]
    with pytest.raises(FaultError, match="are lost"):
        checkpoints.require_extends(late, early["note"])


def test_a_run_that_broke_off_is_finished(logged: Vault) -> None:
    """Stopped at each step in turn: the next run ends with the same state, each segment certified once."""
    copy = logged.layout.vault.parent
    at = 0
    while True:
        at += 2
        place = copy / f"run{at}"
        for name in ("vault", "vault.keys"):
            shutil.copytree(copy / name, place / name, ignore=shutil.ignore_patterns("reserve"))
        first = app.open_vault(layout_at(place), disk := StoppingDisk(10**9), SetClock(NOW + YEAR), writer=True)
        disk.at = disk.steps + at
        try:
            segments.expire(first)
            stopped = False
        except Stopped:
            stopped = True
        again = app.open_vault(layout_at(place), Disk(), SetClock(NOW + YEAR + timedelta(days=1)), writer=True)
        segments.expire(again)
        mine = [one["segment"] for one in certificates.listing(again) if one["what"] == "audit"]
        assert sorted(mine) == [1, 2, 3]
        assert not audit_keys(again) & {"audit/1", "audit/2", "audit/3"}
        assert again.layout.segment(4).exists()
        assert not again.layout.segment(3).exists()
        assert verify(again).faults == ()
        again.catalogue.close()
        first.catalogue.close()
        shutil.rmtree(place)
        if not stopped:
            break
    assert at > 15


def test_a_killed_run_keeps_how_its_keys_died(logged: Vault) -> None:
    """A reader had not ended then. The next run has other segments to drop as well, and says of each what was so."""

    class Killing(Disk):
        def step(self, name: str) -> None:
            if name.startswith("before unlink epoch-"):
                raise Stopped(name)

    first = opened(logged, NOW + YEAR, Killing())
    hurried = replace(first, settings=replace(first.settings, lease_seconds=0))
    with locks.reading(first.layout), pytest.raises(Stopped):
        segments.expire(hurried)
    later = opened(logged, NOW + YEAR)
    generation = later.keys.generation
    enter(later, SIZE)
    again = opened(logged, NOW + 2 * YEAR)
    issued, _ = segments.expire(again)
    told = {body["segment"]: (body["generation"], body["leases_ended"]) for body in issued}
    assert {number: how for number, how in told.items() if number <= 3} == dict.fromkeys((1, 2, 3), (generation, False))
    assert {how for number, how in told.items() if number > 3} == {(generation + 1, True)}


def test_a_clock_that_was_not_believed_lengthens_nothing(logged: Vault) -> None:
    """An entry written at a jumped clock does not count for the term of its segment."""
    jumped = opened(logged, NOW + timedelta(days=5000))
    enter(jumped, SIZE)
    due = segments.plan(opened(logged, NOW + YEAR))
    assert [item.day for item in due] == [NOW.date()] * len(due)
    assert len(due) >= 3
