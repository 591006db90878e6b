"""The status for Prometheus: each number under its name, whole, and nothing of anybody."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support import SUBSCRIBER, opened
from tests.trafficvault.short_location import FIRST, GONE, new
from trafficvault import expire, status, textfile
from trafficvault.errors import UsageError
from trafficvault.vault import Vault

LINE = re.compile(r"trafficvault_[a-z_]+(\{([a-z]+=\"[^\"\\\n]*\",?)+\})? -?[0-9.]+")


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    """The vault of `short_location`."""
    return new(tmp_path)


def values(vault: Vault) -> dict[str, float]:
    """The metrics without labels, by name."""
    lines = textfile.render(status.status(vault)).splitlines()
    plain = [line.split(" ") for line in lines if not line.startswith("#") and "{" not in line]
    return {name: float(value) for name, value in plain}


def test_every_line_is_of_the_format(vault: Vault) -> None:
    """A help and a type before each metric, once; every other line is a name, labels and a number."""
    text = textfile.render(status.status(opened(vault, GONE)))
    assert text.endswith("\n")
    helped = re.findall(r"^# HELP (\S+) \S", text, re.MULTILINE)
    assert helped == re.findall(r"^# TYPE (\S+) gauge$", text, re.MULTILINE)
    assert len(helped) == len(set(helped))
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert all(LINE.fullmatch(line) for line in lines)
    assert {line.partition("{")[0].partition(" ")[0] for line in lines} == set(helped)
    assert SUBSCRIBER not in text


def test_it_tells_what_is_due_and_how_late(vault: Vault) -> None:
    """Of each thing that is due its lateness in seconds, and the greatest; nothing once it is gone."""
    later = opened(vault, GONE)
    text = textfile.render(status.status(later))
    labels = 'what="records",class="mobile_usage",day="2026-11-10",categories="where"'
    assert f"trafficvault_partition_lateness_seconds{{{labels}}} 1800\n" in text
    assert (values(later)["trafficvault_due_partitions"], values(later)["trafficvault_max_lateness_seconds"]) == (
        1,
        1800,
    )
    expire.expire(later)
    assert values(later)["trafficvault_due_partitions"] == 0
    assert "partition_lateness" not in textfile.render(status.status(later))


def test_it_tells_when_things_were_last_done(vault: Vault) -> None:
    """What never happened has no line; then each moment is that of the act, an expiry of nothing too."""
    before = values(vault)
    assert before["trafficvault_last_ingest_timestamp_seconds"] == FIRST.timestamp()
    assert "trafficvault_last_expiry_timestamp_seconds" not in before
    quiet = opened(vault, FIRST + timedelta(hours=1))
    expire.expire(quiet)
    status.note_verified(quiet)
    after = values(quiet)
    assert after["trafficvault_last_expiry_timestamp_seconds"] == quiet.clock.now().timestamp()
    assert after["trafficvault_last_verify_timestamp_seconds"] == quiet.clock.now().timestamp()
    later = opened(vault, GONE)
    expire.expire(later)
    assert values(later)["trafficvault_last_expiry_timestamp_seconds"] == GONE.timestamp()
    assert values(later)["trafficvault_generation"] == 2


def test_a_destruction_that_waits_is_told(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """An expiry that began and whose keys are there all the same; done, none is pending."""
    later = opened(vault, GONE)
    with monkeypatch.context() as patch:
        patch.setattr(later.keys.__class__, "renew", lambda *arguments: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            expire.expire(later)
    again = opened(later)
    assert values(again)["trafficvault_pending_key_destruction"] == 1
    assert "began to expire and was not finished" in status.status(again).wrong[0]
    expire.expire(again)
    assert values(again)["trafficvault_pending_key_destruction"] == 0


def test_the_file_is_replaced_whole(vault: Vault, tmp_path: Path) -> None:
    """Readable by the collector, nothing of a former one left, and no part beside it."""
    path = tmp_path / "collector" / "vault.prom"
    path.parent.mkdir()
    path.write_text("old\n" * 10_000)
    state = status.status(vault)
    textfile.write(vault.disk, vault.layout, path, state)
    assert path.read_text() == textfile.render(state)
    assert path.stat().st_mode & 0o777 == 0o644
    assert [item.name for item in path.parent.iterdir()] == ["vault.prom"]


def test_it_is_not_written_where_it_has_no_place(vault: Vault, tmp_path: Path) -> None:
    """Neither inside vault or keys, nor where there is no directory."""
    state = status.status(vault)
    for inside in (vault.layout.vault / "x.prom", vault.layout.keys / "x.prom"):
        with pytest.raises(UsageError, match="it lies inside"):
            textfile.write(vault.disk, vault.layout, inside, state)
    with pytest.raises(UsageError, match=r"writing x\.prom: No such file"):
        textfile.write(vault.disk, vault.layout, tmp_path / "nowhere" / "x.prom", state)
