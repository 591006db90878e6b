"""Search: which partitions are opened for a warrant, under which keys, and which rows come of them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ingest.record import FRAME
from tests.support import NOW, OTHER, Order, Usage, approved, ingest, new_vault, opened, usage
from trafficvault import docket, expire, warrants
from trafficvault.keys import KeyStore, Released
from trafficvault.search import Search
from trafficvault.vault import Vault


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    """Three days of one subscriber's SMS, of which one is to another's number too."""
    vault = new_vault(tmp_path)
    rows = [Usage(at=f"202611{day:02d}120000") for day in (10, 11, 12)]
    ingest(vault, "mvno_pipe", usage([*rows, Usage(at="20261111120001", a=OTHER, msisdn=OTHER)]), "S4PGWM000001")
    return vault


def search_of(vault: Vault, order: Order) -> Search:
    """A search under `order`, once it is approved."""
    found = docket.load(vault, approved(vault, order))
    assert found.signed is not None
    return Search(vault, found.signed, warrants.scope_of(found.document), vault.clock.now())


def rows_by_day(search: Search) -> list[tuple[str, int]]:
    """The days to whose answer the search gave rows, and how many each got."""
    tables = list(search.stretches(lambda step: None, with_neighbours=False))
    days = [day.isoformat() for table in tables for day in table["answer_day"].to_pylist()]
    return [(day, days.count(day)) for day in dict.fromkeys(days)]


def test_only_days_of_the_window_are_opened(vault: Vault) -> None:
    """A window of one day opens that day's partition; the days beside it are looked at only for parts of its calls."""
    order = Order(start="2026-11-11T00:00:00Z", end="2026-11-12T00:00:00Z")
    search = search_of(vault, order)
    assert search.searched() == [("mobile_usage", date(2026, 11, 11))]
    assert rows_by_day(search) == [("2026-11-11", 1)]


def test_a_search_opens_what_another_process_committed_before_it(vault: Vault) -> None:
    """Its ring is that of the catalogue it read: a day whose key came after the process began is searched as well."""
    found = docket.load(vault, approved(vault, Order()))
    assert found.signed is not None
    running = opened(vault)
    ingest(vault, "mvno_pipe", usage([Usage(at="20261113120000")]), "S4PGWM000002")
    held = running.keys.key_ids()
    search = Search(running, found.signed, warrants.scope_of(found.document), NOW)

    assert not any("2026-11-13" in name for name in held)
    assert [day for day, _ in rows_by_day(search)] == [f"2026-11-{day}" for day in (10, 11, 12, 13)]


def test_a_window_ends_before_its_end(vault: Vault) -> None:
    """The end of a window is outside it: one that ends at midnight reaches no record of the day that begins then."""
    order = Order(start="2026-11-10T00:00:00Z", end="2026-11-11T00:00:00Z")
    assert search_of(vault, order).searched() == [("mobile_usage", date(2026, 11, 10))]


def test_classes_outside_the_warrant_are_not_opened(vault: Vault) -> None:
    """A warrant of another class searches nothing."""
    search = search_of(vault, Order(classes=("telephony",)))
    assert search.searched() == []
    assert rows_by_day(search) == []


def test_a_stranger_is_found_nowhere(vault: Vault) -> None:
    """Partitions are opened and no row of others comes out of them."""
    search = search_of(vault, Order(targets=[("msisdn", "+31600000009")]))
    assert len(search.searched()) == 3
    assert rows_by_day(search) == []


def test_two_targets_are_one_search(vault: Vault) -> None:
    """A row that concerns both targets comes once."""
    both = Order(targets=[("msisdn", "+31612345678"), ("msisdn", f"+{OTHER}")])
    assert rows_by_day(search_of(vault, both)) == [("2026-11-10", 1), ("2026-11-11", 2), ("2026-11-12", 1)]


def test_keys_of_other_categories_stay_shut(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """A warrant of who and when releases those keys and the frame's; columns of others are not granted."""
    asked: set[str] = set()
    real = KeyStore.release_each

    def watched(store: KeyStore, *arguments: Any) -> list[Released]:
        asked.update(arguments[3])
        return real(store, *arguments)

    monkeypatch.setattr(KeyStore, "release_each", watched)
    search = search_of(vault, Order(categories=("who", "when")))
    assert rows_by_day(search)
    assert asked == {"who", "when", FRAME}
    grant = search.grant()
    assert grant.categories == {"who", "when"}
    assert {"a_number", "start", "source"} <= grant.columns
    assert not {"start_cell", "duration_ms", "utc_offset"} & grant.columns


def test_a_file_without_the_targets_column_is_passed_by(vault: Vault) -> None:
    """A file that has no column of the target's kind can't hold it, and gives no row."""
    search = search_of(vault, Order(targets=[("mac", "00:11:22:33:44:55")]))
    assert len(search.searched()) == 3
    assert rows_by_day(search) == []


def test_expired_and_dying_days_are_not_searched(tmp_path: Path) -> None:
    """A tombstone's day is no partition any more, and one whose expiry began isn't opened either."""
    vault = new_vault(tmp_path)
    ingest(vault, "mvno_pipe", usage([Usage(at=f"202605{day}120000") for day in (23, 28, 30)]), "S4PGWM000001")
    late = opened(vault, NOW + timedelta(days=6))
    assert len(expire.expire(late).certificates) == 1
    with late.catalogue.transaction() as tx:
        row = tx.get("partitions", record_class="mobile_usage", day="2026-05-28")
        assert row is not None
        tx.put("partitions", **(row | {"state": "expiring"}))
    order = Order(start="2026-05-01T00:00:00Z", end="2026-06-10T00:00:00Z")
    search = search_of(late, order)
    assert search.searched() == [("mobile_usage", date(2026, 5, 30))]
    assert rows_by_day(search) == [("2026-05-30", 1)]


def test_rows_past_their_own_term_are_left_out(tmp_path: Path) -> None:
    """Of a living day the rows that have reached their own term don't come, to the second of their local time."""
    vault = new_vault(tmp_path)
    rows = [Usage(at=f"2026052312{minute:02d}00") for minute in (0, 1, 2)]
    ingest(vault, "mvno_pipe", usage(rows), "S4PGWM000001")
    order = Order(start="2026-05-01T00:00:00Z", end="2026-06-10T00:00:00Z")
    now = datetime(2026, 11, 23, 12, 1, tzinfo=UTC)
    assert rows_by_day(search_of(opened(vault, now), order)) == [("2026-05-23", 1)]
    before = now - timedelta(seconds=1)
    again = Order(start="2026-05-01T00:00:00Z", end="2026-06-10T00:00:00Z", reference="PV-2")
    assert rows_by_day(search_of(opened(vault, before), again)) == [("2026-05-23", 2)]
