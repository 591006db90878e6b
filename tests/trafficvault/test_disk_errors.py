"""Disk errors: the system's words and the vault's own names are told, and nothing that somebody chose."""

from __future__ import annotations

import errno

import pytest

from trafficvault import disk_errors

OWN = "0123456789abcdef0123456789abcdef"
TEXT = "Failed to open local file '/home/jansen/31612345678.csv'. Detail: [errno 2] No such file or directory"


@pytest.mark.parametrize(
    ("problem", "reason", "name"),
    [
        (OSError(errno.EIO, "bad", f"/v/records/voip/{OWN}.parquet"), "Input/output error", f"{OWN}.parquet"),
        (OSError(errno.EIO, "bad", f"/v/{OWN}.parquet.part-0a1b2c3d"), "Input/output error", f"{OWN}.parquet"),
        (OSError(errno.ENOENT, TEXT), "No such file or directory", None),
        (OSError(errno.EIO, "bad", f"/home/jansen/{OWN}0/31612345678.csv"), "Input/output error", None),
        (OSError(f"reading {OWN}"), "OSError", OWN),
        (OSError(TEXT), "OSError", None),
    ],
)
def test_what_is_told_of_it(problem: OSError, reason: str, name: str | None) -> None:
    """The reason is the number's, and the file is named where the vault named it."""
    assert disk_errors.reason_of(problem) == reason
    assert disk_errors.own_name(problem) == name
    told = str(disk_errors.told("trimming", problem))
    assert told.startswith(f"trimming: {name or 'a file'} could not be read or written: {reason}; ")
    assert "jansen" not in told and "31612345678" not in told
