"""Reads fixed-width text: one record per line, told apart by what the line starts with.

A file may have a header, its first line, and a trailer, its last; their fields are handed on for control totals. A
trailer proves that the file is whole: where one is declared, a file without it is refused, an empty file too. Positions
count bytes; blanks around a value are filling and are cut.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import permutations
from typing import Final

import numpy as np
import polars as pl

from ingest.errors import FeedError, FileRefused
from ingest.lines import (
    CONTROL,
    EMPTY_LINE,
    Lines,
    Mask,
    Positions,
    codec_name,
    controlled,
    decode,
    doubtful,
    finish,
    frame,
    plural,
    reject,
)
from ingest.raw import READ_NOTE, ROW, Dialect, FixedRecord, Raw

HEADER: Final = "header"
TRAILER: Final = "trailer"


def parse(
    data: bytes,
    records: Sequence[FixedRecord],
    header: FixedRecord | None,
    trailer: FixedRecord | None,
    dialect: Dialect,
) -> Raw:
    """The lines of `data` that are one of `records` as text columns; where there are several, all their columns.

    Raises `FileRefused` for a file that is not text, lacks its header or trailer or has one too many, of whose other
    lines fewer than half are records, or that holds a field which no declared encoding decodes.
    """
    _require_sound(records, [record for record in (header, trailer) if record is not None], dialect)
    lines = frame(data)
    rows = ~lines.empty
    ignored = Counter({EMPTY_LINE: lines.units - int(np.count_nonzero(rows))})
    framing: dict[str, dict[str, str]] = {HEADER: {}, TRAILER: {}}
    filled = np.flatnonzero(rows)
    if header is not None and filled.size:
        if not _is_whole(lines, header)[filled[0]]:
            raise FileRefused(
                f"the first line is no {header.name} of this feed ({header.length} bytes from {header.prefix} on): its "
                "start is missing or it is of another form; ask for it again or choose the feed it belongs to"
            )
        framing[HEADER] = _values(lines, header, filled[:1], dialect)
        rows[filled[0]], ignored[HEADER] = False, 1
    if trailer is not None:
        if not filled.size or not _is_whole(lines, trailer)[filled[-1]]:
            raise FileRefused(
                f"the file does not end with a {trailer.name} ({trailer.length} bytes from {trailer.prefix} on): it is "
                "truncated; ask for it again"
            )
        framing[TRAILER] = _values(lines, trailer, filled[-1:], dialect)
        rows[filled[-1]], ignored[TRAILER] = False, 1
    for extra in (record for record in (header, trailer) if record is not None):
        if (rows & _starts_with(lines, extra.prefix)).any():
            raise FileRefused(
                f"the file holds more than one {extra.name}: several files were joined; deliver them apart"
            )

    clean = ~controlled(lines)
    mine = {record.prefix: rows & clean & _is_whole(lines, record) for record in records}
    fits: Mask = np.logical_or.reduce(list(mine.values()))
    height, fitting = int(np.count_nonzero(rows)), int(np.count_nonzero(fits))
    if 2 * fitting < height:
        raise FileRefused(
            f"{fitting} of {plural(height, 'line')} have the start and the length of a record of this feed: it is of "
            "another form; choose the feed it belongs to"
        )
    fields = [_read(lines, record, np.flatnonzero(mine[record.prefix]), dialect) for record in records]
    bad = np.flatnonzero(rows & ~fits)
    return Raw(
        fields=pl.concat(fields, how="diagonal").sort(ROW),
        rejections=reject(lines, bad, [_reason(lines, records, int(index)) for index in bad]),
        ignored=dict(+ignored),
        joined=0,
        units=lines.units,
        shape=records[0].name if len(records) == 1 else None,
        header=framing[HEADER],
        trailer=framing[TRAILER],
    )


def _require_sound(records: Sequence[FixedRecord], extras: Sequence[FixedRecord], dialect: Dialect) -> None:
    if not records or not dialect.encodings:
        raise FeedError("a fixed-width feed declares at least one record and one encoding")
    for encoding in dialect.encodings:
        codec_name(encoding)
    every = [*records, *extras]
    for record in every:
        if not record.prefix.isascii() or any(not 0 <= a < b <= record.length for a, b in record.fields.values()):
            raise FeedError(
                f"record {record.name}: its start is ASCII and each field lies inside its {record.length} bytes"
            )
        if {ROW, READ_NOTE} & set(record.fields):
            raise FeedError(f"record {record.name}: no field is named {ROW} or {READ_NOTE}")
    for one, other in permutations(every, 2):
        if one.prefix.startswith(other.prefix):
            raise FeedError(f"records {one.name} and {other.name}: each line starts as one of them only")


def _starts_with(lines: Lines, prefix: str) -> Mask:
    starts = np.asarray(lines.ends - lines.starts >= len(prefix))
    places = np.flatnonzero(starts)
    for offset, octet in enumerate(prefix.encode()):
        starts[places] &= lines.octets[lines.starts[places] + offset] == octet
    return starts


def _is_whole(lines: Lines, record: FixedRecord) -> Mask:
    return np.asarray(_starts_with(lines, record.prefix) & (lines.ends - lines.starts == record.length))


def _reason(lines: Lines, records: Sequence[FixedRecord], index: int) -> str:
    line = lines.raw(index)
    for record in records:
        if line.startswith(record.prefix.encode()):
            if len(line) == record.length:
                return CONTROL
            return f"has {plural(len(line), 'byte')} instead of {record.length} (record {record.name})"
    return "starts as no record of this feed"


def _values(lines: Lines, record: FixedRecord, index: Positions, dialect: Dialect) -> dict[str, str]:
    row = _read(lines, record, index, Dialect(null=(), encodings=dialect.encodings)).row(0, named=True)
    return {name: row[name] for name in record.fields}


def _read(lines: Lines, record: FixedRecord, index: Positions, dialect: Dialect) -> pl.DataFrame:
    doubt = doubtful(lines, dialect.encodings)
    columns: dict[str, pl.Series] = {}
    notes: list[pl.Series] = []
    for name, (first, end) in record.fields.items():
        starts = lines.starts[index]
        text, note = decode(lines, starts + first, starts + end, doubt, dialect.encodings, index + 1)
        columns[name] = text.str.strip_chars(" ")
        if note is not None:
            notes.append(note)
    return finish(columns, notes, index + 1, dialect.null)
