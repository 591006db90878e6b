"""Which key provider a key directory has, and how one takes the place of another without a record being rewritten.

The key directory itself tells: `root.key` is the local key file's, `root.sealed` the passphrase's, `token.json` the
PKCS#11 token's. A rotation, or a change of provider, brings the new one in under `next/`; the next renewal makes its
epoch key with the new one and destroys the old one's. Until the catalogue's generation has moved, both are open
(`Moving`), and which holds the ruling epoch key says whether a change that a crash cut short is finished or given up.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trafficvault import settings
from trafficvault.durable import Disk
from trafficvault.errors import FaultError, UsageError
from trafficvault.layout import Layout
from trafficvault.provider import Ask, KeyProvider, LocalKeyFile
from trafficvault.provider_passphrase import DEFAULT_COST, NEW_VARIABLE, PassphraseKey
from trafficvault.provider_pkcs11 import TokenKeys
from trafficvault.stretching import Cost

KINDS: Final = settings.KEY_PROVIDERS


@dataclass(frozen=True, slots=True)
class Choice:
    """The provider that a vault is to have; `module` and `token` are the PKCS#11 one's."""

    kind: str = "local"
    module: Path | None = None
    token: str | None = None
    cost: Cost = DEFAULT_COST

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"choosing a key provider: {self.kind} is not one of {', '.join(KINDS)}")
        wanted = self.kind == "pkcs11"
        if (self.module is not None) != wanted or (self.token is not None) != wanted:
            raise UsageError("choosing a key provider: pkcs11, and no other, takes a module and the label of a token")


LOCAL: Final = Choice()


class Moving:
    """Two providers while one takes the place of the other: new epoch keys are `new`'s, and each opens its own."""

    def __init__(self, old: KeyProvider, new: KeyProvider) -> None:
        self.old, self.new = old, new

    @property
    def name(self) -> str:
        """The new provider's: what dies from now on dies with it."""
        return self.new.name

    @property
    def copies(self) -> bool:
        """Whether either lets a copy exist."""
        return self.old.copies or self.new.copies

    def create_epoch(self, generation: int) -> None:
        """Makes the epoch key with the new provider."""
        if generation in self.generations():
            raise FaultError(f"creating epoch key {generation}: it exists, and no epoch key is ever overwritten")
        self.new.create_epoch(generation)

    def holds(self, generation: int) -> bool:
        """Whether one of the two has it."""
        return self.new.holds(generation) or self.old.holds(generation)

    def seal(self, generation: int, content: bytes, place: str) -> bytes:
        """By whichever has the epoch key."""
        return self._of(generation).seal(generation, content, place)

    def unseal(self, generation: int, blob: bytes, place: str) -> bytes:
        """By whichever has the epoch key."""
        return self._of(generation).unseal(generation, blob, place)

    def export_epoch(self, generation: int) -> bytes:
        """By whichever has the epoch key."""
        return self._of(generation).export_epoch(generation)

    def destroy_epoch(self, generation: int) -> None:
        """With both: no generation is in two providers, and a missing one is already destroyed."""
        self.new.destroy_epoch(generation)
        self.old.destroy_epoch(generation)

    def generations(self) -> frozenset[int]:
        """Those of either."""
        return self.old.generations() | self.new.generations()

    def _of(self, generation: int) -> KeyProvider:
        return self.new if self.new.holds(generation) else self.old


def present(directory: Path) -> str | None:
    """The kind of provider whose file lies in `directory`; None without one."""
    at = Layout(directory, directory)
    return next((kind for kind in KINDS if _file(at, kind).exists()), None)


def copies(layout: Layout) -> bool:
    """Whether a copy of an epoch key can exist, by what the key directory has of providers; no secret is needed."""
    return bool({present(layout.keys), present(layout.incoming)} - {None, "pkcs11"})


def create(layout: Layout, disk: Disk, vault_id: str, choice: Choice, ask: Ask) -> KeyProvider:
    """A new provider in the key directory. Raises `RefusedError` when it has one of that kind already."""
    return _create(layout, layout, disk, vault_id, choice, ask)


def bring_in(layout: Layout, disk: Disk, vault_id: str, choice: Choice, ask: Ask, old: KeyProvider) -> Moving:
    """A new provider under `next/`, and both together. What an attempt before left there goes first."""
    _clear(layout, disk)
    return Moving(old, _create(layout, _inner(layout), disk, vault_id, choice, ask))


def open_(layout: Layout, disk: Disk, vault_id: str, ask: Ask) -> KeyProvider:
    """The provider that the key directory has, or both while one takes the place of the other.

    Raises `FaultError` when there is none, `LockedError` when it takes a secret that nobody gives.
    """
    kind, coming = present(layout.keys), present(layout.incoming)
    if coming is None:
        # Without any file of a provider, the sentence about the default one says best what is missing.
        return _open(layout, layout, kind or "local", disk, vault_id, ask)
    new = _open(layout, _inner(layout), coming, disk, vault_id, ask)
    return new if kind is None else Moving(_open(layout, layout, kind, disk, vault_id, ask), new)


def open_files(layout: Layout, disk: Disk, vault_id: str, ask: Ask) -> KeyProvider | None:
    """As `open_`, of a key directory that is not ours: those of its providers alone that are files, None without one. A
    token's file names a program, and is left alone.
    """
    places = ((layout, present(layout.keys)), (_inner(layout), present(layout.incoming)))
    found = [_open(layout, at, kind, disk, vault_id, ask) for at, kind in places if kind in ("local", "passphrase")]
    return Moving(*found) if len(found) > 1 else next(iter(found), None)


def settle(layout: Layout, disk: Disk, provider: KeyProvider, generation: int) -> KeyProvider:
    """Finishes a change whose new provider has the epoch key of the ruling `generation`; gives up any other.

    For the holder of the writer's lock, after the ring that rules was opened. Each step may be repeated. Returns the
    provider that is left.
    """
    if not layout.incoming.is_dir():
        return provider
    kind, coming = present(layout.keys), present(layout.incoming)
    staying = provider.new if isinstance(provider, Moving) else provider
    if coming is not None and (kind is None or staying.holds(generation)):
        if kind is not None and kind != coming:
            # If we crash here, the only provider is the one under `next/`, and this is done again.
            disk.remove(_file(layout, kind))
        disk.move(_file(_inner(layout), coming), _file(layout, coming))
    elif isinstance(provider, Moving):
        staying = provider.old
    _clear(layout, disk)
    return staying


def _create(layout: Layout, at: Layout, disk: Disk, vault_id: str, choice: Choice, ask: Ask) -> KeyProvider:
    path = _file(at, choice.kind)
    if choice.kind == "local":
        return LocalKeyFile.create(layout, disk, vault_id, path=path)
    if choice.kind == "passphrase":
        passphrase = ask("new passphrase of the root key", NEW_VARIABLE, twice=True)
        return PassphraseKey.create(layout, disk, vault_id, passphrase, choice.cost, path=path)
    if choice.module is None or choice.token is None:
        raise UsageError("choosing a key provider: pkcs11 takes a module and the label of a token")
    return TokenKeys.create(layout, disk, vault_id, choice.module, choice.token, ask, path)


def _open(layout: Layout, at: Layout, kind: str, disk: Disk, vault_id: str, ask: Ask) -> KeyProvider:
    path = _file(at, kind)
    if kind == "local":
        return LocalKeyFile.open(layout, disk, vault_id, path=path)
    if kind == "passphrase":
        return PassphraseKey.open(layout, disk, vault_id, ask, path=path)
    return TokenKeys.open(layout, disk, vault_id, ask, path)


def _clear(layout: Layout, disk: Disk) -> None:
    if layout.incoming.is_dir():
        for path in sorted(layout.incoming.iterdir()):
            disk.remove(path)
        disk.remove_directory(layout.incoming)


def _inner(layout: Layout) -> Layout:
    """The paths of the provider's own file under `next/`."""
    return Layout(layout.vault, layout.incoming)


def _file(at: Layout, kind: str) -> Path:
    return {"local": at.root_key, "passphrase": at.sealed_root, "pkcs11": at.token}[kind]
