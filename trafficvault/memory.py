"""What the key directory remembers of the audit log: its last entry, sealed, in the file `head`.

A vault directory put back as a whole agrees with itself. So the keys remember the last entry that reached its segment:
the vault may be ahead of that memory, never behind it. A memory that is gone stops nothing, for it can't be told from
one that never was; `verify` names it until the next entry makes it anew.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable

from trafficvault import sealing, signing
from trafficvault.chain import Fault, Head
from trafficvault.durable import PART, Disk
from trafficvault.errors import FaultError
from trafficvault.layout import Layout

_VERSION = 1
_ROLLED_BACK = "the vault is older than its keys' memory of the audit log"
_OLDER = (
    "restore the newest copy of the vault; only where none is newer, find out what was done since, then move `head` "
    "out of the key directory: the next entry makes it anew"
)
_UNREADABLE = "find out who changed `head` in the key directory, then move it away: the next entry makes it anew"


class Memory:
    """The keys' memory of one vault's log. `audit_key` is asked at each use: a renewal may have dropped the ring."""

    def __init__(self, layout: Layout, disk: Disk, vault_id: str, audit_key: Callable[[], bytes]) -> None:
        self._path = layout.head
        self._disk = disk
        self._place = f"head {vault_id}"
        self._audit_key = audit_key

    def remember(self, head: Head) -> None:
        """Puts `head` in place of what was remembered, durably. The caller is the only one who writes to the log."""
        content = signing.canonical({"v": _VERSION, "seq": head.seq, "hash": head.hash})
        # Here and not when the keys are opened: that may be while another process writes its part.
        begun = f"{self._path.name}{PART}"
        for name in sorted(name for name in os.listdir(self._path.parent) if name.startswith(begun)):  # noqa: PTH208  # twice in each act
            self._disk.remove(self._path.with_name(name))
        self._disk.create(self._path, sealing.seal(self._key(), content, self._place))

    def recall(self) -> Head | None:
        """The last entry that the keys remember; None when there is none. Raises `FaultError` for a changed one."""
        try:
            blob = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as problem:
            raise FaultError(
                f"opening the keys' memory of the audit log: it can't be read: {problem.strerror}", hint=_UNREADABLE
            ) from problem
        try:
            content = json.loads(sealing.unseal(self._key(), blob, self._place))
        except FaultError as fault:
            raise FaultError(f"{fault}: it is the keys' memory of the audit log", hint=_UNREADABLE) from fault
        if content["v"] != _VERSION:
            raise FaultError(
                f"opening the keys' memory of the audit log: it is of version {content['v']} and not of {_VERSION}",
                hint=_UNREADABLE,
            )
        return Head(content["seq"], content["hash"])

    def _key(self) -> bytes:
        return sealing.derive(self._audit_key(), "head")


def rolled_back(remembered: Head, end: Head, known: str | None) -> Fault | None:
    """What is wrong when a vault whose log ends at `end` is behind `remembered`; None when it is not.

    `known` is the hash that the vault has for the remembered entry, where it is at hand.
    """
    if remembered.seq > end.seq:
        sentence = f"the keys remember entry {remembered.seq}, the catalogue ends at {end.seq} (restored?)"
    elif known is not None and known != remembered.hash:
        sentence = f"its entry {remembered.seq} is another than the keys remember (restored?)"
    else:
        return None
    return Fault("rolled back", f"{_ROLLED_BACK}: {sentence}", _OLDER)
