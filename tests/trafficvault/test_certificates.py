"""Certificates, exported and checked offline: what holds, what is said of it, and every part changed."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trafficvault.proof_house import expired
from trafficvault import attestation, certificates, checkpoints, notes, signing
from trafficvault.errors import FaultError, RefusedError, UsageError
from trafficvault.vault import Vault

Export = dict[str, Any]


@pytest.fixture
def made(stored: Vault) -> tuple[Vault, Export, str]:
    """A vault after an expiry, the export of a certificate, and the checkpoint that was kept."""
    late, issued = expired(stored)
    note = checkpoints.make(late)["note"]
    return late, certificates.export(late, issued[0]["id"]), note


def test_an_export_holds_offline(made: tuple[Vault, Export, str]) -> None:
    """With the key and the kept checkpoint all is proved; the verdict tells attested from proved, and what is open."""
    late, export, note = made
    verdict = attestation.check(json.loads(signing.canonical(export)), late.settings.public_key, note)

    assert len(verdict.proved) == 3
    assert verdict.open == ()
    assert "That is its word" in verdict.attested
    assert f"vault {late.settings.id} says: the keys of the records of class mobile_usage" in verdict.attested
    bare = attestation.check(export, None)
    assert len(bare.open) == 2
    assert "it came with the file" in bare.open[0]


def test_every_certificate_of_a_run_is_proved(made: tuple[Vault, Export, str]) -> None:
    """Records, rejections and held bytes, of one entry, each by its own id or the beginning of it."""
    late, _, note = made
    for one in certificates.listing(late):
        export = certificates.export(late, one["id"][:12])
        assert attestation.check(export, late.settings.public_key, note).certificate == one["id"]
        assert certificates.find(late, one["id"]) == one
        # As `expire --json` and `certificate show --json` print it, it carries no proof.
        assert len(attestation.check(one, late.settings.public_key).open) == 1
    for wrong in ("", "zz"):
        with pytest.raises(UsageError, match="looking for certificate"):
            certificates.find(late, wrong)


def test_no_checkpoint_no_proof(stored: Vault) -> None:
    """Before a checkpoint has its entry a certificate is not exported; one of the version before never has a proof."""
    late, issued = expired(stored)
    with pytest.raises(RefusedError, match="the newest checkpoint is of 0 entries"):
        certificates.export(late, issued[0]["id"])
    with late.catalogue.transaction() as tx:
        row = tx.select("certificates")[0]
        body = json.loads(row["body"])
        del body["entry"]
        text = signing.canonical(body)
        tx.put("certificates", **row | {"id": signing.digest(body)[:32], "body": text.decode()})
    assert "proof" not in certificates.export(late, signing.digest(body)[:32])


def _set(*keys: str | int, to: object) -> Callable[[Export], None]:
    def change(export: Export) -> None:
        part: Any = export
        for key in keys[:-1]:
            part = part[key]
        part[keys[-1]] = to

    return change


CHANGES: dict[str, tuple[Callable[[Export], None], str]] = {
    "another day": (_set("certificate", "day", to="2026-11-11"), "signature is not that"),
    "another signature": (_set("signature", to="00" * 64), "signature is not that"),
    "another id": (_set("id", to="0" * 32), "its id is not that of its content"),
    "no id": (_set("id", to=""), "its id is not that of its content"),
    "another path": (_set("proof", "path", 0, to="00" * 32), "does not lead"),
    "a shorter path": (_set("proof", "path", to=[]), "does not lead"),
    "no entry": (_set("proof", "entry", to="{}"), "is none"),
    "a changed entry": (_set("proof", "entry", to='{"seq":1}'), "changed"),
    "no checkpoint": (_set("checkpoint", to="x"), "not a signed note"),
    "a remark": (_set("remark", to="all copies are gone"), "added 1 fields that are none of its own"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_was_changed_is_found(made: tuple[Vault, Export, str], name: str) -> None:
    """Each part of an export, changed, is named as what it is."""
    late, export, _ = made
    change, sentence = CHANGES[name]
    changed = copy.deepcopy(export)
    change(changed)
    with pytest.raises(FaultError, match=sentence):
        attestation.check(changed, late.settings.public_key)


NONSENSE: dict[str, tuple[dict[str, object], str]] = {
    "another kind": ({"kind": "certificate"}, "it is not a certificate-of-deletion"),
    "deleted before it was due": ({"deleted_at": "2026-01-01T00:00:00.000000Z"}, "these are out of order"),
    "final before it was deleted": ({"final_at": "2027-01-01T00:00:00.000000Z"}, "these are out of order"),
    "an instant of another form": ({"due": "2027-05-11"}, "not of its form"),
    "no due": ({"due": ...}, "a field is missing"),
    "another lateness": ({"lateness_seconds": 1}, "1 s late"),
    "fewer than no records": ({"records": -1}, "a count is negative"),
    "unknown categories": ({"categories": ["content"]}, "keys or categories"),
    "keys that are no list": ({"keys": "none"}, "keys or categories"),
    "an entry that does not name it": ({"rule": "another"}, "is not the one that names it"),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_a_signature_over_nonsense_is_no_proof(made: tuple[Vault, Export, str], name: str) -> None:
    """A vault that signs what can't be is found out by the certificate itself, or by its log."""
    late, export, _ = made
    fields, sentence = NONSENSE[name]
    changed = copy.deepcopy(export)
    body = {key: value for key, value in (export["certificate"] | fields).items() if value is not ...}
    signature = signing.sign(late.keys.signing_key(), signing.canonical(body))
    changed |= {"certificate": body, "signature": signature, "id": signing.digest(body)[:32]}
    with pytest.raises(FaultError, match=sentence):
        attestation.check(changed, late.settings.public_key)


def test_the_kept_checkpoint_decides(made: tuple[Vault, Export, str]) -> None:
    """Another of the same size is a second history; one of another size asks for a proof that leads to it."""
    late, export, note = made
    key, origin = late.settings.public_key, checkpoints.origin(late)
    size = notes.read_checkpoint(note, origin, key).size
    second = notes.sign_note(notes.Checkpoint(origin, size, bytes(32)).text(), origin, late.keys.signing_key())
    with pytest.raises(FaultError, match="it has two histories"):
        attestation.check(export, key, second)
    with late.catalogue.transaction() as tx:
        late.audit.enter(tx, "test", None, {})
    newer = checkpoints.make(late)["note"]
    with pytest.raises(FaultError, match="ask for `certificate show ID --checkpoint FILE`"):
        attestation.check(export, key, newer)
    again = certificates.export(late, export["id"], newer)
    assert attestation.check(again, key, newer).open == ()
    assert attestation.check(certificates.export(late, export["id"], note), key, note).open == ()
    bare = certificates.find(late, export["id"])
    with pytest.raises(FaultError, match="carries no proof"):
        attestation.check(bare, key, note)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"kind":"certificate-export","v":1}', '{"certificates":[]}', "[" * 100_000, "1.5"]
)
def test_a_file_that_is_no_certificate(text: str) -> None:
    """It is said in a sentence, with the exit code of a wrong file."""
    with pytest.raises(UsageError, match="reading a certificate"):
        attestation.check(attestation.read_file(text), "0" * 64)


def test_a_field_that_stands_twice_is_refused(made: tuple[Vault, Export, str]) -> None:
    """The signature vouches for the last of the two, and somebody who reads the file sees the first."""
    late, export, _ = made
    text = signing.canonical(export).decode()
    assert attestation.check(attestation.read_file(text), late.settings.public_key).proved
    twice = text.replace('"certificate":{', '"certificate":{"records":0,')
    with pytest.raises(UsageError, match="not as the vault writes it"):
        attestation.read_file(twice)


def test_a_later_form_is_refused() -> None:
    """An export of a version that this program does not know is not guessed at."""
    with pytest.raises(UsageError, match="version 2"):
        attestation.check({"kind": "certificate-export", "v": 2}, None)
    with pytest.raises(UsageError, match="the file names no key"):
        attestation.check({"id": "x", "signature": "y"}, None)
    assert attestation.read_file('{"certificates":[{"id":"x"}]}') == {"id": "x"}


NAMES = st.sampled_from(["kind", "v", "id", "certificate", "signature", "public_key", "proof"])
SIMPLE = st.none() | st.booleans() | st.integers() | st.text()


@given(st.recursive(SIMPLE, lambda inner: st.lists(inner) | st.dictionaries(st.text() | NAMES, inner)))
def test_any_json_is_a_sentence(content: object) -> None:
    """Whatever JSON it is, the answer is a fault or a wrong file, never a traceback."""
    with pytest.raises((FaultError, UsageError)):
        attestation.check(content, "0" * 64)


def test_a_public_key_is_read_from_where_it_stands(made: tuple[Vault, Export, str]) -> None:
    """As hex, or out of a vault.toml; anything else is refused."""
    late, _, _ = made
    key = late.settings.public_key
    assert attestation.read_public_key(f"{key}\n") == key
    assert attestation.read_public_key(late.layout.settings.read_text()) == key
    for text in ("", "abc", f"{key}\n{'0' * 64}\n"):
        with pytest.raises(UsageError, match="reading the public key"):
            attestation.read_public_key(text)
