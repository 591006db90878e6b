"""What a person sees: one JSON object on stdout with `--json`, a Rich table otherwise; progress on stderr, on a
terminal only.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

_PIPE_COLUMNS = 200
_WORD = 32


def print_object(value: dict[str, object]) -> None:
    """Prints `value` as the one JSON object of a `--json` run."""
    print(_printable(json.dumps(value, ensure_ascii=False, indent=2, default=str)))


def print_lines(lines: Iterable[str]) -> None:
    """Prints sentences as they are: no markup, no wrapping that a pipe would not want."""
    for line in lines:
        print(_printable(line))


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Prints a table; an empty one says so."""
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
    console = Console()
    return console if console.is_terminal else Console(width=_PIPE_COLUMNS)


def _printable(text: str) -> str:
    """`text` with an escape, which JSON reads back, for each byte of a file name that is no text."""
    return text.encode(errors="backslashreplace").decode()


@contextmanager
def progress(title: str, total: int | None = None) -> Iterator[Callable[[str], None]]:
    """Shows `title` with the step just begun, while the block runs. Without a terminal it shows nothing."""
    console = Console(stderr=True)
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
    with bar:
        task = bar.add_task(title, total=total)

        def step(name: str) -> None:
            bar.update(task, description=f"{title}: {name}", advance=1)

        yield step
