"""From rows to sections: each column of a frame becomes streams of small numbers, block by block.

A column is a stream of *tags* and a stream of *numbers*, each as wide as its block needs. Tag 0 is null. In a column of
numbers tag 1 is a number. In a column of text every tag above 0 is an entry of the section's pool; where the block's
texts are mostly one prefix and a number (`+31…`, `K17`), tag 1 stands for that form, the entry is the prefix, and the
number follows. Everything is done for a whole frame at once; only the putting together loops over blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from trafficvault import block_form, prefixes
from trafficvault.block_form import COLUMN, HEAD, NUMBERS, RELATIVE, ROWS, SCALES, Bits, Whole

_SAMPLE = 2048
_NUMBER_FORM = r"^(.*?)([1-9][0-9]{0,17})$"
_PRESENCE = 1 << 22
"""Up to so many (block, text) pairs, a table tells which of them occur; beyond, they are sorted."""

_Any = TypeVar("_Any", bound=np.generic)
Octets = npt.NDArray[np.uint8]


@dataclass(slots=True)
class _Pool:
    """The texts of a column, block after block."""

    bounds: Whole
    """Where each block's entries begin, and the last one's end."""
    ends: Whole
    """Where each entry's bytes begin, and the last one's end."""
    content: bytes

    def of(self, block: int) -> tuple[Whole, bytes]:
        first, last = self.bounds[block : block + 2]
        ends = self.ends[first : last + 1]
        return ends[1:] - ends[:-1], self.content[ends[0] : ends[-1]]


@dataclass(slots=True)
class _Column:
    heads: npt.NDArray[np.void]
    streams: list[Callable[[int, int], bytes]]
    """From block and rows to the bytes of the tags and of the numbers."""
    pool: _Pool | None
    numbers: Whole
    """What a reader will see in every row, null or not: what another column may be relative to."""


class Frame:
    """A frame of rows in their final order, all blocks full but the last."""

    def __init__(self, rows: pl.DataFrame) -> None:
        self._rows = rows
        self.height = rows.height
        self.blocks = -(-rows.height // ROWS)
        self._starts = np.arange(0, max(self.height, 1), ROWS)
        self._counts = np.diff(np.append(self._starts, self.height))
        self._block = np.repeat(np.arange(self.blocks), self._counts)

    def sections(self, names: tuple[str, ...]) -> Iterator[bytes | None]:
        """The section of each block, of the columns `names`; None where all of them are null."""
        columns: dict[str, _Column] = {}
        for name in names:
            if name in self._rows.columns and self._rows[name].null_count() < self.height:
                columns[name] = self._column(name, columns)
        there = [(names.index(name), column) for name, column in columns.items()]
        for block in range(self.blocks):
            yield self._section(block, len(names), there) if there else None

    def _section(self, block: int, width: int, there: list[tuple[int, _Column]]) -> bytes:
        rows = min(ROWS, self.height - block * ROWS)
        heads = np.zeros(width, COLUMN)
        streams: list[bytes] = []
        lengths: list[Whole] = []
        texts: list[bytes] = []
        entries = 0
        for index, column in there:
            heads[index] = column.heads[block]
            streams += [stream(block, rows) for stream in column.streams]
            if column.pool is not None:
                sizes, content = column.pool.of(block)
                heads[index]["pool"], heads[index]["entries"] = entries, len(sizes)
                entries += len(sizes)
                lengths.append(sizes)
                texts.append(content)
        sizes = np.concatenate(lengths).astype("<u4") if lengths else np.zeros(0, "<u4")
        planes = np.ascontiguousarray(sizes.view(np.uint8).reshape(-1, 4).T).tobytes()
        head = np.array([(rows, entries)], HEAD).tobytes()
        return b"".join([head, heads.tobytes(), *streams, planes, *texts])

    def _column(self, name: str, earlier: dict[str, _Column]) -> _Column:
        series = self._rows[name]
        match block_form.kind_of(name):
            case block_form.NUMBER:
                values = series.to_physical().cast(pl.Int64)
                if not series.null_count() and values.min() == values.max():
                    return self._one_number(values)
                tags = values.is_not_null().to_numpy().astype(np.uint64)
                return self._made(name, tags, values.fill_null(0).to_numpy(), None, None, earlier)
            case block_form.TRUTH:
                tags = (series.cast(pl.Int64) + 1).fill_null(0).to_numpy().astype(np.uint64)
                return self._made(name, tags, None, None, None, earlier)
            case block_form.ADDRESS:
                return self._address(name, series, earlier)
            case block_form.NESTED:
                text = series.to_frame().select(pl.struct(name).struct.json_encode()).to_series()
                return self._text(name, text.zip_with(series.is_not_null(), _nulls(series)), earlier)
            case _:
                return self._text(name, series, earlier)

    def _constant(self, text: str) -> _Column:
        """A column of one text, which takes no room but that of the text in each block."""
        heads = np.zeros(self.blocks, COLUMN)
        heads["least"] = 1
        octets = text.encode()
        every = np.arange(self.blocks + 1)
        pool = _Pool(every, every * len(octets), octets * self.blocks)
        return _Column(heads, [], pool, np.zeros(self.height, np.int64))

    def _one_number(self, values: pl.Series) -> _Column:
        """A column of one number, which stands in the head of each block."""
        heads = np.zeros(self.blocks, COLUMN)
        heads["least"], heads["base"] = 1, values[0]
        return _Column(heads, [], None, values.to_numpy())

    def _address(self, name: str, series: pl.Series, earlier: dict[str, _Column]) -> _Column:
        v4 = series.bin.starts_with(prefixes.V4_PREFIX).fill_null(False)
        number = series.bin.slice(12, 4).bin.reinterpret(dtype=pl.UInt32, endianness="big").cast(pl.Int64)
        rest = series.bin.encode("hex").zip_with(~v4, _nulls(series))
        return self._mixed(name, v4, number, rest, "", earlier)

    def _text(self, name: str, series: pl.Series, earlier: dict[str, _Column]) -> _Column:
        if series[0] is not None and (series == series[0]).all(ignore_nulls=False):
            return self._constant(series[0])
        prefix = _prefix(series)
        if prefix is None:
            return self._mixed(name, None, None, series, "", earlier)
        bare = series.str.strip_prefix(prefix) if prefix else series
        number = bare.cast(pl.Int64, strict=False)
        # Back and forth: what does not come back the same (a leading zero, a sign, a blank) is text.
        fits = (number.cast(pl.String) == bare) & (number >= 0)
        if prefix:
            fits = fits & series.str.starts_with(prefix)
        fits = fits.fill_null(False)
        return self._mixed(name, fits, number, series.zip_with(~fits, _nulls(series)), prefix, earlier)

    def _mixed(
        self,
        name: str,
        fits: pl.Series | None,
        number: pl.Series | None,
        rest: pl.Series,
        prefix: str,
        earlier: dict[str, _Column],
    ) -> _Column:
        """A column of numbers behind `prefix` where `fits`, and of the texts `rest` elsewhere."""
        is_number = np.zeros(self.height, np.bool_) if fits is None else fits.to_numpy()
        blocks_with = np.bincount(self._block[is_number], minlength=self.blocks) > 0
        if rest.null_count() == self.height:
            texts = pa.array([prefix], pa.large_string())
            bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(blocks_with)])
            entries, tags = np.zeros(int(bounds[-1]), np.int64), is_number.astype(np.uint64)
        else:
            texts, tags, bounds, entries = self._entries(rest, prefix, blocks_with)
            tags[is_number] = 1
        taken = texts.take(pa.array(entries))
        ends = np.frombuffer(taken.buffers()[1], np.int64)[: len(entries) + 1]
        pool = _Pool(bounds, ends, taken.buffers()[2].to_pybytes() if taken.buffers()[2] is not None else b"")
        values = None if number is None else number.fill_null(0).to_numpy()
        return self._made(name, tags, values, is_number, pool, earlier, blocks_with)

    def _entries(
        self, rest: pl.Series, prefix: str, blocks_with: npt.NDArray[np.bool_]
    ) -> tuple[pa.Array, Bits, Whole, Whole]:
        """Texts, the tag of each row, and where each block's entries begin among those of all blocks."""
        encoded = rest.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(pa.large_string()).dictionary_encode()
        texts = pa.concat_arrays([pa.array([prefix], pa.large_string()), encoded.dictionary.cast(pa.large_string())])
        is_text = rest.is_not_null().to_numpy()
        codes = np.where(is_text, encoded.indices.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64) + 1, 0)
        rank, bounds, entries = self._ranked(codes, is_text, len(texts), blocks_with)
        return texts, np.where(is_text, rank + 1, 0).astype(np.uint64), bounds, entries

    def _ranked(
        self, codes: Whole, there: npt.NDArray[np.bool_], count: int, first: npt.NDArray[np.bool_]
    ) -> tuple[Whole, Whole, Whole]:
        """The place of each code among those of its block, where each block's begin, and the codes of all blocks.

        Code 0 is among those of a block where `first` holds, and is its first.
        """
        keys = self._block * count + codes
        if self.blocks * count <= _PRESENCE:
            present = np.zeros(self.blocks * count, np.bool_)
            present[keys[there]] = True
            table = present.reshape(self.blocks, count)
            table[:, 0] = first
            ranks = np.cumsum(table, axis=1) - 1
            bounds = np.concatenate([[0], np.cumsum(table.sum(axis=1))])
            return ranks.reshape(-1)[keys], bounds, np.nonzero(table)[1]
        heads = np.flatnonzero(first) * count
        distinct = np.unique(np.concatenate([keys[there], heads]))
        bounds = np.searchsorted(distinct, np.arange(self.blocks + 1) * count)
        return np.searchsorted(distinct, keys) - bounds[self._block], bounds, distinct % count

    def _made(
        self,
        name: str,
        tags: Bits,
        values: Whole | None,
        valid: npt.NDArray[np.bool_] | None,
        pool: _Pool | None,
        earlier: dict[str, _Column],
        numbered: npt.NDArray[np.bool_] | None = None,
    ) -> _Column:
        """The streams of a column from its tags and numbers. `valid` says which rows have a number."""
        heads = np.zeros(self.blocks, COLUMN)
        least = np.minimum.reduceat(tags, self._starts)
        tags = tags - self._by_row(least)
        heads["least"] = least
        heads["tag_width"] = _widths(np.maximum.reduceat(tags, self._starts))
        if numbered is not None:
            heads["flags"] |= np.where(numbered, NUMBERS, 0).astype(np.uint8)
        numbers = np.zeros(self.height, np.int64)
        streams: list[Callable[[int, int], bytes]] = [_Stream(tags, heads["tag_width"]).of]
        if values is not None:
            valid = tags + self._by_row(least) == 1 if valid is None else valid
            stored, numbers = self._stored(name, heads, values, valid, earlier)
            streams.append(_Stream(stored, heads["width"]).of)
        return _Column(heads, streams, pool, numbers)

    def _stored(
        self,
        name: str,
        heads: npt.NDArray[np.void],
        values: Whole,
        valid: npt.NDArray[np.bool_],
        earlier: dict[str, _Column],
    ) -> tuple[Bits, Whole]:
        """The numbers of the stream, and what a reader makes of them; fills `heads` in."""
        base, spread = self._spread(values, valid)
        seen_as = np.where(valid, values, self._by_row(base))
        basis = np.zeros(self.height, np.int64)
        other = block_form.RELATIVES.get(name)
        if other in earlier:
            away = values - earlier[other].numbers
            near, near_spread = self._spread(away, valid)
            closer = near_spread < spread
            heads["flags"] |= np.where(closer, RELATIVE, 0).astype(np.uint8)
            rows = self._by_row(closer)
            values = np.where(rows, away, values)
            base, spread = np.where(closer, near, base), np.where(closer, near_spread, spread)
            basis = np.where(rows, earlier[other].numbers, basis)
            seen_as = np.where(valid, values, self._by_row(base)) + basis
        offsets = np.where(valid, values - self._by_row(base), 0).view(np.uint64)
        scale = next(index for index in (3, 2, 1, 0) if _is_multiple(offsets, np.uint64(SCALES[index])))
        if scale:
            offsets //= np.uint64(SCALES[scale])
            spread = spread // np.uint64(SCALES[scale])
        heads["scale"] = scale
        heads["base"] = base
        heads["width"] = _widths(spread)
        return offsets, seen_as

    def _by_row(self, by_block: npt.NDArray[_Any]) -> npt.NDArray[_Any]:
        """What belongs to each row's block."""
        return np.repeat(by_block, self._counts)

    def _spread(self, values: Whole, valid: npt.NDArray[np.bool_]) -> tuple[Whole, Bits]:
        """Least value and range of each block."""
        low = np.minimum.reduceat(np.where(valid, values, np.iinfo(np.int64).max), self._starts)
        high = np.maximum.reduceat(np.where(valid, values, np.iinfo(np.int64).min), self._starts)
        empty = low > high
        low[empty] = high[empty] = 0
        return low, high.view(np.uint64) - low.view(np.uint64)


class _Stream:
    """Numbers of one column, cut into byte planes and a rest of 1, 2 or 4 bits, as wide as each block needs."""

    def __init__(self, values: Bits, widths: Octets) -> None:
        self._values = np.ascontiguousarray(values)
        self._widths = widths.tolist()
        self._planes: dict[int, Octets] = {}
        self._rests: dict[tuple[int, int], Octets] = {}

    def of(self, block: int, rows: int) -> bytes:
        whole, rest = divmod(self._widths[block], 8)
        start = block * ROWS
        parts = [self._plane(index)[start : start + rows].tobytes() for index in range(whole)]
        if rest:
            packed = self._rest(whole, rest)
            per = 8 // rest
            parts.append(packed[start // per : start // per + -(-rows // per)].tobytes())
        return b"".join(parts)

    def _plane(self, index: int) -> Octets:
        if index not in self._planes:
            self._planes[index] = np.ascontiguousarray(self._values.view(np.uint8).reshape(-1, 8)[:, index])
        return self._planes[index]

    def _rest(self, index: int, bits: int) -> Octets:
        if (index, bits) not in self._rests:
            plane = self._plane(index) & np.uint8((1 << bits) - 1)
            per = 8 // bits
            padded = np.zeros(-(-len(plane) // per) * per, np.uint8)
            padded[: len(plane)] = plane
            groups = padded.reshape(-1, per)
            packed = np.zeros(len(groups), np.uint8)
            for place in range(per):
                packed |= groups[:, place] << np.uint8(place * bits)
            self._rests[index, bits] = packed
        return self._rests[index, bits]


def _is_multiple(values: Bits, of: np.uint64) -> bool:
    # A few first: a remainder over all rows is dear.
    return of == 1 or not (np.any(values[:ROWS] % of) or np.any(values % of))


def _widths(most: Bits) -> Octets:
    return np.array([block_form.rounded(value.bit_length()) for value in most.tolist()], np.uint8)


def _prefix(series: pl.Series) -> str | None:
    """The prefix that most texts of the column have before a number; None when most are not of that form."""
    sample = series.drop_nulls()
    sample = sample.gather_every(max(1, len(sample) // _SAMPLE)).unique()
    if len(sample) < 2:
        return None
    found = sample.str.extract(_NUMBER_FORM, 1).drop_nulls()
    if not len(found):
        return None
    counts = found.value_counts(sort=True)
    prefix, count = counts.row(0)
    return str(prefix) if 2 * count > len(sample) else None


def _nulls(series: pl.Series) -> pl.Series:
    return pl.Series([None], dtype=pl.String).new_from_index(0, len(series))
