"""Adoption: a policy that shortens a term is shown with its plan, proposed by one person and agreed to by another.

    policy.toml edited → `plan` (what would be due) → `propose` → another approves → `carry_out`: the next version

Until then the version in force goes on ruling, and `status` says that policy.toml differs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from trafficvault import expire, policies, policy_file, proposals, wording
from trafficvault.errors import RefusedError, UsageError
from trafficvault.people import Person
from trafficvault.policies import Version
from trafficvault.policy import Policy
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
    _, written, known, now = _read(vault)
    effect = policies.effect_of(written, now)
    after = replace(vault, policy=policies.with_lapses(written, known, now))
    today = {_name(item) for item in expire.plan(vault, effect) if item.action == "expire"}
    then = [item for item in expire.plan(after, effect) if item.action == "expire"]
    shortens = policies.ruling(known, written, now).shortens
    return Plan(shortens, effect, tuple(item for item in then if _name(item) not in today))


def propose(vault: Vault, person: Person) -> Proposal:
    """Puts policy.toml, as it is now, before a second person. Raises `RefusedError` when it shortens nothing."""
    text, written, known, now = _read(vault)
    ruling = policies.ruling(known, written, now)
    if not ruling.shortens:
        raise RefusedError(
            "adopting policy.toml: it shortens no term of the policy in force, so it needs no second person"
        )
    body = {
        "text": text,
        "digest": written.digest,
        "instead_of": ruling.policy.digest,
        "shortens": list(ruling.shortens),
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
    since = wording.moment(entered.effect, entered.policy.zone)
    return [f"version {entered.number} of the policy rules from {since} on"]


def _read(vault: Vault) -> tuple[str, Policy, list[Version], datetime]:
    """The text of policy.toml, read once so that what is told of it is of what is entered; the policy that it writes,
    the versions that are known, and now.
    """
    try:
        text = vault.layout.policy.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise UsageError("reading policy.toml: it can't be read as text") from problem
    with vault.catalogue.reading() as tx:
        known = policies.versions(tx)
    return text, policy_file.parse(text), known, vault.clock.now()


def _name(item: Item) -> tuple[str, str, str, tuple[str, ...]]:
    return item.kind, item.record_class, item.day.isoformat(), item.categories
