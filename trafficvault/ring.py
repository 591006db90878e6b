"""The ring: all day keys of a vault, and the keys of what has no day, together in one sealed file per generation.

A ring is a value; `seal_ring` and `open_ring` are its form on disk, and `plan_recovery` is the rule, without a disk,
that says what a crash between two steps of a renewal left to be done. `trafficvault.living_ring` carries it out. No key
is kept anywhere else: a database would keep deleted keys in its journal.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from trafficvault import signing
from trafficvault.errors import FaultError
from trafficvault.layout import Layout

UNDATED = frozenset({"audit", "catalogue", "names", "signing", "warrants"})
"""Ids of the keys that belong to no day. They are made with the vault and are in every ring."""

Seal = Callable[[int, bytes, str], bytes]
"""What a key provider does under the epoch key of a generation to a content, or to a blob, of a place."""

_ID = re.compile(r"[a-z_]+(/[a-z0-9_-]+)*")
_ROW = re.compile(r"row/[0-9a-f]{16}")
_SEGMENT = re.compile(r"audit/[1-9][0-9]*")
_FILE = re.compile(r"ring-([1-9][0-9]*)")
_HEX_KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Ring:
    """The keys of one generation by their ids."""

    generation: int
    keys: Mapping[str, bytes] = field(repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "keys", MappingProxyType(dict(self.keys)))

    def with_keys(self, more: Mapping[str, bytes]) -> Ring:
        """This ring and `more`; a key that it has already stays as it is."""
        return Ring(self.generation, {**more, **self.keys})

    def renewed(self, without: Iterable[str]) -> Ring:
        """The next generation: every key but those of `without`."""
        dead = frozenset(without)
        return Ring(self.generation + 1, {name: key for name, key in self.keys.items() if name not in dead})

    def is_within(self, other: Ring) -> bool:
        """Whether `other` has each of these keys: then nothing is lost without this ring."""
        return all(other.keys.get(name) == key for name, key in self.keys.items())


@dataclass(frozen=True, slots=True)
class Recovery:
    """What a crash left: generations below the catalogue's to destroy, and whether one above it was only prepared."""

    destroy: tuple[int, ...]
    discard: int | None


def seal_ring(ring: Ring, seal: Seal, vault_id: str) -> bytes:
    """The ring as it lies on disk, by the key provider's `seal`."""
    keys = {name: key.hex() for name, key in ring.keys.items()}
    value = {"kind": "ring", "v": 1, "vault": vault_id, "generation": ring.generation, "keys": keys}
    return seal(ring.generation, signing.canonical(value), _place(vault_id, ring.generation))


def open_ring(blob: bytes, unseal: Seal, vault_id: str, generation: int) -> Ring:
    """The inverse of `seal_ring`, by the key provider's `unseal`.

    Raises `FaultError` for another vault, generation, version or form.
    """
    place = _place(vault_id, generation)
    value = json.loads(unseal(generation, blob, place))
    head = [value.get(name) for name in ("kind", "v", "vault", "generation")]
    if head != ["ring", 1, vault_id, generation]:
        raise FaultError(f"opening {place}: it says {head}, not a ring of version 1 of this vault and generation")
    keys: dict[str, str] = value["keys"]
    if not all(_ID.fullmatch(name) and _HEX_KEY.fullmatch(key) for name, key in keys.items()):
        raise FaultError(f"opening {place}: it holds a key that is not 256 bits, or an id of another form")
    return Ring(generation, {name: bytes.fromhex(key) for name, key in keys.items()})


def ring_generations(layout: Layout) -> frozenset[int]:
    """The generations whose ring lies in the key directory."""
    names = (path.name for path in layout.keys.iterdir())
    return frozenset(int(match[1]) for name in names if (match := _FILE.fullmatch(name)))


def plan_recovery(catalogue: int, epochs: frozenset[int], rings: frozenset[int]) -> Recovery:
    """What to do on opening, when the catalogue's generation is `catalogue` and those keys are there.

    The catalogue's generation rules. Below it: committed renewals whose destruction a crash cut short. One above it: a
    renewal that was prepared and not committed. Anything else means that catalogue and keys are not of one moment; then
    `FaultError` is raised and nothing may be destroyed, or a restored catalogue would destroy the only living keys.
    """
    found = epochs | rings
    newest = max(found, default=0)
    if newest > catalogue + 1 or (newest == catalogue + 1 and catalogue not in epochs & rings):
        raise FaultError(
            f"opening the keys: the catalogue is older than the keys (restored?): it is of generation {catalogue}, the "
            f"keys of {newest}; nothing was destroyed; restore the catalogue that belongs to these keys",
            hint="if there is none any more: trafficvault restore BACKUP --accept-older, which destroys nothing living",
        )
    if catalogue not in epochs & rings:
        missing = "ring" if catalogue in epochs else "epoch key"
        raise FaultError(
            f"opening the keys: the catalogue names generation {catalogue} and its {missing} is missing; the newest is "
            f"{newest} (an old key directory restored?); nothing was destroyed; put back the right key directory"
        )
    below = tuple(sorted(generation for generation in found if generation < catalogue))
    return Recovery(below, newest if newest > catalogue else None)


def is_segment_key(name: str) -> bool:
    """Whether `name` is the id of the key of one audit segment."""
    return _SEGMENT.fullmatch(name) is not None


def is_row_key(name: str) -> bool:
    """Whether `name` is the id of the key of one row of the catalogue, or of a spare one."""
    return _ROW.fullmatch(name) is not None


def require_key_id(name: str) -> str:
    """`name` when it has the form of a key id; else raises `ValueError`: an id is made by this program, never read."""
    if not _ID.fullmatch(name):
        raise ValueError("a key id is lower-case words, digits and - between slashes")
    return name


def _place(vault_id: str, generation: int) -> str:
    return f"ring {vault_id} {generation}"
