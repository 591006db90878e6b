"""Verify: recompute everything from disk, compare it with catalogue and audit log, and name each fault as what it is.

Reads only. (1) catalogue rows against their seals, (2) the audit chain against its signatures and the catalogue's head,
(3) every file against its keyed digest, (4) every file opened with its own keys: rows and row sum, (5) what lies there
that should not, (6) the keys: every living day has them, no expired day does, (7) certificates against their
signatures.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from ingest.record import CATEGORIES
from trafficvault import partitions, signing
from trafficvault.errors import FaultError, VaultError
from trafficvault.keys import Custody
from trafficvault.layout import day_key_id, held_key_id, rejections_key_id
from trafficvault.vault import Vault


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


def verify(vault: Vault, progress: Callable[[str], None] = lambda step: None) -> Verification:
    """Checks the whole vault. Never raises for a fault: it is in the result."""
    checked: dict[str, int] = {}
    faults: list[Fault] = []

    def run(name: str, found: Iterator[Fault]) -> None:
        progress(name)
        faults.extend(found)

    run("catalogue", _catalogue(vault, checked))
    run("audit", _audit(vault, checked))
    try:
        with vault.catalogue.reading() as tx:
            files, leftovers = tx.select("files"), tx.select("leftovers")
            parts, certificates = tx.select("partitions"), tx.select("certificates")
    except FaultError as fault:
        # What the catalogue says can't be believed, so nothing can be compared with it.
        return Verification((*faults, Fault("changed", "catalogue", str(fault))), checked)
    run("records", _records(vault, files, certificates, checked))
    run("leftovers", _leftovers(vault, leftovers, checked))
    run("strangers", _strangers(vault, files, leftovers, certificates))
    run("keys", _keys(vault, parts, leftovers, checked))
    run("certificates", _certificates(vault, parts, certificates, checked))
    return Verification(tuple(faults), checked)


def _catalogue(vault: Vault, checked: dict[str, int]) -> Iterator[Fault]:
    sentences = vault.catalogue.check()
    checked["catalogue"] = 1
    for sentence in sentences:
        yield Fault("changed", "catalogue", sentence)


def _audit(vault: Vault, checked: dict[str, int]) -> Iterator[Fault]:
    try:
        checked["audit entries"] = vault.audit.verify()
    except FaultError as fault:
        yield Fault("changed", "audit", str(fault))


def _records(
    vault: Vault, files: list[dict[str, object]], certificates: list[dict[str, object]], checked: dict[str, int]
) -> Iterator[Fault]:
    custody = vault.keys.custody("verify")
    digests = {str(row["digest"]): str(row["id"]) for row in files}
    checked["record files"] = len(files)
    checked["records"] = 0
    for row in files:
        record_class, day, file_id = str(row["record_class"]), date.fromisoformat(str(row["day"])), str(row["id"])
        path = vault.layout.record_file(record_class, day, file_id)
        fault = _compare(custody, path, row, digests)
        if fault is not None:
            yield fault
            continue
        try:
            found = partitions.measure(vault.layout, custody, record_class, day, file_id)
        except VaultError as problem:
            yield Fault("unreadable", path.name, f"{_place(path)}: {problem}")
            continue
        checked["records"] += found.rows
        if found.rows != row["rows"]:
            yield Fault(
                "count", path.name, f"{_place(path)} holds {found.rows} records, the catalogue says {row['rows']}"
            )
        elif found.differs_from(str(row["row_sum"])):
            yield Fault("content", path.name, f"{_place(path)}: its records are not those that were committed")


def _leftovers(vault: Vault, leftovers: list[dict[str, object]], checked: dict[str, int]) -> Iterator[Fault]:
    custody = vault.keys.custody("verify")
    digests = {str(row["digest"]): str(row["batch"]) for row in leftovers}
    checked["rejections and held"] = len(leftovers)
    for row in leftovers:
        fault = _compare(custody, _leftover_path(vault, row), row, digests)
        if fault is not None:
            yield fault


def _compare(custody: Custody, path: Path, row: dict[str, object], digests: dict[str, str]) -> Fault | None:
    """The file at `path` against its catalogue `row`, by size and keyed digest of the ciphertext."""
    if not path.is_file():
        return Fault("missing", path.name, f"{_place(path)} is missing")
    blob = path.read_bytes()
    digest = partitions.keyed_digest(custody, blob)
    if digest == row["digest"]:
        return None
    other = digests.get(digest)
    if other is not None:
        return Fault(
            "swapped", path.name, f"{_place(path)} has the content of file {other}: the two were exchanged or copied"
        )
    size = int(str(row["bytes"]))
    if len(blob) < size:
        return Fault(
            "truncated", path.name, f"{_place(path)} has {len(blob)} bytes, the catalogue says {size}: it was truncated"
        )
    if len(blob) > size:
        return Fault(
            "extended", path.name, f"{_place(path)} has {len(blob)} bytes, the catalogue says {size}: it was extended"
        )
    return Fault("bit flip", path.name, f"{_place(path)} has the right size and other content: bits were changed")


def _strangers(
    vault: Vault,
    files: list[dict[str, object]],
    leftovers: list[dict[str, object]],
    certificates: list[dict[str, object]],
) -> Iterator[Fault]:
    """Files that no row of the catalogue knows; one that a certificate names was restored after its expiry."""
    known = {str(row["id"]) for row in files}
    waiting = {_leftover_path(vault, row) for row in leftovers}
    expired = {item["id"] for row in certificates for item in json.loads(str(row["body"]))["files"]}
    for root in (vault.layout.records, vault.layout.rejections, vault.layout.held):
        for path in sorted(item for item in root.rglob("*") if item.is_file()):
            name = path.name.partition(".")[0]
            if path in waiting or (root == vault.layout.records and name in known and _at_home(vault, path, files)):
                continue
            if name in expired:
                yield Fault("restored after expiry", path.name, f"{_place(path)} was expired and has been put back")
            elif name in known:
                yield Fault("misplaced", path.name, f"{_place(path)} does not lie where the catalogue has it")
            else:
                yield Fault(
                    "extra", path.name, f"{_place(path)} is not in the catalogue: of a broken-off batch, or put there"
                )


def _at_home(vault: Vault, path: Path, files: list[dict[str, object]]) -> bool:
    return any(
        path.parent == vault.layout.partition(str(row["record_class"]), date.fromisoformat(str(row["day"])))
        for row in files
        if row["id"] == path.name.partition(".")[0]
    )


def _keys(
    vault: Vault, parts: list[dict[str, object]], leftovers: list[dict[str, object]], checked: dict[str, int]
) -> Iterator[Fault]:
    checked["partitions"] = len(parts)
    for sentence in vault.keys.problems():
        yield Fault("keys", "key directory", sentence)
    held = vault.keys.key_ids()
    for row in parts:
        day = date.fromisoformat(str(row["day"]))
        ids = {day_key_id(str(row["record_class"]), day, category) for category in CATEGORIES}
        name = f"{row['record_class']} {day.isoformat()}"
        if row["state"] == "live" and not ids <= held:
            yield Fault("key missing", name, f"{name}: {len(ids - held)} of its day keys are not in the ring")
        if row["state"] == "tombstone" and ids & held:
            yield Fault(
                "key restored", name, f"{name} has expired and {len(ids & held)} of its day keys are in the ring"
            )
    for row in leftovers:
        day = date.fromisoformat(str(row["day"]))
        of_kind = held_key_id if row["kind"] == "held" else rejections_key_id
        if of_kind(str(row["record_class"]), day) not in held:
            yield Fault(
                "key missing", str(row["batch"]), f"{row['kind']} of batch {row['batch']}: their key is not in the ring"
            )


def _certificates(
    vault: Vault, parts: list[dict[str, object]], certificates: list[dict[str, object]], checked: dict[str, int]
) -> Iterator[Fault]:
    checked["certificates"] = len(certificates)
    by_id = {row["id"]: row for row in certificates}
    for row in certificates:
        try:
            signing.require_signature(
                vault.settings.public_key, str(row["signature"]), str(row["body"]).encode(), f"certificate {row['id']}"
            )
        except FaultError as problem:
            yield Fault("signature", str(row["id"]), str(problem))
    for row in parts:
        if row["state"] == "tombstone" and row["certificate"] not in by_id:
            yield Fault(
                "certificate missing",
                f"{row['record_class']} {row['day']}",
                f"{row['record_class']} {row['day']}: no certificate",
            )


def _leftover_path(vault: Vault, row: dict[str, object]) -> Path:
    day = date.fromisoformat(str(row["day"]))
    of_kind = vault.layout.held_file if row["kind"] == "held" else vault.layout.rejection_file
    return of_kind(str(row["record_class"]), day, str(row["batch"]))


def _place(path: Path) -> str:
    return "/".join(path.parts[-4:])
