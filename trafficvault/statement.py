"""The statement: the policy's table, and of each row whether it is true today, signed by the vault.

A row is TRUE when nothing of its classes and categories is there that should be gone (`expire.is_late`), and no expiry
of it stands half done. What is not stored is told as that. The signature is over
the canonical body and holds offline with the vault's public key alone. It names classes, days and numbers, no person.

A clock that was set back makes nothing true: the moment is never before the last one that the audit log trusts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from trafficvault import expire, holdings, registers, signing, trimming
from trafficvault.catalogue import Row
from trafficvault.errors import FaultError, UsageError
from trafficvault.expire import MOST_LATE, is_late
from trafficvault.period import LANGUAGES
from trafficvault.policy import Entry
from trafficvault.registers import Register
from trafficvault.retention import Item
from trafficvault.vault import Vault

TRUE: Final = "TRUE"
NOT_TRUE: Final = "NOT TRUE TODAY"
_KIND: Final = "statement"
_NEWEST_LAST: Final = ("issued_at", "record_class", "day", "id")
"""Certificates of one run by class and day, so that which is the last does not hang on an id."""
_DOCKET: Final = frozenset({"warrants", "disclosures", "proposals"})
"""The registers that tell whether anybody is being looked at."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A signed statement: its body, its id (of the body's digest) and the vault's signature over the body."""

    body: dict[str, Any]
    identity: str
    signature: str

    def as_dict(self) -> dict[str, Any]:
        """The form of `--json` and of the file."""
        return {"id": self.identity, "signature": self.signature, **self.body}

    def require_true(self) -> None:
        """Raises `FaultError` when a row is not true, or something is stored that no row covers."""
        untrue = [row["id"] for row in self.body["rows"] if row["verdict"] != TRUE]
        if untrue:
            raise FaultError(f"stating the policy: {NOT_TRUE}: {', '.join(untrue)}; run expire")
        if not self.body["true"]:
            raise FaultError(f"stating the policy: {NOT_TRUE}: {'; '.join(self.body['reasons'])}")


def state(vault: Vault) -> Statement:
    """The statement as it is now. Reads the catalogue, opens no record and changes nothing."""
    with vault.catalogue.reading() as tx:
        parts, files, issued = tx.select("partitions"), tx.select("files"), tx.select("certificates")
        trusted = vault.audit.trusted_time(tx)
    now = max(vault.clock.now(), trusted or vault.clock.now())
    items = [item for item in expire.plan(vault, now) if item.action == "expire"]
    items += [one.item for one in trimming.due(vault, now)]
    begun = {(row["record_class"], row["day"]) for row in parts if row["state"] == "expiring" or row["going"]}
    # The days that hold a record: one that is told without them is empty.
    held = {(row["record_class"], row["day"]) for row in files}
    living = [row for row in parts if row["state"] == "live" and (row["record_class"], row["day"]) in held]
    certificates = sorted(issued, key=lambda row: [str(row[name]) for name in _NEWEST_LAST])
    rows = [
        _row(entry, [item for item in items if _concerns(entry, item)], begun, living, certificates, now)
        for entry in vault.policy.entries
    ]
    bodies = [json.loads(row["body"]) | {"id": row["id"]} for row in certificates]
    ends = [one for one in bodies if one["what"] == registers.KIND]
    apart = vault.policy.table[len(vault.policy.entries) :]
    rows += [_register(entry, one, ends, now) for entry, one in zip(apart, registers.state(vault, now), strict=True)]
    reasons = [
        f"class {name} is stored and no entry of the policy covers it"
        for name in sorted({row["record_class"] for row in living} - set(vault.policy.classes()))
    ]
    clock = vault.audit.clock_problem(vault.clock.now())
    body = {
        "kind": _KIND,
        "v": 1,
        "vault": vault.settings.id,
        "at": signing.instant(now),
        "clock": clock,
        "zone": vault.policy.zone,
        "policy": vault.policy.digest,
        "rows": rows,
        "reasons": reasons,
        "true": not reasons and all(row["verdict"] == TRUE for row in rows),
    }
    signature = signing.sign(vault.keys.signing_key(), signing.canonical(body))
    return Statement(body, _identity(body), signature)


def require_authentic(text: str, public_key: str) -> Statement:
    """The statement that `text` holds, when it is one and the vault of `public_key` signed it. Needs no vault.

    Raises `UsageError` when it has not the form of one, `FaultError` when a word of it was changed.
    """
    try:
        found = signing.read(text)
        identity, signature = str(found.pop("id")), str(found.pop("signature"))
        canonical = signing.canonical(found)
        if (found["kind"], found["v"]) != (_KIND, 1):
            raise KeyError("kind")
    except (ValueError, TypeError, KeyError, AttributeError) as problem:
        raise UsageError(
            "checking a statement: the file is not a statement of version 1; give what `statement --out` wrote"
        ) from problem
    signing.require_signature(public_key, signature, canonical, "the statement")
    if identity != _identity(found):
        raise FaultError("checking a statement: its id is not that of its content")
    return Statement(found, identity, signature)


def table(statement: Statement, language: str = "en") -> Iterable[tuple[object, ...]]:
    """The rows for a screen: entry, service, kept for, oldest day, due, last certificate, verdict."""
    for row in statement.body["rows"]:
        last = row["last_certificate"]
        yield (
            row["id"],
            row["service"][language],
            row["kept"][language],
            row["oldest_day"],
            row["due"],
            None if last is None else f"{last['deleted_at'][:10]} {last['id']}",
            row["verdict"],
        )


def _row(
    entry: Entry,
    due: list[Item],
    begun: set[tuple[str, str]],
    living: list[Row],
    certificates: list[Row],
    now: datetime,
) -> dict[str, Any]:
    moments = [item.due for item in due if item.due is not None]
    late = [item for item in due if is_late(item, now)]
    halted = [item for item in due if (item.record_class, item.day.isoformat()) in begun]
    reasons = [f"{_named(item)} was due {signing.instant(item.due)} and still lives" for item in late if item.due]
    reasons += [f"{_named(item)} began to expire and was not finished" for item in halted if item not in late]
    if not entry.classes:
        reasons.append("nothing of this row is stored in this vault")
    days = [row["day"] for row in living if _holds(entry, row)]
    mine = [body for row in certificates if _certifies(entry, body := json.loads(row["body"]) | {"id": row["id"]})]
    last = mine[-1] if mine else None
    return {
        "id": entry.id,
        **{name: _both(getattr(entry, name)) for name in ("service", "data", "controller", "legal_basis")},
        "kept": {language: entry.term_words(language) for language in LANGUAGES},
        "term": str(entry.term),
        "purpose": entry.purpose,
        "classes": list(entry.classes),
        "categories": list(entry.categories) if entry.classes else [],
        "oldest_day": min(days, default=None),
        "due": len(due),
        "due_since": signing.instant(min(moments)) if moments else None,
        "last_certificate": None
        if last is None
        else {name: last[name] for name in ("id", "class", "day", "deleted_at")},
        "verdict": NOT_TRUE if late or halted else TRUE,
        "reasons": reasons,
    }


def _register(entry: Entry, register: Register, ends: list[dict[str, Any]], now: datetime) -> dict[str, Any]:
    """The row of a register; `ends` are the certificates of rows of registers, the oldest first.

    When somebody was last, or first, asked about is told to readers of the docket alone: not here.
    """
    late = [one for one in register.due if now - one.due > MOST_LATE]
    mine = [body for body in ends if register.name in body["counts"]]
    row = _row(entry, [], set(), [], [], now)
    return row | {
        "oldest_day": None
        if register.oldest is None or register.name in _DOCKET
        else register.oldest.date().isoformat(),
        "due": len(register.due),
        "due_since": signing.instant(min(one.due for one in register.due)) if register.due else None,
        "last_certificate": {name: mine[-1][name] for name in ("id", "class", "day", "deleted_at")} if mine else None,
        "verdict": NOT_TRUE if late else TRUE,
        "reasons": [f"{len(late)} rows have reached their term and are still there"] if late else [],
    }


def _concerns(entry: Entry, item: Item) -> bool:
    return item.record_class in entry.classes and bool(set(entry.categories) & set(item.categories))


def _holds(entry: Entry, partition: Row) -> bool:
    """Whether a living partition has something of the row."""
    left = set(entry.categories) - holdings.lost(partition)
    return partition["record_class"] in entry.classes and bool(left)


def _certifies(entry: Entry, body: dict[str, Any]) -> bool:
    return body["class"] in entry.classes and bool(set(entry.categories) & set(body["categories"]))


def _named(item: Item) -> str:
    part = "" if item.ends_day else f" ({', '.join(item.categories)})"
    return f"{item.kind} {item.record_class} {item.day.isoformat()}{part}"


def _both(words: Any) -> dict[str, str]:
    return {language: words.in_(language) for language in LANGUAGES}


def _identity(body: dict[str, Any]) -> str:
    return signing.digest(body)[:32]
