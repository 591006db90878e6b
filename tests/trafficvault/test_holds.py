"""Holds: an order to preserve binds from its approval, a warrant freezes what is being checked, and both end."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from tests.support import NOW, Order, new_vault, opened, signed_in
from trafficvault import carving, docket, expire, holding, holds, locks, policy_file, proposals
from trafficvault.errors import RefusedError, UsageError
from trafficvault.layout import day_key_id, hold_key_id
from trafficvault.vault import Vault

DAY = timedelta(days=1)
MOMENTARY = ("id", "signature", "entry", "generation", "due", "deleted_at", "final_at", "carved")
"""What two certificates of the same kind differ in."""
PRESERVE = Order(reference="PV-2026-000300", hold_for="P90D", legal_basis="126ni Sv")


def registered(vault: Vault, order: Order = PRESERVE) -> str:
    """The id of `order`, registered and not approved."""
    return docket.register(vault, signed_in(vault, "olga"), order.toml())


def test_a_warrant_freezes_its_scope_while_it_is_checked(stored: Vault) -> None:
    """From its registration for 72 hours, whatever it orders; then the freeze is over by itself."""
    for order in (PRESERVE, Order(reference="PV-2026-000301")):
        hold = holds.load(stored, registered(stored, order))
        assert (hold.state, hold.since, hold.until) == ("provisional", NOW, NOW + 3 * DAY)
        assert hold.binds(NOW + 3 * DAY - timedelta(seconds=1))
        assert not hold.binds(NOW + 3 * DAY)


def test_an_approved_order_binds_as_long_as_it_says(stored: Vault) -> None:
    """From its approval; what was frozen before stays held, and a warrant to produce gets no longer."""
    hold_id = registered(stored)
    produce = registered(stored, Order(reference="PV-2026-000301"))
    later = opened(stored, NOW + DAY)
    docket.approve(later, signed_in(later, "piet"), hold_id)
    docket.approve(later, signed_in(later, "piet"), produce)
    hold = holds.load(later, hold_id)
    assert (hold.state, hold.since, hold.until) == ("active", NOW, NOW + 91 * DAY)
    assert holds.load(later, produce).until == NOW + 3 * DAY
    assert {item.hold_id for item in holds.listing(later)} >= {hold_id, produce}


def test_a_freeze_that_is_over_is_not_taken_up_again(stored: Vault) -> None:
    """An order that is approved after its freeze begins then: what expired between is not claimed to be held."""
    hold_id = registered(stored)
    later = opened(stored, NOW + 5 * DAY)
    docket.approve(later, signed_in(later, "piet"), hold_id)
    hold = holds.load(later, hold_id)
    assert (hold.state, hold.since, hold.until) == ("active", NOW + 5 * DAY, NOW + 95 * DAY)


def test_who_may_not_know_of_a_hold_learns_nothing_by_proposing(stored: Vault) -> None:
    """The refusal is the same whether there is such a hold or not."""
    hold_id, otto = registered(stored), signed_in(stored, "otto")
    for named in (hold_id, "0000"):
        with pytest.raises(RefusedError, match="takes one of the roles officer") as told:
            holding.propose_release(stored, otto, named)
        assert named not in str(told.value)
        with pytest.raises(RefusedError, match="takes one of the roles officer"):
            holding.propose_extension(stored, otto, named, (NOW + DAY).isoformat())


def test_a_key_whose_hold_nobody_knows_dies(stored: Vault) -> None:
    """The catalogue was restored from before it: its key goes with a next expiry, and nothing else does."""
    expire.expire(stored)
    stored.keys.ensure([hold_key_id("0123")])
    before = stored.keys.key_ids()
    (stored.layout.holds / "0123" / "nobodys").mkdir(parents=True)
    (issued,) = expire.expire(stored).certificates
    assert issued["what"] == "keys"
    assert before - stored.keys.key_ids() == {hold_key_id("0123")}
    assert expire.expire(stored).certificates == ()


def test_an_end_waits_for_other_keys_to_die(stored: Vault) -> None:
    """For a day at most; with others it tells nothing of itself, and alone it looks as keys without a record do."""
    hold_id = registered(stored)
    carving.carve(stored, [("mobile_usage", date(2026, 11, 10), "expiry")])
    (name,) = {name for name in stored.keys.key_ids() if name == hold_key_id(hold_id)}
    for late, ended in ((timedelta(), False), (holding.WAITS - timedelta(seconds=1), False), (holding.WAITS, True)):
        vault = opened(stored, NOW + 3 * DAY + late)
        issued = [body for body in expire.expire(vault).certificates if body["what"] == "keys"]
        assert (vault.keys.has_any([name]), len(issued)) == (not ended, int(ended))
    assert holds.load(vault, hold_id).state == "ended"
    again = registered(vault, replace(PRESERVE, reference="PV-2026-000302"))
    carving.carve(vault, [("mobile_usage", date(2026, 11, 11), "expiry")])
    docket.refuse(vault, signed_in(vault, "piet"), again, "not legible")
    assert holds.load(vault, again).until == vault.clock.now()
    expire.expire(vault)
    assert vault.keys.has_any([hold_key_id(again)])
    vault.keys.ensure([day_key_id("voip", date(2026, 11, 10), "who")])
    (alike,) = expire.expire(vault).certificates
    assert not vault.keys.has_any([hold_key_id(again)])
    assert {**alike, **dict.fromkeys(MOMENTARY)} == {**issued[0], **dict.fromkeys(MOMENTARY)}


def test_a_killed_run_keeps_how_the_key_died(stored: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one certifies what the run saw that destroyed it: a reader had not ended then."""
    hold_id = registered(stored)
    carving.carve(stored, [("mobile_usage", date(2026, 11, 10), "expiry")])
    expire.expire(opened(stored, NOW + 3 * DAY))
    late = opened(stored, NOW + 4 * DAY)
    hurried = replace(late, settings=replace(late.settings, lease_seconds=0))
    with monkeypatch.context() as patched:
        patched.setattr(holding, "_drop_files", _killed)
        with locks.reading(late.layout), pytest.raises(KeyboardInterrupt):
            expire.expire(hurried)
    assert not late.keys.has_any([hold_key_id(hold_id)])
    again = opened(late)
    generation = again.keys.generation
    again.keys.renew((), lambda number: _moved(again, number))
    issued = expire.expire(again).certificates
    assert {(body["leases_ended"], body["generation"]) for body in issued} == {(False, generation)}


def _killed(vault: Vault, one: holding.Over) -> None:
    raise KeyboardInterrupt


def _moved(vault: Vault, number: int) -> None:
    with vault.catalogue.transaction() as tx:
        tx.set_meta("generation", str(number))


def test_a_refusal_releases(stored: Vault) -> None:
    """What another person refuses is held no longer; nobody refuses their own, or one that is decided."""
    hold_id = registered(stored)
    with pytest.raises(RefusedError, match="needs the role approver"):
        docket.refuse(stored, signed_in(stored, "olga"), hold_id, "not legible")
    docket.refuse(stored, signed_in(stored, "piet"), hold_id, "not legible")
    assert docket.load(stored, hold_id).state == "refused"
    assert holds.load(stored, hold_id).state == "released"
    with pytest.raises(RefusedError, match="it is refused"):
        docket.refuse(stored, signed_in(stored, "piet"), hold_id, "again")
    with pytest.raises(RefusedError, match="it is refused"):
        docket.approve(stored, signed_in(stored, "piet"), hold_id)


def test_two_persons_extend_it(stored: Vault) -> None:
    """An officer proposes within what the basis allows at a time, an approver agrees."""
    hold_id = registered(stored)
    docket.approve(stored, signed_in(stored, "piet"), hold_id)
    until = NOW + 170 * DAY
    made = holding.propose_extension(stored, signed_in(stored, "olga"), hold_id, until.isoformat())
    proposals.approve(stored, signed_in(stored, "piet"), made.proposal_id)
    assert holding.extend(stored, signed_in(stored, "piet"), made.proposal_id) == until
    assert holds.load(stored, hold_id).until == until
    assert proposals.load(stored, made.proposal_id).state == "done"


@pytest.mark.parametrize(
    ("until", "error", "said"),
    [
        ("2027-12-01T00:00Z", RefusedError, "allows 90 days at a time"),
        ("2026-11-01T00:00Z", RefusedError, "is not within that"),
        ("2026-12-01T00:00Z", RefusedError, "is not within that"),
        ("2027-01-01T00:00", UsageError, "has no offset"),
        ("soon", UsageError, "not a date and time"),
    ],
)
def test_what_no_extension_is(stored: Vault, until: str, error: type[Exception], said: str) -> None:
    """Neither longer than the basis allows, nor in the past, nor earlier than its end, nor of no clear moment."""
    hold_id = registered(stored)
    docket.approve(stored, signed_in(stored, "piet"), hold_id)
    with pytest.raises(error, match=said):
        holding.propose_extension(stored, signed_in(stored, "olga"), hold_id, until)


def test_an_extension_never_shortens(stored: Vault) -> None:
    """Of two that were proposed, the earlier end, approved last, is refused: a hold is ended by releasing it."""
    hold_id = registered(stored)
    docket.approve(stored, signed_in(stored, "piet"), hold_id)
    ends = [NOW + 170 * DAY, NOW + 120 * DAY]
    made = [holding.propose_extension(stored, signed_in(stored, "olga"), hold_id, end.isoformat()) for end in ends]
    for one in made:
        proposals.approve(stored, signed_in(stored, "piet"), one.proposal_id)
    assert holding.extend(stored, signed_in(stored, "piet"), made[0].proposal_id) == ends[0]
    with pytest.raises(RefusedError, match="already; release it to end it"):
        holding.extend(stored, signed_in(stored, "piet"), made[1].proposal_id)
    assert holds.load(stored, hold_id).until == ends[0]


def test_only_an_active_one_is_extended(stored: Vault) -> None:
    """A freeze ends when it ends, however the proposal came about."""
    hold_id = registered(stored)
    made = holding.propose_extension(stored, signed_in(stored, "olga"), hold_id, (NOW + 9 * DAY).isoformat())
    proposals.approve(stored, signed_in(stored, "piet"), made.proposal_id)
    with pytest.raises(RefusedError, match="it is provisional, and only an active one is extended"):
        holding.extend(stored, signed_in(stored, "piet"), made.proposal_id)


def test_two_persons_release_it(stored: Vault) -> None:
    """From then on it holds nothing, and is neither extended nor released again."""
    hold_id = registered(stored)
    made = holding.propose_release(stored, signed_in(stored, "olga"), hold_id)
    proposals.approve(stored, signed_in(stored, "piet"), made.proposal_id)
    holding.release(stored, signed_in(stored, "piet"), made.proposal_id)
    assert holds.load(stored, hold_id).state == "released"
    with pytest.raises(RefusedError, match="it is over"):
        holding.propose_release(stored, signed_in(stored, "olga"), hold_id)


def test_a_hold_that_is_not_there(stored: Vault) -> None:
    """Is said so."""
    with pytest.raises(RefusedError, match="there is none; `hold list` shows them"):
        holds.load(stored, "ff")


def test_a_policy_may_freeze_nothing(tmp_path: Path) -> None:
    """With `freeze_on_receipt` of no time at all a registration holds nothing."""
    text = policy_file.preset_text("telecom").replace('freeze_on_receipt = "PT72H"', 'freeze_on_receipt = "PT0S"')
    (tmp_path / "policy.toml").write_text(text)
    vault = new_vault(tmp_path, policy=str(tmp_path / "policy.toml"))
    registered(vault)
    assert holds.listing(vault) == []
