"""The nights after a short month, held against the oracle: locations leave days that live on, and nothing else does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.simulation import nights
from tests.simulation.book import Call
from tests.simulation.mirror import found_house, open_mirror
from tests.simulation.rules import Rules

NUMBER, CELL = "+31612345678", "204-99-0001-0007"


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("zone", "first"),
    [
        ("Europe/Amsterdam", datetime(2027, 2, 28, 22, tzinfo=UTC)),
        ("America/Havana", datetime(2027, 3, 1, 3, 30, tzinfo=UTC)),
    ],
    ids=["Amsterdam", "Havana"],
)
def test_nights_after_a_short_month(tmp_path: Path, zone: str, first: datetime) -> None:
    """Records of both sides of midnight, with a hold and without, delivered again and late: the vault answers, keeps
    and certifies as the oracle says, and no location is stored two days after its term.
    """
    start = datetime(2027, 3, 1, 14, tzinfo=UTC)
    rules = Rules(zone=zone, where="P1M", mobile_usage="P3M")
    found_house(tmp_path, rules, start)
    mirror = open_mirror(tmp_path, rules, start)
    calls = [
        Call("mobile_usage", f"r-{step}", first + timedelta(minutes=30 * step), NUMBER, "S-1", CELL)
        for step in range(6)
    ]
    told = mirror.deliver(calls[:4])
    mirror.order([NUMBER])
    mirror.go_on(timedelta(days=25, hours=12))
    told += mirror.expire()[1]
    hold = mirror.order([NUMBER], 60)
    mirror.order([NUMBER], supplements=hold)
    generations = {day.generation for day in mirror.book.days.values()}
    for night in range(9):
        mirror.go_on(timedelta(days=1))
        told += mirror.expire()[1]
        if night == 4:
            told += mirror.deliver(calls)
        if night in (4, 8):
            mirror.compact()
            told += [*mirror.answers(), *mirror.verified(), *nights.stored(mirror)[1]]

    assert told == []
    assert generations == {1}
    assert {day.generation for day in mirror.book.days.values()} >= {2}
