"""Only who knows the password can sign, and nobody adds a person alone where two should."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trafficvault import people, signing
from trafficvault.catalogue import Catalogue, Transaction
from trafficvault.coverage import PersonKey
from trafficvault.durable import Disk
from trafficvault.errors import FaultError, RefusedError, UsageError
from trafficvault.people import Person
from trafficvault.stretching import Cost

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
CHEAP = Cost(memory_kib=8, iterations=1, lanes=1)
PASSWORD = "correct horse battery"


@pytest.fixture
def tx(tmp_path: Path) -> Iterator[Transaction]:
    """A transaction of an empty catalogue."""
    with closing(Catalogue.create(tmp_path / "catalogue.db", bytes(32), Disk())) as made, made.transaction() as opened:
        yield opened


def add(
    tx: Transaction, name: str, *roles: str, by: Sequence[Person] | None = None, password: str = PASSWORD
) -> Person:
    """Adds a person with a cheap password."""
    return people.create_person(tx, name, roles, password, added_by=by, at=AT, cost=CHEAP)


def test_a_person_signs_in_and_signs(tx: Transaction) -> None:
    """The password opens the key whose public half stands in the directory."""
    founder = add(tx, "Anna", "administrator")
    person = people.authenticate(tx, "Anna", PASSWORD)
    known = people.directory(tx)("Anna")

    assert person == founder
    assert (person.name, person.roles) == ("Anna", frozenset({"administrator"}))
    assert known == PersonKey("Anna", frozenset({"administrator"}), person.public_key, disabled=False)
    signing.require_signature(person.public_key, person.sign(b"message"), b"message", "it")
    with pytest.raises(FaultError):
        signing.require_signature(person.public_key, person.sign(b"message"), b"another", "it")


def test_everybody_has_a_key_of_their_own(tx: Transaction) -> None:
    """Two people with one password have two keys, two salts and nothing of either in the row."""
    anna = add(tx, "Anna", "administrator")
    bert = add(tx, "Bert", "operator", by=[anna])
    rows = tx.select("people")

    assert anna.public_key != bert.public_key
    assert len({json.loads(row["kdf"])["salt"] for row in rows}) == 2
    assert not any(secret in json.dumps(row) for row in rows for secret in (PASSWORD, anna._private_key.hex()))
    assert [row["added_by"] for row in rows] == ["", "Anna"]
    assert [row["added_at"] for row in rows] == [signing.instant(AT)] * 2


def test_the_private_key_is_not_shown(tx: Transaction) -> None:
    """A person's repr tells no key and no password."""
    person = add(tx, "Anna", "administrator")

    assert "private" not in repr(person)
    assert person._private_key.hex() not in repr(person)
    assert repr(person._private_key) not in repr(person)


def test_randomness_comes_by_parameter(tx: Transaction) -> None:
    """The same source of randomness gives the same key."""
    seed = random.Random(1)
    person = people.create_person(
        tx, "Anna", ["administrator"], PASSWORD, added_by=None, at=AT, random=seed.randbytes, cost=CHEAP
    )

    assert person.public_key == signing.public_key_of(random.Random(1).randbytes(32))


def test_the_cost_is_kept_with_the_person(tx: Transaction) -> None:
    """A password is checked at the cost it was set with; by default 64 MiB, 3 passes, 4 lanes."""
    add(tx, "Anna", "administrator")
    kdf = json.loads(tx.select("people")[0]["kdf"])

    assert kdf | {"salt": ""} == {"kind": "argon2id", "v": 1, "salt": "", "memory_kib": 8, "iterations": 1, "lanes": 1}
    assert Cost(memory_kib=65536, iterations=3, lanes=4) == people.DEFAULT_COST


def refusal(tx: Transaction, name: str, password: str) -> tuple[str, str | None, float]:
    """What is said to somebody who may not sign in, and how much work it was: processor seconds of this thread."""
    begun = time.thread_time()
    with pytest.raises(RefusedError) as caught:
        people.authenticate(tx, name, password)
    assert caught.value.__cause__ is None
    return str(caught.value), caught.value.hint, time.thread_time() - begun


def test_every_reason_to_refuse_a_sign_in_looks_the_same(tx: Transaction) -> None:
    """Wrong password, unknown name, disabled person with the right one: one sentence, one hint, comparable time."""
    cost = Cost(memory_kib=8192, iterations=2, lanes=1)
    anna = people.create_person(tx, "Anna", ["administrator"], PASSWORD, added_by=None, at=AT, cost=cost)
    for name in ("Bert", "Otto"):
        people.create_person(tx, name, ["operator"], PASSWORD, added_by=[anna], at=AT, cost=cost)
    people.disable(tx, "Otto", [anna])
    cases = (("Anna", "wrong horse battery"), ("Nobody", PASSWORD), ("Otto", PASSWORD), ("\ud800", "\ud800"))
    told = [[refusal(tx, *case) for case in cases] for _ in range(5)]
    times = [min(row[place][2] for row in told) for place in range(len(cases))]

    assert {(sentence, hint) for row in told for sentence, hint, _ in row} == {
        ("signing in: the name or the password is wrong, or the person may no longer act", None)
    }
    assert max(times) < 5 * min(times)


def test_an_empty_vault_takes_its_time_too(tx: Transaction) -> None:
    """With nobody there, an unknown name still costs a derivation."""
    with pytest.raises(RefusedError, match="signing in"):
        people.authenticate(tx, "Anna", PASSWORD, cost=CHEAP)


def test_a_moved_key_does_not_open(tx: Transaction) -> None:
    """A sealed key belongs to its name: in another row the right password is a wrong one."""
    anna = add(tx, "Anna", "administrator")
    add(tx, "Bert", "operator", by=[anna])
    rows = {row["name"]: row for row in tx.select("people")}
    moved = {name: rows["Anna"][name] for name in ("sealed_key", "kdf", "public_key")}
    tx.put("people", **rows["Bert"] | moved)

    with pytest.raises(RefusedError, match="signing in"):
        people.authenticate(tx, "Bert", PASSWORD)


def test_two_spellings_of_one_sign_are_one(tx: Transaction) -> None:
    """Name and password are compared composed, however the keyboard wrote them."""
    add(tx, "Ren\u00e9e", "administrator", password="caf\u00e9 caf\u00e9")

    assert people.authenticate(tx, "Rene\u0301e", "cafe\u0301 cafe\u0301").name == "Ren\u00e9e"


@pytest.mark.parametrize("name", ["", " Anna", "Anna ", "A,B", "A\nB", "A\u200bB", "\ud800", "x" * 65])
def test_a_name_is_one_that_people_can_tell_apart(tx: Transaction, name: str) -> None:
    """No blanks at the ends, nothing invisible, no comma, not too long."""
    with pytest.raises(UsageError, match="naming a person"):
        add(tx, name, "administrator")


@pytest.mark.parametrize("name", ["Anna", "anna", "ANNA"])
def test_a_name_is_given_once(tx: Transaction, name: str) -> None:
    """Capitals do not make another person; the refusal does not say who is there."""
    anna = add(tx, "Anna", "administrator")
    with pytest.raises(RefusedError) as caught:
        add(tx, name, "operator", by=[anna])

    assert str(caught.value) == "adding a person: that name is taken; choose another"


@pytest.mark.parametrize("password", ["", "x" * 1025, "bytes of no text \udcff"])
def test_a_password_has_its_length(tx: Transaction, password: str) -> None:
    """One sign at least, a thousand at most, all of them text; neither it nor its length is told."""
    with pytest.raises(UsageError, match="1 to 1024 signs") as caught:
        add(tx, "Anna", "administrator", password=password)
    assert not password or password not in str(caught.value)


def test_require_role_names_what_is_missing() -> None:
    """A role one has is enough; one that one lacks is named beside those one has, without a name."""
    person = Person("Anna", frozenset({"officer", "operator"}), "", b"")
    people.require_role(person, "officer")

    with pytest.raises(RefusedError, match="needs the role auditor, and the acting person has officer, operator"):
        people.require_role(person, "auditor")


@pytest.mark.parametrize("roles", [[], ["boss"], ["officer", "boss"]])
def test_only_the_five_roles_are_granted(roles: list[str]) -> None:
    """No role and an unknown one are mistakes."""
    with pytest.raises(UsageError, match="granting roles"):
        people.require_roles(roles)


@given(st.sets(st.sampled_from(people.ROLES), min_size=1))
def test_who_grants_or_watches_does_not_disclose(roles: set[str]) -> None:
    """Administrator and auditor never go with officer or approver; every other mixture does."""
    mixed = bool(roles & {"administrator", "auditor"}) and bool(roles & {"officer", "approver"})
    if mixed:
        with pytest.raises(RefusedError, match="never goes with"):
            people.require_roles(sorted(roles))
    else:
        assert people.require_roles(sorted(roles)) == roles


def known(name: str, *roles: str, disabled: bool = False, key: str = "") -> PersonKey:
    """Somebody in the directory."""
    return PersonKey(name, frozenset(roles), key or f"key of {name}", disabled)


def acting(name: str, *roles: str, key: str = "") -> Person:
    """Somebody who signed in."""
    return Person(name, frozenset(roles), key or f"key of {name}", b"")


ANNA, BERT, CARL = (known(name, "administrator") for name in ("Anna", "Bert", "Carl"))
BY_ANNA, BY_BERT, BY_CARL = (acting(name, "administrator") for name in ("Anna", "Bert", "Carl"))

MAY_ADD = {
    "the first founder": ([], [], "administrator"),
    "a second founder": ([ANNA], [], "administrator"),
    "an officer by the only administrator": ([ANNA], [BY_ANNA], "officer"),
    "an administrator by the only one": ([ANNA], [BY_ANNA], "administrator"),
    "an operator by one of two": ([ANNA, BERT], [BY_BERT], "operator"),
    "an auditor by one of two": ([ANNA, BERT], [BY_ANNA], "auditor"),
    "an officer by both": ([ANNA, BERT], [BY_ANNA, BY_BERT], "officer"),
    "an approver by two of three": ([ANNA, BERT, CARL], [BY_CARL, BY_BERT], "approver"),
    "an administrator by both": ([ANNA, BERT], [BY_BERT, BY_ANNA], "administrator"),
    "an officer by one when the other is disabled": (
        [ANNA, known("Bert", "administrator", disabled=True)],
        [BY_ANNA],
        "officer",
    ),
}


@pytest.mark.parametrize("name", list(MAY_ADD))
def test_who_may_add(name: str) -> None:
    """One administrator, or two where there are two and the role discloses or grants."""
    existing, actors, role = MAY_ADD[name]
    people.require_may_add(existing, actors, [role])


MAY_NOT_ADD = {
    "nobody, an officer first": ([], [], "officer"),
    "nobody, once there are others": ([ANNA, known("Otto", "operator")], [], "administrator"),
    "somebody who is no administrator": ([ANNA, known("Otto", "operator")], [acting("Otto", "operator")], "operator"),
    "somebody who says to be one": ([ANNA, known("Otto", "operator")], [acting("Otto", "administrator")], "operator"),
    "a stranger": ([ANNA], [BY_BERT], "operator"),
    "one with another key": ([ANNA], [acting("Anna", "administrator", key="another")], "operator"),
    "one who was disabled": (
        [ANNA, known("Bert", "administrator", disabled=True)],
        [BY_BERT],
        "operator",
    ),
    "one of two, an officer": ([ANNA, BERT], [BY_ANNA], "officer"),
    "one of two, an approver": ([ANNA, BERT], [BY_BERT], "approver"),
    "one of two, an administrator": ([ANNA, BERT], [BY_ANNA], "administrator"),
    "one of two, twice": ([ANNA, BERT], [BY_ANNA, BY_ANNA], "officer"),
    "one administrator and one who is none": (
        [ANNA, BERT, known("Otto", "operator")],
        [BY_ANNA, acting("Otto", "operator")],
        "officer",
    ),
    "two names with one key": (
        [ANNA, known("Bert", "administrator", key="key of Anna")],
        [BY_ANNA, acting("Bert", "administrator", key="key of Anna")],
        "officer",
    ),
}


@pytest.mark.parametrize("name", list(MAY_NOT_ADD))
def test_who_may_not_add(name: str) -> None:
    """The refusal says what it takes, and no name."""
    existing, actors, role = MAY_NOT_ADD[name]
    with pytest.raises(RefusedError, match="adding a person: ") as caught:
        people.require_may_add(existing, actors, [role])
    assert not any(word in str(caught.value) for word in ("Anna", "Bert", "Otto"))


def test_create_person_asks_the_rule_itself(tx: Transaction) -> None:
    """No caller can forget it: with two administrators, one alone adds no officer."""
    anna, bert = add(tx, "Anna", "administrator"), add(tx, "Bert", "administrator")
    with pytest.raises(RefusedError, match="there are 2 administrators, so this takes two of them and 1 asked for it"):
        add(tx, "Olga", "officer", by=[anna])
    add(tx, "Olga", "officer", "approver", by=[bert, anna])

    assert tx.get("people", name="Olga") is not None
    assert [row["added_by"] for row in tx.select("people", name="Olga")] == ["Anna, Bert"]


def test_founders_end_with_the_first_who_was_vouched_for(tx: Transaction) -> None:
    """An administrator whom another added closes the time of founders, though all are administrators."""
    anna = add(tx, "Anna", "administrator")
    add(tx, "Bert", "administrator", by=[anna])

    with pytest.raises(RefusedError, match="only founders need no administrator"):
        add(tx, "Carl", "administrator")


def test_a_disabled_person_stays_known_and_may_not_act(tx: Transaction) -> None:
    """Their key stays in the directory, marked, so that what they signed can still be read."""
    anna = add(tx, "Anna", "administrator")
    otto = add(tx, "Otto", "officer", by=[anna])
    people.disable(tx, "Otto", [anna])
    found = people.directory(tx)("Otto")

    assert found == PersonKey("Otto", frozenset({"officer"}), otto.public_key, disabled=True)
    assert [(item.name, item.disabled) for item in people.listing(tx)] == [("Anna", False), ("Otto", True)]
    assert people.directory(tx)("Nobody") is None


def test_an_administrator_is_disabled_by_two(tx: Transaction) -> None:
    """Or one would be left alone to grant everything; the last one is disabled by nobody."""
    anna = add(tx, "Anna", "administrator")
    with pytest.raises(RefusedError, match="the last administrator"):
        people.disable(tx, "Anna", [anna])
    bert = add(tx, "Bert", "administrator")
    with pytest.raises(RefusedError, match="takes two"):
        people.disable(tx, "Bert", [anna])
    with pytest.raises(RefusedError, match="nobody of that name"):
        people.disable(tx, "Carl", [anna])
    with pytest.raises(RefusedError, match="is none"):
        people.disable(tx, "Bert", [])
    people.disable(tx, "Bert", [anna, bert])

    assert [item.name for item in people.listing(tx) if not item.disabled] == ["Anna"]
