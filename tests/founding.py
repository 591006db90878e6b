"""New vaults at the cost of a copy: one is founded once for all tests of a process, and copied for each, with people.

No two vaults of one test are copies of the same one, so that their ids and keys differ as those of two vaults do.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Hashable
from pathlib import Path

_MOST = 3
"""How many of a kind are kept; what asks for more in one test founds them, as a property with many examples does."""


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
        number = self._taken[kind]
        if self._directory is None or number == _MOST:
            return False
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
    # The reserve is large and only ever unlinked: another name for it does.
    if Path(source).name == "reserve":
        os.link(source, target)
    else:
        shutil.copy2(source, target)
