"""Verbs of a customer's rights: from the request to its answer, and what is refused at the door."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.support import SUBSCRIBER
from tests.trafficvault.cli.commandline import CommandLine

ADD = (
    *("rights", "add", "--identifier", f"msisdn=+{SUBSCRIBER}", "--since", "2026-06-01T00:00:00+02:00"),
    *("--person-checked", "account", "--at", "2026-01-05T10:00:00+01:00", "--received", "2026-01-05T10:00:00+01:00"),
    *("--until", "2026-11-30T00:00:00+01:00", "--json"),
)


def added(line: CommandLine, kind: str, *more: str) -> dict[str, Any]:
    """A request of that kind, as `--json` tells it."""
    found: dict[str, Any] = line(*ADD, "--kind", kind, *more, user="otto").object
    return found


def test_access_from_the_request_to_the_answer(line: CommandLine) -> None:
    """Registered, approved by another, answered by an officer, and listed without a number."""
    request = added(line, "access")["request_id"]
    assert line("rights", "approve", request, user="piet").out.startswith(f"approved request {request}")
    out = line.directory / "answer"
    done = line("rights", "answer", request, "--out", str(out), "--json", user="olga").object
    assert (done["state"], done["records"], done["package"]) == ("answered", 5, str(out))
    assert {"nl", "en"} == set(done["sentences"][0])
    assert (out / "manifest.json").exists()
    listed = line("rights", "list", user="aukje")
    assert request in listed.out
    assert listed.out.splitlines()[1].split()[:3] == ["request", "right", "state"]
    assert SUBSCRIBER not in listed.out
    (row,) = line("rights", "list", "--json", user="aukje").object["requests"]
    assert (row["right"], row["state"], row["closed_by"]) == ("access", "answered", "olga")
    shown = line("rights", "show", request, user="otto")
    assert f"+{SUBSCRIBER}" in shown.out
    assert len(set(re.findall(r"2026-\d\d-\d\d \d\d:\d\d \+0[12]:00", shown.out))) >= 4
    assert not re.search(r"\dT\d", shown.out), shown.out
    whole = line("rights", "show", request, "--json", user="otto")
    assert (whole.object["received"], whole.object["due"]) == (
        "2026-01-05T09:00:00.000000Z",
        "2026-02-05T09:00:00.000000Z",
    )
    assert not re.search(r"\d\+00:00", whole.out), whole.out
    assert line("rights", "show", request, "--json", user="otto").object["document"]["right"] == "access"


def test_a_rectification_is_read_from_a_file(line: CommandLine) -> None:
    """The statement never stands on the command line."""
    file = line.file("statement", "That call was not mine.")
    request = added(line, "rectify", "--statement", str(file), "--record", "mvno_pipe/abc/3")["request_id"]
    assert line("rights", "approve", request, "--json", user="piet").object["state"] == "approved"
    done = line("rights", "answer", request, user="olga")
    assert done.out.splitlines()[0] == f"rectify request {request}: answered"
    assert "later answer" in done.out


def test_a_refusal_an_extension_and_a_lifted_restriction(line: CommandLine) -> None:
    """Each prints what the person is told."""
    request = added(line, "erase")["request_id"]
    told = line("rights", "refuse", request, "--ground", "still-needed", user="piet")
    assert "art. 17 lid 1 onder a AVG" in told.out
    restricted = added(line, "restrict")["request_id"]
    line("rights", "approve", restricted, user="piet")
    assert line("rights", "answer", restricted, "--json", user="olga").object["records"] is None
    assert line("rights", "lift", restricted, user="piet").out == f"lifted the restriction of request {restricted}\n"
    other = added(line, "restrict", "--identifier", "line=L-9")["request_id"]
    line("rights", "approve", other, user="piet")
    line("rights", "answer", other, user="olga")
    assert line("rights", "lift", other, "--json", user="piet").object == {"request_id": other, "state": "lifted"}


def test_an_erasure_takes_the_writers_lock(line: CommandLine) -> None:
    """It is refused on its ground where every class is kept."""
    request = added(line, "erase")["request_id"]
    line("rights", "approve", request, user="piet")
    done = line("rights", "answer", request, "--json", user="olga").object
    assert (done["state"], done["records"], done["certificates"]) == ("refused", 0, [])


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [
        ("--identifier", "0612345678", "it must be TYPE=VALUE"),
        ("--record", "batch-3", "it must be SOURCE/BATCH/ROW"),
        ("--at", "yesterday", "with its offset"),
        ("--since", "2026-06-01T00:00:00", "with its offset"),
    ],
)
def test_what_is_written_wrongly_is_a_usage_error(line: CommandLine, option: str, value: str, reason: str) -> None:
    """With what was expected, and without the value."""
    done = line(*ADD, "--kind", "access", option, value, user="otto")
    assert done.code == 2
    assert reason in done.err
    assert "0612345678" not in done.err


def test_who_may_not_read_is_refused(line: CommandLine) -> None:
    """An administrator manages people, and reads no request."""
    request = added(line, "access")["request_id"]
    assert line("rights", "list", user="ada").code == 3
    assert line("rights", "show", request, user="ada").code == 3
    overdue = line("rights", "extend", request, "--reason", "many", user="otto")
    assert overdue.code == 3
    assert "the person had to be told before" in overdue.err
