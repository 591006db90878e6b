"""Holdings: tables that were checked stay, as long as they are the ones in the catalogue."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pytest

from tests.support import Usage, ingest, new_vault, usage
from trafficvault.catalogue import Row
from trafficvault.errors import FaultError
from trafficvault.holdings import Holdings
from trafficvault.vault import Vault


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    """One file of records."""
    vault = new_vault(tmp_path)
    ingest(vault, "mvno_pipe", usage([Usage()]), "S4PGWM000001")
    return vault


def test_a_table_is_read_again_when_it_changed(vault: Vault) -> None:
    """The same rows as long as nothing was written; then those that were."""
    holdings = Holdings()
    with vault.catalogue.reading() as tx:
        first = holdings.rows(tx, "batches")
    with vault.catalogue.reading() as tx:
        assert holdings.rows(tx, "batches") is first
    ingest(vault, "mvno_pipe", usage([Usage(at="20261112120000")]), "S4PGWM000002")
    with vault.catalogue.reading() as tx:
        again = holdings.rows(tx, "batches")
        assert (len(first), len(again)) == (1, 2)
        assert list(again) == tx.select("batches")


def test_what_was_made_of_a_table_is_made_again_when_it_changed(vault: Vault) -> None:
    """Once as long as the table stands, and of no other table."""
    holdings, made = Holdings(), []

    def ids(rows: Sequence[Row]) -> list[str]:
        made.append(len(rows))
        return sorted(str(row["id"]) for row in rows)

    def asked() -> list[str]:
        with vault.catalogue.reading() as tx:
            assert holdings.made(tx, "files", ids) == sorted(row["id"] for row in tx.select("files"))
            return holdings.made(tx, "batches", ids)

    first = asked()
    assert asked() is first and made == [1, 1]
    ingest(vault, "mvno_pipe", usage([Usage(at="20261112120000")]), "S4PGWM000002")
    assert len(asked()) == 2 and made == [1, 1, 2, 2]


def test_a_changed_table_is_a_fault(vault: Vault) -> None:
    """What was not read before is checked when it is."""
    vault.catalogue.close()
    with sqlite3.connect(vault.layout.catalogue) as database:
        database.execute("update files set rows = 7")
    database.close()
    with vault.catalogue.reading() as tx, pytest.raises(FaultError, match="changed"):
        Holdings().rows(tx, "files")


def test_files_of_dying_partitions_are_not_given(vault: Vault) -> None:
    """As soon as the expiry of a day begins, its files are nobody's."""
    with vault.catalogue.reading() as tx:
        (file,) = vault.holdings.living_files(tx)
        row = tx.get("partitions", record_class="mobile_usage", day="2026-11-10")
    assert (file.record_class, file.day, file.rows, file.has_blocks) == ("mobile_usage", date(2026, 11, 10), 1, False)
    assert file.reach == (date(2026, 11, 10), date(2026, 11, 10))
    assert {"a_number", "start"} <= set(file.columns)
    assert row is not None
    with vault.catalogue.transaction() as tx:
        tx.put("partitions", **(row | {"state": "expiring"}))
    with vault.catalogue.reading() as tx:
        assert vault.holdings.living_files(tx) == []
