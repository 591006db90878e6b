"""Rights: each request has a deadline, two persons, and one fixed sentence for whatever becomes of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import FAST, NOW, PASSWORD, SUBSCRIBER, every_byte, new_vault, opened, signed_in
from tests.trafficvault.rights_house import ME, SINCE, ask, granted
from trafficvault import answering, app, expire, people, rights, rights_rules
from trafficvault.errors import RefusedError, UsageError
from trafficvault.period import Period
from trafficvault.rights_rules import GRANTED, GROUNDS, RIGHTS, Ask
from trafficvault.status import status
from trafficvault.vault import Vault

SENTENCES = ("restrict", "object", "complain", "withdraw-consent")
"""The rights whose answer is a sentence and no more."""


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    """A vault without a record."""
    return new_vault(tmp_path)


def test_a_request_is_kept_as_it_was_signed(vault: Vault) -> None:
    """Its document holds identifiers in normal form, and how, when and by whom the person was identified; no copy."""
    request = rights.add(vault, signed_in(vault, "otto"), ask(identifiers=[("msisdn", "+31 6 1234 5678")]))
    found = rights.load(vault, request)
    assert found.document["checked"] == {"method": "in-person", "at": "2026-11-20T10:00:00.000000Z", "person": "otto"}
    assert [(one["type"], one["value"]) for one in found.document["targets"]] == [("msisdn", ME)]
    assert (found.state, found.due, found.approved) == ("registered", datetime(2026, 12, 20, 10, tzinfo=UTC), None)
    assert [found] == rights.listing(vault)


def test_nothing_of_the_person_is_in_clear(vault: Vault) -> None:
    """Neither the number nor the statement is in a file, a name or a line of the log."""
    answering.answer(vault, signed_in(vault, "olga"), granted(vault, ask("rectify", statement="Marker of mine")))
    vault.catalogue.close()
    content = every_byte(vault.layout.vault, vault.layout.keys)
    assert SUBSCRIBER.encode() not in content
    assert b"Marker of mine" not in content


def test_the_same_request_is_one(vault: Vault) -> None:
    """Registered twice, it has one id and one entry in the log."""
    otto = signed_in(vault, "otto")
    first = rights.add(vault, otto, ask())
    entries = len(vault.audit.show(100))
    assert rights.add(vault, otto, ask(identifiers=[("line", "L-1"), ("msisdn", "+31612345678")])) == first
    assert len(vault.audit.show(100)) == entries


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"right": "forget"}, "its kind must be one of"),
        ({"method": "passport 123"}, "identified by one of"),
        ({"identifiers": []}, "at least one identifier"),
        ({"identifiers": [("cell", "204-99-00a1-00b1")]}, "identifier 1 must be one of"),
        ({"identifiers": [("msisdn", "0612345678")]}, r"identifier 1 \(msisdn\): its value must be a number"),
        ({"until": SINCE}, "its window is empty"),
        ({"statement": "text"}, "a rectification, and nothing else"),
        ({"record": ("a", "b", 1)}, "a rectification, and nothing else"),
        ({"right": "rectify", "statement": " "}, "a rectification, and nothing else"),
        ({"right": "rectify", "statement": "x" * 4001}, "more than 4000 signs"),
        ({"received": NOW + timedelta(seconds=1)}, "in the future"),
        ({"checked_at": NOW + timedelta(seconds=1)}, "in the future"),
    ],
)
def test_what_is_not_of_the_form_is_not_taken(vault: Vault, changed: dict[str, Any], reason: str) -> None:
    """A sentence says what is wrong, never a value; nothing is registered."""
    right = changed.pop("right", "access")
    with pytest.raises(UsageError, match=reason) as problem:
        rights.add(vault, signed_in(vault, "otto"), ask(right, **changed))
    assert "0612345678" not in str(problem.value)
    assert rights.listing(vault) == []


@given(
    st.sampled_from(RIGHTS),
    st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),
    st.sampled_from(["Europe/Amsterdam", "America/New_York"]),
)
def test_a_deadline_is_a_month_or_three(right: str, received: datetime, zone: str) -> None:
    """By the calendar of the policy's zone, never later than 31 and 92 days, and longer when it was extended."""
    first = rights_rules.due_at(received, Period(months=1), zone, extended=False)
    longer = rights_rules.due_at(received, Period(months=1), zone, extended=True)
    assert timedelta(days=27, hours=22) <= first - received <= timedelta(days=31, hours=2)
    assert timedelta(days=88, hours=22) <= longer - received <= timedelta(days=92, hours=2)
    assert {"nl", "en"} == set(GRANTED[right].__slots__)


def test_an_overdue_request_is_told_by_its_id(vault: Vault) -> None:
    """A month and a moment later `status` names it; an answer, a refusal or an extension ends that."""
    late, refused, extended, done = (
        rights.add(vault, signed_in(vault, "otto"), ask(until=NOW - timedelta(days=day))) for day in range(4)
    )
    rights.extend(vault, signed_in(vault, "otto"), extended, "complex")
    rights.refuse(vault, signed_in(vault, "piet"), refused, "not-identified")
    rights.approve(vault, signed_in(vault, "piet"), done)
    before = opened(vault, NOW + timedelta(days=30, seconds=-1))
    assert not [sentence for sentence in status(before).wrong if "request" in sentence]
    after = opened(vault, NOW + timedelta(days=30))
    told = [sentence for sentence in status(after).wrong if "request" in sentence]
    assert sorted(sentence.split()[1] for sentence in told) == sorted([late, done])
    assert status(after).facts["open_requests"] == 3
    much_later = opened(vault, NOW + timedelta(days=93))
    assert len([sentence for sentence in status(much_later).wrong if "request" in sentence]) == 3


def test_an_extension_is_for_a_reason_once_and_in_time(vault: Vault) -> None:
    """Two further months, and the person is told why; neither twice, nor late, nor for another reason."""
    otto = signed_in(vault, "otto")
    request = rights.add(vault, otto, ask())
    other = rights.add(vault, otto, ask("port"))
    with pytest.raises(UsageError, match="the reason is one of complex, many"):
        rights.extend(vault, otto, request, "holiday")
    with pytest.raises(RefusedError, match="one of the roles officer, operator"):
        rights.extend(vault, signed_in(vault, "piet"), request, "many")
    found = rights.extend(vault, otto, request, "many")
    assert found.due == datetime(2027, 2, 20, 10, tzinfo=UTC)
    assert answering.told(found) == (rights_rules.EXTENSIONS["many"],)
    with pytest.raises(RefusedError, match="was extended before"):
        rights.extend(vault, otto, request, "many")
    due = rights.load(vault, other).due
    late = opened(vault, due + timedelta(minutes=10))
    expire.require_clock(late, signed_in(late, "otto"))
    for one in (late, opened(late, due - timedelta(minutes=4))):
        with pytest.raises(RefusedError, match="the person had to be told before"):
            rights.extend(one, signed_in(one, "otto"), other, "many")


@pytest.mark.parametrize("right", RIGHTS)
def test_every_ground_has_its_sentence(vault: Vault, right: str) -> None:
    """Another person refuses, on a ground of that right alone; the person is told the sentence and the remedy."""
    for number, ground in enumerate(GROUNDS[right]):
        request = rights.add(vault, signed_in(vault, "otto"), ask(right, until=NOW - timedelta(hours=number)))
        with pytest.raises(UsageError, match="the grounds are"):
            rights.refuse(vault, signed_in(vault, "piet"), request, "because")
        found = rights.refuse(vault, signed_in(vault, "piet"), request, ground)
        assert (found.state, found.ground, found.restricts) == ("refused", ground, False)
        assert answering.told(found) == (GROUNDS[right][ground], rights_rules.REMEDY)
        with pytest.raises(RefusedError, match="must be registered"):
            rights.approve(vault, signed_in(vault, "piet"), request)


@pytest.mark.parametrize("right", SENTENCES)
def test_a_granted_request_is_its_sentence(vault: Vault, right: str) -> None:
    """Decided by another person, told by an officer; doing it again tells the same and changes nothing."""
    request = granted(vault, ask(right))
    olga = signed_in(vault, "olga")
    done = answering.answer(vault, olga, request)
    assert (done.state, done.sentences[0]) == ("answered", GRANTED[right])
    closed = rights.load(vault, request)
    again = answering.answer(opened(vault, NOW + timedelta(days=1)), olga, request)
    assert (again.state, again.sentences) == ("answered", (GRANTED[right],))
    assert rights.load(vault, request) == closed


def test_roles_and_two_persons(vault: Vault) -> None:
    """Who registers never decides, who approves never answers, and each needs a role."""
    with pytest.raises(RefusedError, match="one of the roles officer, operator"):
        rights.add(vault, signed_in(vault, "piet"), ask())
    request = rights.add(vault, signed_in(vault, "olga"), ask("complain"))
    for name in ("olga", "otto", "aukje"):
        with pytest.raises(RefusedError, match="needs the role approver"):
            rights.approve(vault, signed_in(vault, name), request)
        with pytest.raises(RefusedError, match="needs the role approver"):
            rights.refuse(vault, signed_in(vault, name), request, "not-upheld")
    rights.approve(vault, signed_in(vault, "piet"), request)
    for name in ("piet", "otto"):
        with pytest.raises(RefusedError, match="needs the role officer"):
            answering.answer(vault, signed_in(vault, name), request)
    refused = [entry["act"] for entry in vault.audit.show(100) if entry["act"].endswith("-refused")]
    assert set(refused) == {
        "rights-add-refused",
        "rights-approve-refused",
        "rights-refuse-refused",
        "rights-answer-refused",
    }
    with pytest.raises(RefusedError, match="there is none"):
        rights.load(vault, "0" * 24)


def test_one_person_with_both_roles_is_one_person(vault: Vault) -> None:
    """Who is officer and approver approves nothing that they registered, and answers nothing that they approved."""
    with vault.catalogue.reading() as tx:
        ada = people.authenticate(tx, "ada", PASSWORD)
    app.add_person(vault, "bo", ("officer", "approver"), PASSWORD, (ada,), FAST)
    bo = signed_in(vault, "bo")
    own = rights.add(vault, bo, ask("complain"))
    with pytest.raises(RefusedError, match="a second person must decide"):
        rights.approve(vault, bo, own)
    with pytest.raises(RefusedError, match="a second person must decide"):
        rights.refuse(vault, bo, own, "not-upheld")
    other = rights.add(vault, signed_in(vault, "otto"), ask("object"))
    rights.approve(vault, bo, other)
    with pytest.raises(RefusedError, match="bo approved it, and never answers it"):
        answering.answer(vault, bo, other)
    rights.approve(vault, signed_in(vault, "piet"), own)
    assert answering.answer(vault, bo, own).state == "answered"


@pytest.mark.parametrize("right", ["restrict", "rectify", "object"])
def test_a_restriction_is_in_force_from_the_request(vault: Vault, right: str) -> None:
    """Until it is decided; a granted restriction lasts until another person lifts it."""
    request = rights.add(vault, signed_in(vault, "otto"), ask(right))
    target = rights.load(vault, request).document["targets"]
    assert rights.restricted_among(vault, target) == [1, 2]
    elsewhere = [{**one, "from": "2027-01-01T00:00:00.000000Z", "to": "2027-02-01T00:00:00.000000Z"} for one in target]
    assert rights.restricted_among(vault, elsewhere) == []
    rights.approve(vault, signed_in(vault, "piet"), request)
    answering.answer(vault, signed_in(vault, "olga"), request)
    assert bool(rights.restricted(vault)) == (right == "restrict")
    if right == "restrict":
        assert answering.told(rights.load(vault, request)) == (GRANTED["restrict"],)
        rights.lift(vault, signed_in(vault, "piet"), request)
        assert rights.load(vault, request).state == "lifted"
        assert rights.restricted(vault) == []
    else:
        with pytest.raises(RefusedError, match="only a restriction is lifted"):
            rights.lift(vault, signed_in(vault, "piet"), request)


def test_a_business_customers_user_is_told_whom_to_ask(vault: Vault) -> None:
    """Whatever is asked, where every identifier is an extension of one organisation."""
    one: Ask = ask("object", identifiers=[("extension", "1001@example-trading")])
    done = answering.answer(vault, signed_in(vault, "olga"), granted(vault, one))
    assert done.state == "routed"
    assert done.sentences[0].nl == (
        "Voor deze gegevens is example-trading verantwoordelijk; richt uw verzoek aan die organisatie."
    )
