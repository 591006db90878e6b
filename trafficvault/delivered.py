"""A delivered file: its bytes, where they lie, and whether they are still the same ones."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from trafficvault.errors import RefusedError


@dataclass(frozen=True, slots=True)
class Delivered:
    """A file at `path`, or `data` that came otherwise. Its repr shows no byte."""

    path: Path | None = None
    data: bytes = field(default=b"", repr=False)

    def open(self) -> BinaryIO:
        """Opens it for reading from its start."""
        # Unbuffered: it is read in large pieces, and a mapped file would count as memory.
        return io.BytesIO(self.data) if self.path is None else self.path.open("rb", buffering=0)

    @property
    def size(self) -> int:
        """Its size in bytes, packed as it came."""
        return len(self.data) if self.path is None else self.path.stat().st_size

    def sha256(self) -> str:
        """The SHA-256 of its bytes, as hex."""
        if self.path is None:
            return hashlib.sha256(self.data).hexdigest()
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def mark(self) -> tuple[int, ...]:
        """What changes when somebody writes to the file."""
        if self.path is None:
            return ()
        stat = self.path.stat()
        return stat.st_ino, stat.st_size, stat.st_mtime_ns

    def require_same(self, mark: tuple[int, ...]) -> None:
        """Returns when the file is as it was at `mark`; else what was read of it is not what its digest is of."""
        if self.mark() != mark:
            raise RefusedError(
                "receiving a file: it was changed while it was read; nothing was stored; ingest it again when its "
                "sender has finished it"
            )
