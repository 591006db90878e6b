"""An act in a process of its own, which tells what it took: seconds, peak resident memory, bytes read.

Started by `run_child`; prints one JSON object. The peak is `VmHWM`, which begins anew with the process, unlike
`ru_maxrss`, which a child inherits. `read` counts system calls that read, not pages that were mapped.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.house import house_at, take
from tests.support import signed_in
from trafficvault import disclose


def run_child(*arguments: str) -> dict[str, float]:
    """Runs `python -m benchmarks.child` with `arguments` and returns what it tells."""
    command = [sys.executable, "-m", "benchmarks.child", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1])
    if done.returncode:
        raise RuntimeError(
            f"running {arguments[0]} in a child: it ended with {done.returncode}:\n{done.stderr[-2000:]}"
        )
    told: dict[str, float] = json.loads(done.stdout)
    return told


def main() -> None:
    """`ingest HOUSE FILE` or `disclose HOUSE WARRANT PACKAGE`."""
    act, house, *rest = sys.argv[1:]
    read, wall, cpu = _told("io", "rchar"), time.perf_counter(), time.process_time()
    vault = house_at(Path(house))
    if act == "ingest":
        receipt = take(vault, Path(rest[0]))
        if receipt.status != "committed":
            raise RuntimeError(f"ingesting in a child: the file was {receipt.status}: {receipt.reason}")
        records = receipt.stored
    else:
        records = disclose.run(vault, signed_in(vault, "olga"), rest[0], Path(rest[1])).records
    print(
        json.dumps(
            {
                "seconds": time.perf_counter() - wall,
                "cpu": time.process_time() - cpu,
                "peak": _told("status", "VmHWM") * 1024,
                "read": _told("io", "rchar") - read,
                "records": records,
            }
        )
    )


def _told(file: str, name: str) -> int:
    lines = Path(f"/proc/self/{file}").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(f"{name}:")))


if __name__ == "__main__":
    main()
