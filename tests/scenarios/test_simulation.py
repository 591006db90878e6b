"""The simulated half year, in short: it agrees with its oracle, and a disagreement ends it with a failure."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulation import __main__ as simulation
from tests.simulation import reporting
from tests.simulation.operating import Night, Operator, Run


@pytest.mark.slow
def test_a_few_simulated_days_agree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It ends with success, a report and a plot; records were kept, some by a hold, and some expired."""
    assert simulation.main(["--days", "10", "--seed", "7", "--out", str(tmp_path / "out")]) == 0
    assert "no disagreement" in capsys.readouterr().out
    report = (tmp_path / "out" / "simulation.md").read_text()
    assert "| holds | 1 |" in report
    assert "| records |" in report
    assert "Disagreements" not in report
    assert (tmp_path / "out" / "simulation.svg").read_text().count("<polyline") >= 3


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
    run = Run(1, [Night(0, 3, 2, 2, 1, 7200)], disagreements=["a key is there"])
    assert reporting.sentence(run) == "1 days: 1 disagreements, the first: a key is there"
    assert "- a key is there" in reporting.report(run, "plot.svg")
    assert "2.0 hours after its due moment" in reporting.report(run, "plot.svg")
