"""Each kind of key provider, cheap enough for tests, and the secrets that open them."""

from __future__ import annotations

from collections.abc import Mapping

from tests.trafficvault import token_house
from trafficvault.provider import Ask, LockedError
from trafficvault.providers import Choice
from trafficvault.stretching import Cost

PASSPHRASE = "four words, none of them said"
CHEAP = Cost(memory_kib=64, iterations=1, lanes=1)
"""Argon2id so cheap that it protects nothing: for tests alone."""
SECRETS = {
    "TRAFFICVAULT_PASSPHRASE": PASSPHRASE,
    "TRAFFICVAULT_NEW_PASSPHRASE": PASSPHRASE,
    "TRAFFICVAULT_PIN": token_house.PIN,
}


def choice(kind: str) -> Choice:
    """The provider of that kind; skips the test where it needs softhsm2 and there is none."""
    if kind == "pkcs11":
        return Choice(kind, token_house.module(), token_house.LABEL)
    return Choice(kind, cost=CHEAP)


def answering(secrets: Mapping[str, str] = SECRETS) -> Ask:
    """Gives `secrets` by the variable that they would stand in; locked without one."""

    def ask(what: str, variable: str, *, twice: bool = False) -> str:
        if variable not in secrets:
            raise LockedError(f"asking for the {what}: none was given")
        return secrets[variable]

    return ask
