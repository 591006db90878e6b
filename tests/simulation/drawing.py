"""The plot of a simulated run as SVG, written by hand: a panel for each kind of data, one under the other, by date."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from xml.sax.saxutils import escape

_WIDTH, _LEFT, _RIGHT, _TOP = 900, 60, 20, 78
_PANEL, _GAP, _FOOT = 108, 34, 60
_STYLES = (("#9ec9e8", 9, ""), ("#0f4c75", 2, ""), ("#c4501b", 1, "5 4"))
"""Colour, width and dashes of each line: the first lies pale and broad under the second."""
_MARK = "#b9b9b9"


@dataclass(frozen=True)
class Panel:
    """One kind: its name, and numbers of records by date, in the order of the legend."""

    name: str
    series: Sequence[Mapping[date, int]]


def kept(panels: Sequence[Panel], legend: Sequence[str], marks: Mapping[date, str], title: str) -> str:
    """The SVG text. A vertical line stands at each of `marks`, with its letter above."""
    dates = [day for panel in panels for line in panel.series for day in line]
    first, last = min(dates), max(dates)
    height = _TOP + len(panels) * (_PANEL + _GAP) + _FOOT

    def across(day: date) -> float:
        return _LEFT + (day - first).days / max((last - first).days, 1) * (_WIDTH - _LEFT - _RIGHT)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        _text(_LEFT, 24, title, size=15),
    ]
    for number, name in enumerate(legend):
        parts.append(_text(_LEFT + 250 * number, 44, f"— {name}", colour=_STYLES[number][0] if number else "#5b9bc8"))
    bottom = _TOP + len(panels) * (_PANEL + _GAP) - _GAP
    for day, letter in marks.items():
        parts.append(_line([(across(day), _TOP - 8), (across(day), bottom)], _MARK, 1, "2 3"))
        parts.append(_text(across(day), _TOP - 11, letter, anchor="middle", size=10))
    for number, panel in enumerate(panels):
        parts += _drawn(panel, _TOP + number * (_PANEL + _GAP), across)
    for day in (one for one in sorted(set(dates)) if one.day == 1):
        parts.append(_text(across(day), bottom + 16, f"1 {day:%b}", anchor="middle"))
        parts.append(_line([(across(day), bottom), (across(day), bottom + 4)], "#222222", 1, ""))
    told = "P policy changed, R vault lost and put back, J clock wrong, N nobody there, W batch taken out or replaced"
    parts.append(_text(_LEFT, height - 12, told, size=11))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _drawn(panel: Panel, top: float, across: Callable[[date], float]) -> list[str]:
    most = max([1, *(value for line in panel.series for value in line.values())])
    step = max(1, 10 ** (len(str(most)) - 1))
    step = step if most // step > 2 else max(1, step // 2)

    def down(value: float) -> float:
        return top + _PANEL - value / (most * 1.05) * _PANEL

    parts = [_text(_LEFT + 6, top - 4, panel.name, size=13)]
    for tick in range(0, most + 1, step):
        parts.append(_line([(_LEFT, down(tick)), (_WIDTH - _RIGHT, down(tick))], "#e4e4e4", 1, ""))
        parts.append(_text(_LEFT - 8, down(tick) + 4, f"{tick:,}", anchor="end", size=10))
    for (colour, width, dashes), line in zip(_STYLES, panel.series, strict=False):
        points = [(across(day), down(value)) for day, value in sorted(line.items())]
        parts.append(_line(points, colour, width, dashes))
    return parts


def _line(points: Sequence[tuple[float, float]], colour: str, width: int, dashes: str) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"{dashed}/>'


def _text(x: float, y: float, text: str, anchor: str = "start", colour: str = "#222222", size: int = 12) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" font-size="{size}">{escape(text)}</text>'
    )
