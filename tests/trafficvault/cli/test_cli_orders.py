"""Verbs of the warrant: what each role may do, what is refused, and what a package's run tells."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support import SUBSCRIBER, Order
from tests.trafficvault import short_location
from tests.trafficvault.cli.commandline import CommandLine
from tests.trafficvault.prepared_vault import Prepared

NEW = Order(reference="PV-2026-000200", questions=("activity",), categories=("who", "when"))


def acts(line: CommandLine) -> list[str]:
    """The acts of the audit log, oldest first."""
    entries = line("audit", "show", "--json", user="aukje").object["entries"]
    return [str(entry["act"]) for entry in entries]


def test_a_warrant_is_checked_without_anybody(line: CommandLine) -> None:
    """`check` says what it covers and which files are missing, needs no person, and neither registers nor logs."""
    before = acts(line)
    done = line("warrant", "check", line.file("order.toml", NEW.toml()), "--json")

    told = " ".join(done.object["sentences"])
    assert done.code == 0
    assert "PV-2026-000200" in told
    assert "source mvno_pipe lacks file 2, between 2026-11-10 and 2026-11-12" in told
    assert SUBSCRIBER not in told
    assert line("warrant", "check", line.file("order.toml", NEW.toml())).out.split() == told.split()
    assert acts(line) == before


def test_a_warrants_life(line: CommandLine) -> None:
    """Registered by one, approved by another, run by the first: three ids, four lines in the log, one package."""
    added = line("warrant", "add", line.file("order.toml", NEW.toml()), "--json", user="olga")
    warrant = added.object["warrant_id"]
    again = line("warrant", "add", line.file("order.toml", NEW.toml()), user="olga")
    assert warrant in again.out
    approved = line("warrant", "approve", warrant, "--json", user="piet")
    assert approved.object == {"warrant_id": warrant, "state": "approved"}
    out = line.directory / "package"
    done = line("warrant", "run", warrant, "--out", out, "--json", user="olga")

    assert done.code == 0
    assert done.object["package"] == str(out)
    assert (done.object["question"], done.object["records"], done.object["complete"]) == ("activity", 5, False)
    assert {path.name for path in out.iterdir()} == {"records.csv", "records.json", "records.parquet", "manifest.json"}
    assert json.loads((out / "manifest.json").read_text())["warrant"]["id"] == warrant
    assert acts(line)[-4:] == ["warrant-register", "warrant-approve", "disclose-intent", "disclose"]


def test_approving_is_told_in_words(line: CommandLine) -> None:
    """Without `--json` it says what it approved."""
    file = line.file("order.toml", NEW.toml())
    warrant = line("warrant", "add", file, "--json", user="olga").object["warrant_id"]
    done = line("warrant", "approve", warrant, user="piet")
    assert (done.code, done.out) == (0, f"approved warrant {warrant}\n")


def test_an_incomplete_answer_is_no_failure(line: CommandLine, prepared: Prepared) -> None:
    """What is missing stands in the manifest; the run says so and exits 0."""
    out = line.directory / "package"
    done = line("warrant", "run", prepared.warrant, "--question", "contacts", "--out", out, user="olga")
    assert done.code == 0
    assert "NOT complete: its manifest names what is missing" in done.out


def test_an_expired_location_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run says that it has expired, and on how many days; one that asks for no location says nothing of it."""
    short_location.new(tmp_path).catalogue.close()
    line = CommandLine(tmp_path, monkeypatch, short_location.GONE)
    start, end, told = "2026-11-10T00:00:00Z", "2026-11-12T00:00:00Z", []
    for name, categories in (("PV-1", ("who", "when", "where")), ("PV-2", ("who", "when"))):
        order = Order(reference=name, categories=categories, start=start, end=end, questions=("activity",))
        added = line("warrant", "add", line.file("order.toml", order.toml()), "--json", user="olga").object
        line("warrant", "approve", added["warrant_id"], user="piet")
        run = "warrant", "run", added["warrant_id"]
        told.append(line(*run, "--out", tmp_path / name, "--json", user="olga").object["expired"])
        shown = line(*run, "--out", tmp_path / f"{name} again", user="olga").out
        assert ("where of mobile_usage has expired" in shown) is (name == "PV-1")
    assert told == [["where of mobile_usage has expired, of all records or of some, on 2 days"], []]


def test_an_empty_complete_answer_is_no_failure(line: CommandLine) -> None:
    """Nobody there, nothing missing: no record, complete, exit code 0."""
    line.now += timedelta(days=2)
    quiet = Order(
        targets=[("msisdn", "+31600000009")],
        start="2026-11-21T00:00:00Z",
        end="2026-11-22T00:00:00Z",
        classes=("telephony",),
        reference="PV-2026-000201",
    )
    file = line.file("order.toml", quiet.toml())
    warrant = line("warrant", "add", file, "--json", user="olga").object["warrant_id"]
    line("warrant", "approve", warrant, user="piet")
    done = line("warrant", "run", warrant, "--out", line.directory / "package", user="olga")
    assert done.code == 0
    assert done.out.startswith("0 records of question activity in ")
    assert done.out.endswith("; complete\n")


@pytest.mark.parametrize(
    ("user", "question", "said"),
    [
        ("olga", "cell", "the question cell is not in the warrant"),
        ("olga", "nosuch", "there is no question nosuch"),
        ("piet", "activity", "needs the role officer"),
        ("otto", "activity", "needs the role officer"),
    ],
)
def test_what_is_outside_the_warrant_or_role_is_refused(
    line: CommandLine, prepared: Prepared, user: str, question: str, said: str
) -> None:
    """Another question, an unknown one, another role: exit code 3, and no package."""
    out = line.directory / "package"
    done = line("warrant", "run", prepared.warrant, "--question", question, "--out", out, user=user)

    assert (done.code, done.out) == (3, "")
    assert said in done.err
    assert not out.exists()
    assert line("verify").code == 0


def test_a_refusal_of_scope_is_logged(line: CommandLine, prepared: Prepared) -> None:
    """The audit log has who asked what of which warrant, and never a question's name that isn't one."""
    for question in ("cell", "nosuch"):
        line("warrant", "run", prepared.warrant, "--question", question, "--out", line.directory / "p", user="olga")
    entries = line("audit", "show", "--last", "2", "--json", user="aukje").object["entries"]
    assert [entry["act"] for entry in entries] == ["disclose-refused"] * 2
    assert [entry["detail"]["question"] for entry in entries] == ["cell", "unknown"]
    assert {entry["person"] for entry in entries} == {"olga"}


def test_a_warrant_that_is_not_approved_is_not_run(line: CommandLine) -> None:
    """Registered is not enough: exit code 3."""
    file = line.file("order.toml", NEW.toml())
    warrant = line("warrant", "add", file, "--json", user="olga").object["warrant_id"]
    done = line("warrant", "run", warrant, "--out", line.directory / "package", user="olga")
    assert done.code == 3
    assert "the warrant is registered, not approved" in done.err


def test_one_person_does_not_do_both(line: CommandLine) -> None:
    """An officer who is approver too can't approve what they registered, nor run what they approved."""
    both = {"TRAFFICVAULT_NEW_PASSWORD": "correct horse battery staple"}
    assert line("user", "add", "bo", "--role", "officer", "--role", "approver", user="ada", environment=both).code == 0
    file = line.file("order.toml", NEW.toml())
    warrant = line("warrant", "add", file, "--json", user="bo").object["warrant_id"]
    own = line("warrant", "approve", warrant, user="bo")
    assert own.code == 3
    assert "a second person must approve it" in own.err

    other = line.file("other.toml", Order(reference="PV-2026-000203").toml())
    warrant = line("warrant", "add", other, "--json", user="olga").object["warrant_id"]
    assert line("warrant", "approve", warrant, user="bo").code == 0
    assert line("warrant", "approve", warrant, user="bo").code == 3
    done = line("warrant", "run", warrant, "--out", line.directory / "package", user="bo")
    assert done.code == 3
    assert "its approver never runs it" in done.err


def test_a_run_needs_a_question_and_a_new_directory(line: CommandLine, prepared: Prepared) -> None:
    """Of two questions one is named, and a directory that exists is left as it is: exit code 2."""
    done = line("warrant", "run", prepared.warrant, "--out", line.directory / "package", user="olga")
    assert done.code == 2
    assert "it has the questions activity, contacts; name one with --question" in done.err
    run = ("warrant", "run", prepared.warrant, "--question", "activity", "--out", line.directory)
    done = line(*run, user="olga")
    assert done.code == 2
    assert "name a new directory" in done.err


@pytest.mark.parametrize("verb", ["approve", "run", "show"])
def test_an_unknown_warrant_is_refused(line: CommandLine, verb: str) -> None:
    """An id that no warrant has is exit code 3 and says where to look."""
    options: tuple[Path | str, ...] = ("--out", line.directory / "p") if verb == "run" else ()
    done = line("warrant", verb, "0" * 24, *options, user="piet" if verb == "approve" else "olga")
    assert done.code == 3
    assert "there is none; `warrant list` shows them" in done.err


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [
        (b"\xff\xfe", 2, "order.toml: it is not UTF-8 text at byte 0"),
        (b"colour = 'red'\n", 2, "missing"),
        (NEW.toml().replace("produce", "standing").encode(), 3, "handles produce and preserve"),
    ],
)
def test_a_wrong_warrant_is_not_registered(line: CommandLine, content: bytes, code: int, said: str) -> None:
    """What is no warrant is exit code 2, what no rule allows 3, at the check as at the registration."""
    file = line.file("order.toml", content)
    for done in (line("warrant", "check", file), line("warrant", "add", file, user="olga")):
        assert done.code == code
        assert said in done.err
    assert len(line("warrant", "list", "--json", user="olga").object["warrants"]) == 1


def test_the_docket_is_read_by_officer_approver_and_auditor(line: CommandLine, prepared: Prepared) -> None:
    """They see its state and both persons; an operator and an administrator see nothing, and nobody sees it unnamed."""
    for user in ("olga", "piet", "aukje"):
        assert line("warrant", "list", "--json", user=user).object["warrants"] == [
            {
                "warrant_id": prepared.warrant,
                "reference": "PV-2026-000123",
                "kind": "produce",
                "state": "approved",
                "registered_by": "olga",
                "approved_by": "piet",
            }
        ]
    for user in ("otto", "ada"):
        for words in (("list",), ("show", prepared.warrant)):
            done = line("warrant", *words, user=user)
            assert (done.code, done.out) == (3, "")
    assert line("warrant", "list").code == 2
    table = line("warrant", "list", user="olga").out
    assert prepared.warrant in table


def test_a_warrant_is_shown_whole(line: CommandLine, prepared: Prepared) -> None:
    """Document, targets and digest, in JSON and in a table; one that isn't approved yet has no approver."""
    item = line("warrant", "show", prepared.warrant, "--json", user="aukje").object
    assert item["digest"].startswith(prepared.warrant)
    assert item["document"]["targets"][0]["value"] == f"+{SUBSCRIBER}"
    table = line("warrant", "show", prepared.warrant, user="aukje").out
    assert f"+{SUBSCRIBER}" in table
    file = line.file("order.toml", NEW.toml())
    warrant = line("warrant", "add", file, "--json", user="olga").object["warrant_id"]
    assert line("warrant", "show", warrant, "--json", user="olga").object["approved_by"] is None
    rows = line("warrant", "list", "--json", user="olga").object["warrants"]
    assert {row["warrant_id"]: row["approved_by"] for row in rows} == {prepared.warrant: "piet", warrant: None}
