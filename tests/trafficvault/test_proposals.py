"""Proposals: one person proposes, another approves, and whoever carries it out trusts their signatures alone."""

from __future__ import annotations

import pytest

from tests.support import NOW, every_byte, signed_in
from trafficvault import people, proposals, signing
from trafficvault.errors import FaultError, RefusedError
from trafficvault.vault import Vault

KIND = "hold-extend"
BODY = {"subject": "+31612345678", "until": "2027-01-01"}


def test_two_persons_make_it_approved(stored: Vault) -> None:
    """An officer proposes, an approver approves, and both vouch for the same digest."""
    made = proposals.propose(stored, signed_in(stored, "olga"), KIND, BODY)
    assert (made.state, made.approved) == ("open", None)
    proposals.approve(stored, signed_in(stored, "piet"), made.proposal_id)

    found = proposals.require_approved(stored, made.proposal_id, KIND)
    assert found.approved is not None
    assert (found.body, found.proposed.person, found.approved.person) == (BODY, "olga", "piet")
    acts = [entry["act"] for entry in stored.audit.show(10)]
    assert acts[-2:] == [f"{KIND}-propose", f"{KIND}-approve"]


def test_one_person_is_not_two(stored: Vault) -> None:
    """Whoever proposed can't approve, whatever their roles, and the refusal is in the log."""
    made = proposals.propose(stored, signed_in(stored, "otto"), "batch-withdraw", {"batch": "0"})
    with pytest.raises(RefusedError, match="otto proposed it"):
        proposals.approve(stored, signed_in(stored, "otto"), made.proposal_id)
    assert stored.audit.show(1)[0]["act"] == "batch-withdraw-approve-refused"


def test_roles_are_asked(stored: Vault) -> None:
    """Nobody proposes, approves or drops without a role of the kind."""
    with pytest.raises(RefusedError, match="proposing hold-extend: this takes one of the roles officer"):
        proposals.propose(stored, signed_in(stored, "piet"), KIND, BODY)
    made = proposals.propose(stored, signed_in(stored, "olga"), KIND, BODY)
    with pytest.raises(RefusedError, match="takes one of the roles approver"):
        proposals.approve(stored, signed_in(stored, "otto"), made.proposal_id)
    with pytest.raises(RefusedError, match="takes one of the roles approver"):
        proposals.drop(stored, signed_in(stored, "otto"), made.proposal_id)


def test_nothing_is_carried_out_before_approval(stored: Vault) -> None:
    """An open, dropped, done or other proposal is refused with the way on."""
    made = proposals.propose(stored, signed_in(stored, "olga"), KIND, BODY)
    with pytest.raises(RefusedError, match="open; a second person approves it"):
        proposals.require_approved(stored, made.proposal_id, KIND)
    proposals.drop(stored, signed_in(stored, "olga"), made.proposal_id)
    with pytest.raises(RefusedError, match="it is dropped"):
        proposals.approve(stored, signed_in(stored, "piet"), made.proposal_id)
    with pytest.raises(RefusedError, match="only an open one can be dropped"):
        proposals.drop(stored, signed_in(stored, "piet"), made.proposal_id)
    with pytest.raises(RefusedError, match="there is none"):
        proposals.load(stored, "ff")


def test_done_is_done(stored: Vault) -> None:
    """What was carried out is not approved or carried out again; until then approving again changes nothing."""
    made = proposals.propose(stored, signed_in(stored, "olga"), KIND, BODY)
    first = proposals.approve(stored, signed_in(stored, "piet"), made.proposal_id)
    assert proposals.approve(stored, signed_in(stored, "piet"), made.proposal_id) == first
    with stored.catalogue.transaction() as tx:
        proposals.mark_done(tx, made.proposal_id)
    with pytest.raises(RefusedError, match="is done"):
        proposals.approve(stored, signed_in(stored, "piet"), made.proposal_id)
    with pytest.raises(RefusedError, match="hold-extend, done"):
        proposals.require_approved(stored, made.proposal_id, KIND)


def test_the_same_one_is_put_once(stored: Vault) -> None:
    """While it is open, the same proposal again is the one that stands; afterwards it is a new one."""
    olga = signed_in(stored, "olga")
    made = proposals.propose(stored, olga, KIND, BODY)
    assert proposals.propose(stored, olga, KIND, BODY).proposal_id == made.proposal_id
    proposals.drop(stored, olga, made.proposal_id)
    again = proposals.propose(stored, olga, KIND, BODY)
    assert {item.proposal_id for item in proposals.listing(stored)} == {made.proposal_id, again.proposal_id}
    assert made.proposal_id != again.proposal_id


def test_its_body_is_sealed(stored: Vault) -> None:
    """Whom it names is nowhere on disk in clear, nor in its repr."""
    made = proposals.propose(stored, signed_in(stored, "olga"), KIND, BODY)
    assert b"+31612345678" not in every_byte(stored.layout.vault)
    assert "31612345678" not in repr(made)


@pytest.mark.parametrize("part", ["proposed", "approved"])
def test_a_state_that_was_merely_written_vouches_for_nothing(stored: Vault, part: str) -> None:
    """A row that says approved without a person's true signature is a fault, also for a holder of the ring."""
    made = proposals.propose(stored, signed_in(stored, "olga"), KIND, BODY)
    proposals.approve(stored, signed_in(stored, "piet"), made.proposal_id)
    with stored.catalogue.transaction() as tx:
        row = tx.get("proposals", id=made.proposal_id)
        assert row is not None
        tx.put("proposals", **row | {f"{part}_signature": "00" * 64})
    with pytest.raises(FaultError, match="the signature is not that of key"):
        proposals.require_approved(stored, made.proposal_id, KIND)


def test_somebody_who_may_not_vouches_for_nothing(stored: Vault) -> None:
    """Signatures of one person twice, or of a person without the role, are a fault."""
    made = proposals.propose(stored, signed_in(stored, "olga"), KIND, BODY)
    proposals.approve(stored, signed_in(stored, "piet"), made.proposal_id)
    with stored.catalogue.transaction() as tx:
        row = tx.get("proposals", id=made.proposal_id)
        assert row is not None
        tx.put("proposals", **row | {"approved_by": "otto"})
    with pytest.raises(FaultError, match="nobody who may"):
        proposals.require_approved(stored, made.proposal_id, KIND)


@pytest.mark.parametrize("name", ["olga", "piet"])
def test_somebody_who_was_disabled_vouches_for_nothing(stored: Vault, name: str) -> None:
    """Neither who proposed nor who approved, however good the signature was."""
    made = proposals.propose(stored, signed_in(stored, "olga"), KIND, BODY)
    proposals.approve(stored, signed_in(stored, "piet"), made.proposal_id)
    with stored.catalogue.transaction() as tx:
        people.disable(tx, name, [signed_in(stored, "ada")])
    with pytest.raises(RefusedError, match="was disabled since; propose it again"):
        proposals.require_approved(stored, made.proposal_id, KIND)


def test_two_accounts_with_one_key_are_one_person(stored: Vault) -> None:
    """Another name for the same key is no second person."""
    olga, piet = signed_in(stored, "olga"), signed_in(stored, "piet")
    made = proposals.propose(stored, olga, KIND, BODY)
    proposals.approve(stored, piet, made.proposal_id)
    with stored.catalogue.transaction() as tx:
        row, person = tx.get("proposals", id=made.proposal_id), tx.get("people", name="piet")
        assert row is not None
        assert person is not None
        message = signing.statement("approve", made.digest, "piet", NOW)
        tx.put("proposals", **row | {"approved_at": signing.instant(NOW), "approved_signature": olga.sign(message)})
        tx.put("people", **person | {"public_key": olga.public_key})
    with pytest.raises(FaultError, match="one person signed it twice"):
        proposals.require_approved(stored, made.proposal_id, KIND)


def test_one_person_who_signed_twice_vouches_for_nothing(stored: Vault) -> None:
    """Two true signatures of the same person are a fault, however they came into the catalogue."""
    otto = signed_in(stored, "otto")
    made = proposals.propose(stored, otto, "batch-withdraw", {"batch": "0"})
    message = signing.statement("approve", made.digest, "otto", NOW)
    with stored.catalogue.transaction() as tx:
        row = tx.get("proposals", id=made.proposal_id)
        assert row is not None
        approval = {
            "approved_by": "otto",
            "approved_at": signing.instant(NOW),
            "approved_signature": otto.sign(message),
        }
        tx.put("proposals", **row | approval | {"state": "approved"})
    with pytest.raises(FaultError, match="one person signed it twice"):
        proposals.require_approved(stored, made.proposal_id, "batch-withdraw")


def test_two_who_approve_at_once(stored: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """When it was dropped between looking and writing, the approval is refused and signs nothing."""
    made = proposals.propose(stored, signed_in(stored, "olga"), KIND, BODY)
    piet, looked = signed_in(stored, "piet"), proposals.load(stored, made.proposal_id)
    proposals.drop(stored, signed_in(stored, "olga"), made.proposal_id)
    monkeypatch.setattr(proposals, "load", lambda vault, proposal_id: looked)
    with pytest.raises(RefusedError, match="somebody else changed its state meanwhile"):
        proposals.approve(stored, piet, made.proposal_id)


def test_every_kind_takes_two_who_exist() -> None:
    """Each kind names roles that there are, for both persons."""
    known = frozenset({"officer", "approver", "operator", "auditor", "administrator"})
    for kind in proposals.KINDS.values():
        assert kind.proposers and kind.proposers <= known
        assert kind.approvers and kind.approvers <= known
