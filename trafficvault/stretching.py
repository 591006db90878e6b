"""Stretching: what Argon2id (RFC 9106) makes of a secret that a person remembers, so that each guess at it is dear.

The salt and the cost lie in clear beside what is sealed under the outcome: who has the secret needs them to open it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from trafficvault import sealing

SALT_BYTES = 16


@dataclass(frozen=True, slots=True)
class Cost:
    """What one guess at a secret costs: memory in KiB, passes over it, lanes that run side by side."""

    memory_kib: int
    iterations: int
    lanes: int

    @classmethod
    def of(cls, terms: Mapping[str, Any]) -> Cost:
        """The inverse of `terms`."""
        return cls(terms["memory_kib"], terms["iterations"], terms["lanes"])

    @property
    def terms(self) -> dict[str, int]:
        """It by the names that it has on disk."""
        return {"memory_kib": self.memory_kib, "iterations": self.iterations, "lanes": self.lanes}


def stretched(secret: bytes, salt: bytes, cost: Cost) -> bytes:
    """The key that `secret` gives with that salt and cost."""
    function = Argon2id(
        salt=salt,
        length=sealing.KEY_BYTES,
        iterations=cost.iterations,
        lanes=cost.lanes,
        memory_cost=cost.memory_kib,
    )
    return function.derive(secret)
