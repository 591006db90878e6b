"""Receive beside the stories: a race with expiry, and with what a leftover dies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ingest.slices import SIZE
from tests.support import Usage, ingest, new_vault, opened, usage
from trafficvault import expire, intake, receive
from trafficvault.batch import Batch
from trafficvault.errors import RefusedError, SpaceError, UsageError
from trafficvault.progress import Progress
from trafficvault.receipts import COUNTS, Receipt
from trafficvault.receive import Pace
from trafficvault.vault import Vault
from trafficvault.verify import verify

NEW = usage([Usage(at="20261113120000"), Usage(at="20261114120000")])


def test_a_receipt_must_balance() -> None:
    """Units that are read and not accounted for are our own fault, and stop the batch."""
    receipt = Receipt("b", "f", "s", "name", "0" * 64, "committed", read=3, stored=2)
    with pytest.raises(AssertionError, match="3 units were read and 2 are accounted for"):
        receipt.require_balance()
    replace(receipt, rejected=1).require_balance()


def test_each_step_is_told(stored: Vault) -> None:
    """Progress names reading, each class and day, and the commit."""
    feed, source = intake.feed_and_source(stored, "mvno_pipe", None)
    steps: list[str | Progress] = []
    receive.receive(stored, feed, source, NEW.encode(), "S4PGWM000004", steps.append)
    assert [str(step) for step in steps] == [
        "reading",
        "mobile_usage 2026-11-13",
        "mobile_usage 2026-11-14",
        "committing",
    ]


def test_a_source_that_does_not_fit_its_feed_is_a_setting_to_mend(stored: Vault) -> None:
    """A source whose identity names no field of the feed stops the file as usage; nothing is entered."""
    stored.layout.sources.write_text('[odd]\nfeed = "mvno_pipe"\nidentity = ["nosuch"]\n')
    vault = opened(stored)
    before = intake.batches(vault)
    with pytest.raises(UsageError, match="reading a file of source odd: "):
        ingest(vault, "mvno_pipe", NEW, "S4PGWM000004", "odd")
    assert intake.batches(vault) == before


def test_below_min_free_not_a_byte_is_written(stored: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Less than `min_free` stops ingest and accept before anything is read."""
    held = next(item for item in intake.batches(stored) if item.status == "held")
    monkeypatch.setattr(stored.disk, "free_bytes", lambda path: stored.policy.min_free - 1)
    with pytest.raises(SpaceError, match="`min_free` is"):
        ingest(stored, "mvno_pipe", NEW, "S4PGWM000004")
    with pytest.raises(SpaceError):
        intake.accept(stored, "otto", held.batch_id)
    assert intake.batch(stored, held.batch_id).status == "held"


def test_a_day_that_begins_to_expire_meanwhile_takes_nothing(stored: Vault) -> None:
    """Between the bytes and the commit an expiry may begin: then the whole batch is refused, and can come again."""
    feed, source = intake.feed_and_source(stored, "mvno_pipe", None)

    def race(step: str | Progress) -> None:
        if str(step) == "committing":
            with stored.catalogue.transaction() as tx:
                tx.put("partitions", record_class="mobile_usage", day="2026-11-13", state="expiring", certificate=None)

    with pytest.raises(RefusedError, match="day 2026-11-13 of mobile_usage began to expire; ingest the file again"):
        receive.receive(stored, feed, source, NEW.encode(), "S4PGWM000004", race)
    again = ingest(stored, "mvno_pipe", NEW, "S4PGWM000004")
    assert (again.status, again.stored, again.expired) == ("committed", 1, 1)
    assert verify(stored).faults == ()


@pytest.mark.parametrize("slice_bytes", [100, SIZE])
def test_a_day_that_is_past_its_term_gets_no_key(tmp_path: Path, slice_bytes: int) -> None:
    """Of rows that had expired when they came nothing is made, in slices or at once: no key of their days, which a
    later expiry would have to destroy and certify.
    """
    vault = new_vault(tmp_path)
    feed, source = intake.feed_and_source(vault, "mvno_pipe", None)
    data = usage([Usage(at=f"2026{day:04}120000") for day in (101, 1113, 102, 102, 1113, 103)])
    found = receive.receive(vault, feed, source, data.encode(), "S4PGWM000004", pace=Pace(slice_bytes))
    assert (found.stored, found.expired) == (2, 4)
    days = {name.split("/")[1] for name in vault.keys.key_ids() if name.startswith("mobile_usage/")}
    assert days == {"2026-11-13"}
    assert expire.expire(vault).certificates == ()


POLICY = """
zone = "Europe/Amsterdam"
region = "NL"

[[entry]]
id = "long"
service = "long"
data = "long"
term = "P2Y"
controller = "test"
legal_basis = "test"
classes = ["telephony"]

[[entry]]
id = "short"
service = "short"
data = "short"
term = "P1M"
controller = "test"
legal_basis = "test"
classes = ["voip"]
"""


def test_leftovers_die_with_the_shortest_class_they_may_be_of(tmp_path: Path) -> None:
    """A bad row of a file whose rows name their class may be of any: it goes with the shortest; a source settles it."""
    (tmp_path / "policy.toml").write_text(POLICY)
    vault = new_vault(tmp_path, str(tmp_path / "policy.toml"))
    vault.layout.sources.write_text('[exchange]\nfeed = "native_ndjson"\nclass = "telephony"\n')
    vault = opened(vault)
    good = '{"class": "telephony", "start": "2026-11-13T12:00:00Z", "a_number": "+31612345678", "event": "call"}\n'
    bad = '{"class": "telephony"}\n'
    mixed = ingest(vault, "native_ndjson", good + bad, "mixed.ndjson")
    settled = ingest(vault, "native_ndjson", good + bad, "settled.ndjson", "exchange")
    alone = ingest(vault, "native_ndjson", bad, "alone.ndjson")
    with vault.catalogue.reading() as tx:
        dies = {row["batch"]: row["record_class"] for row in tx.select("leftovers")}

    assert dies == {mixed.batch_id: "voip", settled.batch_id: "telephony", alone.batch_id: "voip"}
    for receipt in (mixed, settled, alone):
        assert receipt.read == sum(getattr(receipt, name) for name in COUNTS if name != "read")


def test_an_interruption_just_after_the_commit_loses_nothing(stored: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the catalogue has by then is the vault's: its files stay, and the same file again is known."""

    def interrupted(batch: Batch) -> None:
        raise KeyboardInterrupt

    rows = usage([Usage(at="20261113120000")])
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Batch, "committed", interrupted)
        ingest(stored, "mvno_pipe", rows, "S4PGWM000009")
    again = opened(stored)
    assert verify(again).faults == ()
    assert ingest(again, "mvno_pipe", rows, "S4PGWM000009").status == "already-ingested"
