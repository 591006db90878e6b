"""What the tests of customers' rights share: a vault with a subject's records among others', and requests."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.support import NOW, OTHER, SUBSCRIBER, THIRD, ingest, new_vault, signed_in
from trafficvault import answering, rights
from trafficvault.answering import Answer
from trafficvault.rights_rules import Ask
from trafficvault.vault import Vault

SINCE = datetime(2026, 6, 1, tzinfo=UTC)
ME, YOU, HELPLINE = f"+{SUBSCRIBER}", f"+{OTHER}", f"+{THIRD}"
MY_CALL, CALL_TO_ME, WITHHELD_CALL, CALL_OF_OTHERS, MY_LEASE = range(5)


def call(at: str, a: str, b: str, served: str = "a", **more: Any) -> dict[str, Any]:
    """One record of a call, in the native form."""
    fixed = {"class": "mobile_usage", "start": f"2026-11-{at}Z", "a_number": a, "b_number": b, "served": served}
    return {**fixed, "event": "call", "duration_ms": 60_000, **more}


ROWS = [
    call("10T12:00:00", ME, YOU, imsi="204990000000001", start_cell="204-99-00a1-00b1", dialled=OTHER),
    call("10T13:00:00", YOU, ME, "b", peer_imsi="204990000000002", cli_withheld=False),
    call("11T13:00:00", HELPLINE, ME, "b", cli_withheld=True),
    call("11T14:00:00", YOU, HELPLINE, imsi="204990000000002"),
    {"class": "internet", "start": "2026-11-12T08:00:00Z", "end": "2026-11-12T09:00:00Z", "line": "L-1",
     "public_ip": "192.0.2.1"},
]  # fmt: skip
"""A call that the subject made, two that came in, one of others, and an address that their line had."""


def delivered(vault: Vault, rows: Iterable[dict[str, Any]], name: str = "file") -> str:
    """Stores `rows` as one native file; returns its batch."""
    receipt = ingest(vault, "native_ndjson", "".join(json.dumps(row) + "\n" for row in rows), name)
    assert receipt.rejected == 0, receipt
    return receipt.batch_id


def housed(directory: Path, policy: str = "telecom") -> Vault:
    """A vault that holds `ROWS`."""
    vault = new_vault(directory, policy)
    delivered(vault, ROWS)
    return vault


def ask(right: str = "access", **changed: Any) -> Ask:
    """A request of the subject, identified in person."""
    given: dict[str, Any] = {
        "identifiers": [("msisdn", ME), ("line", "L-1")],
        "since": SINCE,
        "until": NOW,
        "received": NOW,
        "method": "in-person",
        "checked_at": NOW,
        "statement": "That was not me." if right == "rectify" else None,
    }
    return Ask(right, **(given | changed))


def granted(vault: Vault, one: Ask) -> str:
    """A request that Otto registered and Piet approved, unless it was before."""
    request = rights.add(vault, signed_in(vault, "otto"), one)
    if rights.load(vault, request).state == "registered":
        rights.approve(vault, signed_in(vault, "piet"), request)
    return request


def answered(vault: Vault, one: Ask, out: Path | None = None) -> Answer:
    """What Olga answers to it."""
    return answering.answer(vault, signed_in(vault, "olga"), granted(vault, one), out)


def records(package: Path) -> list[dict[str, Any]]:
    """The records of a package, from its JSON."""
    found: list[dict[str, Any]] = json.loads((package / "records.json").read_bytes())["records"]
    return found


def manifest(package: Path) -> dict[str, Any]:
    """The manifest of a package."""
    found: dict[str, Any] = json.loads((package / "manifest.json").read_bytes())
    return found
