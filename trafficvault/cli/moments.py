"""Moments that an option of the command line names, read."""

from __future__ import annotations

from datetime import datetime

from trafficvault.errors import UsageError


def read_moment(text: str, option: str) -> datetime:
    """The moment that `text` of `option` names. Raises `UsageError` when it is none, or lacks its offset."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise UsageError(f"reading {option}: it must be a moment with its offset, as 2026-11-20T00:00:00+01:00")
    return found
