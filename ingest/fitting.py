"""How the rows of a delimited file fit the shapes it may have, and which shape it is: the one that most rows fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from ingest.errors import FileRefused
from ingest.lines import CONTROL, Lines, Mask, plural
from ingest.plain import separators
from ingest.raw import Dialect, Shape
from ingest.separation import Scan

QUOTING: Final = "quoting"


@dataclass(frozen=True, slots=True)
class Tally:
    """How the rows of a file, or of a part of it, fit the shapes that it may have.

    By the name of a shape: `fits`, how many rows do; `widths`, how many rows have so many columns as it separates them;
    `cut`, the sentence that refuses a file whose last row is cut in that shape. `rows` counts neither empty lines nor
    headers.
    """

    rows: int
    fits: Mapping[str, int]
    widths: Mapping[str, Mapping[int, int]]
    cut: Mapping[str, str]


def tally_of(
    lines: Lines,
    rows: Mask,
    shapes: Sequence[Shape],
    scans: Mapping[tuple[str, str | None], Scan],
    dialect: Dialect,
    fitting: Mapping[str, Mask],
) -> Tally:
    """The tally of `rows`, of which those in `fitting` fit the shape of that name."""
    fits = {name: int(np.count_nonzero(mask)) for name, mask in fitting.items()}
    height = int(np.count_nonzero(rows))
    widths: dict[str, dict[int, int]] = {}
    cut: dict[str, str] = {}
    for shape in shapes:
        scan = scans[separators(shape, dialect)]
        if fits[shape.name] < height:
            numbers, counts = np.unique(scan.columns[rows], return_counts=True)
            widths[shape.name] = dict(zip(numbers.tolist(), counts.tolist(), strict=True))
        else:
            widths[shape.name] = {len(shape.columns): height}
        try:
            _require_whole(lines, scan, shape, rows)
        except FileRefused as refused:
            cut[shape.name] = str(refused)
    return Tally(height, fits, widths, cut)


def decide(tally: Tally, shapes: Sequence[Shape], named_shape: str | None) -> Shape:
    """The shape of a file with rows: the one that most of them fit. Raises `FileRefused` as `parse` does."""
    most = max(tally.fits[shape.name] for shape in shapes)
    best = [shape for shape in shapes if tally.fits[shape.name] == most]
    if len(best) > 1 and named_shape is not None:
        best = [shape for shape in best if shape.name == named_shape] or best
    chosen, misfit = best[0], 2 * most < tally.rows
    if (not misfit or tally.rows == 1) and chosen.name in tally.cut:
        raise FileRefused(tally.cut[chosen.name])
    if misfit:
        widths = tally.widths[chosen.name]
        columns = min(widths, key=lambda number: (-widths[number], number))
        raise FileRefused(
            f"{most} of {plural(tally.rows, 'row')} fit a shape of this feed ({_expected(shapes)}), most rows have "
            f"{plural(columns, 'column')}: it is of another form; choose the feed it belongs to or declare its shape"
        )
    if len(best) > 1:
        names = _either([shape.name for shape in best])
        raise FileRefused(
            f"the rows fit several shapes equally well ({_expected(best)}): name {names} as the shape in sources.toml"
        )
    return chosen


def reason_of(scan: Scan, shape: Shape, index: int, clean: bool) -> str:
    """Why line `index` does not fit `shape`."""
    if scan.broken[index]:
        return QUOTING
    found, wanted = int(scan.columns[index]), len(shape.columns)
    if found != wanted:
        # A shape is mostly named after its number of columns: twice the same would read as a riddle.
        named = "" if shape.name == str(wanted) else f" (shape {shape.name})"
        return f"has {plural(found, 'column')} instead of {wanted}{named}"
    return CONTROL


def _expected(shapes: Sequence[Shape]) -> str:
    """The numbers of columns of `shapes` in words, with the names where two have the same number."""
    names: dict[int, list[str]] = {}
    for shape in sorted(shapes, key=lambda shape: len(shape.columns)):
        names.setdefault(len(shape.columns), []).append(shape.name)
    words = [f"{number} ({_either(same)})" if len(same) > 1 else str(number) for number, same in names.items()]
    return f"{_either(words)} column{'' if words == ['1'] else 's'}"


def _either(words: Sequence[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _require_whole(lines: Lines, scan: Scan, shape: Shape, rows: Mask) -> None:
    if lines.terminated or not rows[-1]:
        return
    if scan.open[-1] or (not scan.broken[-1] and scan.columns[-1] < len(shape.columns)):
        raise FileRefused(
            f"row {lines.units}, the last, ends without a line end inside its "
            f"{'quotes' if scan.open[-1] else 'columns'}: the file is truncated; ask for it again"
        )
