"""Unpacking: what the first bytes say, whole or refused, never more than the limit."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.errors import FileRefused
from ingest.unpack import unpack
from tests.thorough import as_many

LIMIT = 1 << 26
SKIPPABLE = b"\x50\x2a\x4d\x18\x04\x00\x00\x00void"


def zstd(data: bytes) -> bytes:
    """One Zstandard frame that holds `data`."""
    return bytes(pa.Codec("zstd").compress(data).to_pybytes())


@given(st.binary(max_size=3000))
@settings(max_examples=as_many(25), deadline=None)
def test_inverse_of_gzip_and_zstd(data: bytes) -> None:
    """What was packed by gzip or zstd comes back octet by octet."""
    assert unpack(gzip.compress(data), LIMIT) == data
    assert unpack(zstd(data), LIMIT) == data


@pytest.mark.parametrize("data", [b"", b"a", b"a|b\n", b"\x1f", b"\x28\xb5", b"PK\x03\x04"])
def test_anything_else_is_handed_on(data: bytes) -> None:
    """A file that is not packed comes back as it is."""
    assert unpack(data, LIMIT) == data


def test_several_members() -> None:
    """Gzip members and zstd frames that follow one another are one file, filling between and empty frames apart."""
    assert (
        unpack(gzip.compress(b"one ") + gzip.compress(b"") + b"\x00\x00" + gzip.compress(b"two"), LIMIT) == b"one two"
    )
    assert unpack(gzip.compress(b"one") + bytes(512), LIMIT) == b"one"
    assert unpack(zstd(b"one ") + zstd(b"two"), LIMIT) == b"one two"
    assert unpack(SKIPPABLE + zstd(b"one"), LIMIT) == b"one"


@pytest.mark.parametrize("pack", [gzip.compress, zstd], ids=["gzip", "zstd"])
def test_cut_anywhere(pack: Callable[[bytes], bytes]) -> None:
    """A packed file that was cut at any byte behind its magic number is refused."""
    packed = pack(b"31612345678|31201234567\n" * 40)
    for size in range(4, len(packed)):
        with pytest.raises(FileRefused, match=r"truncated|damaged"):
            unpack(packed[:size], LIMIT)


def test_damaged() -> None:
    """A wrong checksum, a wrong block and bytes behind the end are refused."""
    packed = bytearray(gzip.compress(b"abc" * 100))
    packed[-6] ^= 1
    with pytest.raises(FileRefused, match="damaged"):
        unpack(bytes(packed), LIMIT)
    with pytest.raises(FileRefused, match="not gzip"):
        unpack(gzip.compress(b"abc") + b"more", LIMIT)
    with pytest.raises(FileRefused, match="damaged"):
        unpack(zstd(b"abc") + b"more", LIMIT)


def test_several_pieces_and_members_at_the_edge() -> None:
    """A member larger than one piece comes back whole."""
    data = bytes(range(1, 251)) * 20000
    assert unpack(gzip.compress(data, 1) + gzip.compress(b"end"), LIMIT) == data + b"end"
    assert unpack(zstd(data), LIMIT) == data


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd], ids=["plain", "gzip", "zstd"])
def test_limit(pack: Callable[[bytes], bytes]) -> None:
    """A file of exactly the limit passes, one byte more is refused."""
    assert len(unpack(pack(b"x" * 5000), 5000)) == 5000
    with pytest.raises(FileRefused, match="more than 4999 bytes"):
        unpack(pack(b"x" * 5000), 4999)


def test_bomb_costs_no_more_than_the_limit() -> None:
    """A small file that would unpack to half a gigabyte is refused at the limit."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(512)) + packer.flush()
    with pytest.raises(FileRefused, match="more than 1000000 bytes"):
        unpack(bomb, 1_000_000)
