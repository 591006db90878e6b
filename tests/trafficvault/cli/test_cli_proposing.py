"""Verbs of the proposal: who sees one, what they see, and taking one back."""

from __future__ import annotations

from tests.support import signed_in
from tests.trafficvault.cli.commandline import CommandLine
from trafficvault import app, proposals
from trafficvault.clock import SetClock
from trafficvault.durable import Disk

BODY = {"subject": "+31612345678"}


def proposed(line: CommandLine) -> str:
    """The id of a proposal that an officer made."""
    vault = app.open_vault(line.layout, Disk(), SetClock(line.now), writer=True)
    made = proposals.propose(vault, signed_in(vault, "olga"), "hold-extend", BODY)
    vault.catalogue.close()
    return made.proposal_id


def test_who_may_decide_sees_it(line: CommandLine) -> None:
    """Who may make or approve one of its kind, and an auditor, see it in the list; others an empty one."""
    proposal = proposed(line)
    for user in ("olga", "piet", "aukje"):
        rows = line("proposal", "list", "--json", user=user).object["proposals"]
        assert [(row["proposal_id"], row["state"], row["approved_by"]) for row in rows] == [(proposal, "open", None)]
    assert line("proposal", "list", "--json", user="otto").object == {"proposals": []}
    assert proposal in line("proposal", "list", user="piet").out


def test_its_body_is_shown_to_them_alone(line: CommandLine) -> None:
    """`show` tells what it would do; who may not decide about it is refused."""
    proposal = proposed(line)
    assert line("proposal", "show", proposal, "--json", user="piet").object["body"] == BODY
    assert BODY["subject"] in line("proposal", "show", proposal, user="piet").out
    refused = line("proposal", "show", proposal, user="otto")
    assert (refused.code, BODY["subject"] in refused.out + refused.err) == (3, False)


def test_it_is_taken_back(line: CommandLine) -> None:
    """Whoever made it drops it; then nobody approves it."""
    proposal = proposed(line)
    assert line("proposal", "drop", proposal, user="olga").out == f"dropped proposal {proposal}\n"
    again = line("proposal", "drop", proposal, "--json", user="olga")
    assert (again.code, "it is dropped" in again.err) == (3, True)
    assert line("proposal", "approve", proposal, user="piet").code == 3


def test_taking_back_tells_a_program(line: CommandLine) -> None:
    """With `--json` it is one object."""
    proposal = proposed(line)
    done = line("proposal", "drop", proposal, "--json", user="olga")
    assert done.object == {"proposal_id": proposal, "state": "dropped"}
