"""Trimming: at the end of a short month, too, no record is kept two days past its own term."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import Usage, ingest, new_vault, opened, usage
from trafficvault import expire, partitions, retention, trimming, verify
from trafficvault.policy import Policy
from trafficvault.policy_file import parse, preset_text
from trafficvault.steadfast import Attempts
from trafficvault.vault import Vault

LEAP = datetime(2027, 3, 1, 12, tzinfo=UTC)
DAY = date(2027, 2, 28)
TELECOM = parse(preset_text("telecom"))


def filled(directory: Path) -> Vault:
    """Records of the UTC day 28 February 2027: three on that local date, one on 1 March."""
    vault = new_vault(directory, now=LEAP)
    times = ("20270228080000", "20270228120000", "20270228230000", "20270301003000")
    ingest(vault, "mvno_pipe", usage([Usage(at=at) for at in times]), "S4PGWM000001")
    return vault


def later(vault: Vault, moment: datetime) -> Vault:
    """The vault at `moment`, with expiry run every few days on the way."""
    now = vault.clock.now()
    while now < moment:
        now = min(now + timedelta(days=6), moment)
        vault = opened(vault, now)
        expire.expire(vault)
    return vault


def starts(vault: Vault) -> list[datetime]:
    """The starts of every stored record, read as an act of the house."""
    custody = vault.keys.custody("verify")
    with vault.catalogue.reading() as tx:
        rows = tx.select("files")
    frames = [
        partitions.read_in_custody(
            vault.layout, custody, "mobile_usage", DAY, row["id"], ("start",), generation=row["generation"] or 1
        )
        for row in rows
    ]
    return sorted(pl.concat(frames)["start"].to_list()) if frames else []


def test_a_day_of_two_months_loses_the_first(tmp_path: Path) -> None:
    """Records of 28 February leave on 29 August, the one of 1 March stays until its own term; the rest of the day's
    life is as any day's, with a certificate for each.
    """
    vault = later(filled(tmp_path), datetime(2027, 8, 28, 12, tzinfo=UTC))
    assert len(starts(vault)) == 4
    vault = opened(vault, datetime(2027, 8, 29, 0, tzinfo=UTC))
    done = expire.expire(vault)
    assert [(body["what"], body["records"], body["kept"]) for body in done.certificates] == [("rows", 3, 1)]
    assert starts(vault) == [datetime(2027, 2, 28, 23, 30, tzinfo=UTC)]
    assert verify.verify(vault).faults == ()
    assert expire.expire(vault).certificates == ()

    vault = later(vault, datetime(2027, 9, 1, 23, tzinfo=UTC))
    assert starts(vault) == []
    assert verify.verify(vault).faults == ()


def test_an_ordinary_day_is_left_alone(tmp_path: Path) -> None:
    """Its records are gone within 48 hours with the day itself."""
    vault = new_vault(tmp_path, now=LEAP)
    ingest(vault, "mvno_pipe", usage([Usage(at="20270215120000")]), "S4PGWM000001")
    assert (
        trimming.due(opened(vault, datetime(2027, 8, 16, 12, tzinfo=UTC)), datetime(2027, 8, 16, 12, tzinfo=UTC)) == []
    )


def test_a_day_without_a_term_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What no entry of the policy covers is named by `status`, and removed by nobody."""
    vault = filled(tmp_path)
    monkeypatch.setattr(Policy, "term_of", lambda *args: None)
    assert trimming.due(vault, datetime(2027, 8, 30, tzinfo=UTC)) == []


@given(
    day=st.dates(date(2024, 1, 1), date(2032, 12, 31)), zone=st.sampled_from(["Europe/Amsterdam", "America/New_York"])
)
def test_no_record_is_kept_more_than_two_days(day: date, zone: str) -> None:
    """A record goes with its day, or is trimmed: at most 48 hours and a change of clocks after its term, given an
    expiry each hour.
    """
    term = TELECOM.require_term("mobile_usage")
    due, begins = retention.due(day, term, zone), retention.begins(day, term, zone)
    slack = timedelta(hours=1)
    first = datetime(day.year, day.month, day.day, tzinfo=UTC)
    ends = [retention.expires_at(first + timedelta(hours=hour), term, zone) for hour in range(24)]
    trimmed = retention.leaves(day, term, zone)
    assert (trimmed is None) is (due - begins <= retention.LATEST)
    if trimmed is None:
        assert all(due - end <= retention.LATEST + slack for end in ends)
    else:
        late = [(trimmed if end <= trimmed else due) - end for end in ends]
        assert max(late) <= retention.LATEST + slack


def test_under_another_term_it_is_trimmed_again(tmp_path: Path) -> None:
    """A day keeps for which moment it was trimmed: what another policy, or a version before, wrote down is no reason
    to leave it alone.
    """
    vault = later(filled(tmp_path), datetime(2027, 8, 29, 12, tzinfo=UTC))
    now = vault.clock.now()
    assert trimming.due(vault, now) == []
    with vault.catalogue.transaction() as tx:
        (row,) = tx.select("partitions", state="live")
        assert row["trimmed"] == int(datetime(2027, 8, 27, 23, tzinfo=UTC).timestamp())
        tx.put("partitions", **row | {"trimmed": 1})
    assert [(one.record_class, one.day, one.rules) for one in trimming.due(vault, now)] == [
        ("mobile_usage", DAY, "when")
    ]
    assert trimming.carry_out(vault, Attempts()) == ()
    assert trimming.due(vault, now) == []
