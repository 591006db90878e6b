"""Ahead: what holds cover is carved before its day is due, so that a locked vault drops it on time, hold or none."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.scenarios.test_lapsed_freeze import Meanwhile
from tests.support import (
    FAST,
    NOW,
    PASSWORD,
    STAFF,
    Order,
    Usage,
    answer,
    approved,
    ingest,
    layout_at,
    signed_in,
    usage,
)
from tests.trafficvault.key_choices import answering, choice
from trafficvault import ahead, app, carving, docket, expire, holding, locked, proposals, verify
from trafficvault.clock import SetClock
from trafficvault.durable import Disk
from trafficvault.layout import Layout
from trafficvault.vault import Vault

OLD = "20260521120000"
LATE = NOW + timedelta(days=3)
"""When the day of `OLD` has been due for a day."""
MAY = Order(start="2026-05-01T00:00:00Z", end="2026-06-01T00:00:00Z")
HOLD = replace(MAY, reference="PV-1", hold_for="P90D", legal_basis="126ni Sv")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A passphrase vault with staff, and records of which two are about to expire and one is not, closed again."""
    where, ask, clock = layout_at(tmp_path), answering(), SetClock(NOW)
    vault = app.create(where, "telecom", [("ada", PASSWORD)], Disk(), clock, FAST, choice=choice("passphrase"), ask=ask)
    for name, roles in STAFF.items():
        app.add_person(vault, name, roles, PASSWORD, (signed_in(vault, "ada"),), FAST)
    rows = [Usage(at=OLD, record_id="old"), Usage(at="20260524120000"), Usage(record_id="new")]
    ingest(vault, "mvno_pipe", usage(rows), "S4PGWM000001")
    return where


def unlocked(layout: Layout, now: datetime = NOW) -> Vault:
    """Opened with the passphrase."""
    return app.open_vault(layout, Disk(), SetClock(now), writer=True, ask=answering())


def dropped(layout: Layout, now: datetime = LATE) -> set[str]:
    """The days whose files a run without it dropped so far."""
    return {item.day for item in locked.drop_due(layout, Disk(), SetClock(now)).pending.dropped}


@pytest.mark.parametrize("held", [True, False], ids=["held", "nobody asks"])
def test_a_locked_vault_drops_on_time(layout: Layout, tmp_path: Path, *, held: bool) -> None:
    """After an expiry with the keys, hold or none; what is held is answered when the keys are there again."""
    vault = unlocked(layout)
    hold = approved(vault, HOLD) if held else None
    expire.expire(vault)
    with vault.catalogue.reading() as tx:
        carved = {row["day"]: row["rows"] for row in tx.select(carving.TABLE)}
    assert carved == ({"2026-05-21": 1, "2026-05-24": 1} if held else {})
    assert dropped(layout) == {"2026-05-21"}

    later = unlocked(layout, LATE + timedelta(hours=1))
    issued = expire.expire(later).certificates
    assert [body["day"] for body in issued if body["what"] == "records"] == ["2026-05-21"]
    assert verify.verify(later).faults == ()
    assert answer(later, replace(MAY, reference="PV-2", supplements=hold), tmp_path / "out").records == 1 + held


def test_nothing_is_carved_twice(layout: Layout) -> None:
    """When the day is due, what was carved of the same files stands; a file that came since is carved too."""
    vault = unlocked(layout)
    approved(vault, HOLD)
    expire.expire(vault)
    ingest(vault, "mvno_pipe", usage([Usage(at="20260524130000", record_id="late")]), "S4PGWM000002")
    for moment, count in ((NOW, 3), (NOW, 3), (NOW + timedelta(days=6), 3)):
        vault = unlocked(layout, moment)
        expire.expire(vault)
        with vault.catalogue.reading() as tx:
            assert len(tx.select(carving.TABLE)) == count


def test_what_was_not_carved_stays(layout: Layout) -> None:
    """A hold that nobody carved for, one that changed since, and a file that came since: the order goes first."""
    vault = unlocked(layout)
    expire.expire(vault)
    approved(vault, HOLD)
    assert dropped(layout) == set()

    vault = unlocked(layout, LATE)
    with vault.catalogue.reading() as tx:
        rows, told = tx.select("holds"), tx.meta(ahead.META)
    assert ahead.told(told, rows) is None
    for changed in (None, "", "{", "{}", '{"at": 1, "holds": "", "until": "soon"}'):
        assert ahead.told(changed, rows) is None


def test_a_file_that_came_since_stays(layout: Layout) -> None:
    """Of its day nothing is dropped without keys; of another day it is."""
    vault = unlocked(layout)
    approved(vault, HOLD)
    expire.expire(vault)
    later = unlocked(layout, NOW + timedelta(seconds=1))
    ingest(later, "mvno_pipe", usage([Usage(at="20260524130000", record_id="late")]), "S4PGWM000002")
    assert dropped(layout, NOW + timedelta(days=6)) == {"2026-05-21"}


def test_a_hold_that_is_over_by_then_keeps_nothing(layout: Layout) -> None:
    """A freeze of three days carves no day that dies later; one that is released is another list of holds."""
    vault = unlocked(layout)
    hold = approved(vault, replace(MAY, reference="PV-3"))
    expire.expire(vault)
    with vault.catalogue.reading() as tx:
        assert {row["day"] for row in tx.select(carving.TABLE, hold=hold)} == {"2026-05-21"}
    other = approved(vault, HOLD)
    expire.expire(vault)
    made = holding.propose_release(vault, signed_in(vault, "olga"), other)
    holding.release(
        vault,
        signed_in(vault, "piet"),
        proposals.approve(vault, signed_in(vault, "piet"), made.proposal_id).proposal_id,
    )
    with vault.catalogue.reading() as tx:
        assert ahead.told(tx.meta(ahead.META), tx.select("holds")) is None


@pytest.mark.slow
@pytest.mark.parametrize("commit", range(1, 6))
def test_an_order_that_comes_during_the_carving_is_not_taken_for_carved(layout: Layout, commit: int) -> None:
    """Behind whichever commit of an expiry it is registered: a locked vault drops the day if it has its records too."""
    vault = unlocked(layout)
    approved(vault, HOLD)
    came: list[str] = []
    text = replace(HOLD, reference="PV-2").toml()
    disk = Meanwhile(commit, lambda: came.append(docket.register(vault, signed_in(vault, "olga"), text)))
    house = app.open_vault(layout, disk, SetClock(NOW), writer=True, ask=answering())
    expire.expire(house)
    with house.catalogue.reading() as tx:
        carved = [row["day"] for row in tx.select(carving.TABLE, hold=came[0])]
    assert ("2026-05-21" in dropped(layout, NOW + timedelta(days=2, hours=20))) is ("2026-05-21" in carved)
