"""Endings: the ends of services, as the customer administration tells them, and the records that go by them.

`record` puts one into the catalogue; nothing happens to a record by it. `carry_out`, which each expiry ends with,
removes what has reached its term by it: the records of that service from every living day of the classes that are kept
until the end of a service (`rewrite`). An ending whose classes are all done with is `done`. It stays, as digests, so
that a late record of the service is refused as expired, until the longest cap is over, by which every such record is.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import polars as pl

from trafficvault import ended, refusals, rewrite, signing, targets
from trafficvault.catalogue import Transaction
from trafficvault.errors import RefusedError, UsageError
from trafficvault.people import Person, require_role
from trafficvault.rewrite import Why
from trafficvault.thinning import Going
from trafficvault.vault import Vault

_ID_LENGTH = 24


def record(
    vault: Vault, person: Person, subjects: Mapping[str, str], ended_at: datetime, since: datetime | None = None
) -> str:
    """Records that the service of `subjects` (by kind: subscriber, msisdn, imsi) ended, and returns the event's id.

    The same event is recorded once. Raises `RefusedError` when `person` is no operator, the end is still to come, or no
    class is kept until it; `UsageError` when nothing names the service, or a number or IMSI alone does and no `since`
    says from when on it was this service's.
    """
    with refusals.logged(vault, "service-end", person.name, {}):
        require_role(person, "operator")
        now = vault.clock.now()
        if ended_at > now:
            raise RefusedError(f"recording the end of a service: {ended_at.isoformat()} is still to come; tell it then")
        if not ended.waits(vault.policy):
            raise RefusedError(
                "recording the end of a service: policy.toml keeps no class until the end of a service, so nothing "
                'would go by it; give an entry term = { until = "end_of_service", cap = … }'
            )
    if not subjects:
        raise UsageError("recording the end of a service: name it by --subscriber, --msisdn or --imsi")
    if since is None and "subscriber" not in subjects:
        raise UsageError(
            "recording the end of a service: a number is given out again, so say with --since when this service began"
        )
    if since is not None and since > ended_at:
        raise UsageError("recording the end of a service: it ended before it began; look at --since and --at")
    digests = {kind: ended.digest_of(vault, kind, _normal(kind, value)) for kind, value in subjects.items()}
    times = {"since": None if since is None else signing.instant(since), "ended_at": signing.instant(ended_at)}
    key = vault.keys.custody("catalogue").key("names")
    ending_id = hmac.new(key, signing.canonical(digests | times), hashlib.sha256).hexdigest()[:_ID_LENGTH]
    with vault.catalogue.transaction() as tx:
        if tx.get("endings", id=ending_id) is None:
            tx.put(
                "endings",
                id=ending_id,
                state="open",
                subjects=signing.canonical(digests).decode(),
                classes="[]",
                recorded_by=person.name,
                recorded_at=signing.instant(now),
                **times,
            )
            told = {"ending": ending_id, "named_by": sorted(digests), "ended_at": times["ended_at"]}
            vault.audit.enter(tx, "service-end", person.name, told)
    vault.audit.flush()
    return ending_id


def listing(vault: Vault) -> list[dict[str, Any]]:
    """Every ending: its id, state, end, the classes that are done, and when the others are due, by class."""
    waits = ended.waits(vault.policy)
    with vault.catalogue.reading() as tx:
        rows = tx.select("endings", order_by="recorded_at")
    found = []
    for row in rows:
        one = ended.ending_of(row)
        due = {name: wait.after(one.ended_at, vault.policy.zone) for name, wait in waits.items()}
        found.append(
            {
                "ending_id": one.ending_id,
                "state": one.state,
                "ended_at": row["ended_at"],
                "recorded_by": row["recorded_by"],
                "done": sorted(one.classes),
                "due": {name: at.isoformat() for name, at in sorted(due.items()) if name not in one.classes},
            }
        )
    return found


def carry_out(vault: Vault) -> tuple[dict[str, Any], ...]:
    """Removes every record that has reached its term by the end of its service; returns the certificates.

    The caller holds the writer's lock and believes the clock. Raises as `rewrite.remove`; what was removed before
    stays removed, and the next run does the rest.
    """
    now = vault.clock.now()
    waits = ended.waits(vault.policy)
    issued: tuple[dict[str, Any], ...] = ()
    for record_class in waits:
        services = ended.of(vault)
        due = [one.ending_id for one in services.due(record_class, now) if record_class not in one.classes]
        if due:
            issued += _of_class(vault, services, record_class, due, now)
    _forget(vault, now)
    return issued


def _of_class(
    vault: Vault, services: ended.Ended, record_class: str, due: list[str], now: datetime
) -> tuple[dict[str, Any], ...]:
    covered = set(ended.waits(vault.policy))
    with vault.catalogue.reading() as tx:
        parts = tx.select("partitions", record_class=record_class, state="live")

    def going(name: str, rows: pl.DataFrame) -> pl.Series:
        return services.mask(name, rows, now)

    def note(tx: Transaction) -> None:
        for ending_id in due:
            row = tx.get("endings", id=ending_id)
            if row is not None:
                done = sorted(ended.ending_of(row).classes | {record_class})
                state = "done" if covered <= set(done) else "open"
                tx.put("endings", **row | {"classes": signing.canonical(done).decode(), "state": state})

    term = vault.policy.require_term(record_class)
    why = Why("end-of-service", f"its service ended: {term}", None, {"class": record_class, "endings": due}, True)
    days = [(record_class, date.fromisoformat(row["day"])) for row in parts]
    return rewrite.remove(vault, days, Going(ended.COLUMNS, going), why, note).certificates


def _forget(vault: Vault, now: datetime) -> None:
    """Deletes endings whose records are past their caps in any case: nothing is left to be refused by them."""
    lasts = [vault.policy.require_term(name).lasts for name in ended.waits(vault.policy)]
    with vault.catalogue.transaction() as tx:
        for row in tx.select("endings", state="done"):
            # A record is anchored by its end or latest report, which a closed service has no more of.
            at = datetime.fromisoformat(row["ended_at"])
            if all(last.after(at, vault.policy.zone) <= now for last in lasts):
                tx.delete("endings", id=row["id"])


def _normal(kind: str, value: str) -> str:
    if kind == "subscriber":
        found = value.strip()
        if not found:
            raise UsageError("recording the end of a service: the subscriber is empty")
        return found
    try:
        return targets.normal(kind, value)
    except UsageError as problem:
        raise UsageError(f"recording the end of a service: {kind}: {problem}") from problem
