"""Strangers: whatever lies in a vault or its key directory and has no place there is named, whoever put it there."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from ingest.record import CATEGORIES
from tests.support import layout_at
from trafficvault import locks, strangers
from trafficvault.layout import Layout
from trafficvault.strangers import Known

DAY = "2026-11-10"
ID, BATCH, OLD = "a1" * 8, "b2" * 8, "c3" * 8
FILE: dict[str, Any] = {"record_class": "mobile_usage", "day": DAY, "id": ID, "blocks": "digest"}
HELD: dict[str, Any] = {"kind": "held", "record_class": "mobile_usage", "day": DAY, "batch": BATCH}
PARTS: list[dict[str, Any]] = [
    {"record_class": "mobile_usage", "day": DAY},
    {"record_class": "mobile_usage", "day": "2026-11-11"},
]
BATCHES: list[dict[str, Any]] = [{"die_class": "mobile_usage", "die_day": DAY}]


def certificate(what: str, record_class: str, day: str, categories: list[str]) -> dict[str, Any]:
    """The row of a certificate that names one file."""
    body = {"what": what, "class": record_class, "day": day, "categories": categories, "files": [{"id": OLD}]}
    return {"body": json.dumps(body)}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A vault's directories with what the layout names and one record file, without a vault around them."""
    found = layout_at(tmp_path)
    file = "mobile_usage", date.fromisoformat(DAY), ID
    named = (found.settings, found.policy, found.catalogue, found.lock, found.root_key, found.head)
    paths = (found.record_file(*file), found.seen_file(*file), found.blocks_file(*file))
    held = found.leftover_file("held", "mobile_usage", date.fromisoformat(DAY), BATCH)
    for path in (*named, *paths, held, found.keys / "ring-12", found.keys / "epoch-12"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return found


def known(layout: Layout, *certificates: dict[str, Any], superseded: tuple[Path, ...] = ()) -> Known:
    """What the catalogue of that vault knows."""
    return Known.of(layout, [FILE], [HELD], PARTS, BATCHES, certificates, superseded)


def named(layout: Layout, *certificates: dict[str, Any], superseded: tuple[Path, ...] = ()) -> set[tuple[str, str]]:
    """The kind and the thing of each fault."""
    found = strangers.find(layout, known(layout, *certificates, superseded=superseded))
    return {(fault.kind, fault.thing) for fault in found}


def put(path: Path) -> Path:
    """A file that somebody put there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def test_what_has_a_place_is_no_stranger(layout: Layout) -> None:
    """The files of the catalogue, and those that the layout names, are nobody's fault."""
    assert named(layout) == set()


@pytest.mark.parametrize(
    "stray",
    [
        f"records/mobile_usage/{DAY}/{ID}.parquet.bak",
        f"records/mobile_usage/{DAY}/{ID}.txt",
        f"records/mobile_usage/{DAY}/{ID}",
        f"records/mobile_usage/{DAY}/{ID}.parquet.part-0123abcd",
        f"records/mobile_usage/{DAY}/further/x",
        "records/x",
        "records/mobile_usage/x",
        "rejections/x",
        f"held/mobile_usage/{DAY}/x.sealed",
        "vault.toml.bak",
        "outbox",
        "notes/x",
        "../vault.keys/ring-0",
        "../vault.keys/ring-1.bak",
        "../vault.keys/epoch-01",
        "../vault.keys/copies/x",
    ],
)
def test_a_name_that_is_nobodys_is_extra(layout: Layout, stray: str) -> None:
    """Wherever a file lies and whatever its name begins with: it is one fault, or its directory is."""
    put(layout.vault / stray)
    assert [kind for kind, _ in named(layout)] == ["extra"]


@pytest.mark.parametrize(
    "stray",
    ["records/x", "records/mobile_usage/2026-01-01", f"records/mobile_usage/{DAY}/x", "held/voip/x", "rejections/y"],
)
def test_an_empty_directory_is_extra(layout: Layout, stray: str) -> None:
    """A directory that holds nothing and is of no day that the catalogue knows is named."""
    (layout.vault / stray).mkdir(parents=True)
    assert named(layout) == {("extra", Path(stray).name)}


@pytest.mark.parametrize("place", ["records/voip", "records/mobile_usage/2026-11-11", f"rejections/mobile_usage/{DAY}"])
def test_a_directory_of_the_catalogue_may_be_empty(layout: Layout, place: str) -> None:
    """Expiry leaves that of a class behind, a withdrawal that of a day, and an accepted batch where it was held."""
    (layout.vault / place).mkdir(parents=True)
    assert named(layout) == set()


def test_a_linked_directory_is_extra(layout: Layout, tmp_path: Path) -> None:
    """A link is named and not followed, whatever lies behind it."""
    (layout.records / "voip").symlink_to(tmp_path)
    assert named(layout) == {("extra", "voip")}


@pytest.mark.parametrize("suffix", ["parquet", "seen", "blocks"])
def test_a_copy_in_another_day_is_misplaced(layout: Layout, suffix: str) -> None:
    """A file of the catalogue under its own name in another's directory."""
    one = next(layout.records.rglob(f"*.{suffix}"))
    put(layout.records / "mobile_usage" / "2026-11-11" / one.name)
    assert named(layout) == {("misplaced", one.name)}


@pytest.mark.parametrize("what", ["records", "rows", "held"])
@pytest.mark.parametrize("name", [f"{OLD}.parquet", f"{OLD}.seen", f"{OLD}.parquet.part-0123abcd", OLD])
def test_what_a_certificate_names_was_put_back(layout: Layout, what: str, name: str) -> None:
    """Whatever follows the id; the same name in a directory that the certificate does not speak of is only extra."""
    gone = certificate(what, "mobile_usage", "2026-11-09", list(CATEGORIES))
    root = layout.vault / {"rows": "records"}.get(what, what)
    put(root / "mobile_usage" / "2026-11-09" / name)
    there = named(layout, gone)
    put(root / "mobile_usage" / "2026-11-08" / f"{OLD}.other")

    assert there == {("restored after expiry", name)}
    assert named(layout, gone) == there | {("extra", f"{OLD}.other")}


def test_the_end_of_a_category_leaves_its_files(layout: Layout) -> None:
    """A certificate of a location alone makes no file of its day a dead one, and leaves the day its directory."""
    ended = certificate("records", "mobile_usage", "2026-11-11", ["where"])
    (layout.records / "mobile_usage" / "2026-11-11").mkdir()

    assert named(layout, ended) == set()
    put(layout.records / "mobile_usage" / "2026-11-11" / f"{OLD}.parquet")
    assert named(layout, ended) == {("extra", f"{OLD}.parquet")}


def test_an_expired_day_has_no_directory(layout: Layout) -> None:
    """The row of its tombstone gives it none."""
    expired = certificate("records", "mobile_usage", "2026-11-11", list(CATEGORIES))
    (layout.records / "mobile_usage" / "2026-11-11").mkdir()

    assert named(layout) == set()
    assert named(layout, expired) == {("extra", "2026-11-11")}


def test_what_compaction_replaced_may_wait_for_its_readers(layout: Layout) -> None:
    """A superseded file has its place until the last reader went; a copy of it elsewhere has none."""
    old = put(layout.records / "mobile_usage" / DAY / f"{OLD}.parquet")
    assert named(layout, superseded=(old,)) == set()

    put(layout.records / "mobile_usage" / "2026-11-11" / old.name)
    assert named(layout, superseded=(old,)) == {("extra", old.name)}


def test_a_compaction_at_work_is_left_alone(layout: Layout) -> None:
    """What it has prepared is a fault only when it was killed: while its lock is held, its files are its own."""
    prepared = put(layout.staging.vault / "records" / "mobile_usage" / DAY / "new.parquet")
    with locks.compacting(layout) as free:
        assert free
        at_work = named(layout)

    assert at_work == set()
    assert named(layout) == {("extra", prepared.name)}


def test_a_key_directory_within_the_vault_is_no_extra_file(layout: Layout) -> None:
    """That it lies there is for `doctor` to say."""
    within = replace(layout, keys=layout.vault / "keys")
    layout.keys.rename(within.keys)
    assert named(within) == set()
