"""A package that was changed, that can not be written, or that broke off: named, refused or swept."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.trafficvault.packages import PUBLIC, Sealed, sign, table, write
from trafficvault import delivery, durable, signing, tabular
from trafficvault.durable import PART, Disk
from trafficvault.errors import FaultError, UsageError


def change(path: Path) -> None:
    """Flips one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", tabular.NAMES)
def test_a_changed_file(name: str, tmp_path: Path) -> None:
    """A flipped bit, a missing, a linked, a truncated and an extra file are found and named."""
    out = tmp_path / "out"
    write(out, [table("1")])
    content = (out / name).read_bytes()

    change(out / name)
    with pytest.raises(FaultError, match=f"{name} was changed"):
        delivery.verify_package(out, PUBLIC)
    (out / name).write_bytes(content[:-1])
    with pytest.raises(FaultError, match=f"{name} was changed"):
        delivery.verify_package(out, PUBLIC)
    (out / name).rename(tmp_path / "moved")
    with pytest.raises(FaultError, match=f"{name} is missing"):
        delivery.verify_package(out, PUBLIC)
    (out / name).symlink_to(tmp_path / "moved")
    with pytest.raises(FaultError, match=f"{name} is missing"):
        delivery.verify_package(out, PUBLIC)
    (out / name).unlink()
    (out / name).write_bytes(content)
    (out / "extra.csv").write_text("x")
    with pytest.raises(FaultError, match="1 files in it are not in its manifest"):
        delivery.verify_package(out, PUBLIC)


def test_a_changed_manifest(tmp_path: Path) -> None:
    """No part of the manifest can be changed, doubled or left out without the signature telling."""
    out = tmp_path / "out"
    write(out, [table("1")], {"kind": "package", "v": 1, "complete": False})
    path = out / "manifest.json"
    manifest = json.loads(path.read_text())

    for other in (
        manifest | {"complete": True},
        manifest | {"rows": 2},
        manifest | {"signature": "00" * 64},
        {name: value for name, value in manifest.items() if name != "signature"},
        manifest | {"public_key": signing.public_key_of(bytes(32)), "signature": signing.sign(bytes(32), b"")},
    ):
        path.write_text(json.dumps(other))
        with pytest.raises(FaultError, match="signature"):
            delivery.verify_package(out, PUBLIC)
    path.write_text(json.dumps(manifest)[:-1] + ', "complete": true}')
    with pytest.raises(FaultError, match="not JSON"):
        delivery.verify_package(out, PUBLIC)
    for content in ("[]", "nothing"):
        path.write_text(content)
        with pytest.raises(FaultError):
            delivery.verify_package(out, PUBLIC)
    forms: list[dict[str, Any]] = [{"files": [{}]}, {"files": 1}, {}, manifest | {"rows": 0.5}]
    for broken in forms:
        path.write_text(json.dumps(broken))
        with pytest.raises(FaultError, match="form of a manifest"):
            delivery.verify_package(out, PUBLIC)
    path.unlink()
    with pytest.raises(FaultError, match="missing"):
        delivery.verify_package(out, PUBLIC)


def test_a_name_that_leads_elsewhere(tmp_path: Path) -> None:
    """A signed manifest that names a file outside its directory reads nothing there."""
    out = tmp_path / "out"
    out.mkdir()
    manifest: dict[str, Any] = {"files": [{"name": "../secret", "bytes": 1, "sha256": "00"}]}
    (tmp_path / "secret").write_text("x")
    (out / "manifest.json").write_text(json.dumps(manifest | {"signature": sign(signing.canonical(manifest))}))

    with pytest.raises(FaultError, match="is missing"):
        delivery.verify_package(out, PUBLIC)


def test_an_existing_directory(tmp_path: Path) -> None:
    """A package never overwrites, neither a directory nor a link to nowhere."""
    (tmp_path / "out").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("out", "link"):
        with pytest.raises(UsageError, match="exists; name a new directory"):
            write(tmp_path / name, [table("1")])
    assert list((tmp_path / "out").iterdir()) == []


def test_a_log_that_cannot_be_written(tmp_path: Path) -> None:
    """When the result can't enter the log, nothing leaves and nothing stays."""

    def refuse(digest: str, rows: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        delivery.write_package(Disk(), tmp_path / "out", [table("1")], {}, sign, PUBLIC, refuse)
    assert list(tmp_path.iterdir()) == []


class StoppingDisk(Disk):
    """A disk that ends the run before its n-th step; a crash leaves what is there."""

    def __init__(self, at: int) -> None:
        self.left = at
        self.steps: list[str] = []

    def step(self, name: str) -> None:
        """Counts down."""
        self.steps.append(name)
        if self.left == 0:
            raise OSError(5, "Input/output error")
        self.left -= 1


def test_a_fault_at_every_step(tmp_path: Path) -> None:
    """A fault at any step leaves a whole package or nothing; never one that the log was not told of."""
    counting = StoppingDisk(1000)
    write(tmp_path / "all", [table("1")], disk=counting)
    assert {"before sealed package", "before rename package", "after rename package"} <= set(counting.steps)

    for at in range(len(counting.steps)):
        parent = tmp_path / str(at)
        parent.mkdir()
        sealed = Sealed(parent / "out")
        with pytest.raises(OSError, match="Input/output"):
            delivery.write_package(StoppingDisk(at), parent / "out", [table("1")], {}, sign, PUBLIC, sealed)
        assert not list(parent.glob(f"{delivery.HIDDEN}*"))
        if (parent / "out").exists():
            assert sealed.told
            delivery.verify_package(parent / "out", PUBLIC)


def test_leftovers_are_swept(tmp_path: Path) -> None:
    """What a killed process left is removed; what a living one writes, and what is not ours, stays."""
    dead, living = (tmp_path / f"{delivery.HIDDEN}out{PART}{name}" for name in ("dead", "live"))
    for path in (dead, living):
        path.mkdir()
        (path / "records.csv").write_text("+31612345678")
    (tmp_path / f"{delivery.HIDDEN}mine").mkdir()
    (tmp_path / f"{delivery.HIDDEN}file{PART}1").write_text("x")
    (tmp_path / f"{delivery.HIDDEN}link{PART}1").symlink_to(tmp_path)
    handle = os.open(living, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    write(tmp_path / "out", [table("1")])

    assert not dead.exists() and living.exists()
    os.close(handle)
    assert delivery.sweep(Disk(), tmp_path) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"{delivery.HIDDEN}file{PART}1", f"{delivery.HIDDEN}link{PART}1", f"{delivery.HIDDEN}mine", "out",
    ]  # fmt: skip


@pytest.mark.parametrize("early", [False, True])
def test_a_file_that_can_not_be_made_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, early: bool) -> None:
    """Of the files that are fsynced together, those of many rows while they are read, one fails: there is no package,
    and no result is entered.
    """
    real = durable.sync_file

    def fails(path: Path) -> None:
        if path.name == "records.json":
            raise OSError(5, "Input/output error")
        real(path)

    monkeypatch.setattr(delivery, "_FEW_ROWS", 0 if early else 1_024)
    monkeypatch.setattr(delivery if early else durable, "sync_file", fails)
    sealed = Sealed(tmp_path / "package")
    with pytest.raises(OSError, match="Input/output error"):
        delivery.write_package(Disk(), tmp_path / "package", [table("1")], {}, sign, PUBLIC, sealed)
    assert list(tmp_path.iterdir()) == [] and not sealed.told
