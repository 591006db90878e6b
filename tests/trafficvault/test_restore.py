"""What comes back closed from an older backup, what a surviving log proves, and what stays whole."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.support import FAST, NOW, PASSWORD, Order, approved, layout_at, opened, signed_in
from tests.trafficvault.test_backup import LATE, ada, ada_in, back_up, put_back
from tests.trafficvault.test_backup import vault as vault
from tests.trafficvault.test_rotation import Stopped
from trafficvault import (
    app,
    checkpoints,
    docket,
    expire,
    holding,
    holds,
    people,
    proposals,
    status,
    verify,
    withdrawal,
)
from trafficvault.clock import SetClock
from trafficvault.durable import Disk
from trafficvault.errors import FaultError, RefusedError, UsageError
from trafficvault.provider import from_environment
from trafficvault.restore import Restored, restore
from trafficvault.vault import Vault

HOLD = Order(reference="PV-2026-000300", hold_for="P90D", legal_basis="126ni Sv", start="2026-05-01T00:00:00+02:00")
STAFF = ("aukje", "olga", "otto", "piet")


def people_in(vault: Vault) -> dict[str, list[str]]:
    """Who is disabled, and who is suspended."""
    with vault.catalogue.reading() as tx:
        waiting = people.suspended(tx)
        return {
            "disabled": [one.name for one in people.listing(tx) if one.disabled and one.name not in waiting],
            "suspended": waiting,
        }


def proposed(vault: Vault) -> str:
    """An open proposal to withdraw the first batch."""
    with vault.catalogue.reading() as tx:
        batch = str(tx.select("batches")[0]["id"])
    return withdrawal.propose(vault, signed_in(vault, "otto"), batch, "wrong file").proposal_id


def lost_log(vault: Vault) -> Path:
    """The vault's audit directory, kept apart as a disk that survived."""
    return Path(shutil.copytree(vault.layout.audit, vault.layout.vault.with_name("survived")))


def again(vault: Vault, source: Path, log: Path | None, now: datetime = LATE) -> Restored:
    """Moves the vault out of the way and restores from `source`, as ada accepts."""
    shutil.move(vault.layout.vault, vault.layout.vault.with_name("lost vault"))
    return restore(source, vault.layout, Disk(), SetClock(now), from_environment, ada, log)


def test_verify_is_clean_at_once(vault: Vault, tmp_path: Path) -> None:
    """The tree of the log comes with the backup, and is made again from the log where a backup has none."""
    checkpoints.make(vault)
    state = back_up(vault, tmp_path / "backup")
    assert any(name.startswith("state/tree/") for name in state.manifest["files"])
    put_back(tmp_path / "backup", vault.layout)
    assert verify.verify(opened(vault)).faults == ()

    shutil.rmtree(vault.layout.tree)
    back_up(opened(vault), tmp_path / "without")
    put_back(tmp_path / "without", vault.layout)
    assert verify.verify(opened(vault)).faults == ()
    assert vault.layout.tree_level(0).stat().st_size > 0


def test_a_log_that_came_damaged_is_told_and_stops_no_restore(vault: Vault, tmp_path: Path) -> None:
    """What can be put back is; verify names the rest."""
    checkpoints.make(vault)
    path = vault.layout.segment(1)
    lines = path.read_bytes().splitlines(keepends=True)
    shutil.rmtree(vault.layout.tree)
    damaged = lines[0].replace(b'"seq":1', b'"seq":7')
    back_up(vault, tmp_path / "backup")
    path = next((tmp_path / "backup").glob("state-*/audit/*.log"))
    assert damaged != lines[0]
    vault.layout.segment(1).write_bytes(damaged + b"".join(vault.layout.segment(1).read_bytes().splitlines(True)[1:]))
    back_up(opened(vault), tmp_path / "backup")
    told = put_back(tmp_path / "backup", vault.layout)

    assert told.log_problem is not None
    assert any(line.startswith("DAMAGED") for line in told.sentences())
    assert verify.verify(opened(vault)).faults != ()


def test_who_may_act_by_now_is_closed_where_nothing_proves_it(vault: Vault, tmp_path: Path) -> None:
    """Everybody but the administrator who accepted is suspended, proposals are closed, until somebody says so."""
    proposal = proposed(vault)
    back_up(vault, tmp_path / "backup")
    app.disable_person(vault, "otto", ada_in(vault))
    told = again(vault, tmp_path / "backup", None)
    restored = opened(vault, LATE)

    assert (told.suspended, told.closed_proposals) == (STAFF, (proposal,))
    assert people_in(restored) == {"disabled": [], "suspended": list(STAFF)}
    assert proposals.load(restored, proposal).state == "dropped"
    for name in STAFF:
        with pytest.raises(RefusedError, match="may no longer act"):
            signed_in(restored, name)
    assert any("suspended" in sentence for sentence in status.status(restored).attention)
    assert any("SUSPENDED" in line for line in told.sentences())
    assert any("CLOSED" in line for line in told.sentences())
    entry = restored.audit.show(1)[0]
    assert (entry["act"], entry["detail"]["suspended"]) == ("restore", list(STAFF))


def test_a_suspended_person_is_confirmed_by_whom_adding_takes(vault: Vault, tmp_path: Path) -> None:
    """An administrator; by two where there are two; not twice, not somebody who was disabled, not a stranger."""
    admin = signed_in(vault, "ada")
    app.add_person(vault, "bert", ("administrator",), PASSWORD, (admin,), FAST)
    both = (admin, signed_in(vault, "bert"))
    back_up(vault, tmp_path / "backup")
    expire.expire(opened(vault, LATE))
    shutil.move(vault.layout.vault, vault.layout.vault.with_name("lost vault"))

    restore(
        tmp_path / "backup",
        vault.layout,
        Disk(),
        SetClock(LATE),
        from_environment,
        lambda tx: (*ada(tx), people.authenticate(tx, "bert", PASSWORD)),
    )
    restored = opened(vault, LATE)
    with pytest.raises(RefusedError, match="takes two of them"):
        app.confirm_person(restored, "olga", both[:1])
    app.confirm_person(restored, "olga", both)
    app.confirm_person(restored, "otto", both[:1])
    assert signed_in(restored, "olga").roles == {"officer"}
    for name in ("olga", "ada", "nobody"):
        with pytest.raises(RefusedError, match="nobody of that name is suspended"):
            app.confirm_person(restored, name, both)
    app.disable_person(restored, "piet", both[:1])
    with pytest.raises(RefusedError, match="nobody of that name is suspended"):
        app.confirm_person(restored, "piet", both)
    acts = [entry["act"] for entry in restored.audit.show(20)]
    assert acts.count("user-confirm") == 2
    assert acts.count("user-confirm-refused") == 5


def test_nothing_is_closed_where_the_keys_remember_the_last_entry(vault: Vault, tmp_path: Path) -> None:
    """The newest backup is the vault as it was."""
    proposal = proposed(vault)
    back_up(vault, tmp_path / "backup")
    told = put_back(tmp_path / "backup", vault.layout)

    assert (told.suspended, told.closed_proposals, told.escrow_off, told.followed_entries) == ((), (), False, 0)
    assert proposals.load(opened(vault, LATE), proposal).state == "open"


@pytest.mark.parametrize("step", ["before unlink head", "after unlink head"])
def test_a_restore_that_was_cut_short_still_tells_what_is_lost(vault: Vault, tmp_path: Path, step: str) -> None:
    """The keys forget the entries that are lost; how many these are is known to the next run all the same."""

    class Stopping(Disk):
        def step(self, name: str) -> None:
            if name == step:
                raise Stopped(name)

    back_up(vault, tmp_path / "backup")
    expire.expire(opened(vault, LATE))
    layout = layout_at(tmp_path / "elsewhere")
    shutil.copytree(vault.layout.keys, layout.keys)
    with pytest.raises(Stopped):
        restore(tmp_path / "backup", layout, Stopping(), SetClock(LATE), from_environment, ada)
    told = restore(tmp_path / "backup", layout, Disk(), SetClock(LATE), from_environment, ada)
    assert told.lost_entries is not None
    assert told.lost_entries > 0
    late = app.open_vault(layout, Disk(), SetClock(LATE), writer=True)
    with late.catalogue.reading() as tx:
        assert tx.meta("restoring") is None
    expire.expire(late)
    assert verify.verify(late).faults == ()


def test_a_surviving_log_proves_who_may_act(vault: Vault, tmp_path: Path) -> None:
    """Who was disabled stays so, others act on; what was dropped, refused or released stays closed; the log goes on."""
    kept, dropped = proposed(vault), proposals.propose(vault, signed_in(vault, "ada"), "policy", {"x": 1}).proposal_id
    refused = docket.register(vault, signed_in(vault, "olga"), Order(reference="PV-2").toml())
    back_up(vault, tmp_path / "backup")
    app.add_person(vault, "nina", ("auditor",), PASSWORD, ada_in(vault), FAST)
    proposals.drop(vault, signed_in(vault, "ada"), dropped)
    docket.refuse(vault, signed_in(vault, "piet"), refused, "not signed")
    app.disable_person(vault, "otto", ada_in(vault))
    end = vault.audit.verify()
    told = again(vault, tmp_path / "backup", lost_log(vault))
    restored = opened(vault, LATE)

    assert (told.suspended, told.lost_entries) == ((), 0)
    assert told.to_do_again == {"user-add": 1}
    assert told.followed_entries > 3
    assert people_in(restored) == {"disabled": ["otto"], "suspended": []}
    assert proposals.load(restored, dropped).state == "dropped"
    assert proposals.load(restored, kept).state == "open"
    assert docket.load(restored, refused).state == "refused"
    assert holds.load(restored, refused).state == "released"
    entries = restored.audit.show(3)
    assert entries[-1]["seq"] == end + 1
    assert [one["act"] for one in entries] == ["warrant-refuse", "user-disable", "restore"]
    assert verify.verify(restored).faults == ()
    assert any("taken over from the surviving log" in line for line in told.sentences())


def test_a_log_tells_of_confirmed_people_extended_holds_and_an_escrow(vault: Vault, tmp_path: Path) -> None:
    """Those who were confirmed act, a hold binds as long as was agreed, an escrow waits to be set again."""
    hold = approved(vault, HOLD)
    gone = approved(vault, Order(**{**HOLD.__dict__, "reference": "PV-2026-000301"}))
    with vault.catalogue.transaction() as tx:
        people.suspend(tx, {"ada", "olga", "piet"})
    back_up(vault, tmp_path / "backup")
    app.confirm_person(vault, "otto", ada_in(vault))
    until = (NOW + timedelta(days=120)).isoformat()
    for made in (
        holding.propose_extension(vault, signed_in(vault, "olga"), hold, until),
        holding.propose_release(vault, signed_in(vault, "olga"), gone),
    ):
        proposals.approve(vault, signed_in(vault, "piet"), made.proposal_id)
        carry = holding.extend if made.kind == "hold-extend" else holding.release
        carry(vault, signed_in(vault, "piet"), made.proposal_id)
    told = again(vault, tmp_path / "backup", lost_log(vault))
    restored = opened(vault, LATE)

    assert people_in(restored) == {"disabled": [], "suspended": ["aukje"]}
    assert holds.load(restored, hold).until == NOW + timedelta(days=120)
    assert holds.load(restored, gone).state == "released"
    assert told.to_do_again == {}


def test_a_log_that_ends_early_proves_nothing(vault: Vault, tmp_path: Path) -> None:
    """It is taken over as far as it goes, and the rest is closed."""
    back_up(vault, tmp_path / "backup")
    app.disable_person(vault, "otto", ada_in(vault))
    log = lost_log(vault)
    app.disable_person(vault, "piet", ada_in(vault))
    told = again(vault, tmp_path / "backup", log)

    assert (told.lost_entries, told.followed_entries) == (1, 1)
    assert people_in(opened(vault, LATE)) == {"disabled": ["otto"], "suspended": ["aukje", "olga", "piet"]}
    assert verify.verify(opened(vault, LATE)).faults == ()


def test_a_log_that_was_changed_or_is_none_is_refused(vault: Vault, tmp_path: Path) -> None:
    """Nothing is in place then; a torn last line alone is left out."""
    back_up(vault, tmp_path / "backup")
    app.disable_person(vault, "otto", ada_in(vault))
    log = lost_log(vault)
    path = log / vault.layout.segment(1).name
    whole = path.read_bytes()
    path.write_bytes(whole[:-200] + b"0" + whole[-199:])
    with pytest.raises(FaultError):
        again(vault, tmp_path / "backup", log)
    assert not vault.layout.settings.exists()
    shutil.rmtree(vault.layout.vault)
    shutil.rmtree(vault.layout.vault.with_name("lost vault"))
    (tmp_path / "nothing").mkdir()
    vault.layout.vault.mkdir()
    with pytest.raises(UsageError, match="holds no audit segment"):
        again(vault, tmp_path / "backup", tmp_path / "nothing")
    shutil.rmtree(vault.layout.vault.with_name("lost vault"))
    path.write_bytes(whole + b'{"seq":')
    assert again(vault, tmp_path / "backup", log).followed_entries == 1


def test_who_was_disabled_accepts_nothing_where_the_log_tells(vault: Vault, tmp_path: Path) -> None:
    """An administrator of the backup who was disabled since does not vouch for it."""
    admin = signed_in(vault, "ada")
    app.add_person(vault, "bert", ("administrator",), PASSWORD, (admin,), FAST)
    back_up(vault, tmp_path / "backup")
    app.disable_person(vault, "ada", (admin, signed_in(vault, "bert")))
    with pytest.raises(RefusedError, match="may no longer act"):
        again(vault, tmp_path / "backup", lost_log(vault))


def test_a_hold_is_lost_with_its_key(vault: Vault, tmp_path: Path) -> None:
    """No key is made in its place: the hold ends, is told, and what is left of it goes with the next expiry."""
    hold = approved(vault, HOLD)
    expire.expire(opened(vault, LATE))
    held = opened(vault, LATE)
    assert [row["hold"] for row in rows(held, "carves")] == [hold] * len(rows(held, "carves"))
    assert rows(held, "carves")
    back_up(held, tmp_path / "backup", at=LATE)
    made = holding.propose_release(held, signed_in(held, "olga"), hold)
    proposals.approve(held, signed_in(held, "piet"), made.proposal_id)
    holding.release(held, signed_in(held, "piet"), made.proposal_id)
    after = LATE + timedelta(days=2)
    expire.expire(opened(held, after))
    told = again(held, tmp_path / "backup", None, after)
    restored = opened(vault, after)

    assert told.holds_lost == (hold,)
    assert holds.load(restored, hold).state == "lost"
    assert any("hold kept apart" in sentence for sentence in status.status(restored).attention)
    assert not any(hold in sentence for sentence in (*told.sentences(), *status.status(restored).attention))
    assert verify.verify(restored).faults == ()
    expire.expire(restored)
    assert (rows(restored, "carves"), list(restored.layout.holds.rglob("*"))) == ([], [])
    assert holds.load(restored, hold).state == "lost"
    assert verify.verify(opened(vault, after)).faults == ()
    over = opened(vault, holds.load(restored, hold).until)
    assert not any("hold kept apart" in sentence for sentence in status.status(over).attention)


def rows(vault: Vault, table: str) -> list[dict[str, object]]:
    """Every row of a table of the catalogue."""
    with vault.catalogue.reading() as tx:
        return tx.select(table)
