"""Terms per category: the location dies before its call, exactly, with proof, and nothing brings it back."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from tests.support import Order, opened
from tests.trafficvault.short_location import CELL, FIRST, GONE, OVER, asked, deliver, entry, new, rules
from trafficvault import compact, docket, expire, rewrite, signing
from trafficvault.compaction import Selection
from trafficvault.retention import Item
from trafficvault.rewrite import Why
from trafficvault.thinning import Going
from trafficvault.vault import Vault
from trafficvault.verify import verify

WHERE_KEY = "mobile_usage/2026-11-10/where"


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    """The vault of `short_location`, on the day its first records came."""
    return new(tmp_path)


@pytest.fixture
def gone(vault: Vault) -> Vault:
    """The same when the location of one of its days has expired."""
    later = opened(vault, GONE)
    expire.expire(later)
    return later


def cells(vault: Vault, out: Path) -> dict[str, str | None]:
    """The cell that an answer tells of each record."""
    rows, _ = asked(vault, out)
    return dict(zip(rows["record_id"].to_list(), rows["start_cell"].to_list(), strict=True))


def test_the_location_is_an_item_of_its_own(vault: Vault) -> None:
    """Planned apart, with its own moment and reason, as long as the day is not due."""
    items = [item for item in expire.plan(opened(vault, GONE)) if item.kind == "records" and item.day.day == 10]
    where, rest = items

    assert (where.categories, where.action, rest.action) == (("where",), "expire", "keep")
    assert rest.categories == ("who", "when", "how_much", "frame")
    assert where.due is not None
    assert where.due.isoformat() == "2026-12-11T23:00:00+00:00"
    assert "entry 'location' keeps where of mobile_usage for 1 month" in where.reason
    assert not where.ends_day
    assert rest.ends_day


def test_only_its_key_dies_and_a_certificate_says_so(vault: Vault) -> None:
    """The rest of the day keeps its keys and files; the certificate names the category, its rule and its key."""
    before = vault.keys.key_ids()
    later = opened(vault, GONE)
    (certificate,) = expire.expire(later).certificates

    assert before - later.keys.key_ids() == {WHERE_KEY}
    assert (certificate["categories"], certificate["keys"], certificate["term"]) == (["where"], [WHERE_KEY], "P1M")
    assert (certificate["records"], certificate["lateness_seconds"]) == (1, 1800)
    body = {name: value for name, value in certificate.items() if name not in ("id", "signature")}
    signing.require_signature(later.settings.public_key, certificate["signature"], signing.canonical(body), "it")
    with later.catalogue.reading() as tx:
        row = tx.get("partitions", record_class="mobile_usage", day="2026-11-10")
    assert row is not None
    assert (row["state"], row["gone"], row["going"]) == ("live", '["where"]', None)
    assert verify(later).faults == ()
    assert expire.expire(later).certificates == ()


@pytest.mark.parametrize("compacted", [False, True], ids=["as delivered", "compacted"])
def test_the_rest_stays_readable_and_the_package_says_what_expired(
    vault: Vault, tmp_path: Path, *, compacted: bool
) -> None:
    """Records without their location, from blocks as from files; the manifest names the days and is not complete."""
    assert set(cells(vault, tmp_path / "before").values()) == {CELL}
    if compacted:
        assert len(compact.compact(vault, Selection(unsettled=True)).compacted) == 2
    later = opened(vault, GONE)
    expire.expire(later)
    rows, manifest = asked(later, tmp_path / "after")

    assert dict(zip(rows["record_id"], rows["start_cell"], strict=True)) == {"r-0": None, "r-1": None, "r-2": CELL}
    assert rows["visited_country"].to_list() == [None, None, "DE"]
    assert rows["utc_offset"].to_list() == [None, None, 0]
    assert rows["a_number"].null_count() == 0
    assert manifest["categories_expired"] == {"mobile_usage": {"where": ["2026-11-10", "2026-11-11"]}}
    assert manifest["days_searched"] == {"mobile_usage": ["2026-11-10", "2026-11-11"]}
    assert (manifest["days_expired"], manifest["complete"]) == ({}, False)


def test_a_location_past_its_term_is_not_returned_while_its_day_is_not_due(vault: Vault, tmp_path: Path) -> None:
    """To the second: before its own month is over it is told, from then on it is not, and no key died in between."""
    end = FIRST.replace(month=12, day=10, hour=12)  # a month after the record of 10 November at noon
    second = timedelta(seconds=1)

    assert cells(opened(vault, end - second), tmp_path / "before")["r-0"] == CELL
    assert cells(opened(vault, end), tmp_path / "after") == {"r-0": None, "r-1": CELL, "r-2": CELL}
    assert WHERE_KEY in vault.keys.key_ids()


def test_nothing_is_found_by_a_location_past_its_term(vault: Vault, tmp_path: Path) -> None:
    """A cell finds a record no longer than the record's own location lasts, whatever key is still there."""
    end = FIRST.replace(month=12, day=10, hour=12)
    found, _ = asked(opened(vault, end), tmp_path / "out", targets=[("cell", CELL)])

    assert found["record_id"].to_list() == ["r-1", "r-2"]


@pytest.mark.parametrize(
    ("question", "target"),
    [("cell", ("cell", CELL)), ("activity", ("cell", CELL)), ("cell", ("msisdn", "+31612345678"))],
    ids=["a cell", "activity in a cell", "the cells of a number"],
)
def test_a_question_about_places_calls_the_day_expired(
    gone: Vault, tmp_path: Path, question: str, target: tuple[str, str]
) -> None:
    """Not searched and not empty, but expired: nothing of the day could have been found."""
    _, manifest = asked(gone, tmp_path / "out", question, targets=[target])

    assert "2026-11-10" in manifest["days_expired"]["mobile_usage"]
    assert manifest["days_searched"] == {"mobile_usage": ["2026-11-11"]}
    assert manifest["categories_expired"] == {"mobile_usage": {"where": ["2026-11-11"]}}
    assert manifest["complete"] is False


def test_who_may_not_see_places_misses_nothing(gone: Vault, tmp_path: Path) -> None:
    """A warrant without `where` is answered whole."""
    days = {"start": "2026-11-10T00:00:00Z", "end": "2026-11-12T00:00:00Z"}
    _, manifest = asked(gone, tmp_path / "out", categories=("who", "when", "how_much"), **days)

    assert manifest["categories_expired"] == {}


def test_a_check_of_a_warrant_tells_it_before(vault: Vault) -> None:
    """What of the location has gone, and what goes before the deadline, stands in the sentences for the officer."""
    deadline = "deadline = 2026-12-13T00:00:00Z\n"
    told = docket.check(opened(vault, GONE), deadline + Order(classes=("mobile_usage",)).toml())

    assert any(text.startswith("where of class mobile_usage: 2026-10-31 to 2026-11-10") for text in told), told
    assert any("where of class mobile_usage: 2026-11-11" in text and "before the deadline" in text for text in told)
    assert any(text.startswith("class mobile_usage: every day of the windows is within") for text in told)
    silent = docket.check(vault, Order(classes=("mobile_usage",), categories=("who", "when")).toml())
    assert not any("where of class" in text for text in silent)


def test_what_comes_late_brings_no_location_back(gone: Vault, tmp_path: Path) -> None:
    """Late records of the day are stored without it, one that is there already is known, and no key is made again."""
    receipt = deliver(gone, [("r-0", "2026-11-10T12:00:00Z"), ("late", "2026-11-10T13:00:00Z")])

    assert (receipt.stored, receipt.duplicate, receipt.expired) == (1, 1, 0)
    assert WHERE_KEY not in gone.keys.key_ids()
    assert cells(gone, tmp_path / "out")["late"] is None
    assert verify(gone).faults == ()
    assert deliver(gone, [("late", "2026-11-10T13:00:00Z"), ("more", "2026-11-10T14:00:00Z")]).duplicate == 1
    (left,) = [item for item in compact.compact(gone, Selection(unsettled=True)).left if item.day.day == 10]
    assert "a category of the day was destroyed" in left.reason


def test_of_a_day_that_comes_late_the_location_is_never_stored(gone: Vault, tmp_path: Path) -> None:
    """A day of which nothing was there: what of it is due already gets no key and is gone from the start."""
    assert deliver(gone, [("old", "2026-11-05T12:00:00Z"), ("new", "2026-12-01T12:00:00Z")]).stored == 2
    ids = gone.keys.key_ids()

    assert "mobile_usage/2026-11-05/where" not in ids
    assert {"mobile_usage/2026-11-05/who", "mobile_usage/2026-12-01/where"} <= ids
    assert cells(gone, tmp_path / "out")["old"] is None
    assert verify(gone).faults == ()


def test_what_holds_every_category_dies_with_the_first(vault: Vault) -> None:
    """A rejected row tells where somebody was: it lasts no longer than a location."""
    items = {item.day: item for item in expire.plan(vault) if item.kind == "rejections"}

    assert items[date(2026, 11, 12)].due == FIRST.replace(month=12, day=13, hour=23, minute=0)
    later = opened(vault, FIRST.replace(month=12, day=14))
    told = {(body["what"], body["term"]) for body in expire.expire(later).certificates}
    assert told == {("records", "P1M"), ("rejections", "P1M")}


def test_runs_that_were_missed_are_caught_up(vault: Vault) -> None:
    """After half a year without one: of the due day everything dies at once, of the other its location."""
    later = opened(vault, OVER)
    done = {(body["day"], tuple(body["categories"])): body for body in expire.expire(later).certificates}

    assert {key for key, body in done.items() if body["what"] == "records"} == {
        ("2026-11-10", ("who", "where", "when", "how_much", "frame")),
        ("2026-11-11", ("where",)),
    }
    assert done["2026-11-11", ("where",)]["lateness_seconds"] > 86400 * 100
    assert verify(later).faults == ()


def test_the_day_dies_later_without_it(gone: Vault) -> None:
    """The second certificate of the day names the other categories, and the day is a tombstone."""
    later = opened(gone, OVER)
    bodies = [body for body in expire.expire(later).certificates if body["day"] == "2026-11-10"]

    assert [body["categories"] for body in bodies] == [["who", "when", "how_much", "frame"]]
    assert not any(key.startswith("mobile_usage/2026-11-10/") for key in later.keys.key_ids())
    assert not later.layout.partition("mobile_usage", date(2026, 11, 10)).exists()
    assert verify(later).faults == ()
    assert deliver(later, [("again", "2026-11-10T12:00:00Z")]).expired == 1


@pytest.mark.parametrize("later_still", [False, True], ids=["at once", "when the day is due as well"])
def test_a_run_that_broke_off_is_finished(
    vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, later_still: bool
) -> None:
    """Broken off with the key gone: nobody reads the category meanwhile, and the next run certifies it."""

    def broken(vault: Vault, item: Item) -> None:
        raise KeyboardInterrupt

    first = opened(vault, GONE)
    with monkeypatch.context() as patch:
        patch.setattr(expire, "_drop_files", broken)
        with pytest.raises(KeyboardInterrupt):
            expire.expire(first)
    again = opened(vault, OVER if later_still else GONE)
    if not later_still:
        assert cells(again, tmp_path / "out")["r-0"] is None
    generation = again.keys.generation
    bodies = expire.expire(again).certificates
    of_day = [body for body in bodies if body["day"] == "2026-11-10" and body["what"] == "records"]

    assert [("where" in body["categories"], "did not finish" in body["rule"]) for body in of_day] == [
        (True, not later_still)
    ]
    assert (again.keys.generation == generation) is not later_still
    assert verify(again).faults == ()


def test_an_old_copy_of_the_keys_is_seen_and_dies_again(
    vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that was put back is named by `verify`, opens nothing for a question, and goes with the next expiry."""
    old = vault.keys.custody("verify").key(WHERE_KEY)
    later = opened(vault, GONE)
    expire.expire(later)
    monkeypatch.setattr(later.keys, "_random", lambda size: old)
    later.keys.ensure([WHERE_KEY])
    again = opened(later)

    assert [(fault.kind, fault.thing) for fault in verify(again).faults] == [
        ("key restored", "mobile_usage 2026-11-10")
    ]
    assert cells(again, tmp_path / "out")["r-0"] is None
    expire.expire(again)
    assert WHERE_KEY not in again.keys.key_ids()
    assert verify(again).faults == ()


def test_with_equal_terms_nothing_is_apart(tmp_path: Path) -> None:
    """A row of its own for the location, with the same term, changes nothing."""
    vault = new(tmp_path, rules("P6M", "P6M"))
    assert {item.categories for item in expire.plan(opened(vault, OVER))} == {
        ("who", "where", "when", "how_much", "frame")
    }


def test_a_warrant_is_answered_inside_the_term_of_its_purpose(tmp_path: Path) -> None:
    """What billing keeps for a year a warrant sees for a month, to the second."""
    head = rules().split("[[entry]]")[0]
    both = entry("bills", "P1Y", ["mobile_usage"], more='purpose = "billing"')
    text = head + both + entry("requests", "P1M", ["mobile_usage"], more='purpose = "lawful-request"')
    end = FIRST.replace(month=12, day=10, hour=12)
    vault = new(tmp_path, text)
    rows, _ = asked(opened(vault, end - timedelta(seconds=1)), tmp_path / "before")
    assert rows["record_id"].to_list() == ["r-0", "r-1", "r-2"]
    rows, manifest = asked(opened(vault, end), tmp_path / "after")
    assert rows["record_id"].to_list() == ["r-1", "r-2"]
    assert "2026-11-10" in manifest["days_partly_expired"]["mobile_usage"]
    assert expire.expire(opened(vault, end)).certificates == ()
    told = docket.check(opened(vault, GONE), Order(classes=("mobile_usage",)).toml())
    assert any("2026-11-10" in text and "past the term (1 month)" in text for text in told)


def test_a_class_without_its_purpose_is_in_no_answer(tmp_path: Path) -> None:
    """What billing alone keeps is there, and a warrant sees none of it."""
    head = rules().split("[[entry]]")[0]
    vault = new(tmp_path, head + entry("bills", "P1Y", ["mobile_usage"], more='purpose = "billing"'))
    rows, manifest = asked(opened(vault, FIRST), tmp_path / "never")
    assert (rows.height, manifest["classes_without_term"]) == (0, ["mobile_usage"])


def test_removing_rows_of_a_day_brings_no_location_back(gone: Vault, tmp_path: Path) -> None:
    """The day is written anew under keys of its living categories alone, and stays without the other."""
    deliver(gone, [("late", "2026-11-10T13:00:00Z")])
    leaving = Going(("imsi", "start"), lambda name, rows: rows["start"].dt.hour() == 12)
    why = Why("test", "a test", None, {})
    assert rewrite.remove(gone, [("mobile_usage", date(2026, 11, 10))], leaving, why).rows == 1
    of_day = {key for key in gone.keys.key_ids() if key.startswith("mobile_usage/2026-11-10/")}

    assert of_day == {f"mobile_usage/2026-11-10/{name}/g2" for name in ("who", "when", "how_much", "frame")}
    assert cells(gone, tmp_path / "out") == {"late": None, "r-1": None, "r-2": CELL}
    assert deliver(gone, [("late", "2026-11-10T13:00:00Z"), ("more", "2026-11-10T14:00:00Z")]).duplicate == 1
    assert verify(gone).faults == ()
    later = opened(gone, OVER)
    expire.expire(later)
    assert not any(key.startswith("mobile_usage/2026-11-10/") for key in later.keys.key_ids())
    assert verify(later).faults == ()
