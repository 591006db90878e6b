"""Plans of numbers, and texts read by them."""

from __future__ import annotations

from typing import Any

import polars as pl

from ingest.numbers import PARTY, party
from ingest.source import NumberPlan

PLAIN = NumberPlan()
INTERNATIONAL = NumberPlan(bare="international")
NATIONAL = NumberPlan(bare="national")
AREA = NumberPlan(bare="subscriber", area="20")
PBX = NumberPlan(extension=(3, 4))
TRUNK = NumberPlan(access="9", extension=(3, 4), bare="national")


def read(
    raw: list[str | None], plan: NumberPlan = PLAIN, region: str = "NL", owner: str = "acme"
) -> list[dict[str, Any]]:
    """The parties that `raw` names."""
    frame = pl.DataFrame({"raw": pl.Series(raw, dtype=pl.String)})
    found = frame.select(party(pl.col("raw"), plan, region, owner)).to_series()
    assert found.dtype == PARTY
    return found.to_list()
