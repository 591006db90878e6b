"""Where several rules meet: a wrong clock and held bytes, an expired batch that comes again, a class without a term."""

from __future__ import annotations

import json
from datetime import date, timedelta
from importlib import resources
from pathlib import Path

import pytest

from tests.support import NOW, Order, Usage, answer, approved, ingest, new_vault, opened, signed_in, usage
from trafficvault import disclose, expire
from trafficvault.durable import Disk
from trafficvault.errors import DecisionError
from trafficvault.policy_file import preset_text
from trafficvault.sweep import sweep
from trafficvault.verify import verify

WLR = resources.files("trafficvault").joinpath("demo_files", "WLR-DEMO-000018.CDR").read_bytes()
"""A file whose control totals disagree."""


class BreakingDisk(Disk):
    """Raises at the first step of one name."""

    def __init__(self, name: str, problem: BaseException) -> None:
        self.name, self.problem = name, problem

    def step(self, name: str) -> None:
        """One step further."""
        if name == self.name:
            raise self.problem


def test_a_clock_that_jumped_buys_held_bytes_no_longer_life(tmp_path: Path) -> None:
    """A file that is held while the clock is years ahead counts from the last time that was trusted."""
    vault = new_vault(tmp_path)
    wrong = opened(vault, NOW + timedelta(days=3000))
    held = ingest(wrong, "wlr_fixed", WLR, "WLR")
    with wrong.catalogue.reading() as tx:
        row = tx.get("batches", id=held.batch_id)

    assert held.status == "held"
    assert row is not None
    assert date.fromisoformat(row["die_day"]) == NOW.date()


def test_a_clock_that_went_back_makes_no_term_longer(tmp_path: Path) -> None:
    """A record whose term is over by the trusted time is not stored because the clock says otherwise."""
    vault = new_vault(tmp_path)
    back = opened(vault, NOW - timedelta(days=40))
    with pytest.raises(DecisionError):
        ingest(back, "mvno_pipe", usage([Usage(at="20260419120000")]), "S4PGWM000001")

    assert verify(opened(vault)).checked["records"] == 0


def test_a_held_batch_that_expired_and_comes_again_is_swept_like_any_other(tmp_path: Path) -> None:
    """The certificate of its first life does not make its second a restored file."""
    policy = tmp_path / "policy.toml"
    policy.write_text(preset_text("telecom").replace('"P6M"', '"P5D"'))
    vault = new_vault(tmp_path, str(policy))
    assert ingest(vault, "wlr_fixed", WLR, "WLR").status == "held"
    later = NOW + timedelta(days=6, hours=20)
    assert expire.expire(opened(vault, later)).certificates
    broken = opened(vault, later, BreakingDisk("before commit", OSError(5, "broken off")))
    with pytest.raises(OSError, match="broken off"):
        ingest(broken, "wlr_fixed", WLR, "WLR")
    again = opened(vault, later)

    assert sweep(again) == 1
    assert verify(again).faults == ()
    assert ingest(again, "wlr_fixed", WLR, "WLR").status == "held"


def test_a_class_that_lost_its_term_is_named_and_stops_no_answer(tmp_path: Path) -> None:
    """Records of a class that no entry covers any longer are not answered, and the package says which class it is."""
    vault = new_vault(tmp_path)
    ingest(vault, "mvno_pipe", usage([Usage()]), "S4PGWM000001")
    text = vault.layout.policy.read_text()
    vault.layout.policy.write_text(
        text.replace('classes = ["mobile_usage"]', "classes = []").replace('"mobile_usage", ', "")
    )
    done = answer(opened(vault), Order(), tmp_path / "package")

    manifest = json.loads((tmp_path / "package" / "manifest.json").read_text())
    assert (done.records, done.complete) == (0, False)
    assert manifest["classes_without_term"] == ["mobile_usage"]


def test_an_interruption_behind_the_rename_does_not_deny_the_package(tmp_path: Path) -> None:
    """A package that has its name is released in catalogue and log, whatever happens to the process then."""
    vault = new_vault(tmp_path)
    ingest(vault, "mvno_pipe", usage([Usage()]), "S4PGWM000001")
    warrant = approved(vault, Order())
    stopped = opened(vault, disk=BreakingDisk("after rename package", KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        disclose.run(stopped, signed_in(stopped, "olga"), warrant, tmp_path / "package")
    with vault.catalogue.reading() as tx:
        (row,) = tx.select("disclosures")

    assert (tmp_path / "package" / "manifest.json").is_file()
    assert (row["state"], row["records"]) == ("released", 1)


def test_a_key_that_is_merely_missing_expires_nothing(tmp_path: Path) -> None:
    """An old key directory that was put back must not make held bytes die early: `verify` names it instead."""
    vault = new_vault(tmp_path)
    held = ingest(vault, "wlr_fixed", WLR, "WLR")
    lost = f"held/telephony/{NOW.date()}"

    def commit(generation: int) -> None:
        with vault.catalogue.transaction() as tx:
            tx.set_meta("generation", str(generation))

    vault.keys.renew({lost}, commit)
    assert {item.action for item in expire.plan(vault)} == {"keep"}
    assert expire.expire(vault).certificates == ()

    assert vault.layout.held_file("telephony", NOW.date(), held.batch_id).is_file()
    assert {fault.kind for fault in verify(vault).faults} == {"key missing"}
