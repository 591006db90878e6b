"""What the order of rows finds: a lookup opens no block for an identifier that no row is ordered by."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from queries import matching
from queries.scope import Target
from tests.trafficvault import block_house as house
from tests.trafficvault.block_house import busy, opened
from trafficvault import block_matching, blocks
from trafficvault.block_lists import Lists
from trafficvault.block_matching import Wanted
from trafficvault.block_posting import OrderKeys, Posting
from trafficvault.blocks import BlockFile
from trafficvault.packing import Packing, Rows

NO_CELLS = np.zeros(0, np.uint64)
FROM, TO = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)


def wanted(kind: str, value: str, rows: pl.DataFrame) -> Wanted:
    """What is looked up for one target."""
    found = block_matching.wanted([Target(kind, value, FROM, TO)], rows.columns)
    assert found is not None
    return found


@pytest.mark.parametrize(("kind", "value"), [("imsi", "999990000000000"), ("imei", "35000000000001")])
def test_no_block_is_opened_for_what_is_not_there(tmp_path: Path, kind: str, value: str) -> None:
    """Rows that are ordered by a number are found by IMSI and IMEI in posting lists alone."""
    rows = busy(5000)

    assert blocks.find([opened(tmp_path / "x.blocks", rows)], wanted(kind, value, rows)) == [[]]


def test_rows_without_a_number_are_found_by_what_they_are_ordered_by(tmp_path: Path) -> None:
    """One row that is ordered by its IMSI, among thousands ordered by numbers: every IMSI may then stand there."""
    rows = busy(5000).with_row_index("n")
    bare = pl.col("n") == 4000
    rows = rows.with_columns(pl.when(~bare).then(pl.col(name)).alias(name) for name in ("a_number", "b_number"))
    rows = house.ordered(rows.drop("n"))
    imsi = rows.filter(pl.col("a_number").is_null())["imsi"].item()
    one = [Target("imsi", imsi, FROM, TO)]

    found = opened(tmp_path / "x.blocks", rows).rows(wanted("imsi", imsi, rows), rows.columns)

    assert sorted(found["row"]) == sorted(rows.filter(matching.prefilter(one, rows.columns))["row"])
    assert found["a_number"].null_count() == 1


def test_a_file_that_does_not_say_is_looked_up_in_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of before say nothing of it: a block is opened in vain, and what is there is found."""
    house.without(monkeypatch, "by_order")
    rows = busy(5000)
    file = opened(tmp_path / "x.blocks", rows)

    assert blocks.find([file], wanted("imsi", "999990000000000", rows)) == [[4]]
    assert file.rows(wanted("msisdn", rows["a_number"][2000], rows), ["row"]).height


@pytest.mark.parametrize("told", [(), ("number", "imsi")])
def test_a_file_that_says_otherwise_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: Iterable[str]
) -> None:
    """What its rows give differs from what its directory says; one that says nothing differs in nothing."""
    rows, posting = busy(5000), Posting()
    posting.add(Rows(rows, {}), OrderKeys(Rows(rows, {})))
    keys, pairs = [key.encode() for key in rows["a_number"].gather_every(1024)], posting.pairs()
    sound = Lists.of(keys, posting.prefixes, posting.by_order, pairs, NO_CELLS)
    file = opened(tmp_path / "x.blocks", rows)

    assert not sound.differs_from(file.lists())
    assert Lists.of(keys, posting.prefixes, told, pairs, NO_CELLS).differs_from(file.lists())

    house.without(monkeypatch, "by_order")
    assert not sound.differs_from(opened(tmp_path / "old.blocks", rows).lists())


def test_all_records_of_a_subscriber_stand_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of calls that he received too: one block or two, where the order by caller has them all over the file."""
    number = pl.col("row")
    own = pl.format("+316{}", 10_000_000 + number % 501)
    peer = pl.format("+3120{}", 1_000_000 + number * number % 90_001)
    rows = busy(8000).with_columns(
        a_number=pl.when(number % 2 == 0).then(peer).otherwise(own),
        b_number=pl.when(number % 2 == 0).then(own).otherwise(peer),
        served=pl.when(number % 2 == 0).then(pl.lit("b")).otherwise(pl.lit("a")),
        imsi=pl.format("204990000{}", 100_000 + number % 501),
    )
    imsi = "204990000100010"
    file = opened(tmp_path / "x.blocks", house.ordered(rows))
    old = BlockFile.open(house.write_of_before(tmp_path / "old.blocks", rows, monkeypatch), house.PLACE, house.KEYS)
    asked = wanted("imsi", imsi, rows)

    assert file.by_served and not old.by_served
    assert len(blocks.find([file], asked)[0]) <= 2 < len(blocks.find([old], asked)[0])
    assert sorted(file.rows(asked, ["row"])["row"]) == sorted(rows.filter(pl.col("imsi") == imsi)["row"])
    for number in (rows["a_number"][17], rows["b_number"].drop_nulls()[17]):
        asked = wanted("msisdn", number, rows)
        its = rows.filter((pl.col("a_number") == number) | (pl.col("b_number") == number))["row"].sort()
        for one in (file, old):
            assert one.rows(asked, ["row"])["row"].sort().equals(its)


def test_numbered_texts_say_the_same() -> None:
    """Whether the columns of a file come numbered or as they are."""
    rows = busy(3000).with_columns(line=pl.when(pl.col("row") % 7 == 0).then("a_number"), imei=pl.lit("1", pl.String))
    how = Packing()
    numbered = Rows(how.joined([how.pack(rows)]), how.texts)
    found = []
    for one in (Rows(rows, {}), numbered):
        posting = Posting()
        posting.add(one, OrderKeys(one))
        found.append((posting.by_order, posting.pairs().tolist()))

    assert found[0] == found[1]
    assert found[0][0] == {"number", "line"}
