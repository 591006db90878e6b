"""Warrants: what is read, what is refused, what is allowed, and what is said of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.record import CLASSES
from queries.questions import questions
from trafficvault import signing, warrants
from trafficvault.errors import RefusedError, UsageError, VaultError
from trafficvault.period import Period
from trafficvault.terms import Term
from trafficvault.warrants import WarrantDocument

QUESTIONS = frozenset(questions())
ZONE = "Europe/Amsterdam"
NOW = datetime(2026, 11, 20, 10, tzinfo=UTC)
HEAD = """
reference = "PV-2026-000123"
kind = "produce"
authority = "om-oost-brabant"
legal_basis = "126n Sv"
received = 2026-11-02T09:14:00+01:00
judge = "RC-2026-0417"
categories = ["when", "who"]
questions = ["activity"]
"""
TARGET = """
[[targets]]
type = "msisdn"
value = "+31612345678"
from = 2026-06-01T00:00:00+02:00
to = 2026-09-01T00:00:00+02:00
"""


def read(head: str = HEAD, target: str = TARGET) -> WarrantDocument:
    """Parses a warrant."""
    return warrants.parse(head + target, QUESTIONS)


def test_the_canonical_document() -> None:
    """A warrant becomes one document with every key, moments in UTC, targets in normal form, and no class left out."""
    warrant = read()

    assert warrant.document == {
        "kind": "warrant", "v": 1, "reference": "PV-2026-000123", "kind_of_order": "produce",
        "authority": "om-oost-brabant", "legal_basis": "126n Sv", "received": "2026-11-02T08:14:00.000000Z",
        "issued": None, "valid_until": None, "deadline": None, "case": None, "document": None, "judge": "RC-2026-0417",
        "oral": False, "urgent": False, "language": None, "supplements": None, "classes": list(CLASSES),
        "categories": ["who", "when"], "questions": ["activity"], "max_matches": 1,
        "targets": [
            {"type": "msisdn", "value": "+31612345678",
             "from": "2026-05-31T22:00:00.000000Z", "to": "2026-08-31T22:00:00.000000Z"},
        ],
    }  # fmt: skip
    assert warrant.digest == signing.digest(warrant.document)
    assert warrant.classes == CLASSES and warrant.categories == {"who", "when"}
    assert warrant.windows == ((datetime(2026, 5, 31, 22, tzinfo=UTC), datetime(2026, 8, 31, 22, tzinfo=UTC)),)
    assert WarrantDocument.of(json.loads(signing.canonical(warrant.document))).digest == warrant.digest
    assert "612345678" not in repr(warrant)


def test_optional_keys() -> None:
    """The optional keys stand in the document too."""
    more = """
issued = 2026-11-01T00:00:00Z
valid_until = 2027-01-01T00:00:00+01:00
deadline = 2026-12-01T12:00:00+01:00
case = "Zaak 7"
document = "brief.pdf"
oral = true
urgent = true
language = "nl"
supplements = "PV-2026-000100"
classes = ["voip", "telephony"]
max_matches = 5
"""
    document = read(HEAD + more).document

    assert document["deadline"] == "2026-12-01T11:00:00.000000Z" and document["classes"] == ["telephony", "voip"]
    assert (document["oral"], document["urgent"], document["language"], document["max_matches"]) == (
        True,
        True,
        "nl",
        5,
    )
    assert (document["case"], document["document"], document["supplements"]) == (
        "Zaak 7",
        "brief.pdf",
        "PV-2026-000100",
    )


def test_another_spelling_is_the_same_warrant() -> None:
    """Order of keys and words, offsets and separators in numbers change nothing of what is signed."""
    other = "\n".join(reversed(HEAD.strip().splitlines())).replace('"when", "who"', '"who", "when"')
    target = TARGET.replace("+31612345678", "+31 6 12345678").replace("06-01T00:00:00+02:00", "05-31T22:00:00Z")

    assert read(other, target).digest == read().digest
    assert read(HEAD, TARGET + TARGET.replace("678", "679")).digest != read().digest


def test_a_moment_with_tolerance() -> None:
    """A moment becomes the window around it, and stays in the document."""
    target = (
        '[[targets]]\ntype = "ip_port"\nvalue = "192.0.2.1:443"\nat = 2026-06-01T12:00:00+02:00\ntolerance = "PT60S"\n'
    )
    (entry,) = read(target=target).document["targets"]

    assert entry == {
        "type": "ip_port", "value": "192.0.2.1:443", "at": "2026-06-01T10:00:00.000000Z",
        "from": "2026-06-01T09:59:00.000000Z", "to": "2026-06-01T10:01:00.000000Z",
    }  # fmt: skip


def swap(old: str, new: str, text: str = HEAD) -> str:
    """`text` with one thing changed."""
    assert old in text
    return text.replace(old, new)


HOLD = 'hold_for = "P90D"\n'
PRESERVE = HOLD + swap('"produce"', '"preserve"', swap('"126n Sv"', '"126ni Sv"', swap('questions = ["activity"]', "")))
AT = 'at = 2026-06-01T00:00:00Z\ntolerance = "PT1M"\n'
FROM, TO = "from = 2026-06-01T00:00:00+02:00\n", "to = 2026-09-01T00:00:00+02:00\n"
WRONG: list[tuple[str, str, str, type[VaultError], str]] = [
    ("not TOML", HEAD + "what is this", TARGET, UsageError, "not TOML"),
    ("no reference", swap('reference = "PV-2026-000123"', ""), TARGET, UsageError, "reference is missing"),
    ("a misspelt key", swap("judge", "jugde"), TARGET, UsageError, "unknown key 'jugde', did you mean 'judge'"),
    ("an unknown key of a target", HEAD, TARGET + "name = 'x'\n", UsageError, "targets 1: unknown key 'name'"),
    ("an empty text", swap('"om-oost-brabant"', '" "'), TARGET, UsageError, "authority must be a text"),
    ("a date without time", swap("2026-11-02T09:14:00+01:00", "2026-11-02"), TARGET, UsageError, "with an offset"),
    ("a local time", swap("09:14:00+01:00", "09:14:00"), TARGET, UsageError, "received must be a date and time"),
    ("a first moment", swap("2026-11-02T09:14:00+01:00", "0001-01-01T00:00:00+10:00"), TARGET, UsageError, "1990 to"),
    ("a last moment", HEAD, swap(TO, "to = 9999-12-31T23:59:59-05:00\n", TARGET), UsageError, "s 1: to must be in"),
    ("a window without bound", HEAD, swap(TO, "to = 2101-01-01T00:00:00Z\n", TARGET), UsageError, "its year is 2101"),
    ("a long ago", HEAD, swap(FROM, "from = 1989-12-31T23:59:59Z\n", TARGET), UsageError, "its year is 1989"),
    ("a moment at the end", HEAD, swap(FROM + TO, swap("2026", "9999", AT), TARGET), UsageError, "at must be in"),
    ("valid for ever", HEAD + "valid_until = 9999-12-31T23:59:59Z\n", TARGET, UsageError, "valid_until must be in"),
    ("a first deadline", HEAD + "deadline = 0001-01-01T00:00:00Z\n", TARGET, UsageError, "its year is 1\\b"),
    ("an unknown kind", swap('"produce"', '"product"'), TARGET, UsageError, "did you mean 'produce'"),
    ("a hold without time", PRESERVE.replace(HOLD, ""), TARGET, UsageError, "hold_for is missing"),
    ("a hold in months", PRESERVE.replace("P90D", "P3M"), TARGET, RefusedError, "hold_for is P3M"),
    ("a long hold", PRESERVE.replace("P90D", "P91D"), TARGET, RefusedError, "126ni Sv allows up to P90D"),
    ("no hold", PRESERVE.replace("P90D", "P0D"), TARGET, RefusedError, "hold_for is P0D"),
    ("a European hold", PRESERVE.replace("126ni Sv", "EPOC-PR"), TARGET, RefusedError, "EPOC-PR allows up to P60D"),
    ("a hold that asks", PRESERVE + 'questions = ["activity"]', TARGET, UsageError, "unknown key 'questions'"),
    ("hold_for of an answer", HEAD + HOLD, TARGET, UsageError, "unknown key 'hold_for'"),
    ("standing", swap('"produce"', '"standing"'), TARGET, RefusedError, "this version handles produce and preserve"),
    ("an unknown category", swap('"who"]', '"whom"]'), TARGET, UsageError, "'whom', did you mean 'who'"),
    ("no category", swap('["when", "who"]', "[]"), TARGET, UsageError, "at least one of who, where"),
    ("categories left out", swap('categories = ["when", "who"]', ""), TARGET, UsageError, "no table of legal bases"),
    ("questions left out", swap('questions = ["activity"]', ""), TARGET, UsageError, "no table of legal bases"),
    ("an unknown question", swap('"activity"', '"activities"'), TARGET, UsageError, "did you mean 'activity'"),
    ("an unknown class", HEAD + 'classes = ["voice"]', TARGET, UsageError, "classes is 'voice'"),
    ("oral in words", HEAD + 'oral = "yes"', TARGET, UsageError, "oral must be true or false"),
    ("a long language", HEAD + 'language = "Dutch"', TARGET, UsageError, "two lower-case letters"),
    ("no matches at all", HEAD + "max_matches = 0", TARGET, UsageError, "from 1 to 1000"),
    ("no target", HEAD, "", UsageError, "it names no target"),
    ("a target that is no table", HEAD + "targets = [1]", "", UsageError, "list of tables"),
    ("a target without value", HEAD, swap('value = "+31612345678"', "", TARGET), UsageError, "value is missing"),
    ("a bare value", HEAD, swap('"+31612345678"', "31612345678", TARGET), UsageError, "in quotes"),
    ("a target of no type", HEAD, swap("msisdn", "31612345678", TARGET), UsageError, "type must be one of"),
    ("a national number", HEAD, swap('"+31612345678"', '"0612345678"', TARGET), UsageError, "targets 1: its value"),
    ("another", HEAD, TARGET + swap('"+31612345678"', '"0612345678"', TARGET), UsageError, "targets 2: its value"),
    ("a window without offset", HEAD, swap("00:00:00+02:00", "00:00:00", TARGET), UsageError, "from must be a date"),
    ("an empty window", HEAD, swap(TO, FROM.replace("from", "to"), TARGET), UsageError, "window is empty"),
    ("a window without end", HEAD, swap(TO, "", TARGET), UsageError, "to is missing"),
    ("a moment and a window", HEAD, TARGET + AT, UsageError, "`at` and a window"),
    ("a bare moment", HEAD, swap(FROM + TO, AT.splitlines()[0], TARGET), UsageError, "tolerance is missing"),
    ("no tolerance at all", HEAD, swap(FROM + TO, swap("PT1M", "PT0S", AT), TARGET), UsageError, "at most P1D"),
    ("a tolerance of days", HEAD, swap(FROM + TO, swap("PT1M", "P2D", AT), TARGET), UsageError, "at most P1D"),
    ("a tolerance of months", HEAD, swap(FROM + TO, swap("PT1M", "P1M", AT), TARGET), UsageError, "no one length"),
    ("a number without who", swap('"when", "who"', '"when"'), TARGET, RefusedError,
     r"target 1 \(msisdn\) can't be found without who"),
    ("a number without when", swap('"when", "who"', '"who"'), TARGET, RefusedError, "without when"),
    ("a cell without where", HEAD, swap('"msisdn"', '"cell"', swap('"+31612345678"', '"bts-7"', TARGET)), RefusedError,
     "without where"),
]  # fmt: skip


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case[0])
def test_refusals(case: tuple[str, str, str, type[VaultError], str]) -> None:
    """A warrant that is not in order is refused with what is wrong, and without the value of a target."""
    _, head, target, error, words = case

    with pytest.raises(error, match=words) as refused:
        warrants.parse(head + target, QUESTIONS)
    told = str(refused.value).replace("such as +31612345678", "")
    assert "612345678" not in told and "bts-7" not in told


def test_a_cell_needs_no_who() -> None:
    """A cell is found in `where`; what is asked about it may need more."""
    head = swap('["when", "who"]', '["when", "where"]')
    warrant = read(head, swap('"msisdn"', '"cell"', swap('"+31612345678"', '"BTS-7"', TARGET)))

    assert warrant.document["targets"][0]["value"] == "bts-7"
    assert "needs who" in warrants.objections(warrant, questions()["activity"], NOW)[0]


# objections


def reasons(head: str, question: str = "activity", now: datetime = NOW) -> tuple[str, ...]:
    """Why a question may not be run."""
    return warrants.objections(read(head), questions()[question], now)


def test_allowed() -> None:
    """A question of the warrant, of its categories and classes, is allowed."""
    assert warrants.objections(read(), questions()["activity"], NOW) == ()


DENIED: list[tuple[str, str, str, str]] = [
    ("a question outside the warrant", HEAD, "contacts", "contacts is not in the warrant, which has activity"),
    ("a category outside", swap('"activity"', '"cell"'), "cell", "cell needs where, which the warrant does not cover"),
    ("a class outside", swap('"activity"', '"holder"') + 'classes = ["voip"]', "holder", "holder reads binding"),
    ("a warrant that is over", HEAD + "valid_until = 2026-11-20T10:00:00Z", "activity", "valid until 2026-11-20"),
    ("no judge", swap('judge = "RC-2026-0417"', ""), "activity", "126n Sv needs the examining judge's authorisation"),
    ("no judge, article in words",
     swap('judge = "RC-2026-0417"', "").replace('"126n Sv"', '"Artikel 126N, eerste lid, Sv"'), "activity", "judge"),
]  # fmt: skip


@pytest.mark.parametrize("case", DENIED, ids=lambda case: case[0])
def test_denied(case: tuple[str, str, str, str]) -> None:
    """What the warrant does not cover is denied, with the reason."""
    _, head, question, words = case
    (reason,) = reasons(head, question)

    assert words in reason


def test_all_reasons_are_given() -> None:
    """A denial names everything that is wrong at once."""
    head = swap('judge = "RC-2026-0417"', "") + "valid_until = 2026-11-01T00:00:00Z"

    assert len(reasons(head, "cell")) == 4


def test_other_bases_need_no_judge() -> None:
    """126na is another article than 126n."""
    assert reasons(swap('judge = "RC-2026-0417"', "").replace("126n Sv", "126na Sv")) == ()


def test_a_kept_document_of_another_kind() -> None:
    """A document that was kept and orders something else is not run either."""
    warrant = WarrantDocument.of(read().document | {"kind_of_order": "standing"})

    assert warrants.objections(warrant, questions()["activity"], NOW) == (
        "its kind is standing, and this version handles produce and preserve",
    )


def test_an_order_to_preserve() -> None:
    """It asks nothing, says how long it holds, and is never run: a warrant that names it is."""
    warrant = read(PRESERVE)
    assert (warrant.document["questions"], warrant.document["hold_for"]) == ([], "P90D")
    assert "it holds them for 90 days from its approval" in warrants.check_words(warrant, lambda _: None, ZONE, [], NOW)
    assert "disclosed by a warrant that names it" in warrants.objections(warrant, questions()["activity"], NOW)[0]


@pytest.mark.parametrize(
    ("basis", "most"),
    [
        ("126ni Sv", "P90D"),
        ("art. 126ne Sv", "P28D"),
        ("EPOC-PR", "P60D"),
        ("Regulation (EU) 2023/1543", "P60D"),
        ("Verordening (EU) 2023/1543, art. 11", "P60D"),
        ("Budapest Convention art. 16", "P90D"),
    ],
)
def test_how_long_a_basis_allows(basis: str, most: str) -> None:
    """Each basis has a longest time, whichever of its names the order gives."""
    assert str(warrants.most_hold({"legal_basis": basis})) == most


# scope_of


def test_scope() -> None:
    """The scope has the targets, classes, categories and matches of the warrant, and no class that it lacks."""
    warrant = read(HEAD + 'classes = ["voip", "binding"]\nmax_matches = 3')
    scope = warrants.scope_of(warrant)

    assert scope.classes == {"voip", "binding"} and scope.categories == {"who", "when"} and scope.max_matches == 3
    assert [(target.type, target.text) for target in scope.targets] == [("msisdn", "+31612345678")]
    assert warrants.scope_of(warrant, frozenset({"binding", "email"})).classes == {"binding"}


# check_words


def words(head: str = HEAD, target: str = TARGET, gaps: list[str] | None = None, now: datetime = NOW) -> list[str]:
    """What `warrant check` says under a term of six months for every class but e-mail."""

    def term_of(record_class: str) -> Term | None:
        return None if record_class == "email" else Term(Period(months=6))

    return warrants.check_words(read(head, target), term_of, ZONE, gaps or [], now)


def test_check_says_what_it_covers() -> None:
    """The sentences name order, types, categories, classes, questions and windows in local time, and no value."""
    told = words(
        HEAD + 'classes = ["telephony", "email"]', TARGET + swap('"msisdn"', '"imsi"', swap("+31", "20431", TARGET))
    )

    assert told == [
        "warrant PV-2026-000123 of om-oost-brabant, under 126n Sv: produce",
        "it names 2 targets (1 imsi, 1 msisdn)",
        "it covers the categories who, when of the classes telephony, email",
        "it may be asked activity",
        "target 1 (msisdn): from 2026-06-01 00:00 +02:00 to 2026-09-01 00:00 +02:00",
        "target 2 (imsi): from 2026-06-01 00:00 +02:00 to 2026-09-01 00:00 +02:00",
        "class telephony: every day of the windows is within the term (6 months)",
        "class email: the policy keeps none",
        "it has no deadline",
        "no source has a gap",
    ]


def test_check_says_what_is_gone_and_going() -> None:
    """Days past their term, and days that expire before the deadline, are named with their number."""
    head = HEAD + 'classes = ["telephony"]\ndeadline = 2026-12-05T00:00:00+01:00'
    target = swap("2026-06-01T00:00:00", "2026-05-18T12:00:00", TARGET)
    told = words(head, target, gaps=["source mvno lacks files 7 to 9"])

    assert (
        "class telephony: 2026-05-18 to 2026-05-19 (2 days) are past the term (6 months) and can't be answered" in told
    )
    assert (
        "class telephony: 2026-05-20 to 2026-06-03 (15 days) are expiring before the deadline, the first from "
        "2026-11-20 11:00 +01:00 on; run it before"
    ) in told
    assert "its deadline is 2026-12-04T23:00:00.000000Z" in told
    assert "missing: source mvno lacks files 7 to 9" in told and "no source has a gap" not in told


def test_check_of_the_past_and_the_future() -> None:
    """Dates that are over, a window that is not, a judge that lacks and an odd check digit are told."""
    head = swap('judge = "RC-2026-0417"', "") + "deadline = 2026-11-01T00:00:00Z\nvalid_until = 2026-11-01T00:00:00Z\n"
    target = (
        swap("2026-09-01", "2026-12-01", TARGET).replace("msisdn", "imei").replace("+31612345678", "490154203237519")
    )
    told = words(head, target)

    assert "it was valid until 2026-11-01T00:00:00.000000Z and can't be run any more" in told
    assert "its deadline was 2026-11-01T00:00:00.000000Z" in told
    assert "target 1: its window reaches past this moment; records still to come are not in an answer" in told
    assert any(sentence.startswith("target 1: its last digit is not the check digit") for sentence in told)
    assert told[-1].startswith("it can't be run: 126n Sv needs the examining judge")
    assert "it is valid until 2027-01-01T00:00:00.000000Z" in words(HEAD + "valid_until = 2027-01-01T00:00:00Z")


def test_check_of_scattered_days() -> None:
    """Days of several windows are listed as runs."""
    first = swap(TO, "to = 2026-01-03T00:00:00Z\n", swap(FROM, "from = 2026-01-01T00:00:00Z\n", TARGET))
    second = swap(TO, "to = 2026-03-02T00:00:00Z\n", swap(FROM, "from = 2026-03-01T00:00:00Z\n", TARGET))
    third = swap(TO, "to = 2027-03-02T00:00:00Z\n", swap(FROM, "from = 2027-03-01T00:00:00Z\n", TARGET))
    head = HEAD + 'classes = ["voip"]'

    assert (
        "class voip: 2026-01-01 to 2026-01-02 and 2026-03-01 (3 days) are past the term (6 months) and can't be "
        "answered"
    ) in words(head, first + second)
    assert "class voip: 2026-03-01 (1 day) is past the term (6 months) and can't be answered" in words(head, second)
    assert not any(sentence.startswith("class voip") for sentence in words(head, third))


@given(
    st.dictionaries(
        st.sampled_from(["reference", "kind", "received", "targets", "classes", "judge", "x"]), st.integers()
    )
)
def test_other_types_are_refused(values: dict[str, Any]) -> None:
    """Values of other types are refused as errors of the one who wrote them."""
    text = "\n".join(f"{key} = {value}" for key, value in values.items())

    with pytest.raises(UsageError):
        warrants.parse(text, QUESTIONS)
