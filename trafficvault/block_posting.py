"""Posts: in which blocks each identifier of a block file stands, out of its rows in their order.

The writer makes the posting lists of it, and `verify` makes them again of the rows that it reads, to compare.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import polars as pl

from trafficvault import block_form, packing, postings, prefixes
from trafficvault.block_form import ROWS
from trafficvault.packing import Library


class Posting:
    """The pairs of identifier and block, 8 bytes each, of the rows that were added so far."""

    def __init__(self, library: Library) -> None:
        """The texts of categorical columns are those of the `library`."""
        self._library = library
        self._pairs: list[postings.Hashes] = []
        self._rows = 0
        self.prefixes: set[int] = set()
        """The lengths, in 128 bits, that addresses were posted with."""

    def add(self, rows: pl.DataFrame, order: pl.Series) -> None:
        """The rows that come next, with their order keys; all but the last that are added are whole blocks."""
        blocks = np.arange(self._rows, self._rows + rows.height, dtype=np.uint64) // np.uint64(ROWS)
        self._rows += rows.height
        found = [np.zeros(0, np.uint64), *self._posted(rows, order, blocks)]
        self._pairs.append(postings.distinct(np.concatenate(found)))

    def pairs(self) -> postings.Hashes:
        """All pairs, sorted; they are not held any longer."""
        joined = np.concatenate([np.zeros(0, np.uint64), *self._pairs])
        self._pairs.clear()
        joined.sort()
        return joined

    def _posted(self, rows: pl.DataFrame, order: pl.Series, blocks: postings.Hashes) -> Iterator[postings.Hashes]:
        """The pairs of each column that is looked up by. What a row is ordered by is found by the order."""
        for name, family in postings.FAMILY_OF.items():
            if name not in rows.columns or rows[name].null_count() == rows.height:
                continue
            if family == "ip":
                yield self._addresses(rows, name, blocks)
            elif not isinstance(rows.schema[name], pl.Categorical):
                yield _texts(name, family, rows[name], _as_text(order), blocks)
            elif rows[name].dtype != order.dtype or not (rows[name] == order).all(ignore_nulls=False):
                yield self._numbered(family, rows[name], order, blocks)

    def _numbered(self, family: str, values: pl.Series, order: pl.Series, blocks: postings.Hashes) -> postings.Hashes:
        """The pairs of a column whose texts are numbered: each text is hashed once."""
        codes = packing.codes_of(values)
        taken = codes != 0
        again = (codes[1:] == codes[:-1]) & (blocks[1:] == blocks[:-1])
        taken[1:] &= ~again | _changes(order)
        texts = self._library.of(values)
        places = np.flatnonzero(taken)
        found = texts.hashes(family)[codes[places]]
        alike = np.flatnonzero(found == self._order_hashes(family, order)[places])
        if len(alike):
            # Two texts of one hash are not one text.
            those = places[alike]
            equal = _as_text(values.gather(those)) == _as_text(order.gather(those))
            kept = np.ones(len(places), np.bool_)
            kept[alike[equal.to_numpy()]] = False
            places, found = places[kept], found[kept]
        return postings.pairs(found, blocks[places])

    def _order_hashes(self, family: str, order: pl.Series) -> postings.Hashes:
        if isinstance(order.dtype, pl.Categorical):
            return self._library.of(order).hashes(family)[packing.codes_of(order)]
        return postings.hashes(family, order.to_arrow(compat_level=pl.CompatLevel.oldest()))

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


def order_of(rows: pl.DataFrame) -> pl.Series:
    """The order key of each row: as the categorical column that it is throughout, else as text."""
    first = next((name for name in block_form.ORDER if name in rows.columns), None)
    if first is not None and isinstance(rows.schema[first], pl.Categorical) and not rows[first].null_count():
        return rows[first]
    texts = [name for name in block_form.ORDER if name in rows.columns and block_form.kind_of(name) == block_form.TEXT]
    return rows.with_columns(pl.col(texts).cast(pl.String)).select(block_form.order_key(rows.columns)).to_series()


def _texts(name: str, family: str, values: pl.Series, order: pl.Series, blocks: postings.Hashes) -> postings.Hashes:
    frame = pl.DataFrame({"value": values, "block": blocks, "order": order})
    if isinstance(frame.schema["value"], pl.List):
        frame = frame.explode("value")
        if name == "other_parties":
            frame = frame.with_columns(value=pl.col("value").struct.field("number"))
    frame = frame.filter(pl.col("value").is_not_null() & (pl.col("value") != pl.col("order")))
    hashed = postings.hashes(family, frame["value"].to_arrow(compat_level=pl.CompatLevel.oldest()))
    return postings.pairs(hashed, frame["block"].to_numpy())


def _changes(order: pl.Series) -> npt.NDArray[np.bool_]:
    """Which rows, from the second on, have another order key than the one before."""
    if isinstance(order.dtype, pl.Categorical):
        codes = packing.codes_of(order)
        return codes[1:] != codes[:-1]
    return (order != order.shift())[1:].to_numpy()


def _as_text(column: pl.Series) -> pl.Series:
    return column.cast(pl.String) if isinstance(column.dtype, pl.Categorical) else column
