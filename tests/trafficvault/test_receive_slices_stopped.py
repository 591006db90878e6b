"""Receive in slices, stopped: by a worker, an interrupt, a full disk or a file that is none; nothing stays."""

from __future__ import annotations

import gzip
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ingest.course import Course
from tests.support import FullDisk, new_vault, opened, usage
from tests.trafficvault.sliced_files import SMALL, lines, take
from trafficvault import intake, landing, receive
from trafficvault.delivered import Delivered
from trafficvault.errors import RefusedError, SpaceError
from trafficvault.progress import Progress
from trafficvault.vault import Vault
from trafficvault.verify import verify


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    """A vault."""
    return new_vault(tmp_path)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("x|y\n" * 400, "it is of another form"),
        (usage(lines(60)) + "GP|316", "the file is truncated"),
        (gzip.compress(usage(lines(60)).encode())[:-9], "truncated"),
        (usage(lines(60)) + "a\0b\n", "NUL"),
    ],
    ids=["form", "cut", "gzip", "binary"],
)
def test_a_refused_file_leaves_nothing(vault: Vault, data: str | bytes, reason: str) -> None:
    """Refused at its end or on the way: a receipt, and not a file."""
    found = take(vault, data)
    assert found.status == "refused"
    assert reason in (found.reason or "")
    assert [path for path in vault.layout.records.rglob("*") if path.is_file()] == []
    assert [path for path in vault.layout.rejections.rglob("*") if path.is_file()] == []
    assert verify(vault).faults == ()


# --- what goes wrong --------------------------------------------------------------------------------------------------


def files_of(vault: Vault) -> list[Path]:
    """What lies in the vault besides catalogue and log."""
    return [path for path in (*vault.layout.records.rglob("*"), *vault.layout.rejections.rglob("*")) if path.is_file()]


@pytest.mark.parametrize("at", [1, 2, 9])
def test_the_error_of_a_worker_is_the_callers(vault: Vault, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is, from any slice; the other worker ends too, nothing stays, and the next receipt is sound."""
    read, calls, lock = Course.read, iter(range(1, 10_000)), threading.Lock()

    def failing(self: Course, part: Any) -> Any:
        with lock:
            number = next(calls)
        if number == at:
            raise ZeroDivisionError("of a test")
        return read(self, part)

    with monkeypatch.context() as patched:
        patched.setattr(Course, "read", failing)
        with pytest.raises(ZeroDivisionError, match="of a test"):
            take(vault, usage(lines(150)) + "bad\n")
    assert files_of(vault) == []
    assert threading.active_count() == 1
    assert take(vault, usage(lines(150))).stored == 150
    assert verify(vault).faults == ()


def test_an_interrupt_ends_both_workers(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control-C while they work: nothing is committed, nothing stays."""
    append = landing.Landing.append

    def interrupting(self: landing.Landing, *told: Any) -> Any:
        done = append(self, *told)
        os.kill(os.getpid(), 2)
        return done

    with monkeypatch.context() as patched:
        patched.setattr(landing.Landing, "append", interrupting)
        with pytest.raises(KeyboardInterrupt):
            take(vault, usage(lines(400)))
    assert files_of(vault) == []
    assert intake.batches(vault) == []


@pytest.mark.parametrize("at", [1, 5, 9, 14])
def test_a_disk_that_fills_up_on_the_way(tmp_path: Path, at: int) -> None:
    """An error, no batch, and what could be removed is gone; with space it goes on."""
    vault = new_vault(tmp_path)
    full = opened(vault, disk=FullDisk(at))
    with pytest.raises((OSError, SpaceError)):
        take(full, usage(lines(150)) + "bad\n")
    assert intake.batches(vault) == []
    after = opened(vault)
    assert take(after, usage(lines(150)) + "bad\n").stored == 150
    assert verify(after).faults == ()


def test_space_is_looked_at_on_the_way(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that would take more than `min_free` leaves is stopped amid its slices."""
    told: Iterator[int] = iter([2**60] * 4)
    monkeypatch.setattr(vault.disk, "free_bytes", lambda path: next(told, 0))
    with pytest.raises(SpaceError, match="min_free"):
        take(vault, usage(lines(300)))
    assert files_of(vault) == []


def test_a_file_that_changes_while_it_is_read(vault: Vault, tmp_path: Path) -> None:
    """Its digest would be of other bytes than were stored."""
    path = tmp_path / "S4PGWM000001"
    path.write_text(usage(lines(150)))
    feed, source = intake.feed_and_source(vault, "mvno_pipe", None)

    def grow(step: str | Progress) -> None:
        with path.open("a") as file:
            file.write(usage(lines(1)))

    with pytest.raises(RefusedError, match="it was changed while it was read"):
        receive.receive(vault, feed, source, Delivered(path), path.name, grow, SMALL)
    assert files_of(vault) == []
