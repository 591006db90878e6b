"""Undoes the compression of a delivered file, within a limit.

What the file is, its first bytes say, never its name: gzip (RFC 1952, several members allowed) and Zstandard (RFC 8878)
are unpacked once, anything else is handed on as it is. Output is produced piece by piece, so a small file that would
unpack to terabytes costs no more than the limit.
"""

from __future__ import annotations

import zlib
from typing import Final

import pyarrow as pa

from ingest.errors import FileRefused

_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE: Final = b"\x2a\x4d\x18"
"""The end of the magic number of a frame that holds no data (RFC 8878 §3.1.2); some writers put one first."""
_PIECE: Final = 1 << 20
_GZIP_WINDOW: Final = 31
"""zlib's way to say: a gzip header and trailer, largest window."""


def unpack(data: bytes, limit: int) -> bytes:
    """The content of `data`, at most `limit` bytes.

    Raises `FileRefused` when it is over the limit, truncated, damaged, or followed by bytes that are not part of it.
    """
    if data.startswith(_GZIP):
        return _gunzip(data, limit)
    if data.startswith(_ZSTD) or (data[1:4] == _ZSTD_SKIPPABLE and 0x50 <= data[0] <= 0x5F):
        return _unzstd(data, limit)
    _require_within(len(data), limit)
    return data


def _require_within(size: int, limit: int) -> None:
    if size > limit:
        raise FileRefused(f"the file holds more than {limit} bytes; raise the limit or deliver it in parts")


def _gunzip(data: bytes, limit: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    member, rest = zlib.decompressobj(_GZIP_WINDOW), data
    while True:
        try:
            piece = member.decompress(rest, _PIECE)
        except zlib.error as problem:
            raise FileRefused("the file starts as gzip and is damaged; ask for it again") from problem
        pieces.append(piece)
        size += len(piece)
        _require_within(size, limit)
        if member.eof:
            rest = member.unused_data.lstrip(b"\x00")  # RFC 1952 has no padding; tape and block writers add it
            if not rest:
                return b"".join(pieces)
            if not rest.startswith(_GZIP):
                raise FileRefused("the file starts as gzip and goes on with bytes that are not gzip; ask for it again")
            member = zlib.decompressobj(_GZIP_WINDOW)
        else:
            rest = member.unconsumed_tail
            if not piece and not rest:
                raise FileRefused("the file starts as gzip and is truncated; ask for it again")


def _unzstd(data: bytes, limit: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    try:
        with pa.CompressedInputStream(pa.BufferReader(data), "zstd") as stream:
            while piece := stream.read(_PIECE):
                pieces.append(piece)
                size += len(piece)
                _require_within(size, limit)
    except OSError as problem:
        raise FileRefused("the file starts as zstd and is truncated or damaged; ask for it again") from problem
    return b"".join(pieces)
