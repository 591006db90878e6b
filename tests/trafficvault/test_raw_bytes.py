"""Kept files: what was delivered stays sealed for some days at most, and never longer than a record that is in it."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import NOW, FullDisk, every_byte, ingest, new_vault, opened
from tests.thorough import steps_on
from tests.trafficvault import short_location
from tests.trafficvault.kept_files import AT, CALLER, calls, kept_vault, source
from tests.trafficvault.test_endings import BEGIN, END, binding, end
from tests.trafficvault.test_rewrite import faults
from trafficvault import backup, expire, intake, inventory, locked, raw_bytes, retention, sealing, statement
from trafficvault.certificates import listing
from trafficvault.clock import SetClock
from trafficvault.delivered import Delivered
from trafficvault.durable import Disk
from trafficvault.errors import FaultError, RefusedError, SpaceError, UsageError
from trafficvault.layout import leftover_key_id
from trafficvault.period import Period
from trafficvault.policy_file import parse, preset_text
from trafficvault.receipts import Dying
from trafficvault.retention import Partition, plan
from trafficvault.terms import Term
from trafficvault.vault import Vault
from trafficvault.verify import verify

POLICY = parse(preset_text("telecom"))
DAY = timedelta(days=1)


class CutDisk(Disk):
    """Ends what is done before the `at`-th durable step."""

    def __init__(self, at: int) -> None:
        self.at, self.steps = at, 0

    def step(self, name: str) -> None:
        """One step further."""
        self.steps += name.startswith("before")
        if self.steps == self.at:
            raise KeyboardInterrupt


def kept(vault: Vault) -> list[Path]:
    """The kept files."""
    return sorted(vault.layout.raw.glob("*/*/*"))


def due(vault: Vault) -> datetime:
    """When the kept files are due."""
    (item,) = (item for item in expire.plan(vault) if item.kind == "raw")
    assert item.due is not None
    return item.due


def test_what_was_delivered_comes_back(tmp_path: Path) -> None:
    """Byte for byte, by the key of its own; nothing of it is on disk in clear."""
    vault, receipt = kept_vault(tmp_path)
    (path,) = kept(vault)
    assert path.parts[-4:] == ("raw", "voip", "2026-11-20", f"{receipt.batch_id}.sealed")
    back = raw_bytes.delivered(vault, receipt.batch_id)
    with back.open() as file:
        assert file.read() == calls().encode()
    assert (back.size, back.sha256(), back.mark()) == (len(calls()), receipt.sha256, ())
    assert CALLER.encode() not in every_byte(vault.layout.vault, vault.layout.keys)
    assert faults(vault) == []


@pytest.mark.parametrize("lines", [('keep_raw = "P0D"',), ('keep_raw = "PT0S"',)])
def test_a_source_may_keep_nothing(tmp_path: Path, lines: tuple[str, ...]) -> None:
    """Then no byte is left, and reading again says what to do instead."""
    vault, receipt = kept_vault(tmp_path, *lines)
    assert kept(vault) == []
    with pytest.raises(RefusedError, match="are not kept") as refused:
        raw_bytes.delivered(vault, receipt.batch_id)
    assert f"--replaces {receipt.batch_id}" in (refused.value.hint or "")


def test_a_feed_with_content_keeps_nothing(stored: Vault, tmp_path: Path) -> None:
    """Whatever the policy says; and its source may not ask for it."""
    assert kept(stored) == []
    stored.layout.sources.write_text('[pbx]\nfeed = "asterisk_csv"\ncustomer = "acme"\nkeep_raw = "P1D"\n')
    with pytest.raises(UsageError, match="has content"):
        opened(stored)


def test_months_are_no_keep_raw(tmp_path: Path) -> None:
    """They have no one length."""
    with pytest.raises(UsageError, match="days or hours"):
        kept_vault(tmp_path, 'keep_raw = "P1M"')
    with pytest.raises(UsageError, match="days or hours"):
        parse(preset_text("telecom").replace('keep_raw = "P7D"', 'keep_raw = "P1M"'))


def test_it_goes_when_it_was_kept_for_long_enough(tmp_path: Path) -> None:
    """Due within `keep_raw` of its receipt, under a certificate of its own; its records live on."""
    vault, receipt = kept_vault(tmp_path, 'keep_raw = "P3D"')
    assert due(vault) <= NOW + 3 * DAY
    early = opened(vault, due(vault) - timedelta(microseconds=1))
    assert expire.expire(early).certificates == ()
    late = opened(vault, due(vault))
    (body,) = expire.expire(late).certificates
    assert (body["what"], body["class"], body["day"], body["term"]) == ("raw", "voip", "2026-11-20", "P3D")
    assert [file["id"] for file in body["files"]] == [receipt.batch_id]
    assert kept(late) == []
    assert leftover_key_id("raw", "voip", date(2026, 11, 20)) not in late.keys.key_ids()
    assert len(listing(late)) == 1
    assert faults(late) == []
    assert receipt.partitions == ("voip/2026-11-19",)
    assert {item.kind for item in expire.plan(late)} == {"records", "rejections"}


def test_a_record_that_ends_sooner_keeps_the_file_out(tmp_path: Path) -> None:
    """A late record whose day is due within a week, or one past its term: nothing is kept beside it."""
    late = datetime(2026, 5, 23, 12, tzinfo=UTC)
    assert POLICY.require_term("voip").lasts == Period(months=6)
    vault, receipt = kept_vault(tmp_path / "late", data=calls(1, late) + calls(1))
    assert (receipt.stored, kept(vault)) == (2, [])
    past = datetime(2026, 5, 1, 12, tzinfo=UTC)
    vault, receipt = kept_vault(tmp_path / "past", data=calls(1, past) + calls(1))
    assert (receipt.expired, kept(vault)) == (1, [])
    # Of a duplicate too: its day is one that was met.
    vault, _ = kept_vault(tmp_path / "again", data=calls(1, late))
    again = ingest(vault, "kamailio_flatstore", calls(1, late) + "\n", "acc.log", "proxy")
    assert (again.duplicate, kept(vault)) == (1, [])


def test_a_record_ends_it_by_the_term_of_its_own_class(tmp_path: Path) -> None:
    """A late call in a file of a feed whose other class ends sooner: the file stays for its week, and is never late; a
    policy that shortens the term of calls takes it at once.
    """

    def rules(calls: str) -> str:
        return short_location.rules("P10D", calls).replace('keep_raw = "P0D"', 'keep_raw = "P7D"')

    path = tmp_path / "rules.toml"
    path.write_text(rules("P2M"))
    vault = new_vault(tmp_path, str(path))
    head, late = "class,record_id,start,a_number,a_kind,served,event\n", NOW - 33 * DAY
    receipt = ingest(vault, "native_csv", f"{head}telephony,r-1,{late:%Y-%m-%dT%H:%M:%SZ},+{CALLER},e164,a,call\n")
    assert (receipt.stored, len(kept(vault))) == (1, 1)
    with vault.catalogue.reading() as tx:
        (row,) = tx.select("leftovers")
    assert (row["record_class"], row["oldest_of"]) == ("mobile_usage", '{"telephony": "2026-10-18"}')
    assert due(vault) == datetime(2026, 11, 27, tzinfo=UTC)
    assert expire.expire(opened(vault, NOW + DAY)).certificates == ()
    part = retention.kept_together(Partition(row["record_class"], NOW.date(), "raw"), [row])
    (item,) = plan([part], parse(rules("P1M")), NOW)
    assert (item.action, item.due) == ("expire", datetime(2026, 11, 18, 1, tzinfo=UTC))
    assert "a record of theirs may have reached its term, of telephony, which is kept P1M" in item.reason


def test_a_file_of_before_days_were_told_by_class(tmp_path: Path) -> None:
    """Its one day is taken as one of the class that it dies with, as then."""
    part = Partition("telephony", date(2026, 11, 19), "raw")
    told = retention.kept_together(part, [{"keep": "P7D", "oldest": "2026-06-01"}, {"keep": "P9D"}])
    assert (told.keep, told.oldest) == (Period(days=7), (("telephony", date(2026, 6, 1)),))


def test_sources_of_one_day_go_with_the_first(tmp_path: Path) -> None:
    """Two files that came on a day lie under one key: both go when the shorter time is over."""
    vault, _ = kept_vault(tmp_path, 'keep_raw = "P5D"')
    vault = source(vault, 'keep_raw = "P2D"')
    ingest(vault, "kamailio_flatstore", calls(4), "acc.log", "proxy")
    assert len(kept(vault)) == 2
    assert due(vault) == datetime(2026, 11, 22, tzinfo=UTC)


@given(
    day=st.dates(date(2026, 1, 1), date(2027, 12, 31)),
    days=st.integers(0, 200),
    old=st.integers(0, 190),
    second=st.integers(0, 86_399),
)
def test_no_kept_file_outlives_its_time_or_a_record(day: date, days: int, old: int, second: int) -> None:
    """Due at most `keep_raw` after any moment of the day of receipt, and with its oldest record's day at the latest."""
    part = Partition("telephony", day, "raw", keep=Period(days=days), oldest=(("telephony", day - old * DAY),))
    received = datetime.combine(day, datetime.min.time(), UTC) + timedelta(seconds=second)
    (item,) = plan([part], POLICY, received)
    assert item.due is not None
    assert item.due <= retention.expires_at(received, Term(period=Period(days=days)), POLICY.zone)
    ends = retention.due(day - old * DAY, POLICY.require_term("telephony"), POLICY.zone)
    assert item.due <= ends
    assert item.action == ("expire" if item.due <= received else "keep")
    (begun,) = plan([Partition("telephony", day, "raw", "expiring")], POLICY, received)
    assert begun.action == "expire"
    (unnamed,) = plan([Partition("nothing", day, "raw")], POLICY, received)
    assert unnamed.due == retention.begins(day, Term(period=POLICY.keep_raw), POLICY.zone)


def test_the_end_of_a_service_takes_what_was_delivered_with_it(tmp_path: Path) -> None:
    """Rows that go for whose they are lie in the delivered file as well: the next run destroys that too."""
    vault = new_vault(tmp_path)
    receipt = ingest(
        vault, "native_ndjson", binding("2026-11-10T12:00:00Z", "s-1") + binding("2026-11-11T12:00:00Z", "s-2")
    )
    other = ingest(vault, "native_ndjson", binding("2026-11-12T12:00:00Z", "s-3"))
    assert len(kept(vault)) == 2
    end(vault, END, BEGIN, subscriber="s-1")
    run = opened(vault, NOW + timedelta(hours=1))
    expire.expire(run)
    # Due from then on, and not as if it had been so since the files came: nobody was late.
    assert due(run) == NOW + timedelta(hours=1)
    assert statement.state(run).body["true"]
    run = opened(run, NOW + timedelta(hours=20))
    (gone,) = (body for body in expire.expire(run).certificates if body["what"] == "raw")
    assert gone["lateness_seconds"] == 19 * 3600
    assert kept(run) == []  # the other file came on the same day and lies under the same key
    assert {receipt.batch_id, other.batch_id} <= {one["id"] for body in listing(run) for one in body["files"]}
    assert faults(run) == []


def test_without_the_secret_it_is_dropped_on_time(tmp_path: Path) -> None:
    """A process without keys goes by the catalogue as it lies there."""
    vault, _ = kept_vault(tmp_path, 'keep_raw = "P3D"')
    moment = due(vault)
    vault.catalogue.close()
    assert locked.state(vault.layout, SetClock(moment - timedelta(seconds=1))).due == ()
    done = locked.drop_due(vault.layout, Disk(), SetClock(moment))
    assert [item.what for item in done.pending.dropped] == ["raw"]
    assert kept(vault) == []


def test_inventory_and_backup_have_it(tmp_path: Path) -> None:
    """Of the day it came as data, of its records' day as what may hold some; a backup copies it."""
    vault, receipt = kept_vault(tmp_path)
    found = inventory.take(vault, NOW.date())
    assert "kept file" in {one.what for one in found.data}
    found = inventory.take(vault, AT.date())
    assert "kept file" in {one.what for one in found.possible}
    assert inventory.take(vault, AT.date() - DAY).possible == ()
    assert f"raw/voip/2026-11-20/{receipt.batch_id}.sealed" in backup.pool_names(vault.layout)


@pytest.mark.parametrize("change", ["flip", "cut", "grow", "gone", "beside"])
def test_verify_names_what_was_done_to_it(tmp_path: Path, change: str) -> None:
    """A flipped bit, a cut or grown file, a missing and a strange one."""
    vault, _ = kept_vault(tmp_path)
    (path,) = kept(vault)
    blob = path.read_bytes()
    match change:
        case "flip":
            path.write_bytes(blob[:40] + bytes([blob[40] ^ 1]) + blob[41:])
        case "cut":
            path.write_bytes(blob[:-1])
        case "grow":
            path.write_bytes(blob + b"x")
        case "gone":
            path.unlink()
        case _:
            path.with_name("0" * 24 + ".sealed").write_bytes(blob)
    named = {"flip": "bit flip", "cut": "truncated", "grow": "extended", "gone": "missing", "beside": "extra"}
    assert [fault.kind for fault in verify(vault).faults] == [named[change]]


def test_a_lost_key_is_named(tmp_path: Path) -> None:
    """The file is there and nothing opens it."""
    vault, _ = kept_vault(tmp_path)
    name = leftover_key_id("raw", "voip", date(2026, 11, 20))

    def commit(generation: int) -> None:
        with vault.catalogue.transaction() as tx:
            tx.set_meta("generation", str(generation))

    vault.keys.renew([name], commit)
    assert "key missing" in {fault.kind for fault in verify(vault).faults}


def test_a_file_that_changed_meanwhile_is_not_kept(tmp_path: Path) -> None:
    """Its bytes are not those that were read: nothing is committed, nothing is left."""
    vault, _ = kept_vault(tmp_path)
    path = tmp_path / "acc.log"
    path.write_text(calls(2))
    delivered = Delivered(path)
    feed, proxy = intake.feed_and_source(vault, "kamailio_flatstore", "proxy")
    given_ = raw_bytes.original(vault, feed, proxy, delivered)
    assert given_ is not None
    os.utime(path, ns=(1, 1))
    with pytest.raises(RefusedError, match="changed while it was read"):
        raw_bytes.seal(
            vault, vault.keys.custody("receive"), "0" * 24, Dying("voip", NOW.date()), given_, [("voip", AT.date())]
        )
    assert len(kept(vault)) == 1


@pytest.mark.parametrize("cut", [True, False])
def test_cut_short_at_any_step_there_is_a_whole_batch_or_none(tmp_path: Path, cut: bool) -> None:
    """The disk fails, or the process ends, at step after step of taking a file in: the next run leaves both
    or neither.
    """
    over = False
    for at in steps_on(1 if cut else 2):
        vault = source(new_vault(tmp_path / str(at)))
        failing = opened(vault, disk=CutDisk(at) if cut else FullDisk(at))
        try:
            ingest(failing, "kamailio_flatstore", calls(), "acc.log", "proxy")
            over = True
        except (KeyboardInterrupt, OSError, SpaceError):
            over = False
        again = opened(vault)
        receipt = ingest(again, "kamailio_flatstore", calls(), "acc.log", "proxy")
        assert receipt.stored == 3
        assert len(kept(again)) == 1
        assert faults(again) == []
        assert at < 80
        if over:
            break


def test_a_stream_is_read_in_pieces_of_any_size(tmp_path: Path) -> None:
    """Over the edges of its chunks; a changed one is refused when it is reached, and what is no stream at once."""
    key, content = sealing.new_key(), bytes(range(256)) * 8200  # two chunks and a bit
    path = tmp_path / "x"
    with path.open("wb") as sink:
        writer = sealing.StreamWriter(key, sink, "raw x")
        for start in range(0, len(content), 700_001):
            writer.write(content[start : start + 700_001])
        writer.close()
    assert sealing.stream_length(path.stat().st_size) == len(content)
    with sealing.open_stream(key, path, "raw x") as file:
        head = file.read(1_500_000)
        assert file.tell() == 1_500_000
        assert head + file.read() == content
    with pytest.raises(FaultError, match="changed"), sealing.open_stream(key, path, "raw y") as file:
        file.read()
    path.write_bytes(b"TVS1" + path.read_bytes()[4:])
    with pytest.raises(FaultError, match="sealed stream"):
        sealing.open_stream(key, path, "raw x")
