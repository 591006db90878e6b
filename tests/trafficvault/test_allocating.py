"""Allocating: Arrow's memory pool is another one for a while."""

from __future__ import annotations

import pyarrow as pa
import pytest

from trafficvault import allocating


def test_jemalloc_for_a_while() -> None:
    """Inside it is jemalloc; afterwards, even after a failure, what it was."""
    before = pa.default_memory_pool().backend_name
    with pytest.raises(RuntimeError), allocating.sparing():
        assert pa.default_memory_pool().backend_name == "jemalloc"
        raise RuntimeError
    assert pa.default_memory_pool().backend_name == before


def test_where_arrow_has_no_jemalloc_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some builds of Arrow lack it."""
    before = pa.default_memory_pool().backend_name
    monkeypatch.setattr(pa, "supported_memory_backends", lambda: ["system"])
    with allocating.sparing():
        assert pa.default_memory_pool().backend_name == before
