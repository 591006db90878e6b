"""Ordering: rows of any number come in order, in memory that does not grow with them.

What fits into `BUDGET` is sorted at once. More is dealt out first: a sample of the keys gives the bounds of ranges that
each fit, every row goes to the spill of its range, and then range after range is sorted. Spills are sealed under a key
that only this process ever has: what a killed one leaves behind opens for nobody.

The order is that of a text, then of `start` (without one: last), then that in which the rows came. All three decide
where a range is cut, so no number of equal rows makes one too large.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import polars as pl

from trafficvault import sealing
from trafficvault.errors import FaultError
from trafficvault.packing import Packing, Rows

BUDGET = 384 * 2**20
"""Bytes that the rows of a range take in memory; sorting and writing them takes some twice as much again."""
CHUNK = 131_072
"""Rows that are handed on at once."""
_SAMPLE = 100_000
"""Rows whose keys are looked at to find the bounds of ranges."""
HEAD = 4096
"""So many rows tell what a row weighs."""
_NEVER = 2**63 - 1
"""Stands for a start that is not told."""
_LENGTH_BYTES = 8

Read = Callable[[], Iterable[pl.DataFrame]]
"""Gives rows, frame after frame, always in the same order."""


@dataclass(frozen=True, slots=True)
class Order:
    """What rows are ordered by before `start`: an expression that gives text, never null, and the columns it uses."""

    text: pl.Expr
    columns: tuple[str, ...]


BY_START = Order(pl.lit(""), ())
"""By `start` alone."""


def in_order(read: Read, read_keys: Read, order: Order, rows: int, weight: float, spill: Path) -> Iterator[Rows]:
    """The `rows` rows that `read` gives, in `order`; a row takes about `weight` bytes. Text columns in which values
    repeat are packed.

    `read` is called once, and `read_keys`, which may leave out all columns but `start` and those of the order, at most
    once before it. `spill` is a directory that exists and is used by nobody else; nothing is left in it.
    """
    most = max(1, int(BUDGET / max(weight, 1.0)))
    packing = Packing(order.columns)
    if rows <= most:
        yield from _sorted([packing.pack(frame) for frame in read()], order, packing)
        return
    bounds = _bounds(read_keys, order, rows, most)
    with ExitStack() as stack:
        spills = [stack.enter_context(_Spill(spill / f"range-{number}")) for number in range(len(bounds) + 1)]
        came = 0
        for frame in read():
            ranges = _keys(frame, order, came).select(_range(bounds)).to_series()
            came += frame.height
            for number in ranges.unique(maintain_order=True):
                spills[number].add(frame.filter(ranges == number))
        for one in spills:
            yield from _sorted([packing.pack(frame) for frame in one.frames()], order, packing)
            one.close()


def weight_of(rows: pl.DataFrame) -> float:
    """Bytes that a row takes in memory while it waits, by the first rows of many."""
    head = rows.head(HEAD)
    return Packing().pack(head).estimated_size() / max(1, head.height)


def _sorted(frames: list[pl.DataFrame], order: Order, packing: Packing) -> Iterator[Rows]:
    """The rows of `frames`, which it empties, in order. Chunk by chunk, so that there is never a second copy of all."""
    if not frames:
        return
    rows = packing.joined(frames)
    places = _places(_keys(rows, order, 0), order)
    for offset in range(0, rows.height, CHUNK):
        yield Rows(rows[places[offset : offset + CHUNK]], packing.texts)


def _places(keys: pl.DataFrame, order: Order) -> pl.Series:
    """Where the rows with these keys stand when they are in order."""
    # Rows that come in the order of `start` keep it among equal texts, and two keys are dearer than one.
    by = ["text", "start"] if order.columns else ["start"]
    if order.columns and keys["start"].is_sorted():
        by = ["text"]
    return keys.select(pl.arg_sort_by(by, maintain_order=True)).to_series()


def _keys(rows: pl.DataFrame, order: Order, came: int) -> pl.DataFrame:
    """The columns `text`, `start` and `number` of `rows`, before which `came` others came."""
    start = pl.col("start").to_physical() if "start" in rows.columns else pl.lit(None, pl.Int64)
    return (
        rows.lazy()
        .select(
            text=order.text if order.columns else pl.lit(""),
            start=start.fill_null(_NEVER),
            number=pl.int_range(came, came + pl.len(), dtype=pl.Int64),
        )
        .collect()
    )


def _bounds(read_keys: Read, order: Order, rows: int, most: int) -> list[tuple[str, int, int]]:
    """Keys that cut the rows into ranges of `most` or fewer, by a sample, with a fifth of room for chance."""
    step = max(1, rows // _SAMPLE)
    taken, came = [], 0
    for frame in read_keys():
        taken.append(_keys(frame, order, came).gather_every(step, -came % step))
        came += frame.height
    keys = pl.concat(taken).sort("text", "start", "number")
    ranges = -(-rows * 5 // (most * 4))
    cuts = sorted({keys.height * number // ranges for number in range(1, ranges)} - {0})
    return [keys.row(cut) for cut in cuts]


def _range(bounds: Sequence[tuple[str, int, int]]) -> pl.Expr:
    """The number of the range that a key is in: how many bounds it has reached."""
    text, start, number = pl.col("text"), pl.col("start"), pl.col("number")
    reached = [
        (text > at[0]) | ((text == at[0]) & ((start > at[1]) | ((start == at[1]) & (number >= at[2])))) for at in bounds
    ]
    return pl.sum_horizontal(pl.repeat(0, pl.len(), dtype=pl.Int32), *(one.cast(pl.Int32) for one in reached)).alias(
        "range"
    )


class _Spill:
    """Frames on disk, in the order they were added, each sealed under a key that is nowhere else."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._key = sealing.new_key()
        self._count = 0
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        self._file = os.fdopen(handle, "w+b")

    def __enter__(self) -> _Spill:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add(self, rows: pl.DataFrame) -> None:
        """Appends `rows`."""
        content = io.BytesIO()
        rows.write_ipc_stream(content, compression="lz4")
        blob = sealing.seal(self._key, content.getvalue(), self._place(self._count))
        self._file.write(len(blob).to_bytes(_LENGTH_BYTES, "little"))
        self._file.write(blob)
        self._count += 1

    def frames(self) -> Iterator[pl.DataFrame]:
        """What was added, once."""
        self._file.seek(0)
        for number in range(self._count):
            length = int.from_bytes(self._file.read(_LENGTH_BYTES), "little")
            blob = self._file.read(length)
            if len(blob) != length:
                raise FaultError(f"reading {self._place(number)}: it was truncated; do it again")
            yield pl.read_ipc_stream(io.BytesIO(sealing.unseal(self._key, blob, self._place(number))))

    def close(self) -> None:
        """Closes and unlinks it; a second time does nothing."""
        self._file.close()
        self._path.unlink(missing_ok=True)

    def _place(self, number: int) -> str:
        return f"spill {self._path.name}/{number}"
