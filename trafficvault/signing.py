"""Canonical form, digest and Ed25519 signature of what people and the vault vouch for.

`canonical` is the subset of RFC 8785 (JSON canonicalisation) without fractions: keys sorted, no blanks, UTF-8. A value
that holds a float, or a key that is not text, is refused: its form would depend on who writes it.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from trafficvault.errors import FaultError

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)

_PLAIN = frozenset({type(None), bool, int, str})


def canonical(value: object) -> bytes:
    """The one form of `value` (objects, arrays, text, integers, booleans, null). Raises `TypeError` otherwise."""
    _require_plain(value)
    # RFC 8785 sorts by UTF-16 code units; all our keys are ASCII, where that is the order of Python's sort.
    return _ENCODER.encode(value).encode()


def read(text: str | bytes) -> Any:
    """The value that JSON `text` writes, for one that is signed. Raises `ValueError` where a name stands twice (a
    signature would vouch for one of the two, and a reader see the other), and for what has no canonical form.
    """
    try:
        found = json.loads(text, object_pairs_hook=_once)
        canonical(found)
    except (TypeError, RecursionError) as problem:
        raise ValueError("a signed text holds objects, arrays, text and whole numbers") from problem
    return found


def digest(value: object) -> str:
    """SHA-256 of the canonical form, lower-case hex."""
    return hashlib.sha256(canonical(value)).hexdigest()


def instant(moment: datetime) -> str:
    """The aware `moment` as text: RFC 3339, UTC, microseconds, a year of four digits."""
    # strftime writes years before 1000 without their zeros on some systems.
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def moment(text: str) -> datetime:
    """The inverse of `instant`. Raises `ValueError` for another form."""
    found = datetime.fromisoformat(text)
    if instant(found) != text:
        raise ValueError("an instant is RFC 3339 in UTC with microseconds")
    return found


def public_key_of(private_key: bytes) -> str:
    """The public half of a raw private key, as hex."""
    key = Ed25519PrivateKey.from_private_bytes(private_key).public_key()
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


def sign(private_key: bytes, message: bytes) -> str:
    """The Ed25519 signature (RFC 8032) of `message`, as hex."""
    return Ed25519PrivateKey.from_private_bytes(private_key).sign(message).hex()


def require_signature(public_key: str, signature: str, message: bytes, what: str) -> None:
    """Returns when `signature` over `message` is that of `public_key`; else raises `FaultError` naming `what`."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key)).verify(bytes.fromhex(signature), message)
    except (InvalidSignature, ValueError) as problem:
        raise FaultError(f"checking {what}: the signature is not that of key {public_key[:16]}…") from problem


def statement(act: str, subject: str, person: str, at: datetime) -> bytes:
    """What a person signs: that `person` did `act` (register, approve, …) on `subject`, a digest, at that moment."""
    message: dict[str, Any] = {"v": 1, "act": act, "subject": subject, "person": person, "at": instant(at)}
    return canonical(message)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _require_plain(value: object) -> None:
    if type(value) in _PLAIN:
        return
    match value:
        case list() | tuple():
            if not _PLAIN.issuperset(map(type, value)):
                for item in value:
                    _require_plain(item)
        case dict():
            for key, item in value.items():
                if not isinstance(key, str):
                    raise TypeError(f"a canonical object has text keys, not {type(key).__name__}")
                if type(item) not in _PLAIN:
                    _require_plain(item)
        case bool() | int() | str():
            return
        case _:
            raise TypeError(f"a canonical value holds no {type(value).__name__}")
