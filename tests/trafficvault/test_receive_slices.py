"""Receive in slices: what a large file becomes is what it would become as a small one."""

from __future__ import annotations

import gzip
import io
import subprocess
import sys
import zlib
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.record import SCHEMA
from tests.support import SUBSCRIBER, Usage, new_vault, opened, unmeasured, usage
from tests.thorough import LONG, as_many
from tests.trafficvault.sliced_files import SMALL, lines, take
from trafficvault import batch as batches
from trafficvault import intake, landing, partitions, receive, recent
from trafficvault.delivered import Delivered
from trafficvault.progress import Progress
from trafficvault.receive import Pace
from trafficvault.vault import Vault
from trafficvault.verify import verify

ROOT = Path(__file__).resolve().parents[2]

DELIVERY = {"batch", "row", "feed_digest", "read_note"}


def stored(vault: Vault) -> list[str]:
    """Every stored record, without what differs between two deliveries."""
    with vault.catalogue.reading() as tx:
        files = tx.select("files")
    custody = vault.keys.custody("verify")
    names = [name for name in SCHEMA.names if name not in DELIVERY]
    found: list[str] = []
    for row in files:
        frame = partitions.read_in_custody(
            vault.layout, custody, row["record_class"], date.fromisoformat(row["day"]), row["id"], names
        )
        found += [repr(record) for record in frame.to_dicts()]
    return sorted(found)


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    """A vault."""
    return new_vault(tmp_path)


def test_a_large_file_is_stored_as_a_small_one(tmp_path: Path) -> None:
    """Records, counts and days; `verify` finds nothing; batch and rows are those of the file."""
    rows = usage(lines(70)) + "not a row\n" + usage(lines(40))
    vaults, receipts = [], []
    for number, pace in enumerate((Pace(), SMALL, replace(SMALL, workers=1))):
        directory = tmp_path / str(number)
        directory.mkdir()
        vaults.append(new_vault(directory))
        receipts.append(take(vaults[-1], rows, pace=pace))

    assert [replace(item, batch_id="") for item in receipts[1:]] == [replace(receipts[0], batch_id="")] * 2
    assert (receipts[0].stored, receipts[0].rejected, receipts[0].duplicate) == (110, 1, 0)
    for vault in vaults:
        assert stored(vault) == stored(vaults[0])
        assert verify(vault).faults == ()
        assert intake.rejected_rows(vault, intake.batches(vault)[0].batch_id)[0]["row"] == 71
    assert len(list(vaults[1].layout.records.rglob("*.parquet"))) <= 4


def test_of_a_packed_file_fewer_workers_take_slices() -> None:
    """Unpacking is work as well, and takes memory; one worker stays one."""
    plain, packed = b"a;b\n", gzip.compress(b"a;b\n")
    told = [[Pace(workers=most).workers_of(io.BytesIO(data)) for data in (plain, packed)] for most in (1, 2, 3)]
    assert told == [[1, 1], [2, 2], [3, 2]]


def test_gzip_and_path_are_the_same_file_read_otherwise(vault: Vault, tmp_path: Path) -> None:
    """A packed file in slices, and one from a path."""
    rows = usage(lines(120)).encode()
    assert take(vault, gzip.compress(rows)).stored == 120
    path = tmp_path / "S4PGWM000001"
    path.write_bytes(rows)
    feed, source = intake.feed_and_source(vault, "mvno_pipe", None)
    again = receive.receive(vault, feed, source, Delivered(path), path.name, pace=SMALL)
    assert (again.stored, again.duplicate) == (0, 120)
    assert intake.check(vault, "mvno_pipe", None, path).counts["records"] == 120


def test_equal_rows_are_numbered_over_the_file_and_repetitions_dropped(vault: Vault) -> None:
    """Rows without identity are records each, whatever slice they stand in; one with an identity is one record."""
    plain = [Usage(at="20261110120000")] * 3 + lines(40) + [Usage(at="20261110120000")] * 2
    known = [replace(row, record_id=f"r{n % 30}") for n, row in enumerate(lines(30) * 2)]
    version = [replace(known[3], seconds=999)]
    first = take(vault, usage([*plain, *known, *lines(20), *version]))
    # lines(40) begins with the row that stands three times before it
    assert (first.stored, first.duplicate) == (45 + 30 + 20 + 1, 30)
    with vault.catalogue.reading() as tx:
        assert sum(row["rows"] for row in tx.select("files")) == first.stored
    again = take(vault, usage([*plain, *known, *lines(20), *version, Usage(at="20261110120000")]), "again")
    assert (again.stored, again.duplicate) == (1, first.stored + 30)
    assert verify(vault).faults == ()


def test_the_same_file_again_is_known(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its digest, before it is read or, a large one, while it is: nothing of it stays."""
    first = take(vault, usage(lines(60)))
    before = sorted(vault.layout.records.rglob("*"))
    monkeypatch.setattr(receive, "_HASHED_FIRST", 0)
    again = take(vault, usage(lines(60)), "other name")
    assert (again.status, again.batch_id, again.file) == ("already-ingested", first.batch_id, "other name")
    assert sorted(vault.layout.records.rglob("*")) == before


@pytest.mark.parametrize("waiting", [1, 7, 500_000])
def test_however_many_wait_to_be_compared(vault: Vault, waiting: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files are closed and compared with as often as it takes."""
    monkeypatch.setattr(batches, "_WAITING", waiting)
    known = [replace(row, record_id=f"r{n}") for n, row in enumerate(lines(40))]
    twice = take(vault, usage([*known, *known]))
    assert (twice.stored, twice.duplicate) == (40, 40)
    again = take(vault, usage([*lines(10), *known]), "again")
    assert (again.stored, again.duplicate) == (10, 40)
    assert verify(vault).faults == ()


def test_a_hash_alone_drops_no_record(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all hashes are equal every record is compared, and none is lost."""
    monkeypatch.setattr("trafficvault.seen.mixed", lambda sums: sums * 0)
    known = [replace(row, record_id=f"r{n}") for n, row in enumerate(lines(30))]
    found = take(vault, usage(known))
    assert (found.stored, found.duplicate) == (30, 0)
    assert len(stored(vault)) == 30


def test_files_are_closed_when_they_are_large_or_many(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """By rows, by the number of open files, and by the rows of all open files."""
    spread = [Usage(at=f"202611{day:02d}120000", seconds=n) for n in range(3) for day in range(1, 17)]
    monkeypatch.setattr(landing, "_OPEN_FILES", 3)
    assert take(vault, usage(spread)).stored == 48
    monkeypatch.setattr(landing, "_OPEN_ROWS", 20)
    monkeypatch.setattr(landing, "ROWS", 5)
    assert take(vault, usage(lines(30, b=SUBSCRIBER)), "rows").stored == 30
    assert verify(vault).faults == ()


def test_hashes_that_a_large_batch_forgot_are_read_anew(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same process knows its records again, though it did not keep what it knew them by."""
    assert take(vault, usage(lines(10)), "first").stored == 10
    monkeypatch.setattr(landing, "_REMEMBERED", 20)
    assert take(vault, usage(lines(60)), "large").stored == 50
    assert vault.recent.rows() < 60
    found = take(vault, usage(lines(70)), "again")
    assert (found.stored, found.duplicate) == (10, 60)
    assert verify(vault).faults == ()


def test_a_column_that_comes_late_is_kept(vault: Vault) -> None:
    """A class or column that first slices lack is in the files of later ones."""
    few = '{"class":"voip","start":"2026-11-10T10:00:%02dZ","user_name":"u%d"}\n'
    more = '{"class":"voip","start":"2026-11-10T11:00:%02dZ","mac":"00:11:22:33:44:%02d","extra_who":{"x":"y"}}\n'
    other = '{"class":"binding","start":"2026-11-10T12:00:%02dZ","line":"l%d"}\n'
    data = "".join(kind % (n, n) for kind in (few, more, other) for n in range(15))
    found = take(vault, data, feed="native_ndjson", pace=replace(SMALL, slice_bytes=300))
    assert found.read == 45
    assert found.stored + found.rejected == 45
    assert verify(vault).faults == ()


def test_the_shape_is_that_of_the_whole_file(vault: Vault) -> None:
    """Where most rows are of another shape than the first ones the file is read again, and nothing is there twice."""
    call = '"","0612345678","0201234567","x","","S1","S2","Dial","","2026-11-10 10:00:%02d",,"2026-11-10 10:01:00",27,0'
    short = call + ',"NO ANSWER","DOCUMENTATION"\n'
    long = call + ',"NO ANSWER","DOCUMENTATION","1770131244.%d","","","1770131244.%d",%d\n'
    data = "".join(short % n for n in range(20)) + "".join(long % (n, n, n, n) for n in range(50))
    found = take(vault, data, feed="asterisk_csv")
    assert (found.read, found.stored, found.rejected) == (70, 50, 20)
    assert found.rejected_by == {"has 16 columns instead of 21": 20}
    assert verify(vault).faults == ()
    assert len(list(vault.layout.rejections.rglob("*.sealed"))) == 1


def test_a_clock_past_the_term_counts_as_before(vault: Vault) -> None:
    """Records past their term, and of days that began to expire, are counted and not stored, slice by slice."""
    with vault.catalogue.transaction() as tx:
        tx.put("partitions", record_class="mobile_usage", day="2026-11-11", state="expiring", certificate=None)
    old = [Usage(at="20260110120000", seconds=n) for n in range(20)]
    found = take(vault, usage([*old, *lines(60)]))
    assert (found.stored, found.expired) == (30, 50)


def test_progress_tells_rows_and_bytes(vault: Vault) -> None:
    """Each step is a text with its numbers, which only grow."""
    told: list[str | Progress] = []
    data = usage(lines(100))
    take(vault, data, progress=told.append)
    steps = [step for step in told if isinstance(step, Progress)]
    assert len(steps) == len(told)
    assert steps[0].step == "reading"
    assert steps[-1].step == "committing"
    assert steps[-1].rows == 100
    of_slices = [step for step in steps[1:] if step.step == "reading"]
    assert len(of_slices) > 5
    assert {step.whole for step in of_slices} == {len(data)}
    assert [step.done for step in of_slices] == sorted(step.done for step in of_slices)
    assert of_slices[-1].done == len(data)


# --- what is remembered -----------------------------------------------------------------------------------------------


def test_hashes_of_a_day_do_not_outlive_its_keys(vault: Vault) -> None:
    """A renewal of the key ring drops all that was loaded before it."""
    take(vault, usage(lines(60)))
    assert take(vault, usage(lines(61)), "second").duplicate == 60
    kept = vault.recent
    assert kept.rows() >= 61
    kept.follow(vault.keys.generation)
    assert kept.rows() >= 61
    vault.keys.renew([], lambda generation: None)
    kept.follow(vault.keys.generation)
    assert kept.rows() == 0


def test_hashes_of_files_that_changed_are_loaded_again(vault: Vault, tmp_path: Path) -> None:
    """What another process added to a day is found, and what it took away is not missed."""
    take(vault, usage(lines(10)))
    assert take(vault, usage(lines(12)), "second").stored == 2
    other = opened(vault)
    assert take(other, usage(lines(20)), "third").stored == 8
    assert take(vault, usage(lines(25)), "fourth").stored == 5
    assert len(stored(vault)) == 25


def test_only_so_many_hashes_are_kept(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound the days not asked for lately go, and are loaded again when they are."""
    monkeypatch.setattr(recent, "_BOUND", 100)
    take(vault, usage(lines(60)))
    take(vault, usage(lines(61)), "second")
    assert vault.recent.rows() <= 32
    assert take(vault, usage(lines(62)), "third").stored == 1


MEGABYTES, MOST = (300, 1126) if LONG else (120, 850)
"""How large the file is, and how many MiB the process may take; read in one go it takes a third more."""
CHILD = """
import re, sys
from pathlib import Path
from tests.support import new_vault
from trafficvault import intake
receipt = intake.ingest(new_vault(Path(sys.argv[1])), "mvno_pipe", None, Path(sys.argv[2]))
(peak,) = re.findall("VmHWM:(.*) kB", Path("/proc/self/status").read_text())  # `ru_maxrss` would begin at the parent's
print(receipt.stored, receipt.rejected, int(peak) // 1024)
"""


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_a_large_file_takes_bounded_memory(tmp_path: Path, packed: bool) -> None:
    """120 MB, plain and as one gzip member, in less than 850 MiB; 300 MB in less than 1.1 GiB."""
    path = tmp_path / "S4PGWM000001"
    block = usage([replace(item, record_id="ID%09d") for item in lines(600)])
    written = number = 0
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    with path.open("wb") as file:
        while written < MEGABYTES * 2**20:
            text = ((block * 16) % tuple(range(number, number + 9600))).encode()
            number += 9600
            written += len(text)
            file.write(packer.compress(text) if packed else text)
        file.write(packer.flush() if packed else b"")
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path), str(path)],
        cwd=ROOT,
        env=unmeasured(),
        capture_output=True,
        text=True,
        timeout=380,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    stored_rows, rejected, peak = map(int, done.stdout.split())
    assert (stored_rows, rejected) == (number, 0)
    assert peak < MOST


# --- the property -----------------------------------------------------------------------------------------------------

ROW = st.builds(
    Usage,
    at=st.sampled_from(["20261110120000", "20261110120001", "20261111120000", "20260101120000"]),
    seconds=st.integers(0, 1),
    record_id=st.sampled_from(["", "", "a", "b"]),
    visited=st.sampled_from(["", "FRAF1"]),
)


@pytest.mark.no_cover
@settings(max_examples=as_many(4), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(deliveries=st.lists(st.lists(ROW, min_size=1, max_size=30), min_size=1, max_size=3), size=st.integers(100, 900))
def test_slices_store_what_whole_files_store(
    tmp_path_factory: pytest.TempPathFactory, deliveries: list[list[Usage]], size: int
) -> None:
    """The same records and the same counts, delivery by delivery, however the files are cut."""
    one, other = (new_vault(tmp_path_factory.mktemp("vault")) for _ in range(2))
    for number, rows in enumerate(deliveries):
        whole = take(one, usage(rows), f"f{number}", Pace())
        sliced = take(other, usage(rows), f"f{number}", Pace(size, 2))
        assert replace(sliced, batch_id="") == replace(whole, batch_id="")
    assert stored(one) == stored(other)
    assert len(stored(one)) == sum(item.stored for item in intake.batches(one))
