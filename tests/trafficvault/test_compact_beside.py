"""What goes on beside a compaction: another one, another writer, an ingest, an expiry, readers."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from tests.support import Usage, ingest, opened, usage
from tests.trafficvault.day_files import CLASS, DAY, on_disk, rows_of
from trafficvault import compact, locks, superseded, sweep
from trafficvault.compaction import Selection
from trafficvault.durable import Disk
from trafficvault.errors import BusyError
from trafficvault.progress import Progress
from trafficvault.vault import Vault
from trafficvault.verify import verify


@pytest.fixture
def busy(stored: Vault) -> Vault:
    """The prepared vault, with a second file for 10 November."""
    more = [Usage(kind="MO", at=f"202611101300{second:02d}", seconds=30) for second in range(3)]
    assert ingest(stored, "mvno_pipe", usage(more), "S4PGWM000002").stored == 3
    return stored


def test_only_one_compacts_at_a_time(busy: Vault) -> None:
    """Another one that is at work is named; its prepared files are not touched, by a writer's sweep neither."""
    prepared = busy.layout.staging.record_file(CLASS, DAY, "0" * 32)
    prepared.parent.mkdir(parents=True)
    prepared.write_bytes(b"in the making")
    with locks.compacting(busy.layout):
        with pytest.raises(BusyError, match="another process compacts"):
            compact.compact(busy)
        sweep.sweep(busy)
        assert verify(busy).faults == ()
        assert prepared.exists()
    (fault,) = verify(busy).faults
    assert (fault.kind, fault.thing) == ("extra", prepared.name)
    assert "broken-off compaction" in fault.sentence
    sweep.sweep(busy)
    assert not busy.layout.staging.vault.exists()


def test_another_writer_is_waited_for_and_named(busy: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was exchanged, and nothing prepared is left."""
    monkeypatch.setattr(compact, "WRITER_SECONDS", 0.0)
    before = on_disk(busy)
    with locks.writing(busy.layout), pytest.raises(BusyError):
        compact.compact(busy)
    assert on_disk(busy) == before
    assert not busy.layout.staging.vault.exists()


def test_ingest_goes_on_meanwhile(busy: Vault) -> None:
    """The writer's lock is free while a partition is merged; what comes in between stays beside it."""
    came: list[int] = []

    def more(at: str | Progress) -> None:
        if not came:
            with locks.writing(busy.layout):
                came.append(ingest(busy, "mvno_pipe", usage([Usage(at="20261110200000")]), "S4PGWM000010").stored)

    done = compact.compact(busy, watch=more)
    assert came == [1]
    assert done.compacted[0].files == 2
    assert sorted(row["rows"] for row in rows_of(busy)) == [1, 5]
    assert verify(busy).faults == ()


def test_an_expiry_that_was_quicker_wins(busy: Vault) -> None:
    """A partition that began to expire while it was merged is not touched, and the result says so."""

    def dying(at: str | Progress) -> None:
        with busy.catalogue.transaction() as tx:
            row = tx.get("partitions", record_class=CLASS, day="2026-11-10")
            assert row is not None
            tx.put("partitions", **row | {"state": "expiring"})

    before = rows_of(busy)
    done = compact.compact(busy, Selection(days=frozenset({DAY})), dying)
    assert done.compacted == ()
    assert "an expiry was quicker" in done.left[0].reason
    assert rows_of(busy) == before
    assert not busy.layout.staging.vault.exists()


def test_what_vanished_since_the_plan_is_left(busy: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan that names a file no more there changes nothing."""
    items = compact.plan(busy, Selection(days=frozenset({DAY})))
    monkeypatch.setattr(compact, "plan", lambda vault, selection: [replace(items[0], files=("0" * 32,))])
    done = compact.compact(busy)
    assert (done.compacted, len(done.left)) == ((), 1)


def test_a_reader_keeps_what_it_may_still_open(busy: Vault) -> None:
    """While a lease is held the replaced files stay, known to `verify` and spared by the sweep; then they go."""
    before = [f"{row['id']}.parquet" for row in rows_of(busy)]
    with locks.reading(busy.layout):
        done = compact.compact(busy)
        assert not done.retired
        assert set(before) < set(on_disk(busy))
        assert verify(busy).faults == ()
        sweep.sweep(busy)
        assert set(before) < set(on_disk(busy))
    sweep.sweep(busy)
    assert not set(before) & set(on_disk(busy))
    with busy.catalogue.reading() as tx:
        assert superseded.paths(busy.layout, tx) == set()


def test_a_reader_that_comes_while_they_go_waits(busy: Vault) -> None:
    """Between the last lease and the unlinking nobody begins to read: the exclusive lock is held throughout."""
    with locks.reading(busy.layout):
        compact.compact(busy)
    entered = threading.Event()

    def read() -> None:
        with locks.reading(busy.layout):
            entered.set()

    reader = threading.Thread(target=read)

    class Slow(Disk):
        def step(self, name: str) -> None:
            if name == "before unlink .parquet" and not reader.is_alive():
                reader.start()
                assert not entered.wait(0.2)

    assert superseded.retire(opened(busy, disk=Slow()))
    reader.join()
    assert entered.is_set()
