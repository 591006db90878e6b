"""The examples of a feed, checked when `ingest.feed` loads it: a small file each, and all that must come of it.

A feed is what its examples prove. An example runs through `ingest.read.read`, as every delivered file does. It holds
invented data, so a failing one is shown with its values; nothing else in this package ever puts a value into an error.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from ingest.errors import FeedError, FileRefused
from ingest.lines import codec_name
from ingest.record import BY_NAME, CLASSES, PROVENANCE
from ingest.source import Source
from ingest.table import Table, nearest

if TYPE_CHECKING:
    from ingest.feed import Feed
    from ingest.read import Reading

_NEVER: Final = datetime(2190, 1, 1, tzinfo=UTC)
"""Arrival of an example that states none: behind every time it may hold."""
_TOLD: Final = ("row", "occurrence", "read_note", "record_id")
_SILENT: Final = frozenset(PROVENANCE) - set(_TOLD)


@dataclass(frozen=True, slots=True)
class Example:
    """A raw file and what must come of it; `refused` when the whole file must be refused."""

    name: str
    raw: bytes = field(repr=False)
    shape: str | None = None
    zone: str | None = None
    region: str | None = None
    customer: str | None = None
    record_class: str | None = None
    file_name: str = "example"
    arrived: datetime = _NEVER
    records: tuple[Mapping[str, Any], ...] = ()
    rejections: tuple[tuple[int, str], ...] = ()
    ignored: Mapping[str, int] = field(default_factory=dict)
    joined: int = 0
    mismatches: tuple[str, ...] = ()
    sequence: int | None = None
    refused: bool = False


def parse_examples(tables: list[Table]) -> tuple[Example, ...]:
    """The examples of `[[example]]`."""
    return tuple(_example(table) for table in tables)


def _example(table: Table) -> Example:
    rejections = []
    for inner in table.tables("rejections"):
        row = inner.integer("row")
        if row is None:
            raise inner.refuse("row", "is missing")
        rejections.append((row, inner.needed("reason")))
        inner.done()
    ignored = table.table("ignored")
    counts = {name: ignored.integer(name) or 0 for name in ignored.names()} if ignored else {}
    arrived = table.take("arrived")
    if arrived is not None and (not isinstance(arrived, datetime) or arrived.tzinfo is None):
        raise table.refuse("arrived", "must be a time with its offset")
    raw, encoding = table.needed("raw"), table.text("encoding") or "utf-8"
    try:
        octets = raw.encode(codec_name(encoding))
    except (FeedError, UnicodeEncodeError) as error:
        raise table.refuse("encoding", f"{encoding!r} cannot write the example") from error
    example = Example(
        name=table.needed("name"),
        raw=octets,
        shape=table.text("shape"),
        zone=table.text("zone"),
        region=table.text("region"),
        customer=table.text("customer"),
        record_class=table.one_of("class", CLASSES, "") or None,
        file_name=table.text("file_name") or "example",
        arrived=arrived or _NEVER,
        records=tuple(_record(inner) for inner in table.tables("records")),
        rejections=tuple(rejections),
        ignored=counts,
        joined=table.integer("joined") or 0,
        mismatches=table.texts("mismatches"),
        sequence=table.integer("sequence"),
        refused=table.flag("refused"),
    )
    table.done()
    return example


def _record(table: Table) -> dict[str, Any]:
    known = {"class", *BY_NAME} - _SILENT
    for name in table.names():
        if name not in known:
            raise table.refuse(name, f"is not a column that an example can tell{nearest(name, known)}")
    return {name: _plain(table.take(name), name) for name in table.names()}


def check(feed: Feed, example: Example, *, zone: str, region: str) -> None:
    """Runs `example` and raises `FeedError` with everything that is not as it promises."""
    # Whoever asks how a feed numbers its files runs no example, and needs nothing of what reads a file.
    from ingest.read import read

    where = f"feed {feed.name}, example {example.name!r}"
    source = Source(
        name=feed.name,
        feed=feed.name,
        customer=example.customer,
        record_class=example.record_class,
        zone=example.zone or zone,
        region=example.region or region,
        number_plan=None,
        shape=example.shape,
        sequence=None,
        sequence_modulus=None,
        cadence=None,
        identity=None,
    )
    try:
        reading = read(example.raw, feed, source, example.arrived, example.file_name)
    except FileRefused as error:
        if example.refused:
            return
        raise FeedError(f"{where}: the file is refused: {error}") from error
    if example.refused:
        raise FeedError(f"{where}: the file should be refused, it was read")
    rejections = tuple(zip(*(reading.rejections[name].to_pylist() for name in ("row", "reason")), strict=True))
    faults: list[str] = []
    for name, expected, found in (
        ("rejections", example.rejections, rejections),
        ("ignored", dict(example.ignored), reading.ignored),
        ("joined", example.joined, reading.joined),
        ("mismatches", example.mismatches, reading.mismatches),
        ("sequence", example.sequence, reading.sequence),
    ):
        if expected != found:
            faults.append(f"{name} should be {expected!r}, found {found!r}")
    faults += _differences(example, found_records(reading))
    if faults:
        raise FeedError(f"{where}: {'; '.join(faults)}")


def found_records(reading: Reading) -> list[dict[str, Any]]:
    """The records of `reading` by row, as plain values with their `class`; empty columns are left out."""
    found = [
        {"class": name, **{key: _plain(value, key) for key, value in row.items() if value is not None}}
        for name, frame in reading.records.items()
        for row in frame.select([key for key in frame.columns if key not in _SILENT]).to_dicts()
    ]
    return sorted(found, key=lambda record: record["row"])


def _differences(example: Example, found: list[dict[str, Any]]) -> list[str]:
    faults: list[str] = []
    for number, (expected, record) in enumerate(zip(example.records, found, strict=False), start=1):
        told = {"occurrence": 0, **expected}
        silent = {name for name in ("class", "row", "read_note") if name not in expected}
        for name in sorted((set(told) | set(record)) - silent):
            if told.get(name) != record.get(name):
                one, other = _shown(told.get(name)), _shown(record.get(name))
                faults.append(f"record {number}, column {name}: expected {one}, found {other}")
    if len(example.records) != len(found):
        faults.append(f"{len(example.records)} records expected, {len(found)} found")
    return faults


def _shown(value: Any) -> str:
    return "nothing" if value is None else repr(value)


def _plain(value: Any, name: str) -> Any:
    """`value` as an example writes it: a time as RFC 3339 in UTC, an address as text."""
    if isinstance(value, bytes):
        address = ipaddress.IPv6Address(value)
        return str(address.ipv4_mapped or address)
    if name in BY_NAME and pa.types.is_timestamp(BY_NAME[name].type):
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        if not isinstance(moment, datetime) or moment.tzinfo is None:
            raise FeedError(f"{name} of an example must be a time with its offset")
        return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value
