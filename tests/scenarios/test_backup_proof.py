"""What an old copy brings back, by what the attacker has: of the vault, of the keys, of both, with each key provider.

The attacker of each test is root with an image from before the expiry, and everything of today that the test names. He
tries every ring he has under every epoch key he has, and every day key that opens on every file.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support import FAST, NOW, PASSWORD, Usage, every_byte, ingest, layout_at, unmeasured, usage
from tests.trafficvault import token_house
from tests.trafficvault.key_choices import SECRETS, answering, choice
from trafficvault import app, expire, providers
from trafficvault.clock import SetClock
from trafficvault.durable import Disk
from trafficvault.errors import VaultError
from trafficvault.layout import Layout
from trafficvault.ring import open_ring, ring_generations
from trafficvault.vault import Vault

ROOT = Path(__file__).resolve().parents[2]
KINDS = providers.KINDS
OLD = "20260521120000"
DAY = "mobile_usage/2026-05-21/who"
LIVING = "mobile_usage/2026-11-10/who"
LATE = NOW + timedelta(days=3)


def expired(directory: Path, kind: str) -> Vault:
    """A vault whose older day has expired; `image` beside it was made before."""
    founders, which = [("ada", PASSWORD)], choice(kind)
    clock, ask = SetClock(NOW), answering()
    vault = app.create(layout_at(directory), "telecom", founders, Disk(), clock, FAST, choice=which, ask=ask)
    ingest(vault, "mvno_pipe", usage([Usage(at=OLD, record_id="old"), Usage(record_id="new")]))
    (directory / "image").mkdir()
    for part in (vault.layout.vault, vault.layout.keys):
        shutil.copytree(part, directory / "image" / part.name)
    if kind == "pkcs11":
        token_house.image(directory / "image")
    late = app.open_vault(vault.layout, Disk(), SetClock(LATE), writer=True, ask=answering())
    assert len(expire.expire(late).certificates) > 0
    return late


def opened_keys(keys: Path, vault_id: str, secrets: dict[str, str] = SECRETS) -> set[str]:
    """The ids of every key that the key directory `keys` opens for who knows `secrets`, whatever the catalogue says."""
    layout, found = Layout(keys.with_name("no vault"), keys), set[str]()
    try:
        provider = providers.open_(layout, Disk(), vault_id, answering(secrets))
    except VaultError:
        return found
    for generation in ring_generations(layout):
        try:
            ring = open_ring(layout.ring(generation).read_bytes(), provider.unseal, vault_id, generation)
        except VaultError:
            continue
        found |= set(ring.keys)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_an_old_vault_directory_with_the_keys_of_today_brings_no_expired_record_back(tmp_path: Path, kind: str) -> None:
    """He has: an old copy of the vault directory, today's key directory, passphrase or PIN. Every provider holds."""
    vault = expired(tmp_path, kind)
    has = tmp_path / "has"
    shutil.copytree(vault.layout.keys, has / "keys")
    # Old rings are no part of a key directory of today; he may have one from a backup all the same.
    shutil.copy(tmp_path / "image" / "vault.keys" / "ring-1", has / "keys" / "ring-1")
    opens = opened_keys(has / "keys", vault.settings.id)

    assert DAY not in opens
    assert LIVING in opens
    old = Layout(tmp_path / "image" / "vault", vault.layout.keys)
    with pytest.raises(VaultError, match=r"missing|older than the keys"):
        app.open_vault(old, Disk(), SetClock(LATE), ask=answering())


@pytest.mark.parametrize("kind", ["local", "passphrase"])
def test_an_old_key_directory_brings_it_back_where_keys_are_files(tmp_path: Path, kind: str) -> None:
    """He has: old copies of both directories, and the passphrase. That is what `final_at` states the end of."""
    vault = expired(tmp_path, kind)

    assert DAY in opened_keys(tmp_path / "image" / "vault.keys", vault.settings.id)
    with vault.catalogue.reading() as tx:
        bodies = [row["body"] for row in tx.select("certificates")]
    deleted = vault.clock.now() + vault.policy.key_copies_within.delta()
    assert all(f'"final_at":"{deleted:%Y-%m-%d}' in body for body in bodies)


def test_an_old_passphrase_directory_without_the_passphrase_opens_nothing(tmp_path: Path) -> None:
    """He has: old copies of both directories, and all of today, but not the passphrase."""
    vault = expired(tmp_path, "passphrase")

    for keys in (tmp_path / "image" / "vault.keys", vault.layout.keys):
        assert opened_keys(keys, vault.settings.id, SECRETS | {"TRAFFICVAULT_PASSPHRASE": "a guess at it"}) == set()


def test_an_old_key_directory_without_its_object_opens_nothing_of_the_token(tmp_path: Path) -> None:
    """He has: old copies of both directories, today's token and its PIN. The object of then is gone from the token."""
    vault = expired(tmp_path, "pkcs11")

    assert opened_keys(tmp_path / "image" / "vault.keys", vault.settings.id) == set()
    assert LIVING in opened_keys(vault.layout.keys, vault.settings.id)
    with vault.catalogue.reading() as tx:
        bodies = [row["body"] for row in tx.select("certificates")]
    assert all(f'"final_at":"{LATE:%Y-%m-%d}' in body for body in bodies)
    assert all('"key_provider":"PKCS#11 token"' in body for body in bodies)


@pytest.mark.parametrize("when", ["then", "today"])
def test_an_old_image_of_a_software_token_brings_it_back(tmp_path: Path, when: str) -> None:
    """He has: old copies of both directories, the PIN, and an image of the token's own files, of then or of today. Of
    then it opens the day: a token that lies on a disk is copied like one. A real HSM gives no such image.
    """
    vault = expired(tmp_path, "pkcs11")
    settings = tmp_path / "image" / "softhsm2.conf" if when == "then" else token_house.image(tmp_path / "now")
    told = (
        "import sys; from pathlib import Path; from tests.scenarios.test_backup_proof import opened_keys; "
        "print(*opened_keys(Path(sys.argv[1]), sys.argv[2]), sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-c", told, str(tmp_path / "image" / "vault.keys"), vault.settings.id],
        cwd=ROOT,
        env=unmeasured() | {"SOFTHSM2_CONF": str(settings)},
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )

    assert (DAY in done.stdout.split()) is (when == "then")


@pytest.mark.parametrize("kind", KINDS)
def test_no_key_lies_in_clear_in_vault_or_backup(tmp_path: Path, kind: str) -> None:
    """Neither directory's bytes hold a day key, as bytes or hex, but the local root key's own line."""
    vault = expired(tmp_path, kind)
    everything = every_byte(vault.layout.vault, vault.layout.keys)

    for name in (LIVING, "audit", "signing"):
        key = vault.keys.custody("verify").key(name)
        assert key not in everything
        assert key.hex().encode() not in everything
