"""Where each file of a vault stands: paths only, nothing is opened or created. `FORMAT.md` describes every file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

LEFTOVERS: Final = ("rejections", "held", "raw")
"""What is sealed beside the records, under the class that it dies with and the day that it came: rejected rows, batches
that wait for a person, the delivered bytes of stored ones."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one vault directory and of the key directory apart from it."""

    vault: Path
    keys: Path

    @property
    def settings(self) -> Path:
        """The vault's id, format version and settings."""
        return self.vault / "vault.toml"

    @property
    def policy(self) -> Path:
        """The operator's policy."""
        return self.vault / "policy.toml"

    @property
    def sources(self) -> Path:
        """The operator's sources."""
        return self.vault / "sources.toml"

    @property
    def feeds(self) -> Path:
        """The operator's own feed definitions."""
        return self.vault / "feeds"

    @property
    def catalogue(self) -> Path:
        """The catalogue, a SQLite database."""
        return self.vault / "catalogue.db"

    @property
    def audit(self) -> Path:
        """The audit segments."""
        return self.vault / "audit"

    @property
    def lock(self) -> Path:
        """Held by the one process that writes; holds its process id."""
        return self.vault / "lock"

    @property
    def reserve(self) -> Path:
        """Holds space that expiry may use on a full disk."""
        return self.vault / "reserve"

    @property
    def lease(self) -> Path:
        """Held shared by a process that reads records, exclusively while keys are destroyed."""
        return self.vault / "lease"

    @property
    def pending(self) -> Path:
        """What was dropped without keys, whose keys are still to be destroyed."""
        return self.vault / "pending.json"

    @property
    def records(self) -> Path:
        """The partitions."""
        return self.vault / "records"

    @property
    def staging(self) -> Layout:
        """Where compaction prepares files, laid out as the vault is; nothing in it is anybody's until it is moved."""
        return Layout(self.vault / "compacting", self.keys)

    @property
    def spill(self) -> Path:
        """Where rows wait, sealed, while they are put in order."""
        return self.vault / "spill"

    @property
    def holds(self) -> Path:
        """What holds carved out of days that died."""
        return self.vault / "holds"

    def carve_file(self, hold_id: str, carve_id: str) -> Path:
        """The rows that a hold keeps of one class and day, sealed."""
        return self.holds / hold_id / f"{carve_id}.sealed"

    @property
    def schedule_lock(self) -> Path:
        """Held by the one process that keeps the schedule."""
        return self.vault / "schedule.lock"

    @property
    def compaction_lock(self) -> Path:
        """Held by the one process that compacts."""
        return self.vault / "compacting.lock"

    @property
    def rejections(self) -> Path:
        """The encrypted rejections."""
        return self.vault / "rejections"

    @property
    def held(self) -> Path:
        """The encrypted batches that wait for a person."""
        return self.vault / "held"

    @property
    def raw(self) -> Path:
        """The delivered bytes of stored batches, encrypted, for some days."""
        return self.vault / "raw"

    def root_of(self, kind: str) -> Path:
        """Where everything of one kind that has a term lies: records, or one of `LEFTOVERS`."""
        return {"records": self.records, "rejections": self.rejections, "held": self.held, "raw": self.raw}[kind]

    def leftover_file(self, kind: str, record_class: str, day: date, batch: str) -> Path:
        """What one batch has of a kind of `LEFTOVERS`."""
        return self.root_of(kind) / record_class / day.isoformat() / f"{batch}.sealed"

    def partition(self, record_class: str, day: date) -> Path:
        """The directory of one class and day."""
        return self.records / record_class / day.isoformat()

    def record_file(self, record_class: str, day: date, file_id: str) -> Path:
        """One Parquet file."""
        return self.partition(record_class, day) / f"{file_id}.parquet"

    def seen_file(self, record_class: str, day: date, file_id: str) -> Path:
        """The seen block that is derived from a Parquet file."""
        return self.partition(record_class, day) / f"{file_id}.seen"

    def blocks_file(self, record_class: str, day: date, file_id: str) -> Path:
        """The block file that is derived from a Parquet file."""
        return self.partition(record_class, day) / f"{file_id}.blocks"

    def rejection_file(self, record_class: str, day: date, batch: str) -> Path:
        """The rejections of one batch, under the class whose term they die with and the day they came."""
        return self.leftover_file("rejections", record_class, day, batch)

    def held_file(self, record_class: str, day: date, batch: str) -> Path:
        """One held batch, under the class whose term it dies with and the day it came."""
        return self.leftover_file("held", record_class, day, batch)

    def segment(self, number: int) -> Path:
        """One audit segment."""
        return self.audit / f"{number:08d}.log"

    @property
    def tree(self) -> Path:
        """The hashes of the Merkle tree over the audit log."""
        return self.vault / "tree"

    def tree_level(self, level: int) -> Path:
        """The hashes of the full subtrees of one level."""
        return self.tree / f"{level:02d}.hashes"

    @property
    def root_key(self) -> Path:
        """The root key of the local file provider."""
        return self.keys / "root.key"

    @property
    def sealed_root(self) -> Path:
        """The root key of the passphrase provider, sealed under the passphrase."""
        return self.keys / "root.sealed"

    @property
    def token(self) -> Path:
        """Which token the PKCS#11 provider has its keys in."""
        return self.keys / "token.json"

    @property
    def incoming(self) -> Path:
        """The directory with the root key, or token's name, that a rotation or a change of provider brings in."""
        return self.keys / "next"

    @property
    def head(self) -> Path:
        """What the keys remember of the audit log: its last entry, sealed."""
        return self.keys / "head"

    def epoch_key(self, generation: int) -> Path:
        """An epoch key, sealed under the root key."""
        return self.keys / f"epoch-{generation}"

    def ring(self, generation: int) -> Path:
        """The ring of that generation, sealed under its epoch key."""
        return self.keys / f"ring-{generation}"


def day_key_id(record_class: str, day: date, category: str, generation: int = 1) -> str:
    """The id of a day key in the ring. A day has keys of a further `generation` each time that rows of it go."""
    return f"{record_class}/{day.isoformat()}/{category}{f'/g{generation}' if generation > 1 else ''}"


def day_key_generation(key_id: str) -> tuple[str, int]:
    """The inverse of `day_key_id` as to the generation: the id that the first generation has, and which one it is."""
    first, mark, number = key_id.rpartition("/g")
    return (first, int(number)) if mark and number.isdecimal() else (key_id, 1)


def segment_key_id(number: int) -> str:
    """The id of the key of the bodies in one audit segment."""
    return f"audit/{number}"


def leftover_key_id(kind: str, record_class: str, day: date) -> str:
    """The id of the key of all that is of a kind of `LEFTOVERS`, came on `day` and dies with `record_class`."""
    if kind not in LEFTOVERS:
        raise ValueError(f"a leftover is of one of {', '.join(LEFTOVERS)}")
    return f"{kind}/{record_class}/{day.isoformat()}"


def rejections_key_id(record_class: str, day: date) -> str:
    """The id of the key of all rejections that came on `day` and die with `record_class`."""
    return leftover_key_id("rejections", record_class, day)


def held_key_id(record_class: str, day: date) -> str:
    """The id of the key of all held batches that came on `day` and die with `record_class`."""
    return leftover_key_id("held", record_class, day)


def hold_key_id(hold_id: str) -> str:
    """The id of the key of everything that a hold carved."""
    return f"hold/{hold_id}"


def is_hold_key(name: str) -> bool:
    """Whether the ring id `name` is that of a hold's key."""
    return name.startswith("hold/")
