"""Outliving: between a record's own term and the end of its day only the warrant of the hold that covers it is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support import OTHER, Order, approved, ingest, opened, signed_in
from tests.trafficvault.short_location import CELL, asked, entry, new, rules
from trafficvault import disclose, docket, endings, expire, proposals
from trafficvault.vault import Vault

BEFORE = datetime(2027, 5, 11, 9, tzinfo=UTC)
"""Two hours before the record r-1, of noon of 11 November, has reached its six months; its day lives until the 12th."""
AFTER = BEFORE + timedelta(hours=6)
HOLD = Order(reference="PV-1", hold_for="P90D", legal_basis="126ni Sv", classes=("mobile_usage",))


def ids(vault: Vault, out: Path, **order: Any) -> list[str]:
    """The ids of the records that a warrant of today gets."""
    found: list[str] = asked(vault, out, **order)[0]["record_id"].to_list()
    return found


@pytest.mark.parametrize("expired", [False, True], ids=["as delivered", "after an expiry"])
def test_only_who_goes_on_from_the_hold_is_answered(tmp_path: Path, *, expired: bool) -> None:
    """Before its day is carved and after it, with the same records; to any other warrant it is past its term."""
    vault = opened(new(tmp_path), BEFORE)
    hold = approved(vault, HOLD)
    assert ids(vault, tmp_path / "alive") == ["r-1", "r-2"]
    vault = opened(vault, AFTER)
    if expired:
        expire.expire(vault)
    assert ids(vault, tmp_path / "other") == ["r-2"]
    rows, manifest = asked(vault, tmp_path / "held", supplements=hold)
    assert rows["record_id"].to_list() == ["r-1", "r-2"]
    assert "2026-11-11" in manifest["days_from_hold"]["mobile_usage"]
    vault = opened(vault, AFTER + timedelta(days=2))
    expire.expire(vault)
    assert ids(vault, tmp_path / "carved", supplements=hold) == ["r-1", "r-2"]


def test_its_own_freeze_is_enough(tmp_path: Path) -> None:
    """A warrant that is approved after the record's term gets what lived when it was registered."""
    vault = opened(new(tmp_path), BEFORE)
    order = Order(reference="PV-2", classes=("mobile_usage",), questions=("activity",))
    warrant = docket.register(vault, signed_in(vault, "olga"), order.toml())
    vault = opened(vault, AFTER)
    docket.approve(vault, signed_in(vault, "piet"), warrant)
    assert disclose.run(vault, signed_in(vault, "olga"), warrant, tmp_path / "own").records == 2


def test_a_hold_covers_no_more_than_it_says(tmp_path: Path) -> None:
    """Neither another person, nor a category that it does not name, nor anything once it is over."""
    vault = opened(new(tmp_path), BEFORE)
    stranger = approved(vault, Order(**{**fields(HOLD), "reference": "S", "targets": [("msisdn", "+31600000007")]}))
    short = approved(vault, Order(**{**fields(HOLD), "reference": "C", "categories": ("who", "when")}))
    brief = approved(vault, Order(**{**fields(HOLD), "reference": "B", "hold_for": "PT1H"}))
    vault = opened(vault, AFTER)
    assert ids(vault, tmp_path / "stranger", supplements=stranger) == ["r-2"]
    assert ids(vault, tmp_path / "brief", supplements=brief) == ["r-2"]
    rows, _ = asked(vault, tmp_path / "short", supplements=short)
    told = dict(zip(rows["record_id"].to_list(), rows["duration_ms"].to_list(), strict=True))
    assert told == {"r-1": None, "r-2": 1000}


def test_a_location_that_ended_since_is_told(tmp_path: Path) -> None:
    """Of the record that lives on, as it was when the hold began; to another warrant it has expired."""
    vault = opened(new(tmp_path, rules("P1M")), datetime(2026, 12, 11, 9, tzinfo=UTC))
    hold = approved(vault, HOLD)
    vault = opened(vault, vault.clock.now() + timedelta(hours=6))
    for name, seen in (("other", None), ("held", CELL)):
        rows, _ = asked(vault, tmp_path / name, supplements=hold if name == "held" else None)
        told = dict(zip(rows["record_id"].to_list(), rows["start_cell"].to_list(), strict=True))
        assert told["r-1"] == seen
        assert told["r-2"] == CELL


def test_the_end_of_a_service_takes_nothing_from_under_it(tmp_path: Path) -> None:
    """A record of a service that ended since is answered to the warrant that froze it before, until it is carved."""
    text = rules() + entry("held", "P6M", ["binding"]).replace(
        'term = "P6M"', 'term = { until = "end_of_service", after = "P0D", cap = "P2Y" }'
    )
    vault = new(tmp_path, text)
    head = "class,record_id,start,end,subscriber,a_number,served,event\n"
    line = "binding,b-1,2026-11-11T10:00:00Z,2026-11-11T11:00:00Z,S-1,+31612345678,a,lease\n"
    assert ingest(vault, "native_csv", head + line, "bindings").stored == 1
    hold = approved(vault, Order(**{**fields(HOLD), "classes": ("binding",)}))
    vault = opened(vault, vault.clock.now() + timedelta(hours=1))
    made = endings.propose(vault, signed_in(vault, "otto"), {"subscriber": "S-1"}, vault.clock.now())
    ada = signed_in(vault, "ada")
    endings.enter(vault, ada, proposals.approve(vault, ada, made.proposal_id))
    assert ids(vault, tmp_path / "other", classes=("binding",)) == []
    assert ids(vault, tmp_path / "held", classes=("binding",), supplements=hold) == ["b-1"]
    expire.expire(vault)
    assert ids(vault, tmp_path / "carved", classes=("binding",), supplements=hold) == ["b-1"]


def test_the_parts_of_a_call_go_with_it(tmp_path: Path) -> None:
    """A part that names nobody is told with the part that does, as a carve would keep it."""
    vault = new(tmp_path)
    head = "class,record_id,start,a_number,b_number,served,event,correlation_id,part\n"
    lines = [
        f"mobile_usage,p-1,2026-11-11T09:30:00Z,+31612345678,+{OTHER},a,call,call-1,first\n",
        "mobile_usage,p-2,2026-11-11T09:40:00Z,,,a,call,call-1,last\n",
    ]
    assert ingest(vault, "native_csv", head + "".join(lines), "parts").stored == 2
    vault = opened(vault, BEFORE - timedelta(hours=2))
    hold = approved(vault, HOLD)
    vault = opened(vault, AFTER)
    assert set(ids(vault, tmp_path / "held", supplements=hold)) == {"p-1", "p-2", "r-1", "r-2"}
    assert ids(vault, tmp_path / "other") == ["r-2"]


def fields(order: Order) -> dict[str, Any]:
    """What an order says, to make another of."""
    return {name: getattr(order, name) for name in order.__dataclass_fields__}
