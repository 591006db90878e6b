"""Second places: each kind gets the note as it was signed; what fails is told and sent again."""

from __future__ import annotations

import json
import socket
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support import NOW, opened
from tests.trafficvault.proof_house import with_settings
from trafficvault import checkpoints, notes, programs, settings, witness
from trafficvault.errors import UsageError, VaultError
from trafficvault.vault import Vault

OWN = "is on the vault's own file system"


def enter(vault: Vault) -> None:
    """Adds an entry, so that the next checkpoint is a new one."""
    with vault.catalogue.transaction() as tx:
        vault.audit.enter(tx, "test", None, {})


def placed(vault: Vault, *places: str) -> Vault:
    """The vault with these second places."""
    return with_settings(vault, f"checkpoint_to = {json.dumps(places)}")


def test_a_directory_gets_a_file(stored: Vault, tmp_path: Path) -> None:
    """The note is there under the name of log and size, once; a second run sends nothing again."""
    (tmp_path / "witness").mkdir()
    vault = placed(stored, f"file://{tmp_path}/witness")
    row = checkpoints.make(vault)

    assert [sending.problem for sending in witness.send(vault)] == [None]
    (path,) = (tmp_path / "witness").iterdir()
    assert path.name == f"trafficvault-{vault.settings.id}-{row['size']:012d}.checkpoint"
    assert path.read_text() == row["note"]
    assert witness.send(vault) == []
    assert all(OWN in sentence for sentence in witness.attention(vault))


def test_a_command_gets_the_note_and_no_password(
    stored: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On standard input, with the arguments of the setting; the vault's own environment stays here."""
    monkeypatch.setenv("TRAFFICVAULT_PASSWORD", "secret")
    script = tmp_path / "send.sh"
    script.write_text(f'#!/bin/sh\ncat > {tmp_path}/got\nenv > {tmp_path}/env\necho "$1" > {tmp_path}/arg\n')
    script.chmod(0o700)
    vault = placed(stored, f"command:{script} 'two words'")
    row = checkpoints.make(vault)

    assert [sending.problem for sending in witness.send(vault)] == [None]
    assert (tmp_path / "got").read_text() == row["note"]
    assert (tmp_path / "arg").read_text() == "two words\n"
    assert "secret" not in (tmp_path / "env").read_text()


@pytest.mark.parametrize("local", [True, False])
def test_syslog_gets_one_line(stored: Vault, tmp_path: Path, *, local: bool) -> None:
    """By a socket of this machine or by UDP: priority, tag, and the note as JSON, which gives it back."""
    with socket.socket(socket.AF_UNIX if local else socket.AF_INET, socket.SOCK_DGRAM) as log:
        log.settimeout(10)
        log.bind(str(tmp_path / "log") if local else ("127.0.0.1", 0))
        place = f"syslog://{tmp_path}/log" if local else f"syslog://127.0.0.1:{log.getsockname()[1]}"
        vault = placed(stored, place)
        row = checkpoints.make(vault)
        assert [sending.problem for sending in witness.send(vault)] == [None]
        message = log.recv(4096).decode()

    head, _, note = message.partition("checkpoint ")
    assert head == "<86>trafficvault: "
    assert "\n" not in message
    assert json.loads(note) == row["note"]
    found = notes.read_checkpoint(json.loads(note), checkpoints.origin(vault), vault.settings.public_key)
    assert found.size == row["size"]


def test_what_could_not_be_sent_is_sent_with_the_next(stored: Vault, tmp_path: Path) -> None:
    """A place that is away is told; when it is back it gets all it missed, and another was not held up by it."""
    (tmp_path / "there").mkdir()
    away = f"file://{tmp_path}/away"
    vault = placed(stored, away, f"file://{tmp_path}/there")
    first = checkpoints.make(vault)
    problems = [sending.problem for sending in witness.send(vault)]
    assert problems[1] is None
    assert problems[0] is not None
    assert "there is no such directory" in problems[0]
    assert f"has not reached {away}" in witness.attention(vault)[0]
    (tmp_path / "away").mkdir()
    enter(vault)
    second = checkpoints.make(vault)

    assert [sending.size for sending in witness.send(vault)] == [second["size"], first["size"], second["size"]]
    assert len(list((tmp_path / "away").iterdir())) == 2
    assert all(OWN in sentence for sentence in witness.attention(vault))


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("command:/bin/false", "false ended with exit code 1"),
        ("command:/no/such/program", "No such file"),
        ("syslog:///no/such/socket", "No such file"),
    ],
)
def test_each_failure_has_its_reason(stored: Vault, place: str, reason: str) -> None:
    """What prevented it stands in the sentence."""
    vault = placed(stored, place)
    checkpoints.make(vault)
    (sending,) = witness.send(vault)
    assert sending.problem is not None
    assert reason in sending.problem
    assert "it is sent again with the next" in sending.problem


def test_a_person_is_told_until_a_place_is_set(stored: Vault, tmp_path: Path) -> None:
    """No place, no checkpoint, an old one, a place on the vault's own file system: each has its sentence."""
    assert "are sent nowhere" in witness.attention(stored)[0]
    assert [state for _, state, _ in witness.findings(stored)] == ["warn"]
    vault = placed(stored, f"file://{tmp_path}")
    assert "no checkpoint of the audit log was made yet" in witness.attention(vault)[0]
    checkpoints.make(vault)
    witness.send(vault)
    assert [sentence for _, _, sentence in witness.findings(vault)] == witness.attention(vault)
    assert OWN in witness.attention(vault)[0]
    beside = placed(vault, f"file://{tmp_path}", "command:/bin/cat")
    witness.send(beside)
    assert witness.attention(beside) == []
    assert OWN in witness.findings(beside)[0][2]
    later = opened(vault, NOW + timedelta(days=3))
    enter(later)
    later.audit.flush()
    assert "the newest checkpoint is 3 days old" in witness.attention(later)[0]
    assert "is no directory" in " ".join(one[2] for one in witness.findings(placed(vault, f"file://{tmp_path}/no")))
    ok = placed(vault, "command:/bin/cat")
    witness.send(ok)
    assert [state for _, state, _ in witness.findings(ok)] == ["ok"]


def test_the_settings_take_places_that_are_one() -> None:
    """A text or a list of texts; another scheme, a relative path or an empty command is refused with the forms."""
    base = settings.new_text("0" * 32, "0" * 64)
    for place in ("file:///mnt/w", "syslog:///dev/log", "syslog://[::1]:514", "syslog://host", "command:a b"):
        one = settings.parse(base.replace("checkpoint_to = []", f'checkpoint_to = "{place}"'))
        assert one.checkpoint_to == (place,)
    two = settings.parse(base.replace("checkpoint_to = []", 'checkpoint_to = ["file:///a", "command:b"]'))
    assert two.checkpoint_to == ("file:///a", "command:b")
    old = "\n".join(line for line in base.splitlines() if not line.startswith("checkpoint_to"))
    assert settings.parse(old).checkpoint_to == ()
    for wrong in (
        "/mnt/w",
        "file://host/x",
        "file:x",
        "http://x",
        "command:",
        "command:'",
        "syslog://h:99999",
        "file:///",
    ):
        with pytest.raises(UsageError, match="is no second place"):
            settings.parse(base.replace("checkpoint_to = []", f'checkpoint_to = "{wrong}"'))


def test_a_program_that_does_not_end_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its time is bounded, and what a failing one printed is not repeated."""
    monkeypatch.setattr(programs, "SECONDS", 0.2)
    with pytest.raises(subprocess.TimeoutExpired):
        programs.run(["sleep", "5"], b"")
    with pytest.raises(VaultError) as failed:
        programs.run(["sh", "-c", "echo secret; exit 3"], b"")
    assert str(failed.value) == "sh ended with exit code 3"
