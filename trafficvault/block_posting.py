"""Posts: in which blocks each identifier of a block file stands, out of its rows in their order.

The writer makes the posting lists of it, and `verify` makes them again of the rows that it reads, to compare.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from trafficvault import block_form, postings, prefixes
from trafficvault.block_form import ORDER, ROWS, SERVED
from trafficvault.packing import Rows, Texts

ALIKE = "number"
"""The family by whose hashes texts are held against order keys."""


class OrderKeys:
    """The order key of each row: mostly of a packed column, whose texts are looked at only once each."""

    def __init__(self, rows: Rows, *, by_served: bool = True) -> None:
        """`by_served` as in `block_form.order_key`."""
        frame = rows.frame
        there = [name for name in ORDER if name in frame.columns]
        left_open = np.ones(frame.height, np.bool_)
        self._of: dict[str, npt.NDArray[np.bool_]] = {}
        """By packed column: of which rows it is the order key."""
        by_served = by_served and "served" in frame.columns
        served = {party: name for party, name in SERVED.items() if by_served and name in frame.columns}
        for party, name in served.items():
            its = _equal(rows, "served", party)
            if name in rows.texts:
                self._of[name] = its & (rows.codes(name) != 0)
                left_open &= ~self._of[name]
            else:
                left_open &= ~(its & frame[name].is_not_null().to_numpy())
        if there and there[0] in rows.texts:
            self._of[there[0]] = self._of.get(there[0], np.False_) | (left_open & (rows.codes(there[0]) != 0))
        self._texts = Texts(pl.Series([], dtype=pl.String))
        if self._of:
            first, *others = (rows.texts[name] for name in self._of)
            self._texts = first.beside(*others)
        self._codes, begin = np.zeros(frame.height, np.uint32), 0
        for name, its in self._of.items():
            self._codes[its] = rows.codes(name)[its] + np.uint32(begin)
            begin += len(rows.texts[name]) - 1
        self._others = np.flatnonzero(self._codes == 0)
        """Those that are of another column."""
        needed = dict.fromkeys([*there, *served.values(), *(("served",) if served else ())])
        # A row number keeps the height where there is no column.
        left = Rows(frame.select(pl.int_range(pl.len()).alias("_"), *needed)[self._others], rows.texts)
        columns = left.frame.with_columns(left.column(name) for name in needed)
        self._other = columns.select(key=block_form.order_key(needed, by_served=by_served)).to_series()

    def of(self, column: str) -> npt.NDArray[np.bool_] | None:
        """The rows of which a packed column is known to be the order key."""
        return self._of.get(column)

    def texts(self) -> pl.Series:
        """All of them as texts."""
        if len(self._others) == len(self._codes):
            return self._other
        found = self._texts.of(self._codes)
        return found.scatter(self._others, self._other) if len(self._others) else found

    def text_of(self, places: npt.NDArray[np.int64]) -> pl.Series:
        """Those of some rows."""
        return self.texts().gather(places) if len(self._others) else self._texts.of(self._codes[places])

    def ascend(self) -> bool:
        """Whether none is before the one of the row before it."""
        if len(self._others):
            return self.texts().is_sorted()
        begins = np.flatnonzero(np.append(np.True_, self._codes[1:] != self._codes[:-1]))
        return self._texts.of(self._codes[begins]).is_sorted()

    def ranks(self) -> npt.NDArray[np.int64]:
        """Where each stands among all, by its bytes."""
        if not len(self._others):
            # Few of the texts are keys where most are of those who were called.
            there = np.zeros(len(self._texts), np.bool_)
            there[self._codes] = True
            used = np.flatnonzero(there)
            of_text = np.zeros(len(there), np.int64)
            of_text[used] = self._texts.values.gather(used - 1).rank("dense").to_numpy()
            return of_text.take(self._codes)
        kinds = self._other.unique()
        ranks = pl.concat([self._texts.values, kinds]).rank("dense").cast(pl.Int64).to_numpy()
        found = np.append(np.int64(0), ranks).take(self._codes)
        places = pl.DataFrame({"key": kinds, "rank": ranks[len(self._texts) - 1 :]})
        found[self._others] = self._other.to_frame().join(places, on="key", how="left", maintain_order="left")["rank"]
        return found

    @cached_property
    def hashes(self) -> postings.Hashes:
        """The hash of each, as an identifier of the family `ALIKE`."""
        found = self._texts.hashes(ALIKE).take(self._codes)
        found[self._others] = postings.hashes(ALIKE, self._other.to_arrow(compat_level=pl.CompatLevel.oldest()))
        return found


class Posting:
    """The pairs of identifier and block, 8 bytes each, of the rows that were added so far."""

    def __init__(self) -> None:
        self._pairs: list[postings.Hashes] = []
        self._rows = 0
        self.prefixes: set[int] = set()
        """The lengths, in 128 bits, that addresses were posted with."""
        self.by_order: set[str] = set()
        """The families of which something was not posted, since the order of rows finds it."""

    def add(self, rows: Rows, order: OrderKeys) -> None:
        """The rows that come next, with their order keys; all but the last that are added are whole blocks."""
        height = rows.frame.height
        blocks = np.arange(self._rows, self._rows + height, dtype=np.uint64) // np.uint64(ROWS)
        self._rows += height
        found = [np.zeros(0, np.uint64), *self._posted(rows, order, blocks)]
        self._pairs.append(postings.distinct(np.concatenate(found)))

    def pairs(self) -> postings.Hashes:
        """All pairs, sorted; they are not held any longer."""
        return postings.joined(self._pairs)

    def _posted(self, rows: Rows, order: OrderKeys, blocks: postings.Hashes) -> Iterator[postings.Hashes]:
        """The pairs of each column that is looked up by. What a row is ordered by is found by the order."""
        for name, family in postings.FAMILY_OF.items():
            if name not in rows.frame.columns:
                continue
            if family == "ip":
                yield self._addresses(rows.frame, name, blocks)
                continue
            if name in rows.texts:
                posted, left_out = _numbered(family, rows, name, order, blocks)
                yield posted
            else:
                posted, left_out = _texts(name, family, rows.frame[name], order, blocks)
                yield posted
            if left_out:
                self.by_order.add(family)

    def _addresses(self, rows: pl.DataFrame, name: str, blocks: postings.Hashes) -> postings.Hashes:
        there = rows[name].is_not_null()
        high, low = prefixes.halves(rows[name].filter(there))
        bits = np.full(len(high), 128, np.int64)
        if name == "public_ip" and "prefix_length" in rows.columns:
            lengths = rows["prefix_length"].filter(there).cast(pl.Int64).fill_null(0).to_numpy()
            bits = prefixes.effective_bits(lengths, high, low)
        first, second = prefixes.masks(bits)
        self.prefixes.update(np.unique(bits).tolist())
        return postings.pairs(postings.address_hashes(high & first, low & second, bits), blocks[there.to_numpy()])


def _equal(rows: Rows, name: str, value: str) -> npt.NDArray[np.bool_]:
    """The rows that have that text in that column."""
    if name not in rows.texts:
        return (rows.frame[name] == value).fill_null(False).to_numpy()
    places = (rows.texts[name].values == value).arg_true()
    return rows.codes(name) == places[0] + 1 if len(places) else np.zeros(rows.frame.height, np.bool_)


def _numbered(
    family: str, rows: Rows, name: str, order: OrderKeys, blocks: postings.Hashes
) -> tuple[postings.Hashes, bool]:
    """The pairs of a packed column, each text of which is hashed once, and whether any was left out."""
    codes, texts, keys = rows.codes(name), rows.texts[name], order.of(name)
    there = int(np.count_nonzero(codes))
    places = np.flatnonzero(codes if keys is None else (codes != 0) & ~keys)
    found = texts.hashes(family).take(codes[places])
    # Of one family for all columns, so that there are hashes of order keys in one alone.
    alike = np.flatnonzero(texts.hashes(ALIKE).take(codes[places]) == order.hashes.take(places))
    if len(alike):
        # Two texts of one hash need not be one text.
        those = places[alike]
        equal = (texts.of(codes[those]) == order.text_of(those)).to_numpy()
        kept = np.ones(len(places), np.bool_)
        kept[alike[equal]] = False
        places, found = places[kept], found[kept]
    return postings.pairs(found, blocks.take(places)), len(places) < there


def _texts(
    name: str, family: str, values: pl.Series, order: OrderKeys, blocks: postings.Hashes
) -> tuple[postings.Hashes, bool]:
    """The pairs of another column, and whether any was left out."""
    frame = pl.DataFrame({"value": values, "block": blocks, "order": order.texts()})
    frame = frame.filter(pl.col("value").is_not_null())
    if isinstance(frame.schema["value"], pl.List):
        frame = frame.explode("value")
        if name == "other_parties":
            frame = frame.with_columns(value=pl.col("value").struct.field("number"))
    there = frame.filter(pl.col("value").is_not_null())
    frame = there.filter(pl.col("value") != pl.col("order"))
    hashed = postings.hashes(family, frame["value"].to_arrow(compat_level=pl.CompatLevel.oldest()))
    return postings.pairs(hashed, frame["block"].to_numpy()), frame.height < there.height
