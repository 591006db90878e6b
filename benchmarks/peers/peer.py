"""What a peer is to the benchmarks: something that loads the same delivered files and answers the same lookups.

A peer that is not installed is no failure of the benchmark and no silence either: it raises `PeerMissing` with what to
install, and whoever asked for it skips with that sentence.
"""

from __future__ import annotations

from dataclasses import dataclass


class PeerMissing(Exception):
    """A peer is not installed here; the text says which and how to install it."""


class PeerFault(Exception):
    """A peer did not do what it was asked to."""


@dataclass(frozen=True, slots=True)
class Lap:
    """One timed piece of work: elapsed seconds, and CPU seconds of all threads of the process that did it."""

    seconds: float
    cpu: float

    def __add__(self, other: Lap) -> Lap:
        return Lap(self.seconds + other.seconds, self.cpu + other.cpu)
