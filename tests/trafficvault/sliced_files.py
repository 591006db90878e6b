"""Files that are received in small slices."""

from __future__ import annotations

from typing import Any

from tests.support import Usage
from trafficvault import intake, receive
from trafficvault.receipts import Receipt
from trafficvault.receive import Pace
from trafficvault.vault import Vault

SMALL = Pace(slice_bytes=700, workers=2)
"""Some eight rows a slice."""


def take(
    vault: Vault, data: str | bytes, name: str = "file", pace: Pace = SMALL, feed: str = "mvno_pipe", **more: Any
) -> Receipt:
    """Receives `data` in small slices."""
    feed_, source = intake.feed_and_source(vault, feed, None)
    content = data.encode() if isinstance(data, str) else data
    return receive.receive(vault, feed_, source, content, name, pace=pace, **more)


def lines(number: int, **more: Any) -> list[Usage]:
    """So many different rows on two days."""
    return [Usage(at=f"202611{10 + n % 2:02d}12{n // 60:02d}{n % 60:02d}", seconds=n, **more) for n in range(number)]
