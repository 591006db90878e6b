"""The demonstration: a record's whole life on bundled files in real formats with invented data, each step told on
screen.

It does what the verbs do, through the same acts, in a new directory of its own. Only the clock is set: it stands at 20
November 2026, and moves on when a day has to expire. Who wants to do the same by hand gets the files with their dates
moved to today (`write_files`). Called by the command line (`demo`) and by `make demo`.
"""

from __future__ import annotations

import json
import secrets
import shutil
from datetime import UTC, date, datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from trafficvault import (
    app,
    attestation,
    certificates,
    checkpoints,
    completeness,
    disclose,
    docket,
    expire,
    intake,
    partitions,
    people,
    redating,
)
from trafficvault.clock import Clock, SetClock
from trafficvault.durable import Disk
from trafficvault.errors import FaultError, RefusedError, UsageError
from trafficvault.layout import Layout
from trafficvault.people import Person
from trafficvault.receipts import Receipt
from trafficvault.signing import canonical
from trafficvault.verify import verify
from trafficvault.zones import zone_of

BEGIN = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
LATER = timedelta(days=3)
SUBSCRIBER = b"31612345678"
STAFF = {"olga": "officer", "piet": "approver", "otto": "operator"}
FILES = (
    ("asterisk_csv", "Master.csv"),
    ("kamailio_flatstore", "acc_flatstore.log"),
    ("mvno_pipe", "S4PGWM000123"),
    ("mvno_pipe", "S4PGWM000125"),
    ("wlr_fixed", "WLR-DEMO-000017.CDR"),
    ("native_ndjson", "registrations.ndjson"),
    ("wlr_fixed", "WLR-DEMO-000018.CDR"),
)
RECEIPT = ("file", "status", "read", "stored", "joined", "ignored", "rejected", "expired", "held")
SHOWN = ("start", "record_class", "event", "a_number", "b_number", "duration_ms")


class Demonstration:
    """One run in one directory. Each method is a chapter, told in the order of `run`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._console = Console()
        self._chapter = 0
        self._clock = SetClock(BEGIN)
        password = secrets.token_urlsafe(18)
        layout = Layout(directory / "vault", directory / "vault.keys")
        self._vault = app.create(layout, "telecom", [("ada", password)], Disk(), self._clock)
        ada = self._signed_in("ada", password)
        self._people: dict[str, Person] = {}
        for name, role in STAFF.items():
            app.add_person(self._vault, name, (role,), password, (ada,))
            self._people[name] = self._signed_in(name, password)

    def run(self) -> None:
        """Tells the whole story. Raises `FaultError` when `verify` finds a fault where there must be none."""
        self._tell_vault()
        held = self._ingest()
        self._accept(held)
        order = self._warrant()
        self._answer(order, self._directory / "package-1")
        self._refusals(order)
        backup, certificate = self._expire()
        self._prove(certificate)
        self._answer_again(order)
        self._restore(backup)
        self._close()

    def _tell_vault(self) -> None:
        self._head("A vault and its keys", "trafficvault init --admin ada")
        self._say(
            f"The vault is {self._vault.layout.vault}, its keys are in {self._vault.layout.keys}: apart, so that a "
            "copy of the vault opens nothing. ada is administrator; she made olga an officer, piet an approver and "
            "otto an operator."
        )

    def _ingest(self) -> Receipt:
        self._head("Files become records", "trafficvault ingest mvno_pipe S4PGWM000123")
        receipts = [self._take(feed, name) for feed, name in FILES]
        self._table(RECEIPT, [tuple(getattr(item, name) for name in RECEIPT) for item in receipts])
        self._say(
            "Every unit of every file is accounted for. What was older than six months is counted as expired and not "
            "stored. A malformed row is counted, with its reason. Where control totals disagree a batch is held."
        )
        again = self._take(*FILES[2])
        self._say(f"The same file once more: {again.status}, nothing is stored twice.")
        for gap in completeness.known_gaps(self._vault):
            self._say(f"Source {gap.source} numbers its files, and {gap.first} never came (sources gaps).")
        return receipts[-1]

    def _accept(self, held: Receipt) -> None:
        self._head("A person decides about the held batch", f"trafficvault --user otto batch accept {held.batch_id}")
        self._say(f"Why it is held: {held.reason}.")
        done = intake.accept(self._vault, self._people["otto"].name, held.batch_id)
        self._say(
            f"otto accepts it: {done.stored} records stored; every answer that touches its days will name the mismatch."
        )

    def _warrant(self) -> str:
        self._head(
            "A warrant, registered by one person and approved by another", "trafficvault warrant check warrant.toml"
        )
        text = _bundled("warrant.toml").decode()
        for sentence in docket.check(self._vault, text):
            self._say(f"  {sentence}")
        order = docket.register(self._vault, self._people["olga"], text)
        docket.approve(self._vault, self._people["piet"], order)
        self._say(f"olga registered it as {order}, piet approved it: two Ed25519 signatures over one digest.")
        return order

    def _answer(self, order: str, package: Path) -> dict[str, Any]:
        if package.name.endswith("1"):
            self._head(
                "The answer", f"trafficvault --user olga warrant run {order} --question activity --out {package.name}"
            )
        done = disclose.run(self._vault, self._people["olga"], order, package, "activity")
        rows = json.loads((package / "records.json").read_text())["records"]
        self._table(SHOWN, [(row["start"][:16], *(row.get(name) for name in SHOWN[1:])) for row in rows[:12]])
        manifest: dict[str, Any] = json.loads((package / "manifest.json").read_text())
        expired = sum(len(days) for days in manifest["days_expired"].values())
        self._say(
            f"{done.records} records in {package} (the first {min(12, done.records)} are shown), as CSV, JSON, Parquet "
            f"and a signed manifest. It says what is missing: {len(manifest['gaps'])} gap, "
            f"{len(manifest['accepted_mismatches'])} accepted mismatch, {len(manifest['rejections'])} batch with "
            f"rejected rows, {expired} class-days past their term. The warrant does not cover location: no location "
            "key was opened."
        )
        return manifest

    def _refusals(self, order: str) -> None:
        self._head(
            "What a warrant does not allow is refused, and logged",
            f"trafficvault warrant run {order} --question cell …",
        )
        for name, question in (("olga", "cell"), ("piet", "activity")):
            try:
                disclose.run(self._vault, self._people[name], order, self._directory / "never", question)
            except RefusedError as refused:
                self._say(f"{name} asks {question}: {refused}.")

    def _expire(self) -> tuple[Path, str]:
        backup = self._directory / "backup"
        shutil.copytree(self._vault.layout.records, backup)
        self._clock.advance(LATER)
        self._head(f"Three days later, {self._clock.now():%d %B %Y}: a day reaches its term", "trafficvault expire")
        self._say("Somebody made a backup of the vault's records before; remember it.")
        for item in expire.plan(self._vault):
            if item.action == "expire":
                self._say(f"  plan: {item.reason}")
        done = expire.expire(self._vault)
        for body in done.certificates:
            self._say(
                f"Certificate {body['id']}: {body['records']} records of {body['class']} {body['day']}; keys destroyed "
                f"at {str(body['deleted_at'])[:19]}, {int(str(body['lateness_seconds'])) // 3600} hours after due."
            )
        return backup, str(done.certificates[0]["id"])

    def _prove(self, certificate: str) -> None:
        file, kept = self._directory / "certificate.json", self._directory / "kept.checkpoint"
        self._head(
            "The proof, checked by somebody who has no vault",
            f"trafficvault certificate verify {file.name} --public-key … --checkpoint {kept.name}",
        )
        note = str(checkpoints.make(self._vault)["note"])
        for path, content in ((kept, note.encode()), (file, canonical(certificates.export(self._vault, certificate)))):
            self._vault.disk.create(path, content, 0o644)
        read = attestation.read_file(file.read_text(encoding="utf-8"))
        verdict = attestation.check(read, self._vault.settings.public_key, kept.read_text(encoding="utf-8"))
        self._say(f"attested: {verdict.attested}")
        for sentence in verdict.proved:
            self._say(f"proved: {sentence}")
        for sentence in verdict.open:
            self._say(f"open: {sentence}")

    def _answer_again(self, order: str) -> None:
        self._head(
            "The same warrant again",
            f"trafficvault --user olga warrant run {order} --question activity --out package-2",
        )
        manifest = self._answer(order, self._directory / "package-2")
        days = sorted({day for found in manifest["days_expired"].values() for day in found})
        self._say(f"The package names the days that are gone: {days[0]} to {days[-1]}.")

    def _restore(self, backup: Path) -> None:
        self._head("Somebody puts the backup back", "trafficvault verify")
        with self._vault.catalogue.reading() as tx:
            tombs = [row for row in tx.select("partitions") if row["state"] == "tombstone"]
        for row in tombs:
            shutil.copytree(
                backup / row["record_class"] / row["day"], self._vault.layout.records / row["record_class"] / row["day"]
            )
        faults = verify(self._vault).faults
        for fault in faults[:2]:
            self._say(f"verify: {fault.kind}: {fault.sentence}.")
        self._say(f"… and {len(faults) - 2} more, each by name.")
        restored = self._vault.layout.partition(tombs[0]["record_class"], date.fromisoformat(tombs[0]["day"]))
        file = next(restored.glob("*.parquet"))
        try:
            custody = self._vault.keys.custody("verify")
            day = date.fromisoformat(tombs[0]["day"])
            partitions.measure(self._vault.layout, custody, tombs[0]["record_class"], day, file.stem)
        except RefusedError as refused:
            self._say(f"Opening one of them with today's keys: {refused}.")
        for row in tombs:
            shutil.rmtree(self._vault.layout.records / row["record_class"] / row["day"])

    def _close(self) -> None:
        self._head("Everything once more from disk", "trafficvault verify")
        found = verify(self._vault)
        for fault in found.faults:
            raise FaultError(f"the demonstration ended with a fault: {fault.sentence}")
        self._table(("checked", "number"), list(found.checked.items()))
        hits = sum(
            SUBSCRIBER in path.read_bytes()
            for root in (self._vault.layout.vault, self._vault.layout.keys)
            for path in root.rglob("*")
            if path.is_file()
        )
        self._say(f"No fault. The subscriber's number occurs in clear in {hits} files of vault and key directory.")
        self._say(f"Look around in {self._directory}; remove it when you are done.")

    def _take(self, feed: str, name: str) -> Receipt:
        path = self._directory / "in" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(_bundled(name))
        return intake.ingest(self._vault, feed, None, path)

    def _signed_in(self, name: str, password: str) -> Person:
        with self._vault.catalogue.reading() as tx:
            return people.authenticate(tx, name, password)

    def _head(self, title: str, command: str) -> None:
        self._chapter += 1
        self._console.print()
        self._console.rule(f"{self._chapter}. {title}", align="left")
        self._console.print(f"$ {command}", style="dim", markup=False, highlight=False)

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False)

    def _table(self, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
        table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="bold underline")
        for name in columns:
            table.add_column(name, overflow="fold", no_wrap=name in ("start", "status", "record_class"))
        for row in rows:
            table.add_row(*("" if cell is None else str(cell) for cell in row))
        self._console.print(table)


def run(directory: Path) -> None:
    """Runs the demonstration in the new directory `directory`. Raises `UsageError` when it exists."""
    if directory.exists():
        raise UsageError(f"running the demonstration: {directory} exists; remove it, or name another with --directory")
    Disk().make_directory(directory)
    Demonstration(directory).run()


def write_files(directory: Path, clock: Clock) -> tuple[int, date]:
    """Writes the bundled files into the new directory `directory`, as if their story were told today by `clock`; gives
    their number and that day. Raises `UsageError` when the directory exists.
    """
    if directory.exists():
        raise UsageError(f"writing the demonstration's files: {directory} exists; remove it, or name another")
    disk, today = Disk(), clock.now().astimezone(zone_of(redating.ZONE)).date()
    names = sorted(item.name for item in resources.files("trafficvault").joinpath("demo_files").iterdir())
    disk.make_directory(directory)
    for name in names:
        disk.create(directory / name, redating.redated(_bundled(name), today))
    return len(names), today


def _bundled(name: str) -> bytes:
    return resources.files("trafficvault").joinpath("demo_files", name).read_bytes()
