"""The key port: what it releases, to whom, what it refuses, and that no token outlives its key."""

from __future__ import annotations

from copy import copy
from datetime import date
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from tests.trafficvault.sealed_store import DAY, Office, Store, new_store, office
from trafficvault import keys
from trafficvault.coverage import SignedWarrant
from trafficvault.errors import RefusedError
from trafficvault.keys import Admission, Released
from trafficvault.layout import day_key_id

WHO = day_key_id("mobile_usage", DAY, "who")
WHERE = day_key_id("mobile_usage", DAY, "where")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A key store with the day keys of one class and day, and people who can sign."""
    made = new_store(tmp_path)
    made.keys.attach_directory(office().directory)
    return made


# --- tokens


def test_a_running_process_can_not_use_a_destroyed_key(store: Store) -> None:
    """Tokens that were handed out before the renewal open nothing after it."""
    people = office()
    store.keys.attach_directory(people.directory)
    warrant = people.warrant(categories=["who", "where"])
    where, who = (
        store.keys.release(warrant, "mobile_usage", DAY, category, (DAY, DAY)) for category in ("where", "who")
    )
    assert where.key == store.custody.key(WHERE)
    store.destroy(WHERE)

    assert not store.custody.has(WHERE)
    with pytest.raises(RefusedError, match="not in the ring: destroyed, or never made"):
        _ = where.key
    with pytest.raises(RefusedError, match="not in the ring: destroyed, or never made"):
        store.custody.key(WHERE)
    with pytest.raises(RefusedError, match="not in the ring"):
        store.keys.release(warrant, "mobile_usage", DAY, "where", (DAY, DAY))
    assert who.key == store.custody.key(WHO)


def test_acts_that_open_no_records_get_no_key_of_records(store: Store) -> None:
    """Expiry, audit and catalogue work with the keys of what has no day."""
    for act_name in ("expire", "audit", "catalogue"):
        custody = store.keys.custody(act_name)
        assert custody.key("catalogue") == store.custody.key("catalogue")
        with pytest.raises(RefusedError, match="opens no records"):
            custody.key(WHO)


def test_an_unknown_act_gets_nothing(store: Store) -> None:
    """Disclosing is not an act with custody."""
    with pytest.raises(RefusedError, match="disclose is not one of"):
        store.keys.custody("disclose")


def test_tokens_show_no_key(store: Store) -> None:
    """Neither a token nor the store prints a key."""
    key = store.custody.key(WHO)
    released = Released("mobile_usage", DAY, "who", store.keys)

    for thing in (store.custody, released, store.keys):
        assert key.hex() not in repr(thing)
        assert repr(key)[2:-1] not in repr(thing)


# --- release


def released(store: Store, people: Office, warrant: SignedWarrant, **changed: object) -> Released:
    """What the store releases for `warrant`, of a class, category and reach that may be changed."""
    store.keys.attach_directory(people.directory)
    asked: dict[str, object] = {"record_class": "mobile_usage", "category": "who", "reach": (DAY, DAY)} | changed
    return store.keys.release(warrant, day=DAY, **asked)  # type: ignore[arg-type]  # values as the tests wrote them


@pytest.mark.parametrize("category", ["who", "when", "how_much", "frame"])
def test_an_approved_warrant_releases_what_it_covers(store: Store, category: str) -> None:
    """Each of its categories, and the frame that comes with any."""
    people = office()
    token = released(store, people, people.warrant(), category=category)

    assert token.key == store.custody.key(day_key_id("mobile_usage", DAY, category))
    assert (token.record_class, token.day, token.category) == ("mobile_usage", DAY, category)


def test_one_person_can_not_do_both(store: Store) -> None:
    """Registered and approved by the same person, who has both roles."""
    people = office()
    people.add("olga", "officer", "approver")
    with pytest.raises(RefusedError, match="the same person"):
        released(store, people, people.warrant("olga", "olga"))


def test_two_accounts_with_one_key_are_one_person(store: Store) -> None:
    """A second account with the same public key does not make two pairs of eyes."""
    people = office()
    people.add("olga-2", "approver", key=people.private["olga"])
    with pytest.raises(RefusedError, match="two accounts with one public key"):
        released(store, people, people.warrant("olga", "olga-2"))


@pytest.mark.parametrize(
    ("registrar", "approver", "sentence"),
    [
        ("anton-2", "anton", "registrar has not the role officer"),
        ("olga", "olga-2", "approver has not the role approver"),
    ],
)
def test_a_role_is_needed_for_each_signature(store: Store, registrar: str, approver: str, sentence: str) -> None:
    """Officers register, approvers approve, nobody else does."""
    people = office()
    people.add("anton-2", "approver", "administrator")
    people.add("olga-2", "officer", "auditor")
    with pytest.raises(RefusedError, match=sentence):
        released(store, people, people.warrant(registrar, approver))


@pytest.mark.parametrize(("name", "part"), [("olga", "registrar"), ("anton", "approver")])
def test_a_disabled_person_counts_no_more(store: Store, name: str, part: str) -> None:
    """Whoever was disabled after signing has not signed."""
    people = office()
    warrant = people.warrant()
    people.add(name, "officer", "approver", key=people.private[name], disabled=True)
    with pytest.raises(RefusedError, match=f"{part} is disabled"):
        released(store, people, warrant)


@pytest.mark.parametrize(("name", "part"), [("olga", "registrar"), ("anton", "approver")])
def test_a_person_who_is_not_there_has_not_signed(store: Store, name: str, part: str) -> None:
    """An unknown name is refused, and so is a directory that answers with somebody else."""
    people = office()
    warrant = people.warrant()
    gone = people.people.pop(name)
    with pytest.raises(RefusedError, match=f"{part} is not a person"):
        released(store, people, warrant)
    people.people[name] = type(gone)("another", gone.roles, gone.public_key, gone.disabled)
    with pytest.raises(RefusedError, match=f"{part} is not a person"):
        released(store, people, warrant)


def test_a_changed_document_is_not_what_was_signed(store: Store) -> None:
    """One more category than the two people signed for, and nothing is released."""
    people = office()
    signed = people.warrant()
    changed = SignedWarrant(
        dict(signed.document) | {"categories": ["who", "where"]}, signed.registered, signed.approved
    )
    with pytest.raises(RefusedError, match="registrar's signature is not over this document"):
        released(store, people, changed, category="where")


def test_an_approval_of_another_document_does_not_count(store: Store) -> None:
    """Registration and approval must be of one document."""
    people = office()
    signed, other = people.warrant(), people.warrant(categories=["who"])
    with pytest.raises(RefusedError, match="approver's signature is not over this document"):
        released(store, people, SignedWarrant(signed.document, signed.registered, other.approved))


def test_a_registration_is_no_approval(store: Store) -> None:
    """The act is part of what is signed: an officer's signature can't be turned into an approver's."""
    people = office()
    people.add("anton", "officer", "approver", key=people.private["anton"])
    warrant = people.warrant()
    registration = people.vouch("register", "anton", dict(warrant.document))
    with pytest.raises(RefusedError, match="approver's signature"):
        released(store, people, SignedWarrant(warrant.document, warrant.registered, registration))


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"record_class": "telephony"}, "does not cover the class telephony"),
        ({"category": "where"}, "does not cover the category where"),
        ({"category": "everything"}, "does not cover the category everything"),
        ({"reach": (date(2026, 3, 3), date(2026, 3, 9))}, "no target's window overlaps"),
        ({"reach": (date(2026, 2, 1), date(2026, 2, 27))}, "no target's window overlaps"),
    ],
)
def test_outside_the_warrant_nothing_is_released(store: Store, changed: dict[str, object], sentence: str) -> None:
    """Class, category and time each have their own refusal."""
    people = office()
    with pytest.raises(RefusedError, match=sentence):
        released(store, people, people.warrant(), **changed)


@pytest.mark.parametrize(
    ("begin", "end", "overlaps"),
    [
        ("2026-03-02T23:59:59.999999Z", "2026-03-05T00:00:00Z", True),
        ("2026-03-03T00:00:00Z", "2026-03-05T00:00:00Z", False),
        ("2026-02-01T00:00:00Z", "2026-02-28T00:00:00Z", False),
        ("2026-02-01T00:00:00Z", "2026-02-28T00:00:00.000001Z", True),
        ("2026-03-03T00:30:00+01:00", "2026-03-03T00:45:00+01:00", True),
        ("2026-02-28T00:00:00Z", "2026-02-28T00:00:00Z", True),
        ("2026-03-03T00:00:00Z", "2026-03-03T00:00:00Z", False),
        ("2026-03-05T00:00:00Z", "2026-02-01T00:00:00Z", False),
    ],
    ids=[
        "last microsecond",
        "begins behind",
        "ends before",
        "first microsecond",
        "another zone",
        "one moment",
        "one moment behind",
        "turned round",
    ],
)
def test_a_window_is_half_open_in_utc(store: Store, begin: str, end: str, overlaps: bool) -> None:
    """[from, to) against the UTC dates the file's records touch, and a day on either side for parts of calls."""
    people = office()
    warrant = people.warrant(targets=[{"type": "msisdn", "value": "+31612345678", "from": begin, "to": end}])
    if overlaps:
        assert released(store, people, warrant).category == "who"
    else:
        with pytest.raises(RefusedError, match="no target's window overlaps"):
            released(store, people, warrant)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"kind": "hold"}, "not a warrant of version 1"),
        ({"v": 2}, "not a warrant of version 1"),
        ({"classes": "mobile_usage"}, "classes are not a list"),
        ({"categories": "who when"}, "categories are not a list"),
        ({"categories": [1]}, "categories are not a list"),
        ({"targets": [{"type": "imsi", "value": "204990000000001"}]}, "no window from and to"),
        ({"targets": [{"from": "yesterday", "to": "today"}]}, "no window from and to"),
        ({"targets": 3}, "no window from and to"),
        ({"targets": [{"from": "2026-03-01T00:00:00", "to": "2026-03-02T00:00:00"}]}, "names no zone"),
    ],
)
def test_a_signed_document_of_another_form_releases_nothing(
    store: Store, change: dict[str, Any], sentence: str
) -> None:
    """The port believes signatures, not form."""
    people = office()
    with pytest.raises(RefusedError, match=sentence):
        released(store, people, people.warrant(**change))


# --- admission


def test_an_admission_releases_what_its_warrant_covers(store: Store) -> None:
    """Without a look at signatures: the store remembers that they were good. Class, category and reach are checked."""
    people = office()
    store.keys.attach_directory(people.directory)
    admission = store.keys.admit(people.warrant())
    people.people.clear()

    assert store.keys.release(admission, "mobile_usage", DAY, "who", (DAY, DAY)).key == store.custody.key(WHO)
    for record_class, category, reach in (
        ("telephony", "who", (DAY, DAY)),
        ("mobile_usage", "where", (DAY, DAY)),
        ("mobile_usage", "who", (date(2026, 3, 9), date(2026, 3, 9))),
    ):
        with pytest.raises(RefusedError, match=r"covers? the (class|category)|no target's window"):
            store.keys.release(admission, record_class, DAY, category, reach)


def test_a_warrant_that_is_not_vouched_for_is_not_admitted(store: Store) -> None:
    """The same refusals as of a release."""
    people = office()
    store.keys.attach_directory(people.directory)
    signed = people.warrant()
    wider = SignedWarrant(dict(signed.document) | {"categories": ["where"]}, signed.registered, signed.approved)
    with pytest.raises(RefusedError, match="admitting a warrant: the registrar's signature is not over this document"):
        store.keys.admit(wider)


def test_nobody_makes_an_admission_but_the_store(store: Store, tmp_path: Path) -> None:
    """One that was made by hand, copied, or admitted by another store stands for nothing."""
    people = office()
    store.keys.attach_directory(people.directory)
    other = new_store(tmp_path / "other")
    other.keys.attach_directory(people.directory)
    admission = store.keys.admit(people.warrant())
    for forged in (Admission(), copy(admission), other.keys.admit(people.warrant())):
        with pytest.raises(RefusedError, match="not admitted under the ring that lives now"):
            store.keys.release(forged, "mobile_usage", DAY, "who", (DAY, DAY))


def test_a_document_that_changes_after_its_admission_widens_nothing(store: Store) -> None:
    """What was signed is what is covered."""
    people = office()
    store.keys.attach_directory(people.directory)
    signed = people.warrant()
    document = dict(signed.document)
    admission = store.keys.admit(SignedWarrant(document, signed.registered, signed.approved))
    document["categories"].append("where")
    with pytest.raises(RefusedError, match="does not cover the category where"):
        store.keys.release(admission, "mobile_usage", DAY, "where", (DAY, DAY))


@pytest.mark.parametrize("ending", ["renew", "follow", "people"])
def test_an_admission_ends(store: Store, ending: str) -> None:
    """With the ring it was made under, when the ring is read anew, and when another directory of people is attached."""
    people = office()
    store.keys.attach_directory(people.directory)
    admission = store.keys.admit(people.warrant())
    if ending == "renew":
        store.destroy(WHERE)
    elif ending == "follow":
        store.keys.follow(1)
    else:
        store.keys.attach_directory(people.directory)
    with pytest.raises(RefusedError, match="not admitted under the ring that lives now"):
        store.keys.release(admission, "mobile_usage", DAY, "who", (DAY, DAY))


def test_what_was_derived_goes_with_the_ring(store: Store) -> None:
    """A ring that is unchanged on disk stays open with it; after a new key or a renewal there is none of it."""
    people = office()
    store.keys.attach_directory(people.directory)
    released = store.keys.release(people.warrant(), "mobile_usage", DAY, "who", (DAY, DAY))
    store.keys.follow(store.keys.generation)
    released.derived["something"] = b"made of a key"
    store.keys.follow(store.keys.generation)
    assert released.derived == {"something": b"made of a key"}
    store.keys.ensure(["mobile_usage/2026-11-12/who"])
    assert released.derived == {}
    released.derived["something"] = b"made of a key"
    store.keys.renew([], lambda generation: None)
    assert released.derived == {}


def test_tokens_go_with_the_ring(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same day gives the same tokens, as long as there is room for them and the ring lives; each release is checked
    all the same.
    """
    monkeypatch.setattr(keys, "_MOST_TOKENS", 1)
    people = office()
    store.keys.attach_directory(people.directory)
    admission = store.keys.admit(people.warrant(categories=["who", "where"]))

    def ask(*categories: str, reach: date = DAY) -> list[Released]:
        return store.keys.release_each(admission, "mobile_usage", DAY, categories, (reach, reach))

    (who,) = ask("who")
    assert ask("who")[0] is who
    assert [one.category for one in ask("who", "where")] == ["who", "where"]
    assert ask("who")[0] is not who and ask("who")[0] == who
    with pytest.raises(RefusedError, match="no target's window overlaps"):
        ask("who", reach=date(2025, 1, 1))
    store.destroy(WHO)
    admission = store.keys.admit(people.warrant(categories=["who", "where"]))
    with pytest.raises(RefusedError, match="not in the ring"):
        ask("who")
    with pytest.raises(RefusedError, match="not in the ring"):
        ask("where", "who")
    store.destroy(WHERE)
    admission = store.keys.admit(people.warrant(categories=["who", "where"]))
    for both in permutations(("where", "who")):
        with pytest.raises(RefusedError, match=f"^taking the key {WHERE} and 1 more of that day: they are not in the"):
            ask(*both)


def test_tokens_of_two_rings_are_told_apart(tmp_path: Path) -> None:
    """Of the same class, day and category, but of another vault."""
    one, other = (
        Released("mobile_usage", DAY, "who", new_store(tmp_path / name).keys) for name in ("one vault", "another")
    )

    assert one == other and keys.of_one_ring([one, one]) and not keys.of_one_ring([one, other])


def test_without_a_directory_nothing_is_released(tmp_path: Path) -> None:
    """No signature can be checked, so none counts."""
    store, people = new_store(tmp_path), office()
    with pytest.raises(RefusedError, match="no directory of people"):
        store.keys.release(people.warrant(), "mobile_usage", DAY, "who", (DAY, DAY))


def test_refusals_name_no_target(store: Store) -> None:
    """What is refused is told by class, day and category."""
    people = office()
    with pytest.raises(RefusedError) as raised:
        released(store, people, people.warrant(), category="where")
    assert str(raised.value) == (
        "releasing the where key of mobile_usage 2026-03-01: the warrant does not cover the category where"
    )
