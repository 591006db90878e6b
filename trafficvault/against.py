"""Against: holds an old copy of the vault's record files against today's keys, file by file.

Whoever has a backup tape in his hands can be shown that the expired files on it are unreadable: each is tried with
every key that the ring holds today, and not only with the one that it names. What opens a file is the key of its footer
(without it not even the ids of the other keys can be read), whose wrapped form stands in clear at the end of the file.

This shows something of today's keys, not of copies of keys that somebody made before: `final_at` of the certificate
says until when the rules allowed such a copy.
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
from trafficvault import sealing
from trafficvault.errors import FaultError, UsageError
from trafficvault.progress import Progress, Watch
from trafficvault.ring import UNDATED, is_segment_key
from trafficvault.vault import Vault

_MAGIC = b"PARE"
_MOST_FOOTER = 64 * 2**20
_MATERIAL = re.compile(rb'\{"keyMaterialType":[^{}]*\}')
_NONCE_BYTES = 12


@dataclass(frozen=True, slots=True)
class Attempt:
    """One file of the copy: `state` of its day in this vault (expired, living, unknown), and the key that opens it."""

    file: str
    state: str
    opened_by: str | None

    @property
    def is_fault(self) -> bool:
        """Whether a file that should be unreadable is not."""
        return self.state != "living" and self.opened_by is not None


def against(vault: Vault, copy: Path, progress: Watch = lambda step: None) -> list[Attempt]:
    """Tries every record file below the directory `copy`. Raises `UsageError` when there is none in it."""
    paths = sorted(path for path in copy.rglob("*.parquet") if _place(path) is not None) if copy.is_dir() else []
    if not paths:
        raise UsageError(f"holding {copy} against today's keys: no <class>/<day>/<file>.parquet lies below it")
    with vault.catalogue.reading() as tx:
        states = {(str(row["record_class"]), str(row["day"])): str(row["state"]) for row in tx.select("partitions")}
        bodies = [json.loads(row["body"]) for row in tx.select("certificates", kind="rows")]
    # Of a living day the files that rows were removed from, as they were before.
    removed = {(body["class"], body["day"], item["id"]) for body in bodies for item in body["files"]}
    custody = vault.keys.custody("verify")
    dated = sorted(name for name in vault.keys.key_ids() if name not in UNDATED and not is_segment_key(name))
    keys = {name: custody.key(name) for name in dated}
    tried = []
    for number, path in enumerate(paths):
        progress(Progress("files", 0, number, len(paths), "files"))
        tried.append(_try(path, copy, states, removed, keys))
    return tried


def _try(
    path: Path,
    copy: Path,
    states: Mapping[tuple[str, str], str],
    removed: Collection[tuple[str, str, str]],
    keys: Mapping[str, bytes],
) -> Attempt:
    record_class, day, file_id = path.parts[-3], path.parts[-2], path.stem
    state = {"live": "living", None: "unknown"}.get(states.get((record_class, day)), "expired")
    if (record_class, day, file_id) in removed:
        state = "expired"
    name = str(path.relative_to(copy))
    opened_by = None
    for key_id, wrapped in _wrapped(path):
        # The key that it names first; of an expired day it is not there.
        own = [one for one in keys if one.startswith(f"{record_class}/{day}/")]
        opened_by = opened_by or next(
            (one for one in (*own, *keys) if _opens(keys[one], file_id, key_id, wrapped)), None
        )
    return Attempt(name, state, opened_by)


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
