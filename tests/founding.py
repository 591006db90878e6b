"""New vaults at the cost of a copy: one is founded once for all tests of a process, and copied for each, with people.

Four vaults that a test asks for one after another are copies of four, so that their ids and keys differ as they should.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Hashable
from contextlib import suppress
from pathlib import Path

_MOST = 4
"""How many of a kind are founded; whoever asks for more in one test, as a property with many examples does, gets these
in turn.
"""


class Founders:
    """The vaults that were founded so far, closed; none are kept before `keep` has said where."""

    def __init__(self) -> None:
        self._directory: Path | None = None
        self._kept: dict[Hashable, list[Path]] = {}
        self._taken = Counter[Hashable]()

    def keep(self, directory: Path | None) -> None:
        """Keeps vaults below `directory` from now on, or no more."""
        self._directory, self._kept = directory, {}
        self.begin()

    def begin(self) -> None:
        """Another test begins: it may have any of the vaults that are kept."""
        self._taken.clear()

    def copy(self, kind: Hashable, directory: Path, found: Callable[[Path], object]) -> bool:
        """Puts a vault of that kind below `directory`, if one is to be had; `found` founds it and leaves it closed."""
        if self._directory is None:
            return False
        number = self._taken[kind] % _MOST
        self._taken[kind] += 1
        kept = self._kept.setdefault(kind, [])
        if number == len(kept):
            place = self._directory / f"{len(self._kept)}-{number}"
            place.mkdir()
            found(place)
            kept.append(place)
        shutil.copytree(kept[number], directory, dirs_exist_ok=True, copy_function=_copied)
        return True


FOUNDERS = Founders()


def _copied(source: str, target: str) -> None:
    # The reserve is large and only ever unlinked: another name for it does, where both are on one file system.
    if Path(source).name == "reserve":
        with suppress(OSError):
            os.link(source, target)
            return
    shutil.copy2(source, target)
