"""Steadfast: parts of an act of which one that fails keeps no other from being tried.

For what an expiry does last. A day whose file is damaged, or that there is no room to write anew, is told when the rest
is done, so that no other record stays past its term for its sake.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from trafficvault import disk_errors
from trafficvault.errors import VaultError


class Attempts:
    """What failed so far, the first first."""

    def __init__(self) -> None:
        self._failed: list[VaultError] = []

    @contextmanager
    def one(self, doing: str) -> Iterator[None]:
        """Notes that the block failed for what it found in the vault or on the disk, and ends it. `doing` says what it
        was about, where the system's own error does not.
        """
        try:
            yield
        except VaultError as problem:
            self._failed.append(problem)
        except OSError as problem:
            self._failed.append(disk_errors.told(doing, problem))
            self._failed[-1].__cause__ = problem

    def require_done(self) -> None:
        """Raises the first failure, with a note of each other that says something else, unless there was none."""
        if self._failed:
            first, *others = self._failed
            for other in dict.fromkeys(map(str, others)):
                if other != str(first):
                    first.add_note(f"beside it: {other}")
            raise first
