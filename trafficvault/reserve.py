"""The reserve: a file that holds space, so that expiry, its audit entries and certificates run on a full disk.

`release` gives the space back to the file system before a run opens anything, when little is free; `take` holds it
again when the run has ended. A missing reserve, or half of one, is no fault: it is taken when there is room.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from trafficvault.durable import NO_SPACE, Disk
from trafficvault.layout import Layout

RESERVE_BYTES = 16 * 2**20


def release(layout: Layout, disk: Disk) -> None:
    """Gives the reserve's space back when less than it is free. It needs no opened vault: on a full disk none opens."""
    if layout.reserve.exists() and disk.free_bytes(layout.vault) < RESERVE_BYTES:
        disk.remove(layout.reserve)


def take(layout: Layout, disk: Disk) -> None:
    """Holds the reserve's space, where there is as much again; otherwise a later run will."""
    whole = layout.reserve.exists() and layout.reserve.stat().st_size >= RESERVE_BYTES
    if whole or disk.free_bytes(layout.vault) < 2 * RESERVE_BYTES:
        return
    try:
        disk.create_by(layout.reserve, _fill)
    except OSError as problem:
        if problem.errno not in NO_SPACE | {errno.EOPNOTSUPP}:
            raise


def _fill(part: Path) -> None:
    handle = os.open(part, os.O_WRONLY)
    try:
        os.posix_fallocate(handle, 0, RESERVE_BYTES)
    finally:
        os.close(handle)
