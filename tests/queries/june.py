"""A scope of June: who is asked about, when, and how its tests tell what was found."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import polars as pl

Make = Callable[..., Any]

A, B, C = "+31612345678", "+31201234567", "+31301234567"
FROM, TO = datetime(2026, 6, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC)
NOON = datetime(2026, 6, 10, 12, tzinfo=UTC)
CELL = "204-99-0001-000a"


def roles(found: pl.DataFrame) -> list[tuple[int, str]]:
    """Row number and role of each found row."""
    return list(zip(found["row"].to_list(), found["target_role"].to_list(), strict=True))
