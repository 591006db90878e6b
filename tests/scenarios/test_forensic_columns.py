"""What a forensic examiner finds of each column of each class: in every byte, and in record files, block files, seen
blocks and the temporary folder, with every key that he has.

All nine classes have a record of an old and of a living day, with a value in each column that a feed can fill, before
and after compaction. He has both directories from before the old day expired and from after, and the temporary folder.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Iterator
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from ingest.record import CATEGORIES, CLASSES, COLUMNS, FRAME, HOW_MUCH, WHEN, WHO, category_of
from tests.scenarios.test_forensic import image, pool
from tests.scenarios.test_markers import encodings
from tests.support import NOW, Order, answer, every_byte, ingest, new_vault, opened
from tests.trafficvault.short_location import entry
from trafficvault import compact, expire, sealed_parquet, sealing, seen
from trafficvault.blocks import BlockFile
from trafficvault.compaction import Selection
from trafficvault.errors import VaultError
from trafficvault.layout import Layout
from trafficvault.ring import is_row_key
from trafficvault.sealed_parquet import Place
from trafficvault.vault import Vault
from trafficvault.verify import verify

OLD, LIVING = date(2026, 5, 20), date(2026, 11, 10)
LATE = NOW + timedelta(days=3)
FILE = "marker-bestand-of-all-columns"
FILLED = {column.name for column in COLUMNS} - {"read_note"}
"""Every column but the one that tells of a file in another encoding."""
_SEEN_BY = (WHO, WHEN, HOW_MUCH)
_ROW_KEYS = 12
"""Keys of rows of the catalogue that are tried on files."""
_SHORTEST = 6
"""Bytes of a value that is looked for: a shorter one stands somewhere by chance."""
_FIXED: dict[str, str] = {
    "served": "a",
    "part": "only",
    "direction": "out",
    "protocol": "udp",
    "time_note": "derived",
    "time_precision": "us",
    "visited_country": "XK",
    "visited_plmn": "901-98",
}
"""Values of columns that take words of a list alone."""


def record(record_class: str, day: date, n: int) -> dict[str, Any]:
    """A record with a value in every column, of which each that can be told from others is told by column and `n`."""
    told: dict[str, Any] = {
        "class": record_class,
        "start": f"{day}T12:13:14.151{n}61Z",
        "answer": f"{day}T12:13:15.151{n}62Z",
        "end": f"{day}T12:13:16.151{n}63Z",
        "reported_at": f"{day}T12:13:16.151{n}64Z",
        "utc_offset": 97,
        "record_id": f"marker-{n}-record_id",
        "other_parties": [{"role": "forwarding", "number": f"+3169910{n}001"}],
        "mail_from": f"marker-{n}-mail@from.example",
        "mail_to": [f"marker-{n}-mail@to.example"],
        "a_asserted": f"+3169920{n}001",
        "dialled": f"069930{n}0001",
        "imsi": f"20499009900{n}003",
        "peer_imsi": f"20499009900{n}004",
        "imei": f"3599009900{n}004",
        "peer_imei": f"3599009900{n}005",
        "iccid": f"893149900990{n}000055",
        "eid": f"8904903200000000000000000{n}000012",
        "mac": f"02:99:00:9{n}:aa:bb",
        "start_cell": f"204-99-099{n}-0010",
        "end_cell": f"204-99-099{n}-0011",
        **_FIXED,
    }
    for column in COLUMNS:
        if column.category != FRAME and column.name not in told:
            told[column.name] = _value(column.name, column.type, n)
    return told


def _value(name: str, of: pa.DataType, n: int) -> object:
    number = sum(map(ord, name))
    if name.endswith("_kind"):
        return "uri"
    if name.startswith("extra_"):
        return {"x": f"marker-{n}-{name}"}
    if of == pa.string():
        return f"marker-{n}-{name}"
    if of == pa.int64():
        return 7_234_567_890_123 + 1000 * n + number
    if of == pa.int32():
        return 61_234 if name.startswith("port") else 24
    return True if of == pa.bool_() else f"2001:db8:9{n}0:{number:x}::5"


def needles() -> dict[str, list[bytes]]:
    """What is looked for of each column: texts in several encodings, numbers as they lie in memory."""
    found: dict[str, list[bytes]] = {"file": encodings(FILE)}
    for name, value in [pair for n in (1, 2) for pair in record("voip", OLD, n).items()]:
        texts = [value] if isinstance(value, str) else []
        if name == "mail_to":
            texts = value
        elif name == "other_parties":
            texts = [value[0]["number"]]
        elif name.startswith("extra_"):
            texts = [value["x"]]
        numbers = [value] if type(value) is int and value > 2**32 else []
        told = [needle for text in texts for needle in encodings(text) if len(needle) >= _SHORTEST]
        told += [needle for one in numbers for needle in (one.to_bytes(8, "little"), str(one).encode())]
        if name not in (*_FIXED, "class") and told:
            found.setdefault(name, []).extend(told)
    return found


def in_clear(*directories: Path) -> set[str]:
    """The columns of which a value stands in a byte, or a name, below these directories."""
    content = every_byte(*directories)
    return {name for name, told in needles().items() if any(needle in content for needle in told)}


def places(layout: Layout, record_class: str, day: date, suffix: str) -> Iterator[tuple[Path, Place]]:
    """The files of that kind that the day has."""
    for path in sorted((layout.records / record_class / day.isoformat()).glob(f"*{suffix}")):
        yield path, Place(record_class, day, path.stem)


def names_of(category: str, record_class: str) -> list[str]:
    """The columns of a category that hold something."""
    return [one.name for one in COLUMNS if category_of(one.name, record_class) == category and one.name in FILLED]


def in_records(layout: Layout, record_class: str, day: date, keys: Collection[bytes]) -> set[str]:
    """Every column of the day's record files that holds something to who tries all of `keys` on every category."""
    found: set[str] = set()
    for path, place in places(layout, record_class, day, ".parquet"):
        derived = [sealing.derive(key, "file", place.file_id) for key in keys]
        frames = [key for key in derived if _opens(path, place, {FRAME: key}, [])]
        for frame, category in itertools.product(frames, CATEGORIES):
            columns = names_of(category, record_class)
            tries = [{category: key} | {FRAME: frame} for key in derived]
            tried = next((one for one in tries if _opens(path, place, one, columns)), None)
            if tried is not None:
                wrapped = sealed_parquet.unwrap(path, place, tried, columns)
                found |= _filled(sealed_parquet.collect(sealed_parquet.scan(path, wrapped, columns), place))
    return found


def _opens(path: Path, place: Place, keys: dict[str, bytes], columns: list[str]) -> bool:
    try:
        sealed_parquet.unwrap(path, place, keys, columns)
    except VaultError:
        return False
    return True


def in_blocks(layout: Layout, record_class: str, day: date, keys: Collection[bytes]) -> set[str]:
    """The same of the block files; a directory that opens tells the beginnings of identifiers, so it counts as one."""
    found: set[str] = set()
    for path, place in places(layout, record_class, day, ".blocks"):
        derived = {sealing.derive(key, "file", place.file_id) for key in keys}
        for who in derived:
            try:
                BlockFile.open(path, place, {WHO: who})
            except VaultError:
                continue
            found.add("directory")
            for category, key in [(one, key) for one in CATEGORIES for key in ({who} if one == WHO else derived)]:
                with suppress(VaultError):
                    file = BlockFile.open(path, place, {category: key} | {WHO: who})
                    for rows in file.every(names_of(category, record_class)):
                        found |= _filled(rows)
    return found


def _filled(rows: pl.DataFrame) -> set[str]:
    return {name for name in rows.columns if rows[name].null_count() == 0}


def in_seen(layout: Layout, record_class: str, day: date, keys: dict[tuple[str, str], bytes]) -> int:
    """How many seen blocks open to who joins the three keys that one takes, of any day and ring."""
    count = 0
    for path, place in places(layout, record_class, day, ".seen"):
        mine = [{key for (_, id_), key in keys.items() if f"/{name}" in id_} for name in _SEEN_BY]
        tried = (sealing.derive(b"".join(three), "seen", place.file_id) for three in itertools.product(*mine))
        count += any(seen.read_block(path, key, f"seen {place}") is not None for key in tried)
    return count


def of_class(keys: dict[tuple[str, str], bytes], record_class: str) -> dict[tuple[str, str], bytes]:
    """All keys but those of other classes, and but the most of the many that each open a row of the catalogue: whoever
    knows the product does not try these on its files.
    """
    others = tuple(f"{name}/" for name in CLASSES if name != record_class)
    rows = set(sorted(name for name in keys if is_row_key(name[1]))[_ROW_KEYS:])
    return {name: key for name, key in keys.items() if not (name[1].startswith(others) or name in rows)}


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder of our own, so that it can be searched."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    return folder


@pytest.fixture
def planted(tmp_path: Path, temporary: Path) -> Vault:
    """A vault with a record of each class on both days."""
    text = entry("all", "P6M", CLASSES)
    (tmp_path / "rules.toml").write_text(
        f'zone = "Europe/Amsterdam"\nregion = "NL"\nmax_clock_step = "P999D"\n{text}', encoding="utf-8"
    )
    vault = new_vault(tmp_path, str(tmp_path / "rules.toml"))
    rows = [record(name, day, n) for name in CLASSES for n, day in ((1, OLD), (2, LIVING))]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    assert ingest(vault, "native_ndjson", lines, FILE).stored == 2 * len(CLASSES)
    return vault


@pytest.mark.slow
@pytest.mark.no_cover
def test_no_column_of_an_expired_day_is_anywhere(planted: Vault, tmp_path: Path, temporary: Path) -> None:
    """In clear none ever was. With today's keys no column of any class is read, from record file, block file or seen
    block, today's or an old copy's; with the keys of then every column is, so that the search is one that finds.
    """
    first = image(planted, tmp_path / "first")
    compact.compact(planted, Selection(unsettled=True))
    order = Order(targets=[("imsi", "204990099001003")], start="2026-05-01T00:00:00Z", end="2026-11-20T00:00:00Z")
    assert answer(planted, order, tmp_path / "package").records == len(CLASSES)
    before = image(planted, tmp_path / "before")
    late = opened(planted, LATE)
    assert sum(one["what"] == "records" for one in expire.expire(late).certificates) == len(CLASSES)
    after = image(late, tmp_path / "after")
    for imaged in (first, before, after):
        assert in_clear(imaged.vault, imaged.keys, temporary) == set()

    then, today = pool(late.settings.id, before), pool(late.settings.id, after)
    for record_class in CLASSES:
        old, new = of_class(then, record_class), of_class(today, record_class)
        for layout, day, keys, opens in (
            (before, OLD, old, True),
            (before, OLD, new, False),
            (after, OLD, new, False),
            (after, LIVING, new, True),
        ):
            told, which = set(keys.values()), (layout, record_class, day)
            assert in_records(*which, told) == (FILLED if opens else set()), which
            assert in_blocks(*which, told) == (FILLED | {"directory"} if opens else set()), which
        # Of an old day compaction leaves no seen block; the file as it was delivered had one.
        for layout, day, keys, found in (
            (first, OLD, old, 1),
            (first, OLD, new, 0),
            (first, LIVING, new, 1),
            (after, LIVING, new, 1),
        ):
            assert in_seen(layout, record_class, day, keys) == found, (layout, record_class, day)
    assert verify(late).faults == ()
