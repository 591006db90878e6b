"""One act on a vault: run by the crash tests in a process of its own, killed at a step, and after that in theirs.

Arguments: directory, act (receive, receive slices, receive group, accept, expire, compact or remove), step to be killed
at.
"""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from datetime import date, datetime
from pathlib import Path
from typing import Any

from tests.support import KillingDisk, ingest, layout_at
from trafficvault import app, compact, expire, intake, locks, receive, rewrite, verify
from trafficvault.clock import SetClock
from trafficvault.delivered import Delivered
from trafficvault.receive import Pace
from trafficvault.rewrite import Why
from trafficvault.thinning import Going


def done(directory: Path, act: str, disk: KillingDisk) -> dict[str, Any]:
    """Does `act` on the vault below `directory`, opened as by a new process: the number of steps, what is stored then
    and what `verify` says.
    """
    layout = layout_at(directory)
    now = datetime.fromisoformat((directory / "now").read_text())
    # Compaction takes the writer's lock itself, for each exchange.
    with nullcontext() if act == "compact" else locks.writing(layout):
        vault = app.open_vault(layout, disk, SetClock(now), writer=act != "compact")
        if act == "receive slices":
            feed, source = intake.feed_and_source(vault, "mvno_pipe", None)
            for path in sorted((directory / "in").iterdir()):
                receive.receive(vault, feed, source, Delivered(path), path.name, pace=Pace(250, 2))
        elif act == "receive group":
            for _ in intake.ingest_all(vault, "mvno_pipe", None, sorted((directory / "in").iterdir())):
                pass
        elif act == "receive":
            for path in sorted((directory / "in").iterdir()):
                ingest(vault, "mvno_pipe", path.read_bytes(), path.name)
        elif act == "accept":
            for held in intake.batches(vault):
                if held.status == "held":
                    intake.accept(vault, "otto", held.batch_id)
        elif act == "compact":
            compact.compact(vault)
        elif act == "remove":
            days = [("mobile_usage", date(2026, 11, number)) for number in (10, 11, 12)]
            going = Going(("start",), lambda record_class, rows: rows["start"].dt.second() == 1)
            rewrite.remove(vault, days, going, Why("remove-test", "a test took them out", None, {}))
        else:
            expire.expire(vault)
    steps = disk.steps
    disk.at = None
    with vault.catalogue.reading() as tx:
        files, parts = tx.select("files"), tx.select("partitions")
        certificates = tx.select("certificates")
    faults = [fault.sentence for fault in verify.verify(vault).faults]
    vault.catalogue.close()
    return {
        "steps": steps,
        "files": len(files),
        "records": sum(row["rows"] for row in files),
        "partitions": sorted(f"{row['record_class']}/{row['day']}/{row['state']}" for row in parts),
        "certificates": len(certificates),
        "of_keys": sum(json.loads(row["body"]).get("what") == "keys" for row in certificates),
        "faults": faults,
    }


if __name__ == "__main__":
    done(Path(sys.argv[1]), sys.argv[2], KillingDisk(int(sys.argv[3])))
