"""Examines the machine that a vault stands on: what the vault relies on and cannot give itself.

`machine.collect` asks for the facts once; every check is a pure function of them, so that each outcome is tested. What
cannot be told is a warning, never a failure and never a crash. A `fail` is what the vault's promises do not survive
(keys inside the vault, keys that others can read); a `warn` is for a person to weigh. No file's content is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from trafficvault import providers
from trafficvault.layout import Layout
from trafficvault.machine import ClockState, Facts, Mode, collect

TESTED: Final[Mapping[str, tuple[str, str]]] = {
    "pyarrow": ("26", "28"),
    "polars": ("2.1", "3"),
    "duckdb": ("2.0", "2.1"),
    "cryptography": ("50", "51"),
    "sqlalchemy": ("2.1", "3"),
    "numpy": ("2.4", "3"),
    "sqlite": ("3.37", "4"),
}
"""The versions, from and below, that this program was tested with. SQLite 3.37 is the first with STRICT tables."""

LEAST_PYTHON: Final = (3, 11)
MOST_CLOCK_ERROR_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found: `state` is ok, warn or fail."""

    check: str
    state: str
    sentence: str


def examine(
    layout: Layout, min_free: int, facts_of: Callable[[Layout], Facts] = collect, stated: str | None = None
) -> list[Finding]:
    """All findings about the machine under the vault at `layout`; `min_free` is the policy's, in bytes, `stated` the
    key provider that `vault.toml` names.
    """
    facts = facts_of(layout)
    return [
        clock(facts.clock),
        keys_apart(facts),
        key_permissions(facts),
        vault_permissions(facts),
        *([] if stated is None else [key_provider(stated, providers.present(layout.keys))]),
        free_space(facts, min_free),
        swap(facts.swap_areas),
        core_dumps(facts.core_limit, facts.core_pattern),
        python(facts.python),
        *(version(name, facts.versions.get(name)) for name in TESTED),
    ]


def clock(state: ClockState) -> Finding:
    """Whether the clock is kept right: a wrong one expires too late, or stops expiry."""
    if state.synchronised is None:
        return _warn(
            "clock", f"whether the clock is synchronised is unknown ({state.why}); see that a time service runs"
        )
    if not state.synchronised:
        return _warn("clock", "the clock is not synchronised; start a time service such as chrony")
    if state.error_seconds > MOST_CLOCK_ERROR_SECONDS:
        return _warn("clock", f"the clock is synchronised, but may be {state.error_seconds:.1f} s off")
    return _ok("clock", f"the clock is synchronised, to {state.error_seconds:.3f} s")


def keys_apart(facts: Facts) -> Finding:
    """Whether the key directory is apart from the vault: a copy of the vault must not bring its keys along."""
    check, vault, keys = "keys apart", facts.vault, facts.keys
    if not facts.keys_exist:
        return _fail(check, f"there is no key directory at {keys}; name it with --keys, without it nothing opens")
    if keys == vault or vault in keys.parents:
        return _fail(
            check, f"the key directory {keys} is inside the vault; a copy of the vault would open itself: move it"
        )
    if keys in vault.parents:
        return _fail(check, f"the vault is inside the key directory {keys}; a copy of the keys would hold it: move it")
    if facts.same_device is None:
        return _warn(check, "it cannot be told whether keys and vault are on one file system")
    if facts.same_device:
        return _warn(check, "keys and vault are on one file system; one stolen disk or snapshot holds both")
    return _ok(check, "keys and vault are on different file systems")


def key_permissions(facts: Facts) -> Finding:
    """Whether only the operating-system user who runs the vault can reach the keys."""
    if not facts.keys_exist:
        return _fail("key permissions", f"there is no key directory at {facts.keys}")
    wrong = [item for item in facts.key_modes if _is_open(item, facts.user)]
    if wrong:
        return _fail("key permissions", _open_words("of the key directory", wrong))
    return _ok("key permissions", f"{len(facts.key_modes)} entries of the key directory belong to this user alone")


def vault_permissions(facts: Facts) -> Finding:
    """Whether others can reach the vault's files: they are sealed, but sizes and dates tell something too."""
    wrong = [item for item in facts.vault_modes if _is_open(item, facts.user)]
    if wrong:
        return _warn("vault permissions", _open_words("of the vault", wrong))
    return _ok("vault permissions", f"{len(facts.vault_modes)} entries of the vault belong to this user alone")


def key_provider(stated: str, found: str | None) -> Finding:
    """Whether the key directory has the provider that the settings name, and how far its keys can be copied."""
    check = "key provider"
    if found is None:
        return _fail(check, "the key directory has no key provider's file; name the right one with --keys")
    if stated != found:
        return _warn(
            check, f"vault.toml says {stated} and the key directory has {found}: correct that line, or `keys move`"
        )
    if found == "pkcs11":
        return _ok(check, "epoch keys are in a token and never leave it")
    return _ok(check, f"{found}: who copies the key directory can open what lived then; keep it out of every backup")


def locked(why: str) -> Finding:
    """What can't be examined, and `why`, while nobody gives the key provider's secret."""
    return _warn(
        "second place", f"the vault is locked: {why}; whether checkpoints reach one, and the keys open, is not told"
    )


def free_space(facts: Facts, min_free: int) -> Finding:
    """Whether there is room to take files in."""
    if facts.free_bytes is None:
        return _warn("free space", "it cannot be told how much space is free on the vault's file system")
    words = f"{_gib(facts.free_bytes)} are free on the vault's file system and min_free is {_gib(min_free)}"
    if facts.free_bytes < min_free:
        return _fail("free space", f"{words}; no file is taken in until there is more")
    return _ok("free space", words)


def swap(areas: tuple[str, ...] | None) -> Finding:
    """Whether memory, keys and records among it, can be written to a disk that no key seals."""
    if areas is None:
        return _warn("swap", "it cannot be told whether swap is on; see that it is off, or encrypted")
    if areas:
        count = f"{len(areas)} areas" if len(areas) > 1 else "one area"
        return _warn(
            "swap", f"swap is on ({count}); keys and records in memory may reach it: turn it off, or encrypt it"
        )
    return _ok("swap", "swap is off")


def core_dumps(limit: int | None, pattern: str | None) -> Finding:
    """Whether a crash would write memory to disk (core(5): a pipe gets it whatever the limit is)."""
    if limit is None or pattern is None:
        return _warn("core dumps", "it cannot be told whether core dumps are written; see that they are off")
    if pattern.startswith("|"):
        return _warn(
            "core dumps", "the kernel hands core dumps to a program, whatever the limit; see that it stores none"
        )
    if limit != 0:
        size = "of any size" if limit < 0 else f"up to {limit} bytes"
        return _warn("core dumps", f"core dumps {size} are written; set the limit to 0 (ulimit -c 0, LimitCORE=0)")
    return _ok("core dumps", "core dumps are off")


def python(found: tuple[int, int, int]) -> Finding:
    """Whether Python is new enough."""
    text = ".".join(map(str, found))
    if found[:2] < LEAST_PYTHON:
        return _fail("python", f"Python {text} runs and {'.'.join(map(str, LEAST_PYTHON))} is the oldest that serves")
    return _ok("python", f"Python {text}")


def version(name: str, found: str | None) -> Finding:
    """Whether the library `name` is of a version that was tested."""
    low, high = TESTED[name]
    if found is None:
        return _fail(name, f"{name} is not installed; {low} up to, not including, {high} is tested")
    if _number(found) < _number(low):
        return _fail(name, f"{name} {found} is older than {low}, the oldest that serves")
    if _number(found) >= _number(high):
        return _warn(name, f"{name} {found} is newer than what is tested: {low} up to, not including, {high}")
    return _ok(name, f"{name} {found}")


def _is_open(item: Mode, user: int) -> bool:
    return item.is_link or item.owner != user or bool(item.permissions & 0o077)


def _open_words(where: str, wrong: list[Mode]) -> str:
    first = wrong[0]
    more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
    if first.is_link:
        return f"{first.name} {where} is a link{more}; put the file itself there"
    if not first.permissions & 0o077:
        return f"{first.name} {where} belongs to another user{more}; give it to the user who runs the vault"
    need = 0o700 if first.is_directory else 0o600
    return f"{first.name} {where} has permissions {first.permissions:04o}{more}; others can reach it: chmod {need:04o}"


def _number(text: str) -> tuple[int, ...]:
    """The leading numbers of a version; `50.0.2.dev1` is 50, 0, 2. Trailing zeros do not count: 2.1.0 is 2.1."""
    numbers: list[int] = []
    for part in text.split("."):
        if not part.isdecimal():
            break
        numbers.append(int(part))
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"


def _ok(check: str, sentence: str) -> Finding:
    return Finding(check, "ok", sentence)


def _warn(check: str, sentence: str) -> Finding:
    return Finding(check, "warn", sentence)


def _fail(check: str, sentence: str) -> Finding:
    return Finding(check, "fail", sentence)
