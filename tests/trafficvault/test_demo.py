"""The demonstration: it tells the whole story, ends without a fault, and leaves a vault to look around in."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from tests.support import layout_at
from tests.trafficvault.cli.commandline import cheap_passwords
from trafficvault import app, demo
from trafficvault.clock import SetClock
from trafficvault.demo import BEGIN, LATER
from trafficvault.durable import Disk
from trafficvault.errors import FaultError, UsageError
from trafficvault.faults import Fault, Verification
from trafficvault.verify import verify


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords that cost nothing to check."""
    cheap_passwords(monkeypatch)


@pytest.mark.usefixtures("quick")
def test_the_story_is_told_to_its_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every chapter is there: receipts, gap, accepted file, answer, refusals, expiry, and the restored backup."""
    monkeypatch.setenv("COLUMNS", "400")
    demo.run(tmp_path / "demo")
    told = capsys.readouterr().out

    for number in range(1, 10):
        assert f"{number}. " in told
    for sentence in (
        "The same file once more: already-ingested",
        "numbers its files, and 124 never came",
        "otto accepts it: 3 records stored",
        "two Ed25519 signatures over one digest",
        "no location key was opened",
        "olga asks cell: ",
        "piet asks activity: ",
        "verify: restored after expiry: ",
        "Opening one of them with today's keys: ",
        "The subscriber's number occurs in clear in 0 files",
    ):
        assert sentence in told, sentence
    vault = app.open_vault(layout_at(tmp_path / "demo"), Disk(), SetClock(BEGIN + LATER))
    assert verify(vault).faults == ()
    first, second = (
        json.loads((tmp_path / "demo" / name / "manifest.json").read_text()) for name in ("package-1", "package-2")
    )
    assert sum(map(len, second["days_expired"].values())) > sum(map(len, first["days_expired"].values()))


def test_it_never_builds_over_anything(tmp_path: Path) -> None:
    """A directory that exists, an empty one too, is left as it is."""
    with pytest.raises(UsageError, match="exists; remove it, or name another"):
        demo.run(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_files_alone_are_those_of_the_policys_today(tmp_path: Path) -> None:
    """An hour before midnight in UTC it is tomorrow in Amsterdam: that is the day to which they are moved."""
    late = SetClock(datetime(2027, 6, 1, 23, 0, tzinfo=UTC))

    assert demo.write_files(tmp_path / "files", late) == (9, date(2027, 6, 2))
    assert "to    = 2027-06-02T00:00:00+02:00" in (tmp_path / "files" / "warrant.toml").read_text("utf-8")
    with pytest.raises(UsageError, match="files exists; remove it, or name another"):
        demo.write_files(tmp_path / "files", late)


@pytest.mark.usefixtures("quick")
def test_a_fault_at_the_end_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the last `verify` finds a fault, the demonstration fails with it."""
    monkeypatch.setattr(demo, "verify", lambda vault: Verification((Fault("extra", "x", "x was put there"),), {}))
    story = demo.Demonstration(tmp_path)
    with pytest.raises(FaultError, match="ended with a fault: x was put there"):
        story._close()
