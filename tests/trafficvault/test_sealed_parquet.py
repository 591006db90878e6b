"""Encrypted Parquet: everything sealed, each category alone, and no file that passes for another."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingest.record import CATEGORIES, CLASSES, SCHEMA, category_of, columns_of, leaf_paths
from tests.trafficvault.sealed_store import DAY, full_table, value_of
from trafficvault import sealed_parquet
from trafficvault.errors import FaultError, RefusedError, UsageError
from trafficvault.sealed_parquet import Place

FILE = "0a" * 16
PLACE = Place("mobile_usage", DAY, FILE)
KEYS = {category: bytes([number]) * 32 for number, category in enumerate(CATEGORIES)}
MARKS = 3


def write(path: Path, table: pa.Table, place: Place, file_keys: Mapping[str, bytes]) -> None:
    """A whole file of `table`."""
    writer = sealed_parquet.Writer(path, table.schema, place, file_keys)
    try:
        writer.append(table)
    except BaseException:
        writer.abandon()
        raise
    writer.close()


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a value in every column, written once."""
    path = tmp_path_factory.mktemp("sealed") / "file.parquet"
    write(path, full_table(MARKS), PLACE, KEYS)
    return path


def rows_of(path: Path, columns: Iterable[str], keys: dict[str, bytes], place: Place = PLACE) -> pl.DataFrame:
    """The rows of a file, as the store reads them."""
    names = list(columns)
    opened = sealed_parquet.unwrap(path, place, keys, names)
    return sealed_parquet.collect(sealed_parquet.scan(path, opened, names), place)


def without(*categories: str) -> dict[str, bytes]:
    """All keys of the file but those."""
    return {category: key for category, key in KEYS.items() if category not in categories}


def marks(column: str) -> list[bytes]:
    """The bytes by which a value of `column` would be found in a file."""
    found: list[bytes] = []

    def walk(value: Any) -> None:
        match value:
            case bool():
                return
            case str():
                found.append(value.encode())
            case bytes():
                found.append(value)
            case int():
                found.append(value.to_bytes(8 if SCHEMA.field(column).type == pa.int64() else 4, "little"))
            case list():
                for item in value:
                    walk(item)
            case dict():
                for item in value.values():
                    walk(item)
            case _:
                micros = pa.scalar(value, pa.timestamp("us", tz="UTC")).value
                found.append(micros.to_bytes(8, "little"))

    walk(value_of(column, 0))
    return found


MARKED = [name for name in SCHEMA.names if not pa.types.is_boolean(SCHEMA.field(name).type)]


def test_no_value_of_any_column_stands_in_the_file(tmp_path: Path) -> None:
    """One marker per column and leaf, IPs as their 16 bytes: a plain file shows each of them, ours shows none."""
    table = full_table(1)
    plain, path = tmp_path / "plain.parquet", tmp_path / "sealed.parquet"
    pq.write_table(table, plain, compression="none", use_dictionary=False)
    write(path, table, PLACE, KEYS)
    in_plain, in_sealed = plain.read_bytes(), path.read_bytes()

    for name in MARKED:
        assert marks(name)
        for mark in marks(name):
            assert mark in in_plain, name
            assert mark not in in_sealed, name
    assert b"a_number" not in in_sealed  # nor does the footer tell which columns there are


@pytest.mark.parametrize("record_class", CLASSES)
def test_every_column_of_every_class_reads_back(tmp_path: Path, record_class: str) -> None:
    """All columns, nested ones too, with the values they were written with."""
    place, table = Place(record_class, DAY, FILE), full_table()
    write(tmp_path / "f", table, place, KEYS)
    read = rows_of(tmp_path / "f", SCHEMA.names, KEYS, place)

    assert read.to_arrow().cast(SCHEMA).equals(table)


@pytest.mark.parametrize("record_class", ["mobile_usage", "telephony"])
@pytest.mark.parametrize("category", ["who", "where", "when", "how_much"])
def test_a_category_opens_without_the_others(tmp_path: Path, category: str, record_class: str) -> None:
    """With the frame key and its own, its columns read; asking for one more is refused by name."""
    place, table = Place(record_class, DAY, FILE), full_table()
    write(tmp_path / "f", table, place, KEYS)
    keys = {name: KEYS[name] for name in ("frame", category)}
    columns = columns_of(category, record_class)

    assert (
        rows_of(tmp_path / "f", columns, keys, place)
        .to_arrow()
        .cast(pa.schema([SCHEMA.field(name) for name in columns]))
        .equals(table.select(columns))
    )
    for outside in SCHEMA.names:
        if category_of(outside, record_class) not in keys:
            with pytest.raises(RefusedError, match=f"category {category_of(outside, record_class)} was not opened"):
                sealed_parquet.unwrap(tmp_path / "f", place, keys, [outside])


def test_the_offset_of_a_mobile_record_is_where(tmp_path: Path) -> None:
    """It names the country; in other classes it is `when`."""
    with pytest.raises(RefusedError, match="utc_offset of mobile_usage: its category where"):
        sealed_parquet.require_granted("utc_offset", "mobile_usage", without("where"))
    sealed_parquet.require_granted("utc_offset", "telephony", without("where"))


def test_only_the_wanted_data_keys_are_unwrapped(sealed: Path) -> None:
    """A question about numbers holds no other column's key, and none prints."""
    opened = sealed_parquet.unwrap(sealed, PLACE, KEYS, ["a_number", "other_parties"])

    assert set(opened.columns) == {"a_number", *leaf_paths(SCHEMA.field("other_parties"))}
    assert opened.rows == MARKS
    assert opened.present == tuple(SCHEMA.names)
    assert opened.footer.hex() not in repr(opened)
    assert all(repr(key) not in repr(opened) for key in opened.columns.values())


def test_without_the_frame_key_nothing_opens(sealed: Path) -> None:
    """The footer is sealed under it."""
    with pytest.raises(RefusedError, match="category frame was not opened"):
        sealed_parquet.unwrap(sealed, PLACE, without("frame"), ["a_number"])


def test_a_destroyed_category_leaves_the_others_readable(sealed: Path) -> None:
    """All but `where` read as before; a key that is merely wrong is a fault, not the end of the process."""
    others = [name for name in SCHEMA.names if category_of(name, "mobile_usage") != "where"]

    assert rows_of(sealed, others, without("where")).height == MARKS
    with pytest.raises(FaultError, match="wrapped key was changed"):
        sealed_parquet.unwrap(sealed, PLACE, KEYS | {"where": bytes(32)}, ["start_cell"])
    with pytest.raises(FaultError, match="wrapped key was changed"):
        sealed_parquet.unwrap(sealed, PLACE, KEYS | {"frame": bytes(32)}, [])


@pytest.mark.parametrize(
    "expected",
    [
        Place("mobile_usage", DAY, "0b" * 16),
        Place("mobile_usage", date(2026, 3, 2), FILE),
        Place("telephony", DAY, FILE),
    ],
    ids=["renamed", "moved to another day", "moved to another class"],
)
def test_a_file_in_the_place_of_another_is_refused(sealed: Path, expected: Place) -> None:
    """Even under the very same keys: the expectation is the catalogue's, and the sentence names both."""
    with pytest.raises(FaultError, match="exchanged, renamed or moved") as raised:
        sealed_parquet.unwrap(sealed, expected, KEYS, ["a_number"])

    assert str(expected) in str(raised.value)
    assert str(PLACE) in str(raised.value)


def test_two_files_that_were_swapped_are_both_refused(tmp_path: Path) -> None:
    """Each says it is the other."""
    one, other = Place("mobile_usage", DAY, "01" * 16), Place("mobile_usage", DAY, "02" * 16)
    paths = {place: tmp_path / place.file_id for place in (one, other)}
    for place, path in paths.items():
        write(path, full_table(), place, KEYS)
    shutil.copy(paths[one], tmp_path / "aside")
    shutil.copy(paths[other], paths[one])
    shutil.copy(tmp_path / "aside", paths[other])

    for place, path in paths.items():
        with pytest.raises(FaultError, match="exchanged"):
            sealed_parquet.unwrap(path, place, KEYS, ["a_number"])


def test_a_footer_id_of_another_form_is_refused(tmp_path: Path) -> None:
    """The id stands in clear at the end of the file: whatever somebody wrote there is not repeated in the sentence."""
    write(tmp_path / "f", full_table(), PLACE, KEYS)
    blob = (tmp_path / "f").read_bytes()
    assert blob.count(PLACE.footer_id().encode()) == 1
    (tmp_path / "f").write_bytes(blob.replace(b"mobile_usage/2026-03-01", b"+31612345678:2026:03:01"))

    with pytest.raises(FaultError, match="something of another form") as raised:
        sealed_parquet.unwrap(tmp_path / "f", PLACE, KEYS, ["a_number"])
    assert "31612345678" not in str(raised.value)


def test_key_ids_hold_nothing_that_pyarrow_or_a_person_trips_over(sealed: Path) -> None:
    """No colon, semicolon, comma or blank, for those separate ids in the settings; one id per leaf."""
    ids = [
        PLACE.key_id(category_of(field.name, "mobile_usage"), leaf) for field in SCHEMA for leaf in leaf_paths(field)
    ]

    assert len({*ids, PLACE.footer_id()}) == len(ids) + 1
    assert not any(sign in key_id for key_id in ids for sign in ":;, ")
    assert PLACE.footer_id() == f"mobile_usage/2026-03-01/frame/{FILE}/footer"
    assert f"mobile_usage/2026-03-01/who/{FILE}/other_parties.list.element.number" in ids


@pytest.mark.parametrize(
    "table",
    [
        pa.table({"subject": ["x"]}),
        pa.table({"a_number": pa.array(["x"], pa.large_string())}),
        pa.table({"mail_to": pa.array([[{"address": "x"}]])}),
        pa.table({"other_parties": pa.array([[{"role": "a", "number": "b", "name": "c"}]])}),
    ],
    ids=["unknown column", "another type", "another nesting", "one more leaf"],
)
def test_a_column_without_a_category_is_refused(tmp_path: Path, table: pa.Table) -> None:
    """It would be written in plaintext, silently; nothing is written instead."""
    with pytest.raises(FaultError, match="not a column of the record, or is not of its type"):
        write(tmp_path / "f", table, PLACE, KEYS)
    assert not (tmp_path / "f").exists()


def test_a_leaf_path_that_parquet_names_otherwise_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ids are compared with what Parquet itself makes of the schema, before a byte is written."""
    monkeypatch.setattr(sealed_parquet, "leaf_paths", lambda field: (field.name,))

    with pytest.raises(FaultError, match="have no category and would lie open"):
        write(tmp_path / "f", full_table(), PLACE, KEYS)
    assert not (tmp_path / "f").exists()


def test_a_column_that_took_no_key_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a later pyarrow does with the settings, a key that was never asked for is a fault."""
    kms = sealed_parquet._FileKms

    class Deaf(kms):  # type: ignore[misc,valid-type]  # pyarrow has no annotations
        def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> bytes:
            wrapped: bytes = super().wrap_key(key_bytes, master_key_identifier)
            self.used.discard(PLACE.key_id("who", "a_number"))
            return wrapped

    monkeypatch.setattr(sealed_parquet, "_FileKms", Deaf)
    with pytest.raises(FaultError, match="did not take a key for every column"):
        write(tmp_path / "f", full_table(), PLACE, KEYS)


def test_a_category_without_a_key_is_not_written(tmp_path: Path) -> None:
    """With the `where` key gone, a table that has such a column is refused."""
    with pytest.raises(RefusedError, match="category where was not opened"):
        write(tmp_path / "f", full_table(), PLACE, without("where"))


def test_the_data_keys_are_new_for_every_file_and_column(tmp_path: Path) -> None:
    """The same table twice: no data key in common."""
    keys: list[bytes] = []
    for name in ("f", "g"):
        write(tmp_path / name, full_table(), PLACE, KEYS)
        opened = sealed_parquet.unwrap(tmp_path / name, PLACE, KEYS, SCHEMA.names)
        keys += [opened.footer, *opened.columns.values()]

    assert len({*keys}) == len(keys)
    assert {len(key) for key in keys} == {32}


def test_absent_columns_read_as_null_of_their_type(tmp_path: Path) -> None:
    """A file without IMSI, addresses, lists: they are null, and a filter may use them."""
    table = full_table().select(["a_number", "start"])
    write(tmp_path / "f", table, PLACE, KEYS)
    columns = ["a_number", "imsi", "public_ip", "other_parties", "mail_to", "end", "emergency", "row"]
    opened = sealed_parquet.unwrap(tmp_path / "f", PLACE, KEYS, columns)
    lazy = sealed_parquet.scan(tmp_path / "f", opened, columns)
    found = sealed_parquet.collect(
        lazy.filter((pl.col("imsi") == "1") | (pl.col("a_number") == value_of("a_number", 1))), PLACE
    )

    assert found.height == 1
    assert found.schema == pl.Schema({name: sealed_parquet.polars_type(name) for name in columns})
    assert found.drop("a_number").null_count().row(0) == (1,) * 7


def test_a_filter_is_pushed_into_the_scan(sealed: Path) -> None:
    """The who filter runs while reading, absent columns or not, and its plan shows no key."""
    opened = sealed_parquet.unwrap(sealed, PLACE, KEYS, ["a_number", "start"])
    lazy = sealed_parquet.scan(sealed, opened, ["a_number", "start"]).filter(pl.col("a_number") == "x")
    plan = lazy.explain()

    assert "SELECTION" in plan
    assert "FILTER" not in plan
    assert opened.columns["a_number"].hex() not in plan


def test_an_unknown_column_can_not_be_asked_for(sealed: Path) -> None:
    """Nor one that only looks like one."""
    with pytest.raises(UsageError, match="not a column of the record"):
        sealed_parquet.require_granted("subject", "mobile_usage", KEYS)


def test_a_missing_or_cut_file_is_a_fault(sealed: Path, tmp_path: Path) -> None:
    """Each with the place in the sentence."""
    blob = sealed.read_bytes()
    for content in (None, b"", blob[:100], blob[:-1], b"PAR1" + blob[4:-4] + b"PAR1"):
        if content is not None:
            (tmp_path / "f").write_bytes(content)
        with pytest.raises(FaultError, match=FILE):
            rows_of(tmp_path / "f", SCHEMA.names, KEYS)


def test_a_file_of_other_columns_under_the_right_keys_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later version's file, or one that somebody with the keys made, is not read as ours."""
    with monkeypatch.context() as patched:
        patched.setattr(sealed_parquet, "_key_ids", lambda schema, place: {"a_number": place.key_id("who", "a_number")})
        table = pa.table({"a_number": pa.array([7], pa.int64())})
        write(tmp_path / "f", table, PLACE, KEYS)

    with pytest.raises(FaultError, match="a_number is not a column of the record, or is not of its type"):
        sealed_parquet.unwrap(tmp_path / "f", PLACE, KEYS, [])


@pytest.mark.parametrize("kind", [pa.string_view(), pa.dictionary(pa.int32(), pa.string())])
def test_text_of_another_arrow_type_is_the_same_in_the_file(tmp_path: Path, kind: pa.DataType) -> None:
    """Views and dictionaries are written as text, and read as text; another value type is refused."""
    texts = ["+31612345678", None, "a text that is too long to lie within a view", "+31612345678"]
    table = pa.table({"a_number": pa.array(texts, pa.string()).cast(kind)})
    write(tmp_path / "f", table, PLACE, KEYS)
    assert rows_of(tmp_path / "f", ["a_number"], KEYS)["a_number"].to_list() == texts
    with pytest.raises(FaultError, match="is not of its type"):
        wrong = pa.table({"a_number": pa.array([1, 2]).dictionary_encode()})
        write(tmp_path / "g", wrong, PLACE, KEYS)


def test_a_column_sealed_under_another_category_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cell under the `who` key would open with the numbers."""
    with monkeypatch.context() as patched:
        patched.setattr(sealed_parquet, "category_of", lambda column, record_class: "who")
        write(tmp_path / "f", full_table().select(["start_cell"]), PLACE, KEYS)

    with pytest.raises(FaultError, match="damaged, or not a file of this vault"):
        sealed_parquet.unwrap(tmp_path / "f", PLACE, KEYS, ["start_cell"])


def test_one_flipped_bit_is_refused_or_changes_nothing(sealed: Path, tmp_path: Path) -> None:
    """Sampled over the file: a clean fault, never other rows, never the end of the process."""
    chance, blob, refused = random.Random(20260301), sealed.read_bytes(), 0
    whole = rows_of(sealed, SCHEMA.names, KEYS)
    for _ in range(60):
        changed = bytearray(blob)
        changed[chance.randrange(len(blob))] ^= 1 << chance.randrange(8)
        (tmp_path / "f").write_bytes(changed)
        try:
            assert rows_of(tmp_path / "f", SCHEMA.names, KEYS).equals(whole)
        except FaultError:
            refused += 1
    assert refused > 40
