"""A TOML table of a feed, which its parsers read key by key, each with its type.

What is left at the end is refused with the nearest known key. `ingest.feed` opens the file's own table;
`ingest.definition`, `ingest.rules`, `ingest.conditions`, `ingest.totals` and `ingest.examples` read those inside it.
Every message says where in the file the key stands (`columns.start.format`), so that an operator finds it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any

import polars as pl

from ingest.errors import FeedError


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean …?` for the known word most like `word`, or the known ones listed when none is."""
    words = sorted(known)
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(words)}" if words else ""


class Table:
    """One table of a feed definition; `path` says where it stands, for messages."""

    def __init__(self, values: dict[str, Any], path: str = "") -> None:
        """Reads from `values`, which stays as it is."""
        self._values = dict(values)
        self._known: set[str] = set()
        self.path = path

    def where(self, key: str) -> str:
        """The full path of `key`."""
        return f"{self.path}.{key}" if self.path else key

    def refuse(self, key: str, problem: str) -> FeedError:
        """The error for a `problem` with `key`."""
        return FeedError(f"{self.where(key)} {problem}")

    def __contains__(self, key: str) -> bool:
        """Whether `key` is given; asking makes it known."""
        self._known.add(key)
        return key in self._values

    def take(self, key: str) -> Any:
        """The value of `key` whatever it is, None without it."""
        self._known.add(key)
        return self._values.get(key)

    def text(self, key: str) -> str | None:
        """A text."""
        value = self.take(key)
        if value is None or isinstance(value, str):
            return value
        raise self.refuse(key, "must be a text")

    def needed(self, key: str) -> str:
        """A text that must be there."""
        value = self.text(key)
        if not value:
            raise self.refuse(key, "is missing")
        return value

    def one_of(self, key: str, words: Iterable[str], default: str) -> str:
        """One of `words`."""
        value = self.text(key)
        if value is None:
            return default
        if value not in words:
            raise self.refuse(key, f"cannot be {value!r}{nearest(value, words)}")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts; one text is a list of one."""
        value = self.take(key)
        if value is None:
            return ()
        if isinstance(value, str):
            return (value,)
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise self.refuse(key, "must be a text or a list of texts")

    def integer(self, key: str) -> int | None:
        """A whole number."""
        value = self.take(key)
        if value is None or (isinstance(value, int) and not isinstance(value, bool)):
            return value
        raise self.refuse(key, "must be a whole number")

    def flag(self, key: str, *, default: bool = False) -> bool:
        """True or false."""
        value = self.take(key)
        if value is None:
            return default
        if isinstance(value, bool):
            return value
        raise self.refuse(key, "must be true or false")

    def pattern(self, key: str, *, groups: int | None = None) -> str | None:
        """A regular expression, with `groups` groups where that is asked."""
        value = self.text(key)
        if value is None:
            return None
        try:
            found = re.compile(value).groups
            pl.Series([""]).str.contains(value)  # Polars runs another engine, which has no look-around
        except (re.error, pl.exceptions.ComputeError) as error:
            raise self.refuse(key, f"is not a regular expression: {error}") from error
        if groups is not None and found != groups:
            raise self.refuse(key, f"must have {groups} group, it has {found}")
        return value

    def span(self, key: str) -> tuple[int, int] | None:
        """Two whole numbers, [first, last]."""
        value = self.take(key)
        if value is None:
            return None
        if isinstance(value, list) and len(value) == 2 and all(type(item) is int for item in value):
            return (value[0], value[1])
        raise self.refuse(key, "must be a list of two whole numbers")

    def texts_by_name(self, key: str) -> dict[str, str] | None:
        """A table of texts."""
        value = self.take(key)
        if value is None:
            return None
        if isinstance(value, dict) and all(isinstance(item, str) for item in value.values()):
            return dict(value)
        raise self.refuse(key, "must be a table of texts")

    def table(self, key: str) -> Table | None:
        """A table inside this one."""
        value = self.take(key)
        if value is None:
            return None
        if isinstance(value, dict):
            return Table(value, self.where(key))
        raise self.refuse(key, "must be a table")

    def tables(self, key: str) -> list[Table]:
        """A list of tables; one table is a list of one."""
        value = self.take(key)
        if value is None:
            return []
        if isinstance(value, dict):
            return [Table(value, self.where(key))]
        if isinstance(value, list) and all(isinstance(item, dict) for item in value):
            return [Table(item, f"{self.where(key)}[{number}]") for number, item in enumerate(value, start=1)]
        raise self.refuse(key, "must be a table or a list of tables")

    def names(self) -> tuple[str, ...]:
        """The keys given, in their order; for tables whose keys are the operator's own words."""
        return tuple(self._values)

    def only(self, known: Iterable[str]) -> None:
        """Refuses any key but the `known` ones at once, so that a misspelt one is not told to be missing."""
        self._known |= set(known)
        self.done()

    def done(self) -> None:
        """Refuses any key that nobody asked for."""
        for key in self._values:
            if key not in self._known:
                raise self.refuse(key, f"is not a key of a feed{nearest(key, self._known)}")
