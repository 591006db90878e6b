"""Kinds: what a file of a vault directory is, told by the end of its path alone. Nothing is opened.

`SEALED` are the kinds that keep something under a key, `CLEAR` those that have nothing to hide. Who looks at every file
goes by these two lists (`trafficvault.inventory`, `trafficvault.against`), so that a new kind is named in one place and
forgotten in none: a test holds that every path of `Layout` is of one of them, and that each sealed kind is tried.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from pathlib import PurePath
from typing import Final

from ingest.record import CLASSES
from trafficvault.durable import PART

_DATED: Final = r"(?P<record_class>[a-z_]+)/(?P<day>\d{4}-\d{2}-\d{2})/(?P<name>[^/.]+)"

RECORDS: Final = "record file"
BLOCKS: Final = "block file"
SEEN: Final = "seen block"
HELD_BACK: Final = "kept by a hold"
SEGMENT: Final = "audit segment"
CATALOGUE: Final = "catalogue"
SPILLED: Final = "spilled rows"
LEFTOVERS: Final = {"rejections": "rejections", "held batch": "held", "kept file": "raw"}
"""What lies beside the records: its kind here, and what `layout.LEFTOVERS` and its directory call it."""

SEALED: Final = {
    RECORDS: rf"{_DATED}\.parquet",
    BLOCKS: rf"{_DATED}\.blocks",
    SEEN: rf"{_DATED}\.seen",
    **{kind: rf"{root}/{_DATED}\.sealed" for kind, root in LEFTOVERS.items()},
    HELD_BACK: r"holds/(?P<hold>[^/]+)/(?P<name>[^/.]+)\.sealed",
    SEGMENT: r"audit/(?P<name>\d{8})\.log",
    CATALOGUE: r"catalogue\.db",
    SPILLED: r"spill/[^/]+",
}
"""What keeps something under a key: the kind, and how its path ends."""

CLEAR: Final = {
    "settings": r"(vault|policy|sources)\.toml|vault\.toml\.restoring",
    "feed definition": r"feeds/[^/]+\.toml",
    "hashes of the log": r"tree/\d\d\.hashes",
    "pending destruction": r"pending\.json",
    "lock or reserve": r"lock|lease|reserve|schedule\.lock|compacting\.lock",
    "journal of the catalogue": r"catalogue\.db-(wal|shm)",  # what it holds is read with the catalogue
}
"""What has nothing to hide, or is read with another: the kind, and how its path ends."""

_PATTERNS: Final = {
    kind: re.compile(rf"(?:.*/)?(?:{pattern})", re.DOTALL) for kind, pattern in {**SEALED, **CLEAR}.items()
}


@dataclass(frozen=True, slots=True)
class Kind:
    """What one file is. `record_class` and `day` where its path names them, else empty and None."""

    kind: str
    name: str
    """Of a dated file and a carve the id, of a segment the number; else empty."""
    record_class: str
    day: date | None
    hold: str
    is_half: bool
    """Whether it was being written when its process ended."""

    @property
    def is_sealed(self) -> bool:
        """Whether it keeps something under a key."""
        return self.kind in SEALED

    def require_day(self) -> date:
        """The day that its path names. Raises `ValueError` for a kind that has none."""
        if self.day is None:
            raise ValueError(f"the path of a {self.kind} names no day")
        return self.day


def kind_of(path: PurePath) -> Kind | None:
    """What the file at `path` is, wherever its vault directory, or a part of it, was copied to; None when nothing of a
    vault directory has such a path.
    """
    whole, mark, _ = path.name.partition(PART)
    text = path.with_name(whole).as_posix() if mark and whole else path.as_posix()
    for kind, pattern in _PATTERNS.items():
        if found := pattern.fullmatch(text):
            named = found.groupdict()
            record_class, day = named.get("record_class") or "", _day(named.get("day"))
            if "day" in named and (day is None or record_class not in CLASSES):
                return None
            return Kind(kind, named.get("name") or "", record_class, day, named.get("hold") or "", bool(mark))
    return None


def _day(text: str | None) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        return None
