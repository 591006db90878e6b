"""The passphrase provider: the root key lies in `root.sealed`, under what Argon2id (RFC 9106) makes of a passphrase.

Who steals the key directory has to guess the passphrase; who has not got it can neither receive, disclose nor destroy
a key. Changing the passphrase seals the same root key anew and rewrites no other file; a copy of `root.sealed` made
before still opens with the old one, until `keys rotate` makes a new root and epoch key.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from trafficvault import sealing, signing
from trafficvault.durable import Disk
from trafficvault.errors import FaultError, RefusedError, UsageError
from trafficvault.layout import Layout
from trafficvault.provider import Ask, EpochFiles, new_root, read_private
from trafficvault.stretching import SALT_BYTES, Cost, stretched

VARIABLE: Final = "TRAFFICVAULT_PASSPHRASE"
NEW_VARIABLE: Final = "TRAFFICVAULT_NEW_PASSPHRASE"
SHORTEST: Final = 12
"""Fewer signs than this are refused: a key directory can be stolen, and then guessing has all the time it wants."""

_KIND = "trafficvault-sealed-root-key"
_MOST_MEMORY_KIB = 4 * 2**20


DEFAULT_COST: Final = Cost(memory_kib=256 * 1024, iterations=3, lanes=4)
"""Of a guess at a passphrase: half a second."""


class PassphraseKey(EpochFiles):
    """A root key that a passphrase opens, and the epoch keys sealed under it in the key directory."""

    name = "passphrase"

    @classmethod
    def create(
        cls,
        layout: Layout,
        disk: Disk,
        vault_id: str,
        passphrase: str,
        cost: Cost = DEFAULT_COST,
        random: Callable[[int], bytes] = os.urandom,
        path: Path | None = None,
    ) -> PassphraseKey:
        """Makes a root key and seals it at `path`. Raises `RefusedError` when there is one already."""
        path = path or layout.sealed_root
        root = new_root(path, disk, random)
        _write(path, disk, vault_id, root, passphrase, cost)
        return cls(layout, disk, vault_id, root, random)

    @classmethod
    def open(
        cls,
        layout: Layout,
        disk: Disk,
        vault_id: str,
        ask: Ask,
        random: Callable[[int], bytes] = os.urandom,
        path: Path | None = None,
    ) -> PassphraseKey:
        """Asks for the passphrase and opens the root key.

        Raises `LockedError` when nobody gives one, `RefusedError` when it is another, `FaultError` when the file is
        missing or of another form.
        """
        path = path or layout.sealed_root
        content = _parsed(path)
        root = _opened(content, vault_id, ask("passphrase of the root key", VARIABLE))
        return cls(layout, disk, vault_id, root, random)


def change(layout: Layout, disk: Disk, vault_id: str, ask: Ask, cost: Cost = DEFAULT_COST) -> None:
    """Seals the root key under a new passphrase, in place of the old one: one rename, nothing else is rewritten."""
    content = _parsed(layout.sealed_root)
    root = _opened(content, vault_id, ask("passphrase of the root key", VARIABLE))
    fresh = ask("new passphrase of the root key", NEW_VARIABLE, twice=True)
    _write(layout.sealed_root, disk, vault_id, root, fresh, cost)


def _write(path: Path, disk: Disk, vault_id: str, root: bytes, passphrase: str, cost: Cost) -> None:
    if len(passphrase) < SHORTEST:
        raise UsageError(f"setting the passphrase: it has fewer than {SHORTEST} signs; choose a longer one")
    salt = os.urandom(SALT_BYTES)
    sealed = sealing.seal(stretched(passphrase.encode(), salt, cost), root, f"root {vault_id}")
    content = {"kind": _KIND, "v": 1, "kdf": "argon2id", "salt": salt.hex(), **cost.terms, "sealed": sealed.hex()}
    disk.create(path, signing.canonical(content) + b"\n", 0o600)


def _parsed(path: Path) -> dict[str, Any]:
    blob = read_private(path, "sealed root key")
    try:
        content = json.loads(blob)
        whole = all(isinstance(content[name], int) for name in ("memory_kib", "iterations", "lanes"))
        known = [content["kind"], content["v"], content["kdf"]] == [_KIND, 1, "argon2id"]
        texts = isinstance(bytes.fromhex(content["salt"]), bytes) and isinstance(
            bytes.fromhex(content["sealed"]), bytes
        )
    except (ValueError, KeyError, TypeError):
        whole = known = texts = False
    if not (whole and known and texts and content["memory_kib"] <= _MOST_MEMORY_KIB):
        raise FaultError(f"opening the sealed root key: {path} is not a sealed root key of version 1")
    return dict(content)


def _opened(content: dict[str, Any], vault_id: str, passphrase: str) -> bytes:
    key = stretched(passphrase.encode(), bytes.fromhex(content["salt"]), Cost.of(content))
    try:
        return sealing.unseal(key, bytes.fromhex(content["sealed"]), f"root {vault_id}")
    except FaultError as problem:
        raise RefusedError(
            "opening the root key: the passphrase is not its own, or root.sealed was changed or is of another vault"
        ) from problem
