"""An audit log with everything it stands on, four entries to a segment, for the tests of the log."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from trafficvault import chain, signing
from trafficvault.audit import AuditLog
from trafficvault.catalogue import Catalogue
from trafficvault.chain import Dropped, Head
from trafficvault.clock import SetClock
from trafficvault.durable import Disk
from trafficvault.layout import Layout
from trafficvault.period import Period

VAULT = "0123456789abcdef0123456789abcdef"
MAC_KEY, AUDIT_KEY, SIGNING_KEY = bytes(range(32)), bytes(range(32, 64)), bytes(range(64, 96))
START = datetime(2026, 11, 20, 12, tzinfo=UTC)
SIZE = 4
WEEK = Period(days=7)


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of an audit log, without a key store around them."""

    audit: bytes = AUDIT_KEY
    gone: set[str] = field(default_factory=set)
    """Keys of segments that are not in the ring; all others are."""

    def custody(self, act: str) -> Keys:
        """Itself, for the act `audit`."""
        assert act == "audit"
        return self

    def key(self, name: str) -> bytes:
        """The audit key, or that of a segment."""
        if name == "audit":
            return self.audit
        assert name not in self.gone
        return hashlib.sha256(self.audit + name.encode()).digest()

    def has(self, name: str) -> bool:
        """Whether the key of a segment is there."""
        return name not in self.gone

    def ensure(self, names: Iterable[str]) -> None:
        """Makes the keys of segments."""
        self.gone.difference_update(names)

    def signing_key(self) -> bytes:
        """The vault's signing key."""
        return SIGNING_KEY


@dataclass(frozen=True, slots=True)
class Settings:
    """The name of the vault."""

    id: str = VAULT


@dataclass(frozen=True, slots=True)
class Policy:
    """The rule for the clock."""

    max_clock_step: Period = WEEK


class Crash(BaseException):
    """The end of a process."""


class FaultyDisk(Disk):
    """Fails at a step: by a crash, by an error of the system, or with half a line written."""

    def __init__(self) -> None:
        self.at = ""
        self.problem: BaseException = Crash()
        self.half = False
        self.steps: list[str] = []

    def step(self, name: str) -> None:
        """Notes the step, and fails at the one that was asked for."""
        self.steps.append(name)
        if name == self.at:
            raise self.problem

    def append(self, path: Path, content: bytes, mode: int = 0o600) -> None:
        """Appends; with `half`, all but the last third of it, and fails."""
        if self.half:
            super().append(path, content[: len(content) * 2 // 3], mode)
            raise self.problem
        super().append(path, content, mode)


@dataclass(slots=True)
class House:
    """A log with everything it stands on."""

    layout: Layout
    disk: FaultyDisk
    clock: SetClock
    catalogue: Catalogue
    log: AuditLog

    @property
    def public_key(self) -> str:
        """The vault's public key."""
        return signing.public_key_of(SIGNING_KEY)

    def again(self, disk: FaultyDisk | None = None) -> AuditLog:
        """The log as a new process opens it."""
        return AuditLog(
            self.layout,
            disk or FaultyDisk(),
            self.catalogue,
            Keys(),
            Settings(),
            Policy(),
            self.clock,
            entries_per_segment=SIZE,
            makes_keys=True,
        )

    def write(self, count: int, *, flush: bool = True) -> None:
        """Enters `count` entries, each in a transaction of its own."""
        for _ in range(count):
            with self.catalogue.transaction() as tx:
                self.log.enter(tx, "receive", "Anna", {"batch": "7f3a", "counts": [1, None]})
            if flush:
                self.log.flush()

    def segments(self) -> list[Path]:
        """The segments on disk."""
        return sorted(self.layout.audit.iterdir())

    def lines(self) -> list[bytes]:
        """All lines on disk."""
        return b"".join(path.read_bytes() for path in self.segments()).splitlines()


def pending(house: House) -> int:
    """How many entries wait in the outbox."""
    with house.catalogue.reading() as tx:
        return len(tx.select("outbox"))


@contextmanager
def new_house(directory: Path) -> Iterator[House]:
    """A new log in a new catalogue, below `directory`."""
    layout = Layout(directory / "vault", directory / "keys")
    layout.vault.mkdir()
    layout.keys.mkdir()
    disk, clock = FaultyDisk(), SetClock(START)
    with closing(Catalogue.create(layout.catalogue, MAC_KEY, Disk())) as catalogue:
        log = AuditLog(
            layout, disk, catalogue, Keys(), Settings(), Policy(), clock, entries_per_segment=SIZE, makes_keys=True
        )
        yield House(layout, disk, clock, catalogue, log)


def verify_chain(directory: Path, begin: Dropped, public_key: str, size: int, *, until: int | None = None) -> Head:
    """What anybody can check who has the log and the public key: every entry behind `begin`, up to the segment `until`.

    Returns the last. Raises `FaultError` for the first entry that is not as it was.
    """
    head = begin.head
    for line in chain.read_lines(directory, size, begin.segments + 1, begin.segments):
        if until is not None and chain.segment_of(line.seq, size) > until:
            break
        entry = chain.follow(head, line, public_key)
        head = Head(entry["seq"], entry["hash"])
    return head
