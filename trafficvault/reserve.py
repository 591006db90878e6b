"""The reserve: a file that holds space, so that expiry, its audit entries and certificates run on a full disk.

`release` gives the space back to the file system when a run begins and little is free; `take` holds it again when the
run has ended. A missing reserve is no fault: it is taken when there is room.
"""

from __future__ import annotations

import errno
import os

from trafficvault.vault import Vault

RESERVE_BYTES = 16 * 2**20


def release(vault: Vault) -> None:
    """Gives the reserve's space back when less than it is free."""
    if vault.disk.free_bytes(vault.layout.vault) < RESERVE_BYTES and vault.layout.reserve.exists():
        vault.disk.remove(vault.layout.reserve)


def take(vault: Vault) -> None:
    """Holds the reserve's space, where there is as much again; otherwise a later run will."""
    if vault.layout.reserve.exists() or vault.disk.free_bytes(vault.layout.vault) < 2 * RESERVE_BYTES:
        return
    handle = os.open(vault.layout.reserve, os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        os.posix_fallocate(handle, 0, RESERVE_BYTES)
        os.fsync(handle)
    except OSError as problem:
        # Half a reserve would pass for a whole one.
        vault.layout.reserve.unlink()
        if problem.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EOPNOTSUPP):
            raise
    finally:
        os.close(handle)
