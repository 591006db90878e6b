"""Ends of services that a file told wait to be withdrawn; and what was done is looked at again under another policy."""

from __future__ import annotations

import json
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import NOW, Order, answer, ingest, opened, signed_in
from tests.thorough import as_many
from tests.trafficvault.test_endings import END, NUMBER, binding, end, stored
from tests.trafficvault.test_rewrite import faults, rows_of
from trafficvault import adoption, endings, expire, policies, proposals
from trafficvault.errors import RefusedError, UsageError
from trafficvault.period import Period
from trafficvault.policy_file import parse, preset_text
from trafficvault.vault import Vault

DAY = timedelta(days=1)
WAITED = NOW + timedelta(days=7)
"""When an end that a file tells today has waited for long enough."""


def told(vault: Vault, subscriber: str = "S-1", at: datetime = END) -> str:
    """Otto reads a file of the customer administration; returns the event's id."""
    before = {str(row["ending_id"]) for row in endings.listing(vault)}
    line = json.dumps({"subscriber": subscriber, "at": at.isoformat()}).encode()
    assert endings.record_all(vault, signed_in(vault, "otto"), [line]).recorded == 1
    (one,) = {str(row["ending_id"]) for row in endings.listing(vault)} - before
    return one


def at(vault: Vault, moment: datetime) -> Vault:
    """The vault opened at `moment`, after an expiry."""
    vault.catalogue.close()
    late = opened(vault, moment)
    expire.expire(late, signed_in(late, "otto"))
    return late


def ruled(vault: Vault, after: str, moment: datetime) -> Vault:
    """The vault at `moment`, under a policy that keeps for `after`; two persons agreed, where that is shorter."""
    text = preset_text("telecom").replace('after = "P0D", cap = "P5Y"', f'after = "{after}", cap = "P5Y"')
    vault.layout.policy.write_text(text)
    vault.catalogue.close()
    late = opened(vault, moment)
    if late.shortens:
        made = adoption.propose(late, signed_in(late, "ada"))
        agreed = proposals.approve(late, signed_in(late, "aukje"), made.proposal_id)
        adoption.carry_out(late, signed_in(late, "aukje"), agreed)
        late.catalogue.close()
        late = opened(late, moment + timedelta(seconds=1))
    return late


def test_nothing_goes_by_a_file_before_it_has_waited(tmp_path: Path) -> None:
    """For seven days records stay and are answered; then no answer holds them, and the next expiry removes them."""
    vault = stored(tmp_path, binding("2026-11-10T08:00:00Z", "S-1", NUMBER))
    told(vault)
    (row,) = endings.listing(vault)
    assert row["waits_until"] == WAITED.isoformat().replace("+00:00", ".000000Z")
    assert set(row["due"].values()) == {WAITED.isoformat()}
    early = at(vault, WAITED - timedelta(seconds=1))
    assert answer(early, Order(reference="PV-1", classes=("binding",)), tmp_path / "before").records == 1
    assert len(rows_of(early, "binding")) == 1
    early.catalogue.close()
    late = opened(early, WAITED)
    assert answer(late, Order(reference="PV-2", classes=("binding",)), tmp_path / "after").records == 0
    late = at(late, WAITED)
    assert rows_of(late, "binding") == []
    assert [one["state"] for one in endings.listing(late)] == ["done"]
    assert faults(late) == []


def test_it_is_taken_back_while_it_waits_and_not_after(tmp_path: Path) -> None:
    """By an operator alone; an end that two persons told is theirs to keep."""
    vault = stored(tmp_path, binding("2026-11-10T08:00:00Z", "S-1"), binding("2026-11-10T08:00:00Z", "S-2"))
    one, other = told(vault), told(vault, "S-2")
    with pytest.raises(RefusedError, match="operator"):
        endings.withdraw(vault, signed_in(vault, "olga"), one)
    endings.withdraw(vault, signed_in(vault, "otto"), one)
    assert vault.audit.show(1)[0]["act"] == "service-withdraw"
    with pytest.raises(RefusedError, match="none that waits"):
        endings.withdraw(vault, signed_in(vault, "otto"), one)
    late = at(vault, WAITED)
    assert len(rows_of(late, "binding")) == 1
    with pytest.raises(RefusedError, match="none that waits"):
        endings.withdraw(late, signed_in(late, "otto"), other)
    by_hand = end(late, subscriber="S-1")
    with pytest.raises(RefusedError, match="none that waits"):
        endings.withdraw(late, signed_in(late, "otto"), by_hand)


def test_the_policy_says_how_long_and_two_persons_shorten_it() -> None:
    """A week by default, in days or hours; none at all is for those who trust the file."""
    text = preset_text("telecom")
    assert parse(text).end_of_service_wait == Period(days=7)
    shorter = parse(text.replace('end_of_service_wait = "P7D"', 'end_of_service_wait = "P0D"'))
    assert shorter.digest != parse(text).digest
    sentence = "an end of service that a file told would wait 0 days instead of 7 days"
    assert list(policies.shortenings(parse(text), shorter)) == [sentence]
    with pytest.raises(UsageError, match="write it in days or hours"):
        parse(text.replace('end_of_service_wait = "P7D"', 'end_of_service_wait = "P1M"'))


def test_what_a_longer_term_let_in_goes_at_its_end(tmp_path: Path) -> None:
    """The end was done with; then the policy keeps thirty days, a late record of the service is stored, and goes."""
    vault = stored(tmp_path, binding("2026-11-10T08:00:00Z", "S-1"))
    end(vault, subscriber="S-1")
    vault = at(vault, NOW + timedelta(hours=1))
    assert rows_of(vault, "binding") == []
    longer = ruled(vault, "P30D", NOW + timedelta(hours=2))
    assert ingest(longer, "native_ndjson", binding("2026-11-11T08:00:00Z", "S-1"), "late").stored == 1
    assert [row["state"] for row in endings.listing(longer)] == ["open"]
    early = at(longer, END + 30 * DAY - timedelta(seconds=1))
    assert len(rows_of(early, "binding")) == 1
    late = at(early, END + 30 * DAY)
    assert rows_of(late, "binding") == []
    assert faults(late) == []


def test_what_came_between_two_runs_of_expiry_goes_too(tmp_path: Path) -> None:
    """A longer term that was taken back before any expiry saw it: the earlier text rules again, and looks again."""
    vault = stored(tmp_path, binding("2026-11-10T08:00:00Z", "S-1"))
    end(vault, subscriber="S-1")
    vault = at(vault, NOW + timedelta(hours=1))
    longer = ruled(vault, "P30D", NOW + timedelta(hours=2))
    assert ingest(longer, "native_ndjson", binding("2026-11-11T08:00:00Z", "S-1"), "late").stored == 1
    back = ruled(longer, "P0D", NOW + timedelta(hours=3))
    assert str(back.policy.require_term("binding")) == "until end_of_service, after P0D, cap P5Y"
    late = at(back, NOW + timedelta(hours=4))
    assert rows_of(late, "binding") == []
    generation = late.keys.generation
    again = at(late, NOW + timedelta(days=2))
    assert again.keys.generation - generation <= 1  # the delivered file went, and nothing was looked for in vain


def test_an_end_of_before_is_looked_at_once_more(tmp_path: Path) -> None:
    """A vault of a version before kept a list of classes: it is read, and done with under today's policy."""
    vault = stored(tmp_path, binding("2026-11-10T08:00:00Z", "S-1"))
    end(vault, subscriber="S-1")
    with vault.catalogue.transaction() as tx:
        (row,) = tx.select("endings")
        classes = json.dumps(["binding", "bundle_notice", "roaming_notice"])
        tx.put("endings", **row | {"state": "done", "classes": classes})
    vault = at(vault, NOW + timedelta(hours=1))
    assert rows_of(vault, "binding") == []
    assert [row["state"] for row in endings.listing(vault)] == ["done"]


def test_while_nothing_waits_for_an_end_none_is_forgotten(tmp_path: Path) -> None:
    """The policy may come back to it, and then its late records are still told apart."""
    vault = stored(tmp_path, binding("2026-11-10T08:00:00Z", "S-1"))
    end(vault, subscriber="S-1")
    vault = at(vault, NOW + timedelta(hours=1))
    text = preset_text("telecom").replace('{ until = "end_of_service", after = "P0D", cap = "P5Y" }', '"P5Y"')
    text = text.replace('{ until = "end_of_service", after = "P0D", cap = "P6M" }', '"P6M"')
    vault.layout.policy.write_text(text)
    vault = at(vault, NOW + timedelta(hours=2))
    assert len(endings.listing(vault)) == 1


steps = st.lists(
    st.one_of(
        st.tuples(st.just("rule"), st.sampled_from(["P0D", "P3D", "P10D"])),
        st.tuples(st.just("deliver"), st.sampled_from(["S-1", "S-2"])),
        st.tuples(st.just("expire"), st.just("")),
    ),
    min_size=2,
    max_size=7,
)


@pytest.mark.no_cover
@settings(max_examples=as_many(6), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps)
def test_an_expiry_leaves_nothing_that_is_due_whatever_came_before(drawn: list[tuple[str, str]]) -> None:
    """Policies that come and go between late files and runs: after a run, no record is there whose service ended as
    long ago as the policy of then says, and every other is.
    """
    with tempfile.TemporaryDirectory() as name:
        vault = stored(Path(name), binding("2026-11-08T08:00:00Z", "S-1"))
        ended = NOW - 2 * DAY
        end(vault, ended, subscriber="S-1")
        now, after, kept = NOW, timedelta(0), {"S-1": 1, "S-2": 0}
        for number, (what, which) in enumerate([*drawn, ("expire", "")]):
            now += timedelta(hours=20)
            if what == "rule":
                vault, after = ruled(vault, which, now), timedelta(days=int(which[1:-1]))
            elif what == "deliver":
                vault.catalogue.close()
                vault = opened(vault, now)
                line = binding(f"2026-11-09T08:00:{number:02d}Z", which)
                over = which == "S-1" and ended + after <= now
                assert ingest(vault, "native_ndjson", line, f"f{number}").stored == (not over)
                kept[which] += not over
            else:
                vault = at(vault, now)
                kept["S-1"] = 0 if ended + after <= now else kept["S-1"]
                assert len(rows_of(vault, "binding")) == sum(kept.values())
        assert faults(vault) == []
        vault.catalogue.close()
