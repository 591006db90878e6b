"""Expire: what has reached its term is gone for good, and a signed certificate says so.

    plan (pure) → catalogue(expiring + intent) → epoch g+1, ring g+1 without the dead → catalogue(g+1) → epoch g
    destroyed → files dropped → catalogue(tombstones, certificates, entry) → audit segment

Where a category has a shorter term than its record, its keys go first, by the same steps; the files stay, and no key
opens that part of them any more.

Every step can be done again: a run that was killed is finished by the next, from the first step not done. Keys are
destroyed before files are dropped: files alone, restored from any copy, open with no key of today. From the first
transaction on no reader or writer takes an expiring partition.

A clock that jumped or went back stops the run before anything is planned: a person must say which clock to believe.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

from ingest.record import CATEGORIES, FRAME
from trafficvault import (
    ahead,
    carving,
    certificates,
    endings,
    holding,
    holdings,
    locked,
    locks,
    registers,
    reserve,
    retention,
    rewrite,
    row_keys,
    segments,
    signing,
    timekeeping,
    trimming,
)
from trafficvault.catalogue import Row, Transaction
from trafficvault.certificates import Destruction
from trafficvault.errors import RefusedError
from trafficvault.holding import Over
from trafficvault.layout import day_key_id, is_hold_key, leftover_key_id
from trafficvault.people import Person, require_role
from trafficvault.retention import Item, Partition
from trafficvault.ring import UNDATED, is_row_key, is_segment_key
from trafficvault.steadfast import Attempts
from trafficvault.sweep import sweep
from trafficvault.vault import Vault

MOST_LATE = timedelta(hours=24)
"""What has been due for longer than this is wrong, and so is a day that is kept longer than was promised, which is two
days after the term of its first record (`retention.promised`): a day may be due only an hour before."""
LAST = "last_expiry"
"""The `meta` row with the moment of the last run that came to its end."""
_DESTROYED = "destroyed"
"""The `meta` row that keeps how keys died whose certificates are not issued yet: name → generation, leases ended."""


@dataclass(frozen=True, slots=True)
class Expiry:
    """What one run did: the plan it carried out, its certificates, and what stood in its way.

    `leases_ended` is false when it went ahead of a reader's lease, `wal_emptied` when a reader kept the catalogue's
    deleted rows in its write-ahead log (they hold no key; the next run tries again).
    """

    items: tuple[Item, ...]
    certificates: tuple[dict[str, Any], ...]
    generation: int
    leases_ended: bool
    wal_emptied: bool = True


def plan(vault: Vault, now: datetime | None = None) -> list[Item]:
    """What is due, now or at `now`, and what is kept, with a reason each. Reads the catalogue, opens no key and changes
    nothing.
    """
    with vault.catalogue.reading() as tx:
        return retention.plan(_holdings(tx), vault.policy, now or vault.clock.now())


def require_clock(vault: Vault, accepted_by: Person | None) -> None:
    """Raises `DecisionError` when the clock jumped or went back, unless an operator accepts the clock as it stands."""
    if accepted_by is None:
        timekeeping.believed_now(vault, "expiring", "nothing was expired")
        return
    require_role(accepted_by, "operator")
    with vault.catalogue.transaction() as tx:
        vault.audit.accept_clock(tx, accepted_by.name, vault.clock.now())
    vault.audit.flush()


def expire(
    vault: Vault, accepted_by: Person | None = None, progress: Callable[[str], None] = lambda step: None
) -> Expiry:
    """Carries out `plan`. The caller holds the writer's lock. Nothing due is not a failure: an audit entry, no new
    keys.
    """
    require_clock(vault, accepted_by)
    reserve.release(vault.layout, vault.disk)
    sweep(vault)
    rewrite.finish(vault)
    lapsed = holding.lapsed_keys(vault)
    before = _destroy(vault, lapsed, lapsed)  # before anything else is carved under them
    due = [item for item in plan(vault) if item.action == "expire"]
    # (1) From here no reader or writer takes these partitions; a crash below is finished by the next run. Without
    # anything due, the entry moves the trusted time on, so that a quiet vault's next run is no jump of the clock.
    with vault.catalogue.reading() as tx:
        loose, generations = ownerless(tx, vault.keys.key_ids()), _generations(tx)
    over = holding.ending(vault, among_others=bool(due or loose))
    with vault.catalogue.transaction() as tx:
        _mark(tx, due)
        intent = {"partitions": [_name(item) for item in due], "ownerless_keys": sorted(loose)}
        vault.audit.enter(tx, "expire-intent", None, intent | {"holds": [one.hold_id for one in over]})
        if not (due or loose or over):
            tx.set_meta(LAST, signing.instant(vault.clock.now()))
    vault.audit.flush()
    # What a hold covers is kept apart under the hold's own key, before the day's keys die: they do so on time.
    living = (item for item in due if item.kind == "records" and vault.keys.has_any(key_ids(item, generations)))
    carving.carve(vault, [(item.record_class, item.day, _name(item)) for item in living])
    # (2) Keys: the ring without the dead under a new epoch key; then the old epoch key is destroyed.
    held = holding.dead_keys(vault, over)
    dead = {key for item in due for key in key_ids(item, generations)} | loose | {*held}
    progress("destroying keys")
    leases_ended = _destroy(vault, dead, [*(_name(item) for item in due), *held]) and before
    # (3) Files: unreadable by now, and dropped to free the space.
    progress("dropping files")
    for item in due:
        _drop_files(vault, item)
    holding.drop(vault, over)
    # (4) Tombstones, certificates and the entry in one transaction.
    issued: tuple[dict[str, Any], ...] = ()
    if due or loose or over:
        with vault.catalogue.transaction() as tx:
            tx.set_meta(LAST, signing.instant(vault.clock.now()))
            nonces: dict[str, str] = {}
            issued = tuple(_certify(vault, tx, item, nonces, over) for item in due)
            if not due:
                issued = (_certify_keys(vault, tx, nonces, over, leases_ended=leases_ended),)
            done = {*(_name(item) for item in due), *(one.key_id for one in over)}
            rest = {name: how for name, how in _destroyed(tx).items() if name not in done}
            tx.set_meta(_DESTROYED, json.dumps(rest, sort_keys=True))
            holding.settle(vault, tx, over)
            # With the nonces, which are sealed here, an auditor can open what the certificates commit to.
            told_of = {"certificates": [item["id"] for item in issued], "nonces": nonces}
            vault.audit.enter(tx, "expire", None, told_of | {"holds": [one.hold_id for one in over]})
        vault.audit.flush()
    locked.settle(vault)
    forgotten, ended = segments.expire(vault)
    issued, leases_ended = (*issued, *forgotten, *registers.expire(vault)), leases_ended and ended
    emptied = vault.catalogue.truncate_wal() if issued else True
    reserve.take(vault.layout, vault.disk)
    # (5) Last, for it needs room to write days anew: records that their day would outlive by days,
    # and those of services whose end was long enough ago. What fails is told behind the rest.
    attempts = Attempts()
    issued += trimming.carry_out(vault, attempts)
    issued += endings.carry_out(vault, attempts)
    with attempts.one("carving what holds cover ahead of the days to come"):
        coming = plan(vault)
        ahead.carve(vault, coming, {(item.record_class, item.day): _name(item) for item in coming if item.ends_day})
    attempts.require_done()
    return Expiry(tuple(due), issued, vault.keys.generation, leases_ended, emptied)


def key_ids(item: Item | Partition, generations: Mapping[tuple[str, date], int] | None = None) -> list[str]:
    """The ring keys that die with `item`: those of the generation of its day keys that `generations` says, where it is
    not the first. The earlier ones died when rows of the day were removed.
    """
    match item.kind:
        case "rejections" | "held" | "raw":
            return [leftover_key_id(item.kind, item.record_class, item.day)]
        case _:
            generation = (generations or {}).get((item.record_class, item.day), 1)
            return [day_key_id(item.record_class, item.day, category, generation) for category in item.categories]


def _generations(tx: Transaction) -> dict[tuple[str, date], int]:
    """Of the day keys of each partition that rows were removed from."""
    return {
        (row["record_class"], date.fromisoformat(row["day"])): row["generation"]
        for row in tx.select("partitions")
        if row["generation"]
    }


def _holdings(tx: Transaction) -> list[Partition]:
    """Everything that has a term: living partitions, rejections and held batches by the day they came.

    Those whose keys a killed run has destroyed are finished, whatever the policy says by now. That a key is merely not
    there is no reason: an old key directory may have been put back, and `verify` names it.
    """
    found = [_partition(row) for row in tx.select("partitions")]
    leftovers = {(row["kind"], row["record_class"], row["day"]) for row in tx.select("leftovers")}
    # The names of delivered files lie under the key of the rejections, whether a row was rejected or not.
    leftovers |= {("rejections", row["die_class"], row["die_day"]) for row in tx.select("batches") if row["sealed"]}
    destroyed = _destroyed(tx)
    for kind, record_class, day in sorted(leftovers):
        part = Partition(record_class, date.fromisoformat(day), kind)
        if kind == "raw":
            part = retention.kept_together(part, tx.select("leftovers", kind=kind, record_class=record_class, day=day))
        found.append(replace(part, state="expiring") if _name(part) in destroyed else part)
    return found


def _partition(row: Row) -> Partition:
    gone = holdings.gone(row)
    left = tuple(category for category in CATEGORIES if category not in gone)
    day = date.fromisoformat(row["day"])
    return Partition(row["record_class"], day, "records", row["state"], left, holdings.going(row))


def ownerless(tx: Transaction, held: frozenset[str]) -> set[str]:
    """Keys in the ring that could die and that nothing lies under: of a batch or row that broke off, or of a batch that
    held duplicates only.
    """
    generations = _generations(tx)
    living = [part for part in _holdings(tx) if part.state != "tombstone"]
    owned = {key for part in living for key in key_ids(part, generations)}
    dated = {name for name in held if name not in UNDATED and not (is_segment_key(name) or is_hold_key(name))}
    if any(map(is_row_key, dated)):
        owned |= row_keys.owned(tx)
    return dated - owned


def _mark(tx: Transaction, due: Iterable[Item]) -> None:
    for item in due:
        if item.kind == "records":
            row = tx.get("partitions", record_class=item.record_class, day=item.day.isoformat())
            if row is None or row["state"] == "tombstone":
                raise RefusedError(f"expiring {_name(item)}: it is not a living partition")
            if item.ends_day:
                tx.put("partitions", **(row | {"state": "expiring"}))
            else:
                # From here no reader takes the keys of these categories; the rest of the day goes on.
                going = sorted({*holdings.going(row), *item.categories})
                tx.put("partitions", **(row | {"going": _array(going)}))


def _destroy(vault: Vault, dead: Collection[str], names: Iterable[str]) -> bool:
    """Destroys the keys `dead`, with which `names` die; whether every reader's lease had ended."""
    if not vault.keys.has_any(dead):
        return True
    with locks.destroying(vault.layout, vault.settings.lease_seconds) as ended:
        vault.keys.renew(dead, lambda number: _commit_generation(vault, number, names, leases_ended=ended))
    return ended


def _commit_generation(vault: Vault, generation: int, names: Iterable[str], *, leases_ended: bool) -> None:
    """The commit point of the renewal; it keeps how the keys died, for certificates that a later run may issue."""
    with vault.catalogue.transaction() as tx:
        tx.set_meta("generation", str(generation))
        told = {name: [generation, leases_ended] for name in names} | _destroyed(tx)
        tx.set_meta(_DESTROYED, json.dumps(told, sort_keys=True))


def _destroyed(tx: Transaction) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(tx.meta(_DESTROYED) or "{}")
    return found


def _drop_files(vault: Vault, item: Item) -> None:
    if not item.ends_day:
        return  # the rest of each file is still read
    directory = vault.layout.root_of(item.kind) / item.record_class / item.day.isoformat()
    if not directory.is_dir():
        return
    for path in sorted(directory.iterdir()):
        if not path.is_dir():
            vault.disk.remove(path)
    # A directory inside is nobody's: it stays for `verify` to name, and stops no expiry.
    if not any(directory.iterdir()):
        vault.disk.remove_directory(directory)


def _certify(vault: Vault, tx: Transaction, item: Item, nonces: dict[str, str], over: Iterable[Over]) -> dict[str, Any]:
    """The certificate of `item`, the end of its rows, and its tombstone; `nonces` gets what its commitment hides."""
    day = item.day.isoformat()
    if item.kind == "records":
        rows = tx.select("files", record_class=item.record_class, day=day)
    else:
        rows = tx.select("leftovers", kind=item.kind, record_class=item.record_class, day=day)
    # The moment is this one, also when an earlier run was killed: the certificate never claims a deletion too early.
    destroyed = Destruction(vault.clock.now(), *_destroyed(tx).get(_name(item), [vault.keys.generation, True]))
    known = tx.get("partitions", record_class=item.record_class, day=day) if item.kind == "records" else None
    generation = known["generation"] if known else None
    keys = key_ids(item, {(item.record_class, item.day): generation or 1})
    carves = tx.select(carving.TABLE, record_class=item.record_class, day=day) if item.kind == "records" else []
    nonce = secrets.token_hex(16)
    carved = carving.commitment(carves, nonce, (row for one in over for row in one.carves))
    certificate = certificates.issue(vault, tx, item, rows, keys, destroyed, carved)
    nonces[certificate["id"]] = nonce
    if not item.ends_day:
        _lose(tx, item)
        return certificate
    for row in rows:
        if item.kind == "records":
            tx.delete("files", id=row["id"])
        else:
            tx.delete("leftovers", **{key: row[key] for key in ("kind", "record_class", "day", "batch")})
    if item.kind == "records":
        tx.put(
            "partitions",
            record_class=item.record_class,
            day=day,
            state="tombstone",
            certificate=certificate["id"],
            generation=generation,
        )
    for row in tx.select("batches", die_class=item.record_class, die_day=day):
        if item.kind == "rejections":
            tx.put("batches", **row | {"sealed": ""})
        elif item.kind == "held" and row["status"] == "held":
            # No longer held: the same file, delivered again, is taken in anew.
            tx.put("batches", **row | {"status": "expired"})
    return certificate


def _certify_keys(
    vault: Vault, tx: Transaction, nonces: dict[str, str], over: Iterable[Over], *, leases_ended: bool
) -> dict[str, Any]:
    """The certificate of a run in which keys died and nothing was due: what a hold kept is behind its commitment."""
    how = [_destroyed(tx).get(one.key_id, [vault.keys.generation, leases_ended]) for one in over]
    generation = max((number for number, _ in how), default=vault.keys.generation)
    destroyed = Destruction(vault.clock.now(), generation, leases_ended and all(ended for _, ended in how))
    nonce = secrets.token_hex(16)
    carved = carving.commitment((), nonce, (row for one in over for row in one.carves))
    certificate = certificates.issue_keys(vault, tx, destroyed, carved)
    nonces[certificate["id"]] = nonce
    return certificate


def _lose(tx: Transaction, item: Item) -> None:
    """Writes down that the categories of `item` are gone from a day that lives on."""
    row = tx.get("partitions", record_class=item.record_class, day=item.day.isoformat())
    if row is None:
        raise RefusedError(f"expiring {_name(item)}: it is not a living partition")
    gone = sorted({*holdings.gone(row), *item.categories})
    going = [category for category in holdings.going(row) if category not in gone]
    tx.put("partitions", **(row | {"gone": _array(gone), "going": _array(going) if going else None}))


def _array(names: Iterable[str]) -> str:
    return signing.canonical(list(names)).decode()


def reconcile(tx: Transaction, held: frozenset[str], generation: int) -> list[str]:
    """Marks what an older, restored catalogue believes to live and whose keys are not among `held`, the living ones.

    Their keys died with the ring of `generation` at the latest; the next run drops what is left and certifies it. A
    category whose key alone is gone from a day is marked as one that ends. Returns the names of what died whole. What
    the ring has and the catalogue does not know stays in the ring until that run.
    """
    generations = _generations(tx)
    living = [part for part in _holdings(tx) if part.state != "tombstone"]
    dead = [part for part in living if not held.intersection(key_ids(part, generations))]
    for part in living:
        if part.kind != "records":
            continue
        row = tx.get("partitions", record_class=part.record_class, day=part.day.isoformat()) or {}
        if part in dead:
            tx.put("partitions", **(row | {"state": "expiring"}))
            continue
        one = generations.get((part.record_class, part.day), 1)
        lost = [name for name in part.categories if day_key_id(part.record_class, part.day, name, one) not in held]
        if lost:
            tx.put("partitions", **(row | {"going": _array(sorted({*holdings.going(row), *lost}))}))
    known = _destroyed(tx)
    more = {_name(part): [generation, True] for part in dead}
    tx.set_meta(_DESTROYED, json.dumps(more | known, sort_keys=True))
    registers.reconcile(tx, held)
    return [_name(part) for part in dead]


def _name(item: Item | Partition) -> str:
    """What a run calls it: `records/voip/2026-05-10`, with the categories behind where only these end."""
    ends_day = item.kind != "records" or FRAME in item.categories
    name = f"{item.kind}/{item.record_class}/{item.day.isoformat()}"
    return name if ends_day else f"{name}/{'+'.join(item.categories)}"


def is_late(item: Item, now: datetime) -> bool:
    """Whether `item` should be gone: it was promised to be, or has been due for longer than `MOST_LATE`."""
    if item.due is None:
        return False
    by = item.due + MOST_LATE
    return now > (by if item.promised is None else min(by, item.promised))


def lateness(item: Item, now: datetime) -> timedelta:
    """How long `item` is past the moment it was due; zero when it is not."""
    return max(timedelta(0), now - item.due) if item.due else timedelta(0)
