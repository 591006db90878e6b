"""A package with an invented answer, and who signs it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from trafficvault import delivery, signing
from trafficvault.durable import Disk

KEY = bytes(range(32))
PUBLIC = signing.public_key_of(KEY)
NOON = datetime(2026, 6, 10, 12, 0, 0, 250_000, tzinfo=UTC)
V4 = bytes(10) + b"\xff\xff" + bytes([192, 0, 2, 1])
V6 = bytes.fromhex("20010db8000000000000000000000001")


def sign(message: bytes) -> str:
    """The vault's signature."""
    return signing.sign(KEY, message)


def table(*numbers: str | None) -> pa.Table:
    """Rows as a question gives them: addresses as bytes, times, lists, booleans."""
    count = len(numbers)
    return pa.table(
        {
            "a_number": pa.array(numbers, pa.string()),
            "start": pa.array([NOON] * count, pa.timestamp("us", tz="UTC")),
            "day": pa.array([NOON.date()] * count, pa.date32()),
            "public_ip": pa.array([V4, V6, None][:count] + [None] * max(0, count - 3), pa.binary()),
            "mail_to": pa.array([["x@m.example", 'y"@m.example']] * count, pa.list_(pa.string())),
            "other_parties": pa.array([[{"role": "x", "number": "+31"}]] * count),
            "targets": pa.array([[1, 2]] * count, pa.list_(pa.int32())),
            "emergency": pa.array([None] * count, pa.bool_()),
            "duration_ms": pa.array([2**60] * count, pa.int64()),
        }
    )


class Sealed:
    """Keeps what `on_sealed` was told, and whether the package could be seen then."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.told: list[tuple[str, int]] = []
        self.visible = False

    def __call__(self, digest: str, rows: int) -> None:
        """Notes it."""
        self.visible = self.directory.exists()
        self.told.append((digest, rows))


def write(directory: Path, tables: Any, manifest: dict[str, Any] | None = None, disk: Disk | None = None) -> Sealed:
    """Writes a package."""
    sealed = Sealed(directory)
    delivery.write_package(
        disk or Disk(),
        directory,
        tables,
        {"kind": "package", "v": 1} if manifest is None else manifest,
        sign,
        PUBLIC,
        sealed,
    )
    return sealed
