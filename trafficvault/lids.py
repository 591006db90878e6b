"""Lids: one sealed thing of a copy each, and whether a key opens it. What is in it is looked at by nobody.

A lid is tried with every key of a pool, by their ids, and not only with the key that the thing names or should have.
A record file has one on its footer, without which not even the ids of the other keys can be read; a block file on its
directory, which `who` alone opens; a seen block takes three keys of a day together; of what is sealed as a stream the
first piece is tried. Where a category has ended before its day, its columns and sections have lids of their own.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
from cryptography.exceptions import InvalidTag

from ingest.record import CATEGORIES, HOW_MUCH, WHEN, WHO, category_of
from trafficvault import block_directory, sealing
from trafficvault.block_form import DIRECTORY, MAGIC, SALT_BYTES, SECTION, Seals
from trafficvault.errors import FaultError, RefusedError, VaultError
from trafficvault.sealed_parquet import Place
from trafficvault.sealing import Piece

Pool = Mapping[str, bytes]
"""Keys by their ids."""
Test = Callable[[bytes], bool]

_MAGIC: Final = b"PARE"
_MOST_FOOTER: Final = 64 * 2**20
_MATERIAL: Final = re.compile(rb'\{"keyMaterialType":[^{}]*\}')
_NONCE_BYTES: Final = 12
_TRAILER: Final = SALT_BYTES + 4 + len(MAGIC)
_WHO_KEY: Final = re.compile(rf"(.*/){WHO}((?:/g[0-9]+)?)")


@dataclass(frozen=True, slots=True)
class Lid:
    """What one key opens by itself: `test` says whether a key does."""

    test: Test

    def opened_by(self, pool: Pool, first: Iterable[str] = ()) -> str | None:
        """The id of a key of `pool` that opens it, `first` those named; None when none does."""
        tries = (*(name for name in first if name in pool), *pool)
        return next((name for name in tries if self.test(pool[name])), None)


@dataclass(frozen=True, slots=True)
class DayLid(Lid):
    """What takes the keys of `who`, `when` and `how_much` of one day together: tried day by day. Named is `who`."""

    def opened_by(self, pool: Pool, first: Iterable[str] = ()) -> str | None:
        """As of `Lid`."""
        for name in (*(one for one in first if one in pool), *pool):
            match = _WHO_KEY.fullmatch(name)
            names = [f"{match[1]}{category}{match[2]}" for category in (WHO, WHEN, HOW_MUCH)] if match else []
            if match and all(one in pool for one in names) and self.test(b"".join(pool[one] for one in names)):
                return name
        return None


SHUT: Final = Lid(lambda key: False)
"""Of a file that ends before its own keys were written into it: nothing opens it, for they are nowhere."""


def on_piece(piece: Piece) -> Lid:
    """The lid of what is sealed under one key of the ring."""
    return Lid(piece.opens)


def on_derived(piece: Piece, *labels: str) -> Lid:
    """The lid of what is sealed under a key that is derived from one of the ring."""
    return Lid(lambda key: piece.opens(sealing.derive(key, *labels)))


def on_seen(path: Path, place: Place) -> Lid:
    """The lid of a seen block. Raises `FaultError` when it is none, and `OSError`."""
    piece = sealing.first_piece(path, f"seen {place}")
    return DayLid(lambda keys: piece.opens(sealing.derive(keys, "seen", place.file_id)))


def on_records(path: Path, place: Place) -> Lid:
    """The lid of a record file's footer. Raises `FaultError` for a file of another form: nothing can be said of it."""
    return _on_wrapped(_footers(path), place)


def on_columns(path: Path, place: Place, frame: bytes, category: str) -> list[Lid]:
    """The lids of the columns of `category` in a file whose day key of `frame` is that. Raises `FaultError`."""
    frame = sealing.derive(frame, "file", place.file_id)
    listener = _Listener(dict(_footers(path)), frame)
    factory = pe.CryptoFactory(lambda _: listener)
    properties = factory.file_decryption_properties(pe.KmsConnectionConfig(), pe.DecryptionConfiguration())
    try:
        with pq.ParquetFile(path, decryption_properties=properties) as file:
            names = [one for one in file.schema_arrow.names if category_of(one, place.record_class) == category]
            for name in names:
                # It asks for the column's key and gets none; that it asked is all that is wanted. No threads: on one of
                # Arrow's a callback may end the process.
                with contextlib.suppress(VaultError, pa.ArrowException, OSError, StopIteration):
                    next(file.iter_batches(batch_size=1, row_groups=[0], columns=[name], use_threads=False))
    except (pa.ArrowException, OSError, KeyError) as problem:
        raise FaultError(f"reading {path.name}: its footer opens and is damaged") from problem
    if len(listener.asked) < len(names):
        raise FaultError(f"reading {path.name}: of a column of category {category} no key is named")
    return [_on_wrapped([one], place) for one in listener.asked.items()]


def on_blocks(path: Path, place: Place) -> Lid:
    """The lid of a block file's directory. Raises `FaultError` for a file of another form."""
    salt, directory, _ = _directory(path)

    def test(key: bytes) -> bool:
        return _unsealed(_seals(place, salt, {WHO: key}), WHO, DIRECTORY, 0, directory) is not None

    return Lid(test)


def on_section(path: Path, place: Place, who: bytes, category: str) -> list[Lid]:
    """The lid of the first section of `category` in a block file whose day key of `who` is that; none where it has no
    such section. Raises `FaultError` for a form of which it can't be told where a section begins.
    """
    salt, sealed, begin = _directory(path)
    content = _unsealed(_seals(place, salt, {WHO: who}), WHO, DIRECTORY, 0, sealed)
    try:
        ends = block_directory.parse(content or b"", begin).ends.tolist()
    except (ValueError, KeyError) as problem:
        raise FaultError(f"reading {path.name}: its directory opens and is of another form") from problem
    width, at = len(CATEGORIES), CATEGORIES.index(category)
    spans = [(number // width, ends[number], ends[number + 1]) for number in range(at, len(ends) - 1, width)]
    first = next((span for span in spans if span[2] > span[1]), None)
    if first is None:
        return []
    block, section = first[0], _slice(path, first[1], first[2])

    def test(key: bytes) -> bool:
        seals = _seals(place, salt, {WHO: who, category: key})
        return _unsealed(seals, category, SECTION, block, section) is not None

    return [Lid(test)]


class _Listener(pe.KmsClient):  # type: ignore[misc]  # pyarrow has no annotations
    """Opens the footer of one file, and notes what else it is asked to."""

    def __init__(self, footers: Mapping[str, bytes], frame: bytes) -> None:
        super().__init__()
        self._footers, self._frame = footers, frame
        self.asked: dict[str, bytes] = {}

    def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> bytes:
        """Refused: a copy is looked at, and nothing is sealed for it."""
        raise RefusedError(f"sealing under {master_key_identifier}: a copy is only read")

    def unwrap_key(self, wrapped_key: bytes, master_key_identifier: str) -> bytes:
        """The data key of the footer; of anything else it raises `RefusedError` and keeps what it was shown."""
        if master_key_identifier not in self._footers:
            self.asked[master_key_identifier] = base64.b64decode(wrapped_key)
            raise RefusedError(f"opening {master_key_identifier}: only looked at")
        wrapped = self._footers[master_key_identifier]
        return Piece(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], master_key_identifier.encode()).open(self._frame)


def _on_wrapped(wrapped: Iterable[tuple[str, bytes]], place: Place) -> Lid:
    pieces = [Piece(one[:_NONCE_BYTES], one[_NONCE_BYTES:], key_id.encode()) for key_id, one in wrapped]

    def test(key: bytes) -> bool:
        file_key = sealing.derive(key, "file", place.file_id)
        return any(piece.opens(file_key) for piece in pieces)

    return Lid(test)


def _footers(path: Path) -> Sequence[tuple[str, bytes]]:
    """Key id and wrapped data key of the footer, as they stand in clear at the end of the file (FORMAT.md, Records)."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 8))
        end = file.read()
        length = int.from_bytes(end[:4], "little")
        if end[4:] != _MAGIC or not 0 < length <= min(size, _MOST_FOOTER):
            raise FaultError(f"reading {path.name}: it is no Parquet file with an encrypted footer, or was cut")
        file.seek(size - 8 - length)
        content = file.read(length)
    named = _MATERIAL.findall(content)
    if not named:
        raise FaultError(f"reading {path.name}: it names no key")
    try:
        found = [json.loads(one) for one in named]
        return [(str(one["masterKeyID"]), base64.b64decode(one["wrappedDEK"], validate=True)) for one in found]
    except (KeyError, TypeError, ValueError) as problem:
        raise FaultError(f"reading {path.name}: the key it names is not of its form") from problem


def _directory(path: Path) -> tuple[bytes, bytes, int]:
    """Salt and sealed directory of a block file, and where the directory begins (FORMAT.md, Block files)."""
    size = path.stat().st_size
    tail = _slice(path, max(0, size - _TRAILER), size)
    length = int.from_bytes(tail[SALT_BYTES : -len(MAGIC)], "little")
    if len(tail) < _TRAILER or not tail.endswith(MAGIC) or length > size - _TRAILER:
        raise FaultError(f"reading {path.name}: it does not end as a block file does, or was cut")
    begin = size - _TRAILER - length
    return tail[:SALT_BYTES], _slice(path, begin, begin + length), begin


def _slice(path: Path, start: int, stop: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(stop - start)


def _seals(place: Place, salt: bytes, day_keys: Mapping[str, bytes]) -> Seals:
    return Seals.of(place, {name: sealing.derive(key, "file", place.file_id) for name, key in day_keys.items()}, salt)


def _unsealed(seals: Seals, category: str, kind: int, index: int, content: bytes) -> bytes | None:
    try:
        return seals.unseal(category, kind, index, content)
    except InvalidTag:
        return None
