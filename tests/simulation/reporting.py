"""The report of a simulated run: what was kept against what was due, how late, and what was certified."""

from __future__ import annotations

from collections.abc import Sequence

from tests.simulation import drawing
from tests.simulation.operating import Run

_SHOWN = 20
"""At most so many disagreements are written out."""


def sentence(run: Run) -> str:
    """What came of it, in one line."""
    days, certified = len(run.nights), sum(run.certificates.values())
    if not run.disagreements:
        return f"{days} days, {run.done['records delivered']} records, {certified} certificates: no disagreement"
    return f"{days} days: {len(run.disagreements)} disagreements, the first: {run.disagreements[0]}"


def plot(run: Run) -> str:
    """What the vault kept over what the oracle did, with the records that were inside their own term."""
    series = {
        "had to be kept: of days that were not due, by the oracle": [night.due_to_keep for night in run.nights],
        "kept by the vault": [night.kept for night in run.nights],
        "inside their own term: what a warrant may be answered from": [night.inside_term for night in run.nights],
    }
    return drawing.kept(series, f"Records kept against records due, {len(run.nights)} days, seed {run.seed}")


def report(run: Run, picture: str) -> str:
    """The report as Markdown."""
    latest = max((night.latest_seconds for night in run.nights), default=0)
    parts = [
        "# A simulated run",
        f"Seed {run.seed}. {sentence(run)}.",
        f"![records kept against records due]({picture})",
        "## What was done",
        _table(("what", "times"), sorted(run.done.items())),
        "## Certificates",
        _table(("of", "issued"), sorted(run.certificates.items())),
        f"The latest was issued {latest / 3600:.1f} hours after its due moment: after a run that was missed, "
        "or because a policy had just made its term shorter.",
        "## Night by night",
        _table(
            ("day", "kept", "had to be kept", "inside their term", "certificates", "latest, hours"),
            [
                (
                    night.day,
                    night.kept,
                    night.due_to_keep,
                    night.inside_term,
                    night.expired,
                    f"{night.latest_seconds / 3600:.1f}",
                )
                for night in run.nights
            ],
        ),
    ]
    if run.disagreements:
        shown = [f"- {told}" for told in run.disagreements[:_SHOWN]]
        parts += ["## Disagreements", "\n".join(shown)]
    return "\n\n".join(parts) + "\n"


def _table(heads: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> str:
    lines: list[tuple[object, ...]] = [heads, ("---",) * len(heads), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
