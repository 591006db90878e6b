"""How complete an answer can be: what was searched, and what was expired, missing, held or rejected in the warrant's
windows.

Every package says this of itself, an empty one too. `complete` is true only when nothing is missing that the
vault knows of: no day past its term, no sequence gap, no held batch, no accepted mismatch, no rejected row. A
refused file is named and does not count: it stayed with its sender, and may have been no file of ours.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache

from trafficvault import holdings, retention
from trafficvault.catalogue import Row
from trafficvault.policy import DISCLOSING
from trafficvault.sources import gaps
from trafficvault.terms import Term
from trafficvault.vault import Vault
from trafficvault.warrants import WarrantDocument

_DAY = timedelta(days=1)
_INSTANT = timedelta(microseconds=1)
_FAR = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Gap:
    """A run of missing sequence numbers of one source, and the days of the batches on either side of it."""

    source: str
    first: int
    last: int
    from_day: str | None
    to_day: str | None

    @property
    def sentence(self) -> str:
        """What is missing, in words."""
        files = f"file {self.first}" if self.first == self.last else f"files {self.first} to {self.last}"
        return f"source {self.source} lacks {files}"


@dataclass(frozen=True, slots=True)
class Completeness:
    """What was searched for an answer, and what the vault knows to be missing from it."""

    searched: dict[str, list[str]]
    empty: dict[str, list[str]]
    expired: dict[str, list[str]]
    partly_expired: dict[str, list[str]]
    categories_expired: dict[str, dict[str, list[str]]]
    """By class and category: days of which that category has expired, wholly or in part, and the rest has not."""
    gaps: list[Gap]
    held: list[str]
    mismatched: list[str]
    rejections: dict[str, int]
    refused: list[str]
    termless: list[str]

    @property
    def complete(self) -> bool:
        """Whether nothing is known to be missing."""
        gone = self.expired or self.partly_expired or self.categories_expired or self.termless
        return not (gone or self.gaps or self.held or self.mismatched or self.rejections)

    @property
    def sentences(self) -> tuple[str, ...]:
        """What of records that are there has expired, in words: the manifest names the days."""
        return tuple(
            f"{category} of {name} has expired, of all records or of some, on {len(days)} day{'s' * (len(days) != 1)}"
            for name, by_category in self.categories_expired.items()
            for category, days in by_category.items()
        )

    def as_manifest(self) -> dict[str, object]:
        """The manifest's part about completeness."""
        return {
            "complete": self.complete,
            "days_searched": self.searched,
            "days_without_records": self.empty,
            "days_expired": self.expired,
            "days_partly_expired": self.partly_expired,
            "categories_expired": self.categories_expired,
            "gaps": [
                {
                    "source": gap.source,
                    "first": gap.first,
                    "last": gap.last,
                    "from_day": gap.from_day,
                    "to_day": gap.to_day,
                }
                for gap in self.gaps
            ],
            "held_batches": self.held,
            "accepted_mismatches": self.mismatched,
            "rejections": self.rejections,
            "refused_batches": self.refused,
            "classes_without_term": self.termless,
        }


def look(
    vault: Vault,
    document: WarrantDocument,
    classes: Collection[str],
    searched: Iterable[tuple[str, date]],
    now: datetime,
    needs: Collection[str] = (),
) -> Completeness:
    """Compares the windows of `document`, in the `classes` that a question reads, with what the catalogue holds.

    A day that has lost a category of `needs`, without which nothing of it is found, has expired for that question.
    """
    rules = vault.policy.serving(DISCLOSING)
    by_class: dict[str, list[str]] = {name: [] for name in document.classes if name in classes}
    for record_class, day in sorted(set(searched)):
        by_class[record_class].append(day.isoformat())
    with vault.catalogue.reading() as tx:
        parts = vault.holdings.made(tx, "partitions", _ends_of)
        batches = vault.holdings.made(tx, "batches", _told_of)
    days = sorted({day for start, end in document.windows for day in days_of(start, end)})
    window = [day.isoformat() for day in days]
    lows = [datetime.combine(day, time(), UTC) for day in days]
    expired: dict[str, list[str]] = {}
    partly: dict[str, list[str]] = {}
    empty: dict[str, list[str]] = {}
    termless: list[str] = []
    lacking: dict[str, dict[str, list[str]]] = {}
    for name in by_class:
        term = rules.term_of(name)
        if name not in parts.ever:
            # Nothing of this class was ever stored, so nothing of it has expired.
            continue
        if term is None:
            termless.append(name)
            continue
        searched_days = frozenset(by_class[name])
        early = {category: _Edge(rules.require_term(name, category), rules.zone, now) for category in rules.early(name)}
        edge = _Edge(term, rules.zone, now)
        sure = max(one.sure for one in (edge, *early.values()))
        for text, low in zip(window, lows, strict=True):
            lost = parts.lost.get((name, text), frozenset())
            if low > sure and not lost and (name, text) not in parts.tombs:
                # Most days: nothing of it has come to its end.
                if text not in searched_days:
                    empty.setdefault(name, []).append(text)
                continue
            if (name, text) in parts.tombs or edge.is_passed(low + _DAY - _INSTANT):
                expired.setdefault(name, []).append(text)
                continue
            gone = _lost_of(early, low, lost)
            if any(gone.get(category) for category in needs):
                expired.setdefault(name, []).append(text)
                by_class[name] = [other for other in by_class[name] if other != text]
                continue
            if edge.is_passed(low):
                partly.setdefault(name, []).append(text)
            elif text not in searched_days:
                empty.setdefault(name, []).append(text)
                continue
            for category in document.categories & gone.keys():
                lacking.setdefault(name, {}).setdefault(category, []).append(text)
    touching = [row for row in batches.doubtful if _touches(row, window)]
    since = [row for row in batches.told if str(row["received_at"])[:10] >= window[0]]
    return Completeness(
        searched={name: found for name, found in by_class.items() if found},
        empty=empty,
        expired=expired,
        partly_expired=partly,
        categories_expired=lacking,
        gaps=[gap for gap in _gaps(vault, batches.unsettled) if _gap_touches(gap, window)],
        held=sorted(str(row["id"]) for row in touching if row["status"] == "held"),
        mismatched=sorted(str(row["id"]) for row in touching if row["status"] == "committed"),
        # The day of a row that could not be read is not known: each batch that came since the window began is named.
        rejections={str(row["id"]): int(row["rejected"]) for row in since if row["rejected"]},
        termless=termless,
        refused=sorted(str(row["id"]) for row in since if row["status"] == "refused"),
    )


def days_of(start: datetime, end: datetime) -> list[date]:
    """The UTC days that the window [start, end) touches."""
    first, last = start.astimezone(UTC).date(), (end.astimezone(UTC) - _INSTANT).date()
    return [first + _DAY * step for step in range((last - first).days + 1)]


def known_gaps(vault: Vault, batches: Sequence[Row] | None = None) -> list[Gap]:
    """The missing sequence numbers of every source that numbers its files."""
    if batches is not None:
        return _gaps(vault, _told_of(batches).unsettled)
    with vault.catalogue.reading() as tx:
        told = vault.holdings.made(tx, "batches", _told_of)
    return _gaps(vault, told.unsettled)


def _gaps(vault: Vault, unsettled: Mapping[str, _Numbered]) -> list[Gap]:
    found: list[Gap] = []
    for source, numbered in unsettled.items():
        found += numbered.gaps(sequence_modulus(vault, source))
    return found


def sequence_modulus(vault: Vault, source_name: str) -> int | None:
    """Where the file numbers of a source start again; None when they never do."""
    source = vault.sources.get(source_name)
    if source is not None and source.sequence_modulus is not None:
        return source.sequence_modulus
    return vault.feeds.modulus(source.feed if source is not None else source_name)


def gap_sentences(vault: Vault) -> list[str]:
    """One sentence per gap, for `warrant check`."""
    return [
        gap.sentence + (f", between {gap.from_day} and {gap.to_day}" if gap.from_day and gap.to_day else "")
        for gap in known_gaps(vault)
    ]


def _day(row: dict[str, object] | None, name: str) -> str | None:
    return None if row is None or row[name] is None else str(row[name])


@dataclass(frozen=True, slots=True)
class _Ends:
    """What the partitions tell: those that are dead or dying, the categories that others have lost, the classes that
    anything was ever stored of.
    """

    tombs: frozenset[tuple[str, str]]
    lost: Mapping[tuple[str, str], frozenset[str]]
    ever: frozenset[str]


def _ends_of(parts: Sequence[Row]) -> _Ends:
    return _Ends(
        frozenset((row["record_class"], row["day"]) for row in parts if row["state"] != "live"),
        # Of most days nothing is lost.
        {(row["record_class"], row["day"]): holdings.lost(row) for row in parts if row["gone"] or row["going"]},
        frozenset(row["record_class"] for row in parts),
    )


class _Numbered:
    """The numbered batches of one source, as they came."""

    def __init__(self, source: str, rows: Sequence[Row]) -> None:
        self._source, self._rows = source, rows
        self._gaps: dict[int | None, list[Gap]] = {}

    def gaps(self, modulus: int | None) -> list[Gap]:
        """What is missing between them, where the numbers start again at `modulus`; worked out once."""
        if modulus not in self._gaps:
            numbers = [int(str(row["sequence"])) for row in self._rows]
            by_number = dict(zip(numbers, self._rows, strict=True))
            found = []
            for first, last in gaps(numbers, modulus):
                before = by_number.get(first - 1 if modulus is None else (first - 1) % modulus)
                after = by_number.get(last + 1 if modulus is None else (last + 1) % modulus)
                found.append(Gap(self._source, first, last, _day(before, "first_day"), _day(after, "last_day")))
            self._gaps[modulus] = found
        return self._gaps[modulus]


@dataclass(frozen=True, slots=True)
class _Told:
    """The batches of which anything is to be told: of most there is nothing."""

    doubtful: Sequence[Row]
    told: Sequence[Row]
    unsettled: Mapping[str, _Numbered]
    """The numbered ones of each source whose numbers do not simply follow one another."""


def _told_of(batches: Sequence[Row]) -> _Told:
    by_source: dict[str, list[Row]] = {}
    for row in batches:
        if row["sequence"] is not None and row["status"] not in ("refused", "withdrawn"):
            by_source.setdefault(str(row["source"]), []).append(row)
    unsettled = {}
    for source, rows in sorted(by_source.items()):
        rows.sort(key=lambda row: str(row["received_at"]))
        numbers = [int(str(row["sequence"])) for row in rows]
        if numbers != list(range(numbers[0], numbers[0] + len(numbers))):
            # Those that do lack nothing, wherever they start again. No feed is loaded for them.
            unsettled[source] = _Numbered(source, rows)
    return _Told(
        [row for row in batches if row["status"] == "held" or (row["status"] == "committed" and _mismatch(row))],
        [row for row in batches if row["rejected"] or row["status"] == "refused"],
        unsettled,
    )


class _Edge:
    """Where a term has come to its end at `now`: only about the edge is the calendar asked."""

    def __init__(self, term: Term, zone: str, now: datetime) -> None:
        self._term, self._zone, self._now = term, zone, now
        self.sure = _FAR if term.lapses else now - term.lasts.least
        """A record after that has not reached it."""
        self._passed = now - term.lasts.most

    def is_passed(self, moment: datetime) -> bool:
        """Whether a record of that moment has reached it."""
        if moment > self.sure:
            return False
        return moment <= self._passed or retention.expires_at(moment, self._term, self._zone) <= self._now


def _lost_of(early: Mapping[str, _Edge], low: datetime, lost: frozenset[str]) -> dict[str, bool]:
    """The categories that have expired of a day that lives: true where of all its records, false where of some."""
    found = dict.fromkeys(lost, True)
    for category, edge in early.items():
        if edge.is_passed(low):
            found[category] = category in lost or edge.is_passed(low + _DAY - _INSTANT)
    return found


def _meets(window: Sequence[str], first: str, last: str) -> bool:
    """Whether one of the days of `window`, which are in order, is from `first` to `last`."""
    at = bisect_left(window, first)
    return at < len(window) and window[at] <= last


def _touches(row: dict[str, object], window: Sequence[str]) -> bool:
    """Whether the batch may hold records of the window; one that tells no day is judged by its receipt."""
    received = str(row["received_at"])[:10]
    first = str(row["first_day"] or received)
    last = str(row["last_day"] or received)
    return _meets(window, first, last)


def _gap_touches(gap: Gap, window: Sequence[str]) -> bool:
    # A side without days is open: the gap may reach any day there.
    return _meets(window, gap.from_day or window[0], gap.to_day or window[-1])


def _mismatch(row: dict[str, object]) -> bool:
    return _mismatched(str(row["counts"]))


@lru_cache(maxsize=65_536)
def _mismatched(counts: str) -> bool:
    return bool(json.loads(counts)["mismatched"])
