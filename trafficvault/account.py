"""The account of one delivered file while it is received: what became of its units, day by day, and its rejections."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import date

from ingest.read import Reading
from trafficvault.raw_bytes import Kept
from trafficvault.rejections import Rejections


@dataclass(slots=True)
class Account:
    """What became of the units of batch `batch` so far. Records that wait to be compared are in no count yet."""

    batch: str
    rejections: Rejections
    raw: Kept | None = None
    """The delivered bytes, once they are sealed."""
    read: int = 0
    joined: int = 0
    stored: int = 0
    duplicate: int = 0
    expired: int = 0
    unlocated: int = 0
    """Records that came without being past their term, and whose location was past its own."""
    ignored: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    days: set[tuple[str, date]] = field(default_factory=set)
    """Class and day of what is stored."""
    span: tuple[date, date] | None = None
    """The first and the last UTC date that a stored record touches."""

    def abandon(self) -> None:
        """Removes what was written beside the records."""
        self.rejections.abandon()
        if self.raw is not None:
            self.raw.abandon()

    def add(self, reading: Reading) -> None:
        """Adds what `reading` tells besides its records."""
        self.read += reading.units
        self.joined += reading.joined
        self.ignored.update(reading.ignored)
        self.notes.update(reading.notes)
        self.rejections.add(reading.rejections)

    def landed(self, record_class: str, day: date, rows: int, reach: tuple[date, date]) -> None:
        """Adds `rows` records of that class and day, which touch the dates `reach`."""
        self.stored += rows
        self.days.add((record_class, day))
        first, last = self.span or reach
        self.span = min(first, reach[0]), max(last, reach[1])
