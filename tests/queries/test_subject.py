"""A subject's own records: whose they are, and what of others stands in them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.record import BY_NAME
from queries import subject
from queries.subject import COLUMNS, DECIDING, HIDDEN, SERVED_PARTYS
from queries.target import Target

START, END = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
ME, YOU = "+31612345678", "+31687654321"
AT = datetime(2026, 11, 10, tzinfo=UTC)
TARGETS = [Target("msisdn", ME, START, END), Target("email", "me@example.com", START, END)]
TEXTS = dict.fromkeys(
    ("served", "a_asserted", "source", "correlation_id", "part", "mail_from", "customer", "imsi", "dialled",
     "access_ip", "user_name", "line", "start_cell"), pl.String
)  # fmt: skip
SCHEMA: dict[str, Any] = {
    "record_class": pl.String,
    **{f"{party}_{part}": pl.String for party in "abc" for part in ("number", "kind", "raw")},
    **TEXTS,
    "mail_to": pl.List(pl.String),
    "cli_withheld": pl.Boolean,
    "start": pl.Datetime("us", "UTC"),
}


def rows(*given: dict[str, Any]) -> pl.DataFrame:
    """Records of a call at one moment inside the window, with what `given` says of each."""
    return pl.DataFrame([{"record_class": "telephony", "start": AT, **one} for one in given], schema=SCHEMA)


def masked(**given: Any) -> dict[str, Any]:
    """One record of the subject's as it is shown."""
    return subject.shown(rows(given), TARGETS).row(0, named=True)


@pytest.mark.parametrize(
    ("given", "mine"),
    [
        ({"a_number": ME, "b_number": YOU, "served": "a"}, True),
        ({"a_number": YOU, "b_number": ME, "served": "b"}, True),
        ({"a_number": YOU, "b_number": ME, "served": "a"}, False),
        ({"a_number": ME, "b_number": YOU, "served": "b"}, False),
        ({"a_number": ME, "b_number": YOU}, True),
        ({"a_number": YOU, "b_number": ME, "served": "none"}, True),
        ({"a_number": ME, "a_asserted": YOU, "b_number": YOU}, False),
        ({"a_number": YOU, "a_asserted": ME, "b_number": YOU}, True),
        ({"a_number": ME, "served": "a", "start": datetime(2026, 10, 1, tzinfo=UTC)}, False),
        ({"record_class": "email", "mail_from": "me@example.com", "mail_to": ["you@example.com"]}, True),
        ({"record_class": "email", "mail_from": "you@example.com", "mail_to": ["me@example.com"], "served": "b"}, True),
        (
            {"record_class": "email", "mail_from": "you@example.com", "mail_to": ["me@example.com"], "served": "a"},
            False,
        ),
        ({"a_number": YOU}, False),
    ],
)
def test_whose_record_it_is(given: dict[str, Any], mine: bool) -> None:
    """A record is of its served party; one of nobody is of both who are in it; a claimed number makes nobody's."""
    assert subject.own(rows(given), TARGETS).to_list() == [mine]


def test_parts_that_name_nobody_go_with_their_call() -> None:
    """The end of a call of the subject's is theirs; that of another call, and a part that names another, are not."""
    call = {"source": "s", "correlation_id": "c-1"}
    found = subject.own(
        rows(
            {**call, "part": "first", "a_number": ME, "served": "a"},
            {**call, "part": "last"},
            {**call, "part": "next", "a_number": YOU},
            {**call, "source": "other", "part": "last"},
            {"source": "s", "part": "last"},
        ),
        TARGETS,
    )
    assert found.to_list() == [True, True, False, False, False]


def test_a_called_number_is_shown_but_for_its_last_digits() -> None:
    """The subject dialled it; a short number, a service number and a forwarding party are hidden whole."""
    assert masked(a_number=ME, served="a", b_number=YOU)["b_number"] == "+3168765xxxx"
    for value in ("112", "08001234", "1001@customer", "sip:you@example.com", "Bank", "+3161234"):
        assert masked(a_number=ME, served="a", b_number=value)["b_number"] == HIDDEN
    assert masked(a_number=ME, served="a", c_number=YOU)["c_number"] == HIDDEN
    shown = masked(a_number=YOU, a_asserted=ME, served="a", b_number=YOU)
    assert (shown["a_number"], shown["b_number"]) == (HIDDEN, "+3168765xxxx")


@pytest.mark.parametrize(("withheld", "told"), [(True, HIDDEN), (None, HIDDEN), (False, "+3168765xxxx")])
def test_a_caller_is_shown_only_when_they_showed_themselves(withheld: bool | None, told: str) -> None:
    """Withheld, or nobody says: hidden."""
    assert masked(a_number=YOU, b_number=ME, served="b", cli_withheld=withheld)["a_number"] == told


def test_a_number_that_was_only_claimed_is_not_the_subjects() -> None:
    """Who shows the subject's number is masked as any other caller."""
    shown = masked(a_number=ME, a_asserted=YOU, b_number=ME, served="b", cli_withheld=False)
    assert (shown["a_number"], shown["b_number"]) == ("+3161234xxxx", ME)


def test_mail_addresses_of_others_are_hidden() -> None:
    """The subject's own stay; nulls stay nulls."""
    sent = masked(record_class="email", mail_from="me@example.com", mail_to=["you@example.com", "me@example.com"])
    assert (sent["mail_from"], sent["mail_to"], sent["b_number"]) == (
        "me@example.com",
        [HIDDEN, "me@example.com"],
        None,
    )
    assert masked(record_class="email", mail_from="you@example.com", mail_to=["me@example.com"])["mail_from"] == HIDDEN


def test_what_tells_of_the_served_party_is_given_to_it_alone() -> None:
    """Of a record that is nobody's in particular, SIM, address, line and place may be those of the other one."""
    told = {"imsi": "204990000000001", "access_ip": "203.0.113.7", "line": "L1", "start_cell": "204-99-1"}
    call = {"a_number": YOU, "b_number": ME, **told}
    for served, expected in (("b", told), ("none", dict.fromkeys(told)), (None, dict.fromkeys(told))):
        shown = masked(served=served, **call)
        assert {name: shown[name] for name in told} == expected
    mine = Target("imsi", told["imsi"], START, END)
    assert subject.shown(rows(call), [*TARGETS, mine])["line"].to_list() == ["L1"]
    silent = {"source": "s", "correlation_id": "c-1", "part": "last", "access_ip": "203.0.113.7"}
    assert masked(**silent)["access_ip"] is None


MARK = "31777777"
PLACES = ("access_ip", "user_name", "line", "start_cell")
other = st.one_of(
    st.none(), st.sampled_from([f"+{MARK}777", f"{MARK}@customer", f"sip:{MARK}@example.com", MARK, f"name {MARK}"])
)
party = st.one_of(st.just(ME), other)


@given(
    st.fixed_dictionaries(
        dict.fromkeys(("a_number", "b_number", "c_number", "a_asserted"), party)
        | dict.fromkeys(("a_raw", "b_raw", "c_raw", "mail_from", "dialled", "correlation_id"), other)
        | dict.fromkeys(PLACES, other)
        | {
            "mail_to": st.one_of(st.none(), st.lists(other.filter(bool), max_size=2)),
            "served": st.sampled_from(["a", "b", "c", "none", None]),
            "cli_withheld": st.sampled_from([True, False, None]),
            "record_class": st.sampled_from(["telephony", "email", "voip"]),
        }
    )
)
def test_nobody_else_is_named(given: dict[str, Any]) -> None:
    """Whatever a record of the subject's says, no number, name or address of another stands in what is shown."""
    if given["served"] in ("a", "b", "c"):
        given |= dict.fromkeys(PLACES)  # these are then the subject's own
    found = rows(given)
    mine = found.filter(subject.own(found, TARGETS))
    shown = subject.shown(mine, TARGETS)
    assert MARK not in str(shown.rows())
    assert set(shown.columns) <= set(COLUMNS)
    assert shown.height == mine.height


def test_columns_are_those_of_the_record() -> None:
    """None is misspelled, and none that can name others in a form of its own is among them."""
    assert set(COLUMNS) - {"record_class"} <= set(BY_NAME)
    assert set(DECIDING) <= set(BY_NAME)
    assert set(SERVED_PARTYS) <= set(COLUMNS)
    assert not {name for name in COLUMNS if name.endswith("_raw") or name.startswith(("peer_", "extra_", "carrier_"))}
    assert not {"dialled", "routing_number", "other_parties", "correlation_id", "customer"} & set(COLUMNS)


def test_organisations_are_named_once() -> None:
    """Those of the records, sorted; none where no record tells."""
    assert subject.customers(rows({"customer": "b"}, {"customer": "a"}, {"customer": "b"}, {})) == ["a", "b"]
    assert subject.customers(rows({}).drop("customer")) == []
