"""Publishing: one checkpoint of the audit log, made, time-stamped and sent. The act behind verb and schedule."""

from __future__ import annotations

from dataclasses import dataclass

from trafficvault import checkpoints, timestamps, witness
from trafficvault.catalogue import Row
from trafficvault.vault import Vault


@dataclass(frozen=True, slots=True)
class Published:
    """The checkpoint's row, the places that got it or an older one just now, and what prevented the rest."""

    row: Row
    sent: tuple[str, ...]
    problems: tuple[str, ...]


def publish(vault: Vault) -> Published:
    """Makes a checkpoint, has it stamped and sends what was not sent. The caller holds the writer's lock.

    What fails outside of the vault is told, not raised: the checkpoint is made, and the next run tries again.
    """
    row = checkpoints.make(vault)
    unstamped = timestamps.stamp(vault, row)
    sendings = witness.send(vault)
    with vault.catalogue.reading() as tx:
        row = tx.get("checkpoints", size=row["size"]) or row
    problems = [one for one in [unstamped, *(sending.problem for sending in sendings)] if one is not None]
    sent = sorted({sending.place for sending in sendings if sending.problem is None})
    return Published(row, tuple(sent), tuple(problems))
