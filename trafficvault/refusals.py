"""Refusals of persons, in the audit log: who was refused what, and by which rule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from trafficvault.errors import RefusedError
from trafficvault.vault import Vault


@contextmanager
def logged(vault: Vault, act: str, person: str, subject: Mapping[str, object]) -> Iterator[None]:
    """Enters `act`-refused with the reason when the block raises `RefusedError`, durably, and raises it on."""
    try:
        yield
    except RefusedError as refused:
        with vault.catalogue.transaction() as tx:
            vault.audit.enter(tx, f"{act}-refused", person, {**subject, "reason": str(refused)})
        vault.audit.flush()
        raise
