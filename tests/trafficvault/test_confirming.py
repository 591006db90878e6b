"""A docket that was put back: what it still answers, what it keeps, and who says that it stands."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support import NOW, Order, answer, approved, opened, signed_in
from tests.trafficvault.test_backup import LATE, ada_in, back_up, confirmed
from tests.trafficvault.test_backup import vault as vault
from tests.trafficvault.test_restore import HOLD, again, lost_log
from trafficvault import app, confirming, disclose, docket, holding, holds, proposals, status
from trafficvault.errors import RefusedError
from trafficvault.vault import Vault


@pytest.fixture
def put_back(vault: Vault, tmp_path: Path) -> tuple[Vault, str, str]:
    """A vault that was put back without its log, its staff confirmed, with a warrant and a hold of before."""
    warrant, hold = approved(vault, Order()), approved(vault, HOLD)
    back_up(vault, tmp_path / "backup")
    released(vault, hold)
    assert again(vault, tmp_path / "backup", None).docket_to_confirm
    restored = opened(vault, LATE)
    for name in ("olga", "piet"):
        app.confirm_person(restored, name, ada_in(restored))
    return restored, warrant, hold


def released(vault: Vault, hold: str) -> None:
    """Two persons let go of `hold`."""
    made = holding.propose_release(vault, signed_in(vault, "olga"), hold)
    proposals.approve(vault, signed_in(vault, "piet"), made.proposal_id)
    holding.release(vault, signed_in(vault, "piet"), made.proposal_id)


def test_no_warrant_of_before_runs_until_two_persons_confirm_the_docket(
    put_back: tuple[Vault, str, str], tmp_path: Path
) -> None:
    """The refusal is in the log; a new warrant runs at once, but for one that goes on from a hold of before."""
    vault, warrant, hold = put_back
    olga = signed_in(vault, "olga")
    with pytest.raises(RefusedError, match="is to be confirmed"):
        disclose.run(vault, olga, warrant, tmp_path / "out")
    assert vault.audit.show(1)[0]["act"] == "disclose-refused"
    later = opened(vault, LATE + timedelta(minutes=1))
    assert answer(later, Order(reference="PV-new"), tmp_path / "new").records == 1
    with pytest.raises(RefusedError, match="is to be confirmed"):
        answer(later, Order(reference="PV-on", supplements=hold), tmp_path / "on")
    assert confirming.SENTENCE in status.status(vault).attention

    confirmed(vault)
    assert disclose.run(vault, olga, warrant, tmp_path / "out").records == 1
    assert confirming.SENTENCE not in status.status(vault).attention
    with pytest.raises(RefusedError, match="nothing is to be confirmed"):
        confirming.propose(vault, olga)


def test_what_is_over_is_refused_and_released_before_that(put_back: tuple[Vault, str, str]) -> None:
    """A hold of before holds on until somebody releases it again; a warrant can be refused."""
    vault, _, hold = put_back
    assert holds.load(vault, hold).binds(LATE)
    released(vault, hold)
    assert holds.load(vault, hold).state == "released"
    other = docket.register(vault, signed_in(vault, "olga"), Order(reference="PV-3").toml())
    docket.refuse(vault, signed_in(vault, "piet"), other, "not signed")
    confirmed(vault)


def test_an_officer_proposes_and_an_approver_approves(put_back: tuple[Vault, str, str]) -> None:
    """Nobody else, and not one person alone."""
    vault, _, _ = put_back
    with pytest.raises(RefusedError, match="one of the roles officer"):
        confirming.propose(vault, signed_in(vault, "piet"))
    made = confirming.propose(vault, signed_in(vault, "olga"))
    with pytest.raises(RefusedError, match="one of the roles approver"):
        proposals.approve(vault, signed_in(vault, "olga"), made.proposal_id)
    with pytest.raises(RefusedError, match="a second person approves it"):
        confirming.carry_out(vault, signed_in(vault, "piet"), made)


def test_an_agreement_of_before_another_restore_does_not_count(
    put_back: tuple[Vault, str, str], tmp_path: Path
) -> None:
    """Who agreed looked at another docket."""
    vault, _, _ = put_back
    made = confirming.propose(vault, signed_in(vault, "olga"))
    found = proposals.approve(vault, signed_in(vault, "piet"), made.proposal_id)
    with vault.catalogue.transaction() as tx:
        tx.set_meta(holds.TO_CONFIRM, (NOW + timedelta(days=9)).isoformat())
    with pytest.raises(RefusedError, match="put back again since"):
        confirming.carry_out(vault, signed_in(vault, "piet"), found)


@pytest.mark.parametrize("agreed", [True, False])
def test_a_surviving_log_tells_whether_it_was_confirmed(
    put_back: tuple[Vault, str, str], tmp_path: Path, *, agreed: bool
) -> None:
    """Put back once more, with the log from the first time on: what was to be confirmed is, unless it was."""
    vault, _, _ = put_back
    if agreed:
        confirmed(vault)
    shutil.rmtree(vault.layout.vault.with_name("lost vault"))
    told = again(vault, tmp_path / "backup", lost_log(vault))
    assert not told.docket_to_confirm
    assert (confirming.sentences(opened(vault, LATE)) == []) is agreed


def test_nobody_learns_from_it_whether_there_is_a_docket(vault: Vault, tmp_path: Path) -> None:
    """An empty one is to be confirmed as well."""
    back_up(vault, tmp_path / "backup")
    app.disable_person(vault, "otto", ada_in(vault))
    told = again(vault, tmp_path / "backup", None)
    assert any(line.startswith("TO BE CONFIRMED") for line in told.sentences())
    assert confirming.SENTENCE in status.status(opened(vault, LATE)).attention
