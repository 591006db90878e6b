"""Signed notes (c2sp.org/signed-note) and checkpoints (c2sp.org/tlog-checkpoint): text that anyone checks with a key.

    origin
    number of entries
    root, base64

    — name base64(key id ‖ Ed25519 signature of the text above the blank line)

The key id is the first four bytes of SHA-256(name ‖ newline ‖ 1 ‖ public key). Lines signed by others, such as
witnesses, may stand beside ours and are passed over.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

from trafficvault import merkle, signing
from trafficvault.errors import FaultError

MOST_BYTES = 131072
"""A checkpoint has some 250; this has room for the signatures of witnesses, and what is longer is not read."""
_ED25519 = b"\x01"
_DASH = "\N{EM DASH} "


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """That the log `origin` had `size` entries, and that they had this Merkle `root`."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The text that is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def origin_of(vault_id: str) -> str:
    """The name of a vault's log, and of the key that signs for it."""
    return f"trafficvault/{vault_id}"


def key_id(name: str, public_key: str) -> bytes:
    """The four bytes by which a signature line names its key."""
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + bytes.fromhex(public_key)).digest()[:4]


def verifier_key(name: str, public_key: str) -> str:
    """The public key as other programs for signed notes take it: `name+key id+base64`."""
    encoded = base64.b64encode(_ED25519 + bytes.fromhex(public_key)).decode()
    return f"{name}+{key_id(name, public_key).hex()}+{encoded}"


def sign_note(text: str, name: str, private_key: bytes) -> str:
    """`text`, which ends with a newline, as a note signed by `name`."""
    if not text.endswith("\n") or any(sign < " " and sign != "\n" for sign in text):
        raise ValueError("the text of a note ends with a newline and has no other control character")
    if not name or "+" in name or any(sign.isspace() for sign in name):
        raise ValueError("the name of a key is not empty and holds no blank and no plus")
    signature = bytes.fromhex(signing.sign(private_key, text.encode()))
    blob = key_id(name, signing.public_key_of(private_key)) + signature
    return f"{text}\n{_DASH}{name} {base64.b64encode(blob).decode()}\n"


def open_note(note: str, name: str, public_key: str) -> str:
    """The text of `note` when `name` signed it with this key. Raises `FaultError` otherwise."""
    what = f"checking a note of {name}"
    text, gap, lines = note.rpartition("\n\n")
    if not gap or not lines.endswith("\n") or len(note) > MOST_BYTES:
        raise FaultError(f"{what}: it is not a signed note: text, a blank line, signature lines")
    text += "\n"
    if any(sign < " " and sign != "\n" for sign in note):
        raise FaultError(f"{what}: it holds a control character")
    for line in lines.removesuffix("\n").split("\n"):
        signer, gap, encoded = line.removeprefix(_DASH).partition(" ")
        try:
            blob = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            blob = b""
        if not line.startswith(_DASH) or not gap or len(blob) < 5:
            raise FaultError(f"{what}: a line below the blank one is not a signature")
        if signer == name and blob[:4] == key_id(name, public_key):
            # The first line of our key decides, as in the reference implementation: a bad one is never made up for.
            signing.require_signature(public_key, blob[4:].hex(), text.encode(), f"the note of {name}")
            return text
    raise FaultError(f"{what}: it has no signature of key {public_key[:16]}…")


def read_checkpoint(note: str, origin: str, public_key: str) -> Checkpoint:
    """The checkpoint in `note`, which the log `origin` signed. Raises `FaultError` otherwise."""
    lines = open_note(note, origin, public_key).split("\n")
    try:
        found = Checkpoint(lines[0], int(lines[1]), base64.b64decode(lines[2], validate=True))
        # Lines behind the third are extensions, which the format allows and we never write.
        whole = found.text().split("\n")[:3] == lines[:3] and len(found.root) == merkle.HASH_BYTES
    except (IndexError, ValueError) as problem:
        raise FaultError(f"reading a checkpoint of {origin}: it is not origin, size and root") from problem
    if not whole or found.size < 0:
        raise FaultError(f"reading a checkpoint of {origin}: it is not origin, size and root")
    if found.origin != origin:
        raise FaultError(f"reading a checkpoint of {origin}: it is of the log {found.origin}")
    return found
