"""The audit log, read: every change made to it is found, also beside a writer, and what was done opens with its key."""

from __future__ import annotations

import random

import pytest

from tests.trafficvault.log_house import SIZE, VAULT, House, Keys, Policy, Settings, verify_chain
from trafficvault import chain
from trafficvault.audit import AuditLog
from trafficvault.durable import Disk
from trafficvault.errors import FaultError, VaultError


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
            verify_chain(house.layout.audit, chain.nothing_dropped(VAULT), house.public_key, SIZE)
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

    assert verify_chain(house.layout.audit, chain.nothing_dropped(VAULT), log.public_key, SIZE).seq == 1
    with pytest.raises(FaultError, match="opening audit"):
        log.show()
