"""Search: the rows that a warrant reaches, in stretches of days in time order, opened under its own keys and no others.

A file is opened when its records' days meet a target's window; with a filter on the targets, so that other rows are
never held. Parts of a call that matched (a BYE after midnight, without a number) are looked for on the same and the
neighbouring days; those files are opened only when there is such a call. Rows past their own term are left out,
whatever day they are on.

A stretch is as many whole days as give some number of rows: one day of a target that fills it, or all days of one that
hardly appears. What comes of a day does not depend on its stretch: each row says to which day's answer it is given. A
day with more matches than are to be held is given to a stream in portions (`trafficvault.portions`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import accumulate, groupby, takewhile

import polars as pl
import pyarrow as pa

from ingest.record import COLUMNS, FRAME, category_of
from queries import scope
from queries.engine import Grant
from queries.scope import ANSWER_DAY, Scope
from trafficvault import block_matching, carving, people
from trafficvault.block_form import ROWS
from trafficvault.catalogue import GENERATION
from trafficvault.coverage import SignedWarrant
from trafficvault.holdings import StoredFile
from trafficvault.outliving import Outliving
from trafficvault.policy import DISCLOSING, Policy
from trafficvault.portions import PORTION_ROWS, Portions
from trafficvault.progress import Progress, Watch
from trafficvault.reading import FILE_DAY, CrowdError, Found, Reader, nothing
from trafficvault.slicing import slices
from trafficvault.vault import Vault

STRETCH_ROWS = 16_384
"""About how many rows a stretch holds before it is given out; a day is never divided between two."""
SLICE_ROWS = STRETCH_ROWS
"""About how many rows a stream is asked about at once: of a day with more, slice after slice."""
_FEW_ROWS = STRETCH_ROWS // 4
_FIRST_BLOCKS, _MOST_BLOCKS = 512, 1024
"""How many blocks are read at first in one go, while nobody knows how many rows each gives, and at most later on."""
_BUSY_BLOCKS = 32
"""As many blocks of one day tell that it may fill a stretch: at first, no more are read in one go."""

_DAY = timedelta(days=1)
_INSTANT = timedelta(microseconds=1)
_ROW = ("source", "batch", "row", "occurrence")


class Search:
    """One search under one warrant. It reads the catalogue once, when it is made."""

    def __init__(
        self,
        vault: Vault,
        warrant: SignedWarrant,
        wanted: Scope,
        now: datetime,
        needs: frozenset[str] = frozenset(),
        rules: Policy | None = None,
    ) -> None:
        """`needs` are the categories without which the question is refused: a day that has lost one is not opened.
        `rules` are the terms inside which rows are given: those that serve a warrant, unless others are given.

        From here on the search goes by ring and people as they are now: who is disabled later does not stop it.
        """
        self._vault, self._warrant, self._scope, self._now = vault, warrant, wanted, now
        self._rules = rules or vault.policy.serving(DISCLOSING)
        with vault.catalogue.reading() as tx:
            files = vault.holdings.living_files(tx)
            self._held = carving.held_for(vault, tx, warrant, wanted.classes, now)
        kept = {name for name in wanted.classes if self._rules.term_of(name) is not None}
        windows = {_dates(target.start, target.end) for target in wanted.targets}
        files = [file for file in files if file.record_class in kept and not file.lost & needs]
        self._near = [file for file in files if _is_reached(file, windows, _DAY)]
        self._files = [file for file in self._near if _is_reached(file, windows)]
        self._outliving = Outliving(vault, self._held.holds, self._near, wanted.categories, now, self._rules)
        days = {file.day for file in self._files}
        self._days = sorted(days | self._held.dates() | self._outliving.dates())
        # Only now that the catalogue was read: the ring then has the keys of every file that it named.
        _look_up(vault)

    def searched(self) -> list[tuple[str, date]]:
        """Class and day of every partition that is opened to look for targets."""
        return sorted({(file.record_class, file.day) for file in self._files})

    def held(self) -> dict[str, list[str]]:
        """The days of which a hold kept something for this warrant, by class."""
        # What was carved ahead of a day that lives, whole and inside its term, comes from the day itself.
        living = {(file.record_class, file.day) for file in self._near if not file.lost} - set(self._outliving.days)
        found: dict[str, list[str]] = {}
        for record_class, day in sorted({*self._held.places, *self._outliving.days} - living):
            found.setdefault(record_class, []).append(day.isoformat())
        return found

    def grant(self) -> Grant:
        """What the question may show: the categories of the warrant, and their columns."""
        granted = self._scope.categories | {FRAME}
        columns = frozenset(
            column.name
            for column in COLUMNS
            if all(category_of(column.name, name) in granted for name in self._scope.classes)
        )
        return Grant(self._scope.categories, columns)

    def stretches(self, progress: Watch, *, with_neighbours: bool) -> Iterator[pa.Table]:
        """The rows in scope, one table per stretch that has any, with the columns of `queries.scope.TARGET_SCHEMA`.

        With `with_neighbours` there are also, for each day, the parts on the days beside it of calls that touch the
        day, marked `neighbour`, so that a question can put a call together that crosses midnight. `progress` is told
        the days that were read and the rows that were found in them.
        """
        admission = self._vault.keys.admit(self._warrant)
        reader = Reader(self._vault, admission, self._scope.categories, self._now, self._rules)
        self._outliving.admit(admission)
        places = reader.find(self._files, self._lookup)
        weights = self._weights(places)
        given = sorted({day + step for day in self._days for step in (-_DAY, timedelta(0), _DAY)})
        most = PORTION_ROWS if with_neighbours else None
        found, read, count = nothing(), 0, 0
        crowded: dict[date, Portions] = {}
        while given:
            # A day's answer takes the day after it too, whose calls may have begun on this one.
            while read < len(self._days) and (
                (found.height < STRETCH_ROWS and not crowded) or self._days[read] <= given[0] + _DAY
            ):
                ahead = self._days[read : read + self._next(weights, read, count, found.height)]
                days, rows, portions = self._read(reader, ahead, places, most)
                if portions is not None:
                    crowded[days[0]] = portions
                found = pl.concat([found, rows], how="diagonal_relaxed") if found.height else rows
                read, count = read + len(days), count + (rows.height if portions is None else portions.rows)
                progress(Progress(days[-1].isoformat(), count, read, len(self._days), "days"))
            stretch = [day for day in given if read == len(self._days) or day + _DAY < self._days[read]]
            given = given[len(stretch) :]
            # Only a stream is given neighbours, and only it can be asked again and again.
            size = SLICE_ROWS if with_neighbours else None
            yield from (part.to_arrow() for part in self._given(reader, found, stretch, crowded, size) if part.height)
            found = _left(found, stretch[-1]) if given else found.clear()
            crowded = {day: portions for day, portions in crowded.items() if day >= stretch[-1]}

    def _weights(self, places: Found) -> list[int]:
        """How many blocks are to be read of each day; of a file without any, as many as its rows would fill."""
        weights = dict.fromkeys(self._days, 0)
        for file in self._files:
            blocks_of_file = places[file.file_id][1] if file.file_id in places else range(0, file.rows, ROWS)
            weights[file.day] += len(blocks_of_file)
        return list(weights.values())

    def _next(self, weights: Sequence[int], read: int, count: int, held: int) -> int:
        """How many days to read in one go, when `count` rows came of the `read` days before, and `held` are held.

        As many as fill a stretch if their blocks give rows like those before, and one at least.
        """
        before = sum(weights[:read])
        most = max(STRETCH_ROWS - held, _FEW_ROWS)
        first = _FIRST_BLOCKS if weights[read] < _BUSY_BLOCKS else _BUSY_BLOCKS
        room = min(_MOST_BLOCKS, most * before // max(count, 1)) if before else first
        sums = accumulate(weights[read:])
        return max(1, sum(1 for _ in takewhile(lambda total: total <= room, sums)))

    def _lookup(self, columns: Collection[str]) -> block_matching.Wanted | None:
        return block_matching.wanted(self._scope.targets, columns)

    def _read(
        self, reader: Reader, days: Sequence[date], places: Found, most: int | None
    ) -> tuple[Sequence[date], pl.DataFrame, Portions | None]:
        """As many of `days` as are read, with the rows of them that may hold a target; of a day that has more than
        `most`, its portions and no row.
        """
        for several in dict.fromkeys((tuple(days), tuple(days[:1]))):
            with suppress(CrowdError):
                return several, self._matched(reader, several, places, most), None
        near = [file for file in self._near if abs(file.day - days[0]) <= _DAY]
        return days[:1], nothing(), Portions(reader, self._scope, near, days[0], PORTION_ROWS)

    def _matched(self, reader: Reader, days: Sequence[date], places: Found, most: int | None) -> pl.DataFrame:
        """The rows of `days` that may hold a target. Raises `CrowdError` when there are more than `most`."""
        files = [file for file in self._files if days[0] <= file.day <= days[-1]]
        if not self._held.dates().isdisjoint(days) or not self._outliving.dates().isdisjoint(days):
            # What a hold kept is one file a day, and is held whole; so is the day that it is put together with.
            most = None
        rows = reader.rows(files, lambda columns: scope.prefilter(self._scope, columns), self._lookup, places, most)
        held = [self._held.rows(days[0], days[-1], self.grant().columns)] if self._held.carves else []
        held += [self._outliving.rows(days[0], days[-1])] if self._outliving.days else []
        if not held:
            return rows
        # A day that lives may have been carved for another cause, such as the end of its location: what is there is
        # taken once, and what one of them has lost is told by the other.
        both = pl.concat([rows, *held], how="diagonal_relaxed")
        return both.group_by("record_class", *_ROW, maintain_order=True).agg(pl.all().drop_nulls().first())

    def _given(
        self,
        reader: Reader,
        found: pl.DataFrame,
        stretch: Sequence[date],
        crowded: Mapping[date, Portions],
        size: int | None,
    ) -> Iterator[pl.DataFrame]:
        """The rows in scope of the days of `stretch`, of which, and of those beside them, `found` has every match but
        those of the days that are `crowded`; with a `size`, in slices of so many, and with neighbours.
        """
        for is_crowded, days in groupby(stretch, key=lambda day: (day in crowded, day in crowded and day)):
            several = list(days)
            calls = self._calls(found, several, crowded)
            if is_crowded[0]:
                yield from crowded[several[0]].given(calls, size or PORTION_ROWS)
                continue
            whole = partial(self._of_stretch, reader, found, several, calls)
            yield from [whole(with_neighbours=False)] if size is None else slices(whole(with_neighbours=True), size)

    def _of_stretch(
        self,
        reader: Reader,
        found: pl.DataFrame,
        stretch: Sequence[date],
        calls: pl.DataFrame,
        *,
        with_neighbours: bool,
    ) -> pl.DataFrame:
        """The rows in scope of the days of `stretch`, which are not crowded, with the parts of `calls`."""
        own = _of_days(found, stretch[0], stretch[-1])
        day = pl.col(FILE_DAY).alias(ANSWER_DAY)
        rows = own.select(pl.exclude(FILE_DAY), day, neighbour=pl.lit(False))
        if calls.height:
            rows = pl.concat([rows, *self._parts(reader, calls)], how="diagonal_relaxed")
            rows = rows.unique([ANSWER_DAY, *_ROW], keep="first")
        if not rows.height:
            return rows
        rows = scope.select(rows, self._scope)
        return rows if with_neighbours or calls.is_empty() else rows.filter(~pl.col("neighbour"))

    def _calls(self, found: pl.DataFrame, stretch: Sequence[date], crowded: Mapping[date, Portions]) -> pl.DataFrame:
        """The correlation ids of calls that touch a target, by each day of `stretch` whose answer they are part of:
        that of the matching row, and the days beside it.
        """
        first, last = stretch[0] - _DAY, stretch[-1] + _DAY
        near = _of_days(found, first, last)
        calls = scope.calls(near.with_columns(pl.col(FILE_DAY).alias(ANSWER_DAY)), self._scope)
        if beside := [portions.calls for day, portions in crowded.items() if first <= day <= last]:
            calls = pl.concat([calls, *beside])
        if calls.is_empty():
            return calls.select("correlation_id", ANSWER_DAY)
        days = [calls.with_columns(pl.col(ANSWER_DAY).dt.offset_by(f"{step}d")) for step in (-1, 0, 1)]
        within = pl.col(ANSWER_DAY).is_between(stretch[0], stretch[-1])
        return pl.concat(days).filter(within).select("correlation_id", ANSWER_DAY).unique()

    def _parts(self, reader: Reader, calls: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """The parts of `calls` by the day they are given to: those of the day itself, and, marked `neighbour`, those of
        the days beside it.

        No further than a day from a window: the key store releases no key beyond.
        """
        days = set(calls[ANSWER_DAY].unique().to_list())
        beside = days | {day + step for day in days for step in (-_DAY, _DAY)}
        ids = calls["correlation_id"].unique().to_list()
        parts = reader.rows(
            [file for file in self._near if file.day in beside],
            lambda columns: scope.call_filter(calls),
            lambda columns: block_matching.calls(ids),
        )
        for step in (0, -1, 1):
            day = pl.col(FILE_DAY).dt.offset_by(f"{step}d")
            dated = parts.select(pl.exclude(FILE_DAY), day.alias(ANSWER_DAY), neighbour=pl.lit(step != 0))
            yield dated.join(calls, on=["correlation_id", ANSWER_DAY], how="semi")


def _look_up(vault: Vault) -> None:
    with vault.catalogue.reading() as tx:
        vault.keys.follow(int(tx.meta(GENERATION) or 0))
        vault.keys.attach_directory({person.name: person for person in people.listing(tx)}.get)


def _of_days(rows: pl.DataFrame, first: date, last: date) -> pl.DataFrame:
    """The rows of the files of those days: mostly all of them."""
    days = rows[FILE_DAY]
    least, most = days.min(), days.max()
    if isinstance(least, date) and isinstance(most, date) and first <= least and most <= last:
        return rows
    return rows.filter(pl.col(FILE_DAY).is_between(first, last))


def _left(found: pl.DataFrame, last: date) -> pl.DataFrame:
    """What is still needed of `found` when `last` was given: the days after it, and its rows that are parts of calls,
    which the day after may be part of.
    """
    day = pl.col(FILE_DAY)
    if "part" not in found.columns:
        return found.filter(day > last)
    return found.filter((day > last) | ((day == last) & (pl.col("part") != "only").fill_null(False)))


def _dates(start: datetime, end: datetime) -> tuple[date, date]:
    """First and last UTC date of the window [start, end)."""
    return start.astimezone(UTC).date(), (end - _INSTANT).astimezone(UTC).date()


def _is_reached(file: StoredFile, windows: set[tuple[date, date]], slack: timedelta = timedelta(0)) -> bool:
    """Whether the days that the file's records touch meet a window, or come within `slack` of one."""
    return any(first - slack <= file.reach[1] and file.reach[0] <= last + slack for first, last in windows)
