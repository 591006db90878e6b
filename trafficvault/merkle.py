"""The Merkle tree of RFC 9162 §2.1 (SHA-256): leaves, roots, and the two proofs, made and checked. Pure: no file, no
key.

A tree of n leaves is made of *full subtrees*: the node (level, index) stands over the 2**level leaves from
index * 2**level on. Whoever makes a root or a proof is given `Nodes`, a way to look a full subtree up, so that only
some log2(n) hashes are asked for, however long the log is; `trafficvault.tree` keeps them. Whoever checks a proof needs
nothing but the proof.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from trafficvault.errors import FaultError

HASH_BYTES = 32
EMPTY = hashlib.sha256(b"").digest()
"""The root of the tree without leaves (§2.1.1)."""

Nodes = Callable[[int, int], bytes]
"""The hash of the full subtree (level, index). Raises `FaultError` where it is not known any more."""


def leaf_hash(entry: bytes) -> bytes:
    """The hash of a leaf; the prefix keeps a leaf from being taken for an inner node (§2.1.1)."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node over its two children."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def frontier(size: int) -> list[tuple[int, int]]:
    """The greatest full subtrees that a tree of `size` leaves consists of, from the left: one per bit of `size`."""
    found, begin = [], 0
    for level in reversed(range(size.bit_length())):
        if size >> level & 1:
            found.append((level, begin >> level))
            begin += 1 << level
    return found


def root_of(hashes: Sequence[bytes]) -> bytes:
    """The root over the hashes of a frontier, from the left; `EMPTY` over none."""
    if not hashes:
        return EMPTY
    *rest, found = hashes
    for left in reversed(rest):
        found = node_hash(left, found)
    return found


def root(nodes: Nodes, size: int) -> bytes:
    """The root of the tree over the first `size` leaves."""
    return root_of([nodes(level, index) for level, index in frontier(size)])


def inclusion_path(nodes: Nodes, index: int, size: int) -> list[bytes]:
    """The proof that leaf `index`, counted from 0, is in the tree of `size` leaves (§2.1.3.1)."""
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size}")
    return _path(nodes, index, 0, size)


def consistency_path(nodes: Nodes, first: int, second: int) -> list[bytes]:
    """The proof that the tree of `first` leaves is the beginning of that of `second` (§2.1.4.1)."""
    if not 0 < first <= second:
        raise ValueError(f"a tree of {first} leaves is no beginning of one of {second} that can be proved")
    return [] if first == second else _subproof(nodes, first, 0, second, whole=True)


def require_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Returns when `path` leads from `leaf`, at `index`, to `root` of `size` leaves (§2.1.3.2); else `FaultError`."""
    if not 0 <= index < size:
        raise FaultError(f"checking an inclusion proof: entry {index + 1} is not among the {size} of the checkpoint")
    number, last, found = index, size - 1, leaf
    for step in path:
        if last == 0:
            raise FaultError(f"checking an inclusion proof: it has {len(path)} hashes, more than lead to the root")
        if number & 1 or number == last:
            found = node_hash(step, found)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            found = node_hash(found, step)
        number, last = number >> 1, last >> 1
    if last != 0 or found != root:
        raise FaultError(f"checking an inclusion proof: it does not lead from entry {index + 1} to the signed root")


def require_consistency(first: int, second: int, before: bytes, after: bytes, path: Sequence[bytes]) -> None:
    """Returns when `path` proves that the tree `before`, of `first` leaves, is the beginning of `after` (§2.1.4.2).

    Else raises `FaultError`.
    """
    what = f"checking a consistency proof from {first} entries to {second}"
    if not 0 < first <= second:
        raise FaultError(f"{what}: the later log has fewer entries")
    steps = list(path)
    if first == second:
        if steps or before != after:
            raise FaultError(f"{what}: of the same length, the two are not the same log")
        return
    if first & (first - 1) == 0:
        steps.insert(0, before)
    if not steps:
        raise FaultError(f"{what}: it is empty")
    number, last = first - 1, second - 1
    while number & 1:
        number, last = number >> 1, last >> 1
    old = new = steps[0]
    for step in steps[1:]:
        if last == 0:
            raise FaultError(f"{what}: it has more hashes than lead to the root")
        if number & 1 or number == last:
            old, new = node_hash(step, old), node_hash(step, new)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            new = node_hash(new, step)
        number, last = number >> 1, last >> 1
    if last != 0 or old != before or new != after:
        raise FaultError(f"{what}: the later log does not begin with the earlier one")


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1


def _hash(nodes: Nodes, begin: int, size: int) -> bytes:
    """The root of the `size` leaves from `begin` on, which is a multiple of a power of two that is at least `size`."""
    hashes = []
    for level, index in frontier(size):
        hashes.append(nodes(level, (begin >> level) + index))
    return root_of(hashes)


def _path(nodes: Nodes, index: int, begin: int, size: int) -> list[bytes]:
    if size == 1:
        return []
    left = _split(size)
    if index < left:
        return [*_path(nodes, index, begin, left), _hash(nodes, begin + left, size - left)]
    return [*_path(nodes, index - left, begin + left, size - left), _hash(nodes, begin, left)]


def _subproof(nodes: Nodes, first: int, begin: int, size: int, *, whole: bool) -> list[bytes]:
    """SUBPROOF of §2.1.4.1; `whole` while the earlier root is the one that its owner holds already."""
    if first == size:
        return [] if whole else [_hash(nodes, begin, size)]
    left = _split(size)
    if first <= left:
        return [*_subproof(nodes, first, begin, left, whole=whole), _hash(nodes, begin + left, size - left)]
    later = _subproof(nodes, first - left, begin + left, size - left, whole=False)
    return [*later, _hash(nodes, begin, left)]
