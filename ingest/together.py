"""Several small files of one source, read together: each is parsed by itself, as its form asks, and what the feed says
of rows is carried out once for the rows of all. The reading of each is that of the file alone.

Most of what a small file costs is the same whatever its number of rows; here it is paid once. Only for delimited feeds
that are read in slices (`ingest.course.in_slices`), whose lines say all that they mean, and that ignore no rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from ingest import delimited
from ingest.course import in_slices
from ingest.learned import Learned
from ingest.lines import frame
from ingest.plan import Plan
from ingest.raw import REJECTIONS, ROW, Raw
from ingest.read import Reading, _notes, _occurrences, _ordered, carried_out, without_content
from ingest.sound import TOLERANCE
from ingest.source import Source
from ingest.totals import sequence_number

if TYPE_CHECKING:
    from ingest.feed import Feed

_FILE = "file"


@dataclass(frozen=True, slots=True)
class Parsed:
    """A file whose lines were told apart and cut into fields, and nothing more."""

    data: bytes = field(repr=False)
    name: str
    raw: Raw = field(repr=False)


def together(feed: Feed) -> bool:
    """Whether files of `feed` can be read together."""
    return feed.reader == "delimited" and in_slices(feed) and not feed.ignore


def parse(data: bytes, feed: Feed, source: Source, file_name: str) -> Parsed:
    """The file `data`, unpacked, as far as it is read by itself. Raises `FileRefused`."""
    raw = delimited.parse(data, feed.shapes, feed.dialect, source.shape, feed.used(source.identity))
    return Parsed(data, file_name, without_content(raw, feed))


def read_together(
    files: Sequence[Parsed], feed: Feed, source: Source, arrived: datetime, learned: Learned | None = None
) -> list[Reading]:
    """The readings of `files`, which arrived at `arrived` (aware), each as `ingest.read.read` gives it.

    Raises `FeedError` for a source that does not fit its feed, `IngestError` when a unit would be lost.
    """
    plan = Plan(feed, source, arrived + TOLERANCE, learned=learned)
    readings: list[Reading | None] = [None] * len(files)
    for shape in dict.fromkeys(file.raw.shape for file in files):
        places = [place for place, file in enumerate(files) if file.raw.shape == shape]
        alike = _of_one_shape([files[place] for place in places], feed, source, arrived, plan)
        for place, reading in zip(places, alike, strict=True):
            readings[place] = reading
    return [reading for reading in readings if reading is not None]


def _of_one_shape(files: Sequence[Parsed], feed: Feed, source: Source, arrived: datetime, plan: Plan) -> list[Reading]:
    units = [file.raw.units for file in files]
    starts = [int(start) for start in np.cumsum([0, *units])]
    data = b"".join(file.data if file.data.endswith(b"\n") else file.data + b"\n" for file in files)
    if len(files) > 1 and not feed.content and frame(data).units != starts[-1]:
        # A line end of one file and the next would be taken for one: then no row is found by its number.
        return [reading for file in files for reading in _of_one_shape([file], feed, source, arrived, plan)]
    fields = [file.raw.fields.with_columns(pl.col(ROW) + start) for file, start in zip(files, starts, strict=False)]
    rows = pl.concat(fields, how="diagonal", rechunk=True)
    raw = Raw(rows, pl.DataFrame(schema=REJECTIONS), {}, 0, rows.height, files[0].raw.shape)
    whole = carried_out(raw, data, 0, feed, source, arrived, plan)
    records = {name: _numbered(part, whole.identified[name], starts) for name, part in whole.records.items()}
    return [_of_file(file, start, whole, records, feed, source) for file, start in zip(files, starts, strict=False)]


def _numbered(records: pl.DataFrame, identified: pl.Series, starts: Sequence[int]) -> pl.DataFrame:
    """`records` with their occurrence, which counts within a file."""
    files = np.searchsorted(starts, records[ROW].to_numpy(), side="left")
    apart = records.with_columns(pl.Series(_FILE, files, dtype=pl.Int32))
    return _ordered(records.with_columns(_occurrences(apart, identified)))


def _of_file(
    file: Parsed, start: int, whole: Reading, records: dict[str, pl.DataFrame], feed: Feed, source: Source
) -> Reading:
    """What of `whole` is of the `file` whose rows stand after `start` others."""
    mine: dict[str, pl.DataFrame] = {}
    for name, part in records.items():
        first, last = np.searchsorted(part[ROW].to_numpy(), [start, start + file.raw.units], side="right").tolist()
        if last > first:
            mine[name] = part[first:last].with_columns(pl.col(ROW) - start)
    notes: Counter[str] = Counter()
    if whole.notes:
        for part in mine.values():
            notes.update(_notes(part))
    rejected = whole.rejections.filter(_between(whole.rejections[ROW], start, start + file.raw.units))
    moved = rejected.set_column(0, rejected.schema.field(0), pc.subtract(rejected[ROW], start))
    early = file.raw.rejections.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(moved.schema)
    return replace(
        whole,
        records=mine,
        rejections=pa.concat_tables([early, moved]).sort_by(ROW),
        ignored=dict(file.raw.ignored),
        units=file.raw.units,
        sequence=sequence_number(feed.sequence, source.sequence, file.raw, file.name),
        notes=dict(sorted((+notes).items())),
        identified={},
    )


def _between(rows: pa.ChunkedArray, after: int, until: int) -> pa.ChunkedArray:
    return pc.and_(pc.greater(rows, after), pc.less_equal(rows, until))
