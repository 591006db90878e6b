"""How the vault stands today: what it holds, what is due, and what wants a person's attention. Opens no record."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from trafficvault import compact, completeness, people, retention, runs
from trafficvault.errors import FaultError
from trafficvault.expire import lateness, plan
from trafficvault.sources import overdue
from trafficvault.vault import Vault

MOST_LATE = timedelta(hours=24)
"""A partition that has been due for longer than this makes `status --check` fail: expiry is run at least daily."""


@dataclass(frozen=True, slots=True)
class Status:
    """Facts, a row per class, and sentences that ask for attention; `wrong` are those that fail `--check`."""

    facts: dict[str, object]
    classes: list[tuple[str, int, int, str, int, str | None]]
    attention: list[str]
    wrong: list[str]

    def as_dict(self) -> dict[str, object]:
        """The form of `--json`."""
        names = ("class", "days", "records", "oldest_day", "due", "kept_until")
        return {
            **self.facts,
            "classes": [dict(zip(names, row, strict=True)) for row in self.classes],
            "attention": self.attention,
            "wrong": self.wrong,
        }

    def require_true(self) -> None:
        """Raises `FaultError` when something is overdue or not as the policy says."""
        if self.wrong:
            raise FaultError(
                f"checking the vault's status: {self.wrong[0]}" + (" (and more)" if len(self.wrong) > 1 else "")
            )


def status(vault: Vault) -> Status:
    """Looks at the catalogue, the clock and the disk."""
    now = vault.clock.now()
    items = plan(vault)
    with vault.catalogue.reading() as tx:
        files, batches = tx.select("files"), tx.select("batches")
        parts = tx.select("partitions")
        ran = {run.job: run for run in runs.listing(tx)}
        administrators = [item for item in people.listing(tx) if "administrator" in item.roles and not item.disabled]
    due = [item for item in items if item.action == "expire"]
    late = [item for item in due if lateness(item, now) > MOST_LATE]
    clock = vault.audit.clock_problem(now)
    held = [row for row in batches if row["status"] == "held"]
    gaps = completeness.known_gaps(vault, batches)
    received: dict[str, datetime | str] = {}
    for row in sorted(batches, key=lambda row: str(row["received_at"])):
        if row["status"] != "refused":
            received[row["source"]] = row["received_at"]
    silent = overdue(vault.sources, received, now)
    wrong = [
        f"{item.kind} {item.record_class} {item.day} was due {item.due} and still lives; run expire" for item in late
    ]
    wrong += [clock] if clock else []
    wrong += [
        f"{row['record_class']} {row['day']} began to expire and was not finished; run expire"
        for row in parts
        if row["state"] == "expiring"
    ]
    wrong += [
        f"class {name} is stored and no entry of the policy covers it; add one, so that it ends"
        for name in sorted({item.record_class for item in items if item.due is None})
    ]
    wrong += runs.complaints(ran, now)
    attention = list(wrong)
    if len(administrators) == 1:
        attention.append("there is one administrator, who alone can grant every role; add a second with `user add`")
    attention += [f"batch {row['id']} is held; `batch show` says why and `batch accept` stores it" for row in held]
    attention += [gap.sentence for gap in gaps]
    attention += [f"source {name} has been silent for longer than its cadence" for name in silent]
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
        "due": len(due),
        "free_bytes": shutil.disk_usage(vault.layout.vault).free,
        "administrators": len(administrators),
        "schedule": {job: {"last": run.started.isoformat(), "next": run.next.isoformat()} for job, run in ran.items()},
    }
    return Status(facts, _classes(vault, files, due), attention, wrong)


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
