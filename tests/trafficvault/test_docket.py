"""The docket: what is registered stays as it was signed, and no two people change it at once."""

from __future__ import annotations

import sqlite3
from datetime import date, timedelta
from pathlib import Path

import pytest

from tests.support import NOW, SUBSCRIBER, Order, every_byte, opened, signed_in
from tests.trafficvault.prepared_vault import Prepared
from trafficvault import docket
from trafficvault.errors import FaultError, RefusedError
from trafficvault.people import Person
from trafficvault.vault import Vault

NEW = Order(reference="PV-2026-000200", targets=[("msisdn", f"+{SUBSCRIBER}")])


def test_a_registered_warrant_is_found_again(stored: Vault) -> None:
    """It is loaded as it was written, by its registrar, not yet approved; nothing could release a key for it."""
    warrant = docket.register(stored, signed_in(stored, "olga"), NEW.toml())
    found = docket.load(stored, warrant)

    assert (found.state, found.registered.person, found.registered.at) == ("registered", "olga", NOW)
    assert found.approved is None
    assert found.signed is None
    assert found.document.document["reference"] == "PV-2026-000200"


def test_the_same_document_is_one_warrant(stored: Vault) -> None:
    """Registered twice, by whomever, however it is spelled, it is one warrant with its first signature."""
    first = docket.register(stored, signed_in(stored, "olga"), NEW.toml())
    entries = len(stored.audit.show(100))
    later = opened(stored, NOW + timedelta(hours=1))
    again = docket.register(later, signed_in(later, "olga"), NEW.toml().replace(" = ", "="))

    assert again == first
    assert docket.load(later, first).registered.at == NOW
    assert len(later.audit.show(100)) == entries


def test_both_signatures_are_there_after_approval(stored: Vault) -> None:
    """Then the warrant is what the key store takes."""
    warrant = docket.register(stored, signed_in(stored, "olga"), NEW.toml())
    docket.approve(stored, signed_in(stored, "piet"), warrant)
    signed = docket.load(stored, warrant).signed
    assert signed is not None
    assert (signed.registered.person, signed.approved.person) == ("olga", "piet")


def test_roles_are_asked_first(stored: Vault, prepared: Prepared) -> None:
    """Nobody registers without being officer, or approves without being approver."""
    with pytest.raises(RefusedError, match="needs the role officer"):
        docket.register(stored, signed_in(stored, "piet"), NEW.toml())
    with pytest.raises(RefusedError, match="needs the role approver"):
        docket.approve(stored, signed_in(stored, "olga"), prepared.warrant)
    with pytest.raises(RefusedError, match="only a registered one can be approved"):
        docket.approve(stored, signed_in(stored, "piet"), prepared.warrant)


def test_two_who_approve_at_once(stored: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the state changed between looking and writing, the second approval is refused and signs nothing."""
    warrant = docket.register(stored, signed_in(stored, "olga"), NEW.toml())
    piet = signed_in(stored, "piet")
    looked = docket.load(stored, warrant)
    docket.approve(stored, piet, warrant)
    before = docket.load(stored, warrant)
    monkeypatch.setattr(docket, "load", lambda vault, warrant_id: looked)
    with pytest.raises(RefusedError, match="somebody else changed its state meanwhile"):
        docket.approve(stored, piet, warrant)
    monkeypatch.undo()
    assert docket.load(stored, warrant) == before


def test_the_list_is_by_age(stored: Vault, prepared: Prepared) -> None:
    """The oldest warrant stands first."""
    later = opened(stored, NOW + timedelta(hours=1))
    new = docket.register(later, signed_in(later, "olga"), NEW.toml())
    assert [item.warrant_id for item in docket.listing(later)] == [prepared.warrant, new]


def test_a_warrant_lies_sealed(stored: Vault, tmp_path: Path) -> None:
    """Neither its target nor its reference is readable in the vault or the key directory."""
    docket.register(stored, signed_in(stored, "olga"), NEW.toml())
    found = every_byte(stored.layout.vault, stored.layout.keys)
    assert SUBSCRIBER.encode() not in found
    assert b"PV-2026-000200" not in found


def test_a_changed_warrant_is_a_fault(stored: Vault, prepared: Prepared) -> None:
    """A state that somebody wrote into the file by other means is found, and nothing is approved by it."""
    stored.catalogue.close()
    with sqlite3.connect(stored.layout.catalogue) as database:
        database.execute("update warrants set state = 'registered'")
    database.close()
    vault = opened(stored)
    with pytest.raises(FaultError):
        docket.load(vault, prepared.warrant)


def test_checking_needs_nobody_and_enters_nothing(stored: Vault) -> None:
    """What a warrant covers is told from its text and the catalogue alone."""
    entries = stored.audit.show(100)
    sentences = docket.check(stored, NEW.toml())
    assert any("missing: source mvno_pipe lacks file 2" in sentence for sentence in sentences)
    assert stored.audit.show(100) == entries


@pytest.mark.parametrize(("name", "said"), [("bea", "not a person of this vault"), ("piet", "not over this document")])
def test_nobody_signs_for_another(stored: Vault, name: str, said: str) -> None:
    """An approval under nobody's name, or an approver's by another key, opens nothing: keys check by themselves."""
    warrant = docket.register(stored, signed_in(stored, "olga"), NEW.toml())
    forged = Person(name, frozenset({"approver"}), signed_in(stored, "piet").public_key, b"\0" * 32)
    docket.approve(stored, forged, warrant)
    signed = docket.load(stored, warrant).signed
    assert signed is not None
    day = date(2026, 11, 10)
    with pytest.raises(RefusedError, match=said):
        stored.keys.release(signed, "mobile_usage", day, "who", (day, day))
