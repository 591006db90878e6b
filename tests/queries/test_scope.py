"""Which rows a scope reaches, and what of them it hides."""

from __future__ import annotations

import ast
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import queries
from ingest.record import BY_NAME, INTERVAL_CLASSES, MOBILE_CLASSES, SCHEMA, category_of
from queries import matching
from queries.scope import (
    OFFSET_CLASSES,
    PEER_COLUMNS,
    SERVED_COLUMNS,
    TARGET_SCHEMA,
    WHERE_COLUMNS,
    Scope,
    ScopeError,
    Target,
    prefilter,
    select,
    targets_table,
)
from queries.target import TYPES
from tests.queries.june import CELL, FROM, NOON, TO, A, B, C, Make, roles

MATCHES: list[tuple[str, str, dict[str, Any], str | None]] = [
    ("msisdn", A, {"a_number": A}, "a"),
    ("msisdn", A, {"a_asserted": A}, "a"),
    ("msisdn", A, {"a_asserted": A, "a_number": A}, "a"),
    ("msisdn", A, {"a_asserted": B, "a_number": A}, "presented"),
    ("msisdn", A, {"b_number": A}, "b"),
    ("msisdn", A, {"c_number": A}, "c"),
    ("msisdn", A, {"other_parties": [{"role": "x", "number": B}, {"role": "y", "number": A}]}, "other"),
    ("msisdn", A, {"dialled": A}, None),
    ("msisdn", A, {"a_raw": A}, None),
    ("msisdn", A, {"a_number": A[:-1]}, None),
    ("extension", "1001@acme", {"b_number": "1001@acme", "b_kind": "extension"}, "b"),
    ("extension", "1001@acme", {"b_number": "1001@acme", "b_kind": "uri"}, None),
    ("extension", "1001@acme", {"b_number": "1001@other", "b_kind": "extension"}, None),
    ("uri", "jan@sip.example", {"a_number": "jan@sip.example", "a_kind": "uri"}, "a"),
    ("uri", "jan@sip.example", {"a_number": "jan@sip.example"}, "a"),
    ("imsi", "204990000000001", {"imsi": "204990000000001"}, "served"),
    ("imsi", "204990000000001", {"peer_imsi": "204990000000001"}, "peer"),
    ("imei", "35000000000001", {"imei": "35000000000001"}, "served"),
    ("imei", "35000000000001", {"peer_imei": "35000000000001"}, "peer"),
    ("iccid", "8931000000000000001", {"iccid": "8931000000000000001"}, "served"),
    ("line", "line-7", {"line": "line-7"}, "served"),
    ("user", "jan", {"user_name": "jan"}, "served"),
    ("session", "abc", {"session_id": "abc"}, "served"),
    ("mac", "02:00:00:00:00:01", {"mac": "02:00:00:00:00:01"}, "served"),
    ("email", "jan@mail.example", {"mail_from": "jan@mail.example"}, "sender"),
    ("email", "jan@mail.example", {"mail_to": ["x@mail.example", "jan@mail.example"]}, "recipient"),
    ("cell", CELL, {"start_cell": CELL}, "cell"),
    ("cell", CELL, {"end_cell": CELL}, "cell"),
    ("number_range", "+31201234500..+31201234599", {"b_number": "+31201234567"}, "b"),
    ("number_range", "+31201234500..+31201234599", {"b_number": "+31201234600"}, None),
    ("number_range", "+31201234500..+31201234599", {"b_number": "+312012345678"}, None),
    ("number_range", "+31201234500..+31201234599", {"other_parties": [{"role": "x", "number": B}]}, "other"),
]


@pytest.mark.parametrize("case", MATCHES, ids=lambda case: f"{case[0]} in {' '.join(case[2])} gives {case[3]}")
def test_roles(case: tuple[str, str, dict[str, Any], str | None], rows: Make, target: Make, scope: Make) -> None:
    """A target is found in every role that holds it, and in no other column."""
    type_, value, row, role = case
    wanted = scope(target(type_, value))
    frame = rows({"start": NOON} | row, {"start": NOON, "a_number": "+31999"})

    found = select(frame, wanted)

    assert roles(found) == ([(1, role)] if role else [])
    # The kind of a party is left to `select`.
    kept = role is not None or row.get("b_kind") == "uri"
    assert frame.filter(prefilter(wanted, frame.columns))["row"].to_list() == ([1] if kept else [])


ADDRESSES: list[tuple[str, str, dict[str, Any], bool]] = [
    ("ip", "192.0.2.1", {"public_ip": "192.0.2.1"}, True),
    ("ip", "192.0.2.1", {"access_ip": "192.0.2.1"}, True),
    ("ip", "192.0.2.1", {"private_ip": "192.0.2.1"}, False),
    ("ip", "192.0.2.1", {"public_ip": "192.0.2.0", "prefix_length": 24}, True),
    ("ip", "192.0.3.1", {"public_ip": "192.0.2.0", "prefix_length": 24}, False),
    ("ip", "192.0.2.1", {"public_ip": "192.0.3.1", "prefix_length": 0}, False),
    ("ip", "2001:db8:1::5", {"public_ip": "2001:db8:1::", "prefix_length": 48}, True),
    ("ip", "2001:db8:2::5", {"public_ip": "2001:db8:1::", "prefix_length": 48}, False),
    ("ip_port", "192.0.2.1:1024", {"public_ip": "192.0.2.1", "port_from": 1024, "port_to": 2047}, True),
    ("ip_port", "192.0.2.1:2047", {"public_ip": "192.0.2.1", "port_from": 1024, "port_to": 2047}, True),
    ("ip_port", "192.0.2.1:2048", {"public_ip": "192.0.2.1", "port_from": 1024, "port_to": 2047}, False),
    ("ip_port", "192.0.2.1:1023", {"public_ip": "192.0.2.1", "port_from": 1024, "port_to": 2047}, False),
    ("ip_port", "192.0.2.1:443", {"public_ip": "192.0.2.1", "port_from": 443}, True),
    ("ip_port", "192.0.2.1:444", {"public_ip": "192.0.2.1", "port_from": 443}, False),
    ("ip_port", "192.0.2.1:443", {"public_ip": "192.0.2.1"}, True),
    ("ip_port", "192.0.2.1:443", {"access_ip": "192.0.2.1"}, False),
    ("ip_port", "192.0.2.1:443", {"public_ip": "192.0.2.9", "port_from": 443}, False),
    ("prefix", "192.0.2.0/24", {"public_ip": "192.0.2.77"}, True),
    ("prefix", "192.0.2.0/24", {"public_ip": "192.0.3.77"}, False),
    ("prefix", "192.0.2.0/24", {"access_ip": "192.0.2.77"}, True),
    ("prefix", "192.0.2.128/25", {"public_ip": "192.0.2.0", "prefix_length": 24}, True),
    ("prefix", "192.0.2.0/24", {"public_ip": "192.0.2.128", "prefix_length": 25}, True),
    ("prefix", "192.0.2.0/25", {"public_ip": "192.0.2.128", "prefix_length": 25}, False),
    ("prefix", "2001:db8::/32", {"public_ip": "2001:db8:7:7::1"}, True),
    ("prefix", "2001:db8:7:7::/64", {"public_ip": "2001:db8:7::", "prefix_length": 48}, True),
    ("prefix", "2001:db8:8:7::/64", {"public_ip": "2001:db8:7::", "prefix_length": 48}, False),
    ("prefix", "2001:db8::1/128", {"public_ip": "2001:db8::1"}, True),
    ("prefix", "::/0", {"public_ip": "192.0.2.1"}, False),
    ("prefix", "0.0.0.0/0", {"public_ip": "192.0.2.1"}, True),
    ("prefix", "0.0.0.0/0", {"public_ip": "2001:db8::1"}, False),
]


@pytest.mark.parametrize(
    "case", ADDRESSES, ids=lambda case: f"{case[1]} against {' '.join(map(str, case[2].values()))}"
)
def test_addresses(
    case: tuple[str, str, dict[str, Any], bool], rows: Make, target: Make, scope: Make, pack: Make
) -> None:
    """An address is found by containment both ways, within its family, and a port within its block."""
    type_, value, row, expected = case
    stored = {name: pack(item) if name.endswith("_ip") else item for name, item in row.items()}
    wanted = scope(target(type_, value))
    frame = rows({"start": NOON} | stored)

    assert roles(select(frame, wanted)) == ([(1, "served")] if expected else [])
    assert frame.filter(prefilter(wanted, frame.columns)).height == int(expected)


H = timedelta(hours=1)
WINDOWS: list[tuple[str, dict[str, datetime], bool]] = [
    ("at the first moment", {"start": FROM}, True),
    ("just before it", {"start": FROM - timedelta(microseconds=1)}, False),
    ("at the end, which is outside", {"start": TO}, False),
    ("just before the end", {"start": TO - timedelta(microseconds=1)}, True),
    ("running into the window", {"start": FROM - H, "end": FROM + H}, True),
    ("ending at the first moment", {"start": FROM - H, "end": FROM}, True),
    ("over before the window", {"start": FROM - 2 * H, "end": FROM - H}, False),
    ("around the window", {"start": FROM - H, "end": TO + H}, True),
    ("still open, reported inside", {"start": FROM - H, "reported_at": FROM + H}, True),
    ("only its end is told", {"end": FROM + H}, True),
    ("its end before its start (a wrong clock)", {"start": FROM, "end": FROM - H}, True),
]


@pytest.mark.parametrize("case", WINDOWS, ids=lambda case: case[0])
def test_windows(case: tuple[str, dict[str, datetime], bool], rows: Make, target: Make, scope: Make) -> None:
    """A record is in a window when [start, end] overlaps [from, to)."""
    _, times, expected = case

    assert select(rows({"a_number": A} | times), scope(target("msisdn", A))).height == int(expected)


def test_several_targets(rows: Make, target: Make, scope: Make) -> None:
    """A row that several targets match appears once, under the lowest, with all of them beside it."""
    wanted = scope(target("msisdn", C), target("msisdn", B), target("msisdn", A), target("msisdn", A, TO, TO + H))
    found = select(rows({"a_number": A, "b_number": B, "start": NOON}), wanted)

    assert found.select("target", "targets", "target_role", "target_roles").to_dicts() == [
        {"target": 2, "targets": [2, 3], "target_role": "b", "target_roles": ["b", "a"]}
    ]


FULL = {
    "start": NOON,
    "a_number": A,
    "b_number": B,
    "public_ip": bytes(16),
    "private_ip": bytes(16),
    "access_ip": bytes(16),
    "prefix_length": 64,
    "port_from": 1,
    "port_to": 2,
    "utc_offset": 120,
} | {name: f"<{name}>" for name in (*SERVED_COLUMNS, *PEER_COLUMNS) if str(SCHEMA.field(name).type) == "string"}


@pytest.mark.parametrize(
    ("type", "value", "served", "shows_served", "shows_peer"),
    [
        ("msisdn", A, "a", True, False),
        ("msisdn", A, "b", False, True),
        ("msisdn", A, "c", False, False),
        ("msisdn", A, "none", False, False),
        ("msisdn", A, None, False, False),
        ("msisdn", B, "a", False, True),
        ("msisdn", B, "b", True, False),
        ("imsi", "<imsi>", "a", True, False),
        ("imsi", "<imsi>", None, True, False),
        ("imsi", "<peer_imsi>", "a", False, True),
        ("line", "<line>", "none", True, False),
        ("cell", "<start_cell>", "b", True, False),
    ],
)
def test_masks(
    type: str,
    value: str,
    served: str | None,
    shows_served: bool,
    shows_peer: bool,
    rows: Make,
    target: Make,
    scope: Make,
) -> None:
    """What a record says of a party is output only when that party is a target."""
    frame = rows(FULL | {"served": served, "record_class": "mobile_usage"})

    (found,) = select(frame, scope(target(type, value))).to_dicts()

    assert [name for name in SERVED_COLUMNS if (found[name] is not None) != shows_served] == []
    assert [name for name in PEER_COLUMNS if (found[name] is not None) != shows_peer] == []
    assert (found["utc_offset"] is not None) == shows_served
    assert found["a_number"] == A and found["b_number"] == B


def test_presented_number_is_a_claim(rows: Make, target: Make, scope: Make) -> None:
    """Who only presents a target's number does not disclose a place by it; the number the network knew does."""
    frame = rows(FULL | {"served": "a", "a_asserted": C})

    assert select(frame, scope(target("msisdn", A)))["start_cell"].to_list() == [None]
    assert select(frame, scope(target("msisdn", C)))["start_cell"].to_list() == ["<start_cell>"]


def test_both_parties_are_targets(rows: Make, target: Make, scope: Make) -> None:
    """With both parties as targets nothing is hidden; a window that is over hides again."""
    frame = rows(FULL | {"served": "a"})
    over = target("msisdn", A, FROM - H, FROM)

    (both,) = select(frame, scope(target("msisdn", B), target("msisdn", A))).to_dicts()
    (other,) = select(frame, scope(target("msisdn", B), over)).to_dicts()

    assert both["start_cell"] and both["peer_imsi"]
    assert other["start_cell"] is None and other["peer_imsi"] and other["targets"] == [1]


@pytest.mark.parametrize("record_class", sorted(INTERVAL_CLASSES))
def test_single_party_classes(record_class: str, rows: Make, target: Make, scope: Make) -> None:
    """A session or binding has one party, so an untold `served` is that party."""
    frame = rows({"start": NOON, "a_number": A, "imsi": "<imsi>", "record_class": record_class})

    assert select(frame, scope(target("msisdn", A)))["imsi"].to_list() == ["<imsi>"]


def test_mail_to_several(rows: Make, target: Make, scope: Make) -> None:
    """Of a mail to several, the record does not tell whose address it is; of a mail to one it does."""
    jan, piet = "jan@mail.example", "piet@mail.example"
    frame = rows(
        {"start": NOON, "served": "b", "mail_to": [jan, piet], "line": "1", "record_class": "email"},
        {"start": NOON, "served": "b", "mail_to": [jan], "line": "1", "record_class": "email"},
        {"start": NOON, "served": "a", "mail_from": jan, "mail_to": [piet], "line": "1", "record_class": "email"},
    )

    assert select(frame, scope(target("email", jan)))["line"].to_list() == [None, "1", "1"]


def test_utc_offset_of_fixed_classes(rows: Make, target: Make, scope: Make) -> None:
    """Outside the mobile classes the offset is the source's own and stays."""
    frame = rows(FULL | {"served": "a", "record_class": "voip"})

    assert select(frame, scope(target("msisdn", B)))["utc_offset"].to_list() == [120]


def test_few_columns(target: Make, scope: Make) -> None:
    """Columns that were not read are as if null, a column of nulls without a type too."""
    frame = pl.DataFrame({"a_number": [A], "b_number": [None], "start": [NOON], "record_class": ["voip"]})

    found = select(frame, scope(target("msisdn", A), target("ip_port", "192.0.2.1:80"), target("cell", CELL)))

    assert found["target"].to_list() == [1]
    assert select(frame.drop("a_number"), scope(target("msisdn", A))).height == 0
    assert frame.filter(prefilter(scope(target("cell", CELL)), frame.columns)).height == 0
    assert select(frame.select("record_class"), scope(target("cell", CELL))).columns[-4:] == [
        "target", "targets", "target_role", "target_roles",
    ]  # fmt: skip


def test_order_and_passing_columns(rows: Make, target: Make, scope: Make) -> None:
    """Rows come in time order, and columns the record doesn't know pass through."""
    frame = rows({"start": NOON + H, "a_number": A}, {"start": NOON, "a_number": A}).with_columns(_day=pl.lit("d"))
    found = select(frame, scope(target("msisdn", A)))

    assert found["row"].to_list() == [2, 1]
    assert found["_day"].to_list() == ["d", "d"]
    assert [name for name in found.columns if name.startswith("_")] == ["_day"]


def test_class_outside_the_scope(rows: Make, target: Make) -> None:
    """A row of a class that the warrant leaves out is refused, and so are rows that don't tell their class."""
    frame = rows({"start": NOON, "a_number": A})
    wanted = Scope((target("msisdn", A),), frozenset({"voip"}), frozenset({"who", "when"}))

    with pytest.raises(ScopeError, match="class telephony is not in the scope"):
        select(frame, wanted)
    with pytest.raises(ScopeError, match="record_class"):
        select(frame.drop("record_class"), wanted)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"type": "shoe"}, "not a type"),
        ({"end": FROM}, "two moments"),
        ({"start": datetime(2026, 1, 1)}, "two moments"),
        ({"type": "ip"}, "16 bytes"),
        ({"type": "ip", "value": b"1"}, "16 bytes"),
        ({"value": bytes(16)}, "must be text"),
        ({"upper": B}, "takes none"),
        ({"type": "number_range"}, "takes upper"),
        ({"type": "number_range", "upper": B + "1"}, "same length"),
        ({"type": "prefix", "value": bytes(16), "length": 129}, "address family"),
        ({"type": "prefix", "value": bytes(10) + b"\xff\xff" + bytes(4), "length": 33}, "address family"),
    ],
)
def test_impossible_targets(arguments: dict[str, Any], words: str) -> None:
    """A target that no record can be compared with is refused, without its value."""
    given_: dict[str, Any] = {"type": "msisdn", "value": A, "start": FROM, "end": TO} | arguments

    with pytest.raises(ScopeError, match=words) as refused:
        Target(**given_)
    assert A not in str(refused.value)


def test_targets_table_and_repr(target: Make, scope: Make) -> None:
    """`wanted` shows the targets as a person writes them; a representation of a target shows no value."""
    made = [
        target("msisdn", A),
        target("number_range", "+31201234500..+31201234599"),
        target("ip", "192.0.2.1"),
        target("ip_port", "192.0.2.1:80"),
        target("ip_port", "[2001:db8::1]:80"),
        target("prefix", "2001:db8::/32"),
    ]
    table = targets_table(scope(*made))

    assert table["index"].to_pylist() == [1, 2, 3, 4, 5, 6]
    assert table["value"].to_pylist() == [
        A, "+31201234500..+31201234599", "192.0.2.1", "192.0.2.1:80", "[2001:db8::1]:80", "2001:db8::/32",
    ]  # fmt: skip
    assert not any(str(item).strip("[]") in repr(made) for item in table["value"].to_pylist())
    with pytest.raises(ScopeError, match="has none"):
        _ = made[0].address


def test_names_are_those_of_the_record() -> None:
    """Every column this package names is one of the record, and its classes are the record's."""
    named = set(SERVED_COLUMNS) | set(PEER_COLUMNS) | {place.column for place in matching.PLACES}
    ours = {*TARGET_SCHEMA.names, "target", "rank", "served", "peer", "inside", "role"}
    for module in ("matching", "scope"):
        tree = ast.parse((Path(queries.__file__).parent / f"{module}.py").read_text())
        for node in ast.walk(tree):
            is_column = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "col"
            if is_column and isinstance(node, ast.Call) and isinstance(node.args[0], ast.Constant):
                named.add(str(node.args[0].value))

    assert {name for name in named if not name.startswith("_")} - set(BY_NAME) <= ours
    assert len(named & set(BY_NAME)) >= 40
    assert set(WHERE_COLUMNS) == {name for name in BY_NAME if category_of(name, "voip") == "where"}
    assert set().union(*(place.types for place in matching.PLACES)) == TYPES
    assert set(OFFSET_CLASSES) == MOBILE_CLASSES
    assert set(matching.SINGLE_PARTY_CLASSES) == INTERVAL_CLASSES
    assert not set(TARGET_SCHEMA.names) & set(BY_NAME)
