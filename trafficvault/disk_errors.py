"""Disk errors: what the system said of a file, as a sentence for a person.

The words are those of the system's own number. An error's text and its path are not told: libraries put whole paths
into the text, and a path that a person chose may name somebody. A file of the vault is named by the random name that
the vault gave it.
"""

from __future__ import annotations

import os
import re
from typing import Final

from trafficvault.durable import NO_SPACE
from trafficvault.errors import SpaceError, VaultError

FULL: Final = "the disk is full; nothing is half done: free space and do it again"
_OWN: Final = re.compile(r"(?<![0-9A-Za-z])[0-9a-f]{32}(?:\.[a-z]+)?(?![0-9A-Za-z])")
"""A name that the vault gives: 128 random bits, and of which kind the file is."""


def reason_of(problem: OSError) -> str:
    """Why, in the system's words: `Input/output error`; the error's kind where it has no number."""
    return type(problem).__name__ if problem.errno is None else os.strerror(problem.errno)


def own_name(problem: OSError) -> str | None:
    """The random name of the vault's own file that `problem` is about; None where it tells of no such file."""
    # Libraries tell the path in their text alone.
    found = _OWN.search(str(problem.filename or problem))
    return None if found is None else found[0]


def told(doing: str, problem: OSError) -> VaultError:
    """The error to raise instead: `doing` (`trimming internet/2027-02-28`), what could not be used and why, and what to
    do next. It is a `SpaceError` where the disk was full.
    """
    if problem.errno in NO_SPACE:
        return SpaceError(f"{doing}: {FULL}")
    what = f"{own_name(problem) or 'a file'} could not be read or written: {reason_of(problem)}"
    return VaultError(f"{doing}: {what}; see that its disk is sound and its rights are the vault's, and do it again")
