"""Real files read by the shipped feeds, held against counts made by other means: Python's csv and slices of the bytes.

The samples lie beside the project, are not part of it, and hold other people's data: the tests skip where they are
absent, and compare digests, so that no value is ever printed.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from ingest.feed import SHIPPED, load_feed
from ingest.read import Reading, read
from ingest.source import Source

SAMPLES = Path(__file__).resolve().parents[2] / "../shared/samples/cgrates_test_cdrs"
ARRIVED = datetime(2026, 11, 1, tzinfo=UTC)
AMSTERDAM = ZoneInfo("Europe/Amsterdam")

pytestmark = pytest.mark.skipif(not SAMPLES.is_dir(), reason="the samples are not beside the project")

PIPED = (
    "acc_flatstore_fullSuccessfull.log",
    "acc_flatstore_fullMissed.log",
    "acc_flatstore_part1.log",
    "acc_flatstore_part2.log",
    "acc_flatstore_ackSuccessfull.log",
)
QUOTED = "acc_flatstore_ackSuccessfull2.log"
WLR = "nl_wlr_fixed_width.cdr"


def reading_of(feed: str, name: str) -> Reading:
    """The sample `name` read by the implicit source of `feed`."""
    source = Source(feed, feed, None, None, "Europe/Amsterdam", "NL", None, None, None, None, None, None)
    return read((SAMPLES / name).read_bytes(), load_feed(SHIPPED / f"{feed}.toml"), source, ARRIVED, name)


def column(reading: Reading, record_class: str, name: str) -> list[Any]:
    """A column of the records; nulls where no record has a value."""
    frame = reading.records[record_class]
    found: list[Any] = frame[name].to_list() if name in frame.columns else [None] * frame.height
    return found


def digest(values: object) -> str:
    """A short digest that two equal lists share."""
    return hashlib.sha256(json.dumps(values, default=str).encode()).hexdigest()[:16]


def balance(reading: Reading) -> int:
    """All units that the reading accounts for."""
    records: int = sum(frame.height for frame in reading.records.values())
    rejected: int = reading.rejections.num_rows
    return records + rejected + sum(reading.ignored.values()) + reading.joined


def calls(name: str, *, delimiter: str, quoting: int, at: dict[str, int]) -> tuple[int, int, list[tuple[str, ...]]]:
    """Lines, ACK lines, and (method, call id, code, time, caller, callee) of the others, the time that of the ACK."""
    with (SAMPLES / name).open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter=delimiter, quoting=quoting))  # type: ignore[arg-type]  # quoting is one of csv's constants
    acknowledged = {row[at["callid"]]: row[at["time"]] for row in rows if row[at["method"]] == "ACK"}
    found = []
    for row in rows:
        if row[at["method"]] != "ACK":
            time = row[at["time"]] or acknowledged[row[at["callid"]]]
            what = tuple(row[at[key]] for key in ("method", "callid", "code"))
            found.append((*what, time, row[at["caller"]], row[at["callee"]]))
    return len(rows), len(acknowledged), found


def event(method: str, code: str) -> str:
    """The event that a line stands for."""
    if method == "INVITE" and code.startswith("2"):
        return "call"
    return "hangup" if method == "BYE" else "attempt"


@pytest.mark.parametrize("name", [*PIPED, QUOTED])
def test_kamailio_samples(name: str) -> None:
    """Each flatstore sample balances, and gives the calls, times and parties that Python's csv finds."""
    piped = {"method": 0, "callid": 3, "code": 4, "time": 6, "caller": 8, "callee": 9}
    quoted = {"method": 1, "callid": 4, "code": 5, "time": 7, "caller": 8, "callee": 13}
    is_quoted = name == QUOTED
    lines, acks, expected = (
        calls(name, delimiter=",", quoting=csv.QUOTE_MINIMAL, at=quoted)
        if is_quoted
        else calls(name, delimiter="|", quoting=csv.QUOTE_NONE, at=piped)
    )

    reading = reading_of("kamailio_flatstore", name)
    stamps = [
        datetime.fromisoformat(time).replace(tzinfo=AMSTERDAM) if is_quoted else datetime.fromtimestamp(int(time), UTC)
        for _, _, _, time, _, _ in expected
    ]
    parties = [[f"{party}@kamailio_flatstore" if party else None for party in (row[4], row[5])] for row in expected]
    found_parties = [list(pair) for pair in zip(*(column(reading, "voip", f"{p}_number") for p in "ab"), strict=True)]
    checks = {
        "call ids": (column(reading, "voip", "correlation_id"), [row[1] for row in expected]),
        "causes": (column(reading, "voip", "cause"), [row[2] for row in expected]),
        "starts": ([stamp.timestamp() for stamp in column(reading, "voip", "start")], [s.timestamp() for s in stamps]),
        "parties": (found_parties, parties),
    }
    differing = [what for what, (found, wanted) in checks.items() if digest(found) != digest(wanted)]

    assert (reading.units, balance(reading)) == (lines, lines)
    assert (reading.joined, reading.rejections.num_rows, reading.ignored) == (acks, 0, {})
    assert Counter(column(reading, "voip", "event")) == Counter(event(row[0], row[2]) for row in expected)
    assert not differing


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("acc_flatstore_fullSuccessfull.log", (8, 0, 8)),
        ("acc_flatstore_fullMissed.log", (3, 0, 3)),
        ("acc_flatstore_part1.log", (1, 0, 1)),
        ("acc_flatstore_part2.log", (2, 0, 2)),
        ("acc_flatstore_ackSuccessfull.log", (12, 4, 8)),
        (QUOTED, (7, 2, 5)),
    ],
)
def test_kamailio_counts(name: str, counts: tuple[int, int, int]) -> None:
    """The samples hold the lines that their README says; acknowledgements are joined, the rest are records."""
    reading = reading_of("kamailio_flatstore", name)

    assert (reading.units, reading.joined, sum(frame.height for frame in reading.records.values())) == counts


def test_a_call_over_two_files_shares_its_correlation() -> None:
    """A BYE in one file and its INVITE in another are parts of one call; an INVITE without BYE stays open."""
    hangups = column(reading_of("kamailio_flatstore", "acc_flatstore_part1.log"), "voip", "correlation_id")
    later = reading_of("kamailio_flatstore", "acc_flatstore_part2.log")
    invites, parts = column(later, "voip", "correlation_id"), column(later, "voip", "part")

    found = [[call in invites for call in hangups], parts, column(later, "voip", "end")]
    assert found == [[True], ["first", "first"], [None, None]]


def test_wlr_sample() -> None:
    """The WLR sample balances, its totals hold, and it gives the calls that slices of its lines give."""
    lines = (SAMPLES / WLR).read_text(encoding="ascii").splitlines()
    rows = [line for line in lines if line.startswith("CDR")]
    stamps = [
        datetime.strptime(line[14:28], "%Y%m%d%H%M%S").replace(tzinfo=AMSTERDAM).timestamp() + int(line[28:30]) / 100
        for line in rows
    ]
    durations = [
        ((int(line[127:129]) * 60 + int(line[129:131])) * 60 + int(line[131:133])) * 1000 + int(line[133:135]) * 10
        for line in rows
    ]

    reading = reading_of("wlr_fixed", WLR)
    callers = [("+31" + line[31:49].strip()) for line in rows]
    starts = [stamp.timestamp() for stamp in column(reading, "telephony", "start")]
    ends = [stamp.timestamp() for stamp in column(reading, "telephony", "end")]
    checks = {
        "callers": (column(reading, "telephony", "a_number"), callers),
        "starts": (starts, stamps),
        "ends": (ends, [start + length / 1000 for start, length in zip(stamps, durations, strict=True)]),
        "durations": (column(reading, "telephony", "duration_ms"), durations),
    }
    differing = [what for what, (found, wanted) in checks.items() if digest(found) != digest(wanted)]

    assert (reading.units, balance(reading), len(rows)) == (35, 35, 33)
    assert (reading.mismatches, reading.ignored, reading.sequence) == (
        (),
        {"header": 1, "trailer": 1},
        int(lines[0][135:141]),
    )
    assert sum(durations) == 1_855_000
    assert not differing


def test_wlr_sample_called_numbers() -> None:
    """National and international numbers are E.164; local ones stay as they came where no area code is known."""
    lines = (SAMPLES / WLR).read_text(encoding="ascii").splitlines()
    called = [(line[49:52], line[52:80].strip()) for line in lines if line.startswith("CDR")]
    reading = reading_of("wlr_fixed", WLR)
    numbers, kinds = column(reading, "telephony", "b_number"), column(reading, "telephony", "b_kind")

    wrong = 0
    for (type_, text), number, kind in zip(called, numbers, kinds, strict=True):
        if type_ == "001" or len(text) < 7:
            wrong += number != text or kind == "e164"
        elif text.startswith("00"):
            wrong += kind == "e164" and number != "+" + text[2:]
        else:
            wrong += (number, kind) != ("+31" + text[1:], "e164")
    assert wrong == 0
