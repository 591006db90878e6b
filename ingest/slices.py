"""Cuts a delivered file into slices of whole lines, so that a file of any size is read in the memory of a few slices.

The file is read in order, once, and unpacked on the way. A slice ends with a line end; only the last one may lack it. A
line that is longer than a slice makes its slice longer, up to a bound.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Final

import numpy as np

from ingest.errors import FileRefused
from ingest.unpack import PACKED_START, Read, is_packed, require_within, unpacked, within

SIZE: Final = 1 << 24
LONGEST: Final = 1 << 26
"""Bytes of a line, with the lines before it in its slice, that are taken in at most."""
_LF: Final = 0x0A
_NEAR: Final = 1 << 16
"""Bytes before the end of a slice in which the last line end is looked for."""
_PIECE: Final = 1 << 20
"""Bytes looked at together: they stay in the processor's cache."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Whole lines of a file: `first_row` units stand before them. Its repr shows no byte.

    `number` counts the slices from 0, and `last` tells whether the file ends here.
    """

    data: bytes = field(repr=False)
    first_row: int
    number: int
    last: bool


def slices_of(
    file: BinaryIO, limit: int, size: int = SIZE, longest: int = LONGEST, workers: int = 1
) -> Iterator[Slice]:
    """The slices of `file`, from its start, as `slices` gives them.

    Where it lies unpacked on a disk, the end of a slice is looked up first, so that a slice is read into its place and
    no byte of it is copied: copying costs more than reading, and the workers would wait for it. There the slices are
    cut evenly, so that each of `workers` that take turns gets as many: none waits for another's last one.
    """
    if not lies_open(file):
        yield from slices(file.read, limit, size, longest)
        return
    whole = file.seek(0, io.SEEK_END)
    require_within(whole, limit)
    first, row, number = 0, 0, 0
    left = -(-whole // (size * workers)) * workers if workers > 1 and whole > size else 0
    while left > 1 or (not left and whole - first > size):
        wanted = -(-(whole - first) // left) if left else size
        near = min(wanted, _NEAR)
        file.seek(first + wanted - near)
        tail = file.read(near)
        end = tail.rfind(b"\n") + 1
        file.seek(first)
        part = file.read(wanted - near + end) if end and len(tail) == near else b""
        if not part or len(part) < wanted - near + end:
            left = 0
            break  # a long line, or somebody cuts the file short: it is looked at closer
        yield Slice(part, row, number, last=False)
        first, row, number, left = first + len(part), row + _line_ends(part), number + 1, max(left - 1, 0)
        del part  # before the next one is read: whoever has taken it may have let it go
    file.seek(first)
    # The last of even slices has what the lines cut off the others before it.
    yield from _cut(within(file.read, limit, first), row, number, max(size, left * (whole - first)), longest)


def lies_open(file: BinaryIO) -> bool:
    """Whether any part of `file`, which stands at its start, can be read by itself: it lies on a disk, and unpacked."""
    if not file.seekable():
        return False
    packed = is_packed(file.read(PACKED_START))
    file.seek(0)
    return not packed


def slices(read: Read, limit: int, size: int = SIZE, longest: int = LONGEST) -> Iterator[Slice]:
    """The slices of the file that `read` reads, each of about `size` bytes; at least one, if only of no bytes.

    Raises `FileRefused` for what can't be unpacked, for more than `limit` unpacked bytes, and for a line that makes a
    slice longer than `longest`.
    """
    yield from _cut(unpacked(read, limit), 0, 0, size, longest)


def _cut(content: Read, row: int, number: int, size: int, longest: int) -> Iterator[Slice]:
    """The slices of `content`, before which there are `row` units in `number` slices."""
    rest = b""
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
        row += _line_ends(part)
        number += 1
        del part


def _filled(content: Read, start: bytes, size: int) -> tuple[bytes, bool]:
    """`start` and what follows it, more than `size` bytes; or all there is, and true."""
    pieces, length = [start] if start else [], len(start)
    while length <= size:
        piece = content(size + 1 - length)
        if not piece:
            return b"".join(pieces), True
        pieces.append(piece)
        length += len(piece)
    return b"".join(pieces), False


def _line_ends(part: bytes) -> int:
    octets = np.frombuffer(part, np.uint8)
    pieces = range(0, octets.size, _PIECE)
    return sum(int(np.count_nonzero(octets[first : first + _PIECE] == _LF)) for first in pieces)
