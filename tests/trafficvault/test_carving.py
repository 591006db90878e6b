"""Carving: what a hold covers, and nothing else, is kept apart; a warrant that names it sees it, no other does."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from tests.support import NOW, OTHER, SUBSCRIBER, Order, Usage, approved, every_byte, ingest, opened, signed_in, usage
from tests.trafficvault import short_location
from trafficvault import carving, disclose, docket, holds
from trafficvault.carving import Carved
from trafficvault.errors import FaultError, RefusedError
from trafficvault.layout import hold_key_id
from trafficvault.vault import Vault

DAY = date(2026, 11, 10)
PRESERVE = Order(reference="PV-2026-000300", hold_for="P90D", legal_basis="126ni Sv")
STRANGER = "31600000007"


def held(vault: Vault, hold_id: str) -> pl.DataFrame:
    """Everything that a hold has carved."""
    with vault.catalogue.reading() as tx:
        rows = tx.select(carving.TABLE, hold=hold_id)
    return carving.rows_of(vault, vault.keys.custody("hold").key(hold_key_id(hold_id)), rows)


def carve(vault: Vault, cause: str = "expiry") -> list[Carved]:
    """Carves a day that the prepared vault has records of; what its own warrant froze is left out here."""
    done = carving.carve(vault, [("mobile_usage", DAY, cause)])
    orders = {item.warrant_id: item.document.document["reference"] for item in docket.listing(vault)}
    return [item for item in done if orders[item.hold_id] != Order.reference]


def test_the_rows_in_scope_are_kept_and_no_others(stored: Vault) -> None:
    """Of the day's records those of the target, each once, with their provenance."""
    ingest(
        stored,
        "mvno_pipe",
        usage([Usage(a=STRANGER, b=STRANGER, msisdn=STRANGER, at="20261110130000")]),
        "S4PGWM000004",
    )
    hold_id = approved(stored, PRESERVE)
    done = carve(stored)
    rows = held(stored, hold_id)
    assert [(item.hold_id, item.rows, item.unreadable) for item in done] == [(hold_id, 2, ())]
    assert rows.height == 2
    assert rows["a_number"].unique().to_list() == [f"+{SUBSCRIBER}"]
    assert set(rows["start"].dt.date().to_list()) == {DAY}
    assert {"source", "batch", "row", "occurrence"} <= set(rows.columns)
    assert stored.audit.show(1)[0]["act"] == "carve"


def test_only_the_categories_of_the_order_are_kept(stored: Vault) -> None:
    """Without `where` and `how_much` nothing of them is in the carve."""
    order = Order(reference="PV-2026-000302", hold_for="P90D", legal_basis="126ni Sv", categories=("who", "when"))
    hold_id = approved(stored, order)
    carve(stored)
    columns = set(held(stored, hold_id).columns)
    assert "start" in columns
    assert not columns & {"event", "duration_ms", "visited_country", "start_cell", "utc_offset"}


def test_it_is_done_once_for_each_cause(stored: Vault) -> None:
    """The same expiry again carves nothing; another cause does, and what is there twice counts once."""
    hold_id = approved(stored, PRESERVE)
    assert len(carve(stored)) == 1
    assert carve(stored) == []
    assert len(carve(stored, "withdrawal")) == 1
    assert held(stored, hold_id).height == 2


def test_what_no_hold_covers_is_not_carved(stored: Vault) -> None:
    """Another window, class or person, or a hold that is over: nothing, or no row."""
    approved(stored, Order(reference="A", hold_for="P90D", legal_basis="126ni Sv", classes=("voip",)))
    approved(
        stored,
        Order(
            reference="B",
            hold_for="P90D",
            legal_basis="126ni Sv",
            start="2026-10-01T00:00:00Z",
            end="2026-10-02T00:00:00Z",
        ),
    )
    assert carve(stored) == []
    approved(stored, Order(reference="C", hold_for="P1D", legal_basis="126ni Sv"))
    assert carve(opened(stored, NOW + timedelta(days=4))) == []
    nobody = approved(
        stored, Order(reference="D", hold_for="P90D", legal_basis="126ni Sv", targets=[("msisdn", f"+{STRANGER}")])
    )
    assert [(item.hold_id, item.rows) for item in carve(stored) if item.hold_id == nobody] == [(nobody, 0)]


def test_nothing_of_it_is_in_clear(stored: Vault) -> None:
    """Neither the numbers nor the target are on disk, in names or content."""
    hold_id = approved(stored, PRESERVE)
    carve(stored)
    content = every_byte(stored.layout.vault)
    for number in (SUBSCRIBER, OTHER):
        assert number.encode() not in content
    assert list((stored.layout.holds / hold_id).iterdir())


def test_a_warrant_that_names_it_sees_it(stored: Vault, tmp_path: Path) -> None:
    """The records of a day that is gone are answered to it, and said to come from the hold; to another they are not."""
    hold_id = approved(stored, PRESERVE)
    carve(stored)
    drop(stored)
    named = approved(stored, Order(reference="PV-2026-000303", supplements=hold_id))
    other = approved(stored, Order(reference="PV-2026-000304"))
    olga = signed_in(stored, "olga")
    found = disclose.run(stored, olga, named, tmp_path / "named")
    plain = disclose.run(stored, olga, other, tmp_path / "other")
    assert found.records - plain.records == 2
    manifest = json.loads((tmp_path / "named" / "manifest.json").read_text())
    assert manifest["days_from_hold"] == {"mobile_usage": ["2026-11-10"]}
    assert "days_from_hold" not in json.loads((tmp_path / "other" / "manifest.json").read_text())


def test_its_own_freeze_is_seen_by_a_warrant(stored: Vault, tmp_path: Path) -> None:
    """What died while a warrant was being checked is in its answer."""
    warrant = docket.register(stored, signed_in(stored, "olga"), Order(reference="PV-2026-000305").toml())
    carve(stored)
    drop(stored)
    docket.approve(stored, signed_in(stored, "piet"), warrant)
    assert disclose.run(stored, signed_in(stored, "olga"), warrant, tmp_path / "package").records == 5


def test_a_hold_that_is_over_gives_nothing(stored: Vault, tmp_path: Path) -> None:
    """Before its key has died, too."""
    hold_id = approved(stored, PRESERVE)
    carve(stored)
    drop(stored)
    with stored.catalogue.transaction() as tx:
        holds.finish(tx, hold_id, "released", NOW)
    named = approved(stored, Order(reference="PV-2026-000303", supplements=hold_id))
    assert disclose.run(stored, signed_in(stored, "olga"), named, tmp_path / "named").records == 3


def test_its_scope_is_still_the_warrants(stored: Vault, tmp_path: Path) -> None:
    """Naming a hold opens nothing of another person or another window than the warrant's own."""
    hold_id = approved(stored, PRESERVE)
    carve(stored)
    stranger = approved(stored, Order(reference="E", supplements=hold_id, targets=[("msisdn", f"+{STRANGER}")]))
    assert disclose.run(stored, signed_in(stored, "olga"), stranger, tmp_path / "package").records == 0


def test_the_key_port_asks_for_itself(stored: Vault) -> None:
    """A hold's key is released to a signed warrant that names it, to no other, whatever the caller says."""
    hold_id = approved(stored, PRESERVE)
    carve(stored)
    other = docket.load(stored, approved(stored, Order(reference="PV-2026-000304"))).signed
    assert other is not None
    with pytest.raises(RefusedError, match="does not name it with `supplements`"):
        stored.keys.release_held(other, hold_id)
    own = docket.load(stored, hold_id).signed
    assert own is not None
    assert stored.keys.release_held(own, hold_id) == stored.keys.custody("hold").key(hold_key_id(hold_id))
    with pytest.raises(RefusedError, match="signature"):
        stored.keys.release_held(type(own)({**own.document, "max_matches": 7}, own.registered, own.approved), hold_id)


def test_a_file_that_can_not_be_read_stops_nothing(stored: Vault) -> None:
    """It is named in the log; what else there is of the day is kept."""
    ingest(stored, "mvno_pipe", usage([Usage(at="20261110150000")]), "S4PGWM000004")
    hold_id = approved(stored, PRESERVE)
    with stored.catalogue.reading() as tx:
        first, *_ = tx.select("files", record_class="mobile_usage", day="2026-11-10")
    stored.layout.record_file("mobile_usage", DAY, first["id"]).write_bytes(b"gone")
    (done,) = carve(stored)
    assert done.unreadable == (first["id"],)
    assert held(stored, hold_id).height == done.rows
    told = {entry["detail"]["hold"]: entry["detail"] for entry in stored.audit.show(4) if entry["act"] == "carve"}
    assert told[hold_id]["unreadable"] == [first["id"]]


def test_a_carve_that_is_gone_stops_no_other(stored: Vault) -> None:
    """Who takes away a file that a hold keeps does not keep the next day from dying on time."""
    hold_id = approved(stored, PRESERVE)
    carve(stored)
    (path,) = (stored.layout.holds / hold_id).iterdir()
    path.unlink()
    (done,) = carve(stored, "withdrawal")
    assert done.rows == 2
    assert done.unreadable == (path.stem,)


def test_what_had_expired_when_the_hold_began_is_not_kept(tmp_path: Path) -> None:
    """Neither a record, nor the location of one, whose key still lives because the expiry is late."""
    vault = short_location.new(tmp_path, short_location.rules("P7D", "P14D"))
    at = short_location.FIRST + timedelta(days=6)
    hold_id = approved(opened(vault, at), PRESERVE)
    late = opened(vault, at + timedelta(days=20))
    carving.carve(late, [("mobile_usage", DAY, "expiry"), ("mobile_usage", DAY + timedelta(days=1), "expiry")])
    rows = held(late, hold_id)
    assert rows.height == 3
    assert rows.filter(pl.col("start").dt.date() == DAY)["start_cell"].to_list() == [None]


@pytest.mark.parametrize("harm", ["gone", "changed"])
def test_a_carve_that_was_changed_is_a_fault(stored: Vault, harm: str) -> None:
    """It is never taken for what was carved."""
    hold_id = approved(stored, PRESERVE)
    carve(stored)
    (path,) = (stored.layout.holds / hold_id).iterdir()
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(FaultError, match=r"carve|hold"):
        held(stored, hold_id)


def test_a_commitment_tells_nothing_and_binds() -> None:
    """Two nonces give two digests of the same carves; other carves give another digest."""
    one = {"hold": "a", "record_class": "voip", "day": "2026-11-10", "rows": 3}
    assert carving.commitment([one], "1") != carving.commitment([one], "2")
    assert carving.commitment([one], "1") != carving.commitment([], "1")


def drop(vault: Vault) -> None:
    """The files of the day are no longer in the catalogue, as after its expiry."""
    with vault.catalogue.transaction() as tx:
        for row in tx.select("files", record_class="mobile_usage", day="2026-11-10"):
            tx.delete("files", id=row["id"])
