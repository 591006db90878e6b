"""Who holds a number, an address or a device: what the bindings say."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

Make = Callable[..., Any]

A, B, C = "+31612345678", "+31201234567", "+31301234567"
NOON = datetime(2026, 6, 10, 12, tzinfo=UTC)
S, H, D = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)


def pick(answer: list[dict[str, Any]], *names: str) -> list[tuple[Any, ...]]:
    """Some columns of an answer."""
    return [tuple(row[name] for name in names) for row in answer]


def bindings(pack: Make) -> list[dict[str, Any]]:
    """Port blocks of one address, held by two subscribers, and an event that is no binding."""
    block = {"record_class": "binding", "public_ip": pack("192.0.2.1"), "customer": "acme"}
    return [
        block | {"start": NOON, "end": NOON + H, "port_from": 1024, "port_to": 2047, "subscriber": "s1", "a_number": A},
        block | {"start": NOON + H, "end": NOON + 2 * H, "port_from": 1024, "port_to": 2047, "subscriber": "s1"},
        block | {"start": NOON, "end": NOON + 2 * H, "port_from": 2048, "port_to": 4095, "subscriber": "s2"},
        block | {"record_class": "internet", "start": NOON, "port_from": 1024, "subscriber": "s9"},
    ]


def test_holder(rows: Make, target: Make, ask: Make, pack: Make) -> None:
    """The holder of an address and port at a moment is who the binding of that moment names."""
    at = [target("ip_port", "192.0.2.1:1500", NOON + 10 * S, NOON + 20 * S)]
    (answer,) = ask("holder", rows(*bindings(pack)), at)

    assert (answer["answer"], answer["subscriber"], answer["number"], answer["records"]) == ("held", "s1", A, 1)
    assert (answer["held_from"], answer["held_until"], answer["port_from"]) == (NOON, NOON + H, 1024)
    assert answer["target_value"] == "192.0.2.1:1500"


def test_holder_that_is_not_unique(rows: Make, target: Make, ask: Make, pack: Make) -> None:
    """More subscribers than the warrant allows are counted and not listed; one with several bindings is one."""
    frame = rows(*bindings(pack))
    by_address, by_block = target("ip", "192.0.2.1"), target("ip_port", "192.0.2.1:1500")

    (answer,) = ask("holder", frame, [by_address])
    assert answer["answer"] == "not unique: 2"
    assert {name for name, value in answer.items() if value is not None} == {
        "target",
        "target_type",
        "target_value",
        "answer",
    }
    assert pick(ask("holder", frame, [by_address], max_matches=2), "subscriber", "records") == [
        ("s1", 1),
        ("s2", 1),
        ("s1", 1),
    ]
    assert {row["subscriber"] for row in ask("holder", frame, [by_block])} == {"s1"}


HOLDERS: list[tuple[str, list[dict[str, Any]], str]] = [
    (
        "one subscriber id of two customers",
        [{"subscriber": "s", "customer": "x"}, {"subscriber": "s", "customer": "y"}],
        "2",
    ),
    ("two numbers", [{"a_number": A}, {"a_number": B}], "2"),
    ("two SIMs", [{"imsi": "1"}, {"imsi": "2"}], "2"),
    ("two log-ins", [{"user_name": "x"}, {"user_name": "y"}], "2"),
    ("two services", [{"service_id": "x"}, {"service_id": "y"}], "2"),
    ("nobody named", [{}, {}], "2"),
]


@pytest.mark.parametrize("case", HOLDERS, ids=lambda case: case[0])
def test_who_is_another_holder(
    case: tuple[str, list[dict[str, Any]], str], rows: Make, target: Make, ask: Make
) -> None:
    """Holders are told apart by whatever names them."""
    _, held, count = case
    frame = rows(
        *({"record_class": "binding", "start": NOON, "mac": "02:00:00:00:00:01", "line": "l"} | row for row in held)
    )
    answers = pick(ask("holder", frame, [target("line", "l")]), "answer")

    assert answers == [(f"not unique: {count}",)]


LASTING: list[tuple[str, list[dict[str, Any]], datetime | None]] = [
    ("never ended", [{}], None),
    ("an older lease that ended, and one that did not", [{"end": NOON}, {"start": NOON}], None),
    ("reported", [{"reported_at": NOON + H}], NOON + H),
    ("with a duration", [{"duration_ms": 7_200_000 + 24 * 3_600_000}], NOON + 2 * H),
    ("with a duration and a later report", [{"duration_ms": 1, "reported_at": NOON + H}], NOON + H),
    ("with an end that goes before both", [{"end": NOON, "duration_ms": 2**62, "reported_at": NOON + H}], NOON),
]


@pytest.mark.parametrize("case", LASTING, ids=lambda case: case[0])
def test_holder_of_a_binding_that_goes_on(
    case: tuple[str, list[dict[str, Any]], datetime | None], rows: Make, target: Make, ask: Make, pack: Make
) -> None:
    """An address whose binding has begun and never ended has a holder, and no moment until when."""
    _, leases, until = case
    day_before = {"record_class": "binding", "public_ip": pack("192.0.2.1"), "subscriber": "s1", "start": NOON - 24 * H}
    frame = rows(*(day_before | lease for lease in leases))
    (answer,) = ask("holder", frame, [target("ip", "192.0.2.1", NOON - 2 * H, NOON + 9 * H)])

    assert (answer["answer"], answer["subscriber"], answer["held_until"]) == ("held", "s1", until)
    assert ask("holder", frame, [target("ip", "192.0.2.1", NOON - 50 * H, NOON - 25 * H)]) == []


def test_holder_of_a_mac_by_line(rows: Make, target: Make, ask: Make) -> None:
    """A line names the holder of a MAC address; a number as target is none this question answers."""
    frame = rows({"record_class": "binding", "start": NOON, "mac": "02:00:00:00:00:01", "line": "l", "a_number": A})

    assert pick(ask("holder", frame, [target("mac", "02:00:00:00:00:01")]), "answer", "line") == [("held", "l")]
    assert ask("holder", frame, [target("msisdn", A)]) == []
