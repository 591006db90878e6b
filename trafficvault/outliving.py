"""Outliving: records that were inside their term when a hold began, have passed it since, and lie on a day that lives.

Records of one day reach their term one after the other, and their day dies when the last has. What a hold covers is
carved when the keys die; until then the records in its scope are read from the living day, as they were to be answered
when the hold began. Only a warrant that goes on from the hold reads them, under its own keys, in the categories that
both name; to every other they are past their term. An answer is thus the same before and after the carving.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date, datetime, timedelta

import polars as pl

from ingest.record import SCHEMA, WHEN
from queries import scope
from trafficvault import block_matching, ended, policies, retention, warrants
from trafficvault.holdings import StoredFile
from trafficvault.holds import Hold
from trafficvault.keys import Admission
from trafficvault.policy import DISCLOSING, Policy
from trafficvault.reading import FILE_DAY, Reader, nothing
from trafficvault.vault import Vault

_DAY = timedelta(days=1)
_ROW = ("source", "batch", "row", "occurrence")

Place = tuple[str, date]
"""Class and day."""


class Outliving:
    """What `holds`, which bind for one warrant, keep answerable of `files`, which it may open: of days on which a term,
    or the wait after the end of a service, can have come to its end since the hold began.
    """

    def __init__(
        self,
        vault: Vault,
        holds: Sequence[Hold],
        files: Sequence[StoredFile],
        categories: Collection[str],
        now: datetime,
        rules: Policy,
    ) -> None:
        self._vault, self._files, self._rules = vault, files, rules
        self._categories = frozenset(categories)
        with vault.catalogue.reading() as tx:
            self._then = {hold.hold_id: policies.ruled(tx, hold.since, vault.policy) for hold in holds}
        self._readers: list[Reader] = []
        self._of = [(hold, self._reached(hold, now)) for hold in holds]
        self._of = [(hold, places) for hold, places in self._of if places]

    @property
    def days(self) -> list[Place]:
        """Class and day of what may be told under a hold alone."""
        return sorted({place for _, places in self._of for place in places})

    def dates(self) -> set[date]:
        """The days of `days`."""
        return {day for _, day in self.days}

    def admit(self, admission: Admission) -> None:
        """Reads from here on under the admitted warrant."""
        self._readers = [
            Reader(
                self._vault,
                admission,
                self._categories & hold.document.categories,
                hold.since,
                self._then[hold.hold_id].serving(DISCLOSING),
                told_by=hold.since,
            )
            for hold, _ in self._of
        ]

    def rows(self, first: date, last: date) -> pl.DataFrame:
        """The records in the scope of the holds, of the days `first` to `last`, with class and `FILE_DAY`."""
        frames = [nothing()]
        for reader, (hold, places) in zip(self._readers, self._of, strict=True):
            for record_class in sorted({name for name, _ in places}):
                days = {day for name, day in places if name == record_class and first <= day <= last}
                if days:
                    frames.append(self._read(reader, hold, record_class, days))
        return pl.concat(frames, how="diagonal_relaxed")

    def _reached(self, hold: Hold, now: datetime) -> frozenset[Place]:
        """Where something may have come to its end between the begin of `hold` and `now`."""
        later, before = ended.of(self._vault), ended.of(self._vault, hold.since)
        zone, found = self._rules.zone, set()
        for record_class in {file.record_class for file in self._files} & set(hold.document.classes):
            terms = [self._rules.require_term(record_class, name) for name in (WHEN, *self._rules.early(record_class))]
            known = {one.ending_id for one in before.due(record_class, hold.since)}
            is_told = bool({one.ending_id for one in later.due(record_class, now)} - known)
            days = {file.day for file in self._files if file.record_class == record_class}
            found |= {
                (record_class, day)
                for day in days
                if is_told or any(retention.has_begun(day, term, zone, now) for term in terms)
            }
        return frozenset(found)

    def _read(self, reader: Reader, hold: Hold, record_class: str, days: Collection[date]) -> pl.DataFrame:
        """As a carve of `days` would keep them: with the parts of calls whose other parts stand on the days beside."""
        wanted = warrants.scope_of(hold.document, (record_class,))
        beside = {day + step for day in days for step in (-_DAY, timedelta(0), _DAY)}
        files = [file for file in self._files if file.record_class == record_class and file.day in beside]
        found = reader.rows(
            files,
            lambda columns: scope.prefilter(wanted, columns),
            lambda columns: block_matching.wanted(wanted.targets, columns),
        )
        found = found.with_columns(record_class=pl.lit(record_class))
        calls = scope.calls(found, wanted)
        if calls.height:
            ids = calls["correlation_id"].unique().to_list()
            parts = reader.rows(
                files, lambda columns: scope.call_filter(calls), lambda columns: block_matching.calls(ids)
            )
            found = pl.concat([found, parts], how="diagonal_relaxed").unique(_ROW, keep="first", maintain_order=True)
        if not found.height:
            return nothing()
        chosen = scope.select(found, wanted).filter(pl.col(FILE_DAY).is_in(sorted(days)))
        return chosen.select(name for name in (*SCHEMA.names, FILE_DAY, "record_class") if name in chosen.columns)
