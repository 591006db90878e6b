"""From sections to rows: reads columns of chosen rows out of many sections at once.

The sections of a category, of whichever blocks and files of one class, are laid one behind the other, and each column
is then read for all of them by arithmetic on positions: no loop runs over sections or rows. What was opened is
authentic, so nothing here defends itself against sections that were made up.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from ingest.record import SCHEMA
from trafficvault import block_form, block_pools, numerals, prefixes
from trafficvault.block_form import COLUMN, HEAD, NUMBERS, RELATIVE, SCALES, Bits, Whole
from trafficvault.sealed_parquet import polars_type

Mask = npt.NDArray[np.bool_]

_SCALES = np.array(SCALES, np.int64)
_FEW = 4
_LONG = 6
"""Characters of a text that is looked for by its bytes."""
_PLAIN = re.compile(r"[0-9A-Za-z@.+_-]+")
_V4_LOW = np.uint64(0xFFFF_0000_0000)


class Sections:
    """The sections of one category, in a row. A row is named by its section (from 0) and its place in it."""

    def __init__(self, unpacked: tuple[bytes, Sequence[int]], names: Sequence[str]) -> None:
        """`unpacked` is what `block_form.unpacked` makes of sections with the columns `names`."""
        self._names = {name: index for index, name in enumerate(names)}
        self._content, lengths = unpacked
        self._buffer = np.frombuffer(self._content, np.uint8)
        sizes = np.array(lengths, np.int64)
        begins = np.cumsum(sizes) - sizes
        form = np.dtype([("all", HEAD), ("columns", COLUMN, (len(names),))])
        width = form.itemsize
        heads = np.frombuffer(b"".join([self._content[at : at + width] for at in begins.tolist()]), form)
        self._heads = heads["columns"]
        self.rows: Whole = heads["all"]["rows"].astype(np.int64)
        self._entries: Whole = heads["all"]["entries"].astype(np.int64)
        self._tag_width = self._heads["tag_width"].astype(np.int64)
        self._absent: Mask = ~np.logical_or(self._tag_width.any(axis=0), self._heads["least"].any(axis=0))
        self._width = self._heads["width"].astype(np.int64)
        streams = np.stack([self._size(self._tag_width), self._size(self._width)], axis=2).reshape(len(lengths), -1)
        ends = np.cumsum(streams, axis=1)
        at = ends - streams + (begins + width)[:, None]
        self._tags_at, self._numbers_at = at[:, 0::2], at[:, 1::2]
        self._pool_at: Whole = ends[:, -1] + width + begins
        self._end: Whole = begins + sizes
        # Before the entries of each section there is one more, which holds all that is no text.
        self._pool_begin = np.cumsum(self._entries + 1) - self._entries
        self._first = np.cumsum(self.rows) - self.rows
        self._texts: tuple[pa.Array, block_pools.Ends] | None = None
        self._found: dict[str, tuple[Whole, Mask]] = {}
        self._rows_of_all: tuple[Whole, Whole] | None = None

    def every(self) -> tuple[Whole, Whole]:
        """Section and place of every row."""
        if self._rows_of_all is None:
            self._rows_of_all = self._every(np.arange(len(self.rows)))
        return self._rows_of_all

    def of(self, positions: Whole) -> tuple[Whole, Whole]:
        """Section and place of the rows at those positions in `every`."""
        section = np.searchsorted(self._first, positions, "right") - 1
        return section, positions - self._first[section]

    def is_absent(self, column: str) -> bool:
        """Whether the column is null in every row."""
        return bool(self._absent[self._names[column]])

    def read(self, column: str, section: Whole, row: Whole) -> pa.Array:
        """The values of `column` in those rows, of the record's type."""
        type_ = SCHEMA.field(column).type
        if not len(row) or self.is_absent(column):
            return pa.nulls(len(row), type_)
        if (constant := self._constant(column, len(row))) is not None:
            return constant.cast(type_)
        tags = self._tags(column, section, row)
        there = tags != 0
        match block_form.kind_of(column):
            case block_form.NUMBER:
                return _there(self._numbers(column, section, row), there).cast(type_)
            case block_form.TRUTH:
                return _there(tags == 2, there)
            case block_form.ADDRESS:
                high, low = self._halves(column, section, row, tags)
                octets = np.stack([high, low], axis=1).astype(">u8").tobytes()
                known = np.packbits(there, bitorder="little").tobytes()
                return pa.FixedSizeBinaryArray.from_buffers(
                    type_, len(row), [pa.py_buffer(known), pa.py_buffer(octets)]
                )
            case block_form.NESTED:
                shape = pl.Struct({column: polars_type(column)})
                lists = _series(self._text(column, section, row, tags)).str.json_decode(shape)
                return lists.struct.field(column).to_arrow().cast(type_)
            case _:
                return self._text(column, section, row, tags).cast(type_)

    def numbers(self, column: str, section: Whole, row: Whole) -> tuple[Whole, Mask]:
        """The numbers of `column`, or moments in microseconds, in those rows, and in which of them one is there."""
        if not len(row) or self.is_absent(column):
            return np.zeros(len(row), np.int64), np.zeros(len(row), np.bool_)
        return self._numbers(column, section, row), np.asarray(self._tags(column, section, row) != 0)

    def _constant(self, column: str, count: int) -> pa.Array | None:
        """So many times the one value that `column`, a text or a number, has in every row; None where
        it has several or may have.
        """
        index, kind = self._names[column], block_form.kind_of(column)
        if kind not in (block_form.TEXT, block_form.NUMBER) or self._tag_width[:, index].any():
            return None
        heads = self._heads[:, index]
        if kind == block_form.NUMBER:
            same = not self._width[:, index].any() and not (heads["flags"] & RELATIVE).any()
            if not same or (heads["least"] != 1).any() or (heads["base"] != heads["base"][0]).any():
                return None
            return pa.repeat(pa.scalar(int(heads["base"][0])), count)
        if (heads["flags"] & NUMBERS).any() or not heads["least"].all():
            return None
        texts = self._pool().take(pa.array(self._pool_base(index) + heads["least"].astype(np.int64) - 1)).unique()
        return pa.repeat(texts[0], count) if len(texts) == 1 else None

    def holds(self, column: str, values: Collection[str]) -> Mask:
        """Row by row of `every`, whether the text of `column`, or one of its elements, is one of `values`."""
        found = np.zeros(int(self.rows.sum()), np.bool_)
        index = self._names[column]
        entries = self._entries_with(column, values)
        if entries.any():
            found[self._named(index, entries)] = True
        for sections, those in self._numbers_of(index, values):
            for near in self._near(index, sections, those):
                here, place = self.of(near)
                same = np.isin(self._numbers(column, here, place), those) & (self._tags(column, here, place) == 1)
                found[near[same]] = True
        return found

    def _named(self, index: int, entries: Mask) -> Whole:
        """Positions in `every` of the rows whose text is one of those pool `entries`, as far as they are of the column:
        only sections that have one are looked into.
        """
        heads, base, entry = self._heads[:, index], self._pool_base(index), np.flatnonzero(entries)
        section = np.searchsorted(self._pool_begin, entry, "right") - 1
        tag = entry - base[section] + 1
        mine = (tag > (heads["flags"] & NUMBERS)[section]) & (tag <= heads["entries"][section])
        wanted = np.zeros(len(entries), np.bool_)
        wanted[entry[mine]] = True
        those = np.unique(section[mine])
        rows = self.rows[those]
        tags = self._whole_stream(self._tags_at[those, index], self._tag_width[those, index], rows)
        same = np.flatnonzero(wanted[tags.view(np.int64) + np.repeat(base[those] - 1 + heads["least"][those], rows)])
        ends = np.cumsum(rows)
        return np.asarray(same + (self._first[those] + rows - ends)[np.searchsorted(ends, same, "right")])

    def _near(self, index: int, sections: Mask, those: Whole) -> Iterator[Whole]:
        """Positions in `every` of all rows of `sections` that may have one of the numbers `those`."""
        heads = self._heads[:, index]
        # Numbers that are added to others, or are narrow or many, are all looked at.
        plain = (heads["flags"] & RELATIVE == 0) & (self._width[:, index] >= 8) & (len(those) <= _FEW)
        yield self._positions(np.flatnonzero(sections & ~plain))
        for number in those[:_FEW]:
            away = (number - heads["base"]).view(np.uint64)
            scale = _SCALES[heads["scale"]].view(np.uint64)
            inside = away // scale < np.uint64(1) << np.minimum(self._width[:, index], 63).view(np.uint64)
            fits = np.flatnonzero(sections & plain & (inside | (self._width[:, index] > 63)))
            lowest = (away // scale).astype(np.uint8)
            begins, rows = self._numbers_at[fits, index].tolist(), self.rows[fits].tolist()
            octets = b"".join([self._content[at : at + count] for at, count in zip(begins, rows, strict=True)])
            same = np.flatnonzero(np.frombuffer(octets, np.uint8) == np.repeat(lowest[fits], self.rows[fits]))
            ends = np.cumsum(self.rows[fits])
            at = np.searchsorted(ends, same, "right")
            yield same + (self._first[fits] + self.rows[fits] - ends)[at]

    def _positions(self, sections: Whole) -> Whole:
        """The positions in `every` of the rows of `sections`."""
        section, row = self._every(sections)
        return np.asarray(self._first[section] + row)

    def reaches(self, column: str, length: str | None, address: bytes) -> Mask:
        """Row by row of `every`, whether the address in `column`, with the prefix length in `length`, is `address` or
        holds it.
        """
        section, row = self.every()
        tags = self._tags(column, section, row)
        high, low = self._halves(column, section, row, tags)
        wanted_high, wanted_low = (np.uint64(int.from_bytes(address[at : at + 8], "big")) for at in (0, 8))
        bits = np.full(len(row), 128, np.int64)
        if length is not None and not self.is_absent(length):
            own = np.where(self._tags(length, section, row) != 0, self._numbers(length, section, row), 0)
            bits = prefixes.effective_bits(own, high, low)
        first, second = prefixes.masks(bits)
        same = ((high ^ wanted_high) & first | (low ^ wanted_low) & second) == 0
        family = prefixes.is_v4(high, low) == address.startswith(prefixes.V4_PREFIX)
        return np.asarray((tags != 0) & same & family)

    def _every(self, sections: Whole) -> tuple[Whole, Whole]:
        counts = self.rows[sections]
        section = np.repeat(sections, counts)
        return section, np.arange(len(section)) - np.repeat(np.cumsum(counts) - counts, counts)

    def _size(self, width: Whole) -> Whole:
        rows = self.rows[:, None]
        return np.asarray(rows * (width >> 3) + ((rows * (width & 7) + 7) >> 3))

    def _stream(self, at: Whole, widths: Whole, section: Whole, row: Whole) -> Bits:
        """Reads a stream: `at` and `widths` by section."""
        if self._rows_of_all is not None and row is self._rows_of_all[1]:
            return self._whole_stream(at, widths, self.rows)
        values = np.zeros(len(row), np.uint64)
        if not widths.any():
            return values
        width, begin, rows = widths[section], at[section], self.rows[section]
        if (rest := width & 7).any():
            bit = row * rest
            octets = self._buffer[np.where(rest, begin + (width >> 3) * rows + (bit >> 3), 0)] >> (bit & 7)
            values = (octets & (1 << rest) - 1).astype(np.uint64) << (width & ~7).astype(np.uint64)
        place, there = begin + row, None
        for plane in range(int(width.max(initial=0)) >> 3):
            wide = width >= 8 * plane + 8
            if not wide.all():
                those = np.flatnonzero(wide)
                there = those if there is None else there[those]
                width, place, rows = width[those], place[those], rows[those]
            octets = self._buffer[place].astype(np.uint64) << np.uint64(8 * plane)
            if there is None:
                values |= octets
            else:
                values[there] |= octets
            place = place + rows
        return values

    def _whole_stream(self, at: Whole, widths: Whole, counts: Whole) -> Bits:
        """Reads a stream in every row: slices, laid one behind the other, are quicker than positions."""
        rows, begins, bits = counts.tolist(), at.tolist(), widths.tolist()
        values = np.zeros(sum(rows), np.uint64)
        content = self._content
        for plane in range(-(-max(bits, default=0) // 8)):
            parts = []
            for count, begin, width in zip(rows, begins, bits, strict=True):
                start = begin + plane * count
                if width >= 8 * plane + 8:
                    parts.append(content[start : start + count])
                elif width > 8 * plane:
                    few = content[start : start - (-count * (width & 7) // 8)]
                    parts.append(block_form.spread(few, width & 7, count))
                else:
                    parts.append(bytes(count))
            values |= np.frombuffer(b"".join(parts), np.uint8).astype(np.uint64) << np.uint64(8 * plane)
        return values

    def _tags(self, column: str, section: Whole, row: Whole) -> Bits:
        index = self._names[column]
        least = self._heads["least"][:, index].astype(np.uint64)
        return self._stream(self._tags_at[:, index], self._tag_width[:, index], section, row) + least[section]

    def _numbers(self, column: str, section: Whole, row: Whole) -> Whole:
        index = self._names[column]
        heads = self._heads[:, index]
        base, flags = heads["base"], heads["flags"]
        stream = self._stream(self._numbers_at[:, index], self._width[:, index], section, row)
        numbers = stream.view(np.int64)
        if heads["scale"].any():
            numbers = numbers * _SCALES[heads["scale"]][section]
        numbers = numbers + base[section]
        relative = flags & RELATIVE != 0
        if relative.any():
            other = self._numbers(block_form.RELATIVES[column], section, row)
            numbers += np.where(relative[section], other, 0)
        return np.asarray(numbers)

    def _pool_base(self, index: int) -> Whole:
        return np.asarray(self._pool_begin + self._heads["pool"][:, index])

    def _pool(self) -> pa.Array:
        """The pool entries of all sections, one after the other, each after one that is none."""
        if self._texts is None:
            self._texts = block_pools.texts_of(self._content, self._pool_at, self._entries, self._end)
        return self._texts[0]

    def _holding(self, value: str) -> tuple[Whole, Mask]:
        """The pool entries in which `value` stands, and of each whether it is nothing else: by its bytes in all that
        was unpacked, which is far quicker than text by text.
        """
        if value not in self._found:
            self._pool()
            assert self._texts is not None  # noqa: S101  # for the type checker: it was just made
            ends, wanted = self._texts[1], value.encode()
            at = np.array(list(_places(wanted, self._content)), np.int64)
            entry = np.searchsorted(ends, at, "right") - 1
            within = (at + len(wanted) <= ends[entry + 1]) & ~np.isin(entry, self._pool_begin - 1)
            at, entry = at[within], entry[within]
            self._found[value] = entry, (ends[entry] == at) & (ends[entry + 1] - at == len(wanted))
        return self._found[value]

    def _text(self, column: str, section: Whole, row: Whole, tags: Bits) -> pa.Array:
        index = self._names[column]
        text = self._pool().take(_there(self._pool_base(index)[section] + tags.view(np.int64) - 1, tags != 0))
        numbered = (tags == 1) & (self._heads["flags"][:, index][section] & NUMBERS != 0)
        if not numbered.any():
            return text
        digits = pa.array(self._numbers(column, section, row)).cast(text.type)
        joined = pc.binary_join_element_wise(text, digits, pa.scalar("", text.type))
        return joined if numbered.all() else pc.if_else(pa.array(numbered), joined, text)

    def _halves(self, column: str, section: Whole, row: Whole, tags: Bits) -> tuple[Bits, Bits]:
        """The two halves of the addresses of those rows, 0 where there is none."""
        index = self._names[column]
        flags = self._heads["flags"][:, index][section] & NUMBERS != 0
        v4 = (tags == 1) & flags
        low = np.where(v4, self._numbers(column, section, row).view(np.uint64) | _V4_LOW, np.uint64(0))
        high = np.zeros(len(row), np.uint64)
        wide = np.flatnonzero((tags != 0) & ~v4)
        if len(wide):
            place = self._pool_base(index)[section[wide]] + tags[wide].view(np.int64) - 1
            entries, which = np.unique(place, return_inverse=True)
            octets = b"".join(bytes.fromhex(text) for text in self._pool().take(pa.array(entries)).to_pylist())
            halves = np.frombuffer(octets, ">u8").astype(np.uint64).reshape(-1, 2)
            high[wide], low[wide] = halves[which, 0], halves[which, 1]
        return high, low

    def _entries_with(self, column: str, values: Collection[str]) -> Mask:
        """Which entries of the pool hold one of `values`; those of other columns are not asked about."""
        index = self._names[column]
        heads = self._heads[:, index]
        if not (heads["entries"] > (heads["flags"] & NUMBERS)).any():
            # Nothing but beginnings of numbers.
            return np.zeros(0, np.bool_)
        texts = self._pool()
        found = np.zeros(len(texts), np.bool_)
        # A short text stands everywhere; and each is looked for by itself.
        by_bytes = len(values) <= _FEW and all(len(value) >= _LONG for value in values)
        if block_form.kind_of(column) != block_form.NESTED:
            if not by_bytes:
                return np.asarray(pc.is_in(texts, pa.array(sorted(values), texts.type)))
            for value in values:
                entries, alone = self._holding(value)
                found[entries[alone]] = True
            return found
        counts = heads["entries"].astype(np.int64)
        base = np.repeat(self._pool_base(index), counts)
        mine = base + np.arange(len(base)) - np.repeat(np.cumsum(counts) - counts, counts)
        if by_bytes and all(_PLAIN.fullmatch(value) for value in values):
            # Such a text stands in JSON as it is, so that of most lists a glance says that they do not hold it.
            near = np.zeros(len(texts), np.bool_)
            for value in values:
                near[self._holding(value)[0]] = True
            mine = mine[near[mine]]
            if not len(mine):
                return found
        shape = pl.Struct({column: polars_type(column)})
        lists = _series(texts.take(pa.array(mine))).str.json_decode(shape).struct.field(column)
        element = pl.element().struct.field("number") if column == "other_parties" else pl.element()
        hit = lists.to_frame("x").select(pl.col("x").list.eval(element.is_in(list(values))).list.any())
        found[mine] = hit.to_series().fill_null(False).to_numpy()
        return found

    def _numbers_of(self, index: int, values: Collection[str]) -> list[tuple[Mask, Whole]]:
        """The numbers that `values` are behind each prefix that the column has, with the sections that have it."""
        flagged = np.flatnonzero(self._heads["flags"][:, index] & NUMBERS != 0)
        if not len(flagged):
            return []
        prefixes = self._pool().take(pa.array(self._pool_base(index)[flagged]))
        found = []
        for prefix in prefixes.unique().to_pylist():
            rests = [value[len(prefix) :] for value in values if value.startswith(prefix)]
            those = [int(rest) for rest in rests if numerals.is_number(rest)]
            if those:
                sections = np.zeros(len(self.rows), np.bool_)
                sections[flagged[np.asarray(pc.equal(prefixes, prefix))]] = True
                found.append((sections, np.array(those, np.int64)))
        return found


def _places(wanted: bytes, content: bytes) -> Iterator[int]:
    """Where `wanted` begins in `content`. One may begin within another: texts stand side by side, without a sign."""
    at = content.find(wanted)
    while at >= 0:
        yield at
        at = content.find(wanted, at + 1)


def _there(values: npt.NDArray[Any], there: Mask) -> pa.Array:
    """`values`, null where not `there`."""
    return pa.array(values) if there.all() else pa.array(values, mask=~there)


def _series(array: pa.Array) -> pl.Series:
    series = pl.from_arrow(array)
    assert isinstance(series, pl.Series)  # noqa: S101  # for the type checker: an array becomes a series
    return series
