"""Files that an option of the command line names, read and written."""

from __future__ import annotations

from pathlib import Path

from trafficvault.durable import Disk
from trafficvault.errors import UsageError


def read_text(path: Path) -> str:
    """The text of a file that an option names. Raises `UsageError`."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as problem:
        raise UsageError(f"reading {path}: {problem.strerror}") from problem
    except UnicodeDecodeError as problem:
        raise UsageError(f"reading {path}: it is not UTF-8 text at byte {problem.start}") from problem


def write(path: Path, content: bytes) -> None:
    """Puts `content` at the path that an option names. Raises `UsageError` where that can't be."""
    try:
        Disk().create(path, content)
    except OSError as problem:
        raise UsageError(f"writing {path}: {problem.strerror}") from problem


def given(value: str) -> str:
    """What an option that takes a value or a file stands for: the file's text where there is one, else itself."""
    path = Path(value)
    return read_text(path) if path.is_file() else value
