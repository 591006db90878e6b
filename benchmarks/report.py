"""Writes a run's figures as tables into `benchmarks/README.md`, and its growth as a plot beside it.

    python -m benchmarks.report RESULTS.json …

The tables stand between two marks that name the scale, and nothing else of the file is touched.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks import plot
from benchmarks.results import Figure, Results, ResultsFault, load_all, told

README = Path(__file__).with_name("README.md")
_TITLES = {
    "ingest": "Ingest to durable",
    "feeds": "Each shipped feed",
    "pieces": "The pieces of ingest",
    "compaction": "Compaction and the whole life",
    "lookup": "Lookups",
    "expiry": "Expiry",
    "memory": "Memory",
    "growth": "Growth",
}


def tables(results: Results) -> str:
    """The figures as Markdown: a table per suite, the peers' values and the ratio of ours to theirs."""
    machine = results.machine
    peers = "; ".join(results.peers.values()) or "no peer"
    where = ", ".join(machine[name] for name in ("date", "processor", "system", "python"))
    parts = [f"{where}, load {machine['load']}. Peers: {peers}."]
    for suite, title in _TITLES.items():
        figures = [figure for figure in results.figures if figure.suite == suite]
        if figures:
            parts += [f"### {title}", _table(figures)]
    if results.series:
        parts.append(f"![cost by stored records](growth-{results.scale}.svg)")
    return "\n\n".join(parts)


def with_tables(text: str, scale: str, body: str) -> str:
    """The README `text` with the tables of `scale` set in. Raises `ResultsFault` when it has no marks for them."""
    begin, end = f"<!-- figures: {scale} -->", f"<!-- end of figures: {scale} -->"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ResultsFault(f"writing the figures: README.md has no marks {begin} and {end}; add them")
    return f"{before}{begin}\n\n{body}\n\n{end}{after}"


def main(arguments: list[str] | None = None) -> int:
    """Writes tables and plot; returns 2 when they can't be written."""
    parser = argparse.ArgumentParser(description="Write benchmark results into README.md.")
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("--readme", type=Path, default=README)
    given = parser.parse_args(arguments)
    try:
        results = load_all(given.results)
        text = with_tables(given.readme.read_text(encoding="utf-8"), results.scale, tables(results))
    except (ResultsFault, OSError) as problem:
        print(f"writing the report: {problem}", file=sys.stderr)
        return 2
    given.readme.write_text(text, encoding="utf-8")
    if results.series:
        drawn = plot.growth(results.series, f"TrafficVault: cost by stored records, scale {results.scale}")
        given.readme.with_name(f"growth-{results.scale}.svg").write_text(drawn, encoding="utf-8")
    return 0


def _table(figures: list[Figure]) -> str:
    peers = sorted({peer for figure in figures for peer in figure.peers})
    heads = ["what", "unit", "TrafficVault", *peers, *(f"÷ {peer}" for peer in peers)]
    rows = [heads, ["---", "---", *["---:"] * (len(heads) - 2)]]
    for figure in figures:
        theirs = [figure.peers.get(peer) for peer in peers]
        rows.append(
            [
                figure.name,
                figure.unit,
                told(figure.value),
                *("" if value is None else told(value) for value in theirs),
                *("" if not value else f"{figure.value / value:.2f}" for value in theirs),
            ]
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    sys.exit(main())
