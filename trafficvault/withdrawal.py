"""Withdrawal: a batch that was wrongly read leaves the vault, with every row, its rejections and its bytes.

An operator proposes it with a reason, a second person approves, and that carries it out (`rewrite`): the rows go from
every partition that has some, certified, and the batch says `withdrawn`. Its file may be delivered again then.

What was done with the rows before is told, never undone: the disclosures whose windows and classes met the batch's
partitions after it was committed, and the batches that came later and had duplicates on those days: a record that both
had went with the first, and is back only when the later file is replaced as well.

The reason may name somebody. It lies in the proposal, which is sealed, and neither in a certificate nor in the log.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from trafficvault import docket, proposals, refusals, rewrite
from trafficvault.catalogue import Row, Transaction
from trafficvault.errors import RefusedError
from trafficvault.people import Person
from trafficvault.proposals import Proposal
from trafficvault.rewrite import Why
from trafficvault.thinning import Going
from trafficvault.vault import Vault

KIND = "batch-withdraw"
RULE = "its batch was withdrawn"
"""What the certificates of a withdrawal give as their rule."""
_WITHDRAWABLE = ("committed", "held")
_INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """What was withdrawn, and what had been done with it.

    `disclosures` may have used rows of the batch; the batches `doubled` may have lost records to it.
    """

    batch_id: str
    rows: int
    certificates: tuple[str, ...]
    disclosures: tuple[str, ...]
    doubled: tuple[str, ...]


def propose(vault: Vault, person: Person, batch_id: str, reason: str) -> Proposal:
    """Proposes to withdraw `batch_id`. Raises `RefusedError` when it is not in the vault, or for no reason."""
    with refusals.logged(vault, f"{KIND}-propose", person.name, {"batch": batch_id}):
        if not reason.strip():
            raise RefusedError(f"withdrawing batch {batch_id}: no reason was given; say why with --reason")
        require_withdrawable(vault, batch_id)
    return proposals.propose(vault, person, KIND, {"batch": batch_id, "reason": reason.strip()})


def carry_out(vault: Vault, person: Person, proposal: Proposal) -> Withdrawal:
    """Withdraws the batch of an approved proposal. The caller holds the writer's lock; `person` approved it.

    Raises `RefusedError` unless two persons vouch for it, and as `rewrite.remove`.
    """
    found = proposals.require_approved(vault, proposal.proposal_id, KIND)
    detail = {"proposal": found.proposal_id, "proposed_by": found.proposed.person}
    return withdraw(vault, person, found.body["batch"], detail, lambda tx: proposals.mark_done(tx, found.proposal_id))


def withdraw(
    vault: Vault,
    person: Person,
    batch_id: str,
    detail: dict[str, str],
    note: rewrite.Note = rewrite.no_note,
    spared: Collection[str] = (),
) -> Withdrawal:
    """Withdraws a batch by the decision that `detail` names, but for its files of the kinds `spared`. For acts that two
    persons vouched for.
    """
    row = require_withdrawable(vault, batch_id)
    days = _days(row)
    with vault.catalogue.reading() as tx:
        leftovers = [one for one in tx.select("leftovers", batch=batch_id) if one["kind"] not in spared]
        doubled = _doubled(tx, row, days)
    used = tuple(sorted(_disclosures(vault, row, days)))

    def noted(tx: Transaction) -> None:
        tx.put("batches", **row | {"status": "withdrawn"})
        for one in leftovers:
            tx.delete("leftovers", **{name: one[name] for name in ("kind", "record_class", "day", "batch")})
        note(tx)

    told = detail | {"batch": batch_id, "disclosures": list(used), "doubled": list(doubled)}
    going = Going(("batch",), lambda record_class, rows: rows["batch"] == batch_id)
    done = rewrite.remove(vault, days, going, Why("batch-withdraw", RULE, person.name, told), noted)
    for one in leftovers:
        # A crash before this line leaves files without a row of the catalogue: the next writer sweeps them.
        day = date.fromisoformat(one["day"])
        vault.disk.remove(vault.layout.leftover_file(one["kind"], one["record_class"], day, batch_id))
    return Withdrawal(batch_id, done.rows, tuple(one["id"] for one in done.certificates), used, doubled)


def require_withdrawable(vault: Vault, batch_id: str) -> Row:
    """The catalogue's row of a batch that is in the vault, stored or held. Raises `RefusedError` otherwise."""
    with vault.catalogue.reading() as tx:
        row = tx.get("batches", id=batch_id)
    if row is None:
        raise RefusedError(f"withdrawing batch {batch_id}: there is none; `batch list` shows them")
    if row["status"] not in _WITHDRAWABLE:
        raise RefusedError(f"withdrawing batch {batch_id}: it is {row['status']}, so no row of it is in the vault")
    return row


def _days(row: Row) -> set[tuple[str, date]]:
    """Class and day of each partition that the batch has, or had, rows in."""
    named = (str(name).split("/") for name in json.loads(row["partitions"]))
    return {(record_class, date.fromisoformat(day)) for record_class, day in named}


def _disclosures(vault: Vault, row: Row, days: set[tuple[str, date]]) -> list[str]:
    """The disclosures since the batch came whose warrant has a window and a class that meet `days`."""
    with vault.catalogue.reading() as tx:
        since = [one for one in tx.select("disclosures") if one["started_at"] >= row["received_at"]]
    found = []
    for one in since:
        if one["state"] == "failed":
            continue
        try:
            warrant = docket.load(vault, one["warrant"]).document
        except RefusedError:
            found.append(one["id"])  # the warrant is gone; nobody can say that it did not
            continue
        classes = set(warrant.document["classes"])
        windows = [_dates(*window) for window in warrant.windows]
        if any(name in classes and any(first <= day <= last for first, last in windows) for name, day in days):
            found.append(one["id"])
    return found


def _doubled(tx: Transaction, row: Row, days: set[tuple[str, date]]) -> tuple[str, ...]:
    """The committed batches that came later, had duplicates, and may have had them on `days`."""
    touched = sorted(day.isoformat() for _, day in days)
    found = []
    for one in tx.select("batches", status="committed") if touched else ():
        if one["id"] == row["id"] or one["received_at"] < row["received_at"]:
            continue
        # A file of duplicates alone tells no day: it may have been any.
        apart = one["last_day"] is not None and (one["last_day"] < touched[0] or one["first_day"] > touched[-1])
        if json.loads(one["counts"])["duplicate"] and (not apart or json.loads(one["counts"])["stored"] == 0):
            found.append(str(one["id"]))
    return tuple(sorted(found))


def _dates(start: datetime, end: datetime) -> tuple[date, date]:
    """First and last UTC date of the window [start, end), and a day on either side, for parts of calls."""
    day = timedelta(days=1)
    return start.astimezone(UTC).date() - day, (end.astimezone(UTC) - _INSTANT).date() + day
