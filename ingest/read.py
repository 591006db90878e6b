"""The whole way of a file: bytes in; records per class, rejections and an account of every unit out.

1. `unpack` the bytes, parse them by the feed's reader: text columns and the first rejections;
2. drop content, before anything else sees it; join lines that alone lack a time; hold the control totals;
3. set apart what the feed ignores or rejects by its own conditions;
4. map to canonical columns; reject what has no anchor, a time in the future, or columns that contradict each other;
5. number equal rows, build the tables, and prove that nothing is lost.

No clock, no key, no file: what arrives when is told by the caller. Nothing of a record enters an error or a reason.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from ingest import delimited, documents, fixed
from ingest.conditions import holds
from ingest.errors import IngestError
from ingest.joining import join
from ingest.lines import frame
from ingest.mapping import CLASS, IDENTIFIED, REASON, canonical
from ingest.raw import READ_NOTE, ROW, Raw
from ingest.record import COLUMNS, INTERVAL_CLASSES, SCHEMA
from ingest.sound import EVENT_ANCHOR, INTERVAL_ANCHOR, TOLERANCE, contradiction, ended
from ingest.sound import FUTURE as FUTURE
from ingest.source import Source
from ingest.totals import mismatches, sequence_number
from ingest.unpack import unpack

if TYPE_CHECKING:
    from ingest.definition import Verdict
    from ingest.feed import Feed

LIMIT: Final = 1 << 28
UNKNOWN_NUMBERS: Final = "unknown numbers"
"""The note that counts parties whose number no rule of the number plan explains."""
REJECTIONS: Final = pa.schema([("row", pa.int64()), ("reason", pa.string()), ("raw", pa.binary())])


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What one file gave. Its repr shows counts only, never a value.

    `records` has a table per class: the canonical columns that hold a value, in schema order, with `row`,
    `occurrence`, `source` and `feed_digest`. `rejections` has the raw line only where the feed has no content.
    `mismatches` are control totals that do not hold, `notes` counts what the reader had to assume. It always holds
    that `units == records + rejections + ignored + joined`.
    """

    records: dict[str, pa.Table] = field(repr=False)
    rejections: pa.Table = field(repr=False)
    ignored: dict[str, int]
    joined: int
    units: int
    mismatches: tuple[str, ...]
    sequence: int | None
    notes: dict[str, int]
    shape: str | None


def read(data: bytes, feed: Feed, source: Source, arrived: datetime, file_name: str, limit: int = LIMIT) -> Reading:
    """The records of the file `data` of `source`, which arrived at `arrived` (aware) under `file_name`.

    `limit` bounds the unpacked bytes. Raises `FileRefused` for a whole file, `FeedError` for a source that does not fit
    its feed, `IngestError` when a unit would be lost.
    """
    data = unpack(data, limit)
    raw = _parse(data, feed, source)
    if feed.content:
        raw = replace(raw, fields=raw.fields.drop(feed.content, strict=False), rejections=_without_raw(raw.rejections))
    raw = _joined(raw, feed)
    found = mismatches(feed.totals, raw)
    ignored, rejected, fields = _set_apart(raw, feed)
    mapped = ended(canonical(fields, feed, source, raw.shape, arrived + TOLERANCE), CLASS)
    mapped = mapped.with_columns(pl.coalesce(REASON, contradiction(mapped, CLASS, arrived)).alias(REASON))
    wrong = mapped.filter(pl.col(REASON).is_not_null()).select("row", pl.col(REASON).alias("reason"))
    rejections = pl.concat([raw.rejections, _with_raw(pl.concat([rejected, wrong]), data, feed)]).sort("row")
    kept = mapped.filter(pl.col(REASON).is_null()).drop(REASON)
    kept = kept.with_columns(_occurrences(kept)).drop(IDENTIFIED)
    records = {
        name: _table(kept.filter(pl.col(CLASS) == name) if len(classes) > 1 else kept, feed, source)
        for classes in [sorted(kept[CLASS].unique())]
        for name in classes
    }
    reading = Reading(
        records=records,
        rejections=rejections.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(REJECTIONS),
        ignored=dict(ignored),
        joined=raw.joined,
        units=raw.units,
        mismatches=found,
        sequence=sequence_number(feed.sequence, source.sequence, raw, file_name),
        notes=_notes(kept),
        shape=raw.shape,
    )
    _require_balance(reading, feed)
    return reading


def anchor(table: pa.Table, record_class: str) -> pa.ChunkedArray:
    """The moment that puts each record of `record_class` on its day: the start; of intervals end or latest report."""
    names = INTERVAL_ANCHOR if record_class in INTERVAL_CLASSES else EVENT_ANCHOR
    columns = [table[name] for name in names if name in table.column_names]
    if not columns:
        return pa.chunked_array([pa.nulls(table.num_rows, SCHEMA.field("start").type)])
    return columns[0] if len(columns) == 1 else pc.coalesce(*columns)


def _parse(data: bytes, feed: Feed, source: Source) -> Raw:
    if feed.reader == "fixed":
        return fixed.parse(data, feed.records, feed.header, feed.trailer, feed.dialect)
    if feed.reader == "documents":
        raw = documents.parse(data, frozenset(feed.fields()))
        unknown = list(feed.dialect.null)
        texts = pl.col(feed.fields())
        return replace(raw, fields=raw.fields.with_columns(pl.when(~texts.is_in(unknown)).then(texts).name.keep()))
    return delimited.parse(data, feed.shapes, feed.dialect, source.shape)


def _joined(raw: Raw, feed: Feed) -> Raw:
    if feed.joining is None or not set(feed.joining.fields) <= set(raw.fields.columns):
        return raw
    fields, joined = join(
        raw.fields,
        feed.joining.on,
        feed.joining.time,
        method=feed.joining.method,
        taker=feed.joining.taker,
        giver=feed.joining.giver,
    )
    return replace(raw, fields=fields, joined=raw.joined + joined)


def _set_apart(raw: Raw, feed: Feed) -> tuple[Counter[str], pl.DataFrame, pl.DataFrame]:
    """The rows ignored, counted by reason; those rejected; the fields that are left."""
    fields, ignored = raw.fields, Counter(raw.ignored)
    rejected = [pl.DataFrame(schema={"row": pl.Int64, "reason": pl.String})]
    for verdict in (*feed.ignore, *feed.reject):
        met = fields.select(_met(verdict, fields)).to_series()
        count = int(met.sum())
        if not count:
            continue
        if verdict in feed.ignore:
            ignored[verdict.reason] += count
        else:
            rejected.append(fields.filter(met).select(ROW, pl.lit(verdict.reason).alias("reason")))
        fields = fields.filter(~met)
    return ignored, pl.concat(rejected), fields


def _met(verdict: Verdict, fields: pl.DataFrame) -> pl.Expr:
    return holds(verdict.conditions, fields.columns)


def _without_raw(rejections: pl.DataFrame) -> pl.DataFrame:
    return rejections.with_columns(pl.lit(None, dtype=pl.Binary).alias("raw"))


def _with_raw(rejected: pl.DataFrame, data: bytes, feed: Feed) -> pl.DataFrame:
    """The rejections with the bytes of their lines; without them where the feed has content."""
    if feed.content or not rejected.height:
        return _without_raw(rejected)
    lines = frame(data)
    raw = [lines.raw(row - 1) for row in rejected["row"]]
    return rejected.with_columns(pl.Series("raw", raw, dtype=pl.Binary))


def _occurrences(kept: pl.DataFrame) -> pl.Series:
    """0 for the first of equal rows without identity, then 1, 2, …; always 0 for rows with one."""
    own = [name for name in kept.columns if name not in (ROW, READ_NOTE, IDENTIFIED)]
    numbers = pl.Series("occurrence", [0], dtype=pl.Int32).new_from_index(0, kept.height)
    if kept[IDENTIFIED].all():
        return numbers
    hashes = kept.select(own).hash_rows()
    doubtful = (hashes.is_duplicated() & ~kept[IDENTIFIED]).alias("doubtful")
    if not doubtful.any():
        return numbers
    nested = [name for name in own if kept[name].dtype.is_nested()]
    some = kept.filter(doubtful).select(own).with_columns(_as_text(kept[name].dtype, name) for name in nested)
    counted = some.select(pl.int_range(pl.len(), dtype=pl.Int32).over(own)).to_series()
    return numbers.scatter(doubtful.arg_true(), counted)


def _as_text(dtype: pl.DataType, name: str) -> pl.Expr:
    return pl.struct(name).struct.json_encode().alias(name)


def _table(kept: pl.DataFrame, feed: Feed, source: Source) -> pa.Table:
    """The rows as an Arrow table of the record's schema; only the columns that hold a value."""
    if source.customer is not None and "customer" in kept.columns:
        kept = kept.with_columns(pl.col("customer").fill_null(source.customer))
    names = [name for name in kept.columns if name in SCHEMA.names and kept[name].null_count() < kept.height]
    found = kept.select(names).to_arrow(compat_level=pl.CompatLevel.oldest())
    constants = {"source": source.name, "feed_digest": feed.digest, "customer": source.customer}
    columns = {}
    for column in COLUMNS:
        if column.name in names:
            columns[column.name] = found[column.name].cast(column.type)
        elif constants.get(column.name) is not None:
            columns[column.name] = pa.repeat(pa.scalar(constants[column.name]), kept.height)
    return pa.table(columns)


def _notes(kept: pl.DataFrame) -> dict[str, int]:
    """How many records carry each note of the reader or of a time, and how many parties no number plan explains."""
    counts: Counter[str] = Counter()
    for name in (READ_NOTE, "time_note"):
        if name in kept.columns:
            found = kept[name].drop_nulls().value_counts(sort=False)
            counts.update(dict(found.iter_rows()))
    kinds = [name for name in ("a_kind", "b_kind", "c_kind") if name in kept.columns]
    unknown = sum(int((kept[name] == "unknown").sum()) for name in kinds)
    return dict(sorted((counts + Counter({UNKNOWN_NUMBERS: unknown})).items()))


def _require_balance(reading: Reading, feed: Feed) -> None:
    records = sum(table.num_rows for table in reading.records.values())
    rejected, ignored = reading.rejections.num_rows, sum(reading.ignored.values())
    if reading.units != records + rejected + ignored + reading.joined:
        raise IngestError(
            f"reading a file of feed {feed.name}: {reading.units} units were framed, but {records} records, {rejected} "
            f"rejections, {ignored} ignored and {reading.joined} joined came of them; this is a fault of the reader"
        )
