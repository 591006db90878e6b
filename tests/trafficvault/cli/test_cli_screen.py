"""What a person sees while an act goes on, on a real terminal (a pseudo-terminal of the system)."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys

_ACT = """
import time
from trafficvault.cli.screen import progress
from trafficvault.progress import Progress

with progress("ingest") as step:
    step("a word")
    time.sleep(1.2)
    step(Progress("reading", rows=1_200_000, done=96_100_000, whole=127_000_000, unit="bytes"))
    time.sleep(0.3)
    step(Progress("[bold]not markup", done=3, whole=7, unit="days"))
    time.sleep(0.3)
    step(Progress("whole not known", rows=5, done=4_000_000, unit="bytes"))
    time.sleep(0.3)
    step(Progress("nothing but a step"))
    time.sleep(0.3)
print("done")
"""


def _on_a_terminal() -> str:
    ours, theirs = pty.openpty()
    os.set_blocking(ours, True)
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "160"}
    child = subprocess.Popen(
        [sys.executable, "-c", _ACT], stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, env=environment
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # Linux's way to say that the other end was closed
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    out, _ = child.communicate(timeout=30)
    assert (child.returncode, out) == (0, b"done\n")
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())


def test_progress_shows_rows_rate_share_and_time_left() -> None:
    """On a terminal one sees the step, rows and their rate, how much of the whole is done, and the time left."""
    shown = _on_a_terminal()

    assert "ingest: a word" in shown
    assert re.search(r"ingest: reading .*1,200,000 rows {2}[0-9,]+/s {2}96\.1/127\.0 MB .*left [0-9:]+", shown)
    assert re.search(r"ingest: \[bold\]not markup .*3/7 days", shown)
    assert re.search(r"ingest: whole not known .*5 rows .*4\.0 MB", shown)
    assert "ingest: nothing but a step" in shown
