"""Suspension: what a catalogue that was put back says and nothing proves any more waits until persons say so.

A backup tells how things stood when it was made. Whoever was disabled since would act again, a proposal that was
dropped since could be approved, an escrow that was taken off would get keys: so, where the log of what was done since
is lost, all of these come back closed. A person who was enabled then is *suspended*: may not sign in, until an
administrator confirms them (`user confirm`). A proposal is made again, an escrow set again. A warrant may have been
refused since, and a hold released: until the docket is confirmed none of before is answered, and what was held is held
on (`trafficvault.confirming`).

A hold that binds and whose key has died kept something that nobody can open any more. It is `lost`: its key is not made
anew as if nothing had been, and whoever needs it registers the order again.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from trafficvault import carving, escrow, holds, people, signing
from trafficvault.catalogue import Transaction
from trafficvault.layout import hold_key_id

_UNDONE = ("open", "approved")
"""The states in which a proposal may still be carried out."""


@dataclass(frozen=True, slots=True)
class Suspended:
    """Who was suspended, which proposals were closed, and whether an escrow was taken off."""

    people: tuple[str, ...] = ()
    proposals: tuple[str, ...] = ()
    escrow: bool = False


def suspend(tx: Transaction, keep: Collection[str], now: datetime) -> Suspended:
    """Suspends everybody but `keep`, who just signed in, closes every proposal, takes the escrow off, and lets the
    docket wait to be confirmed.
    """
    tx.set_meta(holds.TO_CONFIRM, signing.instant(now))
    persons = people.suspend(tx, keep)
    undone = [row for row in tx.select("proposals") if row["state"] in _UNDONE]
    for row in undone:
        tx.put("proposals", **row | {"state": "dropped"})
    return Suspended(tuple(persons), tuple(sorted(row["id"] for row in undone)), escrow.forget(tx))


def lose_holds(tx: Transaction, held: Collection[str], now: datetime) -> list[str]:
    """Ends the holds that bind, and kept something under a key that is not among `held`. Returns their ids."""
    carved = {row["hold"] for row in tx.select(carving.TABLE) if not row["lapsed"]}
    lost = []
    for row in tx.select(holds.TABLE):
        binds = row["state"] in holds.BINDING and now < datetime.fromisoformat(row["until"])
        if binds and row["id"] in carved and hold_key_id(row["id"]) not in held:
            holds.finish(tx, row["id"], holds.LOST, now)
            lost.append(row["id"])
    return sorted(lost)
