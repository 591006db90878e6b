"""The tables of the catalogue: which columns they have, what may be empty, and how a row is sealed. Opens no database.

Every column is an integer or text, never a fraction or bytes, so that a row has one canonical form. The last column of
each table, `seal`, is the row's MAC; `trafficvault.catalogue` alone writes here and says what the seals add up to.

Tables are STRICT and WITHOUT ROWID, and there is no index beside the primary key: each stored value then exists once in
the file, so that a check of the rows is a check of everything an answer can come from. Days are ISO dates (UTC),
instants RFC 3339 in UTC, JSON columns text, digests and sealed blobs lower-case hex.

Names of staff stand here (`people`, `registered_by`, `person`). Data of subscribers never does: file names, warrants
and their targets are sealed by who puts them.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from functools import cache
from typing import Any

from trafficvault import row_forms
from trafficvault.table import Column, Table

SEAL = "seal"
"""The column of every table that holds the row's MAC."""
_INTEGERS = range(-(2**63), 2**63)


_MADE: dict[str, Table] = {}


def _text(name: str, *, optional: bool = False) -> Column:
    return Column(name, str, optional)


def _number(name: str, *, optional: bool = False) -> Column:
    return Column(name, int, optional)


def _table(name: str, key: tuple[str, ...], *columns: Column) -> Table:
    _MADE[name] = Table(name, key, (*columns, _text(SEAL)))
    return _MADE[name]


meta = _table("meta", ("key",), _text("key"), _text("value"))
"""Single values: `generation` of the ring, head of the audit log, trusted time, and the tally over all tables."""

people = _table(
    "people",
    ("name",),
    _text("name"),
    _text("roles"),  # JSON array, sorted
    _text("public_key"),
    _text("sealed_key"),  # the Ed25519 private key, sealed under the key that `kdf` makes of the password
    _text("kdf"),  # JSON: Argon2id with salt and cost
    _text("added_by"),
    _text("added_at"),
    _number("disabled"),  # 0, 1 for good, 2 until the person is confirmed
)
"""Staff who may act, with their roles and keys."""

batches = _table(
    "batches",
    ("id",),
    _text("id"),
    _text("source"),
    _text("feed"),
    _text("feed_digest"),
    _text("received_at"),
    _text("status"),
    _text("identity"),  # keyed digest of source and content
    _text("counts"),  # JSON
    _text("partitions"),  # JSON
    _text("first_day", optional=True),
    _text("last_day", optional=True),
    _number("sequence", optional=True),
    _text("die_class", optional=True),
    _text("die_day", optional=True),
    _number("rejected"),
    _text("sealed"),  # file name, digest, reason
)
"""Delivered files and what became of them."""

files = _table(
    "files",
    ("id",),
    _text("id"),
    _text("record_class"),
    _text("day"),
    _text("batch", optional=True),  # null where rows of several batches are in it
    _number("rows"),
    _number("bytes"),
    _text("digest"),  # keyed, over the ciphertext
    _text("row_sum"),  # keyed multiset sum of row hashes
    _text("reach_from"),
    _text("reach_to"),
    _text("columns"),  # JSON
    _number("merged", optional=True),  # how many delivered files it was made of by compaction
    _text("blocks", optional=True),  # keyed digest of its block file
    _number("blocks_bytes", optional=True),
    _number("generation", optional=True),  # of the day keys that it lies under; null is the first
    _text("created_at"),
)
"""Record files (Parquet) of living partitions, and the block files that are derived from them."""

partitions = _table(
    "partitions",
    ("record_class", "day"),
    _text("record_class"),
    _text("day"),
    _text("state"),  # live, expiring, tombstone
    _text("certificate", optional=True),
    _number("generation", optional=True),  # of the day keys that new files of the day take; null is the first
    _text("gone", optional=True),  # JSON array of the categories whose keys are destroyed, while the day lives
    _number("trimmed", optional=True),  # for when its first records ended those were removed that it outlives by days
    _number("blanked", optional=True),  # the same of locations, which end before their records
    _text("going", optional=True),  # JSON array of those whose end began and is not certified
)
"""Class × day, alive or dead. A tombstone stays for good: nothing brings its day back."""

leftovers = _table(
    "leftovers",
    ("kind", "record_class", "day", "batch"),
    _text("kind"),  # rejections, held, raw
    _text("record_class"),
    _text("day"),
    _text("batch"),
    _number("bytes"),
    _text("digest"),
    _number("rows"),
    _text("keep", optional=True),  # of raw: how long it may be kept from the day that it came
    _text("oldest", optional=True),  # of raw, until `oldest_of` came: the earliest day that a record of it is of
    _text("oldest_of", optional=True),  # of raw: of each class in it, the earliest day of a record
)
"""Sealed files that are not records: rejections, held batches and kept files."""

warrants = _table(
    "warrants",
    ("id",),
    _text("id"),
    _text("state"),  # registered, approved, withdrawn
    _text("digest"),
    _text("sealed"),  # the canonical document
    _text("registered_by"),
    _text("registered_at"),
    _text("registered_signature"),
    _text("approved_by", optional=True),
    _text("approved_at", optional=True),
    _text("approved_signature", optional=True),
    _text("key", optional=True),  # its own in the ring; null is the one that rows share
)
"""Warrants and the two persons who vouch for them."""

holds = _table(
    "holds",
    ("id",),
    _text("id"),  # that of its warrant
    _text("state"),  # provisional, active, ended, released, lost
    _text("since"),
    _text("until"),
)
"""Whose records are kept apart for an authority, and until when. Whose they are stands sealed, in the warrant."""

carves = _table(
    "carves",
    ("id",),
    _text("id"),
    _text("hold"),
    _text("record_class"),
    _text("day"),
    _text("cause"),  # why the day's keys were to die
    _number("rows"),
    _number("bytes"),
    _text("digest"),  # keyed, over the ciphertext
    _text("created_at"),
    _number("lapsed", optional=True),  # 1 when its hold was over before it bound again; an expiry removes it
)
"""What holds keep of days that died: one sealed file each."""

proposals = _table(
    "proposals",
    ("id",),
    _text("id"),
    _text("kind"),
    _text("state"),  # open, approved, done, dropped
    _text("sealed"),  # the canonical body
    _text("proposed_by"),
    _text("proposed_at"),
    _text("proposed_signature"),
    _text("approved_by", optional=True),
    _text("approved_at", optional=True),
    _text("approved_signature", optional=True),
    _text("key", optional=True),  # as of warrants
)
"""Acts beside the warrant that take two persons, and who vouches for them."""

policies = _table(
    "policies",
    ("number",),
    _number("number"),
    _text("digest"),
    _text("text"),  # policy.toml as it was entered
    _text("effect_at"),
    _text("entered_at"),
    _text("persons"),  # JSON array: the two who agreed, where it shortens a term
)
"""Every version of the policy that was entered, from the first."""

disclosures = _table(
    "disclosures",
    ("id",),
    _text("id"),
    _text("warrant"),
    _text("question"),
    _text("person"),
    _text("started_at"),
    _text("state"),  # intent, released, failed
    _number("records", optional=True),
    _number("complete", optional=True),  # 0 or 1
    _text("manifest_digest", optional=True),
)
"""Runs of a question under a warrant."""

certificates = _table(
    "certificates",
    ("id",),
    _text("id"),
    _text("record_class", optional=True),
    _text("day", optional=True),
    _text("kind"),
    _text("body"),  # canonical JSON, what the signature is over
    _text("signature"),
    _text("issued_at"),
    _text("line", optional=True),  # the audit entry that names it, once its segment was dropped
)
"""Certificates of deletion."""

runs = _table(
    "runs",
    ("job",),
    _text("job"),
    _text("state"),  # running, done, failed
    _text("told"),
    _text("started_at"),
    _text("ended_at", optional=True),
    _text("succeeded_at", optional=True),
    _text("next_at"),
)
"""The last run of each job of the schedule."""

endings = _table(
    "endings",
    ("id",),
    _text("id"),
    _text("state"),  # open, done
    _text("subjects"),  # JSON: keyed digests of subscriber, number and IMSI, by kind
    _text("since", optional=True),  # when the service began
    _text("ended_at"),
    _text("classes"),  # JSON: those whose records of it are gone, and under which version of the policy that was so
    _text("recorded_by"),
    _text("recorded_at"),
    _text("waits_until", optional=True),  # when a file told it: until then nothing goes by it
)
"""Ends of services: whose records go before their cap. No number stands here."""

rights = _table(
    "rights",
    ("id",),
    _text("id"),
    _text("right"),  # access, rectify, restrict, erase, port, object, complain, withdraw-consent
    _text("state"),  # registered, approved, answered, refused, routed, lifted
    _text("digest"),
    _text("sealed"),  # the canonical document
    _text("received_at"),
    _text("due"),
    _text("extended", optional=True),  # why the deadline was made longer, one word
    _text("ground", optional=True),  # why it was refused, one word
    _text("registered_by"),
    _text("registered_at"),
    _text("registered_signature"),
    _text("approved_by", optional=True),
    _text("approved_at", optional=True),
    _text("approved_signature", optional=True),
    _text("closed_by", optional=True),
    _text("closed_at", optional=True),
    _text("until", optional=True),  # the end of the window that it is about
    _text("key", optional=True),  # as of warrants
)
"""Customers' requests, the two persons who vouch for each, and what became of them. No name or number stands here."""

annotated = _table(
    "annotations",
    ("id",),
    _text("id"),
    _text("request"),
    _text("sealed"),  # whose, of which record or window, and the text
    _text("made_by"),
    _text("made_at"),
    _text("until", optional=True),  # the end of the window that it is about
    _text("key", optional=True),  # as of warrants
    _text("classes", optional=True),  # JSON: those that its record can be of; null is every class
)
"""What customers said about records of theirs, which stay as they are."""

outbox = _table("outbox", ("seq",), _number("seq"), _text("line"))
"""Audit entries that are committed and not yet known to be in their segment."""

checkpoints = _table(
    "checkpoints",
    ("size",),
    _number("size"),  # how many entries of the audit log it is of
    _text("head"),  # hash of the last of them
    _text("root"),  # of the Merkle tree over them
    _text("note"),  # the signed note
    _text("made_at"),
    _text("sent"),  # JSON: place → when it was sent there
    _text("stamp", optional=True),  # the answer of a time-stamping authority (RFC 3161), DER as hex
)
"""Checkpoints of the audit log, and where each was sent."""

TABLES = dict(sorted(_MADE.items()))
"""Every table by its name."""


def row_name(table: Table, row: Mapping[str, object]) -> str:
    """How faults name a row: table and 12 hex digits of a digest of its primary key, which itself may be damaged."""
    key = repr([row[name] for name in table.key])
    return f"table {table.name}, row {hashlib.sha256(key.encode()).hexdigest()[:12]}"


def seal_of(mac_key: bytes, table: Table, row: Mapping[str, object]) -> str:
    """The MAC that belongs to the row: over the table's name and every column but the seal."""
    return hmac.digest(mac_key, row_forms.canonical(table, row, SEAL), "sha256").hex()


def is_sealed(mac_key: bytes, table: Table, row: Mapping[str, object]) -> bool:
    """Whether every value of the stored row is of its column's type and its seal is that of the row."""
    if not all(_fits(row[name], kind, nullable) for name, kind, nullable in _kinds(table)):
        return False
    # As bytes: compare_digest refuses text beyond ASCII, and a flipped bit may make such.
    return hmac.compare_digest(str(row[SEAL]).encode(), seal_of(mac_key, table, row).encode())


def is_same(table: Table, row: Mapping[str, object], sound: Mapping[str, object] | None) -> bool:
    """Whether the stored `row` is to the letter the `sound` one, whose seal was that of the row."""
    # To Python a fraction may equal an integer, and no column holds one.
    return sound is not None and row == sound and all(type(row[name]) is type(sound[name]) for name in _numbers(table))


@cache
def _numbers(table: Table) -> tuple[str, ...]:
    return tuple(name for name, kind, _ in _kinds(table) if kind is int)


def complete_row(table: Table, row: Mapping[str, object]) -> dict[str, Any]:
    """The row with null for what was left out. Raises `KeyError` or `TypeError` when it does not fit `table`."""
    unknown = sorted(name for name in row if name == SEAL or name not in table.names)
    if unknown:
        raise KeyError(f"table {table.name} has no column {', '.join(unknown)} to put")
    full = {name: row.get(name) for name in table.names if name != SEAL}
    for name, kind, nullable in _kinds(table):
        if name == SEAL:
            continue
        value = full[name]
        if not _fits(value, kind, nullable):
            raise TypeError(f"table {table.name}, column {name}: a {type(value).__name__} is not what it holds")
        if isinstance(value, str) and not value.isascii() and any("\ud800" <= sign <= "\udfff" for sign in value):
            raise TypeError(f"table {table.name}, column {name}: the text has half a surrogate pair")
    return full


def key_of(table: Table, row: Mapping[str, object]) -> dict[str, object]:
    """The primary key of `row`."""
    return {name: row[name] for name in table.key}


def require_key(table: Table, key: Mapping[str, object]) -> None:
    """Raises `KeyError` when `key` is not the whole primary key of `table`."""
    if set(key) != set(table.key):
        raise KeyError(f"the key of table {table.name} is {', '.join(table.key)}")


@cache
def _kinds(table: Table) -> tuple[tuple[str, type, bool], ...]:
    """Name, type and whether it may be null of each column: asked of every row that is read."""
    return tuple((one.name, one.kind, one.optional) for one in table.columns)


def _fits(value: object, kind: type, nullable: bool) -> bool:
    if value is None:
        return nullable
    return type(value) is kind and (kind is str or value in _INTEGERS)
