"""Groups: small files of one call become what they would become one by one, in fewer files and one commit."""

from __future__ import annotations

import gzip
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.record import SCHEMA
from tests.support import NOW, SUBSCRIBER, FullDisk, Usage, layout_at, new_vault, opened, usage
from tests.thorough import as_many
from tests.trafficvault.prepared_vault import bundled
from trafficvault import app, compact, group, intake, partitions
from trafficvault.catalogue import Row
from trafficvault.clock import SetClock
from trafficvault.durable import Disk
from trafficvault.errors import DecisionError, SpaceError, UsageError
from trafficvault.progress import Progress
from trafficvault.receipts import Receipt
from trafficvault.vault import Vault
from trafficvault.verify import verify


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    """A vault."""
    return new_vault(tmp_path)


def written(directory: Path, contents: Sequence[str | bytes]) -> list[Path]:
    """Files of those contents."""
    directory.mkdir(exist_ok=True)
    paths = []
    for number, content in enumerate(contents):
        paths.append(directory / f"S4PGWM{number:06d}")
        paths[-1].write_bytes(content.encode() if isinstance(content, str) else content)
    return paths


def together(vault: Vault, paths: Sequence[Path], feed: str = "mvno_pipe") -> list[Receipt]:
    """Receives the files in one call."""
    return list(intake.ingest_all(vault, feed, None, paths))


def one_by_one(vault: Vault, paths: Sequence[Path], feed: str = "mvno_pipe") -> list[Receipt]:
    """Receives each file in a call of its own."""
    return [intake.ingest(vault, feed, None, path) for path in paths]


def records(vault: Vault) -> Counter[str]:
    """Every stored record with its batch, as text."""
    with vault.catalogue.reading() as tx:
        files = tx.select("files")
    custody, found = vault.keys.custody("verify"), Counter[str]()
    for row in files:
        place = row["record_class"], date.fromisoformat(row["day"]), row["id"]
        frame = partitions.read_in_custody(vault.layout, custody, *place, SCHEMA.names)
        found.update(repr(record) for record in frame.to_dicts())
    return found


def files_of(vault: Vault) -> list[Row]:
    """The catalogue's rows of the record files."""
    with vault.catalogue.reading() as tx:
        return tx.select("files")


def rows_of(day: int, number: int = 3, a: str = SUBSCRIBER) -> list[Usage]:
    """Different rows of one day."""
    return [Usage(a=a, at=f"202611{day:02d}12{second:02d}00") for second in range(number)]


def copied(directory: Path, target: Path) -> Vault:
    """The vault below `directory` once more: with the same keys a batch has the same id."""
    for name in ("vault", "vault.keys"):
        shutil.copytree(directory / name, target / name)
    return app.open_vault(layout_at(target), Disk(), SetClock(NOW), writer=True)


def test_a_group_shares_its_files_and_each_batch_keeps_its_receipt(vault: Vault, tmp_path: Path) -> None:
    """One record file per class and day for all, of no batch; each record names its own; `verify` finds nothing."""
    paths = written(tmp_path / "in", [usage(rows_of(10, a=f"3161234560{n}") + rows_of(11 + n % 2)) for n in range(4)])
    receipts = together(vault, paths)

    assert [item.status for item in receipts] == ["committed"] * 4
    assert [(item.stored, item.duplicate) for item in receipts] == [(6, 0), (6, 0), (3, 3), (3, 3)]
    assert receipts[1].partitions == ("mobile_usage/2026-11-10", "mobile_usage/2026-11-12")
    assert receipts[2].partitions == ("mobile_usage/2026-11-10",)
    assert [row["batch"] for row in files_of(vault)] == [None] * 3
    named = Counter(record.split("'batch': '")[1][:24] for record in records(vault).elements())
    assert named == {item.batch_id: item.stored for item in receipts}
    assert verify(vault).faults == ()
    assert [item.status for item in together(vault, paths)] == ["already-ingested"] * 4
    entries = [entry["detail"] for entry in vault.audit.show() if entry["act"] == "receive"]
    assert [(entry["batch"], len(entry["files"])) for entry in entries] == [
        (item.batch_id, len(item.partitions)) for item in receipts
    ]


def test_the_span_of_a_batch_is_its_own(vault: Vault, tmp_path: Path) -> None:
    """What the catalogue keeps of when a batch's records were is not that of the group."""
    receipts = together(vault, written(tmp_path / "in", [usage(rows_of(10)), usage(rows_of(12) + rows_of(14))]))
    with vault.catalogue.reading() as tx:
        rows = [tx.get("batches", id=item.batch_id) or {} for item in receipts]
    assert [(row["first_day"], row["last_day"]) for row in rows] == [
        ("2026-11-10", "2026-11-10"),
        ("2026-11-12", "2026-11-14"),
    ]


def test_a_bad_file_stops_no_other(vault: Vault, tmp_path: Path) -> None:
    """Refused, too large or with bad rows: each has its receipt in its place, and its own rejections."""
    vault.layout.settings.write_text(
        vault.layout.settings.read_text().replace("max_unpacked =", "# max_unpacked =") + 'max_unpacked = "2KiB"\n'
    )
    small = opened(vault)
    contents = [
        usage(rows_of(10)),
        "no pipe at all\nnone\n",
        "bad\n" + usage(rows_of(11)),
        "x" * 3000,
        usage(rows_of(12)),
    ]
    receipts = together(small, written(tmp_path / "in", contents))

    assert [item.status for item in receipts] == ["committed", "refused", "committed", "refused", "committed"]
    assert [item.stored for item in receipts] == [3, 0, 3, 0, 3]
    assert "max_unpacked" in (receipts[3].reason or "")
    assert [row["row"] for row in intake.rejected_rows(small, receipts[2].batch_id)] == [1]
    assert intake.rejected_rows(small, receipts[0].batch_id) == []
    assert verify(small).faults == ()


def test_a_held_file_waits_for_a_person(vault: Vault, tmp_path: Path) -> None:
    """Of files that are read whole one whose totals disagree is held, beside one that is stored."""
    paths = written(tmp_path / "in", [bundled("WLR-DEMO-000017.CDR"), bundled("WLR-DEMO-000018.CDR")])
    receipts = together(vault, paths, "wlr_fixed")
    assert [item.status for item in receipts] == ["committed", "held"]
    assert intake.accept(vault, "otto", receipts[1].batch_id).stored > 0
    assert verify(vault).faults == ()


def test_the_same_bytes_twice_in_one_call(vault: Vault, tmp_path: Path) -> None:
    """The second is known, though the first was not committed when it came."""
    receipts = together(vault, written(tmp_path / "in", [usage(rows_of(10)), usage(rows_of(11)), usage(rows_of(10))]))
    assert [(item.status, item.stored) for item in receipts] == [
        ("committed", 3),
        ("committed", 3),
        ("already-ingested", 3),
    ]


def test_what_is_stored_is_told_from_what_has_the_same_hash(
    vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Candidates are compared column by column; each duplicate counts for the file in which it came."""
    monkeypatch.setattr("trafficvault.seen.shorten", lambda hashes: hashes & np.uint64(0))
    together(vault, written(tmp_path / "first", [usage(rows_of(10))]))
    second = [usage(rows_of(10) + rows_of(11)), usage(rows_of(10, a="31612345609")), "\n" + usage(rows_of(10))]
    receipts = together(vault, written(tmp_path / "second", second))
    assert [(item.stored, item.duplicate) for item in receipts] == [(3, 3), (3, 0), (0, 3)]
    assert sum(records(vault).values()) == 9


def test_groups_are_bounded(vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By files and by rows; a file that is not small is received by itself, in its place."""
    paths = written(tmp_path / "in", [usage(rows_of(10, a=f"3161234560{n}")) for n in range(6)])
    monkeypatch.setattr(group, "FILES", 2)
    together(vault, paths[:4])
    assert len(files_of(vault)) == 2
    monkeypatch.setattr(group, "ROWS", 2)
    together(vault, paths[4:])
    assert len(files_of(vault)) == 4
    monkeypatch.setattr(group, "SMALL", 300)
    more = written(tmp_path / "more", [usage(rows_of(11, 1)), usage(rows_of(12, 9)), usage(rows_of(13, 1))])
    assert [item.stored for item in together(vault, more)] == [1, 9, 1]


def test_a_file_that_unpacks_to_more_than_a_slice_is_read_in_slices(
    vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However small it came."""
    many = [Usage(at=f"202611101{n // 3600 % 10}{n // 60 % 60:02d}{n % 60:02d}", record_id=str(n)) for n in range(9000)]
    content = gzip.compress(usage(many).encode() * 20)
    assert len(content) < group.SMALL
    receipts = together(vault, written(tmp_path / "in", [usage(rows_of(11)), content]))
    assert [(item.stored, item.duplicate) for item in receipts] == [(3, 0), (9000, 9000 * 19)]


def test_an_error_at_one_file_leaves_those_before_it_stored(
    vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their receipts are told before it is raised."""
    paths = written(tmp_path / "in", [usage(rows_of(10)), usage(rows_of(11)), usage(rows_of(12))])
    feed, source = intake.feed_and_source(vault, "mvno_pipe", None)
    unfit = replace(source, identity=("nosuch",))
    monkeypatch.setattr(intake, "feed_and_source", lambda *_: (feed, unfit))
    with pytest.raises(UsageError):
        together(vault, paths[:1])
    monkeypatch.undo()
    told: list[Receipt] = []
    left = iter([2**50, 2**50, 0])
    monkeypatch.setattr(vault.disk, "free_bytes", lambda _: next(left))
    with pytest.raises(SpaceError):
        for receipt in intake.ingest_all(vault, "mvno_pipe", None, paths):
            told.append(receipt)
    assert [item.stored for item in told] == [3, 3]
    assert sum(row["rows"] for row in files_of(vault)) == 6


def test_a_clock_that_jumped_stops_only_what_would_be_lost(vault: Vault, tmp_path: Path) -> None:
    """The files before the one whose rows would be past their term are stored, that one stays with its sender."""
    late = opened(vault, NOW + timedelta(days=200))
    new = [Usage(at=f"2027060212{second:02d}00") for second in range(3)]
    paths = written(tmp_path / "in", [usage(new), usage(rows_of(10)), usage(new[:1] * 2)])
    told: list[Receipt] = []
    with pytest.raises(DecisionError, match="3 of its rows would be past their term"):
        for receipt in intake.ingest_all(late, "mvno_pipe", None, paths):
            told.append(receipt)
    assert [item.stored for item in told] == [3]
    assert sum(records(late).values()) == 3
    assert verify(late).faults == ()


@pytest.mark.parametrize("at", [2, 6, 12, 20])
def test_a_disk_that_fills_up_on_the_way(tmp_path: Path, at: int) -> None:
    """An error, no batch of the group, and with space all of them."""
    vault = new_vault(tmp_path)
    paths = written(tmp_path / "in", [usage(rows_of(day)) + "bad\n" for day in (10, 11, 12)])
    full = opened(vault, disk=FullDisk(at))
    with pytest.raises((SpaceError, OSError)):
        together(full, paths)
    again = opened(vault)
    assert intake.batches(again) == []
    assert [item.stored for item in together(again, paths)] == [3, 3, 3]
    assert verify(again).faults == ()


def test_a_group_file_is_compacted_as_any_other(vault: Vault, tmp_path: Path) -> None:
    """It is no merged file before that, and one after; records keep their batches."""
    first = together(vault, written(tmp_path / "a", [usage(rows_of(10, a="31612345601")), usage(rows_of(10))]))
    together(vault, written(tmp_path / "b", [usage(rows_of(10, a="31612345602"))]))
    before = records(vault)
    compact.compact(vault).require_clean()
    assert records(vault) == before
    assert [row["merged"] for row in files_of(vault)] == [2]
    assert verify(vault).faults == ()
    assert first[0].stored == 3


def test_progress_tells_files_and_rows(vault: Vault, tmp_path: Path) -> None:
    """Each step with its numbers, which only grow, out of all files of the call."""
    told: list[str | Progress] = []
    paths = written(tmp_path / "in", [usage(rows_of(10)), usage(rows_of(11))])
    list(intake.ingest_all(vault, "mvno_pipe", None, paths, told.append))
    assert [str(step) for step in told] == [
        "reading",
        "reading",
        "mobile_usage 2026-11-10",
        "mobile_usage 2026-11-11",
        "committing",
    ]
    assert [(step.rows, step.done, step.whole) for step in told if isinstance(step, Progress)] == [
        (0, 1, 2),
        (3, 2, 2),
        *[(6, 2, 2)] * 3,
    ]


LINE = st.builds(
    Usage,
    a=st.sampled_from(["31612345678", "31612345679"]),
    at=st.sampled_from(["20261110120000", "20261110120001", "20261111120000", "20251111120000", "20270101000000"]),
    record_id=st.sampled_from(["", "", "r1", "r2"]),
    visited=st.sampled_from(["", "26201"]),
)
FILE = st.lists(LINE, min_size=1, max_size=6)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vault in which nothing is."""
    directory = tmp_path_factory.mktemp("pristine")
    new_vault(directory).catalogue.close()
    return directory


@pytest.mark.no_cover
@settings(max_examples=as_many(3), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(deliveries=st.lists(st.lists(FILE, min_size=1, max_size=4), min_size=1, max_size=3), bad=st.booleans())
def test_a_group_stores_what_its_files_store_one_by_one(
    pristine: Path, tmp_path_factory: pytest.TempPathFactory, deliveries: list[list[list[Usage]]], bad: bool
) -> None:
    """Receipts and records are the same, delivery after delivery, whatever repeats in and between the files."""
    directory = tmp_path_factory.mktemp("twins")
    grouped, single = copied(pristine, directory / "grouped"), copied(pristine, directory / "single")
    for number, delivery in enumerate(deliveries):
        contents = [usage(rows) + ("bad\n" if bad and place % 2 else "") for place, rows in enumerate(delivery)]
        paths = written(directory / f"in{number}", contents)
        assert together(grouped, paths) == one_by_one(single, paths)
    assert records(grouped) == records(single)
    assert verify(grouped).faults == ()
    for vault in (grouped, single):
        vault.catalogue.close()
    shutil.rmtree(directory)
