"""A subject's own records, and what of other people stands in them: for answers that go to a customer, not to an
authority.

A record is a subject's own when it is the record of theirs (the served party), or when it is nobody's in particular and
they are the caller or the called, the sender or the recipient. A part of such a call that names nobody goes with it. A
record of an organisation's user (`customer`) is never given: that organisation decides about it.

Of other people, only this is shown, whatever the source told (nummerafscherming):

- the number that the subject called, without its last four digits: `+31687650000` is `+3168765xxxx`;
- the number that called the subject in the same form, where the source says that it was not withheld;
- anything else (a short or service number, an extension, a name, a forwarding party, a mail address) as `hidden`.

SIM, device, address, user, line and place are those of the served party: of a record that is nobody's in particular
nobody knows whose they are (the address of a SIP message is that of whoever sent it), and they are not given.

Columns that can name others in a form of their own (raw forms, dialled digits, `extra_who`, trunks, the other party's
IMSI and IMEI, ids of calls) are left out; `COLUMNS` is what is given.
"""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from queries import matching
from queries.target import Target

HIDDEN = "hidden"
"""What stands in the place of somebody else."""
COLUMNS = (
    "record_class", "source", "batch", "row", "occurrence",
    "served", "subscriber", "a_number", "a_kind", "b_number", "b_kind", "c_number", "c_kind",
    "imsi", "imei", "iccid", "eid", "public_ip", "private_ip", "prefix_length", "port_from", "port_to", "protocol",
    "access_ip", "user_name", "line", "service_id", "session_id", "mac", "mail_from", "mail_to", "part",
    "start_cell", "end_cell", "area", "visited_plmn", "visited_country", "wifi_ap", "serving_node",
    "start", "answer", "end", "reported_at", "utc_offset", "time_note", "time_precision",
    "event", "service", "direction", "duration_ms", "bytes_up", "bytes_down", "count", "cause", "cause_scheme",
    "cli_withheld", "emergency", "technology",
)  # fmt: skip
"""The columns that a customer is given."""
DECIDING = (
    "served", "customer", "a_number", "a_kind", "a_asserted", "b_number", "b_kind", "c_number", "c_kind", "imsi",
    "iccid", "user_name", "line", "mail_from", "mail_to", "start", "end", "reported_at", "duration_ms",
)  # fmt: skip
"""The columns that decide whether a record is a subject's own."""

SERVED_PARTYS = (
    "subscriber", "imsi", "imei", "iccid", "eid", "public_ip", "private_ip", "prefix_length", "port_from", "port_to",
    "protocol", "access_ip", "user_name", "line", "service_id", "session_id", "mac", "start_cell", "end_cell", "area",
    "visited_plmn", "visited_country", "wifi_ap", "serving_node", "utc_offset",
)  # fmt: skip
"""The columns that tell of the served party, whoever that is: shown where it is the subject."""

_OWN_ROLES = tuple(matching.ROLES.index(role) for role in ("a", "b", "c", "sender", "recipient"))
_NUMBERS = ("msisdn", "extension", "uri")
_NATIONAL = r"^\+[0-9]{8,}$"
_LAST = 4
_CALL = ("source", "correlation_id")


def own(rows: pl.DataFrame, targets: Iterable[Target]) -> pl.Series:
    """Which of `rows` are records of the subject that `targets` name, in their windows: a mask. A record of an
    organisation's user is one as well, if it is of the subject. A column that is not there is null.
    """
    frame = rows.with_row_index("_row")
    found = matching.hits(frame, targets).filter("inside")
    single = pl.col("record_class").is_in(matching.SINGLE_PARTY_CLASSES)
    served = pl.col("served") if "served" in frame.columns else pl.lit(None, pl.String)
    nobodys = frame.filter(~served.is_in(["a", "b", "c"]).fill_null(False) & ~single).select("_row")
    as_party = found.filter(pl.col("rank").is_in(_OWN_ROLES)).join(nobodys, on="_row", how="semi")
    rows_found = pl.concat([found.filter("served").select("_row"), as_party.select("_row")]).unique()
    mine = frame.join(rows_found, on="_row", how="semi")
    if {*_CALL, "part"} <= set(frame.columns):
        several = (pl.col("part") != "only") & pl.col("correlation_id").is_not_null()
        silent = frame.filter(several.fill_null(False) & _names_nobody(frame))
        calls = mine.filter(several.fill_null(False)).select(*_CALL).unique()
        rows_found = pl.concat([rows_found, silent.join(calls, on=list(_CALL), how="semi").select("_row")]).unique()
    return frame.select(pl.col("_row").is_in(rows_found["_row"].implode()))["_row"]


def customers(rows: pl.DataFrame) -> list[str]:
    """The organisations whose users `rows` are of, sorted."""
    return sorted(rows["customer"].drop_nulls().unique().to_list()) if "customer" in rows.columns else []


def shown(rows: pl.DataFrame, targets: Iterable[Target]) -> pl.DataFrame:
    """`rows`, which are the subject's own, with `COLUMNS` alone (those that are there) and other people masked."""
    wanted = list(targets)
    numbers = [target.text for target in wanted if target.type in _NUMBERS]
    mails = [target.text for target in wanted if target.type == "email"]
    frame = rows.with_row_index("_row")
    hit = matching.hits(frame, wanted)
    served_rows = hit.filter("served")["_row"].unique().implode()
    told = pl.col("served") if "served" in frame.columns else pl.lit(None, pl.String)
    single = pl.col("record_class").is_in(matching.SINGLE_PARTY_CLASSES)
    side = pl.when(told.is_in(["a", "b", "c"])).then(told).when(single).then(pl.lit("a"))
    frame = frame.with_columns(_side=pl.when(pl.col("_row").is_in(served_rows)).then(side))
    calls = _mine("a", numbers, frame)
    withheld = pl.col("cli_withheld") if "cli_withheld" in frame.columns else pl.lit(None, pl.Boolean)
    known = {
        # Where nobody says whether a caller withheld their number, it is taken that they did.
        "a": withheld.eq(False).fill_null(False),
        "b": calls,
        "c": pl.lit(False),
    }
    masks = []
    for party, tellable in known.items():
        name = f"{party}_number"
        if name in frame.columns:
            value = pl.col(name)
            masked = pl.when(tellable).then(_masked(value)).otherwise(pl.lit(HIDDEN))
            mine = value.is_null() | _mine(party, numbers, frame)
            if party == "a" and "a_asserted" in frame.columns:
                # Of a caller who is the subject, a number that they showed may be somebody else's.
                asserted = pl.col("a_asserted")
                mine &= value.is_null() | asserted.is_null() | (asserted == value) | value.is_in(numbers)
            masks.append(pl.when(mine).then(value).otherwise(masked).alias(name))
    if "mail_from" in frame.columns:
        sender = pl.col("mail_from")
        mine = sender.is_null() | sender.is_in(mails)
        masks.append(pl.when(mine).then(sender).otherwise(pl.lit(HIDDEN)).alias("mail_from"))
    if isinstance(frame.schema.get("mail_to"), pl.List):
        one = pl.element()
        hidden = pl.when(one.is_in(mails)).then(one).otherwise(pl.lit(HIDDEN))
        masks.append(pl.col("mail_to").list.eval(hidden))
    is_served = pl.col("_row").is_in(served_rows)
    masks += [pl.when(is_served).then(pl.col(name)).alias(name) for name in SERVED_PARTYS if name in frame.columns]
    return frame.with_columns(masks).select(name for name in COLUMNS if name in frame.columns)


def _mine(party: str, numbers: list[str], frame: pl.DataFrame) -> pl.Expr:
    """Whether that party of a row is the subject: by its number, or because it is whose record it is."""
    name = f"{party}_number"
    named = pl.col(name).is_in(numbers).fill_null(False) if name in frame.columns else pl.lit(False)
    if party == "a" and "a_asserted" in frame.columns:
        # The number that was shown is a claim: of two, the one that the network knew is the caller's.
        asserted = pl.col("a_asserted")
        named = pl.when(asserted.is_null()).then(named).otherwise(asserted.is_in(numbers))
    return named | (pl.col("_side") == party).fill_null(False)


def _masked(value: pl.Expr) -> pl.Expr:
    short = value.str.head(-_LAST) + pl.lit("x" * _LAST)
    return pl.when(value.str.contains(_NATIONAL)).then(short).otherwise(pl.lit(HIDDEN))


def _names_nobody(frame: pl.DataFrame) -> pl.Expr:
    parties = ("a_number", "a_asserted", "b_number", "c_number", "mail_from", "imsi", "subscriber")
    told = [pl.col(name).is_not_null() for name in parties if name in frame.columns]
    if isinstance(frame.schema.get("other_parties"), pl.List):
        told.append(pl.col("other_parties").list.len().fill_null(0) > 0)
    return ~pl.any_horizontal(told) if told else pl.lit(True)
