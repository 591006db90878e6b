"""What an outsider is shown, held against the oracle: certificates, the statement, and where a day's data lie."""

from __future__ import annotations

import json
from datetime import timedelta

from tests.simulation.mirror import Mirror
from tests.simulation.rules import RECORD
from trafficvault import attestation, certificates, checkpoints, inventory, statement
from trafficvault.errors import FaultError

DAY = timedelta(days=1)
MOST = 3
"""Of at most so many days of a night it is looked where they lie."""


def inventoried(mirror: Mirror) -> list[str]:
    """Whether no place has anything of the days that just ended."""
    ended = [(record_class, day) for (record_class, day), what, _ in mirror.book.ended if what == RECORD]
    told = []
    for record_class, day in ended[:MOST]:
        found = inventory.take(mirror.vault, day, record_class).data
        told += [f"{mirror.at()}: {record_class} {day} is gone, and {one.what} lies at {one.where}" for one in found]
    return told


def stated(mirror: Mirror, *, just_expired: bool) -> list[str]:
    """Whether the signed statement says TRUE after an expiry, and does not while something is due for over a day."""
    text = json.dumps(statement.state(mirror.vault).as_dict())
    body = statement.require_authentic(text, mirror.vault.settings.public_key).body
    untrue = [row["id"] for row in body["rows"] if row["verdict"] != statement.TRUE]
    if just_expired and not body["true"]:
        return [f"{mirror.at()}: an expiry ran, and the statement is not true of {untrue}"]
    # Of a day whose every record went with a batch there is nothing that could be late.
    late = [
        (place, what)
        for place, what in sorted(mirror.book.plan(mirror.now))
        if mirror.book.days[place].rows and mirror.book.due(place, what) + DAY < mirror.now
    ]
    return [f"{mirror.at()}: the statement is TRUE although {late} are due"] if late and body["true"] else []


def attested(mirror: Mirror) -> tuple[int, list[str]]:
    """Whether every certificate, exported, is proved to an outsider who has the public key and a checkpoint; and how
    many there are.
    """
    note, key = checkpoints.make(mirror.vault)["note"], mirror.vault.settings.public_key
    told, found = [], certificates.listing(mirror.vault)
    for one in found:
        try:
            verdict = attestation.check(certificates.export(mirror.vault, one["id"], note), key, note)
        except FaultError as problem:
            told.append(f"{mirror.at()}: {problem}")
            continue
        told += [f"{mirror.at()}: of certificate {one['id']} is open {what}" for what in verdict.open]
    return len(found), told
