"""A hold keeps what could have been answered when it began: no record, and no location, that was past its term then."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.simulation.book import Call
from tests.simulation.mirror import Mirror, found_house, open_mirror
from tests.simulation.rules import Rules
from tests.support import Order, approved, opened
from tests.trafficvault.short_location import FIRST, asked, entry, new, rules
from tests.trafficvault.test_policies import adopted
from tests.trafficvault.test_withdrawal import withdrawn
from trafficvault import expire
from trafficvault.policy_file import parse

NUMBER, CELL = "+31612345678", "204-99-0001-0007"
START = datetime(2026, 6, 10, 12, tzinfo=UTC)


@pytest.fixture
def mirror(tmp_path: Path) -> Mirror:
    """A vault and its oracle at noon of 10 June."""
    found_house(tmp_path, Rules(), START - timedelta(days=1))
    return open_mirror(tmp_path, Rules(), START)


def call(record_class: str, name: str, hour: int, subscriber: str = "S-1") -> Call:
    """A record of that hour of 10 June."""
    return Call(record_class, name, START.replace(hour=hour), NUMBER, subscriber, CELL)


def nights(mirror: Mirror, count: int) -> list[str]:
    """So many nights with an expiry; what the two disagree about."""
    told = []
    for _ in range(count):
        mirror.go_on(timedelta(days=1))
        told += [*mirror.expire()[1], *mirror.answers(), *mirror.verified()]
    return told


def test_a_location_past_its_term_is_not_held(mirror: Mirror) -> None:
    """Of two records of a day whose location dies tomorrow, one location was over when the warrant came: it is not told
    afterwards, the other is.
    """
    told = mirror.deliver([call("mobile_usage", "early", 1), call("mobile_usage", "later", 11)])
    mirror.go_on(timedelta(days=9, hours=18))
    mirror.order([NUMBER])
    told += [*mirror.answers(), *nights(mirror, 2)]

    assert told == []
    (asked_,) = mirror.orders.values()
    cells = mirror.book.answer(asked_.numbers, mirror.now, asked_.holds)
    assert sorted(cells.values(), key=str) == [CELL, None]


def test_what_is_held_of_a_day_that_lives_on_is_told(mirror: Mirror) -> None:
    """The location of a day is carved when it dies, and the warrant that froze it sees it while the call lives."""
    told = mirror.deliver([call("mobile_usage", "one", 11)])
    mirror.go_on(timedelta(days=9, hours=12))
    mirror.order([NUMBER])
    told += nights(mirror, 2)

    assert told == []
    (asked_,) = mirror.orders.values()
    assert list(mirror.book.answer(asked_.numbers, mirror.now, asked_.holds).values()) == [CELL]


def test_what_was_of_an_ended_service_is_not_held(mirror: Mirror) -> None:
    """A service ended long enough ago; a warrant that comes before the nightly expiry brings no record back."""
    told = mirror.deliver([call("binding", "gone", 1), call("binding", "stays", 1, "S-2")])
    mirror.end_service("S-1")
    mirror.go_on(timedelta(days=3, hours=5))
    mirror.order([NUMBER])
    told += [*mirror.answers(), *nights(mirror, 1)]

    assert told == []
    (asked_,) = mirror.orders.values()
    names = {name for _, name, _ in mirror.book.answer(asked_.numbers, mirror.now, asked_.holds)}
    assert names == {"stays"}


def test_what_a_warrant_could_not_see_is_not_held_for_it(tmp_path: Path) -> None:
    """What is kept for billing alone, past the term of lawful requests, is no part of a hold that begins then."""
    text = rules().split("[[entry]]")[0]
    text += entry("bills", "P1Y", ["mobile_usage"], more='purpose = "billing"')
    text += entry("requests", "P1M", ["mobile_usage"], more='purpose = "lawful-request"')
    vault = opened(new(tmp_path, text), FIRST.replace(month=12, day=11, hour=12))
    hold = approved(vault, Order(reference="PV-1", hold_for="P90D", legal_basis="126ni Sv"))
    assert asked(vault, tmp_path / "before", supplements=hold)[0]["record_id"].to_list() == ["r-2"]

    with vault.catalogue.reading() as tx:
        (batch,) = tx.select("batches")
    withdrawn(vault, batch["id"])
    rows, manifest = asked(vault, tmp_path / "after", supplements=hold)
    assert rows["record_id"].to_list() == ["r-2"]
    assert manifest["days_from_hold"]


def test_a_policy_that_is_shortened_later_takes_nothing_from_a_hold(tmp_path: Path) -> None:
    """Half a year was kept when the order came: the shorter term lets the days die, and not what is held."""
    vault = opened(new(tmp_path), FIRST + timedelta(days=100))
    hold = approved(vault, Order(reference="PV-1", hold_for="P90D", legal_basis="126ni Sv"))
    vault.layout.policy.write_text(rules(rest="P3M"))
    shorter = adopted(opened(vault, FIRST + timedelta(days=101)))
    assert shorter.policy.term_of("mobile_usage") == parse(rules(rest="P3M")).term_of("mobile_usage")
    rows, _ = asked(shorter, tmp_path / "lives", supplements=hold)
    assert rows["record_id"].to_list() == ["r-0", "r-1", "r-2"]

    expire.expire(shorter)
    with shorter.catalogue.reading() as tx:
        assert {row["state"] for row in tx.select("partitions", record_class="mobile_usage")} == {"tombstone"}
    rows, manifest = asked(shorter, tmp_path / "carved", supplements=hold)
    assert rows["record_id"].to_list() == ["r-0", "r-1", "r-2"]
    assert manifest["days_from_hold"]
    assert asked(shorter, tmp_path / "other")[0].is_empty()
