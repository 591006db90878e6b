"""A hold from its warrant to its end: the day dies on time, what is held outlives it, and nobody is tipped off."""

from __future__ import annotations

import json
import shutil
from datetime import date, timedelta
from pathlib import Path

import pytest

from tests.support import NOW, SUBSCRIBER, Order, Usage, approved, ingest, new_vault, opened, signed_in, usage
from trafficvault import (
    carving,
    disclose,
    docket,
    expire,
    holding,
    holds,
    inventory,
    proposals,
    sealing,
    verify,
    withdrawal,
)
from trafficvault.errors import FaultError
from trafficvault.layout import hold_key_id
from trafficvault.vault import Vault

HOLD = Order(reference="PV-2026-000300", hold_for="P90D", legal_basis="126ni Sv")
WEEK = timedelta(days=6)
OTHER = "31600000007"
DUE = NOW + timedelta(days=175)
"""Shortly before the first of the vault's days is due."""


def filled(directory: Path, now: object = NOW) -> Vault:
    """A vault with three days of the subscriber and of somebody else."""
    vault = new_vault(directory)
    rows = [Usage(at=f"202611{day:02d}120000") for day in (10, 11, 12)]
    rows += [
        Usage(at=f"202611{day:02d}130000", a=OTHER, b=OTHER, msisdn=OTHER, imsi="204990000000009") for day in (10, 11)
    ]
    ingest(vault, "mvno_pipe", usage(rows), "S4PGWM000001")
    return vault


def until(vault: Vault, end: timedelta) -> Vault:
    """The vault at `NOW` + `end`, with expiry run every few days on the way, as a schedule does."""
    moment = vault.clock.now()
    while moment < NOW + end:
        moment = min(moment + WEEK, NOW + end)
        vault = opened(vault, moment)
        expire.expire(vault)
    return vault


def answered(vault: Vault, order: Order, out: Path) -> int:
    """How many records a warrant gets."""
    return disclose.run(vault, signed_in(vault, "olga"), approved(vault, order), out).records


def states(vault: Vault) -> dict[str, str]:
    """The state of each of the vault's days."""
    with vault.catalogue.reading() as tx:
        return {row["day"]: row["state"] for row in tx.select("partitions")}


@pytest.mark.slow
def test_a_held_record_outlives_its_day(tmp_path: Path) -> None:
    """The days die on time and wholly; the subscriber's three records, and no others, answer a warrant that names the
    hold; when it is over they are gone for good, with certificates that tell nothing.
    """
    vault = until(filled(tmp_path), timedelta(days=170))
    hold = approved(vault, HOLD)
    vault = until(vault, timedelta(days=190))
    assert set(states(vault).values()) == {"tombstone"}
    assert verify.verify(vault).faults == ()
    held = Order(reference="PV-2026-000301", supplements=hold)
    assert answered(vault, held, tmp_path / "held") == 3
    assert answered(vault, Order(reference="PV-2026-000302"), tmp_path / "other") == 0
    stranger = Order(reference="PV-2026-000303", supplements=hold, targets=[("msisdn", f"+{OTHER}")])
    assert answered(vault, stranger, tmp_path / "stranger") == 0

    vault = until(vault, timedelta(days=265))
    assert holds.load(vault, hold).state == "ended"
    assert not vault.keys.has_any([hold_key_id(hold)])
    assert not list(vault.layout.holds.rglob("*"))
    assert verify.verify(vault).faults == ()
    late = Order(reference="PV-2026-000304", supplements=hold)
    assert answered(vault, late, tmp_path / "late") == 0


@pytest.mark.slow
def test_nobody_is_tipped_off(tmp_path: Path) -> None:
    """With and without a hold the plan, the days' certificates and the status tell the same, but for ids, digests and
    moments; neither hold nor target is named.
    """
    told = []
    for name in ("with", "without"):
        vault = until(filled(tmp_path / name), timedelta(days=170))
        hold = approved(vault, HOLD) if name == "with" else ""
        vault = opened(vault, NOW + timedelta(days=176))
        plan = [(item.kind, item.record_class, item.day, item.action, item.reason) for item in expire.plan(vault)]
        done = expire.expire(vault)
        shape = [sorted(body) for body in done.certificates]
        text = json.dumps(done.certificates)
        assert SUBSCRIBER not in text
        assert not hold or hold not in text
        told.append((plan, shape, [body["records"] for body in done.certificates]))
    assert told[0] == told[1]


def test_a_withdrawn_batch_is_held(tmp_path: Path) -> None:
    """What two persons take out of living days stays with the hold that covers it."""
    vault = filled(tmp_path)
    hold = approved(vault, HOLD)
    with vault.catalogue.reading() as tx:
        (batch,) = tx.select("batches")
    made = withdrawal.propose(vault, signed_in(vault, "otto"), batch["id"], "wrong column")
    withdrawal.carry_out(
        vault, signed_in(vault, "ada"), proposals.approve(vault, signed_in(vault, "ada"), made.proposal_id)
    )
    assert answered(vault, Order(reference="PV-2026-000301", supplements=hold), tmp_path / "held") == 3
    assert answered(vault, Order(reference="PV-2026-000302"), tmp_path / "other") == 0
    assert verify.verify(vault).faults == ()


@pytest.mark.slow
def test_a_freeze_lasts_while_a_warrant_is_checked(tmp_path: Path) -> None:
    """Both scopes are frozen from their registration; a refusal releases, an approval leaves the freeze as it is."""
    vault = until(filled(tmp_path), timedelta(days=170))
    vault = until(vault, timedelta(days=170, hours=1))
    olga, piet = signed_in(vault, "olga"), signed_in(vault, "piet")
    warrant = docket.register(vault, olga, Order(reference="PV-2026-000301").toml())
    refused = docket.register(vault, olga, Order(reference="PV-2026-000302").toml())
    vault = opened(vault, NOW + timedelta(days=171))
    assert {day for day, state in states(vault).items() if state == "live"} == {
        "2026-11-10",
        "2026-11-11",
        "2026-11-12",
    }
    docket.refuse(vault, piet, refused, "not legible")
    assert holds.load(vault, refused).state == "released"
    docket.approve(vault, piet, warrant)
    assert holds.load(vault, warrant).state == "provisional"


def test_a_copy_without_the_key_gives_nothing(tmp_path: Path) -> None:
    """After its end an old copy of what a hold kept opens with no key of today."""
    vault = filled(tmp_path)
    hold = approved(vault, HOLD)
    with vault.catalogue.reading() as tx:
        (batch,) = tx.select("batches")
    made = withdrawal.propose(vault, signed_in(vault, "otto"), batch["id"], "wrong column")
    withdrawal.carry_out(
        vault, signed_in(vault, "ada"), proposals.approve(vault, signed_in(vault, "ada"), made.proposal_id)
    )
    shutil.copytree(vault.layout.holds, tmp_path / "copy")
    over = holding.propose_release(vault, signed_in(vault, "olga"), hold)
    proposals.approve(vault, signed_in(vault, "piet"), over.proposal_id)
    holding.release(vault, signed_in(vault, "piet"), over.proposal_id)
    vault = opened(vault, NOW + holding.WAITS)
    expire.expire(vault)
    (path, *_) = sorted((tmp_path / "copy").rglob("*.sealed"))
    for name in vault.keys.key_ids():
        with pytest.raises(FaultError):
            sealing.unseal_file(vault.keys.custody("hold").key(name), path, f"hold {hold} {path.stem}")


def test_an_inventory_tells_of_holds_to_whom_it_may(tmp_path: Path) -> None:
    """Without a reader of the docket it is as if there were none, a half-written carve included; with one, each carve
    of the day is listed.
    """
    vault = filled(tmp_path)
    day = date(2026, 11, 10)
    before = inventory.take(vault, day)
    hold = approved(vault, HOLD)
    carving.carve(vault, [("mobile_usage", day, "expiry")])
    (vault.layout.holds / hold / "0123.part-0").write_bytes(b"")
    assert inventory.take(vault, day) == before
    told = inventory.take(vault, day, with_held=True)
    assert [one.what for one in told.data if one not in before.data] == ["kept by a hold"]
    assert [one.what for one in told.possible if one not in before.possible] == ["half-written file"]
    assert inventory.take(vault, day, "voip", with_held=True).data == ()
