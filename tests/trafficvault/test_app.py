"""The composition root: a vault is made whole or not at all, and opened only as what it is."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from tests.support import FAST, NOW, PASSWORD, FullDisk, layout_at, new_vault, opened, signed_in
from trafficvault import app
from trafficvault.clock import SetClock, SystemClock
from trafficvault.durable import Disk
from trafficvault.errors import FaultError, RefusedError, UsageError, VaultError
from trafficvault.reserve import RESERVE_BYTES
from trafficvault.vault import Vault
from trafficvault.verify import verify


def create(directory: Path, policy: str = "telecom", disk: Disk | None = None) -> Vault:
    """A vault with one administrator."""
    return app.create(layout_at(directory), policy, [("ada", PASSWORD)], disk or Disk(), SetClock(NOW), FAST)


def test_a_new_vault_is_clean(tmp_path: Path) -> None:
    """It verifies, its configuration is in order, and its first entry tells how it began."""
    vault = create(tmp_path)
    assert verify(vault).faults == ()
    assert app.config_faults(vault.layout) == []
    (entry,) = vault.audit.show()
    assert (entry["act"], entry["detail"]["administrators"]) == ("init", 1)
    assert vault.layout.vault.stat().st_mode & 0o777 == 0o700
    assert vault.layout.reserve.stat().st_size == RESERVE_BYTES
    assert vault.layout.root_key.stat().st_mode & 0o777 == 0o600


def test_two_vaults_are_strangers(tmp_path: Path) -> None:
    """Ids and keys differ; the keys of one do not open the other."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one, two = create(tmp_path / "one"), create(tmp_path / "two")
    assert one.settings.id != two.settings.id
    assert one.settings.public_key != two.settings.public_key
    mixed = layout_at(tmp_path / "one")
    mixed.keys.rename(tmp_path / "away")
    two.layout.keys.rename(mixed.keys)
    with pytest.raises(FaultError):
        app.open_vault(mixed, Disk(), SetClock(NOW))


def test_nothing_is_made_over_something(tmp_path: Path) -> None:
    """An empty directory will do; one with anything in it, vault or keys, is refused and left as it is."""
    layout = layout_at(tmp_path)
    layout.vault.mkdir()
    layout.keys.mkdir()
    (layout.keys / "note").write_text("mine")
    with pytest.raises(RefusedError, match="is no empty directory"):
        create(tmp_path)
    assert list(layout.vault.iterdir()) == []
    (layout.keys / "note").unlink()
    create(tmp_path)


@pytest.mark.parametrize("at", [1, 4, 8, 12, 16, 20, 24])
def test_without_its_last_step_there_is_no_vault(tmp_path: Path, at: int) -> None:
    """A full disk at any step of `init` leaves no vault.toml, or a whole vault."""
    try:
        create(tmp_path, disk=FullDisk(at))
    except OSError as problem:
        assert problem.errno == errno.ENOSPC
        assert not layout_at(tmp_path).settings.exists()
        with pytest.raises(UsageError, match="there is none"):
            app.open_vault(layout_at(tmp_path), Disk(), SetClock(NOW))
    except VaultError as problem:
        # What the audit log says of a full disk is an error of ours.
        assert "No space left" in str(problem)
        assert not layout_at(tmp_path).settings.exists()
    else:
        vault = app.open_vault(layout_at(tmp_path), Disk(), SetClock(NOW), writer=True)
        assert verify(vault).faults == ()


def test_a_policy_is_a_preset_or_a_file(tmp_path: Path) -> None:
    """What is neither is usage, and so is one that doesn't hold; nothing is made of either."""
    for policy in ("nosuch", str(tmp_path)):
        with pytest.raises(UsageError, match="reading "):
            create(tmp_path, policy)
    assert list(tmp_path.iterdir()) == []
    assert create(tmp_path, "hosting").policy.classes() == ["internet", "binding", "server_use"]


def test_opening_creates_nothing(tmp_path: Path) -> None:
    """Where there is no vault, none comes to be."""
    with pytest.raises(UsageError, match="there is none"):
        app.open_vault(layout_at(tmp_path), Disk(), SystemClock())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["vault.toml", "policy.toml", "sources.toml"])
def test_a_vault_with_a_wrong_configuration_does_not_open(tmp_path: Path, name: str) -> None:
    """An unknown key in any of the three files; `config_faults` tells it without opening the vault."""
    vault = create(tmp_path)
    path = vault.layout.vault / name
    path.write_text(f'colour = "red"\n{path.read_text()}')
    with pytest.raises(UsageError, match="colour"):
        opened(vault)
    (fault,) = app.config_faults(vault.layout)
    assert "colour" in fault


def test_a_public_key_of_another_is_a_fault(tmp_path: Path) -> None:
    """Who changes the key that signatures are checked with does not get the vault open."""
    vault = create(tmp_path)
    text = vault.layout.settings.read_text()
    vault.layout.settings.write_text(text.replace(vault.settings.public_key, "0" * 64))
    with pytest.raises(FaultError, match=r"the public key in vault\.toml is not that of the vault's signing key"):
        opened(vault)


def test_every_fault_of_the_configuration_is_told(tmp_path: Path) -> None:
    """Settings and policy are judged beside each other; sources only when policy and feeds are in order."""
    vault = create(tmp_path)
    for path in (vault.layout.settings, vault.layout.policy, vault.layout.sources):
        path.write_text(f'colour = "red"\n{path.read_text()}')
    assert len(app.config_faults(vault.layout)) == 2
    vault.layout.policy.write_text(vault.layout.policy.read_text().replace('colour = "red"\n', ""))
    assert len(app.config_faults(vault.layout)) == 2
    (vault.layout.feeds / "wrong.toml").write_text('feed = "wrong"\n')
    assert "sources.toml" not in " ".join(app.config_faults(vault.layout))


def test_adding_a_person_is_logged_with_who_did_it(tmp_path: Path) -> None:
    """Name, roles and everyone who vouched; a refusal leaves nobody and no line that says otherwise."""
    vault = new_vault(tmp_path)
    ada = signed_in(vault, "ada")
    app.add_person(vault, "gerda", ("operator", "auditor"), PASSWORD, (ada,), FAST)
    entry = vault.audit.show(1)[0]
    assert (entry["act"], entry["person"]) == ("user-add", "ada")
    assert entry["detail"] == {"name": "gerda", "roles": ["auditor", "operator"], "by": ["ada"]}
    with pytest.raises(RefusedError):
        app.add_person(vault, "gerda", ("operator",), PASSWORD, (ada,), FAST)
    assert "user-add" not in {found["act"] for found in vault.audit.show(100)[entry["seq"] :]}


def test_signatures_are_judged_by_the_people_of_now(tmp_path: Path) -> None:
    """The key store asks the catalogue who a name is when a key is released, not when the vault was opened."""
    vault = new_vault(tmp_path)
    other = opened(vault)
    app.add_person(vault, "gerda", ("officer",), PASSWORD, (signed_in(vault, "ada"),), FAST)
    assert signed_in(other, "gerda").roles == {"officer"}
