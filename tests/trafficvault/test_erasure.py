"""Erasure: the subject's records go where nothing requires keeping them, for good and with a certificate."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.support import NOW, Order, answer, layout_at, signed_in
from tests.trafficvault.rights_house import ME, YOU, answered, ask, delivered, granted, housed, records
from tests.trafficvault.test_rewrite import faults, rows_of
from trafficvault import answering, app, erasure, policy_file, rights, rights_rules
from trafficvault.certificates import listing as certificates
from trafficvault.clock import SetClock
from trafficvault.durable import Disk
from trafficvault.errors import RefusedError
from trafficvault.rights_rules import GRANTED, GROUNDS
from trafficvault.vault import Vault

LAWFUL = """
[[entry]]
id = "lawful"
service = "Telephony"
data = "Usage"
term = "P6M"
controller = "The provider"
legal_basis = "Legal obligation"
classes = ["voip"]
purpose = "lawful-request"
"""


def erasing(directory: Path, *classes: str) -> Path:
    """A policy under which records of `classes` are erased when their subject asks."""
    text = policy_file.preset_text("telecom").replace(
        '"telephony", "voip", "mobile_usage", "internet"]', '"telephony"]'
    )
    for name in classes:
        text = text.replace(f'classes = ["{name}"]\n', f'classes = ["{name}"]\nerasable = true\n')
    file = directory / "policy.toml"
    file.write_text(text + LAWFUL + LAWFUL.replace('"lawful"', '"internet"').replace('["voip"]', '["internet"]'))
    return file


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    """A vault whose mobile records are erasable."""
    return housed(tmp_path, str(erasing(tmp_path, "mobile_usage")))


def test_own_records_go_and_others_stay(vault: Vault, tmp_path: Path) -> None:
    """Three of four mobile records go, certified; the line's address stays, and the sentence says on which ground."""
    before = rows_of(vault)
    done = answered(vault, ask("erase"))
    assert (done.state, done.records, len(done.certificates)) == ("answered", 3, 2)
    assert len(rows_of(vault)) == len(before) - 3
    assert done.sentences[0] == GRANTED["erase"]
    assert GROUNDS["erase"]["legal-obligation"] in done.sentences
    assert GROUNDS["erase"]["still-needed"] in done.sentences
    assert faults(vault) == []
    answered(vault, ask(), tmp_path / "answer")
    assert [row["record_class"] for row in records(tmp_path / "answer")] == ["internet"]
    told = json.dumps(certificates(vault))
    assert erasure.RULE in told
    assert ME not in told


def test_it_is_done_once(vault: Vault) -> None:
    """Answering again removes nothing more, also of what came later."""
    request, olga = granted(vault, ask("erase")), signed_in(vault, "olga")
    answering.answer(vault, olga, request)
    issued = len(certificates(vault))
    again = answering.answer(vault, olga, request)
    assert (again.state, again.records) == ("answered", None)
    assert len(certificates(vault)) == issued


def test_the_records_of_an_organisations_user_stay(tmp_path: Path) -> None:
    """That organisation decides about them."""
    vault = housed(tmp_path, str(erasing(tmp_path, "mobile_usage")))
    row = {"class": "mobile_usage", "start": "2026-11-12T08:00:00Z", "a_number": ME, "served": "a", "customer": "other"}
    delivered(vault, [row], "customer")
    answered(vault, ask("erase"))
    kept = rows_of(vault)
    assert len(kept) == 2
    assert sorted("other" in one for one in kept) == [False, True]


def test_where_everything_is_kept_it_is_refused(tmp_path: Path) -> None:
    """With the sentences of its grounds, and without a row removed."""
    vault = housed(tmp_path)
    before = rows_of(vault)
    request = granted(vault, ask("erase"))
    done = answering.answer(vault, signed_in(vault, "olga"), request)
    assert (done.state, done.records, done.certificates) == ("refused", 0, ())
    assert done.sentences == (GROUNDS["erase"]["still-needed"], rights_rules.REMEDY)
    assert rights.load(vault, request).ground == "still-needed"
    assert rows_of(vault) == before


def test_restricted_records_are_not_erased(vault: Vault) -> None:
    """They may be restricted because their subject needs them."""
    rights.add(vault, signed_in(vault, "otto"), ask("restrict"))
    request = granted(vault, ask("erase"))
    with pytest.raises(RefusedError, match="these records are restricted"):
        answering.answer(vault, signed_in(vault, "olga"), request)
    assert rights.load(vault, request).state == "approved"


def test_an_erasure_is_the_same_with_and_without_a_warrant(vault: Vault, tmp_path: Path) -> None:
    """What the person is told, and what is removed, does not depend on who else asked."""
    vault.catalogue.close()
    other = tmp_path / "other"
    for name in ("vault", "vault.keys"):
        shutil.copytree(tmp_path / name, other / name)
    watched = app.open_vault(layout_at(other), Disk(), SetClock(NOW), writer=True)
    assert answer(watched, Order(targets=[("msisdn", ME), ("msisdn", YOU)]), tmp_path / "package").records
    plain = app.open_vault(layout_at(tmp_path), Disk(), SetClock(NOW), writer=True)
    first, second = answered(plain, ask("erase")), answered(watched, ask("erase"))
    assert (first.state, first.sentences, first.records) == (second.state, second.sentences, second.records)
    assert rows_of(plain) == rows_of(watched)
