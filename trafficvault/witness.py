"""Second places: where checkpoints are sent, so that the vault's own machine is not the only one that knows its log.

`checkpoint_to` names them, each as a URL of one of three kinds:

    file:///mnt/witness           a directory on another file system; each note becomes a file there
    syslog:///dev/log             a syslog socket, or syslog://host:514 by UDP; one line, the note as a JSON text
    command:/usr/local/bin/send   a program, with arguments, that gets the note on its standard input and exits with 0

A note holds no personal datum: the log's name, a number of entries, a hash and a signature. What could not be sent is
told, kept in mind, and sent with the next checkpoint. UDP tells nobody whether it arrived: `sent` then means no more
than that.
"""

from __future__ import annotations

import json
import shlex
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from trafficvault import programs, signing
from trafficvault.catalogue import Row
from trafficvault.durable import Disk
from trafficvault.errors import UsageError, VaultError
from trafficvault.settings import require_place
from trafficvault.vault import Vault

MOST_KEPT = 100
"""So many of the newest checkpoints are sent after; older ones are in them."""
_PRIORITY = 10 * 8 + 6
"""Facility authpriv, severity informational (RFC 5424 §6.2.1)."""
_LATE_DAYS = 2


@dataclass(frozen=True, slots=True)
class Sending:
    """One note to one place: `problem` says why it failed."""

    size: int
    place: str
    problem: str | None


def send(vault: Vault) -> list[Sending]:
    """Sends every checkpoint that a place has not got to it, and remembers what was sent."""
    with vault.catalogue.reading() as tx:
        rows = tx.select("checkpoints", order_by="size")[-MOST_KEPT:]
    done: list[Sending] = []
    for place in vault.settings.checkpoint_to:
        # A place that fails is not tried again in this run; the newest note goes first, for it holds all others.
        for row in reversed([row for row in rows if place not in _sent(row)]):
            sending = Sending(int(row["size"]), place, _deliver(vault.disk, place, row))
            done.append(sending)
            if sending.problem is not None:
                break
            _remember(vault, sending)
    return done


def attention(vault: Vault) -> list[str]:
    """What a person should know of the second places, a sentence each, for `status`."""
    if not vault.settings.checkpoint_to:
        return [
            "checkpoints of the audit log are sent nowhere; name a second place with `checkpoint_to` in vault.toml, "
            "so that another machine can tell when the log is changed"
        ]
    with vault.catalogue.reading() as tx:
        rows, head = tx.select("checkpoints", order_by="size"), vault.audit.settled(tx)
    if not rows:
        return ["no checkpoint of the audit log was made yet; run `audit checkpoint`, best by a timer"]
    newest = rows[-1]
    told = [
        f"the checkpoint of {newest['size']} entries has not reached {place}; `audit checkpoint` sends it again"
        for place in vault.settings.checkpoint_to
        if place not in _sent(newest)
    ]
    age = vault.clock.now() - signing.moment(str(newest["made_at"]))
    if newest["size"] < head.seq and age.days >= _LATE_DAYS:
        told.append(f"the newest checkpoint is {age.days} days old; run `audit checkpoint`, best by a timer")
    weak = _weak(vault)
    return told + (list(weak.values()) if set(weak) == set(vault.settings.checkpoint_to) else [])


def findings(vault: Vault) -> list[tuple[str, str, str]]:
    """What `doctor` finds of the second places: check, state (ok or warn), sentence."""
    told = list(dict.fromkeys([*attention(vault), *_weak(vault).values()]))
    if told:
        return [("second place", "warn", sentence) for sentence in told]
    places = ", ".join(vault.settings.checkpoint_to)
    return [("second place", "ok", f"checkpoints are sent to {places}")]


def _weak(vault: Vault) -> dict[str, str]:
    """The directories among the places that are none, or no second one, with a sentence each."""
    found: dict[str, str] = {}
    for place in vault.settings.checkpoint_to:
        url = urlsplit(place)
        path = Path(url.path)
        if url.scheme == "file" and not path.is_dir():
            found[place] = f"{place} is no directory"
        elif url.scheme == "file" and path.stat().st_dev == vault.layout.vault.stat().st_dev:
            found[place] = f"{place} is on the vault's own file system; who loses or changes one has both"
    return found


def _sent(row: Row) -> dict[str, str]:
    found: dict[str, str] = json.loads(row["sent"])
    return found


def _remember(vault: Vault, sending: Sending) -> None:
    with vault.catalogue.transaction() as tx:
        row = tx.get("checkpoints", size=sending.size)
        if row is not None:
            sent = _sent(row) | {sending.place: signing.instant(vault.clock.now())}
            tx.put("checkpoints", **row | {"sent": json.dumps(sent, sort_keys=True)})


def _deliver(disk: Disk, place: str, row: Row) -> str | None:
    """Brings the note of `row` to `place`. Returns what prevented it."""
    note, url = str(row["note"]), urlsplit(require_place(place))
    try:
        match url.scheme:
            case "file":
                _to_directory(disk, Path(url.path), note)
            case "syslog":
                _to_syslog(url.hostname, url.port or 514, url.path, note)
            case _:
                _to_command(place.partition(":")[2], note)
    except (OSError, VaultError, subprocess.SubprocessError) as problem:
        reason = getattr(problem, "strerror", None) or str(problem) or type(problem).__name__
        return f"sending the checkpoint of {row['size']} entries to {place}: {reason}; it is sent again with the next"
    return None


def _to_directory(disk: Disk, directory: Path, note: str) -> None:
    if not directory.is_dir():
        # Never made: where a file system is not mounted, its empty mount point must not be filled instead.
        raise UsageError("there is no such directory")
    origin, size, *_ = note.split("\n")
    disk.create(directory / f"{origin.replace('/', '-')}-{int(size):012d}.checkpoint", note.encode(), mode=0o644)


def _to_syslog(host: str | None, port: int, path: str, note: str) -> None:
    message = f"<{_PRIORITY}>trafficvault: checkpoint {json.dumps(note, ensure_ascii=False)}".encode()
    if host is None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as local:
            local.settimeout(programs.SECONDS)
            local.connect(path)
            local.send(message)
        return
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as remote:
        remote.settimeout(programs.SECONDS)
        remote.sendto(message, address)


def _to_command(command: str, note: str) -> None:
    programs.run(shlex.split(command), note.encode())
