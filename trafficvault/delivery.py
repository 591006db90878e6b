"""Delivery: an answer becomes a package, a directory of records and a signed manifest that appears whole or not at all.

    hidden directory → records.csv, .json, .parquet → manifest, signed → all of it fsynced → `on_sealed` → rename

`on_sealed` is where the result enters the audit log: if that can't be written, nothing gets its name. A process that
ends before the rename leaves a hidden directory; it is removed before the next package is written beside it, unless a
living process still writes to it. Records in it were in clear, and removing a file does not wipe a disk: hand packages
over, and keep their directory, on encrypted storage.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from json.encoder import encode_basestring
from pathlib import Path
from typing import Any

import pyarrow as pa

from trafficvault import signing, tabular
from trafficvault.durable import PART, Disk, sync_directory, sync_file, sync_together
from trafficvault.errors import FaultError, UsageError

MANIFEST = "manifest.json"
HIDDEN = ".package-"
"""How the name of a package starts that is not there yet."""

_FEW_ROWS = 1_024
"""The files of no more rows are read one by one: threads would cost more."""
_OURS = ("files", "rows", "public_key", "signature")


def require_place(directory: Path, apart: Iterable[Path], doing: str) -> None:
    """Raises `UsageError` unless `directory` is a new one, inside none of those `apart`."""
    if directory.exists() or directory.is_symlink():
        raise UsageError(f"{doing}: {directory} exists; name a new directory")
    place = directory.resolve()
    for inside in (other.resolve() for other in apart):
        if place.is_relative_to(inside):
            raise UsageError(f"{doing}: {directory} lies inside {inside.name}; a package is in clear, so name another")


def write_package(
    disk: Disk,
    directory: Path,
    tables: Iterable[pa.Table],
    manifest: Mapping[str, Any],
    sign: Callable[[bytes], str],
    public_key: str,
    on_sealed: Callable[[str, int], None],
) -> int:
    """Writes `tables` (one schema, in time order) and `manifest` as package `directory`; returns its number of rows.

    The manifest gets `rows`, `files` (name, bytes, rows, SHA-256 each), `public_key`, and `signature`: what `sign`
    gives for the canonical form of all the rest. `on_sealed` is called with the manifest's digest (that of the signed
    form) and the number of rows when everything is durable and before anything is visible; what it raises stops the
    package. Raises `UsageError` when `directory` exists. A manifest may still be filled while `tables` are drawn.
    """
    if directory.exists() or directory.is_symlink():
        raise UsageError(f"writing a package: {directory.name} exists; name a new directory")
    disk.make_directory(directory.parent)
    sweep(disk, directory.parent)
    with _hidden(disk, directory) as part:
        with tabular.RecordFiles(part) as files:
            for table in tables:
                files.add(table)
        rows = files.rows
        listed = _listed(part, rows)
        whole = _signed({**_free(manifest), "rows": rows, "files": listed, "public_key": public_key}, sign)
        (part / MANIFEST).write_text(_indented(whole) + "\n", "utf-8")
        sync_together(part)
        disk.step("before sealed package")
        on_sealed(signing.digest(whole), rows)
        # If the process ends here the log tells of a package that nobody has: that is the side to err on.
        disk.step("before rename package")
        part.rename(directory)
        sync_directory(directory.parent)
    disk.step("after rename package")
    return rows


def verify_package(directory: Path, public_key: str) -> dict[str, Any]:
    """The manifest of the package `directory`, when it is signed by `public_key` and every file is as it says.

    For who receives packages: nothing of the vault is needed, and no act of it calls this. It is part of the format.
    Raises `FaultError` naming what is missing, changed or there in excess.
    """
    manifest = _read_manifest(directory / MANIFEST)
    signature = manifest.get("signature")
    unsigned = {name: value for name, value in manifest.items() if name != "signature"}
    what = f"the manifest of package {directory.name}"
    try:
        message = signing.canonical(unsigned)
        files = {str(item["name"]): (int(item["bytes"]), str(item["sha256"])) for item in manifest["files"]}
    except (KeyError, TypeError, ValueError) as problem:
        raise FaultError(f"checking {what}: it is not of the form of a manifest") from problem
    signing.require_signature(public_key, str(signature), message, what)
    for name, (size, digest) in files.items():
        path = directory / name
        if Path(name).name != name or not path.is_file() or path.is_symlink():
            raise FaultError(f"checking package {directory.name}: {name} is missing")
        found = _described(path, 0)
        if (found["bytes"], found["sha256"]) != (size, digest):
            raise FaultError(
                f"checking package {directory.name}: {name} was changed: {found['bytes']} bytes with digest "
                f"{found['sha256'][:16]}…, and its manifest says {size} with {digest[:16]}…"
            )
    excess = sorted(path.name for path in directory.iterdir() if path.name not in {*files, MANIFEST})
    if excess:
        raise FaultError(f"checking package {directory.name}: {len(excess)} files in it are not in its manifest")
    return manifest


def sweep(disk: Disk, parent: Path) -> int:
    """Removes hidden directories in `parent` that a process left behind when it ended; returns how many there were."""
    removed = 0
    for path in sorted(parent.glob(f"{HIDDEN}*{PART}*")):
        if path.is_symlink() or not path.is_dir():
            continue
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            disk.step("before sweep package")
            shutil.rmtree(path)
            removed += 1
        except BlockingIOError:
            continue  # its process lives
        finally:
            os.close(handle)
    return removed


@contextmanager
def _hidden(disk: Disk, directory: Path) -> Iterator[Path]:
    """A hidden directory beside `directory`, locked while it is written; removed when the block fails."""
    part = directory.with_name(f"{HIDDEN}{directory.name}{PART}{secrets.token_hex(4)}")
    disk.step("before mkdir package")
    part.mkdir(mode=0o700)
    handle = os.open(part, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield part
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    finally:
        os.close(handle)


def _free(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the caller's part of the manifest. Raises `ValueError` when it holds a name that is set here."""
    taken = [name for name in _OURS if name in manifest]
    if taken:
        raise ValueError(f"a manifest's {taken[0]} is set by the package, not by its caller")
    return dict(manifest)


def _listed(directory: Path, rows: int) -> list[dict[str, Any]]:
    """What the manifest says of the three files; large ones are read beside one another, while they are on their way to
    the disk, which `sync_together` need not wait for then.
    """
    paths = [directory / name for name in tabular.NAMES]
    if rows <= _FEW_ROWS:
        return [_described(path, rows) for path in paths]
    with ThreadPoolExecutor(2 * len(paths), "digest") as workers:
        durable = [workers.submit(sync_file, path) for path in paths]
        listed = list(workers.map(lambda path: _described(path, rows), paths))
        for one in durable:
            one.result()
    return listed


def _described(path: Path, rows: int) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"name": path.name, "bytes": path.stat().st_size, "rows": rows, "sha256": digest}


def _signed(manifest: dict[str, Any], sign: Callable[[bytes], str]) -> dict[str, Any]:
    return {**manifest, "signature": sign(signing.canonical(manifest))}


def _indented(value: object, line: str = "\n") -> str:
    """What `json.dumps` writes with sorted keys, two blanks and text as it is; with them it takes ten times as long."""
    inner = f"{line}  "
    if isinstance(value, dict) and value:
        members = (f"{encode_basestring(name)}: {_indented(value[name], inner)}" for name in sorted(value))
        return f"{{{inner}{f',{inner}'.join(members)}{line}}}"
    if isinstance(value, (list, tuple)) and value:
        return f"[{inner}{f',{inner}'.join([_indented(item, inner) for item in value])}{line}]"
    return encode_basestring(value) if isinstance(value, str) else json.dumps(value)


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        found = signing.read(path.read_bytes())
    except (OSError, ValueError) as problem:
        raise FaultError(
            f"checking package {path.parent.name}: its manifest is missing, not JSON, or not of the form of a manifest"
        ) from problem
    if not isinstance(found, dict):
        raise FaultError(f"checking package {path.parent.name}: its manifest is not an object")
    return found
