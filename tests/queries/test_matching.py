"""Where a target is found in a record, against slow oracles: the span of a record, prefixes, ports, number ranges."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from queries import matching
from queries.scope import Target
from tests.thorough import as_many

Make = Callable[..., Any]
Row = dict[str, Any]

A = "+31612345678"
FROM, TO = datetime(2026, 6, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC)
H = timedelta(hours=1)
HOUR_MS = 3_600_000
MOMENT = pl.Datetime("us", "UTC")
MAPPED = bytes(10) + b"\xff\xff"
TYPES: dict[str, Any] = {
    "record_class": pl.String, "start": MOMENT, "end": MOMENT, "reported_at": MOMENT, "duration_ms": pl.Int64,
    "a_number": pl.String, "public_ip": pl.Binary, "access_ip": pl.Binary, "prefix_length": pl.Int32,
    "port_from": pl.Int32, "port_to": pl.Int32,
}  # fmt: skip


def found(rows: list[Row], target: Target) -> list[int]:
    """The places of the rows that hold `target` inside its window; the filter for reading must let each through."""
    frame = pl.DataFrame(rows, schema=TYPES).with_row_index("_row")
    hits = matching.hits(frame, [target]).filter("inside")["_row"].unique().sort().to_list()
    passed = frame.filter(matching.prefilter([target], frame.columns))["_row"].to_list()
    assert set(hits) <= set(passed)
    return hits


# --- spans ------------------------------------------------------------------------------------------------------------

SPANS: list[tuple[str, str, Row, bool]] = [
    ("its duration reaches the window", "voip", {"start": FROM - H, "duration_ms": HOUR_MS}, True),
    ("its duration falls short", "voip", {"start": FROM - H, "duration_ms": HOUR_MS - 1}, False),
    ("its end goes before its duration", "voip",
     {"start": FROM - 2 * H, "end": FROM - H, "duration_ms": 9 * HOUR_MS}, False),
    ("a report after what its duration says", "internet",
     {"start": FROM - 9 * H, "duration_ms": 1, "reported_at": FROM}, True),
    ("a duration beyond its report", "internet",
     {"start": FROM - 9 * H, "duration_ms": 9 * HOUR_MS, "reported_at": FROM - H}, True),
    ("a duration below nothing", "voip", {"start": FROM, "duration_ms": -HOUR_MS}, True),
    ("a duration without bound", "voip", {"start": FROM - H, "duration_ms": 2**63 - 1}, True),
    ("a duration at the end of the calendar", "voip", {"start": matching.FOREVER, "duration_ms": 2**62}, False),
    ("a duration without start", "voip", {"duration_ms": 5}, False),
    ("a call without end is where it began", "voip", {"start": FROM - H}, False),
    ("a session without end too", "internet", {"start": FROM - H}, False),
    ("a binding without end lasts on", "binding", {"start": FROM - 9000 * H}, True),
    ("a binding that begins after the window", "binding", {"start": TO}, False),
    ("a binding with an end is over", "binding", {"start": FROM - 2 * H, "end": FROM - H}, False),
    ("a binding that was last reported before", "binding", {"start": FROM - 2 * H, "reported_at": FROM - H}, False),
    ("a binding with a duration", "binding", {"start": FROM - 2 * H, "duration_ms": HOUR_MS}, False),
    ("a binding of which nothing is told", "binding", {}, False),
    ("a binding of which the end alone is told", "binding", {"end": FROM - H}, False),
]  # fmt: skip


@pytest.mark.parametrize("case", SPANS, ids=lambda case: case[0])
def test_spans(case: tuple[str, str, Row, bool]) -> None:
    """A record lasts to its end, or what its duration or report gives; a binding that tells none lasts on."""
    _, record_class, times, expected = case
    row = {"record_class": record_class, "a_number": A} | times

    assert found([row], Target("msisdn", A, FROM, TO)) == [0][: int(expected)]
    read = pl.DataFrame([row], schema={name: TYPES[name] for name in row}).with_row_index("_row")
    assert matching.hits(read, [Target("msisdn", A, FROM, TO)])["inside"].to_list() == [expected]


# --- addresses --------------------------------------------------------------------------------------------------------

V4 = st.tuples(st.sampled_from([0, 0xC0000200, 0xC0000000, 0xFFFFFFFF]), st.integers(0, 31)).map(
    lambda pair: ip_address(pair[0] ^ (1 << pair[1]) if pair[1] else pair[0])
)
V6 = st.tuples(st.sampled_from([0x20010DB8 << 96, (0x20010DB8 << 96) | 0xFFFF, 2**128 - 1]), st.integers(0, 127)).map(
    lambda pair: ip_address(pair[0] ^ (1 << pair[1]))
)
ADDRESSES = V4 | V6
LENGTHS = st.none() | st.integers(0, 128)
PORTS = st.none() | st.sampled_from([0, 1, 1023, 1024, 2047, 2048, 65535])


def packed(address: Any) -> bytes:
    """The 16 bytes of an address."""
    return bytes(address.packed if address.version == 6 else MAPPED + address.packed)


def network(address: Any, length: int | None) -> IPv4Network | IPv6Network:
    """What a record holds: the whole address without a length, with a length of nothing, and with one too long."""
    most = 32 if address.version == 4 else 128
    return ip_network((address, length if length and length <= most else most), strict=False)


def meet(one: Any, other: Any) -> bool:
    """Whether two networks are of one family and one holds the other."""
    return one.version == other.version and bool(one.overlaps(other))


STORED = st.lists(
    st.tuples(ADDRESSES, LENGTHS, st.none() | ADDRESSES, PORTS, PORTS), min_size=1, max_size=12
)  # fmt: skip


def stored(one: tuple[Any, ...]) -> Row:
    """A binding as it is stored."""
    address, length, access, low, high = one
    return {
        "record_class": "binding", "start": FROM, "public_ip": packed(address), "prefix_length": length,
        "access_ip": None if access is None else packed(access), "port_from": low, "port_to": high,
    }  # fmt: skip


@settings(max_examples=as_many(25), deadline=None)
@given(STORED, ADDRESSES, st.integers(0, 128))
def test_prefixes_as_ipaddress_sees_them(records: list[tuple[Any, ...]], address: Any, length: int) -> None:
    """A prefix is found where it and what the record holds contain one another, in either direction and one family."""
    length = min(length, 32 if address.version == 4 else 128)
    wanted = ip_network((address, length), strict=False)
    expected = [
        place
        for place, (held, own, access, *_) in enumerate(records)
        if meet(network(held, own), wanted) or (access is not None and access in wanted)
    ]
    target = Target("prefix", packed(wanted.network_address), FROM, TO, length=length)

    assert found([stored(one) for one in records], target) == expected


@settings(max_examples=as_many(25), deadline=None)
@given(STORED, ADDRESSES)
def test_addresses_as_ipaddress_sees_them(records: list[tuple[Any, ...]], address: Any) -> None:
    """An address is found where the record holds it or its prefix, whatever the ports."""
    expected = [
        place
        for place, (held, own, access, *_) in enumerate(records)
        if address in network(held, own) or access == address
    ]

    assert found([stored(one) for one in records], Target("ip", packed(address), FROM, TO)) == expected


@settings(max_examples=as_many(25), deadline=None)
@given(STORED, st.integers(0, 11), st.sampled_from([1, 1023, 1024, 1500, 2047, 2048, 65535]))
def test_ports_by_counting(records: list[tuple[Any, ...]], which: int, port: int) -> None:
    """A port is found in a block whichever end is told first, at the one port told, and in an address without ports."""
    address = records[which % len(records)][0]
    expected = []
    for place, (held, own, _, low, high) in enumerate(records):
        told = [end for end in (low, high) if end is not None]
        if address in network(held, own) and (not told or min(told) <= port <= max(told)):
            expected.append(place)

    assert found([stored(one) for one in records], Target("ip_port", packed(address), FROM, TO, port=port)) == expected


# --- numbers ----------------------------------------------------------------------------------------------------------

LOW = 31_201_230_000
NUMBERS = st.one_of(
    st.integers(LOW - 30, LOW + 30).map(lambda number: f"+{number}"),
    st.integers(LOW - 30, LOW + 30).map(str),
    st.integers(1, 9).map(lambda digit: f"+{LOW}{digit}"),
    st.sampled_from(
        ["+3120123", "+312012300.5", "+31201230 10", "+3120123001x", "+312012300é", "", "112", "1001@acme"]
    ),
)


@settings(max_examples=as_many(25), deadline=None)
@given(st.lists(st.none() | NUMBERS, min_size=1, max_size=12), st.integers(-20, 20), st.integers(0, 25))
def test_ranges_by_counting(numbers: list[str | None], shift: int, width: int) -> None:
    """A range of numbers is what counting from its first to its last gives: numbers of one length, and nothing else."""
    first, last = LOW + shift, LOW + shift + width
    counted = {f"+{number}" for number in range(first, last + 1)}
    expected = [place for place, number in enumerate(numbers) if number in counted]
    rows = [{"record_class": "voip", "start": FROM, "a_number": number} for number in numbers]

    assert found(rows, Target("number_range", f"+{first}", FROM, TO, upper=f"+{last}")) == expected
