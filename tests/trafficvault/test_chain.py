"""The form of the log on disk is checked with the public key alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trafficvault.log_damages import DAMAGES
from tests.trafficvault.log_house import SIGNING_KEY, SIZE, START, VAULT, House, verify_chain
from trafficvault import chain, signing
from trafficvault.chain import Head, Line
from trafficvault.errors import FaultError


def test_a_segment_holds_ten_thousand_entries() -> None:
    """Entry 10,000 closes the first segment, entry 10,001 opens the second."""
    assert [chain.segment_of(seq) for seq in (1, 10_000, 10_001, 20_000)] == [1, 1, 2, 2]


def test_the_chain_is_checked_with_the_public_key_alone(house: House) -> None:
    """No secret and no catalogue is needed; another vault's id or key does not fit."""
    house.write(6)
    head = verify_chain(house.layout.audit, chain.nothing_dropped(VAULT), house.public_key, SIZE)

    assert head == Head(6, json.loads(house.lines()[-1])["hash"])
    with pytest.raises(FaultError, match="does not follow entry 0"):
        verify_chain(house.layout.audit, chain.nothing_dropped("another"), house.public_key, SIZE)
    with pytest.raises(FaultError, match="signature"):
        verify_chain(house.layout.audit, chain.nothing_dropped(VAULT), signing.public_key_of(bytes(32)), SIZE)


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


@pytest.mark.parametrize(
    "name", ["two lines exchanged", "a line doubled", "a full segment shortened", "a stranger", "a segment removed"]
)
def test_the_public_check_finds_what_is_out_of_order(house: House, name: str) -> None:
    """It knows no catalogue, and needs none for what is not at the end of the log."""
    damage, sentence = DAMAGES[name]
    house.write(10)
    damage(house)

    with pytest.raises(FaultError) as caught:
        verify_chain(house.layout.audit, chain.nothing_dropped(VAULT), house.public_key, SIZE)
    assert sentence in str(caught.value)


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
        b'{"body":"","hash":"","prev":"","seq":1,"sig":"","time":"","v":3}',
        b'{"body":"","hash":"","prev":"","seq":1,"sig":"","time":"","v":true}',
        b'{"body":"","hash":"","prev":"","seq":1,"sig":"","statements":[],"time":"","v":2}',
        b'{"body":"","hash":"","prev":"","seq":1,"sig":"","statements":["no digest"],"time":"","v":2}',
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


@pytest.mark.parametrize("length", [10, 9_000, 70_000])
def test_the_end_of_a_log_is_seen_from_its_last_bytes(tmp_path: Path, length: int) -> None:
    """Of short lines and of long ones; a line that is longer than what is looked at can't be told."""
    heads, lines = [chain.genesis("a vault")], []
    for body in ("x" * 50, "y" * length, "z" * length):
        lines.append(chain.write_line(heads[-1], "2026-11-20T09:00:00.000000Z", body, None, SIGNING_KEY))
        heads.append(Head(heads[-1].seq + 1, json.loads(lines[-1])["hash"]))
    path = tmp_path / "00000001.log"
    path.write_bytes(b"".join(line + b"\n" for line in lines))

    assert chain.ends_with(tmp_path, heads[-1]) is (length < 65_536)
    assert not chain.ends_with(tmp_path, heads[-2])
    path.write_bytes(path.read_bytes()[:-1])
    assert not chain.ends_with(tmp_path, heads[-1])
