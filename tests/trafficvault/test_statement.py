"""The statement: what the policy promises, row by row, whether it is true today, and that nobody changed a word."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path

import pytest

from tests.support import opened
from tests.trafficvault.short_location import FIRST, GONE, OVER, entry, new
from trafficvault import expire, signing, statement
from trafficvault.errors import FaultError, UsageError
from trafficvault.vault import Vault

DAY = timedelta(days=1)


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    """The vault of `short_location`."""
    return new(tmp_path)


def verdicts(vault: Vault) -> dict[str, str]:
    """Each row's verdict."""
    rows = statement.state(vault).body["rows"]
    return {row["id"]: row["verdict"] for row in rows if not row["id"].startswith("register-")}


def test_a_fresh_vault_keeps_its_word(vault: Vault) -> None:
    """Every row with its term in both languages, the oldest day held, nothing due, and TRUE."""
    made = statement.state(vault)
    by_id = {row["id"]: row for row in made.body["rows"]}

    assert [name for name in by_id if not name.startswith("register-")] == ["calls", "usage", "location"]
    assert {row["verdict"] for row in by_id.values()} == {"TRUE"}
    assert (by_id["location"]["kept"], by_id["location"]["term"]) == ({"nl": "1 maand", "en": "1 month"}, "P1M")
    assert (by_id["usage"]["oldest_day"], by_id["calls"]["oldest_day"]) == ("2026-11-10", None)
    assert by_id["usage"]["categories"] == ["who", "when", "how_much"]
    assert (by_id["usage"]["due"], by_id["usage"]["due_since"], by_id["usage"]["last_certificate"]) == (0, None, None)
    assert made.body["true"] is True
    made.require_true()


def test_due_is_true_as_long_as_was_promised_and_then_it_is_not(vault: Vault) -> None:
    """What is due is shown from its moment on; two days after its first record's term, still there, its row alone is no
    longer true.
    """
    ((due, promised),) = {
        (item.due, item.promised)
        for item in expire.plan(vault)
        if item.categories == ("where",) and item.day == date(2026, 11, 10)
    }
    assert due is not None
    assert promised is not None
    assert due < promised < due + DAY
    row = statement.state(opened(vault, due)).body["rows"][2]
    assert (row["due"], row["due_since"], row["verdict"]) == (1, signing.instant(due), "TRUE")
    assert verdicts(opened(vault, promised)) == {"calls": "TRUE", "usage": "TRUE", "location": "TRUE"}
    late = opened(vault, promised + timedelta(seconds=1))
    assert verdicts(late) == {"calls": "TRUE", "usage": "TRUE", "location": "NOT TRUE TODAY"}
    with pytest.raises(FaultError, match="NOT TRUE TODAY: location; run expire"):
        statement.state(late).require_true()
    expire.expire(late)
    assert statement.state(late).body["true"] is True


def test_the_last_certificate_is_that_of_the_row(vault: Vault) -> None:
    """A location's certificate stands in the row of the location, and a day's in both."""
    later = opened(vault, GONE)
    first = expire.expire(later).certificates[0]["id"]
    rows = {row["id"]: row["last_certificate"] for row in statement.state(later).body["rows"]}
    assert (rows["location"]["id"], rows["usage"], rows["calls"]) == (first, None, None)
    assert (rows["location"]["class"], rows["location"]["day"]) == ("mobile_usage", "2026-11-10")
    last = opened(vault, OVER)
    expire.expire(last)
    rows = {row["id"]: row["last_certificate"] for row in statement.state(last).body["rows"]}
    assert rows["usage"] is not None
    assert rows["location"]["id"] != first


def test_an_expiry_that_stopped_half_way_is_not_true(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Begun and not certified: nobody can say yet that it is gone."""
    later = opened(vault, GONE)
    with monkeypatch.context() as patch:
        patch.setattr(expire, "_certify", lambda *arguments: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            expire.expire(later)
    row = statement.state(opened(later)).body["rows"][2]
    assert row["verdict"] == "NOT TRUE TODAY"
    assert row["reasons"] == ["records mobile_usage 2026-11-10 (where) began to expire and was not finished"]


def test_what_no_row_covers_is_not_true(vault: Vault) -> None:
    """A class that is stored and has lost its rows makes the statement untrue, though every row is true."""
    text = vault.layout.policy.read_text()
    vault.layout.policy.write_text(text.split('[[entry]]\nid = "usage"')[0])
    made = statement.state(opened(vault))
    assert {row["verdict"] for row in made.body["rows"]} == {"TRUE"}
    assert made.body["true"] is False
    with pytest.raises(FaultError, match="class mobile_usage is stored and no entry of the policy covers it"):
        made.require_true()


def test_a_row_of_nothing_stored_says_so(vault: Vault) -> None:
    """A row without classes is printed; that nothing of it is here is its reason, and true."""
    path = vault.layout.policy
    path.write_text(path.read_text() + entry("contract", "P1Y", []))
    (row,) = (row for row in statement.state(opened(vault)).body["rows"] if row["id"] == "contract")
    assert (row["verdict"], row["reasons"]) == ("TRUE", ["nothing of this row is stored in this vault"])


def test_a_clock_that_went_back_makes_nothing_true(vault: Vault) -> None:
    """The moment is the last that was trusted, and the statement says what is wrong with the clock."""
    late = opened(vault, GONE + 2 * DAY)
    with late.catalogue.transaction() as tx:
        late.audit.enter(tx, "seen", None, {})
    back = statement.state(opened(vault, FIRST))
    assert back.body["at"] == signing.instant(GONE + 2 * DAY)
    assert "it went back" in back.body["clock"]
    assert back.body["true"] is False


def test_a_signature_holds_offline_and_for_every_word(vault: Vault) -> None:
    """With the public key alone; a changed verdict, id or signature is a fault, and another file no statement."""
    made = statement.state(vault).as_dict()
    key = vault.settings.public_key
    assert statement.require_authentic(json.dumps(made, indent=1), key).body["true"] is True

    changed = json.loads(json.dumps(made))
    changed["rows"][0]["verdict"] = "NOT TRUE TODAY"
    with pytest.raises(FaultError, match="the signature is not that of key"):
        statement.require_authentic(json.dumps(changed), key)
    with pytest.raises(FaultError, match="its id is not that of its content"):
        statement.require_authentic(json.dumps(made | {"id": "0" * 32}), key)
    twice = json.dumps(made).replace('{"id":', '{"true": true, "id":', 1)
    for other in (twice, "", "[]", "{}", json.dumps(made | {"kind": "package"}), json.dumps(made | {"share": 0.5})):
        with pytest.raises(UsageError, match="not a statement of version 1"):
            statement.require_authentic(other, key)
