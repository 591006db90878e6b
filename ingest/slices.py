"""Cuts a delivered file into slices of whole lines, so that a file of any size is read in the memory of a few slices.

The file is read in order, once, and unpacked on the way. A slice ends with a line end; only the last one may lack it. A
line that is longer than a slice makes its slice longer, up to a bound.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from ingest.errors import FileRefused
from ingest.unpack import Read, unpacked

SIZE: Final = 1 << 24
LONGEST: Final = 1 << 26
"""Bytes of a line, with the lines before it in its slice, that are taken in at most."""
_LF: Final = 0x0A


@dataclass(frozen=True, slots=True)
class Slice:
    """Whole lines of a file: `first_row` units stand before them. Its repr shows no byte.

    `number` counts the slices from 0, and `last` tells whether the file ends here.
    """

    data: bytes = field(repr=False)
    first_row: int
    number: int
    last: bool


def slices(read: Read, limit: int, size: int = SIZE, longest: int = LONGEST) -> Iterator[Slice]:
    """The slices of the file that `read` reads, each of about `size` bytes; at least one, if only of no bytes.

    Raises `FileRefused` for what can't be unpacked, for more than `limit` unpacked bytes, and for a line that makes a
    slice longer than `longest`.
    """
    content = unpacked(read, limit)
    rest, row, number = b"", 0, 0
    while True:
        data, ended = _filled(content, rest, size)
        # Never at the very end, so that what ends the file is never an empty slice.
        cut = len(data) if ended else data.rfind(b"\n", 0, len(data) - 1) + 1
        while not cut and not ended:
            if len(data) > longest:
                raise FileRefused(
                    f"row {row + 1} holds more than {longest} bytes: it is no row of this feed; correct the file"
                )
            data, ended = _filled(content, data, 2 * len(data))
            cut = len(data) if ended else data.rfind(b"\n", 0, len(data) - 1) + 1
        rest = data[cut:]
        part = data if cut == len(data) else data[:cut]
        del data
        yield Slice(part, row, number, last=ended)
        if ended:
            return
        row += int(np.count_nonzero(np.frombuffer(part, np.uint8) == _LF))
        number += 1


def _filled(content: Read, start: bytes, size: int) -> tuple[bytes, bool]:
    """`start` and what follows it, more than `size` bytes; or all there is, and true."""
    pieces, length = [start], len(start)
    while length <= size:
        piece = content(size + 1 - length)
        if not piece:
            return b"".join(pieces), True
        pieces.append(piece)
        length += len(piece)
    return b"".join(pieces), False
