"""The PKCS#11 provider: each epoch key is an AES object that never leaves its token (an HSM, a smart card, softhsm).

The object is sensitive and not extractable, made in the token, one per generation, and found by its label. It wraps a
random key of 256 bits (AES-GCM, with the place as associated data), under which the ring is sealed here: a token takes
no ring of a megabyte, and this process sees the ring anyway. Destroying the object is `C_DestroyObject`; after it, no
copy of the key directory opens the ring, however old. `token.json` in the key directory says which module and token;
it stands there and not in the vault, for who can name a module runs code.

A session is opened for each use and closed after it, so nothing stays logged in and no session is shared by threads.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from trafficvault import sealing, signing
from trafficvault.durable import Disk
from trafficvault.errors import FaultError, RefusedError, UsageError
from trafficvault.layout import Layout
from trafficvault.provider import Ask, read_private

if TYPE_CHECKING:
    import pkcs11

VARIABLE: Final = "TRAFFICVAULT_PIN"
_KIND = "trafficvault-token"
_MAGIC = b"TVP1"
_NONCE_BYTES = 12
_WRAPPED_BYTES = _NONCE_BYTES + sealing.KEY_BYTES + 16
_TAG_BITS = 128


class TokenKeys:
    """Epoch keys as objects of one token."""

    name = "PKCS#11 token"
    copies = False

    def __init__(self, disk: Disk, vault_id: str, token: pkcs11.Token, pin: str) -> None:
        self._disk = disk
        self._vault_id = vault_id
        self._token = token
        self._pin = pin
        self._process = os.getpid()

    @classmethod
    def create(
        cls, layout: Layout, disk: Disk, vault_id: str, module: Path, label: str, ask: Ask, path: Path | None = None
    ) -> TokenKeys:
        """Notes module and token, and signs in to it once.

        Raises `RefusedError` when the key directory has a token already, `UsageError` for a module or token that is not
        there, `LockedError` when nobody gives a PIN.
        """
        path = path or layout.token
        if path.exists():
            raise RefusedError(f"naming a token: {path} exists; name another key directory with --keys")
        token = _token(module, token_label=label)
        made = cls(disk, vault_id, token, ask(f"PIN of the token {label}", VARIABLE))
        if made.generations():
            raise RefusedError(
                f"naming a token: the token {label} already holds epoch keys of this vault; name another"
            )
        content = {"kind": _KIND, "v": 1, "module": str(module), "token": label, "serial": token.serial.hex()}
        disk.make_directory(path.parent)
        disk.create(path, signing.canonical(content) + b"\n", 0o600)
        return made

    @classmethod
    def open(cls, layout: Layout, disk: Disk, vault_id: str, ask: Ask, path: Path | None = None) -> TokenKeys:
        """Finds the token that `token.json` names.

        Raises `LockedError` when nobody gives a PIN, `FaultError` when file or token is missing or another.
        """
        path = path or layout.token
        blob = read_private(path, "token's name")
        try:
            content = json.loads(blob)
            if [content["kind"], content["v"]] != [_KIND, 1]:
                raise ValueError
            module, label, serial = Path(content["module"]), str(content["token"]), bytes.fromhex(content["serial"])
        except (ValueError, KeyError, TypeError) as problem:
            raise FaultError(f"opening the token: {path} names no token in the form of version 1") from problem
        try:
            token = _token(module, token_serial=serial)
        except UsageError as problem:
            raise FaultError(f"opening the token {label}: {problem}") from problem
        return cls(disk, vault_id, token, ask(f"PIN of the token {label}", VARIABLE))

    def create_epoch(self, generation: int) -> None:
        """Makes the object in the token. Raises `FaultError` when it exists, or when the token would give it out."""
        from pkcs11 import Attribute, KeyType

        template = {
            Attribute.SENSITIVE: True,
            Attribute.EXTRACTABLE: False,
            Attribute.PRIVATE: True,
            Attribute.ENCRYPT: True,
            Attribute.DECRYPT: True,
        }
        with self._session() as session:
            if self._found(session, generation):
                raise FaultError(f"creating epoch key {generation}: it exists, and no epoch key is ever overwritten")
            self._disk.step("before create epoch object")
            made = session.generate_key(KeyType.AES, 256, label=self._label(generation), store=True, template=template)
            self._disk.step("after create epoch object")
            if made[Attribute.EXTRACTABLE] or not made[Attribute.NEVER_EXTRACTABLE] or not made[Attribute.SENSITIVE]:
                made.destroy()
                raise FaultError(f"creating epoch key {generation}: the token would give it out; use another token")

    def holds(self, generation: int) -> bool:
        """Whether the token has the object."""
        with self._session() as session:
            return bool(self._found(session, generation))

    def seal(self, generation: int, content: bytes, place: str) -> bytes:
        """`content` sealed under a random key that the token wraps."""
        from pkcs11 import GCMParams, Mechanism

        key, nonce = sealing.new_key(), os.urandom(_NONCE_BYTES)
        with self._session() as session:
            wrapped = self._object(session, generation).encrypt(
                key, mechanism=Mechanism.AES_GCM, mechanism_param=GCMParams(nonce, place.encode(), _TAG_BITS)
            )
        return _MAGIC + nonce + bytes(wrapped) + sealing.seal(key, content, place)

    def unseal(self, generation: int, blob: bytes, place: str) -> bytes:
        """The inverse of `seal`."""
        from pkcs11 import GCMParams, Mechanism, PKCS11Error

        start = len(_MAGIC)
        if blob[:start] != _MAGIC or len(blob) < start + _WRAPPED_BYTES:
            raise FaultError(f"opening {place}: it does not start as a blob that a token sealed does")
        nonce, wrapped = blob[start : start + _NONCE_BYTES], blob[start + _NONCE_BYTES : start + _WRAPPED_BYTES]
        with self._session() as session:
            epoch = self._object(session, generation)
            try:
                key = epoch.decrypt(
                    wrapped, mechanism=Mechanism.AES_GCM, mechanism_param=GCMParams(nonce, place.encode(), _TAG_BITS)
                )
            except PKCS11Error as problem:
                # A token says "general error" for a tag that does not fit.
                raise FaultError(f"opening {place}: it was changed, moved or sealed under another key") from problem
        return sealing.unseal(bytes(key), blob[start + _WRAPPED_BYTES :], place)

    def export_epoch(self, generation: int) -> bytes:
        """Refused: the key is not extractable."""
        raise RefusedError(
            f"copying epoch key {generation}: it never leaves its token, so no escrow copy can be made; the token's "
            f"own backup, if it has one, is the way"
        )

    def destroy_epoch(self, generation: int) -> None:
        """Destroys the object in the token; a missing one is already destroyed."""
        self._disk.step("before destroy epoch object")
        with self._session() as session:
            for found in self._found(session, generation):
                found.destroy()
        self._disk.step("after destroy epoch object")

    def generations(self) -> frozenset[int]:
        """The generations of this vault whose object the token has."""
        from pkcs11 import Attribute, ObjectClass

        start = self._label(0)[:-1]
        with self._session() as session:
            found = session.get_objects({Attribute.CLASS: ObjectClass.SECRET_KEY})
            labels = [str(item[Attribute.LABEL]) for item in found]
        numbers = [label.removeprefix(start) for label in labels if label.startswith(start)]
        return frozenset(int(number) for number in numbers if number.isdecimal())

    def _object(self, session: pkcs11.Session, generation: int) -> Any:
        found = self._found(session, generation)
        if not found:
            raise FaultError(f"opening epoch key {generation}: the token has no such key")
        return found[0]

    def _found(self, session: pkcs11.Session, generation: int) -> list[Any]:
        from pkcs11 import Attribute, ObjectClass

        wanted = {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.LABEL: self._label(generation)}
        return list(session.get_objects(wanted))

    def _label(self, generation: int) -> str:
        return f"trafficvault {self._vault_id} epoch {generation}"

    @contextmanager
    def _session(self) -> Iterator[pkcs11.Session]:
        from pkcs11 import PinIncorrect, PinLocked, PKCS11Error, UserAlreadyLoggedIn

        if os.getpid() != self._process:
            raise FaultError("using the token: this process is a copy of the one that opened it; open the vault anew")
        try:
            try:
                session = self._token.open(rw=True, user_pin=self._pin)
            except UserAlreadyLoggedIn:
                # Signing in holds for the whole process: another session of it is open just now.
                session = self._token.open(rw=True)
        except (PinIncorrect, PinLocked) as problem:
            kind = "is locked" if isinstance(problem, PinLocked) else "refused the PIN"
            raise RefusedError(f"opening the token {self._token.label}: it {kind}") from problem
        except PKCS11Error as problem:
            raise _translated(problem) from problem
        try:
            yield session
        except PKCS11Error as problem:
            raise _translated(problem) from problem
        finally:
            session.close()


def _translated(problem: Exception) -> FaultError:
    return FaultError(
        f"using the token: {type(problem).__name__}; see that it is there and its module is the right one"
    )


def _token(module: Path, **named: object) -> pkcs11.Token:
    """The token of `module` that is named so. Raises `UsageError` when there is none, or the library is missing."""
    try:
        import pkcs11
    except ImportError as problem:
        raise UsageError(
            "opening a token: the library python-pkcs11 is not installed", hint="pip install trafficvault[hsm]"
        ) from problem
    try:
        return pkcs11.lib(str(module)).get_token(**named)
    except pkcs11.NoSuchToken as problem:
        raise UsageError(f"opening a token: {module.name} has no such token") from problem
    except pkcs11.PKCS11Error as problem:
        raise UsageError(f"opening a token: the module {module} can't be loaded or has no token") from problem
