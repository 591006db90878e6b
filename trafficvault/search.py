"""Search: the rows that a warrant reaches, day by day in time order, opened under its own keys and no others.

A file is opened when its records' days meet a target's window; with a filter on the targets, so that other rows are
never held. Parts of a call that matched (a BYE after midnight, without a number) are looked for on the same and the
neighbouring days; those files are opened only when there is such a call. Rows past their own term are left out,
whatever day they are on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pyarrow as pa

from ingest.read import anchor
from ingest.record import BY_NAME, CATEGORIES, COLUMNS, FRAME, category_of
from queries import scope
from queries.engine import Grant
from queries.scope import Scope
from trafficvault import partitions, retention
from trafficvault.catalogue import Row
from trafficvault.keys import SignedWarrant
from trafficvault.vault import Vault

_DAY = timedelta(days=1)
_CALL = ("source", "correlation_id")
_INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class _File:
    file_id: str
    record_class: str
    day: date
    reach: tuple[date, date]
    columns: tuple[str, ...]


class Search:
    """One search under one warrant. It reads the catalogue once, when it is made."""

    def __init__(self, vault: Vault, warrant: SignedWarrant, wanted: Scope, now: datetime) -> None:
        self._vault, self._warrant, self._scope, self._now = vault, warrant, wanted, now
        with vault.catalogue.reading() as tx:
            dying = {(row["record_class"], row["day"]) for row in tx.select("partitions") if row["state"] != "live"}
            rows = [row for row in tx.select("files") if (row["record_class"], row["day"]) not in dying]
        kept = {name for name in wanted.classes if vault.policy.term_of(name) is not None}
        self._files = [_file(row) for row in rows if row["record_class"] in kept]
        self._matched: dict[date, pl.DataFrame] = {}
        self._called: dict[date, pl.DataFrame] = {}

    def searched(self) -> list[tuple[str, date]]:
        """Class and day of every partition that is opened to look for targets."""
        return sorted({(file.record_class, file.day) for file in self._files if self._is_reached(file)})

    def grant(self) -> Grant:
        """What the question may show: the categories of the warrant, and their columns."""
        granted = self._scope.categories | {FRAME}
        columns = frozenset(
            column.name
            for column in COLUMNS
            if all(category_of(column.name, name) in granted for name in self._scope.classes)
        )
        return Grant(self._scope.categories, columns)

    def days(self, progress: Callable[[str], None], *, with_neighbours: bool) -> Iterator[pa.Table]:
        """The rows in scope, one table per day that has any, with the columns of `queries.scope.TARGET_SCHEMA`.

        With `with_neighbours` a day's table also holds the parts, on the days beside it, of calls that touch the day,
        marked `neighbour`, so that a question can put a call together that crosses midnight.
        """
        days = {file.day for file in self._files if self._is_reached(file)}
        for day in sorted(days | {one + step for one in days for step in (-_DAY, _DAY)}):
            progress(day.isoformat())
            rows = self._rows(day, with_neighbours=with_neighbours)
            for kept in (self._matched, self._called):
                for passed in [old for old in kept if old < day - _DAY]:
                    del kept[passed]
            if rows.height:
                yield rows.to_arrow()

    def _rows(self, day: date, *, with_neighbours: bool) -> pl.DataFrame:
        around = (day - _DAY, day, day + _DAY)
        calls = pl.concat([self._calls(one) for one in around]).unique()
        found = [self._match(day).with_columns(neighbour=pl.lit(False))]
        if not calls.height and not found[0].height:
            return found[0]
        if calls.height:
            parts = scope.call_filter(calls)
            # A part that matched by itself on another day is what makes that day's call a target's.
            near = [self._match(one).filter(parts) for one in around if one != day and _has_parts(self._match(one))]
            # No further than a day from a window: the key store releases no key beyond.
            files = [file for file in self._files if file.day in around and self._is_reached(file, _DAY)]
            near += [self._read(file, parts) for file in files if file.day != day]
            found += [
                self._read(file, parts).with_columns(neighbour=pl.lit(False)) for file in files if file.day == day
            ]
            found += [frame.with_columns(neighbour=pl.lit(True)) for frame in near]
        rows = pl.concat(found, how="diagonal_relaxed").unique(["source", "batch", "row", "occurrence"], keep="first")
        rows = scope.select(rows, self._scope)
        return rows if with_neighbours else rows.filter(~pl.col("neighbour"))

    def _match(self, day: date) -> pl.DataFrame:
        """The rows of `day` that may hold a target; the days around the one at hand are kept."""
        if day not in self._matched:
            reached = [file for file in self._files if file.day == day and self._is_reached(file)]
            frames = [self._read(file, scope.prefilter(self._scope, file.columns)) for file in reached]
            self._matched[day] = pl.concat([_nothing(), *frames], how="diagonal_relaxed")
        return self._matched[day]

    def _calls(self, day: date) -> pl.DataFrame:
        """Source and correlation id of the calls of several parts that touch a target on `day`."""
        if day not in self._called:
            found = self._match(day)
            # Most days of most targets are empty, and asking nothing of them is what makes a long window quick.
            self._called[day] = scope.calls(found, self._scope) if found.height else found.select(_CALL)
        return self._called[day]

    def _read(self, file: _File, only: pl.Expr) -> pl.DataFrame:
        """The granted columns of the rows of `file` that `only` holds for and that are inside their own term."""
        granted = self._scope.categories | {FRAME}
        columns = [name for name in file.columns if category_of(name, file.record_class) in granted]
        if not set(only.meta.root_names()) <= set(columns):
            return _nothing()
        needed = {category_of(name, file.record_class) for name in columns} | {FRAME}
        released = [
            self._vault.keys.release(self._warrant, file.record_class, file.day, category, file.reach)
            for category in CATEGORIES
            if category in needed
        ]
        rows = partitions.read_released(self._vault.layout, released, file.file_id, columns, only)
        term = self._vault.policy.require_term(file.record_class)
        if rows.height and retention.expires_at(_first_moment(file.day), term, self._vault.policy.zone) <= self._now:
            moments = anchor(rows, file.record_class)
            rows = rows.filter(~retention.expired_mask(moments, term, self._vault.policy.zone, self._now))
        return rows.with_columns(record_class=pl.lit(file.record_class))

    def _is_reached(self, file: _File, slack: timedelta = timedelta(0)) -> bool:
        """Whether the days that the file's records touch meet a target's window, or come within `slack` of one."""
        return any(
            target.start.astimezone(UTC).date() - slack <= file.reach[1]
            and file.reach[0] <= (target.end - _INSTANT).astimezone(UTC).date() + slack
            for target in self._scope.targets
        )


def _file(row: Row) -> _File:
    reach = date.fromisoformat(row["reach_from"]), date.fromisoformat(row["reach_to"])
    columns = tuple(name for name in BY_NAME if name in set(_names(row)))
    return _File(row["id"], row["record_class"], date.fromisoformat(row["day"]), reach, columns)


def _names(row: Row) -> list[str]:
    names: list[str] = json.loads(row["columns"])
    return names


def _nothing() -> pl.DataFrame:
    """No row, with the columns that every file has."""
    text = ("source", "batch", "record_class", "correlation_id")
    return pl.DataFrame(schema={**dict.fromkeys(text, pl.String), "row": pl.Int64, "occurrence": pl.Int32})


def _has_parts(frame: pl.DataFrame) -> bool:
    return {"correlation_id", "part"} <= set(frame.columns)


def _first_moment(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
