"""Steadfast: one day that can't be written anew keeps no other record past its term."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from tests.scenarios.prepared import with_service
from tests.support import NOW, ingest, new_vault, opened, signed_in
from trafficvault import ahead, endings, expire, proposals, signing
from trafficvault.durable import Disk
from trafficvault.errors import FaultError, SpaceError, VaultError
from trafficvault.steadfast import Attempts
from trafficvault.vault import Vault

FOUNDED = datetime(2027, 3, 1, 12, tzinfo=UTC)
LEAVES = datetime(2027, 8, 29, tzinfo=UTC)
"""When the records of 28 February leave their UTC day, which some of 1 March keep alive."""


def of_two_months(directory: Path) -> Vault:
    """A UTC day of three classes, each with a record of February and one of March."""
    vault = new_vault(directory, now=FOUNDED)
    lines = [
        {"class": name, "start": f"2027-02-28T{hour}:00Z", "imsi": "204990000000001", "served": "a"}
        for name in ("internet", "mobile_usage", "telephony")
        for hour in ("10:00", "23:30")
    ]
    told = ingest(vault, "native_ndjson", "".join(json.dumps(line) + "\n" for line in lines), "two months")
    assert told.stored == 6
    now = FOUNDED
    while now < LEAVES - timedelta(days=6):
        now += timedelta(days=6)
        vault = opened(vault, now)
        expire.expire(vault)
    return opened(vault, LEAVES)


def rows(vault: Vault) -> dict[str, int]:
    """How many records there are of each class and day."""
    with vault.catalogue.reading() as tx:
        files = tx.select("files")
    return {f"{row['record_class']}/{row['day']}": row["rows"] for row in files}


def damaged(vault: Vault, record_class: str, day: str) -> tuple[Path, bytes]:
    """Spoils the record file of that class and day; returns where it is and what it was."""
    (path,) = vault.layout.partition(record_class, date.fromisoformat(day)).glob("*.parquet")
    content = path.read_bytes()
    path.write_bytes(content[:100])
    return path, content


@pytest.mark.parametrize("record_class", ["internet", "mobile_usage", "telephony"])
def test_a_damaged_file_keeps_no_other_day_from_being_trimmed(tmp_path: Path, record_class: str) -> None:
    """The run ends with the fault, behind all that could be done; what could not is done when the file is back."""
    vault = of_two_months(tmp_path)
    path, content = damaged(vault, record_class, "2027-02-28")
    with pytest.raises(FaultError, match="2027-02-28"):
        expire.expire(vault)
    left = {name.partition("/")[0]: count for name, count in rows(vault).items()}
    assert left == {name: 2 if name == record_class else 1 for name in ("internet", "mobile_usage", "telephony")}
    with vault.catalogue.reading() as tx:
        told = json.loads(tx.meta(ahead.META) or "{}")
    assert told["at"] == signing.instant(LEAVES)

    path.write_bytes(content)
    again = opened(vault, LEAVES)
    assert [body["class"] for body in expire.expire(again).certificates] == [record_class]
    assert set(rows(again).values()) == {1}
    assert expire.expire(again).certificates == ()


@pytest.mark.parametrize("day", ["2026-11-10", "2026-11-11"])
def test_a_damaged_file_keeps_no_other_day_of_a_service(tmp_path: Path, day: str) -> None:
    """Records of an ended service leave every day that can be written anew; the end is done with when the rest is."""
    vault = with_service(tmp_path)
    (made,) = proposals.listing(vault)
    endings.enter(vault, signed_in(vault, "ada"), made)
    path, content = damaged(vault, "binding", day)
    with pytest.raises(FaultError, match=day):
        expire.expire(vault)
    other = "2026-11-11" if day == "2026-11-10" else "2026-11-10"
    assert rows(vault).get(f"binding/{other}", 0) == (1 if other == "2026-11-10" else 0)
    assert [one["state"] for one in endings.listing(vault)] == ["open"]

    path.write_bytes(content)
    again = opened(vault, NOW)
    expire.expire(again)
    assert rows(again) == {"binding/2026-11-10": 1}
    assert [one["state"] for one in endings.listing(again)] == ["done"]


def test_the_first_failure_is_raised_and_tells_of_the_others() -> None:
    """Each part is tried, and told once. A fault of ours ends the act at once."""
    attempts, done = Attempts(), list[int]()
    bad = OSError(errno.EIO, "a name", "/home/jansen/file")
    problems = (FaultError("one"), None, bad, FaultError("two"), FaultError("one"), FaultError("two"))
    for number, problem in enumerate(problems):
        with attempts.one("doing this"):
            done.append(number)
            if problem is not None:
                raise problem
    assert done == [0, 1, 2, 3, 4, 5]
    with pytest.raises(FaultError, match="one") as told:
        attempts.require_done()
    assert told.value.__notes__ == [
        "beside it: doing this: a file could not be read or written: Input/output error; see that its disk is sound "
        "and its rights are the vault's, and do it again",
        "beside it: two",
    ]
    with pytest.raises(KeyError), attempts.one("doing this"):
        raise KeyError
    Attempts().require_done()


@pytest.mark.parametrize(("number", "error"), [(errno.EIO, VaultError), (errno.ENOSPC, SpaceError)])
def test_a_first_failure_of_the_disk_is_a_sentence_too(number: int, error: type[VaultError]) -> None:
    """It says what was being done and has the exit code of its kind; the system's own error is behind it."""
    attempts, bad = Attempts(), OSError(number, os.strerror(number))
    for problem in (bad, FaultError("two")):
        with attempts.one("trimming a day"):
            raise problem
    with pytest.raises(VaultError, match=r"^trimming a day: ") as told:
        attempts.require_done()
    assert (type(told.value), told.value.__cause__) == (error, bad)
    assert told.value.__notes__ == ["beside it: two"]


class Refusing(Disk):
    """Writes no record file of one class any more."""

    def __init__(self, record_class: str) -> None:
        self.record_class = record_class

    def create_by(self, path: Path, write: Callable[[Path], object], mode: int = 0o600) -> None:
        """Refuses a file below the class's directory."""
        if self.record_class in path.parts:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        super().create_by(path, write, mode)


def test_a_disk_that_refuses_a_day_is_told_by_the_day(tmp_path: Path) -> None:
    """An expiry whose first failure is the disk's says which day is left, and does the others."""
    vault = opened(of_two_months(tmp_path), LEAVES, Refusing("internet"))
    with pytest.raises(VaultError, match=r"^removing what is past its term from internet/2027-02-28: [0-9a-f]{32}"):
        expire.expire(vault)
    left = {name.partition("/")[0]: count for name, count in rows(vault).items()}
    assert left == {"internet": 2, "mobile_usage": 1, "telephony": 1}
