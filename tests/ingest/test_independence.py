"""A row of a file is mapped by what it holds: neither the rows beside it nor their order change it."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from ingest import read
from ingest.feed import SHIPPED, Feed, parse_feed
from ingest.mapping import REASON, canonical
from ingest.raw import READ_NOTE, ROW
from ingest.source import NumberPlan
from tests.ingest.small_feed import source
from tests.thorough import as_many

LATEST = datetime(2026, 11, 1, tzinfo=UTC)
ROWS = as_many(10)
ALONE = 3
"""Every how manyeth of them is mapped by itself, too."""
FEEDS = sorted(path.stem for path in SHIPPED.glob("*.toml"))
PLANS = {
    "of the feed": None,
    "national": NumberPlan(bare="national"),
    "local": NumberPlan(bare="subscriber", area="20"),
    "exchange": NumberPlan(access="0", extension=(3, 4)),
    "Russian": NumberPlan(country="7", international="810", national="8", bare="international"),
}
STRANGE = (
    *(None, " ", "112", "911", "0031612345678", "+31612345678", "31612345678", "0612345678", "201234567", "14020"),
    *("+3114020", "08001234", "31800123456", "1001", "anonymous", "Bank", "sip:1001@pbx.example", "*31#0612345678"),
    *("tel:201234567;phone-context=+31", "-1", "3197123456789", "18446744073709551616", "+", "0", "1001@other"),
    *("20260329023000", "20261025023000", "20260203160724", "20261303160724", "2026-10-25 02:30:00", "1761355800"),
    *("2026-02-03T16:07:24.123+05:30", "2026-10-25T02:30:00", "20290203160724", "+0100", "-00:00", "+9900", "Z"),
    *("FRAF1", "USACG", "AUSOP", "XXXYY", "204990000000001f", "20499", "351234560000000f", "RGP", "MT", "RSMT", "XX"),
    *("203.0.113.7", "2001:db8::1", "203.0.113.300", "1.5", "000060", "60", "true", "voip", "internet", "e164"),
)


def fields_of(feed: Feed, seed: int) -> list[tuple[str | None, pl.DataFrame]]:
    """The fields of the examples of `feed`, their rows drawn by chance and some of their values strange, by shape."""
    chance, found = random.Random(f"{feed.name} {seed}"), []
    for example in feed.examples:
        if example.refused:
            continue
        raw = read._parse(example.raw, feed, source(name=feed.name, shape=example.shape))
        frame = raw.fields.drop(feed.content, strict=False)
        if not frame.height:
            continue
        rows = []
        for number in range(1, ROWS + 1):
            row: dict[str, Any] = dict(chance.choice(frame.to_dicts()))
            for name in set(frame.columns) - {ROW, READ_NOTE}:
                if chance.random() < 0.15:
                    row[name] = chance.choice(STRANGE)
            rows.append({**row, ROW: number})
        found.append((raw.shape, pl.DataFrame(rows, schema=frame.schema)))
    return found


def mapped(feed: Feed, shape: str | None, fields: pl.DataFrame, plan: NumberPlan | None) -> dict[int, dict[str, Any]]:
    """What each row became, by its number: the columns that hold a value, or the reason alone."""
    who = source(name=feed.name, number_plan=plan, zone="Europe/Amsterdam")
    rows = canonical(fields, feed, who, shape, LATEST).to_dicts()
    return {
        row[ROW]: {REASON: row[REASON]} if row[REASON] else {name: row[name] for name in row if row[name] is not None}
        for row in rows
    }


@pytest.mark.no_cover
@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("name", FEEDS)
def test_a_row_alone_is_as_in_company(name: str, plan: str) -> None:
    """A file mapped whole gives what its rows give each by itself, and in any order."""
    feed = parse_feed((SHIPPED / f"{name}.toml").read_bytes(), name)
    for shape, fields in fields_of(feed, seed=1):
        whole = mapped(feed, shape, fields, PLANS[plan])
        turned = mapped(feed, shape, fields.reverse(), PLANS[plan])
        alone: dict[int, dict[str, Any]] = {}
        for one in fields[::ALONE].iter_slices(1):
            alone |= mapped(feed, shape, one, PLANS[plan])
        assert whole == turned
        assert alone == {number: whole[number] for number in alone}


@pytest.mark.parametrize("name", FEEDS)
def test_a_row_is_as_in_a_large_file(name: str) -> None:
    """Rows that stand many times in a file, and so are worked out once per value, become what they are alone."""
    feed = parse_feed((SHIPPED / f"{name}.toml").read_bytes(), name)
    for shape, fields in fields_of(feed, seed=2):
        few = mapped(feed, shape, fields, None)
        fold = pl.concat([fields] * max(2, 960 // ROWS))
        many = fold.with_columns(pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias(ROW))
        for number, row in mapped(feed, shape, many, None).items():
            assert {**row, ROW: 0} == {**few[(number - 1) % ROWS + 1], ROW: 0}
