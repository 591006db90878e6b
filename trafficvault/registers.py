"""Registers: warrants with their holds, disclosures, proposals, receipts, customers' requests and certificates have
terms too.

A row has reached its term when the moment that it tells (the last signature, release, decision, receipt, answer, issue)
is as long ago as `[terms]` of the policy says, to the microsecond, on the calendar of the policy's zone. It stays for
as long as something that is kept rests on it: a warrant for a disclosure of it or a hold that binds or still holds a
row; a receipt for a living partition, for what lies sealed of its batch, and, where files are numbered, for an earlier
receipt of its source, so that no gap is seen where there was none. A receipt outlives its records, and so a file
delivered again afterwards finds each of them past its term: nothing rests on its identity by then.

A customer's request counts from when it was closed; one that wants an answer stays. What is about records lives as long
as these can: an annotation, and a restriction that nobody lifted, stay until whatever was in the vault, or came from
their window, has reached the longest term of the classes that it can be of.

    catalogue (rows deleted, holds of warrants with them, what is to be certified; intent) → ring without their keys,
    old epoch key destroyed → catalogue (certificate, entry) → write-ahead log emptied

What names a person lies under a key of its row's own (`row_keys`), which dies here; what has none holds nothing
personal. SQLite overwrites what it deletes, and the log of changes is emptied. Every step can be done again. The caller
holds the writer's lock and believes the clock.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from ingest.sound import TOLERANCE
from trafficvault import carving, certificates, holds, locks, register_terms, retention, rights, row_keys, signing
from trafficvault.catalogue import Row, Transaction
from trafficvault.register_terms import REGISTERS
from trafficvault.terms import Term
from trafficvault.vault import Vault

KIND: Final = "register"
_TABLES: Final = {"receipts": "batches"}
"""The tables that are not called as their register is."""
_PENDING: Final = "registers"
"""The `meta` row that keeps what was deleted and is not certified yet."""
_NEVER: Final = "9999"
"""Later than every moment of the catalogue, as text."""
_MOMENTS: Final = {
    "warrants": ("registered_at", "approved_at"),
    "disclosures": ("started_at",),
    "proposals": ("proposed_at", "approved_at"),
    "receipts": ("received_at",),
    "rights": ("registered_at", "approved_at", "closed_at"),
    register_terms.ANNOTATIONS: ("made_at",),
    "certificates": ("issued_at",),
}


@dataclass(frozen=True, slots=True)
class Due:
    """One row of a register that has reached its term, since when."""

    register: str
    key: str
    due: datetime


@dataclass(frozen=True, slots=True)
class Register:
    """How a register stands: how many rows, the oldest moment that one tells, and those that are due."""

    name: str
    rows: int
    oldest: datetime | None
    due: tuple[Due, ...]


def plan(vault: Vault, now: datetime | None = None) -> list[Due]:
    """The rows that are due, now or at `now`. Reads the catalogue and changes nothing."""
    return [due for register in state(vault, now) for due in register.due]


def state(vault: Vault, now: datetime | None = None) -> list[Register]:
    """Every register as it stands, in the order of the policy's table."""
    with vault.catalogue.reading() as tx:
        return _state(vault, tx, now or vault.clock.now())


def expire(vault: Vault) -> tuple[dict[str, Any], ...]:
    """Carries out `plan`, and certifies what an earlier run deleted. Returns the certificate, if there is one."""
    row_keys.own(vault)
    issued = _expire(vault)
    row_keys.stock(vault)
    return issued


def reconcile(tx: Transaction, held: frozenset[str]) -> None:
    """Deletes what an older, restored catalogue has and whose keys are not among `held`, the living ones: they died
    because these rows had reached their terms. The next run certifies it.
    """
    row_keys.drop_spares(tx)
    lost = row_keys.lacking(tx, held)
    if lost:
        told = _told(tx)
        gone = [(table, str(row["id"])) for table, row in lost]
        keys = sorted({*told["keys"], *_delete(tx, gone)})
        _tell(tx, told | {"counts": _counted(told, gone), "keys": keys})


def _expire(vault: Vault) -> tuple[dict[str, Any], ...]:
    with vault.catalogue.transaction() as tx:
        due = [one for register in _state(vault, tx, vault.clock.now()) for one in register.due]
        if due:
            told, gone = _told(tx), [(one.register, one.key) for one in due]
            counts, keys = _counted(told, gone), sorted({*told["keys"], *_delete(tx, gone)})
            first = min([*(one.due for one in due), *([signing.moment(told["due"])] if told["due"] else [])])
            _tell(tx, told | {"counts": counts, "due": signing.instant(first), "keys": keys})
            vault.audit.enter(tx, "expire-intent", None, {"registers": counts})
    vault.audit.flush()
    with vault.catalogue.reading() as tx:
        told = _told(tx)
    if not told["counts"]:
        return ()
    if vault.keys.has_any(told["keys"]):
        with locks.destroying(vault.layout, vault.settings.lease_seconds) as ended:
            leases_ended = ended
            vault.keys.renew(told["keys"], lambda number: _commit_generation(vault, number, leases_ended=leases_ended))
    with vault.catalogue.transaction() as tx:
        issued = _certify(vault, tx, _told(tx))
        _tell(tx, _NOTHING)
        vault.audit.enter(tx, "expire", None, {"certificates": [issued["id"]]})
    vault.audit.flush()
    return (issued,)


_NOTHING: Final[dict[str, Any]] = {"counts": {}, "due": None, "keys": [], "destroyed": None}


def _told(tx: Transaction) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(tx.meta(_PENDING) or "{}")
    return _NOTHING | found


def _tell(tx: Transaction, told: dict[str, Any]) -> None:
    tx.set_meta(_PENDING, signing.canonical(told).decode())


def _counted(told: dict[str, Any], gone: Iterable[tuple[str, str]]) -> dict[str, int]:
    """How many rows went by register: those told before, and `gone`, register and id each."""
    count = Counter(told["counts"]) + Counter(register for register, _ in gone)
    return {name: count[name] for name in REGISTERS if count[name]}


def _commit_generation(vault: Vault, generation: int, *, leases_ended: bool) -> None:
    """The commit point of the renewal; it keeps how the keys died, for a certificate that a later run may issue."""
    with vault.catalogue.transaction() as tx:
        tx.set_meta("generation", str(generation))
        told = _told(tx)
        # Of rows that an earlier run began to end, a reader may have had what it opened: one certificate is of all.
        before = told["destroyed"] is None or told["destroyed"][1]
        _tell(tx, told | {"destroyed": [generation, leases_ended and before]})


def _state(vault: Vault, tx: Transaction, now: datetime) -> list[Register]:
    rows = {name: tx.select(_TABLES.get(name, name)) for name in REGISTERS}
    ended = {name: [_due(vault, name, row) for row in rows[name]] for name in REGISTERS}
    over = {name: {one.key: one for one in ended[name] if one.due <= now} for name in REGISTERS}
    kept = {name: set(_resting(name, vault, tx, rows, over, now)) for name in REGISTERS}
    return [
        Register(
            name,
            len(rows[name]),
            min((_moment(name, row) for row in rows[name]), default=None),
            tuple(one for key, one in over[name].items() if key not in kept[name]),
        )
        for name in REGISTERS
    ]


def _due(vault: Vault, register: str, row: Row) -> Due:
    rules, moment = vault.policy, _moment(register, row)
    ends = [] if register == register_terms.ANNOTATIONS else [rules.terms.of(register)]
    due = [retention.expires_at(moment, Term(period=period), rules.zone) for period in ends]
    if register == register_terms.ANNOTATIONS or (register == "rights" and rights.is_restriction(row)):
        due.append(_outlived(vault, moment, row))
    return Due(register, str(row["id"]), max(due))


def _outlived(vault: Vault, moment: datetime, row: Row) -> datetime:
    """When every record has reached its term that was there at `moment`, or can come from the window of `row`."""
    rules = vault.policy
    until = moment if row["until"] is None else max(moment, datetime.fromisoformat(row["until"]))
    classes = json.loads(row.get("classes") or "[]") or rules.classes()
    # As far behind its arrival as a record's own moment may be.
    anchor = until + TOLERANCE
    terms = [term for term in map(rules.term_of, classes) if term is not None]
    ends = [retention.expires_at(anchor, Term(period=term.lasts), rules.zone) for term in terms]
    return max(ends, default=until)


def _moment(register: str, row: Row) -> datetime:
    """The last of the moments that a row tells."""
    told = [datetime.fromisoformat(row[name]) for name in _MOMENTS[register] if row[name] is not None]
    return max(told).astimezone(UTC)


def _resting(
    register: str,
    vault: Vault,
    tx: Transaction,
    rows: dict[str, list[Row]],
    over: dict[str, dict[str, Due]],
    now: datetime,
) -> Iterator[str]:
    """The ids of rows of `register` that something kept rests on."""
    if register == "warrants":
        yield from (row["warrant"] for row in rows["disclosures"] if row["id"] not in over["disclosures"])
        yield from _held(vault, tx, now)
    elif register == "receipts":
        yield from _delivered(tx, rows["receipts"], over["receipts"])
    elif register == "rights":
        yield from (row["id"] for row in rows["rights"] if row["state"] in rights.OPEN)
    if register in ("rights", register_terms.ANNOTATIONS):
        endless = {one["record_class"] for one in tx.select("partitions") if one["state"] != "tombstone"}
        endless -= set(vault.policy.classes())
        yield from (row["id"] for row in rows[register] if endless and _is_about(register, row, endless))


def _is_about(register: str, row: Row, classes: set[str]) -> bool:
    """Whether a request or annotation can be about records of `classes`."""
    if register == "rights":
        return rights.is_restriction(row)
    return bool(classes & set(json.loads(row["classes"] or "[]") or classes))


def _held(vault: Vault, tx: Transaction, now: datetime) -> Iterator[str]:
    """Warrants whose hold binds, or ended so lately that its own term counts, or still keeps a row."""
    term = Term(period=vault.policy.terms.warrants)
    yield from (row["hold"] for row in tx.select(carving.TABLE))
    for row in tx.select(holds.TABLE):
        until = datetime.fromisoformat(row["until"]).astimezone(UTC)
        # One that was released has no later end than what its warrant tells.
        if row["state"] != "released" and retention.expires_at(until, term, vault.policy.zone) > now:
            yield str(row["id"])


def _delivered(tx: Transaction, batches: list[Row], over: dict[str, Due]) -> Iterator[str]:
    """Receipts of what is in the vault, and numbered ones behind such a receipt of their source."""
    living = {f"{row['record_class']}/{row['day']}" for row in tx.select("partitions") if row["state"] != "tombstone"}
    beside = {row["batch"] for row in tx.select("leftovers")}
    stays = {
        str(row["id"])
        for row in batches
        if row["id"] not in over or row["id"] in beside or row["sealed"] or living & set(json.loads(row["partitions"]))
    }
    yield from stays
    numbered = [row for row in batches if row["sequence"] is not None]
    first: dict[str, str] = {}
    for row in numbered:
        if row["id"] in stays:
            first[row["source"]] = min(row["received_at"], first.get(row["source"], row["received_at"]))
    # Files of one group came at one moment, so those of the same moment stay as well.
    yield from (str(row["id"]) for row in numbered if row["received_at"] >= first.get(row["source"], _NEVER))


def _delete(tx: Transaction, gone: Iterable[tuple[str, str]]) -> list[str]:
    """Deletes rows, register and id each; returns the ids of the keys that they had."""
    keys = []
    for register, name in gone:
        table = _TABLES.get(register, register)
        row = tx.get(table, id=name) or {}
        keys += [row["key"]] if row.get("key") else []
        tx.delete(table, id=name)
        if register == "warrants":
            tx.delete(holds.TABLE, id=name)
        if register == "certificates":
            for part in tx.select("partitions", certificate=name):
                tx.put("partitions", **part | {"certificate": None})
    return keys


def _certify(vault: Vault, tx: Transaction, told: dict[str, Any]) -> dict[str, Any]:
    now = vault.clock.now()
    # Of what a restored catalogue had, and whose keys were dead, nobody knows any more when it was due.
    due = now if told["due"] is None else min(signing.moment(told["due"]), now)
    counts: dict[str, int] = told["counts"]
    # The moment is this one, also when an earlier run was killed: the certificate never claims a deletion too early.
    generation, leases_ended = told["destroyed"] or (vault.keys.generation, True)
    body: dict[str, Any] = {
        "kind": "certificate-of-deletion",
        "v": 1,
        "vault": vault.settings.id,
        "what": KIND,
        "class": KIND,
        "day": now.astimezone(UTC).date().isoformat(),
        "categories": [],
        "records": sum(counts.values()),
        "counts": counts,
        "files": [],
        "keys": told["keys"],
        "generation": generation,
        "key_provider": vault.keys.provider_name,
        "term": ", ".join(f"{name} {vault.policy.register_term(name)}" for name in counts),
        "rule": "rows of registers had reached the terms of the policy's table [terms]",
        "policy": vault.policy.digest,
        "due": signing.instant(due),
        "deleted_at": signing.instant(now),
        "lateness_seconds": int((now - due).total_seconds()),
        "final_at": certificates.final_at(vault, tx, now),
        "leases_ended": leases_ended,
    }
    return certificates.sign(vault, tx, body)
