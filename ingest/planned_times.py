"""Times of whole slices, for `ingest.plan`: as `ingest.times` reads them, where nothing has to be resolved or assumed.

Rows whose time is not of its form, lies in a doubled or skipped hour, or needs the zone of a country are only pointed
out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from ingest.columns import out
from ingest.moments import read as moments_of
from ingest.rules import Rule
from ingest.stamps import Form, wall_clock
from ingest.times import MINUTE, local_offsets, told_offsets

_ODD: Final = 1 << 20
"""Stands for an offset that is told and is none, or is told to be unknown."""


@dataclass(frozen=True, slots=True)
class PlannedTime:
    """The time `column` in the column `text`, read as `rule` says; without an offset local in `zone`.

    `told` is a column with the offset that the row tells, in minutes, and `assumed` one that says where a row without
    offset has its zone from its country.
    """

    column: str
    text: str
    rule: Rule
    zone: str
    told: str | None
    assumed: str | None

    @property
    def minutes(self) -> str:
        """The column that tells its offset."""
        return f"~{self.column}.minutes"

    @property
    def note(self) -> str:
        """The column that notes what had to be assumed."""
        return f"~{self.column}.note"

    @property
    def wrong(self) -> str:
        """The column that tells where it is not proven."""
        return f"~{self.column}.wrong"


def offsets(text: pl.Series) -> pl.Series:
    """The offsets in `text`, minutes east; null where there is none, and an impossible one where it is no plain one."""
    table = told_offsets(text)
    odd = table["told"] & (table["minutes"].is_null() | table["unknown"])
    return table.select(pl.when(odd).then(_ODD).otherwise("minutes")).to_series().set(~table["told"], None)


def read(time: PlannedTime, frame: pl.DataFrame) -> pl.DataFrame:
    """The column of `time` in `frame`, its offset and its note, and where they are not proven."""
    if time.rule.kind == "local_time":
        return _local(time, frame)
    found = frame.select(moments_of(time.rule, time.text, time.zone, frozenset()).alias("found"))["found"].struct
    return pl.DataFrame(
        {
            out(time.column): found.field("utc"),
            time.minutes: found.field("utc_offset"),
            time.note: found.field("note"),
            time.wrong: ~found.field("ok"),
        }
    )


def _local(time: PlannedTime, frame: pl.DataFrame) -> pl.DataFrame:
    text = frame[time.text]
    wall, ok = wall_clock(text, Form.of(time.rule.format or ""))
    wrong = ~ok
    east = np.zeros(len(wall), np.int64)
    untold = None
    if time.told is not None:
        told = frame[time.told]
        if told.null_count():
            untold, told = told.is_null().to_numpy(), told.fill_null(0)
        minutes = told.to_numpy()
        wrong |= minutes == _ODD
        east = minutes * MINUTE
    if time.told is None or untold is not None:
        zoned = local_offsets(wall, ok, time.zone)
        unsure = zoned.missing | (zoned.early != zoned.late)
        if time.assumed is not None:
            unsure |= frame[time.assumed].fill_null(value=False).to_numpy()
        wrong |= unsure if untold is None else unsure & untold
        east = zoned.early if untold is None else np.where(untold, zoned.early, east)
    moments = pl.Series(wall - east).cast(pl.Datetime("us", "UTC"))  # what is wrong may be any moment
    columns = {out(time.column): moments, time.minutes: pl.Series(east // MINUTE).cast(pl.Int32), time.wrong: wrong}
    found = pl.DataFrame(columns)
    if not text.null_count():
        return found
    given = pl.lit(text.is_not_null())
    read = pl.when(given).then(pl.col(out(time.column), time.minutes)).name.keep()
    return found.select(read, pl.col(time.wrong) & given)
