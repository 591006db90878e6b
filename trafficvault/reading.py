"""Reading: the rows of many files that may be in a warrant's scope, each opened under its own keys and no others.

    files → released keys, per file and category → block files, many at once, or Parquet files, one by one → filter
    → rows inside their own term

A file that has blocks is answered from them when they can find what is looked for; a block file that is missing or
damaged costs time and no answer: its Parquet file is read instead. Before each file the ring is looked at: where
another process destroyed keys meanwhile, nothing more is read, whatever this process still holds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import date, datetime
from itertools import groupby

import numpy as np
import polars as pl

from ingest.record import BY_NAME, CATEGORIES, FRAME, INTERVAL_CLASSES, WHEN, category_of
from ingest.sound import EVENT_ANCHOR, INTERVAL_ANCHOR, anchor
from trafficvault import blocks, ended, partitions, retention
from trafficvault.block_matching import Wanted
from trafficvault.blocks import BlockFile
from trafficvault.errors import FaultError, RefusedError
from trafficvault.holdings import StoredFile
from trafficvault.keys import Admission, Released
from trafficvault.policy import DISCLOSING, Policy
from trafficvault.ring import Ring
from trafficvault.vault import Vault

FILE_DAY = "file_day"
"""The day of the file that a row stands in: a column beside those of the record."""

Filter = Callable[[Collection[str]], pl.Expr]
"""What holds for the rows that are looked for, of a file with these columns."""
_Without = Callable[[pl.DataFrame, pl.Series], pl.DataFrame]
"""Takes what a mask marks out of rows."""
Lookup = Callable[[Collection[str]], Wanted | None]
"""The same as blocks find it; None where they can't."""

Found = dict[str, tuple[bytes, list[int]]]
"""The blocks that may hold what was looked for, by file; with the salt of the block file they are in."""
NOTHING: Found = {}
_BLOCKS = 512
"""As many blocks are read before the rows of them are counted."""


class CrowdError(Exception):
    """There are more rows than were to be read at once: no answer yet, and no failure."""


class Reader:
    """Reads files under one admitted warrant, `categories` of it, leaving out what had reached its term at `now` by
    `rules`: the part of the policy that serves a warrant, unless another is given.
    """

    def __init__(
        self,
        vault: Vault,
        admission: Admission,
        categories: Collection[str],
        now: datetime,
        rules: Policy | None = None,
        told_by: datetime | None = None,
    ) -> None:
        """With `told_by` only ends of services that were recorded by then count."""
        self._vault, self._admission, self._now = vault, admission, now
        self._rules = rules or vault.policy.serving(DISCLOSING)
        self._granted = frozenset(categories) | {FRAME}
        self._ended = ended.of(vault, told_by)
        self._columns: dict[tuple[str, tuple[str, ...], frozenset[str]], tuple[str, ...]] = {}
        self._ends: dict[tuple[str, date, str], bool] = {}
        # What was opened for this answer, with the ring that it was opened under.
        self._open: dict[str, tuple[tuple[str, ...], Ring, BlockFile]] = {}

    def find(self, files: Iterable[StoredFile], lookup: Lookup) -> Found:
        """In which blocks of `files` there may be what is looked for, so that as many days are read as give few rows.

        Opens directories and posting lists, under the keys that `rows` needs, and for a cell, where its list does not
        open, the `where` of each block; reads nothing else of any record.
        """
        found: Found = {}
        for group in _alike(files):
            blocked = [file for file in group if file.has_blocks]
            columns = self._there(blocked)
            wanted = lookup(columns) if blocked else None
            if wanted is not None:
                opened, _ = self._opened(blocked, columns)
                self._find(opened, wanted, found)
        return found

    def rows(
        self,
        files: Iterable[StoredFile],
        only: Filter,
        lookup: Lookup,
        found: Found = NOTHING,
        most: int | None = None,
    ) -> pl.DataFrame:
        """The granted columns of the rows for which `only` holds, with `record_class` and `FILE_DAY`, file by file.

        `found` is what `find` told of the same `lookup`, of these files or more: what it lacks is found now. Raises
        `CrowdError` as soon as there are more than `most`.
        """
        frames = [nothing()]
        for group in _alike(files):
            of_class = []
            for frame in self._of_class(group, only, lookup, found, most):
                of_class += [frame] if frame.height else []
                if most is not None:
                    most -= frame.height
                    if most < 0:
                        raise CrowdError
            if of_class:
                rows = of_class[0] if len(of_class) == 1 else pl.concat(of_class, how="diagonal_relaxed")
                frames.append(self._living(rows, group[0].record_class))
        if len(frames) == 2 and frames[0].schema.items() <= frames[1].schema.items():
            return frames[1]
        return pl.concat(frames, how="diagonal_relaxed")

    def groups(
        self, file: StoredFile, only: Filter, among: Collection[int] | None = None
    ) -> Iterator[tuple[int, pl.DataFrame]]:
        """As `rows`, of one file as it lies on disk: row group by row group, each with its number, those `among` which
        are given, or all. A row group none of whose rows is left is passed over.
        """
        for number, rows in self._scanned(file, only, among):
            living = self._living(rows, file.record_class) if rows.height else rows
            if living.height:
                yield number, living

    def _living(self, rows: pl.DataFrame, record_class: str) -> pl.DataFrame:
        """`rows` of one class without those past their term, with its name."""
        rows = self._within_term(rows, record_class)
        gone = self._ended.mask(record_class, rows, self._now)
        rows = rows.filter(~gone) if gone.any() else rows
        return rows.with_columns(record_class=pl.lit(record_class))

    def _of_class(
        self, files: list[StoredFile], only: Filter, lookup: Lookup, found: Found, most: int | None
    ) -> Iterator[pl.DataFrame]:
        blocked = [file for file in files if file.has_blocks]
        scanned = [file for file in files if not file.has_blocks]
        columns = self._there(blocked)
        wanted = lookup(columns) if blocked else None
        filtered = only(columns)
        if wanted is None:
            scanned = files
        elif set(filtered.meta.root_names()) <= set(columns):
            # Where nothing was found there is nothing to open.
            there = [file for file in blocked if file.file_id not in found or found[file.file_id][1]]
            opened, closed = self._opened(there, columns)
            scanned += closed
            yield from (
                rows.filter(filtered) if rows.height else rows
                for rows in self._looked_up(opened, wanted, columns, scanned, found, most)
            )
        for file in scanned:
            yield from (rows for _, rows in self._scanned(file, only))

    def _there(self, files: Iterable[StoredFile]) -> list[str]:
        """The granted columns that one of `files`, of one class, has."""
        there = {name for columns in {self._granted_of(file) for file in files} for name in columns}
        return [name for name in BY_NAME if name in there]

    def _opened(
        self, files: Sequence[StoredFile], columns: Collection[str]
    ) -> tuple[list[tuple[StoredFile, BlockFile]], list[StoredFile]]:
        """The open block files, and the files whose blocks can't be opened."""
        opened, closed = [], []
        needed = self._needed(files[0].record_class, columns) if files else ()
        for file in files:
            ring = self._vault.keys.require_unrenewed()
            known = self._open.get(file.file_id)
            if known is not None and known[0] == needed and known[1] is ring:
                opened.append((file, known[2]))
                continue
            released = self._release(file, needed)
            try:
                block = self._vault.openings.blocks(self._vault.layout, released, file.file_id)
            except FaultError:
                # It holds no truth: `verify` names it, and the Parquet file answers.
                closed.append(file)
                continue
            self._open[file.file_id] = needed, ring, block
            opened.append((file, block))
        return opened, closed

    def _find(self, opened: Sequence[tuple[StoredFile, BlockFile]], wanted: Wanted, found: Found) -> None:
        """Adds to `found` what is wanted in `opened`; a damaged file is left out, and found damaged again when read."""
        try:
            for (file, block), blocks_of_file in zip(
                opened, blocks.find([block for _, block in opened], wanted), strict=True
            ):
                found[file.file_id] = block.outline.salt, blocks_of_file
        except FaultError:
            half = len(opened) // 2
            for part in (opened[:half], opened[half:]) if half else ():
                self._find(part, wanted, found)

    def _looked_up(
        self,
        opened: Sequence[tuple[StoredFile, BlockFile]],
        wanted: Wanted,
        columns: Sequence[str],
        scanned: list[StoredFile],
        found: Found,
        most: int | None,
    ) -> Iterator[pl.DataFrame]:
        """The rows of all block files; one that turns out to be damaged is put among those to be `scanned`. Raises
        `CrowdError` when there are more than `most`.
        """
        if not opened:
            return
        # All were opened under one ring: a release under another is refused.
        ring = self._open[opened[0][0].file_id][1]
        try:
            files = [block for _, block in opened]
            # One that was made anew since has another salt, and maybe its rows elsewhere.
            if all(found.get(file.file_id, (b"",))[0] == block.outline.salt for file, block in opened):
                places = [found[file.file_id][1] for file, _ in opened]
            else:
                places = blocks.find(files, wanted)
            frames, days = [], [file.day for file, _ in opened]
            for batch in _batches(places):
                rows, counts = blocks.rows_of(files, wanted, columns, batch)
                self._require_alive(ring)
                frames.append(_dated(rows, days, counts))
                if most is not None and sum(frame.height for frame in frames) > most:
                    raise CrowdError
            yield from frames
        except FaultError:
            if len(opened) == 1:
                file, block = opened[0]
                self._vault.openings.forget(block.place)
                self._open.pop(file.file_id, None)
                scanned.append(file)
                return
            half = len(opened) // 2
            for several in (opened[:half], opened[half:]):
                yield from self._looked_up(several, wanted, columns, scanned, found, most)

    def _scanned(
        self, file: StoredFile, only: Filter, among: Collection[int] | None = None
    ) -> Iterator[tuple[int, pl.DataFrame]]:
        """The rows of a file, a row group at a time, with its number."""
        columns = self._granted_of(file)
        asked = only(columns)
        if not set(asked.meta.root_names()) <= set(columns):
            return
        ring = self._vault.keys.require_unrenewed()
        released = self._release(file, self._needed(file.record_class, columns))
        groups = partitions.read_released(self._vault.layout, released, file.file_id, columns, asked, among)
        for number, rows in groups:
            self._require_alive(ring)
            yield number, _dated(rows, [file.day], [rows.height])

    def _require_alive(self, ring: Ring) -> None:
        """Raises `RefusedError` when keys of `ring` were destroyed since, by whomever: what was read is not shown."""
        if self._vault.keys.require_unrenewed().generation != ring.generation:
            raise RefusedError("reading records: keys were destroyed meanwhile; do it again")

    def _granted_of(self, file: StoredFile) -> tuple[str, ...]:
        key = file.record_class, file.columns, file.lost
        if key not in self._columns:
            granted = self._granted - file.lost
            self._columns[key] = tuple(name for name in file.columns if category_of(name, file.record_class) in granted)
        return self._columns[key]

    def _needed(self, record_class: str, columns: Collection[str]) -> tuple[str, ...]:
        """The categories of `columns`, and the frame."""
        needed = {category_of(name, record_class) for name in columns} | {FRAME}
        return tuple(category for category in CATEGORIES if category in needed)

    def _release(self, file: StoredFile, needed: Sequence[str]) -> list[Released]:
        """The keys of the categories `needed`, for that file; the ring is looked at before."""
        return self._vault.keys.release_each(
            self._admission, file.record_class, file.day, needed, file.reach, file.generation
        )

    def _within_term(self, rows: pl.DataFrame, record_class: str) -> pl.DataFrame:
        """`rows` without those that have reached their own term, and without the categories of a row that have reached
        a shorter one: only the days about the edge are looked at.

        It goes before the rows are held against the targets: what is left out can't be what a row is found by.
        """
        rows = self._divided(rows, record_class, WHEN, lambda old, gone: old.filter(~gone))
        for category in self._rules.early(record_class):
            names = [name for name in rows.columns if _is_of(name, category, record_class)]
            if names:
                rows = self._divided(rows, record_class, category, _blanked(names))
        return rows

    def _divided(self, rows: pl.DataFrame, record_class: str, category: str, without: _Without) -> pl.DataFrame:
        """`rows`, those of the days about the edge of the category's term `without` what has reached it."""
        first = rows[FILE_DAY].min()
        # Of two days the later never ends first.
        if not isinstance(first, date) or not self._may_have_ended(record_class, first, category):
            return rows
        edge = [day for day in rows[FILE_DAY].unique().to_list() if self._may_have_ended(record_class, day, category)]
        near = pl.col(FILE_DAY).is_in(edge)
        names = INTERVAL_ANCHOR if record_class in INTERVAL_CLASSES else EVENT_ANCHOR
        old = rows.filter(near)
        told = old.select(name for name in names if name in old.columns)
        term = self._rules.require_term(record_class, category)
        ended = retention.expired_mask(anchor(told, record_class), term, self._rules.zone, self._now)
        return pl.concat([without(old, ended), rows.filter(~near)])

    def _may_have_ended(self, record_class: str, day: date, category: str) -> bool:
        """Whether a record of that day may have reached the category's term."""
        key = record_class, day, category
        if key not in self._ends:
            term = self._rules.require_term(record_class, category)
            self._ends[key] = retention.has_begun(day, term, self._rules.zone, self._now)
        return self._ends[key]


def _batches(places: Sequence[Sequence[int]]) -> Iterator[Sequence[Sequence[int]]]:
    """The blocks of each file, `_BLOCKS` after `_BLOCKS` in order: mostly all of them at once."""
    if sum(map(len, places)) <= _BLOCKS:
        yield places
        return
    flat = [(file, block) for file, those in enumerate(places) for block in those]
    for offset in range(0, len(flat), _BLOCKS):
        part: list[list[int]] = [[] for _ in places]
        for file, block in flat[offset : offset + _BLOCKS]:
            part[file].append(block)
        yield part


def _is_of(name: str, category: str, record_class: str) -> bool:
    return name in BY_NAME and category_of(name, record_class) == category


def _blanked(names: Sequence[str]) -> _Without:
    """What puts null in the place of these columns."""
    return lambda old, gone: old.with_columns(pl.when(~gone).then(pl.col(name)).alias(name) for name in names)


def _alike(files: Iterable[StoredFile]) -> Iterator[list[StoredFile]]:
    """The files of each class by themselves, and apart by what they have lost: files that are read together are opened
    with the same categories.
    """
    ordered = sorted(files, key=lambda file: (file.record_class, sorted(file.lost), file.day, file.file_id))
    for _, group in groupby(ordered, key=lambda file: (file.record_class, file.lost)):
        yield list(group)


def nothing() -> pl.DataFrame:
    """No row, with the columns that every answer of a `Reader` has."""
    text = ("source", "batch", "record_class", "correlation_id")
    counts = {"row": pl.Int64, "occurrence": pl.Int32, FILE_DAY: pl.Date}
    return pl.DataFrame(schema={**dict.fromkeys(text, pl.String), **counts})


def _dated(rows: pl.DataFrame, days: Sequence[date], counts: Sequence[int]) -> pl.DataFrame:
    """`rows` with the day of the file of each; `counts` says how many are of each file."""
    stamps = np.repeat(np.array(days, "datetime64[D]"), np.array(counts, np.int64))
    return rows.hstack([pl.Series(FILE_DAY, stamps, dtype=pl.Date)])
