"""Row keys: what names a person in the catalogue dies with its own row, whichever copy of the catalogue there is."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.support import NOW, Order, approved, layout_at, opened, signed_in
from tests.thorough import ALL_STEPS
from tests.trafficvault.rights_house import answered, ask, housed
from tests.trafficvault.test_backup import ada, back_up, put_back
from tests.trafficvault.test_registers import FROZEN, ends, run
from tests.trafficvault.test_rewrite import faults
from tests.trafficvault.test_rotation import Stopped, StoppingDisk
from trafficvault import (
    annotation,
    app,
    docket,
    expire,
    locks,
    people,
    proposals,
    registers,
    rights,
    row_keys,
    sealing,
    signing,
    verify,
)
from trafficvault.catalogue import Row
from trafficvault.clock import SetClock
from trafficvault.durable import Disk
from trafficvault.errors import FaultError, RefusedError
from trafficvault.people import Person
from trafficvault.ring import is_row_key
from trafficvault.vault import Vault

DAY = timedelta(days=1)
YEARS = ends(FROZEN, "warrants")
"""When a warrant of today, with what it froze, has reached its term."""


@pytest.fixture
def stored(tmp_path: Path) -> Vault:
    """A vault with one row of each kind: a warrant, a proposal, a request and its annotation."""
    vault = housed(tmp_path / "house")
    approved(vault, Order())
    answered(vault, ask("rectify"))
    proposals.propose(vault, signed_in(vault, "otto"), "batch-withdraw", {"batch": "x", "reason": "y"})
    return vault


def sealed(vault: Vault) -> list[tuple[str, Row]]:
    """Every sealed row with its table."""
    with vault.catalogue.reading() as tx:
        return [(table, row) for table in row_keys.TABLES for row in tx.select(table)]


def without_keys(vault: Vault) -> None:
    """Makes `vault` what a version before made: its rows lie under the shared key, and no key is spare."""
    key = vault.keys.custody("catalogue").key(row_keys.SHARED)
    rows = [(table, row, row_keys.unseal(vault, table, row)) for table, row in sealed(vault)]
    with vault.catalogue.transaction() as tx:
        for table, row, content in rows:
            blob = sealing.seal(key, signing.canonical(content), f"{row_keys.TABLES[table]} {row['id']}")
            tx.put(table, **row | {"key": None, "sealed": blob.hex()})
        row_keys.drop_spares(tx)


def readable(vault: Vault, rows: list[tuple[str, Row]]) -> list[str]:
    """The tables of those `rows`, as a copy of the catalogue has them, that some key of the living ring opens."""
    custody = vault.keys.custody("verify")
    keys = [custody.key(name) for name in vault.keys.key_ids()]

    def opens(table: str, row: Row, key: bytes) -> bool:
        try:
            return bool(sealing.unseal(key, bytes.fromhex(row["sealed"]), f"{row_keys.TABLES[table]} {row['id']}"))
        except FaultError:
            return False

    return [table for table, row in rows if any(opens(table, row, key) for key in keys)]


def test_each_row_has_a_key_of_its_own(stored: Vault) -> None:
    """Four rows, four keys of the ring, none of them spare any longer; and all can be read again."""
    rows = sealed(stored)
    names = [row["key"] for _, row in rows]
    assert len(set(names)) == len(names) == 4
    assert set(names) < {name for name in stored.keys.key_ids() if is_row_key(name)}
    again = opened(stored)
    assert len(docket.listing(again)) == len(proposals.listing(again)) == len(rights.listing(again)) == 1
    assert [one.text for one in annotation.listing(again)] == ["That was not me."]
    with again.catalogue.reading() as tx:
        assert len(row_keys.owned(tx)) == row_keys.MOST
        assert expire.ownerless(tx, again.keys.key_ids()) == set()


def test_a_copy_of_the_catalogue_shows_no_row_that_was_removed(stored: Vault) -> None:
    """Each kind is unreadable from its own removal on, with every key there is; the others stay as they were."""
    copy = sealed(stored)
    assert sorted(readable(stored, copy)) == sorted(row_keys.TABLES)
    late, done = run(stored, ends(NOW, "proposals") + 2 * DAY)
    assert sorted(readable(late, copy)) == ["annotations", "rights", "warrants"]
    (body,) = (one for one in done.certificates if one["what"] == "register")
    (gone,) = (row["key"] for table, row in copy if table == "proposals")
    assert (body["keys"], body["leases_ended"]) == ([gone], True)
    assert body["generation"] == late.keys.generation
    late, done = run(late, YEARS + 2 * DAY)
    assert readable(late, copy) == []
    assert faults(late) == []


def test_a_term_can_end_one_row_of_a_day_alone(stored: Vault) -> None:
    """Of two warrants of one day the approved and disclosed one stays: its key is not the other's."""
    other = approved(stored, Order(reference="PV-2"))
    with stored.catalogue.transaction() as tx:
        ran = {"warrant": other, "question": "activity", "person": "olga", "state": "released"}
        tx.put("disclosures", id="d", started_at=(NOW + 100 * DAY).isoformat(), **ran)
    copy = [one for one in sealed(stored) if one[0] == "warrants"]
    late, _ = run(stored, YEARS + 2 * DAY)
    assert [one.warrant_id for one in docket.listing(late)] == [other]
    assert len(readable(late, copy)) == 1


def test_without_a_spare_a_row_waits_for_its_key(stored: Vault) -> None:
    """It lies under the shared key and can be read; the next expiry gives it its own, and fills up what was used."""
    with stored.catalogue.transaction() as tx:
        row_keys.drop_spares(tx)
    warrant = approved(stored, Order(reference="PV-2"))
    (row,) = (row for _, row in sealed(stored) if row["id"] == warrant)
    assert row["key"] is None
    assert docket.load(stored, warrant).document.document["reference"] == "PV-2"
    late, _ = run(stored, NOW + DAY)
    (after,) = (row for _, row in sealed(late) if row["id"] == warrant)
    assert is_row_key(after["key"])
    assert after["sealed"] != row["sealed"]
    assert docket.load(late, warrant).document.document["reference"] == "PV-2"
    with late.catalogue.reading() as tx:
        assert len(row_keys.owned(tx)) == row_keys.MOST + 5
        assert expire.ownerless(tx, late.keys.key_ids()) == set()


def test_rows_of_a_vault_from_before_get_keys(stored: Vault) -> None:
    """None of them has a key of its own, nor is one spare: everything works, and the first expiry makes them."""
    without_keys(stored)
    old = opened(stored, NOW + DAY)
    assert len(annotation.listing(old)) == len(docket.listing(old)) == 1
    expire.expire(old)
    assert all(row["key"] is not None for _, row in sealed(old))
    assert len(annotation.listing(old)) == len(docket.listing(old)) == 1
    assert faults(old) == []


def test_a_process_that_opened_the_ring_before_finds_new_keys(stored: Vault) -> None:
    """Another one filled up the spares meanwhile: what is put with them, and what others put, can be read."""
    reader = app.open_vault(stored.layout, Disk(), SetClock(NOW))
    with stored.catalogue.transaction() as tx:
        row_keys.drop_spares(tx)
    row_keys.stock(stored)
    warrant = docket.register(reader, signed_in(reader, "olga"), Order(reference="PV-2").toml())
    (row,) = (row for _, row in sealed(stored) if row["id"] == warrant)
    assert is_row_key(row["key"])
    other = app.open_vault(stored.layout, Disk(), SetClock(NOW))
    with stored.catalogue.transaction() as tx:
        row_keys.drop_spares(tx)
    row_keys.stock(stored)
    third = docket.register(stored, signed_in(stored, "olga"), Order(reference="PV-3").toml())
    assert docket.load(other, third).document.document["reference"] == "PV-3"


def test_a_restored_catalogue_gives_back_no_row_that_had_ended(stored: Vault, tmp_path: Path) -> None:
    """Its row is deleted at once and certified by the next run; a row that lives is there and can be read."""
    other = approved(stored, Order(reference="PV-2"))
    with stored.catalogue.transaction() as tx:
        ran = {"warrant": other, "question": "activity", "person": "olga", "state": "released"}
        tx.put("disclosures", id="d", started_at=(NOW + 100 * DAY).isoformat(), **ran)
    back_up(stored, tmp_path / "backup")
    late, _ = run(stored, YEARS + 2 * DAY)
    late.catalogue.close()
    put_back(tmp_path / "backup", late.layout, accept=ada)
    again = opened(late)
    with again.catalogue.reading() as tx:
        assert [row["id"] for row in tx.select("warrants")] == [other]
        assert tx.select("annotations") == tx.select("rights") == tx.select("proposals") == []
        assert len(row_keys.owned(tx)) == 1
    by = signed_in(again, "ada")
    with again.catalogue.transaction() as tx:
        people.confirm(tx, "otto", [by])
    done = expire.expire(again, signed_in(again, "otto"))
    (body,) = (one for one in done.certificates if one["what"] == "register")
    assert {name: body["counts"].get(name) for name in row_keys.TABLES} == dict.fromkeys(row_keys.TABLES, 1)
    assert docket.load(again, other).document.document["reference"] == "PV-2"
    assert faults(again) == []


def test_a_row_without_its_key_is_a_fault(stored: Vault) -> None:
    """`verify` names table and row."""
    (row,) = (row for table, row in sealed(stored) if table == "warrants")
    with stored.catalogue.transaction() as tx:
        tx.put("warrants", **row | {"key": "row/0123456789abcdef"})
    with pytest.raises(RefusedError, match="not in the ring"):
        docket.load(stored, row["id"])
    (fault,) = (one for one in verify.verify(stored).faults if one.kind == "key missing")
    assert row["id"] in fault.sentence


def test_it_is_finished_whatever_step_a_crash_hits(stored: Vault, tmp_path: Path) -> None:
    """Wherever it stops the vault opens and shows all rows that live; the next run leaves what one whole run leaves."""
    copy = sealed(stored)
    warm, _ = run(stored, YEARS - DAY)
    warm.catalogue.close()
    base, late = warm.layout.vault.parent, YEARS + 2 * DAY
    steps = _steps(base, tmp_path / "whole", late, None)
    for number in range(1, steps + 1, 1 if ALL_STEPS else 3):
        place = tmp_path / f"broken-{number}"
        _steps(base, place, late, number)
        vault = app.open_vault(layout_at(place), Disk(), SetClock(late), writer=True)
        for table, row in sealed(vault):
            assert row_keys.unseal(vault, table, row)
        otto: Person = signed_in(vault, "otto")
        expire.expire(vault, otto)
        assert readable(vault, copy) == [], number
        assert faults(vault) == [], number
        with vault.catalogue.reading() as tx:
            counts = tx.select("certificates", kind="register")
            assert expire.ownerless(tx, vault.keys.key_ids()) == set(), number
        assert sum('"warrants":1' in row["body"] for row in counts) == 1, number
        vault.catalogue.close()
        shutil.rmtree(place)


def _steps(base: Path, place: Path, now: datetime, number: int | None) -> int:
    """How many steps the registers' expiry has on a copy of the vault; stopped at `number`, if that is not None."""
    for name in ("vault", "vault.keys"):
        shutil.copytree(base / name, place / name, ignore=shutil.ignore_patterns("reserve"))
    disk = StoppingDisk()
    vault = app.open_vault(layout_at(place), disk, SetClock(now), writer=True)
    expire.require_clock(vault, signed_in(vault, "otto"))
    begun = disk.steps
    disk.at = 0 if number is None else begun + number
    with locks.writing(vault.layout):
        if number is None:
            registers.expire(vault)
        else:
            with pytest.raises(Stopped):
                registers.expire(vault)
    vault.catalogue.close()
    return disk.steps - begun
