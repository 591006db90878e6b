"""Verbs of the hold: whoever may read the docket sees holds, an officer proposes, an approver carries out."""

from __future__ import annotations

from datetime import timedelta

from tests.support import Order
from tests.trafficvault.cli.commandline import CommandLine

HOLD = Order(reference="PV-2026-000300", hold_for="P90D", legal_basis="126ni Sv")


def held(line: CommandLine) -> str:
    """The id of an approved order to preserve."""
    file = line.file("order.toml", HOLD.toml())
    warrant = str(line("warrant", "add", file, "--json", user="olga").object["warrant_id"])
    line("warrant", "approve", warrant, user="piet")
    return warrant


def test_who_may_read_the_docket_sees_holds(line: CommandLine) -> None:
    """Officer, approver and auditor, with what is kept so far; an operator and an administrator do not."""
    hold = held(line)
    for user in ("olga", "piet", "aukje"):
        rows = line("hold", "list", "--json", user=user).object["holds"]
        mine = {row["hold_id"]: row for row in rows}[hold]
        assert (mine["reference"], mine["state"], mine["records"]) == ("PV-2026-000300", "active", 0)
    assert hold in line("hold", "list", user="olga").out
    for user in ("otto", "ada"):
        assert line("hold", "list", user=user).code == 3


def test_two_persons_extend_a_hold(line: CommandLine) -> None:
    """The officer is told what to do next, the approver what was done."""
    hold = held(line)
    made = line("hold", "extend", hold, "--until", "2027-04-01T00:00Z", "--json", user="olga").object
    assert made["state"] == "open"
    done = line("proposal", "approve", made["proposal_id"], user="piet")
    assert (done.code, done.out) == (0, f"hold {hold} binds until 2027-04-01 02:00 +02:00\n")


def test_two_persons_release_a_hold(line: CommandLine) -> None:
    """After it nothing binds; an expiry destroys the key."""
    hold = held(line)
    told = line("hold", "release", hold, user="olga").out
    proposal = told.split()[2].rstrip(";")
    done = line("proposal", "approve", proposal, "--json", user="piet").object
    assert done["told"] == [f"hold {hold} is released; an expire destroys its key within a day or so"]
    assert done["state"] == "done"
    assert line("expire").code == 0


def test_a_warrant_is_refused(line: CommandLine) -> None:
    """By an approver, with a reason that the log keeps."""
    file = line.file("order.toml", HOLD.toml())
    warrant = line("warrant", "add", file, "--json", user="olga").object["warrant_id"]
    done = line("warrant", "refuse", warrant, "--reason", "not legible", user="piet")
    assert (done.code, done.out) == (0, f"refused warrant {warrant}\n")
    again = line("warrant", "refuse", warrant, "--reason", "again", "--json", user="piet")
    assert (again.code, "it is refused" in again.err) == (3, True)


def test_a_refusal_tells_a_program(line: CommandLine) -> None:
    """With `--json` it is one object."""
    file = line.file("order.toml", HOLD.toml())
    warrant = line("warrant", "add", file, "--json", user="olga").object["warrant_id"]
    done = line("warrant", "refuse", warrant, "--reason", "not legible", "--json", user="piet")
    assert done.object == {"warrant_id": warrant, "state": "refused"}


def test_a_hold_that_is_over_is_shown_as_that(line: CommandLine) -> None:
    """Also while nothing was kept for it, so that no expiry had anything to end."""
    hold = held(line)
    line.now += timedelta(days=91)
    rows = line("hold", "list", "--json", user="aukje").object["holds"]
    assert {row["hold_id"]: row["state"] for row in rows}[hold] == "ended"
