"""The living ring: the one on disk that the catalogue's generation names; how keys come into it, and how they die.

`ensure` puts new keys durably into the ring before a file uses them. `renew` is how keys die, in this order, each step
repeatable: (1) epoch key g+1, (2) ring g+1 without the dead, (3) the catalogue's generation, which is the commit point,
(4) epoch key g destroyed, ring g unlinked. `open` finishes or undoes what a crash cut short. Whoever needs a key asks
this ring for it at each use, so that a destroyed key is gone from this process as well.

What may be taken out of it, and by whom, is not decided here: that is the key port, `trafficvault.keys`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any, Self

from trafficvault import sealing
from trafficvault.durable import PART, Disk
from trafficvault.errors import FaultError, RefusedError
from trafficvault.layout import Layout
from trafficvault.provider import KeyProvider
from trafficvault.ring import UNDATED, Ring, open_ring, plan_recovery, require_key_id, ring_generations, seal_ring


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    """An open ring, the digest of what it was read from (None for one that was made here), and what was made of its
    keys.
    """

    ring: Ring = field(repr=False)
    path: str
    mark: bytes | None = field(default=None, repr=False)
    derived: dict[Hashable, Any] = field(default_factory=dict, repr=False)
    tokens: dict[Hashable, Any] = field(default_factory=dict, repr=False)
    """What was handed out for its keys: tokens that hold none."""


class LivingRing:
    """The ring of one vault. One process at a time writes it (the caller holds the writer's lock); others read it."""

    def __init__(
        self,
        layout: Layout,
        disk: Disk,
        provider: KeyProvider,
        vault_id: str,
        ring: Ring,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._layout = layout
        self._disk = disk
        self._provider = provider
        self._vault_id = vault_id
        self._held: _Held | None = _Held(ring, str(layout.ring(ring.generation)))
        self._random = random
        self._renewed: Callable[[], None] = lambda: None

    @classmethod
    def create(
        cls,
        layout: Layout,
        disk: Disk,
        provider: KeyProvider,
        vault_id: str,
        random: Callable[[int], bytes] = os.urandom,
    ) -> Self:
        """Makes generation 1, with the keys that have no day. Raises `RefusedError` when there are keys already."""
        if provider.generations() or ring_generations(layout):
            raise RefusedError(f"creating the key ring: {layout.keys} already holds keys; nothing was changed")
        ring = Ring(1, {name: random(sealing.KEY_BYTES) for name in UNDATED})
        provider.create_epoch(1)
        disk.create(layout.ring(1), seal_ring(ring, provider.seal, vault_id))
        return cls(layout, disk, provider, vault_id, ring, random)

    @classmethod
    def open(
        cls,
        layout: Layout,
        disk: Disk,
        provider: KeyProvider,
        vault_id: str,
        *,
        catalogue_generation: int,
        writer: bool,
        random: Callable[[int], bytes] = os.urandom,
    ) -> Self:
        """Opens the ring of the catalogue's generation; as `writer`, finishes or undoes a renewal that was cut short.

        Raises `FaultError` when keys and catalogue are not of one moment; nothing is destroyed then. A reader changes
        nothing: what looks cut short may be a renewal that the writer is carrying out.
        """
        plan = plan_recovery(catalogue_generation, provider.generations(), ring_generations(layout))
        store = cls(layout, disk, provider, vault_id, Ring(catalogue_generation, {}), random)
        store._held = store._fetched(catalogue_generation, None)
        if writer:
            # The ring that rules is open and whole: only now may anything be removed.
            if plan.discard is not None:
                store._discard(plan.discard, store._living)
            for generation in plan.destroy:
                store._destroy(generation)
            for path in sorted(layout.keys.glob(f"*{PART}*")):
                # A part of `head` may be in the making: who writes to the log needs no writer's lock.
                if not path.name.startswith(layout.head.name):
                    disk.remove(path)
        return store

    @property
    def generation(self) -> int:
        """The generation of the living ring."""
        return self._living.generation

    @property
    def provider_name(self) -> str:
        """What a certificate calls the key provider."""
        return self._provider.name

    @property
    def copies(self) -> bool:
        """Whether a copy of an epoch key can exist that outlives its destruction: then a deletion is final later."""
        return self._provider.copies

    def hand_over(self, provider: KeyProvider) -> None:
        """From here on epoch keys are made by `provider`, which has the living one, or stands beside who has it."""
        self._provider = provider

    @property
    def provider(self) -> KeyProvider:
        """Who holds the epoch keys."""
        return self._provider

    def key_ids(self) -> frozenset[str]:
        """The ids of all keys in the ring."""
        return frozenset(self._living.keys)

    def has_any(self, names: Iterable[str]) -> bool:
        """Whether the ring holds one of `names`."""
        return any(name in self._living.keys for name in names)

    def attach_escrow(self, renewed: Callable[[], None]) -> None:
        """Says what is done when a renewal is complete: the escrow's copy is replaced."""
        self._renewed = renewed

    def follow(self, catalogue_generation: int) -> None:
        """Takes the ring of that generation as it is on disk: another process may have renewed it, or put keys into it.

        The keys held before are dropped, whatever comes of it, unless the ring on disk still opens and is byte for byte
        the one that they were read from.
        """
        before = self._held
        self._drop()
        self._held = self._fetched(catalogue_generation, before)

    def require_unrenewed(self) -> Ring:
        """The ring that is open here, as long as it is the one on disk; a glance at a name, made before each partition.

        It is to be compared with, not to be kept: what was opened under another ring is to be released again. Raises
        `RefusedError` when another process has renewed it: keys that this one still holds may have been destroyed, and
        what they open is no longer to be shown.
        """
        held = self._living_held
        # Asked for every file of a long answer: of what tells whether a name is there, this is the quickest.
        if not os.access(held.path, os.F_OK):
            self._drop()
            raise RefusedError("using the key ring: another process destroyed keys meanwhile; do it again")
        return held.ring

    def ensure(self, names: Iterable[str]) -> None:
        """Puts a new random key for each of `names` that has none durably into the ring, before anything uses it."""
        wanted = [require_key_id(name) for name in names]
        if all(name in self._living.keys for name in wanted):
            return
        # From disk, so that a key another writer put there is never replaced: that would be the loss of its files.
        ring = self._read(self.generation)
        ring = ring.with_keys({name: self._random(sealing.KEY_BYTES) for name in wanted if name not in ring.keys})
        self._write(ring)
        self._held = _Held(ring, str(self._layout.ring(ring.generation)))

    def renew(self, without: Iterable[str], commit: Callable[[int], None]) -> None:
        """Destroys the keys `without` for good: a new generation holds all others, and the old one is destroyed.

        `commit` moves the catalogue to the new generation, durably; it is the commit point. When it raises, nobody here
        knows whether it did: the store then refuses every use, and opening it anew finds out. It does so as well when
        the old epoch key can't be destroyed: nothing is to be certified before it was.
        """
        dead = frozenset(without)
        if dead & UNDATED:
            raise RefusedError("renewing the key ring: a key that belongs to no day is never destroyed")
        old = self._read(self.generation)
        self._discard(old.generation + 1, old)
        ring = old.renewed(dead)
        self._provider.create_epoch(ring.generation)  # (1)
        self._write(ring)  # (2)
        if self._read(ring.generation) != ring:
            # Before (3), for after it nothing but the new ring opens the vault.
            raise FaultError(f"renewing the key ring: ring {ring.generation} lacks survivors; nothing was destroyed")
        try:
            commit(ring.generation)  # (3)
            # If we crash here, `open` does the rest.
            self._destroy(old.generation)  # (4)
        except BaseException:
            self._held = None
            raise
        self._held = _Held(ring, str(self._layout.ring(ring.generation)))
        self._renewed()

    def problems(self) -> list[str]:
        """What is wrong with the key directory, a sentence each: for `verify`, which only reads."""
        found: list[str] = []
        try:
            if self._read(self.generation) != self._living:
                found.append(f"ring {self.generation} on disk holds other keys than this process opened")
        except FaultError as fault:
            found.append(str(fault))
        others = (self._provider.generations() | ring_generations(self._layout)) - {self.generation}
        found += [f"keys of generation {g} are in the key directory; {self.generation} rules" for g in sorted(others)]
        return found

    @property
    def _living(self) -> Ring:
        return self._living_held.ring

    @property
    def _derived(self) -> dict[Hashable, Any]:
        return self._living_held.derived

    @property
    def _living_held(self) -> _Held:
        if self._held is None:
            raise FaultError(
                "using the key ring: it was dropped, for a renewal broke off or was another's; open the vault again"
            )
        return self._held

    def _drop(self) -> None:
        """Forgets the ring that was open here, and with it every key."""
        self._held = None

    def _key(self, name: str) -> bytes:
        """The key `name`. Raises `RefusedError` when it is not in the ring now."""
        try:
            return self._living.keys[name]
        except KeyError:
            raise RefusedError(f"taking the key {name}: it is not in the ring: destroyed, or never made") from None

    def _read(self, generation: int) -> Ring:
        return self._fetched(generation, None).ring

    def _fetched(self, generation: int, before: _Held | None) -> _Held:
        """The ring of that generation as it is on disk; `before` itself where that was read from the same bytes."""
        path = self._layout.ring(generation)
        try:
            blob = path.read_bytes()
        except OSError as problem:
            reason = problem.strerror or type(problem).__name__
            raise FaultError(f"opening ring {generation}: its file can't be read ({reason})") from problem
        mark = hashlib.sha256(blob).digest()
        known = before is not None and before.mark == mark and before.ring.generation == generation
        if before is not None and known and self._provider.holds(generation):
            return before
        return _Held(open_ring(blob, self._provider.unseal, self._vault_id, generation), str(path), mark)

    def _write(self, ring: Ring) -> None:
        self._disk.create(self._layout.ring(ring.generation), seal_ring(ring, self._provider.seal, self._vault_id))

    def _discard(self, generation: int, ruling: Ring) -> None:
        """Removes a generation that was prepared and not committed; one that holds a key of its own never was that."""
        epoch, ring = generation in self._provider.generations(), self._layout.ring(generation).exists()
        if epoch and ring and not self._read(generation).is_within(ruling):
            raise FaultError(
                f"opening the keys: the catalogue is older than the keys (restored?): it is of generation "
                f"{ruling.generation}, and ring {generation} holds keys of its own; nothing was destroyed; restore the "
                f"catalogue that belongs to these keys"
            )
        if epoch or ring:
            self._disk.remove(self._layout.ring(generation))
            self._provider.destroy_epoch(generation)

    def _destroy(self, generation: int) -> None:
        self._provider.destroy_epoch(generation)
        self._disk.remove(self._layout.ring(generation))
