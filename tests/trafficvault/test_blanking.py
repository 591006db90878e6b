"""Locations that their day's key would outlive by days: they leave the day, in every copy, and the records stay."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scenarios.test_restored_terms import faults, put_back, what
from tests.support import OTHER, SUBSCRIBER, Order, approved, ingest, new_vault, opened
from tests.thorough import as_many
from tests.trafficvault.cli.commandline import CommandLine
from tests.trafficvault.short_location import CELL, ENDS, LEAVES, MONTHS_END, asked, deliver, of_two_months, rules
from tests.trafficvault.test_backup import back_up
from trafficvault import (
    against,
    attestation,
    certificates,
    checkpoints,
    compact,
    expire,
    partitions,
    raw_bytes,
    retention,
    signing,
    statement,
    status,
    trimming,
    verify,
)
from trafficvault.compaction import Selection
from trafficvault.errors import DecisionError
from trafficvault.period import Period
from trafficvault.policy_file import parse
from trafficvault.provider import from_environment
from trafficvault.terms import Term
from trafficvault.vault import Vault

DAY = date(2027, 2, 28)
SECOND = timedelta(seconds=1)
G2 = {f"mobile_usage/{DAY}/{name}/g2" for name in ("who", "where", "when", "how_much", "frame")}
ZONES = ["Europe/Amsterdam", "America/New_York", "Asia/Kolkata", "Pacific/Auckland"]
WHERE = ("start_cell", "utc_offset", "visited_country")
HERE, NOWHERE = (CELL, 0, "DE"), (None, None, None)
SINCE, UNTIL = "2027-02-28T00:00:00Z", "2027-03-01T00:00:00Z"


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    """The vault of `of_two_months`, on the day its records came."""
    return of_two_months(tmp_path)


def trimmed(vault: Vault) -> Vault:
    """The same when the first locations have left."""
    later = opened(vault, LEAVES)
    assert [one["categories"] for one in expire.expire(later).certificates] == [["where"]]
    return later


def stored(vault: Vault) -> dict[str, tuple[Any, ...]]:
    """What the record files hold of each record's location, to who has every key of today."""
    custody, found = vault.keys.custody("verify"), dict[str, tuple[Any, ...]]()
    with vault.catalogue.reading() as tx:
        files = tx.select("files", record_class="mobile_usage")
    for row in files:
        day, columns = date.fromisoformat(row["day"]), ("record_id", "a_number", "start", *WHERE)
        place = vault.layout, custody, "mobile_usage", day, row["id"]
        rows = partitions.read_in_custody(*place, columns, generation=row["generation"] or 1)
        assert rows["a_number"].null_count() == rows["start"].null_count() == 0
        found |= {row[0]: row[3:] for row in rows.rows()}
    return found


@pytest.mark.parametrize("compacted", [False, True], ids=["as delivered", "compacted"])
def test_the_first_locations_leave_and_every_record_stays(vault: Vault, tmp_path: Path, *, compacted: bool) -> None:
    """Not a second before; under new day keys, with a certificate that names the category; then the key and the day
    die when they must.
    """
    if compacted:
        compact.compact(vault, Selection(unsettled=True))
    before = vault.keys.key_ids()
    early = opened(vault, LEAVES - SECOND)
    assert expire.expire(early).certificates == ()
    assert set(stored(early).values()) == {HERE}

    later = opened(vault, LEAVES)
    (done,) = expire.expire(later).certificates
    assert (done["what"], done["categories"], done["records"], done["kept"]) == ("rows", ["where"], 2, 1)
    assert set(done["keys"]) == {key.removesuffix("/g2") for key in G2} == before - later.keys.key_ids()
    assert later.keys.key_ids() - before == G2
    assert stored(later) == {"r-0": NOWHERE, "r-1": NOWHERE, "r-2": HERE}
    assert faults(later) == []
    assert expire.expire(later).certificates == ()

    assert len(compact.compact(later, Selection(unsettled=True)).compacted) == 1
    assert stored(later) == {"r-0": NOWHERE, "r-1": NOWHERE, "r-2": HERE}
    assert faults(later) == []
    found, _ = asked(later, tmp_path / "out", targets=[("cell", CELL)], start=SINCE, end=UNTIL)
    assert found["record_id"].to_list() == ["r-2"]

    last = opened(later, ENDS)
    (key,) = [one for one in expire.expire(last).certificates if one["what"] == "records"]
    assert (key["categories"], key["keys"]) == (["where"], [f"mobile_usage/{DAY}/where/g2"])
    over = opened(last, datetime(2027, 9, 2, tzinfo=UTC))
    expire.expire(over)
    assert stored(over) == {}
    assert faults(over) == []


def test_an_answer_is_the_same_before_and_after(vault: Vault, tmp_path: Path) -> None:
    """Who asks saw no location past its term before, and is told afterwards, too, what has expired."""
    told = []
    for number, one in enumerate((opened(vault, LEAVES), trimmed(vault))):
        rows, manifest = asked(one, tmp_path / str(number), start=SINCE, end=UNTIL)
        told.append((rows.select("record_id", *WHERE).rows(), manifest["categories_expired"], manifest["complete"]))

    assert told[0] == told[1]
    cells, expired, complete = told[1]
    assert cells == [("r-0", *NOWHERE), ("r-1", *NOWHERE), ("r-2", *HERE)]
    assert (expired, complete) == ({"mobile_usage": {"where": [DAY.isoformat()]}}, False)


@pytest.mark.parametrize(
    "moment",
    [datetime(2027, 3, 28, 12, tzinfo=UTC), LEAVES, ENDS],
    ids=["past its term", "left the day", "its key is gone"],
)
def test_a_late_copy_is_known_whether_its_location_is_there_or_not(vault: Vault, moment: datetime) -> None:
    """The same records again, with the location that they had: none is stored twice, and what is new of that date is
    stored without.
    """
    later = opened(vault, moment)
    expire.expire(later)
    again = [("r-0", "2027-02-28T08:00:00Z"), ("r-1", "2027-02-28T22:50:00Z"), ("r-2", "2027-02-28T23:30:00Z")]
    receipt = deliver(later, [*again, ("new", "2027-02-28T09:00:00Z"), ("newer", "2027-02-28T23:40:00Z")])

    assert (receipt.stored, receipt.duplicate, receipt.expired) == (2, 3, 0)
    found = stored(later) if moment != ENDS else {}
    assert (found.get("new", NOWHERE), found.get("newer", HERE)) == (NOWHERE, HERE)
    assert deliver(later, [("new", "2027-02-28T09:00:00Z"), ("last", "2027-02-28T10:00:00Z")]).duplicate == 1
    assert faults(later) == []


def test_records_that_differ_in_a_location_alone_stay_two(tmp_path: Path) -> None:
    """A source without ids delivers both again after their locations went: neither is new, for they are numbered as
    they were when they came first.
    """
    file = tmp_path / "rules.toml"
    file.write_text(rules())
    vault = new_vault(tmp_path, str(file), MONTHS_END)
    head = "class,start,a_number,b_number,served,event,duration_ms,imsi,start_cell\n"
    line = f"mobile_usage,2027-02-28T08:00:00Z,+{SUBSCRIBER},+{OTHER},a,call,1000,204990000000001,%s\n"
    two = line % CELL + line % "204-99-0001-0008"
    assert ingest(vault, "native_csv", head + two, "first").stored == 2
    later = opened(vault, LEAVES)
    (done,) = expire.expire(later).certificates
    assert (done["records"], done["kept"]) == (2, 0)

    receipt = ingest(later, "native_csv", head + two + line % CELL, "again")
    assert (receipt.stored, receipt.duplicate) == (1, 2)
    assert faults(later) == []


def test_a_day_without_such_a_location_is_left_alone(tmp_path: Path) -> None:
    """Nothing is written anew for it, and it is looked at once."""
    file = tmp_path / "rules.toml"
    file.write_text(rules())
    vault = new_vault(tmp_path, str(file), MONTHS_END)
    deliver(vault, [("r-2", "2027-02-28T23:30:00Z")])
    later = opened(vault, LEAVES)
    assert [(one.day, one.categories) for one in trimming.due(later, LEAVES)] == [(DAY, ("where",))]
    before = later.keys.key_ids()
    assert expire.expire(later).certificates == ()
    assert later.keys.key_ids() == before
    assert trimming.due(later, LEAVES) == []
    assert stored(later) == {"r-2": HERE}


def test_a_run_that_was_missed_leaves_nothing_to_trim(vault: Vault) -> None:
    """When the key is due, all locations die with it, and no row is written anew."""
    later = opened(vault, ENDS)
    assert trimming.due(later, ENDS) == []
    assert [one["what"] for one in expire.expire(later).certificates if one["categories"] == ["where"]] == ["records"]
    assert faults(later) == []


def test_a_longer_term_revives_nothing(vault: Vault, tmp_path: Path) -> None:
    """Those that left stay away, and come back by no late copy; the day stays under the term that began to end it."""
    later = trimmed(vault)
    later.layout.policy.write_text(rules(where="P3M"))
    longer = opened(later, LEAVES + SECOND)
    rows, _ = asked(longer, tmp_path / "out", start=SINCE, end=UNTIL)
    assert rows["start_cell"].to_list() == [None, None, CELL]
    assert deliver(longer, [("r-0", "2027-02-28T08:00:00Z"), ("n", "2027-02-28T09:00:00Z")]).duplicate == 1
    assert stored(longer)["n"] == NOWHERE
    assert {item.due for item in expire.plan(longer) if item.categories == ("where",) and item.day == DAY} == {ENDS}


def test_a_clock_that_jumped_costs_no_location(tmp_path: Path) -> None:
    """By a clock that can't be believed a record would be stored without its location: the file stays where it is."""
    vault = of_two_months(tmp_path, rules().replace('"P999D"', '"P7D"'))
    wrong = opened(vault, datetime(2027, 3, 28, 12, tzinfo=UTC))
    with pytest.raises(DecisionError, match="0 of its rows would be past their term, 1 past that of their location"):
        deliver(wrong, [("new", "2027-02-28T08:10:00Z"), ("last", "2027-02-28T23:40:00Z")])
    assert len(stored(wrong)) == 3
    right = opened(vault, MONTHS_END + timedelta(days=1))
    assert deliver(right, [("new", "2027-02-28T08:10:00Z"), ("last", "2027-02-28T23:40:00Z")]).stored == 2
    assert stored(right)["new"] == HERE


def test_a_hold_keeps_the_location_that_it_began_with(vault: Vault, tmp_path: Path) -> None:
    """An order from before is answered with it after it left the day; no other is."""
    ordered = opened(vault, datetime(2027, 3, 27, tzinfo=UTC))
    order = Order(reference="PV-1", hold_for="P60D", legal_basis="126ni Sv", start=SINCE, end=UNTIL)
    hold = approved(ordered, order)
    later = opened(ordered, LEAVES)
    expire.expire(later)
    assert stored(later)["r-0"] == NOWHERE
    kept, manifest = asked(later, tmp_path / "kept", supplements=hold, start=SINCE, end=UNTIL)
    others, _ = asked(later, tmp_path / "others", start=SINCE, end=UNTIL)

    assert kept["start_cell"].to_list() == [CELL, CELL, CELL]
    assert manifest["days_from_hold"] == {"mobile_usage": [DAY.isoformat()]}
    assert others["start_cell"].to_list() == [None, None, CELL]
    last = opened(later, ENDS)
    expire.expire(last)
    kept, _ = asked(last, tmp_path / "later", supplements=hold, start=SINCE, end=UNTIL)
    assert kept["start_cell"].to_list() == [CELL, CELL, CELL]


def test_it_is_late_when_nobody_removes_it(vault: Vault) -> None:
    """Due from its moment on, wrong a day later: in `status`, and the row of the statement is no longer true."""
    on_time = opened(vault, LEAVES + timedelta(days=1))
    told = status.status(on_time)
    assert [(one.what, one.day, one.categories, one.due) for one in told.late] == [("rows", DAY, ("where",), LEAVES)]
    assert (told.facts["due"], told.facts["max_lateness_seconds"]) == (1, 86_400)
    assert not [text for text in told.wrong if "rows mobile_usage" in text]
    assert statement.state(on_time).body["true"] is True

    late = opened(vault, LEAVES + timedelta(days=1) + SECOND)
    (wrong,) = [text for text in status.status(late).wrong if "rows mobile_usage" in text]
    assert wrong.startswith(f"rows mobile_usage {DAY} (where) was due at 2027-03-29 02:00 +02:00 and still lives")
    untrue = [row["id"] for row in statement.state(late).body["rows"] if row["verdict"] != "TRUE"]
    assert untrue == ["location"]
    expire.expire(late)
    assert status.status(late).late == ()
    row = next(row for row in statement.state(late).body["rows"] if row["id"] == "location")
    assert (row["verdict"], row["last_certificate"]["day"]) == ("TRUE", DAY.isoformat())


def test_a_dry_run_shows_it(vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its reason, beside what is due as a whole, until it is done."""
    vault.catalogue.close()
    line = CommandLine(tmp_path, monkeypatch, LEAVES)
    (row,) = [item for item in line("expire", "--dry-run", "--json").object["plan"] if item["what"] == "rows"]
    assert (row["day"], row["categories"], row["action"]) == (DAY.isoformat(), ["where"], "expire")
    assert row["reason"] == "the term of where in the day's first records is over, and its key lives on"
    assert line("expire").code == 0
    assert not [item for item in line("expire", "--dry-run", "--json").object["plan"] if item["what"] == "rows"]


def test_its_certificate_holds_offline(vault: Vault) -> None:
    """With the public key alone: it says of how many records only the location went."""
    later = trimmed(vault)
    (body,) = certificates.listing(later)
    note = str(checkpoints.make(later)["note"])
    export = json.loads(signing.canonical(certificates.export(later, body["id"])))
    verdict = attestation.check(export, later.settings.public_key, note)

    assert "the rows of class mobile_usage, 2027-02-28 (only where) (2 records)" in verdict.attested
    assert (len(verdict.proved), verdict.open) == (3, ())


def test_an_old_copy_is_of_no_use(vault: Vault, tmp_path: Path) -> None:
    """Files and catalogue from before, with the keys of today: nothing opens; where the files are put back into the
    vault, `verify` names them.
    """
    copy = Path(shutil.copytree(vault.layout.vault, tmp_path / "copy"))
    later = trimmed(vault)
    tried = against.against(later, copy, from_environment).files
    dated = [one for one in tried if one.kind in ("record file", "seen block")]
    assert {(one.state, one.opened_by, one.is_fault) for one in dated} == {("expired", None, False)}
    assert not any(one.is_fault for one in tried)

    (file,) = (copy / "records" / "mobile_usage" / DAY.isoformat()).glob("*.parquet")
    shutil.copy(file, later.layout.partition("mobile_usage", DAY))
    assert [fault.kind for fault in verify.verify(later).faults] == ["restored after expiry"]


def test_a_backup_from_before_brings_nothing_back(vault: Vault, tmp_path: Path) -> None:
    """Put back beside the keys of today, the day as it was opens no more; one from after it is whole."""
    back_up(vault, tmp_path / "before", at=MONTHS_END)
    later = trimmed(vault)
    back_up(later, tmp_path / "after", at=LEAVES)
    again, _ = put_back(later, tmp_path / "after", LEAVES)
    assert stored(again) == {"r-0": NOWHERE, "r-1": NOWHERE, "r-2": HERE}
    assert faults(again) == []

    old, told = put_back(again, tmp_path / "before", LEAVES)
    assert f"records/mobile_usage/{DAY}" in told.expiring
    assert ("records", "mobile_usage", DAY.isoformat()) in {one[:3] for one in what(expire.expire(old).certificates)}
    assert stored(old) == {}
    assert faults(old) == []


def test_delivered_bytes_do_not_outlast_a_location(tmp_path: Path) -> None:
    """A file is kept as it came only where every location in it outlasts that; one that came late is not."""
    vault = of_two_months(tmp_path, rules().replace('keep_raw = "P0D"', 'keep_raw = "P7D"'))
    kept = [row for row in _leftovers(vault) if row["kind"] == raw_bytes.KIND]
    assert len(kept) == 1
    late = opened(vault, datetime(2027, 3, 22, 12, tzinfo=UTC))
    expire.expire(late)
    # Seven days from 22 March are over on 29 March, and the first location on 28 March.
    assert deliver(late, [("late", "2027-02-28T08:10:00Z")]).stored == 1
    assert _leftovers(late) == []
    assert deliver(late, [("fresh", "2027-03-20T08:10:00Z")]).stored == 1
    assert [row["oldest_of"] for row in _leftovers(late)] == ['{"mobile_usage": "2027-03-20"}']


def _leftovers(vault: Vault) -> list[dict[str, Any]]:
    with vault.catalogue.reading() as tx:
        return tx.select("leftovers", kind=raw_bytes.KIND)


def test_rejected_rows_go_with_the_first() -> None:
    """What came on that UTC day in one piece goes a day after the first of it could have reached its term."""
    (item,) = retention.plan([retention.Partition("mobile_usage", DAY, "rejections")], parse(rules()), LEAVES - SECOND)
    assert (item.due, item.action) == (LEAVES, "keep")


@given(
    day=st.dates(date(2024, 1, 1), date(2032, 12, 31)),
    zone=st.sampled_from(ZONES),
    term=st.sampled_from(["P1M", "P2M", "P3M", "P6M", "P10D", "P1M2D"]),
)
@settings(max_examples=as_many(50))
def test_no_term_is_outlived_by_more_than_two_days(day: date, zone: str, term: str) -> None:
    """Of any moment of any day: what leaves on its own does so within 48 hours and a change of clocks, what does not
    goes with its key; and nothing leaves early.
    """
    lasts = Term(period=Period.parse(term))
    first = datetime(day.year, day.month, day.day, tzinfo=UTC)
    ends = [retention.expires_at(first + timedelta(minutes=30 * step), lasts, zone) for step in range(48)]
    due, leaves = retention.due(day, lasts, zone), retention.leaves(day, lasts, zone)
    gone = [leaves if leaves is not None and end <= leaves else due for end in ends]

    assert all(
        timedelta(0) <= at - end <= retention.LATEST + timedelta(hours=1) for at, end in zip(gone, ends, strict=True)
    )


@pytest.mark.slow
@given(
    month=st.sampled_from(
        [date(2027, 2, 28), date(2027, 3, 1), date(2028, 2, 29), date(2027, 4, 30), date(2027, 1, 31)]
    ),
    zone=st.sampled_from(ZONES),
    term=st.sampled_from(["P1M", "P2M"]),
    minutes=st.lists(st.integers(0, 1439), min_size=1, max_size=4, unique=True),
)
@settings(max_examples=6, deadline=None)
def test_no_location_is_readable_two_days_after_its_term(
    tmp_path_factory: pytest.TempPathFactory, month: date, zone: str, term: str, minutes: list[int]
) -> None:
    """Whoever has the key directory and every file of today finds no location past its term by 48 hours, and every one
    that is inside.
    """
    directory = tmp_path_factory.mktemp("any")
    start = datetime(month.year, month.month, month.day, tzinfo=UTC)
    (directory / "rules.toml").write_text(rules(where=term).replace("Europe/Amsterdam", zone))
    vault = new_vault(directory, str(directory / "rules.toml"), start + timedelta(days=1, hours=12))
    moments = {f"r-{minute}": start + timedelta(minutes=minute) for minute in minutes}
    deliver(vault, [(name, f"{at:%Y-%m-%dT%H:%M:%SZ}") for name, at in moments.items()])
    lasts = Term(period=Period.parse(term))
    ends = {name: retention.expires_at(at, lasts, zone) for name, at in moments.items()}
    due, leaves = retention.due(month, lasts, zone), retention.leaves(month, lasts, zone)
    for now in sorted({due, leaves or due, *(end + timedelta(hours=49) for end in ends.values())}):
        vault = opened(vault, now)
        expire.expire(vault)
        found = {name: told[0] for name, told in _told(vault).items()}
        for name, end in ends.items():
            if end > now:
                assert found[name] == CELL, (name, now)
            elif now - end >= timedelta(hours=49):
                assert found.get(name) is None, (name, now)
    assert faults(vault) == []


def _told(vault: Vault) -> dict[str, tuple[Any, ...]]:
    """As `stored`; nothing where no key of a location is left."""
    return stored(vault) if any("/where" in key for key in vault.keys.key_ids()) else {}
