"""A package: its three files, its manifest, and that it appears whole or not at all."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trafficvault.packages import NOON, PUBLIC, V4, V6, table, write
from trafficvault import delivery, signing, tabular
from trafficvault.errors import FaultError, UsageError


def read_csv(directory: Path) -> list[dict[str, str]]:
    """The rows of records.csv."""
    return list(csv.DictReader(io.StringIO((directory / "records.csv").read_text("utf-8"))))


def read_json(directory: Path) -> dict[str, Any]:
    """The content of records.json."""
    found: dict[str, Any] = json.loads((directory / "records.json").read_text("utf-8"))
    return found


def test_the_three_files(tmp_path: Path) -> None:
    """The same rows stand in CSV, JSON and Parquet, with addresses as text, times in UTC, and the mark in each row."""
    out = tmp_path / "out"
    write(out, [table("+31612345678", "112"), table(None)])
    rows, records, parquet = read_csv(out), read_json(out), pq.read_table(out / "records.parquet")

    assert rows[0] == {
        "a_number": "+31612345678", "start": "2026-06-10T12:00:00.250000Z", "day": "2026-06-10",
        "public_ip": "192.0.2.1", "mail_to": '["x@m.example","y\\"@m.example"]',
        "other_parties": '[{"role":"x","number":"+31"}]', "targets": "[1,2]",
        "emergency": "", "duration_ms": str(2**60), "retained_data": "true",
    }  # fmt: skip
    assert [row["public_ip"] for row in rows] == ["192.0.2.1", "2001:db8::1", "192.0.2.1"]
    assert records["retained_data"] is True and len(records["records"]) == 3
    assert records["records"][1] == {
        "a_number": "112", "start": "2026-06-10T12:00:00.250000Z", "day": "2026-06-10", "public_ip": "2001:db8::1",
        "mail_to": ["x@m.example", 'y"@m.example'], "targets": [1, 2],
        "other_parties": [{"role": "x", "number": "+31"}], "emergency": None, "duration_ms": 2**60,
        "retained_data": True,
    }  # fmt: skip
    assert parquet.column_names == list(rows[0]) == list(records["records"][0])
    assert parquet["start"].to_pylist() == [NOON] * 3 and parquet["public_ip"].to_pylist()[2] == "192.0.2.1"
    assert parquet["retained_data"].to_pylist() == [True] * 3
    assert parquet.schema.metadata[b"retained_data"] == b"true"


def test_an_empty_answer(tmp_path: Path) -> None:
    """An answer without rows has its columns; one without even a table is a package too."""
    write(tmp_path / "empty", [table().slice(0, 0)])
    write(tmp_path / "nothing", [])

    assert read_csv(tmp_path / "empty") == [] and read_json(tmp_path / "empty")["records"] == []
    assert (tmp_path / "empty" / "records.csv").read_text().startswith('"a_number","start"')
    assert pq.read_table(tmp_path / "empty" / "records.parquet").num_rows == 0
    assert read_json(tmp_path / "nothing")["records"] == []
    assert delivery.verify_package(tmp_path / "nothing", PUBLIC)["rows"] == 0


SPREADSHEET = [
    ("=1+1", "'=1+1"),
    ("+31612345678", "+31612345678"),
    ("+31 6", "'+31 6"),
    ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
    ("-1", "'-1"),
    ("@SUM(1)", "'@SUM(1)"),
    ("\t=1", "'\t=1"),
    ("\r=1", "'\r=1"),
    ("\n=1", "'\n=1"),
    ("'=1", "''=1"),
    ("'t Hart", "'t Hart"),
    ("*31#", "*31#"),
    ("a=1", "a=1"),
    ('say "hi", you', 'say "hi", you'),
    ("two\nlines", "two\nlines"),
    ("", ""),
]


@pytest.mark.parametrize(("value", "cell"), SPREADSHEET)
def test_cells_are_spreadsheet_safe(value: str, cell: str, tmp_path: Path) -> None:
    """A cell that a spreadsheet would compute is text in CSV, and as it was in JSON and Parquet."""
    write(tmp_path / "out", [pa.table({"value": [value]})])
    content = (tmp_path / "out" / "records.csv").read_bytes().decode()

    assert next(csv.DictReader(io.StringIO(content, newline="")))["value"] == cell
    assert read_json(tmp_path / "out")["records"][0]["value"] == value
    assert pq.read_table(tmp_path / "out" / "records.parquet")["value"].to_pylist() == [value]


@settings(max_examples=25, deadline=None)
@given(
    texts=st.lists(
        st.none() | st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=8)
    )
)
def test_any_text_survives(texts: list[str | None], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Every text comes back from all three files, from CSV after taking one apostrophe off a guarded cell."""
    out = tmp_path_factory.mktemp("any") / "out"
    write(out, [pa.table({"value": pa.array(texts, pa.string()), "row": pa.array(range(len(texts)), pa.int64())})])
    content = (out / "records.csv").read_bytes().decode()
    cells = [row["value"] for row in csv.DictReader(io.StringIO(content, newline=""))]

    def bare(cell: str) -> str:
        return (
            cell[1:]
            if cell.startswith("'") and cell.lstrip("'")[:1] in tuple("=+-@\t\r\n") and cell.lstrip("'")
            else cell
        )

    assert [bare(cell) for cell in cells] == [text or "" for text in texts]
    assert not any(cell[:1] in tuple("=-@\t\r\n") and cell for cell in cells)
    assert [row["value"] for row in read_json(out)["records"]] == texts
    assert pq.read_table(out / "records.parquet")["value"].to_pylist() == texts


@pytest.mark.parametrize("rows", [0, 1, 3, 65, 600])
def test_few_rows_are_written_as_many_are(rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a table is written at once or on threads, and waits for the next or not, the texts are the same."""
    texts = pa.table({"value": [value for value, _ in SPREADSHEET], "none": pa.nulls(len(SPREADSHEET), pa.string())})
    tables = [
        pa.concat_tables([one] * 40).slice(0, rows)
        for one in (texts, table(*(str(number) for number in range(15)), None))
    ]
    for number, one in enumerate(tables):
        write(tmp_path / f"at once {number}", [one, one.slice(0, 2)])
        write(tmp_path / f"alone {number}", [one])
    monkeypatch.setattr(tabular, "_FEW_ROWS", -1)
    monkeypatch.setattr(delivery, "_FEW_ROWS", -1)
    for number, one in enumerate(tables):
        for name, given_ in (("at once", [one, one.slice(0, 2)]), ("alone", [one])):
            few, many = tmp_path / f"{name} {number}", tmp_path / f"{name} {number} on threads"
            write(many, given_)
            assert [(few / text).read_bytes() for text in tabular.NAMES[:2]] == [
                (many / text).read_bytes() for text in tabular.NAMES[:2]
            ]
            assert pq.read_table(few / tabular.PARQUET).equals(pq.read_table(many / tabular.PARQUET))


@given(texts=st.lists(st.sampled_from([value for value, _ in SPREADSHEET]) | st.text(max_size=3), min_size=1))
def test_a_column_with_a_formula_is_looked_through(texts: list[str]) -> None:
    """However many texts there are: none that a spreadsheet would compute is passed over."""
    few, many = tabular._may_be_formula(pl.Series(texts)), tabular._may_be_formula(pl.Series(texts * 600))

    assert many or not few


@pytest.mark.parametrize(
    "text", ["204990000000001", "7e", "2026-11-25T10:00:00.000000Z", "mvno_pipe", "K300", "\u00e9"]
)
def test_plain_columns_are_not_looked_through(text: str) -> None:
    """What begins with a digit, or with a letter, is no formula, nor is nothing."""
    assert not tabular._may_be_formula(pl.Series([text] * 600))
    assert not tabular._may_be_formula(pl.Series([None] * 600, dtype=pl.String))


def test_a_tiny_answer_is_not_compressed(tmp_path: Path) -> None:
    """Of a few rows Parquet is smaller without; of more, and of several tables, it is compressed, and then smaller
    without dictionaries.
    """
    tiny, more = pa.table({"x": ["a"] * 64}), pa.table({"x": ["a"] * 65})
    for name, tables in (("tiny", [tiny]), ("more", [more]), ("several", [tiny, tiny])):
        write(tmp_path / name, tables)
    columns = {
        name: pq.ParquetFile(tmp_path / name / tabular.PARQUET).metadata.row_group(0).column(0)
        for name in ("tiny", "more", "several")
    }
    written = {name: (column.compression, column.has_dictionary_page) for name, column in columns.items()}

    assert written == {"tiny": ("UNCOMPRESSED", True), "more": ("ZSTD", False), "several": ("ZSTD", False)}


_MANIFESTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
)


@given(_MANIFESTS)
def test_a_manifest_is_indented(value: object) -> None:
    """A manifest is written as the standard library writes it with an indent of two."""
    assert delivery._indented(value) == json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)


@given(st.binary(min_size=16, max_size=16))
def test_addresses_are_text(packed: bytes) -> None:
    """The text of an address is the address; an IPv4-mapped one is written as IPv4."""
    text = tabular.text_of_address(packed)
    address = IPv6Address(packed)

    assert text == (str(address.ipv4_mapped) if address.ipv4_mapped else str(address))


def test_fixed_and_large_addresses(tmp_path: Path) -> None:
    """Addresses of every binary type become text; what is no address is refused without its bytes."""
    for number, type_ in enumerate([pa.binary(16), pa.binary(), pa.large_binary()]):
        write(tmp_path / str(number), [pa.table({"ip": pa.array([V4, None, V6], type_)})])
        assert [row["ip"] for row in read_csv(tmp_path / str(number))] == ["192.0.2.1", "", "2001:db8::1"]
    with pytest.raises(FaultError, match="16 bytes") as refused:
        write(tmp_path / "wrong", [pa.table({"ip": pa.array([b"abc"], pa.binary())})])
    assert "abc" not in str(refused.value)


def test_times_of_another_unit_or_zone(tmp_path: Path) -> None:
    """Whatever the unit and the zone of a column, its times are told in UTC and microseconds."""
    times = pa.array([NOON], pa.timestamp("ms", "Asia/Tokyo"))
    write(tmp_path / "out", [pa.table({"at": times})])

    assert read_csv(tmp_path / "out")[0]["at"] == "2026-06-10T12:00:00.250000Z"
    assert pq.read_table(tmp_path / "out" / "records.parquet").schema.field("at").type == pa.timestamp("us", "UTC")


def test_tables_of_other_columns(tmp_path: Path) -> None:
    """Tables of one package have one schema, and a broken one leaves nothing."""
    with pytest.raises(FaultError, match="other columns"):
        write(tmp_path / "out", [pa.table({"x": [1]}), pa.table({"y": [1]})])

    assert list(tmp_path.iterdir()) == []


def test_the_manifest(tmp_path: Path) -> None:
    """The manifest lists each file with size, rows and digest, is signed, and its digest is what the log gets."""
    out = tmp_path / "deep" / "out"
    sealed = write(out, [table("1", "2"), table("3")], {"kind": "package", "v": 1, "question": {"name": "activity"}})
    manifest = json.loads((out / "manifest.json").read_text())

    assert sealed.told == [(signing.digest(manifest), 3)] and not sealed.visible
    assert manifest["kind"] == "package" and manifest["question"] == {"name": "activity"} and manifest["rows"] == 3
    assert [(item["name"], item["rows"]) for item in manifest["files"]] == [
        ("records.csv", 3), ("records.json", 3), ("records.parquet", 3),
    ]  # fmt: skip
    assert delivery.verify_package(out, PUBLIC) == manifest
    assert sorted(path.name for path in out.iterdir()) == ["manifest.json", *tabular.NAMES]
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_the_same_answer_has_the_same_digest(tmp_path: Path) -> None:
    """The same rows and manifest again give the same files and the same digest."""
    first = write(tmp_path / "one", [table("1", "2")])
    second = write(tmp_path / "two", [table("1", "2")])

    assert first.told == second.told


def test_a_manifest_that_is_filled_while_rows_come(tmp_path: Path) -> None:
    """What the search learns while it yields rows still enters the manifest."""
    manifest: dict[str, Any] = {"kind": "package", "v": 1}

    def tables() -> Iterator[pa.Table]:
        yield table("1")
        manifest["days_searched"] = ["2026-06-10"]

    write(tmp_path / "out", tables(), manifest)

    assert delivery.verify_package(tmp_path / "out", PUBLIC)["days_searched"] == ["2026-06-10"]


@pytest.mark.parametrize("name", ["files", "rows", "signature", "public_key"])
def test_names_of_the_manifest(name: str, tmp_path: Path) -> None:
    """What the package says of itself can't be given by its caller."""
    with pytest.raises(ValueError, match=name):
        write(tmp_path / "out", [table("1")], {name: 1})
    assert list(tmp_path.iterdir()) == []


def test_directories_are_private(tmp_path: Path) -> None:
    """Nobody but its owner may enter a package."""
    write(tmp_path / "out", [table("1")])

    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o700


def test_a_package_lies_apart(tmp_path: Path) -> None:
    """A new directory has a place for it; one that exists, and one inside what it must be apart from, has none."""
    (tmp_path / "vault").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "vault")
    apart = (tmp_path / "vault", tmp_path / "keys")
    delivery.require_place(tmp_path / "vaults" / "package", apart, "running a warrant")

    with pytest.raises(UsageError, match=r"^running a warrant: .*vault exists; name a new directory"):
        delivery.require_place(tmp_path / "vault", apart, "running a warrant")
    for inside in (tmp_path / "vault" / "deep" / "package", tmp_path / "keys", tmp_path / "link" / "package"):
        with pytest.raises(UsageError, match=r"^running a warrant: .* lies inside (vault|keys); a package is in clear"):
            delivery.require_place(inside, apart, "running a warrant")
