"""Parties: the table of real forms, the plans that read them, and phonenumbers as an oracle."""

from __future__ import annotations

import polars as pl
import pytest

from ingest.errors import FeedError
from ingest.numbers import kept_raw, party_by_nature
from ingest.source import NumberPlan
from tests.ingest.number_plans import AREA, INTERNATIONAL, NATIONAL, PBX, PLAIN, TRUNK, read


def one(
    raw: str | None, plan: NumberPlan = PLAIN, region: str = "NL", owner: str = "acme"
) -> tuple[str | None, str | None]:
    """Number and kind of one text."""
    (found,) = read([raw], plan, region, owner)
    return found["number"], found["kind"]


MOBILE = ("+31612345678", "e164")


@pytest.mark.parametrize(
    ("raw", "plan", "expected"),
    [
        ("0612345678", PLAIN, MOBILE),
        ("+31612345678", PLAIN, MOBILE),
        ("0031612345678", PLAIN, MOBILE),
        ("31612345678", INTERNATIONAL, MOBILE),
        ("31612345678", PLAIN, ("31612345678", "unknown")),
        ("+31 (0)6 1234 5678", PLAIN, MOBILE),
        ("0031 (0)6-12345678", PLAIN, MOBILE),
        ("+310612345678", PLAIN, MOBILE),
        ("0031 6 1234 5678", PLAIN, MOBILE),
        ("612345678", NATIONAL, MOBILE),
        ("612345678", PLAIN, ("612345678", "unknown")),
        ("tel:0612345678;phone-context=+31", PLAIN, MOBILE),
        ("tel:612345678;phone-context=+31", PLAIN, MOBILE),
        ("tel:020712345;phone-context=+44", PLAIN, ("020712345", "unknown")),
        ("tel:+31-20-5551234", PLAIN, ("+31205551234", "e164")),
        ("sip:0612345678", PLAIN, MOBILE),
        ("sip:+31612345678@host", PLAIN, MOBILE),
        ("sips:0612345678;npdi@host.example;user=phone", PLAIN, MOBILE),
        ("SIP:0612345678:secret@HOST", PLAIN, MOBILE),
        ("*31#0612345678", PLAIN, MOBILE),
        ("#31#0612345678", PLAIN, MOBILE),
        ("%2B31612345678", PLAIN, MOBILE),
        ("sip:%2B31%2061234%35678@host", PLAIN, MOBILE),
        ('"Naam" <sip:0612345678@198.51.100.2:5060>;tag=x', PLAIN, MOBILE),
        ("+999123456", PLAIN, ("+999123456", "unknown")),
        ("112", PLAIN, ("112", "short")),
        ("112#", PLAIN, ("112", "short")),
        ("0112", PLAIN, ("0112", "unknown")),
        ("+31112", PLAIN, ("112", "short")),
        ("144", PLAIN, ("144", "short")),
        ("1888", PLAIN, ("1888", "short")),
        ("1233", PLAIN, ("1233", "short")),
        ("1200", PLAIN, ("1200", "short")),
        ("116000", PLAIN, ("116000", "short")),
        ("18001", PLAIN, ("18001", "short")),
        ("14020", PLAIN, ("14020", "short")),
        ("140113", PLAIN, ("140113", "short")),
        ("+3114020", PLAIN, ("14020", "short")),
        ("0031000000000000000000", PLAIN, ("0031000000000000000000", "unknown")),
        ("2323453", PLAIN, ("2323453", "unknown")),
        ("2323453", AREA, ("+31202323453", "e164")),
        ("0012323453100", PLAIN, ("+12323453100", "e164")),
        ("08001234", PLAIN, ("08001234", "service")),
        ("+318001234", PLAIN, ("08001234", "service")),
        ("09001234567", PLAIN, ("09001234567", "service")),
        ("0906123456", PLAIN, ("0906123456", "service")),
        ("0800123", PLAIN, ("0800123", "unknown")),
        ("097012345678", PLAIN, ("+3197012345678", "e164")),
        ("0970123456", PLAIN, ("0970123456", "unknown")),
        ("0851234567", PLAIN, ("+31851234567", "e164")),
        ("0881234567", PLAIN, ("+31881234567", "e164")),
        ("+8821234567", PLAIN, ("+8821234567", "e164")),
        ("+31061234567", PLAIN, ("+31061234567", "unknown")),
        ("+1234567890123456", PLAIN, ("+1234567890123456", "unknown")),
        ("+123456", PLAIN, ("+123456", "unknown")),
        ("9" * 25, PLAIN, ("9" * 25, "unknown")),
        ("1001", PBX, ("1001@acme", "extension")),
        ("sip:1001@pbx.example", PBX, ("1001@acme", "extension")),
        ("1888", PBX, ("1888@acme", "extension")),
        ("112", PBX, ("112", "short")),
        ("1001", PLAIN, ("1001", "unknown")),
        ("sip:1001@pbx.example", PLAIN, ("sip:1001@pbx.example", "uri")),
        ("1001@192.0.2.1", PLAIN, ("sip:1001@192.0.2.1", "uri")),
        ("sip:Alice@Example.com:5060;transport=udp", PLAIN, ("sip:alice@example.com", "uri")),
        ("sip:alice@[2001:DB8::1]:5060", PLAIN, ("sip:alice@[2001:db8::1]", "uri")),
        ("sip:pbx.example:5060", PLAIN, ("sip:pbx.example", "uri")),
        ("sip:192.0.2.1", PLAIN, ("sip:192.0.2.1", "uri")),
        ("alice@example.com", PLAIN, ("sip:alice@example.com", "uri")),
        ("urn:service:sos", PLAIN, ("urn:service:sos", "uri")),
        ("9" + "0201234567", TRUNK, ("+31201234567", "e164")),
        ("0201234567", TRUNK, ("+31201234567", "e164")),
        ("900441632960961", TRUNK, ("+441632960961", "e164")),
        ("9112", TRUNK, ("112", "short")),
        ("9204", TRUNK, ("9204@acme", "extension")),
        ("972501234567", NumberPlan(access="9", bare="international"), ("+972501234567", "e164")),
        ("*8", PBX, ("*8", "service")),
        ("*21204", PBX, ("*21204", "service")),
        ("s", PBX, ("s", "service")),
        ("*31#", PBX, ("*31#", "service")),
        ("Bank", PLAIN, ("Bank", "alphanumeric")),
        ("Shop@Home", PLAIN, ("Shop@Home", "alphanumeric")),
        ("0612345678*12", PLAIN, ("0612345678*12", "unknown")),
        ("10.20.30.40", PLAIN, ("10.20.30.40", "unknown")),
        ("&", PLAIN, ("&", "unknown")),
        ("+", PLAIN, ("+", "unknown")),
        ("0", PLAIN, ("0", "unknown")),
        ("600123456", NumberPlan(country="34", national="", bare="national"), ("+34600123456", "e164")),
        ("011441632960961", NumberPlan(country="1", international="011", national="1"), ("+441632960961", "e164")),
        ("12125550123", NumberPlan(country="1", international="011", national="1"), ("+12125550123", "e164")),
    ],
)
def test_a_number_is_read_as_its_plan_says(raw: str, plan: NumberPlan, expected: tuple[str, str]) -> None:
    """Every form that real files hold becomes the number and kind that its source's plan makes of it."""
    assert one(raw, plan) == expected


@pytest.mark.parametrize("raw", ["anonymous", "Anonymous", "UNAVAILABLE", "restricted", "Withheld", "<Anonymous>"])
def test_a_withheld_caller_has_no_number_and_keeps_the_text(raw: str) -> None:
    """A word that stands for a withheld number becomes a flag; the word itself stays as raw."""
    (found,) = read([raw])

    assert found == {"number": None, "kind": None, "raw": raw, "withheld": True, "emergency": False}


@pytest.mark.parametrize("raw", ["", "   ", None])
def test_an_empty_caller_is_withheld_and_leaves_nothing(raw: str | None) -> None:
    """An empty text names nobody, and keeps no raw text."""
    assert read([raw]) == [{"number": None, "kind": None, "raw": None, "withheld": True, "emergency": False}]


def test_an_anonymous_uri_is_withheld() -> None:
    """The anonymous URI of RFC 3323 is a withheld number, whatever its user part is."""
    assert [found["withheld"] for found in read(["sip:anonymous@anonymous.invalid", "sip:x@anonymous.invalid"])] == [
        True
    ] * 2


def test_a_service_code_withholds_and_the_number_stays() -> None:
    """`*31#` in front is cut, sets the flag, and leaves number and raw."""
    (found,) = read(["*31#0612345678"])

    assert found["withheld"]
    assert (found["number"], found["raw"]) == ("+31612345678", "*31#0612345678")


@pytest.mark.parametrize(
    ("raw", "region", "is_emergency"),
    [
        ("112", "NL", True),
        ("911", "NL", True),
        ("112", "DE", True),
        ("sip:112@host", "NL", True),
        ("+31112", "NL", True),
        ("urn:service:sos.police", "NL", True),
        ("urn:service:sosx", "NL", False),
        ("144", "NL", False),
        ("112123", "NL", False),
        ("0112", "NL", False),
        ("0612345678", "NL", False),
    ],
)
def test_an_emergency_number_is_flagged(raw: str, region: str, is_emergency: bool) -> None:
    """Emergency numbers are found in each form, and no subscriber number is taken for one."""
    assert read([raw], region=region)[0]["emergency"] is is_emergency


def test_the_short_numbers_of_one_country_are_not_those_of_another() -> None:
    """Outside the Netherlands a Dutch short number is an unknown one."""
    assert one("1888", region="DE") == ("1888", "unknown")


def test_extensions_of_two_owners_never_meet() -> None:
    """Extension 1001 of one customer is another party than extension 1001 of the next."""
    assert one("1001", PBX, owner="acme") != one("1001", PBX, owner="globex")


NATURES = {"4": "plan", "1": "subscriber", "2": "national", "3": "international", "9": "unknown"}


@pytest.mark.parametrize(
    ("raw", "nature", "area", "expected"),
    [
        ("1234567", "1", "20", ("+31201234567", "e164")),
        ("234567", "1", "113", ("+31113234567", "e164")),
        ("1234567", "1", "+31205550000", ("+31201234567", "e164")),
        ("234567", "1", "+31113550000", ("+31113234567", "e164")),
        ("1234567", "1", "+31612345678", ("+31401234567", "e164")),
        ("1234567", "1", None, ("+31401234567", "e164")),
        ("1234567", "1", "Amsterdam", ("+31401234567", "e164")),
        ("12", "1", "+31205550000", ("12", "unknown")),
        ("0201234567", "1", "40", ("+31201234567", "e164")),
        ("201234567", "2", None, ("+31201234567", "e164")),
        ("0201234567", "2", None, ("+31201234567", "e164")),
        ("31201234567", "3", None, ("+31201234567", "e164")),
        ("0031201234567", "3", None, ("+31201234567", "e164")),
        ("31201234567", "9", None, ("31201234567", "unknown")),
        ("31201234567", "4", None, ("+31201234567", "e164")),
        ("31201234567", "new", None, ("+31201234567", "e164")),
        ("31201234567", None, None, ("+31201234567", "e164")),
        ("112", "3", None, ("112", "short")),
        ("tel:201234567;phone-context=+31", "3", None, ("+31201234567", "e164")),
    ],
)
def test_the_nature_that_a_row_tells_goes_before_the_plan(
    raw: str, nature: str | None, area: str | None, expected: tuple[str, str]
) -> None:
    """A told nature decides; an unknown code leaves it to the plan; a local number takes the area of its row first."""
    frame = pl.DataFrame(
        {"raw": [raw], "nature": [nature], "area": [area]}, schema_overrides={"area": pl.String, "nature": pl.String}
    )
    plan = NumberPlan(bare="international", area="40")
    rule = party_by_nature(pl.col("raw"), pl.col("nature"), NATURES, plan, "NL", "acme", area=pl.col("area"))
    (found,) = frame.select(rule).to_series().to_list()

    assert (found["number"], found["kind"]) == expected


def test_a_number_told_to_be_international_has_no_trunk_prefix() -> None:
    """Where the trunk prefix is a digit that country codes start with, the nature keeps it."""
    plan = NumberPlan(country="7", international="810", national="8")
    frame = pl.DataFrame({"raw": ["81312345678", "81312345678"], "nature": ["3", "4"]})
    found = frame.select(party_by_nature(pl.col("raw"), pl.col("nature"), NATURES, plan, "RU", "x")).to_series()

    assert found.struct.field("number").to_list() == ["+81312345678", "+71312345678"]


def test_without_any_area_a_local_number_stays_as_it_came() -> None:
    """A local number of an unknown area is unknown, never completed with a guess."""
    frame = pl.DataFrame({"raw": ["1234567"], "nature": ["1"]})
    (found,) = (
        frame.select(party_by_nature(pl.col("raw"), pl.col("nature"), NATURES, PLAIN, "NL", "x")).to_series().to_list()
    )

    assert (found["number"], found["kind"], found["raw"]) == ("1234567", "unknown", None)


def test_a_nature_of_another_word_is_refused() -> None:
    """A feed whose natures are not of the closed list does not load."""
    with pytest.raises(FeedError, match="must be one of plan, international"):
        party_by_nature(pl.col("raw"), pl.col("nature"), {"1": "local"}, PLAIN, "NL", "x")


def test_no_rows_are_no_parties() -> None:
    """An empty column gives an empty column of the same type."""
    assert read([]) == []


def test_raw_is_kept_exactly_where_the_number_does_not_give_it_back() -> None:
    """The rule for raw stands on its own: for feeds that deliver number, kind and raw apart."""
    frame = pl.DataFrame(
        {
            "raw": ["+31612345678", "31612345678", "0612345678", "Bank", "1001", "31", None, ""],
            "number": ["+31612345678", "+31612345678", "+31612345678", "Bank", "1001@x", "+31", "+31", None],
            "kind": ["e164", "e164", "e164", "alphanumeric", "extension", "unknown", "e164", None],
        }
    )
    kept = frame.select(kept_raw(pl.col("raw"), pl.col("number"), pl.col("kind"))).to_series().to_list()

    assert kept == [None, None, "0612345678", None, "1001", "31", None, None]


@pytest.mark.parametrize(
    ("raw", "plan", "expected"),
    [
        ("3161234", INTERNATIONAL, ("3161234", "unknown")),
        ("4412345", INTERNATIONAL, ("4412345", "unknown")),
        ("44123456", INTERNATIONAL, ("+44123456", "e164")),
        ("+4412345", INTERNATIONAL, ("+4412345", "e164")),
        ("004412345", INTERNATIONAL, ("+4412345", "e164")),
        ("31112", INTERNATIONAL, ("112", "short")),
        ("-1", PLAIN, ("-1", "unknown")),
        ("-31612345678", INTERNATIONAL, ("-31612345678", "unknown")),
        ("sip:-1@example.org", PLAIN, ("sip:-1@example.org", "uri")),
    ],
)
def test_digits_that_are_no_number(raw: str, plan: NumberPlan, expected: tuple[str, str]) -> None:
    """A bare international number has eight digits or more, and a word such as -1 is never the number 1."""
    assert one(raw, plan) == expected


def test_a_short_number_told_to_be_international_is() -> None:
    """What the row tells of its number goes before what the plan guesses."""
    columns = pl.DataFrame({"raw": ["4412345", "4412345"], "nature": ["1", "9"]})
    rule = party_by_nature(pl.col("raw"), pl.col("nature"), {"1": "international"}, INTERNATIONAL, "NL", "acme")

    assert columns.select(rule).to_series().struct.field("kind").to_list() == ["e164", "unknown"]


@pytest.mark.parametrize("raw", ["Anoniem", "onbekend", "GEHEIM", "afgeschermd"])
def test_dutch_words_withhold_too(raw: str) -> None:
    """Dutch exchanges write Dutch words."""
    assert read([raw]) == [{"number": None, "kind": None, "raw": raw, "withheld": True, "emergency": False}]
