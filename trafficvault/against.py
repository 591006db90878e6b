"""Against: holds an old copy of the vault directory against today's keys, thing by thing.

Whoever has a backup tape in his hands can be shown that what expired on it is unreadable: each sealed thing, of every
kind that a vault directory has (`trafficvault.kinds`), is tried with every key that the ring holds today, and not only
with the one that it names. What each of them should do is said by `trafficvault.expectation`, how it is tried by
`trafficvault.lids`. Nothing that opens is looked at, or written anywhere.

Where keys lie in the copy as well, a key directory of then or the ring of a backup, they are opened as whoever has the
copy and today's secrets could open them, and tried too: that is how a copy of keys shows which should be gone by now.

What holds keep, and the sealed values of warrants and proposals, are tried for those alone who may read the docket:
without it nothing tells whether there is any.

This shows something of the keys that were at hand, not of copies of keys that somebody made before and has elsewhere:
`final_at` of the certificate says until when the rules allowed such a copy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trafficvault import kinds, providers
from trafficvault.attempts import DOCKET, ENDED_CATEGORY, HALF, NAMES, ROWS, WAITING, Attempt, Trying
from trafficvault.errors import FaultError, UsageError, VaultError
from trafficvault.expectation import BESIDE, DEAD, DUE, EXPIRED, LIVING, SHARED, UNKNOWN, Expectation
from trafficvault.kinds import Kind
from trafficvault.layout import Layout, is_hold_key
from trafficvault.progress import Progress, Watch
from trafficvault.provider import Ask
from trafficvault.ring import UNDATED, is_row_key, is_segment_key, open_ring, ring_generations
from trafficvault.vault import Vault

UNTRIED: Final = {
    kinds.SPILLED: "rows that compaction had spilled: their key was never written anywhere",
    "people": "the private keys of people in a catalogue: their passwords open them, and no key of a vault",
}
"""What is sealed and not tried, and why."""
_KEY_FILE: Final = re.compile(r"root\.key|root\.sealed|token\.json|(?:epoch|ring)-[1-9][0-9]*")
_BESIDE_KEYS: Final = re.compile(rf"{_KEY_FILE.pattern}|head|escrow-.*\.json|manifest\.json")


@dataclass(frozen=True, slots=True)
class CopiedKeys:
    """A directory of the copy in which keys lie: how many day keys could be taken from it, or why none."""

    place: str
    keys: int
    reason: str | None


@dataclass(frozen=True, slots=True)
class Trial:
    """What was tried: each thing, with how many keys of today, by which provider, and which keys of the copy.

    `strangers` counts the files that no vault directory has; `with_held` says whether what holds keep was tried.
    """

    files: tuple[Attempt, ...]
    keys: int
    generation: int
    provider: str
    copied: tuple[CopiedKeys, ...]
    copies_can_exist: bool
    strangers: int = 0
    with_held: bool = False

    @property
    def faults(self) -> tuple[Attempt, ...]:
        """The things that should be unreadable and are not."""
        return tuple(one for one in self.files if one.is_fault)

    @property
    def dead(self) -> tuple[Attempt, ...]:
        """The things that should be unreadable."""
        return tuple(one for one in self.files if one.state in DEAD)

    def kinds(self) -> dict[str, dict[str, int]]:
        """Of each kind how many were tried, how many of them live, are dead (nothing should open them) or are between
        the two, and how many of each opened.
        """
        found: dict[str, dict[str, int]] = {}
        for one in self.files:
            mine = found.setdefault(one.kind, dict.fromkeys(_COUNTS, 0))
            state = one.state if one.state == LIVING else "dead" if one.state in DEAD else "between"
            mine["tried"] += 1
            mine[state] += 1
            mine[f"{state}_readable"] += one.is_open
        return {kind: found[kind] for kind in _ORDER if kind in found}

    def sentences(self) -> list[str]:
        """What was tried, with which keys, what was readable, and the verdict; for an auditor."""
        told = [
            f"tried: {len(self.files)} sealed files and values of the copy; dead is what nothing should open any more"
        ]
        for kind, count in self.kinds().items():
            parts = [
                f"{count[state]} {words} ({count[f'{state}_readable']} readable)"
                for state, words in _SHORT.items()
                if count[state]
            ]
            told.append(f"  {kind}: {count['tried']} tried, {', '.join(parts)}")
        told.append(
            f"with: each of the {self.keys} day keys of today (generation {self.generation}, {self.provider}) and "
            "every other key of the ring, and not only with the one that a file names"
        )
        for one in self.copied:
            found = f"{one.keys} day keys, tried too" if one.reason is None else f"none could be taken: {one.reason}"
            told.append(f"keys in the copy, {one.place}: {found}")
        for state, (of, expected) in _STATES.items():
            mine = [one for one in self.files if one.state == state]
            if mine:
                told.append(f"of {of}: {sum(one.is_open for one in mine)} of {len(mine)} readable; {expected}")
        return [*told, *self._verdict(), *self._left_out()]

    def _verdict(self) -> Iterator[str]:
        today = [one for one in self.faults if one.opened_by is not None]
        if today:
            yield f"verdict: FAILED: a key of today opens {len(today)} files or values that should be unreadable"
        if len(self.faults) > len(today):
            yield (
                f"verdict: FAILED: keys that lie in the copy open {len(self.faults) - len(today)} files or values that "
                "should be unreadable; destroy those keys: they were to be gone by `final_at` of the certificates"
            )
        if not self.dead:
            yield "verdict: NOTHING SHOWN: the copy has nothing that should be unreadable; take an older one"
        elif not self.faults:
            yield "verdict: nothing that should be unreadable could be opened"

    def _left_out(self) -> Iterator[str]:
        if not self.with_held:
            yield "not tried: what holds keep, warrants, proposals: an officer, approver or auditor may (with --user)"
        for why in UNTRIED.values():
            yield f"not tried: {why}"
        if self.strangers:
            yield f"not tried: {self.strangers} files that no vault directory has, by their paths"
        yield (
            "not shown: what keys open that somebody copied before and has elsewhere; `final_at` of each certificate "
            "says until when such a copy could be"
            if self.copies_can_exist
            else "not shown: whether the token's maker keeps copies of its objects; the provider lets nobody copy a key"
        )


_COUNTS: Final = ("tried", LIVING, "living_readable", "dead", "dead_readable", "between", "between_readable")
_SHORT: Final = {LIVING: "living", "dead": "dead", "between": "unlinked or due"}
_ORDER: Final = (*kinds.SEALED, ENDED_CATEGORY, NAMES, *ROWS.values(), WAITING, HALF)
_STATES: Final = {
    LIVING: ("what lives", "should be readable"),
    EXPIRED: ("what has ended, with its day, its category, its term or its rows", "should be unreadable"),
    UNKNOWN: ("what this vault does not know", "should be unreadable"),
    DUE: ("what is due", "readable until the next expiry destroys the keys"),
    BESIDE: (
        "what lay beside a batch that was withdrawn or accepted, and was unlinked",
        "readable until the key dies that it shares with others of its day of receipt (decision 0019)",
    ),
    SHARED: (
        "what an older version sealed under a key that lives with the vault",
        "readable for who has such a copy; THREATS.md says so",
    ),
}


def against(
    vault: Vault, copy: Path, ask: Ask, progress: Watch = lambda step: None, *, with_held: bool = False
) -> Trial:
    """Tries every sealed thing below the directory `copy`; `ask` gives the secret of a key directory in it. `with_held`
    also what holds keep, for who may read the docket.

    Raises `UsageError` when nothing of a vault directory lies there, `FaultError` for a file of another form than its
    kind has: of that nothing can be said.
    """
    paths, strangers = _found(copy, with_held=with_held)
    if not paths:
        raise UsageError(
            f"holding {copy} against today's keys: no sealed file of a vault directory lies below it, such as "
            "<class>/<day>/<file>.parquet or audit/<number>.log"
        )
    custody = vault.keys.custody("verify")
    today = {name: custody.key(name) for name in sorted(vault.keys.key_ids())}
    copied, old = _copied_keys(vault, copy, ask)
    trying = Trying(vault, Expectation.of(vault), today, old, with_held=with_held)
    tried: list[Attempt] = []
    for number, (path, kind) in enumerate(paths):
        progress(Progress("files", 0, number, len(paths), "files"))
        try:
            tried += trying.attempts(path, str(path.relative_to(copy)), kind)
        except OSError as problem:
            raise FaultError(f"reading {path.name}: {problem.strerror}") from problem
    dated = sum(map(_is_day_key, today))
    provider, can_be = vault.keys.provider_name, vault.keys.copies
    return Trial(tuple(tried), dated, vault.keys.generation, provider, copied, can_be, strangers, with_held)


def _found(copy: Path, *, with_held: bool) -> tuple[list[tuple[Path, Kind]], int]:
    """The files to be tried, in order, and how many are of no vault directory."""
    found, strangers = [], 0
    for path in sorted(copy.rglob("*")) if copy.is_dir() else ():
        if not path.is_file():
            continue
        kind = kinds.kind_of(path.absolute())
        if kind is None:
            strangers += _BESIDE_KEYS.fullmatch(path.name) is None
        elif kind.is_sealed and kind.kind not in UNTRIED and (with_held or kind.kind not in DOCKET):
            found.append((path, kind))
    return found, strangers


def _is_day_key(name: str) -> bool:
    # Not those of holds, warrants and log entries: how many there are is told to nobody here.
    return name not in UNDATED and not (is_segment_key(name) or is_row_key(name) or is_hold_key(name))


def _copied_keys(vault: Vault, copy: Path, ask: Ask) -> tuple[tuple[CopiedKeys, ...], dict[str, bytes]]:
    """The directories of the copy with keys, and every key that opens there, by its place and id."""
    found: list[CopiedKeys] = []
    keys: dict[str, bytes] = {}
    for directory in sorted({path.parent for path in copy.rglob("*") if _KEY_FILE.fullmatch(path.name)}):
        layout, place = Layout(directory, directory), str(directory.relative_to(copy))
        mine: dict[str, bytes] = {}
        reason = "no ring lies there"
        try:
            # A token's file names a program to load: of a copy that is never done. Its rings are held against today's.
            provider = providers.open_files(layout, vault.disk, vault.settings.id, ask) or vault.keys.provider
        except VaultError as problem:
            found.append(CopiedKeys(place, 0, str(problem)))
            continue
        for generation in sorted(ring_generations(layout)):
            try:
                ring = open_ring(layout.ring(generation).read_bytes(), provider.unseal, vault.settings.id, generation)
            except VaultError as problem:
                reason = str(problem)
            except OSError as problem:
                reason = f"ring {generation} can't be read ({problem.strerror})"
            else:
                mine |= ring.keys
        found.append(CopiedKeys(place, sum(map(_is_day_key, mine)), None if mine else reason))
        keys |= {f"{place}: {name}": key for name, key in mine.items()}
    sealed = "an escrow copy, sealed to a public key; who has the private one opens with it what lived when it was made"
    found += [CopiedKeys(str(path.relative_to(copy)), 0, sealed) for path in sorted(copy.rglob("escrow-*-*.json"))]
    return tuple(found), keys
