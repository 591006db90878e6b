"""People who may act: names, roles, and for each an Ed25519 key that only their own password opens.

The private key lies in the catalogue, sealed under what Argon2id (RFC 9106) makes of the password. Signing in is
opening it; there is no stored hash to compare with. An unknown name, a wrong password and a person who was disabled get
the same answer after the same work. Nobody, no administrator either, signs for another or sets another's password.

Roles: `officer` registers, runs and releases; `approver` approves; `operator` accepts held batches and a clock;
`auditor` reads the audit log; `administrator` manages people. A person has one or more of them, but `administrator` and
`auditor` never go with `officer` or `approver`: who grants the roles, or watches their use, holds none that discloses.
An officer may also be approver: one warrant still takes two persons, since a registrar never approves it.

Two administrators: while two or more are enabled, making an officer, an approver or another administrator takes two of
them (an administrator too, or one of them could make a second of their own), and so does disabling one. Alone, an
administrator grants everything, and `status` says so. The first administrators are founders: nobody vouches for them,
and there can be founders only as long as there is nobody else.
"""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from trafficvault import sealing, signing
from trafficvault.catalogue import Transaction
from trafficvault.coverage import PersonKey, Vouch
from trafficvault.errors import FaultError, RefusedError, UsageError
from trafficvault.stretching import SALT_BYTES, Cost, stretched

ROLES = ("officer", "approver", "operator", "auditor", "administrator")
_DISCLOSING = frozenset({"officer", "approver"})
_WATCHING = frozenset({"administrator", "auditor"})
_TAKES_TWO = _DISCLOSING | {"administrator"}
NAME_LENGTH = 64
PASSWORD_LENGTH = range(1, 1025)
"""Signs of a password, after normalisation (NFC)."""
SHORTEST_TYPED = 8
"""What the door asks of a password that a person makes up (NIST SP 800-63B §5.1.1.1)."""
ENABLED: Final = 0
DISABLED: Final = 1
"""For good."""
SUSPENDED: Final = 2
"""Until administrators confirm the person: the catalogue was put back, and nothing proves who may act since."""
_SEED_BYTES = 32
_SIGN_IN_REFUSED = "signing in: the name or the password is wrong, or the person may no longer act"


DEFAULT_COST: Final = Cost(memory_kib=64 * 1024, iterations=3, lanes=4)
"""Of a guess at a password."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who signed in, and can therefore sign."""

    name: str
    roles: frozenset[str]
    public_key: str
    _private_key: bytes = field(repr=False, compare=False)

    def sign(self, message: bytes) -> str:
        """The person's Ed25519 signature of `message`, as hex."""
        return signing.sign(self._private_key, message)

    def vouch(self, act: str, digest: str, at: datetime) -> Vouch:
        """The person's signature that they did `act` (register, approve, …) on what has this digest, at that moment."""
        return Vouch(self.name, at, self.sign(signing.statement(act, digest, self.name, at)))


def require_role(person: Person, role: str) -> None:
    """Raises `RefusedError` when `person` does not have `role`."""
    if role not in person.roles:
        has = ", ".join(sorted(person.roles))
        raise RefusedError(f"this act needs the role {role}, and the acting person has {has}", hint=_ASK)


def require_one_of(person: Person, roles: Collection[str], doing: str) -> None:
    """Raises `RefusedError` when `person` has none of `roles`; `doing` is what takes one of them."""
    if not person.roles & frozenset(roles):
        wanted, has = (", ".join(sorted(some)) for some in (roles, person.roles))
        raise RefusedError(f"{doing}: this takes one of the roles {wanted}, and the acting person has {has}", hint=_ASK)


_ASK = "an administrator adds people with: trafficvault --user ADMIN user add NAME --role ROLE"


def require_roles(roles: Sequence[str]) -> frozenset[str]:
    """`roles` as a set. Raises `UsageError` for none or an unknown one, `RefusedError` for a mixture."""
    wanted = frozenset(roles)
    unknown = sorted(wanted - set(ROLES))
    if unknown or not wanted:
        raise UsageError(f"granting roles: {', '.join(unknown) or 'none'} is not among {', '.join(ROLES)}")
    if wanted & _DISCLOSING and wanted & _WATCHING:
        one, other = min(wanted & _WATCHING), min(wanted & _DISCLOSING)
        raise RefusedError(f"granting roles: {one} never goes with {other}; take two persons")
    return wanted


def require_may_add(existing: Sequence[PersonKey], actors: Sequence[Person], roles: Sequence[str]) -> None:
    """Raises `RefusedError` unless `actors` may make a person with `roles`. No actors: the founders' rule.

    An actor counts when `existing` has the same name with the same public key, enabled, as administrator.
    """
    wanted = require_roles(roles)
    if not actors:
        if wanted != {"administrator"} or any(item.roles != {"administrator"} for item in existing):
            raise RefusedError("adding a person: this takes an administrator who signed in; only founders need none")
        return
    _require_administrators(existing, actors, "adding a person", takes_two=bool(wanted & _TAKES_TWO))


def require_may_disable(existing: Sequence[PersonKey], actors: Sequence[Person], name: str) -> None:
    """Raises `RefusedError` unless `actors` may disable `name`: two for an administrator, and never the last one."""
    target = next((item for item in existing if item.name == name), None)
    if target is None:
        raise RefusedError("disabling a person: there is nobody of that name; `user list` shows who is there")
    is_administrator = "administrator" in target.roles
    _require_administrators(existing, actors, "disabling a person", takes_two=is_administrator)
    if is_administrator and not [item for item in _administrators(existing) if item.name != name]:
        raise RefusedError("disabling a person: this is the last administrator; add another first")


def create_person(
    tx: Transaction,
    name: str,
    roles: Sequence[str],
    password: str,
    *,
    added_by: Sequence[Person] | None,
    at: datetime,
    random: Callable[[int], bytes] = os.urandom,
    cost: Cost = DEFAULT_COST,
) -> Person:
    """Adds a person, vouched for by `added_by` (None: a founder), and returns them signed in.

    Raises `UsageError` for a name, password or role of the wrong form, `RefusedError` when `added_by` may not, or when
    the name, or one that looks the same but for capitals, is taken.
    """
    actors, wanted = tuple(added_by or ()), require_roles(roles)
    existing = listing(tx)
    require_may_add(existing, actors, roles)
    if not actors and any(row["added_by"] for row in tx.select("people")):
        raise RefusedError("adding a person: there are others by now; only founders need no administrator")
    name = _require_name(name)
    if name.casefold() in {item.name.casefold() for item in existing}:
        raise RefusedError("adding a person: that name is taken; choose another")
    secret = _require_password(password)
    private_key, salt = random(_SEED_BYTES), random(SALT_BYTES)
    person = Person(name, wanted, signing.public_key_of(private_key), private_key)
    tx.put(
        "people",
        name=name,
        roles=signing.canonical(sorted(wanted)).decode(),
        public_key=person.public_key,
        sealed_key=sealing.seal(stretched(secret, salt, cost), private_key, _place(name)).hex(),
        kdf=_kdf(salt, cost),
        added_by=", ".join(sorted({actor.name for actor in actors})),
        added_at=signing.instant(at),
        disabled=0,
    )
    return person


def disable(tx: Transaction, name: str, by: Sequence[Person]) -> None:
    """Takes from `name` the right to act, for good. What they signed before stays signed. Raises `RefusedError`."""
    require_may_disable(listing(tx), by, name)
    mark(tx, name, DISABLED)


def suspend(tx: Transaction, keep: Collection[str]) -> list[str]:
    """Takes from everybody who may act, but for `keep`, the right to, until they are confirmed. Returns their names."""
    names = [item.name for item in listing(tx) if not item.disabled and item.name not in keep]
    for name in names:
        mark(tx, name, SUSPENDED)
    return names


def suspended(tx: Transaction) -> list[str]:
    """Who waits to be confirmed, by name."""
    return [row["name"] for row in tx.select("people") if row["disabled"] == SUSPENDED]


def confirm(tx: Transaction, name: str, by: Sequence[Person]) -> None:
    """Gives a suspended person the right to act back, with the roles and the password of before.

    Takes whom adding such a person takes. Raises `RefusedError` when `by` may not, or `name` is not suspended.
    """
    existing = listing(tx)
    target = next((item for item in existing if item.name == name), None)
    if target is None or name not in suspended(tx):
        raise RefusedError("confirming a person: nobody of that name is suspended; `user list` shows who is")
    _require_administrators(existing, by, "confirming a person", takes_two=bool(target.roles & _TAKES_TWO))
    mark(tx, name, ENABLED)


def mark(tx: Transaction, name: str, state: int) -> None:
    """Writes whether `name` may act: `ENABLED`, `DISABLED` or `SUSPENDED`. Who is disabled stays so."""
    for row in tx.select("people", name=name):
        if row["disabled"] != DISABLED:
            tx.put("people", **row | {"disabled": state})


def authenticate(tx: Transaction, name: str, password: str, *, cost: Cost = DEFAULT_COST) -> Person:
    """The person `name`, whose key `password` opens. Raises `RefusedError`, the same for every reason.

    `cost` is only for a vault without people, where a name is unknown at the default cost.
    """
    row = tx.get("people", name=_plain(name).decode())
    # The same work for an unknown name: with the salt and cost of somebody, so that time does not tell who exists.
    stand_in = row or next(iter(tx.select("people")), None)
    salt, cost = (bytes(SALT_BYTES), cost) if stand_in is None else _read_kdf(stand_in["kdf"])
    key = stretched(_plain(password), salt, cost)
    if row is None:
        raise RefusedError(_SIGN_IN_REFUSED)
    try:
        private_key = sealing.unseal(key, bytes.fromhex(row["sealed_key"]), _place(row["name"]))
    except FaultError:
        # The row's seal was checked: what does not open here was not changed, the password is wrong.
        raise RefusedError(_SIGN_IN_REFUSED) from None
    if row["disabled"]:
        raise RefusedError(_SIGN_IN_REFUSED)
    return Person(row["name"], frozenset(json.loads(row["roles"])), row["public_key"], private_key)


def listing(tx: Transaction) -> list[PersonKey]:
    """Everybody, disabled ones too, by name."""
    return [_person_key(row) for row in tx.select("people")]


def directory(tx: Transaction) -> Callable[[str], PersonKey | None]:
    """Who a name is, by the catalogue as `tx` sees it; for the key store's own check of signatures and roles."""

    def find(name: str) -> PersonKey | None:
        row = tx.get("people", name=name)
        return None if row is None else _person_key(row)

    return find


def _administrators(existing: Sequence[PersonKey]) -> list[PersonKey]:
    return [item for item in existing if "administrator" in item.roles and not item.disabled]


def _require_administrators(
    existing: Sequence[PersonKey], actors: Sequence[Person], doing: str, *, takes_two: bool
) -> None:
    known = {(item.name, item.public_key) for item in _administrators(existing)}
    acting = {(actor.name, actor.public_key) for actor in actors}
    if not acting or not acting <= known:
        raise RefusedError(f"{doing}: this takes an administrator, and somebody who asks for it is none")
    needed = 2 if takes_two and len(known) >= 2 else 1
    if len({public_key for _, public_key in acting}) < needed:
        raise RefusedError(
            f"{doing}: there are {len(known)} administrators, so this takes two of them and {len(acting)} asked for it"
            "; the second is named by --with NAME"
        )


def _person_key(row: dict[str, Any]) -> PersonKey:
    return PersonKey(row["name"], frozenset(json.loads(row["roles"])), row["public_key"], bool(row["disabled"]))


def _require_name(name: str) -> str:
    name = unicodedata.normalize("NFC", name)
    # A comma would blur `added_by`; blanks at the ends and signs without a shape make two names look like one.
    if not 0 < len(name) <= NAME_LENGTH or not name.isprintable() or name != name.strip() or "," in name:
        raise UsageError(
            f"naming a person: a name has 1 to {NAME_LENGTH} printable signs, no comma and no blank at either end"
        )
    return name


def _require_password(password: str) -> bytes:
    composed = unicodedata.normalize("NFC", password)
    secret = _plain(password)
    if len(composed) not in PASSWORD_LENGTH or secret.decode() != composed:
        least, most = PASSWORD_LENGTH.start, PASSWORD_LENGTH.stop - 1
        raise UsageError(f"setting a password: it must have {least} to {most} signs, all of them text")
    return secret


def _plain(text: str) -> bytes:
    """What was typed, in one form: composed (NFC), with `?` for a byte that the terminal's encoding could not read."""
    return unicodedata.normalize("NFC", text).encode(errors="replace")


def _place(name: str) -> str:
    return f"person {name}"


def _kdf(salt: bytes, cost: Cost) -> str:
    return signing.canonical({"kind": "argon2id", "v": 1, "salt": salt.hex(), **cost.terms}).decode()


def _read_kdf(text: str) -> tuple[bytes, Cost]:
    form = json.loads(text)
    return bytes.fromhex(form["salt"]), Cost.of(form)
