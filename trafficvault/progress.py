"""How far an act has come: what it tells whoever watches, many times a second at most. Says nothing of any record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """What is being done, how many records so far, and how much of the whole: `done` of `whole` in `unit`.

    `whole` is 0 where nobody knows it yet. `unit` is `bytes` or a plural noun: days, partitions, files.
    """

    step: str
    rows: int = 0
    done: int = 0
    whole: int = 0
    unit: str = ""

    def __str__(self) -> str:
        return self.step


Watch = Callable[[str | Progress], None]
"""Takes what an act tells; a word alone is a step without numbers."""
