"""Strangers: what lies in a vault and its key directory and should not, by exact path.

The catalogue says which files there are, and its certificates which there were (`Known`); the layout names what else
belongs there, such as settings, locks and rings. Of the rest, a file that a certificate names was put back after its
expiry, and one of the catalogue's in another place is misplaced. Anything else is of a run that broke off, which
`trafficvault.sweep` removes, or somebody put it there. Names are read here, never a content.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from ingest.record import CLASSES, FRAME
from trafficvault import locks
from trafficvault.catalogue import Row
from trafficvault.durable import PART
from trafficvault.faults import Fault, place_of
from trafficvault.layout import LEFTOVERS, Layout

_GENERATION = re.compile(r"(epoch|ring)-[1-9][0-9]*")
_BESIDE = "is not in the catalogue: of a broken-off batch, or put there"


@dataclass(frozen=True, slots=True)
class Known:
    """What the catalogue knows to lie on disk: exact paths, and the days that may have an empty directory."""

    paths: frozenset[Path]
    names: frozenset[str]
    expired: frozenset[Path]
    directories: frozenset[Path]

    @classmethod
    def of(
        cls,
        layout: Layout,
        files: Iterable[Row],
        leftovers: Iterable[Row],
        parts: Iterable[Row],
        batches: Iterable[Row],
        certificates: Iterable[Row],
        superseded: Iterable[Path],
    ) -> Known:
        """The rows of the catalogue as paths, and the paths that it has `superseded`. An expired day has no directory
        any more.
        """
        paths = {leftover_path(layout, row) for row in leftovers}
        for row in files:
            file = str(row["record_class"]), date.fromisoformat(str(row["day"])), str(row["id"])
            paths |= {layout.record_file(*file), layout.seen_file(*file)}
            if row["blocks"] is not None:
                paths.add(layout.blocks_file(*file))
        roots = {kind: layout.root_of(kind) for kind in ("records", *LEFTOVERS)}
        directories = {root / name for root in roots.values() for name in CLASSES}
        directories |= {layout.records / str(row["record_class"]) / str(row["day"]) for row in parts}
        # A batch that was accepted leaves the directory that it was held in.
        for root in (layout.root_of(kind) for kind in LEFTOVERS):
            directories |= {root / str(row["die_class"]) / str(row["die_day"]) for row in batches}
        roots["rows"] = layout.records
        bodies = [body for row in certificates if (body := json.loads(str(row["body"])))["what"] in roots]
        # The end of a category alone leaves the files where they are; what leaves rows that stay does not.
        bodies = [body for body in bodies if FRAME in body["categories"] or body["what"] == "rows"]
        # A day that rows were removed from lives on.
        directories -= {roots[body["what"]] / body["class"] / body["day"] for body in bodies if body["what"] != "rows"}
        expired = frozenset(
            roots[body["what"]] / body["class"] / body["day"] / item["id"] for body in bodies for item in body["files"]
        )
        names = frozenset(path.name for path in paths)
        return cls(frozenset(paths).union(superseded), names, expired, frozenset(directories))


def find(layout: Layout, known: Known) -> Iterator[Fault]:
    """Everything below `layout` that neither it nor `known` has a place for."""
    for root in (layout.root_of(kind) for kind in ("records", *LEFTOVERS)):
        for path in _entries(root):
            fault = _stranger(path, known)
            if fault is not None:
                yield fault
    yield from _intruders(layout.vault, lambda name: name in _vault_names(layout))
    yield from _intruders(layout.keys, lambda name: _is_key_name(layout, name))
    yield from _staged(layout)


def leftover_path(layout: Layout, row: Row) -> Path:
    """Where the file of a row of the table `leftovers` lies."""
    day = date.fromisoformat(str(row["day"]))
    return layout.leftover_file(str(row["kind"]), str(row["record_class"]), day, str(row["batch"]))


def _staged(layout: Layout) -> Iterator[Fault]:
    """What a killed compaction had prepared; while one is at work, its files are its own business."""
    with locks.compacting(layout) as free:
        if free and layout.staging.vault.is_dir():
            for path in _entries(layout.staging.vault):
                sentence = f"{place_of(path)} is of a broken-off compaction; the next writer removes it"
                yield Fault("extra", path.name, sentence)


def _entries(root: Path) -> Iterator[Path]:
    """All files below `root`, and the directories that hold nothing, in order; links are not followed."""
    for here, directories, files in os.walk(root):
        directories.sort()
        directory = Path(here)
        links = [name for name in directories if (directory / name).is_symlink()]
        if not directories and not files and directory != root:
            yield directory
        yield from (directory / name for name in sorted([*files, *links]))


def _stranger(path: Path, known: Known) -> Fault | None:
    if path in known.paths or (path in known.directories and path.is_dir() and not path.is_symlink()):
        return None
    if path.with_name(path.name.partition(".")[0]) in known.expired:
        return Fault("restored after expiry", path.name, f"{place_of(path)} was expired and has been put back")
    if path.name in known.names:
        return Fault("misplaced", path.name, f"{place_of(path)} does not lie where the catalogue has it")
    if PART in path.name:
        return Fault("extra", path.name, f"{place_of(path)} is of a broken-off write; the next writer removes it")
    if path.is_dir():
        return Fault("extra", path.name, f"{place_of(path)} is an empty directory, and {_BESIDE}")
    return Fault("extra", path.name, f"{place_of(path)} {_BESIDE}")


def _intruders(directory: Path, belongs: Callable[[str], bool]) -> Iterator[Fault]:
    for path in sorted(directory.iterdir()):
        if not belongs(path.name):
            yield Fault("extra", path.name, f"{directory.name}/{path.name} is no file of a vault: it was put there")


def _vault_names(layout: Layout) -> frozenset[str]:
    paths = (
        *(layout.settings, layout.policy, layout.sources, layout.feeds, layout.catalogue, layout.audit),
        *(layout.root_of(kind) for kind in ("records", *LEFTOVERS)),
        *(layout.holds, layout.lock, layout.lease, layout.reserve),
        *(layout.staging.vault, layout.compaction_lock, layout.schedule_lock, layout.tree, layout.pending),
    )
    # Of SQLite: its write-ahead log, and the memory that processes share over it.
    beside = {f"{layout.catalogue.name}{suffix}" for suffix in ("-wal", "-shm")}
    # A key directory in the vault is a fault of its own, which `doctor` names.
    within = {layout.keys.name} if layout.keys.absolute().parent == layout.vault.absolute() else set()
    return frozenset({path.name for path in paths} | beside | within)


def _is_key_name(layout: Layout, name: str) -> bool:
    """Whether `name` has a place in the key directory; generations that should be gone are named with the keys."""
    own = {path.name for path in (layout.root_key, layout.sealed_root, layout.token, layout.incoming)}
    return name in own | {"head", "lock"} or _GENERATION.fullmatch(name) is not None
