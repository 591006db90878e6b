"""Rereading: the kept bytes of a batch that was wrongly read take its place, by two persons, as its feed is now."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest

from ingest.slices import SIZE
from tests.support import NOW, ingest, opened, signed_in
from tests.trafficvault.kept_files import CALLER, calls, kept_vault, source
from tests.trafficvault.prepared_vault import Prepared
from tests.trafficvault.test_endings import binding, end, stored
from tests.trafficvault.test_rewrite import faults, rows_of
from tests.trafficvault.test_withdrawal import status_of
from trafficvault import expire, intake, proposals, raw_bytes, receive, rereading, sealing
from trafficvault.errors import FaultError, RefusedError, UsageError
from trafficvault.layout import leftover_key_id
from trafficvault.proposals import Proposal
from trafficvault.rereading import Rereading
from trafficvault.vault import Vault

WRONG = 'number_plan = { country = "31", bare = "national" }'
RIGHT = 'number_plan = { country = "31", bare = "international" }'


def proposed(vault: Vault, batch: str) -> Proposal:
    """Otto found the wrong number plan."""
    return rereading.propose(vault, signed_in(vault, "otto"), batch, "the numbers were read as national ones")


def carried_out(vault: Vault, found: Proposal) -> Rereading:
    """Ada approves."""
    ada = signed_in(vault, "ada")
    return rereading.carry_out(vault, ada, proposals.approve(vault, ada, found.proposal_id))


def callers(vault: Vault) -> set[object]:
    """Every number that is stored, in its normal form."""
    return {value for row in rows_of(vault, "voip") for value in row if isinstance(value, str) and CALLER in value}


def test_the_rows_are_those_that_the_feed_reads_now(tmp_path: Path) -> None:
    """Under the same id and receipt, with nothing of the wrong reading left; and it can be done once more."""
    vault, before = kept_vault(tmp_path, WRONG)
    assert f"+{CALLER}" not in callers(vault)
    vault = source(vault, RIGHT)
    done = carried_out(vault, proposed(vault, before.batch_id))
    assert done.withdrawn is not None
    assert done.withdrawn.rows == 3
    assert (done.receipt.batch_id, done.receipt.stored, done.receipt.status) == (before.batch_id, 3, "committed")
    assert callers(vault) == {f"+{CALLER}"}
    after = intake.batch(vault, before.batch_id)
    assert (after.file, after.sha256) == (before.file, before.sha256)
    assert raw_bytes.delivered(vault, before.batch_id).sha256() == before.sha256
    assert [entry["act"] for entry in vault.audit.show(2)] == ["batch-reread", "receive"]
    assert faults(vault) == []
    vault = source(vault, WRONG)
    assert carried_out(vault, proposed(vault, before.batch_id)).receipt.stored == 3
    assert f"+{CALLER}" not in callers(vault)


@pytest.mark.parametrize("again", [False, True], ids=["the file itself", "a file that repeats it"])
def test_what_went_for_whose_it_is_is_not_read_again(tmp_path: Path, again: bool) -> None:
    """The file that a removed row came in waits for the next expiry, and gives nothing back until then; nor does one in
    which the same row came once more.
    """
    lines = binding("2026-11-10T12:00:00Z", "s-1"), binding("2026-11-11T12:00:00Z", "s-2")
    vault = stored(tmp_path, *lines)
    (batch,) = (one.batch_id for one in intake.batches(vault))
    if again:
        later = ingest(vault, "native_ndjson", lines[0] + binding("2026-11-12T12:00:00Z", "s-3"), "repeated")
        assert (later.duplicate, later.stored) == (1, 1)
        batch = later.batch_id
    vault = opened(vault, NOW + timedelta(hours=1))
    end(vault, subscriber="s-1")
    expire.expire(vault)
    assert len(rows_of(vault, "binding")) == 1 + again
    with pytest.raises(RefusedError, match="are not kept, or no longer"):
        proposed(vault, batch)
    expire.expire(vault)
    assert [one for one in vault.layout.raw.rglob("*") if one.is_file()] == []
    assert faults(vault) == []


def test_it_takes_two_persons_and_a_reason(tmp_path: Path) -> None:
    """Nobody approves his own proposal, and a reason is given."""
    vault, before = kept_vault(tmp_path)
    otto = signed_in(vault, "otto")
    with pytest.raises(RefusedError, match="no reason"):
        rereading.propose(vault, otto, before.batch_id, " ")
    found = proposed(vault, before.batch_id)
    with pytest.raises(RefusedError, match="second person"):
        proposals.approve(vault, otto, found.proposal_id)
    with pytest.raises(RefusedError, match="open"):
        rereading.carry_out(vault, otto, found)


def test_killed_between_the_two_it_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows are gone and the bytes still there: approving again stores them, and a third time is refused."""
    vault, before = kept_vault(tmp_path)
    found = proposed(vault, before.batch_id)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(receive, "receive_again", _interrupted)
        carried_out(vault, found)
    assert status_of(vault, before.batch_id) == "withdrawn"
    again = opened(vault)
    assert rows_of(again, "voip") == []
    done = carried_out(again, found)
    assert (done.withdrawn, done.receipt.stored) == (None, 3)
    assert faults(again) == []
    with pytest.raises(RefusedError, match="done"):
        carried_out(again, found)


def test_what_could_not_be_stored_withdraws_nothing(tmp_path: Path) -> None:
    """Bytes that are gone or changed, a feed that can't read them any more: the rows stay as they are."""
    vault, before = kept_vault(tmp_path)
    vault.layout.sources.write_text("")
    vault = opened(vault)
    with pytest.raises(UsageError, match="source proxy"):
        proposed(vault, before.batch_id)
    vault = source(vault)
    found = proposed(vault, before.batch_id)
    (path,) = vault.layout.raw.glob("*/*/*")
    blob = path.read_bytes()
    path.write_bytes(blob[:-1] + bytes([blob[-1] ^ 1]))
    with pytest.raises(FaultError):
        carried_out(vault, found)
    path.write_bytes(blob)
    late = opened(vault, NOW.replace(day=29))
    expire.expire(late, signed_in(late, "otto"))
    with pytest.raises(RefusedError, match="not kept"):
        carried_out(late, found)
    assert len(rows_of(late, "voip")) == 3


def test_a_file_that_would_be_held_or_refused_today_stays_as_it_is(stored: Vault, prepared: Prepared) -> None:
    """Totals that disagree were accepted once and would be held again; a bound that was lowered refuses the file."""
    intake.accept(stored, "otto", prepared.held)
    with pytest.raises(RefusedError, match="would be held"):
        proposed(stored, prepared.held)
    receipt = ingest(stored, "kamailio_flatstore", calls(50))
    text = stored.layout.settings.read_text()
    stored.layout.settings.write_text(re.sub(r'(?m)^max_file = "[^"]*"', 'max_file = "1KiB"', text))
    with pytest.raises(RefusedError, match="as the feed reads it today"):
        proposed(opened(stored), receipt.batch_id)


def test_a_source_that_does_not_fit_its_feed_is_told(tmp_path: Path) -> None:
    """Its identity names a field that no shape has."""
    vault, before = kept_vault(tmp_path)
    vault = source(vault, 'identity = ["nosuch"]')
    with pytest.raises(UsageError, match="reading batch"):
        proposed(vault, before.batch_id)


def test_other_bytes_under_the_right_key_are_a_fault(tmp_path: Path) -> None:
    """What opens must still be what was delivered: its digest is that of the receipt."""
    vault, before = kept_vault(tmp_path)
    (path,) = vault.layout.raw.glob("*/*/*")
    key = vault.keys.custody("receive").key(leftover_key_id("raw", "voip", NOW.date()))
    with path.open("wb") as sink:
        writer = sealing.StreamWriter(key, sink, f"raw {before.batch_id}")
        writer.write(calls(1).encode())
        writer.close()
    with pytest.raises(FaultError, match="not those that were delivered"):
        proposed(vault, before.batch_id)


def test_only_what_is_stored_is_read_again(tmp_path: Path) -> None:
    """Not a batch that was withdrawn for good, nor one that nobody knows."""
    vault, _ = kept_vault(tmp_path)
    refused = ingest(vault, "kamailio_flatstore", "no such line\n", "acc.log", "proxy")
    assert refused.status == "refused" or refused.rejected
    with pytest.raises(RefusedError):
        proposed(vault, "0" * 24)
    with pytest.raises(RefusedError, match=r"in the vault|not kept"):
        proposed(vault, refused.batch_id)


def test_a_large_file_is_read_again_in_slices(stored: Vault) -> None:
    """More than one slice of it: it is unsealed while it is read."""
    calls_ = (
        {"class": "telephony", "start": f"2026-11-12T{n // 3600:02d}:{n // 60 % 60:02d}:{n % 60:02d}Z"}
        | {"a_number": f"+316{n:08d}", "a_kind": "e164", "b_number": "+31201234567", "b_kind": "e164", "event": "call"}
        for n in range(2_000)
    )
    text = "".join(json.dumps(one) + " " * (SIZE // 2_000) + "\n" for one in calls_)
    assert len(text) > SIZE
    before = ingest(stored, "native_ndjson", text)
    done = carried_out(stored, proposed(stored, before.batch_id))
    assert done.receipt.stored == before.stored == 2_000
    assert faults(stored) == []


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt
