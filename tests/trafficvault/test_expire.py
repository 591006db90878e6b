"""Expire beside the stories: what a run of nothing does, and how one that broke off is finished."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.support import NOW, Usage, ingest, opened, signed_in, usage
from tests.trafficvault.kept_files import calls
from trafficvault import expire, locks, retention
from trafficvault.durable import Disk
from trafficvault.errors import DecisionError, FaultError, RefusedError
from trafficvault.retention import Item
from trafficvault.vault import Vault
from trafficvault.verify import verify

DUE = datetime(2027, 5, 12, 12, 0, tzinfo=UTC)
"""When 10 November has reached its six months, and 11 November has not."""


@pytest.fixture
def due(stored: Vault) -> Vault:
    """The prepared vault when one of its days is due, by a clock that an operator accepted."""
    late = opened(stored, DUE)
    expire.require_clock(late, signed_in(late, "otto"))
    return late


def test_nothing_due_moves_the_trusted_time_and_nothing_else(stored: Vault) -> None:
    """Runs every six days on a quiet vault are never a jump, make no generation and no certificate."""
    vault = stored
    for days in (6, 12, 18):
        vault = opened(stored, NOW + timedelta(days=days))
        done = expire.expire(vault)
        assert done.certificates == ()
        assert done.items == ()
    assert vault.keys.generation == stored.keys.generation
    assert vault.audit.clock_problem(NOW + timedelta(days=18)) is None
    assert verify(vault).faults == ()


def test_each_step_is_told(due: Vault) -> None:
    """Progress names the destruction of keys, then that of files."""
    steps: list[str] = []
    done = expire.expire(due, progress=steps.append)
    assert steps == ["destroying keys", "dropping files"]
    assert [item.day.isoformat() for item in done.items] == ["2026-11-10"]
    assert done.leases_ended


def test_keys_that_nothing_lies_under_go_along(due: Vault) -> None:
    """A batch of duplicates only leaves day keys without a file; the next run destroys them, due or not."""
    due.keys.ensure(["mobile_usage/2027-05-01/who"])
    expire.expire(due)
    assert "mobile_usage/2027-05-01/who" not in due.keys.key_ids()
    assert verify(due).faults == ()


def test_a_reader_is_not_waited_for_for_ever(due: Vault) -> None:
    """With a lease that doesn't end the run goes ahead after `lease_seconds`; run and certificate say so."""
    text = due.layout.settings.read_text()
    due.layout.settings.write_text(text.replace("lease_seconds = 60", "lease_seconds = 0"))
    vault = opened(due)
    with locks.reading(vault.layout):
        done = expire.expire(vault)
    assert not done.leases_ended
    assert [body["leases_ended"] for body in done.certificates] == [False]


def test_a_run_that_broke_off_is_finished(due: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken off with the keys gone and the files there: the next run drops and certifies them, with no new keys."""

    def broken(vault: Vault, item: Item) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(expire, "_drop_files", broken)
        with pytest.raises(KeyboardInterrupt):
            expire.expire(due)
    again = opened(due)
    with again.catalogue.reading() as tx:
        assert [row["state"] for row in tx.select("partitions", day="2026-11-10")] == ["expiring"]
    assert again.keys.key_ids().isdisjoint({"mobile_usage/2026-11-10/who"})
    generation = again.keys.generation
    done = expire.expire(again)

    assert [body["day"] for body in done.certificates] == ["2026-11-10"]
    assert "did not finish" in str(done.certificates[0]["rule"])
    assert again.keys.generation == generation
    assert not again.layout.partition("mobile_usage", done.items[0].day).exists()
    assert verify(again).faults == ()


def test_a_directory_that_is_gone_already_is_no_failure(due: Vault) -> None:
    """Files that somebody removed before are certified as destroyed: their keys are."""
    day = due.layout.records / "mobile_usage" / "2026-11-10"
    for path in day.iterdir():
        path.unlink()
    day.rmdir()
    assert len(expire.expire(due).certificates) == 1


def test_a_directory_among_the_files_stops_no_expiry(due: Vault) -> None:
    """Somebody's directory in a due day stays, for `verify` to name; keys and files go all the same."""
    day = due.layout.records / "mobile_usage" / "2026-11-10"
    (day / "backup").mkdir()
    assert len(expire.expire(due).certificates) == 1
    assert [path.name for path in day.iterdir()] == ["backup"]
    assert {fault.kind for fault in verify(due).faults} == {"extra"}


def test_only_a_living_partition_expires(stored: Vault) -> None:
    """A plan that names a tombstone, or no partition at all, is refused before anything is marked."""
    day = NOW.date()
    strange = Item("voip", day, "records", NOW, "expire", "a plan of somebody else")
    with stored.catalogue.transaction() as tx, pytest.raises(RefusedError, match="it is not a living partition"):
        expire._mark(tx, [strange])


def test_a_clock_that_is_right_needs_nobody(stored: Vault) -> None:
    """A few days on, nobody is asked; past the step, the sentence says how far and how to go on."""
    expire.require_clock(opened(stored, NOW + timedelta(days=6)), None)
    with pytest.raises(DecisionError, match="8 days past the last trusted moment") as stopped:
        expire.require_clock(opened(stored, NOW + timedelta(days=8)), None)
    assert stopped.value.hint is not None
    assert "--accept-clock" in stopped.value.hint


def test_an_accepted_clock_is_logged_with_both_moments(stored: Vault) -> None:
    """Who accepted it, from when and to when, stands in the audit log."""
    late = opened(stored, NOW + timedelta(days=100))
    expire.require_clock(late, signed_in(late, "otto"))
    entry = late.audit.show(1)[0]
    assert (entry["act"], entry["person"]) == ("accept-clock", "otto")
    assert entry["detail"]["from"].startswith("2026-11-20T10:00:00")
    assert entry["detail"]["to"].startswith("2027-02-28T10:00:00")


def test_how_late_an_item_is() -> None:
    """From its due moment on; nothing before it, and nothing where no rule gives one."""
    item = Item("voip", NOW.date(), "records", NOW, "expire", "")
    assert expire.lateness(item, NOW + timedelta(hours=3)) == timedelta(hours=3)
    assert expire.lateness(item, NOW - timedelta(hours=3)) == timedelta(0)
    assert expire.lateness(Item("voip", NOW.date(), "records", None, "keep", ""), NOW) == timedelta(0)


def test_every_kind_is_planned(stored: Vault) -> None:
    """Records, rejections, held bytes and kept files have their places in the plan, and keys of their own."""
    ingest(stored, "kamailio_flatstore", calls())
    kinds = {item.kind for item in expire.plan(stored)}
    assert kinds == set(retention.KINDS)
    for item in expire.plan(stored):
        assert set(expire.key_ids(item)) <= stored.keys.key_ids()


def test_a_held_batch_that_expired_comes_again_as_new(stored: Vault) -> None:
    """Held bytes reach their term too; after that the batch is no longer held, and its receipt tells no name."""
    late = opened(stored, NOW + timedelta(days=200))
    done = expire.expire(late, signed_in(late, "otto"))
    assert {body["what"] for body in done.certificates} == {"records", "rejections", "held"}
    with late.catalogue.reading() as tx:
        assert {row["status"] for row in tx.select("batches")} == {"committed", "expired"}
    assert ingest(late, "mvno_pipe", usage([Usage(at="20270607120000")]), "S4PGWM000004").stored == 1


def test_nothing_is_certified_while_the_old_epoch_key_is_there(due: Vault) -> None:
    """Its provider failed to destroy it: the same process refuses to go on; the next destroys it, then certifies."""

    class Failing(Disk):
        on = True

        def step(self, name: str) -> None:
            if self.on and name == f"before unlink epoch-{due.keys.generation}":
                raise OSError("the token was taken out")

    disk, old = Failing(), due.layout.epoch_key(due.keys.generation)
    house = opened(due, DUE, disk)
    with pytest.raises(OSError, match="taken out"):
        expire.expire(house)
    with pytest.raises(FaultError, match="open the vault again"):
        expire.expire(house)
    assert old.exists()
    disk.on = False
    again = opened(due, DUE, disk)
    assert not old.exists()
    assert len(expire.expire(again).certificates) == 1
