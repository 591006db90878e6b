"""The policy as data: the privacy statement's rows, the longest term, what serves a purpose, and the digest."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.record import CLASSES
from tests.thorough import as_many
from tests.trafficvault.policy_texts import HEAD, entry
from trafficvault.errors import RefusedError
from trafficvault.period import Period
from trafficvault.policy import Policy
from trafficvault.policy_file import parse, preset_text


@pytest.fixture(scope="module")
def telecom() -> Policy:
    """The telecom preset."""
    return parse(preset_text("telecom"))


@pytest.mark.parametrize(
    ("name", "months"),
    [
        ("telecom", {name: 6 for name in CLASSES if name != "server_use"} | {"binding": 60}),
        ("hosting", {"binding": 3, "internet": 3, "server_use": 3}),
    ],
)
def test_a_preset_keeps_what_the_privacy_statement_promises(name: str, months: dict[str, int]) -> None:
    """Six months of traffic data at a telecom provider, five years at most of who held what; three months at a host."""
    policy = parse(preset_text(name))

    assert {item: policy.require_term(item).lasts for item in policy.classes()} == {
        item: Period(months=count) for item, count in months.items()
    }


def test_the_telecom_preset_reads_as_the_privacy_statement(telecom: Policy) -> None:
    """The rows' terms, word for word in both languages; the contract row is printed and not stored."""
    dutch = {row["id"]: row["term"] for row in telecom.as_dicts("nl")}
    english = {row["id"]: row["term"] for row in telecom.as_dicts()}
    contract = next(row for row in telecom.entries if row.id == "contract")

    assert {name for name, term in dutch.items() if term == "6 maanden"} == {
        "telephony",
        "voip",
        "mobile",
        "lawful-requests",
    }
    assert dutch["border-notices"] == dutch["bundle-notices"] == "tot einde dienst, ten hoogste 6 maanden"
    assert english["border-notices"] == "until end of service, at most 6 months"
    assert english["sim-and-device"] == "until end of service, at most 5 years after the last report"
    assert dutch["sim-and-device"] == "tot einde dienst, ten hoogste 5 jaar na de laatste melding"
    assert (contract.classes, dutch["contract"], english["contract"]) == (
        (),
        "tot einde dienst",
        "until end of service",
    )


def test_the_table_is_printed_in_dutch_and_english(telecom: Policy) -> None:
    """One Markdown table per language, a row per entry, every row as wide as its head."""
    text = telecom.markdown()
    dutch, english = text.split("\n\n## Retention terms\n\n")

    assert dutch.startswith("## Bewaartermijnen\n\n| Dienst | Gegevens | Bewaartermijn |")
    for table in (dutch.split("\n\n")[1], english):
        rows = table.splitlines()
        assert len(rows) == len(telecom.table) + 2
        assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {7}
    assert "| – |" in english.splitlines()[-1]
    assert telecom.markdown(["en"]) == "## Retention terms\n\n" + english


def test_a_bar_in_a_text_does_not_break_the_table() -> None:
    """What Markdown would read as a column is escaped."""
    policy = parse(HEAD + entry("a", '"P1M"', "[]").replace('"Basis"', '"a | b\\\\c\\nd"'))

    assert r"| a \| b\\c d |" in policy.markdown()


@pytest.mark.parametrize(
    ("term", "dutch", "english", "line"),
    [
        ('"P6M"', "6 maanden", "6 months", "P6M"),
        (
            '{ until = "end_of_service", after = "P6M", cap = "P2Y" }',
            "tot 6 maanden na einde dienst, ten hoogste 2 jaar",
            "until 6 months after end of service, at most 2 years",
            "until end_of_service, after P6M, cap P2Y",
        ),
        (
            '{ until = "end_of_service", cap = "P6M" }',
            "tot einde dienst, ten hoogste 6 maanden",
            "until end of service, at most 6 months",
            "until end_of_service, after P0D, cap P6M",
        ),
    ],
)
def test_a_term_is_said_as_the_statement_says_it(term: str, dutch: str, english: str, line: str) -> None:
    """In both languages for people, in one line for certificates."""
    found = parse(HEAD + entry("a", term, '["voip"]')).entries[0]

    assert (found.term_words("nl"), found.term_words("en"), str(found.term)) == (dutch, english, line)


def test_an_event_term_ends_at_its_cap() -> None:
    """Until the event can be told to the vault, the cap decides, not the period after the event."""
    policy = parse(HEAD + entry("a", '{ until = "end_of_service", after = "P1M", cap = "P6M" }', '["voip"]'))

    assert policy.require_term("voip").lasts == Period(months=6)


def test_the_longest_of_several_terms_keeps_a_class() -> None:
    """Whichever order they stand in."""
    short, long = entry("short", '"P1M"', '["voip", "email"]'), entry("long", '"P1Y"', '["voip"]')
    for text in (short + long, long + short):
        policy = parse(HEAD + text)
        kept = policy.entry_of("voip")

        assert policy.require_term("voip").lasts == Period(months=12)
        assert policy.require_term("email").lasts == Period(months=1)
        assert kept is not None
        assert kept.id == "long"


def test_a_class_without_an_entry_may_not_be_stored(telecom: Policy) -> None:
    """`require_term` refuses what `term_of` does not know."""
    assert telecom.term_of("server_use") is None
    with pytest.raises(RefusedError, match=r"class server_use: no entry of policy\.toml covers it"):
        telecom.require_term("server_use")


def test_the_digest_follows_words_not_layout(telecom: Policy) -> None:
    """A comment changes nothing; a term, a text or a limit does."""
    text = preset_text("telecom")

    assert parse("# new comment\n" + text).digest == telecom.digest
    assert re.fullmatch("[0-9a-f]{64}", telecom.digest)
    for old, new in (
        ('"P6M"', '"P7M"'),
        ("The provider", "A provider"),
        ("1GiB", "2GiB"),
        ('["email"', '["server_use"'),
    ):
        assert parse(text.replace(old, new)).digest != telecom.digest


@given(st.lists(st.tuples(st.integers(1, 40), st.sets(st.sampled_from(CLASSES))), min_size=1, max_size=5))
@settings(max_examples=as_many(25))
def test_a_class_is_kept_by_the_longest_of_its_terms(rows: list[tuple[int, set[str]]]) -> None:
    """Whatever rows a policy has."""
    text = HEAD + "".join(
        entry(f"row-{number}", f'"P{months}M"', str(sorted(classes)).replace("'", '"'))
        for number, (months, classes) in enumerate(rows)
    )
    policy = parse(text)

    for record_class in CLASSES:
        terms = [months for months, classes in rows if record_class in classes]
        term = policy.term_of(record_class)
        assert (term.lasts.months if term else None) == max(terms, default=None)
    assert policy.classes() == [name for name in CLASSES if any(name in classes for _, classes in rows)]


def test_a_location_may_have_a_shorter_term() -> None:
    """Each category by the longest entry that names it; the rest by the record's, and rejected rows by the shortest."""
    rest = entry("rest", '"P6M"', '["voip", "email"]', 'categories = ["who", "when", "how_much"]\n')
    where = entry("where", '"P1M"', '["voip", "email"]', 'categories = ["where"]\n')
    policy = parse(HEAD + rest + where + entry("mail", '"P3M"', '["email"]'))

    assert {name: policy.require_term("email", name).lasts.months for name in ("who", "where", "when")} == {
        "who": 6, "where": 3, "when": 6,
    }  # fmt: skip
    assert (policy.early("voip"), policy.early("telephony")) == (("where",), ())
    assert (policy.shortest_of("voip"), policy.shortest_of("telephony")) == ("where", "when")
    rows = policy.markdown(["en"]).splitlines()
    assert "voip, email (who, when, how_much)" in rows[4]
    assert "voip, email (where)" in rows[5]
    assert parse(HEAD + rest + where).digest != parse(HEAD + rest.replace("P6M", "P7M") + where).digest


def test_categories_left_out_are_all_of_them() -> None:
    """An entry that names every category is the same policy as one that names none."""
    plain = entry("a", '"P1M"', '["voip"]')
    named = entry("a", '"P1M"', '["voip"]', 'categories = ["where", "when", "who", "how_much"]\n')
    assert parse(HEAD + plain).digest == parse(HEAD + named).digest
    assert parse(HEAD + plain).early("voip") == ()


def test_a_purpose_is_served_by_its_own_rows() -> None:
    """Where entries of a class name purposes, one purpose has their terms alone; other classes are as before."""
    long = entry("bills", '"P1Y"', '["voip", "email"]', 'purpose = "billing"\n')
    short = entry("requests", '"P6M"', '["voip"]', 'purpose = "lawful-request"\n')
    policy = parse(HEAD + long + short + entry("other", '"P2M"', '["internet", "voip"]'))
    served = policy.serving("lawful-request")

    assert policy.require_term("voip").lasts.months == 12
    assert served.require_term("voip").lasts.months == 6
    assert (served.term_of("email"), served.require_term("internet").lasts.months) == (None, 2)
    assert policy.serving("billing").require_term("voip").lasts.months == 12
    assert policy.digest != parse(HEAD + long.replace("billing", "contract") + short).digest
    plain = parse(HEAD + entry("a", '"P1M"', '["voip"]'))
    assert plain.serving("lawful-request") is plain
