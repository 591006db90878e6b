"""Duplicates: which arriving records are stored already.

Two records are one when they agree in every column but batch, row, feed digest and read note: the occurrence number
keeps equal records of one file apart, and where the source gives an identity it is 0 throughout. Equal records have
equal starts, so only the files of the same class and day are searched. Their seen blocks find the candidates; each is
compared with the stored row, column by column: a hash alone never drops a record. A record whose location has ended is
compared without it, for the stored one may have lost it.

`trafficvault.recent` keeps the hashes of days lately received for, so that a day's blocks are not opened for every
slice and batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date

import numpy as np
import numpy.typing as npt
import polars as pl

from ingest.record import category_of
from trafficvault import seen
from trafficvault.durable import Disk
from trafficvault.keys import Custody
from trafficvault.layout import Layout
from trafficvault.partitions import file_keys, seen_hashes, seen_key, slices, write_seen
from trafficvault.sealed_parquet import Place

Mask = npt.NDArray[np.bool_]
_Without = Callable[[pl.DataFrame], pl.DataFrame]
"""Takes what has ended from rows of one class."""


def duplicates(
    layout: Layout,
    custody: Custody,
    record_class: str,
    day: date,
    rows: pl.DataFrame,
    file_ids: Iterable[str],
    disk: Disk | None = None,
    generation: int = 1,
    without: _Without = lambda rows: rows,
) -> Mask:
    """Which of `rows` are already in the files `file_ids` of that class and day, or earlier in `rows` itself. The files
    lie under day keys of `generation`.

    `without` takes from stored rows what was taken from `rows` before: what has ended of them, stored still or not.
    With `disk`, a seen block that can't be used is written anew.
    """
    compared = seen.compared_columns(record_class)
    full = seen.row_hashes(rows, compared)
    found = repeated(rows, full, compared)
    short = seen.shorten(seen.row_hashes(rows, seen.hashed_columns(record_class)))
    for file_id in file_ids:
        place = Place(record_class, day, file_id, generation)
        candidates = np.flatnonzero(~found)
        candidates = candidates[is_in(short[candidates], seen_of(layout, custody, place, disk))]
        if len(candidates):
            keys = file_keys(custody, place)
            found[candidates] |= _stored_already(layout, place, keys, rows[candidates], full[candidates], without)
    return found


def repeated(rows: pl.DataFrame, full: seen.Hashes, columns: Iterable[str]) -> Mask:
    """Which rows equal an earlier one of `rows` in `columns`; `full` are their hashes over them."""
    found = np.zeros(len(full), np.bool_)
    ordered = np.sort(full)
    if not (ordered[1:] == ordered[:-1]).any():
        return found
    _, first, inverse = np.unique(full, return_index=True, return_inverse=True)
    earlier = first[inverse]
    later = np.flatnonzero(earlier != np.arange(len(full)))
    found[later] = _equal(rows[later], rows[earlier[later]], columns)
    return found


def is_in(wanted: seen.Hashes, ordered: seen.Hashes) -> Mask:
    """Which of `wanted` are among `ordered`, which is sorted."""
    found = np.zeros(len(wanted), np.bool_)
    if len(wanted) and len(ordered):
        turn = np.argsort(wanted)
        needles = wanted[turn]  # searching in order is searching near the last place: many times as fast
        places = np.searchsorted(ordered, needles)
        found[turn] = ordered[np.minimum(places, len(ordered) - 1)] == needles
    return found


def _stored_already(
    layout: Layout,
    place: Place,
    keys: Mapping[str, bytes],
    rows: pl.DataFrame,
    full: seen.Hashes,
    without: _Without,
) -> Mask:
    """Which of the candidates `rows` stand in the file, column by column. `full` are their hashes, `where` included."""
    compared = seen.compared_columns(place.record_class)
    columns = [name for name in compared if category_of(name, place.record_class) in keys]
    if len(columns) != len(compared):
        # A category was destroyed: what is left of the stored records is compared with as much of the new.
        full = seen.row_hashes(rows, columns)
    found = np.zeros(rows.height, np.bool_)
    for stored in map(without, slices(layout, place, keys, columns)):
        hashes = seen.row_hashes(stored, columns)
        order = np.argsort(hashes, kind="stable")
        near = order[np.minimum(np.searchsorted(hashes, full, sorter=order), len(order) - 1)]
        hits = np.flatnonzero(hashes[near] == full)
        found[hits] |= _equal(rows[hits], stored[near[hits]], columns)
    return found


def _equal(left: pl.DataFrame, right: pl.DataFrame, columns: Iterable[str]) -> Mask:
    """Row by row, whether both agree in every one of `columns`; one that is absent is null."""
    same = np.ones(left.height, np.bool_)
    for name in columns:
        sides = [side[name] for side in (left, right) if name in side.columns]
        if len(sides) == 2:
            same &= sides[0].eq_missing(sides[1]).to_numpy()
        elif sides:
            same &= sides[0].is_null().to_numpy()
    return same


def seen_of(layout: Layout, custody: Custody, place: Place, disk: Disk | None) -> seen.Hashes:
    """The sorted hashes of one file. With `disk`, a seen block that can't be used is written anew."""
    path = layout.seen_file(place.record_class, place.day, place.file_id)
    block = seen.read_block(path, seen_key(custody, place), f"seen {place}")
    if block is None:
        hashes = seen_hashes(layout, custody, place)
        block = np.sort(seen.shorten(hashes))
        if disk is not None:
            write_seen(disk, layout, custody, place, hashes)
    return block
