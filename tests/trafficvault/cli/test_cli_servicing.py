"""Verbs of the service: when one ended, and what has gone by it."""

from __future__ import annotations

import json

import pytest

from tests.trafficvault.cli.commandline import CommandLine

BINDING = {"class": "binding", "served": "a", "subscriber": "S-1", "start": "2026-11-10T08:00:00Z"}
AT = ("--at", "2026-11-12T00:00:00+01:00")


def test_the_end_of_a_service_takes_its_records(line: CommandLine) -> None:
    """Told by an operator, approved by another person, carried out by the next expiry, and listed without a name."""
    file = line.file("bindings", json.dumps(BINDING) + "\n")
    assert line("ingest", "native_ndjson", file).code == 0
    made = line("service", "end", "--subscriber", "S-1", *AT, "--json", user="otto").object["proposal_id"]
    assert line("service", "list", "--json", user="otto").object["endings"] == []
    assert line("proposal", "approve", made, user="otto").code == 3
    approved = line("proposal", "approve", made, user="ada")
    assert approved.code == 0, approved.err
    (before,) = line("service", "list", "--json", user="otto").object["endings"]
    assert (before["state"], before["waits_until"]) == ("open", None)
    ending = before["ending_id"]
    assert approved.out.startswith(f"recorded the end of a service as {ending}")
    assert "rows" in line("expire").out
    after = line("service", "list", user="aukje")
    assert ending in after.out
    assert "done" in after.out
    assert "S-1" not in after.out
    again = line("service", "end", "--subscriber", "S-1", *AT, user="otto")
    assert again.out.startswith("proposed service-end ")


@pytest.mark.parametrize("at", ["yesterday", "2026-11-12T00:00:00", ""])
def test_a_moment_needs_its_offset(line: CommandLine, at: str) -> None:
    """A local time without one may be of another day."""
    done = line("service", "end", "--subscriber", "S-1", "--at", at, user="otto")
    assert done.code == 2
    assert "with its offset" in done.err


def test_an_officer_neither_tells_nor_lists(line: CommandLine) -> None:
    """Ends of services are the operator's."""
    assert line("service", "end", "--subscriber", "S-1", *AT, user="olga").code == 3
    assert line("service", "list", user="olga").code == 3


def test_a_file_tells_many(line: CommandLine) -> None:
    """The counts, and of each bad line its number and why; never what stands in it."""
    good = {"subscriber": "S-1", "at": AT[1]}
    file = line.file("ends", json.dumps(good) + "\n" + json.dumps({"msisdn": "+31612345678", "at": AT[1]}) + "\n")
    done = line("service", "end", "--file", file, "--json", user="otto")
    assert (done.code, done.object["read"], done.object["recorded"], done.object["rejected"]) == (0, 2, 1, 1)
    assert [row["line"] for row in done.object["rejections"]] == [2]
    again = line("service", "end", "--file", file, user="otto")
    assert "line 2:" in again.out
    assert "31612345678" not in again.out
    (row,) = line("service", "list", "--json", user="otto").object["endings"]
    assert row["waits_until"] > row["ended_at"]
    assert line("service", "withdraw", row["ending_id"], user="olga").code == 3
    assert line("service", "withdraw", row["ending_id"], "--json", user="otto").object["state"] == "withdrawn"
    assert line("service", "withdraw", row["ending_id"], user="otto").code == 3
    assert line("service", "end", "--file", file, user="otto").code == 0
    assert "nothing goes by it" in line("service", "withdraw", row["ending_id"], user="otto").out
    assert line("service", "end", "--file", file, *AT, user="otto").code == 2
    assert line("service", "end", "--subscriber", "S-1", user="otto").code == 2
