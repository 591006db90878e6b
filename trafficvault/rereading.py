"""Rereading: the kept bytes of a batch are read again, with the feed definition as it is now, in place of its rows.

An operator proposes it with a reason, a second person approves, and that carries it out: the bytes are first opened and
read to their end, so that nothing is withdrawn for a file that could not be stored; then the batch is withdrawn
(`withdrawal`) with its bytes left where they are, and these are received as on the day that they came. The batch keeps
its id. A run that was killed between the two is finished by approving the same proposal again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ingest.errors import FeedError, FileRefused
from ingest.feed import Feed
from ingest.source import Source
from trafficvault import intake, proposals, raw_bytes, receive, refusals, withdrawal
from trafficvault.catalogue import Transaction
from trafficvault.committing import Decision
from trafficvault.errors import FaultError, RefusedError, UsageError
from trafficvault.people import Person
from trafficvault.proposals import Proposal
from trafficvault.receipts import Receipt
from trafficvault.vault import Vault
from trafficvault.withdrawal import Withdrawal

KIND = "batch-reread"


@dataclass(frozen=True, slots=True)
class Rereading:
    """What was withdrawn (None where a killed run had done that) and the receipt of what was stored instead."""

    withdrawn: Withdrawal | None
    receipt: Receipt


def propose(vault: Vault, person: Person, batch_id: str, reason: str) -> Proposal:
    """Proposes to read `batch_id` again. Raises `RefusedError` when its bytes are not kept, or for no reason, and as
    `carry_out` when its feed can't read them today.
    """
    with refusals.logged(vault, f"{KIND}-propose", person.name, {"batch": batch_id}):
        if not reason.strip():
            raise RefusedError(f"reading batch {batch_id} again: no reason was given; say why with --reason")
        _readable(vault, batch_id, "committed")
    return proposals.propose(vault, person, KIND, {"batch": batch_id, "reason": reason.strip()})


def carry_out(vault: Vault, person: Person, proposal: Proposal) -> Rereading:
    """Reads the batch of an approved proposal again. The caller holds the writer's lock.

    Raises `RefusedError` unless two persons vouch for it and its bytes are still kept and readable by its feed, and as
    `rewrite.remove` and `receive.receive_again`.
    """
    found = proposals.require_approved(vault, proposal.proposal_id, KIND)
    batch_id = found.body["batch"]
    feed, source, before = _readable(vault, batch_id, "committed", "withdrawn")
    detail = {"proposal": found.proposal_id, "proposed_by": found.proposed.person}
    gone = None
    if before.status != "withdrawn":
        gone = withdrawal.withdraw(vault, person, batch_id, detail, spared=(raw_bytes.KIND,))

    def note(tx: Transaction) -> None:
        proposals.mark_done(tx, found.proposal_id)
        vault.audit.enter(tx, KIND, person.name, detail | {"batch": batch_id})

    with vault.catalogue.reading() as tx:
        row = tx.get("batches", id=batch_id)
    arrived = datetime.fromisoformat(row["received_at"]) if row else vault.clock.now()
    why = Decision("receive", person.name, note)
    receipt = receive.receive_again(vault, feed, source, raw_bytes.delivered(vault, batch_id), before, arrived, why)
    return Rereading(gone, receipt)


def _readable(vault: Vault, batch_id: str, *states: str) -> tuple[Feed, Source, Receipt]:
    """Feed, source and receipt of a batch whose kept bytes are whole and can be read and stored today."""
    before = intake.batch(vault, batch_id)
    doing = f"reading batch {batch_id} again"
    if before.status not in states:
        raise RefusedError(f"{doing}: it is {before.status}, so no row of it is in the vault")
    kept = raw_bytes.delivered(vault, batch_id)
    feed, source = intake.feed_and_source(vault, before.feed, before.source)
    if kept.sha256() != before.sha256:
        raise FaultError(f"{doing}: its kept bytes are not those that were delivered; run verify")
    try:
        found = intake.looked_through(vault, feed, source, kept, before.file)
    except FeedError as problem:
        raise UsageError(f"{doing}: {problem}") from problem
    except FileRefused as refused:
        raise RefusedError(f"{doing}: as the feed reads it today, {refused}") from refused
    if found.mismatches:
        raise RefusedError(f"{doing}: as the feed reads it today it would be held: {'; '.join(found.mismatches)}")
    return feed, source, before
