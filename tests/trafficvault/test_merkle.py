"""The Merkle tree against RFC 9162: published roots, a recursion that follows its text, and every proof changed."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trafficvault import merkle
from trafficvault.errors import FaultError

INPUTS = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
"""The roots over the first n of `INPUTS` that Certificate Transparency's implementations are tested with."""

EMPTY = merkle.EMPTY
LEAVES = [merkle.leaf_hash(number.to_bytes(4, "big")) for number in range(600)]


def naive(leaves: list[bytes]) -> bytes:
    """MTH of RFC 9162 §2.1.1, as its text says."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + naive(leaves[:split]) + naive(leaves[split:])).digest()


def naive_path(index: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of RFC 9162 §2.1.3.1, as its text says."""
    if len(leaves) == 1:
        return []
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    if index < split:
        return [*naive_path(index, leaves[:split]), naive(leaves[split:])]
    return [*naive_path(index - split, leaves[split:]), naive(leaves[:split])]


def naive_proof(first: int, leaves: list[bytes], *, whole: bool = True) -> list[bytes]:
    """SUBPROOF of RFC 9162 §2.1.4.1, as its text says."""
    if first == len(leaves):
        return [] if whole else [naive(leaves)]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    if first <= split:
        return [*naive_proof(first, leaves[:split], whole=whole), naive(leaves[split:])]
    return [*naive_proof(first - split, leaves[split:], whole=False), naive(leaves[:split])]


def nodes(level: int, index: int) -> bytes:
    """A full subtree over `LEAVES`."""
    assert (index + 1) << level <= len(LEAVES)
    return naive(LEAVES[index << level : (index + 1) << level])


@pytest.mark.parametrize("size", range(9))
def test_the_published_roots(size: int) -> None:
    """The roots over 0 to 8 known leaves are the published ones."""
    leaves = [merkle.leaf_hash(entry) for entry in INPUTS]

    def known(level: int, index: int) -> bytes:
        return naive(leaves[index << level : (index + 1) << level])

    assert merkle.root(known, size).hex() == ROOTS[size]


@given(st.integers(0, len(LEAVES)))
def test_a_root_is_that_of_the_recursion(size: int) -> None:
    """Whatever the size, the frontier's hashes give the root that RFC 9162 defines."""
    assert merkle.root(nodes, size) == naive(LEAVES[:size])
    spans = [(index << level, (index + 1) << level) for level, index in merkle.frontier(size)]
    assert [begin for begin, _ in spans] + [size] == [0] + [end for _, end in spans]


@given(st.integers(1, len(LEAVES)), st.data())
def test_an_inclusion_proof_is_that_of_the_recursion_and_holds(size: int, data: st.DataObject) -> None:
    """The path of any leaf is RFC 9162's and is accepted for that leaf, place, size and root alone."""
    index = data.draw(st.integers(0, size - 1))
    path, root = merkle.inclusion_path(nodes, index, size), naive(LEAVES[:size])

    assert path == naive_path(index, LEAVES[:size])
    merkle.require_inclusion(LEAVES[index], index, size, path, root)
    other = data.draw(st.integers(0, size + 3).filter(lambda number: number != index))
    with pytest.raises(FaultError):
        merkle.require_inclusion(LEAVES[index], other, size, path, root)
    with pytest.raises(FaultError):
        merkle.require_inclusion(LEAVES[(index + 1) % 600], index, size, path, root)
    with pytest.raises(FaultError):
        merkle.require_inclusion(LEAVES[index], index, size, path, bytes(32))
    with pytest.raises(FaultError):
        merkle.require_inclusion(LEAVES[index], index, size, [*path, bytes(32)], root)
    for place in range(len(path)):
        with pytest.raises(FaultError):
            merkle.require_inclusion(LEAVES[index], index, size, path[:place] + path[place + 1 :], root)
        with pytest.raises(FaultError):
            merkle.require_inclusion(LEAVES[index], index, size, [*path[:place], bytes(32), *path[place + 1 :]], root)


@given(st.integers(1, len(LEAVES)), st.data())
def test_a_consistency_proof_is_that_of_the_recursion_and_holds(second: int, data: st.DataObject) -> None:
    """The proof between any two sizes is RFC 9162's and is accepted for these two roots alone."""
    first = data.draw(st.integers(1, second))
    path = merkle.consistency_path(nodes, first, second)
    before, after = naive(LEAVES[:first]), naive(LEAVES[:second])

    assert path == naive_proof(first, LEAVES[:second])
    merkle.require_consistency(first, second, before, after, path)
    for wrong in ((bytes(32), after, path), (before, bytes(32), path), (before, after, [*path, bytes(32)])):
        with pytest.raises(FaultError):
            merkle.require_consistency(first, second, *wrong)
    for place in range(len(path)):
        for changed in (path[:place] + path[place + 1 :], [*path[:place], bytes(32), *path[place + 1 :]]):
            with pytest.raises(FaultError):
                merkle.require_consistency(first, second, before, after, changed)


def test_what_can_not_be_proved_is_refused() -> None:
    """No leaf beyond the tree, no empty beginning and no shrinking log has a proof, and none is accepted."""
    for index, size in ((0, 0), (3, 3), (-1, 3)):
        with pytest.raises(ValueError, match="is not in a tree"):
            merkle.inclusion_path(nodes, index, size)
    for first, second in ((0, 3), (4, 3)):
        with pytest.raises(ValueError, match="is no beginning"):
            merkle.consistency_path(nodes, first, second)
        with pytest.raises(FaultError, match="fewer entries"):
            merkle.require_consistency(first, second, EMPTY, EMPTY, [])
    with pytest.raises(FaultError, match="it is empty"):
        merkle.require_consistency(3, 5, EMPTY, EMPTY, [])
    with pytest.raises(FaultError, match="more than lead to the root"):
        merkle.require_inclusion(LEAVES[0], 0, 1, [EMPTY], LEAVES[0])
