"""Verbs that keep the vault honest: expire, verify, status, audit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from ingest.record import CATEGORIES
from trafficvault import against as old_copy
from trafficvault import app as house
from trafficvault import checkpoints, locks, segments, textfile, trimming, wording
from trafficvault import expire as expiring
from trafficvault import locked as dropping
from trafficvault import status as standing
from trafficvault import verify as verifying
from trafficvault.cli.door import AsJson, ask_secret, door
from trafficvault.cli.files import read_text
from trafficvault.cli.orders import require_reader
from trafficvault.cli.screen import plain, print_lines, print_object, print_table, progress
from trafficvault.clock import SystemClock
from trafficvault.durable import Disk
from trafficvault.errors import FaultError
from trafficvault.faults import Fault
from trafficvault.layout import Layout
from trafficvault.people import require_role
from trafficvault.provider import LockedError
from trafficvault.retention import Item
from trafficvault.vault import Vault

WRITER_SECONDS = 30.0
"""How long `verify` waits for a process that writes."""

audit_verbs = typer.Typer(no_args_is_help=True, help="The audit log.")


def add_to(app: typer.Typer) -> None:
    """Adds this module's verbs to `app`."""
    app.command("expire")(expire)
    app.command("verify")(verify)
    app.command("status")(status)
    app.add_typer(audit_verbs, name="audit")


def expire(
    context: typer.Context,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan with its reasons and change nothing.")
    ] = False,
    accept_clock: Annotated[
        bool, typer.Option("--accept-clock", help="An operator accepts the clock as it stands (needs --user).")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Destroy the keys of what has reached its term, drop its files, and certify it."""
    if dry_run:
        vault = door(context).open()
        expiring.require_clock(vault, None)
        items = expiring.plan(vault) + segments.plan(vault)
        items += [one.item for one in trimming.due(vault, vault.clock.now())]
        if as_json:
            print_object({"plan": [_item(item) for item in items]})
        else:
            plan = [
                (item.kind, item.record_class, item.day, _categories(item.categories), item.action, item.reason)
                for item in items
            ]
            print_table("plan", ("what", "class", "day", "categories", "action", "reason"), plan)
        return
    try:
        with door(context).writing(on_reserve=True) as vault:
            operator = door(context).person(vault) if accept_clock else None
            clock = _clock(vault) if accept_clock else None
            with progress("expire") as step:
                done = expiring.expire(vault, operator, step)
    except LockedError as problem:
        with locks.writing(door(context).layout):
            dropping.drop_due(door(context).layout, Disk(), SystemClock())
        if _print_locked(door(context).layout, as_json):
            told = "expiring: without the key provider's secret no key was destroyed"
            raise FaultError(told, hint=problem.hint) from problem
        return
    if as_json:
        ended = {"leases_ended": done.leases_ended, "accepted_clock": clock}
        print_object({"certificates": list(done.certificates), **ended})
        return
    if clock is not None:
        accepted, trusted = (wording.moment(clock[name] or "", vault.policy.zone) for name in ("now", "trusted"))
        print_lines([f"accepted the clock at {accepted}; the last trusted time was {trusted}"])
    rows = [
        (item["what"], item["class"], item["day"], _categories(item["categories"]), item["records"], item["id"])
        for item in done.certificates
    ]
    columns = ("what", "class", "day", "categories", "records", "certificate")
    print_table("expired" if rows else "due", columns, rows)
    if not done.wal_emptied:
        print_lines(["a reader keeps old rows of the catalogue in its write-ahead log; the next run empties it"])
    if not done.leases_ended:
        print_lines(
            ["a reader still held its lease when the keys were destroyed; what it had opened it may still have read"]
        )


def _categories(names: Sequence[str]) -> str:
    return "all" if len(names) == len(CATEGORIES) else ", ".join(names)


def _clock(vault: Vault) -> dict[str, str | None]:
    """Which clock an operator is about to accept, and the last one that was trusted."""
    with vault.catalogue.reading() as tx:
        trusted = vault.audit.trusted_time(tx)
    return {"now": vault.clock.now().isoformat(), "trusted": trusted.isoformat() if trusted else None}


def _item(item: Item) -> dict[str, object]:
    due = item.due.isoformat() if item.due else None
    return {
        "what": item.kind,
        "class": item.record_class,
        "day": item.day.isoformat(),
        "categories": list(item.categories),
        "due": due,
        "action": item.action,
        "reason": item.reason,
    }


def verify(
    context: typer.Context,
    against: Annotated[
        Path | None,
        typer.Option(help="An old copy of the vault directory: try today's keys, and keys that lie in the copy."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Recompute everything from disk and name each fault (exit code 5 when there is one).

    With --against every sealed file of the copy is tried; what holds keep, warrants and proposals for an officer,
    approver or auditor alone (with --user).
    """
    if against is not None:
        _verify_against(context, against, as_json)
        return
    with _told(as_json), _at_rest(context) as vault, progress("verify", total=len(verifying.STEPS)) as step:
        found = verifying.verify(vault, step)
        if not found.faults:
            standing.note_verified(vault)
    if not as_json:
        print_table("checked", ("what", "number"), list(found.checked.items()))
    _print_faults(found.faults, as_json, {"checked": found.checked})
    found.require_clean()


def _verify_against(context: typer.Context, copy: Path, as_json: bool) -> None:
    vault, reads = door(context).open(), door(context).user is not None
    if reads:
        require_reader(door(context).person(vault))
    with progress("verify") as step:
        found = old_copy.against(vault, copy, ask_secret, step, with_held=reads)
    if as_json:
        verdict = "failed" if found.faults else "unreadable" if found.dead else "nothing shown"
        print_object({**asdict(found), "kinds": found.kinds(), "verdict": verdict, "told": found.sentences()})
    else:
        wrong = [(one.kind, one.file, one.state, one.opened_by or one.opened_by_copied) for one in found.faults]
        if wrong:
            print_table("readable", ("what", "file", "state", "by the key"), wrong)
        print_lines(found.sentences())
    if found.faults:
        raise FaultError(f"trying keys on {copy}: {len(found.faults)} files or values open that should not")


@contextmanager
def _at_rest(context: typer.Context) -> Iterator[Vault]:
    """The vault, opened to look at it while nobody writes: under the writer's lock, which is waited for.

    So neither a file of a batch that is not committed yet nor a renewal of the keys half way looks like a fault. Raises
    `BusyError` when another process keeps the lock.
    """
    layout = door(context).layout
    house.require_vault(layout)
    with locks.writing(layout, WRITER_SECONDS):
        yield door(context).open()


@contextmanager
def _told(as_json: bool) -> Iterator[None]:
    """A vault that can't be opened, or looked at, for a fault of its own is printed as one fault, as `verify` prints
    all.
    """
    try:
        yield
    except FaultError as fault:
        _print_faults([Fault("unreadable", "vault", str(fault))], as_json, {"checked": {}})
        raise


def _print_faults(faults: Iterable[Fault], as_json: bool, more: dict[str, object]) -> None:
    found = [{"kind": fault.kind, "thing": fault.thing, "sentence": fault.sentence} for fault in faults]
    if as_json:
        print_object({"faults": found, **more})
    else:
        print_table("faults", ("kind", "what is wrong"), [(fault["kind"], fault["sentence"]) for fault in found])


def status(
    context: typer.Context,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Exit 5 when something is overdue or not true, 6 for the clock, 7 below min_free."
        ),
    ] = False,
    to: Annotated[
        Path | None, typer.Option("--textfile", help="Also write it as a Prometheus text file, in place at once.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what the vault holds, what is due, and what wants attention."""
    try:
        vault = door(context).open()
    except LockedError as problem:
        if _print_locked(door(context).layout, as_json):
            told = "showing the status: the vault is locked, and something is due or waits for its keys to be destroyed"
            raise FaultError(told, hint=problem.hint) from problem
        raise LockedError(
            "showing the status: the vault is locked; without the key provider's secret only this can be told: nothing "
            "is due, and nothing waits for its keys to be destroyed",
            hint=problem.hint,
        ) from problem
    state = standing.status(vault)
    if to is not None:
        textfile.write(vault.disk, vault.layout, to, state)
    if as_json:
        print_object(state.as_dict())
    else:
        zone = vault.policy.zone
        facts = [(name, _fact(name, value, zone)) for name, value in state.facts.items() if name != "schedule"]
        print_table("status", ("what", "value"), facts)
        classes = [(*row[:-1], None if row[-1] is None else wording.moment(row[-1], zone)) for row in state.classes]
        print_table("classes", ("class", "days", "records", "oldest day", "due now", "kept until"), classes)
        late = [
            (
                *(item.what, item.record_class, item.day, _categories(item.categories)),
                *(wording.moment(item.due, zone), wording.span(item.lateness)),
            )
            for item in state.late
        ]
        print_table("late", ("what", "class", "day", "categories", "due", "late by"), late)
        ran = [(run.job, run.state, *(wording.moment(at, zone) for at in (run.started, run.next))) for run in state.ran]
        print_table("schedule", ("job", "state", "last", "next"), ran)
        print_table("attention", ("what",), [(sentence,) for sentence in state.attention])
    if check:
        state.require_true()


def _fact(name: str, value: object, zone: str) -> object:
    """A fact of the status as a person reads it; `--json` has bytes, seconds and UTC."""
    if isinstance(value, int) and name.endswith("bytes"):
        return wording.size(value)
    if isinstance(value, int) and name.endswith("_seconds"):
        return wording.span(timedelta(seconds=value))
    return wording.moment(value, zone) if isinstance(value, str) and name.startswith("last_") else value


def _print_locked(layout: Layout, as_json: bool) -> list[str]:
    """What a locked vault can show: what is due, and what waits for its keys to be destroyed. Returns the alarms."""
    found = dropping.state(layout, SystemClock())
    if as_json:
        waiting = [
            {"what": i.what, "class": i.record_class, "day": i.day, "due": i.due, "dropped_at": i.at}
            for i in found.pending.dropped
        ]
        print_object(
            {"locked": True, "pending": waiting, "due": [_item(item) for item in found.due], "wrong": found.alarms}
        )
    else:
        rows = [
            (item.what, item.record_class, item.day, *(wording.moment(at, "UTC") for at in (item.due, item.at)))
            for item in found.pending.dropped
        ]
        print_table("key destruction pending", ("what", "class", "day", "due", "files dropped"), rows)
        print_table("attention", ("what",), [(sentence,) for sentence in found.alarms])
    return found.alarms


@audit_verbs.command("show")
def audit_show(
    context: typer.Context,
    last: Annotated[int, typer.Option(min=1, help="How many entries, counted from the end.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Show entries of the audit log (role auditor)."""
    vault = door(context).open()
    require_role(door(context).person(vault), "auditor")
    entries = vault.audit.show(last)
    if as_json:
        print_object({"entries": entries})
    else:
        zone = vault.policy.zone
        rows = [
            (entry["seq"], wording.moment(entry["time"], zone), entry["act"], entry["person"], plain(entry["detail"]))
            for entry in entries
        ]
        print_table("audit log", ("seq", "time", "act", "person", "detail"), rows)


@audit_verbs.command("verify")
def audit_verify(
    context: typer.Context,
    checkpoint: Annotated[
        Path | None, typer.Option(help="A checkpoint that was kept elsewhere: the log must begin with what it signs.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check chain, signatures and head of the audit log (exit code 5 on a fault)."""
    more: dict[str, object] = {}
    with _told(as_json):
        vault = door(context).open()
        entries, faults = verifying.audit_faults(vault)
        if checkpoint is not None and not faults:
            try:
                found = checkpoints.require_extends(vault, read_text(checkpoint))
                more = {"checkpoint": found.before, "root": found.root, "consistency": list(found.path)}
            except FaultError as fault:
                faults = [Fault("rolled back", "audit", str(fault))]
    if faults or as_json:
        _print_faults(faults, as_json, {"entries": entries, **more})
    else:
        print_lines([f"{entries} entries: chain, signatures and head agree"])
        if more:
            print_lines([f"the log begins with the {more['checkpoint']} entries of the checkpoint, unchanged"])
    if faults:
        raise FaultError(faults[0].sentence)
