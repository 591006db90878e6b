"""Pending: what a process without the key provider's secret has dropped, and whose keys are still to be destroyed.

The file `pending.json` lies in the vault in clear, for that process can seal nothing: it names classes, days and times,
which the names of directories tell as well. Who writes to the vault directory can forge it; so nothing is destroyed, or
believed to be due, for its sake. It is there so that `status` raises an alarm, and so that certificates can tell when
the files went. The expiry that destroys the keys enters it in the audit log and removes it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from typing import Final

from trafficvault import signing
from trafficvault.durable import Disk
from trafficvault.errors import FaultError
from trafficvault.layout import LEFTOVERS, Layout

_KIND: Final = "trafficvault-pending"
KINDS: Final = ("records", *LEFTOVERS)


@dataclass(frozen=True, slots=True)
class Dropped:
    """Files of one thing that has a term, dropped at `at`, when it had been due since `due`."""

    what: str
    record_class: str
    day: str
    due: str
    at: str


@dataclass(frozen=True, slots=True)
class Pending:
    """When the last run without keys was, and what such runs have dropped since the keys were last at hand."""

    last_run: datetime | None = None
    dropped: tuple[Dropped, ...] = ()

    def of(self, what: str, record_class: str, day: date) -> Dropped | None:
        """What was dropped of that kind, class and day; None when nothing was."""
        wanted = (what, record_class, day.isoformat())
        return next((item for item in self.dropped if (item.what, item.record_class, item.day) == wanted), None)

    @property
    def sentences(self) -> list[str]:
        """The alarm, one sentence; none when nothing is pending."""
        if not self.dropped:
            return []
        first = min(item.at for item in self.dropped)
        return [
            f"key destruction pending: the files of {len(self.dropped)} days were dropped since {first} without "
            f"the key provider's secret, and their keys still live; run expire with it"
        ]


def read(layout: Layout) -> Pending:
    """The vault's file; nothing pending without one. Raises `FaultError` for one of another form."""
    path = layout.pending
    if not path.is_file():
        return Pending()
    try:
        content = json.loads(path.read_bytes())
        if [content["kind"], content["v"]] != [_KIND, 1]:
            raise ValueError
        dropped = tuple(Dropped(**item) for item in content["dropped"])
        for item in dropped:
            date.fromisoformat(item.day), _moment(item.due), _moment(item.at)
        if any(item.what not in KINDS for item in dropped):
            raise ValueError
        return Pending(_moment(content["last_run"]), dropped)
    except (ValueError, KeyError, TypeError) as problem:
        raise FaultError(
            f"reading {path.name}: it was changed; find out by whom, then move it away and run expire"
        ) from problem


def write(layout: Layout, disk: Disk, pending: Pending, now: datetime) -> None:
    """Puts the file there, durably, with `now` as the last run."""
    content = {
        "kind": _KIND,
        "v": 1,
        "last_run": signing.instant(now),
        "dropped": [asdict(item) for item in pending.dropped],
    }
    disk.create(layout.pending, signing.canonical(content) + b"\n")


def _moment(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError("a moment without a zone")
    return found.astimezone(UTC)
