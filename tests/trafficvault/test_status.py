"""Status: true counts, what wants attention, and what is wrong enough to fail a check."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from tests.support import NOW, PASSWORD, Usage, ingest, opened, signed_in, usage
from trafficvault import app, expire, people, stretching
from trafficvault.errors import FaultError
from trafficvault.status import Status, status
from trafficvault.vault import Vault

FAST = stretching.Cost(memory_kib=64, iterations=1, lanes=1)


def test_the_facts_are_those_of_the_catalogue(stored: Vault) -> None:
    """Records, bytes, partitions and held batches are counted, not estimated."""
    facts = status(stored).facts
    on_disk = sum(path.stat().st_size for path in stored.layout.records.rglob("*.parquet"))

    assert (facts["records"], facts["bytes"], facts["partitions"], facts["tombstones"]) == (5, on_disk, 3, 0)
    assert (facts["held_batches"], facts["due"], facts["administrators"]) == (1, 0, 1)
    assert facts["four_eyes"] == "procedural"
    assert facts["vault"] == stored.settings.id


def test_json_and_tuple_tell_the_same(stored: Vault) -> None:
    """The form of `--json` names each column of a class's row."""
    found = status(stored)
    rows = found.as_dict()["classes"]
    assert isinstance(rows, list)
    assert len(rows) == 1
    assert rows[0] == {
        "class": "mobile_usage", "days": 3, "records": 5, "oldest_day": "2026-11-10", "due": 0,
        "kept_until": found.classes[0][5],
    }  # fmt: skip
    assert str(rows[0]["kept_until"]).startswith("2027-05-")


def test_a_second_administrator_is_not_asked_for_twice(stored: Vault) -> None:
    """With two administrators nobody asks for a second; a disabled one doesn't count."""
    ada = signed_in(stored, "ada")
    app.add_person(stored, "bea", ("administrator",), PASSWORD, (ada,), FAST)
    assert not [sentence for sentence in status(stored).attention if "administrator" in sentence]
    bea = signed_in(stored, "bea")
    with stored.catalogue.transaction() as tx:
        people.disable(tx, "bea", (ada, bea))
    assert [sentence for sentence in status(stored).attention if "administrator" in sentence]


def test_a_partition_is_wrong_two_days_after_the_term_of_its_first_record(stored: Vault) -> None:
    """Due is due; late is what is still there 48 hours after its first record's term, here an hour later."""
    item = next(item for item in expire.plan(stored) if item.day == date(2026, 11, 10) and item.kind == "records")
    assert item.due is not None
    assert item.promised == item.due + timedelta(hours=1)
    accepted = opened(stored, item.due)
    expire.require_clock(accepted, signed_in(accepted, "otto"))
    assert status(accepted).facts["due"] == 1
    assert status(opened(stored, item.promised)).wrong == []
    wrong = status(opened(stored, item.promised + timedelta(seconds=1))).wrong
    assert len(wrong) == 1
    assert "2026-11-10 was due" in wrong[0]


def test_an_expiry_that_broke_off_is_wrong(stored: Vault) -> None:
    """A partition that stayed expiring asks for the run to be finished."""
    with stored.catalogue.transaction() as tx:
        row = tx.get("partitions", record_class="mobile_usage", day="2026-11-11")
        assert row is not None
        tx.put("partitions", **row | {"state": "expiring"})
    wrong = status(stored).wrong
    assert wrong[0] == "mobile_usage 2026-11-11 began to expire and was not finished; run expire"


def test_a_clock_that_jumped_is_wrong(stored: Vault) -> None:
    """The audit log's doubt about the clock fails the check."""
    assert "100 days past the last trusted moment" in status(opened(stored, NOW + timedelta(days=100))).wrong[0]


def test_the_check_tells_the_first_and_that_there_are_more() -> None:
    """One sentence is told whole, of several the first."""
    Status({}, [], [], []).require_true()
    with pytest.raises(FaultError, match=r"status: one$"):
        Status({}, [], ["one"], ["one"]).require_true()
    with pytest.raises(FaultError, match=r"status: one \(and more\)$"):
        Status({}, [], ["one", "two"], ["one", "two"]).require_true()


def test_a_source_is_silent_by_its_own_cadence(stored: Vault) -> None:
    """The last delivery that was not refused counts, whichever order the batches stand in."""
    stored.layout.sources.write_text('[home]\nfeed = "mvno_pipe"\ncadence = "P2D"\n')
    vault = opened(stored)
    ingest(vault, "mvno_pipe", usage([Usage(at="20261113120000")]), "one", "home")
    later = opened(vault, NOW + timedelta(days=1))
    ingest(later, "mvno_pipe", usage([Usage(at="20261114120000")]), "two", "home")
    refusing = opened(vault, NOW + timedelta(days=2))
    assert ingest(refusing, "mvno_pipe", "no\nrow\n", "three", "home").status == "refused"

    def silent(days: int, hours: int = 0) -> bool:
        now = datetime(2026, 11, 20, 10, tzinfo=UTC) + timedelta(days=days, hours=hours)
        return any("source home has been silent" in text for text in status(opened(vault, now)).attention)

    assert not silent(3)
    assert silent(3, 1)
