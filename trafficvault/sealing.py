"""Authenticated encryption of small things: ring, warrants, rejections, audit details, seen blocks.

A sealed blob is `TVS1`, a random 96-bit nonce and AES-256-GCM ciphertext with its tag; the associated data names the
place the blob belongs to, so that a blob moved elsewhere does not open. Records are not sealed here: they are Parquet
files.
"""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from trafficvault.errors import FaultError

KEY_BYTES = 32
_MAGIC = b"TVS1"
_NONCE_BYTES = 12


def new_key() -> bytes:
    """A random 256-bit key."""
    return os.urandom(KEY_BYTES)


def seal(key: bytes, plaintext: bytes, place: str) -> bytes:
    """Encrypts `plaintext` under `key` for `place`."""
    nonce = os.urandom(_NONCE_BYTES)
    return _MAGIC + nonce + AESGCM(key).encrypt(nonce, plaintext, place.encode())


def unseal(key: bytes, blob: bytes, place: str) -> bytes:
    """The plaintext of `blob`. Raises `FaultError` when it was changed, moved or sealed under another key."""
    if blob[: len(_MAGIC)] != _MAGIC:
        raise FaultError(f"opening {place}: it does not start as a sealed blob of this version does")
    nonce = blob[len(_MAGIC) : len(_MAGIC) + _NONCE_BYTES]
    try:
        return AESGCM(key).decrypt(nonce, blob[len(_MAGIC) + _NONCE_BYTES :], place.encode())
    except (InvalidTag, ValueError) as problem:
        raise FaultError(f"opening {place}: it was changed, moved or sealed under another key") from problem


def derive(key: bytes, *labels: str) -> bytes:
    """A 256-bit key derived from `key` for the purpose that `labels` name (HKDF-SHA256, RFC 5869, no salt)."""
    return HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=None, info="/".join(labels).encode()).derive(key)
