"""A table of one of the vault's own TOML files, read key by key: each value with its type, and no key left unread.

`settings`, `policy_file`, `sources` and `warrants` read their files through it, so that a misspelt key is refused
everywhere in the same words instead of being a silent default. Every refusal is a `UsageError` that names the file, the
table and the key. Feed definitions are `ingest`'s own and are not read here.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping

from trafficvault.errors import UsageError
from trafficvault.period import Period

_SIZE = re.compile(r"([0-9]{1,15}) ?(B|kB|MB|GB|TB|KiB|MiB|GiB|TiB)")
_UNITS = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}


class Table:
    """One table; `where` names it in every refusal. A key that was asked for is known; `finish` refuses the others."""

    def __init__(self, values: Mapping[str, object], where: str) -> None:
        """Reads from `values`, which stays as it is."""
        self._values = values
        self._known: set[str] = set()
        self.where = where

    def fault(self, problem: str) -> UsageError:
        """The error that says what is wrong in this table."""
        return UsageError(f"reading {self.where}: {problem}")

    def names(self) -> tuple[str, ...]:
        """The keys given, in their order, for a table whose keys are the operator's own words."""
        return tuple(self._values)

    def has(self, key: str) -> bool:
        """Whether `key` is given."""
        self._known.add(key)
        return key in self._values

    def value(self, key: str) -> object:
        """The value of `key`, whatever its type. Refuses a missing one."""
        if not self.has(key):
            # A misspelt key is better told as that than as a missing one.
            near = difflib.get_close_matches(key, [name for name in self._values if name not in self._known], n=1)
            raise self.fault(f"{key} is missing" + (f"; is {near[0]!r} meant to be {key!r}?" if near else ""))
        return self._values[key]

    def text(self, key: str) -> str:
        """A text that is not blank."""
        value = self.value(key)
        if not isinstance(value, str) or not value.strip():
            raise self.fault(f"{key} must be a text that is not empty")
        return value

    def text_or_none(self, key: str) -> str | None:
        """A text that is not blank, or None without the key."""
        return self.text(key) if self.has(key) else None

    def text_or(self, key: str, default: str) -> str:
        """A text that is not blank, or `default` without the key."""
        return self.text(key) if self.has(key) else default

    def one_of(self, key: str, words: Iterable[str]) -> str:
        """One of `words`."""
        return self.require_known(key, self.text(key), words)

    def require_known(self, key: str, word: str, words: Iterable[str]) -> str:
        """`word` when it is one of `words`; else refuses it, naming the nearest."""
        known = tuple(words)
        if word not in known:
            raise self.fault(f"{key} is {word!r}{nearest(word, known)}")
        return word

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts, none twice."""
        value = self.value(key)
        if not isinstance(value, list) or not all(isinstance(item, str) and item.strip() for item in value):
            raise self.fault(f"{key} must be a list of texts")
        if len(set(value)) != len(value):
            raise self.fault(f"{key} names the same thing twice")
        return tuple(value)

    def whole(self, key: str, least: int, most: int) -> int:
        """A whole number from `least` to `most`."""
        value = self.value(key)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.fault(f"{key} must be a whole number")
        if not least <= value <= most:
            raise self.fault(f"{key} is {value}; it must be from {least} to {most}")
        return value

    def whole_or(self, key: str, default: int, least: int, most: int) -> int:
        """A whole number from `least` to `most`, or `default` without the key."""
        return self.whole(key, least, most) if self.has(key) else default

    def size_or(self, key: str, default: int) -> int:
        """A number of bytes, as a whole number or as text with a unit (`2GiB`, `500MB`); `default` without the key."""
        if not self.has(key):
            return default
        value = self.value(key)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
        match = _SIZE.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            raise self.fault(f"{key} must be a number of bytes, or a text such as 2GiB ({', '.join(_UNITS)})")
        return int(match[1]) * _UNITS[match[2]]

    def period(self, key: str) -> Period:
        """An ISO 8601 duration."""
        text = self.text(key)
        try:
            return Period.parse(text)
        except UsageError as problem:
            raise self.fault(f"{key}: {problem}") from problem

    def period_or(self, key: str, default: Period) -> Period:
        """An ISO 8601 duration, or `default` without the key."""
        return self.period(key) if self.has(key) else default

    def table(self, key: str, name: str | None = None) -> Table:
        """The table at `key`, called `name` in refusals."""
        value = self.value(key)
        if not isinstance(value, dict):
            raise self.fault(f"{key} must be a table")
        return Table(value, f"{self.where}, {name or key}")

    def tables(self, key: str) -> list[Table]:
        """The tables of the list at `key`; none without it."""
        if not self.has(key):
            return []
        value = self.value(key)
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.fault(f"{key} must be a list of tables: write [[{key}]] above each")
        return [Table(item, f"{self.where}, {key} {number}") for number, item in enumerate(value, start=1)]

    def finish(self) -> None:
        """Refuses every key that nobody asked for, naming the nearest known one."""
        unknown = [key for key in self._values if key not in self._known]
        if unknown:
            raise self.fault("; ".join(f"unknown key {key!r}{nearest(key, sorted(self._known))}" for key in unknown))


def parse_table(text: str, name: str) -> Table:
    """The top-level table of the TOML in `text`, called `name` in refusals. Raises `UsageError` when it is not TOML."""
    try:
        return Table(tomllib.loads(text.removeprefix("\ufeff")), name)
    except (tomllib.TOMLDecodeError, RecursionError) as problem:
        raise UsageError(f"reading {name}: it is not TOML: {problem}") from problem


def require_region(table: Table) -> str:
    """The ISO 3166-1 alpha-2 code at `region`, which decides whose short numbers apply."""
    region = table.text("region")
    if not (len(region) == 2 and region.isascii() and region.isalpha() and region.isupper()):
        raise table.fault(f"region is {region!r}; it must be an ISO 3166-1 alpha-2 code such as NL")
    return region


def nearest(word: str, known: Iterable[str]) -> str:
    """`, did you mean …?` for the known word that is most like `word`, or all known words when none is."""
    words = list(known)
    close = difflib.get_close_matches(word, words, n=1)
    if close:
        return f", did you mean {close[0]!r}?"
    return f"; known are {', '.join(words)}" if words else "; none is known here"
