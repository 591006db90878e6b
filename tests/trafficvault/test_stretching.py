"""Stretching: a remembered secret gives a key by its salt and its cost, and gives no other."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from trafficvault.stretching import SALT_BYTES, Cost, stretched

CHEAP = Cost(memory_kib=8, iterations=1, lanes=1)
SALTS = st.binary(min_size=SALT_BYTES, max_size=SALT_BYTES)


@given(st.binary(max_size=40), SALTS)
@settings(max_examples=30)
def test_one_secret_gives_one_key(secret: bytes, salt: bytes) -> None:
    """The same secret, salt and cost give the same 256 bits; another of any of them gives others."""
    key = stretched(secret, salt, CHEAP)
    others = {
        stretched(secret + b"x", salt, CHEAP),
        stretched(secret, salt[:-1] + bytes([salt[-1] ^ 1]), CHEAP),
        stretched(secret, salt, Cost(16, 1, 1)),
        stretched(secret, salt, Cost(8, 2, 1)),
    }

    assert len(key) == 32
    assert stretched(secret, salt, Cost.of(CHEAP.terms)) == key
    assert len(others) == 4
    assert key not in others


@given(st.integers(8, 2**22), st.integers(1, 9), st.integers(1, 9))
def test_a_cost_is_kept_by_its_names(memory_kib: int, iterations: int, lanes: int) -> None:
    """What stands on disk gives the cost back, whatever stands beside it."""
    cost = Cost(memory_kib, iterations, lanes)
    assert Cost.of({"kind": "argon2id", **cost.terms}) == cost
