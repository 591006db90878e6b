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

from ingest import delimited, documents, fixed
from ingest.conditions import holds
from ingest.errors import IngestError
from ingest.joining import join
from ingest.learned import Learned
from ingest.lines import frame
from ingest.mapping import CLASS, IDENTIFIED, REASON
from ingest.plan import Plan
from ingest.raw import READ_NOTE, ROW, Raw
from ingest.record import BY_NAME, SCHEMA
from ingest.sound import FUTURE as FUTURE
from ingest.sound import TOLERANCE, contradiction, ended
from ingest.source import Source
from ingest.totals import mismatches, sequence_number
from ingest.unpack import unpack

if TYPE_CHECKING:
    from ingest.definition import Verdict
    from ingest.feed import Feed

LIMIT: Final = 1 << 28
UNKNOWN_NUMBERS: Final = "unknown numbers"
"""The note that counts parties whose number no rule of the number plan explains."""
TYPES: Final[dict[str, pl.DataType]] = dict(pl.DataFrame(pl.from_arrow(SCHEMA.empty_table())).schema)
"""The Polars type of each column of the record, in its order."""
REJECTIONS: Final = pa.schema([("row", pa.int64()), ("reason", pa.string()), ("raw", pa.binary())])


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What one file, or a part of it, gave. Its repr shows counts only, never a value.

    `records` has a frame per class: the canonical columns that hold a value, of the record's types and in its order,
    with `row`, `occurrence`, `source` and `feed_digest`. `rejections` has the raw line only where the feed has no
    content. `mismatches` are control totals that do not hold, `notes` counts what the reader had to assume. It always
    holds that `units == records + rejections + ignored + joined`.

    Of a part (`ingest.course`), `occurrence` is missing, for it counts over the whole file: `identified` tells by class
    which records have an identity, and so are never counted. `given` are the columns that the file's form can fill.
    """

    records: dict[str, pl.DataFrame] = field(repr=False)
    rejections: pa.Table = field(repr=False)
    ignored: dict[str, int]
    joined: int
    units: int
    mismatches: tuple[str, ...]
    sequence: int | None
    notes: dict[str, int]
    shape: str | None
    identified: dict[str, pl.Series] = field(repr=False, default_factory=dict)
    given: tuple[str, ...] = ()


def read(
    data: bytes,
    feed: Feed,
    source: Source,
    arrived: datetime,
    file_name: str,
    limit: int = LIMIT,
    learned: Learned | None = None,
) -> Reading:
    """The records of the file `data` of `source`, which arrived at `arrived` (aware) under `file_name`.

    `limit` bounds the unpacked bytes; `learned` is what earlier files taught. Raises `FileRefused` for a whole file,
    `FeedError` for a source that does not fit its feed, `IngestError` when a unit would be lost.
    """
    data = unpack(data, limit)
    raw = _joined(without_content(_parse(data, feed, source), feed), feed)
    found = mismatches(feed.totals, raw)
    plan = Plan(feed, source, arrived + TOLERANCE, learned=learned)
    reading = carried_out(raw, data, 0, feed, source, arrived, plan)
    records = {
        name: _ordered(frame.with_columns(_occurrences(frame, reading.identified[name])))
        for name, frame in reading.records.items()
    }
    sequence = sequence_number(feed.sequence, source.sequence, raw, file_name)
    return replace(reading, records=records, mismatches=found, sequence=sequence, identified={})


def carried_out(
    raw: Raw, data: bytes, before: int, feed: Feed, source: Source, arrived: datetime, plan: Plan
) -> Reading:
    """What becomes of `raw`, the units of `data`, of which `before` stand before it in the file: steps 3 and 4, and the
    proof that nothing is lost. Its records have no `occurrence` yet. `plan` is that of the file, where it has several
    parts.
    """
    ignored, rejected, fields = _set_apart(raw, feed)
    mapped = plan.mapped(fields, raw.shape)
    kept = ended(mapped.frame, CLASS)
    reasons = [pl.col(REASON)] if REASON in kept.columns else []
    reason = kept.select(pl.coalesce([*reasons, contradiction(kept, CLASS, arrived)]).alias("reason")).to_series()
    if reason.null_count() < kept.height:
        wrong = reason.is_not_null()
        rejected.append(pl.DataFrame([kept[ROW], reason]).filter(wrong))
        kept = kept.filter(~wrong)
    rejections = [raw.rejections, *(_with_raw(frame, data, before, feed) for frame in rejected)]
    given = {*mapped.given, "end"} if {"start", "duration_ms"} <= set(mapped.given) else set(mapped.given)
    parts = _by_class(kept)
    reading = Reading(
        records={name: _records(part, feed, source) for name, part in parts.items()},
        rejections=pl.concat(rejections).sort(ROW).to_arrow(compat_level=pl.CompatLevel.oldest()).cast(REJECTIONS),
        ignored=dict(ignored),
        joined=raw.joined,
        units=raw.units,
        mismatches=(),
        sequence=None,
        notes=_notes(kept),
        shape=raw.shape,
        identified={name: part[IDENTIFIED] for name, part in parts.items()},
        given=tuple(name for name in BY_NAME if name in given),
    )
    _require_balance(reading, feed)
    return reading


def _by_class(kept: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The rows of each class."""
    told = kept[CLASS]
    if kept.height and (told == told[0]).all():
        return {told[0]: kept}
    return {name: kept.filter(told == name) for name in sorted(told.unique())}


def without_content(raw: Raw, feed: Feed) -> Raw:
    """`raw` without the fields that are content, and without the lines that may hold some."""
    if not feed.content:
        return raw
    return replace(raw, fields=raw.fields.drop(feed.content, strict=False), rejections=_without_raw(raw.rejections))


def known_words(raw: Raw, feed: Feed) -> Raw:
    """`raw` of a file of documents, with null for the words that mean nothing is known."""
    unknown = list(feed.dialect.null)
    texts = pl.col(feed.fields())
    return replace(raw, fields=raw.fields.with_columns(pl.when(~texts.is_in(unknown)).then(texts).name.keep()))


def _parse(data: bytes, feed: Feed, source: Source) -> Raw:
    if feed.reader == "fixed":
        return fixed.parse(data, feed.records, feed.header, feed.trailer, feed.dialect)
    if feed.reader == "documents":
        return known_words(documents.parse(data, frozenset(feed.fields())), feed)
    return delimited.parse(data, feed.shapes, feed.dialect, source.shape, feed.used(source.identity))


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


def _set_apart(raw: Raw, feed: Feed) -> tuple[Counter[str], list[pl.DataFrame], pl.DataFrame]:
    """The rows ignored, counted by reason; those rejected; the fields that are left."""
    fields, ignored = raw.fields, Counter(raw.ignored)
    rejected: list[pl.DataFrame] = []
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
    return ignored, rejected, fields


def _met(verdict: Verdict, fields: pl.DataFrame) -> pl.Expr:
    return holds(verdict.conditions, fields.columns)


def _without_raw(rejections: pl.DataFrame) -> pl.DataFrame:
    return rejections.with_columns(pl.lit(None, dtype=pl.Binary).alias("raw"))


def _with_raw(rejected: pl.DataFrame, data: bytes, before: int, feed: Feed) -> pl.DataFrame:
    """The rejections with the bytes of their lines; without them where the feed has content."""
    if feed.content:
        return _without_raw(rejected)
    lines = frame(data)
    raw = [lines.raw(row - before - 1) for row in rejected["row"]]
    return rejected.with_columns(pl.Series("raw", raw, dtype=pl.Binary))


def _occurrences(records: pl.DataFrame, identified: pl.Series) -> pl.Series:
    """0 for the first of equal records without identity, then 1, 2, …; always 0 for records with one."""
    own = [name for name in records.columns if name not in (ROW, READ_NOTE)]
    numbers = pl.Series("occurrence", [0], dtype=pl.Int32).new_from_index(0, records.height)
    if identified.all():
        return numbers
    hashes = records.select(own).hash_rows()
    doubtful = (hashes.is_duplicated() & ~identified).alias("doubtful")
    if not doubtful.any():
        return numbers
    return numbers.scatter(doubtful.arg_true(), counted(records.select(own).filter(doubtful)))


def counted(records: pl.DataFrame) -> pl.Series:
    """For each of `records` how many earlier ones equal it in every column."""
    nested = [name for name in records.columns if records[name].dtype.is_nested()]
    plain = records.with_columns(_as_text(records[name].dtype, name) for name in nested)
    return plain.select(pl.int_range(pl.len(), dtype=pl.Int32).over(records.columns)).to_series()


def _as_text(dtype: pl.DataType, name: str) -> pl.Expr:
    return pl.struct(name).struct.json_encode().alias(name)


def _records(kept: pl.DataFrame, feed: Feed, source: Source) -> pl.DataFrame:
    """The rows of one class as records: the columns that hold a value, of the record's types and in its order."""
    constants = {"source": source.name, "feed_digest": feed.digest, "customer": source.customer}
    told = {name: pl.lit(value) for name, value in constants.items() if value is not None}
    given = {one.name: one.dtype for one in kept if one.null_count() < kept.height}
    columns = [
        told[name].alias(name) if name in told else _typed(given[name], name)
        for name in TYPES
        if name in told or name in given
    ]
    return kept.select(columns)


def _typed(given: pl.DataType, name: str) -> pl.Expr:
    return pl.col(name) if given == TYPES[name] else pl.col(name).cast(TYPES[name])


def _ordered(records: pl.DataFrame) -> pl.DataFrame:
    return records.select([name for name in TYPES if name in records.columns])


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
    records = sum(frame.height for frame in reading.records.values())
    rejected, ignored = reading.rejections.num_rows, sum(reading.ignored.values())
    if reading.units != records + rejected + ignored + reading.joined:
        raise IngestError(
            f"reading a file of feed {feed.name}: {reading.units} units were framed, but {records} records, {rejected} "
            f"rejections, {ignored} ignored and {reading.joined} joined came of them; this is a fault of the reader"
        )
