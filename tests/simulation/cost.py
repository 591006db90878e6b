"""What each act costs in processor time: the fixed price of a night, since the simulated days are small."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from time import process_time


class Cost:
    """Seconds of processor time of this process, all threads, by act."""

    def __init__(self) -> None:
        self._spent: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def of(self, act: str, times: int = 1) -> Iterator[None]:
        """Measures what is done inside, which is `act` so many times."""
        begun = process_time()
        yield
        if times:
            self._spent[act] += [(process_time() - begun) / times] * times

    def rows(self) -> list[tuple[str, int, int, int]]:
        """By act: how often, the median and the most in milliseconds."""
        return [
            (act, len(spent), round(median(spent) * 1000), round(max(spent) * 1000))
            for act, spent in sorted(self._spent.items())
        ]
