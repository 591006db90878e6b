"""Posting lists: in which blocks of a file an identifier stands, as sorted short hashes, each with a block number.

All identifiers share one list. An identifier is hashed together with its *family*: the columns that the same target
may be found in. The hash is no secret and needs no strength, since the list is sealed and a hit is only a candidate;
but it is the same everywhere and for ever, or an upgrade would make every list useless.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import accumulate

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Hashes = npt.NDArray[np.uint64]

FAMILIES = ("number", "imsi", "imei", "iccid", "line", "user", "session", "mac", "email", "ip", "correlation", "cell")
"""What is hashed together; the order is part of the hash."""
FAMILY_OF = {
    **dict.fromkeys(("a_number", "a_asserted", "b_number", "c_number", "other_parties"), "number"),
    **dict.fromkeys(("imsi", "peer_imsi"), "imsi"),
    **dict.fromkeys(("imei", "peer_imei"), "imei"),
    "iccid": "iccid",
    "line": "line",
    "user_name": "user",
    "session_id": "session",
    "mac": "mac",
    **dict.fromkeys(("mail_from", "mail_to"), "email"),
    **dict.fromkeys(("public_ip", "access_ip"), "ip"),
    "correlation_id": "correlation",
}
"""The family of each column that is posted."""
BLOCK_BITS = 24
"""Low bits of a pair: the block. The others are the hash."""
HASH_BITS = 64 - BLOCK_BITS
CHUNK = 1024
"""Pairs that are sealed together."""
_SHORT, _KINDS = 64, 8
"""Texts of no more bytes than this, and of no more different lengths, are hashed length by length."""
_SPARE_BITS = 6
"""Bits of a kept hash beyond those that number the pairs: one lookup in 2 ** 6 finds a block in vain."""
_BLOCKS = np.uint64((1 << BLOCK_BITS) - 1)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def hashes(family: str, values: pa.Array) -> Hashes:
    """The 64-bit hash of each of `values` (binary or text, none of them null)."""
    data = values.cast(pa.large_binary())
    ends = np.frombuffer(data.buffers()[1], np.int64)[data.offset : data.offset + len(data) + 1]
    lengths = np.diff(ends)
    sums = np.zeros(len(data), np.uint64)
    if len(data) and ends[-1] > ends[0]:
        content = np.frombuffer(data.buffers()[2], np.uint8)[ends[0] : ends[-1]]
        starts = ends[:-1] - ends[0]
        counts = np.bincount(lengths) if lengths.max() <= _SHORT else np.ones(_KINDS + 1, np.int64)
        if np.count_nonzero(counts) > _KINDS:
            sums = _sums_of_any(content, starts, lengths)
        else:
            for length in np.flatnonzero(counts).tolist():
                those = slice(None) if counts[length] == len(data) else np.flatnonzero(lengths == length)
                sums[those] = _sums_of(content, starts[those], length)
    seed = _seed(family)
    return _mixed(sums + lengths.astype(np.uint64) * np.uint64(0xD1B54A32D192ED03) + seed)


def _sums_of(content: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64], length: int) -> Hashes:
    """The sums of texts that have all the same length: place by place, which is quicker than byte by byte."""
    sums = np.zeros(len(starts), np.uint64)
    for place, weight in enumerate(_weights(1 << length.bit_length())[:length]):
        sums += (content[starts + place] + np.uint64(1)) * weight
    return sums


def _sums_of_any(
    content: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]
) -> Hashes:
    sums = np.zeros(len(starts), np.uint64)
    place = np.arange(len(content)) - np.repeat(starts, lengths)
    terms = (content + np.uint64(1)) * _weights(1 << int(lengths.max()).bit_length())[place]
    filled = np.flatnonzero(lengths)
    sums[filled] = np.add.reduceat(terms, starts[filled])
    return sums


def hash_of(family: str, value: str) -> int:
    """The hash of one text."""
    return int(hashes(family, pa.array([value], pa.large_string()))[0])


def address_hashes(high: Hashes, low: Hashes, bits: npt.NDArray[np.int64]) -> Hashes:
    """The hashes of addresses of which the leading `bits` count, whose others are 0."""
    seed = _seed("ip")
    return _mixed(_mixed(high + seed) + low + bits.astype(np.uint64) * np.uint64(0xD1B54A32D192ED03))


def hourly(cells: Hashes, hours: npt.NDArray[np.int64]) -> Hashes:
    """The hashes of cells, of which these are hashes, each together with an hour."""
    return _mixed(cells + (hours + 1).astype(np.uint64) * _GOLDEN)


def pairs(found: Hashes, blocks: Hashes) -> Hashes:
    """Each hash with the number of its block, sorted, without doubles."""
    return distinct((found & ~_BLOCKS) | blocks)


def distinct(values: Hashes) -> Hashes:
    """`values` sorted, without doubles: quicker than NumPy's own, which hashes."""
    ordered = np.sort(values)
    return ordered[np.append(True, ordered[1:] != ordered[:-1])] if len(ordered) else ordered


def joined(parts: list[Hashes]) -> Hashes:
    """All pairs of `parts`, which it empties one after the other, sorted: so they are never there twice."""
    whole, begin = np.empty(sum(map(len, parts)), np.uint64), 0
    while parts:
        part = parts.pop()
        whole[begin : begin + len(part)] = part
        begin += len(part)
    whole.sort()
    return whole


def kept_bits(count: int) -> int:
    """How many bits of a hash a list of `count` pairs keeps."""
    return min(HASH_BITS, count.bit_length() + _SPARE_BITS)


def split(joined: Hashes, bits: int) -> tuple[Hashes, Hashes]:
    """The hashes of sorted pairs, of which `bits` are kept, and their blocks."""
    return joined >> np.uint64(64 - bits), joined & _BLOCKS


def pack(hashed: Hashes, blocks: Hashes) -> bytes:
    """One chunk: the differences of its ascending hashes, then its blocks, as byte planes under zstd."""
    steps = np.diff(hashed, prepend=hashed[:1])
    widths = [_bytes_for(steps), _bytes_for(blocks)]
    planes = b"".join(
        np.ascontiguousarray(part.astype("<u8").view(np.uint8).reshape(-1, 8)[:, :width].T).tobytes()
        for part, width in zip((steps, blocks), widths, strict=True)
    )
    return bytes(widths) + len(hashed).to_bytes(2, "little") + bytes(_CODEC.compress(planes, asbytes=True))


def unpack(content: bytes, first: int) -> tuple[Hashes, Hashes]:
    """The inverse of `pack`: the hashes, the first of which is `first`, and the blocks."""
    step_width, block_width, count = content[0], content[1], int.from_bytes(content[2:4], "little")
    raw = _CODEC.decompress(content[4:], count * (step_width + block_width), asbytes=True)
    planes, middle = np.frombuffer(raw, np.uint8), count * step_width
    steps = _joined(planes[:middle].reshape(1, step_width, count))[0]
    blocks = _joined(planes[middle:].reshape(1, block_width, count))[0]
    return np.cumsum(steps) + np.uint64(first), blocks


def lookup(chunks: Sequence[tuple[bytes, int, Sequence[int]]]) -> list[list[int]]:
    """The blocks of the wanted hashes that are in each chunk: its content, its first hash, the hashes wanted.

    Chunks of one size are unpacked together, whichever files they are of: a lookup opens one of every day. The blocks
    are unpacked only where a hash was found.
    """
    heads = [(content[0], content[1], int.from_bytes(content[2:4], "little")) for content, _, _ in chunks]
    sizes = [count * (step_width + block_width) for step_width, block_width, count in heads]
    # Frames one behind the other are one stream (RFC 8878), and a call costs more than a chunk.
    raw = bytes(_CODEC.decompress(b"".join([content[4:] for content, _, _ in chunks]), sum(sizes), asbytes=True))
    begins = list(accumulate(sizes, initial=0))
    alike: dict[tuple[int, int], list[int]] = {}
    for number, (step_width, _, count) in enumerate(heads):
        alike.setdefault((step_width, count), []).append(number)
    found: list[list[int]] = [[] for _ in chunks]
    for (width, count), numbers in alike.items():
        planes = b"".join([raw[begins[number] : begins[number] + width * count] for number in numbers])
        hashed = np.cumsum(_joined(np.frombuffer(planes, np.uint8).reshape(len(numbers), width, count)), axis=1)
        hashed += np.array([chunks[number][1] for number in numbers], np.uint64)[:, None]
        for number, row in zip(numbers, hashed, strict=True):
            at = begins[number] + width * count
            for one in chunks[number][2]:
                low, high = row.searchsorted(np.array([one, one + 1], np.uint64)).tolist()
                for place in range(at + low, at + high):
                    octets = raw[place : place + heads[number][1] * count : count]
                    found[number].append(int.from_bytes(octets, "little"))
    return found


_CODEC = pa.Codec("zstd", compression_level=5)


def _joined(planes: npt.NDArray[np.uint8]) -> Hashes:
    """Numbers of byte planes: by list, plane and place."""
    numbers = np.zeros((planes.shape[0], planes.shape[2]), np.uint64)
    for index in range(planes.shape[1]):
        numbers |= planes[:, index].astype(np.uint64) << np.uint64(8 * index)
    return numbers


def _bytes_for(values: Hashes) -> int:
    return (int(values.max(initial=0)).bit_length() + 7) // 8


def _seed(family: str) -> np.uint64:
    return np.uint64((FAMILIES.index(family) + 1) * int(_GOLDEN) % 2**64)


@cache
def _weights(length: int) -> Hashes:
    """An odd weight for each position in a text."""
    return _mixed(np.arange(1, length + 1, dtype=np.uint64) * _GOLDEN) | np.uint64(1)


def _mixed(values: Hashes) -> Hashes:
    """The finalizer of SplitMix64, which spreads every bit over all."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
