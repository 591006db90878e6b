"""Rewrite: rows leave living days, and nothing else does; what they were opens with no key of today."""

from __future__ import annotations

import json
import shutil
from contextlib import nullcontext
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ingest.record import SCHEMA
from tests.support import NOW, Order, Usage, answer, approved, ingest, layout_at, new_vault, opened, signed_in, usage
from tests.trafficvault.record_file import write_file
from trafficvault import app, committing, compact, expire, locks, partitions, rewrite, signing
from trafficvault.catalogue import Transaction
from trafficvault.clock import SetClock
from trafficvault.compaction import Selection
from trafficvault.durable import Disk
from trafficvault.errors import FaultError, RefusedError, SpaceError, VaultError
from trafficvault.rewrite import Why
from trafficvault.thinning import Going
from trafficvault.vault import Vault
from trafficvault.verify import verify

CLASS, FIRST, SECOND = "mobile_usage", date(2026, 11, 10), date(2026, 11, 11)
WHY = Why("test", "a test took them out", "otto", {"number": 1})
EVERYTHING = Going(("start",), lambda record_class, rows: pl.repeat(True, rows.height, eager=True))
NOTHING = Going(("start",), lambda record_class, rows: pl.repeat(False, rows.height, eager=True))


def of_batch(batch_id: str) -> Going:
    """The rows of one delivered file."""
    return Going(("batch",), lambda record_class, rows: rows["batch"] == batch_id)


def at_second(number: int) -> Going:
    """The rows that began in that second of a minute."""
    return Going(("start",), lambda record_class, rows: rows["start"].dt.second() == number)


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    """Two days of two files each."""
    made = new_vault(tmp_path)
    for number, first in enumerate((0, 3), 1):
        rows = [Usage(at=f"202611{day}1200{second:02d}") for day in (10, 11) for second in range(first, first + 3)]
        ingest(made, "mvno_pipe", usage(rows), f"S4PGWM00000{number}")
    return made


def rows_of(vault: Vault, record_class: str = CLASS) -> list[tuple[Any, ...]]:
    """All rows that the vault holds, read from the record files, without an order."""
    custody, columns = vault.keys.custody("verify"), [name for name in SCHEMA.names if name != "other_parties"]
    found: list[tuple[Any, ...]] = []
    with vault.catalogue.reading() as tx:
        files = tx.select("files", record_class=record_class)
    for row in files:
        place = record_class, date.fromisoformat(row["day"]), row["id"]
        frame = partitions.read_in_custody(vault.layout, custody, *place, columns, generation=row["generation"] or 1)
        found += frame.rows()
    return sorted(found, key=repr)


def faults(vault: Vault) -> list[str]:
    """What verification says."""
    return [fault.sentence for fault in verify(vault).faults]


def seconds(vault: Vault) -> list[int]:
    """The seconds at which the rows of the vault begin."""
    start = [name for name in SCHEMA.names if name != "other_parties"].index("start")
    return [row[start].second for row in rows_of(vault)]


def test_the_rows_go_and_the_others_stay(vault: Vault) -> None:
    """One second of two days goes: twelve rows become ten, and verification finds nothing wrong."""
    before = rows_of(vault)
    done = rewrite.remove(vault, [(CLASS, FIRST), (CLASS, SECOND)], at_second(1), WHY)
    after = rows_of(vault)
    assert (done.rows, done.days) == (2, ((CLASS, FIRST), (CLASS, SECOND)))
    assert len(after) == 10
    assert set(after) < set(before)
    assert sorted(set(seconds(vault))) == [0, 2, 3, 4, 5]
    assert faults(vault) == []


def test_a_day_that_holds_none_of_them_is_left_as_it_is(vault: Vault) -> None:
    """Its files, keys and generation are those of before; the act is in the log all the same."""
    with vault.catalogue.reading() as tx:
        before = tx.select("files"), tx.select("partitions")
    done = rewrite.remove(vault, [(CLASS, FIRST)], NOTHING, WHY)
    assert (done.rows, done.days, done.certificates) == (0, (), ())
    with vault.catalogue.reading() as tx:
        assert (tx.select("files"), tx.select("partitions")) == before
    assert vault.audit.show()[-1]["act"] == "test-intent"
    assert faults(vault) == []


def test_a_day_that_does_not_live_is_passed_over(vault: Vault) -> None:
    """Neither one that never was nor one that began to expire."""
    with vault.catalogue.transaction() as tx:
        row = tx.get("partitions", record_class=CLASS, day=FIRST.isoformat())
        assert row is not None
        tx.put("partitions", **row | {"state": "expiring"})
    done = rewrite.remove(vault, [(CLASS, FIRST), ("voip", FIRST)], EVERYTHING, WHY)
    assert done.rows == 0


def test_the_certificate_tells_counts_and_keys_and_nobody(vault: Vault) -> None:
    """It is signed, says how many rows went and stay, names the old files and keys, and no number."""
    with vault.catalogue.reading() as tx:
        old = {row["id"] for row in tx.select("files", day=FIRST.isoformat())}
    issued = rewrite.remove(vault, [(CLASS, FIRST)], at_second(4), WHY).certificates
    (one,) = issued
    body = {name: value for name, value in one.items() if name not in ("id", "signature")}
    signing.require_signature(vault.settings.public_key, one["signature"], signing.canonical(body), "it")
    assert (body["what"], body["records"], body["kept"]) == ("rows", 1, 5)
    assert {file["id"] for file in body["files"]} == old
    assert f"{CLASS}/{FIRST}/who" in body["keys"]
    assert (body["rule"], body["due"]) == (WHY.rule, None)
    assert "31612345678" not in json.dumps(body)


def test_nothing_of_them_opens_with_the_keys_of_today(vault: Vault, tmp_path: Path) -> None:
    """A copy of the vault directory from before, put in the place of today's: its files open no more, rows that stayed
    are in today's files alone.
    """
    copy = tmp_path / "copy"
    shutil.copytree(vault.layout.vault, copy)
    with vault.catalogue.reading() as tx:
        old = tx.select("files", day=FIRST.isoformat())
    rewrite.remove(vault, [(CLASS, FIRST)], at_second(4), WHY)
    custody = vault.keys.custody("verify")
    assert not any(vault.layout.record_file(CLASS, FIRST, row["id"]).exists() for row in old)
    layout = layout_at(tmp_path)
    for row in old:
        for suffix in ("parquet", "seen", "blocks"):
            found = copy / "records" / CLASS / FIRST.isoformat() / f"{row['id']}.{suffix}"
            if found.exists():
                shutil.copy(found, layout.partition(CLASS, FIRST))
        for generation in (1, 2):
            with pytest.raises(VaultError):
                partitions.read_in_custody(layout, custody, CLASS, FIRST, row["id"], ["start"], generation=generation)
    assert any("put back" in fault for fault in faults(vault))


def test_the_catalogue_of_before_does_not_open_with_the_keys_of_today(vault: Vault, tmp_path: Path) -> None:
    """A whole vault directory of before with today's keys is refused: the keys are of a later moment."""
    shutil.copytree(vault.layout.vault, tmp_path / "copy")
    rewrite.remove(vault, [(CLASS, FIRST)], at_second(4), WHY)
    vault.catalogue.close()
    shutil.rmtree(vault.layout.vault)
    shutil.move(tmp_path / "copy", vault.layout.vault)
    with pytest.raises(FaultError, match="older than the keys"):
        opened(vault)


def test_again_and_again(vault: Vault) -> None:
    """Each removal takes a further generation of the day's keys, and an expiry names the last."""
    for number in (0, 1, 2):
        rewrite.remove(vault, [(CLASS, FIRST)], at_second(number), WHY)
    assert faults(vault) == []
    assert {name for name in vault.keys.key_ids() if f"{CLASS}/{FIRST}" in name and name.endswith("/g4")}
    assert len(seconds(vault)) == 9
    later = opened(vault, vault.clock.now() + timedelta(days=190))
    done = expire.expire(later, signed_in(later, "otto"))
    (one,) = [body for body in done.certificates if body["what"] == "records" and body["day"] == FIRST.isoformat()]
    assert all(name.endswith("/g4") for name in one["keys"])
    assert not [name for name in later.keys.key_ids() if f"{CLASS}/{FIRST}" in name]
    assert faults(later) == []


def test_a_day_of_which_everything_goes_stays_open(vault: Vault) -> None:
    """It has no file any more, takes new records under the new keys, and answers from them."""
    rewrite.remove(vault, [(CLASS, FIRST)], EVERYTHING, WHY)
    assert faults(vault) == []
    again = ingest(vault, "mvno_pipe", usage([Usage(at="20261110130000")]), "late")
    assert again.stored == 1
    assert len(seconds(vault)) == 7
    assert faults(vault) == []


def test_late_records_and_duplicates_meet_the_new_files(vault: Vault) -> None:
    """What stayed is known as a duplicate, what went is taken in anew."""
    rewrite.remove(vault, [(CLASS, FIRST)], at_second(1), WHY)
    rows = [Usage(at=f"202611101200{second:02d}") for second in range(3)]
    late = ingest(vault, "mvno_pipe", usage([*rows, Usage(at="20261110140000")]), "late")
    assert (late.duplicate, late.stored) == (2, 2)
    assert faults(vault) == []


def test_compacted_days_are_rewritten_and_compacted_again(vault: Vault, tmp_path: Path) -> None:
    """The merged file goes with its blocks; the next compaction makes them again, and answers are the same."""
    compact.compact(vault, Selection(unsettled=True))
    rewrite.remove(vault, [(CLASS, FIRST)], at_second(1), WHY)
    assert faults(vault) == []
    assert answer(vault, Order(), tmp_path / "plain").records == 11
    done = compact.compact(vault, Selection(unsettled=True))
    assert [one.day for one in done.compacted] == [FIRST]
    assert faults(vault) == []
    assert answer(opened(vault), Order(reference="PV-2"), tmp_path / "blocks").records == 11


def test_a_file_that_compaction_replaced_goes_as_well(vault: Vault) -> None:
    """It lay under the same keys; whoever still read it has had its time."""
    with locks.reading(vault.layout):
        compact.compact(vault, Selection(unsettled=True))
    directory = vault.layout.partition(CLASS, FIRST)
    before = {path.name for path in directory.glob("*.parquet")}
    rewrite.remove(vault, [(CLASS, FIRST)], at_second(1), WHY)
    assert not before & {path.name for path in directory.iterdir()}
    assert faults(vault) == []


def test_a_changed_file_stops_it_before_anything_is_removed(vault: Vault) -> None:
    """The old rows must be those that were committed."""
    with vault.catalogue.reading() as tx:
        row = tx.select("files", day=FIRST.isoformat())[0]
    path = vault.layout.record_file(CLASS, FIRST, row["id"])
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(FaultError, match=r"missing, damaged|not those that were committed"):
        rewrite.remove(vault, [(CLASS, FIRST)], at_second(4), WHY)
    assert vault.keys.generation == 1
    with vault.catalogue.reading() as tx:
        assert tx.get("files", id=row["id"]) == row


def test_a_missing_file_is_a_fault(vault: Vault) -> None:
    """And no rows are taken for removed."""
    with vault.catalogue.reading() as tx:
        row = tx.select("files", day=FIRST.isoformat())[0]
    vault.layout.record_file(CLASS, FIRST, row["id"]).unlink()
    with pytest.raises(FaultError, match="is missing"):
        rewrite.remove(vault, [(CLASS, FIRST)], EVERYTHING, WHY)


def test_no_room_for_a_second_copy(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is removed without it; what `min_free` wants besides, for files to be taken in, stops no removal."""
    with vault.catalogue.reading() as tx:
        needed = sum(row["bytes"] for row in tx.select("files", record_class=CLASS, day=FIRST.isoformat()))
    assert needed < vault.policy.min_free
    for free, removed in ((needed - 1, False), (needed, True)):
        monkeypatch.setattr(Disk, "free_bytes", lambda self, path, free=free: free)
        with nullcontext() if removed else pytest.raises(SpaceError, match="nothing was removed"):
            rewrite.remove(vault, [(CLASS, FIRST)], at_second(1), WHY)
        assert len(seconds(vault)) == (12 if not removed else 11)


def test_what_is_noted_is_committed_with_it(vault: Vault) -> None:
    """The act's own rows are there when the rows are gone, and not before."""

    def note(tx: Transaction) -> None:
        raise RefusedError("not now")

    with pytest.raises(RefusedError, match="not now"):
        rewrite.remove(vault, [(CLASS, FIRST)], at_second(1), WHY, note)
    assert len(seconds(vault)) == 12
    rewrite.remove(vault, [(CLASS, FIRST)], at_second(1), WHY, lambda tx: tx.set_meta("noted", "yes"))
    with vault.catalogue.reading() as tx:
        assert tx.meta("noted") == "yes"
    expire.expire(vault)
    assert faults(vault) == []


def test_a_batch_that_lands_under_dead_keys_is_not_committed(vault: Vault) -> None:
    """A rewrite in between would make its files unreadable: the file is to be ingested again."""
    custody = vault.keys.custody("receive")
    table = pl.DataFrame(
        {
            "source": ["mvno"],
            "batch": ["b"],
            "row": [1],
            "occurrence": [0],
            "start": [datetime(2026, 11, 10, tzinfo=UTC)],
        },
        schema_overrides={"occurrence": pl.Int32},
    ).to_arrow(compat_level=pl.CompatLevel.oldest())
    file = write_file(vault.disk, vault.layout, custody, CLASS, FIRST, table)
    rewrite.remove(vault, [(CLASS, FIRST)], at_second(1), WHY)
    with pytest.raises(RefusedError, match="ingest the file again"), vault.catalogue.transaction() as tx:
        committing._put_file(tx, file, "b", NOW)


def test_a_warrant_reads_the_new_files(vault: Vault, tmp_path: Path) -> None:
    """Its keys are released for the generation that each file lies under."""
    warrant = approved(vault, Order())
    assert warrant
    rewrite.remove(vault, [(CLASS, SECOND)], at_second(1), WHY)
    assert answer(vault, Order(reference="PV-2"), tmp_path / "out").records == 11


def test_a_running_reader_forgets(vault: Vault) -> None:
    """Another process that had the vault open before reads the new state, and never the old keys."""
    other = app.open_vault(vault.layout, Disk(), SetClock(NOW), writer=False)
    rewrite.remove(vault, [(CLASS, FIRST)], at_second(1), WHY)
    with pytest.raises(RefusedError):
        other.keys.require_unrenewed()
