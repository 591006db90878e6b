"""Files that are there after a power cut, or not at all.

Every step that changes the disk goes through a `Disk`, so that a test can stop the process before and after each of
them. `create` writes a temporary name, fsyncs, renames and fsyncs the directory (Linux: a rename is durable only with
the directory). Nothing is edited in place, but a log, which only grows.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What an `OSError` says when a disk, or an allowance on it, is full."""
PART = ".part-"
"""Infix of a temporary name; what carries it belongs to nobody and is swept."""


class Disk:
    """The real disk. `step` is called with a name before and after each durable step; it does nothing here."""

    def step(self, name: str) -> None:
        """A place where a test's disk may end the process or raise `OSError`."""

    def make_directory(self, path: Path, mode: int = 0o700) -> None:
        """Creates `path` and its missing parents durably; an existing one is left as it is."""
        if path.is_dir():
            return
        if not path.parent.is_dir():
            self.make_directory(path.parent, mode)
        self.step(f"before mkdir {path.name}")
        path.mkdir(mode=mode, exist_ok=True)
        sync_directory(path.parent)
        self.step(f"after mkdir {path.name}")

    def create(self, path: Path, content: bytes, mode: int = 0o600) -> None:
        """Puts `content` at `path` atomically and durably, in place of what was there."""
        self.create_by(path, lambda part: part.write_bytes(content), mode)

    def create_by(self, path: Path, write: Callable[[Path], object], mode: int = 0o600) -> None:
        """Lets `write` fill a temporary file, then puts it at `path` atomically and durably."""
        part = path.with_name(f"{path.name}{PART}{secrets.token_hex(4)}")
        self.step(f"before write {path.suffix or path.name}")
        try:
            os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
            write(part)
            sync_file(part)
            self.step(f"before rename {path.suffix or path.name}")
            part.rename(path)
            sync_directory(path.parent)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        self.step(f"after rename {path.suffix or path.name}")

    def begin(self, path: Path, mode: int = 0o600) -> None:
        """Creates the empty file `path`, which is to grow; it is durable only after `end`."""
        self.step(f"before write {path.suffix or path.name}")
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))

    def end(self, path: Path, *, named: bool = True) -> None:
        """Makes what was begun at `path` durable, with its name; that is left to what is created beside it next where
        it is not to be `named`.
        """
        self.step(f"before sync {path.suffix or path.name}")
        sync_file(path)
        if named:
            sync_directory(path.parent)
        self.step(f"after sync {path.suffix or path.name}")

    def flush(self, path: Path) -> None:
        """Writes to the disk what was begun at `path` and is there so far, so that `end` has less to wait for."""
        sync_file(path)

    def append(self, path: Path, content: bytes, mode: int = 0o600) -> None:
        """Adds `content` at the end of `path` and fsyncs it."""
        self.step(f"before append {path.suffix or path.name}")
        fresh = not path.exists()
        handle = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, mode)
        try:
            written = 0
            while written < len(content):
                written += os.write(handle, content[written:])
            os.fsync(handle)
        finally:
            os.close(handle)
        if fresh:
            sync_directory(path.parent)
        self.step(f"after append {path.suffix or path.name}")

    def move(self, path: Path, target: Path) -> None:
        """Renames the file `path`, which was written durably, to `target` on the same file system, durably."""
        self.step(f"before move {path.suffix or path.name}")
        path.rename(target)
        sync_directory(target.parent)
        self.step(f"after move {path.suffix or path.name}")

    def remove(self, path: Path) -> None:
        """Unlinks `path` durably; a missing one is already removed."""
        self.step(f"before unlink {path.suffix or path.name}")
        path.unlink(missing_ok=True)
        if path.parent.is_dir():
            sync_directory(path.parent)
        self.step(f"after unlink {path.suffix or path.name}")

    def remove_directory(self, path: Path) -> None:
        """Removes the empty directory `path` durably; a missing one is already removed."""
        self.step(f"before rmdir {path.name}")
        if path.is_dir():
            path.rmdir()
            sync_directory(path.parent)
        self.step(f"after rmdir {path.name}")

    def free_bytes(self, path: Path) -> int:
        """Bytes that an ordinary user may still write on the file system of `path`."""
        stat = os.statvfs(path)
        return stat.f_bavail * stat.f_frsize


def sync_file(path: Path) -> None:
    """Makes the content of `path` durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_directory(path: Path) -> None:
    """Makes the names in `path` durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_together(directory: Path) -> None:
    """Makes the names in `directory`, and the content of its files, durable in about the time of one fsync.

    None is made durable before another. Raises `OSError` when one of them can't be.
    """
    paths = list(directory.iterdir())
    with ThreadPoolExecutor(len(paths) + 1, "fsync") as workers:
        done = [workers.submit(sync_file, path) for path in paths]
        sync_directory(directory)
        for one in done:
            one.result()
