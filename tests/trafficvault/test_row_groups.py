"""Row groups: columns whose texts are listed are what they were, and hash to what they would."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.record import SCHEMA
from tests.trafficvault import block_house as house
from tests.trafficvault.record_file import write_file
from tests.trafficvault.sealed_store import DAY, full_table, new_store
from trafficvault import partitions, sealed_parquet, seen
from trafficvault.errors import FaultError, RefusedError
from trafficvault.packing import Packing, Rows
from trafficvault.row_groups import Listed, RowGroup
from trafficvault.sealed_parquet import Place


def listed(rows: pl.DataFrame) -> RowGroup:
    """`rows` as they come from disk, every text column as a dictionary."""
    table = rows.to_arrow(compat_level=pl.CompatLevel.oldest())
    columns = [
        column.dictionary_encode() if rows.schema[name] == pl.String else column
        for name, column in zip(rows.columns, table.columns, strict=True)
    ]
    return RowGroup.of(pa.table(columns, names=rows.columns))


@given(house.frames())
def test_rows_and_their_hashes_stay(rows: pl.DataFrame) -> None:
    """Whatever is null, alike or different."""
    group = listed(rows)

    assert group.frame(rows.columns).equals(rows)
    assert seen.sums_of(group, rows.columns).tolist() == seen.column_sums(rows, rows.columns).tolist()
    assert group.column("imsi").equals(rows["imsi"]) if "imsi" in rows.columns else group.column("imsi").is_null().all()


@given(house.frames(), house.frames())
def test_packed_they_are_the_same_rows(one: pl.DataFrame, other: pl.DataFrame) -> None:
    """Groups of which one lacks columns that the other has, packed and joined, are the rows of both."""
    names = [name for name in SCHEMA.names if name in one.columns or name in other.columns]
    how = Packing()
    rows = Rows(how.joined([how.pack_group(listed(part), names) for part in (one, other)]), how.texts)

    whole = pl.concat([listed(part).frame(names) for part in (one, other)])
    assert pl.DataFrame([rows.column(name) for name in names]).equals(whole)


@given(st.lists(st.none() | st.sampled_from("abc"), min_size=1))
def test_a_column_that_comes_in_pieces(texts: list[str | None]) -> None:
    """Dictionaries of several chunks become one."""
    chunks = [pa.array(part, pa.string()).dictionary_encode() for part in (texts, texts[::-1])]
    group = RowGroup.of(pa.table({"imsi": pa.chunked_array(chunks)}))
    assert group.column("imsi").to_list() == texts + texts[::-1]
    assert Listed.of(pl.Series(texts, dtype=pl.String)).series().to_list() == texts


def test_whole_files_come_as_row_groups(tmp_path: Path) -> None:
    """All columns of a file; a column without its key is refused, and a page that was changed is named."""
    store = new_store(tmp_path)
    file = write_file(store.disk, store.layout, store.custody, "mobile_usage", DAY, full_table(9))
    place = Place("mobile_usage", DAY, file.file_id)
    path, keys = store.layout.record_file("mobile_usage", DAY, file.file_id), partitions.file_keys(store.custody, place)
    expected = partitions.read_in_custody(store.layout, store.custody, "mobile_usage", DAY, file.file_id, file.columns)
    (group,) = map(RowGroup.of, sealed_parquet.tables(path, place, keys, file.columns, but=["a_number"]))
    assert group.frame(file.columns).equals(expected)
    assert "b_number" in group.listed
    assert "a_number" not in group.listed

    with pytest.raises(RefusedError, match="its category where was not opened"):
        next(sealed_parquet.tables(path, place, {"frame": keys["frame"]}, ["start_cell"]))
    raw = bytearray(path.read_bytes())
    raw[200] ^= 1
    path.write_bytes(raw)
    with pytest.raises(FaultError, match="missing, damaged"):
        list(sealed_parquet.tables(path, place, keys, file.columns))
