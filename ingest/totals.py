"""Control totals and the file sequence: what a file says about itself, held against what was read of it.

A mismatch is a value, not an error: the caller holds the batch until a person accepts it. The sentences give both
values (counts, milliseconds), never anything out of a record.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import polars as pl

from ingest.durations import whole
from ingest.errors import FeedError
from ingest.raw import ROW, Raw
from ingest.rules import DURATION_KINDS
from ingest.table import Table

_LONGEST_NAME: Final = 255
"""Characters of a file name that are looked at."""


@dataclass(frozen=True, slots=True)
class Sum:
    """The trailer's field `total` is the sum of `field` over all records, both written as `kind`."""

    field: str
    total: str
    kind: str


@dataclass(frozen=True, slots=True)
class Totals:
    """What a trailer promises: the number of records, sums, fields equal to the header's, record numbers in steps."""

    count: str | None = None
    sums: tuple[Sum, ...] = ()
    same: tuple[str, ...] = ()
    step_field: str | None = None
    step: int = 1

    @property
    def trailing(self) -> set[str]:
        """The fields of the trailer that the totals read."""
        return {total.total for total in self.sums} | {*self.same, *([self.count] if self.count else [])}

    def uses(self) -> set[str]:
        """The record fields that the totals read."""
        return {total.field for total in self.sums} | ({self.step_field} if self.step_field else set())


@dataclass(frozen=True, slots=True)
class Sequence:
    """Where a file has its number: group `seq` of `file_name`, or `field` of the header; `modulus` where it wraps."""

    file_name: str | None = None
    field: str | None = None
    modulus: int | None = None


def parse_totals(table: Table | None) -> Totals | None:
    """The totals of a `[totals]` table."""
    if table is None:
        return None
    sums = []
    for inner in table.tables("sum"):
        kind = inner.one_of("as", ("integer", *DURATION_KINDS), "integer")
        sums.append(Sum(inner.needed("field"), inner.needed("total"), kind))
        inner.done()
    step = table.table("step")
    field, by = (step.needed("field"), step.integer("by") or 1) if step else (None, 1)
    if step:
        step.done()
    totals = Totals(table.text("count"), tuple(sums), table.texts("same"), field, by)
    table.done()
    return totals


def parse_sequence(table: Table | None) -> Sequence | None:
    """The sequence of a `[sequence]` table."""
    if table is None:
        return None
    sequence = Sequence(table.pattern("file_name"), table.text("field"), table.integer("modulus"))
    table.done()
    if (sequence.file_name is None) == (sequence.field is None):
        raise table.refuse("field", "or file_name must say where the sequence number stands, one of the two")
    if sequence.file_name is not None and "seq" not in re.compile(sequence.file_name).groupindex:
        raise table.refuse("file_name", "must have a group named seq")
    if sequence.modulus is not None and sequence.modulus < 2:
        raise table.refuse("modulus", "must be 2 or more")
    return sequence


def _amount(text: str, kind: str) -> int | None:
    """One value out of a trailer; None when it is not of the form."""
    found: int | None = whole(pl.Series([text], dtype=pl.String), kind)[0]
    return found


def mismatches(totals: Totals | None, raw: Raw) -> tuple[str, ...]:
    """The totals of `raw` that do not hold, a sentence each."""
    if totals is None:
        return ()
    if not raw.trailer:
        return ("the file has no trailer, so its control totals are not known",)
    found = []
    if totals.count is not None:
        records = raw.fields.height + raw.rejections.height + raw.joined
        said = _amount(raw.trailer.get(totals.count, ""), "integer")
        if said != records:
            found.append(f"the trailer says {_said(said)} records, the file has {records}")
    for total in totals.sums:
        rows = whole(raw.fields[total.field], total.kind)
        said = _amount(raw.trailer.get(total.total, ""), total.kind)
        if said != rows.sum():
            unit = "" if total.kind == "integer" else " ms"
            found.append(f"the trailer says {_said(said)}{unit} as {total.total}, the records give {rows.sum()}{unit}")
    found += [
        f"header and trailer give a different {name}"
        for name in totals.same
        if raw.header.get(name) != raw.trailer.get(name)
    ]
    if totals.step_field is not None:
        numbers = whole(raw.fields.sort(ROW)[totals.step_field], "integer")
        wrong = int((numbers.diff() != totals.step).fill_null(value=True).sum()) - min(1, numbers.len())
        if wrong:
            found.append(f"{wrong} of {numbers.len()} records do not follow in {totals.step_field} by {totals.step}")
    return tuple(found)


def _said(value: int | None) -> str:
    return "nothing" if value is None else str(value)


def sequence_number(sequence: Sequence | None, own: str | None, raw: Raw, file_name: str) -> int | None:
    """The file's sequence number; None when nothing says where it stands or the file does not carry it.

    `own` is the source's regular expression over the file name, with a group `seq`; it goes before the feed's.
    """
    if own is not None:
        if "seq" not in re.compile(own).groupindex:
            raise FeedError("the sequence rule of a source must have a group named seq; correct sources.toml")
        text = _in_name(own, file_name)
    elif sequence is None:
        return None
    elif sequence.field is not None:
        text = raw.header.get(sequence.field, "")
    else:
        text = _in_name(sequence.file_name or "", file_name)
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None


def _in_name(pattern: str, file_name: str) -> str:
    """Group `seq` of `pattern` in the file name, which a sender chose: by Polars, which takes linear time for any."""
    group = re.compile(pattern).groupindex["seq"]
    # A name whose bytes are no text has surrogates in Python, which Polars can't take.
    name = file_name[:_LONGEST_NAME].encode(errors="backslashreplace").decode()
    try:
        found: str | None = pl.Series([name]).str.extract(pattern, group)[0]
    except pl.exceptions.ComputeError as error:
        raise FeedError("the sequence rule of a source must do without look-around; correct sources.toml") from error
    return found or ""
