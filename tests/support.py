"""What the scenarios share: a vault with people in it, files with invented data, warrants, and a disk that fails on
purpose.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tests.founding import FOUNDERS
from trafficvault import app, disclose, docket, intake, people, receive, stretching
from trafficvault.audit import AuditLog
from trafficvault.clock import SetClock
from trafficvault.disclose import Disclosure
from trafficvault.durable import Disk
from trafficvault.layout import Layout
from trafficvault.people import Person
from trafficvault.receipts import Receipt
from trafficvault.vault import Vault

NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
PASSWORD = "correct horse battery staple"
SUBSCRIBER, OTHER, THIRD = "31612345678", "31687654321", "31201234567"
STAFF = {"olga": ("officer",), "piet": ("approver",), "otto": ("operator",), "aukje": ("auditor",)}
FAST = stretching.Cost(memory_kib=64, iterations=1, lanes=1)
"""Argon2id so cheap that it protects nothing: for tests alone."""


def layout_at(directory: Path) -> Layout:
    """The paths of a vault below `directory`."""
    return Layout(directory / "vault", directory / "vault.keys")


def new_vault(directory: Path, policy: str = "telecom", now: datetime = NOW, disk: Disk | None = None) -> Vault:
    """A new vault with one administrator and the staff of `STAFF`; a copy where its `disk` does not matter."""
    layout = layout_at(directory)
    if disk is None and not layout.vault.exists() and not layout.keys.exists():
        rules = Path(policy).read_bytes() if Path(policy).is_file() else policy
        # A test may change how long a segment of the audit log is: its vaults are of another kind.
        kind = (rules, now, *(AuditLog.__init__.__kwdefaults__ or {}).values())
        if FOUNDERS.copy(kind, directory, lambda place: _found(place, policy, now, Disk()).catalogue.close()):
            return app.open_vault(layout, Disk(), SetClock(now), writer=True)
    return _found(directory, policy, now, disk or Disk())


def _found(directory: Path, policy: str, now: datetime, disk: Disk) -> Vault:
    vault = app.create(layout_at(directory), policy, [("ada", PASSWORD)], disk, SetClock(now), FAST)
    with vault.catalogue.reading() as tx:
        ada = people.authenticate(tx, "ada", PASSWORD)
    for name, roles in STAFF.items():
        app.add_person(vault, name, roles, PASSWORD, (ada,), FAST)
    return vault


def opened(vault: Vault, now: datetime | None = None, disk: Disk | None = None) -> Vault:
    """The same vault opened again, as a new process would."""
    return app.open_vault(vault.layout, disk or Disk(), SetClock(now or vault.clock.now()), writer=True)


def signed_in(vault: Vault, name: str) -> Person:
    """One of the staff."""
    with vault.catalogue.reading() as tx:
        return people.authenticate(tx, name, PASSWORD)


def ingest(vault: Vault, feed: str, data: bytes | str, name: str = "file", source: str | None = None) -> Receipt:
    """Receives `data` as if it were a delivered file."""
    feed_, source_ = intake.feed_and_source(vault, feed, source)
    return receive.receive(vault, feed_, source_, data.encode() if isinstance(data, str) else data, name)


@dataclass
class Usage:
    """One row of an MVNO pipe file, 25 fields, with invented defaults."""

    kind: str = "SMSMO"
    a: str = SUBSCRIBER
    b: str = OTHER
    msisdn: str = SUBSCRIBER
    imsi: str = "204990000000001"
    at: str = "20261110120000"
    seconds: int = 0
    down: int = 0
    up: int = 0
    visited: str = ""
    offset: str = "+0100"
    record_id: str = ""

    def line(self) -> str:
        """The row as the feed has it."""
        fields = [
            self.kind,
            self.a,
            self.b,
            "",
            self.msisdn,
            self.imsi,
            self.at,
            str(self.seconds),
            str(self.down),
            str(self.up),
            self.visited,
            "",
            "internet" if self.kind.endswith("GP") else "",
            self.offset,
            "",
            "",
            "",
            "",
            "",
            "",
            "",
            "",
            "",
            "",
            self.record_id,
        ]
        return "|".join(fields)


def usage(rows: Sequence[Usage]) -> str:
    """A whole MVNO pipe file."""
    return "".join(f"{row.line()}\n" for row in rows)


@dataclass
class Order:
    """A warrant with the defaults of most tests: one MSISDN over November 2026, every category."""

    targets: list[tuple[str, str]] = field(default_factory=lambda: [("msisdn", f"+{SUBSCRIBER}")])
    start: str = "2026-11-01T00:00:00+01:00"
    end: str = "2026-11-20T00:00:00+01:00"
    categories: Sequence[str] = ("who", "where", "when", "how_much")
    questions: Sequence[str] = ("activity",)
    classes: Sequence[str] | None = None
    reference: str = "PV-2026-000123"
    max_matches: int | None = None
    hold_for: str | None = None
    legal_basis: str = "126n Sv"
    supplements: str | None = None

    def toml(self) -> str:
        """The warrant as an officer would write it."""
        lines = [
            f'reference = "{self.reference}"',
            f'kind = "{"preserve" if self.hold_for else "produce"}"',
            'authority = "om-oost-brabant"',
            f'legal_basis = "{self.legal_basis}"',
            "received = 2026-11-20T09:14:00+01:00",
            'judge = "RC-2026-0417"',
            f"categories = {list(self.categories)}".replace("'", '"'),
            f'hold_for = "{self.hold_for}"'
            if self.hold_for
            else f"questions = {list(self.questions)}".replace("'", '"'),
        ]
        if self.supplements is not None:
            lines.append(f'supplements = "{self.supplements}"')
        if self.classes is not None:
            lines.append(f"classes = {list(self.classes)}".replace("'", '"'))
        if self.max_matches is not None:
            lines.append(f"max_matches = {self.max_matches}")
        for kind, value in self.targets:
            lines += [
                "[[targets]]",
                f'type = "{kind}"',
                f'value = "{value}"',
                f"from = {self.start}",
                f"to = {self.end}",
            ]
        return "\n".join(lines) + "\n"


def approved(vault: Vault, order: Order) -> str:
    """Registers and approves `order`; returns the warrant's id."""
    warrant = docket.register(vault, signed_in(vault, "olga"), order.toml())
    docket.approve(vault, signed_in(vault, "piet"), warrant)
    return warrant


def answer(vault: Vault, order: Order, out: Path, question: str | None = None) -> Disclosure:
    """Registers, approves and runs `order` into `out`."""
    return disclose.run(vault, signed_in(vault, "olga"), approved(vault, order), out, question)


def unmeasured() -> dict[str, str]:
    """The environment of a process that is killed: what it ran would be lost, so its coverage is not measured."""
    return {name: value for name, value in os.environ.items() if name != "COVERAGE_PROCESS_CONFIG"}


class KillingDisk(Disk):
    """Ends the process with SIGKILL at the `at`-th durable step; counts steps when `at` is None."""

    def __init__(self, at: int | None) -> None:
        self.at, self.steps = at, 0

    def step(self, name: str) -> None:
        """One step further."""
        self.steps += 1
        if self.at is not None and self.steps == self.at:
            os.kill(os.getpid(), signal.SIGKILL)


class FullDisk(Disk):
    """Raises ENOSPC from the `at`-th durable step on that writes something."""

    def __init__(self, at: int) -> None:
        self.at, self.steps = at, 0

    def step(self, name: str) -> None:
        """One step further."""
        self.steps += 1
        if self.steps >= self.at and name.startswith(
            ("before write", "before append", "before rename", "before mkdir")
        ):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def every_byte(*directories: Path) -> bytes:
    """All bytes of all files below `directories`, and their names."""
    found = bytearray()
    for directory in directories:
        for path in sorted(directory.rglob("*")):
            found += str(path).encode()
            if path.is_file():
                found += path.read_bytes()
    return bytes(found)
