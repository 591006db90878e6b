"""Peak resident memory of a process that ingests a large file, plain and gzip, and of one that answers much.

The file is written part by part and is about as large as the scale says, in unpacked bytes.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from benchmarks.child import run_child
from benchmarks.house import house_at, new_house, order
from benchmarks.network import Network
from benchmarks.scale import LAST_DAY, Scale
from benchmarks.traffic import PART, file_name, traffic, write_part
from benchmarks.watch import Watch
from tests.support import approved

MIB = 1 << 20
_PLAIN_ROW = 129
"""Bytes of a delivered row, to reckon how many parts a file of some bytes takes."""


def write_large(path: Path, octets: int, network: Network, *, packed: bool) -> int:
    """Writes a day's file of about `octets` unpacked bytes, one part in memory at a time; returns its rows."""
    parts = max(1, round(octets / _PLAIN_ROW / PART))
    rows = PART if octets > PART * _PLAIN_ROW else octets // _PLAIN_ROW
    file: Any
    with gzip.open(path, "wb", compresslevel=1) if packed else path.open("wb") as file:
        for part in range(parts):
            write_part(file, traffic(rows, LAST_DAY, 1, network, part, parts))
    return rows * parts


@pytest.mark.bench
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_ingest_memory(watch: Watch, tmp_path: Path, scale: Scale, network: Network, packed: bool) -> None:
    """One large file in a process of its own; of the plain one, a question that matches many rows afterwards."""
    file = tmp_path / (file_name(1) + (".gz" if packed else ""))
    rows = write_large(file, scale.memory_bytes, network, packed=packed)
    house = tmp_path / "house"
    new_house(house)

    told, _ = watch.race(lambda: run_child("ingest", str(house), str(file)), 1)

    assert told["records"] == rows
    name = f"memory, ingest of {scale.memory_bytes / 10**9:g} GB, {'gzip' if packed else 'plain'}"
    watch.note(f"{name}: peak", told["peak"] / MIB, "MiB")
    watch.note(f"{name}: rate", rows / told["seconds"], "rows/s")
    if packed:
        return
    file.unlink()
    reach = 0
    while network.share(reach + 1) * rows < scale.stream_matches and reach < 9_998:
        reach += 1
    value = f"+{network.number(0)}..+{network.number(reach)}"
    vault = house_at(house)
    warrant = approved(vault, order("number_range", value, ("mobile_usage",)))
    told = run_child("disclose", str(house), warrant, str(tmp_path / "package"))
    watch.note("memory, a question that matches many rows: peak", told["peak"] / MIB, "MiB")
    watch.note("memory, a question that matches many rows: rows", told["records"], "rows")
