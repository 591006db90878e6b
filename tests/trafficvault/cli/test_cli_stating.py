"""Verbs of the statement: statement, statement verify."""

from __future__ import annotations

import json
import tomllib
from datetime import UTC, datetime

import pytest

from tests.trafficvault.cli.commandline import CommandLine

DUE = datetime(2027, 5, 14, 12, 0, tzinfo=UTC)
"""When the records of 10 November have been due for more than two days."""


@pytest.fixture
def late(line: CommandLine) -> CommandLine:
    """The prepared vault when nobody expired anything for too long."""
    policy = line.layout.policy
    policy.write_text(policy.read_text().replace('max_clock_step = "P7D"', 'max_clock_step = "P365D"'))
    line.now = DUE
    return line


def test_what_is_true_is_printed_and_written(line: CommandLine) -> None:
    """A row per row of the policy, TRUE each; the file is the object that `--json` prints."""
    out = line.directory / "statement.json"
    told = line("statement", "--out", out)
    assert told.code == 0
    assert "TRUE" in told.out
    assert "NOT TRUE TODAY" not in told.out
    assert line("statement", "--json").object == json.loads(out.read_text())
    assert [row["id"] for row in json.loads(out.read_text())["rows"]][:2] == ["telephony", "voip"]


def test_what_is_not_true_is_a_fault_until_it_was_expired(late: CommandLine) -> None:
    """Exit code 5, with the reason of the row, and the statement is given all the same."""
    told = late("statement")
    assert told.code == 5
    assert "NOT TRUE TODAY" in told.out
    assert "mobile: records mobile_usage 2026-11-10 was due 2027-05-11" in told.out
    done = late("statement", "--json")
    assert (done.code, done.object["true"]) == (5, False)
    assert late("expire").code == 0
    assert late("statement").code == 0


def test_a_statement_is_checked_without_a_vault(late: CommandLine) -> None:
    """The public key is enough; a changed word is 5, and what is no statement is 2."""
    out = late.directory / "statement.json"
    assert late("statement", "--out", out).code == 5
    key = tomllib.loads(late.layout.settings.read_text())["public_key"]
    elsewhere = ("--vault", late.directory / "nowhere", "statement", "verify")
    told = late.bare(*elsewhere, out, "--public-key", key)
    assert (told.code, "NOT TRUE TODAY" in told.out) == (0, True)
    assert late.bare(*elsewhere, out, "--public-key", key, "--json").object["authentic"] is True
    changed = late.file("changed.json", out.read_text().replace("NOT TRUE TODAY", "TRUE"))
    assert late.bare(*elsewhere, changed, "--public-key", key).code == 5
    assert late.bare(*elsewhere, out, "--public-key", "0" * 64).code == 5
    assert late.bare(*elsewhere, late.directory / "missing.json", "--public-key", key).code == 2
    assert late.bare(*elsewhere, late.file("other.json", "{}"), "--public-key", key).code == 2


def test_a_place_that_can_t_be_written_is_told(line: CommandLine) -> None:
    """Nothing is printed then: exit code 2."""
    assert line("statement", "--out", line.directory / "nowhere" / "statement.json").code == 2
