"""The key port: the living ring, what may be taken out of it, and how keys die.

Keys leave in two ways, and their types differ so that one can't pass for the other. `release` gives a `Released` key
for one class, day and category, and is the only way to what delivery accepts: it checks the warrant itself, whoever
asks. `custody` gives an act of the house (receive, compact, verify, …) the keys it works with; no package is made from
those.

`ensure` puts new day keys durably into the ring before a file uses them. `renew` is how keys die, in this order, each
step repeatable: (1) epoch key g+1, (2) ring g+1 without the dead, (3) the catalogue's generation, which is the commit
point, (4) epoch key g destroyed, ring g unlinked. `open` finishes or undoes what a crash cut short. Both kinds of token
look their key up in the ring when it is used, so that a destroyed key is gone from this process as well.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from ingest.record import CATEGORIES, FRAME
from trafficvault import sealing, signing
from trafficvault.durable import PART, Disk
from trafficvault.errors import FaultError, RefusedError
from trafficvault.layout import Layout, day_key_id
from trafficvault.provider import KeyProvider
from trafficvault.ring import UNDATED, Ring, open_ring, plan_recovery, require_key_id, ring_generations, seal_ring

_PART_SLACK = timedelta(days=1)
_ACTS_WITH_RECORDS = frozenset({"receive", "compact", "verify"})
_ACTS = _ACTS_WITH_RECORDS | {"expire", "audit", "catalogue"}
"""Only these get keys of records, rejections and held batches; the others get keys of what has no day."""


@dataclass(frozen=True, slots=True)
class PersonKey:
    """What the key port must know of a person: the roles and the public key, as hex."""

    name: str
    roles: frozenset[str]
    public_key: str
    disabled: bool


@dataclass(frozen=True, slots=True)
class Vouch:
    """A person's signature over `signing.statement(act, digest of the document, person, at)`."""

    person: str
    at: datetime
    signature: str


@dataclass(frozen=True, slots=True)
class SignedWarrant:
    """A warrant document in canonical form, with the signatures of who registered and who approved it."""

    document: Mapping[str, Any] = field(repr=False)
    registered: Vouch
    approved: Vouch


@dataclass(frozen=True, slots=True)
class Custody:
    """The keys an act of the house works with."""

    act: str
    _store: KeyStore = field(repr=False, compare=False)

    def key(self, name: str) -> bytes:
        """The key of ring id `name`. Raises `RefusedError` when it is not in the ring, or not for this act."""
        if name not in UNDATED and self.act not in _ACTS_WITH_RECORDS:
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

    @property
    def key(self) -> bytes:
        """The day key. Raises `RefusedError` when it was destroyed since."""
        return self._store._key(day_key_id(self.record_class, self.day, self.category))


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
        self._ring: Ring | None = ring
        self._random = random
        self._directory: Callable[[str], PersonKey | None] | None = None

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
        disk.create(layout.ring(1), seal_ring(ring, provider.create_epoch(1), vault_id))
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
        store._ring = store._read(catalogue_generation)
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

    def follow(self, catalogue_generation: int) -> None:
        """Takes the ring of that generation as it is on disk: another process may have renewed it, or put keys into it.

        The keys held before are dropped, whatever comes of it.
        """
        self._ring = None
        self._ring = self._read(catalogue_generation)

    def ensure(self, names: Iterable[str]) -> None:
        """Puts a new random key for each of `names` that has none durably into the ring, before anything uses it."""
        wanted = [require_key_id(name) for name in names]
        if all(name in self._living.keys for name in wanted):
            return
        # From disk, so that a key another writer put there is never replaced: that would be the loss of its files.
        ring = self._read(self.generation)
        ring = ring.with_keys({name: self._random(sealing.KEY_BYTES) for name in wanted if name not in ring.keys})
        self._write(ring, self._provider.open_epoch(ring.generation))
        self._ring = ring

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
        self._write(ring, self._provider.create_epoch(ring.generation))  # (1) (2)
        if self._read(ring.generation) != ring:
            # Before (3), for after it nothing but the new ring opens the vault.
            raise FaultError(f"renewing the key ring: ring {ring.generation} lacks survivors; nothing was destroyed")
        try:
            commit(ring.generation)  # (3)
        except BaseException:
            self._ring = None
            raise
        # If we crash here, `open` does the rest.
        self._ring = ring
        self._destroy(old.generation)  # (4)

    def custody(self, act: str) -> Custody:
        """The keys for an act of the house: receive, compact, verify, expire, audit or catalogue."""
        if act not in _ACTS:
            raise RefusedError(f"taking keys into custody: {act} is not one of {', '.join(sorted(_ACTS))}")
        return Custody(act, self)

    def release(
        self, warrant: SignedWarrant, record_class: str, day: date, category: str, reach: tuple[date, date]
    ) -> Released:
        """The key of `category` for a file of that class and day whose records touch the UTC dates `reach`.

        Checks everything itself: both signatures over this very document, two persons with two keys, their roles, and
        that the document covers class, category and time (a day on either side is for parts of calls). Raises
        `RefusedError` saying which of them failed.
        """
        what = f"releasing the {category} key of {record_class} {day.isoformat()}"
        if self._directory is None:
            raise RefusedError(f"{what}: no directory of people is attached, so no signature can be checked")
        _require_two_persons(warrant, self._directory, what)
        _require_covered(warrant.document, record_class, category, reach, what)
        released = Released(record_class, day, category, self)
        _ = released.key  # refused now rather than at first use
        return released

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
        if self._ring is None:
            raise FaultError("using the key ring: it was dropped when a renewal broke off; open the vault again")
        return self._ring

    def _key(self, name: str) -> bytes:
        try:
            return self._living.keys[name]
        except KeyError:
            raise RefusedError(f"taking the key {name}: it is not in the ring: destroyed, or never made") from None

    def _read(self, generation: int) -> Ring:
        try:
            blob = self._layout.ring(generation).read_bytes()
        except OSError as problem:
            reason = problem.strerror or type(problem).__name__
            raise FaultError(f"opening ring {generation}: its file can't be read ({reason})") from problem
        return open_ring(blob, self._provider.open_epoch(generation), self._vault_id, generation)

    def _write(self, ring: Ring, epoch: bytes) -> None:
        self._disk.create(self._layout.ring(ring.generation), seal_ring(ring, epoch, self._vault_id))

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


def _require_two_persons(warrant: SignedWarrant, directory: Callable[[str], PersonKey | None], what: str) -> None:
    digest = signing.digest(dict(warrant.document))
    registrar = _require_vouch(warrant.registered, directory, digest, ("registrar", "register", "officer"), what)
    approver = _require_vouch(warrant.approved, directory, digest, ("approver", "approve", "approver"), what)
    if registrar.name == approver.name:
        raise RefusedError(f"{what}: the same person registered and approved the warrant; another must approve it")
    if registrar.public_key == approver.public_key:
        raise RefusedError(f"{what}: registrar and approver are two accounts with one public key")


def _require_vouch(
    vouch: Vouch, directory: Callable[[str], PersonKey | None], digest: str, part: tuple[str, str, str], what: str
) -> PersonKey:
    who, act, role = part
    person = directory(vouch.person)
    if person is None or person.name != vouch.person:
        raise RefusedError(f"{what}: the warrant's {who} is not a person of this vault")
    if person.disabled:
        raise RefusedError(f"{what}: the warrant's {who} is disabled")
    if role not in person.roles:
        raise RefusedError(f"{what}: the warrant's {who} has not the role {role}")
    message = signing.statement(act, digest, vouch.person, vouch.at)
    try:
        signing.require_signature(person.public_key, vouch.signature, message, f"the {who}'s signature")
    except FaultError as fault:
        raise RefusedError(
            f"{what}: the {who}'s signature is not over this document (digest {digest[:16]}…): one of them was changed"
        ) from fault
    return person


def _require_covered(
    document: Mapping[str, Any], record_class: str, category: str, reach: tuple[date, date], what: str
) -> None:
    if document.get("kind") != "warrant" or document.get("v") != 1:
        raise RefusedError(f"{what}: the signed document is not a warrant of version 1")
    if record_class not in _words(document, "classes", what):
        raise RefusedError(f"{what}: the warrant does not cover the class {record_class}")
    if category not in CATEGORIES or category not in {FRAME, *_words(document, "categories", what)}:
        raise RefusedError(f"{what}: the warrant does not cover the category {category}")
    # Parts of a call that matches are in scope: one that crosses midnight leaves its last part on the next day.
    near = reach[0] - _PART_SLACK, reach[1] + _PART_SLACK
    if not any(_overlaps(window, near) for window in _windows(document, what)):
        raise RefusedError(
            f"{what}: no target's window overlaps its records, of {reach[0].isoformat()} to {reach[1].isoformat()}"
        )


def _words(document: Mapping[str, Any], name: str, what: str) -> list[str]:
    # A text instead of a list would make `in` look for parts of words.
    words = document.get(name)
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise RefusedError(f"{what}: the warrant's {name} are not a list of words")
    return words


def _windows(document: Mapping[str, Any], what: str) -> list[tuple[datetime, datetime]]:
    try:
        texts = [(target["from"], target["to"]) for target in document["targets"]]
        windows = [(datetime.fromisoformat(begin), datetime.fromisoformat(end)) for begin, end in texts]
    except (KeyError, TypeError, ValueError) as problem:
        raise RefusedError(f"{what}: a target of the warrant has no window from and to") from problem
    if any(moment.tzinfo is None for window in windows for moment in window):
        raise RefusedError(f"{what}: a window of the warrant names no zone")
    return windows


def _overlaps(window: tuple[datetime, datetime], reach: tuple[date, date]) -> bool:
    """Whether [from, to) shares a moment with the UTC dates; from = to is the one moment they name."""
    begin, end = window
    first = datetime.combine(reach[0], time(), UTC)
    last = datetime.combine(reach[1], time(), UTC) + timedelta(days=1)
    return begin <= end and begin < last and (end > first or begin == end == first)
