"""Facts about the machine, as values: its clock, file permissions, free space, swap, core dumps and versions.

`collect` is the only thing here that asks. What the machine does not tell is None: a container hides much, and a system
other than Linux has no `adjtimex` and no `/proc`. Nothing is judged here; `doctor` does that.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sqlite3
import stat
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

from trafficvault.layout import Layout

LIBRARIES: Final = ("pyarrow", "polars", "duckdb", "cryptography", "sqlalchemy", "numpy")

_TIME_ERROR = 5
_STA_UNSYNC = 0x40


@dataclass(frozen=True, slots=True)
class ClockState:
    """Whether the kernel holds the clock for synchronised, and the error it allows for; None with `why` if unknown."""

    synchronised: bool | None
    error_seconds: float = 0.0
    why: str = ""


@dataclass(frozen=True, slots=True)
class Mode:
    """One file or directory: its name below the directory that was looked at, permission bits and owner."""

    name: str
    permissions: int
    owner: int
    is_directory: bool = False
    is_link: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """What the machine told. Paths are resolved; `core_limit` is in bytes, -1 without one."""

    clock: ClockState
    vault: Path
    keys: Path
    keys_exist: bool
    same_device: bool | None
    key_modes: tuple[Mode, ...]
    vault_modes: tuple[Mode, ...]
    user: int
    free_bytes: int | None
    swap_areas: tuple[str, ...] | None
    core_limit: int | None
    core_pattern: str | None
    python: tuple[int, int, int]
    versions: dict[str, str | None]


class _Timex(ctypes.Structure):
    """`struct timex` of adjtimex(2) up to `status`; the rest is room that the kernel fills."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 512),
    )


def collect(layout: Layout, proc: Path = Path("/proc")) -> Facts:
    """Asks the machine. Opens no file of the vault or of the key directory, and changes nothing."""
    vault, keys = layout.vault.resolve(), layout.keys.resolve()
    return Facts(
        clock=clock_state(),
        vault=vault,
        keys=keys,
        keys_exist=keys.is_dir(),
        same_device=_same_device(vault, keys),
        key_modes=_modes(keys, deep=True),
        vault_modes=_modes(vault, deep=False),
        user=os.geteuid(),
        free_bytes=_free_bytes(vault),
        swap_areas=_swap_areas(proc / "swaps"),
        core_limit=resource.getrlimit(resource.RLIMIT_CORE)[0],
        core_pattern=_text(proc / "sys" / "kernel" / "core_pattern"),
        python=(sys.version_info.major, sys.version_info.minor, sys.version_info.micro),
        versions=_versions(),
    )


def clock_state(library: str | None = None) -> ClockState:
    """What the kernel says of its clock: adjtimex(2) with no mode set, which reads and changes nothing.

    The C library is the process's own unless `library` names one. A container may forbid the call.
    """
    timex = _Timex()
    try:
        function = ctypes.CDLL(library, use_errno=True).adjtimex
    except (OSError, AttributeError):
        return ClockState(None, why="this system has no adjtimex")
    answer = function(ctypes.byref(timex))
    if answer < 0:
        return ClockState(None, why=f"adjtimex: {os.strerror(ctypes.get_errno())}")
    synchronised = answer != _TIME_ERROR and not timex.status & _STA_UNSYNC
    return ClockState(synchronised, timex.maxerror / 1_000_000)


def _same_device(vault: Path, keys: Path) -> bool | None:
    try:
        return vault.stat().st_dev == keys.stat().st_dev
    except OSError:
        return None


def _modes(top: Path, *, deep: bool) -> tuple[Mode, ...]:
    """`top` and its entries; what vanishes meanwhile, or may not be listed, is left out."""
    try:
        found = [top, *sorted(top.rglob("*") if deep else top.iterdir())]
    except OSError:
        return ()
    return tuple(mode for mode in (_mode(path, top) for path in found) if mode is not None)


def _mode(path: Path, top: Path) -> Mode | None:
    try:
        info = path.lstat()
    except OSError:
        return None
    kind = info.st_mode
    name = path.name if path == top else str(path.relative_to(top))
    return Mode(name, stat.S_IMODE(kind), info.st_uid, stat.S_ISDIR(kind), stat.S_ISLNK(kind))


def _free_bytes(vault: Path) -> int | None:
    try:
        info = os.statvfs(vault)
    except OSError:
        return None
    return info.f_bavail * info.f_frsize


def _swap_areas(path: Path) -> tuple[str, ...] | None:
    text = _text(path)
    return None if text is None else tuple(line.split()[0] for line in text.splitlines()[1:] if line.strip())


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").rstrip("\n")
    except OSError:
        return None


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {"sqlite": sqlite3.sqlite_version}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found
