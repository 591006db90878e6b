"""The audit log loses nothing, adds nothing twice, and shows every change made to it."""

from __future__ import annotations

import errno
import json
import shutil
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from tests.trafficvault.log_damages import DAMAGES
from tests.trafficvault.log_house import (
    MAC_KEY,
    SIGNING_KEY,
    SIZE,
    START,
    VAULT,
    Crash,
    FaultyDisk,
    House,
    Keys,
    Policy,
    Settings,
    pending,
    verify_chain,
)
from trafficvault import chain, signing
from trafficvault.audit import AuditLog
from trafficvault.catalogue import Catalogue
from trafficvault.chain import Head
from trafficvault.durable import Disk
from trafficvault.errors import FaultError, SpaceError, VaultError


def test_entries_come_back_opened_and_in_order(house: House) -> None:
    """What was entered is shown again, with who did it and when; the last ones only when asked so."""
    with house.catalogue.transaction() as tx:
        first = house.log.enter(tx, "warrant-register", "Anna", {"warrant": "w1", "é": (True, None)})
        second = house.log.enter(tx, "receive", None, {})
    house.log.flush()
    house.clock.advance(timedelta(seconds=1))
    house.write(7)

    assert (first, second) == (1, 2)
    assert house.log.verify() == 9
    assert house.log.show()[:2] == [
        {
            "seq": 1,
            "time": "2026-11-20T12:00:00.000000Z",
            "act": "warrant-register",
            "person": "Anna",
            "detail": {"warrant": "w1", "é": [True, None]},
        },
        {"seq": 2, "time": "2026-11-20T12:00:00.000000Z", "act": "receive", "person": None, "detail": {}},
    ]
    assert [entry["seq"] for entry in house.log.show(3)] == [7, 8, 9]
    assert house.log.public_key == house.public_key


def test_an_empty_log_is_whole(house: House) -> None:
    """Before the first entry there is nothing to show, to flush or to find fault with."""
    house.log.flush()

    assert (house.log.verify(), house.log.show()) == (0, [])
    assert verify_chain(house.layout.audit, chain.nothing_dropped(VAULT), house.public_key, SIZE) == chain.genesis(
        VAULT
    )


def test_the_form_on_disk_is_the_documented_one(house: House) -> None:
    """Segments of a fixed number of lines, canonical, chained from the vault's id, nothing readable in them."""
    house.write(9)
    entries = [json.loads(line) for line in house.lines()]

    assert [path.name for path in house.segments()] == ["00000001.log", "00000002.log", "00000003.log"]
    assert [path.read_bytes().count(b"\n") for path in house.segments()] == [4, 4, 1]
    assert entries[0]["prev"] == chain.genesis(VAULT).hash
    assert [entry["prev"] for entry in entries[1:]] == [entry["hash"] for entry in entries[:-1]]
    assert all(set(entry) == {"v", "seq", "time", "prev", "body", "hash", "sig"} for entry in entries)
    assert not any(word in line for line in house.lines() for word in (b"receive", b"Anna", b"7f3a"))
    assert house.segments()[0].stat().st_mode & 0o777 == 0o600


def test_an_entry_that_is_rolled_back_never_was(house: House) -> None:
    """The act and its entry are one transaction: neither without the other."""
    with pytest.raises(ZeroDivisionError), house.catalogue.transaction() as tx:
        house.log.enter(tx, "receive", None, {})
        raise ZeroDivisionError
    house.write(1)

    assert [entry["seq"] for entry in house.log.show()] == [1]
    assert house.log.verify() == 1


@pytest.mark.parametrize("name", [name for name in DAMAGES if "last" in name or "added" in name or "all" in name])
def test_a_log_with_a_false_end_takes_no_entry(house: House, name: str) -> None:
    """Nothing is entered, and nothing flushed, when log and catalogue do not end at the same entry."""
    house.write(10)
    DAMAGES[name][0](house)
    before = house.lines() if house.layout.audit.is_dir() else []

    with pytest.raises(FaultError), house.catalogue.transaction() as tx:
        house.again().enter(tx, "receive", None, {})
    with pytest.raises(FaultError):
        house.again().flush()
    assert pending(house) == 0
    assert (house.lines() if house.layout.audit.is_dir() else []) == before


def test_a_catalogue_of_an_older_state_is_named(house: House, tmp_path: Path) -> None:
    """The whole catalogue put back agrees with itself, but the audit log is further: verify, enter and flush say so."""
    house.write(5)
    house.catalogue.truncate_wal()
    older = Path(shutil.copy(house.layout.catalogue, tmp_path / "older.db"))
    house.write(2)
    with closing(Catalogue.open(older, MAC_KEY, Disk())) as catalogue:
        log = AuditLog(
            house.layout, Disk(), catalogue, Keys(), Settings(), Policy(), house.clock, entries_per_segment=SIZE
        )
        faults = catalogue.check()
        sentences = []
        with pytest.raises(FaultError) as by_verify:
            log.verify()
        sentences.append(str(by_verify.value))
        with pytest.raises(FaultError) as by_flush:
            log.flush()
        sentences.append(str(by_flush.value))
        with pytest.raises(FaultError) as by_enter, catalogue.transaction() as tx:
            log.enter(tx, "receive", None, {})
        sentences.append(str(by_enter.value))

    assert faults == []
    assert all("the catalogue is older than the log (restored?)" in sentence for sentence in sentences)


def test_an_older_catalogue_with_a_full_outbox_is_named(house: House, tmp_path: Path) -> None:
    """A copy from between COMMIT and flush knows lines that the log has, and not the ones after them."""
    house.write(1)
    house.write(1, flush=False)
    house.catalogue.truncate_wal()
    older = Path(shutil.copy(house.layout.catalogue, tmp_path / "older.db"))
    house.log.flush()
    house.write(1)
    with closing(Catalogue.open(older, MAC_KEY, Disk())) as catalogue:
        log = AuditLog(
            house.layout, Disk(), catalogue, Keys(), Settings(), Policy(), house.clock, entries_per_segment=SIZE
        )
        with pytest.raises(FaultError, match="older than the log"):
            log.flush()
        with pytest.raises(FaultError, match="older than the log"):
            log.verify()


def test_two_histories_of_one_entry_do_not_mix(house: House) -> None:
    """A true entry on disk where the outbox holds another is a fault, not a crash to repair."""
    house.write(1)
    house.write(1, flush=False)
    other = chain.write_line(
        Head(1, json.loads(house.lines()[0])["hash"]), signing.instant(START), "", None, SIGNING_KEY
    )
    path = house.segments()[0]
    path.write_bytes(path.read_bytes() + other + b"\n")

    with pytest.raises(FaultError, match="entry 2 is another than the catalogue's"):
        house.again().flush()
    assert pending(house) == 1


STEPS = (
    "before append .log",
    "after append .log",
    "before write head",
    "before rename head",
    "after rename head",
    "before commit",
    "after commit",
)


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("at", [*STEPS, "half"])
@pytest.mark.parametrize("before", [0, 1, 3, 4])
def test_a_crash_in_flush_is_finished_by_the_next(house: House, at: str, before: int, count: int) -> None:
    """Wherever it falls, also at a segment's end: every entry is in the log once, and stays so."""
    house.write(before)
    house.write(count, flush=False)
    disk = FaultyDisk()
    disk.at, disk.half = at, at == "half"
    log = house.again(disk)
    log._catalogue = Catalogue.open(house.layout.catalogue, MAC_KEY, disk)
    with closing(log._catalogue), pytest.raises(Crash):
        log.flush()
    # Committed is committed: the log is whole even before anyone repairs it.
    assert house.again().verify() == before + count
    assert len(house.again().show(100)) == before + count
    house.again().flush()
    once = house.lines()
    house.again().flush()

    assert [json.loads(line)["seq"] for line in once] == list(range(1, before + count + 1))
    assert house.lines() == once
    assert pending(house) == 0
    assert house.again().verify() == before + count


@pytest.mark.parametrize("at", ["before write .log", "before rename .log", "after rename .log"])
def test_a_crash_in_the_repair_is_repaired(house: House, at: str) -> None:
    """The repair is a new file in place of the old one: there or not."""
    house.write(2)
    house.write(1, flush=False)
    path = house.segments()[0]
    path.write_bytes(path.read_bytes() + b"\0" * 100)
    disk = FaultyDisk()
    disk.at = at
    with pytest.raises(Crash):
        house.again(disk).flush()
    house.again().flush()

    assert house.again().verify() == 3
    assert pending(house) == 0


@pytest.mark.parametrize("garbage", [b"{", b"\0" * 700, b"\0" * 700 + b"\n", b"\xff\xfe\n"])
def test_a_torn_end_is_repaired_while_the_outbox_holds_the_line(house: House, garbage: bytes) -> None:
    """What a power cut left of a line gives way to the line; entries go on in between."""
    house.write(2)
    house.write(1, flush=False)
    path = house.segments()[0]
    path.write_bytes(path.read_bytes() + garbage)
    log = house.again()
    with house.catalogue.transaction() as tx:
        log.enter(tx, "receive", None, {})
    log.flush()

    assert log.verify() == 4
    assert len(log.show()) == 4


def test_an_empty_file_of_a_failed_flush_is_replaced(house: House) -> None:
    """A segment that was made and never written to is made anew, so that its name is durable too."""
    house.write(4)
    house.write(1, flush=False)
    house.layout.segment(2).touch()
    disk = FaultyDisk()
    house.again(disk).flush()

    assert "after rename .log" in disk.steps
    assert house.log.verify() == 5


@pytest.mark.parametrize(
    ("problem", "error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), SpaceError, "No space left"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), SpaceError, "quota"),
        (OSError(errno.EROFS, "Read-only file system"), VaultError, "Read-only"),
        (OSError("no number"), VaultError, "OSError"),
    ],
)
@pytest.mark.parametrize("half", [False, True])
def test_what_can_not_be_written_lets_nothing_leave(
    house: House, problem: OSError, error: type[VaultError], words: str, half: bool
) -> None:
    """Flush raises; the entry stays in the outbox and is written when there is room again."""
    house.write(1)
    house.write(1, flush=False)
    house.disk.problem, house.disk.half = problem, half
    house.disk.at = "" if half else "before append .log"

    with pytest.raises(error, match=words) as caught:
        house.log.flush()
    assert "nothing leaves" in str(caught.value)
    assert pending(house) == 1

    house.disk.at, house.disk.half = "", False
    house.log.flush()
    assert house.log.verify() == 2


def test_a_read_only_directory_lets_nothing_leave(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's refusal to open a segment is a sentence."""

    def refused(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("trafficvault.durable.os.open", refused)
    house.layout.audit.mkdir()
    house.write(1, flush=False)

    with pytest.raises(VaultError, match="Permission denied; nothing leaves"):
        house.log.flush()
