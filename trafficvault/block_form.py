"""The form of a block file: which streams a column becomes, where they stand in a section, and what seals a section.

A block file holds the rows of one Parquet file in another order, and no truth: whatever is wrong with it, it is made
again. Its rows stand in blocks of `ROWS`, in the order of `order_key` and `start`; a block is one *section* per
category. What a section says by its mere existence is who had traffic there, so each is sealed under the key of `who`
as well as that of its own category. `FORMAT.md` describes the bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ingest.record import CATEGORIES, COLUMNS, SCHEMA, WHEN, WHERE, WHO, columns_of
from trafficvault import sealing
from trafficvault.errors import RefusedError
from trafficvault.sealed_parquet import Place

Whole = npt.NDArray[np.int64]
Bits = npt.NDArray[np.uint64]

VERSION = 1
MAGIC = b"TVB1"
SALT_BYTES = 16
TAG_BYTES = 16
ROWS = 1024
"""Rows per block; the last block of a file may have fewer."""
FIRST_KEY_BYTES = 24
"""As much of a block's first order key as the directory keeps."""

SECTION, POSTINGS, DIRECTORY = 0, 1, 2
"""Kinds of sealed things; part of the nonce and of the associated data."""
CELLS = "cells"
"""What the list of cells is sealed under, as if it were a category: the keys of all of `CELLS_TELL`."""
CELLS_TELL = (WHO, WHERE, WHEN)
CELL_COLUMNS = ("start_cell", "end_cell")
"""The columns in which a cell is found."""

HEAD = np.dtype([("rows", "<u4"), ("entries", "<u4")])
COLUMN = np.dtype(
    [
        ("base", "<i8"),
        ("pool", "<u2"),
        ("entries", "<u2"),
        ("least", "<u2"),
        ("tag_width", "u1"),
        ("width", "u1"),
        ("flags", "u1"),
        ("scale", "u1"),
    ]
)
NUMBERS, RELATIVE = 1, 2
"""Flags of a column: tag 1 is a number behind a prefix; its numbers are differences from those of `RELATIVES`."""
SCALES = (1, 1_000, 1_000_000, 60_000_000)
"""What the numbers of a column were divided by."""

TEXT, NUMBER, TRUTH, ADDRESS, NESTED = "text", "number", "truth", "address", "nested"

RELATIVES = {
    "record_id": "row",
    "a_raw": "a_number",
    "a_asserted": "a_number",
    "b_raw": "b_number",
    "dialled": "b_number",
    "c_raw": "c_number",
    "imei_raw": "imei",
    "port_to": "port_from",
    "answer": "start",
    "end": "start",
    "reported_at": "start",
}
"""Columns whose numbers may be kept as the difference from those of an earlier column of the same category."""
ORDER = (
    *("a_number", "b_number", "imsi", "user_name", "line", "mail_from", "public_ip", "access_ip", "subscriber"),
    *("session_id", "mac", "correlation_id"),
)
"""The columns whose first that is not null is the order key, where the next say no other."""
SERVED = {"b": "b_number", "c": "c_number"}
"""By whose record it is: the column that is the order key where it is not null, so that all records of one subscriber
stand together.
"""


def order_key(columns: Collection[str], *, by_served: bool = True) -> pl.Expr:
    """What the rows of a block file are ordered by, before `start`: text, never null, from the `columns` there are. In
    files of before it is not `by_served`.
    """
    there = [
        pl.col(name).bin.encode("hex") if kind_of(name) == ADDRESS else pl.col(name)
        for name in ORDER
        if name in columns
    ]
    served = [
        pl.when(pl.col("served") == party).then(pl.col(name))
        for party, name in SERVED.items()
        if by_served and name in columns and "served" in columns
    ]
    return pl.coalesce([*served, *there, pl.repeat("", pl.len())])


@cache
def kind_of(column: str) -> str:
    """How a column of the record is kept."""
    type_ = SCHEMA.field(column).type
    if pa.types.is_nested(type_):
        return NESTED
    if pa.types.is_fixed_size_binary(type_):
        return ADDRESS
    if pa.types.is_boolean(type_):
        return TRUTH
    return TEXT if pa.types.is_string(type_) else NUMBER


@cache
def form() -> str:
    """Names this form: its version, and which columns in which order a section has. Another form can't be read."""
    columns = ",".join(f"{column.name}:{column.category}:{column.type}" for column in COLUMNS)
    return f"blocks-{VERSION}/{hashlib.sha256(columns.encode()).hexdigest()[:16]}"


@cache
def names(category: str, record_class: str) -> tuple[str, ...]:
    """The columns of a section of `category`, in order: all that the record may have."""
    return columns_of(category, record_class)


def rounded(bits: int) -> int:
    """The width that a stream of numbers of `bits` bits has: whole bytes, then 1, 2 or 4 bits."""
    whole, rest = divmod(bits, 8)
    return whole * 8 + (0, 1, 2, 4, 4, 8, 8, 8)[rest]


def spread(packed: bytes, bits: int, count: int) -> bytes:
    """Numbers of 1, 2 or 4 bits as one byte each."""
    octets = np.frombuffer(packed, np.uint8)
    if bits == 1:
        return np.unpackbits(octets, count=count, bitorder="little").tobytes()
    parts = (octets[:, None] >> np.arange(0, 8, bits, dtype=np.uint8)) & np.uint8((1 << bits) - 1)
    return parts.reshape(-1)[:count].tobytes()


_CODEC = pa.Codec("zstd", compression_level=3)


@dataclass(frozen=True, slots=True)
class Seals:
    """Opens and closes the sealed things of one block file, as far as its categories are given."""

    _ciphers: Mapping[str, tuple[AESGCM, bytes]] = field(repr=False)
    """By category, with what is bound to all it seals."""

    @classmethod
    def of(cls, place: Place, file_keys: Mapping[str, bytes], salt: bytes) -> Seals:
        """From the file keys of the categories. The salt is random for each writing, so that no nonce comes twice
        when a file is made again. Raises `RefusedError` without the key of `who`.
        """
        if WHO not in file_keys:
            raise RefusedError(f"opening the blocks of {place}: its category {WHO} was not opened")
        who = file_keys[WHO]
        ciphers = {}
        for category in CATEGORIES:
            if category in file_keys:
                key = who if category == WHO else who + file_keys[category]
                cipher = AESGCM(sealing.derive(key, "blocks", place.file_id, category, salt.hex()))
                ciphers[category] = cipher, f"blocks {place} {category} ".encode()
        if all(category in file_keys for category in CELLS_TELL):
            keys = b"".join(file_keys[category] for category in CELLS_TELL)
            cipher = AESGCM(sealing.derive(keys, "blocks", place.file_id, CELLS, salt.hex()))
            ciphers[CELLS] = cipher, f"blocks {place} {CELLS} ".encode()
        return cls(ciphers)

    @property
    def categories(self) -> Collection[str]:
        """The categories that are open."""
        return [name for name in CATEGORIES if name in self._ciphers]

    @property
    def cells(self) -> bool:
        """Whether all is open that the list of cells tells of, and so that list."""
        return CELLS in self._ciphers

    def seal(self, category: str, kind: int, index: int, content: bytes) -> bytes:
        """Ciphertext and tag of the thing of that kind and number."""
        cipher, bound = self._ciphers[category]
        nonce = _nonce(kind, index)
        return cipher.encrypt(nonce, content, bound + nonce)

    def unseal(self, category: str, kind: int, index: int, content: bytes | memoryview) -> bytes:
        """The inverse. Raises `InvalidTag`."""
        cipher, bound = self._ciphers[category]
        nonce = (kind << 64 | index).to_bytes(12, "big")  # as `_nonce`: a lookup opens thousands
        return cipher.decrypt(nonce, content, bound + nonce)


def _nonce(kind: int, index: int) -> bytes:
    return (kind << 64 | index).to_bytes(12, "big")


def packed(content: bytes) -> bytes:
    """A section's content, compressed: its length in four bytes, then a zstd frame."""
    return len(content).to_bytes(4, "little") + bytes(_CODEC.compress(content, asbytes=True))


def unpacked(contents: Sequence[bytes]) -> tuple[bytes, list[int]]:
    """The inverse of `packed` for many at once: what they hold, one behind the other, and the length of each."""
    lengths = [int.from_bytes(content[:4], "little") for content in contents]
    # Frames one behind the other are one stream (RFC 8878), and a call costs more than a section.
    frames = b"".join([content[4:] for content in contents])
    return bytes(_CODEC.decompress(frames, sum(lengths), asbytes=True)) if contents else b"", lengths


@cache
def of_nulls(rows: int, columns: int) -> bytes:
    """A section whose columns are all null, as `packed` makes it: such a section is not written."""
    return packed(np.array([(rows, 0)], HEAD).tobytes() + bytes(columns * COLUMN.itemsize))
