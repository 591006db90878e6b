"""Escrow: one copy of the living epoch key, sealed to a public key whose private half lies elsewhere, offline.

Where a key directory is lost and keys are files, this copy and a backup bring the vault back. It is sealed by HPKE
(RFC 9180: X25519, HKDF-SHA256, AES-256-GCM) and replaced at each renewal: the new one is durable before those before it
are removed, so that there is always one, and soon only one; where it moves, the places before are remembered until they
were cleared, and what a crash cut short the next writer finishes. A copy from before an expiry is what `final_at` waits
for; `status` fails its check while one is left. Key and places stand sealed in the catalogue, for who could change them
would have the keys. A token's epoch key can't be copied, so there is no escrow of it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from trafficvault import disk_errors, refusals, signing
from trafficvault.catalogue import Transaction
from trafficvault.durable import PART, Disk
from trafficvault.errors import FaultError, RefusedError, SpaceError, UsageError
from trafficvault.layout import Layout
from trafficvault.people import Person, require_role
from trafficvault.provider import Ask, LocalKeyFile
from trafficvault.vault import Vault

VARIABLE: Final = "TRAFFICVAULT_ESCROW_PASSPHRASE"
_META = "escrow"
"""The `meta` row: `{"key": "<hex>", "leaves": ["<path>", …], "made": true, "to": "<path>"}`, of which `leaves` are the
places before, as long as a copy may lie there, and `made` is false until the first copy was; a version before this had
`key` and `to` alone.
"""
_KIND = "trafficvault-escrow"
_SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


@dataclass(frozen=True, slots=True)
class Escrow:
    """To which public key, and where, the living epoch key is copied."""

    key: str
    to: Path
    leaves: tuple[Path, ...] = ()
    """Where copies lay before, as long as some may be left."""
    made: bool = True
    """Whether a copy for this very key was made since the escrow was set."""


def current(tx: Transaction) -> Escrow | None:
    """The escrow that is set; None without one."""
    found = json.loads(tx.meta(_META) or "null")
    if found is None:
        return None
    leaves = tuple(Path(place) for place in found.get("leaves", ()))
    return Escrow(found["key"], Path(found["to"]), leaves, found.get("made", True))


def set_(vault: Vault, person: Person, key: Path, to: Path) -> Escrow:
    """Sets the escrow and makes its copy. The caller holds the writer's lock.

    Raises `RefusedError` for who is no administrator and for a provider whose keys can't be copied, `UsageError` for a
    file that is no X25519 public key or a directory that is not there or lies in the vault or its keys.
    """
    with refusals.logged(vault, "escrow", person.name, {}):
        require_role(person, "administrator")
        vault.keys.provider.export_epoch(vault.keys.generation)
    public, place = _public_key(key), to.resolve()
    _require_place(vault.layout, place)
    with vault.catalogue.transaction() as tx:
        before = current(tx)
        leaves = dict.fromkeys(() if before is None else (*before.leaves, before.to))
        wanted = Escrow(public, place, tuple(one for one in leaves if one != place), made=False)
        _put(tx, wanted)
        vault.audit.enter(tx, "escrow", person.name, {"key": wanted.key, "to": str(wanted.to)})
    vault.audit.flush()
    return _renew(vault, wanted)


def end(vault: Vault, person: Person, *, forget: bool = False) -> list[Path]:
    """Takes the escrow off and removes its copies. The caller holds the writer's lock.

    Raises `RefusedError` for who is no administrator, without an escrow, and where a copy is out of reach, unless such
    a one is to be forgotten: nothing tells of it any more then but the log. Returns the places that were forgotten.
    """
    with refusals.logged(vault, "escrow", person.name, {}):
        require_role(person, "administrator")
        with vault.catalogue.reading() as tx:
            before = current(tx)
        if before is None:
            raise RefusedError("ending the escrow: none is set")
        places = (*before.leaves, before.to)
        away = [place for place in places if not place.is_dir()]
        if away and not forget:
            raise _out_of_reach(away[0], "is not there, and has a copy")
        # Before it is forgotten where they are: a run that is cut short is done again.
        for place in (one for one in places if one not in away):
            try:
                _remove(vault, place, keep=None)
            except OSError as problem:
                if not forget:
                    reason = disk_errors.reason_of(problem)
                    raise _out_of_reach(place, f"is there, and its copy can't be removed ({reason})") from problem
                away.append(place)
    with vault.catalogue.transaction() as tx:
        told = {"forgotten": [str(place) for place in away]} if away else {}
        vault.audit.enter(tx, "escrow", person.name, {"key": None, "to": str(before.to), **told})
        tx.set_meta(_META, "null")
    vault.audit.flush()
    return away


def _out_of_reach(place: Path, why: str) -> RefusedError:
    return RefusedError(
        f"ending the escrow: {place} {why}; bring it back and do it again, or, where the copy is destroyed or will be, "
        "add --forget: nothing reminds of it then"
    )


def forget(tx: Transaction) -> bool:
    """Takes the escrow off without touching its copies; for a catalogue that was put back. Whether one was set."""
    was_set = current(tx) is not None
    tx.set_meta(_META, "null")
    return was_set


def refresh(vault: Vault) -> None:
    """Makes the copy of the living epoch key where it is missing, then removes all others. For who may write.

    A place that can't be written, such as one that is not mounted, stops no expiry: `problems` tells of it.
    """
    with vault.catalogue.reading() as tx:
        wanted = current(tx)
    if wanted is not None and problems(vault):
        try:
            _renew(vault, wanted)
        except (OSError, SpaceError):
            return


def problems(vault: Vault) -> list[str]:
    """What is wrong with the escrow's copies, a sentence each; none without an escrow."""
    with vault.catalogue.reading() as tx:
        wanted = current(tx)
    if wanted is None:
        return []
    if not vault.keys.copies:
        return ["an escrow is set and the key provider lets no copy be made; take it off with `escrow off`"]
    found = _copies(vault, wanted.to)
    told = []
    if vault.keys.generation not in found or not wanted.made:
        told.append(f"the escrow in {wanted.to} has no copy of the living epoch key; see that it can be written")
    old = [*sorted(found.keys() - {vault.keys.generation}), *_parts(vault, wanted.to)]
    if old:
        told.append(f"the escrow in {wanted.to} still has {len(old)} copies of destroyed epoch keys; remove them")
    for place in wanted.leaves:
        if place.is_dir():
            told.append(f"{place}, where the escrow was before, still has a copy; see that it can be written")
        else:
            told.append(
                f"{place}, where the escrow was before, is not there, and has a copy; bring it back for the next "
                "expire, or, where it was destroyed, take the escrow off with --forget and set it again"
            )
    return told


def open_(copy: Path, private_key: Path, layout: Layout, disk: Disk, ask: Ask) -> int:
    """Makes a key directory, with a new local root key, from an escrow copy; `restore` puts the ring there.

    Needs no vault and no network. Raises `RefusedError` when there is a key directory already, `FaultError` for a copy
    of another key or form. Returns the generation.
    """
    try:
        content = json.loads(copy.read_bytes())
        if [content["kind"], content["v"]] != [_KIND, 1]:
            raise ValueError
        vault_id, generation, sealed = (
            str(content["vault"]),
            int(content["generation"]),
            bytes.fromhex(content["sealed"]),
        )
    except OSError as problem:
        raise UsageError(f"opening an escrow copy: {copy.name} can't be read ({problem.strerror})") from problem
    except (ValueError, KeyError, TypeError) as problem:
        raise FaultError(f"opening an escrow copy: {copy.name} is not one of version 1") from problem
    try:
        epoch = _SUITE.decrypt(sealed, _private_key(private_key, ask), info=_place(vault_id, generation))
    except InvalidTag as problem:
        raise FaultError("opening an escrow copy: it was changed, or sealed to another key") from problem
    if layout.keys.exists() and any(layout.keys.iterdir()):
        raise RefusedError(f"opening an escrow copy: {layout.keys} is not empty; name another directory with --keys")
    LocalKeyFile.create(layout, disk, vault_id).import_epoch(generation, epoch)
    return generation


def _renew(vault: Vault, wanted: Escrow) -> Escrow:
    """Makes the copy of the living epoch key, removes all others, and forgets the places where none is left."""
    _write(vault, wanted)
    left: list[Path] = []
    for place in wanted.leaves:
        try:
            _remove(vault, place, keep=None)
        except OSError:
            # One that can be read alone keeps neither the new place from counting nor another from being cleared.
            left.append(place)
        else:
            left += [] if place.is_dir() else [place]
    done = Escrow(wanted.key, wanted.to, tuple(left))
    if done != wanted:
        with vault.catalogue.transaction() as tx:
            _put(tx, done)
    return done


def _put(tx: Transaction, wanted: Escrow) -> None:
    told = {
        "key": wanted.key,
        "leaves": [str(place) for place in wanted.leaves],
        "made": wanted.made,
        "to": str(wanted.to),
    }
    tx.set_meta(_META, signing.canonical(told).decode())


def _write(vault: Vault, wanted: Escrow) -> None:
    generation, vault_id = vault.keys.generation, vault.settings.id
    epoch = vault.keys.provider.export_epoch(generation)
    public = X25519PublicKey.from_public_bytes(bytes.fromhex(wanted.key))
    content = {
        "kind": _KIND,
        "v": 1,
        "vault": vault_id,
        "generation": generation,
        "made_at": signing.instant(vault.clock.now()),
        "sealed": _SUITE.encrypt(epoch, public, info=_place(vault_id, generation)).hex(),
    }
    path = wanted.to / f"escrow-{vault_id}-{generation}.json"
    vault.disk.create(path, signing.canonical(content) + b"\n")
    _remove(vault, wanted.to, keep=path)


def _remove(vault: Vault, place: Path, keep: Path | None) -> None:
    for path in (*_copies(vault, place).values(), *_parts(vault, place)):
        if path != keep:
            vault.disk.remove(path)


def _parts(vault: Vault, place: Path) -> list[Path]:
    """What a killed run had not named yet: as good a copy as any, and of a key that may have been destroyed since."""
    return sorted(place.glob(f"escrow-{vault.settings.id}-*.json{PART}*"))


def _copies(vault: Vault, place: Path) -> dict[int, Path]:
    form = re.compile(rf"escrow-{vault.settings.id}-([1-9][0-9]*)\.json")
    if not place.is_dir():
        return {}
    return {int(match[1]): path for path in place.iterdir() if (match := form.fullmatch(path.name))}


def _place(vault_id: str, generation: int) -> bytes:
    return f"trafficvault escrow {vault_id} {generation}".encode()


def _public_key(path: Path) -> str:
    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as problem:
        raise UsageError(f"setting the escrow: {path.name} is no public key in PEM") from problem
    if not isinstance(key, X25519PublicKey):
        raise UsageError(
            f"setting the escrow: {path.name} is no X25519 key", hint="openssl genpkey -algorithm X25519 makes one"
        )
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


def _private_key(path: Path, ask: Ask) -> X25519PrivateKey:
    try:
        content = path.read_bytes()
        try:
            key = load_pem_private_key(content, None)
        except TypeError:
            # It is encrypted, and takes a passphrase of its own.
            key = load_pem_private_key(content, ask("passphrase of the escrow's private key", VARIABLE).encode())
    except (OSError, ValueError) as problem:
        raise UsageError(
            f"opening an escrow copy: {path.name} is no private key in PEM, or its passphrase is another"
        ) from problem
    if not isinstance(key, X25519PrivateKey):
        raise UsageError(f"opening an escrow copy: {path.name} is no X25519 key")
    return key


def _require_place(layout: Layout, to: Path) -> None:
    if not to.is_dir():
        raise UsageError(f"setting the escrow: {to} is no directory; make it, for its owner alone")
    for inside in (layout.vault.resolve(), layout.keys.resolve()):
        if to.is_relative_to(inside):
            raise UsageError(f"setting the escrow: {to} lies in {inside.name}; a copy belongs elsewhere")
