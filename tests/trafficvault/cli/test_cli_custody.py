"""The verbs that keep keys and copies, as a person types them."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.support import NOW, PASSWORD, Usage, usage
from tests.trafficvault import token_house
from tests.trafficvault.cli.commandline import CommandLine
from tests.trafficvault.key_choices import CHEAP, PASSPHRASE
from trafficvault import provider_passphrase, providers, rotation
from trafficvault.cli import door

SET = {"TRAFFICVAULT_PASSPHRASE": PASSPHRASE, "TRAFFICVAULT_NEW_PASSPHRASE": PASSPHRASE}


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """A passphrase costs next to nothing to check: nobody guesses at it here."""
    for function in (rotation.rotate, rotation.change_passphrase):
        monkeypatch.setattr(function, "__defaults__", (CHEAP,))
    monkeypatch.setattr(providers.Choice.__init__, "__defaults__", ("local", None, None, CHEAP))


def test_the_life_of_a_provider(line: CommandLine) -> None:
    """Local, rotated, moved to a passphrase, the passphrase changed, and shown; each run tells the generation."""
    assert line("keys", "show", "--json").object["key_provider"] == "local"
    assert line("keys", "rotate", "--json", user="ada").object == {"generation": 2}
    moved = line("keys", "move", "--to", "passphrase", user="ada", environment=SET)
    assert (moved.code, "generation 3" in moved.out) == (0, True)
    assert 'key_provider = "passphrase"' in line.layout.settings.read_text()
    fresh = SET | {"TRAFFICVAULT_NEW_PASSPHRASE": "five other words, longer ones"}
    assert "older copy" in line("keys", "passphrase", user="ada", environment=fresh).out
    wrong = line("keys", "show", environment=SET)
    assert (wrong.code, PASSPHRASE in wrong.err) == (3, False)
    new = {"TRAFFICVAULT_PASSPHRASE": "five other words, longer ones"}
    again = new | {"TRAFFICVAULT_NEW_PASSPHRASE": "five other words, longer ones"}
    assert line("keys", "passphrase", "--json", user="ada", environment=again).object == {"changed": True}
    shown = line("keys", "show", environment=new)
    assert "passphrase" in shown.out


def test_init_with_a_passphrase_asks_for_it(nowhere: CommandLine) -> None:
    """And the vault that it makes opens with it, and says so in `doctor`."""
    words = ("init", "--admin", "ada", "--key-provider", "passphrase", "--json")
    done = nowhere(*words, environment=SET | {"TRAFFICVAULT_NEW_PASSWORD": PASSWORD})

    assert done.code == 0, done.err
    assert nowhere.layout.sealed_root.exists()
    standing = nowhere("status")
    assert (standing.code, "the vault is locked" in standing.err) == (3, True)
    checks = nowhere("doctor", "--json", environment=SET).object["checks"]
    assert [item["state"] for item in checks if item["check"] == "key provider"] == ["ok"]


def test_what_needs_no_key_is_shown_of_a_locked_vault(nowhere: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """`doctor` and `keys show` ask nobody, not at a terminal either: they tell what can be told without the secret, and
    what can't; whatever needs the keys is refused with the name of the secret, and waits for nobody.
    """
    words = ("init", "--admin", "ada", "--key-provider", "passphrase")
    assert nowhere(*words, environment=SET | {"TRAFFICVAULT_NEW_PASSWORD": PASSWORD}).code == 0
    for verb in (("escrow", "show"), ("schedule", "list"), ("expire", "--dry-run"), ("audit", "verify")):
        refused = nowhere(*verb)
        assert (refused.code, refused.out, "TRAFFICVAULT_PASSPHRASE" in refused.err) == (3, "", True)
    monkeypatch.setattr("typer.prompt", lambda *words, **how: pytest.fail("somebody was asked"))
    monkeypatch.setattr("trafficvault.cli.door.ask_secret", lambda *words, **how: pytest.fail("somebody was asked"))
    checks, whole = (nowhere("doctor", "--json", environment=given).object["checks"] for given in ({}, SET))
    assert [item["check"] for item in checks] == [item["check"] for item in whole]
    (told,) = [item for item in checks if item["check"] == "second place"]
    assert (told["state"], "the vault is locked" in told["sentence"]) == ("warn", True)
    shown = nowhere("keys", "show", "--json")
    assert (shown.code, shown.object) == (
        0,
        {
            "key_provider": "passphrase",
            "name": None,
            "generation": 1,
            "keys": None,
            "copies_can_exist": True,
            "locked": True,
        },
    )
    assert "the vault is locked" in nowhere("keys", "show").out
    opened = nowhere("keys", "show", "--json", environment=SET).object
    assert {name: opened[name] for name in ("generation", "copies_can_exist", "locked")} == {
        "generation": 1,
        "copies_can_exist": True,
        "locked": False,
    }


def test_init_with_a_token(nowhere: CommandLine) -> None:
    """The key directory names it; without its PIN nothing opens; a token half named is a usage error."""
    module = token_house.module()
    pins = {"TRAFFICVAULT_PIN": token_house.PIN, "TRAFFICVAULT_NEW_PASSWORD": PASSWORD}
    words = ("init", "--admin", "ada", "--key-provider", "pkcs11", "--module", module)
    half = nowhere(*words, environment=pins)
    assert (half.code, nowhere.layout.vault.exists()) == (2, False)
    done = nowhere(*words, "--token", token_house.LABEL, environment=pins)

    assert done.code == 0, done.err
    shown = nowhere("keys", "show", "--json", environment=pins).object
    assert (shown["name"], shown["copies_can_exist"], shown["locked"]) == ("PKCS#11 token", False, False)
    shown = nowhere("keys", "show", "--json").object
    assert (shown["name"], shown["copies_can_exist"], shown["locked"]) == (None, False, True)


def test_a_person_at_a_terminal_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unseen, and twice where it is new; the environment goes first."""
    asked = list[bool]()

    def prompt(what: str, **how: bool) -> str:
        asked.append(how["confirmation_prompt"])
        return PASSPHRASE

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.prompt", prompt)

    assert door.ask_secret("passphrase", provider_passphrase.NEW_VARIABLE, twice=True) == PASSPHRASE
    assert door.ask_secret("passphrase", provider_passphrase.VARIABLE) == PASSPHRASE
    monkeypatch.setenv(provider_passphrase.VARIABLE, "from the environment")
    assert door.ask_secret("passphrase", provider_passphrase.VARIABLE) == "from the environment"
    assert asked == [True, False]


def test_a_backup_and_its_restore(line: CommandLine, tmp_path: Path) -> None:
    """Taken, checked, put back; an older one takes an administrator, and the table says what is lost."""
    target = tmp_path / "copies" / "backup"
    done = line("backup", target, "--json").object
    assert done["files"] > 3
    assert "0 of them copied now" in line("backup", target).out or done["copied"] == 0
    assert line("backup", target, "--check", "--json").object == {"faults": []}
    assert "agree" in line("backup", target, "--check").out
    shutil.move(line.layout.vault, tmp_path / "lost")
    told = line("restore", target, "--json")
    assert (told.code, told.object["lost_entries"], told.object["expiring"]) == (0, 0, [])
    assert line("verify").code == 0

    line("keys", "rotate", user="ada")
    shutil.move(line.layout.vault, tmp_path / "lost too")
    refused = line("restore", target)
    assert (refused.code, "--accept-older" in refused.err) == (3, True)
    assert line("restore", target, "--accept-older").code == 2
    accepted = line("restore", target, "--accept-older", user="ada")
    assert (accepted.code, "generation 2" in accepted.out) == (0, True)
    assert line("verify").code == 0
    assert NOW.isoformat()[:10] in accepted.out


def test_people_are_confirmed_after_an_older_backup(line: CommandLine, tmp_path: Path) -> None:
    """The run says who is suspended, `user list` and `status` too; a surviving log makes that needless."""
    target = tmp_path / "copies" / "backup"
    line("backup", target)
    assert line("user", "disable", "otto", user="ada").out == "otto is disabled\n"
    shutil.copytree(line.layout.audit, tmp_path / "survived")
    shutil.move(line.layout.vault, tmp_path / "lost")
    told = line("restore", target, "--accept-older", user="ada")
    assert (told.code, "SUSPENDED" in told.out) == (0, True), told.err
    assert "suspended since" in line("status").out
    states = {one["name"]: one["state"] for one in line("user", "list", "--json").object["users"]}
    assert (states["ada"], states["olga"]) == ("enabled", "suspended")
    assert line("user", "confirm", "olga", "--json", user="ada").object == {"name": "olga", "state": "enabled"}
    assert line("user", "confirm", "olga", user="ada").code == 3

    shutil.move(line.layout.vault, tmp_path / "lost too")
    words = ("restore", target, "--accept-older", "--log", tmp_path / "lost too" / "audit", "--json")
    proved = line(*words, user="ada")
    assert (proved.code, proved.object["suspended"], proved.object["holds_lost"]) == (0, [], False), proved.err
    assert proved.object["to_do_again"] == {}
    states = {one["name"]: one["state"] for one in line("user", "list", "--json").object["users"]}
    assert (states["olga"], states["piet"], states["otto"]) == ("enabled", "suspended", "suspended")
    assert line("verify").code == 0


def test_a_docket_is_confirmed_after_an_older_backup(line: CommandLine, tmp_path: Path) -> None:
    """The run, `status` and the lists say that it is to be; an officer proposes, an approver approves."""
    line("backup", tmp_path / "backup")
    line("user", "disable", "otto", user="ada")
    shutil.move(line.layout.vault, tmp_path / "lost")
    told = line("restore", tmp_path / "backup", "--accept-older", user="ada")
    assert "TO BE CONFIRMED" in told.out, told.err
    for name in ("olga", "piet"):
        line("user", "confirm", name, user="ada")
    lists = (("status",), ("warrant", "list"), ("hold", "list"))
    assert all("TO BE CONFIRMED" in line(*words, user="olga").out for words in lists)
    made = line("warrant", "confirm", "--json", user="olga").object
    assert made["state"] == "open"
    assert "another person (approver)" in line("warrant", "confirm", user="olga").out
    assert "the docket is confirmed" in line("proposal", "approve", made["proposal_id"], user="piet").out
    assert not any("TO BE CONFIRMED" in line(*words, user="olga").out for words in lists)
    assert line("warrant", "confirm", user="olga").code == 3


def test_a_changed_backup_fails_its_check(line: CommandLine, tmp_path: Path) -> None:
    """Exit code 5, and the file is named."""
    line("backup", tmp_path / "backup")
    next((tmp_path / "backup").glob("state-1/policy.toml")).write_text("changed")
    found = line("backup", tmp_path / "backup", "--check")

    assert found.code == 5
    assert "state/policy.toml was changed" in found.out


def test_the_life_of_an_escrow(line: CommandLine, tmp_path: Path) -> None:
    """Set, shown, opened elsewhere, taken off; the private key is in nothing that is printed."""
    key = X25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    private = line.file("safe.key", key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    safe = tmp_path / "safe"
    safe.mkdir()
    words = ("escrow", "set", "--key", line.file("safe.pem", public), "--to", safe)
    assert line("escrow", "show").out == "no escrow is set\n"
    assert line("escrow", "show", "--json").object == {"escrow": None, "problems": []}
    assert line(*words, "--json", user="ada").object["to"] == str(safe)
    assert str(safe) in line(*words, user="ada").out
    assert "one copy, of the living key" in line("escrow", "show").out
    line("keys", "rotate", user="ada")
    assert line("escrow", "show", "--json").object["problems"] == []
    opening = ("escrow", "open", next(safe.iterdir()), "--private-key", private)
    for number, more in enumerate(((), ("--json",))):
        done = line.bare("--keys", tmp_path / f"found-{number}", *opening, *more)
        assert (done.code, (tmp_path / f"found-{number}" / "epoch-2").exists()) == (0, True)
    assert line("escrow", "off", user="ada").code == 0
    assert list(safe.iterdir()) == []
    line(*words, user="ada")
    assert line("escrow", "off", "--json", user="ada").object == {"escrow": None, "forgotten": []}


def test_an_escrow_that_is_away_is_taken_off_by_who_says_so(line: CommandLine, tmp_path: Path) -> None:
    """A place that is not there is a refusal that names the flag; with it the place is told a last time."""
    public = X25519PrivateKey.generate().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for form in ((), ("--json",)):
        safe = tmp_path / f"safe{len(form)}"
        safe.mkdir()
        line("escrow", "set", "--key", line.file("safe.pem", public), "--to", safe, user="ada")
        safe.rename(tmp_path / f"unmounted{len(form)}")
        refused = line("escrow", "off", *form, user="ada")
        assert (refused.code, refused.out) == (3, "")
        assert "add --forget" in refused.err
        done = line("escrow", "off", "--forget", *form, user="ada")
        assert done.code == 0
        if form:
            assert done.object == {"escrow": None, "forgotten": [str(safe)]}
        else:
            assert done.out == f"no escrow is set\nforgotten: the copy in {safe}; see that it is destroyed\n"


def test_a_locked_vault_forgets_and_says_what_is_pending(nowhere: CommandLine) -> None:
    """Status and expire end with 5 while something is due or pending; an expiry with the secret settles it."""
    words = ("init", "--admin", "ada", "--key-provider", "passphrase")
    nowhere(*words, environment=SET | {"TRAFFICVAULT_NEW_PASSWORD": PASSWORD})
    old = nowhere.file("old", usage([Usage(at="20260521120000")]))
    assert nowhere("ingest", "mvno_pipe", old, environment=SET).code == 0
    assert nowhere("status").code == 3
    assert nowhere("expire").code == 0
    nowhere.now = NOW + timedelta(days=3)
    before = nowhere("status")
    assert (before.code, "is due and still has files" in before.out) == (5, True)
    done = nowhere("expire", "--json")
    assert (done.code, done.object["locked"], done.object["due"]) == (5, True, [])
    assert [item["day"] for item in done.object["pending"] if item["what"] == "records"] == ["2026-05-21"]
    told = nowhere("status")
    assert (told.code, "key destruction pending" in told.out) == (5, True)
    assert nowhere("expire", environment=SET).code == 0
    assert nowhere("status").code == 3
    assert nowhere("status", "--check", environment=SET).code == 0
