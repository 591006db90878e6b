"""Kinds of files: each that a vault can have is named, and each sealed one is tried on an old copy."""

from __future__ import annotations

import inspect
from datetime import date
from pathlib import Path, PurePath
from typing import Any

import pytest

from ingest.record import CLASSES
from tests.support import NOW, Order, approved, ingest, opened
from tests.trafficvault.kept_files import calls
from trafficvault import attempts, carving, compact, kinds, layout, old_catalogue, row_keys
from trafficvault.against import UNTRIED
from trafficvault.kinds import kind_of
from trafficvault.layout import Layout
from trafficvault.tables import TABLES
from trafficvault.vault import Vault

DAY = date(2026, 11, 10)
ARGUMENTS: dict[str, Any] = {
    "kind": "raw",
    "record_class": "voip",
    "day": DAY,
    "batch": "00ff",
    "file_id": "00ff",
    "hold_id": "0a",
    "carve_id": "0b",
    "number": 7,
    "level": 8,
    "generation": 1,
}
"""A value for each thing that a path of `Layout` is made with."""
DIRECTORIES = frozenset(
    {"feeds", "audit", "records", "staging", "spill", "holds", "rejections", "held", "raw", "root_of", "partition"}
    | {"tree", "vault", "keys"}
)
"""What of `Layout` is a directory: the files in it have members of their own."""


def paths_of(vault: Layout) -> dict[str, Path]:
    """Every path that `Layout` can tell of the vault directory, by the member that tells it."""
    found: dict[str, Path] = {}
    for name, member in vars(Layout).items():
        if name.startswith("_") or name in DIRECTORIES:
            continue
        if isinstance(member, property):
            path = getattr(vault, name)
        else:
            wanted = list(inspect.signature(member).parameters)[1:]
            path = getattr(vault, name)(*(ARGUMENTS[one] for one in wanted))
        if vault.vault in path.parents:
            found[name] = path
    return found


def test_every_path_of_the_layout_is_of_a_kind() -> None:
    """A new path that nobody gave a kind fails here: it would be missing in the inventory and on an old copy."""
    told = {name: kind_of(path) for name, path in paths_of(Layout(Path("/v"), Path("/k"))).items()}
    assert [name for name, kind in told.items() if kind is None] == []
    assert {"record_file", "carve_file", "segment", "leftover_file", "catalogue", "tree_level", "pending"} <= set(told)
    for name in layout.LEFTOVERS:
        kind = kind_of(Layout(Path("/v"), Path("/k")).leftover_file(name, "voip", DAY, "00ff"))
        assert kind is not None
        assert (kinds.LEFTOVERS[kind.kind], kind.record_class, kind.require_day(), kind.name) == (
            *(name, "voip", DAY),
            "00ff",
        )


def test_the_kinds_are_those_that_a_copy_is_tried_by() -> None:
    """Each sealed kind has its way of being tried, or a reason why it is not; none of both, and no other."""
    assert set(attempts.TRIED) | set(UNTRIED) >= set(kinds.SEALED)
    assert set(attempts.TRIED) & set(UNTRIED) == set()
    assert set(attempts.TRIED) <= set(kinds.SEALED)
    assert set(kinds.LEFTOVERS.values()) == set(layout.LEFTOVERS)


def test_every_sealed_value_of_the_catalogue_is_tried() -> None:
    """A new table with something sealed in it fails here until a copy's is tried."""
    sealed = {name for name, table in TABLES.items() if {"sealed", "sealed_key", "line"} & {*table.names}}
    # A certificate's line is an entry whose body opens with no key: its segment was dropped.
    # The private keys of people are sealed under their passwords, and no key of the ring opens them.
    assert sealed - {"certificates", "people"} == {*row_keys.TABLES, old_catalogue.NAMES, old_catalogue.ENTRIES}
    assert "people" in UNTRIED
    assert set(attempts.ROWS) == {*row_keys.TABLES}


def test_every_file_of_a_full_vault_is_of_a_kind(stored: Vault) -> None:
    """Records, blocks, leftovers, a kept file, a carve, the log: nothing lies there that has no kind."""
    vault = opened(stored, NOW)
    ingest(vault, "kamailio_flatstore", calls(), "acc.log")
    approved(vault, Order(reference="PV-2026-000300", hold_for="P90D", legal_basis="126ni Sv"))
    carving.carve(vault, [("mobile_usage", DAY, "expiry")])
    compact.compact(vault)
    files = [path.relative_to(vault.layout.vault) for path in vault.layout.vault.rglob("*") if path.is_file()]
    told = {str(path): kind_of(path) for path in files}
    assert [path for path, kind in told.items() if kind is None] == []
    assert {kind.kind for kind in told.values() if kind} >= set(kinds.SEALED) - {kinds.SPILLED}


@pytest.mark.parametrize(
    "path",
    [
        "records/telex/2026-11-10/00ff.parquet",
        "records/voip/2026-13-10/00ff.parquet",
        "raw/2026-11-10/00ff.sealed",
        "audit/1.log",
        "letters/31612345678.txt",
        ".part-01",
    ],
)
def test_what_no_vault_has_is_of_no_kind(path: str) -> None:
    """Another class, no date, a place too few, another name."""
    assert kind_of(PurePath(path)) is None


def test_a_file_is_known_wherever_it_was_copied_to() -> None:
    """In a backup's pool, below `compacting`, half written: the end of its path tells; settings are not sealed."""
    for where in ("records", "/mnt/tape/pool/records", "compacting/records", "x"):
        for record_class in CLASSES:
            kind = kind_of(PurePath(f"{where}/{record_class}/2026-11-10/00ff.seen"))
            assert kind is not None
            assert (kind.kind, kind.record_class, kind.is_sealed, kind.is_half) == (
                kinds.SEEN,
                record_class,
                True,
                False,
            )
    half = kind_of(PurePath("records/voip/2026-11-10/00ff.parquet.part-0a0b"))
    assert half is not None
    assert (half.kind, half.name, half.is_half) == (kinds.RECORDS, "00ff", True)
    settings = kind_of(PurePath("vault.toml"))
    assert settings is not None
    assert not settings.is_sealed
    with pytest.raises(ValueError, match="names no day"):
        settings.require_day()
