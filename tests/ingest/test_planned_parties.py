"""Parties of whole slices: those that first digits prove, and the others, are what `ingest.numbers` says."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from ingest import planned_parties
from ingest.numbering import e164_heads
from ingest.numbers import parties
from ingest.planned_parties import Odd, PlannedParty, read
from ingest.source import NumberPlan
from tests.thorough import as_many

PLANS = (
    NumberPlan(),
    NumberPlan(bare="international"),
    NumberPlan(bare="national"),
    NumberPlan(country="32", bare="national"),
    NumberPlan(bare="subscriber", area="20"),
    NumberPlan(international="00", national="", bare="international", extension=(3, 10)),
    NumberPlan(international="0011", national="0", bare="international"),
    NumberPlan(access="9", bare="national"),
)
HEADS = (
    "",
    "+",
    "00",
    "0",
    "31",
    "+31",
    "0031",
    "316",
    "3197",
    "+3197",
    "31800",
    "3114020",
    "31112",
    "+1",
    "999",
    "32",
)
TEXTS = st.one_of(
    st.builds(lambda head, tail: head + tail, st.sampled_from(HEADS), st.text("0123456789", max_size=12)),
    st.sampled_from([None, "", " ", "112", "Bank", "anonymous", "sip:a@b.nl", "+", "31 6 12345678", "-31612345678"]),
)


def same(texts: list[str | None], plan: NumberPlan, odd: Odd) -> None:
    """What is read of `texts` is what `ingest.numbers` reads."""
    raw = pl.Series("raw", texts, dtype=pl.String)
    party = PlannedParty("a", "~a", plan, "NL", "acme")
    wanted = parties(raw, plan, "NL", "acme")

    assert_frame_equal(
        read([party], [raw], odd)[0].rename(
            dict(zip(("=a_number", "=a_kind", "=a_raw", "~a.withheld", "~a.emergency"), wanted.columns, strict=True))
        ),
        wanted,
    )


@given(st.lists(TEXTS, min_size=1, max_size=30), st.sampled_from(PLANS), st.integers(0, 3))
@settings(max_examples=as_many(120), deadline=None)
def test_what_numbers_says(texts: list[str | None], plan: NumberPlan, times: int) -> None:
    """Of any texts, alone and among many of one length."""
    same([*texts, *["31612345678"] * 10 * times], plan, Odd())


@given(st.lists(st.tuples(st.lists(TEXTS, min_size=1, max_size=8), st.sampled_from(PLANS)), max_size=4))
@settings(max_examples=as_many(60), deadline=None)
def test_several_parties_are_read_as_each_alone(columns: list[tuple[list[str | None], NumberPlan]]) -> None:
    """Of one plan or of several, with odd texts in all of them, in some and in none."""
    asked = [PlannedParty(f"p{number}", "", plan, "NL", "acme") for number, (_, plan) in enumerate(columns)]
    texts = [pl.Series("raw", column, dtype=pl.String) for column, _ in columns]

    together = read(asked, texts, Odd())

    assert len(together) == len(asked)
    for party, column, found in zip(asked, texts, together, strict=True):
        assert_frame_equal(found, read([party], [column], Odd())[0])


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("text", ["31612345678", "+31612345678", "0612345678", "0031612345678", "+4930123456"])
def test_columns_of_one_form(text: str, plan: NumberPlan) -> None:
    """Of columns in which all numbers have one form."""
    same([text] * 5, plan, Odd())


def test_what_is_known_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts that were read are remembered, and forgotten where they become many."""
    monkeypatch.setattr(planned_parties, "_KNOWN", 3)
    odd = Odd()

    for texts in (["Bank", "112"], ["112", "Code", "Bank"], ["Apotheek", "Bezorging"], ["Bank"]):
        same(list(texts), PLANS[0], odd)


def test_what_is_known_of_one_source_answers_for_no_other() -> None:
    """Sources of one number plan may have other customers, and an extension is its own customer's."""
    odd, text = Odd(), pl.Series("raw", ["1001"])
    for owner in ("acme", "bakker", "acme"):
        party = PlannedParty("a", "~a", PLANS[5], "NL", owner)
        assert read([party], [text], odd)[0]["=a_number"].to_list() == [f"1001@{owner}"]


def test_what_first_digits_do_not_settle() -> None:
    """Few digits, more than E.164 has, an access digit and long prefixes leave it open."""
    assert e164_heads(NumberPlan(), "NL", 8, plus=True) is None
    assert e164_heads(NumberPlan(), "NL", 16, plus=True) is None
    assert e164_heads(NumberPlan(access="9"), "NL", 11, plus=True) is None
    assert e164_heads(NumberPlan(international="00112"), "NL", 11, plus=True) is None


def test_columns_in_pieces() -> None:
    """A column of which a filter left empty pieces between others is read as any other."""
    number = pl.Series("raw", ["31612345678", "112"])
    pieces = pl.concat([number] * 4, rechunk=False).filter(pl.Series([False] * 6 + [True] * 2))
    assert [len(piece) for piece in pieces.get_chunks()] == [0, 0, 0, 2]

    party = PlannedParty("a", "~a", PLANS[1], "NL", "acme")
    assert parties(pieces, PLANS[1], "NL", "acme")["number"].to_list() == ["+31612345678", "112"]
    assert read([party], [pieces], Odd())[0]["=a_number"].to_list() == ["+31612345678", "112"]
