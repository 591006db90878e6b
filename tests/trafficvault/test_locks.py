"""The two locks: one writer, many readers, and a destroyer who waits for them, but not for ever."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from trafficvault import locks
from trafficvault.errors import BusyError
from trafficvault.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A vault directory with nothing in it."""
    (tmp_path / "vault").mkdir()
    return Layout(tmp_path / "vault", tmp_path / "keys")


def test_one_writes(layout: Layout) -> None:
    """The lock holds the writer's process id, and a second one is told it; afterwards the lock is free."""
    with locks.writing(layout):
        assert layout.lock.read_text() == f"{os.getpid()}\n"
        assert layout.lock.stat().st_mode & 0o777 == 0o600
        with pytest.raises(BusyError, match=f"process {os.getpid()} is writing"), locks.writing(layout):
            raise AssertionError("two wrote")
    with locks.writing(layout):
        pass


def test_a_writer_that_fails_leaves_the_lock_free(layout: Layout) -> None:
    """However the block ends, the next writer gets the lock."""
    with pytest.raises(ValueError, match="broken"), locks.writing(layout):
        raise ValueError("broken")
    with locks.writing(layout):
        pass


def test_a_writer_that_is_killed_leaves_the_lock_free(layout: Layout) -> None:
    """The lock ends with its process, whatever the file still says; and a holder without an id is unknown."""
    script = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); input()"
    words = [sys.executable, "-c", script, str(layout.lock)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(BusyError, match="process unknown is writing"), locks.writing(layout):
            raise AssertionError("two wrote")
        process.kill()
        process.wait(timeout=60)
    with locks.writing(layout):
        pass


def test_readers_share(layout: Layout) -> None:
    """Any number of leases stand side by side, a writer beside them."""
    with locks.reading(layout), locks.reading(layout), locks.writing(layout):
        pass


def test_who_destroys_waits_for_readers_and_not_for_ever(layout: Layout) -> None:
    """Alone it goes ahead at once; with a lease that stays it goes ahead when its time is over, and knows it."""
    with locks.destroying(layout, 0) as alone:
        assert alone
    with locks.reading(layout):
        begun = time.monotonic()
        with locks.destroying(layout, 0.2) as alone:
            assert not alone
        assert time.monotonic() - begun >= 0.2


def test_who_destroys_goes_on_when_the_last_reader_left(layout: Layout) -> None:
    """A lease that ends while it waits is waited for."""
    reads, leave = threading.Event(), threading.Event()

    def read() -> None:
        with locks.reading(layout):
            reads.set()
            leave.wait(60)

    reader = threading.Thread(target=read)
    reader.start()
    reads.wait(60)
    threading.Timer(0.1, leave.set).start()
    with locks.destroying(layout, 60) as alone:
        assert alone
    reader.join()


def test_no_reader_begins_while_keys_are_destroyed(layout: Layout) -> None:
    """A lease that is asked for meanwhile is given when the destruction is over."""
    order: list[str] = []

    def read() -> None:
        with locks.reading(layout):
            order.append("read")

    reader = threading.Thread(target=read)
    with locks.destroying(layout, 0):
        reader.start()
        reader.join(0.2)
        order.append("destroyed")
    reader.join(60)
    assert order == ["destroyed", "read"]
