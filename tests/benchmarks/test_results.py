"""What becomes of a benchmark run: its tables, its plot, and its comparison with the baseline."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks import compare, plot, report, scale
from benchmarks.results import ResultsFault, load, load_all


def run_file(path: Path, rate: float = 1000.0, delay: float = 20.0, name: str = "ingest") -> Path:
    """A file of results with a rate, a delay and a count."""
    figures: dict[str, Any] = {
        name: {"value": rate, "unit": "rows/s", "peers": {"ClickHouse": 500.0}},
        "lookup": {"value": delay, "unit": "ms", "peers": {}},
        "lookup, rows": {"value": 7.0, "unit": "rows", "peers": {}},
    }
    series = {"lookup": {"unit": "ms", "points": [[1e6, 10.0], [1e7, 11.0]]}}
    found = {
        "scale": "bench",
        "datetime": "2026-11-21T10:00:00+00:00",
        "peers": {"ClickHouse": "ClickHouse 1"},
        "machine_info": {
            "machine": "x86_64",
            "system": "Linux",
            "python_implementation": "CPython",
            "python_version": "3.11.7",
            "cpu": {"count": 2, "brand_raw": "A processor"},
        },
        "benchmarks": [{"group": "ingest", "extra_info": {"figures": figures, "series": series}}],
    }
    path.write_text(json.dumps(found), encoding="utf-8")
    return path


@pytest.fixture
def baseline(tmp_path: Path) -> Path:
    """The baseline that a run wrote."""
    path = tmp_path / "baseline.json"
    assert compare.main([str(run_file(tmp_path / "first.json")), "--baseline", str(path), "--write"]) == 0
    return path


@pytest.mark.parametrize(
    ("rate", "delay", "status"),
    [(1000, 20, 0), (2000, 10, 0), (810, 24, 0), (700, 20, 1), (1000, 26, 1)],
    ids=["the same", "better", "within the tolerance", "a lower rate", "a longer delay"],
)
def test_a_regression_fails(tmp_path: Path, baseline: Path, rate: float, delay: float, status: int) -> None:
    """A rate that falls and a delay that grows are worse; by a quarter and more, the command ends with 1."""
    found = run_file(tmp_path / "run.json", rate, delay)
    assert compare.main([str(found), "--baseline", str(baseline)]) == status


def test_what_one_side_lacks_is_named(tmp_path: Path, baseline: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A figure that only one of both has is told and is no regression; a count of rows is no figure to compare."""
    found = run_file(tmp_path / "run.json", name="another")
    assert compare.main([str(found), "--baseline", str(baseline)]) == 0
    told = capsys.readouterr().out
    assert "not measured in this run: ingest" in told
    assert "not in the baseline: another" in told
    assert "lookup, rows" not in told


def test_unreadable_results_end_with_two(tmp_path: Path, baseline: Path) -> None:
    """A file that is none, and one that is not of the form, are told and end with 2."""
    broken = tmp_path / "broken.json"
    broken.write_text("{}", encoding="utf-8")
    assert compare.main([str(tmp_path / "none.json"), "--baseline", str(baseline)]) == 2
    assert report.main([str(broken)]) == 2
    with pytest.raises(ResultsFault, match=r"broken\.json"):
        load(broken)


def test_the_tables_stand_between_the_marks(tmp_path: Path) -> None:
    """A run's figures replace those of the run before; all else of the file stays, and the plot is beside it."""
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- figures: bench -->\nold\n<!-- end of figures: bench -->\nafter\n", encoding="utf-8")
    assert report.main([str(run_file(tmp_path / "run.json")), "--readme", str(readme)]) == 0

    text = readme.read_text(encoding="utf-8")
    assert text.startswith("before\n") and text.endswith("after\n")
    assert "old" not in text
    assert "| ingest | rows/s | 1,000 | 500 | 2.00 |" in text
    assert ElementTree.fromstring((tmp_path / "growth-bench.svg").read_text()).tag.endswith("svg")  # noqa: S314  # our own
    again = text
    assert report.main([str(tmp_path / "run.json"), "--readme", str(readme)]) == 0
    assert readme.read_text(encoding="utf-8") == again


def test_suites_that_were_run_apart_are_one(tmp_path: Path) -> None:
    """Several files of one scale are read as one run, the later counts; files of two scales are refused."""
    first, second = run_file(tmp_path / "1.json", rate=1.0), run_file(tmp_path / "2.json", rate=2.0, name="another")
    found = {
        figure.name: figure.value for figure in load_all([first, second, run_file(tmp_path / "3.json", 3.0)]).figures
    }
    assert (found["ingest"], found["another"]) == (3.0, 2.0)
    second.write_text(second.read_text().replace('"bench"', '"full"'), encoding="utf-8")
    with pytest.raises(ResultsFault, match="2 scales"):
        load_all([first, second])


def test_a_readme_without_marks_is_left_alone(tmp_path: Path) -> None:
    """Where the tables belong must be said."""
    readme = tmp_path / "README.md"
    readme.write_text("nothing", encoding="utf-8")
    assert report.main([str(run_file(tmp_path / "run.json")), "--readme", str(readme)]) == 2
    assert readme.read_text(encoding="utf-8") == "nothing"


def test_a_plot_without_points_is_still_one() -> None:
    """No series, and one of a single point, give a drawing that can be parsed."""
    series: list[dict[str, tuple[str, plot.Points]]] = [{}, {"one": ("ms", [(1e6, 2.0)])}, {"none": ("ms", [])}]
    for one in series:
        assert ElementTree.fromstring(plot.growth(one, "a < b")).tag.endswith("svg")  # noqa: S314  # our own


def test_the_disk_is_asked_first(tmp_path: Path) -> None:
    """A scale that needs more than there is says how much; a scale that fits says nothing."""
    full = scale.SCALES["full"]
    assert scale.disk_problem(replace(full, disk=1), tmp_path) is None
    told = scale.disk_problem(replace(full, disk=10**18), tmp_path)
    assert told is not None and "1000000000 GB" in told


def test_an_unknown_scale_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slip of the pen does not run for hours."""
    monkeypatch.setenv("BENCH_SCALE", "huge")
    with pytest.raises(ValueError, match="huge"):
        scale.chosen()
