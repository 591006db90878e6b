"""The key port: what may be taken out of the living ring, by whom, and for what.

Keys leave in two ways, and their types differ so that one can't pass for the other. `release` gives a `Released` key
for one class, day and category, and is the only way to what delivery accepts: it checks the warrant itself, whoever
asks; `release_held` does so for what a hold kept. `custody` gives an act of the house (receive, compact, verify, …) the
keys it works with; no package is made from those.

Both kinds of token look their key up in the ring when it is used (`trafficvault.living_ring`, where keys also come to
be and die), so that neither outlives its key. Who must have signed what is a rule of `trafficvault.coverage`.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from trafficvault.coverage import WARRANT, Covered, PersonKey, SignedWarrant, covered, warrant_id
from trafficvault.durable import Disk
from trafficvault.errors import RefusedError
from trafficvault.layout import Layout, day_key_id, hold_key_id
from trafficvault.living_ring import LivingRing
from trafficvault.provider import KeyProvider
from trafficvault.ring import UNDATED, Ring, is_row_key, is_segment_key

_ACTS_WITH_RECORDS = frozenset({"receive", "compact", "rewrite", "verify", "hold"})
"""Only these get keys of records, rejections and held batches; the others get keys of what has no day."""
_MOST_TOKENS = 8_192
"""Of how many days, and lists of categories, tokens are kept."""
_ACTS = _ACTS_WITH_RECORDS | {"expire", "audit", "catalogue"}


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


def of_one_ring(released: Sequence[Released]) -> bool:
    """Whether all are of the same store, and so of one living ring."""
    store = released[0]._store
    for one in released:  # noqa: SIM110  # asked for every file of a long answer
        if one._store is not store:
            return False
    return True


class KeyStore(LivingRing):
    """The living ring of one vault, and the two ways in which its keys leave it."""

    def __init__(
        self,
        layout: Layout,
        disk: Disk,
        provider: KeyProvider,
        vault_id: str,
        ring: Ring,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        super().__init__(layout, disk, provider, vault_id, ring, random)
        self._directory: Callable[[str], PersonKey | None] | None = None
        # By the object itself: an admission that is dropped takes what it stood for with it.
        self._admitted: weakref.WeakKeyDictionary[Admission, tuple[int, Covered]] = weakref.WeakKeyDictionary()

    def signing_key(self) -> bytes:
        """The vault's own Ed25519 private key, which signs audit entries, certificates and manifests."""
        return self._key("signing")

    def attach_directory(self, directory: Callable[[str], PersonKey | None]) -> None:
        """Tells the store where to look people up; without it nothing is released."""
        self._directory = directory
        self._admitted.clear()

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
        names, tokens = self._tokens(record_class, day, tuple(categories), day_generation)
        if not names <= self._living.keys.keys():
            # Refused now rather than at first use.
            first, *others = sorted(names - self._living.keys.keys())
            which = f"{first} and {len(others)} more of that day: they are" if others else f"{first}: it is"
            raise RefusedError(f"taking the key {which} not in the ring: destroyed, or never made")
        return list(tokens)

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

    def _tokens(
        self, record_class: str, day: date, categories: tuple[str, ...], day_generation: int
    ) -> tuple[frozenset[str], tuple[Released, ...]]:
        """The ids of the keys of one day, and the tokens for them: they hold no key, and are the same for everyone to
        whom they are released.
        """
        made, place = self._living_held.tokens, (record_class, day, categories, day_generation)
        found: tuple[frozenset[str], tuple[Released, ...]] | None = made.get(place)
        if found is None:
            if len(made) >= _MOST_TOKENS:
                made.clear()
            names = frozenset(day_key_id(record_class, day, category, day_generation) for category in categories)
            tokens = tuple(Released(record_class, day, category, self, day_generation) for category in categories)
            found = made[place] = names, tokens
        return found

    def _drop(self) -> None:
        """Forgets the ring; what was admitted under it is admitted no more."""
        super()._drop()
        self._admitted.clear()

    def _admit(self, warrant: SignedWarrant) -> Admission:
        if self._directory is None:
            raise RefusedError("no directory of people is attached, so no signature can be checked")
        admission = Admission()
        self._admitted[admission] = self.generation, covered(warrant, self._directory)
        return admission


def _unreleased(record_class: str, day: date, category: str, refused: RefusedError) -> RefusedError:
    return RefusedError(f"releasing the {category} key of {record_class} {day.isoformat()}: {refused}")
