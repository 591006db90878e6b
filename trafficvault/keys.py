"""The key port: the living ring, what may be taken out of it, and how keys die.

Keys leave in two ways, and their types differ so that one can't pass for the other. `release` gives a `Released` key
for one class, day and category, and is the only way to what delivery accepts: it checks the warrant itself, whoever
asks; `release_held` does so for what a hold kept. `custody` gives an act of the house (receive, compact, verify, …) the
keys it works with; no package is made from those.

`ensure` puts new day keys durably into the ring before a file uses them. `renew` is how keys die, in this order, each
step repeatable: (1) epoch key g+1, (2) ring g+1 without the dead, (3) the catalogue's generation, which is the commit
point, (4) epoch key g destroyed, ring g unlinked. `open` finishes or undoes what a crash cut short. Both kinds of token
look their key up in the ring when it is used, so that a destroyed key is gone from this process as well.
"""

from __future__ import annotations

import hashlib
import os
import weakref
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from trafficvault import sealing
from trafficvault.coverage import WARRANT, Covered, covered, warrant_id
from trafficvault.coverage import PersonKey as PersonKey
from trafficvault.coverage import SignedWarrant as SignedWarrant
from trafficvault.coverage import Vouch as Vouch
from trafficvault.durable import PART, Disk
from trafficvault.errors import FaultError, RefusedError
from trafficvault.layout import Layout, day_key_id, hold_key_id
from trafficvault.provider import KeyProvider
from trafficvault.ring import (
    UNDATED,
    Ring,
    is_row_key,
    is_segment_key,
    open_ring,
    plan_recovery,
    require_key_id,
    ring_generations,
    seal_ring,
)

_ACTS_WITH_RECORDS = frozenset({"receive", "compact", "rewrite", "verify", "hold"})
_ACTS = _ACTS_WITH_RECORDS | {"expire", "audit", "catalogue"}
"""Only these get keys of records, rejections and held batches; the others get keys of what has no day."""


@dataclass(frozen=True, eq=False)
class Admission:
    """That a `KeyStore` has checked the signatures of a warrant. It says nothing by itself: what it stands for, the
    store keeps, and it knows the one it made from every other object.
    """


@dataclass(frozen=True, slots=True)
class Custody:
    """The keys an act of the house works with."""

    act: str
    _store: KeyStore = field(repr=False, compare=False)

    def key(self, name: str) -> bytes:
        """The key of ring id `name`. Raises `RefusedError` when it is not in the ring, or not for this act."""
        own = (is_segment_key(name) and self.act == "audit") or (is_row_key(name) and self.act == "catalogue")
        if name not in UNDATED and self.act not in _ACTS_WITH_RECORDS and not own:
            raise RefusedError(f"taking the key {name}: the act {self.act} opens no records")
        return self._store._key(name)

    def has(self, name: str) -> bool:
        """Whether the ring holds the key `name`."""
        return self._store.has_any([name])


@dataclass(frozen=True, slots=True)
class Released:
    """One day key that a warrant opened. Made by `KeyStore.release` only, and worthless once the key was destroyed."""

    record_class: str
    day: date
    category: str
    _store: KeyStore = field(repr=False, compare=False)
    day_generation: int = 1
    """Of the day key, among those that its day has had."""

    @property
    def generation(self) -> int:
        """The generation of the ring that holds the key now."""
        return self._store.generation

    @property
    def key(self) -> bytes:
        """The day key. Raises `RefusedError` when it was destroyed since."""
        return self._store._key(day_key_id(self.record_class, self.day, self.category, self.day_generation))

    @property
    def derived(self) -> dict[Hashable, Any]:
        """What was made of keys of the living ring: it goes with the ring, at the same moment and in every case.

        For what is dear to derive again. Whoever takes something out of it brings the released keys it was made of.
        """
        return self._store._derived


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    """An open ring, the digest of what it was read from (None for one that was made here), and what was made of its
    keys.
    """

    ring: Ring = field(repr=False)
    path: str
    mark: bytes | None = field(default=None, repr=False)
    derived: dict[Hashable, Any] = field(default_factory=dict, repr=False)


class KeyStore:
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
        self._directory: Callable[[str], PersonKey | None] | None = None
        self._renewed: Callable[[], None] = lambda: None
        # By the object itself: an admission that is dropped takes what it stood for with it.
        self._admitted: weakref.WeakKeyDictionary[Admission, tuple[int, Covered]] = weakref.WeakKeyDictionary()

    @classmethod
    def create(
        cls,
        layout: Layout,
        disk: Disk,
        provider: KeyProvider,
        vault_id: str,
        random: Callable[[int], bytes] = os.urandom,
    ) -> KeyStore:
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
    ) -> KeyStore:
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

    def signing_key(self) -> bytes:
        """The vault's own Ed25519 private key, which signs audit entries, certificates and manifests."""
        return self._key("signing")

    def attach_directory(self, directory: Callable[[str], PersonKey | None]) -> None:
        """Tells the store where to look people up; without it nothing is released."""
        self._directory = directory
        self._admitted.clear()

    def attach_escrow(self, renewed: Callable[[], None]) -> None:
        """Tells the store what is done when a renewal is complete: the escrow's copy is replaced."""
        self._renewed = renewed

    def follow(self, catalogue_generation: int) -> None:
        """Takes the ring of that generation as it is on disk: another process may have renewed it, or put keys into it.

        The keys held before are dropped, whatever comes of it, unless the ring on disk still opens and is byte for byte
        the one that they were read from.
        """
        before, self._held = self._held, None
        self._admitted.clear()
        self._held = self._fetched(catalogue_generation, before)

    def require_unrenewed(self) -> Ring:
        """The ring that is open here, as long as it is the one on disk; a glance at a name, made before each partition.

        It is to be compared with, not to be kept: what was opened under another ring is to be released again. Raises
        `RefusedError` when another process has renewed it: keys that this one still holds may have been destroyed, and
        what they open is no longer to be shown.
        """
        if not os.path.exists(self._living_held.path):  # noqa: PTH110  # asked for every file of a long answer
            self._held = None
            self._admitted.clear()
            raise RefusedError("using the key ring: another process destroyed keys meanwhile; do it again")
        return self._living

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
        knows whether it did: the store then refuses every use, and opening it anew finds out.
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
        except BaseException:
            self._held = None
            raise
        # If we crash here, `open` does the rest.
        self._held = _Held(ring, str(self._layout.ring(ring.generation)))
        self._destroy(old.generation)  # (4)
        self._renewed()

    def custody(self, act: str) -> Custody:
        """The keys for an act of the house: receive, compact, rewrite, verify, hold, expire, audit or catalogue."""
        if act not in _ACTS:
            raise RefusedError(f"taking keys into custody: {act} is not one of {', '.join(sorted(_ACTS))}")
        return Custody(act, self)

    def admit(self, warrant: SignedWarrant) -> Admission:
        """Checks the signatures of `warrant` once, for many releases: two persons with two keys, their roles, and both
        signatures over this very document.

        The admission ends with the living ring and with the directory of people. Raises `RefusedError` saying what
        failed.
        """
        try:
            return self._admit(warrant)
        except RefusedError as refused:
            raise RefusedError(f"admitting a warrant: {refused}") from refused

    def release(
        self,
        warrant: SignedWarrant | Admission,
        record_class: str,
        day: date,
        category: str,
        reach: tuple[date, date],
        day_generation: int = 1,
    ) -> Released:
        """The key of `category` for a file of that class and day whose records touch the UTC dates `reach`, and which
        lies under day keys of `day_generation`.

        Checks everything itself: that this store admitted the warrant (or, given the warrant, its signatures), and that
        the signed document covers class, category and time (a day on either side is for parts of calls). Raises
        `RefusedError` saying which of them failed.
        """
        try:
            admission = self._admit(warrant) if isinstance(warrant, SignedWarrant) else warrant
        except RefusedError as refused:
            raise _unreleased(record_class, day, category, refused) from refused
        return self.release_each(admission, record_class, day, (category,), reach, day_generation)[0]

    def release_each(
        self,
        admission: Admission,
        record_class: str,
        day: date,
        categories: Sequence[str],
        reach: tuple[date, date],
        day_generation: int = 1,
    ) -> list[Released]:
        """As `release`, the keys of several `categories` of one file after one look at what is covered."""
        generation, covers = self._admitted.get(admission, (None, None))
        try:
            if covers is None or generation != self.generation:
                raise RefusedError("the warrant is not admitted under the ring that lives now; admit it again")
            covers.require(record_class, categories, reach)
        except RefusedError as refused:
            raise _unreleased(record_class, day, "/".join(categories), refused) from refused
        there = self._living.keys
        for name in [day_key_id(record_class, day, category, day_generation) for category in categories]:
            if name not in there:
                self._key(name)  # refused now rather than at first use
        return [Released(record_class, day, category, self, day_generation) for category in categories]

    def release_held(self, warrant: SignedWarrant, hold_id: str) -> bytes:
        """The key of everything that a hold carved, for a warrant that goes on from it.

        That is the warrant whose own registration froze its scope, or one that names the hold with `supplements`. Its
        signatures are checked here; which of the rows it covers, its scope decides. Raises `RefusedError` otherwise.
        """
        doing = f"releasing the key of hold {hold_id}"
        try:
            self._admit(warrant)
        except RefusedError as refused:
            raise RefusedError(f"{doing}: {refused}") from refused
        document = dict(warrant.document)
        if document.get("kind") != WARRANT:
            raise RefusedError(f"{doing}: it is for a warrant alone, and this is a customer's request")
        if hold_id not in (document.get("supplements"), warrant_id(document)):
            raise RefusedError(
                f"{doing}: the warrant does not name it with `supplements`, and it is not its own freeze"
            )
        return self._key(hold_key_id(hold_id))

    def _admit(self, warrant: SignedWarrant) -> Admission:
        if self._directory is None:
            raise RefusedError("no directory of people is attached, so no signature can be checked")
        admission = Admission()
        self._admitted[admission] = self.generation, covered(warrant, self._directory)
        return admission

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
            raise FaultError("using the key ring: it was dropped when a renewal broke off; open the vault again")
        return self._held

    def _key(self, name: str) -> bytes:
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


def _unreleased(record_class: str, day: date, category: str, refused: RefusedError) -> RefusedError:
    return RefusedError(f"releasing the {category} key of {record_class} {day.isoformat()}: {refused}")
