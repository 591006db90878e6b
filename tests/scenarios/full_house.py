"""A house on a disk that is really full: an act is tried with little room or none, and done again when there is room.

Run as a process of its own, under a mount of its own, by `test_full_disk.py`. What is told is JSON: for each room, in
KiB, the exit code that the command line would have given, and where the vault differs in the end from one whose act
was done with room enough.
"""

from __future__ import annotations

import json
import shutil
import sys
from contextlib import suppress
from pathlib import Path

from tests.scenarios import broken
from tests.scenarios.acts import BY_NAME, Act
from tests.scenarios.prepared import House
from trafficvault import cli
from trafficvault.durable import Disk


def filled_up(small: Path, room: int) -> Path:
    """Leaves `room` KiB free on the file system of `small`, and returns what takes the rest of it."""
    filler = small / "filler"
    with filler.open("wb", buffering=0) as sink, suppress(OSError):
        while True:
            sink.write(bytes(4096))
    with filler.open("r+b") as sink:
        sink.truncate(max(0, filler.stat().st_size - 1024 * room))
    return filler


def tried(act: Act, base: Path, small: Path, room: int, expected: broken.State) -> dict[str, object]:
    """How `act` ends on `small` with `room` KiB left, and what the next run, with room enough, leaves."""
    place = small / "house"
    broken.copy(base, place)
    # Space that is kept for expiries is no help here: an expiry before this one has used it up.
    (place / "vault" / "reserve").unlink(missing_ok=True)
    filler = filled_up(small, room)
    code = 0
    try:
        act.do(House(place, act.now, Disk()))
    except Exception as problem:  # whatever an act ends with is told as the command line tells it
        code = cli.told(problem)
    filler.unlink()
    wrong = broken.differences(act, broken.again(act, place), expected)
    shutil.rmtree(place)
    return {"code": code, "wrong": wrong}


def main(name: str, base: Path, small: Path, *rooms: str) -> None:
    """Tries the act of that name with each of `rooms`."""
    act = BY_NAME[name]
    expected = broken.whole(act, base)
    print(json.dumps({room: tried(act, base, small, int(room), expected) for room in rooms}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), *sys.argv[4:])
