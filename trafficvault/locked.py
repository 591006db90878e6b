"""Expire without keys: what a process may do for which nobody gave the key provider's secret.

Files of days that are due are dropped on time; that their keys still live is written down (`trafficvault.pending`), and
is an alarm until an expiry with the secret destroys them and certifies it. Such a process can open neither catalogue
nor log, so it goes by what is in clear: the names of directories (class and day) and the policy. It drops whole days
only, never one that the policy keeps or does not know, and believes the clock no further than `max_clock_step` past the
last signed entry of the audit log, or past its own last run. Who can forge those can delete the files himself.
"""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from trafficvault import (
    ahead,
    chain,
    database,
    holds,
    locks,
    pending,
    policies,
    policy_file,
    reserve,
    retention,
    settings,
    signing,
)
from trafficvault.audit import judge_clock
from trafficvault.clock import Clock
from trafficvault.durable import Disk
from trafficvault.errors import DecisionError, FaultError
from trafficvault.layout import Layout
from trafficvault.pending import Dropped, Pending
from trafficvault.policy import Policy
from trafficvault.retention import Item, Partition
from trafficvault.vault import Vault


@dataclass(frozen=True, slots=True)
class State:
    """What a locked vault shows: what is due and still there, and what was dropped and waits for its keys to die."""

    due: tuple[Item, ...]
    pending: Pending

    @property
    def alarms(self) -> list[str]:
        """A sentence for each that wants the secret, or an expiry; none when nothing is due."""
        late = [f"{item.kind} {item.record_class} {item.day} is due and still has files" for item in self.due]
        return [*self.pending.sentences, *late]


def state(layout: Layout, clock: Clock) -> State:
    """Looks at names, policy and the file of what is pending."""
    leftovers = [row for row in _unchecked(layout, "leftovers") if row["kind"] == "raw"]
    parts = [_kept(part, leftovers) if part.kind == "raw" else part for part in _directories(layout)]
    items = retention.plan(parts, _ruling(layout, clock.now()), clock.now())
    due = (item for item in items if item.action == "expire" and item.ends_day)
    return State(tuple(due), pending.read(layout))


def _kept(part: Partition, leftovers: list[dict[str, Any]]) -> Partition:
    """The kept files of one class and day with how long they may be kept, as the catalogue tells it."""
    place = part.record_class, part.day.isoformat()
    return retention.kept_together(part, [row for row in leftovers if (row["record_class"], row["day"]) == place])


def _ruling(layout: Layout, now: datetime) -> Policy:
    """The version of the policy that rules: one that shortens a term and that nobody agreed to drops nothing."""
    written = policy_file.parse(layout.policy.read_text(encoding="utf-8"))
    rows = sorted(_unchecked(layout, policies.TABLE), key=lambda row: row["number"])
    return policies.ruling(policies.versions_of(rows), written, now).policy


def _held(layout: Layout, due: tuple[Item, ...], now: datetime) -> tuple[Item, ...]:
    """The records among `due` of which something may have to be kept apart first: without keys that can't be, and an
    order to keep it goes before the term. Mostly none, hold or not: expiries carve ahead.
    """
    rows = _unchecked(layout, holds.TABLE)
    records = tuple(item for item in due if item.kind == "records")
    if not any(row["state"] in holds.BINDING and now < datetime.fromisoformat(row["until"]) for row in rows):
        return ()
    values = {row["key"]: row["value"] for row in _unchecked(layout, "meta")}
    done, files = ahead.told(values.get(ahead.META), rows), _unchecked(layout, "files")
    return tuple(item for item in records if done is None or not done.covers(item, files))


def _unchecked(layout: Layout, table: str) -> list[dict[str, Any]]:
    """The rows of a table as they lie there, with seals that nobody can check."""
    try:
        with contextlib.closing(database.connect(layout.catalogue)) as connection:
            found = connection.execute(f"SELECT * FROM {table}")  # noqa: S608  # a name of our own
            names = [column[0] for column in found.description]
            return [dict(zip(names, row, strict=True)) for row in found]
    except sqlite3.Error as problem:
        raise database.translated(problem) from problem


def drop_due(layout: Layout, disk: Disk, clock: Clock) -> State:
    """Drops the files of every day that is due. The caller holds the writer's lock. Returns what is left.

    Raises `DecisionError` when the clock is not to be believed; nothing is dropped then.
    """
    _require_clock(layout, clock.now())
    found = state(layout, clock)
    stay = _held(layout, found.due, clock.now())
    due = tuple(item for item in found.due if item not in stay)
    reserve.release(layout, disk)
    now = signing.instant(clock.now())
    more = tuple(
        Dropped(item.kind, item.record_class, item.day.isoformat(), signing.instant(item.due or clock.now()), now)
        for item in due
        if found.pending.of(item.kind, item.record_class, item.day) is None
    )
    noted = Pending(clock.now(), (*found.pending.dropped, *more))
    # Before the files: if we crash here, the day is due still, and the next run drops it.
    pending.write(layout, disk, noted, clock.now())
    lease = settings.parse(layout.settings.read_text(encoding="utf-8")).lease_seconds
    if due:
        with locks.destroying(layout, lease):
            for item in due:
                _drop(layout.root_of(item.kind) / item.record_class / item.day.isoformat(), disk)
    return State(stay, noted)


def settle(vault: Vault) -> None:
    """Enters what was dropped without keys in the audit log, and forgets it: its keys have died by now. For `expire`,
    at its end, under the writer's lock. What is not a tombstone yet stays pending.
    """
    found = pending.read(vault.layout)
    if found.last_run is None:
        return
    with vault.catalogue.transaction() as tx:
        living = {(row["record_class"], row["day"]) for row in tx.select("partitions") if row["state"] != "tombstone"}
        rest = tuple(i for i in found.dropped if i.what == "records" and (i.record_class, i.day) in living)
        done = [item for item in found.dropped if item not in rest]
        if done:
            told = [{"what": i.what, "class": i.record_class, "day": i.day, "due": i.due, "at": i.at} for i in done]
            vault.audit.enter(tx, "dropped-without-keys", None, {"dropped": told})
    vault.audit.flush()
    if rest:
        pending.write(vault.layout, vault.disk, Pending(found.last_run, rest), found.last_run)
    else:
        vault.disk.remove(vault.layout.pending)


def _directories(layout: Layout) -> list[Partition]:
    """Each class and day that has a directory with something in it; a name of another form is nobody's, and stays."""
    found = []
    for kind in retention.KINDS:
        for path in sorted(layout.root_of(kind).glob("*/*")):
            try:
                day = date.fromisoformat(path.name)
            except ValueError:
                continue
            if day.isoformat() != path.name:
                continue
            if path.is_dir() and not path.is_symlink() and any(path.iterdir()):
                found.append(Partition(path.parent.name, day, kind))
    return found


def _drop(directory: Path, disk: Disk) -> None:
    for path in sorted(directory.iterdir()):
        if not path.is_dir():
            disk.remove(path)
    if not any(directory.iterdir()):
        disk.remove_directory(directory)


def _require_clock(layout: Layout, now: datetime) -> None:
    rules = _ruling(layout, now)
    known = [moment for moment in (_last_entry(layout), pending.read(layout).last_run) if moment is not None]
    trusted = max(known, default=None)
    if trusted is None:
        raise FaultError("expiring without keys: the audit log has no entry to judge the clock by; give the secret")
    if judge_clock(trusted, now, rules.max_clock_step.delta()) is not None:
        raise DecisionError(
            f"expiring without keys: the clock says {signing.instant(now)} and the last trusted moment is "
            f"{signing.instant(trusted)}; nothing was dropped",
            hint="check the clock; with the key provider's secret an operator can accept it: expire --accept-clock",
        )


def _last_entry(layout: Layout) -> datetime | None:
    """The time of the last entry of the audit log whose clock was believed and whose signature holds."""
    public_key = settings.parse(layout.settings.read_text(encoding="utf-8")).public_key
    for number in sorted((int(path.stem) for path in layout.audit.glob("[0-9]*.log")), reverse=True):
        for line in reversed(chain.split_lines(layout.segment(number), number)):
            if line.torn:
                continue
            entry = chain.read_line(line)
            if "clock" not in entry:
                signing.require_signature(public_key, entry["sig"], bytes.fromhex(entry["hash"]), "the audit log")
                return datetime.fromisoformat(entry["time"])
    return None
