"""Annotations: the record stays as it is, and what its subject said of it goes with every later answer."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support import Order, answer, signed_in
from tests.trafficvault.rights_house import HELPLINE, ME, YOU, answered, ask, housed, manifest, records
from trafficvault import annotation, answering, rights
from trafficvault.vault import Vault


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    """A vault with a subject's records among others'."""
    return housed(tmp_path)


def test_a_statement_about_a_record_goes_with_it(vault: Vault, tmp_path: Path) -> None:
    """To an authority and to the subject, when that record is in the answer; the record itself is as before."""
    answered(vault, ask(), tmp_path / "before")
    row = records(tmp_path / "before")[1]
    answered(vault, ask("rectify", record=(row["source"], row["batch"], row["row"])))
    (known,) = annotation.listing(vault)
    answered(vault, ask(), tmp_path / "after")
    assert records(tmp_path / "after") == records(tmp_path / "before")
    told = manifest(tmp_path / "after")["annotations"]
    about = {name: row[name] for name in ("source", "batch", "row")}
    assert told == [known.as_manifest()]
    assert (told[0]["record"], told[0]["text"]) == (about, "That was not me.")
    answer(vault, Order(), tmp_path / "with")
    assert manifest(tmp_path / "with")["annotations"] == told
    answer(vault, Order(questions=("contacts",)), tmp_path / "counted", "contacts")
    assert manifest(tmp_path / "counted")["annotations"] == told
    answer(vault, Order(targets=[("msisdn", HELPLINE)]), tmp_path / "without")
    assert manifest(tmp_path / "without")["annotations"] == []


def test_a_statement_about_a_window_goes_with_its_records(vault: Vault, tmp_path: Path) -> None:
    """With the records of the subject in that window, whoever else asked for them."""
    since, until = datetime(2026, 11, 10, tzinfo=UTC), datetime(2026, 11, 11, tzinfo=UTC)
    answered(vault, ask("rectify", since=since, until=until))
    inside = Order(targets=[("msisdn", YOU)], end="2026-11-11T00:00:00Z")
    answer(vault, inside, tmp_path / "inside")
    (told,) = manifest(tmp_path / "inside")["annotations"]
    assert told["window"] == {"from": "2026-11-10T00:00:00.000000Z", "to": "2026-11-11T00:00:00.000000Z"}
    outside = Order(targets=[("msisdn", ME)], start="2026-11-11T00:00:00Z")
    answer(vault, outside, tmp_path / "outside")
    assert manifest(tmp_path / "outside")["annotations"] == []


def test_what_the_other_party_said_is_told_to_no_customer(vault: Vault, tmp_path: Path) -> None:
    """A call has two parties: an authority is told what either said of it, a customer what they said themselves."""
    theirs = {"identifiers": [("msisdn", YOU)], "statement": "I was called by somebody whom I fear."}
    answered(vault, ask("rectify", **theirs))
    answered(vault, ask(), tmp_path / "mine")
    row = records(tmp_path / "mine")[0]
    answered(vault, ask("rectify", record=(row["source"], row["batch"], row["row"]), **theirs))
    answered(vault, ask("rectify"))
    answered(vault, ask(received=datetime(2026, 11, 19, tzinfo=UTC)), tmp_path / "again")
    assert manifest(tmp_path / "mine")["annotations"] == []
    assert [one["text"] for one in manifest(tmp_path / "again")["annotations"]] == ["That was not me."]
    answered(vault, ask(identifiers=[("msisdn", YOU)]), tmp_path / "theirs")
    assert [one["text"] for one in manifest(tmp_path / "theirs")["annotations"]] == [theirs["statement"]]
    answer(vault, Order(), tmp_path / "authority")
    assert len(manifest(tmp_path / "authority")["annotations"]) == 3


def test_nothing_is_annotated_before_two_persons_agreed(vault: Vault, tmp_path: Path) -> None:
    """A request alone restricts the records, and the package to an authority says so; it says nothing more."""
    request = rights.add(vault, signed_in(vault, "otto"), ask("rectify"))
    assert annotation.listing(vault) == []
    answer(vault, Order(targets=[("msisdn", YOU), ("msisdn", ME)]), tmp_path / "package")
    assert manifest(tmp_path / "package")["restricted"] == [2]
    assert manifest(tmp_path / "package")["annotations"] == []
    rights.approve(vault, signed_in(vault, "piet"), request)
    answering.answer(vault, signed_in(vault, "olga"), request)
    answering.answer(vault, signed_in(vault, "olga"), request)
    assert len(annotation.listing(vault)) == 1
    answer(vault, Order(reference="PV-later"), tmp_path / "later")
    assert manifest(tmp_path / "later")["restricted"] == []
