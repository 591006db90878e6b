"""The key provider: where the root key lives, and the one place an epoch key exists.

A provider creates, opens and destroys epoch keys by generation. Whoever holds the epoch key of a generation opens the
ring of that generation (`trafficvault.ring`) and with it every day key; so destroying an epoch key is what deletes days
for good.

`LocalKeyFile` is the default: a random root key in `root.key`, readable by its owner alone, and each epoch key in a
file of its own, sealed under the root key. What it can't do: a copy of the key directory made before a renewal still
opens what the renewal deleted. Nor can Python wipe the bytes it held: the process ends, or the memory is reused.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from typing import Protocol

from trafficvault import sealing
from trafficvault.durable import Disk
from trafficvault.errors import FaultError, RefusedError
from trafficvault.layout import Layout

_ROOT = re.compile(rb"trafficvault-root-key-v1:([0-9a-f]{64})\n")
_EPOCH = re.compile(r"epoch-([1-9][0-9]*)")
_OWNER_ONLY = 0o600


class KeyProvider(Protocol):
    """Creates, opens and destroys epoch keys. Every method is durable when it returns and may be repeated."""

    @property
    def name(self) -> str:
        """What a certificate of deletion calls this provider."""
        ...

    def create_epoch(self, generation: int) -> bytes:
        """A new random epoch key. Raises `FaultError` when that generation exists: none is ever overwritten."""
        ...

    def open_epoch(self, generation: int) -> bytes:
        """The epoch key. Raises `FaultError` when it is missing or was changed."""
        ...

    def destroy_epoch(self, generation: int) -> None:
        """Destroys the epoch key; a missing one is already destroyed."""
        ...

    def generations(self) -> frozenset[int]:
        """The generations whose epoch key exists."""
        ...


class LocalKeyFile:
    """A root key in a file of the key directory, and the epoch keys sealed under it beside it."""

    name = "local key file"

    def __init__(
        self, layout: Layout, disk: Disk, vault_id: str, root: bytes, random: Callable[[int], bytes] = os.urandom
    ) -> None:
        self._layout = layout
        self._disk = disk
        self._vault_id = vault_id
        self._root = root
        self._random = random

    @classmethod
    def create(
        cls, layout: Layout, disk: Disk, vault_id: str, random: Callable[[int], bytes] = os.urandom
    ) -> LocalKeyFile:
        """Makes the key directory and its root key. Raises `RefusedError` when there is one already."""
        if layout.root_key.exists():
            raise RefusedError(f"creating a root key: {layout.root_key} exists; name another key directory with --keys")
        root = random(sealing.KEY_BYTES)
        disk.make_directory(layout.keys)
        disk.create(layout.root_key, b"trafficvault-root-key-v1:" + root.hex().encode() + b"\n", _OWNER_ONLY)
        return cls(layout, disk, vault_id, root, random)

    @classmethod
    def open(
        cls, layout: Layout, disk: Disk, vault_id: str, random: Callable[[int], bytes] = os.urandom
    ) -> LocalKeyFile:
        """Reads the root key.

        Raises `RefusedError` when others than its owner may read or write it, `FaultError` when it is missing or of
        another form.
        """
        try:
            with layout.root_key.open("rb") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                content = file.read(4096)
        except OSError as problem:
            reason = problem.strerror or type(problem).__name__
            raise FaultError(
                f"opening the root key: {layout.root_key} can't be read ({reason}); name the key directory with --keys"
            ) from problem
        if mode & 0o077:
            raise RefusedError(
                f"opening the root key: {layout.root_key} has mode {mode:04o} instead of 0600, which lets others than "
                f"its owner use it; find out who read it, then run chmod 600 on it"
            )
        match = _ROOT.fullmatch(content)
        if match is None:
            raise FaultError(f"opening the root key: {layout.root_key} is not a root key of version 1")
        return cls(layout, disk, vault_id, bytes.fromhex(match[1].decode()), random)

    def create_epoch(self, generation: int) -> bytes:
        """A new random epoch key, sealed and durable. Raises `FaultError` when that generation exists."""
        path = self._layout.epoch_key(generation)
        if path.exists():
            raise FaultError(f"creating epoch key {generation}: it exists, and no epoch key is ever overwritten")
        epoch = self._random(sealing.KEY_BYTES)
        self._disk.create(path, sealing.seal(self._root, epoch, self._place(generation)), _OWNER_ONLY)
        return epoch

    def open_epoch(self, generation: int) -> bytes:
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
