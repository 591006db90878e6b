"""A delivered file: its bytes, where they lie, and whether they are still the same ones."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from trafficvault.errors import RefusedError

_PIECE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Delivered:
    """A file at `path`, or `data` that came otherwise, or `length` bytes from `opener`. Its repr shows no byte."""

    path: Path | None = None
    data: bytes = field(default=b"", repr=False)
    opener: Callable[[], BinaryIO] | None = field(default=None, repr=False)
    length: int = 0

    def open(self) -> BinaryIO:
        """Opens it for reading from its start."""
        if self.opener is not None:
            return self.opener()
        # Unbuffered: it is read in large pieces, and a mapped file would count as memory.
        return io.BytesIO(self.data) if self.path is None else self.path.open("rb", buffering=0)

    @property
    def size(self) -> int:
        """Its size in bytes, packed as it came."""
        if self.opener is not None:
            return self.length
        return len(self.data) if self.path is None else self.path.stat().st_size

    def sha256(self) -> str:
        """The SHA-256 of its bytes, as hex."""
        if self.path is None and self.opener is None:
            return hashlib.sha256(self.data).hexdigest()
        with self.open() as file:
            found = hashlib.sha256()
            while piece := file.read(_PIECE):
                found.update(piece)
            return found.hexdigest()

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
