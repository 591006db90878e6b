"""Each damage to the log is named as what it is, and where."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing

import pytest

from tests.trafficvault.log_damages import DAMAGES
from tests.trafficvault.log_house import SIGNING_KEY, START, House, Keys, Policy, Settings
from trafficvault import chain, signing
from trafficvault.audit import AuditLog
from trafficvault.chain import Head
from trafficvault.durable import Disk
from trafficvault.errors import FaultError


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
    DAMAGES["a line removed"][0](house)
    _sign_by_another(house)
    DAMAGES["the last line removed"][0](house)
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
    DAMAGES["two lines exchanged"][0](house)
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


def test_a_segment_that_can_not_be_read_is_named(house: House) -> None:
    """A read error is a fault with the name of the segment."""
    house.write(1)
    house.segments()[0].unlink()
    house.layout.segment(1).mkdir()

    with pytest.raises(FaultError, match=r"00000001\.log: it can't be read"):
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
