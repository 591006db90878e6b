"""Joins lines of one file that alone lack a time: a Kamailio INVITE whose time stands in the line of its ACK.

The ACK of an INVITE is no event of its own: it gives its time where the INVITE has none, adds nothing where it has one,
and is counted as joined either way. Lines belong together when they agree on the dialog (RFC 3261 §12: Call-ID, From
tag, To tag). Where one dialog has several of both (a re-INVITE), the first ACK goes with the first INVITE and so on: no
time is taken from another pair. What finds no partner is left as it is for the caller; the other half may be in another
file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

from ingest.errors import FeedError

_PLACE: Final = "_place"
_PAIR: Final = "_pair"
_GIVEN: Final = "_given"


def join(
    fields: pl.DataFrame,
    on: Sequence[str],
    time: str,
    method: str = "method",
    taker: str = "INVITE",
    giver: str = "ACK",
) -> tuple[pl.DataFrame, int]:
    """The lines of `fields` that remain, in their order, and how many were joined into another.

    A line whose `method` is `taker` and whose `time` is null takes the time of the `giver` line with the same values of
    `on`. A `giver` line is joined once a `taker` line of the same values has a time. Null equals null in `on`, but a
    line without its first column (the Call-ID) belongs to nothing. A `time` of 0 is none. Raises `FeedError` for a
    column that `fields` lacks.
    """
    absent = [name for name in (*on, time, method) if name not in fields.columns]
    if absent or not on:
        raise FeedError(
            f"joining lines needs the columns {', '.join(absent) or 'of a key'}, which the shape does not have"
        )
    none = fields[time].str.contains(r"^\s*0+\s*$").fill_null(value=False)
    if none.any():
        fields = fields.with_columns(fields[time].set(none, None))
    lines = (
        fields.select(*dict.fromkeys((*on, time, method)))
        .with_row_index(_PLACE)
        .filter(pl.col(on[0]).is_not_null() & pl.col(method).is_in([taker, giver]))
        .with_columns(pl.int_range(pl.len()).over([*on, method]).alias(_PAIR))
    )
    givers = lines.filter(pl.col(method) == giver)
    if givers.is_empty():
        return fields, 0
    takers = (
        lines.filter(pl.col(method) == taker)
        .join(
            givers.select(*on, _PAIR, pl.col(time).alias(_GIVEN)),
            on=[*on, _PAIR],
            how="left",
            nulls_equal=True,
            maintain_order="left",
        )
        .with_columns(pl.coalesce(time, _GIVEN).alias(_GIVEN))
    )
    timed = takers.filter(pl.col(_GIVEN).is_not_null())
    joined = givers.join(timed, on=list(on), how="semi", nulls_equal=True)[_PLACE]
    times = fields[time].scatter(takers[_PLACE], takers[_GIVEN])
    kept = ~pl.int_range(fields.height, eager=True).is_in(joined.cast(pl.Int64).implode())
    return fields.with_columns(times.alias(time)).filter(kept), len(joined)
