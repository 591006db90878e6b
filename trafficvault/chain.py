"""The form of the audit log on disk, and its check with the vault's public key alone: no secret, no catalogue.

A segment is a file `audit/<number>.log` of at most `ENTRIES_PER_SEGMENT` lines; all but the last are full. A line is
the canonical JSON of one entry and a newline:

    {"v":2, "seq":1…, "time":instant, "prev":hash of the entry before, "body":base64 of the sealed detail,
     "hash":SHA-256 of the canonical entry without hash and sig, "sig":Ed25519 over the 32 bytes of hash}

with `"clock":"jumped"` or `"clock":"back"` when the clock was not believed, and `"statements":[SHA-256, …]` of what the
vault stated to outsiders in the same transaction, its certificates: so that the log commits to them in the open. The
first entry's `prev` is the SHA-256 of the vault's id. Because a line must be canonical to the byte, each of its bits is
covered by hash and signature. Lines of version 1 have no statements, and their bodies lie under another key.

Segments are dropped from the beginning of the log, whole, when they have reached their term. Then the log begins behind
`Dropped`, which says with which entry it goes on; a segment before it that is there all the same is not of the log.

What this check can't see is a log that ends early: whoever cuts whole lines off its end leaves a shorter true log. The
head that the catalogue holds shows that (`trafficvault.audit`).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from trafficvault import signing
from trafficvault.durable import PART
from trafficvault.errors import FaultError

ENTRIES_PER_SEGMENT = 10_000
CLOCKS = ("jumped", "back")
VERSION = 2
_VERSIONS = (1, VERSION)
_NEAR_BYTES, _TAIL_BYTES = 8192, 65536
_MOST_FAULTS = 100
_NAME = re.compile(r"[0-9]{8}\.log")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_TEXTS = ("time", "prev", "body", "hash", "sig")

Kind = Literal["changed", "missing", "truncated", "extra", "signature", "rolled back"]


@dataclass(frozen=True, slots=True)
class Head:
    """An entry by its place and hash; place 0 is the vault itself."""

    seq: int
    hash: str


@dataclass(frozen=True, slots=True)
class Dropped:
    """What the log has forgotten: the first `segments`, up to and with the entry `head`."""

    segments: int
    head: Head


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a segment, without its newline. `seq` is its place; a torn one has no newline and may be half."""

    seq: int
    content: bytes
    segment: str
    torn: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of the log: its kind, and a sentence for the person who must act."""

    kind: Kind
    sentence: str
    hint: str | None = None


def genesis(vault_id: str) -> Head:
    """What the first entry follows."""
    return Head(0, hashlib.sha256(vault_id.encode()).hexdigest())


def nothing_dropped(vault_id: str) -> Dropped:
    """Where the log of a vault begins that has forgotten nothing."""
    return Dropped(0, genesis(vault_id))


def segment_of(seq: int, size: int = ENTRIES_PER_SEGMENT) -> int:
    """The number of the segment that entry `seq` stands in, counted from 1."""
    return (seq - 1) // size + 1


def write_line(
    head: Head, time: str, body: str, clock: str | None, signing_key: bytes, statements: Sequence[str] = ()
) -> bytes:
    """The line of the entry that follows `head`, without its newline."""
    entry: dict[str, Any] = {"v": VERSION, "seq": head.seq + 1, "time": time, "prev": head.hash, "body": body}
    if clock is not None:
        entry["clock"] = clock
    if statements:
        entry["statements"] = list(statements)
    entry["hash"] = signing.digest(entry)
    entry["sig"] = signing.sign(signing_key, bytes.fromhex(entry["hash"]))
    return signing.canonical(entry)


def read_line(line: Line) -> dict[str, Any]:
    """The entry of `line`, whose hash agrees with its content. Raises `FaultError`; the signature is not looked at."""
    what = _what(line)
    if line.torn:
        raise FaultError(f"{what}: the line is torn: it has no end")
    try:
        entry = json.loads(line.content)
        if not _is_entry(entry) or signing.canonical(entry) != line.content:
            raise FaultError(f"{what}: changed: it is not an entry as this program writes it")
    except (ValueError, TypeError, RecursionError) as problem:
        raise FaultError(f"{what}: changed: it is not an entry as this program writes it") from problem
    if signing.digest({name: value for name, value in entry.items() if name not in ("hash", "sig")}) != entry["hash"]:
        raise FaultError(f"{what}: changed: its content is not that of its hash")
    return dict(entry)


def follow(head: Head, line: Line, public_key: str) -> dict[str, Any]:
    """The entry of `line`, which is signed and follows `head`. Raises `FaultError`."""
    entry = read_line(line)
    if entry["seq"] != head.seq + 1:
        raise FaultError(f"{_misplaced(line, entry, head.seq + 1)}: one is missing or was moved")
    if entry["prev"] != head.hash:
        raise FaultError(_unlinked(line, head))
    _require_form(line, entry)
    signing.require_signature(public_key, entry["sig"], bytes.fromhex(entry["hash"]), _what(line))
    return entry


def segments(directory: Path, dropped: int = 0) -> list[int]:
    """The numbers of the segments behind the first `dropped`, in order.

    Raises `FaultError` when one is missing between them or a stranger lies there.
    """
    numbers, faults = _listed(directory, dropped)
    if faults:
        raise FaultError(faults[0].sentence)
    return numbers


def read_lines(
    directory: Path, size: int = ENTRIES_PER_SEGMENT, first_segment: int = 1, dropped: int = 0
) -> Iterator[Line]:
    """The lines of all segments from `first_segment` on. Raises `FaultError` when one but the last is not full."""
    numbers = segments(directory, dropped)
    for number in numbers:
        if number < first_segment:
            continue
        path = directory / _name(number)
        lines = split_lines(path, number, size)
        yield from lines
        whole = sum(1 for line in lines if not line.torn)
        if whole > size or (whole < size and number < numbers[-1]):
            raise FaultError(_miscounted(path.name, whole, size))


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
    path = directory / _name(number)
    if head.seq == 0 or not path.is_file() or (directory / _name(number + 1)).exists():
        return False
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        for tail in (_NEAR_BYTES, _TAIL_BYTES):
            file.seek(max(0, end - tail))
            whole, torn = _split(file.read())
            if torn or len(whole) > 1:
                # What the first of them lacks is not asked for.
                break
    if torn or not whole:
        return False
    try:
        entry = read_line(Line(head.seq, whole[-1], path.name))
    except FaultError:
        return False
    return Head(entry["seq"], entry["hash"]) == head


@dataclass(slots=True)
class Inspection:
    """A walk over the log up to entry `last` that does not stop at a fault.

    `head` is the last entry it came to; its hash is empty where a fault leaves open what it should be. `beyond` are the
    lines after `last`, counted on from it. The first `dropped` segments are not of the log. `noted` has the hash of
    entry `note` when it was come by.
    """

    directory: Path
    public_key: str
    last: int
    head: Head
    size: int = ENTRIES_PER_SEGMENT
    dropped: int = 0
    note: int = 0
    noted: str | None = None
    beyond: list[Line] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    _places: Counter[int] | None = None

    def walk(self) -> None:
        """Looks at every line. After a fault it takes up the chain again at the next entry, so one damage is named
        once or a few times, and what lies behind it is checked as well; a hundred faults are enough.
        """
        numbers, faults = _listed(self.directory, self.dropped)
        self.faults += faults
        for number in numbers:
            first = (number - 1) * self.size
            if self.head.seq != first and self.head.seq < self.last:
                # Only a fault that is already named brings the walk to a segment out of step.
                self.head = Head(min(first, self.last), "")
            before = len(self.faults)
            try:
                lines = split_lines(self.directory / _name(number), number, self.size)
            except FaultError as fault:
                self.faults.append(Fault("missing", str(fault)))
                self.head = Head(min(number * self.size, self.last), "")
                continue
            for line in lines:
                if self.head.seq >= self.last:
                    self.beyond.append(replace(line, seq=self.last + 1 + len(self.beyond)))
                else:
                    self._look(replace(line, seq=self.head.seq + 1))
                if len(self.faults) >= _MOST_FAULTS:
                    self.head = Head(self.last, "")
                    return
            whole = sum(1 for line in lines if not line.torn)
            if len(self.faults) == before and (whole > self.size or (whole < self.size and number < numbers[-1])):
                kind: Kind = "extra" if whole > self.size else "truncated"
                self.faults.append(Fault(kind, _miscounted(_name(number), whole, self.size)))

    def _look(self, line: Line) -> None:
        try:
            entry = read_line(line)
        except FaultError as fault:
            self.faults.append(Fault("truncated" if line.torn else "changed", str(fault)))
            self.head = Head(line.seq, "")
            return
        if entry["seq"] != line.seq:
            sentence, places = _misplaced(line, entry, line.seq), self._counted()
            if entry["seq"] < line.seq and places[entry["seq"]] > 1:
                self.faults.append(Fault("extra", f"{sentence}: it is there more than once"))
                return
            if line.seq in places:
                self.faults.append(Fault("changed", f"{sentence}: it was moved"))
            else:
                self.faults.append(Fault("missing", f"{sentence}: what comes between is missing"))
        elif self.head.hash and entry["prev"] != self.head.hash:
            self.faults.append(Fault("changed", _unlinked(line, self.head)))
        else:
            self._look_at_signature(line, entry)
        self.head = Head(entry["seq"], entry["hash"])
        if self.head.seq == self.note:
            self.noted = self.head.hash

    def _look_at_signature(self, line: Line, entry: dict[str, Any]) -> None:
        kind: Kind = "changed"
        try:
            _require_form(line, entry)
            kind = "signature"
            signing.require_signature(self.public_key, entry["sig"], bytes.fromhex(entry["hash"]), _what(line))
        except FaultError as fault:
            self.faults.append(Fault(kind, str(fault)))

    def _counted(self) -> Counter[int]:
        """How often each entry is in the log, wherever it stands: tells what is missing from what was moved."""
        if self._places is None:
            self._places = Counter()
            for number in _listed(self.directory, self.dropped)[0]:
                try:
                    lines = split_lines(self.directory / _name(number), number, self.size)
                except FaultError:
                    continue
                for line in lines:
                    try:
                        self._places[read_line(line)["seq"]] += 1
                    except FaultError:
                        continue
        return self._places


def leftovers(directory: Path, dropped: int) -> list[Path]:
    """Segments that were dropped and are there all the same: of a run that broke off, or put back."""
    return [path for number in range(1, dropped + 1) if (path := directory / _name(number)).exists()]


def _listed(directory: Path, dropped: int) -> tuple[list[int], list[Fault]]:
    """The numbers of the segments that are there behind the first `dropped`, and what is wrong with their names."""
    if not directory.is_dir():
        return [], []
    numbers: list[int] = []
    faults: list[Fault] = []
    for name in sorted(path.name for path in directory.iterdir() if PART not in path.name):
        if not _NAME.fullmatch(name) or int(name[:8]) == 0:
            sentence = f"audit: {name} is not a segment; nothing else belongs in the directory of the log"
            faults.append(Fault("extra", sentence))
            continue
        if int(name[:8]) <= dropped:
            continue
        wanted = numbers[-1] + 1 if numbers else dropped + 1
        numbers.append(int(name[:8]))
        if numbers[-1] != wanted:
            faults.append(Fault("missing", f"audit: segment {_name(wanted)} is missing; {name} is there"))
    return numbers, faults


def _name(number: int) -> str:
    return f"{number:08d}.log"


def _what(line: Line) -> str:
    return f"audit segment {line.segment}, entry {line.seq}"


def _misplaced(line: Line, entry: dict[str, Any], wanted: int) -> str:
    return f"{_what(line)}: entry {entry['seq']} stands where {wanted} belongs"


def _unlinked(line: Line, head: Head) -> str:
    return f"{_what(line)}: it does not follow entry {head.seq}: one of the two was replaced"


def _miscounted(name: str, whole: int, size: int) -> str:
    return f"audit segment {name}: it has {whole} entries where {size} belong"


def _require_form(line: Line, entry: dict[str, Any]) -> None:
    # bytes.fromhex also takes capitals and blanks: the form must be the one that we write.
    if not re.fullmatch(r"[0-9a-f]{128}", entry["sig"]):
        raise FaultError(f"{_what(line)}: changed: its signature is not written as one")


def _split(content: bytes) -> tuple[list[bytes], bytes]:
    *whole, torn = content.split(b"\n")
    return whole, torn


def _is_entry(entry: object) -> bool:
    if not isinstance(entry, dict) or set(entry) - {"clock", "statements"} != {"v", "seq", *_TEXTS}:
        return False
    numbers = type(entry["v"]) is int and entry["v"] in _VERSIONS and type(entry["seq"]) is int
    texts = all(isinstance(entry[name], str) for name in _TEXTS)
    stated = "statements" not in entry or (entry["v"] == VERSION and _are_digests(entry["statements"]))
    return numbers and texts and stated and ("clock" not in entry or entry["clock"] in CLOCKS)


def _are_digests(value: object) -> bool:
    digests = isinstance(value, list) and all(isinstance(one, str) and _DIGEST.fullmatch(one) for one in value)
    return digests and bool(value)
