"""The shipped feeds, and files of theirs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ingest.feed import SHIPPED, load_feed
from ingest.read import Reading, read
from ingest.source import Source
from tests.ingest import small_feed

NAMES = ("asterisk_csv", "kamailio_flatstore", "mvno_pipe", "native_csv", "native_ndjson", "wlr_fixed")
FEEDS = {name: load_feed(SHIPPED / f"{name}.toml") for name in NAMES}
ARRIVED = datetime(2027, 1, 1, tzinfo=UTC)

MVNO = FEEDS["mvno_pipe"].fields()


def source(feed: str, **changes: Any) -> Source:
    """The implicit source of `feed`."""
    return small_feed.source(**{"name": feed, "feed": feed, **changes})


def reading(feed: str, data: bytes | str, arrived: datetime = ARRIVED, name: str = "file", **changes: Any) -> Reading:
    """`data` read by `feed`."""
    octets = data.encode() if isinstance(data, str) else data
    return read(octets, FEEDS[feed], source(feed, **changes), arrived, name)


def accounted(found: Reading) -> int:
    """The units that a reading accounts for."""
    records: int = sum(frame.height for frame in found.records.values())
    rejected: int = found.rejections.num_rows
    return records + rejected + sum(found.ignored.values()) + found.joined


def rows(found: Reading, record_class: str) -> list[dict[str, Any]]:
    """The records of one class."""
    result: list[dict[str, Any]] = found.records[record_class].to_dicts()
    return result


def everything(found: Reading) -> str:
    """All that leaves the reader, as one text."""
    tables = [frame.to_dicts() for frame in found.records.values()]
    return repr((tables, found.rejections.to_pylist(), found.ignored, found.mismatches, found.notes, found))


def mvno(**values: str) -> str:
    """A line of the MVNO feed."""
    base = {"record_type": "GP", "msisdn": "31612345678", "event_timestamp": "20260203160724"}
    return "|".join({**base, **values}.get(name, "") for name in MVNO) + "\n"


def asterisk(columns: int, **values: str) -> str:
    """A line of the Asterisk feed with so many columns."""
    shape = next(shape for shape in FEEDS["asterisk_csv"].shapes if len(shape.columns) == columns)
    base = {
        "src": "0612345678",
        "dst": "0201234567",
        "start": "2026-02-03 16:07:24",
        "end": "2026-02-03 16:07:51",
        "duration": "27",
        "billsec": "0",
        "disposition": "NO ANSWER",
        "uniqueid": "1770131244.16",
        "linkedid": "1770131244.16",
        "sequence": "0",
    }
    texts = [{**base, **values}.get(name, "") for name in shape.columns]
    return ",".join('"' + text.replace('"', '""') + '"' for text in texts) + "\n"
