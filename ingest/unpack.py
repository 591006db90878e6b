"""Undoes the compression of a delivered file, within a limit.

What the file is, its first bytes say, never its name: gzip (RFC 1952, several members allowed) and Zstandard (RFC 8878)
are unpacked once, anything else is handed on as it is. Output is produced piece by piece, so a small file that would
unpack to terabytes costs no more than the limit, and a large one no more memory than a piece.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from typing import Final

import pyarrow as pa

from ingest.errors import FileRefused

Read = Callable[[int], bytes]
"""Reads on from where the last call ended: at most so many bytes, none only at the end. As `BinaryIO.read` does."""

_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE: Final = b"\x2a\x4d\x18"
"""The end of the magic number of a frame that holds no data (RFC 8878 §3.1.2); some writers put one first."""
PACKED_START: Final = 4
"""So many bytes of a file tell whether it is packed."""
_PIECE: Final = 1 << 20
_GZIP_WINDOW: Final = 31
"""zlib's way to say: a gzip header and trailer, largest window."""


def unpack(data: bytes, limit: int) -> bytes:
    """The content of `data`, at most `limit` bytes.

    Raises `FileRefused` when it is over the limit, truncated, damaged, or followed by bytes that are not part of it.
    """
    if not is_packed(data):
        require_within(len(data), limit)
        return data
    read = unpacked(io.BytesIO(data).read, limit)
    return b"".join(iter(lambda: read(_PIECE), b""))


def is_packed(start: bytes) -> bool:
    """Whether a file that begins with `start` (`PACKED_START` bytes are enough) is packed."""
    return start.startswith((_GZIP, _ZSTD)) or (start[1:4] == _ZSTD_SKIPPABLE and 0x50 <= start[0] <= 0x5F)


def unpacked(read: Read, limit: int) -> Read:
    """As `read`, of the content of the file that `read` reads. What it returns raises as `unpack` does, when it comes
    there: what was read before is then worth nothing.
    """
    start = _filled(read, PACKED_START)
    source = _Joined(start, read)
    if start.startswith(_GZIP):
        content: Read = _Gunzip(source.read).read
    elif is_packed(start):
        content = _Unzstd(source).read
    else:
        content = source.read
    return within(content, limit)


def within(content: Read, limit: int, passed: int = 0) -> Read:
    """As `content`, of which `passed` bytes were read before; raises `FileRefused` behind `limit` bytes."""
    require_within(passed, limit)

    def read(size: int) -> bytes:
        nonlocal passed
        piece = content(size)
        passed += len(piece)
        require_within(passed, limit)
        return piece

    return read


def _filled(read: Read, size: int) -> bytes:
    found = b""
    while len(found) < size and (piece := read(size - len(found))):
        found += piece
    return found


def require_within(size: int, limit: int) -> None:
    """Returns when a file of `size` bytes, unpacked, may be taken in; else raises `FileRefused`."""
    if size > limit:
        raise FileRefused(f"the file holds more than {limit} bytes; raise the limit or deliver it in parts")


class _Joined(io.RawIOBase):
    """`start`, then what `read` reads; a file object, because pyarrow wants one."""

    def __init__(self, start: bytes, read: Read) -> None:
        self._start, self._read = start, read

    def readable(self) -> bool:
        """It is."""
        return True

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes."""
        if not self._start:
            return self._read(size)
        piece, self._start = self._start[:size], self._start[size:]
        return piece + self._read(size - len(piece)) if len(piece) < size else piece


class _Gunzip:
    """Gzip members, one after the other."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._member = zlib.decompressobj(_GZIP_WINDOW)
        self._rest = b""

    def read(self, size: int) -> bytes:
        """At most `size` bytes of the content."""
        while True:
            if self._member.eof and not self._next_member():
                return b""
            self._rest = self._rest or self._read(_PIECE)
            ended = not self._rest
            try:
                piece = self._member.decompress(self._rest, size)
            except zlib.error as problem:
                raise FileRefused("the file starts as gzip and is damaged; ask for it again") from problem
            self._rest = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            if piece:
                return piece
            if ended and not self._member.eof:
                raise FileRefused("the file starts as gzip and is truncated; ask for it again")

    def _next_member(self) -> bool:
        """Whether another member follows. RFC 1952 has no padding; tape and block writers add zero bytes."""
        self._rest = self._rest.lstrip(b"\x00")
        while not self._rest:
            more = self._read(_PIECE)
            if not more:
                return False
            self._rest = more.lstrip(b"\x00")
        if len(self._rest) < len(_GZIP):
            self._rest += self._read(_PIECE)
        if not self._rest.startswith(_GZIP):
            raise FileRefused("the file starts as gzip and goes on with bytes that are not gzip; ask for it again")
        self._member = zlib.decompressobj(_GZIP_WINDOW)
        return True


class _Unzstd:
    """Zstandard frames, one after the other."""

    def __init__(self, source: _Joined) -> None:
        self._stream = pa.CompressedInputStream(pa.PythonFile(source, mode="r"), "zstd")

    def read(self, size: int) -> bytes:
        """At most `size` bytes of the content."""
        try:
            return bytes(self._stream.read(size))
        except OSError as problem:
            raise FileRefused("the file starts as zstd and is truncated or damaged; ask for it again") from problem
