"""Slicing: a day with too many rows for one asking is given to a stream in slices, and each row finds its company.

What a stream says of several rows together are calls (parts of one correlation id) and versions (of one record id),
within one answer day. A slice holds the rows of some time, and beside them, marked `neighbour`, every row of
other slices that is of the same call or record as one of them: so nothing that is said of a row changes by it.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from ingest.record import INTERVAL_CLASSES
from ingest.sound import EVENT_ANCHOR, INTERVAL_ANCHOR
from queries.scope import ANSWER_DAY

_SLICE, _INDEX, _PLACE = "_slice", "_index", "_place"
_MOMENT = "_moment"


def slices(rows: pl.DataFrame, most: int) -> Iterator[pl.DataFrame]:
    """`rows` in scope, in slices of about `most`, in the order of answer day and time; a moment is never divided.

    Rows that are neighbours already are given with every slice that they are company to.
    """
    if rows.height <= most:
        yield rows
        return
    # Only what tells rows apart is sorted and joined: of the rows themselves there is one copy, slice by slice.
    keys = rows.select(*(key for key in _KEYS if key in rows.columns), moment(rows), "neighbour")
    keys = keys.with_row_index(_INDEX)
    own = keys.filter(~pl.col("neighbour")).select(_INDEX, ANSWER_DAY, _MOMENT)
    own = own.sort(ANSWER_DAY, _MOMENT, nulls_last=True, maintain_order=True).with_row_index(_PLACE)
    # Every row of a moment goes where its first one does.
    at = pl.col(_PLACE).min().over(ANSWER_DAY, _MOMENT) // max(1, most)
    own = own.select(_INDEX, at.cast(pl.UInt32).alias(_SLICE))
    placed = keys.join(own, on=_INDEX, how="left")
    company = [
        _company(placed, "correlation_id", pl.col("part") != "only"),
        _company(placed, "record_id", pl.lit(True)),
    ]
    beside = pl.concat(company).unique().sort(_INDEX).partition_by(_SLICE, as_dict=True)
    for (number,), part in own.partition_by(_SLICE, as_dict=True, maintain_order=True).items():
        frames = [rows[part[_INDEX]]]
        if (number,) in beside:
            frames.append(rows[beside[number,][_INDEX]].with_columns(neighbour=pl.lit(True)))
        yield pl.concat(frames)


_KEYS = (ANSWER_DAY, "source", "correlation_id", "record_id", "part")


def _company(placed: pl.DataFrame, key: str, several: pl.Expr) -> pl.DataFrame:
    """Which rows (by `_INDEX`) are company to which slices, having one `key` with a row of it and no place in it."""
    if not {key, *several.meta.root_names()} <= set(placed.columns):
        return pl.DataFrame(schema={_INDEX: pl.UInt32, _SLICE: pl.UInt32})
    known = placed.filter(pl.col(key).is_not_null() & several.fill_null(False))
    group = [ANSWER_DAY, "source", key]
    wanted = known.filter(pl.col(_SLICE).is_not_null()).select(*group, _SLICE).unique()
    pairs = known.rename({_SLICE: "_mine"}).join(wanted, on=group, nulls_equal=True)
    return pairs.filter(pl.col("_mine").ne_missing(pl.col(_SLICE))).select(_INDEX, _SLICE)


def moment(rows: pl.DataFrame) -> pl.Expr:
    """The moment that decides a record's day, by which a stream is ordered."""
    interval, event = (
        pl.coalesce([*(name for name in names if name in rows.columns), pl.lit(None, pl.Datetime("us", "UTC"))])
        for names in (INTERVAL_ANCHOR, EVENT_ANCHOR)
    )
    return pl.when(pl.col("record_class").is_in(INTERVAL_CLASSES)).then(interval).otherwise(event).alias(_MOMENT)
