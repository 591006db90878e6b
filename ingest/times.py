"""Times: what a source wrote as a UTC instant, with the offset it stood in and a note where that had to be assumed.

A local time without offset names two instants in the hour that the clock goes back, and none in the hour that it
skips. The doubled hour is resolved by the first of these that decides, else the earlier instant is taken and noted
`ambiguous`:

1. an offset that the row itself tells;
2. a moment near it that is known in UTC (an id that holds the epoch, the resolved start plus the duration);
3. the other end and the duration: only one of the two instants lies that long before the end.

The skipped hour (`missing`) is not resolved: no rule makes a time out of it that the source meant.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import polars as pl

from ingest.errors import FeedError
from ingest.stamps import ISO, SECOND, YEARS, Bools, Form, Ints, fraction, wall_clock
from ingest.words import Words

MOMENT: Final = pl.Struct(
    {
        "utc": pl.Datetime("us", "UTC"),
        "utc_offset": pl.Int32,
        "note": pl.String,
        "ok": pl.Boolean,
        "missing": pl.Boolean,
    }
)
"""What every function here gives per row: `utc`, its offset in minutes east, `note` (null or `ambiguous`), whether the
text was a time (`ok`; true for an empty text, whose `utc` is null), and whether it names a skipped hour (`missing`)."""

MINUTE: Final = 60 * SECOND
_MINUTES: Final = 1440
_DAY: Final = _MINUTES * MINUTE
_HINT_REACH: Final = 30 * MINUTE
"""A known moment further away than this tells nothing: its row carries another call's id, or the zone is wrong."""
_DURATION_SLACK: Final = 5 * MINUTE
"""By how much end − start may differ from a duration: writers round it, and some count from the answer."""
_OFFSET_LIMIT: Final = 14 * 60
_WHOLE_MINUTES_SINCE: Final = 3 * 366 * 1440
"""Minutes since 1970 from which on all zones change on whole minutes (Monrovia was the last that did not, 1972)."""


@dataclass(frozen=True, slots=True)
class Zoned:
    """Offsets of local times, microseconds east: of the earlier and the later instant; and where there is none."""

    early: Ints
    late: Ints
    missing: Bools


def local(
    raw: pl.Expr,
    format: str,
    zone: str | pl.Expr,
    duration_ms: pl.Expr | None = None,
    epoch_hint: pl.Expr | None = None,
    offset: pl.Expr | None = None,
    *,
    end: pl.Expr | None = None,
) -> pl.Expr:
    """The instants of local stamps of the form `format` (see `ingest.stamps`) in `zone`, as structs of type `MOMENT`.

    `zone` is an IANA name, or an expression that gives one per row (null is not ok, unless the row has an offset).
    `offset` (`+0100`, `+01:00`, `Z`; empty: none) goes before the zone. `epoch_hint` is a moment near the stamp in
    epoch seconds UTC. `duration_ms` with `end`, the stamp of the end in the same form, decides for a start; resolve
    an end by the hint start + duration. Raises `FeedError` for a form or a zone that does not exist.
    """
    form = Form.of(format)
    columns = {"raw": raw.cast(pl.String)}
    if isinstance(zone, str):
        _zoned(np.zeros(1, dtype=np.int64), zone)
    else:
        columns["zone"] = _text(zone)
    if offset is not None:
        columns["offset"] = offset.cast(pl.String)
    if epoch_hint is not None:
        columns["hint"] = epoch_hint.cast(pl.Float64, strict=False)
    if end is not None and duration_ms is not None:
        columns |= {"end": _text(end), "duration": duration_ms.cast(pl.Int64, strict=False)}

    def moments(rows: pl.Series) -> pl.Series:
        frame = rows.struct.unnest()
        if not (form.digits and bool((frame["raw"].str.len_bytes() == form.width).all())):
            frame = frame.with_columns(pl.col("raw").str.strip_chars())
        return _local(frame, form, zone if isinstance(zone, str) else frame["zone"])

    return _mapped(columns, moments)


def epoch(raw: pl.Expr, unit: str) -> pl.Expr:
    """The instants of epoch times in `unit` (s, ms, us; decimals allowed in seconds), UTC, as structs of type `MOMENT`.

    An epoch tells no offset. 0 means that it did not happen, as an empty text does. Raises `FeedError` for another
    unit.
    """
    scales = {"s": SECOND, "ms": 1000, "us": 1}
    if unit not in scales:
        raise FeedError(f"epoch time: unit must be s, ms or us, found {unit!r}")
    latest = (YEARS[1] - 1969) * 366 * 86400 * SECOND // scales[unit]
    earliest = int(np.datetime64(f"{YEARS[0]}-01-01", "us").astype(np.int64)) // scales[unit]

    def moments(rows: pl.Series) -> pl.Series:
        text = rows.struct.field("raw")
        absent = np.array((text == "").fill_null(True).to_numpy())
        whole = text.cast(pl.UInt64, strict=False)
        part, good = np.zeros(len(text), dtype=np.int64), np.ones(len(text), dtype=np.bool_)
        if unit == "s" and text.str.contains(".", literal=True).any():
            split = text.str.splitn(".", 2).struct.unnest()
            whole = split.to_series(0).cast(pl.UInt64, strict=False)
            part, good = fraction(split.to_series(1))
            good |= split.to_series(1).is_null().to_numpy()
        ok = whole.is_not_null().to_numpy() & ~text.str.starts_with("+").fill_null(False).to_numpy() & good
        ok &= (whole <= latest).fill_null(False).to_numpy()
        absent |= ok & (whole == 0).fill_null(False).to_numpy() & (part == 0)
        ok &= (whole >= earliest).fill_null(False).to_numpy()
        value = np.where(ok, whole.fill_null(0).to_numpy(), 0).astype(np.int64) * scales[unit] + part
        unknown = np.zeros(len(text), dtype=np.bool_)
        return _structs(value, None, unknown, ok | absent, unknown, present=ok & ~absent)

    return _mapped({"raw": _text(raw)}, moments)


def iso(raw: pl.Expr, zone: str) -> pl.Expr:
    """The instants of RFC 3339 stamps, as structs of type `MOMENT`; without an offset they are local times in `zone`.

    `-00:00` is UTC of unknown local offset (RFC 3339 §4.3). Second 60 is refused. Raises `FeedError` for an unknown
    zone.
    """
    _zoned(np.zeros(1, dtype=np.int64), zone)

    def moments(rows: pl.Series) -> pl.Series:
        text = rows.struct.field("raw")
        tail = _by_distinct(text.str.slice(ISO.width), _iso_tail)
        frame = pl.DataFrame({"raw": text.str.slice(0, ISO.width), "offset": tail["offset"]})
        return _local(frame, ISO, zone, part=tail["part"].fill_null(0).to_numpy(), good=tail["good"])

    return _mapped({"raw": _text(raw)}, moments)


def precision(format: str) -> str:
    """The `time_precision` of stamps of the form `format`: us, ms, cs, s or min."""
    return Form.of(format).precision


def _text(column: pl.Expr) -> pl.Expr:
    return column.cast(pl.String).str.strip_chars()


def _mapped(columns: dict[str, pl.Expr], moments: Callable[[pl.Series], pl.Series]) -> pl.Expr:
    named = [column.alias(name) for name, column in columns.items()]
    return pl.struct(named).map_batches(moments, return_dtype=MOMENT)


def _by_distinct(column: pl.Series, rule: Callable[[pl.Series], pl.DataFrame]) -> pl.DataFrame:
    """`rule` of each value of `column`, worked out once per distinct value."""
    words = Words.of(column)
    if words is not None:
        return pl.DataFrame([words.gathered(one) for one in rule(words.once.to_series())])
    keys = column.unique()
    table = rule(keys).with_columns(keys.alias("key"))
    return column.alias("key").to_frame().join(table, on="key", how="left", nulls_equal=True, maintain_order="left")


def _iso_tail(tail: pl.Series) -> pl.DataFrame:
    parts = tail.str.extract_groups(r"^(?:\.([0-9]{1,9}))?([Zz]|[+-][0-9]{2}:?[0-9]{2})?$").struct.unnest()
    digits, offset = parts.to_series(0), parts.to_series(1)
    good = tail.str.contains(r"^(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:?[0-9]{2})?$")
    return pl.DataFrame({"part": fraction(digits)[0], "good": good, "offset": offset})


def told_offsets(offset: pl.Series) -> pl.DataFrame:
    """The `minutes` east that offsets (`+0100`, `Z`) say, null where they are none; if one is `told` and `unknown`."""
    offset = offset.str.strip_chars()
    parts = offset.str.extract_groups(r"^([+-])([0-9]{2}):?([0-5][0-9])$").struct.unnest()
    hours, minutes = (parts.to_series(at).cast(pl.Int64, strict=False) for at in (1, 2))
    size = (hours * 60 + minutes).set(offset.str.to_uppercase() == "Z", 0)
    size = size.set(size > _OFFSET_LIMIT, None)
    return pl.DataFrame(
        {
            "minutes": size.zip_with((parts.to_series(0) != "-").fill_null(True), -size),
            "told": (offset != "").fill_null(False),
            "unknown": offset.is_in(["-00:00", "-0000"]).fill_null(False),
        }
    )


def _local(
    frame: pl.DataFrame, form: Form, zone: str | pl.Series, part: Ints | None = None, good: pl.Series | None = None
) -> pl.Series:
    text = frame["raw"]
    present = (text != "").fill_null(False).to_numpy()
    wall, ok = wall_clock(text, form)
    if part is not None:
        wall = wall + part
    if good is not None:
        ok &= good.fill_null(False).to_numpy()
    zoned = local_offsets(wall, ok, zone)
    missing = zoned.missing & ok
    doubled = ok & ~missing & (zoned.early != zoned.late)
    east = zoned.early
    if doubled.any():
        later, decided = _decide(frame, form, zone, wall, zoned, doubled)
        east = np.where(later, zoned.late, east)
        doubled &= ~decided
    unknown = None
    unzoned = np.ones(len(text), dtype=np.bool_)
    if "offset" in frame.columns:
        table = _by_distinct(frame["offset"], told_offsets)
        minutes, told, unknown = table["minutes"], table["told"].to_numpy(), table["unknown"].to_numpy()
        valid = minutes.is_not_null().to_numpy()
        east = np.where(told & valid, minutes.fill_null(0).to_numpy() * MINUTE, east)
        doubled, missing = doubled & ~told, missing & ~told
        ok &= ~told | valid
        unzoned = ~told
    if isinstance(zone, pl.Series):
        ok &= ~(unzoned & zone.is_null().to_numpy())
    ok &= ~missing
    valid_rows = ok & present
    return _structs(wall - east, east // MINUTE, doubled, ok | ~present, missing, present=valid_rows, unknown=unknown)


def _decide(
    frame: pl.DataFrame, form: Form, zone: str | pl.Series, wall: Ints, zoned: Zoned, doubled: Bools
) -> tuple[Bools, Bools]:
    """Which of the doubled local times are the later instant, and which of them were decided at all."""
    first, second = wall - zoned.early, wall - zoned.late
    later, decided = np.zeros(len(wall), dtype=np.bool_), np.zeros(len(wall), dtype=np.bool_)
    if "hint" in frame.columns:
        hint = frame["hint"].fill_null(float("inf")).fill_nan(float("inf")).to_numpy() * SECOND
        gaps = np.abs(first - hint), np.abs(second - hint)
        decided = doubled & (np.minimum(*gaps) <= _HINT_REACH)
        later = decided & (gaps[1] < gaps[0])
    if "end" in frame.columns:
        end, known = wall_clock(frame["end"], form)
        ends = local_offsets(end, known, zone)
        duration = frame["duration"].fill_null(0).to_numpy() * 1000
        known &= frame["duration"].is_not_null().to_numpy() & ~ends.missing

        def fits(start: Ints) -> Bools:
            gaps = (np.abs(end - east - start - duration) for east in (ends.early, ends.late))
            near: Bools = np.minimum(*gaps) <= _DURATION_SLACK
            return known & near

        one, two = fits(first), fits(second)
        told = doubled & ~decided & (one != two)
        later, decided = later | (told & two), decided | told
    return later, decided


def local_offsets(wall: Ints, ok: Bools, zone: str | pl.Series) -> Zoned:
    """As `_zoned`, for rows that are `ok`, and for a zone per row."""
    if isinstance(zone, str):
        return _zoned(wall if ok.all() else np.where(ok, wall, wall[ok][0] if ok.any() else 0), zone)
    early, late, missing = np.zeros(len(wall), np.int64), np.zeros(len(wall), np.int64), np.zeros(len(wall), np.bool_)
    for name in zone.unique().drop_nulls():
        rows = ok & (zone == name).fill_null(False).to_numpy()
        found = _zoned(wall[rows], name)
        early[rows], late[rows], missing[rows] = found.early, found.late, found.missing
    return Zoned(early, late, missing)


def _zoned(wall: Ints, zone: str) -> Zoned:
    """The offsets that local times have in `zone`; day by day where the days in reach are few."""
    if not len(wall):
        return Zoned(wall, wall, np.zeros(0, dtype=np.bool_))
    low, high = int(wall.min()) // _DAY, int(wall.max()) // _DAY
    if low * _DAY < _WHOLE_MINUTES_SINCE * MINUTE or high - low > max(2, len(wall) // _MINUTES):
        return _looked_up(wall, zone)
    days = [_day(zone, day) for day in range(low, high + 1)]
    offsets = {int(day.early[0]) if len(day.early) == 1 else None for day in days}
    east = offsets.pop()
    if not offsets and east is not None:
        same = np.full(len(wall), east)
        return Zoned(same, same, np.zeros(len(wall), dtype=np.bool_))
    at = wall // MINUTE - low * _MINUTES
    early, late, missing = (
        np.concatenate([np.broadcast_to(getattr(day, name), _MINUTES) for day in days])[at]
        for name in ("early", "late", "missing")
    )
    return Zoned(early, late, missing)


@lru_cache(maxsize=4096)
def _day(zone: str, day: int) -> Zoned:
    """The offsets of the minutes of a day, counted from 1970; one for all where they are the same."""
    found = _looked_up(np.arange(_MINUTES, dtype=np.int64) * MINUTE + day * _DAY, zone)
    same = not found.missing.any() and bool(((found.early == found.early[0]) & (found.late == found.early[0])).all())
    return Zoned(found.early[:1], found.late[:1], found.missing[:1]) if same else found


def _looked_up(wall: Ints, zone: str) -> Zoned:
    clock = pl.Series(wall).cast(pl.Datetime("us"))
    try:
        instants = [
            clock.dt.replace_time_zone(zone, ambiguous=which, non_existent="null").to_physical()
            for which in ("earliest", "latest")
        ]
    except pl.exceptions.ComputeError as error:
        raise FeedError(f"zone {zone!r} is not a time zone of the IANA database") from error
    missing = instants[0].is_null().to_numpy()
    early, late = (np.where(missing, 0, wall - instant.fill_null(0).to_numpy()) for instant in instants)
    return Zoned(early, late, missing)


def _structs(
    utc: Ints,
    minutes: Ints | None,
    ambiguous: Bools,
    ok: Bools,
    missing: Bools,
    *,
    present: Bools,
    unknown: Bools | None = None,
) -> pl.Series:
    """Structs of type `MOMENT`: instant, offset and note only where `present`, the offset not where `unknown`."""
    there = pl.Series(present)
    told = there if unknown is None else there & ~pl.Series(unknown)
    offset = pl.lit(None, pl.Int32) if minutes is None else pl.lit(pl.Series(minutes).cast(pl.Int32))
    frame = pl.select(
        utc=pl.when(there).then(pl.Series(utc)).cast(pl.Datetime("us", "UTC")),
        utc_offset=pl.when(told).then(offset),
        note=pl.when(there & pl.Series(ambiguous)).then(pl.lit("ambiguous")),
        ok=pl.Series(ok),
        missing=pl.Series(missing),
    )
    return frame.to_struct("moment")
