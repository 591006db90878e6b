"""Authenticated encryption of small things: ring, warrants, rejections, audit details, seen blocks.

A sealed blob is `TVS1`, a random 96-bit nonce and AES-256-GCM ciphertext with its tag; the associated data names the
place the blob belongs to, so that a blob moved elsewhere does not open. Records are not sealed here: they are Parquet
files.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from trafficvault.errors import FaultError

KEY_BYTES = 32
_MAGIC = b"TVS1"
_NONCE_BYTES = 12
_STREAM_MAGIC = b"TVS2"
CHUNK = 1 << 20
"""Bytes of plaintext that a sealed stream seals at once."""
_TAG_BYTES = 16
MARK = _TAG_BYTES
"""Bytes at the end of a sealed chunk that stand for all of it: its tag."""
_SEALED_CHUNK = _NONCE_BYTES + CHUNK + _TAG_BYTES


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


@dataclass(frozen=True, slots=True)
class Piece:
    """What a sealed thing begins with, as far as one key opens it by itself: the whole of a blob, a stream's first
    chunk.
    """

    nonce: bytes = field(repr=False)
    content: bytes = field(repr=False)
    bound: bytes

    def opens(self, key: bytes) -> bool:
        """Whether it was sealed under `key` for its place. What is in it is dropped."""
        try:
            self.open(key)
        except (InvalidTag, ValueError):
            return False
        return True

    def open(self, key: bytes) -> bytes:
        """What is in it. Raises `InvalidTag` or `ValueError` when `key` does not open it."""
        return AESGCM(key).decrypt(self.nonce, self.content, self.bound)


def piece_of(blob: bytes, place: str) -> Piece:
    """The sealed `blob` as a piece. Raises `FaultError` when it does not start as one."""
    if blob[: len(_MAGIC)] != _MAGIC:
        raise FaultError(f"opening {place}: it does not start as a sealed blob of this version does")
    return Piece(blob[len(_MAGIC) : len(_MAGIC) + _NONCE_BYTES], blob[len(_MAGIC) + _NONCE_BYTES :], place.encode())


def first_piece(path: Path, place: str) -> Piece:
    """The first piece of the sealed file at `path`, of either form; the end of a stream may have been cut off.

    Raises `FaultError` when it does not start as a sealed file, and `OSError`.
    """
    with path.open("rb") as file:
        if file.read(len(_STREAM_MAGIC)) != _STREAM_MAGIC:
            file.seek(0)
            return piece_of(file.read(), place)
        chunk = file.read(_SEALED_CHUNK)
    bound = _chunk_place(place, 0, len(chunk) < _SEALED_CHUNK)
    return Piece(chunk[:_NONCE_BYTES], chunk[_NONCE_BYTES:], bound)


def derive(key: bytes, *labels: str) -> bytes:
    """A 256-bit key derived from `key` for the purpose that `labels` name (HKDF-SHA256, RFC 5869, no salt)."""
    return HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=None, info="/".join(labels).encode()).derive(key)


class StreamWriter:
    """Seals what is written to it, piece by piece, into `sink`, so that it is never whole in memory.

    The form is `TVS2`, then chunks of 1 MiB, the last one of less: a random 96-bit nonce and AES-256-GCM ciphertext
    with its tag each. The associated data are the place, the chunk's number from 0, and for the last one the word
    `last`: no chunk can be left out, exchanged or added, nor the end be cut off, unseen. Without `close` there is no
    end, and nothing opens it.
    """

    def __init__(self, key: bytes, sink: BinaryIO, place: str) -> None:
        self._cipher, self._sink, self._place = AESGCM(key), sink, place
        self._pending = bytearray()
        self._number = 0
        self.closed = False
        sink.write(_STREAM_MAGIC)

    def write(self, plaintext: bytes) -> int:
        """Adds `plaintext`."""
        content = memoryview(plaintext).cast("B")
        if not self._pending and len(content) == CHUNK:
            self._seal(content, last=False)  # as it is: a file that is sealed in such pieces is not copied
            return len(content)
        self._pending += content
        while len(self._pending) >= CHUNK:
            self._seal(bytes(self._pending[:CHUNK]), last=False)
            del self._pending[:CHUNK]
        return len(content)

    def close(self) -> None:
        """Seals the end. The sink stays open."""
        if not self.closed:
            self._seal(bytes(self._pending), last=True)
            self.closed = True

    def _seal(self, content: bytes | memoryview, *, last: bool) -> None:
        nonce = os.urandom(_NONCE_BYTES)
        self._sink.write(nonce)
        self._sink.write(self._cipher.encrypt(nonce, content, _chunk_place(self._place, self._number, last)))
        self._number += 1


class _StreamReader(io.RawIOBase):
    """Unseals a file of `StreamWriter`, one chunk after the other."""

    def __init__(self, key: bytes, file: BinaryIO, size: int, place: str) -> None:
        self._cipher, self._file, self._size, self._named = AESGCM(key), file, size, place
        self._pending, self._number, self._given = memoryview(b""), 0, 0

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._given

    def readinto(self, target: Any) -> int:
        view = memoryview(target).cast("B")
        while not self._pending and self._file.tell() < self._size:
            self._pending = memoryview(self._next())
        count = min(len(view), len(self._pending))
        view[:count] = self._pending[:count]
        self._pending = self._pending[count:]
        self._given += count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()

    def _next(self) -> bytes:
        chunk = self._file.read(_SEALED_CHUNK)
        named = _chunk_place(self._named, self._number, self._file.tell() >= self._size)
        self._number += 1
        try:
            return self._cipher.decrypt(chunk[:_NONCE_BYTES], chunk[_NONCE_BYTES:], named)
        except (InvalidTag, ValueError) as problem:
            raise FaultError(f"opening {self._named}: it was changed, moved or sealed under another key") from problem


def open_stream(key: bytes, path: Path, place: str) -> BinaryIO:
    """Opens the sealed stream at `path` for reading its plaintext in order, in the memory of a chunk or two.

    What is not as it was sealed raises `FaultError` when it is reached; `OSError` as `open`.
    """
    file = path.open("rb")
    size = path.stat().st_size
    if file.read(len(_STREAM_MAGIC)) != _STREAM_MAGIC or size <= len(_STREAM_MAGIC):
        file.close()
        raise FaultError(f"opening {place}: it does not start as a sealed stream of this version does")
    return io.BufferedReader(_StreamReader(key, file, size, place), CHUNK)


def stream_marks(path: Path) -> Iterator[bytes]:
    """What a sealed stream wrote, piece by piece, of each the last `MARK` bytes: its head, each nonce, each tag."""
    with path.open("rb") as file:
        end = path.stat().st_size
        yield file.read(len(_STREAM_MAGIC))
        while file.tell() < end:
            yield file.read(_NONCE_BYTES)
            rest = min(end - file.tell(), CHUNK + _TAG_BYTES)
            file.seek(max(rest - MARK, 0), os.SEEK_CUR)
            yield file.read(min(rest, MARK))


def stream_length(sealed_bytes: int) -> int:
    """How many bytes of plaintext a sealed stream of `sealed_bytes` holds."""
    content = sealed_bytes - len(_STREAM_MAGIC)
    return content - -(-content // _SEALED_CHUNK) * (_SEALED_CHUNK - CHUNK)


def unseal_file(key: bytes, path: Path, place: str) -> bytes:
    """The plaintext of the sealed file at `path`, of either form. Raises `FaultError` as `unseal`, and `OSError`."""
    blob = path.read_bytes()
    if blob[: len(_STREAM_MAGIC)] != _STREAM_MAGIC:
        return unseal(key, blob, place)
    cipher, size = AESGCM(key), _SEALED_CHUNK
    starts = range(len(_STREAM_MAGIC), max(len(blob), len(_STREAM_MAGIC) + 1), size)
    try:
        pieces = []
        for number, start in enumerate(starts):
            chunk = blob[start : start + size]
            named = _chunk_place(place, number, start + size >= len(blob))
            pieces.append(cipher.decrypt(chunk[:_NONCE_BYTES], chunk[_NONCE_BYTES:], named))
        return b"".join(pieces)
    except (InvalidTag, ValueError) as problem:
        raise FaultError(f"opening {place}: it was changed, moved or sealed under another key") from problem


def _chunk_place(place: str, number: int, last: bool) -> bytes:
    return f"{place} {number}{' last' if last else ''}".encode()
