"""Verbs of the service: when one ended, and what has gone by it."""

from __future__ import annotations

import json

import pytest

from tests.trafficvault.cli.commandline import CommandLine

BINDING = {"class": "binding", "served": "a", "subscriber": "S-1", "start": "2026-11-10T08:00:00Z"}
AT = ("--at", "2026-11-12T00:00:00+01:00")


def test_the_end_of_a_service_takes_its_records(line: CommandLine) -> None:
    """Told by an operator, carried out by the next expiry, and listed without a name."""
    file = line.file("bindings", json.dumps(BINDING) + "\n")
    assert line("ingest", "native_ndjson", file).code == 0
    ending = line("service", "end", "--subscriber", "S-1", *AT, "--json", user="otto").object["ending_id"]
    before = line("service", "list", "--json", user="otto").object["endings"]
    assert [(row["ending_id"], row["state"]) for row in before] == [(ending, "open")]
    assert "rows" in line("expire").out
    after = line("service", "list", user="aukje")
    assert ending in after.out
    assert "done" in after.out
    assert "S-1" not in after.out
    again = line("service", "end", "--subscriber", "S-1", *AT, user="otto")
    assert again.out.startswith(f"recorded the end of a service as {ending}")


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
