"""Steadfast: parts of an act of which one that fails keeps no other from being tried.

For what an expiry does last. A day whose file is damaged, or that there is no room to write anew, is told when the rest
is done, so that no other record stays past its term for its sake.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from trafficvault.errors import VaultError


class Attempts:
    """What failed so far, the first first."""

    def __init__(self) -> None:
        self._failed: list[VaultError | OSError] = []

    @contextmanager
    def one(self) -> Iterator[None]:
        """Notes that the block failed for what it found in the vault or on the disk, and ends it."""
        try:
            yield
        except (VaultError, OSError) as problem:
            self._failed.append(problem)

    def require_done(self) -> None:
        """Raises the first failure, with a note of each other, unless there was none."""
        if self._failed:
            first, *others = self._failed
            for one in others:
                first.add_note(f"beside it: {one if isinstance(one, VaultError) else type(one).__name__}")
            raise first
