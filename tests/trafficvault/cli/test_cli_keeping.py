"""Verbs that keep the vault honest: expire, verify, status, audit."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta

import pytest

from tests.support import NOW, Usage, usage
from tests.trafficvault.cli.commandline import CommandLine
from tests.trafficvault.prepared_vault import Prepared
from trafficvault import locks

DUE = datetime(2027, 5, 12, 12, 0, tzinfo=UTC)
"""When the records of 10 November have reached their six months, and those of 11 November have not."""


@pytest.fixture
def due(line: CommandLine) -> CommandLine:
    """The prepared vault on the day its first day is due, under a policy that believes a clock for a year."""
    policy = line.layout.policy
    policy.write_text(policy.read_text().replace('max_clock_step = "P7D"', 'max_clock_step = "P365D"'))
    line.now = DUE
    return line


def test_nothing_due_is_no_failure(line: CommandLine) -> None:
    """Neither plan nor run finds anything: no certificate, exit code 0."""
    plan = line("expire", "--dry-run", "--json").object["plan"]
    assert {item["action"] for item in plan} == {"keep"}
    assert line("expire").out == "due: none\n"
    assert line("expire", "--json").object == {"certificates": [], "leases_ended": True, "accepted_clock": None}


def test_the_plan_has_a_reason_each_and_changes_nothing(due: CommandLine) -> None:
    """Of three days one is due, each with its reason; after the dry run everything is as before."""
    plan = due("expire", "--dry-run", "--json").object["plan"]
    days = [item for item in plan if item["what"] == "records" and item["class"] == "mobile_usage"]

    assert [(item["day"], item["action"]) for item in days] == [
        ("2026-11-10", "expire"),
        ("2026-11-11", "keep"),
        ("2026-11-12", "keep"),
    ]
    assert all(item["reason"] and item["due"] for item in days)
    assert "2026-11-10" in due("expire", "--dry-run").out
    assert due("expire", "--dry-run", "--json").object["plan"] == plan
    assert due("status", "--json").object["due"] == 1


def test_what_is_due_is_destroyed_and_certified(due: CommandLine) -> None:
    """The day's files are gone, a certificate stands for it, `verify` is clean and a second run finds nothing."""
    done = due("expire", "--json")
    certificate = done.object["certificates"][0]

    assert done.code == 0
    assert (certificate["class"], certificate["day"], certificate["records"]) == ("mobile_usage", "2026-11-10", 2)
    assert not (due.layout.records / "mobile_usage" / "2026-11-10").exists()
    assert due("verify").code == 0
    assert due("expire", "--json").object["certificates"] == []
    state = due("status", "--json").object
    assert (state["tombstones"], state["partitions"], state["due"]) == (1, 2, 0)


def test_what_stood_in_the_way_is_told(due: CommandLine) -> None:
    """A reader that keeps its lease is waited for, not longer than the settings say, and the run tells it."""
    settings = due.layout.settings
    settings.write_text(settings.read_text().replace("lease_seconds = 60", "lease_seconds = 0"))
    with locks.reading(due.layout), sqlite3.connect(due.layout.catalogue) as reader:
        reader.execute("begin")
        reader.execute("select count(*) from sqlite_master").fetchone()
        done = due("expire")
        reader.rollback()
    reader.close()

    assert done.code == 0
    assert "2026-11-10" in done.out
    assert "a reader still held its lease when the keys were destroyed" in done.out
    assert "a reader keeps old rows of the catalogue in its write-ahead log" in done.out


def test_a_clock_is_accepted_by_an_operator_alone(line: CommandLine) -> None:
    """A jumped clock is exit code 6; accepting it takes a person (2) with the role (3), and then the run goes on."""
    line.now = NOW + timedelta(days=100)
    assert line("expire").code == 6
    assert line("expire", "--accept-clock").code == 2
    assert line("expire", "--accept-clock", user="olga").code == 3
    assert line("expire", "--accept-clock", user="otto", password="wrong password").code == 3
    assert line("expire").code == 6
    assert line("expire", "--accept-clock", user="otto").code == 0
    assert line("expire").code == 0


def test_the_status_is_written_for_prometheus(due: CommandLine) -> None:
    """`--textfile` writes what the screen shows; what is late stands on both."""
    path = due.directory / "vault.prom"
    shown = due("status", "--textfile", path)
    assert shown.code == 0
    assert "trafficvault_due_partitions 1\n" in path.read_text()
    assert "2026-11-10" in shown.out.partition("late")[2]
    (late,) = due("status", "--json").object["late"]
    assert (late["what"], late["day"], late["categories"][0]) == ("records", "2026-11-10", "who")
    assert late["lateness_seconds"] == due("status", "--json").object["max_lateness_seconds"] > 0
    assert due("status", "--textfile", due.layout.vault / "x").code == 2


def test_too_little_space_is_a_code_of_its_own(line: CommandLine) -> None:
    """Below `min_free` the check is 7; what is overdue besides comes first, as 5."""
    policy = line.layout.policy
    policy.write_text(policy.read_text().replace('min_free = "1GiB"', 'min_free = "4000000GiB"'))
    assert line("status", "--check").code == 7
    policy.write_text(policy.read_text().replace('max_clock_step = "P7D"', 'max_clock_step = "P999D"'))
    line.now = DUE + timedelta(days=3)
    assert line("status", "--check").code == 5


def test_a_clean_verify_is_remembered(line: CommandLine) -> None:
    """`status` tells when `verify` last found no fault; one that found some is not it."""
    assert line("status", "--json").object["last_verify"] is None
    assert line("verify").code == 0
    seen = line("status", "--json").object["last_verify"]
    assert seen.startswith("2026-11-20T10:00:00")
    line.now = NOW + timedelta(hours=1)
    next(line.layout.records.rglob("*.parquet")).unlink()
    assert line("verify").code == 5
    assert line("status", "--json").object["last_verify"] == seen


def test_a_clock_that_went_back_is_for_a_person(line: CommandLine) -> None:
    """Two days before the last entry nothing is expired, and `status --check` says why."""
    line.now = NOW - timedelta(days=2)
    assert line("expire").code == 6
    done = line("status", "--check")
    assert done.code == 6
    assert "it went back" in done.err


def test_verify_names_a_fault_and_exits_5(line: CommandLine) -> None:
    """A file that was changed is named on stdout, in both forms, and makes the exit code 5."""
    path = next(line.layout.records.rglob("*.parquet"))
    path.write_bytes(path.read_bytes()[:-1])
    told, shown = line("verify", "--json"), line("verify")

    assert told.code == shown.code == 5
    assert [fault["kind"] for fault in told.object["faults"]] == ["truncated"]
    assert told.object["faults"][0]["sentence"] in shown.out
    assert "verifying the vault: 1 faults; the first: " in told.err


def test_the_status_of_a_vault(line: CommandLine, prepared: Prepared) -> None:
    """What is there is counted by class; one administrator, a held batch and a gap want attention and are not wrong."""
    state = line("status", "--json").object

    assert (state["records"], state["partitions"], state["held_batches"], state["due"]) == (5, 3, 1, 0)
    assert [(row["class"], row["days"], row["records"], row["oldest_day"]) for row in state["classes"]] == [
        ("mobile_usage", 3, 5, "2026-11-10")
    ]
    told = " ".join(state["attention"])
    assert "there is one administrator" in told
    assert f"batch {prepared.held} is held" in told
    assert "source mvno_pipe lacks file 2" in told
    assert state["wrong"] == []
    assert line("status", "--check").code == 0
    assert "mobile_usage" in line("status").out


def test_a_silent_source_asks_for_attention(line: CommandLine) -> None:
    """A source with a cadence that has delivered nothing, or nothing since, is named; a refused file is no delivery."""
    line.layout.sources.write_text('[home]\nfeed = "mvno_pipe"\ncadence = "P1D"\n')
    assert "source home has been silent" in " ".join(line("status", "--json").object["attention"])
    file = line.file("x", "no pipe\nat all\n")
    assert line("ingest", "mvno_pipe", file, "--source", "home").code == 4
    assert "source home has been silent" in " ".join(line("status", "--json").object["attention"])
    file.write_text(usage([Usage(at="20261113120000")]))
    assert line("ingest", "mvno_pipe", file, "--source", "home").code == 0
    assert "silent" not in " ".join(line("status", "--json").object["attention"])
    line.now += timedelta(days=2)
    assert "source home has been silent" in " ".join(line("status", "--json").object["attention"])


def test_an_overdue_day_fails_the_check(due: CommandLine) -> None:
    """A day that still lives two days after its first record's term is wrong: exit code 5, until expire was run."""
    due.now = datetime(2027, 5, 11, 23, tzinfo=UTC)
    assert due("status", "--check").code == 0
    due.now += timedelta(days=2)
    done = due("status", "--check", "--json")

    assert done.code == 5
    assert "records mobile_usage 2026-11-10 was due" in done.object["wrong"][0]
    assert "still lives; run expire" in done.err
    assert due("expire").code == 0
    assert due("status", "--check").code == 0


def test_a_class_without_a_rule_fails_the_check_and_nothing_else(line: CommandLine) -> None:
    """When an entry was lost from the policy, its records are kept and counted, and `status --check` asks for one."""
    policy = line.layout.policy
    policy.write_text(policy.read_text().replace('"mobile_usage", ', "").replace('["mobile_usage"]', "[]"))
    done = line("status", "--check", "--json")

    assert done.code == 5
    assert done.object["classes"][0]["kept_until"] is None
    assert "class mobile_usage is stored and no entry of the policy covers it" in done.object["wrong"][0]
    assert line("status").code == 0
    assert line("expire").code == 0


def test_the_audit_log_is_for_auditors(line: CommandLine) -> None:
    """An auditor sees the last entries in order; another role is exit code 3, nobody 2, and less than one entry 2."""
    entries = line("audit", "show", "--last", "3", "--json", user="aukje").object["entries"]
    assert [entry["act"] for entry in entries] == ["receive", "warrant-register", "warrant-approve"]
    assert "warrant-approve" in line("audit", "show", user="aukje").out
    assert line("audit", "show", user="ada").code == 3
    assert line("audit", "show").code == 2
    assert line("audit", "show", "--last", "0", user="aukje").code == 2


def test_a_changed_audit_log_is_a_fault(line: CommandLine) -> None:
    """A log whose tail was cut is exit code 5, and nothing more is written to it."""
    agreed = line("audit", "verify", "--json").object
    assert agreed["faults"] == []
    assert f"{agreed['entries']} entries" in line("audit", "verify").out
    segment = max(line.layout.audit.iterdir())
    segment.write_bytes(b"".join(segment.read_bytes().splitlines(keepends=True)[:-1]))

    assert line("audit", "verify").code == 5
    assert line("verify").code == 5
    file = line.file("S4PGWM000004", usage([Usage(at="20261113120000")]))
    assert line("ingest", "mvno_pipe", file).code == 5
