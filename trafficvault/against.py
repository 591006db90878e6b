"""Against: holds an old copy of the vault's record files against today's keys, file by file.

Whoever has a backup tape in his hands can be shown that the expired files on it are unreadable: each is tried with
every key that the ring holds today, and not only with the one that it names. What opens a file is the key of its footer
(without it not even the ids of the other keys can be read), whose wrapped form stands in clear at the end of the file.

Where keys lie in the copy as well, a key directory of then or the ring of a backup, they are opened as whoever has the
copy and today's secrets could open them, and tried too: that is how a copy of keys shows which should be gone by now.

This shows something of the keys that were at hand, not of copies of keys that somebody made before and has elsewhere:
`final_at` of the certificate says until when the rules allowed such a copy.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ingest.record import CLASSES
from trafficvault import providers, sealing
from trafficvault.errors import FaultError, UsageError, VaultError
from trafficvault.layout import Layout
from trafficvault.progress import Progress, Watch
from trafficvault.provider import Ask
from trafficvault.ring import UNDATED, is_row_key, is_segment_key, open_ring, ring_generations
from trafficvault.vault import Vault

_MAGIC = b"PARE"
_MOST_FOOTER = 64 * 2**20
_MATERIAL = re.compile(rb'\{"keyMaterialType":[^{}]*\}')
_NONCE_BYTES = 12
_KEY_FILE = re.compile(r"root\.key|root\.sealed|token\.json|(?:epoch|ring)-[1-9][0-9]*")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One file of the copy: `state` of its day in this vault (expired, living, unknown), and the key that opens it, of
    today and of those that lie in the copy.
    """

    file: str
    state: str
    opened_by: str | None
    opened_by_copied: str | None = None

    @property
    def is_fault(self) -> bool:
        """Whether a file that should be unreadable is not."""
        return self.state != "living" and (self.opened_by is not None or self.opened_by_copied is not None)


@dataclass(frozen=True, slots=True)
class CopiedKeys:
    """A directory of the copy in which keys lie: how many day keys could be taken from it, or why none."""

    place: str
    keys: int
    reason: str | None


@dataclass(frozen=True, slots=True)
class Trial:
    """What was tried: each file, with how many keys of today, by which provider, and which keys of the copy."""

    files: tuple[Attempt, ...]
    keys: int
    generation: int
    provider: str
    copied: tuple[CopiedKeys, ...]
    copies_can_exist: bool

    @property
    def faults(self) -> tuple[Attempt, ...]:
        """The files that should be unreadable and are not."""
        return tuple(one for one in self.files if one.is_fault)

    def sentences(self) -> list[str]:
        """What was tried, with which keys, what was readable, and the verdict; for an auditor."""
        told = [
            f"tried: the {len(self.files)} record files of the copy; who opens the footer of a file can go on to its "
            "columns, and who can't reads nothing of it",
            f"with: each of the {self.keys} day keys of today (generation {self.generation}, {self.provider}), and not "
            "only with the one that a file names",
        ]
        for one in self.copied:
            found = f"{one.keys} day keys, tried too" if one.reason is None else f"none could be taken: {one.reason}"
            told.append(f"keys in the copy, {one.place}: {found}")
        for state, expected in (("living", "readable"), ("expired", "unreadable"), ("unknown", "unreadable")):
            mine = [one for one in self.files if one.state == state]
            opened = sum(1 for one in mine if one.opened_by or one.opened_by_copied)
            if mine:
                told.append(f"{_DAYS[state]}: {opened} of {len(mine)} files readable; should be {expected}")
        today = [one for one in self.faults if one.opened_by is not None]
        if today:
            told.append(f"verdict: FAILED: a key of today opens {len(today)} files that should be unreadable")
        if len(self.faults) > len(today):
            told.append(
                f"verdict: FAILED: keys that lie in the copy open {len(self.faults) - len(today)} files that should be "
                "unreadable; destroy those keys: they were to be gone by `final_at` of the certificates"
            )
        if not self.faults and all(one.state == "living" for one in self.files):
            told.append("verdict: NOTHING SHOWN: the copy has no file that should be unreadable; take an older one")
        elif not self.faults:
            told.append("verdict: none of the files that should be unreadable could be opened")
        told.append(
            "not shown: what keys open that somebody copied before and has elsewhere; `final_at` of each certificate "
            "says until when such a copy could be"
            if self.copies_can_exist
            else "not shown: whether the token's maker keeps copies of its objects; the provider lets nobody copy a key"
        )
        return told


_DAYS = {
    "living": "of days that are alive",
    "expired": "of days that have expired, or from which rows were removed",
    "unknown": "of days that this vault does not know",
}


def against(vault: Vault, copy: Path, ask: Ask, progress: Watch = lambda step: None) -> Trial:
    """Tries every record file below the directory `copy`; `ask` gives the secret of a key directory in it.

    Raises `UsageError` when there is no record file in it.
    """
    paths = sorted(path for path in copy.rglob("*.parquet") if _place(path) is not None) if copy.is_dir() else []
    if not paths:
        raise UsageError(f"holding {copy} against today's keys: no <class>/<day>/<file>.parquet lies below it")
    with vault.catalogue.reading() as tx:
        states = {(str(row["record_class"]), str(row["day"])): str(row["state"]) for row in tx.select("partitions")}
        bodies = [json.loads(row["body"]) for row in tx.select("certificates", kind="rows")]
    # Of a living day the files that rows were removed from, as they were before.
    removed = {(body["class"], body["day"], item["id"]) for body in bodies for item in body["files"]}
    custody = vault.keys.custody("verify")
    dated = sorted(
        name for name in vault.keys.key_ids() if name not in UNDATED and not (is_segment_key(name) or is_row_key(name))
    )
    keys = {name: custody.key(name) for name in dated}
    copied, old = _copied_keys(vault, copy, ask)
    tried = []
    for number, path in enumerate(paths):
        progress(Progress("files", 0, number, len(paths), "files"))
        tried.append(_try(path, copy, states, removed, keys, old))
    provider = vault.keys.provider_name
    return Trial(tuple(tried), len(keys), vault.keys.generation, provider, copied, vault.keys.copies)


def _copied_keys(vault: Vault, copy: Path, ask: Ask) -> tuple[tuple[CopiedKeys, ...], dict[str, bytes]]:
    """The directories of the copy with keys, and every day key that opens there, by its place and id."""
    found: list[CopiedKeys] = []
    keys: dict[str, bytes] = {}
    for directory in sorted({path.parent for path in copy.rglob("*") if _KEY_FILE.fullmatch(path.name)}):
        layout, place = Layout(directory, directory), str(directory.relative_to(copy))
        mine: dict[str, bytes] = {}
        reason = "no ring lies there"
        try:
            # A token's file names a program to load: of a copy that is never done. Its rings are held against today's.
            kind = providers.present(directory)
            provider = vault.keys.provider
            if kind in ("local", "passphrase"):
                provider = providers.open_(layout, vault.disk, vault.settings.id, ask)
        except VaultError as problem:
            found.append(CopiedKeys(place, 0, str(problem)))
            continue
        for generation in sorted(ring_generations(layout)):
            try:
                ring = open_ring(layout.ring(generation).read_bytes(), provider.unseal, vault.settings.id, generation)
            except VaultError as problem:
                reason = str(problem)
            else:
                mine |= {name: key for name, key in ring.keys.items() if name not in UNDATED}
        found.append(CopiedKeys(place, len(mine), None if mine else reason))
        keys |= {f"{place}: {name}": key for name, key in mine.items()}
    sealed = "an escrow copy, sealed to a public key; who has the private one opens with it what lived when it was made"
    found += [CopiedKeys(str(path.relative_to(copy)), 0, sealed) for path in sorted(copy.rglob("escrow-*-*.json"))]
    return tuple(found), keys


def _try(
    path: Path,
    copy: Path,
    states: Mapping[tuple[str, str], str],
    removed: Collection[tuple[str, str, str]],
    keys: Mapping[str, bytes],
    copied: Mapping[str, bytes],
) -> Attempt:
    record_class, day, file_id = path.parts[-3], path.parts[-2], path.stem
    state = {"live": "living", None: "unknown"}.get(states.get((record_class, day)), "expired")
    if (record_class, day, file_id) in removed:
        state = "expired"
    name = str(path.relative_to(copy))
    footers = list(_wrapped(path))

    def opener(of: Mapping[str, bytes]) -> str | None:
        # The keys that it names first; of an expired day they are not there.
        own = [one for one in of if f"{record_class}/{day}/" in one]
        tries = ((one, key_id, wrapped) for key_id, wrapped in footers for one in (*own, *of))
        return next((one for one, key_id, wrapped in tries if _opens(of[one], file_id, key_id, wrapped)), None)

    return Attempt(name, state, opener(keys), opener(copied))


def _opens(key: bytes, file_id: str, key_id: str, wrapped: bytes) -> bool:
    cipher = AESGCM(sealing.derive(key, "file", file_id))
    try:
        cipher.decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], key_id.encode())
    except (InvalidTag, ValueError):
        return False
    return True


def _wrapped(path: Path) -> Iterator[tuple[str, bytes]]:
    """Key id and wrapped data key of the footer, as they stand in clear at the end of the file (FORMAT.md, Records).

    Raises `FaultError` for a file of another form: of that nothing can be said.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - 8))
            end = file.read()
            length = int.from_bytes(end[:4], "little")
            if end[4:] != _MAGIC or not 0 < length <= min(size, _MOST_FOOTER):
                raise FaultError(f"reading {path.name}: it is no Parquet file with an encrypted footer, or was cut")
            file.seek(size - 8 - length)
            content = file.read(length)
    except OSError as problem:
        raise FaultError(f"reading {path.name}: {problem.strerror}") from problem
    found = [json.loads(one) for one in _MATERIAL.findall(content)]
    if not found:
        raise FaultError(f"reading {path.name}: it names no key")
    for material in found:
        try:
            yield str(material["masterKeyID"]), base64.b64decode(material["wrappedDEK"], validate=True)
        except (KeyError, binascii.Error) as problem:
            raise FaultError(f"reading {path.name}: the key it names is not of its form") from problem


def _place(path: Path) -> tuple[str, date] | None:
    try:
        return (path.parts[-3], date.fromisoformat(path.parts[-2])) if path.parts[-3] in CLASSES else None
    except (ValueError, IndexError):
        return None
