"""`vault.toml`: what this vault is, and the limits its process works within. What is kept, and how long, is the policy.

`new_text` and `parse` are inverses. Opening a vault reads the file; `init` writes it, and `keys move` its one line
about the key provider.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

from trafficvault.errors import UsageError
from trafficvault.period import Period
from trafficvault.toml_table import Table, parse_table

KIND: Final = "trafficvault"
FORMAT: Final = 1
"""The version of the vault's own files that `FORMAT.md` describes. Another one is refused, never guessed."""

MAX_FILE: Final = 256 * 2**20
"""A file takes about twenty times its size in memory while it is read."""
MAX_UNPACKED: Final = 2**40
QUESTION_MEMORY: Final = "1GB"
QUESTION_SECONDS: Final = 600
LEASE_SECONDS: Final = 60
DELIVERY_WINDOW: Final = Period(days=35)
"""So long after its day a record may still be delivered, or delivered again, in the ordinary way."""
EXPIRE_EVERY: Final = Period(seconds=3_600)
COMPACT_EVERY: Final = Period(seconds=6 * 3_600)
VERIFY_EVERY: Final = Period(days=1)
CANARY_EVERY: Final = Period(days=1)
CHECKPOINT_EVERY: Final = Period(days=1)
KEY_PROVIDERS: Final = ("local", "passphrase", "pkcs11")
"""What a key directory tells by itself; the setting repeats it for the operator, and `doctor` says when they differ."""
LEAST_QUESTION_MEMORY: Final = 64 * 2**20

_FILE = "vault.toml"
_PROVIDER = re.compile(r'^key_provider[ \t]*=[ \t]*"[^"]*"', re.MULTILINE)
_HEX = re.compile(r"[0-9a-f]+")


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one vault.

    `id` is 32 hex digits, `public_key` the Ed25519 key, in hex, that the vault's certificates and audit entries are
    signed with. `max_file` bounds a delivered file that must be read whole, packed and unpacked, in bytes,
    `max_unpacked` one that is read in slices, unpacked. A question gets `question_memory`,
    a text with a unit as DuckDB reads it too, and `question_seconds`; `lease_seconds` is the time that an expiry waits
    for those who still read. Until `delivery_window` after its day a partition keeps its seen blocks; a record that
    comes again later is recognised all the same, more slowly. The schedule expires, compacts, verifies a sample, sends
    the canary and makes a checkpoint `…_every` so often; no time at all means never, which expiry can't be. Checkpoints
    of the audit log are sent to each of `checkpoint_to` (`require_place` says what one is), and `timestamp_command` has
    them time-stamped.
    """

    id: str
    public_key: str
    max_file: int = MAX_FILE
    max_unpacked: int = MAX_UNPACKED
    question_memory: str = QUESTION_MEMORY
    question_seconds: int = QUESTION_SECONDS
    lease_seconds: int = LEASE_SECONDS
    delivery_window: Period = DELIVERY_WINDOW
    expire_every: Period = EXPIRE_EVERY
    compact_every: Period = COMPACT_EVERY
    verify_every: Period = VERIFY_EVERY
    canary_every: Period = CANARY_EVERY
    checkpoint_every: Period = CHECKPOINT_EVERY
    checkpoint_to: tuple[str, ...] = ()
    timestamp_command: str | None = None
    key_provider: str = KEY_PROVIDERS[0]


def new_text(vault_id: str, public_key: str, key_provider: str = KEY_PROVIDERS[0]) -> str:
    """The file of a new vault, with every setting at its default."""
    return f"""\
# What this vault is. Only the limits below the blank line are yours to change.
kind = "{KIND}"
format = {FORMAT}
id = "{vault_id}"
public_key = "{public_key}"     # certificates and audit entries are signed with it

max_file = "256MiB"             # the largest file of a feed that joins lines or has totals; 20 times that in memory
max_unpacked = "1024GiB"        # the largest file of any other feed, unpacked: it is read in slices
question_memory = "{QUESTION_MEMORY}"         # memory of a running question
question_seconds = {QUESTION_SECONDS}           # and its time
lease_seconds = {LEASE_SECONDS}              # how long an expiry waits for those who still read
delivery_window = "{DELIVERY_WINDOW}"        # how long after its day a record may still come, or come again

expire_every = "{EXPIRE_EVERY}"           # how often the schedule expires what has reached its term,
compact_every = "{COMPACT_EVERY}"          # compacts,
verify_every = "{VERIFY_EVERY}"            # verifies a sample of the record files,
canary_every = "{CANARY_EVERY}"            # sends a test record all the way through,
checkpoint_every = "{CHECKPOINT_EVERY}"        # and signs how far the audit log has come; "PT0S": never
checkpoint_to = []              # second places for checkpoints of the audit log: file://, syslog:// or command:
# timestamp_command = ""        # a program that has a time-stamping authority answer a query (RFC 3161)
key_provider = "{key_provider}"          # who holds the epoch keys: changed by `keys move`, which keeps this line right
"""


def parse(text: str) -> Settings:
    """The settings that the TOML `text` writes. Raises `UsageError` for anything unknown, missing or out of bounds."""
    table = parse_table(text, _FILE)
    kind, version = table.text("kind"), table.whole("format", 1, 2**31)
    if kind != KIND:
        raise table.fault(f"kind is {kind!r}; the settings of a vault have kind {KIND!r}")
    if version != FORMAT:
        raise table.fault(
            f"this vault has format {version} and this program reads format {FORMAT}; use another version"
        )
    found = Settings(
        id=_hex(table, "id", 32),
        public_key=_hex(table, "public_key", 64),
        max_file=table.size_or("max_file", MAX_FILE),
        max_unpacked=table.size_or("max_unpacked", MAX_UNPACKED),
        question_memory=_memory(table),
        question_seconds=table.whole_or("question_seconds", QUESTION_SECONDS, 1, 86_400),
        lease_seconds=table.whole_or("lease_seconds", LEASE_SECONDS, 0, 3_600),
        delivery_window=_fixed(table, "delivery_window", DELIVERY_WINDOW),
        expire_every=_fixed(table, "expire_every", EXPIRE_EVERY),
        compact_every=_fixed(table, "compact_every", COMPACT_EVERY),
        verify_every=_fixed(table, "verify_every", VERIFY_EVERY),
        canary_every=_fixed(table, "canary_every", CANARY_EVERY),
        checkpoint_every=_fixed(table, "checkpoint_every", CHECKPOINT_EVERY),
        checkpoint_to=_places(table),
        timestamp_command=table.text_or_none("timestamp_command"),
        key_provider=_provider(table),
    )
    table.finish()
    for name, most in (("max_file", found.max_file), ("max_unpacked", found.max_unpacked)):
        if most == 0:
            raise table.fault(f"{name} is 0; no file could be taken in")
    if found.expire_every.delta() <= timedelta():
        raise table.fault(f"expire_every is {found.expire_every}; with no time at all nothing would ever expire")
    return found


def faults(text: str) -> list[str]:
    """The fault of the TOML `text`, as a sentence; none when it is in order."""
    try:
        parse(text)
    except UsageError as problem:
        return [str(problem)]
    return []


def require_place(place: str) -> str:
    """`place` when it is file:///DIRECTORY, syslog:///SOCKET, syslog://HOST:PORT or command:PROGRAM.

    Raises `UsageError` for anything else.
    """
    problem = (
        f"{place!r} is no second place: write file:///DIRECTORY, syslog:///dev/log, syslog://HOST:PORT or command:…"
    )
    try:
        url = urlsplit(place)
        local = url.netloc == "" and url.path.startswith("/") and len(url.path) > 1
        remote = url.hostname is not None and url.path == "" and url.port != 0
        words = shlex.split(place.partition(":")[2])
    except ValueError as wrong:
        raise UsageError(problem) from wrong
    kinds = {"file": local, "syslog": local or remote, "command": bool(words)}
    if not kinds.get(url.scheme, False):
        raise UsageError(problem)
    return place


def _places(table: Table) -> tuple[str, ...]:
    if not table.has("checkpoint_to"):
        return ()
    value = table.value("checkpoint_to")
    places = (value,) if isinstance(value, str) else table.texts("checkpoint_to")
    for place in places:
        try:
            require_place(place)
        except UsageError as problem:
            raise table.fault(f"checkpoint_to: {problem}") from problem
    return places


def with_provider(text: str, key_provider: str) -> str:
    """The file `text` with its line of the key provider changed, and nothing else; added where it has none."""
    line = f'key_provider = "{key_provider}"'
    changed, number = _PROVIDER.subn(line, text, count=1)
    return changed if number else f"{text.rstrip()}\n{line}\n"


def _provider(table: Table) -> str:
    return table.one_of("key_provider", KEY_PROVIDERS) if table.has("key_provider") else KEY_PROVIDERS[0]


def _fixed(table: Table, key: str, default: Period) -> Period:
    found = table.period_or(key, default)
    if found.months:
        raise table.fault(f"{key} is {found}; write it in days or hours, months have no one length")
    return found


def _memory(table: Table) -> str:
    size = table.size_or("question_memory", 10**9)
    if size < LEAST_QUESTION_MEMORY:
        raise table.fault(f"question_memory is {size} bytes; a question needs at least {LEAST_QUESTION_MEMORY}")
    value = table.value("question_memory") if table.has("question_memory") else QUESTION_MEMORY
    return value.replace(" ", "") if isinstance(value, str) else f"{value}B"


def _hex(table: Table, key: str, digits: int) -> str:
    value = table.text(key)
    if len(value) != digits or _HEX.fullmatch(value) is None:
        raise table.fault(f"{key} must be {digits} lower-case hex digits")
    return value
