"""Registers: warrants, disclosures, proposals, receipts and certificates go at their own terms, and never earlier."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import NOW, Order, answer, approved, every_byte, ingest, new_vault, opened, signed_in
from tests.thorough import as_many
from tests.trafficvault.kept_files import calls
from tests.trafficvault.test_rewrite import faults
from trafficvault import (
    attestation,
    certificates,
    checkpoints,
    docket,
    expire,
    holds,
    locks,
    proposals,
    registers,
    statement,
    status,
)
from trafficvault.carving import TABLE as CARVES
from trafficvault.certificates import listing
from trafficvault.errors import DecisionError, RefusedError, UsageError
from trafficvault.period import Period
from trafficvault.policy_file import parse, preset_text
from trafficvault.register_terms import REGISTERS, RegisterTerms
from trafficvault.retention import expires_at
from trafficvault.tables import TABLES
from trafficvault.terms import Term
from trafficvault.vault import Vault

TERMS = RegisterTerms()
DAY = timedelta(days=1)


FROZEN = NOW + timedelta(hours=72)
"""Until when a warrant that was registered freezes its scope; that hold is the last that the warrant tells."""


@pytest.fixture
def stored(tmp_path: Path) -> Vault:
    """A vault with a few calls in it, and no warrant."""
    vault = new_vault(tmp_path / "house")
    ingest(vault, "kamailio_flatstore", calls())
    return vault


def at(vault: Vault, moment: datetime) -> Vault:
    """The vault opened at `moment`, which its clock is believed for."""
    vault.catalogue.close()
    return opened(vault, moment)


def run(vault: Vault, moment: datetime) -> tuple[Vault, expire.Expiry]:
    """The expiry of `moment`."""
    late = at(vault, moment)
    return late, expire.expire(late, signed_in(late, "otto"))


def rows(vault: Vault) -> dict[str, int]:
    """How many rows each register has."""
    return {register.name: register.rows for register in registers.state(vault)}


def ends(moment: datetime, register: str) -> datetime:
    """When a row that tells `moment` has reached its term."""
    return expires_at(moment, Term(period=TERMS.of(register)), "Europe/Amsterdam")


def test_a_register_row_goes_on_its_term_and_not_before(stored: Vault, tmp_path: Path) -> None:
    """A microsecond before it, nothing; then the disclosure; then the warrant, and its hold's row with it."""
    answer(stored, Order(), tmp_path / "out")
    before = rows(stored)
    assert (before["warrants"], before["disclosures"]) == (1, 1)
    early, _ = run(stored, ends(NOW, "disclosures") - timedelta(microseconds=1))
    assert (rows(early)["warrants"], rows(early)["disclosures"]) == (1, 1)
    early, done = run(early, ends(NOW, "disclosures"))
    assert (rows(early)["warrants"], rows(early)["disclosures"]) == (1, 0)
    (body,) = (one for one in done.certificates if one["what"] == "register")
    assert (body["counts"], body["records"], body["lateness_seconds"]) == ({"disclosures": 1}, 1, 0)
    late, done = run(early, ends(FROZEN, "warrants"))
    assert rows(late)["warrants"] == 0
    with late.catalogue.reading() as tx:
        assert tx.select(holds.TABLE) == []
    assert faults(late) == []
    assert expire.expire(late).certificates == ()


def test_nothing_of_a_warrant_is_left(stored: Vault) -> None:
    """Neither in the catalogue's file nor in its log: the sealed document is nowhere on disk."""
    warrant = approved(stored, Order())
    with stored.catalogue.reading() as tx:
        row = tx.get("warrants", id=warrant)
    assert row is not None
    sealed = row["sealed"].encode()
    pieces = [sealed[start : start + 64] for start in range(0, len(sealed), 64)]
    assert sum(piece in every_byte(stored.layout.vault) for piece in pieces) > len(pieces) // 2
    late, _ = run(stored, ends(FROZEN, "warrants") + DAY)
    with pytest.raises(RefusedError, match="there is none"):
        docket.load(late, warrant)
    left = every_byte(late.layout.vault)
    assert not any(piece in left for piece in pieces)


def test_a_warrant_stays_for_a_disclosure_of_it(stored: Vault, tmp_path: Path) -> None:
    """One that was run years after it was registered goes with that run."""
    warrant = approved(stored, Order())
    with stored.catalogue.transaction() as tx:
        ran = {"warrant": warrant, "question": "activity", "person": "olga", "state": "released"}
        tx.put("disclosures", id="d", started_at=(NOW + 100 * DAY).isoformat(), **ran)
    late, _ = run(stored, ends(FROZEN, "warrants") + DAY)
    assert rows(late)["warrants"] == 1
    late, _ = run(late, ends(NOW + 100 * DAY, "disclosures"))
    assert (rows(late)["warrants"], rows(late)["disclosures"]) == (0, 0)


@pytest.mark.parametrize(("state", "stays"), [("active", True), ("ended", True), ("released", False)])
def test_a_warrant_stays_for_its_hold(stored: Vault, state: str, stays: bool) -> None:
    """While it binds, and for the term after it ended by itself; and while it keeps a row, whatever its state."""
    warrant = approved(stored, Order())
    until = (ends(FROZEN, "warrants") + (10 if state == "active" else -10) * DAY).isoformat()
    with stored.catalogue.transaction() as tx:
        tx.put(holds.TABLE, id=warrant, state=state, since=NOW.isoformat(), until=until)
    late = at(stored, ends(FROZEN, "warrants") + DAY)
    assert ("warrants" not in {one.register for one in registers.plan(late)}) == stays
    with late.catalogue.transaction() as tx:
        row = {one.name: 1 if one.kind is int else "2026-11-10" for one in TABLES[CARVES].columns if one.name != "seal"}
        tx.put(CARVES, **row | {"id": "c", "hold": warrant})
    assert "warrants" not in {one.register for one in registers.plan(late)}


def test_a_receipt_stays_as_long_as_what_it_tells_of(tmp_path: Path) -> None:
    """A binding lives for years, and its receipt; a receipt of calls goes when its own year is over."""
    vault = new_vault(tmp_path)
    binding = {"class": "binding", "served": "a", "start": "2026-11-10T12:00:00Z", "subscriber": "s-1"}
    kept = ingest(vault, "native_ndjson", json.dumps(binding) + "\n")
    gone = ingest(vault, "kamailio_flatstore", calls())
    late, _ = run(vault, ends(NOW, "receipts") - timedelta(microseconds=1))
    assert rows(late)["receipts"] == 2
    late, _ = run(late, ends(NOW, "receipts"))
    with late.catalogue.reading() as tx:
        assert [row["id"] for row in tx.select("batches")] == [kept.batch_id]
    assert faults(late) == []
    # The same file again finds each of its records past its term: nothing rested on the receipt.
    again = ingest(late, "kamailio_flatstore", calls())
    assert (again.batch_id, again.stored, again.expired) == (gone.batch_id, 0, 3)


def test_numbered_receipts_leave_no_gap(tmp_path: Path) -> None:
    """One that stays keeps the later ones of its source: else a file would seem to be missing that came."""
    vault = new_vault(tmp_path)
    vault.layout.sources.write_text('[s]\nfeed = "native_ndjson"\nsequence = "f(?P<seq>[0-9]+)"\n')
    vault = opened(vault)
    binding = {"class": "binding", "served": "a", "start": "2026-11-10T12:00:00Z", "subscriber": "s-1"}
    for number, line in enumerate([None, binding, None, None], start=1):
        vault = at(vault, NOW + timedelta(seconds=number))
        text = json.dumps(line or _call(number)) + "\n"
        assert ingest(vault, "native_ndjson", text, f"f{number}", "s").stored == 1
    late, _ = run(vault, ends(NOW, "receipts") + DAY)
    with late.catalogue.reading() as tx:
        assert sorted(row["sequence"] for row in tx.select("batches")) == [2, 3, 4]


def test_proposals_and_certificates_go(stored: Vault) -> None:
    """A proposal after a year; a certificate after ten, and its tombstone then names none and is no fault."""
    found = proposals.propose(stored, signed_in(stored, "otto"), "batch-withdraw", {"batch": "x", "reason": "y"})
    late, _ = run(stored, ends(NOW, "proposals"))
    assert rows(late)["proposals"] == 0
    with pytest.raises(RefusedError, match="there is none"):
        proposals.load(late, found.proposal_id)
    issued = datetime.fromisoformat(listing(late)[0]["deleted_at"])
    late, _ = run(late, ends(issued, "certificates") + DAY)
    assert {body["what"] for body in listing(late)} <= {"register", "audit"}
    with late.catalogue.reading() as tx:
        tombs = tx.select("partitions", state="tombstone")
    assert tombs
    assert all(row["certificate"] is None for row in tombs)
    assert faults(late) == []


def test_its_certificate_is_one_that_an_outsider_can_check(stored: Vault) -> None:
    """Exported with its proof, it verifies offline with the public key alone."""
    approved(stored, Order())
    late, done = run(stored, ends(FROZEN, "warrants") + 2 * DAY)
    (body,) = (one for one in done.certificates if one["what"] == "register")
    assert body["lateness_seconds"] > 0
    checkpoints.make(late)
    bundle = json.dumps(certificates.export(late, body["id"]))
    assert attestation.check(json.loads(bundle), late.settings.public_key).attested


@pytest.mark.parametrize("where", ["intent", "certificate"])
def test_cut_short_it_is_finished_by_the_next_run(stored: Vault, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that were deleted and not certified are certified later, once, with their counts."""
    approved(stored, Order())
    late = at(stored, ends(FROZEN, "warrants"))
    expire.require_clock(late, signed_in(late, "otto"))
    counted = rows(late)["warrants"]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        if where == "intent":
            patch.setattr(type(late.audit), "flush", _interrupted)
        else:
            patch.setattr(certificates, "sign", _interrupted)
        registers.expire(late)
    again = at(late, late.clock.now())
    (body,) = registers.expire(again)
    assert body["counts"]["warrants"] == counted == 1
    assert registers.expire(again) == ()
    assert rows(again)["warrants"] == 0


def test_a_killed_run_keeps_that_a_reader_had_not_ended(stored: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next run has more rows to end, and one certificate of all: it claims nothing that was not so of some."""
    approved(stored, Order())
    late = at(stored, ends(FROZEN, "warrants"))
    expire.require_clock(late, signed_in(late, "otto"))
    hurried = replace(late, settings=replace(late.settings, lease_seconds=0))
    with monkeypatch.context() as patch, locks.reading(late.layout), pytest.raises(KeyboardInterrupt):
        patch.setattr(certificates, "sign", _interrupted)
        registers.expire(hurried)
    again = at(late, late.clock.now())
    approved(again, Order(reference="PV-2"))
    later = at(again, ends(again.clock.now() + timedelta(hours=72), "warrants"))
    expire.require_clock(later, signed_in(later, "otto"))
    (body,) = registers.expire(later)
    assert body["counts"]["warrants"] == 2
    assert body["leases_ended"] is False


@settings(max_examples=as_many(20), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    proposed=st.datetimes(datetime(2026, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),
    later=st.none() | st.timedeltas(timedelta(0), timedelta(days=400)),
    asked=st.timedeltas(timedelta(days=-40), timedelta(days=40)),
)
def test_no_row_goes_early_and_none_stays(
    stored: Vault, proposed: datetime, later: timedelta | None, asked: timedelta
) -> None:
    """Whatever moments a row tells, it is due exactly when the last of them is as long ago as its term."""
    last = proposed + (later or timedelta(0))
    with stored.catalogue.transaction() as tx:
        vouch = {"approved_by": "p", "approved_at": last.isoformat(), "approved_signature": "x"} if later else {}
        names = {"id": "p", "kind": "policy", "state": "open", "sealed": "", "proposed_by": "o"}
        tx.put("proposals", **names, proposed_at=proposed.isoformat(), proposed_signature="x", **vouch)
    end = ends(last, "proposals")
    due = [one for one in registers.plan(stored, end + asked) if one.register == "proposals"]
    assert bool(due) == (asked >= timedelta(0))
    assert all(one.due == end for one in due)


def test_status_and_statement_tell_of_them(stored: Vault) -> None:
    """A row each in the signed statement; what is due for more than a day is wrong, until an expiry ran."""
    approved(stored, Order())
    made = {row["id"]: row for row in statement.state(stored).body["rows"]}
    assert {f"register-{name}" for name in REGISTERS} <= set(made)
    oldest = {name: made[f"register-{name}"]["oldest_day"] for name in REGISTERS}
    assert oldest["receipts"] == NOW.date().isoformat()
    assert [oldest[name] for name in ("warrants", "disclosures", "proposals")] == [None] * 3
    assert made["register-warrants"]["verdict"] == statement.TRUE
    late = at(stored, ends(FROZEN, "warrants") + timedelta(hours=25))
    row = {row["id"]: row for row in statement.state(late).body["rows"]}["register-warrants"]
    assert (row["due"], row["verdict"]) == (1, statement.NOT_TRUE)
    assert any("register of warrants" in sentence for sentence in status.status(late).wrong)
    expire.expire(late, signed_in(late, "otto"))
    row = {row["id"]: row for row in statement.state(late).body["rows"]}["register-warrants"]
    assert (row["due"], row["verdict"]) == (0, statement.TRUE)
    assert row["last_certificate"] is not None


def test_a_clock_that_is_not_believed_removes_nothing(stored: Vault) -> None:
    """As for records: a person must decide."""
    approved(stored, Order())
    late = at(stored, ends(NOW, "certificates"))
    with pytest.raises(DecisionError):
        expire.expire(late)
    assert rows(late)["warrants"] == 1


def test_the_policy_says_how_long() -> None:
    """Each term can be set; none is nothing, and certificates last as long as any other."""
    text = preset_text("telecom")
    text = text.split("\n[terms]")[0]
    found = parse(f'{text}\n[terms]\nwarrants = "P2Y"\nreceipts = "P6M"\n')
    assert (found.terms.warrants, found.terms.receipts) == (Period(months=24), Period(months=6))
    assert found.terms.disclosures == TERMS.disclosures
    assert found.digest != parse(text).digest
    assert {row["term"] for row in found.as_dicts() if row["id"] == "register-warrants"} == {"2 years"}
    assert "Registers" in found.markdown(["en"])
    for wrong in ('warrants = "P0D"', 'certificates = "P1Y"', 'letters = "P1Y"', 'warrants = "P4000D"'):
        with pytest.raises(UsageError):
            parse(f"{text}\n[terms]\n{wrong}\n")


def _call(number: int) -> dict[str, object]:
    start = f"2026-11-10T12:00:0{number}Z"
    return {"class": "telephony", "start": start, "a_number": "+31612345678", "a_kind": "e164", "event": "call"}


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt
