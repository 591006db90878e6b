"""Registers of customers' requests: each goes after its close, and what is about records lives as long as these can."""

from __future__ import annotations

import json
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.sound import TOLERANCE
from tests.support import NOW, every_byte, new_vault, opened, signed_in
from tests.trafficvault.rights_house import answered, ask, call, delivered, granted, housed
from tests.trafficvault.test_registers import at, run
from tests.trafficvault.test_rewrite import faults
from trafficvault import annotation, policies, registers, rights, statement
from trafficvault.errors import RefusedError
from trafficvault.policy_file import parse, preset_text
from trafficvault.retention import expires_at
from trafficvault.terms import Term
from trafficvault.vault import Vault

DAY = timedelta(days=1)
INSTANT = timedelta(microseconds=1)
ZONE = "Europe/Amsterdam"
TELECOM = parse(preset_text("telecom"))


@pytest.fixture
def stored(tmp_path: Path) -> Vault:
    """A subject's records among others', and no request."""
    return housed(tmp_path)


def kept(vault: Vault, register: str) -> int:
    """How many rows of a register are not due."""
    (one,) = (one for one in registers.state(vault) if one.name == register)
    return one.rows - len(one.due)


def closes(moment: datetime) -> datetime:
    """When a request that was closed at `moment` has reached its term."""
    return expires_at(moment, Term(period=TELECOM.terms.rights), ZONE)


def outlived(moment: datetime, record_class: str = "binding") -> datetime:
    """When the last record that can have been there at `moment` has reached its term."""
    return expires_at(moment + TOLERANCE, TELECOM.require_term(record_class), ZONE)


def test_a_request_goes_at_its_term_and_its_statement_with_the_records(stored: Vault) -> None:
    """Counted from the answer; nothing of either is left on disk, and a certificate says how many went."""
    request = answered(stored, ask("rectify")).request_id
    with stored.catalogue.reading() as tx:
        sealed = [row["sealed"] for name in ("rights", "annotations") for row in tx.select(name)]
    early, _ = run(stored, closes(NOW) - INSTANT)
    assert (kept(early, "rights"), len(annotation.listing(early))) == (1, 1)
    assert "rights" not in {name for body in early.audit.show(1) for name in body["detail"].get("registers", {})}
    late, done = run(early, outlived(NOW))
    (body,) = (one for one in done.certificates if one["what"] == "register" and "rights" in one["counts"])
    assert body["counts"]["rights"] == body["counts"]["annotations"] == 1
    assert "rights P5Y" in body["term"]
    assert "annotations P5Y" in body["term"]
    assert annotation.listing(late) == []
    with pytest.raises(RefusedError, match="there is none"):
        rights.load(late, request)
    left = every_byte(late.layout.vault)
    assert not any(text[start : start + 64].encode() in left for text in sealed for start in range(0, len(text), 64))
    assert faults(late) == []


def test_a_request_that_wants_an_answer_stays(stored: Vault) -> None:
    """However old it is; once it was refused, its term begins."""
    request = granted(stored, ask("object"))
    late = at(stored, closes(NOW) + 100 * DAY)
    assert kept(late, "rights") == 1
    rights.refuse(late, signed_in(late, "piet"), request, "compelling-grounds")
    ends = closes(late.clock.now())
    assert kept(at(late, ends - INSTANT), "rights") == 1
    assert kept(at(late, ends), "rights") == 0


def test_a_restriction_stays_while_it_can_restrict(tmp_path: Path) -> None:
    """Until the last record that it can be about has ended; one that was lifted, for the term of requests after it."""
    text = preset_text("telecom").replace('rights = "P5Y"', 'rights = "P1M"')
    path = tmp_path / "policy.toml"
    path.write_text(text)
    vault = new_vault(tmp_path, str(path))
    one = answered(vault, ask("restrict", until=NOW + 10 * DAY)).request_id
    ends = outlived(NOW + 10 * DAY)
    assert kept(at(vault, ends - INSTANT), "rights") == 1
    assert kept(at(vault, ends), "rights") == 0
    lifting = opened(vault, NOW + DAY)
    rights.lift(lifting, signed_in(lifting, "piet"), one)
    ends = expires_at(NOW + DAY, Term(period=parse(text).terms.rights), ZONE)
    assert kept(at(lifting, ends - INSTANT), "rights") == 1
    assert kept(at(lifting, ends), "rights") == 0


def test_a_statement_on_one_record_goes_with_its_class(stored: Vault) -> None:
    """A call lives for six months, and so does what its subject said of it; one of an unknown record, the longest."""
    batch = delivered(stored, [call("13T12:00:00", "+31612345678", "+31687654321")], "more")
    request = answered(stored, ask("rectify", record=("native_ndjson", batch, 1))).request_id
    other = answered(stored, ask("rectify", record=("native_ndjson", "f" * 24, 1))).request_id
    usage = outlived(NOW, "mobile_usage")
    early = at(stored, usage - INSTANT)
    assert kept(early, "annotations") == 2
    late = at(early, usage)
    assert {one.key for one in registers.plan(late) if one.register == "annotations"} == {request}
    assert {one.key for one in registers.plan(late, outlived(NOW)) if one.register == "annotations"} == {request, other}


def test_what_is_about_a_class_without_a_term_stays(stored: Vault) -> None:
    """Records that no entry covers any longer have no end, and so has what was said of them, or restricts them."""
    answered(stored, ask("rectify"))
    answered(stored, ask("restrict"))
    text = preset_text("telecom").replace('["email", "telephony", "voip", "mobile_usage", "internet"]', "[]")
    stored.layout.policy.write_text(text.replace('classes = ["mobile_usage"]', "classes = []"))
    late = at(opened(stored), outlived(NOW) + 1000 * DAY)
    due = [one.register for one in registers.plan(late)]
    assert "annotations" not in due
    assert due.count("rights") == 1  # the rectification itself, which was answered


def test_the_statement_of_the_policy_has_a_row_of_each(stored: Vault) -> None:
    """With its term, its oldest row, and what is due."""
    answered(stored, ask("rectify"))
    late = at(stored, outlived(NOW) + 2 * DAY)
    rows = {row["id"]: row for row in statement.state(late).body["rows"]}
    for name in ("rights", "annotations"):
        row = rows[f"register-{name}"]
        assert (row["term"], row["oldest_day"], row["due"]) == ("P5Y", NOW.date().isoformat(), 1)
        assert row["verdict"] == statement.NOT_TRUE
    assert rows["register-rights"]["data"]["en"].startswith("Customers' requests")


def test_a_shorter_term_of_a_register_takes_two_persons() -> None:
    """It destroys what was to be kept, as a shorter term of records does."""
    text = preset_text("telecom")
    shorter = parse(text.replace('rights = "P5Y"', 'rights = "P2Y"'))
    told = list(policies.shortenings(parse(text), shorter))
    assert told == ["the register of rights would be kept 2 years instead of 5 years"]
    assert list(policies.shortenings(shorter, parse(text))) == []


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    minutes=st.integers(0, 400 * 24 * 60),
    reach=st.none() | st.integers(-30, 500),
    asked=st.timedeltas(timedelta(days=-3), timedelta(days=3)),
    classes=st.lists(st.sampled_from(TELECOM.classes()), max_size=3, unique=True),
)
def test_no_statement_goes_before_a_record_it_can_be_about(
    minutes: int, reach: int | None, asked: timedelta, classes: list[str]
) -> None:
    """Whenever it was made and wherever its window ends, it is due when the longest of these records is."""
    made = NOW + timedelta(minutes=minutes)
    until = None if reach is None else made + reach * DAY
    with tempfile.TemporaryDirectory() as name:
        vault = new_vault(Path(name))
        with vault.catalogue.transaction() as tx:
            row = {"id": "a", "request": "a", "sealed": "", "made_by": "olga", "made_at": made.isoformat()}
            tx.put(
                "annotations",
                **row,
                until=None if until is None else until.isoformat(),
                classes=json.dumps(classes) if classes else None,
            )
        last = max(made, until or made)
        ends = max(outlived(last, one) for one in classes or TELECOM.classes())
        assert bool([one for one in registers.plan(vault, ends + asked) if one.key == "a"]) == (asked >= timedelta(0))
        vault.catalogue.close()
