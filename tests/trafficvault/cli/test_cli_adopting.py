"""Verbs of the policy's versions: policy plan, policy adopt, policy versions."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.support import NOW
from tests.trafficvault.cli.commandline import CommandLine


@pytest.fixture
def shorter(line: CommandLine) -> CommandLine:
    """The prepared vault after somebody wrote shorter terms into policy.toml."""
    policy = line.layout.policy
    policy.write_text(policy.read_text().replace('"P6M"', '"P5D"'))
    return line


def test_a_shorter_term_takes_two_persons(shorter: CommandLine) -> None:
    """Shown, proposed by an administrator, approved by another, and only then in force."""
    plan = shorter("policy", "plan", "--json").object
    assert "mobile_usage would be kept 5 days instead of 6 months" in plan["shortens"]
    assert {(item["class"], item["day"]) for item in plan["due"]} == {
        ("mobile_usage", "2026-11-10"), ("mobile_usage", "2026-11-11"), ("mobile_usage", "2026-11-12"),
    }  # fmt: skip
    assert "mobile_usage would be kept 5 days instead of 6 months" in shorter("policy", "plan").out
    assert "policy.toml differs" in shorter("status").out
    assert shorter("expire").out == "due: none\n"
    assert shorter("policy", "adopt").code == 2
    assert shorter("policy", "adopt", user="otto").code == 3
    made = shorter("policy", "adopt", "--json", user="ada")
    assert made.code == 0
    again = shorter("policy", "adopt", user="ada")
    assert made.object["proposal_id"] in again.out
    assert shorter("proposal", "approve", made.object["proposal_id"], user="ada").code == 3
    told = shorter("proposal", "approve", made.object["proposal_id"], user="aukje")
    assert (told.code, "version 2 of the policy rules" in told.out) == (0, True)
    assert "policy.toml differs" not in shorter("status").out
    assert len(shorter("expire", "--json").object["certificates"]) == 3
    assert shorter("policy", "adopt", user="ada").code == 3


def test_every_version_is_listed(line: CommandLine) -> None:
    """From when each rules, by whom, and which one is in force."""
    (first,) = line("policy", "versions", "--json").object["versions"]
    assert (first["version"], first["persons"], first["in_force"]) == (1, [], True)
    policy = line.layout.policy
    policy.write_text(policy.read_text().replace('"P6M"', '"P7M"'))
    line.now = NOW + timedelta(hours=1)
    assert line("expire").code == 0
    rows = line("policy", "versions", "--json").object["versions"]
    assert [(row["version"], row["in_force"]) for row in rows] == [(1, False), (2, True)]
    assert rows[1]["digest"] in line("policy", "versions").out
