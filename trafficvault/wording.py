"""Wording: one way to tell a person a size, a moment and a span of time; a term is told by its own `words`.

A moment is the policy's local time, in whose calendar terms are counted, with its offset from UTC, to the minute. What
a program reads (`--json`, manifests, certificates) has bytes, seconds and RFC 3339 in UTC instead.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from trafficvault.zones import zone_of

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


def size(count: int) -> str:
    """`count` bytes, in the units that the policy has: `999 bytes`, `1.2 KiB`, `72.4 GiB`."""
    value, unit = float(count), 0
    # What would be told as 1024.0 of a unit is 1.0 of the next.
    while unit < len(_UNITS) - 1 and round(value, 1) >= 1024:
        value, unit = value / 1024, unit + 1
    return f"{count} byte{'' if count == 1 else 's'}" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"


def moment(at: datetime | str, zone: str) -> str:
    """An aware moment, or its RFC 3339 text, as `2026-12-06 00:00 +01:00`."""
    aware = datetime.fromisoformat(at) if isinstance(at, str) else at
    told = aware.astimezone(zone_of(zone)).isoformat(" ", "minutes")
    return f"{told[:16]} {told[16:]}"


def span(length: timedelta) -> str:
    """How long: `3 days 4 h`, `2 h 5 min`, `0 min`."""
    minutes = int(length.total_seconds()) // 60
    days, rest = divmod(minutes, 24 * 60)
    hours, minutes = divmod(rest, 60)
    if days:
        return f"{days} day{'' if days == 1 else 's'}" + (f" {hours} h" if hours else "")
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
