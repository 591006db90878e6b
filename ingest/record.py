"""The canonical record: one Arrow schema for every class, and the category of each of its columns.

A column's category decides which key seals it, so the map is total: `category_of` answers for every column of `COLUMNS`
and raises for any other name. `trafficvault/FORMAT.md` prints this table; a test compares the two.

Times are UTC microseconds. Addresses are 16 bytes, an IPv4 address as its IPv4-mapped IPv6 form (RFC 4291 §2.5.5.2).
Cells are written as TS 103 280 writes them (CGI `MCC-MNC-LAC-CI`, ECGI `MCC-MNC-ECI`, NCGI `MCC-MNC-NCI`, lower-case
hex).
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

WHO, WHERE, WHEN, HOW_MUCH, FRAME = CATEGORIES = ("who", "where", "when", "how_much", "frame")
DISCLOSABLE = (WHO, WHERE, WHEN, HOW_MUCH)
"""The categories a warrant may name; `frame` (footer and provenance) comes with any of them."""

CLASSES = (
    "telephony",
    "voip",
    "mobile_usage",
    "internet",
    "email",
    "roaming_notice",
    "bundle_notice",
    "binding",
    "server_use",
)
INTERVAL_CLASSES = frozenset({"internet", "binding"})
"""Classes whose day is that of their end or latest report; the day of every other class is that of its start."""
MOBILE_CLASSES = frozenset({"mobile_usage", "roaming_notice", "bundle_notice"})
"""Classes whose UTC offset names the country and is therefore `where`."""

KINDS = ("e164", "short", "service", "alphanumeric", "extension", "uri", "unknown")
"""Kinds of a party. `unknown` is a number that no rule of its source's number plan explains: kept as it came."""
SERVED = ("a", "b", "c", "none")
PARTS = ("only", "first", "next", "last")

_TEXT = pa.string()
_TIME = pa.timestamp("us", tz="UTC")
_ADDRESS = pa.binary(16)
_PARTY = pa.list_(pa.struct([pa.field("role", _TEXT), pa.field("number", _TEXT)]))


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the record: its Arrow type, its category and what it means."""

    name: str
    type: pa.DataType
    category: str
    meaning: str


COLUMNS: tuple[Column, ...] = (
    # provenance
    Column("source", _TEXT, FRAME, "name of the source that delivered the record"),
    Column("batch", _TEXT, FRAME, "id of the batch (delivered file)"),
    Column("row", pa.int64(), FRAME, "number of the unit in the file, from 1"),
    Column("occurrence", pa.int32(), FRAME, "0 for the first of several equal rows of one file, then 1, 2, …"),
    Column("feed_digest", _TEXT, FRAME, "SHA-256 of the feed definition that read it"),
    Column("record_id", _TEXT, FRAME, "the source's own record id"),
    Column("read_note", _TEXT, FRAME, "what the reader had to assume: `latin-1`, …"),
    # who
    Column("served", _TEXT, WHO, "whose record it is: a, b, c or none"),
    Column("customer", _TEXT, WHO, "the contracting organisation (controller)"),
    Column("subscriber", _TEXT, WHO, "the operator's subscriber id"),
    Column(
        "a_number", _TEXT, WHO, "calling party, normalised; `+` and digits when e164, `ext@customer` when extension"
    ),
    Column("a_kind", _TEXT, WHO, "kind of a_number"),
    Column("a_raw", _TEXT, WHO, "calling party as delivered; null where a_number gives it back"),
    Column("a_asserted", _TEXT, WHO, "network-asserted calling number, normalised"),
    Column("b_number", _TEXT, WHO, "called party, normalised"),
    Column("b_kind", _TEXT, WHO, "kind of b_number"),
    Column("b_raw", _TEXT, WHO, "called party as delivered; null where b_number gives it back"),
    Column("c_number", _TEXT, WHO, "third party (forwarding or redirecting), normalised"),
    Column("c_kind", _TEXT, WHO, "kind of c_number"),
    Column("c_raw", _TEXT, WHO, "third party as delivered; null where c_number gives it back"),
    Column("other_parties", _PARTY, WHO, "further parties: role and normalised number"),
    Column("dialled", _TEXT, WHO, "dialled digits as delivered"),
    Column("routing_number", _TEXT, WHO, "routing number"),
    Column("carrier_in", _TEXT, WHO, "carrier or trunk the call came from"),
    Column("carrier_out", _TEXT, WHO, "carrier or trunk the call went to"),
    Column("imsi", _TEXT, WHO, "IMSI of the served party, 6 to 15 digits"),
    Column("imei", _TEXT, WHO, "IMEI of the served party, its first 14 digits"),
    Column("imei_raw", _TEXT, WHO, "IMEI as delivered; null where imei gives it back"),
    Column("iccid", _TEXT, WHO, "ICCID of the served party's SIM"),
    Column("eid", _TEXT, WHO, "EID of the served party's eUICC"),
    Column("peer_imsi", _TEXT, WHO, "IMSI of the other party; output only when that party is a target"),
    Column("peer_imei", _TEXT, WHO, "IMEI of the other party, 14 digits; output only when that party is a target"),
    Column("public_ip", _ADDRESS, WHO, "public address of the served party"),
    Column("private_ip", _ADDRESS, WHO, "private (inside) address of the served party"),
    Column(
        "prefix_length", pa.int32(), WHO, "prefix length that belongs to public_ip, in its own family (0–32 or 0–128)"
    ),
    Column("port_from", pa.int32(), WHO, "first public port of the served party"),
    Column("port_to", pa.int32(), WHO, "last public port of the served party"),
    Column("protocol", _TEXT, WHO, "transport protocol, lower case: tcp, udp, icmp or its number"),
    Column("access_ip", _ADDRESS, WHO, "address the device or mail client connected from"),
    Column("user_name", _TEXT, WHO, "user name of a log-in or session"),
    Column("line", _TEXT, WHO, "access line id"),
    Column("service_id", _TEXT, WHO, "id of the service a binding belongs to"),
    Column("nas", _TEXT, WHO, "network access server or NAT device"),
    Column("session_id", _TEXT, WHO, "session id given by the network"),
    Column("mac", _TEXT, WHO, "MAC address, lower case with colons"),
    Column("mail_from", _TEXT, WHO, "envelope sender, lower case"),
    Column("mail_to", pa.list_(_TEXT), WHO, "envelope recipients, lower case"),
    Column("correlation_id", _TEXT, WHO, "id that joins the parts and legs of one call"),
    Column("part", _TEXT, WHO, "only, first, next or last part of what correlation_id joins"),
    Column("extra_who", _TEXT, WHO, "further source columns assigned to who, as a JSON object of strings"),
    # where, of the served party
    Column("start_cell", _TEXT, WHERE, "cell at the start"),
    Column("end_cell", _TEXT, WHERE, "cell at the end"),
    Column("area", _TEXT, WHERE, "location or tracking area, or region"),
    Column("visited_plmn", _TEXT, WHERE, "visited network: MCC-MNC or TADIG code"),
    Column("visited_country", _TEXT, WHERE, "visited country, ISO 3166-1 alpha-2"),
    Column("wifi_ap", _TEXT, WHERE, "Wi-Fi access point"),
    Column("serving_node", _TEXT, WHERE, "serving network node"),
    Column("extra_where", _TEXT, WHERE, "further source columns assigned to where, as a JSON object of strings"),
    # when
    Column("start", _TIME, WHEN, "start, UTC"),
    Column("answer", _TIME, WHEN, "answer, UTC; null when it was not answered or not told"),
    Column("end", _TIME, WHEN, "end, UTC"),
    Column("reported_at", _TIME, WHEN, "latest report of an interval still open, UTC"),
    Column(
        "utc_offset",
        pa.int32(),
        WHEN,
        "offset of the source's local time, minutes east of UTC; `where` in mobile classes",
    ),
    Column(
        "time_note",
        _TEXT,
        WHEN,
        "ambiguous (doubled local hour), derived (zone out of the country), zone assumed (neither told: the source's, "
        "or the country's eastmost), clock_off, or null",
    ),
    Column("time_precision", _TEXT, WHEN, "precision of start: us, ms, cs, s, min"),
    Column("extra_when", _TEXT, WHEN, "further source columns assigned to when, as a JSON object of strings"),
    # how much
    Column(
        "event", _TEXT, HOW_MUCH, "call, attempt, sms, mms, data, voicemail, login, lease, port_block, notice, mail, …"
    ),
    Column("service", _TEXT, HOW_MUCH, "service used, in the source's words"),
    Column("direction", _TEXT, HOW_MUCH, "out, in, internal or transit, seen from the served party"),
    Column("duration_ms", pa.int64(), HOW_MUCH, "duration, milliseconds"),
    Column("bytes_up", pa.int64(), HOW_MUCH, "bytes sent by the served party"),
    Column("bytes_down", pa.int64(), HOW_MUCH, "bytes received by the served party"),
    Column("count", pa.int64(), HOW_MUCH, "number of units (messages, parts)"),
    Column("cause", _TEXT, HOW_MUCH, "cause of release or result"),
    Column("cause_scheme", _TEXT, HOW_MUCH, "what cause is a value of: q850, sip, asterisk, …"),
    Column("cli_withheld", pa.bool_(), HOW_MUCH, "true when the caller withheld the number"),
    Column("emergency", pa.bool_(), HOW_MUCH, "true for a call to an emergency number"),
    Column("technology", _TEXT, HOW_MUCH, "serving technology: 2g, 3g, 4g, 5g, wifi, isdn, pstn, sip, …"),
    Column(
        "extra_how_much", _TEXT, HOW_MUCH, "further source columns assigned to how_much, as a JSON object of strings"
    ),
)

BY_NAME: dict[str, Column] = {column.name: column for column in COLUMNS}
SCHEMA: pa.Schema = pa.schema([pa.field(column.name, column.type) for column in COLUMNS])
PROVENANCE = tuple(column.name for column in COLUMNS if column.category == FRAME)
CONTENT_FREE = tuple(column.name for column in COLUMNS if column.category != FRAME)
"""Every column that a feed may fill from its own columns, `record_id` apart."""


def category_of(column: str, record_class: str) -> str:
    """The category whose key seals `column` in a record of `record_class`.

    Raises `KeyError` for a column that is not of the record: such a column would be written in plaintext.
    """
    if column == "utc_offset" and record_class in MOBILE_CLASSES:
        return WHERE
    return BY_NAME[column].category


def columns_of(category: str, record_class: str) -> tuple[str, ...]:
    """The columns of `record_class` that `category` seals, in schema order."""
    return tuple(column.name for column in COLUMNS if category_of(column.name, record_class) == category)


def leaf_paths(field: pa.Field) -> tuple[str, ...]:
    """The Parquet leaf paths of `field` (`mail_to` → `mail_to.list.element`), which column keys are given by."""

    def walk(prefix: str, type_: pa.DataType) -> list[str]:
        if pa.types.is_list(type_):
            return walk(f"{prefix}.list.element", type_.value_type)
        if pa.types.is_struct(type_):
            return [path for child in type_ for path in walk(f"{prefix}.{child.name}", child.type)]
        return [prefix]

    return tuple(walk(field.name, field.type))
