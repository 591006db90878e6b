"""Time stamps against a real authority, OpenSSL's, with a root made for the test."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.trafficvault.proof_house import Authority, authority, expired, openssl, with_settings
from trafficvault import attestation, certificates, checkpoints, timestamps
from trafficvault.catalogue import Row
from trafficvault.errors import FaultError, UsageError
from trafficvault.vault import Vault


@pytest.fixture(scope="module")
def tsa(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """One authority for all tests here."""
    return authority(tmp_path_factory.mktemp("tsa") / "one")


def stamped(vault: Vault, tsa: Authority) -> tuple[Vault, Row]:
    """The vault with a checkpoint that `tsa` stamped."""
    vault = with_settings(vault, f'timestamp_command = "{tsa.command}"')
    row = checkpoints.make(vault)
    assert timestamps.stamp(vault, row) is None
    with vault.catalogue.reading() as tx:
        return vault, tx.select("checkpoints")[-1]


def test_a_stamp_is_kept_and_holds_offline(stored: Vault, tsa: Authority, tmp_path: Path) -> None:
    """With the root alone: the moment is the authority's; OpenSSL itself says the same of our query and its answer."""
    before = datetime.now(UTC) - timedelta(seconds=2)
    vault, row = stamped(stored, tsa)
    answer = bytes.fromhex(row["stamp"])

    at = timestamps.stamped_at(answer, row["note"], tsa.root.read_bytes())
    assert before <= at <= datetime.now(UTC) + timedelta(seconds=2)
    (tmp_path / "note").write_text(row["note"])
    (tmp_path / "answer").write_bytes(answer)
    openssl(tmp_path, f"ts -verify -data note -in answer -CAfile {tsa.root}")
    assert timestamps.stamp(vault, row) is None
    assert timestamps.stamp(stored, {**row, "stamp": None}) is None


def test_an_export_carries_it(stored: Vault, tsa: Authority) -> None:
    """A certificate's export holds the stamp of its checkpoint; without one that is said."""
    late, issued = expired(stored)
    late, _ = stamped(late, tsa)
    stamp, note = attestation.stamp_of(certificates.export(late, issued[0]["id"]))
    assert timestamps.stamped_at(stamp, note, tsa.root.read_bytes()).tzinfo is not None
    contents: tuple[object, ...] = ({}, [], {"timestamp": "zz", "checkpoint": ""})
    for content in contents:
        with pytest.raises(UsageError, match="the file carries none"):
            attestation.stamp_of(content)


def test_what_is_no_stamp_of_it_is_refused(stored: Vault, tsa: Authority, tmp_path: Path) -> None:
    """Another note, another root, another bit, no answer at all."""
    _, row = stamped(stored, tsa)
    answer, root = bytes.fromhex(row["stamp"]), tsa.root.read_bytes()
    with pytest.raises(FaultError, match="Mismatch"):
        timestamps.stamped_at(answer, row["note"] + "\n", root)
    other = authority(tmp_path / "other")
    with pytest.raises(FaultError, match="checking the time stamp"):
        timestamps.stamped_at(answer, row["note"], other.root.read_bytes())
    with pytest.raises(FaultError, match="checking the time stamp"):
        timestamps.stamped_at(answer[:-1] + bytes([answer[-1] ^ 1]), row["note"], root)
    with pytest.raises(FaultError, match="not one in DER"):
        timestamps.stamped_at(b"no answer", row["note"], root)
    with pytest.raises(UsageError, match="no PEM certificate"):
        timestamps.stamped_at(answer, row["note"], b"no certificate")


def test_an_answer_to_another_query_is_not_kept(stored: Vault, tsa: Authority, tmp_path: Path) -> None:
    """A replayed answer, a refusal and a program that fails are told, and tried again with the next."""
    vault, row = stamped(stored, tsa)
    (tmp_path / "old").write_bytes(bytes.fromhex(row["stamp"]))
    (tmp_path / "refusal").write_bytes(bytes.fromhex("30053003020102"))
    bare = {**row, "stamp": None}
    for command, reason in (
        (f"cat {tmp_path}/old", "is not one to this query"),
        (f"cat {tmp_path}/refusal", "the authority refused, with status 2"),
        ("true", "not one in DER"),
        ("false", "exit code 1"),
        ("/no/such/program", "No such file"),
    ):
        vault = with_settings(vault, f'timestamp_command = "{command}"')
        told = timestamps.stamp(vault, bare)
        assert told is not None
        assert reason in told
