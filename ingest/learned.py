"""What a process learned of the files that it read, for the next ones. It takes nothing of what reads them along: every
vault that is opened has one, and most of them take in no file.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ingest.plan import Known

KEPT: Final = 64
"""Forms of files of which is remembered what was worked out."""


class Learned:
    """What the plans of earlier files worked out, for those of the same feed and source. For many threads.

    It holds words that fields of few words had, and no other value of a record.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[Hashable, ...], Known] = {}

    def of(self, key: tuple[Hashable, ...]) -> Known | None:
        """What is known for files of that form, if anything is."""
        return self._known.get(key)

    def keep(self, key: tuple[Hashable, ...], known: Known) -> None:
        """Remembers it in place of what was known; all else is forgotten where it would be too much."""
        if key not in self._known and len(self._known) >= KEPT:
            self.forget()
        self._known[key] = known

    def forget(self) -> None:
        """Forgets everything."""
        self._known.clear()
