"""The growth plot as SVG, written by hand: three lines need no plotting library.

Each line is a cost relative to its first point, over stored records on a logarithmic axis: what is flat stays at 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import log10
from xml.sax.saxutils import escape

Points = list[tuple[float, float]]
ALLOWED = 1.3
"""The most that a cost may grow, as a dashed line."""
_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 760, 380, 60, 46, 20, 90
_COLOURS = ("#1b6ca8", "#c4501b", "#3a7d34", "#6b4c9a")


def growth(series: Mapping[str, tuple[str, Points]], title: str) -> str:
    """The SVG text. Lines without a point, or whose first cost is zero, are left out."""
    lines = {
        name: [(at, cost / points[0][1]) for at, cost in points]
        for name, (_, points) in series.items()
        if points and points[0][1] > 0
    }
    sizes = sorted({at for points in lines.values() for at, _ in points}) or [1.0]
    most = max([ALLOWED, *(cost for points in lines.values() for _, cost in points)]) * 1.1
    low, high = log10(sizes[0]), log10(sizes[-1])

    def across(at: float) -> float:
        return _LEFT + (log10(at) - low) / ((high - low) or 1) * (_WIDTH - _LEFT - _RIGHT)

    def down(cost: float) -> float:
        return _HEIGHT - _BOTTOM - cost / most * (_HEIGHT - _BOTTOM - _TOP)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        _text(_LEFT, 22, title, size=15),
        _text(_LEFT, 38, "cost of one more, relative to the smallest size; dashed: the most that is allowed", size=11),
    ]
    for tick in [step / 2 for step in range(int(most * 2) + 1)]:
        parts.append(_line([(_LEFT, down(tick)), (_WIDTH - _RIGHT, down(tick))], "#dddddd"))
        parts.append(_text(_LEFT - 8, down(tick) + 4, f"{tick:g}×", anchor="end"))
    for at in sizes:
        parts.append(_text(across(at), _HEIGHT - _BOTTOM + 18, f"{at / 1e6:g} M", anchor="middle"))
    parts.append(_line([(_LEFT, down(ALLOWED)), (_WIDTH - _RIGHT, down(ALLOWED))], "#888888", dashed=True))
    for number, (name, points) in enumerate(lines.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        parts.append(_line([(across(at), down(cost)) for at, cost in points], colour, width=2))
        parts += [f'<circle cx="{across(at):.1f}" cy="{down(cost):.1f}" r="3" fill="{colour}"/>' for at, cost in points]
        unit, told = series[name]
        legend = f"{name}: {told[0][1]:,.2f} → {told[-1][1]:,.2f} {unit}"
        parts.append(_text(_LEFT, _HEIGHT - _BOTTOM + 40 + 16 * number, f"— {legend}", colour=colour))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _line(points: Points, colour: str, width: int = 1, *, dashed: bool = False) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dash = ' stroke-dasharray="6 4"' if dashed else ""
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"{dash}/>'


def _text(x: float, y: float, text: str, anchor: str = "start", colour: str = "#222222", size: int = 12) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" font-size="{size}">{escape(text)}</text>'
    )
