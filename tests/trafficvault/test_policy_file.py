"""The file of a policy: the presets that are shipped can be read, and every fault is told in a sentence."""

from __future__ import annotations

import re

import pytest

from tests.trafficvault.policy_texts import HEAD, entry
from trafficvault.errors import UsageError
from trafficvault.policy_file import PRESETS, faults, parse, preset_text


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
    ("text", "words"),
    [
        pytest.param("entry = 1", "entry must be a list of tables", id="entry is no list"),
        pytest.param("]", "it is not TOML", id="not TOML"),
        pytest.param(HEAD, "it has no entry", id="no entry"),
        pytest.param(HEAD + "format = 2\n" + entry("a", '"P1M"', "[]"), "format is 2", id="a later format"),
        pytest.param(HEAD + 'owner = "x"\n' + entry("a", '"P1M"', "[]"), "unknown key 'owner'", id="unknown key"),
        pytest.param('zone = "Mars/Base"\nregion = "NL"\n', "looking for time zone 'Mars/Base'", id="unknown zone"),
        pytest.param('zone = "UTC"\nregion = "Holland"\n', "region is 'Holland'", id="no region"),
        pytest.param(HEAD + 'key_copies_within = "P1M"\n', "key_copies_within is P1M; write it in days", id="months"),
        pytest.param(HEAD + 'max_clock_step = "P0D"\n', "max_clock_step is P0D", id="no step"),
        pytest.param(HEAD + 'min_free = "much"\n', "min_free must be a number of bytes", id="no size"),
        pytest.param(
            HEAD + entry("a", '"P1M"', '["telefony"]'),
            "entry 'a': classes is 'telefony', did you mean 'telephony'",
            id="unknown class",
        ),
        pytest.param(HEAD + entry("a", '"P0D"', "[]"), "term is a period of no length", id="no length"),
        pytest.param(HEAD + entry("a", '"6M"', "[]"), "term: reading period '6M'", id="no period"),
        pytest.param(HEAD + entry("a", "6", "[]"), "term must be a table", id="term is a number"),
        pytest.param(
            HEAD + entry("a", '{ until = "death" }', "[]"), "entry 'a', term: until is 'death'", id="no event"
        ),
        pytest.param(
            HEAD + entry("a", '{ until = "end_of_service", cap = "P0D" }', "[]"),
            "cap is a period of no length",
            id="cap of no length",
        ),
        pytest.param(
            HEAD + entry("a", '{ until = "end_of_service", caps = "P1M" }', "[]"),
            "unknown key 'caps'",
            id="key in term",
        ),
        pytest.param(
            HEAD + entry("a", '{ until = "end_of_service" }', '["binding"]'),
            "covers binding and its term has no end",
            id="no cap for a stored class",
        ),
        pytest.param(
            HEAD + entry("a", '"P1M"', '["voip", "voip"]'), "classes names the same thing twice", id="class twice"
        ),
        pytest.param(
            HEAD + entry("a", '"P1M"', "[]", 'servce = "x"\n'),
            "unknown key 'servce', did you mean 'service'",
            id="misspelt",
        ),
        pytest.param(
            HEAD + entry("a", '"P1M"', "[]").replace(', en = "Service"', ""),
            "service: en is missing",
            id="one language",
        ),
        pytest.param(HEAD + entry("a", '"P1M"', "[]").replace('"Data"', "1"), "data must be a table", id="no text"),
        pytest.param(HEAD + 2 * entry("a", '"P1M"', "[]"), "entry 'a' stands there 2 times", id="id twice"),
        pytest.param(
            HEAD + entry("a", '"P1M"', '["voip"]', 'categories = ["place"]\n'),
            "entry 'a': categories is 'place'",
            id="unknown category",
        ),
        pytest.param(
            HEAD + entry("a", '"P1M"', '["voip"]', "categories = []\n"),
            "categories must name some of",
            id="no category",
        ),
        pytest.param(
            HEAD + entry("a", '"P1M"', '["voip"]', 'purpose = "lawfull-request"\n'),
            "purpose is 'lawfull-request', did you mean 'lawful-request'",
            id="unknown purpose",
        ),
        pytest.param(
            HEAD
            + entry("a", '"P1M"', '["voip"]', 'purpose = "billing"\n')
            + entry("b", '"P1M"', '["voip"]', 'purpose = "lawful-request"\ncategories = ["who", "when"]\n'),
            "no entry keeps where and how_much of class voip",
            id="a purpose that is served in part",
        ),
        pytest.param(HEAD + 'from = "soon"\n' + entry("a", '"P1M"', "[]"), "from must be a date", id="no date"),
        pytest.param(
            HEAD + "from = 2027-01-01T00:00:00Z\n" + entry("a", '"P1M"', "[]"), "from must be a date", id="a moment"
        ),
        pytest.param(
            HEAD + entry("a", '"P1M"', "[]", 'categories = ["where"]\n'),
            "of the entry's classes",
            id="categories of no class",
        ),
        pytest.param(
            HEAD + entry("a", '"P1M"', '["voip"]', 'categories = ["who", "when", "how_much"]\n'),
            "no entry keeps where of class voip",
            id="a category that nothing keeps",
        ),
        pytest.param(
            HEAD
            + entry("a", '"P1M"', '["voip"]')
            + entry("b", '"P2M"', '["voip"]', 'categories = ["where", "who", "when"]\n'),
            "class voip is kept P2M, and its category how_much only P1M; of a class only where may end before the rest",
            id="a category that may not end first",
        ),
        pytest.param(
            HEAD + entry("a", '"P1M"', '["voip"]') + entry("b", '"P2M"', '["voip"]', 'categories = ["where"]\n'),
            "class voip is kept P2M, and its category who only P1M",
            id="location longer than its call",
        ),
        pytest.param(
            HEAD + entry("a", '"P6M"', '["voip"]') + entry("b", '"P183D"', '["voip"]'),
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
        + entry("a", '"P0D"', "[]")
        + entry("b", '"P1M"', '["x"]')
        + entry("c", '"P1M"', "[]")
    )
    found = faults(text)

    assert [next(name for name in ("zone", "'a'", "'b'") if name in fault) for fault in found] == ["zone", "'a'", "'b'"]
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert caught.value.hint == "2 more: `config check` lists them"
