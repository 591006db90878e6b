"""How often a record came before: what counting would say."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ingest.occurrences
from ingest.occurrences import Earlier
from tests.thorough import as_many

NEAR = st.builds(
    lambda first, middle, last: first << 48 | middle << 16 | last,
    st.sampled_from([0, 1, 2**16 - 1]),
    st.sampled_from([0, 1, 2**32 - 1]),
    st.sampled_from([0, 1, 2**16 - 1]),
)
"""Hashes that differ at the ends of their parts alone."""
HASH = st.integers(0, 40).map(lambda number: number * 0x0123456789ABCDEF % 2**64)


@pytest.mark.parametrize("packed", [1 << 21, 200, 8])
@settings(max_examples=as_many(40), deadline=None)
@given(st.lists(st.lists(HASH | NEAR, max_size=20), max_size=40), st.sampled_from([0.0, 0.1, 1.0, 2.0]))
def test_counts_are_those_of_a_counter(packed: int, parts: list[list[int]], share: float) -> None:
    """Part after part, however the arrays were merged, packed or not, and however many more are expected."""
    known = Counter[int]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ingest.occurrences, "_PACKED", packed)
        patch.setattr(ingest.occurrences, "_PIECE", 7)
        patch.setattr(ingest.occurrences, "_LEAST_BITS", 4)
        patch.setattr(ingest.occurrences, "_MOST_BITS", 9)
        earlier = Earlier()
        for part in parts:
            hashes = np.array(part, np.uint64)
            assert earlier.count(hashes).tolist() == [known[number] for number in part]
            earlier.add(np.sort(hashes), share)
            known.update(part)
            assert len(earlier) == known.total()


def test_many_hashes_are_found_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the first filter, with arrays that are packed, and others that are merged no more."""
    monkeypatch.setattr(ingest.occurrences, "_MERGED", 4)
    monkeypatch.setattr(ingest.occurrences, "_LARGEST", 1 << 16)
    monkeypatch.setattr(ingest.occurrences, "_PIECE", 1000)
    monkeypatch.setattr(ingest.occurrences, "_PACKED", 1 << 15)
    chance = np.random.default_rng(1)
    hashes = chance.integers(0, 2**64 - 1, 400_000, dtype=np.uint64)
    earlier = Earlier()
    for part in np.split(hashes, 40):
        assert not earlier.count(part).any()
        earlier.add(np.sort(part))
    assert (earlier.count(hashes) == 1).all()
    assert not earlier.count(chance.integers(0, 2**64 - 1, 100_000, dtype=np.uint64)).any()
