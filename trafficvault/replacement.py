"""Replacement: the right file takes the place of a batch that was wrongly delivered.

An operator brings the right file and names the batch. The file is kept whole, sealed, as a held batch, and the
replacement proposed; a second person approves, and then the old batch is withdrawn (`withdrawal`) and the new file is
stored. In this order, so that what both hold is stored and no duplicate. A run that was killed between the two is
finished by approving the same proposal again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trafficvault import held_batches, intake, proposals, refusals, withdrawal
from trafficvault.delivered import Delivered
from trafficvault.errors import RefusedError
from trafficvault.people import Person, require_role
from trafficvault.proposals import Proposal
from trafficvault.receipts import Receipt
from trafficvault.vault import Vault
from trafficvault.withdrawal import Withdrawal

KIND = "batch-replace"


@dataclass(frozen=True, slots=True)
class Replacement:
    """What was withdrawn (None where a killed run had done that) and the receipt of what was stored instead."""

    withdrawn: Withdrawal | None
    receipt: Receipt


def propose(
    vault: Vault, person: Person, batch_id: str, feed_name: str, source_name: str | None, path: Path, reason: str
) -> tuple[Receipt, Proposal]:
    """Holds the file at `path` and proposes that it replaces `batch_id`. The caller holds the writer's lock.

    Raises `RefusedError` when `person` is no operator, the batch is not in the vault, no reason is given, or the file
    is in the vault already or can't be read by its feed; nothing is kept then.
    """
    with refusals.logged(vault, f"{KIND}-propose", person.name, {"batch": batch_id}):
        require_role(person, "operator")
        if not reason.strip():
            raise RefusedError(f"replacing batch {batch_id}: no reason was given; say why with --reason")
        withdrawal.require_withdrawable(vault, batch_id)
        feed, source = intake.feed_and_source(vault, feed_name, source_name)
        waits_for = f"it is to replace batch {batch_id}"
        receipt = held_batches.hold(vault, feed, source, Delivered(path), path.name, waits_for)
    body = {"batch": batch_id, "by": receipt.batch_id, "reason": reason.strip()}
    return receipt, proposals.propose(vault, person, KIND, body)


def carry_out(vault: Vault, person: Person, proposal: Proposal) -> Replacement:
    """Withdraws the old batch of an approved proposal and stores the new one. The caller holds the writer's lock.

    Raises `RefusedError` unless two persons vouch for it and the new file is still held, and as `rewrite.remove` and
    `intake.accept`.
    """
    found = proposals.require_approved(vault, proposal.proposal_id, KIND)
    old, new = found.body["batch"], found.body["by"]
    before, waiting = intake.batch(vault, old), intake.batch(vault, new)
    gone = None
    if before.status != "withdrawn":
        if waiting.status != "held":
            raise RefusedError(
                f"replacing batch {old}: batch {new}, which was to replace it, is {waiting.status} and no longer held; "
                "bring the file again"
            )
        detail = {"proposal": found.proposal_id, "proposed_by": found.proposed.person, "replaced_by": new}
        gone = withdrawal.withdraw(vault, person, old, detail)
        waiting = intake.batch(vault, new)
    receipt = intake.accept(vault, person.name, new) if waiting.status == "held" else waiting
    with vault.catalogue.transaction() as tx:
        proposals.mark_done(tx, found.proposal_id)
        vault.audit.enter(tx, KIND, person.name, {"proposal": found.proposal_id, "batch": old, "by": new})
    vault.audit.flush()
    return Replacement(gone, receipt)
