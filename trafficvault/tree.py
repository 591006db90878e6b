"""The hashes of the Merkle tree over the audit log, on disk: so that a proof reads some kilobytes and not the log.

A leaf is the hash of one entry. A file `tree/<level>.hashes` is the hashes, 32 bytes each, of all full subtrees of one
level, of every eighth level: what lies between is computed. The files only grow, by `save`, and hold no truth: they are
as long as the last checkpoint in the catalogue says (what is longer was left by a crash), and its root shows whether
they are right. Of entries that the log has forgotten the hashes stay, since nothing can be learnt from them and old
checkpoints are proved with them. Where those are lost, `known`, the frontier of what was dropped, still gives every
root; only proofs that lead into it can't be made any more, and zeros stand for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from trafficvault import merkle
from trafficvault.durable import Disk
from trafficvault.errors import FaultError
from trafficvault.layout import Layout
from trafficvault.merkle import HASH_BYTES

STEP = 8
LEVELS = tuple(range(0, 40, STEP))
_LOST = bytes(HASH_BYTES)
"""No SHA-256 of anything that anybody could find."""
_BLOCK = 1 << STEP


class Tree:
    """The tree over the first entries of a log: those on disk and those that were added."""

    def __init__(self, layout: Layout, stored: int, known: Mapping[tuple[int, int], bytes]) -> None:
        """The tree of the `stored` first entries, as the disk has it; `known` are hashes that need no disk."""
        self._layout = layout
        self._stored = stored
        self._known = dict(known)
        self._fresh: list[bytes] = []
        self._blocks: dict[tuple[int, int], bytes] = {}

    @classmethod
    def without_disk(cls, layout: Layout, forgotten: int, known: Mapping[tuple[int, int], bytes]) -> Tree:
        """The tree of the `forgotten` first entries, of which only `known`, their frontier, is left."""
        tree = cls(layout, 0, known)
        tree._fresh = [_LOST] * forgotten
        return tree

    @property
    def size(self) -> int:
        """How many entries it is over."""
        return self._stored + len(self._fresh)

    def add(self, entry_hashes: Iterable[str]) -> None:
        """Adds the leaves of the entries that follow, by their hashes (hex)."""
        self._fresh.extend(merkle.leaf_hash(bytes.fromhex(one)) for one in entry_hashes)

    def node(self, level: int, index: int) -> bytes:
        """The hash of a full subtree. Raises `FaultError` when it is lost: it was of entries that were dropped."""
        found = self._known.get((level, index))
        if found is not None:
            return found
        if level == 0 and index >= self._stored:
            found = self._fresh[index - self._stored]
        elif level % STEP == 0 and (index + 1) << level <= self._stored:
            found = self._read(level, index)
        else:
            found = merkle.node_hash(self.node(level - 1, 2 * index), self.node(level - 1, 2 * index + 1))
            if level % STEP == 0:
                self._known[level, index] = found
        if found == _LOST:
            raise FaultError(
                f"proving from the audit log: the hashes of entries about {(index << level) + 1} are lost, with which "
                "only entries can be proved that the log has forgotten"
            )
        return found

    def root(self, size: int | None = None) -> bytes:
        """The root over the first `size` entries; over all without it."""
        return merkle.root(self.node, self.size if size is None else size)

    def save(self, disk: Disk) -> None:
        """Makes what was added durable. What an earlier run left behind the stored entries is cut off."""
        disk.make_directory(self._layout.tree)
        for level in LEVELS:
            path, before, after = self._layout.tree_level(level), self._stored >> level, self.size >> level
            have = path.stat().st_size if path.exists() else 0
            if have != before * HASH_BYTES:
                disk.create(path, path.read_bytes()[: before * HASH_BYTES] if have else b"")
            if after > before:
                disk.append(path, b"".join(self._kept(level, index) for index in range(before, after)))

    def _kept(self, level: int, index: int) -> bytes:
        try:
            return self.node(level, index)
        except FaultError:
            return _LOST

    def _read(self, level: int, index: int) -> bytes:
        block, place = divmod(index, _BLOCK)
        if (level, block) not in self._blocks:
            path = self._layout.tree_level(level)
            try:
                with path.open("rb") as file:
                    file.seek(block * _BLOCK * HASH_BYTES)
                    self._blocks[level, block] = file.read(_BLOCK * HASH_BYTES)
            except OSError as problem:
                raise FaultError(f"reading the tree of the audit log: {path.name}: {problem.strerror}") from problem
        found = self._blocks[level, block][place * HASH_BYTES : (place + 1) * HASH_BYTES]
        if len(found) != HASH_BYTES:
            raise FaultError(f"reading the tree of the audit log: level {level} ends before hash {index}")
        return found
