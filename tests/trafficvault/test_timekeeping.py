"""What waits while the clock is not believed: registering, approving, extending, and another policy."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.support import NOW, Order, approved, opened, signed_in
from tests.trafficvault.rights_house import ask, housed
from tests.trafficvault.short_location import FIRST, new, rules
from trafficvault import app, docket, endings, expire, holding, policies, proposals, rights, status
from trafficvault.clock import SetClock
from trafficvault.durable import Disk
from trafficvault.errors import DecisionError
from trafficvault.timekeeping import believed_now
from trafficvault.vault import Vault

STEP, SLACK, SECOND = timedelta(days=7), timedelta(minutes=15), timedelta(seconds=1)
BEFORE = NOW - timedelta(hours=1)
TABLES = ("warrants", "holds", "rights", "proposals", "endings", "policies")
Act = Callable[[Vault], object]


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    """A vault whose last believed entry is of `NOW`, with an active hold and something to approve of each kind."""
    return housed(tmp_path)


def acts(vault: Vault) -> dict[str, Act]:
    """What would be dated, or counted, by the clock: the beginning of the sentence of its refusal, and the act."""
    hold = approved(vault, Order(reference="PV-2026-000200", hold_for="P90D", legal_basis="126ni Sv"))
    warrant = docket.register(vault, signed_in(vault, "olga"), Order(reference="PV-2026-000201").toml())
    request = rights.add(vault, signed_in(vault, "otto"), ask(received=BEFORE))
    until = (NOW + timedelta(days=91)).isoformat()
    made = holding.propose_extension(vault, signed_in(vault, "olga"), hold, until)
    end = json.dumps({"subscriber": "S-1", "at": BEFORE.isoformat()}).encode()
    order = Order(reference="PV-2026-000202").toml()
    asked = ask("object", received=BEFORE, until=BEFORE, checked_at=BEFORE)
    later = (NOW + timedelta(days=92)).isoformat()
    return {
        "registering a warrant": lambda vault: docket.register(vault, signed_in(vault, "olga"), order),
        f"approving warrant {warrant}": lambda vault: docket.approve(vault, signed_in(vault, "piet"), warrant),
        "registering a request": lambda vault: rights.add(vault, signed_in(vault, "otto"), asked),
        f"extending request {request}": lambda vault: rights.extend(vault, signed_in(vault, "otto"), request, "many"),
        f"approving request {request}": lambda vault: rights.approve(vault, signed_in(vault, "piet"), request),
        "proposing hold-extend": lambda vault: holding.propose_extension(vault, signed_in(vault, "olga"), hold, later),
        f"approving hold-extend {made.proposal_id}": lambda vault: proposals.approve(
            vault, signed_in(vault, "piet"), made.proposal_id
        ),
        "recording the end of a service": lambda vault: endings.record_all(vault, signed_in(vault, "otto"), [end]),
        "expiring": expire.expire,
    }


def rows(vault: Vault) -> dict[str, list[dict[str, object]]]:
    """What the catalogue holds of all that these acts write."""
    with vault.catalogue.reading() as tx:
        return {table: tx.select(table) for table in TABLES}


@pytest.mark.parametrize("moment", [NOW + STEP + SECOND, NOW - SLACK - SECOND], ids=["ahead", "back"])
def test_nothing_is_dated_by_a_clock_that_is_not_believed(vault: Vault, moment: datetime) -> None:
    """Each act is refused in one sentence, for a person to decide, and leaves nothing; once an operator said that the
    clock is right, each is done.
    """
    waiting = acts(vault)
    wrong, before = opened(vault, moment), rows(vault)
    for doing, act in waiting.items():
        with pytest.raises(DecisionError) as refused:
            act(wrong)
        assert str(refused.value).startswith(f"{doing}: the clock says 2026-11-")
        assert "the last trusted moment" in str(refused.value)
        assert refused.value.exit_code == 6
        assert "expire --accept-clock" in str(refused.value.hint)
    assert rows(wrong) == before
    expire.require_clock(wrong, signed_in(wrong, "otto"))
    for act in waiting.values():
        act(wrong)
    after = rows(wrong)
    assert [len(after[name]) - len(before[name]) for name in TABLES] == [1, 1, 1, 1, 1, 0]


def test_what_is_registered_already_is_no_new_act(vault: Vault) -> None:
    """The same warrant again, by a clock that is not believed, is answered with the id that it has."""
    order = Order().toml()
    warrant = docket.register(vault, signed_in(vault, "olga"), order)
    wrong = opened(vault, NOW + 2 * STEP)
    assert docket.register(wrong, signed_in(wrong, "olga"), order) == warrant


def test_an_approval_that_was_cut_short_waits_too(vault: Vault) -> None:
    """An approved proposal that a crash kept from being carried out is carried out by no such clock either."""
    hold = approved(vault, Order(hold_for="P90D", legal_basis="126ni Sv"))
    made = holding.propose_release(vault, signed_in(vault, "olga"), hold)
    proposals.approve(vault, signed_in(vault, "piet"), made.proposal_id)
    wrong = opened(vault, NOW + 2 * STEP)
    with pytest.raises(DecisionError, match="approving hold-release"):
        proposals.approve(wrong, signed_in(wrong, "piet"), made.proposal_id)


@pytest.mark.parametrize("moment", [NOW + STEP, NOW - SLACK])
def test_what_lies_within_a_step_is_believed(vault: Vault, moment: datetime) -> None:
    """Up to `max_clock_step` ahead, and a quarter of an hour back, the clock is taken as it is: no more is known."""
    believed = opened(vault, moment)
    assert believed_now(believed, "registering a warrant") == moment


@pytest.mark.parametrize("moment", [FIRST + STEP + SECOND, FIRST - SLACK - SECOND], ids=["ahead", "back"])
def test_a_policy_is_entered_by_a_clock_that_is_believed(tmp_path: Path, moment: datetime) -> None:
    """Until then the version in force goes on ruling, for readers and writers, and `status` says so: what had lapsed
    before a longer term counts up to the moment when that is entered.
    """
    vault = new(tmp_path, rules("P1M", "P3M").replace('"P999D"', '"P7D"'))
    vault.layout.policy.write_text(rules("P1M", "P4M").replace('"P999D"', '"P7D"'))
    wrong = opened(vault, moment)
    reader = app.open_vault(vault.layout, Disk(), SetClock(moment))
    for one in (wrong, reader):
        assert str(one.policy.require_term("mobile_usage", "when")) == "P3M"
        assert any("does not rule until the clock is believed" in told for told in status.status(one).attention)
    assert len(rows(wrong)["policies"]) == 1
    expire.require_clock(wrong, signed_in(wrong, "otto"))
    right = opened(wrong, moment)
    assert str(right.policy.require_term("mobile_usage", "when")) == "P4M"
    assert not right.policy_waits
    with right.catalogue.reading() as tx:
        assert [one.effect for one in policies.versions(tx)] == [FIRST, moment]
