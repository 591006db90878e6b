"""Endings: the ends of services, as the customer administration tells them, and the records that go by them.

An end that a person tells destroys records, so it takes two persons: `propose`, another approves, `enter`. Those that a
file of the customer administration tells (`record_all`) are entered by one, and wait: nothing goes by them before
`end_of_service_wait` of the policy is over, and until then an operator takes one back (`withdraw`).

Nothing happens to a record by an entry. `carry_out`, which each expiry ends with, removes what has reached its term by
it: the records of that service from every living day of the classes that are kept until the end of a service
(`rewrite`). A class is done with under the version of the policy that ruled then: as long as it rules, a late record of
the service is refused as expired. Under another, which may have let some in, all days are looked at once more. An
ending whose classes are all done with is `done`. It stays, as digests, until the longest cap is over, by which every
such record is.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import polars as pl

from trafficvault import ended, policies, proposals, refusals, rewrite, signing, targets, timekeeping, wording
from trafficvault.catalogue import Row, Transaction
from trafficvault.errors import RefusedError, UsageError
from trafficvault.people import Person, require_role
from trafficvault.proposals import Proposal
from trafficvault.rewrite import Day, Why
from trafficvault.steadfast import Attempts
from trafficvault.thinning import Going
from trafficvault.vault import Vault

KIND = "service-end"
_ID_LENGTH = 24
_DOING = "recording the end of a service"
_TOGETHER = 500
"""Ends of services that are recorded in one transaction."""
_LONGEST = 4096


@dataclass(frozen=True, slots=True)
class Told:
    """What became of the lines of a file: read, recorded, known before, and of each bad one its number and why."""

    read: int
    recorded: int
    known: int
    bad: tuple[tuple[int, str], ...]


def propose(
    vault: Vault, person: Person, subjects: Mapping[str, str], ended_at: datetime, since: datetime | None = None
) -> Proposal:
    """Puts before a second person that the service of `subjects` (by kind: subscriber, msisdn, imsi) ended.

    Raises `RefusedError` when `person` is no operator, the end is still to come, or no class is kept until it;
    `UsageError` when nothing names the service, or a number or IMSI alone does and no `since` says from when on it was
    this service's.
    """
    with refusals.logged(vault, KIND, person.name, {}):
        proposals.require_proposer(person, KIND)
        _require_waits(vault)
        _require_past(ended_at, vault.clock.now(), vault.policy.zone)
    named = {kind: _normal(kind, value) for kind, value in subjects.items()}
    _require_named(named, ended_at, since)
    times = {"ended_at": signing.instant(ended_at), "since": None if since is None else signing.instant(since)}
    return proposals.propose(vault, person, KIND, {"subjects": named, **times})


def enter(vault: Vault, person: Person, proposal: Proposal) -> list[str]:
    """Enters the end of a service that two persons vouch for, whatever a file told of it before. Returns what was done,
    in a sentence. Raises as `proposals.require_approved`.
    """
    found = proposals.require_approved(vault, proposal.proposal_id, KIND)
    since, ended_at = found.body["since"], datetime.fromisoformat(found.body["ended_at"])
    began = None if since is None else datetime.fromisoformat(since)
    row = _row(vault, found.proposed.person, found.body["subjects"], ended_at, began, vault.clock.now())
    with vault.catalogue.transaction() as tx:
        known = tx.get("endings", id=row["id"])
        if known is None or known["waits_until"] is not None:
            tx.put("endings", **row)
        proposals.mark_done(tx, found.proposal_id)
        told = {"ending": row["id"], "named_by": sorted(json.loads(row["subjects"])), "ended_at": row["ended_at"]}
        vault.audit.enter(tx, KIND, person.name, told | {"proposal": found.proposal_id})
    vault.audit.flush()
    return [f"recorded the end of a service as {row['id']}; `service list` shows when its records go"]


def withdraw(vault: Vault, person: Person, ending_id: str) -> None:
    """Takes back an end of a service that a file told, by an operator, while it waits: nothing has gone by it.

    Raises `RefusedError` for another role, or when there is none or it does not wait.
    """
    with refusals.logged(vault, "service-withdraw", person.name, {"ending": ending_id}):
        require_role(person, "operator")
        with vault.catalogue.transaction() as tx:
            row = tx.get("endings", id=ending_id)
            until = None if row is None else ended.ending_of(row).waits_until
            if until is None or until <= vault.clock.now():
                raise RefusedError(
                    f"withdrawing the end of a service {ending_id}: there is none that waits; `service list` shows them"
                )
            tx.delete("endings", id=ending_id)
            vault.audit.enter(tx, "service-withdraw", person.name, {"ending": ending_id})
    vault.audit.flush()


def record_all(vault: Vault, person: Person, lines: Iterable[bytes]) -> Told:
    """Records the ends of services that a file of the customer administration tells, one JSON object a line: `at`, any
    of subscriber, msisdn and imsi, and `since`. Each waits for `end_of_service_wait` of the policy.

    A line that can't be taken is counted with its number and why, and stops no other; what it says is told to nobody.
    The same file again changes nothing. Raises `RefusedError` when `person` is no operator, or nothing waits for the
    end of a service, and `DecisionError` while the clock isn't believed.
    """
    with refusals.logged(vault, KIND, person.name, {}):
        require_role(person, "operator")
        _require_waits(vault)
    now, read, recorded, waiting = timekeeping.believed_now(vault, _DOING), 0, 0, dict[str, Row]()
    until = signing.instant(vault.policy.end_of_service_wait.after(now, vault.policy.zone))
    bad: list[tuple[int, str]] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        read += 1
        try:
            row = _row(vault, person.name, *_read(line, now, vault.policy.zone), now)
            waiting[row["id"]] = row | {"waits_until": until}
        except (UsageError, RefusedError) as problem:
            bad.append((number, str(problem).removeprefix(f"{_DOING}: ")))
        if len(waiting) >= _TOGETHER:
            recorded += _put_all(vault, person, waiting)
            waiting = {}
    recorded += _put_all(vault, person, waiting)
    return Told(read, recorded, read - recorded - len(bad), tuple(bad))


def _put_all(vault: Vault, person: Person, rows: Mapping[str, Row]) -> int:
    """Puts what is not there yet, in one transaction with its entry; returns how many that were."""
    with vault.catalogue.transaction() as tx:
        new = [row for name, row in rows.items() if tx.get("endings", id=name) is None]
        for row in new:
            tx.put("endings", **row)
        if new:
            told = {"endings": [row["id"] for row in new], "waits_until": new[0]["waits_until"]}
            vault.audit.enter(tx, KIND, person.name, told)
    vault.audit.flush()
    return len(new)


def _read(line: bytes, now: datetime, zone: str) -> tuple[dict[str, str], datetime, datetime | None]:
    """Subjects, end and begin that a line tells."""
    if len(line) > _LONGEST:
        raise UsageError(f"{_DOING}: the line has {len(line)} bytes and may have {_LONGEST}")
    try:
        told = json.loads(line)
    except ValueError:
        raise UsageError(f"{_DOING}: the line is not JSON") from None
    if not isinstance(told, dict) or not all(isinstance(value, str) for value in told.values()):
        raise UsageError(f"{_DOING}: the line is not an object of texts")
    if not set(told) <= {*ended.KINDS, "at", "since"}:
        raise UsageError(f"{_DOING}: it may have {', '.join(ended.KINDS)}, at and since, and has something else")
    if "at" not in told:
        raise UsageError(f"{_DOING}: it does not say when: add at")
    ended_at = _moment(told, "at")
    _require_past(ended_at, now, zone)
    return {kind: told[kind] for kind in ended.KINDS if kind in told}, ended_at, _moment_or_none(told, "since")


def _moment(told: Mapping[str, str], key: str) -> datetime:
    try:
        found = datetime.fromisoformat(told[key])
        if found.tzinfo is not None:
            return found.astimezone(UTC)
    except (ValueError, OverflowError):
        pass  # told below, as what has no offset is
    raise UsageError(f"{_DOING}: {key} must be a moment with its offset, as 2026-11-20T00:00:00+01:00")


def _moment_or_none(told: Mapping[str, str], key: str) -> datetime | None:
    return _moment(told, key) if key in told else None


def _require_waits(vault: Vault) -> None:
    if not ended.waits(vault.policy):
        raise RefusedError(
            f"{_DOING}: policy.toml keeps no class until the end of a service, so nothing "
            'would go by it; give an entry term = { until = "end_of_service", cap = … }'
        )


def _require_past(ended_at: datetime, now: datetime, zone: str) -> None:
    if ended_at > now:
        raise RefusedError(f"{_DOING}: {wording.moment(ended_at, zone)} is still to come; tell it then")


def _row(
    vault: Vault,
    person: str,
    subjects: Mapping[str, str],
    ended_at: datetime,
    since: datetime | None,
    now: datetime,
) -> Row:
    """The catalogue's row of an ending; equal ones have one id. Raises `UsageError` when nothing names the service."""
    _require_named(subjects, ended_at, since)
    digests = {kind: ended.digest_of(vault, kind, _normal(kind, value)) for kind, value in subjects.items()}
    times = {"since": None if since is None else signing.instant(since), "ended_at": signing.instant(ended_at)}
    key = vault.keys.custody("catalogue").key("names")
    return {
        "id": hmac.new(key, signing.canonical(digests | times), hashlib.sha256).hexdigest()[:_ID_LENGTH],
        "state": "open",
        "subjects": signing.canonical(digests).decode(),
        "classes": "{}",
        "recorded_by": person,
        "recorded_at": signing.instant(now),
        "waits_until": None,
        **times,
    }


def _require_named(subjects: Mapping[str, str], ended_at: datetime, since: datetime | None) -> None:
    if not subjects:
        raise UsageError(f"{_DOING}: name it by its subscriber, msisdn or imsi")
    if since is None and "subscriber" not in subjects:
        raise UsageError(f"{_DOING}: a number is given out again, so say with since when this service began")
    if since is not None and since > ended_at:
        raise UsageError(f"{_DOING}: it ended before it began; look at since and at")


def listing(vault: Vault) -> list[dict[str, Any]]:
    """Every ending: its id, state, end, until when it waits, the classes that are done, and when the others are due, by
    class.
    """
    waits = ended.waits(vault.policy)
    with vault.catalogue.reading() as tx:
        rows = tx.select("endings", order_by="recorded_at")
        version = policies.ruling_number(tx, vault.policy, vault.clock.now())
    found = []
    for row in rows:
        one = ended.ending_of(row)
        due = {name: one.due(wait, vault.policy.zone) for name, wait in waits.items()}
        done = {name for name, under in one.classes.items() if under == version}
        found.append(
            {
                "ending_id": one.ending_id,
                "state": "done" if set(waits) <= done else "open",
                "ended_at": row["ended_at"],
                "recorded_by": row["recorded_by"],
                "waits_until": row["waits_until"],
                "done": sorted(done),
                "due": {name: at.isoformat() for name, at in sorted(due.items()) if name not in done},
            }
        )
    return found


def carry_out(vault: Vault, attempts: Attempts) -> tuple[dict[str, Any], ...]:
    """Removes every record that has reached its term by the end of its service; returns the certificates. What fails,
    as `rewrite.remove` does, is left to the next run.

    The caller holds the writer's lock and believes the clock.
    """
    now = vault.clock.now()
    with vault.catalogue.reading() as tx:
        version = policies.ruling_number(tx, vault.policy, now)
    issued: tuple[dict[str, Any], ...] = ()
    for record_class in ended.waits(vault.policy):
        services = ended.of(vault)
        due = [one.ending_id for one in services.due(record_class, now) if one.classes.get(record_class) != version]
        if due:
            issued += _of_class(vault, services, record_class, due, now, version, attempts)
    _forget(vault, now)
    return issued


def _of_class(
    vault: Vault,
    services: ended.Ended,
    record_class: str,
    due: list[str],
    now: datetime,
    version: int,
    attempts: Attempts,
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
                done = {**ended.ending_of(row).classes, record_class: version}
                state = "done" if covered <= {name for name, under in done.items() if under == version} else "open"
                tx.put("endings", **row | {"classes": signing.canonical(done).decode(), "state": state})

    term = vault.policy.require_term(record_class)
    why = Why(
        "end-of-service", f"its service ended: {term}", None, {"class": record_class, "endings": due}, by_subject=True
    )
    days = [(record_class, date.fromisoformat(row["day"])) for row in parts]

    def removed(days: list[Day], note: rewrite.Note) -> tuple[dict[str, Any], ...]:
        return rewrite.remove(vault, days, Going(ended.COLUMNS, going), why, note).certificates

    issued, left = tuple[dict[str, Any], ...](), days
    doing = "removing records of ended services from"
    with attempts.one(f"{doing} {record_class}"):
        issued, left = removed(days, note), []
    # Some day can't be written anew. The others are, each by itself, and the class is not done with.
    for _, day in left:
        with attempts.one(f"{doing} {record_class}/{day.isoformat()}"):
            issued += removed([(record_class, day)], rewrite.no_note)
    return issued


def _forget(vault: Vault, now: datetime) -> None:
    """Deletes endings whose records are past their caps in any case: nothing is left to be refused by them. While the
    policy waits for no end, nobody can say when that is.
    """
    lasts = [vault.policy.require_term(name).lasts for name in ended.waits(vault.policy)]
    if not lasts:
        return
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
            raise UsageError(f"{_DOING}: the subscriber is empty")
        return found
    try:
        return targets.normal(kind, value)
    except UsageError as problem:
        raise UsageError(f"{_DOING}: {kind}: {problem}") from problem
