"""A package: its three files, its manifest, and that it appears whole or not at all."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trafficvault import delivery, durable, signing, tabular
from trafficvault.durable import PART, Disk
from trafficvault.errors import FaultError, UsageError

KEY = bytes(range(32))
PUBLIC = signing.public_key_of(KEY)
NOON = datetime(2026, 6, 10, 12, 0, 0, 250_000, tzinfo=UTC)
V4 = bytes(10) + b"\xff\xff" + bytes([192, 0, 2, 1])
V6 = bytes.fromhex("20010db8000000000000000000000001")


def sign(message: bytes) -> str:
    """The vault's signature."""
    return signing.sign(KEY, message)


def table(*numbers: str | None) -> pa.Table:
    """Rows as a question gives them: addresses as bytes, times, lists, booleans."""
    count = len(numbers)
    return pa.table(
        {
            "a_number": pa.array(numbers, pa.string()),
            "start": pa.array([NOON] * count, pa.timestamp("us", tz="UTC")),
            "day": pa.array([NOON.date()] * count, pa.date32()),
            "public_ip": pa.array([V4, V6, None][:count] + [None] * max(0, count - 3), pa.binary()),
            "mail_to": pa.array([["x@m.example", 'y"@m.example']] * count, pa.list_(pa.string())),
            "other_parties": pa.array([[{"role": "x", "number": "+31"}]] * count),
            "targets": pa.array([[1, 2]] * count, pa.list_(pa.int32())),
            "emergency": pa.array([None] * count, pa.bool_()),
            "duration_ms": pa.array([2**60] * count, pa.int64()),
        }
    )


class Sealed:
    """Keeps what `on_sealed` was told, and whether the package could be seen then."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.told: list[tuple[str, int]] = []
        self.visible = False

    def __call__(self, digest: str, rows: int) -> None:
        """Notes it."""
        self.visible = self.directory.exists()
        self.told.append((digest, rows))


def write(directory: Path, tables: Any, manifest: dict[str, Any] | None = None, disk: Disk | None = None) -> Sealed:
    """Writes a package."""
    sealed = Sealed(directory)
    delivery.write_package(
        disk or Disk(),
        directory,
        tables,
        {"kind": "package", "v": 1} if manifest is None else manifest,
        sign,
        PUBLIC,
        sealed,
    )
    return sealed


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


def change(path: Path) -> None:
    """Flips one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", tabular.NAMES)
def test_a_changed_file(name: str, tmp_path: Path) -> None:
    """A flipped bit, a missing, a linked, a truncated and an extra file are found and named."""
    out = tmp_path / "out"
    write(out, [table("1")])
    content = (out / name).read_bytes()

    change(out / name)
    with pytest.raises(FaultError, match=f"{name} was changed"):
        delivery.verify_package(out, PUBLIC)
    (out / name).write_bytes(content[:-1])
    with pytest.raises(FaultError, match=f"{name} was changed"):
        delivery.verify_package(out, PUBLIC)
    (out / name).rename(tmp_path / "moved")
    with pytest.raises(FaultError, match=f"{name} is missing"):
        delivery.verify_package(out, PUBLIC)
    (out / name).symlink_to(tmp_path / "moved")
    with pytest.raises(FaultError, match=f"{name} is missing"):
        delivery.verify_package(out, PUBLIC)
    (out / name).unlink()
    (out / name).write_bytes(content)
    (out / "extra.csv").write_text("x")
    with pytest.raises(FaultError, match="1 files in it are not in its manifest"):
        delivery.verify_package(out, PUBLIC)


def test_a_changed_manifest(tmp_path: Path) -> None:
    """No part of the manifest can be changed, doubled or left out without the signature telling."""
    out = tmp_path / "out"
    write(out, [table("1")], {"kind": "package", "v": 1, "complete": False})
    path = out / "manifest.json"
    manifest = json.loads(path.read_text())

    for other in (
        manifest | {"complete": True},
        manifest | {"rows": 2},
        manifest | {"signature": "00" * 64},
        {name: value for name, value in manifest.items() if name != "signature"},
        manifest | {"public_key": signing.public_key_of(bytes(32)), "signature": signing.sign(bytes(32), b"")},
    ):
        path.write_text(json.dumps(other))
        with pytest.raises(FaultError, match="signature"):
            delivery.verify_package(out, PUBLIC)
    path.write_text(json.dumps(manifest)[:-1] + ', "complete": true}')
    with pytest.raises(FaultError, match="not JSON"):
        delivery.verify_package(out, PUBLIC)
    for content in ("[]", "nothing"):
        path.write_text(content)
        with pytest.raises(FaultError):
            delivery.verify_package(out, PUBLIC)
    forms: list[dict[str, Any]] = [{"files": [{}]}, {"files": 1}, {}, manifest | {"rows": 0.5}]
    for broken in forms:
        path.write_text(json.dumps(broken))
        with pytest.raises(FaultError, match="form of a manifest"):
            delivery.verify_package(out, PUBLIC)
    path.unlink()
    with pytest.raises(FaultError, match="missing"):
        delivery.verify_package(out, PUBLIC)


def test_a_name_that_leads_elsewhere(tmp_path: Path) -> None:
    """A signed manifest that names a file outside its directory reads nothing there."""
    out = tmp_path / "out"
    out.mkdir()
    manifest: dict[str, Any] = {"files": [{"name": "../secret", "bytes": 1, "sha256": "00"}]}
    (tmp_path / "secret").write_text("x")
    (out / "manifest.json").write_text(json.dumps(manifest | {"signature": sign(signing.canonical(manifest))}))

    with pytest.raises(FaultError, match="is missing"):
        delivery.verify_package(out, PUBLIC)


# whole or not at all


def test_an_existing_directory(tmp_path: Path) -> None:
    """A package never overwrites, neither a directory nor a link to nowhere."""
    (tmp_path / "out").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("out", "link"):
        with pytest.raises(UsageError, match="exists; name a new directory"):
            write(tmp_path / name, [table("1")])
    assert list((tmp_path / "out").iterdir()) == []


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


def test_a_log_that_cannot_be_written(tmp_path: Path) -> None:
    """When the result can't enter the log, nothing leaves and nothing stays."""

    def refuse(digest: str, rows: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        delivery.write_package(Disk(), tmp_path / "out", [table("1")], {}, sign, PUBLIC, refuse)
    assert list(tmp_path.iterdir()) == []


class StoppingDisk(Disk):
    """A disk that ends the run before its n-th step; a crash leaves what is there."""

    def __init__(self, at: int) -> None:
        self.left = at
        self.steps: list[str] = []

    def step(self, name: str) -> None:
        """Counts down."""
        self.steps.append(name)
        if self.left == 0:
            raise OSError(5, "Input/output error")
        self.left -= 1


def test_a_fault_at_every_step(tmp_path: Path) -> None:
    """A fault at any step leaves a whole package or nothing; never one that the log was not told of."""
    counting = StoppingDisk(1000)
    write(tmp_path / "all", [table("1")], disk=counting)
    assert {"before sealed package", "before rename package", "after rename package"} <= set(counting.steps)

    for at in range(len(counting.steps)):
        parent = tmp_path / str(at)
        parent.mkdir()
        sealed = Sealed(parent / "out")
        with pytest.raises(OSError, match="Input/output"):
            delivery.write_package(StoppingDisk(at), parent / "out", [table("1")], {}, sign, PUBLIC, sealed)
        assert not list(parent.glob(f"{delivery.HIDDEN}*"))
        if (parent / "out").exists():
            assert sealed.told
            delivery.verify_package(parent / "out", PUBLIC)


def test_leftovers_are_swept(tmp_path: Path) -> None:
    """What a killed process left is removed; what a living one writes, and what is not ours, stays."""
    dead, living = (tmp_path / f"{delivery.HIDDEN}out{PART}{name}" for name in ("dead", "live"))
    for path in (dead, living):
        path.mkdir()
        (path / "records.csv").write_text("+31612345678")
    (tmp_path / f"{delivery.HIDDEN}mine").mkdir()
    (tmp_path / f"{delivery.HIDDEN}file{PART}1").write_text("x")
    (tmp_path / f"{delivery.HIDDEN}link{PART}1").symlink_to(tmp_path)
    handle = os.open(living, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    write(tmp_path / "out", [table("1")])

    assert not dead.exists() and living.exists()
    os.close(handle)
    assert delivery.sweep(Disk(), tmp_path) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"{delivery.HIDDEN}file{PART}1", f"{delivery.HIDDEN}link{PART}1", f"{delivery.HIDDEN}mine", "out",
    ]  # fmt: skip


def test_directories_are_private(tmp_path: Path) -> None:
    """Nobody but its owner may enter a package."""
    write(tmp_path / "out", [table("1")])

    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o700


def test_a_file_that_can_not_be_made_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the files that are fsynced together one fails: there is no package, and no result is entered."""
    real = durable.sync_file

    def fails(path: Path) -> None:
        if path.name == "records.json":
            raise OSError(5, "Input/output error")
        real(path)

    monkeypatch.setattr(durable, "sync_file", fails)
    with pytest.raises(OSError, match="Input/output error"):
        write(tmp_path / "package", [table("1")])
    assert list(tmp_path.iterdir()) == []
