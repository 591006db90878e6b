"""Invented records for the tests of block files, and block files of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import strategies as st

from ingest.record import CATEGORIES, COLUMNS, SCHEMA
from tests.trafficvault.sealed_store import DAY
from trafficvault import block_directory, block_form, block_writing, packed_rows
from trafficvault.block_posting import OrderKeys
from trafficvault.block_writing import Builder
from trafficvault.blocks import BlockFile
from trafficvault.packing import Rows
from trafficvault.sealed_parquet import Place, polars_type

KEYS = {category: bytes([number]) * 32 for number, category in enumerate(CATEGORIES, 1)}
FILE_ID = "0123456789abcdef" * 2
PLACE = Place("mobile_usage", DAY, FILE_ID)

NUMBERS = ("+31612345678", "+31612345679", "+31200000001", "+31", "1233", "0800", "Bank", "1001@acme", "sip:a@b", "")
DIGITS = ("204990000000001", "204990000000002", "0012345678901", "35000000000001", "8931000000000000017")
WORDS = ("a", "b@c.nl", "B\u00e4r", "x\x00y", "K17", "K18", "K017", '"', "\\", "-5", "9" * 18, "9" * 19, "1" * 40)


def _packed(text: str) -> bytes:
    address = ip_address(text)
    return address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed


ADDRESSES = tuple(
    map(_packed, ("192.0.2.1", "192.0.2.7", "192.0.3.1", "2001:db8::1", "2001:db8::2", "2001:db8:1::1", "::1"))
)
TEXTS = st.sampled_from((*NUMBERS, *DIGITS, *WORDS)) | st.text(max_size=8)


def value(column: str) -> st.SearchStrategy[Any]:
    """Any value of a column, null among them."""
    kind = block_form.kind_of(column)
    if column == "served":
        return st.sampled_from((None, "a", "b", "b", "c", "none"))
    if column == "other_parties":
        party = st.fixed_dictionaries({"role": st.none() | TEXTS, "number": st.none() | st.sampled_from(NUMBERS)})
        found: st.SearchStrategy[Any] = st.lists(party, max_size=3)
    elif column == "mail_to":
        found = st.lists(st.none() | TEXTS, max_size=3)
    elif kind == block_form.ADDRESS:
        found = st.sampled_from(ADDRESSES) | st.binary(min_size=16, max_size=16)
    elif kind == block_form.TRUTH:
        found = st.booleans()
    elif isinstance(polars_type(column), pl.Datetime):
        moments = st.datetimes(datetime(1970, 1, 1), datetime(2199, 1, 1))  # made aware below
        found = moments.map(lambda moment: moment.replace(tzinfo=UTC)) | st.integers(0, 86_400).map(
            lambda second: datetime(2026, 3, 1, tzinfo=UTC) + timedelta(seconds=second)
        )
    elif column == "prefix_length":
        found = st.sampled_from((-1, 0, 1, 24, 25, 31, 32, 48, 64, 65, 127, 128, 200))
    elif kind == block_form.NUMBER:
        bits = 31 if polars_type(column) == pl.Int32 else 63
        found = st.integers(0, 1000) | st.integers(-(2**bits), 2**bits - 1)
    else:
        found = TEXTS
    return st.none() | found


@st.composite
def frames(draw: st.DrawFn, columns: tuple[str, ...] = tuple(SCHEMA.names), rows: int = 12) -> pl.DataFrame:
    """Records with some of `columns`, in the order of a block file."""
    names = draw(st.lists(st.sampled_from(columns), min_size=1, unique=True))
    height = draw(st.integers(1, rows))
    values = {name: draw(st.lists(value(name), min_size=height, max_size=height)) for name in names}
    return ordered(pl.DataFrame(values, schema={name: polars_type(name) for name in names}))


def ordered(rows: pl.DataFrame) -> pl.DataFrame:
    """In the order of a block file."""
    order: list[Any] = [block_form.order_key(rows.columns), *(pl.col(name) for name in rows.columns if name == "start")]
    return rows.sort(order, nulls_last=True, maintain_order=True)


def each_served() -> pl.DataFrame:
    """Records of each party of one call after another, with each of its numbers and without."""
    parties: list[str | None] = ["a", "b", "c", "none", None]
    numbers = [("+1", "+2", "+3"), (None, "+2", "+1"), ("+3", None, "+2"), ("+2", "", None), (None, None, None)]
    rows = [(party, *those, "imsi") for party in parties for those in numbers]
    return ordered(pl.DataFrame(rows, ["served", "a_number", "b_number", "c_number", "imsi"], orient="row"))


def busy(rows: int) -> pl.DataFrame:
    """`rows` records of a network, over several blocks: some subscribers with much traffic, most with little."""
    number = pl.int_range(rows, eager=True)
    subscriber = (number * number % 7919) % (rows // 2 + 1)
    made = pl.DataFrame({"n": number, "s": subscriber}).select(
        source=pl.lit("mvno"),
        batch=pl.lit("b1"),
        row=pl.col("n") + 1,
        record_id=(pl.col("n") + 7_000_000).cast(pl.String),
        served=pl.lit("a"),
        subscriber=pl.lit("K") + pl.col("s").cast(pl.String),
        a_number=pl.lit("+316") + (pl.col("s") + 10_000_000).cast(pl.String),
        b_number=pl.when(pl.col("n") % 3 == 0).then(pl.lit("+3120") + (pl.col("n") % 500 + 1_000_000).cast(pl.String)),
        b_kind=pl.when(pl.col("n") % 3 == 0).then(pl.lit("e164")),
        imsi=(pl.col("s") + 204_990_000_000_000).cast(pl.String),
        start=pl.datetime(2026, 3, 1, time_zone="UTC") + pl.duration(seconds=pl.col("n") % 86_400),
        bytes_down=pl.when(pl.col("n") % 3 != 0).then(pl.col("n") * 997),
        visited_country=pl.when(pl.col("n") % 40 == 0).then(pl.lit("DE")),
    )
    return ordered(made.with_columns(pl.col(name).cast(polars_type(name)) for name in made.columns))


def write(path: Path, *rows: pl.DataFrame | Rows, place: Place = PLACE, keys: Mapping[str, bytes] = KEYS) -> Path:
    """A block file of `rows`."""
    with Builder(path, place, keys) as builder:
        for frame in rows:
            builder.add(frame)
        builder.finish()
    return path


def without(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Directories that are written from here on have no member `name`."""
    dump = block_directory.dump

    def dumped(*told: object) -> bytes:
        head, _, body = dump(*told).partition(b"\n")  # type: ignore[arg-type]  # passed on as they came
        header = {key: value for key, value in json.loads(head).items() if key != name}
        return json.dumps(header).encode() + b"\n" + body

    monkeypatch.setattr(block_directory, "dump", dumped)


def as_before(monkeypatch: pytest.MonkeyPatch, *, tells: bool = False) -> None:
    """Block files that are written from here on are in the order of before, by caller; if one `tells`, of another."""
    for module in (block_writing, packed_rows):
        monkeypatch.setattr(module, "OrderKeys", partial(OrderKeys, by_served=False))
    if not tells:
        without(monkeypatch, "order")


def write_of_before(path: Path, rows: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A block file in the order of before."""
    with monkeypatch.context() as before:
        as_before(before)
        return write(path, rows.sort(block_form.order_key(rows.columns, by_served=False), "start"))


def opened(path: Path, *rows: pl.DataFrame | Rows, place: Place = PLACE, keys: Mapping[str, bytes] = KEYS) -> BlockFile:
    """A block file of `rows`, written and opened."""
    return BlockFile.open(write(path, *rows, place=place, keys=keys), place, keys)


def category_columns(category: str) -> tuple[str, ...]:
    """The columns of `category` in `PLACE`'s class."""
    return tuple(column.name for column in COLUMNS if column.name in block_form.names(category, PLACE.record_class))
