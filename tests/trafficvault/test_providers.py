"""The key port: three providers behind it, each by the same claims, and the claims that are one provider's own."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from functools import partial
from pathlib import Path

import pytest

from tests.trafficvault import token_house
from tests.trafficvault.key_choices import CHEAP, PASSPHRASE, SECRETS, answering, choice
from trafficvault import provider_passphrase, providers
from trafficvault.durable import Disk
from trafficvault.errors import FaultError, RefusedError, UsageError
from trafficvault.layout import Layout
from trafficvault.provider import KeyProvider, LockedError, from_environment
from trafficvault.provider_passphrase import PassphraseKey
from trafficvault.provider_pkcs11 import TokenKeys
from trafficvault.providers import KINDS, Choice

VAULT_ID = secrets.token_hex(8)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A vault whose key directory does not exist yet."""
    return Layout(tmp_path / "vault", tmp_path / "keys")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of provider."""
    return str(request.param)


@pytest.fixture
def vault_id() -> str:
    """Another one for each test: a token is shared by all of them."""
    return secrets.token_hex(8)


@pytest.fixture
def provider(layout: Layout, kind: str, vault_id: str) -> KeyProvider:
    """A new provider of that kind."""
    return providers.create(layout, Disk(), vault_id, choice(kind), answering())


def reopened(layout: Layout, vault_id: str) -> KeyProvider:
    """The same provider as another process opens it."""
    return providers.open_(layout, Disk(), vault_id, answering())


# --- claims of each provider


def test_the_key_directory_tells_its_provider(layout: Layout, provider: KeyProvider, kind: str) -> None:
    """By the one file that the provider has there; only its owner may read that."""
    assert providers.present(layout.keys) == kind
    assert [path.stat().st_mode & 0o777 for path in layout.keys.iterdir()] == [0o600]


@pytest.mark.parametrize("size", [0, 1, 2_000_000], ids=["nothing", "a byte", "more than a ring"])
def test_what_one_process_sealed_another_unseals(
    layout: Layout, provider: KeyProvider, vault_id: str, size: int
) -> None:
    """Of any size, and no byte of it is in the blob in clear."""
    content = b"a ring of keys" * (size // 14) + b"x" * (size % 14)
    provider.create_epoch(3)
    blob = provider.seal(3, content, "ring v 3")

    assert reopened(layout, vault_id).unseal(3, blob, "ring v 3") == content
    assert provider.holds(3)
    assert provider.generations() == {3}
    assert b"a ring of keys" not in blob


def test_a_blob_opens_at_its_own_place_and_generation_only(provider: KeyProvider) -> None:
    """One that was changed, cut or moved is a fault."""
    provider.create_epoch(1)
    provider.create_epoch(2)
    blob = provider.seal(1, b"ring", "place")
    changed = bytearray(blob)
    changed[20] ^= 1
    last = bytearray(blob)
    last[-1] ^= 1

    for generation, other, place in (
        (1, blob, "elsewhere"),
        (2, blob, "place"),
        (1, bytes(changed), "place"),
        (1, bytes(last), "place"),
        (1, blob[:10], "place"),
        (1, b"TVS0" + blob[4:], "place"),
    ):
        with pytest.raises(FaultError, match=f"opening {place}"):
            provider.unseal(generation, other, place)


def test_a_destroyed_epoch_key_opens_nothing_and_may_be_destroyed_again(
    layout: Layout, provider: KeyProvider, vault_id: str
) -> None:
    """Here and in another process; another generation lives on."""
    provider.create_epoch(1)
    provider.create_epoch(2)
    blob, other = provider.seal(1, b"ring", "place"), provider.seal(2, b"ring", "place")
    again = reopened(layout, vault_id)
    provider.destroy_epoch(1)
    provider.destroy_epoch(1)

    assert not again.holds(1)
    assert again.generations() == {2}
    assert again.unseal(2, other, "place") == b"ring"
    with pytest.raises(FaultError, match="epoch key 1"):
        again.unseal(1, blob, "place")
    with pytest.raises(FaultError, match="epoch key 1"):
        again.seal(1, b"ring", "place")


def test_an_epoch_key_is_never_overwritten(provider: KeyProvider) -> None:
    """Creating a generation again is a fault, and leaves what was sealed readable."""
    provider.create_epoch(1)
    blob = provider.seal(1, b"ring", "place")

    with pytest.raises(FaultError, match="ever overwritten"):
        provider.create_epoch(1)
    assert provider.unseal(1, blob, "place") == b"ring"


def test_another_vault_has_none_of_these_keys(layout: Layout, provider: KeyProvider, kind: str) -> None:
    """Whoever names another vault id gets no key of this one."""
    provider.create_epoch(1)
    if kind == "passphrase":
        with pytest.raises(RefusedError, match="of another vault"):
            reopened(layout, "another")
    else:
        assert not reopened(layout, "another").holds(1)


def test_creating_twice_is_refused(layout: Layout, provider: KeyProvider, kind: str, vault_id: str) -> None:
    """A second root key would strand what the first one opens."""
    with pytest.raises(RefusedError, match="exists; name another key directory"):
        providers.create(layout, Disk(), vault_id, choice(kind), answering())


def test_a_file_that_others_may_read_is_refused(
    layout: Layout, provider: KeyProvider, kind: str, vault_id: str
) -> None:
    """Whatever the provider: somebody may have read or changed it."""
    next(layout.keys.iterdir()).chmod(0o640)

    with pytest.raises(RefusedError, match=r"mode 0640 .* chmod 600"):
        reopened(layout, vault_id)


def test_the_provider_tells_whether_its_keys_can_be_copied(provider: KeyProvider, kind: str) -> None:
    """Files can; a token's objects can't, and are given to no escrow."""
    provider.create_epoch(1)

    assert provider.copies == (kind != "pkcs11")
    if provider.copies:
        assert len(provider.export_epoch(1)) == 32
    else:
        with pytest.raises(RefusedError, match="never leaves its token"):
            provider.export_epoch(1)


def test_an_unknown_provider_and_a_half_named_token_are_refused() -> None:
    """A token takes both its names, and no other provider takes one."""
    for wrong in (
        partial(Choice, "cloud"),
        partial(Choice, "pkcs11"),
        partial(Choice, "pkcs11", Path("x.so")),
        partial(Choice, "local", None, "label"),
        partial(Choice, "passphrase", Path("x.so"), "label"),
    ):
        with pytest.raises(UsageError, match="choosing a key provider"):
            wrong()


# --- passphrase


def new_passphrase_key(layout: Layout, passphrase: str = PASSPHRASE) -> PassphraseKey:
    """A root key under `passphrase`, with one epoch key."""
    made = PassphraseKey.create(layout, Disk(), VAULT_ID, passphrase, CHEAP)
    made.create_epoch(1)
    return made


def test_no_file_holds_root_or_epoch_key_in_clear(layout: Layout) -> None:
    """Neither as bytes nor as hex digits."""
    epoch, root = new_passphrase_key(layout).export_epoch(1), b"\x07" * 32
    PassphraseKey.create(
        layout, Disk(), VAULT_ID, PASSPHRASE, CHEAP, lambda size: b"\x07" * size, layout.keys / "other"
    )
    found = b"".join(path.read_bytes() for path in layout.keys.iterdir())

    for key in (epoch, root):
        assert key not in found
        assert key.hex().encode() not in found


@pytest.mark.parametrize("given", ["another passphrase", PASSPHRASE.upper(), PASSPHRASE + " "])
def test_another_passphrase_is_refused(layout: Layout, given: str) -> None:
    """The sentence tells neither of the two."""
    new_passphrase_key(layout)

    with pytest.raises(RefusedError, match="the passphrase is not its own") as refused:
        PassphraseKey.open(layout, Disk(), VAULT_ID, answering({"TRAFFICVAULT_PASSPHRASE": given}))
    assert given not in str(refused.value)


def test_without_a_passphrase_the_keys_are_locked(layout: Layout) -> None:
    """That is an error of its own, so that expiry can go on as far as it may."""
    new_passphrase_key(layout)

    with pytest.raises(LockedError, match="passphrase of the root key"):
        PassphraseKey.open(layout, Disk(), VAULT_ID, answering({}))


def test_a_secret_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the hint says which variable to set."""
    with pytest.raises(LockedError) as locked:
        from_environment("PIN", "TRAFFICVAULT_PIN")
    assert locked.value.hint == "without a terminal, set TRAFFICVAULT_PIN"
    monkeypatch.setenv("TRAFFICVAULT_PIN", "0000")

    assert from_environment("PIN", "TRAFFICVAULT_PIN") == "0000"


def test_a_short_passphrase_is_refused(layout: Layout) -> None:
    """A stolen key directory can be guessed at for ever."""
    with pytest.raises(UsageError, match="fewer than 12 signs"):
        new_passphrase_key(layout, "eleven sign")
    assert not layout.sealed_root.exists()


def test_changing_the_passphrase_rewrites_one_file(layout: Layout) -> None:
    """The old one opens no more, the new one opens the same epoch keys."""
    epoch = new_passphrase_key(layout).export_epoch(1)
    before = layout.epoch_key(1).read_bytes()
    fresh = {"TRAFFICVAULT_PASSPHRASE": PASSPHRASE, "TRAFFICVAULT_NEW_PASSPHRASE": "four other words instead"}
    provider_passphrase.change(layout, Disk(), VAULT_ID, answering(fresh), CHEAP)

    with pytest.raises(RefusedError, match="not its own"):
        PassphraseKey.open(layout, Disk(), VAULT_ID, answering())
    again = PassphraseKey.open(
        layout, Disk(), VAULT_ID, answering({"TRAFFICVAULT_PASSPHRASE": "four other words instead"})
    )
    assert again.export_epoch(1) == epoch
    assert layout.epoch_key(1).read_bytes() == before


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "other"},
        {"v": 2},
        {"kdf": "scrypt"},
        {"salt": "xyz"},
        {"salt": 5},
        {"memory_kib": "64"},
        {"memory_kib": 2**40},
        {"lanes": None},
        None,
    ],
    ids=str,
)
def test_a_sealed_root_key_of_another_form_is_a_fault(layout: Layout, change: dict[str, object] | None) -> None:
    """Nothing is derived from terms that nobody wrote; a memory cost without bounds is one."""
    new_passphrase_key(layout)
    content = json.loads(layout.sealed_root.read_bytes())
    layout.sealed_root.write_bytes(b"not json" if change is None else json.dumps(content | change).encode())

    with pytest.raises(FaultError, match="not a sealed root key of version 1"):
        PassphraseKey.open(layout, Disk(), VAULT_ID, answering())


# --- PKCS#11


@pytest.fixture
def token(layout: Layout, vault_id: str) -> TokenKeys:
    """Epoch keys 1 in the real token."""
    named = choice("pkcs11")
    assert named.module is not None
    made = TokenKeys.create(layout, Disk(), vault_id, named.module, token_house.LABEL, answering())
    made.create_epoch(1)
    return made


def test_the_key_directory_has_no_key_and_the_token_gives_none_out(
    layout: Layout, token: TokenKeys, vault_id: str
) -> None:
    """The object is sensitive, was never extractable and was made in the token."""
    import pkcs11
    from pkcs11 import Attribute

    with token._session() as session:
        key = session.get_key(label=f"trafficvault {vault_id} epoch 1")
        assert key[Attribute.SENSITIVE]
        assert not key[Attribute.EXTRACTABLE]
        assert key[Attribute.NEVER_EXTRACTABLE]
        assert key[Attribute.LOCAL]
        with pytest.raises(pkcs11.AttributeSensitive):
            _ = key[Attribute.VALUE]
    assert [path.name for path in layout.keys.iterdir()] == ["token.json"]


def test_a_wrong_pin_is_refused(layout: Layout, token: TokenKeys, vault_id: str) -> None:
    """The PIN is not in the sentence."""
    wrong = TokenKeys.open(layout, Disk(), vault_id, answering(SECRETS | {"TRAFFICVAULT_PIN": "9753"}))

    with pytest.raises(RefusedError, match="refused the PIN") as refused:
        wrong.generations()
    assert "9753" not in str(refused.value)


def test_two_openings_use_one_token_at_once(layout: Layout, token: TokenKeys, vault_id: str) -> None:
    """Signing in holds for a process: the second one does not sign the first one out."""
    again = TokenKeys.open(layout, Disk(), vault_id, answering())
    with token._session() as session, again._session():
        assert again.generations() == {1}
        assert session.get_key(label=f"trafficvault {vault_id} epoch 1") is not None


def test_a_token_that_is_not_there_is_told(layout: Layout, token: TokenKeys, vault_id: str, tmp_path: Path) -> None:
    """Another serial, another module, a name of another form: a fault each, when an existing vault is opened."""
    content = json.loads(layout.token.read_bytes())
    for change, words in (
        ({"serial": "00" * 8}, "no such token"),
        ({"module": str(tmp_path / "none.so")}, "can't be loaded"),
        ({"v": 2}, "names no token"),
        ({"serial": "zz"}, "names no token"),
    ):
        layout.token.write_text(json.dumps(content | change))
        with pytest.raises(FaultError, match=words):
            TokenKeys.open(layout, Disk(), vault_id, answering())


def test_a_token_with_keys_of_this_vault_is_not_taken_twice(layout: Layout, token: TokenKeys, vault_id: str) -> None:
    """Who lost the key directory has not lost its keys."""
    shutil.rmtree(layout.keys)

    with pytest.raises(RefusedError, match="already holds epoch keys of this vault"):
        providers.create(layout, Disk(), vault_id, choice("pkcs11"), answering())


def test_a_module_that_is_not_there_is_a_usage_error(layout: Layout, tmp_path: Path) -> None:
    """When a vault is made with it."""
    choice("pkcs11")
    with pytest.raises(UsageError, match="can't be loaded"):
        providers.create(layout, Disk(), VAULT_ID, Choice("pkcs11", tmp_path / "none.so", "label"), answering())
    with pytest.raises(UsageError, match="no such token"):
        providers.create(layout, Disk(), VAULT_ID, Choice("pkcs11", token_house.module(), "none"), answering())


def test_a_forked_process_does_not_use_the_session(token: TokenKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token's library does not survive a fork (PKCS#11 2.40, 6.7.1)."""
    monkeypatch.setattr(os, "getpid", lambda: -1)

    with pytest.raises(FaultError, match="open the vault anew"):
        token.generations()
