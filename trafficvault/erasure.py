"""Erasure: a subject's own records leave the classes in which nothing requires keeping them (GDPR art. 17).

A class lets records go when every entry of the policy that covers it says `erasable = true`. For each of the others the
answer holds the fixed sentence of its ground: an entry that serves lawful requests keeps them by a legal obligation
(art. 17(3)(b)), any other because they are still needed (art. 17(1)(a)). The rows leave as those of an ended service do
(`rewrite`): the day lives on under new keys, the old ones die, and a certificate says how many rows went.

Records of other people in which the subject is the other party stay: they are those people's. So do records of an
organisation's user, about which that organisation decides. A subject whose records are restricted is not erased: the
restriction may be there because they are needed (art. 18(1)(b) and (c)).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import polars as pl

from queries import subject
from trafficvault import rewrite, rights, rights_rules, targets
from trafficvault.catalogue import Transaction
from trafficvault.errors import RefusedError
from trafficvault.people import Person
from trafficvault.policy import DISCLOSING, Policy
from trafficvault.rewrite import Why
from trafficvault.rights import Request
from trafficvault.rights_rules import ERASE, LEGAL_OBLIGATION, STILL_NEEDED
from trafficvault.terms import Words
from trafficvault.thinning import Going
from trafficvault.vault import Vault

RULE = "its subject asked for erasure"
"""What the certificates of an erasure give as their rule."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """The classes in which records went, how many, the certificates, and what the person is told."""

    classes: tuple[str, ...]
    rows: int
    certificates: tuple[str, ...]
    sentences: tuple[Words, ...]


def carry_out(vault: Vault, person: Person, request: Request) -> Erasure:
    """Removes the subject's records from every erasable class. The caller holds the writer's lock, and has checked that
    two persons vouch for `request`. Raises `RefusedError` while the subject is restricted, and as `rewrite.remove`.
    """
    if rights.restricted_among(vault, request.document["targets"]):
        raise RefusedError(f"erasing for request {request.request_id}: these records are restricted; lift that first")
    classes = vault.policy.erasable()
    grounds = kept_by(vault.policy)
    sentences = [rights_rules.GRANTED[ERASE]] if classes else []
    sentences += [rights_rules.refusal(ERASE, ground) for ground in dict.fromkeys(grounds.values())]
    told = {"request": request.request_id, "digest": request.digest}
    wanted = tuple(targets.target_of(one) for one in request.document["targets"])
    with vault.catalogue.reading() as tx:
        parts = [row for name in classes for row in tx.select("partitions", record_class=name, state="live")]

    def going(record_class: str, rows: pl.DataFrame) -> pl.Series:
        classed = rows.with_columns(record_class=pl.lit(record_class))
        return subject.own(classed, wanted) & rows["customer"].is_null()

    def note(tx: Transaction) -> None:
        # What nothing was erased of is a refusal, on the first of its grounds.
        ground = None if classes else next(iter(grounds.values()), STILL_NEEDED)
        rights.close(vault, tx, person, request.request_id, "answered" if classes else "refused", ground)

    days = [(row["record_class"], date.fromisoformat(row["day"])) for row in parts]
    why = Why("rights-erase", RULE, person.name, told, by_subject=True)
    done = rewrite.remove(vault, days, Going(subject.DECIDING, going), why, note)
    issued = tuple(one["id"] for one in done.certificates)
    return Erasure(tuple(classes), done.rows, issued, (*sentences, rights_rules.REMEDY))


def kept_by(policy: Policy) -> dict[str, str]:
    """The classes that are not erased, each with the ground on which they are kept."""
    erasable = set(policy.erasable())
    grounds: dict[str, str] = {}
    for record_class in policy.classes():
        if record_class not in erasable:
            covering = [entry for entry in policy.entries if record_class in entry.classes]
            lawful = any(entry.purpose == DISCLOSING for entry in covering)
            grounds[record_class] = LEGAL_OBLIGATION if lawful else STILL_NEEDED
    return grounds
