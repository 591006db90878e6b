"""Confirming: whether the warrants and holds of a docket that was put back still stand.

A catalogue that is older than the keys does not know which warrants were refused since, and which holds were released.
Where no log proves that (`trafficvault.restore`), the docket is *to be confirmed*. Until then what was held is held on,
since an order to preserve must not be lost by a mishap of ours, and no warrant of before is answered, nor one that goes
on from a hold of before. Refusing, releasing and registering go on: that is how the docket is brought to what the
authorities' papers say. Then an officer proposes that the rest stands, and an approver agrees (`warrant confirm`).

It is one decision on the whole docket, asked for whether there is anything in it or not: who may not read the docket
learns nothing from it (THREATS.md).
"""

from __future__ import annotations

from datetime import datetime

from trafficvault import holds, proposals, signing
from trafficvault.catalogue import Transaction
from trafficvault.docket import Docketed
from trafficvault.errors import RefusedError
from trafficvault.people import Person
from trafficvault.proposals import Proposal
from trafficvault.vault import Vault

KIND = "docket-confirm"
SENTENCE = (
    "whether warrants and holds of before the vault was put back still stand is TO BE CONFIRMED: no warrant of before "
    "runs until an officer has compared the docket with the orders, refused or released what is over, and proposed "
    "`warrant confirm`, and an approver approved it"
)
"""What `status` and the lists of the docket say until then."""
_REASON = (
    "the vault was put back from a backup since it, or what it supplements, was registered, and whether it still "
    "stands is to be confirmed (`warrant confirm`)"
)


def waits(tx: Transaction) -> datetime | None:
    """When the vault was put back whose docket is to be confirmed; None where nothing is."""
    text = tx.meta(holds.TO_CONFIRM)
    return datetime.fromisoformat(text) if text else None


def sentences(vault: Vault) -> list[str]:
    """`SENTENCE` while the docket is to be confirmed."""
    with vault.catalogue.reading() as tx:
        return [SENTENCE] if waits(tx) is not None else []


def objections(vault: Vault, order: Docketed) -> tuple[str, ...]:
    """Why `order` may not be answered yet: it, or the warrant whose hold it goes on from, is of before."""
    with vault.catalogue.reading() as tx:
        moment = waits(tx)
        before = tx.get("warrants", id=order.document.document.get("supplements") or order.warrant_id)
    if moment is None:
        return ()
    registered = [order.registered.at] + ([datetime.fromisoformat(before["registered_at"])] if before else [])
    return (_REASON,) if min(registered) <= moment else ()


def propose(vault: Vault, person: Person) -> Proposal:
    """Puts before an approver that what stands in the docket by now stands. Raises `RefusedError` where nothing is to
    be confirmed.
    """
    with vault.catalogue.reading() as tx:
        moment = waits(tx)
    if moment is None:
        proposals.require_proposer(person, KIND)
        raise RefusedError("confirming the docket: nothing is to be confirmed; no backup was put back since")
    return proposals.propose(vault, person, KIND, {"put_back": signing.instant(moment)})


def carry_out(vault: Vault, person: Person, proposal: Proposal) -> list[str]:
    """Confirms the docket by an approved proposal. Raises `RefusedError` when it is of another restore."""
    found = proposals.require_approved(vault, proposal.proposal_id, KIND)
    with vault.catalogue.transaction() as tx:
        if tx.meta(holds.TO_CONFIRM) != found.body["put_back"]:
            raise RefusedError("confirming the docket: the vault was put back again since; propose it anew")
        tx.delete("meta", key=holds.TO_CONFIRM)
        proposals.mark_done(tx, found.proposal_id)
        vault.audit.enter(tx, KIND, person.name, {"proposal": found.proposal_id, **found.body})
    vault.audit.flush()
    return ["the docket is confirmed: its approved warrants run again"]
