"""A feed: one format, defined by one TOML file that an operator can read, adapt and prove by its own examples.

`load_feed` refuses an unknown key (and names the nearest known one) and any feed whose examples do not give exactly
what they promise; an example runs through `ingest.read.read`, the way of every delivered file. The keys of a feed:

- `feed` its name, that of the file; `title` what it is, in a line
- `class` the retention class of its records, or `class_column` the field that holds it
- `reader` delimited, fixed, or documents (one JSON object per line)
- `canonical` true when the fields are the record's own columns; it needs no shapes, and `[columns]` may replace some
- `content` fields that are content: dropped before anything else, and no rejection of the feed keeps its raw line

`[dialect]`, how text is written: `delimiter`; `quote`, none when absent; `nulls`, words for unknown, `""` among them;
`encodings`, tried per field in this order, out of `ingest.lines.ENCODINGS`;
`header`, true when the first line names the columns.

`[[shapes]]` of a delimited or documents feed: `name`; `columns`, its fields in order; `delimiter` and `quote` where
it differs from the dialect. Shapes with the same number of columns are told apart by the source alone.

`[header]`, `[trailer]` and `[[records]]` of a fixed feed: `name`; `prefix`, what such a line starts with; `length` in
bytes; `fields`, name = [first, end] in bytes from 0, end exclusive.

`[columns]`, one key per canonical column: a rule, or a list of rules of which the first that gives a value counts.
`a`, `b` and `c` stand for number, kind and raw of a party at once. A rule has one of these:

- `from` a field, or several of which the first with a value counts; `join` instead joins them with this text
- `constant` one value
- `after` a time column, moved by `plus` and `minus`, each a rule for a duration

and, where they are needed:

- `as` the form: text, lower, party, imsi, imei, iccid, eid, address, mac, mail, cell, tadig_country; integer,
  seconds, milliseconds, duration_hhmmss, duration_hhmmssss; local_time, epoch, iso_time; bool, withheld; list and
  mails (a JSON array, or one value), parties (a JSON array of role and number)
- `shapes` the shapes it is for; `when` conditions on fields, of which all must hold: field = "word", ["one", "of"], {
  `not` = [...] }, { `pattern` = "..." }, { `empty` = true }, { `same` = "field" }, { `differs` = "field" }
- `pattern` takes group 1 of this regular expression, nothing where it does not match; `nulls` more words for unknown
- `map` replaces words; what it lacks becomes `otherwise`, or by `unknown`: keep (the rule), empty, reject
- `invalid` what a text not of its form does: reject (the rule), extra (it is kept as an extra), empty (another column
  has it)
- `unlike` a party number: no value where it is the same

Of a time: `format` of a local time (`%Y%m%d%H%M%S`, `%2f` hundredths; see `ingest.stamps`); `unit` of an epoch: s,
ms, us; `offset`, the field with the UTC offset; `zone`, the field with a TADIG code whose country gives the zone
where no offset stands (noted `derived`, or `zone assumed` where the country has several); `precision`: us, ms, cs, s,
min, unless the form tells. To settle the doubled hour: `near`, a moment close by (`from` a field with epoch seconds and
`pattern`, or `after`, `plus`, `minus`); or `end`, the field with the end in the same format, and `duration`, its rule.

Of a party: `nature`, the field with the nature of address, and `natures`, its words as international, national,
subscriber, unknown or plan; `area`, the field whose number gives a subscriber number its area code, out of the list
`area_codes`; `bare` instead of the number plan's; `empty`: an empty field is withheld (the rule) or unknown; `role`,
in `other_parties`.

The other tables:

- `[extra]` fields kept as they are, in lists `who`, `where`, `when`, `how_much`. A field that nothing names is
  dropped; `Feed.unassigned` tells which
- `[identity]` `fields` that identify a record at its source, `optional` those that may be empty: a row or shape that
  lacks another has no identity. The record id is the fields joined by `/`, but for `hidden` ones, unless `record_id`
  has a rule
- `[[ignore]]` rows that are no records, and `[[reject]]` rows that must not be: `reason`, `when`
- `[joining]` lines of one file of which one alone lacks the time: `on`, fields that must agree; `time`, the field;
  `method`, the field that tells lines apart, with `taker` and `giver`, its words for the line that may lack it and
  that which has it
- `[totals]` in the trailer: `count`, its field with the number of records; `sum` with `field`, `total`, `as`; `same`,
  fields equal in header and trailer; `step` with `field` and `by`: record numbers. A mismatch holds the batch
- `[sequence]` `file_name`, a regular expression with a group `seq`, or `field` of the header; `modulus`, where it
  wraps
- `[number_plan]`, unless the source has its own: `country`, `international`, `national`, `bare`, `area`, `access`,
  and `extension`, [least, most] digits

`[[example]]`: `name`; `raw`, the file as text, in its `encoding`; what a source says: `shape`, `zone`, `region`,
`customer`, `class`; `file_name`; `arrived`, far in the future when absent. And all that must come of it: `records`,
each with its canonical columns (times as text or TOML times, addresses as text); `rejections` with `row` and
`reason`; `ignored` counts by reason; `joined`; `mismatches`; `sequence`; or `refused` = true. Invented data only: a
failing example is shown. Its records name every column that the file gives, derived ones too (`a_kind`, `utc_offset`,
`time_precision`), and a header line counts: `ignored = { header = 1 }`. FORMAT.md, in `trafficvault`, lists the
canonical columns. The zone of local times is the source's, never the feed's: an example names one to stand for it.

A whole feed, `exchange.toml`, for files of lines such as `2026-02-03 16:07:24;0612345678;0201234567;60`:

    feed   = "exchange"
    title  = "calls of our exchange, semicolons"
    class  = "telephony"
    reader = "delimited"

    [dialect]
    delimiter = ";"
    header    = true

    [[shapes]]
    name    = "4"
    columns = ["when", "from", "to", "seconds"]

    [columns]
    served      = { constant = "a" }
    event       = { constant = "call" }
    start       = { from = "when", as = "local_time", format = "%Y-%m-%d %H:%M:%S" }
    a           = { from = "from", as = "party" }
    b           = { from = "to", as = "party", empty = "unknown" }
    duration_ms = { from = "seconds", as = "seconds" }

    [[example]]
    name    = "one call"
    zone    = "Europe/Amsterdam"
    ignored = { header = 1 }
    raw     = '''
    when;from;to;seconds
    2026-02-03 16:07:24;0612345678;0201234567;60
    '''

    [[example.records]]
    served         = "a"
    event          = "call"
    start          = 2026-02-03T16:07:24+01:00
    utc_offset     = 60
    time_precision = "s"
    a_number       = "+31612345678"
    a_kind         = "e164"
    a_raw          = "0612345678"
    b_number       = "+31201234567"
    b_kind         = "e164"
    b_raw          = "0201234567"
    duration_ms    = 60000
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ingest.definition import (
    Identity,
    Joining,
    Verdict,
    canonical_shape,
    parse_dialect,
    parse_fixed,
    parse_identity,
    parse_joining,
    parse_number_plan,
    parse_shapes,
    parse_verdict,
)
from ingest.errors import FeedError
from ingest.examples import Example, check, parse_examples
from ingest.moments import in_order
from ingest.raw import Dialect, FixedRecord, Shape
from ingest.record import CLASSES
from ingest.rules import TIME_KINDS, Rule, canonical_rules, kinds_for, parse_columns, parse_extra
from ingest.source import NumberPlan
from ingest.table import Table, nearest
from ingest.totals import Sequence, Totals, parse_sequence, parse_totals

SHIPPED: Final = Path(__file__).with_name("feeds")
"""The directory of the feeds that come with the product."""
KEYS: Final = (
    "feed",
    "title",
    "class",
    "class_column",
    "reader",
    "canonical",
    "content",
    "dialect",
    "shapes",
    "header",
    "trailer",
    "records",
    "columns",
    "extra",
    "identity",
    "ignore",
    "reject",
    "joining",
    "totals",
    "sequence",
    "number_plan",
    "example",
)
"""The keys of a definition."""
READERS: Final = ("delimited", "fixed", "documents")

_FIELD: Final = re.compile(r"[A-Za-z0-9_ .:#/()-]{1,64}")


@dataclass(frozen=True, slots=True, eq=False)
class Feed:
    """A format whose examples pass. `digest` is the SHA-256 of the TOML bytes, in hex."""

    name: str
    title: str
    digest: str
    record_class: str | None
    class_column: str | None
    reader: str
    dialect: Dialect
    shapes: tuple[Shape, ...] = ()
    records: tuple[FixedRecord, ...] = ()
    header: FixedRecord | None = None
    trailer: FixedRecord | None = None
    columns: tuple[tuple[Rule, ...], ...] = ()
    extra: dict[str, tuple[str, ...]] = field(default_factory=dict)
    content: tuple[str, ...] = ()
    identity: Identity = field(default_factory=Identity)
    ignore: tuple[Verdict, ...] = ()
    reject: tuple[Verdict, ...] = ()
    joining: Joining | None = None
    totals: Totals | None = None
    sequence: Sequence | None = None
    number_plan: NumberPlan = field(default_factory=NumberPlan)
    examples: tuple[Example, ...] = ()

    def fields(self, shape: str | None = None) -> tuple[str, ...]:
        """The fields of `shape` (of all shapes and record kinds when None), each once."""
        named = [item.columns for item in self.shapes if shape in (None, item.name)]
        fixed = [tuple(record.fields) for record in self.records if shape in (None, record.name)]
        return tuple(dict.fromkeys(name for names in (*named, *fixed) for name in names))

    def unassigned(self, shape: str | None = None) -> tuple[str, ...]:
        """The fields of `shape` that are not content and that nothing uses: they are dropped."""
        return tuple(name for name in self.fields(shape) if name not in self._used() and name not in self.content)

    def used(self, identity: tuple[str, ...] | None) -> frozenset[str]:
        """The fields that something uses, `identity` of a source with one of its own among it; never content."""
        return frozenset(self._used() | set(identity or ())) - set(self.content)

    def _used(self) -> set[str]:
        used = {name for rules in self.columns for rule in rules for name in rule.uses()}
        used |= {name for names in self.extra.values() for name in names} | set(self.identity.fields)
        used |= {
            name for verdict in (*self.ignore, *self.reject) for item in verdict.conditions for name in item.uses()
        }
        if self.joining:
            used |= set(self.joining.fields)
        return (
            used
            | (self.totals.uses() if self.totals else set())
            | ({self.class_column} if self.class_column else set())
        )


def parse_feed(text: bytes, name: str) -> Feed:
    """The feed that the TOML `text` defines; its examples are not run. Raises `FeedError`."""
    try:
        values: dict[str, Any] = tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FeedError(f"feed {name} is not TOML: {error}") from error
    try:
        return _feed(Table(values), hashlib.sha256(text).hexdigest(), name)
    except FeedError as error:
        raise FeedError(f"feed {name}: {error}") from error


def feed_at(path: Path) -> Feed:
    """The feed in the file at `path`; its examples are not run. Raises `FeedError`."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise FeedError(f"feed {path.name} cannot be read: {error.strerror}") from error
    return parse_feed(text, path.stem)


def load_feed(path: Path, zone: str = "Europe/Amsterdam", region: str = "NL") -> Feed:
    """The feed in the file at `path`, its examples run with `zone` and `region` where they name none.

    Raises `FeedError`: which example, which column, what was expected and what was found.
    """
    feed = feed_at(path)
    if not feed.examples:
        raise FeedError(f"feed {feed.name} has no example; add an [[example]] with a raw file and the records it gives")
    for example in feed.examples:
        check(feed, example, zone=zone, region=region)
    return feed


def _feed(table: Table, digest: str, name: str) -> Feed:
    table.only(KEYS)
    if table.needed("feed") != name:
        raise table.refuse("feed", f"must be the name of its file, {name}")
    reader = table.one_of("reader", READERS, "")
    if not reader:
        raise table.refuse("reader", f"is missing; known are {', '.join(READERS)}")
    record_class = table.one_of("class", CLASSES, "") or None
    class_column = table.text("class_column")
    if (record_class is None) == (class_column is None):
        raise table.refuse("class", "or class_column must say the class of the records, one of the two")
    columns = parse_columns(table.table("columns"))
    shapes = parse_shapes(table.tables("shapes"))
    if table.flag("canonical"):
        columns = (*columns, *canonical_rules({rules[0].column for rules in columns}))
        if shapes:
            raise table.refuse("shapes", "cannot be given beside canonical, which has its own")
        shapes = (canonical_shape(class_column),)
    feed = Feed(
        name=name,
        title=table.needed("title"),
        digest=digest,
        record_class=record_class,
        class_column=class_column,
        reader=reader,
        dialect=parse_dialect(table.table("dialect")),
        shapes=shapes,
        records=tuple(parse_fixed(inner, "record") for inner in table.tables("records")),
        header=next((parse_fixed(inner, "header") for inner in table.tables("header")), None),
        trailer=next((parse_fixed(inner, "trailer") for inner in table.tables("trailer")), None),
        columns=columns,
        extra=parse_extra(table.table("extra")),
        content=table.texts("content"),
        identity=parse_identity(table.table("identity")),
        ignore=tuple(parse_verdict(inner) for inner in table.tables("ignore")),
        reject=tuple(parse_verdict(inner) for inner in table.tables("reject")),
        joining=parse_joining(table.table("joining")),
        totals=parse_totals(table.table("totals")),
        sequence=parse_sequence(table.table("sequence")),
        number_plan=parse_number_plan(table.table("number_plan")),
        examples=parse_examples(table.tables("example")),
    )
    _refuse_strangers(feed)
    return feed


def _refuse_strangers(feed: Feed) -> None:
    """Refuses what names a field that no shape has, or content as if it were not."""
    known = set(feed.fields())
    if not known:
        raise FeedError("it has no shapes and no records, so no field is known")
    in_header, in_trailer = (set(line.fields) if line else set() for line in (feed.header, feed.trailer))
    for name in sorted(known | in_header | in_trailer):
        if not _FIELD.fullmatch(name):  # Polars takes `*` and `^…$` for patterns over all columns
            raise FeedError(f"names {name!r}, which no field can be named: 1 to 64 letters, digits, _ . : # / ( ) -")
    for name in sorted((feed._used() | set(feed.content) | feed.identity.optional | feed.identity.hidden) - known):
        raise FeedError(f"{name!r} is not a field of any shape{nearest(name, known)}")
    for name in sorted(feed._used() & set(feed.content)):
        raise FeedError(f"{name!r} is content, so nothing else may use it")
    if (feed.shapes and (feed.reader == "fixed")) or (feed.records and feed.reader != "fixed"):
        raise FeedError(f"reader {feed.reader} takes {'records' if feed.reader == 'fixed' else 'shapes'}")
    if feed.totals and not (feed.totals.trailing <= in_trailer and set(feed.totals.same) <= in_header):
        raise FeedError("totals names a field that the trailer, or for same the header, does not have")
    if feed.sequence and feed.sequence.field and feed.sequence.field not in in_header:
        raise FeedError(f"sequence.field names {feed.sequence.field!r}, which is not in the header")
    _refuse_unknown_order(feed)
    shapes = {shape.name for shape in feed.shapes}
    for rule in (rule for rules in feed.columns for rule in rules):
        for shape in rule.shapes:
            if shape not in shapes:
                raise FeedError(f"{rule.column} names the shape {shape!r}{nearest(shape, shapes)}")


def _refuse_unknown_order(feed: Feed) -> None:
    """Refuses rules that read a column which no rule fills, or that wait for themselves."""
    filled = {rules[0].column for rules in feed.columns}
    in_order([list(rules) for rules in feed.columns if rules[0].kind in TIME_KINDS])
    for rule in (rule for rules in feed.columns for rule in rules):
        moments = [rule.after, rule.near.after if rule.near else None]
        for name in (after.column for after in moments if after):
            if name not in filled or kinds_for(name) != TIME_KINDS:
                raise FeedError(f"{rule.column} is computed from {name!r}, which is no time that a rule fills")
        if rule.unlike is not None and rule.unlike.removesuffix("_number") not in filled:
            raise FeedError(f"{rule.column} is compared with {rule.unlike}, which no rule fills")
