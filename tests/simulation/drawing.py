"""The plot of a simulated run as SVG, written by hand: what the vault kept, over what it had to keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 860, 400, 60, 46, 20, 80
_STYLES = (("#9ec9e8", 9, ""), ("#0f4c75", 2, ""), ("#c4501b", 1, "5 4"))
"""Colour, width and dashes of each line: the first lies pale and broad under the second."""


def kept(series: Mapping[str, Sequence[int]], title: str) -> str:
    """The SVG text: each series is a number of records per day."""
    days = max(len(values) for values in series.values())
    most = max([1, *(value for values in series.values() for value in values)])
    step = 10 ** (len(str(most)) - 1) if most > 4 else 1

    def across(day: float) -> float:
        return _LEFT + day / max(days - 1, 1) * (_WIDTH - _LEFT - _RIGHT)

    def down(value: float) -> float:
        return _HEIGHT - _BOTTOM - value / (most * 1.05) * (_HEIGHT - _BOTTOM - _TOP)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        _text(_LEFT, 24, title, size=15),
    ]
    for tick in range(0, most + 1, step):
        parts.append(_line([(_LEFT, down(tick)), (_WIDTH - _RIGHT, down(tick))], "#dddddd", 1, ""))
        parts.append(_text(_LEFT - 8, down(tick) + 4, f"{tick:,}", anchor="end"))
    for day in range(0, days, 20):
        parts.append(_text(across(day), _HEIGHT - _BOTTOM + 16, str(day), anchor="middle"))
    parts.append(_text(_WIDTH - _RIGHT, _HEIGHT - _BOTTOM + 30, "day", anchor="end"))
    for number, (name, values) in enumerate(series.items()):
        colour, width, dashes = _STYLES[number % len(_STYLES)]
        points = [(across(day), down(value)) for day, value in enumerate(values)]
        parts.append(_line(points, colour, width, dashes))
        parts.append(_text(_LEFT, _HEIGHT - 34 + 14 * number, f"— {name}", colour=colour))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _line(points: Sequence[tuple[float, float]], colour: str, width: int, dashes: str) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"{dashed}/>'


def _text(x: float, y: float, text: str, anchor: str = "start", colour: str = "#222222", size: int = 12) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" font-size="{size}">{escape(text)}</text>'
    )
