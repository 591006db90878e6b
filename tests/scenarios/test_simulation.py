"""The simulated half year, in short: it agrees with its oracle, and a disagreement ends it with a failure."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from tests.simulation import __main__ as simulation
from tests.simulation import reporting
from tests.simulation.desk import Desk
from tests.simulation.nights import KINDS, Night
from tests.simulation.operating import DAY, WITHDRAWN, Operator, Run
from trafficvault.rights_rules import ACCESS


@pytest.mark.slow
@pytest.mark.no_cover
def test_a_few_simulated_days_agree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It ends with success, a report and a plot; records were kept, some by a hold, and some expired."""
    assert simulation.main(["--days", "10", "--seed", "7", "--out", str(tmp_path / "out")]) == 0
    assert "no disagreement" in capsys.readouterr().out
    report = (tmp_path / "out" / "simulation.md").read_text()
    assert "| holds | 1 |" in report
    assert "| records |" in report
    assert "Disagreements: 0." in report
    assert (tmp_path / "out" / "simulation.svg").read_text().count("<polyline") >= 3 * len(KINDS)


def test_a_record_that_the_oracle_does_not_know_is_a_disagreement(tmp_path: Path) -> None:
    """A run whose oracle forgets a delivered record, as a vault that keeps too much would look, says so every night."""
    operator = Operator(tmp_path, seed=1)
    operator.work(1)
    book = operator.mirror.book
    next(day for day in book.days.values() if day.rows).rows.pop()
    run = operator.work(1)
    assert any("records are stored" in told for told in run.disagreements)


def test_disagreements_are_told() -> None:
    """The report lists them, and the sentence names the first."""
    day, kinds = date(2027, 10, 1), dict.fromkeys(KINDS, 3)
    late = {"telephony": timedelta(hours=2)}
    missed = Night(day, kinds, kinds, kinds, 1, False, False, {"telephony": 1}, 1, {"telephony": timedelta(hours=30)})
    night = Night(day + DAY, kinds, kinds, kinds, 1, True, True, {"telephony": 1}, 1, late)
    run = Run(1, nights=[missed, night], disagreements=["a key is there"], events=[(day, WITHDRAWN)])
    assert reporting.sentence(run) == "2 nights: 1 disagreements, the first: a key is there"
    report = reporting.report(run, "plot.svg")
    assert "- a key is there" in report
    assert "| telephony | 3 | 3 | 3 | 3 | 2 | 2.0 h | 30.0 h |" in report
    assert "2027-10-01 | missed" in report
    assert ">W</text>" in reporting.plot(run)


def test_a_wrong_night_is_told(tmp_path: Path) -> None:
    """What went without the oracle's knowledge, or did not go, is told by each check, so that none of them is idle."""
    operator = Operator(tmp_path, seed=3)
    operator.work(1)
    mirror = operator.mirror
    desk = Desk(mirror)
    rows = [row for day in mirror.book.days.values() for row in day.rows]
    number = next(row.call.number for row in rows if row.call.number)
    for day in mirror.book.days.values():
        day.rows = [row for row in day.rows if row.call.number != number]
    assert any("was given to a customer" in told for told in desk.grant(ACCESS, number))
    mirror.order([number])
    assert any("is past its term and was answered" in told for told in mirror.answers())
    for day in mirror.book.days.values():
        day.generation += 1
    lacking = mirror.keys()
    assert any("the ring lacks" in told for told in lacking)
