"""The policy as data: the privacy statement's rows, the longest term, and every fault told in a sentence."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.record import CLASSES
from trafficvault.errors import RefusedError, UsageError
from trafficvault.period import Period
from trafficvault.policy import PRESETS, Policy, Term, faults, parse, preset_text

HEAD = 'zone = "Europe/Amsterdam"\nregion = "NL"\n'


def _entry(name: str, term: str, classes: str, more: str = "") -> str:
    return (
        f'[[entry]]\nid = "{name}"\nservice = {{ nl = "Dienst", en = "Service" }}\ndata = "Data"\nterm = {term}\n'
        f'controller = "Us"\nlegal_basis = "Basis"\nclasses = {classes}\n{more}'
    )


@pytest.fixture(scope="module")
def telecom() -> Policy:
    """The telecom preset."""
    return parse(preset_text("telecom"))


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_a_policy_without_a_fault(name: str) -> None:
    """What `init` offers can be read, in the zone and region it promises."""
    policy = parse(preset_text(name))

    assert faults(preset_text(name)) == []
    assert (policy.zone, policy.region) == ("Europe/Amsterdam", "NL")
    assert (policy.key_copies_within.delta().days, policy.max_clock_step.delta().days, policy.min_free) == (7, 7, 2**30)


def test_an_unknown_preset_is_refused() -> None:
    """Only the presets that are shipped can be named."""
    with pytest.raises(UsageError, match="there are telecom, hosting"):
        preset_text("../telecom")


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
    contract = next(entry for entry in telecom.entries if entry.id == "contract")

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
    policy = parse(HEAD + _entry("a", '"P1M"', "[]").replace('"Basis"', '"a | b\\\\c\\nd"'))

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
    entry = parse(HEAD + _entry("a", term, '["voip"]')).entries[0]

    assert (entry.term_words("nl"), entry.term_words("en"), str(entry.term)) == (dutch, english, line)


def test_an_event_term_ends_at_its_cap() -> None:
    """Until the event can be told to the vault, the cap decides, not the period after the event."""
    policy = parse(HEAD + _entry("a", '{ until = "end_of_service", after = "P1M", cap = "P6M" }', '["voip"]'))

    assert policy.require_term("voip").lasts == Period(months=6)


def test_a_term_without_an_end_has_no_length() -> None:
    """Nobody computes with a term that is only printed."""
    term = Term(until="end_of_service")

    assert not term.ends
    assert str(term) == "until end_of_service, after P0D"
    with pytest.raises(UsageError, match="it has no end"):
        assert term.lasts.months


def test_the_longest_of_several_terms_keeps_a_class() -> None:
    """Whichever order they stand in."""
    short, long = _entry("short", '"P1M"', '["voip", "email"]'), _entry("long", '"P1Y"', '["voip"]')
    for text in (short + long, long + short):
        policy = parse(HEAD + text)
        entry = policy.entry_of("voip")

        assert policy.require_term("voip").lasts == Period(months=12)
        assert policy.require_term("email").lasts == Period(months=1)
        assert entry is not None
        assert entry.id == "long"


def test_a_class_without_an_entry_may_not_be_stored(telecom: Policy) -> None:
    """`require_term` refuses what `term_of` does not know."""
    assert telecom.term_of("server_use") is None
    with pytest.raises(RefusedError, match=r"class server_use: no entry of policy\.toml covers it"):
        telecom.require_term("server_use")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("entry = 1", "entry must be a list of tables", id="entry is no list"),
        pytest.param("]", "it is not TOML", id="not TOML"),
        pytest.param(HEAD, "it has no entry", id="no entry"),
        pytest.param(HEAD + "format = 2\n" + _entry("a", '"P1M"', "[]"), "format is 2", id="a later format"),
        pytest.param(HEAD + 'owner = "x"\n' + _entry("a", '"P1M"', "[]"), "unknown key 'owner'", id="unknown key"),
        pytest.param('zone = "Mars/Base"\nregion = "NL"\n', "looking for time zone 'Mars/Base'", id="unknown zone"),
        pytest.param('zone = "UTC"\nregion = "Holland"\n', "region is 'Holland'", id="no region"),
        pytest.param(HEAD + 'key_copies_within = "P1M"\n', "key_copies_within is P1M; write it in days", id="months"),
        pytest.param(HEAD + 'max_clock_step = "P0D"\n', "max_clock_step is P0D", id="no step"),
        pytest.param(HEAD + 'min_free = "much"\n', "min_free must be a number of bytes", id="no size"),
        pytest.param(
            HEAD + _entry("a", '"P1M"', '["telefony"]'),
            "entry 'a': classes is 'telefony', did you mean 'telephony'",
            id="unknown class",
        ),
        pytest.param(HEAD + _entry("a", '"P0D"', "[]"), "term is a period of no length", id="no length"),
        pytest.param(HEAD + _entry("a", '"6M"', "[]"), "term: reading period '6M'", id="no period"),
        pytest.param(HEAD + _entry("a", "6", "[]"), "term must be a table", id="term is a number"),
        pytest.param(
            HEAD + _entry("a", '{ until = "death" }', "[]"), "entry 'a', term: until is 'death'", id="no event"
        ),
        pytest.param(
            HEAD + _entry("a", '{ until = "end_of_service", cap = "P0D" }', "[]"),
            "cap is a period of no length",
            id="cap of no length",
        ),
        pytest.param(
            HEAD + _entry("a", '{ until = "end_of_service", caps = "P1M" }', "[]"),
            "unknown key 'caps'",
            id="key in term",
        ),
        pytest.param(
            HEAD + _entry("a", '{ until = "end_of_service" }', '["binding"]'),
            "covers binding and its term has no end",
            id="no cap for a stored class",
        ),
        pytest.param(
            HEAD + _entry("a", '"P1M"', '["voip", "voip"]'), "classes names the same thing twice", id="class twice"
        ),
        pytest.param(
            HEAD + _entry("a", '"P1M"', "[]", 'servce = "x"\n'),
            "unknown key 'servce', did you mean 'service'",
            id="misspelt",
        ),
        pytest.param(
            HEAD + _entry("a", '"P1M"', "[]").replace(', en = "Service"', ""),
            "service: en is missing",
            id="one language",
        ),
        pytest.param(HEAD + _entry("a", '"P1M"', "[]").replace('"Data"', "1"), "data must be a table", id="no text"),
        pytest.param(HEAD + 2 * _entry("a", '"P1M"', "[]"), "entry 'a' stands there 2 times", id="id twice"),
        pytest.param(
            HEAD + _entry("a", '"P1M"', '["voip"]', 'categories = ["place"]\n'),
            "entry 'a': categories is 'place'",
            id="unknown category",
        ),
        pytest.param(
            HEAD + _entry("a", '"P1M"', '["voip"]', "categories = []\n"),
            "categories must name some of",
            id="no category",
        ),
        pytest.param(
            HEAD + _entry("a", '"P1M"', '["voip"]', 'purpose = "lawfull-request"\n'),
            "purpose is 'lawfull-request', did you mean 'lawful-request'",
            id="unknown purpose",
        ),
        pytest.param(
            HEAD
            + _entry("a", '"P1M"', '["voip"]', 'purpose = "billing"\n')
            + _entry("b", '"P1M"', '["voip"]', 'purpose = "lawful-request"\ncategories = ["who", "when"]\n'),
            "no entry keeps where and how_much of class voip",
            id="a purpose that is served in part",
        ),
        pytest.param(HEAD + 'from = "soon"\n' + _entry("a", '"P1M"', "[]"), "from must be a date", id="no date"),
        pytest.param(
            HEAD + "from = 2027-01-01T00:00:00Z\n" + _entry("a", '"P1M"', "[]"), "from must be a date", id="a moment"
        ),
        pytest.param(
            HEAD + _entry("a", '"P1M"', "[]", 'categories = ["where"]\n'),
            "of the entry's classes",
            id="categories of no class",
        ),
        pytest.param(
            HEAD + _entry("a", '"P1M"', '["voip"]', 'categories = ["who", "when", "how_much"]\n'),
            "no entry keeps where of class voip",
            id="a category that nothing keeps",
        ),
        pytest.param(
            HEAD
            + _entry("a", '"P1M"', '["voip"]')
            + _entry("b", '"P2M"', '["voip"]', 'categories = ["where", "who", "when"]\n'),
            "class voip is kept P2M, and its category how_much only P1M; of a class only where may end before the rest",
            id="a category that may not end first",
        ),
        pytest.param(
            HEAD + _entry("a", '"P1M"', '["voip"]') + _entry("b", '"P2M"', '["voip"]', 'categories = ["where"]\n'),
            "class voip is kept P2M, and its category who only P1M",
            id="location longer than its call",
        ),
        pytest.param(
            HEAD + _entry("a", '"P6M"', '["voip"]') + _entry("b", '"P183D"', '["voip"]'),
            "class voip is kept P6M by entry 'a' and P183D by entry 'b'; which is longer depends on the day",
            id="which is longer depends on the day",
        ),
    ],
)
def test_a_fault_of_the_policy_is_told_in_a_sentence(text: str, words: str) -> None:
    """`parse` raises the first fault and `faults` lists it."""
    found = faults(text)
    assert any(words in fault for fault in found), found
    assert all(fault.startswith("reading policy.toml") for fault in found)
    with pytest.raises(UsageError, match=re.escape(found[0])):
        parse(text)


def test_every_faulty_entry_is_told_at_once() -> None:
    """`config check` need not be run once per fault."""
    text = (
        'zone = "x"\nregion = "NL"\n'
        + _entry("a", '"P0D"', "[]")
        + _entry("b", '"P1M"', '["x"]')
        + _entry("c", '"P1M"', "[]")
    )
    found = faults(text)

    assert [next(name for name in ("zone", "'a'", "'b'") if name in fault) for fault in found] == ["zone", "'a'", "'b'"]
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert caught.value.hint == "2 more: `config check` lists them"


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
@settings(max_examples=60)
def test_a_class_is_kept_by_the_longest_of_its_terms(rows: list[tuple[int, set[str]]]) -> None:
    """Whatever rows a policy has."""
    text = HEAD + "".join(
        _entry(f"row-{number}", f'"P{months}M"', str(sorted(classes)).replace("'", '"'))
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
    rest = _entry("rest", '"P6M"', '["voip", "email"]', 'categories = ["who", "when", "how_much"]\n')
    where = _entry("where", '"P1M"', '["voip", "email"]', 'categories = ["where"]\n')
    policy = parse(HEAD + rest + where + _entry("mail", '"P3M"', '["email"]'))

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
    plain = _entry("a", '"P1M"', '["voip"]')
    named = _entry("a", '"P1M"', '["voip"]', 'categories = ["where", "when", "who", "how_much"]\n')
    assert parse(HEAD + plain).digest == parse(HEAD + named).digest
    assert parse(HEAD + plain).early("voip") == ()


def test_a_purpose_is_served_by_its_own_rows() -> None:
    """Where entries of a class name purposes, one purpose has their terms alone; other classes are as before."""
    long = _entry("bills", '"P1Y"', '["voip", "email"]', 'purpose = "billing"\n')
    short = _entry("requests", '"P6M"', '["voip"]', 'purpose = "lawful-request"\n')
    policy = parse(HEAD + long + short + _entry("other", '"P2M"', '["internet", "voip"]'))
    served = policy.serving("lawful-request")

    assert policy.require_term("voip").lasts.months == 12
    assert served.require_term("voip").lasts.months == 6
    assert (served.term_of("email"), served.require_term("internet").lasts.months) == (None, 2)
    assert policy.serving("billing").require_term("voip").lasts.months == 12
    assert policy.digest != parse(HEAD + long.replace("billing", "contract") + short).digest
    plain = parse(HEAD + _entry("a", '"P1M"', '["voip"]'))
    assert plain.serving("lawful-request") is plain
