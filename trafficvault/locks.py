"""The four locks that keep processes out of each other's way. All are `flock`s: they end with their process, however
it ends.

`writing` is held by the one process that adds or removes records (receive, accept, expire), from before it opens the
keys. `reading` is the lease of a process that reads records; `destroying` waits a bounded time for all leases to end.
`compacting` is held by the one process that prepares merged files; who wants to clear away what a killed one left takes
it for a moment. `scheduling` is held by the one process that keeps the schedule.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trafficvault.errors import BusyError
from trafficvault.layout import Layout

_POLL_SECONDS = 0.05


@contextmanager
def writing(layout: Layout, wait: float = 0.0) -> Iterator[None]:
    """Holds the writer's lock, which tells the process id of its holder. Raises `BusyError` when another process has
    it and keeps it for `wait` seconds.
    """
    handle = os.open(layout.lock, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        if not _taken_within(handle, wait):
            other = os.pread(handle, 20, 0).decode(errors="replace").strip() or "unknown"
            raise BusyError(f"starting to write: process {other} is writing to this vault; wait for it to finish")
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


@contextmanager
def compacting(layout: Layout) -> Iterator[bool]:
    """Takes the lock of compaction if nobody has it, and yields whether it was free."""
    with _tried(layout.compaction_lock) as free:
        yield free


@contextmanager
def scheduling(layout: Layout) -> Iterator[bool]:
    """Takes the lock of the schedule if nobody has it, and yields whether it was free."""
    with _tried(layout.schedule_lock) as free:
        yield free


@contextmanager
def reading(layout: Layout) -> Iterator[None]:
    """Holds a lease on the records: no key that lives now is destroyed before the lease ends, or `lease_seconds` are
    over.
    """
    handle = os.open(layout.lease, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH)
        yield
    finally:
        os.close(handle)


@contextmanager
def destroying(layout: Layout, seconds: float) -> Iterator[bool]:
    """Waits at most `seconds` for all leases to end, and yields whether they had: destruction does not wait longer."""
    handle = os.open(layout.lease, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        yield _taken_within(handle, seconds)
    finally:
        os.close(handle)


@contextmanager
def _tried(path: Path) -> Iterator[bool]:
    handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        yield _taken(handle)
    finally:
        os.close(handle)


def _taken_within(handle: int, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not _taken(handle):
        if time.monotonic() >= until:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _taken(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
