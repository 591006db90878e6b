"""Parties of a record by the rules of a feed, and whose the extensions among them are."""

from __future__ import annotations

import pytest

from ingest.feed import parse_feed
from ingest.mapping import REASON
from ingest.source import NumberPlan
from tests.ingest.small_feed import feed, mapped, one

PARTY = 'a = { from = "one", as = "party" }\nb = { from = "two", as = "party", empty = "unknown" }'


def test_party_columns() -> None:
    """A party gives number, kind, and the raw text where the number does not give it back."""
    row = one(feed(PARTY), one="0612345678", two="+31201234567")

    assert (row["a_number"], row["a_kind"], row["a_raw"]) == ("+31612345678", "e164", "0612345678")
    assert (row["b_number"], row["b_kind"], row["b_raw"]) == ("+31201234567", "e164", None)
    assert (row["cli_withheld"], row["emergency"]) == (None, None)


@pytest.mark.parametrize("text", [None, "Anonymous", "restricted", "sip:anonymous@anonymous.invalid"])
def test_withheld(text: str | None) -> None:
    """An empty or anonymous caller is a withheld number; an empty called party is not."""
    row = one(feed(PARTY), one=text)

    assert (row["a_number"], row["cli_withheld"]) == (None, True)


def test_withheld_number_that_the_network_knows() -> None:
    """A number that is told to be withheld is kept beside the flag."""
    definition = feed(PARTY + '\ncli_withheld = { from = "three", as = "withheld" }')

    row = one(definition, one="0612345678", three="Anonymous")
    assert (row["a_number"], row["cli_withheld"]) == ("+31612345678", True)
    assert one(definition, one="0612345678", three="0612345678")["cli_withheld"] is None
    assert one(definition, one="*31#0612345678")["cli_withheld"] is True


def test_withheld_only_where_the_rule_applies() -> None:
    """A row of a kind that tells no caller does not withhold one."""
    definition = feed('a = [{ from = "one", as = "party", when = { two = "x" } }, { from = "one", empty = "unknown" }]')

    assert one(definition, two="x")["cli_withheld"] is True
    assert one(definition, two="y")["cli_withheld"] is None
    assert one(definition, one="0612345678", two="y")["a_number"] == "+31612345678"


@pytest.mark.parametrize("text", ["112", "144", "1888", "1233", "116000", "18001", "14020"])
def test_short_numbers_never_become_e164(text: str) -> None:
    """A short number stays as it is; the emergency number is flagged."""
    row = one(feed(PARTY), one="0612345678", two=text)

    assert (row["b_number"], row["b_kind"]) == (text, "short")
    assert row["emergency"] is (True if text == "112" else None)


def test_extensions_of_two_customers_never_meet() -> None:
    """An extension carries the customer, or the source where it has none."""
    definition = feed(PARTY, "[number_plan]\nextension = [2, 5]")
    rows: list[dict[str, str | None]] = [{"one": "1001", "two": "1002"}]

    assert mapped(definition, rows, customer="bakkerij")[0]["a_number"] == "1001@bakkerij"
    assert mapped(definition, rows, customer="slagerij")[0]["a_number"] == "1001@slagerij"
    assert mapped(definition, rows)[0]["b_number"] == "1002@pbx"


def test_number_plan_of_the_source_goes_first() -> None:
    """A source's number plan replaces the feed's; a rule may say what a bare number is."""
    plain = feed(PARTY)
    bare = feed('a = { from = "one", bare = "international" }')
    rows: list[dict[str, str | None]] = [{"one": "31612345678"}]

    assert mapped(plain, rows)[0]["a_kind"] == "unknown"
    assert mapped(plain, rows, number_plan=NumberPlan(bare="international"))[0]["a_number"] == "+31612345678"
    assert mapped(bare, rows)[0]["a_number"] == "+31612345678"


def test_area_of_the_caller_completes_a_local_number() -> None:
    """A subscriber number takes the area code of the field named, out of the closed list, else none."""
    definition = feed(
        'b = { from = "one", nature = "two", natures = { "001" = "subscriber", "004" = "plan" }, area = "three",'
        ' area_codes = ["20", "299", "40"] }'
    )
    rows: list[dict[str, str | None]] = [
        {"one": "7654321", "two": "001", "three": "0201234567"},
        {"one": "654321", "two": "001", "three": "0299123456"},
        {"one": "7654321", "two": "001", "three": "0612345678"},
        {"one": "7654321", "two": "001", "three": None},
        {"one": "654321", "two": "001", "three": "0201234567"},
        {"one": "0612345678", "two": "004", "three": "0201234567"},
    ]

    found = [(row["b_number"], row["b_kind"]) for row in mapped(definition, rows)]
    assert found == [
        ("+31207654321", "e164"),
        ("+31299654321", "e164"),
        ("7654321", "unknown"),
        ("7654321", "unknown"),
        ("654321", "unknown"),
        ("+31612345678", "e164"),
    ]


def test_other_parties_gather_what_differs() -> None:
    """Further parties are listed with their role, normalised, unless they are the party already there."""
    definition = feed(
        PARTY + '\nother_parties = [{ role = "presented", from = "three", as = "party", unlike = "a_number" },'
        ' { role = "billed", from = "time", as = "party" }]'
    )

    row = one(definition, one="0612345678", three="+31612345678", time="0201234567")
    assert row["other_parties"] == [{"role": "billed", "number": "+31201234567"}]
    both = one(definition, one="0612345678", three="0687654321", time="0201234567")["other_parties"]
    assert [party["role"] for party in both] == ["presented", "billed"]
    assert one(definition, one="0612345678", three="anonymous")["other_parties"] is None


def test_canonical_party_holds_what_it_tells() -> None:
    """In the record's own form a kind that is told counts; without one the number plan decides."""
    text = 'feed = "test"\ntitle = "test"\nclass = "voip"\nreader = "documents"\ncanonical = true'
    definition = parse_feed(text.encode(), "test")

    told = one(definition, a_number="1888", a_kind="extension", b_number="+31612345678", b_kind="e164", b_raw="06")
    assert (told["a_number"], told["a_kind"]) == ("1888@pbx", "extension")
    assert (told["b_number"], told["b_raw"]) == ("+31612345678", "06")
    assert one(definition, a_number="1888")["a_kind"] == "short"
    assert one(definition, cli_withheld="true")["cli_withheld"] is True
    assert one(definition)["cli_withheld"] is None
    assert one(definition, imei="35123456000000", imei_raw="351234560000000")["imei_raw"] == "351234560000000"
    assert one(definition, a_kind="e164")[REASON] == "a_kind without a_number"
    assert one(definition, a_number="0612345678", a_kind="e164")[REASON] == "a_number is not of its form"
    assert one(definition, a_number="x", a_kind="phone")[REASON] == "a_kind is not of its form"
