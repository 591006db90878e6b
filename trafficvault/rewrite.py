"""Rewrite: rows, or categories of rows, leave living days for good. The files of such a day are written without them
under a new generation of its day keys, and the old generation dies as an expiry does, with a signed certificate.

    count (who is concerned?) → keys n+1 into the ring → files without the rows → catalogue COMMIT (files exchanged,
    generation n+1, intent, what the act has to note) → ring without the keys n, epoch key destroyed → old files dropped
    → catalogue (certificates, entry) → audit segment

Before the first COMMIT nothing counts, and the next writer sweeps what was written. After it the rest is done by
`finish`, which can be called again and again: by the next rewrite, and by expiry. From that COMMIT on no answer holds a
removed row; from the renewal on nothing that today's keys open does, whichever copy of the vault directory they meet.

The block files of a rewritten day go and come back with its next compaction. Which rows go is said by an act
(`withdrawal`, `endings`), which names no person or number here. The caller holds the writer's lock.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any

from ingest.record import CATEGORIES
from trafficvault import ahead, carving, certificates, holds, locks, raw_bytes, signing, thinning, wording
from trafficvault.catalogue import Row, Transaction
from trafficvault.certificates import Destruction
from trafficvault.errors import RefusedError, SpaceError
from trafficvault.layout import day_key_id
from trafficvault.partitions import WrittenFile
from trafficvault.thinning import Going
from trafficvault.vault import Vault

_KEY = "rewriting"
"""The `meta` row that names what was exchanged and is not certified yet: a list of objects as `_pending` makes them."""
_CERTIFIED = ("id", "batch", "rows", "bytes", "digest", "merged", "blocks")

Day = tuple[str, date]
"""Class and day."""
Note = Callable[[Transaction], None]
"""Puts what an act has to keep into the transaction that takes its rows out."""


def no_note(tx: Transaction) -> None:
    """Of an act that keeps nothing."""


@dataclass(frozen=True, slots=True)
class Why:
    """What the certificate and the audit log tell of a removal: its reason, who did it, and details of the act."""

    act: str
    rule: str
    person: str | None
    detail: dict[str, Any]
    by_subject: bool = False
    """Whether rows go for whose they are; then the delivered bytes that held them may not stay either."""


@dataclass(frozen=True, slots=True)
class Removal:
    """How many rows went or lost something, the days they were of, and the certificates that were issued."""

    rows: int
    days: tuple[Day, ...]
    certificates: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class _Thinned:
    """One day that was written anew and not exchanged yet."""

    part: Row
    old: list[Row]
    new: list[tuple[Row, WrittenFile]]
    categories: tuple[str, ...]
    removed: int

    @property
    def kept(self) -> int:
        """How many rows are left that lost nothing."""
        return sum(int(row["rows"]) for row in self.old) - self.removed


def remove(
    vault: Vault,
    days: Iterable[Day],
    going: Going,
    why: Why,
    note: Note = no_note,
) -> Removal:
    """Removes what is `going` from the living partitions among `days`, and notes what the act has to keep in
    the transaction that does it. Nothing to remove is not a failure: the act is noted all the same.

    Raises `FaultError` when a file is not what the catalogue says, `SpaceError` when there is no room for a second copy
    of a day; nothing was removed then. `min_free` keeps files from being taken in, and no record from being removed.
    """
    finish(vault)
    vault.tidy.needs_sweep = True
    thinned: list[_Thinned] = []
    for record_class, day in sorted(set(days)):
        one = _thin(vault, record_class, day, going)
        if one is not None:
            thinned.append(one)
    pending = [_pending(one, why.rule) for one in thinned]
    while not _exchanged(vault, thinned, pending, why, note):
        pass  # a hold began or ended meanwhile: what the holds of now cover is carved as well
    issued = finish(vault)
    gone = tuple((one["class"], date.fromisoformat(one["day"])) for one in pending)
    return Removal(sum(one["removed"] for one in pending), gone, issued)


def _exchanged(vault: Vault, thinned: list[_Thinned], pending: list[dict[str, Any]], why: Why, note: Note) -> bool:
    """Carves, and takes the rows out, unless the holds are others by then: one begins without the writer's lock."""
    # Whose rows they are may be asked to be kept: that is done before any of them goes.
    # A removal that broke off may have carved less: of files that came since, nothing.
    with vault.catalogue.reading() as tx:
        looked_at = ahead.digest_of(tx.select(holds.TABLE))
    carving.carve(vault, [_dying(vault, one, why) for one in pending])
    with vault.catalogue.transaction() as tx:
        if ahead.digest_of(tx.select(holds.TABLE)) != looked_at:
            return False
        vault.audit.require_in_step(tx)
        for one in thinned:
            _exchange(tx, one)
        tx.set_meta(_KEY, signing.canonical(_listed(tx) + pending).decode())
        if why.by_subject:
            rewritten = ((one.part["record_class"], date.fromisoformat(one.part["day"])) for one in thinned)
            raw_bytes.forfeit(vault, tx, rewritten)
        note(tx)
        told = {f"{one['class']}/{one['day']}": one["removed"] for one in pending}
        vault.audit.enter(tx, f"{why.act}-intent", why.person, why.detail | {"removed": told})
    vault.audit.flush()
    return True


def unfinished(vault: Vault) -> set[tuple[str, str]]:
    """Class and day of what was exchanged while the keys of the old files still live: a killed run left it."""
    with vault.catalogue.reading() as tx:
        return {(one["class"], one["day"]) for one in _listed(tx)}


def finish(vault: Vault) -> tuple[dict[str, Any], ...]:
    """Destroys what was exchanged before, and certifies it. Nothing to do is the ordinary case."""
    with vault.catalogue.reading() as tx:
        pending = _listed(tx)
    if not pending:
        return ()
    dead = {key for one in pending for key in one["keys"]}
    if vault.keys.has_any(dead):
        with locks.destroying(vault.layout, vault.settings.lease_seconds) as ended:
            leases_ended = ended
            vault.keys.renew(dead, lambda number: _commit_generation(vault, number, leases_ended=leases_ended))
    for one in pending:
        _drop_files(vault, one["class"], date.fromisoformat(one["day"]))
    with vault.catalogue.transaction() as tx:
        nonces: dict[str, str] = {}
        issued = tuple(_certify(vault, tx, one, nonces) for one in _listed(tx))
        tx.set_meta(_KEY, "[]")
        vault.audit.enter(tx, "remove", None, {"certificates": [one["id"] for one in issued], "nonces": nonces})
    vault.audit.flush()
    vault.catalogue.truncate_wal()
    return issued


def _thin(vault: Vault, record_class: str, day: date, going: Going) -> _Thinned | None:
    """The files of one day without what goes, written under its next generation; None where nothing goes."""
    with vault.catalogue.reading() as tx:
        part = tx.get("partitions", record_class=record_class, day=day.isoformat())
        rows = tx.select("files", order_by="created_at", record_class=record_class, day=day.isoformat())
    if part is None or part["state"] != "live":
        return None
    custody = vault.keys.custody("rewrite")
    counts = [thinning.count(vault.layout, custody, row, going) for row in rows]
    if not any(counts):
        return None
    _require_space(vault, rows)
    now = part["generation"] or 1
    living = [name for name in CATEGORIES if custody.has(day_key_id(record_class, day, name, now))]
    vault.keys.ensure(day_key_id(record_class, day, name, now + 1) for name in living)
    new = [
        (row, thinning.thin(vault.disk, vault.layout, custody, row, going, now + 1))
        for row, gone in zip(rows, counts, strict=True)
        if going.categories or gone < row["rows"]
    ]
    done = _Thinned(part, rows, new, going.categories or CATEGORIES, sum(counts))
    stay = sum(row["rows"] for row in rows) if going.categories else done.kept
    if (left := sum(file.rows for _, file in new)) != stay:
        raise AssertionError(f"{record_class} {day}: {left} rows are left and {stay} were to stay")
    return done


def _require_space(vault: Vault, rows: list[Row]) -> None:
    free, needed = vault.disk.free_bytes(vault.layout.vault), sum(row["bytes"] for row in rows)
    if free < needed:
        raise SpaceError(
            f"removing records: {wording.size(free)} are free, and writing a day anew takes up to "
            f"{wording.size(needed)}; free space and do it again; nothing was removed"
        )


def _exchange(tx: Transaction, one: _Thinned) -> None:
    known = tx.get("partitions", record_class=one.part["record_class"], day=one.part["day"])
    if known != one.part:
        raise RefusedError("removing records: a day of them changed meanwhile; do it again")
    tx.put("partitions", **one.part | {"generation": (one.part["generation"] or 1) + 1})
    for row in one.old:
        tx.delete("files", id=row["id"])
    for row, file in one.new:
        # Whose they are, when they came and how many were merged stay; blocks come with the next compaction.
        tx.put("files", **row | file.as_row() | {"blocks": None, "blocks_bytes": None})


def _pending(one: _Thinned, rule: str) -> dict[str, Any]:
    record_class, day = one.part["record_class"], date.fromisoformat(one.part["day"])
    now = one.part["generation"] or 1
    return {
        "class": record_class,
        "day": day.isoformat(),
        "generation": now,
        "rule": rule,
        "categories": list(one.categories),
        "removed": one.removed,
        "kept": one.kept,
        "files": [{name: row[name] for name in _CERTIFIED} for row in one.old],
        "keys": [day_key_id(record_class, day, category, now) for category in CATEGORIES],
        "destroyed": None,
    }


def _dying(vault: Vault, one: dict[str, Any], why: Why) -> carving.Part:
    place = one["class"], date.fromisoformat(one["day"])
    return *place, f"{why.act}, generation {one['generation']}, of {carving.state_of(vault, *place)}"


def _commit_generation(vault: Vault, number: int, *, leases_ended: bool) -> None:
    """The commit point of the renewal; it keeps how the keys died, for certificates that a later run may issue."""
    with vault.catalogue.transaction() as tx:
        tx.set_meta("generation", str(number))
        told = [one | {"destroyed": one["destroyed"] or [number, leases_ended]} for one in _listed(tx)]
        tx.set_meta(_KEY, signing.canonical(told).decode())


def _drop_files(vault: Vault, record_class: str, day: date) -> None:
    """Removes every file of that day that lay under the old keys: what compaction had replaced before is among them."""
    with vault.catalogue.reading() as tx:
        living = {row["id"] for row in tx.select("files", record_class=record_class, day=day.isoformat())}
    directory = vault.layout.partition(record_class, day)
    for path in sorted(directory.iterdir()) if directory.is_dir() else ():
        if not path.is_dir() and path.name.partition(".")[0] not in living:
            vault.disk.remove(path)


def _certify(vault: Vault, tx: Transaction, one: dict[str, Any], nonces: dict[str, str]) -> dict[str, Any]:
    """The certificate of one exchanged day; `nonces` gets what its commitment hides."""
    # The moment is this one, also when an earlier run was killed: the certificate never claims a deletion too early.
    told = one["destroyed"] or [vault.keys.generation, True]
    nonce = secrets.token_hex(16)
    carved = carving.commitment(tx.select(carving.TABLE, record_class=one["class"], day=one["day"]), nonce)
    issued = certificates.issue_rows(vault, tx, one, Destruction(vault.clock.now(), *told), carved)
    nonces[issued["id"]] = nonce
    return issued


def _listed(tx: Transaction) -> list[dict[str, Any]]:
    named: list[dict[str, Any]] = json.loads(tx.meta(_KEY) or "[]")
    return named
