"""Every act that destroys, carves, wraps or writes anew, broken off at its steps by SIGKILL or for want of space: the
next run completes it, and the vault is as after one run.

What is held against each other: `verify` (the audit chain with it), each record that can be read, the keys in the ring,
certificates, carves, days, and the files in both directories. In between nothing is lost that stays. A few steps of
each act are tried; `CRASH_STEPS=all` tries every one, in an hour or so.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios import broken, prepared
from tests.scenarios.acts import ACTS, BY_NAME, Act
from tests.scenarios.prepared import House
from tests.support import NOW, ingest, layout_at, signed_in
from tests.thorough import ALL_STEPS, seconds
from tests.trafficvault.kept_files import AT, calls
from trafficvault import carving, expire, locked, proposals, withdrawal
from trafficvault.audit import AuditLog
from trafficvault.clock import SetClock
from trafficvault.durable import Disk
from trafficvault.layout import hold_key_id
from trafficvault.verify import verify

KILLS, FULL = 2, 1
"""How many steps of an act are tried."""
SAMPLED = {"receive", "accept", "compact", "expire", "expire-location"}
"""Acts that are tried at some steps by stories of their own, so that here all of them are, or none."""
TRIED = [act for act in ACTS if ALL_STEPS or act.name not in SAMPLED]


def chosen(steps: Sequence[int], act: Act, count: int) -> Sequence[int]:
    """The steps to break off at: other ones for each act, so that together they are of every kind."""
    if ALL_STEPS or len(steps) <= count:
        return steps
    shift = ACTS.index(act) * 7 % (len(steps) // count)
    return [steps[len(steps) * number // count + shift] for number in range(count)]


@pytest.mark.slow
@pytest.mark.timeout(seconds(120))
@pytest.mark.parametrize("act", TRIED, ids=[act.name for act in TRIED])
def test_an_act_that_was_broken_off_is_completed(act: Act, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever step it was, killed or for want of space."""
    if act.entries is not None:
        assert AuditLog.__init__.__kwdefaults__ is not None
        monkeypatch.setitem(AuditLog.__init__.__kwdefaults__, "entries_per_segment", act.entries)
    base = tmp_path / "base"
    expected = broken.whole(act, base)
    assert expected["faults"] == []
    assert expected["steps"] > 0
    assert (len(expected["rows"]), len(expected["certificates"])) == (act.records, act.certificates)

    told: dict[str, object] = {}
    kills = chosen(range(1, expected["steps"] + 1), act, KILLS)
    broken.imaged(act, base, kills)
    fulls = chosen(expected["writing"], act, FULL)
    for how, at in [*(("killed", at) for at in kills), *(("full", at) for at in fulls)]:
        place = tmp_path / f"base-imaged-killed-{at}"
        if how == "full":
            place = tmp_path / f"full-{at}"
            broken.copy(base, place)
            broken.filled_up(act, place, at)
        try:
            wrong = broken.differences(act, broken.again(act, place), expected)
        except Exception as problem:  # raised again, with the step it came of
            problem.add_note(f"{act.name}, {how} at step {at} of {expected['steps']}")
            raise
        if wrong:
            told[f"{how} at {at}"] = wrong
        shutil.rmtree(place)
    assert told == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["withdraw", "expire-all"])
def test_a_kill_in_earnest_leaves_no_more(name: str, tmp_path: Path) -> None:
    """A process that dies by SIGKILL, at a step in the middle, where its files are half exchanged."""
    act, base, place = BY_NAME[name], tmp_path / "base", tmp_path / "killed"
    expected = broken.whole(act, base)
    broken.copy(base, place)
    broken.kill(act, place, expected["steps"] // 2)
    assert broken.differences(act, broken.again(act, place), expected) == {}


@pytest.mark.slow
def test_what_a_killed_removal_carved_is_not_taken_for_another(tmp_path: Path) -> None:
    """A withdrawal that was killed before it counted had carved for a hold; a batch that came after it is withdrawn:
    the hold has its record as well.
    """
    act, base = BY_NAME["withdraw"], tmp_path / "base"
    commits = broken.whole(act, base)["commits"][:6]
    broken.imaged(act, base, commits)
    places = [broken.remains(tmp_path / "base-imaged", at) for at in commits]
    place, carved = next((place, found) for place in places if (found := _carved(place)))
    assert [row["rows"] for row in carved] == [4]
    vault = House(place, act.now, Disk()).opened()
    with vault.catalogue.reading() as tx:
        assert tx.meta("rewriting") is None
    late = ingest(vault, "kamailio_flatstore", calls(1, AT + timedelta(hours=5)), "late")
    made = withdrawal.propose(vault, signed_in(vault, "otto"), late.batch_id, "the wrong file too")
    ada = signed_in(vault, "ada")
    assert withdrawal.carry_out(vault, ada, proposals.approve(vault, ada, made.proposal_id)).rows == 1
    with vault.catalogue.reading() as tx:
        rows = tx.select("carves")
    (hold,) = {row["hold"] for row in rows}
    kept = carving.rows_of(vault, vault.keys.custody("hold").key(hold_key_id(hold)), rows)
    assert late.batch_id in kept["batch"].to_list()
    assert verify(vault).faults == ()


@pytest.mark.slow
def test_a_locked_vault_waits_for_what_a_killed_run_left_to_carve(tmp_path: Path) -> None:
    """An expiry that carved ahead was killed, and nobody has the secret when the day is due: its files are dropped if
    the hold has its records by then, and else stay until a run with the secret has carved them.
    """
    base, late = tmp_path / "base", NOW + timedelta(days=3)
    act = replace(BY_NAME["expire-ahead"], prepare=prepared.held_under_passphrase)
    commits = broken.whole(act, base)["commits"]
    broken.imaged(act, base, commits)
    told = []
    for place in (broken.remains(tmp_path / "base-imaged", at) for at in commits):
        carved, layout = len(_carved(place)), layout_at(place)
        found = locked.drop_due(layout, Disk(), SetClock(late)).pending.dropped
        told.append((carved, [item.day for item in found if item.what == "records"]))
        vault = House(place, late, Disk()).opened()
        expire.expire(vault)
        with vault.catalogue.reading() as tx:
            assert [row["rows"] for row in tx.select("carves")] == [2]
        assert verify(vault).faults == ()
        vault.catalogue.close()
    assert (0, []) in told
    assert (1, []) in told
    assert told[-1] == (1, ["2026-05-21"])


def _carved(place: Path) -> list[dict[str, Any]]:
    vault = House(place, NOW, Disk()).opened()
    with vault.catalogue.reading() as tx:
        rows = tx.select("carves")
    vault.catalogue.close()
    return rows
