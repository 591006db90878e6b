"""The verbs `verify` and `audit verify`: while another process writes, and on a vault that does not open."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import Usage, ingest, layout_at, new_vault, usage
from tests.trafficvault.cli.commandline import CommandLine
from trafficvault.cli import keeping

WRITER = """
import sys, time
from pathlib import Path
from tests.support import Usage, ingest, layout_at, usage, NOW
from trafficvault import app, locks
from trafficvault.clock import SetClock
from trafficvault.durable import Disk

class Slow(Disk):
    def step(self, name):
        if name == "before commit":
            print("bytes are there", flush=True)
            sys.stdin.readline()
            time.sleep(0.5)

layout = layout_at(Path(sys.argv[1]))
with locks.writing(layout):
    vault = app.open_vault(layout, Slow(), SetClock(NOW), writer=True)
    ingest(vault, "mvno_pipe", usage([Usage(at="20261113120000")]), "S4PGWM000002")
"""
"""An ingest that has written its files and not committed them, until a line comes."""


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vault with one record."""
    directory = tmp_path_factory.mktemp("pristine")
    vault = new_vault(directory)
    ingest(vault, "mvno_pipe", usage([Usage()]), "S4PGWM000001")
    vault.catalogue.close()
    return directory


@pytest.fixture
def line(pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """The command line on a copy of it."""
    for name in ("vault", "vault.keys"):
        shutil.copytree(pristine / name, tmp_path / name)
    return CommandLine(tmp_path, monkeypatch)


@contextmanager
def writing(directory: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process amid an ingest; a line to it lets it commit and end."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            assert child.stdout.readline() == "bytes are there\n"
            yield child
        finally:
            child.kill()


def test_verify_waits_for_a_writer(line: CommandLine) -> None:
    """While another process ingests, `verify` waits for it, and then sees its batch whole: no fault."""
    with writing(line.directory) as child:
        assert child.stdin is not None
        child.stdin.write("go on\n" * 9)
        child.stdin.flush()
        done = line("verify", "--json")

    assert (done.code, done.object["faults"]) == (0, [])
    assert done.object["checked"]["records"] == 2


def test_verify_does_not_wait_for_ever(line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that keeps its lock is exit code 8, and no uncommitted file of its batch is called a fault."""
    monkeypatch.setattr(keeping, "WRITER_SECONDS", 0.2)
    with writing(line.directory) as child:
        done = line("verify", "--json")

    assert (done.code, done.out) == (8, "")
    assert f"process {child.pid} is writing" in done.err


@pytest.mark.parametrize("verb", [("verify",), ("audit", "verify")])
@pytest.mark.parametrize("damaged", ["ring", "epoch", "catalogue"])
def test_a_vault_that_does_not_open_is_a_fault(line: CommandLine, verb: tuple[str, ...], damaged: str) -> None:
    """A damaged ring, epoch key or catalogue is told as one object and as a sentence, with exit code 5."""
    layout = line.layout
    path = {"ring": layout.ring(1), "epoch": layout.epoch_key(1), "catalogue": layout.catalogue}[damaged]
    path.write_bytes(b"x" * 4096)
    told, shown = line(*verb, "--json"), line(*verb)

    assert told.code == shown.code == 5
    (fault,) = told.object["faults"]
    assert (fault["kind"], fault["thing"], told.object["checked"]) == ("unreadable", "vault", {})
    assert fault["sentence"] in shown.out
    assert fault["sentence"] in told.err


def test_a_changed_audit_log_is_printed_by_both_verbs(line: CommandLine) -> None:
    """A flipped bit of the log is one object with its fault, and exit code 5, whichever verb looks."""
    segment = line.layout.segment(1)
    content = bytearray(segment.read_bytes())
    content[50] ^= 1
    segment.write_bytes(content)

    for verb in (("verify",), ("audit", "verify")):
        told, shown = line(*verb, "--json"), line(*verb)
        assert told.code == shown.code == 5
        assert [(fault["kind"], fault["thing"]) for fault in told.object["faults"]] == [("changed", "audit")]
        assert told.object["faults"][0]["sentence"] in shown.out


def test_there_must_be_a_vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is none, `verify` is exit code 2, and makes nothing there."""
    assert CommandLine(tmp_path, monkeypatch)("verify").code == 2
    assert not layout_at(tmp_path).vault.exists()
