"""The scope of a warrant: which rows it reaches, and which columns of them it does not.

`select` returns the rows in which a target is found and whose [start, end] overlaps that target's window, with the
parts of the calls they belong to, masked: what a record says of the served party (its place, SIM, device, address,
line) is output only when that party is a target, and the other party's IMSI and IMEI only when the other party is one.
A location is thus never disclosed of somebody who merely talked to a target.

    rows of a day and its neighbours → prefilter | call_filter → select → rows in scope
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC

import polars as pl
import pyarrow as pa

from queries import matching
from queries.target import ScopeError as ScopeError
from queries.target import Target as Target

TARGET_SCHEMA = pa.schema(
    [
        pa.field("record_class", pa.string()),
        pa.field("target", pa.int32()),
        pa.field("targets", pa.list_(pa.int32())),
        pa.field("target_role", pa.string()),
        pa.field("target_roles", pa.list_(pa.string())),
        pa.field("neighbour", pa.bool_()),
        pa.field("answer_day", pa.date32()),
    ]
)
"""What stands beside the record in scope: its class; the lowest target found in it (from 1, in the warrant's order) and
its role; all targets and their roles; whether the row is given only to complete a call or to count versions, being of a
neighbouring day or of another stretch; and the day to whose answer it is given. Rows of two answer days know nothing of
one another: what a question says of several rows together it says per answer day."""
ANSWER_DAY = "answer_day"

WHERE_COLUMNS = (
    "start_cell", "end_cell", "area", "visited_plmn", "visited_country", "wifi_ap", "serving_node", "extra_where",
)  # fmt: skip
SERVED_COLUMNS = (
    *WHERE_COLUMNS, "subscriber", "imsi", "imei", "imei_raw", "iccid", "eid", "public_ip", "private_ip",
    "prefix_length", "port_from", "port_to", "access_ip", "user_name", "line", "service_id", "nas", "session_id", "mac",
    "extra_who",
)  # fmt: skip
"""What a record says of its served party, null unless that party is a target."""
PEER_COLUMNS = ("peer_imsi", "peer_imei")
"""What a record says of the other party, null unless that party is a target."""
OFFSET_CLASSES = ("mobile_usage", "roaming_notice", "bundle_notice")
"""Classes whose UTC offset names the country the served party is in."""
NUMBER_COLUMNS = ("a_number", "a_asserted", "b_number", "c_number")

_CALL = ("source", "correlation_id")
_NO_CALLS = pl.DataFrame(schema={**dict.fromkeys(_CALL, pl.String), ANSWER_DAY: pl.Date})


@dataclass(frozen=True, slots=True)
class Scope:
    """What a warrant reaches: targets in its order, classes, categories, and how many subscribers `holder` may name."""

    targets: tuple[Target, ...]
    classes: frozenset[str]
    categories: frozenset[str]
    max_matches: int = 1


def targets_table(scope: Scope) -> pa.Table:
    """The view `wanted` of the questions: index (from 1), type, value, start, end."""
    moment = pa.timestamp("us", tz="UTC")
    return pa.table(
        {
            "index": pa.array(range(1, len(scope.targets) + 1), pa.int32()),
            "type": pa.array([target.type for target in scope.targets], pa.string()),
            "value": pa.array([target.text for target in scope.targets], pa.string()),
            "start": pa.array([target.start.astimezone(UTC) for target in scope.targets], moment),
            "end": pa.array([target.end.astimezone(UTC) for target in scope.targets], moment),
        }
    )


def prefilter(scope: Scope, columns: Collection[str]) -> pl.Expr:
    """A filter for reading: holds for every row of a file with `columns` that `select` can match, parts apart.

    It uses who columns only, and the cells where a cell is a target.
    """
    return matching.prefilter(scope.targets, columns)


def calls(records: pl.DataFrame, scope: Scope) -> pl.DataFrame:
    """Source, correlation id and answer day of the calls of several parts in which a target is found inside its window:
    what `call_filter` takes. The day is null where `records` has no column `answer_day`.
    """
    _require_inside(records, scope)
    if not _has_parts(records):
        return _NO_CALLS
    frame = records.with_row_index("_row")
    parts = _parts(frame).rename({"_day": ANSWER_DAY})
    if parts.is_empty():
        return _NO_CALLS
    # Of most answers no row is a part of several, and what is looked for among none is found at once.
    found = matching.hits(frame.join(parts, on="_row", how="semi"), scope.targets).filter("inside")
    return parts.join(found, on="_row", how="semi").select(*_CALL, ANSWER_DAY).unique()


def call_filter(found: pl.DataFrame) -> pl.Expr:
    """A filter for reading: holds for every part of the calls `found` (and may hold for others)."""
    if found.is_empty():
        return pl.lit(False)
    known = pl.col("correlation_id").is_in(found["correlation_id"].unique().to_list())
    return (known & (pl.col("part") != "only")).fill_null(False)


def select(records: pl.DataFrame, scope: Scope) -> pl.DataFrame:
    """The rows in scope, masked, in time order, with the columns of `TARGET_SCHEMA` but `neighbour`.

    `records` has a column `record_class` and any of the record's columns; further columns pass through. Parts of a
    call that matched are added from among `records`, with the role `part`: give the rows of neighbouring days too.
    With a column `answer_day` the rows of each such day are taken by themselves, and the days follow one another: it is
    as if each had been selected alone. Raises `ScopeError` for a class that the scope does not hold.
    """
    frame = _checked(records, scope)
    if len(scope.targets) == 1 and _parts(frame).is_empty():
        return _in_order(_hits_of_one(frame, scope.targets[0]))
    found = matching.hits(frame, scope.targets)
    merged = pl.concat([found.filter("inside").drop("inside"), _part_hits(frame, found)])
    per_target = merged.group_by("_row", "target").agg(
        pl.col("rank").min(), pl.col("served").any(), pl.col("peer").any()
    )
    # The first target is the lowest that the row itself holds; a target it only shares a call with comes after.
    ordered = per_target.sort("_row", pl.col("rank") == matching.PART_RANK, "target")
    role = pl.col("rank").replace_strict(dict(enumerate(matching.ROLES)), return_dtype=pl.String)
    by_index = pl.col("target").arg_sort()
    rows = ordered.with_columns(role=role).group_by("_row", maintain_order=True).agg(
        pl.col("target").first(),
        pl.col("target").gather(by_index).alias("targets"),
        pl.col("role").first().alias("target_role"),
        pl.col("role").gather(by_index).alias("target_roles"),
        pl.col("served").any().alias("_served"),
        pl.col("peer").any().alias("_peer"),
    )  # fmt: skip
    return _in_order(frame.join(rows, on="_row", how="inner"))


def _hits_of_one(frame: pl.DataFrame, target: Target) -> pl.DataFrame:
    """The rows in which the only target is found, where no row is a part of several: what `select` finds by joins."""
    found = matching.hits_of_one(frame, target)
    role = pl.col("rank").replace_strict(dict(enumerate(matching.ROLES)), return_dtype=pl.String)
    first = pl.repeat(1, pl.len(), dtype=pl.Int32)
    beside = found.select(
        target=first,
        targets=pl.concat_list(first),
        target_role=role,
        target_roles=pl.concat_list(role),
        _served="served",
        _peer="peer",
    )
    rows = frame if found.height == frame.height else frame[found["_row"]]
    return rows.hstack(beside)


def _in_order(joined: pl.DataFrame) -> pl.DataFrame:
    """The rows that were found, masked, by answer day and time."""
    order = (
        [pl.coalesce(times)]
        if (times := [name for name in ("start", "end", "reported_at") if name in joined.columns])
        else []
    )
    days = [ANSWER_DAY] if ANSWER_DAY in joined.columns else []
    return _masked(joined).sort(*days, *order, "_row", nulls_last=True).drop("_row", "_served", "_peer")


def _checked(records: pl.DataFrame, scope: Scope) -> pl.DataFrame:
    _require_inside(records, scope)
    return records.with_row_index("_row")


def _require_inside(records: pl.DataFrame, scope: Scope) -> None:
    if "record_class" not in records.columns:
        raise ScopeError("selecting rows: they do not tell their class; add a column record_class")
    outside = sorted(_classes(records["record_class"]) - scope.classes, key=str)
    if outside:
        raise ScopeError(f"selecting rows: class {outside[0]} is not in the scope ({', '.join(sorted(scope.classes))})")


def _classes(told: pl.Series) -> set[str | None]:
    """The classes of the rows: mostly one, or none at all, as a glance tells."""
    if not len(told):
        return set()
    if not told.null_count() and not (told != told[0]).any():
        return {told[0]}
    return set(told.unique().to_list())


def _parts(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows that are one part of several of a call: `_row`, source, correlation id and the day they answer to."""
    if not _has_parts(frame):
        return pl.DataFrame(schema={"_row": pl.UInt32, **dict.fromkeys(_CALL, pl.String), "_day": pl.Date})
    day = pl.col(ANSWER_DAY) if ANSWER_DAY in frame.columns else pl.lit(None, pl.Date)
    several = (pl.col("part") != "only") & pl.col("source").is_not_null() & pl.col("correlation_id").is_not_null()
    calls = (pl.col(name).cast(pl.String) for name in _CALL)
    return frame.filter(several.fill_null(False)).select("_row", *calls, _day=day)


def _has_parts(frame: pl.DataFrame) -> bool:
    return bool(frame.height) and {*_CALL, "part"} <= set(frame.columns) and _is_several(frame["part"])


def _is_several(part: pl.Series) -> bool:
    """Whether one of the rows may be a part of several."""
    return part.dtype != pl.Null and bool((part != "only").any())


def _part_hits(frame: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """Hits of the role `part`: rows of a call in which a target was found inside its window, but not in the row itself.

    Such a row is of a served party that is a target when it says so itself (the target is in it, though outside the
    window), or when it names no party at all and matched rows of the call are of a served target, on the same side.
    """
    parts = _parts(frame)
    inside = found.filter("inside")
    if parts.is_empty():
        return inside.drop("inside").clear()
    side = frame.select("_row", _side=pl.col("served") if "served" in frame.columns else pl.lit(None, pl.String))
    by_call = (
        inside.join(parts, on="_row")
        .join(side, on="_row")
        .group_by(*_CALL, "_day", "target")
        .agg(
            pl.col("_side").filter("served").unique().alias("_served_sides"),
            pl.col("served").any().alias("_call_served"),
            pl.col("peer").any().alias("_call_peer"),
        )
    )
    same_side = pl.col("_call_served") & (pl.col("_side").is_null() | pl.col("_side").is_in(pl.col("_served_sides")))
    own = found.group_by("_row", "target").agg(pl.col("served").any(), pl.col("peer").any())
    silent = frame.select("_row", _silent=_names_no_party(frame))
    return (
        parts.join(by_call, on=[*_CALL, "_day"], nulls_equal=True)
        .join(inside, on=["_row", "target"], how="anti")
        .join(own, on=["_row", "target"], how="left")
        .join(silent, on="_row")
        .join(side, on="_row")
        .select(
            "_row",
            "target",
            rank=pl.lit(matching.PART_RANK, pl.Int32),
            served=pl.col("served").fill_null(False) | (pl.col("_silent") & same_side.fill_null(False)),
            peer=pl.col("peer").fill_null(False) | (pl.col("_silent") & pl.col("_call_peer")),
        )
    )


def _names_no_party(frame: pl.DataFrame) -> pl.Expr:
    told = [pl.col(name).is_not_null() for name in NUMBER_COLUMNS if name in frame.columns]
    if isinstance(frame.schema.get("other_parties"), pl.List):
        told.append(pl.col("other_parties").list.len().fill_null(0) > 0)
    return ~pl.any_horizontal(told) if told else pl.lit(True)


def _masked(rows: pl.DataFrame) -> pl.DataFrame:
    served, peer = pl.col("_served"), pl.col("_peer")
    masks = [
        *((name, served) for name in SERVED_COLUMNS),
        *((name, peer) for name in PEER_COLUMNS),
        ("utc_offset", served | ~pl.col("record_class").is_in(OFFSET_CLASSES)),
    ]
    if rows["_served"].all():
        # Nothing of the served party is left out of any row.
        masks = [(name, peer) for name in PEER_COLUMNS]
    return rows.with_columns(
        pl.when(shown).then(pl.col(name)).alias(name) for name, shown in masks if name in rows.columns
    )
