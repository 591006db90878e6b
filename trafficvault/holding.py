"""Holding: a hold is extended or released by two persons, and ends by itself.

What ends is destroyed by an expiry, with the keys of the days that die then: the hold's key leaves the ring, its files
are dropped. No certificate says that a hold ended; each of that run commits to it, as each other run's commits to none
(`carving.commitment`). Called by the command line and by `expire`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from trafficvault import carving, holds, partitions, proposals, refusals, warrants, wording
from trafficvault.catalogue import Row, Transaction
from trafficvault.errors import RefusedError, UsageError
from trafficvault.faults import Fault
from trafficvault.holds import Hold
from trafficvault.layout import hold_key_id, is_hold_key
from trafficvault.people import Person
from trafficvault.proposals import Proposal
from trafficvault.vault import Vault

WAITS = timedelta(hours=24)
"""For so long at most the key of a hold that is over waits for other keys to die with."""


@dataclass(frozen=True, slots=True)
class Over:
    """A hold that is over and still has a key or files; or, of one that binds again since an approval after its freeze,
    what had lapsed by then.
    """

    hold_id: str
    key_id: str
    until: datetime
    carves: tuple[Row, ...]


def propose_extension(vault: Vault, person: Person, hold_id: str, until: str) -> Proposal:
    """Puts before an approver that an active hold binds until `until`, a date and time with an offset.

    Raises `RefusedError` when it is not active, or its legal basis does not allow as much at a time.
    """
    _require_proposer(vault, person, "hold-extend")
    hold = _binding(vault, hold_id, "extending")
    moment = _moment(until)
    most = warrants.most_hold(hold.document.document)
    zone = vault.policy.zone
    if not hold.until < moment <= hold.until + most.delta():
        raise RefusedError(
            f"extending hold {hold_id}: it binds until {wording.moment(hold.until, zone)}, and its legal basis allows "
            f"{most.words('en')} at a time; {wording.moment(moment, zone)} is not within that"
        )
    return proposals.propose(vault, person, "hold-extend", {"hold": hold_id, "until": moment.isoformat()})


def propose_release(vault: Vault, person: Person, hold_id: str) -> Proposal:
    """Puts before an approver to let go of what a hold keeps. Raises `RefusedError` when it binds no more."""
    _require_proposer(vault, person, "hold-release")
    _binding(vault, hold_id, "releasing")
    return proposals.propose(vault, person, "hold-release", {"hold": hold_id})


def extend(vault: Vault, person: Person, proposal_id: str) -> datetime:
    """Carries out an approved extension, and returns until when the hold binds."""
    body = proposals.require_approved(vault, proposal_id, "hold-extend").body
    hold, until = _binding(vault, body["hold"], "extending"), datetime.fromisoformat(body["until"])
    with vault.catalogue.transaction() as tx:
        holds.extend(tx, hold.hold_id, until)
        proposals.mark_done(tx, proposal_id)
        vault.audit.enter(tx, "hold-extend", person.name, {"hold": hold.hold_id, "until": until.isoformat()})
    vault.audit.flush()
    return until


def release(vault: Vault, person: Person, proposal_id: str) -> None:
    """Carries out an approved release: from here no warrant sees what it kept, and the next expiry destroys it."""
    hold_id = proposals.require_approved(vault, proposal_id, "hold-release").body["hold"]
    with vault.catalogue.transaction() as tx:
        holds.finish(tx, hold_id, "released", vault.audit.moment())
        proposals.mark_done(tx, proposal_id)
        vault.audit.enter(tx, "hold-release", person.name, {"hold": hold_id})
    vault.audit.flush()


def ending(vault: Vault, *, among_others: bool) -> tuple[Over, ...]:
    """The holds whose end an expiry carries out now: all that are over, when other keys die in it too (`among_others`).

    Keys that died by themselves would tell everybody when a hold ended, so it waits for others, but no longer than
    `WAITS`. What an earlier run began is finished at once. What lapsed under a key that keeps something else waits for
    others in any case: no key dies with it.
    """
    now = vault.audit.moment()
    ended = over(vault)
    if among_others:
        return tuple(ended)

    def alone(one: Over) -> bool:
        return one.until + WAITS <= now and not _others(vault, one)

    return tuple(one for one in ended if alone(one) or not vault.keys.has_any([one.key_id]))


def lapsed_keys(vault: Vault) -> tuple[str, ...]:
    """The keys of holds that bind and have, until now, nothing but what lapsed before they did."""
    return dead_keys(vault, (one for one in over(vault) if one.carves and all(row["lapsed"] for row in one.carves)))


def dead_keys(vault: Vault, ended: Iterable[Over]) -> tuple[str, ...]:
    """The keys that die with what `ended`: those under which nothing else was carved. To be asked when the run has
    carved: an order may have been approved since, and bind.
    """
    return tuple(one.key_id for one in ended if not _others(vault, one))


def drop(vault: Vault, ended: Iterable[Over]) -> None:
    """Removes the files of what `ended`."""
    for one in ended:
        _drop_files(vault, one)


def settle(vault: Vault, tx: Transaction, ended: Iterable[Over]) -> None:
    """Writes down, in the transaction that certifies the run, that these holds `ended` and keep nothing more."""
    for one in ended:
        for row in one.carves:
            tx.delete(carving.TABLE, id=row["id"])
        known = tx.get(holds.TABLE, id=one.hold_id)
        # One that was approved meanwhile binds, and goes on without what had lapsed.
        if known is not None and not holds.is_binding(known, vault.audit.moment()):
            holds.finish(tx, one.hold_id, "ended", vault.clock.now())


def faults(vault: Vault) -> list[Fault]:
    """What is wrong with what holds keep; for `verify`, which only reads."""
    with vault.catalogue.reading() as tx:
        carves = tx.select(carving.TABLE)
    custody, gone = vault.keys.custody("hold"), {row["id"] for one in over(vault) for row in one.carves}
    found: list[Fault] = []
    known = {vault.layout.carve_file(row["hold"], row["id"]): row for row in carves}
    for path, row in known.items():
        if row["id"] in gone:
            continue  # an expiry destroys it, and may have begun to
        if not path.is_file():
            found.append(Fault("missing", path.name, f"{path.name}, which a hold keeps, is missing"))
        elif partitions.keyed_digest_of(custody, path) != row["digest"]:
            found.append(Fault("changed", path.name, f"{path.name}, which a hold keeps, was changed"))
        elif not custody.has(hold_key_id(row["hold"])):
            found.append(
                Fault("key missing", path.name, f"{path.name}, which a hold keeps: its key is not in the ring")
            )
    for path in sorted(vault.layout.holds.glob("*/*")):
        if path not in known:
            found.append(
                Fault("extra", path.name, f"{path.name} lies among what holds keep and is not in the catalogue")
            )
    return found


def _others(vault: Vault, one: Over) -> set[str]:
    """The carves of that hold which are not among those of `one`."""
    with vault.catalogue.reading() as tx:
        return {row["id"] for row in tx.select(carving.TABLE, hold=one.hold_id)} - {row["id"] for row in one.carves}


def _drop_files(vault: Vault, one: Over) -> None:
    directory = vault.layout.holds / one.hold_id
    stay = {vault.layout.carve_file(one.hold_id, carve) for carve in _others(vault, one)}
    for path in sorted(directory.glob("*")):
        if not path.is_dir() and path not in stay:
            vault.disk.remove(path)
    # A directory inside is nobody's: it stops no expiry.
    if directory.is_dir() and not any(directory.iterdir()):
        vault.disk.remove_directory(directory)


def over(vault: Vault) -> list[Over]:
    """The holds that bind no more and still have a key in the ring, or files; and what had lapsed of others, since they
    began to bind: what an expiry is to destroy.

    A key whose hold nobody knows is among them, and waits for nothing: the catalogue is older than it, restored after a
    loss.
    """
    now = vault.audit.moment()
    with vault.catalogue.reading() as tx:
        rows, carves = tx.select(holds.TABLE), tx.select(carving.TABLE)
    found = []
    for row in rows:
        until = datetime.fromisoformat(row["until"])
        mine = tuple(carve for carve in carves if carve["hold"] == row["id"])
        key_id = hold_key_id(row["id"])
        if holds.is_binding(row, now):
            lapsed = tuple(carve for carve in mine if carve["lapsed"])
            if lapsed:
                found.append(Over(row["id"], key_id, datetime.fromisoformat(row["since"]), lapsed))
        elif mine or vault.keys.has_any([key_id]):
            found.append(Over(row["id"], key_id, until, mine))
    known = {hold_key_id(row["id"]) for row in rows}
    strays = sorted(name for name in vault.keys.key_ids() if is_hold_key(name) and name not in known)
    return found + [Over(name.partition("/")[2], name, now - WAITS, ()) for name in strays]


def _require_proposer(vault: Vault, person: Person, kind: str) -> None:
    """Before anything is told of a hold: who may not know of it learns nothing from what the refusal says."""
    with refusals.logged(vault, f"{kind}-propose", person.name, {}):
        proposals.require_proposer(person, kind)


def _binding(vault: Vault, hold_id: str, doing: str) -> Hold:
    hold = holds.load(vault, hold_id)
    if not hold.binds(vault.audit.moment()):
        until = wording.moment(hold.until, vault.policy.zone)
        raise RefusedError(f"{doing} hold {hold_id}: it is over ({hold.state}, until {until})")
    return hold


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError("extending a hold: --until is not a date and time; write it as 2027-03-01T00:00Z") from None
    if moment.tzinfo is None:
        raise UsageError("extending a hold: --until has no offset; write it as 2027-03-01T00:00Z")
    return moment.astimezone(UTC)
