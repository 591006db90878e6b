"""What a person sees: one JSON object on stdout with `--json`, a Rich table otherwise; progress on stderr, on a
terminal only.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from trafficvault import wording
from trafficvault.period import Period
from trafficvault.progress import Progress

# Rich is imported where something is drawn: a verb that answers in JSON, or that no terminal shows, draws nothing.
if TYPE_CHECKING:
    from rich.console import Console

_PIPE_COLUMNS = 200
_WORD = 32
_SPANS = ("term", "hold_for")
"""Facts that are told as an ISO 8601 duration."""
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)")
_DRAWS = {"FORCE_COLOR", "TTY_COMPATIBLE"}
"""With one of these in the environment, Rich may take a file or a pipe for a terminal."""


def print_object(value: dict[str, object]) -> None:
    """Prints `value` as the one JSON object of a `--json` run."""
    print(_printable(json.dumps(value, ensure_ascii=False, indent=2, default=str)))


def print_lines(lines: Iterable[str]) -> None:
    """Prints sentences as they are: no markup, no wrapping that a pipe would not want."""
    for line in lines:
        print(_printable(line))


def facts_for_people(facts: Mapping[str, object], zone: str) -> dict[str, object]:
    """`facts` of a row or a document with each moment among them (RFC 3339) and each span (`_SPANS`) in words."""
    return {name: _in_words(name, value, zone) for name, value in facts.items()}


def _in_words(name: str, value: object, zone: str) -> object:
    if not isinstance(value, str):
        return value
    if name in _SPANS and re.fullmatch(r"P[0-9YMWDTHS]+", value):
        return Period.parse(value).words("en")
    return wording.moment(value, zone) if _MOMENT.fullmatch(value) else value


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Prints a table; an empty one says so."""
    from rich.table import Table

    console = _wide()
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0), pad_edge=False)
    numbers = [True] * len(columns)
    lines = [list(row) for row in rows]
    for line in lines:
        numbers = [keep and isinstance(cell, int) for keep, cell in zip(numbers, line, strict=True)]
    for place, (name, is_number) in enumerate(zip(columns, numbers, strict=True)):
        # An id, a state or a number is copied from the screen: only sentences are broken over lines.
        whole = all(" " not in str(line[place]) and len(str(line[place])) <= _WORD for line in lines)
        table.add_column(name, justify="right" if is_number and lines else "left", overflow="fold", no_wrap=whole)
    for line in lines:
        table.add_row(*("" if cell is None else _printable(str(cell)) for cell in line))
    if lines:
        console.print(table, markup=False)
    else:
        console.print(f"{title}: none", markup=False)


def plain(value: object) -> str:
    """`value` in words, for a cell of a table: lists and objects without brackets, yes and no."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case dict():
            return "; ".join(f"{name}: {plain(part)}" for name, part in value.items())
        case list() | tuple():
            return ", ".join(plain(part) for part in value)
        case _:
            return str(value)


def _wide() -> Console:
    """The terminal; where output goes to a file or a pipe, lines wide enough for `grep`."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=_PIPE_COLUMNS)


def _printable(text: str) -> str:
    """`text` with an escape, which JSON reads back, for each byte of a file name that is no text."""
    return text.encode(errors="backslashreplace").decode()


@contextmanager
def progress(title: str, total: int | None = None) -> Iterator[Callable[[str | Progress], None]]:
    """Shows `title` with what is being done, while the block runs: on a terminal only, and never on stdout.

    What is told by `Progress` has its rows, their rate, the share done and the time left; what is told by a word alone
    counts the words, out of `total` where that is known.
    """
    if not (sys.stderr.isatty() or _DRAWS & os.environ.keys()):
        yield lambda news: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    bar = Bar(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[told]}", markup=False),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
    with bar:
        task = bar.add_task(title, total=total, told="")
        began, steps = time.monotonic(), 0

        def step(news: str | Progress) -> None:
            nonlocal steps
            steps += 1
            if isinstance(news, str):
                told = f"{steps}/{total}" if total else str(steps)
                bar.update(task, description=f"{title}: {news}", completed=steps, total=total, told=told)
                return
            told = _told(news, time.monotonic() - began)
            whole = news.whole or None
            bar.update(task, description=f"{title}: {news.step}", completed=news.done, total=whole, told=told)

        yield step


def _told(news: Progress, seconds: float) -> str:
    """Rows and their rate, and how much of the whole: `1,200,000 rows  410,000/s  96.1/127.0 MB`."""
    parts = []
    if news.rows:
        rate = f"  {news.rows / seconds:,.0f}/s" if seconds >= 1 else ""
        parts.append(f"{news.rows:,} rows{rate}")
    if news.unit == "bytes":
        whole = f"/{news.whole / 1e6:,.1f}" if news.whole else ""
        parts.append(f"{news.done / 1e6:,.1f}{whole} MB")
    elif news.unit:
        whole = f"/{news.whole:,}" if news.whole else ""
        parts.append(f"{news.done:,}{whole} {news.unit}")
    return "  ".join(parts)
