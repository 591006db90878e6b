"""Stretches, blocks and caches: however many days are read at once, and from what, a question is answered the same."""

from __future__ import annotations

import json
import random
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.record import SCHEMA
from queries import engine
from queries.questions import questions
from queries.scope import targets_table
from tests.support import NOW, OTHER, SUBSCRIBER, Order, Usage, approved, ingest, new_vault, opened, usage
from tests.thorough import as_many
from tests.trafficvault.block_vault import give_blocks
from trafficvault import docket, expire, partitions, reading, search, warrants
from trafficvault.block_form import CELL_COLUMNS
from trafficvault.errors import RefusedError
from trafficvault.keys import KeyStore
from trafficvault.progress import Progress, Watch
from trafficvault.sealed_parquet import Place
from trafficvault.search import Search
from trafficvault.vault import Vault

FIRST = datetime(2026, 11, 1, tzinfo=UTC)
DAYS = 9
LIMITS = engine.Limits(100.0)
TARGETS = [
    *(("msisdn", f"+{SUBSCRIBER}"), ("msisdn", f"+{OTHER}"), ("imsi", "204990000000001")),
    *(("cell", "204-99-0001-0001"), ("ip_port", "192.0.2.7:1500")),
]


def calls(seed: int, count: int) -> str:
    """Calls in parts about midnight, of few ids that come again on other days, corrected records, and sessions."""
    chance = random.Random(seed)
    numbers = [f"+{SUBSCRIBER}", f"+{OTHER}", "+31201234567", "+31600000001", None, None]
    lines = []
    for _ in range(count):
        start = FIRST + timedelta(seconds=chance.randrange(DAYS * 86_400))
        if chance.random() < 0.6:
            start = start.replace(hour=chance.choice([0, 23]))
        session = chance.random() < 0.2
        row: dict[str, Any] = {
            "class": "internet" if session else chance.choice(["telephony", "voip"]),
            "start": start.isoformat(),
            "event": "data" if session else "call",
            "a_number": chance.choice(numbers),
            "served": chance.choice(["a", "b", None]),
            "imsi": chance.choice(["204990000000001", "204990000000002", None]),
            "record_id": chance.choice([None, None, f"r{chance.randrange(8)}"]),
        }
        if not session:
            row |= {"b_number": chance.choice(numbers), "part": chance.choice(["only", "first", "next", "last"])}
            row |= {"correlation_id": chance.choice([None, f"c{chance.randrange(12)}"])}
            row |= {name: chance.choice([None, "204-99-0001-0001", "204-99-0001-0002"]) for name in CELL_COLUMNS}
        else:
            low = chance.choice([None, 1024, 2048])
            row |= {"public_ip": "192.0.2.7", "port_from": low, "port_to": low and low + 1023}
        if session or chance.random() < 0.5:
            row["end"] = (start + timedelta(minutes=chance.randrange(1_500 if session else 90))).isoformat()
        lines.append(json.dumps({name: value for name, value in row.items() if value is not None}))
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Vault:
    """Nine days of calls; half of the files have blocks."""
    vault = new_vault(tmp_path_factory.mktemp("busy"))
    for number in range(3):
        assert ingest(vault, "native_ndjson", calls(number, 90), f"calls-{number}.ndjson").stored == 90
    give_blocks(vault, every=2)
    return vault


def search_of(vault: Vault, order: Order) -> Search:
    """A search under `order`, once it is approved."""
    found = docket.load(vault, approved(vault, order))
    assert found.signed is not None
    return Search(vault, found.signed, warrants.scope_of(found.document), vault.clock.now())


def answer_of(vault: Vault, found: Search, question: str) -> list[dict[str, Any]]:
    """The rows of the answer to a question over what a search finds."""
    asked = questions()[question]
    rows = found.stretches(lambda step: None, with_neighbours=asked.kind == "stream")
    wanted = targets_table(found._scope)
    tables = engine.answers(asked, rows, wanted, found.grant(), {"max_matches": 1}, LIMITS, SCHEMA)
    return [row for table in tables for row in table.to_pylist()]


@pytest.mark.no_cover
@given(
    first=st.integers(0, DAYS * 24),
    hours=st.integers(1, DAYS * 24),
    rows=st.integers(0, 60),
    target=st.sampled_from(TARGETS),
    question=st.sampled_from(["activity", "contacts"]),
)
@settings(max_examples=as_many(3), deadline=None)
def test_an_answer_does_not_depend_on_its_stretches(
    busy: Vault, first: int, hours: int, rows: int, target: tuple[str, str], question: str
) -> None:
    """Day by day, in stretches of any length or all at once, with blocks or without: the same rows in one order."""
    start = FIRST + timedelta(hours=first)
    order = Order(
        targets=[target],
        start=start.isoformat(),
        end=(start + timedelta(hours=hours)).isoformat(),
        questions=(question,),
        reference=f"PV-{first}-{hours}-{rows}-{target[1]}-{question}",
    )
    found = search_of(busy, order)
    whole = answer_of(busy, found, question)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "_FEW_ROWS", 0)
        patch.setattr(reading, "_BLOCKS", 1)
        for size in (0, rows):
            patch.setattr(search, "STRETCH_ROWS", size)
            patch.setattr(search, "SLICE_ROWS", rows)
            assert answer_of(busy, found, question) == whole
        patch.setattr(search, "PORTION_ROWS", rows)
        assert answer_of(busy, found, question) == whole
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Search, "_lookup", lambda search, columns: None)
        assert answer_of(busy, found, question) == whole


def test_days_are_given_one_by_one_where_each_fills_a_stretch(busy: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stretch ends with the day that filled it, and progress tells days and rows."""
    monkeypatch.setattr(search, "STRETCH_ROWS", 0)
    monkeypatch.setattr(search, "_FEW_ROWS", 0)
    monkeypatch.setattr(search, "_FIRST_BLOCKS", 0)
    steps: list[str | Progress] = []
    found = search_of(busy, Order(start=FIRST.isoformat(), end=(FIRST + timedelta(days=DAYS)).isoformat()))
    days = [set(table["answer_day"].to_pylist()) for table in found.stretches(steps.append, with_neighbours=True)]
    # The last stretch has the day after it too, to which only neighbours are given.
    assert [len(one) for one in days[:-1]] == [1] * (len(days) - 1)
    assert [day for one in days for day in sorted(one)] == sorted(set.union(*days))
    # The sessions of the last day may end on the next.
    assert len(steps) in (DAYS, DAYS + 1)
    first = steps[0]
    assert isinstance(first, Progress)
    assert (first.step, first.done, first.whole, first.unit) == ("2026-11-01", 1, len(steps), "days")


@pytest.fixture
def three(tmp_path: Path) -> Vault:
    """Three days of one subscriber's SMS, with blocks; the first of them is near its end."""
    vault = new_vault(tmp_path)
    rows = [Usage(at=f"202605{day:02d}120000") for day in (23, 28, 30)]
    ingest(vault, "mvno_pipe", usage(rows), "S4PGWM000001")
    assert give_blocks(vault) == 3
    return vault


def spring(reference: str = "PV-1", targets: list[tuple[str, str]] | None = None) -> Order:
    """An order over all three days."""
    whole = Order(start="2026-05-01T00:00:00Z", end="2026-06-10T00:00:00Z", reference=reference)
    whole.targets = targets or whole.targets
    return whole


def days_of(found: Search, before: Watch = lambda step: None) -> list[date]:
    """The days to whose answer a search gave rows."""
    return [day for table in found.stretches(before, with_neighbours=False) for day in table["answer_day"].to_pylist()]


def parquet_reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the Parquet files that are read from now on."""
    read: list[str] = []
    real = partitions.read_released

    def watched(layout: Any, released: Any, file_id: str, *others: Any) -> Any:
        read.append(file_id)
        return real(layout, released, file_id, *others)

    monkeypatch.setattr(partitions, "read_released", watched)
    return read


def test_blocks_answer_and_no_parquet_file_is_opened(three: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """A target that blocks can find is looked up; one that only a scan finds is scanned for; both find the same."""
    read = parquet_reads(monkeypatch)
    looked_up = days_of(search_of(three, spring()))
    assert read == []
    ranged = spring("PV-2", [("number_range", f"+{SUBSCRIBER}..+{SUBSCRIBER}")])
    assert days_of(search_of(three, ranged)) == looked_up == [date(2026, 5, day) for day in (23, 28, 30)]
    assert len(read) == 3


@pytest.mark.parametrize("damage", ["missing", "directory", "section"])
def test_a_block_file_that_fails_costs_no_answer(three: Vault, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    """The Parquet file of that day answers instead, whether the damage shows on opening or on reading."""
    read = parquet_reads(monkeypatch)
    path = next(three.layout.records.rglob("2026-05-28/*.blocks"))
    content = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    else:
        content[10 if damage == "section" else -100] ^= 1
        path.write_bytes(content)
    assert days_of(search_of(three, spring())) == [date(2026, 5, day) for day in (23, 28, 30)]
    assert read == [path.stem]
    assert len(three.openings) == 2


def test_a_running_process_answers_nothing_of_a_destroyed_day(three: Vault) -> None:
    """With every directory kept open, another process destroys a day: nothing of it comes out, in any way."""
    order = approved(three, spring())
    found = docket.load(three, order)
    assert found.signed is not None
    scope = warrants.scope_of(found.document)
    before = Search(three, found.signed, scope, NOW)
    assert len(days_of(before)) == 3
    assert len(three.openings) == 3
    file = next(file for file in before._files if file.day == date(2026, 5, 23))

    assert len(expire.expire(opened(three, NOW + timedelta(days=6))).certificates) == 1

    # A search that had begun: it knows the file and its process the key, and it stops before it reads.
    with pytest.raises(RefusedError, match="another process destroyed keys"):
        days_of(before)
    with three.catalogue.reading() as tx:
        three.keys.follow(int(tx.meta("generation") or 0))
    # The kept directory of the dead day: no key of it can be released any more, by whatever warrant.
    with pytest.raises(RefusedError, match="not in the ring"):
        three.keys.release(found.signed, file.record_class, file.day, "who", file.reach)
    assert days_of(Search(three, found.signed, scope, NOW)) == [date(2026, 5, day) for day in (28, 30)]
    assert Place(file.record_class, file.day, file.file_id) not in three.openings
    assert len(three.openings) == 2


def test_keys_destroyed_amid_a_search_stop_it(three: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two days of one answer the ring is looked at again."""
    monkeypatch.setattr(search, "STRETCH_ROWS", 0)
    monkeypatch.setattr(search, "_FIRST_BLOCKS", 0)
    steps: list[str | Progress] = []

    def amid(step: str | Progress) -> None:
        if not steps:
            expire.expire(opened(three, NOW + timedelta(days=6)))
        steps.append(step)

    with pytest.raises(RefusedError, match="another process destroyed keys"):
        days_of(search_of(three, spring()), amid)
    assert len(steps) == 1


def test_signatures_are_checked_once_for_all_files(three: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """One admission serves every file and category of a search."""
    admitted: list[object] = []
    real = KeyStore.admit

    def watched(store: KeyStore, warrant: Any) -> Any:
        admitted.append(warrant)
        return real(store, warrant)

    monkeypatch.setattr(KeyStore, "admit", watched)
    assert len(days_of(search_of(three, spring()))) == 3
    assert len(admitted) == 1
