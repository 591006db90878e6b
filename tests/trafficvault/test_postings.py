"""Posting lists: hashes that never change, and pairs that come back as they were packed."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from queries import matching
from trafficvault import postings, prefixes
from trafficvault.block_matching import FAMILY_OF_TYPE

LISTS = st.lists(st.tuples(st.integers(0, 2**40 - 1), st.integers(0, 2**24 - 1)), min_size=1, max_size=60)


@given(st.lists(LISTS, max_size=5))
def test_a_hash_is_found_in_its_chunk_among_others(lists: list[list[tuple[int, int]]]) -> None:
    """Hashes and blocks of any size, doubles included, in chunks of any sizes that are looked into together."""
    chunks = []
    for pairs in lists:
        hashed, blocks = (np.array(part, np.uint64) for part in zip(*sorted(pairs), strict=True))
        wanted = [2**41, *{value for value, _ in pairs[:3]}]
        chunks.append((postings.pack(hashed, blocks), int(hashed[0]), wanted))

    found = postings.lookup(chunks)

    expected = [
        sorted(block for value, block in pairs if value in wanted)
        for pairs, (_, _, wanted) in zip(lists, chunks, strict=True)
    ]
    assert [sorted(blocks) for blocks in found] == expected


@given(st.lists(st.text(max_size=40), min_size=1))
def test_a_text_hashes_alone_as_among_others(texts: list[str]) -> None:
    """What was posted from a column is found by hashing the one text that is looked up."""
    together = postings.hashes("number", pa.array(texts, pa.large_string())).tolist()

    assert together == [postings.hash_of("number", text) for text in texts]
    assert len(set(together)) == len(set(texts))


@pytest.mark.parametrize(
    ("family", "text", "expected"),
    [
        ("number", "+31612345678", 0x442FEAA5F059B23A),
        ("imsi", "204990000000001", 0x668584E2EF4AEA19),
        ("number", "", 0xE220A8397B1DCDAF),
    ],
)
def test_a_hash_is_the_same_for_ever(family: str, text: str, expected: int) -> None:
    """Files outlive the program that wrote them: a change here needs another version of the form."""
    assert postings.hash_of(family, text) == expected


def test_an_address_hash_is_the_same_for_ever() -> None:
    """And differs with the length of its prefix."""
    halves = np.array([0], np.uint64), np.array([0xFFFF_C000_0201], np.uint64)
    whole, shorter = (int(postings.address_hashes(*halves, np.array([bits]))[0]) for bits in (128, 120))

    assert (whole, shorter) == (0xD7EE8E2534EAEA35, 0x46C10F04718F9511)


def test_families_keep_apart() -> None:
    """The same digits as an IMSI and as a session are two identifiers."""
    assert len({postings.hash_of(family, "204990000000001") for family in postings.FAMILIES}) == len(postings.FAMILIES)


def test_every_place_of_a_target_has_a_family() -> None:
    """Where the questions look for a target that a block file answers, there it is posted, in one family."""
    for place in matching.PLACES:
        families = {FAMILY_OF_TYPE[kind] for kind in place.types if kind in FAMILY_OF_TYPE}
        assert families == ({postings.FAMILY_OF[place.column]} if place.column in postings.FAMILY_OF else set())


def test_slices_of_an_array_hash_as_the_whole() -> None:
    """An array may begin inside its buffers."""
    texts = pa.array(["a", "bb", "", "ccc"], pa.large_string())

    assert postings.hashes("mac", texts[1:]).tolist() == postings.hashes("mac", texts).tolist()[1:]
    assert not len(postings.hashes("mac", texts[:0]))


@given(st.lists(st.integers(0, 2**64 - 1)))
def test_distinct_is_what_a_set_is(values: list[int]) -> None:
    """Sorted, each once."""
    assert postings.distinct(np.array(values, np.uint64)).tolist() == sorted(set(values))


@given(st.binary(min_size=16, max_size=16), st.integers(1, 128))
def test_masks_keep_the_leading_bits(address: bytes, bits: int) -> None:
    """As shifting the whole number would."""
    high, low = prefixes.halves(pl.Series([address]))
    first, second = prefixes.masks(np.array([bits]))

    found = int((high & first)[0]) << 64 | int((low & second)[0])

    assert found == int.from_bytes(address, "big") >> (128 - bits) << (128 - bits)


@given(st.lists(st.lists(st.integers(0, 2**64 - 1), max_size=5), max_size=5))
def test_joined_parts_are_all_their_pairs(parts: list[list[int]]) -> None:
    """Sorted, and the parts are gone."""
    held = [np.array(part, np.uint64) for part in parts]

    assert postings.joined(held).tolist() == sorted(value for part in parts for value in part)
    assert held == []
