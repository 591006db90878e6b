"""Verbs that set a vault up: init, policy, config, doctor, user, demo."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support import NOW, PASSWORD, signed_in
from tests.trafficvault.cli.commandline import CommandLine
from trafficvault import app, people
from trafficvault.clock import SetClock
from trafficvault.durable import Disk

OTHER_PASSWORD = "een ander geheim woord"


def test_init_makes_a_vault_that_is_in_order(nowhere: CommandLine) -> None:
    """With a password from the environment it asks nothing; the vault verifies, and a second `init` is refused."""
    secret = {"TRAFFICVAULT_NEW_PASSWORD": PASSWORD}
    done = nowhere("init", "--admin", "ada", "--json", environment=secret)

    assert (done.code, done.err) == (0, "")
    assert done.object["vault"] == str(nowhere.layout.vault)
    assert done.object["keys"] == str(nowhere.layout.keys)
    assert done.object["admins"] == ["ada"]
    assert nowhere("verify").code == nowhere("config", "check").code == 0
    again = nowhere("init", "--admin", "ada", environment=secret)
    assert again.code == 3
    assert "is no empty directory" in again.err


def test_init_asks_for_every_administrators_password_twice(nowhere: CommandLine) -> None:
    """Each of two administrators types a password twice; a slip is asked again; nothing typed is on the screen."""
    typed = [PASSWORD, "typed wrong", PASSWORD, PASSWORD, OTHER_PASSWORD, OTHER_PASSWORD]
    done = nowhere("init", "--policy", "hosting", "--admin", "ada", "--admin", "bea", typed="\n".join(typed) + "\n")

    assert done.code == 0
    assert "keep the two apart" in done.out
    assert done.err.count("new password of ada") == 2
    assert done.err.count("new password of bea") == 1
    assert PASSWORD not in done.out + done.err
    users = nowhere("user", "list", "--json").object["users"]
    assert [user["name"] for user in users] == ["ada", "bea"]
    assert nowhere("policy", "show", "--json").object["entries"][1]["classes"] == ["server_use"]


def test_one_password_of_the_environment_serves_one_administrator(nowhere: CommandLine) -> None:
    """Two administrators with one password would be one person: exit code 2, and nothing is made."""
    words = ("init", "--admin", "ada", "--admin", "bea")
    done = nowhere(*words, environment={"TRAFFICVAULT_NEW_PASSWORD": PASSWORD})
    assert done.code == 2
    assert not nowhere.layout.vault.exists()


@pytest.mark.parametrize(("policy", "said"), [("nosuch", "No such file"), ("wrong.toml", "colour"), ("bytes", "UTF-8")])
def test_init_with_a_wrong_policy_makes_nothing(nowhere: CommandLine, policy: str, said: str) -> None:
    """A policy that is neither preset nor file, has an unknown key, or is no text: exit code 2, and no directory."""
    nowhere.file("wrong.toml", 'zone = "Europe/Amsterdam"\nregion = "NL"\ncolour = "red"\n')
    nowhere.file("bytes", b"zone = \xff\n")
    words = ("init", "--admin", "ada", "--policy", nowhere.directory / policy)
    done = nowhere(*words, environment={"TRAFFICVAULT_NEW_PASSWORD": PASSWORD})

    assert done.code == 2
    assert said in done.err
    assert not nowhere.layout.vault.exists()


def test_an_unanswered_prompt_is_usage(line: CommandLine, nowhere: CommandLine) -> None:
    """Where nobody types a password, exit code 2 names the variable that would have done."""
    asked = line("audit", "show", user="aukje", password="")
    assert asked.code == 2
    assert "hint: without a terminal, set TRAFFICVAULT_PASSWORD\n" in asked.err
    shutil.rmtree(nowhere.layout.vault)
    shutil.rmtree(nowhere.layout.keys)
    new = nowhere("init", "--admin", "ada")
    assert new.code == 2
    assert "set TRAFFICVAULT_NEW_PASSWORD" in new.err


def test_the_policy_is_printed_in_every_form(line: CommandLine) -> None:
    """Table, Dutch and English markdown, and JSON tell the same entries; another format is exit code 2."""
    entries = line("policy", "show", "--json").object["entries"]
    table = line("policy", "show").out
    markdown = line("policy", "show", "--format", "markdown")
    ids = [entry["id"] for entry in entries]

    assert {"telephony", "voip", "mobile"} <= set(ids)
    assert all(name in table for name in ids)
    assert markdown.code == 0
    assert "Vaste telefonie" in markdown.out
    assert "Fixed telephony" in markdown.out
    assert line("policy", "show", "--format", "yaml").code == 2


def test_a_configuration_in_order_has_no_fault(line: CommandLine) -> None:
    """`config check` says so in words, and with `--json` by an empty list."""
    assert "are in order" in line("config", "check").out
    assert line("config", "check", "--json").object == {"faults": []}


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("vault.toml", 'colour = "red"\n', "colour"),
        ("policy.toml", 'colour = "red"\n', "colour"),
        ("sources.toml", '[acme]\nfeed = "asterisk_csv"\ncolour = "red"\n', "colour"),
        ("sources.toml", '[acme]\nfeed = "nosuch"\n', "feed"),
        ("feeds/mine.toml", 'feed = "mine"\n', "mine"),
    ],
)
def test_an_unknown_key_anywhere_is_a_fault(line: CommandLine, file: str, text: str, said: str) -> None:
    """A key, feed or file that nobody knows is a fault on stdout and exit code 2, in words as in JSON."""
    path = line.layout.vault / file
    before = path.read_text() if path.exists() else ""
    path.write_text(f"{text}{before}")
    done = line("config", "check", "--json")

    assert done.code == 2
    assert len(done.object["faults"]) == 1
    assert said in done.object["faults"][0]
    assert "checking the configuration: 1 faults" in done.err


def test_faults_are_told_in_words_too(line: CommandLine) -> None:
    """Without `--json` each fault is a line on stdout, those of other files beside it."""
    for path in (line.layout.settings, line.layout.policy):
        path.write_text(f'colour = "red"\n{path.read_text()}')
    done = line("config", "check")
    assert done.code == 2
    assert len(done.out.splitlines()) == 2


def test_a_missing_or_unreadable_file_is_told(line: CommandLine) -> None:
    """Without a policy, or with one that is no text, a verb is exit code 2 and names the file."""
    line.layout.policy.unlink()
    assert line("config", "check").err.startswith("trafficvault: reading policy.toml: No such file")
    line.layout.policy.write_bytes(b"\xff\xfe")
    for verb in (("config", "check"), ("status",)):
        done = line(*verb)
        assert done.code == 2
        assert "policy.toml: it is not UTF-8 text at byte 0" in done.err


def test_doctor_fails_when_others_can_reach_the_keys(line: CommandLine) -> None:
    """A key directory that others may list is a failed check and exit code 5; the table shows every check."""
    before = {item["check"]: item["state"] for item in line("doctor", "--json").object["checks"]}
    assert before["key permissions"] == "ok"
    line.layout.keys.chmod(0o755)
    done = line("doctor")

    assert done.code == 5
    assert "checks failed" in done.err
    assert all(check in done.out for check in before)
    assert "chmod 0700" in done.out


def test_doctor_succeeds_on_a_healthy_machine(line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Warnings are for a person to weigh: without a failure the exit code is 0."""
    monkeypatch.setattr("trafficvault.doctor.examine", lambda layout, least, stated: [])
    done = line("doctor", "--json")
    assert (done.code, [one["check"] for one in done.object["checks"]]) == (0, ["second place"])


def test_an_administrator_adds_people(line: CommandLine) -> None:
    """The new person's password comes by prompt, and that person then acts."""
    typed = f"{PASSWORD}\n{OTHER_PASSWORD}\n{OTHER_PASSWORD}\n"
    done = line("user", "add", "gerda", "--role", "operator", "--role", "auditor", user="ada", password="", typed=typed)

    assert done.code == 0
    assert "added gerda as auditor, operator" in done.out
    assert {"name": "gerda", "roles": ["auditor", "operator"], "disabled": False, "state": "enabled"} in (
        line("user", "list", "--json").object["users"]
    )
    entries = line("audit", "show", "--json", user="gerda", password=OTHER_PASSWORD).object["entries"]
    assert (entries[-1]["act"], entries[-1]["person"]) == ("user-add", "ada")
    assert "gerda" in line("user", "list").out


@pytest.mark.parametrize(
    ("user", "name", "role", "code"),
    [
        ("ada", "gerda", "king", 2),
        ("ada", "gerda ", "officer", 2),
        ("ada", "olga", "officer", 3),
        ("olga", "gerda", "officer", 3),
        (None, "gerda", "officer", 2),
    ],
)
def test_who_may_not_be_added_is_not(line: CommandLine, user: str | None, name: str, role: str, code: int) -> None:
    """An unknown role, a bad name, no acting person: exit code 2; a taken name, or no administrator: 3."""
    before = line("user", "list", "--json").object
    done = line("user", "add", name, "--role", role, user=user, environment={"TRAFFICVAULT_NEW_PASSWORD": PASSWORD})
    assert done.code == code
    assert line("user", "list", "--json").object == before


def test_a_short_password_that_is_typed_is_usage(line: CommandLine) -> None:
    """A password that a person makes up must have its length."""
    done = line("user", "add", "gerda", "--role", "auditor", user="ada", typed="1234567\n1234567\n")
    assert done.code == 2
    assert "fewer than 8 signs" in done.err


def test_a_short_password_from_the_environment_is_warned_of(line: CommandLine) -> None:
    """One that the operator's own tool gives is taken, with a warning."""
    done = line("user", "add", "gerda", "--role", "auditor", user="ada", environment={"TRAFFICVAULT_NEW_PASSWORD": "x"})
    assert done.code == 0
    assert "is weak" in done.err


def test_with_two_administrators_an_officer_takes_both(line: CommandLine) -> None:
    """One of two alone is refused, and so is one with a wrong password of the other; both together add the officer."""
    new = {"TRAFFICVAULT_NEW_PASSWORD": PASSWORD}
    second = {**new, "TRAFFICVAULT_SECOND_PASSWORD": PASSWORD}
    add = ("user", "add", "gerda", "--role", "officer")
    assert line("user", "add", "bea", "--role", "administrator", user="ada", environment=new).code == 0

    assert line(*add, user="ada", environment=new).code == 3
    assert line(*add, "--with", "ada", user="ada", environment=second).code == 3
    wrong = line(*add, "--with", "bea", user="ada", environment={**second, "TRAFFICVAULT_SECOND_PASSWORD": "wrong one"})
    assert wrong.code == 3
    typed = line(*add, "--with", "bea", user="ada", environment=new, typed=f"{PASSWORD}\n")
    assert typed.code == 0
    assert "password of bea" in typed.err
    entries = line("audit", "show", "--json", user="aukje").object["entries"]
    assert entries[-1]["detail"]["by"] == ["ada", "bea"]
    assert entries[-2]["act"] == "sign-in-refused"
    assert entries[-2]["detail"] == {"name": "bea"}


def test_unknown_names_and_wrong_passwords_look_the_same(line: CommandLine) -> None:
    """Both are exit code 3 with the same words, and both are in the audit log by name."""
    unknown = line("audit", "show", user="nobody")
    wrong = line("audit", "show", user="aukje", password="not her password")

    assert unknown == wrong
    assert unknown.code == 3
    assert unknown.out == ""
    entries = line("audit", "show", "--last", "2", "--json", user="aukje").object["entries"]
    assert [entry["act"] for entry in entries] == ["sign-in-refused"] * 2
    assert [entry["detail"]["name"] for entry in entries] == ["unknown", "aukje"]
    assert all(entry["person"] is None for entry in entries)


def test_a_disabled_person_looks_the_same_too(line: CommandLine) -> None:
    """Who was disabled signs in no more, with the same words as who never existed."""
    vault = app.open_vault(line.layout, Disk(), SetClock(NOW), writer=True)
    ada = signed_in(vault, "ada")
    with vault.catalogue.transaction() as tx:
        people.disable(tx, "aukje", (ada,))
    vault.catalogue.close()

    assert line("audit", "show", user="aukje") == line("audit", "show", user="nobody")


def test_the_demonstration_runs_in_a_new_directory_only(nowhere: CommandLine, tmp_path: Path) -> None:
    """A directory that exists is left as it is: exit code 2."""
    done = nowhere.bare("demo", "--directory", tmp_path)
    assert done.code == 2
    assert list(tmp_path.iterdir()) == []
