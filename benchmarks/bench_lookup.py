"""One subscriber over 30 days: from the approved warrant to the package on disk, audit entries included."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import count
from pathlib import Path

import pytest

from benchmarks.conftest import NETWORK, NOW, ROWS, Note, Watch
from benchmarks.traffic import file_name, write_file
from tests.support import Order, approved, ingest, new_vault, signed_in
from trafficvault import disclose
from trafficvault.disclose import Disclosure
from trafficvault.vault import Vault

FIRST = date(2026, 10, 26)
DAYS = 30
PER_DAY = max(1, 3 * ROWS // DAYS)
"""Three times the ingest benchmark's rows, over 30 days."""
BUSY, USUAL = 0, 5_000


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Vault:
    """A vault of 30 days."""
    directory = tmp_path_factory.mktemp("month")
    vault = new_vault(directory, now=NOW)
    for number in range(DAYS):
        path = write_file(directory / file_name(number), PER_DAY, FIRST + timedelta(days=number), network=NETWORK)
        receipt = ingest(vault, "mvno_pipe", path.read_bytes(), path.name)
        assert receipt.stored == PER_DAY
        path.unlink()
    return vault


@pytest.mark.bench
@pytest.mark.parametrize("subscriber", [BUSY, USUAL], ids=["the busiest subscriber", "a usual subscriber"])
@pytest.mark.parametrize("question", ["activity", "contacts"])
def test_lookup(watch: Watch, month: Vault, tmp_path: Path, note: Note, question: str, subscriber: int) -> None:
    """The act `warrant run` as the command line calls it."""
    order = Order(
        targets=[("msisdn", f"+{NETWORK.number(subscriber)}")],
        start="2026-10-26T00:00:00+01:00",
        end="2026-11-25T00:00:00+01:00",
        categories=("who", "when", "how_much"),
        questions=(question,),
    )
    warrant = approved(month, order)
    officer = signed_in(month, "olga")
    number = count()

    def act() -> Disclosure:
        return disclose.run(month, officer, warrant, tmp_path / str(next(number)), question)

    disclosure, seconds = watch.time(act, rounds=5)

    assert disclosure.complete
    assert disclosure.records > 0 or subscriber == USUAL
    name = "the busiest" if subscriber == BUSY else "a usual"
    note(f"{question}, {name} subscriber, 30 days", seconds * 1000, "ms")
    note(f"{question}, {name} subscriber, records", disclosure.records, "rows")
