"""A vault whose secret nobody gives forgets on time as far as it can, says what is pending, and makes up for it."""

from __future__ import annotations

import json
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.support import FAST, NOW, PASSWORD, Usage, ingest, layout_at, usage
from tests.thorough import steps_on
from tests.trafficvault.key_choices import answering, choice
from tests.trafficvault.test_rotation import Stopped, StoppingDisk
from trafficvault import app, expire, locked, pending, signing, status, verify
from trafficvault.clock import SetClock
from trafficvault.durable import Disk
from trafficvault.errors import DecisionError, FaultError
from trafficvault.layout import Layout
from trafficvault.pending import Pending
from trafficvault.vault import Vault

OLD = "20260521120000"
LATE = NOW + timedelta(days=3)
ONE = {"kind": "trafficvault-pending", "v": 1, "last_run": "2026-11-20T10:00:00.000000Z", "dropped": []}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A passphrase vault with a record that is about to expire and one that is not, closed again."""
    where, ask = layout_at(tmp_path), answering()
    vault = app.create(
        where, "telecom", [("ada", PASSWORD)], Disk(), SetClock(NOW), FAST, choice=choice("passphrase"), ask=ask
    )
    ingest(vault, "mvno_pipe", usage([Usage(at=OLD, record_id="old"), Usage(record_id="new")]))
    return where


def unlocked(layout: Layout, now: datetime) -> Vault:
    """Opened with the passphrase."""
    return app.open_vault(layout, Disk(), SetClock(now), writer=True, ask=answering())


def drop(layout: Layout, now: datetime, disk: Disk | None = None) -> locked.State:
    """A run without it."""
    return locked.drop_due(layout, disk or Disk(), SetClock(now))


def days(layout: Layout) -> set[str]:
    """The days that have files."""
    return {path.parent.name for path in layout.records.glob("*/*/*")}


def test_a_locked_vault_drops_what_is_due_and_nothing_else(layout: Layout) -> None:
    """Not a day before, and not the day that lives; a second run finds nothing more and keeps the first time."""
    drop(layout, NOW)
    assert days(layout) == {"2026-05-21", "2026-11-10"}
    assert pending.read(layout).dropped == ()
    done = drop(layout, LATE)

    assert days(layout) == {"2026-11-10"}
    assert [(item.what, item.day, item.at) for item in done.pending.dropped] == [
        ("records", "2026-05-21", signing.instant(LATE))
    ]
    later = drop(layout, LATE + timedelta(days=1))
    assert later.pending.dropped == done.pending.dropped
    assert "key destruction pending" in later.alarms[0]


def test_a_date_in_another_form_stops_nothing(layout: Layout) -> None:
    """A directory that somebody made with a name that only looks like a day is nobody's, and the days go on time."""
    other = layout.records / "mobile_usage" / "20260521"
    other.mkdir()
    (other / "file").write_bytes(b"not ours")
    drop(layout, LATE)
    assert days(layout) == {"2026-11-10", "20260521"}


def test_the_clock_is_judged_by_the_policy_that_rules(layout: Layout) -> None:
    """A policy.toml that shortens a term, and that nobody agreed to, does not vouch for a clock that jumped either."""
    text = layout.policy.read_text()
    layout.policy.write_text(
        text.replace('max_clock_step = "P7D"', 'max_clock_step = "P999D"').replace('"P6M"', '"P5M"')
    )
    with pytest.raises(DecisionError, match="nothing was dropped"):
        drop(layout, LATE + timedelta(days=60))


def test_at_the_next_unlock_the_keys_die_and_the_certificate_states_both_times(layout: Layout) -> None:
    """Deleted is when the keys died, not when the files went; the log tells both, and nothing is pending after it."""
    drop(layout, LATE)
    vault = unlocked(layout, LATE + timedelta(days=2))
    assert any("key destruction pending" in sentence for sentence in status.status(vault).wrong)
    assert "mobile_usage/2026-05-21/who" in vault.keys.key_ids()
    certificate = next(item for item in expire.expire(vault).certificates if item["what"] == "records")

    assert certificate["files_dropped_at"] == signing.instant(LATE)
    assert certificate["deleted_at"] == signing.instant(LATE + timedelta(days=2))
    assert certificate["records"] == 1
    assert "mobile_usage/2026-05-21/who" not in vault.keys.key_ids()
    assert not layout.pending.exists()
    entry = vault.audit.show(1)[0]
    assert (entry["act"], entry["detail"]["dropped"][0]["day"]) == ("dropped-without-keys", "2026-05-21")
    assert not any("pending" in sentence for sentence in status.status(vault).wrong)
    assert verify.verify(vault).faults == ()


@pytest.mark.parametrize("away", [timedelta(days=7, seconds=1), timedelta(days=-1)], ids=["jumped", "went back"])
def test_a_clock_that_is_not_to_be_believed_drops_nothing(layout: Layout, away: timedelta) -> None:
    """As with keys: a person must decide."""
    with pytest.raises(DecisionError, match="nothing was dropped"):
        drop(layout, NOW + away)
    assert days(layout) == {"2026-05-21", "2026-11-10"}


def test_a_vault_that_stays_locked_goes_on(layout: Layout) -> None:
    """For longer than a step of the clock, since each run moves the trusted time on."""
    for day in range(0, 40, 5):
        drop(layout, NOW + timedelta(days=day))
    assert days(layout) == {"2026-11-10"}


def test_an_entry_whose_clock_was_not_believed_moves_nothing(layout: Layout) -> None:
    """It is skipped: the last believed entry counts; and without any nothing is dropped."""
    far = unlocked(layout, NOW + timedelta(days=100))
    with far.catalogue.transaction() as tx:
        far.audit.enter(tx, "expire-intent", None, {})
    far.audit.flush()
    with pytest.raises(DecisionError):
        drop(layout, NOW + timedelta(days=101))
    for path in layout.audit.iterdir():
        path.unlink()
    with pytest.raises(FaultError, match="no entry to judge the clock by"):
        drop(layout, LATE)
    assert days(layout) == {"2026-05-21", "2026-11-10"}


def test_an_entry_that_the_vault_did_not_sign_is_refused(layout: Layout) -> None:
    """Then nothing is dropped."""
    text = layout.settings.read_text()
    key = text.split('public_key = "')[1][:64]
    layout.settings.write_text(text.replace(key, signing.public_key_of(b"\x01" * 32)))

    with pytest.raises(FaultError, match="signature"):
        drop(layout, LATE)
    assert days(layout) == {"2026-05-21", "2026-11-10"}


def test_what_has_no_business_there_stays(layout: Layout) -> None:
    """A directory that is no day, a link, an empty one, a directory in a day, a class that the policy does not know."""
    (layout.records / "mobile_usage" / "notes").mkdir()
    (layout.records / "mobile_usage" / "2026-05-19").symlink_to(layout.records)
    (layout.records / "mobile_usage" / "2026-05-18").mkdir()
    (layout.records / "unheard_of" / "2020-01-01").mkdir(parents=True)
    (layout.records / "unheard_of" / "2020-01-01" / "file").touch()
    inner = layout.records / "mobile_usage" / "2026-05-21" / "inner"
    inner.mkdir()
    drop(layout, LATE)

    assert inner.is_dir()
    assert (layout.records / "unheard_of" / "2020-01-01" / "file").exists()
    assert [path.name for path in (layout.records / "mobile_usage" / "2026-05-21").iterdir()] == ["inner"]
    assert len(pending.read(layout).dropped) == 1


def test_a_forged_file_destroys_no_key(layout: Layout) -> None:
    """It names a living day: its keys, files and certificates are as they were, and the alarm stays on."""
    item = pending.Dropped(
        "records", "mobile_usage", "2026-11-10", "2026-11-11T00:00:00.000000Z", "2026-11-12T00:00:00.000000Z"
    )
    pending.write(layout, Disk(), Pending(NOW, (item,)), NOW)
    vault = unlocked(layout, LATE)
    expire.expire(vault)

    assert "mobile_usage/2026-11-10/who" in vault.keys.key_ids()
    assert days(layout) == {"2026-11-10"}
    assert pending.read(layout).dropped == (item,)
    assert any("key destruction pending" in sentence for sentence in status.status(vault).wrong)


@pytest.mark.parametrize(
    "change",
    [{"v": 2}, {"dropped": [{"day": 1}]}, {"last_run": "2026-11-20T10:00:00"}, {"last_run": None}, None],
    ids=str,
)
def test_a_file_of_another_form_is_a_fault(layout: Layout, change: dict[str, object] | None) -> None:
    """It is told, not guessed at."""
    layout.pending.write_text("no json" if change is None else json.dumps(ONE | change))
    with pytest.raises(FaultError, match="it was changed"):
        pending.read(layout)


def test_a_kind_that_nobody_has_is_a_fault(layout: Layout) -> None:
    """And so is a moment that is none."""
    item = {"what": "other", "record_class": "voip", "day": "2026-01-01", "due": ONE["last_run"], "at": ONE["last_run"]}
    for change in ({}, {"what": "records", "due": "soon"}):
        layout.pending.write_text(json.dumps(ONE | {"dropped": [item | change]}))
        with pytest.raises(FaultError, match="it was changed"):
            pending.read(layout)


@pytest.mark.slow
def test_a_locked_run_cut_short_is_done_again(layout: Layout, tmp_path: Path) -> None:
    """Stopped at step after step: the next run completes, and the unlocked one certifies what was due, once."""
    for at in steps_on():
        where = layout_at(tmp_path / "run")
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        shutil.copytree(layout.vault, where.vault)
        shutil.copytree(layout.keys, where.keys)
        try:
            drop(where, LATE, StoppingDisk(at))
        except Stopped:
            drop(where, LATE + timedelta(hours=1))
            stopped = True
        else:
            stopped = False
        assert days(where) == {"2026-11-10"}
        vault = unlocked(where, LATE + timedelta(hours=2))
        assert [item["day"] for item in expire.expire(vault).certificates if item["what"] == "records"] == [
            "2026-05-21"
        ]
        assert verify.verify(vault).faults == ()
        assert not where.pending.exists()
        if not stopped:
            break
    assert at > 5
