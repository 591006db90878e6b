"""Naming: an id may be written by its beginning, as long as no other begins so.

The candidates are told to nobody who may not list them: then what was written goes on as it is, and the act says that
there is none.
"""

from __future__ import annotations

from typing import Final

from trafficvault import proposals
from trafficvault.catalogue import Row
from trafficvault.errors import UsageError
from trafficvault.people import Person
from trafficvault.vault import Vault

LEAST: Final = 4
"""Signs that the beginning of an id has at least."""
_TABLES: Final = {
    "warrant": "warrants",
    "hold": "holds",
    "proposal": "proposals",
    "batch": "batches",
    "request": "rights",
}
_ORDERING = frozenset({"officer", "approver", "auditor"})
READERS: Final = {"warrant": _ORDERING, "hold": _ORDERING, "request": _ORDERING | {"operator"}}


def full_id(vault: Vault, what: str, written: str, person: Person | None = None) -> str:
    """The id of the one warrant, hold, proposal, batch or request that `written` begins; `written` where there is none.

    Raises `UsageError` with the candidates when it begins several.
    """
    with vault.catalogue.reading() as tx:
        if len(written) < LEAST or tx.get(_TABLES[what], id=written) is not None:
            return written
        rows = tx.select(_TABLES[what])
    found = sorted(row["id"] for row in rows if str(row["id"]).startswith(written) and _may_list(what, row, person))
    if len(found) > 1:
        raise UsageError(f"looking for {what} {written}: {len(found)} begin so ({', '.join(found)}); write more of it")
    return str(found[0]) if found else written


def _may_list(what: str, row: Row, person: Person | None) -> bool:
    if what == "batch":
        return True
    if person is None:
        return False
    if what == "proposal":
        return proposals.may_read(person, row["kind"])
    return bool(person.roles & READERS[what])
