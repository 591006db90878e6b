"""A vault and its oracle side by side: each act is done to both, and what they disagree about is returned in sentences."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from tests.simulation.book import Book, Call
from tests.simulation.rules import RECORD, WHERE, Rules, longer
from tests.support import Order, approved, ingest, layout_at, new_vault, opened, signed_in
from trafficvault import adoption, compact, disclose, endings, expire, proposals, withdrawal
from trafficvault.expire import Expiry
from trafficvault.layout import day_key_id
from trafficvault.receipts import Receipt
from trafficvault.ring import UNDATED, is_segment_key
from trafficvault.vault import Vault
from trafficvault.verify import verify

HEAD = "class,record_id,start,a_number,served,event,imsi,subscriber,start_cell\n"


def found_house(directory: Path, rules: Rules, now: datetime) -> None:
    """Makes an empty vault under `rules` below `directory`, for `Mirror` to open; a copy of it serves as well."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "rules.toml").write_text(rules.toml())
    new_vault(directory, str(directory / "rules.toml"), now).catalogue.close()


@dataclass
class Mirror:
    """The two of them, and the warrant that the vault is asked with."""

    vault: Vault
    book: Book
    directory: Path
    numbers: frozenset[str]
    warrant: str
    batches: list[str] = field(default_factory=list)
    asked: int = 0
    files: int = 0

    @property
    def now(self) -> datetime:
        """The present moment of both."""
        return self.vault.clock.now()

    # --- acts ---------------------------------------------------------------------------------------------------------

    def deliver(self, calls: Sequence[Call]) -> list[str]:
        """A file of `calls` arrives."""
        self.files += 1
        receipt = ingest(self.vault, "native_csv", file_of(calls), f"file-{self.files}.csv")
        expected = self.book.take(list(calls), receipt.batch_id, self.now)
        self.batches.append(receipt.batch_id)
        found = (receipt.stored, receipt.duplicate, receipt.expired)
        wanted = (expected.stored, expected.duplicate, expected.expired)
        if found == wanted and receipt.rejected == 0:
            return []
        return [f"{self._at()}: a file was taken as {found} (stored, duplicate, expired), not as {wanted}: {receipt}"]

    def go_on(self, step: timedelta) -> None:
        """Time goes by, and another process opens the vault."""
        later = self.now + step
        self.vault.catalogue.close()
        self.vault = opened(self.vault, later)

    def expire(self) -> tuple[Expiry, list[str]]:
        """An expiry runs."""
        told = self.planned()
        done = expire.expire(self.vault)
        expected = self.book.expire(self.now)
        found = [one for one in done.certificates if one["what"] in ("records", "rows")]
        if len(found) != expected:
            told.append(f"{self._at()}: {len(found)} certificates of records, and {expected} things ended")
        told += [
            f"{self._at()}: {one['class']} {one['day']} was certified {one['lateness_seconds']} s late"
            for one in done.certificates
            if one.get("lateness_seconds", 0) < 0
        ]
        return done, told + self.keys(exactly=True)

    def compact(self) -> None:
        """The files of each day are merged."""
        compact.compact(self.vault)

    def withdraw(self, batch: str) -> list[str]:
        """Otto and Ada take a batch out."""
        ada = signed_in(self.vault, "ada")
        made = withdrawal.propose(self.vault, signed_in(self.vault, "otto"), batch, "the wrong file")
        done = withdrawal.carry_out(self.vault, ada, proposals.approve(self.vault, ada, made.proposal_id))
        self.batches.remove(batch)
        expected = self.book.withdraw(batch)
        if len(done.certificates) == expected:
            return []
        return [f"{self._at()}: a withdrawal gave {len(done.certificates)} certificates instead of {expected}"]

    def end_service(self, subscriber: str) -> None:
        """Otto tells that the service of `subscriber` ends now."""
        from tests.simulation.book import Ended

        endings.record(self.vault, signed_in(self.vault, "otto"), {"subscriber": subscriber}, self.now)
        if not any((one.subscriber, one.at) == (subscriber, self.now) for one in self.book.endings):
            self.book.endings.append(Ended(subscriber, self.now))

    def rule(self, rules: Rules) -> list[str]:
        """policy.toml is edited; where that shortens a term, Ada and Aukje agree to it."""
        if rules == self.book.rules:
            return []
        self.vault.layout.policy.write_text(rules.toml())
        self.go_on(timedelta(0))
        shortens = any(longer(getattr(self.book.rules, name), getattr(rules, name)) for name in LENGTHS)
        told = []
        if bool(self.vault.shortens) != shortens:
            told.append(f"{self._at()}: {rules} shortens a term: {shortens}, the vault says {self.vault.shortens}")
        if self.vault.shortens:
            told += self.keys()
            made = adoption.propose(self.vault, signed_in(self.vault, "ada"))
            aukje = signed_in(self.vault, "aukje")
            adoption.carry_out(self.vault, aukje, proposals.approve(self.vault, aukje, made.proposal_id))
            self.go_on(timedelta(0))
        self.book.rule(rules, self.now)
        return told

    # --- checks -------------------------------------------------------------------------------------------------------

    def planned(self) -> list[str]:
        """Whether the vault calls due what the oracle does, no sooner and no later."""
        found = {
            ((item.record_class, item.day), RECORD if item.ends_day else WHERE)
            for item in expire.plan(self.vault)
            if item.kind == "records" and item.action == "expire"
        }
        wanted = self.book.plan(self.now)
        told = [f"{self._at()}: {place} is due too early" for place in sorted(found - wanted)]
        return told + [f"{self._at()}: {place} is due and not planned" for place in sorted(wanted - found)]

    def keys(self, *, exactly: bool = False) -> list[str]:
        """Whether the ring holds the day keys that it must, and no key of what is gone.

        Between two expiries it may hold keys of days of which nothing was stored; not `exactly` overlooks these.
        """
        ring = {name for name in self.vault.keys.key_ids() if name not in UNDATED and not is_segment_key(name)}
        ring = {name for name in ring if name.partition("/")[0] not in ("rejections", "held", "hold")}
        wanted = self.book.keys()
        told = [f"{self._at()}: the ring lacks {name}" for name in sorted(wanted - ring)]
        known = {f"{record_class}/{day}" for record_class, day in self.book.days}
        surplus = {name for name in ring - wanted if exactly or name.rsplit("/", 1)[0] in known}
        return told + [f"{self._at()}: the ring holds {name}" for name in sorted(surplus)]

    def answers(self) -> list[str]:
        """Whether a warrant is answered with the records that live, all of them, their locations masked in time."""
        self.asked += 1
        out = self.directory / f"package-{self.asked}"
        disclose.run(self.vault, signed_in(self.vault, "olga"), self.warrant, out)
        rows = pl.read_parquet(out / "records.parquet")
        shutil.rmtree(out)
        keys = list(zip(rows["record_class"], rows["record_id"], strict=True)) if rows.height else []
        cells = rows["start_cell"].to_list() if "start_cell" in rows.columns else [None] * len(keys)
        found, wanted = dict(zip(keys, cells, strict=True)), self.book.answer(set(self.numbers), self.now)
        told = [f"{self._at()}: {key} was answered twice" for key in sorted({key for key in keys if keys.count(key) > 1})]
        told += [f"{self._at()}: {key} is past its term and was answered" for key in sorted(found.keys() - wanted.keys())]
        told += [f"{self._at()}: {key} lives and was not answered" for key in sorted(wanted.keys() - found.keys())]
        for key in sorted(found.keys() & wanted.keys()):
            if found[key] != wanted[key]:
                told.append(f"{self._at()}: the location of {key} was told as {found[key]}, not as {wanted[key]}")
        return told

    def verified(self) -> list[str]:
        """What `verify` finds."""
        return [f"{self._at()}: {fault.sentence}" for fault in verify(self.vault).faults]

    def _at(self) -> str:
        return self.now.isoformat()


LENGTHS = ("telephony", "mobile_usage", "where", "binding", "roaming_notice", "wait")


def open_mirror(directory: Path, rules: Rules, now: datetime, numbers: Sequence[str]) -> Mirror:
    """Opens the house below `directory` at `now`, and registers the warrant for `numbers`."""
    from trafficvault import app
    from trafficvault.clock import SetClock
    from trafficvault.durable import Disk

    vault = app.open_vault(layout_at(directory), Disk(), SetClock(now), writer=True)
    order = Order(
        targets=[("msisdn", number) for number in numbers],
        start="2025-01-01T00:00:00Z",
        end="2031-01-01T00:00:00Z",
        classes=("telephony", "mobile_usage", "binding", "roaming_notice"),
    )
    return Mirror(vault, Book(rules), directory, frozenset(numbers), approved(vault, order))


def file_of(calls: Sequence[Call]) -> str:
    """The calls as native CSV."""
    return HEAD + "".join(
        f"{call.record_class},{call.name},{call.start:%Y-%m-%dT%H:%M:%SZ},{call.number},a,call,204990000000001,"
        f"{call.subscriber},{call.cell or ''}\n"
        for call in calls
    )
