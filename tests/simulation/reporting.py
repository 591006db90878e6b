"""The report of a simulated run: what was kept against what was due, how late, what was answered and certified, and
what each act cost.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

from tests.simulation import drawing
from tests.simulation.drawing import Panel
from tests.simulation.nights import KINDS, Night
from tests.simulation.operating import LETTERS, Run

_SHOWN = 20
"""At most so many disagreements are written out."""
_LEGEND = ("had to be kept, by the oracle", "kept by the vault", "inside their own term")
_HELD = "kept apart by holds"


def sentence(run: Run) -> str:
    """What came of it, in one line."""
    days, certified = len(run.nights), sum(run.certificates.values())
    if not run.disagreements:
        return f"{days} nights, {run.done['records delivered']} records, {certified} certificates: no disagreement"
    return f"{days} nights: {len(run.disagreements)} disagreements, the first: {run.disagreements[0]}"


def plot(run: Run) -> str:
    """What the vault kept over what the oracle did, by kind, and the records that were inside their own term."""
    panels = [
        Panel(
            kind,
            [{night.date: tally[kind] for night, tally in zip(run.nights, tallies, strict=True)} for tallies in lines],
        )
        for lines in [[[getattr(night, name) for night in run.nights] for name in ("wanted", "kept", "inside")]]
        for kind in KINDS
    ]
    panels.append(Panel(_HELD, [{night.date: night.held for night in run.nights}]))
    marks = {day: LETTERS[what] for day, what in run.events if what in LETTERS}
    title = f"Records kept against records due, {len(run.nights)} nights, {run.zone}, seed {run.seed}"
    return drawing.kept(panels, _LEGEND, marks, title)


def report(run: Run, picture: str) -> str:
    """The report as Markdown."""
    first, last = run.nights[0], run.nights[-1]
    parts = [
        "# A simulated run",
        f"Seed {run.seed}, {first.date} to {last.date}, {run.zone}. {sentence(run)}.",
        f"![records kept against records due]({picture})",
        "## Kept against due",
        _table(
            (
                "kind",
                "most kept",
                "kept at the end",
                "had to be",
                "inside their term",
                "ends certified",
                "late",
                "latest",
            ),
            [_of_kind(run.nights, kind) for kind in KINDS],
        ),
        "`late` is the most after an ordinary night, from the moment that a day was due. `latest` is the most of all: "
        "after nights that were missed, after a restore, or because a policy had just made a term shorter. From the "
        "moment of its own term on, a record was told to nobody.",
        "## Held against the oracle",
        _table(("what", "times"), sorted(run.checked.items())),
        f"Disagreements: {len(run.disagreements)}.",
        *_disagreements(run),
        "## What was done",
        _table(("what", "times"), sorted(run.done.items())),
        _table(("when", "what"), run.events),
        "## What was told",
        _table(("what", "times"), sorted(run.told.items())),
        "## Certificates",
        _table(("of", "issued"), sorted(run.certificates.items())),
        "## What it cost",
        _table(("act", "times", "median, CPU ms", "most, CPU ms"), run.cost.rows()),
        "## Night by night",
        _table(
            (
                "date",
                "expiry",
                *(f"{kind}: kept / had to be / inside" for kind in KINDS),
                "held",
                "certified",
                "latest",
            ),
            [_of_night(night) for night in run.nights],
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _of_kind(nights: Sequence[Night], kind: str) -> tuple[object, ...]:
    last, latest = nights[-1], [night.latest.get(kind, timedelta()) for night in nights]
    return (
        kind,
        max(night.kept[kind] for night in nights),
        *(tally[kind] for tally in (last.kept, last.wanted, last.inside)),
        sum(night.certified.get(kind, 0) for night in nights),
        _hours(late for late, night in zip(latest, nights, strict=True) if night.is_ordinary),
        _hours(latest),
    )


def _of_night(night: Night) -> tuple[object, ...]:
    kinds = (f"{night.kept[kind]} / {night.wanted[kind]} / {night.inside[kind]}" for kind in KINDS)
    ran = "ran" if night.expired else "missed"
    certified = sum(night.certified.values()) + night.rows_gone
    return night.date, ran, *kinds, night.held, certified, _hours(night.latest.values())


def _hours(found: Iterable[timedelta]) -> str:
    return f"{max([timedelta(), *found]) / timedelta(hours=1):.1f} h"


def _disagreements(run: Run) -> list[str]:
    return ["\n".join(f"- {told}" for told in run.disagreements[:_SHOWN])] if run.disagreements else []


def _table(heads: tuple[str, ...], rows: Iterable[Sequence[object]]) -> str:
    lines: list[Sequence[object]] = [heads, ("---",) * len(heads), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
