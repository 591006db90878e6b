"""Compact: the files of a day become one, nothing else changes, and what stands in the way is told."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support import NOW, FullDisk, Usage, ingest, opened, signed_in, usage
from tests.trafficvault.day_files import CLASS, DAY, on_disk, rows_of
from trafficvault import compact, expire, status, sweep
from trafficvault.compaction import Selection
from trafficvault.durable import Disk
from trafficvault.errors import FaultError, SpaceError
from trafficvault.layout import day_key_id
from trafficvault.progress import Progress
from trafficvault.vault import Vault
from trafficvault.verify import verify


@pytest.fixture
def busy(stored: Vault) -> Vault:
    """The prepared vault, with a second file for 10 November."""
    more = [Usage(kind="MO", at=f"202611101300{second:02d}", seconds=30) for second in range(3)]
    assert ingest(stored, "mvno_pipe", usage(more), "S4PGWM000002").stored == 3
    return stored


def test_the_files_of_a_day_become_one(busy: Vault) -> None:
    """One record file, its seen block and its block file; the result and the log tell what became what."""
    before = rows_of(busy)
    done = compact.compact(busy)
    (row,) = rows_of(busy)

    assert [(item.day.day, item.files, item.rows) for item in done.compacted] == [(10, 2, 5), (11, 1, 2), (12, 1, 1)]
    assert (done.left, done.faults, done.retired) == ((), (), True)
    first = done.compacted[0]
    assert (first.bytes_before, first.bytes_after) == (sum(one["bytes"] for one in before), row["bytes"])
    assert first.blocks == row["blocks_bytes"]
    assert (row["batch"], row["merged"], row["rows"]) == (None, 2, 5)
    assert row["created_at"] == min(one["created_at"] for one in before)
    assert on_disk(busy) == [f"{row['id']}.{kind}" for kind in ("blocks", "parquet", "seen")]
    assert not busy.layout.staging.vault.exists()
    entry = next(one for one in busy.audit.show(5) if one["detail"].get("partition") == f"{CLASS}/2026-11-10")
    assert entry["act"] == "compact"
    assert entry["person"] is None
    assert sorted(entry["detail"]["files"]) == sorted(one["id"] for one in before)
    assert entry["detail"]["into"] == row["id"]
    assert (entry["detail"]["digest"], entry["detail"]["blocks"]) == (row["digest"], row["blocks"])
    assert verify(busy).faults == ()


def test_a_second_run_finds_nothing(busy: Vault) -> None:
    """No file is rewritten and nothing is entered."""
    compact.compact(busy)
    files, last = on_disk(busy), busy.audit.show(1)
    assert compact.compact(busy).compacted == ()
    assert (on_disk(busy), busy.audit.show(1)) == (files, last)


def test_status_says_how_many_wait(busy: Vault) -> None:
    """Three days before, none after; what a day takes on disk counts its blocks."""
    assert status.status(busy).facts["to_compact"] == 3
    compact.compact(busy)
    facts = status.status(busy).facts
    assert facts["to_compact"] == 0
    assert facts["bytes"] == sum(
        path.stat().st_size for path in busy.layout.records.rglob("*") if path.suffix in (".parquet", ".blocks")
    )


def test_a_duplicate_is_known_after_it(busy: Vault) -> None:
    """The same records delivered again in another file are duplicates, while the seen block lives and after."""
    compact.compact(busy)
    again = [Usage(at=f"2026111012000{second}") for second in range(2)]
    assert ingest(busy, "mvno_pipe", usage([*again, Usage(at="20261110180000")]), "S4PGWM000007").duplicate == 2
    late = opened(busy, NOW + timedelta(days=40))
    assert compact.compact(late).compacted
    assert not list(late.layout.records.rglob("*.seen"))
    assert verify(late).faults == ()
    receipt = ingest(late, "mvno_pipe", usage([*again, Usage(at="20261110190000")]), "S4PGWM000008")
    assert (receipt.duplicate, receipt.stored) == (2, 1)
    # It was made again to find them, and goes again.
    assert list(late.layout.records.rglob("*.seen"))
    assert verify(late).faults == ()


def test_the_seen_blocks_go_after_the_delivery_window(busy: Vault) -> None:
    """Also those of days that need no merging; within the window a missing one is a fault."""
    compact.compact(busy)
    (path,) = busy.layout.partition(CLASS, DAY).glob("*.seen")
    content = path.read_bytes()
    path.unlink()
    assert [fault.kind for fault in verify(busy).faults] == ["missing"]
    path.write_bytes(content)
    late = opened(busy, NOW + timedelta(days=40))
    assert compact.compact(late).compacted == ()
    assert not list(late.layout.records.rglob("*.seen"))


def test_today_is_left_unless_it_is_asked_for(busy: Vault) -> None:
    """A day is compacted from an hour after its end; days and classes can be named."""
    ingest(busy, "mvno_pipe", usage([Usage(at="20261120090000")]), "S4PGWM000009")
    assert compact.compact(busy, Selection(classes=frozenset({"voip"}))).compacted == ()
    chosen = compact.compact(busy, Selection(days=frozenset({DAY}))).compacted
    assert [item.day for item in chosen] == [DAY]
    assert [item.day.day for item in compact.compact(busy).compacted] == [11, 12]
    assert [item.day.day for item in compact.compact(busy, Selection(unsettled=True)).compacted] == [20]


def test_a_day_that_is_due_is_left_to_die(busy: Vault) -> None:
    """Nothing is rewritten to be destroyed tomorrow."""
    late = opened(busy, NOW + timedelta(days=173))
    assert [item.day.day for item in compact.plan(late)] == [11, 12]


def test_progress_tells_partitions_and_rows(busy: Vault) -> None:
    """Of each partition the beginning and its end."""
    told: list[str | Progress] = []
    compact.compact(busy, watch=told.append)
    seen = [at for at in told if isinstance(at, Progress)]
    assert {at.step.partition(",")[0] for at in seen} == {f"{number} of 3 partitions" for number in (1, 2, 3)}
    assert [(at.rows, at.done, at.whole) for at in seen if at.step.startswith("1 ")] == [(0, 0, 5), (5, 5, 5)]
    assert seen[0].step == f"1 of 3 partitions, {CLASS} 2026-11-10"


def test_a_damaged_file_keeps_its_day_as_it_is_and_no_other(busy: Vault) -> None:
    """The fault is told at the end, with exit code 5; the other days were compacted."""
    path = busy.layout.record_file(CLASS, DAY, rows_of(busy)[0]["id"])
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    done = compact.compact(busy)
    assert [item.day.day for item in done.compacted] == [11, 12]
    assert len(done.faults) == 1
    with pytest.raises(FaultError, match=r"1 partitions were left as they are; the first: .*bytes are not those"):
        done.require_clean()
    assert len(rows_of(busy)) == 2


class Refusing(Disk):
    """Gives no new record file below a directory of that name; what is given after it is refused as `then`."""

    def __init__(self, day: str, number: int, then: int | None = None) -> None:
        self.day, self.number, self.then = day, number, then

    def create_by(self, path: Path, write: Callable[[Path], object], mode: int = 0o600) -> None:
        """Refuses with the system's number."""
        number = self.number if self.day in path.parts else self.then
        if number is not None and path.suffix == ".parquet":
            raise OSError(number, os.strerror(number), str(path))
        super().create_by(path, write, mode)


def test_a_day_that_the_disk_refuses_is_left_and_no_other(busy: Vault) -> None:
    """What the system said is told in a sentence that names class and day, as any other fault is."""
    done = compact.compact(opened(busy, disk=Refusing("2026-11-10", errno.EIO)))
    assert [item.day.day for item in done.compacted] == [11, 12]
    (fault,) = done.faults
    assert fault.startswith(f"compacting {CLASS}/2026-11-10: ")
    assert "could not be read or written: Input/output error" in fault


def test_what_failed_before_the_disk_was_full_is_told(busy: Vault) -> None:
    """The run ends at the full disk, with exit code 7, and a note of the day that it had left."""
    with pytest.raises(SpaceError, match=f"^compacting {CLASS}/2026-11-11: the disk is full") as told:
        compact.compact(opened(busy, disk=Refusing("2026-11-10", errno.EIO, errno.ENOSPC)))
    (note,) = told.value.__notes__
    assert note.startswith(f"beside it: compacting {CLASS}/2026-11-10: ")


class Meddling(Disk):
    """Changes a byte of what was prepared, before it is read back."""

    def __init__(self, staging: Path) -> None:
        self.staging = staging

    def step(self, name: str) -> None:
        """After a record file was written."""
        if name == "after rename .parquet":
            for path in self.staging.rglob("*.parquet"):
                raw = bytearray(path.read_bytes())
                raw[len(raw) // 2] ^= 1
                path.write_bytes(raw)


def test_what_was_written_wrong_is_never_committed(busy: Vault) -> None:
    """A byte that flips between writing and commit is found; every file stays as it was."""
    before = {day: rows_of(busy, date(2026, 11, day)) for day in (10, 11, 12)}
    late = opened(busy, disk=Meddling(busy.layout.staging.vault))
    done = compact.compact(late)
    assert len(done.faults) == 3
    assert {day: rows_of(busy, date(2026, 11, day)) for day in (10, 11, 12)} == before
    assert verify(opened(busy)).faults == ()


@pytest.mark.parametrize("missing", ["gone", "changed", "truncated"])
def test_a_block_file_is_made_again(busy: Vault, missing: str) -> None:
    """`verify` names it and says how; naming the day makes it again whatever is wrong, and no record is lost."""
    compact.compact(busy)
    (row,) = rows_of(busy)
    path = busy.layout.blocks_file(CLASS, DAY, row["id"])
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    match missing:
        case "gone":
            path.unlink()
        case "changed":
            path.write_bytes(raw)
        case _:
            path.write_bytes(raw[:-1])
    (fault,) = verify(busy).faults
    assert fault.kind == {"gone": "missing", "changed": "bit flip", "truncated": "truncated"}[missing]
    assert fault.sentence.endswith("no record is lost: `compact --class mobile_usage --day 2026-11-10` makes it again")
    assert len(compact.plan(busy)) == (0 if missing == "changed" else 1)
    (item,) = compact.compact(busy, Selection(days=frozenset({DAY}))).compacted
    assert (item.files, item.rows) == (1, 5)
    assert verify(busy).faults == ()
    assert rows_of(busy)[0]["merged"] == 2


def test_a_block_file_of_other_records_is_named(busy: Vault) -> None:
    """One that opens, has the digest of the catalogue and belongs to another sum of records."""
    compact.compact(busy)
    (row,) = rows_of(busy)
    with busy.catalogue.reading() as tx:
        other = tx.select("files", day="2026-11-11")[0]
    algorithm = row["row_sum"].partition(":")[0]
    with busy.catalogue.transaction() as tx:
        tx.put("files", **row | {"row_sum": f"{algorithm}:{'0' * 64}"})
    kinds = [fault.kind for fault in verify(busy).faults]
    assert kinds == ["content"]
    with busy.catalogue.transaction() as tx:
        tx.put("files", **row | {"blocks": other["blocks"]})
    (fault,) = verify(busy).faults
    assert fault.kind == "bit flip"


def test_a_footer_that_tells_another_sum_is_named(busy: Vault) -> None:
    """A delivered file in the place of a merged one conserves nothing."""
    row = rows_of(busy)[0]
    with busy.catalogue.transaction() as tx:
        tx.put("files", **row | {"batch": None, "merged": 2})
    (fault,) = verify(busy).faults
    assert (fault.kind, fault.thing) == ("content", f"{row['id']}.parquet")


def test_expiry_takes_everything_of_the_day(busy: Vault) -> None:
    """Record file, blocks and seen block; the certificate says of how many files it was made and names the blocks."""
    compact.compact(busy)
    (row,) = rows_of(busy)
    late = opened(busy, NOW + timedelta(days=173))
    done = expire.expire(late, signed_in(late, "otto"))
    body = next(item for item in done.certificates if item["what"] == "records")
    assert body["files"] == [{name: row[name] for name in ("id", "rows", "bytes", "digest", "merged", "blocks")}]
    assert not late.layout.partition(CLASS, DAY).exists()
    assert verify(late).faults == ()


def test_a_restored_block_file_of_a_dead_day_is_named(busy: Vault) -> None:
    """As the record file beside it."""
    compact.compact(busy)
    copies = {path: path.read_bytes() for path in busy.layout.partition(CLASS, DAY).iterdir()}
    late = opened(busy, NOW + timedelta(days=173))
    expire.expire(late, signed_in(late, "otto"))
    for path, content in copies.items():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    assert {fault.kind for fault in verify(late).faults} == {"restored after expiry"}
    assert len(verify(late).faults) == 3


def test_a_day_that_lost_a_category_is_left_as_it_is(busy: Vault) -> None:
    """Its records can be counted, not summed: nothing could show that a merge keeps them."""
    busy.keys.renew([day_key_id(CLASS, DAY, "where")], lambda number: _moved(busy, number))
    done = compact.compact(opened(busy))
    assert [item.day.day for item in done.compacted] == [11, 12]
    (item,) = done.left
    assert "category of the day was destroyed" in item.reason
    assert len(rows_of(busy)) == 2


def _moved(vault: Vault, generation: int) -> None:
    with vault.catalogue.transaction() as tx:
        tx.set_meta("generation", str(generation))


def test_blocks_outlive_their_where(busy: Vault) -> None:
    """With one key gone the block file still opens for the rest, and `verify` names the key, not the blocks."""
    compact.compact(busy)
    busy.keys.renew([day_key_id(CLASS, DAY, "where")], lambda number: _moved(busy, number))
    assert {fault.kind for fault in verify(opened(busy)).faults} == {"key missing"}


def test_below_min_free_nothing_is_begun(busy: Vault) -> None:
    """The copy must fit above the operator's reserve."""

    class Small(Disk):
        def free_bytes(self, path: Path) -> int:
            return busy.policy.min_free + 100

    with pytest.raises(SpaceError, match="are free, merging the next partition takes up to"):
        compact.compact(opened(busy, disk=Small()))
    assert len(rows_of(busy)) == 2


@pytest.mark.parametrize("at", range(1, 30, 3))
def test_a_disk_that_fills_up_changes_nothing(busy: Vault, at: int) -> None:
    """Wherever it is full: an error that says so, every record still there, and the next run does the rest."""
    late = opened(busy)
    full: dict[str, Any] = {"disk": FullDisk(at)}
    small = replace(late, **full)
    try:
        compact.compact(small)
    except SpaceError as problem:
        assert "the disk is full" in str(problem)
    except OSError as problem:  # before the first partition
        assert problem.errno == errno.ENOSPC
    after = opened(busy)
    sweep.sweep(after)
    assert verify(after).faults == ()
    assert compact.compact(after).faults == ()
    assert sum(row["rows"] for row in rows_of(after)) == 5
    assert verify(after).faults == ()


def test_nothing_of_it_is_readable_by_others(busy: Vault) -> None:
    """Files and directories that compaction makes are their owner's alone, and hold no number in clear."""
    compact.compact(busy)
    for path in busy.layout.records.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
        if path.is_file():
            assert b"31612345678" not in path.read_bytes()
    assert busy.layout.compaction_lock.stat().st_mode & 0o077 == 0
