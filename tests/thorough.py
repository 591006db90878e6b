"""How thorough a run is: a few of what is dear to try, or all of it where a variable of the environment asks for that.

`CRASH_STEPS=all` breaks acts off at every step, `EXAMPLES=10` tries ten times as many examples of each property whose
examples are dear, `SIMULATION=long` many and long histories.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

ALL_STEPS = os.environ.get("CRASH_STEPS") == "all"
LONG = os.environ.get("SIMULATION") == "long"
_TIMES = int(os.environ.get("EXAMPLES", "1"))


def as_many(few: int) -> int:
    """How many examples are tried where `few` are in any run."""
    return few * _TIMES


def seconds(few: int) -> int:
    """How long a test may take that takes at most `few` in any run: hours in a thorough one."""
    return 7200 if ALL_STEPS or LONG or _TIMES > 1 else few


def steps_on(first: int = 1) -> Iterator[int]:
    """The steps to break an act off at, without an end: every third from `first` on, or every one."""
    return itertools.count(1) if ALL_STEPS else itertools.count(first, 3)
