"""The audit log loses nothing, adds nothing twice, and shows every change made to it."""

from __future__ import annotations

import errno
import json
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trafficvault import chain, sealing, signing
from trafficvault.audit import BACK, AuditLog, judge_clock
from trafficvault.catalogue import Catalogue
from trafficvault.chain import Head, Line
from trafficvault.clock import SetClock
from trafficvault.durable import PART, Disk
from trafficvault.errors import FaultError, SpaceError, VaultError
from trafficvault.keys import KeyStore
from trafficvault.layout import Layout
from trafficvault.period import Period
from trafficvault.provider import LocalKeyFile

VAULT = "0123456789abcdef0123456789abcdef"
MAC_KEY, AUDIT_KEY, SIGNING_KEY = bytes(range(32)), bytes(range(32, 64)), bytes(range(64, 96))
START = datetime(2026, 11, 20, 12, tzinfo=UTC)
SIZE = 4
WEEK = Period(days=7)


@dataclass(frozen=True, slots=True)
class Keys:
    """The two keys of an audit log, without a key store around them."""

    audit: bytes = AUDIT_KEY

    def custody(self, act: str) -> Keys:
        """Itself, for the act `audit`."""
        assert act == "audit"
        return self

    def key(self, name: str) -> bytes:
        """The audit key."""
        assert name == "audit"
        return self.audit

    def signing_key(self) -> bytes:
        """The vault's signing key."""
        return SIGNING_KEY


@dataclass(frozen=True, slots=True)
class Settings:
    """The name of the vault."""

    id: str = VAULT


@dataclass(frozen=True, slots=True)
class Policy:
    """The rule for the clock."""

    max_clock_step: Period = WEEK


class Crash(BaseException):
    """The end of a process."""


class FaultyDisk(Disk):
    """Fails at a step: by a crash, by an error of the system, or with half a line written."""

    def __init__(self) -> None:
        self.at = ""
        self.problem: BaseException = Crash()
        self.half = False
        self.steps: list[str] = []

    def step(self, name: str) -> None:
        """Notes the step, and fails at the one that was asked for."""
        self.steps.append(name)
        if name == self.at:
            raise self.problem

    def append(self, path: Path, content: bytes, mode: int = 0o600) -> None:
        """Appends; with `half`, all but the last third of it, and fails."""
        if self.half:
            super().append(path, content[: len(content) * 2 // 3], mode)
            raise self.problem
        super().append(path, content, mode)


@dataclass(slots=True)
class House:
    """A log with everything it stands on."""

    layout: Layout
    disk: FaultyDisk
    clock: SetClock
    catalogue: Catalogue
    log: AuditLog

    @property
    def public_key(self) -> str:
        """The vault's public key."""
        return signing.public_key_of(SIGNING_KEY)

    def again(self, disk: FaultyDisk | None = None) -> AuditLog:
        """The log as a new process opens it."""
        return AuditLog(
            self.layout,
            disk or FaultyDisk(),
            self.catalogue,
            Keys(),
            Settings(),
            Policy(),
            self.clock,
            entries_per_segment=SIZE,
        )

    def write(self, count: int, *, flush: bool = True) -> None:
        """Enters `count` entries, each in a transaction of its own."""
        for _ in range(count):
            with self.catalogue.transaction() as tx:
                self.log.enter(tx, "receive", "Anna", {"batch": "7f3a", "counts": [1, None]})
            if flush:
                self.log.flush()

    def segments(self) -> list[Path]:
        """The segments on disk."""
        return sorted(self.layout.audit.iterdir())

    def lines(self) -> list[bytes]:
        """All lines on disk."""
        return b"".join(path.read_bytes() for path in self.segments()).splitlines()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A new log in a new catalogue, four entries to a segment."""
    layout = Layout(tmp_path / "vault", tmp_path / "keys")
    layout.vault.mkdir()
    layout.keys.mkdir()
    disk, clock = FaultyDisk(), SetClock(START)
    with closing(Catalogue.create(layout.catalogue, MAC_KEY, Disk())) as catalogue:
        log = AuditLog(layout, disk, catalogue, Keys(), Settings(), Policy(), clock, entries_per_segment=SIZE)
        yield House(layout, disk, clock, catalogue, log)


def pending(house: House) -> int:
    """How many entries wait in the outbox."""
    with house.catalogue.reading() as tx:
        return len(tx.select("outbox"))


def test_entries_come_back_opened_and_in_order(house: House) -> None:
    """What was entered is shown again, with who did it and when; the last ones only when asked so."""
    with house.catalogue.transaction() as tx:
        first = house.log.enter(tx, "warrant-register", "Anna", {"warrant": "w1", "é": (True, None)})
        second = house.log.enter(tx, "receive", None, {})
    house.log.flush()
    house.clock.advance(timedelta(seconds=1))
    house.write(7)

    assert (first, second) == (1, 2)
    assert house.log.verify() == 9
    assert house.log.show()[:2] == [
        {
            "seq": 1,
            "time": "2026-11-20T12:00:00.000000Z",
            "act": "warrant-register",
            "person": "Anna",
            "detail": {"warrant": "w1", "é": [True, None]},
        },
        {"seq": 2, "time": "2026-11-20T12:00:00.000000Z", "act": "receive", "person": None, "detail": {}},
    ]
    assert [entry["seq"] for entry in house.log.show(3)] == [7, 8, 9]
    assert house.log.public_key == house.public_key


def test_an_empty_log_is_whole(house: House) -> None:
    """Before the first entry there is nothing to show, to flush or to find fault with."""
    house.log.flush()

    assert (house.log.verify(), house.log.show()) == (0, [])
    assert chain.verify_chain(house.layout.audit, VAULT, house.public_key, SIZE) == chain.genesis(VAULT)


def test_the_form_on_disk_is_the_documented_one(house: House) -> None:
    """Segments of a fixed number of lines, canonical, chained from the vault's id, nothing readable in them."""
    house.write(9)
    entries = [json.loads(line) for line in house.lines()]

    assert [path.name for path in house.segments()] == ["00000001.log", "00000002.log", "00000003.log"]
    assert [path.read_bytes().count(b"\n") for path in house.segments()] == [4, 4, 1]
    assert entries[0]["prev"] == chain.genesis(VAULT).hash
    assert [entry["prev"] for entry in entries[1:]] == [entry["hash"] for entry in entries[:-1]]
    assert all(set(entry) == {"v", "seq", "time", "prev", "body", "hash", "sig"} for entry in entries)
    assert not any(word in line for line in house.lines() for word in (b"receive", b"Anna", b"7f3a"))
    assert house.segments()[0].stat().st_mode & 0o777 == 0o600


def test_a_segment_holds_ten_thousand_entries() -> None:
    """Entry 10,000 closes the first segment, entry 10,001 opens the second."""
    assert [chain.segment_of(seq) for seq in (1, 10_000, 10_001, 20_000)] == [1, 1, 2, 2]


def test_the_chain_is_checked_with_the_public_key_alone(house: House) -> None:
    """No secret and no catalogue is needed; another vault's id or key does not fit."""
    house.write(6)
    head = chain.verify_chain(house.layout.audit, VAULT, house.public_key, SIZE)

    assert head == Head(6, json.loads(house.lines()[-1])["hash"])
    with pytest.raises(FaultError, match="does not follow entry 0"):
        chain.verify_chain(house.layout.audit, "another", house.public_key, SIZE)
    with pytest.raises(FaultError, match="signature"):
        chain.verify_chain(house.layout.audit, VAULT, signing.public_key_of(bytes(32)), SIZE)


def test_an_entry_that_is_rolled_back_never_was(house: House) -> None:
    """The act and its entry are one transaction: neither without the other."""
    with pytest.raises(ZeroDivisionError), house.catalogue.transaction() as tx:
        house.log.enter(tx, "receive", None, {})
        raise ZeroDivisionError
    house.write(1)

    assert [entry["seq"] for entry in house.log.show()] == [1]
    assert house.log.verify() == 1


def test_each_bit_of_an_entry_is_covered(house: House) -> None:
    """Every single flipped bit of a line is found by the public check; no bit is without effect."""
    house.write(1)
    content = house.lines()[0]
    genesis, public_key = chain.genesis(VAULT), house.public_key
    chain.follow(genesis, Line(1, content, "00000001.log"), public_key)
    for place in range(len(content) * 8):
        changed = bytearray(content)
        changed[place // 8] ^= 1 << place % 8
        with pytest.raises(FaultError, match="audit segment"):
            chain.follow(genesis, Line(1, bytes(changed), "00000001.log"), public_key)


def test_bits_flipped_in_a_segment_are_found(house: House) -> None:
    """In the file itself, newlines included: by the public check, by ours, and by whoever wants to see entries."""
    house.write(2)
    path = house.segments()[0]
    content = path.read_bytes()
    newlines = [place * 8 + bit for place, sign in enumerate(content) if sign == 10 for bit in range(8)]
    for place in [*newlines, *random.Random(20).sample(range(len(content) * 8), 100)]:
        changed = bytearray(content)
        changed[place // 8] ^= 1 << place % 8
        path.write_bytes(changed)
        with pytest.raises(FaultError, match="audit"):
            chain.verify_chain(house.layout.audit, VAULT, house.public_key, SIZE)
        with pytest.raises(FaultError, match="audit"):
            house.log.verify()
        with pytest.raises(FaultError, match="audit"):
            house.log.show()
    path.write_bytes(content)

    assert house.log.verify() == 2


def test_bits_flipped_across_full_segments_are_found(house: House) -> None:
    """In any segment, not only in the last; what still flushes is found by verify."""
    house.write(9)
    chance = random.Random(21)
    for path in house.segments():
        content = path.read_bytes()
        for place in chance.sample(range(len(content) * 8), 60):
            changed = bytearray(content)
            changed[place // 8] ^= 1 << place % 8
            path.write_bytes(changed)
            with pytest.raises(FaultError, match="audit"):
                house.log.verify()
        path.write_bytes(content)

    assert house.log.verify() == 9


def _drop_last_line(house: House) -> None:
    path = house.segments()[-1]
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def _cut_mid_line(house: House) -> None:
    path = house.segments()[-1]
    path.write_bytes(path.read_bytes()[:-30])


def _cut_newline(house: House) -> None:
    path = house.segments()[-1]
    path.write_bytes(path.read_bytes()[:-1])


def _swap_lines(house: House) -> None:
    path = house.segments()[0]
    first, second, *rest = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([second, first, *rest]))


def _double_line(house: House) -> None:
    path = house.segments()[1]
    first, *rest = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([first, first, *rest]))


def _drop_middle_line(house: House) -> None:
    path = house.segments()[0]
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:1] + lines[2:]))


def _drop_end_of_full_segment(house: House) -> None:
    path = house.segments()[0]
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def _tear_full_segment(house: House) -> None:
    path = house.segments()[0]
    path.write_bytes(path.read_bytes()[:-1])


def _swap_segments(house: House) -> None:
    first, second = house.segments()[:2]
    one, other = first.read_bytes(), second.read_bytes()
    first.write_bytes(other)
    second.write_bytes(one)


def _add_to_full_segment(house: House) -> None:
    first, second = house.segments()[:2]
    first.write_bytes(first.read_bytes() + second.read_bytes().splitlines(keepends=True)[0])


def _add_signed_entry(house: House) -> None:
    line = chain.write_line(
        Head(10, json.loads(house.lines()[-1])["hash"]), signing.instant(START), "", None, SIGNING_KEY
    )
    path = house.segments()[-1]
    path.write_bytes(path.read_bytes() + line + b"\n")


def _add_torn_end(house: House) -> None:
    path = house.segments()[-1]
    path.write_bytes(path.read_bytes() + b'{"body":"')


def _replace_last(house: House) -> None:
    lines = house.lines()
    head = Head(9, json.loads(lines[-2])["hash"])
    path = house.segments()[-1]
    line = chain.write_line(head, signing.instant(START), "", None, SIGNING_KEY)
    path.write_bytes(b"".join([*path.read_bytes().splitlines(keepends=True)[:-1], line + b"\n"]))


def _add_unsigned_entry(house: House) -> None:
    line = chain.write_line(
        Head(10, json.loads(house.lines()[-1])["hash"]), signing.instant(START), "", None, bytes(range(1, 33))
    )
    path = house.segments()[-1]
    path.write_bytes(path.read_bytes() + line + b"\n")


def _add_copied_entry(house: House) -> None:
    path = house.segments()[-1]
    path.write_bytes(path.read_bytes() + house.lines()[2] + b"\n")


def _sign_by_another(house: House) -> None:
    path = house.segments()[1]
    first, second, *rest = path.read_bytes().splitlines(keepends=True)
    entry = json.loads(second)
    entry["sig"] = signing.sign(bytes(range(1, 33)), bytes.fromhex(entry["hash"]))
    path.write_bytes(b"".join([first, signing.canonical(entry) + b"\n", *rest]))


def _write_signature_in_capitals(house: House) -> None:
    path = house.segments()[0]
    first, *rest = path.read_bytes().splitlines(keepends=True)
    entry = json.loads(first)
    entry["sig"] = entry["sig"].upper()
    path.write_bytes(b"".join([signing.canonical(entry) + b"\n", *rest]))


def _flip_a_bit(house: House) -> None:
    path = house.segments()[1]
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.write_bytes(content)


def _relink(house: House) -> None:
    path = house.segments()[0]
    first, _, *rest = path.read_bytes().splitlines(keepends=True)
    line = chain.write_line(Head(1, "0" * 64), signing.instant(START), "", None, SIGNING_KEY)
    path.write_bytes(b"".join([first, line + b"\n", *rest]))


DAMAGES = {
    "the last line removed": (_drop_last_line, "ends at entry 9 and the catalogue knows 10: its tail is missing"),
    "the last line cut": (_cut_mid_line, "entry 10: the line is torn"),
    "the last newline cut": (_cut_newline, "entry 10: the line is torn"),
    "two lines exchanged": (_swap_lines, "entry 2 stands where 1 belongs"),
    "a line doubled": (_double_line, "entry 5 stands where 6 belongs"),
    "a line removed": (_drop_middle_line, "entry 3 stands where 2 belongs"),
    "a full segment shortened": (_drop_end_of_full_segment, "it has 3 entries where 4 belong"),
    "a full segment torn": (_tear_full_segment, "entry 4: the line is torn"),
    "two segments exchanged": (_swap_segments, "entry 5 stands where 1 belongs"),
    "a full segment lengthened": (_add_to_full_segment, "it has 5 entries where 4 belong"),
    "an entry added by who has the key": (_add_signed_entry, "the catalogue is older than the log"),
    "a torn end added": (_add_torn_end, "torn, in a line that the catalogue never had"),
    "the last line replaced by who has the key": (_replace_last, "entry 10 on disk is another"),
    "the last segment removed": (
        lambda house: house.segments()[-1].unlink(),
        "ends at entry 8 and the catalogue knows 10",
    ),
    "a segment removed": (lambda house: house.segments()[1].unlink(), "segment 00000002.log is missing"),
    "all segments removed": (
        lambda house: shutil.rmtree(house.layout.audit),
        "ends at entry 0 and the catalogue knows 10",
    ),
    "a stranger": (lambda house: (house.layout.audit / "notes.txt").write_text("x"), "notes.txt is not a segment"),
}


@pytest.mark.parametrize("name", list(DAMAGES))
def test_each_damage_is_named(house: House, name: str) -> None:
    """Verification says what happened to the log, and where."""
    damage, sentence = DAMAGES[name]
    house.write(10)
    damage(house)

    with pytest.raises(FaultError) as caught:
        house.log.verify()
    assert sentence in str(caught.value)


CHAIN_FAULTS = {
    "the last line removed": ["truncated"],
    "the last line cut": ["truncated"],
    "the last newline cut": ["truncated"],
    "two lines exchanged": ["changed"] * 3,
    "a line doubled": ["extra"],
    "a line removed": ["missing"],
    "a full segment shortened": ["truncated"],
    "a full segment torn": ["truncated"],
    "two segments exchanged": ["changed"] * 2,
    "a full segment lengthened": ["extra"],
    "an entry added by who has the key": ["rolled back"],
    "a torn end added": ["extra"],
    "the last line replaced by who has the key": ["changed"],
    "the last segment removed": ["missing"],
    "a segment removed": ["missing"],
    "all segments removed": ["missing"],
    "a stranger": ["extra"],
}


@pytest.mark.parametrize("name", list(DAMAGES))
def test_each_damage_has_its_kind(house: House, name: str) -> None:
    """One damage is named as what it is, without a trail of faults that only follow from it."""
    damage, sentence = DAMAGES[name]
    house.write(10)
    damage(house)
    found = house.log.faults()

    assert [kind for kind, _ in found] == CHAIN_FAULTS[name]
    assert sentence in found[0][1]


@pytest.mark.parametrize(
    ("damage", "kinds", "sentence"),
    [
        (_add_unsigned_entry, ["extra"], "entry 11 is one that the vault did not sign"),
        (_add_copied_entry, ["extra"], "it ends in a line that is no entry of the catalogue"),
        (_sign_by_another, ["signature"], "entry 6: the signature is not that of key"),
        (_write_signature_in_capitals, ["changed"], "entry 1: changed: its signature is not written as one"),
        (_flip_a_bit, ["changed"], "entry 5: changed"),
        (_relink, ["changed", "changed"], "entry 2: it does not follow entry 1"),
        (lambda house: house.segments()[0].rename(house.layout.audit / "00000000.log"), ["extra", "missing"], "not a"),
    ],
)
def test_other_damages_have_their_kind(
    house: House, damage: Callable[[House], object], kinds: list[str], sentence: str
) -> None:
    """What was put there is told from what was changed, and a false signature from both."""
    house.write(10)
    damage(house)
    found = house.log.faults()

    assert [kind for kind, _ in found] == kinds
    assert sentence in found[0][1]
    with pytest.raises(FaultError) as caught:
        house.log.verify()
    assert (str(caught.value), caught.value.hint is not None) == (found[0][1], True)


def test_several_damages_are_all_named(house: House) -> None:
    """What lies behind a fault is checked as well."""
    house.write(10)
    _drop_middle_line(house)
    _sign_by_another(house)
    _drop_last_line(house)
    (house.layout.audit / "notes.txt").write_text("x")

    assert [kind for kind, _ in house.log.faults()] == ["extra", "missing", "signature", "truncated"]


def test_a_whole_log_has_no_fault(house: House) -> None:
    """Neither before the first entry, nor with entries that wait in the outbox."""
    before = house.log.faults()
    house.write(5)
    house.write(2, flush=False)

    assert (before, house.log.faults()) == ([], [])


def test_a_log_of_rubbish_is_named_a_hundred_times_at_most(house: House) -> None:
    """A report that a person reads doesn't grow with the damage."""
    log = AuditLog(
        house.layout, Disk(), house.catalogue, Keys(), Settings(), Policy(), house.clock, entries_per_segment=200
    )
    with house.catalogue.transaction() as tx:
        for _ in range(120):
            log.enter(tx, "receive", None, {})
    log.flush()
    house.layout.segment(1).write_bytes(b"\n" * 5000)

    assert [kind for kind, _ in log.faults()] == ["changed"] * 100


def test_a_moved_line_is_told_though_a_segment_can_not_be_read(house: House) -> None:
    """What can't be read is named, and counts as nothing where the rest is compared."""
    house.write(10)
    _swap_lines(house)
    house.segments()[1].unlink()
    house.layout.segment(2).mkdir()

    assert [kind for kind, _ in house.log.faults()] == ["changed", "changed", "changed", "missing"]


def test_rubbish_beside_a_gap_does_not_hide_it(house: House) -> None:
    """A line that is no entry is passed over when what is missing is told from what was moved."""
    house.write(10)
    path = house.segments()[0]
    path.write_bytes(b"".join([path.read_bytes().splitlines(keepends=True)[place] for place in (1, 2)]) + b"rubbish\n")

    assert [kind for kind, _ in house.log.faults()] == ["missing", "changed"]


def test_a_catalogue_that_can_not_be_believed_is_a_fault(house: House) -> None:
    """Then there is nothing to compare the log with."""
    house.write(1)
    with closing(sqlite3.connect(house.layout.catalogue)) as database, database:
        database.execute("UPDATE meta SET value = replace(value, '1', '2') WHERE key = 'audit_head'")

    (fault,) = house.log.faults()
    assert fault[0] == "changed"
    assert "table meta" in fault[1]


def test_a_line_of_the_outbox_that_the_vault_did_not_sign_is_a_fault(house: House) -> None:
    """What waits is checked as what is in the log."""
    house.write(1)
    house.write(1, flush=False)
    line = chain.write_line(
        Head(1, json.loads(house.lines()[0])["hash"]), signing.instant(START), "", None, bytes(range(1, 33))
    )
    with house.catalogue.transaction() as tx:
        tx.put("outbox", seq=2, line=line.decode())

    (fault,) = house.log.faults()
    assert fault[0] == "changed"
    assert "the signature is not that of key" in fault[1]


@pytest.mark.parametrize(
    "name", ["two lines exchanged", "a line doubled", "a full segment shortened", "a stranger", "a segment removed"]
)
def test_the_public_check_finds_what_is_out_of_order(house: House, name: str) -> None:
    """It knows no catalogue, and needs none for what is not at the end of the log."""
    damage, sentence = DAMAGES[name]
    house.write(10)
    damage(house)

    with pytest.raises(FaultError) as caught:
        chain.verify_chain(house.layout.audit, VAULT, house.public_key, SIZE)
    assert sentence in str(caught.value)


@pytest.mark.parametrize("name", [name for name in DAMAGES if "last" in name or "added" in name or "all" in name])
def test_a_log_with_a_false_end_takes_no_entry(house: House, name: str) -> None:
    """Nothing is entered, and nothing flushed, when log and catalogue do not end at the same entry."""
    house.write(10)
    DAMAGES[name][0](house)
    before = house.lines() if house.layout.audit.is_dir() else []

    with pytest.raises(FaultError), house.catalogue.transaction() as tx:
        house.again().enter(tx, "receive", None, {})
    with pytest.raises(FaultError):
        house.again().flush()
    assert pending(house) == 0
    assert (house.lines() if house.layout.audit.is_dir() else []) == before


def test_a_segment_that_can_not_be_read_is_named(house: House) -> None:
    """A read error is a fault with the name of the segment."""
    house.write(1)
    house.segments()[0].unlink()
    house.layout.segment(1).mkdir()

    with pytest.raises(FaultError, match=r"00000001\.log: it can't be read"):
        house.log.verify()


def test_a_catalogue_of_an_older_state_is_named(house: House, tmp_path: Path) -> None:
    """The whole catalogue put back agrees with itself, but the audit log is further: verify, enter and flush say so."""
    house.write(5)
    house.catalogue.truncate_wal()
    older = Path(shutil.copy(house.layout.catalogue, tmp_path / "older.db"))
    house.write(2)
    with closing(Catalogue.open(older, MAC_KEY, Disk())) as catalogue:
        log = AuditLog(
            house.layout, Disk(), catalogue, Keys(), Settings(), Policy(), house.clock, entries_per_segment=SIZE
        )
        faults = catalogue.check()
        sentences = []
        with pytest.raises(FaultError) as by_verify:
            log.verify()
        sentences.append(str(by_verify.value))
        with pytest.raises(FaultError) as by_flush:
            log.flush()
        sentences.append(str(by_flush.value))
        with pytest.raises(FaultError) as by_enter, catalogue.transaction() as tx:
            log.enter(tx, "receive", None, {})
        sentences.append(str(by_enter.value))

    assert faults == []
    assert all("the catalogue is older than the log (restored?)" in sentence for sentence in sentences)


def test_an_older_catalogue_with_a_full_outbox_is_named(house: House, tmp_path: Path) -> None:
    """A copy from between COMMIT and flush knows lines that the log has, and not the ones after them."""
    house.write(1)
    house.write(1, flush=False)
    house.catalogue.truncate_wal()
    older = Path(shutil.copy(house.layout.catalogue, tmp_path / "older.db"))
    house.log.flush()
    house.write(1)
    with closing(Catalogue.open(older, MAC_KEY, Disk())) as catalogue:
        log = AuditLog(
            house.layout, Disk(), catalogue, Keys(), Settings(), Policy(), house.clock, entries_per_segment=SIZE
        )
        with pytest.raises(FaultError, match="older than the log"):
            log.flush()
        with pytest.raises(FaultError, match="older than the log"):
            log.verify()


def test_two_histories_of_one_entry_do_not_mix(house: House) -> None:
    """A true entry on disk where the outbox holds another is a fault, not a crash to repair."""
    house.write(1)
    house.write(1, flush=False)
    other = chain.write_line(
        Head(1, json.loads(house.lines()[0])["hash"]), signing.instant(START), "", None, SIGNING_KEY
    )
    path = house.segments()[0]
    path.write_bytes(path.read_bytes() + other + b"\n")

    with pytest.raises(FaultError, match="entry 2 is another than the catalogue's"):
        house.again().flush()
    assert pending(house) == 1


STEPS = (
    "before append .log",
    "after append .log",
    "before write head",
    "before rename head",
    "after rename head",
    "before commit",
    "after commit",
)


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("at", [*STEPS, "half"])
@pytest.mark.parametrize("before", [0, 1, 3, 4])
def test_a_crash_in_flush_is_finished_by_the_next(house: House, at: str, before: int, count: int) -> None:
    """Wherever it falls, also at a segment's end: every entry is in the log once, and stays so."""
    house.write(before)
    house.write(count, flush=False)
    disk = FaultyDisk()
    disk.at, disk.half = at, at == "half"
    log = house.again(disk)
    log._catalogue = Catalogue.open(house.layout.catalogue, MAC_KEY, disk)
    with closing(log._catalogue), pytest.raises(Crash):
        log.flush()
    # Committed is committed: the log is whole even before anyone repairs it.
    assert house.again().verify() == before + count
    assert len(house.again().show(100)) == before + count
    house.again().flush()
    once = house.lines()
    house.again().flush()

    assert [json.loads(line)["seq"] for line in once] == list(range(1, before + count + 1))
    assert house.lines() == once
    assert pending(house) == 0
    assert house.again().verify() == before + count


def remembered(house: House) -> Head:
    """What the keys remember, opened as FORMAT.md says."""
    key = sealing.derive(AUDIT_KEY, "head")
    content = json.loads(sealing.unseal(key, house.layout.head.read_bytes(), f"head {VAULT}"))
    assert content == {"v": 1, "seq": content["seq"], "hash": content["hash"]}
    return Head(content["seq"], content["hash"])


def refusals(log: AuditLog, catalogue: Catalogue) -> dict[str, str]:
    """What each way to the log answers; those that go on are left out."""
    found: dict[str, str] = {}
    for name in ("verify", "flush", "require_in_step", "enter"):
        try:
            if name in ("verify", "flush"):
                getattr(log, name)()
                continue
            with catalogue.transaction() as tx:
                log.require_in_step(tx) if name == "require_in_step" else log.enter(tx, "receive", None, {})
        except FaultError as fault:
            assert fault.hint
            found[name] = str(fault)
    return found


ALL_WAYS = {"verify", "flush", "require_in_step", "enter"}


@dataclass(frozen=True, slots=True)
class Copy:
    """The vault directory at one moment."""

    house: House
    directory: Path

    @classmethod
    def of(cls, house: House, directory: Path) -> Copy:
        """Copies it."""
        house.catalogue.truncate_wal()
        return cls(house, Path(shutil.copytree(house.layout.vault, directory)))

    @contextmanager
    def opened(self) -> Iterator[tuple[AuditLog, Catalogue]]:
        """Its log and catalogue, with the keys of today."""
        layout = Layout(self.directory, self.house.layout.keys)
        with closing(Catalogue.open(layout.catalogue, MAC_KEY, Disk())) as catalogue:
            yield (
                AuditLog(
                    layout,
                    Disk(),
                    catalogue,
                    Keys(),
                    Settings(),
                    Policy(),
                    self.house.clock,
                    entries_per_segment=SIZE,
                ),
                catalogue,
            )


def test_the_keys_remember_the_last_entry(house: House) -> None:
    """Sealed, for their owner alone, moved by each flush that wrote something and by no other."""
    house.log.flush()
    before = house.layout.head.exists()
    house.write(2)
    blob = house.layout.head.read_bytes()
    mode = house.layout.head.stat().st_mode & 0o777
    house.log.flush()
    house.write(1, flush=False)

    assert not before
    assert remembered(house) == Head(2, json.loads(house.lines()[-1])["hash"])
    assert (house.layout.head.read_bytes(), mode) == (blob, 0o600)
    house.log.flush()
    assert remembered(house).seq == 3


def test_a_vault_put_back_as_a_whole_is_named(house: House, tmp_path: Path) -> None:
    """Catalogue and log of an older day agree with each other, and the keys remember more."""
    house.write(5)
    older = Copy.of(house, tmp_path / "older")
    house.write(2)
    with older.opened() as (log, catalogue):
        faults, found = log.faults(), refusals(log, catalogue)

    sentence = (
        "the vault is older than its keys' memory of the audit log: the keys remember entry 7, the catalogue ends at 5 "
        "(restored?)"
    )
    assert faults == [("rolled back", sentence)]
    assert found == dict.fromkeys(ALL_WAYS, sentence)
    assert refusals(house.again(), house.catalogue) == {}


def test_a_vault_put_back_with_a_full_outbox_flushes_nothing(house: House, tmp_path: Path) -> None:
    """What waited in the older outbox isn't brought to the older log."""
    house.write(3)
    house.write(1, flush=False)
    older = Copy.of(house, tmp_path / "older")
    house.log.flush()
    house.write(1)
    before = (older.directory / "audit" / "00000001.log").read_bytes()
    with older.opened() as (log, catalogue):
        found = refusals(log, catalogue)

    assert found.keys() == ALL_WAYS
    assert (older.directory / "audit" / "00000001.log").read_bytes() == before


@pytest.mark.parametrize("more", [0, 1])
def test_another_history_of_one_vault_is_named(house: House, tmp_path: Path, more: int) -> None:
    """With as many entries as the keys remember, or more of them, but not the ones that they remember."""
    house.write(5)
    older = Copy.of(house, tmp_path / "older")
    kept = house.layout.head.read_bytes()
    house.write(1)
    ours = house.layout.head.read_bytes()
    house.layout.head.write_bytes(kept)
    with older.opened() as (log, catalogue):
        for _ in range(1 + more):
            with catalogue.transaction() as tx:
                log.enter(tx, "receive", None, {"another": True})
            log.flush()
        house.layout.head.write_bytes(ours)
        (fault,) = log.faults()
        found = refusals(log, catalogue)

    assert fault == (
        "rolled back",
        "the vault is older than its keys' memory of the audit log: its entry 6 is another than the keys remember "
        "(restored?)",
    )
    # Whether an entry in the midst of the log is the remembered one, only a walk over the log tells.
    assert found.keys() == (ALL_WAYS if more == 0 else {"verify"})


@pytest.mark.parametrize("kept", [1, 4, 6])
def test_a_memory_that_lags_is_no_fault(house: House, kept: int) -> None:
    """An older copy of the key directory, or a process that ended before it could write: the log may be ahead."""
    house.write(kept)
    blob = house.layout.head.read_bytes()
    house.write(7 - kept)
    house.layout.head.write_bytes(blob)

    assert house.log.faults() == []
    assert refusals(house.again(), house.catalogue) == {}
    house.log.flush()
    assert remembered(house).seq == 8


def test_a_missing_memory_is_named_until_an_entry_makes_it_anew(house: House) -> None:
    """Verify says so; nothing stops for it, and a flush that brings nothing does not hide it."""
    house.write(2)
    house.layout.head.unlink()
    with house.catalogue.transaction() as tx:
        house.again().require_in_step(tx)
    house.again().flush()
    faults = house.log.faults()
    with pytest.raises(FaultError, match="`head` in the key directory, is missing"):
        house.log.verify()
    house.write(1)

    assert [kind for kind, _ in faults] == ["missing"]
    assert house.log.faults() == []
    assert remembered(house).seq == 3


def _with_another_key(house: House) -> None:
    house.layout.head.write_bytes(sealing.seal(bytes(32), b"{}", f"head {VAULT}"))


def _of_another_version(house: House) -> None:
    content = signing.canonical({"v": 2, "seq": 1, "hash": ""})
    house.layout.head.write_bytes(sealing.seal(sealing.derive(AUDIT_KEY, "head"), content, f"head {VAULT}"))


def _of_another_vault(house: House) -> None:
    content = signing.canonical({"v": 1, "seq": 1, "hash": ""})
    house.layout.head.write_bytes(sealing.seal(sealing.derive(AUDIT_KEY, "head"), content, "head another"))


def _as_a_directory(house: House) -> None:
    house.layout.head.unlink()
    house.layout.head.mkdir()


@pytest.mark.parametrize("damage", [_with_another_key, _of_another_version, _of_another_vault, _as_a_directory])
def test_a_changed_memory_stops_everything(house: House, damage: Callable[[House], object]) -> None:
    """Unlike a missing one it can only be damage or deceit, and is never written over unseen."""
    house.write(2)
    damage(house)
    faults, found = house.log.faults(), refusals(house.again(), house.catalogue)

    assert [kind for kind, _ in faults] == ["changed"]
    assert "memory of the audit log" in faults[0][1]
    assert found.keys() == ALL_WAYS


def test_every_bit_of_the_memory_is_covered(house: House) -> None:
    """A flipped bit is a fault, wherever it is."""
    house.write(1)
    blob = house.layout.head.read_bytes()
    for place in random.Random(22).sample(range(len(blob) * 8), 60):
        changed = bytearray(blob)
        changed[place // 8] ^= 1 << place % 8
        house.layout.head.write_bytes(changed)
        assert [kind for kind, _ in house.log.faults()] == ["changed"]


def test_a_memory_whose_temporary_file_was_swept_is_written_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that opens the keys removes what looks left over; the flush of another process gets over it."""
    real, swept = house.disk.step, [True]

    def step(name: str) -> None:
        real(name)
        if name == "before rename head" and swept and swept.pop():
            for path in house.layout.keys.glob(f"*{PART}*"):
                path.unlink()

    monkeypatch.setattr(house.disk, "step", step)
    house.write(1)

    assert remembered(house).seq == 1
    assert house.log.faults() == []


def test_a_memory_that_can_not_be_written_lets_nothing_leave(house: House) -> None:
    """The entry stays in the outbox until both places have it."""
    house.write(1)
    house.write(1, flush=False)
    house.disk.at, house.disk.problem = "before write head", OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(SpaceError, match="nothing leaves"):
        house.log.flush()
    waiting, house.disk.at = pending(house), ""
    house.log.flush()

    assert (waiting, pending(house)) == (1, 0)
    assert remembered(house).seq == 2
    assert house.log.verify() == 2


def test_the_key_store_takes_no_offence_at_the_memory(tmp_path: Path) -> None:
    """The file lies among the keys, and is neither a generation nor a problem nor swept."""
    layout = Layout(tmp_path / "vault", tmp_path / "keys")
    provider = LocalKeyFile.create(layout, Disk(), VAULT)
    store = KeyStore.create(layout, Disk(), provider, VAULT)
    layout.head.write_bytes(b"x")
    store.renew([], lambda generation: None)
    store = KeyStore.open(layout, Disk(), provider, VAULT, catalogue_generation=2, writer=True)

    assert store.problems() == []
    assert layout.head.read_bytes() == b"x"
    assert sorted(path.name for path in layout.keys.iterdir()) == ["epoch-2", "head", "ring-2", "root.key"]


@pytest.mark.parametrize("at", ["before write .log", "before rename .log", "after rename .log"])
def test_a_crash_in_the_repair_is_repaired(house: House, at: str) -> None:
    """The repair is a new file in place of the old one: there or not."""
    house.write(2)
    house.write(1, flush=False)
    path = house.segments()[0]
    path.write_bytes(path.read_bytes() + b"\0" * 100)
    disk = FaultyDisk()
    disk.at = at
    with pytest.raises(Crash):
        house.again(disk).flush()
    house.again().flush()

    assert house.again().verify() == 3
    assert pending(house) == 0


@pytest.mark.parametrize("garbage", [b"{", b"\0" * 700, b"\0" * 700 + b"\n", b"\xff\xfe\n"])
def test_a_torn_end_is_repaired_while_the_outbox_holds_the_line(house: House, garbage: bytes) -> None:
    """What a power cut left of a line gives way to the line; entries go on in between."""
    house.write(2)
    house.write(1, flush=False)
    path = house.segments()[0]
    path.write_bytes(path.read_bytes() + garbage)
    log = house.again()
    with house.catalogue.transaction() as tx:
        log.enter(tx, "receive", None, {})
    log.flush()

    assert log.verify() == 4
    assert len(log.show()) == 4


def test_an_empty_file_of_a_failed_flush_is_replaced(house: House) -> None:
    """A segment that was made and never written to is made anew, so that its name is durable too."""
    house.write(4)
    house.write(1, flush=False)
    house.layout.segment(2).touch()
    disk = FaultyDisk()
    house.again(disk).flush()

    assert "after rename .log" in disk.steps
    assert house.log.verify() == 5


@pytest.mark.parametrize(
    ("problem", "error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), SpaceError, "No space left"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), SpaceError, "quota"),
        (OSError(errno.EROFS, "Read-only file system"), VaultError, "Read-only"),
        (OSError("no number"), VaultError, "OSError"),
    ],
)
@pytest.mark.parametrize("half", [False, True])
def test_what_can_not_be_written_lets_nothing_leave(
    house: House, problem: OSError, error: type[VaultError], words: str, half: bool
) -> None:
    """Flush raises; the entry stays in the outbox and is written when there is room again."""
    house.write(1)
    house.write(1, flush=False)
    house.disk.problem, house.disk.half = problem, half
    house.disk.at = "" if half else "before append .log"

    with pytest.raises(error, match=words) as caught:
        house.log.flush()
    assert "nothing leaves" in str(caught.value)
    assert pending(house) == 1

    house.disk.at, house.disk.half = "", False
    house.log.flush()
    assert house.log.verify() == 2


def test_a_read_only_directory_lets_nothing_leave(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's refusal to open a segment is a sentence."""

    def refused(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("trafficvault.durable.os.open", refused)
    house.layout.audit.mkdir()
    house.write(1, flush=False)

    with pytest.raises(VaultError, match="Permission denied; nothing leaves"):
        house.log.flush()


def test_verify_waits_for_a_writer_to_pause(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry that comes while verify reads is no fault; one that always comes is a sentence."""
    house.write(1)
    real, rounds = chain.Inspection.walk, [1]

    def disturbed(inspection: chain.Inspection) -> None:
        if rounds.pop() > 0:
            house.write(1)
            rounds.append(rounds[-1] if rounds else 0)
        else:
            rounds.append(0)
        real(inspection)

    monkeypatch.setattr(chain.Inspection, "walk", disturbed)
    assert house.log.verify() == 2

    rounds[:] = [1] * 20
    with pytest.raises(VaultError, match="others keep writing"):
        house.log.verify()


def test_an_outbox_that_does_not_reach_the_head_is_found(house: House) -> None:
    """The head in the catalogue is that of its own last line."""
    house.write(1)
    house.write(1, flush=False)
    with house.catalogue.transaction() as tx:
        tx.set_meta("audit_head", json.dumps({"hash": "0" * 64, "seq": 3}))

    with pytest.raises(FaultError, match="outbox ends at entry 2, the catalogue's head is 3"):
        house.log.verify()
    with pytest.raises(FaultError, match="entry 3 is missing"):
        house.log.show()


def test_a_detail_opens_only_with_the_audit_key(house: House) -> None:
    """The chain can be checked by anybody; what was done can be read by who has the ring."""
    house.write(1)
    log = AuditLog(
        house.layout,
        Disk(),
        house.catalogue,
        Keys(bytes(32)),
        Settings(),
        Policy(),
        house.clock,
        entries_per_segment=SIZE,
    )

    assert chain.verify_chain(house.layout.audit, VAULT, log.public_key, SIZE).seq == 1
    with pytest.raises(FaultError, match="opening audit"):
        log.show()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"1",
        b"{}",
        b'{"body":1.5}',
        b"[" * 100_000,
        b'{"body":"\\ud800"}',
        b'{"body":"","clock":"right","hash":"","prev":"","seq":1,"sig":"","time":"","v":1}',
        b'{"body":"","hash":"","prev":"","seq":1,"sig":"","time":"","v":2}',
        b'{"body":"","hash":"","prev":"","seq":1,"sig":"","time":"","v":true}',
        b'{"body":"","hash":"","prev":"","seq":"1","sig":"","time":"","v":1}',
        b'{"body":"","hash":"","prev":"","seq":1,"sig":"","time":"","v":1}',
        b'{"body":"","hash":"","prev":"","seq":' + b"1" * 5000 + b',"sig":"","time":"","v":1}',
    ],
)
def test_what_is_no_entry_is_a_fault(content: bytes) -> None:
    """Whatever stands in a line, it is an entry or a `FaultError`."""
    with pytest.raises(FaultError, match="entry 1: changed"):
        chain.read_line(Line(1, content, "00000001.log"))


@given(st.binary(max_size=200))
def test_no_line_ends_in_a_traceback(content: bytes) -> None:
    """Any bytes at all are told apart from an entry."""
    with pytest.raises(FaultError):
        chain.read_line(Line(1, content, "00000001.log"))


def test_a_signature_in_capitals_is_a_change() -> None:
    """Hexadecimal has two ways to write a digit; the log has one."""
    line = json.loads(chain.write_line(chain.genesis(VAULT), signing.instant(START), "", None, SIGNING_KEY))
    line["sig"] = line["sig"].upper()

    with pytest.raises(FaultError, match="its signature is not written as one"):
        chain.follow(
            chain.genesis(VAULT), Line(1, signing.canonical(line), "00000001.log"), signing.public_key_of(SIGNING_KEY)
        )


def trusted(house: House) -> datetime | None:
    """The trusted time."""
    with house.catalogue.reading() as tx:
        return house.log.trusted_time(tx)


def test_trusted_time_goes_with_the_entries(house: House) -> None:
    """It begins with the first entry and moves with each, also after days of idleness within the step."""
    before = trusted(house), house.log.clock_problem(START)
    house.write(1)
    house.clock.advance(timedelta(days=7))
    problem = house.log.clock_problem(house.clock.now())
    house.write(1)

    assert before == (None, None)
    assert problem is None
    assert trusted(house) == START + timedelta(days=7)
    assert not any("clock" in entry for entry in house.log.show())


def test_entries_at_a_jumped_time_move_nothing(house: House) -> None:
    """A clock that jumped is told as such, by the question and by each entry; using it does not make it true."""
    house.write(1)
    house.clock.advance(timedelta(days=7, microseconds=1))
    for _ in range(3):
        house.write(1)
        house.clock.advance(timedelta(days=6))
    problem = house.log.clock_problem(house.clock.now())

    assert trusted(house) == START
    assert problem == (
        "the clock says 2026-12-15T12:00:00.000001Z, 25 days past the last trusted moment 2026-11-20T12:00:00.000000Z; "
        "`max_clock_step` allows 7 days"
    )
    assert [entry.get("clock") for entry in house.log.show()] == [None, "jumped", "jumped", "jumped"]
    assert house.log.verify() == 4


def test_a_clock_that_went_back_is_told(house: House) -> None:
    """A quarter of an hour is let pass and moves nothing; more is a problem, and stands in the entry."""
    house.write(1)
    house.clock.advance(-BACK)
    small = house.log.clock_problem(house.clock.now())
    house.write(1)
    house.clock.advance(timedelta(seconds=-1))
    problem = house.log.clock_problem(house.clock.now())
    house.write(1)

    assert small is None
    assert problem == (
        "the clock says 2026-11-20T11:44:59.000000Z, 0 h 15 min before the last trusted moment "
        "2026-11-20T12:00:00.000000Z: it went back"
    )
    assert trusted(house) == START
    assert [entry.get("clock") for entry in house.log.show()] == [None, None, "back"]
    assert house.log.verify() == 3


@pytest.mark.parametrize("step", [timedelta(days=400), timedelta(days=-2)])
def test_a_person_accepts_the_clock(house: House, step: timedelta) -> None:
    """Forwards or back: the entry says which clock was accepted, by whom, and from then on it is believed."""
    house.write(1)
    house.clock.advance(step)
    now = house.clock.now()
    with house.catalogue.transaction() as tx:
        house.log.accept_clock(tx, "Otto", now)
    house.log.flush()
    last = house.log.show(1)[0]

    assert (last["act"], last["person"], "clock" in last) == ("accept-clock", "Otto", False)
    assert last["detail"] == {"from": signing.instant(START), "to": signing.instant(now)}
    assert trusted(house) == now
    assert house.log.clock_problem(now) is None


def test_a_clock_can_be_accepted_before_the_first_entry(house: House) -> None:
    """Then there is no moment it comes from."""
    with house.catalogue.transaction() as tx:
        house.log.accept_clock(tx, "Otto", START)

    assert trusted(house) == START


@given(st.integers(-(10**13), 10**13))
def test_the_clock_is_judged_by_its_distance(microseconds: int) -> None:
    """Believed from fifteen minutes before to the largest step after trusted time, both included."""
    step = timedelta(microseconds=microseconds)
    verdict = judge_clock(START, START + step, timedelta(days=7))

    assert (verdict is None) == (-BACK <= step <= timedelta(days=7))
    assert verdict is None or verdict == ("jumped" if microseconds > 0 else "back")
