"""How the vault stands today: what it holds, what is due, and what wants a person's attention. Opens no record."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from trafficvault import (
    compact,
    completeness,
    confirming,
    escrow,
    expire,
    holdings,
    holds,
    pending,
    people,
    registers,
    retention,
    rights,
    runs,
    signing,
    trimming,
    witness,
    wording,
)
from trafficvault.catalogue import Row
from trafficvault.errors import DecisionError, FaultError, SpaceError
from trafficvault.expire import MOST_LATE as MOST_LATE
from trafficvault.expire import is_late, lateness, plan
from trafficvault.sources import overdue
from trafficvault.vault import Vault

LAST_VERIFY = "last_verify"
"""The `meta` row with the moment of the last `verify` that found no fault."""


@dataclass(frozen=True, slots=True)
class Late:
    """Something that is due and lives: what, of which class and day, which categories, since when, and for how long."""

    what: str
    record_class: str
    day: date
    categories: tuple[str, ...]
    due: datetime
    lateness: timedelta

    def as_dict(self) -> dict[str, object]:
        """The form of `--json`."""
        return {
            "what": self.what,
            "class": self.record_class,
            "day": self.day.isoformat(),
            "categories": list(self.categories),
            "due": signing.instant(self.due),
            "lateness_seconds": int(self.lateness.total_seconds()),
        }


@dataclass(frozen=True, slots=True)
class Status:
    """Facts, a row per class, what is late, and sentences that ask for attention; `wrong` are those that fail
    `--check`. `clock` and `space` are the sentences about these two, if they are not in order. `ran` is the last run
    of each job of the schedule.
    """

    facts: dict[str, object]
    classes: list[tuple[str, int, int, str, int, str | None]]
    attention: list[str]
    wrong: list[str]
    late: tuple[Late, ...] = ()
    clock: str | None = None
    space: str | None = None
    ran: tuple[runs.Run, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """The form of `--json`."""
        names = ("class", "days", "records", "oldest_day", "due", "kept_until")
        return {
            **self.facts,
            "classes": [dict(zip(names, row, strict=True)) for row in self.classes],
            "late": [item.as_dict() for item in self.late],
            "attention": self.attention,
            "wrong": self.wrong,
        }

    def require_true(self) -> None:
        """Raises `FaultError` when something is overdue or not as the policy says; else `DecisionError` when the clock
        wants a person, or `SpaceError` when no file is taken in for want of space.
        """
        untrue = [sentence for sentence in self.wrong if sentence not in (self.clock, self.space)]
        if untrue:
            raise FaultError(f"checking the vault's status: {untrue[0]}" + (" (and more)" if len(untrue) > 1 else ""))
        if self.clock is not None:
            raise DecisionError(f"checking the vault's status: {self.clock}")
        if self.space is not None:
            raise SpaceError(f"checking the vault's status: {self.space}")


def status(vault: Vault) -> Status:
    """Looks at the catalogue, the clock and the disk."""
    now = vault.clock.now()
    items = plan(vault)
    with vault.catalogue.reading() as tx:
        files, batches = tx.select("files"), tx.select("batches")
        parts = tx.select("partitions")
        ran = {run.job: run for run in runs.listing(tx)}
        suspended, lost = people.suspended(tx), holds.any_lost(tx, now)
        administrators = [item for item in people.listing(tx) if "administrator" in item.roles and not item.disabled]
        meta = {name: tx.meta(name) for name in (expire.LAST, LAST_VERIFY)}
        unanswered = rights.overdue(tx, now)
        requests = [row for row in tx.select("rights") if row["state"] in rights.OPEN]
    due = [item for item in items if item.action == "expire"] + [one.item for one in trimming.due(vault, now)]
    late = [item for item in due if is_late(item, now)]
    clock = vault.audit.clock_problem(now)
    held = [row for row in batches if row["status"] == "held"]
    gaps = completeness.known_gaps(vault, batches)
    received: dict[str, datetime | str] = {}
    for row in sorted(batches, key=lambda row: str(row["received_at"])):
        if row["status"] != "refused":
            received[row["source"]] = row["received_at"]
    silent = overdue(vault.sources, received, now)
    wrong = [f"{_named(item)} was due at {_told(vault, item)} and still lives; run expire" for item in late]
    wrong += [clock] if clock else []
    overripe = [one for one in registers.plan(vault) if now - one.due > MOST_LATE]
    wrong += [
        f"{count} rows of the register of {name} have reached their term and are still there; run expire"
        for name, count in sorted(Counter(one.register for one in overripe).items())
    ]
    wrong += [
        f"{row['record_class']} {row['day']} began to expire and was not finished; run expire"
        for row in parts
        if row["state"] == "expiring" or row["going"]
    ]
    wrong += [*pending.read(vault.layout).sentences, *escrow.problems(vault)]
    wrong += [
        f"class {name} is stored and no entry of the policy covers it; add one, so that it ends"
        for name in sorted({item.record_class for item in items if item.due is None})
    ]
    wrong += runs.complaints(ran, now, vault.policy.zone)
    wrong += [f"request {request} of a customer is past its deadline; answer or refuse it" for request in unanswered]
    free = vault.disk.free_bytes(vault.layout.vault)
    space = None
    if free < vault.policy.min_free:
        least = wording.size(vault.policy.min_free)
        space = f"{wording.size(free)} are free and min_free is {least}: no file is taken in; make room"
        wrong.append(space)
    attention = list(wrong)
    if len(administrators) == 1:
        attention.append("there is one administrator, who alone can grant every role; add a second with `user add`")
    if suspended:
        attention.append(
            f"{', '.join(suspended)}: suspended since the vault was put back from a backup, for nothing proves who may "
            "act by now; `user confirm NAME` lets each act again"
        )
    attention += confirming.sentences(vault)
    if lost:
        attention.append(
            "what a hold kept apart for an authority was lost with its key before the vault was put back; an officer "
            "sees which (`hold list`) and registers the order again"
        )
    if vault.shortens:
        attention.append(
            f"policy.toml differs from the policy in force and does not rule: {'; '.join(vault.shortens)}; "
            "`policy plan` shows what would be due, `policy adopt` puts it before a second person"
        )
    if vault.policy_waits:
        attention.append("policy.toml differs from the policy in force, and does not rule until the clock is believed")
    attention += [f"batch {row['id']} is held; `batch show` says why and `batch accept` stores it" for row in held]
    attention += [gap.sentence for gap in gaps]
    attention += [f"source {name} has been silent for longer than its cadence" for name in silent]
    attention += witness.attention(vault)
    facts: dict[str, object] = {
        "vault": vault.settings.id,
        "four_eyes": "procedural",
        "key_provider": vault.keys.provider_name,
        "generation": vault.keys.generation,
        "records": sum(int(str(row["rows"])) for row in files),
        "bytes": sum(int(row["bytes"]) + int(row["blocks_bytes"] or 0) for row in files),
        "partitions": sum(1 for row in parts if row["state"] == "live"),
        "tombstones": sum(1 for row in parts if row["state"] == "tombstone"),
        "to_compact": sum(1 for item in compact.plan(vault) if item.files),
        "held_batches": len(held),
        "open_requests": len(requests),
        "due_register_rows": len(registers.plan(vault)),
        "due": len(due),
        "max_lateness_seconds": max((int(lateness(item, now).total_seconds()) for item in due), default=0),
        "pending_key_destruction": sum(1 for item in due if _is_pending(vault, item, parts)),
        "last_ingest": str(max(received.values(), key=str)) if received else None,
        "last_expiry": meta[expire.LAST],
        "last_verify": meta[LAST_VERIFY],
        "free_bytes": free,
        "administrators": len(administrators),
        "schedule": {job: {"last": run.started.isoformat(), "next": run.next.isoformat()} for job, run in ran.items()},
    }
    told = tuple(
        Late(item.kind, item.record_class, item.day, item.categories, item.due, lateness(item, now))
        for item in due
        if item.due is not None
    )
    return Status(facts, _classes(vault, files, due), attention, wrong, told, clock, space, tuple(ran.values()))


def note_verified(vault: Vault) -> None:
    """Keeps that `verify` found no fault just now; the caller holds the writer's lock."""
    with vault.catalogue.transaction() as tx:
        tx.set_meta(LAST_VERIFY, signing.instant(vault.clock.now()))


def _told(vault: Vault, item: retention.Item) -> str:
    return "" if item.due is None else wording.moment(item.due, vault.policy.zone)


def _named(item: retention.Item) -> str:
    part = "" if item.ends_day else f" ({', '.join(item.categories)})"
    return f"{item.kind} {item.record_class} {item.day}{part}"


def _is_pending(vault: Vault, item: retention.Item, parts: list[Row]) -> bool:
    """Whether its expiry began, and its keys are there all the same: their destruction waits for somebody."""
    begun = any(
        (row["record_class"], row["day"]) == (item.record_class, item.day.isoformat())
        and (row["state"] == "expiring" or set(item.categories) <= set(holdings.going(row)))
        for row in parts
        if item.kind == "records"
    )
    generations = {
        (str(row["record_class"]), date.fromisoformat(row["day"])): int(row["generation"] or 1) for row in parts
    }
    return begun and vault.keys.has_any(expire.key_ids(item, generations))


def _classes(
    vault: Vault, files: list[dict[str, object]], due: list[retention.Item]
) -> list[tuple[str, int, int, str, int, str | None]]:
    rows = []
    for name in sorted({str(row["record_class"]) for row in files}):
        mine = [row for row in files if row["record_class"] == name]
        days = sorted({str(row["day"]) for row in mine})
        term = vault.policy.term_of(name)
        until = None if term is None else retention.due(date.fromisoformat(days[0]), term, vault.policy.zone)
        count = sum(1 for item in due if item.record_class == name)
        records = sum(int(str(row["rows"])) for row in mine)
        rows.append((name, len(days), records, days[0], count, until.isoformat() if until else None))
    return rows
