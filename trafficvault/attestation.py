"""Checks an exported certificate offline, without a vault, with the vault's public key and, better, a kept checkpoint.

What a certificate says, the vault *attests*: nobody outside can see keys that are gone. What is *proved* is that it
said so: the signature, and that the statement stands in the log of which this checkpoint is signed, so that it can't be
taken back, or given another date, without a second history of the log that who keeps the checkpoint would see. `check`
tells the two apart, in sentences.

Errors: `FaultError` for what is not as the vault signed it, `UsageError` for a file that is no certificate.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ingest.record import CATEGORIES
from trafficvault import chain, merkle, notes, signing, wording
from trafficvault.chain import Head, Line
from trafficvault.errors import FaultError, UsageError

KIND, EXPORT = "certificate-of-deletion", "certificate-export"
_SHOWN = ("id", "signature")
_EXPORTED = frozenset(("kind", "v", "id", "certificate", "signature", "public_key", "proof", "checkpoint", "timestamp"))
_INSTANTS = ("due", "deleted_at", "final_at")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an outsider may conclude: what the vault attests, what is proved, and what neither shows."""

    certificate: str
    attested: str
    proved: tuple[str, ...]
    open: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Export:
    """A certificate file, read."""

    identity: str
    body: dict[str, Any]
    signature: str
    public_key: str | None
    line: str | None
    path: tuple[bytes, ...]
    checkpoint: str | None


def read_public_key(text: str) -> str:
    """The key in `text`: 64 hex digits, alone or as `public_key` of a vault.toml. Raises `UsageError`."""
    found = re.findall(r'^\s*(?:public_key\s*=\s*")?([0-9a-f]{64})"?\s*(?:#.*)?$', text, re.MULTILINE)
    if len(found) != 1:
        raise UsageError("reading the public key: it is not 64 lower-case hex digits, nor a vault.toml with public_key")
    return str(found[0])


def check(content: object, public_key: str | None, checkpoint: str | None = None) -> Verdict:
    """Checks the export (or the bare certificate, as `expire --json` prints it) `content`.

    Without `public_key` the one in the file is used, and the verdict says what that is worth. `checkpoint` is a note
    that somebody kept: then the proof must lead to that one. Raises `FaultError` or `UsageError`.
    """
    export = _read(content)
    key = public_key or export.public_key
    if key is None:
        raise UsageError("checking a certificate: the file names no key; give the vault's with --public-key")
    what = f"certificate {export.identity}"
    signed = signing.canonical(export.body)
    signing.require_signature(key, export.signature, signed, what)
    digest = signing.digest(export.body)
    if not export.identity or not digest.startswith(export.identity):
        raise FaultError(f"checking {what}: its id is not that of its content, {digest[:32]}")
    _require_sane(export.body, what)
    proved = [f"whoever holds the private key of {key[:16]}… signed this certificate, and no bit of it was changed"]
    unknown: list[str] = []
    if public_key is None:
        unknown.append(
            f"whose key {key[:16]}… is: it came with the file; compare it with one that the operator published"
        )
    _prove(export, key, digest, checkpoint, proved, unknown)
    return Verdict(export.identity, _attested(export.body), tuple(proved), tuple(unknown))


def _read(content: object) -> _Export:
    try:
        if not isinstance(content, dict):
            raise TypeError
        if content.get("kind") == EXPORT:
            if content["v"] != 1:
                raise UsageError(
                    f"reading a certificate: it is an export of version {content['v']}; this program reads 1"
                )
            if others := sorted(set(content) - _EXPORTED):
                # Nobody signed them, and who reads the file may take them for a part of it.
                raise FaultError(f"reading a certificate: somebody added {len(others)} fields that are none of its own")
            proof = content.get("proof")
            line, path = (None, []) if proof is None else (str(proof["entry"]), proof["path"])
            return _Export(
                str(content["id"]),
                dict(content["certificate"]),
                str(content["signature"]),
                str(content["public_key"]),
                line,
                tuple(bytes.fromhex(one) for one in path),
                None if proof is None else str(content["checkpoint"]),
            )
        body = {name: value for name, value in content.items() if name not in _SHOWN}
        return _Export(str(content["id"]), body, str(content["signature"]), None, None, (), None)
    except (KeyError, TypeError, ValueError) as problem:
        raise UsageError("reading a certificate: the file is neither an export nor a certificate as JSON") from problem


def read_file(text: str) -> object:
    """The JSON in a certificate file; of `{"certificates": […]}` the only one. Raises `UsageError`."""
    try:
        content: object = signing.read(text)
    except ValueError as problem:
        raise UsageError("reading a certificate: the file is not JSON, or not as the vault writes it") from problem
    if isinstance(content, dict) and set(content) >= {"certificates"}:
        many = content["certificates"]
        if not isinstance(many, list) or len(many) != 1:
            raise UsageError("reading a certificate: the file holds more than one, or none; give one at a time")
        return many[0]
    return content


def stamp_of(content: object) -> tuple[bytes, str]:
    """The time stamp in an export, and the note it is of. Raises `UsageError` when there is none."""
    try:
        if not isinstance(content, dict):
            raise TypeError
        return bytes.fromhex(content["timestamp"]), str(content["checkpoint"])
    except (KeyError, ValueError, TypeError) as problem:
        raise UsageError(
            "checking the time stamp: the file carries none; without --tsa-root the rest of it is checked"
        ) from problem


def _require_sane(body: Mapping[str, Any], what: str) -> None:
    """Refuses what the vault would never sign: a signature over nonsense is a fault of its signer."""
    if body.get("kind") != KIND or body.get("v") != 1:
        raise FaultError(f"checking {what}: it is not a {KIND} of version 1")
    try:
        # Rows that two persons took out were not due.
        told = {**body, "due": body["deleted_at"], "lateness_seconds": 0} if body.get("what") == "rows" else body
        due, deleted, final = (signing.moment(str(told[name])) for name in _INSTANTS)
        late = told["lateness_seconds"]
        categories, keys = body["categories"], body["keys"]
        counts = [body["records"], late, *(one["rows"] for one in body.get("files", ()))]
    except (KeyError, TypeError, ValueError) as problem:
        raise FaultError(f"checking {what}: a field is missing or not of its form") from problem
    if not due <= deleted <= final:
        raise FaultError(
            f"checking {what}: it was due {body['due']}, deleted {body['deleted_at']} and final {body['final_at']}: "
            "these are out of order"
        )
    if late != int((deleted - due).total_seconds()):
        raise FaultError(
            f"checking {what}: it says {late} s late, and its own times {int((deleted - due).total_seconds())}"
        )
    if any(type(number) is not int or number < 0 for number in counts):
        raise FaultError(f"checking {what}: a count is negative or no whole number")
    if not isinstance(keys, list) or not set(categories) <= set(CATEGORIES):
        raise FaultError(f"checking {what}: its keys or categories are not of their form")


def _attested(body: Mapping[str, Any]) -> str:
    subject = f"the {body['what']}"
    if body["what"] == "audit":
        subject = f"entries {body.get('first')} to {body.get('last')} of its audit log, of up to {body.get('day')},"
    elif body["what"] in ("keys", "hold"):
        subject = "what is kept apart from the days, and of days that nothing was stored of,"
    elif body.get("class"):
        subject += f" of class {body['class']}"
    if body.get("day") and body["what"] != "audit":
        subject += f", {body['day']}"
    if body["categories"] and set(body["categories"]) != set(CATEGORIES):
        subject += f" (only {', '.join(body['categories'])})"
    due = f", due at {_moment(body['due'])}" if body["due"] else ""
    waited = "" if body.get("leases_ended", True) else "; a reader had not ended when the keys were destroyed"
    return (
        f"vault {body['vault']} says: the keys of {subject} ({body['records']} records) were destroyed at "
        f"{_moment(body['deleted_at'])}{due}; the last copy of them that its rules permit is gone by "
        f"{_moment(body['final_at'])}{waited}. That is its word: no signature can show that nobody kept a copy"
    )


def _moment(text: str) -> str:
    """In UTC: the reader has the certificate, and neither the vault nor its zone."""
    return wording.moment(text, "UTC")


def _prove(export: _Export, key: str, digest: str, kept: str | None, proved: list[str], unknown: list[str]) -> None:
    if export.line is None or export.checkpoint is None:
        if kept is not None:
            raise FaultError(
                f"checking certificate {export.identity}: the file carries no proof to hold against the checkpoint; "
                "ask for `certificate show ID --checkpoint FILE`"
            )
        unknown.append(
            "whether it stands in the vault's log: the file carries no proof (`certificate show ID --out FILE`)"
        )
        return
    what = f"certificate {export.identity}"
    origin = notes.origin_of(str(export.body["vault"]))
    checkpoint = notes.read_checkpoint(kept or export.checkpoint, origin, key)
    if kept is not None and notes.read_checkpoint(export.checkpoint, origin, key) != checkpoint:
        inside = notes.read_checkpoint(export.checkpoint, origin, key).size
        if inside == checkpoint.size:
            raise FaultError(
                f"checking {what}: the vault signed two different logs of {inside} entries: it has two histories"
            )
        raise FaultError(
            f"checking {what}: its proof is for the checkpoint of {inside} entries and the one given is of "
            f"{checkpoint.size}; ask for `certificate show ID --checkpoint FILE`"
        )
    entry = _entry(export.line, key, what)
    if digest not in entry.get("statements", ()) or export.body.get("entry") != entry["seq"]:
        raise FaultError(f"checking {what}: the entry that comes with it is not the one that names it")
    leaf = merkle.leaf_hash(bytes.fromhex(entry["hash"]))
    merkle.require_inclusion(leaf, entry["seq"] - 1, checkpoint.size, export.path, checkpoint.root)
    proved.append(
        f"it is named by entry {entry['seq']}, of {_moment(entry['time'])}, of the log whose first {checkpoint.size} "
        f"entries have the signed root {checkpoint.root.hex()[:16]}…: it can't be taken back without a second history"
    )
    if kept is None:
        unknown.append("whether the vault shows others the same log: compare with a checkpoint that was kept elsewhere")
    else:
        proved.append("that is the checkpoint you kept")


def _entry(line: str, key: str, what: str) -> dict[str, Any]:
    try:
        seq = int(json.loads(line)["seq"])
        found = chain.read_line(Line(seq, line.encode(), "in the file"))
    except (ValueError, TypeError, KeyError, RecursionError) as problem:
        raise FaultError(f"checking {what}: the entry that comes with it is none") from problem
    return chain.follow(Head(seq - 1, found["prev"]), Line(seq, line.encode(), "in the file"), key)
