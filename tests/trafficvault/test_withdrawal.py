"""Withdrawal: what remains is what a vault would hold that never had the batch."""

from __future__ import annotations

import shutil
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import (
    NOW,
    SUBSCRIBER,
    THIRD,
    Order,
    Usage,
    answer,
    approved,
    ingest,
    new_vault,
    opened,
    signed_in,
    usage,
)
from tests.thorough import as_many
from tests.trafficvault.prepared_vault import HELD_FILE, Prepared, bundled
from tests.trafficvault.test_rewrite import faults, rows_of
from trafficvault import app, compact, disclose, expire, proposals, withdrawal
from trafficvault.clock import SetClock
from trafficvault.compaction import Selection
from trafficvault.durable import Disk
from trafficvault.errors import RefusedError
from trafficvault.layout import Layout
from trafficvault.vault import Vault
from trafficvault.withdrawal import Withdrawal


def withdrawn(vault: Vault, batch_id: str) -> Withdrawal:
    """Withdraws a batch by Otto's proposal and Ada's approval."""
    proposed = withdrawal.propose(vault, signed_in(vault, "otto"), batch_id, "the wrong file")
    ada = signed_in(vault, "ada")
    return withdrawal.carry_out(vault, ada, proposals.approve(vault, ada, proposed.proposal_id))


def status_of(vault: Vault, batch_id: str) -> str:
    """What the catalogue says of a batch."""
    with vault.catalogue.reading() as tx:
        row = tx.get("batches", id=batch_id)
    assert row is not None
    return str(row["status"])


def test_every_trace_of_the_batch_goes(stored: Vault, prepared: Prepared) -> None:
    """Its four records on two days and its rejected row go; the other file stays whole."""
    done = withdrawn(stored, prepared.committed)
    assert (done.rows, len(done.certificates), done.disclosures, done.doubled) == (4, 2, (), ())
    assert status_of(stored, prepared.committed) == "withdrawn"
    assert len(rows_of(stored)) == 1
    assert not list(stored.layout.rejections.glob("*/*/*"))
    with stored.catalogue.reading() as tx:
        assert not tx.select("leftovers", batch=prepared.committed)
    assert faults(stored) == []


def test_a_held_file_goes_too(stored: Vault, prepared: Prepared) -> None:
    """It has no rows; its sealed bytes are removed."""
    done = withdrawn(stored, prepared.held)
    assert (done.rows, done.certificates) == (0, ())
    assert not list(stored.layout.held.glob("*/*/*"))
    assert faults(stored) == []
    assert ingest(stored, "wlr_fixed", bundled(HELD_FILE), HELD_FILE).status == "held"


def test_one_person_is_not_enough(stored: Vault, prepared: Prepared) -> None:
    """The proposer does not approve, and an unapproved proposal is not carried out."""
    otto = signed_in(stored, "otto")
    proposed = withdrawal.propose(stored, otto, prepared.committed, "the wrong file")
    with pytest.raises(RefusedError, match="second person"):
        proposals.approve(stored, otto, proposed.proposal_id)
    with pytest.raises(RefusedError, match="a proposal of kind"):
        withdrawal.carry_out(stored, signed_in(stored, "ada"), proposed)
    assert status_of(stored, prepared.committed) == "committed"


@pytest.mark.parametrize(("batch", "reason", "why"), [("nobody", "x", "there is none"), ("", "  ", "no reason")])
def test_what_can_not_be_proposed(stored: Vault, batch: str, reason: str, why: str) -> None:
    """A batch that nobody knows, or no reason."""
    with pytest.raises(RefusedError, match=why):
        withdrawal.propose(stored, signed_in(stored, "otto"), batch, reason)


def test_only_once(stored: Vault, prepared: Prepared) -> None:
    """A withdrawn batch holds nothing to withdraw."""
    withdrawn(stored, prepared.committed)
    with pytest.raises(RefusedError, match="it is withdrawn"):
        withdrawal.propose(stored, signed_in(stored, "otto"), prepared.committed, "again")


def test_the_same_file_may_come_again(stored: Vault, prepared: Prepared) -> None:
    """It is taken in as if it had never been there, and its rows lie under the new keys."""
    before = rows_of(stored)
    withdrawn(stored, prepared.committed)
    rows = [Usage(at=f"202611{day:02d}1200{second:02d}") for day in (10, 11) for second in range(2)]
    again = ingest(stored, "mvno_pipe", usage(rows) + "broken\n", "S4PGWM000001")
    assert (again.status, again.stored, again.batch_id) == ("committed", 4, prepared.committed)
    assert rows_of(stored) == before
    assert faults(stored) == []


def test_the_number_of_a_withdrawn_file_is_missing(tmp_path: Path) -> None:
    """Answers say that a file of the sequence is not there, until it is delivered again."""
    (tmp_path / "vault").mkdir()
    shutil.rmtree(tmp_path / "vault")
    vault = new_vault(tmp_path)
    vault.layout.sources.write_text('[home]\nfeed = "mvno_pipe"\nsequence = "^HOME(?P<seq>[0-9]+)$"\n')
    vault = opened(vault)
    got = [
        ingest(vault, "mvno_pipe", usage([Usage(at=f"2026111012000{n}")]), f"HOME{n}", source="home") for n in (1, 2, 3)
    ]
    withdrawn(vault, got[1].batch_id)
    done = disclose.run(vault, signed_in(vault, "olga"), approved(vault, Order()), tmp_path / "out")
    assert (done.records, done.complete) == (2, False)


def test_disclosures_that_may_have_used_it_are_named(stored: Vault, prepared: Prepared, tmp_path: Path) -> None:
    """One whose window and classes meet its days, after it came; not one of other days or classes."""
    used = answer(stored, Order(reference="PV-1"), tmp_path / "used")
    later = "2026-11-15T00:00:00+01:00"
    answer(stored, Order(reference="PV-2", start=later), tmp_path / "later")
    answer(stored, Order(reference="PV-3", classes=("voip",)), tmp_path / "voip")
    assert withdrawn(stored, prepared.committed).disclosures == (used.disclosure_id,)


def test_batches_that_lost_duplicates_to_it_are_named(stored: Vault, prepared: Prepared) -> None:
    """What came a second time was not stored then, and went with the first."""
    rows = [Usage(at="20261110120000"), Usage(at="20261110180000")]
    other = ingest(stored, "mvno_pipe", usage(rows), "twice")
    assert other.duplicate == 1
    elsewhere = ingest(stored, "mvno_pipe", usage([Usage(at="20261118120000")] * 2), "elsewhere")
    assert elsewhere.stored == 2
    assert withdrawn(stored, prepared.committed).doubled == (other.batch_id,)


def test_a_reason_stays_sealed(stored: Vault, prepared: Prepared) -> None:
    """It may name somebody: it is in no certificate, log or file in clear."""
    withdrawal.propose(stored, signed_in(stored, "otto"), prepared.committed, "complaint of mr plainly")
    stored.catalogue.truncate_wal()
    for path in [*stored.layout.vault.rglob("*"), *stored.layout.keys.rglob("*")]:
        assert not path.is_file() or b"plainly" not in path.read_bytes()


def test_an_expired_day_of_it_is_passed_over(stored: Vault, prepared: Prepared) -> None:
    """What had reached its term is gone already; the tombstones stay."""
    later = opened(stored, NOW + timedelta(days=200))
    expire.expire(later, signed_in(later, "otto"))
    done = withdrawn(later, prepared.committed)
    assert done.rows == 0
    assert faults(later) == []


batch_rows = st.lists(
    st.tuples(st.integers(10, 13), st.integers(0, 3), st.sampled_from([SUBSCRIBER, THIRD])), min_size=1, max_size=6
)


@pytest.mark.no_cover
@settings(max_examples=as_many(3), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(batch_rows, min_size=2, max_size=4), st.data())
def test_what_remains_is_what_a_vault_holds_that_never_had_it(
    batches: list[list[tuple[int, int, str]]], data: st.DataObject
) -> None:
    """Random batches, compacted now and then, any one of them withdrawn: the same rows, and the same answers."""
    gone = data.draw(st.integers(0, len(batches) - 1))
    compacted = data.draw(st.integers(0, len(batches)))
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        template = new_vault(root)
        template.catalogue.close()
        found = []
        for without in (None, gone):
            home = root / ("all" if without is None else "never")
            for part in ("vault", "vault.keys"):
                shutil.copytree(root / part, home / part, ignore=shutil.ignore_patterns("reserve"))
            vault = app.open_vault(Layout(home / "vault", home / "vault.keys"), Disk(), SetClock(NOW), writer=True)
            ids = []
            for number, rows in enumerate(batches):
                if number == without:
                    continue
                # The record id keeps batches apart: what two of them share is another claim's business.
                lines = [
                    Usage(a=who, msisdn=who, at=f"202611{day}1{number}00{second:02d}") for day, second, who in rows
                ]
                ids.append(ingest(vault, "mvno_pipe", usage(lines), f"file {number}").batch_id)
                if number == compacted:
                    compact.compact(vault, Selection(unsettled=True))
            if without is None:
                assert withdrawn(vault, ids[gone]).rows == len(batches[gone])
            assert faults(vault) == []
            records = answer(vault, Order(), home / "out").records
            found.append((rows_of(vault), records))
            vault.catalogue.close()
        assert found[0] == found[1]
