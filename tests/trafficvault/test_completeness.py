"""Completeness: what an answer lacks is named, and nothing else is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import NOW, Order, Usage, ingest, opened, signed_in, usage
from tests.thorough import as_many
from tests.trafficvault.calendars import MOMENTS, TERMS, ZONES
from tests.trafficvault.prepared_vault import Prepared
from trafficvault import completeness, expire, intake, retention, warrants
from trafficvault.completeness import Completeness, Gap
from trafficvault.period import Period
from trafficvault.terms import Lapse, Term
from trafficvault.vault import Vault

QUESTIONS = frozenset({"activity"})


def look(vault: Vault, start: str, end: str, *classes: str, searched: list[str] | None = None) -> Completeness:
    """What is known of a window [start, end) in UTC days, as if `searched` days of mobile usage were opened."""
    order = Order(start=f"{start}T00:00:00Z", end=f"{end}T00:00:00Z", classes=classes or ("mobile_usage",))
    document = warrants.parse(order.toml(), QUESTIONS)
    days = [("mobile_usage", date.fromisoformat(day)) for day in searched or ()]
    return completeness.look(vault, document, document.classes, days, vault.clock.now())


def test_the_days_of_a_window_are_utc_days() -> None:
    """A window of local days touches the UTC day before; one that ends at a midnight doesn't touch the next day."""
    amsterdam = datetime.fromisoformat("2026-11-10T00:00:00+01:00"), datetime.fromisoformat("2026-11-11T00:00:00+01:00")
    assert completeness.days_of(*amsterdam) == [date(2026, 11, 9), date(2026, 11, 10)]
    utc = datetime(2026, 11, 10, tzinfo=UTC), datetime(2026, 11, 11, tzinfo=UTC)
    assert completeness.days_of(*utc) == [date(2026, 11, 10)]


@given(
    MOMENTS, MOMENTS | st.none(), TERMS, st.sampled_from(ZONES), st.timedeltas(-timedelta(days=9), timedelta(days=9))
)
@settings(max_examples=as_many(60), deadline=None)
def test_the_edge_of_a_term(now: datetime, other: datetime | None, term: Term, zone: str, off: timedelta) -> None:
    """Whether a moment has come to its end is what the calendar says, about the edge and far from it; with a term that
    lapsed too.
    """
    moment = other or now - term.lasts.nominal + off
    lapse = Lapse(Period(days=3), zone, moment.date())
    for one in (term, replace(term, lapses=(lapse,))):
        edge = completeness._Edge(one, zone, now)
        passed = retention.expires_at(moment, one, zone) <= now
        assert edge.is_passed(moment) is passed
        assert not (passed and moment > edge.sure)


def test_a_window_with_nothing_missing_is_complete(stored: Vault) -> None:
    """Days after everything that is missing: searched, or empty, and complete."""
    later = opened(stored, NOW + timedelta(days=3))
    ingest(later, "mvno_pipe", usage([Usage(at="20261121120000")]), "S4PGWM000004")
    found = look(later, "2026-11-21", "2026-11-23", searched=["2026-11-21"])

    assert found.complete
    assert found.searched == {"mobile_usage": ["2026-11-21"]}
    assert found.empty == {"mobile_usage": ["2026-11-22"]}
    assert found.as_manifest()["complete"] is True


def test_a_gap_counts_where_it_may_reach(stored: Vault) -> None:
    """File 2 may hold records of the days from file 1 to file 3, and of no other."""
    assert look(stored, "2026-11-11", "2026-11-12").gaps == [Gap("mvno_pipe", 2, 2, "2026-11-10", "2026-11-12")]
    assert look(stored, "2026-11-13", "2026-11-14").gaps == []
    assert look(stored, "2026-11-08", "2026-11-10").gaps == []


def test_a_gap_beside_a_file_without_records_is_open(stored: Vault) -> None:
    """Where the next file tells no day, the gap may reach any day after; its sentence names no days then."""
    ingest(stored, "mvno_pipe", "SMSMO|31612345678||||20499|\n" + usage([Usage(at="20261313120000")]), "S4PGWM000007")
    ingest(stored, "mvno_pipe", usage([Usage(at="20261313120000")]), "S4PGWM000009")
    gaps = {gap.first: (gap.from_day, gap.to_day) for gap in completeness.known_gaps(stored)}

    assert gaps[4] == ("2026-11-12", None)
    assert any(gap.first == 4 for gap in look(stored, "2026-11-17", "2026-11-18").gaps)
    assert not any(gap.first == 4 for gap in look(stored, "2026-11-10", "2026-11-11").gaps)
    assert not any("between" in sentence for sentence in completeness.gap_sentences(stored) if " 4 " in sentence)


def test_a_refused_file_fills_no_gap(stored: Vault) -> None:
    """A file that was refused is as missing as one that never came, and is named besides."""
    refused = ingest(stored, "mvno_pipe", "not a row\nnor this\n", "S4PGWM000002")
    assert refused.status == "refused"
    assert [(gap.first, gap.last) for gap in completeness.known_gaps(stored)] == [(2, 2)]


def test_held_and_accepted_batches_are_named(stored: Vault, prepared: Prepared) -> None:
    """A held file is named where its records may be; when it was accepted, the mismatch is named in its place."""
    held = look(stored, "2026-11-18", "2026-11-19", "telephony")
    assert (held.held, held.mismatched, held.complete) == ([prepared.held], [], False)
    assert look(stored, "2026-11-10", "2026-11-11", "telephony").held == []
    intake.accept(stored, "otto", prepared.held)
    accepted = look(stored, "2026-11-18", "2026-11-19", "telephony")
    assert (accepted.held, accepted.mismatched, accepted.complete) == ([], [prepared.held], False)
    assert accepted.as_manifest()["accepted_mismatches"] == [prepared.held]


def test_rejected_rows_are_named(stored: Vault, prepared: Prepared) -> None:
    """A batch with rejected rows is named with their number."""
    found = look(stored, "2026-11-10", "2026-11-11", searched=["2026-11-10"])
    assert found.rejections == {prepared.committed: 1}
    assert not found.complete


def test_expired_days_are_named(stored: Vault) -> None:
    """Past the term, whether a certificate stands for the day, or it waits for its midnight, or nothing was there."""
    now = datetime(2027, 5, 12, 12, 0, tzinfo=UTC)
    late = opened(stored, now)
    expire.expire(late, signed_in(late, "otto"))
    found = look(late, "2026-11-08", "2026-11-15")

    assert found.expired == {"mobile_usage": ["2026-11-08", "2026-11-09", "2026-11-10", "2026-11-11"]}
    assert found.partly_expired == {"mobile_usage": ["2026-11-12"]}
    assert not found.complete


def test_a_class_that_nobody_keeps_lacks_nothing(stored: Vault) -> None:
    """A class without a term in the policy has no days to miss."""
    found = look(stored, "2026-11-10", "2026-11-11", "server_use")
    assert (found.empty, found.expired, found.partly_expired) == ({}, {}, {})


SOURCES = """
[home]
feed = "mvno_pipe"
sequence = "(?P<seq>[0-9]+)"
sequence_modulus = 100

[plain]
feed = "mvno_pipe"
"""
MODULI = {"mvno_pipe": 1000000, "home": 100, "plain": 1000000, "nosuch": None, "asterisk_csv": None}


def test_where_file_numbers_begin_again(stored: Vault) -> None:
    """By the source's own rule, or its feed's; a source that is gone, or numbers nothing, never does."""
    stored.layout.sources.write_text(SOURCES)
    vault = opened(stored)
    assert {name: completeness.sequence_modulus(vault, name) for name in MODULI} == MODULI
