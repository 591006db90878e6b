"""What a customer receives: their own records, in the same three files as any package, and a manifest that says why
they are kept and for how long (GDPR art. 15 and 20).

    approved request → audit(intent) → keys.release per file and category → rows in scope → the subject's own, others
    masked → package → audit(result) → the package gets its name

The key port checks the request's two signatures as it does a warrant's. Access gives every record that is kept, by
whatever entry of the policy; portability only what an entry with `portable = true` keeps, inside that entry's term.

Nothing in it depends on a warrant, a disclosure or a hold: no random id, no count of what others were given, one
sentence about recipients for everyone. Two vaults that differ in these alone give the same bytes; a test compares.
All records of the one person are in memory at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from ingest.record import CLASSES, INTERVAL_CLASSES, SCHEMA
from queries import subject
from queries.scope import Scope
from queries.target import Target
from trafficvault import delivery, locks, rights, rights_rules, search, signing, targets
from trafficvault.annotation import Carried
from trafficvault.errors import RefusedError
from trafficvault.people import Person
from trafficvault.policy import Policy
from trafficvault.rights import Request
from trafficvault.rights_rules import PORT
from trafficvault.terms import Words
from trafficvault.vault import Vault

_ROW = ("source", "batch", "row", "occurrence")


@dataclass(frozen=True, slots=True)
class Export:
    """What an export gave: the package, or None where there was nothing but an organisation's records; the number of
    rows, and the organisations to which the person is to turn.
    """

    package: Path | None
    records: int
    organisations: tuple[str, ...]


def write(vault: Vault, person: Person, request: Request, out: Path) -> Export:
    """Answers an approved request of access or portability into the new directory `out`.

    Raises `UsageError` when `out` exists or lies inside the vault, and `RefusedError` as `KeyStore.admit`.
    """
    delivery.require_place(out, (vault.layout.vault, vault.layout.keys), f"answering request {request.request_id}")
    signed = request.signed
    if signed is None:
        raise RefusedError(f"answering request {request.request_id}: nobody approved it")
    named = rights_rules.organisations(request.document)
    told = {"request": request.request_id, "digest": request.digest}
    with vault.catalogue.transaction() as tx:
        vault.audit.require_in_step(tx)
        vault.audit.enter(tx, "rights-answer-intent", person.name, told)
    vault.audit.flush()
    wanted = tuple(targets.target_of(one) for one in request.document["targets"])
    rules = vault.policy.portable() if request.right == PORT else vault.policy
    scope = Scope(wanted, frozenset(request.document["classes"]), frozenset(request.document["categories"]))
    carried = Carried(vault, request.document["targets"])
    with locks.reading(vault.layout):
        finding = search.Search(vault, signed, scope, _moment(vault), rules=rules)
        found = [_own(table, wanted) for table in finding.stretches(lambda step: None, with_neighbours=False)]
    asked = sorted({*named, *(name for rows in found for name in subject.customers(rows))})
    mine = [rows.filter(pl.col("customer").is_null()) if "customer" in rows.columns else rows for rows in found]
    for rows in mine:
        carried.look(rows)
    if asked and not any(rows.height for rows in mine):
        with vault.catalogue.transaction() as tx:
            rights.close(vault, tx, person, request.request_id, "routed")
            vault.audit.enter(tx, "rights-routed", person.name, told)
        vault.audit.flush()
        return Export(None, 0, tuple(asked))
    tables = [_table(rows, wanted) for rows in mine if rows.height] or [_table(pl.DataFrame(), wanted)]
    manifest = _manifest(vault, request, rules, asked, carried.told, any(rows.height for rows in mine))

    def on_sealed(manifest_digest: str, records: int) -> None:
        with vault.catalogue.transaction() as tx:
            rights.close(vault, tx, person, request.request_id, "answered")
            done = {"records": records, "manifest_digest": manifest_digest}
            vault.audit.enter(tx, "rights-answer", person.name, told | done)
        vault.audit.flush()

    def sign(message: bytes) -> str:
        return signing.sign(vault.keys.signing_key(), message)

    records = delivery.write_package(vault.disk, out, tables, manifest, sign, vault.settings.public_key, on_sealed)
    return Export(out, records, tuple(asked))


def _own(table: pa.Table, wanted: tuple[Target, ...]) -> pl.DataFrame:
    rows = pl.DataFrame(table)
    return rows.filter(subject.own(rows, wanted))


def _table(rows: pl.DataFrame, wanted: tuple[Target, ...]) -> pa.Table:
    """The rows as they are given, in time order, with every column that a customer is given."""
    types = {name: pa.string() if name == "record_class" else SCHEMA.field(name).type for name in subject.COLUMNS}
    schema = pa.schema(types.items())
    if not rows.height:
        return schema.empty_table()
    times = [name for name in ("start", "end", "reported_at") if name in rows.columns]
    interval = pl.col("record_class").is_in(sorted(INTERVAL_CLASSES))
    # The moment that decides a record's day, so that the days of a long answer follow one another.
    moment = pl.when(interval).then(pl.coalesce(times[::-1])).otherwise(pl.coalesce(times))
    given = subject.shown(rows.sort("answer_day", moment, *_ROW, nulls_last=True), wanted).to_arrow()
    columns = [
        given[name].cast(type_) if name in given.column_names else pa.nulls(given.num_rows, type_)
        for name, type_ in types.items()
    ]
    return pa.table(columns, schema=schema)


def _manifest(
    vault: Vault, request: Request, rules: Policy, asked: list[str], carried: list[dict[str, Any]], any_rows: bool
) -> dict[str, Any]:
    first = rights_rules.GRANTED[request.right] if any_rows else rights_rules.NOTHING
    sentences = [first, *map(rights_rules.routed, asked), rights_rules.RECIPIENTS, rights_rules.REMEDY]
    kept = set(rules.classes()) & set(request.document["classes"])
    return {
        "kind": "subject-package",
        "v": 1,
        "vault": vault.settings.id,
        "request": request.request_id,
        "right": request.right,
        "received": request.document["received"],
        "answered_at": signing.instant(vault.clock.now()),
        "window": {name: request.document["targets"][0][name] for name in ("from", "to")},
        "identifiers": [{name: one[name] for name in ("type", "value")} for one in request.document["targets"]],
        "sentences": [as_texts(words) for words in sentences],
        "classes": [name for name in CLASSES if name in kept],
        "why": [
            {language: entry.row(language) for language in ("nl", "en")}
            for entry in rules.entries
            if set(entry.classes) & kept
        ],
        "restricted": bool(rights.restricted_among(vault, request.document["targets"])),
        "annotations": carried,
        "retained_data": True,
    }


def as_texts(words: Words) -> dict[str, str]:
    """A sentence in both languages."""
    return {"nl": words.nl, "en": words.en}


def _moment(vault: Vault) -> datetime:
    return vault.audit.moment().astimezone(UTC)
