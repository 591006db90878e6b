"""Reads block files: the rows of one identifier without reading the day it stands in.

`block_matching` turns targets into what is looked up; a `BlockFile` is the open directory of one file, small enough to
be kept; `rows_of` finds the blocks by order and posting lists, opens their `who` sections (where a cell is looked for,
their `where` sections; of all blocks where the list of cells does not open), and sections of other categories only
where a row matched. Whatever is wrong with a file is a `FaultError`: the caller reads the Parquet file instead.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from cryptography.exceptions import InvalidTag

from ingest.record import BY_NAME, CATEGORIES, SCHEMA, WHEN, WHO, category_of
from trafficvault import block_directory, block_form, block_matching, postings
from trafficvault.block_directory import Directory, Index
from trafficvault.block_form import CELL_COLUMNS, CELLS, DIRECTORY, MAGIC, POSTINGS, SALT_BYTES, Seals
from trafficvault.block_lists import Lists
from trafficvault.block_matching import Wanted
from trafficvault.block_unpacking import Loaded, Unpacking, fault
from trafficvault.errors import RefusedError, UsageError
from trafficvault.sealed_parquet import Place, polars_type

_LEAST_TAIL, _TAIL_SHARE = 4096, 160
"""What is read of a file's end at first, and one part of how many if that is more: its whole directory, which has some
44 bytes a block and 12 a chunk, while a block has some 18,000.
"""
_TRAILER = SALT_BYTES + 4 + len(MAGIC)
_BATCH = 512
"""Blocks that are looked into at once."""
_EVERY = 256
"""Blocks of which all rows are read at once."""


@dataclass(frozen=True, slots=True)
class Outline:
    """What may be kept of an open block file: its directory, and no key. Its first keys are beginnings of identifiers,
    so it is as secret as `who`, and goes when the file or its key does.
    """

    place: Place
    path: Path
    salt: bytes
    directory: Directory = field(repr=False)

    def under(self, file_keys: Mapping[str, bytes]) -> BlockFile:
        """The block file, opened with these keys and not read again. Raises `RefusedError` without that of `who`."""
        return BlockFile(self, Seals.of(self.place, file_keys, self.salt))


class BlockFile:
    """The directory of a block file, and the keys of the categories it was opened with; both go when it goes."""

    __slots__ = ("_directory", "_path", "outline", "place", "seals")

    def __init__(self, outline: Outline, seals: Seals) -> None:
        self.outline, self.place, self.seals = outline, outline.place, seals
        self._path, self._directory = outline.path, outline.directory

    @classmethod
    def open(cls, path: Path, place: Place, file_keys: Mapping[str, bytes]) -> BlockFile:
        """Reads the directory. `file_keys` holds the file's key of `who` and of each other category to be read.

        Raises `RefusedError` without the key of `who`, `FaultError` when the file is missing, damaged, of another form,
        or another one than `place`.
        """
        try:
            with path.open("rb", buffering=0) as file:
                handle = file.fileno()
                size = os.fstat(handle).st_size
                first = max(_LEAST_TAIL, size // _TAIL_SHARE)
                tail = os.pread(handle, first, max(0, size - first))
                length, salt = _trailer(tail)
                begin = size - length - _TRAILER
                if length + _TRAILER > len(tail):
                    tail = os.pread(handle, length + _TRAILER, max(0, begin))
            seals = Seals.of(place, file_keys, salt)
            content = seals.unseal(WHO, DIRECTORY, 0, tail[-_TRAILER - length : -_TRAILER])
            return cls(Outline(place, path, salt, block_directory.parse(content, begin)), seals)
        except (OSError, ValueError, InvalidTag) as problem:
            raise fault(place) from problem

    @property
    def height(self) -> int:
        """How many rows the file has."""
        return self._directory.rows

    @property
    def by_served(self) -> bool:
        """Whether its rows stand in the order of whose they are, as in all that are written now."""
        return self._directory.by_served

    @property
    def categories(self) -> Collection[str]:
        """The categories that it was opened with."""
        return self.seals.categories

    def rows(self, wanted: Wanted, columns: Sequence[str]) -> pl.DataFrame:
        """The rows that may match, as `rows_of` gives them."""
        return rows_of([self], wanted, columns)[0]

    def every(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """All rows in the order of the file, many blocks at a time."""
        _require(self, columns)
        for start in range(0, self._directory.blocks, _EVERY):
            blocks = range(start, min(start + _EVERY, self._directory.blocks))
            yield _decoded(self._load(0, blocks, CATEGORIES[-1]), None, columns)[0]

    def lists(self) -> Lists:
        """Everything by which it finds rows, to be compared with what its rows give."""
        directory = self._directory
        told = frozenset(directory.prefixes), directory.by_order, directory.posted.bits
        try:
            index = self._cells()
            cells = None if index is None else self._list(CELLS, index)
            return Lists(directory.first_keys.tolist(), *told, *self._list(WHO, directory.posted), cells)
        except (OSError, ValueError, InvalidTag) as problem:
            raise fault(self.place) from problem

    def _list(self, category: str, index: Index) -> tuple[postings.Hashes, postings.Hashes]:
        """All hashes of a posting list, and their blocks."""
        found = [(np.zeros(0, np.uint64), np.zeros(0, np.uint64))]
        for chunk, content in enumerate(_read(self._path, index.spans(range(len(index.firsts))))):
            unsealed = self.seals.unseal(category, POSTINGS, chunk, content)
            found.append(postings.unpack(unsealed, int(index.firsts[chunk])))
        hashed, blocks = (np.concatenate(part) for part in zip(*found, strict=True))
        return hashed, blocks

    def _cells(self) -> Index | None:
        """Of the list of cells; None where the file has none, or was opened without something that it tells."""
        told = self._directory.cells
        if told is None or not self.seals.cells:
            return None
        begin, at, end = told
        if at == end:
            return Index.of(0, np.zeros(0, np.uint64), np.zeros(0, np.uint32), begin)
        (sealed,) = _read(self._path, [(at, end)])
        return Index.parse(self.seals.unseal(CELLS, DIRECTORY, 0, sealed), begin)

    def _named(self, wanted: Wanted) -> tuple[set[int], list[_Chunk]]:
        """The blocks that are known to be looked into, and the chunks of a posting list that may name others."""
        try:
            if wanted.cells:
                return self._of_cells(wanted)
            directory, found = self._directory, set[int]()
            for family, keys in wanted.keys.items():
                if directory.by_order is None or family in directory.by_order:
                    for key in keys:
                        found.update(directory.blocks_of_key(key))
            return found, self._chunks(WHO, directory.posted, wanted.hashes(directory.prefixes))
        except (OSError, ValueError, InvalidTag) as problem:
            raise fault(self.place) from problem

    def _of_cells(self, wanted: Wanted) -> tuple[set[int], list[_Chunk]]:
        """As `_named`, of cells: without a list of them, by the sections of all blocks."""
        if wanted.columns.isdisjoint(CELL_COLUMNS):
            return set(), []
        _require_open(self, {wanted.category})
        index = self._cells()
        if index is None:
            return self._blocks_holding(wanted), []
        return set(), self._chunks(CELLS, index, wanted.cell_hashes())

    def _chunks(self, category: str, index: Index, hashes: Iterable[int]) -> list[_Chunk]:
        """Those chunks of a posting list that may have one of `hashes`."""
        asked = index.chunks(hashes)
        sealed = _read(self._path, index.spans(asked)) if asked else []
        return [
            (self.seals.unseal(category, POSTINGS, chunk, content), int(index.firsts[chunk]), asked[chunk])
            for chunk, content in zip(asked, sealed, strict=True)
        ]

    def _blocks_holding(self, wanted: Wanted) -> set[int]:
        """The blocks that hold a wanted cell, by the sections of all blocks that tell it, which are short."""
        at, ends, found = CATEGORIES.index(wanted.category), self._directory.ends, set[int]()
        for start in range(0, self._directory.blocks, _BATCH):
            places = range(start, min(start + _BATCH, self._directory.blocks))
            spans = [ends[block * len(CATEGORIES) + at :][:2].tolist() for block in places]
            contents = _read(self._path, [(begin, end) for begin, end in spans])
            # As if nothing stood before the section: nothing of the block but it was read.
            loaded = [
                self._loaded(0, block, content, begin, [begin] * (at + 1) + [end])
                for block, content, (begin, end) in zip(places, contents, spans, strict=True)
            ]
            sections, _ = Unpacking(loaded).sections(wanted.category)
            within, _ = sections.of(np.flatnonzero(block_matching.holding(sections, wanted)))
            found.update(start + number for number in np.unique(within).tolist())
        return found

    def _loaded(self, number: int, block: int, content: bytes, begin: int, bounds: Sequence[int]) -> Loaded:
        rows = self._directory.rows_of(block)
        return Loaded(number, self.place, self.seals, block, rows, memoryview(content), begin, bounds)

    def _load(self, number: int, blocks: Sequence[int], last: str) -> list[Loaded]:
        """The sealed sections, up to category `last`, of `blocks`; neighbours are read together."""
        ends, width, asked = self._directory.ends, len(CATEGORIES), CATEGORIES.index(last) + 1
        runs: list[list[int]] = []
        for block in blocks:
            if runs and runs[-1][1] == block:
                runs[-1][1] += 1
            else:
                runs.append([block, block + 1])
        bounds = [ends[start * width : (stop - 1) * width + asked + 1].tolist() for start, stop in runs]
        try:
            contents = _read(self._path, [(at[0], at[-1]) for at in bounds]) if runs else []
        except OSError as problem:
            raise fault(self.place) from problem
        return [
            self._loaded(number, block, content, at[0], at[(block - start) * width :][: asked + 1])
            for (start, stop), at, content in zip(runs, bounds, contents, strict=True)
            for block in range(start, stop)
        ]


_Chunk = tuple[bytes, int, list[int]]
"""A chunk of a posting list, unsealed; its first hash; and what is looked for in it."""

_Places = tuple[block_form.Whole, block_form.Whole]
"""Section and place of some rows."""


def find(files: Sequence[BlockFile], wanted: Wanted) -> list[list[int]]:
    """The blocks of each of `files` that may hold what is wanted, in order: of all of them in one go.

    Raises `FaultError` when a file was damaged or replaced.
    """
    found, chunks, of = [], [], []
    for number, file in enumerate(files):
        blocks, those = file._named(wanted)
        found.append(blocks)
        chunks += those
        of += [number] * len(those)
    for number, blocks_of_chunk in zip(of, postings.lookup(chunks), strict=True):
        found[number].update(blocks_of_chunk)
    return [sorted(blocks) for blocks in found]


def rows_of(
    files: Sequence[BlockFile],
    wanted: Wanted,
    columns: Sequence[str],
    found: Sequence[Sequence[int]] | None = None,
) -> tuple[pl.DataFrame, list[int]]:
    """The rows of `files`, all of one class, that may match, with exactly `columns`; and how many are of each file.

    Rows come file by file, in the order of their blocks. They are filtered by what is wanted, so few are in vain.
    `found` is what `find` found in these files. Raises `RefusedError` for a column whose category a file was not opened
    with, `UsageError` for one that is not of the record or for files of several classes, `FaultError` when a file was
    damaged or replaced.
    """
    if len({file.place.record_class for file in files}) > 1:
        raise UsageError("reading block files: they are of several classes; ask for those of one class at a time")
    if not files:
        return pl.DataFrame(schema={name: polars_type(name) for name in columns}), []
    _require(files[0], columns)
    asked = {category_of(name, files[0].place.record_class) for name in columns}
    asked.add(wanted.category)
    for file in files:
        _require_open(file, asked)
    frames: list[pl.DataFrame] = []
    counts = np.zeros(len(files), np.int64)
    loaded: list[Loaded] = []
    last = max(asked, key=CATEGORIES.index)
    for number, (file, blocks) in enumerate(zip(files, found or find(files, wanted), strict=True)):
        loaded += file._load(number, blocks, last)
        while len(loaded) >= _BATCH or (loaded and number == len(files) - 1):
            frame, of = _decoded(loaded[:_BATCH], wanted, columns)
            frames += [frame] if frame.height or not frames else []
            counts += np.bincount(of, minlength=len(files))
            loaded = loaded[_BATCH:]
    if not frames:
        frames = [pl.DataFrame(schema={name: polars_type(name) for name in columns})]
    return frames[0] if len(frames) == 1 else pl.concat(frames), counts.tolist()


def _decoded(
    loaded: Sequence[Loaded], wanted: Wanted | None, columns: Sequence[str]
) -> tuple[pl.DataFrame, npt.NDArray[np.int64]]:
    """The rows of some blocks that match, and the number of the file of each."""
    record_class = loaded[0].place.record_class
    numbers = np.array([one.number for one in loaded], np.int64)
    asked = {category_of(name, record_class) for name in columns}
    found: dict[str, pa.Array] = {}
    with Unpacking(loaded) as unpacking:
        places = None if wanted is None else _matches(loaded, wanted, unpacking, when=WHEN in asked)
        if places is None:
            of = np.repeat(numbers, [one.rows for one in loaded])
        else:
            of = numbers[places[0]]
            unpacking.ahead(asked)
        for category in (name for name in CATEGORIES if name in asked and len(of)):
            sections, at = unpacking.sections(category)
            chosen = sections.every() if places is None else (at[places[0]], places[1])
            names = [name for name in columns if category_of(name, record_class) == category]
            found |= {name: sections.read(name, *chosen) for name in names}
    wanted_columns = pa.schema([SCHEMA.field(name) for name in columns])
    arrays = [found[name] if name in found else pa.nulls(0, SCHEMA.field(name).type) for name in columns]
    return pl.DataFrame(pa.table(arrays, schema=wanted_columns)), of


def _matches(loaded: Sequence[Loaded], wanted: Wanted, unpacking: Unpacking, *, when: bool) -> _Places:
    """The rows that match, by their own times too where most of them may lie outside the window and `when` is open;
    from then on only blocks with such rows are unpacked.
    """
    telling, _ = unpacking.sections(wanted.category)
    within, row = telling.of(np.flatnonzero(block_matching.holding(telling, wanted)))
    unpacking.keep(within)
    if when and len(within) and wanted.divides([loaded[index].place.day for index in np.unique(within).tolist()]):
        sections, at = unpacking.sections(WHEN)
        inside = block_matching.inside(sections, at[within], row, wanted)
        within, row = within[inside], row[inside]
        unpacking.keep(within)
    return within, row


def _require(file: BlockFile, columns: Iterable[str]) -> None:
    """Every column is of the record and of a category that `file` was opened with."""
    strangers = [name for name in columns if name not in BY_NAME]
    if strangers:
        raise UsageError(f"reading {file.place}: {strangers[0]} is not a column of the record")
    _require_open(file, {category_of(name, file.place.record_class) for name in columns})


def _require_open(file: BlockFile, categories: Iterable[str]) -> None:
    for category in categories:
        if category not in file.categories:
            raise RefusedError(f"reading the blocks of {file.place}: its category {category} was not opened")


def _trailer(tail: bytes) -> tuple[int, bytes]:
    """Length of the directory, and the salt."""
    if len(tail) < _TRAILER or tail[-len(MAGIC) :] != MAGIC:
        raise ValueError("the file does not end as a block file does")
    salt, length = tail[-_TRAILER:][:SALT_BYTES], tail[-_TRAILER:][SALT_BYTES : -len(MAGIC)]
    return int.from_bytes(length, "little"), salt


def _read(path: Path, spans: Sequence[tuple[int, int]]) -> list[bytes]:
    """What the file at `path` has from each first to each second place. Raises `OSError` when it is shorter."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        found = [os.pread(handle, end - begin, begin) for begin, end in spans]
    finally:
        os.close(handle)
    # Nothing where something should be would read as a section that was never written, whose values are all null.
    if [len(content) for content in found] != [end - begin for begin, end in spans]:
        raise OSError(f"{path.name} is shorter than it was")
    return found
