"""The ring's form on disk, and the rule for what a crash in a renewal left."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trafficvault import sealing, signing
from trafficvault.errors import FaultError
from trafficvault.layout import Layout
from trafficvault.ring import (
    Recovery,
    Ring,
    open_ring,
    plan_recovery,
    require_key_id,
    ring_generations,
    seal_ring,
)

EPOCH = bytes(range(32))
IDS = st.from_regex(r"\A[a-z_]{1,8}(/[a-z0-9_-]{1,8}){0,2}\Z")
GENERATIONS = st.frozensets(st.integers(1, 6))


def seal(generation: int, content: bytes, place: str) -> bytes:
    """What a key provider does."""
    return sealing.seal(EPOCH, content, place)


def unseal(generation: int, blob: bytes, place: str) -> bytes:
    """The inverse."""
    return sealing.unseal(EPOCH, blob, place)


@given(st.dictionaries(IDS, st.binary(min_size=32, max_size=32)), st.integers(1, 10**6))
def test_a_ring_opens_as_it_was_sealed(keys: dict[str, bytes], generation: int) -> None:
    """`open_ring` is the inverse of `seal_ring`."""
    ring = Ring(generation, keys)

    assert open_ring(seal_ring(ring, seal, "v"), unseal, "v", generation) == ring


@pytest.mark.parametrize(
    ("epoch", "vault", "generation"),
    [(bytes(32), "v", 3), (EPOCH, "w", 3), (EPOCH, "v", 4)],
    ids=["another epoch key", "another vault", "another generation"],
)
def test_a_ring_of_another_place_does_not_open(epoch: bytes, vault: str, generation: int) -> None:
    """A ring that was moved stays closed."""
    blob = seal_ring(Ring(3, {"audit": EPOCH}), seal, "v")

    with pytest.raises(FaultError, match="opening ring"):
        open_ring(blob, lambda _, blob, place: sealing.unseal(epoch, blob, place), vault, generation)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "rung"},
        {"v": 2},
        {"vault": "w"},
        {"generation": 4},
        {"keys": {"audit": "00"}},
        {"keys": {"Audit key": "00" * 32}},
    ],
    ids=str,
)
def test_a_ring_whose_content_is_of_another_form_is_refused(change: dict[str, object]) -> None:
    """Unknown versions and keys of a wrong length are refused even when the seal is right."""
    value = {"kind": "ring", "v": 1, "vault": "v", "generation": 3, "keys": {}} | change
    blob = sealing.seal(EPOCH, signing.canonical(value), "ring v 3")

    with pytest.raises(FaultError, match="opening ring v 3"):
        open_ring(blob, unseal, "v", 3)


def test_renewing_leaves_out_the_dead_and_keeps_the_others() -> None:
    """The next generation holds each survivor with the key it had."""
    ring = Ring(1, {"a": b"1" * 32, "b": b"2" * 32})

    assert ring.renewed({"b", "never-there"}) == Ring(2, {"a": b"1" * 32})
    assert ring.renewed({"b"}).is_within(ring)
    assert not ring.is_within(ring.renewed({"b"}))


def test_adding_a_key_never_replaces_one() -> None:
    """Files that were sealed with the first key would be lost."""
    ring = Ring(1, {"a": b"1" * 32}).with_keys({"a": b"9" * 32, "b": b"2" * 32})

    assert ring == Ring(1, {"a": b"1" * 32, "b": b"2" * 32})
    assert not Ring(1, {"a": b"9" * 32}).is_within(ring)


def test_a_ring_does_not_show_its_keys() -> None:
    """What a log would print of it holds nothing secret, and it can't be changed in place."""
    ring = Ring(1, {"audit": b"K" * 32})

    assert "KKKK" not in repr(ring)
    with pytest.raises(TypeError):
        ring.keys["audit"] = b""  # type: ignore[index]  # that is the claim


def test_rings_are_found_by_their_exact_names(tmp_path: Path) -> None:
    """Temporary names and epoch keys are no rings."""
    for name in ("ring-2", "ring-11", "ring-3.part-00", "ring-", "epoch-4"):
        (tmp_path / name).touch()

    assert ring_generations(Layout(tmp_path, tmp_path)) == {2, 11}


@pytest.mark.parametrize(
    ("catalogue", "epochs", "rings", "expected"),
    [
        (1, {1}, {1}, Recovery((), None)),
        (2, {1, 2}, {1, 2}, Recovery((1,), None)),
        (2, {2}, {1, 2}, Recovery((1,), None)),
        (1, {1, 2}, {1}, Recovery((), 2)),
        (1, {1, 2}, {1, 2}, Recovery((), 2)),
        (1, {1}, {1, 2}, Recovery((), 2)),
        (4, {2, 4, 5}, {3, 4}, Recovery((2, 3), 5)),
    ],
    ids=[
        "whole",
        "committed, nothing destroyed",
        "committed, epoch key destroyed",
        "epoch key prepared",
        "ring prepared",
        "prepared ring without its epoch key",
        "several leftovers",
    ],
)
def test_what_a_crash_left_is_planned(catalogue: int, epochs: set[int], rings: set[int], expected: Recovery) -> None:
    """Below the catalogue's generation is destroyed, one above is discarded, the catalogue's rules."""
    assert plan_recovery(catalogue, frozenset(epochs), frozenset(rings)) == expected


@pytest.mark.parametrize(
    ("catalogue", "epochs", "rings", "sentence"),
    [
        (1, {3}, {3}, "the catalogue is older than the keys"),
        (1, {1, 3}, {1, 3}, "the catalogue is older than the keys"),
        (1, {2}, {2}, "the catalogue is older than the keys"),
        (1, {2}, {1, 2}, "the catalogue is older than the keys"),
        (3, {2}, {2}, "old key directory restored"),
        (2, {2}, {1}, "ring is missing"),
        (2, {1}, {2}, "epoch key is missing"),
        (1, set(), set(), "epoch key is missing"),
    ],
)
def test_keys_and_catalogue_of_different_moments_are_refused(
    catalogue: int, epochs: set[int], rings: set[int], sentence: str
) -> None:
    """A restored catalogue or key directory stops with a sentence, and nothing is destroyed."""
    with pytest.raises(FaultError, match=sentence) as raised:
        plan_recovery(catalogue, frozenset(epochs), frozenset(rings))
    assert "nothing was destroyed" in str(raised.value)


@given(st.integers(1, 6), GENERATIONS, GENERATIONS)
def test_a_plan_never_touches_the_generation_that_rules(
    catalogue: int, epochs: frozenset[int], rings: frozenset[int]
) -> None:
    """Whatever lies there, only generations below are destroyed and only the next one is discarded."""
    try:
        plan = plan_recovery(catalogue, epochs, rings)
    except FaultError:
        return
    assert catalogue in epochs & rings
    assert all(generation < catalogue for generation in plan.destroy)
    assert plan.discard in (None, catalogue + 1)
    assert {*plan.destroy, catalogue, plan.discard or catalogue} == epochs | rings


@pytest.mark.parametrize("name", ["a:b", "a;b", "a,b", "a b", "", "A", "a//b", "/a", "a/", "a\n"])
def test_a_key_id_of_another_form_is_refused(name: str) -> None:
    """Characters that Parquet's key settings or a path would trip over never come into an id."""
    with pytest.raises(ValueError, match="key id"):
        require_key_id(name)


def test_the_ids_in_use_have_the_form() -> None:
    """Day keys, keys of rejections and keys without a day."""
    for name in ("audit", "mobile_usage/2026-03-01/how_much", "rejections/telephony/2026-03-01"):
        assert require_key_id(name) == name
