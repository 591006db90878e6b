"""Endings: what is kept until the end of a service goes after it, that service's alone, and never comes back."""

from __future__ import annotations

import json
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import NOW, Order, answer, ingest, new_vault, opened, signed_in
from tests.trafficvault.test_rewrite import faults, rows_of
from trafficvault import endings, expire, proposals
from trafficvault.errors import RefusedError, UsageError
from trafficvault.policy_file import preset_text
from trafficvault.vault import Vault

NUMBER, OTHER = "+31612345678", "+31687654321"
END = datetime(2026, 11, 12, 10, 0, tzinfo=UTC)
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def binding(start: str, subscriber: str | None = None, number: str | None = None, **more: object) -> str:
    """One line of NDJSON: who held what from when on."""
    record: dict[str, object] = {"class": "binding", "served": "a", "start": start, **more}
    if subscriber is not None:
        record["subscriber"] = subscriber
    if number is not None:
        record |= {"a_number": number, "a_kind": "e164"}
    return json.dumps(record) + "\n"


def stored(directory: Path, *lines: str, after: str = "P0D") -> Vault:
    """A vault with these bindings, kept until `after` the end of the service."""
    policy = directory / "policy.toml"
    policy.write_text(preset_text("telecom").replace('after = "P0D", cap = "P5Y"', f'after = "{after}", cap = "P5Y"'))
    vault = new_vault(directory, str(policy))
    receipt = ingest(vault, "native_ndjson", "".join(lines), "bindings")
    assert receipt.stored == len(lines)
    return vault


def end(vault: Vault, at: datetime = END, since: datetime | None = None, **subjects: str) -> str:
    """Otto tells that a service ended, and Ada agrees; returns the event's id."""
    ada = signed_in(vault, "ada")
    made = endings.propose(vault, signed_in(vault, "otto"), subjects, at, since)
    (told,) = endings.enter(vault, ada, proposals.approve(vault, ada, made.proposal_id))
    return told.split()[7].rstrip(";")


def expired(vault: Vault, later: timedelta = timedelta(hours=1)) -> tuple[Vault, expire.Expiry]:
    """The next run of expiry."""
    vault.catalogue.close()
    again = opened(vault, NOW + later)
    return again, expire.expire(again)


def test_the_records_of_the_service_go_and_no_others(tmp_path: Path) -> None:
    """Two days of one subscriber; another's on the same day and what began after the end stay."""
    vault = stored(
        tmp_path,
        binding("2026-11-10T08:00:00Z", "S-1", NUMBER),
        binding("2026-11-11T08:00:00Z", "S-1", NUMBER),
        binding("2026-11-10T09:00:00Z", "S-2", OTHER),
        binding("2026-11-13T08:00:00Z", "S-1", NUMBER),
    )
    end(vault, subscriber="S-1")
    vault, done = expired(vault)
    assert [one["what"] for one in done.certificates] == ["rows", "rows"]
    assert all("its service ended: until end_of_service" in one["rule"] for one in done.certificates)
    assert len(rows_of(vault, "binding")) == 2
    assert faults(vault) == []


def test_a_number_that_was_given_out_again_is_told_apart(tmp_path: Path) -> None:
    """Before and after the time of the service it was another's; where a record names a subscriber, that decides."""
    vault = stored(
        tmp_path,
        binding("2026-11-01T08:00:00Z", None, NUMBER),
        binding("2026-11-10T08:00:00Z", None, NUMBER),
        binding("2026-11-14T08:00:00Z", None, NUMBER),
        binding("2026-11-10T10:00:00Z", "S-9", NUMBER),
    )
    end(vault, since=datetime(2026, 11, 5, tzinfo=UTC), subscriber="S-1", msisdn=NUMBER)
    vault, _ = expired(vault)
    assert len(rows_of(vault, "binding")) == 3
    end(vault, since=datetime(2026, 11, 5, tzinfo=UTC), msisdn=NUMBER)
    vault, _ = expired(vault, timedelta(hours=2))
    assert len(rows_of(vault, "binding")) == 2


def test_an_imsi_names_a_service(tmp_path: Path) -> None:
    """As a number does."""
    vault = stored(tmp_path, binding("2026-11-10T08:00:00Z", imsi="204990000000001"), binding("2026-11-10T08:00:00Z"))
    end(vault, since=BEGIN, imsi="204990000000001")
    vault, _ = expired(vault)
    assert len(rows_of(vault, "binding")) == 1


def test_they_stay_for_the_days_of_the_policy(tmp_path: Path) -> None:
    """Thirty days after the end, not a second before; no answer holds one past that, removed or not."""
    vault = stored(tmp_path, binding("2026-11-10T08:00:00Z", "S-1", NUMBER), after="P30D")
    end(vault, subscriber="S-1")
    due = datetime(2026, 12, 12, 10, 0, tzinfo=UTC)
    order = Order(reference="PV-1", classes=("binding",))
    vault = opened(vault, due - timedelta(seconds=1))
    expire.expire(vault, signed_in(vault, "otto"))
    assert answer(vault, order, tmp_path / "before").records == 1
    vault = opened(vault, due)
    assert answer(vault, Order(reference="PV-2", classes=("binding",)), tmp_path / "after").records == 0
    assert len(expire.expire(vault).certificates) == 1
    assert rows_of(vault, "binding") == []


def test_a_late_record_of_it_is_refused_as_expired(tmp_path: Path) -> None:
    """Once its term is over; what began after the end, and what is another's, is stored."""
    vault = stored(tmp_path, binding("2026-11-10T08:00:00Z", "S-1", NUMBER))
    end(vault, subscriber="S-1")
    vault, _ = expired(vault)
    late = [
        binding("2026-11-11T08:00:00Z", "S-1", NUMBER),
        binding("2026-11-13T08:00:00Z", "S-1", NUMBER),
        binding("2026-11-11T08:00:00Z", "S-2", OTHER),
    ]
    receipt = ingest(vault, "native_ndjson", "".join(late), "late")
    assert (receipt.expired, receipt.stored) == (1, 2)
    assert faults(vault) == []


def test_no_number_is_kept(tmp_path: Path) -> None:
    """Neither subscriber nor number stands in the catalogue, the log or a certificate."""
    vault = stored(tmp_path, binding("2026-11-10T08:00:00Z", "marked-subscriber", NUMBER))
    end(vault, subscriber="marked-subscriber", msisdn=NUMBER)
    vault, done = expired(vault)
    assert NUMBER[1:] not in json.dumps(done.certificates)
    vault.catalogue.truncate_wal()
    for path in vault.layout.vault.rglob("*"):
        if path.is_file():
            assert b"marked-subscriber" not in path.read_bytes()
            assert NUMBER.encode() not in path.read_bytes()
    assert all("marked" not in json.dumps(entry) for entry in vault.audit.show())


def test_an_ending_is_done_once_and_forgotten_at_last(tmp_path: Path) -> None:
    """The same event is one event; when every cap is over it is deleted."""
    vault = stored(tmp_path, binding("2026-11-10T08:00:00Z", "S-1"))
    first = end(vault, subscriber="S-1")
    assert end(vault, subscriber="S-1") == first
    (before,) = endings.listing(vault)
    assert (before["state"], sorted(before["due"])) == ("open", ["binding", "bundle_notice", "roaming_notice"])
    vault, _ = expired(vault)
    (after,) = endings.listing(vault)
    assert (after["state"], after["due"]) == ("done", {})
    vault, raw = expired(vault, timedelta(hours=2))
    assert [body["what"] for body in raw.certificates] == ["raw"]  # the delivered file held its record
    generation = vault.keys.generation
    vault, again = expired(vault, timedelta(hours=3))
    assert (again.certificates, vault.keys.generation) == ((), generation)
    vault.catalogue.close()
    late = opened(vault, NOW + timedelta(days=5 * 366 + 30))
    expire.expire(late, signed_in(late, "otto"))
    assert endings.listing(late) == []


@pytest.mark.parametrize(
    ("subjects", "at", "since", "error", "why"),
    [
        ({}, END, None, UsageError, "name it by"),
        ({"msisdn": NUMBER}, END, None, UsageError, "with since"),
        ({"subscriber": "S"}, END, END + timedelta(days=1), UsageError, "before it began"),
        ({"subscriber": "  "}, END, None, UsageError, "is empty"),
        ({"msisdn": "not one"}, END, BEGIN, UsageError, "msisdn: its value must be"),
        ({"subscriber": "S"}, NOW + timedelta(days=1), None, RefusedError, r"2026-11-21 11:00 \+01:00 is still to"),
    ],
)
def test_what_is_no_end_of_a_service(
    tmp_path: Path,
    subjects: dict[str, str],
    at: datetime,
    since: datetime | None,
    error: type[Exception],
    why: str,
) -> None:
    """Each with its sentence, which never repeats a value."""
    vault = new_vault(tmp_path)
    with pytest.raises(error, match=why):
        end(vault, at, since, **subjects)


def test_who_may_tell_it_and_for_which_policy(tmp_path: Path) -> None:
    """An operator, and a second person; and only where a class is kept until the end of a service."""
    vault = new_vault(tmp_path)
    with pytest.raises(RefusedError, match="operator"):
        endings.propose(vault, signed_in(vault, "olga"), {"subscriber": "S"}, END)
    made = endings.propose(vault, signed_in(vault, "otto"), {"subscriber": "S"}, END)
    with pytest.raises(RefusedError, match="a second person must approve"):
        proposals.approve(vault, signed_in(vault, "otto"), made.proposal_id)
    with pytest.raises(RefusedError, match="service-end, open"):
        endings.enter(vault, signed_in(vault, "otto"), made)
    assert endings.listing(vault) == []
    other = tmp_path / "other"
    other.mkdir()
    plain = other / "policy.toml"
    text = preset_text("telecom").replace('{ until = "end_of_service", after = "P0D", cap = "P5Y" }', '"P5Y"')
    plain.write_text(text.replace('{ until = "end_of_service", after = "P0D", cap = "P6M" }', '"P6M"'))
    with pytest.raises(RefusedError, match="keeps no class until"):
        end(new_vault(other, str(plain)), subscriber="S")


rows = st.lists(
    st.tuples(st.integers(1, 18), st.sampled_from([None, "S-1", "S-2"]), st.sampled_from([None, NUMBER, OTHER])),
    min_size=1,
    max_size=8,
    unique=True,
)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows, st.integers(1, 18), st.integers(1, 18), st.booleans())
def test_the_rule_by_an_oracle(
    drawn: list[tuple[int, str | None, str | None]], first: int, last: int, named: bool
) -> None:
    """Random bindings and one ended service: what stays is what a plain reading of the rule keeps."""
    since, until = (datetime(2026, 11, day, tzinfo=UTC) for day in sorted((first, last)))

    def goes(day: int, subscriber: str | None, number: str | None) -> bool:
        began = datetime(2026, 11, day, 8, tzinfo=UTC)
        if began >= until:
            return False
        if named and subscriber is not None:
            return subscriber == "S-1"
        return number == NUMBER and began >= since

    with tempfile.TemporaryDirectory() as name:
        vault = stored(Path(name), *(binding(f"2026-11-{day:02d}T08:00:00Z", who, no) for day, who, no in drawn))
        end(vault, until, since, msisdn=NUMBER, **({"subscriber": "S-1"} if named else {}))
        vault, _ = expired(vault)
        assert len(rows_of(vault, "binding")) == sum(not goes(*one) for one in drawn)
        assert faults(vault) == []
        vault.catalogue.close()


def test_a_file_of_endings_is_told_line_by_line(tmp_path: Path) -> None:
    """Good lines are recorded, once; a bad one is told by number and reason, and never by what stands in it."""
    vault = stored(tmp_path, binding("2026-11-10T12:00:00Z", "s-1"), binding("2026-11-11T12:00:00Z", "s-2"))
    at, since = END.isoformat(), BEGIN.isoformat()
    good = [{"subscriber": "s-1", "at": at}, {"msisdn": NUMBER, "at": at, "since": since}]
    bad = [
        "{",
        "[]",
        json.dumps({"subscriber": 31612345678, "at": at}),
        json.dumps({"subscriber": "s-1", "at": at, NUMBER: "x"}),
        json.dumps({"subscriber": "s-1"}),
        json.dumps({"subscriber": "s-1", "at": "2026-11-12T10:00:00"}),
        json.dumps({"subscriber": "s-1", "at": "31612345678"}),
        json.dumps({"subscriber": "s-1", "at": (NOW + timedelta(days=1)).isoformat()}),
        json.dumps({"at": at}),
        json.dumps({"msisdn": NUMBER, "at": at}),
        json.dumps({"imsi": "31612345678x", "at": at, "since": since}),
        json.dumps({"subscriber": "s-1", "at": since, "since": at}),
        json.dumps({"subscriber": " ", "at": at}),
        json.dumps({"subscriber": "s" * 5000, "at": at}),
    ]
    lines = [json.dumps(one).encode() + b"\n" for one in good] + [b"\n"] + [f"{one}\n".encode() for one in bad]
    otto = signed_in(vault, "otto")
    told = endings.record_all(vault, otto, lines)
    assert (told.read, told.recorded, told.known) == (16, 2, 0)
    assert [number for number, _ in told.bad] == list(range(4, 18))
    assert not any("31612345678" in reason or "s-1" in reason for _, reason in told.bad)
    again = endings.record_all(vault, otto, lines)
    assert (again.read, again.recorded, again.known) == (16, 0, 2)
    assert all(one["waits_until"] is not None for one in endings.listing(vault))
    one = end(vault, subscriber="s-1")
    assert [row["waits_until"] for row in endings.listing(vault) if row["ending_id"] == one] == [None]
    assert endings.record_all(vault, otto, lines).known == 2
    assert len(endings.listing(vault)) == 2
    later, _ = expired(vault)
    assert len(rows_of(later, "binding")) == 1


def test_many_endings_come_in_several_transactions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with one entry in the log that names them; a person without the role, or nothing to wait for, stops it."""
    vault = stored(tmp_path, binding("2026-11-10T12:00:00Z", "s-1"))
    monkeypatch.setattr(endings, "_TOGETHER", 2)
    lines = [json.dumps({"subscriber": f"s-{number}", "at": END.isoformat()}).encode() for number in range(5)]
    assert endings.record_all(vault, signed_in(vault, "otto"), lines).recorded == 5
    entries = [entry for entry in vault.audit.show(4) if entry["act"] == "service-end"]
    assert [len(entry["detail"]["endings"]) for entry in entries] == [2, 2, 1]
    with pytest.raises(RefusedError):
        endings.record_all(vault, signed_in(vault, "piet"), lines)
