"""The definition of a feed beside its columns, as typed values, parsed for `ingest.feed`, which explains the keys."""

from __future__ import annotations

from dataclasses import dataclass

from ingest.conditions import Condition, parse_conditions
from ingest.lines import codec_name
from ingest.raw import Dialect, FixedRecord, Shape
from ingest.record import COLUMNS, FRAME
from ingest.source import BARE, NumberPlan
from ingest.table import Table


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of the rows that meet all `conditions`: ignored, or rejected, for `reason`."""

    reason: str
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Joining:
    """Rows whose `method` is `taker` and that lack `time` take it from the `giver` row that has the same `on`."""

    on: tuple[str, ...]
    time: str
    method: str
    taker: str
    giver: str

    @property
    def fields(self) -> tuple[str, ...]:
        """Every field that joining reads."""
        return (*self.on, self.time, self.method)


@dataclass(frozen=True, slots=True)
class Identity:
    """The fields that identify a record at its source; those in `hidden` stay out of the record id."""

    fields: tuple[str, ...] = ()
    optional: frozenset[str] = frozenset()
    hidden: frozenset[str] = frozenset()


def parse_dialect(table: Table | None) -> Dialect:
    """The dialect of `[dialect]`."""
    if table is None:
        return Dialect()
    dialect = Dialect(
        delimiter=table.text("delimiter") or ",",
        quote=table.text("quote"),
        null=table.texts("nulls") if "nulls" in table else ("",),
        encodings=table.texts("encodings") or ("utf-8",),
        header=table.flag("header"),
    )
    table.done()
    for encoding in dialect.encodings:
        codec_name(encoding)
    return dialect


def parse_shapes(tables: list[Table]) -> tuple[Shape, ...]:
    """The shapes of `[[shapes]]`; names and fields may not come twice."""
    shapes: list[Shape] = []
    for table in tables:
        shape = Shape(
            table.needed("name"), _distinct(table, table.texts("columns")), table.text("delimiter"), table.text("quote")
        )
        table.done()
        if shape.name in {other.name for other in shapes}:
            raise table.refuse("name", f"{shape.name!r} comes twice")
        shapes.append(shape)
    return tuple(shapes)


def canonical_shape(class_column: str | None) -> Shape:
    """The shape of a file whose fields are the record's own columns."""
    names = [column.name for column in COLUMNS if column.category != FRAME]
    return Shape("canonical", ("record_id", *([class_column] if class_column else []), *names))


def _distinct(table: Table, columns: tuple[str, ...]) -> tuple[str, ...]:
    if not columns:
        raise table.refuse("columns", "is missing")
    for name in columns:
        if columns.count(name) > 1:
            raise table.refuse("columns", f"names {name!r} twice")
        if name[:1] in ("", "=", "~", "!"):  # `ingest.mapping` gives its own columns such names
            raise table.refuse("columns", f"names {name!r}, which no field can be named")
    return columns


def parse_fixed(table: Table, name: str) -> FixedRecord:
    """One kind of fixed-width line."""
    fields = table.table("fields")
    if fields is None:
        raise table.refuse("fields", "is missing")
    spans = {key: fields.span(key) for key in fields.names()}
    length = table.integer("length")
    if length is None:
        raise table.refuse("length", "is missing")
    for key, span in spans.items():
        if span is None or not 0 <= span[0] < span[1] <= length:
            raise fields.refuse(key, f"must be [first, end] within the {length} bytes of the line")
    record = FixedRecord(
        table.text("name") or name, table.needed("prefix"), length, {key: span for key, span in spans.items() if span}
    )
    table.done()
    return record


def parse_identity(table: Table | None) -> Identity:
    """The identity of `[identity]`."""
    if table is None:
        return Identity()
    identity = Identity(table.texts("fields"), frozenset(table.texts("optional")), frozenset(table.texts("hidden")))
    table.done()
    for key, names in (("optional", identity.optional), ("hidden", identity.hidden)):
        if not names < set(identity.fields):
            raise table.refuse(key, "must be some, not all, of the fields of the identity")
    return identity


def parse_verdict(table: Table) -> Verdict:
    """One of `[[ignore]]` or `[[reject]]`."""
    verdict = Verdict(table.needed("reason"), parse_conditions(table.table("when")))
    table.done()
    if not verdict.conditions:
        raise table.refuse("when", "is missing: it would hold for every row")
    return verdict


def parse_joining(table: Table | None) -> Joining | None:
    """The joining of `[joining]`."""
    if table is None:
        return None
    time, method, taker, giver = (table.needed(key) for key in ("time", "method", "taker", "giver"))
    joining = Joining(table.texts("on"), time, method, taker, giver)
    table.done()
    if not joining.on:
        raise table.refuse("on", "is missing")
    return joining


def parse_number_plan(table: Table | None) -> NumberPlan:
    """The number plan of `[number_plan]`; what it leaves out is that of `NumberPlan`."""
    if table is None:
        return NumberPlan()
    default = NumberPlan()
    plan = NumberPlan(
        country=table.text("country") or default.country,
        international=default.international if (prefix := table.text("international")) is None else prefix,
        national=default.national if (trunk := table.text("national")) is None else trunk,
        bare=table.one_of("bare", BARE, default.bare),
        area=table.text("area"),
        access=table.text("access"),
        extension=table.span("extension"),
    )
    table.done()
    return plan
