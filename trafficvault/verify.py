"""Verify: recompute everything from disk, compare it with catalogue and audit log, and name each fault as what it is.

Reads only. (1) the public key of the settings against the signing key, (2) catalogue rows against their seals, (3) the
audit chain against its signatures and the catalogue's head, (4) every file against its keyed digest, then opened with
its own keys: rows and row sum, which the footer of a merged file must tell as well; its seen block and its block file,
posting lists included, against what its rows give, (5) rejections, held batches and kept files against their keyed
digests, (6) what lies in the vault and the key directory that should not, by exact path, (7) the keys: every living day
has them, no expired day does, (8) certificates against their signatures, and that every tombstone still has the one it
names, (9) checkpoints, and the tree of hashes, against the audit log.

The caller holds the writer's lock, and has opened the vault under it: else the files of a batch that is being received,
or the keys of a renewal under way, would look like faults.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, time
from functools import partial

from ingest.record import CATEGORIES
from trafficvault import (
    arranging,
    checkpoints,
    compaction,
    holding,
    holdings,
    partitions,
    raw_bytes,
    rewrite,
    row_keys,
    signing,
    strangers,
    superseded,
)
from trafficvault.catalogue import Row
from trafficvault.errors import FaultError, VaultError
from trafficvault.faults import Fault, Verification, compare, place_of, unreadable
from trafficvault.keys import Custody
from trafficvault.layout import day_key_generation, day_key_id, leftover_key_id
from trafficvault.progress import Progress, Watch
from trafficvault.sealed_parquet import Place
from trafficvault.strangers import Known, leftover_path
from trafficvault.vault import Vault

STEPS = ("settings", "catalogue", "audit", "records", "leftovers", "strangers", "keys", "certificates", "checkpoints")
"""The names that `verify` calls its `progress` with, in order; a catalogue that can't be read ends it before."""


def verify(
    vault: Vault, progress: Watch = lambda step: None, wanted: Callable[[Row], bool] = lambda row: True
) -> Verification:
    """Checks the whole vault; of record files those that are `wanted` by their row. Never raises for a fault: it is in
    the result.
    """
    checked: dict[str, int] = {}
    faults: list[Fault] = []

    def run(name: str, found: Iterator[Fault]) -> None:
        progress(name)
        faults.extend(found)

    run("settings", _settings(vault))
    run("catalogue", _catalogue(vault, checked))
    run("audit", _audit(vault, checked))
    try:
        with vault.catalogue.reading() as tx:
            files, leftovers, batches = tx.select("files"), tx.select("leftovers"), tx.select("batches")
            parts, certificates = tx.select("partitions"), tx.select("certificates")
            replaced = superseded.paths(vault.layout, tx)
    except FaultError as fault:
        # What the catalogue says can't be believed, so nothing can be compared with it.
        return Verification((*faults, Fault("changed", "catalogue", str(fault))), checked)
    run("records", _records(vault, [row for row in files if wanted(row)], checked, progress))
    run("leftovers", _leftovers(vault, leftovers, checked))
    known = Known.of(vault.layout, files, leftovers, parts, batches, certificates, replaced)
    run("strangers", strangers.find(vault.layout, known))
    faults.extend(holding.faults(vault))
    run("keys", _keys(vault, parts, leftovers, checked))
    run("certificates", _certificates(vault, parts, certificates, checked))
    run("checkpoints", _checkpoints(vault, checked))
    return Verification(tuple(faults), checked)


def _settings(vault: Vault) -> Iterator[Fault]:
    name = vault.layout.settings.name
    if vault.settings.public_key != _public_key(vault):
        yield Fault("changed", name, f"{name}: its public_key is not that of the key this vault signs with")


def _public_key(vault: Vault) -> str:
    return signing.public_key_of(vault.keys.signing_key())


def _catalogue(vault: Vault, checked: dict[str, int]) -> Iterator[Fault]:
    sentences = vault.catalogue.check()
    checked["catalogue"] = 1
    for sentence in sentences:
        yield Fault("changed", "catalogue", sentence)


def _audit(vault: Vault, checked: dict[str, int]) -> Iterator[Fault]:
    entries, faults = audit_faults(vault)
    if entries is not None:
        checked["audit entries"] = entries
    yield from faults


def audit_faults(vault: Vault) -> tuple[int | None, list[Fault]]:
    """How many entries the audit log has when it is whole, or None and each of its faults."""
    try:
        return vault.audit.verify(), []
    except FaultError as first:
        found = vault.audit.faults() or [("changed", str(first))]
        return None, [Fault(kind, "audit", sentence) for kind, sentence in found]


def _checkpoints(vault: Vault, checked: dict[str, int]) -> Iterator[Fault]:
    # Against a log that is not whole nothing can be held; its own faults are named already.
    if "audit entries" in checked:
        for sentence in checkpoints.faults(vault):
            yield Fault("changed", "audit", sentence)


def _records(vault: Vault, files: list[Row], checked: dict[str, int], progress: Watch) -> Iterator[Fault]:
    custody = vault.keys.custody("verify")
    digests = {str(row["digest"]): str(row["id"]) for row in files}
    checked["record files"] = len(files)
    checked["records"] = 0
    whole = sum(int(str(row["bytes"])) for row in files)
    done = 0
    for row in files:
        progress(Progress("records", checked["records"], done, whole, "bytes"))
        done += int(str(row["bytes"]))
        record_class, day, file_id = str(row["record_class"]), date.fromisoformat(str(row["day"])), str(row["id"])
        path = vault.layout.record_file(record_class, day, file_id)
        fault = compare(path, row, partial(partitions.keyed_digest_of, custody), digests)
        if fault is not None:
            yield fault
            continue
        try:
            found = partitions.measure(vault.layout, custody, record_class, day, file_id, _generation(row))
        except VaultError as problem:
            yield Fault("unreadable", path.name, f"{place_of(path)}: {problem}")
            continue
        checked["records"] += found.rows
        if found.rows != row["rows"]:
            yield Fault(
                "count", path.name, f"{place_of(path)} holds {found.rows} records, the catalogue says {row['rows']}"
            )
        elif found.differs_from(str(row["row_sum"])) or (row["merged"] is not None and found.told != row["row_sum"]):
            yield Fault("content", path.name, f"{place_of(path)}: its records are not those that were committed")
        else:
            yield from _seen(vault, custody, Place(record_class, day, file_id, _generation(row)))
            yield from _blocks(vault, custody, row)


def _generation(row: Row) -> int:
    """Of the day keys that a file, or the new files of a partition, lie under."""
    return int(str(row["generation"] or 1))


def _seen(vault: Vault, custody: Custody, place: Place) -> Iterator[Fault]:
    file = place.record_class, place.day, place.file_id
    path = vault.layout.seen_file(*file)
    try:
        kind = partitions.seen_fault(vault.layout, custody, *file, place.generation)
    except OSError as problem:
        yield unreadable(path, problem)
        return
    if kind == "missing":
        if not compaction.may_still_come(place.day, vault.settings.delivery_window.delta(), vault.clock.now()):
            return  # compaction drops it once nothing comes any more in the ordinary way
        yield Fault(kind, path.name, f"{place_of(path)} is missing; it is made again from the records beside it")
    elif kind is not None:
        yield Fault(kind, path.name, f"{place_of(path)} is not what the records beside it give: bits were changed")


def _blocks(vault: Vault, custody: Custody, row: Row) -> Iterator[Fault]:
    """The block file of a record file that is whole. It holds no truth, so each fault says how it is made again."""
    if row["blocks"] is None:
        return
    day = date.fromisoformat(str(row["day"]))
    place = Place(str(row["record_class"]), day, str(row["id"]), _generation(row))
    path = vault.layout.blocks_file(place.record_class, day, place.file_id)
    again = f"no record is lost: `compact --class {place.record_class} --day {day.isoformat()}` makes it again"
    told = {"digest": row["blocks"], "bytes": row["blocks_bytes"]}
    fault = compare(path, told, partial(partitions.keyed_digest_of, custody), {})
    if fault is not None:
        yield replace(fault, sentence=f"{fault.sentence}; {again}")
        return
    problem = arranging.fault(vault.layout, custody, place, str(row["row_sum"]))
    if problem is not None:
        yield Fault("content", path.name, f"{place_of(path)}: {problem}; {again}")


def _leftovers(vault: Vault, leftovers: list[Row], checked: dict[str, int]) -> Iterator[Fault]:
    custody = vault.keys.custody("verify")
    digests = {str(row["digest"]): str(row["batch"]) for row in leftovers}
    checked["rejections and held"] = len(leftovers)
    for row in leftovers:
        kept = row["kind"] == raw_bytes.KIND
        digest_of = partial(raw_bytes.digest_of, custody, row) if kept else partial(partitions.keyed_digest_of, custody)
        fault = compare(leftover_path(vault.layout, row), row, digest_of, digests)
        if fault is not None:
            yield fault


def _keys(vault: Vault, parts: list[Row], leftovers: list[Row], checked: dict[str, int]) -> Iterator[Fault]:
    checked["partitions"] = len(parts)
    for sentence in vault.keys.problems():
        yield Fault("keys", "key directory", sentence)
    held = vault.keys.key_ids()
    ages: dict[str, set[int]] = {}
    for key_id in held:
        name, generation = day_key_generation(key_id)
        ages.setdefault(name, set()).add(generation)
    unfinished = rewrite.unfinished(vault)
    for row in parts:
        yield from _day_keys(row, ages, renewing=(str(row["record_class"]), str(row["day"])) in unfinished)
    with vault.catalogue.reading() as tx:
        unreadable = row_keys.lacking(tx, held)
    for table, row in unreadable:
        yield Fault("key missing", str(row["id"]), f"{table} {row['id']}: its key is not in the ring")
    for row in leftovers:
        day = date.fromisoformat(str(row["day"]))
        if leftover_key_id(str(row["kind"]), str(row["record_class"]), day) not in held:
            yield Fault(
                "key missing", str(row["batch"]), f"{row['kind']} of batch {row['batch']}: their key is not in the ring"
            )


def _day_keys(row: Row, ages: Mapping[str, set[int]], *, renewing: bool) -> Iterator[Fault]:
    """What is wrong with the keys of one partition; `ages` are the generations of each day key that the ring holds. One
    that is `renewing` may still have those of before.
    """
    record_class, day, living = str(row["record_class"]), date.fromisoformat(str(row["day"])), _generation(row)
    name, lost = f"{record_class} {day.isoformat()}", holdings.lost(row)
    held = {category: ages.get(day_key_id(record_class, day, category), set()) for category in CATEGORIES}
    lacking = [category for category, there in held.items() if living not in there and category not in lost]
    if row["state"] == "live" and lacking:
        yield Fault("key missing", name, f"{name}: {len(lacking)} of its day keys are not in the ring")
    count = sum(len(there) for there in held.values())
    if row["state"] == "tombstone" and count:
        yield Fault("key restored", name, f"{name} has expired and {count} of its day keys are in the ring")
    for category in holdings.gone(row):
        if held[category]:
            yield Fault("key restored", name, f"{category} of {name} has expired and its key is in the ring")
    retired = sum(generation < living for there in held.values() for generation in there)
    if row["state"] == "live" and retired and not renewing:
        sentence = f"rows of {name} were removed and {retired} keys that opened them are in the ring"
        yield Fault("key restored", name, sentence)


def _may_lack(vault: Vault, row: Row) -> bool:
    """Whether the certificate of a tombstone may have reached a term of its own; then the tombstone names none."""
    day = datetime.combine(date.fromisoformat(str(row["day"])), time(), UTC)
    ended = vault.policy.terms.of("certificates").after(day, vault.policy.zone) <= vault.clock.now()
    return row["certificate"] is None and ended


def _certificates(vault: Vault, parts: list[Row], certificates: list[Row], checked: dict[str, int]) -> Iterator[Fault]:
    checked["certificates"] = len(certificates)
    by_id = {row["id"]: row for row in certificates}
    public_key = _public_key(vault)
    for row in certificates:
        try:
            signing.require_signature(
                public_key, str(row["signature"]), str(row["body"]).encode(), f"certificate {row['id']}"
            )
        except FaultError as problem:
            yield Fault("signature", str(row["id"]), str(problem))
    for row in parts:
        if row["state"] == "tombstone" and row["certificate"] not in by_id and not _may_lack(vault, row):
            yield Fault(
                "certificate missing",
                f"{row['record_class']} {row['day']}",
                f"{row['record_class']} {row['day']}: no certificate",
            )
