"""What one night left: what the vault keeps of each kind and what it must keep, and how late what ended was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from tests.simulation.book import Book
from tests.simulation.mirror import Mirror
from tests.simulation.rules import CLASSES, WHERE
from trafficvault import holdings

Tally = Mapping[str, int]
LOCATIONS = "mobile_usage, its locations"
KINDS = (*CLASSES, LOCATIONS)
"""What has a term of its own: the classes, and the locations of one of them."""


@dataclass(frozen=True)
class Night:
    """One day's end. By kind: the records that the vault holds, those that it must by the oracle, and of these the ones
    inside their own term; the days that were certified, and how late the latest of them was.

    `held` records are kept apart by a hold, `rows_gone` certificates are of records that left living days.
    """

    date: date
    kept: Tally
    wanted: Tally
    inside: Tally
    held: int
    expired: bool
    is_ordinary: bool
    certified: Tally
    rows_gone: int
    latest: Mapping[str, timedelta]


def night_of(
    mirror: Mirror, kept: Tally, certificates: Iterable[Mapping[str, Any]], *, expired: bool, ordinary: bool
) -> Night:
    """The night that just was, in which an expiry ran or was missed, and issued `certificates`; an `ordinary` one comes
    after one that ran, and nothing else made anything due.
    """
    book, now = mirror.book, mirror.now
    certified, latest, gone = Counter[str](), dict[str, timedelta](), 0
    for one in certificates:
        gone += one["what"] == "rows"
        if one["what"] == "records":
            kind = LOCATIONS if one["categories"] == ["where"] else str(one["class"])
            certified[kind] += 1
            latest[kind] = max(latest.get(kind, timedelta()), timedelta(seconds=one["lateness_seconds"]))
    held = sum(len(hold.kept) for hold in book.holds.values() if hold.binds(now))
    return Night(
        now.date(), kept, wanted(mirror.book), _inside(mirror), held, expired, ordinary, certified, gone, latest
    )


def stored(mirror: Mirror) -> tuple[Tally, list[str]]:
    """How many records of each kind lie in the vault's living files, and whether they are as many as the oracle's.

    A location counts while its day has the key of it.
    """
    found: Counter[str] = Counter()
    with mirror.vault.catalogue.reading() as tx:
        parts = {(row["record_class"], row["day"]): row for row in tx.select("partitions")}
        for row in tx.select("files"):
            found[row["record_class"]] += row["rows"]
            if row["record_class"] == "mobile_usage":
                part = parts[row["record_class"], row["day"]]
                found[LOCATIONS] += 0 if "where" in holdings.gone(part) else row["rows"]
    kept, wished = {kind: found[kind] for kind in KINDS}, wanted(mirror.book)
    told = [
        f"{mirror.at()}: {kept[kind]} records are stored, and {wished[kind]} should be: {kind}"
        for kind in KINDS
        if kept[kind] != wished[kind]
    ]
    return kept, told


def wanted(book: Book) -> Tally:
    """How many records of each kind the vault must hold, by the oracle."""
    found: Counter[str] = Counter()
    for (record_class, _), day in book.days.items():
        found[record_class] += len(day.rows)
        if record_class == "mobile_usage" and day.located:
            found[LOCATIONS] += len(day.rows)
    return {kind: found[kind] for kind in KINDS}


def _inside(mirror: Mirror) -> Tally:
    """The records, and the locations, that are inside their own term."""
    book: Book = mirror.book
    found = Counter[str]()
    for (record_class, _), day in book.days.items():
        for row in day.rows:
            living = book.is_living(row, mirror.now)
            found[record_class] += living
            if record_class == "mobile_usage" and day.located:
                found[LOCATIONS] += living and mirror.now < book.expires(row.call, WHERE)
    return {kind: found[kind] for kind in KINDS}
