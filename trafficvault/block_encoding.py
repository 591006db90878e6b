"""From rows to sections: each column of a frame becomes streams of small numbers, block by block.

A column is a stream of *tags* and a stream of *numbers*, each as wide as its block needs. Tag 0 is null. In a column of
numbers tag 1 is a number. In a column of text every tag above 0 is an entry of the section's pool; where the block's
texts are mostly one prefix and a number (`+31…`, `K17`), tag 1 stands for that form, the entry is the prefix, and the
number follows. Everything is done for a whole frame at once; only the putting together loops over blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from trafficvault import block_form, numerals, prefixes
from trafficvault.block_form import COLUMN, HEAD, NUMBERS, RELATIVE, ROWS, SCALES, Bits, Whole
from trafficvault.block_pools import Pool, cut, pool_of, sizes
from trafficvault.packing import Codes, Rows

_PRESENCE = 1 << 22
"""Up to so many (block, text) pairs, a table tells which of them occur; beyond, they are sorted."""
_POWERS = np.uint64(1) << np.arange(64, dtype=np.uint64)
_ROUNDED = np.array([block_form.rounded(bits) for bits in range(65)], np.uint8)
_CATEGORIES = 1024
"""A packed column of more texts may be one of numbers."""
_REFERRED_TO = frozenset(block_form.RELATIVES.values())

_Any = TypeVar("_Any", bound=np.generic)
Octets = npt.NDArray[np.uint8]
Tags = npt.NDArray[np.unsignedinteger[Any]]
"""Of the narrowest type that holds them."""
Mask = npt.NDArray[np.bool_]
Rest = tuple[pa.Array, npt.NDArray[np.integer[Any]]]
"""Texts, the first of them for the prefix of numbers, and the one of each row; 0 where there is none."""


@dataclass(slots=True)
class _Column:
    heads: npt.NDArray[np.void]
    streams: list[list[bytes]]
    """Block by block, the bytes of the tags and of the numbers; a stream that has none in any block is left out."""
    pool: Pool | None
    numbers: Whole | None
    """What a reader will see in every row, null or not, where another column may be relative to it."""


class Frame:
    """A frame of rows in their final order, all blocks full but the last."""

    def __init__(self, packed: Rows) -> None:
        rows = packed.frame
        self._rows, self._packed = rows, packed
        self.height = rows.height
        self.blocks = -(-rows.height // ROWS)
        self._counts = np.full(self.blocks, ROWS)
        self._counts[-1:] = rows.height - (self.blocks - 1) * ROWS
        self._block = np.repeat(np.arange(self.blocks, dtype=np.int32), self._counts)

    def sections(self, names: tuple[str, ...]) -> Iterator[bytes | None]:
        """The section of each block, of the columns `names`; None where all of them are null."""
        columns: dict[str, _Column] = {}
        for name in names:
            if self._is_there(name):
                columns[name] = self._column(name, columns)
        if not columns:
            yield from [None] * self.blocks
            return
        heads = np.zeros((self.blocks, len(names)), COLUMN)
        entries = np.zeros(self.blocks, np.int64)
        pools = []
        for name, column in columns.items():
            index = names.index(name)
            heads[:, index] = column.heads
            if column.pool is not None:
                pools.append(column.pool)
                counts = np.diff(column.pool.bounds)
                heads["pool"][:, index], heads["entries"][:, index] = entries, counts
                entries += counts
        first = np.zeros(self.blocks, HEAD)
        first["rows"], first["entries"] = self._counts, entries
        octets = [first.view(np.uint8).reshape(self.blocks, -1), heads.view(np.uint8).reshape(self.blocks, -1)]
        tops = np.concatenate(octets, axis=1)
        parts = [cut(tops.tobytes(), range(0, tops.size + 1, tops.shape[1]))]
        parts += [stream for column in columns.values() for stream in column.streams]
        parts += [sizes(pools, entries), *(pool.content for pool in pools)]
        yield from map(b"".join, zip(*parts, strict=True))

    def _is_there(self, name: str) -> bool:
        """Whether the column has a value in any row."""
        if name in self._packed.texts:
            return bool(self._packed.codes(name).any())
        return name in self._rows.columns and self._rows[name].null_count() < self.height

    def _column(self, name: str, earlier: dict[str, _Column]) -> _Column:
        if name in self._packed.texts:
            return self._coded(name, earlier)
        series = self._rows[name]
        match block_form.kind_of(name):
            case block_form.NUMBER:
                values = series.to_physical().cast(pl.Int64)
                if not series.null_count() and values.min() == values.max():
                    return self._one_number(values)
                there = values.is_not_null().to_numpy()
                return self._made(name, there.view(np.uint8), values.fill_null(0).to_numpy(), there, None, earlier)
            case block_form.TRUTH:
                tags = (series.cast(pl.UInt8) + 1).fill_null(0).to_numpy()
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
        pool = Pool(np.arange(self.blocks + 1), np.full(self.blocks, len(octets)), [octets] * self.blocks)
        return _Column(heads, [], pool, np.zeros(self.height, np.int64))

    def _one_number(self, values: pl.Series) -> _Column:
        """A column of one number, which stands in the head of each block."""
        heads = np.zeros(self.blocks, COLUMN)
        heads["least"], heads["base"] = 1, values[0]
        return _Column(heads, [], None, values.to_numpy())

    def _address(self, name: str, series: pl.Series, earlier: dict[str, _Column]) -> _Column:
        v4 = series.bin.starts_with(prefixes.V4_PREFIX).fill_null(False)
        number = series.bin.slice(12, 4).bin.reinterpret(dtype=pl.UInt32, endianness="big").cast(pl.Int64)
        rest = None if (v4 | series.is_null()).all() else _listed(series.bin.encode("hex"), ~v4.to_numpy(), "")
        return self._mixed(name, v4.to_numpy(), number.fill_null(0).to_numpy(), rest, "", earlier)

    def _text(self, name: str, series: pl.Series, earlier: dict[str, _Column]) -> _Column:
        if series[0] is not None and (series == series[0]).all(ignore_nulls=False):
            return self._constant(series[0])
        there = series.is_not_null().to_numpy()
        prefix = numerals.prefix_of(series)
        if prefix is None:
            return self._mixed(name, np.zeros(self.height, np.bool_), None, _listed(series, there, ""), "", earlier)
        fits, number = numerals.numbers(series.drop_nulls(), prefix)
        if not there.all():
            fits, number = _scattered(fits, there), _scattered(number, there)
        rest = None if np.array_equal(fits, there) else _listed(series, there & ~fits, prefix)
        return self._mixed(name, fits, number, rest, prefix, earlier)

    def _coded(self, name: str, earlier: dict[str, _Column]) -> _Column:
        """A column whose texts are numbered already: what is to be known of a text is asked once, not row by row."""
        texts, codes = self._packed.texts[name], self._packed.codes(name)
        least, most = int(codes.min()), int(codes.max())
        if least == most:
            return self._constant(texts.values[least - 1])
        if len(texts) <= _CATEGORIES or texts.prefix is None:
            there = _dense(texts.arrow, codes)
            tags, bounds, entries = self._ranked(*there, np.zeros(self.blocks, np.bool_))
            return self._made(name, tags, None, None, pool_of(there[0], bounds, entries), earlier)
        are_numbers, numbers = texts.numbers
        fits = are_numbers.take(codes)
        rest = np.where(fits, codes.dtype.type(0), codes)
        listed = _dense(texts.arrow, rest) if rest.any() else None
        return self._mixed(name, fits, numbers.take(codes), listed, texts.prefix, earlier)

    def _mixed(
        self,
        name: str,
        is_number: Mask,
        number: Whole | None,
        rest: Rest | None,
        prefix: str,
        earlier: dict[str, _Column],
    ) -> _Column:
        """A column of numbers behind `prefix` where `is_number`, and of the texts `rest` elsewhere."""
        blocks_with = self._folded(np.max, is_number)
        if rest is None:
            texts = pa.array([prefix], pa.large_string())
            bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(blocks_with)])
            entries, tags = np.zeros(int(bounds[-1]), np.int64), is_number.view(np.uint8)
        else:
            texts = rest[0]
            tags, bounds, entries = self._ranked(*rest, blocks_with)
            if number is not None:
                tags[is_number] = 1
        return self._made(name, tags, number, is_number, pool_of(texts, bounds, entries), earlier, blocks_with)

    def _ranked(self, texts: pa.Array, codes: npt.NDArray[np.integer[Any]], first: Mask) -> tuple[Tags, Whole, Whole]:
        """The place of each code among those of its block, from 1; where each block's begin, and the codes of all.

        Code 0 is a null, of tag 0, and stands as well for what is among those of a block where `first` holds, and is
        its first.
        """
        count = len(texts)
        if self.blocks * count <= _PRESENCE:
            keys = self._block * np.int32(count) + codes
            table = np.zeros((self.blocks, count), np.bool_)
            table.reshape(-1)[keys] = True
            table[:, 0] = first
            ranks = np.cumsum(table, axis=1, dtype=np.int32)
            ranks[:, 0] = 0
            bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(table.sum(axis=1))])
            return ranks.astype(_type_for(int(ranks.max()))).reshape(-1).take(keys), bounds, np.nonzero(table)[1]
        there = np.flatnonzero(codes)
        pairs = self._block[there].astype(np.int64) * count + codes[there]
        distinct, places = np.unique(np.concatenate([pairs, np.flatnonzero(first) * count]), return_inverse=True)
        bounds = np.searchsorted(distinct, np.arange(self.blocks + 1) * count)
        ranks = places[: len(there)] - bounds[self._block[there]] + 1
        tags = np.zeros(self.height, _type_for(int(ranks.max())))
        tags[there] = ranks
        return tags, bounds, distinct % count

    def _made(
        self,
        name: str,
        tags: Tags,
        values: Whole | None,
        valid: Mask | None,
        pool: Pool | None,
        earlier: dict[str, _Column],
        numbered: Mask | None = None,
    ) -> _Column:
        """The streams of a column from its tags and numbers. `valid` says which rows have a number."""
        heads = np.zeros(self.blocks, COLUMN)
        least, most = self._folded(np.min, tags), self._folded(np.max, tags)
        if least.any():
            tags = tags - self._by_row(least)
        heads["least"] = least
        heads["tag_width"] = _widths(most - least)
        if numbered is not None:
            heads["flags"] |= np.where(numbered, NUMBERS, 0).astype(np.uint8)
        numbers = np.zeros(self.height, np.int64) if name in _REFERRED_TO else None
        streams = [self._stream(tags, heads["tag_width"])]
        if values is not None and valid is not None:
            stored, numbers = self._stored(name, heads, values, valid, earlier)
            streams.append(self._stream(stored, heads["width"]))
        return _Column(heads, [stream for stream in streams if stream], pool, numbers)

    def _stored(
        self, name: str, heads: npt.NDArray[np.void], values: Whole, valid: Mask, earlier: dict[str, _Column]
    ) -> tuple[Bits, Whole | None]:
        """The numbers of the stream, and what a reader makes of them; fills `heads` in."""
        full = bool(valid.all())
        base, spread = self._spread(values, None if full else valid)
        other = earlier.get(block_form.RELATIVES.get(name, ""))
        if other is not None and other.numbers is not None:
            away = values - other.numbers
            near, near_spread = self._spread(away, None if full else valid)
            closer = near_spread < spread
            if closer.any():
                heads["flags"] |= np.where(closer, RELATIVE, 0).astype(np.uint8)
                values = away if closer.all() else np.where(self._by_row(closer), away, values)
                base, spread = np.where(closer, near, base), np.where(closer, near_spread, spread)
        by_row = self._by_row(base)
        seen_as = np.where(valid, values, by_row) if name in _REFERRED_TO else None
        offsets = (values - by_row).view(np.uint64)
        if not full:
            offsets *= valid
        scale = next(index for index in (3, 2, 1, 0) if _is_multiple(offsets, np.uint64(SCALES[index])))
        if scale:
            offsets //= np.uint64(SCALES[scale])
            spread = spread // np.uint64(SCALES[scale])
        heads["scale"] = scale
        heads["base"] = base
        heads["width"] = _widths(spread)
        return offsets, seen_as

    def _stream(self, values: Tags, widths: Octets) -> list[bytes]:
        """Numbers as byte planes and a rest of 1, 2 or 4 bits, as wide as each block needs; empty where none is."""
        most = int(widths.max())
        if not most:
            return []
        if self.height < self.blocks * ROWS:
            values = np.concatenate([values, np.zeros(self.blocks * ROWS - self.height, values.dtype)])
        octets = values.view(np.uint8).reshape(self.blocks, ROWS, values.itemsize)
        planes = np.ascontiguousarray(octets[:, :, : -(-most // 8)].transpose(0, 2, 1))
        content, step = planes.tobytes(), planes.shape[1] * ROWS
        # A block's lower planes stand first, so it takes as many as it needs.
        found = [
            content[at : at + wide]
            for at, wide in zip(range(0, len(content), step), ((widths >> 3).astype(int) * ROWS).tolist(), strict=True)
        ]
        for width in np.unique(widths[widths & 7 != 0]).tolist():
            those = np.flatnonzero(widths == width)
            packed = _packed(planes[those, width >> 3], width & 7)
            for block, rest in zip(those.tolist(), packed, strict=True):
                found[block] += rest.tobytes()
        rows = self.height - (self.blocks - 1) * ROWS
        if rows < ROWS:
            whole, rest = divmod(int(widths[-1]), 8)
            last = [planes[-1, index, :rows].tobytes() for index in range(whole)]
            if rest:
                last.append(_packed(planes[-1:, whole], rest)[0, : -(-rows * rest // 8)].tobytes())
            found[-1] = b"".join(last)
        return found

    def _by_row(self, by_block: npt.NDArray[_Any]) -> npt.NDArray[_Any]:
        """What belongs to each row's block."""
        return np.repeat(by_block, self._counts)

    def _spread(self, values: Whole, valid: Mask | None) -> tuple[Whole, Bits]:
        """Least value and range of each block."""
        if valid is None:
            low, high = self._folded(np.min, values), self._folded(np.max, values)
        else:
            low = self._folded(np.min, np.where(valid, values, np.iinfo(np.int64).max))
            high = self._folded(np.max, np.where(valid, values, np.iinfo(np.int64).min))
            empty = low > high
            low[empty] = high[empty] = 0
        return low, high.view(np.uint64) - low.view(np.uint64)

    def _folded(self, fold: Callable[..., Any], values: npt.NDArray[_Any]) -> npt.NDArray[_Any]:
        """Least or greatest value of each block."""
        whole = self.height // ROWS
        found = np.empty(self.blocks, values.dtype)
        found[:whole] = fold(values[: whole * ROWS].reshape(whole, ROWS), axis=1)
        if whole < self.blocks:
            found[whole] = fold(values[whole * ROWS :])
        return found


def _listed(column: pl.Series, there: Mask, prefix: str) -> Rest:
    """The texts of `column` in the rows that are `there`."""
    if not there.all():
        column = column.zip_with(pl.Series(there), _nulls(column))
    encoded = column.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(pa.large_string()).dictionary_encode()
    texts = pa.concat_arrays([pa.array([prefix], pa.large_string()), encoded.dictionary.cast(pa.large_string())])
    codes = np.frombuffer(encoded.indices.buffers()[1], np.int32)[encoded.offset :][: len(column)] + np.int32(1)
    # What stands in the place of a null is anything.
    return texts, codes if column.null_count() == 0 else codes * column.is_not_null().to_numpy()


def _dense(texts: pa.Array, codes: Codes) -> Rest:
    """The same with those texts alone that occur, and the first, when there are many others."""
    if len(texts) <= _CATEGORIES:
        return texts, codes
    there = np.zeros(len(texts), np.bool_)
    there[codes] = there[0] = True
    places = np.cumsum(there, dtype=np.int32) - np.int32(1)
    return texts.take(pa.array(np.flatnonzero(there))), places.take(codes)


def _packed(plane: Octets, bits: int) -> Octets:
    """Block by block, numbers of 1, 2 or 4 bits, several in a byte, the first in its lowest bits."""
    plane = plane & np.uint8((1 << bits) - 1)
    if bits == 1:
        return np.packbits(plane, axis=1, bitorder="little")
    per = 8 // bits
    packed = plane[:, ::per].copy()
    for place in range(1, per):
        packed |= plane[:, place::per] << np.uint8(place * bits)
    return packed


def _scattered(values: npt.NDArray[_Any], there: Mask) -> npt.NDArray[_Any]:
    found = np.zeros(len(there), values.dtype)
    found[there] = values
    return found


def _type_for(most: int) -> type[np.unsignedinteger[Any]]:
    return np.uint8 if most < 1 << 8 else np.uint16 if most < 1 << 16 else np.uint32


def _is_multiple(values: Bits, of: np.uint64) -> bool:
    # A few first: a remainder over all rows is dear.
    return of == 1 or not (np.any(values[:ROWS] % of) or np.any(values % of))


def _widths(most: Tags) -> Octets:
    bits = np.searchsorted(_POWERS, most.astype(np.uint64), "right")
    return np.asarray(_ROUNDED[bits])


def _nulls(series: pl.Series) -> pl.Series:
    return pl.Series([None], dtype=pl.String).new_from_index(0, len(series))
