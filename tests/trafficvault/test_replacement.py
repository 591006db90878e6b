"""Replacement: the right file in the place of the wrong one, by two persons, with nothing of the wrong one left."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import Usage, ingest, opened, signed_in, usage
from tests.trafficvault.prepared_vault import HELD_FILE, Prepared, bundled
from tests.trafficvault.test_rewrite import faults, rows_of
from tests.trafficvault.test_withdrawal import status_of
from trafficvault import intake, proposals, replacement, withdrawal
from trafficvault.errors import RefusedError
from trafficvault.proposals import Proposal
from trafficvault.receipts import Receipt
from trafficvault.vault import Vault

SHARED = [Usage(at=f"202611101200{second:02d}") for second in range(2)]
RIGHT = usage([*SHARED, Usage(at="20261113120000")])


def proposed(vault: Vault, batch: str, path: Path, content: str = RIGHT, feed: str = "mvno_pipe") -> Proposal:
    """Otto brings the right file."""
    path.write_text(content)
    return replacement.propose(vault, signed_in(vault, "otto"), batch, feed, None, path, "half of it was missing")[1]


def carried_out(vault: Vault, found: Proposal) -> Receipt:
    """Ada approves."""
    ada = signed_in(vault, "ada")
    return replacement.carry_out(vault, ada, proposals.approve(vault, ada, found.proposal_id)).receipt


def test_what_both_hold_is_stored(stored: Vault, prepared: Prepared, tmp_path: Path) -> None:
    """Two records are in both files: they are no duplicates of what goes."""
    found = proposed(stored, prepared.committed, tmp_path / "right")
    assert status_of(stored, found.body["by"]) == "held"
    assert len(rows_of(stored)) == 5
    receipt = carried_out(stored, found)
    assert (receipt.status, receipt.stored, receipt.duplicate, receipt.reason) == ("committed", 3, 0, None)
    assert status_of(stored, prepared.committed) == "withdrawn"
    assert proposals.load(stored, found.proposal_id).state == "done"
    assert len(rows_of(stored)) == 4
    assert faults(stored) == []


def test_a_held_batch_is_replaced_as_well(stored: Vault, prepared: Prepared, tmp_path: Path) -> None:
    """It has no rows; its sealed bytes go."""
    receipt = carried_out(stored, proposed(stored, prepared.held, tmp_path / "right"))
    assert receipt.stored == 1
    assert receipt.duplicate == 2
    assert status_of(stored, prepared.held) == "withdrawn"
    assert faults(stored) == []


def test_a_file_whose_totals_disagree_says_so(stored: Vault, prepared: Prepared, tmp_path: Path) -> None:
    """It is held for both reasons, and stored with the mismatch named."""
    stored.layout.sources.write_text('[east]\nfeed = "wlr_fixed"\n')
    path = tmp_path / HELD_FILE
    path.write_bytes(bundled(HELD_FILE))
    vault, otto = opened(stored), signed_in(stored, "otto")
    _, found = replacement.propose(vault, otto, prepared.committed, "wlr_fixed", "east", path, "of another source")
    receipt = carried_out(vault, found)
    assert receipt.mismatched
    assert "replace batch" in str(receipt.reason)


def test_killed_between_the_two_it_is_finished(
    stored: Vault, prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old batch is gone and the new one still held: approving again stores it, and once more changes nothing."""
    found = proposed(stored, prepared.committed, tmp_path / "right")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(intake, "accept", _interrupted)
        carried_out(stored, found)
    assert status_of(stored, prepared.committed) == "withdrawn"
    again = opened(stored)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(proposals, "mark_done", _interrupted)
        carried_out(again, found)
    receipt = carried_out(opened(again), found)
    assert (receipt.status, receipt.stored) == ("committed", 3)
    assert len(rows_of(again)) == 4
    with pytest.raises(RefusedError, match="it is done"):
        carried_out(opened(again), found)


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_file_that_was_stored_meanwhile_replaces_nothing(stored: Vault, prepared: Prepared, tmp_path: Path) -> None:
    """Its shared records were dropped as duplicates then: the old batch stays."""
    found = proposed(stored, prepared.committed, tmp_path / "right")
    intake.accept(stored, "otto", found.body["by"])
    with pytest.raises(RefusedError, match="bring the file again"):
        carried_out(stored, found)
    assert status_of(stored, prepared.committed) == "committed"


def test_what_is_refused_at_once(stored: Vault, prepared: Prepared, tmp_path: Path) -> None:
    """Who may not, what is not there, what is there already, what is too large, and what nobody explained."""
    path = tmp_path / "right"
    with pytest.raises(RefusedError, match="there is none"):
        proposed(stored, "nobody", path)
    ingest(stored, "mvno_pipe", RIGHT, "right")
    with pytest.raises(RefusedError, match="already"):
        proposed(stored, prepared.committed, path)
    small = replace(stored, settings=replace(stored.settings, max_file=10))
    with pytest.raises(RefusedError, match="max_file"):
        proposed(small, prepared.committed, path, RIGHT + RIGHT)
    with pytest.raises(RefusedError, match="holding a file"):
        proposed(stored, prepared.committed, path, "no pipe at all", "wlr_fixed")
    with pytest.raises(RefusedError, match="no reason"):
        replacement.propose(stored, signed_in(stored, "otto"), prepared.committed, "mvno_pipe", None, path, " ")
    with pytest.raises(RefusedError, match="operator"):
        replacement.propose(stored, signed_in(stored, "olga"), prepared.committed, "mvno_pipe", None, path, "x")
    withdrawal.require_withdrawable(stored, prepared.committed)
