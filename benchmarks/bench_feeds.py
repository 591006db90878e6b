"""Each shipped feed: a generated file through the whole act `ingest`, so that no reader falls behind unseen."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from benchmarks import feedfiles, native
from benchmarks.bench_ingest import into_new_vaults
from benchmarks.house import take
from benchmarks.network import Network
from benchmarks.scale import LAST_DAY, Scale
from benchmarks.traffic import write_file
from benchmarks.watch import Watch
from trafficvault.receipts import Receipt
from trafficvault.vault import Vault

Writer = Callable[[Path, int, date, int, Network], Path]


def _native(write: Callable[[Path, pl.DataFrame], Path]) -> Writer:
    """Calls of class `telephony`, as `write` writes them."""

    def written(path: Path, rows: int, day: date, seed: int, network: Network) -> Path:
        return write(path, native.calls(rows, day, seed, network))

    return written


FILES: dict[str, Writer] = {
    "mvno_pipe": write_file,
    "native_csv": _native(native.write_native),
    "native_ndjson": _native(native.write_ndjson),
    "wlr_fixed": feedfiles.write_wlr,
    "asterisk_csv": feedfiles.write_asterisk,
    "kamailio_flatstore": feedfiles.write_kamailio,
}


@pytest.mark.bench
@pytest.mark.parametrize("name", FILES)
def test_feed(watch: Watch, tmp_path: Path, scale: Scale, network: Network, name: str) -> None:
    """Every unit is stored or ignored, none rejected."""
    file = FILES[name](tmp_path / "file", scale.feed_rows, LAST_DAY, 1, network)
    vaults: list[Vault] = []

    def act() -> Receipt:
        return take(vaults[-1], file, name)

    receipt, race = watch.race(act, 2, before=into_new_vaults(tmp_path, vaults))

    assert (receipt.status, receipt.rejected, receipt.held) == ("committed", 0, 0)
    assert receipt.stored == scale.feed_rows
    watch.note(f"feed {name}", receipt.stored / race.ours.seconds, "rows/s")
