"""Where in a record a target is found, and which part of the record is that target's own.

A target is found where any role of the record holds it: the a, b, c and further parties, the identity of the served
party (IMSI, IMEI, SIM, address, line, user, session, MAC), that of the other party, the envelope of a mail, or the
serving cell. Not searched: dialled digits (as typed, not a party), raw forms, and private addresses, which name nobody
by themselves.

A record ends where it tells so; an interval without an end where its duration or its latest report puts it; and a
binding that tells none of these has begun and not ended, so that it lasts on.

Nothing here looks at a window but `inside`, and nothing is masked: `queries.scope` does both. Columns are named as in
the canonical record; this package does not import it, and a test compares the names.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial, reduce
from operator import or_

import polars as pl

from queries.target import Target

ROLES = ("a", "b", "c", "presented", "other", "sender", "recipient", "served", "cell", "peer", "part")
"""What a target can be in a record, the most telling first.

`presented`: the number that was shown, while the network knew another one (a_asserted). `served`: found by an identity
of the served party. `peer`: found by an identity of the other party. `part`: the row belongs to a call that was found.
"""
PART_RANK = ROLES.index("part")
SINGLE_PARTY_CLASSES = ("internet", "binding")
"""Classes whose records have one party: without a told `served`, it is the a party whose record it is."""

OPEN_CLASS = "binding"
"""The class whose records without end, duration and report are still open: an address is held until it is given up."""
FOREVER = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)

_MOMENT = pl.Datetime("us", "UTC")
# Made once: of a moment, each makes a column of its own.
_NO_MOMENT, _FOREVER = pl.lit(None, _MOMENT), pl.lit(FOREVER, _MOMENT)
_LONGEST_MS = 10 * 366 * 86_400_000
"""A duration beyond ten years is a mistake of its source: it is taken as ten years, which also bounds the sum."""
_PARTY_TYPES = frozenset({"msisdn", "extension", "uri", "number_range"})
_KIND_OF_TYPE = {"extension": "extension", "uri": "uri"}
_V4_MAPPED = bytes(10) + b"\xff\xff"


@dataclass(frozen=True, slots=True)
class Place:
    """A column that can hold a target of the given types, and what such a target is then."""

    column: str
    role: str
    types: frozenset[str]
    kind: str | None = None


PLACES = (
    Place("a_asserted", "a", _PARTY_TYPES),
    Place("a_number", "a", _PARTY_TYPES, "a_kind"),
    Place("b_number", "b", _PARTY_TYPES, "b_kind"),
    Place("c_number", "c", _PARTY_TYPES, "c_kind"),
    Place("other_parties", "other", _PARTY_TYPES),
    Place("imsi", "served", frozenset({"imsi"})),
    Place("peer_imsi", "peer", frozenset({"imsi"})),
    Place("imei", "served", frozenset({"imei"})),
    Place("peer_imei", "peer", frozenset({"imei"})),
    Place("iccid", "served", frozenset({"iccid"})),
    Place("line", "served", frozenset({"line"})),
    Place("user_name", "served", frozenset({"user"})),
    Place("session_id", "served", frozenset({"session"})),
    Place("mac", "served", frozenset({"mac"})),
    Place("mail_from", "sender", frozenset({"email"})),
    Place("mail_to", "recipient", frozenset({"email"})),
    Place("start_cell", "cell", frozenset({"cell"})),
    Place("end_cell", "cell", frozenset({"cell"})),
    Place("public_ip", "served", frozenset({"ip", "ip_port", "prefix"})),
    Place("access_ip", "served", frozenset({"ip", "prefix"})),
)


def prefilter(targets: Iterable[Target], columns: Collection[str]) -> pl.Expr:
    """A filter that holds for every record of `columns` in which a target is found, and may hold for others."""
    wanted = tuple(targets)
    tests: list[pl.Expr] = []
    for place in PLACES:
        if place.column not in columns:
            continue
        here = [target for target in wanted if target.type in place.types]
        exact = [str(target.value) for target in here if not _is_containment(target)]
        if exact:
            tests.append(_in_list(place.column, partial(_one_of, exact)))
        for target in here:
            if _is_containment(target):
                tests.append(_containment(place, target, columns))
    if not tests:
        return pl.lit(False)
    return reduce(or_, [test.fill_null(False) for test in tests])


def hits(records: pl.DataFrame, targets: Iterable[Target]) -> pl.DataFrame:
    """One line per row and place where a target is found.

    `records` has a column `_row`. The lines have `_row`, `target` (from 1), `rank` (position in `ROLES`), `served` and
    `peer` (whether the served or the other party is then the target) and `inside` (whether the row overlaps the
    window).
    """
    wanted = list(enumerate(targets, start=1))
    facts = records.select("_row", _served(records), *_span(records))
    lines = [
        _found(records, place, numbered).join(facts, on="_row")
        for place in PLACES
        if _usable(records, place.column) and (numbered := [entry for entry in wanted if entry[1].type in place.types])
    ]
    empty = pl.DataFrame(schema={"_row": pl.UInt32, "target": pl.Int32, "rank": pl.Int32, "_party": pl.String})
    found = pl.concat(lines) if lines else empty.join(facts, on="_row")
    windows = pl.DataFrame(
        {
            "target": [number for number, _ in wanted],
            "_from": [target.start for _, target in wanted],
            "_to": [target.end for _, target in wanted],
        },
        schema={"target": pl.Int32, "_from": pl.Datetime("us", "UTC"), "_to": pl.Datetime("us", "UTC")},
    )
    party = pl.col("_party")
    return found.join(windows, on="target").select(
        "_row",
        "target",
        "rank",
        served=_is_served(party),
        peer=_is_peer(party),
        inside=_is_inside(pl.col("_from"), pl.col("_to")),
    )


def hits_of_one(records: pl.DataFrame, target: Target) -> pl.DataFrame:
    """What `hits` tells of a single target, the lines of a row taken together, of the rows that overlap its window:
    `_row`, the least `rank`, and whether any place makes it `served` or `peer`.

    Nothing is joined, since each line is of its row: for the warrant that most are.
    """
    there = [place for place in PLACES if target.type in place.types and _usable(records, place.column)]
    told = [_served(records), *_span(records)]
    for index, place in enumerate(there):
        _, rank, party = _aside(records, place)
        told += [_holds(records, place, target).fill_null(False).alias(f"hit_{index}")]
        told += [rank.alias(f"rank_{index}"), party.alias(f"party_{index}")]
    lines = [(pl.col(f"hit_{index}"), pl.col(f"rank_{index}"), pl.col(f"party_{index}")) for index in range(len(there))]
    found = records.select("_row", *told).select(
        "_row",
        rank=pl.min_horizontal([pl.lit(None, pl.Int32), *(pl.when(hit).then(rank) for hit, rank, _ in lines)]),
        served=pl.any_horizontal([pl.lit(False), *(hit & _is_served(party) for hit, _, party in lines)]),
        peer=pl.any_horizontal([pl.lit(False), *(hit & _is_peer(party) for hit, _, party in lines)]),
        inside=_is_inside(pl.lit(target.start, _MOMENT), pl.lit(target.end, _MOMENT)),
    )
    return found.filter(pl.col("inside") & pl.col("rank").is_not_null()).drop("inside")


def _holds(records: pl.DataFrame, place: Place, target: Target) -> pl.Expr:
    """Whether `place` holds `target`, null or false where it does not."""
    if _is_containment(target):
        return _containment(place, target, records.columns)
    test = _in_list(place.column, partial(_is, str(target.value)))
    wanted = _KIND_OF_TYPE.get(target.type)
    if wanted is None or place.kind is None or not _usable(records, place.kind):
        return test
    return test & pl.col(place.kind).eq(wanted).fill_null(True)


def _is_served(party: pl.Expr) -> pl.Expr:
    return ((party == "served") | (party == pl.col("_served"))).fill_null(False)


def _is_peer(party: pl.Expr) -> pl.Expr:
    served = pl.col("_served")
    opposite = ((served == "a") & (party == "b")) | ((served == "b") & (party == "a"))
    return ((party == "peer") | opposite).fill_null(False)


def _is_inside(start: pl.Expr, end: pl.Expr) -> pl.Expr:
    """Whether the record overlaps the window [start, end)."""
    return ((pl.col("_begin") < end) & (pl.col("_finish") >= start)).fill_null(False)


def _found(records: pl.DataFrame, place: Place, targets: list[tuple[int, Target]]) -> pl.DataFrame:
    """The rows whose `place` holds a target: `_row`, `target`, `rank`, `_party` (a, b, c, served, peer or null)."""
    frame = records.select("_row", pl.col(place.column).alias("_key"), *_aside(records, place))
    if isinstance(records.get_column(place.column).dtype, pl.List):
        frame = frame.explode("_key")
        if place.column == "other_parties":
            frame = frame.with_columns(_key=pl.col("_key").struct.field("number"))
    exact = [(number, target) for number, target in targets if not _is_containment(target)]
    matched = []
    if exact:
        table = pl.DataFrame(
            {
                "target": [number for number, _ in exact],
                "_key": [str(target.value) for _, target in exact],
                "_wanted_kind": [_KIND_OF_TYPE.get(target.type) for _, target in exact],
            },
            schema={"target": pl.Int32, "_key": pl.String, "_wanted_kind": pl.String},
        )
        kind, kind_wanted = pl.col("_kind"), pl.col("_wanted_kind")
        matched.append(
            frame.join(table, on="_key")
            .filter(kind.is_null() | kind_wanted.is_null() | (kind == kind_wanted))
            .select("_row", "target", "_rank", "_party")
        )
    for number, target in targets:
        if _is_containment(target):
            inside = records.filter(_containment(place, target, records.columns).fill_null(False)).select("_row")
            labelled = inside.with_columns(target=pl.lit(number, pl.Int32))
            matched.append(labelled.join(frame, on="_row").select("_row", "target", "_rank", "_party"))
    return pl.concat(matched).rename({"_rank": "rank"})


def _aside(records: pl.DataFrame, place: Place) -> list[pl.Expr]:
    """Kind, rank of the role and party of `place`, row by row."""
    null = pl.lit(None, pl.String)
    kind = pl.col(place.kind) if place.kind is not None and _usable(records, place.kind) else null
    rank: pl.Expr = pl.lit(ROLES.index(place.role), pl.Int32)
    party: pl.Expr = {"sender": pl.lit("a"), "recipient": pl.lit("b"), "cell": pl.lit("served"), "other": null}.get(
        place.role, pl.lit(place.role)
    )
    if place.column == "mail_to":
        # A mail to several: the row does not tell which of the recipients it serves.
        party = pl.when(pl.col("mail_to").list.len() == 1).then(party)
    if place.column == "a_number" and _usable(records, "a_asserted"):
        # A presented number is a claim of the caller; the record is that of the number the network knew.
        claimed = pl.col("a_asserted").ne(pl.col("a_number")).fill_null(False)
        presented = pl.lit(ROLES.index("presented"), pl.Int32)
        rank, party = pl.when(claimed).then(presented).otherwise(rank), pl.when(~claimed).then(party)
    return [kind.alias("_kind"), rank.alias("_rank"), party.alias("_party")]


def _served(records: pl.DataFrame) -> pl.Expr:
    """Whose record it is: a, b, c or null."""
    told = pl.col("served") if _usable(records, "served") else pl.lit(None, pl.String)
    single = pl.col("record_class").is_in(SINGLE_PARTY_CLASSES)
    return pl.when(told.is_in(["a", "b", "c"])).then(told).when(single).then(pl.lit("a")).alias("_served")


def _span(records: pl.DataFrame) -> list[pl.Expr]:
    """First and last moment of a record, both of them in it."""
    start, end, reported = (_moment(records, name) for name in ("start", "end", "reported_at"))
    lasted = _NO_MOMENT
    if _usable(records, "duration_ms"):
        # A broken source may name a start at the end of the calendar, and the sum would pass it.
        length = pl.duration(milliseconds=pl.col("duration_ms").clip(0, _LONGEST_MS))
        lasted = pl.min_horizontal(start, _FOREVER - length) + length
        lasted = pl.when(start.is_not_null() & pl.col("duration_ms").is_not_null()).then(lasted)
    begin = pl.coalesce(start, end, reported)
    # A report after the time that the duration gives says that the interval was still open.
    known = pl.coalesce(end, pl.max_horizontal(lasted, reported))
    is_open = known.is_null() & start.is_not_null() & (pl.col("record_class") == OPEN_CLASS)
    finish = pl.when(is_open).then(_FOREVER).otherwise(pl.max_horizontal(begin, known))
    return [begin.alias("_begin"), finish.alias("_finish")]


def _moment(records: pl.DataFrame, column: str) -> pl.Expr:
    return pl.col(column) if _usable(records, column) else _NO_MOMENT


def _usable(records: pl.DataFrame, column: str) -> bool:
    found = records.get_column(column, default=None)
    return found is not None and found.dtype != pl.Null


def _is(value: str, item: pl.Expr) -> pl.Expr:
    return item == value


def _one_of(values: list[str], item: pl.Expr) -> pl.Expr:
    return item.is_in(values)


def _in_range(low: str, high: str, item: pl.Expr) -> pl.Expr:
    # Of one length, the order of text is the order of numbers; of digits alone, or a text would slip in between.
    return (item.str.len_bytes() == len(low)) & (item >= low) & (item <= high) & item.str.contains(r"^\+?[0-9]+$")


def _in_list(column: str, test: Callable[[pl.Expr], pl.Expr]) -> pl.Expr:
    """`test` on the value of `column`, or on any element of it where it is a list."""
    if column == "other_parties":
        return pl.col(column).list.eval(test(pl.element().struct.field("number"))).list.any()
    if column == "mail_to":
        return pl.col(column).list.eval(test(pl.element())).list.any()
    return test(pl.col(column))


def _is_containment(target: Target) -> bool:
    return target.type in ("ip", "ip_port", "prefix", "number_range")


def _containment(place: Place, target: Target, columns: Collection[str]) -> pl.Expr:
    """Whether the column of `place` lies in `target`, or holds what `target` lies in."""
    if target.type == "number_range":
        low, high = str(target.value), str(target.upper)
        return _in_list(place.column, partial(_in_range, low, high))
    if place.column == "access_ip":
        return _common_bits(pl.col("access_ip"), target.address, None, target.bits)
    length = pl.col("prefix_length") if "prefix_length" in columns else None
    test = _common_bits(pl.col("public_ip"), target.address, length, target.bits)
    if target.port is None:
        return test
    null = pl.lit(None, pl.Int32)
    low_port = pl.col("port_from") if "port_from" in columns else null
    high_port = pl.col("port_to") if "port_to" in columns else null
    # Without ports the record holds the whole address; one port alone is a block of one, whichever end it is.
    least, most = pl.min_horizontal(low_port, high_port), pl.max_horizontal(low_port, high_port)
    within = (least <= target.port) & (most >= target.port)
    return test & ((low_port.is_null() & high_port.is_null()) | within)


def _common_bits(address: pl.Expr, value: bytes, length: pl.Expr | None, bits: int) -> pl.Expr:
    """Whether `address` (with its prefix `length`) and `value`/`bits` contain one another: the shorter prefix decides.

    Lengths count in the address's own family; both sides must be of one family. A length of 0 says nothing and is not
    used.
    """
    v4 = address.bin.starts_with(_V4_MAPPED)
    high = _half(address, 0) ^ pl.lit(int.from_bytes(value[:8], "big"), pl.UInt64)
    low = _half(address, 8) ^ pl.lit(int.from_bytes(value[8:], "big"), pl.UInt64)
    equal = pl.when(high != 0).then(high.bitwise_leading_zeros()).otherwise(64 + low.bitwise_leading_zeros())
    needed: pl.Expr = pl.lit(bits)
    if length is not None:
        own = pl.when(length > 0).then(length.cast(pl.Int32) + pl.when(v4).then(96).otherwise(0)).otherwise(128)
        needed = pl.min_horizontal(needed, own.fill_null(128))
    family = v4 if value.startswith(_V4_MAPPED) else ~v4
    return family & (equal.cast(pl.Int32) >= needed)


def _half(address: pl.Expr, offset: int) -> pl.Expr:
    return address.bin.slice(offset, 8).bin.reinterpret(dtype=pl.UInt64, endianness="big")
