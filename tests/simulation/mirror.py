"""A vault and its oracle side by side: each act is done to both; what they disagree about is returned in sentences."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from tests.simulation import files, wall
from tests.simulation.book import Book, Call, Ended, Held
from tests.simulation.rules import CLASSES, RECORD, WHERE, Rules, longer
from tests.support import Order, approved, ingest, layout_at, new_vault, opened, signed_in
from trafficvault import (
    adoption,
    app,
    canary,
    compact,
    disclose,
    endings,
    expire,
    holding,
    proposals,
    raw_bytes,
    replacement,
    rereading,
    signing,
    withdrawal,
)
from trafficvault.clock import SetClock
from trafficvault.durable import Disk
from trafficvault.errors import RefusedError
from trafficvault.expire import Expiry
from trafficvault.receipts import Receipt
from trafficvault.ring import UNDATED, is_segment_key
from trafficvault.vault import Vault
from trafficvault.verify import verify

LENGTHS: Final = ("telephony", "mobile_usage", "where", "binding", "roaming_notice", "wait")


def found_house(directory: Path, rules: Rules, now: datetime) -> None:
    """Makes an empty vault under `rules` below `directory`, for `Mirror` to open; a copy of it serves as well."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "rules.toml").write_text(rules.toml())
    new_vault(directory, str(directory / "rules.toml"), now).catalogue.close()


@dataclass(frozen=True)
class Asked:
    """A warrant that the vault is asked with: its numbers, and the holds it goes on from."""

    numbers: frozenset[str]
    holds: tuple[str, ...]


@dataclass
class Mirror:
    """The two of them, and the warrants that the vault is asked with."""

    vault: Vault
    book: Book
    directory: Path
    orders: dict[str, Asked] = field(default_factory=dict)
    batches: list[str] = field(default_factory=list)
    sent: dict[str, tuple[list[Call], int]] = field(default_factory=dict)
    """The calls of each batch, and how many bad rows lay behind them."""
    told: Counter[str] = field(default_factory=Counter)
    """How much was answered, in all."""
    asked: int = 0
    files: int = 0

    @property
    def now(self) -> datetime:
        """The present moment of both."""
        return self.vault.clock.now()

    # --- acts ---------------------------------------------------------------------------------------------------------

    def deliver(self, calls: Sequence[Call], feed: str = "native_csv", bad: int = 0) -> list[str]:
        """A file of `calls` arrives, with so many `bad` rows behind them."""
        self.files += 1
        receipt = ingest(self.vault, feed, files.written(feed, calls, self.files, bad), f"file-{self.files}")
        self.batches.append(receipt.batch_id)
        return self._taken(receipt, calls, bad)

    def _taken(self, receipt: Receipt, calls: Sequence[Call], bad: int) -> list[str]:
        """Whether a receipt says what the oracle took."""
        self.sent[receipt.batch_id] = list(calls), bad
        expected = self.book.take(list(calls), receipt.batch_id, self.now)
        found = (receipt.stored, receipt.duplicate, receipt.expired, receipt.rejected)
        wanted = (expected.stored, expected.duplicate, expected.expired, bad)
        if found == wanted:
            return []
        told = "stored, duplicate, expired, rejected"
        return [f"{self.at()}: a file was taken as {found} ({told}), not as {wanted}: {receipt}"]

    def sing(self) -> list[str]:
        """The canary of the night is sent, found, and looked for where it must be gone."""
        sung = canary.sing(self.vault)
        at = self.now - timedelta(minutes=1)
        call = Call(sung.record_class, f"canary {sung.batch_id}", at, "", "")
        counts = self.book.take([call], sung.batch_id, self.now)
        return [] if counts.stored == 1 else [f"{self.at()}: the canary was stored, and should not be: {counts}"]

    def go_on(self, step: timedelta) -> None:
        """Time goes by, and another process opens the vault."""
        later = self.now + step
        self.vault.catalogue.close()
        self.vault = opened(self.vault, later)

    def expire(self) -> tuple[Expiry, list[str]]:
        """An expiry runs."""
        told = self.planned()
        return self.expired(expire.expire(self.vault), told)

    def expired(self, done: Expiry, told: list[str], again: int = 0) -> tuple[Expiry, list[str]]:
        """Whether the vault's expiry was the oracle's; `again` is how much of it had ended before a restore."""
        expected = self.book.expire(self.now) + again
        found = [one for one in done.certificates if one["what"] in ("records", "rows")]
        if len(found) != expected:
            told.append(f"{self.at()}: {len(found)} certificates of records, and {expected} things ended")
        told += [
            f"{self.at()}: {one['class']} {one['day']} was certified {one['lateness_seconds']} s late"
            for one in done.certificates
            if one.get("lateness_seconds", 0) < 0
        ]
        stated = {
            (
                (one["class"], date.fromisoformat(one["day"])),
                WHERE if one["categories"] == ["where"] else RECORD,
                one["due"],
            )
            for one in found
            if one["what"] == "records"
        }
        wanted = {(place, what, signing.instant(due)) for place, what, due in self.book.ended}
        if not again:
            told += [f"{self.at()}: {one} was due then, and no certificate says so" for one in sorted(wanted - stated)]
            told += [f"{self.at()}: a certificate says that {one} was due then" for one in sorted(stated - wanted)]
        late = self.book.kept_too_long(self.now)
        told += [f"{self.at()}: {row.key} is stored two days past its term" for row in late]
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
        return self._thinned("withdrawal", done.certificates, self.book.withdraw(batch, self.now))

    def replace(self, batch: str, calls: Sequence[Call], feed: str = "native_csv") -> list[str]:
        """Otto brings the file that should have come instead of a batch, and Ada agrees."""
        self.files += 1
        path, ada = self.directory / f"file-{self.files}", signed_in(self.vault, "ada")
        path.write_text(files.written(feed, calls, self.files))
        otto = signed_in(self.vault, "otto")
        held, made = replacement.propose(self.vault, otto, batch, feed, None, path, "it lacked a day")
        done = replacement.carry_out(self.vault, ada, proposals.approve(self.vault, ada, made.proposal_id))
        issued = done.withdrawn.certificates if done.withdrawn else ()
        self.batches[self.batches.index(batch)] = held.batch_id
        return self._thinned("replacement", issued, self.book.withdraw(batch, self.now)) + self._taken(
            done.receipt, calls, 0
        )

    def reread(self, batch: str) -> list[str]:
        """Otto and Ada have a batch read again, from the bytes that are kept for a while."""
        ada = signed_in(self.vault, "ada")
        made = rereading.propose(self.vault, signed_in(self.vault, "otto"), batch, "read by the wrong feed")
        done = rereading.carry_out(self.vault, ada, proposals.approve(self.vault, ada, made.proposal_id))
        issued = done.withdrawn.certificates if done.withdrawn else ()
        told = self._thinned("reading again", issued, self.book.withdraw(batch, self.now))
        return told + self._taken(done.receipt, *self.sent[batch])

    def rereadable(self) -> list[str]:
        """The batches whose bytes are kept."""
        with self.vault.catalogue.reading() as tx:
            kept = {row["batch"] for row in tx.select("leftovers", kind="raw")}
        return [batch for batch in self.batches if batch in kept and self._is_read(batch)]

    def _is_read(self, batch: str) -> bool:
        try:
            raw_bytes.require(self.vault, batch)
        except RefusedError:
            return False
        return True

    def _thinned(self, what: str, issued: Sequence[str], expected: int) -> list[str]:
        if len(issued) == expected:
            return []
        return [f"{self.at()}: a {what} gave {len(issued)} certificates instead of {expected}"]

    def end_service(self, subscriber: str) -> None:
        """Otto tells that the service of `subscriber` ends now, and Ada agrees."""
        ada = signed_in(self.vault, "ada")
        made = endings.propose(self.vault, signed_in(self.vault, "otto"), {"subscriber": subscriber}, self.now)
        endings.enter(self.vault, ada, proposals.approve(self.vault, ada, made.proposal_id))
        same = [one for one in self.book.endings if (one.subscriber, one.at) == (subscriber, self.now)]
        self.book.endings = [one for one in self.book.endings if one not in same]
        self.book.endings.append(Ended(subscriber, self.now))

    def tell_ends(self, subscribers: Sequence[str], *, take_back: bool = False) -> None:
        """A file tells that services end now: they wait. Otto notices that the first did not (`take_back`)."""
        otto, known = signed_in(self.vault, "otto"), {one["ending_id"] for one in endings.listing(self.vault)}
        lines = [json.dumps({"subscriber": name, "at": self.now.isoformat()}).encode() for name in subscribers]
        wrong = lines[:1] if take_back else []
        endings.record_all(self.vault, otto, wrong)
        for one in endings.listing(self.vault):
            if one["ending_id"] not in known:
                endings.withdraw(self.vault, otto, one["ending_id"])
        right = [one for one in subscribers[len(wrong) :] if not self._is_told(one)]
        endings.record_all(self.vault, otto, lines[len(wrong) :])
        until = wall.after(self.now, self.book.rules.told_wait, self.book.rules.zone)
        self.book.endings += [Ended(name, self.now, until) for name in right]

    def _is_told(self, subscriber: str) -> bool:
        return any((one.subscriber, one.at) == (subscriber, self.now) for one in self.book.endings)

    def rule(self, rules: Rules) -> list[str]:
        """policy.toml is edited; where that shortens a term, Ada and Aukje agree to it."""
        if rules == self.book.rules:
            return []
        self.vault.layout.policy.write_text(rules.toml())
        self.go_on(timedelta(0))
        shortens = any(longer(getattr(self.book.rules, name), getattr(rules, name)) for name in LENGTHS)
        told = []
        if bool(self.vault.shortens) != shortens:
            told.append(f"{self.at()}: {rules} shortens a term: {shortens}, the vault says {self.vault.shortens}")
        if self.vault.shortens:
            told += self.keys()
            made = adoption.propose(self.vault, signed_in(self.vault, "ada"))
            aukje = signed_in(self.vault, "aukje")
            adoption.carry_out(self.vault, aukje, proposals.approve(self.vault, aukje, made.proposal_id))
            self.go_on(timedelta(0))
        self.book.rule(rules, self.now)
        return told

    def order(self, numbers: Sequence[str], hold_for: int | None = None, supplements: str | None = None) -> str:
        """A warrant for `numbers` is registered, which freezes them, and approved; `hold_for` days, if it preserves.

        Returns its id, which is that of its hold.
        """
        asked = Order(
            reference=f"PV-{len(self.book.holds)}",
            targets=[("msisdn", number) for number in numbers],
            start="2025-01-01T00:00:00Z",
            end="2031-01-01T00:00:00Z",
            classes=CLASSES,
            hold_for=f"P{hold_for}D" if hold_for else None,
            legal_basis="126ni Sv" if hold_for else "126n Sv",
            supplements=supplements,
        )
        name, mine = approved(self.vault, asked), frozenset(numbers)
        lasts = timedelta(days=hold_for) if hold_for else timedelta(hours=72)
        self.book.holds[name] = Held(mine, self.now, self.now + lasts)
        if not hold_for:
            self.orders[name] = Asked(mine, (name, supplements) if supplements else (name,))
        return name

    def extend(self, hold: str, days: int) -> None:
        """Olga and Piet let a hold bind for `days` from now on, which is refused where it binds as long anyway."""
        until, piet = self.now + timedelta(days=days), signed_in(self.vault, "piet")
        try:
            made = holding.propose_extension(self.vault, signed_in(self.vault, "olga"), hold, until.isoformat())
        except RefusedError:
            if until > self.book.holds[hold].until:
                raise
            return
        holding.extend(self.vault, piet, proposals.approve(self.vault, piet, made.proposal_id).proposal_id)
        self.book.holds[hold].until = until

    def release(self, hold: str) -> None:
        """Olga and Piet let go of what a hold keeps."""
        piet = signed_in(self.vault, "piet")
        made = holding.propose_release(self.vault, signed_in(self.vault, "olga"), hold)
        holding.release(self.vault, piet, proposals.approve(self.vault, piet, made.proposal_id).proposal_id)
        self.book.holds[hold].released = True
        self.book.holds[hold].until = min(self.now, self.book.holds[hold].until)

    # --- checks -------------------------------------------------------------------------------------------------------

    def planned(self) -> list[str]:
        """Whether the vault calls due what the oracle does, no sooner and no later."""
        found = {
            ((item.record_class, item.day), RECORD if item.ends_day else WHERE)
            for item in expire.plan(self.vault)
            if item.kind == "records" and item.action == "expire"
        }
        wanted = self.book.plan(self.now)
        told = [f"{self.at()}: {place} is due too early" for place in sorted(found - wanted)]
        return told + [f"{self.at()}: {place} is due and not planned" for place in sorted(wanted - found)]

    def keys(self, *, exactly: bool = False) -> list[str]:
        """Whether the ring holds the day keys that it must, and no key of what is gone.

        Between two expiries it may hold keys of days of which nothing was stored; not `exactly` overlooks these.
        """
        ring = {name for name in self.vault.keys.key_ids() if name not in UNDATED and not is_segment_key(name)}
        ring = {name for name in ring if name.partition("/")[0] not in ("rejections", "held", "raw", "row")}
        wanted = self.book.keys()
        told = [f"{self.at()}: the ring lacks {name}" for name in sorted(wanted - ring)]
        known = {f"{record_class}/{day}" for record_class, day in self.book.days}
        wanted |= {f"hold/{name}" for name, hold in self.book.holds.items() if hold.may_have_a_key(self.now)}
        surplus = {name for name in ring - wanted if exactly or name.rpartition("/")[0] in known}
        return told + [f"{self.at()}: the ring holds {name}" for name in sorted(surplus)]

    def answers(self) -> list[str]:
        """Whether each warrant is answered with the records that live and those that are held for it, each once, and
        with the locations that it may see.
        """
        return [sentence for order, asked in self.orders.items() for sentence in self._answer(order, asked)]

    def _answer(self, order: str, asked: Asked) -> list[str]:
        self.asked += 1
        out = self.directory / f"package-{self.asked}"
        disclose.run(self.vault, signed_in(self.vault, "olga"), order, out)
        rows = pl.read_parquet(out / "records.parquet")
        manifest = json.loads((out / "manifest.json").read_text())
        shutil.rmtree(out)
        names = ("record_class", "record_id", "batch", "start_cell")
        told = [rows[name].to_list() if name in rows.columns else [None] * rows.height for name in names]
        keys = list(zip(*told[:3], strict=True))
        found, wanted = dict(zip(keys, told[3], strict=True)), self.book.answer(asked.numbers, self.now, asked.holds)
        about = list(rows.select("a_number", "start").iter_rows()) if rows.height else []
        said, carried = self.book.said(about), len(manifest["annotations"])
        wrong = [] if said == carried else [f"{self.at()}: {carried} statements went with an answer, and not {said}"]
        self.told["records answered"] += rows.height
        self.told["of them with a location"] += sum(cell is not None for cell in told[3])
        self.told["of them kept by a hold alone"] += len(
            found.keys() - self.book.answer(asked.numbers, self.now).keys()
        )
        twice = {key for key in keys if keys.count(key) > 1}
        return wrong + [
            f"{self.at()}: {name} {what}"
            for what, names in (
                ("was answered twice", twice),
                ("is past its term and was answered", found.keys() - wanted.keys()),
                ("lives or is held, and was not answered", wanted.keys() - found.keys()),
                (
                    "was answered with another location than it must be",
                    {key for key in found.keys() & wanted.keys() if found[key] != wanted[key]},
                ),
            )
            for name in sorted(names)
        ]

    def verified(self) -> list[str]:
        """What `verify` finds."""
        return [f"{self.at()}: {fault.sentence}" for fault in verify(self.vault).faults]

    def at(self) -> str:
        """The present moment, as a disagreement is told with it."""
        return self.now.isoformat()


def open_mirror(directory: Path, rules: Rules, now: datetime) -> Mirror:
    """Opens the house below `directory` at `now`."""
    vault = app.open_vault(layout_at(directory), Disk(), SetClock(now), writer=True)
    return Mirror(vault, Book(rules), directory)
