"""Parquet Modular Encryption, and the only module that touches its API: one table to one file, and a file to rows.

Writing goes through pyarrow's KMS path: a data key per column, wrapped under the key of the column's category for
this file, named `class/day/category/file/column`. A column that the encryption settings don't name is written in
plaintext without a word, so every Parquet leaf path is accounted for before a byte is written.

Reading takes two steps. `unwrap` opens the footer with pyarrow on the calling thread and gets the data keys of the
wanted columns, and of no others; `scan` reads with those keys in Polars. Only `tables`, for a house that holds all
keys and wants every row, reads in pyarrow, which leaves dictionaries as they are; there too on the calling thread
alone. Nothing ever looks at the metadata of a column without its key: that ends the process (SIGABRT). What a file is
(class, day, file id) comes from the caller and is enforced, for an id that is read from the file always agrees with
itself.
"""

from __future__ import annotations

import base64
import contextlib
import io
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ingest.record import BY_NAME, FRAME, SCHEMA, category_of, leaf_paths
from trafficvault.errors import FaultError, RefusedError, UsageError
from trafficvault.layout import day_key_id

ROW_GROUP = 131_072
TOLD = "trafficvault."
"""How the names of what a footer says besides the schema begin."""
_NONCE_BYTES = 12
_FOOTER = "footer"
_KEY_ID = re.compile(
    r"(?P<class>[a-z_]+)/(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})/(?P<category>[a-z_]+)/(?P<file>[0-9a-f]+)/[a-z_.]+"
)
_DICTIONARY = frozenset(
    {
        *("source", "batch", "feed_digest", "read_note", "served", "customer", "a_kind", "b_kind", "c_kind", "imsi"),
        *("imei", "routing_number", "carrier_in", "carrier_out", "nas", "protocol", "part", "start_cell", "end_cell"),
        *("area", "visited_plmn", "visited_country", "wifi_ap", "serving_node", "time_note", "time_precision", "event"),
        *("service", "direction", "cause", "cause_scheme", "technology", "subscriber"),
        *("answer", "end", "reported_at", "duration_ms", "utc_offset", "count", "prefix_length"),
    }
)
"""Columns whose values repeat within a file: a dictionary makes them small. Others would only fill one in vain."""
_ENCODINGS = {
    "row": "DELTA_BINARY_PACKED",
    "occurrence": "DELTA_BINARY_PACKED",
    "record_id": "DELTA_BYTE_ARRAY",
    "bytes_up": "BYTE_STREAM_SPLIT",
    "bytes_down": "BYTE_STREAM_SPLIT",
}
"""How the columns that count up, or spread over many magnitudes, are smallest (benchmarks/README.md)."""
_HARD = 3
_PAGE_BYTES = 4 * 2**20
"""A column of a row group is one page or a few: readers take a row group whole, and each page costs."""


@dataclass(frozen=True, slots=True)
class Form:
    """How rows are laid out in a file."""

    level: int
    """How hard zstd tries, with the columns of `harder` at `_HARD`."""
    harder: frozenset[str]
    row_group: int
    """Rows of a row group at most."""
    encodings: Mapping[str, str]
    """Of columns that have no dictionary, where Parquet's plain one is not the smallest."""


LANDING = Form(1, frozenset(), ROW_GROUP, _ENCODINGS)
"""For a file that is soon compacted."""
MERGED = Form(
    *(1, frozenset({"start", "end"}), 2 * ROW_GROUP),
    {**_ENCODINGS, "start": "DELTA_BINARY_PACKED", "row": "BYTE_STREAM_SPLIT"},
)
"""For a file that stays for the whole of its term. A row group of twice as many rows needs one dictionary for them."""
_STATISTICS = ("start", "end", "reported_at")
"""Rows stand in the order of time: of any other column, least and greatest value of a row group say nothing."""


@dataclass(frozen=True, slots=True)
class Place:
    """Which file it is: the reader's expectation, out of the catalogue."""

    record_class: str
    day: date
    file_id: str
    generation: int = 1
    """Of the day keys that its own keys come from. The file does not say it: with others it does not open."""

    def day_key_id(self, category: str) -> str:
        """The id of the day key that its key of `category` comes from."""
        return day_key_id(self.record_class, self.day, category, self.generation)

    def key_id(self, category: str, column: str) -> str:
        """The id of the data key of the leaf path `column`."""
        return f"{self.record_class}/{self.day.isoformat()}/{category}/{self.file_id}/{column}"

    def footer_id(self) -> str:
        """The id of the footer's data key."""
        return self.key_id(FRAME, _FOOTER)

    def __str__(self) -> str:
        return f"{self.record_class}/{self.day.isoformat()}/{self.file_id}.parquet"


@dataclass(frozen=True, slots=True)
class DataKeys:
    """What opens some columns of one file: its data keys, and what its footer says of the whole."""

    footer: bytes = field(repr=False)
    columns: Mapping[str, bytes] = field(repr=False)
    """By leaf path."""
    present: tuple[str, ...]
    """All columns the file has, in order."""
    rows: int
    groups: tuple[int, ...] = ()
    """How many rows each row group has, in order."""
    told: Mapping[str, str] = field(default_factory=dict)
    """What the footer says besides, by name."""


class Writer:
    """One encrypted file in the making: rows are appended, and nothing but `close` makes it a file.

    For use by one thread at a time. A file whose `close` was not reached, or raised, must not be kept.
    """

    def __init__(
        self, path: Path, schema: pa.Schema, place: Place, file_keys: Mapping[str, bytes], form: Form = LANDING
    ) -> None:
        """Begins the file at `path` with the columns of `schema`. `file_keys` holds the key of each category.

        A text column may be of another Arrow type of text (views, a dictionary): in Parquet they are the same.
        Raises `FaultError` when a column is not of the record or not of its type: it would have no key.
        """
        ids = _key_ids(schema, place)
        _require_every_path(schema, frozenset(ids), place)
        self._place, self._schema, self._form = place, schema, form
        self._used = {place.footer_id(), *ids.values()}
        self._kms = _FileKms(place, file_keys)
        config = pe.EncryptionConfiguration(
            footer_key=place.footer_id(),
            column_keys={key_id: [leaf] for leaf, key_id in ids.items()},
            double_wrapping=False,
            data_key_length_bits=256,
        )
        repeated = [one.name for one in schema if one.name in _DICTIONARY or pa.types.is_dictionary(one.type)]
        # One factory per file, made here: a factory keeps the client it made, which would answer for another file.
        self._factory = pe.CryptoFactory(lambda _: self._kms)
        self._writer = pq.ParquetWriter(
            path,
            schema,
            compression="zstd",
            compression_level={leaf: _HARD if leaf in form.harder else form.level for leaf in ids},
            data_page_version="1.0",
            data_page_size=_PAGE_BYTES,
            max_rows_per_page=form.row_group,
            store_schema=False,  # it would tell the type in memory; what Parquet says by itself is the record's type
            use_dictionary=repeated,
            dictionary_pagesize_limit=_PAGE_BYTES,
            column_encoding={
                name: encoding
                for name, encoding in form.encodings.items()
                if name in schema.names and name not in repeated
            },
            write_statistics=[name for name in schema.names if name in _STATISTICS],
            encryption_properties=self._factory.file_encryption_properties(pe.KmsConnectionConfig(), config),
        )

    def append(self, table: pa.Table) -> None:
        """Adds the rows of `table`, which has the columns of the file in their order, as row groups of their own."""
        self._writer.write_table(table.cast(self._schema), row_group_size=self._form.row_group)

    def close(self, told: Mapping[str, str] | None = None) -> None:
        """Writes the footer, with what is `told` of the file in it, encrypted as the footer is.

        Raises `FaultError` when pyarrow did not take a key for every column.
        """
        if told:
            self._writer.add_key_value_metadata(told)
        self._writer.close()
        if self._kms.used != self._used:
            what = "pyarrow did not take a key for every column; the file must not be kept"
            raise FaultError(f"writing {self._place}: {what}")

    def abandon(self) -> None:
        """Lets go of a file that will not be kept. Its bytes are the caller's to remove."""
        with contextlib.suppress(pa.ArrowException, OSError):
            self._writer.close()


def unwrap(path: Path, place: Place, file_keys: Mapping[str, bytes], columns: Iterable[str]) -> DataKeys:
    """The data keys of `columns`, as far as the file has them, under the keys of their categories.

    Must be called on the thread that waits for it. Raises `RefusedError` for a column whose category has no key in
    `file_keys`, `FaultError` when the file is missing, damaged, or another one than `place`.
    """
    kms = _FileKms(place, file_keys)
    factory = pe.CryptoFactory(lambda _: kms)
    properties = factory.file_decryption_properties(pe.KmsConnectionConfig(), pe.DecryptionConfiguration())
    try:
        with pq.ParquetFile(path, decryption_properties=properties) as file:
            present = tuple(file.schema_arrow.names)
            rows = int(file.metadata.num_rows)
            # Of a row group, and never of a column in it.
            groups = tuple(file.metadata.row_group(index).num_rows for index in range(file.num_row_groups))
            more = {name.decode(): text.decode() for name, text in (file.metadata.metadata or {}).items()}
            told = {name: text for name, text in more.items() if name.startswith(TOLD)}
            ids = _key_ids(file.schema_arrow, place)
            wanted = [name for name in present if name in frozenset(columns)]
            for name in wanted:
                require_granted(name, place.record_class, file_keys)
            if wanted:
                # One row makes pyarrow ask for each key. No threads: on one of Arrow's a callback may end the process.
                next(file.iter_batches(batch_size=1, row_groups=[0], columns=wanted, use_threads=False))
        leaves = [leaf for name in wanted for leaf in leaf_paths(SCHEMA.field(name))]
        keys = {leaf: kms.data_keys[ids[leaf]] for leaf in leaves}
        return DataKeys(kms.data_keys[place.footer_id()], keys, present, rows, groups, told)
    except (pa.ArrowException, OSError, KeyError, StopIteration) as problem:
        raise FaultError(f"opening {place}: it is missing, damaged, or not a file of this vault") from problem


def scan(path: Path, keys: DataKeys, columns: Iterable[str]) -> pl.LazyFrame:
    """A lazy scan of `columns` that fills those the file has not with nulls. It holds keys: use it up and drop it."""
    names = list(columns)
    decryption = pl.ParquetDecryptionProperties(footer_key=keys.footer, column_keys=dict(keys.columns))
    return pl.scan_parquet(
        path,
        decryption=decryption,
        schema={name: polars_type(name) for name in names},
        missing_columns="insert",
        extra_columns="ignore",
        glob=False,
        hive_partitioning=False,
    ).select(names)


def collect(lazy: pl.LazyFrame, place: Place) -> pl.DataFrame:
    """Runs a scan. Raises `FaultError` when a page of the file was changed."""
    try:
        return lazy.collect()
    except (pl.exceptions.PolarsError, OSError):
        # Without its cause: Polars' message may quote the filter, and with it a target.
        raise FaultError(f"reading {place}: it is missing, damaged, or its keys are not these") from None


def head(path: Path, place: Place, file_keys: Mapping[str, bytes], columns: Iterable[str], rows: int) -> pl.DataFrame:
    """The first `rows` rows of a file; a column that it has not is null. As `unwrap` and `collect`."""
    names = list(columns)
    return collect(scan(path, unwrap(path, place, file_keys, names), names).head(rows), place)


def tables(
    path: Path, place: Place, file_keys: Mapping[str, bytes], columns: Iterable[str], but: Collection[str] = ()
) -> Iterator[pa.Table]:
    """The rows of a file, one row group after the other, of `columns`, which it must have; text as dictionaries, but
    for the columns in `but`.

    As `unwrap` it must be used on the thread that waits for it, and raises; `FaultError` also for a page that was
    changed.
    """
    kms = _FileKms(place, file_keys)
    factory = pe.CryptoFactory(lambda _: kms)
    properties = factory.file_decryption_properties(pe.KmsConnectionConfig(), pe.DecryptionConfiguration())
    wanted = list(columns)
    listed = [name for name in wanted if SCHEMA.field(name).type == pa.string() and name not in {*but, *_ENCODINGS}]
    for name in wanted:
        require_granted(name, place.record_class, file_keys)
    try:
        with pq.ParquetFile(path, decryption_properties=properties, read_dictionary=listed, pre_buffer=False) as file:
            for index in range(file.num_row_groups):
                yield file.read_row_group(index, columns=wanted, use_threads=False)
    except (pa.ArrowException, OSError, KeyError) as problem:
        raise FaultError(f"reading {place}: it is missing, damaged, or not a file of this vault") from problem


def require_granted(column: str, record_class: str, file_keys: Mapping[str, bytes]) -> None:
    """Returns when `file_keys` has the category of `column`; else raises `RefusedError` naming both."""
    if column not in BY_NAME:
        raise UsageError(f"reading {record_class}: {column} is not a column of the record")
    category = category_of(column, record_class)
    if category not in file_keys:
        raise RefusedError(f"reading {column} of {record_class}: its category {category} was not opened")


def polars_type(column: str) -> pl.DataType:
    """The Polars type of a column of the record."""
    return _POLARS_TYPES[column]


_POLARS_TYPES: dict[str, pl.DataType] = dict(pl.DataFrame(pl.from_arrow(SCHEMA.empty_table())).schema)


def _key_ids(schema: pa.Schema, place: Place) -> dict[str, str]:
    """The key id of every leaf path of `schema`. Raises `FaultError` for what is not of the record: it has no key."""
    ids: dict[str, str] = {}
    for column in schema:
        if column.name not in BY_NAME or _stored(column.type) != SCHEMA.field(column.name).type:
            raise FaultError(f"sealing {place}: {column.name} is not a column of the record, or is not of its type")
        category = category_of(column.name, place.record_class)
        ids |= {leaf: place.key_id(category, leaf) for leaf in leaf_paths(SCHEMA.field(column.name))}
    return ids


def _stored(type_: pa.DataType) -> pa.DataType:
    """The type that a value of `type_` has when it is read from Parquet again."""
    plain = type_.value_type if pa.types.is_dictionary(type_) else type_
    return pa.string() if pa.types.is_string_view(plain) else plain


def _require_every_path(schema: pa.Schema, named: frozenset[str], place: Place) -> None:
    """Compares the paths that have a key with what Parquet itself makes of `schema`."""
    paths = _paths(schema)
    if paths != named:
        raise FaultError(f"sealing {place}: {len(paths ^ named)} Parquet paths have no category and would lie open")


@lru_cache(64)
def _paths(schema: pa.Schema) -> frozenset[str]:
    sink = io.BytesIO()
    pq.write_table(schema.empty_table(), sink)
    parquet = pq.ParquetFile(sink).schema
    return frozenset(parquet.column(index).path for index in range(len(parquet)))


class _FileKms(pe.KmsClient):  # type: ignore[misc]  # pyarrow has no annotations
    """Wraps and unwraps the data keys of one file, under the keys of the categories that were given."""

    def __init__(self, place: Place, file_keys: Mapping[str, bytes]) -> None:
        super().__init__()
        self._place = place
        self._file_keys = file_keys
        self.used: set[str] = set()
        self.data_keys: dict[str, bytes] = {}

    def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> bytes:
        """The data key, encrypted for this key id; `AES-256-GCM(nonce, key, associated data = id)` as base64."""
        key = self._key_of(master_key_identifier)
        self.used.add(master_key_identifier)
        nonce = os.urandom(_NONCE_BYTES)
        return base64.b64encode(nonce + AESGCM(key).encrypt(nonce, key_bytes, master_key_identifier.encode()))

    def unwrap_key(self, wrapped_key: bytes, master_key_identifier: str) -> bytes:
        """The inverse of `wrap_key`; remembers the data key by its id."""
        key = self._key_of(master_key_identifier)
        try:
            blob = base64.b64decode(wrapped_key, validate=True)
            data_key = AESGCM(key).decrypt(blob[:_NONCE_BYTES], blob[_NONCE_BYTES:], master_key_identifier.encode())
        except (InvalidTag, ValueError) as problem:
            raise FaultError(f"opening {self._place}: a wrapped key was changed, or is of another vault") from problem
        self.data_keys[master_key_identifier] = data_key
        return data_key

    def _key_of(self, key_id: str) -> bytes:
        match = _KEY_ID.fullmatch(key_id)
        stated = f"{match['class']}/{match['day']}/{match['file']}.parquet" if match else "something of another form"
        if match is None or stated != str(self._place):
            raise FaultError(f"opening {self._place}: the file says it is {stated}; it was exchanged, renamed or moved")
        if match["category"] not in self._file_keys:
            raise RefusedError(f"opening {self._place}: its category {match['category']} was not opened")
        return self._file_keys[match["category"]]
