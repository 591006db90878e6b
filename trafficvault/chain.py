"""The form of the audit log on disk, and its check with the vault's public key alone: no secret, no catalogue.

A segment is a file `audit/<number>.log` of at most `ENTRIES_PER_SEGMENT` lines; all but the last are full. A line is
the canonical JSON of one entry and a newline:

    {"v":1, "seq":1…, "time":instant, "prev":hash of the entry before, "body":base64 of the sealed detail,
     "hash":SHA-256 of the canonical entry without hash and sig, "sig":Ed25519 over the 32 bytes of hash}

with `"clock":"jumped"` or `"clock":"back"` when the clock was not believed. The first entry's `prev` is the SHA-256 of
the vault's id. Because a line must be canonical to the byte, each of its bits is covered by hash and signature.

What this check can't see is a log that ends early: whoever cuts whole lines off its end leaves a shorter true log. The
head that the catalogue holds shows that (`trafficvault.audit`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trafficvault import signing
from trafficvault.durable import PART
from trafficvault.errors import FaultError

ENTRIES_PER_SEGMENT = 10_000
CLOCKS = ("jumped", "back")
_VERSION = 1
_TAIL_BYTES = 65536
_NAME = re.compile(r"[0-9]{8}\.log")
_TEXTS = ("time", "prev", "body", "hash", "sig")


@dataclass(frozen=True, slots=True)
class Head:
    """An entry by its place and hash; place 0 is the vault itself."""

    seq: int
    hash: str


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a segment, without its newline. `seq` is its place; a torn one has no newline and may be half."""

    seq: int
    content: bytes
    segment: str
    torn: bool = False


def genesis(vault_id: str) -> Head:
    """What the first entry follows."""
    return Head(0, hashlib.sha256(vault_id.encode()).hexdigest())


def segment_of(seq: int, size: int = ENTRIES_PER_SEGMENT) -> int:
    """The number of the segment that entry `seq` stands in, counted from 1."""
    return (seq - 1) // size + 1


def write_line(head: Head, time: str, body: str, clock: str | None, signing_key: bytes) -> bytes:
    """The line of the entry that follows `head`, without its newline."""
    entry: dict[str, Any] = {"v": _VERSION, "seq": head.seq + 1, "time": time, "prev": head.hash, "body": body}
    if clock is not None:
        entry["clock"] = clock
    entry["hash"] = signing.digest(entry)
    entry["sig"] = signing.sign(signing_key, bytes.fromhex(entry["hash"]))
    return signing.canonical(entry)


def read_line(line: Line) -> dict[str, Any]:
    """The entry of `line`, whose hash agrees with its content. Raises `FaultError`; the signature is not looked at."""
    what = f"audit segment {line.segment}, entry {line.seq}"
    if line.torn:
        raise FaultError(f"{what}: the line is torn: it has no end")
    try:
        entry = json.loads(line.content)
        if not _is_entry(entry) or signing.canonical(entry) != line.content:
            raise FaultError(f"{what}: changed: it is not an entry as version {_VERSION} writes it")
    except (ValueError, TypeError, RecursionError) as problem:
        raise FaultError(f"{what}: changed: it is not an entry as version {_VERSION} writes it") from problem
    if signing.digest({name: value for name, value in entry.items() if name not in ("hash", "sig")}) != entry["hash"]:
        raise FaultError(f"{what}: changed: its content is not that of its hash")
    return dict(entry)


def follow(head: Head, line: Line, public_key: str) -> dict[str, Any]:
    """The entry of `line`, which is signed and follows `head`. Raises `FaultError`."""
    entry = read_line(line)
    what = f"audit segment {line.segment}, entry {line.seq}"
    if entry["seq"] != head.seq + 1:
        raise FaultError(
            f"{what}: entry {entry['seq']} stands where {head.seq + 1} belongs: one is missing or was moved"
        )
    if entry["prev"] != head.hash:
        raise FaultError(f"{what}: it does not follow entry {head.seq}: one of the two was replaced")
    # bytes.fromhex also takes capitals and blanks: the form must be the one that we write.
    if not re.fullmatch(r"[0-9a-f]{128}", entry["sig"]):
        raise FaultError(f"{what}: changed: its signature is not written as one")
    signing.require_signature(public_key, entry["sig"], bytes.fromhex(entry["hash"]), what)
    return entry


def segments(directory: Path) -> list[Path]:
    """The segments in order. Raises `FaultError` when one is missing between them or a stranger lies there."""
    if not directory.is_dir():
        return []
    names = sorted(path.name for path in directory.iterdir() if PART not in path.name)
    for place, name in enumerate(names, start=1):
        if not _NAME.fullmatch(name):
            raise FaultError(f"audit: {name} is not a segment; nothing else belongs in the directory of the log")
        if name != f"{place:08d}.log":
            raise FaultError(f"audit: segment {place:08d}.log is missing; {name} is there")
    return [directory / name for name in names]


def read_lines(directory: Path, size: int = ENTRIES_PER_SEGMENT, first_segment: int = 1) -> Iterator[Line]:
    """The lines of all segments from `first_segment` on. Raises `FaultError` when one but the last is not full."""
    paths = segments(directory)
    for number, path in enumerate(paths[first_segment - 1 :], start=first_segment):
        lines = split_lines(path, number, size)
        yield from lines
        whole = sum(1 for line in lines if not line.torn)
        if whole > size or (whole < size and number < len(paths)):
            raise FaultError(f"audit segment {path.name}: it has {whole} entries where {size} belong")


def split_lines(path: Path, number: int, size: int = ENTRIES_PER_SEGMENT) -> list[Line]:
    """The lines of one segment; a torn one, if any, is the last."""
    try:
        whole, torn = _split(path.read_bytes())
    except OSError as problem:
        raise FaultError(f"audit segment {path.name}: it can't be read: {problem.strerror}") from problem
    first = (number - 1) * size + 1
    found = [Line(first + place, content, path.name) for place, content in enumerate(whole)]
    return found + ([Line(first + len(whole), torn, path.name, torn=True)] if torn else [])


def ends_with(directory: Path, head: Head, size: int = ENTRIES_PER_SEGMENT) -> bool:
    """Whether the log ends with entry `head`, seen from its last bytes alone; False also when that can't be told."""
    number = segment_of(max(1, head.seq), size)
    path = directory / f"{number:08d}.log"
    if head.seq == 0 or not path.is_file() or (directory / f"{number + 1:08d}.log").exists():
        return False
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        whole, torn = _split(file.read())
    if torn or not whole:
        return False
    try:
        entry = read_line(Line(head.seq, whole[-1], path.name))
    except FaultError:
        return False
    return Head(entry["seq"], entry["hash"]) == head


def verify_chain(directory: Path, vault_id: str, public_key: str, size: int = ENTRIES_PER_SEGMENT) -> Head:
    """Checks every entry of the log and returns the last. Raises `FaultError` for the first that is not as it was."""
    head = genesis(vault_id)
    for line in read_lines(directory, size):
        entry = follow(head, line, public_key)
        head = Head(entry["seq"], entry["hash"])
    return head


def _split(content: bytes) -> tuple[list[bytes], bytes]:
    *whole, torn = content.split(b"\n")
    return whole, torn


def _is_entry(entry: object) -> bool:
    if not isinstance(entry, dict) or set(entry) - {"clock"} != {"v", "seq", *_TEXTS}:
        return False
    numbers = type(entry["v"]) is int and entry["v"] == _VERSION and type(entry["seq"]) is int
    texts = all(isinstance(entry[name], str) for name in _TEXTS)
    return numbers and texts and ("clock" not in entry or entry["clock"] in CLOCKS)
