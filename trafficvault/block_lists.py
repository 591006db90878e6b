"""By what the rows of a block file are found, whole: `verify` makes it of the rows that it reads, and compares."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from trafficvault import postings
from trafficvault.block_form import FIRST_KEY_BYTES


@dataclass(frozen=True, slots=True)
class Lists:
    """By what rows are found: the first key of each block, and the posting lists."""

    first_keys: list[bytes] = field(repr=False)
    prefixes: frozenset[int]
    by_order: frozenset[str] | None
    bits: int
    hashes: postings.Hashes = field(repr=False)
    blocks: postings.Hashes = field(repr=False)
    cells: tuple[postings.Hashes, postings.Hashes] | None = field(repr=False)
    """The hashes of cells, and their blocks; None where there is no such list, or it can't be opened."""

    @classmethod
    def of(
        cls,
        first_keys: list[bytes],
        prefixes: Iterable[int],
        by_order: Iterable[str],
        pairs: postings.Hashes,
        cells: postings.Hashes | None,
    ) -> Lists:
        """As a file has them whose blocks begin with these order keys and whose identifiers stand in `pairs`, but for
        those of the families `by_order` that the order of rows finds; its cells stand in `cells`, if that can be told.
        """
        bits = postings.kept_bits(len(pairs))
        served = None if cells is None else postings.split(cells, postings.kept_bits(len(cells)))
        # As NumPy gives them back: without the zeros that fill them up.
        keys = [key[:FIRST_KEY_BYTES].rstrip(b"\0") for key in first_keys]
        return cls(keys, frozenset(prefixes), frozenset(by_order), bits, *postings.split(pairs, bits), served)

    def differs_from(self, other: Lists) -> bool:
        """Whether a row would be found here and not there, or the other way round."""
        mine, its = (self.first_keys, self.prefixes, self.bits), (other.first_keys, other.prefixes, other.bits)
        same = np.array_equal(self.hashes, other.hashes) and np.array_equal(self.blocks, other.blocks)
        # A file of before tells no families, and is looked up in for all of them.
        told = None not in (self.by_order, other.by_order)
        served = self.cells is None or other.cells is None or all(map(np.array_equal, self.cells, other.cells))
        return mine != its or not same or (told and self.by_order != other.by_order) or not served
