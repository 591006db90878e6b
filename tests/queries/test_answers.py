"""Each shipped question on rows built by hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from ingest.record import COLUMNS, SCHEMA
from queries import engine
from queries.questions import questions
from queries.scope import select, targets_table

Make = Callable[..., Any]

A, B, C = "+31612345678", "+31201234567", "+31301234567"
NOON = datetime(2026, 6, 10, 12, tzinfo=UTC)
S, H, D = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)
CELL, OTHER_CELL = "204-99-0001-000a", "204-99-0001-000b"
NO_WHERE = frozenset({"who", "when", "how_much"})


def pick(answer: list[dict[str, Any]], *names: str) -> list[tuple[Any, ...]]:
    """Some columns of an answer."""
    return [tuple(row[name] for name in names) for row in answer]


def test_activity_shows_every_record(rows: Make, target: Make, ask: Make) -> None:
    """Each stored record is a row, in time order, with every covered column of the record and its provenance."""
    frame = rows(
        {"start": NOON + H, "served": "a", "a_number": A, "b_number": B, "start_cell": CELL, "event": "call"},
        {"start": NOON, "served": "b", "a_number": A, "b_number": B, "start_cell": OTHER_CELL, "event": "call"},
        {"start": NOON, "a_number": C},
    )
    answer = ask("activity", frame, [target("msisdn", A)])

    assert pick(answer, "row", "target", "target_role", "start_cell") == [(2, 1, "a", None), (1, 1, "a", CELL)]
    assert set(answer[0]) == {column.name for column in COLUMNS} | {
        "record_class", "target", "targets", "target_role", "target_roles", "assembled_end", "record_versions",
    }  # fmt: skip
    assert list(answer[0])[:3] == ["record_class", "target", "target_role"]


def test_activity_without_where(rows: Make, target: Make, ask: Make) -> None:
    """Without `where` no column of it is there, not even an empty one."""
    frame = rows({"start": NOON, "served": "a", "a_number": A, "start_cell": CELL})
    (answer,) = ask("activity", frame, [target("msisdn", A)], categories=NO_WHERE)

    assert not {column.name for column in COLUMNS if column.category == "where"} & set(answer)


def test_activity_assembles_calls(rows: Make, target: Make, scope: Make, grant: Make) -> None:
    """The first part of a call tells when its last part ended, though that is of the next day and shown there."""
    call = {"correlation_id": "k", "a_number": A}
    frame = rows(
        call | {"start": NOON, "part": "first"},
        call | {"start": NOON + S, "part": "next", "end": NOON + 9 * H},
        call | {"start": NOON + D, "part": "last", "end": NOON + D + H},
        {"start": NOON, "correlation_id": "other", "part": "first", "a_number": A},
        {"start": NOON, "correlation_id": "k", "part": "first", "a_number": A, "source": "another"},
    )
    wanted = scope(target("msisdn", A))
    found = select(frame, wanted)
    days = [
        found.with_columns(neighbour=pl.col("start").dt.date() != pl.lit(day)).to_arrow()
        for day in (NOON.date(), NOON.date() + D)
    ]
    first, second = engine.answers(
        questions()["activity"], days, targets_table(wanted), grant(), {}, engine.Limits(100.0), SCHEMA
    )

    assert pick(first.to_pylist(), "row", "assembled_end") == [(5, None), (1, NOON + D + H), (4, None), (2, None)]
    assert pick(second.to_pylist(), "row", "assembled_end") == [(3, None)]


def test_activity_counts_versions(rows: Make, target: Make, ask: Make) -> None:
    """Records that a source corrected stand side by side, and each says how many versions there are."""
    frame = rows(
        {"start": NOON, "a_number": A, "record_id": "7", "duration_ms": 1},
        {"start": NOON + S, "a_number": A, "record_id": "7", "duration_ms": 2},
        {"start": NOON + 2 * S, "a_number": A, "record_id": "7", "source": "another"},
        {"start": NOON + 3 * S, "a_number": A},
    )
    assert pick(ask("activity", frame, [target("msisdn", A)]), "record_versions") == [(2,), (2,), (1,), (1,)]


def test_activity_orders_intervals_by_their_day(rows: Make, target: Make, ask: Make) -> None:
    """Sessions stand where their end or last report puts them, as their days do."""
    session = {"record_class": "internet", "line": "7"}
    frame = rows(
        session | {"start": NOON - D, "end": NOON + H},
        session | {"start": NOON - 2 * D, "reported_at": NOON + 2 * H},
        session | {"start": NOON},
    )
    assert pick(ask("activity", frame, [target("line", "7")]), "row") == [(3,), (1,), (2,)]


def test_contacts(rows: Make, target: Make, ask: Make) -> None:
    """Counterparties are counted by kind of event and direction, with first and last time and duration."""
    frame = rows(
        {"start": NOON, "a_number": A, "b_number": B, "b_kind": "e164", "event": "call", "duration_ms": 1000},
        {"start": NOON + H, "a_number": A, "b_number": B, "event": "call", "duration_ms": 500},
        {"start": NOON + 2 * H, "a_number": B, "b_number": A, "event": "call", "duration_ms": 9},
        {"start": NOON + 3 * H, "a_number": A, "b_number": B, "event": "sms"},
        {"start": NOON + 4 * H, "a_number": C, "b_number": B, "event": "call"},
    )
    names = ("counterparty", "counterparty_role", "event", "outgoing", "incoming", "first_start", "total_duration_ms")
    answer = ask("contacts", frame, [target("msisdn", A)])

    assert pick(answer, *names) == [
        (B, "b", "call", 2, 0, NOON, 1500),
        (B, "a", "call", 0, 1, NOON + 2 * H, 9),
        (B, "b", "sms", 1, 0, NOON + 3 * H, None),
    ]
    assert pick(answer, "target", "target_type", "target_value", "counterparty_kind", "last_start")[0] == (
        1, "msisdn", A, "e164", NOON + H,
    )  # fmt: skip


CONTACTS: list[tuple[str, dict[str, Any], tuple[str, str], list[tuple[str | None, str, int, int, int]]]] = [
    ("a forwarded call has two counterparties", {"a_number": A, "b_number": B, "c_number": C}, ("msisdn", A),
     [(B, "b", 1, 0, 0), (C, "c", 1, 0, 0)]),
    ("the forwarder's are caller and called", {"a_number": B, "b_number": C, "c_number": A}, ("msisdn", A),
     [(B, "a", 0, 0, 1), (C, "b", 0, 0, 1)]),
    ("the number the network knew stands beside the one shown", {"a_number": B, "a_asserted": C, "b_number": A},
     ("msisdn", A), [(B, "a", 0, 1, 0), (C, "asserted", 0, 1, 0)]),
    ("the asserted number once, when it was shown", {"a_number": B, "a_asserted": B, "b_number": A},
     ("msisdn", A), [(B, "a", 0, 1, 0)]),
    ("a withheld caller is told as such", {"b_number": A, "cli_withheld": True}, ("msisdn", A), [(None, "a", 0, 1, 0)]),
    ("a withheld caller the network knew", {"b_number": A, "a_asserted": B}, ("msisdn", A), [(B, "asserted", 0, 1, 0)]),
    ("no counterparty, no row", {"a_number": A, "event": "data"}, ("msisdn", A), []),
    ("further parties, but not the target itself",
     {"a_number": B, "other_parties": [{"role": "x", "number": A}, {"role": "y", "number": C}]}, ("msisdn", A),
     [(B, "a", 0, 0, 1), (C, "other", 0, 0, 1)]),
    ("a target by IMSI stands on the served side", {"served": "b", "a_number": B, "b_number": A, "imsi": "1"},
     ("imsi", "1"), [(B, "a", 0, 1, 0)]),
    ("a target by the other party's IMSI on the other side",
     {"served": "b", "a_number": A, "b_number": B, "peer_imsi": "1"}, ("imsi", "1"), [(B, "b", 1, 0, 0)]),
    ("a presented target too", {"a_number": A, "a_asserted": C, "b_number": B}, ("msisdn", A), [(B, "b", 1, 0, 0)]),
    ("a sender", {"mail_from": "x@m.example", "mail_to": ["y@m.example", "z@m.example"]}, ("email", "x@m.example"),
     [("y@m.example", "recipient", 1, 0, 0), ("z@m.example", "recipient", 1, 0, 0)]),
    ("a recipient, whose fellow recipients are none",
     {"mail_from": "x@m.example", "mail_to": ["y@m.example", "z@m.example"]},
     ("email", "y@m.example"), [("x@m.example", "sender", 0, 1, 0)]),
    ("a cell has no counterparties", {"served": "a", "a_number": A, "b_number": B, "start_cell": CELL},
     ("cell", CELL), []),
]  # fmt: skip


@pytest.mark.parametrize("case", CONTACTS, ids=lambda case: case[0])
def test_contact_sides(case: Any, rows: Make, target: Make, ask: Make) -> None:
    """Who is a counterparty, and which way, follows from what the target is in the record."""
    _, row, wanted, expected = case
    answer = ask("contacts", rows({"start": NOON} | row), [target(*wanted)])

    assert pick(answer, "counterparty", "counterparty_role", "outgoing", "incoming", "otherwise") == expected


def test_contacts_count_a_call_once(rows: Make, target: Make, ask: Make) -> None:
    """A call in parts is one contact, as long as from its answer to its end; parts are not added up."""
    call = {"correlation_id": "k", "event": "call"}
    frame = rows(
        call | {"start": NOON, "answer": NOON + S, "part": "first", "a_number": A, "b_number": B},
        call | {"start": NOON + 2 * S, "part": "next", "a_number": A, "b_number": B, "duration_ms": 4000},
        call | {"start": NOON + 61 * S, "part": "last"},
    )
    answer = ask("contacts", frame, [target("msisdn", A)])

    assert pick(answer, "counterparty", "outgoing", "total_duration_ms") == [(B, 1, 60_000)]


def test_contacts_of_two_targets(rows: Make, target: Make, ask: Make) -> None:
    """Each target has its own counterparties, the other target among them."""
    answer = ask(
        "contacts", rows({"start": NOON, "a_number": A, "b_number": B}), [target("msisdn", A), target("msisdn", B)]
    )

    assert pick(answer, "target", "counterparty", "outgoing", "incoming") == [(1, B, 1, 0), (2, A, 0, 1)]


def test_identifiers(rows: Make, target: Make, ask: Make) -> None:
    """Number, IMSI, IMEI and SIM are shown as they were seen together, with first and last time."""
    served = {"served": "a", "a_number": A, "imsi": "204990000000001", "imei": "35000000000001"}
    frame = rows(
        served | {"start": NOON},
        served | {"start": NOON + H, "end": NOON + 2 * H},
        served | {"start": NOON + 3 * H, "imei": "35000000000002"},
        {"start": NOON, "served": "b", "a_number": A, "b_number": B, "imsi": "204990000000009"},
        {"start": NOON, "a_number": A},
        {
            "start": NOON - H,
            "record_class": "binding",
            "a_number": A,
            "imsi": "204990000000001",
            "iccid": "8931000000000000001",
        },
    )
    answer = ask("identifiers", frame, [target("msisdn", A)])

    assert pick(answer, "number", "imsi", "imei", "iccid", "first_seen", "last_seen", "records") == [
        (A, "204990000000001", None, "8931000000000000001", NOON - H, NOON - H, 1),
        (A, "204990000000001", "35000000000001", None, NOON, NOON + 2 * H, 2),
        (A, "204990000000001", "35000000000002", None, NOON + 3 * H, NOON + 3 * H, 1),
    ]


def test_identifiers_of_each_side(rows: Make, target: Make, ask: Make) -> None:
    """With both parties as targets, each gets its own identities: the peer's go to the peer."""
    frame = rows(
        {"start": NOON, "served": "b", "a_number": A, "b_number": B, "imsi": "2", "peer_imsi": "1", "peer_imei": "11"}
    )
    answer = ask("identifiers", frame, [target("msisdn", A), target("msisdn", B)])

    assert pick(answer, "target", "number", "imsi", "imei") == [(1, A, "1", "11"), (2, B, "2", None)]


def test_identifiers_by_imsi(rows: Make, target: Make, ask: Make) -> None:
    """An IMSI leads to the number it was used with, the one the network knew."""
    frame = rows({"start": NOON, "served": "a", "a_number": B, "a_asserted": A, "imsi": "1"})

    assert pick(ask("identifiers", frame, [target("imsi", "1")]), "number", "imsi") == [(A, "1")]
    assert ask("identifiers", frame, [target("msisdn", B)]) == []


def test_cell(rows: Make, target: Make, ask: Make) -> None:
    """Who was served by a cell is listed once each; who only talked to them is not."""
    frame = rows(
        {"start": NOON, "served": "a", "a_number": A, "b_number": B, "imsi": "1", "start_cell": CELL, "event": "call"},
        {
            "start": NOON + H,
            "end": NOON + 2 * H,
            "served": "a",
            "a_number": A,
            "imsi": "1",
            "end_cell": CELL,
            "event": "sms",
        },
        {"start": NOON, "served": "b", "a_number": A, "b_number": C, "start_cell": CELL},
        {"start": NOON, "served": "a", "a_number": B, "start_cell": OTHER_CELL},
        {"start": NOON, "imsi": "9", "start_cell": CELL},
    )
    answer = ask("cell", frame, [target("cell", CELL), target("msisdn", A)])

    assert pick(answer, "target", "cell", "number", "imsi", "last_seen", "records", "events") == [
        (1, CELL, C, None, NOON, 1, None),
        (1, CELL, A, "1", NOON + 2 * H, 2, ["call", "sms"]),
        (1, CELL, None, "9", NOON, 1, None),
    ]
    assert "events" not in ask("cell", frame, [target("cell", CELL)], categories=frozenset({"who", "where", "when"}))[0]


def test_data_usage(rows: Make, target: Make, ask: Make) -> None:
    """Sessions and bytes are summed per target and UTC day of their start."""
    data = {"served": "a", "a_number": A, "event": "data", "record_class": "mobile_usage"}
    late = datetime(2026, 6, 10, 23, 59, 59, tzinfo=UTC)
    frame = rows(
        data | {"start": NOON, "bytes_up": 1, "bytes_down": 10},
        data | {"start": late, "end": late + H, "bytes_up": 2, "bytes_down": 20},
        data | {"start": late + S, "bytes_up": 4},
        data | {"start": NOON, "served": "b", "b_number": B, "bytes_up": 1000},
        {"start": NOON, "a_number": A, "served": "a", "event": "call"},
    )
    answer = ask("data_usage", frame, [target("msisdn", A)])

    assert pick(answer, "day", "sessions", "bytes_up", "bytes_down") == [
        (date(2026, 6, 10), 2, 3, 30),
        (date(2026, 6, 11), 1, 4, None),
    ]


def test_data_usage_adds_no_running_totals(rows: Make, target: Make, ask: Make) -> None:
    """Reports of one session count with the largest, corrected records likewise, once."""
    session = {"record_class": "internet", "line": "l", "correlation_id": "k", "start": NOON}
    frame = rows(
        session | {"part": "first", "bytes_down": 10, "reported_at": NOON + H},
        session | {"part": "next", "bytes_down": 30, "reported_at": NOON + D},
        session | {"part": "last", "bytes_down": 35, "end": NOON + D + H},
        {"record_class": "internet", "line": "l", "start": NOON, "record_id": "7", "bytes_down": 1},
        {"record_class": "internet", "line": "l", "start": NOON, "record_id": "7", "bytes_down": 2},
        session | {"correlation_id": "only", "part": "only", "bytes_down": 100},
    )
    answer = ask("data_usage", frame, [target("line", "l")])

    assert pick(answer, "sessions", "bytes_down") == [(3, 137)]
