"""The provider: where the root key lives, and who holds the epoch keys.

A provider makes an epoch key per generation, seals and unseals under it, and destroys it. Whoever can use the epoch key
of a generation opens the ring of that generation (`trafficvault.ring`) and with it every day key; so destroying an
epoch key is what deletes days for good. It is asked for the key itself only for an escrow copy, so that a token can be
one whose keys never leave it. Day keys are ours: destroying them never waits for a provider.

`LocalKeyFile` is the default: a random root key in `root.key`, readable by its owner alone, and each epoch key in a
file of its own, sealed under the root key. What it can't do: a copy of the key directory made before a renewal still
opens what the renewal deleted. Nor can Python wipe the bytes it held: the process ends, or the memory is reused.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from trafficvault import sealing
from trafficvault.durable import Disk
from trafficvault.errors import FaultError, RefusedError
from trafficvault.layout import Layout

_ROOT = re.compile(rb"trafficvault-root-key-v1:([0-9a-f]{64})\n")
_EPOCH = re.compile(r"epoch-([1-9][0-9]*)")
_OWNER_ONLY = 0o600


class LockedError(RefusedError):
    """The key directory can't be opened without a secret that nobody gave."""


class Ask(Protocol):
    """Asks for a secret: from the environment variable, or of the person at the terminal; a new one is typed twice."""

    def __call__(self, what: str, variable: str, *, twice: bool = False) -> str:
        """The secret. Raises `LockedError` when nobody gives one."""
        ...


def from_environment(what: str, variable: str, *, twice: bool = False) -> str:
    """The secret in the environment `variable`; for a process that has no terminal."""
    found = os.environ.get(variable)
    if not found:
        raise LockedError(f"asking for the {what}: none was given", hint=f"without a terminal, set {variable}")
    return found


class KeyProvider(Protocol):
    """Keeps epoch keys by generation. Every method is durable when it returns and may be repeated."""

    @property
    def name(self) -> str:
        """What a certificate of deletion calls this provider."""
        ...

    @property
    def copies(self) -> bool:
        """Whether a copy of an epoch key can exist that outlives its destruction here."""
        ...

    def create_epoch(self, generation: int) -> None:
        """Makes a random epoch key. Raises `FaultError` when that generation exists: none is ever overwritten."""
        ...

    def holds(self, generation: int) -> bool:
        """Whether the epoch key of `generation` is here and is this provider's own."""
        ...

    def seal(self, generation: int, content: bytes, place: str) -> bytes:
        """`content` encrypted under an epoch key, for `place`. Raises `FaultError` when the key is missing."""
        ...

    def unseal(self, generation: int, blob: bytes, place: str) -> bytes:
        """The inverse of `seal`. Raises `FaultError` when the key is missing, or the blob changed or moved."""
        ...

    def export_epoch(self, generation: int) -> bytes:
        """The epoch key itself, for the escrow alone. Raises `RefusedError` where keys never leave the provider."""
        ...

    def destroy_epoch(self, generation: int) -> None:
        """Destroys the epoch key; a missing one is already destroyed."""
        ...

    def generations(self) -> frozenset[int]:
        """The generations whose epoch key exists."""
        ...


class EpochFiles:
    """Epoch keys in files of the key directory, each sealed under a root key that is in memory.

    The base of the providers that have a root key; `name` is theirs.
    """

    name = "epoch files"
    copies = True

    def __init__(
        self, layout: Layout, disk: Disk, vault_id: str, root: bytes, random: Callable[[int], bytes] = os.urandom
    ) -> None:
        self._layout = layout
        self._disk = disk
        self._vault_id = vault_id
        self._root = root
        self._random = random

    def create_epoch(self, generation: int) -> None:
        """Makes a random epoch key, sealed and durable. Raises `FaultError` when that generation exists."""
        self.import_epoch(generation, self._random(sealing.KEY_BYTES))

    def import_epoch(self, generation: int, epoch: bytes) -> None:
        """Puts an epoch key there that an escrow copy gave back. Raises `FaultError` when that generation exists."""
        path = self._layout.epoch_key(generation)
        if path.exists():
            raise FaultError(f"creating epoch key {generation}: it exists, and no epoch key is ever overwritten")
        self._disk.create(path, sealing.seal(self._root, epoch, self._place(generation)), _OWNER_ONLY)

    def holds(self, generation: int) -> bool:
        """Whether the file of that epoch key is there and opens under this root key."""
        try:
            self.export_epoch(generation)
        except FaultError:
            return False
        return True

    def seal(self, generation: int, content: bytes, place: str) -> bytes:
        """`content` sealed under the epoch key."""
        return sealing.seal(self.export_epoch(generation), content, place)

    def unseal(self, generation: int, blob: bytes, place: str) -> bytes:
        """The inverse of `seal`."""
        return sealing.unseal(self.export_epoch(generation), blob, place)

    def export_epoch(self, generation: int) -> bytes:
        """The epoch key. Raises `FaultError` when it is missing, or is not one of this root key and vault."""
        try:
            blob = self._layout.epoch_key(generation).read_bytes()
        except OSError as problem:
            reason = problem.strerror or type(problem).__name__
            raise FaultError(f"opening epoch key {generation}: its file can't be read ({reason})") from problem
        return sealing.unseal(self._root, blob, self._place(generation))

    def destroy_epoch(self, generation: int) -> None:
        """Unlinks the epoch key durably. The blocks it lay on are not relied upon to be overwritten."""
        self._disk.remove(self._layout.epoch_key(generation))

    def generations(self) -> frozenset[int]:
        """The generations whose epoch key lies in the key directory."""
        names = (path.name for path in self._layout.keys.iterdir())
        return frozenset(int(match[1]) for name in names if (match := _EPOCH.fullmatch(name)))

    def _place(self, generation: int) -> str:
        return f"epoch {self._vault_id} {generation}"


class LocalKeyFile(EpochFiles):
    """A root key in a file of the key directory, and the epoch keys sealed under it beside it."""

    name = "local key file"

    @classmethod
    def create(
        cls,
        layout: Layout,
        disk: Disk,
        vault_id: str,
        random: Callable[[int], bytes] = os.urandom,
        path: Path | None = None,
    ) -> LocalKeyFile:
        """Makes the key directory and its root key, at `path` if it is named. Raises `RefusedError` when there is one
        already.
        """
        path = path or layout.root_key
        root = new_root(path, disk, random)
        disk.create(path, b"trafficvault-root-key-v1:" + root.hex().encode() + b"\n", _OWNER_ONLY)
        return cls(layout, disk, vault_id, root, random)

    @classmethod
    def open(
        cls,
        layout: Layout,
        disk: Disk,
        vault_id: str,
        random: Callable[[int], bytes] = os.urandom,
        path: Path | None = None,
    ) -> LocalKeyFile:
        """Reads the root key.

        Raises `RefusedError` when others than its owner may read or write it, `FaultError` when it is missing or of
        another form.
        """
        path = path or layout.root_key
        match = _ROOT.fullmatch(read_private(path, "root key"))
        if match is None:
            raise FaultError(f"opening the root key: {path} is not a root key of version 1")
        return cls(layout, disk, vault_id, bytes.fromhex(match[1].decode()), random)


def new_root(path: Path, disk: Disk, random: Callable[[int], bytes]) -> bytes:
    """A new root key for the file `path`, whose directory is made. Raises `RefusedError` when there is one already."""
    if path.exists():
        raise RefusedError(f"creating a root key: {path} exists; name another key directory with --keys")
    disk.make_directory(path.parent)
    return random(sealing.KEY_BYTES)


def read_private(path: Path, what: str) -> bytes:
    """The content of a small file of the key directory.

    Raises `RefusedError` when others than its owner may read or write it, `FaultError` when it can't be read.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(4096)
    except OSError as problem:
        reason = problem.strerror or type(problem).__name__
        raise FaultError(
            f"opening the {what}: {path} can't be read ({reason}); name the key directory with --keys"
        ) from problem
    if mode & 0o077:
        raise RefusedError(
            f"opening the {what}: {path} has mode {mode:04o} instead of 0600, which lets others than "
            f"its owner use it; find out who read it, then run chmod 600 on it"
        )
    return content
