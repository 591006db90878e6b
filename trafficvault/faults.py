"""Faults: what is not as it was committed, each named as what it is; and what a file tells of itself.

A file that is not its catalogue row's is missing, truncated, extended, swapped with another, or has flipped bits: size
and keyed digest tell them apart, before anything is opened. Which files there should be, `trafficvault.verify` knows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from trafficvault.catalogue import Row
from trafficvault.errors import FaultError


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: what kind, of which thing, and a sentence for the person who must act."""

    kind: str
    thing: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What was looked at, and the faults found."""

    faults: tuple[Fault, ...]
    checked: dict[str, int]

    def require_clean(self) -> None:
        """Raises `FaultError` when there is a fault."""
        if self.faults:
            raise FaultError(f"verifying the vault: {len(self.faults)} faults; the first: {self.faults[0].sentence}")


def compare(path: Path, row: Row, digest_of: Callable[[Path], str], others: Mapping[str, str]) -> Fault | None:
    """The file at `path` against the size and keyed digest of its catalogue `row`; `digest_of` takes that digest.
    `others` says by digest whose content a file could have instead. None when it is the file that was committed.
    """
    try:
        if not path.is_file():
            return Fault("missing", path.name, f"{place_of(path)} is missing")
        digest, found = digest_of(path), path.stat().st_size
    except OSError as problem:
        return unreadable(path, problem)
    if digest == row["digest"]:
        return None
    other = others.get(digest)
    if other is not None:
        return Fault(
            "swapped", path.name, f"{place_of(path)} has the content of file {other}: the two were exchanged or copied"
        )
    size = int(str(row["bytes"]))
    sizes = f"{place_of(path)} has {found} bytes, the catalogue says {size}"
    if found < size:
        return Fault("truncated", path.name, f"{sizes}: it was truncated")
    if found > size:
        return Fault("extended", path.name, f"{sizes}: it was extended")
    return Fault("bit flip", path.name, f"{place_of(path)} has the right size and other content: bits were changed")


def unreadable(path: Path, problem: OSError) -> Fault:
    """The fault of a file that the system does not give."""
    reason = problem.strerror or type(problem).__name__
    return Fault("unreadable", path.name, f"{place_of(path)}: it can't be read ({reason})")


def place_of(path: Path) -> str:
    """Where a file lies, as a sentence names it: its name and the three directories above it."""
    return "/".join(path.parts[-4:])
