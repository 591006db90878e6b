"""Rotation and change of provider: nothing is rewritten, old keys open nothing, a crash at any step is made good."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support import FAST, NOW, PASSWORD, Usage, ingest, layout_at, signed_in, usage
from tests.thorough import steps_on
from tests.trafficvault import token_house
from tests.trafficvault.key_choices import CHEAP, SECRETS, answering, choice
from trafficvault import app, certificates, people, providers, rotation, signing, verify
from trafficvault.clock import SetClock
from trafficvault.durable import Disk
from trafficvault.errors import FaultError, RefusedError
from trafficvault.layout import Layout
from trafficvault.provider import LockedError
from trafficvault.provider_passphrase import PassphraseKey
from trafficvault.provider_pkcs11 import TokenKeys
from trafficvault.providers import KINDS, Choice
from trafficvault.vault import Vault

CHANGES = [(old, new) for old in KINDS for new in KINDS]
STOPPED = [
    ("local", "local"),
    ("local", "passphrase"),
    ("passphrase", "pkcs11"),
    ("pkcs11", "local"),
    ("pkcs11", "pkcs11"),
]


class Stopped(BaseException):
    """The machine stopped."""


class StoppingDisk(Disk):
    """Stops at the `at`-th step, and nothing after it reaches the disk either; never when `at` is 0."""

    def __init__(self, at: int = 0) -> None:
        self.at, self.steps = at, 0

    def step(self, name: str) -> None:
        """One step further."""
        self.steps += 1
        if 0 < self.at <= self.steps:
            raise Stopped


def new_vault(directory: Path, kind: str) -> Vault:
    """A vault of that provider with one record in it."""
    vault = app.create(
        layout_at(directory),
        "telecom",
        [("ada", PASSWORD)],
        Disk(),
        SetClock(NOW),
        FAST,
        choice=choice(kind),
        ask=answering(),
    )
    ingest(vault, "mvno_pipe", usage([Usage()]))
    return vault


def opened(layout: Layout, disk: Disk | None = None) -> Vault:
    """As the next writer opens it."""
    return app.open_vault(layout, disk or Disk(), SetClock(NOW), writer=True, ask=answering())


def change(vault: Vault, to: str) -> int:
    """Rotates, or moves to another provider."""
    ada = signed_in(vault, "ada")
    if providers.present(vault.layout.keys) == to:
        return rotation.rotate(vault, ada, answering(), CHEAP)
    return rotation.move(vault, ada, choice(to), answering())


def names(layout: Layout) -> set[str]:
    """What lies in the key directory."""
    return {path.name for path in layout.keys.iterdir()}


OWN = {"local": {"root.key", "epoch-2"}, "passphrase": {"root.sealed", "epoch-2"}, "pkcs11": {"token.json"}}


@pytest.mark.parametrize(("old", "new"), CHANGES)
def test_a_change_of_keys_rewrites_no_record(tmp_path: Path, old: str, new: str) -> None:
    """Files are as they were, `verify` is clean, setting and key directory say the same, nothing is left over."""
    layout = new_vault(tmp_path, old).layout
    before = {path: path.read_bytes() for path in layout.records.rglob("*") if path.is_file()}
    day_keys = opened(layout).keys.key_ids()

    assert change(opened(layout), new) == 2
    vault = opened(layout)
    assert before == {path: path.read_bytes() for path in layout.records.rglob("*") if path.is_file()}
    assert names(layout) == OWN[new] | {"ring-2", "head"}
    assert vault.keys.key_ids() == day_keys
    assert vault.settings.key_provider == new
    assert verify.verify(vault).faults == ()
    assert vault.audit.show(1)[0]["detail"]["to"] == vault.keys.provider_name


@pytest.mark.parametrize("kind", KINDS)
def test_the_keys_before_a_rotation_open_nothing_after_it(tmp_path: Path, kind: str) -> None:
    """An old root key opens no epoch key of today, an old epoch key no ring of today."""
    layout = new_vault(tmp_path, kind).layout
    old = layout_at(tmp_path / "old")
    shutil.copytree(layout.keys, old.keys)
    vault = opened(layout)
    change(vault, kind)
    today = vault.layout.ring(2).read_bytes()
    before = providers.open_(old, Disk(), vault.settings.id, answering())
    if kind != "pkcs11":
        shutil.copy(layout.epoch_key(2), old.epoch_key(2))
        assert not before.holds(2)

    with pytest.raises(FaultError, match="opening"):
        before.unseal(1, today, f"ring {vault.settings.id} 2")


@pytest.mark.slow
@pytest.mark.parametrize(("old", "new"), STOPPED)
def test_a_change_that_was_cut_short_is_finished_or_given_up(tmp_path: Path, old: str, new: str) -> None:
    """Stopped at step after step: the next writer opens the vault with every key, and no other provider is left."""
    first = new_vault(tmp_path / "first", old)
    keys = {name: first.keys.custody("verify").key(name) for name in first.keys.key_ids()}
    ended = set[str]()
    for at in steps_on(1 + STOPPED.index((old, new)) % 3):
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        shutil.copytree(tmp_path / "first", tmp_path / "run")
        layout, disk = layout_at(tmp_path / "run"), StoppingDisk()
        if old == "pkcs11":
            _bring_back(first, keys)
        elif new == "pkcs11":
            _clear_token(first)
        vault = opened(layout, disk)
        disk.steps, disk.at = 0, at
        try:
            change(vault, new)
        except Stopped:
            stopped = True
        else:
            stopped = False
        again = opened(layout)
        kind = providers.present(layout.keys)
        ended.add(str(kind))

        assert {name: again.keys.custody("verify").key(name) for name in again.keys.key_ids()} == keys
        assert verify.verify(again).faults == (), at
        assert not layout.incoming.exists()
        assert len(names(layout) & {"root.key", "root.sealed", "token.json"}) == 1
        assert again.keys.provider.generations() == {again.keys.generation}
        change(again, new)
        assert verify.verify(opened(layout)).faults == ()
        if not stopped:
            break
    assert at > 10
    assert ended == {old, new}


def _clear_token(vault: Vault) -> None:
    """No object of the run before: it is another vault's with the same id."""
    tokens = TokenKeys(Disk(), vault.settings.id, token_house.token(), token_house.PIN)
    for generation in tokens.generations():
        tokens.destroy_epoch(generation)


def _bring_back(vault: Vault, keys: dict[str, bytes]) -> None:
    """Makes the token's object of generation 1 anew, which the run before destroyed, and the ring under it."""
    for generation in vault.keys.provider.generations():
        vault.keys.provider.destroy_epoch(generation)
    vault.keys.provider.create_epoch(1)
    from trafficvault.ring import Ring, seal_ring

    for place in (vault.layout, layout_at(vault.layout.vault.parents[1] / "run")):
        place.ring(1).write_bytes(seal_ring(Ring(1, keys), vault.keys.provider.seal, vault.settings.id))


def test_what_is_deleted_soon_after_a_move_is_final_when_the_copies_are_gone(tmp_path: Path) -> None:
    """A copy of the key directory from before the token opens it; later deletions wait for nothing."""
    vault = new_vault(tmp_path, "local")
    wait = vault.policy.key_copies_within.delta()
    change(vault, "pkcs11")
    with vault.catalogue.reading() as tx:
        assert not vault.keys.copies
        soon = certificates.final_at(vault, tx, NOW + wait / 2)
        late = certificates.final_at(vault, tx, NOW + 2 * wait)
    assert (soon, late) == (signing.instant(NOW + wait), signing.instant(NOW + 2 * wait))


def test_only_an_administrator_changes_keys(tmp_path: Path) -> None:
    """The refusal is in the audit log and nothing has changed."""
    vault = new_vault(tmp_path, "local")
    with vault.catalogue.reading() as tx:
        ada = people.authenticate(tx, "ada", PASSWORD)
    app.add_person(vault, "otto", ("operator",), PASSWORD, (ada,), FAST)
    otto = signed_in(vault, "otto")
    for act in (
        lambda: rotation.rotate(vault, otto, answering()),
        lambda: rotation.move(vault, otto, Choice("passphrase", cost=CHEAP), answering()),
        lambda: rotation.change_passphrase(vault, otto, answering()),
    ):
        with pytest.raises(RefusedError, match="role administrator"):
            act()

    assert [entry["act"] for entry in vault.audit.show(3)] == [
        "keys-rotate-refused",
        "keys-move-refused",
        "keys-passphrase-refused",
    ]
    assert vault.keys.generation == 1


def test_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    """A move to the provider that is there; a new passphrase where there is none."""
    vault = new_vault(tmp_path, "local")
    ada = signed_in(vault, "ada")

    with pytest.raises(RefusedError, match="is the key provider already"):
        rotation.move(vault, ada, Choice(), answering())
    with pytest.raises(RefusedError, match="has none"):
        rotation.change_passphrase(vault, ada, answering())


def test_a_move_without_its_secret_changes_nothing(tmp_path: Path) -> None:
    """The vault opens as before, and the attempt after it succeeds."""
    vault = new_vault(tmp_path, "local")
    with pytest.raises(LockedError):
        rotation.move(vault, signed_in(vault, "ada"), Choice("passphrase", cost=CHEAP), answering({}))

    assert app.open_vault(vault.layout, Disk(), SetClock(NOW), writer=True).keys.generation == 1
    assert change(opened(vault.layout), "passphrase") == 2


def test_a_changed_passphrase_opens_the_vault_and_the_old_one_does_not(tmp_path: Path) -> None:
    """It is in the audit log, without a word of either."""
    vault = new_vault(tmp_path, "passphrase")
    fresh = "six words that nobody has said"
    rotation.change_passphrase(
        vault, signed_in(vault, "ada"), answering(SECRETS | {"TRAFFICVAULT_NEW_PASSPHRASE": fresh}), CHEAP
    )
    secrets = answering({"TRAFFICVAULT_PASSPHRASE": fresh})

    with pytest.raises(RefusedError, match="not its own"):
        opened(vault.layout)
    again = app.open_vault(vault.layout, Disk(), SetClock(NOW), writer=True, ask=secrets)
    assert again.audit.show(1)[0]["act"] == "keys-passphrase"
    assert isinstance(again.keys.provider, PassphraseKey)
    assert verify.verify(again).faults == ()


def test_a_token_without_its_pin_opens_nothing(tmp_path: Path) -> None:
    """Neither key directory nor token's files hold a day key or the ring in clear."""
    vault = new_vault(tmp_path, "pkcs11")
    with pytest.raises(LockedError):
        app.open_vault(vault.layout, Disk(), SetClock(NOW), ask=answering({}))
    seen = token_house.token_files() + b"".join(path.read_bytes() for path in vault.layout.keys.iterdir())

    for name in vault.keys.key_ids():
        key = vault.keys.custody("verify").key(name)
        assert key not in seen
        assert key.hex().encode() not in seen
