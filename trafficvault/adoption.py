"""Adoption: a policy that shortens a term is shown with its plan, proposed by one person and agreed to by another.

    policy.toml edited → `plan` (what would be due) → `propose` → another approves → `carry_out`: the next version

Until then the version in force goes on ruling, and `status` says that policy.toml differs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from trafficvault import expire, policies, policy, proposals
from trafficvault.errors import RefusedError, UsageError
from trafficvault.people import Person
from trafficvault.proposals import Proposal
from trafficvault.retention import Item
from trafficvault.vault import Vault

KIND = "policy"


@dataclass(frozen=True, slots=True)
class Plan:
    """What policy.toml would change: what it shortens, from when it would rule, and what would then be due that is not
    due today.
    """

    shortens: tuple[str, ...]
    effect: datetime
    due: tuple[Item, ...]


def plan(vault: Vault) -> Plan:
    """What adopting policy.toml would do. Changes nothing."""
    text = _written(vault)
    written = policy.parse(text)
    now = vault.clock.now()
    effect = policies.effect_of(written, now)
    with vault.catalogue.reading() as tx:
        known = policies.versions(tx)
    after = replace(vault, policy=policies.with_lapses(written, known, now))
    today = {_name(item) for item in expire.plan(vault, effect) if item.action == "expire"}
    then = [item for item in expire.plan(after, effect) if item.action == "expire"]
    return Plan(vault.shortens, effect, tuple(item for item in then if _name(item) not in today))


def propose(vault: Vault, person: Person) -> Proposal:
    """Puts policy.toml, as it is now, before a second person. Raises `RefusedError` when it shortens nothing."""
    if not vault.shortens:
        raise RefusedError(
            "adopting policy.toml: it shortens no term of the policy in force, so it needs no second person"
        )
    text = _written(vault)
    body = {
        "text": text,
        "digest": policy.parse(text).digest,
        "instead_of": vault.policy.digest,
        "shortens": list(vault.shortens),
    }
    return proposals.propose(vault, person, KIND, body)


def carry_out(vault: Vault, person: Person, proposal: Proposal) -> list[str]:
    """Enters the policy that two persons agreed to as the next version. Returns what was done, in sentences.

    Raises `RefusedError` when another version rules by now than the one it was held against.
    """
    found = proposals.require_approved(vault, proposal.proposal_id, KIND)
    if found.approved is None or found.body["instead_of"] != vault.policy.digest:
        raise RefusedError(
            f"adopting the policy of proposal {found.proposal_id}: another one rules by now; propose it again"
        )
    with vault.catalogue.transaction() as tx:
        persons = (found.proposed.person, found.approved.person)
        entered = policies.enter(tx, str(found.body["text"]), vault.clock.now(), persons)
        proposals.mark_done(tx, found.proposal_id)
        told = entered.as_dict() | {"proposal": found.proposal_id, "before": found.body["instead_of"]}
        vault.audit.enter(tx, "policy-adopted", person.name, told)
    vault.audit.flush()
    return [f"version {entered.number} of the policy rules from {entered.as_dict()['effect']}"]


def _written(vault: Vault) -> str:
    try:
        return vault.layout.policy.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise UsageError("reading policy.toml: it can't be read as text") from problem


def _name(item: Item) -> tuple[str, str, str, tuple[str, ...]]:
    return item.kind, item.record_class, item.day.isoformat(), item.categories
