"""The shelf of feeds: shipped ones and the operator's own, each loaded when it is first used.

An own feed has its examples run then. Those of a shipped feed are proven with the code that reads it, by a release's
own tests: run before each file they would cost more than reading a small one. `tested` and `faults` run all.

A vault with many feeds opens as fast as one with none; a feed that does not load stops who uses it, and nobody else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from ingest.errors import FeedError
from ingest.feed import SHIPPED, Feed, feed_at, load_feed
from trafficvault.errors import UsageError


class FeedShelf(Mapping[str, Feed]):
    """The feeds by name; one in the operator's directory takes the place of a shipped one of that name."""

    def __init__(self, own: Path, zone: str, region: str) -> None:
        self._paths = {path.stem: path for directory in (SHIPPED, own) for path in sorted(directory.glob("*.toml"))}
        self._zone, self._region = zone, region
        self._loaded: dict[str, Feed] = {}
        self._numbered: dict[str, int | None] = {}

    def __getitem__(self, name: str) -> Feed:
        """The feed `name`. Raises `KeyError` when there is none, `UsageError` when it does not load."""
        if name not in self._loaded:
            if self._paths[name].parent != SHIPPED:
                return self.tested(name)
            try:
                self._loaded[name] = feed_at(self._paths[name])
            except FeedError as problem:
                raise _unfit(problem) from problem
        return self._loaded[name]

    def tested(self, name: str) -> Feed:
        """The feed `name`, all its examples run anew. Raises as the lookup does."""
        try:
            self._loaded[name] = load_feed(self._paths[name], self._zone, self._region)
        except FeedError as problem:
            raise _unfit(problem) from problem
        return self._loaded[name]

    def modulus(self, name: str) -> int | None:
        """Where the file numbers of the feed `name` start again; None when they never do, or there is no such feed.

        It is not loaded for this: to run its examples takes longer than most questions. Raises `UsageError` when its
        file can't be read.
        """
        if name not in self._paths:
            return None
        if name not in self._numbered:
            try:
                feed = self._loaded.get(name) or feed_at(self._paths[name])
            except FeedError as problem:
                raise UsageError(f"reading how feed {name} numbers its files: {problem}") from problem
            self._numbered[name] = None if feed.sequence is None else feed.sequence.modulus
        return self._numbered[name]

    def __contains__(self, name: object) -> bool:
        """Whether there is a feed `name`; it is not loaded to find out."""
        return name in self._paths

    def __iter__(self) -> Iterator[str]:
        """The names, sorted."""
        return iter(sorted(self._paths))

    def __len__(self) -> int:
        """How many there are."""
        return len(self._paths)

    def faults(self) -> list[str]:
        """Why feeds do not load, or do not what their examples promise, a sentence each."""
        found = []
        for name in self:
            try:
                self.tested(name)
            except UsageError as problem:
                found.append(str(problem))
        return found


def _unfit(problem: FeedError) -> UsageError:
    return UsageError(f"loading a feed: {problem}")
